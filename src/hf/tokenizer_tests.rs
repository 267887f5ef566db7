//! The files of a directory that say how text becomes ids. The ids are those of transformers 5.24 on the same files,
//! where nothing else is said.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::checkpoint::Origins;
use super::directory::{CONFIG, SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS};
use super::manifest::MANIFEST;
use super::tokenizer_files::{ADDED_TOKENS, Files, Origin, tokenizer};
use crate::classifier::{Classifier, CreateOptions};
use crate::data::{Dataset, Labels};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::hf::LoadOptions;
use crate::model::{BertConfig, Model, Parameters, Preset};
use crate::text::Tokenizer;

/// Ids 0 to 14.
const VOCAB: [&str; 15] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "Hello", "world", "über", "uber", "[",
    "]", "foo", "##s", "mask",
];

/// More rows than tokens.
const ROWS: usize = 20;

fn vocab_txt() -> Vec<u8> {
    VOCAB.join("\n").into_bytes()
}

/// BERT's tokenizer.json of that vocabulary.
fn bert_json() -> Value {
    let vocab: serde_json::Map<_, _> = (0..)
        .zip(VOCAB)
        .map(|(id, t)| (t.into(), json!(id)))
        .collect();
    let added: Vec<_> = (0..5)
        .map(|id| added(id, VOCAB[id], json!({"special": true})))
        .collect();
    let special = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let single =
        json!([special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")]);
    let mut pair = single.as_array().unwrap().clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    pair.push(json!({"SpecialToken": {"id": "[SEP]", "type_id": 1}}));
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
        }},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab},
    })
}

/// An added token of tokenizer.json with these flags beside the usual ones.
fn added(id: usize, content: &str, flags: Value) -> Value {
    let mut token = flagged(content, flags);
    token["id"] = json!(id);
    token
}

