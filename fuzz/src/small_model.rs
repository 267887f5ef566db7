//! A model of a few hundred numbers, in the forms in which files hold it: what an input damages, or what stands around
//! the part that it makes.

use std::path::PathBuf;
use std::sync::OnceLock;

use bert::classifier::Classifier;
use bert::data::{Dataset, Example, Label};
use bert::hf::LoadOptions;
use bert::model::{BertConfig, ParameterSpec, ParameterTable};
use bert::text::{Tokenizer, TokenizerKind, TokenizerOptions};
use serde_json::{Map, Value, json};

use crate::scratch;

/// Its shape.
pub fn config() -> BertConfig {
    BertConfig {
        vocab_size: tokenizer().vocab_size(),
        hidden_size: 4,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 3,
        max_position_embeddings: 8,
        ..BertConfig::default()
    }
}

/// Its config.json, as Hugging Face writes it.
pub fn config_json() -> Vec<u8> {
    let config = config();
    json!({
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "id2label": {"0": "no", "1": "yes"},
    })
    .to_string()
    .into_bytes()
}

/// Its tokenizer: a dozen words.
pub fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| trained(TokenizerKind::WordLevel))
}

/// A tokenizer learned from a few words.
pub fn trained(kind: TokenizerKind) -> Tokenizer {
    let options = TokenizerOptions {
        kind,
        max_vocab_size: if kind == TokenizerKind::ByteLevelBpe {
            265
        } else {
            40
        },
        ..TokenizerOptions::default()
    };
    Tokenizer::train(["a b a bad film", "A good film, good film"], &options)
        .expect("the texts are sound")
}

/// Its tokenizer.json.
pub fn tokenizer_json() -> &'static str {
    static JSON: OnceLock<String> = OnceLock::new();
    JSON.get_or_init(|| tokenizer().to_json().expect("a tokenizer can be written"))
}

/// A directory of that name with all of it but weights.
pub fn directory(name: &str) -> PathBuf {
    let directory = scratch::empty(name);
    scratch::write(&directory, "config.json", &config_json());
    scratch::write(&directory, "tokenizer.json", tokenizer_json().as_bytes());
    directory
}

/// A data set of these texts and the names of their classes.
pub fn dataset(examples: &[(&str, &str)]) -> Dataset {
    let mut dataset = Dataset::new();
    for (text, label) in examples {
        let example = Example {
            text: text.to_string(),
            pair: None,
            label: Label::Name(label.to_string()),
        };
        dataset.push(example).expect("the example is sound");
    }
    dataset
}

/// Number `index` of a checkpoint: any small ones do.
fn value(index: usize) -> f32 {
    ((index * 37 + 11) % 64) as f32 / 64.0 - 0.5
}

/// As many bytes of float32 numbers.
pub fn numbers(bytes: usize) -> Vec<u8> {
    let mut numbers: Vec<u8> = (0..bytes.div_ceil(4))
        .flat_map(|index| value(index).to_le_bytes())
        .collect();
    numbers.truncate(bytes);
    numbers
}

/// The parameters of a model of that shape.
pub fn specs(config: &BertConfig) -> Vec<ParameterSpec> {
    ParameterTable::new(config).specs
}

/// A model of it, with initial values.
pub fn classifier() -> Classifier {
    let specs = specs(&config());
    let mut metadata = Map::new();
    metadata.insert(
        "config.json".into(),
        json!(String::from_utf8_lossy(&config_json())),
    );
    metadata.insert("tokenizer.json".into(), json!(tokenizer_json()));
    let buffer = safetensors(header(&specs, metadata).as_bytes());
    Classifier::load_from_buffer(&buffer, &LoadOptions::default()).expect("the buffer is sound")
}

/// The header in a safetensors file.
pub fn header_of(file: &[u8]) -> &[u8] {
    let mut length = [0; 8];
    length.copy_from_slice(&file[..8]);
    &file[8..8 + u64::from_le_bytes(length) as usize]
}

/// The header of a safetensors file of these parameters.
pub fn header(specs: &[ParameterSpec], metadata: Map<String, Value>) -> String {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), Value::Object(metadata));
    }
    let mut offset = 0;
    for spec in specs {
        let end = offset + 4 * spec.len();
        header.insert(
            spec.name.clone(),
            json!({"dtype": "F32", "shape": spec.shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    Value::Object(header).to_string()
}

/// A safetensors file around a header that may be anything: its length is right, and there are as many numbers as it
/// describes, up to a limit.
pub fn safetensors(header: &[u8]) -> Vec<u8> {
    const MOST_NUMBERS: u64 = 1 << 20;
    let end = |tensor: &Value| tensor.get("data_offsets")?.get(1)?.as_u64();
    let described = match serde_json::from_slice(header) {
        Ok(Value::Object(tensors)) => tensors.values().filter_map(end).max().unwrap_or(0),
        _ => 0,
    };
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(numbers(described.min(MOST_NUMBERS) as usize));
    file
}
