//! bfloat16 products by AMX ([`tiles`]): four tiles hold the sums of 32 rows and 32 columns, two a side each 16 units
//! of the inner dimension of 16 rows or columns.

use std::arch::asm;
use std::arch::x86_64::*;

use super::pack::Pair;
use super::tile::Ahead;
use super::tile::{self, Avx512Bf16, Kernel, Left, Place, Start};
use crate::ops::tiles::{self, SIDE, ask_ahead, lines, products, products_of_half};

/// bfloat16 operands with float32 sums: AMX-BF16, rounded by AVX512-BF16.
#[derive(Clone, Copy)]
pub(in crate::ops) struct AmxBf16;

impl Kernel for AmxBf16 {
    type Unit = Pair;
    const ROWS: usize = 2 * SIDE;
    const COLUMNS: usize = 2 * SIDE;
    const ROUNDS: bool = true;
    const STEP: usize = SIDE;
    const HEIGHT: usize = SIDE;

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
        // SAFETY: this function's contract.
        unsafe { tiles::configure() }
    }

    unsafe fn end() {
        // SAFETY: as above.
        unsafe { tiles::release() }
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
            let added = start.addend(place);
            let out = (place.start, place.stride);
            if rows == Self::ROWS && place.columns == Self::COLUMNS {
                if AHEAD {
                    multiply_ahead(depth, left, right, Ends::new(added, out), place.ahead);
                } else {
                    multiply(depth, left, right, Ends::new(added, out));
                }
            } else if AHEAD && rows == SIDE && place.columns == Self::COLUMNS {
                multiply_half(depth, left, right, Ends::new(added, out), place.ahead);
            } else {
                partial(rows, depth, left, right, place, added);
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
        let (from, out) = ((sums.cast_const(), COLUMNS), (sums, COLUMNS));
        multiply(depth, left, right, Ends::new(from, out));
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

/// What a product's sums are added to and where they go: as the assembly reads it, which has no registers for all of
/// it.
#[repr(C)]
struct Ends {
    /// Where the numbers of the first and of the last 16 rows begin, and bytes from one row to the next.
    from: [*const f32; 2],
    from_stride: usize,
    /// The same of the result.
    out: [*mut f32; 2],
    out_stride: usize,
}

impl Ends {
    /// Of where both begin, and numbers from one row's to the next's.
    fn new((from, from_stride): (*const f32, usize), (out, out_stride): (*mut f32, usize)) -> Ends {
        Ends {
            from: [from, from.wrapping_add(SIDE * from_stride)],
            from_stride: 4 * from_stride,
            out: [out, out.wrapping_add(SIDE * out_stride)],
            out_stride: 4 * out_stride,
        }
    }
}

/// The assembly of 32 rows times a panel of 32 columns, between what it begins and what it ends with.
macro_rules! whole {
    ($products:expr, $depth:expr, $left:expr, $right:expr, $ends:expr $(, $($operands:tt)+)?) => {
        asm!(
            "mov {first}, [{ends}]",
            "mov {last}, [{ends} + 8]",
            "mov {apart}, [{ends} + 16]",
            "tileloadd tmm0, [{first} + {apart}]",
            "tileloadd tmm1, [{first} + {apart} + 64]",
            "tileloadd tmm2, [{last} + {apart}]",
            "tileloadd tmm3, [{last} + {apart} + 64]",
            $products,
            "mov {first}, [{ends} + 24]",
            "mov {last}, [{ends} + 32]",
            "mov {apart}, [{ends} + 40]",
            "tilestored [{first} + {apart}], tmm0",
            "tilestored [{first} + {apart} + 64], tmm1",
            "tilestored [{last} + {apart}], tmm2",
            "tilestored [{last} + {apart} + 64], tmm3",
            ends = in(reg) &raw const $ends,
            first = out(reg) _,
            last = out(reg) _,
            apart = out(reg) _,
            left = inout(reg) $left.start => _,
            below = inout(reg) $left.start.wrapping_add(SIDE * $left.stride) => _,
            stride = in(reg) 4 * $left.stride,
            panel = inout(reg) $right => _,
            width = in(reg) 4 * AmxBf16::COLUMNS,
            steps = inout(reg) $depth / SIDE => _,
            $($($operands)+,)?
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// The product of 32 rows and a panel of 32 columns.
unsafe fn multiply(depth: usize, left: Left<Pair>, right: *const Pair, ends: Ends) {
    // SAFETY: by the contract of `Kernel::tile`: the operands and the ends are readable or writable as far as tiles of
    // 16 rows and 64 bytes reach, and the thread has begun. The compiler uses no tiles.
    unsafe { whole!(products!("tdpbf16ps"), depth, left, right, ends) }
}

/// The same, which asks for what is read next.
unsafe fn multiply_ahead(
    depth: usize,
    left: Left<Pair>,
    right: *const Pair,
    ends: Ends,
    ahead: Ahead,
) {
    // SAFETY: as in `multiply`; what is asked for may be anywhere.
    unsafe {
        whole!(
            products!("tdpbf16ps", ask_ahead!()),
            depth,
            left,
            right,
            ends,
            ahead = inout(reg) ahead.start => _,
            lines = in(reg) lines(ahead),
            line = out(reg) _
        )
    }
}

/// The same of 16 rows.
unsafe fn multiply_half(
    depth: usize,
    left: Left<Pair>,
    right: *const Pair,
    ends: Ends,
    ahead: Ahead,
) {
    // SAFETY: as above.
    unsafe {
        asm!(
            "tileloadd tmm0, [{from} + {from_stride}]",
            "tileloadd tmm1, [{from} + {from_stride} + 64]",
            products_of_half!("tdpbf16ps", ask_ahead!()),
            "tilestored [{out} + {out_stride}], tmm0",
            "tilestored [{out} + {out_stride} + 64], tmm1",
            from = in(reg) ends.from[0],
            from_stride = in(reg) ends.from_stride,
            out = in(reg) ends.out[0],
            out_stride = in(reg) ends.out_stride,
            left = inout(reg) left.start => _,
            stride = in(reg) 4 * left.stride,
            panel = inout(reg) right => _,
            width = in(reg) 4 * AmxBf16::COLUMNS,
            steps = inout(reg) depth / SIDE => _,
            ahead = inout(reg) ahead.start => _,
            lines = in(reg) lines(ahead),
            line = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
