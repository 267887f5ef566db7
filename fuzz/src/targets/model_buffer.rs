//! bert_load_from_buffer. `0` and the buffer as it is; or `1`, then `MARK n` and a part of a buffer that is made around
//! them: 0 for config.json, 1 for tokenizer.json, 2 for model_max_length, 3 for the tensors' part of the header. What is
//! missing is the small model's.

use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use bert::capi::*;
use serde_json::{Map, Value, json};

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::check_refusal;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "model_buffer",
    most_bytes: 64 * 1024,
    run,
    seeds,
    words: &[
        b"\"dtype\"",
        b"\"F32\"",
        b"\"BF16\"",
        b"\"shape\"",
        b"\"data_offsets\"",
        b"\"__metadata__\"",
        b"\"config.json\"",
        b"\"tokenizer.json\"",
        b"\"model_max_length\"",
        b"\"hidden_size\"",
        b"\"vocab_size\"",
        b"\"id2label\"",
        b"\"num_labels\"",
        b"\"libbert_format_version\"",
        b"\\u0000",
    ],
};

fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let made;
    let buffer = if bytes.bit() {
        let (_, parts) = input::parts(bytes.rest());
        made = buffer(&parts);
        &made
    } else {
        bytes.rest()
    };
    let mut model = null_mut();
    // SAFETY: the buffer is readable in its length, the handle's place writable, no options are given.
    let status =
        unsafe { bert_load_from_buffer(buffer.as_ptr(), buffer.len(), null(), &mut model) };
    if status == BERT_OK {
        check_model(model);
        bert_free(model);
    } else {
        check_refusal(status);
        assert!(model.is_null(), "a refusal wrote a handle");
    }
}

/// All that a model tells of itself is there, and it can predict and be saved.
fn check_model(model: *mut bert_model) {
    let mut info = MaybeUninit::<bert_info>::uninit();
    // SAFETY: the struct is writable in its size, and initialised by the first call.
    let info = unsafe {
        assert_eq!(
            bert_info_init(info.as_mut_ptr(), size_of::<bert_info>()),
            BERT_OK
        );
        assert_eq!(bert_get_info(model, info.as_mut_ptr()), BERT_OK);
        info.assume_init()
    };
    for label in 0..info.num_labels.min(10) {
        let mut name = null();
        let mut length = 0;
        let mut again = -1;
        // SAFETY: the places are writable; the name is readable in its length while the model lives.
        unsafe {
            assert_eq!(
                bert_label_name(model, label, &mut name, &mut length),
                BERT_OK
            );
            assert_eq!(*name.add(length), 0, "a name ends with a NUL");
            assert_eq!(bert_label_id(model, name, length, &mut again), BERT_OK);
        }
        assert_eq!(again, label);
    }
    for origin in [
        BERT_PARAMETERS_LOADED,
        BERT_PARAMETERS_INITIALISED,
        BERT_PARAMETERS_IGNORED,
    ] {
        let mut name = null();
        let mut count = 0;
        // SAFETY: the places are writable.
        let status = unsafe { bert_parameter_name(model, origin, 0, &mut name, &mut count) };
        assert_eq!(status == BERT_OK, count > 0);
    }
    for text in ["a good film", ""] {
        let mut prediction = MaybeUninit::<bert_prediction>::uninit();
        // SAFETY: the struct is writable in its size and initialised by the first call; the text has its length.
        let status = unsafe {
            assert_eq!(
                bert_prediction_init(prediction.as_mut_ptr(), size_of::<bert_prediction>()),
                BERT_OK
            );
            bert_predict(
                model,
                text.as_ptr().cast(),
                text.len(),
                null(),
                0,
                null(),
                prediction.as_mut_ptr(),
            )
        };
        if status == BERT_OK {
            // SAFETY: bert_prediction_init has written all of it.
            let prediction = unsafe { prediction.assume_init() };
            assert!((0..info.num_labels).contains(&prediction.label_id));
            let is_regression = info.problem_type == BERT_PROBLEM_REGRESSION;
            assert!(is_regression || (0.0..=1.001).contains(&prediction.probability));
        } else {
            check_refusal(status);
        }
    }
    let mut saved = null_mut();
    let mut length = 0;
    let mut again = null_mut();
    // SAFETY: the places are writable; what was saved is readable in its length until it is freed.
    unsafe {
        assert_eq!(bert_save_to_buffer(model, &mut saved, &mut length), BERT_OK);
        assert_eq!(
            bert_load_from_buffer(saved, length, null(), &mut again),
            BERT_OK
        );
        bert_buffer_free(saved, length);
    }
    bert_free(again);
}

/// A buffer as bert_save_to_buffer writes it, of these parts.
fn buffer(parts: &[(u8, &[u8])]) -> Vec<u8> {
    let part = |name: u8| input::part(parts, name).map(input::text);
    let config = part(b'0').unwrap_or_else(|| input::text(&small_model::config_json()));
    let tokenizer = part(b'1').unwrap_or_else(|| small_model::tokenizer_json().to_string());
    let mut metadata = Map::new();
    metadata.insert("format".into(), json!("pt"));
    metadata.insert("config.json".into(), json!(config));
    metadata.insert("tokenizer.json".into(), json!(tokenizer));
    if let Some(length) = part(b'2') {
        metadata.insert("model_max_length".into(), json!(length));
    }
    let Some(tensors) = part(b'3') else {
        let specs = small_model::specs(&small_model::config());
        return small_model::safetensors(small_model::header(&specs, metadata).as_bytes());
    };
    // The tensors' part may be anything, so it is put together as text.
    let metadata = Value::Object(metadata).to_string();
    let header = format!("{{\"__metadata__\":{metadata},{tensors}}}");
    small_model::safetensors(header.as_bytes())
}

fn seeds() -> Vec<Vec<u8>> {
    let specs = small_model::specs(&small_model::config());
    let header = small_model::header(&specs, Map::new());
    let tensors = &header.as_bytes()[1..header.len() - 1];
    let config = small_model::config_json();
    let whole = buffer(&[]);
    vec![
        input::join(&[1], &[(b'0', &config), (b'2', b"6")]),
        input::join(&[1], &[(b'1', small_model::tokenizer_json().as_bytes())]),
        input::join(&[1], &[(b'3', tensors)]),
        [&[0], whole.as_slice()].concat(),
    ]
}
