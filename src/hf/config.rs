//! config.json: `BertConfig` as transformers writes it, with a few keys of our own.

use serde_json::{Map, Value, json};

use super::FORMAT_VERSION;
use super::checkpoint::Untrained;
use super::id2label::SavedLabels;
use crate::classifier::{DEFAULT_THRESHOLD, check_thresholds};
use crate::data::Labels;
use crate::error::{Error, Result};
use crate::log;
use crate::model::{BertConfig, HiddenAct, Pooling};
use crate::problem::ProblemType;

/// The `model_type` of what Hugging Face's class can't express.
const OUR_MODEL_TYPE: &str = "libbert";

/// The key that tells that the weights are int8, and what it holds then.
const WEIGHTS_KEY: &str = "weights";
const INT8: &str = "int8";

/// The key that marks a directory as ours and tells the format's version.
pub const VERSION_KEY: &str = "libbert_format_version";

/// The key for the parts of the head that were never trained.
pub const UNTRAINED_KEY: &str = "libbert_untrained";

/// The labels' thresholds, where they aren't the default. Numbers as text, which is read back to the last digit.
const THRESHOLDS_KEY: &str = "libbert_thresholds";

/// The text of config.json; `is_int8` tells whether the weights beside it are, `untrained` what of them has initial
/// values.
pub fn write(
    config: &BertConfig,
    labels: &Labels,
    thresholds: &[f64],
    is_int8: bool,
    untrained: Untrained,
) -> Result<String> {
    let is_hugging_face = config.is_hugging_face() && !is_int8;
    let id2label: Map<String, Value> = labels
        .names()
        .iter()
        .enumerate()
        .map(|(id, name)| (id.to_string(), json!(name)))
        .collect();
    let label2id: Map<String, Value> = labels
        .names()
        .iter()
        .enumerate()
        .map(|(id, name)| (name.clone(), json!(id)))
        .collect();
    let (architecture, model_type) = if is_hugging_face {
        ("BertForSequenceClassification", "bert")
    } else {
        ("LibbertForSequenceClassification", OUR_MODEL_TYPE)
    };
    let mut value = json!({
        "architectures": [architecture],
        "model_type": model_type,
        VERSION_KEY: FORMAT_VERSION,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "hidden_act": config.hidden_act.name(),
        "hidden_dropout_prob": config.hidden_dropout_prob,
        "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
        "classifier_dropout": config.classifier_dropout,
        "max_position_embeddings": config.max_position_embeddings,
        "type_vocab_size": config.type_vocab_size,
        "initializer_range": config.initializer_range,
        "layer_norm_eps": config.layer_norm_eps,
        "pad_token_id": config.pad_token_id,
        "position_embedding_type": "absolute",
        "problem_type": config.problem_type.name(),
        "dtype": "float32",
        "torch_dtype": "float32",
        "id2label": id2label,
        "label2id": label2id,
    });
    if let (false, Some(object)) = (is_hugging_face, value.as_object_mut()) {
        object.insert("pooling".into(), json!(config.pooling.name()));
        object.insert("final_layer_norm".into(), json!(config.final_layer_norm));
        if is_int8 {
            object.insert(WEIGHTS_KEY.into(), json!(INT8));
        }
    }
    if let (true, Some(object)) = (untrained != Untrained::default(), value.as_object_mut()) {
        object.insert(UNTRAINED_KEY.into(), json!(untrained.names()));
    }
    let has_thresholds = thresholds.iter().any(|t| *t != DEFAULT_THRESHOLD);
    if let (true, Some(object)) = (has_thresholds, value.as_object_mut()) {
        let texts: Vec<String> = thresholds.iter().map(f64::to_string).collect();
        object.insert(THRESHOLDS_KEY.into(), json!(texts));
    }
    let mut text = serde_json::to_string_pretty(&value).map_err(|_| {
        Error::Internal(
            "The configuration could not be written as JSON; please report this.".into(),
        )
    })?;
    text.push('\n');
    Ok(text)
}

/// Reads keys of one type with a default, and says what a key holds instead.
pub struct Reader<'a> {
    /// The file's object.
    pub object: &'a Map<String, Value>,
    /// The file's name, for messages.
    pub name: &'a str,
}

