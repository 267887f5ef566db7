//! softmax(Q Kᵀ / √d) V for each sequence and head, for inference: a few query rows at a time, whose scores stay in the
//! cache, so that memory grows with the length and not with its square.

use super::aligned::Aligned;
use super::gemm::tile::{self, Kernel, Left};
use super::gemm::{Lines, Matrix, pack_columns, tiles};
use super::isa::{self, vectorised};
use super::linear::with_kernel;
use super::parallel::Shared;
use super::sizes::{assert_offsets, product, sum, whole};
use super::softmax::softmax_of_first;
use super::team::Team;
use crate::error::Result;

/// The attention of a group of sequences.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Where each sequence begins, and the end of the last; the group's first token stands in the first row.
    pub offsets: &'a [usize],
    /// Heads.
    pub heads: usize,
    /// Width of one head; a row of each part is `heads` times as wide.
    pub head_size: usize,
    /// The query rows: every token's, or each sequence's first.
    pub query: Part<'a>,
    /// Whether they are the sequences' first alone.
    pub first_only: bool,
    /// Every token's keys.
    pub key: Part<'a>,
    /// Every token's values.
    pub value: Part<'a>,
}

/// Rows that stand in a larger matrix.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// From the first row's first number.
    pub states: &'a [f32],
    /// Numbers from one row to the next.
    pub stride: usize,
}

impl Part<'_> {
    fn assert_rows(&self, rows: usize, width: usize) {
        let len = match rows {
            0 => 0,
            _ => sum([product([rows - 1, self.stride]), width]),
        };
        assert!(self.states.len() >= len);
    }
}

/// Writes the heads' outputs side by side: `context`[query rows, heads · head_size].
///
/// # Errors
/// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory) where `scratch` can't grow as needed.
pub fn attention(
    team: &Team<'_>,
    attention: Attention<'_>,
    scratch: &mut Aligned,
    context: &mut [f32],
) -> Result<()> {
    let Attention {
        offsets,
        heads,
        head_size,
        query,
        first_only,
        key,
        value,
    } = attention;
    assert_offsets(offsets, 0);
    let (sequences, width) = (offsets.len() - 1, product([heads, head_size]));
    let range = |number: usize| offsets[number] - offsets[0]..offsets[number + 1] - offsets[0];
    let tokens = offsets[sequences] - offsets[0];
    let rows = if first_only { sequences } else { tokens };
    query.assert_rows(rows, width);
    key.assert_rows(tokens, width);
    value.assert_rows(tokens, width);
    assert_eq!(context.len(), product([rows, width]));
    let longest = (0..sequences).map(|number| range(number).len()).max();
    let pieces = product([sequences, heads]);
    // One after another they use the same memory, which stays in the cache.
    let slot = scratch_len(longest.unwrap_or(0), head_size);
    let slots = if team.members() == 1 { 1 } else { pieces };
    let scratch = Shared(scratch.room::<f32>(product([slots, slot]))?.as_mut_ptr());
    let context = Shared(context.as_mut_ptr());
    team.run(pieces, |piece| {
        let (number, head) = (piece / heads, piece % heads);
        let range = range(number);
        if range.is_empty() {
            return;
        }
        let (first, queries) = if first_only {
            (number, 1)
        } else {
            (range.start, range.len())
        };
        let column = head * head_size;
        let head = Head {
            query: &query.states[first * query.stride + column..],
            query_stride: query.stride,
            queries,
            key: &key.states[range.start * key.stride + column..],
            key_stride: key.stride,
            value: &value.states[range.start * value.stride + column..],
            value_stride: value.stride,
            tokens: range.len(),
            size: head_size,
        };
        let context = Context {
            start: context.at(first * width + column),
            stride: width,
        };
        // SAFETY: the context has these rows and columns (just checked), which are this piece's alone, as is its slot of
        // the working memory: with one slot there is one thread.
        unsafe {
            let scratch = std::slice::from_raw_parts_mut(scratch.at(piece % slots * slot), slot);
            attend(head, context, scratch);
        }
    });
    Ok(())
}

