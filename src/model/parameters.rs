//! Which parameters a model has: their names, shapes and order, and one whole set of their values.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::Tensor;
use once_cell::sync::OnceCell;

use super::config::{BertConfig, Pooling};
use super::lora::{LoraConfig, Projection};
use super::prepared::{Prepared, Source};
use super::quantized::QuantizedValues;
use super::{InferencePrecision, Model};
use crate::cuda::CudaValues;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::memory;
use crate::ops::{Precision, isa};
use crate::random::{Site, Stream};

/// What a parameter is, which decides its initial value and whether weight decay applies to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// An embedding table; the row of the padding token, if this table has one, starts at zero and gets no gradient.
    Embedding {
        /// That row.
        padding_row: Option<u32>,
    },
    /// A linear layer's matrix, [outputs, inputs].
    Weight,
    /// A linear layer's bias.
    Bias,
    /// A layer norm's weight.
    NormWeight,
    /// A layer norm's bias.
    NormBias,
    /// An adapter's A, [rank, inputs].
    LoraDown,
    /// An adapter's B, [outputs, rank].
    LoraUp,
}

impl ParameterKind {
    /// Weight decay spares biases and layer norms, as in transformers' `Trainer`.
    pub fn has_weight_decay(self) -> bool {
        matches!(
            self,
            ParameterKind::Embedding { .. }
                | ParameterKind::Weight
                | ParameterKind::LoraDown
                | ParameterKind::LoraUp
        )
    }
}

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterSpec {
    /// The name in `BertForSequenceClassification`'s state dict.
    pub name: String,
    /// The shape there.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: ParameterKind,
}

impl ParameterSpec {
    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: every size is at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a linear layer's parameters stand in the table.
#[derive(Debug, Clone, Copy)]
pub struct LinearIndex {
    /// [outputs, inputs].
    pub weight: usize,
    /// [outputs].
    pub bias: usize,
}

/// Where a layer norm's parameters stand in the table.
#[derive(Debug, Clone, Copy)]
pub struct NormIndex {
    /// [hidden_size].
    pub weight: usize,
    /// [hidden_size].
    pub bias: usize,
}

/// Where the embeddings' parameters stand in the table.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingsIndex {
    /// [vocab_size, hidden_size].
    pub word: usize,
    /// [max_position_embeddings, hidden_size].
    pub position: usize,
    /// [type_vocab_size, hidden_size].
    pub token_type: usize,
    /// The norm after their sum.
    pub norm: NormIndex,
}

/// Where one block's parameters stand in the table.
#[derive(Debug, Clone, Copy)]
pub struct LayerIndex {
    /// `attention.self.query`.
    pub query: LinearIndex,
    /// `attention.self.key`.
    pub key: LinearIndex,
    /// `attention.self.value`.
    pub value: LinearIndex,
    /// `attention.output.dense`.
    pub attention_output: LinearIndex,
    /// `attention.output.LayerNorm`.
    pub attention_norm: NormIndex,
    /// `intermediate.dense`.
    pub intermediate: LinearIndex,
    /// `output.dense`.
    pub output: LinearIndex,
    /// `output.LayerNorm`.
    pub output_norm: NormIndex,
}

/// Where an adapter's parameters stand in the table.
#[derive(Debug, Clone, Copy)]
pub struct AdapterIndex {
    /// A, [rank, inputs].
    pub down: usize,
    /// B, [outputs, rank].
    pub up: usize,
}

/// All parameters of a model in their fixed order, and where each part's stand.
#[derive(Debug, Clone)]
pub struct ParameterTable {
    /// The parameters, in order.
    pub specs: Vec<ParameterSpec>,
    /// The embeddings'.
    pub embeddings: EmbeddingsIndex,
    /// Each block's.
    pub layers: Vec<LayerIndex>,
    /// The norm after the last block, where the model has one.
    pub final_norm: Option<NormIndex>,
    /// The pooler's, where the model has one.
    pub pooler: Option<LinearIndex>,
    /// The classifier's.
    pub classifier: LinearIndex,
    /// The adapters that stand behind all others, where the model has some.
    pub lora: Option<LoraConfig>,
}

