//! Weights in int8 with a scale for each output, states in int8 with a scale for each row, sums in 32 bits: all
//! symmetric, 0 is 0, and -128 doesn't occur.

#[cfg(target_arch = "x86_64")]
use super::int8_amx;
use super::int8_tile::{self, Finish, Kernel, UNIT};
use super::{
    Layout, Target, TileResult, Together, WIDEST, activate, copy, next_panel, share_out, tiles,
};
use crate::error::{Error, Result};
use crate::memory;
use crate::ops::aligned::Aligned;
use crate::ops::arena::{Arena, Slab};
use crate::ops::gemm::tile::Ahead;
use crate::ops::isa::{self, vectorised};
use crate::ops::parallel::Shared;
use crate::ops::sizes::product as size;
use crate::ops::team::Team;

/// The largest number that is quantized to.
const MOST: f32 = 127.0;

/// Inputs of a layer, at most: 127 · 127 · so many fit 32 bits.
pub const MAX_INPUTS: usize = 131_072;

/// Rows whose highest number is below this count as zero: their scale's inverse would be infinite.
const LEAST: f32 = 1e-30;

/// Adding and subtracting 1.5 · 2^23 rounds to a whole number, ties to even, whose value is in the sum's low bits.
const ROUND: f32 = 12_582_912.0;

/// The scale of a row's numbers, and what each is multiplied with; 0 where all of them count as zero. Where one is NaN or
/// infinite the scale is so too, and with it every result of that row.
#[inline(always)]
fn scale_of(row: &[f32]) -> (f32, f32) {
    const LANES: usize = 16;
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let value = value.abs();
            // A NaN, once met, stays.
            *lane = if *lane >= value || lane.is_nan() {
                *lane
            } else {
                value
            };
        }
    }
    let mut most = 0f32;
    for &value in lanes.iter().chain(rest) {
        let value = value.abs();
        most = if most >= value || most.is_nan() {
            most
        } else {
            value
        };
    }
    if most < LEAST {
        (0.0, 0.0)
    } else {
        (most / MOST, MOST / most)
    }
}

/// The number that `x` is quantized to, in the lowest eight bits.
#[inline(always)]
fn quantized(x: f32, inverse: f32) -> u32 {
    (x * inverse + ROUND).to_bits()
}

/// A row-wise quantization of [rows, width] finite numbers: the numbers, and a positive scale a row; each is number ·
/// scale.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn quantize(values: &[f32], width: usize) -> Result<(Vec<i8>, Vec<f32>)> {
    let mut numbers = memory::room(values.len())?;
    let mut scales = memory::room(values.len() / width)?;
    for row in values.chunks_exact(width) {
        let (scale, inverse) = scale_of(row);
        // Any scale does for zeros.
        scales.push(if inverse == 0.0 { 1.0 } else { scale });
        numbers.extend(row.iter().map(|&x| quantized(x, inverse) as i8));
    }
    Ok((numbers, scales))
}

/// Calls a function with the kernel for this process's instructions.
macro_rules! with_kernel {
    ($function:ident::<K>($($argument:expr),*)) => {
        match isa::level() {
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx if isa::has_amx_int8() => $function::<int8_amx::Amx>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx | isa::Level::Avx512 if isa::has_vnni() => $function::<int8_tile::Vnni>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx | isa::Level::Avx512 | isa::Level::Avx2 => $function::<int8_tile::Avx2>($($argument),*),
            _ => $function::<int8_tile::Baseline>($($argument),*),
        }
    };
}

/// Rows of states, quantized.
#[derive(Debug, Default)]
pub struct Int8Rows {
    /// A kernel's numbers, row by row, each of whole units.
    numbers: Aligned,
    /// A number a row.
    scales: Aligned,
    rows: usize,
    inputs: usize,
}

impl Int8Rows {
    /// Takes `x`[rows, inputs] in place of what is there.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn quantize(&mut self, team: &Team<'_>, x: &[f32], inputs: usize) -> Result<()> {
        with_kernel!(quantize_rows::<K>(self, team, x, inputs))
    }
}

/// Numbers of a row of so many inputs, in whole steps of a kernel.
fn padded<K: Kernel>(inputs: usize) -> usize {
    inputs.next_multiple_of(UNIT * K::STEP)
}

/// Rows that one piece quantizes.
const QUANTIZED_AT_ONCE: usize = 8;

