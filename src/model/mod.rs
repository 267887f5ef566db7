//! BERT itself: its shape, its parameters and its forward and backward pass.

mod attention;
pub mod config;
mod embeddings;
mod encoder;
mod feed_forward;
mod heads;
mod inference;
pub mod lora;
mod packed;
mod packed_attention;
mod packed_lora;
pub mod parameters;
pub mod plain;
mod prepared;
pub mod quantized;

use std::sync::{Mutex, MutexGuard};

use candle_core::{Tensor, Var};

use inference::{Answer, Workspace};

pub use config::{BertConfig, HiddenAct, Pooling, Preset};
pub use lora::{LoraConfig, Projection, Projections};
pub use parameters::{
    Frozen, ParameterKind, ParameterSpec, ParameterTable, Parameters, Prepares, Values, refuse_int8,
};

use crate::cuda;
use crate::data::{Batch, cut_into_batches};
use crate::device::Device;
use crate::error::Result;
use crate::memory;
use crate::ops::{Buffers, Precision};
use crate::random::Dropout;
use crate::threads;

/// What one training pass is about.
#[derive(Debug, Clone, Copy)]
pub struct TrainingPass<'a> {
    /// The sequences.
    pub batch: &'a Batch,
    /// Their dropouts; `None` leaves dropout out.
    pub dropout: Option<Dropout>,
    /// What gets no gradient: no backward pass goes below the lowest part that isn't frozen. Of a model with adapters
    /// only they and the head get one.
    pub frozen: Frozen,
    /// What the blocks' products are computed in.
    pub precision: Precision,
    /// Whether the backward pass computes each block's inside again from its input.
    pub gradient_checkpointing: bool,
    /// Whether the gradients of linear layers' weights ([`ParameterKind::Weight`]) take the place of what is there, so that
    /// it needs no clearing. All others are added to it.
    pub replaces_weight_gradients: bool,
}

impl<'a> TrainingPass<'a> {
    /// Without dropout, nothing frozen.
    pub fn plain(batch: &'a Batch) -> TrainingPass<'a> {
        TrainingPass {
            batch,
            dropout: None,
            frozen: Frozen::default(),
            precision: Precision::Float32,
            gradient_checkpointing: false,
            replaces_weight_gradients: false,
        }
    }
}

/// What the layers of a prediction are computed in: on a GPU their states and the products' operands, on the CPU the
/// operands of linear layers. Sums, norms' statistics, softmax and the head are float32 always. A CPU computes in
/// float32 where float16 is asked for, and int8 models in int8 whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InferencePrecision {
    /// float32 throughout.
    #[default]
    Float32,
    /// bfloat16: float32's range, 8 significant bits.
    BFloat16,
    /// float16: 11 significant bits, and no number beyond 65,504.
    Float16,
}

/// Sequences that are computed together on a GPU outside training, at most.
const MAX_BATCH_SEQUENCES: usize = 256;

/// Tokens that are computed together on a GPU outside training, at most.
const MAX_BATCH_TOKENS: usize = 16_384;

/// A gradient for each parameter, in the table's order, in host memory; of no numbers where the parameter is frozen.
pub type Gradients = Vec<Vec<f32>>;

/// Workspaces that a model keeps for its next predictions, at most.
const MAX_KEPT_WORKSPACES: usize = 8;

/// A model without its values: what is computed, and where.
#[derive(Debug)]
pub struct Model {
    /// Its shape.
    pub config: BertConfig,
    /// Its parameters.
    pub table: ParameterTable,
    /// Where it is computed.
    pub device: Device,
    /// Memory of predictions that have ended.
    workspaces: Mutex<Vec<Workspace>>,
}

impl Model {
    /// A model of a shape that [`BertConfig::validate`] accepts.
    pub fn new(config: BertConfig, device: Device) -> Result<Model> {
        config.validate()?;
        if !device.is_cpu() {
            cuda::check_config(&config)?;
        }
        Ok(Model {
            table: ParameterTable::new(&config),
            config,
            device,
            workspaces: Mutex::default(),
        })
    }

    /// The same with adapters that [`LoraConfig::validate`] accepts.
    pub fn with_lora(config: BertConfig, lora: LoraConfig, device: Device) -> Result<Model> {
        let model = Model::new(config, device)?;
        lora.validate(&model.config)?;
        Ok(Model {
            table: ParameterTable::with_lora(&model.config, lora),
            ..model
        })
    }

