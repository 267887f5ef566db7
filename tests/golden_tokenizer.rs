//! A Hugging Face BERT's tokenizer gives the ids that transformers gave, from `tokenizer.json` and from `vocab.txt`.
//! The model directory comes from the variable `BERT_TEST_MODEL`.

use std::path::{Path, PathBuf};

use bert::text::{BertNormalization, Tokenizer};

fn golden_file(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [
        root.join("../shared/golden"),
        root.join("tests/fixtures/golden"),
    ]
    .into_iter()
    .map(|folder| folder.join(name))
    .find(|file| file.exists())
    .expect("the golden file in ../shared/golden or tests/fixtures/golden")
}

fn numbers(value: &serde_json::Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| u32::try_from(number.as_u64().unwrap()).unwrap())
        .collect()
}

fn check(tokenizer: &Tokenizer, golden: &serde_json::Value) {
    let max_length = golden["max_len"].as_u64().unwrap() as usize;
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 32);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let encoding = tokenizer
            .encode(text, case["pair"].as_str(), max_length)
            .unwrap();
        assert_eq!(encoding.input_ids, numbers(&case["input_ids"]), "{text:?}");
        assert_eq!(
            encoding.token_type_ids,
            numbers(&case["token_type_ids"]),
            "{text:?}"
        );
    }
}

#[test]
fn ids_and_token_types_are_those_of_transformers() {
    let Some(model) = std::env::var_os("BERT_TEST_MODEL").map(PathBuf::from) else {
        eprintln!("skipped: BERT_TEST_MODEL isn't set");
        return;
    };
    let golden = std::fs::read(golden_file("forward.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();

    let json = std::fs::read(model.join("tokenizer.json")).unwrap();
    let from_json = Tokenizer::from_json(&json).unwrap();
    assert_eq!(from_json.vocab_size(), 30_522);
    check(&from_json, &golden);
    let again = Tokenizer::from_json(from_json.to_json().unwrap().as_bytes()).unwrap();
    check(&again, &golden);

    let vocab = std::fs::read(model.join("vocab.txt")).unwrap();
    let from_vocab = Tokenizer::from_vocab_txt(&vocab, &BertNormalization::default()).unwrap();
    assert_eq!(from_vocab.tokens(), from_json.tokens());
    check(&from_vocab, &golden);
}
