//! LoRA adapters in PEFT's format: a directory with adapter_config.json and adapter_model.safetensors, which
//! `PeftModel.from_pretrained` reads, and what that library wrote.
//!
//! The classifier, and the pooler where it is trained, go with them as `modules_to_save`. The names of the classes,
//! for which PEFT has no place, are in the safetensors metadata.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::FORMAT_VERSION;
use super::config::{Reader, VERSION_KEY};
use super::directory::{Directory, read_directory};
use super::staging::{Kind, Staging};
use super::weights::{Source, Weights, check_finite, header, write_values};
use crate::classifier::Classifier;
use crate::data::Labels;
use crate::error::{Error, Result};
use crate::model::{
    BertConfig, LoraConfig, Model, ParameterSpec, Projection, Projections, Values, refuse_int8,
};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What stands before every name of the model that is adapted.
const PREFIX: &str = "base_model.model.";

/// The metadata's key for the names of the classes: a JSON array of texts.
const LABELS_KEY: &str = "libbert_labels";

/// The pooler's weight, by whose origin a pooler that the base lacks is known.
const POOLER: &str = "bert.pooler.dense.weight";

/// An adapter directory.
const ADAPTER: Kind = Kind {
    marker: CONFIG,
    name: "an adapter",
};

/// Refuses adapters that would not hold all that the base lacks.
pub fn check_pooler(classifier: &Classifier, lora: &LoraConfig) -> Result<()> {
    if !lora.train_pooler && lacks_pooler(classifier) {
        return Err(Error::InvalidArgument(
            "This model's pooler has initial values, which no saved model holds, so it must be saved with the adapters: \
             set train_pooler to 1, or save the model and load it first."
                .into(),
        ));
    }
    Ok(())
}

/// Whether the model reads a pooler that the checkpoint it came from lacks.
fn lacks_pooler(classifier: &Classifier) -> bool {
    let initialised = &classifier.origins().initialised;
    classifier.model().table.pooler.is_some() && initialised.iter().any(|name| name == POOLER)
}

/// Writes the adapters of a model, and the parts of its head that are trained with them. The target may be absent, an
/// empty directory, or adapters that this library saved, which are replaced in one step.
pub fn save_adapter(classifier: &Classifier, path: &Path) -> Result<()> {
    let table = &classifier.model().table;
    let Some(lora) = table.lora else {
        return Err(Error::InvalidArgument(
            "This model has no LoRA adapters to save; bert_add_lora makes a model with some."
                .into(),
        ));
    };
    let parameters = classifier.parameters();
    let all = parameters.host()?;
    let head = [
        Some(table.classifier),
        table.pooler.filter(|_| lora.train_pooler),
    ];
    let head = head
        .into_iter()
        .flatten()
        .flat_map(|linear| [linear.weight, linear.bias]);
    let (specs, values): (Vec<ParameterSpec>, Vec<Values>) = (table.base_specs().len()
        ..table.specs.len())
        .chain(head)
        .map(|index| {
            let spec = &table.specs[index];
            let name = format!("{PREFIX}{}", spec.name);
            let spec = ParameterSpec {
                name,
                ..spec.clone()
            };
            (spec, all[index].clone())
        })
        .unzip();
    let mut metadata = Map::new();
    metadata.insert("format".into(), json!("pt"));
    metadata.insert(VERSION_KEY.into(), json!(FORMAT_VERSION.to_string()));
    let labels = json!(classifier.labels().names()).to_string();
    metadata.insert(LABELS_KEY.into(), json!(labels));
    let config = config_json(&lora, &classifier.model().config);
    let mut staging = Staging::create_kind(path, ADAPTER)?;
    staging.file(WEIGHTS, |file| {
        file.write(&header(&specs, metadata))?;
        write_values(values.iter().map(|values| values.as_slice()), |piece| {
            file.write(piece)
        })
    })?;
    staging.file(CONFIG, |file| file.write(config.as_bytes()))?;
    staging.commit()
}

