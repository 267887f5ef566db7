//! The classes of a model: id to name and back.

use std::collections::{BTreeSet, HashMap};

use crate::error::{Error, Result};
use crate::memory;
use crate::problem::ProblemType;

use super::{Dataset, Label, Targets, label_doubts, listed, quoted};

/// The most classes a data set may ask for. A larger number is a text or a row number read as a label, and would size
/// the classifier's weights.
pub const MAX_CLASSES: usize = 100_000;

/// The classes of a model, or its labels, or its regression targets; ids run from 0 without a gap. Every id has a name
/// of its own, except where a published model's config.json gives one name to several.
#[derive(Clone, Debug)]
pub struct Labels {
    names: Vec<String>,
    ids: HashMap<String, u32>,
    /// The second id of each name that stands for more than one.
    repeated: HashMap<String, u32>,
    /// Whether each name is `LABEL_` and a number.
    is_numbered: bool,
}

impl PartialEq for Labels {
    fn eq(&self, other: &Labels) -> bool {
        self.names == other.names
    }
}

impl Eq for Labels {}

impl Labels {
    /// The classes that `dataset` has, or its labels, or its regression targets.
    ///
    /// Names get their ids in sorted order: by value where every name is a number, else by their bytes. Labels given
    /// as ids make the classes 0 to the largest of them, named `LABEL_0`, `LABEL_1`, … as Hugging Face names them;
    /// regression targets are named so too.
    ///
    /// # Errors
    /// [`Error::Data`] for a data set that is empty, has one class only, or has lists without any label, and for more
    /// than [`MAX_CLASSES`] classes.
    pub fn from_dataset(dataset: &Dataset) -> Result<Labels> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut ids: BTreeSet<u32> = BTreeSet::new();
        let mut insert = |i: usize, name| {
            names.insert(name);
            if names.len() > MAX_CLASSES {
                return Err(Error::Data(format!(
                    "The data set has more than {MAX_CLASSES} different labels, of which example {}'s is {}; a label \
                     names one of a few classes. Make sure that the columns of text and label aren't swapped.",
                    i + 1,
                    quoted(name)
                )));
            }
            Ok(())
        };
        for (i, example) in dataset.examples().iter().enumerate() {
            match &example.label {
                Label::Name(name) => insert(i, name)?,
                Label::Names(list) => list.iter().try_for_each(|name| insert(i, name))?,
                // All examples have as many.
                Label::Targets(values) => return Labels::numbered(values.len()),
                Label::Id(id) => {
                    if *id as usize >= MAX_CLASSES {
                        return Err(Error::Data(format!(
                            "Example {} has the label id {id}; ids count the classes from 0 and may go to {}.",
                            i + 1,
                            MAX_CLASSES - 1
                        )));
                    }
                    ids.insert(*id);
                }
            }
        }
        let is_multi_label = dataset.problem_type() == Some(ProblemType::MultiLabel);
        match names.len() + ids.len() {
            0 if is_multi_label => {
                return Err(Error::Data(
                    "No example of the data set has a label; some must have one.".into(),
                ));
            }
            1 if is_multi_label => {}
            0 => {
                return Err(Error::Data(
                    "The data set is empty; there must be examples of at least two classes.".into(),
                ));
            }
            1 => {
                let only = match (names.first(), ids.first()) {
                    (Some(name), _) => quoted(name),
                    (None, id) => id.map(u32::to_string).unwrap_or_default(),
                };
                return Err(Error::Data(format!(
                    "Every example of the data set has the label {only}; there must be at least two classes."
                )));
            }
            _ => {}
        }
        label_doubts::warn(dataset)?;
        if let Some(largest) = ids.last() {
            return Labels::numbered(*largest as usize + 1);
        }
        let names = in_class_order(names).into_iter().map(str::to_string);
        Labels::from_names(names.collect())
    }

    /// `LABEL_0`, `LABEL_1`, … as Hugging Face names what has no name.
    ///
    /// # Errors
    /// As [`from_names`](Labels::from_names).
    pub fn numbered(count: usize) -> Result<Labels> {
        if count > MAX_CLASSES {
            return Err(too_many(count));
        }
        Labels::from_names((0..count).map(|id| format!("LABEL_{id}")).collect())
    }

    /// The classes with these names, ids in their order.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where there are no names, more than [`MAX_CLASSES`], or one twice.
    pub fn from_names(names: Vec<String>) -> Result<Labels> {
        if names.is_empty() {
            return Err(Error::InvalidArgument(
                "There are no label names; a model needs at least one.".into(),
            ));
        }
        if names.len() > MAX_CLASSES {
            return Err(too_many(names.len()));
        }
        let labels = Labels::from_saved(names);
        if let Some((name, earlier, id)) = labels.first_repeated() {
            return Err(Error::InvalidArgument(format!(
                "The label name {} stands for both class {earlier} and class {id}; every class needs a name of its \
                 own.",
                quoted(name)
            )));
        }
        Ok(labels)
    }

    /// The classes of a saved model, at least one and at most [`MAX_CLASSES`], where a name may stand for more than one
    /// class: ids go by their place, and a name that isn't one class's alone names none.
    pub fn from_saved(names: Vec<String>) -> Labels {
        let mut ids = HashMap::with_capacity(names.len());
        let mut repeated = HashMap::new();
        for (id, name) in (0u32..).zip(&names) {
            match ids.get(name) {
                None => drop(ids.insert(name.clone(), id)),
                Some(_) => drop(repeated.entry(name.clone()).or_insert(id)),
            }
        }
        let is_numbered = names.iter().all(|name| {
            name.strip_prefix("LABEL_")
                .is_some_and(|number| plain_number(number).is_some())
        });
        Labels {
            names,
            ids,
            repeated,
            is_numbered,
        }
    }

    /// The first name that stands for more than one class, with two of them.
    pub fn first_repeated(&self) -> Option<(&str, u32, u32)> {
        let of = |(name, &id): (&'_ String, &u32)| (self.ids.get(name).copied().unwrap_or(id), id);
        let (earlier, id) = self.repeated.iter().map(of).min_by_key(|ids| ids.1)?;
        Some((self.name(id)?, earlier, id))
    }

    /// Whether each name is `LABEL_` and a number, as Hugging Face names what has no name.
    pub fn is_numbered(&self) -> bool {
        self.is_numbered
    }

    /// How many classes there are; never 0.
    #[allow(clippy::len_without_is_empty)] // There is always at least one.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// All names, by id.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of class `id`.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(String::as_str)
    }

    /// The id of the class named `name`, where that is one.
    pub fn id(&self, name: &str) -> Option<u32> {
        if self.repeated.contains_key(name) {
            return None;
        }
        self.ids.get(name).copied()
    }

    /// The id of the class that data names so: by its name, or as `1` where all names are like `LABEL_1`.
    ///
    /// # Errors
    /// As [`known_id`](Labels::known_id).
    fn id_in_data(&self, name: &str) -> Result<u32> {
        if self.is_numbered
            && let Some(number) = plain_number(name)
            && let Some(id) = self.id(&format!("LABEL_{number}"))
        {
            return Ok(id);
        }
        self.known_id(name)
    }

    /// The id of the class named `name`.
    ///
    /// # Errors
    /// [`Error::UnknownLabel`] with the name and the known ones.
    pub fn known_id(&self, name: &str) -> Result<u32> {
        self.id(name).ok_or_else(|| {
            if let (Some(first), Some(second)) = (self.ids.get(name), self.repeated.get(name)) {
                return Error::UnknownLabel(format!(
                    "The label name {} stands for both class {first} and class {second} of this model; load it with \
                     label_names that differ and rename_labels = 1.",
                    quoted(name)
                ));
            }
            Error::UnknownLabel(format!(
                "The model has no label {}; its labels are {}.",
                quoted(name),
                listed(self.names.iter().map(String::as_str))
            ))
        })
    }

    /// `id` where there is a class of that id.
    fn checked(&self, id: u32) -> Result<u32> {
        match self.name(id) {
            Some(_) => Ok(id),
            None => Err(Error::UnknownLabel(format!(
                "The model has no label {id}; its label ids are 0 to {}.",
                self.names.len() - 1
            ))),
        }
    }

    /// What the examples of `dataset` ask of a model that has these labels and solves a `problem`.
    ///
    /// # Errors
    /// [`Error::Data`] where the data set's labels are of another problem, or its targets of another number than there
    /// are labels; [`Error::UnknownLabel`] for a label that isn't there, with the example's number counted from 1.
    pub fn targets_of(&self, dataset: &Dataset, problem: ProblemType) -> Result<Targets> {
        if let Some(other) = dataset.problem_type()
            && other != problem
        {
            return Err(Error::Data(format!(
                "The data set's labels are for {other}, but the problem is {problem}."
            )));
        }
        let examples = dataset.examples();
        let mut targets = match problem {
            ProblemType::SingleLabel => Targets::Classes(memory::room(examples.len())?),
            ProblemType::MultiLabel => Targets::Labels(memory::room(examples.len())?),
            ProblemType::Regression => Targets::Values {
                values: Vec::new(),
                width: self.len(),
            },
        };
        for (i, example) in examples.iter().enumerate() {
            self.add_target(&example.label, &mut targets)
                .map_err(|e| match e {
                    Error::UnknownLabel(m) => {
                        Error::UnknownLabel(format!("Example {}: {m}", i + 1)).at_index(i)
                    }
                    other => other.at_index(i),
                })?;
        }
        Ok(targets)
    }

    fn add_target(&self, label: &Label, targets: &mut Targets) -> Result<()> {
        match (label, targets) {
            (Label::Name(name), Targets::Classes(classes)) => classes.push(self.id_in_data(name)?),
            (Label::Id(id), Targets::Classes(classes)) => classes.push(self.checked(*id)?),
            (Label::Names(names), Targets::Labels(lists)) => {
                let ids = names.iter().map(|name| self.id_in_data(name));
                let mut ids = ids.collect::<Result<Vec<u32>>>()?;
                ids.sort_unstable();
                ids.dedup();
                lists.push(ids);
            }
            (Label::Targets(new), Targets::Values { values, width }) => {
                if new.len() != *width {
                    return Err(Error::Data(format!(
                        "The number of targets is {width}, but the data set's examples have {}.",
                        new.len()
                    )));
                }
                memory::reserve(values, new.len())?;
                values.extend_from_slice(new);
            }
            _ => {
                return Err(Error::Internal(
                    "The labels of a data set are of two kinds; please report this.".into(),
                ));
            }
        }
        Ok(())
    }
}

