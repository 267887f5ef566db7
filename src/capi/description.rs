//! What is in a data set: examples, labels, lengths, and what may be wrong with it.

use std::ffi::c_char;

use super::arguments::output;
use super::boundary::call;
use super::dataset::copy_of;
use super::fields::{any, pointer, written};
use super::handles::{self, bert_dataset, bert_model};
use super::problem::{BERT_PROBLEM_SINGLE_LABEL, bert_problem_type, number_of};
use super::sized::{self, sized_struct};
use super::status::bert_status;
use crate::classifier::Classifier;
use crate::data::{Dataset, Lengths};
use crate::error::{Error, Result};
use crate::{memory, threads};

/// What is in a data set, as bert_dataset_describe writes it. Initialise the struct with bert_dataset_description_init
/// or BERT_DATASET_DESCRIPTION_INIT, then set label_counts and label_capacity if you want the counts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_dataset_description {
    /// The caller's sizeof(bert_dataset_description), set by bert_dataset_description_init or
    /// BERT_DATASET_DESCRIPTION_INIT.
    pub struct_size: usize,
    /// Number of examples.
    pub examples: i64,
    /// The problem type that the labels are for: BERT_PROBLEM_SINGLE_LABEL, BERT_PROBLEM_MULTI_LABEL or
    /// BERT_PROBLEM_REGRESSION. BERT_PROBLEM_SINGLE_LABEL for an empty data set.
    pub problem_type: bert_problem_type,
    /// 1 if the examples are pairs of texts, 0 if they are single texts.
    pub has_pairs: i32,
    /// Number of labels L of a model that is made for the data set: classes, labels or regression targets. Class ids
    /// that no example has count too.
    pub num_labels: i32,
    /// 1 if lengths are in tokens (a model was given), 0 if they are in characters.
    pub lengths_in_tokens: i32,
    /// Array of the caller for the number of examples of each label, shape [L]; NULL: not filled. The order is that of
    /// the label ids in a model made for the data set; bert_dataset_label_name gives the names.
    pub label_counts: *mut u64,
    /// Number of elements that the array `label_counts` can hold.
    pub label_capacity: usize,
    /// Number of examples without a label (multi-label classification).
    pub without_label: i64,
    /// Number of examples whose text is empty or white space; of a pair, both texts.
    pub empty_texts: i64,
    /// Number of examples that are equal to an earlier example, with the same label.
    pub duplicates: i64,
    /// Number of examples whose text also occurs with another label.
    pub contradictions: i64,
    /// Length that half of the examples don't exceed. The length of a pair is that of both texts together. With a model
    /// it counts all tokens, with special tokens and without shortening.
    pub length_median: i64,
    /// Length that 95 of 100 examples don't exceed.
    pub length_p95: i64,
    /// Length that 99 of 100 examples don't exceed.
    pub length_p99: i64,
    /// Length of the longest example.
    pub length_longest: i64,
    /// Maximum sequence length of the model in tokens; 0 without a model.
    pub max_length: i64,
    /// Number of examples longer than max_length, which are shortened; 0 without a model.
    pub over_max_length: i64,
    /// The smallest regression target; NaN for classification.
    pub target_min: f64,
    /// The largest regression target; NaN for classification.
    pub target_max: f64,
    /// The mean of all regression targets; NaN for classification.
    pub target_mean: f64,
}

sized_struct!(bert_dataset_description {
    examples: written(),
    problem_type: written(),
    has_pairs: written(),
    num_labels: written(),
    lengths_in_tokens: written(),
    label_counts: pointer(),
    label_capacity: any(0usize),
    without_label: written(),
    empty_texts: written(),
    duplicates: written(),
    contradictions: written(),
    length_median: written(),
    length_p95: written(),
    length_p99: written(),
    length_longest: written(),
    max_length: written(),
    over_max_length: written(),
    target_min: written(),
    target_max: written(),
    target_mean: written(),
});

/// Initialises `description` for bert_dataset_describe. `struct_size` is sizeof(bert_dataset_description). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`description` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
/// (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `description` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_description_init(
    description: *mut bert_dataset_description,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(description, struct_size, sized::Sized_::default()) })
}

