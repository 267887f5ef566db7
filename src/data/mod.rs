//! Labelled texts on their way to the model.
//!
//! - `batch`: token sequences packed for the model
//! - `describe`: what is in a data set, in numbers
//! - `dataset`: one example, a data set, and the rule that a data set is of one kind throughout
//! - `labels`: the classes of a model, id to name and back
//! - `label_doubts`: labels that may not be what was meant
//! - `targets`: what a model is asked for, by its own ids
//! - `read`: TSV, CSV and JSON Lines
//! - `split`: a seeded, stratified split into two parts
//! - `stratify`: the same for lists of labels
//! - `toy`: the built-in sentiment set

mod batch;
mod dataset;
mod describe;
mod label_doubts;
mod labels;
mod read;
mod split;
mod stratify;
mod targets;
mod toy;

pub use batch::{Batch, cut_into_batches};
pub use dataset::{Dataset, Example, Label};
pub use describe::{DatasetDescription, LabelCount, Lengths};
pub use labels::{Labels, MAX_CLASSES};
pub use read::{DEFAULT_SEPARATOR, FileFormat, Header, Quoting, ReadOptions};
pub(crate) use split::check_fraction;
pub use targets::Targets;

/// `text` as a message quotes it: on one line, short, whatever was in the file.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut out = String::from("'");
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('\'');
    out
}

/// At most ten of `items`, quoted, and how many there are beyond.
pub(crate) fn listed<'a>(items: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 10;
    let more = items.len().saturating_sub(MOST);
    let shown: Vec<String> = items.take(MOST).map(quoted).collect();
    let mut out = shown.join(", ");
    if more > 0 {
        out.push_str(&format!(" and {more} more"));
    }
    out
}
