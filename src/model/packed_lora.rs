//! LoRA's adapters over packed tokens: what they add to a projection, and their gradients.

use super::Gradients;
use super::lora::{LoraConfig, Projection, dropout_site};
use super::packed::Packed;
use super::parameters::AdapterIndex;
use crate::error::Result;
use crate::ops::{
    Accumulate, Buffer, Buffers, Precision, RowDropout, apply_dropout_rows, copy_dropout_rows,
};

/// One projection's adapter in one pass.
pub(super) struct Adapter<'a> {
    index: AdapterIndex,
    /// [rank, inputs].
    down: &'a [f32],
    /// [outputs, rank].
    up: &'a [f32],
    inputs: usize,
    outputs: usize,
    rank: usize,
    scale: f32,
    dropout: Option<RowDropout<'a>>,
}

impl Packed<'_> {
    /// The adapter of a projection, where it has one.
    pub(super) fn adapter(&self, number: usize, projection: Projection) -> Option<Adapter<'_>> {
        let (index, lora): (AdapterIndex, &LoraConfig) = self.table.adapter(number, projection)?;
        let (inputs, outputs) = projection.sizes(self.config);
        let of_all = matches!(projection, Projection::Key | Projection::Value);
        let mask = self.mask(dropout_site(number, projection), lora.dropout);
        let dropout = mask.map(|mask| RowDropout {
            mask,
            rows: if of_all { None } else { self.rows(number) },
        });
        Some(Adapter {
            index,
            down: &self.values[index.down],
            up: &self.values[index.up],
            inputs,
            outputs,
            rank: lora.rank,
            scale: lora.scale() as f32,
            dropout,
        })
    }
}

impl Adapter<'_> {
    /// Adds scale · B A dropout(x) to `y`, and gives scale · A dropout(x), [rows, rank], which the backward pass
    /// needs.
    pub fn forward(&self, buffers: &mut Buffers, x: &[f32], y: &mut [f32]) -> Result<Buffer> {
        let mut reduced = buffers.take(x.len() / self.inputs * self.rank)?;
        let dropped = self.dropped(buffers, x)?;
        Precision::Float32.matmul_nt(
            &mut reduced,
            Accumulate::Replace,
            dropped.as_deref().unwrap_or(x),
            self.down,
            self.inputs,
            self.rank,
        );
        give(buffers, dropped);
        for value in reduced.iter_mut() {
            *value *= self.scale;
        }
        Precision::Float32.matmul_nt(
            y,
            Accumulate::Add,
            &reduced,
            self.up,
            self.rank,
            self.outputs,
        );
        Ok(reduced)
    }

    /// Adds B's gradient, and gives the derivative by A dropout(x), [rows, rank]. `reduced` is what
    /// [`forward`](Adapter::forward) gave.
    pub fn backward_up(
        &self,
        buffers: &mut Buffers,
        dy: &[f32],
        reduced: &[f32],
        gradients: &mut Gradients,
    ) -> Result<Buffer> {
        Precision::Float32.matmul_tn(
            &mut gradients[self.index.up],
            Accumulate::Add,
            dy,
            reduced,
            self.rank,
            self.outputs,
        );
        let mut dreduced = buffers.take(reduced.len())?;
        Precision::Float32.matmul(
            &mut dreduced,
            Accumulate::Replace,
            dy,
            self.up,
            self.rank,
            self.outputs,
        );
        for value in dreduced.iter_mut() {
            *value *= self.scale;
        }
        Ok(dreduced)
    }

    /// Adds A's gradient.
    pub fn backward_down(
        &self,
        buffers: &mut Buffers,
        dreduced: &[f32],
        x: &[f32],
        gradients: &mut Gradients,
    ) -> Result<()> {
        let dropped = self.dropped(buffers, x)?;
        Precision::Float32.matmul_tn(
            &mut gradients[self.index.down],
            Accumulate::Add,
            dreduced,
            dropped.as_deref().unwrap_or(x),
            self.inputs,
            self.rank,
        );
        give(buffers, dropped);
        Ok(())
    }

    /// Adds the derivative by x to `dx`.
    pub fn add_input_derivative(
        &self,
        buffers: &mut Buffers,
        dreduced: &[f32],
        dx: &mut [f32],
    ) -> Result<()> {
        let product = |result: &mut [f32], accumulate| {
            Precision::Float32.matmul(
                result,
                accumulate,
                dreduced,
                self.down,
                self.inputs,
                self.rank,
            );
        };
        let Some(dropout) = self.dropout else {
            product(dx, Accumulate::Add);
            return Ok(());
        };
        let mut part = buffers.take(dx.len())?;
        product(&mut part, Accumulate::Replace);
        apply_dropout_rows(&mut part, self.inputs, dropout);
        for (out, value) in dx.iter_mut().zip(part.iter()) {
            *out += value;
        }
        buffers.give(part);
        Ok(())
    }

    /// What A reads where dropout acts; `None` where that is x itself.
    fn dropped(&self, buffers: &mut Buffers, x: &[f32]) -> Result<Option<Buffer>> {
        if self.dropout.is_none() {
            return Ok(None);
        }
        let mut dropped = buffers.take(x.len())?;
        copy_dropout_rows(&mut dropped, x, self.inputs, self.dropout);
        Ok(Some(dropped))
    }
}

fn give(buffers: &mut Buffers, dropped: Option<Buffer>) {
    if let Some(dropped) = dropped {
        buffers.give(dropped);
    }
}
