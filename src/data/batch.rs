//! One representation of a batch, from the tokenizer to the loss: sequences packed one after another.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::memory;
use crate::text::Encoding;

/// Token sequences one after another, without padding. Each has at least one token, and every token has a type.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    input_ids: Vec<u32>,
    token_type_ids: Vec<u32>,
    /// From 0 to as many as there are tokens, each greater than the one before.
    offsets: Vec<usize>,
}

impl Default for Batch {
    /// No sequences.
    fn default() -> Batch {
        Batch {
            input_ids: Vec::new(),
            token_type_ids: Vec::new(),
            offsets: vec![0],
        }
    }
}

/// Says what is wrong with a sequence of so many tokens and so many token types.
fn check(index: usize, tokens: usize, types: usize) -> Result<()> {
    if tokens == 0 {
        return Err(Error::InvalidArgument(format!(
            "Sequence {index} has 0 tokens; it must have at least 1."
        )));
    }
    if types != tokens {
        return Err(Error::InvalidArgument(format!(
            "Sequence {index} has {tokens} tokens and {types} token types; it must have one type for each token."
        )));
    }
    Ok(())
}

impl Batch {
    /// Sequences that are packed already: all token ids, as many token types, and where each sequence begins, with the end of
    /// the last behind it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the offsets don't start at 0 and end at the number of tokens, a sequence is empty or
    /// ends before it begins, or there aren't as many types as tokens.
    pub fn new(
        input_ids: Vec<u32>,
        token_type_ids: Vec<u32>,
        offsets: Vec<usize>,
    ) -> Result<Batch> {
        let (tokens, types) = (input_ids.len(), token_type_ids.len());
        if types != tokens {
            return Err(Error::InvalidArgument(format!(
                "There are {tokens} tokens and {types} token types; each token must have one type."
            )));
        }
        let found = match offsets[..] {
            [0] if tokens == 0 => None,
            [0, .., last] if last == tokens => None,
            [] => Some("there are none".to_owned()),
            [only] => Some(format!("there is only {only}")),
            [first, .., last] => Some(format!("these go from {first} to {last}")),
        };
        if let Some(found) = found {
            return Err(Error::InvalidArgument(format!(
                "The offsets of a batch of {tokens} tokens must go from 0 to {tokens}; {found}."
            )));
        }
        for (index, ends) in offsets.windows(2).enumerate() {
            let length = ends[1].checked_sub(ends[0]).ok_or_else(|| {
                Error::InvalidArgument(format!(
                    "Sequence {index} begins at token {} and ends at token {}; it must end behind its beginning.",
                    ends[0], ends[1]
                ))
            })?;
            check(index, length, length)?;
        }
        Ok(Batch {
            input_ids,
            token_type_ids,
            offsets,
        })
    }

