//! Linear layers for inference: y = act(x Wᵀ + b), with weights that were packed once, in the order in which the kernels
//! read them. In float32 ([`float32`]), or with weights and states in bfloat16 ([`bfloat16`]) or int8 ([`int8`]).
//!
//! A row's result depends neither on the rows it is computed with nor on how the work is shared out.

mod bfloat16;
mod float32;
mod int8;
#[cfg(target_arch = "x86_64")]
mod int8_amx;
mod int8_tile;
mod panels;

use std::ops::Range;

pub use bfloat16::{Bfloat16Rows, Bfloat16Weights};
pub use float32::Float32Weights;
pub(super) use float32::with_kernel;
pub use int8::{Int8Rows, Int8Weights, quantize};

use super::activation::{gelu, gelu_tanh, relu};
use super::gemm::prefetch;
use super::isa::vectorised;
use super::math::tanh;
use super::team::Team;
use crate::model::HiddenAct;

/// Rows whose states are kept in the second-level cache while all weights go by.
const BAND: usize = 96;

/// The same for kernels that take whole tiles: they are so fast that weights are read once for all rows of a group.
const WHOLE_BAND: usize = 256;

/// Pieces of work for each member of a team, about: the last ones end at the same time then.
const PIECES: usize = 6;

/// Where the columns of packed weights are. Weights of several layers that read the same states, or each a part of them, are
/// sections of one, and each begins with a panel of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// Columns of a panel.
    panel: usize,
    /// Columns of a section.
    width: usize,
    /// Sections.
    sections: usize,
    /// Whether each section reads numbers of its own in a row, those of the sections side by side, instead of all the same.
    reads_parts: bool,
}

impl Layout {
    /// Panels of one section.
    fn panels(&self) -> usize {
        self.width.div_ceil(self.panel)
    }

    /// Panel `number`: its section, its first column there, and its columns.
    fn columns(&self, number: usize) -> (usize, Range<usize>) {
        let start = number % self.panels() * self.panel;
        let end = (start + self.panel).min(self.width);
        (number / self.panels(), start..end)
    }
}

/// What is made of a layer's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A feed-forward block's.
    Hidden(HiddenAct),
    /// The pooler's.
    Tanh,
}

/// What is computed of a layer: for which rows, and where it goes.
struct Target<'a> {
    /// Sections whose columns are computed; they stand side by side in a row of the result.
    sections: Range<usize>,
    /// After the bias.
    act: Option<Act>,
    /// [rows, columns of the sections].
    out: &'a mut [f32],
}

/// Gives every row and panel to one call of `work`, in bands of about so many rows, of whole tiles, and groups of
/// panels.
fn share_out(
    team: &Team<'_>,
    rows: usize,
    (tile_rows, band): (usize, usize),
    panels: Range<usize>,
    work: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    let tiles = rows.div_ceil(tile_rows);
    let bands = rows.div_ceil(band);
    let groups = match team.members() {
        1 => 1,
        members => (members * PIECES).div_ceil(bands.max(1)).min(panels.len()),
    };
    let part = |count: usize, parts: usize, number: usize| {
        count * number / parts..count * (number + 1) / parts
    };
    team.run(bands * groups, |number| {
        let band = part(tiles, bands, number / groups);
        let group = part(panels.len(), groups, number % groups);
        work(
            (band.start * tile_rows).min(rows)..(band.end * tile_rows).min(rows),
            panels.start + group.start..panels.start + group.end,
        );
    });
}

/// Shares rows among as few tiles of at most `most` as they need: evenly, or where tiles cost the same with fewer, as
/// many to each as it holds.
fn tiles(rows: Range<usize>, most: usize, whole: bool) -> impl Iterator<Item = Range<usize>> {
    let count = rows.len().div_ceil(most);
    (0..count).map(move |tile| {
        let place = |tile: usize| match whole {
            true => (rows.start + most * tile).min(rows.end),
            false => rows.start + rows.len() * tile / count,
        };
        place(tile)..place(tile + 1)
    })
}

/// What is read after panel number `number` of a piece, which begins with these numbers and has so many; it comes from
/// memory while this one's tiles are computed. Behind a piece's last panel lie the other members' pieces.
fn next_panel<T>(
    members: usize,
    (panel, numbers): (&[T], usize),
    number: usize,
    piece: &Range<usize>,
) -> *const u8 {
    let others = match number + 1 == piece.end {
        true => (members - 1) * piece.len(),
        false => 0,
    };
    panel.as_ptr().wrapping_add((1 + others) * numbers).cast()
}

