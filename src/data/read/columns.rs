//! Which column is what: by name, by number, or by the names that data sets commonly use.

use crate::error::{Error, Result};

use super::super::quoted;
use super::{Header, ReadOptions, data_error};

const TEXT_NAMES: [&str; 5] = ["text", "sentence", "sentence1", "review", "content"];
const LABEL_NAMES: [&str; 4] = ["label", "class", "category", "target"];
/// `sentence1` is a text without `sentence2` too; the others are what they are only together.
const PAIR_NAMES: [(&str, &str); 4] = [
    ("sentence1", "sentence2"),
    ("text_a", "text_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
];

/// Whether `name` is one that is looked for.
pub(super) fn is_known(name: &str) -> bool {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    TEXT_NAMES.iter().any(&is)
        || LABEL_NAMES.iter().any(&is)
        || PAIR_NAMES.iter().any(|(a, b)| is(a) || is(b))
}

/// The places of the columns, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub text: usize,
    pub pair: Option<usize>,
    pub label: usize,
}

/// Where columns are looked up: a table's first record, or the keys of a JSON object.
pub(super) struct Place<'a> {
    pub source: &'a str,
    pub line: u64,
    /// "column" or "key".
    pub noun: &'static str,
    /// "columns" or "keys".
    pub nouns: &'static str,
    /// The names that are there, for messages.
    pub names: String,
    /// What else may be the matter where names aren't found, for messages; with its own separator.
    pub hint: &'static str,
}

impl Place<'_> {
    fn error(&self, what: &str) -> Error {
        data_error(self.source, self.line, what)
    }

    fn several(&self, name: &str) -> Error {
        self.error(&format!(
            "there are several {} named {}; expected names that differ",
            self.nouns,
            quoted(name)
        ))
    }
}

/// Whether the first record of a table is a header, and which column is what.
pub(super) fn of_table(
    first: &[&str],
    options: &ReadOptions,
    place: &Place,
) -> Result<(bool, Columns)> {
    let asked = asked(options);
    let by_name = asked
        .into_iter()
        .flatten()
        .find(|column| !is_number(column));
    let header = match (options.header, by_name) {
        (Header::Present, _) => true,
        (Header::Absent, None) => false,
        (Header::Absent, Some(name)) => {
            return Err(Error::InvalidArgument(format!(
                "The column {} is asked for by name, but the file is said to have no header; without one, columns are \
                 numbered from 1.",
                quoted(name)
            )));
        }
        (Header::Auto, Some(_)) => true,
        (Header::Auto, None) => first.iter().any(|field| is_known(field.trim())),
    };
    let columns = if header {
        let names: Vec<&str> = first.iter().map(|field| field.trim()).collect();
        of_names(&names, true, options, place)?
    } else {
        without_header(first.len(), options, place)?
    };
    Ok((header, columns))
}

/// The columns by their names. `numbers` says whether a name that isn't there may be a number.
pub(super) fn of_names(
    names: &[&str],
    numbers: bool,
    options: &ReadOptions,
    place: &Place,
) -> Result<Columns> {
    let [text, pair, label] = asked(options).map(|column| match column {
        Some(column) => place_of(column, names, numbers, place).map(Some),
        None => Ok(None),
    });
    let (text, mut pair, label) = (text?, pair?, label?);
    let free = |name: &str| {
        find(name, names).ok().flatten().filter(|at| {
            // A column that was asked for as something else isn't found again as the text.
            Some(*at) != pair && Some(*at) != label
        })
    };
    let missing = |what: &str, known: &[&str]| {
        if let Some(twice) = known.iter().find(|name| find(name, names).is_err()) {
            return place.several(twice);
        }
        let Place {
            noun, nouns, hint, ..
        } = place;
        place.error(&format!(
            "there is no {noun} for the {what} among the {nouns} {}; expected one of {}, or the {noun} of the {what} \
             to be given{hint}",
            place.names,
            known.join(", "),
        ))
    };
    let text = match text {
        Some(at) => at,
        None => {
            let single = TEXT_NAMES
                .iter()
                .find_map(|name| Some((*name, free(name)?)));
            let both = |(a, b): &(&str, &str)| Some((free(a)?, free(b)?));
            match single {
                Some((name, at)) => {
                    if pair.is_none() && name == "sentence1" {
                        pair = free("sentence2");
                    }
                    at
                }
                None => match (pair, PAIR_NAMES.iter().find_map(both)) {
                    (None, Some((first, second))) => {
                        pair = Some(second);
                        first
                    }
                    // With the second text given, the first one's name is enough.
                    (Some(_), _) => PAIR_NAMES
                        .iter()
                        .find_map(|(a, _)| free(a))
                        .ok_or_else(|| missing("text", &TEXT_NAMES))?,
                    (None, None) => return Err(missing("text", &TEXT_NAMES)),
                },
            }
        }
    };
    let label = match label {
        Some(at) => at,
        None => LABEL_NAMES
            .iter()
            .find_map(|name| find(name, names).ok().flatten())
            .ok_or_else(|| missing("label", &LABEL_NAMES))?,
    };
    distinct(Columns { text, pair, label }, place)
}