fn flagged(content: &str, flags: Value) -> Value {
    let mut token = json!({"content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false});
    for (key, flag) in flags.as_object().unwrap() {
        token[key] = flag.clone();
    }
    token
}

/// BERT's file after a change.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut json = bert_json();
    change(&mut json);
    json
}

fn read_as(files: &[(&'static str, Value)], is_saved: bool) -> Result<Tokenizer> {
    let mut all: Files = files
        .iter()
        .map(|(name, value)| (*name, value.to_string().into_bytes()))
        .collect();
    if !all.contains_key(TOKENIZER) {
        all.insert(VOCABULARY, vocab_txt());
    }
    let origin = Origin {
        path: &|name| name.into(),
        class: None,
        rows: ROWS,
        is_saved,
    };
    Ok(tokenizer(all, &origin)?.unwrap().0)
}

fn read(files: &[(&'static str, Value)]) -> Result<Tokenizer> {
    read_as(files, false)
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, None, 100).unwrap().input_ids
}

fn assert_ids(files: &[(&'static str, Value)], text: &str, expected: &[u32]) {
    let tokenizer = read(files).unwrap_or_else(|error| panic!("{files:?}: {error}"));
    assert_eq!(ids(&tokenizer, text), expected, "{files:?}");
}

fn assert_refused(files: &[(&'static str, Value)], words: &[&str]) -> Error {
    let error = match read(files) {
        Ok(_) => panic!("{files:?} was read"),
        Err(error) => error,
    };
    for word in words {
        assert!(error.message().contains(word), "{word}: {error}");
    }
    error
}

#[test]
fn a_token_is_added_that_any_of_the_files_names() {
    let world = json!({"[WORLD]": 15});
    let listed = json!({"15": flagged("[WORLD]", json!({"special": true}))});
    let typed = json!({"__type": "AddedToken", "content": "[WORLD]", "special": true});
    for beside in [
        (ADDED_TOKENS, world),
        (TOKENIZER_CONFIG, json!({"added_tokens_decoder": listed})),
        (
            TOKENIZER_CONFIG,
            json!({"additional_special_tokens": ["[WORLD]"]}),
        ),
        (
            TOKENIZER_CONFIG,
            json!({"extra_special_tokens": ["[WORLD]"]}),
        ),
        (
            TOKENIZER_CONFIG,
            json!({"extra_special_tokens": {"world_token": "[WORLD]"}}),
        ),
        (TOKENIZER_CONFIG, json!({"extra_special_tokens": [typed]})),
        (TOKENIZER_CONFIG, json!({"image_token": "[WORLD]"})),
        (TOKENIZER_CONFIG, json!({"bos_token": "[WORLD]"})),
        (
            SPECIAL_TOKENS,
            json!({"additional_special_tokens": ["[WORLD]"]}),
        ),
        (
            SPECIAL_TOKENS,
            json!({"mask_token": {"content": "[WORLD]", "lstrip": false}}),
        ),
    ] {
        assert_ids(
            std::slice::from_ref(&beside),
            "Hello [WORLD]",
            &[2, 5, 15, 3],
        );
        let with_json = [beside.clone(), (TOKENIZER, bert_json())];
        // added_tokens.json's are looked for in the normalised text, which is in lower case.
        assert_ids(&with_json, "Hello [WORLD]", &[2, 5, 15, 3]);
        let class = json!("PreTrainedTokenizerFast");
        let mut fast = with_json.to_vec();
        match fast[0].0 {
            TOKENIZER_CONFIG => fast[0].1["tokenizer_class"] = class,
            _ => fast.push((TOKENIZER_CONFIG, json!({"tokenizer_class": class}))),
        }
        assert_ids(&fast, "Hello [WORLD]", &[2, 5, 15, 3]);
    }
}

#[test]
fn flags_and_precedence_are_those_of_transformers() {
    let decoder = |flags: Value| {
        let roles = (0..4).map(|id| (id.to_string(), flagged(VOCAB[id], json!({"special": true}))));
        let mut listed: serde_json::Map<_, _> = roles.collect();
        listed.insert("4".into(), flagged("[MASK]", flags));
        json!({"added_tokens_decoder": listed})
    };
    let text = "hello [MASK] foos[MASK]";
    for (flags, expected) in [
        (json!({}), &[2, 5, 4, 12, 13, 4, 3][..]),
        (
            json!({"single_word": true}),
            &[2, 5, 4, 12, 13, 10, 14, 11, 3],
        ),
        (json!({"normalized": true}), &[2, 5, 4, 12, 13, 4, 3]),
    ] {
        assert_ids(
            &[(TOKENIZER_CONFIG, decoder(flags.clone()))],
            text,
            expected,
        );
        let files = [(TOKENIZER_CONFIG, decoder(flags)), (TOKENIZER, bert_json())];
        assert_ids(&files, text, expected);
    }
    // Where added_tokens_decoder is there, the other two files don't count.
    let files = [
        (TOKENIZER_CONFIG, decoder(json!({}))),
        (
            SPECIAL_TOKENS,
            json!({"additional_special_tokens": ["foo"]}),
        ),
        (ADDED_TOKENS, json!({"foo": 12})),
    ];
    assert_ids(&files, "foos", &[2, 12, 13, 3]);
    assert_ids(&files[1..], "foos", &[2, 12, 1, 3]);
    // A text in special_tokens_map.json takes the place of the config's token; "world" stays an ordinary word.
    let files = [
        (TOKENIZER_CONFIG, json!({"mask_token": "world"})),
        (SPECIAL_TOKENS, json!({"mask_token": "[MASK]"})),
    ];
    assert_ids(&files, "hellos worlds [MASK]", &[2, 5, 13, 7, 13, 4, 3]);
}

#[test]
fn tokens_may_have_other_names_for_their_roles() {
    let renamed =
        json!({"cls_token": "<s>", "sep_token": "</s>", "unk_token": "foo", "pad_token": "world"});
    let tokenizer = read(&[(TOKENIZER_CONFIG, renamed)]).unwrap();
    // In the order of unk, sep, pad, cls.
    assert_eq!(ids(&tokenizer, "hello zzz"), [16, 5, 12, 15]);
    assert_eq!(tokenizer.pad_token_id(), 7);
    let json = tokenizer.to_json().unwrap();
    let again = Tokenizer::from_json(json.as_bytes()).unwrap();
    assert_eq!(ids(&again, "hello zzz"), [16, 5, 12, 15]);

    // tokenizer.json's own way of putting texts together counts.
    let other = changed(|json| {
        let post = json["post_processor"].to_string();
        let post = post.replace("[CLS]", "foo").replace("[2]", "[12]");
        json["post_processor"] = serde_json::from_str(&post).unwrap();
    });
    let fast = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
    assert_ids(
        &[(TOKENIZER, other), (TOKENIZER_CONFIG, fast)],
        "hello",
        &[12, 5, 3],
    );
}

#[test]
fn a_role_without_a_row_is_left_out_and_any_other_token_refused() {
    let vocab: Vec<_> = VOCAB
        .into_iter()
        .filter(|token| *token != "[MASK]")
        .collect();
    let mut files = Files::from([(VOCABULARY, vocab.join("\n").into_bytes())]);
    for (rows, expected) in [(15, &[2, 14, 3][..]), (14, &[2, 9, 13, 10, 3])] {
        let origin = Origin {
            path: &|name| name.into(),
            class: None,
            rows,
            is_saved: false,
        };
        let (found, _) = tokenizer(files.clone(), &origin).unwrap().unwrap();
        // Without a row transformers gives an id that its model refuses.
        assert_eq!(ids(&found, "[MASK]"), expected, "{rows}");
        assert_eq!(found.mask_token_id(), (rows == 15).then_some(14));
    }
    let origin = Origin {
        path: &|name| name.into(),
        class: None,
        rows: 15,
        is_saved: false,
    };
    files.insert(
        TOKENIZER_CONFIG,
        br#"{"additional_special_tokens": ["<a>"]}"#.to_vec(),
    );
    let error = tokenizer(files, &origin).unwrap_err();
    assert!(
        error
            .message()
            .contains("'<a>', which gets id 15, but the model's vocab_size is 15"),
        "{error}"
    );
}

#[test]
fn ids_that_contradict_each_other_are_refused() {
    let special = |id: &str, content: &str| json!({"added_tokens_decoder": {id: flagged(content, json!({}))}});
    for (file, value, words) in [
        (
            ADDED_TOKENS,
            json!({"<a>": 17}),
            ["'<a>' the id 17", "is 15"],
        ),
        (
            TOKENIZER_CONFIG,
            special("17", "<a>"),
            ["'<a>' the id 17", "is 15"],
        ),
        (
            TOKENIZER_CONFIG,
            special("3", "foo"),
            ["'foo' the id 3", "is 12"],
        ),
        (
            TOKENIZER_CONFIG,
            special("15", ""),
            ["tokenizer_config.json", "empty"],
        ),
    ] {
        for with_json in [false, true] {
            let mut files = vec![(file, value.clone())];
            files.extend(with_json.then(|| (TOKENIZER, bert_json())));
            let error = assert_refused(&files, &words);
            assert!(matches!(error, Error::Format(_)), "{error}");
        }
    }
}

#[test]
fn added_tokens_of_tokenizer_json_may_stand_in_any_order() {
    let json = changed(|json| {
        let list = json["added_tokens"].as_array_mut().unwrap();
        list.insert(0, added(16, "<e>", json!({"normalized": true})));
        list.insert(0, added(15, "<f>", json!({"normalized": true})));
        list.swap(0, 1);
    });
    assert_ids(
        &[(TOKENIZER, json.clone())],
        "hello <e> <f>",
        &[2, 5, 16, 15, 3],
    );
    // What is written has them in order, for readers that number them by it.
    let tokenizer = read(&[(TOKENIZER, json)]).unwrap();
    assert!(tokenizer.files().is_empty());
    let written: Value = serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
    let list = written["added_tokens"].as_array().unwrap();
    assert!(list.is_sorted_by_key(|token| token["id"].as_u64()));
}

/// `null` leaves a key out.
#[test]
fn the_switches_of_bert_replace_those_of_its_normalizer() {
    let text = "Hello Über";
    let class = |name: &str| (name != "-").then(|| json!(name));
    for (name, replaces) in [
        ("-", true),
        ("BertTokenizer", true),
        ("BertTokenizerFast", true),
        ("DistilBertTokenizerFast", true),
        ("ElectraTokenizer", true),
        ("ConvBertTokenizer", false),
        ("PreTrainedTokenizerFast", false),
        ("TokenizersBackend", false),
    ] {
        for (lower, strip, expected) in [
            (None, None, [5, 9]),
            (Some(true), Some(json!(false)), [5, 8]),
            (Some(false), None, [6, 1]),
            (Some(false), Some(json!(true)), [6, 1]),
        ] {
            let mut config = json!({});
            let object = config.as_object_mut().unwrap();
            object.extend(class(name).map(|name| ("tokenizer_class".into(), name)));
            object.extend(lower.map(|lower| ("do_lower_case".into(), json!(lower))));
            object.extend(strip.map(|strip| ("strip_accents".into(), strip)));
            for cased in [false, true] {
                let json = changed(|json| json["normalizer"]["lowercase"] = json!(!cased));
                let of_file = if cased { [6, 1] } else { [5, 9] };
                let [first, second] = if replaces { expected } else { of_file };
                let files = [(TOKENIZER, json), (TOKENIZER_CONFIG, config.clone())];
                assert_ids(&files, text, &[2, first, second, 3]);
            }
        }
    }
}

#[test]
fn a_tokenizer_json_without_a_type_is_read() {
    let model = |json: &mut Value| json["model"].as_object_mut().unwrap().clone();
    for (keys, expected) in [
        (&[][..], &[2, 5, 13, 3][..]),
        (&["continuing_subword_prefix"], &[2, 1, 3]),
    ] {
        let json = changed(|json| {
            let mut model = model(json);
            model.remove("type");
            for key in keys {
                model.remove(*key);
            }
            json["model"] = Value::Object(model);
        });
        assert_ids(&[(TOKENIZER, json)], "Hellos", expected);
    }
    let bpe = changed(|json| {
        let vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "ab"];
        let vocab: serde_json::Map<_, _> = (0..)
            .zip(vocab)
            .map(|(id, t)| (t.into(), json!(id)))
            .collect();
        json["model"] = json!({"unk_token": "[UNK]", "vocab": vocab, "merges": ["a b"]});
    });
    assert_ids(&[(TOKENIZER, bpe)], "abb", &[2, 7, 6, 3]);
    let nothing = changed(|json| json["model"] = json!({"vocab": {"[UNK]": 0}}));
    assert_refused(
        &[(TOKENIZER, nothing)],
        &["has no type", "unk_token or merges"],
    );
    let unigram = changed(|json| json["model"] = json!({"unk_id": 0, "vocab": [["<unk>", 0.0]]}));
    assert_refused(
        &[(TOKENIZER, unigram)],
        &["'Unigram'", "WordPiece, WordLevel and BPE"],
    );
}

#[test]
fn post_processors_are_followed_or_refused() {
    let inputs = json!(["input_ids", "token_type_ids", "attention_mask"]);
    let config = |class: &str| {
        let config = json!({"tokenizer_class": class, "model_input_names": inputs});
        (TOKENIZER_CONFIG, config)
    };
    let fast = || config("PreTrainedTokenizerFast");
    let post = |post: Value| (TOKENIZER, changed(|json| json["post_processor"] = post));
    let bert = json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]});
    let template = || bert_json()["post_processor"].clone();
    let sequence = json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}, template()]});
    for file in [post(bert), post(sequence), post(template())] {
        for config in [fast(), config("BertTokenizer")] {
            let tokenizer = read(&[file.clone(), config]).unwrap();
            let pair = tokenizer.encode("hello", Some("foo"), 10).unwrap();
            assert_eq!(pair.input_ids, [2, 5, 3, 12, 3]);
            assert_eq!(pair.token_type_ids, [0, 0, 0, 1, 1]);
        }
    }
    // What doesn't reach the model is 0 there.
    for (config, second) in [
        (json!({"tokenizer_class": "PreTrainedTokenizerFast"}), 0),
        (json!({"tokenizer_class": "DistilBertTokenizerFast"}), 0),
        (json!({"tokenizer_class": "ElectraTokenizer"}), 1),
        (
            json!({"model_input_names": ["input_ids", "attention_mask"]}),
            0,
        ),
        (json!({}), 1),
    ] {
        let tokenizer = read(&[post(template()), (TOKENIZER_CONFIG, config)]).unwrap();
        let pair = tokenizer.encode("hello", Some("foo"), 10).unwrap();
        assert_eq!(pair.token_type_ids, [0, 0, 0, second, second]);
    }
    let mut one_type = template();
    for piece in one_type["pair"].as_array_mut().unwrap() {
        for (_, piece) in piece.as_object_mut().unwrap() {
            piece["type_id"] = json!(0);
        }
    }
    let tokenizer = read(&[post(one_type), fast()]).unwrap();
    let pair = tokenizer.encode("hello", Some("foo"), 10).unwrap();
    assert_eq!(pair.token_type_ids, [0; 5]);
    let again = Tokenizer::from_json(tokenizer.to_json().unwrap().as_bytes()).unwrap();
    assert_eq!(again.encode("hello", Some("foo"), 10).unwrap(), pair);

    // BERT's class has BERT's own, PreTrainedTokenizerFast would add nothing.
    assert_ids(
        &[post(Value::Null), config("BertTokenizer")],
        "hello",
        &[2, 5, 3],
    );
    assert_refused(
        &[post(Value::Null), fast()],
        &["no post-processor", "BertTokenizer"],
    );
    let mut twice = template();
    twice["single"].as_array_mut().unwrap().remove(0);
    let mut other_pair = template();
    other_pair["pair"].as_array_mut().unwrap().remove(2);
    let mut two_tokens = template();
    two_tokens["special_tokens"]["[CLS]"]["ids"] = json!([2, 2]);
    let mut other_id = template();
    other_id["special_tokens"]["[CLS]"]["ids"] = json!([5]);
    let mut unknown = template();
    unknown["special_tokens"] = json!({});
    let roberta = json!({"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
        "trim_offsets": true, "add_prefix_space": false});
    let both = json!({"type": "Sequence", "processors": [template(), template()]});
    for (value, word) in [
        (roberta, "'RobertaProcessing'"),
        (twice, "doesn't put a text between"),
        (other_pair, "puts a pair together"),
        (two_tokens, "several tokens"),
        (other_id, "the ids 5 and 3"),
        (unknown, "isn't among its special_tokens"),
        (both, "two that add tokens"),
    ] {
        for config in [fast(), config("BertTokenizer")] {
            assert_refused(&[post(value.clone()), config], &[word]);
        }
    }
}

