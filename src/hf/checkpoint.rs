//! A checkpoint's parameters, by whatever names and in however many files it was published, as a model's.

use std::collections::HashMap;
use std::sync::Arc;

use super::head::Head;
use super::pickle::StateDict;
use super::tensors::SCALE_SUFFIX;
use super::weights::{Weights, check_finite};
use crate::error::{Error, Result};
use crate::memory;
use crate::model::parameters::initial_values;
use crate::model::quantized::{QuantizedValues, is_int8};
use crate::model::{Model, ParameterSpec, ParameterTable, Parameters};

/// Where a model's parameters came from, by their names in `BertForSequenceClassification`; what the checkpoint had
/// beyond them by its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Read from the checkpoint.
    pub loaded: Vec<String>,
    /// Given initial values: the checkpoint lacks them, or they belong to other labels.
    pub initialised: Vec<String>,
    /// In the checkpoint and not used.
    pub ignored: Vec<String>,
}

impl Origins {
    /// Those of a new model.
    pub fn initialised(model: &Model) -> Origins {
        Origins {
            initialised: model.table.specs.iter().map(|s| s.name.clone()).collect(),
            ..Origins::default()
        }
    }

    /// Whether the encoder's parameters were read, as those of a model that was loaded are.
    pub fn has_loaded_encoder(&self, table: &ParameterTable) -> bool {
        let words = &table.specs[table.embeddings.word].name;
        self.loaded.iter().any(|name| name == words)
    }

    /// Without what `model` doesn't have, as when adapters were merged.
    pub fn only_of(&self, model: &Model) -> Origins {
        let mut origins = self.clone();
        let is_own = |name: &String| model.table.specs.iter().any(|spec| spec.name == *name);
        origins.loaded.retain(is_own);
        origins.initialised.retain(is_own);
        origins
    }
}

/// What of a model's head has initial values and was never trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Untrained {
    /// The pooler.
    pub pooler: bool,
    /// The classifier.
    pub classifier: bool,
}

impl Untrained {
    const POOLER: &str = "pooler";
    const CLASSIFIER: &str = "classifier";

    /// The parts' names, as saves have them under `libbert_untrained`.
    pub fn names(self) -> Vec<&'static str> {
        let parts = [
            (self.pooler, Untrained::POOLER),
            (self.classifier, Untrained::CLASSIFIER),
        ];
        let parts = parts.into_iter().filter(|part| part.0);
        parts.map(|part| part.1).collect()
    }

    /// The parts of these names.
    pub fn from_names(names: &[String]) -> Untrained {
        let has = |name: &str| names.iter().any(|other| other == name);
        Untrained {
            pooler: has(Untrained::POOLER),
            classifier: has(Untrained::CLASSIFIER),
        }
    }

    /// What of the head the checkpoint lacks.
    pub fn of(origins: &Origins) -> Untrained {
        let has = |name: &str| origins.initialised.iter().any(|other| other == name);
        Untrained {
            pooler: has("bert.pooler.dense.weight") || has("bert.pooler.dense.bias"),
            classifier: has("classifier.weight") || has("classifier.bias"),
        }
    }
}

/// One file of a checkpoint.
pub enum TensorFile<'a> {
    /// safetensors.
    Safetensors(Weights<'a>),
    /// PyTorch's `pytorch_model.bin`, and its name for messages.
    StateDict(StateDict, String),
}

impl TensorFile<'_> {
    fn name(&self) -> String {
        match self {
            TensorFile::Safetensors(weights) => weights.name(),
            TensorFile::StateDict(_, name) => name.clone(),
        }
    }

    /// Every tensor's name and shape.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        match self {
            TensorFile::Safetensors(weights) => weights.tensors().collect(),
            TensorFile::StateDict(dict, _) => dict
                .tensors()
                .iter()
                .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
                .collect(),
        }
    }

    fn read_float32(&mut self, place: &Place) -> Result<Vec<f32>> {
        match self {
            TensorFile::Safetensors(weights) => weights.read_float32(&place.name),
            TensorFile::StateDict(dict, _) => dict.read_float32(place.index),
        }
    }
}

/// Where one tensor is.
struct Place {
    file: usize,
    /// Its place among that file's tensors.
    index: usize,
    name: String,
    shape: Vec<usize>,
}

/// The tensors of all files of a checkpoint.
pub struct Checkpoint<'a> {
    files: Vec<TensorFile<'a>>,
    /// By the name in `BertForSequenceClassification`.
    places: HashMap<String, Place>,
    ignored: Vec<String>,
}

/// The name in `BertForSequenceClassification` of a tensor of BertModel, BertForPreTraining, BertForMaskedLM or of it;
/// `None` for what that class doesn't have.
fn canonical(name: &str) -> Option<String> {
    let name = name
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias");
    if is_buffer(&name) {
        return None;
    }
    let bare = ["embeddings.", "encoder.", "pooler."];
    if bare.iter().any(|part| name.starts_with(part)) {
        return Some(format!("bert.{name}"));
    }
    let known = name.starts_with("bert.") || name.starts_with("classifier.");
    known.then_some(name)
}

