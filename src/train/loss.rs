//! The loss of each kind of problem and its derivative by the logits, in float64 on the host: a few numbers an example.

use crate::data::Targets;

/// A loss over one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchLoss {
    /// Summed over the examples.
    pub sum: f64,
    /// Examples that the model has right: whose highest logit is their class's, or whose labels are exactly those that
    /// reach the threshold. 0 for regression, which has no right and wrong.
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

/// What a model is trained for on a set of examples.
#[derive(Debug, Clone, Copy)]
pub struct Objective<'a> {
    /// What the examples ask for.
    pub targets: &'a Targets,
    /// What cross entropy makes of a class; of no account for other problems.
    pub cross_entropy: &'a CrossEntropy,
    /// The probability from which on each label counts as predicted (multi-label).
    pub thresholds: &'a [f64],
    /// Logits an example.
    pub num_labels: usize,
    /// What the derivative of each target's squared error is measured in (regression); 1 of all where it is `None`. The
    /// loss itself is in the targets' own units.
    pub deviations: Option<&'a [f64]>,
}

impl Objective<'_> {
    /// How much `example` weighs: the mean loss divides by the sum of these. 1 but for class weights.
    pub fn weight(&self, example: usize) -> f64 {
        match self.targets {
            Targets::Classes(classes) => self.cross_entropy.weight(classes[example]),
            Targets::Labels(_) | Targets::Values { .. } => 1.0,
        }
    }

    /// The loss of the logits [examples, num_labels] of `examples`. `factor` scales the derivative: 1 / (the sum of the
    /// examples' weights in the whole step) makes it the mean's.
    pub fn of(&self, examples: &[usize], logits: &[f32], factor: f64) -> BatchLoss {
        match self.targets.select(examples) {
            Targets::Classes(classes) => {
                self.cross_entropy
                    .of(logits, &classes, self.num_labels, factor)
            }
            Targets::Labels(lists) => {
                binary_cross_entropy(logits, &lists, self.num_labels, self.thresholds, factor)
            }
            Targets::Values { values, .. } => {
                squared_error(logits, &values, self.num_labels, factor, self.deviations)
            }
        }
    }
}

/// Binary cross entropy of the logits' sigmoids (`torch.nn.functional.binary_cross_entropy_with_logits`): summed over the
/// examples, the mean over each one's labels. `labels` has each example's label ids, ascending.
pub fn binary_cross_entropy(
    logits: &[f32],
    labels: &[Vec<u32>],
    num_labels: usize,
    thresholds: &[f64],
    factor: f64,
) -> BatchLoss {
    let mut loss = BatchLoss {
        sum: 0.0,
        correct: 0,
        derivative: vec![0f32; logits.len()],
    };
    let share = 1.0 / num_labels as f64;
    for ((row, derivative), list) in logits
        .chunks(num_labels)
        .zip(loss.derivative.chunks_mut(num_labels))
        .zip(labels)
    {
        let mut list = list.iter().copied().peekable();
        let mut is_right = true;
        let scores = derivative.iter_mut().zip(row).zip(thresholds);
        for (id, ((out, &logit), &threshold)) in (0u32..).zip(scores) {
            let has_label = list.next_if_eq(&id).is_some();
            let (x, y) = (f64::from(logit), f64::from(u8::from(has_label)));
            // -y ln σ(x) - (1 - y) ln (1 - σ(x)), without overflow.
            loss.sum += share * (x.max(0.0) - x * y + (-x.abs()).exp().ln_1p());
            *out = ((sigmoid(x) - y) * share * factor) as f32;
            is_right &= has_label == reaches(probability(logit), threshold);
        }
        loss.correct += usize::from(is_right);
    }
    loss
}

/// Squared error (`torch.nn.functional.mse_loss`): summed over the examples, the mean over each one's `width` numbers.
/// Its derivative is that of the error in `deviations`, where there are any: of ((output - target) / deviation)².
pub fn squared_error(
    outputs: &[f32],
    targets: &[f32],
    width: usize,
    factor: f64,
    deviations: Option<&[f64]>,
) -> BatchLoss {
    let share = 1.0 / width as f64;
    let mut sum = 0.0;
    let derivative = outputs
        .iter()
        .zip(targets)
        .enumerate()
        .map(|(place, (&output, &target))| {
            let difference = f64::from(output) - f64::from(target);
            sum += share * difference * difference;
            let derivative = 2.0 * difference * share * factor;
            match deviations {
                Some(deviations) => {
                    let deviation = deviations[place % width];
                    (derivative / (deviation * deviation)) as f32
                }
                None => derivative as f32,
            }
        })
        .collect();
    BatchLoss {
        sum,
        correct: 0,
        derivative,
    }
}

