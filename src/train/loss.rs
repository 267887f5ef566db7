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

/// Softmax cross entropy (`torch.nn.functional.cross_entropy`, summed) of logits [examples, num_labels] with class
/// `labels`. `weight` scales the derivative: 1 / (examples in the whole step) makes every example weigh the same.
pub fn cross_entropy(logits: &[f32], labels: &[u32], num_labels: usize, weight: f64) -> BatchLoss {
    let mut loss = BatchLoss {
        sum: 0.0,
        correct: 0,
        derivative: vec![0f32; logits.len()],
    };
    for ((row, derivative), &label) in logits
        .chunks(num_labels)
        .zip(loss.derivative.chunks_mut(num_labels))
        .zip(labels)
    {
        let label = label as usize;
        let log_sum = log_sum_exp(row);
        loss.sum += log_sum - f64::from(row[label]);
        loss.correct += usize::from(argmax(row) == label);
        for (class, (out, &logit)) in derivative.iter_mut().zip(row).enumerate() {
            let probability = (f64::from(logit) - log_sum).exp();
            let target = f64::from(u8::from(class == label));
            *out = ((probability - target) * weight) as f32;
        }
    }
    loss
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
            if name != "cross_entropy" && name != "cross_entropy, large logits" {
                continue;
            }
            seen += 1;
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
            let examples = labels.len() as f64;
            let loss = cross_entropy(&logits, &labels, 4, 1.0 / examples);
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
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_logit_that_is_not_a_number_gives_a_loss_that_is_not_one() {
        let loss = cross_entropy(&[f32::NAN, 1.0], &[1], 2, 1.0);
        assert!(!loss.sum.is_finite());
    }
}
