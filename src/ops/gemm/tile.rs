//! The innermost products: tiles of the result that stay in registers while the inner dimension goes by. One for each
//! instruction set and number format; what surrounds them is the same for all.
//!
//! A sum goes over the inner dimension in order, whatever the tile's size: a row's result doesn't depend on the rows that
//! it is computed with.

use super::pack::Unit;

/// What a tile's sums are added to.
#[derive(Clone, Copy)]
pub(in crate::ops) enum Start {
    /// Nothing.
    Zero,
    /// The numbers that are at the result's place.
    Result,
    /// A number for each column.
    Bias(*const f32),
}

impl Start {
    /// What is added to a tile's sums at `place`: where it begins, and numbers from one row's to the next's. There are as many
    /// as the place has columns.
    #[inline(always)]
    pub fn addend(self, place: Place) -> (*const f32, usize) {
        /// For the widest tile.
        static ZEROS: [f32; 32] = [0.0; 32];
        match self {
            Start::Zero => (ZEROS.as_ptr(), 0),
            Start::Result => (place.start, place.stride),
            Start::Bias(bias) => (bias, 0),
        }
    }
}

/// The left side of a tile.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Left<U> {
    /// Its first unit.
    pub start: *const U,
    /// Units from one row to the next, or where the left side is a panel, from one place of the inner dimension to the next.
    pub stride: usize,
}

impl<U> Left<U> {
    /// The left side that begins with the first of these units.
    pub fn new(units: &[U], stride: usize) -> Left<U> {
        Left {
            start: units.as_ptr(),
            stride,
        }
    }
}

/// Where a tile's result goes.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Place {
    /// Its first number.
    pub start: *mut f32,
    /// Numbers from one row to the next.
    pub stride: usize,
    /// Columns that are written: at most [`Kernel::COLUMNS`].
    pub columns: usize,
    /// What a tile with `AHEAD` asks for meanwhile.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "the baseline's tiles ask for nothing")
    )]
    pub ahead: Ahead,
}

/// Memory that is read next: a tile with `AHEAD` asks for some of it as the inner dimension goes by, so that it comes while the
/// sums are made. It may point anywhere.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "the baseline's tiles ask for nothing")
)]
pub(in crate::ops) struct Ahead {
    /// Where it begins.
    pub start: *const u8,
    /// Bytes from one place of the inner dimension to the next.
    pub step: usize,
}

impl Ahead {
    /// Nothing.
    pub const NONE: Ahead = Ahead {
        start: std::ptr::null(),
        step: 0,
    };

    /// A tile's share of what comes after `bytes` at `next`, when `tiles` tiles of `depth` places come before it.
    pub fn share(next: *const u8, bytes: usize, depth: usize, tile: usize, tiles: usize) -> Ahead {
        let step = bytes / depth / tiles;
        Ahead {
            start: next.wrapping_add(tile * depth * step),
            step,
        }
    }
}

