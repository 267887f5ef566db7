//! Byte-pair merging: the most frequent pair of neighbouring tokens becomes a token of its own, again and again.
//!
//! The `tokenizers` crate's trainers do the same, but its WordPiece trainer gives another vocabulary on each run (ids
//! follow a randomly seeded map) and both read an environment variable. Here nothing depends on a map's order: the
//! more frequent pair goes first, of equally frequent ones the pair with the smaller ids.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Two tokens by id, the left one first.
pub(super) type Pair = (u32, u32);

/// A word as the tokens it is cut into so far.
pub(super) struct Word {
    /// Ids.
    pub tokens: Vec<u32>,
    /// How often the word occurs.
    pub count: u64,
}

/// When merging ends, and how the text of a merged token is made.
pub(super) struct Limits<'a> {
    /// The most tokens there may be.
    pub max_tokens: usize,
    /// The least frequent pair that is merged.
    pub min_count: u64,
    /// What a token that continues a word begins with; dropped where it is joined to what it continues.
    pub prefix: &'a str,
}

/// Where a pair occurs and how often.
#[derive(Default)]
struct Occurrences {
    count: u64,
    /// Words that hold the pair or once held it; a word may stand here more than once.
    words: Vec<usize>,
}

/// Merges pairs in `words`, appending each new token to `tokens`; gives the merges in order. Every id in `words` must
/// be an index of `tokens`.
pub(super) fn merge_pairs(
    words: &mut [Word],
    tokens: &mut Vec<String>,
    limits: &Limits,
) -> Vec<Pair> {
    let mut ids: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
    let mut pairs: HashMap<Pair, Occurrences> = HashMap::new();
    for (index, word) in words.iter().enumerate() {
        for pair in word.tokens.windows(2) {
            let occurrences = pairs.entry((pair[0], pair[1])).or_default();
            occurrences.count += word.count;
            occurrences.words.push(index);
        }
    }
    // An entry may be out of date: counts that fell are put right when their entry comes up, counts that rose get a
    // new entry at once.
    let mut queue: BinaryHeap<(u64, Reverse<Pair>)> = pairs
        .iter()
        .map(|(pair, occurrences)| (occurrences.count, Reverse(*pair)))
        .collect();
    let mut merges: HashMap<Pair, usize> = HashMap::new();
    while tokens.len() < limits.max_tokens {
        let Some((count, Reverse(pair))) = queue.pop() else {
            break;
        };
        let current = pairs.get(&pair).map_or(0, |occurrences| occurrences.count);
        if current != count {
            if current > 0 {
                queue.push((current, Reverse(pair)));
            }
            continue;
        }
        if count < limits.min_count.max(1) {
            break;
        }
        let right = &tokens[pair.1 as usize];
        let text = format!(
            "{}{}",
            tokens[pair.0 as usize],
            right.strip_prefix(limits.prefix).unwrap_or(right)
        );
        // Two ways may lead to one token ("ab"+"c", "a"+"bc").
        let merged = *ids.entry(text).or_insert_with_key(|text| {
            tokens.push(text.clone());
            (tokens.len() - 1) as u32
        });
        let order = merges.len();
        merges.entry(pair).or_insert(order);

        let mut touched = pairs.remove(&pair).unwrap_or_default().words;
        touched.sort_unstable();
        touched.dedup();
        let mut risen: Vec<Pair> = Vec::new();
        for index in touched {
            let word = &mut words[index];
            let count = word.count;
            merge_in(&mut word.tokens, pair, merged, |changed, more| {
                if more {
                    let occurrences = pairs.entry(changed).or_default();
                    occurrences.count += count;
                    occurrences.words.push(index);
                    risen.push(changed);
                } else if let Some(occurrences) = pairs.get_mut(&changed) {
                    // The merged pair itself ("aa" in "aaa") isn't there any more.
                    occurrences.count = occurrences.count.saturating_sub(count);
                }
            });
        }
        risen.sort_unstable();
        risen.dedup();
        queue.extend(
            risen
                .into_iter()
                .map(|pair| (pairs.get(&pair).map_or(0, |o| o.count), Reverse(pair))),
        );
    }
    let mut merges: Vec<(Pair, usize)> = merges.into_iter().collect();
    merges.sort_unstable_by_key(|(_, order)| *order);
    merges.into_iter().map(|(pair, _)| pair).collect()
}

/// Replaces `pair` by `merged` in one word, from the left; calls `change` with each neighbouring pair that comes
/// (true) or goes (false).
fn merge_in(tokens: &mut Vec<u32>, pair: Pair, merged: u32, mut change: impl FnMut(Pair, bool)) {
    let (mut from, mut to) = (0, 0);
    while from < tokens.len() {
        if tokens[from] == pair.0 && tokens.get(from + 1) == Some(&pair.1) {
            if to > 0 {
                change((tokens[to - 1], pair.0), false);
                change((tokens[to - 1], merged), true);
            }
            if let Some(&next) = tokens.get(from + 2) {
                change((pair.1, next), false);
                change((merged, next), true);
            }
            tokens[to] = merged;
            from += 2;
        } else {
            tokens[to] = tokens[from];
            from += 1;
        }
        to += 1;
    }
    tokens.truncate(to);
}
