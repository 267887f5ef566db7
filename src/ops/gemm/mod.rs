//! Matrix products on the current threads ([`parallel`]), in float32 or with operands rounded to bfloat16 (sums stay float32).
//!
//! The right side is packed into panels as wide as a tile ([`pack`]), a block of the inner dimension at a time; tiles
//! of the result stay in registers ([`tile`]). Goto and van de Geijn, "Anatomy of High-Performance Matrix
//! Multiplication", 2008. No sum over the inner dimension is split between threads.

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
mod pack;
pub(super) mod prefetch;
mod scratch;
pub(super) mod tile;

use std::ops::Range;

use self::pack::Block;
pub(super) use self::pack::{Lines, Matrix, Unit, row as pack_row, units};
pub use self::scratch::KeptScratch;
pub(super) use self::scratch::Scratch;
use self::tile::{Ahead, Kernel, Left, Place, Start};
use super::isa::{self, vectorised};
use super::parallel::{self, Shared, chunks_mut, for_each};
use super::sizes;
use crate::threads;

/// What products are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// float32 throughout.
    #[default]
    Float32,
    /// Both operands are rounded to bfloat16, sums are float32.
    BFloat16,
}

/// What a product's sums are added to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accumulate<'a> {
    /// Nothing: what is at the result's place is replaced.
    Replace,
    /// The numbers that are at the result's place.
    Add,
    /// A number for each column.
    Bias(&'a [f32]),
}

/// Units of the inner dimension that are multiplied at once, at most: a panel of them is as large as the first-level cache where
/// tiles have 16 columns; wider ones come from the second, which is fast enough for them.
const INNER: usize = 512;

/// Blocks of the inner dimension have a multiple of so many units, but for the last.
const UNITS: usize = 16;

/// Rows of the left side that panels go by, at most about: they fit the second-level cache.
const BAND: usize = 64;

/// Tiles that a panel is multiplied with one after another, at least, where there are so many rows.
const TILES: usize = 4;

/// Panels that a band is multiplied with, at least, where there are so many and it was packed for them.
const PANELS: usize = 8;

/// Multiplications below which a product stays on its thread: about as many as handing it out costs.
const ALONE: usize = 1 << 17;

/// Tasks for each thread, about: whoever is held up leaves the rest to others.
const TASKS: usize = 16;

impl Precision {
    /// The name of the widest instructions that products in this precision use. For bfloat16 the first call may ask the operating
    /// system for them, and tell the log that it refuses.
    pub fn instructions(self) -> &'static str {
        match isa::level() {
            isa::Level::Amx if self == Precision::Float32 || !isa::may_use_amx() => {
                isa::Level::Avx512.name()
            }
            level => level.name(),
        }
    }

    /// A linear layer: result[rows, outputs] (+)= x[rows, inputs] · weight[outputs, inputs]ᵀ.
    pub fn matmul_nt(
        self,
        result: &mut [f32],
        accumulate: Accumulate<'_>,
        x: &[f32],
        weight: &[f32],
        inputs: usize,
        outputs: usize,
    ) {
        let rows = x.len() / inputs;
        assert!(x.len() == rows * inputs && weight.len() == sizes::product([inputs, outputs]));
        let product = Product {
            sizes: (rows, outputs, inputs),
            left: Matrix::new(x, inputs, Lines::Inner),
            right: Matrix::new(weight, inputs, Lines::Inner),
        };
        product.compute(self, result, accumulate);
    }

    /// A linear layer's derivative by its input: result[rows, inputs] (+)= dy[rows, outputs] · weight[outputs, inputs].
    pub fn matmul(
        self,
        result: &mut [f32],
        accumulate: Accumulate<'_>,
        dy: &[f32],
        weight: &[f32],
        inputs: usize,
        outputs: usize,
    ) {
        let rows = dy.len() / outputs;
        assert!(dy.len() == rows * outputs && weight.len() == sizes::product([inputs, outputs]));
        let product = Product {
            sizes: (rows, inputs, outputs),
            left: Matrix::new(dy, outputs, Lines::Inner),
            right: Matrix::new(weight, inputs, Lines::Outer),
        };
        product.compute(self, result, accumulate);
    }

    /// A linear layer's derivative by its weight: gradient[outputs, inputs] (+)= dy[rows, outputs]ᵀ · x[rows, inputs].
    pub fn matmul_tn(
        self,
        gradient: &mut [f32],
        accumulate: Accumulate<'_>,
        dy: &[f32],
        x: &[f32],
        inputs: usize,
        outputs: usize,
    ) {
        let rows = x.len() / inputs;
        assert!(x.len() == rows * inputs && dy.len() == sizes::product([rows, outputs]));
        let product = Product {
            sizes: (outputs, inputs, rows),
            left: Matrix::new(dy, outputs, Lines::Outer),
            right: Matrix::new(x, inputs, Lines::Outer),
        };
        product.compute(self, gradient, accumulate);
    }
}

