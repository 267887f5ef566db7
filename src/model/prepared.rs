//! One set of values in the form that inference on the CPU reads: each layer's weights packed in the order of the
//! kernels' loads, query, key and value as one layer.
//!
//! It is made by the first prediction with a set in a precision, belongs to that set and goes with it. Packed weights
//! are as large as those that they are made of (42 MB of all-MiniLM-L6-v2's 91 MB in float32, 11 of 23 MB in int8), but
//! for the last block's keys and values in float32, which are there twice (1 MB more), and in bfloat16, where the
//! processor has products of it, half as large as in float32 (21 MB beside the float32 set). Embeddings, biases and
//! norms are shared with the set.

use std::sync::Arc;

use super::config::{BertConfig, Pooling};
use super::parameters::{LayerIndex, LinearIndex, NormIndex, ParameterTable, Values};
use super::quantized::QuantizedValues;
use crate::error::{Error, Result};
use crate::memory;
use crate::ops::arena::Arena;
use crate::ops::first_attention::NARROWEST_HEAD;
use crate::ops::layer_norm::Norm;
use crate::ops::linear::{Bfloat16Weights, Float32Weights, Int8Weights, Linear, Weights};

/// A whole model's.
#[derive(Debug)]
pub struct Prepared {
    pub(super) word: Table,
    pub(super) position: Table,
    pub(super) token_type: Table,
    pub(super) embeddings_norm: PreparedNorm,
    pub(super) layers: Vec<PreparedLayer>,
    /// The last block's, for answers that read each sequence's first state alone; `None` where those compute its keys and
    /// values too.
    pub(super) first_attention: Option<PreparedFirstAttention>,
    pub(super) final_norm: Option<PreparedNorm>,
    pub(super) pooler: Option<Linear>,
    pub(super) classifier: Linear,
}

/// One block's.
#[derive(Debug)]
pub(super) struct PreparedLayer {
    /// Query, key and value, a section each.
    pub qkv: Linear,
    pub attention_output: Linear,
    pub attention_norm: PreparedNorm,
    pub intermediate: Linear,
    pub output: Linear,
    pub output_norm: PreparedNorm,
}

/// The projections of keys and values, head by head, as attention of first tokens applies them to its queries and
/// contexts ([`first_attention`](crate::ops::first_attention)).
#[derive(Debug)]
pub(super) struct PreparedFirstAttention {
    /// From a head's query to one in the states' own space; a section a head.
    pub key: Linear,
    /// From a head's sum of states to its context; a section a head.
    pub value: Linear,
}

/// An embedding table.
#[derive(Debug)]
pub(super) enum Table {
    Float32(Values),
    Int8 {
        numbers: Arc<Vec<i8>>,
        scales: Arc<Vec<f32>>,
    },
}

impl Table {
    /// Adds row `index` to `out`.
    pub fn add(&self, index: usize, out: &mut [f32]) {
        let row = index * out.len()..(index + 1) * out.len();
        match self {
            Table::Float32(values) => {
                for (out, value) in out.iter_mut().zip(&values[row]) {
                    *out += value;
                }
            }
            Table::Int8 { numbers, scales } => {
                let scale = scales[index];
                for (out, &number) in out.iter_mut().zip(&numbers[row]) {
                    *out += f32::from(number) * scale;
                }
            }
        }
    }
}

/// A layer norm's constants.
#[derive(Debug)]
pub(super) struct PreparedNorm {
    weight: Values,
    bias: Values,
    epsilon: f32,
}

impl PreparedNorm {
    /// As the kernel takes them.
    pub fn norm(&self) -> Norm<'_> {
        Norm {
            weight: &self.weight,
            bias: &self.bias,
            epsilon: self.epsilon,
        }
    }
}

