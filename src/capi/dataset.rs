//! Data sets: labelled texts, added one by one, as arrays, or from a file.

use std::ffi::c_char;
use std::sync::{Arc, RwLock};

use super::arguments::{
    array, choice, flag, optional_string, optional_text, path, result, text, text_pairs, texts,
};
use super::boundary::{call, free};
use super::handles::{self, Object, bert_dataset};
use super::problem::{self, BERT_PROBLEM_SINGLE_LABEL};
use super::sized::{self, sized_struct};
use super::status::bert_status;
use crate::data::{Dataset, Example, FileFormat, Header, Label, ReadOptions};
use crate::error::{Error, Result};
use crate::memory;

/// The file's format goes by its name's ending: .tsv, .csv, .jsonl, .ndjson.
pub const BERT_FORMAT_AUTO: i32 = 0;
/// A record a line, fields separated by tabs, no quoting.
pub const BERT_FORMAT_TSV: i32 = 1;
/// RFC 4180: fields separated by commas, quoted where they hold a comma, a quote or a line break.
pub const BERT_FORMAT_CSV: i32 = 2;
/// A JSON object a line.
pub const BERT_FORMAT_JSONL: i32 = 3;

/// The first record is a header if it holds the names asked for, or a usual name of a label column.
pub const BERT_HEADER_AUTO: i32 = 0;
/// The first record is a header.
pub const BERT_HEADER_PRESENT: i32 = 1;
/// The first record is data.
pub const BERT_HEADER_ABSENT: i32 = 2;

/// The sentences to train on.
pub const BERT_TOY_TRAIN: i32 = 0;
/// The sentences to validate with.
pub const BERT_TOY_VALIDATION: i32 = 1;

/// How a data file is read. Call bert_read_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_read_options {
    /// sizeof(bert_read_options), set by bert_read_options_init.
    pub struct_size: usize,
    /// BERT_FORMAT_AUTO (default), _TSV, _CSV or _JSONL.
    pub format: i32,
    /// BERT_HEADER_AUTO (default), _PRESENT or _ABSENT; JSON Lines have none.
    pub header: i32,
    /// The text's column, by its name in the header, or by its number from 1 ("2"); by its key in JSON Lines. NULL
    /// (default): a column with a usual name (text, sentence, sentence1, review, content), or the first.
    pub text_column: *const c_char,
    /// The second text's column, likewise. NULL (default): one that goes with the first's name (sentence1 and
    /// sentence2, text_a and text_b, premise and hypothesis, question1 and question2), or the second of three columns
    /// without a header; else there is none.
    pub pair_column: *const c_char,
    /// The label's column, likewise. NULL (default): a usual name (label, class, category, target), or the last of two
    /// or three.
    pub label_column: *const c_char,
    /// 1 if labels are class ids 0, 1, 2, …; 0 (default) if they are names, which digits can be too. For single-label data
    /// alone.
    pub labels_are_ids: i32,
    /// What the labels are. BERT_PROBLEM_SINGLE_LABEL (default): a class in each record. BERT_PROBLEM_MULTI_LABEL: a list
    /// of labels' names, which may be empty: in JSON Lines an array of strings, in TSV and CSV names with label_separator
    /// between them. BERT_PROBLEM_REGRESSION: a finite number, or as many in each record: in JSON Lines a number or an
    /// array of numbers, in TSV and CSV numbers with label_separator between them.
    pub problem_type: i32,
    /// What stands between the names or numbers of one field; NULL (default): "|". White space around it is of no
    /// account. For single-label data it is refused; JSON Lines don't use it.
    pub label_separator: *const c_char,
}

sized_struct!(bert_read_options, || bert_read_options {
    struct_size: size_of::<bert_read_options>(),
    format: BERT_FORMAT_AUTO,
    header: BERT_HEADER_AUTO,
    text_column: std::ptr::null(),
    pair_column: std::ptr::null(),
    label_column: std::ptr::null(),
    labels_are_ids: 0,
    problem_type: BERT_PROBLEM_SINGLE_LABEL,
    label_separator: std::ptr::null(),
});

/// Sets the defaults. `struct_size` is sizeof(bert_read_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_read_options_init(
    options: *mut bert_read_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, sized::Sized_::default()) })
}

/// Hands a new data set to the caller.
fn give(out: &mut *mut bert_dataset, dataset: Dataset) {
    *out = handles::insert(Object::Dataset(Arc::new(RwLock::new(dataset))));
}

/// A copy of what is in a data set now.
pub(super) fn contents(handle: *const bert_dataset) -> Result<Dataset> {
    let dataset = handles::dataset(handle)?;
    let dataset = dataset.read().map_err(|_| poisoned())?;
    dataset.try_clone()
}

