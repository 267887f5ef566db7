//! Models: made, loaded, saved, asked.

use std::ffi::c_char;
use std::sync::Arc;

use super::arguments::{
    array, choice, flag, optional_path, optional_string, output, path, result, size, text, texts,
};
use super::boundary::{call, free};
use super::dataset::contents;
use super::handles::{self, ModelHandle, Object, bert_dataset, bert_model};
use super::problem::{self, BERT_PROBLEM_AUTO};
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use crate::classifier::{Classifier, CreateOptions};
use crate::data::Labels;
use crate::error::{Error, Result};
use crate::hf::{LabelChoice, LoadOptions};
use crate::model::{BertConfig, HiddenAct, Pooling, Preset};
use crate::text::{TokenizerKind, TokenizerOptions};
use crate::{device, threads};

/// The textbook's small model: 2 layers, hidden 128, 4 heads, 32 positions, the classifier on the bare [CLS] state, one
/// more layer norm after the last block. Quick to train from nothing.
pub const BERT_PRESET_COMPACT: i32 = 0;
/// BERT-tiny: 2 layers, hidden 128.
pub const BERT_PRESET_TINY: i32 = 1;
/// BERT-mini: 4 layers, hidden 256.
pub const BERT_PRESET_MINI: i32 = 2;
/// BERT-small: 4 layers, hidden 512.
pub const BERT_PRESET_SMALL: i32 = 3;
/// BERT-medium: 8 layers, hidden 512.
pub const BERT_PRESET_MEDIUM: i32 = 4;
/// BERT-base: 12 layers, hidden 768.
pub const BERT_PRESET_BASE: i32 = 5;
/// BERT-large: 24 layers, hidden 1024.
pub const BERT_PRESET_LARGE: i32 = 6;

/// Words as they stand between spaces.
pub const BERT_TOKENIZER_WORD_LEVEL: i32 = 0;
/// BERT's WordPiece, learned from the training texts.
pub const BERT_TOKENIZER_WORDPIECE: i32 = 1;
/// Byte-level BPE, learned from the training texts.
pub const BERT_TOKENIZER_BPE: i32 = 2;

/// BERT's activation: the exact GELU.
pub const BERT_ACT_GELU: i32 = 0;
/// The tanh approximation of GELU (`gelu_new`, `gelu_pytorch_tanh`).
pub const BERT_ACT_GELU_TANH: i32 = 1;
/// ReLU.
pub const BERT_ACT_RELU: i32 = 2;

/// The classifier reads a dense layer and tanh over the [CLS] state: BERT's own.
pub const BERT_POOLING_POOLER: i32 = 0;
/// The classifier reads the bare [CLS] state.
pub const BERT_POOLING_CLS: i32 = 1;
/// The classifier reads the mean of all tokens' states.
pub const BERT_POOLING_MEAN: i32 = 2;

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

