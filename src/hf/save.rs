//! Writes a model directory.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::config_json;
use super::directory::{SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS};
use super::staging::Staging;
use super::tensors::Saved;
use super::tokenizer_files::ADDED_TOKENS;
use super::weights::{header_of, write_numbers};
use crate::classifier::Classifier;
use crate::error::Result;
use crate::model::Parameters;
use crate::text::Tokenizer;

pub use super::directory::CONFIG;

/// Every file that a save of a model writes: those that are ours in a directory without a manifest.
pub const MODEL_FILES: [&str; 7] = [
    CONFIG,
    WEIGHTS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    ADDED_TOKENS,
    VOCABULARY,
];

/// What a training checkpoint has beside a model's files: the run's description, and its moments.
pub const CHECKPOINT_FILES: [&str; 2] = ["trainer.json", "trainer.safetensors"];

/// Writes a model directory, with LoRA adapters merged into the weights. The target may be absent, an empty directory, or
/// a model of ours, which is replaced in one
/// step; files in it that aren't ours stay. Anything else is refused. A symbolic link is followed.
pub fn save_directory(classifier: &Classifier, path: &Path) -> Result<()> {
    save_directory_with(classifier, &classifier.parameters(), path, |_| Ok(()))
}

/// As [`save_directory`], with these values in place of the classifier's own, and with what `more` writes beside the
/// model's files.
pub fn save_directory_with(
    classifier: &Classifier,
    parameters: &Parameters,
    path: &Path,
    more: impl FnOnce(&mut Staging) -> Result<()>,
) -> Result<()> {
    let mut staging = Staging::create(path)?;
    write_model(classifier, parameters, &mut staging)?;
    more(&mut staging)?;
    staging.commit()
}

fn write_model(
    classifier: &Classifier,
    parameters: &Parameters,
    staging: &mut Staging,
) -> Result<()> {
    let mut metadata = serde_json::Map::new();
    metadata.insert("format".into(), json!("pt"));
    let saved = Saved::new(classifier.model(), parameters)?;
    let tensors = saved.tensors()?;
    staging.file(WEIGHTS, |file| {
        file.write(&header_of(&tensors, metadata))?;
        write_numbers(&tensors, |piece| file.write(piece))
    })?;
    let mut write = |name: &str, bytes: &[u8]| staging.file(name, |file| file.write(bytes));
    write_tokenizer(classifier, &mut write)?;
    write(CONFIG, config_json(classifier)?.as_bytes())
}

/// The tokenizer's files: those that it was made of as they were, where that is right, and else new ones.
fn write_tokenizer(
    classifier: &Classifier,
    write: &mut impl FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let tokenizer = classifier.tokenizer();
    let kept = tokenizer.files();
    // What only this library reads isn't written back.
    let is_standard = |name: &str, bytes: &[u8]| {
        name != TOKENIZER || tokenizers::Tokenizer::from_bytes(bytes).is_ok()
    };
    let mut has_json = false;
    for (name, bytes) in kept {
        if is_standard(name, bytes) {
            write(name, bytes)?;
            has_json |= *name == TOKENIZER;
        }
    }
    if !has_json {
        write(TOKENIZER, tokenizer.to_json()?.as_bytes())?;
    }
    if !kept.contains_key(TOKENIZER_CONFIG) {
        write(TOKENIZER_CONFIG, tokenizer_config(classifier).as_bytes())?;
    }
    // A kept tokenizer_config.json has the tokens by role, with flags that this file would take away.
    if kept.is_empty() {
        let names = Value::Object(special_token_names(tokenizer));
        write(SPECIAL_TOKENS, format!("{names:#}\n").as_bytes())?;
    }
    if tokenizer.as_bert().is_some() && !kept.contains_key(VOCABULARY) {
        let vocabulary = tokenizer.tokens().join("\n") + "\n";
        write(VOCABULARY, vocabulary.as_bytes())?;
    }
    Ok(())
}

/// The names of the special tokens, by transformers' keys. Only of added tokens: transformers would add the others.
fn special_token_names(tokenizer: &Tokenizer) -> Map<String, Value> {
    let roles = tokenizer.roles();
    let mut names = Map::new();
    for (key, token) in [
        ("unk_token", &roles.unk),
        ("sep_token", &roles.sep),
        ("pad_token", &roles.pad),
        ("cls_token", &roles.cls),
        ("mask_token", &roles.mask),
    ] {
        if let Some(token) = token.as_deref().filter(|token| tokenizer.is_added(token)) {
            names.insert(key.into(), json!(token));
        }
    }
    names
}