fn poisoned() -> Error {
    Error::Poisoned("An earlier call on this data set failed; free it and make a new one.".into())
}

/// A copy of what the caller has.
fn example(text: &str, pair: Option<&str>, label: Label) -> Result<Example> {
    Ok(Example {
        text: memory::text(text)?,
        pair: pair.map(memory::text).transpose()?,
        label,
    })
}

fn add(handle: *mut bert_dataset, examples: Vec<Example>) -> Result<()> {
    let dataset = handles::dataset(handle)?;
    let mut dataset = dataset.write().map_err(|_| poisoned())?;
    dataset.extend(examples)
}

/// Adds the texts, each with its label, all or none of them.
fn add_all(
    handle: *mut bert_dataset,
    texts: Vec<(&str, Option<&str>)>,
    labels: impl ExactSizeIterator<Item = Result<Label>>,
) -> Result<()> {
    let both = texts.into_iter().zip(labels);
    let examples = both.map(|((text, pair), label)| example(text, pair, label?));
    add(handle, memory::collected(examples)?)
}

fn class_name(name: &str) -> Result<Label> {
    memory::text(name).map(Label::Name)
}

/// A class id that C passes as a signed number.
fn class_id(id: i64) -> Result<Label> {
    u32::try_from(id).map(Label::Id).map_err(|_| {
        Error::InvalidArgument(format!("The class id is {id}; class ids count from 0."))
    })
}

fn label_list(names: &[&str]) -> Result<Label> {
    let names = names.iter().map(|name| memory::text(name));
    memory::collected(names).map(Label::Names)
}

fn targets_of(numbers: &[f32]) -> Result<Label> {
    memory::copied(numbers).map(Label::Targets)
}

/// Makes an empty data set; free it with bert_dataset_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_FORKED.
///
/// # Safety
/// `dataset` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_create(dataset: *mut *mut bert_dataset) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let out = unsafe { result(dataset, "dataset") }?;
        give(out, Dataset::new());
        Ok(())
    })
}

/// Frees a data set; NULL is allowed. Models and trainers made from it stay as they are. Any thread, once.
#[unsafe(no_mangle)]
pub extern "C" fn bert_dataset_free(dataset: *mut bert_dataset) {
    free(|| handles::free_dataset(dataset));
}

/// Adds one example: a text, a second text (`pair` NULL: there is none), and the name of its class. Lengths are in
/// bytes, or BERT_NUL_TERMINATED. The texts are copied. A data set has one kind of label (class names, class ids, lists
/// of labels, targets), and pairs or single texts, throughout. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA
/// (it doesn't go with the examples that are there), BERT_ERR_FORKED.
///
/// # Safety
/// Each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_class(
    dataset: *mut bert_dataset,
    text: *const c_char,
    text_length: usize,
    pair: *const c_char,
    pair_length: usize,
    class_name: *const c_char,
    class_name_length: usize,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let example = unsafe {
            example(
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                self::class_name(self::text(class_name, class_name_length, "class_name")?)?,
            )
        }?;
        add(dataset, vec![example])
    })
}

/// As bert_dataset_add_class, with the class's id, which counts from 0. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length, a negative id), BERT_ERR_UTF8,
/// BERT_ERR_DATA (it doesn't go with the examples that are there), BERT_ERR_FORKED.
///
/// # Safety
/// Each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_class_id(
    dataset: *mut bert_dataset,
    text: *const c_char,
    text_length: usize,
    pair: *const c_char,
    pair_length: usize,
    class_id: i64,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let example = unsafe {
            example(
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                self::class_id(class_id)?,
            )
        }?;
        add(dataset, vec![example])
    })
}

/// Adds `count` examples given as parallel arrays, all or none of them. `lengths`, `pair_lengths` and
/// `class_name_lengths` may be NULL: those texts end with a NUL. `pairs` may be NULL: there are none. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA
/// (they don't go with each other or with the examples that are there), BERT_ERR_FORKED.
///
/// # Safety
/// Each array has `count` elements, and each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_classes(
    dataset: *mut bert_dataset,
    count: usize,
    texts: *const *const c_char,
    lengths: *const usize,
    pairs: *const *const c_char,
    pair_lengths: *const usize,
    class_names: *const *const c_char,
    class_name_lengths: *const usize,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (inputs, names) = unsafe {
            (
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                self::texts(class_names, class_name_lengths, count, "class_names")?,
            )
        };
        add_all(dataset, inputs, names.into_iter().map(class_name))
    })
}

