//! From texts to class probabilities.

use crate::classifier::Classifier;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::{Parameters, Pooling};
use crate::text::Encoding;
use crate::threads;
use crate::train::loss::{argmax, softmax};

/// Texts that are tokenized and held at once, so that a call of any size runs in bounded memory.
pub(crate) const TEXTS_AT_ONCE: usize = 1024;

/// Windows of long texts that are held at once.
const WINDOWS_AT_ONCE: usize = 512;

/// How the windows of a long text become one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CombineWindows {
    /// The mean of the windows' logits.
    MeanLogits,
    /// The mean of their probabilities; the logits are its logarithm.
    MeanProbabilities,
    /// The window whose highest probability is the highest decides.
    MostConfident,
}

/// What becomes of a text that is longer than the maximum length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongText {
    /// It is cut.
    Truncate,
    /// It is classified by overlapping windows.
    Windows {
        /// Tokens that neighbouring windows share.
        stride: usize,
        /// How their answers become one.
        combine: CombineWindows,
    },
}

/// The options of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PredictOptions {
    /// Longest sequence in tokens; 0 takes what the model allows.
    pub max_length: usize,
    /// What becomes of a longer text.
    pub long_text: LongText,
}

impl Default for PredictOptions {
    fn default() -> PredictOptions {
        PredictOptions {
            max_length: 0,
            long_text: LongText::Truncate,
        }
    }
}

/// The answers for n texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Classes.
    pub num_labels: usize,
    /// Scores before the softmax, [n, num_labels].
    pub logits: Vec<f32>,
    /// Probabilities of the classes, [n, num_labels]; each row sums to 1.
    pub probabilities: Vec<f32>,
    /// The class with the highest logit, [n].
    pub label_ids: Vec<u32>,
}

/// Scores that overflowed say nothing: they are no answer.
pub(crate) fn check_finite(scores: &[f32]) -> Result<()> {
    if scores.iter().all(|score| score.is_finite()) {
        return Ok(());
    }
    Err(Error::NotFinite(
        "The model's scores are NaN or infinite: its weights are too large to compute with. Load or train another one."
            .into(),
    ))
}

impl Predictions {
    fn new(num_labels: usize, logits: Vec<f32>) -> Result<Predictions> {
        check_finite(&logits)?;
        Ok(Predictions {
            num_labels,
            probabilities: logits.chunks(num_labels).flat_map(softmax).collect(),
            label_ids: logits
                .chunks(num_labels)
                .map(|row| argmax(row) as u32)
                .collect(),
            logits,
        })
    }

    /// Text `index`'s `k` most probable classes with their probabilities, the best first, equals by their id.
    pub fn top(&self, index: usize, k: usize) -> Vec<(u32, f32)> {
        let row = &self.probabilities[index * self.num_labels..(index + 1) * self.num_labels];
        let mut ranked: Vec<(u32, f32)> = (0..).zip(row.iter().copied()).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked.truncate(k);
        ranked
    }
}