/// Evaluates an expression with `$kernel` as the kernel of this machine for operands that are rounded to bfloat16.
macro_rules! with_bfloat16_kernel {
    ($kernel:ident => $body:expr) => {{
        use $crate::ops::{gemm, isa};
        macro_rules! on {
            ($of:ty) => {{
                type $kernel = $of;
                $body
            }};
        }
        match isa::level() {
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx if isa::may_use_amx() => on!(gemm::amx::AmxBf16),
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx | isa::Level::Avx512 if isa::has_bf16() => on!(gemm::tile::Avx512Bf16),
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx | isa::Level::Avx512 => on!(gemm::tile::Avx512<true>),
            #[cfg(target_arch = "x86_64")]
            isa::Level::Avx2 => on!(gemm::tile::Avx2<true>),
            _ => on!(gemm::tile::Baseline<true>),
        }
    }};
}
pub(super) use with_bfloat16_kernel;

/// Evaluates an expression with `$kernel` as the kernel of this machine and a precision.
macro_rules! with_kernel {
    ($precision:expr, $kernel:ident => $body:expr) => {{
        macro_rules! on {
            ($of:ty) => {{
                type $kernel = $of;
                $body
            }};
        }
        match ($precision, isa::level()) {
            (Precision::BFloat16, _) => with_bfloat16_kernel!($kernel => $body),
            #[cfg(target_arch = "x86_64")]
            (Precision::Float32, isa::Level::Amx | isa::Level::Avx512) => on!(tile::Avx512<false>),
            #[cfg(target_arch = "x86_64")]
            (Precision::Float32, isa::Level::Avx2) => on!(tile::Avx2<false>),
            (Precision::Float32, _) => on!(tile::Baseline<false>),
        }
    }};
}

/// Places of the inner dimension that are multiplied at once where there are `k`, in units of so many: blocks of about one size,
/// since a short one at the end would read and write the result for little.
pub(super) fn inner_block(k: usize, deep: usize) -> usize {
    let blocks = k.div_ceil(INNER * deep);
    k.div_ceil(blocks).next_multiple_of(UNITS * deep)
}

/// A small float32 product, `result`[m, n] (+)= left[m, k] · right[k, n], on the thread that asks. The result's rows are
/// `stride` apart. None of the sizes is zero.
///
/// # Safety
/// The result's elements are inside memory that is writable, by this call alone. The left side has its m rows, or k columns, and a
/// bias has n numbers.
pub(super) unsafe fn small_product(
    (m, n, k): (usize, usize, usize),
    left: Matrix<'_>,
    right: Matrix<'_>,
    (result, stride): (*mut f32, usize),
    accumulate: Accumulate<'_>,
) {
    let product = Product {
        sizes: (m, n, k),
        left,
        right,
    };
    // SAFETY: by this function's contract.
    with_kernel!(Precision::Float32, K => unsafe {
        product.write::<K>(result, stride, accumulate, 1);
    });
}

