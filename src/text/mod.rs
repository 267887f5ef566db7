//! Text to token ids. The `tokenizers` crate holds the tokenizer, so that it saves to and loads from a standard
//! `tokenizer.json`, and says what the ids are; text goes another way to the same ids, on which no more of it is read
//! than they need.
//!
//! - `tokenizer`: [`Tokenizer`], what a user holds: learns, loads, saves, answers about its vocabulary.
//! - `encode`: a text, a pair or a long text in windows as ids, with special tokens and token types.
//! - `truncation`: how much of each text of a pair stays.
//! - `pipeline`: normalizer, pre-tokenizer, added tokens and model as one.
//! - `symbols`: text as a stream in blocks; `added_tokens`, `normalization`, `splitting`: its steps; `simplification`:
//!   fewer of them;
//!   `by_character`: several of them at once by a table; `characters`: what they ask about a character.
//! - `overlong`: the inside of a word that is too long to be a token isn't looked at closely.
//! - `words`: from a word to ids; `long_words`: BPE of a word of any length; `trie`: tokens by their beginnings.
//! - `token_counts`: how many tokens there are, without them.
//! - `word_counts`: the words of the training texts, cut as encoding cuts them.
//! - `word_level`, `wordpiece_trainer`, `byte_level_bpe`: a vocabulary learned from word counts, one kind a file.
//! - `pair_merges`: the merging of frequent pairs that the last two share.
//! - `tokenizer_json`, `vocab_txt`: files from outside, checked before anything is built from them; `json_file`,
//!   `post_processor`: what the former holds; `settings`: what the files beside them say.

mod added_tokens;
mod by_character;
mod byte_level_bpe;
mod characters;
mod encode;
mod json_file;
mod long_words;
mod normalization;
mod overlong;
mod pair_merges;
mod pipeline;
mod post_processor;
mod settings;
mod simplification;
mod splitting;
#[cfg(test)]
mod stream_tests;
mod symbols;
#[cfg(test)]
mod tests;
mod token_counts;
mod tokenizer;
mod tokenizer_json;
mod trie;
mod truncation;
mod vocab_txt;
mod word_counts;
mod word_level;
mod wordpiece_trainer;
mod words;

use crate::setting::Setting;

pub use settings::{AddedSetting, Class, Roles, Settings};
pub use tokenizer::Tokenizer;

/// Whether what is done in parts is done in small ones, and what pays for long texts only is done for short ones too: in the
/// unit tests and under the fuzzer (`fuzz/instrument.sh`), so that short texts reach all of it.
const SMALL_PARTS: bool = cfg!(any(test, fuzzing));

/// How text is cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerKind {
    /// One token a word, words being what stands between whitespace; a word that was never seen is `[UNK]`.
    WordLevel,
    /// BERT's own: words and punctuation, each cut into the longest known pieces from the left.
    WordPiece,
    /// Byte pairs merged by frequency, as GPT-2 has it; every text can be written, so nothing is `[UNK]`. A loaded
    /// BPE tokenizer is of this kind also where its alphabet isn't bytes.
    ByteLevelBpe,
}

/// The most tokens of a vocabulary, the five special ones included.
pub const MAX_VOCAB_SIZE: Setting<usize> = Setting::new("max_vocab_size", 30_522, 6, 10_000_000);

/// How a vocabulary is learned by [`Tokenizer::train`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerOptions {
    /// How text is cut into tokens.
    pub kind: TokenizerKind,
    /// Word-level: words seen less often are left out. WordPiece and BPE: pairs seen less often aren't merged (their
    /// alphabet is kept in any case). 0 means the same as 1.
    pub min_frequency: u32,
    /// The most tokens the vocabulary may hold, the five special ones included: at least 6, for byte-level BPE at
    /// least 261.
    pub max_vocab_size: usize,
    /// Whether upper and lower case are one; WordPiece also drops accents then, as BERT does.
    pub lowercase: bool,
}

impl Default for TokenizerOptions {
    fn default() -> Self {
        Self {
            kind: TokenizerKind::WordLevel,
            min_frequency: 1,
            max_vocab_size: MAX_VOCAB_SIZE.default,
            lowercase: true,
        }
    }
}

/// BERT's normalization of text, for vocabularies that come without it; the fields of Hugging Face's
/// `BertTokenizer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BertNormalization {
    /// Whether to lower-case (`do_lower_case`).
    pub lowercase: bool,
    /// Whether to drop accents; `None` does what `lowercase` does.
    pub strip_accents: Option<bool>,
    /// Whether each Chinese character is a word of its own (`tokenize_chinese_chars`).
    pub handle_chinese_chars: bool,
    /// Whether control characters are dropped and all whitespace becomes spaces.
    pub clean_text: bool,
}

impl Default for BertNormalization {
    fn default() -> Self {
        Self {
            lowercase: true,
            strip_accents: None,
            handle_chinese_chars: true,
            clean_text: true,
        }
    }
}

/// A text, or a pair, as a model reads it; not padded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// `[CLS] text [SEP]` or `[CLS] a [SEP] b [SEP]`.
    pub input_ids: Vec<u32>,
    /// For each id: 1 in the second text of a pair and its `[SEP]`, else 0.
    pub token_type_ids: Vec<u32>,
    /// Whether something of the text was cut off to hold the maximum length. In windows only the first text of a
    /// pair ever is.
    pub truncated: bool,
}
