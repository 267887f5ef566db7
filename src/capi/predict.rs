//! Predictions: one text, many, or ready token ids.

use std::ffi::c_char;

use super::arguments::{array, choice, flag, null, optional_text, output, size, text, text_pairs};
use super::boundary::call;
use super::fields::{
    any, constant, count, pointer, ranged, reserved, setting, written, zero_or_one,
};
use super::handles::{self, bert_model};
use super::model::{BERT_POOLING_MEAN, BERT_POOLING_POOLER, POOLINGS, bert_pooling};
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use super::trainer::{
    BERT_PRECISION_BFLOAT16, BERT_PRECISION_FLOAT16, BERT_PRECISION_FLOAT32, bert_precision,
};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::{BertConfig, InferencePrecision};
use crate::predict::{CombineWindows, EmbedOptions, LongText, PredictOptions, Predictions};
use crate::problem::ProblemType;
use crate::train::options::{THRESHOLD, threshold};

/// The treatment of texts that are longer than the maximum length.
pub type bert_long_text = i32;

/// Cuts texts that are longer than the maximum length. was_cut of the results tells which. The log reports the first
/// call of a model's handle that cuts a text, at BERT_LOG_WARNING.
pub const BERT_LONG_TEXT_TRUNCATE: bert_long_text = 0;
/// Splits texts that are longer than the maximum length into overlapping windows, and combines the windows' answers.
/// Of a pair of texts, the second text is split. Each window contains the first text, which is cut if it needs more
/// than about half of a window.
pub const BERT_LONG_TEXT_WINDOWS: bert_long_text = 1;

/// The method that makes one answer from the answers of a long text's windows.
pub type bert_combine = i32;

/// The mean of the windows' logits. For regression, the mean of the windows' values.
pub const BERT_COMBINE_MEAN_LOGITS: bert_combine = 0;
/// The mean of the windows' probabilities. The logits of the answer are computed from these means: the logarithm of a
/// class's probability p, or ln(p / (1 - p)) for a label of a multi-label model. Not for regression.
pub const BERT_COMBINE_MEAN_PROBABILITIES: bert_combine = 1;
/// Uses the answer of the window with the highest probability. For multi-label models this is decided separately for
/// each label. Not for regression.
pub const BERT_COMBINE_MOST_CONFIDENT: bert_combine = 2;

/// What predictions are computed in: each constant with what it is called inside.
pub(super) const INFERENCE_PRECISIONS: [(i32, InferencePrecision); 3] = [
    (BERT_PRECISION_FLOAT32, InferencePrecision::Float32),
    (BERT_PRECISION_BFLOAT16, InferencePrecision::BFloat16),
    (BERT_PRECISION_FLOAT16, InferencePrecision::Float16),
];

/// The options of a prediction. Initialise the struct with bert_predict_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_predict_options {
    /// The caller's sizeof(bert_predict_options), set by bert_predict_options_init.
    pub struct_size: usize,
    /// Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. The lengths 1
    /// to 3 are refused, and lengths above the model's max_position_embeddings. At least 0. Default 0.
    pub max_length: i32,
    /// Treatment of texts that are longer than the maximum length: BERT_LONG_TEXT_TRUNCATE or BERT_LONG_TEXT_WINDOWS.
    /// Default BERT_LONG_TEXT_TRUNCATE.
    pub long_text: bert_long_text,
    /// Number of text tokens that neighbouring windows share, with BERT_LONG_TEXT_WINDOWS. -1: a quarter of max_length,
    /// or of the model's maximum length if max_length is 0. It must be smaller than the number of text tokens that a
    /// window can hold; for pairs of texts, smaller than half of that number. At least -1. Default -1.
    pub window_stride: i32,
    /// Method that makes one answer from the answers of a long text's windows: BERT_COMBINE_MEAN_LOGITS,
    /// BERT_COMBINE_MEAN_PROBABILITIES or BERT_COMBINE_MOST_CONFIDENT. Default BERT_COMBINE_MEAN_LOGITS.
    pub combine: bert_combine,
    /// Number K of the best classes or labels that are written to top_label_ids and top_probabilities; 0: none. A
    /// number above the model's number of classes or labels is refused. It must be 0 for regression.
    /// At least 0. Default 0.
    pub top_k: i32,
    /// Reserved for a later version. Must be 0.
    pub reserved: i32,
    /// Probability from which has_label is 1, for multi-label models, from 0 to 1. -1: the model's own thresholds, see
    /// bert_set_thresholds. Other negative numbers are refused. Range -1 to 1. Default -1.
    pub threshold: f64,
    /// Number format in which the layers are computed: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
    /// BERT_PRECISION_FLOAT16. On the CPU bfloat16 is faster than float32 on processors with AMX or AVX512-BF16, and
    /// not on others; instead of float16 the CPU uses float32. Int8 models always use int8. Default
    /// BERT_PRECISION_FLOAT32.
    pub precision: bert_precision,
    /// Reserved for a later version. Must be 0.
    pub reserved2: i32,
}

