//! LoRA adapters: models with them, merged, saved apart.

use std::ffi::c_char;

use super::arguments::{flag, path, result, size};
use super::boundary::call;
use super::fields::{any, flags, setting, zero_or_one};
use super::handles::{self, bert_model};
use super::model::give;
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use crate::error::Result;
use crate::model::lora::{LORA_ALPHA, LORA_DROPOUT, LORA_RANK};
use crate::model::{LoraConfig, Projection};

/// Projections that get a LoRA adapter: a sum of BERT_LORA_ constants.
pub type bert_lora_targets = u32;

/// Adapters on attention.self.query of each block.
pub const BERT_LORA_QUERY: bert_lora_targets = 1;
/// Adapters on attention.self.key of each block.
pub const BERT_LORA_KEY: bert_lora_targets = 2;
/// Adapters on attention.self.value of each block.
pub const BERT_LORA_VALUE: bert_lora_targets = 4;
/// Adapters on attention.output.dense of each block.
pub const BERT_LORA_ATTENTION_OUTPUT: bert_lora_targets = 8;
/// Adapters on intermediate.dense of each block.
pub const BERT_LORA_INTERMEDIATE: bert_lora_targets = 16;
/// Adapters on output.dense of each block.
pub const BERT_LORA_OUTPUT: bert_lora_targets = 32;

const TARGETS: [(bert_lora_targets, Projection); 6] = [
    (BERT_LORA_QUERY, Projection::Query),
    (BERT_LORA_KEY, Projection::Key),
    (BERT_LORA_VALUE, Projection::Value),
    (BERT_LORA_ATTENTION_OUTPUT, Projection::AttentionOutput),
    (BERT_LORA_INTERMEDIATE, Projection::Intermediate),
    (BERT_LORA_OUTPUT, Projection::Output),
];

const ALL_TARGETS: bert_lora_targets = BERT_LORA_QUERY
    + BERT_LORA_KEY
    + BERT_LORA_VALUE
    + BERT_LORA_ATTENTION_OUTPUT
    + BERT_LORA_INTERMEDIATE
    + BERT_LORA_OUTPUT;

/// Options of the LoRA adapters that bert_add_lora creates. Call bert_lora_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_lora_options {
    /// The size of this struct, sizeof(bert_lora_options). Set by bert_lora_options_init.
    pub struct_size: usize,
    /// The rank of the adapters: the number of rows of A and of columns of B. Range 1 to 4096. Default 8.
    pub rank: i32,
    /// The projections of each block that get an adapter: a sum of BERT_LORA_ constants. At least one must be chosen.
    /// Default BERT_LORA_QUERY + BERT_LORA_VALUE.
    pub targets: bert_lora_targets,
    /// LoRA scaling: the adapter's output is multiplied by alpha / rank, or by alpha / sqrt(rank) if use_rslora is 1.
    /// Range 1e-30 to 1000000. Default 8.
    pub alpha: f64,
    /// The dropout probability for the input of each adapter during training. Range 0 to 0.9. Default 0.
    pub dropout: f64,
    /// Whether to use rank-stabilized LoRA. 1: the adapter's output is multiplied by alpha / sqrt(rank); 0: by alpha /
    /// rank. 0 or 1. Default 0.
    pub use_rslora: i32,
    /// Whether the pooler is trained. 1: it is trained and saved together with the adapters, like the classifier; 0: it
    /// doesn't change. Models without a pooler ignore this. 0 is refused if the model's pooler was not loaded from a
    /// saved model. 0 or 1. Default 1.
    pub train_pooler: i32,
    /// The seed for the initial values of A. Default 42.
    pub seed: u64,
}

sized_struct!(bert_lora_options {
    rank: setting(&LORA_RANK),
    targets: flags("BERT_LORA_", BERT_LORA_QUERY + BERT_LORA_VALUE, ALL_TARGETS),
    alpha: setting(&LORA_ALPHA),
    dropout: setting(&LORA_DROPOUT),
    use_rslora: zero_or_one(false),
    train_pooler: zero_or_one(true),
    seed: any(42u64),
});

/// Sets all fields of a bert_lora_options to their defaults. `struct_size` is sizeof(bert_lora_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
/// BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_lora_options_init(
    options: *mut bert_lora_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

fn lora_config(options: &bert_lora_options) -> Result<LoraConfig> {
    Ok(LoraConfig {
        rank: size(options.rank, "rank")?,
        alpha: options.alpha,
        rank_stabilized: flag(options.use_rslora, "use_rslora")?,
        dropout: options.dropout,
        targets: TARGETS
            .iter()
            .filter(|target| options.targets & target.0 != 0)
            .map(|target| target.1)
            .collect(),
        train_pooler: flag(options.train_pooler, "train_pooler")?,
    })
}