/// All of a right side, `depth` places by `width` columns, as panels one after another; behind the last column zero.
pub(super) fn pack_columns<K: Kernel>(
    right: Matrix<'_>,
    (depth, width): (usize, usize),
    out: &mut [K::Unit],
) {
    const { assert!(pack::WIDEST.is_multiple_of(K::COLUMNS)) };
    let panel = K::COLUMNS * pack::units::<K>(depth);
    let groups = out.chunks_mut(pack::WIDEST / K::COLUMNS * panel);
    for (outer, out) in (0..width).step_by(pack::WIDEST).zip(groups) {
        let block = Block {
            outer,
            width: pack::WIDEST.min(width - outer),
            inner: 0,
            depth,
        };
        vectorised!(pack::panels::<K>(right, block, K::COLUMNS, out));
    }
}

/// Writes rows of `columns` numbers, `stride` apart: those of the left side, as many as one tile has at most, times panels of the
/// right one. The last panel may reach beyond the columns; columns behind it stay as they are.
///
/// # Safety
/// 0 < `rows` ≤ [`Kernel::ROWS`]; no panel begins behind the columns; the left side is readable for `depth` places, the result is
/// readable, and writable by this call alone, and the kernel is one of this machine's.
pub(super) unsafe fn tiles<K: Kernel<Unit = f32>, const PANEL: bool>(
    (rows, columns, depth): (usize, usize, usize),
    left: Left<f32>,
    panels: &[f32],
    (result, stride): (*mut f32, usize),
) {
    for (number, panel) in panels.chunks_exact(K::COLUMNS * depth).enumerate() {
        let column = number * K::COLUMNS;
        debug_assert!(column < columns);
        let place = Place {
            start: result.wrapping_add(column),
            stride,
            columns: K::COLUMNS.min(columns - column),
            ahead: Ahead::NONE,
        };
        // SAFETY: by this function's contract; the panel has these places.
        unsafe { K::tile::<PANEL, false>(rows, depth, left, panel.as_ptr(), place, Start::Zero) }
    }
}

/// Numbers of `width` columns as panels.
pub(super) fn panels_len<K: Kernel<Unit = f32>>((depth, width): (usize, usize)) -> usize {
    width.next_multiple_of(K::COLUMNS) * depth
}

/// Rows of the left side, `width` of them with `depth` places, from lines that are its columns: a panel each [`Kernel::ROWS`] rows.
pub(super) fn pack_left_columns<K: Kernel>(
    left: Matrix<'_>,
    (depth, width): (usize, usize),
    out: &mut [K::Unit],
) {
    let block = Block {
        outer: 0,
        width,
        inner: 0,
        depth,
    };
    vectorised!(pack::panels::<K>(left, block, K::ROWS, out));
}

/// result[m, n] (+)= left[m, k] · right[k, n].
#[derive(Clone, Copy)]
struct Product<'a> {
    /// m, n, k.
    sizes: (usize, usize, usize),
    left: Matrix<'a>,
    right: Matrix<'a>,
}