/// The text where it is a whole number as one writes it: digits without a zero before them.
fn plain_number(text: &str) -> Option<&str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.is_empty()
        && (text == "0" || !text.starts_with('0'));
    is_plain.then_some(text)
}

fn too_many(count: usize) -> Error {
    Error::InvalidArgument(format!(
        "There are {count} label names; a model may have up to {MAX_CLASSES}."
    ))
}

/// Names by value where all are numbers ("2" before "10", "0.5" before "2"), else as they come, sorted by their bytes.
pub(super) fn in_class_order(names: BTreeSet<&str>) -> Vec<&str> {
    // Whole numbers are told apart beyond what a float64 can. Of equal values ("1" and "01") the bytes decide.
    let whole: Option<Vec<(i128, &str)>> = names
        .iter()
        .map(|name| Some((name.parse().ok()?, *name)))
        .collect();
    if let Some(mut whole) = whole {
        whole.sort();
        return whole.into_iter().map(|(_, name)| name).collect();
    }
    let numbers: Option<Vec<(f64, &str)>> = names
        .iter()
        .map(|name| Some((number(name)?, *name)))
        .collect();
    match numbers {
        Some(mut numbers) => {
            numbers.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(x.cmp(y)));
            numbers.into_iter().map(|(_, name)| name).collect()
        }
        None => names.into_iter().collect(),
    }
}