/// How a new model is made. Call bert_model_options_init first; it sets every field from a preset. Names are those of
/// Hugging Face's BertConfig.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_model_options {
    /// sizeof(bert_model_options), set by bert_model_options_init.
    pub struct_size: usize,
    /// BERT_TOKENIZER_WORD_LEVEL (default), _WORDPIECE or _BPE: how the tokenizer is learned.
    pub tokenizer: i32,
    /// 1 (default): texts are lower-cased.
    pub lowercase: i32,
    /// Words (pairs of pieces, for WordPiece and BPE) that are rarer in the training texts get no token. Default 1.
    pub min_frequency: i32,
    /// Most tokens, the five special ones included. Default 30522.
    pub max_vocab_size: i32,
    /// A tokenizer.json to take instead of learning a tokenizer; NULL (default) learns one. The four options above
    /// aren't used then.
    pub tokenizer_path: *const c_char,
    /// Width of every state.
    pub hidden_size: i32,
    /// Blocks.
    pub num_hidden_layers: i32,
    /// Attention heads of each block; must divide hidden_size.
    pub num_attention_heads: i32,
    /// Width inside the feed-forward block.
    pub intermediate_size: i32,
    /// Longest sequence in tokens, [CLS] and [SEP] included.
    pub max_position_embeddings: i32,
    /// Token types; pairs need 2, the default.
    pub type_vocab_size: i32,
    /// BERT_ACT_GELU (default), _GELU_TANH or _RELU.
    pub hidden_act: i32,
    /// BERT_POOLING_POOLER, _CLS or _MEAN: what the classifier reads.
    pub pooling: i32,
    /// 1: one more layer norm after the last block.
    pub final_layer_norm: i32,
    /// Dropout in training after the embeddings, the attention output and the feed-forward output; 0 to 0.9.
    pub hidden_dropout_prob: f64,
    /// Dropout in training on the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Dropout in training on what the classifier reads.
    pub classifier_dropout: f64,
    /// Standard deviation of the initial weights. Default 0.02.
    pub initializer_range: f64,
    /// Added to the variance in every layer norm. Default 1e-12.
    pub layer_norm_eps: f64,
    /// The classes (labels, regression targets) in the order of their ids, `num_label_names` NUL-terminated texts; NULL
    /// (default) takes them from the training data: names in alphabetical order (as numbers if all are), ids and
    /// regression targets as LABEL_0, LABEL_1, …
    pub label_names: *const *const c_char,
    /// How many.
    pub num_label_names: usize,
    /// Decides the initial weights. Default 42.
    pub seed: u64,
    /// "cpu" (also NULL, the default), "cuda", "cuda:N", or "auto": CUDA where it works, else the CPU.
    pub device: *const c_char,
    /// BERT_PROBLEM_AUTO (default): the problem that the training data is for; or the one that it must be for.
    pub problem_type: i32,
}

fn preset_options(preset: Preset) -> bert_model_options {
    let config = preset.config();
    let tokenizer = TokenizerOptions::default();
    bert_model_options {
        struct_size: size_of::<bert_model_options>(),
        tokenizer: number_of(&TOKENIZERS, &tokenizer.kind),
        lowercase: i32::from(tokenizer.lowercase),
        min_frequency: tokenizer.min_frequency as i32,
        max_vocab_size: tokenizer.max_vocab_size as i32,
        tokenizer_path: std::ptr::null(),
        hidden_size: config.hidden_size as i32,
        num_hidden_layers: config.num_hidden_layers as i32,
        num_attention_heads: config.num_attention_heads as i32,
        intermediate_size: config.intermediate_size as i32,
        max_position_embeddings: config.max_position_embeddings as i32,
        type_vocab_size: config.type_vocab_size as i32,
        hidden_act: number_of(&ACTIVATIONS, &config.hidden_act),
        pooling: number_of(&POOLINGS, &config.pooling),
        final_layer_norm: i32::from(config.final_layer_norm),
        hidden_dropout_prob: config.hidden_dropout_prob,
        attention_probs_dropout_prob: config.attention_probs_dropout_prob,
        classifier_dropout: config.classifier_dropout(),
        initializer_range: config.initializer_range,
        layer_norm_eps: config.layer_norm_eps,
        label_names: std::ptr::null(),
        num_label_names: 0,
        seed: 42,
        device: std::ptr::null(),
        problem_type: BERT_PROBLEM_AUTO,
    }
}

sized_struct!(bert_model_options, || preset_options(Preset::Compact));

/// How a model is loaded. Call bert_load_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_load_options {
    /// sizeof(bert_load_options), set by bert_load_options_init.
    pub struct_size: usize,
    /// "cpu" (also NULL, the default), "cuda", "cuda:N", or "auto": CUDA where it works, else the CPU.
    pub device: *const c_char,
    /// The classes that the model shall have, in the order of their ids: `num_label_names` NUL-terminated texts. NULL
    /// (default) keeps the saved model's. Where they differ from those, the classifier is new and has to be trained.
    pub label_names: *const *const c_char,
    /// How many.
    pub num_label_names: usize,
    /// A data set that the model shall be trained on: where it has a label that the saved model lacks (or another number
    /// of regression targets), the model gets the data set's, as bert_create would take them from it. NULL (default): none. With label_names it isn't
    /// used.
    pub labels_from: *const bert_dataset,
    /// Decides the initial values of what the saved model lacks. Default 42.
    pub seed: u64,
    /// The problem that the model shall solve. BERT_PROBLEM_AUTO (default): the one that labels_from is for; without it
    /// the saved model's (where its config.json names none, regression with one label, else single-label
    /// classification). Where it isn't the one that config.json names, the classifier is new and has to be trained.
    pub problem_type: i32,
}

