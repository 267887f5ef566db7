//! A LoRA adapter's directory: `[raw] MARK 0 adapter_config.json MARK 1 adapter_model.safetensors`, the latter as its
//! header alone (length and numbers are made to fit it) unless `raw` is odd.

use std::sync::OnceLock;

use bert::classifier::Classifier;
use bert::hf::LoadOptions;
use bert::model::{LoraConfig, Projection};
use bert::predict::PredictOptions;

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::answer;
use crate::scratch;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "adapter",
    most_bytes: 16 * 1024,
    run,
    seeds,
    words: &[
        b"\"peft_type\"",
        b"\"LORA\"",
        b"\"r\"",
        b"\"lora_alpha\"",
        b"\"lora_dropout\"",
        b"\"use_rslora\"",
        b"\"target_modules\"",
        b"\"modules_to_save\"",
        b"\"query\"",
        b"\"value\"",
        b"\"output.dense\"",
        b"\"classifier\"",
        b"\"pooler\"",
        b"\"bias\"",
        b"\"none\"",
        b"\"fan_in_fan_out\"",
        b"\"use_dora\"",
        b"\"rank_pattern\"",
        b"\"alpha_pattern\"",
        b"\"layers_to_transform\"",
        b"\"layers_pattern\"",
        b"\"exclude_modules\"",
        b"\"all-linear\"",
        b"pooler.dense",
        b"\"task_type\"",
        b"\"SEQ_CLS\"",
        b"base_model.model.",
        b".lora_A.weight",
        b".lora_B.weight",
        b"libbert_labels",
        b"null",
        b"true",
        b"[0,0]",
    ],
};

/// What adapters are loaded onto.
fn base() -> &'static Classifier {
    static BASE: OnceLock<Classifier> = OnceLock::new();
    BASE.get_or_init(small_model::classifier)
}

fn run(bytes: &[u8]) {
    let (head, parts) = input::parts(bytes);
    let is_raw = Bytes::new(head).bit();
    let directory = scratch::empty("adapter");
    for (name, body) in parts {
        match name {
            b'0' => scratch::write(&directory, "adapter_config.json", body),
            b'1' if is_raw => scratch::write(&directory, "adapter_model.safetensors", body),
            b'1' => scratch::write(
                &directory,
                "adapter_model.safetensors",
                &small_model::safetensors(body),
            ),
            _ => {}
        }
    }
    let Some(adapted) = answer(base().load_adapter(&directory)) else {
        return;
    };
    let texts = [("a good film", None), ("a", Some("b"))];
    let options = PredictOptions::default();
    let predicted = answer(adapted.predict(&texts, &options));
    let Some(merged) = answer(adapted.merge_lora()) else {
        return;
    };
    let of_merged = answer(merged.predict(&texts, &options));
    if let (Some(a), Some(b)) = (predicted, of_merged) {
        assert_eq!(a.logits.len(), b.logits.len());
    }
    let again = scratch::absent("adapter-again");
    if answer(adapted.save_adapter(&again)).is_some() {
        let loaded = answer(base().load_adapter(&again)).expect("what was saved can be loaded");
        assert_eq!(
            answer(loaded.predict(&texts, &options)),
            answer(adapted.predict(&texts, &options)),
            "the saved adapter predicts otherwise"
        );
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let all = LoraConfig {
        rank: 1,
        alpha: 2.0,
        rank_stabilized: true,
        targets: Projection::ALL.into_iter().collect(),
        ..LoraConfig::default()
    };
    let two = LoraConfig {
        rank: 2,
        train_pooler: false,
        ..LoraConfig::default()
    };
    // Loaded once, the pooler counts as one that a saved model holds.
    let saved = answer(small_model::classifier().save_to_buffer()).expect("it can be saved");
    let loaded = answer(Classifier::load_from_buffer(
        &saved,
        &LoadOptions::default(),
    ));
    let loaded = loaded.expect("what was saved can be loaded");
    [all, two]
        .into_iter()
        .map(|lora| {
            let adapted = answer(loaded.add_lora(lora, 1)).expect("the options are sound");
            let directory = scratch::empty("adapter-seed").join("adapter");
            answer(adapted.save_adapter(&directory)).expect("it can be saved");
            let read = |name: &str| std::fs::read(directory.join(name)).expect("it was saved");
            let weights = read("adapter_model.safetensors");
            input::join(
                &[0],
                &[
                    (b'0', &read("adapter_config.json")),
                    (b'1', small_model::header_of(&weights)),
                ],
            )
        })
        .collect()
}
