//! Weights in float32, with the tiles of [`gemm`](crate::ops::gemm).

use super::{Layout, Target, TileResult, activate, share_out, tiles};
use crate::error::Result;
use crate::ops::arena::{Arena, Slab};
use crate::ops::gemm::inner_block;
use crate::ops::gemm::tile::{self, Ahead, Kernel, Left, Place, Start};
use crate::ops::isa;
use crate::ops::parallel::Shared;
use crate::ops::sizes::product as size;
use crate::ops::team::Team;

/// Places of the inner dimension that are packed at once.
const SQUARE: usize = 16;

/// Weights in panels of a kernel's columns: for each place of the inner dimension one number of each column.
#[derive(Debug)]
pub struct Float32Weights {
    panels: Slab<f32>,
    /// Numbers of a row that one layer reads.
    inputs: usize,
    layout: Layout,
}

/// Calls a function with the kernel for this process's instructions.
macro_rules! with_kernel {
    ($function:ident::<K>($($argument:expr),*)) => {
        match isa::level() {
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx | isa::Level::Avx512 => $function::<tile::Avx512<false>>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            isa::Level::Avx2 => $function::<tile::Avx2<false>>($($argument),*),
            _ => $function::<tile::Baseline<false>>($($argument),*),
        }
    };
}
pub(in crate::ops) use with_kernel;

impl Float32Weights {
    /// Packs the weights [outputs, inputs] of layers of equal size that read the same states, in the arena's memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn new(arena: &mut Arena, weights: &[&[f32]], inputs: usize) -> Result<Float32Weights> {
        with_kernel!(pack::<K>(arena, weights, inputs))
    }

    /// The same of layers of which each reads its own part of a row, `inputs` numbers, the parts side by side.
    ///
    /// # Errors
    /// As [`new`](Float32Weights::new).
    pub fn of_parts(
        arena: &mut Arena,
        weights: &[&[f32]],
        inputs: usize,
    ) -> Result<Float32Weights> {
        let mut packed = Float32Weights::new(arena, weights, inputs)?;
        packed.layout.reads_parts = true;
        Ok(packed)
    }

    /// Numbers of a row that the layers read together.
    pub(super) fn inputs(&self) -> usize {
        match self.layout.reads_parts {
            true => self.inputs * self.layout.sections,
            false => self.inputs,
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// `target` = act(x Wᵀ + b); `bias` is all sections'.
    pub(super) fn product(&self, team: &Team<'_>, x: &[f32], bias: &[f32], target: Target<'_>) {
        with_kernel!(product::<K>(self, team, x, bias, target));
    }
}

fn pack<K: Kernel<Unit = f32>>(
    arena: &mut Arena,
    weights: &[&[f32]],
    inputs: usize,
) -> Result<Float32Weights> {
    let width = weights.first().map_or(0, |weight| weight.len() / inputs);
    assert!(weights.iter().all(|weight| weight.len() == width * inputs));
    let layout = Layout {
        panel: K::COLUMNS,
        width,
        sections: weights.len(),
        reads_parts: false,
    };
    let panel = K::COLUMNS * inputs;
    let count = layout.sections * layout.panels();
    let mut panels = arena.take::<f32>(size([count, panel]))?;
    let filled = panels.slice_mut().chunks_exact_mut(panel);
    for (number, out) in filled.take(count).enumerate() {
        let (section, columns) = layout.columns(number);
        // A square at a time, so that the panel's lines stay in the cache while they fill.
        for inner in (0..inputs).step_by(SQUARE) {
            let depth = SQUARE.min(inputs - inner);
            for (column, output) in columns.clone().enumerate() {
                let row = &weights[section][output * inputs + inner..][..depth];
                for (place, &weight) in row.iter().enumerate() {
                    out[(inner + place) * K::COLUMNS + column] = weight;
                }
            }
        }
    }
    Ok(Float32Weights {
        panels,
        inputs,
        layout,
    })
}

fn product<K: Kernel<Unit = f32>>(
    weights: &Float32Weights,
    team: &Team<'_>,
    x: &[f32],
    bias: &[f32],
    target: Target<'_>,
) {
    let Float32Weights {
        ref panels,
        inputs,
        layout,
    } = *weights;
    let Target { sections, act, out } = target;
    let row_numbers = weights.inputs();
    let (rows, stride) = (x.len() / row_numbers, sections.len() * layout.width);
    assert!(
        sections.end <= layout.sections
            && layout.panel == K::COLUMNS
            && bias.len() == layout.sections * layout.width
            && out.len() == size([rows, stride])
            && x.len() == rows * row_numbers
    );
    let out = Shared(out.as_mut_ptr());
    let panels = panels.slice();
    let numbers = sections.start * layout.panels()..sections.end * layout.panels();
    let others = team.members() - 1;
    share_out(team, rows, K::ROWS, numbers, |rows, numbers| {
        let most = inner_block(inputs, 1);
        for inner in (0..inputs).step_by(most) {
            let depth = (inputs - inner).min(most);
            for number in numbers.clone() {
                let (section, columns) = layout.columns(number);
                let bias = &bias[section * layout.width + columns.start..][..columns.len()];
                let right = &panels[(number * inputs + inner) * K::COLUMNS..][..depth * K::COLUMNS];
                let column = (section - sections.start) * layout.width + columns.start;
                // The next panel comes from memory while this one's tiles are computed; behind a piece's last one lie the
                // other members' pieces.
                let between = match number + 1 == numbers.end {
                    true => others * numbers.len(),
                    false => 0,
                };
                let panel = inputs * K::COLUMNS;
                let next = right.as_ptr().wrapping_add((1 + between) * panel).cast();
                let count = rows.len().div_ceil(K::ROWS);
                let part = if layout.reads_parts {
                    section * inputs
                } else {
                    0
                };
                for (number, tile) in tiles(rows.clone(), K::ROWS).enumerate() {
                    let left =
                        Left::new(&x[tile.start * row_numbers + part + inner..], row_numbers);
                    let start = match inner {
                        0 => Start::Bias(bias.as_ptr()),
                        _ => Start::Result,
                    };
                    // SAFETY: the rows' and panel's numbers are inside their slices, the kernel is of this machine's
                    // instructions; the result is [rows, stride], and these rows and columns are this piece's alone.
                    unsafe {
                        let out = out.at(tile.start * stride + column);
                        let place = Place {
                            start: out,
                            stride,
                            columns: columns.len(),
                            ahead: Ahead::share(next, size_of_val(right), depth, number, count),
                        };
                        K::tile::<false, true>(
                            tile.len(),
                            depth,
                            left,
                            right.as_ptr(),
                            place,
                            start,
                        );
                        if inner + depth == inputs {
                            let result = TileResult {
                                start: out,
                                rows: tile.len(),
                                columns: columns.len(),
                                stride,
                            };
                            activate(act, result);
                        }
                    }
                }
            }
        }
    });
}
