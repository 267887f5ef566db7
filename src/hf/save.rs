//! Writes a model directory.

use std::path::Path;

use serde_json::json;

use super::config_json;
use super::directory::{SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS};
use super::staging::Staging;
use super::tensors::Saved;
use super::weights::{header_of, write_numbers};
use crate::classifier::Classifier;
use crate::error::Result;
use crate::model::Parameters;
use crate::text::{Tokenizer, TokenizerKind};

pub use super::directory::CONFIG;

/// Every file that a save of a model writes: those that are ours in a directory without a manifest.
pub const MODEL_FILES: [&str; 6] = [
    CONFIG,
    WEIGHTS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
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
    let tokenizer = classifier.tokenizer();
    let mut write = |name: &str, text: &str| staging.file(name, |file| file.write(text.as_bytes()));
    write(TOKENIZER, &tokenizer.to_json()?)?;
    write(TOKENIZER_CONFIG, &tokenizer_config(classifier))?;
    write(SPECIAL_TOKENS, &special_tokens(tokenizer))?;
    if tokenizer.kind() == TokenizerKind::WordPiece {
        write(VOCABULARY, &(tokenizer.tokens().join("\n") + "\n"))?;
    }
    write(CONFIG, &config_json(classifier)?)
}

/// The names of the special tokens, by transformers' keys.
fn special_token_names(tokenizer: &Tokenizer) -> serde_json::Map<String, serde_json::Value> {
    let mut names = serde_json::Map::new();
    for (key, token) in [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ] {
        if tokenizer.token_to_id(token).is_some() {
            names.insert(key.into(), json!(token));
        }
    }
    names
}

fn special_tokens(tokenizer: &Tokenizer) -> String {
    format!(
        "{:#}\n",
        serde_json::Value::Object(special_token_names(tokenizer))
    )
}

/// tokenizer_config.json. `BertTokenizer` would rebuild any other kind as WordPiece with other ids.
fn tokenizer_config(classifier: &Classifier) -> String {
    let tokenizer = classifier.tokenizer();
    let mut object = special_token_names(tokenizer);
    let class = if tokenizer.kind() == TokenizerKind::WordPiece {
        object.insert("do_lower_case".into(), json!(tokenizer.lowercase()));
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
    format!("{:#}\n", serde_json::Value::Object(object))
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
