//! What is in a data set, in numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::{Error, Result};
use crate::memory;
use crate::problem::ProblemType;

use super::labels::{self, MAX_CLASSES};
use super::{Dataset, Example, Label};

/// A label, and how many examples have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelCount {
    /// Its name in a model made for the data set.
    pub name: String,
    /// Examples.
    pub examples: u64,
}

/// How long the texts are; a pair counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// The length that half of the examples don't exceed.
    pub median: usize,
    /// The length that 95 of 100 examples don't exceed.
    pub p95: usize,
    /// The length that 99 of 100 examples don't exceed.
    pub p99: usize,
    /// The longest.
    pub longest: usize,
}

/// What is in a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetDescription {
    /// Examples.
    pub examples: usize,
    /// What the data set is for; `None` where it is empty.
    pub problem_type: Option<ProblemType>,
    /// Whether the examples are pairs of texts.
    pub has_pairs: bool,
    /// The labels in the order of their ids in a model made for the data set, those without examples among them.
    pub labels: Vec<LabelCount>,
    /// Examples with an empty list of labels (multi-label).
    pub without_label: usize,
    /// Examples whose text is empty or white space; of a pair, both.
    pub empty_texts: usize,
    /// Examples that are equal to an earlier one, label and all.
    pub duplicates: usize,
    /// Examples whose text another example has with another label.
    pub contradictions: usize,
    /// The least, the most, and the mean of all targets (regression).
    pub targets: Option<(f32, f32, f64)>,
}

impl Dataset {
    /// The labels in the order of their ids in a model made for the data set, with their numbers of examples. Of ids,
    /// those without examples too; of regression targets, each with all examples.
    ///
    /// # Errors
    /// [`Error::Data`] for more than [`MAX_CLASSES`] labels; [`Error::OutOfMemory`].
    pub fn label_counts(&self) -> Result<Vec<LabelCount>> {
        let mut names: HashMap<&str, Seen> = HashMap::new();
        let mut ids: BTreeMap<u32, u64> = BTreeMap::new();
        let mut width = 0;
        for (index, example) in self.examples().iter().enumerate() {
            match &example.label {
                Label::Name(name) => count(&mut names, name, index)?,
                Label::Names(list) => {
                    for name in list {
                        count(&mut names, name, index)?;
                    }
                }
                Label::Id(id) => *ids.entry(*id).or_default() += 1,
                Label::Targets(values) => width = values.len(),
            }
        }
        let most = ids.last_key_value().map_or(0, |(id, _)| *id as usize + 1);
        if names.len().max(most) > MAX_CLASSES {
            return Err(Error::Data(format!(
                "The data set has more than {MAX_CLASSES} labels; a label names one of a few classes. Make sure \
                 that the columns of text and label aren't swapped."
            )));
        }
        if most.max(width) > 0 {
            let all = self.len() as u64;
            return Ok((0..most.max(width) as u32)
                .map(|id| LabelCount {
                    name: format!("LABEL_{id}"),
                    examples: match width {
                        0 => ids.get(&id).copied().unwrap_or(0),
                        _ => all,
                    },
                })
                .collect());
        }
        let order = labels::in_class_order(names.keys().copied().collect::<BTreeSet<_>>());
        let counts = order.into_iter().map(|name| {
            Ok(LabelCount {
                name: memory::text(name)?,
                examples: names.get(name).map_or(0, |seen| seen.examples),
            })
        });
        memory::collected(counts)
    }

    /// What is in it.
    ///
    /// # Errors
    /// As [`label_counts`](Dataset::label_counts).
    pub fn describe(&self) -> Result<DatasetDescription> {
        let examples = self.examples();
        let is_unlabelled =
            |e: &&Example| matches!(&e.label, Label::Names(names) if names.is_empty());
        let is_blank = |text: &str| text.chars().all(char::is_whitespace);
        let is_empty = |e: &&Example| is_blank(&e.text) && e.pair.as_deref().is_none_or(is_blank);
        let (duplicates, contradictions) = self.repeated()?;
        Ok(DatasetDescription {
            examples: examples.len(),
            problem_type: self.problem_type(),
            has_pairs: examples.iter().any(|e| e.pair.is_some()),
            labels: self.label_counts()?,
            without_label: examples.iter().filter(is_unlabelled).count(),
            empty_texts: examples.iter().filter(is_empty).count(),
            duplicates,
            contradictions,
            targets: self.range_of_targets(),
        })
    }

