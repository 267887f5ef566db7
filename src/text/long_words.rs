//! Byte-pair encoding of words of any length, in one go from the left and exactly: which tokens the beginning of a word
//! has may depend on all that follows, but hardly ever does, and where it can't any more they are given out.
//!
//! Two properties of merging by rank (of equal ranks from the left) make it possible. What lies between two ends of
//! tokens of a word's encoding is, as a word of its own, encoded as those tokens; and a sequence of tokens is the
//! encoding of what they make if that holds for each two neighbours. (A merge over an end of tokens would happen in the
//! two neighbours alone too, for which merges come before which doesn't depend on what lies further off.) So the last
//! token of each beginning of a word is the one that ends there and fits to the last token of the beginning without it.
//! All encodings go through the last places, at most one token's length back: where what leads to those begins alike
//! is settled.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use super::SMALL_PARTS;
use super::trie::{PairMap, Trie};

/// Vocabularies with longer tokens, in symbols, or more symbols in all of them aren't done here.
const LONGEST: usize = 512;
const MOST_SYMBOLS: usize = 8 << 20;

/// Of vocabularies with more symbols tokens aren't counted by their beginnings.
const MOST_TO_COUNT: usize = 2 << 20;

/// How a token is made.
#[derive(Clone, Copy)]
struct Made {
    /// The rank of its last merge.
    rank: u32,
    left: u32,
    right: u32,
    /// Symbols.
    length: u32,
}

/// Tokens that are made, by id: asked for at every step, so without hashing.
struct MadeTokens {
    tokens: Vec<(u32, Made)>,
    /// By id: one more than the place in `tokens`, 0 where the token isn't made.
    places: Vec<u32>,
}

impl MadeTokens {
    /// For ids up to `most`.
    fn new(most: u32) -> MadeTokens {
        MadeTokens {
            tokens: Vec::new(),
            places: vec![0; most as usize + 1],
        }
    }

    #[inline]
    fn get(&self, id: u32) -> Option<&Made> {
        let place = *self.places.get(id as usize)? as usize;
        Some(&self.tokens.get(place.wrapping_sub(1))?.1)
    }

    /// Of an id that has none yet.
    fn insert(&mut self, id: u32, made: Made) {
        self.tokens.push((id, made));
        self.places[id as usize] = self.tokens.len() as u32;
    }
}

/// The merges of a vocabulary.
pub(super) struct Merges {
    /// The rank of a merge, and by rank what it makes.
    ranks: PairMap,
    results: Box<[u32]>,
    made: MadeTokens,
    /// Tokens by their symbols, the last one first.
    ends: Trie,
    /// Tokens by their symbols, the first one first; `None` where there are too many.
    starts: OnceLock<Option<Trie>>,
    /// Symbols of the longest token.
    longest: usize,
}

