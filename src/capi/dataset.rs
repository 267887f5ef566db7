//! Data sets: labelled texts, added one by one, as arrays, or from a file.

use std::ffi::c_char;
use std::sync::{Arc, RwLock};

use super::arguments::{
    array, choice, flag, optional_string, optional_text, path, result, text, text_pairs, texts,
};
use super::boundary::{call, free};
use super::fields::{constant, pointer, ranged, zero_or_one};
use super::handles::{self, Object, bert_dataset};
use super::problem::{self, BERT_PROBLEM_REGRESSION, BERT_PROBLEM_SINGLE_LABEL, bert_problem_type};
use super::sized::{self, sized_struct};
use super::status::bert_status;
use crate::data::{
    Dataset, Example, FileFormat, Header, Label, Quoting, ReadOptions, check_fraction,
};
use crate::error::{Error, Result};
use crate::memory;

/// The format of a data file.
pub type bert_file_format = i32;

/// The file name's ending decides the format: .tsv or .txt (TSV), .csv (CSV), .jsonl or .ndjson (JSON Lines).
pub const BERT_FORMAT_AUTO: bert_file_format = 0;
/// TSV: one record per line, fields separated by tabs. Quotes have no special meaning unless the option quoting gives
/// them one.
pub const BERT_FORMAT_TSV: bert_file_format = 1;
/// CSV as in RFC 4180: fields are separated by commas, or by what the option separator says. Fields that contain the
/// separator, a quote or a line break are quoted.
pub const BERT_FORMAT_CSV: bert_file_format = 2;
/// JSON Lines: one JSON object per line.
pub const BERT_FORMAT_JSONL: bert_file_format = 3;

/// Whether the first record of a TSV or CSV file contains the names of the columns.
pub type bert_header_mode = i32;

/// The library decides. The first record is a header if a column option is a name, if the record contains a usual
/// column name, such as "text" or "label", or if it contains both a less usual name of a text column and one of a
/// label column, such as "tweet" and "sentiment". A first record that looks like a header of other names is
/// BERT_ERR_DATA, or a warning in the log if it may be an example.
pub const BERT_HEADER_AUTO: bert_header_mode = 0;
/// The first record is a header.
pub const BERT_HEADER_PRESENT: bert_header_mode = 1;
/// The first record is data.
pub const BERT_HEADER_ABSENT: bert_header_mode = 2;

/// Whether fields of a TSV or CSV file may be in double quotes.
pub type bert_quoting = i32;

/// In CSV fields may be in quotes. In TSV they may be if every field of the first records is in quotes.
pub const BERT_QUOTING_AUTO: bert_quoting = 0;
/// Quotes have no special meaning.
pub const BERT_QUOTING_NONE: bert_quoting = 1;
/// Fields may be in double quotes. A quote inside such a field is written twice.
pub const BERT_QUOTING_DOUBLE: bert_quoting = 2;

/// A part of the built-in toy data.
pub type bert_toy_part = i32;

/// The sentences for training.
pub const BERT_TOY_TRAIN: bert_toy_part = 0;
/// The sentences for validation.
pub const BERT_TOY_VALIDATION: bert_toy_part = 1;

