//! LoRA (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021), as PEFT computes it: a chosen projection
//! becomes y = W x + b + scale · B A dropout(x), with A of [rank, inputs] and B of [outputs, rank]. W and b stay as they
//! are; A and B are trained, and what they add can be merged into W.

use std::sync::Arc;

use candle_core::Tensor;

use super::config::BertConfig;
use super::parameters::{
    AdapterIndex, LayerIndex, LinearIndex, ParameterTable, Parameters, Values, initial_values,
    refuse_int8,
};
use super::plain::Pass;
use crate::error::{Error, Result};
use crate::ops::{Accumulate, Precision};
use crate::setting::Setting;

/// A linear layer of a block that an adapter can stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// `attention.self.query`.
    Query,
    /// `attention.self.key`.
    Key,
    /// `attention.self.value`.
    Value,
    /// `attention.output.dense`.
    AttentionOutput,
    /// `intermediate.dense`.
    Intermediate,
    /// `output.dense`.
    Output,
}

impl Projection {
    /// All of them, in the order of the forward pass.
    pub const ALL: [Projection; 6] = [
        Projection::Query,
        Projection::Key,
        Projection::Value,
        Projection::AttentionOutput,
        Projection::Intermediate,
        Projection::Output,
    ];

    /// Its name inside a block of `BertModel`.
    pub fn module(self) -> &'static str {
        match self {
            Projection::Query => "attention.self.query",
            Projection::Key => "attention.self.key",
            Projection::Value => "attention.self.value",
            Projection::AttentionOutput => "attention.output.dense",
            Projection::Intermediate => "intermediate.dense",
            Projection::Output => "output.dense",
        }
    }

    /// (inputs, outputs).
    pub fn sizes(self, config: &BertConfig) -> (usize, usize) {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        match self {
            Projection::Intermediate => (hidden, inner),
            Projection::Output => (inner, hidden),
            _ => (hidden, hidden),
        }
    }
}

impl LayerIndex {
    /// Where the projection's own parameters stand.
    pub fn projection(&self, projection: Projection) -> LinearIndex {
        match projection {
            Projection::Query => self.query,
            Projection::Key => self.key,
            Projection::Value => self.value,
            Projection::AttentionOutput => self.attention_output,
            Projection::Intermediate => self.intermediate,
            Projection::Output => self.output,
        }
    }
}

/// A set of projections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Projections(u8);

impl Projections {
    /// Whether it is in the set.
    pub fn contains(self, projection: Projection) -> bool {
        self.0 & (1 << projection as u8) != 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in their order.
    pub fn iter(self) -> impl Iterator<Item = Projection> {
        Projection::ALL
            .into_iter()
            .filter(move |&projection| self.contains(projection))
    }
}

impl FromIterator<Projection> for Projections {
    fn from_iter<I: IntoIterator<Item = Projection>>(projections: I) -> Projections {
        Projections(
            projections
                .into_iter()
                .fold(0, |set, projection| set | 1 << projection as u8),
        )
    }
}

/// The adapters of a model: the same on every block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoraConfig {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// What B A is scaled with, times the rank.
    pub alpha: f64,
    /// Whether alpha is divided by the root of the rank instead (Kalajdzievski, "A Rank Stabilization Scaling Factor for
    /// Fine-Tuning with LoRA", 2023).
    pub rank_stabilized: bool,
    /// Dropout in training on what A reads.
    pub dropout: f64,
    /// Which projections get one.
    pub targets: Projections,
    /// Whether the pooler, where the model has one, is trained and saved beside the adapters, as the classifier always is.
    pub train_pooler: bool,
}

impl Default for LoraConfig {
    /// PEFT's rank and alpha, on query and value, as in the paper.
    fn default() -> LoraConfig {
        LoraConfig {
            rank: LORA_RANK.default,
            alpha: LORA_ALPHA.default,
            rank_stabilized: false,
            dropout: LORA_DROPOUT.default,
            targets: [Projection::Query, Projection::Value].into_iter().collect(),
            train_pooler: true,
        }
    }
}

/// Rows of A and columns of B; the limit is far above any that helps.
pub const LORA_RANK: Setting<usize> = Setting::new("rank", 8, 1, 4096);
/// What the scale is made of.
pub const LORA_ALPHA: Setting<f64> = Setting::new("alpha", 8.0, 1e-30, 1e6);
/// The dropout on what A reads.
pub const LORA_DROPOUT: Setting<f64> = Setting::new("dropout", 0.0, 0.0, 0.9);