/// The left side as tiles read it.
#[derive(Clone, Copy)]
enum LeftSide<'a, U> {
    /// Rows, so many units apart.
    Rows(&'a [U], usize),
    /// Columns, so many units from one place of the inner dimension to the next.
    Columns(&'a [U], usize),
    /// Columns that each task makes panels of before it uses them.
    Unpacked(Matrix<'a>),
}

impl Product<'_> {
    fn compute(self, precision: Precision, result: &mut [f32], accumulate: Accumulate<'_>) {
        with_kernel!(precision, K => self.on::<K>(result, accumulate));
    }

    fn on<K: Kernel>(self, result: &mut [f32], accumulate: Accumulate<'_>) {
        let (m, n, k) = self.sizes;
        assert_eq!(result.len(), sizes::product([m, n]));
        if let Accumulate::Bias(bias) = accumulate {
            assert_eq!(bias.len(), n);
        }
        if result.is_empty() {
            return;
        }
        if k == 0 {
            for row in result.chunks_exact_mut(n) {
                match accumulate {
                    Accumulate::Replace => row.fill(0.0),
                    Accumulate::Add => {}
                    Accumulate::Bias(bias) => row.copy_from_slice(bias),
                }
            }
            return;
        }
        let threads = match m * n * k {
            small if small <= ALONE => 1,
            _ => threads::current_num_threads(),
        };
        // SAFETY: the result is m × n (just checked), and it is borrowed by this call alone; a bias has n numbers, and whoever makes
        // a product holds the size of its left side.
        unsafe { self.write::<K>(result.as_mut_ptr(), n, accumulate, threads) }
    }

    /// Block by block of the inner dimension.
    ///
    /// # Safety
    /// `result` begins m rows of n numbers, `stride` apart, that no one else touches. The left side has its m rows, or k columns, and a
    /// bias has n numbers.
    unsafe fn write<K: Kernel>(
        self,
        result: *mut f32,
        stride: usize,
        accumulate: Accumulate<'_>,
        threads: usize,
    ) {
        const {
            // Blocks of the inner dimension follow one another in rows of units.
            assert!(UNITS.is_multiple_of(K::STEP) && INNER.is_multiple_of(UNITS));
        }
        let (m, n, k) = self.sizes;
        let deep = K::Unit::DEPTH;
        let (mut left_scratch, mut right_scratch) = (Scratch::default(), Scratch::default());
        let left = self.left_side::<K>(&mut left_scratch, threads);
        let (tiles, panels) = (m.div_ceil(K::ROWS), n.div_ceil(K::COLUMNS));
        // Rows are shared out as far as a panel's way to the cache pays, then columns, until there are tasks enough; what each
        // task packs for itself, by rows above all.
        let wanted = if threads == 1 { 1 } else { threads * TASKS };
        let tasks_pack = matches!(left, LeftSide::Unpacked(_));
        let (tiles_of_one, panels_of_one) = if tasks_pack { (1, PANELS) } else { (TILES, 1) };
        let bands = wanted
            .min(tiles.div_ceil(tiles_of_one))
            .max(m.div_ceil(BAND));
        let rows = tiles.div_ceil(bands) * K::ROWS;
        let bands = m.div_ceil(rows);
        let blocks = if tasks_pack {
            wanted / bands
        } else {
            wanted.div_ceil(bands)
        };
        let blocks = blocks.clamp(1, panels.div_ceil(panels_of_one));
        let columns = panels.div_ceil(blocks) * K::COLUMNS;
        let blocks = n.div_ceil(columns);
        let shared = Shared(result);
        let most = inner_block(k, deep);
        for inner in (0..k).step_by(most) {
            let depth = (k - inner).min(most);
            let right =
                right_scratch.take::<K::Unit>(panels * K::COLUMNS * pack::units::<K>(depth));
            self.pack_right::<K>(inner..inner + depth, threads, right);
            let right = &*right;
            let run = |number: usize| {
                let (block, band) = (number / bands, number % bands);
                let task = Task {
                    left,
                    right,
                    inner: inner..inner + depth,
                    rows: (band * rows).min(m)..m.min((band + 1) * rows),
                    columns: block * columns..n.min((block + 1) * columns),
                };
                // SAFETY: by this function's contract; each task has rows and columns of its own.
                unsafe { task.run::<K>(shared.at(0), stride, accumulate) }
            };
            if threads == 1 {
                (0..blocks * bands).for_each(run);
            } else {
                parallel::run(blocks * bands, run);
            }
        }
    }

    /// The panels of the right side's columns for these places of the inner dimension.
    fn pack_right<K: Kernel>(self, inner: Range<usize>, threads: usize, out: &mut [K::Unit]) {
        let n = self.sizes.1;
        let panel = K::COLUMNS * pack::units::<K>(inner.len());
        let panels = n.div_ceil(K::COLUMNS);
        // Some groups for each of several threads, of which none holds up the others for long.
        let groups = if threads == 1 { 1 } else { 4 * threads };
        let group = panels
            .div_ceil(groups)
            .min(pack::WIDEST / K::COLUMNS)
            .max(1);
        each_chunk(threads, out, group * panel, |number, out| {
            let outer = number * group * K::COLUMNS;
            let block = Block {
                outer,
                width: (group * K::COLUMNS).min(n - outer),
                inner: inner.start,
                depth: inner.len(),
            };
            vectorised!(pack::panels::<K>(self.right, block, K::COLUMNS, out));
        });
    }

    /// The left side: as it is where it needs no packing. Rows that do are packed here, in `scratch`, columns by each task.
    fn left_side<'s, K: Kernel>(
        &'s self,
        scratch: &'s mut Scratch,
        threads: usize,
    ) -> LeftSide<'s, K::Unit> {
        let (m, _, k) = self.sizes;
        let Matrix { values, stride, .. } = self.left;
        let unchanged = K::Unit::unchanged(values).filter(|_| !K::ROUNDS);
        match (self.left.lines, unchanged) {
            (Lines::Inner, Some(values)) => LeftSide::Rows(values, stride),
            (Lines::Outer, Some(values)) if !K::PACKS_COLUMNS => LeftSide::Columns(values, stride),
            (Lines::Outer, _) => LeftSide::Unpacked(self.left),
            (Lines::Inner, None) => {
                let units = pack::units::<K>(k);
                // Kernels that read whole tiles read behind the last row.
                let behind = if K::STEP > 1 { K::ROWS } else { 0 };
                let out = scratch.take::<K::Unit>((m + behind) * units);
                let fill = |index: usize, out: &mut [K::Unit]| {
                    vectorised!({
                        for (row, out) in out.chunks_exact_mut(units).enumerate() {
                            let row = index * K::ROWS + row;
                            pack::row::<K>(&values[row * stride..][..k], out);
                        }
                    });
                };
                each_chunk(threads, &mut out[..m * units], K::ROWS * units, fill);
                LeftSide::Rows(out, units)
            }
        }
    }
}

