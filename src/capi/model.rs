//! Models: made, loaded, saved, asked.

use std::ffi::c_char;
use std::sync::Arc;

use super::arguments::{
    array, choice, flag, optional_path, optional_string, output, path, result, size, text, texts,
};
use super::boundary::{call, free};
use super::dataset::{contents, copy_of};
use super::fields::{
    any, automatic, constant, pointer, preset, ranged, reserved, setting, written, zero_or_one,
};
use super::handles::{self, ModelHandle, Object, bert_dataset, bert_model};
use super::problem::{self, BERT_PROBLEM_AUTO, BERT_PROBLEM_REGRESSION, bert_problem_type};
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use crate::classifier::{Classifier, CreateOptions};
use crate::data::Labels;
use crate::error::{Error, Result};
use crate::hf::{LabelChoice, LoadOptions};
use crate::model::config::{
    ATTENTION_PROBS_DROPOUT_PROB, CLASSIFIER_DROPOUT, HIDDEN_DROPOUT_PROB, HIDDEN_SIZE,
    INITIALIZER_RANGE, INTERMEDIATE_SIZE, LAYER_NORM_EPS, MAX_POSITION_EMBEDDINGS,
    NUM_ATTENTION_HEADS, NUM_HIDDEN_LAYERS, TYPE_VOCAB_SIZE,
};
use crate::model::{BertConfig, HiddenAct, Pooling, Preset};
use crate::text::{MAX_VOCAB_SIZE, TokenizerKind, TokenizerOptions};
use crate::{device, memory, threads};

/// The size of a new model.
pub type bert_preset = i32;

/// A compact model that trains quickly from random weights: 2 layers, hidden size 128, 4 heads. The classifier reads
/// the [CLS] state without a pooler. A layer norm follows the last layer.
pub const BERT_PRESET_COMPACT: bert_preset = 0;
/// BERT-tiny: 2 layers, hidden size 128, 2 heads.
pub const BERT_PRESET_TINY: bert_preset = 1;
/// BERT-mini: 4 layers, hidden size 256, 4 heads.
pub const BERT_PRESET_MINI: bert_preset = 2;
/// BERT-small: 4 layers, hidden size 512, 8 heads.
pub const BERT_PRESET_SMALL: bert_preset = 3;
/// BERT-medium: 8 layers, hidden size 512, 8 heads.
pub const BERT_PRESET_MEDIUM: bert_preset = 4;
/// BERT-base: 12 layers, hidden size 768, 12 heads.
pub const BERT_PRESET_BASE: bert_preset = 5;
/// BERT-large: 24 layers, hidden size 1024, 16 heads.
pub const BERT_PRESET_LARGE: bert_preset = 6;

/// The kind of a tokenizer: how it splits texts into tokens.
pub type bert_tokenizer_kind = i32;

/// Word level: one token for each word. Words are separated by white space. An unknown word becomes [UNK].
pub const BERT_TOKENIZER_WORD_LEVEL: bert_tokenizer_kind = 0;
/// BERT's WordPiece: words are split into known pieces. A new tokenizer learns the pieces from the training texts.
pub const BERT_TOKENIZER_WORDPIECE: bert_tokenizer_kind = 1;
/// Byte-level BPE: texts are split into byte sequences. A new tokenizer learns the sequences from the training texts.
pub const BERT_TOKENIZER_BPE: bert_tokenizer_kind = 2;

/// The activation function of the feed-forward blocks.
pub type bert_activation = i32;

/// The exact GELU, as in BERT.
pub const BERT_ACT_GELU: bert_activation = 0;
/// The tanh approximation of GELU, called `gelu_new` and `gelu_pytorch_tanh` in Hugging Face's transformers.
pub const BERT_ACT_GELU_TANH: bert_activation = 1;
/// ReLU.
pub const BERT_ACT_RELU: bert_activation = 2;

/// The pooling: how the states of a text's tokens become one vector.
pub type bert_pooling = i32;

/// The pooling of the saved model. Only for bert_load_options.
pub const BERT_POOLING_AUTO: bert_pooling = -1;
/// BERT's pooler: a dense layer and tanh on the [CLS] state.
pub const BERT_POOLING_POOLER: bert_pooling = 0;
/// The [CLS] state itself.
pub const BERT_POOLING_CLS: bert_pooling = 1;
/// The mean of the states of all tokens.
pub const BERT_POOLING_MEAN: bert_pooling = 2;

const ACTIVATIONS: [(i32, HiddenAct); 3] = [
    (BERT_ACT_GELU, HiddenAct::Gelu),
    (BERT_ACT_GELU_TANH, HiddenAct::GeluTanh),
    (BERT_ACT_RELU, HiddenAct::Relu),
];

pub(super) const POOLINGS: [(i32, Pooling); 3] = [
    (BERT_POOLING_POOLER, Pooling::Pooler),
    (BERT_POOLING_CLS, Pooling::Cls),
    (BERT_POOLING_MEAN, Pooling::Mean),
];

const TOKENIZERS: [(i32, TokenizerKind); 3] = [
    (BERT_TOKENIZER_WORD_LEVEL, TokenizerKind::WordLevel),
    (BERT_TOKENIZER_WORDPIECE, TokenizerKind::WordPiece),
    (BERT_TOKENIZER_BPE, TokenizerKind::ByteLevelBpe),
];

const PRESETS: [(i32, Preset); 7] = [
    (BERT_PRESET_COMPACT, Preset::Compact),
    (BERT_PRESET_TINY, Preset::Tiny),
    (BERT_PRESET_MINI, Preset::Mini),
    (BERT_PRESET_SMALL, Preset::Small),
    (BERT_PRESET_MEDIUM, Preset::Medium),
    (BERT_PRESET_BASE, Preset::Base),
    (BERT_PRESET_LARGE, Preset::Large),
];

/// The number of a choice that is in its list.
fn number_of<T: PartialEq>(choices: &[(i32, T)], value: &T) -> i32 {
    choices
        .iter()
        .find(|choice| choice.1 == *value)
        .map_or(-1, |choice| choice.0)
}

