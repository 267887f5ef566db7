//! vocab.txt beside tokenizer_config.json, as directories without tokenizer.json have them:
//! `vocab MARK 1 tokenizer_config.json MARK 2 text MARK 3 pair`.

use bert::classifier::Classifier;
use bert::hf::LoadOptions;
use bert::text::{BertNormalization, Tokenizer};

use super::Target;
use crate::input;
use crate::oracle::{Encodings, answer, check_classifier};
use crate::scratch;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "vocab_txt",
    most_bytes: 8 * 1024,
    run,
    seeds,
    words: &[
        b"[PAD]\n",
        b"[CLS]\n",
        b"[SEP]\n",
        b"[MASK]\n",
        b"[UNK]\n",
        b"##",
        b"\r\n",
        b"\n",
        b"\xef\xbb\xbf",
        b"\"do_lower_case\"",
        b"\"strip_accents\"",
        b"\"tokenize_chinese_chars\"",
        b"\"model_max_length\"",
        b"true",
        b"false",
        b"null",
        b"1e30",
        b"\xe4\xb8\xad",
        b"\xc3\xa9",
    ],
};

fn run(bytes: &[u8]) {
    let (vocabulary, parts) = input::parts(bytes);
    let part = |name: u8| input::part(&parts, name);
    let directory = scratch::empty("vocab_txt");
    scratch::write(&directory, "vocab.txt", vocabulary);
    if let Some(config) = part(b'1') {
        scratch::write(&directory, "tokenizer_config.json", config);
    }
    let config = bert::model::BertConfig {
        vocab_size: 64,
        ..small_model::config()
    };
    let specs = small_model::specs(&config);
    let weights =
        small_model::safetensors(small_model::header(&specs, Default::default()).as_bytes());
    let json = small_model::config_json();
    let mut value: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    value["vocab_size"] = 64.into();
    scratch::write(&directory, "config.json", value.to_string().as_bytes());
    scratch::write(&directory, "model.safetensors", &weights);
    if let Some(classifier) = answer(Classifier::load(&directory, &LoadOptions::default())) {
        check_classifier(&classifier);
        let encodings = Encodings::new(classifier.tokenizer());
        let text = part(b'2').map_or_else(|| "A good film".into(), input::text);
        let pair = part(b'3').map_or_else(String::new, input::text);
        encodings.check(&text, &pair, 4 + text.len() % 16, pair.len() % 12);
    }
    // Vocabularies that are too large for the model's embeddings count too.
    answer(Tokenizer::from_vocab_txt(
        vocabulary,
        &BertNormalization::default(),
    ));
}

fn seeds() -> Vec<Vec<u8>> {
    let vocabulary =
        b"[PAD]\n[CLS]\n[SEP]\n[MASK]\n[UNK]\na\n##a\ngood\nfilm\n,\n\xc3\xa9\n\xe4\xb8\xad\n##s\n";
    let config = br#"{"do_lower_case": false, "strip_accents": true, "tokenize_chinese_chars": true, "model_max_length": 6}"#;
    let crlf = b"\xef\xbb\xbf[UNK]\r\n[SEP]\r\n\r\n[CLS]\r\n[PAD]\r\na\r\na\r\n##b";
    vec![
        input::join(
            vocabulary,
            &[
                (b'1', config),
                (b'2', b"A good films, \xc3\xa9\xe4\xb8\xad aaaa [SEP]"),
                (b'3', b"film"),
            ],
        ),
        input::join(
            crlf,
            &[(b'1', br#"{"model_max_length": 1e30}"#), (b'2', b"ab abbb")],
        ),
    ]
}
