//! Added tokens are found in a text before its words are: some in the text as it comes, some in it once normalised.
//! The rules are those of the `tokenizers` crate: of those that begin first the longest one.

use std::sync::Arc;

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder, MatchKind};
use tokenizers::AddedToken;

use super::SMALL_PARTS;
use super::characters::{SPACE, WORD, class};
use super::overlong::{Overlong, Passing};
use super::symbols::{ADDED, BLOCK, END, Source, Step, character};
use crate::error::Result;

use super::pipeline::unexpected;

/// How many bytes of a text are searched at a time, at least.
const WINDOW: usize = if SMALL_PARTS { 4 } else { 32 * 1024 };

const BEGINNINGS: usize = 2048;

/// How much normalised text is searched at a time where a token may begin, at least, beside the longest token's bytes.
const SOME_TEXT: usize = if SMALL_PARTS { 4 } else { 1024 };

/// Added tokens that are looked for in one form of the text.
pub(super) struct AddedTokens {
    finder: DoubleArrayAhoCorasick<u32>,
    /// By the finder's values.
    tokens: Vec<Found>,
    /// Bytes of the longest.
    longest: usize,
    /// The character with which all of them begin, if it is one.
    first: Option<char>,
    /// By a character's last bits: whether one of them may begin with it.
    beginning: Box<[bool; BEGINNINGS]>,
    /// Whether one of them takes whitespace before it.
    takes_before: bool,
}

#[derive(Clone, Copy)]
struct Found {
    id: u32,
    single_word: bool,
    takes_before: bool,
    takes_behind: bool,
}

/// Appends a text's characters. Lengths that go up and down aren't foreseen by processors, so that nothing is made to depend
/// on them but where the next one begins.
fn push_characters(text: &str, out: &mut Vec<u32>) {
    if text.is_ascii() {
        out.extend(text.bytes().map(u32::from));
        return;
    }
    /// Of a character of so many bytes: the bits of its first byte that count, and the place of its last bit in four bytes.
    const FIRST: [u32; 5] = [0, 0x7f, 0x1f, 0x0f, 0x07];
    const LAST: [u32; 5] = [0, 18, 12, 6, 0];
    let mut rest = text.as_bytes();
    out.reserve(rest.len());
    while let Some(&[a, b, c, d]) = rest.first_chunk() {
        let length = 1 + usize::from(a >= 0xc0) + usize::from(a >= 0xe0) + usize::from(a >= 0xf0);
        let bits = (u32::from(a) & FIRST[length]) << 18
            | u32::from(b & 0x3f) << 12
            | u32::from(c & 0x3f) << 6
            | u32::from(d & 0x3f);
        out.push(bits >> LAST[length]);
        rest = &rest[length..];
    }
    let behind = &text[text.len() - rest.len()..];
    out.extend(behind.chars().map(u32::from));
}

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
enum Search {
    /// A token's place with the whitespace that it takes, its id, and where to go on searching.
    Token {
        start: usize,
        stop: usize,
        id: Option<u32>,
        search: usize,
    },
    /// Up to `clear` there is none; go on searching at `search` with more text.
    Open { clear: usize, search: usize },
}

fn is_word(c: char) -> bool {
    class(c as u32) & WORD != 0
}