impl Reader<'_> {
    /// An error that tells what a key holds and what it should.
    pub fn wrong(&self, key: &str, value: &Value, expected: &str) -> Error {
        let mut found = value.to_string();
        if found.chars().count() > 60 {
            found = found.chars().take(60).collect::<String>() + "…";
        }
        Error::Format(format!(
            "In '{}' the key \"{key}\" is {found}; it must be {expected}.",
            self.name
        ))
    }

    /// The value; `null` counts as absent, as in transformers.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A whole number.
    pub fn size(&self, key: &str, default: usize) -> Result<usize> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.wrong(key, value, "a whole number"))
    }

    /// A number.
    pub fn real(&self, key: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value
            .as_f64()
            .ok_or_else(|| self.wrong(key, value, "a number"))
    }

    /// True or false; false where it is missing.
    pub fn flag(&self, key: &str) -> Result<bool> {
        let Some(value) = self.get(key) else {
            return Ok(false);
        };
        value
            .as_bool()
            .ok_or_else(|| self.wrong(key, value, "true or false"))
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.wrong(key, value, "a text"))
    }
}

/// What a config.json says.
#[derive(Debug, PartialEq)]
pub struct Description {
    /// The model's shape.
    pub config: BertConfig,
    /// Its classes, labels or regression targets.
    pub labels: SavedLabels,
    /// The classes of transformers that it was saved from, mostly one.
    pub architectures: Vec<String>,
    /// What of its head was never trained, where this library wrote it.
    pub untrained: Untrained,
    /// Its problem where the file names one; `config` has the one that transformers infers where it doesn't.
    pub problem_type: Option<ProblemType>,
    /// The labels' thresholds (multi-label); empty: all have the default.
    pub thresholds: Vec<f64>,
    /// Whether the weights beside it are int8.
    pub is_int8: bool,
    /// Whether transformers would run code that lies beside it.
    pub has_own_code: bool,
    /// Whether this library wrote it: then no parameter may be missing.
    pub is_ours: bool,
}

