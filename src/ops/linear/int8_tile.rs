//! Blocks of an int8 product whose sums stay in registers while the inner dimension goes by, one for each instruction
//! set. All of them give the same integers: sums in 32 bits, nothing saturates.
//!
//! Both sides stand in units of four numbers along the inner dimension. A panel of weights has for each unit one of each
//! of its columns; a row of states has its units one after another.

use crate::ops::aligned::Plain;
use crate::ops::gemm::tile::Ahead;

/// Numbers of a unit.
pub(super) const UNIT: usize = 4;

/// What becomes of a tile's sums: `out` = sum · (row's scale · column's scale) + bias.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// A number for each row.
    pub row_scales: *const f32,
    /// A number for each column of the panel.
    pub column_scales: *const f32,
    /// Each column's weights added up.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(
            dead_code,
            reason = "only instructions that take states without a sign need them"
        )
    )]
    pub column_sums: *const i32,
    /// A number for each column of the panel.
    pub bias: *const f32,
    /// The first number of the result.
    pub out: *mut f32,
    /// Numbers from one row of it to the next.
    pub stride: usize,
    /// Columns that are written; the arrays above have all of the panel's.
    pub columns: usize,
    /// What is read next, which a kernel may ask for meanwhile.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "the baseline's tiles ask for nothing")
    )]
    pub ahead: Ahead,
}

/// One way to compute tiles.
pub(super) trait Kernel: Copy + Send + Sync + 'static {
    /// What states are quantized to.
    type Number: Plain;
    /// Rows of a tile, at most.
    const ROWS: usize;
    /// Columns of a tile, and of a panel.
    const COLUMNS: usize;
    /// Units of the inner dimension that a tile takes at once. A kernel with more than one takes whole tiles: both
    /// sides have zeros behind the inner dimension up to a multiple of it, and the rows are readable for
    /// [`Kernel::ROWS`] whatever their number.
    const STEP: usize = 1;
    /// Rows whose states are kept in the second-level cache while all weights go by.
    const BAND: usize = super::BAND;

    /// What the states' number `q`, -127 to 127 in its lowest eight bits, is written as.
    fn number(q: u32) -> Self::Number;

    /// What a thread does before its tiles.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn begin() {}

    /// What a thread does after its tiles, of which there are none until it begins again.
    ///
    /// # Safety
    /// As for [`Kernel::begin`].
    unsafe fn end() {}

    /// The tile of `rows` rows of `units` units, which are `stride` numbers apart, and a panel.
    ///
    /// # Safety
    /// The instruction set is there, the thread has begun, 0 < `rows` ≤ [`Kernel::ROWS`], rows and panel are readable,
    /// and `finish` has what it says, its columns of those rows writable by this call alone.
    unsafe fn tile(
        rows: usize,
        units: usize,
        left: *const Self::Number,
        stride: usize,
        panel: *const i8,
        finish: Finish,
    );
}

/// Calls `$inner::<$rows>` for the number of rows that it is.
macro_rules! by_rows {
    ($rows:expr, $inner:ident $arguments:tt, $($count:literal)*) => {
        match $rows {
            $($count => $inner::<$count> $arguments,)*
            _ => unreachable!("a tile has no more rows than its kernel"),
        }
    };
}

/// The way from a sum to a result, the same on every path: no multiplication is fused with the addition.
#[inline(always)]
fn result(sum: i32, row_scale: f32, column_scale: f32, bias: f32) -> f32 {
    sum as f32 * (row_scale * column_scale) + bias
}

/// Without any instruction set of its own.
#[derive(Clone, Copy)]
pub(super) struct Baseline;

const NARROW: usize = 8;

impl Kernel for Baseline {
    type Number = i16;
    const ROWS: usize = 4;
    const COLUMNS: usize = NARROW;

    #[inline(always)]
    fn number(q: u32) -> i16 {
        i16::from(q as i8)
    }

    unsafe fn tile(
        rows: usize,
        units: usize,
        left: *const i16,
        stride: usize,
        panel: *const i8,
        finish: Finish,
    ) {
        // SAFETY: this function's contract is the inner one's.
        unsafe { by_rows!(rows, baseline(units, left, stride, panel, finish), 1 2 3 4) }
    }
}