/// The finite number that `text` is; words that stand for one, such as "nan" and "inf", are none.
pub(super) fn number(text: &str) -> Option<f64> {
    let is_digits =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(is_digits) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Example;

    fn data(labels: impl IntoIterator<Item = Label>) -> Dataset {
        let mut data = Dataset::new();
        data.extend(labels.into_iter().map(|label| Example {
            text: String::new(),
            pair: None,
            label,
        }))
        .unwrap();
        data
    }

    fn names(labels: &[&str]) -> Dataset {
        data(labels.iter().map(|n| Label::Name(n.to_string())))
    }

    #[test]
    fn names_are_sorted_by_their_bytes() {
        let labels = Labels::from_dataset(&names(&["pos", "neg", "Zed", "pos"])).unwrap();
        assert_eq!(labels.names(), ["Zed", "neg", "pos"]);
        assert_eq!(labels.len(), 3);
        assert_eq!(labels.id("neg"), Some(1));
        assert_eq!(labels.id("none"), None);
        assert_eq!(labels.name(2), Some("pos"));
        assert_eq!(labels.name(3), None);
    }

    #[test]
    fn names_that_are_numbers_are_sorted_by_value() {
        let labels = Labels::from_dataset(&names(&["10", "9", "-1", "2"])).unwrap();
        assert_eq!(labels.names(), ["-1", "2", "9", "10"]);
        // The decimals of some make numbers of all, and words that stand for numbers none.
        let labels = Labels::from_dataset(&names(&["100.0", "20.0", "-0.5", "3", "1e1"])).unwrap();
        assert_eq!(labels.names(), ["-0.5", "3", "1e1", "20.0", "100.0"]);
        let labels = Labels::from_dataset(&names(&["10", "9", "nan", "inf"])).unwrap();
        assert_eq!(labels.names(), ["10", "9", "inf", "nan"]);
        let labels = Labels::from_dataset(&names(&["1", "1.0", "0.5"])).unwrap();
        assert_eq!(labels.names(), ["0.5", "1", "1.0"]);
        // One that isn't a number makes all of them words.
        let labels = Labels::from_dataset(&names(&["10", "9", "x"])).unwrap();
        assert_eq!(labels.names(), ["10", "9", "x"]);
        let labels = Labels::from_dataset(&names(&["1", "01"])).unwrap();
        assert_eq!(labels.names(), ["01", "1"]);
    }

    #[test]
    fn ids_are_named_as_hugging_face_names_them() {
        let labels = Labels::from_dataset(&data([0, 3, 3].map(Label::Id))).unwrap();
        assert_eq!(labels.names(), ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]);
    }

    #[test]
    fn empty_and_one_class_data_are_refused() {
        let error = Labels::from_dataset(&Dataset::new()).unwrap_err();
        assert!(matches!(&error, Error::Data(m) if m.contains("is empty")));
        let error = Labels::from_dataset(&names(&["yes", "yes"])).unwrap_err();
        assert_eq!(
            error,
            Error::Data("Every example of the data set has the label 'yes'; there must be at least two classes.".into())
        );
        let error = Labels::from_dataset(&data([Label::Id(7), Label::Id(7)])).unwrap_err();
        assert!(matches!(&error, Error::Data(m) if m.contains("the label 7;")));
    }

    #[test]
    fn absurd_ids_are_refused() {
        let error = Labels::from_dataset(&data([Label::Id(0), Label::Id(100_000)])).unwrap_err();
        assert_eq!(
            error,
            Error::Data("Example 2 has the label id 100000; ids count the classes from 0 and may go to 99999.".into())
        );
        assert!(Labels::from_dataset(&data([Label::Id(0), Label::Id(u32::MAX)])).is_err());
        let largest = Labels::from_dataset(&data([Label::Id(0), Label::Id(99_999)])).unwrap();
        assert_eq!(largest.len(), MAX_CLASSES);
    }

    #[test]
    fn a_label_for_every_text_is_refused() {
        let many = data((0..=MAX_CLASSES).map(|i| Label::Name(format!("text {i}"))));
        assert!(
            matches!(Labels::from_dataset(&many), Err(Error::Data(m)) if m.contains("swapped"))
        );
    }

    #[test]
    fn names_must_be_there_and_differ() {
        assert!(matches!(
            Labels::from_names(vec![]),
            Err(Error::InvalidArgument(_))
        ));
        let error = Labels::from_names(vec!["a".into(), "b".into(), "a".into()]).unwrap_err();
        assert!(
            error
                .message()
                .starts_with("The label name 'a' stands for both class 0 and class 2;")
        );
        let one = Labels::from_names(vec!["a".into()]).unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(one, Labels::from_names(vec!["a".into()]).unwrap());
        assert_ne!(one, Labels::from_names(vec!["b".into()]).unwrap());
    }

    #[test]
    fn labels_map_to_classes() {
        let labels = Labels::from_names(vec!["neg".into(), "pos".into()]).unwrap();
        let classes_of = |data: &Dataset| labels.targets_of(data, ProblemType::SingleLabel);
        assert_eq!(
            classes_of(&names(&["pos", "neg", "pos"])),
            Ok(Targets::Classes(vec![1, 0, 1]))
        );
        assert_eq!(
            classes_of(&data([1, 0].map(Label::Id))),
            Ok(Targets::Classes(vec![1, 0]))
        );
        assert_eq!(
            classes_of(&names(&["pos", "neutral"])),
            Err(Error::UnknownLabel(
                "Example 2: The model has no label 'neutral'; its labels are 'neg', 'pos'.".into()
            )
            .at_index(1))
        );
        assert_eq!(
            classes_of(&data([Label::Id(2)])),
            Err(Error::UnknownLabel(
                "Example 1: The model has no label 2; its label ids are 0 to 1.".into()
            )
            .at_index(0))
        );
    }

    fn lists(lists: &[&[&str]]) -> Dataset {
        let owned = |list: &&[&str]| list.iter().map(|n| n.to_string()).collect();
        data(lists.iter().map(|list| Label::Names(owned(list))))
    }

    #[test]
    fn lists_of_names_make_labels() {
        let set = lists(&[&["b", "a"], &[], &["c"], &["a", "c", "a"]]);
        let labels = Labels::from_dataset(&set).unwrap();
        assert_eq!(labels.names(), ["a", "b", "c"]);
        assert_eq!(
            labels.targets_of(&set, ProblemType::MultiLabel),
            Ok(Targets::Labels(vec![
                vec![0, 1],
                vec![],
                vec![2],
                vec![0, 2]
            ]))
        );
        // One label can be there or not.
        assert_eq!(
            Labels::from_dataset(&lists(&[&["a"], &[]])).unwrap().len(),
            1
        );
        let none = Labels::from_dataset(&lists(&[&[], &[]])).unwrap_err();
        assert!(matches!(&none, Error::Data(m) if m.contains("has a label")));
        let unknown = labels
            .targets_of(&lists(&[&["a"], &["d"]]), ProblemType::MultiLabel)
            .unwrap_err();
        assert!(
            matches!(unknown.category(), Error::UnknownLabel(m) if m.starts_with("Example 2: The model has no label 'd'"))
        );
    }

    #[test]
    fn targets_are_numbered() {
        let set = data([[1.0, -2.0], [0.5, 3.0]].map(|v| Label::Targets(v.to_vec())));
        let labels = Labels::from_dataset(&set).unwrap();
        assert_eq!(labels.names(), ["LABEL_0", "LABEL_1"]);
        assert_eq!(
            labels.targets_of(&set, ProblemType::Regression),
            Ok(Targets::Values {
                values: vec![1.0, -2.0, 0.5, 3.0],
                width: 2
            })
        );
        let one = Labels::from_names(vec!["score".into()]).unwrap();
        let error = one.targets_of(&set, ProblemType::Regression).unwrap_err();
        assert!(
            matches!(error.category(), Error::Data(m) if m.contains("is 1, but") && m.contains("have 2"))
        );
    }

    #[test]
    fn a_data_set_is_for_one_problem() {
        let labels = Labels::from_names(vec!["a".into(), "b".into()]).unwrap();
        assert_eq!(
            labels.targets_of(&lists(&[&["a"]]), ProblemType::SingleLabel),
            Err(Error::Data(
                "The data set's labels are for multi-label classification, but the problem is single-label \
                 classification."
                    .into()
            ))
        );
        let empty = labels.targets_of(&Dataset::new(), ProblemType::Regression);
        assert!(empty.unwrap().is_empty());
    }

    /// transformers' names for classes without names, and data that has their numbers.
    #[test]
    fn plain_numbers_in_data_mean_numbered_labels() {
        let targets = |model: &[&str], labels: &[&str]| {
            let model = Labels::from_saved(model.iter().map(|n| n.to_string()).collect());
            model.targets_of(&names(labels), ProblemType::SingleLabel)
        };
        let numbered = ["LABEL_0", "LABEL_1", "LABEL_2"];
        assert_eq!(
            targets(&numbered, &["2", "0", "LABEL_1"]),
            Ok(Targets::Classes(vec![2, 0, 1]))
        );
        // In another order the names count.
        assert_eq!(
            targets(&["LABEL_1", "LABEL_0"], &["0", "1"]),
            Ok(Targets::Classes(vec![1, 0]))
        );
        let lists = lists(&[&["1", "0"], &[]]);
        assert_eq!(
            Labels::numbered(2)
                .unwrap()
                .targets_of(&lists, ProblemType::MultiLabel),
            Ok(Targets::Labels(vec![vec![0, 1], vec![]]))
        );
        for (model, label) in [
            (&numbered[..], "3"),
            (&numbered, "01"),
            (&numbered, "+1"),
            (&numbered, "1.0"),
            (&numbered, " 1"),
            (&["LABEL_0", "one"], "0"),
            (&["LABEL_00", "LABEL_1"], "0"),
        ] {
            let error = targets(model, &[label]).unwrap_err();
            assert!(
                matches!(error.category(), Error::UnknownLabel(_)),
                "{label}"
            );
        }
        // As a name, not as data.
        assert!(Labels::numbered(2).unwrap().known_id("0").is_err());
    }

    #[test]
    fn a_saved_name_may_stand_for_two_classes() {
        let names_of = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let labels = Labels::from_saved(names_of(&["other", "spam", "other", "spam"]));
        assert_eq!(labels.names(), ["other", "spam", "other", "spam"]);
        assert_eq!(labels.first_repeated(), Some(("other", 0, 2)));
        assert_eq!(labels.id("spam"), None);
        let error = labels.known_id("spam").unwrap_err();
        assert!(
            error.message().contains("both class 1 and class 3"),
            "{error}"
        );
        assert!(error.message().contains("rename_labels"), "{error}");
        assert_eq!(
            Labels::from_saved(names_of(&["a", "b"])).first_repeated(),
            None
        );
    }

    #[test]
    fn at_most_ten_known_labels_are_listed() {
        let labels = Labels::from_names((0..13).map(|i| format!("c{i}")).collect()).unwrap();
        let error = labels.known_id("x\ny").unwrap_err();
        assert_eq!(
            error.message(),
            "The model has no label 'x\\ny'; its labels are 'c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', \
             'c9' and 3 more."
        );
    }
}
