//! LoRA adapters: models with them, merged, saved apart.

use std::ffi::c_char;

use super::arguments::{flag, path, result, size};
use super::boundary::call;
use super::handles::{self, bert_model};
use super::model::give;
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use crate::error::{Error, Result};
use crate::model::{LoraConfig, Projection};

/// An adapter on each block's attention.self.query.
pub const BERT_LORA_QUERY: u32 = 1;
/// An adapter on each block's attention.self.key.
pub const BERT_LORA_KEY: u32 = 2;
/// An adapter on each block's attention.self.value.
pub const BERT_LORA_VALUE: u32 = 4;
/// An adapter on each block's attention.output.dense.
pub const BERT_LORA_ATTENTION_OUTPUT: u32 = 8;
/// An adapter on each block's intermediate.dense.
pub const BERT_LORA_INTERMEDIATE: u32 = 16;
/// An adapter on each block's output.dense.
pub const BERT_LORA_OUTPUT: u32 = 32;

const TARGETS: [(u32, Projection); 6] = [
    (BERT_LORA_QUERY, Projection::Query),
    (BERT_LORA_KEY, Projection::Key),
    (BERT_LORA_VALUE, Projection::Value),
    (BERT_LORA_ATTENTION_OUTPUT, Projection::AttentionOutput),
    (BERT_LORA_INTERMEDIATE, Projection::Intermediate),
    (BERT_LORA_OUTPUT, Projection::Output),
];

/// The adapters that bert_add_lora makes. Call bert_lora_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_lora_options {
    /// sizeof(bert_lora_options), set by bert_lora_options_init.
    pub struct_size: usize,
    /// Rows of A and columns of B, 1 to 4096. Default 8.
    pub rank: i32,
    /// Which projections of every block get an adapter: BERT_LORA_… added up. Default BERT_LORA_QUERY + BERT_LORA_VALUE.
    pub targets: u32,
    /// What B A is multiplied with, times the rank. Default 8.
    pub alpha: f64,
    /// Dropout in training on what A reads, 0 to 0.9. Default 0.
    pub dropout: f64,
    /// 1: alpha is divided by the root of the rank (rank-stabilized LoRA); 0 (default): by the rank.
    pub use_rslora: i32,
    /// 1 (default): the pooler, where the model has one, is trained and saved with the adapters, as the classifier always
    /// is; 0: it stays as it is, which is refused where the model's pooler is new.
    pub train_pooler: i32,
    /// Decides the initial values of A. Default 42.
    pub seed: u64,
}

sized_struct!(bert_lora_options, || {
    let default = LoraConfig::default();
    bert_lora_options {
        struct_size: size_of::<bert_lora_options>(),
        rank: default.rank as i32,
        targets: BERT_LORA_QUERY + BERT_LORA_VALUE,
        alpha: default.alpha,
        dropout: default.dropout,
        use_rslora: i32::from(default.rank_stabilized),
        train_pooler: i32::from(default.train_pooler),
        seed: 42,
    }
});

/// Sets the defaults. `struct_size` is sizeof(bert_lora_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
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
    let known: u32 = TARGETS.iter().map(|target| target.0).sum();
    if options.targets & !known != 0 {
        return Err(Error::InvalidArgument(format!(
            "targets is {}; it must be a sum of BERT_LORA_… constants.",
            options.targets
        )));
    }
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

/// Makes a model that is `model` with LoRA adapters on chosen projections: y = W x + b + alpha / rank · B A x. It computes
/// what `model` computes, until it is trained: then the adapters, the classifier and the pooler learn, and everything
/// else stays as it is, shared in memory with `model`, without gradients and moments. bert_save of it writes a plain model
/// with the adapters merged in; bert_save_adapter writes the adapters alone. `options` may be NULL. Later changes to
/// either model don't reach the other. Free the new model with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an option out of its range, a model that has adapters
/// already, train_pooler 0 where the model's pooler is new), BERT_ERR_STRUCT_SIZE, BERT_ERR_OUT_OF_MEMORY,
/// BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or set by bert_lora_options_init; `lora_model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_add_lora(
    model: *const bert_model,
    options: *const bert_lora_options,
    lora_model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (out, options) = unsafe {
            (
                result(lora_model, "lora_model")?,
                sized::read_or_default(options)?,
            )
        };
        let model = handles::model(model)?;
        let lora = lora_config(&options)?;
        give(out, model.classifier.add_lora(lora, options.seed)?);
        Ok(())
    })
}

/// Makes a model without adapters that computes what `model` with them computes: W becomes W + alpha / rank · B A. Free it
/// with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model without adapters), BERT_ERR_OUT_OF_MEMORY,
/// BERT_ERR_FORKED.
///
/// # Safety
/// `merged` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_merge_lora(
    model: *const bert_model,
    merged: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let out = unsafe { result(merged, "merged") }?;
        let model = handles::model(model)?;
        give(out, model.classifier.merge_lora()?);
        Ok(())
    })
}

/// Writes a model's adapters as a PEFT directory, adapter_config.json and adapter_model.safetensors, with the classifier
/// and (with train_pooler) the pooler among its modules_to_save: all that the model that bert_add_lora was given lacks.
/// PEFT's PeftModel.from_pretrained and bert_load_adapter load it. The directory at `path` (NUL-terminated) may be absent,
/// empty, or adapters that this library saved, which are replaced in one step; anything else is refused, a saved model
/// too. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model without adapters), BERT_ERR_IO,
/// BERT_ERR_FORKED.
///
/// # Safety
/// `path` ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_save_adapter(
    model: *const bert_model,
    path: *const c_char,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let path = unsafe { self::path(path, "path") }?;
        handles::model(model)?.classifier.save_adapter(&path)
    })
}

/// Makes a model that is `model` with the adapters in the PEFT directory at `path` (NUL-terminated), and with the
/// classifier and pooler that are saved there. `model` must be the one that they were trained on, as it was before; its
/// classifier may be new. The classes are those that bert_save_adapter wrote; for adapters of PEFT, which has no place for
/// their names, `model`'s. Settings of PEFT that this library doesn't compute are refused by name. The model can be
/// trained further. Free it with bert_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model that has adapters already), BERT_ERR_IO (a file is
/// missing or can't be read), BERT_ERR_FORMAT (a file is damaged, the adapters don't fit the model, or need a pooler that
/// neither has), BERT_ERR_VERSION, BERT_ERR_UNSUPPORTED (a kind of adapter that this library doesn't run),
/// BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `path` ends with a NUL, `lora_model` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_load_adapter(
    model: *const bert_model,
    path: *const c_char,
    lora_model: *mut *mut bert_model,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (out, path) = unsafe { (result(lora_model, "lora_model")?, self::path(path, "path")?) };
        let model = handles::model(model)?;
        give(out, model.classifier.load_adapter(&path)?);
        Ok(())
    })
}
