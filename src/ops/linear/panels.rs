//! Weights in panels for the tiles of [`gemm`](crate::ops::gemm), whatever their format, and the layer's product with
//! rows in the same one.

use super::{
    BAND, Layout, Target, TileResult, Together, activate, copy, next_panel, share_out, tiles,
};
use crate::error::Result;
use crate::ops::arena::{Arena, Slab};
use crate::ops::gemm::tile::{Ahead, Kernel, Left, Place, Start};
use crate::ops::gemm::{Lines, Matrix, Unit, inner_block, pack_columns, units};
use crate::ops::isa::vectorised;
use crate::ops::parallel::Shared;
use crate::ops::sizes::product as size;
use crate::ops::team::Team;

/// Weights in panels of a kernel's columns: for each unit of the inner dimension one of each column.
#[derive(Debug)]
pub(super) struct Panels {
    /// A kernel's units.
    panels: Slab,
    /// Numbers of a row that one layer reads.
    pub inputs: usize,
    pub layout: Layout,
}

/// Rows of states in a kernel's units.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, U> {
    /// Row by row; a kernel that reads whole tiles finds as many rows as it reads behind the last.
    pub units: &'a [U],
    /// Units from one row to the next.
    pub stride: usize,
    /// How many.
    pub rows: usize,
}

/// Rows behind the last that a kernel reads, whatever they hold.
pub(super) fn rows_behind<K: Kernel>() -> usize {
    if K::STEP > 1 { K::ROWS } else { 0 }
}

impl Panels {
    /// Packs the weights [outputs, inputs] of layers of equal size that read the same states, or each a part of them,
    /// in the arena's memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn pack<K: Kernel>(arena: &mut Arena, weights: &[&[f32]], inputs: usize) -> Result<Panels> {
        let width = weights.first().map_or(0, |weight| weight.len() / inputs);
        let layout = Layout {
            panel: K::COLUMNS,
            width,
            sections: weights.len(),
            reads_parts: false,
        };
        let section = size([layout.panels(), K::COLUMNS, units::<K>(inputs)]);
        let mut panels = arena.take::<K::Unit>(size([layout.sections, section]))?;
        let filled = panels.slice_mut().chunks_exact_mut(section.max(1));
        for (weight, out) in weights.iter().zip(filled) {
            assert_eq!(weight.len(), size([width, inputs]));
            let columns = Matrix::new(weight, inputs, Lines::Inner);
            pack_columns::<K>(columns, (inputs, width), out);
        }
        Ok(Panels {
            panels,
            inputs,
            layout,
        })
    }

    /// `target` = act(x Wᵀ + b); `bias` is all sections'.
    pub fn product<K: Kernel>(
        &self,
        team: &Team<'_>,
        x: Rows<'_, K::Unit>,
        bias: &[f32],
        target: Target<'_>,
    ) {
        const {
            // What is far apart in a result is put together where tiles are whole.
            assert!(K::STEP == 1 || K::ROWS * K::COLUMNS <= Together::LEN);
            assert!(K::STEP == 1 || K::COLUMNS == super::WIDEST);
            assert!(K::ROWS.is_multiple_of(K::HEIGHT));
        }
        let Panels {
            ref panels,
            inputs,
            layout,
        } = *self;
        let Target { sections, act, out } = target;
        let deep = K::Unit::DEPTH;
        let in_row = units::<K>(inputs);
        let parts = if layout.reads_parts {
            layout.sections
        } else {
            1
        };
        let stride = sections.len() * layout.width;
        assert!(
            sections.end <= layout.sections
                && layout.panel == K::COLUMNS
                && bias.len() == layout.sections * layout.width
                && out.len() == size([x.rows, stride])
                && x.stride >= parts * in_row
                && (!layout.reads_parts || deep == 1)
                && x.units.len() >= size([x.rows + rows_behind::<K>(), x.stride])
        );
        let out = Shared(out.as_mut_ptr());
        let panels = panels.slice::<K::Unit>();
        let panel = in_row * K::COLUMNS;
        let numbers = sections.start * layout.panels()..sections.end * layout.panels();
        // Whole tiles keep their sums until all inputs have gone by.
        let (most, band) = match K::STEP {
            1 => (inner_block(inputs, deep), BAND),
            _ => (inputs, super::WHOLE_BAND),
        };
        let members = team.members();
        share_out(team, x.rows, (K::ROWS, band), numbers, |rows, numbers| {
            let mut together = Together([0.0; _]);
            // SAFETY: the kernel is of this machine's instructions.
            unsafe { K::begin() }
            for inner in (0..inputs).step_by(most) {
                let depth = (inputs - inner).min(most);
                let in_block = units::<K>(depth);
                for number in numbers.clone() {
                    let (section, columns) = layout.columns(number);
                    let bias = &bias[section * layout.width + columns.start..][..columns.len()];
                    // Whole tiles have all columns.
                    let mut all = [0f32; super::WIDEST];
                    let bias = match K::STEP {
                        1 => bias.as_ptr(),
                        _ => {
                            all[..bias.len()].copy_from_slice(bias);
                            all.as_ptr()
                        }
                    };
                    let right = &panels[number * panel + inner / deep * K::COLUMNS..]
                        [..in_block * K::COLUMNS];
                    let column = (section - sections.start) * layout.width + columns.start;
                    let part = if layout.reads_parts {
                        section * inputs
                    } else {
                        0
                    };
                    let next = next_panel(members, (right, panel), number, &numbers);
                    let count = rows.len().div_ceil(K::ROWS);
                    for (number, tile) in tiles(rows.clone(), K::ROWS, K::STEP > 1).enumerate() {
                        let left = &x.units[tile.start * x.stride + part + inner / deep..];
                        let left = Left::new(left, x.stride);
                        let start = match inner {
                            0 => Start::Bias(bias),
                            _ => Start::Result,
                        };
                        let ahead = Ahead::share(next, size_of_val(right), in_block, number, count);
                        // SAFETY: the rows' and panel's units are inside their slices (just checked), as are those
                        // behind them that whole tiles read; the kernel is of this machine's instructions; the result
                        // is [rows, stride], and these rows and columns are this piece's alone.
                        unsafe {
                            let in_place = TileResult {
                                start: out.at(tile.start * stride + column),
                                rows: tile.len(),
                                columns: columns.len(),
                                stride,
                            };
                            let result = match K::STEP {
                                1 => in_place,
                                _ => in_place.together(&mut together),
                            };
                            let place = Place {
                                start: result.start,
                                stride: result.stride,
                                columns: result.columns,
                                ahead,
                            };
                            let height = tile.len().next_multiple_of(K::HEIGHT);
                            let panel = right.as_ptr();
                            K::tile::<false, true>(height, in_block, left, panel, place, start);
                            if K::STEP > 1 {
                                in_place.ask_for_next(&tile, &rows, K::COLUMNS);
                            }
                            if inner + depth == inputs {
                                activate(act, result);
                            }
                            if K::STEP > 1 {
                                vectorised!(copy(result.start, in_place));
                            }
                        }
                    }
                }
            }
            // SAFETY: as above.
            unsafe { K::end() }
        });
    }
}
