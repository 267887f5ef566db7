//! One representation of a batch, from the tokenizer to the loss: sequences packed one after another.

use std::ops::Range;

use crate::error::Result;
use crate::memory;
use crate::text::Encoding;

/// Token sequences one after another, without padding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The token ids of all sequences.
    pub input_ids: Vec<u32>,
    /// Their token types, as many.
    pub token_type_ids: Vec<u32>,
    /// Where each sequence begins, and the end of the last: one more than there are sequences.
    pub offsets: Vec<usize>,
}

impl Batch {
    /// Packs (token ids, token types) of each sequence; both of a pair have the same length.
    pub fn pack<'a>(sequences: impl IntoIterator<Item = (&'a [u32], &'a [u32])>) -> Batch {
        let mut batch = Batch {
            offsets: vec![0],
            ..Batch::default()
        };
        for (ids, types) in sequences {
            debug_assert_eq!(ids.len(), types.len());
            batch.input_ids.extend_from_slice(ids);
            batch.token_type_ids.extend_from_slice(types);
            batch.offsets.push(batch.input_ids.len());
        }
        batch
    }

    /// Packs what the tokenizer gave. [`Error::OutOfMemory`](crate::error::Error::OutOfMemory) where there is no room.
    pub fn of(encodings: &[Encoding]) -> Result<Batch> {
        let mut batch = Batch::pack([]);
        batch.append(encodings)?;
        Ok(batch)
    }

    /// Adds what the tokenizer gave behind what is there. Where it fails the batch is as it was.
    pub fn append(&mut self, encodings: &[Encoding]) -> Result<()> {
        let tokens = encodings.iter().map(|e| e.input_ids.len()).sum();
        memory::reserve(&mut self.input_ids, tokens)?;
        memory::reserve(&mut self.token_type_ids, tokens)?;
        memory::reserve(&mut self.offsets, encodings.len())?;
        for encoding in encodings {
            self.input_ids.extend_from_slice(&encoding.input_ids);
            self.token_type_ids
                .extend_from_slice(&encoding.token_type_ids);
            self.offsets.push(self.input_ids.len());
        }
        Ok(())
    }

    /// Sequences.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Where sequence `index` stands.
    pub fn range(&self, index: usize) -> Range<usize> {
        self.offsets[index]..self.offsets[index + 1]
    }

    /// Each sequence's range, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }
}

impl Batch {
    /// The sequences `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Batch {
        Batch::pack(indices.iter().map(|&index| {
            let range = self.range(index);
            (&self.input_ids[range.clone()], &self.token_type_ids[range])
        }))
    }
}

/// Cuts `order` (indices of sequences of these `lengths`) into batches of at most `most_sequences` sequences, and of
/// fewer where padding them to the longest would pass `most_tokens`; a sequence longer than that stands alone.
pub fn cut_into_batches(
    order: &[usize],
    lengths: impl Fn(usize) -> usize,
    most_sequences: usize,
    most_tokens: usize,
) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut longest) = (0, 0);
    for (place, &index) in order.iter().enumerate() {
        let grown = longest.max(lengths(index));
        let count = place - start;
        if count > 0 && (count == most_sequences || grown * (count + 1) > most_tokens) {
            batches.push(start..place);
            start = place;
            longest = lengths(index);
        } else {
            longest = grown;
        }
    }
    if start < order.len() {
        batches.push(start..order.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_packed_and_selected_in_order() {
        let all = Batch::pack([
            (&[1u32, 5, 2][..], &[0u32, 0, 0][..]),
            (&[1, 2], &[0, 1]),
            (&[1, 6, 7, 2], &[0, 0, 1, 1]),
        ]);
        assert_eq!((all.len(), all.tokens(), all.longest()), (3, 9, 4));
        let some = all.select(&[2, 0]);
        assert_eq!(some.input_ids, [1, 6, 7, 2, 1, 5, 2]);
        assert_eq!(some.token_type_ids, [0, 0, 1, 1, 0, 0, 0]);
        assert_eq!(some.offsets, [0, 4, 7]);
        assert!(Batch::pack([]).is_empty());
    }

    #[test]
    fn batches_keep_to_both_limits() {
        let lengths = [9usize, 8, 3, 3, 3, 2, 2];
        let order: Vec<usize> = (0..lengths.len()).collect();
        let batches = cut_into_batches(&order, |i| lengths[i], 3, 8);
        // 9 is over the limit alone; 8 fills it; 3 + 3 fit, a third would be 9.
        assert_eq!(batches, [0..1, 1..2, 2..4, 4..6, 6..7]);
    }
}
