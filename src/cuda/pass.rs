//! The forward and backward pass on a GPU over packed tokens: the same function as that of the CPU
//! ([`packed`](crate::model)), of which the tests hold it to every number, dropout included. Of the last block it computes
//! what pooling reads from its attention on; attention itself is of all queries, keys and values here.
//!
//! States are [tokens, hidden_size], float32 or, in mixed precision, bfloat16 (predictions: or float16) with sums and
//! parameters in float32. The head's products are float32 always.

use std::cell::RefCell;

use super::adapter::Adapter;
use super::arena::Arena;
use super::batch::{BACKWARD_ROWS, CudaBatch, FORWARD_ROWS, List, Readers};
use super::gpu::{Argument, Gpu, Kind, Memory, Product, THREADS};
use super::libraries::Address;
use super::values::{CudaValues, Matrices};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::parameters::{LayerIndex, LinearIndex, NormIndex, Part};
use crate::model::plain::{dropout_site, probability_dropout};
use crate::model::{
    BertConfig, Frozen, Gradients, HiddenAct, InferencePrecision, Model, ParameterKind, Pooling,
    Projection, TrainingPass,
};
use crate::ops::Precision;
use crate::random::{Dropout, DropoutMask, FACTORS};

/// Columns of a head, at most: what a warp of the attention kernels holds.
const MAX_HEAD_SIZE: usize = 128;

/// Shared memory of a block, at most, without asking for more.
const SHARED_BYTES: usize = 48 * 1024;

const WARP: usize = 32;

/// Warps of a block of the attention kernels, as in `kernels/kernels.cu`.
const ATTENTION_WARPS: usize = 4;

/// Blocks that the rows of one sequence are spread by.
const SPREAD_BLOCKS: usize = 16;

/// Parts that a sum over all rows is made in, at most.
const MAX_PARTS: usize = 64;

/// Refuses models that the kernels aren't made for.
pub fn check_config(config: &BertConfig) -> Result<()> {
    let (head, hidden) = (config.head_size(), config.hidden_size);
    if head > MAX_HEAD_SIZE || hidden * 4 > SHARED_BYTES || config.num_attention_heads > 65_535 {
        return Err(Error::Unsupported(format!(
            "This model has heads of {head} columns and states of {hidden}; a GPU computes heads of up to \
             {MAX_HEAD_SIZE} and states of up to {}. Use the device cpu.",
            SHARED_BYTES / 4
        )));
    }
    Ok(())
}

/// What is computed of each sequence.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// Class scores [num_labels].
    Logits,
    /// One vector [hidden_size].
    Pooled(Pooling),
}

/// The answers for all sequences of a batch, in their order, without dropout.
pub fn answers(
    model: &Model,
    values: &CudaValues,
    batch: &Batch,
    precision: InferencePrecision,
    answer: Answer,
) -> Result<Vec<f32>> {
    let kind = match precision {
        InferencePrecision::Float32 => Kind::Float32,
        InferencePrecision::BFloat16 => Kind::BFloat16,
        InferencePrecision::Float16 => Kind::Float16,
    };
    let pooling = match answer {
        Answer::Logits => model.config.pooling,
        Answer::Pooled(pooling) => pooling,
    };
    let pass = Pass::new(model, values, batch, None, (kind, pooling), false)?;
    let (states, _) = pass.encode(None, false)?;
    let (memory, width) = match answer {
        Answer::Logits => (pass.head(&states)?.0, model.config.num_labels),
        Answer::Pooled(_) => (pass.pool(&states)?.1, model.config.hidden_size),
    };
    let mut numbers = memory::filled(0f32, batch.len() * width)?;
    memory.read(&mut numbers)?;
    Ok(numbers)
}

/// One training pass, as [`Model::logits_and_gradients`], with gradients added to on the GPU. `loss` makes the derivative
/// by the logits [sequences, num_labels] of them, both on the GPU.
pub(super) fn train(
    model: &Model,
    values: &CudaValues,
    training: TrainingPass<'_>,
    loss: impl FnOnce(&Memory) -> Result<Memory>,
    sums: &Sums,
) -> Result<()> {
    let TrainingPass {
        batch,
        dropout,
        frozen,
        precision,
        gradient_checkpointing,
        // Sums are added to, whoever clears them.
        replaces_weight_gradients: _,
    } = training;
    // The backward kernels are compiled for these two.
    let kind = match precision {
        Precision::Float32 => Kind::Float32,
        Precision::BFloat16 => Kind::BFloat16,
    };
    let pooling = model.config.pooling;
    let pass = Pass::new(model, values, batch, dropout, (kind, pooling), true)?;
    let (states, encoder) = pass.encode(Some(frozen), gradient_checkpointing)?;
    let (logits, head) = pass.head(&states)?;
    drop(states);
    let derivative = loss(&logits)?;
    pass.backward(frozen, encoder, head, &derivative, sums)
}

/// The same with logits and gradients in host memory.
pub fn logits_and_gradients(
    model: &Model,
    values: &CudaValues,
    training: TrainingPass<'_>,
    loss: impl FnOnce(&[f32]) -> Vec<f32>,
    gradients: &mut Gradients,
) -> Result<Vec<f32>> {
    let lengths = memory::collected(gradients.iter().map(|gradient| Ok(gradient.len())))?;
    assert!(
        model.table.has_lengths(&lengths),
        "the gradients are of another model"
    );
    let sums = Arena::new(values.gpu(), lengths)?;
    let mut numbers = memory::filled(0f32, training.batch.len() * model.config.num_labels)?;
    let loss = |logits: &Memory| {
        logits.read(&mut numbers)?;
        let derivative = loss(&numbers);
        assert_eq!(derivative.len(), numbers.len());
        values.gpu().upload(&derivative)
    };
    train(model, values, training, loss, &sums.addresses()?)?;
    sums.read(|index, sums| {
        for (out, value) in gradients[index].iter_mut().zip(sums) {
            *out += value;
        }
        Ok(())
    })?;
    Ok(numbers)
}

/// Where each parameter's gradient is on the GPU, float32, in the table's order and as large; `None` where it is frozen.
pub(super) type Sums = [Option<Address>];

/// Which tokens' states there are.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    count: usize,
    /// Each row's token, on the GPU; `None` where the rows are all tokens.
    tokens: Option<Address>,
}