sized_struct!(bert_predict_options {
    max_length: count(),
    long_text: constant(
        "BERT_LONG_TEXT_",
        BERT_LONG_TEXT_TRUNCATE,
        BERT_LONG_TEXT_TRUNCATE,
        BERT_LONG_TEXT_WINDOWS
    ),
    window_stride: ranged(-1, -1, i32::MAX),
    combine: constant(
        "BERT_COMBINE_",
        BERT_COMBINE_MEAN_LOGITS,
        BERT_COMBINE_MEAN_LOGITS,
        BERT_COMBINE_MOST_CONFIDENT
    ),
    top_k: count(),
    reserved: reserved(),
    threshold: setting(&THRESHOLD),
    precision: constant(
        "BERT_PRECISION_",
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT16
    ),
    reserved2: reserved(),
});

/// The answer for one text, as bert_predict writes it. Initialise the struct with bert_prediction_init or
/// BERT_PREDICTION_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_prediction {
    /// The caller's sizeof(bert_prediction), set by bert_prediction_init or BERT_PREDICTION_INIT.
    pub struct_size: usize,
    /// Id of the most probable class or label, even if its probability is low. 0 for regression.
    pub label_id: i32,
    /// Probability of the class or label `label_id`. NaN for regression.
    pub probability: f32,
    /// Name of the class, label or regression target `label_id`, in UTF-8 with a NUL at its end. The string belongs to
    /// the model's handle and becomes invalid when any thread frees that handle.
    pub label: *const c_char,
    /// Length of `label` in bytes, without the NUL.
    pub label_length: usize,
    /// Answer of a regression model with one target. NaN for classification.
    pub value: f32,
    /// Reserved for a later version. The library writes 0.
    pub reserved: i32,
    /// Whether the text was cut to the maximum length: 1 if it was, otherwise 0.
    pub was_cut: i32,
    /// Reserved for a later version. The library writes 0.
    pub reserved2: i32,
}

sized_struct!(bert_prediction, older [40], {
    label_id: written(),
    probability: written(),
    label: written(),
    label_length: written(),
    value: written(),
    reserved: written(),
    was_cut: written(),
    reserved2: written(),
});