/// Creates a model with LoRA adapters from `model`. `model` doesn't change. `options` may be NULL for the defaults.
/// Free the new model with bert_free. Any thread.
///
/// An adapted projection computes y = W x + b + scale * B A x, where scale is alpha / rank (alpha / sqrt(rank) with
/// use_rslora). Before training, the new model computes the same as `model`. Training changes only the adapters, the
/// classifier and, with train_pooler, the pooler. All other weights are shared in memory with `model` and need no
/// gradients and no optimizer state. Training one of the two models doesn't change the other.
///
/// bert_save writes the new model as a plain model with the adapters merged into the weights. bert_save_adapter writes
/// only the adapters, the classifier and, with train_pooler, the pooler.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (an option is out of
/// range, `lora_model` is NULL, the model already has adapters, train_pooler is 0 but the model's pooler was not
/// loaded from a saved model), BERT_ERR_UNSUPPORTED (an int8 model), BERT_ERR_STRUCT_SIZE (the `struct_size` of
/// `options` is unknown), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked
/// child).
///
/// # Safety
/// `options` is NULL or was initialised by bert_lora_options_init. `lora_model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_add_lora(
    model: *const bert_model,
    options: *const bert_lora_options,
    lora_model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let (options, out) = unsafe {
            (
                sized::read_or_default(options)?,
                result(lora_model, "lora_model")?,
            )
        };
        let lora = lora_config(&options)?;
        give(out, model.classifier.add_lora(lora, options.seed)?);
        Ok(())
    })
}

/// Creates a model without adapters that computes the same as `model`, which has LoRA adapters. Each adapted W becomes
/// W + scale * B A, where scale is alpha / rank, or alpha / sqrt(rank) with use_rslora. `model` doesn't change. Free
/// the new model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`merged` is NULL, the
/// model has no adapters), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked
/// child).
///
/// # Safety
/// `merged` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_merge_lora(
    model: *const bert_model,
    merged: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let out = unsafe { result(merged, "merged") }?;
        give(out, model.classifier.merge_lora()?);
        Ok(())
    })
}

/// Saves a model's LoRA adapters as a PEFT directory: adapter_config.json and adapter_model.safetensors. The
/// classifier is saved too and, with train_pooler, the pooler, as PEFT's modules_to_save. These are all the weights
/// that differ from the model that was passed to bert_add_lora. bert_load_adapter and PEFT's PeftModel.from_pretrained
/// can load the directory. Any thread.
///
/// `path` (NUL-terminated) may be absent, an empty directory, or adapters that this library saved. Older adapters are
/// replaced in one step. Anything different at `path` is refused, also a saved model.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or
/// empty, the model has no adapters), BERT_ERR_IO (the directory can't be written, or is refused), BERT_ERR_FORKED
/// (this process is a forked child).
///
/// # Safety
/// `path` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_save_adapter(
    model: *const bert_model,
    path: *const c_char,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let path = unsafe { self::path(path, "path") }?;
        model.classifier.save_adapter(&path)
    })
}

/// Creates a model from `model` and the LoRA adapters in the PEFT directory at `path` (NUL-terminated). The classifier
/// and the pooler are taken from that directory if they were saved there. `model` doesn't change. The new model can be
/// trained further. Free it with bert_free. Any thread.
///
/// `model` must be the model on which the adapters were trained, as it was before that training. Its classifier may
/// have initial values. The label names are those that bert_save_adapter wrote. Adapters that PEFT wrote contain no
/// label names; the new model then has those of `model`. rank_pattern, alpha_pattern, layers_to_transform and
/// exclude_modules are followed. An adapter of the pooler is merged into the pooler. Other settings of PEFT that this
/// library doesn't support are refused with their name.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or
/// empty, `lora_model` is NULL, the model already has adapters), BERT_ERR_IO (a file is missing or can't be read),
/// BERT_ERR_FORMAT (a file is damaged, the adapters don't fit the model, or they need a pooler that neither the model
/// nor the directory has), BERT_ERR_VERSION (a newer version of this library wrote the directory),
/// BERT_ERR_UNSUPPORTED (this library doesn't support this kind of adapter, an int8 model), BERT_ERR_OUT_OF_MEMORY
/// (too little memory), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `path` ends with a NUL. `lora_model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_load_adapter(
    model: *const bert_model,
    path: *const c_char,
    lora_model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let (path, out) = unsafe { (self::path(path, "path")?, result(lora_model, "lora_model")?) };
        give(out, model.classifier.load_adapter(&path)?);
        Ok(())
    })
}
