//! The embeddings and the blocks, one after another (`BertModel` without its pooler).

use candle_core::Tensor;

use super::plain::Pass;
use crate::error::Result;

impl Pass<'_> {
    /// The last states [batch, length, hidden_size].
    pub fn encoder(&self) -> Result<Tensor> {
        let mask = self.attention_mask()?;
        let mut states = self.embeddings()?;
        for (number, layer) in self.table.layers.iter().enumerate() {
            states = self.attention(number, layer, &states, &mask)?;
            states = self.feed_forward(number, layer, &states)?;
        }
        match self.table.final_norm {
            Some(norm) => self.layer_norm(norm, &states),
            None => Ok(states),
        }
    }
}