/// One head of one sequence.
#[derive(Clone, Copy)]
struct Head<'a> {
    /// From the head's first number of the first query row.
    query: &'a [f32],
    /// Numbers from one query row to the next.
    query_stride: usize,
    /// Query rows.
    queries: usize,
    /// From the head's first number of the sequence's first key row.
    key: &'a [f32],
    /// From the head's first number of the sequence's first value row.
    value: &'a [f32],
    /// Numbers from one row of keys to the next.
    key_stride: usize,
    /// Numbers from one row of values to the next.
    value_stride: usize,
    /// Rows of keys and values.
    tokens: usize,
    /// Numbers of the head in each row.
    size: usize,
}

/// Where the head's part of the context goes.
#[derive(Clone, Copy)]
struct Context {
    /// Its first number in the first row.
    start: *mut f32,
    /// Numbers from one row to the next.
    stride: usize,
}

/// The widest panel of all kernels.
pub(super) const COLUMNS: usize = 32;

/// Their highest tile.
const ROWS: usize = 12;

/// Numbers of working memory for heads of this size over so many tokens.
fn scratch_len(tokens: usize, size: usize) -> usize {
    let keys = whole(tokens, COLUMNS);
    sum([
        product([keys, size]),
        product([whole(size, COLUMNS), tokens]),
        product([ROWS, keys]),
    ])
}

/// Writes the head's context.
///
/// # Safety
/// `context` begins `queries` rows of `size` numbers that no one else touches. `scratch` has [`scratch_len`] numbers.
unsafe fn attend(head: Head<'_>, context: Context, scratch: &mut [f32]) {
    // SAFETY: by this function's contract.
    unsafe { with_kernel!(attend_with::<K>(head, context, scratch)) }
}