/// The last place at or before `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl AddedTokens {
    /// `tokens` by the text that is looked for, and id; `None` where there are none. No two may have one text, and none
    /// an empty one.
    pub(super) fn new(tokens: Vec<(String, u32, &AddedToken)>) -> Result<Option<AddedTokens>> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let finder = DoubleArrayAhoCorasickBuilder::new()
            .match_kind(MatchKind::LeftmostLongest)
            .build_with_values(
                (0..)
                    .zip(&tokens)
                    .map(|(place, (text, ..))| (text.as_str(), place)),
            )
            .map_err(unexpected("preparing the added tokens"))?;
        let first = tokens[0].0.chars().next();
        let mut beginning = Box::new([false; BEGINNINGS]);
        for c in tokens.iter().filter_map(|(text, ..)| text.chars().next()) {
            beginning[c as usize % BEGINNINGS] = true;
        }
        Ok(Some(AddedTokens {
            finder,
            longest: tokens
                .iter()
                .map(|(text, ..)| text.len())
                .max()
                .unwrap_or(0),
            first: first.filter(|first| tokens.iter().all(|t| t.0.starts_with(*first))),
            beginning,
            takes_before: tokens.iter().any(|(.., token)| token.lstrip),
            tokens: tokens
                .iter()
                .map(|(_, id, token)| Found {
                    id: *id,
                    single_word: token.single_word,
                    takes_before: token.lstrip,
                    takes_behind: token.rstrip,
                })
                .collect(),
        }))
    }

    /// Whether a token may begin with this character.
    #[inline]
    fn may_begin(&self, c: u32) -> bool {
        self.beginning[c as usize % BEGINNINGS]
    }

    /// How many of the symbols are characters that no token has to do with, whatever comes behind them.
    fn count_clear(&self, symbols: &[u32]) -> usize {
        let end = |&symbol: &u32| symbol >= END || self.may_begin(symbol);
        let count = symbols.iter().position(end);
        let stays_open = count.is_none_or(|count| symbols[count] < END);
        let count = count.unwrap_or(symbols.len());
        if !(self.takes_before && stays_open) {
            return count;
        }
        let last = |&symbol: &u32| class(symbol) & SPACE == 0;
        symbols[..count]
            .iter()
            .rposition(last)
            .map_or(0, |last| last + 1)
    }

    /// The next token in `text` from `search` on. `before` is the character in front of `text`, `given` the place up to
    /// which the text is spoken for, `complete` whether nothing comes behind `text`.
    fn find(
        &self,
        text: &str,
        before: Option<char>,
        complete: bool,
        given: usize,
        mut search: usize,
    ) -> Search {
        // Up to `at` there is none, but one may begin there. What was searched before and isn't given out is whitespace.
        let searched = search.max(given);
        let open = |at: usize, search: usize| {
            let clear = if self.takes_before && !complete {
                match text[searched.min(at)..at].trim_end().len() {
                    0 => given,
                    stays => searched + stays,
                }
            } else {
                at
            };
            Search::Open {
                clear: clear.max(given),
                search,
            }
        };
        loop {
            let skipped = match self.first {
                Some(first) => text[search..].find(first),
                None => Some(0),
            };
            let found = skipped.and_then(|skipped| {
                let from = search + skipped;
                let found = self.finder.leftmost_find_iter(&text[from..]).next()?;
                Some((from + found.start(), from + found.end(), found.value()))
            });
            let Some((start, end, value)) = found else {
                if complete {
                    return open(text.len(), text.len());
                }
                let undecided = (text.len() + 1).saturating_sub(self.longest);
                let at = boundary(text, undecided).max(search);
                let begins = text[at..].find(|c| self.may_begin(c as u32));
                let at = begins.map_or(text.len(), |begins| at + begins);
                return open(at, at);
            };
            if !complete && text.len() - start < self.longest {
                // A longer one may begin there.
                return open(start, start);
            }
            let token = self.tokens[value as usize];
            if token.single_word {
                let in_front = text[..start].chars().next_back().or(before);
                let Some(behind) = text[end..]
                    .chars()
                    .next()
                    .map(Some)
                    .or(complete.then_some(None))
                else {
                    return open(start, start);
                };
                if in_front.is_some_and(is_word) || behind.is_some_and(is_word) {
                    search = end;
                    continue;
                }
            }
            let mut taken = (start, end);
            if token.takes_before {
                taken.0 = text[..start].trim_end().len().max(given);
            }
            if token.takes_behind {
                taken.1 = text.len() - text[end..].trim_start().len();
                if taken.1 == text.len() && !complete {
                    return open(start, start);
                }
            }
            return Search::Token {
                start: taken.0,
                stop: taken.1,
                // In the whitespace that the token before took, nothing may be left of this one.
                id: (taken.0 < taken.1).then_some(token.id),
                search: end,
            };
        }
    }
}