/// Options of a new model for bert_create. Call bert_model_options_init first; it sets all fields from a preset. The
/// names are those of Hugging Face's BertConfig.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_model_options {
    /// The size of this struct, sizeof(bert_model_options). Set by bert_model_options_init.
    pub struct_size: usize,
    /// The kind of tokenizer to learn: BERT_TOKENIZER_WORD_LEVEL, BERT_TOKENIZER_WORDPIECE or BERT_TOKENIZER_BPE. Not
    /// used if tokenizer_path is set. Default BERT_TOKENIZER_WORD_LEVEL.
    pub tokenizer: bert_tokenizer_kind,
    /// Whether texts are lowercased. 1: texts are lowercased, and WordPiece also removes accents; 0: they aren't. Not
    /// used if tokenizer_path is set. 0 or 1. Default 1.
    pub lowercase: i32,
    /// The number of times that a word must occur in the training texts to get its own token. For WordPiece and BPE it
    /// is the number of times that a pair of pieces must occur to be merged. 0 means the same as 1. Not used if
    /// tokenizer_path is set. At least 0. Default 1.
    pub min_frequency: i32,
    /// The maximum number of tokens in the vocabulary, including five special tokens. BPE needs at least 261. Not used
    /// if tokenizer_path is set. Range 6 to 10000000. Default 30522.
    pub max_vocab_size: i32,
    /// The path of a tokenizer.json to use, NUL-terminated. NULL: the tokenizer is learned from the training texts.
    /// Default NULL.
    pub tokenizer_path: *const c_char,
    /// The hidden size H: the number of values in the state of a token. Must be a multiple of num_attention_heads.
    /// Range 1 to 65536. Set by the preset.
    pub hidden_size: i32,
    /// The number of layers (transformer blocks). Range 1 to 1024. Set by the preset.
    pub num_hidden_layers: i32,
    /// The number of attention heads in each layer. hidden_size must be a multiple of it.
    /// Range 1 to 4096. Set by the preset.
    pub num_attention_heads: i32,
    /// The inner size of the feed-forward blocks. Range 1 to 1048576. Set by the preset.
    pub intermediate_size: i32,
    /// The maximum number of tokens in a sequence, including [CLS] and [SEP]. -1: it follows from the training texts.
    /// It is then the 99th percentile of their numbers of tokens, rounded up to a multiple of 16, at least 32 and at
    /// most 512. The log reports it, at BERT_LOG_INFO. -1 (automatic) or 4 to 1048576. Default -1.
    pub max_position_embeddings: i32,
    /// The number of token types. Pairs of texts need at least 2. Range 1 to 65536. Default 2.
    pub type_vocab_size: i32,
    /// The activation function: BERT_ACT_GELU, BERT_ACT_GELU_TANH or BERT_ACT_RELU. Default BERT_ACT_GELU.
    pub hidden_act: bert_activation,
    /// The vector that the classifier reads: BERT_POOLING_POOLER, BERT_POOLING_CLS or BERT_POOLING_MEAN.
    /// Set by the preset.
    pub pooling: bert_pooling,
    /// Whether a layer norm follows the last layer. 1: the model has it; 0: it doesn't, as in BERT.
    /// 0 or 1. Set by the preset.
    pub final_layer_norm: i32,
    /// Reserved for a later version. Must be 0.
    pub reserved: i32,
    /// The dropout probability during training after the embeddings, the attention output and the feed-forward output.
    /// Range 0 to 0.9. Default 0.1.
    pub hidden_dropout_prob: f64,
    /// The dropout probability of the attention probabilities during training. Range 0 to 0.9. Default 0.1.
    pub attention_probs_dropout_prob: f64,
    /// The dropout probability of the classifier's input during training. Range 0 to 0.9. Default 0.1.
    pub classifier_dropout: f64,
    /// The standard deviation of the initial weights. Range 1e-30 to 1. Default 0.02.
    pub initializer_range: f64,
    /// The value that every layer norm adds to the variance. Range 1e-30 to 0.1. Default 1e-12.
    pub layer_norm_eps: f64,
    /// The names of the classes, labels or regression targets, in the order of their ids. It is an array of
    /// num_label_names NUL-terminated texts. NULL: the names come from the training data. Class and label names are
    /// then sorted by their bytes, or by value if all are integers. Class ids and regression targets get the names
    /// LABEL_0, LABEL_1, ... Default NULL.
    pub label_names: *const *const c_char,
    /// The number of elements of label_names. Must be 0 if label_names is NULL. Default 0.
    pub num_label_names: usize,
    /// The seed for the initial weights. Default 42.
    pub seed: u64,
    /// The device, NUL-terminated: "cpu", "cuda" (the first GPU), "cuda:N" (GPU N, counted from 0) or "auto" (the first
    /// GPU if it works, otherwise the CPU). NULL: the CPU. Default NULL.
    pub device: *const c_char,
    /// The problem type that the model solves: a BERT_PROBLEM_ constant. BERT_PROBLEM_AUTO: the problem type of the
    /// training data. Any other value must be the problem type of the training data. Default BERT_PROBLEM_AUTO.
    pub problem_type: bert_problem_type,
    /// Reserved for a later version. Must be 0.
    pub reserved2: i32,
}

fn preset_options(preset: Preset) -> bert_model_options {
    let config = preset.config();
    bert_model_options {
        hidden_size: config.hidden_size as i32,
        num_hidden_layers: config.num_hidden_layers as i32,
        num_attention_heads: config.num_attention_heads as i32,
        intermediate_size: config.intermediate_size as i32,
        pooling: number_of(&POOLINGS, &config.pooling),
        final_layer_norm: i32::from(config.final_layer_norm),
        ..Sized_::default()
    }
}

