//! The small products of attention, by the `gemm` crate, on the thread that asks.

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
