//! Normalizer, pre-tokenizer, special tokens and model of the `tokenizers` crate as one thing that turns text into
//! ids or words, without the crate's own truncation, padding and threads.

use std::collections::HashMap;
use std::fmt::Display;

use tokenizers::normalizers::{BertNormalizer, Lowercase, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{
    AddedToken, Model, ModelWrapper, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, TruncationDirection,
};

use super::BertNormalization;
use crate::error::{Error, Result};

/// The special tokens of a vocabulary that is learned here, by id.
pub(super) const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"];

/// Texts are normalised in pieces of at least this many bytes: what lies behind the last token that counts is never
/// looked at, and what is needed beside the ids stays small.
const PIECE_BYTES: usize = 8 * 1024;

/// The special tokens as the crate wants them: matched in the text as it comes, before normalisation.
pub(super) fn special_tokens() -> Vec<AddedToken> {
    SPECIAL_TOKENS
        .iter()
        .map(|token| AddedToken::from(*token, true))
        .collect()
}

/// The crate's form of BERT's normalization.
pub(super) fn bert_normalizer(options: &BertNormalization) -> NormalizerWrapper {
    BertNormalizer::new(
        options.clean_text,
        options.handle_chinese_chars,
        options.strip_accents,
        options.lowercase,
    )
    .into()
}

/// The normalizer that only lower-cases, where asked for.
pub(super) fn lowercase_normalizer(lowercase: bool) -> Option<NormalizerWrapper> {
    lowercase.then(|| Lowercase.into())
}

/// A failure of the crate that nothing outside can bring about; its text goes to the log.
pub(super) fn unexpected<E: Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| {
        crate::log::debug(|| format!("{what}: {error}"));
        Error::Internal(format!(
            "The tokenizer failed ({what}); please report this with the log at level debug."
        ))
    }
}

/// See the module's head.
pub(super) struct Pipeline {
    tokenizer: tokenizers::Tokenizer,
    /// Whether cutting a text where whitespace begins leaves its ids as they are.
    divisible: bool,
}

impl Pipeline {
    /// From the crate's parts. The tokens must be ones that the crate accepts, else [`Error::Format`].
    pub(super) fn new(
        model: ModelWrapper,
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        added_tokens: Vec<AddedToken>,
    ) -> Result<Pipeline> {
        let divisible = is_divisible(normalizer.as_ref(), pre_tokenizer.as_ref(), &added_tokens);
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        tokenizer
            .with_normalizer(normalizer)
            .map_err(unexpected("setting the normalizer"))?;
        tokenizer.with_pre_tokenizer(pre_tokenizer);
        let unusable = || {
            Error::Format(
                "The tokenizer's added tokens can't be used together: two of them are the same once normalised, or \
                 one is empty then."
                    .into(),
            )
        };
        // The crate takes an empty one and would find it everywhere; of two equal ones it would find one at random.
        if let Some(normalizer) = tokenizer.get_normalizer() {
            let mut seen: HashMap<String, &str> = HashMap::new();
            for token in added_tokens.iter().filter(|token| token.normalized) {
                let mut text = NormalizedString::from(token.content.as_str());
                normalizer
                    .normalize(&mut text)
                    .map_err(unexpected("normalising an added token"))?;
                let empty = text.is_empty() && !token.content.is_empty();
                let before = seen.insert(text.get().to_owned(), &token.content);
                if empty || before.is_some_and(|content| content != token.content) {
                    return Err(unusable());
                }
            }
        }
        tokenizer.add_tokens(added_tokens).map_err(|error| {
            crate::log::debug(|| format!("adding tokens: {error}"));
            unusable()
        })?;
        Ok(Pipeline {
            tokenizer,
            divisible,
        })
    }