sized_struct!(bert_model_options {
    tokenizer: constant(
        "BERT_TOKENIZER_",
        BERT_TOKENIZER_WORD_LEVEL,
        BERT_TOKENIZER_WORD_LEVEL,
        BERT_TOKENIZER_BPE
    ),
    lowercase: zero_or_one(true),
    min_frequency: ranged(1, 0, i32::MAX),
    max_vocab_size: setting(&MAX_VOCAB_SIZE),
    tokenizer_path: pointer(),
    hidden_size: preset(&HIDDEN_SIZE, Preset::Compact.config().hidden_size),
    num_hidden_layers: preset(
        &NUM_HIDDEN_LAYERS,
        Preset::Compact.config().num_hidden_layers
    ),
    num_attention_heads: preset(
        &NUM_ATTENTION_HEADS,
        Preset::Compact.config().num_attention_heads
    ),
    intermediate_size: preset(
        &INTERMEDIATE_SIZE,
        Preset::Compact.config().intermediate_size
    ),
    max_position_embeddings: automatic(&MAX_POSITION_EMBEDDINGS),
    type_vocab_size: setting(&TYPE_VOCAB_SIZE),
    hidden_act: constant("BERT_ACT_", BERT_ACT_GELU, BERT_ACT_GELU, BERT_ACT_RELU),
    pooling: constant(
        "BERT_POOLING_",
        BERT_POOLING_CLS,
        BERT_POOLING_POOLER,
        BERT_POOLING_MEAN
    )
    .by_preset(),
    final_layer_norm: zero_or_one(true).by_preset(),
    reserved: reserved(),
    hidden_dropout_prob: setting(&HIDDEN_DROPOUT_PROB),
    attention_probs_dropout_prob: setting(&ATTENTION_PROBS_DROPOUT_PROB),
    classifier_dropout: setting(&CLASSIFIER_DROPOUT),
    initializer_range: setting(&INITIALIZER_RANGE),
    layer_norm_eps: setting(&LAYER_NORM_EPS),
    label_names: pointer(),
    num_label_names: any(0usize),
    seed: any(42u64),
    device: pointer(),
    problem_type: constant(
        "BERT_PROBLEM_",
        BERT_PROBLEM_AUTO,
        BERT_PROBLEM_AUTO,
        BERT_PROBLEM_REGRESSION
    ),
    reserved2: reserved(),
});

/// Options for loading a model with bert_load or bert_load_from_buffer. Call bert_load_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_load_options {
    /// The size of this struct, sizeof(bert_load_options). Set by bert_load_options_init.
    pub struct_size: usize,
    /// The device, NUL-terminated: "cpu", "cuda" (the first GPU), "cuda:N" (GPU N, counted from 0) or "auto" (the first
    /// GPU if it works, otherwise the CPU). NULL: the CPU. Default NULL.
    pub device: *const c_char,
    /// The names of the classes, labels or regression targets of the loaded model, in the order of their ids. It is an
    /// array of num_label_names NUL-terminated texts. NULL: the saved model's names. If they are the saved names in
    /// another order, the classifier is kept and gets this order. If they are other names, the classifier gets initial
    /// values and must be trained, with a warning in the log, unless rename_labels is 1. Default NULL.
    pub label_names: *const *const c_char,
    /// The number of elements of label_names. Must be 0 if label_names is NULL. Default 0.
    pub num_label_names: usize,
    /// A data set on which you will train the model. If the saved model has all labels of the data set (or the same
    /// number of regression targets), it keeps its own labels. Labels such as 0 and 1 are then the saved model's
    /// LABEL_0 and LABEL_1. Otherwise the model gets the data set's labels, in the order that bert_create gives them,
    /// and the classifier gets initial values; if a trained classifier is lost, the log has a warning. Not used if
    /// label_names is set. NULL: no data set. Default NULL.
    pub labels_from: *const bert_dataset,
    /// The seed for the initial values of parameters that the saved model doesn't have. Default 42.
    pub seed: u64,
    /// The problem type that the loaded model solves: a BERT_PROBLEM_ constant. BERT_PROBLEM_AUTO: the problem type of
    /// labels_from. Without labels_from it is the saved model's. If config.json contains no problem type, it is
    /// regression for one label and single-label classification for more. If the problem type is not the one in
    /// config.json, the classifier gets initial values and must be trained. Default BERT_PROBLEM_AUTO.
    pub problem_type: bert_problem_type,
    /// Reserved for a later version. Must be 0.
    pub reserved: i32,
    /// Whether the saved classifier is kept under other names. 1: label_names are new names of the saved model's
    /// labels, by their ids; there must be as many. Without label_names the names are those of labels_from. 0: the
    /// classifier is kept only if the names are the same. 0 or 1. Default 0.
    pub rename_labels: i32,
    /// Whether the model gets a new classifier. 1: the classifier gets initial values and must be trained, whatever the
    /// checkpoint has; this also allows checkpoints of other tasks. 0: the classifier is kept if it fits. 0 or 1.
    /// Default 0.
    pub new_classifier: i32,
    /// The vector that the classifier reads: BERT_POOLING_POOLER, BERT_POOLING_CLS or BERT_POOLING_MEAN.
    /// BERT_POOLING_AUTO: the saved model's; for a published BERT this is the pooler. If it is not the saved model's,
    /// the classifier gets initial values and must be trained, and so does a pooler that the saved model doesn't have.
    /// Models for sentence vectors, such as all-MiniLM-L6-v2, are made for BERT_POOLING_MEAN. Default
    /// BERT_POOLING_AUTO.
    pub pooling: bert_pooling,
    /// Reserved for a later version. Must be 0.
    pub reserved2: i32,
}

sized_struct!(bert_load_options, older [56], {
    device: pointer(),
    label_names: pointer(),
    num_label_names: any(0usize),
    labels_from: pointer(),
    seed: any(42u64),
    problem_type: constant(
        "BERT_PROBLEM_",
        BERT_PROBLEM_AUTO,
        BERT_PROBLEM_AUTO,
        BERT_PROBLEM_REGRESSION
    ),
    reserved: reserved(),
    rename_labels: zero_or_one(false),
    new_classifier: zero_or_one(false),
    pooling: constant(
        "BERT_POOLING_",
        BERT_POOLING_AUTO,
        BERT_POOLING_AUTO,
        BERT_POOLING_MEAN
    ),
    reserved2: reserved(),
});