/// A tile's result, which is in the cache.
#[derive(Clone, Copy)]
struct TileResult {
    /// Its first number.
    start: *mut f32,
    rows: usize,
    columns: usize,
    /// Numbers from one row to the next.
    stride: usize,
}

/// Columns of the widest tile.
const WIDEST: usize = 32;

/// Room for the result of the largest tile, row after row: in a result, rows of a high tile lie far apart and share few
/// places of the first-level cache.
#[repr(C, align(64))]
struct Together([f32; Together::LEN]);

impl Together {
    const LEN: usize = 32 * WIDEST;
}

impl TileResult {
    /// The same rows in a room of their own, with the widest tile's columns; there are no more rows than it has.
    #[inline(always)]
    fn together(self, room: &mut Together) -> TileResult {
        TileResult {
            start: room.0.as_mut_ptr(),
            columns: WIDEST,
            stride: WIDEST,
            ..self
        }
    }

    /// Asks for the lines that the next tile's result is written to: below this one of the rows `tile`, or beside the
    /// band's first, so many columns on. High tiles come faster than lines that no near cache has.
    fn ask_for_next(self, tile: &Range<usize>, band: &Range<usize>, columns: usize) {
        let start = self.start.cast_const();
        let next = match tile.end < band.end {
            true => start.wrapping_add(self.rows * self.stride),
            false => start
                .wrapping_sub((tile.start - band.start) * self.stride)
                .wrapping_add(columns),
        };
        for row in 0..self.rows {
            for line in [0, WIDEST / 2] {
                prefetch::line_to_write(next.wrapping_add(row * self.stride + line));
            }
        }
    }
}

/// Copies a tile's result from where its rows, of the widest tile's columns, follow one another.
///
/// # Safety
/// The numbers are there, both aren't the same, and no one else touches those that are written.
#[inline(always)]
unsafe fn copy(from: *const f32, to: TileResult) {
    for row in 0..to.rows {
        // SAFETY: by this function's contract.
        unsafe {
            let (from, to_row) = (from.add(row * WIDEST), to.start.add(row * to.stride));
            match to.columns {
                // A copy whose length the compiler knows is no call.
                WIDEST => {
                    let numbers = from.cast::<[f32; WIDEST]>().read();
                    to_row.cast::<[f32; WIDEST]>().write_unaligned(numbers);
                }
                columns => std::ptr::copy_nonoverlapping(from, to_row, columns),
            }
        }
    }
}

/// Applies the activation to a tile's result.
///
/// # Safety
/// The result's numbers are there, and no one else touches them.
unsafe fn activate(act: Option<Act>, mut result: TileResult) {
    // Rows that follow one another are one.
    if result.stride == result.columns {
        result.columns *= result.rows;
        result.rows = 1;
    }
    // SAFETY (each): by this function's contract.
    match act {
        None => {}
        Some(Act::Hidden(HiddenAct::Gelu)) => {
            vectorised!(A => unsafe { apply(result, gelu::<A>) });
        }
        Some(Act::Hidden(HiddenAct::GeluTanh)) => {
            vectorised!(A => unsafe { apply(result, gelu_tanh::<A>) });
        }
        Some(Act::Hidden(HiddenAct::Relu)) => vectorised!(unsafe { apply(result, relu) }),
        Some(Act::Tanh) => vectorised!(A => unsafe { apply(result, tanh::<A>) }),
    }
}

/// # Safety
/// As [`activate`].
#[inline(always)]
unsafe fn apply(result: TileResult, f: impl Fn(f32) -> f32) {
    for row in 0..result.rows {
        // SAFETY: by this function's contract.
        let row = unsafe {
            std::slice::from_raw_parts_mut(result.start.add(row * result.stride), result.columns)
        };
        for x in row {
            *x = f(*x);
        }
    }
}

/// A layer's packed weights.
#[derive(Debug)]
pub enum Weights {
    /// As they are.
    Float32(Float32Weights),
    /// Rounded; states are rounded too.
    Bfloat16(Bfloat16Weights),
    /// A scale for each output; states are quantized row by row.
    Int8(Int8Weights),
}