/// The part of the model that a parameter belongs to, from the bottom up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The embeddings and their norm.
    Embeddings,
    /// A block, counted from 0.
    Layer(usize),
    /// The norm after the last block.
    FinalNorm,
    /// The pooler and the classifier.
    Head,
}

/// What training leaves as it is: from the bottom up, since a block's gradient needs all that is above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frozen {
    /// The embeddings; with any block, they too.
    pub embeddings: bool,
    /// The first so many blocks; all of them, and the norm after them, where there are no more.
    pub layers: usize,
}

impl Frozen {
    /// Whether `part` of a model of `num_hidden_layers` blocks stays as it is.
    pub fn contains(self, part: Part, num_hidden_layers: usize) -> bool {
        match part {
            Part::Embeddings => self.embeddings || self.layers > 0,
            Part::Layer(number) => number < self.layers,
            Part::FinalNorm => self.layers >= num_hidden_layers,
            Part::Head => false,
        }
    }
}

/// Appends parameters and remembers where they went.
#[derive(Default)]
struct Builder {
    specs: Vec<ParameterSpec>,
}

impl Builder {
    fn push(&mut self, name: String, shape: Vec<usize>, kind: ParameterKind) -> usize {
        self.specs.push(ParameterSpec { name, shape, kind });
        self.specs.len() - 1
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> LinearIndex {
        LinearIndex {
            weight: self.push(
                format!("{name}.weight"),
                vec![outputs, inputs],
                ParameterKind::Weight,
            ),
            bias: self.push(format!("{name}.bias"), vec![outputs], ParameterKind::Bias),
        }
    }

    fn norm(&mut self, name: &str, size: usize) -> NormIndex {
        NormIndex {
            weight: self.push(
                format!("{name}.weight"),
                vec![size],
                ParameterKind::NormWeight,
            ),
            bias: self.push(format!("{name}.bias"), vec![size], ParameterKind::NormBias),
        }
    }

    fn embedding(&mut self, name: &str, rows: usize, size: usize, padding: Option<u32>) -> usize {
        self.push(
            format!("{name}.weight"),
            vec![rows, size],
            ParameterKind::Embedding {
                padding_row: padding,
            },
        )
    }
}

impl ParameterTable {
    /// The parameters of a model of this shape, in the order of transformers' `named_parameters()`.
    pub fn new(config: &BertConfig) -> ParameterTable {
        let mut b = Builder::default();
        let hidden = config.hidden_size;
        let prefix = "bert.embeddings";
        let embeddings = EmbeddingsIndex {
            word: b.embedding(
                &format!("{prefix}.word_embeddings"),
                config.vocab_size,
                hidden,
                Some(config.pad_token_id),
            ),
            position: b.embedding(
                &format!("{prefix}.position_embeddings"),
                config.max_position_embeddings,
                hidden,
                None,
            ),
            token_type: b.embedding(
                &format!("{prefix}.token_type_embeddings"),
                config.type_vocab_size,
                hidden,
                None,
            ),
            norm: b.norm(&format!("{prefix}.LayerNorm"), hidden),
        };
        let layers = (0..config.num_hidden_layers)
            .map(|n| {
                let p = format!("bert.encoder.layer.{n}");
                LayerIndex {
                    query: b.linear(&format!("{p}.attention.self.query"), hidden, hidden),
                    key: b.linear(&format!("{p}.attention.self.key"), hidden, hidden),
                    value: b.linear(&format!("{p}.attention.self.value"), hidden, hidden),
                    attention_output: b.linear(
                        &format!("{p}.attention.output.dense"),
                        hidden,
                        hidden,
                    ),
                    attention_norm: b.norm(&format!("{p}.attention.output.LayerNorm"), hidden),
                    intermediate: b.linear(
                        &format!("{p}.intermediate.dense"),
                        hidden,
                        config.intermediate_size,
                    ),
                    output: b.linear(
                        &format!("{p}.output.dense"),
                        config.intermediate_size,
                        hidden,
                    ),
                    output_norm: b.norm(&format!("{p}.output.LayerNorm"), hidden),
                }
            })
            .collect();
        let final_norm = config
            .final_layer_norm
            .then(|| b.norm("bert.encoder.LayerNorm", hidden));
        let pooler = (config.pooling == Pooling::Pooler)
            .then(|| b.linear("bert.pooler.dense", hidden, hidden));
        let classifier = b.linear("classifier", hidden, config.num_labels);
        ParameterTable {
            specs: b.specs,
            embeddings,
            layers,
            final_norm,
            pooler,
            classifier,
            lora: None,
        }
    }

