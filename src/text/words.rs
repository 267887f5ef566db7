//! From words to ids: what a model makes of each word, without putting together a word that is too long for it.

use std::sync::OnceLock;

use tokenizers::models::bpe::BPE;
use tokenizers::{Model, ModelWrapper};

use super::SMALL_PARTS;
use super::long_words::{LongWord, Merges};
use super::symbols::{ADDED, END, character};
use super::token_counts::{self, Automaton, Counter};
use super::trie::Trie;
use crate::error::{Error, Result};

use super::pipeline::unexpected;

/// Words of BPE with more characters are encoded bit by bit.
const LONG: usize = if SMALL_PARTS { 6 } else { 256 };

/// With merges for which that can't be done, words may have so many characters.
pub(super) const MOST_CHARACTERS: usize = 1 << 16;

/// Vocabularies with more characters are asked piece by piece.
const MOST_TRIE_CHARACTERS: usize = 8 << 20;

/// What is known about a model beside itself.
pub(super) enum Vocabulary {
    WordLevel {
        unk: Option<u32>,
        /// Characters of the longest token.
        longest: usize,
    },
    WordPiece(WordPieces),
    Bpe(Pairs),
}

/// WordPiece's vocabulary by the beginnings of its tokens.
pub(super) struct WordPieces {
    unk: Option<u32>,
    /// Longer words are unknown.
    max_characters: usize,
    /// Tokens that begin a word, and those that go on with it, without their prefix; `None` where the vocabulary is too
    /// large.
    tries: OnceLock<Option<(Trie, Trie)>>,
}

/// BPE's merges.
pub(super) struct Pairs {
    /// Ids of the left, the right and the merged token, by rank.
    merges: Vec<(u32, u32, u32)>,
    unk: Option<u32>,
    /// Longer words aren't looked up whole, nor given to the crate where that can be avoided.
    long: usize,
    prepared: OnceLock<Option<Merges>>,
}

fn longest_token(model: &ModelWrapper) -> usize {
    let lengths = model
        .get_vocab()
        .into_keys()
        .map(|token| token.chars().count());
    lengths.max().unwrap_or(0)
}

impl Vocabulary {
    /// Of a model, for BPE with its merges in the order of their ranks.
    pub(super) fn new(model: &ModelWrapper, merges: Vec<(u32, u32, u32)>) -> Result<Vocabulary> {
        Ok(match model {
            ModelWrapper::WordLevel(words) => Vocabulary::WordLevel {
                unk: words.token_to_id(&words.unk_token),
                longest: longest_token(model),
            },
            ModelWrapper::WordPiece(pieces) => Vocabulary::WordPiece(WordPieces {
                unk: pieces.token_to_id(&pieces.unk_token),
                max_characters: pieces.max_input_chars_per_word,
                tries: OnceLock::new(),
            }),
            ModelWrapper::BPE(bpe) => Vocabulary::Bpe(Pairs {
                merges,
                unk: bpe
                    .unk_token
                    .as_ref()
                    .and_then(|token| bpe.token_to_id(token)),
                long: if bpe.ignore_merges {
                    LONG.max(longest_token(model))
                } else {
                    LONG
                },
                prepared: OnceLock::new(),
            }),
            ModelWrapper::Unigram(_) => {
                return Err(Error::Unsupported(
                    "The tokenizer's model is Unigram; WordLevel, WordPiece and BPE are supported."
                        .into(),
                ));
            }
        })
    }
}

impl Vocabulary {
    /// Words of more characters are unknown; `None` where there are no such.
    pub(super) fn most_characters(&self) -> Option<usize> {
        match self {
            Vocabulary::WordLevel { longest, .. } => Some(*longest),
            Vocabulary::WordPiece(pieces) => Some(pieces.max_characters),
            Vocabulary::Bpe(_) => None,
        }
    }
}

/// What became of words that came lately: a text says most of its words again, and merging is slow beside.
#[derive(Default)]
struct Recent {
    /// By a hash of the word; empty until some words have come, as most texts are short.
    entries: Vec<Option<Known>>,
    words: usize,
}

/// A word and its ids.
type Known = (Box<[u32]>, Box<[u32]>);