#[test]
fn what_cant_be_followed_is_refused_by_name() {
    for (config, word) in [
        (
            json!({"tokenizer_class": "BertJapaneseTokenizer"}),
            "'BertJapaneseTokenizer'",
        ),
        (
            json!({"tokenizer_class": "MPNetTokenizerFast"}),
            "'MPNetTokenizerFast'",
        ),
        (json!({"tokenizer_class": "MyTokenizer"}), "'MyTokenizer'"),
        (json!({"tokenizer_class": ""}), "''"),
        (
            json!({"auto_map": {"AutoTokenizer": ["a.B", null]}}),
            "auto_map",
        ),
        (json!({"auto_map": ["a.B", null]}), "auto_map"),
        (
            json!({"word_tokenizer_type": "mecab"}),
            "word_tokenizer_type",
        ),
        (
            json!({"subword_tokenizer_type": "character"}),
            "subword_tokenizer_type",
        ),
        (
            json!({"split_special_tokens": true}),
            "split_special_tokens",
        ),
        (json!({"truncation_side": "left"}), "truncation_side"),
        (
            json!({"fast_tokenizer_files": ["tokenizer.5.json"]}),
            "tokenizer.5.json",
        ),
        (json!({"init_inputs": ["x"]}), "init_inputs"),
        (json!({"cls_token": null}), "cls_token"),
    ] {
        for with_json in [false, true] {
            let mut files = vec![(TOKENIZER_CONFIG, config.clone())];
            files.extend(with_json.then(|| (TOKENIZER, bert_json())));
            let error = assert_refused(&files, &[word]);
            assert!(matches!(error, Error::Unsupported(_)), "{error}");
        }
    }
    for (file, value) in [
        (TOKENIZER_CONFIG, json!([])),
        (TOKENIZER_CONFIG, json!({"tokenizer_class": 3})),
        (TOKENIZER_CONFIG, json!({"do_lower_case": "false"})),
        (TOKENIZER_CONFIG, json!({"do_lower_case": null})),
        (TOKENIZER_CONFIG, json!({"strip_accents": 0})),
        (TOKENIZER_CONFIG, json!({"mask_token": 4})),
        (TOKENIZER_CONFIG, json!({"mask_token": {"lstrip": true}})),
        (
            TOKENIZER_CONFIG,
            json!({"additional_special_tokens": "foo"}),
        ),
        (TOKENIZER_CONFIG, json!({"additional_special_tokens": [4]})),
        (TOKENIZER_CONFIG, json!({"added_tokens_decoder": [4]})),
        (
            TOKENIZER_CONFIG,
            json!({"added_tokens_decoder": {"x": {"content": "foo"}}}),
        ),
        (
            TOKENIZER_CONFIG,
            json!({"added_tokens_decoder": {"12": "foo"}}),
        ),
        (TOKENIZER_CONFIG, json!({"model_max_length": "512"})),
        (SPECIAL_TOKENS, json!(3)),
        (ADDED_TOKENS, json!({"foo": -1})),
        (ADDED_TOKENS, json!({"foo": "12"})),
    ] {
        let error = assert_refused(&[(file, value)], &[file]);
        assert!(matches!(error, Error::Format(_)), "{error}");
    }
    // Made of a tokenizer.json, of which there is none.
    let class = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
    let error = assert_refused(&[(TOKENIZER_CONFIG, class)], &[TOKENIZER]);
    assert!(matches!(error, Error::Io(_)), "{error}");
    // What transformers 5 doesn't look at.
    for config in [
        json!({"never_split": ["Hello"], "do_basic_tokenize": false}),
        json!({"auto_map": {"AutoModel": "a.B"}, "padding_side": "left", "unknown": {"a": [1]}}),
        json!({"fast_tokenizer_files": ["tokenizer.json"], "init_inputs": [], "word_tokenizer_type": "basic"}),
    ] {
        assert_ids(&[(TOKENIZER_CONFIG, config)], "Hello", &[2, 5, 3]);
    }
}