/// The values of a model without adapters, in its table's order.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Float32(&'a [Values]),
    /// The blocks' weights are rounded; the head stays float32.
    Bfloat16(&'a [Values]),
    Int8(&'a [QuantizedValues]),
}

impl<'a> Source<'a> {
    /// Parameter `index` as it is.
    fn of(self, index: usize) -> Parameter<'a> {
        match self {
            Source::Float32(values) | Source::Bfloat16(values) => {
                Parameter::Float32(&values[index])
            }
            Source::Int8(values) => match &values[index] {
                QuantizedValues::Float32(values) => Parameter::Float32(values),
                QuantizedValues::Int8 { numbers, scales } => Parameter::Int8 { numbers, scales },
            },
        }
    }
}

/// One parameter.
enum Parameter<'a> {
    Float32(&'a Values),
    Int8 {
        numbers: &'a Arc<Vec<i8>>,
        scales: &'a Arc<Vec<f32>>,
    },
}

/// The part of the model that a layer belongs to.
#[derive(Clone, Copy)]
enum Part {
    Block,
    Head,
}

/// Where a model's parameters are, what they are, and where packed weights go.
struct Maker<'a> {
    config: &'a BertConfig,
    source: Source<'a>,
    arena: Arena,
}

impl Maker<'_> {
    /// A parameter that is float32 in any kind of model.
    fn float32(&self, index: usize) -> Result<&Values> {
        match self.source.of(index) {
            Parameter::Float32(values) => Ok(values),
            Parameter::Int8 { .. } => Err(Error::Internal(
                "A parameter that stays float32 is int8; please report this.".into(),
            )),
        }
    }

    fn table(&self, index: usize) -> Table {
        match self.source.of(index) {
            Parameter::Float32(values) => Table::Float32(values.clone()),
            Parameter::Int8 { numbers, scales } => Table::Int8 {
                numbers: numbers.clone(),
                scales: scales.clone(),
            },
        }
    }

    fn norm(&self, index: NormIndex) -> Result<PreparedNorm> {
        Ok(PreparedNorm {
            weight: self.float32(index.weight)?.clone(),
            bias: self.float32(index.bias)?.clone(),
            epsilon: self.config.layer_norm_eps as f32,
        })
    }

    /// Layers of equal size that read the same states, as one. Those of the head are float32 where the blocks' are
    /// bfloat16.
    fn linear<const N: usize>(
        &mut self,
        indices: [LinearIndex; N],
        inputs: usize,
        part: Part,
    ) -> Result<Linear> {
        let mut bias = Vec::new();
        for index in indices {
            let of_layer = self.float32(index.bias)?;
            memory::reserve(&mut bias, of_layer.len())?;
            bias.extend_from_slice(of_layer);
        }
        let mut float32: Vec<&[f32]> = Vec::with_capacity(N);
        let mut int8: Vec<(&[i8], &[f32])> = Vec::with_capacity(N);
        for index in indices {
            match self.source.of(index.weight) {
                Parameter::Float32(values) => float32.push(values),
                Parameter::Int8 { numbers, scales } => int8.push((numbers, scales)),
            }
        }
        let arena = &mut self.arena;
        let weights = match (self.source, part) {
            _ if float32.len() < N => Weights::Int8(Int8Weights::new(arena, &int8, inputs)?),
            (Source::Bfloat16(_), Part::Block) => {
                Weights::Bfloat16(Bfloat16Weights::new(arena, &float32, inputs)?)
            }
            _ => Weights::Float32(Float32Weights::new(arena, &float32, inputs)?),
        };
        Ok(Linear { weights, bias })
    }

    /// `None` in int8 and bfloat16, whose keys and values cost little, where pooling reads all states, and where heads
    /// are very narrow.
    fn first_attention(
        &mut self,
        table: &ParameterTable,
    ) -> Result<Option<PreparedFirstAttention>> {
        let (Source::Float32(values), Some(layer)) = (self.source, table.layers.last()) else {
            return Ok(None);
        };
        if !folds_keys(self.config) {
            return Ok(None);
        }
        let (hidden, heads) = (self.config.hidden_size, self.config.num_attention_heads);
        let head_size = self.config.head_size();
        let weight: &[f32] = &values[layer.key.weight];
        let mut turned = memory::room(hidden * hidden)?;
        for head in weight.chunks_exact(head_size * hidden) {
            for input in 0..hidden {
                turned.extend(head[input..].iter().step_by(hidden));
            }
        }
        let key: Vec<&[f32]> = turned.chunks_exact(head_size * hidden).collect();
        let value: Vec<&[f32]> = values[layer.value.weight]
            .chunks_exact(head_size * hidden)
            .collect();
        Ok(Some(PreparedFirstAttention {
            key: Linear {
                weights: Weights::Float32(Float32Weights::of_parts(
                    &mut self.arena,
                    &key,
                    head_size,
                )?),
                bias: memory::filled(0.0, heads * hidden)?,
            },
            value: Linear {
                weights: Weights::Float32(Float32Weights::of_parts(
                    &mut self.arena,
                    &value,
                    hidden,
                )?),
                bias: memory::copied(self.float32(layer.value.bias)?)?,
            },
        }))
    }

    fn layer(&mut self, layer: &LayerIndex) -> Result<PreparedLayer> {
        let (hidden, intermediate) = (self.config.hidden_size, self.config.intermediate_size);
        Ok(PreparedLayer {
            qkv: self.linear([layer.query, layer.key, layer.value], hidden, Part::Block)?,
            attention_output: self.linear([layer.attention_output], hidden, Part::Block)?,
            attention_norm: self.norm(layer.attention_norm)?,
            intermediate: self.linear([layer.intermediate], hidden, Part::Block)?,
            output: self.linear([layer.output], intermediate, Part::Block)?,
            output_norm: self.norm(layer.output_norm)?,
        })
    }
}