/// The number type of a model's weights.
pub type bert_weights = i32;

/// The model's weights are float32.
pub const BERT_WEIGHTS_FLOAT32: bert_weights = 0;
/// The model's weights are int8. Such a model can't be trained.
pub const BERT_WEIGHTS_INT8: bert_weights = 1;

/// The properties of a model, as bert_get_info writes them. Call bert_info_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_info {
    /// The size of this struct, sizeof(bert_info). Set by bert_info_init.
    pub struct_size: usize,
    /// The number of values in all parameters, including those of LoRA adapters.
    pub parameter_count: i64,
    /// The number of classes, labels or regression targets: L.
    pub num_labels: i32,
    /// The number of token ids.
    pub vocab_size: i32,
    /// The hidden size H: the number of values in the state of a token.
    pub hidden_size: i32,
    /// The number of layers (transformer blocks).
    pub num_hidden_layers: i32,
    /// The number of attention heads in each layer.
    pub num_attention_heads: i32,
    /// The inner size of the feed-forward blocks.
    pub intermediate_size: i32,
    /// The maximum number of tokens in a sequence, including [CLS] and [SEP].
    pub max_position_embeddings: i32,
    /// The number of token types. Pairs of texts need at least 2.
    pub type_vocab_size: i32,
    /// The kind of the tokenizer: BERT_TOKENIZER_WORD_LEVEL, BERT_TOKENIZER_WORDPIECE or BERT_TOKENIZER_BPE.
    pub tokenizer: bert_tokenizer_kind,
    /// The activation function: BERT_ACT_GELU, BERT_ACT_GELU_TANH or BERT_ACT_RELU.
    pub hidden_act: bert_activation,
    /// The vector that the classifier reads: BERT_POOLING_POOLER, BERT_POOLING_CLS or BERT_POOLING_MEAN.
    pub pooling: bert_pooling,
    /// Whether a layer norm follows the last layer. 1: the model has it; 0: it doesn't.
    pub final_layer_norm: i32,
    /// The device of the model, NUL-terminated: "cpu" or "cuda:N".
    pub device: [c_char; 16],
    /// The rank of the LoRA adapters. 0: the model has no adapters.
    pub lora_rank: i32,
    /// Reserved for a later version. The library writes 0.
    pub reserved: i32,
    /// The number of values in the LoRA adapters.
    pub lora_parameter_count: i64,
    /// The problem type: BERT_PROBLEM_SINGLE_LABEL, BERT_PROBLEM_MULTI_LABEL or BERT_PROBLEM_REGRESSION.
    pub problem_type: bert_problem_type,
    /// The number type of the weights: BERT_WEIGHTS_FLOAT32, or BERT_WEIGHTS_INT8 if the model was created by
    /// bert_quantize.
    pub weights: bert_weights,
}

sized_struct!(bert_info {
    parameter_count: written(),
    num_labels: written(),
    vocab_size: written(),
    hidden_size: written(),
    num_hidden_layers: written(),
    num_attention_heads: written(),
    intermediate_size: written(),
    max_position_embeddings: written(),
    type_vocab_size: written(),
    tokenizer: written(),
    hidden_act: written(),
    pooling: written(),
    final_layer_norm: written(),
    device: written(),
    lora_rank: written(),
    reserved: written(),
    lora_parameter_count: written(),
    problem_type: written(),
    weights: written(),
});

/// Sets all fields of a bert_model_options from a preset. `struct_size` is sizeof(bert_model_options). `preset` is a
/// BERT_PRESET_ constant. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`preset` is unknown, `options` is NULL), BERT_ERR_STRUCT_SIZE
/// (`struct_size` is unknown), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_model_options_init(
    options: *mut bert_model_options,
    struct_size: usize,
    preset: bert_preset,
) -> bert_status {
    call(|| {
        sized::check_new(options, struct_size)?;
        let value = preset_options(choice(preset, "preset", &PRESETS)?);
        // SAFETY: by this function's contract.
        unsafe { sized::initialise(options, struct_size, value) }
    })
}

/// Sets all fields of a bert_load_options to their defaults. `struct_size` is sizeof(bert_load_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
/// BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_load_options_init(
    options: *mut bert_load_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Initialises a bert_info for bert_get_info. `struct_size` is sizeof(bert_info). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`info` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
/// BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `info` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_info_init(info: *mut bert_info, struct_size: usize) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(info, struct_size, Sized_::default()) })
}

/// Hands a new model to the caller.
pub(super) fn give(out: &mut *mut bert_model, classifier: Classifier) {
    let borrowed = |names: &[String]| -> Vec<Box<[u8]>> {
        names
            .iter()
            .map(|name| [name.as_bytes(), b"\0"].concat().into_boxed_slice())
            .collect()
    };
    let origins = classifier.origins();
    *out = handles::insert(Object::Model(Arc::new(ModelHandle {
        label_names: borrowed(classifier.labels().names()),
        loaded: borrowed(&origins.loaded),
        initialised: borrowed(&origins.initialised),
        ignored: borrowed(&origins.ignored),
        classifier: Arc::new(classifier),
    })));
}

