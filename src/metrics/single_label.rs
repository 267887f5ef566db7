//! The metrics of single-label classification, counted from (true class, predicted class) pairs.

use std::collections::BTreeMap;

use super::{ClassMetrics, Tally, f1_means, ratio};
use crate::error::{Error, Result};

/// How often each class was predicted for each true class.
///
/// Only the cells that occurred are held, so that many classes cost memory by the example and not by the square.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    num_classes: usize,
    cells: BTreeMap<(u32, u32), u64>,
}

/// The metrics of single-label classification. None is ever NaN; without examples all are 0.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassificationMetrics {
    /// The share of right predictions.
    pub accuracy: f64,
    /// The mean of the F1 of the classes that occur, in the truth or in the predictions: scikit-learn's default.
    pub f1_macro: f64,
    /// The mean of every class's F1, weighted by its examples.
    pub f1_weighted: f64,
    /// Matthews' correlation coefficient in its form for many classes (R_k); 0 where it is undefined, that is where
    /// only one class occurs or only one is predicted.
    pub matthews: f64,
    /// Each class by its id.
    pub classes: Vec<ClassMetrics>,
}

impl ConfusionMatrix {
    /// A matrix of zeros for classes 0 to `num_classes` - 1.
    pub fn new(num_classes: usize) -> ConfusionMatrix {
        ConfusionMatrix {
            num_classes,
            cells: BTreeMap::new(),
        }
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Counts one example.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a class that the matrix doesn't have; nothing is counted then.
    pub fn add(&mut self, true_class: u32, predicted: u32) -> Result<()> {
        for class in [true_class, predicted] {
            if class as usize >= self.num_classes {
                return Err(Error::InvalidArgument(format!(
                    "There is no class {class}; the confusion matrix has {} classes.",
                    self.num_classes
                )));
            }
        }
        *self.cells.entry((true_class, predicted)).or_default() += 1;
        Ok(())
    }

    /// How often `predicted` was predicted where `true_class` was right; 0 for classes that aren't there.
    pub fn get(&self, true_class: u32, predicted: u32) -> u64 {
        let cell = self.cells.get(&(true_class, predicted));
        cell.copied().unwrap_or(0)
    }

    /// The whole matrix, row by row: rows are true classes, columns predicted ones.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where so many cells don't fit.
    pub fn counts(&self) -> Result<Vec<u64>> {
        let n = self.num_classes;
        let mut counts: Vec<u64> = Vec::new();
        let cells = n.checked_mul(n);
        match cells.map(|cells| (cells, counts.try_reserve_exact(cells))) {
            Some((cells, Ok(()))) => counts.resize(cells, 0),
            _ => {
                return Err(Error::OutOfMemory(format!(
                    "A confusion matrix of {n} by {n} classes doesn't fit into memory; read its cells one by one."
                )));
            }
        }
        for (&(true_class, predicted), &count) in &self.cells {
            if let Some(cell) = counts.get_mut(true_class as usize * n + predicted as usize) {
                *cell = count;
            }
        }
        Ok(counts)
    }

    /// Everything that is derived from the counts.
    pub fn metrics(&self) -> ClassificationMetrics {
        let mut tallies = vec![Tally::default(); self.num_classes];
        let (mut right, mut total) = (0u64, 0u64);
        for (&(true_class, predicted), &count) in &self.cells {
            total += count;
            if let Some(tally) = tallies.get_mut(true_class as usize) {
                tally.support += count;
            }
            if let Some(tally) = tallies.get_mut(predicted as usize) {
                tally.predicted += count;
                if true_class == predicted {
                    tally.right += count;
                    right += count;
                }
            }
        }
        let classes: Vec<ClassMetrics> = tallies.iter().map(Tally::metrics).collect();
        let occurring = tallies.iter().filter(|tally| tally.occurs()).count();
        let (f1_macro, f1_weighted) = f1_means(&classes, occurring);
        ClassificationMetrics {
            accuracy: ratio(right as f64, total as f64),
            f1_macro,
            f1_weighted,
            matthews: matthews(&tallies, right, total),
            classes,
        }
    }
}

/// The covariance of truth and prediction over the root of the product of their variances, in whole numbers up to the
/// last division, so that no large terms cancel.
fn matthews(tallies: &[Tally], right: u64, total: u64) -> f64 {
    let sum = |of: fn(&Tally) -> u128| tallies.iter().map(of).sum::<u128>() as i128;
    let (right, total) = (i128::from(right), i128::from(total));
    let square = total * total;
    let covariance = right * total - sum(|t| u128::from(t.support) * u128::from(t.predicted));
    let of_truth = square - sum(|t| u128::from(t.support) * u128::from(t.support));
    let of_prediction = square - sum(|t| u128::from(t.predicted) * u128::from(t.predicted));
    let variance = of_truth as f64 * of_prediction as f64;
    ratio(covariance as f64, variance.sqrt()).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::metrics::golden_cases;

    fn matrix(num_classes: usize, pairs: &[(u32, u32)]) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(num_classes);
        for &(t, p) in pairs {
            matrix.add(t, p).unwrap();
        }
        matrix
    }