    /// How many examples are equal to an earlier one, and how many have a text that others have with another label.
    fn repeated(&self) -> Result<(usize, usize)> {
        let mut all: HashMap<(&str, Option<&str>, u64), ()> = HashMap::new();
        // Of each text its first label, and whether it has another.
        let mut texts: HashMap<(&str, Option<&str>), (u64, bool)> = HashMap::new();
        let mut duplicates = 0;
        for example in self.examples() {
            let (text, pair) = (example.text.as_str(), example.pair.as_deref());
            let label = digest(&example.label);
            memory::reserve_place(&mut all)?;
            if all.insert((text, pair, label), ()).is_some() {
                duplicates += 1;
            }
            memory::reserve_place(&mut texts)?;
            let (first, has_several) = texts.entry((text, pair)).or_insert((label, false));
            *has_several |= *first != label;
        }
        let has_several = |e: &&Example| {
            texts
                .get(&(e.text.as_str(), e.pair.as_deref()))
                .is_some_and(|(_, has_several)| *has_several)
        };
        Ok((
            duplicates,
            self.examples().iter().filter(has_several).count(),
        ))
    }

    fn range_of_targets(&self) -> Option<(f32, f32, f64)> {
        let values = || {
            self.examples().iter().flat_map(|e| match &e.label {
                Label::Targets(values) => values.as_slice(),
                _ => &[],
            })
        };
        let count = values().count();
        let least = values().copied().reduce(f32::min)?;
        let most = values().copied().reduce(f32::max)?;
        let sum: f64 = values().map(|value| f64::from(*value)).sum();
        Some((least, most, sum / count as f64))
    }

    /// How many characters each example has, of a pair both texts.
    pub fn characters(&self) -> Result<Vec<usize>> {
        let count = |text: &str| text.chars().count();
        let lengths = self.examples().iter();
        memory::collected(lengths.map(|e| Ok(count(&e.text) + e.pair.as_deref().map_or(0, count))))
    }
}

impl Lengths {
    /// Of examples that have these lengths.
    pub fn of(mut lengths: Vec<usize>) -> Lengths {
        lengths.sort_unstable();
        // The nearest rank: the least length that as many don't exceed.
        let at = |percent: usize| {
            let rank = (lengths.len() * percent).div_ceil(100).max(1);
            lengths.get(rank - 1).copied().unwrap_or(0)
        };
        Lengths {
            median: at(50),
            p95: at(95),
            p99: at(99),
            longest: at(100),
        }
    }
}

/// Where a label was seen.
struct Seen {
    examples: u64,
    last: usize,
}

/// Counts a label of example `index`. One that it has twice counts once.
fn count<'a>(names: &mut HashMap<&'a str, Seen>, name: &'a str, index: usize) -> Result<()> {
    memory::reserve_place(names)?;
    let seen = names.entry(name).or_insert(Seen {
        examples: 1,
        last: index,
    });
    if seen.last != index {
        seen.examples += 1;
        seen.last = index;
    }
    Ok(())
}