#[test]
fn the_longest_text_is_read_under_both_names() {
    for (config, expected) in [
        (json!({}), None),
        (json!({"model_max_length": 12}), Some(12)),
        (json!({"model_max_length": 12.0}), Some(12)),
        (json!({"max_len": 12}), Some(12)),
        (json!({"max_len": 12, "model_max_length": 9}), Some(9)),
        (json!({"model_max_length": 1e30}), None),
        (json!({"model_max_length": null}), None),
    ] {
        let files = Files::from([
            (VOCABULARY, vocab_txt()),
            (TOKENIZER_CONFIG, config.to_string().into_bytes()),
        ]);
        let origin = Origin {
            path: &|name| name.into(),
            class: None,
            rows: ROWS,
            is_saved: false,
        };
        assert_eq!(
            tokenizer(files, &origin).unwrap().unwrap().1,
            expected,
            "{config}"
        );
    }
}

/// A small model with that tokenizer.
fn classifier(tokenizer: Tokenizer) -> Classifier {
    let config = BertConfig {
        vocab_size: ROWS,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 12,
        max_position_embeddings: 16,
        num_labels: 2,
        ..Preset::Tiny.config()
    };
    let model = Model::new(config, Device::Cpu).unwrap();
    let parameters = Parameters::initialise(&model.config, &model.table, 1, &model.device).unwrap();
    let labels = Labels::from_names(vec!["a".into(), "b".into()]).unwrap();
    let origins = Origins::initialised(&model);
    Classifier::from_parts(model, tokenizer, labels, parameters, origins).unwrap()
}

