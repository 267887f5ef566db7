//! Hugging Face model directories, and the same in one buffer.
//!
//! A model that `transformers.BertForSequenceClassification` can express is written as one (`model_type` "bert").
//! Others (the classifier on the bare [CLS] or mean state, a layer norm after the last block) carry a `model_type` of
//! our own, so that transformers refuses them instead of inventing a pooler. So do int8 models, whatever their shape.

mod adapter;
mod adapter_config;
mod buffer;
mod checked_file;
mod checkpoint;
mod config;
mod directory;
mod files;
mod head;
mod id2label;
mod json;
mod manifest;
mod pickle;
#[cfg(test)]
mod published_tests;
mod run;
mod save;
mod sentence_transformers;
mod staging;
mod tensors;
mod tokenizer_files;
#[cfg(test)]
mod tokenizer_tests;
mod weights;
mod zip;

pub(crate) use adapter::check_pooler;
pub use adapter::{load_adapter, save_adapter};
pub use buffer::{load_buffer, save_buffer};
pub use checkpoint::{Origins, Untrained};
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
use self::head::{Decision, Head, Saved, decide, looks_like_a_head, saved_from};
use crate::classifier::Classifier;
use crate::data::{Dataset, Labels};
use crate::error::Result;
use crate::log;
use crate::model::{Model, Pooling, refuse_int8};
use crate::problem::ProblemType;
use crate::text::Tokenizer;

/// The version of the format that this library writes: a directory's, and a buffer's. Newer ones are refused.
pub const FORMAT_VERSION: u64 = 1;

/// The classifier's config.json.
fn config_json(classifier: &Classifier) -> Result<String> {
    let is_int8 = classifier.parameters().is_int8();
    config::write(
        &classifier.model().config,
        classifier.labels(),
        &classifier.thresholds(),
        is_int8,
        classifier.untrained(),
    )
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
    /// The classes that the model shall have. Where they aren't the checkpoint's, in any order, the classifier is new.
    pub labels: LabelChoice,
    /// Whether the checkpoint's classifier is kept under the names of `labels`.
    pub rename_labels: bool,
    /// Whether the classifier is new whatever the checkpoint has.
    pub new_classifier: bool,
    /// The problem that the model shall solve. `None`: the one that `labels`' data set is for; without a data set the
    /// checkpoint's. Where it isn't the one that the checkpoint names, the classifier is new.
    pub problem_type: Option<ProblemType>,
    /// The vector that the classifier reads; `None`: the checkpoint's. Where it is another, the classifier is new.
    pub pooling: Option<Pooling>,
    /// Decides the initial values of what the checkpoint lacks.
    pub seed: u64,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            device: "cpu".into(),
            labels: LabelChoice::Checkpoint,
            rename_labels: false,
            new_classifier: false,
            problem_type: None,
            pooling: None,
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
    let decision = decide(&description, checkpoint.classifier_rows(), options)?;
    let file = checkpoint.name();
    let has_own_pooling = options
        .pooling
        .is_none_or(|asked| asked == description.config.pooling);
    let mut config = description.config.clone();
    config.problem_type = decision.problem_type;
    config.num_labels = decision.labels.len();
    config.pooling = options.pooling.unwrap_or(config.pooling);
    let model = Model::new(config, device)?;
    let (parameters, origins) = if description.is_int8 {
        if decision.head == Head::New {
            return Err(refuse_int8(
                "a classifier for other labels, another problem or another pooling",
            ));
        }
        checkpoint.int8_parameters(&model, &decision.head)?
    } else {
        // A model of ours that read another vector may lack the pooler.
        let is_complete = description.is_ours && has_own_pooling;
        checkpoint.parameters(&model, &decision.head, is_complete, options.seed)?
    };
    let mut untrained = Untrained::of(&origins);
    untrained.pooler |= description.untrained.pooler && model.table.pooler.is_some();
    untrained.classifier |= description.untrained.classifier;
    tell(&description, &decision, &origins, untrained, &file, options);
    let thresholds = decision.thresholds(&description.thresholds);
    let is_multi_label = model.config.problem_type == ProblemType::MultiLabel;
    let classifier =
        Classifier::from_parts(model, tokenizer, decision.labels, parameters, origins)?;
    if is_multi_label {
        classifier.set_thresholds(&thresholds)?;
    }
    Ok(classifier.with_untrained(untrained))
}

