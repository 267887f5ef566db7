//! A whole model in one buffer: a safetensors file with config.json, tokenizer.json and tokenizer_config.json in its
//! metadata, and the checksum of all its other bytes at its beginning.

use serde_json::json;

use super::checkpoint::{Checkpoint, TensorFile};
use super::manifest::{Checksum, DIGITS};
use super::save::tokenizer_config;
use super::tensors::Saved;
use super::weights::{Source, Weights, header_of, write_numbers};
use super::{LoadOptions, assemble, config, config_json, tokenizer_files};
use crate::classifier::Classifier;
use crate::device;
use crate::error::{Error, Result};
use crate::text::Tokenizer;

/// The keys of the metadata.
const CONFIG_KEY: &str = "config.json";
const TOKENIZER_KEY: &str = "tokenizer.json";
const TOKENIZER_CONFIG_KEY: &str = "tokenizer_config.json";
const MAX_LENGTH_KEY: &str = "model_max_length";

/// Before the metadata's first value, the checksum, which thus is where the buffer tells of no other place.
const CHECKSUM_PREFIX: &[u8] = br#"{"__metadata__":{"libbert_checksum":""#;
const CHECKSUM_KEY: &str = "libbert_checksum";
/// The metadata's last key, which only buffers with a checksum have: no damage takes both away unseen.
const CHECKED_KEY: &str = "libbert_checksum_version";

/// The checksum's place.
const DIGITS_START: usize = 8 + CHECKSUM_PREFIX.len();
const DIGITS_END: usize = DIGITS_START + DIGITS;

/// The checksum of all bytes but its own.
fn checksum(bytes: &[u8]) -> Option<String> {
    let mut checksum = Checksum::new();
    checksum.update(bytes.get(..DIGITS_START)?);
    checksum.update(bytes.get(DIGITS_END..)?);
    Some(checksum.digits())
}

/// Whether the buffer is as it was saved, or was saved by an earlier version without a checksum.
fn check(bytes: &[u8]) -> Result<bool> {
    if bytes.get(8..DIGITS_START) != Some(CHECKSUM_PREFIX) {
        return Ok(false);
    }
    let there = bytes.get(DIGITS_START..DIGITS_END);
    if there != checksum(bytes).as_deref().map(str::as_bytes) {
        return Err(differs());
    }
    Ok(true)
}

fn differs() -> Error {
    Error::Format(
        "The buffer is not as it was saved: its checksum is another. It is damaged or cut short; copy it again from where \
         it came."
            .into(),
    )
}

/// One safetensors file.
pub fn save_buffer(classifier: &Classifier) -> Result<Vec<u8>> {
    let mut metadata = serde_json::Map::new();
    metadata.insert(CHECKSUM_KEY.into(), json!("0".repeat(DIGITS)));
    metadata.insert("format".into(), json!("pt"));
    metadata.insert(CONFIG_KEY.into(), json!(config_json(classifier)?));
    metadata.insert(
        TOKENIZER_KEY.into(),
        json!(classifier.tokenizer().to_json()?),
    );
    metadata.insert(
        TOKENIZER_CONFIG_KEY.into(),
        json!(tokenizer_config(classifier)),
    );
    let max_length = classifier.max_length(0)?.to_string();
    metadata.insert(MAX_LENGTH_KEY.into(), json!(max_length));
    metadata.insert(CHECKED_KEY.into(), json!("1"));
    let parameters = classifier.parameters();
    let saved = Saved::new(classifier.model(), &parameters)?;
    let tensors = saved.tensors()?;
    let mut bytes = header_of(&tensors, metadata);
    let numbers = tensors.iter().map(|tensor| tensor.numbers.bytes()).sum();
    bytes.try_reserve_exact(numbers).map_err(|_| {
        Error::OutOfMemory(format!(
            "The system has no {numbers} bytes of memory for the saved model; save it to a directory instead."
        ))
    })?;
    write_numbers(&tensors, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    let digits = checksum(&bytes);
    match (bytes.get_mut(DIGITS_START..DIGITS_END), digits) {
        (Some(place), Some(digits)) => place.copy_from_slice(digits.as_bytes()),
        _ => {
            return Err(Error::Internal(
                "The saved buffer has no place for its checksum; please report this.".into(),
            ));
        }
    }
    Ok(bytes)
}

/// Reads it back.
pub fn load_buffer(bytes: &[u8], options: &LoadOptions) -> Result<Classifier> {
    let device = device::from_name(&options.device)?;
    let is_checked = check(bytes)?;
    let weights = Weights::open(Source::Bytes(bytes))?;
    if !is_checked && weights.metadata(CHECKED_KEY).is_some() {
        return Err(differs());
    }
    let part = |key: &str| {
        weights.metadata(key).ok_or_else(|| {
            Error::Format(format!(
                "The buffer's metadata lacks {key}; it wasn't written by bert_save_to_buffer."
            ))
        })
    };
    let config = part(CONFIG_KEY)?.as_bytes();
    let description = config::read(config, "the buffer's config.json")?;
    let json = part(TOKENIZER_KEY)?.as_bytes();
    let tokenizer = match weights.metadata(TOKENIZER_CONFIG_KEY) {
        Some(config) => {
            let origin = tokenizer_files::Origin {
                path: &|name| format!("the buffer's {name}"),
                class: None,
                rows: description.config.vocab_size,
                is_saved: true,
            };
            tokenizer_files::saved(json, config.as_bytes(), &origin)?
        }
        // An earlier version saved it.
        None => Tokenizer::from_json(json)?,
    };
    let max_length = match weights.metadata(MAX_LENGTH_KEY) {
        Some(text) => text.parse().ok(),
        None => None,
    };
    let checkpoint = Checkpoint::new(vec![TensorFile::Safetensors(weights)])?;
    let classifier = assemble(description, tokenizer, checkpoint, device, options)?;
    Ok(classifier.with_max_length(max_length))
}
