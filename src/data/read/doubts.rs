//! What a table may have been meant to be, where nobody said it: a first line that is a header of unknown names,
//! columns in another order, an index, a class and two texts.
//!
//! What can't have been meant as it was read is an error; what may be is a warning. Both name the option that says what
//! is meant.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::Result;
use crate::log;
use crate::memory;

use super::super::{Dataset, Example, Label, quoted};
use super::columns;
use super::data_error;

/// What was guessed of a table.
#[derive(Clone, Copy)]
pub(super) struct Guess {
    /// That the first record is an example.
    pub header: bool,
    /// That the columns are text and label, or text, pair and label.
    pub columns: bool,
}

/// Checks what was read from `source`, whose first record is on `line`.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) where the table can't have been meant so.
pub(super) fn check(dataset: &Dataset, guess: Guess, source: &str, line: u64) -> Result<()> {
    let examples = dataset.examples();
    if examples.is_empty() {
        return Ok(());
    }
    let mut found = Vec::new();
    if guess.header {
        found.extend(header(examples)?);
    }
    if guess.columns && found.is_empty() {
        found.extend(match examples[0].pair {
            Some(_) => pairs(examples)?,
            None => texts(examples)?,
        });
    }
    for doubt in found {
        if doubt.is_certain {
            return Err(data_error(source, line, &doubt.what));
        }
        log::warning(|| format!("{source}, line {line}: {}.", doubt.what));
    }
    Ok(())
}

struct Doubt {
    /// Whether the table can't be meant as it was read.
    is_certain: bool,
    what: String,
}

/// What one column has in all records.
struct Column<'a> {
    fields: Vec<Cow<'a, str>>,
    /// How many different ones there are.
    different: usize,
}