/// A linear layer, or several that read the same states or each a part of them.
#[derive(Debug)]
pub struct Linear {
    /// Its weights, all sections'.
    pub weights: Weights,
    /// [all sections' outputs].
    pub bias: Vec<f32>,
}

/// States that a layer reads, in its weights' format.
#[derive(Clone, Copy)]
pub enum States<'a> {
    /// [rows, inputs].
    Float32(&'a [f32]),
    /// The same, rounded.
    Bfloat16(&'a Bfloat16Rows),
    /// The same, quantized.
    Int8(&'a Int8Rows),
}

/// Memory for states in other formats than float32.
#[derive(Debug, Default)]
pub struct Rows {
    bfloat16: Bfloat16Rows,
    int8: Int8Rows,
}

impl Linear {
    /// Numbers of a row that it reads.
    pub fn inputs(&self) -> usize {
        match &self.weights {
            Weights::Float32(weights) => weights.inputs(),
            Weights::Bfloat16(weights) => weights.inputs(),
            Weights::Int8(weights) => weights.inputs(),
        }
    }

    /// Outputs of one section.
    pub fn outputs(&self) -> usize {
        self.layout().width
    }

    fn layout(&self) -> Layout {
        match &self.weights {
            Weights::Float32(weights) => weights.layout(),
            Weights::Bfloat16(weights) => weights.layout(),
            Weights::Int8(weights) => weights.layout(),
        }
    }

    /// The states as this layer reads them; where that isn't float32, they are written to `rows`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn states<'a>(
        &self,
        team: &Team<'_>,
        x: &'a [f32],
        rows: &'a mut Rows,
    ) -> crate::error::Result<States<'a>> {
        match &self.weights {
            Weights::Float32(_) => Ok(States::Float32(x)),
            Weights::Bfloat16(weights) => {
                rows.bfloat16.round(team, x, weights.inputs())?;
                Ok(States::Bfloat16(&rows.bfloat16))
            }
            Weights::Int8(weights) => {
                rows.int8.quantize(team, x, weights.inputs())?;
                Ok(States::Int8(&rows.int8))
            }
        }
    }

    /// `out`[rows, sections' outputs] = act(x Wᵀ + b) for these sections. `states` are as [`states`](Linear::states) gave
    /// them.
    pub fn apply(
        &self,
        team: &Team<'_>,
        states: States<'_>,
        sections: Range<usize>,
        act: Option<Act>,
        out: &mut [f32],
    ) {
        let target = Target { sections, act, out };
        match (&self.weights, states) {
            (Weights::Float32(weights), States::Float32(x)) => {
                weights.product(team, x, &self.bias, target);
            }
            (Weights::Bfloat16(weights), States::Bfloat16(rows)) => {
                weights.product(team, rows, &self.bias, target);
            }
            (Weights::Int8(weights), States::Int8(rows)) => {
                weights.product(team, rows, &self.bias, target);
            }
            _ => unreachable!("states come in their layer's format"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::panels::Panels;
    use super::*;
    use crate::ops::arena::Arena;
    use crate::ops::gemm;
    use crate::ops::gemm::tile::{self, Kernel};
    #[cfg(target_arch = "x86_64")]
    use crate::ops::isa;
    use crate::ops::math::Separate;

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| (k * i as f32).sin()).collect()
    }

    const SIZES: [(usize, usize, usize); 12] = [
        (1, 1, 1),
        (1, 3, 2),
        (5, 7, 9),
        (13, 33, 31),
        (12, 384, 32),
        (25, 385, 33),
        (97, 64, 70),
        (200, 400, 17),
        (3, 1536, 384),
        // Around whole tiles: one row more or less than 16 and 32, and more rows than a band.
        (16, 64, 32),
        (33, 65, 64),
        (300, 31, 40),
    ];

    fn act(number: usize) -> Option<Act> {
        [
            None,
            Some(Act::Hidden(HiddenAct::Gelu)),
            Some(Act::Hidden(HiddenAct::GeluTanh)),
            Some(Act::Hidden(HiddenAct::Relu)),
            Some(Act::Tanh),
        ][number % 5]
    }

    fn apply_act(act: Option<Act>, x: f32) -> f32 {
        match act {
            None => x,
            Some(Act::Hidden(HiddenAct::Gelu)) => gelu::<Separate>(x),
            Some(Act::Hidden(HiddenAct::GeluTanh)) => gelu_tanh::<Separate>(x),
            Some(Act::Hidden(HiddenAct::Relu)) => relu(x),
            Some(Act::Tanh) => tanh::<Separate>(x),
        }
    }

    fn teams(work: impl Fn(&Team<'_>) + Sync) {
        work(&Team::alone());
        for threads in [2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| Team::of(threads, &work));
        }
    }

    #[test]
    fn float32_layers_follow_the_definition_for_any_team_section_and_number_of_rows() {
        for (number, (rows, inputs, outputs)) in SIZES.into_iter().enumerate() {
            let act = act(number);
            let x = wave(rows * inputs, 0.37);
            let weights = [0.53, 0.91, 0.29].map(|k| wave(outputs * inputs, k));
            let layer = Linear {
                weights: Weights::Float32(
                    Float32Weights::new(
                        &mut Arena::default(),
                        &weights.each_ref().map(Vec::as_slice),
                        inputs,
                    )
                    .unwrap(),
                ),
                bias: wave(3 * outputs, 0.2),
            };
            for sections in [0..3, 1..3, 0..1] {
                let columns = sections.len() * outputs;
                let compute = |team: &Team<'_>, x: &[f32]| {
                    let mut out = vec![f32::NAN; x.len() / inputs * columns];
                    layer.apply(team, States::Float32(x), sections.clone(), act, &mut out);
                    out
                };
                let together = compute(&Team::alone(), &x);
                teams(|team| assert_eq!(compute(team, &x), together));
                let last = compute(&Team::alone(), &x[(rows - 1) * inputs..]);
                assert_eq!(last, together[(rows - 1) * columns..]);
                for row in 0..rows {
                    for column in 0..columns {
                        let (section, output) =
                            (sections.start + column / outputs, column % outputs);
                        let sum: f64 = (0..inputs)
                            .map(|i| {
                                f64::from(x[row * inputs + i])
                                    * f64::from(weights[section][output * inputs + i])
                            })
                            .sum();
                        let sum = sum + f64::from(layer.bias[section * outputs + output]);
                        let want = apply_act(act, sum as f32);
                        let got = together[row * columns + column];
                        assert!(
                            (got - want).abs() < 1e-4,
                            "{rows} {inputs} {outputs}: {got} {want}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn layers_that_read_parts_of_a_row_are_each_as_it_is_alone() {
        for (rows, inputs, outputs) in SIZES {
            let weights = [0.53, 0.91, 0.29].map(|k| wave(outputs * inputs, k));
            let parts = weights.each_ref().map(Vec::as_slice);
            let bias = wave(3 * outputs, 0.2);
            let x = wave(rows * 3 * inputs, 0.37);
            let mut arena = Arena::default();
            let of_parts = Linear {
                weights: Weights::Float32(
                    Float32Weights::of_parts(&mut arena, &parts, inputs).unwrap(),
                ),
                bias: bias.clone(),
            };
            assert_eq!(of_parts.inputs(), 3 * inputs);
            let mut expected = vec![f32::NAN; rows * 3 * outputs];
            for section in 0..3 {
                let weights = Float32Weights::new(&mut arena, &parts[section..][..1], inputs);
                let alone = Linear {
                    weights: Weights::Float32(weights.unwrap()),
                    bias: bias[section * outputs..][..outputs].to_vec(),
                };
                let of_rows = x.chunks(3 * inputs);
                let part: Vec<f32> = of_rows
                    .flat_map(|row| &row[section * inputs..][..inputs])
                    .copied()
                    .collect();
                let mut out = vec![f32::NAN; rows * outputs];
                alone.apply(&Team::alone(), States::Float32(&part), 0..1, None, &mut out);
                for (row, out) in out.chunks(outputs).enumerate() {
                    expected[(row * 3 + section) * outputs..][..outputs].copy_from_slice(out);
                }
            }
            teams(|team| {
                let mut out = vec![f32::NAN; rows * 3 * outputs];
                of_parts.apply(team, States::Float32(&x), 0..3, None, &mut out);
                assert_eq!(out, expected);
            });
        }
    }

    /// What a kernel of bfloat16 makes of a layer, without the choice of this process.
    fn bfloat16_with<K: Kernel>(
        x: &[f32],
        weights: &[&[f32]],
        bias: &[f32],
        inputs: usize,
        act: Option<Act>,
    ) -> Vec<f32> {
        let panels = Panels::pack::<K>(&mut Arena::default(), weights, inputs).unwrap();
        let weights = Bfloat16Weights(panels);
        let mut rows = Bfloat16Rows::default();
        let team = Team::alone();
        bfloat16::round_rows::<K>(&mut rows, &team, x, inputs).unwrap();
        let mut out = vec![f32::NAN; x.len() / inputs * bias.len()];
        let target = Target {
            sections: 0..weights.layout().sections,
            act,
            out: &mut out,
        };
        bfloat16::product::<K>(&weights, &team, &rows, bias, target);
        out
    }

    fn every_bfloat16_path(
        x: &[f32],
        weights: &[&[f32]],
        bias: &[f32],
        inputs: usize,
        act: Option<Act>,
    ) -> Vec<(&'static str, Vec<f32>)> {
        let mut paths = Vec::new();
        macro_rules! path {
            ($name:literal, $kernel:ty) => {
                let out = bfloat16_with::<$kernel>(x, weights, bias, inputs, act);
                paths.push(($name, out));
            };
        }
        path!("baseline", tile::Baseline<true>);
        #[cfg(target_arch = "x86_64")]
        {
            if isa::widest() >= isa::Level::Avx2 {
                path!("avx2", tile::Avx2<true>);
            }
            if isa::widest() >= isa::Level::Avx512 {
                path!("avx512", tile::Avx512<true>);
                if std::arch::is_x86_feature_detected!("avx512bf16") {
                    path!("avx512bf16", tile::Avx512Bf16);
                }
            }
            if isa::widest() >= isa::Level::Amx && isa::may_use_amx() {
                path!("amx", gemm::amx::AmxBf16);
            }
        }
        paths
    }

    /// Every path is the float64 sum of the same rounded numbers, up to the rounding of sums, and as far from float32
    /// as rounding allows: each factor is off by a 512th of itself at most, so a product by a 256th and a little.
    #[test]
    fn bfloat16_layers_are_products_of_rounded_numbers_on_every_path() {
        let rounded = |x: &[f32]| -> Vec<f64> {
            x.iter()
                .map(|&x| f64::from(<f32 as gemm::Unit>::of(x, 0.0, true)))
                .collect()
        };
        for (rows, inputs, outputs) in SIZES {
            let x = wave(rows * inputs, 0.37);
            let weights = [0.53, 0.91].map(|k| wave(outputs * inputs, k));
            let parts = weights.each_ref().map(Vec::as_slice);
            let bias = wave(2 * outputs, 0.2);
            let paths = every_bfloat16_path(&x, &parts, &bias, inputs, None);
            let (short_x, short) = (rounded(&x), weights.each_ref().map(|w| rounded(w)));
            for row in 0..rows {
                for (column, &bias) in bias.iter().enumerate() {
                    let (section, output) = (column / outputs, column % outputs);
                    let bias = f64::from(bias);
                    let (mut want, mut whole, mut sizes) = (bias, bias, 0.0);
                    for i in 0..inputs {
                        let (a, b) = (row * inputs + i, output * inputs + i);
                        let product = f64::from(x[a]) * f64::from(weights[section][b]);
                        want += short_x[a] * short[section][b];
                        whole += product;
                        sizes += product.abs();
                    }
                    for (path, out) in &paths {
                        let got = f64::from(out[row * 2 * outputs + column]);
                        assert!(
                            (got - want).abs() < 1e-4,
                            "{path} {rows} {inputs} {outputs}: {got} {want}"
                        );
                        assert!(
                            (got - whole).abs() <= sizes * (1.0 / 255.0) + 1e-4,
                            "{path} {rows} {inputs} {outputs}: {got} {whole}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bfloat16_rows_do_not_depend_on_others_nor_on_the_team() {
        for (number, (rows, inputs, outputs)) in SIZES.into_iter().enumerate() {
            let act = act(number);
            let x = wave(rows * inputs, 0.37);
            let weights = [0.53, 0.91, 0.29].map(|k| wave(outputs * inputs, k));
            let parts = weights.each_ref().map(Vec::as_slice);
            let bias = wave(3 * outputs, 0.2);
            for (path, together) in every_bfloat16_path(&x, &parts, &bias, inputs, act) {
                for row in [0, rows / 2, rows - 1] {
                    let row_alone = &x[row * inputs..][..inputs];
                    let paths = every_bfloat16_path(row_alone, &parts, &bias, inputs, act);
                    let (_, alone) = paths.into_iter().find(|(name, _)| *name == path).unwrap();
                    assert_eq!(
                        alone,
                        together[row * 3 * outputs..][..3 * outputs],
                        "{path}"
                    );
                }
            }
            let weights = Bfloat16Weights::new(&mut Arena::default(), &parts, inputs).unwrap();
            let layer = Linear {
                weights: Weights::Bfloat16(weights),
                bias,
            };
            for sections in [0..3, 1..3, 0..1] {
                let compute = |team: &Team<'_>, x: &[f32]| {
                    let mut out =
                        vec![f32::NAN; x.len() / inputs * sections.len() * layer.outputs()];
                    let mut room = Rows::default();
                    let states = layer.states(team, x, &mut room).unwrap();
                    layer.apply(team, states, sections.clone(), act, &mut out);
                    out
                };
                let together = compute(&Team::alone(), &x);
                assert!(together.iter().all(|x| x.is_finite()));
                teams(|team| assert_eq!(compute(team, &x), together));
            }
        }
    }

    /// What a kernel of int8 makes of a layer, without the choice of this process.
    fn int8_with<K: int8_tile::Kernel>(
        x: &[f32],
        weights: &[(&[i8], &[f32])],
        bias: &[f32],
        inputs: usize,
        act: Option<Act>,
    ) -> Vec<f32> {
        let weights = int8::pack::<K>(&mut Arena::default(), weights, inputs).unwrap();
        let mut rows = Int8Rows::default();
        let team = Team::alone();
        int8::quantize_rows::<K>(&mut rows, &team, x, inputs).unwrap();
        let mut out = vec![f32::NAN; x.len() / inputs * bias.len()];
        let target = Target {
            sections: 0..weights.layout().sections,
            act,
            out: &mut out,
        };
        int8::product::<K>(&weights, &team, &rows, bias, target);
        out
    }

    fn every_int8_path(
        x: &[f32],
        weights: &[(&[i8], &[f32])],
        bias: &[f32],
        inputs: usize,
        act: Option<Act>,
    ) -> Vec<(&'static str, Vec<f32>)> {
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_mut, reason = "the baseline is the only path")
        )]
        let mut paths = vec![(
            "baseline",
            int8_with::<int8_tile::Baseline>(x, weights, bias, inputs, act),
        )];
        #[cfg(target_arch = "x86_64")]
        {
            if isa::widest() >= isa::Level::Avx2 {
                let out = int8_with::<int8_tile::Avx2>(x, weights, bias, inputs, act);
                paths.push(("avx2", out));
            }
            if isa::widest() >= isa::Level::Avx512 && isa::has_vnni_instructions() {
                let out = int8_with::<int8_tile::Vnni>(x, weights, bias, inputs, act);
                paths.push(("vnni", out));
            }
            if isa::widest() >= isa::Level::Amx
                && isa::has_amx_int8_instructions()
                && isa::may_use_amx()
            {
                let out = int8_with::<int8_amx::Amx>(x, weights, bias, inputs, act);
                paths.push(("amx", out));
            }
        }
        paths
    }

    #[test]
    fn int8_sums_are_exact_on_every_instruction_path() {
        // Scales of one, and sums that float32 holds exactly: the result is the integer. Runs of extremes would saturate
        // 16 bits.
        for (rows, inputs, outputs) in SIZES {
            let inputs = inputs.min(1000);
            let number = |i: usize, k: usize| -> i8 {
                match i % 7 {
                    0 | 1 => 127,
                    2 | 3 if i.is_multiple_of(2) => -127,
                    _ => (((i * k) >> 3) % 255) as i8,
                }
            };
            let weights: Vec<i8> = (0..outputs * inputs)
                .map(|i| number(i, 31).max(-127))
                .collect();
            let mut states: Vec<i8> = (0..rows * inputs)
                .map(|i| number(i, 57).max(-127))
                .collect();
            // With a highest number of 127 each row's scale is one.
            states.chunks_mut(inputs).for_each(|row| row[0] = 127);
            let x: Vec<f32> = states.iter().map(|&q| f32::from(q)).collect();
            let (scales, bias) = (vec![1.0; outputs], vec![0.0; outputs]);
            let paths = every_int8_path(&x, &[(&weights, &scales)], &bias, inputs, None);
            for row in 0..rows {
                for output in 0..outputs {
                    let want: i64 = (0..inputs)
                        .map(|i| {
                            i64::from(states[row * inputs + i])
                                * i64::from(weights[output * inputs + i])
                        })
                        .sum();
                    for (path, out) in &paths {
                        assert_eq!(out[row * outputs + output], want as f32, "{path} {inputs}");
                    }
                }
            }
        }
    }

    #[test]
    fn int8_layers_are_the_same_bits_on_every_path_for_any_team_and_close_to_float32() {
        for (number, (rows, inputs, outputs)) in SIZES.into_iter().enumerate() {
            let act = act(number);
            let x = wave(rows * inputs, 0.37);
            let weights = [0.53, 0.91].map(|k| wave(outputs * inputs, k));
            let quantized = weights.each_ref().map(|w| quantize(w, inputs).unwrap());
            let parts = quantized
                .each_ref()
                .map(|(w, s)| (w.as_slice(), s.as_slice()));
            let bias = wave(2 * outputs, 0.2);
            let paths = every_int8_path(&x, &parts, &bias, inputs, act);
            let layer = Linear {
                weights: Weights::Int8(
                    Int8Weights::new(&mut Arena::default(), &parts, inputs).unwrap(),
                ),
                bias: bias.clone(),
            };
            teams(|team| {
                let mut out = vec![f32::NAN; rows * 2 * outputs];
                let mut room = Rows::default();
                let states = layer.states(team, &x, &mut room).unwrap();
                layer.apply(team, states, 0..2, act, &mut out);
                for (path, other) in &paths {
                    assert_eq!(&out, other, "{path}");
                }
            });
            for row in 0..rows {
                for (column, &bias) in bias.iter().enumerate().take(2 * outputs) {
                    let (section, output) = (column / outputs, column % outputs);
                    let terms = (0..inputs).map(|i| {
                        f64::from(x[row * inputs + i])
                            * f64::from(weights[section][output * inputs + i])
                    });
                    let want = terms.sum::<f64>() as f32 + bias;
                    let got = paths[0].1[row * 2 * outputs + column];
                    // Each factor is half a step of 1 / 127 off at most.
                    let bound = 1e-5 + inputs as f32 / 127.0;
                    assert!((got - apply_act(act, want)).abs() <= bound, "{got} {want}");
                }
            }
        }
    }

    #[test]
    fn rows_of_zeros_tiny_numbers_and_none_at_all_quantize() {
        let (numbers, scales) = quantize(&[0.0, 0.0, 1e-35, -1e-36, 2.0, -254.0], 2).unwrap();
        assert_eq!(numbers, [0, 0, 0, 0, 1, -127]);
        assert_eq!(scales, [1.0, 1.0, 2.0]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = wave(3 * 20, 0.3);
            x[27] = bad;
            let (weights, scales) = quantize(&wave(20, 0.7), 20).unwrap();
            let whole = wave(20, 0.7);
            let paths = every_int8_path(&x, &[(&weights, &scales)], &[0.1], 20, None);
            let rounded = every_bfloat16_path(&x, &[&whole], &[0.1], 20, None);
            for (path, out) in paths.into_iter().chain(rounded) {
                assert!(
                    out[0].is_finite() && !out[1].is_finite() && out[2].is_finite(),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn layers_that_32_bits_do_not_hold_are_refused() {
        let inputs = int8::MAX_INPUTS + 1;
        let weights = vec![1i8; inputs];
        assert!(Int8Weights::new(&mut Arena::default(), &[(&weights, &[1.0])], inputs).is_err());
    }

    /// The largest sums that there are, on every path.
    #[test]
    fn the_longest_layer_does_not_overflow() {
        let inputs = int8::MAX_INPUTS;
        for sign in [1i8, -1] {
            let weights = vec![127 * sign; inputs];
            let x = vec![127.0; inputs];
            let want = (i64::from(sign) * 127 * 127 * inputs as i64) as f32;
            for (path, out) in every_int8_path(&x, &[(&weights, &[1.0])], &[0.0], inputs, None) {
                assert_eq!(out, [want], "{path}");
            }
        }
    }
}