/// Translates the caller's options.
///
/// # Safety
/// `options` is NULL or set by bert_model_options_init; what it points to is readable.
unsafe fn create_options(options: *const bert_model_options) -> Result<CreateOptions> {
    // SAFETY: by this function's contract.
    let (options, tokenizer_path, label_names, device) = unsafe {
        let options = sized::read_or_default(options)?;
        let names = label_names(options.label_names, options.num_label_names)?;
        (
            options,
            optional_path(options.tokenizer_path, "tokenizer_path")?,
            names,
            device_name(options.device)?,
        )
    };
    Ok(CreateOptions {
        config: BertConfig {
            hidden_size: size(options.hidden_size, "hidden_size")?,
            num_hidden_layers: size(options.num_hidden_layers, "num_hidden_layers")?,
            num_attention_heads: size(options.num_attention_heads, "num_attention_heads")?,
            intermediate_size: size(options.intermediate_size, "intermediate_size")?,
            // In its range, or -1.
            max_position_embeddings: usize::try_from(options.max_position_embeddings)
                .unwrap_or(MAX_POSITION_EMBEDDINGS.default),
            type_vocab_size: size(options.type_vocab_size, "type_vocab_size")?,
            hidden_act: choice(options.hidden_act, "hidden_act", &ACTIVATIONS)?,
            pooling: choice(options.pooling, "pooling", &POOLINGS)?,
            final_layer_norm: flag(options.final_layer_norm, "final_layer_norm")?,
            hidden_dropout_prob: options.hidden_dropout_prob,
            attention_probs_dropout_prob: options.attention_probs_dropout_prob,
            classifier_dropout: Some(options.classifier_dropout),
            initializer_range: options.initializer_range,
            layer_norm_eps: options.layer_norm_eps,
            ..BertConfig::default()
        },
        fits_positions: options.max_position_embeddings == -1,
        tokenizer: TokenizerOptions {
            kind: choice(options.tokenizer, "tokenizer", &TOKENIZERS)?,
            min_frequency: size(options.min_frequency, "min_frequency")? as u32,
            max_vocab_size: size(options.max_vocab_size, "max_vocab_size")?,
            lowercase: flag(options.lowercase, "lowercase")?,
        },
        tokenizer_path,
        label_names,
        problem_type: problem::problem_type_or_auto(options.problem_type)?,
        seed: options.seed,
        device,
    })
}

/// Label names given as an array; `None` where it is NULL.
///
/// # Safety
/// `names` is NULL or has `count` elements, each of which ends with a NUL.
unsafe fn label_names(names: *const *const c_char, count: usize) -> Result<Option<Vec<String>>> {
    if names.is_null() {
        if count != 0 {
            return Err(Error::InvalidArgument(format!(
                "num_label_names is {count}, but label_names is NULL."
            ))
            .of_argument("label_names"));
        }
        return Ok(None);
    }
    // SAFETY: by this function's contract.
    let names = unsafe { texts(names, std::ptr::null(), count, ["label_names", ""]) }?;
    memory::collected(names.into_iter().map(memory::text)).map(Some)
}

/// Translates the caller's options.
///
/// # Safety
/// `options` is NULL or set by bert_load_options_init; what it points to is readable.
unsafe fn load_options(options: *const bert_load_options) -> Result<LoadOptions> {
    // SAFETY: by this function's contract.
    let (options, names, device) = unsafe {
        let options = sized::read_or_default(options)?;
        (
            options,
            label_names(options.label_names, options.num_label_names)?,
            device_name(options.device)?,
        )
    };
    let labels = match names {
        Some(names) => LabelChoice::Names(Labels::from_names(names)?),
        None if options.labels_from.is_null() => LabelChoice::Checkpoint,
        None => LabelChoice::Dataset(contents(options.labels_from, "labels_from")?),
    };
    Ok(LoadOptions {
        device,
        labels,
        rename_labels: flag(options.rename_labels, "rename_labels")?,
        new_classifier: flag(options.new_classifier, "new_classifier")?,
        problem_type: problem::problem_type_or_auto(options.problem_type)?,
        pooling: match options.pooling {
            BERT_POOLING_AUTO => None,
            other => Some(choice(other, "pooling", &POOLINGS)?),
        },
        seed: options.seed,
    })
}

/// The device's name; NULL is the CPU.
///
/// # Safety
/// `device` is NULL or ends with a NUL.
unsafe fn device_name(device: *const c_char) -> Result<String> {
    // SAFETY: by this function's contract.
    let name = unsafe { optional_string(device, "device") }?;
    Ok(name.unwrap_or_else(|| "cpu".into()))
}

/// Creates a new model with random weights. The tokenizer's vocabulary, the labels and the problem type come from the
/// data set `train`, unless `options` sets them; so does the maximum length of texts. `options` may be NULL for the
/// compact preset. Free the model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`train` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (an option is out of
/// range, `model` is NULL, the options contradict each other, there are pairs of texts but type_vocab_size is 1),
/// BERT_ERR_STRUCT_SIZE (the `struct_size` of `options` is unknown), BERT_ERR_UTF8 (an option is not valid UTF-8),
/// BERT_ERR_DATA (`train` is empty, has only one class, or is for another problem type), BERT_ERR_UNKNOWN_LABEL
/// (`train` has a label that label_names doesn't contain), BERT_ERR_DEVICE (the device doesn't exist or can't be
/// used), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_IO (tokenizer_path can't be read), BERT_ERR_FORMAT
/// (tokenizer_path is damaged or not a tokenizer), BERT_ERR_UNSUPPORTED (this library doesn't support the tokenizer at
/// tokenizer_path), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `options` is NULL or was initialised by bert_model_options_init, and what its pointers point to is readable.
/// `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_create(
    options: *const bert_model_options,
    train: *const bert_dataset,
    model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        let train = handles::dataset_named(train, "train")?;
        // SAFETY: by this function's contract.
        let (options, out) = unsafe { (create_options(options)?, result(model, "model")?) };
        give(out, Classifier::create(&options, &copy_of(&train)?)?);
        Ok(())
    })
}

