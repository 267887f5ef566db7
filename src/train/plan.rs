//! The order in which an epoch goes through the examples.

use rand::seq::SliceRandom;

use crate::error::Result;
use crate::memory;
use crate::random::{Site, Stream};

/// Batches whose examples are sorted by length together. Larger pools waste less on padding; smaller ones mix better.
const POOL_BATCHES: usize = 50;

/// The batches of `epoch`, each a list of example numbers: shuffled by the seed and the epoch; of similar length where
/// `group_by_length`, in an order that is shuffled again. A last partial batch is kept.
pub fn epoch_batches(
    lengths: &[usize],
    batch_size: usize,
    group_by_length: bool,
    seed: u64,
    epoch: u32,
) -> Result<Vec<Vec<usize>>> {
    let mut random = Stream::new(seed, Site::Shuffle, epoch).sequence();
    let mut order = memory::collected((0..lengths.len()).map(Ok))?;
    order.shuffle(&mut random);
    if group_by_length {
        for pool in order.chunks_mut(batch_size.saturating_mul(POOL_BATCHES)) {
            // Stable: equal lengths stay in shuffled order.
            pool.sort_by_key(|&example| lengths[example]);
        }
    }
    let mut batches = memory::collected(order.chunks(batch_size).map(memory::copied))?;
    if group_by_length {
        batches.shuffle(&mut random);
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_comes_once_and_the_order_follows_seed_and_epoch() {
        let lengths: Vec<usize> = (0..103).map(|i| 3 + i * 7 % 29).collect();
        for grouped in [false, true] {
            let batches = epoch_batches(&lengths, 8, grouped, 5, 0).unwrap();
            assert_eq!(batches.len(), 13);
            let mut all: Vec<usize> = batches.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..103).collect::<Vec<_>>());
            assert_eq!(batches, epoch_batches(&lengths, 8, grouped, 5, 0).unwrap());
            assert_ne!(batches, epoch_batches(&lengths, 8, grouped, 5, 1).unwrap());
            assert_ne!(batches, epoch_batches(&lengths, 8, grouped, 6, 0).unwrap());
        }
    }

    #[test]
    fn grouped_batches_hold_similar_lengths() {
        let lengths: Vec<usize> = (0..400).map(|i| 1 + i * 37 % 64).collect();
        let padded = |batches: &[Vec<usize>]| -> usize {
            batches
                .iter()
                .map(|b| b.len() * b.iter().map(|&i| lengths[i]).max().unwrap())
                .sum()
        };
        let tokens: usize = lengths.iter().sum();
        let grouped = padded(&epoch_batches(&lengths, 8, true, 1, 0).unwrap());
        let random = padded(&epoch_batches(&lengths, 8, false, 1, 0).unwrap());
        assert!(grouped < tokens * 11 / 10, "{grouped} of {tokens}");
        assert!(random > tokens * 3 / 2, "{random} of {tokens}");
    }
}
