//! LoRA adapters in PEFT's format: a directory with adapter_config.json and adapter_model.safetensors, which
//! `PeftModel.from_pretrained` reads, and what that library wrote.
//!
//! The classifier, and the pooler where it is trained, go with them as `modules_to_save`. The names of the classes,
//! for which PEFT has no place, are in the safetensors metadata.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, json};

use super::FORMAT_VERSION;
use super::adapter_config::{Description, Size};
use super::checkpoint::Untrained;
use super::config::{UNTRAINED_KEY, VERSION_KEY};
use super::directory::{Directory, read_directory};
use super::staging::{Kind, Staging};
use super::weights::{Source, Weights, check_finite, header, write_values};
use crate::classifier::Classifier;
use crate::data::{Labels, MAX_CLASSES};
use crate::error::{Error, Result};
use crate::model::{
    BertConfig, LoraConfig, Model, ParameterKind, ParameterSpec, ParameterTable, Projection,
    Projections, Values, refuse_int8,
};
use crate::ops::{Accumulate, Precision};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What stands before every name of the model that is adapted.
const PREFIX: &str = "base_model.model.";

/// The metadata's key for the names of the classes: a JSON array of texts.
const LABELS_KEY: &str = "libbert_labels";

/// The pooler's weight, by whose origin a pooler that the base lacks is known.
const POOLER: &str = "bert.pooler.dense.weight";
const POOLER_MODULE: &str = "bert.pooler.dense";

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
    let untrained = classifier.untrained().names();
    if !untrained.is_empty() {
        metadata.insert(UNTRAINED_KEY.into(), json!(json!(untrained).to_string()));
    }
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
    /// Whether the adapted model was a bare `BertModel`.
    is_bare: bool,
}