/// What one pass works on.
pub(super) struct Pass<'a> {
    pub gpu: &'static Gpu,
    model: &'a Model,
    values: &'a CudaValues,
    /// The matrices in the states' kind, where that isn't float32.
    rounded: Option<&'a Matrices>,
    tokens: usize,
    sequences: usize,
    /// How the last states are pooled.
    pooling: Pooling,
    batch: CudaBatch,
    dropout: Option<Dropout>,
    pub kind: Kind,
    part_sums: RefCell<PartSums>,
}

/// Sums over parts that one launch makes, at most: those of one block.
const PART_SUMS: usize = 10;

/// `PartSum` in `kernels/kernels.cu`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct PartSum {
    sum: Address,
    parts: Address,
    count: i32,
    width: i32,
}

/// Sums over parts that wait for a launch.
#[derive(Default)]
struct PartSums {
    list: Vec<PartSum>,
    /// What the parts stand in.
    scratch: Vec<Memory>,
}

impl PartSums {
    fn launch(&mut self, gpu: &Gpu) -> Result<()> {
        let mut all = [PartSum::default(); PART_SUMS];
        all[..self.list.len()].copy_from_slice(&self.list);
        let width = self.list.iter().map(|sum| sum.width as usize).max();
        gpu.launch(
            ("add_parts", ""),
            (width.unwrap_or(0).div_ceil(THREADS), self.list.len()),
            THREADS,
            0,
            &mut [Argument::of(all)],
        )?;
        // What comes later on the GPU may have the memory.
        self.scratch.clear();
        self.list.clear();
        Ok(())
    }
}

/// What a norm's backward pass needs: (x - mean) / deviation, and 1 / deviation.
struct Normalised {
    rows: Memory,
    inverse_deviations: Memory,
}

/// What a block's backward pass needs.
struct LayerTape {
    input: Memory,
    query: Memory,
    key: Memory,
    value: Memory,
    log_sums: Memory,
    context: Memory,
    /// The context's rows that go on, where those aren't all.
    first_context: Option<Memory>,
    attention_norm: Normalised,
    middle: Memory,
    /// The feed-forward block's inside, before its activation.
    inner: Memory,
    output_norm: Normalised,
    /// What each projection's adapter computed on its way.
    adapters: [Option<Memory>; 6],
}

/// What is kept of a block.
enum LayerRecord {
    Whole(Box<LayerTape>),
    /// Its input, from which the rest is computed again.
    Input(Memory),
}

struct EncoderTape {
    embeddings_norm: Normalised,
    layers: Vec<LayerRecord>,
    final_norm: Option<Normalised>,
}

struct HeadTape {
    /// What the pooler reads, and its output before tanh; none where there is no pooler.
    pooler: Option<(Memory, Memory)>,
    /// What the classifier reads.
    dropped: Memory,
}

/// Holds what the kernels go by without a look: the sizes of all values, and where a batch's numbers point.
///
/// # Panics
/// Where the values aren't the model's, or the batch isn't one that it reads.
fn assert_sizes(model: &Model, values: &CudaValues, batch: &Batch) -> Result<()> {
    let Model { config, table, .. } = model;
    config.validate()?;
    check_config(config)?;
    assert!(table.is_of(config), "the parameters are of another model");
    assert!(values.are_of(table), "the values are of another model");
    let all_below = |numbers: &[u32], limit: usize| numbers.iter().all(|&n| (n as usize) < limit);
    assert!(
        all_below(batch.input_ids(), config.vocab_size)
            && all_below(batch.token_type_ids(), config.type_vocab_size)
            && batch.longest() <= config.max_position_embeddings,
        "a token, its type or its position isn't one of the model's"
    );
    Ok(())
}

