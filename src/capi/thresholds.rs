//! A multi-label model's thresholds.

use super::arguments::{array, null, output};
use super::boundary::call;
use super::handles::{self, bert_model};
use super::status::bert_status;

/// Sets the thresholds of a multi-label model: one probability for each label, in the order of the label ids. A text
/// has a label if the label's probability is at least the label's threshold. `thresholds` has `count` numbers from 0 to
/// 1. `count` is the model's number of labels, or 0: all labels get 0.5, which is also what a new model has.
///
/// The thresholds are a part of the model. They are saved with it, and models that are created from it have them too.
/// They are used wherever the option `threshold` is -1, its default. transformers doesn't know them. Loading the model
/// with other labels or for another problem type resets them. Any thread; a prediction uses the thresholds that the
/// model has when the prediction begins.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`thresholds` is NULL and
/// `count` isn't 0, `count` isn't the number of labels, or a number isn't between 0 and 1), BERT_ERR_UNSUPPORTED (the
/// model isn't a multi-label model), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `thresholds` is NULL or has `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_set_thresholds(
    model: *mut bert_model,
    thresholds: *const f64,
    count: usize,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        // SAFETY: by this function's contract.
        let thresholds = unsafe { array(thresholds, count, "thresholds") }?;
        model.classifier.set_thresholds(thresholds)
    })
}

/// Writes the thresholds of a multi-label model to `thresholds`: one number for each label, in the order of the label
/// ids, shape [L]. `capacity` is the number of elements that `thresholds` can hold; L are needed. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`thresholds` is NULL),
/// BERT_ERR_BUFFER_TOO_SMALL (`capacity` is less than the number of labels; nothing is written), BERT_ERR_UNSUPPORTED
/// (the model isn't a multi-label model), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `thresholds` is writable for `capacity` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_get_thresholds(
    model: *const bert_model,
    thresholds: *mut f64,
    capacity: usize,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        let classifier = &model.classifier;
        classifier.check_has_thresholds()?;
        let own = classifier.thresholds();
        // SAFETY: by this function's contract.
        let out = unsafe { output(thresholds, capacity, own.len(), "thresholds") }?;
        out.ok_or_else(|| null("thresholds"))?.copy_from_slice(&own);
        Ok(())
    })
}