unsafe fn attend_with<K: Kernel<Unit = f32>>(
    head: Head<'_>,
    context: Context,
    scratch: &mut [f32],
) {
    const { assert!(K::COLUMNS <= COLUMNS && K::ROWS <= ROWS) };
    let Head {
        query,
        query_stride,
        queries,
        key,
        key_stride,
        value,
        value_stride,
        tokens,
        size,
    } = head;
    let width = tokens.next_multiple_of(K::COLUMNS);
    let (keys, rest) = scratch.split_at_mut(width * size);
    let (values, rest) = rest.split_at_mut(size.next_multiple_of(K::COLUMNS) * tokens);
    let scores = &mut rest[..K::ROWS * width];
    assert!(
        key.len() >= (tokens - 1) * key_stride + size
            && value.len() >= (tokens - 1) * value_stride + size
            && query.len() >= (queries - 1) * query_stride + size
    );
    pack_columns::<K>(
        Matrix::new(key, key_stride, Lines::Inner),
        (size, tokens),
        keys,
    );
    pack_columns::<K>(
        Matrix::new(value, value_stride, Lines::Outer),
        (tokens, size),
        values,
    );
    let scale = 1.0 / (size as f32).sqrt();
    let mut first = 0;
    while first < queries {
        let rows = (queries - first).min(K::ROWS);
        let left = Left::new(&query[first * query_stride..], query_stride);
        // SAFETY: the query rows and the panels are there (just checked, just packed), the scores' rows are `width` wide, and the
        // kernel is of this machine's instructions.
        unsafe {
            tiles::<K, false>(
                (rows, width, size),
                left,
                keys,
                (scores.as_mut_ptr(), width),
            );
        }
        vectorised!(A => {
            for row in scores.chunks_exact_mut(width).take(rows) {
                softmax_of_first::<A>(row, tokens, scale);
            }
        });
        let left = Left::new(scores, width);
        let result = context.start.wrapping_add(first * context.stride);
        // SAFETY: as above; the context's rows are this call's alone, by this function's contract.
        unsafe {
            tiles::<K, false>((rows, size, tokens), left, values, (result, context.stride));
        }
        first += rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| 2.0 * (k * i as f32).sin()).collect()
    }

    /// In float64 by the formula, on lengths and sizes that fill no panel, for some and for all query rows.
    fn check(attend: impl Fn(Head<'_>, Context, &mut [f32])) {
        for (tokens, size, heads) in [(1, 1, 1), (5, 7, 3), (33, 16, 2), (64, 32, 2), (512, 40, 1)]
        {
            let width = heads * size;
            let states = wave(tokens * 3 * width, 0.37);
            for queries in [1, tokens] {
                let mut context = vec![f32::NAN; queries * width];
                for head in 0..heads {
                    let from = |part: usize| &states[part * width + head * size..];
                    let of_head = Head {
                        query: from(0),
                        query_stride: 3 * width,
                        queries,
                        key: from(1),
                        value: from(2),
                        key_stride: 3 * width,
                        value_stride: 3 * width,
                        tokens,
                        size,
                    };
                    let out = Context {
                        start: context[head * size..].as_mut_ptr(),
                        stride: width,
                    };
                    let mut scratch = vec![f32::NAN; scratch_len(tokens, size)];
                    attend(of_head, out, &mut scratch);
                    let at = |part: usize, row: usize, place: usize| {
                        f64::from(states[(row * 3 + part) * width + head * size + place])
                    };
                    for query in 0..queries {
                        let scores: Vec<f64> = (0..tokens)
                            .map(|key| {
                                (0..size)
                                    .map(|p| at(0, query, p) * at(1, key, p))
                                    .sum::<f64>()
                                    / (size as f64).sqrt()
                            })
                            .collect();
                        let most = scores.iter().copied().fold(f64::MIN, f64::max);
                        let total: f64 = scores.iter().map(|s| (s - most).exp()).sum();
                        for place in 0..size {
                            let want: f64 = (0..tokens)
                                .map(|key| (scores[key] - most).exp() / total * at(2, key, place))
                                .sum();
                            let got = f64::from(context[query * width + head * size + place]);
                            assert!((got - want).abs() < 2e-6, "{tokens} {size}: {got} {want}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_reaches_beyond_its_slices_is_refused() {
        let states = wave(4, 0.37);
        let part = |stride| Part {
            states: &states,
            stride,
        };
        let sound = Attention {
            offsets: &[3, 5],
            heads: 1,
            head_size: 2,
            query: part(2),
            first_only: false,
            key: part(2),
            value: part(2),
        };
        // Whether it panics; an error is another answer.
        let is_refused = |bad: Attention<'_>, room: usize| {
            std::panic::catch_unwind(|| {
                let (mut scratch, mut context) = (Aligned::default(), vec![0.0; room]);
                attention(&Team::alone(), bad, &mut scratch, &mut context).is_ok()
            })
            .is_err()
        };
        assert!(!is_refused(sound, 4));
        assert!(is_refused(sound, 3) && is_refused(sound, 5));
        for offsets in [&[][..], &[0, 1, 0, 2], &[5, 3], &[0, 3]] {
            let bad = Attention { offsets, ..sound };
            assert!(is_refused(bad, 4), "{offsets:?}");
        }
        // Sizes whose product is a small number, if what doesn't fit is left out.
        let half = 1 << (usize::BITS / 2);
        let wide = Attention {
            heads: half,
            head_size: half,
            ..sound
        };
        assert!(is_refused(wide, 0));
        // Three rows, of which the last one would begin where the first does.
        let far = part(1 << (usize::BITS - 1));
        let (offsets, query) = (&[0, 3][..], part(0));
        for (query, key, value) in [
            (far, query, query),
            (query, far, query),
            (query, query, far),
        ] {
            let bad = Attention {
                offsets,
                query,
                key,
                value,
                ..sound
            };
            assert!(is_refused(bad, 6));
        }
        // One row again and again: more tokens than there is memory for their scores.
        let long = Attention {
            offsets: &[0, 1 << (usize::BITS - 2)],
            head_size: 4,
            query: part(0),
            first_only: true,
            key: part(0),
            value: part(0),
            ..sound
        };
        assert!(is_refused(long, 4));
    }

    #[test]
    fn it_follows_the_formula_on_every_instruction_path() {
        // SAFETY (all): each context and scratch is as large as it must be, and the instructions are there.
        check(|head, context, scratch| unsafe {
            attend_with::<tile::Baseline<false>>(head, context, scratch);
        });
        #[cfg(target_arch = "x86_64")]
        if isa::widest() >= isa::Level::Avx2 {
            check(|head, context, scratch| unsafe {
                attend_with::<tile::Avx2<false>>(head, context, scratch);
            });
        }
        #[cfg(target_arch = "x86_64")]
        if isa::widest() >= isa::Level::Avx512 {
            check(|head, context, scratch| unsafe {
                attend_with::<tile::Avx512<false>>(head, context, scratch);
            });
        }
    }
}