/// Loads a model directory: one that bert_save wrote, or a published Hugging Face BERT. `path` is NUL-terminated.
/// `options` may be NULL for the defaults. Free the model with bert_free. Any thread.
///
/// A published model is a BertModel, BertForPreTraining, BertForMaskedLM or BertForSequenceClassification. Its
/// directory has config.json, tokenizer.json or vocab.txt, and the weights: model.safetensors or pytorch_model.bin, or
/// their shards. If it has no pooler or no classifier, that part gets initial values and must be trained. The log then
/// has a warning, unless labels_from or new_classifier asks for a new classifier. bert_parameter_name returns the names
/// of these parameters. A model of another task, for example BertForTokenClassification, is loaded only if a new
/// classifier is asked for.
///
/// Checksums of models written by bert_save are verified. If you edit a file of such a model, delete libbert.json.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty, `model` is NULL, an option is out of range),
/// BERT_ERR_STRUCT_SIZE (the `struct_size` of `options` is unknown), BERT_ERR_UTF8 (an option is not valid UTF-8),
/// BERT_ERR_IO (a file is missing or can't be read), BERT_ERR_FORMAT (a file is damaged or was changed, or the files
/// don't fit each other), BERT_ERR_VERSION (a newer version of this library wrote the model), BERT_ERR_UNSUPPORTED
/// (this library doesn't support the model; a model of another task without new_classifier or labels_from; an int8
/// model with other labels or on another device than the CPU),
/// BERT_ERR_DEVICE (the device doesn't exist or can't be used), BERT_ERR_OUT_OF_MEMORY (too little memory),
/// BERT_ERR_HANDLE (labels_from is not a valid data set), BERT_ERR_DATA (labels_from is empty, has only one class, or
/// is for another problem type), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `path` ends with a NUL. `options` is NULL or was initialised by bert_load_options_init, and what its pointers point
/// to is readable. `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_load(
    path: *const c_char,
    options: *const bert_load_options,
    model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (path, options, out) = unsafe {
            (
                self::path(path, "path")?,
                load_options(options)?,
                result(model, "model")?,
            )
        };
        give(out, Classifier::load(&path, &options)?);
        Ok(())
    })
}

/// Loads a model from the `length` bytes that bert_save_to_buffer wrote. You may free the bytes after the call.
/// `options` may be NULL for the defaults. Free the model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`bytes` is NULL, `length` is larger than memory can hold, `model` is
/// NULL, an option is out of range), BERT_ERR_STRUCT_SIZE (the `struct_size` of `options` is unknown), BERT_ERR_UTF8
/// (an option is not valid UTF-8), BERT_ERR_FORMAT (the bytes are damaged or not a saved model), BERT_ERR_VERSION (a
/// newer version of this library wrote the bytes), BERT_ERR_UNSUPPORTED (this library doesn't support the model; an
/// int8 model with other labels or on another device than the CPU), BERT_ERR_DEVICE (the device doesn't exist or can't
/// be used), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_HANDLE (labels_from is not a valid data set),
/// BERT_ERR_DATA (labels_from is empty, has only one class, or is for another problem type), BERT_ERR_FORKED (this
/// process is a forked child).
///
/// # Safety
/// `bytes` is readable for `length` bytes. `options` is NULL or was initialised by bert_load_options_init, and what
/// its pointers point to is readable. `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_load_from_buffer(
    bytes: *const u8,
    length: usize,
    options: *const bert_load_options,
    model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (bytes, options, out) = unsafe {
            (
                array(bytes, length, "bytes")?,
                load_options(options)?,
                result(model, "model")?,
            )
        };
        give(out, Classifier::load_from_buffer(bytes, &options)?);
        Ok(())
    })
}

/// Saves a model as a Hugging Face model directory. The files are config.json, model.safetensors, tokenizer.json, the
/// small files of the tokenizer, and libbert.json with the checksum of each file. LoRA adapters are merged into the
/// saved weights. Allowed while the model is trained, and inside callbacks. Any thread.
///
/// `path` (NUL-terminated) may be absent, an empty directory, or a model that this library saved. An older model is
/// replaced in one step, after the new one is complete and flushed to disk. Other files in that directory are kept.
/// Anything different at `path` is refused, and so is a model directory that contains subdirectories. Symbolic links
/// are followed.
///
/// If the process is killed during the call, bert_load finds the older model or the new one, always complete. A hidden
/// directory `.NAME.bert-save-PID-N` may remain beside the model's directory; the next save removes it.
///
/// transformers can load a float32 model with BERT_POOLING_POOLER and without final_layer_norm. Only this library can
/// load other models.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or
/// empty), BERT_ERR_IO (the directory can't be written, or is refused; the older model doesn't change, unless the
/// message says that the new model is in place but could not be flushed), BERT_ERR_FORKED (this process is a forked
/// child).
///
/// # Safety
/// `path` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_save(model: *const bert_model, path: *const c_char) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let path = unsafe { self::path(path, "path") }?;
        model.classifier.save(&path)
    })
}

/// Checks whether bert_save can write to `path` (NUL-terminated) at present. Call it before a long training to find
/// mistakes early. The path is accepted if it is absent and its parent directory exists, if it is an empty directory,
/// or if it is a model that this library saved. Nothing is written. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty), BERT_ERR_IO (bert_save can't write there),
/// BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `path` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_check_save(path: *const c_char) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let path = unsafe { self::path(path, "path") }?;
        crate::hf::check_save(&path).map(|_| ())
    })
}

/// Saves a model into memory that the library allocates. Free the memory with bert_buffer_free. `bytes` receives the
/// address, `length` the number of bytes. The bytes are one safetensors file with the configuration and the tokenizer
/// in its metadata. LoRA adapters are merged into the saved weights. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`bytes` or `length` is
/// NULL), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `bytes` and `length` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_save_to_buffer(
    model: *const bert_model,
    bytes: *mut *mut u8,
    length: *mut usize,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let (out, out_length) = unsafe { (result(bytes, "bytes")?, result(length, "length")?) };
        let saved = model.classifier.save_to_buffer()?;
        *out_length = saved.len();
        *out = Box::into_raw(saved.into_boxed_slice()).cast();
        Ok(())
    })
}

/// Frees memory that bert_save_to_buffer allocated. Pass the address and the length that it wrote. NULL is allowed.
/// Any thread; free each buffer once.
///
/// # Safety
/// `bytes` and `length` are as bert_save_to_buffer wrote them, and the buffer has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_buffer_free(bytes: *mut u8, length: usize) {
    free(|| {
        if !bytes.is_null() {
            let slice = std::ptr::slice_from_raw_parts_mut(bytes, length);
            // SAFETY: made by `Box::into_raw` with this length (caller).
            drop(unsafe { Box::from_raw(slice) });
        }
    });
}