/// Options for reading a data file with bert_dataset_read. Call bert_read_options_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_read_options {
    /// The size of this struct, sizeof(bert_read_options). Set by bert_read_options_init.
    pub struct_size: usize,
    /// The format of the file: BERT_FORMAT_AUTO, BERT_FORMAT_TSV, BERT_FORMAT_CSV or BERT_FORMAT_JSONL.
    /// Default BERT_FORMAT_AUTO.
    pub format: bert_file_format,
    /// Whether the first record is a header: BERT_HEADER_AUTO, BERT_HEADER_PRESENT or BERT_HEADER_ABSENT. Not used for
    /// JSON Lines, which have no header. Default BERT_HEADER_AUTO.
    pub header: bert_header_mode,
    /// The column of the text. Set it to a name in the header, a number counted from 1 (such as "2"), or a key in JSON
    /// Lines. NULL: the library looks for a column named text, sentence, sentence1, review or content. If there is none,
    /// it looks for text_a, premise or question1, each with its partner (see pair_column), and then for other names of
    /// a text, such as tweet, comment or message, of which one must be there and no second. Upper and lower case are
    /// the same. In a file without a header NULL means the first column that no other option names. Default NULL.
    pub text_column: *const c_char,
    /// The column of the second text. Set it to a name in the header, a number counted from 1 (such as "2"), or a key
    /// in JSON Lines. NULL: if text_column is also NULL, the library uses the partner of the text column that it found:
    /// sentence2 for sentence1, text_b for text_a, hypothesis for premise, question2 for question1. If the file has no
    /// header, exactly three columns, and no column option is set, it is the second column. Otherwise the examples are
    /// single texts. Default NULL.
    pub pair_column: *const c_char,
    /// The column of the label. Set it to a name in the header, a number counted from 1 (such as "2"), or a key in JSON
    /// Lines. NULL: the library looks for a column named label, class, category, target or labels, and then for other
    /// names of a label, such as sentiment, score, stars, rating or Kategorie, of which one must be there and no
    /// second. Upper and lower case are the same. In a file without a header NULL means the last column that no other
    /// option names. Default NULL.
    pub label_column: *const c_char,
    /// Whether labels are class ids. 1: labels are the ids 0, 1, 2, ...; 0: labels are names, which may consist of
    /// digits. 1 is allowed only for BERT_PROBLEM_SINGLE_LABEL. 0 or 1. Default 0.
    pub labels_are_ids: i32,
    /// The problem type, which decides what the labels are.
    ///
    /// - BERT_PROBLEM_SINGLE_LABEL: each record has one class.
    /// - BERT_PROBLEM_MULTI_LABEL: each record has a list of label names, which may be empty. In JSON Lines it is an
    ///   array of strings. In TSV and CSV the names are separated by label_separator, or the field is a list as Python
    ///   or JSON write it, such as ['a', 'b'].
    /// - BERT_PROBLEM_REGRESSION: each record has one finite number, or several; all records have the same count. In
    ///   JSON Lines it is a number or an array of numbers. In TSV and CSV the numbers are separated by label_separator.
    ///
    /// Default BERT_PROBLEM_SINGLE_LABEL.
    pub problem_type: bert_problem_type,
    /// The separator between the label names or numbers in one field of a TSV or CSV file. NULL: "|". White space
    /// around the separator is ignored. Not used for JSON Lines. Must be NULL for BERT_PROBLEM_SINGLE_LABEL.
    /// Default NULL.
    pub label_separator: *const c_char,
    /// The character between two fields of a TSV or CSV file, such as ';'. It is an ASCII character, and neither a
    /// quote nor a line break. 0: a tab in TSV. In CSV 0 means a comma; if commas don't cut the first records into the
    /// same number of fields, but semicolons, tabs or vertical bars do, those separate. Not used for JSON Lines. Range
    /// 0 to 127. Default 0.
    pub separator: i32,
    /// Whether fields of a TSV or CSV file may be in double quotes: BERT_QUOTING_AUTO, BERT_QUOTING_NONE or
    /// BERT_QUOTING_DOUBLE. Not used for JSON Lines. Default BERT_QUOTING_AUTO.
    pub quoting: bert_quoting,
    /// The encoding of the file: a name of the WHATWG Encoding Standard, such as "UTF-8", "UTF-16LE", "UTF-16BE",
    /// "windows-1252", "ISO-8859-1" (read as windows-1252, which contains it), "windows-1251", "Shift_JIS" or "GBK".
    /// Upper and lower case are the same. A byte-order mark at the beginning of the file counts more than this option.
    /// NULL: UTF-8, or UTF-16 if the file begins with its byte-order mark. Default NULL.
    pub encoding: *const c_char,
}

sized_struct!(bert_read_options, older [56], {
    format: constant(
        "BERT_FORMAT_",
        BERT_FORMAT_AUTO,
        BERT_FORMAT_AUTO,
        BERT_FORMAT_JSONL
    ),
    header: constant(
        "BERT_HEADER_",
        BERT_HEADER_AUTO,
        BERT_HEADER_AUTO,
        BERT_HEADER_ABSENT
    ),
    text_column: pointer(),
    pair_column: pointer(),
    label_column: pointer(),
    labels_are_ids: zero_or_one(false),
    problem_type: constant(
        "BERT_PROBLEM_",
        BERT_PROBLEM_SINGLE_LABEL,
        BERT_PROBLEM_SINGLE_LABEL,
        BERT_PROBLEM_REGRESSION
    ),
    label_separator: pointer(),
    separator: ranged(0i32, 0, 127),
    quoting: constant(
        "BERT_QUOTING_",
        BERT_QUOTING_AUTO,
        BERT_QUOTING_AUTO,
        BERT_QUOTING_DOUBLE
    ),
    encoding: pointer(),
});