unsafe fn baseline<const ROWS: usize>(
    units: usize,
    left: *const i16,
    stride: usize,
    panel: *const i8,
    finish: Finish,
) {
    let mut sums = [[0i32; NARROW]; ROWS];
    for unit in 0..units {
        // SAFETY: by the contract of `Kernel::tile`, as all that follows.
        let weights = unsafe {
            &*panel
                .add(unit * NARROW * UNIT)
                .cast::<[[i8; UNIT]; NARROW]>()
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let states = unsafe { &*left.add(row * stride + unit * UNIT).cast::<[i16; UNIT]>() };
            for (sum, weights) in sums.iter_mut().zip(weights) {
                for (&state, &weight) in states.iter().zip(weights) {
                    *sum = sum.wrapping_add(i32::from(state) * i32::from(weight));
                }
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (column, &sum) in sums.iter().enumerate().take(finish.columns) {
            // SAFETY: as above.
            unsafe {
                *finish.out.add(row * finish.stride + column) = result(
                    sum,
                    *finish.row_scales.add(row),
                    *finish.column_scales.add(column),
                    *finish.bias.add(column),
                );
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Vnni};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Finish, Kernel, NARROW, UNIT};
    use crate::ops::gemm::tile::masks;

    /// AVX2: both sides widened to 16 bits, whose products add up without saturation (unlike `vpmaddubsw`'s).
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2;

    impl Kernel for Avx2 {
        type Number = i16;
        const ROWS: usize = 6;
        const COLUMNS: usize = NARROW;

        #[inline(always)]
        fn number(q: u32) -> i16 {
            i16::from(q as i8)
        }

        unsafe fn tile(
            rows: usize,
            units: usize,
            left: *const i16,
            stride: usize,
            panel: *const i8,
            finish: Finish,
        ) {
            // SAFETY: this function's contract is the inner one's.
            unsafe { by_rows!(rows, avx2(units, left, stride, panel, finish), 1 2 3 4 5 6) }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn avx2<const ROWS: usize>(
        units: usize,
        left: *const i16,
        stride: usize,
        panel: *const i8,
        finish: Finish,
    ) {
        // Two sums a column: of a unit's first two numbers and of its last two.
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        // SAFETY: by the contract of `Kernel::tile`.
        unsafe {
            for unit in 0..units {
                let weights = panel.add(unit * NARROW * UNIT);
                let low = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast()));
                let high = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(16).cast()));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let states = left.add(row * stride + unit * UNIT).cast::<i64>();
                    let states = _mm256_set1_epi64x(states.read_unaligned());
                    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(states, low));
                    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(states, high));
                }
            }
            let column_scales = _mm256_loadu_ps(finish.column_scales);
            let bias = _mm256_loadu_ps(finish.bias);
            for (row, sums) in sums.into_iter().enumerate() {
                // Adding neighbours leaves columns 0 1 4 5, 2 3 6 7.
                let sum = _mm256_hadd_epi32(sums[0], sums[1]);
                let sum = _mm256_cvtepi32_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(sum));
                let row_scale = _mm256_set1_ps(*finish.row_scales.add(row));
                let scale = _mm256_mul_ps(row_scale, column_scales);
                let result = _mm256_add_ps(_mm256_mul_ps(sum, scale), bias);
                let out = finish.out.add(row * finish.stride);
                if finish.columns == NARROW {
                    _mm256_storeu_ps(out, result);
                } else {
                    let mut whole = [0f32; NARROW];
                    _mm256_storeu_ps(whole.as_mut_ptr(), result);
                    std::ptr::copy_nonoverlapping(whole.as_ptr(), out, finish.columns);
                }
            }
        }
    }

    /// AVX-512 VNNI: four products a sum in one instruction, of unsigned states. They are written 128 higher than they
    /// are, of which each column's sum has 128 times its weights' too much.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Vnni;

    const WIDE: usize = 32;

    impl Kernel for Vnni {
        type Number = u8;
        const ROWS: usize = 12;
        const COLUMNS: usize = WIDE;

        #[inline(always)]
        fn number(q: u32) -> u8 {
            q as u8 ^ 0x80
        }

        unsafe fn tile(
            rows: usize,
            units: usize,
            left: *const u8,
            stride: usize,
            panel: *const i8,
            finish: Finish,
        ) {
            // SAFETY: this function's contract is the inner one's.
            unsafe {
                by_rows!(
                    rows,
                    vnni(units, left, stride, panel, finish),
                    1 2 3 4 5 6 7 8 9 10 11 12
                )
            }
        }
    }

    /// Rows that one pointer serves: the processor adds one or two strides to an address by itself, so that twelve rows
    /// need four pointers.
    const SHARED: usize = 3;

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni<const ROWS: usize>(
        units: usize,
        left: *const u8,
        stride: usize,
        panel: *const i8,
        finish: Finish,
    ) {
        let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
        // SAFETY: by the contract of `Kernel::tile`; pointers that no row uses are never read, and what is masked isn't
        // touched.
        unsafe {
            let mut weights = panel;
            let mut pointers: [*const u8; 4] =
                std::array::from_fn(|index| left.wrapping_add(SHARED * index * stride));
            for _ in 0..units {
                let low = _mm512_loadu_si512(weights.cast());
                let high = _mm512_loadu_si512(weights.add(64).cast());
                for (row, sums) in sums.iter_mut().enumerate() {
                    let states = pointers[row / SHARED].add(row % SHARED * stride);
                    let states = _mm512_set1_epi32(states.cast::<i32>().read_unaligned());
                    sums[0] = _mm512_dpbusd_epi32(sums[0], states, low);
                    sums[1] = _mm512_dpbusd_epi32(sums[1], states, high);
                }
                weights = weights.add(WIDE * UNIT);
                for pointer in &mut pointers {
                    *pointer = pointer.wrapping_add(UNIT);
                }
            }
            for (half, mask) in masks(finish.columns).into_iter().enumerate() {
                let from = 16 * half;
                let excess = _mm512_loadu_si512(finish.column_sums.add(from).cast());
                let excess = _mm512_slli_epi32::<7>(excess);
                let column_scales = _mm512_loadu_ps(finish.column_scales.add(from));
                let bias = _mm512_loadu_ps(finish.bias.add(from));
                for (row, sums) in sums.iter().enumerate() {
                    let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums[half], excess));
                    let row_scale = _mm512_set1_ps(*finish.row_scales.add(row));
                    let scale = _mm512_mul_ps(row_scale, column_scales);
                    let result = _mm512_add_ps(_mm512_mul_ps(sum, scale), bias);
                    let out = finish.out.add(row * finish.stride).wrapping_add(from);
                    _mm512_mask_storeu_ps(out, mask, result);
                }
            }
        }
    }
}
