//! Matrix products by the `gemm` crate, on the current rayon pool. No sum over the inner dimension is split between
//! threads.

use gemm::Parallelism;

/// What becomes of the numbers that are at the result's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// They are replaced.
    Replace,
    /// The product is added to them.
    Add,
}

/// A matrix inside memory: where it begins, and how far apart its rows and columns are.
#[derive(Clone, Copy)]
pub(super) struct Strided<P> {
    pub start: P,
    pub row_stride: usize,
    pub column_stride: usize,
}

/// result[m, n] (+)= scale · left[m, k] right[k, n].
///
/// # Safety
/// Every element of the three matrices lies in memory that is readable, for `result` writable by this call alone.
pub(super) unsafe fn product(
    (m, n, k): (usize, usize, usize),
    result: Strided<*mut f32>,
    accumulate: Accumulate,
    left: Strided<*const f32>,
    right: Strided<*const f32>,
    scale: f32,
    parallelism: Parallelism,
) {
    // SAFETY: by this function's contract; gemm touches the m × n, m × k and k × n elements alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            result.start,
            result.column_stride as isize,
            result.row_stride as isize,
            accumulate == Accumulate::Add,
            left.start,
            left.column_stride as isize,
            left.row_stride as isize,
            right.start,
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// All threads of the pool that this runs on.
fn current_threads() -> Parallelism {
    match rayon::current_num_threads() {
        1 => Parallelism::None,
        count => Parallelism::Rayon(count),
    }
}

fn row_major<T>(start: T, row_stride: usize) -> Strided<T> {
    Strided {
        start,
        row_stride,
        column_stride: 1,
    }
}

fn transposed<T>(start: T, column_stride: usize) -> Strided<T> {
    Strided {
        start,
        row_stride: 1,
        column_stride,
    }
}

/// A linear layer: result[rows, outputs] (+)= x[rows, inputs] · weight[outputs, inputs]ᵀ.
pub fn matmul_nt(
    result: &mut [f32],
    accumulate: Accumulate,
    x: &[f32],
    weight: &[f32],
    inputs: usize,
    outputs: usize,
) {
    let rows = x.len() / inputs;
    assert!(
        x.len() == rows * inputs
            && weight.len() == inputs * outputs
            && result.len() == rows * outputs
    );
    // SAFETY: the three slices have the sizes of their matrices (just checked).
    unsafe {
        product(
            (rows, outputs, inputs),
            row_major(result.as_mut_ptr(), outputs),
            accumulate,
            row_major(x.as_ptr(), inputs),
            transposed(weight.as_ptr(), inputs),
            1.0,
            current_threads(),
        );
    }
}

/// A linear layer's derivative by its input: result[rows, inputs] (+)= dy[rows, outputs] · weight[outputs, inputs].
pub fn matmul(
    result: &mut [f32],
    accumulate: Accumulate,
    dy: &[f32],
    weight: &[f32],
    inputs: usize,
    outputs: usize,
) {
    let rows = dy.len() / outputs;
    assert!(
        dy.len() == rows * outputs
            && weight.len() == inputs * outputs
            && result.len() == rows * inputs
    );
    // SAFETY: the three slices have the sizes of their matrices (just checked).
    unsafe {
        product(
            (rows, inputs, outputs),
            row_major(result.as_mut_ptr(), inputs),
            accumulate,
            row_major(dy.as_ptr(), outputs),
            row_major(weight.as_ptr(), inputs),
            1.0,
            current_threads(),
        );
    }
}

/// A linear layer's derivative by its weight: gradient[outputs, inputs] += dy[rows, outputs]ᵀ · x[rows, inputs].
pub fn matmul_tn_add(gradient: &mut [f32], dy: &[f32], x: &[f32], inputs: usize, outputs: usize) {
    let rows = x.len() / inputs;
    assert!(
        x.len() == rows * inputs
            && dy.len() == rows * outputs
            && gradient.len() == inputs * outputs
    );
    // SAFETY: the three slices have the sizes of their matrices (just checked).
    unsafe {
        product(
            (outputs, inputs, rows),
            row_major(gradient.as_mut_ptr(), inputs),
            Accumulate::Add,
            transposed(dy.as_ptr(), outputs),
            row_major(x.as_ptr(), inputs),
            1.0,
            current_threads(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| (k * i as f32).sin()).collect()
    }

    #[test]
    fn products_follow_the_definition_in_odd_sizes() {
        for (rows, inputs, outputs) in [(1, 1, 1), (1, 7, 3), (5, 8, 1), (13, 33, 17), (70, 40, 65)]
        {
            let x = wave(rows * inputs, 0.37);
            let weight = wave(outputs * inputs, 0.53);
            let dy = wave(rows * outputs, 0.71);
            let close = |got: f32, want: f64| {
                assert!((f64::from(got) - want).abs() < 1e-4, "{got} {want}");
            };
            let mut y = vec![2.0; rows * outputs];
            matmul_nt(&mut y, Accumulate::Add, &x, &weight, inputs, outputs);
            let mut dx = vec![f32::NAN; rows * inputs];
            matmul(&mut dx, Accumulate::Replace, &dy, &weight, inputs, outputs);
            let mut dw = vec![1.0; outputs * inputs];
            matmul_tn_add(&mut dw, &dy, &x, inputs, outputs);
            for r in 0..rows {
                for o in 0..outputs {
                    let want: f64 = (0..inputs)
                        .map(|i| f64::from(x[r * inputs + i] * weight[o * inputs + i]))
                        .sum();
                    close(y[r * outputs + o], want + 2.0);
                }
                for i in 0..inputs {
                    let want: f64 = (0..outputs)
                        .map(|o| f64::from(dy[r * outputs + o] * weight[o * inputs + i]))
                        .sum();
                    close(dx[r * inputs + i], want);
                }
            }
            for o in 0..outputs {
                for i in 0..inputs {
                    let want: f64 = (0..rows)
                        .map(|r| f64::from(dy[r * outputs + o] * x[r * inputs + i]))
                        .sum();
                    close(dw[o * inputs + i], want + 1.0);
                }
            }
        }
    }
}
