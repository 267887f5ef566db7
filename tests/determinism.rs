//! The same training gives the same bytes in another process, and no answer depends on the number of threads.

use std::process::Command;
use std::sync::Arc;

use bert::classifier::{Classifier, CreateOptions};
use bert::data::Dataset;
use bert::model::Preset;
use bert::predict::PredictOptions;
use bert::threads;
use bert::train::{TrainOptions, Trainer};

/// Set in a process that only trains and prints what it got.
const CHILD: &str = "BERT_TEST_DETERMINISM_CHILD";

/// The compact model after a few steps on the toy data, dropout and shuffling included.
fn trained() -> Classifier {
    let data = Dataset::toy_train();
    let options = CreateOptions::preset(Preset::Compact);
    let classifier = Arc::new(Classifier::create(&options, &data).unwrap());
    let options = TrainOptions {
        batch_size: 4,
        epochs: 2,
        ..TrainOptions::default()
    };
    let trainer = Trainer::new(classifier.clone(), &data, None, options).unwrap();
    trainer.train(None).unwrap();
    drop(trainer);
    Arc::try_unwrap(classifier).unwrap()
}

/// FNV-1a: enough to tell two models apart, and the same in every process.
fn fingerprint(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x} of {} bytes", bytes.len())
}

#[test]
fn the_same_training_gives_the_same_bytes_in_every_process() {
    let print = || {
        let bytes = trained().save_to_buffer().unwrap();
        format!("trained: {}", fingerprint(&bytes))
    };
    if std::env::var_os(CHILD).is_some() {
        println!("{}", print());
        return;
    }
    // This very test, alone, in a process of its own.
    let child = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "the_same_training_gives_the_same_bytes_in_every_process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let start = text.find("trained: ").expect("the child prints it");
        text[start..].lines().next().unwrap().to_string()
    };
    let (first, second) = (child(), child());
    assert_eq!(first, second);
}

#[test]
fn predictions_do_not_depend_on_the_number_of_threads() {
    let classifier = trained();
    let words: Vec<String> = Dataset::toy_train().texts().map(str::to_string).collect();
    // Many texts of many lengths, so that there is something to share out.
    let texts: Vec<String> = (0..300)
        .map(|i| words[i % 16].chars().take(1 + i * 7 % 60).collect())
        .collect();
    let texts: Vec<(&str, Option<&str>)> = texts.iter().map(|text| (text.as_str(), None)).collect();
    let answers: Vec<Vec<u32>> = [1, 2, 3]
        .into_iter()
        .map(|count| {
            threads::set_num_threads(count).unwrap();
            let answer = classifier
                .predict(&texts, &PredictOptions::default())
                .unwrap();
            answer.logits.iter().map(|x| x.to_bits()).collect()
        })
        .collect();
    threads::set_num_threads(0).unwrap();
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

/// rayon's own pool is the host's: after all this work nobody has started it, and nobody's number of threads is in it.
#[test]
fn the_hosts_rayon_pool_is_left_alone() {
    let classifier = trained();
    let text = ("a great film", None);
    classifier
        .predict(&[text], &PredictOptions::default())
        .unwrap();
    let hosts_own = rayon::ThreadPoolBuilder::new().num_threads(1);
    hosts_own.build_global().expect("nobody has started it");
    assert_eq!(rayon::current_num_threads(), 1);
}