    fn numbers(value: &Value) -> Vec<f64> {
        let list = value.as_array().unwrap();
        list.iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn close(a: f64, b: f64, what: &str) {
        assert!((a - b).abs() < 1e-12, "{what}: {a} is not {b}");
    }

    #[test]
    fn the_metrics_are_those_of_scikit_learn() {
        let mut cases = 0;
        for case in golden_cases() {
            let Some(n) = case["num_classes"].as_u64() else {
                continue; // Not single-label.
            };
            cases += 1;
            let name = case["name"].as_str().unwrap();
            let (truth, predicted) = (numbers(&case["true"]), numbers(&case["pred"]));
            let pairs: Vec<(u32, u32)> = truth
                .iter()
                .zip(&predicted)
                .map(|(t, p)| (*t as u32, *p as u32))
                .collect();
            let matrix = matrix(n as usize, &pairs);
            let metrics = matrix.metrics();
            close(metrics.accuracy, case["accuracy"].as_f64().unwrap(), name);
            close(metrics.f1_macro, case["f1_macro"].as_f64().unwrap(), name);
            close(
                metrics.f1_weighted,
                case["f1_weighted"].as_f64().unwrap(),
                name,
            );
            close(metrics.matthews, case["matthews"].as_f64().unwrap(), name);
            let rows = case["confusion"].as_array().unwrap();
            let confusion: Vec<f64> = rows.iter().flat_map(numbers).collect();
            let counts: Vec<f64> = matrix.counts().unwrap().iter().map(|&c| c as f64).collect();
            assert_eq!(counts, confusion, "{name}");
            assert_eq!(metrics.classes.len(), n as usize);
            for (i, class) in metrics.classes.iter().enumerate() {
                close(class.precision, numbers(&case["precision"])[i], name);
                close(class.recall, numbers(&case["recall"])[i], name);
                close(class.f1, numbers(&case["f1"])[i], name);
                assert_eq!(class.support as f64, numbers(&case["support"])[i], "{name}");
            }
        }
        assert_eq!(cases, 5);
    }

    #[test]
    fn rows_are_true_classes() {
        let matrix = matrix(2, &[(0, 1), (0, 1), (1, 1)]);
        assert_eq!(matrix.num_classes(), 2);
        assert_eq!(matrix.counts().unwrap(), [0, 2, 0, 1]);
        assert_eq!(
            (matrix.get(0, 1), matrix.get(1, 0), matrix.get(9, 9)),
            (2, 0, 0)
        );
    }

    #[test]
    fn without_examples_everything_is_zero() {
        for n in [0, 1, 3] {
            let metrics = ConfusionMatrix::new(n).metrics();
            let all = [
                metrics.accuracy,
                metrics.f1_macro,
                metrics.f1_weighted,
                metrics.matthews,
            ];
            assert_eq!(all, [0.0; 4]);
            assert_eq!(metrics.classes.len(), n);
            assert!(
                metrics
                    .classes
                    .iter()
                    .all(|c| c.f1 == 0.0 && c.precision == 0.0)
            );
        }
    }

    #[test]
    fn perfect_and_reversed_predictions_are_one_and_minus_one() {
        let right = matrix(3, &[(0, 0), (1, 1), (2, 2), (2, 2)]).metrics();
        assert_eq!(
            (right.accuracy, right.f1_macro, right.matthews),
            (1.0, 1.0, 1.0)
        );
        let wrong = matrix(2, &[(0, 1), (1, 0)]).metrics();
        assert_eq!(
            (wrong.accuracy, wrong.f1_macro, wrong.matthews),
            (0.0, 0.0, -1.0)
        );
        // One class only: the correlation is undefined and counts as 0.
        assert_eq!(matrix(2, &[(1, 1), (1, 1)]).metrics().matthews, 0.0);
    }

    #[test]
    fn a_class_that_is_not_there_is_refused() {
        let mut matrix = ConfusionMatrix::new(2);
        let before = matrix.clone();
        let expected = "There is no class 2; the confusion matrix has 2 classes.";
        assert_eq!(matrix.add(2, 0).unwrap_err().message(), expected);
        assert_eq!(matrix.add(0, 2).unwrap_err().message(), expected);
        assert_eq!(matrix, before);
    }

    /// scikit-learn 1.9's `f1_score(…, average="macro")`, which goes by the classes that it is shown.
    #[test]
    fn a_class_that_never_occurs_has_no_part_in_the_macro_mean() {
        let macro_f1 = |n, pairs: &[(u32, u32)]| matrix(n, pairs).metrics().f1_macro;
        assert_eq!(macro_f1(3, &[(0, 0), (0, 0)]), 1.0);
        assert_eq!(macro_f1(6, &[(1, 1), (3, 3), (5, 5)]), 1.0);
        // Of the classes 0, 1, 2 and 4 the last is predicted and never right.
        assert_eq!(macro_f1(6, &[(0, 0), (0, 0), (1, 1), (2, 4)]), 0.5);
        let metrics = matrix(6, &[(0, 0), (0, 0), (1, 1), (2, 4)]).metrics();
        assert_eq!(metrics.f1_weighted, 0.75);
        assert_eq!((metrics.classes.len(), metrics.classes[5].f1), (6, 0.0));
    }

    #[test]
    fn many_classes_cost_no_square_of_memory() {
        let matrix = matrix(100_000, &[(99_999, 99_999), (5, 7)]);
        assert_eq!(matrix.metrics().accuracy, 0.5);
        let absurd = ConfusionMatrix::new(1 << 33);
        assert!(matches!(absurd.counts(), Err(Error::OutOfMemory(_))));
    }
}