impl Tensors<'_> {
    fn new(weights: Weights<'_>) -> Result<Tensors<'_>> {
        let mut places = HashMap::new();
        let mut is_bare = false;
        for (name, shape) in weights.tensors() {
            let Some(bare) = name.strip_prefix(PREFIX) else {
                return Err(Error::Unsupported(format!(
                    "{} holds the tensor '{name}'; the names of a LoRA adapter begin with '{PREFIX}'.",
                    weights.name()
                )));
            };
            // Adapters of a bare BertModel.
            let known = if bare.starts_with("encoder.") || bare.starts_with("pooler.") {
                is_bare = true;
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
        Ok(Tensors {
            weights,
            places,
            is_bare,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Whether there is a part of an adapter of that module.
    fn has_adapter(&self, module: &str) -> bool {
        let parts = ["lora_A", "lora_B"];
        parts
            .iter()
            .any(|part| self.has(&format!("{module}.{part}.weight")))
    }

    /// A module's name in the model that PEFT adapted.
    fn peft_name<'n>(&self, module: &'n str) -> &'n str {
        match module.strip_prefix("bert.") {
            Some(bare) if self.is_bare => bare,
            _ => module,
        }
    }

    /// A, [rank, inputs], and B, [outputs, rank], of a module.
    fn take_adapter(
        &mut self,
        module: &str,
        rank: usize,
        inputs: usize,
        outputs: usize,
    ) -> Result<[Vec<f32>; 2]> {
        let mut take = |part: &str, shape: [usize; 2], kind: ParameterKind| {
            self.take(&ParameterSpec {
                name: format!("{module}.{part}.weight"),
                shape: shape.to_vec(),
                kind,
            })
        };
        Ok([
            take("lora_A", [rank, inputs], ParameterKind::LoraDown)?,
            take("lora_B", [outputs, rank], ParameterKind::LoraUp)?,
        ])
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
        tensors.has_adapter(&module(number, projection))
    };
    let mut targets: Projections = Projection::ALL
        .into_iter()
        .filter(|&projection| (0..layers).any(|number| is_there(&tensors, number, projection)))
        .collect();
    let adapts_pooler = base.model().table.pooler.is_some() && tensors.has_adapter(POOLER_MODULE);
    if targets.is_empty() {
        if !adapts_pooler {
            return Err(Error::Format(format!(
                "{} holds no LoRA adapter for a projection of this model.",
                tensors.weights.name()
            )));
        }
        // The pooler's is merged: what is left are adapters that change nothing.
        targets = LoraConfig::default().targets;
    }
    for number in 0..layers {
        for projection in Projection::ALL {
            let name = module(number, projection);
            let is_meant = description.is_target(tensors.peft_name(&name));
            if is_meant.is_some_and(|is_meant| is_meant != is_there(&tensors, number, projection)) {
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
    if (has_classifier || adapts_pooler) && !has_pooler && lacks_pooler(base) {
        return Err(Error::Format(format!(
            "{} was trained with a pooler that neither it nor the model that it is loaded onto holds, so that its \
             answers would be arbitrary. Train it again with the pooler among the modules_to_save.",
            tensors.weights.name()
        )));
    }
    let labels = labels(base, &tensors)?;
    let adapted = (0..layers).flat_map(|number| Projection::ALL.map(|p| module(number, p)));
    let adapted = adapted.filter(|name| tensors.has_adapter(name));
    let sizes: Vec<Size> = adapted
        .map(|name| description.size_of(tensors.peft_name(&name)))
        .collect();
    let lora = LoraConfig {
        targets,
        // Encoders alone get a head that is still to be trained; a merged adapter must be saved with the pooler.
        train_pooler: has_pooler || adapts_pooler || !has_classifier,
        ..common(description.lora, &sizes)
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
    let mut was_read = |spec: &ParameterSpec| {
        origins.initialised.retain(|name| *name != spec.name);
        if !origins.loaded.contains(&spec.name) {
            origins.loaded.push(spec.name.clone());
        }
    };
    let mut adapters = Vec::with_capacity(table.specs.len() - table.base_specs().len());
    for number in 0..layers {
        for projection in targets.iter() {
            let name = module(number, projection);
            let (inputs, outputs) = projection.sizes(&model.config);
            let [down, up] = if tensors.has_adapter(&name) {
                let size = description.size_of(tensors.peft_name(&name));
                let values = tensors.take_adapter(&name, size.rank, inputs, outputs)?;
                for part in ["lora_A", "lora_B"] {
                    if let Some(spec) = spec_of(table, &format!("{name}.{part}.weight")) {
                        was_read(spec);
                    }
                }
                let factor = scale_of(size, lora.rank_stabilized) / lora.scale();
                widened(values, size.rank, lora.rank, outputs, factor)
            } else {
                // Both zero: it adds nothing, and training leaves it so.
                [lora.rank * inputs, outputs * lora.rank].map(|count| vec![0.0; count])
            };
            check_finite(&up, &tensors.weights.name(), &name)?;
            adapters.extend([down, up]);
        }
    }
    let mut updated = vec![Vec::new(); table.specs.len()];
    let head = [
        has_classifier.then_some(table.classifier),
        table.pooler.filter(|_| has_pooler),
    ];
    for linear in head.into_iter().flatten() {
        for index in [linear.weight, linear.bias] {
            updated[index] = tensors.take(&table.specs[index])?;
            was_read(&table.specs[index]);
        }
    }
    if let Some(pooler) = table.pooler.filter(|_| adapts_pooler && !has_pooler) {
        let size = description.size_of(tensors.peft_name(POOLER_MODULE));
        let hidden = model.config.hidden_size;
        let [down, up] = tensors.take_adapter(POOLER_MODULE, size.rank, hidden, hidden)?;
        let scale = scale_of(size, lora.rank_stabilized) as f32;
        let scaled: Vec<f32> = up.iter().map(|value| value * scale).collect();
        let mut weight = base.parameters().host()?[pooler.weight].to_vec();
        Precision::Float32.matmul(
            &mut weight,
            Accumulate::Add,
            &scaled,
            &down,
            hidden,
            size.rank,
        );
        check_finite(&weight, &tensors.weights.name(), POOLER_MODULE)?;
        updated[pooler.weight] = weight;
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
    let saved = match tensors.weights.metadata(UNTRAINED_KEY) {
        Some(names) => super::json::from_slice(names.as_bytes(), UNTRAINED_KEY)?,
        None => Vec::new(),
    };
    let (saved, of_base) = (Untrained::from_names(&saved), base.untrained());
    let of = |is_there: bool, saved: bool, of_base: bool| if is_there { saved } else { of_base };
    let untrained = Untrained {
        pooler: of(has_pooler, saved.pooler, of_base.pooler),
        classifier: of(has_classifier, saved.classifier, of_base.classifier),
    };
    let loaded = base.with_model(model, labels, parameters, origins);
    Ok(loaded.with_untrained(untrained))
}

fn spec_of<'a>(table: &'a ParameterTable, name: &str) -> Option<&'a ParameterSpec> {
    table.specs.iter().find(|spec| spec.name == name)
}

/// What a module's B A is multiplied with.
fn scale_of(size: Size, rank_stabilized: bool) -> f64 {
    LoraConfig {
        rank: size.rank,
        alpha: size.alpha,
        rank_stabilized,
        ..LoraConfig::default()
    }
    .scale()
}

/// One rank and alpha for all: theirs where they have the same, else the largest rank.
fn common(lora: LoraConfig, sizes: &[Size]) -> LoraConfig {
    match sizes {
        [first, others @ ..] if others.iter().all(|other| other == first) => LoraConfig {
            rank: first.rank,
            alpha: first.alpha,
            ..lora
        },
        _ => LoraConfig {
            rank: sizes
                .iter()
                .map(|size| size.rank)
                .max()
                .unwrap_or(lora.rank),
            ..lora
        },
    }
}

/// An adapter of rank `from` as one of rank `to` that computes the same: rows of A and columns of B that are zero are
/// added, and B is multiplied by `factor`.
fn widened(
    [mut down, up]: [Vec<f32>; 2],
    from: usize,
    to: usize,
    outputs: usize,
    factor: f64,
) -> [Vec<f32>; 2] {
    if from == to && factor == 1.0 {
        return [down, up];
    }
    let inputs = down.len() / from;
    down.resize(to * inputs, 0.0);
    let mut wide = vec![0.0; outputs * to];
    for (wide, row) in wide.chunks_mut(to).zip(up.chunks(from)) {
        for (wide, value) in wide.iter_mut().zip(row) {
            *wide = (f64::from(*value) * factor) as f32;
        }
    }
    [down, wide]
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
            .filter(|names: &Vec<String>| (1..=MAX_CLASSES).contains(&names.len()))
            .map(Labels::from_saved)
            .ok_or_else(|| {
                Error::Format(format!(
                    "In {file} the metadata's {LABELS_KEY} is not an array of names."
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_target(list: &[&str], module: &str) -> bool {
        let json = json!({"peft_type": "LORA", "target_modules": list}).to_string();
        let description = Description::read(json.as_bytes(), "c").unwrap();
        description.is_target(module).unwrap()
    }

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
}
