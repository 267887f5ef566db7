//! Operands in the order in which tiles read them, rounded where their format is narrower.

use super::prefetch;
use super::tile::Kernel;
use crate::ops::aligned::Plain;

/// A matrix as it lies in memory.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Matrix<'a> {
    /// Its numbers.
    pub values: &'a [f32],
    /// Numbers from one of its lines to the next.
    pub stride: usize,
    /// Which way its lines go.
    pub lines: Lines,
}

impl<'a> Matrix<'a> {
    /// The matrix whose first line begins with the first of these numbers.
    pub fn new(values: &'a [f32], stride: usize, lines: Lines) -> Matrix<'a> {
        Matrix {
            values,
            stride,
            lines,
        }
    }
}

/// Along what the numbers of a line stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Lines {
    /// The inner dimension: a line is one row of the left side, or one column of the right side.
    Inner,
    /// The outer one: a line is one place of the inner dimension.
    Outer,
}

/// Lines and units of a square that is turned at once.
pub(super) const SQUARE: usize = 16;

/// Rows or columns that are packed at once, at most.
pub(super) const WIDEST: usize = 256;

/// Lines that are asked for ahead of the one that is read.
const AHEAD: usize = 8;

/// What is packed: these places of the outer and of the inner dimension.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// The first row of the left side, or column of the right one.
    pub outer: usize,
    /// How many: at most [`WIDEST`].
    pub width: usize,
    /// The first place of the inner dimension; a multiple of the unit's depth.
    pub inner: usize,
    /// How many.
    pub depth: usize,
}

/// bfloat16 from float32, rounded to the nearest, ties to even; NaN stays NaN.
#[inline(always)]
fn bfloat16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16;
    if x.is_nan() {
        bits >> 16 | 0x40
    } else {
        rounded
    }
}

/// Two bfloat16 numbers that are next to each other along the inner dimension, the first one in the low half.
pub(in crate::ops) type Pair = u32;

/// How numbers stand in panels.
pub(in crate::ops) trait Unit: Plain + Default + Send + Sync + 'static {
    /// Numbers in a unit, along the inner dimension.
    const DEPTH: usize;

    /// The unit of the numbers at one place after another; one alone is followed by zero.
    fn of(first: f32, second: f32, rounds: bool) -> Self;

    /// Units that are the numbers themselves, where the format is float32.
    fn unchanged(values: &[f32]) -> Option<&[Self]>;
}

impl Unit for f32 {
    const DEPTH: usize = 1;

    #[inline(always)]
    fn of(first: f32, _: f32, rounds: bool) -> f32 {
        if rounds {
            f32::from_bits(bfloat16(first) << 16)
        } else {
            first
        }
    }

    fn unchanged(values: &[f32]) -> Option<&[f32]> {
        Some(values)
    }
}

impl Unit for Pair {
    const DEPTH: usize = 2;

    #[inline(always)]
    fn of(first: f32, second: f32, _: bool) -> Pair {
        bfloat16(first) | bfloat16(second) << 16
    }

    fn unchanged(_: &[f32]) -> Option<&[Pair]> {
        None
    }
}

/// Units of so many numbers of the inner dimension, with those that a kernel wants behind them.
pub(in crate::ops) fn units<K: Kernel>(depth: usize) -> usize {
    depth.div_ceil(K::Unit::DEPTH).next_multiple_of(K::STEP)
}

