//! Token, position and token-type embeddings, their layer norm and dropout (`BertEmbeddings`).

use candle_core::Tensor;

use super::plain::{Pass, dropout_site};
use crate::error::Result;

impl Pass<'_> {
    /// States [batch, length, hidden_size], length being the longest sequence's; what stands on padding is arbitrary.
    pub(super) fn embeddings(&self) -> Result<Tensor> {
        let (sequences, length) = (self.batch.len(), self.batch.longest());
        let mut ids = vec![self.config.pad_token_id; sequences * length];
        let mut types = vec![0u32; sequences * length];
        for (sequence, range) in self.batch.ranges().enumerate() {
            let row = sequence * length..sequence * length + range.len();
            ids[row.clone()].copy_from_slice(&self.batch.input_ids()[range.clone()]);
            types[row].copy_from_slice(&self.batch.token_type_ids()[range]);
        }
        let index = self.table.embeddings;
        let lookup = |table: usize, rows: Vec<u32>| -> Result<Tensor> {
            let count = rows.len();
            let rows = Tensor::from_vec(rows, count, &candle_core::Device::Cpu)?;
            Ok(self.tensors[table].index_select(&rows, 0)?)
        };
        let hidden = self.config.hidden_size;
        let shape = (sequences, length, hidden);
        let words = lookup(index.word, ids)?.reshape(shape)?;
        let types = lookup(index.token_type, types)?.reshape(shape)?;
        let positions = self.tensors[index.position].narrow(0, 0, length)?;
        let sum = (words + types)?.broadcast_add(&positions)?;
        self.dropout_states(
            dropout_site::EMBEDDINGS,
            self.config.hidden_dropout_prob,
            self.layer_norm(index.norm, &sum)?,
        )
    }
}
