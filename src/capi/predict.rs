//! Predictions: one text, many, or ready token ids.

use std::ffi::c_char;

use super::arguments::{array, choice, flag, optional_text, output, size, text, text_pairs};
use super::boundary::call;
use super::handles::{self, bert_model};
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use crate::data::Batch;
use crate::error::{Error, Result, check_range};
use crate::memory;
use crate::model::{BertConfig, InferencePrecision};
use crate::predict::{CombineWindows, EmbedOptions, LongText, PredictOptions, Predictions};
use crate::problem::ProblemType;

/// A text that is longer than the maximum length is cut.
pub const BERT_LONG_TEXT_TRUNCATE: i32 = 0;
/// A text that is longer than the maximum length is classified by overlapping windows.
pub const BERT_LONG_TEXT_WINDOWS: i32 = 1;

/// The mean of the windows' logits; for regression, of their values.
pub const BERT_COMBINE_MEAN_LOGITS: i32 = 0;
/// The mean of the windows' probabilities; the logits given are their logarithms, of a label's probability p
/// ln(p / (1 - p)). Not for regression.
pub const BERT_COMBINE_MEAN_PROBABILITIES: i32 = 1;
/// The window that is surest decides; for a multi-label model, for each label the window where it is most probable. Not
/// for regression.
pub const BERT_COMBINE_MOST_CONFIDENT: i32 = 2;

/// What predictions are computed in: each constant with what it is called inside.
pub(super) const INFERENCE_PRECISIONS: [(i32, InferencePrecision); 3] = [
    (super::BERT_PRECISION_FLOAT32, InferencePrecision::Float32),
    (super::BERT_PRECISION_BFLOAT16, InferencePrecision::BFloat16),
    (super::BERT_PRECISION_FLOAT16, InferencePrecision::Float16),
];

/// How texts are classified. Call bert_predict_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_predict_options {
    /// sizeof(bert_predict_options), set by bert_predict_options_init.
    pub struct_size: usize,
    /// Longest sequence in tokens; 0 (default) takes what the model allows.
    pub max_length: i32,
    /// BERT_LONG_TEXT_TRUNCATE (default) or BERT_LONG_TEXT_WINDOWS.
    pub long_text: i32,
    /// Tokens of text that neighbouring windows share; -1 (default) takes a quarter of the maximum length.
    pub window_stride: i32,
    /// BERT_COMBINE_MEAN_LOGITS (default), _MEAN_PROBABILITIES or _MOST_CONFIDENT.
    pub combine: i32,
    /// How many of the best classes or labels go to top_label_ids and top_probabilities; 0 (default) none.
    pub top_k: i32,
    /// The probability, 0 to 1, from which on a multi-label model's has_label is 1. Default 0.5.
    pub threshold: f64,
    /// What a GPU computes the layers in: BERT_PRECISION_FLOAT32 (default), _BFLOAT16 or _FLOAT16. The CPU computes in
    /// float32 whichever it is.
    pub precision: i32,
}

sized_struct!(bert_predict_options, || bert_predict_options {
    struct_size: size_of::<bert_predict_options>(),
    max_length: 0,
    long_text: BERT_LONG_TEXT_TRUNCATE,
    window_stride: -1,
    combine: BERT_COMBINE_MEAN_LOGITS,
    top_k: 0,
    threshold: 0.5,
    precision: super::BERT_PRECISION_FLOAT32,
});

/// The answer for one text. Call bert_prediction_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_prediction {
    /// sizeof(bert_prediction), set by bert_prediction_init.
    pub struct_size: usize,
    /// The most probable class, or label of a multi-label model, however improbable; 0 for regression.
    pub label_id: i32,
    /// Its probability; NaN for regression.
    pub probability: f32,
    /// Its name, NUL-terminated; it belongs to the model and lives until the model's handle is freed.
    pub label: *const c_char,
    /// The name's length in bytes.
    pub label_length: usize,
    /// The answer of a regression model with one target; NaN for classification.
    pub value: f32,
}