/// adapter_config.json.
fn config_json(lora: &LoraConfig, config: &BertConfig) -> String {
    let mut modules_to_save = vec!["classifier"];
    if lora.train_pooler && config.pooling == crate::model::Pooling::Pooler {
        modules_to_save.push("pooler");
    }
    // PEFT reads the number as it is; it has whole ones itself.
    let alpha = match lora.alpha {
        whole if whole.fract() == 0.0 => json!(whole as u64),
        other => json!(other),
    };
    let value = json!({
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rank_stabilized,
        "target_modules": target_modules(lora.targets, config.num_hidden_layers),
        "modules_to_save": modules_to_save,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
    });
    format!("{value:#}\n")
}

/// Names that end those of the adapted modules and of no others.
fn target_modules(targets: Projections, num_hidden_layers: usize) -> Vec<String> {
    let mut names: Vec<String> = targets
        .iter()
        .filter(|&projection| projection != Projection::Output)
        .map(|projection| match projection {
            Projection::Query => "query".into(),
            Projection::Key => "key".into(),
            Projection::Value => "value".into(),
            other => other.module().into(),
        })
        .collect();
    if targets.contains(Projection::Output) {
        // "output.dense" ends the attention output's name too.
        if targets.contains(Projection::AttentionOutput) {
            names.push("output.dense".into());
        } else {
            names.extend((0..num_hidden_layers).map(|n| format!("layer.{n}.output.dense")));
        }
    }
    names
}