    /// Those of a model of this shape with adapters: theirs stand at the end, block by block.
    pub fn with_lora(config: &BertConfig, lora: LoraConfig) -> ParameterTable {
        let mut table = ParameterTable::new(config);
        let mut b = Builder {
            specs: std::mem::take(&mut table.specs),
        };
        for number in 0..config.num_hidden_layers {
            for projection in lora.targets.iter() {
                let (inputs, outputs) = projection.sizes(config);
                let name = format!("bert.encoder.layer.{number}.{}", projection.module());
                b.push(
                    format!("{name}.lora_A.weight"),
                    vec![lora.rank, inputs],
                    ParameterKind::LoraDown,
                );
                b.push(
                    format!("{name}.lora_B.weight"),
                    vec![outputs, lora.rank],
                    ParameterKind::LoraUp,
                );
            }
        }
        table.specs = b.specs;
        table.lora = Some(lora);
        table
    }

    /// Where the adapters begin.
    fn first_adapter(&self) -> usize {
        self.classifier.bias + 1
    }

    /// The model's own parameters, without the adapters'.
    pub fn base_specs(&self) -> &[ParameterSpec] {
        &self.specs[..self.first_adapter()]
    }

    /// The adapter of a projection of block `number`, where it has one, and what all adapters have in common.
    pub fn adapter(
        &self,
        number: usize,
        projection: Projection,
    ) -> Option<(AdapterIndex, &LoraConfig)> {
        let lora = self.lora.as_ref()?;
        let place = lora.targets.iter().position(|other| other == projection)?;
        let down = self.first_adapter() + 2 * (number * lora.targets.len() + place);
        Some((AdapterIndex { down, up: down + 1 }, lora))
    }

    /// The part that parameter number `index` belongs to.
    pub fn part(&self, index: usize) -> Part {
        // The parts stand in the table one after another.
        let layers = self
            .layers
            .iter()
            .position(|layer| index <= layer.output_norm.bias);
        match layers {
            _ if index <= self.embeddings.norm.bias => Part::Embeddings,
            Some(number) => Part::Layer(number),
            None if self.final_norm.is_some_and(|norm| index <= norm.bias) => Part::FinalNorm,
            None if index >= self.first_adapter() => {
                let per_layer = self.lora.map_or(1, |lora| 2 * lora.targets.len());
                Part::Layer((index - self.first_adapter()) / per_layer)
            }
            None => Part::Head,
        }
    }

    /// Whether parameter number `index` stays as it is. With adapters that is everything but them and the head.
    pub fn is_frozen(&self, index: usize, frozen: Frozen) -> bool {
        let part = self.part(index);
        if frozen.contains(part, self.layers.len()) {
            return true;
        }
        let Some(lora) = &self.lora else {
            return false;
        };
        let is_pooler = self
            .pooler
            .is_some_and(|pooler| index == pooler.weight || index == pooler.bias);
        match part {
            Part::Head => is_pooler && !lora.train_pooler,
            _ => index < self.first_adapter(),
        }
    }