/// Sets all fields of a bert_read_options to their defaults. `struct_size` is sizeof(bert_read_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
/// BERT_ERR_FORKED (this process is a forked child).
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

/// A copy of what is in a data set now; `name` is the option that has the handle.
pub(super) fn contents(handle: *const bert_dataset, name: &str) -> Result<Dataset> {
    copy_of(&*handles::dataset_named(handle, name)?)
}

/// A copy of what is in it now.
pub(super) fn copy_of(dataset: &RwLock<Dataset>) -> Result<Dataset> {
    dataset.read().map_err(|_| poisoned())?.try_clone()
}

fn poisoned() -> Error {
    Error::Poisoned("An earlier call on this data set failed; free it and create a new one.".into())
}

/// A copy of what the caller has.
fn example(text: &str, pair: Option<&str>, label: Label) -> Result<Example> {
    Ok(Example {
        text: memory::text(text)?,
        pair: pair.map(memory::text).transpose()?,
        label,
    })
}

fn add(dataset: &RwLock<Dataset>, examples: Vec<Example>) -> Result<()> {
    let mut dataset = dataset.write().map_err(|_| poisoned())?;
    dataset.extend(examples)
}

/// Adds the texts, each with its label, all or none of them.
fn add_all(
    dataset: &RwLock<Dataset>,
    texts: Vec<(&str, Option<&str>)>,
    labels: impl ExactSizeIterator<Item = Result<Label>>,
) -> Result<()> {
    let both = texts.into_iter().zip(labels);
    let examples = both.map(|((text, pair), label)| example(text, pair, label?));
    add(dataset, memory::collected(examples)?)
}

fn class_name(name: &str) -> Result<Label> {
    memory::text(name).map(Label::Name)
}

/// A class id that C passes as a signed number.
fn class_id(id: i64, name: &str) -> Result<Label> {
    u32::try_from(id).map(Label::Id).map_err(|_| {
        Error::InvalidArgument(format!("The class id is {id}; class ids count from 0."))
            .of_argument(name)
    })
}

/// The arguments of lists of labels.
const LABEL_NAMES: [&str; 2] = ["label_names", "label_name_lengths"];

fn label_list(names: &[&str]) -> Result<Label> {
    let names = names.iter().map(|name| memory::text(name));
    memory::collected(names).map(Label::Names)
}

fn targets_of(numbers: &[f32]) -> Result<Label> {
    memory::copied(numbers).map(Label::Targets)
}

/// Creates an empty data set. Free it with bert_dataset_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`dataset` is NULL), BERT_ERR_FORKED (this process is a forked child).
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

/// Frees a data set. NULL is allowed. Models and trainers that were created from it don't change. Any thread; free
/// each data set once.
#[unsafe(no_mangle)]
pub extern "C" fn bert_dataset_free(dataset: *mut bert_dataset) {
    free(|| handles::free_dataset(dataset));
}

/// Adds one example with the name of its class. `text` is the text; `pair` is the second text, or NULL for a single
/// text. Lengths are in bytes, or BERT_NUL_TERMINATED. The texts are copied. Any thread.
///
/// All examples of a data set have the same kind of label: class names, class ids, lists of labels, or targets. Either
/// all examples have a second text or none has one.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (the
/// class name is empty, or the example doesn't fit the examples in the data set), BERT_ERR_FORKED (this process is a
/// forked child).
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
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let example = unsafe {
            example(
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                self::class_name(self::text(class_name, class_name_length, "class_name")?)?,
            )
        }?;
        add(&dataset, vec![example])
    })
}