/// A number for what a label says; the order of a list counts for nothing, nor that a name is there twice.
fn digest(label: &Label) -> u64 {
    let mut hasher = DefaultHasher::new();
    match label {
        Label::Name(name) => name.hash(&mut hasher),
        Label::Id(id) => id.hash(&mut hasher),
        Label::Names(names) => {
            let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            names.hash(&mut hasher);
        }
        Label::Targets(values) => values.iter().for_each(|v| v.to_bits().hash(&mut hasher)),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(rows: &[(&str, Option<&str>, Label)]) -> Dataset {
        let mut data = Dataset::new();
        for (text, pair, label) in rows {
            data.push(Example {
                text: text.to_string(),
                pair: pair.map(str::to_string),
                label: label.clone(),
            })
            .unwrap();
        }
        data
    }

    fn name(name: &str) -> Label {
        Label::Name(name.into())
    }

    fn list(names: &[&str]) -> Label {
        Label::Names(names.iter().map(|name| name.to_string()).collect())
    }

    fn counts(data: &Dataset) -> Vec<(String, u64)> {
        let counts = data.label_counts().unwrap();
        counts.into_iter().map(|c| (c.name, c.examples)).collect()
    }

    #[test]
    fn classes_are_counted_in_the_order_of_their_ids() {
        let set = data(&[
            ("a", None, name("10")),
            ("b", None, name("2")),
            ("c", None, name("10")),
        ]);
        assert_eq!(counts(&set), [("2".into(), 1), ("10".into(), 2)]);
        let ids = data(&[
            ("a", None, Label::Id(2)),
            ("b", None, Label::Id(0)),
            ("c", None, Label::Id(2)),
        ]);
        let expected = [
            ("LABEL_0".into(), 1),
            ("LABEL_1".into(), 0),
            ("LABEL_2".into(), 2),
        ];
        assert_eq!(counts(&ids), expected);
        let absurd = data(&[("a", None, Label::Id(u32::MAX))]);
        assert!(matches!(absurd.label_counts(), Err(Error::Data(_))));
        let lists = data(&[
            ("a", None, list(&["x", "y", "x"])),
            ("b", None, list(&["y"])),
        ]);
        assert_eq!(counts(&lists), [("x".into(), 1), ("y".into(), 2)]);
        assert_eq!(counts(&Dataset::new()), []);
    }

    #[test]
    fn repeated_and_empty_texts_are_counted() {
        let set = data(&[
            ("same", None, name("a")),
            ("same", None, name("a")),
            ("same", None, name("b")),
            (" \t", None, name("a")),
            ("", None, name("b")),
            ("other", None, name("a")),
        ]);
        let found = set.describe().unwrap();
        assert_eq!((found.examples, found.has_pairs), (6, false));
        assert_eq!((found.duplicates, found.contradictions), (1, 3));
        assert_eq!(found.empty_texts, 2);
        assert_eq!(found.targets, None);
        let pairs = data(&[
            ("same", Some(""), list(&["a", "b"])),
            ("same", Some(""), list(&["b", "a"])),
            ("same", Some("x"), list(&[])),
            ("", Some(" "), list(&["a"])),
        ]);
        let found = pairs.describe().unwrap();
        assert_eq!((found.duplicates, found.contradictions), (1, 0));
        assert_eq!((found.empty_texts, found.without_label), (1, 1));
        assert!(found.has_pairs);
    }

    #[test]
    fn targets_have_a_range() {
        let set = data(&[
            ("a", None, Label::Targets(vec![1.0, -3.0])),
            ("b", None, Label::Targets(vec![4.0, 0.0])),
        ]);
        let found = set.describe().unwrap();
        assert_eq!(found.targets, Some((-3.0, 4.0, 0.5)));
        assert_eq!(counts(&set), [("LABEL_0".into(), 2), ("LABEL_1".into(), 2)]);
    }

    #[test]
    fn lengths_are_of_the_nearest_rank() {
        let expected = Lengths {
            median: 50,
            p95: 95,
            p99: 99,
            longest: 100,
        };
        assert_eq!(Lengths::of((1..=100).rev().collect()), expected);
        let three = Lengths::of(vec![7, 1, 2]);
        assert_eq!((three.median, three.p95, three.longest), (2, 7, 7));
        assert_eq!(Lengths::of(vec![]), Lengths::default());
        let set = data(&[("süß", Some("a b"), name("x")), ("", Some(""), name("y"))]);
        assert_eq!(set.characters().unwrap(), [6, 0]);
    }
}
