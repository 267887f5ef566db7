//! What goes row by row: biases, their gradients, dropout.

use super::isa::vectorised;
use super::parallel::{chunks, chunks_mut, for_each, map};
use crate::random::DropoutMask;

/// Numbers of one task, about: enough to pay for handing it out.
const TASK: usize = 16_384;

/// Rows of one task.
pub(super) fn rows_per_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// Rows whose sums are added up first in a gradient over all rows: fixed, so that the number of threads doesn't matter.
pub(super) const BLOCK_ROWS: usize = 64;

/// A bias's gradient: `gradient` += Σ over the rows of `dy`.
pub fn add_bias_gradient(gradient: &mut [f32], dy: &[f32]) {
    let width = gradient.len();
    let partial = map(chunks(dy, BLOCK_ROWS * width), |rows| {
        let mut sums = vec![0f32; width];
        vectorised!({
            for row in rows.chunks(width) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += value;
                }
            }
        });
        sums
    });
    add_up(gradient, &partial);
}

/// `gradient` += Σ over the blocks' sums, in their order.
pub(super) fn add_up(gradient: &mut [f32], blocks: &[Vec<f32>]) {
    for block in blocks {
        for (sum, &value) in gradient.iter_mut().zip(block) {
            *sum += value;
        }
    }
}

/// Dropout over rows.
#[derive(Clone, Copy)]
pub struct RowDropout<'a> {
    /// Its factors.
    pub mask: DropoutMask,
    /// The mask's row for each row; `None` where it is the row itself.
    pub rows: Option<&'a [usize]>,
}

impl RowDropout<'_> {
    /// The factors of row `row`.
    pub fn fill(&self, row: usize, out: &mut [f32]) {
        let row = self.rows.map_or(row, |rows| rows[row]);
        self.mask.fill_row(row, out);
    }
}

impl From<DropoutMask> for RowDropout<'_> {
    fn from(mask: DropoutMask) -> Self {
        RowDropout { mask, rows: None }
    }
}

/// Multiplies rows of `width` with the factors of `dropout`, in place.
pub fn apply_dropout_rows(x: &mut [f32], width: usize, dropout: RowDropout<'_>) {
    let step = rows_per_task(width);
    for_each(chunks_mut(x, step * width), |task, rows| {
        let mut factors = vec![0f32; width];
        for (index, row) in rows.chunks_mut(width).enumerate() {
            dropout.fill(task * step + index, &mut factors);
            for (value, factor) in row.iter_mut().zip(&factors) {
                *value *= factor;
            }
        }
    });
}

/// `out` gets the rows of `x`, multiplied with the factors of `dropout` where there is one.
pub fn copy_dropout_rows(
    out: &mut [f32],
    x: &[f32],
    width: usize,
    dropout: Option<RowDropout<'_>>,
) {
    let step = rows_per_task(width);
    for_each(
        (chunks_mut(out, step * width), chunks(x, step * width)),
        |task, (out, x)| {
            let Some(dropout) = dropout else {
                out.copy_from_slice(x);
                return;
            };
            for (index, (out, x)) in out.chunks_mut(width).zip(x.chunks(width)).enumerate() {
                dropout.fill(task * step + index, out);
                for (out, value) in out.iter_mut().zip(x) {
                    *out *= value;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Dropout;

    #[test]
    fn bias_gradients_are_the_sums_over_rows_for_any_number_of_threads() {
        for (rows, width) in [(1, 3), (63, 5), (64, 8), (1000, 33)] {
            let dy: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.3).cos()).collect();
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let mut gradient = vec![1.0; width];
                pool.install(|| add_bias_gradient(&mut gradient, &dy));
                gradient
            };
            let one = with(1);
            assert_eq!(one, with(3));
            for column in 0..width {
                let want: f64 = 1.0
                    + (0..rows)
                        .map(|r| f64::from(dy[r * width + column]))
                        .sum::<f64>();
                assert!((f64::from(one[column]) - want).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn dropout_multiplies_each_row_with_its_factors() {
        let mask = Dropout::new(1, 2).mask(3, 0.4);
        let (rows, width) = (3000, 7);
        let mut x = vec![1f32; rows * width];
        apply_dropout_rows(&mut x, width, mask.into());
        let mut factors = vec![0f32; width];
        for (row, values) in x.chunks(width).enumerate() {
            mask.fill_row(row, &mut factors);
            assert_eq!(values, factors);
        }
        let x: Vec<f32> = (0..rows * width).map(|i| i as f32).collect();
        let (mut in_place, mut copied) = (x.clone(), vec![f32::NAN; x.len()]);
        apply_dropout_rows(&mut in_place, width, mask.into());
        copy_dropout_rows(&mut copied, &x, width, Some(mask.into()));
        assert_eq!(copied, in_place);
        copy_dropout_rows(&mut copied, &x, width, None);
        assert_eq!(copied, x);

        let some = [7, 0, 2999];
        let dropout = RowDropout {
            mask,
            rows: Some(&some),
        };
        let mut few = vec![1f32; some.len() * width];
        apply_dropout_rows(&mut few, width, dropout);
        for (row, values) in some.iter().zip(few.chunks(width)) {
            mask.fill_row(*row, &mut factors);
            assert_eq!(values, factors);
        }
    }
}