/// Arrays of the caller for the answers to S texts. Initialise the struct with bert_predictions_init or
/// BERT_PREDICTIONS_INIT, then set the arrays that you want and their capacities. Arrays that are NULL are not filled.
/// Use label_ids and probabilities for single-label classification, has_label and probabilities for multi-label
/// classification, and values for regression. If an array isn't defined for the model's problem type, the call returns
/// BERT_ERR_UNSUPPORTED.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_predictions {
    /// The caller's sizeof(bert_predictions), set by bert_predictions_init or BERT_PREDICTIONS_INIT.
    pub struct_size: usize,
    /// Array for the id of each text's most probable class or label, shape [S]; NULL: not filled. Not for regression.
    pub label_ids: *mut i32,
    /// Number of elements that the array `label_ids` can hold.
    pub label_ids_capacity: usize,
    /// Array for the scores of the model before softmax or sigmoid, shape [S, L]; NULL: not filled. For regression
    /// these are the values of the targets.
    pub logits: *mut f32,
    /// Number of elements that the array `logits` can hold.
    pub logits_capacity: usize,
    /// Array for the probability of each class or label, shape [S, L]; NULL: not filled. The probabilities of a text's
    /// classes add up to 1; those of a multi-label model's labels are independent of each other. Not for regression.
    pub probabilities: *mut f32,
    /// Number of elements that the array `probabilities` can hold.
    pub probabilities_capacity: usize,
    /// Array for the ids of each text's K most probable classes or labels, shape [S, K]; NULL: not filled. The most
    /// probable one is first, and K is top_k of the options. Not for regression.
    pub top_label_ids: *mut i32,
    /// Number of elements that the array `top_label_ids` can hold.
    pub top_label_ids_capacity: usize,
    /// Array for the probabilities of each text's K most probable classes or labels, shape [S, K]; NULL: not filled.
    /// They are in the order of top_label_ids, and K is top_k of the options. Not for regression.
    pub top_probabilities: *mut f32,
    /// Number of elements that the array `top_probabilities` can hold.
    pub top_probabilities_capacity: usize,
    /// Array for one flag for each label, shape [S, L]; NULL: not filled. A flag is 1 if the label's probability is at
    /// least its threshold, otherwise 0: `threshold` of the options, or the model's. For multi-label models only.
    pub has_label: *mut u8,
    /// Number of elements that the array `has_label` can hold.
    pub has_label_capacity: usize,
    /// Array for the predicted values of the targets, shape [S, L]; NULL: not filled. For regression only.
    pub values: *mut f32,
    /// Number of elements that the array `values` can hold.
    pub values_capacity: usize,
    /// Array for one flag for each text, shape [S]; NULL: not filled. A flag is 1 if the text was cut to the maximum
    /// length, otherwise 0. With BERT_LONG_TEXT_WINDOWS only the first text of a pair can be cut.
    pub was_cut: *mut u8,
    /// Number of elements that the array `was_cut` can hold.
    pub was_cut_capacity: usize,
}

sized_struct!(bert_predictions, older [120], {
    label_ids: pointer(),
    label_ids_capacity: any(0usize),
    logits: pointer(),
    logits_capacity: any(0usize),
    probabilities: pointer(),
    probabilities_capacity: any(0usize),
    top_label_ids: pointer(),
    top_label_ids_capacity: any(0usize),
    top_probabilities: pointer(),
    top_probabilities_capacity: any(0usize),
    has_label: pointer(),
    has_label_capacity: any(0usize),
    values: pointer(),
    values_capacity: any(0usize),
    was_cut: pointer(),
    was_cut_capacity: any(0usize),
});

/// Initialises `options` with the defaults. `struct_size` is sizeof(bert_predict_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
/// is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_predict_options_init(
    options: *mut bert_predict_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Initialises `prediction` for bert_predict. `struct_size` is sizeof(bert_prediction). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`prediction` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
/// (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `prediction` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_prediction_init(
    prediction: *mut bert_prediction,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(prediction, struct_size, Sized_::default()) })
}

/// Initialises `predictions` for bert_predict_batch or bert_predict_ids; all arrays are NULL. `struct_size` is
/// sizeof(bert_predictions). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`predictions` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
/// (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `predictions` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_predictions_init(
    predictions: *mut bert_predictions,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(predictions, struct_size, Sized_::default()) })
}

/// What the caller wants of the answers.
#[derive(Clone, Copy)]
struct Wanted {
    top_k: usize,
    threshold: Option<f64>,
}

/// What becomes of long texts, by the caller's long_text, window_stride and combine; `most` is the model's maximum
/// length.
pub(super) fn long_text(
    (long_text, stride, combine): (bert_long_text, i32, bert_combine),
    max_length: usize,
    most: usize,
) -> Result<LongText> {
    let windows = choice(
        long_text,
        "long_text",
        &[
            (BERT_LONG_TEXT_TRUNCATE, false),
            (BERT_LONG_TEXT_WINDOWS, true),
        ],
    )?;
    let combine = choice(
        combine,
        "combine",
        &[
            (BERT_COMBINE_MEAN_LOGITS, CombineWindows::MeanLogits),
            (
                BERT_COMBINE_MEAN_PROBABILITIES,
                CombineWindows::MeanProbabilities,
            ),
            (BERT_COMBINE_MOST_CONFIDENT, CombineWindows::MostConfident),
        ],
    )?;
    let stride = match stride {
        -1 => {
            let length = if max_length == 0 { most } else { max_length };
            length / 4
        }
        stride => size(stride, "window_stride")?,
    };
    Ok(match windows {
        true => LongText::Windows { stride, combine },
        false => LongText::Truncate,
    })
}

