//! Layer norm (Ba, Kiros and Hinton, 2016), and what stands before it in a block: bias, dropout and residual.

use super::isa::vectorised;
use super::math::{dot, sum, sum_of_squares};
use super::parallel::{chunks, chunks_mut, for_each, map};
use super::rows::{BLOCK_ROWS, RowDropout, add_up, rows_per_task};

/// A norm's constants.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Its weight.
    pub weight: &'a [f32],
    /// Its bias.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// What a norm adds to before it: x ← dropout(x + bias) + residual.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// Of the linear layer that made x.
    pub bias: &'a [f32],
    /// The block's input, as large as x.
    pub residual: &'a [f32],
    /// The dropout, in training.
    pub dropout: Option<RowDropout<'a>>,
}

/// Normalises each row of `x`: `y` gets the norm's output. `x` becomes (x - mean) / deviation and `inverse_deviations`
/// gets 1 / deviation, a number a row; the backward pass needs both.
pub fn forward(
    norm: Norm<'_>,
    before: Option<Before<'_>>,
    x: &mut [f32],
    y: &mut [f32],
    inverse_deviations: &mut [f32],
) {
    let width = norm.weight.len();
    let step = rows_per_task(width);
    for_each(
        (
            chunks_mut(x, step * width),
            chunks_mut(y, step * width),
            chunks_mut(inverse_deviations, step),
        ),
        |task, (x, y, inverse)| {
            let mut factors = vec![1f32; width];
            for (index, ((x, y), inverse)) in x
                .chunks_exact_mut(width)
                .zip(y.chunks_exact_mut(width))
                .zip(inverse)
                .enumerate()
            {
                let row = task * step + index;
                if let Some(Before {
                    dropout: Some(dropout),
                    ..
                }) = before
                {
                    dropout.fill(row, &mut factors);
                }
                vectorised!({
                    if let Some(before) = before {
                        let residual = &before.residual[row * width..(row + 1) * width];
                        for (((x, bias), residual), factor) in
                            x.iter_mut().zip(before.bias).zip(residual).zip(&factors)
                        {
                            *x = (*x + bias) * factor + residual;
                        }
                    }
                    *inverse = normalise(norm, x, y);
                });
            }
        },
    );
}

/// One row; gives 1 / deviation.
#[inline(always)]
fn normalise(norm: Norm<'_>, x: &mut [f32], y: &mut [f32]) -> f32 {
    let width = x.len() as f32;
    let mean = sum(x) / width;
    let variance = sum_of_squares(x, mean) / width;
    let inverse = 1.0 / (variance + norm.epsilon).sqrt();
    for (((x, y), weight), bias) in x.iter_mut().zip(y).zip(norm.weight).zip(norm.bias) {
        *x = (*x - mean) * inverse;
        *y = *x * weight + bias;
    }
    inverse
}

/// The backward pass, in place: `dy` becomes the derivative by the norm's input, and the gradients of its weight and
/// bias are added to, where they aren't empty. `normalised` and `inverse_deviations` are what the forward pass left.
pub fn backward(
    weight: &[f32],
    normalised: &[f32],
    inverse_deviations: &[f32],
    dy: &mut [f32],
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
) {
    let width = weight.len();
    let partial = map(
        (
            chunks_mut(dy, BLOCK_ROWS * width),
            chunks(normalised, BLOCK_ROWS * width),
            chunks(inverse_deviations, BLOCK_ROWS),
        ),
        |(dy, normalised, inverse)| {
            let mut weight_sums = vec![0f32; weight_gradient.len()];
            let mut bias_sums = vec![0f32; bias_gradient.len()];
            vectorised!({
                for ((dy, x), inverse) in dy
                    .chunks_exact_mut(width)
                    .zip(normalised.chunks_exact(width))
                    .zip(inverse)
                {
                    for (((dy, x), weight_sum), bias_sum) in dy
                        .iter()
                        .zip(x)
                        .zip(weight_sums.iter_mut())
                        .zip(bias_sums.iter_mut())
                    {
                        *weight_sum += dy * x;
                        *bias_sum += dy;
                    }
                    for (dy, weight) in dy.iter_mut().zip(weight) {
                        *dy *= weight;
                    }
                    let mean = sum(dy) / width as f32;
                    let slope = dot(dy, x) / width as f32;
                    for (dy, x) in dy.iter_mut().zip(x) {
                        *dy = (*dy - mean - x * slope) * inverse;
                    }
                }
            });
            (weight_sums, bias_sums)
        },
    );
    let (weights, biases): (Vec<_>, Vec<_>) = partial.into_iter().unzip();
    add_up(weight_gradient, &weights);
    add_up(bias_gradient, &biases);
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Device, Tensor, Var};

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| (k * i as f32).sin()).collect()
    }

    #[test]
    fn forward_and_backward_are_those_of_the_plain_operations() {
        for (rows, width) in [(1, 1), (1, 8), (3, 17), (131, 384)] {
            let x = wave(rows * width, 0.37);
            let (weight, bias) = (wave(width, 0.9), wave(width, 0.5));
            let (linear_bias, residual) = (wave(width, 0.2), wave(rows * width, 0.13));
            let upstream = wave(rows * width, 0.71);
            let norm = Norm {
                weight: &weight,
                bias: &bias,
                epsilon: 1e-5,
            };
            let before = Before {
                bias: &linear_bias,
                residual: &residual,
                dropout: None,
            };
            let mut normalised = x.clone();
            let mut y = vec![f32::NAN; x.len()];
            let mut inverse = vec![f32::NAN; rows];
            forward(norm, Some(before), &mut normalised, &mut y, &mut inverse);
            let mut dx = upstream.clone();
            let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
            backward(&weight, &normalised, &inverse, &mut dx, &mut dw, &mut db);

            let tensor = |v: &[f32], shape: (usize, usize)| {
                let v: Vec<f64> = v.iter().map(|&v| f64::from(v)).collect();
                Tensor::from_vec(v, shape, &Device::Cpu).unwrap()
            };
            let input = ((tensor(&x, (rows, width)) + tensor(&residual, (rows, width))).unwrap())
                .broadcast_add(&tensor(&linear_bias, (1, width)))
                .unwrap();
            let input = Var::from_tensor(&input).unwrap();
            let w = Var::from_tensor(&tensor(&weight, (1, width))).unwrap();
            let b = Var::from_tensor(&tensor(&bias, (1, width))).unwrap();
            let centred = input
                .broadcast_sub(&input.mean_keepdim(D::Minus1).unwrap())
                .unwrap();
            let variance = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
            let deviation = (variance + 1e-5).unwrap().sqrt().unwrap();
            let plain = centred
                .broadcast_div(&deviation)
                .unwrap()
                .broadcast_mul(&w)
                .unwrap()
                .broadcast_add(&b)
                .unwrap();
            let gradients = (&plain * tensor(&upstream, (rows, width)))
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            let check = |name: &str, got: &[f32], want: &Tensor| {
                let want = want.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                let scale = want.iter().fold(1f64, |m, v| m.max(v.abs()));
                for (got, want) in got.iter().zip(want) {
                    assert!(
                        (f64::from(*got) - want).abs() < 1e-5 * scale,
                        "{name} {rows}x{width}: {got} {want}"
                    );
                }
            };
            check("y", &y, &plain);
            check("dx", &dx, gradients.get(&input).unwrap());
            check("dw", &dw, gradients.get(&w).unwrap());
            check("db", &db, gradients.get(&b).unwrap());
        }
    }
}
