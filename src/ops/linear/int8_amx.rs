//! int8 products by AMX ([`tiles`]): four tiles hold the sums of 32 rows and 32 columns, two a side each 16 units of
//! the inner dimension of 16 rows or columns.

use std::arch::asm;
use std::arch::x86_64::*;

use super::int8_tile::{Finish, Kernel};
use crate::ops::gemm::tile::{Ahead, masks};
use crate::ops::tiles::{self, SIDE, ask_ahead, lines, products, products_of_half};

/// AMX-INT8: 64 products a sum in one instruction, both sides with a sign.
#[derive(Clone, Copy)]
pub(super) struct Amx;

const ROWS: usize = 2 * SIDE;
const COLUMNS: usize = 2 * SIDE;

/// A tile's sums, row by row.
#[repr(C, align(64))]
struct Sums([i32; ROWS * COLUMNS]);

impl Kernel for Amx {
    type Number = i8;
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;
    const STEP: usize = SIDE;
    const BAND: usize = super::WHOLE_BAND;

    #[inline(always)]
    fn number(q: u32) -> i8 {
        q as i8
    }

    unsafe fn begin() {
        // SAFETY: this function's contract.
        unsafe { tiles::configure() }
    }

    unsafe fn end() {
        // SAFETY: as above.
        unsafe { tiles::release() }
    }

    unsafe fn tile(
        rows: usize,
        units: usize,
        left: *const i8,
        stride: usize,
        panel: *const i8,
        finish: Finish,
    ) {
        debug_assert!(rows <= ROWS && units.is_multiple_of(SIDE) && units > 0);
        let mut sums = std::mem::MaybeUninit::<Sums>::uninit();
        let out = sums.as_mut_ptr().cast::<i32>();
        // SAFETY: this function's contract; the sums have room for all rows, of which so many are written as are read.
        unsafe {
            if rows <= SIDE {
                multiply_half(units / SIDE, left, stride, panel, out, finish.ahead);
            } else {
                multiply(units / SIDE, left, stride, panel, out, finish.ahead);
            }
            write(rows, out, finish);
        }
    }
}

/// Writes the sums of 32 rows, `stride` apart, and a panel of 32 columns.
unsafe fn multiply(
    steps: usize,
    left: *const i8,
    stride: usize,
    panel: *const i8,
    out: *mut i32,
    ahead: Ahead,
) {
    // SAFETY: by the contract of `Kernel::tile`: rows and panel are readable as far as tiles of 16 rows and 64 bytes
    // reach, the sums are writable, and the thread has begun. What is asked for may be anywhere. The compiler uses no
    // tiles.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            products!("tdpbssd", ask_ahead!()),
            "tilestored [{out} + {width}], tmm0",
            "tilestored [{out} + {width} + 64], tmm1",
            "tilestored [{out_below} + {width}], tmm2",
            "tilestored [{out_below} + {width} + 64], tmm3",
            left = inout(reg) left => _,
            below = inout(reg) left.wrapping_add(SIDE * stride) => _,
            stride = in(reg) stride,
            panel = inout(reg) panel => _,
            width = in(reg) 4 * COLUMNS,
            steps = inout(reg) steps => _,
            ahead = inout(reg) ahead.start => _,
            lines = in(reg) lines(ahead),
            line = out(reg) _,
            out = in(reg) out,
            out_below = in(reg) out.wrapping_add(SIDE * COLUMNS),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// The same for 16 rows.
unsafe fn multiply_half(
    steps: usize,
    left: *const i8,
    stride: usize,
    panel: *const i8,
    out: *mut i32,
    ahead: Ahead,
) {
    // SAFETY: as in `multiply`.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            products_of_half!("tdpbssd", ask_ahead!()),
            "tilestored [{out} + {width}], tmm0",
            "tilestored [{out} + {width} + 64], tmm1",
            left = inout(reg) left => _,
            stride = in(reg) stride,
            panel = inout(reg) panel => _,
            width = in(reg) 4 * COLUMNS,
            steps = inout(reg) steps => _,
            ahead = inout(reg) ahead.start => _,
            lines = in(reg) lines(ahead),
            line = out(reg) _,
            out = in(reg) out,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// What becomes of the sums of so many rows.
#[target_feature(enable = "avx512f")]
unsafe fn write(rows: usize, sums: *const i32, finish: Finish) {
    for (half, mask) in masks(finish.columns).into_iter().enumerate() {
        let from = SIDE * half;
        // SAFETY: by the contract of `Kernel::tile`; what is masked isn't touched.
        unsafe {
            let column_scales = _mm512_loadu_ps(finish.column_scales.add(from));
            let bias = _mm512_loadu_ps(finish.bias.add(from));
            for row in 0..rows {
                let sum = _mm512_load_si512(sums.add(row * COLUMNS + from).cast());
                let row_scale = _mm512_set1_ps(*finish.row_scales.add(row));
                let scale = _mm512_mul_ps(row_scale, column_scales);
                let result = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), bias);
                let out = finish.out.add(row * finish.stride).wrapping_add(from);
                _mm512_mask_storeu_ps(out, mask, result);
            }
        }
    }
}