/// Translates the caller's options.
fn translate(options: bert_predict_options, most: usize) -> Result<(PredictOptions, Wanted)> {
    let max_length = size(options.max_length, "max_length")?;
    let options_ = PredictOptions {
        max_length,
        long_text: long_text(
            (options.long_text, options.window_stride, options.combine),
            max_length,
            most,
        )?,
        precision: choice(options.precision, "precision", &INFERENCE_PRECISIONS)?,
    };
    let wanted = Wanted {
        top_k: size(options.top_k, "top_k")?,
        threshold: threshold(options.threshold)?,
    };
    Ok((options_, wanted))
}

/// The caller's arrays for `count` answers, checked before anything is computed.
struct Outputs<'a> {
    label_ids: Option<&'a mut [i32]>,
    logits: Option<&'a mut [f32]>,
    probabilities: Option<&'a mut [f32]>,
    top_label_ids: Option<&'a mut [i32]>,
    top_probabilities: Option<&'a mut [f32]>,
    has_label: Option<&'a mut [u8]>,
    values: Option<&'a mut [f32]>,
    was_cut: Option<&'a mut [u8]>,
    wanted: Wanted,
}

/// Says which of the caller's arrays a model of that problem has nothing for.
fn check_wanted(p: &bert_predictions, top_k: usize, problem: ProblemType) -> Result<()> {
    let is_regression = problem == ProblemType::Regression;
    let arrays = [
        ("label_ids", !p.label_ids.is_null(), !is_regression),
        ("probabilities", !p.probabilities.is_null(), !is_regression),
        (
            "top_label_ids and top_probabilities",
            top_k > 0 || !p.top_label_ids.is_null() || !p.top_probabilities.is_null(),
            !is_regression,
        ),
        (
            "has_label",
            !p.has_label.is_null(),
            problem == ProblemType::MultiLabel,
        ),
        ("values", !p.values.is_null(), is_regression),
    ];
    for (name, is_wanted, is_there) in arrays {
        if is_wanted && !is_there {
            let instead = match problem {
                ProblemType::SingleLabel => "label_ids and probabilities",
                ProblemType::MultiLabel => "has_label and probabilities",
                ProblemType::Regression => "values",
            };
            let argument = name.split(' ').next().unwrap_or_default();
            return Err(Error::Unsupported(format!(
                "This model's problem is {problem}, for which {name} can't be computed; ask for {instead}."
            ))
            .of_argument(argument));
        }
    }
    Ok(())
}

fn write_flags(out: &mut [u8], flags: &[bool]) {
    for (out, &flag) in out.iter_mut().zip(flags) {
        *out = u8::from(flag);
    }
}