/// Whether float32's last block has its [`PreparedFirstAttention`].
fn folds_keys(config: &BertConfig) -> bool {
    config.pooling != Pooling::Mean && config.head_size() >= NARROWEST_HEAD
}

/// Bytes of all packed weights, at most: outputs and inputs are padded to whole tiles.
fn packed_bytes(config: &BertConfig, table: &ParameterTable, source: Source<'_>) -> usize {
    let padded = |size: usize| size.next_multiple_of(64);
    let (hidden, inner) = (padded(config.hidden_size), padded(config.intermediate_size));
    let layer = 4 * hidden * hidden + 2 * hidden * inner;
    let pooler = table.pooler.map_or(0, |_| hidden * hidden);
    let blocks = table.layers.len() * layer;
    let head = pooler + hidden * padded(config.num_labels);
    let weights = blocks + head;
    let first_attention = match folds_keys(config) {
        true => hidden * (hidden + config.num_attention_heads * padded(config.head_size())),
        false => 0,
    };
    match source {
        Source::Float32(_) => 4 * (weights + first_attention),
        Source::Bfloat16(_) => Bfloat16Weights::bytes_of_one() * blocks + 4 * head,
        Source::Int8(_) => weights,
    }
}

impl Prepared {
    /// Packs one set of values. On this thread alone, whoever else waits for it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Unsupported`] for an int8 model whose layers are too long.
    pub(super) fn new(
        config: &BertConfig,
        table: &ParameterTable,
        source: Source<'_>,
    ) -> Result<Prepared> {
        let mut maker = Maker {
            config,
            source,
            arena: Arena::new(packed_bytes(config, table, source))?,
        };
        let hidden = config.hidden_size;
        let layers = memory::collected(table.layers.iter().map(|layer| maker.layer(layer)))?;
        let first_attention = maker.first_attention(table)?;
        let pooler = match table.pooler {
            Some(index) => Some(maker.linear([index], hidden, Part::Head)?),
            None => None,
        };
        let classifier = maker.linear([table.classifier], hidden, Part::Head)?;
        Ok(Prepared {
            word: maker.table(table.embeddings.word),
            position: maker.table(table.embeddings.position),
            token_type: maker.table(table.embeddings.token_type),
            embeddings_norm: maker.norm(table.embeddings.norm)?,
            layers,
            first_attention,
            final_norm: table
                .final_norm
                .map(|index| maker.norm(index))
                .transpose()?,
            pooler,
            classifier,
        })
    }
}