impl Merges {
    /// `merges` are the pairs of ids in the order of their ranks with what they make. `is_symbol` says which ids a word
    /// may hold before anything is merged. `None` where these merges don't have what is needed: each token made of
    /// tokens of lower ranks, of the same symbols always, and not too long.
    pub(super) fn new(
        merges: &[(u32, u32, u32)],
        is_symbol: impl Fn(u32) -> bool,
    ) -> Option<Merges> {
        let mut ranks = PairMap::default();
        for (rank, &(left, right, _)) in (0..).zip(merges) {
            ranks.insert(left, right, rank);
        }
        if merges.iter().any(|(_, _, made)| is_symbol(*made)) {
            return None;
        }
        let most = merges.iter().map(|merge| merge.2).max().unwrap_or(0);
        let mut all = Merges {
            ranks,
            results: merges.iter().map(|merge| merge.2).collect(),
            made: MadeTokens::new(most),
            ends: Trie::new(),
            starts: OnceLock::new(),
            longest: 1,
        };
        let results: HashSet<u32> = merges.iter().map(|merge| merge.2).collect();
        let mut symbols: HashMap<u32, Box<[u32]>> = HashMap::new();
        // Of a pair, one after the other.
        let symbols_of = |symbols: &HashMap<u32, Box<[u32]>>, left: u32, right: u32| {
            [left, right]
                .map(|id| symbols.get(&id).map_or(vec![id], |of| of.to_vec()))
                .concat()
        };
        // Whether a word may ever hold it: it is there from the beginning, or a merge that can happen makes it.
        let reached = |made: &MadeTokens, id: u32| made.get(id).is_some() || !results.contains(&id);
        let mut total = 0;
        for (rank, &(left, right, token)) in (0..).zip(merges) {
            if all.ranks.get(left, right) != Some(rank) {
                // The pair stands there again; the later one counts.
                continue;
            }
            if !reached(&all.made, left) || !reached(&all.made, right) {
                continue;
            }
            let parts = symbols_of(&symbols, left, right);
            total += parts.len();
            if parts.len() > LONGEST || total > MOST_SYMBOLS {
                return None;
            }
            match symbols.get(&token) {
                Some(others) if **others == *parts => {}
                Some(_) => return None,
                None if all.stay_apart(left, right, rank) => {
                    all.made.insert(
                        token,
                        Made {
                            rank,
                            left,
                            right,
                            length: parts.len() as u32,
                        },
                    );
                    all.longest = all.longest.max(parts.len());
                    all.ends.insert(parts.iter().rev().copied(), token);
                    symbols.insert(token, parts.into());
                }
                None => {}
            }
        }
        // A token whose parts come with a higher rank than it would be made at another time than its rank says. And of
        // two ways to one token that both may be met, both must be of the same symbols.
        for (rank, &(left, right, token)) in (0..).zip(merges) {
            if all.ranks.get(left, right) != Some(rank)
                || !reached(&all.made, left)
                || !reached(&all.made, right)
            {
                continue;
            }
            let late = |id: u32| all.made.get(id).is_some_and(|made| made.rank > rank);
            if late(left) || late(right) {
                let parts = symbols_of(&symbols, left, right);
                if symbols.get(&token).is_none_or(|others| **others != *parts) {
                    return None;
                }
            }
        }
        Some(all)
    }

    /// Tokens of more than one symbol by their symbols; `None` where there are too many.
    pub(super) fn starts(&self) -> Option<&Trie> {
        let all = || {
            let symbols = self
                .made
                .tokens
                .iter()
                .map(|(_, made)| made.length as usize);
            if symbols.sum::<usize>() > MOST_TO_COUNT {
                return None;
            }
            let mut starts = Trie::new();
            let (mut symbols, mut open) = (Vec::new(), Vec::new());
            for &(token, _) in &self.made.tokens {
                symbols.clear();
                open.push(token);
                while let Some(token) = open.pop() {
                    match self.made.get(token) {
                        Some(made) => open.extend([made.right, made.left]),
                        None => symbols.push(token),
                    }
                }
                starts.insert(symbols.iter().copied(), token);
            }
            Some(starts)
        };
        self.starts.get_or_init(all).as_ref()
    }

    /// How many tokens a word of few symbols is merged to: the pair of the lowest rank first, of equal ones the left one.
    /// The symbols become those tokens.
    pub(super) fn merged(&self, symbols: &mut Vec<u32>) -> usize {
        const NO_MERGE: u32 = u32::MAX;
        let rank = |left: u32, right: u32| self.ranks.get(left, right).unwrap_or(NO_MERGE);
        let mut ranks: Vec<u32> = symbols
            .windows(2)
            .map(|pair| rank(pair[0], pair[1]))
            .collect();
        while let Some(&least) = ranks.iter().min()
            && least != NO_MERGE
            && let Some(at) = ranks.iter().position(|&rank| rank == least)
        {
            symbols[at] = self.results[least as usize];
            symbols.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = rank(symbols[at - 1], symbols[at]);
            }
            if let Some(&next) = symbols.get(at + 1) {
                ranks[at] = rank(symbols[at], next);
            }
        }
        symbols.len()
    }

    fn length(&self, token: u32) -> usize {
        self.made.get(token).map_or(1, |made| made.length as usize)
    }

    /// Whether merges of ranks under `limit` leave the end between two tokens as it is: they are taken apart again, the
    /// last made first, and no pair over the end may have had its turn before.
    pub(super) fn stay_apart(&self, mut left: u32, mut right: u32, mut limit: u32) -> bool {
        loop {
            if self.ranks.get(left, right).is_some_and(|rank| rank < limit) {
                return false;
            }
            match (self.made.get(left), self.made.get(right)) {
                // Of equal ranks the right one was made later.
                (Some(l), r) if r.is_none_or(|r| l.rank > r.rank) => {
                    limit = l.rank;
                    left = l.right;
                }
                (_, Some(r)) => {
                    // A merge of that rank over the end stands further left, so its turn is before.
                    limit = r.rank + 1;
                    right = r.left;
                }
                (_, None) => return true,
            }
        }
    }
}