/// Saves a model with the tokenizer; the directory, and tokenizer_config.json in it.
fn saved(tokenizer: Tokenizer) -> (TempDir, Value) {
    let directory = TempDir::new().unwrap();
    classifier(tokenizer).save(directory.path()).unwrap();
    let config = fs::read(directory.path().join(TOKENIZER_CONFIG)).unwrap();
    (directory, serde_json::from_slice(&config).unwrap())
}

/// tests/transformers/round_trip.py shows that transformers reads it as it is meant.
#[test]
fn what_is_saved_tells_transformers_the_same() {
    let text = "Hello Über foos [MASK] <a>";
    let class = |class: &str| {
        (
            TOKENIZER_CONFIG,
            json!({"tokenizer_class": class, "strip_accents": false}),
        )
    };
    let cased = changed(|json| json["normalizer"]["lowercase"] = json!(false));
    let lowercase = changed(|json| json["normalizer"] = json!({"type": "Lowercase"}));
    let one = changed(|json| json["model"]["max_input_chars_per_word"] = json!(3));
    let prefix = changed(|json| json["model"]["continuing_subword_prefix"] = json!("#"));
    let untyped = json!({"mask_token": {"content": "[MASK]", "lstrip": true}});
    for (files, saved_class, expected) in [
        // What replaces a file's switches is written.
        (
            vec![(TOKENIZER, cased.clone()), class("BertTokenizer")],
            "BertTokenizer",
            json!({"do_lower_case": true, "strip_accents": false, "tokenize_chinese_chars": true, "mask_token": "[MASK]"}),
        ),
        (
            vec![(TOKENIZER, cased), (ADDED_TOKENS, json!({"<a>": 15}))],
            "BertTokenizer",
            json!({"do_lower_case": true, "strip_accents": null, "model_max_length": 16}),
        ),
        (
            vec![(TOKENIZER_CONFIG, untyped)],
            "BertTokenizer",
            json!({"mask_token": "[MASK]"}),
        ),
        // What isn't exactly BERT's is written as what it is.
        (
            vec![(TOKENIZER, lowercase), class("BertTokenizer")],
            "PreTrainedTokenizerFast",
            json!({"cls_token": "[CLS]"}),
        ),
        (vec![(TOKENIZER, one)], "PreTrainedTokenizerFast", json!({})),
        (
            vec![(TOKENIZER, prefix)],
            "PreTrainedTokenizerFast",
            json!({}),
        ),
    ] {
        let tokenizer = read(&files).unwrap();
        assert!(tokenizer.files().is_empty(), "{files:?}");
        let before = ids(&tokenizer, text);
        let (directory, config) = saved(tokenizer.clone());
        assert_eq!(config["tokenizer_class"], saved_class, "{files:?}");
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&config[key], value, "{key} {files:?}");
        }
        let is_bert = saved_class == "BertTokenizer";
        assert_eq!(directory.path().join(VOCABULARY).exists(), is_bert);
        let options = LoadOptions::default();
        let loaded = Classifier::load(directory.path(), &options).unwrap();
        assert_eq!(ids(loaded.tokenizer(), text), before, "{files:?}");
        // Its own manifest doesn't make the difference.
        fs::remove_file(directory.path().join(MANIFEST)).unwrap();
        let loaded = Classifier::load(directory.path(), &options).unwrap();
        assert_eq!(ids(loaded.tokenizer(), text), before, "{files:?}");
        let buffer = classifier(tokenizer).save_to_buffer().unwrap();
        let loaded = Classifier::load_from_buffer(&buffer, &options).unwrap();
        assert_eq!(ids(loaded.tokenizer(), text), before, "{files:?}");
        let (_again, config) = saved(loaded.tokenizer().clone());
        assert_eq!(config["tokenizer_class"], saved_class, "{files:?}");
    }
}