impl<'a> Outputs<'a> {
    /// # Safety
    /// `predictions` is set by bert_predictions_init and its arrays are writable for their capacities.
    unsafe fn new(
        predictions: *mut bert_predictions,
        count: usize,
        config: &BertConfig,
        wanted: Wanted,
    ) -> Result<Outputs<'a>> {
        let (num_labels, top_k) = (config.num_labels, wanted.top_k);
        if top_k > num_labels {
            return Err(Error::InvalidArgument(format!(
                "top_k is {top_k}, but this model has {num_labels} classes."
            ))
            .of_argument("top_k"));
        }
        // The texts are in memory, and a class needs a row of weights: neither product can overflow on the way there.
        let all = count.saturating_mul(num_labels);
        let top = count.saturating_mul(top_k);
        // SAFETY: by this function's contract.
        unsafe {
            let p = sized::read(predictions)?;
            check_wanted(&p, top_k, config.problem_type)?;
            Ok(Outputs {
                label_ids: output(p.label_ids, p.label_ids_capacity, count, "label_ids")?,
                logits: output(p.logits, p.logits_capacity, all, "logits")?,
                probabilities: output(
                    p.probabilities,
                    p.probabilities_capacity,
                    all,
                    "probabilities",
                )?,
                top_label_ids: output(
                    p.top_label_ids,
                    p.top_label_ids_capacity,
                    top,
                    "top_label_ids",
                )?,
                top_probabilities: output(
                    p.top_probabilities,
                    p.top_probabilities_capacity,
                    top,
                    "top_probabilities",
                )?,
                has_label: output(p.has_label, p.has_label_capacity, all, "has_label")?,
                values: output(p.values, p.values_capacity, all, "values")?,
                was_cut: output(p.was_cut, p.was_cut_capacity, count, "was_cut")?,
                wanted,
            })
        }
    }

    fn write(self, answers: &Predictions, thresholds: &[f64]) {
        if let Some(out) = self.label_ids {
            for (out, &id) in out.iter_mut().zip(&answers.label_ids) {
                *out = id as i32;
            }
        }
        if let Some(out) = self.logits {
            out.copy_from_slice(&answers.logits);
        }
        if let Some(out) = self.probabilities {
            out.copy_from_slice(&answers.probabilities);
        }
        if let Some(out) = self.has_label {
            let labels = answers.has_labels(thresholds);
            for (out, has_label) in out.iter_mut().zip(labels) {
                *out = u8::from(has_label);
            }
        }
        if let Some(out) = self.values {
            out.copy_from_slice(&answers.logits);
        }
        if let Some(out) = self.was_cut {
            write_flags(out, &answers.is_cut);
        }
        let top_k = self.wanted.top_k;
        if top_k == 0 {
            return;
        }
        let top = (0..answers.len()).flat_map(|index| answers.top(index, top_k));
        let (ids, probabilities): (Vec<u32>, Vec<f32>) = top.unzip();
        if let Some(out) = self.top_label_ids {
            for (out, id) in out.iter_mut().zip(ids) {
                *out = id as i32;
            }
        }
        if let Some(out) = self.top_probabilities {
            out.copy_from_slice(&probabilities);
        }
    }
}

/// Classifies one text or one pair of texts. `pair` is the second text; NULL: there is none. An empty second text is a
/// pointer that isn't NULL, with length 0. The lengths are in bytes, or BERT_NUL_TERMINATED. An empty text is valid;
/// `text` may be NULL if its length is 0. `options` may be NULL: the defaults are used. top_k and threshold of the
/// options have no effect here. A multi-label model is refused, because one answer isn't enough for a text that has any
/// number of labels: use bert_predict_batch. Initialise `prediction` with bert_prediction_init or BERT_PREDICTION_INIT.
/// Any thread; many threads can predict with one model at the same time, also while it is trained.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, or an option is
/// out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` or `prediction` isn't initialised),
/// BERT_ERR_UTF8 (a text isn't valid UTF-8), BERT_ERR_UNSUPPORTED (a multi-label model, or regression with several
/// targets: use bert_predict_batch), BERT_ERR_NOT_FINITE (the model's scores are NaN or infinite),
/// BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// The texts are readable for their lengths, or end with a NUL. `options` is NULL or was initialised with
/// bert_predict_options_init. `prediction` was initialised with bert_prediction_init or BERT_PREDICTION_INIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_predict(
    model: *const bert_model,
    text: *const c_char,
    text_length: usize,
    pair: *const c_char,
    pair_length: usize,
    options: *const bert_predict_options,
    prediction: *mut bert_prediction,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        let classifier = &handle.classifier;
        // SAFETY: by this function's contract.
        let (text, pair, options) = unsafe {
            let arguments = (
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                sized::read_or_default(options)?,
            );
            // Checked before anything is computed.
            sized::check_result(prediction)?;
            arguments
        };
        let config = &classifier.model().config;
        let (options, _) = translate(options, classifier.max_length(0)?)?;
        match config.problem_type {
            ProblemType::Regression if config.num_labels > 1 => {
                return Err(Error::Unsupported(format!(
                    "This model gives {} numbers for each text; use bert_predict_batch, which writes them to values.",
                    config.num_labels
                )));
            }
            ProblemType::MultiLabel => {
                return Err(Error::Unsupported(
                    "This model is a multi-label model: a text has any number of labels. Use bert_predict_batch, which \
                     writes them to has_label."
                        .into(),
                ));
            }
            ProblemType::SingleLabel | ProblemType::Regression => {}
        }
        let answers = classifier.predict(&[(text, pair)], &options)?;
        let (label_id, probability, value) = match answers.problem_type {
            ProblemType::Regression => (0, f32::NAN, answers.logits[0]),
            _ => {
                let best = answers.label_ids[0] as usize;
                (best, answers.probabilities[best], f32::NAN)
            }
        };
        let name = &handle.label_names[label_id];
        let value = bert_prediction {
            label_id: label_id as i32,
            probability,
            label: name.as_ptr().cast(),
            label_length: name.len() - 1,
            value,
            was_cut: i32::from(answers.is_cut[0]),
            ..bert_prediction::default()
        };
        // SAFETY: by this function's contract.
        unsafe { sized::write(prediction, &value) }
    })
}

