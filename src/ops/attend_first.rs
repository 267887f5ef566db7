//! Attention of each sequence's first token from the states themselves, for inference: no keys or values are computed (see
//! [`first_attention`](super::first_attention)). Here all that goes token by token, between the heads' queries taken back
//! through the projection of keys and their contexts before the projection of values.

use std::ops::Range;

use super::aligned::Aligned;
use super::attend::COLUMNS;
use super::gemm::tile::{self, Kernel, Left};
use super::gemm::{Lines, Matrix, pack_columns, tiles};
use super::isa::{self, vectorised};
use super::linear::with_kernel;
use super::parallel::Shared;
use super::sizes::{assert_offsets, product, sum, whole};
use super::softmax::softmax_of_first;
use super::team::Team;
use crate::error::Result;
use crate::memory;

/// Tokens whose scores are one piece of work.
const TOKENS: usize = 64;

/// Numbers of a state whose sums over the tokens are one piece of work.
const PLACES: usize = 128;

/// The attention of a group of sequences.
#[derive(Clone, Copy)]
pub struct FirstTokens<'a> {
    /// Where each sequence begins, and the end of the last; the group's first token stands in the first row. None is empty.
    pub offsets: &'a [usize],
    /// Heads.
    pub heads: usize,
    /// What scores are multiplied with: 1 / √head_size.
    pub scale: f32,
    /// Each head's query in the states' own space, [sequences, heads, hidden_size].
    pub query: &'a [f32],
    /// [tokens, hidden_size].
    pub states: &'a [f32],
}

/// One sequence.
struct Sequence {
    /// Its rows of the states.
    tokens: Range<usize>,
    /// Where its scores begin, [heads, `width`].
    scores: usize,
    /// Its tokens, in whole panels.
    width: usize,
}

/// Writes for each head the states' sum weighted with its probabilities: `context`[sequences, heads, hidden_size].
///
/// # Errors
/// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory) where there is no room for what it works with.
pub fn attend_first(
    team: &Team<'_>,
    attention: FirstTokens<'_>,
    scratch: &mut Aligned,
    context: &mut [f32],
) -> Result<()> {
    with_kernel!(attend_with::<K>(team, attention, scratch, context))
}