/// How far a text was searched and given out.
#[derive(Default)]
struct Progress {
    search: usize,
    /// Up to here it was given out, and up to there it may be.
    given: usize,
    clear: usize,
    /// The token behind that, and where the text goes on.
    token: Option<(Option<u32>, usize)>,
}

impl Progress {
    /// Searches on, once all that may be is given out; whether there is more of that now. The arguments are those of
    /// [`AddedTokens::find`].
    fn search(
        &mut self,
        tokens: &AddedTokens,
        text: &str,
        before: Option<char>,
        complete: bool,
    ) -> bool {
        match tokens.find(text, before, complete, self.given, self.search) {
            Search::Token {
                start,
                stop,
                id,
                search,
            } => {
                self.search = search;
                self.clear = start;
                self.token = Some((id, stop));
                true
            }
            Search::Open { clear, search } => {
                self.search = search;
                self.clear = clear;
                clear > self.given
            }
        }
    }

    /// Up to here the text is both searched and given out.
    fn done(&self) -> usize {
        self.given.min(self.search)
    }

    /// Gives out some of the text; false where none of it may be.
    fn give_text(&mut self, text: &str, out: &mut Vec<u32>) -> bool {
        if self.given >= self.clear {
            return false;
        }
        let until = boundary(text, (self.given + BLOCK).min(self.clear));
        let part = &text[self.given..until];
        push_characters(part, out);
        self.given = until;
        true
    }

    /// Gives out the token behind the text that was given out; false where none was found.
    fn give_token(&mut self, out: &mut Vec<u32>) -> bool {
        let Some((id, stop)) = self.token.take() else {
            return false;
        };
        out.extend(id.map(|id| ADDED | id));
        // It may go back, where a token stands in the whitespace that the one before took.
        (self.given, self.clear) = (stop, stop);
        true
    }
}

/// A text's characters, and the added tokens that stand in it as such.
pub(super) struct TextSource<'a> {
    text: &'a str,
    tokens: Option<&'a AddedTokens>,
    /// The part of the text that is searched now, and by how many bytes the next one goes further.
    window: usize,
    size: usize,
    progress: Progress,
    /// Where words may be too long.
    passing: Option<Passing<'a>>,
    ended: bool,
}

impl<'a> TextSource<'a> {
    pub(super) fn new(
        text: &'a str,
        tokens: Option<&'a AddedTokens>,
        overlong: Option<&'a Overlong>,
    ) -> TextSource<'a> {
        TextSource {
            text,
            tokens,
            passing: overlong.map(Passing::new),
            window: 0,
            size: WINDOW,
            progress: Progress {
                clear: if tokens.is_none() { text.len() } else { 0 },
                ..Progress::default()
            },
            ended: false,
        }
    }

    fn search(&mut self, tokens: &AddedTokens) {
        let window = self
            .progress
            .given
            .max(self.progress.search)
            .saturating_add(self.size + tokens.longest);
        self.window = self.window.max(boundary(self.text, window));
        let complete = self.window == self.text.len();
        let text = &self.text[..self.window];
        self.size = if self.progress.search(tokens, text, None, complete) {
            WINDOW
        } else {
            // Where nothing could be decided, with twice as much, and with all in which no token begins.
            let behind = &self.text[self.window..];
            let clear = match tokens.first {
                Some(first) => behind.find(first).unwrap_or(behind.len()),
                None => 0,
            };
            let open = self
                .window
                .saturating_sub(self.progress.given.max(self.progress.search));
            (2 * self.size).max(open + clear)
        };
    }
}