sized_struct!(bert_load_options, || bert_load_options {
    struct_size: size_of::<bert_load_options>(),
    device: std::ptr::null(),
    label_names: std::ptr::null(),
    num_label_names: 0,
    labels_from: std::ptr::null(),
    seed: 42,
    problem_type: BERT_PROBLEM_AUTO,
});

/// The model's weights are float32.
pub const BERT_WEIGHTS_FLOAT32: i32 = 0;
/// The model's weights are int8, for prediction alone.
pub const BERT_WEIGHTS_INT8: i32 = 1;

/// What a model is, as bert_get_info writes it. Call bert_info_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_info {
    /// sizeof(bert_info), set by bert_info_init.
    pub struct_size: usize,
    /// Numbers in all parameters.
    pub parameter_count: i64,
    /// Classes, labels or regression targets.
    pub num_labels: i32,
    /// Token ids.
    pub vocab_size: i32,
    /// As in bert_model_options, from here to `final_layer_norm`.
    pub hidden_size: i32,
    /// See bert_model_options.
    pub num_hidden_layers: i32,
    /// See bert_model_options.
    pub num_attention_heads: i32,
    /// See bert_model_options.
    pub intermediate_size: i32,
    /// Longest sequence in tokens.
    pub max_position_embeddings: i32,
    /// See bert_model_options.
    pub type_vocab_size: i32,
    /// BERT_TOKENIZER_WORD_LEVEL, _WORDPIECE or _BPE.
    pub tokenizer: i32,
    /// BERT_ACT_GELU, _GELU_TANH or _RELU.
    pub hidden_act: i32,
    /// BERT_POOLING_POOLER, _CLS or _MEAN.
    pub pooling: i32,
    /// 0 or 1.
    pub final_layer_norm: i32,
    /// "cpu" or "cuda:N", NUL-terminated.
    pub device: [c_char; 16],
    /// The rank of the LoRA adapters; 0: there are none.
    pub lora_rank: i32,
    /// Numbers in the LoRA adapters, which parameter_count includes.
    pub lora_parameter_count: i64,
    /// BERT_PROBLEM_SINGLE_LABEL, _MULTI_LABEL or _REGRESSION.
    pub problem_type: i32,
    /// BERT_WEIGHTS_FLOAT32, or BERT_WEIGHTS_INT8 of a model that bert_quantize made.
    pub weights: i32,
}

sized_struct!(bert_info, || bert_info {
    struct_size: size_of::<bert_info>(),
    parameter_count: 0,
    num_labels: 0,
    vocab_size: 0,
    hidden_size: 0,
    num_hidden_layers: 0,
    num_attention_heads: 0,
    intermediate_size: 0,
    max_position_embeddings: 0,
    type_vocab_size: 0,
    tokenizer: 0,
    hidden_act: 0,
    pooling: 0,
    final_layer_norm: 0,
    device: [0; 16],
    lora_rank: 0,
    lora_parameter_count: 0,
    problem_type: 0,
    weights: BERT_WEIGHTS_FLOAT32,
});

/// Sets every option from a preset. `struct_size` is sizeof(bert_model_options); `preset` is one of BERT_PRESET_….
/// Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL, an unknown preset), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_model_options_init(
    options: *mut bert_model_options,
    struct_size: usize,
    preset: i32,
) -> bert_status {
    call(|| {
        let value = preset_options(choice(preset, "preset", &PRESETS)?);
        // SAFETY: by this function's contract.
        unsafe { sized::initialise(options, struct_size, value) }
    })
}

/// Sets the defaults. `struct_size` is sizeof(bert_load_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
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

