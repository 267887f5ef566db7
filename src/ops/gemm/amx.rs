//! bfloat16 products by AMX: a thread has eight tiles of 16 rows of 64 bytes. Four hold the sums of 32 rows and 32 columns, two a
//! side each 16 units of the inner dimension of 16 rows or columns. `std::arch` has no stable intrinsics for them, so they are
//! written as assembly.

use std::arch::asm;
use std::arch::x86_64::*;

use super::pack::Pair;
use super::tile::{self, Avx512Bf16, Kernel, Left, Place, Start};

/// bfloat16 operands with float32 sums: AMX-BF16, rounded by AVX512-BF16.
#[derive(Clone, Copy)]
pub(super) struct AmxBf16;

/// Rows of a tile of the processor's, and units of a row.
const SIDE: usize = 16;

/// What a thread's tiles are: Intel's palette 1, all tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = {
    let (mut bytes_per_row, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        bytes_per_row[tile] = 64;
        rows[tile] = SIDE as u8;
        tile += 1;
    }
    Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes_per_row,
        rows,
    }
};

impl Kernel for AmxBf16 {
    type Unit = Pair;
    const ROWS: usize = 2 * SIDE;
    const COLUMNS: usize = 2 * SIDE;
    const ROUNDS: bool = true;
    const STEP: usize = SIDE;

    const HAS_SQUARES: bool = Avx512Bf16::HAS_SQUARES;

    unsafe fn square(values: *const f32, stride: usize, out: *mut Pair, width: usize) {
        // SAFETY: this function's contract is the other's; where there is AMX there is AVX512-BF16.
        unsafe { Avx512Bf16::square(values, stride, out, width) }
    }

    unsafe fn square_of_columns(values: *const f32, stride: usize, out: *mut Pair, width: usize) {
        // SAFETY: as above.
        unsafe { tile::square_of_pairs_of_columns(values, stride, out, width) }
    }

    const NARROWS: usize = Avx512Bf16::NARROWS;

    #[inline]
    unsafe fn narrow(values: *const f32, out: *mut Pair) {
        // SAFETY: as above.
        unsafe { Avx512Bf16::narrow(values, out) }
    }

    #[inline]
    unsafe fn interleave(first: *const f32, second: *const f32, out: *mut Pair) {
        // SAFETY: as above.
        unsafe { Avx512Bf16::interleave(first, second, out) }
    }

    unsafe fn begin() {
        // SAFETY: the configuration is 64 bytes that say what the manual allows.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const CONFIGURATION,
                options(nostack, preserves_flags, readonly),
            );
        }
    }

    unsafe fn end() {
        // SAFETY: tiles are nobody else's; a thread without any is switched faster.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) }
    }

    unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
        rows: usize,
        depth: usize,
        left: Left<Pair>,
        right: *const Pair,
        place: Place,
        start: Start,
    ) {
        debug_assert!(!PANEL && depth.is_multiple_of(Self::STEP) && depth > 0);
        // SAFETY: this function's contract is the inner ones'.
        unsafe {
            let (added, added_stride) = start.addend(place);
            if rows == Self::ROWS && place.columns == Self::COLUMNS {
                let out = (place.start, place.stride);
                multiply(depth, left, right, (added, added_stride), out);
            } else {
                partial(rows, depth, left, right, place, (added, added_stride));
            }
        }
    }
}

/// A tile of which not all is part of the result: by way of memory of its own.
#[target_feature(enable = "avx512f")]
unsafe fn partial(
    rows: usize,
    depth: usize,
    left: Left<Pair>,
    right: *const Pair,
    place: Place,
    (added, added_stride): (*const f32, usize),
) {
    const COLUMNS: usize = AmxBf16::COLUMNS;
    #[repr(align(64))]
    struct Sums([f32; AmxBf16::ROWS * COLUMNS]);
    let mut sums = Sums([0.0; _]);
    let sums = sums.0.as_mut_ptr();
    let [low, high] = tile::masks(place.columns);
    let halves = [(0, low), (16, high)];
    // SAFETY: by the contract of `Kernel::tile`; what is masked isn't touched, and `sums` has all rows and columns.
    unsafe {
        for row in 0..rows {
            for (half, mask) in halves {
                let numbers =
                    _mm512_maskz_loadu_ps(mask, added.wrapping_add(row * added_stride + half));
                _mm512_storeu_ps(sums.add(row * COLUMNS + half), numbers);
            }
        }
        multiply(depth, left, right, (sums, COLUMNS), (sums, COLUMNS));
        for row in 0..rows {
            for (half, mask) in halves {
                let numbers = _mm512_loadu_ps(sums.add(row * COLUMNS + half));
                _mm512_mask_storeu_ps(
                    place.start.wrapping_add(row * place.stride + half),
                    mask,
                    numbers,
                );
            }
        }
    }
}

/// `out` = `from` + the product of 32 rows and a panel of 32 columns. Both are where numbers begin, and numbers from one row's to the
/// next's.
unsafe fn multiply(
    depth: usize,
    left: Left<Pair>,
    right: *const Pair,
    (from, from_stride): (*const f32, usize),
    (out, out_stride): (*mut f32, usize),
) {
    let below = left.start.wrapping_add(SIDE * left.stride);
    let from_below = from.wrapping_add(SIDE * from_stride);
    let out_below = out.wrapping_add(SIDE * out_stride);
    // SAFETY: by the contract of `Kernel::tile`: the operands and the result are readable or writable as far as tiles of 16 rows
    // and 64 bytes reach, and the thread has begun. The compiler uses no tiles.
    unsafe {
        asm!(
            "tileloadd tmm0, [{from} + {from_stride}]",
            "tileloadd tmm1, [{from} + {from_stride} + 64]",
            "tileloadd tmm2, [{from_below} + {from_stride}]",
            "tileloadd tmm3, [{from_below} + {from_stride} + 64]",
            "2:",
            "tileloadd tmm4, [{left} + {left_stride}]",
            "tileloadd tmm6, [{right} + {right_stride}]",
            "tileloadd tmm7, [{right} + {right_stride} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{below} + {left_stride}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, 64",
            "add {below}, 64",
            "add {right}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {out_stride}], tmm0",
            "tilestored [{out} + {out_stride} + 64], tmm1",
            "tilestored [{out_below} + {out_stride}], tmm2",
            "tilestored [{out_below} + {out_stride} + 64], tmm3",
            from = in(reg) from,
            from_below = in(reg) from_below,
            from_stride = in(reg) 4 * from_stride,
            left = inout(reg) left.start => _,
            below = inout(reg) below => _,
            left_stride = in(reg) 4 * left.stride,
            right = inout(reg) right => _,
            right_stride = in(reg) 128usize,
            steps = inout(reg) depth / SIDE => _,
            out = in(reg) out,
            out_below = in(reg) out_below,
            out_stride = in(reg) 4 * out_stride,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
