//! Fitting the classifier alone.

use super::arguments::{array, choice, size};
use super::boundary::call;
use super::dataset::copy_of;
use super::fields::{any, constant, count, pointer, reserved, setting, written};
use super::handles::{self, bert_dataset, bert_model};
use super::predict::INFERENCE_PRECISIONS;
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use super::trainer::{
    BERT_PRECISION_FLOAT16, BERT_PRECISION_FLOAT32, bert_precision, write_report,
};
use crate::train::fit_head::{
    FitHeadOptions, FitHeadReport, INVERSE_REGULARIZATION, MAX_ITERATIONS, TOLERANCE,
};

/// Options of bert_fit_head. Call bert_fit_head_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_fit_head_options {
    /// The caller's sizeof(bert_fit_head_options), set by bert_fit_head_options_init.
    pub struct_size: usize,
    /// Weight of the examples against the penalty on large weights: C of scikit-learn's LogisticRegression, and 1 /
    /// alpha of its Ridge. A smaller number makes the penalty stronger. Range 1e-10 to 10000000000. Default 1.
    pub inverse_regularization: f64,
    /// Size of a derivative that counts as zero: the fit has converged when no derivative of the mean loss is larger.
    /// If the largest derivative at the beginning is above 1, the limit is this number multiplied by that derivative.
    /// Range 1e-15 to 1. Default 1e-8.
    pub tolerance: f64,
    /// Maximum number of iterations; for multi-label classification, of iterations for each label.
    /// Range 1 to 1000000. Default 1000.
    pub max_iterations: i32,
    /// Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. Longer texts
    /// are cut. The lengths 1 to 3 are refused, and lengths above the model's max_position_embeddings.
    /// At least 0. Default 0.
    pub max_length: i32,
    /// Weight of each class, in the order of the class ids, shape [L]. NULL: all classes have the same weight. Each
    /// weight must be above 0 and at most 1000000. For single-label classification only. Default NULL.
    pub class_weights: *const f64,
    /// Number of elements in class_weights: the model's number of classes, or 0 without class weights. Default 0.
    pub num_class_weights: usize,
    /// Number format in which a GPU computes the layers: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
    /// BERT_PRECISION_FLOAT16. It has no effect on the CPU, which uses float32. Default BERT_PRECISION_FLOAT32.
    pub precision: bert_precision,
    /// Reserved for a later version. Must be 0.
    pub reserved: i32,
}

sized_struct!(bert_fit_head_options {
    inverse_regularization: setting(&INVERSE_REGULARIZATION),
    tolerance: setting(&TOLERANCE),
    max_iterations: setting(&MAX_ITERATIONS),
    max_length: count(),
    class_weights: pointer(),
    num_class_weights: any(0usize),
    precision: constant(
        "BERT_PRECISION_",
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT16
    ),
    reserved: reserved(),
});

/// The result of bert_fit_head. Initialise it with bert_fit_head_report_init or BERT_FIT_HEAD_REPORT_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_fit_head_report {
    /// The caller's sizeof(bert_fit_head_report), set by bert_fit_head_report_init or BERT_FIT_HEAD_REPORT_INIT.
    pub struct_size: usize,
    /// Number of examples.
    pub examples: i64,
    /// Number of examples whose text was cut to the maximum length.
    pub truncated: i64,
    /// Number of iterations done; for multi-label classification, of the label that needed the most.
    pub iterations: i32,
    /// Whether the fit has converged: 1 if the tolerance was reached, for all labels; 0 if it ended before.
    pub is_converged: i32,
    /// Mean loss of the examples with the fitted classifier, as in bert_evaluation.
    pub loss: f64,
    /// Share of the examples that the fitted classifier predicts correctly, as in bert_evaluation. NaN for regression.
    pub accuracy: f64,
    /// Elapsed time in seconds.
    pub seconds: f64,
}