sized_struct!(bert_prediction, || bert_prediction {
    struct_size: size_of::<bert_prediction>(),
    label_id: 0,
    probability: 0.0,
    label: std::ptr::null(),
    label_length: 0,
    value: 0.0,
});

/// Where the answers for n texts go: arrays of the caller's, each with its capacity in elements. What is NULL isn't
/// wanted; an array for something that the model's problem doesn't have is refused. For single-label classification take
/// label_ids and probabilities, for multi-label classification has_label and probabilities, for regression values. Call bert_predictions_init first, then set them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_predictions {
    /// sizeof(bert_predictions), set by bert_predictions_init.
    pub struct_size: usize,
    /// The most probable class of each text, or label of a multi-label model: n. Not for regression.
    pub label_ids: *mut i32,
    /// Its capacity.
    pub label_ids_capacity: usize,
    /// The model's scores, before softmax or sigmoid, text by text: n * num_labels.
    pub logits: *mut f32,
    /// Its capacity.
    pub logits_capacity: usize,
    /// Probabilities, text by text: n * num_labels. Those of a text's classes sum to 1; a multi-label model's are each by
    /// itself. Not for regression.
    pub probabilities: *mut f32,
    /// Its capacity.
    pub probabilities_capacity: usize,
    /// The top_k best classes or labels of each text, the best first: n * top_k. Not for regression.
    pub top_label_ids: *mut i32,
    /// Its capacity.
    pub top_label_ids_capacity: usize,
    /// Their probabilities: n * top_k.
    pub top_probabilities: *mut f32,
    /// Its capacity.
    pub top_probabilities_capacity: usize,
    /// 1 for each label whose probability is at least the threshold, else 0, text by text: n * num_labels. For multi-label
    /// models alone.
    pub has_label: *mut u8,
    /// Its capacity.
    pub has_label_capacity: usize,
    /// The values of the targets, text by text: n * num_labels. For regression alone.
    pub values: *mut f32,
    /// Its capacity.
    pub values_capacity: usize,
}

sized_struct!(bert_predictions, || bert_predictions {
    struct_size: size_of::<bert_predictions>(),
    label_ids: std::ptr::null_mut(),
    label_ids_capacity: 0,
    logits: std::ptr::null_mut(),
    logits_capacity: 0,
    probabilities: std::ptr::null_mut(),
    probabilities_capacity: 0,
    top_label_ids: std::ptr::null_mut(),
    top_label_ids_capacity: 0,
    top_probabilities: std::ptr::null_mut(),
    top_probabilities_capacity: 0,
    has_label: std::ptr::null_mut(),
    has_label_capacity: 0,
    values: std::ptr::null_mut(),
    values_capacity: 0,
});

/// Sets the defaults. `struct_size` is sizeof(bert_predict_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_predict_options_init(
    options: *mut bert_predict_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Prepares the struct for bert_predict. `struct_size` is sizeof(bert_prediction). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `prediction` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_prediction_init(
    prediction: *mut bert_prediction,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(prediction, struct_size, Sized_::default()) })
}

/// Prepares the struct for bert_predict_batch: no array is wanted. `struct_size` is sizeof(bert_predictions).
/// Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `predictions` is NULL or writable for `struct_size` bytes.
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
    threshold: f64,
}