/// Reads config.json; `name` is the file's, for messages. A missing key takes `BertConfig`'s default.
pub fn read(json: &[u8], name: &str) -> Result<Description> {
    let value: Value = super::json::from_slice(json, name)?;
    let Value::Object(object) = &value else {
        return Err(Error::Format(format!("'{name}' is not a JSON object.")));
    };
    let reader = Reader { object, name };
    if let Some(version) = reader.get(VERSION_KEY) {
        match version.as_u64() {
            Some(version) if (1..=FORMAT_VERSION).contains(&version) => {}
            Some(version) if version > FORMAT_VERSION => {
                return Err(Error::Version(format!(
                    "'{name}' has format version {version}; this library reads up to {FORMAT_VERSION}. Use a newer \
                     libbert."
                )));
            }
            _ => return Err(reader.wrong(VERSION_KEY, version, "a whole number from 1")),
        }
    }
    let model_type = reader.text("model_type")?.unwrap_or("bert");
    if model_type != "bert" && model_type != OUR_MODEL_TYPE {
        return Err(Error::Unsupported(format!(
            "'{name}' describes a model of type '{model_type}'; this library runs models of type 'bert'."
        )));
    }
    if let Some(kind) = reader.text("position_embedding_type")?
        && kind != "absolute"
    {
        return Err(Error::Unsupported(format!(
            "'{name}' asks for position embeddings of type '{kind}'; supported is 'absolute'."
        )));
    }
    for key in ["is_decoder", "add_cross_attention"] {
        if reader.flag(key)? {
            return Err(Error::Unsupported(format!(
                "'{name}' describes a decoder ({key} is true); supported are encoders."
            )));
        }
    }
    let is_int8 = match reader.text(WEIGHTS_KEY)? {
        Some(weights) if model_type == OUR_MODEL_TYPE => {
            if weights != INT8 {
                return Err(Error::Unsupported(format!(
                    "'{name}' describes weights of the kind '{weights}'; this library runs float32 and {INT8}."
                )));
            }
            true
        }
        _ => false,
    };
    let default = BertConfig::default();
    let (pooling, final_layer_norm) = if model_type == OUR_MODEL_TYPE {
        let pooling = reader.text("pooling")?.unwrap_or("pooler");
        (
            Pooling::from_name(pooling)?,
            reader.flag("final_layer_norm")?,
        )
    } else {
        (Pooling::Pooler, false)
    };
    let labels = SavedLabels::read(&reader);
    let problem_type = read_problem_type(&reader)?;
    let pad_token_id = reader.size("pad_token_id", default.pad_token_id as usize)?;
    let classifier_dropout = match reader.get("classifier_dropout") {
        Some(_) => Some(reader.real("classifier_dropout", 0.0)?),
        None => None,
    };
    let config = BertConfig {
        vocab_size: reader.size("vocab_size", default.vocab_size)?,
        hidden_size: reader.size("hidden_size", default.hidden_size)?,
        num_hidden_layers: reader.size("num_hidden_layers", default.num_hidden_layers)?,
        num_attention_heads: reader.size("num_attention_heads", default.num_attention_heads)?,
        intermediate_size: reader.size("intermediate_size", default.intermediate_size)?,
        hidden_act: HiddenAct::from_name(reader.text("hidden_act")?.unwrap_or("gelu"))?,
        hidden_dropout_prob: reader.real("hidden_dropout_prob", default.hidden_dropout_prob)?,
        attention_probs_dropout_prob: reader.real(
            "attention_probs_dropout_prob",
            default.attention_probs_dropout_prob,
        )?,
        classifier_dropout,
        max_position_embeddings: reader
            .size("max_position_embeddings", default.max_position_embeddings)?,
        type_vocab_size: reader.size("type_vocab_size", default.type_vocab_size)?,
        initializer_range: reader.real("initializer_range", default.initializer_range)?,
        layer_norm_eps: reader.real("layer_norm_eps", default.layer_norm_eps)?,
        pad_token_id: u32::try_from(pad_token_id)
            .map_err(|_| reader.wrong("pad_token_id", &json!(pad_token_id), "a token id"))?,
        pooling,
        final_layer_norm,
        num_labels: labels.len(),
        problem_type: problem_type.unwrap_or(ProblemType::inferred(labels.len())),
    };
    config.validate().map_err(|error| match error.category() {
        Error::InvalidArgument(text) => Error::Format(format!("'{name}' can't be used: {text}")),
        _ => error,
    })?;
    Ok(Description {
        thresholds: read_thresholds(&reader, labels.len())?,
        config,
        labels,
        architectures: names_in(reader.get("architectures")),
        untrained: Untrained::from_names(&names_in(reader.get(UNTRAINED_KEY))),
        problem_type,
        is_int8,
        has_own_code: reader.get("auto_map").is_some(),
        is_ours: reader.get(VERSION_KEY).is_some(),
    })
}

/// The texts of a list, or the one that stands in a list's place.
fn names_in(value: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_string);
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The labels' thresholds: a number from 0 to 1 for each, also as text; empty where there are none.
fn read_thresholds(reader: &Reader<'_>, count: usize) -> Result<Vec<f64>> {
    let Some(value) = reader.get(THRESHOLDS_KEY) else {
        return Ok(Vec::new());
    };
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    let thresholds: Option<Vec<f64>> = value
        .as_array()
        .and_then(|list| list.iter().map(number).collect());
    // Who changed the number of labels with another program has other probabilities too.
    if let Some(list) = &thresholds
        && list.len() != count
        && check_thresholds(list).is_ok()
    {
        log::warning(|| {
            format!(
                "config.json has {} thresholds ({THRESHOLDS_KEY}) for {count} labels; they aren't used, and each \
                 label's is {DEFAULT_THRESHOLD}.",
                list.len()
            )
        });
        return Ok(Vec::new());
    }
    thresholds
        .filter(|list| list.len() == count && check_thresholds(list).is_ok())
        .ok_or_else(|| {
            let expected = format!("a list of {count} numbers between 0 and 1");
            reader.wrong(THRESHOLDS_KEY, value, &expected)
        })
}