/// Tells the log what was loaded otherwise than it stands in the directory. What the caller didn't ask for is a
/// warning.
fn tell(
    description: &Description,
    decision: &Decision,
    origins: &Origins,
    untrained: Untrained,
    file: &str,
    options: &LoadOptions,
) {
    let is_new = decision.head == Head::New;
    let say = |is_meant: bool, text: String| {
        if is_meant {
            log::info(|| text);
        } else {
            log::warning(|| text);
        }
    };
    if decision.has_saved_labels && !is_new {
        for note in &description.labels.notes {
            log::warning(|| note.clone());
        }
    }
    let saved_from = saved_from(&description.architectures);
    if let Saved::Unknown(name) = saved_from {
        log::warning(|| {
            format!(
                "The checkpoint is a {name}, which this library doesn't know; it is read as a \
                 BertForSequenceClassification. Compare some answers with those of the program that it comes from."
            )
        });
    }
    if description.has_own_code {
        log::warning(|| {
            "The checkpoint has code of its own (auto_map in config.json), which isn't run; it is read as a plain \
             BERT. Compare some answers with those of the program that it comes from."
                .into()
        });
    }
    if let Some(text) = &decision.dropped {
        say(options.new_classifier, text.clone());
    }
    if let Some(text) = &decision.told {
        log::info(|| text.clone());
    }
    // A classifier that the caller asked for, and what is trained with it.
    let is_meant =
        decision.is_asked && origins.initialised.iter().any(|n| n == "classifier.weight");
    if !origins.initialised.is_empty() {
        let advice = if decision.is_asked {
            "Train the model before you use it."
        } else {
            "Until it is trained the model's predictions mean nothing. To say that this is meant, set labels_from to \
             the data set to train on, or new_classifier to 1."
        };
        let names = origins.initialised.join(", ");
        let whose = match &decision.dropped {
            Some(_) => String::new(),
            None => format!(", which {file} doesn't hold"),
        };
        say(
            is_meant,
            format!("New, with initial values{whose}: {names}. {advice}"),
        );
    }
    // Whoever trained them had another head than the one that is read.
    let has_language_model = origins
        .ignored
        .iter()
        .any(|n| n.starts_with("cls.predictions."));
    let heads: Vec<&str> = origins
        .ignored
        .iter()
        .map(String::as_str)
        .filter(|name| !is_classifier(name))
        .filter(|name| looks_like_a_head(name, &saved_from, has_language_model))
        .collect();
    if !heads.is_empty() {
        say(
            options.new_classifier,
            format!(
                "{file} holds what looks like a head under other names, which isn't used: {}. A classifier that is to \
                 be used is called classifier.weight and classifier.bias.",
                heads.join(", ")
            ),
        );
    }
    let parts: Vec<&str> = [
        (untrained.pooler && description.untrained.pooler, "pooler"),
        (
            untrained.classifier && description.untrained.classifier && !is_new,
            "classifier",
        ),
    ]
    .iter()
    .filter(|part| part.0)
    .map(|part| part.1)
    .collect();
    if !parts.is_empty() {
        say(
            decision.is_asked,
            format!(
                "Never trained, with initial values still: the {} of this saved model. Until it is trained the model's \
                 predictions mean nothing.",
                parts.join(" and the ")
            ),
        );
    }
}

/// Whether it is a parameter of the classifier by its own name.
fn is_classifier(name: &str) -> bool {
    name == "classifier.weight" || name == "classifier.bias"
}