/// A word that is being encoded.
#[derive(Default)]
pub(super) struct LongWord {
    /// The symbols that aren't settled, and for each the last token of the word up to and with it.
    symbols: Vec<u32>,
    last: Vec<u32>,
    /// How many symbols there are when it is next looked for what is settled.
    settle_at: usize,
}

/// How often it is looked for what is settled, at most: in symbols.
const SETTLE: usize = if SMALL_PARTS { 2 } else { 1024 };

impl LongWord {
    /// Takes one more symbol; appends to `ids` what is settled.
    pub(super) fn push(&mut self, merges: &Merges, symbol: u32, ids: &mut Vec<u32>) {
        self.symbols.push(symbol);
        let token = self.last_token(merges, symbol);
        self.last.push(token);
        if self.symbols.len() >= self.settle_at.max(SETTLE + merges.longest) {
            self.settle(merges, ids);
        }
    }

    /// The symbols that aren't settled: a word of their own, if with the same tokens.
    pub(super) fn open(&self) -> &[u32] {
        &self.symbols
    }

    fn last_token(&self, merges: &Merges, symbol: u32) -> u32 {
        let fits = |length: usize, token: u32| {
            let before = self.symbols.len() - length;
            before == 0 || merges.stay_apart(self.last[before - 1], token, u32::MAX)
        };
        let mut node = Trie::ROOT;
        for (place, &label) in self.symbols.iter().rev().enumerate() {
            let Some(next) = merges.ends.next(node, label) else {
                break;
            };
            node = next;
            if let Some(token) = merges.ends.value(node)
                && fits(place + 1, token)
            {
                return token;
            }
        }
        symbol
    }

    fn settle(&mut self, merges: &Merges, ids: &mut Vec<u32>) {
        let end = self.symbols.len();
        // Back from the last places, always from the last one that is left, until one is left.
        let mut left = vec![false; end + 1];
        let mut count = 0;
        for place in &mut left[(end + 1).saturating_sub(merges.longest)..] {
            *place = true;
            count += 1;
        }
        let mut place = end;
        while count > 1 {
            if left[place] {
                let before = place - merges.length(self.last[place - 1]);
                count -= usize::from(left[before]);
                left[before] = true;
            }
            place -= 1;
        }
        while !left[place] {
            place -= 1;
        }
        self.give(merges, place, ids);
        self.symbols.drain(..place);
        self.last.drain(..place);
        // Where much isn't settled, it is looked for less often.
        self.settle_at = 2 * self.symbols.len();
    }

    /// Appends the tokens up to a place.
    fn give(&self, merges: &Merges, place: usize, ids: &mut Vec<u32>) {
        let from = ids.len();
        let mut place = place;
        while place > 0 {
            let token = self.last[place - 1];
            ids.push(token);
            place -= merges.length(token);
        }
        ids[from..].reverse();
    }

    /// The word ends: appends what isn't given yet and is ready for another.
    pub(super) fn end(&mut self, merges: &Merges, ids: &mut Vec<u32>) {
        self.give(merges, self.symbols.len(), ids);
        self.symbols.clear();
        self.last.clear();
        self.settle_at = 0;
    }
}