/// One way to compute tiles.
pub(in crate::ops) trait Kernel: Copy + Send + Sync + 'static {
    /// What its operands consist of.
    type Unit: Unit;
    /// Rows of a tile, at most.
    const ROWS: usize;
    /// Columns of a tile, and of a panel of the right side.
    const COLUMNS: usize;
    /// Whether the operands are rounded to bfloat16.
    const ROUNDS: bool;

    /// Whether a left side whose lines are columns is packed although its numbers stay as they are: a tile of few rows
    /// reads little of each line of the cache, and lines lie on a page each.
    const PACKS_COLUMNS: bool = false;

    /// Whether there is [`Kernel::square`].
    const HAS_SQUARES: bool = false;

    /// Turns a square of 16 lines, `stride` numbers apart, of so many units each: unit number u of line l is written
    /// to place l of row u, and rows are `width` apart.
    ///
    /// # Safety
    /// The instruction set is there, the lines are readable and the rows writable.
    unsafe fn square(_values: *const f32, _stride: usize, _out: *mut Self::Unit, _width: usize) {
        unreachable!("asked for only where HAS_SQUARES says so")
    }

    /// Units of the inner dimension that a tile takes at once. A kernel with more than one takes whole tiles: both operands have
    /// zeros behind the inner dimension up to a multiple of it, the left side is readable for [`Kernel::ROWS`] rows whatever
    /// their number, and where it was columns, those were packed to rows ([`Kernel::square_of_columns`]): `PANEL` isn't asked for.
    const STEP: usize = 1;

    /// Rows that take as long as any fewer.
    const HEIGHT: usize = 1;

    /// As [`Kernel::square`], but of columns: 16 units of 16 columns, from lines `stride` numbers apart, each of which is a place of
    /// the inner dimension. Unit number u of column c is written to place u of row c.
    ///
    /// # Safety
    /// As for [`Kernel::square`].
    unsafe fn square_of_columns(
        _values: *const f32,
        _stride: usize,
        _out: *mut Self::Unit,
        _width: usize,
    ) {
        unreachable!("asked for only where STEP and HAS_SQUARES say so")
    }

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

    /// Numbers that [`Kernel::narrow`] and [`Kernel::interleave`] make units of at once; 0 where they aren't there.
    const NARROWS: usize = 0;

    /// Writes the units of two times [`Kernel::NARROWS`] numbers that follow one another.
    ///
    /// # Safety
    /// The instruction set is there, the numbers are readable and their units writable.
    unsafe fn narrow(_values: *const f32, _out: *mut Self::Unit) {
        unreachable!("asked for only where NARROWS says so")
    }

    /// Writes the units of [`Kernel::NARROWS`] numbers each of two lines that follow one another.
    ///
    /// # Safety
    /// As for [`Kernel::narrow`].
    unsafe fn interleave(_first: *const f32, _second: *const f32, _out: *mut Self::Unit) {
        unreachable!("asked for only where NARROWS says so")
    }

    /// `place` = `start` + the product of `rows` rows of `left` and a panel of `depth` times [`Kernel::COLUMNS`] units.
    /// With `PANEL` the left side goes place by place: its stride is from one to the next. Else it is from row to row.
    ///
    /// # Safety
    /// The instruction set is there, 0 < `rows` ≤ [`Kernel::ROWS`], the operands are readable, the result's rows are
    /// readable and writable by this call alone, and a bias has the result's columns.
    unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
        rows: usize,
        depth: usize,
        left: Left<Self::Unit>,
        right: *const Self::Unit,
        place: Place,
        start: Start,
    );
}

/// Calls `$inner::<$rows, …>` for the number of rows that it is.
macro_rules! by_rows {
    ($rows:expr, $inner:ident::<$($constant:tt),*> $arguments:tt, $($count:literal)*) => {
        by_rows!(@each $rows, $inner, [$($constant),*], $arguments, $($count)*)
    };
    (@each $rows:expr, $inner:ident, $constants:tt, $arguments:tt, $($count:literal)*) => {
        match $rows {
            $($count => by_rows!(@call $inner, $count, $constants, $arguments),)*
            _ => unreachable!("a tile has no more rows than its kernel"),
        }
    };
    (@call $inner:ident, $count:literal, [$($constant:tt),*], $arguments:tt) => {
        $inner::<$count, $($constant),*> $arguments
    };
}

/// float32 without any instruction set of its own. With `ROUNDS` its operands were rounded to bfloat16.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Baseline<const ROUNDS: bool>;

impl<const ROUNDS: bool> Kernel for Baseline<ROUNDS> {
    type Unit = f32;
    const ROWS: usize = 4;
    const COLUMNS: usize = 8;
    const ROUNDS: bool = ROUNDS;

    unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
        rows: usize,
        depth: usize,
        left: Left<f32>,
        right: *const f32,
        place: Place,
        start: Start,
    ) {
        // SAFETY: this function's contract is the inner one's.
        unsafe { by_rows!(rows, baseline::<PANEL>(depth, left, right, place, start), 1 2 3 4) }
    }
}