impl<'a> Column<'a> {
    fn new(fields: impl ExactSizeIterator<Item = Cow<'a, str>>) -> Result<Column<'a>> {
        let fields = memory::collected(fields.map(Ok))?;
        let mut counts: HashMap<&str, ()> = HashMap::new();
        for field in &fields {
            memory::reserve_place(&mut counts)?;
            counts.insert(field, ());
        }
        let different = counts.len();
        Ok(Column { fields, different })
    }

    fn texts(examples: &'a [Example]) -> Result<Column<'a>> {
        Column::new(examples.iter().map(|e| Cow::Borrowed(e.text.as_str())))
    }

    fn pairs(examples: &'a [Example]) -> Result<Column<'a>> {
        let pairs = examples
            .iter()
            .map(|e| e.pair.as_deref().unwrap_or_default());
        Column::new(pairs.map(Cow::Borrowed))
    }

    fn labels(examples: &'a [Example]) -> Result<Column<'a>> {
        Column::new(examples.iter().map(|example| match &example.label {
            Label::Name(name) => Cow::Borrowed(name.as_str()),
            Label::Names(names) => Cow::Owned(names.join("|")),
            Label::Id(id) => Cow::Owned(id.to_string()),
            Label::Targets(values) => {
                let values: Vec<String> = values.iter().map(f32::to_string).collect();
                Cow::Owned(values.join("|"))
            }
        }))
    }

    fn first(&self) -> &str {
        self.fields.first().map_or("", |field| field)
    }

    fn others(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().skip(1).map(|field| field.as_ref())
    }

    fn all(&self, is: impl Fn(&str) -> bool) -> bool {
        self.fields.iter().all(|field| is(field))
    }

    /// Mean number of words.
    fn words(&self) -> f64 {
        mean_words(self.fields.iter().map(|field| field.as_ref()))
    }

    /// Whether the first record alone has no number here.
    fn has_numbers_below(&self) -> bool {
        !is_number(self.first()) && self.others().all(is_number)
    }

    /// Whether most of the records have a value of their own.
    fn is_mostly_unique(&self) -> bool {
        self.different * 2 > self.fields.len()
    }

    /// Whether the values repeat, at least each twice on average.
    fn repeats(&self) -> bool {
        self.different * 2 <= self.fields.len()
    }

    /// Whether the values are as short as those of labels.
    fn is_short(&self) -> bool {
        self.all(|field| words(field) <= 3 && field.len() <= 40)
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn mean_words<'t>(texts: impl Iterator<Item = &'t str>) -> f64 {
    let (count, sum) = texts.fold((0usize, 0usize), |(count, sum), text| {
        (count + 1, sum + words(text))
    });
    sum as f64 / count.max(1) as f64
}

fn is_number(field: &str) -> bool {
    super::number_in(field).is_some()
}

fn is_whole(field: &str) -> bool {
    field.trim().parse::<i64>().is_ok()
}

/// Whether a field is written as names of columns mostly are.
fn is_plain_name(field: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_-.:/()# ".contains(c);
    is_name(field) && words(field) <= 3 && field.trim().chars().all(is_part)
}

/// Whether a field can be the name of a column.
fn is_name(field: &str) -> bool {
    let field = field.trim();
    let is_part = |c: char| c.is_alphanumeric() || "_-.:/()# ?<>[]{}$*'&%".contains(c);
    field.chars().count() <= 60
        && words(field) <= 8
        && field.chars().any(char::is_alphabetic)
        && field.chars().all(is_part)
        && !field.ends_with('.')
}

/// Whether the first record counts the columns, as pandas and R name those without a name.
fn counts_columns(first: &Example, label: &str) -> bool {
    let text = first.text.trim();
    let pair = first.pair.as_deref().map(str::trim);
    match pair {
        None => matches!((text, label.trim()), ("0", "1") | ("", "0") | ("V1", "V2")),
        Some(pair) => matches!(
            (text, pair, label.trim()),
            ("0", "1", "2") | ("", "0", "1") | ("V1", "V2", "V3")
        ),
    }
}

/// Whether the first record names the columns.
fn header(examples: &[Example]) -> Result<Option<Doubt>> {
    let others = examples.len() - 1;
    let first = &examples[0];
    let names = [Some(first.text.as_str()), first.pair.as_deref()];
    let mut names = names.into_iter().flatten();
    // pandas leaves the name of its index empty.
    let has_names = names.all(|name| name.trim().is_empty() || is_name(name));
    if others == 0 || matches!(first.label, Label::Targets(_) | Label::Id(_)) {
        return Ok(None);
    }
    let labels = Column::labels(examples)?;
    let label = labels.first();
    let texts = Column::texts(examples)?;
    if counts_columns(first, label) && !texts.others().any(is_number) {
        return Ok(Some(Doubt {
            is_certain: true,
            what: format!(
                "the line looks like a header that counts the columns, with the label {}; {SET_HEADER}",
                quoted(label)
            ),
        }));
    }
    if !has_names || !is_name(label) {
        return Ok(None);
    }
    if labels.others().any(|other| other == label) {
        // A column may be called as one of its classes is: a name of several words in one tells.
        let name = texts.first().trim();
        let is_word = words(name) == 1 && (name.contains('_') || columns::is_known(name));
        let is_likely = is_word && mean_words(texts.others()) >= 2.0;
        return Ok(is_likely.then(|| Doubt {
            is_certain: false,
            what: format!(
                "the line is read as an example with the text {}, but may be a header: a column may be called so; \
                 {SET_HEADER}",
                quoted(name)
            ),
        }));
    }
    let pairs = match first.pair {
        Some(_) => Some(Column::pairs(examples)?),
        None => None,
    };
    let columns = || {
        [Some(&texts), pairs.as_ref(), Some(&labels)]
            .into_iter()
            .flatten()
    };
    // Numbers below a name.
    let numbers = columns()
        .filter(|column| column.has_numbers_below())
        .count();
    let is_known = |column: &Column| columns::is_known(column.first().trim());
    // A label such as "question" is one, unless the text is a single word too.
    let is_known = is_known(&texts)
        || pairs.as_ref().is_some_and(is_known)
        || (is_known(&labels) && words(texts.first()) < 2);
    // A word above texts.
    let is_short = |column: &Column| {
        let (name, below) = (words(column.first()), mean_words(column.others()));
        name > 0 && below >= 2.0 * name as f64
    };
    let is_word = is_known || is_short(&texts) || pairs.as_ref().is_some_and(is_short);
    // Only one word is surely no text.
    let is_one_word = is_known || words(texts.first()) <= 1;
    let different = labels.different - 1;
    let repeat = different * 2 <= others;

    let named = [
        Some(first.text.as_str()),
        first.pair.as_deref(),
        Some(label),
    ];
    let is_plain = named
        .into_iter()
        .flatten()
        .all(|name| name.trim().is_empty() || is_plain_name(name));
    // A question, or as long as one, above classes.
    let is_long_label =
        label.trim_end().ends_with('?') || (words(label) > 2 && mean_words(labels.others()) < 2.0);
    let is_certain = is_plain
        && ((numbers > 0 && others > 1)
            || numbers > 1
            || (is_word && is_one_word && repeat && others > 3 && (different > 1 || others > 4)));
    let is_likely = (is_plain && (numbers > 0 || (repeat && others > 2) || is_word))
        || (repeat && others > 2 && (is_word || is_long_label));
    if !is_certain && !is_likely {
        return Ok(None);
    }
    let why = if labels.has_numbers_below() {
        "all other labels are numbers"
    } else if numbers > 0 {
        "there are only numbers below one of its fields"
    } else if repeat {
        "it occurs nowhere else, while the other labels repeat"
    } else if is_known {
        "a column may be called so"
    } else {
        "its text is shorter than those of the others"
    };
    let reads = if is_certain {
        "looks like"
    } else {
        "is read as an example, but may be"
    };
    Ok(Some(Doubt {
        is_certain,
        what: format!(
            "the line {reads} a header, with the label {}: {why}; {SET_HEADER}",
            quoted(label),
        ),
    }))
}

const SET_HEADER: &str = "set header to BERT_HEADER_PRESENT if it names the columns (and text_column and label_column \
                          to those that are meant), or to BERT_HEADER_ABSENT if it is an example";

const SET_COLUMNS: &str =
    "set text_column and label_column to the numbers of the columns that are meant, counted from 1";

/// Whether two columns are text and label.
fn texts(examples: &[Example]) -> Result<Option<Doubt>> {
    let texts = Column::texts(examples)?;
    let doubt = |is_certain, what: String| Ok(Some(Doubt { is_certain, what }));
    if texts.all(|text| text.trim_start().starts_with("__label__")) {
        return doubt(
            true,
            "the first column holds labels, as fastText has them ('__label__…'); set label_column to \"1\" and \
             text_column to \"2\""
                .into(),
        );
    }
    if matches!(examples[0].label, Label::Targets(_) | Label::Id(_)) {
        return Ok(None);
    }
    let labels = Column::labels(examples)?;
    let count = examples.len();
    let swap = "if the label comes first, set label_column to \"1\" and text_column to \"2\", else to \"2\" and \"1\"";
    // As there are more labels than texts, a text has several of them.
    if count > 3 && labels.is_mostly_unique() && labels.different >= 2 * texts.different {
        return doubt(
            true,
            format!(
                "the first column has {} different values in {count} records, and the second, read as the label, {}; \
                 {swap}",
                texts.different, labels.different
            ),
        );
    }
    let are_texts = labels.words() >= 2.0 && labels.words() > 1.5 * texts.words();
    if count > 1 && labels.different == count && (are_texts || texts.different < count) {
        return doubt(
            false,
            format!(
                "every record has a label of its own, such as {}, read from the second column; {swap}",
                quoted(labels.first())
            ),
        );
    }
    if count > 1 && texts.all(is_whole) && !labels.all(is_number) {
        return doubt(
            false,
            format!(
                "the texts, read from the first column, are all numbers, such as {}; {SET_COLUMNS}",
                quoted(texts.first())
            ),
        );
    }
    Ok(None)
}

/// Whether three columns are a pair of texts and a label.
fn pairs(examples: &[Example]) -> Result<Option<Doubt>> {
    let count = examples.len();
    let doubt = |is_certain, what: String| Ok(Some(Doubt { is_certain, what }));
    let first = Column::texts(examples)?;
    let meant = format!("{SET_COLUMNS}, and pair_column too if the records are pairs");
    if first.all(is_whole) {
        return doubt(
            count > 1,
            format!(
                "the first of three columns holds only whole numbers, such as {}, as an index, an id or a class does, \
                 and not the first text of a pair; {meant}",
                quoted(first.first())
            ),
        );
    }
    if first.all(|text| text.trim_start().starts_with("__label__")) {
        return doubt(
            true,
            format!(
                "the first of three columns holds labels, as fastText has them ('__label__…'); {meant}"
            ),
        );
    }
    let second = Column::pairs(examples)?;
    let is_id = |text: &str| words(text) == 1 && text.bytes().any(|b| b.is_ascii_digit());
    if count > 1 && first.all(is_id) && first.is_mostly_unique() && second.words() >= 2.0 {
        return doubt(
            false,
            format!(
                "the first of three columns looks like an id or a date, such as {}, but is read as the first text of a \
                 pair; {meant}",
                quoted(first.first())
            ),
        );
    }
    if count > 2 && first.words() <= 1.5 && first.is_short() && second.words() >= 3.0 {
        return doubt(
            false,
            format!(
                "the first of three columns holds single words, such as {}, but is read as the first text of a pair; \
                 {meant}",
                quoted(first.first())
            ),
        );
    }
    if matches!(examples[0].label, Label::Targets(_) | Label::Id(_)) {
        return Ok(None);
    }
    let labels = Column::labels(examples)?;
    for (place, column) in [("first", &first), ("second", &second)] {
        if labels.is_mostly_unique()
            && column.repeats()
            && column.is_short()
            && labels.different >= 2 * column.different
            && count > 3
        {
            return doubt(
                labels.words() >= 2.0 || count > 7,
                format!(
                    "the third of three columns, read as the label, has {} different values in {count} records, and \
                     the {place}, read as a text of a pair, {}; {meant}",
                    labels.different, column.different
                ),
            );
        }
    }
    if count > 1 && labels.different == count && labels.words() >= 2.0 {
        return doubt(
            false,
            format!(
                "every record has a label of its own, such as {}, read from the third column; {meant}",
                quoted(labels.first())
            ),
        );
    }
    Ok(None)
}