/// Translates the caller's options.
fn translate(options: bert_predict_options, most: usize) -> Result<(PredictOptions, Wanted)> {
    let max_length = size(options.max_length, "max_length")?;
    let windows = choice(
        options.long_text,
        "long_text",
        &[
            (BERT_LONG_TEXT_TRUNCATE, false),
            (BERT_LONG_TEXT_WINDOWS, true),
        ],
    )?;
    let combine = choice(
        options.combine,
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
    let stride = match options.window_stride {
        -1 => {
            let length = if max_length == 0 { most } else { max_length };
            length / 4
        }
        stride => size(stride, "window_stride")?,
    };
    let long_text = if windows {
        LongText::Windows { stride, combine }
    } else {
        LongText::Truncate
    };
    let options_ = PredictOptions {
        max_length,
        long_text,
        precision: choice(options.precision, "precision", &INFERENCE_PRECISIONS)?,
    };
    check_range("threshold", options.threshold, 0.0, 1.0)?;
    let wanted = Wanted {
        top_k: size(options.top_k, "top_k")?,
        threshold: options.threshold,
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
            return Err(Error::Unsupported(format!(
                "This model's problem is {problem}, which has nothing for {name}; ask for {instead}."
            )));
        }
    }
    Ok(())
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
            )));
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
                wanted,
            })
        }
    }

    fn write(self, answers: &Predictions) {
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
            let labels = answers.has_labels(self.wanted.threshold);
            for (out, has_label) in out.iter_mut().zip(labels) {
                *out = u8::from(has_label);
            }
        }
        if let Some(out) = self.values {
            out.copy_from_slice(&answers.logits);
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

/// Classifies one text, or a pair of texts (`pair` NULL: there is none). An empty text is valid. Lengths are in bytes,
/// or BERT_NUL_TERMINATED. `options` may be NULL; top_k and threshold aren't used here. Of a multi-label model this tells
/// the most probable label alone: bert_predict_batch tells which ones a text has. Prepare `prediction` with
/// bert_prediction_init.
/// Any number of threads may predict with one model at once, also while it is trained.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8,
/// BERT_ERR_UNSUPPORTED (regression with several targets), BERT_ERR_NOT_FINITE (weights too large to compute with),
/// BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// The texts are readable for their lengths, `options` is NULL or set by bert_predict_options_init, `prediction` is set
/// by bert_prediction_init.
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
            // Checked before anything is computed.
            sized::read(prediction)?;
            (
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                sized::read_or_default(options)?,
            )
        };
        let config = &classifier.model().config;
        let (options, _) = translate(options, config.max_position_embeddings)?;
        if config.problem_type == ProblemType::Regression && config.num_labels > 1 {
            return Err(Error::Unsupported(format!(
                "This model gives {} numbers a text; bert_predict_batch writes them to values.",
                config.num_labels
            )));
        }
        let answers = classifier.predict(&[(text, pair)], &options)?;
        let (label_id, probability, value) = match answers.problem_type {
            ProblemType::Regression => (0, f32::NAN, answers.logits[0]),
            ProblemType::SingleLabel | ProblemType::MultiLabel => {
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
            ..bert_prediction::default()
        };
        // SAFETY: by this function's contract.
        unsafe { sized::write(prediction, &value) }
    })
}

/// Classifies `count` texts, or pairs of texts, in one call and in bounded memory, however many there are. `lengths` and
/// `pair_lengths` may be NULL: the texts end with a NUL. `pairs` may be NULL: there are none. `options` may be NULL.
/// Prepare `predictions` with bert_predictions_init and set the arrays that you want. Any thread, as bert_predict.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8,
/// BERT_ERR_BUFFER_TOO_SMALL (nothing was written), BERT_ERR_UNSUPPORTED (an array for something that the model's problem
/// doesn't have), BERT_ERR_NOT_FINITE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// Each array has `count` elements, the texts are readable for their lengths, `options` is NULL or set by
/// bert_predict_options_init, the arrays in `predictions` are writable for their capacities.
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
            let options = sized::read_or_default(options)?;
            let (options, wanted) = translate(options, config.max_position_embeddings)?;
            (
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                options,
                Outputs::new(predictions, count, config, wanted)?,
            )
        };
        outputs.write(&classifier.predict(&texts, &options)?);
        Ok(())
    })
}