/// Adds one example with the id of its class. Class ids count from 0. `text` is the text; `pair` is the second text,
/// or NULL for a single text. Lengths are in bytes, or BERT_NUL_TERMINATED. The texts are copied. Any thread.
///
/// All examples of a data set have the same kind of label: class names, class ids, lists of labels, or targets. Either
/// all examples have a second text or none has one.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold, the id is negative), BERT_ERR_UTF8 (a text is not valid UTF-8),
/// BERT_ERR_DATA (the example doesn't fit the examples in the data set), BERT_ERR_FORKED (this process is a forked
/// child).
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
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let example = unsafe {
            example(
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                self::class_id(class_id, "class_id")?,
            )
        }?;
        add(&dataset, vec![example])
    })
}

/// Adds `count` examples with the names of their classes, all of them or none. The arguments are parallel arrays. The
/// texts are copied. Any thread.
///
/// Lengths are in bytes. `lengths`, `pair_lengths` and `class_name_lengths` may be NULL; then the texts of that array
/// are NUL-terminated. If `pairs` is NULL, the examples are single texts. A NULL element means that this example has no
/// second text; an empty second text is a pointer that isn't NULL, with length 0. Either all examples of a data set
/// have a second text or none has one.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (a
/// class name is empty, or the examples don't fit each other or the examples in the data set), BERT_ERR_FORKED (this
/// process is a forked child).
///
/// # Safety
/// Each array is NULL or has `count` elements. Each text is readable for its length.
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
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let (inputs, names) = unsafe {
            (
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                self::texts(
                    class_names,
                    class_name_lengths,
                    count,
                    ["class_names", "class_name_lengths"],
                )?,
            )
        };
        add_all(&dataset, inputs, names.into_iter().map(class_name))
    })
}

/// Adds `count` examples with the ids of their classes, all of them or none. Class ids count from 0. The arguments are
/// parallel arrays. The texts are copied. Any thread.
///
/// Lengths are in bytes. `lengths` and `pair_lengths` may be NULL; then the texts of that array are NUL-terminated. If
/// `pairs` is NULL, the examples are single texts. A NULL element means that this example has no second text; an empty
/// second text is a pointer that isn't NULL, with length 0. Either all examples of a data set have a second text or
/// none has one.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold, an id is negative), BERT_ERR_UTF8 (a text is not valid UTF-8),
/// BERT_ERR_DATA (the examples don't fit each other or the examples in the data set), BERT_ERR_FORKED (this process is
/// a forked child).
///
/// # Safety
/// Each array is NULL or has `count` elements. Each text is readable for its length.
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
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let (inputs, ids) = unsafe {
            (
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                array(class_ids, count, "class_ids")?,
            )
        };
        let labels = ids.iter().enumerate();
        let labels = labels
            .map(|(index, &id)| class_id(id, "class_ids").map_err(|error| error.at_index(index)));
        add_all(&dataset, inputs, labels)
    })
}

/// Adds one example with a list of labels, for multi-label classification. `text` is the text; `pair` is the second
/// text, or NULL for a single text. Lengths are in bytes, or BERT_NUL_TERMINATED. The texts are copied. Any thread.
///
/// `label_names` has `num_labels` names. The list may be empty. A name that occurs twice counts once. If
/// `label_name_lengths` is NULL, the names are NUL-terminated. All examples of a data set have the same kind of label.
/// Either all examples have a second text or none has one.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (a name
/// is empty, or the example doesn't fit the examples in the data set), BERT_ERR_FORKED (this process is a forked
/// child).
///
/// # Safety
/// `label_names` and `label_name_lengths` are NULL or have `num_labels` elements. Each text is readable for its
/// length.
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
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let example = unsafe {
            let text = self::text(text, text_length, "text")?;
            let pair = optional_text(pair, pair_length, "pair")?;
            let names = texts(label_names, label_name_lengths, num_labels, LABEL_NAMES)?;
            example(text, pair, label_list(&names)?)
        }?;
        add(&dataset, vec![example])
    })
}