/// Whether PEFT's `target_modules` list means the module of that name.
fn is_target(list: &[&str], module: &str) -> bool {
    list.iter().any(|target| {
        module
            .strip_suffix(target)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// A model of `base` with the adapters in the directory at `path`, and with the classifier and pooler that are there.
pub fn load_adapter(base: &Classifier, path: &Path) -> Result<Classifier> {
    if base.model().table.lora.is_some() {
        return Err(Error::InvalidArgument(
            "This model has LoRA adapters already; load the adapters onto the model without them, or merge them first."
                .into(),
        ));
    }
    if base.is_int8() {
        return Err(refuse_int8("an adapter"));
    }
    read_directory(path, |directory| load_open_adapter(base, directory))
}

/// The tensors of an adapter by their names in the model: `bert.encoder.layer.0.attention.self.query.lora_A.weight`.
struct Tensors<'a> {
    weights: Weights<'a>,
    /// The name in the file, and the shape.
    places: HashMap<String, (String, Vec<usize>)>,
}

impl Tensors<'_> {
    fn new(weights: Weights<'_>) -> Result<Tensors<'_>> {
        let mut places = HashMap::new();
        for (name, shape) in weights.tensors() {
            let Some(bare) = name.strip_prefix(PREFIX) else {
                return Err(Error::Unsupported(format!(
                    "{} holds the tensor '{name}'; the names of a LoRA adapter begin with '{PREFIX}'.",
                    weights.name()
                )));
            };
            // Adapters of a bare BertModel.
            let known = if bare.starts_with("encoder.") || bare.starts_with("pooler.") {
                format!("bert.{bare}")
            } else {
                bare.to_string()
            };
            if let Some((other, _)) = places.insert(known, (name.clone(), shape)) {
                return Err(Error::Format(format!(
                    "{} holds one parameter twice, as '{other}' and as '{name}'.",
                    weights.name()
                )));
            }
        }
        Ok(Tensors { weights, places })
    }

    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The values of a parameter that must be there, in its shape.
    fn take(&mut self, spec: &ParameterSpec) -> Result<Vec<f32>> {
        let Some((name, shape)) = self.places.remove(&spec.name) else {
            return Err(Error::Format(format!(
                "{} lacks '{PREFIX}{}', which the adapter's other parts ask for.",
                self.weights.name(),
                spec.name
            )));
        };
        if shape != spec.shape {
            return Err(Error::Format(format!(
                "In {} the parameter '{name}' has the shape {shape:?}; this model and {CONFIG} ask for {:?}.",
                self.weights.name(),
                spec.shape
            )));
        }
        let values = self.weights.read_float32(&name)?;
        check_finite(&values, &self.weights.name(), &name)?;
        Ok(values)
    }
}

fn load_open_adapter(base: &Classifier, directory: &Directory) -> Result<Classifier> {
    let json = directory
        .read(CONFIG)?
        .ok_or_else(|| directory.missing(CONFIG))?;
    let path = directory.path().join(CONFIG).display().to_string();
    let description = Description::read(&json, &path)?;
    let file = directory
        .file(WEIGHTS)?
        .ok_or_else(|| directory.missing(WEIGHTS))?;
    let mut tensors = Tensors::new(Weights::open(Source::File(file))?)?;
    if let Some(version) = tensors.weights.metadata(VERSION_KEY)
        && version.parse::<u64>().is_ok_and(|v| v > FORMAT_VERSION)
    {
        return Err(Error::Version(format!(
            "{} has format version {version}; this library reads up to {FORMAT_VERSION}. Use a newer libbert.",
            tensors.weights.name()
        )));
    }

    let layers = base.model().config.num_hidden_layers;
    let module = |number: usize, projection: Projection| {
        format!("bert.encoder.layer.{number}.{}", projection.module())
    };
    let is_there = |tensors: &Tensors<'_>, number: usize, projection: Projection| {
        ["lora_A", "lora_B"]
            .iter()
            .any(|part| tensors.has(&format!("{}.{part}.weight", module(number, projection))))
    };
    let targets: Projections = Projection::ALL
        .into_iter()
        .filter(|&projection| (0..layers).any(|number| is_there(&tensors, number, projection)))
        .collect();
    if targets.is_empty() {
        return Err(Error::Format(format!(
            "{} holds no LoRA adapter for a projection of this model.",
            tensors.weights.name()
        )));
    }
    if let Some(list) = &description.target_modules {
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        for projection in Projection::ALL {
            let name = module(0, projection);
            if is_target(&list, &name) != is_there(&tensors, 0, projection) {
                return Err(Error::Format(format!(
                    "'{path}' and {} don't belong together: only one of them has an adapter of '{name}'.",
                    tensors.weights.name()
                )));
            }
        }
    }

    let has_classifier = tensors.has("classifier.weight") || tensors.has("classifier.bias");
    let has_pooler = tensors.has(POOLER) || tensors.has("bert.pooler.dense.bias");
    for (name, wanted, found) in [
        ("classifier", description.saves_classifier, has_classifier),
        ("pooler", description.saves_pooler, has_pooler),
    ] {
        if wanted && !found {
            return Err(Error::Format(format!(
                "'{path}' has the {name} among its modules_to_save, but {} lacks it.",
                tensors.weights.name()
            )));
        }
    }
    if has_classifier && !has_pooler && lacks_pooler(base) {
        return Err(Error::Format(format!(
            "{} was trained with a pooler that neither it nor the model that it is loaded onto holds, so that its \
             answers would be arbitrary. Train it again with the pooler among the modules_to_save.",
            tensors.weights.name()
        )));
    }
    let labels = labels(base, &tensors)?;
    let lora = LoraConfig {
        targets,
        // Encoders alone get a head that is still to be trained.
        train_pooler: has_pooler || !has_classifier,
        ..description.lora
    };
    let config = BertConfig {
        num_labels: labels.len(),
        ..base.model().config.clone()
    };
    let model =
        Model::with_lora(config, lora, base.model().device.clone()).map_err(|error| match error
            .category()
        {
            Error::InvalidArgument(text) => {
                Error::Format(format!("'{path}' can't be used: {text}"))
            }
            _ => error,
        })?;

    let table = &model.table;
    let mut origins = base.origins().clone();
    let mut take = |tensors: &mut Tensors<'_>, index: usize| -> Result<Vec<f32>> {
        let spec = &table.specs[index];
        let values = tensors.take(spec)?;
        origins.initialised.retain(|name| *name != spec.name);
        if !origins.loaded.contains(&spec.name) {
            origins.loaded.push(spec.name.clone());
        }
        Ok(values)
    };
    let adapters = (table.base_specs().len()..table.specs.len())
        .map(|index| take(&mut tensors, index))
        .collect::<Result<Vec<_>>>()?;
    let mut updated = vec![Vec::new(); table.specs.len()];
    let head = [
        has_classifier.then_some(table.classifier),
        table.pooler.filter(|_| has_pooler),
    ];
    for linear in head.into_iter().flatten() {
        for index in [linear.weight, linear.bias] {
            updated[index] = take(&mut tensors, index)?;
        }
    }
    if let Some((name, _)) = tensors.places.values().min() {
        return Err(Error::Unsupported(format!(
            "{} holds '{name}', which is no LoRA adapter of a projection of this model, nor its classifier or pooler.",
            tensors.weights.name()
        )));
    }
    tensors.weights.finish()?;
    let parameters = base
        .parameters()
        .with_adapter_values(adapters, table)?
        .with_updated(updated, table)?;
    Ok(base.with_model(model, labels, parameters, origins))
}