/// Gives each chunk with its number to one call: on this thread, or on all.
fn each_chunk<T: Send>(
    threads: usize,
    out: &mut [T],
    size: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) {
    if threads == 1 {
        out.chunks_mut(size)
            .enumerate()
            .for_each(|(number, chunk)| fill(number, chunk));
    } else {
        for_each(chunks_mut(out, size), fill);
    }
}

/// A part of a product: these rows and columns of its result, for these places of the inner dimension.
struct Task<'a, U> {
    left: LeftSide<'a, U>,
    /// All panels of the right side for these places.
    right: &'a [U],
    inner: Range<usize>,
    rows: Range<usize>,
    /// They begin with a panel.
    columns: Range<usize>,
}

impl<U: Unit> Task<'_, U> {
    /// # Safety
    /// `result` is the whole product's, its rows `result_stride` apart, and no one else touches this task's elements of it.
    unsafe fn run<K: Kernel<Unit = U>>(
        &self,
        result: *mut f32,
        result_stride: usize,
        accumulate: Accumulate<'_>,
    ) {
        let deep = U::DEPTH;
        let units = pack::units::<K>(self.inner.len());
        let inner = self.inner.start;
        let panel = K::COLUMNS * units;
        let right = &self.right[self.columns.start / K::COLUMNS * panel..];
        let tiles = self.rows.len().div_ceil(K::ROWS);
        let mut scratch = Scratch::default();
        let packed: &[U] = match self.left {
            LeftSide::Unpacked(matrix) => {
                let out = scratch.take::<U>(tiles * K::ROWS * units);
                let block = Block {
                    outer: self.rows.start,
                    width: self.rows.len(),
                    inner,
                    depth: self.inner.len(),
                };
                match K::STEP {
                    1 => vectorised!(pack::panels::<K>(matrix, block, K::ROWS, out)),
                    _ => vectorised!(pack::rows_of_columns::<K>(matrix, block, out)),
                }
                out
            }
            _ => &[],
        };
        // Rows are shared out evenly among as few tiles as they need, unless tiles cost the same with fewer, or are cut already.
        let whole = K::STEP > 1 || matches!(self.left, LeftSide::Unpacked(_));
        let first = |tile: usize| match whole {
            true => (tile * K::ROWS).min(self.rows.len()),
            false => self.rows.len() * tile / tiles,
        };
        // SAFETY: the kernel is one of this machine's.
        unsafe { K::begin() }
        for (number, column) in self.columns.clone().step_by(K::COLUMNS).enumerate() {
            let start = match accumulate {
                _ if inner > 0 => Start::Result,
                Accumulate::Replace => Start::Zero,
                Accumulate::Add => Start::Result,
                Accumulate::Bias(bias) => Start::Bias(bias[column..].as_ptr()),
            };
            let right = right[number * panel..][..panel].as_ptr();
            for tile in 0..tiles {
                let row = self.rows.start + first(tile);
                let rows = first(tile + 1) - first(tile);
                let place = Place {
                    // SAFETY: inside the result.
                    start: unsafe { result.add(row * result_stride + column) },
                    stride: result_stride,
                    columns: K::COLUMNS.min(self.columns.end - column),
                    ahead: Ahead::NONE,
                };
                let (left, is_panel) = match self.left {
                    LeftSide::Rows(values, stride) => (
                        Left::new(&values[row * stride + inner / deep..], stride),
                        false,
                    ),
                    LeftSide::Columns(values, stride) => {
                        (Left::new(&values[inner * stride + row..], stride), true)
                    }
                    LeftSide::Unpacked(_) => {
                        let packed = &packed[tile * K::ROWS * units..];
                        match K::STEP {
                            1 => (Left::new(packed, K::ROWS), true),
                            _ => (Left::new(packed, units), false),
                        }
                    }
                };
                // SAFETY: the left side's units are inside what was cut, and the panel was filled above; the kernel is one of
                // this machine's; the result's part is this task's own.
                unsafe {
                    if is_panel {
                        K::tile::<true, false>(rows, units, left, right, place, start);
                    } else {
                        K::tile::<false, false>(rows, units, left, right, place, start);
                    }
                }
            }
        }
        // SAFETY: as above.
        unsafe { K::end() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| (k * i as f32).sin()).collect()
    }

    fn rounded(values: &[f32], rounds: bool) -> Vec<f64> {
        values
            .iter()
            .map(|&x| f64::from(<f32 as Unit>::of(x, 0.0, rounds)))
            .collect()
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        type Form = fn(Precision, &mut [f32], Accumulate<'_>, &[f32], &[f32], usize, usize);
        let half = 1 << (usize::BITS / 2);
        for (form, of_outputs) in [
            (Precision::matmul_nt as Form, [false, false]),
            (Precision::matmul, [true, false]),
            (Precision::matmul_tn, [true, true]),
        ] {
            let is_refused = |sizes: [usize; 3], bias: Option<usize>, inputs, outputs| {
                std::panic::catch_unwind(|| {
                    let [mut result, left, right] = sizes.map(|size| vec![0.0; size]);
                    let bias = bias.map(|size| vec![0.0; size]);
                    let accumulate = bias.as_deref().map_or(Accumulate::Add, Accumulate::Bias);
                    let precision = Precision::Float32;
                    form(
                        precision,
                        &mut result,
                        accumulate,
                        &left,
                        &right,
                        inputs,
                        outputs,
                    );
                })
                .is_err()
            };
            // Two rows of three inputs and five outputs.
            let (sound, columns) = match of_outputs {
                [false, _] => ([10, 6, 15], 5),
                [true, false] => ([6, 10, 15], 3),
                [true, true] => ([15, 10, 6], 3),
            };
            assert!(!is_refused(sound, None, 3, 5) && !is_refused(sound, Some(columns), 3, 5));
            assert!(is_refused(sound, Some(columns - 1), 3, 5));
            for place in 0..sound.len() {
                let mut sizes = sound;
                sizes[place] -= 1;
                assert!(is_refused(sizes, None, 3, 5), "{place}");
            }
            assert!(is_refused([0; 3], None, half, half));
        }
    }

    /// Sizes around every edge: tiles, panels, blocks of columns, blocks of the inner dimension, odd ones of it.
    const SIZES: [(usize, usize, usize); 13] = [
        (2, 3, 0),
        (1, 1, 1),
        (1, 3, 7),
        (5, 1, 8),
        (13, 17, 33),
        (70, 65, 40),
        (25, 37, 801),
        (100, 70, 1537),
        (300, 300, 5),
        (37, 13, 513),
        (4, 600, 20),
        (40, 100, 1025),
        (9, 20, 2049),
    ];

    /// The product in all three forms that a linear layer needs, on one kernel, with one thread and with three.
    fn check<K: Kernel>() {
        let pools = [1, 3].map(|threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
        });
        for (m, n, k) in SIZES {
            let (left, right, bias) = (wave(m * k, 0.37), wave(n * k, 0.53), wave(n, 0.3));
            let (a, b) = (rounded(&left, K::ROUNDS), rounded(&right, K::ROUNDS));
            for (left_lines, right_lines) in [
                (Lines::Inner, Lines::Inner),
                (Lines::Inner, Lines::Outer),
                (Lines::Outer, Lines::Outer),
            ] {
                let at = |lines, outer: usize, size: usize, inner: usize| match lines {
                    Lines::Inner => outer * k + inner,
                    Lines::Outer => inner * size + outer,
                };
                let stride = |lines, size| if lines == Lines::Inner { k } else { size };
                let product = Product {
                    sizes: (m, n, k),
                    left: Matrix::new(&left, stride(left_lines, m), left_lines),
                    right: Matrix::new(&right, stride(right_lines, n), right_lines),
                };
                for accumulate in [
                    Accumulate::Replace,
                    Accumulate::Add,
                    Accumulate::Bias(&bias),
                ] {
                    let results = pools.each_ref().map(|pool| {
                        let before = if accumulate == Accumulate::Add {
                            2.0
                        } else {
                            f32::NAN
                        };
                        let mut result = vec![before; m * n];
                        pool.install(|| product.on::<K>(&mut result, accumulate));
                        result
                    });
                    assert_eq!(results[0], results[1], "threads change nothing");
                    for row in 0..m {
                        for column in 0..n {
                            let mut want: f64 = (0..k)
                                .map(|i| {
                                    a[at(left_lines, row, m, i)] * b[at(right_lines, column, n, i)]
                                })
                                .sum();
                            want += match accumulate {
                                Accumulate::Replace => 0.0,
                                Accumulate::Add => 2.0,
                                Accumulate::Bias(bias) => f64::from(bias[column]),
                            };
                            let got = f64::from(results[0][row * n + column]);
                            assert!(
                                (got - want).abs() < 1e-4,
                                "{}: {m}x{n}x{k} at {row}, {column}: {got} {want}",
                                std::any::type_name::<K>()
                            );
                        }
                    }
                }
            }
        }
    }

    /// The products of two pairs' numbers, summed.
    fn product_of_pairs(a: u32, b: u32) -> f32 {
        let [a, b] = [a, b].map(|pair| [pair << 16, pair & 0xffff_0000].map(f32::from_bits));
        a[0] * b[0] + a[1] * b[1]
    }

    /// The format of AVX512-BF16 without its instructions, so that every machine tests units of two numbers.
    #[derive(Clone, Copy)]
    struct Pairs;

    impl Kernel for Pairs {
        type Unit = u32;
        const ROWS: usize = 5;
        const COLUMNS: usize = 8;
        const ROUNDS: bool = true;

        unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
            rows: usize,
            depth: usize,
            left: Left<u32>,
            right: *const u32,
            place: Place,
            start: Start,
        ) {
            let (added, stride) = start.addend(place);
            for row in 0..rows {
                for column in 0..place.columns {
                    let mut sum = 0.0;
                    for k in 0..depth {
                        let at = if PANEL {
                            k * left.stride + row
                        } else {
                            row * left.stride + k
                        };
                        // SAFETY: by the contract of `Kernel::tile`.
                        sum += unsafe {
                            product_of_pairs(*left.start.add(at), *right.add(k * 8 + column))
                        };
                    }
                    // SAFETY: as above.
                    unsafe {
                        *place.start.add(row * place.stride + column) =
                            sum + *added.add(row * stride + column);
                    }
                }
            }
        }
    }

    /// The way in which AMX has its operands, without its instructions.
    #[derive(Clone, Copy)]
    struct WholeTiles;

    impl Kernel for WholeTiles {
        type Unit = u32;
        const ROWS: usize = 32;
        const COLUMNS: usize = 16;
        const ROUNDS: bool = true;
        const STEP: usize = 8;
        const HAS_SQUARES: bool = true;

        unsafe fn square(values: *const f32, stride: usize, out: *mut u32, width: usize) {
            for (line, unit) in (0..16).flat_map(|line| (0..16).map(move |unit| (line, unit))) {
                // SAFETY: by the contract of `Kernel::square`.
                unsafe {
                    let first = values.add(line * stride + 2 * unit);
                    *out.add(unit * width + line) = u32::of(*first, *first.add(1), true);
                }
            }
        }

        unsafe fn square_of_columns(
            values: *const f32,
            stride: usize,
            out: *mut u32,
            width: usize,
        ) {
            for (column, unit) in (0..16).flat_map(|column| (0..16).map(move |unit| (column, unit)))
            {
                // SAFETY: by the contract of `Kernel::square_of_columns`.
                unsafe {
                    let first = values.add(2 * unit * stride + column);
                    *out.add(column * width + unit) = u32::of(*first, *first.add(stride), true);
                }
            }
        }

        unsafe fn tile<const PANEL: bool, const AHEAD: bool>(
            rows: usize,
            depth: usize,
            left: Left<u32>,
            right: *const u32,
            place: Place,
            start: Start,
        ) {
            assert!(!PANEL && depth > 0 && depth.is_multiple_of(Self::STEP));
            let (added, stride) = start.addend(place);
            for row in 0..Self::ROWS {
                for column in 0..Self::COLUMNS {
                    let inside = row < rows && column < place.columns;
                    // SAFETY: by the contract of `Kernel::tile`, and of `STEP`.
                    unsafe {
                        let mut sum = if inside {
                            *added.add(row * stride + column)
                        } else {
                            0.0
                        };
                        for k in 0..depth {
                            sum += product_of_pairs(
                                *left.start.add(row * left.stride + k),
                                *right.add(k * Self::COLUMNS + column),
                            );
                        }
                        if inside {
                            *place.start.add(row * place.stride + column) = sum;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_follow_the_definition_on_every_kernel() {
        check::<tile::Baseline<false>>();
        check::<tile::Baseline<true>>();
        check::<Pairs>();
        check::<WholeTiles>();
        #[cfg(target_arch = "x86_64")]
        {
            if isa::widest() >= isa::Level::Avx2 {
                check::<tile::Avx2<false>>();
                check::<tile::Avx2<true>>();
            }
            if isa::widest() >= isa::Level::Avx512 {
                check::<tile::Avx512<false>>();
                check::<tile::Avx512<true>>();
                if std::arch::is_x86_feature_detected!("avx512bf16") {
                    check::<tile::Avx512Bf16>();
                }
                if isa::widest() >= isa::Level::Amx && isa::may_use_amx() {
                    check::<amx::AmxBf16>();
                }
            }
        }
    }

    /// A row alone gives what it gives among others, bit for bit.
    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (rows, inputs, outputs) = (29, 500, 70);
        let (x, weight) = (wave(rows * inputs, 0.37), wave(outputs * inputs, 0.53));
        for precision in [Precision::Float32, Precision::BFloat16] {
            let product = |x: &[f32]| {
                let mut y = vec![0.0; x.len() / inputs * outputs];
                precision.matmul_nt(&mut y, Accumulate::Replace, x, &weight, inputs, outputs);
                y
            };
            let all = product(&x);
            for row in [0, 11, 28] {
                let alone = product(&x[row * inputs..(row + 1) * inputs]);
                assert_eq!(alone, all[row * outputs..(row + 1) * outputs]);
            }
        }
    }

    /// What isn't a number stays so: training tells it by its loss.
    #[test]
    fn not_a_number_stays_so() {
        for precision in [Precision::Float32, Precision::BFloat16] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut y = vec![0.0; 4];
                let x = [1.0, bad, 2.0, 3.0];
                let weight = [1.0, 1.0, 1.0, -1.0];
                precision.matmul_nt(&mut y, Accumulate::Replace, &x, &weight, 2, 2);
                assert!(!y[0].is_finite() && !y[1].is_finite(), "{y:?}");
                assert_eq!(y[2..], [5.0, -1.0]);
            }
        }
    }
}