/// Fills panels of `width` with `block` of `matrix`, one after another, as many as its own width needs: in each for each
/// unit of the inner dimension `width` units, those behind the block's width and depth zero.
#[inline(always)]
pub(super) fn panels<K: Kernel>(
    matrix: Matrix<'_>,
    block: Block,
    width: usize,
    out: &mut [K::Unit],
) {
    let deep = K::Unit::DEPTH;
    let (filled, units) = (block.depth.div_ceil(deep), units::<K>(block.depth));
    let out = &mut out[..block.width.div_ceil(width) * units * width];
    if filled < units {
        for panel in out.chunks_exact_mut(units * width) {
            panel[filled * width..].fill(K::Unit::default());
        }
    }
    if !block.width.is_multiple_of(width) {
        let last = out.len() - units * width;
        out[last..].fill(K::Unit::default());
    }
    match matrix.lines {
        // Line by line through all panels: what is read lies together.
        Lines::Outer => {
            let line = |k: usize| &matrix.values[k * matrix.stride + block.outer..][..block.width];
            let mut row = [K::Unit::default(); WIDEST];
            let row = &mut row[..block.width];
            for unit in 0..filled {
                let k = block.inner + unit * deep;
                let second = if deep == 2 && unit * deep + 1 < block.depth {
                    line(k + 1)
                } else {
                    &[]
                };
                // What is farther away than the processor looks ahead by itself: rows lie apart.
                for ahead in AHEAD..AHEAD + deep {
                    let start = (k + ahead) * matrix.stride + block.outer;
                    if let Some(line) = matrix.values.get(start..start + block.width) {
                        prefetch::numbers(line);
                    }
                }
                // What needs no change is copied from where it is.
                let row = match K::Unit::unchanged(line(k)) {
                    Some(line) if !K::ROUNDS => line,
                    _ => {
                        interleave::<K>(line(k), second, row);
                        &*row
                    }
                };
                let places = out.chunks_exact_mut(units * width);
                for (panel, row) in places.zip(row.chunks(width)) {
                    let out = &mut panel[unit * width..][..width];
                    // A copy whose length the compiler knows is no call.
                    match row.len() == width {
                        true => out.copy_from_slice(&row[..width]),
                        false => out[..row.len()].copy_from_slice(row),
                    }
                }
            }
        }
        Lines::Inner => {
            for (index, panel) in out.chunks_exact_mut(units * width).enumerate() {
                let outer = block.outer + index * width;
                let lines = width.min(block.outer + block.width - outer);
                let values = &matrix.values[outer * matrix.stride + block.inner..];
                transpose::<K>(values, matrix.stride, (lines, block.depth), width, panel);
            }
        }
    }
}

/// Fills rows with `block` of the left side `matrix`, whose lines are its columns: for each row its units one after another,
/// those behind the block's depth zero. Rows behind the block's width stay what they are.
#[inline(always)]
pub(super) fn rows_of_columns<K: Kernel>(matrix: Matrix<'_>, block: Block, out: &mut [K::Unit]) {
    let deep = K::Unit::DEPTH;
    let (filled, units) = (block.depth.div_ceil(deep), units::<K>(block.depth));
    let line =
        |k: usize| &matrix.values[(block.inner + k) * matrix.stride + block.outer..][..block.width];
    // Columns and places that go by squares.
    let (squares, whole) = if K::HAS_SQUARES {
        (
            block.width - block.width % SQUARE,
            block.depth - block.depth % (SQUARE * deep),
        )
    } else {
        (0, 0)
    };
    for k in (0..whole).step_by(SQUARE * deep) {
        for ahead in k + SQUARE * deep..(k + 2 * SQUARE * deep).min(block.depth) {
            prefetch::numbers(line(ahead));
        }
        for outer in (0..squares).step_by(SQUARE) {
            let start = (block.inner + k) * matrix.stride + block.outer + outer;
            let values = &matrix.values[start..][..(SQUARE * deep - 1) * matrix.stride + SQUARE];
            let out = &mut out[outer * units + k / deep..][..(SQUARE - 1) * units + SQUARE];
            // SAFETY: the kernel has this, and both slices reach to the square's last unit (just cut so).
            unsafe { K::square_of_columns(values.as_ptr(), matrix.stride, out.as_mut_ptr(), units) }
        }
    }
    for unit in 0..filled {
        let first = line(unit * deep);
        let second = (deep == 2 && unit * deep + 1 < block.depth).then(|| line(unit * deep + 1));
        let done = if unit * deep < whole { squares } else { 0 };
        for row in done..block.width {
            let second = second.map_or(0.0, |line| line[row]);
            out[row * units + unit] = K::Unit::of(first[row], second, K::ROUNDS);
        }
    }
    if filled < units {
        for row in out.chunks_exact_mut(units).take(block.width) {
            row[filled..].fill(K::Unit::default());
        }
    }
}

/// The units of two lines that follow one another; where there is no second one, of the first alone.
#[inline(always)]
fn interleave<K: Kernel>(first: &[f32], second: &[f32], out: &mut [K::Unit]) {
    let of = |first, second| K::Unit::of(first, second, K::ROUNDS);
    if second.is_empty() {
        for (out, &first) in out.iter_mut().zip(first) {
            *out = of(first, 0.0);
        }
        return;
    }
    let count = first.len().min(second.len()).min(out.len());
    let mut done = 0;
    if K::NARROWS > 0 {
        while done + K::NARROWS <= count {
            let (first, second) = (first[done..].as_ptr(), second[done..].as_ptr());
            // SAFETY: the kernel has this, and so many numbers and units are left in all three.
            unsafe { K::interleave(first, second, out[done..].as_mut_ptr()) }
            done += K::NARROWS;
        }
    }
    for ((out, &first), &second) in out[done..]
        .iter_mut()
        .zip(&first[done..])
        .zip(&second[done..])
    {
        *out = of(first, second);
    }
}

