//! From the last states to class scores: pooling, dropout, classifier (`BertPooler`, `BertForSequenceClassification`).

use candle_core::Tensor;

use super::config::Pooling;
use super::plain::{Pass, dropout_site};
use crate::error::{Error, Result};

impl Pass<'_> {
    /// One vector a sequence, [batch, hidden_size], from the last states.
    pub fn pool(&self, states: &Tensor, pooling: Pooling) -> Result<Tensor> {
        let first = || -> Result<Tensor> { Ok(states.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?) };
        match pooling {
            Pooling::Pooler => {
                let pooler = self.table.pooler.ok_or_else(|| {
                    Error::Internal(
                        "The model reads a pooler but has none; please report this.".into(),
                    )
                })?;
                Ok(self.linear(pooler, &first()?)?.tanh()?)
            }
            Pooling::Cls => first(),
            Pooling::Mean => {
                let (sequences, length, _) = states.dims3()?;
                let mut weights = vec![0f32; sequences * length];
                for (sequence, range) in self.batch.ranges().enumerate() {
                    let start = sequence * length;
                    let share = 1.0 / range.len() as f32;
                    weights[start..start + range.len()].fill(share);
                }
                let weights = self.constant(weights, (sequences, 1, length))?;
                Ok(weights.matmul(states)?.squeeze(1)?)
            }
        }
    }

    /// Class scores before the softmax, [batch, num_labels].
    pub fn logits(&self) -> Result<Tensor> {
        let pooled = self.dropout_pooled(
            dropout_site::CLASSIFIER,
            self.config.classifier_dropout(),
            self.pool(&self.encoder()?, self.config.pooling)?,
        )?;
        self.linear(self.table.classifier, &pooled)
    }
}