/// Whether it is an int64 buffer of old files: numbers that follow from the model's shape.
fn is_buffer(name: &str) -> bool {
    name.ends_with("embeddings.position_ids") || name.ends_with("embeddings.token_type_ids")
}

/// Whether the name says that the tensor is an encoder's.
fn is_of_an_encoder(name: &str) -> bool {
    let parts = ["encoder.", "embeddings.", ".layer."];
    !name.starts_with("cls.") && parts.iter().any(|part| name.contains(part))
}

impl<'a> Checkpoint<'a> {
    /// Sorts the tensors of all files by their names.
    pub fn new(files: Vec<TensorFile<'a>>) -> Result<Checkpoint<'a>> {
        let mut places = HashMap::new();
        let mut ignored = Vec::new();
        for (file, tensors) in files.iter().enumerate() {
            for (index, (name, shape)) in tensors.tensors().into_iter().enumerate() {
                let Some(canonical) = canonical(&name) else {
                    ignored.push(name);
                    continue;
                };
                let place = Place {
                    file,
                    index,
                    name: name.clone(),
                    shape,
                };
                if let Some(other) = places.insert(canonical, place) {
                    return Err(Error::Format(format!(
                        "{} holds one parameter twice, as '{}' and as '{name}'.",
                        tensors.name(),
                        other.name
                    )));
                }
            }
        }
        Ok(Checkpoint {
            files,
            places,
            ignored,
        })
    }

    /// The number of rows of the classifier, where there is one.
    pub fn classifier_rows(&self) -> Option<usize> {
        self.places.get("classifier.weight")?.shape.first().copied()
    }

    /// The name of the first file, for messages.
    pub fn name(&self) -> String {
        self.files.first().map(TensorFile::name).unwrap_or_default()
    }

    /// Refuses tensors of an encoder that `model` has no place for; the others aren't used.
    fn ignore_the_others(&mut self, model: &Model) -> Result<()> {
        let left = self.places.drain().map(|(_, place)| place.name);
        self.ignored.extend(left);
        self.ignored.sort();
        let Some(name) =
            (self.ignored.iter()).find(|name| !is_buffer(name) && is_of_an_encoder(name))
        else {
            return Ok(());
        };
        let layers = model.config.num_hidden_layers;
        let layer = name.split("encoder.layer.").nth(1).and_then(|rest| {
            let number: usize = rest.split('.').next()?.parse().ok()?;
            (number >= layers).then_some(number)
        });
        let why = match layer {
            Some(number) => format!(
                "which is of layer {number}, but config.json has num_hidden_layers {layers}: layers 0 to {}. The two \
                 don't belong together",
                layers - 1
            ),
            None => "which a BERT of this config.json doesn't have: with part of the weights left out the model would \
                     be another"
                .into(),
        };
        Err(Error::Format(format!(
            "{} holds the parameter '{name}', {why}.",
            self.name()
        )))
    }

    /// The error of a parameter that isn't there, with the one that may be it under another name.
    fn lacks(&self, spec: &ParameterSpec) -> Error {
        let bare = spec.name.trim_start_matches("bert.");
        let other = self.ignored.iter().find(|name| name.ends_with(bare));
        let hint = other.map_or(String::new(), |other| {
            let prefix = other.strip_suffix(bare).unwrap_or_default();
            format!(
                " It holds '{other}': save the weights with 'bert.' in place of '{prefix}' before the names."
            )
        });
        Error::Format(format!(
            "{} lacks the parameter '{}', which config.json asks for.{hint}",
            self.name(),
            spec.name
        ))
    }

    /// The values of an int8 model's parameters, as a save of it wrote them: all are there, and nothing else.
    pub fn int8_parameters(mut self, model: &Model, head: &Head) -> Result<(Parameters, Origins)> {
        if !model.device.is_cpu() {
            return Err(Error::Unsupported(
                "This model is int8, which is computed on the CPU; load it there, or take the model that it was quantized \
                 from."
                    .into(),
            ));
        }
        let Some(TensorFile::Safetensors(weights)) = self.files.first_mut() else {
            return Err(Error::Format(
                "The weights of an int8 model are in model.safetensors; this directory has others."
                    .into(),
            ));
        };
        let mut read = |(index, spec): (usize, &ParameterSpec)| {
            self.places.remove(&spec.name);
            if !is_int8(&model.table, index) {
                let mut values = weights.read_shaped(&spec.name, &spec.shape)?;
                reorder(&mut values, spec, head);
                return Ok(QuantizedValues::Float32(Arc::new(values)));
            }
            let scale_name = format!("{}{SCALE_SUFFIX}", spec.name);
            self.places.remove(&scale_name);
            let numbers = weights.read_int8(&spec.name, &spec.shape)?;
            let scales = weights.read_shaped(&scale_name, &spec.shape[..1])?;
            if let Some(scale) = scales.iter().find(|&&scale| scale <= 0.0) {
                return Err(Error::Format(format!(
                    "In {} the tensor '{scale_name}' holds {scale}; scales are above 0.",
                    weights.name()
                )));
            }
            Ok(QuantizedValues::Int8 {
                numbers: Arc::new(numbers),
                scales: Arc::new(scales),
            })
        };
        let specs = model.table.specs.iter().enumerate();
        let values: Vec<QuantizedValues> = memory::collected(specs.map(&mut read))?;
        weights.finish()?;
        self.ignore_the_others(model)?;
        let origins = Origins {
            loaded: model.table.specs.iter().map(|s| s.name.clone()).collect(),
            initialised: Vec::new(),
            ignored: self.ignored,
        };
        Ok((Parameters::Int8(values.into()), origins))
    }

    /// The values of every parameter of `model`. A new classifier gets initial values from `seed`; so do a missing
    /// pooler and classifier, unless the checkpoint is said to be `complete`. Anything else must be there, in its
    /// shape, and no encoder may be larger than the model's. Beside the values one tensor at a time is in memory.
    pub fn parameters(
        mut self,
        model: &Model,
        head: &Head,
        complete: bool,
        seed: u64,
    ) -> Result<(Parameters, Origins)> {
        let mut origins = Origins::default();
        let mut values = Vec::with_capacity(model.table.specs.len());
        for (index, spec) in model.table.specs.iter().enumerate() {
            let is_classifier = spec.name.starts_with("classifier.");
            let is_new = is_classifier && *head == Head::New;
            let place = match self.places.remove(&spec.name) {
                Some(place) if is_new => {
                    self.ignored.push(place.name);
                    None
                }
                place => place,
            };
            match place {
                Some(place) => {
                    let mut read = self.read(spec, &place)?;
                    reorder(&mut read, spec, head);
                    values.push(read);
                    origins.loaded.push(spec.name.clone());
                }
                None if is_new
                    || (!complete && (is_classifier || spec.name.starts_with("bert.pooler."))) =>
                {
                    values.push(initial_values(&model.config, spec, index, seed)?);
                    origins.initialised.push(spec.name.clone());
                }
                None => return Err(self.lacks(spec)),
            }
        }
        for file in &mut self.files {
            if let TensorFile::Safetensors(weights) = file {
                weights.finish()?;
            }
        }
        self.ignore_the_others(model)?;
        origins.ignored = self.ignored;
        let parameters = Parameters::from_host(values, &model.table, &model.device)?;
        Ok((parameters, origins))
    }

    fn read(&mut self, spec: &ParameterSpec, place: &Place) -> Result<Vec<f32>> {
        let file = &mut self.files[place.file];
        if place.shape != spec.shape {
            return Err(Error::Format(format!(
                "In {} the parameter '{}' has the shape {:?}; config.json asks for {:?}.",
                file.name(),
                place.name,
                place.shape,
                spec.shape
            )));
        }
        let numbers = file.read_float32(place)?;
        check_finite(&numbers, &file.name(), &place.name)?;
        Ok(numbers)
    }
}

/// Puts the rows of a classifier's parameter into the order of the model's labels.
fn reorder(values: &mut Vec<f32>, spec: &ParameterSpec, head: &Head) {
    if let Head::Reordered(rows) = head
        && spec.name.starts_with("classifier.")
    {
        let width: usize = spec.shape[1..].iter().product();
        let row = |&row: &usize| {
            values
                .get(row * width..(row + 1) * width)
                .unwrap_or_default()
        };
        *values = rows.iter().flat_map(row).copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_published_kind_are_known() {
        let known = |name: &str, want: &str| assert_eq!(canonical(name).as_deref(), Some(want));
        known(
            "embeddings.LayerNorm.gamma",
            "bert.embeddings.LayerNorm.weight",
        );
        known(
            "bert.encoder.layer.0.output.LayerNorm.beta",
            "bert.encoder.layer.0.output.LayerNorm.bias",
        );
        known("pooler.dense.bias", "bert.pooler.dense.bias");
        known("classifier.weight", "classifier.weight");
        for ignored in [
            "cls.predictions.bias",
            "bert.embeddings.position_ids",
            "embeddings.position_ids",
            "bert.embeddings.token_type_ids",
        ] {
            assert_eq!(canonical(ignored), None);
        }
    }

    #[test]
    fn parts_of_an_encoder_are_known_by_their_names() {
        for (name, is_part) in [
            ("bert.encoder.layer.7.output.dense.weight", true),
            ("module.bert.embeddings.LayerNorm.bias", true),
            ("bert.embeddings.rotary.weight", true),
            ("teacher.layer.3.attention.weight", true),
            ("cls.predictions.decoder.weight", false),
            ("score.weight", false),
            ("classifier.out_proj.weight", false),
        ] {
            assert_eq!(is_of_an_encoder(name), is_part, "{name}");
        }
    }
}
