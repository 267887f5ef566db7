//! config.json, beside a tokenizer and weights that fit it wherever it describes a small model.

use bert::classifier::Classifier;
use bert::hf::LoadOptions;
use bert::model::{BertConfig, Pooling};
use serde_json::{Map, Value, json};

use super::Target;
use crate::oracle::{answer, check_classifier};
use crate::small_model;

pub const TARGET: Target = Target {
    name: "config",
    most_bytes: 16 * 1024,
    run,
    seeds,
    words: &[
        b"\"architectures\"",
        b"\"model_type\"",
        b"\"bert\"",
        b"\"libbert\"",
        b"\"libbert_format_version\"",
        b"\"vocab_size\"",
        b"\"hidden_size\"",
        b"\"num_hidden_layers\"",
        b"\"num_attention_heads\"",
        b"\"intermediate_size\"",
        b"\"hidden_act\"",
        b"\"gelu\"",
        b"\"gelu_new\"",
        b"\"relu\"",
        b"\"hidden_dropout_prob\"",
        b"\"attention_probs_dropout_prob\"",
        b"\"classifier_dropout\"",
        b"\"max_position_embeddings\"",
        b"\"type_vocab_size\"",
        b"\"initializer_range\"",
        b"\"layer_norm_eps\"",
        b"\"pad_token_id\"",
        b"\"position_embedding_type\"",
        b"\"absolute\"",
        b"\"problem_type\"",
        b"\"single_label_classification\"",
        b"\"multi_label_classification\"",
        b"\"regression\"",
        b"\"id2label\"",
        b"\"label2id\"",
        b"\"num_labels\"",
        b"\"pooling\"",
        b"\"pooler\"",
        b"\"cls\"",
        b"\"mean\"",
        b"\"final_layer_norm\"",
        b"\"is_decoder\"",
        b"\"add_cross_attention\"",
        b"null",
        b"true",
        b"false",
        b"1e-12",
        b"18446744073709551615",
        b"-1",
    ],
};

fn run(input: &[u8]) {
    let Ok(config) = std::str::from_utf8(input) else {
        return;
    };
    let value: Value = serde_json::from_str(config).unwrap_or_default();
    let specs = small_model::specs(&fitting(&value).unwrap_or_else(small_model::config));
    let mut metadata = Map::new();
    metadata.insert("format".into(), json!("pt"));
    metadata.insert("config.json".into(), json!(config));
    metadata.insert(
        "tokenizer.json".into(),
        json!(small_model::tokenizer_json()),
    );
    let buffer = small_model::safetensors(small_model::header(&specs, metadata).as_bytes());
    if let Some(classifier) = answer(Classifier::load_from_buffer(
        &buffer,
        &LoadOptions::default(),
    )) {
        check_classifier(&classifier);
    }
}

/// The shape that the object describes, if it is one of few parameters.
fn fitting(value: &Value) -> Option<BertConfig> {
    const MOST_PARAMETERS: usize = 50_000;
    let default = BertConfig::default();
    let size = |key: &str, default: usize| match value.get(key) {
        None | Some(Value::Null) => Some(default),
        Some(value) => usize::try_from(value.as_u64()?).ok(),
    };
    let is_ours = value.get("model_type")?.as_str()? == "libbert";
    let config = BertConfig {
        vocab_size: size("vocab_size", default.vocab_size)?,
        hidden_size: size("hidden_size", default.hidden_size)?,
        num_hidden_layers: size("num_hidden_layers", default.num_hidden_layers)?,
        num_attention_heads: size("num_attention_heads", default.num_attention_heads)?,
        intermediate_size: size("intermediate_size", default.intermediate_size)?,
        max_position_embeddings: size("max_position_embeddings", default.max_position_embeddings)?,
        type_vocab_size: size("type_vocab_size", default.type_vocab_size)?,
        pooling: match value.get("pooling").and_then(Value::as_str) {
            Some("cls") if is_ours => Pooling::Cls,
            Some("mean") if is_ours => Pooling::Mean,
            _ => Pooling::Pooler,
        },
        final_layer_norm: is_ours && value.get("final_layer_norm") == Some(&Value::Bool(true)),
        num_labels: match value.get("id2label") {
            Some(Value::Object(labels)) => labels.len(),
            _ => size("num_labels", 2)?,
        },
        ..default
    };
    let is_small = config.validate().is_ok()
        && config
            .parameter_count()
            .is_some_and(|count| count <= MOST_PARAMETERS)
        && config.num_hidden_layers <= 8;
    is_small.then_some(config)
}

fn seeds() -> Vec<Vec<u8>> {
    let ours = json!({
        "model_type": "libbert", "libbert_format_version": 1, "vocab_size": 16, "hidden_size": 6,
        "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 5,
        "hidden_act": "relu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": null, "max_position_embeddings": 9, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "position_embedding_type": "absolute", "id2label": {"0": "a", "1": "b", "2": "c"},
        "pooling": "mean", "final_layer_norm": true,
    });
    let labels = json!({
        "model_type": "bert", "vocab_size": 20, "hidden_size": 1, "num_hidden_layers": 1,
        "num_attention_heads": 1, "intermediate_size": 1, "hidden_act": "gelu_new",
        "max_position_embeddings": 4, "type_vocab_size": 1, "num_labels": 5, "is_decoder": false,
    });
    vec![
        small_model::config_json(),
        ours.to_string().into_bytes(),
        labels.to_string().into_bytes(),
        b"{}".to_vec(),
    ]
}