/// `problem_type`, where it is there.
fn read_problem_type(reader: &Reader<'_>) -> Result<Option<ProblemType>> {
    let Some(name) = reader.text("problem_type")? else {
        return Ok(None);
    };
    match ProblemType::from_name(name) {
        Some(problem) => Ok(Some(problem)),
        None => {
            let names = ProblemType::ALL.map(ProblemType::name).join(", ");
            Err(reader.wrong("problem_type", &json!(name), &format!("one of {names}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;

    fn labels() -> Labels {
        Labels::from_names(vec!["no".into(), "yes".into(), "\"quoted\"".into()]).unwrap()
    }

    #[test]
    fn every_value_comes_back() {
        for preset in [Preset::Compact, Preset::Tiny] {
            let config = BertConfig {
                num_labels: 3,
                classifier_dropout: Some(0.25),
                hidden_act: HiddenAct::Relu,
                layer_norm_eps: 1e-5,
                ..preset.config()
            };
            let text = write(&config, &labels(), &[], false, Untrained::default()).unwrap();
            let read = read(text.as_bytes(), "c").unwrap();
            assert_eq!((read.config, read.labels.labels), (config, Ok(labels())));
            assert!(read.is_ours);
            assert_eq!(read.untrained, Untrained::default());
            assert!(!text.contains(UNTRAINED_KEY));
        }
    }

    #[test]
    fn what_was_never_trained_comes_back() {
        let config = BertConfig {
            num_labels: 3,
            ..Preset::Tiny.config()
        };
        for (pooler, classifier) in [(true, false), (false, true), (true, true)] {
            let untrained = Untrained { pooler, classifier };
            let text = write(&config, &labels(), &[], false, untrained).unwrap();
            assert_eq!(read(text.as_bytes(), "c").unwrap().untrained, untrained);
        }
    }

    /// Another program changed the number of labels.
    #[test]
    fn thresholds_of_another_number_of_labels_are_not_used() {
        let json = r#"{"num_labels": 2, "libbert_thresholds": [0.5]}"#;
        assert!(read(json.as_bytes(), "c").unwrap().thresholds.is_empty());
    }

    #[test]
    fn architectures_are_read_in_any_form() {
        for (json, names) in [
            ("{}", &[][..]),
            (r#"{"architectures": null}"#, &[]),
            (r#"{"architectures": "A"}"#, &["A"]),
            (r#"{"architectures": ["A", 1, "B"]}"#, &["A", "B"]),
        ] {
            assert_eq!(read(json.as_bytes(), "c").unwrap().architectures, names);
        }
    }

    #[test]
    fn int8_comes_back_and_is_of_a_model_type_that_transformers_refuses() {
        for preset in [Preset::Compact, Preset::Tiny] {
            let config = BertConfig {
                num_labels: 3,
                ..preset.config()
            };
            let text = write(&config, &labels(), &[], true, Untrained::default()).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["model_type"], "libbert");
            let read = read(text.as_bytes(), "c").unwrap();
            assert!(read.is_int8);
            assert_eq!(read.config.pooling, config.pooling);
        }
        // Without our model type the key is somebody else's.
        assert!(!read(br#"{"weights": "int8"}"#, "c").unwrap().is_int8);
        let other = read(br#"{"model_type": "libbert", "weights": "int4"}"#, "c").unwrap_err();
        assert!(matches!(other, Error::Unsupported(_)), "{other}");
    }

    #[test]
    fn transformers_sees_a_model_type_it_knows_only_where_it_computes_the_same() {
        let parse = |config: &BertConfig| -> Value {
            let config = BertConfig {
                num_labels: 3,
                ..config.clone()
            };
            serde_json::from_str(
                &write(&config, &labels(), &[], false, Untrained::default()).unwrap(),
            )
            .unwrap()
        };
        assert_eq!(parse(&Preset::Tiny.config())["model_type"], "bert");
        assert_eq!(parse(&Preset::Compact.config())["model_type"], "libbert");
    }

    #[test]
    fn thresholds_come_back_to_the_last_digit() {
        let config = BertConfig {
            num_labels: 3,
            problem_type: ProblemType::MultiLabel,
            ..Preset::Tiny.config()
        };
        // What a probability's float32 is as float64 has seventeen digits.
        let thresholds = [f64::from(0.3f32), 0.1 + 0.2, 1.0];
        let text = write(&config, &labels(), &thresholds, false, Untrained::default()).unwrap();
        assert!(text.contains("\"0.30000001192092896\""), "{text}");
        assert_eq!(read(text.as_bytes(), "c").unwrap().thresholds, thresholds);
        // The default leaves no trace.
        let text = write(&config, &labels(), &[0.5; 3], false, Untrained::default()).unwrap();
        assert!(!text.contains("thresholds"), "{text}");
        assert_eq!(read(text.as_bytes(), "c").unwrap().thresholds, [0f64; 0]);
        let by_hand = br#"{"num_labels": 2, "libbert_thresholds": [0.25, "0.75"]}"#;
        assert_eq!(read(by_hand, "c").unwrap().thresholds, [0.25, 0.75]);
        for wrong in [
            "[0.5, 1.5]",
            "[1.5]",
            "[0.5, -1]",
            "[0.5, \"x\"]",
            "[0.5, \"NaN\"]",
            "0.5",
        ] {
            let json = format!(r#"{{"num_labels": 2, "libbert_thresholds": {wrong}}}"#);
            let error = read(json.as_bytes(), "c").unwrap_err();
            assert!(
                matches!(&error, Error::Format(m) if m.contains("a list of 2 numbers between 0 and 1")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_problem_type_comes_back_and_is_inferred_where_it_is_absent() {
        for problem_type in ProblemType::ALL {
            let config = BertConfig {
                num_labels: 3,
                problem_type,
                ..Preset::Tiny.config()
            };
            let text = write(&config, &labels(), &[], false, Untrained::default()).unwrap();
            assert!(text.contains(&format!("\"problem_type\": \"{}\"", problem_type.name())));
            let read = read(text.as_bytes(), "c").unwrap();
            assert_eq!(read.problem_type, Some(problem_type));
            assert_eq!(read.config, config);
        }
        for (json, inferred) in [
            (r#"{"num_labels": 1}"#, ProblemType::Regression),
            (r#"{"id2label": {"0": "a"}}"#, ProblemType::Regression),
            (
                r#"{"num_labels": 3, "problem_type": null}"#,
                ProblemType::SingleLabel,
            ),
        ] {
            let read = read(json.as_bytes(), "c").unwrap();
            assert_eq!(read.problem_type, None, "{json}");
            assert_eq!(read.config.problem_type, inferred, "{json}");
        }
    }

    #[test]
    fn an_empty_object_is_bert_base() {
        let read = read(b"{}", "c").unwrap();
        assert_eq!(read.config, BertConfig::default());
        assert_eq!(read.labels.labels.unwrap().names(), ["LABEL_0", "LABEL_1"]);
        assert!(!read.is_ours);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        let refused = |json: &str, word: &str| {
            let error = read(json.as_bytes(), "config.json").unwrap_err();
            assert!(error.message().contains(word), "{json}: {error}");
            error
        };
        let newer = refused(r#"{"libbert_format_version": 7}"#, "version 7");
        assert!(matches!(newer, Error::Version(_)));
        refused(r#"{"model_type": "roberta"}"#, "roberta");
        refused(
            r#"{"position_embedding_type": "relative_key"}"#,
            "relative_key",
        );
        refused(r#"{"is_decoder": true}"#, "decoder");
        refused(r#"{"hidden_size": -4}"#, "hidden_size");
        refused(r#"{"hidden_size": 1e300}"#, "hidden_size");
        refused(r#"{"hidden_size": 30}"#, "num_attention_heads");
        refused(r#"{"hidden_act": "silu"}"#, "silu");
        refused(
            r#"{"problem_type": "ranking"}"#,
            "multi_label_classification",
        );
        refused(r#"{"problem_type": 1}"#, "problem_type");
        refused(
            r#"{"problem_type": "single_label_classification", "num_labels": 1}"#,
            "at least two",
        );
        refused("[1]", "object");
        refused("{\"a\": ", "JSON");
        refused(&"[".repeat(100_000), "levels deep");
    }
}