/// The columns of a table without a header.
fn without_header(count: usize, options: &ReadOptions, place: &Place) -> Result<Columns> {
    let [text, pair, label] = asked(options).map(|column| match column {
        Some(column) => place_of(column, &[], true, place)
            .and_then(|at| within(at, count, place))
            .map(Some),
        None => Ok(None),
    });
    let (text, pair, label) = (text?, pair?, label?);
    if let (None, None, None, 3) = (text, pair, label, count) {
        return Ok(Columns {
            text: 0,
            pair: Some(1),
            label: 2,
        });
    }
    let given = [text, pair, label];
    let mut left = (0..count).filter(|at| !given.contains(&Some(*at)));
    let needed = usize::from(text.is_none()) + usize::from(label.is_none());
    if needed > 0 && left.clone().count() != needed {
        let columns = if count == 1 { "column" } else { "columns" };
        return Err(place.error(&format!(
            "the record has {count} {columns} and no header; expected two (text, label) or three (text, pair, \
             label), or the columns of text and label to be given by number (if this line is a header, set the \
             option header)"
        )));
    }
    let mut or_left = |given: Option<usize>| given.or_else(|| left.next()).unwrap_or(count);
    distinct(
        Columns {
            text: or_left(text),
            pair,
            label: or_left(label),
        },
        place,
    )
}

/// The columns that were asked for: text, pair, label.
fn asked(options: &ReadOptions) -> [Option<&str>; 3] {
    [
        options.text_column.as_deref(),
        options.pair_column.as_deref(),
        options.label_column.as_deref(),
    ]
}

fn is_number(column: &str) -> bool {
    !column.is_empty() && column.bytes().all(|b| b.is_ascii_digit())
}

/// Where `name` is among `names`: as it is, else without regard to case. `Err(())` where it is there twice.
fn find(name: &str, names: &[&str]) -> std::result::Result<Option<usize>, ()> {
    let at = |same: &dyn Fn(&str) -> bool| {
        let mut places = names
            .iter()
            .enumerate()
            .filter(|(_, n)| same(n))
            .map(|(at, _)| at);
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => Err(()),
            (found, _) => Ok(found),
        }
    };
    match at(&|n| n == name)? {
        Some(found) => Ok(Some(found)),
        None => at(&|n| n.eq_ignore_ascii_case(name)),
    }
}

/// The place of a column that was asked for.
fn place_of(column: &str, names: &[&str], numbers: bool, place: &Place) -> Result<usize> {
    match find(column, names) {
        Ok(Some(at)) => return Ok(at),
        Err(()) => return Err(place.several(column)),
        Ok(None) => {}
    }
    if !(numbers && is_number(column)) {
        return Err(place.error(&format!(
            "there is no {} {}; the {} are {}",
            place.noun,
            quoted(column),
            place.nouns,
            place.names
        )));
    }
    match column.parse::<usize>() {
        Ok(0) => Err(Error::InvalidArgument(
            "Column 0 is asked for; columns are numbered from 1.".into(),
        )),
        Ok(number) if names.is_empty() => Ok(number - 1),
        Ok(number) => within(number - 1, names.len(), place),
        Err(_) => Err(place.error(&format!("there is no column {}", quoted(column)))),
    }
}

/// `at` where the table has that many columns.
fn within(at: usize, count: usize, place: &Place) -> Result<usize> {
    if at < count {
        return Ok(at);
    }
    let columns = if count == 1 { "column" } else { "columns" };
    Err(place.error(&format!(
        "there is no column {}; the record has {count} {columns}",
        at.saturating_add(1)
    )))
}

/// `columns` where they are different ones.
fn distinct(columns: Columns, place: &Place) -> Result<Columns> {
    let Columns { text, pair, label } = columns;
    let same = if text == label {
        "text and the label"
    } else if pair == Some(text) {
        "text and the second text"
    } else if pair == Some(label) {
        "second text and the label"
    } else {
        return Ok(columns);
    };
    Err(Error::InvalidArgument(format!(
        "The {same} are both to be read from the same {} of {}; expected different ones.",
        place.noun, place.source
    )))
}