/// Creates an int8 model from `model`. It has about a quarter of the size, is faster, and predicts nearly the same.
/// `model` doesn't change. Free the new model with bert_free. Any thread.
///
/// Weights are rounded to 8 bits with one scale for each output, embeddings with one scale for each token. During
/// prediction the input of a layer is rounded with one scale for each token. Sums are exact integers, so they are the
/// same on every processor. Biases, layer norms and the classifier stay float32. LoRA adapters are merged first.
///
/// The new model predicts, embeds, evaluates, saves and loads like other models, but only on the CPU. Training it or
/// adding an adapter returns BERT_ERR_UNSUPPORTED. Only this library can load what bert_save writes for it.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`quantized` is NULL,
/// the model is already int8), BERT_ERR_UNSUPPORTED (the model isn't on the CPU, or has layers with more than 131072
/// inputs), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `quantized` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_quantize(
    model: *const bert_model,
    quantized: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let out = unsafe { result(quantized, "quantized") }?;
        give(out, model.classifier.quantize()?);
        Ok(())
    })
}

/// Creates a copy of a model on another device. `device` (NUL-terminated) is "cpu", "cuda" (the first GPU), "cuda:N"
/// (GPU N, counted from 0) or "auto" (the first GPU if it works, otherwise the CPU). Free the new model with
/// bert_free. Any thread.
///
/// If both models are on the CPU, they share the weights in memory; otherwise the weights are copied. The copy
/// predicts as `model` does, up to rounding. Both are saved as the same bytes. `model` doesn't change and stays on its
/// device. To move a model, free `model` after the call.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`device` or `copy` is
/// NULL), BERT_ERR_UTF8 (`device` is not valid UTF-8), BERT_ERR_DEVICE (the device doesn't exist or can't be used),
/// BERT_ERR_UNSUPPORTED (an int8 model can't leave the CPU, or the GPU can't compute the model),
/// BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `device` ends with a NUL. `copy` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_copy_to_device(
    model: *const bert_model,
    device: *const c_char,
    copy: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let device = unsafe { optional_string(device, "device") }?.ok_or_else(|| {
            Error::InvalidArgument(
                "device is NULL; it must be cpu, cuda, cuda:N (N counts from 0) or auto.".into(),
            )
            .of_argument("device")
        })?;
        // SAFETY: as above.
        let out = unsafe { result(copy, "copy") }?;
        give(out, model.classifier.copy_to_device(&device)?);
        Ok(())
    })
}

/// Frees a model. NULL is allowed. Trainers of the model and calls that are running on it continue to work. Any
/// thread; free each model once.
///
/// Texts that belong to this handle become invalid: those of bert_label_name, bert_parameter_name and
/// bert_prediction.label. This is also true if another thread frees the model.
#[unsafe(no_mangle)]
pub extern "C" fn bert_free(model: *mut bert_model) {
    free(|| handles::free_model(model));
}

/// Writes the properties of a model to `info`: sizes, number of parameters, device and more. Initialise `info` with
/// bert_info_init or BERT_INFO_INIT. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`info` is NULL),
/// BERT_ERR_STRUCT_SIZE (the `struct_size` of `info` is unknown), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `info` was initialised by bert_info_init or BERT_INFO_INIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_get_info(
    model: *const bert_model,
    info: *mut bert_info,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        let model = handle.classifier.model();
        let config = &model.config;
        let mut value = bert_info {
            parameter_count: model.table.parameter_count() as i64,
            num_labels: config.num_labels as i32,
            vocab_size: config.vocab_size as i32,
            hidden_size: config.hidden_size as i32,
            num_hidden_layers: config.num_hidden_layers as i32,
            num_attention_heads: config.num_attention_heads as i32,
            intermediate_size: config.intermediate_size as i32,
            max_position_embeddings: config.max_position_embeddings as i32,
            type_vocab_size: config.type_vocab_size as i32,
            tokenizer: number_of(&TOKENIZERS, &handle.classifier.tokenizer().kind()),
            hidden_act: number_of(&ACTIVATIONS, &config.hidden_act),
            pooling: number_of(&POOLINGS, &config.pooling),
            final_layer_norm: i32::from(config.final_layer_norm),
            lora_rank: model.table.lora.map_or(0, |lora| lora.rank as i32),
            lora_parameter_count: model.table.adapter_parameter_count() as i64,
            problem_type: problem::number_of(config.problem_type),
            weights: if handle.classifier.is_int8() {
                BERT_WEIGHTS_INT8
            } else {
                BERT_WEIGHTS_FLOAT32
            },
            ..bert_info::default()
        };
        let name = device::name(&model.device);
        // The last place stays NUL.
        for (out, byte) in value.device[..15].iter_mut().zip(name.bytes()) {
            *out = byte as c_char;
        }
        // SAFETY: by this function's contract.
        unsafe { sized::write(info, &value) }
    })
}

/// The origin of a parameter's values when the model was created or loaded.
pub type bert_parameter_origin = i32;

/// Parameters that were read from a saved model, a checkpoint or an adapter.
pub const BERT_PARAMETERS_LOADED: bert_parameter_origin = 0;
/// Parameters with initial values. In a new model these are all parameters. In a loaded model these are the ones that
/// the checkpoint doesn't have.
pub const BERT_PARAMETERS_INITIALISED: bert_parameter_origin = 1;
/// Parameters in the checkpoint that this model doesn't use.
pub const BERT_PARAMETERS_IGNORED: bert_parameter_origin = 2;