/// As bert_dataset_add_classes, with the classes' ids. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length, a negative id), BERT_ERR_UTF8,
/// BERT_ERR_DATA (they don't go with each other or with the examples that are there), BERT_ERR_FORKED.
///
/// # Safety
/// Each array has `count` elements, and each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_class_ids(
    dataset: *mut bert_dataset,
    count: usize,
    texts: *const *const c_char,
    lengths: *const usize,
    pairs: *const *const c_char,
    pair_lengths: *const usize,
    class_ids: *const i64,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (inputs, ids) = unsafe {
            (
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                array(class_ids, count, "class_ids")?,
            )
        };
        add_all(dataset, inputs, ids.iter().map(|&id| class_id(id)))
    })
}

/// As bert_dataset_add_class, with any number of labels (multi-label): `num_labels` names, none included, one that is
/// there twice counting once. `label_name_lengths` may be NULL: the names end with a NUL. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA (an
/// empty name, or it doesn't go with the examples that are there), BERT_ERR_FORKED.
///
/// # Safety
/// `label_names` and `label_name_lengths` have `num_labels` elements; each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_labels(
    dataset: *mut bert_dataset,
    text: *const c_char,
    text_length: usize,
    pair: *const c_char,
    pair_length: usize,
    label_names: *const *const c_char,
    label_name_lengths: *const usize,
    num_labels: usize,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let example = unsafe {
            let names = texts(label_names, label_name_lengths, num_labels, "label_names")?;
            example(
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                label_list(&names)?,
            )
        }?;
        add(dataset, vec![example])
    })
}

/// Adds `count` examples with lists of labels (multi-label), all or none of them. Texts are given as to
/// bert_dataset_add_classes. The names of all lists stand one after another in `label_names`: example i has those from
/// `label_offsets[i]` up to, not including, `label_offsets[i + 1]`; the offsets are `count` + 1, from 0 on, and none is
/// below the one before. `label_name_lengths` may be NULL: the names end with a NUL. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length, offsets out of order),
/// BERT_ERR_UTF8, BERT_ERR_DATA (an empty name, or they don't go with the examples that are there), BERT_ERR_FORKED.
///
/// # Safety
/// `label_offsets` has `count` + 1 elements, `label_names` and `label_name_lengths` as many as the last of them says, the
/// other arrays `count`; each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_label_lists(
    dataset: *mut bert_dataset,
    count: usize,
    texts: *const *const c_char,
    lengths: *const usize,
    pairs: *const *const c_char,
    pair_lengths: *const usize,
    label_names: *const *const c_char,
    label_name_lengths: *const usize,
    label_offsets: *const usize,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (inputs, offsets) = unsafe {
            let inputs = text_pairs(count, texts, lengths, pairs, pair_lengths)?;
            // The texts are in memory: one more than there are is no overflow.
            let offsets = match count {
                0 => &[0],
                _ => array(label_offsets, count + 1, "label_offsets")?,
            };
            (inputs, offsets)
        };
        if offsets[0] != 0 || !offsets.is_sorted() {
            return Err(Error::InvalidArgument(
                "The label_offsets don't begin with 0, or one is below the one before.".into(),
            ));
        }
        let total = offsets[offsets.len() - 1];
        // SAFETY: by this function's contract.
        let names = unsafe { self::texts(label_names, label_name_lengths, total, "label_names") }?;
        let lists = offsets.windows(2);
        let lists = lists.map(|ends| label_list(&names[ends[0]..ends[1]]));
        add_all(dataset, inputs, lists)
    })
}

/// As bert_dataset_add_class, with `num_targets` finite numbers instead of a class (regression), as many as the other
/// examples have. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA (a
/// target that is NaN or infinite, none, or it doesn't go with the examples that are there), BERT_ERR_FORKED.
///
/// # Safety
/// `targets` has `num_targets` elements; each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_target(
    dataset: *mut bert_dataset,
    text: *const c_char,
    text_length: usize,
    pair: *const c_char,
    pair_length: usize,
    targets: *const f32,
    num_targets: usize,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let example = unsafe {
            example(
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                targets_of(array(targets, num_targets, "targets")?)?,
            )
        }?;
        add(dataset, vec![example])
    })
}