    /// Whether all shapes are those of a model of this shape, by which its passes go.
    pub(crate) fn is_of(&self, config: &BertConfig) -> bool {
        let hidden = config.hidden_size;
        let has = |index: usize, shape: &[usize]| {
            self.specs
                .get(index)
                .is_some_and(|spec| spec.shape == shape)
        };
        let linear = |index: LinearIndex, inputs: usize, outputs: usize| {
            has(index.weight, &[outputs, inputs]) && has(index.bias, &[outputs])
        };
        let norm = |index: NormIndex| has(index.weight, &[hidden]) && has(index.bias, &[hidden]);
        let projection = |number: usize, layer: &LayerIndex, projection: Projection| {
            let (inputs, outputs) = projection.sizes(config);
            let adapter = self.adapter(number, projection);
            linear(layer.projection(projection), inputs, outputs)
                && adapter.is_none_or(|(index, lora)| {
                    has(index.down, &[lora.rank, inputs]) && has(index.up, &[outputs, lora.rank])
                })
        };
        let embeddings = self.embeddings;
        has(embeddings.word, &[config.vocab_size, hidden])
            && has(
                embeddings.position,
                &[config.max_position_embeddings, hidden],
            )
            && has(embeddings.token_type, &[config.type_vocab_size, hidden])
            && norm(embeddings.norm)
            && self.layers.len() == config.num_hidden_layers
            && self.layers.iter().enumerate().all(|(number, layer)| {
                Projection::ALL
                    .into_iter()
                    .all(|which| projection(number, layer, which))
                    && norm(layer.attention_norm)
                    && norm(layer.output_norm)
            })
            && self.final_norm.is_none_or(norm)
            && self
                .pooler
                .is_none_or(|index| linear(index, hidden, hidden))
            && linear(self.classifier, hidden, config.num_labels)
    }

    /// Whether there is a number for each parameter, that of its numbers or 0.
    pub(crate) fn has_lengths(&self, lengths: &[usize]) -> bool {
        lengths.len() == self.specs.len()
            && lengths
                .iter()
                .zip(&self.specs)
                .all(|(&length, spec)| length == 0 || length == spec.len())
    }

    /// Numbers in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.specs.iter().map(ParameterSpec::len).sum()
    }

    /// Numbers in the adapters.
    pub fn adapter_parameter_count(&self) -> usize {
        self.specs[self.first_adapter()..]
            .iter()
            .map(ParameterSpec::len)
            .sum()
    }
}

/// One parameter's numbers, row by row. Sets of values share what is the same in them.
pub type Values = Arc<Vec<f32>>;

/// Values in host memory, in the table's order, and what inference on the CPU makes of them at the first prediction in
/// a precision.
#[derive(Debug)]
pub struct Prepares<T> {
    values: Vec<T>,
    prepared: PreparedForms,
}

/// What inference reads of a set, for each precision that was asked for.
#[derive(Debug, Default)]
struct PreparedForms {
    /// As the values are: float32, or int8.
    own: OnceCell<Box<Prepared>>,
    bfloat16: OnceCell<Box<Prepared>>,
}

impl<T> Prepares<T> {
    /// The values alone.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    fn form(&self, form: Form) -> &OnceCell<Box<Prepared>> {
        match form {
            Form::Own => &self.prepared.own,
            Form::Bfloat16 => &self.prepared.bfloat16,
        }
    }

    /// What inference reads; `make` makes it where nobody has yet. It must not wait for other threads of the pool, which
    /// may wait for it.
    fn prepared(&self, form: Form, make: impl FnOnce() -> Result<Prepared>) -> Result<&Prepared> {
        let prepared = self
            .form(form)
            .get_or_try_init(|| Ok::<_, Error>(Box::new(make()?)))?;
        Ok(prepared)
    }
}

/// In which form inference on the CPU reads a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As the values are.
    Own,
    /// float32 values rounded.
    Bfloat16,
}

impl<T> From<Vec<T>> for Prepares<T> {
    fn from(values: Vec<T>) -> Prepares<T> {
        Prepares {
            values,
            prepared: PreparedForms::default(),
        }
    }
}

impl<T> FromIterator<T> for Prepares<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Prepares<T> {
        values.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T> std::ops::Deref for Prepares<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.values
    }
}

