//! Scores that are linear in given vectors, fitted to convergence: a convex loss and half the squared weights, as
//! scikit-learn's `LogisticRegression` and `Ridge` have it. Biases aren't penalised.
//!
//! The vectors are taken from their mean: that changes the biases alone, which is undone at the end. Rows are summed up
//! in blocks that don't depend on the threads, so that the result doesn't either.

use rayon::prelude::*;

use super::lbfgs::{self, Ended, Limits};
use crate::error::Result;
use crate::memory;
use crate::threads;

/// Blocks of rows that are summed up by themselves, at most.
const MOST_BLOCKS: usize = 16;

/// Rows of a block, at least.
const LEAST_ROWS: usize = 256;

/// Rows that a covariance takes at once.
const COVARIANCE_ROWS: usize = 64;

/// Wider vectors have no [`Curvature`]: making it would take longer than it saves.
const MOST_WIDTH: usize = 2048;

/// Vectors [rows, width] and how much each weighs.
pub struct Rows<'a> {
    vectors: &'a [f32],
    width: usize,
    weights: &'a [f64],
    mean: Vec<f64>,
    /// The sum of all weights.
    total: f64,
}

impl<'a> Rows<'a> {
    /// Of vectors one after another, and a positive weight for each.
    pub fn new(vectors: &'a [f32], width: usize, weights: &'a [f64]) -> Result<Rows<'a>> {
        let total: f64 = weights.iter().sum();
        let mut mean = memory::filled(0f64, width)?;
        for (row, weight) in vectors.chunks_exact(width).zip(weights) {
            for (mean, &x) in mean.iter_mut().zip(row) {
                *mean += weight * f64::from(x);
            }
        }
        mean.iter_mut().for_each(|mean| *mean /= total);
        Ok(Rows {
            vectors,
            width,
            weights,
            mean,
            total,
        })
    }

    fn row(&self, index: usize) -> &'a [f32] {
        &self.vectors[index * self.width..(index + 1) * self.width]
    }

    /// The mean of (x - mean)(x - mean)ᵀ, of which the lower triangle is filled.
    fn covariance(&self) -> Result<Vec<f64>> {
        let width = self.width;
        let mut sums = memory::filled(0f64, width * width)?;
        let mut centred = memory::filled(0f64, COVARIANCE_ROWS * width)?;
        let all = self.vectors.chunks(COVARIANCE_ROWS * width);
        for (rows, weights) in all.zip(self.weights.chunks(COVARIANCE_ROWS)) {
            for (row, out) in rows
                .chunks_exact(width)
                .zip(centred.chunks_exact_mut(width))
            {
                for ((out, &x), mean) in out.iter_mut().zip(row).zip(&self.mean) {
                    *out = f64::from(x) - mean;
                }
            }
            each_row(&mut sums, width, |number, sums| {
                for (row, weight) in centred.chunks_exact(width).zip(weights) {
                    let factor = weight * row[number] / self.total;
                    for (sum, x) in sums[..=number].iter_mut().zip(row) {
                        *sum += factor * x;
                    }
                }
            });
        }
        Ok(sums)
    }
}

/// What the second derivative of an objective is about: `second` · the vectors' covariance, and the penalty.
pub struct Curvature {
    /// Its Cholesky factor, the lower triangle; empty where it isn't known.
    factor: Vec<f64>,
    width: usize,
    second: f64,
}

impl Curvature {
    /// `second` is the loss's second derivative by a score, about.
    pub fn new(rows: &Rows<'_>, second: f64, penalty: f64) -> Result<Curvature> {
        let width = rows.width;
        let mut factor = Vec::new();
        if width <= MOST_WIDTH {
            factor = rows.covariance()?;
            factor.iter_mut().for_each(|value| *value *= second);
            for number in 0..width {
                factor[number * width + number] += penalty;
            }
            if !cholesky(&mut factor, width) {
                factor = Vec::new();
            }
        }
        Ok(Curvature {
            factor,
            width,
            second,
        })
    }

    /// Multiplies derivatives, by weights [scores, width] and biases [scores], by the inverse.
    fn divide(&self, gradient: &mut [f64], scores: usize) {
        if self.factor.is_empty() {
            return;
        }
        let width = self.width;
        let (weights, biases) = gradient.split_at_mut(scores * width);
        biases.iter_mut().for_each(|bias| *bias /= self.second);
        each_row(weights, width, |_, values| {
            for number in 0..width {
                let row = &self.factor[number * width..][..=number];
                let known = dot(&row[..number], &values[..number]);
                values[number] = (values[number] - known) / row[number];
            }
            for number in (0..width).rev() {
                let row = &self.factor[number * width..][..=number];
                let value = values[number] / row[number];
                values[number] = value;
                for (other, factor) in values[..number].iter_mut().zip(row) {
                    *other -= value * factor;
                }
            }
        });
    }
}