fn attend_with<K: Kernel<Unit = f32>>(
    team: &Team<'_>,
    attention: FirstTokens<'_>,
    scratch: &mut Aligned,
    context: &mut [f32],
) -> Result<()> {
    const { assert!(COLUMNS.is_multiple_of(K::COLUMNS) && TOKENS.is_multiple_of(COLUMNS)) };
    let FirstTokens {
        offsets,
        heads,
        scale,
        query,
        states,
    } = attention;
    assert_offsets(offsets, 1);
    let mut sequences = memory::room(offsets.len() - 1)?;
    let mut blocks = Vec::new();
    let (mut scores_len, mut longest) = (0, 0);
    for (number, ends) in offsets.windows(2).enumerate() {
        let tokens = ends[0] - offsets[0]..ends[1] - offsets[0];
        longest = longest.max(tokens.len());
        let width = whole(tokens.len(), COLUMNS);
        memory::reserve(&mut blocks, tokens.len().div_ceil(TOKENS))?;
        blocks.extend(
            (0..tokens.len())
                .step_by(TOKENS)
                .map(|start| (number, start)),
        );
        sequences.push(Sequence {
            tokens,
            scores: scores_len,
            width,
        });
        scores_len = sum([scores_len, product([heads, width])]);
    }
    let Some(last) = sequences.last() else {
        return Ok(());
    };
    let hidden = states.len() / last.tokens.end;
    let wide = product([heads, hidden]);
    assert!(
        states.len() == last.tokens.end * hidden
            && query.len() == product([sequences.len(), wide])
            && context.len() == query.len()
    );

    let groups = hidden.div_ceil(PLACES);
    // Whole lines of the cache, as are the scores: panels begin at one.
    let key_slot = product([whole(longest, COLUMNS).min(TOKENS), hidden]);
    let value_slot = product([longest, PLACES.min(whole(hidden, COLUMNS))]);
    // One after another they use the same memory, which stays in the cache.
    let (key_slots, value_slots) = match team.members() {
        1 => (1, 1),
        _ => (blocks.len(), product([sequences.len(), groups])),
    };
    let slots_len = product([key_slots, key_slot]).max(product([value_slots, value_slot]));
    let (scores, slots) = scratch
        .room::<f32>(sum([scores_len, slots_len]))?
        .split_at_mut(scores_len);
    let (scores, slots) = (Shared(scores.as_mut_ptr()), Shared(slots.as_mut_ptr()));

    team.run(blocks.len(), |piece| {
        let (number, start) = blocks[piece];
        let Sequence {
            ref tokens,
            scores: place,
            width,
        } = sequences[number];
        let count = TOKENS.min(tokens.len() - start);
        let keys_len = count.next_multiple_of(K::COLUMNS) * hidden;
        // SAFETY: a slot has room for so many keys, and it is this piece's alone: with one slot there is one thread.
        let keys = unsafe {
            let slot = slots.at(piece % key_slots * key_slot);
            std::slice::from_raw_parts_mut(slot, keys_len)
        };
        let right = Matrix::new(
            &states[(tokens.start + start) * hidden..],
            hidden,
            Lines::Inner,
        );
        pack_columns::<K>(right, (hidden, count), keys);
        for row in (0..heads).step_by(K::ROWS) {
            let left = Left::new(&query[number * wide + row * hidden..], hidden);
            let shape = (K::ROWS.min(heads - row), keys.len() / hidden, hidden);
            let result = scores.at(place + row * width + start);
            // SAFETY: the rows are inside the query, whose size was checked, and the panels were just packed; of the scores,
            // [heads, width] for each sequence, whole panels from `start` are this piece's alone. The kernel is of this machine's
            // instructions.
            unsafe { tiles::<K, false>(shape, left, keys, (result, width)) }
        }
    });
    team.run(sequences.len() * heads, |piece| {
        let (sequence, head) = (&sequences[piece / heads], piece % heads);
        // SAFETY: the row is inside the scores and this piece's alone; the round before has written it.
        let row = unsafe {
            let start = scores.at(sequence.scores + head * sequence.width);
            std::slice::from_raw_parts_mut(start, sequence.width)
        };
        vectorised!(A => softmax_of_first::<A>(row, sequence.tokens.len(), scale));
    });
    let context = Shared(context.as_mut_ptr());
    team.run(sequences.len() * groups, |piece| {
        let (number, column) = (piece / groups, piece % groups * PLACES);
        let Sequence {
            ref tokens,
            scores: place,
            width,
        } = sequences[number];
        let columns = PLACES.min(hidden - column);
        let values_len = columns.next_multiple_of(K::COLUMNS) * tokens.len();
        // SAFETY: as for keys.
        let values = unsafe {
            let slot = slots.at(piece % value_slots * value_slot);
            std::slice::from_raw_parts_mut(slot, values_len)
        };
        let right = Matrix::new(
            &states[tokens.start * hidden + column..],
            hidden,
            Lines::Outer,
        );
        pack_columns::<K>(right, (tokens.len(), columns), values);
        for row in (0..heads).step_by(K::ROWS) {
            let left = Left {
                start: scores.at(place + row * width).cast_const(),
                stride: width,
            };
            let shape = (K::ROWS.min(heads - row), columns, tokens.len());
            let result = context.at(number * wide + row * hidden + column);
            // SAFETY: as above, with the scores as rows; of the context, whose size was checked, these columns of the
            // sequence's rows are this piece's alone.
            unsafe { tiles::<K, false>(shape, left, values, (result, hidden)) }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| (k * i as f32).sin()).collect()
    }

    #[test]
    fn what_reaches_beyond_its_slices_is_refused() {
        let (query, states) = (wave(2, 0.37), wave(4, 0.53));
        let sound = FirstTokens {
            offsets: &[3, 5],
            heads: 1,
            scale: 1.0,
            query: &query,
            states: &states,
        };
        // Whether it panics; an error is another answer.
        let is_refused = |bad: FirstTokens<'_>, room: usize| {
            std::panic::catch_unwind(|| {
                let (mut scratch, mut context) = (Aligned::default(), vec![0.0; room]);
                attend_first(&Team::alone(), bad, &mut scratch, &mut context).is_ok()
            })
            .is_err()
        };
        assert!(!is_refused(sound, 2));
        assert!(is_refused(sound, 1) && is_refused(sound, 4));
        for offsets in [&[][..], &[0, 2, 2], &[5, 3], &[5, 3, 4], &[0, 3]] {
            let bad = FirstTokens { offsets, ..sound };
            assert!(is_refused(bad, 2), "{offsets:?}");
        }
        // As many heads as make the query's size zero, if what doesn't fit is left out.
        let many = FirstTokens {
            heads: 1 << (usize::BITS - 1),
            query: &[],
            ..sound
        };
        assert!(is_refused(many, 0));
    }

    /// By the formula in float64, alone and in teams, for sizes that fill no panel and no piece of work.
    fn check(
        attend: impl Fn(&Team<'_>, FirstTokens<'_>, &mut Aligned, &mut [f32]) -> Result<()> + Sync,
    ) {
        for (lengths, heads, hidden) in [
            (vec![1], 1, 1),
            (vec![5, 1, 9], 3, 7),
            (vec![130, 64, 65, 33], 13, 150),
            (vec![3, 200], 12, 384),
        ] {
            let mut offsets = vec![7];
            for length in &lengths {
                offsets.push(offsets[offsets.len() - 1] + length);
            }
            let tokens: usize = lengths.iter().sum();
            let query = wave(lengths.len() * heads * hidden, 0.37);
            let states = wave(tokens * hidden, 0.53);
            let attention = FirstTokens {
                offsets: &offsets,
                heads,
                scale: 0.2,
                query: &query,
                states: &states,
            };
            let compute = |team: &Team<'_>| {
                let mut context = vec![f32::NAN; query.len()];
                let mut scratch = Aligned::default();
                scratch.room::<f32>(100).unwrap().fill(f32::NAN);
                attend(team, attention, &mut scratch, &mut context).unwrap();
                context
            };
            let context = compute(&Team::alone());
            for threads in [2, 5] {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let shared = pool.install(|| Team::of(threads, compute));
                assert_eq!(shared, context);
            }
            for (row, (query, context)) in
                query.chunks(hidden).zip(context.chunks(hidden)).enumerate()
            {
                let number = row / heads;
                let of_sequence =
                    &states[(offsets[number] - 7) * hidden..(offsets[number + 1] - 7) * hidden];
                let weights: Vec<f64> = of_sequence
                    .chunks(hidden)
                    .map(|state| {
                        let terms = query.iter().zip(state);
                        let score: f64 = terms.map(|(q, x)| f64::from(*q) * f64::from(*x)).sum();
                        (score * 0.2).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for (place, got) in context.iter().enumerate() {
                    let terms = weights.iter().zip(of_sequence.chunks(hidden));
                    let want: f64 = terms
                        .map(|(p, state)| p / total * f64::from(state[place]))
                        .sum();
                    assert!(
                        (f64::from(*got) - want).abs() < 1e-5,
                        "{lengths:?}: {got} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn it_follows_the_formula_on_every_instruction_path_and_in_every_team() {
        check(attend_with::<tile::Baseline<false>>);
        #[cfg(target_arch = "x86_64")]
        if isa::widest() >= isa::Level::Avx2 {
            check(attend_with::<tile::Avx2<false>>);
        }
        #[cfg(target_arch = "x86_64")]
        if isa::widest() >= isa::Level::Avx512 {
            check(attend_with::<tile::Avx512<false>>);
        }
    }
}
