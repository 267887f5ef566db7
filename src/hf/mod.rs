//! Hugging Face model directories, and the same in one buffer.
//!
//! A model that `transformers.BertForSequenceClassification` can express is written as one (`model_type` "bert").
//! Others (the classifier on the bare [CLS] or mean state, a layer norm after the last block) carry a `model_type` of
//! our own, so that transformers refuses them instead of inventing a pooler.

mod buffer;
mod config;
mod directory;
mod files;
mod weights;

pub use buffer::{load_buffer, save_buffer};
pub use directory::{load_directory, save_directory};
pub use files::{MAX_JSON_BYTES, read_file};

use crate::classifier::Classifier;
use crate::data::Labels;
use crate::error::Result;
use crate::model::BertConfig;

/// The version of the format that this library writes: a directory's, and a buffer's. Newer ones are refused.
pub const FORMAT_VERSION: u64 = 1;

/// The classifier's config.json.
fn config_json(classifier: &Classifier) -> Result<String> {
    config::write(&classifier.model().config, classifier.labels())
}

/// What a config.json says.
fn parse_config(json: &[u8], name: &str) -> Result<(BertConfig, Labels)> {
    config::read(json, name)
}