/// Classifies `count` texts or pairs of texts in one call. The memory for the computation doesn't grow with `count`.
/// `lengths` contains the texts' lengths in bytes; NULL: all texts end with a NUL. `pairs` contains the second texts;
/// NULL: there are none. `pair_lengths` contains their lengths; NULL: all second texts end with a NUL. A NULL element
/// of `pairs` means that this text has no second text. An empty second text is a pointer that isn't NULL, with length
/// 0. A NULL element of `texts` with length 0 is an empty text. `options` may be NULL: the defaults are used.
/// Initialise `predictions` with bert_predictions_init or BERT_PREDICTIONS_INIT, then set the arrays that you want. Any
/// thread; many threads can predict with one model at the same time, also while it is trained.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, or an option is
/// out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` or `predictions` isn't initialised),
/// BERT_ERR_UTF8 (a text isn't valid UTF-8), BERT_ERR_BUFFER_TOO_SMALL (an array of `predictions`; nothing was
/// written), BERT_ERR_UNSUPPORTED (an array that isn't defined for the model's problem type), BERT_ERR_NOT_FINITE (the
/// model's scores are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in
/// a forked child process).
///
/// # Safety
/// `texts`, and `lengths`, `pairs` and `pair_lengths` if they aren't NULL, have `count` elements. The texts are
/// readable for their lengths, or end with a NUL. `options` is NULL or was initialised with bert_predict_options_init.
/// `predictions` was initialised with bert_predictions_init or BERT_PREDICTIONS_INIT. Its arrays are NULL or writable
/// for their capacities.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_predict_batch(
    model: *const bert_model,
    count: usize,
    texts: *const *const c_char,
    lengths: *const usize,
    pairs: *const *const c_char,
    pair_lengths: *const usize,
    options: *const bert_predict_options,
    predictions: *mut bert_predictions,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        let classifier = &handle.classifier;
        let config = &classifier.model().config;
        // SAFETY: by this function's contract.
        let (texts, options, outputs) = unsafe {
            let texts = text_pairs(count, texts, lengths, pairs, pair_lengths)?;
            let options = sized::read_or_default(options)?;
            let (options, wanted) = translate(options, classifier.max_length(0)?)?;
            let outputs = Outputs::new(predictions, count, config, wanted)?;
            (texts, options, outputs)
        };
        let thresholds = classifier.thresholds_or(outputs.wanted.threshold);
        outputs.write(&classifier.predict(&texts, &options)?, &thresholds);
        Ok(())
    })
}