/// Writes the name of parameter `index` of one origin to `name`. `origin` is a BERT_PARAMETERS_ constant; indices
/// start at 0. `count` receives the number of parameters of this origin. To get only the count, pass NULL for `name`.
/// Any thread.
///
/// The name is NUL-terminated and belongs to the model. It is valid until this handle is freed, also by another
/// thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`count` is NULL,
/// `origin` is unknown, `index` is not less than the count), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `name` is NULL or writable. `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_parameter_name(
    model: *const bert_model,
    origin: bert_parameter_origin,
    index: usize,
    name: *mut *const c_char,
    count: *mut usize,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        let names = choice(
            origin,
            "origin",
            &[
                (BERT_PARAMETERS_LOADED, &handle.loaded),
                (BERT_PARAMETERS_INITIALISED, &handle.initialised),
                (BERT_PARAMETERS_IGNORED, &handle.ignored),
            ],
        )?;
        let found = names.get(index);
        if !name.is_null() && found.is_none() {
            return Err(Error::InvalidArgument(format!(
                "There is no parameter {index} of this origin; the number of parameters of this origin is {}.",
                names.len()
            ))
            .of_argument("index"));
        }
        // SAFETY: by this function's contract.
        let (out, count) = unsafe { (output(name, 1, 1, "name")?, result(count, "count")?) };
        if let (Some([out]), Some(name)) = (out, found) {
            *out = name.as_ptr().cast();
        }
        *count = names.len();
        Ok(())
    })
}

/// Writes the name of label `label_id` to `name`. `label_id` is the id of a class, label or regression target; ids
/// count from 0. `length` receives the length of the name in bytes; it may be NULL. Any thread.
///
/// The name is NUL-terminated and belongs to the model. It is valid until this handle is freed, also by another
/// thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`name` is NULL),
/// BERT_ERR_UNKNOWN_LABEL (the model has no such id), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `name` is writable. `length` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_label_name(
    model: *const bert_model,
    label_id: i32,
    name: *mut *const c_char,
    length: *mut usize,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        // SAFETY: by this function's contract.
        let (out, out_length) = unsafe { (result(name, "name")?, output(length, 1, 1, "length")?) };
        let bytes = usize::try_from(label_id)
            .ok()
            .and_then(|id| handle.label_names.get(id))
            .ok_or_else(|| {
                Error::UnknownLabel(format!(
                    "There is no class {label_id}; this model's classes are 0 to {}.",
                    handle.label_names.len() - 1
                ))
                .of_argument("label_id")
            })?;
        *out = bytes.as_ptr().cast();
        if let Some([length]) = out_length {
            *length = bytes.len() - 1;
        }
        Ok(())
    })
}

/// Writes the id of the label with the given name to `label_id`. `name_length` is in bytes, or BERT_NUL_TERMINATED.
/// Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`name` or `label_id` is
/// NULL, `name_length` is larger than memory can hold), BERT_ERR_UTF8 (`name` is not valid UTF-8),
/// BERT_ERR_UNKNOWN_LABEL (the model has no label with this name), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `name` is readable for `name_length` bytes, or ends with a NUL. `label_id` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_label_id(
    model: *const bert_model,
    name: *const c_char,
    name_length: usize,
    label_id: *mut i32,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        // SAFETY: by this function's contract.
        let (name, out) = unsafe {
            (
                text(name, name_length, "name")?,
                result(label_id, "label_id")?,
            )
        };
        let labels = handle.classifier.labels();
        let id = labels.known_id(name);
        *out = id.map_err(|error| error.of_argument("name"))? as i32;
        Ok(())
    })
}

/// Writes the token ids of a text, or of a pair of texts. `pair` is the second text, or NULL for a single text.
/// Lengths are in bytes, or BERT_NUL_TERMINATED. Any thread.
///
/// The ids include [CLS] and [SEP]. Longer texts are cut at their end to `max_length` tokens in all; of a pair, the
/// longer text is cut first. `max_length` is 4 to the model's max_position_embeddings. 0 means
/// max_position_embeddings, or model_max_length in the model's tokenizer_config.json if that is smaller.
///
/// `ids` and `token_type_ids` are arrays of shape [T], where T is the number of tokens. Each has room for `capacity`
/// numbers and may be NULL. `count` receives T, also if an array is too small.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (a required pointer is
/// NULL, a length is larger than memory can hold, `max_length` is out of range), BERT_ERR_UTF8 (a text is not valid
/// UTF-8), BERT_ERR_BUFFER_TOO_SMALL (an array is too small; only `count` is written), BERT_ERR_FORKED (this process
/// is a forked child).
///
/// # Safety
/// The texts are readable for their lengths. The arrays are NULL or writable for `capacity` numbers. `count` is
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_tokenize(
    model: *const bert_model,
    text: *const c_char,
    text_length: usize,
    pair: *const c_char,
    pair_length: usize,
    max_length: i32,
    ids: *mut u32,
    token_type_ids: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        // SAFETY: by this function's contract.
        let (text, pair) = unsafe {
            (
                self::text(text, text_length, "text")?,
                super::arguments::optional_text(pair, pair_length, "pair")?,
            )
        };
        let classifier = &handle.classifier;
        let max_length = classifier.max_length(size(max_length, "max_length")?)?;
        // SAFETY: as above. How large the arrays must be is known later.
        let count = unsafe { result(count, "count") }?;
        let encoding = threads::run(|| classifier.tokenizer().encode(text, pair, max_length))??;
        let needed = encoding.input_ids.len();
        // SAFETY: by this function's contract. Both are checked before either is written.
        let room = unsafe {
            output(ids, capacity, needed, "ids").and_then(|ids| {
                Ok((
                    ids,
                    output(token_type_ids, capacity, needed, "token_type_ids")?,
                ))
            })
        };
        let is_too_small = |error: &Error| matches!(error.category(), Error::BufferTooSmall(_));
        if room.as_ref().err().is_none_or(is_too_small) {
            *count = needed;
        }
        let (ids, types) = room?;
        if let Some(ids) = ids {
            ids.copy_from_slice(&encoding.input_ids);
        }
        if let Some(types) = types {
            types.copy_from_slice(&encoding.token_type_ids);
        }
        Ok(())
    })
}
