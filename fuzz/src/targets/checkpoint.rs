//! A training checkpoint: `[raw] MARK n file` with n = 0 for trainer.json, 1 for trainer.safetensors, 2 for config.json,
//! 3 for model.safetensors; what is missing is a sound checkpoint's. The safetensors are their headers alone (length and
//! numbers are made to fit them) unless their bit of `raw` is set. Nothing holds the checksums: libbert.json isn't there.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bert::data::{Dataset, Example, Label};
use bert::predict::PredictOptions;
use bert::train::{TrainOptions, Trainer};

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::answer;
use crate::scratch;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "checkpoint",
    most_bytes: 32 * 1024,
    run,
    seeds,
    words: &[
        b"\"libbert_checkpoint_version\"",
        b"\"position\"",
        b"\"epochs_done\"",
        b"\"next_batch\"",
        b"\"step\"",
        b"\"batch_number\"",
        b"\"totals\"",
        b"\"last_step\"",
        b"\"evaluations_without_gain\"",
        b"\"evaluation_is_due\"",
        b"\"stopped_early\"",
        b"\"best\"",
        b"\"metric\"",
        b"\"NaN\"",
        b"\"inf\"",
        b"\"plan\"",
        b"\"train\"",
        b"\"validation\"",
        b"\"environment\"",
        b"\"history_bytes\"",
        b"null",
        b"true",
        b"false",
        b"9007199254740992",
        b"4294967295",
        b"2147483647",
        b"18446744073709551615",
    ],
};

const FILES: [&str; 5] = [
    "trainer.json",
    "trainer.safetensors",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
];

fn run(bytes: &[u8]) {
    let (head, parts) = input::parts(bytes);
    let raw = Bytes::new(head).byte();
    let directory = scratch::empty("checkpoint");
    for (number, (file, sound)) in FILES.iter().zip(sound()).enumerate() {
        let part = parts
            .iter()
            .find(|part| usize::from(part.0) == usize::from(b'0') + number);
        match part {
            None => scratch::write(&directory, file, sound),
            Some((_, body)) if number % 2 == 1 && raw >> number & 1 == 0 => {
                scratch::write(&directory, file, &small_model::safetensors(body));
            }
            Some((_, body)) => scratch::write(&directory, file, body),
        }
    }
    let trainer = trainer();
    let before = trainer.classifier().parameters();
    if answer(trainer.resume(&directory)).is_none() {
        let after = trainer.classifier().parameters();
        assert!(Arc::ptr_eq(&before, &after), "a refusal changed the model");
        return;
    }
    answer(trainer.train_step(None));
    answer(trainer.train(None));
    let texts = [("a good film", None)];
    answer(
        trainer
            .classifier()
            .predict(&texts, &PredictOptions::default()),
    );
    let again = scratch::directory("checkpoint-again");
    let _ = std::fs::remove_dir_all(&again);
    if answer(trainer.save(&again)).is_some() {
        answer(self::trainer().resume(&again)).expect("what was saved can be resumed");
    }
}

/// A run of some steps, at its beginning.
fn trainer() -> Trainer {
    let mut dataset = Dataset::new();
    for (text, label) in [("a good film", "yes"), ("bad", "no"), ("good", "yes")] {
        let example = Example {
            text: text.into(),
            pair: None,
            label: Label::Name(label.into()),
        };
        dataset.push(example).expect("the example is sound");
    }
    let options = TrainOptions {
        epochs: 3,
        batch_size: 1,
        ..TrainOptions::default()
    };
    let classifier = Arc::new(small_model::classifier());
    answer(Trainer::new(classifier, &dataset, Some(&dataset), options))
        .expect("the options are sound")
}

/// The files of a sound checkpoint in the middle of an epoch.
fn sound() -> &'static [Vec<u8>] {
    static SOUND: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SOUND.get_or_init(|| {
        let trainer = trainer();
        for _ in 0..4 {
            answer(trainer.train_step(None)).expect("it trains");
        }
        files_of(&trainer)
    })
}

fn files_of(trainer: &Trainer) -> Vec<Vec<u8>> {
    let directory = scratch::empty("checkpoint-sound").join("saved");
    answer(trainer.save(&directory)).expect("it can be saved");
    let read = |name: &&str| std::fs::read(Path::new(&directory).join(name)).expect("it was saved");
    FILES.iter().map(read).collect()
}

fn seeds() -> Vec<Vec<u8>> {
    let finished = trainer();
    answer(finished.train(None)).expect("it trains");
    [sound().to_vec(), files_of(&finished)]
        .iter()
        .flat_map(|files| {
            let description = (b'0', files[0].as_slice());
            let moments = (b'1', small_model::header_of(&files[1]));
            let model = (b'3', small_model::header_of(&files[3]));
            [
                input::join(&[0], &[description]),
                input::join(&[0], &[description, moments]),
                input::join(&[0], &[(b'2', files[2].as_slice()), model]),
            ]
        })
        .collect()
}