/// Turns the lower triangle of a matrix into its Cholesky factor; false where it isn't positive.
fn cholesky(matrix: &mut [f64], width: usize) -> bool {
    for number in 0..width {
        let (above, below) = matrix.split_at_mut(number * width);
        let row = &mut below[..=number];
        for other in 0..number {
            let earlier = &above[other * width..][..=other];
            row[other] = (row[other] - dot(&row[..other], &earlier[..other])) / earlier[other];
        }
        let rest = row[number] - dot(&row[..number], &row[..number]);
        if rest.is_nan() || rest <= 0.0 {
            return false;
        }
        row[number] = rest.sqrt();
    }
    true
}

/// Scores weight · x + bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// [scores, width].
    pub weight: Vec<f64>,
    /// [scores].
    pub bias: Vec<f64>,
}

/// Fits `scores` scores: minimises the mean loss of the rows, by their weights, + `penalty` / 2 · Σ weight². `loss`
/// gets a row's number and scores, writes the loss's derivative by each and gives the loss.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
pub fn fit(
    rows: &Rows<'_>,
    scores: usize,
    loss: impl Fn(usize, &[f64], &mut [f64]) -> f64 + Sync,
    (penalty, curvature): (f64, &Curvature),
    limits: Limits,
) -> Result<(Linear, Ended)> {
    let width = rows.width;
    let mut parameters = memory::filled(0f64, scores * (width + 1))?;
    let ended = lbfgs::minimise(
        &mut parameters,
        limits,
        |parameters, gradient| objective(rows, scores, &loss, penalty, parameters, gradient),
        |gradient| curvature.divide(gradient, scores),
    )?;
    let mut bias = parameters.split_off(scores * width);
    for (bias, weight) in bias.iter_mut().zip(parameters.chunks_exact(width)) {
        *bias -= dot(weight, &rows.mean);
    }
    let linear = Linear {
        weight: parameters,
        bias,
    };
    Ok((linear, ended))
}

fn objective(
    rows: &Rows<'_>,
    scores: usize,
    loss: &(impl Fn(usize, &[f64], &mut [f64]) -> f64 + Sync),
    penalty: f64,
    parameters: &[f64],
    gradient: &mut [f64],
) -> Result<f64> {
    let (width, count) = (rows.width, rows.weights.len());
    let (weights, biases) = parameters.split_at(scores * width);
    let mut shifted = memory::copied(biases)?;
    for (bias, weight) in shifted.iter_mut().zip(weights.chunks_exact(width)) {
        *bias -= dot(weight, &rows.mean);
    }
    let block = LEAST_ROWS.max(count.div_ceil(MOST_BLOCKS));
    let parts = each(count.div_ceil(block), |number| -> Result<_> {
        let mut sums = memory::filled(0f64, parameters.len())?;
        let (by_weight, by_bias) = sums.split_at_mut(scores * width);
        let mut z = memory::filled(0f64, scores)?;
        let mut derivative = memory::filled(0f64, scores)?;
        let mut value = 0.0;
        for index in number * block..count.min((number + 1) * block) {
            let row = rows.row(index);
            for ((z, weight), bias) in z.iter_mut().zip(weights.chunks_exact(width)).zip(&shifted) {
                *z = bias + mixed_dot(weight, row);
            }
            let row_weight = rows.weights[index];
            value += row_weight * loss(index, &z, &mut derivative);
            for ((by_weight, by_bias), derivative) in by_weight
                .chunks_exact_mut(width)
                .zip(&mut *by_bias)
                .zip(&derivative)
            {
                let factor = row_weight * derivative;
                *by_bias += factor;
                for (sum, &x) in by_weight.iter_mut().zip(row) {
                    *sum += factor * f64::from(x);
                }
            }
        }
        Ok((value, sums))
    });
    gradient.fill(0.0);
    let mut value = 0.0;
    for part in parts {
        let (part, sums) = part?;
        value += part;
        for (gradient, sum) in gradient.iter_mut().zip(&sums) {
            *gradient += sum;
        }
    }
    let (by_weight, by_bias) = gradient.split_at_mut(scores * width);
    let all = by_weight.chunks_exact_mut(width).zip(&mut *by_bias);
    for ((by_weight, by_bias), weight) in all.zip(weights.chunks_exact(width)) {
        for ((sum, mean), weight) in by_weight.iter_mut().zip(&rows.mean).zip(weight) {
            *sum = (*sum - *by_bias * mean) / rows.total + penalty * weight;
        }
        *by_bias /= rows.total;
    }
    Ok(value / rows.total + 0.5 * penalty * dot(weights, weights))
}