    /// Packs (token ids, token types) of each sequence.
    ///
    /// # Panics
    /// Where a sequence has no token, or not one type for each.
    pub fn pack<'a>(sequences: impl IntoIterator<Item = (&'a [u32], &'a [u32])>) -> Batch {
        let mut batch = Batch::default();
        for (ids, types) in sequences {
            assert!(
                !ids.is_empty() && ids.len() == types.len(),
                "sequence {} has {} tokens and {} token types",
                batch.len(),
                ids.len(),
                types.len()
            );
            batch.push(ids, types);
        }
        batch
    }

    /// Packs what the tokenizer gave. [`Error::OutOfMemory`] where there is no room, [`Error::InvalidArgument`] where there is no
    /// token or not one type for each.
    pub fn of(encodings: &[Encoding]) -> Result<Batch> {
        let mut batch = Batch::default();
        batch.append(encodings)?;
        Ok(batch)
    }

    /// Adds what the tokenizer gave behind what is there, with errors as [`of`](Batch::of). Where it fails the batch is as it
    /// was.
    pub fn append(&mut self, encodings: &[Encoding]) -> Result<()> {
        for (index, encoding) in encodings.iter().enumerate() {
            let (ids, types) = (&encoding.input_ids, &encoding.token_type_ids);
            check(index, ids.len(), types.len())?;
        }
        let tokens = encodings.iter().map(|e| e.input_ids.len()).sum();
        memory::reserve(&mut self.input_ids, tokens)?;
        memory::reserve(&mut self.token_type_ids, tokens)?;
        memory::reserve(&mut self.offsets, encodings.len())?;
        for encoding in encodings {
            self.push(&encoding.input_ids, &encoding.token_type_ids);
        }
        Ok(())
    }

    /// Adds a sequence, of which [`check`] has nothing to say.
    fn push(&mut self, ids: &[u32], types: &[u32]) {
        self.input_ids.extend_from_slice(ids);
        self.token_type_ids.extend_from_slice(types);
        self.offsets.push(self.input_ids.len());
    }

    /// The token ids of all sequences.
    pub fn input_ids(&self) -> &[u32] {
        &self.input_ids
    }

    /// Their token types, as many.
    pub fn token_type_ids(&self) -> &[u32] {
        &self.token_type_ids
    }

    /// Where each sequence begins, and the end of the last: one more than there are sequences. From 0 to the number of
    /// tokens, each greater than the one before.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Sequences.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
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
        assert_eq!(some.input_ids(), [1, 6, 7, 2, 1, 5, 2]);
        assert_eq!(some.token_type_ids(), [0, 0, 1, 1, 0, 0, 0]);
        assert_eq!(some.offsets(), [0, 4, 7]);
        for none in [Batch::pack([]), Batch::default(), Batch::of(&[]).unwrap()] {
            assert!(none.is_empty());
            assert_eq!(
                (none.tokens(), none.longest(), none.offsets()),
                (0, 0, &[0][..])
            );
        }
        let again = Batch::new(
            some.input_ids().to_vec(),
            some.token_type_ids().to_vec(),
            some.offsets().to_vec(),
        );
        assert_eq!(again, Ok(some));
    }

    #[test]
    fn offsets_that_are_not_a_batchs_are_refused_by_name() {
        for (tokens, types, offsets, wrong) in [
            (
                4,
                4,
                vec![0, 4, 0, 4],
                "Sequence 1 begins at token 4 and ends at token 0",
            ),
            (4, 4, vec![0, 2, 2, 4], "Sequence 1 has 0 tokens"),
            (
                4,
                4,
                vec![0, 2, 5, 4],
                "Sequence 2 begins at token 5 and ends at token 4",
            ),
            (4, 4, vec![0, usize::MAX, 4], "Sequence 1 begins at token"),
            (
                4,
                4,
                vec![1, 4],
                "must go from 0 to 4; these go from 1 to 4.",
            ),
            (4, 4, vec![0, 3], "these go from 0 to 3"),
            (4, 4, vec![0, 5], "these go from 0 to 5"),
            (4, 4, vec![], "there are none"),
            (4, 4, vec![0], "there is only 0"),
            (0, 0, vec![], "there are none"),
            (0, 0, vec![0, 0], "Sequence 0 has 0 tokens"),
            (4, 3, vec![0, 4], "4 tokens and 3 token types"),
            (3, 4, vec![0, 3], "3 tokens and 4 token types"),
        ] {
            let batch = Batch::new(vec![1; tokens], vec![0; types], offsets.clone());
            let error = batch.expect_err("it isn't one");
            assert!(matches!(error, Error::InvalidArgument(_)));
            assert!(error.message().contains(wrong), "{offsets:?}: {error:?}");
        }
    }

    #[test]
    fn encodings_without_tokens_or_types_change_nothing() {
        let encoding = |tokens: usize, types: usize| Encoding {
            input_ids: vec![1; tokens],
            token_type_ids: vec![0; types],
            truncated: false,
        };
        let mut batch = Batch::of(&[encoding(3, 3)]).unwrap();
        let before = batch.clone();
        for (bad, wrong) in [
            (encoding(0, 0), "Sequence 1 has 0 tokens"),
            (encoding(2, 1), "Sequence 1 has 2 tokens and 1 token types"),
        ] {
            let error = batch
                .append(&[encoding(2, 2), bad])
                .expect_err("the second is bad");
            assert!(error.message().contains(wrong), "{error:?}");
            assert_eq!(batch, before);
        }
        batch.append(&[encoding(2, 2)]).unwrap();
        assert_eq!(batch.offsets(), [0, 3, 5]);
    }

    #[test]
    fn a_sequence_without_tokens_or_types_is_not_packed() {
        for (ids, types) in [(&[][..], &[][..]), (&[1, 2], &[0]), (&[1], &[0, 0])] {
            let outcome = std::panic::catch_unwind(|| Batch::pack([(ids, types)]));
            assert!(outcome.is_err());
        }
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
