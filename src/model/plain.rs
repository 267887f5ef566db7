//! BERT's forward pass in plain candle operations: the definition. Readable, differentiable, the same on every device.
//!
//! Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019), as transformers' `modeling_bert.py`
//! computes it. `candle_nn`'s fused layer norm and softmax record no backward, so the operations here are built from
//! basic ones. Each part has a file of its own; this one holds what they share.

use candle_core::{D, Device, Shape, Tensor};

use super::config::BertConfig;
use super::parameters::{LinearIndex, NormIndex, ParameterTable};
use crate::data::Batch;
use crate::error::Result;
use crate::ops::attention::ProbabilityDropout;
use crate::random::{Dropout, DropoutMask, FACTORS};

/// Numbers the model's dropouts. The order is part of what a seed means.
pub mod dropout_site {
    /// After the embeddings.
    pub const EMBEDDINGS: u32 = 0;
    /// Before the classifier.
    pub const CLASSIFIER: u32 = 1;
    /// On block `layer`'s attention probabilities.
    pub fn attention_probabilities(layer: usize) -> u32 {
        2 + 3 * layer as u32
    }
    /// On block `layer`'s attention output.
    pub fn attention_output(layer: usize) -> u32 {
        3 + 3 * layer as u32
    }
    /// On block `layer`'s feed-forward output.
    pub fn feed_forward_output(layer: usize) -> u32 {
        4 + 3 * layer as u32
    }
}

/// What one forward pass works on.
pub struct Pass<'a> {
    /// The model's shape.
    pub config: &'a BertConfig,
    /// Where its parameters stand.
    pub table: &'a ParameterTable,
    /// One whole set of values; variables where gradients are wanted.
    pub tensors: &'a [Tensor],
    /// The sequences.
    pub batch: &'a Batch,
    /// The dropouts of this batch; `None` outside training.
    pub dropout: Option<Dropout>,
}

impl Pass<'_> {
    /// Numbers of ours as a tensor of the parameters' type.
    pub(super) fn constant(&self, values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
        let tensor = Tensor::from_vec(values, shape.into(), &Device::Cpu)?;
        Ok(tensor.to_dtype(self.tensors[self.table.classifier.weight].dtype())?)
    }

    /// x Wᵀ + b over the last dimension.
    pub(super) fn linear(&self, index: LinearIndex, x: &Tensor) -> Result<Tensor> {
        let y = self.product(index.weight, x)?;
        Ok(y.broadcast_add(&self.tensors[index.bias])?)
    }

    /// x Wᵀ over the last dimension.
    pub(super) fn product(&self, weight: usize, x: &Tensor) -> Result<Tensor> {
        let weight = &self.tensors[weight];
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(0);
        let rows = shape.iter().product::<usize>();
        shape.push(weight.dim(0)?);
        // One product over all rows: a batched one would copy the weight for each sequence.
        let y = x.reshape((rows, inputs))?.matmul(&weight.t()?)?;
        Ok(y.reshape(shape)?)
    }

    /// (x - mean) / sqrt(variance + layer_norm_eps) · weight + bias over the last dimension.
    pub(super) fn layer_norm(&self, index: NormIndex, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let deviation = (variance + self.config.layer_norm_eps)?.sqrt()?;
        Ok(centred
            .broadcast_div(&deviation)?
            .broadcast_mul(&self.tensors[index.weight])?
            .broadcast_add(&self.tensors[index.bias])?)
    }

    /// The mask of dropout `site`, or nothing where it doesn't act.
    pub(super) fn dropout_mask(&self, site: u32, probability: f64) -> Option<DropoutMask> {
        let dropout = self.dropout?;
        (probability > 0.0).then(|| dropout.mask(site, probability))
    }

    /// Dropout on states [batch, length, width]: the factors go by the packed token, so that padding changes nothing.
    pub(super) fn dropout_states(&self, site: u32, probability: f64, x: Tensor) -> Result<Tensor> {
        let Some(mask) = self.dropout_mask(site, probability) else {
            return Ok(x);
        };
        let (sequences, length, width) = x.dims3()?;
        let mut factors = vec![0f32; sequences * length * width];
        for (sequence, range) in self.batch.ranges().enumerate() {
            for (position, token) in range.enumerate() {
                let start = (sequence * length + position) * width;
                mask.fill_row(token, &mut factors[start..start + width]);
            }
        }
        let factors = self.constant(factors, (sequences, length, width))?;
        Ok((x * factors)?)
    }

    /// Dropout on one vector a sequence, [batch, width].
    pub(super) fn dropout_pooled(&self, site: u32, probability: f64, x: Tensor) -> Result<Tensor> {
        let Some(mask) = self.dropout_mask(site, probability) else {
            return Ok(x);
        };
        let (sequences, width) = x.dims2()?;
        let mut factors = vec![0f32; sequences * width];
        for (sequence, row) in factors.chunks_mut(width).enumerate() {
            mask.fill_row(sequence, row);
        }
        let factors = self.constant(factors, (sequences, width))?;
        Ok((x * factors)?)
    }

    /// Dropout on attention probabilities [batch, heads, length, length]: a row for each packed token and head.
    pub(super) fn dropout_probabilities(
        &self,
        site: u32,
        probability: f64,
        x: Tensor,
    ) -> Result<Tensor> {
        let Some(mask) = self.dropout_mask(site, probability) else {
            return Ok(x);
        };
        let (sequences, heads, length, _) = x.dims4()?;
        let dropout = probability_dropout(self.config, mask);
        let mut factors = vec![0f32; sequences * heads * length * length];
        for (sequence, range) in self.batch.ranges().enumerate() {
            let keys = range.len();
            for head in 0..heads {
                for (position, token) in range.clone().enumerate() {
                    let start = ((sequence * heads + head) * length + position) * length;
                    dropout.fill(token, head, heads, &mut factors[start..start + keys]);
                }
            }
        }
        let factors = self.constant(factors, x.shape())?;
        Ok((x * factors)?)
    }
}

/// The dropout on attention probabilities: rows have room for the longest sequence, so that a row's place doesn't depend
/// on the batch's lengths.
pub(crate) fn probability_dropout(config: &BertConfig, mask: DropoutMask) -> ProbabilityDropout {
    ProbabilityDropout {
        mask,
        stride: config.max_position_embeddings.next_multiple_of(FACTORS),
    }
}