impl Recent {
    const ENTRIES: usize = if SMALL_PARTS { 8 } else { 4096 };
    /// Longer words aren't kept.
    const LONGEST: usize = 32;
    /// How many words come before any is kept.
    const AFTER: usize = if SMALL_PARTS { 2 } else { 128 };

    fn place(word: &[u32]) -> usize {
        let hash = word.iter().fold(0u64, |hash, &c| {
            (hash ^ u64::from(c))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(23)
        });
        (hash >> 32) as usize % Self::ENTRIES
    }

    fn get(&self, word: &[u32]) -> Option<&[u32]> {
        let (kept, ids) = self.entries.get(Self::place(word))?.as_ref()?;
        (**kept == *word).then_some(ids)
    }

    fn keep(&mut self, word: &[u32], ids: &[u32]) {
        self.words += 1;
        if self.words < Self::AFTER || word.len() > Self::LONGEST {
            return;
        }
        if self.entries.is_empty() {
            self.entries.resize_with(Self::ENTRIES, || None);
        }
        self.entries[Self::place(word)] = Some((word.into(), ids.into()));
    }
}

/// Makes ids of a stream of symbols.
pub(super) struct Words<'a> {
    model: &'a ModelWrapper,
    vocabulary: &'a Vocabulary,
    /// The word's characters so far, at most one more than the model needs to see of it.
    word: Vec<u32>,
    text: String,
    recent: Recent,
    /// A BPE word that is too long for that.
    long: Option<Long<'a>>,
}