/// Classifies `count` token sequences as they are, [CLS] and [SEP] included, such as bert_tokenize gives: one after
/// another in `ids` and `token_type_ids` (NULL: all 0), sequence i with `lengths[i]` tokens. Of `options` (may be NULL)
/// only top_k, threshold and precision are used. Prepare `predictions` with bert_predictions_init. Any thread, as
/// bert_predict.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an empty or too long sequence, an id outside the
/// vocabulary), BERT_ERR_STRUCT_SIZE, BERT_ERR_BUFFER_TOO_SMALL (nothing was written), BERT_ERR_UNSUPPORTED (as
/// bert_predict_batch), BERT_ERR_NOT_FINITE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `lengths` has `count` elements; `ids` and `token_type_ids` have as many as their sum; `options` is NULL or set by
/// bert_predict_options_init; the arrays in `predictions` are writable for their capacities.
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
        // SAFETY: by this function's contract.
        let (lengths, options) = unsafe {
            (
                array(lengths, count, "lengths")?,
                sized::read_or_default(options)?,
            )
        };
        let (options, wanted) = translate(options, config.max_position_embeddings)?;
        let mut offsets = memory::room(count + 1)?;
        offsets.push(0usize);
        for &length in lengths {
            let end = offsets[offsets.len() - 1]
                .checked_add(length)
                .ok_or_else(|| {
                    Error::InvalidArgument(
                        "The sequences' lengths add up to more than memory holds.".into(),
                    )
                })?;
            offsets.push(end);
        }
        let tokens = offsets[count];
        // SAFETY: by this function's contract.
        let (ids, types, outputs) = unsafe {
            let types = if token_type_ids.is_null() {
                None
            } else {
                Some(array(token_type_ids, tokens, "token_type_ids")?)
            };
            (
                array(ids, tokens, "ids")?,
                types,
                Outputs::new(predictions, count, config, wanted)?,
            )
        };
        let sequences = Batch::new(
            memory::copied(ids)?,
            types.map_or_else(|| memory::filled(0, tokens), memory::copied)?,
            offsets,
        )?;
        outputs.write(&classifier.predict_ids(&sequences, options.precision)?);
        Ok(())
    })
}

/// How vectors are made of texts. Call bert_embed_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_embed_options {
    /// sizeof(bert_embed_options), set by bert_embed_options_init.
    pub struct_size: usize,
    /// Longest sequence in tokens; 0 (default) takes what the model allows.
    pub max_length: i32,
    /// BERT_POOLING_MEAN (default): the mean of all tokens' states; BERT_POOLING_CLS: the [CLS] state;
    /// BERT_POOLING_POOLER: the pooler's output, where the model has one.
    pub pooling: i32,
    /// 1: vectors are scaled to length 1; 0 (default): they aren't.
    pub normalise: i32,
    /// What a GPU computes the layers in: BERT_PRECISION_FLOAT32 (default), _BFLOAT16 or _FLOAT16. The CPU computes in
    /// float32 whichever it is.
    pub precision: i32,
}

sized_struct!(bert_embed_options, || bert_embed_options {
    struct_size: size_of::<bert_embed_options>(),
    max_length: 0,
    pooling: super::BERT_POOLING_MEAN,
    normalise: 0,
    precision: super::BERT_PRECISION_FLOAT32,
});

/// Sets the defaults. `struct_size` is sizeof(bert_embed_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_embed_options_init(
    options: *mut bert_embed_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Writes a vector of hidden_size numbers for each of `count` texts, or pairs of texts, one after another into
/// `vectors`, which has room for `capacity` numbers. Texts are given as to bert_predict_batch. `options` may be NULL. Any
/// thread, as bert_predict.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8,
/// BERT_ERR_BUFFER_TOO_SMALL (nothing was written), BERT_ERR_UNSUPPORTED (the model has no pooler),
/// BERT_ERR_NOT_FINITE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// Each array has `count` elements, the texts are readable for their lengths, `options` is NULL or set by
/// bert_embed_options_init, `vectors` is writable for `capacity` numbers.
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
        let (options, texts, out) = unsafe {
            (
                sized::read_or_default(options)?,
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                output(vectors, capacity, needed, "vectors")?,
            )
        };
        let Some(out) = out else {
            if needed == 0 {
                return Ok(());
            }
            return Err(Error::InvalidArgument(
                "The argument 'vectors' is NULL.".into(),
            ));
        };
        let options = EmbedOptions {
            max_length: size(options.max_length, "max_length")?,
            pooling: choice(options.pooling, "pooling", &super::model::POOLINGS)?,
            normalise: flag(options.normalise, "normalise")?,
            precision: choice(options.precision, "precision", &INFERENCE_PRECISIONS)?,
        };
        let found = classifier.embed(&texts, &options)?;
        out.copy_from_slice(&found);
        Ok(())
    })
}
