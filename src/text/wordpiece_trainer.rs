//! A WordPiece vocabulary learned from words: their characters, then the most frequent pairs merged.

use std::cmp::Reverse;
use std::collections::HashMap;

use tokenizers::ModelWrapper;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;

use super::TokenizerOptions;
use super::pair_merges::{Limits, Word, merge_pairs};
use super::pipeline::{SPECIAL_TOKENS, unexpected};
use crate::error::Result;

/// What a piece that continues a word begins with.
pub(super) const PREFIX: &str = "##";

/// Longer words are `[UNK]`, as in BERT.
pub(super) const MAX_CHARS_A_WORD: usize = 100;

/// How often a character occurs, and whether it ever continues a word.
#[derive(Default)]
struct Character {
    count: u64,
    continues: bool,
}

/// A model whose ids are the special tokens, the alphabet by code point (first the characters, then those that
/// continue a word), and the merged pieces in the order in which they came.
pub(super) fn learn(words: Vec<(String, u64)>, options: &TokenizerOptions) -> Result<ModelWrapper> {
    let tokens = learn_tokens(&words, options);
    let model = WordPiece::builder()
        .vocab(tokens.into_iter().zip(0..).collect::<Vocab>())
        .unk_token("[UNK]".into())
        .continuing_subword_prefix(PREFIX.into())
        .max_input_chars_per_word(MAX_CHARS_A_WORD)
        .build()
        .map_err(unexpected("building the WordPiece model"))?;
    Ok(model.into())
}

fn learn_tokens(words: &[(String, u64)], options: &TokenizerOptions) -> Vec<String> {
    let mut tokens: Vec<String> = SPECIAL_TOKENS.iter().map(|t| (*t).to_owned()).collect();
    // What can only be [UNK] teaches nothing.
    let words: Vec<&(String, u64)> = words
        .iter()
        .filter(|(word, _)| word.chars().nth(MAX_CHARS_A_WORD).is_none())
        .collect();
    let mut characters: HashMap<char, Character> = HashMap::new();
    for (word, count) in &words {
        for (place, c) in word.chars().enumerate() {
            let character = characters.entry(c).or_default();
            character.count += count;
            character.continues |= place > 0;
        }
    }
    let mut characters: Vec<(char, Character)> = characters.into_iter().collect();
    characters.sort_unstable_by_key(|(c, character)| (Reverse(character.count), *c));
    let mut room = options.max_vocab_size - tokens.len();
    characters.retain(|(_, character)| {
        let needed = 1 + usize::from(character.continues);
        let fits = room >= needed;
        // Once one is left out, the less frequent ones are too.
        room = if fits { room - needed } else { 0 };
        fits
    });
    characters.sort_unstable_by_key(|(c, _)| *c);
    let mut starting: HashMap<char, u32> = HashMap::new();
    for (c, _) in &characters {
        starting.insert(*c, tokens.len() as u32);
        tokens.push(c.to_string());
    }
    let mut continuing: HashMap<char, u32> = HashMap::new();
    for (c, _) in characters.iter().filter(|(_, c)| c.continues) {
        continuing.insert(*c, tokens.len() as u32);
        tokens.push(format!("{PREFIX}{c}"));
    }
    // A word with a character that was left out is [UNK] as a whole.
    let mut words: Vec<Word> = words
        .into_iter()
        .filter_map(|(word, count)| {
            let tokens = word
                .chars()
                .enumerate()
                .map(|(place, c)| {
                    if place == 0 {
                        starting.get(&c).copied()
                    } else {
                        continuing.get(&c).copied()
                    }
                })
                .collect::<Option<Vec<u32>>>()?;
            Some(Word {
                tokens,
                count: *count,
            })
        })
        .collect();
    merge_pairs(
        &mut words,
        &mut tokens,
        &Limits {
            max_tokens: options.max_vocab_size,
            min_count: u64::from(options.min_frequency),
            prefix: PREFIX,
        },
    );
    tokens
}