impl<'a> Words<'a> {
    pub(super) fn new(model: &'a ModelWrapper, vocabulary: &'a Vocabulary) -> Words<'a> {
        Words {
            model,
            vocabulary,
            word: Vec::new(),
            text: String::new(),
            recent: Recent::default(),
            long: None,
        }
    }

    /// Takes symbols, and appends to `ids` those of the words that end there.
    pub(super) fn take(&mut self, symbols: &[u32], ids: &mut Vec<u32>) -> Result<()> {
        let mut rest = symbols;
        while !rest.is_empty() {
            let end = rest.iter().position(|&symbol| symbol >= END);
            let (characters, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            let Some((&mark, behind)) = rest.split_first() else {
                self.characters(characters, ids)?;
                break;
            };
            if self.word.is_empty() && self.long.is_none() && characters.len() < LONG {
                // Most words stand in one block.
                self.whole(characters, ids)?;
            } else {
                self.characters(characters, ids)?;
                self.end(ids)?;
            }
            if mark >= ADDED {
                ids.push(mark - ADDED);
            }
            rest = behind;
        }
        Ok(())
    }

    /// Counts the tokens of what comes from here on.
    pub(super) fn counter(self) -> Result<Counter<'a>> {
        let mut counter = match (self.vocabulary, self.model) {
            (Vocabulary::WordLevel { unk: Some(_), .. }, _) => Counter::Words {
                total: 0,
                open: false,
            },
            (Vocabulary::WordPiece(pieces), model) => match pieces.tries(model) {
                Some((starting, continuing)) if pieces.unk.is_some() => {
                    let pieces_of = token_counts::Pieces::new(starting, continuing);
                    Counter::Pieces(Automaton::new(pieces_of, pieces.max_characters))
                }
                _ => return Ok(self.counter_by_ids()),
            },
            (Vocabulary::Bpe(pairs), ModelWrapper::BPE(bpe)) => {
                let merges = pairs.prepared(bpe).filter(|_| {
                    // Else what a character adds depends on the whole word, or on whether it is the last one.
                    !bpe.ignore_merges && bpe.end_of_word_suffix.is_none()
                });
                let Some((merges, starts)) = merges.and_then(|m| Some((m, m.starts()?))) else {
                    return Ok(self.counter_by_ids());
                };
                let spelling = Spelling::new(bpe, pairs.unk);
                let mut model = token_counts::Pairs::new(merges, starts, spelling);
                let within = self.long.as_ref().map(|long| {
                    let spelling = &long.spelling;
                    model.within(long.word.open(), spelling.first, spelling.unknown)
                });
                let mut automaton = Automaton::new(model, usize::MAX);
                if let Some((state, tokens)) = within {
                    automaton.begin_within(state, tokens);
                }
                Counter::Pairs(automaton)
            }
            _ => return Ok(self.counter_by_ids()),
        };
        counter.take(&self.word)?;
        let waiting = self.long.and_then(|long| long.waiting);
        counter.take(waiting.map(u32::from).as_slice())?;
        Ok(counter)
    }

    /// The same without preparing for it, by their ids.
    pub(super) fn counter_by_ids(self) -> Counter<'a> {
        Counter::Ids {
            total: 0,
            words: Box::new(self),
            ids: Vec::new(),
        }
    }

    fn characters(&mut self, characters: &[u32], ids: &mut Vec<u32>) -> Result<()> {
        if let Vocabulary::Bpe(pairs) = self.vocabulary
            && let ModelWrapper::BPE(bpe) = self.model
            && (self.long.is_some() || self.word.len() + characters.len() > pairs.long)
        {
            return self.long_characters(bpe, pairs, characters, ids);
        }
        let most = self.vocabulary.most_characters().unwrap_or(usize::MAX);
        let room = most.saturating_add(1).saturating_sub(self.word.len());
        self.word
            .extend_from_slice(&characters[..room.min(characters.len())]);
        Ok(())
    }

    fn long_characters(
        &mut self,
        bpe: &'a BPE,
        pairs: &'a Pairs,
        characters: &[u32],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let Some(merges) = pairs.prepared(bpe) else {
            if self.word.len() + characters.len() > MOST_CHARACTERS {
                return Err(Error::Unsupported(format!(
                    "A text has a word of more than {MOST_CHARACTERS} characters, which can't be encoded with this \
                     tokenizer: its merges aren't in the order in which they build on each other. Put spaces into the \
                     text."
                )));
            }
            self.word.extend_from_slice(characters);
            return Ok(());
        };
        let long = self.long.get_or_insert_with(|| Long {
            spelling: Spelling::new(bpe, pairs.unk),
            merges,
            word: LongWord::default(),
            waiting: None,
        });
        long.characters(&self.word, ids);
        self.word.clear();
        long.characters(characters, ids);
        Ok(())
    }

    fn end(&mut self, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(mut long) = self.long.take() {
            long.end(ids);
            return Ok(());
        }
        let mut word = std::mem::take(&mut self.word);
        self.whole(&word, ids)?;
        word.clear();
        self.word = word;
        Ok(())
    }

    /// Appends the ids of a word; of one that is too long for the model only its beginning need be there.
    fn whole(&mut self, word: &[u32], ids: &mut Vec<u32>) -> Result<()> {
        if word.is_empty() {
            return Ok(());
        }
        self.text.clear();
        let characters = word.iter().filter_map(|&symbol| character(symbol));
        match self.vocabulary {
            Vocabulary::WordLevel { unk, longest } => {
                let known = (word.len() <= *longest).then(|| {
                    self.text.extend(characters);
                    self.model.token_to_id(&self.text)
                });
                ids.push(match known.flatten() {
                    Some(id) => id,
                    None => unknown(*unk)?,
                });
            }
            Vocabulary::WordPiece(pieces) => pieces.tokens(self.model, word, ids)?,
            Vocabulary::Bpe(_) => match self.recent.get(word) {
                Some(known) => ids.extend_from_slice(known),
                None => {
                    self.text.extend(characters);
                    let before = ids.len();
                    by_the_crate(self.model, &self.text, ids)?;
                    self.recent.keep(word, &ids[before..]);
                }
            },
        }
        Ok(())
    }
}

impl WordPieces {
    /// Tokens that begin a word and tokens that go on with it.
    fn tries(&self, model: &ModelWrapper) -> Option<&(Trie, Trie)> {
        let tries = || match model {
            ModelWrapper::WordPiece(pieces) => tries(model, &pieces.continuing_subword_prefix),
            _ => None,
        };
        self.tries.get_or_init(tries).as_ref()
    }