impl<'a> Pass<'a> {
    fn new(
        model: &'a Model,
        values: &'a CudaValues,
        batch: &Batch,
        dropout: Option<Dropout>,
        (kind, pooling): (Kind, Pooling),
        is_training: bool,
    ) -> Result<Pass<'a>> {
        assert_sizes(model, values, batch)?;
        let gpu = values.gpu();
        let rounded = values.rounded(&model.table, kind)?;
        let words = model.table.embeddings.word;
        let padding = match model.table.specs[words].kind {
            ParameterKind::Embedding { padding_row } => padding_row,
            _ => None,
        };
        // Kernels count rows and columns in 32 bits, and products do.
        if batch.tokens() > i32::MAX as usize / 64 {
            return Err(Error::InvalidArgument(format!(
                "A batch of {} tokens is too large for a GPU; use a smaller batch_size or max_length.",
                batch.tokens()
            )));
        }
        Ok(Pass {
            gpu,
            model,
            values,
            rounded,
            tokens: batch.tokens(),
            sequences: batch.len(),
            pooling,
            batch: CudaBatch::new(gpu, batch, is_training, padding)?,
            dropout,
            kind,
            part_sums: RefCell::default(),
        })
    }

    fn config(&self) -> &'a BertConfig {
        &self.model.config
    }

    fn hidden(&self) -> usize {
        self.config().hidden_size
    }

    /// Parameter number `index`, float32.
    fn value(&self, index: usize) -> &Memory {
        self.values.value(index)
    }

    /// A matrix in the kind that products of states read.
    pub fn matrix(&self, index: usize) -> &Memory {
        match self.rounded.and_then(|all| all[index].as_ref()) {
            Some(rounded) => rounded,
            None => self.value(index),
        }
    }

    pub fn mask(&self, site: u32, probability: f64) -> Option<DropoutMask> {
        let dropout = self.dropout?;
        (probability > 0.0).then(|| dropout.mask(site, probability))
    }

    fn hidden_mask(&self, site: u32) -> Option<DropoutMask> {
        self.mask(site, self.config().hidden_dropout_prob)
    }

    /// Every token.
    pub fn all(&self) -> Rows {
        Rows {
            count: self.tokens,
            tokens: None,
        }
    }

    /// The tokens whose states go on behind block `number`'s attention.
    pub fn rows(&self, number: usize) -> Rows {
        let is_last = number + 1 == self.config().num_hidden_layers;
        if is_last && self.reads_first_only() {
            Rows {
                count: self.sequences,
                tokens: Some(self.batch.offsets.address),
            }
        } else {
            self.all()
        }
    }

    /// The tokens whose last states are read.
    fn last_rows(&self) -> Rows {
        self.rows(self.config().num_hidden_layers - 1)
    }

    /// Whether of the last states only each sequence's first is read.
    fn reads_first_only(&self) -> bool {
        self.pooling != Pooling::Mean
    }

    /// States [rows, width] of arbitrary content.
    pub fn states(&self, rows: Rows, width: usize) -> Result<Memory> {
        self.gpu.memory(rows.count * width * self.kind.bytes())
    }

    /// Rows of states of that width.
    fn count(&self, states: &Memory, width: usize) -> usize {
        states.bytes() / (width * self.kind.bytes())
    }

    /// These rows of the states of all tokens; `None` where they are all.
    fn taken(&self, states: &Memory, rows: Rows) -> Result<Option<Memory>> {
        let Some(tokens) = rows.tokens else {
            return Ok(None);
        };
        let hidden = self.hidden();
        let out = self.states(rows, hidden)?;
        self.kernel(
            "take_rows",
            (blocks_of_groups(rows.count, hidden), 1),
            THREADS,
            0,
            &mut [
                states.into(),
                tokens.into(),
                (&out).into(),
                rows.count.into(),
                hidden.into(),
            ],
        )?;
        Ok(Some(out))
    }

    /// The derivative by all tokens' states from that by these rows', zero for the others.
    fn spread(&self, derivative: Memory, rows: Rows) -> Result<Memory> {
        if rows.tokens.is_none() {
            return Ok(derivative);
        }
        let out = self.states(self.all(), self.hidden())?;
        self.kernel(
            "spread_rows",
            (self.sequences, SPREAD_BLOCKS),
            self.hidden()
                .div_ceil(FACTORS)
                .next_multiple_of(WARP)
                .min(THREADS),
            0,
            &mut [
                (&derivative).into(),
                self.batch.offsets.address.into(),
                (&out).into(),
                self.hidden().into(),
            ],
        )?;
        Ok(out)
    }

    pub fn model(&self) -> &'a Model {
        self.model
    }

    // ---- Kernels ----

    /// A kernel over states.
    fn kernel(
        &self,
        name: &'static str,
        grid: (usize, usize),
        threads: usize,
        shared_bytes: usize,
        arguments: &mut [Argument],
    ) -> Result<()> {
        let suffix = self.kind.suffix();
        self.gpu
            .launch((name, suffix), grid, threads, shared_bytes, arguments)
    }

    /// (blocks, threads, shared bytes) of a kernel that has a warp for each row, and room for a row if `keeps_row`.
    fn warps(&self, rows: usize, keeps_row: bool) -> (usize, usize, usize) {
        let row = if keeps_row { 4 * self.hidden() } else { 0 };
        let warps = SHARED_BYTES.checked_div(row).unwrap_or(4).clamp(1, 4);
        (rows.div_ceil(warps), warps * WARP, warps * row)
    }

    /// The norm of dropout(x + bias) + residual.
    fn add_and_norm(
        &self,
        index: NormIndex,
        before: Option<(usize, &Memory, Option<DropoutMask>)>,
        x: Memory,
        rows: Rows,
    ) -> Result<(Memory, Normalised)> {
        let y = self.states(rows, self.hidden())?;
        let inverse_deviations = self.gpu.memory(4 * rows.count)?;
        let (blocks, threads, shared) = self.warps(rows.count, true);
        let (bias, residual, mask) = match before {
            Some((bias, residual, mask)) => (Some(self.value(bias)), Some(residual), mask),
            None => (None, None, None),
        };
        self.kernel(
            "norm_forward",
            (blocks, 1),
            threads,
            shared,
            &mut [
                (&x).into(),
                bias.into(),
                residual.into(),
                mask.into(),
                rows.tokens.unwrap_or(0).into(),
                self.value(index.weight).into(),
                self.value(index.bias).into(),
                (self.config().layer_norm_eps as f32).into(),
                (&y).into(),
                (&inverse_deviations).into(),
                rows.count.into(),
                self.hidden().into(),
            ],
        )?;
        let normalised = Normalised {
            rows: x,
            inverse_deviations,
        };
        Ok((y, normalised))
    }

    /// Through a norm, in place.
    fn norm_backward(
        &self,
        index: NormIndex,
        normalised: &Normalised,
        dy: &Memory,
        sums: &Sums,
    ) -> Result<()> {
        let width = self.hidden();
        let rows = self.count(dy, width);
        if let (Some(weight), Some(bias)) = (sums[index.weight], sums[index.bias]) {
            let (parts, rows_of_part) = parts(rows);
            let scratch = self.gpu.memory(2 * 4 * parts * width)?;
            let bias_parts = scratch.at() + (4 * parts * width) as Address;
            self.kernel(
                "norm_gradients",
                (width.div_ceil(THREADS), parts),
                THREADS,
                0,
                &mut [
                    dy.into(),
                    (&normalised.rows).into(),
                    scratch.at().into(),
                    bias_parts.into(),
                    rows.into(),
                    width.into(),
                    rows_of_part.into(),
                ],
            )?;
            let both = [(weight, scratch.at()), (bias, bias_parts)];
            self.add_parts(&both, scratch, parts, width)?;
        }
        let (blocks, threads, _) = self.warps(rows, false);
        self.kernel(
            "norm_backward",
            (blocks, 1),
            threads,
            0,
            &mut [
                self.value(index.weight).into(),
                (&normalised.rows).into(),
                (&normalised.inverse_deviations).into(),
                dy.into(),
                rows.into(),
                width.into(),
            ],
        )
    }

    /// Adds sums over `count` parts, which stand in `scratch` from the second address of each pair on, to what stands at the
    /// first: when the pass ends, or when there are so many of them that a launch is full.
    fn add_parts(
        &self,
        sums: &[(Address, Address)],
        scratch: Memory,
        count: usize,
        width: usize,
    ) -> Result<()> {
        let mut waiting = self.part_sums.borrow_mut();
        for &(sum, parts) in sums {
            if waiting.list.len() == PART_SUMS {
                waiting.launch(self.gpu)?;
            }
            waiting.list.push(PartSum {
                sum,
                parts,
                count: count as i32,
                width: width as i32,
            });
        }
        waiting.scratch.push(scratch);
        Ok(())
    }

    /// Adds the sum over all rows.
    fn add_row_sums(
        &self,
        kind: Kind,
        sum: Address,
        dy: &Memory,
        rows: usize,
        width: usize,
    ) -> Result<()> {
        let (parts, rows_of_part) = parts(rows);
        let scratch = self.gpu.memory(4 * parts * width)?;
        self.gpu.launch(
            ("sum_rows", kind.suffix()),
            (width.div_ceil(THREADS), parts),
            THREADS,
            0,
            &mut [
                dy.into(),
                (&scratch).into(),
                rows.into(),
                width.into(),
                rows_of_part.into(),
            ],
        )?;
        self.add_parts(&[(sum, scratch.at())], scratch, parts, width)
    }

    /// out = x · factors, or out += x · factors.
    pub fn dropout_rows(
        &self,
        kind: Kind,
        (x, out): (&Memory, &Memory),
        mask: Option<DropoutMask>,
        adds: bool,
        (rows, width): (Rows, usize),
    ) -> Result<()> {
        self.gpu.launch(
            ("dropout_rows", kind.suffix()),
            (blocks_of_groups(rows.count, width), 1),
            THREADS,
            0,
            &mut [
                x.into(),
                out.into(),
                mask.into(),
                rows.tokens.unwrap_or(0).into(),
                adds.into(),
                rows.count.into(),
                width.into(),
            ],
        )
    }

    /// x ← x + bias.
    fn add_bias(&self, kind: Kind, x: &Memory, bias: usize, rows: usize) -> Result<()> {
        let bias = self.value(bias);
        let width = bias.bytes() / 4;
        self.gpu.launch(
            ("add_bias", kind.suffix()),
            (blocks_of_groups(rows, width), 1),
            THREADS,
            0,
            &mut [x.into(), bias.into(), rows.into(), width.into()],
        )
    }

    /// x ← x + bias, y = activation(x).
    fn activate(
        &self,
        kind: Kind,
        activation: Activation,
        x: &Memory,
        bias: usize,
        y: &Memory,
        rows: usize,
    ) -> Result<()> {
        let bias = self.value(bias);
        let width = bias.bytes() / 4;
        self.gpu.launch(
            ("activation_forward", kind.suffix()),
            (blocks_of_groups(rows, width), 1),
            THREADS,
            0,
            &mut [
                x.into(),
                bias.into(),
                y.into(),
                (activation as usize).into(),
                rows.into(),
                width.into(),
            ],
        )
    }

    /// y = activation(x), dy ← dy · its derivative.
    fn activation_backward(
        &self,
        kind: Kind,
        activation: Activation,
        (x, y, dy): (&Memory, &Memory, &Memory),
        (rows, width): (usize, usize),
    ) -> Result<()> {
        self.gpu.launch(
            ("activation_backward", kind.suffix()),
            (blocks_of_groups(rows, width), 1),
            THREADS,
            0,
            &mut [
                x.into(),
                y.into(),
                dy.into(),
                (activation as usize).into(),
                rows.into(),
                width.into(),
            ],
        )
    }

    /// A kernel of attention, for this model's heads.
    fn launch_attention(&self, work: Attention, arguments: &mut [Argument]) -> Result<()> {
        let (heads, head_size) = (self.config().num_attention_heads, self.config().head_size());
        let [tensor32, tensor64, to32, to64, to128] = work.kernels();
        let (name, shared) = match (self.has_tensor_cores(), head_size) {
            // Their shared memory has a fixed size.
            (true, ..=32) => (tensor32, 0),
            (true, _) => (tensor64, 0),
            (false, ..=32) => (to32, work.shared_bytes(head_size)),
            (false, 33..=64) => (to64, work.shared_bytes(head_size)),
            (false, _) => (to128, work.shared_bytes(head_size)),
        };
        let blocks = self.attention_tiles(work).len / 2;
        let threads = ATTENTION_WARPS * WARP;
        self.kernel(name, (blocks, heads), threads, shared, arguments)
    }

    /// The rows that each block of a kernel of attention has.
    fn attention_tiles(&self, work: Attention) -> List {
        match work {
            _ if self.has_tensor_cores() => self.batch.tensor_tiles,
            Attention::Forward => self.batch.forward_tiles,
            Attention::BackwardQuery | Attention::BackwardKey => self.batch.backward_tiles,
        }
    }

    /// Whether attention's products are made by the tensor cores, whose kernels read eight numbers of 16 bits at a time.
    fn has_tensor_cores(&self) -> bool {
        let head_size = self.config().head_size();
        self.kind != Kind::Float32 && head_size.is_multiple_of(8) && head_size <= 64
    }

    fn probability_mask(&self, number: usize) -> (Option<DropoutMask>, usize) {
        let mask = self.mask(
            dropout_site::attention_probabilities(number),
            self.config().attention_probs_dropout_prob,
        );
        match mask.map(|mask| probability_dropout(self.config(), mask)) {
            Some(dropout) => (Some(dropout.mask), dropout.stride),
            None => (None, 0),
        }
    }

    fn attention_scale(&self) -> f32 {
        1.0 / (self.config().head_size() as f32).sqrt()
    }

    // ---- Products ----

    /// y = factor · x Wᵀ + kept · y.
    pub fn product(
        &self,
        (x, weight, y): (&Memory, &Memory, &Memory),
        (inputs, outputs): (usize, usize),
        (alpha, beta): (f32, f32),
    ) -> Result<()> {
        let product = Product {
            rows: self.count(y, outputs),
            columns: outputs,
            inner: inputs,
            a_is_transposed: false,
            b_is_transposed: true,
            alpha,
            beta,
            operands: self.kind,
            result: self.kind,
        };
        self.gpu.product(product, x.at(), weight.at(), y.at())
    }

    /// dx = factor · dy W + kept · dx.
    pub fn product_back(
        &self,
        (dy, weight, dx): (&Memory, &Memory, &Memory),
        (inputs, outputs): (usize, usize),
        (alpha, beta): (f32, f32),
    ) -> Result<()> {
        let product = Product {
            rows: self.count(dx, inputs),
            columns: inputs,
            inner: outputs,
            a_is_transposed: false,
            b_is_transposed: false,
            alpha,
            beta,
            operands: self.kind,
            result: self.kind,
        };
        self.gpu.product(product, dy.at(), weight.at(), dx.at())
    }

    /// gradient += dyᵀ x, float32.
    pub fn add_gradient(
        &self,
        gradient: Address,
        (dy, x): (&Memory, &Memory),
        (inputs, outputs): (usize, usize),
    ) -> Result<()> {
        let product = Product {
            rows: outputs,
            columns: inputs,
            inner: self.count(x, inputs),
            a_is_transposed: true,
            b_is_transposed: false,
            alpha: 1.0,
            beta: 1.0,
            operands: self.kind,
            result: Kind::Float32,
        };
        self.gpu.product(product, dy.at(), x.at(), gradient)
    }

    /// x Wᵀ of a projection, without its bias.
    fn projected(&self, index: LinearIndex, x: &Memory, inputs: usize) -> Result<Memory> {
        let outputs = self.outputs(index);
        let y = self.gpu.memory(x.bytes() / inputs * outputs)?;
        self.product(
            (x, self.matrix(index.weight), &y),
            (inputs, outputs),
            (1.0, 0.0),
        )?;
        Ok(y)
    }

    fn outputs(&self, index: LinearIndex) -> usize {
        self.model.table.specs[index.bias].len()
    }

    /// A linear layer's gradients, where it isn't frozen.
    fn add_linear_gradients(
        &self,
        index: LinearIndex,
        dy: &Memory,
        x: &Memory,
        inputs: usize,
        sums: &Sums,
    ) -> Result<()> {
        let (Some(weight), Some(bias)) = (sums[index.weight], sums[index.bias]) else {
            return Ok(());
        };
        let outputs = self.outputs(index);
        self.add_row_sums(self.kind, bias, dy, self.count(dy, outputs), outputs)?;
        self.add_gradient(weight, (dy, x), (inputs, outputs))
    }

    // ---- Forward ----

    /// The last states as far as they are read, and in training what the backward pass needs of the blocks that aren't frozen.
    fn encode(
        &self,
        training: Option<Frozen>,
        gradient_checkpointing: bool,
    ) -> Result<(Memory, EncoderTape)> {
        let first_kept = training.map_or(usize::MAX, |frozen| frozen.layers);
        let (mut states, embeddings_norm) = self.embed()?;
        let mut layers = Vec::new();
        for (number, layer) in self.model.table.layers.iter().enumerate() {
            let input = if number >= first_kept && gradient_checkpointing {
                Some(states.copy()?)
            } else {
                None
            };
            let (output, tape) = self.layer(number, layer, states)?;
            states = output;
            match input {
                Some(input) => layers.push(LayerRecord::Input(input)),
                None if number >= first_kept => layers.push(LayerRecord::Whole(Box::new(tape))),
                None => {}
            }
        }
        let mut final_norm = None;
        if let Some(index) = self.model.table.final_norm {
            let (output, normalised) = self.add_and_norm(index, None, states, self.last_rows())?;
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
    fn embed(&self) -> Result<(Memory, Normalised)> {
        let (hidden, index) = (self.hidden(), self.model.table.embeddings);
        let all = self.all();
        let (rows, states) = (self.states(all, hidden)?, self.states(all, hidden)?);
        let inverse_deviations = self.gpu.memory(4 * self.tokens)?;
        let (blocks, threads, shared) = self.warps(self.tokens, true);
        self.kernel(
            "embed_forward",
            (blocks, 1),
            threads,
            shared,
            &mut [
                self.value(index.word).into(),
                self.value(index.token_type).into(),
                self.value(index.position).into(),
                self.batch.input_ids.address.into(),
                self.batch.token_type_ids.address.into(),
                self.batch.positions.address.into(),
                self.value(index.norm.weight).into(),
                self.value(index.norm.bias).into(),
                (self.config().layer_norm_eps as f32).into(),
                self.hidden_mask(dropout_site::EMBEDDINGS).into(),
                (&rows).into(),
                (&states).into(),
                (&inverse_deviations).into(),
                self.tokens.into(),
                hidden.into(),
            ],
        )?;
        let normalised = Normalised {
            rows,
            inverse_deviations,
        };
        Ok((states, normalised))
    }

    /// One block: `BertLayer`. Its output has the rows that go on.
    fn layer(
        &self,
        number: usize,
        layer: &LayerIndex,
        input: Memory,
    ) -> Result<(Memory, LayerTape)> {
        let (hidden, inner_size) = (self.hidden(), self.config().intermediate_size);
        let mut adapters = [const { None }; 6];
        let mut adapt = |projection: Projection, x: &Memory, y: &Memory| -> Result<()> {
            if let Some(adapter) = Adapter::new(self, number, projection) {
                adapters[projection as usize] = Some(adapter.forward(x, y)?);
            }
            Ok(())
        };
        let mut with_bias = |projection: Projection| -> Result<Memory> {
            let index = layer.projection(projection);
            let y = self.projected(index, &input, hidden)?;
            self.add_bias(self.kind, &y, index.bias, self.tokens)?;
            adapt(projection, &input, &y)?;
            Ok(y)
        };
        let query = with_bias(Projection::Query)?;
        let key = with_bias(Projection::Key)?;
        let value = with_bias(Projection::Value)?;
        let (context, log_sums) = self.attention(number, &query, &key, &value)?;
        let rows = self.rows(number);
        let first_input = self.taken(&input, rows)?;
        let first_context = self.taken(&context, rows)?;
        let going_on = first_context.as_ref().unwrap_or(&context);
        let output = self.projected(layer.attention_output, going_on, hidden)?;
        adapt(Projection::AttentionOutput, going_on, &output)?;
        let before = (
            layer.attention_output.bias,
            first_input.as_ref().unwrap_or(&input),
            self.hidden_mask(dropout_site::attention_output(number)),
        );
        let (middle, attention_norm) =
            self.add_and_norm(layer.attention_norm, Some(before), output, rows)?;

        let inner = self.projected(layer.intermediate, &middle, hidden)?;
        adapt(Projection::Intermediate, &middle, &inner)?;
        let activated = self.states(rows, inner_size)?;
        self.activate(
            self.kind,
            self.config().hidden_act.into(),
            &inner,
            layer.intermediate.bias,
            &activated,
            rows.count,
        )?;
        let output = self.projected(layer.output, &activated, inner_size)?;
        adapt(Projection::Output, &activated, &output)?;
        drop(activated);
        let before = (
            layer.output.bias,
            &middle,
            self.hidden_mask(dropout_site::feed_forward_output(number)),
        );
        let (output, output_norm) =
            self.add_and_norm(layer.output_norm, Some(before), output, rows)?;
        let tape = LayerTape {
            input,
            query,
            key,
            value,
            log_sums,
            context,
            first_context,
            attention_norm,
            middle,
            inner,
            output_norm,
            adapters,
        };
        Ok((output, tape))
    }

    /// (context, the logarithms of the probabilities' sums).
    fn attention(
        &self,
        number: usize,
        query: &Memory,
        key: &Memory,
        value: &Memory,
    ) -> Result<(Memory, Memory)> {
        let (heads, head_size) = (self.config().num_attention_heads, self.config().head_size());
        let context = self.states(self.all(), self.hidden())?;
        let log_sums = self.gpu.memory(4 * self.tokens * heads)?;
        let (mask, stride) = self.probability_mask(number);
        self.launch_attention(
            Attention::Forward,
            &mut [
                query.into(),
                key.into(),
                value.into(),
                self.batch.offsets.address.into(),
                self.attention_tiles(Attention::Forward).address.into(),
                mask.into(),
                stride.into(),
                self.attention_scale().into(),
                (&context).into(),
                (&log_sums).into(),
                heads.into(),
                head_size.into(),
            ],
        )?;
        Ok((context, log_sums))
    }

    /// A row for each sequence.
    fn pooled_rows(&self) -> Rows {
        Rows {
            count: self.sequences,
            tokens: None,
        }
    }

    /// Where each sequence begins among the last states, or nothing where there is one of each.
    fn offsets_of_last(&self) -> Address {
        if self.reads_first_only() {
            0
        } else {
            self.batch.offsets.address
        }
    }

    /// (what the pooler reads and its output before tanh, if it is asked for; what pooling gives), float32.
    fn pool(&self, states: &Memory) -> Result<(Option<(Memory, Memory)>, Memory)> {
        let hidden = self.hidden();
        let pooled = self.gpu.memory(4 * self.sequences * hidden)?;
        self.kernel(
            "pool_forward",
            (self.sequences, 1),
            THREADS,
            0,
            &mut [
                states.into(),
                self.offsets_of_last().into(),
                (&pooled).into(),
                hidden.into(),
            ],
        )?;
        match self.model.table.pooler {
            Some(index) if self.pooling == Pooling::Pooler => {
                let dense = self.head_product(index, &pooled)?;
                let activated = self.gpu.memory(dense.bytes())?;
                self.activate(
                    Kind::Float32,
                    Activation::Tanh,
                    &dense,
                    index.bias,
                    &activated,
                    self.sequences,
                )?;
                Ok((Some((pooled, dense)), activated))
            }
            _ => Ok((None, pooled)),
        }
    }

    /// x Wᵀ of the head, float32, a row a sequence.
    fn head_product(&self, index: LinearIndex, x: &Memory) -> Result<Memory> {
        let (inputs, outputs) = (self.hidden(), self.outputs(index));
        let y = self.gpu.memory(4 * self.sequences * outputs)?;
        let product = Product {
            rows: self.sequences,
            columns: outputs,
            inner: inputs,
            a_is_transposed: false,
            b_is_transposed: true,
            alpha: 1.0,
            beta: 0.0,
            operands: Kind::Float32,
            result: Kind::Float32,
        };
        self.gpu
            .product(product, x.at(), self.value(index.weight).at(), y.at())?;
        Ok(y)
    }

    /// Pooling, dropout and classifier.
    fn head(&self, states: &Memory) -> Result<(Memory, HeadTape)> {
        let (pooler, pooled) = self.pool(states)?;
        let mask = self.mask(dropout_site::CLASSIFIER, self.config().classifier_dropout());
        self.dropout_rows(
            Kind::Float32,
            (&pooled, &pooled),
            mask,
            false,
            (self.pooled_rows(), self.hidden()),
        )?;
        let index = self.model.table.classifier;
        let logits = self.head_product(index, &pooled)?;
        self.add_bias(Kind::Float32, &logits, index.bias, self.sequences)?;
        let tape = HeadTape {
            pooler,
            dropped: pooled,
        };
        Ok((logits, tape))
    }

    // ---- Backward ----

    fn backward(
        &self,
        frozen: Frozen,
        encoder: EncoderTape,
        head: HeadTape,
        dlogits: &Memory,
        sums: &Sums,
    ) -> Result<()> {
        let table = &self.model.table;
        let mut dstates = self.head_backward(head, dlogits, sums)?;
        if let (Some(index), Some(normalised)) = (table.final_norm, encoder.final_norm)
            && !frozen.contains(Part::FinalNorm, self.config().num_hidden_layers)
        {
            self.norm_backward(index, &normalised, &dstates, sums)?;
        }
        let kept = table.layers.iter().enumerate().skip(frozen.layers);
        let embeddings_are_trained = sums[table.embeddings.word].is_some();
        for ((number, layer), record) in kept.zip(encoder.layers).rev() {
            let tape = match record {
                LayerRecord::Whole(tape) => *tape,
                LayerRecord::Input(input) => self.layer(number, layer, input)?.1,
            };
            let goes_on = number > frozen.layers || embeddings_are_trained;
            dstates = self.layer_backward((number, layer), tape, dstates, goes_on, sums)?;
        }
        if embeddings_are_trained {
            self.embed_backward(&encoder.embeddings_norm, &dstates, sums)?;
        }
        self.part_sums.borrow_mut().launch(self.gpu)
    }

    /// From the logits' derivative to that by the last states which are read.
    fn head_backward(&self, tape: HeadTape, dlogits: &Memory, sums: &Sums) -> Result<Memory> {
        let hidden = self.hidden();
        let mut dpooled =
            self.head_linear_backward(self.model.table.classifier, dlogits, &tape.dropped, sums)?;
        let mask = self.mask(dropout_site::CLASSIFIER, self.config().classifier_dropout());
        self.dropout_rows(
            Kind::Float32,
            (&dpooled, &dpooled),
            mask,
            false,
            (self.pooled_rows(), hidden),
        )?;
        if let (Some(index), Some((first, dense))) = (self.model.table.pooler, tape.pooler) {
            let again = self.gpu.memory(dense.bytes())?;
            self.activation_backward(
                Kind::Float32,
                Activation::Tanh,
                (&dense, &again, &dpooled),
                (self.sequences, hidden),
            )?;
            dpooled = self.head_linear_backward(index, &dpooled, &first, sums)?;
        }
        let dstates = self.states(self.last_rows(), hidden)?;
        self.kernel(
            "pool_backward",
            (self.sequences, 1),
            THREADS,
            0,
            &mut [
                (&dpooled).into(),
                self.offsets_of_last().into(),
                (&dstates).into(),
                hidden.into(),
            ],
        )?;
        Ok(dstates)
    }

    /// A linear layer of the head: its gradients, and the derivative by its input.
    fn head_linear_backward(
        &self,
        index: LinearIndex,
        dy: &Memory,
        x: &Memory,
        sums: &Sums,
    ) -> Result<Memory> {
        let (inputs, outputs) = (self.hidden(), self.outputs(index));
        let product = Product {
            rows: outputs,
            columns: inputs,
            inner: self.sequences,
            a_is_transposed: true,
            b_is_transposed: false,
            alpha: 1.0,
            beta: 1.0,
            operands: Kind::Float32,
            result: Kind::Float32,
        };
        if let (Some(weight), Some(bias)) = (sums[index.weight], sums[index.bias]) {
            self.add_row_sums(Kind::Float32, bias, dy, self.sequences, outputs)?;
            self.gpu.product(product, dy.at(), x.at(), weight)?;
        }
        let dx = self.gpu.memory(4 * self.sequences * inputs)?;
        let product = Product {
            rows: self.sequences,
            inner: outputs,
            a_is_transposed: false,
            beta: 0.0,
            ..product
        };
        self.gpu
            .product(product, dy.at(), self.value(index.weight).at(), dx.at())?;
        Ok(dx)
    }

    /// A copy of `dy` behind the dropout of that site.
    fn through_dropout(&self, dy: &Memory, rows: Rows, site: u32) -> Result<Memory> {
        let dx = self.states(rows, self.hidden())?;
        let mask = self.hidden_mask(site);
        let size = (rows, self.hidden());
        self.dropout_rows(self.kind, (dy, &dx), mask, false, size)?;
        Ok(dx)
    }

    /// From the derivative by a block's output to that by its input, which is arbitrary where the way doesn't go on below.
    fn layer_backward(
        &self,
        (number, layer): (usize, &LayerIndex),
        tape: LayerTape,
        dstates: Memory,
        goes_on: bool,
        sums: &Sums,
    ) -> Result<Memory> {
        let (hidden, inner_size) = (self.hidden(), self.config().intermediate_size);
        let adapter = |projection| Adapter::new(self, number, projection);
        let reduced = |projection: Projection| tape.adapters[projection as usize].as_ref();
        // `dstates` is the derivative by the sum before the norm: it goes on to the residual as it is.
        self.norm_backward(layer.output_norm, &tape.output_norm, &dstates, sums)?;
        let rows = self.rows(number);
        let site = dropout_site::feed_forward_output(number);
        let doutput = self.through_dropout(&dstates, rows, site)?;
        let dinner = self.states(rows, inner_size)?;
        let weight = self.matrix(layer.output.weight);
        self.product_back(
            (&doutput, weight, &dinner),
            (inner_size, hidden),
            (1.0, 0.0),
        )?;
        let mut below = None;
        if let (Some(adapter), Some(reduced)) =
            (adapter(Projection::Output), reduced(Projection::Output))
        {
            let dreduced = adapter.backward_up(&doutput, reduced, sums)?;
            adapter.add_input_derivative(&dreduced, &dinner)?;
            below = Some((adapter, dreduced));
        }
        let activated = self.states(rows, inner_size)?;
        self.activation_backward(
            self.kind,
            self.config().hidden_act.into(),
            (&tape.inner, &activated, &dinner),
            (rows.count, inner_size),
        )?;
        self.add_linear_gradients(layer.output, &doutput, &activated, inner_size, sums)?;
        if let Some((adapter, dreduced)) = below {
            adapter.backward_down(&dreduced, &activated, sums)?;
        }
        drop((activated, doutput));
        self.add_linear_gradients(layer.intermediate, &dinner, &tape.middle, hidden, sums)?;
        let weight = self.matrix(layer.intermediate.weight);
        self.product_back(
            (&dinner, weight, &dstates),
            (hidden, inner_size),
            (1.0, 1.0),
        )?;
        if let (Some(adapter), Some(reduced)) = (
            adapter(Projection::Intermediate),
            reduced(Projection::Intermediate),
        ) {
            adapter.backward(reduced, (&dinner, &tape.middle), Some(&dstates), sums)?;
        }
        drop(dinner);

        self.norm_backward(layer.attention_norm, &tape.attention_norm, &dstates, sums)?;
        let site = dropout_site::attention_output(number);
        let doutput = self.through_dropout(&dstates, rows, site)?;
        let context = tape.first_context.as_ref().unwrap_or(&tape.context);
        self.add_linear_gradients(layer.attention_output, &doutput, context, hidden, sums)?;
        let dcontext = self.states(rows, hidden)?;
        let weight = self.matrix(layer.attention_output.weight);
        self.product_back((&doutput, weight, &dcontext), (hidden, hidden), (1.0, 0.0))?;
        if let (Some(adapter), Some(reduced)) = (
            adapter(Projection::AttentionOutput),
            reduced(Projection::AttentionOutput),
        ) {
            adapter.backward(reduced, (&doutput, context), Some(&dcontext), sums)?;
        }
        drop(doutput);
        // Attention and the residual beside it are of all tokens.
        let dcontext = self.spread(dcontext, rows)?;
        let dstates = match goes_on {
            true => self.spread(dstates, rows)?,
            false => dstates,
        };
        let derivatives = self.attention_backward(number, &tape, &dcontext)?;
        drop(dcontext);
        let projections = [Projection::Query, Projection::Key, Projection::Value];
        for (projection, derivative) in projections.into_iter().zip(derivatives) {
            let index = layer.projection(projection);
            self.add_linear_gradients(index, &derivative, &tape.input, hidden, sums)?;
            if goes_on {
                let weight = self.matrix(index.weight);
                self.product_back(
                    (&derivative, weight, &dstates),
                    (hidden, hidden),
                    (1.0, 1.0),
                )?;
            }
            if let (Some(adapter), Some(reduced)) = (adapter(projection), reduced(projection)) {
                let dx = goes_on.then_some(&dstates);
                adapter.backward(reduced, (&derivative, &tape.input), dx, sums)?;
            }
        }
        Ok(dstates)
    }

    /// The derivatives by query, key and value.
    fn attention_backward(
        &self,
        number: usize,
        tape: &LayerTape,
        dcontext: &Memory,
    ) -> Result<[Memory; 3]> {
        let (heads, head_size) = (self.config().num_attention_heads, self.config().head_size());
        let hidden = self.hidden();
        let deltas = self.gpu.memory(4 * self.tokens * heads)?;
        let (blocks, threads, _) = self.warps(self.tokens * heads, false);
        self.kernel(
            "attention_deltas",
            (blocks, 1),
            threads,
            0,
            &mut [
                (&tape.context).into(),
                dcontext.into(),
                (&deltas).into(),
                self.tokens.into(),
                heads.into(),
                head_size.into(),
            ],
        )?;
        let states = || self.states(self.all(), hidden);
        let (dquery, dkey, dvalue) = (states()?, states()?, states()?);
        let (mask, stride) = self.probability_mask(number);
        let launch = |work: Attention, results: &[&Memory]| {
            let mut arguments: Vec<Argument> = vec![
                (&tape.query).into(),
                (&tape.key).into(),
                (&tape.value).into(),
                dcontext.into(),
                (&tape.log_sums).into(),
                (&deltas).into(),
                self.batch.offsets.address.into(),
                self.attention_tiles(work).address.into(),
                mask.into(),
                stride.into(),
                self.attention_scale().into(),
            ];
            arguments.extend(results.iter().map(|&result| Argument::from(result)));
            arguments.extend([heads.into(), head_size.into()]);
            self.launch_attention(work, &mut arguments)
        };
        launch(Attention::BackwardQuery, &[&dquery])?;
        launch(Attention::BackwardKey, &[&dkey, &dvalue])?;
        Ok([dquery, dkey, dvalue])
    }

    /// To the embedding tables.
    fn embed_backward(&self, normalised: &Normalised, dstates: &Memory, sums: &Sums) -> Result<()> {
        let (hidden, index) = (self.hidden(), self.model.table.embeddings);
        if let Some(mask) = self.hidden_mask(dropout_site::EMBEDDINGS) {
            let size = (self.all(), hidden);
            self.dropout_rows(self.kind, (dstates, dstates), Some(mask), false, size)?;
        }
        self.norm_backward(index.norm, normalised, dstates, sums)?;
        let tables = [index.word, index.token_type, index.position];
        for (table, readers) in tables.into_iter().zip(self.batch.readers.iter().flatten()) {
            let Some(sum) = sums[table] else { continue };
            let Readers {
                rows,
                starts,
                part_starts,
                tokens,
            } = readers;
            let parts = part_starts.len - 1;
            let scratch = self.gpu.memory(4 * parts * hidden)?;
            self.kernel(
                "embedding_parts",
                (parts, 1),
                THREADS,
                0,
                &mut [
                    dstates.into(),
                    part_starts.address.into(),
                    tokens.address.into(),
                    (&scratch).into(),
                    hidden.into(),
                ],
            )?;
            self.gpu.launch(
                ("embedding_gradients", ""),
                (rows.len, 1),
                THREADS,
                0,
                &mut [
                    sum.into(),
                    rows.address.into(),
                    starts.address.into(),
                    (&scratch).into(),
                    hidden.into(),
                ],
            )?;
        }
        Ok(())
    }
}

/// Blocks of a kernel of which each thread has [`FACTORS`] columns of a row.
fn blocks_of_groups(rows: usize, width: usize) -> usize {
    (rows * width.div_ceil(FACTORS)).div_ceil(THREADS)
}

/// (parts, rows of each) of a sum over `rows` rows: the same for the same number of rows.
fn parts(rows: usize) -> (usize, usize) {
    let rows_of_part = rows.div_ceil(MAX_PARTS).max(16);
    (rows.div_ceil(rows_of_part), rows_of_part)
}

/// What a kernel of attention computes.
#[derive(Debug, Clone, Copy)]
enum Attention {
    Forward,
    BackwardQuery,
    BackwardKey,
}

impl Attention {
    /// The kernels' names: by tensor cores for heads of up to 32 and 64 columns, without for heads of up to 32, 64 and 128.
    fn kernels(self) -> [&'static str; 5] {
        match self {
            Attention::Forward => [
                "tensor_attention_forward32",
                "tensor_attention_forward64",
                "attention_forward1",
                "attention_forward2",
                "attention_forward4",
            ],
            Attention::BackwardQuery => [
                "tensor_attention_backward_query32",
                "tensor_attention_backward_query64",
                "attention_backward_query1",
                "attention_backward_query2",
                "attention_backward_query4",
            ],
            Attention::BackwardKey => [
                "tensor_attention_backward_key32",
                "tensor_attention_backward_key64",
                "attention_backward_key1",
                "attention_backward_key2",
                "attention_backward_key4",
            ],
        }
    }

    /// Shared memory of a block without tensor cores: float32 rows of both sides.
    fn shared_bytes(self, head_size: usize) -> usize {
        let own = match self {
            Attention::Forward => FORWARD_ROWS * head_size,
            Attention::BackwardQuery | Attention::BackwardKey => 2 * BACKWARD_ROWS * head_size,
        };
        4 * (own + 2 * WARP * (head_size + 1))
    }
}

/// An activation's number in `kernels/kernels.cu`.
#[derive(Debug, Clone, Copy)]
enum Activation {
    Gelu = 0,
    GeluTanh = 1,
    Relu = 2,
    Tanh = 3,
}

impl From<HiddenAct> for Activation {
    fn from(act: HiddenAct) -> Activation {
        match act {
            HiddenAct::Gelu => Activation::Gelu,
            HiddenAct::GeluTanh => Activation::GeluTanh,
            HiddenAct::Relu => Activation::Relu,
        }
    }
}
