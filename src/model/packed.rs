//! The forward and backward pass on the CPU over packed tokens, with the kernels of [`crate::ops`]: the same function as
//! the plain definition's, of which the tests hold it to every number.
//!
//! States are [tokens, hidden_size], the sequences' tokens one after another: nothing is computed on padding. Of the last
//! block only what pooling reads is computed: unless that is the mean, each sequence's first state alone, [sequences,
//! hidden_size], from its query on, for which keys and values need not be computed
//! ([`packed_attention`](super::packed_attention)). All others' derivatives are zero.

use super::config::{BertConfig, Pooling};
use super::lora::{LoraConfig, Projection};
use super::packed_attention::AttentionTape;
use super::parameters::{Frozen, LayerIndex, LinearIndex, NormIndex, ParameterTable, Part, Values};
use super::plain::dropout_site;
use super::{Gradients, ParameterKind};
use crate::data::Batch;
use crate::error::Result;
use crate::ops::attention;
use crate::ops::layer_norm::{self, Before, Norm};
use crate::ops::parallel::together;
use crate::ops::{
    Accumulate, Buffer, Buffers, Precision, RowDropout, activation, add_bias_gradient,
    apply_dropout_rows, copy_dropout_rows,
};
use crate::random::{Dropout, DropoutMask};

/// What one pass works on.
pub(super) struct Packed<'a> {
    pub config: &'a BertConfig,
    pub table: &'a ParameterTable,
    /// One whole set of values, in the table's order.
    pub values: &'a [Values],
    pub batch: &'a Batch,
    /// The dropouts of this batch; `None` outside training.
    pub dropout: Option<Dropout>,
    /// What the blocks' products are computed in; attention and the head are float32.
    pub precision: Precision,
    /// Whether of each block only its input is kept for the backward pass, which computes its inside again.
    pub gradient_checkpointing: bool,
    /// Whether the gradients of linear layers' weights take the place of what is there, instead of being added to it.
    pub replaces_weight_gradients: bool,
}

/// What a norm's backward pass needs: (x - mean) / deviation, and 1 / deviation.
struct Normalised {
    rows: Buffer,
    inverse_deviations: Buffer,
}

/// What a block's backward pass needs; what only a frozen projection's gradient would need is empty.
struct LayerTape {
    input: Buffer,
    /// The input's rows that go on, where those aren't all.
    first: Buffer,
    attention: AttentionTape,
    context: Buffer,
    attention_norm: Normalised,
    middle: Buffer,
    /// The feed-forward block's inside, before its activation.
    inner: Buffer,
    output_norm: Normalised,
    /// What each projection's adapter computed on its way; empty where it has none.
    adapters: [Buffer; 6],
}

/// What is kept of a block.
enum LayerRecord {
    /// All that its backward pass needs.
    Whole(Box<LayerTape>),
    /// Its input, from which that is computed again.
    Input(Buffer),
}

/// What the whole backward pass needs.
struct Tape {
    encoder: EncoderTape,
    head: HeadTape,
}

/// What the encoder's backward pass needs.
struct EncoderTape {
    embeddings_norm: Normalised,
    layers: Vec<LayerRecord>,
    final_norm: Option<Normalised>,
}

/// What the head's backward pass needs.
struct HeadTape {
    /// What the pooler reads: the [CLS] states. Empty where there is no pooler.
    first: Buffer,
    /// What pooling gives, before dropout.
    pooled: Buffer,
    /// What the classifier reads.
    dropped: Buffer,
}