impl<T: Clone> Clone for Prepares<T> {
    fn clone(&self) -> Prepares<T> {
        self.values.clone().into()
    }
}

/// One whole set of values, in the table's order. It never changes; training makes the next set, which shares what is
/// frozen with this one.
#[derive(Debug, Clone)]
pub enum Parameters {
    /// float32 in host memory: what the CPU computes with.
    Host(Prepares<Values>),
    /// float32 in a GPU's memory.
    Cuda(CudaValues),
    /// An int8 model's, in host memory: for inference on the CPU alone.
    Int8(Prepares<QuantizedValues>),
}

/// What training of an int8 model answers, and all else that changes its values.
pub fn refuse_int8(what: &str) -> Error {
    Error::Unsupported(format!(
        "This model is int8, which is for prediction alone; {what} needs float32. Take the model that it was quantized \
         from."
    ))
}

impl Parameters {
    /// Values in the table's order, brought to where they are computed with.
    pub fn from_host(
        values: Vec<Vec<f32>>,
        table: &ParameterTable,
        device: &Device,
    ) -> Result<Parameters> {
        debug_assert_eq!(values.len(), table.specs.len());
        match device {
            Device::Cpu => Ok(Parameters::Host(values.into_iter().map(Arc::new).collect())),
            Device::Cuda(gpu) => Ok(Parameters::Cuda(CudaValues::upload(gpu, &values)?)),
        }
    }

    /// The next set: the parameters that have numbers in `updated` get those, the others stay this set's and are shared
    /// with it.
    pub fn with_updated(
        &self,
        updated: Vec<Vec<f32>>,
        table: &ParameterTable,
    ) -> Result<Parameters> {
        debug_assert_eq!(updated.len(), table.specs.len());
        match self {
            Parameters::Host(values) => Ok(Parameters::Host(
                values
                    .iter()
                    .zip(updated)
                    .map(|(old, new)| {
                        if new.is_empty() {
                            old.clone()
                        } else {
                            Arc::new(new)
                        }
                    })
                    .collect(),
            )),
            Parameters::Int8(_) => Err(refuse_int8("training")),
            Parameters::Cuda(values) => Ok(Parameters::Cuda(values.with_updated(&updated)?)),
        }
    }

    /// BERT's initialisation: normal(0, initializer_range) weights and embeddings, zero biases, layer norms of one and
    /// zero, the padding row zero. The same seed gives the same values on every device and number of threads.
    pub fn initialise(
        config: &BertConfig,
        table: &ParameterTable,
        seed: u64,
        device: &Device,
    ) -> Result<Parameters> {
        let values = table
            .specs
            .iter()
            .enumerate()
            .map(|(index, spec)| initial_values(config, spec, index, seed))
            .collect::<Result<_>>()?;
        Parameters::from_host(values, table, device)
    }

    /// Whether these are an int8 model's.
    pub fn is_int8(&self) -> bool {
        matches!(self, Parameters::Int8(_))
    }

    /// Whether a prediction in a precision finds them [`prepared`](Parameters::prepared).
    pub fn is_prepared(&self, precision: InferencePrecision) -> bool {
        let form = self.form(precision);
        match self {
            Parameters::Host(values) => values.form(form).get().is_some(),
            Parameters::Int8(values) => values.form(form).get().is_some(),
            Parameters::Cuda(_) => true,
        }
    }

    /// The form that the CPU computes a precision with: float32 values are rounded to bfloat16, but not to float16,
    /// which no processor has fast products of; int8 stays what it is.
    fn form(&self, precision: InferencePrecision) -> Form {
        match (self, precision) {
            (Parameters::Host(_), InferencePrecision::BFloat16) => Form::Bfloat16,
            _ => Form::Own,
        }
    }