/// Prepares the struct for bert_get_info. `struct_size` is sizeof(bert_info). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
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
            max_position_embeddings: size(
                options.max_position_embeddings,
                "max_position_embeddings",
            )?,
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
            )));
        }
        return Ok(None);
    }
    // SAFETY: by this function's contract.
    let names = unsafe { texts(names, std::ptr::null(), count, "label_names") }?;
    Ok(Some(names.into_iter().map(str::to_string).collect()))
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
        None => LabelChoice::Dataset(contents(options.labels_from)?),
    };
    Ok(LoadOptions {
        device,
        labels,
        problem_type: problem::problem_type_or_auto(options.problem_type)?,
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

/// Makes a new model with random weights. The tokenizer's vocabulary, the labels and the problem come from the data set
/// `train`.
/// `options` may be NULL for the compact preset. Free the model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (sizes that make no model), BERT_ERR_STRUCT_SIZE,
/// BERT_ERR_UTF8 (an option), BERT_ERR_DATA (no examples, or of one class only, or for another problem_type), BERT_ERR_UNKNOWN_LABEL (a
/// label that label_names lacks),
/// BERT_ERR_DEVICE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_IO, BERT_ERR_FORMAT, BERT_ERR_UNSUPPORTED (tokenizer_path),
/// BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or set by bert_model_options_init; `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_create(
    options: *const bert_model_options,
    train: *const bert_dataset,
    model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (out, options) = unsafe { (result(model, "model")?, create_options(options)?) };
        give(out, Classifier::create(&options, &contents(train)?)?);
        Ok(())
    })
}

/// Loads a model directory: one that bert_save wrote, or a published Hugging Face BERT (BertModel, BertForPreTraining,
/// BertForMaskedLM, BertForSequenceClassification) with config.json, tokenizer.json or vocab.txt, and weights as
/// model.safetensors, its shards, or pytorch_model.bin. A pooler or classifier that the checkpoint lacks gets initial values:
/// bert_parameter_name tells which. What bert_save wrote is held against its checksums; who changes a file of it on purpose
/// removes libbert.json. `path` is NUL-terminated; `options` may be NULL. Free the model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8, BERT_ERR_IO (a file is missing or can't be read),
/// BERT_ERR_FORMAT (a file is damaged, isn't as it was saved, or they don't belong together), BERT_ERR_VERSION (written by a newer version),
/// BERT_ERR_UNSUPPORTED (not a BERT that this library runs; of an int8 model other classes or a device other than the CPU), BERT_ERR_DEVICE, BERT_ERR_OUT_OF_MEMORY,
/// BERT_ERR_HANDLE and BERT_ERR_DATA (labels_from), BERT_ERR_FORKED.
///
/// # Safety
/// `path` ends with a NUL, `options` is NULL or set by bert_load_options_init, `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_load(
    path: *const c_char,
    options: *const bert_load_options,
    model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (out, path, options) = unsafe {
            (
                result(model, "model")?,
                self::path(path, "path")?,
                load_options(options)?,
            )
        };
        give(out, Classifier::load(&path, &options)?);
        Ok(())
    })
}

/// Loads a model from the `length` bytes that bert_save_to_buffer gave; they are not needed afterwards. `options` may be
/// NULL. Free the model with bert_free. Any thread.
///
/// Returns as bert_load, without BERT_ERR_IO.
///
/// # Safety
/// `bytes` is readable for `length` bytes, `options` is NULL or set by bert_load_options_init, `model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_load_from_buffer(
    bytes: *const u8,
    length: usize,
    options: *const bert_load_options,
    model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (out, bytes, options) = unsafe {
            (
                result(model, "model")?,
                array(bytes, length, "bytes")?,
                load_options(options)?,
            )
        };
        give(out, Classifier::load_from_buffer(bytes, &options)?);
        Ok(())
    })
}

