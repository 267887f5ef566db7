//! LoRA's adapters on a GPU: what they add to a projection, and their gradients, as
//! [`packed_lora`](crate::model) on the CPU.

use super::gpu::Memory;
use super::pass::{Pass, Rows, Sums};
use crate::error::Result;
use crate::model::lora::dropout_site;
use crate::model::parameters::AdapterIndex;
use crate::model::{LoraConfig, Projection};
use crate::random::DropoutMask;

/// One projection's adapter in one pass.
pub(super) struct Adapter<'a> {
    pass: &'a Pass<'a>,
    index: AdapterIndex,
    inputs: usize,
    outputs: usize,
    rank: usize,
    scale: f32,
    mask: Option<DropoutMask>,
    /// Of its input and output.
    rows: Rows,
}

impl<'a> Adapter<'a> {
    /// The adapter of a projection, where it has one.
    pub fn new(pass: &'a Pass<'a>, number: usize, projection: Projection) -> Option<Adapter<'a>> {
        let model = pass.model();
        let (index, lora): (AdapterIndex, &LoraConfig) = model.table.adapter(number, projection)?;
        let (inputs, outputs) = projection.sizes(&model.config);
        Some(Adapter {
            pass,
            index,
            inputs,
            outputs,
            rank: lora.rank,
            scale: lora.scale() as f32,
            mask: pass.mask(dropout_site(number, projection), lora.dropout),
            rows: match projection {
                Projection::Query | Projection::Key | Projection::Value => pass.all(),
                _ => pass.rows(number),
            },
        })
    }

    /// Adds scale · B A dropout(x) to `y`, and gives scale · A dropout(x), [rows, rank].
    pub fn forward(&self, x: &Memory, y: &Memory) -> Result<Memory> {
        let reduced = self.pass.states(self.rows, self.rank)?;
        let dropped = self.dropped(x)?;
        self.pass.product(
            (
                dropped.as_ref().unwrap_or(x),
                self.pass.matrix(self.index.down),
                &reduced,
            ),
            (self.inputs, self.rank),
            (self.scale, 0.0),
        )?;
        self.pass.product(
            (&reduced, self.pass.matrix(self.index.up), y),
            (self.rank, self.outputs),
            (1.0, 1.0),
        )?;
        Ok(reduced)
    }

    /// Its gradients from the derivative by the projection's output and from its input, and its part of the derivative by
    /// that input, where that is wanted.
    pub fn backward(
        &self,
        reduced: &Memory,
        (dy, x): (&Memory, &Memory),
        dx: Option<&Memory>,
        sums: &Sums,
    ) -> Result<()> {
        let dreduced = self.backward_up(dy, reduced, sums)?;
        self.backward_down(&dreduced, x, sums)?;
        match dx {
            Some(dx) => self.add_input_derivative(&dreduced, dx),
            None => Ok(()),
        }
    }

    /// Adds B's gradient, and gives the derivative by A dropout(x), [rows, rank].
    pub fn backward_up(&self, dy: &Memory, reduced: &Memory, sums: &Sums) -> Result<Memory> {
        if let Some(sum) = sums[self.index.up] {
            self.pass
                .add_gradient(sum, (dy, reduced), (self.rank, self.outputs))?;
        }
        let dreduced = self.pass.states(self.rows, self.rank)?;
        self.pass.product_back(
            (dy, self.pass.matrix(self.index.up), &dreduced),
            (self.rank, self.outputs),
            (self.scale, 0.0),
        )?;
        Ok(dreduced)
    }

    /// Adds A's gradient.
    pub fn backward_down(&self, dreduced: &Memory, x: &Memory, sums: &Sums) -> Result<()> {
        let Some(sum) = sums[self.index.down] else {
            return Ok(());
        };
        let dropped = self.dropped(x)?;
        let x = dropped.as_ref().unwrap_or(x);
        self.pass
            .add_gradient(sum, (dreduced, x), (self.inputs, self.rank))
    }

    /// Adds the derivative by x to `dx`.
    pub fn add_input_derivative(&self, dreduced: &Memory, dx: &Memory) -> Result<()> {
        let pass = self.pass;
        let down = pass.matrix(self.index.down);
        let sizes = (self.inputs, self.rank);
        if self.mask.is_none() {
            return pass.product_back((dreduced, down, dx), sizes, (1.0, 1.0));
        }
        let part = pass.states(self.rows, self.inputs)?;
        pass.product_back((dreduced, down, &part), sizes, (1.0, 0.0))?;
        pass.dropout_rows(
            pass.kind,
            (&part, dx),
            self.mask,
            true,
            (self.rows, self.inputs),
        )
    }

    /// What A reads where dropout acts; `None` where that is x itself.
    fn dropped(&self, x: &Memory) -> Result<Option<Memory>> {
        if self.mask.is_none() {
            return Ok(None);
        }
        let dropped = self.pass.states(self.rows, self.inputs)?;
        let pass = self.pass;
        pass.dropout_rows(
            pass.kind,
            (x, &dropped),
            self.mask,
            false,
            (self.rows, self.inputs),
        )?;
        Ok(Some(dropped))
    }
}
