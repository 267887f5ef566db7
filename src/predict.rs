//! From texts to answers: class probabilities, labels, or numbers.

use crate::classifier::Classifier;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::model::{InferencePrecision, Parameters, Pooling};
use crate::problem::ProblemType;
use crate::text::Encoding;
use crate::threads;
use crate::train::lengths::how_to_read_more;
use crate::train::loss::{argmax, log_softmax, probability, reaches, softmax};
use crate::{log, memory};

/// Texts that are tokenized and held at once, so that a call of any size runs in bounded memory.
pub(crate) const TEXTS_AT_ONCE: usize = 1024;

/// Texts of so many bytes are little work: with one thread for all work not worth waiting for another's turn.
const MAX_SMALL_BYTES: usize = 4096;

/// Windows of long texts that are held at once.
const WINDOWS_AT_ONCE: usize = 512;

/// How the windows of a long text become one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CombineWindows {
    /// The mean of the windows' logits (regression: of their values).
    MeanLogits,
    /// The mean of their probabilities; the logits are its logarithm, of a label's probability p ln(p / (1 - p)). Not for
    /// regression.
    MeanProbabilities,
    /// The window whose highest probability is the highest decides; of labels, for each the window where it is the
    /// highest. Not for regression.
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
    /// What the layers are computed in.
    pub precision: InferencePrecision,
}

impl Default for PredictOptions {
    fn default() -> PredictOptions {
        PredictOptions {
            max_length: 0,
            long_text: LongText::Truncate,
            precision: InferencePrecision::Float32,
        }
    }
}

/// How vectors are made of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbedOptions {
    /// Longest sequence in tokens; 0 takes what the model allows.
    pub max_length: usize,
    /// What of a text's states makes its vector.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalise: bool,
    /// What the layers are computed in.
    pub precision: InferencePrecision,
}

impl Default for EmbedOptions {
    fn default() -> EmbedOptions {
        EmbedOptions {
            max_length: 0,
            pooling: Pooling::Mean,
            normalise: false,
            precision: InferencePrecision::Float32,
        }
    }
}

/// The answers for n texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Classes, labels or regression targets.
    pub num_labels: usize,
    /// What they are.
    pub problem_type: ProblemType,
    /// The model's scores, [n, num_labels]; for regression the answer itself.
    pub logits: Vec<f32>,
    /// Probabilities, [n, num_labels]: of the classes, each row sums to 1; of the labels, each by itself. Empty for
    /// regression.
    pub probabilities: Vec<f32>,
    /// The class or label with the highest logit, [n]. Empty for regression.
    pub label_ids: Vec<u32>,
    /// Whether something of the text wasn't read, because it is longer than the maximum length, [n].
    pub is_cut: Vec<bool>,
}

