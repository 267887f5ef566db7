//! Lists of labels in a field of a table, and lists as other programs write them.

use crate::error::{Error, Result};
use crate::log;

use super::super::{Dataset, Label, quoted};
use super::ReadOptions;

/// The names that a field has; an error is what was found and expected.
pub(super) fn from_field(
    field: &str,
    options: &ReadOptions,
) -> std::result::Result<Vec<String>, String> {
    if field.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(names) = of_text(field) {
        return match names.iter().any(String::is_empty) {
            true => Err(format!(
                "in the list of labels {} there is an empty name",
                quoted(field)
            )),
            false => Ok(names),
        };
    }
    let separator = options.separator_of_labels();
    let parts = || field.split(separator).map(str::trim);
    if parts().any(str::is_empty) {
        return Err(format!(
            "among the labels {} there is an empty name; expected names with {} between them",
            quoted(field),
            quoted(separator)
        ));
    }
    let is_bracketed = |open, close| field.starts_with(open) && field.ends_with(close);
    let is_list = is_bracketed('[', ']') || is_bracketed('{', '}') || is_bracketed('(', ')');
    if is_list && field.contains([',', '\'', '"']) && parts().nth(1).is_none() {
        return Err(format!(
            "the label is {}, which looks like a list of another kind; expected names with {} between them (the option \
             label_separator), or a list of names in quotes, such as [\"a\", \"b\"]",
            quoted(field),
            quoted(separator)
        ));
    }
    Ok(parts().map(str::to_string).collect())
}

/// The names of a list that a program wrote as text: JSON's `["a", "b"]`, Python's `['a', "b"]`, `('a',)` and `{'a'}`,
/// numpy's `['a' 'b']`, and the empty ones. Numbers, `True` and the like count as names. `None` where it is no such
/// list.
pub(super) fn of_text(field: &str) -> Option<Vec<String>> {
    let (open, close) = match field.as_bytes().first()? {
        b'[' => ('[', ']'),
        b'(' => ('(', ')'),
        b'{' => ('{', '}'),
        _ => {
            // The empty set has no brackets of its own.
            return (field == "set()").then(Vec::new);
        }
    };
    let mut rest = field.strip_prefix(open)?.strip_suffix(close)?.trim();
    let mut names = Vec::new();
    let mut has_quotes = rest.is_empty();
    while !rest.is_empty() {
        let (name, was_quoted, after) = item(rest)?;
        names.push(name.trim().to_string());
        has_quotes |= was_quoted;
        let trimmed = after.trim_start();
        rest = match trimmed.strip_prefix(',') {
            Some(next) => next.trim_start(),
            // Numpy has white space alone between two.
            None if trimmed.is_empty() || (was_quoted && trimmed.len() < after.len()) => trimmed,
            None => return None,
        };
    }
    // "(1)" may be a name; numbers in brackets are a list.
    (has_quotes || open == '[').then_some(names)
}

/// The first item of a list's text, whether it is in quotes, and what follows it.
fn item(text: &str) -> Option<(String, bool, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let Some(quote) = quote else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        let (word, after) = text.split_at_checked(end)?;
        let is_word = matches!(word, "True" | "False" | "true" | "false");
        let is_number = word.parse::<f64>().is_ok_and(f64::is_finite);
        return (is_word || is_number).then(|| (word.to_string(), false, after));
    };
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                'n' => name.push('\n'),
                't' => name.push('\t'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    name.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                c @ ('\\' | '\'' | '"' | '/') => name.push(c),
                _ => return None,
            },
            c if c == quote => return Some((name, true, text.get(at + 1..)?)),
            c => name.push(c),
        }
    }
    None
}

/// Whether lists of labels can have been meant as names: one of as many numbers 0 and 1 as there are labels can't.
///
/// # Errors
/// [`Error::Data`] for those.
pub(super) fn check(dataset: &Dataset, source: &str) -> Result<()> {
    let lists = || {
        dataset
            .examples()
            .iter()
            .map(|example| match &example.label {
                Label::Names(names) => names.as_slice(),
                _ => &[],
            })
    };
    let width = lists().next().map_or(0, <[String]>::len);
    let is_bit = |name: &String| matches!(name.as_str(), "0" | "1" | "0.0" | "1.0");
    if width < 2 || !lists().all(|list| list.len() == width && list.iter().all(is_bit)) {
        return Ok(());
    }
    let has_twice = |list: &[String]| width > 2 || list.first() == list.last();
    if !lists().any(has_twice) {
        log::warning(|| {
            format!(
                "Each list of labels in {source} is of 0 and 1, which are read as names; if each stands for a label \
                 that is there or not, the lists must have the labels' names instead."
            )
        });
        return Ok(());
    }
    Err(Error::Data(format!(
        "{source}: each list of labels is of {width} numbers 0 and 1, one for each label that is there or not; \
         expected the names of the labels that are there."
    )))
}
