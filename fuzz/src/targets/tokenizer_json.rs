//! tokenizer.json, and texts for the tokenizer that it makes: `[max_length][stride] json MARK 1 text MARK 2 pair`.

use bert::text::{Tokenizer, TokenizerKind};
use serde_json::{Value, json};

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::{Encodings, answer};
use crate::small_model;

pub const TARGET: Target = Target {
    name: "tokenizer_json",
    most_bytes: 8 * 1024,
    run,
    seeds,
    words: &[
        b"\"version\"",
        b"\"1.0\"",
        b"\"added_tokens\"",
        b"\"id\"",
        b"\"content\"",
        b"\"single_word\"",
        b"\"lstrip\"",
        b"\"rstrip\"",
        b"\"normalized\"",
        b"\"special\"",
        b"\"normalizer\"",
        b"\"pre_tokenizer\"",
        b"\"post_processor\"",
        b"\"model\"",
        b"\"type\"",
        b"\"BertNormalizer\"",
        b"\"Lowercase\"",
        b"\"NFC\"",
        b"\"NFD\"",
        b"\"NFKC\"",
        b"\"NFKD\"",
        b"\"StripAccents\"",
        b"\"Strip\"",
        b"\"ByteLevel\"",
        b"{\"type\":\"ByteLevel\"},",
        b"\"Sequence\"",
        b"\"normalizers\"",
        b"\"pretokenizers\"",
        b"\"BertPreTokenizer\"",
        b"\"Whitespace\"",
        b"\"WhitespaceSplit\"",
        b"\"Digits\"",
        b"\"individual_digits\"",
        b"\"Punctuation\"",
        b"\"behavior\"",
        b"\"Isolated\"",
        b"\"Removed\"",
        b"\"MergedWithPrevious\"",
        b"\"MergedWithNext\"",
        b"\"Contiguous\"",
        b"\"WordLevel\"",
        b"\"WordPiece\"",
        b"\"BPE\"",
        b"\"vocab\"",
        b"\"merges\"",
        b"\"unk_token\"",
        b"\"continuing_subword_prefix\"",
        b"\"end_of_word_suffix\"",
        b"\"max_input_chars_per_word\"",
        b"\"fuse_unk\"",
        b"\"byte_fallback\"",
        b"\"ignore_merges\"",
        b"\"add_prefix_space\"",
        b"\"use_regex\"",
        b"\"clean_text\"",
        b"\"handle_chinese_chars\"",
        b"\"strip_accents\"",
        b"\"lowercase\"",
        b"\"[UNK]\"",
        b"\"[CLS]\"",
        b"\"##a\"",
        b"\"<0x41>\"",
        b"\"\\u0120\"",
        b"null",
        b"true",
        b"false",
    ],
};

fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let max_length = 4 + bytes.below(20);
    let stride = bytes.below(16);
    let (json, parts) = input::parts(bytes.rest());
    let Some(tokenizer) = answer(Tokenizer::from_json(json)) else {
        return;
    };
    let encodings = Encodings::new(&tokenizer);
    let part = |name: u8| input::part(&parts, name).map(input::text);
    let text = part(b'1').unwrap_or_else(|| "A good film, é [SEP]  b 42!".into());
    encodings.check(&text, &part(b'2').unwrap_or_default(), max_length, stride);
}

fn seeds() -> Vec<Vec<u8>> {
    let mut files: Vec<String> = [TokenizerKind::WordLevel, TokenizerKind::WordPiece]
        .into_iter()
        .map(|kind| {
            small_model::trained(kind)
                .to_json()
                .expect("it can be written")
        })
        .collect();
    let special = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"];
    let file = |normalizer: Value, pre_tokenizer: Value, model: Value, rest: &[&str]| {
        let vocab: serde_json::Map<String, Value> = special
            .iter()
            .chain(rest)
            .enumerate()
            .map(|(id, token)| (token.to_string(), json!(id)))
            .collect();
        let mut model = model;
        model["vocab"] = Value::Object(vocab);
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{"id": 1, "content": "[CLS]", "special": true, "single_word": false,
                "lstrip": false, "rstrip": true, "normalized": false}],
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
            "decoder": null, "model": model,
        })
        .to_string()
    };
    files.push(file(
        json!({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]}),
        json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}),
        json!({"type": "BPE", "unk_token": "[UNK]", "fuse_unk": true, "merges": ["a b", ["ab", "c"]]}),
        &["a", "b", "c", "ab", "abc", "Ġ"],
    ));
    files.push(file(
        json!({"type": "Strip"}),
        json!({"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": true},
            {"type": "Punctuation", "behavior": "Removed"}]}),
        json!({"type": "WordPiece", "max_input_chars_per_word": 1000, "continuing_subword_prefix": "##"}),
        &["a", "##a", "##b", "4", "é"],
    ));
    files.push(file(
        json!({"type": "NFKC"}),
        Value::Null,
        json!({"type": "BPE", "byte_fallback": true, "ignore_merges": true, "end_of_word_suffix": "</w>",
            "continuing_subword_prefix": "#", "merges": ["a #b"]}),
        &["a", "#b", "ab", "b</w>", "<0x41>", "<0xC3>"],
    ));
    files
        .iter()
        .map(|json| {
            let head = [&[5, 2], json.as_bytes()].concat();
            input::join(
                &head,
                &[
                    (b'1', b"a good film: \xc3\xa9 aab 42 [SEP] x"),
                    (b'2', b"bad ab"),
                ],
            )
        })
        .collect()
}
