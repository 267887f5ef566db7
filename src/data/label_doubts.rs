//! Labels that a model is made for and that may not be what was meant: a warning in the log, that names the option to
//! set.

use std::collections::{BTreeSet, HashMap};

use crate::error::Result;
use crate::log;

use super::labels::number;
use super::{Dataset, Label, LabelCount, listed};

/// More values than the classes that numbers commonly are, such as one to five stars.
const FEW_NUMBERS: usize = 5;

/// Warns of the labels of a data set that a model is made for.
///
/// # Errors
/// As [`Dataset::label_counts`].
pub(super) fn warn(dataset: &Dataset) -> Result<()> {
    let labels = dataset.label_counts()?;
    let found = match dataset.examples().first().map(|example| &example.label) {
        Some(Label::Id(_)) => ids(&labels).into_iter().collect(),
        Some(Label::Name(_)) => names(&labels, dataset.len(), true),
        Some(Label::Names(_)) => names(&labels, dataset.len(), false),
        Some(Label::Targets(_)) | None => Vec::new(),
    };
    for doubt in found {
        log::warning(|| doubt);
    }
    Ok(())
}

/// Of class ids, those that no example has.
fn ids(labels: &[LabelCount]) -> Option<String> {
    let absent: Vec<String> = labels
        .iter()
        .enumerate()
        .filter(|(_, label)| label.examples == 0)
        .map(|(id, _)| id.to_string())
        .collect();
    let last = labels.len().saturating_sub(1);
    let (ids, have, each) = match absent.len() {
        0 => return None,
        1 => ("id", "has", "it is a class"),
        _ => ("ids", "have", "each is a class"),
    };
    let hint = if absent == ["0"] {
        "; ids count from 0, and these seem to count from 1"
    } else {
        ""
    };
    Some(format!(
        "The class {ids} {} of 0 to {last} {have} no example, but {each} of the model all the same{hint}. With \
         labels_are_ids = 0 the numbers are names, and only those that occur are classes.",
        listed(absent.iter().map(String::as_str))
    ))
}

/// Of labels by name.
fn names(labels: &[LabelCount], examples: usize, are_classes: bool) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(few_examples(labels, examples));
    if are_classes {
        found.extend(amounts(labels));
    }
    found.extend(lists(labels, are_classes));
    found.extend(in_quotes(labels));
    found.extend(spellings(labels));
    found
}

/// Labels with one example.
fn few_examples(labels: &[LabelCount], examples: usize) -> Option<String> {
    let single: Vec<&str> = labels
        .iter()
        .filter(|label| label.examples == 1)
        .map(|label| label.name.as_str())
        .collect();
    let names = || listed(single.iter().copied());
    match single.len() {
        0 => None,
        count
            if count == labels.len()
                && count > 1
                && count == examples
                && are_like_texts(&single) =>
        {
            Some(format!(
                "Each of the {count} examples has a label of its own, such as {}; a label names one of a few classes. \
             Make sure that the columns of text and label aren't swapped.",
                names()
            ))
        }
        count if count == labels.len() && count > 1 => Some(format!(
            "Each of the {count} labels has one example: {}.",
            names()
        )),
        1 => Some(format!("The label {} has one example.", names())),
        count => Some(format!(
            "{count} of the labels have one example each: {}.",
            names()
        )),
    }
}

/// Whether names are as long as texts, or more than there are classes in small data.
fn are_like_texts(names: &[&str]) -> bool {
    let words: usize = names
        .iter()
        .map(|name| name.split_whitespace().count())
        .sum();
    words > 2 * names.len() || names.len() > 5
}

/// Classes that are all numbers, and more or other ones than classes commonly are.
fn amounts(labels: &[LabelCount]) -> Option<String> {
    let values: Vec<f64> = labels
        .iter()
        .map(|label| number(&label.name))
        .collect::<Option<_>>()?;
    let is_decimal = |label: &&LabelCount| number(&label.name).is_some_and(|n| n.fract() != 0.0);
    let why = match labels.iter().find(is_decimal) {
        Some(label) => format!("not all are whole, such as '{}'", label.name),
        None => {
            let is_next = |pair: &[f64]| matches!(pair, [a, b] if *b == *a + 1.0);
            let counts_up = values.windows(2).all(is_next);
            let are_ids = counts_up
                && values
                    .first()
                    .is_some_and(|first| matches!(*first, 0.0 | 1.0));
            if values.len() <= FEW_NUMBERS || are_ids {
                return None;
            }
            "they don't count up from 0 or 1".to_string()
        }
    };
    Some(format!(
        "The {} labels are all numbers, and {why}: {}. If they are amounts and not classes, set problem_type to \
         BERT_PROBLEM_REGRESSION.",
        labels.len(),
        listed(labels.iter().map(|label| label.name.as_str()))
    ))
}

