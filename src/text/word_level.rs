//! A word-level vocabulary: the words themselves.

use tokenizers::ModelWrapper;
use tokenizers::models::wordlevel::WordLevel;

use super::TokenizerOptions;
use super::pipeline::{SPECIAL_TOKENS, unexpected};
use crate::error::Result;

/// A model whose ids are the special tokens, then the words by frequency, equally frequent ones by first appearance
/// (the order in which `words` come).
pub(super) fn learn(words: Vec<(String, u64)>, options: &TokenizerOptions) -> Result<ModelWrapper> {
    let mut words = words;
    words.retain(|(_, count)| *count >= u64::from(options.min_frequency));
    // Stable, so that words of one count stay in their order.
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let tokens = SPECIAL_TOKENS
        .iter()
        .map(|token| (*token).to_owned())
        .chain(words.into_iter().map(|(word, _)| word))
        .take(options.max_vocab_size);
    let model = WordLevel::builder()
        .vocab(tokens.zip(0..).collect())
        .unk_token("[UNK]".into())
        .build()
        .map_err(unexpected("building the word-level model"))?;
    Ok(model.into())
}
