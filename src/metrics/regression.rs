//! The metrics of regression.

use super::ratio;

/// The metrics of regression. None is NaN where no value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionMetrics {
    /// The mean squared error over all examples and targets.
    pub mse: f64,
    /// Pearson's correlation of truth and prediction; of several targets the mean.
    pub pearson: f64,
    /// Spearman's; of several targets the mean.
    pub spearman: f64,
}

impl RegressionMetrics {
    /// The metrics of predictions [examples, width], where `truth` is right.
    pub fn of(truth: &[f32], predicted: &[f32], width: usize) -> RegressionMetrics {
        let squares = truth.iter().zip(predicted).map(|(&t, &p)| {
            let difference = f64::from(t) - f64::from(p);
            difference * difference
        });
        let column = |values: &[f32], target: usize| -> Vec<f64> {
            let column = values.iter().skip(target).step_by(width);
            column.map(|&v| f64::from(v)).collect()
        };
        let (mut pearsons, mut spearmans) = (0.0, 0.0);
        for target in 0..width {
            let (truth, predicted) = (column(truth, target), column(predicted, target));
            pearsons += pearson(&truth, &predicted);
            spearmans += spearman(&truth, &predicted);
        }
        RegressionMetrics {
            mse: ratio(squares.sum(), truth.len() as f64),
            pearson: ratio(pearsons, width as f64),
            spearman: ratio(spearmans, width as f64),
        }
    }
}

/// Pearson's correlation coefficient (`scipy.stats.pearsonr`); 0 where it is undefined: of fewer than two values, or
/// where one side is the same throughout.
pub fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let is_constant = |values: &[f64]| values.iter().all(|v| *v == values[0]);
    if a.len() < 2 || is_constant(a) || is_constant(b) {
        return 0.0;
    }
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| v - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let lengths = product(&a, &a).sqrt() * product(&b, &b).sqrt();
    ratio(product(&a, &b), lengths).clamp(-1.0, 1.0)
}

/// Spearman's rank correlation (`scipy.stats.spearmanr`): Pearson's of the ranks, equal values sharing their mean rank; 0
/// where it is undefined, as [`pearson`].
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

/// The rank of each value; equal values have the mean of the ranks that they take up.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    // By value and not by bits: 0 and -0 are equal, and lie side by side.
    for equals in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let mean = first as f64 + (equals.len() - 1) as f64 / 2.0;
        for &index in equals {
            ranks[index] = mean;
        }
        first += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::metrics::golden_cases;

    #[test]
    fn the_metrics_are_those_of_scipy() {
        let cases = golden_cases();
        let is_ours = |c: &&Value| c["name"] == "regression, with ties";
        let case = cases.iter().find(is_ours).unwrap();
        let numbers = |key: &str| -> Vec<f64> {
            let list = case[key].as_array().unwrap();
            list.iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let (truth, predicted) = (numbers("true"), numbers("pred"));
        let expected = |key: &str| case[key].as_f64().unwrap();
        assert!((pearson(&truth, &predicted) - expected("pearson")).abs() < 1e-12);
        assert!((spearman(&truth, &predicted) - expected("spearman")).abs() < 1e-12);
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let metrics = RegressionMetrics::of(&narrow(&truth), &narrow(&predicted), 1);
        assert!((metrics.mse - expected("mse")).abs() < 1e-6);
        assert!((metrics.pearson - expected("pearson")).abs() < 1e-6);
        assert!((metrics.spearman - expected("spearman")).abs() < 1e-6);
    }

    #[test]
    fn several_targets_are_averaged() {
        // The first target is right, the second one's order is reversed.
        let truth = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        let predicted = [1.0, 3.0, 2.0, 2.0, 3.0, 1.0];
        let metrics = RegressionMetrics::of(&truth, &predicted, 2);
        assert_eq!((metrics.pearson, metrics.spearman), (0.0, 0.0));
        assert!((metrics.mse - 8.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_undefined_is_zero() {
        assert_eq!(pearson(&[], &[]), 0.0);
        assert_eq!(pearson(&[1.0], &[2.0]), 0.0);
        // 0.1 three times has a mean that isn't 0.1.
        assert_eq!(pearson(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), 0.0);
        assert_eq!(spearman(&[1.0, 2.0], &[5.0, 5.0]), 0.0);
        let nothing = RegressionMetrics::of(&[], &[], 1);
        assert_eq!((nothing.mse, nothing.pearson), (0.0, 0.0));
    }

    #[test]
    fn equal_values_share_their_mean_rank() {
        assert_eq!(
            ranks(&[3.0, 1.0, 3.0, 0.0, -0.0]),
            [3.5, 2.0, 3.5, 0.5, 0.5]
        );
        // Any rising function has the same ranks.
        let a: Vec<f64> = (0..20).map(|i| f64::from(i * 7 % 20)).collect();
        let b: Vec<f64> = a.iter().map(|x| (x / 3.0).exp()).collect();
        assert!((spearman(&a, &b) - 1.0).abs() < 1e-12);
        assert!(pearson(&a, &b) < 0.9);
    }
}
