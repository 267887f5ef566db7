//! A block's attention over packed tokens, from the block's input to the context, forward and backward.
//!
//! Where only each sequence's first state goes on, keys and values aren't computed, unless adapters are part of them or heads
//! are very narrow.

use super::Gradients;
use super::lora::Projection;
use super::packed::Packed;
use super::parameters::LayerIndex;
use super::plain::{dropout_site, probability_dropout};
use crate::error::Result;
use crate::ops::attention::{self, ProbabilityDropout, Shape};
use crate::ops::first_attention::{self, FirstAttention, NARROWEST_HEAD, ProjectionGradients};
use crate::ops::{Accumulate, Buffer, Buffers};

/// What the backward pass needs of the attention besides the block's input.
pub(super) struct AttentionTape {
    query: Buffer,
    keys: Keys,
}

/// What it needs of keys and values.
enum Keys {
    Computed {
        key: Buffer,
        value: Buffer,
        probabilities: Buffer,
    },
    OfFirst(first_attention::Tape),
}

/// A block's input as its attention reads it.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// Of all tokens.
    all: &'a [f32],
    /// The rows that go on, for the queries; the same where those are all.
    pub going_on: &'a [f32],
}

impl Packed<'_> {
    /// Block `number`'s input; `first` are the rows of it that go on, where those aren't all.
    pub(super) fn attention_input<'a>(
        &self,
        number: usize,
        all: &'a [f32],
        first: &'a [f32],
    ) -> Input<'a> {
        let going_on = match self.rows(number) {
            Some(_) => first,
            None => all,
        };
        Input { all, going_on }
    }

    fn probability_mask(&self, number: usize) -> Option<ProbabilityDropout> {
        let mask = self.mask(
            dropout_site::attention_probabilities(number),
            self.config.attention_probs_dropout_prob,
        )?;
        Some(probability_dropout(self.config, mask))
    }

    /// Block `number`'s attention.
    fn attention_shape(&self, number: usize) -> Shape<'_> {
        Shape {
            batch: self.batch,
            heads: self.config.num_attention_heads,
            head_size: self.config.head_size(),
            first_only: self.rows(number).is_some(),
        }
    }

    /// Whether block `number` computes keys and values.
    pub(super) fn has_keys(&self, number: usize) -> bool {
        let has_adapter = |projection| self.adapter(number, projection).is_some();
        self.rows(number).is_none()
            || self.config.head_size() < NARROWEST_HEAD
            || has_adapter(Projection::Key)
            || has_adapter(Projection::Value)
    }

    /// Block `number`'s attention where it doesn't.
    fn first_attention(&self, number: usize, layer: &LayerIndex) -> FirstAttention<'_> {
        FirstAttention {
            batch: self.batch,
            heads: self.config.num_attention_heads,
            head_size: self.config.head_size(),
            dropout: self.probability_mask(number),
            key_weight: &self.values[layer.key.weight],
            value_weight: &self.values[layer.value.weight],
            value_bias: &self.values[layer.value.bias],
        }
    }

    /// The context, a row for each that goes on. `adapters` gets what the projections' adapters computed on their way.
    pub(super) fn attention(
        &self,
        buffers: &mut Buffers,
        (number, layer): (usize, &LayerIndex),
        input: Input<'_>,
        adapters: &mut [Buffer; 6],
    ) -> Result<(Buffer, AttentionTape)> {
        let mut project =
            |buffers: &mut Buffers, projection: Projection, x: &[f32]| -> Result<Buffer> {
                let index = layer.projection(projection);
                let mut y = self.linear(buffers, self.precision, index, x, self.hidden())?;
                adapters[projection as usize] =
                    self.adapt(buffers, (number, projection), x, &mut y)?;
                Ok(y)
            };
        let query = project(buffers, Projection::Query, input.going_on)?;
        let mut context = buffers.take(query.len())?;
        if !self.has_keys(number) {
            let attention = self.first_attention(number, layer);
            let tape = attention.forward(buffers, &query, input.all, &mut context)?;
            let keys = Keys::OfFirst(tape);
            return Ok((context, AttentionTape { query, keys }));
        }
        let key = project(buffers, Projection::Key, input.all)?;
        let value = project(buffers, Projection::Value, input.all)?;
        let shape = self.attention_shape(number);
        let mut probabilities = buffers.take(shape.probabilities())?;
        attention::forward(
            shape,
            self.probability_mask(number),
            (&query, &key, &value),
            &mut probabilities,
            &mut context,
        );
        let keys = Keys::Computed {
            key,
            value,
            probabilities,
        };
        Ok((context, AttentionTape { query, keys }))
    }

    /// From the derivative by the context to that by the block's input, which is arbitrary where the way doesn't go on below.
    /// `dresidual` is the derivative by the rows that go on which came around the attention.
    pub(super) fn attention_backward(
        &self,
        buffers: &mut Buffers,
        (number, layer): (usize, &LayerIndex),
        (tape, input, adapters): (&AttentionTape, Input<'_>, &[Buffer; 6]),
        (dcontext, dresidual): (&[f32], Buffer),
        goes_on: bool,
        gradients: &mut Gradients,
    ) -> Result<Buffer> {
        let mut dquery = buffers.take(tape.query.len())?;
        // Keys and values come from all of the input; what goes on behind them may be some rows alone.
        let rows = self.rows(number);
        let (mut dinput, mut dfirst) = (dresidual, Buffer::default());
        if rows.is_some() {
            let of_all = self.batch.tokens() * self.hidden();
            dfirst = std::mem::replace(&mut dinput, buffers.take(of_all)?);
        }
        match &tape.keys {
            Keys::OfFirst(first) => {
                let dstates = if goes_on { &mut *dinput } else { &mut [] };
                self.first_attention_backward(
                    buffers,
                    (number, layer),
                    (first, &tape.query, input.all),
                    dcontext,
                    (&mut dquery, dstates),
                    gradients,
                )?;
            }
            Keys::Computed {
                key,
                value,
                probabilities,
            } => {
                let mut dkey = buffers.take(key.len())?;
                let mut dvalue = buffers.take(value.len())?;
                attention::backward(
                    self.attention_shape(number),
                    self.probability_mask(number),
                    (&tape.query, key, value),
                    probabilities,
                    dcontext,
                    (&mut dquery, &mut dkey, &mut dvalue),
                );
                if rows.is_some() && goes_on {
                    dinput.fill(0.0);
                }
                for (projection, derivative) in
                    [(Projection::Key, dkey), (Projection::Value, dvalue)]
                {
                    self.projection_backward(
                        buffers,
                        (number, layer, projection),
                        (&derivative, input.all),
                        goes_on.then_some(&mut dinput),
                        adapters,
                        gradients,
                    )?;
                    buffers.give(derivative);
                }
            }
        }
        let dx = match rows {
            Some(_) => &mut dfirst,
            None => &mut dinput,
        };
        self.projection_backward(
            buffers,
            (number, layer, Projection::Query),
            (&dquery, input.going_on),
            goes_on.then_some(dx),
            adapters,
            gradients,
        )?;
        buffers.give(dquery);
        let hidden = self.hidden();
        let rows = rows.filter(|_| goes_on).unwrap_or(&[]);
        for (row, derivative) in rows.iter().zip(dfirst.chunks_exact(hidden)) {
            for (out, value) in dinput[row * hidden..].iter_mut().zip(derivative) {
                *out += value;
            }
        }
        buffers.give(dfirst);
        Ok(dinput)
    }

    /// Through the attention that does without keys and values, with the gradients of their projections that aren't
    /// frozen. That of the keys' bias is zero.
    fn first_attention_backward(
        &self,
        buffers: &mut Buffers,
        (number, layer): (usize, &LayerIndex),
        kept: (&first_attention::Tape, &[f32], &[f32]),
        dcontext: &[f32],
        derivatives: (&mut [f32], &mut [f32]),
        gradients: &mut Gradients,
    ) -> Result<()> {
        let indices = [layer.key.weight, layer.value.weight, layer.value.bias];
        let mut taken = indices.map(|index| std::mem::take(&mut gradients[index]));
        let [key_weight, value_weight, value_bias] = &mut taken;
        let of_projections = ProjectionGradients {
            key_weight,
            value_weight,
            value_bias,
        };
        let outcome = self.first_attention(number, layer).backward(
            buffers,
            kept,
            dcontext,
            derivatives,
            (of_projections, self.of_weights()),
        );
        for (index, gradient) in indices.into_iter().zip(taken) {
            gradients[index] = gradient;
        }
        outcome
    }

    /// A projection's gradients from the derivative by its output and from its input, and its part of the derivative by that
    /// input, where that is wanted; its adapter's too.
    fn projection_backward(
        &self,
        buffers: &mut Buffers,
        (number, layer, projection): (usize, &LayerIndex, Projection),
        (dy, x): (&[f32], &[f32]),
        mut dx: Option<&mut Buffer>,
        adapters: &[Buffer; 6],
        gradients: &mut Gradients,
    ) -> Result<()> {
        let (index, hidden) = (layer.projection(projection), self.hidden());
        self.add_linear_gradients(self.precision, index, dy, x, hidden, gradients);
        if let Some(dx) = dx.as_deref_mut() {
            self.input_derivative(self.precision, index, dy, Accumulate::Add, hidden, dx);
        }
        self.adapter_backward(
            buffers,
            (number, projection),
            adapters,
            (dy, x),
            dx,
            gradients,
        )
    }
}

impl AttentionTape {
    pub(super) fn give(self, buffers: &mut Buffers) {
        buffers.give(self.query);
        match self.keys {
            Keys::OfFirst(tape) => tape.give(buffers),
            Keys::Computed {
                key,
                value,
                probabilities,
            } => {
                for buffer in [key, value, probabilities] {
                    buffers.give(buffer);
                }
            }
        }
    }
}