    /// Class scores before the softmax, [sequences, num_labels] row by row, without dropout. Any number of sequences, in
    /// memory that doesn't grow with it.
    pub fn logits(&self, parameters: &Parameters, sequences: &Batch) -> Result<Vec<f32>> {
        self.logits_in(InferencePrecision::Float32, parameters, sequences)
    }

    /// The same with what the layers are computed in.
    pub fn logits_in(
        &self,
        precision: InferencePrecision,
        parameters: &Parameters,
        sequences: &Batch,
    ) -> Result<Vec<f32>> {
        match parameters {
            Parameters::Host(_) | Parameters::Int8(_) => {
                inference::answers(self, precision, parameters, sequences, Answer::Logits)
            }
            Parameters::Cuda(values) => in_batches(sequences, self.config.num_labels, |batch| {
                cuda::answers(self, values, batch, precision, cuda::Answer::Logits)
            }),
        }
    }

    /// One vector a sequence, [sequences, hidden_size] row by row, likewise; [`Pooling::Pooler`] only where the model has
    /// one.
    pub fn pooled(
        &self,
        parameters: &Parameters,
        sequences: &Batch,
        pooling: Pooling,
    ) -> Result<Vec<f32>> {
        self.pooled_in(InferencePrecision::Float32, parameters, sequences, pooling)
    }

    /// The same with what the layers are computed in.
    pub fn pooled_in(
        &self,
        precision: InferencePrecision,
        parameters: &Parameters,
        sequences: &Batch,
        pooling: Pooling,
    ) -> Result<Vec<f32>> {
        match parameters {
            Parameters::Host(_) | Parameters::Int8(_) => {
                let answer = Answer::Pooled(pooling);
                inference::answers(self, precision, parameters, sequences, answer)
            }
            Parameters::Cuda(values) => in_batches(sequences, self.config.hidden_size, |batch| {
                let answer = cuda::Answer::Pooled(pooling);
                cuda::answers(self, values, batch, precision, answer)
            }),
        }
    }

    /// Brings values into the form that predictions on the CPU read, as the first of them does otherwise. To be called by
    /// [`threads::run`] or [`threads::run_here`].
    pub fn prepare(&self, parameters: &Parameters, precision: InferencePrecision) -> Result<()> {
        match parameters {
            Parameters::Host(_) | Parameters::Int8(_) => {
                parameters.prepared(self, precision).map(|_| ())
            }
            Parameters::Cuda(_) => Ok(()),
        }
    }

    /// Runs `work` with memory of an earlier prediction, and keeps it for the next.
    fn with_workspace<T>(&self, work: impl FnOnce(&mut Workspace) -> T) -> T {
        let mut workspace = self.kept_workspaces().pop().unwrap_or_default();
        let result = work(&mut workspace);
        let mut kept = self.kept_workspaces();
        if kept.len() < MAX_KEPT_WORKSPACES {
            kept.push(workspace);
        }
        result
    }

    /// [`logits`](Model::logits) by the plain definition.
    pub fn plain_logits(&self, tensors: &[Tensor], batch: &Batch) -> Result<Vec<f32>> {
        let pass = self.plain(tensors, batch, None);
        Ok(pass.logits()?.flatten_all()?.to_vec1()?)
    }

    /// One training pass: the logits, and the gradients added to `gradients` or put there. `loss` gets the logits and
    /// gives the derivative of the loss by each of them. `buffers` are the caller's, so that the memory of training goes
    /// with the trainer.
    pub fn logits_and_gradients(
        &self,
        parameters: &Parameters,
        pass: TrainingPass<'_>,
        loss: impl FnOnce(&[f32]) -> Vec<f32>,
        gradients: &mut Gradients,
        buffers: &mut Buffers,
    ) -> Result<Vec<f32>> {
        let TrainingPass {
            batch,
            dropout,
            frozen,
            precision,
            gradient_checkpointing,
            replaces_weight_gradients,
        } = pass;
        match parameters {
            Parameters::Host(values) => {
                let packed = packed::Packed {
                    gradient_checkpointing,
                    replaces_weight_gradients,
                    ..self.packed(values, batch, dropout, precision)
                };
                packed.logits_and_gradients(buffers, frozen, loss, gradients)
            }
            Parameters::Int8(_) => Err(refuse_int8("training")),
            Parameters::Cuda(values) => {
                if replaces_weight_gradients {
                    for (gradient, spec) in gradients.iter_mut().zip(&self.table.specs) {
                        if spec.kind == ParameterKind::Weight {
                            gradient.fill(0.0);
                        }
                    }
                }
                cuda::logits_and_gradients(self, values, pass, loss, gradients)
            }
        }
    }

