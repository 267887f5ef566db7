//! adapter_config.json: which modules a PEFT adapter stands beside, and with what rank and scale.

use fancy_regex::Regex;
use serde_json::{Value, json};

use super::config::Reader;
use crate::error::{Error, Result};
use crate::model::LoraConfig;
use crate::model::lora::{LORA_ALPHA, LORA_RANK};

/// The most patterns of one setting; PEFT writes at most one for each module.
const MAX_PATTERNS: usize = 8192;
/// The longest pattern; a module's name has some 50 bytes.
const MAX_PATTERN_BYTES: usize = 4096;

/// Settings that say nothing of what is computed with the tensors as they are.
const TELL_NOTHING: [&str; 10] = [
    "auto_mapping",
    "base_model_name_or_path",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Settings that are read here.
const READ: [&str; 15] = [
    "alpha_pattern",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// What an adapter_config.json says.
pub struct Description {
    /// With the rank and alpha of most modules, and without the targets and the pooler, which the tensors tell.
    pub lora: LoraConfig,
    /// Whether the classifier is among the modules that were saved whole.
    pub saves_classifier: bool,
    /// Whether the pooler is.
    pub saves_pooler: bool,
    targets: Modules,
    excluded: Modules,
    saved: Vec<String>,
    /// The layers that have adapters; `None`: all.
    layers: Option<Vec<usize>>,
    layers_patterns: Vec<Regex>,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

/// The modules that a setting means.
enum Modules {
    /// Those whose names these are, or end with one of them.
    Names(Vec<String>),
    /// Those whose whole name matches.
    Pattern(Regex),
    /// Every linear layer but the classifier.
    AllLinear,
    /// Nobody can tell: it is missing, or a pattern that this library can't read.
    Unknown,
}

/// One module's rank and alpha.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Rows of A.
    pub rank: usize,
    /// What the scale is made of.
    pub alpha: f64,
}

/// Whether the pattern, which is Python's, is found in the text. One that takes too long is not.
fn matches(pattern: &Regex, text: &str) -> bool {
    pattern.is_match(text).unwrap_or(false)
}

/// Whether one of the names is this module's, or its last parts.
fn is_named(names: &[String], module: &str) -> bool {
    names.iter().any(|name| {
        module
            .strip_suffix(name.as_str())
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

impl Modules {
    /// Whether it means the module; `None` where nobody can tell.
    fn contain(&self, module: &str) -> Option<bool> {
        match self {
            Modules::Names(names) => Some(is_named(names, module)),
            Modules::Pattern(pattern) => Some(matches(pattern, module)),
            Modules::AllLinear => Some(true),
            Modules::Unknown => None,
        }
    }
}

impl Description {
    /// Whether PEFT puts an adapter beside the module of that name; `None` where only the tensors tell.
    pub fn is_target(&self, module: &str) -> Option<bool> {
        let is_saved = |saved: &String| {
            module.match_indices(saved.as_str()).any(|(at, _)| {
                let (before, after) = (&module[..at], &module[at + saved.len()..]);
                (before.is_empty() || before.ends_with('.'))
                    && (after.is_empty() || after.starts_with('.'))
            })
        };
        if self.excluded.contain(module) == Some(true) || self.saved.iter().any(is_saved) {
            return Some(false);
        }
        let is_meant = self.targets.contain(module)?;
        let is_whole_name = match &self.targets {
            Modules::Names(names) => names.iter().any(|name| name == module),
            Modules::Pattern(_) | Modules::AllLinear | Modules::Unknown => false,
        };
        match &self.layers {
            Some(layers) if is_meant && !is_whole_name => Some(
                self.layer_of(module)
                    .is_some_and(|layer| layers.contains(&layer)),
            ),
            _ => Some(is_meant),
        }
    }

    /// The number of the layer that a module is in, as PEFT finds it: the first number behind two names, or behind one
    /// of `layers_pattern`.
    fn layer_of(&self, module: &str) -> Option<usize> {
        if self.layers_patterns.is_empty() {
            let parts: Vec<&str> = module.split('.').collect();
            let inner = parts.get(2..parts.len().checked_sub(1)?)?;
            let is_number =
                |part: &&&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            return inner.iter().find(is_number)?.parse().ok();
        }
        let found = |pattern: &Regex| {
            let captures = pattern.captures(module).ok()??;
            captures.name("idx")?.as_str().parse().ok()
        };
        self.layers_patterns.iter().find_map(found)
    }

    /// The rank and alpha of a module's adapter.
    pub fn size_of(&self, module: &str) -> Size {
        let found = |pattern: &Regex| matches(pattern, module);
        let rank = self.ranks.iter().find(|(pattern, _)| found(pattern));
        let alpha = self.alphas.iter().find(|(pattern, _)| found(pattern));
        Size {
            rank: rank.map_or(self.lora.rank, |found| found.1),
            alpha: alpha.map_or(self.lora.alpha, |found| found.1),
        }
    }

    /// Reads the file, whose name `name` is for messages.
    pub fn read(json: &[u8], name: &str) -> Result<Description> {
        let value: Value = super::json::from_slice(json, name)?;
        let Value::Object(object) = &value else {
            return Err(Error::Format(format!("'{name}' is not a JSON object.")));
        };
        let reader = Reader { object, name };
        let unsupported = |key: &str, value: &Value, supported: &str| {
            let shown: String = value.to_string().chars().take(60).collect();
            Error::Unsupported(format!(
                "In '{name}' the setting \"{key}\" is {shown}; supported is {supported}."
            ))
        };
        let one_of = |key: &str, choices: &[&str]| match reader.get(key) {
            Some(value) if !value.as_str().is_some_and(|text| choices.contains(&text)) => {
                Err(unsupported(key, value, &choices.join(" or ")))
            }
            _ => Ok(()),
        };
        if reader.get("peft_type").is_none() {
            return Err(Error::Format(format!(
                "'{name}' lacks the key \"peft_type\"; it is not the configuration of a PEFT adapter."
            )));
        }
        one_of("peft_type", &["LORA"])?;
        one_of("task_type", &["SEQ_CLS", "FEATURE_EXTRACTION"])?;
        one_of("bias", &["none"])?;
        // The others change the weights that the adapters stand beside.
        if let Some(value) = reader.get("init_lora_weights")
            && !value.is_boolean()
            && !matches!(value.as_str(), Some("gaussian" | "orthogonal" | "eva"))
        {
            return Err(unsupported(
                "init_lora_weights",
                value,
                "true, false, \"gaussian\", \"orthogonal\" or \"eva\"",
            ));
        }
        // Whatever else is set changes what is computed.
        for (key, value) in object {
            let is_off = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Object(object) => object.is_empty(),
                Value::Array(array) => array.is_empty(),
                _ => false,
            };
            if !is_off && !READ.contains(&key.as_str()) && !TELL_NOTHING.contains(&key.as_str()) {
                return Err(unsupported(key, value, "leaving it off"));
            }
        }
        let texts = |key: &str, value: &Value| -> Result<Vec<String>> {
            value
                .as_array()
                .and_then(|array| {
                    array
                        .iter()
                        .map(|text| text.as_str().map(str::to_string))
                        .collect()
                })
                .ok_or_else(|| reader.wrong(key, value, "a list of names"))
        };
        let modules = |key: &str| -> Result<Option<Modules>> {
            Ok(match reader.get(key) {
                None => None,
                Some(Value::String(text)) if text.eq_ignore_ascii_case("all-linear") => {
                    Some(Modules::AllLinear)
                }
                Some(Value::String(text)) => Some(match pattern(&format!("^(?:{text})$")) {
                    Some(pattern) => Modules::Pattern(pattern),
                    None => Modules::Unknown,
                }),
                Some(value) => Some(Modules::Names(texts(key, value)?)),
            })
        };
        let saved = match reader.get("modules_to_save") {
            None => Vec::new(),
            Some(value) => texts("modules_to_save", value)?,
        };
        let mut saves_pooler = false;
        let mut saves_classifier = false;
        for module in &saved {
            match module.as_str() {
                "classifier" => saves_classifier = true,
                "pooler" | "bert.pooler" => saves_pooler = true,
                // PEFT adds this name of other models' classifiers.
                "score" => {}
                _ => {
                    return Err(unsupported(
                        "modules_to_save",
                        &json!(saved),
                        "\"classifier\" and \"pooler\"",
                    ));
                }
            }
        }
        let default = LoraConfig::default();
        let lora = LoraConfig {
            rank: reader.size("r", default.rank)?,
            alpha: reader.real("lora_alpha", default.alpha)?,
            rank_stabilized: reader.flag("use_rslora")?,
            dropout: reader.real("lora_dropout", default.dropout)?,
            ..default
        };
        let excluded = modules("exclude_modules")?.unwrap_or(Modules::Names(Vec::new()));
        if let (Modules::Unknown, Some(value)) = (&excluded, reader.get("exclude_modules")) {
            return Err(unsupported("exclude_modules", value, "a list of names"));
        }
        let layers_patterns = match reader.get("layers_pattern") {
            None => Vec::new(),
            Some(Value::String(text)) if text.is_empty() => Vec::new(),
            Some(value @ Value::String(text)) => vec![(value, text.clone())],
            Some(value) => {
                let texts = texts("layers_pattern", value)?;
                texts.into_iter().map(|text| (value, text)).collect()
            }
        };
        let layers_patterns = layers_patterns
            .into_iter()
            .map(|(value, text)| {
                pattern(&format!(r"^(?:|.*?\.)(?:{text})\.(?P<idx>\d+)\."))
                    .ok_or_else(|| unsupported("layers_pattern", value, "a name such as \"layer\""))
            })
            .collect::<Result<_>>()?;
        Ok(Description {
            targets: modules("target_modules")?.unwrap_or(Modules::Unknown),
            excluded,
            layers: layers(&reader)?,
            layers_patterns,
            ranks: patterns(&reader, "rank_pattern", |value| {
                let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok());
                rank.filter(|&rank| LORA_RANK.check(rank).is_ok())
            })?,
            alphas: patterns(&reader, "alpha_pattern", |value| {
                value
                    .as_f64()
                    .filter(|&alpha| LORA_ALPHA.check(alpha).is_ok())
            })?,
            lora,
            saves_classifier,
            saves_pooler,
            saved,
        })
    }
}

/// The pattern, where this library can read it: Python's, or nearly so.
fn pattern(text: &str) -> Option<Regex> {
    (text.len() <= MAX_PATTERN_BYTES)
        .then(|| Regex::new(text).ok())
        .flatten()
}

/// `layers_to_transform`: a number, or several.
fn layers(reader: &Reader<'_>) -> Result<Option<Vec<usize>>> {
    let key = "layers_to_transform";
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let Some(value) = reader.get(key) else {
        return Ok(None);
    };
    let numbers = match value {
        Value::Array(values) => values.iter().map(number).collect(),
        value => number(value).map(|number| vec![number]),
    };
    let numbers: Vec<usize> =
        numbers.ok_or_else(|| reader.wrong(key, value, "a layer's number, or a list of them"))?;
    Ok((!numbers.is_empty()).then_some(numbers))
}

/// An object from patterns of modules' names to what they have of their own; the first that matches counts.
fn patterns<T>(
    reader: &Reader<'_>,
    key: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(Regex, T)>> {
    let Some(value) = reader.get(key) else {
        return Ok(Vec::new());
    };
    let expected = "an object from modules' names to numbers in range";
    let Value::Object(object) = value else {
        return Err(reader.wrong(key, value, expected));
    };
    if object.len() > MAX_PATTERNS {
        return Err(reader.wrong(
            key,
            value,
            &format!("an object of at most {MAX_PATTERNS} names"),
        ));
    }
    let one = |(name, value): (&String, &Value)| {
        let found = read(value).ok_or_else(|| {
            reader.wrong(&format!("{key}\" at \"{name}"), value, "a number in range")
        })?;
        let pattern = pattern(&format!(r"^(?:.*\.)?(?:{name})$")).ok_or_else(|| {
            Error::Unsupported(format!(
                "In '{}' the setting \"{key}\" has the pattern '{}', which this library can't read; supported are \
                 modules' names and simple patterns.",
                reader.name,
                name.chars().take(60).collect::<String>()
            ))
        })?;
        Ok((pattern, found))
    };
    object.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(setting: &str) -> Result<Description> {
        let json = format!(r#"{{"peft_type": "LORA", "r": 8, "lora_alpha": 16, {setting}}}"#);
        Description::read(json.as_bytes(), "c")
    }

    const QUERY: &str = "bert.encoder.layer.1.attention.self.query";
    const DENSE: &str = "bert.encoder.layer.11.output.dense";
    const POOLER: &str = "bert.pooler.dense";

    /// By `peft.tuners.tuners_utils.check_target_module_exists` of peft 0.21.2.
    #[test]
    fn modules_are_those_that_peft_means() {
        for (setting, expected) in [
            (
                r#""target_modules": ["query"]"#,
                [Some(true), Some(false), Some(false)],
            ),
            (r#""target_modules": ["uery"]"#, [Some(false); 3]),
            (
                r#""target_modules": ["query", "dense"]"#,
                [Some(true), Some(true), Some(true)],
            ),
            (r#""target_modules": "all-linear""#, [Some(true); 3]),
            (
                r#""target_modules": ".*layer.*(query|dense)""#,
                [Some(true), Some(true), Some(false)],
            ),
            (r#""target_modules": "query""#, [Some(false); 3]),
            (r#""target_modules": "(""#, [None; 3]),
            (r#""target_modules": null"#, [None; 3]),
            (
                r#""target_modules": ["query", "dense"], "layers_to_transform": [1]"#,
                [Some(true), Some(false), Some(false)],
            ),
            (
                r#""target_modules": ["query", "dense"], "layers_to_transform": 11"#,
                [Some(false), Some(true), Some(false)],
            ),
            (
                r#""target_modules": ["query", "dense"], "layers_to_transform": [1], "layers_pattern": "layer""#,
                [Some(true), Some(false), Some(false)],
            ),
            (
                r#""target_modules": ["query", "dense"], "layers_to_transform": [1], "layers_pattern": ["h", "block"]"#,
                [Some(false); 3],
            ),
            // A whole name isn't asked for its layer.
            (
                r#""target_modules": ["bert.pooler.dense", "query"], "layers_to_transform": [0]"#,
                [Some(false), Some(false), Some(true)],
            ),
            (
                r#""target_modules": ["query", "dense"], "modules_to_save": ["classifier", "pooler"]"#,
                [Some(true), Some(true), Some(false)],
            ),
            (
                r#""target_modules": ["query", "dense"], "exclude_modules": ["output.dense"]"#,
                [Some(true), Some(false), Some(true)],
            ),
            (
                r#""target_modules": ["query", "dense"], "exclude_modules": ".*layer.*""#,
                [Some(false), Some(false), Some(true)],
            ),
        ] {
            let description = read(setting).unwrap();
            let found = [QUERY, DENSE, POOLER].map(|module| description.is_target(module));
            assert_eq!(found, expected, "{setting}");
        }
    }

    /// By `peft.utils.other.get_pattern_key` of peft 0.21.2.
    #[test]
    fn ranks_and_alphas_are_those_of_the_first_pattern_that_matches() {
        let size = |setting: &str, module: &str| {
            let found = read(setting).unwrap().size_of(module);
            (found.rank, found.alpha)
        };
        assert_eq!(size(r#""rank_pattern": {}"#, QUERY), (8, 16.0));
        let both = r#""rank_pattern": {"query": 4, "layer.1.*": 2}, "alpha_pattern": {"self.query": 3.5, "dense": 1}"#;
        assert_eq!(size(both, QUERY), (4, 3.5));
        // A point is any character.
        assert_eq!(size(both, DENSE), (2, 1.0));
        let pattern =
            r#""rank_pattern": {"layer\\.1\\..*": 2, "layer\\.\\d+\\.output\\.dense": 5}"#;
        assert_eq!(size(pattern, QUERY), (2, 16.0));
        assert_eq!(size(pattern, DENSE), (5, 16.0));
        assert_eq!(size(r#""rank_pattern": {"^query": 2}"#, QUERY), (8, 16.0));
        let whole = format!(r#""rank_pattern": {{"{QUERY}": 1}}"#);
        assert_eq!(size(&whole, QUERY), (1, 16.0));
    }

    #[test]
    fn settings_that_change_what_is_computed_are_refused_by_name() {
        let plain = read(r#""use_rslora": true"#).unwrap().lora;
        assert!((plain.scale() - 16.0 / 8f64.sqrt()).abs() < 1e-12);
        for (setting, word) in [
            (r#""bias": "all""#, "bias"),
            (r#""bias": "lora_only""#, "bias"),
            (r#""use_dora": true"#, "use_dora"),
            (r#""rank_pattern": {"query": 0}"#, "query"),
            (r#""rank_pattern": {"query": 1.5}"#, "rank_pattern"),
            (r#""rank_pattern": [4]"#, "rank_pattern"),
            (r#""rank_pattern": {"(": 4}"#, "rank_pattern"),
            (r#""alpha_pattern": {"query": "4"}"#, "alpha_pattern"),
            (r#""alpha_pattern": {"query": -1}"#, "alpha_pattern"),
            (r#""layers_to_transform": [-1]"#, "layers_to_transform"),
            (r#""layers_to_transform": "0""#, "layers_to_transform"),
            (r#""layers_pattern": "(""#, "layers_pattern"),
            (r#""exclude_modules": "(""#, "exclude_modules"),
            (r#""fan_in_fan_out": true"#, "fan_in_fan_out"),
            (r#""lora_bias": true"#, "lora_bias"),
            (r#""init_lora_weights": "pissa""#, "init_lora_weights"),
            (
                r#""modules_to_save": ["word_embeddings"]"#,
                "modules_to_save",
            ),
            (r#""task_type": "TOKEN_CLS""#, "task_type"),
            (
                r#""a_setting_of_tomorrow": {"x": 1}"#,
                "a_setting_of_tomorrow",
            ),
            (r#""lora_dropout": "1""#, "lora_dropout"),
            (r#""target_modules": [1]"#, "target_modules"),
        ] {
            let error = read(setting).err().expect(setting);
            assert!(error.message().contains(word), "{setting}: {error}");
        }
        let other = |json: &str| Description::read(json.as_bytes(), "c").err().unwrap();
        assert!(matches!(
            other(r#"{"peft_type": "IA3"}"#),
            Error::Unsupported(_)
        ));
        for json in ["{}", "[1]", "{", &"[".repeat(100_000)] {
            assert!(matches!(other(json), Error::Format(_)));
        }
        // A pattern may be hostile: it is not compiled, or not followed for ever.
        for name in ["((a{1000}){1000}){1000}", &"a".repeat(5000)] {
            let error = read(&format!(r#""rank_pattern": {{"{name}": 4}}"#))
                .err()
                .unwrap();
            assert!(matches!(error, Error::Unsupported(_)), "{error}");
        }
        let slow = read(r#""rank_pattern": {"(?:(.)\\1?|.)*(?!.)(?<=x)": 4}"#).unwrap();
        assert_eq!(slow.size_of(QUERY).rank, 8);
    }
}
