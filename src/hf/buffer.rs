//! A whole model in one buffer: a safetensors file with config.json and tokenizer.json in its metadata.

use serde_json::json;

use super::checkpoint::{Checkpoint, TensorFile};
use super::weights::{Source, Weights, header, write_values};
use super::{LoadOptions, assemble, config, config_json};
use crate::classifier::Classifier;
use crate::device;
use crate::error::{Error, Result};
use crate::model::ParameterSpec;
use crate::text::Tokenizer;

/// The keys of the metadata.
const CONFIG_KEY: &str = "config.json";
const TOKENIZER_KEY: &str = "tokenizer.json";
const MAX_LENGTH_KEY: &str = "model_max_length";

/// One safetensors file.
pub fn save_buffer(classifier: &Classifier) -> Result<Vec<u8>> {
    let mut metadata = serde_json::Map::new();
    metadata.insert("format".into(), json!("pt"));
    metadata.insert(CONFIG_KEY.into(), json!(config_json(classifier)?));
    metadata.insert(
        TOKENIZER_KEY.into(),
        json!(classifier.tokenizer().to_json()?),
    );
    let max_length = classifier.max_length(0)?.to_string();
    metadata.insert(MAX_LENGTH_KEY.into(), json!(max_length));
    let specs = classifier.model().table.base_specs();
    let mut bytes = header(specs, metadata);
    let numbers = 4 * specs.iter().map(ParameterSpec::len).sum::<usize>();
    bytes.try_reserve_exact(numbers).map_err(|_| {
        Error::OutOfMemory(format!(
            "The system has no {numbers} bytes of memory for the saved model; save it to a directory instead."
        ))
    })?;
    write_values(
        &classifier.model().merged_values(&classifier.parameters())?,
        |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        },
    )?;
    Ok(bytes)
}

/// Reads it back.
pub fn load_buffer(bytes: &[u8], options: &LoadOptions) -> Result<Classifier> {
    let device = device::from_name(&options.device)?;
    let weights = Weights::open(Source::Bytes(bytes))?;
    let part = |key: &str| {
        weights.metadata(key).ok_or_else(|| {
            Error::Format(format!(
                "The buffer's metadata lacks {key}; it wasn't written by bert_save_to_buffer."
            ))
        })
    };
    let config = part(CONFIG_KEY)?.as_bytes();
    let description = config::read(config, "the buffer's config.json")?;
    let tokenizer = Tokenizer::from_json(part(TOKENIZER_KEY)?.as_bytes())?;
    let max_length = match weights.metadata(MAX_LENGTH_KEY) {
        Some(text) => text.parse().ok(),
        None => None,
    };
    let checkpoint = Checkpoint::new(vec![TensorFile::Safetensors(weights)])?;
    let classifier = assemble(description, tokenizer, checkpoint, device, options)?;
    Ok(classifier.with_max_length(max_length))
}