    /// The crate's tokenizer.
    pub(super) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.tokenizer
    }

    /// The crate's tokenizer, to set what isn't part of cutting text.
    pub(super) fn inner_mut(&mut self) -> &mut tokenizers::Tokenizer {
        &mut self.tokenizer
    }

    /// The first `enough` ids of `text`, without special tokens around it.
    pub(super) fn ids(&self, text: &str, enough: usize) -> Result<Vec<u32>> {
        let model = self.tokenizer.get_model();
        let mut ids = Vec::new();
        for piece in self.pieces(text) {
            let mut words = self.words(piece)?;
            words
                .tokenize_with_limit(
                    |word| model.tokenize(word.get()),
                    enough - ids.len(),
                    TruncationDirection::Right,
                )
                .map_err(unexpected("cutting words into tokens"))?;
            for (_, _, tokens) in words.get_splits(OffsetReferential::Normalized, OffsetType::None)
            {
                ids.extend(tokens.iter().flatten().map(|token| token.id));
            }
            if ids.len() >= enough {
                ids.truncate(enough);
                break;
            }
        }
        Ok(ids)
    }

    /// Calls `word` for each word of `text`, as the model would get them; special tokens aren't words.
    pub(super) fn each_word(&self, text: &str, mut word: impl FnMut(&str)) -> Result<()> {
        for piece in self.pieces(text) {
            let words = self.words(piece)?;
            for (text, _, tokens) in
                words.get_splits(OffsetReferential::Normalized, OffsetType::None)
            {
                if tokens.is_none() && !text.is_empty() {
                    word(text);
                }
            }
        }
        Ok(())
    }

    fn words(&self, text: &str) -> Result<PreTokenizedString> {
        let mut words = self
            .tokenizer
            .get_added_vocabulary()
            .extract_and_normalize(self.tokenizer.get_normalizer(), text);
        if let Some(pre_tokenizer) = self.tokenizer.get_pre_tokenizer() {
            pre_tokenizer
                .pre_tokenize(&mut words)
                .map_err(unexpected("cutting text into words"))?;
        }
        Ok(words)
    }

    /// `text` in pieces whose ids, one after the other, are those of the whole.
    fn pieces<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let size = if self.divisible {
            PIECE_BYTES
        } else {
            usize::MAX
        };
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let text = rest.take()?;
            match cut(text, size) {
                Some(at) => {
                    let (piece, behind) = text.split_at(at);
                    rest = Some(behind);
                    Some(piece)
                }
                None => Some(text),
            }
        })
    }
}

/// The first place from byte `from` on where whitespace begins. Only the characters that every normalizer here takes
/// for whitespace count; some drop the rarer ones as control characters.
fn cut(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    (from.max(1)..bytes.len()).find(|&at| {
        matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\r')
            && text[..at]
                .chars()
                .next_back()
                .is_some_and(|before| !before.is_whitespace())
    })
}

/// Whether the pieces of a text that [`cut`] makes have the ids of the whole text. It holds where
/// - the normalizer treats what stands on both sides of whitespace apart (Unicode's canonical forms never reach over
///   it) and puts nothing at a text's start or end,
/// - words end at whitespace. Byte-level words may hold the whitespace before them, and a run of whitespace is cut
///   with regard to what follows, so the run must reach the pre-tokenizer as it is in the text: a normalizer that
///   drops characters could join two runs,
/// - no added token holds whitespace, takes whitespace behind it, or is matched after normalisation.
fn is_divisible(
    normalizer: Option<&NormalizerWrapper>,
    pre_tokenizer: Option<&PreTokenizerWrapper>,
    added_tokens: &[AddedToken],
) -> bool {
    fn keeps_characters(normalizer: &NormalizerWrapper) -> bool {
        use NormalizerWrapper as N;
        match normalizer {
            N::Lowercase(_) | N::NFC(_) | N::NFD(_) => true,
            N::Sequence(sequence) => sequence.as_ref().iter().all(keeps_characters),
            _ => false,
        }
    }
    fn is_local(normalizer: &NormalizerWrapper) -> bool {
        use NormalizerWrapper as N;
        match normalizer {
            N::BertNormalizer(_) | N::StripAccents(_) => true,
            N::Sequence(sequence) => sequence.as_ref().iter().all(is_local),
            other => keeps_characters(other),
        }
    }
    let by_words = match pre_tokenizer {
        Some(
            PreTokenizerWrapper::WhitespaceSplit(_)
            | PreTokenizerWrapper::BertPreTokenizer(_)
            | PreTokenizerWrapper::Whitespace(_),
        ) => normalizer.is_none_or(is_local),
        Some(PreTokenizerWrapper::ByteLevel(byte_level)) => {
            byte_level.use_regex
                && !byte_level.add_prefix_space
                && normalizer.is_none_or(keeps_characters)
        }
        _ => false,
    };
    by_words
        && added_tokens.iter().all(|token| {
            !token.rstrip && !token.normalized && !token.content.contains(char::is_whitespace)
        })
}
