//! Multi-head self-attention with its output layer, residual and norm (`BertAttention`).

use candle_core::{D, Tensor};

use super::lora::Projection;
use super::parameters::LayerIndex;
use super::plain::{Pass, dropout_site};
use crate::error::Result;

impl Pass<'_> {
    /// 0 for a token and the lowest finite number for padding, [batch, 1, 1, length]: added to the scores.
    pub(super) fn attention_mask(&self) -> Result<Tensor> {
        let (sequences, length) = (self.batch.len(), self.batch.longest());
        let mut mask = vec![f32::MIN; sequences * length];
        for (sequence, range) in self.batch.ranges().enumerate() {
            let start = sequence * length;
            mask[start..start + range.len()].fill(0.0);
        }
        self.constant(mask, (sequences, 1, 1, length))
    }

    /// The block's first half over states [batch, length, hidden_size].
    pub(super) fn attention(
        &self,
        number: usize,
        layer: &LayerIndex,
        states: &Tensor,
        mask: &Tensor,
    ) -> Result<Tensor> {
        let (sequences, length, hidden) = states.dims3()?;
        let (heads, head_size) = (self.config.num_attention_heads, self.config.head_size());
        let split = |x: Tensor| -> Result<Tensor> {
            Ok(x.reshape((sequences, length, heads, head_size))?
                .transpose(1, 2)?
                .contiguous()?)
        };
        let query = split(self.projection(number, Projection::Query, layer, states)?)?;
        let key = split(self.projection(number, Projection::Key, layer, states)?)?;
        let value = split(self.projection(number, Projection::Value, layer, states)?)?;
        let scale = 1.0 / (head_size as f64).sqrt();
        let scores = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? * scale)?;
        let scores = scores.broadcast_add(mask)?;
        // Built of basic operations, with a backward; `softmax_last_dim` has none.
        let probabilities = candle_nn::ops::softmax(&scores, D::Minus1)?;
        let probabilities = self.dropout_probabilities(
            dropout_site::attention_probabilities(number),
            self.config.attention_probs_dropout_prob,
            probabilities,
        )?;
        let context = probabilities
            .matmul(&value)?
            .transpose(1, 2)?
            .reshape((sequences, length, hidden))?;
        let output = self.dropout_states(
            dropout_site::attention_output(number),
            self.config.hidden_dropout_prob,
            self.projection(number, Projection::AttentionOutput, layer, &context)?,
        )?;
        self.layer_norm(layer.attention_norm, &(output + states)?)
    }
}