/// Labels that are several others in one.
fn lists(labels: &[LabelCount], are_classes: bool) -> Option<String> {
    let known: BTreeSet<&str> = labels.iter().map(|label| label.name.as_str()).collect();
    let is_list = |name: &str, separator: char| {
        let mut parts = name.split(separator).map(str::trim);
        name.contains(separator) && parts.all(|part| known.contains(part))
    };
    let found = labels.iter().find_map(|label| {
        let found = ['|', ',', ';', '/']
            .into_iter()
            .find(|s| is_list(&label.name, *s));
        Some((label.name.as_str(), found?))
    });
    let Some((name, separator)) = found else {
        return shared_parts(labels, are_classes);
    };
    let option = if are_classes {
        "If an example may have several labels, set problem_type to BERT_PROBLEM_MULTI_LABEL and"
    } else {
        "If they are several labels,"
    };
    Some(format!(
        "The label {} is made of other labels of the data set. {option} set label_separator to \"{separator}\".",
        super::quoted(name)
    ))
}

/// Labels of several parts, of which one stands in more labels than one.
fn shared_parts(labels: &[LabelCount], are_classes: bool) -> Option<String> {
    // A multi-label field is cut at its separator already.
    let separators = if are_classes {
        &['|', ',', ';'][..]
    } else {
        &[',', ';']
    };
    separators.iter().find_map(|separator| {
        let names = || labels.iter().map(|label| label.name.as_str());
        let several = names().filter(|name| name.contains(*separator)).count();
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let part = names().find_map(|name| {
            let mut parts = name.split(*separator).map(str::trim).filter(|part| !part.is_empty());
            parts.find(|part| seen.insert(part, name).is_some_and(|before| before != name))
        });
        let part = part.filter(|_| several > 1)?;
        let option = if are_classes {
            "if an example may have several labels, set problem_type to BERT_PROBLEM_MULTI_LABEL and"
        } else {
            "if they are several labels,"
        };
        Some(format!(
            "The part {} stands in several labels, such as {}: {option} set label_separator to \"{separator}\".",
            super::quoted(part),
            listed(names().filter(|name| name.contains(part)).collect::<Vec<_>>().into_iter())
        ))
    })
}

/// Labels that are all in quotes, which are a part of them then.
fn in_quotes(labels: &[LabelCount]) -> Option<String> {
    let is_quoted = |name: &str, quote: char| {
        name.len() > 2 && name.starts_with(quote) && name.ends_with(quote)
    };
    let quote = ['"', '\'']
        .into_iter()
        .find(|quote| labels.iter().all(|l| is_quoted(&l.name, *quote)))?;
    let first = labels.first()?;
    Some(format!(
        "Every label is in quotes, such as {}, and they are a part of it. Set quoting to BERT_QUOTING_DOUBLE if \
         {quote} encloses fields; in CSV no blank may stand before it.",
        first.name
    ))
}

