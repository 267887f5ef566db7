//! The loss and its derivative by the logits, in float64 on the host: a few numbers an example.

/// A loss over one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchLoss {
    /// Summed over the examples.
    pub sum: f64,
    /// Examples whose highest logit is their label's.
    pub correct: usize,
    /// The derivative of `sum` · `weight` by each logit.
    pub derivative: Vec<f32>,
}

/// What cross entropy makes of a label.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrossEntropy {
    /// How much an example of each class weighs; none: all the same.
    pub class_weights: Vec<f64>,
    /// The share of each target that is spread over all classes evenly.
    pub label_smoothing: f64,
}

impl CrossEntropy {
    /// How much an example of class `label` weighs: the mean loss divides by the sum of these.
    pub fn weight(&self, label: u32) -> f64 {
        self.class_weights
            .get(label as usize)
            .copied()
            .unwrap_or(1.0)
    }

    /// Softmax cross entropy (`torch.nn.functional.cross_entropy` with `weight` and `label_smoothing`, summed) of logits
    /// [examples, num_labels] with class `labels`. `factor` scales the derivative: 1 / (the sum of the examples' weights
    /// in the whole step) makes it the mean's.
    pub fn of(&self, logits: &[f32], labels: &[u32], num_labels: usize, factor: f64) -> BatchLoss {
        let mut loss = BatchLoss {
            sum: 0.0,
            correct: 0,
            derivative: vec![0f32; logits.len()],
        };
        let even = self.label_smoothing / num_labels as f64;
        let class_weight = |class: usize| self.weight(class as u32);
        for ((row, derivative), &label) in logits
            .chunks(num_labels)
            .zip(loss.derivative.chunks_mut(num_labels))
            .zip(labels)
        {
            let label = label as usize;
            let log_sum = log_sum_exp(row);
            loss.correct += usize::from(argmax(row) == label);
            // Each class's share of the target, times its weight.
            let target = |class: usize| {
                let hit = f64::from(u8::from(class == label)) * (1.0 - self.label_smoothing);
                (hit + even) * class_weight(class)
            };
            let whole: f64 = if self.label_smoothing == 0.0 {
                class_weight(label)
            } else {
                (0..num_labels).map(target).sum()
            };
            for (class, (out, &logit)) in derivative.iter_mut().zip(row).enumerate() {
                let log_probability = f64::from(logit) - log_sum;
                let target = target(class);
                if target > 0.0 {
                    loss.sum -= target * log_probability;
                }
                *out = ((whole * log_probability.exp() - target) * factor) as f32;
            }
        }
        loss
    }
}

/// ln Σ exp(x), without overflow. NaN where an input is NaN.
fn log_sum_exp(row: &[f32]) -> f64 {
    let highest = row
        .iter()
        .fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - highest).exp()).sum();
    highest + sum.ln()
}

/// The probabilities of one row of logits.
pub fn softmax(row: &[f32]) -> Vec<f32> {
    let log_sum = log_sum_exp(row);
    row.iter()
        .map(|&x| (f64::from(x) - log_sum).exp() as f32)
        .collect()
}

/// The place of the highest value, the first of equals.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cross_entropy` of PyTorch, from tests/fixtures/golden/tasks.json.
    #[test]
    fn cross_entropy_and_its_derivative_are_those_of_pytorch() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/golden/tasks.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut seen = 0;
        for case in golden["losses"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            if !name.starts_with("cross_entropy") {
                continue;
            }
            seen += 1;
            let options = CrossEntropy {
                class_weights: case["class_weights"]
                    .as_array()
                    .map(|weights| weights.iter().map(|w| w.as_f64().unwrap()).collect())
                    .unwrap_or_default(),
                label_smoothing: case["label_smoothing"].as_f64().unwrap_or(0.0),
            };
            let matrix = |key: &str| -> Vec<f64> {
                case[key]
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|row| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()))
                    .collect()
            };
            let logits: Vec<f32> = matrix("logits").iter().map(|&v| v as f32).collect();
            let labels: Vec<u32> = case["labels"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_u64().unwrap() as u32)
                .collect();
            let examples: f64 = labels.iter().map(|&label| options.weight(label)).sum();
            let loss = options.of(&logits, &labels, 4, 1.0 / examples);
            let tolerance = if name.contains("large") { 1e-5 } else { 1e-6 };
            let expected = case["loss"].as_f64().unwrap();
            let difference = (loss.sum / examples - expected).abs();
            assert!(
                difference < tolerance * expected.max(1.0),
                "{name}: {difference}"
            );
            for (got, want) in loss.derivative.iter().zip(matrix("dlogits")) {
                assert!((f64::from(*got) - want).abs() < tolerance, "{name}");
            }
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_logit_that_is_not_a_number_gives_a_loss_that_is_not_one() {
        let loss = CrossEntropy::default().of(&[f32::NAN, 1.0], &[1], 2, 1.0);
        assert!(!loss.sum.is_finite());
    }
}
