//! A batch in a GPU's memory: token ids, where each sequence stands, and the lists that kernels go by.

use super::gpu::{Gpu, Memory};
use super::libraries::Address;
use crate::data::Batch;
use crate::error::Result;
use crate::memory;

/// Rows of a sequence that a block of attention's kernels has, as in `kernels/kernels.cu`.
pub(super) const FORWARD_ROWS: usize = 16;
pub(super) const BACKWARD_ROWS: usize = 8;
/// The same of the kernels by tensor cores, both ways.
pub(super) const TENSOR_ROWS: usize = 64;

/// One list of whole numbers.
#[derive(Clone, Copy)]
pub(super) struct List {
    pub address: Address,
    pub len: usize,
}

/// Which tokens read each row of an embedding table.
#[derive(Clone, Copy)]
pub(super) struct Readers {
    /// The rows that are read, each once, in order.
    pub rows: List,
    /// Where each row's parts begin, and the end of the last.
    pub starts: List,
    /// Where each part's tokens begin, and the end of the last.
    pub part_starts: List,
    /// The tokens, row by row.
    pub tokens: List,
}

/// All lists of a batch, in one piece of memory.
pub(super) struct CudaBatch {
    pub input_ids: List,
    pub token_type_ids: List,
    pub positions: List,
    pub offsets: List,
    /// (sequence, first row) of each block, for the forward pass of attention, for its backward pass, and for both by
    /// tensor cores.
    pub forward_tiles: List,
    pub backward_tiles: List,
    pub tensor_tiles: List,
    /// Of words, token types and positions; only for training.
    pub readers: Option<[Readers; 3]>,
    _memory: Memory,
}

impl CudaBatch {
    /// Copies it there. `padding` is the row of the word embeddings that gets no gradient.
    pub fn new(
        gpu: &'static Gpu,
        batch: &Batch,
        is_training: bool,
        padding: Option<u32>,
    ) -> Result<CudaBatch> {
        let mut numbers: Vec<i32> = memory::room(5 * batch.tokens() + batch.offsets().len())?;
        let mut lists = Vec::new();
        let mut push = |list: Vec<i32>| -> Result<()> {
            lists.push((numbers.len(), list.len()));
            memory::reserve(&mut numbers, list.len())?;
            numbers.extend_from_slice(&list);
            Ok(())
        };
        let ints = |all: &[u32]| memory::collected(all.iter().map(|&n| Ok(n as i32)));
        let mut positions: Vec<u32> = memory::room(batch.tokens())?;
        positions.extend(batch.ranges().flat_map(|range| 0..range.len() as u32));
        push(ints(batch.input_ids())?)?;
        push(ints(batch.token_type_ids())?)?;
        push(ints(&positions)?)?;
        push(memory::collected(
            batch.offsets().iter().map(|&n| Ok(n as i32)),
        )?)?;
        push(tiles(batch, FORWARD_ROWS))?;
        push(tiles(batch, BACKWARD_ROWS))?;
        push(tiles(batch, TENSOR_ROWS))?;
        if is_training {
            for (rows, without) in [
                (batch.input_ids(), padding),
                (batch.token_type_ids(), None),
                (&positions, None),
            ] {
                for list in readers(rows, without) {
                    push(list)?;
                }
            }
        }
        let memory = gpu.upload(&numbers)?;
        let list = |number: usize| {
            let (start, len) = lists[number];
            List {
                address: memory.at() + 4 * start as Address,
                len,
            }
        };
        let readers = |first: usize| Readers {
            rows: list(first),
            starts: list(first + 1),
            part_starts: list(first + 2),
            tokens: list(first + 3),
        };
        Ok(CudaBatch {
            input_ids: list(0),
            token_type_ids: list(1),
            positions: list(2),
            offsets: list(3),
            forward_tiles: list(4),
            backward_tiles: list(5),
            tensor_tiles: list(6),
            readers: is_training.then(|| [readers(7), readers(11), readers(15)]),
            _memory: memory,
        })
    }
}

/// (sequence, first row) of every `rows` rows.
fn tiles(batch: &Batch, rows: usize) -> Vec<i32> {
    let mut tiles = Vec::new();
    for (sequence, range) in batch.ranges().enumerate() {
        for first in (0..range.len()).step_by(rows) {
            tiles.extend([sequence as i32, first as i32]);
        }
    }
    tiles
}

/// Tokens of one part of a row's gradient: a row that all tokens read has about as many parts as tokens in each.
fn tokens_of_part(tokens: usize) -> usize {
    tokens.isqrt().max(64)
}

/// The lists of [`Readers`], without row `without`.
fn readers(rows: &[u32], without: Option<u32>) -> [Vec<i32>; 4] {
    let mut tokens: Vec<usize> = (0..rows.len())
        .filter(|&token| Some(rows[token]) != without)
        .collect();
    // Stable: a row's tokens stay in their order, and so do the sums over them.
    tokens.sort_by_key(|&token| rows[token]);
    let most = tokens_of_part(rows.len());
    let (mut distinct, mut starts, mut part_starts) = (Vec::new(), Vec::new(), Vec::<i32>::new());
    for (place, &token) in tokens.iter().enumerate() {
        let is_new = distinct.last() != Some(&(rows[token] as i32));
        if is_new {
            distinct.push(rows[token] as i32);
            starts.push(part_starts.len() as i32);
        }
        if is_new
            || part_starts
                .last()
                .is_some_and(|&start| place - start as usize == most)
        {
            part_starts.push(place as i32);
        }
    }
    starts.push(part_starts.len() as i32);
    part_starts.push(tokens.len() as i32);
    [
        distinct,
        starts,
        part_starts,
        tokens.into_iter().map(|token| token as i32).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_grouped_by_row_in_the_order_of_tokens() {
        let [rows, starts, part_starts, tokens] = readers(&[7, 3, 0, 7, 3, 7], Some(0));
        assert_eq!(rows, [3, 7]);
        assert_eq!(starts, [0, 1, 2]);
        assert_eq!(part_starts, [0, 2, 5]);
        assert_eq!(tokens, [1, 4, 0, 3, 5]);
        assert_eq!(readers(&[0], Some(0)), [vec![], vec![0], vec![0], vec![]]);
    }

    #[test]
    fn rows_of_many_tokens_have_several_parts() {
        let mut read = vec![5; 129];
        read.push(2);
        let [rows, starts, part_starts, _] = readers(&read, None);
        assert_eq!(rows, [2, 5]);
        assert_eq!(starts, [0, 1, 4]);
        assert_eq!(part_starts, [0, 1, 65, 129, 130]);
    }

    #[test]
    fn tiles_cover_each_sequence() {
        let ids = [0u32; 20];
        let batch = Batch::pack([(&ids[..17], &ids[..17]), (&ids[..3], &ids[..3])]);
        assert_eq!(tiles(&batch, 8), [0, 0, 0, 8, 0, 16, 1, 0]);
    }
}
