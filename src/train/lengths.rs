//! How long texts are in tokens, for what is told of those that are cut.

use rayon::prelude::*;

use super::evaluate::EncodedDataset;
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::error::Result;
use crate::text::Tokenizer;
use crate::{log, memory, threads};

/// Tokens of a long text that are held at once.
const WINDOW: usize = 4096;

/// The tokens of a text or a pair with its special tokens, however many; of a long text a part is held at a time.
pub fn token_count(tokenizer: &Tokenizer, text: &str, pair: Option<&str>) -> Result<usize> {
    let count = |text: &str| -> Result<usize> {
        let mut count = 0;
        tokenizer.for_each_window(text, None, WINDOW, 0, |window| {
            // [CLS] and [SEP] stand around each part.
            count += window.input_ids.len() - 2;
            Ok(())
        })?;
        Ok(count)
    };
    let first = count(text)? + 2;
    Ok(match pair {
        Some(pair) => first + count(pair)? + 1,
        None => first,
    })
}

/// The value that a share of the sorted `lengths` doesn't exceed: the nearest rank. 0 of none.
pub fn percentile(lengths: &[usize], share: f64) -> usize {
    let rank = (lengths.len() as f64 * share).ceil() as usize;
    let place = rank.clamp(1, lengths.len().max(1)) - 1;
    lengths.get(place).copied().unwrap_or(0)
}

/// Warns where texts of a data set were cut, with how long its texts are.
pub fn warn_of_cut_texts(
    classifier: &Classifier,
    dataset: &Dataset,
    encoded: &EncodedDataset,
    max_length: usize,
    kind: &str,
) -> Result<()> {
    if encoded.cut.is_empty() {
        return Ok(());
    }
    let tokenizer = classifier.tokenizer();
    let examples = dataset.examples();
    let mut lengths = memory::collected(encoded.sequences.ranges().map(|range| Ok(range.len())))?;
    let whole = threads::run(|| -> Result<Vec<usize>> {
        let length = |&index: &usize| {
            let example = &examples[index];
            token_count(tokenizer, &example.text, example.pair.as_deref())
        };
        encoded.cut.par_iter().map(length).collect()
    })??;
    for (&index, length) in encoded.cut.iter().zip(whole) {
        lengths[index] = length;
    }
    lengths.sort_unstable();
    log::warning(|| {
        format!(
            "{} of {} {kind} texts are longer than the maximum length of {max_length} tokens and are cut. In tokens, \
             the median of all is {}, 95 % have at most {}, and the longest has {}. {}",
            encoded.cut.len(),
            lengths.len(),
            percentile(&lengths, 0.5),
            percentile(&lengths, 0.95),
            percentile(&lengths, 1.0),
            how_to_read_more(classifier, max_length)
        )
    });
    Ok(())
}

/// What makes the model read more of long texts.
pub fn how_to_read_more(classifier: &Classifier, max_length: usize) -> String {
    let positions = classifier.model().config.max_position_embeddings;
    match max_length < positions {
        true => format!("Set max_length, to at most {positions}, to read more of them."),
        false => format!(
            "The model has {positions} positions; one with more max_position_embeddings reads more of them, and \
             BERT_LONG_TEXT_WINDOWS reads them whole in predictions."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::TokenizerOptions;

    #[test]
    fn texts_of_any_length_are_counted() {
        let tokenizer = Tokenizer::train(["a b c"], &TokenizerOptions::default());
        let tokenizer = tokenizer.unwrap();
        let long = "a b ".repeat(5000);
        for (text, pair, count) in [
            ("", None, 2),
            ("a b c", None, 5),
            ("a b c", Some(""), 6),
            ("a", Some("b c"), 6),
            (&long, None, 10_002),
            (&long, Some(&long), 20_003),
        ] {
            assert_eq!(token_count(&tokenizer, text, pair), Ok(count));
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let lengths: Vec<usize> = (1..=200).collect();
        assert_eq!(percentile(&lengths, 0.5), 100);
        assert_eq!(percentile(&lengths, 0.95), 190);
        assert_eq!(percentile(&lengths, 0.99), 198);
        assert_eq!(percentile(&lengths, 1.0), 200);
        assert_eq!(percentile(&[7], 0.5), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
