//! The shape of a model: Hugging Face's `BertConfig`, and what the classifier reads.

use crate::error::{Error, Result};
use crate::problem::ProblemType;
use crate::setting::Setting;

/// The feed-forward block's activation, by transformers' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenAct {
    /// `gelu` and `gelu_python`: x Φ(x), with the exact error function. BERT's.
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh` and others that differ in rounding alone: the tanh approximation.
    GeluTanh,
    /// `relu`.
    Relu,
}

impl HiddenAct {
    /// By the name in `config.json`: those of transformers' `ACT2CLS` that compute one of these functions.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for all others, with those that are known.
    pub fn from_name(name: &str) -> Result<HiddenAct> {
        match name {
            "gelu" | "gelu_python" => Ok(HiddenAct::Gelu),
            // gelu_fast has the constant √(2/π) to ten digits.
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_accurate"
            | "gelu_fast" => Ok(HiddenAct::GeluTanh),
            "relu" => Ok(HiddenAct::Relu),
            other => Err(Error::Unsupported(format!(
                "The activation hidden_act '{other}' is not supported; supported are gelu, gelu_python, gelu_new, \
                 gelu_pytorch_tanh, gelu_python_tanh, gelu_accurate, gelu_fast and relu."
            ))),
        }
    }

    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            HiddenAct::Gelu => "gelu",
            HiddenAct::GeluTanh => "gelu_new",
            HiddenAct::Relu => "relu",
        }
    }
}

/// What the classifier reads from the encoder's last states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// A dense layer and tanh over the [CLS] state: BERT's own pooler.
    Pooler,
    /// The bare [CLS] state.
    Cls,
    /// The mean of the states of all tokens that aren't padding.
    Mean,
}

impl Pooling {
    /// By the name in `config.json`.
    pub fn from_name(name: &str) -> Result<Pooling> {
        match name {
            "pooler" => Ok(Pooling::Pooler),
            "cls" => Ok(Pooling::Cls),
            "mean" => Ok(Pooling::Mean),
            other => Err(Error::Unsupported(format!(
                "The pooling '{other}' is not known; known are pooler, cls and mean."
            ))),
        }
    }

    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Pooler => "pooler",
            Pooling::Cls => "cls",
            Pooling::Mean => "mean",
        }
    }
}

/// The sizes and constants of a model, by `BertConfig`'s names, and the two things that Hugging Face's class lacks:
/// `pooling` and `final_layer_norm`.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of every state.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of each block; must divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Its activation.
    pub hidden_act: HiddenAct,
    /// Dropout after the embeddings, the attention output and the feed-forward output.
    pub hidden_dropout_prob: f64,
    /// Dropout on the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Dropout on what the classifier reads; `None` takes `hidden_dropout_prob`.
    pub classifier_dropout: Option<f64>,
    /// Rows of the position embedding: the longest sequence in tokens.
    pub max_position_embeddings: usize,
    /// Rows of the token-type embedding.
    pub type_vocab_size: usize,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
    /// The padding token: its embedding starts at zero and gets no gradient.
    pub pad_token_id: u32,
    /// What the classifier reads.
    pub pooling: Pooling,
    /// One more layer norm after the last block.
    pub final_layer_norm: bool,
    /// Classes, labels or regression targets.
    pub num_labels: usize,
    /// What they are.
    pub problem_type: ProblemType,
}

impl Default for BertConfig {
    /// `BertConfig()`'s values: BERT-base, uncased, two labels.
    fn default() -> BertConfig {
        BertConfig {
            vocab_size: VOCAB_SIZE.default,
            hidden_size: HIDDEN_SIZE.default,
            num_hidden_layers: NUM_HIDDEN_LAYERS.default,
            num_attention_heads: NUM_ATTENTION_HEADS.default,
            intermediate_size: INTERMEDIATE_SIZE.default,
            hidden_act: HiddenAct::Gelu,
            hidden_dropout_prob: HIDDEN_DROPOUT_PROB.default,
            attention_probs_dropout_prob: ATTENTION_PROBS_DROPOUT_PROB.default,
            classifier_dropout: None,
            max_position_embeddings: MAX_POSITION_EMBEDDINGS.default,
            type_vocab_size: TYPE_VOCAB_SIZE.default,
            initializer_range: INITIALIZER_RANGE.default,
            layer_norm_eps: LAYER_NORM_EPS.default,
            pad_token_id: 0,
            pooling: Pooling::Pooler,
            final_layer_norm: false,
            num_labels: NUM_LABELS.default,
            problem_type: ProblemType::SingleLabel,
        }
    }
}

/// A published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The textbook's model: 2 layers, hidden 128, 4 heads, the bare [CLS] state, a last layer norm.
    Compact,
    /// 2 layers, hidden 128.
    Tiny,
    /// 4 layers, hidden 256.
    Mini,
    /// 4 layers, hidden 512.
    Small,
    /// 8 layers, hidden 512.
    Medium,
    /// 12 layers, hidden 768.
    Base,
    /// 24 layers, hidden 1024.
    Large,
}

impl Preset {
    /// The preset's sizes; vocabulary and labels are the default's until a model is made.
    pub fn config(self) -> BertConfig {
        // The published models have heads of width 64 and a feed-forward block four times as wide as the state.
        let sized = |layers: usize, hidden: usize| BertConfig {
            num_hidden_layers: layers,
            hidden_size: hidden,
            num_attention_heads: hidden / 64,
            intermediate_size: hidden * 4,
            ..BertConfig::default()
        };
        match self {
            Preset::Compact => BertConfig {
                num_attention_heads: 4,
                max_position_embeddings: 128,
                pooling: Pooling::Cls,
                final_layer_norm: true,
                ..sized(2, 128)
            },
            Preset::Tiny => sized(2, 128),
            Preset::Mini => sized(4, 256),
            Preset::Small => sized(4, 512),
            Preset::Medium => sized(8, 512),
            Preset::Base => sized(12, 768),
            Preset::Large => sized(24, 1024),
        }
    }
}

// The upper limits are far above any published BERT, and low enough that no product of two of them overflows. The defaults
// are BERT-base's.

/// Token ids.
pub const VOCAB_SIZE: Setting<usize> = Setting::new("vocab_size", 30_522, 1, 10_000_000);
/// Width of every state.
pub const HIDDEN_SIZE: Setting<usize> = Setting::new("hidden_size", 768, 1, 65_536);
/// Blocks.
pub const NUM_HIDDEN_LAYERS: Setting<usize> = Setting::new("num_hidden_layers", 12, 1, 1_024);
/// Attention heads of each block.
pub const NUM_ATTENTION_HEADS: Setting<usize> = Setting::new("num_attention_heads", 12, 1, 4_096);
/// Width inside the feed-forward block.
pub const INTERMEDIATE_SIZE: Setting<usize> =
    Setting::new("intermediate_size", 3_072, 1, 1_048_576);
/// Longest sequence in tokens: [CLS], [SEP] and some text at the least.
pub const MAX_POSITION_EMBEDDINGS: Setting<usize> =
    Setting::new("max_position_embeddings", 512, 4, 1_048_576);
/// Token types.
pub const TYPE_VOCAB_SIZE: Setting<usize> = Setting::new("type_vocab_size", 2, 1, 65_536);
/// Classes, labels or regression targets.
pub const NUM_LABELS: Setting<usize> = Setting::new("num_labels", 2, 1, 100_000);
/// Dropout after the embeddings and each block's two parts.
pub const HIDDEN_DROPOUT_PROB: Setting<f64> = Setting::new("hidden_dropout_prob", 0.1, 0.0, 0.9);
/// Dropout on the attention probabilities.
pub const ATTENTION_PROBS_DROPOUT_PROB: Setting<f64> =
    Setting::new("attention_probs_dropout_prob", 0.1, 0.0, 0.9);
/// Dropout on what the classifier reads.
pub const CLASSIFIER_DROPOUT: Setting<f64> = Setting::new("classifier_dropout", 0.1, 0.0, 0.9);
/// Standard deviation of the initial weights.
pub const INITIALIZER_RANGE: Setting<f64> = Setting::new("initializer_range", 0.02, 1e-30, 1.0);
/// Added to the variance in every layer norm.
pub const LAYER_NORM_EPS: Setting<f64> = Setting::new("layer_norm_eps", 1e-12, 1e-30, 0.1);

impl BertConfig {
    /// Whether a model can be made of these sizes; says which value is wrong and what would be right.
    pub fn validate(&self) -> Result<()> {
        for (setting, size) in [
            (VOCAB_SIZE, self.vocab_size),
            (HIDDEN_SIZE, self.hidden_size),
            (NUM_HIDDEN_LAYERS, self.num_hidden_layers),
            (NUM_ATTENTION_HEADS, self.num_attention_heads),
            (INTERMEDIATE_SIZE, self.intermediate_size),
            (MAX_POSITION_EMBEDDINGS, self.max_position_embeddings),
            (TYPE_VOCAB_SIZE, self.type_vocab_size),
            (NUM_LABELS, self.num_labels),
        ] {
            setting.check(size)?;
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::InvalidArgument(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}; each head gets an equal part of the \
                 hidden state.",
                self.hidden_size, self.num_attention_heads
            ))
            .of_argument("num_attention_heads"));
        }
        if self.problem_type == ProblemType::SingleLabel && self.num_labels < 2 {
            return Err(Error::InvalidArgument(
                "There is one label; single-label classification needs at least two (with one, the problem is \
                 multi-label classification or regression)."
                    .into(),
            ));
        }
        for (setting, value) in [
            (HIDDEN_DROPOUT_PROB, self.hidden_dropout_prob),
            (
                ATTENTION_PROBS_DROPOUT_PROB,
                self.attention_probs_dropout_prob,
            ),
            (CLASSIFIER_DROPOUT, self.classifier_dropout()),
            (INITIALIZER_RANGE, self.initializer_range),
            (LAYER_NORM_EPS, self.layer_norm_eps),
        ] {
            setting.check(value)?;
        }
        if self.pad_token_id as usize >= self.vocab_size {
            return Err(Error::InvalidArgument(format!(
                "pad_token_id is {}; it must be below vocab_size {}.",
                self.pad_token_id, self.vocab_size
            )));
        }
        let bytes = self
            .parameter_count()
            .and_then(|count| count.checked_mul(4))
            .unwrap_or(usize::MAX);
        crate::memory::check(bytes as u128, |most| {
            format!(
                "A model of these sizes needs {bytes} bytes for its parameters; this process can have {most}. Choose a \
                 smaller hidden_size, num_hidden_layers or vocabulary."
            )
        })
    }

    /// Width of one head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// The dropout before the classifier.
    pub fn classifier_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// Whether `transformers.BertForSequenceClassification` computes the same function.
    pub fn is_hugging_face(&self) -> bool {
        self.pooling == Pooling::Pooler && !self.final_layer_norm
    }

    /// Multiplications of one token with the blocks' weights.
    pub fn work_a_token(&self) -> usize {
        let layer = 4 * self.hidden_size + 2 * self.intermediate_size;
        self.num_hidden_layers * self.hidden_size * layer
    }

    /// Numbers in all parameters; `None` where that overflows.
    pub fn parameter_count(&self) -> Option<usize> {
        let h = self.hidden_size;
        let linear = |inputs: usize, outputs: usize| inputs.checked_add(1)?.checked_mul(outputs);
        let layer = linear(h, h)?
            .checked_mul(4)?
            .checked_add(linear(h, self.intermediate_size)?)?
            .checked_add(linear(self.intermediate_size, h)?)?
            .checked_add(h.checked_mul(4)?)?;
        let rows = self
            .vocab_size
            .checked_add(self.max_position_embeddings)?
            .checked_add(self.type_vocab_size)?
            .checked_add(2)?;
        let mut total = rows
            .checked_mul(h)?
            .checked_add(layer.checked_mul(self.num_hidden_layers)?)?
            .checked_add(linear(h, self.num_labels)?)?;
        if self.final_layer_norm {
            total = total.checked_add(h.checked_mul(2)?)?;
        }
        if self.pooling == Pooling::Pooler {
            total = total.checked_add(linear(h, h)?)?;
        }
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_the_published_ones() {
        // BertForSequenceClassification(BertConfig()) in transformers, two labels.
        assert_eq!(BertConfig::default().parameter_count(), Some(109_483_778));
        assert_eq!(Preset::Tiny.config().parameter_count(), Some(4_386_178));
    }

    /// The keys of `transformers.activations.ACT2CLS` in 5.24, and which of them compute the same over -8 to 8 within
    /// 1e-6.
    #[test]
    fn activations_of_other_names_are_those_that_compute_the_same() {
        for (names, wanted) in [
            (&["gelu", "gelu_python"][..], Some(HiddenAct::Gelu)),
            (
                &[
                    "gelu_new",
                    "gelu_pytorch_tanh",
                    "gelu_python_tanh",
                    "gelu_accurate",
                    "gelu_fast",
                ],
                Some(HiddenAct::GeluTanh),
            ),
            (&["relu"], Some(HiddenAct::Relu)),
            (
                &[
                    "gelu_10",
                    "hardswish",
                    "laplace",
                    "leaky_relu",
                    "linear",
                    "mish",
                    "quick_gelu",
                    "relu2",
                    "relu6",
                    "sigmoid",
                    "silu",
                    "sqrtsoftplus",
                    "swish",
                    "tanh",
                    "prelu",
                    "xielu",
                ],
                None,
            ),
        ] {
            for name in names {
                let found = HiddenAct::from_name(name);
                assert_eq!(found.clone().ok(), wanted, "{name}");
                if let Err(error) = found {
                    let said = error.message();
                    assert!(said.contains(&format!("'{name}'")) && said.contains("gelu_fast"));
                }
            }
        }
    }

    #[test]
    fn impossible_sizes_are_refused_with_the_value() {
        let config = BertConfig {
            num_attention_heads: 7,
            ..BertConfig::default()
        };
        let error = config.validate().unwrap_err();
        assert!(matches!(error.category(), Error::InvalidArgument(_)));
        assert!(error.message().contains("768") && error.message().contains('7'));
        let absurd = BertConfig {
            hidden_size: 65_536,
            num_attention_heads: 1,
            num_hidden_layers: 1_024,
            intermediate_size: 1_048_576,
            ..BertConfig::default()
        };
        assert!(matches!(absurd.validate(), Err(Error::OutOfMemory(_))));
        let nan = BertConfig {
            hidden_dropout_prob: f64::NAN,
            ..BertConfig::default()
        };
        let error = nan.validate().unwrap_err();
        assert!(matches!(error.category(), Error::InvalidArgument(_)));
        assert_eq!(
            error.place().argument.as_deref(),
            Some("hidden_dropout_prob")
        );
    }
}