    fn tokens(&self, model: &ModelWrapper, word: &[u32], ids: &mut Vec<u32>) -> Result<()> {
        if word.len() > self.max_characters {
            ids.push(unknown(self.unk)?);
            return Ok(());
        }
        let Some((starting, continuing)) = self.tries(model) else {
            let text: String = word.iter().filter_map(|&c| character(c)).collect();
            return by_the_crate(model, &text, ids);
        };
        let before = ids.len();
        let mut start = 0;
        while start < word.len() {
            let trie = if start == 0 { starting } else { continuing };
            let mut node = Trie::ROOT;
            let mut longest = None;
            for (place, &c) in word.iter().enumerate().skip(start) {
                let Some(next) = trie.next(node, c) else {
                    break;
                };
                node = next;
                if let Some(id) = trie.value(node) {
                    longest = Some((id, place + 1));
                }
            }
            let Some((id, end)) = longest else {
                // What can't be written in pieces is unknown as a whole.
                ids.truncate(before);
                ids.push(unknown(self.unk)?);
                return Ok(());
            };
            ids.push(id);
            start = end;
        }
        Ok(())
    }
}

/// Appends the ids that the crate's model gives a word.
fn by_the_crate(model: &ModelWrapper, word: &str, ids: &mut Vec<u32>) -> Result<()> {
    let tokens = model
        .tokenize(word)
        .map_err(unexpected("cutting words into tokens"))?;
    ids.extend(tokens.iter().map(|token| token.id));
    Ok(())
}

fn unknown(unk: Option<u32>) -> Result<u32> {
    unk.ok_or_else(|| Error::Internal("The tokenizer has no token for unknown words.".into()))
}

fn tries(model: &ModelWrapper, prefix: &str) -> Option<(Trie, Trie)> {
    let vocab = model.get_vocab();
    if vocab.keys().map(String::len).sum::<usize>() > MOST_TRIE_CHARACTERS {
        return None;
    }
    let (mut starting, mut continuing) = (Trie::new(), Trie::new());
    for (token, id) in &vocab {
        if !token.is_empty() {
            starting.insert(token.chars().map(u32::from), *id);
        }
        if let Some(rest) = token.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            continuing.insert(rest.chars().map(u32::from), *id);
        }
    }
    Some((starting, continuing))
}

impl Pairs {
    fn prepared(&self, bpe: &BPE) -> Option<&Merges> {
        let prepare = || {
            if self.long > MOST_CHARACTERS {
                return None;
            }
            Merges::new(&self.merges, |id| {
                bpe.id_to_token(id).is_none_or(|token| {
                    let token = match &bpe.continuing_subword_prefix {
                        Some(prefix) => token.strip_prefix(prefix.as_str()).unwrap_or(&token),
                        None => &token,
                    };
                    let token = match &bpe.end_of_word_suffix {
                        Some(suffix) => token.strip_suffix(suffix.as_str()).unwrap_or(token),
                        None => token,
                    };
                    token.chars().nth(1).is_none()
                        || self.unk == Some(id)
                        || bpe.byte_fallback && token.starts_with("<0x")
                })
            })
        };
        self.prepared.get_or_init(prepare).as_ref()
    }
}

const LOOKED_UP: usize = if SMALL_PARTS { 4 } else { 256 };

/// A word's characters as symbols of BPE, by the crate's rules for what isn't in the vocabulary.
pub(super) struct Spelling<'a> {
    bpe: &'a BPE,
    unk: Option<u32>,
    /// Whether no character of the word came yet.
    pub(super) first: bool,
    /// Whether an unknown symbol waits, which is given when the next one is.
    pub(super) unknown: bool,
    text: String,
    /// What characters are in the vocabulary, of those that came lately, but for a word's first and last one where those
    /// are written otherwise; by the character's last bits.
    looked_up: Vec<Option<(char, Option<u32>)>>,
}

