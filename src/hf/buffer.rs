//! A whole model in one buffer: a safetensors file with config.json and tokenizer.json in its metadata.

use candle_core::Device;
use serde_json::json;

use super::weights::{Source, Weights, serialise};
use super::{config_json, parse_config};
use crate::classifier::Classifier;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::text::Tokenizer;

/// The keys of the metadata.
const CONFIG_KEY: &str = "config.json";
const TOKENIZER_KEY: &str = "tokenizer.json";

/// One safetensors file.
pub fn save_buffer(classifier: &Classifier) -> Result<Vec<u8>> {
    let mut metadata = serde_json::Map::new();
    metadata.insert("format".into(), json!("pt"));
    metadata.insert(CONFIG_KEY.into(), json!(config_json(classifier)?));
    metadata.insert(
        TOKENIZER_KEY.into(),
        json!(classifier.tokenizer().to_json()?),
    );
    let (mut bytes, numbers) = serialise(classifier.model(), &classifier.parameters(), metadata)?;
    bytes.reserve_exact(numbers.iter().map(Vec::len).sum());
    for part in numbers {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Reads it back.
pub fn load_buffer(bytes: &[u8], device: Device) -> Result<Classifier> {
    let mut weights = Weights::open(Source::Bytes(bytes))?;
    let part = |key: &str| {
        weights.metadata(key).map(str::to_string).ok_or_else(|| {
            Error::Format(format!(
                "The buffer's metadata lacks {key}; it wasn't written by bert_save_to_buffer."
            ))
        })
    };
    let config = part(CONFIG_KEY)?;
    let tokenizer = part(TOKENIZER_KEY)?;
    let (config, labels) = parse_config(config.as_bytes(), "the buffer's config.json")?;
    let tokenizer = Tokenizer::from_json(tokenizer.as_bytes())?;
    let model = Model::new(config, device)?;
    let parameters = weights.parameters(&model)?;
    Classifier::from_parts(model, tokenizer, labels, parameters)
}