/// Classifies `count` sequences of token ids, for example from bert_tokenize. The sequences already contain [CLS] and
/// [SEP]. `ids` and `token_type_ids` contain the sequences one after another, shape [T]: sequence i has `lengths[i]`
/// tokens, and T is the sum of all lengths. `token_type_ids` may be NULL: all are 0. `options` may be NULL: the
/// defaults are used. Only top_k, threshold and precision of the options have an effect here. Initialise `predictions`
/// with bert_predictions_init or BERT_PREDICTIONS_INIT, then set the arrays that you want. Any thread; many threads can
/// predict with one model at the same time, also while it is trained.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, an option is
/// out of its range, a sequence is empty or longer than max_position_embeddings, or an id is too large for the model),
/// BERT_ERR_STRUCT_SIZE (`options` or `predictions` isn't initialised), BERT_ERR_BUFFER_TOO_SMALL (an array of
/// `predictions`; nothing was written), BERT_ERR_UNSUPPORTED (an array that isn't defined for the model's problem
/// type), BERT_ERR_NOT_FINITE (the model's scores are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not
/// enough memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `lengths` has `count` elements. `ids`, and `token_type_ids` if it isn't NULL, have as many elements as the sum of
/// `lengths`. `options` is NULL or was initialised with bert_predict_options_init. `predictions` was initialised with
/// bert_predictions_init or BERT_PREDICTIONS_INIT. Its arrays are NULL or writable for their capacities.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_predict_ids(
    model: *const bert_model,
    count: usize,
    ids: *const u32,
    token_type_ids: *const u32,
    lengths: *const usize,
    options: *const bert_predict_options,
    predictions: *mut bert_predictions,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        let classifier = &handle.classifier;
        let config = &classifier.model().config;
        // SAFETY: by this function's contract. They tell how long the other arrays are.
        let lengths = unsafe { array(lengths, count, "lengths") }?;
        classifier.check_lengths(lengths.iter().copied())?;
        let mut offsets = memory::room(count + 1)?;
        offsets.push(0usize);
        for &length in lengths {
            let end = offsets[offsets.len() - 1]
                .checked_add(length)
                .ok_or_else(|| {
                    Error::InvalidArgument(
                        "The sequences' lengths add up to more than memory holds.".into(),
                    )
                    .of_argument("lengths")
                })?;
            offsets.push(end);
        }
        let tokens = offsets[count];
        // SAFETY: by this function's contract.
        let (ids, types, options) = unsafe {
            let ids = array(ids, tokens, "ids")?;
            let types = if token_type_ids.is_null() {
                None
            } else {
                Some(array(token_type_ids, tokens, "token_type_ids")?)
            };
            (ids, types, sized::read_or_default(options)?)
        };
        let (options, wanted) = translate(options, classifier.max_length(0)?)?;
        // SAFETY: as above.
        let outputs = unsafe { Outputs::new(predictions, count, config, wanted) }?;
        let sequences = Batch::new(
            memory::copied(ids)?,
            types.map_or_else(|| memory::filled(0, tokens), memory::copied)?,
            offsets,
        )?;
        let thresholds = classifier.thresholds_or(outputs.wanted.threshold);
        let answers = classifier.predict_ids(&sequences, options.precision)?;
        outputs.write(&answers, &thresholds);
        Ok(())
    })
}

/// The options for making vectors from texts. Initialise the struct with bert_embed_options_init. The files that
/// sentence-transformers puts beside a model (modules.json, sentence_bert_config.json, 1_Pooling/config.json) have no
/// effect on the defaults. bert_load writes a log line (BERT_LOG_INFO) with the options that do what these files ask
/// for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_embed_options {
    /// The caller's sizeof(bert_embed_options), set by bert_embed_options_init.
    pub struct_size: usize,
    /// Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. Longer texts
    /// are cut. The lengths 1 to 3 are refused, and lengths above the model's max_position_embeddings.
    /// At least 0. Default 0.
    pub max_length: i32,
    /// Method that makes one vector from the states of a text's tokens. BERT_POOLING_MEAN: the mean of all tokens'
    /// states. BERT_POOLING_CLS: the state of [CLS]. BERT_POOLING_POOLER: the output of the pooler, if the model has
    /// one whose values were loaded or trained. Default BERT_POOLING_MEAN.
    pub pooling: bert_pooling,
    /// 1: vectors are scaled to length 1; 0: they aren't. 0 or 1. Default 0.
    pub normalise: i32,
    /// Number format in which the layers are computed: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
    /// BERT_PRECISION_FLOAT16. On the CPU bfloat16 is faster than float32 on processors with AMX or AVX512-BF16, and
    /// not on others; instead of float16 the CPU uses float32. Int8 models always use int8. Default
    /// BERT_PRECISION_FLOAT32.
    pub precision: bert_precision,
    /// Array of the caller for one flag for each text, shape [S]; NULL: not filled. bert_embed writes 1 for a text that
    /// was cut to the maximum length, otherwise 0. Default NULL.
    pub was_cut: *mut u8,
    /// Number of elements that the array `was_cut` can hold. Default 0.
    pub was_cut_capacity: usize,
}

