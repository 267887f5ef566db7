//! The `tokenizers` crate's pre-tokenizers as steps of a stream: they put an [`END`] behind each word.

use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::characters::{LETTER, NUMBER, NUMERIC, PUNCTUATION, SPACE, WORD, class};
use super::normalization::push_bytes;
use super::symbols::{END, Step, copy_plain};

/// One pre-tokenizer, ready to make a step from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Splitting {
    /// At characters with one of these bits.
    At(u16, SplitDelimiterBehavior),
    /// At whitespace, which goes, and around each punctuation character: BERT's.
    Bert,
    /// At whitespace, which goes, and between `\w` and what isn't.
    WordsAndOthers,
    /// GPT-2's words, where asked for, and each byte as one printable character.
    ByteLevel { prefix_space: bool, words: bool },
}

impl Splitting {
    /// The crate's pre-tokenizer, `None` where it is one that isn't done here.
    pub(super) fn of(pre_tokenizer: &PreTokenizerWrapper) -> Option<Vec<Splitting>> {
        use PreTokenizerWrapper as P;
        use SplitDelimiterBehavior as B;
        Some(vec![match pre_tokenizer {
            P::BertPreTokenizer(_) => Splitting::Bert,
            P::Whitespace(_) => Splitting::WordsAndOthers,
            P::WhitespaceSplit(_) => Splitting::At(SPACE, B::Removed),
            P::Punctuation(punctuation) => Splitting::At(PUNCTUATION, punctuation.behavior),
            P::Digits(digits) if digits.individual_digits => Splitting::At(NUMERIC, B::Isolated),
            P::Digits(_) => Splitting::At(NUMERIC, B::Contiguous),
            P::ByteLevel(byte_level) => Splitting::ByteLevel {
                prefix_space: byte_level.add_prefix_space,
                words: byte_level.use_regex,
            },
            P::Sequence(sequence) => {
                let steps = sequence.as_ref().iter().map(Splitting::of);
                return Some(steps.collect::<Option<Vec<_>>>()?.concat());
            }
            _ => return None,
        }])
    }

    /// The step that does it.
    pub(super) fn step(self) -> Box<dyn Step> {
        match self {
            Splitting::At(bits, behavior) => Box::new(At {
                bits,
                behavior,
                previous: None,
            }),
            Splitting::Bert => Box::new(Bert),
            Splitting::WordsAndOthers => Box::new(WordsAndOthers { previous: 0 }),
            Splitting::ByteLevel {
                prefix_space,
                words,
            } => Box::new(ByteLevel {
                prefix_space,
                words,
                starts: true,
                state: State::Start,
            }),
        }
    }
}

struct At {
    bits: u16,
    behavior: SplitDelimiterBehavior,
    /// Whether the character before was one to split at.
    previous: Option<bool>,
}

impl Step for At {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        use SplitDelimiterBehavior as B;
        let mut place = 0;
        while place < input.len() {
            if self.behavior != B::Contiguous || self.previous == Some(false) {
                place += copy_plain(&input[place..], out, |symbol| {
                    symbol < END && class(symbol) & self.bits == 0
                });
            }
            // Whitespace often stands together.
            while self.behavior == B::Removed
                && out.last() == Some(&END)
                && input
                    .get(place)
                    .is_some_and(|&symbol| symbol < END && class(symbol) & self.bits != 0)
            {
                place += 1;
            }
            let Some(&symbol) = input.get(place) else {
                break;
            };
            place += 1;
            if symbol >= END {
                self.previous = None;
                out.push(symbol);
                continue;
            }
            let splits = class(symbol) & self.bits != 0;
            match self.behavior {
                B::Removed if splits => out.push(END),
                B::Isolated if splits => out.extend([END, symbol, END]),
                // The first of several is merged, and each of the others stands alone.
                B::MergedWithPrevious if splits => out.extend([symbol, END]),
                B::MergedWithNext if splits => out.extend([END, symbol]),
                B::Contiguous => {
                    if self.previous.is_some_and(|previous| previous != splits) {
                        out.push(END);
                    }
                    out.push(symbol);
                    self.previous = Some(splits);
                }
                _ => out.push(symbol),
            }
        }
        input.len()
    }
}

struct Bert;

impl Step for Bert {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let plain = |symbol: u32| {
            (symbol | 0x20).wrapping_sub(0x61) < 26
                || symbol >= END
                || class(symbol) & (SPACE | PUNCTUATION) == 0
        };
        let mut place = 0;
        while place < input.len() {
            place += copy_plain(&input[place..], out, plain);
            for &symbol in input[place..].iter().take_while(|&&symbol| !plain(symbol)) {
                place += 1;
                if class(symbol) & PUNCTUATION != 0 {
                    out.extend([END, symbol, END]);
                } else if out.last() != Some(&END) {
                    // Of whitespace one mark is enough.
                    out.push(END);
                }
            }
        }
        input.len()
    }
}

struct WordsAndOthers {
    /// 0 at the start and behind whitespace, 1 behind a character that isn't `\w`, else [`WORD`].
    previous: u16,
}

