//! A model's loss and metrics on labelled examples.

use super::loss::{CrossEntropy, Objective, argmax, probability, reaches};
use crate::classifier::Classifier;
use crate::data::{Batch, Dataset, Targets};
use crate::error::{Error, Result};
use crate::memory;
use crate::metrics::{ConfusionMatrix, LabelCounts, Metrics, RegressionMetrics};
use crate::model::{InferencePrecision, Model, Parameters};
use crate::predict::{LongText, PredictOptions, TEXTS_AT_ONCE, check_finite};
use crate::threads;

/// Examples as the model sees them.
#[derive(Debug, Clone)]
pub struct EncodedDataset {
    /// Each example's tokens.
    pub sequences: Batch,
    /// What each example asks for.
    pub targets: Targets,
    /// The numbers of the examples whose text was cut to the maximum length, ascending.
    pub cut: Vec<usize>,
}

impl EncodedDataset {
    /// Encodes with the classifier's tokenizer and labels. `max_length` 0 takes what the model allows.
    pub fn new(
        classifier: &Classifier,
        dataset: &Dataset,
        max_length: usize,
    ) -> Result<EncodedDataset> {
        let max_length = classifier.max_length(max_length)?;
        if dataset.is_empty() {
            return Err(no_examples());
        }
        classifier.check_pairs(dataset.examples().iter().any(|e| e.pair.is_some()))?;
        let problem = classifier.model().config.problem_type;
        let targets = classifier.labels().targets_of(dataset, problem)?;
        let texts = dataset.pairs()?;
        let mut sequences = Batch::pack([]);
        let mut cut = Vec::new();
        let mut number = 0;
        // Some at a time: what the tokenizer gives is larger than what is kept of it.
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let encodings =
                threads::run(|| classifier.tokenizer().encode_batch(texts, max_length))??;
            sequences.append(&encodings)?;
            for encoding in &encodings {
                if encoding.truncated {
                    memory::reserve(&mut cut, 1)?;
                    cut.push(number);
                }
                number += 1;
            }
        }
        Ok(EncodedDataset {
            sequences,
            targets,
            cut,
        })
    }

    /// Examples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Never: an empty data set is refused.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Examples.
    pub examples: usize,
    /// The problem's mean loss, without class weights and label smoothing.
    pub loss: f64,
    /// The problem's metrics.
    pub metrics: Metrics,
    /// Examples whose text was cut.
    pub cut: usize,
}

/// Evaluates one whole set of parameters, without dropout. `thresholds` are the probabilities from which on each label
/// counts as predicted (multi-label).
pub fn evaluate(
    model: &Model,
    parameters: &Parameters,
    data: &EncodedDataset,
    thresholds: &[f64],
) -> Result<Evaluation> {
    evaluate_in(
        InferencePrecision::Float32,
        model,
        parameters,
        data,
        thresholds,
    )
}

/// The same with what the layers are computed in.
pub fn evaluate_in(
    precision: InferencePrecision,
    model: &Model,
    parameters: &Parameters,
    data: &EncodedDataset,
    thresholds: &[f64],
) -> Result<Evaluation> {
    parameters.choose_instructions(precision);
    let logits = threads::run(|| model.logits_in(precision, parameters, &data.sequences))??;
    check_finite(&logits)?;
    let num_labels = model.config.num_labels;
    evaluation_of(
        &data.targets,
        &logits,
        num_labels,
        data.cut.len(),
        thresholds,
    )
}

/// Evaluates a classifier on labelled texts as [`Classifier::predict`] reads them with `options`, windows included;
/// also what the examples ask for.
pub fn evaluate_texts(
    classifier: &Classifier,
    dataset: &Dataset,
    options: &PredictOptions,
    thresholds: &[f64],
) -> Result<(Evaluation, Targets)> {
    let model = classifier.model();
    if options.long_text == LongText::Truncate {
        let data = EncodedDataset::new(classifier, dataset, options.max_length)?;
        let parameters = classifier.parameters();
        let found = evaluate_in(options.precision, model, &parameters, &data, thresholds)?;
        return Ok((found, data.targets));
    }
    if dataset.is_empty() {
        return Err(no_examples());
    }
    let config = &model.config;
    let targets = classifier
        .labels()
        .targets_of(dataset, config.problem_type)?;
    let texts = dataset.pairs()?;
    let answers = classifier.predict(&texts, options)?;
    let cut = answers.is_cut.iter().filter(|is_cut| **is_cut).count();
    let found = evaluation_of(
        &targets,
        &answers.logits,
        config.num_labels,
        cut,
        thresholds,
    )?;
    Ok((found, targets))
}

/// The evaluation of logits [examples, num_labels].
fn evaluation_of(
    targets: &Targets,
    logits: &[f32],
    num_labels: usize,
    cut: usize,
    thresholds: &[f64],
) -> Result<Evaluation> {
    let objective = Objective {
        targets,
        cross_entropy: &CrossEntropy::default(),
        thresholds,
        num_labels,
        deviations: None,
    };
    let all = memory::collected((0..targets.len()).map(Ok))?;
    let loss = objective.of(&all, logits, 1.0);
    Ok(Evaluation {
        examples: targets.len(),
        loss: loss.sum / targets.len() as f64,
        metrics: metrics_of(targets, logits, num_labels, thresholds)?,
        cut,
    })
}

fn no_examples() -> Error {
    Error::Data("The data set is empty; add labelled examples to it first.".into())
}

/// The metrics of the problem that `targets` are of, for the logits [examples, num_labels].
fn metrics_of(
    targets: &Targets,
    logits: &[f32],
    num_labels: usize,
    thresholds: &[f64],
) -> Result<Metrics> {
    let rows = logits.chunks(num_labels);
    match targets {
        Targets::Classes(classes) => {
            let mut confusion = ConfusionMatrix::new(num_labels);
            for (row, &class) in rows.zip(classes) {
                confusion.add(class, argmax(row) as u32)?;
            }
            Ok(Metrics::SingleLabel(confusion.metrics(), confusion))
        }
        Targets::Labels(lists) => {
            let mut counts = LabelCounts::new(num_labels);
            for (row, list) in rows.zip(lists) {
                let is_predicted = |(id, (&logit, &threshold))| {
                    reaches(probability(logit), threshold).then_some(id)
                };
                let scores = (0..).zip(row.iter().zip(thresholds));
                let predicted: Vec<u32> = scores.filter_map(is_predicted).collect();
                counts.add(list, &predicted)?;
            }
            Ok(Metrics::MultiLabel(counts.metrics()))
        }
        Targets::Values { values, width } => Ok(Metrics::Regression(RegressionMetrics::of(
            values, logits, *width,
        ))),
    }
}