impl LoraConfig {
    /// What B A is multiplied with.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha
            / if self.rank_stabilized {
                rank.sqrt()
            } else {
                rank
            }
    }

    /// Says which option can't be used for a model of this shape, and what would be right.
    pub fn validate(&self, config: &BertConfig) -> Result<()> {
        LORA_RANK.check(self.rank)?;
        LORA_ALPHA.check(self.alpha)?;
        LORA_DROPOUT.check(self.dropout)?;
        if self.targets.is_empty() {
            return Err(Error::InvalidArgument(
                "No LoRA target is set; choose at least one projection.".into(),
            )
            .of_argument("targets"));
        }
        // Sizes and rank are limited: nothing overflows.
        let per_layer: usize = self
            .targets
            .iter()
            .map(|projection| {
                let (inputs, outputs) = projection.sizes(config);
                (inputs + outputs) * self.rank
            })
            .sum();
        let numbers = per_layer * config.num_hidden_layers;
        let base = config.parameter_count().unwrap_or(usize::MAX);
        let bytes = base.saturating_add(numbers).saturating_mul(4);
        crate::memory::check(bytes as u128, |most| {
            format!(
                "The model with LoRA adapters of rank {} needs {bytes} bytes for its parameters; this process can have \
                 {most}. Choose a smaller rank or fewer targets.",
                self.rank
            )
        })
    }
}

/// The number of an adapter's dropout, far from those of [`dropout_site`](super::plain::dropout_site).
pub(crate) fn dropout_site(layer: usize, projection: Projection) -> u32 {
    (1 << 20) + 6 * layer as u32 + projection as u32
}

impl Pass<'_> {
    /// A projection of block `number` over states [batch, length, inputs], with its adapter where it has one.
    pub(super) fn projection(
        &self,
        number: usize,
        projection: Projection,
        layer: &LayerIndex,
        x: &Tensor,
    ) -> Result<Tensor> {
        let y = self.linear(layer.projection(projection), x)?;
        let Some((adapter, lora)) = self.table.adapter(number, projection) else {
            return Ok(y);
        };
        let site = dropout_site(number, projection);
        let dropped = self.dropout_states(site, lora.dropout, x.clone())?;
        let down = self.product(adapter.down, &dropped)?;
        let up = self.product(adapter.up, &down)?;
        Ok((y + (up * lora.scale())?)?)
    }
}

impl Parameters {
    /// This model's values with adapters of initial values behind them: A as PEFT draws it (uniform within
    /// 1 / √inputs), B zero, so that the model computes what it did. `table` is that of the model with adapters.
    pub fn with_adapters(
        &self,
        config: &BertConfig,
        table: &ParameterTable,
        seed: u64,
    ) -> Result<Parameters> {
        let first = table.base_specs().len();
        let adapters = table
            .specs
            .iter()
            .enumerate()
            .skip(first)
            .map(|(index, spec)| initial_values(config, spec, index, seed))
            .collect::<Result<_>>()?;
        self.with_adapter_values(adapters, table)
    }

    /// This model's values with the adapters' behind them. `table` is that of the model with adapters.
    pub fn with_adapter_values(
        &self,
        adapters: Vec<Vec<f32>>,
        table: &ParameterTable,
    ) -> Result<Parameters> {
        debug_assert_eq!(adapters.len() + table.base_specs().len(), table.specs.len());
        match self {
            Parameters::Host(values) => {
                let adapters = adapters.into_iter().map(Arc::new);
                Ok(Parameters::Host(
                    values.iter().cloned().chain(adapters).collect(),
                ))
            }
            Parameters::Cuda(values) => Ok(Parameters::Cuda(values.with_more(&adapters)?)),
            Parameters::Int8(_) => Err(refuse_int8("an adapter")),
        }
    }
}

/// The values of the model without adapters that computes the same: W + scale · B A. What has no adapter is shared.
pub fn merge(table: &ParameterTable, config: &BertConfig, values: &[Values]) -> Vec<Values> {
    let mut merged = values[..table.base_specs().len()].to_vec();
    for (number, layer) in table.layers.iter().enumerate() {
        for projection in Projection::ALL {
            let Some((AdapterIndex { down, up }, lora)) = table.adapter(number, projection) else {
                continue;
            };
            let scale = lora.scale() as f32;
            let scaled: Vec<f32> = values[up].iter().map(|value| value * scale).collect();
            let weight = &mut merged[layer.projection(projection).weight];
            Precision::Float32.matmul(
                Arc::make_mut(weight).as_mut_slice(),
                Accumulate::Add,
                &scaled,
                &values[down],
                projection.sizes(config).0,
                lora.rank,
            );
        }
    }
    merged
}
