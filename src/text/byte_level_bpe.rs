//! Byte-level BPE learned from words: the 256 bytes, then the most frequent pairs merged.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::TokenizerOptions;
use super::pair_merges::{Limits, Word, merge_pairs};
use super::pipeline::{ModelParts, SPECIAL_TOKENS, unexpected};
use crate::error::Result;

/// The least vocabulary: the special tokens and every byte.
pub(super) const MIN_VOCAB_SIZE: usize = SPECIAL_TOKENS.len() + 256;

/// Longer words are learned from in parts, so that scripts without spaces don't make merging slow. In bytes.
const MAX_WORD: usize = 1000;

/// The pre-tokenizer: GPT-2's words, each byte written as one printable character.
pub(super) fn pre_tokenizer() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

/// A model whose ids are the special tokens, the bytes by the code point that stands for them, and the merged tokens
/// in the order in which they came. `words` are in those characters already.
pub(super) fn learn(words: Vec<(String, u64)>, options: &TokenizerOptions) -> Result<ModelParts> {
    let mut tokens: Vec<String> = SPECIAL_TOKENS.iter().map(|t| (*t).to_owned()).collect();
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut ids: HashMap<char, u32> = HashMap::new();
    for c in alphabet {
        ids.insert(c, tokens.len() as u32);
        tokens.push(c.to_string());
    }
    let mut parts: Vec<Word> = Vec::new();
    for (word, count) in &words {
        let word: Vec<u32> = word.chars().filter_map(|c| ids.get(&c).copied()).collect();
        parts.extend(word.chunks(MAX_WORD).map(|part| Word {
            tokens: part.to_vec(),
            count: *count,
        }));
    }
    let merges = merge_pairs(
        &mut parts,
        &mut tokens,
        &Limits {
            max_tokens: options.max_vocab_size,
            min_count: u64::from(options.min_frequency),
            prefix: "",
        },
    );
    let texts = merges.iter().map(|(left, right)| {
        (
            tokens[*left as usize].clone(),
            tokens[*right as usize].clone(),
        )
    });
    let texts: Vec<(String, String)> = texts.collect();
    let vocab: Vocab = tokens.into_iter().zip(0..).collect();
    let merges = texts
        .iter()
        .zip(&merges)
        .filter_map(|((left, right), pair)| {
            let made = vocab.get(&format!("{left}{right}"))?;
            Some((pair.0, pair.1, *made))
        })
        .collect();
    let model = BPE::builder()
        .vocab_and_merges(vocab, texts)
        .unk_token("[UNK]".into())
        // The crate's cache is one for each thread and never shrinks.
        .cache_capacity(0)
        .build()
        .map_err(unexpected("building the BPE model"))?;
    Ok(ModelParts {
        model: model.into(),
        merges,
    })
}
