//! JSON Lines: one object a line.

use std::cell::Cell;
use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::error::Result;
use crate::problem::ProblemType;

use super::super::{Dataset, Example, Label, MAX_CLASSES, listed, quoted};
use super::columns::{self, Place};
use super::lines::Lines;
use super::{ReadOptions, add, class_from, data_error, finite};

const EXPECTED: &str =
    r#"expected one JSON object a line, such as {"text": "...", "label": "..."}"#;

/// Reads a stream in UTF-8.
pub(super) fn read(
    reader: Box<dyn Read + '_>,
    source: &str,
    options: &ReadOptions,
) -> Result<Dataset> {
    let mut lines = Lines::new(reader, source);
    let mut dataset = Dataset::new();
    let mut keys: Option<Keys> = None;
    while let Some(record) = lines.next_line()? {
        let line = record.line;
        let json = record.text.trim();
        if json.is_empty() {
            continue;
        }
        let error = |what: &str| data_error(source, line, what);
        if !json.starts_with('{') {
            let start: String = json.chars().take(10).collect();
            return Err(error(&format!(
                "the line begins with {}; {EXPECTED}",
                quoted(&start)
            )));
        }
        let wanted = |key: &str| match &keys {
            Some(keys) => keys.has(key),
            None => columns::is_known(key) || Keys::asks_for(options, key),
        };
        // Counted in the line as it is, white space before the object included.
        let before = record.text.len() - record.text.trim_start().len();
        let object = parse(json, &wanted).map_err(|e| error(&describe(&e, before)))?;
        let keys = match &keys {
            Some(known) => known,
            None => {
                let place = Place {
                    source,
                    line,
                    noun: "key",
                    nouns: "keys",
                    names: object.names(),
                    hint: String::new(),
                };
                keys.insert(Keys::of(&object, options, &place)?)
            }
        };
        let string = |key: &str| match object.get(key) {
            Some(Scalar::Text(text)) => Ok(text.clone()),
            Some(other) => Err(error(&format!(
                "{} is {other}; expected a string",
                quoted(key)
            ))),
            None => Err(error(&format!(
                "the key {} is missing; every line needs it",
                quoted(key)
            ))),
        };
        let text = string(&keys.text)?;
        let pair = keys.pair.as_deref().map(string).transpose()?;
        let label = label(&object, &keys.label, options).map_err(|what| error(&what))?;
        add(&mut dataset, Example { text, pair, label }, source, line)?;
    }
    Ok(dataset)
}

fn label(object: &Object, key: &str, options: &ReadOptions) -> std::result::Result<Label, String> {
    let value = match object.get(key) {
        Some(Scalar::Null) | None => {
            return Err(format!(
                "the label {} is missing; every line needs it",
                quoted(key)
            ));
        }
        Some(value) => value,
    };
    if let Scalar::List {
        is_whole: false, ..
    } = value
    {
        return Err(format!(
            "the label {} is a list of more than {MAX_CLASSES}, which is the limit",
            quoted(key)
        ));
    }
    match options.problem_type {
        ProblemType::SingleLabel => class(value, key, options.labels_are_ids),
        ProblemType::MultiLabel => match value {
            Scalar::List { items, .. } => names(items).map(Label::Names).ok_or_else(|| {
                format!(
                    "the label {} holds what is no name; expected strings that aren't empty, whole numbers, true or \
                     false",
                    quoted(key)
                )
            }),
            other => Err(format!(
                "the label {} is {other}, but each line has a list of labels; expected an array of strings",
                quoted(key)
            )),
        },
        ProblemType::Regression => {
            let values = match value {
                Scalar::List { items, .. } => items.iter().map(number).collect(),
                other => number(other).map(|value| vec![value]),
            };
            values.map(Label::Targets).ok_or_else(|| {
                format!(
                    "the label {} is {value}, but labels are read as numbers; expected a finite number or an array of \
                     them",
                    quoted(key)
                )
            })
        }
    }
}

/// The names that a list holds; `None` where something in it isn't one.
fn names(items: &[Scalar]) -> Option<Vec<String>> {
    let name = |item: &Scalar| match item {
        Scalar::Text(text) | Scalar::Integer(text) => {
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_string())
        }
        Scalar::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    items.iter().map(name).collect()
}

/// The number that a value is; `None` where it is none, or not finite as float32.
fn number(item: &Scalar) -> Option<f32> {
    match item {
        Scalar::Integer(digits) => finite(digits.parse().ok()?),
        Scalar::Real(value) => finite(*value),
        _ => None,
    }
}

/// The class that a value names.
fn class(value: &Scalar, key: &str, ids: bool) -> std::result::Result<Label, String> {
    match value {
        Scalar::Text(text) => class_from(text, ids),
        Scalar::Integer(digits) => class_from(digits, ids),
        Scalar::Bool(value) if !ids => Ok(Label::Name(value.to_string())),
        other if ids => Err(format!(
            "the label {} is {other}, but labels are read as ids; expected a whole number from 0 on",
            quoted(key)
        )),
        Scalar::List { .. } => Err(format!(
            "the label {} is a list; if each line has a list of labels, set problem_type to BERT_PROBLEM_MULTI_LABEL \
             (BERT_PROBLEM_REGRESSION for lists of numbers), else expected a string, a whole number, true or false",
            quoted(key)
        )),
        Scalar::Real(_) => Err(format!(
            "the label {} is {value}; if the labels are amounts, set problem_type to BERT_PROBLEM_REGRESSION, else \
             expected a string, a whole number, true or false",
            quoted(key)
        )),
        other => Err(format!(
            "the label {} is {other}; expected a string, a whole number, true or false",
            quoted(key)
        )),
    }
}