/// Writes the model as a Hugging Face model directory: config.json, model.safetensors, tokenizer.json and the small
/// files that go with it, LoRA adapters merged into the weights, and libbert.json with the checksum of each. The directory at `path` (NUL-terminated) may be
/// absent, empty, or a model that this library saved, which is replaced in one step once the new one is whole and flushed;
/// files of yours in it stay. Anything else is refused, and so are directories of yours in it. A symbolic link is followed.
/// A process killed at any moment leaves the older model or the new one, whole, to bert_load; what else it left, a hidden
/// directory `.NAME.bert-save-PID-N` beside the model's, is removed by the next save. Allowed while the model is trained and
/// inside callbacks. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_IO (an older model is then as it was, unless the
/// message says that the new one is in place and could not be flushed), BERT_ERR_FORKED.
///
/// # Safety
/// `path` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_save(model: *const bert_model, path: *const c_char) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let path = unsafe { self::path(path, "path") }?;
        handles::model(model)?.classifier.save(&path)
    })
}

/// Tells whether bert_save could write to `path` (NUL-terminated) as things stand, so that a mistake shows before a long
/// training and not after it: the directory is absent and its parent is there, or it is empty, or a model that this
/// library saved. Nothing is written. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL, empty), BERT_ERR_IO (it could not), BERT_ERR_FORKED.
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

/// Writes the model into memory that the library allocates: give it back with bert_buffer_free. The bytes are one
/// safetensors file, with the configuration and the tokenizer in its metadata. LoRA adapters are merged into the weights. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
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
        // SAFETY: by this function's contract.
        let (out, out_length) = unsafe { (result(bytes, "bytes")?, result(length, "length")?) };
        let saved = handles::model(model)?.classifier.save_to_buffer()?;
        *out_length = saved.len();
        *out = Box::into_raw(saved.into_boxed_slice()).cast();
        Ok(())
    })
}

/// Frees what bert_save_to_buffer gave: its pointer and its length. NULL is allowed. Any thread, once.
///
/// # Safety
/// Both are as bert_save_to_buffer wrote them, and not freed yet.
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

/// Makes an int8 model of `model`: a quarter of its size, faster, and nearly the same in what it predicts. Weights are
/// rounded to 8 bits with a scale for each output, embeddings with one for each token, and what a layer reads with one
/// for each token as it comes; sums are exact integers, the same on every processor. Biases, layer norms and the classifier
/// stay float32; LoRA adapters are merged first. The new model predicts, embeds, evaluates, saves and loads as every other,
/// on the CPU; training it, or adding an adapter, answers BERT_ERR_UNSUPPORTED. What bert_save writes of it only this
/// library reads. `model` stays as it is. Free the new model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, a model that is int8 already), BERT_ERR_UNSUPPORTED (a
/// model that isn't on the CPU, or with layers of more than 131072 inputs), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `quantized` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_quantize(
    model: *const bert_model,
    quantized: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let out = unsafe { result(quantized, "quantized") }?;
        let model = handles::model(model)?;
        give(out, model.classifier.quantize()?);
        Ok(())
    })
}

/// Makes a model of `model`'s values on another device: "cpu", "cuda" (the first GPU), "cuda:N" or "auto" (a GPU where one
/// works, else the CPU), NUL-terminated. On the CPU values are shared where both are there, else they are copied. It predicts
/// as `model` does, to rounding, and is saved as the same bytes. `model` stays as it is and where it is: free it to move.
/// Free the new model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_UTF8, BERT_ERR_DEVICE (there is no such
/// device, or it can't be used), BERT_ERR_UNSUPPORTED (an int8 model, which is for the CPU, or one that a GPU can't compute),
/// BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `device` ends with a NUL, `copy` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_copy_to_device(
    model: *const bert_model,
    device: *const c_char,
    copy: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (out, device) = unsafe { (result(copy, "copy")?, optional_string(device, "device")?) };
        let device = device.ok_or_else(|| {
            Error::InvalidArgument(
                "device is NULL; it must be cpu, cuda, cuda:N (N counts from 0) or auto.".into(),
            )
        })?;
        let model = handles::model(model)?;
        give(out, model.classifier.copy_to_device(&device)?);
        Ok(())
    })
}