/// tokenizer_config.json. transformers' BertTokenizer is made of the vocabulary and these settings alone, so that any
/// tokenizer that isn't exactly BERT's is written as the class that takes tokenizer.json as it is.
pub(super) fn tokenizer_config(classifier: &Classifier) -> String {
    let tokenizer = classifier.tokenizer();
    let mut object = special_token_names(tokenizer);
    let class = if let Some(bert) = tokenizer.as_bert() {
        object.insert("do_lower_case".into(), json!(bert.lowercase));
        object.insert("strip_accents".into(), json!(bert.strip_accents));
        let key = "tokenize_chinese_chars";
        object.insert(key.into(), json!(bert.handle_chinese_chars));
        // BertTokenizer would add its own.
        object.entry("mask_token").or_insert(Value::Null);
        "BertTokenizer"
    } else {
        "PreTrainedTokenizerFast"
    };
    object.insert("tokenizer_class".into(), json!(class));
    object.insert(
        "model_input_names".into(),
        json!(["input_ids", "token_type_ids", "attention_mask"]),
    );
    object.insert(
        "model_max_length".into(),
        json!(classifier.max_length(0).unwrap_or_default()),
    );
    format!("{:#}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::classifier::CreateOptions;
    use crate::data::Dataset;
    use crate::error::Error;
    use crate::hf::LoadOptions;
    use crate::hf::directory::{load_directory, load_directory_with};
    use crate::model::Preset;

    fn classifier() -> Classifier {
        let mut options = CreateOptions::preset(Preset::Compact);
        options.config.hidden_size = 16;
        options.config.num_hidden_layers = 1;
        options.config.num_attention_heads = 2;
        options.config.intermediate_size = 32;
        Classifier::create(&options, &Dataset::toy_train()).unwrap()
    }

    fn save(classifier: &Classifier, path: &Path, state: &[u8]) -> Result<()> {
        save_directory_with(classifier, &classifier.parameters(), path, |staging| {
            staging.file("state.bin", |file| file.write(state))
        })
    }

    fn load(path: &Path) -> Result<Option<Vec<u8>>> {
        load_directory_with(path, &LoadOptions::default(), |directory| {
            directory.read("state.bin")
        })
        .map(|(_, state)| state)
    }

    #[test]
    fn more_files_are_of_the_same_save() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        let classifier = classifier();
        save(&classifier, &path, b"first").unwrap();
        assert_eq!(load(&path).unwrap().unwrap(), b"first");
        save(&classifier, &path, b"second").unwrap();
        assert_eq!(load(&path).unwrap().unwrap(), b"second");

        // A flipped bit in it is told, whoever loads.
        fs::write(path.join("state.bin"), b"sfcond").unwrap();
        for error in [
            load(&path).unwrap_err(),
            load_directory(&path, &LoadOptions::default()).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Format(_)), "{error}");
            assert!(error.message().contains("state.bin"), "{error}");
        }

        // A plain model in its place doesn't keep it.
        save_directory(&classifier, &path).unwrap();
        assert_eq!(load(&path).unwrap(), None);
        assert!(!path.join("state.bin").exists());
    }

    #[test]
    fn a_users_file_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        let classifier = classifier();
        save_directory(&classifier, &path).unwrap();
        fs::write(path.join("state.bin"), b"mine").unwrap();
        let error = save(&classifier, &path, b"ours").unwrap_err();
        assert!(error.message().contains("state.bin"), "{error}");
        assert_eq!(fs::read(path.join("state.bin")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_fails_in_between_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        let classifier = classifier();
        let fails = |staging: &mut Staging| {
            staging.file("state.bin", |file| file.write(b"half"))?;
            Err(Error::Cancelled("Stopped.".into()))
        };
        let parameters = classifier.parameters();
        let error = save_directory_with(&classifier, &parameters, &path, fails).unwrap_err();
        assert_eq!(error, Error::Cancelled("Stopped.".into()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

        // Names that would lie elsewhere, or twice in one save.
        for name in ["../state.bin", "", "..", "libbert.json", WEIGHTS] {
            let error = save_directory_with(&classifier, &parameters, &path, |staging| {
                staging.file(name, |_| Ok(()))
            });
            assert!(matches!(error, Err(Error::Internal(_))), "{name}");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
