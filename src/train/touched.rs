//! Which rows of the word embeddings a step's batches reach: only they have a gradient, and of a table that is half of
//! a model's parameters few are reached by any one batch.

use crate::error::Result;
use crate::memory;
use crate::model::{Gradients, ParameterKind, ParameterTable};
use crate::ops::parallel::{chunks_mut, each_of, for_each};

/// Numbers that one task clears, about.
const BLOCK: usize = 1 << 16;

/// The rows of the word embeddings that gradients were added to.
#[derive(Debug, Clone)]
pub struct TouchedRows {
    /// Where the word embeddings stand in the table of parameters.
    pub(super) index: usize,
    /// Numbers of a row.
    pub(super) width: usize,
    /// The rows, in order, each once.
    pub(super) rows: Vec<u32>,
    /// For each row whether it is one of them.
    pub(super) is_touched: Vec<bool>,
}

impl TouchedRows {
    /// None yet.
    pub fn new(table: &ParameterTable) -> Result<TouchedRows> {
        let index = table.embeddings.word;
        let shape = &table.specs[index].shape;
        Ok(TouchedRows {
            index,
            width: shape[1],
            rows: Vec::new(),
            is_touched: memory::filled(false, shape[0])?,
        })
    }

    /// Those of these token ids take the place of the present ones.
    pub fn set(&mut self, input_ids: impl Iterator<Item = u32>) {
        for &row in &self.rows {
            self.is_touched[row as usize] = false;
        }
        self.rows.clear();
        for id in input_ids {
            let is_touched = &mut self.is_touched[id as usize];
            if !*is_touched {
                *is_touched = true;
                self.rows.push(id);
            }
        }
        self.rows.sort_unstable();
    }

    /// Sets to zero all gradients that a step's first pass adds to: of the word embeddings these rows, since the others
    /// are, and not those of linear layers' weights, whose place it takes
    /// ([`TrainingPass::replaces_weight_gradients`](crate::model::TrainingPass::replaces_weight_gradients)).
    pub fn clear(&self, gradients: &mut Gradients, table: &ParameterTable) {
        let mut others = Vec::with_capacity(gradients.len());
        for (index, (gradient, spec)) in gradients.iter_mut().zip(&table.specs).enumerate() {
            if spec.kind == ParameterKind::Weight {
                continue;
            }
            if index != self.index {
                others.push(chunks_mut(gradient, BLOCK));
            } else if !gradient.is_empty() {
                for &row in &self.rows {
                    let start = row as usize * self.width;
                    gradient[start..start + self.width].fill(0.0);
                }
            }
        }
        for_each(each_of(others), |_, (_, part)| part.fill(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BertConfig;

    #[test]
    fn what_was_touched_is_cleared_and_nothing_else_need_be() {
        let table = ParameterTable::new(&BertConfig {
            vocab_size: 5,
            hidden_size: 2,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 4,
            max_position_embeddings: 4,
            ..BertConfig::default()
        });
        let mut touched = TouchedRows::new(&table).unwrap();
        touched.set([3, 1, 3, 1].into_iter());
        assert_eq!(touched.rows, [1, 3]);
        let mut gradients: Gradients = table.specs.iter().map(|s| vec![1f32; s.len()]).collect();
        touched.clear(&mut gradients, &table);
        let word = table.embeddings.word;
        assert_eq!(gradients[word], [1., 1., 0., 0., 1., 1., 0., 0., 1., 1.]);
        for (index, (gradient, spec)) in gradients.iter().zip(&table.specs).enumerate() {
            // What a pass replaces keeps what it has.
            let kept = if spec.kind == ParameterKind::Weight {
                1.0
            } else {
                0.0
            };
            assert!(index == word || gradient.iter().all(|&g| g == kept));
        }
        touched.set([4].into_iter());
        assert_eq!(touched.is_touched, [false, false, false, false, true]);
    }
}