/// Labels that differ in case or in white space alone.
fn spellings(labels: &[LabelCount]) -> Option<String> {
    let plain = |name: &str| {
        let words: Vec<String> = name.split_whitespace().map(str::to_lowercase).collect();
        words.join(" ")
    };
    let mut seen: HashMap<String, &str> = HashMap::new();
    labels.iter().find_map(|label| {
        let earlier = seen.insert(plain(&label.name), &label.name)?;
        Some(format!(
            "The labels {} differ in upper and lower case or white space alone, and are two classes.",
            listed([earlier, label.name.as_str()].into_iter())
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(counts: &[(&str, u64)]) -> Vec<LabelCount> {
        let label = |(name, examples): &(&str, u64)| LabelCount {
            name: name.to_string(),
            examples: *examples,
        };
        counts.iter().map(label).collect()
    }

    fn names_of(counts: &[(&str, u64)]) -> Vec<String> {
        let examples = counts.iter().map(|(_, count)| *count as usize).sum();
        names(&counted(counts), examples, true)
    }

    fn twice(names: &[&str]) -> Vec<String> {
        let counts: Vec<(&str, u64)> = names.iter().map(|name| (*name, 2)).collect();
        names_of(&counts)
    }

    #[test]
    fn ids_without_examples_are_named() {
        let one_to_three = counted(&[("LABEL_0", 0), ("LABEL_1", 4), ("LABEL_2", 4)]);
        assert_eq!(
            ids(&one_to_three).unwrap(),
            "The class id '0' of 0 to 2 has no example, but it is a class of the model all the same; ids count from 0, \
             and these seem to count from 1. With labels_are_ids = 0 the numbers are names, and only those that occur \
             are classes."
        );
        let stars = [0, 1, 0, 1, 0, 1].map(|count| ("LABEL", count));
        assert!(ids(&counted(&stars)).unwrap().starts_with(
            "The class ids '0', '2', '4' of 0 to 5 have no example, but each is a class of the model all the same."
        ));
        assert_eq!(ids(&counted(&[("LABEL_0", 1), ("LABEL_1", 1)])), None);
    }

    #[test]
    fn labels_with_one_example_are_named() {
        assert_eq!(
            names_of(&[("a", 5), ("b", 1), ("c", 4)]),
            ["The label 'b' has one example."]
        );
        assert_eq!(
            names_of(&[("a", 5), ("b", 1), ("c", 1)]),
            ["2 of the labels have one example each: 'b', 'c'."]
        );
        assert_eq!(
            names_of(&[("what a bad film", 1), ("quite a good film", 1)]),
            [
                "Each of the 2 examples has a label of its own, such as 'what a bad film', 'quite a good film'; a \
                 label names one of a few classes. Make sure that the columns of text and label aren't swapped."
            ]
        );
        assert_eq!(
            names_of(&[("neg", 1), ("pos", 1)]),
            ["Each of the 2 labels has one example: 'neg', 'pos'."]
        );
        assert!(names_of(&[("neg", 2), ("pos", 2)]).is_empty());
    }

    #[test]
    fn amounts_are_no_classes() {
        assert_eq!(
            twice(&["0.0", "0.5", "1.0"]),
            [
                "The 3 labels are all numbers, and not all are whole, such as '0.5': '0.0', '0.5', '1.0'. If they are \
                 amounts and not classes, set problem_type to BERT_PROBLEM_REGRESSION."
            ]
        );
        let found = twice(&["0", "20", "40", "60", "80", "100"]);
        assert!(
            found[0].contains("they don't count up from 0 or 1"),
            "{found:?}"
        );
        for classes in [
            &["0", "1"][..],
            &["-1", "0", "1"],
            &["1", "2", "3", "4", "5"],
            &["0", "1", "2", "3", "4", "5", "6", "7"],
            &["1", "2", "3", "4", "5", "6"],
            &["1.5", "none"],
        ] {
            assert_eq!(twice(classes), [""; 0], "{classes:?}");
        }
    }

    #[test]
    fn labels_in_a_row_are_several() {
        assert_eq!(
            twice(&["insult", "toxic", "toxic, insult"]),
            [
                "The label 'toxic, insult' is made of other labels of the data set. If an example may have several \
                 labels, set problem_type to BERT_PROBLEM_MULTI_LABEL and set label_separator to \",\"."
            ]
        );
        let multi = names(&counted(&[("a", 2), ("a;b", 2), ("b", 2)]), 6, false);
        assert!(multi[0].ends_with("If they are several labels, set label_separator to \";\"."));
        assert!(twice(&["a", "b, c"]).is_empty());
        assert!(twice(&["1.0", "2.0", "3.0"]).is_empty());
        assert_eq!(
            twice(&["rude, toxic", "spam, rude"]),
            [
                "The part 'rude' stands in several labels, such as 'rude, toxic', 'spam, rude': if an example may have \
                 several labels, set problem_type to BERT_PROBLEM_MULTI_LABEL and set label_separator to \",\"."
            ]
        );
        assert!(
            twice(&["\"neg\"", "\"pos\""])[0]
                .starts_with("Every label is in quotes, such as \"neg\",")
        );
    }

    #[test]
    fn spellings_of_one_label_are_two_classes() {
        assert_eq!(
            twice(&["Positive", "negative", "positive "]),
            [
                "The labels 'Positive', 'positive ' differ in upper and lower case or white space alone, and are two \
                 classes."
            ]
        );
    }
}