/// Describes a data set: how many examples and labels it has, how long the texts are, and what may be wrong with it.
/// `model` may be NULL; then lengths are in characters, else in the model's tokens. Initialise `description` with
/// bert_dataset_description_init or BERT_DATASET_DESCRIPTION_INIT. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` or `model` is invalid), BERT_ERR_INVALID_ARGUMENT (`description` is
/// NULL), BERT_ERR_STRUCT_SIZE (`description` isn't initialised), BERT_ERR_BUFFER_TOO_SMALL (`label_counts`;
/// nothing was written), BERT_ERR_DATA (more than 100000 labels), BERT_ERR_OUT_OF_MEMORY (the system
/// has not enough memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `description` was initialised with bert_dataset_description_init or BERT_DATASET_DESCRIPTION_INIT. Its array is
/// NULL or writable for its capacity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_describe(
    dataset: *const bert_dataset,
    model: *const bert_model,
    description: *mut bert_dataset_description,
) -> bert_status {
    call(|| {
        let dataset = handles::dataset(dataset)?;
        let model = match model.is_null() {
            true => None,
            false => Some(handles::model(model)?),
        };
        // SAFETY: by this function's contract.
        let mut out = unsafe { sized::read(description) }?;
        let dataset = copy_of(&dataset)?;
        let found = dataset.describe()?;
        let classifier = model.as_ref().map(|model| &model.classifier);
        let lengths = match classifier {
            Some(classifier) => tokens(classifier, &dataset)?,
            None => dataset.characters()?,
        };
        let max_length = classifier
            .map(|classifier| classifier.max_length(0))
            .transpose()?;
        let over = lengths
            .iter()
            .filter(|n| max_length.is_some_and(|most| **n > most));
        let over = over.count();
        // SAFETY: by this function's contract.
        let room = unsafe {
            output(
                out.label_counts,
                out.label_capacity,
                found.labels.len(),
                "label_counts",
            )
        }?;
        if let Some(counts) = room {
            for (place, label) in counts.iter_mut().zip(&found.labels) {
                *place = label.examples;
            }
        }
        let lengths = Lengths::of(lengths);
        out.num_labels = found.labels.len() as i32;
        out.examples = found.examples as i64;
        out.problem_type = found
            .problem_type
            .map_or(BERT_PROBLEM_SINGLE_LABEL, number_of);
        out.has_pairs = found.has_pairs.into();
        out.lengths_in_tokens = classifier.is_some().into();
        out.without_label = found.without_label as i64;
        out.empty_texts = found.empty_texts as i64;
        out.duplicates = found.duplicates as i64;
        out.contradictions = found.contradictions as i64;
        out.length_median = lengths.median as i64;
        out.length_p95 = lengths.p95 as i64;
        out.length_p99 = lengths.p99 as i64;
        out.length_longest = lengths.longest as i64;
        out.max_length = max_length.unwrap_or(0) as i64;
        out.over_max_length = over as i64;
        let (least, most, mean) = match found.targets {
            Some((least, most, mean)) => (least.into(), most.into(), mean),
            None => (f64::NAN, f64::NAN, f64::NAN),
        };
        (out.target_min, out.target_max, out.target_mean) = (least, most, mean);
        // SAFETY: as above.
        unsafe { sized::write(description, &out) }
    })
}

/// How many tokens each example has, none of them cut off.
fn tokens(classifier: &Classifier, dataset: &Dataset) -> Result<Vec<usize>> {
    /// As many as are kept as tokens at once.
    const AT_ONCE: usize = 1024;
    let mut lengths = memory::room(dataset.len())?;
    for examples in dataset.examples().chunks(AT_ONCE) {
        let texts: Vec<(&str, Option<&str>)> = examples
            .iter()
            .map(|example| (example.text.as_str(), example.pair.as_deref()))
            .collect();
        let encoded = threads::run(|| classifier.tokenizer().encode_batch(&texts, usize::MAX))??;
        lengths.extend(encoded.iter().map(|encoding| encoding.input_ids.len()));
    }
    Ok(lengths)
}

/// Writes the name of a label of a data set to `name`, NUL-terminated. Any thread.
///
/// `label_id` is the id that the label has in a model made for the data set; ids count from 0, and
/// bert_dataset_describe gives their number. The labels are counted anew in each call. `capacity` is the number of
/// bytes that `name` can hold. `size` receives the number of bytes that the name needs with its NUL, also if `name` is
/// NULL or too small; `size` may be NULL.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (`size` is not
/// aligned), BERT_ERR_UNKNOWN_LABEL (there is no such id), BERT_ERR_BUFFER_TOO_SMALL (`name`; only `size` is written),
/// BERT_ERR_DATA (more than 100000 labels), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `name` is NULL or writable for `capacity` bytes. `size` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_label_name(
    dataset: *const bert_dataset,
    label_id: i32,
    name: *mut c_char,
    capacity: usize,
    size: *mut usize,
) -> bert_status {
    call(|| {
        let dataset = handles::dataset(dataset)?;
        let labels = copy_of(&dataset)?.label_counts()?;
        let label = usize::try_from(label_id).ok().and_then(|id| labels.get(id));
        let label = label.ok_or_else(|| {
            let ids = match labels.len() {
                0 => "it has none".to_string(),
                count => format!("its ids are 0 to {}", count - 1),
            };
            Error::UnknownLabel(format!("The data set has no label {label_id}; {ids}."))
                .of_argument("label_id")
        })?;
        let bytes = label.name.as_bytes();
        // SAFETY: by this function's contract.
        let (room, out_size) = unsafe {
            (
                output(name.cast::<u8>(), capacity, bytes.len() + 1, "name"),
                output(size, 1, 1, "size"),
            )
        };
        let is_too_small = |error: &Error| matches!(error.category(), Error::BufferTooSmall(_));
        if room
            .as_ref()
            .err()
            .is_some_and(|error| !is_too_small(error))
        {
            return room.map(|_| ());
        }
        let wrong_size = match out_size {
            Ok(size) => {
                if let Some([size]) = size {
                    *size = bytes.len() + 1;
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        let room = room?;
        wrong_size?;
        if let Some(room) = room
            && let Some((end, start)) = room.split_last_mut()
        {
            start.copy_from_slice(bytes);
            *end = 0;
        }
        Ok(())
    })
}
