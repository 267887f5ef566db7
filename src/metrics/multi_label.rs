//! The metrics of multi-label classification.

use super::{ClassMetrics, Tally, f1_means, ratio};
use crate::error::{Error, Result};

/// How often each label was right, there and predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelCounts {
    labels: Vec<Tally>,
    examples: u64,
    /// Examples whose labels were all predicted, and no other.
    exact: u64,
}

/// The metrics of multi-label classification. None is ever NaN; without examples all are 0.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiLabelMetrics {
    /// The share of examples whose labels were all predicted, and no other (subset accuracy).
    pub accuracy: f64,
    /// F1 of all (example, label) pairs counted together.
    pub f1_micro: f64,
    /// The mean of every label's F1, those without examples included: scikit-learn's of a matrix with a column a label.
    pub f1_macro: f64,
    /// The mean of every label's F1, weighted by its examples.
    pub f1_weighted: f64,
    /// Each label by its id.
    pub labels: Vec<ClassMetrics>,
}

impl LabelCounts {
    /// Zeros for labels 0 to `num_labels` - 1.
    pub fn new(num_labels: usize) -> LabelCounts {
        LabelCounts {
            labels: vec![Tally::default(); num_labels],
            examples: 0,
            exact: 0,
        }
    }

    /// Counts one example: the ids of the labels that it has and of those predicted, each once and ascending.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a label that isn't there; nothing is counted then.
    pub fn add(&mut self, truth: &[u32], predicted: &[u32]) -> Result<()> {
        let num_labels = self.labels.len();
        let unknown = |id: &&u32| **id as usize >= num_labels;
        if let Some(id) = truth.iter().chain(predicted).find(unknown) {
            return Err(Error::InvalidArgument(format!(
                "There is no label {id}; {num_labels} labels are counted."
            )));
        }
        for &id in truth {
            let label = &mut self.labels[id as usize];
            label.support += 1;
            label.right += u64::from(predicted.binary_search(&id).is_ok());
        }
        for &id in predicted {
            self.labels[id as usize].predicted += 1;
        }
        self.examples += 1;
        self.exact += u64::from(truth == predicted);
        Ok(())
    }

    /// Everything that is derived from the counts.
    pub fn metrics(&self) -> MultiLabelMetrics {
        let labels: Vec<ClassMetrics> = self.labels.iter().map(Tally::metrics).collect();
        let (f1_macro, f1_weighted) = f1_means(&labels, labels.len());
        let sum = |of: fn(&Tally) -> u64| self.labels.iter().map(of).sum();
        let all = Tally {
            right: sum(|t| t.right),
            support: sum(|t| t.support),
            predicted: sum(|t| t.predicted),
        };
        MultiLabelMetrics {
            accuracy: ratio(self.exact as f64, self.examples as f64),
            f1_micro: all.metrics().f1,
            f1_macro,
            f1_weighted,
            labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::metrics::golden_cases;

    #[test]
    fn the_metrics_are_those_of_scikit_learn() {
        let cases = golden_cases();
        let case = cases.iter().find(|c| c["name"] == "multi-label").unwrap();
        let lists = |key: &str| -> Vec<Vec<u32>> {
            let list = |row: &Value| {
                let row = row.as_array().unwrap();
                (0..)
                    .zip(row)
                    .filter(|(_, v)| **v == 1)
                    .map(|(id, _)| id)
                    .collect()
            };
            case[key].as_array().unwrap().iter().map(list).collect()
        };
        let mut counts = LabelCounts::new(4);
        for (truth, predicted) in lists("true").iter().zip(&lists("pred")) {
            counts.add(truth, predicted).unwrap();
        }
        let metrics = counts.metrics();
        for (got, key) in [
            (metrics.f1_micro, "f1_micro"),
            (metrics.f1_macro, "f1_macro"),
            (metrics.accuracy, "subset_accuracy"),
        ] {
            assert!((got - case[key].as_f64().unwrap()).abs() < 1e-12, "{key}");
        }
    }

    #[test]
    fn every_label_is_counted_apart() {
        let mut counts = LabelCounts::new(3);
        counts.add(&[0, 1], &[0]).unwrap();
        counts.add(&[0], &[0, 1]).unwrap();
        counts.add(&[], &[]).unwrap();
        counts.add(&[1], &[1]).unwrap();
        let before = counts.clone();
        assert!(counts.add(&[0], &[3]).is_err());
        assert_eq!(counts, before);
        let metrics = counts.metrics();
        assert_eq!(metrics.accuracy, 0.5);
        let of = |id: usize| {
            let l = &metrics.labels[id];
            (l.precision, l.recall, l.f1, l.support)
        };
        assert_eq!(of(0), (1.0, 1.0, 1.0, 2));
        assert_eq!(of(1), (0.5, 0.5, 0.5, 2));
        assert_eq!(of(2), (0.0, 0.0, 0.0, 0));
        assert_eq!((metrics.f1_macro, metrics.f1_weighted), (0.5, 0.75));
        // Three right of four there and four predicted.
        assert_eq!(metrics.f1_micro, 0.75);
    }

    /// scikit-learn 1.9's `f1_score(…, average="macro")` of matrices goes by all of their columns.
    #[test]
    fn a_label_that_never_occurs_counts_as_zero() {
        let mut counts = LabelCounts::new(3);
        for (truth, predicted) in [(&[0][..], &[0][..]), (&[0, 1], &[0]), (&[1], &[1])] {
            counts.add(truth, predicted).unwrap();
        }
        let metrics = counts.metrics();
        assert!((metrics.f1_macro - 0.555_555_555_555_555_5).abs() < 1e-15);
        assert!((metrics.f1_weighted - 0.833_333_333_333_333_3).abs() < 1e-15);
    }

    #[test]
    fn without_examples_everything_is_zero() {
        let metrics = LabelCounts::new(2).metrics();
        let all = [
            metrics.accuracy,
            metrics.f1_micro,
            metrics.f1_macro,
            metrics.f1_weighted,
        ];
        assert_eq!(all, [0.0; 4]);
    }
}