impl Packed<'_> {
    /// The logits, and the gradients added to `gradients` or put there; `loss` gets the logits and gives the derivative by each.
    pub fn logits_and_gradients(
        &self,
        buffers: &mut Buffers,
        frozen: Frozen,
        loss: impl FnOnce(&[f32]) -> Vec<f32>,
        gradients: &mut Gradients,
    ) -> Result<Vec<f32>> {
        let (logits, tape) = self.forward(buffers, frozen)?;
        let derivative = loss(&logits);
        self.backward(buffers, frozen, tape, &derivative, gradients)?;
        let answer = logits.to_vec();
        buffers.give(logits);
        Ok(answer)
    }

    /// Refuses what this process can't hold before any of it is asked for.
    fn check_memory(&self, kept_layers: usize) -> Result<()> {
        let config = self.config;
        let adapters = self
            .table
            .lora
            .map_or(0, |lora| lora.rank * lora.targets.len());
        let token = 14 * config.hidden_size + 2 * config.intermediate_size + adapters;
        let tokens = self.batch.tokens() as u128;
        let probabilities: u128 = self
            .batch
            .ranges()
            .map(|range| range.len() as u128 * attention::padded(range.len()) as u128)
            .sum();
        let layer = tokens * token as u128 + probabilities * config.num_attention_heads as u128;
        let input = tokens * config.hidden_size as u128;
        // What the last block has in place of keys and values.
        let of_first = match self.has_keys(config.num_hidden_layers - 1) {
            true => 0,
            false => {
                let wide = config.num_attention_heads * config.hidden_size;
                4 * self.batch.len() as u128 * wide as u128
            }
        };
        let kept = if self.gradient_checkpointing {
            layer + input * kept_layers as u128 + of_first
        } else if self.reads_first_only() && kept_layers > 1 {
            // Of the last one the input, and keys and values or what takes their place.
            layer * (kept_layers as u128 - 1) + input + of_first.max(2 * input)
        } else {
            layer * kept_layers.max(1) as u128 + of_first
        };
        let bytes = 4 * kept;
        crate::memory::check(bytes, |most| {
            format!(
                "{} sequences of up to {} tokens need about {bytes} bytes of memory; this process can have {most}. Set a \
                 smaller max_length{}.",
                self.batch.len(),
                self.batch.longest(),
                if kept_layers > 0 {
                    " or batch_size"
                } else {
                    ""
                }
            )
        })
    }

    pub(super) fn hidden(&self) -> usize {
        self.config.hidden_size
    }

    fn norm(&self, index: NormIndex) -> Norm<'_> {
        Norm {
            weight: &self.values[index.weight],
            bias: &self.values[index.bias],
            epsilon: self.config.layer_norm_eps as f32,
        }
    }

    /// Whether of the last states only each sequence's first is read.
    fn reads_first_only(&self) -> bool {
        self.config.pooling != Pooling::Mean
    }

    /// The tokens whose states go on from block `number`'s queries; `None` where those are all.
    pub(super) fn rows(&self, number: usize) -> Option<&[usize]> {
        let is_last = number + 1 == self.config.num_hidden_layers;
        (is_last && self.reads_first_only()).then(|| &self.batch.offsets()[..self.batch.len()])
    }

    pub(super) fn mask(&self, site: u32, probability: f64) -> Option<DropoutMask> {
        let dropout = self.dropout?;
        (probability > 0.0).then(|| dropout.mask(site, probability))
    }

    /// The dropout of that site on block `number`'s states.
    fn layer_dropout(&self, number: usize, site: u32) -> Option<RowDropout<'_>> {
        Some(RowDropout {
            mask: self.mask(site, self.config.hidden_dropout_prob)?,
            rows: self.rows(number),
        })
    }

    fn embeddings_dropout(&self) -> Option<RowDropout<'_>> {
        let mask = self.mask(dropout_site::EMBEDDINGS, self.config.hidden_dropout_prob);
        mask.map(RowDropout::from)
    }

    fn classifier_dropout(&self) -> Option<RowDropout<'_>> {
        let mask = self.mask(dropout_site::CLASSIFIER, self.config.classifier_dropout());
        mask.map(RowDropout::from)
    }

    /// x Wᵀ + b.
    pub(super) fn linear(
        &self,
        buffers: &mut Buffers,
        precision: Precision,
        index: LinearIndex,
        x: &[f32],
        inputs: usize,
    ) -> Result<Buffer> {
        let bias = &self.values[index.bias];
        let mut y = buffers.take(x.len() / inputs * bias.len())?;
        let weight = &self.values[index.weight];
        precision.matmul_nt(
            &mut y,
            Accumulate::Bias(bias),
            x,
            weight,
            inputs,
            bias.len(),
        );
        Ok(y)
    }

    /// Adds what a projection's adapter, if it has one, makes of `x`; gives what its backward pass needs.
    pub(super) fn adapt(
        &self,
        buffers: &mut Buffers,
        (number, projection): (usize, Projection),
        x: &[f32],
        y: &mut [f32],
    ) -> Result<Buffer> {
        match self.adapter(number, projection) {
            Some(adapter) => adapter.forward(buffers, x, y),
            None => Ok(Buffer::default()),
        }
    }

    /// x Wᵀ.
    fn product(
        &self,
        buffers: &mut Buffers,
        index: LinearIndex,
        x: &[f32],
        inputs: usize,
    ) -> Result<Buffer> {
        let outputs = self.values[index.bias].len();
        let mut y = buffers.take(x.len() / inputs * outputs)?;
        let weight = &self.values[index.weight];
        self.precision
            .matmul_nt(&mut y, Accumulate::Replace, x, weight, inputs, outputs);
        Ok(y)
    }

    /// The norm of dropout(x + bias) + residual.
    fn add_and_norm(
        &self,
        buffers: &mut Buffers,
        index: NormIndex,
        before: Option<Before<'_>>,
        mut x: Buffer,
    ) -> Result<(Buffer, Normalised)> {
        let mut y = buffers.take(x.len())?;
        let mut inverse_deviations = buffers.take(x.len() / self.hidden())?;
        layer_norm::forward(
            self.norm(index),
            before,
            &mut x,
            &mut y,
            &mut inverse_deviations,
        );
        let normalised = Normalised {
            rows: x,
            inverse_deviations,
        };
        Ok((y, normalised))
    }

    /// The logits, and what the backward pass needs.
    fn forward(&self, buffers: &mut Buffers, frozen: Frozen) -> Result<(Buffer, Tape)> {
        let layers = self.config.num_hidden_layers;
        self.check_memory(layers.saturating_sub(frozen.layers))?;
        let (states, encoder) = self.encode(buffers, frozen)?;
        let (logits, head) = self.head(buffers, states)?;
        Ok((logits, Tape { encoder, head }))
    }

    /// The last states as far as they are read, and what the backward pass needs of the blocks that aren't frozen.
    fn encode(&self, buffers: &mut Buffers, frozen: Frozen) -> Result<(Buffer, EncoderTape)> {
        let first_kept = frozen.layers;
        let (mut states, embeddings_norm) = self.embed(buffers)?;
        let mut layers = Vec::new();
        for (number, layer) in self.table.layers.iter().enumerate() {
            let mut input = None;
            if number >= first_kept && self.gradient_checkpointing {
                let mut copy = buffers.take(states.len())?;
                copy.copy_from_slice(&states);
                input = Some(copy);
            }
            let (output, tape) = together(|| self.layer(buffers, number, layer, states))?;
            states = output;
            match input {
                Some(input) => {
                    tape.give(buffers);
                    layers.push(LayerRecord::Input(input));
                }
                None if number >= first_kept => layers.push(LayerRecord::Whole(Box::new(tape))),
                None => tape.give(buffers),
            }
        }
        let mut final_norm = None;
        if let Some(index) = self.table.final_norm {
            let (output, normalised) = self.add_and_norm(buffers, index, None, states)?;
            states = output;
            final_norm = Some(normalised);
        }
        let tape = EncoderTape {
            embeddings_norm,
            layers,
            final_norm,
        };
        Ok((states, tape))
    }

    /// `BertEmbeddings`.
    fn embed(&self, buffers: &mut Buffers) -> Result<(Buffer, Normalised)> {
        let (hidden, index) = (self.hidden(), self.table.embeddings);
        let row = |table: usize, row: usize| &self.values[table][row * hidden..(row + 1) * hidden];
        let mut sums = buffers.take(self.batch.tokens() * hidden)?;
        let mut rows = sums.chunks_exact_mut(hidden);
        for range in self.batch.ranges() {
            for (position, token) in range.enumerate() {
                let word = row(index.word, self.batch.input_ids()[token] as usize);
                let token_type = row(
                    index.token_type,
                    self.batch.token_type_ids()[token] as usize,
                );
                let position = row(index.position, position);
                let Some(out) = rows.next() else { break };
                for (((out, word), token_type), position) in
                    out.iter_mut().zip(word).zip(token_type).zip(position)
                {
                    *out = word + token_type + position;
                }
            }
        }
        let (mut states, normalised) = self.add_and_norm(buffers, index.norm, None, sums)?;
        if let Some(dropout) = self.embeddings_dropout() {
            apply_dropout_rows(&mut states, hidden, dropout);
        }
        Ok((states, normalised))
    }

    /// One block: `BertLayer`. Its output has the rows that go on.
    fn layer(
        &self,
        buffers: &mut Buffers,
        number: usize,
        layer: &LayerIndex,
        input: Buffer,
    ) -> Result<(Buffer, LayerTape)> {
        let hidden = self.hidden();
        let mut first = Buffer::default();
        if let Some(rows) = self.rows(number) {
            first = buffers.take(rows.len() * hidden)?;
            for (out, row) in first.chunks_exact_mut(hidden).zip(rows) {
                out.copy_from_slice(&input[row * hidden..(row + 1) * hidden]);
            }
        }
        let states = self.attention_input(number, &input, &first);
        let mut adapters: [Buffer; 6] = Default::default();
        let (mut context, attention) =
            self.attention(buffers, (number, layer), states, &mut adapters)?;
        let mut adapt =
            |buffers: &mut Buffers, projection: Projection, x: &[f32], y: &mut [f32]| {
                self.adapt(buffers, (number, projection), x, y)
                    .map(|reduced| adapters[projection as usize] = reduced)
            };
        let mut output = self.product(buffers, layer.attention_output, &context, hidden)?;
        adapt(buffers, Projection::AttentionOutput, &context, &mut output)?;
        let before = Before {
            bias: &self.values[layer.attention_output.bias],
            residual: states.going_on,
            dropout: self.layer_dropout(number, dropout_site::attention_output(number)),
        };
        let (middle, attention_norm) =
            self.add_and_norm(buffers, layer.attention_norm, Some(before), output)?;

        let mut inner = self.product(buffers, layer.intermediate, &middle, hidden)?;
        adapt(buffers, Projection::Intermediate, &middle, &mut inner)?;
        let mut activated = buffers.take(inner.len())?;
        activation::forward(
            self.config.hidden_act,
            &mut inner,
            &self.values[layer.intermediate.bias],
            &mut activated,
        );
        let mut output = self.product(
            buffers,
            layer.output,
            &activated,
            self.config.intermediate_size,
        )?;
        adapt(buffers, Projection::Output, &activated, &mut output)?;
        buffers.give(activated);
        let before = Before {
            bias: &self.values[layer.output.bias],
            residual: &middle,
            dropout: self.layer_dropout(number, dropout_site::feed_forward_output(number)),
        };
        let (output, output_norm) =
            self.add_and_norm(buffers, layer.output_norm, Some(before), output)?;
        let (mut input, mut middle) = (input, middle);
        let is_read = |readers: &[Projection]| {
            let is_target = |lora: LoraConfig| readers.iter().any(|&p| lora.targets.contains(p));
            self.table.lora.is_none_or(is_target)
        };
        // Where some rows alone go on, adapters of keys and values read the input, or attention does which has no keys.
        let reads_input = self.rows(number).is_some() || is_read(&Projection::ALL[..3]);
        for (buffer, is_read) in [
            (&mut input, reads_input),
            (&mut first, is_read(&[Projection::Query])),
            (&mut context, is_read(&[Projection::AttentionOutput])),
            (&mut middle, is_read(&[Projection::Intermediate])),
        ] {
            if !is_read {
                buffers.give(std::mem::take(buffer));
            }
        }
        let tape = LayerTape {
            input,
            first,
            attention,
            context,
            attention_norm,
            middle,
            inner,
            output_norm,
            adapters,
        };
        Ok((output, tape))
    }

    /// (what the pooler reads, or nothing; what pooling gives), [sequences, hidden_size] each.
    fn pool(&self, buffers: &mut Buffers, states: Buffer) -> Result<(Buffer, Buffer)> {
        let hidden = self.hidden();
        if self.reads_first_only() {
            let Some(index) = self.table.pooler else {
                return Ok((Buffer::default(), states));
            };
            let mut dense = self.linear(buffers, Precision::Float32, index, &states, hidden)?;
            for value in dense.iter_mut() {
                *value = value.tanh();
            }
            return Ok((states, dense));
        }
        let mut means = buffers.take(self.batch.len() * hidden)?;
        for (out, range) in means.chunks_exact_mut(hidden).zip(self.batch.ranges()) {
            let share = 1.0 / range.len() as f32;
            out.fill(0.0);
            for row in states[range.start * hidden..range.end * hidden].chunks_exact(hidden) {
                for (out, value) in out.iter_mut().zip(row) {
                    *out += value * share;
                }
            }
        }
        buffers.give(states);
        Ok((Buffer::default(), means))
    }

    /// Pooling, dropout and classifier.
    fn head(&self, buffers: &mut Buffers, states: Buffer) -> Result<(Buffer, HeadTape)> {
        let hidden = self.hidden();
        let (first, pooled) = self.pool(buffers, states)?;
        let mut dropped = buffers.take(pooled.len())?;
        copy_dropout_rows(&mut dropped, &pooled, hidden, self.classifier_dropout());
        let logits = self.linear(
            buffers,
            Precision::Float32,
            self.table.classifier,
            &dropped,
            hidden,
        )?;
        let tape = HeadTape {
            first,
            pooled,
            dropped,
        };
        Ok((logits, tape))
    }

    /// What becomes of a linear layer's weight's gradient.
    pub(super) fn of_weights(&self) -> Accumulate<'static> {
        match self.replaces_weight_gradients {
            true => Accumulate::Replace,
            false => Accumulate::Add,
        }
    }

    /// A linear layer's gradients from the derivative by its output, where it isn't frozen.
    pub(super) fn add_linear_gradients(
        &self,
        precision: Precision,
        index: LinearIndex,
        dy: &[f32],
        x: &[f32],
        inputs: usize,
        gradients: &mut Gradients,
    ) {
        if gradients[index.weight].is_empty() {
            return;
        }
        let outputs = self.values[index.bias].len();
        add_bias_gradient(&mut gradients[index.bias], dy);
        precision.matmul_tn(
            &mut gradients[index.weight],
            self.of_weights(),
            dy,
            x,
            inputs,
            outputs,
        );
    }

    /// The derivative by a linear layer's input.
    pub(super) fn input_derivative(
        &self,
        precision: Precision,
        index: LinearIndex,
        dy: &[f32],
        accumulate: Accumulate<'_>,
        inputs: usize,
        dx: &mut [f32],
    ) {
        let outputs = self.values[index.bias].len();
        precision.matmul(
            dx,
            accumulate,
            dy,
            &self.values[index.weight],
            inputs,
            outputs,
        );
    }

    /// Through a norm, in place.
    fn norm_backward(
        &self,
        index: NormIndex,
        normalised: &Normalised,
        dy: &mut [f32],
        gradients: &mut Gradients,
    ) {
        let mut weight_gradient = std::mem::take(&mut gradients[index.weight]);
        layer_norm::backward(
            &self.values[index.weight],
            &normalised.rows,
            &normalised.inverse_deviations,
            dy,
            &mut weight_gradient,
            &mut gradients[index.bias],
        );
        gradients[index.weight] = weight_gradient;
    }

    fn backward(
        &self,
        buffers: &mut Buffers,
        frozen: Frozen,
        tape: Tape,
        dlogits: &[f32],
        gradients: &mut Gradients,
    ) -> Result<()> {
        let EncoderTape {
            embeddings_norm,
            layers,
            final_norm,
        } = tape.encoder;
        let is_frozen = |part| frozen.contains(part, self.config.num_hidden_layers);
        let mut dstates = self.head_backward(buffers, tape.head, dlogits, gradients)?;
        if let (Some(index), Some(normalised)) = (self.table.final_norm, final_norm) {
            if !is_frozen(Part::FinalNorm) {
                self.norm_backward(index, &normalised, &mut dstates, gradients);
            }
            normalised.give(buffers);
        }
        let kept = self.table.layers.iter().enumerate().skip(frozen.layers);
        let embeddings_are_trained = !gradients[self.table.embeddings.word].is_empty();
        for ((number, layer), record) in kept.zip(layers).rev() {
            let goes_on = number > frozen.layers || embeddings_are_trained;
            dstates = together(|| {
                let tape = match record {
                    LayerRecord::Whole(tape) => *tape,
                    LayerRecord::Input(input) => {
                        let (output, tape) = self.layer(buffers, number, layer, input)?;
                        buffers.give(output);
                        tape
                    }
                };
                self.layer_backward(buffers, (number, layer), tape, dstates, goes_on, gradients)
            })?;
        }
        if embeddings_are_trained {
            self.embed_backward(&embeddings_norm, &mut dstates, gradients);
        }
        embeddings_norm.give(buffers);
        buffers.give(dstates);
        Ok(())
    }

    /// From the logits' derivative to that by the last states which are read.
    fn head_backward(
        &self,
        buffers: &mut Buffers,
        tape: HeadTape,
        dlogits: &[f32],
        gradients: &mut Gradients,
    ) -> Result<Buffer> {
        let hidden = self.hidden();
        let classifier = self.table.classifier;
        self.add_linear_gradients(
            Precision::Float32,
            classifier,
            dlogits,
            &tape.dropped,
            hidden,
            gradients,
        );
        let mut dpooled = buffers.take(tape.pooled.len())?;
        self.input_derivative(
            Precision::Float32,
            classifier,
            dlogits,
            Accumulate::Replace,
            hidden,
            &mut dpooled,
        );
        if let Some(dropout) = self.classifier_dropout() {
            apply_dropout_rows(&mut dpooled, hidden, dropout);
        }
        if let Some(index) = self.table.pooler {
            for (derivative, value) in dpooled.iter_mut().zip(tape.pooled.iter()) {
                *derivative *= 1.0 - value * value;
            }
            self.add_linear_gradients(
                Precision::Float32,
                index,
                &dpooled,
                &tape.first,
                hidden,
                gradients,
            );
            let mut dfirst = buffers.take(dpooled.len())?;
            self.input_derivative(
                Precision::Float32,
                index,
                &dpooled,
                Accumulate::Replace,
                hidden,
                &mut dfirst,
            );
            buffers.give(std::mem::replace(&mut dpooled, dfirst));
        }
        tape.give(buffers);
        if self.reads_first_only() {
            return Ok(dpooled);
        }
        let mut dstates = buffers.take(self.batch.tokens() * hidden)?;
        for (derivative, range) in dpooled.chunks_exact(hidden).zip(self.batch.ranges()) {
            let share = 1.0 / range.len() as f32;
            for row in dstates[range.start * hidden..range.end * hidden].chunks_exact_mut(hidden) {
                for (out, value) in row.iter_mut().zip(derivative) {
                    *out = value * share;
                }
            }
        }
        buffers.give(dpooled);
        Ok(dstates)
    }

    /// From the derivative by a block's output to that by its input, which is arbitrary where the way doesn't go on below.
    fn layer_backward(
        &self,
        buffers: &mut Buffers,
        (number, layer): (usize, &LayerIndex),
        tape: LayerTape,
        mut dstates: Buffer,
        goes_on: bool,
        gradients: &mut Gradients,
    ) -> Result<Buffer> {
        let (hidden, inner_size) = (self.hidden(), self.config.intermediate_size);
        // `dstates` is the derivative by the sum before the norm: it goes on to the residual as it is.
        self.norm_backward(
            layer.output_norm,
            &tape.output_norm,
            &mut dstates,
            gradients,
        );
        let site = dropout_site::feed_forward_output(number);
        let doutput = self.through_dropout(buffers, &dstates, number, site)?;
        let mut dinner = buffers.take(tape.inner.len())?;
        self.input_derivative(
            self.precision,
            layer.output,
            &doutput,
            Accumulate::Replace,
            inner_size,
            &mut dinner,
        );
        let adapter = self.adapter(number, Projection::Output);
        let mut dreduced = Buffer::default();
        if let Some(adapter) = &adapter {
            let reduced = &tape.adapters[Projection::Output as usize];
            dreduced = adapter.backward_up(buffers, &doutput, reduced, gradients)?;
            adapter.add_input_derivative(buffers, &dreduced, &mut dinner)?;
        }
        let mut activated = buffers.take(tape.inner.len())?;
        activation::backward(
            self.config.hidden_act,
            &tape.inner,
            &mut activated,
            &mut dinner,
        );
        self.add_linear_gradients(
            self.precision,
            layer.output,
            &doutput,
            &activated,
            inner_size,
            gradients,
        );
        if let Some(adapter) = &adapter {
            adapter.backward_down(buffers, &dreduced, &activated, gradients)?;
        }
        buffers.give(dreduced);
        buffers.give(activated);
        buffers.give(doutput);
        self.add_linear_gradients(
            self.precision,
            layer.intermediate,
            &dinner,
            &tape.middle,
            hidden,
            gradients,
        );
        self.input_derivative(
            self.precision,
            layer.intermediate,
            &dinner,
            Accumulate::Add,
            hidden,
            &mut dstates,
        );
        let adapter = (number, Projection::Intermediate);
        self.adapter_backward(
            buffers,
            adapter,
            &tape.adapters,
            (&dinner, &tape.middle),
            Some(&mut dstates),
            gradients,
        )?;
        buffers.give(dinner);

        self.norm_backward(
            layer.attention_norm,
            &tape.attention_norm,
            &mut dstates,
            gradients,
        );
        let site = dropout_site::attention_output(number);
        let doutput = self.through_dropout(buffers, &dstates, number, site)?;
        self.add_linear_gradients(
            self.precision,
            layer.attention_output,
            &doutput,
            &tape.context,
            hidden,
            gradients,
        );
        let mut dcontext = buffers.take(doutput.len())?;
        self.input_derivative(
            self.precision,
            layer.attention_output,
            &doutput,
            Accumulate::Replace,
            hidden,
            &mut dcontext,
        );
        let adapter = (number, Projection::AttentionOutput);
        self.adapter_backward(
            buffers,
            adapter,
            &tape.adapters,
            (&doutput, &tape.context),
            Some(&mut dcontext),
            gradients,
        )?;
        buffers.give(doutput);
        let input = self.attention_input(number, &tape.input, &tape.first);
        let dinput = self.attention_backward(
            buffers,
            (number, layer),
            (&tape.attention, input, &tape.adapters),
            (&dcontext, dstates),
            goes_on,
            gradients,
        )?;
        buffers.give(dcontext);
        tape.give(buffers);
        Ok(dinput)
    }

    /// A projection's adapter, if it has one: its gradients from the derivative by the projection's output and from its
    /// input, and its part of the derivative by that input, where that is wanted.
    pub(super) fn adapter_backward(
        &self,
        buffers: &mut Buffers,
        (number, projection): (usize, Projection),
        reduced: &[Buffer; 6],
        (dy, x): (&[f32], &[f32]),
        dx: Option<&mut Buffer>,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let Some(adapter) = self.adapter(number, projection) else {
            return Ok(());
        };
        let reduced = &reduced[projection as usize];
        let dreduced = adapter.backward_up(buffers, dy, reduced, gradients)?;
        adapter.backward_down(buffers, &dreduced, x, gradients)?;
        if let Some(dx) = dx {
            adapter.add_input_derivative(buffers, &dreduced, dx)?;
        }
        buffers.give(dreduced);
        Ok(())
    }

    /// A copy of `dy` behind block `number`'s dropout of that site.
    fn through_dropout(
        &self,
        buffers: &mut Buffers,
        dy: &[f32],
        number: usize,
        site: u32,
    ) -> Result<Buffer> {
        let mut dx = buffers.take(dy.len())?;
        let dropout = self.layer_dropout(number, site);
        copy_dropout_rows(&mut dx, dy, self.hidden(), dropout);
        Ok(dx)
    }

    /// To the embedding tables.
    fn embed_backward(
        &self,
        normalised: &Normalised,
        dstates: &mut [f32],
        gradients: &mut Gradients,
    ) {
        let (hidden, index) = (self.hidden(), self.table.embeddings);
        if let Some(dropout) = self.embeddings_dropout() {
            apply_dropout_rows(dstates, hidden, dropout);
        }
        self.norm_backward(index.norm, normalised, dstates, gradients);
        let padding = match self.table.specs[index.word].kind {
            ParameterKind::Embedding { padding_row } => padding_row,
            _ => None,
        };
        let mut rows = dstates.chunks_exact(hidden);
        let mut add = |table: usize, row: usize, derivative: &[f32]| {
            let out = &mut gradients[table][row * hidden..(row + 1) * hidden];
            for (out, value) in out.iter_mut().zip(derivative) {
                *out += value;
            }
        };
        for range in self.batch.ranges() {
            for (position, token) in range.enumerate() {
                let Some(derivative) = rows.next() else { break };
                let word = self.batch.input_ids()[token];
                if Some(word) != padding {
                    add(index.word, word as usize, derivative);
                }
                add(
                    index.token_type,
                    self.batch.token_type_ids()[token] as usize,
                    derivative,
                );
                add(index.position, position, derivative);
            }
        }
    }
}

impl Normalised {
    fn give(self, buffers: &mut Buffers) {
        buffers.give(self.rows);
        buffers.give(self.inverse_deviations);
    }
}

impl LayerTape {
    fn give(self, buffers: &mut Buffers) {
        for buffer in [
            self.input,
            self.first,
            self.context,
            self.middle,
            self.inner,
        ] {
            buffers.give(buffer);
        }
        for buffer in self.adapters {
            buffers.give(buffer);
        }
        self.attention.give(buffers);
        self.attention_norm.give(buffers);
        self.output_norm.give(buffers);
    }
}

impl HeadTape {
    fn give(self, buffers: &mut Buffers) {
        buffers.give(self.first);
        buffers.give(self.pooled);
        buffers.give(self.dropped);
    }
}