/// Adds `count` examples with `num_targets` finite numbers each (regression), all or none of them. Texts are given as to
/// bert_dataset_add_classes; `targets` has the numbers example by example. Any thread.
///
/// Returns as bert_dataset_add_target.
///
/// # Safety
/// `targets` has `count` * `num_targets` elements, the other arrays `count`; each text is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_add_targets(
    dataset: *mut bert_dataset,
    count: usize,
    texts: *const *const c_char,
    lengths: *const usize,
    pairs: *const *const c_char,
    pair_lengths: *const usize,
    targets: *const f32,
    num_targets: usize,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (inputs, values) = unsafe {
            (
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                array(targets, count.saturating_mul(num_targets), "targets")?,
            )
        };
        let rows = (0..count).map(|i| targets_of(&values[i * num_targets..(i + 1) * num_targets]));
        add_all(dataset, inputs, rows)
    })
}

/// Reads a data file into a new data set; free it with bert_dataset_free. `path` is NUL-terminated. `options` may be
/// NULL for the defaults. CRLF line ends and a byte-order mark are fine. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8, BERT_ERR_IO, BERT_ERR_DATA (the message tells the
/// line and what was expected there), BERT_ERR_FORKED.
///
/// # Safety
/// `path` ends with a NUL, `options` is NULL or set by bert_read_options_init, `dataset` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_read(
    path: *const c_char,
    options: *const bert_read_options,
    dataset: *mut *mut bert_dataset,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let (out, path, options, text_column, pair_column, label_column, label_separator) = unsafe {
            let options = sized::read_or_default(options)?;
            (
                result(dataset, "dataset")?,
                self::path(path, "path")?,
                options,
                optional_string(options.text_column, "text_column")?,
                optional_string(options.pair_column, "pair_column")?,
                optional_string(options.label_column, "label_column")?,
                optional_string(options.label_separator, "label_separator")?,
            )
        };
        let options = ReadOptions {
            format: choice(
                options.format,
                "format",
                &[
                    (BERT_FORMAT_AUTO, None),
                    (BERT_FORMAT_TSV, Some(FileFormat::Tsv)),
                    (BERT_FORMAT_CSV, Some(FileFormat::Csv)),
                    (BERT_FORMAT_JSONL, Some(FileFormat::JsonLines)),
                ],
            )?,
            header: choice(
                options.header,
                "header",
                &[
                    (BERT_HEADER_AUTO, Header::Auto),
                    (BERT_HEADER_PRESENT, Header::Present),
                    (BERT_HEADER_ABSENT, Header::Absent),
                ],
            )?,
            text_column,
            pair_column,
            label_column,
            labels_are_ids: flag(options.labels_are_ids, "labels_are_ids")?,
            problem_type: problem::problem_type(options.problem_type)?,
            label_separator,
        };
        give(out, Dataset::read_file(&path, &options)?);
        Ok(())
    })
}

/// Gives the built-in toy data: short sentences labelled "negative" or "positive". `part` is BERT_TOY_TRAIN or
/// BERT_TOY_VALIDATION. Free it with bert_dataset_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_FORKED.
///
/// # Safety
/// `dataset` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_toy(
    part: i32,
    dataset: *mut *mut bert_dataset,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let out = unsafe { result(dataset, "dataset") }?;
        let make: fn() -> Dataset = choice(
            part,
            "part",
            &[
                (BERT_TOY_TRAIN, Dataset::toy_train as fn() -> Dataset),
                (BERT_TOY_VALIDATION, Dataset::toy_validation),
            ],
        )?;
        give(out, make());
        Ok(())
    })
}

/// Splits a data set in two, each class (each label, of lists, as nearly as can be) in the same proportion: about `fraction` (above 0, below 1) of the examples go
/// to `validation`, the others to `train`. The same seed gives the same parts. `dataset` stays as it is; free all three
/// with bert_dataset_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_DATA (too few examples), BERT_ERR_FORKED.
///
/// # Safety
/// `train` and `validation` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_split(
    dataset: *const bert_dataset,
    fraction: f64,
    seed: u64,
    train: *mut *mut bert_dataset,
    validation: *mut *mut bert_dataset,
) -> bert_status {
    call(|| {
        if train == validation {
            return Err(Error::InvalidArgument(
                "'train' and 'validation' are the same pointer; each part needs its own.".into(),
            ));
        }
        // SAFETY: by this function's contract; the two differ.
        let (train, validation) =
            unsafe { (result(train, "train")?, result(validation, "validation")?) };
        let (first, second) = contents(dataset)?.split(fraction, seed)?;
        give(train, first);
        give(validation, second);
        Ok(())
    })
}

/// Writes the number of examples. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_FORKED.
///
/// # Safety
/// `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_count(
    dataset: *const bert_dataset,
    count: *mut usize,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let out = unsafe { result(count, "count") }?;
        let dataset = handles::dataset(dataset)?;
        *out = dataset.read().map_err(|_| poisoned())?.len();
        Ok(())
    })
}