impl<'a> Spelling<'a> {
    fn new(bpe: &'a BPE, unk: Option<u32>) -> Spelling<'a> {
        Spelling {
            bpe,
            unk,
            first: true,
            unknown: false,
            text: String::new(),
            looked_up: vec![None; LOOKED_UP],
        }
    }

    /// The character's symbol in the vocabulary, if it has one.
    fn look_up(&mut self, c: char, is_last: bool) -> Option<u32> {
        let bpe = self.bpe;
        let is_marked = self.first && bpe.continuing_subword_prefix.is_some()
            || is_last && bpe.end_of_word_suffix.is_some();
        let place = c as usize % LOOKED_UP;
        if let Some((known, id)) = self.looked_up[place].filter(|_| !is_marked)
            && known == c
        {
            return id;
        }
        self.write(c, is_last);
        let id = self.bpe.token_to_id(&self.text);
        if !is_marked {
            self.looked_up[place] = Some((c, id));
        }
        id
    }

    /// Writes the character's symbol into `text`.
    fn write(&mut self, c: char, is_last: bool) {
        self.text.clear();
        if !self.first {
            self.text
                .extend(self.bpe.continuing_subword_prefix.as_deref());
        }
        self.text.push(c);
        if is_last {
            self.text.extend(self.bpe.end_of_word_suffix.as_deref());
        }
    }

    /// Takes the word's next character and gives its symbols to `push`.
    pub(super) fn character(&mut self, c: char, is_last: bool, mut push: impl FnMut(u32)) {
        let id = self.look_up(c, is_last);
        if let Some(id) = id {
            self.first = false;
            self.flush(&mut push);
            push(id);
            return;
        }
        if self.bpe.byte_fallback {
            self.write(c, is_last);
        }
        self.first = false;
        if self.bpe.byte_fallback {
            let bytes = self
                .text
                .bytes()
                .map(|byte| self.bpe.token_to_id(&format!("<{byte:#04X}>")));
            if let Some(bytes) = bytes.collect::<Option<Vec<u32>>>() {
                bytes.into_iter().for_each(push);
                return;
            }
        }
        if self.unk.is_some() {
            if !self.bpe.fuse_unk {
                self.flush(&mut push);
            }
            self.unknown = true;
        }
    }

    /// How many of these characters, none of which is a word's first one, are known to have no symbols.
    fn count_passed_over(&self, characters: &[u32]) -> usize {
        if self.unk.is_some() || self.bpe.byte_fallback || self.bpe.end_of_word_suffix.is_some() {
            return 0;
        }
        let has_none = |symbol: u32| {
            let known = self.looked_up[symbol as usize % LOOKED_UP];
            known.is_some_and(|(c, id)| c as u32 == symbol && id.is_none())
        };
        let end = characters.iter().position(|&symbol| !has_none(symbol));
        end.unwrap_or(characters.len())
    }

    /// Gives the unknown symbol that waits.
    pub(super) fn flush(&mut self, mut push: impl FnMut(u32)) {
        if let Some(unk) = self.unk.filter(|_| self.unknown) {
            push(unk);
        }
        self.unknown = false;
    }
}

/// A long word of BPE.
struct Long<'a> {
    spelling: Spelling<'a>,
    merges: &'a Merges,
    word: LongWord,
    /// The last character: whether it is the word's last shows in what follows.
    waiting: Option<char>,
}

impl Long<'_> {
    fn characters(&mut self, characters: &[u32], ids: &mut Vec<u32>) {
        let mut rest = characters;
        while let Some((&symbol, behind)) = rest.split_first() {
            if let Some(c) = character(symbol) {
                self.character(c, ids);
            }
            // One is waiting now, so these aren't the first.
            rest = &behind[self.spelling.count_passed_over(behind)..];
        }
    }

    fn character(&mut self, c: char, ids: &mut Vec<u32>) {
        if let Some(before) = self.waiting.replace(c) {
            self.symbols(before, false, ids);
        }
    }

    fn symbols(&mut self, c: char, is_last: bool, ids: &mut Vec<u32>) {
        let (word, merges) = (&mut self.word, self.merges);
        self.spelling
            .character(c, is_last, |symbol| word.push(merges, symbol, ids));
    }

    fn end(&mut self, ids: &mut Vec<u32>) {
        if let Some(last) = self.waiting.take() {
            self.symbols(last, true, ids);
        }
        let (word, merges) = (&mut self.word, self.merges);
        self.spelling.flush(|symbol| word.push(merges, symbol, ids));
        self.word.end(self.merges, ids);
    }
}