/// Adds `count` examples with lists of labels, all of them or none. This is for multi-label classification. The
/// arguments are parallel arrays. The texts are copied. Any thread.
///
/// Lengths are in bytes. `lengths`, `pair_lengths` and `label_name_lengths` may be NULL; then the texts of that array
/// are NUL-terminated. If `pairs` is NULL, the examples are single texts. A NULL element means that this example has no
/// second text; an empty second text is a pointer that isn't NULL, with length 0. Either all examples of a data set
/// have a second text or none has one.
///
/// `label_names` contains the names of all lists, one list after the other. `label_offsets` has `count` + 1 elements:
/// the list of example i has the names with the indices `label_offsets[i]` to `label_offsets[i + 1]` - 1. The first
/// offset is 0. No offset is smaller than the one before it. A list may be empty. A name that occurs twice in a list
/// counts once.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold, the first offset is not 0, an offset is smaller than the one
/// before it), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (a name is empty, or the examples don't fit
/// each other or the examples in the data set), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `label_offsets` has `count` + 1 elements. `label_names` and `label_name_lengths` are NULL or have as many elements
/// as the last offset says. Each other array is NULL or has `count` elements. Each text is readable for its length.
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
        let dataset = handles::dataset(dataset)?;
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
                "The label_offsets don't begin with 0, or an offset is smaller than the one before it.".into(),
            )
            .of_argument("label_offsets"));
        }
        let total = offsets[offsets.len() - 1];
        // SAFETY: by this function's contract.
        let names = unsafe { self::texts(label_names, label_name_lengths, total, LABEL_NAMES) }?;
        let lists = offsets.windows(2);
        let lists = lists.map(|ends| label_list(&names[ends[0]..ends[1]]));
        add_all(&dataset, inputs, lists)
    })
}

/// Adds one example with regression targets: `num_targets` finite numbers. `text` is the text; `pair` is the second
/// text, or NULL for a single text. Lengths are in bytes, or BERT_NUL_TERMINATED. Texts and targets are copied. Any
/// thread.
///
/// All examples of a data set have the same number of targets. Either all examples have a second text or none has one.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (there
/// is no target, a target is NaN or infinite, or the example doesn't fit the examples in the data set),
/// BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `targets` has `num_targets` elements. Each text is readable for its length.
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
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let example = unsafe {
            example(
                self::text(text, text_length, "text")?,
                optional_text(pair, pair_length, "pair")?,
                targets_of(array(targets, num_targets, "targets")?)?,
            )
        }?;
        add(&dataset, vec![example])
    })
}

/// Adds `count` examples with regression targets, all of them or none. Each example has `num_targets` finite numbers.
/// `targets` has the shape [S, L] with S = `count` and L = `num_targets`: the numbers of the first example, then those
/// of the second, and so on. Texts and targets are copied. Any thread.
///
/// Lengths are in bytes. `lengths` and `pair_lengths` may be NULL; then the texts of that array are NUL-terminated. If
/// `pairs` is NULL, the examples are single texts. A NULL element means that this example has no second text; an empty
/// second text is a pointer that isn't NULL, with length 0. Either all examples of a data set have a second text or
/// none has one.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
/// is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (there
/// is no target, a target is NaN or infinite, or the examples don't fit each other or the examples in the data set),
/// BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `targets` has `count` * `num_targets` elements. Each other array is NULL or has `count` elements. Each text is
/// readable for its length.
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
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let (inputs, values) = unsafe {
            (
                text_pairs(count, texts, lengths, pairs, pair_lengths)?,
                array(targets, count.saturating_mul(num_targets), "targets")?,
            )
        };
        let rows = (0..count).map(|i| targets_of(&values[i * num_targets..(i + 1) * num_targets]));
        add_all(&dataset, inputs, rows)
    })
}