/// Writes `lines` lines of `depth` numbers, which are `stride` apart, as the columns of a panel of `width`.
#[inline(always)]
fn transpose<K: Kernel>(
    values: &[f32],
    stride: usize,
    (lines, depth): (usize, usize),
    width: usize,
    out: &mut [K::Unit],
) {
    let deep = K::Unit::DEPTH;
    let of = |first, second| K::Unit::of(first, second, K::ROUNDS);
    // Numbers of each line, and lines, that go by squares.
    let (squares, whole) = if K::HAS_SQUARES {
        (lines - lines % SQUARE, depth - depth % (SQUARE * deep))
    } else {
        (0, 0)
    };
    for first in (0..squares).step_by(SQUARE) {
        for k in (0..whole).step_by(SQUARE * deep) {
            let all = values;
            let values = &values[first * stride + k..][..(SQUARE - 1) * stride + SQUARE * deep];
            let out = &mut out[k / deep * width + first..][..(SQUARE - 1) * width + SQUARE];
            for line in 0..SQUARE {
                let start = (first + line) * stride + k + 2 * SQUARE * deep;
                if let Some(next) = all.get(start..start + SQUARE * deep) {
                    prefetch::numbers(next);
                }
            }
            // SAFETY: the kernel has this, and both slices reach to the square's last unit (just cut so).
            unsafe { K::square(values.as_ptr(), stride, out.as_mut_ptr(), width) }
        }
    }
    // Lines that fill no square go by one too, from a copy.
    let rest = lines - squares;
    let by_square = K::HAS_SQUARES && rest >= SQUARE / 4 && squares + SQUARE <= width;
    if by_square {
        let mut square = [[0f32; 2 * SQUARE]; SQUARE];
        for k in (0..whole).step_by(SQUARE * deep) {
            for (line, copy) in square.iter_mut().enumerate().take(rest) {
                let start = (squares + line) * stride + k;
                copy[..SQUARE * deep].copy_from_slice(&values[start..][..SQUARE * deep]);
            }
            let out = &mut out[k / deep * width + squares..][..(SQUARE - 1) * width + SQUARE];
            let copies = square.as_flattened().as_ptr();
            // SAFETY: as above; the copies are a square's lines.
            unsafe { K::square(copies, 2 * SQUARE, out.as_mut_ptr(), width) }
        }
    }
    for line in 0..lines {
        let done = if line < squares || by_square {
            whole
        } else {
            0
        };
        let values = &values[line * stride + done..][..depth - done];
        let mut numbers = values.chunks_exact(deep);
        let start = done / deep * width + line;
        if start >= out.len() {
            continue;
        }
        let mut places = out[start..].iter_mut().step_by(width);
        for (numbers, out) in (&mut numbers).zip(&mut places) {
            *out = of(numbers[0], numbers[deep - 1]);
        }
        if let ([last], Some(out)) = (numbers.remainder(), places.next()) {
            *out = of(*last, 0.0);
        }
    }
}

/// One row in units, padded with zero.
#[inline(always)]
pub(in crate::ops) fn row<K: Kernel>(values: &[f32], out: &mut [K::Unit]) {
    let deep = K::Unit::DEPTH;
    let mut done = 0;
    if K::NARROWS > 0 {
        while 2 * (done + K::NARROWS) <= values.len() {
            // SAFETY: the kernel has this, and so many numbers and units are left in both.
            unsafe { K::narrow(values[2 * done..].as_ptr(), out[done..].as_mut_ptr()) }
            done += K::NARROWS;
        }
    }
    let (values, out) = (&values[deep * done..], &mut out[done..]);
    let mut chunks = values.chunks_exact(deep);
    for (numbers, out) in (&mut chunks).zip(&mut *out) {
        *out = K::Unit::of(numbers[0], numbers[deep - 1], K::ROUNDS);
    }
    let filled = values.len().div_ceil(deep);
    if let [last] = chunks.remainder() {
        out[filled - 1] = K::Unit::of(*last, 0.0, K::ROUNDS);
    }
    out[filled..].fill(K::Unit::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_is_rounded_to_nearest_even() {
        for (x, want) in [
            (1.0f32, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (-0.0, 0x8000),
            (f32::MAX, 0x7f80),
            (f32::INFINITY, 0x7f80),
        ] {
            assert_eq!(bfloat16(x), want, "{x}");
        }
        let nan = bfloat16(f32::from_bits(0x7f80_0001));
        assert!(f32::from_bits(nan << 16).is_nan());
    }
}