    /// Chooses the instructions that predictions of these values are computed with. That may ask the operating system
    /// for them, and tell the log that it refuses, so it goes before work that is given to other threads or done with a
    /// lock held.
    pub fn choose_instructions(&self, precision: InferencePrecision) {
        match (self, self.form(precision)) {
            (Parameters::Int8(_), _) => {
                isa::has_amx_int8();
            }
            (_, Form::Bfloat16) => {
                Precision::BFloat16.instructions();
            }
            _ => {}
        }
    }

    /// The form that inference on the CPU reads; made at the first call, by [`threads::run`](crate::threads::run) or
    /// [`threads::run_here`](crate::threads::run_here).
    pub(super) fn prepared(
        &self,
        model: &Model,
        precision: InferencePrecision,
    ) -> Result<&Prepared> {
        let (config, table) = (&model.config, &model.table);
        let form = self.form(precision);
        match self {
            Parameters::Int8(values) => {
                values.prepared(form, || Prepared::new(config, table, Source::Int8(values)))
            }
            Parameters::Host(values) => {
                let mut merged = None;
                if table.lora.is_some() && values.form(form).get().is_none() {
                    // On the pool, so before whoever else prepares these values is waited for.
                    merged = Some(super::lora::merge(table, config, values));
                }
                let source = merged.as_deref().unwrap_or(values);
                let source = match form {
                    Form::Own => Source::Float32(source),
                    Form::Bfloat16 => Source::Bfloat16(source),
                };
                values.prepared(form, || Prepared::new(config, table, source))
            }
            Parameters::Cuda(_) => Err(Error::Internal(
                "Values on a GPU were asked for in the CPU's form; please report this.".into(),
            )),
        }
    }

    /// The values in host memory, float32: as they are, or copied from the GPU, or those that an int8 model computes
    /// with.
    pub fn host(&self) -> Result<Cow<'_, [Values]>> {
        match self {
            Parameters::Host(values) => Ok(Cow::Borrowed(values)),
            Parameters::Int8(values) => {
                let values = values.iter().map(QuantizedValues::float32);
                Ok(Cow::Owned(memory::collected(values)?))
            }
            Parameters::Cuda(values) => Ok(Cow::Owned(values.host()?)),
        }
    }

    /// The values where `device` computes; float32 in host memory is shared.
    pub fn on(&self, device: &Device) -> Result<Parameters> {
        let values = self.host()?.into_owned();
        Ok(match device {
            Device::Cpu => Parameters::Host(values.into()),
            Device::Cuda(gpu) => Parameters::Cuda(CudaValues::upload(gpu, &values)?),
        })
    }

    /// A copy of the values as candle's tensors on the CPU, for the plain definition.
    pub fn tensors(&self, table: &ParameterTable) -> Result<Vec<Tensor>> {
        self.host()?
            .iter()
            .zip(&table.specs)
            .map(|(values, spec)| {
                let shape = spec.shape.as_slice();
                Ok(Tensor::from_slice(
                    values,
                    shape,
                    &candle_core::Device::Cpu,
                )?)
            })
            .collect()
    }
}