/// Reads a data file into a new data set. `path` is NUL-terminated. `options` may be NULL for the defaults. Free the
/// data set with bert_dataset_free. Any thread.
///
/// Lines may end with LF or CRLF. The file may begin with a byte-order mark. Blank lines are ignored.
///
/// A table that can't be meant as it would be read is BERT_ERR_DATA, and the message names the option to set: the first
/// line looks like a header of unknown names, the first of three columns is an index or a class and not a text, the
/// label comes before the text. If the table may be meant so, it is read, and the log has a warning.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (a required pointer is NULL, an option is out of range, two options
/// contradict each other, the file name's ending is not a known format), BERT_ERR_STRUCT_SIZE (the `struct_size` of
/// `options` is unknown), BERT_ERR_UTF8 (an option is not valid UTF-8), BERT_ERR_IO (the file can't be read),
/// BERT_ERR_DATA (the content is wrong; the message contains the line and what was expected), BERT_ERR_FORKED (this
/// process is a forked child).
///
/// # Safety
/// `path` ends with a NUL. `options` is NULL or was initialised by bert_read_options_init, and its texts are NULL or
/// end with a NUL. `dataset` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_read(
    path: *const c_char,
    options: *const bert_read_options,
    dataset: *mut *mut bert_dataset,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let path = unsafe { self::path(path, "path") }?;
        // SAFETY: as above.
        let (
            options,
            [
                text_column,
                pair_column,
                label_column,
                label_separator,
                encoding,
            ],
        ) = unsafe {
            let options = sized::read_or_default(options)?;
            (
                options,
                [
                    optional_string(options.text_column, "text_column")?,
                    optional_string(options.pair_column, "pair_column")?,
                    optional_string(options.label_column, "label_column")?,
                    optional_string(options.label_separator, "label_separator")?,
                    optional_string(options.encoding, "encoding")?,
                ],
            )
        };
        // SAFETY: as above.
        let out = unsafe { result(dataset, "dataset") }?;
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
            separator: u8::try_from(options.separator)
                .ok()
                .filter(|byte| *byte != 0),
            quoting: choice(
                options.quoting,
                "quoting",
                &[
                    (BERT_QUOTING_AUTO, Quoting::Auto),
                    (BERT_QUOTING_NONE, Quoting::None),
                    (BERT_QUOTING_DOUBLE, Quoting::Double),
                ],
            )?,
            encoding,
        };
        give(out, Dataset::read_file(&path, &options)?);
        Ok(())
    })
}

/// Creates a data set from the built-in toy data: short sentences with the label "negative" or "positive". `part` is
/// BERT_TOY_TRAIN or BERT_TOY_VALIDATION. Free the data set with bert_dataset_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`part` is unknown, `dataset` is NULL), BERT_ERR_FORKED (this process is
/// a forked child).
///
/// # Safety
/// `dataset` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_toy(
    part: bert_toy_part,
    dataset: *mut *mut bert_dataset,
) -> bert_status {
    call(|| {
        let make: fn() -> Dataset = choice(
            part,
            "part",
            &[
                (BERT_TOY_TRAIN, Dataset::toy_train as fn() -> Dataset),
                (BERT_TOY_VALIDATION, Dataset::toy_validation),
            ],
        )?;
        // SAFETY: by this function's contract.
        let out = unsafe { result(dataset, "dataset") }?;
        give(out, make());
        Ok(())
    })
}

/// Splits a data set into two new data sets. About `fraction` of the examples (greater than 0, less than 1) are copied
/// to `validation`, the others to `train`. `dataset` doesn't change. Free all three with bert_dataset_free. Any
/// thread.
///
/// With classes, both parts have each class in the same proportion, and a class with at least two examples is in both.
/// With lists of labels, both parts have each label as nearly as possible in the same proportion. The same data,
/// fraction and seed give the same parts.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (`fraction` is out
/// of range, `train` or `validation` is NULL, both are the same pointer), BERT_ERR_DATA (too few examples: one part
/// would be empty), BERT_ERR_FORKED (this process is a forked child).
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
        let whole = handles::dataset(dataset)?;
        check_fraction(fraction).map_err(|error| error.of_argument("fraction"))?;
        let is_one_place = !train.is_null() && train == validation;
        // SAFETY: by this function's contract; the two differ where both are used.
        let train = unsafe { result(train, "train") }?;
        if is_one_place {
            return Err(Error::InvalidArgument(
                "'train' and 'validation' are the same pointer; each part needs its own.".into(),
            )
            .of_argument("validation"));
        }
        // SAFETY: as above.
        let validation = unsafe { result(validation, "validation") }?;
        let (first, second) = copy_of(&whole)?.split(fraction, seed)?;
        give(train, first);
        give(validation, second);
        Ok(())
    })
}

/// Writes the number of examples in a data set to `count`. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (`count` is NULL),
/// BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `count` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_dataset_count(
    dataset: *const bert_dataset,
    count: *mut usize,
) -> bert_status {
    call(|| {
        let dataset = handles::dataset(dataset)?;
        // SAFETY: by this function's contract.
        let out = unsafe { result(count, "count") }?;
        *out = dataset.read().map_err(|_| poisoned())?.len();
        Ok(())
    })
}
