//! `id2label` of a config.json: what transformers makes of it, whatever people have written there.

use serde_json::{Map, Value, json};

use super::config::Reader;
use crate::data::{Labels, MAX_CLASSES};
use crate::error::{Error, Result};

/// The labels of a saved model.
#[derive(Debug, PartialEq)]
pub struct SavedLabels {
    /// Its labels, or why they can't be read: an error only where they are needed.
    pub labels: Result<Labels>,
    /// What of them is probably not as its author meant it: sentences for a warning where they are used.
    pub notes: Vec<String>,
}

impl SavedLabels {
    /// How many there are; two, as transformers has it, where they can't be read.
    pub fn len(&self) -> usize {
        self.labels.as_ref().map_or(2, Labels::len)
    }

    /// Reads `id2label`. Without it there are `num_labels` names as transformers makes them, two where that is missing.
    pub fn read(reader: &Reader<'_>) -> SavedLabels {
        let mut notes = Vec::new();
        let labels = read(reader, &mut notes).map_err(|error| match error.category() {
            Error::Format(text) => Error::Format(format!(
                "{text} To load the model with other names, set label_names."
            )),
            _ => error,
        });
        SavedLabels { labels, notes }
    }
}

fn read(reader: &Reader<'_>, notes: &mut Vec<String>) -> Result<Labels> {
    let numbered = |count: usize| {
        if count == 0 || count > MAX_CLASSES {
            let expected = format!("from 1 to {MAX_CLASSES}");
            return Err(reader.wrong("num_labels", &json!(count), &expected));
        }
        Labels::numbered(count)
    };
    let Some(value) = reader.get("id2label") else {
        return numbered(reader.size("num_labels", 2)?);
    };
    let Value::Object(object) = value else {
        return Err(reader.wrong(
            "id2label",
            value,
            "an object from the ids 0, 1, 2, … to names",
        ));
    };
    let names = names_by_id(reader, object)?;
    let count = names.len();
    // Of two that contradict each other transformers takes this one, without the names.
    if let Some(other) = reader.get("num_labels").and_then(Value::as_u64)
        && other != count as u64
    {
        notes.push(format!(
            "'{}' has {count} names in id2label and num_labels {other}; as in transformers the names are LABEL_0 to \
             LABEL_{}.",
            reader.name,
            other.saturating_sub(1)
        ));
        return numbered(other.try_into().unwrap_or(usize::MAX));
    }
    if count == 0 || count > MAX_CLASSES {
        let expected = format!("an object with 1 to {MAX_CLASSES} names");
        return Err(reader.wrong("id2label", value, &expected));
    }
    let mut found = vec![None; count];
    let mut beyond = None;
    for (id, name) in names {
        match usize::try_from(id).ok().and_then(|id| found.get_mut(id)) {
            Some(place) => *place = name,
            None => beyond = beyond.or(Some(id)),
        }
    }
    let missing = found.iter().position(Option::is_none);
    let names = found.into_iter().enumerate();
    let names = names.map(|(id, name)| name.unwrap_or_else(|| format!("LABEL_{id}")));
    let labels = Labels::from_saved(names.collect());
    if let Some(id) = missing {
        let beyond = beyond.map_or(String::new(), |other| {
            format!(" and one for class {other}, which a model of {count} labels doesn't have")
        });
        notes.push(format!(
            "In '{}' id2label has no name for class {id}{beyond}; that class is called LABEL_{id}.",
            reader.name
        ));
    }
    if let Some((name, first, second)) = labels.first_repeated() {
        notes.push(format!(
            "In '{}' the name '{name}' stands for both class {first} and class {second}. To tell them apart, load the \
             model with label_names that differ and rename_labels = 1.",
            reader.name
        ));
    }
    Ok(labels)
}