#[test]
fn files_that_nothing_changed_are_written_back_as_they_were() {
    let config = json!({"tokenizer_class": "BertTokenizer", "do_lower_case": true, "never_split": null, "name": "x",
        "mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": true, "normalized": false}});
    let padding = json!({"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[PAD]"});
    let json = changed(|json| json["padding"] = padding);
    for files in [
        vec![(TOKENIZER_CONFIG, config.clone()), (TOKENIZER, json)],
        vec![
            (TOKENIZER_CONFIG, config),
            (ADDED_TOKENS, json!({"<a>": 15})),
        ],
    ] {
        let tokenizer = read(&files).unwrap();
        let (directory, _) = saved(tokenizer.clone());
        for (name, value) in &files {
            let written = fs::read_to_string(directory.path().join(name)).unwrap();
            assert_eq!(written, value.to_string(), "{name}");
        }
        assert!(!directory.path().join(SPECIAL_TOKENS).exists());
        assert!(directory.path().join(VOCABULARY).exists());
        let loaded = Classifier::load(directory.path(), &LoadOptions::default()).unwrap();
        for text in ["hello  [MASK]<a>", "Foos"] {
            assert_eq!(ids(loaded.tokenizer(), text), ids(&tokenizer, text));
        }
        assert_eq!(
            loaded.tokenizer().files().contains_key(ADDED_TOKENS),
            files[1].0 == ADDED_TOKENS
        );
    }
}

