//! Weights and states rounded to bfloat16, sums in float32.
//!
//! Where the processor has products of bfloat16, weights take half of float32's memory. Elsewhere they are products of
//! float32 numbers that were rounded: the same numbers, and the same result up to the order of its sums.

use super::panels::{Panels, Rows, rows_behind};
use super::{Layout, Target};
use crate::error::Result;
use crate::ops::aligned::Aligned;
use crate::ops::arena::Arena;
use crate::ops::gemm::tile::Kernel;
use crate::ops::gemm::{Unit, pack_row, units, with_bfloat16_kernel};
use crate::ops::isa::vectorised;
use crate::ops::parallel::Shared;
use crate::ops::sizes::product as size;
use crate::ops::team::Team;

/// Rows of states, rounded.
#[derive(Debug, Default)]
pub struct Bfloat16Rows {
    /// A kernel's units, row by row.
    units: Aligned,
    rows: usize,
    inputs: usize,
}

/// Rows that one piece rounds.
const ROUNDED_AT_ONCE: usize = 8;

impl Bfloat16Rows {
    /// Takes `x`[rows, inputs] in place of what is there.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn round(&mut self, team: &Team<'_>, x: &[f32], inputs: usize) -> Result<()> {
        with_bfloat16_kernel!(K => round_rows::<K>(self, team, x, inputs))
    }
}

pub(super) fn round_rows<K: Kernel>(
    out: &mut Bfloat16Rows,
    team: &Team<'_>,
    x: &[f32],
    inputs: usize,
) -> Result<()> {
    let (rows, stride) = (x.len() / inputs, units::<K>(inputs));
    (out.rows, out.inputs) = (rows, inputs);
    let all = out
        .units
        .room::<K::Unit>(size([rows + rows_behind::<K>(), stride]))?;
    let all = Shared(all.as_mut_ptr());
    team.run(rows.div_ceil(ROUNDED_AT_ONCE), |piece| {
        let first = piece * ROUNDED_AT_ONCE;
        vectorised!({
            for row in first..rows.min(first + ROUNDED_AT_ONCE) {
                // SAFETY: there is room for so many rows, and this one is this piece's alone.
                let out = unsafe { std::slice::from_raw_parts_mut(all.at(row * stride), stride) };
                pack_row::<K>(&x[row * inputs..(row + 1) * inputs], out);
            }
        });
    });
    Ok(())
}

/// Packed weights.
#[derive(Debug)]
pub struct Bfloat16Weights(pub(super) Panels);

impl Bfloat16Weights {
    /// Packs the weights [outputs, inputs] of layers of equal size that read the same states, in the arena's memory.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn new(arena: &mut Arena, weights: &[&[f32]], inputs: usize) -> Result<Bfloat16Weights> {
        with_bfloat16_kernel!(K => Panels::pack::<K>(arena, weights, inputs)).map(Bfloat16Weights)
    }

    /// Bytes that a weight takes.
    pub fn bytes_of_one() -> usize {
        with_bfloat16_kernel!(K => size_of::<<K as Kernel>::Unit>() / <K as Kernel>::Unit::DEPTH)
    }

    pub(super) fn inputs(&self) -> usize {
        self.0.inputs
    }

    pub(super) fn layout(&self) -> Layout {
        self.0.layout
    }

    /// `target` = act(x Wᵀ + b); `bias` is all sections'.
    pub(super) fn product(
        &self,
        team: &Team<'_>,
        x: &Bfloat16Rows,
        bias: &[f32],
        target: Target<'_>,
    ) {
        with_bfloat16_kernel!(K => product::<K>(self, team, x, bias, target));
    }
}

pub(super) fn product<K: Kernel>(
    weights: &Bfloat16Weights,
    team: &Team<'_>,
    x: &Bfloat16Rows,
    bias: &[f32],
    target: Target<'_>,
) {
    assert_eq!(x.inputs, weights.0.inputs);
    let x = Rows {
        units: x.units.slice::<K::Unit>(),
        stride: units::<K>(x.inputs),
        rows: x.rows,
    };
    weights.0.product::<K>(team, x, bias, target);
}
