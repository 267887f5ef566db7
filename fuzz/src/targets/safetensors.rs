//! Weights in the safetensors format, in one file or in shards with their index, around headers that may be anything:
//! `[raw] MARK n file` with n = 0 for model.safetensors, 1 for the index, 2 and 3 for the shards a and b. A file is its
//! header alone (length and numbers are made to fit it) unless its bit of `raw` is set.

use bert::classifier::Classifier;
use bert::hf::LoadOptions;

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::{answer, check_classifier};
use crate::scratch;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "safetensors",
    most_bytes: 64 * 1024,
    run,
    seeds,
    words: &[
        b"\"dtype\"",
        b"\"F32\"",
        b"\"F16\"",
        b"\"BF16\"",
        b"\"F64\"",
        b"\"I64\"",
        b"\"U8\"",
        b"\"BOOL\"",
        b"\"F8_E4M3\"",
        b"\"F4\"",
        b"\"shape\"",
        b"\"data_offsets\"",
        b"\"__metadata__\"",
        b"\"format\"",
        b"\"pt\"",
        b"\"weight_map\"",
        b"\"metadata\"",
        b"\"total_size\"",
        b"\"a.safetensors\"",
        b"\"b.safetensors\"",
        b"\"../config.json\"",
        b"\"..\"",
        b"bert.",
        b"LayerNorm.gamma",
        b"LayerNorm.beta",
        b"classifier.weight",
        b"18446744073709551615",
        b"4294967296",
        b"[0,0]",
        b"[]",
    ],
};

const FILES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "a.safetensors",
    "b.safetensors",
];

fn run(bytes: &[u8]) {
    let (head, parts) = input::parts(bytes);
    let raw = Bytes::new(head).byte();
    let directory = small_model::directory("safetensors");
    for (name, body) in parts {
        let Some(number) = name.checked_sub(b'0').map(usize::from) else {
            continue;
        };
        let Some(file) = FILES.get(number) else {
            continue;
        };
        if number == 1 || raw >> number & 1 == 1 {
            scratch::write(&directory, file, body);
        } else {
            scratch::write(&directory, file, &small_model::safetensors(body));
        }
    }
    if let Some(classifier) = answer(Classifier::load(&directory, &LoadOptions::default())) {
        check_classifier(&classifier);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let specs = small_model::specs(&small_model::config());
    let header =
        |specs: &[bert::model::ParameterSpec]| small_model::header(specs, Default::default());
    let whole = header(&specs);
    let old = whole
        .replace("\"bert.", "\"")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta");
    let (first, second) = specs.split_at(12);
    let map: serde_json::Map<String, serde_json::Value> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            let shard = if index < 12 {
                "a.safetensors"
            } else {
                "b.safetensors"
            };
            (spec.name.clone(), shard.into())
        })
        .collect();
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    let short_index = r#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#;
    let shards = [header(first), header(second)];
    vec![
        input::join(&[0], &[(b'0', whole.as_bytes())]),
        input::join(&[0], &[(b'0', old.as_bytes())]),
        input::join(
            &[0],
            &[
                (b'1', index.as_bytes()),
                (b'2', shards[0].as_bytes()),
                (b'3', shards[1].as_bytes()),
            ],
        ),
        input::join(
            &[0],
            &[
                (b'1', short_index.as_bytes()),
                (b'2', shards[0].as_bytes()),
                (b'3', shards[1].as_bytes()),
            ],
        ),
        input::join(&[1], &[(b'0', b"\x02\0\0\0\0\0\0\0{}")]),
        input::join(
            &[0],
            &[(
                b'0',
                br#"{"x":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]}}"#,
            )],
        ),
    ]
}
