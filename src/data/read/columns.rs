//! Which column is what: by name, by number, or by the names that data sets commonly use.

use crate::error::{Error, Result};

use super::super::{listed, quoted};
use super::{Header, ReadOptions, data_error};

const TEXT_NAMES: [&str; 5] = ["text", "sentence", "sentence1", "review", "content"];
const LABEL_NAMES: [&str; 5] = ["label", "class", "category", "target", "labels"];
/// `sentence1` is a text without `sentence2` too; the others are what they are only together.
const PAIR_NAMES: [(&str, &str); 4] = [
    ("sentence1", "sentence2"),
    ("text_a", "text_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
];

/// Names of a text that count where none of the above is there, and one of these alone. Each may also be a word of the
/// data, so that one of them makes no header.
const OTHER_TEXT_NAMES: [&str; 27] = [
    "tweet",
    "tweets",
    "comment",
    "comment_text",
    "message",
    "body",
    "document",
    "utterance",
    "query",
    "question",
    "texts",
    "sentences",
    "reviews",
    "review_text",
    "reviewtext",
    "text_content",
    "description",
    "headline",
    "phrase",
    "post",
    "sms",
    "satz",
    "texte",
    "phrases",
    "texto",
    "testo",
    "tekst",
];
/// Likewise of a label.
const OTHER_LABEL_NAMES: [&str; 32] = [
    "sentiment",
    "score",
    "stars",
    "rating",
    "ratings",
    "intent",
    "topic",
    "topics",
    "tag",
    "tags",
    "emotion",
    "polarity",
    "classes",
    "categories",
    "class_name",
    "classname",
    "label_name",
    "labelname",
    "overall",
    "kategorie",
    "kategorien",
    "klasse",
    "etikett",
    "bewertung",
    "catégorie",
    "categorie",
    "étiquette",
    "classe",
    "categoría",
    "categoria",
    "etiqueta",
    "etichetta",
];

/// Whether `name` is one that is looked for.
pub(super) fn is_known(name: &str) -> bool {
    [
        &TEXT_NAMES[..],
        &LABEL_NAMES,
        &OTHER_TEXT_NAMES,
        &OTHER_LABEL_NAMES,
    ]
    .iter()
    .any(|names| is_among(names, name))
        || PAIR_NAMES
            .iter()
            .any(|(a, b)| same(a, name) || same(b, name))
}

/// Names of a label of which one makes a record a header: the first of the usual ones. "labels" may be a word.
const TELLING: usize = 4;

/// Whether a record is a header: it has a usual name, or both another name of a text and one of a label.
pub(super) fn is_header(record: &[&str]) -> bool {
    let names = || record.iter().map(|field| field.trim());
    names().any(tells_header)
        || (names().any(|name| is_among(&OTHER_TEXT_NAMES, name))
            && names()
                .any(|name| is_among(&OTHER_LABEL_NAMES, name) || is_among(&LABEL_NAMES, name)))
}

fn tells_header(name: &str) -> bool {
    is_among(&TEXT_NAMES, name)
        || is_among(&LABEL_NAMES[..TELLING], name)
        || PAIR_NAMES
            .iter()
            .any(|(a, b)| same(a, name) || same(b, name))
}

fn is_among(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| same(known, name))
}

/// Whether two names are the same without regard to case.
fn same(a: &str, b: &str) -> bool {
    let lower = |text: &str| -> String { text.chars().flat_map(char::to_lowercase).collect() };
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && !b.is_ascii() && lower(a) == lower(b))
}

/// What is said of a table's other columns where one isn't found: that they are a column for each label. `rows` are the
/// table's first records, the first among them.
pub(super) fn indicators(first: &[&str], rows: &[Vec<String>]) -> String {
    let is_bit = |field: Option<&String>| field.is_some_and(|f| matches!(f.trim(), "0" | "1"));
    let below = rows.get(1..).unwrap_or_default();
    let of_bits: Vec<&str> = first
        .iter()
        .enumerate()
        .filter(|(at, _)| !below.is_empty() && below.iter().all(|row| is_bit(row.get(*at))))
        .map(|(_, name)| *name)
        .collect();
    if of_bits.len() < 2 {
        return String::new();
    }
    format!(
        " (the columns {} hold only 0 and 1, as one for each label does: set label_column to one of them, or, for \
         multi-label classification, put the names of each record's labels into one column)",
        listed(of_bits.into_iter())
    )
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
    pub hint: String,
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
        (Header::Auto, None) => is_header(first),
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
    let missing = |what: &str, option: &str, known: &[&str], others: &[&str]| {
        if let Some(twice) = known.iter().find(|name| find(name, names).is_err()) {
            return place.several(twice);
        }
        let Place {
            noun, nouns, hint, ..
        } = place;
        let candidates: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| is_among(others, name))
            .collect();
        if candidates.len() > 1 {
            return place.error(&format!(
                "several {nouns} may be the {what}: {}; set {option} to the one that is meant",
                listed(candidates.into_iter())
            ));
        }
        let no_header = match *noun {
            "column" if options.header == Header::Auto => {
                ", or header to BERT_HEADER_ABSENT if this line is an example"
            }
            _ => "",
        };
        place.error(&format!(
            "there is no {noun} for the {what} among the {nouns} {}; set {option} to the one that is meant (without \
             it, {}, … are looked for){no_header}{hint}",
            place.names,
            known.join(", "),
        ))
    };
    // Of the less usual names, the only one that is there.
    let other = |others: &[&str], taken: [Option<usize>; 2]| {
        let mut found = names
            .iter()
            .enumerate()
            .filter(|(at, name)| is_among(others, name) && !taken.contains(&Some(*at)));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Some(at),
            _ => None,
        }
    };
    let other_text = other(&OTHER_TEXT_NAMES, [pair, label]);
    let missing_text = || missing("text", "text_column", &TEXT_NAMES, &OTHER_TEXT_NAMES);
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
                        .or(other_text)
                        .ok_or_else(missing_text)?,
                    (None, None) => other_text.ok_or_else(missing_text)?,
                },
            }
        }
    };
    let label = match label {
        Some(at) => at,
        None => LABEL_NAMES
            .iter()
            .find_map(|name| find(name, names).ok().flatten())
            .or_else(|| other(&OTHER_LABEL_NAMES, [Some(text), pair]))
            .ok_or_else(|| missing("label", "label_column", &LABEL_NAMES, &OTHER_LABEL_NAMES))?,
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
            "the record has {count} {columns} and no header; expected two (text, label) or three (text, pair, label), \
             or text_column and label_column to be set to the columns' numbers, counted from 1, or header to \
             BERT_HEADER_PRESENT if this line names the columns{}",
            place.hint
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
        None => at(&|n| same(n, name)),
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