/// The vectors of n texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// [n, hidden_size], row by row.
    pub vectors: Vec<f32>,
    /// Whether something of the text wasn't read, because it is longer than the maximum length, [n].
    pub is_cut: Vec<bool>,
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
    fn new(
        num_labels: usize,
        problem_type: ProblemType,
        logits: Vec<f32>,
        is_cut: Vec<bool>,
    ) -> Result<Predictions> {
        check_finite(&logits)?;
        let probabilities = match problem_type {
            ProblemType::SingleLabel => logits.chunks(num_labels).flat_map(softmax).collect(),
            ProblemType::MultiLabel => logits.iter().map(|&x| probability(x)).collect(),
            ProblemType::Regression => Vec::new(),
        };
        let label_ids = match problem_type {
            ProblemType::Regression => Vec::new(),
            ProblemType::SingleLabel | ProblemType::MultiLabel => logits
                .chunks(num_labels)
                .map(|row| argmax(row) as u32)
                .collect(),
        };
        Ok(Predictions {
            num_labels,
            problem_type,
            probabilities,
            label_ids,
            logits,
            is_cut,
        })
    }

    /// Texts.
    pub fn len(&self) -> usize {
        self.logits.len() / self.num_labels
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.logits.is_empty()
    }

    /// Whether each label's probability reaches its threshold, [n, num_labels] (multi-label).
    pub fn has_labels<'a>(&'a self, thresholds: &'a [f64]) -> impl Iterator<Item = bool> + 'a {
        let probabilities = self.probabilities.iter();
        let pairs = probabilities.zip(thresholds.iter().cycle());
        pairs.map(|(&p, &threshold)| reaches(p, threshold))
    }

    /// Text `index`'s `k` most probable classes or labels with their probabilities, the best first, equals by their id.
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
        let (num_labels, problem_type) = self.head();
        if let LongText::Windows { combine, .. } = options.long_text
            && combine != CombineWindows::MeanLogits
            && problem_type == ProblemType::Regression
        {
            return Err(Error::InvalidArgument(
                "This model's problem is regression, which has no probabilities; windows are combined by their mean."
                    .into(),
            ));
        }
        let parameters = self.parameters();
        let mut logits = memory::room(texts.len().saturating_mul(num_labels))?;
        let mut is_cut = memory::room(texts.len())?;
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let (block, cut) = self.run(&parameters, options.precision, texts, || match options
                .long_text
            {
                LongText::Truncate => {
                    let encodings = self.tokenizer().encode_batch(texts, max_length)?;
                    let batch = Batch::of(&encodings)?;
                    let model = self.model();
                    let logits = model.logits_in(options.precision, &parameters, &batch)?;
                    Ok((logits, cut_of(&encodings)))
                }
                LongText::Windows { stride, combine } => self.windowed(
                    &parameters,
                    texts,
                    max_length,
                    options.precision,
                    (stride, combine),
                ),
            })?;
            logits.extend(block);
            is_cut.extend(cut);
        }
        self.tell_of_cut(&is_cut, max_length);
        Predictions::new(num_labels, problem_type, logits, is_cut)
    }

    /// Warns of the first texts that predictions of this classifier don't read whole; later answers say it by their
    /// flags alone, so that a service's log isn't full of it.
    fn tell_of_cut(&self, is_cut: &[bool], max_length: usize) {
        let count = is_cut.iter().filter(|is_cut| **is_cut).count();
        if count > 0 && self.is_first_cut() {
            log::warning(|| {
                format!(
                    "{count} of {} texts are longer than the maximum length of {max_length} tokens and were cut; \
                     was_cut tells which. Further cut texts of this model aren't told here. {}",
                    is_cut.len(),
                    how_to_read_more(self, max_length)
                )
            });
        }
    }

    /// Runs the work on these texts on the library's pool; where one thread is to do all work on this one, without waiting
    /// for a turn if it is little.
    fn run<T: Send>(
        &self,
        parameters: &Parameters,
        precision: InferencePrecision,
        texts: &[(&str, Option<&str>)],
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        parameters.choose_instructions(precision);
        let bytes = |text: &(&str, Option<&str>)| text.0.len() + text.1.map_or(0, str::len);
        if texts.iter().map(bytes).sum::<usize>() > MAX_SMALL_BYTES || !self.model().device.is_cpu()
        {
            return threads::run(work)?;
        }
        if !parameters.is_prepared(precision) {
            threads::run(|| self.model().prepare(parameters, precision))??;
        }
        threads::run_small(work)?
    }

    /// What the model's scores are: how many a text, and of what.
    fn head(&self) -> (usize, ProblemType) {
        let config = &self.model().config;
        (config.num_labels, config.problem_type)
    }

    /// The logits of texts by their windows, of which a limited number is held at once, and whether a text was cut
    /// still.
    fn windowed(
        &self,
        parameters: &Parameters,
        texts: &[(&str, Option<&str>)],
        max_length: usize,
        precision: InferencePrecision,
        (stride, combine): (usize, CombineWindows),
    ) -> Result<(Vec<f32>, Vec<bool>)> {
        let (num_labels, problem_type) = self.head();
        // ends[i] is one past text i's last window.
        let mut ends = Vec::with_capacity(texts.len());
        let mut waiting = Vec::new();
        let mut logits = Vec::new();
        let mut count = 0;
        let mut compute = |waiting: &mut Vec<Encoding>| -> Result<()> {
            let batch = Batch::of(waiting)?;
            logits.extend(self.model().logits_in(precision, parameters, &batch)?);
            waiting.clear();
            Ok(())
        };
        let mut is_cut = Vec::with_capacity(texts.len());
        for (text, pair) in texts {
            let mut cut = false;
            self.tokenizer()
                .for_each_window(text, *pair, max_length, stride, |window| {
                    cut |= window.truncated;
                    waiting.push(window);
                    count += 1;
                    if waiting.len() == WINDOWS_AT_ONCE {
                        compute(&mut waiting)?;
                    }
                    Ok(())
                })?;
            ends.push(count);
            is_cut.push(cut);
        }
        compute(&mut waiting)?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let combined = starts.zip(&ends).flat_map(|(start, &end)| {
            let rows = &logits[start * num_labels..end * num_labels];
            combine_windows(rows, num_labels, problem_type, combine)
        });
        Ok((combined.collect(), is_cut))
    }

    /// One vector a text (or pair).
    pub fn embed(
        &self,
        texts: &[(&str, Option<&str>)],
        options: &EmbedOptions,
    ) -> Result<Embeddings> {
        let EmbedOptions {
            max_length,
            pooling,
            normalise,
            precision,
        } = *options;
        if pooling == Pooling::Pooler && self.model().table.pooler.is_none() {
            return Err(Error::Unsupported(
                "This model has no pooler; take the [CLS] or the mean vector.".into(),
            ));
        }
        if pooling == Pooling::Pooler && self.untrained().pooler {
            return Err(Error::Unsupported(
                "This model's pooler has initial values: it was in no checkpoint and was never trained, so that its \
                 vectors mean nothing. Take the [CLS] or the mean vector, or train the model first."
                    .into(),
            ));
        }
        let max_length = self.max_length(max_length)?;
        self.check_pairs(texts.iter().any(|text| text.1.is_some()))?;
        let parameters = self.parameters();
        let mut vectors =
            memory::room(texts.len().saturating_mul(self.model().config.hidden_size))?;
        let mut is_cut = memory::room(texts.len())?;
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let (block, cut) = self.run(&parameters, precision, texts, || -> Result<_> {
                let encodings = self.tokenizer().encode_batch(texts, max_length)?;
                let sequences = Batch::of(&encodings)?;
                let model = self.model();
                let vectors = model.pooled_in(precision, &parameters, &sequences, pooling)?;
                Ok((vectors, cut_of(&encodings)))
            })?;
            vectors.extend(block);
            is_cut.extend(cut);
        }
        check_finite(&vectors)?;
        self.tell_of_cut(&is_cut, max_length);
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
        Ok(Embeddings { vectors, is_cut })
    }

    /// Refuses sequences of tokens that the model has no positions for, and empty ones.
    pub fn check_lengths(&self, lengths: impl IntoIterator<Item = usize>) -> Result<()> {
        let most = self.model().config.max_position_embeddings;
        for (index, length) in lengths.into_iter().enumerate() {
            if length == 0 || length > most {
                return Err(Error::InvalidArgument(format!(
                    "Sequence {index} has {length} tokens; it must have between 1 and {most}."
                ))
                .of_argument("lengths")
                .at_index(index));
            }
        }
        Ok(())
    }

    /// Classifies token sequences as they are: [CLS], [SEP] and token types included.
    pub fn predict_ids(
        &self,
        sequences: &Batch,
        precision: InferencePrecision,
    ) -> Result<Predictions> {
        let config = &self.model().config;
        self.check_lengths(sequences.ranges().map(|range| range.len()))?;
        let wrong = |values: &[u32], limit: usize| values.iter().position(|&v| v as usize >= limit);
        if let Some(index) = wrong(sequences.input_ids(), config.vocab_size) {
            return Err(Error::InvalidArgument(format!(
                "The token id {} is not below this model's vocab_size, {}.",
                sequences.input_ids()[index],
                config.vocab_size
            ))
            .of_argument("ids")
            .at_index(index));
        }
        if let Some(index) = wrong(sequences.token_type_ids(), config.type_vocab_size) {
            return Err(Error::InvalidArgument(format!(
                "The token type {} is not below this model's type_vocab_size, {}.",
                sequences.token_type_ids()[index],
                config.type_vocab_size
            ))
            .of_argument("token_type_ids")
            .at_index(index));
        }
        let parameters = self.parameters();
        parameters.choose_instructions(precision);
        let logits = threads::run(|| self.model().logits_in(precision, &parameters, sequences))??;
        let is_cut = memory::filled(false, sequences.len())?;
        Predictions::new(config.num_labels, config.problem_type, logits, is_cut)
    }
}