/// Frees a model; NULL is allowed. Trainers of it go on working, as do calls that are inside. Any thread, once.
#[unsafe(no_mangle)]
pub extern "C" fn bert_free(model: *mut bert_model) {
    free(|| handles::free_model(model));
}

/// Writes what the model is: sizes, parameter count, device. Prepare `info` with bert_info_init. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `info` is set by bert_info_init.
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

/// Parameters that were read from a saved model or a checkpoint.
pub const BERT_PARAMETERS_LOADED: i32 = 0;
/// Parameters that have initial values: all of a new model's; of a loaded one's, those that the checkpoint lacks.
pub const BERT_PARAMETERS_INITIALISED: i32 = 1;
/// Parameters of a checkpoint that this model doesn't use.
pub const BERT_PARAMETERS_IGNORED: i32 = 2;

/// Gives the name of parameter `index` among those of one origin (BERT_PARAMETERS_LOADED, _INITIALISED or _IGNORED) when
/// the model was made: a NUL-terminated text that belongs to the model and lives until its handle is freed. `count` gets
/// how many there are of that origin, also where `name` is NULL and only they are asked for. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an index that is not below count), BERT_ERR_FORKED.
///
/// # Safety
/// `name` is writable or NULL, `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_parameter_name(
    model: *const bert_model,
    origin: i32,
    index: usize,
    name: *mut *const c_char,
    count: *mut usize,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        // SAFETY: by this function's contract.
        let (out, count) = unsafe { (output(name, 1, 1, "name")?, result(count, "count")?) };
        let names = choice(
            origin,
            "origin",
            &[
                (BERT_PARAMETERS_LOADED, &handle.loaded),
                (BERT_PARAMETERS_INITIALISED, &handle.initialised),
                (BERT_PARAMETERS_IGNORED, &handle.ignored),
            ],
        )?;
        if let Some([out]) = out {
            let name = names.get(index).ok_or_else(|| {
                Error::InvalidArgument(format!(
                    "There is no parameter {index} of this origin; there are {}.",
                    names.len()
                ))
            })?;
            *out = name.as_ptr().cast();
        }
        *count = names.len();
        Ok(())
    })
}

/// Gives the name of class `label_id`: a NUL-terminated text that belongs to the model and lives until the model's
/// handle is freed, and its length in bytes (`length` may be NULL). Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_UNKNOWN_LABEL (no such id),
/// BERT_ERR_FORKED.
///
/// # Safety
/// `name` is writable, and `length` is or is NULL.
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
            })?;
        *out = bytes.as_ptr().cast();
        if let Some([length]) = out_length {
            *length = bytes.len() - 1;
        }
        Ok(())
    })
}

/// Writes the id of the class of that name. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_UTF8, BERT_ERR_UNKNOWN_LABEL,
/// BERT_ERR_FORKED.
///
/// # Safety
/// `name` is readable for `name_length` bytes, or ends with a NUL; `label_id` is writable.
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
        let (out, name) = unsafe {
            (
                result(label_id, "label_id")?,
                text(name, name_length, "name")?,
            )
        };
        *out = handle.classifier.labels().known_id(name)? as i32;
        Ok(())
    })
}

/// Writes the token ids of a text, or of a pair of texts (`pair` NULL: there is none), [CLS] and [SEP] included, at most
/// `max_length` of them (0: what the model allows). `ids` and `token_type_ids` have room for `capacity` numbers each, and
/// each may be NULL; `count` gets how many there are, also where the room is too small. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_UTF8, BERT_ERR_BUFFER_TOO_SMALL (only `count`
/// is written), BERT_ERR_FORKED.
///
/// # Safety
/// The texts are readable for their lengths, the arrays writable for `capacity` numbers, `count` is writable.
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
        let (text, pair, count) = unsafe {
            (
                self::text(text, text_length, "text")?,
                super::arguments::optional_text(pair, pair_length, "pair")?,
                result(count, "count")?,
            )
        };
        let classifier = &handle.classifier;
        let max_length = classifier.max_length(size(max_length, "max_length")?)?;
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
        if matches!(room, Ok(_) | Err(Error::BufferTooSmall(_))) {
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
