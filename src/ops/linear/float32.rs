//! Weights and states in float32.

use super::panels::{Panels, Rows};
use super::{Layout, Target};
use crate::error::Result;
use crate::ops::arena::Arena;
use crate::ops::gemm::tile;
use crate::ops::gemm::tile::Kernel;
use crate::ops::isa;
use crate::ops::team::Team;

/// Packed weights.
#[derive(Debug)]
pub struct Float32Weights(Panels);

/// Calls a function with the kernel for this process's instructions.
macro_rules! with_kernel {
    ($($function:ident)::+::<K>($($argument:expr),*)) => {
        match isa::level() {
            #[cfg(target_arch = "x86_64")]
            isa::Level::Amx | isa::Level::Avx512 => $($function)::+::<tile::Avx512<false>>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            isa::Level::Avx2 => $($function)::+::<tile::Avx2<false>>($($argument),*),
            _ => $($function)::+::<tile::Baseline<false>>($($argument),*),
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
        with_kernel!(Panels::pack::<K>(arena, weights, inputs)).map(Float32Weights)
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
        packed.0.layout.reads_parts = true;
        Ok(packed)
    }

    /// Numbers of a row that the layers read together.
    pub(super) fn inputs(&self) -> usize {
        match self.0.layout.reads_parts {
            true => self.0.inputs * self.0.layout.sections,
            false => self.0.inputs,
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.0.layout
    }

    /// `target` = act(x Wᵀ + b); `bias` is all sections'.
    pub(super) fn product(&self, team: &Team<'_>, x: &[f32], bias: &[f32], target: Target<'_>) {
        with_kernel!(product::<K>(&self.0, self.inputs(), team, x, bias, target));
    }
}

fn product<K: Kernel<Unit = f32>>(
    weights: &Panels,
    inputs: usize,
    team: &Team<'_>,
    x: &[f32],
    bias: &[f32],
    target: Target<'_>,
) {
    let rows = x.len() / inputs;
    assert_eq!(x.len(), rows * inputs);
    let x = Rows {
        units: x,
        stride: inputs,
        rows,
    };
    weights.product::<K>(team, x, bias, target);
}
