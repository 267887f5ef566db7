//! A whole model directory: `[label choice] MARK n file`, n being the file's number below.

use bert::classifier::Classifier;
use bert::data::Labels;
use bert::hf::{LabelChoice, LoadOptions};

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::{answer, check_classifier};
use crate::scratch;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "model_directory",
    most_bytes: 64 * 1024,
    run,
    seeds,
    words: &[
        b"\"model_type\"",
        b"\"bert\"",
        b"\"id2label\"",
        b"\"num_labels\"",
        b"\"architectures\"",
        b"\"BertForTokenClassification\"",
        b"\"libbert_untrained\"",
        b"\"weight_map\"",
        b"\"model.safetensors\"",
        b"\"config.json\"",
        b"\"do_lower_case\"",
        b"\"model_max_length\"",
        b"\"dtype\"",
        b"\"F32\"",
        b"\"shape\"",
        b"\"data_offsets\"",
        b"[PAD]\n[CLS]\n[SEP]\n[UNK]\n",
        b"bert.embeddings.",
        b"classifier.",
        b"pooler.",
        b"null",
    ],
};

const FILES: [&str; 9] = [
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "tokenizer_config.json",
    "vocab.txt",
    "model.safetensors.index.json",
    "special_tokens_map.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

fn run(bytes: &[u8]) {
    let (head, parts) = input::parts(bytes);
    let mut head = Bytes::new(head);
    let choice = head.byte();
    let directory = scratch::empty("model_directory");
    for (name, body) in parts {
        let Some(number) = name.checked_sub(b'0').map(usize::from) else {
            continue;
        };
        let Some(file) = FILES.get(number) else {
            // A directory in a file's place.
            if let Some(file) = FILES.get(number.wrapping_sub(FILES.len())) {
                let _ = std::fs::create_dir(directory.join(file));
            }
            continue;
        };
        if directory.join(file).is_dir() {
            continue;
        }
        if number == 2 && choice & 128 == 0 {
            scratch::write(&directory, file, &small_model::safetensors(body));
        } else {
            scratch::write(&directory, file, body);
        }
    }
    let labels = match choice & 3 {
        1 => LabelChoice::Names(
            Labels::from_names(vec!["x".into(), "y".into(), "z".into()]).expect("they differ"),
        ),
        2 => LabelChoice::Dataset(small_model::dataset(&[("a", "no"), ("a", "yes")])),
        3 => LabelChoice::Dataset(small_model::dataset(&[("a", "no"), ("a", "perhaps")])),
        _ => LabelChoice::Checkpoint,
    };
    let options = LoadOptions {
        labels,
        rename_labels: choice & 4 != 0,
        new_classifier: choice & 8 != 0,
        ..LoadOptions::default()
    };
    if let Some(classifier) = answer(Classifier::load(&directory, &options)) {
        check_classifier(&classifier);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let config = small_model::config_json();
    let tokenizer = small_model::tokenizer_json().as_bytes();
    let specs = small_model::specs(&small_model::config());
    let header = small_model::header(&specs, Default::default());
    // Without classifier and pooler, as checkpoints are published.
    let encoder: Vec<_> = specs
        .iter()
        .filter(|spec| spec.name.contains("embeddings") || spec.name.contains("encoder"))
        .cloned()
        .collect();
    let bare = small_model::header(&encoder, Default::default()).replace("\"bert.", "\"");
    let vocabulary = b"[PAD]\n[CLS]\n[SEP]\n[UNK]\na\ngood\nfilm\n##s";
    (0..4u8)
        .flat_map(|choice| {
            [
                input::join(
                    &[choice],
                    &[
                        (b'0', &config),
                        (b'1', tokenizer),
                        (b'2', header.as_bytes()),
                    ],
                ),
                input::join(
                    &[choice],
                    &[
                        (b'0', &config),
                        (b'4', vocabulary),
                        (b'3', br#"{"do_lower_case": true, "model_max_length": 7}"#),
                        (b'2', bare.as_bytes()),
                    ],
                ),
            ]
        })
        .collect()
}