sized_struct!(bert_embed_options, older [24], {
    max_length: count(),
    pooling: constant(
        "BERT_POOLING_",
        BERT_POOLING_MEAN,
        BERT_POOLING_POOLER,
        BERT_POOLING_MEAN
    ),
    normalise: zero_or_one(false),
    precision: constant(
        "BERT_PRECISION_",
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT16
    ),
    was_cut: pointer(),
    was_cut_capacity: any(0usize),
});

/// Initialises `options` with the defaults. `struct_size` is sizeof(bert_embed_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
/// is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_embed_options_init(
    options: *mut bert_embed_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Writes one vector of hidden_size numbers for each of `count` texts or pairs of texts. `vectors` receives the vectors
/// one after another, shape [S, H] with S = `count`; it has room for `capacity` numbers. `lengths` contains the texts'
/// lengths in bytes; NULL: all texts end with a NUL. `pairs` contains the second texts; NULL: there are none.
/// `pair_lengths` contains their lengths; NULL: all second texts end with a NUL. A NULL element of `pairs` means that
/// this text has no second text. An empty second text is a pointer that isn't NULL, with length 0. A NULL element of
/// `texts` with length 0 is an empty text. `options` may be NULL: the defaults are used. Any thread; many threads can
/// use one model at the same time, also while it is trained.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, or an option is
/// out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` isn't initialised), BERT_ERR_UTF8 (a
/// text isn't valid UTF-8), BERT_ERR_BUFFER_TOO_SMALL (`vectors`; nothing was written), BERT_ERR_UNSUPPORTED
/// (BERT_POOLING_POOLER, but the model has no pooler, or one with initial values), BERT_ERR_NOT_FINITE (a vector would
/// have numbers that are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED
/// (in a forked child process).
///
/// # Safety
/// `texts`, and `lengths`, `pairs` and `pair_lengths` if they aren't NULL, have `count` elements. The texts are
/// readable for their lengths, or end with a NUL. `options` is NULL or was initialised with bert_embed_options_init.
/// `vectors` is writable for `capacity` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_embed(
    model: *const bert_model,
    count: usize,
    texts: *const *const c_char,
    lengths: *const usize,
    pairs: *const *const c_char,
    pair_lengths: *const usize,
    options: *const bert_embed_options,
    vectors: *mut f32,
    capacity: usize,
) -> bert_status {
    call(|| {
        let handle = handles::model(model)?;
        let classifier = &handle.classifier;
        let needed = count.saturating_mul(classifier.model().config.hidden_size);
        // SAFETY: by this function's contract.
        let (texts, options, out, was_cut) = unsafe {
            let texts = text_pairs(count, texts, lengths, pairs, pair_lengths)?;
            let options = sized::read_or_default(options)?;
            (
                texts,
                options,
                output(vectors, capacity, needed, "vectors")?,
                output(options.was_cut, options.was_cut_capacity, count, "was_cut")?,
            )
        };
        let Some(out) = out else {
            if needed == 0 {
                return Ok(());
            }
            return Err(null("vectors"));
        };
        let options = EmbedOptions {
            max_length: size(options.max_length, "max_length")?,
            pooling: choice(options.pooling, "pooling", &POOLINGS)?,
            normalise: flag(options.normalise, "normalise")?,
            precision: choice(options.precision, "precision", &INFERENCE_PRECISIONS)?,
        };
        let found = classifier.embed(&texts, &options)?;
        out.copy_from_slice(&found.vectors);
        if let Some(out) = was_cut {
            write_flags(out, &found.is_cut);
        }
        Ok(())
    })
}