impl Source for TextSource<'_> {
    fn fill(&mut self, out: &mut Vec<u32>) -> bool {
        while !self.ended {
            if let Some(passing) = &mut self.passing {
                let Progress { given, clear, .. } = self.progress;
                self.progress.given = passing.pass(self.text, given, clear);
            }
            let before = out.len();
            if self.progress.give_text(self.text, out) {
                if let Some(passing) = &mut self.passing {
                    passing.gave(&out[before..]);
                }
                return true;
            }
            if self.progress.give_token(out) {
                if let Some(passing) = &mut self.passing {
                    passing.gave_token();
                }
                if out.len() >= BLOCK {
                    return true;
                }
                continue;
            }
            match self.tokens {
                Some(tokens) if self.progress.done() < self.text.len() => {
                    self.search(tokens);
                }
                _ => {
                    out.push(END);
                    self.ended = true;
                    return true;
                }
            }
        }
        false
    }
}

/// Finds added tokens in the normalised text.
pub(super) struct FindAdded {
    tokens: Arc<AddedTokens>,
    /// The text between two marks that isn't decided yet, the character in front of it, and how much of it must be
    /// there before it is searched.
    text: String,
    before: Option<char>,
    wanted: usize,
    progress: Progress,
}

impl FindAdded {
    pub(super) fn new(tokens: Arc<AddedTokens>) -> FindAdded {
        FindAdded {
            wanted: SOME_TEXT + tokens.longest,
            tokens,
            text: String::new(),
            before: None,
            progress: Progress::default(),
        }
    }

    /// Gives out what is decided and decides what can be; false where a block was filled before.
    fn decide(&mut self, complete: bool, out: &mut Vec<u32>) -> bool {
        loop {
            while self.progress.give_text(&self.text, out) {
                if out.len() >= BLOCK {
                    return false;
                }
            }
            if self.progress.give_token(out) && out.len() >= BLOCK {
                return false;
            }
            if complete && self.progress.done() == self.text.len() {
                return true;
            }
            let found = self
                .progress
                .search(&self.tokens, &self.text, self.before, complete);
            if !found && !complete {
                return true;
            }
        }
    }

    /// Forgets what is given out and searched.
    fn shrink(&mut self) {
        let done = self.progress.done();
        if done > 0 {
            self.before = self.text[..done].chars().next_back();
            self.text.drain(..done);
            self.progress.given -= done;
            self.progress.clear = self.progress.given;
            self.progress.search -= done;
        }
        self.wanted = (2 * self.text.len()).max(SOME_TEXT + self.tokens.longest);
    }
}

impl Step for FindAdded {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let mut place = 0;
        while let Some(&symbol) = input.get(place) {
            if self.text.is_empty() {
                let count = self.tokens.count_clear(&input[place..]);
                if count > 0 {
                    place += count;
                    out.extend_from_slice(&input[place - count..place]);
                    self.before = character(input[place - 1]);
                    continue;
                }
            }
            match character(symbol) {
                Some(_) => {
                    if self.text.len() >= self.wanted {
                        if !self.decide(false, out) {
                            return place;
                        }
                        self.shrink();
                    }
                    // One at least is wanted, so it goes on.
                    let characters = input[place..].iter().map_while(|&s| character(s));
                    for c in characters.take(self.wanted - self.text.len()) {
                        self.text.push(c);
                        place += 1;
                    }
                }
                None => {
                    if !self.decide(true, out) {
                        return place;
                    }
                    self.before = None;
                    self.wanted = SOME_TEXT + self.tokens.longest;
                    self.progress = Progress::default();
                    self.text.clear();
                    out.push(symbol);
                    place += 1;
                }
            }
        }
        input.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_all_lengths_are_read() {
        let all: String = ('\0'..=char::MAX)
            .flat_map(|c| {
                [c, 'a', 'é', '日', '\u{10ffff}']
                    .into_iter()
                    .take(1 + c as usize % 5)
            })
            .collect();
        let ends = ["", "a", "é", "日", "😀", "aé", "a😀", "😀a", "日日"];
        for text in ends.into_iter().chain([all.as_str()]) {
            let mut read = vec![7];
            push_characters(text, &mut read);
            assert!(text.chars().map(u32::from).eq(read[1..].iter().copied()));
            assert_eq!(read[0], 7);
        }
    }
}