pub(super) fn quantize_rows<K: Kernel>(
    out: &mut Int8Rows,
    team: &Team<'_>,
    x: &[f32],
    inputs: usize,
) -> Result<()> {
    let rows = x.len() / inputs;
    let stride = padded::<K>(inputs);
    (out.rows, out.inputs) = (rows, inputs);
    // Kernels that read whole tiles read behind the last row.
    let behind = if K::STEP > 1 { K::ROWS } else { 0 };
    let numbers = out
        .numbers
        .room::<K::Number>(size([rows + behind, stride]))?;
    let numbers = Shared(numbers.as_mut_ptr());
    let scales = Shared(out.scales.room::<f32>(rows)?.as_mut_ptr());
    team.run(rows.div_ceil(QUANTIZED_AT_ONCE), |piece| {
        let first = piece * QUANTIZED_AT_ONCE;
        for row in first..rows.min(first + QUANTIZED_AT_ONCE) {
            // SAFETY: there is room for so many rows, and this one is this piece's alone.
            let (numbers, scale) = unsafe {
                (
                    std::slice::from_raw_parts_mut(numbers.at(row * stride), stride),
                    &mut *scales.at(row),
                )
            };
            let x = &x[row * inputs..(row + 1) * inputs];
            vectorised!({
                let (of_row, inverse) = scale_of(x);
                *scale = of_row;
                let (whole, rest) = numbers.split_at_mut(inputs);
                for (number, &x) in whole.iter_mut().zip(x) {
                    *number = K::number(quantized(x, inverse));
                }
                rest.fill(K::number(ROUND.to_bits()));
            });
        }
    });
    Ok(())
}

/// Packed weights: for each panel of a kernel's columns, and each unit of four inputs, those of one column after another.
#[derive(Debug)]
pub struct Int8Weights {
    panels: Slab,
    /// Of every column of every panel; those that fill a section's last panel are zero.
    scales: Vec<f32>,
    /// Each such column's weights added up.
    sums: Vec<i32>,
    inputs: usize,
    layout: Layout,
}

