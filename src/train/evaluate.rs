//! A model's loss and metrics on labelled examples.

use super::loss::{CrossEntropy, argmax};
use crate::classifier::Classifier;
use crate::data::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::memory;
use crate::metrics::{ClassificationMetrics, ConfusionMatrix};
use crate::model::{Model, Parameters};
use crate::predict::{TEXTS_AT_ONCE, check_finite};
use crate::threads;

/// Examples as the model sees them.
#[derive(Debug, Clone)]
pub struct EncodedDataset {
    /// Each example's tokens.
    pub sequences: Batch,
    /// Each example's class.
    pub labels: Vec<u32>,
    /// Examples whose text was shortened to the maximum length.
    pub truncated: usize,
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
            return Err(Error::Data(
                "The data set is empty; add labelled examples to it first.".into(),
            ));
        }
        classifier.check_pairs(dataset.examples().iter().any(|e| e.pair.is_some()))?;
        let labels = classifier.labels().classes_of(dataset)?;
        let examples = dataset.examples().iter();
        let texts = memory::collected(
            examples.map(|example| Ok((example.text.as_str(), example.pair.as_deref()))),
        )?;
        let mut sequences = Batch::pack([]);
        let mut truncated = 0;
        // Some at a time: what the tokenizer gives is larger than what is kept of it.
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let encodings =
                threads::run(|| classifier.tokenizer().encode_batch(texts, max_length))??;
            sequences.append(&encodings)?;
            truncated += encodings.iter().filter(|e| e.truncated).count();
        }
        Ok(EncodedDataset {
            sequences,
            labels,
            truncated,
        })
    }

    /// Examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never: an empty data set is refused.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Examples.
    pub examples: usize,
    /// Mean cross entropy, without class weights and label smoothing.
    pub loss: f64,
    /// Accuracy, F1, Matthews correlation and each class's precision, recall and F1.
    pub metrics: ClassificationMetrics,
    /// How often each class was taken for each.
    pub confusion: ConfusionMatrix,
}

/// Evaluates one whole set of parameters, without dropout.
pub fn evaluate(
    model: &Model,
    parameters: &Parameters,
    data: &EncodedDataset,
) -> Result<Evaluation> {
    let num_labels = model.config.num_labels;
    let logits = threads::run(|| model.logits_of_all(parameters, &data.sequences))??;
    check_finite(&logits)?;
    let loss = CrossEntropy::default().of(&logits, &data.labels, num_labels, 1.0);
    let mut confusion = ConfusionMatrix::new(num_labels);
    for (row, &label) in logits.chunks(num_labels).zip(&data.labels) {
        confusion.add(label, argmax(row) as u32)?;
    }
    Ok(Evaluation {
        examples: data.len(),
        loss: loss.sum / data.len() as f64,
        metrics: confusion.metrics(),
        confusion,
    })
}