fn cut_of(encodings: &[Encoding]) -> Vec<bool> {
    encodings.iter().map(|e| e.truncated).collect()
}

/// One row of logits from the rows of a text's windows.
fn combine_windows(
    rows: &[f32],
    num_labels: usize,
    problem: ProblemType,
    combine: CombineWindows,
) -> Vec<f32> {
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
        // The logarithms of one window's probabilities, which float32 needn't hold.
        CombineWindows::MeanProbabilities
            if rows.len() == num_labels && problem == ProblemType::SingleLabel =>
        {
            log_softmax(rows)
        }
        // One window is the text itself: nothing is rounded. A label's logit is ln(p / (1 - p)) of its probability.
        _ if rows.len() == num_labels => rows.to_vec(),
        CombineWindows::MeanLogits => mean(rows).iter().map(|&x| x as f32).collect(),
        CombineWindows::MeanProbabilities if problem == ProblemType::MultiLabel => {
            let probabilities: Vec<f32> = rows.iter().map(|&x| probability(x)).collect();
            let least = f64::from(f32::MIN_POSITIVE);
            mean(&probabilities)
                .iter()
                // 1 - p is as small as float32 has it: probabilities of 1 don't make infinite logits.
                .map(|&p| {
                    (p.max(least).ln() - (1.0 - p).max(f64::from(f32::EPSILON) / 2.0).ln()) as f32
                })
                .collect()
        }
        CombineWindows::MeanProbabilities => {
            let probabilities: Vec<f32> = rows.chunks(num_labels).flat_map(softmax).collect();
            mean(&probabilities)
                .iter()
                .map(|&p| p.max(f64::from(f32::MIN_POSITIVE)).ln() as f32)
                .collect()
        }
        CombineWindows::MostConfident if problem == ProblemType::MultiLabel => (0..num_labels)
            .map(|label| {
                let column = rows.iter().skip(label).step_by(num_labels);
                column.copied().fold(f32::NEG_INFINITY, f32::max)
            })
            .collect(),
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
        let combine =
            |rows: &[f32], combine| combine_windows(rows, 2, ProblemType::SingleLabel, combine);
        let rows = [2.0f32, 0.0, -1.0, 3.0];
        assert_eq!(combine(&rows, CombineWindows::MeanLogits), [0.5, 1.5]);
        // The second window's probability 0.982 is higher than the first one's 0.881.
        assert_eq!(combine(&rows, CombineWindows::MostConfident), [-1.0, 3.0]);
        let mean = softmax(&combine(&rows, CombineWindows::MeanProbabilities));
        assert!((mean[0] - (0.880_797 + 0.017_986_2) / 2.0).abs() < 1e-5);
        // Logarithms of probabilities also of one window: torch.log_softmax of [2, 0].
        let one = combine(&rows[..2], CombineWindows::MeanProbabilities);
        assert!((one[0] + 0.126_928).abs() < 1e-6 && (one[1] + 2.126_928).abs() < 1e-6);
        let sure = combine(&[0.0, 200.0], CombineWindows::MeanProbabilities);
        assert_eq!(sure, [-200.0, 0.0]);
        assert_eq!(combine(&rows[..2], CombineWindows::MeanLogits), [2.0, 0.0]);
    }

    #[test]
    fn windows_of_labels_combine_label_by_label() {
        let combine =
            |rows: &[f32], combine| combine_windows(rows, 2, ProblemType::MultiLabel, combine);
        let rows = [2.0f32, 0.0, -1.0, 3.0];
        assert_eq!(combine(&rows, CombineWindows::MeanLogits), [0.5, 1.5]);
        assert_eq!(combine(&rows, CombineWindows::MostConfident), [2.0, 3.0]);
        let mean = combine(&rows, CombineWindows::MeanProbabilities);
        assert!((probability(mean[0]) - (0.880_797 + 0.268_941) / 2.0).abs() < 1e-5);
        assert!((probability(mean[1]) - (0.5 + 0.952_574) / 2.0).abs() < 1e-5);
        let sure = combine(
            &[200.0, -200.0, 200.0, -200.0],
            CombineWindows::MeanProbabilities,
        );
        assert!(sure.iter().all(|x| x.is_finite()));
        assert!(probability(sure[0]) > 0.999_999 && probability(sure[1]) < 1e-6);
    }

    #[test]
    fn the_best_k_are_ranked_and_ties_go_by_id() {
        let logits = vec![0.0, 1.0, 0.0];
        let predictions =
            Predictions::new(3, ProblemType::SingleLabel, logits, vec![false]).unwrap();
        let top: Vec<u32> = predictions.top(0, 2).iter().map(|t| t.0).collect();
        assert_eq!(top, [1, 0]);
        assert_eq!(predictions.label_ids, [1]);
    }

    #[test]
    fn each_problem_has_its_answers() {
        let logits = vec![0.0, 2.0, -2.0, -1.0];
        let of = |problem| Predictions::new(2, problem, logits.clone(), vec![false; 2]).unwrap();
        let single = of(ProblemType::SingleLabel);
        assert!((single.probabilities[0] + single.probabilities[1] - 1.0).abs() < 1e-6);
        let multi = of(ProblemType::MultiLabel);
        assert_eq!(multi.probabilities[0], 0.5);
        assert_eq!(multi.label_ids, [1, 1]);
        let labels = |thresholds: [f64; 2]| multi.has_labels(&thresholds).collect::<Vec<bool>>();
        assert_eq!(labels([0.5, 0.5]), [true, true, false, false]);
        assert_eq!(labels([0.6, 0.6]), [false, true, false, false]);
        assert_eq!(labels([0.6, 0.2]), [false, true, false, true]);
        let regression = of(ProblemType::Regression);
        assert_eq!((regression.len(), &regression.logits), (2, &logits));
        assert!(regression.probabilities.is_empty() && regression.label_ids.is_empty());
    }
}
