//! The words of the training texts and how often each occurs.

use std::collections::HashMap;

use rayon::prelude::*;

use super::pipeline::{Pipeline, SPECIAL_TOKENS};
use crate::error::Result;
use crate::memory;
use crate::threads;

/// Longer words, in characters, are no words: they are left out, so that a text that is one unbroken run of
/// characters doesn't end up in the vocabulary.
const MAX_WORD_CHARS: usize = 1000;

/// How many texts one thread counts at a time.
const TEXTS_A_TASK: usize = 512;

/// The words of `texts`, cut by the pipeline that will encode, with their counts and in order of first appearance.
/// Runs on rayon's current pool; the result doesn't depend on its size.
pub(super) fn count_words(texts: &[&str], pipeline: &Pipeline) -> Result<Vec<(String, u64)>> {
    let count = |texts: &[&str]| {
        let mut counts = Counts::default();
        for text in texts {
            pipeline.each_word(text, MAX_WORD_CHARS, |word| {
                if SPECIAL_TOKENS.contains(&word) {
                    return Ok(());
                }
                counts.add(word, 1)
            })?;
        }
        Ok(counts)
    };
    let parts: Vec<Counts> = match threads::current_num_threads() {
        1 => texts
            .chunks(TEXTS_A_TASK)
            .map(count)
            .collect::<Result<_>>()?,
        _ => texts
            .par_chunks(TEXTS_A_TASK)
            .map(count)
            .collect::<Result<_>>()?,
    };
    let mut all = Counts::default();
    for part in parts {
        for (word, count) in part.words {
            all.add(&word, count)?;
        }
    }
    Ok(all.words)
}

/// Words in order of first appearance.
#[derive(Default)]
struct Counts {
    words: Vec<(String, u64)>,
    places: HashMap<String, usize>,
}

impl Counts {
    fn add(&mut self, word: &str, count: u64) -> Result<()> {
        match self.places.get(word) {
            Some(&place) => self.words[place].1 += count,
            None => {
                memory::reserve(&mut self.words, 1)?;
                memory::reserve_place(&mut self.places)?;
                self.places.insert(word.to_owned(), self.words.len());
                self.words.push((word.to_owned(), count));
            }
        }
        Ok(())
    }
}