impl Int8Weights {
    /// Packs the weights [outputs, inputs] of layers of equal size that read the same states, each with its outputs'
    /// scales, in the arena's memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Unsupported`] where there are more than [`MAX_INPUTS`] inputs.
    pub fn new(
        arena: &mut Arena,
        weights: &[(&[i8], &[f32])],
        inputs: usize,
    ) -> Result<Int8Weights> {
        if inputs > MAX_INPUTS {
            return Err(Error::Unsupported(format!(
                "A layer reads {inputs} numbers; int8 models have layers of at most {MAX_INPUTS}. Use this model in \
                 float32."
            )));
        }
        with_kernel!(pack::<K>(arena, weights, inputs))
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// `target` = act(x Wᵀ + b); `bias` is all sections'.
    pub(super) fn product(&self, team: &Team<'_>, x: &Int8Rows, bias: &[f32], target: Target<'_>) {
        with_kernel!(product::<K>(self, team, x, bias, target));
    }
}

pub(super) fn pack<K: Kernel>(
    arena: &mut Arena,
    weights: &[(&[i8], &[f32])],
    inputs: usize,
) -> Result<Int8Weights> {
    let layout = Layout {
        panel: K::COLUMNS,
        width: weights.first().map_or(0, |weights| weights.1.len()),
        sections: weights.len(),
        reads_parts: false,
    };
    assert!(weights.iter().all(|(weights, scales)| {
        scales.len() == layout.width && weights.len() == size([layout.width, inputs])
    }));
    let panel = K::COLUMNS * padded::<K>(inputs);
    let count = layout.sections * layout.panels();
    let mut panels = arena.take::<i8>(size([count, panel]))?;
    let mut scales = memory::filled(0f32, count * K::COLUMNS)?;
    let mut sums = memory::filled(0i32, count * K::COLUMNS)?;
    let filled = panels.slice_mut::<i8>().chunks_exact_mut(panel);
    for (number, out) in filled.take(count).enumerate() {
        let (section, columns) = layout.columns(number);
        let (weights, of_section) = weights[section];
        for (column, output) in columns.enumerate() {
            let row = &weights[output * inputs..(output + 1) * inputs];
            for (unit, numbers) in row.chunks(UNIT).enumerate() {
                out[(unit * K::COLUMNS + column) * UNIT..][..numbers.len()]
                    .copy_from_slice(numbers);
            }
            scales[number * K::COLUMNS + column] = of_section[output];
            sums[number * K::COLUMNS + column] = row.iter().map(|&w| i32::from(w)).sum();
        }
    }
    Ok(Int8Weights {
        panels,
        scales,
        sums,
        inputs,
        layout,
    })
}

pub(super) fn product<K: Kernel>(
    weights: &Int8Weights,
    team: &Team<'_>,
    x: &Int8Rows,
    bias: &[f32],
    target: Target<'_>,
) {
    const {
        // What is far apart in a result is put together where tiles are whole.
        assert!(K::STEP == 1 || K::ROWS * K::COLUMNS <= Together::LEN);
        assert!(K::STEP == 1 || K::COLUMNS == WIDEST);
        assert!(K::COLUMNS <= WIDEST);
    }
    let layout = weights.layout;
    let Target { sections, act, out } = target;
    let (rows, stride) = (x.rows, sections.len() * layout.width);
    let row_numbers = padded::<K>(weights.inputs);
    let behind = if K::STEP > 1 { K::ROWS } else { 0 };
    let numbers = &x.numbers.slice::<K::Number>()[..(rows + behind) * row_numbers];
    assert!(
        sections.end <= layout.sections
            && layout.panel == K::COLUMNS
            && bias.len() == layout.sections * layout.width
            && out.len() == size([rows, stride])
            && x.inputs == weights.inputs
    );
    let out = Shared(out.as_mut_ptr());
    let panels = weights.panels.slice::<i8>();
    let panel = row_numbers * K::COLUMNS;
    let units = row_numbers / UNIT;
    let of_sections = sections.start * layout.panels()..sections.end * layout.panels();
    let members = team.members();
    share_out(
        team,
        rows,
        (K::ROWS, K::BAND),
        of_sections,
        |rows, of_piece| {
            // Where a high tile's result gets its activation.
            let mut together = Together([0.0; _]);
            // SAFETY: the kernel is of this machine's instructions.
            unsafe { K::begin() }
            for number in of_piece.clone() {
                let (section, columns) = layout.columns(number);
                let right = &panels[number * panel..][..panel];
                let column = (section - sections.start) * layout.width + columns.start;
                let of_panel = number * K::COLUMNS..(number + 1) * K::COLUMNS;
                // The last panel of a section may have fewer columns than the kernel reads.
                let mut whole = [0f32; WIDEST];
                whole[..columns.len()].copy_from_slice(
                    &bias[section * layout.width + columns.start..][..columns.len()],
                );
                let next = next_panel(members, (right, panel), number, &of_piece);
                let count = rows.len().div_ceil(K::ROWS);
                for (number, tile) in tiles(rows.clone(), K::ROWS, K::STEP > 1).enumerate() {
                    // SAFETY: rows and panel are inside their slices, the kernel is of this machine's instructions; the
                    // result is [rows, stride], and these rows and columns are this piece's alone.
                    unsafe {
                        let in_place = TileResult {
                            start: out.at(tile.start * stride + column),
                            rows: tile.len(),
                            columns: columns.len(),
                            stride,
                        };
                        let result = match act {
                            Some(_) if K::STEP > 1 => in_place.together(&mut together),
                            _ => in_place,
                        };
                        let finish = Finish {
                            row_scales: x.scales.slice::<f32>()[tile.clone()].as_ptr(),
                            column_scales: weights.scales[of_panel.clone()].as_ptr(),
                            column_sums: weights.sums[of_panel.clone()].as_ptr(),
                            bias: whole.as_ptr(),
                            out: result.start,
                            stride: result.stride,
                            columns: result.columns,
                            ahead: Ahead::share(next, panel, units, number, count),
                        };
                        let left = numbers[tile.start * row_numbers..].as_ptr();
                        K::tile(tile.len(), units, left, row_numbers, right.as_ptr(), finish);
                        if K::STEP > 1 {
                            in_place.ask_for_next(&tile, &rows, K::COLUMNS);
                        }
                        activate(act, result);
                        if result.start != in_place.start {
                            vectorised!(copy(result.start, in_place));
                        }
                    }
                }
            }
            // SAFETY: as above.
            unsafe { K::end() }
        },
    );
}