/// What `work` makes of each number below `count`, in their order; on all threads.
fn each<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    match threads::current_num_threads() {
        1 => (0..count).map(work).collect(),
        _ => (0..count).into_par_iter().map(work).collect(),
    }
}

/// Calls `work` with each row of a matrix and its number, on all threads.
fn each_row(matrix: &mut [f64], width: usize, work: impl Fn(usize, &mut [f64]) + Sync + Send) {
    let rows = matrix.len() / width;
    if threads::current_num_threads() == 1 || rows == 1 {
        for (number, row) in matrix.chunks_exact_mut(width).enumerate() {
            work(number, row);
        }
        return;
    }
    matrix
        .par_chunks_exact_mut(width)
        .with_min_len(rows.div_ceil(64))
        .enumerate()
        .for_each(|(number, row)| work(number, row));
}

/// Σ a · b, in eight sums at once.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    lanes(a, b, |b| b)
}

fn mixed_dot(a: &[f64], b: &[f32]) -> f64 {
    lanes(a, b, f64::from)
}

fn lanes<T: Copy>(a: &[f64], b: &[T], wide: impl Fn(T) -> f64) -> f64 {
    let mut sums = [0f64; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = (a_chunks.remainder().iter())
        .zip(b_chunks.remainder())
        .map(|(&a, &b)| a * wide(b))
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * wide(b[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// ln(1 + exp(-margin)) and its derivative, without overflow.
pub fn logistic(margin: f64) -> (f64, f64) {
    let loss = (-margin).max(0.0) + (-margin.abs()).exp().ln_1p();
    (loss, -1.0 / (1.0 + margin.exp()))
}

/// ln Σ exp(z), without overflow.
pub fn log_sum_exp(z: &[f64]) -> f64 {
    let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + z.iter().map(|z| (z - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_iterations: 1000,
        tolerance: 1e-12,
    };

    /// Nine rows of three numbers; class i has rows 3 i to 3 i + 2.
    const VECTORS: [f32; 27] = [
        1.0, 0.5, -1.0, 2.0, 1.0, 0.25, 0.0, 3.0, 1.0, -1.0, 0.75, 2.0, 0.5, -2.0, 1.5, 1.25, 0.0,
        -0.5, -0.25, 1.0, 4.0, 3.0, -1.0, 0.0, 2.0, 2.0, -3.0,
    ];

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-6,
                "{found} and not {expected}"
            );
        }
    }

    /// Fits the first `rows` rows, once with the curvature and once without: the minimum is the same.
    fn fitted(
        rows: usize,
        weights: &[f64],
        scores: usize,
        c: f64,
        loss: impl Fn(usize, &[f64], &mut [f64]) -> f64 + Sync,
    ) -> Linear {
        let rows = Rows::new(&VECTORS[..rows * 3], 3, weights).unwrap();
        let penalty = 1.0 / (c * rows.total);
        let curvature = Curvature::new(&rows, 0.25, penalty).unwrap();
        let (linear, ended) = fit(&rows, scores, &loss, (penalty, &curvature), LIMITS).unwrap();
        assert!(ended.is_converged, "{ended:?}");
        let none = Curvature {
            factor: Vec::new(),
            ..curvature
        };
        let (plain, ended) = fit(&rows, scores, &loss, (penalty, &none), LIMITS).unwrap();
        assert!(ended.is_converged, "{ended:?}");
        near(&plain.weight, &linear.weight);
        near(&plain.bias, &linear.bias);
        linear
    }

    fn binary(classes: [bool; 6]) -> impl Fn(usize, &[f64], &mut [f64]) -> f64 + Sync {
        move |index, z, derivative| {
            let sign = if classes[index] { 1.0 } else { -1.0 };
            let (loss, by_margin) = logistic(sign * z[0]);
            derivative[0] = sign * by_margin;
            loss
        }
    }

    fn multinomial(class: usize, z: &[f64], derivative: &mut [f64]) -> f64 {
        let sum = log_sum_exp(z);
        for (number, (derivative, z)) in derivative.iter_mut().zip(z).enumerate() {
            *derivative = (z - sum).exp() - f64::from(u8::from(number == class));
        }
        sum - z[class]
    }

    /// The values are those of scikit-learn 1.9's LogisticRegression(C=C, tol=1e-12) on the same numbers.
    #[test]
    fn two_classes_are_scikit_learns() {
        let classes = [false, false, false, true, true, true];
        for (c, weight, bias) in [
            (1.0, [-0.445976418, -0.894198383, 0.391189973], 0.691188899),
            (0.1, [-0.094897831, -0.219511711, 0.106703208], 0.123356634),
            (30.0, [-0.993990924, -4.390002534, 1.748773878], 3.340685064),
        ] {
            let found = fitted(6, &[1.0; 6], 1, c, binary(classes));
            near(&found.weight, &weight);
            near(&found.bias, &[bias]);
        }
        // class_weight={0: 1, 1: 3}
        let weights = [1.0, 1.0, 1.0, 3.0, 3.0, 3.0];
        let found = fitted(6, &weights, 1, 1.0, binary(classes));
        near(&found.weight, &[-0.548245754, -1.176893143, 0.415636212]);
        near(&found.bias, &[1.792281225]);
    }

    #[test]
    fn three_classes_are_scikit_learns() {
        for (c, weight, bias) in [
            (
                1.0,
                [
                    0.140467941,
                    0.498933696,
                    -0.023381039,
                    -0.693416699,
                    -0.693346929,
                    -0.145509904,
                    0.552948758,
                    0.194413234,
                    0.168890943,
                ],
                [-0.395141614, 1.004490471, -0.609348857],
            ),
            (
                5.0,
                [
                    0.377764180,
                    0.790732528,
                    0.059157749,
                    -1.328371333,
                    -1.292809502,
                    -0.375740088,
                    0.950607154,
                    0.502076975,
                    0.316582339,
                ],
                [-0.708936444, 1.861480319, -1.152543876],
            ),
        ] {
            let loss = |index: usize, z: &[f64], d: &mut [f64]| multinomial(index / 3, z, d);
            let found = fitted(9, &[1.0; 9], 3, c, loss);
            near(&found.weight, &weight);
            near(&found.bias, &bias);
        }
    }

    /// Those of Ridge(alpha=1/C), each target by itself.
    #[test]
    fn numbers_are_scikit_learns() {
        let targets = [
            [1.0, 10.0],
            [2.0, -5.0],
            [3.5, 0.0],
            [0.0, 7.0],
            [-1.0, 100.0],
            [4.0, 3.0],
            [2.5, 2.0],
            [1.5, -30.0],
            [0.25, 8.0],
        ];
        let loss = |index: usize, z: &[f64], derivative: &mut [f64]| {
            let mut sum = 0.0;
            for ((derivative, z), y) in derivative.iter_mut().zip(z).zip(targets[index]) {
                *derivative = z - y;
                sum += 0.5 * (z - y) * (z - y);
            }
            sum
        };
        for (c, weight, bias) in [
            (
                1.0,
                [
                    0.574451823,
                    0.621419221,
                    0.367214815,
                    -18.382415921,
                    -15.257224295,
                    -6.296908531,
                ],
                [0.449338403, 39.790313792],
            ),
            (
                10.0,
                [
                    0.712138034,
                    0.693175149,
                    0.443210024,
                    -22.224089265,
                    -17.131722996,
                    -8.292009323,
                ],
                [0.241557176, 45.454149345],
            ),
        ] {
            let found = fitted(9, &[1.0; 9], 2, c, loss);
            near(&found.weight, &weight);
            near(&found.bias, &bias);
        }
        // The curvature of squares is known: one step is enough.
        let rows = Rows::new(&VECTORS, 3, &[1.0; 9]).unwrap();
        let curvature = Curvature::new(&rows, 1.0, 1.0 / 9.0).unwrap();
        let penalty = (1.0 / 9.0, &curvature);
        let (_, ended) = fit(&rows, 2, loss, penalty, LIMITS).unwrap();
        assert!(ended.is_converged && ended.iterations <= 2, "{ended:?}");
    }

    #[test]
    fn losses_do_not_overflow() {
        for (margin, loss, derivative) in [(1e4, 0.0, 0.0), (-1e4, 1e4, -1.0)] {
            assert_eq!(logistic(margin), (loss, derivative));
        }
        assert_eq!(log_sum_exp(&[1e5, 1e5]), 1e5 + 2f64.ln());
    }

    #[test]
    fn the_threads_change_nothing() {
        let vectors: Vec<f32> = (0..3000 * 5)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 20.0)
            .collect();
        let weights = vec![1.0; 3000];
        let fit_in = |count: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(count)
                .build()
                .unwrap();
            pool.install(|| {
                let rows = Rows::new(&vectors, 5, &weights).unwrap();
                let curvature = Curvature::new(&rows, 0.25, 1e-3).unwrap();
                let loss = |index: usize, z: &[f64], derivative: &mut [f64]| {
                    multinomial(index * index % 3, z, derivative)
                };
                fit(&rows, 3, loss, (1e-3, &curvature), LIMITS).unwrap().0
            })
        };
        assert_eq!(fit_in(1), fit_in(3));
    }
}