impl Step for WordsAndOthers {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        for &symbol in input {
            if symbol >= END {
                self.previous = 0;
                out.push(symbol);
                continue;
            }
            let bits = class(symbol);
            let kind = match (bits & WORD, bits & SPACE) {
                (WORD, _) => WORD,
                (_, SPACE) => {
                    self.previous = 0;
                    if out.last() != Some(&END) {
                        out.push(END);
                    }
                    continue;
                }
                _ => 1,
            };
            if self.previous != 0 && self.previous != kind {
                out.push(END);
            }
            self.previous = kind;
            out.push(symbol);
        }
        input.len()
    }
}

/// GPT-2's words are the matches of
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
struct ByteLevel {
    prefix_space: bool,
    words: bool,
    /// Whether no character came since the last mark.
    starts: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between words.
    Start,
    /// In a word of letters, numbers or others, by the class's bit, 0 for others.
    In(u16),
    /// Behind an apostrophe that began a word.
    Quote,
    /// Behind such an apostrophe and an r, v or l, which isn't given out yet.
    QuoteAnd(u32),
    /// In whitespace; its last character isn't given out yet: it may belong to the word behind. Whether others before
    /// it were.
    Space(u32, bool),
}

/// What a character is in GPT-2's words: one of [`LETTER`], [`NUMBER`] and [`SPACE`], 0 for others.
#[inline]
fn kind(symbol: u32) -> u16 {
    const ASCII: [u16; 0x80] = {
        let mut all = [0; 0x80];
        let mut symbol = 0;
        while symbol < 0x80 {
            all[symbol] = match symbol as u8 {
                b'a'..=b'z' | b'A'..=b'Z' => LETTER,
                b'0'..=b'9' => NUMBER,
                b'\t'..=b'\r' | b' ' => SPACE,
                _ => 0,
            };
            symbol += 1;
        }
        all
    };
    match ASCII.get(symbol as usize) {
        Some(&kind) => kind,
        None => class(symbol) & (LETTER | NUMBER | SPACE),
    }
}

impl ByteLevel {
    /// Takes those that `input` begins with of characters after which the state is the same; their number.
    fn take_alike(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let alike = |of: u16| {
            let other = |&symbol: &u32| symbol >= END || kind(symbol) != of;
            input.iter().position(other).unwrap_or(input.len())
        };
        match &mut self.state {
            State::In(word) => {
                let count = alike(*word);
                for &symbol in &input[..count] {
                    push_bytes(symbol, out);
                }
                count
            }
            State::Space(last, others) => {
                let count = alike(SPACE);
                for &symbol in &input[..count] {
                    push_bytes(std::mem::replace(last, symbol), out);
                }
                *others |= count > 0;
                count
            }
            _ => 0,
        }
    }

    fn take(&mut self, symbol: u32, out: &mut Vec<u32>) {
        const APOSTROPHE: u32 = b'\'' as u32;
        let letter = |c: char| symbol == c as u32;
        match self.state {
            State::Quote => {
                if ['s', 't', 'm', 'd'].into_iter().any(letter) {
                    push_bytes(symbol, out);
                    out.push(END);
                    self.state = State::Start;
                    return;
                }
                if ['r', 'v', 'l'].into_iter().any(letter) {
                    self.state = State::QuoteAnd(symbol);
                    return;
                }
                self.state = State::In(0);
            }
            State::QuoteAnd(first) => {
                let second = if first == u32::from(b'l') { 'l' } else { 'e' };
                if letter(second) {
                    push_bytes(first, out);
                    push_bytes(symbol, out);
                    out.push(END);
                    self.state = State::Start;
                    return;
                }
                out.push(END);
                push_bytes(first, out);
                self.state = State::In(LETTER);
            }
            _ => {}
        }
        if symbol >= END {
            if let State::Space(last, _) = self.state {
                push_bytes(last, out);
            }
            self.state = State::Start;
            out.push(symbol);
            return;
        }
        let kind = kind(symbol);
        if let State::In(word) = self.state {
            if word == kind {
                push_bytes(symbol, out);
                return;
            }
            out.push(END);
        }
        if let State::Space(last, others) = self.state {
            if kind == SPACE {
                push_bytes(last, out);
                self.state = State::Space(symbol, true);
                return;
            }
            if others {
                out.push(END);
            }
            push_bytes(last, out);
            if last == u32::from(b' ') {
                push_bytes(symbol, out);
                self.state = State::In(kind);
                return;
            }
            out.push(END);
        }
        if kind == SPACE {
            self.state = State::Space(symbol, false);
            return;
        }
        push_bytes(symbol, out);
        self.state = if symbol == APOSTROPHE {
            State::Quote
        } else {
            State::In(kind)
        };
    }
}

impl Step for ByteLevel {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        out.reserve(2 * input.len());
        let mut place = 0;
        while let Some(&symbol) = input.get(place) {
            if self.starts && self.prefix_space && symbol < END && symbol != u32::from(b' ') {
                if self.words {
                    self.take(u32::from(b' '), out);
                } else {
                    push_bytes(u32::from(b' '), out);
                }
            }
            self.starts = symbol >= END;
            if self.words {
                self.take(symbol, out);
            } else {
                push_bytes(symbol, out);
            }
            place += 1;
            if self.words && !self.starts {
                place += self.take_alike(&input[place..], out);
            }
        }
        input.len()
    }
}