/// The initial values of parameter number `index`.
pub fn initial_values(
    config: &BertConfig,
    spec: &ParameterSpec,
    index: usize,
    seed: u64,
) -> Result<Vec<f32>> {
    let mut values = memory::filled(0f32, spec.len())?;
    match spec.kind {
        ParameterKind::Embedding { .. } | ParameterKind::Weight => {
            Stream::new(seed, Site::Parameter(index as u32), 0)
                .fill_normal(config.initializer_range, &mut values);
        }
        ParameterKind::NormWeight => values.fill(1.0),
        // As PEFT: Kaiming's uniform with a = √5.
        ParameterKind::LoraDown => {
            let bound = 1.0 / (spec.shape[1] as f64).sqrt();
            Stream::new(seed, Site::Parameter(index as u32), 0).fill_uniform(bound, &mut values);
        }
        ParameterKind::Bias | ParameterKind::NormBias | ParameterKind::LoraUp => {}
    }
    if let ParameterKind::Embedding {
        padding_row: Some(row),
    } = spec.kind
    {
        let width = spec.shape[1];
        let start = row as usize * width;
        values[start..start + width].fill(0.0);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_count_and_with_transformers_names() {
        for config in [
            BertConfig::default(),
            super::super::config::Preset::Compact.config(),
        ] {
            let table = ParameterTable::new(&config);
            assert_eq!(Some(table.parameter_count()), config.parameter_count());
        }
        let table = ParameterTable::new(&BertConfig::default());
        assert_eq!(table.specs.len(), 5 + 16 * 12 + 2 + 2);
        assert_eq!(
            table.specs[table.layers[3].output_norm.weight].name,
            "bert.encoder.layer.3.output.LayerNorm.weight"
        );
        assert_eq!(table.specs[table.classifier.bias].name, "classifier.bias");
        assert_eq!(table.part(table.embeddings.norm.bias), Part::Embeddings);
        assert_eq!(table.part(table.layers[0].query.weight), Part::Layer(0));
        assert_eq!(
            table.part(table.layers[11].output_norm.bias),
            Part::Layer(11)
        );
        assert_eq!(table.part(table.classifier.weight), Part::Head);
        let config = BertConfig::default();
        let adapted = ParameterTable::with_lora(&config, LoraConfig::default());
        assert_eq!(adapted.base_specs(), table.specs);
        assert!(table.is_of(&config) && adapted.is_of(&config));
        let change: [fn(&mut BertConfig); 8] = [
            |config| config.vocab_size += 1,
            |config| config.max_position_embeddings += 1,
            |config| config.type_vocab_size += 1,
            |config| config.num_hidden_layers += 1,
            |config| config.num_hidden_layers -= 1,
            |config| config.intermediate_size += 1,
            |config| config.num_labels += 1,
            |config| config.hidden_size *= 2,
        ];
        for change in change {
            let mut other = config.clone();
            change(&mut other);
            assert!(!table.is_of(&other), "{other:?}");
        }
        let mut short = adapted.clone();
        short.specs.pop();
        assert!(!short.is_of(&config));
        let mut wide = adapted.clone();
        wide.lora = Some(LoraConfig {
            rank: LoraConfig::default().rank + 1,
            ..LoraConfig::default()
        });
        assert!(!wide.is_of(&config));
        let (adapter, lora) = adapted.adapter(7, Projection::Value).unwrap();
        assert!(adapted.adapter(7, Projection::Key).is_none());
        assert_eq!(
            adapted.specs[adapter.up].name,
            "bert.encoder.layer.7.attention.self.value.lora_B.weight"
        );
        assert_eq!(adapted.specs[adapter.up].shape, [768, lora.rank]);
        assert_eq!(adapted.part(adapter.down), Part::Layer(7));
        assert_eq!(
            adapted.adapter_parameter_count(),
            12 * 2 * lora.rank * (768 + 768)
        );
        let compact = ParameterTable::new(&super::super::config::Preset::Compact.config());
        let norm = compact.final_norm.unwrap();
        assert_eq!(compact.part(norm.weight), Part::FinalNorm);
        let all = Frozen {
            embeddings: false,
            layers: 2,
        };
        let trained: Vec<&str> = (0..compact.specs.len())
            .filter(|&index| !compact.is_frozen(index, all))
            .map(|index| compact.specs[index].name.as_str())
            .collect();
        assert_eq!(trained, ["classifier.weight", "classifier.bias"]);
    }

    #[test]
    fn the_padding_row_starts_at_zero() {
        let config = BertConfig {
            vocab_size: 6,
            hidden_size: 4,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 8,
            pad_token_id: 2,
            ..BertConfig::default()
        };
        let table = ParameterTable::new(&config);
        let parameters = Parameters::initialise(&config, &table, 1, &Device::Cpu).unwrap();
        let values = parameters.host().unwrap();
        let words = &values[table.embeddings.word];
        assert_eq!(words[2 * 4..3 * 4], [0.0; 4]);
        assert!(words[4..2 * 4].iter().all(|&v| v != 0.0));
    }
}