/// The keys that the first object has, and every later one must have.
struct Keys {
    text: String,
    pair: Option<String>,
    label: String,
}

impl Keys {
    fn of(object: &Object, options: &ReadOptions, place: &Place) -> Result<Keys> {
        let names: Vec<&str> = object.entries.iter().map(|(key, _)| key.as_str()).collect();
        let at = columns::of_names(&names, false, options, place)?;
        let name = |at: usize| names.get(at).map(|n| n.to_string()).unwrap_or_default();
        Ok(Keys {
            text: name(at.text),
            pair: at.pair.map(name),
            label: name(at.label),
        })
    }

    fn has(&self, key: &str) -> bool {
        key == self.text || key == self.label || Some(key) == self.pair.as_deref()
    }

    fn asks_for(options: &ReadOptions, key: &str) -> bool {
        let asked = [
            &options.text_column,
            &options.pair_column,
            &options.label_column,
        ];
        asked
            .into_iter()
            .flatten()
            .any(|a| a.eq_ignore_ascii_case(key))
    }
}

/// Of an object, the values that matter. The others are read past without being kept, however large or deep they are.
#[derive(Default)]
struct Object {
    entries: Vec<(String, Scalar)>,
    /// The first of all keys, for messages.
    seen: Vec<String>,
    /// How many keys there are in all.
    count: usize,
}

/// The most values kept of one object. There are only so many names to look for, but a hostile object may hold each in
/// every mixture of upper and lower case.
const ENTRY_LIMIT: usize = 64;

/// The most keys that a message lists.
const SEEN_LIMIT: usize = 10;

impl Object {
    fn get(&self, key: &str) -> Option<&Scalar> {
        self.entries
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    }

    /// As every JSON reader has it, the last of several equal keys counts.
    fn set(&mut self, key: String, value: Scalar) {
        let room = self.entries.len() < ENTRY_LIMIT;
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None if room => self.entries.push((key, value)),
            None => {}
        }
    }

    fn saw(&mut self, key: &str) {
        self.count += 1;
        if self.seen.len() < SEEN_LIMIT {
            self.seen.push(key.to_string());
        }
    }

    fn names(&self) -> String {
        match self.count - self.seen.len() {
            _ if self.count == 0 => "(none)".into(),
            0 => listed(self.seen.iter().map(String::as_str)),
            more => format!(
                "{} and {more} more",
                listed(self.seen.iter().map(String::as_str))
            ),
        }
    }
}

/// A value, as far as a text or label can use it.
#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Text(String),
    Integer(String),
    /// Not whole, or too large.
    Real(f64),
    Bool(bool),
    Null,
    /// As many of its items as there is room for in the object; none of a list in a list.
    List {
        items: Vec<Scalar>,
        /// Whether they are all.
        is_whole: bool,
    },
    Object,
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => f.write_str(&quoted(text)),
            Scalar::Integer(digits) => write!(f, "the number {digits}"),
            Scalar::Real(_) => f.write_str("a number that isn't whole or is too large"),
            Scalar::Bool(value) => write!(f, "{value}"),
            Scalar::Null => f.write_str("null"),
            Scalar::List { .. } => f.write_str("a list"),
            Scalar::Object => f.write_str("an object"),
        }
    }
}

fn parse(json: &str, wanted: &dyn Fn(&str) -> bool) -> serde_json::Result<Object> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let seed = ObjectSeed {
        wanted,
        room: Cell::new(MAX_CLASSES),
    };
    let object = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(object)
}

/// A failure of the JSON parser, in our words; `before` bytes of the line came before the object.
fn describe(error: &serde_json::Error, before: usize) -> String {
    if error.classify() == Category::Eof {
        return format!("the JSON object isn't closed at the line's end; {EXPECTED}");
    }
    // The parser's column is that of a byte and counts from 1, or is 0 where it doesn't know.
    let byte = before + error.column().max(1);
    format!("the line isn't valid JSON at byte {byte}; {EXPECTED}")
}

struct ObjectSeed<'w> {
    wanted: &'w dyn Fn(&str) -> bool,
    /// How many more items of lists are kept.
    room: Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Object, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Object, A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key::<String>()? {
            object.saw(&key);
            if (self.wanted)(&key) {
                let value = map.next_value_seed(ScalarSeed {
                    room: Some(&self.room),
                })?;
                object.set(key, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(object)
    }
}

struct ScalarSeed<'r> {
    /// How many more items of lists are kept; `None` inside a list.
    room: Option<&'r Cell<usize>>,
}

impl<'de> DeserializeSeed<'de> for ScalarSeed<'_> {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed<'_> {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Scalar, E> {
        Ok(Scalar::Text(text.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Scalar, E> {
        Ok(Scalar::Integer(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Scalar, E> {
        Ok(Scalar::Integer(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Scalar, E> {
        Ok(Scalar::Real(value))
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_unit<E>(self) -> std::result::Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Scalar, A::Error> {
        let mut items = Vec::new();
        if let Some(room) = self.room {
            while room.get() > 0
                && let Some(value) = seq.next_element_seed(ScalarSeed { room: None })?
            {
                items.push(value);
                room.set(room.get() - 1);
            }
        }
        let mut is_whole = true;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            is_whole = false;
        }
        Ok(Scalar::List { items, is_whole })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}
