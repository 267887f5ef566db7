//! Hugging Face model directories, and the same in one buffer.
//!
//! A model that `transformers.BertForSequenceClassification` can express is written as one (`model_type` "bert").
//! Others (the classifier on the bare [CLS] or mean state, a layer norm after the last block) carry a `model_type` of
//! our own, so that transformers refuses them instead of inventing a pooler. So do int8 models, whatever their shape.

mod adapter;
mod buffer;
mod checked_file;
mod checkpoint;
mod config;
mod directory;
mod files;
mod json;
mod manifest;
mod pickle;
#[cfg(test)]
mod published_tests;
mod run;
mod save;
mod staging;
mod tensors;
mod weights;
mod zip;

pub(crate) use adapter::check_pooler;
pub use adapter::{load_adapter, save_adapter};
pub use buffer::{load_buffer, save_buffer};
pub use checkpoint::Origins;
pub use directory::load_directory;
pub(crate) use directory::load_directory_with;
pub(crate) use files::names_in;
pub use files::{MAX_JSON_BYTES, Sink, read_file};
pub(crate) use json::from_slice as json_from_slice;
pub(crate) use manifest::Checksum;
pub use run::PlanNumbers;
pub(crate) use save::CHECKPOINT_FILES;
pub use save::{save_directory, save_directory_with};
pub use staging::{Staging, check_save};
pub(crate) use staging::{targets_in, tidy};
pub(crate) use weights::{Source, Weights, tensors_header, write_values};

use crate::device::Device;

use self::checkpoint::Checkpoint;
use self::config::Description;
use crate::classifier::Classifier;
use crate::data::{Dataset, Labels};
use crate::error::Result;
use crate::log;
use crate::model::{Model, refuse_int8};
use crate::problem::ProblemType;
use crate::text::Tokenizer;

/// The version of the format that this library writes: a directory's, and a buffer's. Newer ones are refused.
pub const FORMAT_VERSION: u64 = 1;

/// The classifier's config.json.
fn config_json(classifier: &Classifier) -> Result<String> {
    let is_int8 = classifier.parameters().is_int8();
    config::write(&classifier.model().config, classifier.labels(), is_int8)
}

/// The classes of a loaded model.
#[derive(Debug, Clone)]
pub enum LabelChoice {
    /// The checkpoint's.
    Checkpoint,
    /// These.
    Names(Labels),
    /// The checkpoint's where it knows every label of this data set, else the data set's.
    Dataset(Dataset),
}

/// How a model is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// `cpu`, `cuda`, `cuda:N` or `auto`.
    pub device: String,
    /// The classes that the model shall have. Where they aren't the checkpoint's, the classifier is new.
    pub labels: LabelChoice,
    /// The problem that the model shall solve. `None`: the one that `labels`' data set is for; without a data set the
    /// checkpoint's. Where it isn't the one that the checkpoint names, the classifier is new.
    pub problem_type: Option<ProblemType>,
    /// Decides the initial values of what the checkpoint lacks.
    pub seed: u64,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            device: "cpu".into(),
            labels: LabelChoice::Checkpoint,
            problem_type: None,
            seed: 42,
        }
    }
}

/// A classifier of a checkpoint's parts.
fn assemble(
    description: Description,
    tokenizer: Tokenizer,
    checkpoint: Checkpoint<'_>,
    device: Device,
    options: &LoadOptions,
) -> Result<Classifier> {
    let Description {
        mut config,
        labels,
        problem_type,
        is_int8,
        is_ours,
    } = description;
    let asked = options.problem_type.or(match &options.labels {
        LabelChoice::Dataset(dataset) => dataset.problem_type(),
        LabelChoice::Names(_) | LabelChoice::Checkpoint => None,
    });
    let wanted = match &options.labels {
        LabelChoice::Names(wanted) => wanted.clone(),
        LabelChoice::Dataset(dataset) => {
            let problem = asked.unwrap_or(config.problem_type);
            match labels.targets_of(dataset, problem) {
                Ok(_) => labels.clone(),
                Err(_) => {
                    let wanted = Labels::from_dataset(dataset)?;
                    wanted.targets_of(dataset, problem)?;
                    wanted
                }
            }
        }
        LabelChoice::Checkpoint => labels.clone(),
    };
    // A checkpoint that doesn't name its problem has a head for whichever is asked for.
    config.problem_type = asked
        .or(problem_type)
        .unwrap_or(ProblemType::inferred(wanted.len()));
    let keep_classifier =
        wanted == labels && problem_type.is_none_or(|stated| stated == config.problem_type);
    config.num_labels = wanted.len();
    let model = Model::new(config, device)?;
    let (parameters, origins) = if is_int8 {
        if !keep_classifier {
            return Err(refuse_int8(
                "a classifier for other labels or another problem",
            ));
        }
        checkpoint.int8_parameters(&model)?
    } else {
        checkpoint.parameters(&model, keep_classifier, is_ours, options.seed)?
    };
    if !origins.initialised.is_empty() {
        log::info(|| {
            format!(
                "New, with initial values: {}. Train the model before you use it.",
                origins.initialised.join(", ")
            )
        });
    }
    Classifier::from_parts(model, tokenizer, wanted, parameters, origins)
}