/// Earlier versions saved tokenizer.json as it was, and of the switches do_lower_case alone.
#[test]
fn in_what_was_saved_tokenizer_json_counts() {
    let json = changed(|json| json["normalizer"]["strip_accents"] = json!(false));
    let config = json!({"tokenizer_class": "BertTokenizer", "do_lower_case": true});
    let files = [(TOKENIZER, json), (TOKENIZER_CONFIG, config)];
    let before = read_as(&files, true).unwrap();
    assert_eq!(ids(&before, "über"), [2, 8, 3]);
    assert_eq!(ids(&read(&files).unwrap(), "über"), [2, 9, 3]);
    // It is put right by the next save.
    let (_directory, config) = saved(before);
    assert_eq!(config["strip_accents"], json!(false));
}

#[test]
fn a_pointer_of_git_lfs_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    let (directory, _) = saved(read(&[(TOKENIZER, bert_json())]).unwrap());
    fs::remove_file(directory.path().join(MANIFEST)).unwrap();
    let load = || Classifier::load(directory.path(), &LoadOptions::default());
    load().unwrap();
    for name in [
        CONFIG,
        TOKENIZER,
        TOKENIZER_CONFIG,
        SPECIAL_TOKENS,
        ADDED_TOKENS,
        WEIGHTS,
    ] {
        let path = directory.path().join(name);
        let before = fs::read(&path).ok();
        fs::write(&path, pointer).unwrap();
        let error = load().unwrap_err();
        assert!(matches!(error, Error::Format(_)), "{error}");
        let start = format!("'{}' is a Git LFS pointer", path.display());
        assert!(error.message().starts_with(&start), "{error}");
        match before {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    let path = directory.path().join("other.json");
    fs::write(&path, pointer).unwrap();
    let options = CreateOptions {
        tokenizer_path: Some(path),
        ..CreateOptions::preset(Preset::Tiny)
    };
    let error = Classifier::create(&options, &Dataset::toy_train()).unwrap_err();
    assert!(error.message().contains("Git LFS pointer"), "{error}");
}

#[test]
fn sentencepieces_own_file_is_named() {
    let (directory, _) = saved(read(&[(TOKENIZER, bert_json())]).unwrap());
    for name in [MANIFEST, TOKENIZER, VOCABULARY] {
        fs::remove_file(directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join("spiece.model"), "x").unwrap();
    let error = Classifier::load(directory.path(), &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(error.message().contains("spiece.model"), "{error}");
}