sized_struct!(bert_fit_head_report {
    examples: written(),
    truncated: written(),
    iterations: written(),
    is_converged: written(),
    loss: written(),
    accuracy: written(),
    seconds: written(),
});

/// Initialises `options` with the defaults. `struct_size` is sizeof(bert_fit_head_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
/// is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_fit_head_options_init(
    options: *mut bert_fit_head_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Initialises `report` for bert_fit_head. `struct_size` is sizeof(bert_fit_head_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
/// not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_fit_head_report_init(
    report: *mut bert_fit_head_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Fits the classifier of a model to the examples of `dataset`, and leaves the encoder as it is. Use it with a
/// pretrained model and few examples, some ten to some thousand, and to see what fine-tuning with bert_train must beat.
/// It takes about as long as predicting the examples once. It needs no learning rate, and its result doesn't depend on
/// a seed, on the order of the examples, on the number of threads or on the classifier's former weights. `options` may
/// be NULL: the defaults are used. `report` may be NULL; otherwise initialise it with bert_fit_head_report_init or
/// BERT_FIT_HEAD_REPORT_INIT.
///
/// The classifier reads one vector for each text, as in predictions: see bert_info.pooling. For these vectors the
/// weights and biases of the classifier become the ones that scikit-learn finds. Single-label and multi-label
/// classification: those of LogisticRegression, for multi-label classification one for each label. Regression: those of
/// Ridge. Biases aren't penalised. A class without examples, or a label that is on all or on none of the examples, is
/// reported as a warning in the log.
///
/// Predictions that run at the same time use the classifier from before the call or the one from after it. If the call
/// fails, the model doesn't change. A fit that ends before it has converged is BERT_OK: `report` and a warning in the
/// log say so. Any thread, but only one thread at a time can train a model; not inside a callback of a training call on
/// the same model.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` or `dataset` is invalid), BERT_ERR_INVALID_ARGUMENT (an option is out of
/// its range or doesn't fit the model, there are pairs of texts but type_vocab_size is 1, or `report` isn't aligned),
/// BERT_ERR_STRUCT_SIZE (`options` or `report` isn't initialised), BERT_ERR_DATA (no examples, all examples of one
/// class, or labels for another problem type), BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have),
/// BERT_ERR_UNSUPPORTED (`model` is int8), BERT_ERR_BUSY (another call trains the model), BERT_ERR_NOT_FINITE (a vector
/// or a weight would have numbers that are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
/// BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or was initialised with bert_fit_head_options_init, and class_weights has num_class_weights
/// elements. `report` is NULL or was initialised with bert_fit_head_report_init or BERT_FIT_HEAD_REPORT_INIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_fit_head(
    model: *mut bert_model,
    dataset: *const bert_dataset,
    options: *const bert_fit_head_options,
    report: *mut bert_fit_head_report,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let (options, class_weights) = unsafe {
            let o = sized::read_or_default(options)?;
            let weights = array(o.class_weights, o.num_class_weights, "class_weights")?.to_vec();
            sized::check_report(report)?;
            (o, weights)
        };
        let options = FitHeadOptions {
            inverse_regularization: options.inverse_regularization,
            max_iterations: size(options.max_iterations, "max_iterations")? as u32,
            tolerance: options.tolerance,
            max_length: size(options.max_length, "max_length")?,
            class_weights,
            precision: choice(options.precision, "precision", &INFERENCE_PRECISIONS)?,
        };
        let FitHeadReport {
            examples,
            truncated,
            iterations,
            is_converged,
            loss,
            accuracy,
            seconds,
        } = model.classifier.fit_head(&copy_of(&dataset)?, &options)?;
        let value = bert_fit_head_report {
            struct_size: 0,
            examples: examples as i64,
            truncated: truncated as i64,
            iterations: iterations as i32,
            is_converged: i32::from(is_converged),
            loss,
            accuracy,
            seconds,
        };
        // SAFETY: by this function's contract.
        unsafe { write_report(report, &value) }
    })
}
