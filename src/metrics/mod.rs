//! How good predictions are, as scikit-learn and scipy define it.
//!
//! - `single_label`: counted from (true class, predicted class) pairs
//! - `multi_label`: counted label by label
//! - `regression`: squared error and correlations

mod multi_label;
mod regression;
mod single_label;

pub use multi_label::{LabelCounts, MultiLabelMetrics};
pub use regression::{RegressionMetrics, pearson, spearman};
pub use single_label::{ClassificationMetrics, ConfusionMatrix};

/// The metrics of one kind of problem.
#[derive(Debug, Clone, PartialEq)]
pub enum Metrics {
    /// Of single-label classification, and how often each class was taken for each.
    SingleLabel(ClassificationMetrics, ConfusionMatrix),
    /// Of multi-label classification.
    MultiLabel(MultiLabelMetrics),
    /// Of regression.
    Regression(RegressionMetrics),
}

/// One number for each metric; NaN for those that the problem doesn't have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The share of right predictions; of multi-label examples, of those with all labels right and no other.
    pub accuracy: f64,
    /// F1 of all decisions counted together; in single-label classification that is the accuracy.
    pub f1_micro: f64,
    /// F1, averaged over the classes that occur in the examples or in the predictions, or over all labels.
    pub f1_macro: f64,
    /// F1, averaged over classes or labels by their examples.
    pub f1_weighted: f64,
    /// Matthews correlation, of single-label classification alone.
    pub matthews: f64,
    /// Mean squared error, of regression alone; so the two that follow.
    pub mse: f64,
    /// Pearson's correlation.
    pub pearson: f64,
    /// Spearman's correlation.
    pub spearman: f64,
}

impl Scores {
    /// None of them.
    pub const NONE: Scores = Scores {
        accuracy: f64::NAN,
        f1_micro: f64::NAN,
        f1_macro: f64::NAN,
        f1_weighted: f64::NAN,
        matthews: f64::NAN,
        mse: f64::NAN,
        pearson: f64::NAN,
        spearman: f64::NAN,
    };
}

impl Metrics {
    /// One number for each metric.
    pub fn scores(&self) -> Scores {
        match self {
            Metrics::SingleLabel(m, _) => Scores {
                accuracy: m.accuracy,
                f1_micro: m.accuracy,
                f1_macro: m.f1_macro,
                f1_weighted: m.f1_weighted,
                matthews: m.matthews,
                ..Scores::NONE
            },
            Metrics::MultiLabel(m) => Scores {
                accuracy: m.accuracy,
                f1_micro: m.f1_micro,
                f1_macro: m.f1_macro,
                f1_weighted: m.f1_weighted,
                ..Scores::NONE
            },
            Metrics::Regression(m) => Scores {
                mse: m.mse,
                pearson: m.pearson,
                spearman: m.spearman,
                ..Scores::NONE
            },
        }
    }

    /// Each class or label by its id; none of regression.
    pub fn classes(&self) -> &[ClassMetrics] {
        match self {
            Metrics::SingleLabel(m, _) => &m.classes,
            Metrics::MultiLabel(m) => &m.labels,
            Metrics::Regression(_) => &[],
        }
    }
}

/// Precision, recall and F1 of one class or label. A quotient by zero counts as 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassMetrics {
    /// Of the examples predicted as this class, the share that are.
    pub precision: f64,
    /// Of the examples of this class, the share predicted as it.
    pub recall: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
    /// How many examples of this class there are.
    pub support: u64,
    /// How many examples are predicted as this class.
    pub predicted: u64,
}

/// What is counted of one class or label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    right: u64,
    support: u64,
    predicted: u64,
}

impl Tally {
    /// Whether the class occurs, in the truth or in the predictions.
    fn occurs(&self) -> bool {
        self.support > 0 || self.predicted > 0
    }

    fn metrics(&self) -> ClassMetrics {
        let right = self.right as f64;
        ClassMetrics {
            precision: ratio(right, self.predicted as f64),
            recall: ratio(right, self.support as f64),
            f1: ratio(2.0 * right, self.support as f64 + self.predicted as f64),
            support: self.support,
            predicted: self.predicted,
        }
    }
}

/// `a / b`, or 0 where `b` is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// F1's mean over `count` classes, of which the others have an F1 of 0, and its mean weighted by their examples.
fn f1_means(classes: &[ClassMetrics], count: usize) -> (f64, f64) {
    let sum: f64 = classes.iter().map(|c| c.f1).sum();
    let weighted: f64 = classes.iter().map(|c| c.f1 * c.support as f64).sum();
    let support: u64 = classes.iter().map(|c| c.support).sum();
    (ratio(sum, count as f64), ratio(weighted, support as f64))
}

/// The cases that scikit-learn and scipy have computed.
#[cfg(test)]
fn golden_cases() -> Vec<serde_json::Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/golden/tasks.json"
    );
    let mut golden: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(golden["metrics"].take()).unwrap()
}