impl Classifier {
    /// Classifies texts, or pairs of texts. All of one call see one set of weights.
    pub fn predict(
        &self,
        texts: &[(&str, Option<&str>)],
        options: &PredictOptions,
    ) -> Result<Predictions> {
        let max_length = self.max_length(options.max_length)?;
        self.check_pairs(texts.iter().any(|text| text.1.is_some()))?;
        let parameters = self.parameters();
        let num_labels = self.model().config.num_labels;
        let mut logits = memory::room(texts.len().saturating_mul(num_labels))?;
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let block = threads::run(|| match options.long_text {
                LongText::Truncate => {
                    let encodings = self.tokenizer().encode_batch(texts, max_length)?;
                    self.model()
                        .logits_of_all(&parameters, &Batch::of(&encodings)?)
                }
                LongText::Windows { stride, combine } => {
                    self.windowed(&parameters, texts, max_length, stride, combine)
                }
            })??;
            logits.extend(block);
        }
        Predictions::new(num_labels, logits)
    }

    /// The logits of texts by their windows, of which a limited number is held at once.
    fn windowed(
        &self,
        parameters: &Parameters,
        texts: &[(&str, Option<&str>)],
        max_length: usize,
        stride: usize,
        combine: CombineWindows,
    ) -> Result<Vec<f32>> {
        let num_labels = self.model().config.num_labels;
        // ends[i] is one past text i's last window.
        let mut ends = Vec::with_capacity(texts.len());
        let mut waiting = Vec::new();
        let mut logits = Vec::new();
        let mut count = 0;
        let mut compute = |waiting: &mut Vec<Encoding>| -> Result<()> {
            logits.extend(
                self.model()
                    .logits_of_all(parameters, &Batch::of(waiting)?)?,
            );
            waiting.clear();
            Ok(())
        };
        for (text, pair) in texts {
            self.tokenizer()
                .for_each_window(text, *pair, max_length, stride, |window| {
                    waiting.push(window);
                    count += 1;
                    if waiting.len() == WINDOWS_AT_ONCE {
                        compute(&mut waiting)?;
                    }
                    Ok(())
                })?;
            ends.push(count);
        }
        compute(&mut waiting)?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        Ok(starts
            .zip(&ends)
            .flat_map(|(start, &end)| {
                let rows = &logits[start * num_labels..end * num_labels];
                combine_windows(rows, num_labels, combine)
            })
            .collect())
    }

    /// One vector a text (or pair): [n, hidden_size] row by row, each of length 1 where `normalise`.
    pub fn embed(
        &self,
        texts: &[(&str, Option<&str>)],
        max_length: usize,
        pooling: Pooling,
        normalise: bool,
    ) -> Result<Vec<f32>> {
        if pooling == Pooling::Pooler && self.model().table.pooler.is_none() {
            return Err(Error::Unsupported(
                "This model has no pooler; take the [CLS] or the mean vector.".into(),
            ));
        }
        let max_length = self.max_length(max_length)?;
        self.check_pairs(texts.iter().any(|text| text.1.is_some()))?;
        let parameters = self.parameters();
        let mut vectors =
            memory::room(texts.len().saturating_mul(self.model().config.hidden_size))?;
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            vectors.extend(threads::run(|| -> Result<Vec<f32>> {
                let sequences = Batch::of(&self.tokenizer().encode_batch(texts, max_length)?)?;
                self.model().pooled_of_all(&parameters, &sequences, pooling)
            })??);
        }
        check_finite(&vectors)?;
        if normalise {
            for vector in vectors.chunks_mut(self.model().config.hidden_size) {
                let squares: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                // A zero vector has no direction: it stays (as torch.nn.functional.normalize's 1e-12 has it).
                let length = squares.sqrt().max(1e-12);
                for x in vector {
                    *x = (f64::from(*x) / length) as f32;
                }
            }
        }
        Ok(vectors)
    }

    /// Classifies token sequences as they are: [CLS], [SEP] and token types included.
    pub fn predict_ids(&self, sequences: &Batch) -> Result<Predictions> {
        let config = &self.model().config;
        for (index, range) in sequences.ranges().enumerate() {
            if range.is_empty() || range.len() > config.max_position_embeddings {
                return Err(Error::InvalidArgument(format!(
                    "Sequence {index} has {} tokens; it must have between 1 and {}.",
                    range.len(),
                    config.max_position_embeddings
                )));
            }
        }
        let wrong =
            |values: &[u32], limit: usize| values.iter().find(|&&v| v as usize >= limit).copied();
        if let Some(id) = wrong(&sequences.input_ids, config.vocab_size) {
            return Err(Error::InvalidArgument(format!(
                "The token id {id} is not below this model's vocab_size, {}.",
                config.vocab_size
            )));
        }
        if let Some(id) = wrong(&sequences.token_type_ids, config.type_vocab_size) {
            return Err(Error::InvalidArgument(format!(
                "The token type {id} is not below this model's type_vocab_size, {}.",
                config.type_vocab_size
            )));
        }
        let parameters = self.parameters();
        let logits = threads::run(|| self.model().logits_of_all(&parameters, sequences))??;
        Predictions::new(config.num_labels, logits)
    }
}

/// One row of logits from the rows of a text's windows.
fn combine_windows(rows: &[f32], num_labels: usize, combine: CombineWindows) -> Vec<f32> {
    let count = (rows.len() / num_labels) as f64;
    let mean = |rows: &[f32]| -> Vec<f64> {
        let mut sums = vec![0f64; num_labels];
        for row in rows.chunks(num_labels) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        sums.iter().map(|sum| sum / count).collect()
    };
    match combine {
        // One window is the text itself: nothing is rounded.
        _ if rows.len() == num_labels => rows.to_vec(),
        CombineWindows::MeanLogits => mean(rows).iter().map(|&x| x as f32).collect(),
        CombineWindows::MeanProbabilities => {
            let probabilities: Vec<f32> = rows.chunks(num_labels).flat_map(softmax).collect();
            mean(&probabilities)
                .iter()
                .map(|&p| p.max(f64::from(f32::MIN_POSITIVE)).ln() as f32)
                .collect()
        }
        CombineWindows::MostConfident => {
            let confidence = |row: &[f32]| softmax(row).into_iter().fold(0f32, f32::max);
            let mut best = &rows[..num_labels];
            for row in rows.chunks(num_labels) {
                if confidence(row) > confidence(best) {
                    best = row;
                }
            }
            best.to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_combine_as_asked() {
        let rows = [2.0f32, 0.0, -1.0, 3.0];
        assert_eq!(
            combine_windows(&rows, 2, CombineWindows::MeanLogits),
            [0.5, 1.5]
        );
        // The second window's probability 0.982 is higher than the first one's 0.881.
        assert_eq!(
            combine_windows(&rows, 2, CombineWindows::MostConfident),
            [-1.0, 3.0]
        );
        let mean = softmax(&combine_windows(
            &rows,
            2,
            CombineWindows::MeanProbabilities,
        ));
        assert!((mean[0] - (0.880_797 + 0.017_986_2) / 2.0).abs() < 1e-5);
        assert_eq!(
            combine_windows(&rows[..2], 2, CombineWindows::MeanProbabilities),
            [2.0, 0.0]
        );
    }

    #[test]
    fn the_best_k_are_ranked_and_ties_go_by_id() {
        let predictions = Predictions::new(3, vec![0.0, 1.0, 0.0]).unwrap();
        let top: Vec<u32> = predictions.top(0, 2).iter().map(|t| t.0).collect();
        assert_eq!(top, [1, 0]);
        assert_eq!(predictions.label_ids, [1]);
    }
}