/// The classes of the loaded model: those that the adapter's metadata names, else the base's, where there are as many.
fn labels(base: &Classifier, tensors: &Tensors<'_>) -> Result<Labels> {
    let file = tensors.weights.name();
    let Some((_, shape)) = tensors.places.get("classifier.weight") else {
        return Ok(base.labels().clone());
    };
    let count = shape.first().copied().unwrap_or_default();
    let labels = match tensors.weights.metadata(LABELS_KEY) {
        Some(text) => super::json::from_slice(text.as_bytes(), LABELS_KEY)
            .ok()
            .and_then(|names| Labels::from_names(names).ok())
            .ok_or_else(|| {
                Error::Format(format!(
                    "In {file} the metadata's {LABELS_KEY} is not an array of names that differ."
                ))
            })?,
        None => base.labels().clone(),
    };
    if labels.len() != count {
        return Err(Error::Format(format!(
            "{file} has a classifier of {count} classes, and there are {} label names; load the model that it goes onto \
             with the adapter's label_names.",
            labels.len()
        )));
    }
    Ok(labels)
}

/// What an adapter_config.json says.
struct Description {
    /// Without the targets and the pooler, which the tensors tell.
    lora: LoraConfig,
    /// `None` where it is a pattern: then the tensors alone tell.
    target_modules: Option<Vec<String>>,
    saves_classifier: bool,
    saves_pooler: bool,
}

/// Settings that say nothing of what is computed with the tensors as they are.
const TELL_NOTHING: [&str; 9] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "layers_pattern",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Settings that are read here.
const READ: [&str; 10] = [
    "bias",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "r",
    "target_modules",
    "task_type",
    "use_rslora",
];

impl Description {
    fn read(json: &[u8], name: &str) -> Result<Description> {
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
        let target_modules = match reader.get("target_modules") {
            None | Some(Value::String(_)) => None,
            Some(value) => Some(texts("target_modules", value)?),
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
        Ok(Description {
            lora,
            target_modules,
            saves_classifier,
            saves_pooler,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_modules_mean_the_projections_and_no_others() {
        // Every set of projections.
        for set in 1u32..64 {
            let targets: Projections = Projection::ALL
                .into_iter()
                .filter(|&projection| set & (1 << projection as u32) != 0)
                .collect();
            let names = target_modules(targets, 12);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for number in [0, 1, 11] {
                for projection in Projection::ALL {
                    let module = format!("bert.encoder.layer.{number}.{}", projection.module());
                    assert_eq!(
                        is_target(&names, &module),
                        targets.contains(projection),
                        "{names:?} {module}"
                    );
                }
            }
            assert!(!is_target(&names, "bert.pooler.dense"));
        }
    }

    #[test]
    fn settings_that_change_what_is_computed_are_refused_by_name() {
        let read = |json: &str| Description::read(json.as_bytes(), "c").map(|d| d.lora);
        let plain = read(r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 16, "use_rslora": true}"#);
        let plain = plain.unwrap();
        assert_eq!(plain.scale(), 8.0);
        for (setting, word) in [
            (r#""bias": "all""#, "bias"),
            (r#""use_dora": true"#, "use_dora"),
            (r#""rank_pattern": {"query": 4}"#, "rank_pattern"),
            (r#""alpha_pattern": {"query": 4}"#, "alpha_pattern"),
            (r#""layers_to_transform": [0]"#, "layers_to_transform"),
            (r#""layers_to_transform": 0"#, "layers_to_transform"),
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
            (r#""r": -1"#, "\"r\""),
            (r#""lora_alpha": "16""#, "lora_alpha"),
            (r#""target_modules": [1]"#, "target_modules"),
        ] {
            let error = read(&format!(r#"{{"peft_type": "LORA", {setting}}}"#)).unwrap_err();
            assert!(error.message().contains(word), "{setting}: {error}");
        }
        assert!(matches!(
            read(r#"{"peft_type": "IA3"}"#),
            Err(Error::Unsupported(_))
        ));
        for json in ["{}", "[1]", "{", &"[".repeat(100_000)] {
            assert!(matches!(read(json), Err(Error::Format(_))));
        }
    }
}