    /// [`pooled`](Model::pooled) by the plain definition.
    pub fn plain_pooled(
        &self,
        tensors: &[Tensor],
        batch: &Batch,
        pooling: Pooling,
    ) -> Result<Vec<f32>> {
        let pass = self.plain(tensors, batch, None);
        let pooled = pass.pool(&pass.encoder()?, pooling)?;
        Ok(pooled.flatten_all()?.to_vec1()?)
    }

    /// [`logits_and_gradients`](Model::logits_and_gradients) by the plain definition and candle's backward pass.
    pub fn plain_logits_and_gradients(
        &self,
        tensors: &[Tensor],
        batch: &Batch,
        dropout: Option<Dropout>,
        loss: impl FnOnce(&[f32]) -> Vec<f32>,
        gradients: &mut Gradients,
    ) -> Result<Vec<f32>> {
        // Of what has no gradient nothing is recorded.
        let variables = tensors
            .iter()
            .zip(&*gradients)
            .map(|(tensor, sum)| match sum.is_empty() {
                true => Ok(tensor.detach()),
                false => Ok(Var::from_tensor(tensor)?.into_inner()),
            })
            .collect::<Result<Vec<Tensor>>>()?;
        let logits = self.plain(&variables, batch, dropout).logits()?;
        let values: Vec<f32> = logits.flatten_all()?.to_vec1()?;
        let derivative = Tensor::from_vec(loss(&values), logits.shape(), logits.device())?;
        let store = (logits * derivative)?.sum_all()?.backward()?;
        for ((variable, spec), sum) in variables.iter().zip(&self.table.specs).zip(gradients) {
            if sum.is_empty() {
                continue;
            }
            // A parameter that this batch doesn't reach has no gradient: it is zero.
            let Some(gradient) = store.get(variable) else {
                continue;
            };
            let mut gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
            if let ParameterKind::Embedding {
                padding_row: Some(row),
            } = spec.kind
            {
                let width = spec.shape[1];
                let start = row as usize * width;
                gradient[start..start + width].fill(0.0);
            }
            for (sum, value) in sum.iter_mut().zip(&gradient) {
                *sum += value;
            }
        }
        Ok(values)
    }

    /// The values in host memory of the model without adapters that computes the same: those of the table's
    /// [`base_specs`](ParameterTable::base_specs).
    pub fn merged_values(&self, parameters: &Parameters) -> Result<Vec<Values>> {
        let values = parameters.host()?;
        if self.table.lora.is_none() {
            return Ok(values.into_owned());
        }
        threads::run(|| lora::merge(&self.table, &self.config, &values))
    }

    /// Gradients of zero for every parameter that isn't frozen.
    pub fn zero_gradients(&self, frozen: Frozen) -> Result<Gradients> {
        (0..self.table.specs.len())
            .map(|index| {
                if self.table.is_frozen(index, frozen) {
                    Ok(Vec::new())
                } else {
                    memory::zeroed(self.table.specs[index].len())
                }
            })
            .collect()
    }

    fn kept_workspaces(&self) -> MutexGuard<'_, Vec<Workspace>> {
        self.workspaces.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn packed<'a>(
        &'a self,
        values: &'a [Values],
        batch: &'a Batch,
        dropout: Option<Dropout>,
        precision: Precision,
    ) -> packed::Packed<'a> {
        packed::Packed {
            config: &self.config,
            table: &self.table,
            values,
            batch,
            dropout,
            precision,
            gradient_checkpointing: false,
            replaces_weight_gradients: false,
        }
    }

    fn plain<'a>(
        &'a self,
        tensors: &'a [Tensor],
        batch: &'a Batch,
        dropout: Option<Dropout>,
    ) -> plain::Pass<'a> {
        plain::Pass {
            config: &self.config,
            table: &self.table,
            tensors,
            batch,
            dropout,
        }
    }
}

/// `compute` of all sequences, `width` numbers each, in their order, in batches of similar length.
fn in_batches(
    sequences: &Batch,
    width: usize,
    compute: impl Fn(&Batch) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let length = |index: usize| sequences.range(index).len();
    let mut order = memory::collected((0..sequences.len()).map(Ok))?;
    order.sort_by_key(|&index| length(index));
    let mut all = memory::filled(0f32, sequences.len() * width)?;
    for batch in cut_into_batches(&order, length, MAX_BATCH_SEQUENCES, MAX_BATCH_TOKENS) {
        let batch = &order[batch];
        let rows = compute(&sequences.select(batch))?;
        for (&index, row) in batch.iter().zip(rows.chunks(width)) {
            all[index * width..(index + 1) * width].copy_from_slice(row);
        }
    }
    Ok(all)
}