/// 1 / (1 + exp(-x)).
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A label's probability by its logit (multi-label).
pub fn probability(logit: f32) -> f32 {
    sigmoid(f64::from(logit)) as f32
}

/// Whether a label of that probability counts as predicted.
pub fn reaches(probability: f32, threshold: f64) -> bool {
    f64::from(probability) >= threshold
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

/// The logarithms of the probabilities of one row of logits.
pub fn log_softmax(row: &[f32]) -> Vec<f32> {
    let log_sum = log_sum_exp(row);
    row.iter()
        .map(|&x| (f64::from(x) - log_sum) as f32)
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

    /// Every loss of tests/fixtures/golden/tasks.json.
    #[test]
    fn losses_and_their_derivatives_are_those_of_pytorch() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/golden/tasks.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut seen = 0;
        for case in golden["losses"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            seen += 1;
            let cross_entropy = CrossEntropy {
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
            let num_labels = logits.len() / 6;
            let targets = match name {
                _ if name.starts_with("cross_entropy") => Targets::Classes(
                    case["labels"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|v| v.as_u64().unwrap() as u32)
                        .collect(),
                ),
                _ if name.starts_with("binary_cross_entropy_with_logits") => {
                    let list = |row: &[f64]| {
                        let has = |(id, &value): (u32, &f64)| (value == 1.0).then_some(id);
                        (0..).zip(row).filter_map(has).collect()
                    };
                    Targets::Labels(matrix("labels").chunks(4).map(list).collect())
                }
                _ => Targets::Values {
                    values: matrix("labels").iter().map(|&v| v as f32).collect(),
                    width: num_labels,
                },
            };
            let objective = Objective {
                targets: &targets,
                cross_entropy: &cross_entropy,
                thresholds: &[0.5; 4][..num_labels],
                num_labels,
                deviations: None,
            };
            // In two parts, as gradient accumulation has it: each example weighs the same.
            let examples: f64 = (0..6).map(|example| objective.weight(example)).sum();
            let cut = 2 * num_labels;
            let mut loss = objective.of(&[0, 1], &logits[..cut], 1.0 / examples);
            let rest = objective.of(&[2, 3, 4, 5], &logits[cut..], 1.0 / examples);
            loss.sum += rest.sum;
            loss.derivative.extend(rest.derivative);
            // Logits of 900 as float32 are off by up to 3e-5, which moves that loss by 1.6e-5 whoever computes it.
            let (tolerance, rounding) = match name.contains("large") {
                true => (1e-5, 1.6e-5),
                false => (1e-6, 0.0),
            };
            let expected = case["loss"].as_f64().unwrap();
            let difference = (loss.sum / examples - expected).abs();
            assert!(difference < tolerance + rounding, "{name}: {difference}");
            let want = matrix("dlogits");
            assert_eq!(loss.derivative.len(), want.len());
            for (got, want) in loss.derivative.iter().zip(want) {
                assert!((f64::from(*got) - want).abs() < tolerance, "{name}");
            }
        }
        assert_eq!(seen, 9);
    }

    #[test]
    fn labels_are_right_where_all_of_them_are() {
        let logits = [2.0, -2.0, 2.0, 2.0, -2.0, -2.0];
        let of_each = |lists: [&[u32]; 3], thresholds: [f64; 2]| {
            let lists = lists.map(<[u32]>::to_vec);
            binary_cross_entropy(&logits, &lists, 2, &thresholds, 1.0).correct
        };
        let loss = |lists, threshold| of_each(lists, [threshold; 2]);
        assert_eq!(loss([&[0], &[0, 1], &[]], 0.5), 3);
        assert_eq!(loss([&[0], &[0], &[0]], 0.5), 1);
        // Of probability 0.88.
        assert_eq!(loss([&[0], &[0, 1], &[]], 0.9), 1);
        // Each label has its own.
        assert_eq!(of_each([&[0], &[0], &[]], [0.5, 0.9]), 3);
        assert_eq!(of_each([&[], &[1], &[]], [0.9, 0.5]), 3);
        assert!(reaches(0.5, 0.5) && !reaches(0.499_999, 0.5));
    }

    #[test]
    fn a_logit_that_is_not_a_number_gives_a_loss_that_is_not_one() {
        let loss = CrossEntropy::default().of(&[f32::NAN, 1.0], &[1], 2, 1.0);
        assert!(!loss.sum.is_finite());
    }
}
