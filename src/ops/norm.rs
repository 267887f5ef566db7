//! A residual and a layer norm (Ba, Kiros and Hinton, 2016) in place, for inference.

use super::isa::vectorised;
use super::layer_norm::Norm;
use super::math::{sum, sum_of_squares};
use super::parallel::Shared;
use super::team::Team;

/// Rows that one piece of work normalises.
const ROWS: usize = 4;

/// Each row of `x` becomes the norm of itself, and of the residual where there is one.
pub fn add_and_norm(team: &Team<'_>, norm: Norm<'_>, residual: Option<&[f32]>, x: &mut [f32]) {
    let width = norm.weight.len();
    let rows = x.len() / width;
    assert!(x.len() == rows * width && residual.is_none_or(|residual| residual.len() == x.len()));
    let x = Shared(x.as_mut_ptr());
    team.run(rows.div_ceil(ROWS), |piece| {
        vectorised!({
            for row in piece * ROWS..rows.min((piece + 1) * ROWS) {
                // SAFETY: the row is inside `x` (just checked) and this piece's alone.
                let x = unsafe { std::slice::from_raw_parts_mut(x.at(row * width), width) };
                if let Some(residual) = residual {
                    for (x, residual) in x.iter_mut().zip(&residual[row * width..][..width]) {
                        *x += residual;
                    }
                }
                normalise(norm, x);
            }
        });
    });
}

#[inline(always)]
fn normalise(norm: Norm<'_>, x: &mut [f32]) {
    let width = x.len() as f32;
    let mean = sum(x) / width;
    let variance = sum_of_squares(x, mean) / width;
    let inverse = 1.0 / (variance + norm.epsilon).sqrt();
    for ((x, weight), bias) in x.iter_mut().zip(norm.weight).zip(norm.bias) {
        *x = (*x - mean) * inverse * weight + bias;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_normalised_with_and_without_a_residual() {
        for (rows, width) in [(1, 1), (3, 17), (21, 384)] {
            let wave =
                |n: usize, k: f32| -> Vec<f32> { (0..n).map(|i| (k * i as f32).sin()).collect() };
            let (x, residual) = (wave(rows * width, 0.37), wave(rows * width, 0.13));
            let (weight, bias) = (wave(width, 0.9), wave(width, 0.5));
            let norm = Norm {
                weight: &weight,
                bias: &bias,
                epsilon: 1e-5,
            };
            for residual in [None, Some(residual.as_slice())] {
                let mut out = x.clone();
                add_and_norm(&Team::alone(), norm, residual, &mut out);
                for row in 0..rows {
                    let at = |i: usize| {
                        let i = row * width + i;
                        f64::from(x[i]) + residual.map_or(0.0, |r| f64::from(r[i]))
                    };
                    let mean = (0..width).map(at).sum::<f64>() / width as f64;
                    let variance =
                        (0..width).map(|i| (at(i) - mean).powi(2)).sum::<f64>() / width as f64;
                    for i in 0..width {
                        let want = (at(i) - mean) / (variance + 1e-5).sqrt() * f64::from(weight[i])
                            + f64::from(bias[i]);
                        let got = f64::from(out[row * width + i]);
                        assert!((got - want).abs() < 1e-5, "{rows}x{width}: {got} {want}");
                    }
                }
            }
        }
    }
}