/// The names by their ids, in the file's order; of two with one id the last. A null is no name.
fn names_by_id(
    reader: &Reader<'_>,
    object: &Map<String, Value>,
) -> Result<Vec<(i64, Option<String>)>> {
    let mut names: Vec<(i64, Option<String>)> = Vec::with_capacity(object.len());
    let mut places = std::collections::HashMap::new();
    for (key, value) in object {
        let wrong = |value: &Value, expected: &str| {
            Err(reader.wrong(&format!("id2label\" at \"{key}"), value, expected))
        };
        let Some(id) = whole_number(key) else {
            return wrong(value, "at an id: 0, 1, 2, …");
        };
        let name = match value {
            Value::String(name) => Some(name.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            Value::Null => None,
            Value::Array(_) | Value::Object(_) => return wrong(value, "a name"),
        };
        match places.get(&id) {
            None => {
                places.insert(id, names.len());
                names.push((id, name));
            }
            Some(&place) => names[place] = (id, name),
        }
    }
    Ok(names)
}

/// The number that Python's `int()` reads: with blanks around it, a sign, zeros before it, underscores between digits.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let parts: Vec<&str> = digits.split('_').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !parts.iter().all(is_number) {
        return None;
    }
    format!("{sign}{}", parts.concat()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(json: &str) -> SavedLabels {
        let value: Value = serde_json::from_str(json).unwrap();
        SavedLabels::read(&Reader {
            object: value.as_object().unwrap(),
            name: "c",
        })
    }

    /// As `AutoConfig` of transformers 5.24 reads them; where it has no name for a class, the name that it makes
    /// itself.
    #[test]
    fn labels_are_those_of_transformers() {
        let of = |json: &str, names: &[&str], words: &[&str]| {
            let found = read_json(json);
            assert_eq!(found.labels.unwrap().names(), names, "{json}");
            assert_eq!(found.notes.len(), words.len(), "{json}: {:?}", found.notes);
            for (note, word) in found.notes.iter().zip(words) {
                assert!(note.contains(word), "{json}: {note}");
            }
        };
        of(r#"{"id2label": {"0": 0, "1": 1}}"#, &["0", "1"], &[]);
        of(
            r#"{"id2label": {"0": 1.5, "1": true}}"#,
            &["1.5", "true"],
            &[],
        );
        of(r#"{"id2label": {"1": "b", "0": "a"}}"#, &["a", "b"], &[]);
        of(r#"{"id2label": {"00": "a", "01": "b"}}"#, &["a", "b"], &[]);
        of(r#"{"id2label": {" 0": "a", "+1": "b"}}"#, &["a", "b"], &[]);
        of(
            r#"{"id2label": {"0": "a", "1": "b", "01": "c"}}"#,
            &["a", "c"],
            &[],
        );
        of(
            r#"{"id2label": {"0": "a", "2": "b"}}"#,
            &["a", "LABEL_1"],
            &["no name for class 1 and one for class 2"],
        );
        of(
            r#"{"id2label": {"-1": "a", "0": "b"}}"#,
            &["b", "LABEL_1"],
            &["class -1"],
        );
        of(
            r#"{"id2label": {"0": null, "1": "b"}}"#,
            &["LABEL_0", "b"],
            &["no name for class 0;"],
        );
        of(
            r#"{"id2label": {"0": "other", "1": "spam", "2": "other"}}"#,
            &["other", "spam", "other"],
            &["both class 0 and class 2"],
        );
        of(
            r#"{"id2label": {"0": "a", "1": "b"}, "num_labels": 3}"#,
            &["LABEL_0", "LABEL_1", "LABEL_2"],
            &["num_labels 3"],
        );
        of(
            r#"{"num_labels": 3}"#,
            &["LABEL_0", "LABEL_1", "LABEL_2"],
            &[],
        );
        of(r#"{"id2label": null}"#, &["LABEL_0", "LABEL_1"], &[]);
    }

    /// transformers raises an exception for each but the one with arrays, which has no texts for labels.
    #[test]
    fn what_transformers_refuses_is_an_error_that_names_the_way_out() {
        for json in [
            r#"{"id2label": ["a", "b"]}"#,
            r#"{"id2label": "a"}"#,
            r#"{"id2label": {"a": "x"}}"#,
            r#"{"id2label": {"0.0": "x"}}"#,
            r#"{"id2label": {"1__0": "x"}}"#,
            r#"{"id2label": {"": "x"}}"#,
            r#"{"id2label": {"0": ["x"]}}"#,
            r#"{"id2label": {}}"#,
            r#"{"num_labels": 0}"#,
            r#"{"num_labels": 100001}"#,
            r#"{"num_labels": "2"}"#,
            r#"{"id2label": {"0": "a"}, "num_labels": 100001}"#,
        ] {
            let found = read_json(json);
            assert_eq!(found.len(), 2);
            let error = found.labels.unwrap_err();
            assert!(matches!(error, Error::Format(_)), "{json}: {error}");
            assert!(error.message().contains("label_names"), "{json}: {error}");
        }
    }

    #[test]
    fn whole_numbers_are_pythons() {
        for (text, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("-3", Some(-3)),
            ("\t+1_0 ", Some(10)),
            ("99999999999999999999", None),
            ("1_", None),
            ("--1", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(whole_number(text), number, "{text:?}");
        }
    }
}