unsafe fn baseline<const ROWS: usize, const PANEL: bool>(
    depth: usize,
    left: Left<f32>,
    right: *const f32,
    place: Place,
    start: Start,
) {
    const COLUMNS: usize = 8;
    let mut sums = [[0f32; COLUMNS]; ROWS];
    for k in 0..depth {
        // SAFETY: by the contract of `Kernel::tile`, as all that follows.
        let b = unsafe { &*right.add(k * COLUMNS).cast::<[f32; COLUMNS]>() };
        for (row, sums) in sums.iter_mut().enumerate() {
            let at = if PANEL {
                k * left.stride + row
            } else {
                row * left.stride + k
            };
            // SAFETY: as above.
            let a = unsafe { *left.start.add(at) };
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    let (added, stride) = start.addend(place);
    for (row, sums) in sums.iter().enumerate() {
        for (column, sum) in sums.iter().enumerate().take(place.columns) {
            // SAFETY: as above.
            unsafe {
                *place.start.add(row * place.stride + column) =
                    sum + *added.add(row * stride + column);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(in crate::ops) use x86::masks;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::square_of_pairs_of_columns;
#[cfg(target_arch = "x86_64")]
pub(in crate::ops) use x86::{Avx2, Avx512, Avx512Bf16};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::pack::{Pair, SQUARE};
    use super::super::prefetch;
    use super::{Kernel, Left, Place, Start};

    /// Rows of a tile, which with their columns fill the registers; also of a panel of the left side where it was packed.
    const AVX2_ROWS: usize = 6;

    /// float32 with AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub(in crate::ops) struct Avx2<const ROUNDS: bool>;

    impl<const ROUNDS: bool> Kernel for Avx2<ROUNDS> {
        type Unit = f32;
        const ROWS: usize = AVX2_ROWS;
        const COLUMNS: usize = 16;
        const ROUNDS: bool = ROUNDS;

        unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
            rows: usize,
            depth: usize,
            left: Left<f32>,
            right: *const f32,
            place: Place,
            start: Start,
        ) {
            // SAFETY: this function's contract is the inner one's.
            unsafe {
                // What the places of a packed panel are apart is known when the loop is compiled, so that the processor finds
                // them without a register.
                if PANEL && left.stride != AVX2_ROWS {
                    by_rows!(
                        rows,
                        avx2::<true, false, AHEAD>(depth, left, right, place, start),
                        1 2 3 4 5 6
                    )
                } else {
                    by_rows!(
                        rows,
                        avx2::<PANEL, PANEL, AHEAD>(depth, left, right, place, start),
                        1 2 3 4 5 6
                    )
                }
            }
        }

        const PACKS_COLUMNS: bool = true;

        const HAS_SQUARES: bool = !ROUNDS;

        unsafe fn square(values: *const f32, stride: usize, out: *mut f32, width: usize) {
            for line in [0, 8] {
                for unit in [0, 8] {
                    // SAFETY: this function's contract: a quarter of the square.
                    unsafe {
                        turn_eight(
                            values.add(line * stride + unit),
                            stride,
                            out.add(unit * width + line),
                            width,
                        );
                    }
                }
            }
        }
    }

    /// Turns a square of 8 lines of 8 numbers: number n of line l is written to place l of row n.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn turn_eight(values: *const f32, stride: usize, out: *mut f32, width: usize) {
        let mut lines = [_mm256_setzero_ps(); 8];
        for (line, numbers) in lines.iter_mut().enumerate() {
            // SAFETY: its caller's: the lines are readable.
            *numbers = unsafe { _mm256_loadu_ps(values.add(line * stride)) };
        }
        let mut twos = lines;
        for i in 0..4 {
            twos[2 * i] = _mm256_unpacklo_ps(lines[2 * i], lines[2 * i + 1]);
            twos[2 * i + 1] = _mm256_unpackhi_ps(lines[2 * i], lines[2 * i + 1]);
        }
        // Row 4 i + j: of each half its number j, of the lines 4 i to 4 i + 3.
        let mut fours = twos;
        for i in 0..2 {
            let [a, b, c, d] = [
                twos[4 * i],
                twos[4 * i + 1],
                twos[4 * i + 2],
                twos[4 * i + 3],
            ];
            fours[4 * i] = _mm256_shuffle_ps::<0x44>(a, c);
            fours[4 * i + 1] = _mm256_shuffle_ps::<0xEE>(a, c);
            fours[4 * i + 2] = _mm256_shuffle_ps::<0x44>(b, d);
            fours[4 * i + 3] = _mm256_shuffle_ps::<0xEE>(b, d);
        }
        for j in 0..4 {
            let rows = [
                (j, _mm256_permute2f128_ps::<0x20>(fours[j], fours[4 + j])),
                (
                    4 + j,
                    _mm256_permute2f128_ps::<0x31>(fours[j], fours[4 + j]),
                ),
            ];
            for (row, numbers) in rows {
                // SAFETY: as above, the rows are writable.
                unsafe { _mm256_storeu_ps(out.add(row * width), numbers) }
            }
        }
    }

    /// Places of the inner dimension that one turn of the loop takes.
    const UNROLLED: usize = 4;

    /// Adds the products of one place: `k` places behind the pointers, each of which serves [`SHARED`] rows.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add_place<const ROWS: usize, const PANEL: bool>(
        sums: &mut [[__m256; 2]; ROWS],
        pointers: [*const f32; 2],
        stride: usize,
        k: usize,
        b: *const f32,
    ) {
        // SAFETY: its caller's: the place is inside both operands.
        unsafe {
            let low = _mm256_loadu_ps(b);
            let high = _mm256_loadu_ps(b.add(8));
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_ps(*if PANEL {
                    pointers[0].add(k * stride + row)
                } else {
                    pointers[row / SHARED].add(row % SHARED * stride + k)
                });
                sums[0] = _mm256_fmadd_ps(a, low, sums[0]);
                sums[1] = _mm256_fmadd_ps(a, high, sums[1]);
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<const ROWS: usize, const PANEL: bool, const PACKED: bool, const AHEAD: bool>(
        depth: usize,
        left: Left<f32>,
        right: *const f32,
        place: Place,
        start: Start,
    ) {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        // SAFETY: by the contract of `Kernel::tile`; pointers that no row uses are never read.
        unsafe {
            ask_for_result::<ROWS, 16>(place);
            let mut ahead = place.ahead.start;
            let mut b = right;
            let mut pointers: [*const f32; 2] = std::array::from_fn(|index| {
                left.start.wrapping_add(if PANEL {
                    0
                } else {
                    SHARED * index * left.stride
                })
            });
            let stride = if PACKED { AVX2_ROWS } else { left.stride };
            let step = if PANEL { stride } else { 1 };
            let mut places = depth;
            while places >= UNROLLED {
                if AHEAD {
                    // A turn's part of a panel is four lines; where tiles share them, one is enough.
                    prefetch::line(ahead);
                    if UNROLLED * place.ahead.step > 64 {
                        for line in 1..UNROLLED {
                            prefetch::line(ahead.wrapping_add(64 * line));
                        }
                    }
                    ahead = ahead.wrapping_add(UNROLLED * place.ahead.step);
                }
                for k in 0..UNROLLED {
                    add_place::<ROWS, PANEL>(&mut sums, pointers, stride, k, b.add(16 * k));
                }
                for pointer in &mut pointers {
                    *pointer = pointer.wrapping_add(UNROLLED * step);
                }
                b = b.add(16 * UNROLLED);
                places -= UNROLLED;
            }
            for k in 0..places {
                add_place::<ROWS, PANEL>(&mut sums, pointers, stride, k, b.add(16 * k));
            }
            finish_avx2(sums, place, start);
        }
    }

    /// Adds `start` to the sums and writes the columns that there are.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn finish_avx2<const ROWS: usize>(
        sums: [[__m256; 2]; ROWS],
        place: Place,
        start: Start,
    ) {
        let (mut added, stride) = start.addend(place);
        let mut out = place.start;
        // Behind the last row `added` and `out` point anywhere.
        if place.columns == 16 {
            for sums in sums {
                for (half, sum) in sums.into_iter().enumerate() {
                    // SAFETY: by the contract of `Kernel::tile`.
                    unsafe {
                        let sum = _mm256_add_ps(sum, _mm256_loadu_ps(added.add(8 * half)));
                        _mm256_storeu_ps(out.add(8 * half), sum);
                    }
                }
                added = added.wrapping_add(stride);
                out = out.wrapping_add(place.stride);
            }
            return;
        }
        let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let masks = [0, 8]
            .map(|from| _mm256_cmpgt_epi32(_mm256_set1_epi32(place.columns as i32 - from), places));
        for sums in sums {
            for (half, sum) in sums.into_iter().enumerate() {
                let (added, out) = (added.wrapping_add(8 * half), out.wrapping_add(8 * half));
                // SAFETY: as above; what is masked isn't touched.
                unsafe {
                    let sum = _mm256_add_ps(sum, _mm256_maskload_ps(added, masks[half]));
                    _mm256_maskstore_ps(out, masks[half], sum);
                }
            }
            added = added.wrapping_add(stride);
            out = out.wrapping_add(place.stride);
        }
    }

    /// As [`AVX2_ROWS`].
    const AVX512_ROWS: usize = 12;

    /// float32 with AVX-512.
    #[derive(Clone, Copy)]
    pub(in crate::ops) struct Avx512<const ROUNDS: bool>;

    impl<const ROUNDS: bool> Kernel for Avx512<ROUNDS> {
        type Unit = f32;
        const ROWS: usize = AVX512_ROWS;
        const COLUMNS: usize = 32;
        const ROUNDS: bool = ROUNDS;

        unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
            rows: usize,
            depth: usize,
            left: Left<f32>,
            right: *const f32,
            place: Place,
            start: Start,
        ) {
            // SAFETY: this function's contract is the inner one's.
            unsafe {
                // As with AVX2.
                if PANEL && left.stride != AVX512_ROWS {
                    by_rows!(
                        rows,
                        avx512::<true, false, AHEAD>(depth, left, right, place, start),
                        1 2 3 4 5 6 7 8 9 10 11 12
                    )
                } else {
                    by_rows!(
                        rows,
                        avx512::<PANEL, PANEL, AHEAD>(depth, left, right, place, start),
                        1 2 3 4 5 6 7 8 9 10 11 12
                    )
                }
            }
        }

        const PACKS_COLUMNS: bool = true;

        const HAS_SQUARES: bool = !ROUNDS;

        unsafe fn square(values: *const f32, stride: usize, out: *mut f32, width: usize) {
            // SAFETY: this function's contract.
            unsafe { square_of_numbers(values, stride, out.cast(), width) }
        }
    }

    /// bfloat16 operands with float32 sums: AVX512-BF16.
    #[derive(Clone, Copy)]
    pub(in crate::ops) struct Avx512Bf16;

    impl Kernel for Avx512Bf16 {
        type Unit = Pair;
        const ROWS: usize = AVX512_ROWS;
        const COLUMNS: usize = 32;
        const ROUNDS: bool = true;

        unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
            rows: usize,
            depth: usize,
            left: Left<Pair>,
            right: *const Pair,
            place: Place,
            start: Start,
        ) {
            // SAFETY: this function's contract is the inner one's.
            unsafe {
                by_rows!(
                    rows,
                    avx512_bf16::<PANEL, PANEL, AHEAD>(depth, left, right, place, start),
                    1 2 3 4 5 6 7 8 9 10 11 12
                )
            }
        }

        const HAS_SQUARES: bool = true;

        unsafe fn square(values: *const f32, stride: usize, out: *mut Pair, width: usize) {
            // SAFETY: this function's contract.
            unsafe { square_of_pairs(values, stride, out, width) }
        }

        const NARROWS: usize = 16;

        #[inline]
        unsafe fn narrow(values: *const f32, out: *mut Pair) {
            // SAFETY: this function's contract.
            unsafe { narrow(values, out) }
        }

        #[inline]
        unsafe fn interleave(first: *const f32, second: *const f32, out: *mut Pair) {
            // SAFETY: this function's contract.
            unsafe { interleave(first, second, out) }
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn square_of_numbers(values: *const f32, stride: usize, out: *mut u32, width: usize) {
        let mut lines = [_mm512_setzero_si512(); SQUARE];
        for (line, units) in lines.iter_mut().enumerate() {
            // SAFETY: by the contract of `Kernel::square`.
            *units = unsafe { _mm512_loadu_si512(values.add(line * stride).cast()) };
        }
        // SAFETY: as above.
        unsafe { turn(lines, out, width) }
    }

    /// 16 numbers of each place, rounded, one after another.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn rounded(first: *const f32, second: *const f32) -> __m512i {
        // SAFETY: its caller's: the numbers are readable; both types are the same 64 bytes.
        unsafe {
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(
                _mm512_loadu_ps(second),
                _mm512_loadu_ps(first),
            ))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn narrow(values: *const f32, out: *mut Pair) {
        // SAFETY: by the contract of `Kernel::narrow`.
        unsafe { _mm512_storeu_si512(out.cast(), rounded(values, values.add(16))) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn interleave(first: *const f32, second: *const f32, out: *mut Pair) {
        // SAFETY: by the contract of `Kernel::interleave`.
        unsafe { _mm512_storeu_si512(out.cast(), interleaved(first, second)) }
    }

    /// 16 pairs of a number of each place, rounded.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn interleaved(first: *const f32, second: *const f32) -> __m512i {
        // Places 0, 16, 1, 17, … of halves of 32 bits.
        let order = _mm512_add_epi32(
            _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
            _mm512_set_epi32(
                31 << 16,
                30 << 16,
                29 << 16,
                28 << 16,
                27 << 16,
                26 << 16,
                25 << 16,
                24 << 16,
                23 << 16,
                22 << 16,
                21 << 16,
                20 << 16,
                19 << 16,
                18 << 16,
                17 << 16,
                16 << 16,
            ),
        );
        // SAFETY: its caller's: the numbers are readable.
        unsafe { _mm512_permutexvar_epi16(order, rounded(first, second)) }
    }

    /// As [`square_of_pairs`], of columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(in crate::ops::gemm) unsafe fn square_of_pairs_of_columns(
        values: *const f32,
        stride: usize,
        out: *mut u32,
        width: usize,
    ) {
        let mut units = [_mm512_setzero_si512(); SQUARE];
        for (unit, pairs) in units.iter_mut().enumerate() {
            // SAFETY: by the contract of `Kernel::square_of_columns`, 16 numbers of each of 32 lines are readable.
            *pairs = unsafe {
                let first = values.add(2 * unit * stride);
                interleaved(first, first.add(stride))
            };
        }
        // SAFETY: as above.
        unsafe { turn(units, out, width) }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn square_of_pairs(values: *const f32, stride: usize, out: *mut u32, width: usize) {
        let mut lines = [_mm512_setzero_si512(); SQUARE];
        for (line, units) in lines.iter_mut().enumerate() {
            // SAFETY: by the contract of `Kernel::square`, 32 numbers of each line are readable.
            *units = unsafe {
                let values = values.add(line * stride);
                rounded(values, values.add(16))
            };
        }
        // SAFETY: as above.
        unsafe { turn(lines, out, width) }
    }

    /// Turns a square of units and writes its rows, which are `width` apart.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn turn(lines: [__m512i; SQUARE], out: *mut u32, width: usize) {
        let mut twos = lines;
        for i in 0..8 {
            twos[2 * i] = _mm512_unpacklo_epi32(lines[2 * i], lines[2 * i + 1]);
            twos[2 * i + 1] = _mm512_unpackhi_epi32(lines[2 * i], lines[2 * i + 1]);
        }
        // Row 4 i + j: of each quarter of 128 bits its unit j, of the lines 4 i to 4 i + 3.
        let mut fours = twos;
        for i in 0..4 {
            fours[4 * i] = _mm512_unpacklo_epi64(twos[4 * i], twos[4 * i + 2]);
            fours[4 * i + 1] = _mm512_unpackhi_epi64(twos[4 * i], twos[4 * i + 2]);
            fours[4 * i + 2] = _mm512_unpacklo_epi64(twos[4 * i + 1], twos[4 * i + 3]);
            fours[4 * i + 3] = _mm512_unpackhi_epi64(twos[4 * i + 1], twos[4 * i + 3]);
        }
        for j in 0..4 {
            let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
            // The first two and the last two quarters of two groups of lines.
            let (ab, cd) = (
                _mm512_shuffle_i32x4::<0x44>(a, b),
                _mm512_shuffle_i32x4::<0x44>(c, d),
            );
            let (ab_high, cd_high) = (
                _mm512_shuffle_i32x4::<0xEE>(a, b),
                _mm512_shuffle_i32x4::<0xEE>(c, d),
            );
            let rows = [
                (j, _mm512_shuffle_i32x4::<0x88>(ab, cd)),
                (4 + j, _mm512_shuffle_i32x4::<0xDD>(ab, cd)),
                (8 + j, _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high)),
                (12 + j, _mm512_shuffle_i32x4::<0xDD>(ab_high, cd_high)),
            ];
            for (row, units) in rows {
                // SAFETY: its caller's: the rows are writable.
                unsafe { _mm512_storeu_si512(out.add(row * width).cast(), units) }
            }
        }
    }

    /// Rows that one pointer serves: the processor adds one or two strides to an address by itself, so that twelve rows
    /// need four pointers.
    const SHARED: usize = 3;

    /// Places of the inner dimension that one turn of an AVX-512 tile's loop takes. A tile that reads its left side by rows
    /// and asks for memory ahead takes one: of four, the compiler moves the loads of all rows together and keeps the sums
    /// on the stack for want of registers, which costs prediction a quarter of its speed (tests/disassembly.rs).
    const fn places_of_a_turn(panel: bool, ahead: bool) -> usize {
        if panel || !ahead { UNROLLED } else { 1 }
    }

    /// Asks for two lines of [`Ahead`](super::Ahead).
    #[inline(always)]
    fn ask(at: *const u8) {
        prefetch::line(at);
        prefetch::line(at.wrapping_add(64));
    }

    /// Asks for the lines that the result will be written to, so that they are there at the end.
    #[inline(always)]
    fn ask_for_result<const ROWS: usize, const COLUMNS: usize>(place: Place) {
        let mut start = place.start.cast_const();
        for _ in 0..ROWS {
            for line in 0..COLUMNS / 16 {
                prefetch::line(start.wrapping_add(16 * line));
            }
            prefetch::line(start.wrapping_add(COLUMNS - 1));
            start = start.wrapping_add(place.stride);
        }
    }

    /// Which of 32 numbers are columns, for each half of them.
    #[inline(always)]
    pub(in crate::ops) fn masks(columns: usize) -> [__mmask16; 2] {
        [0, 16].map(|from| {
            let left = columns.saturating_sub(from).min(16);
            ((1u32 << left) - 1) as __mmask16
        })
    }

    /// Adds `start` to the sums and writes the columns that there are.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn finish_avx512<const ROWS: usize>(
        sums: [[__m512; 2]; ROWS],
        place: Place,
        start: Start,
    ) {
        let masks = masks(place.columns);
        let (mut added, stride) = start.addend(place);
        let mut out = place.start;
        for sums in sums {
            for (half, sum) in sums.into_iter().enumerate() {
                // SAFETY: by the contract of `Kernel::tile`; what is masked isn't touched.
                unsafe {
                    let added = added.wrapping_add(16 * half);
                    let sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(masks[half], added));
                    _mm512_mask_storeu_ps(out.wrapping_add(16 * half), masks[half], sum);
                }
            }
            added = added.wrapping_add(stride);
            out = out.wrapping_add(place.stride);
        }
    }

    /// The loop over the inner dimension, which is the same for both formats but for its one instruction.
    macro_rules! avx512_tile {
        ($name:ident, $features:literal, $unit:ty, $load:expr, $broadcast:expr, $multiply_add:expr) => {
            #[target_feature(enable = $features)]
            unsafe fn $name<
                const ROWS: usize,
                const PANEL: bool,
                const PACKED: bool,
                const AHEAD: bool,
            >(
                depth: usize,
                left: Left<$unit>,
                right: *const $unit,
                place: Place,
                start: Start,
            ) {
                let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
                // SAFETY: by the contract of `Kernel::tile`; pointers that no row uses are never read.
                unsafe {
                    ask_for_result::<ROWS, 32>(place);
                    let mut ahead = place.ahead.start;
                    let mut b = right;
                    let mut pointers: [*const $unit; 4] = std::array::from_fn(|index| {
                        left.start.wrapping_add(if PANEL {
                            0
                        } else {
                            SHARED * index * left.stride
                        })
                    });
                    debug_assert!(!PACKED || left.stride == AVX512_ROWS);
                    let stride = if PACKED { AVX512_ROWS } else { left.stride };
                    let step = if PANEL { stride } else { 1 };
                    /// Adds the products of one place: `k` places behind the pointers.
                    macro_rules! add_place {
                        ($k:expr) => {{
                            let low = $load(b.add(32 * $k));
                            let high = $load(b.add(32 * $k + 16));
                            for (row, sums) in sums.iter_mut().enumerate() {
                                let a = if PANEL {
                                    pointers[0].add($k * stride + row)
                                } else {
                                    pointers[row / SHARED].add(row % SHARED * stride + $k)
                                };
                                let a = $broadcast(*a);
                                sums[0] = $multiply_add(sums[0], a, low);
                                sums[1] = $multiply_add(sums[1], a, high);
                            }
                        }};
                    }
                    let unrolled = const { places_of_a_turn(PANEL, AHEAD) };
                    let mut places = depth;
                    while places >= unrolled {
                        if AHEAD {
                            for _ in 0..unrolled {
                                ask(ahead);
                                ahead = ahead.wrapping_add(place.ahead.step);
                            }
                        }
                        for k in 0..unrolled {
                            add_place!(k);
                        }
                        for pointer in &mut pointers {
                            *pointer = pointer.wrapping_add(unrolled * step);
                        }
                        b = b.add(32 * unrolled);
                        places -= unrolled;
                    }
                    for k in 0..places {
                        add_place!(k);
                    }
                    finish_avx512(sums, place, start);
                }
            }
        };
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn multiply_add_pairs(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: both types are the same 64 bytes.
        let (a, b) = unsafe {
            (
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        };
        _mm512_dpbf16_ps(sum, a, b)
    }

    avx512_tile!(
        avx512,
        "avx512f",
        f32,
        |numbers| _mm512_loadu_ps(numbers),
        |number| _mm512_set1_ps(number),
        |sum, a, b| _mm512_fmadd_ps(a, b, sum)
    );
    avx512_tile!(
        avx512_bf16,
        "avx512f,avx512bf16",
        Pair,
        |pairs: *const Pair| _mm512_loadu_si512(pairs.cast()),
        |pair: Pair| _mm512_set1_epi32(pair.cast_signed()),
        multiply_add_pairs
    );
}
