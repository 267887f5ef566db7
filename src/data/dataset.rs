//! Examples, and the data set that holds them.

use crate::error::{Error, Result};
use crate::memory;
use crate::problem::ProblemType;

use super::{MAX_CLASSES, quoted};

/// One example's label as the data gives it; the model's [`Labels`](super::Labels) map it to a class, or to several.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Label {
    /// A class by its name.
    Name(String),
    /// A class by its id, counted from 0.
    Id(u32),
    /// Any number of labels by their names (multi-label); one that is there twice counts once.
    Names(Vec<String>),
    /// One number or several (regression).
    Targets(Vec<f32>),
}

impl Label {
    /// A copy of it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self) -> Result<Label> {
        Ok(match self {
            Label::Name(name) => Label::Name(memory::text(name)?),
            Label::Id(id) => Label::Id(*id),
            Label::Names(names) => {
                let names = names.iter().map(|name| memory::text(name));
                Label::Names(memory::collected(names)?)
            }
            Label::Targets(values) => Label::Targets(memory::copied(values)?),
        })
    }

    /// The kind of problem that has such labels.
    pub fn problem_type(&self) -> ProblemType {
        match self {
            Label::Name(_) | Label::Id(_) => ProblemType::SingleLabel,
            Label::Names(_) => ProblemType::MultiLabel,
            Label::Targets(_) => ProblemType::Regression,
        }
    }

    /// As a message names it.
    fn describe(&self) -> String {
        match self {
            Label::Name(name) => format!("the name {}", quoted(name)),
            Label::Id(id) => format!("the id {id}"),
            Label::Names(names) => format!("a list of {}", counted(names.len(), "name")),
            Label::Targets(values) => format!("a target of {}", counted(values.len(), "number")),
        }
    }

    /// What all labels of a data set are that has this one, as a message names it.
    fn describe_all(&self) -> String {
        match self {
            Label::Name(name) => format!("names such as {}", quoted(name)),
            Label::Id(id) => format!("ids such as {id}"),
            Label::Names(_) => "lists of names".into(),
            Label::Targets(values) => format!("targets of {}", counted(values.len(), "number")),
        }
    }
}

/// "1 number", "2 numbers".
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A text, or a pair of texts, with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text; empty is valid.
    pub text: String,
    /// The second text of a pair. `Some("")` is a pair, `None` is not.
    pub pair: Option<String>,
    /// What the text is.
    pub label: Label,
}

impl Example {
    /// A copy of it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self) -> Result<Example> {
        Ok(Example {
            text: memory::text(&self.text)?,
            pair: self.pair.as_deref().map(memory::text).transpose()?,
            label: self.label.try_clone()?,
        })
    }
}

/// Labelled texts in a fixed order.
///
/// A data set is of one kind throughout: every label is a name, or an id, or a list of names, or as many numbers; and
/// either every example is a pair or none is. What would mix them is refused when it is added, where the mistake was
/// made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    examples: Vec<Example>,
}

impl Dataset {
    /// A data set without examples.
    pub fn new() -> Dataset {
        Dataset::default()
    }

    /// For examples that are known to be of one kind.
    pub(super) fn from_uniform(examples: Vec<Example>) -> Dataset {
        Dataset { examples }
    }

    /// A copy of it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self) -> Result<Dataset> {
        let copies = self.examples.iter().map(Example::try_clone);
        Ok(Dataset::from_uniform(memory::collected(copies)?))
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// The kind of problem that it is for; `None` while it is empty.
    pub fn problem_type(&self) -> Option<ProblemType> {
        self.examples.first().map(|e| e.label.problem_type())
    }

    /// All examples, in order.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The example at `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<&Example> {
        self.examples.get(index)
    }

    /// Every text in order; of a pair, the first and then the second.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.examples
            .iter()
            .flat_map(|e| std::iter::once(e.text.as_str()).chain(e.pair.as_deref()))
    }

    /// Every text, with the second one of a pair.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn pairs(&self) -> Result<Vec<(&str, Option<&str>)>> {
        let examples = self.examples.iter();
        memory::collected(examples.map(|e| Ok((e.text.as_str(), e.pair.as_deref()))))
    }

    /// Adds one example at the end.
    ///
    /// # Errors
    /// [`Error::Data`] where it would mix kinds of labels, or pairs with single texts, or where its label is an empty
    /// name, no number, or one that isn't finite; the data set stays as it was.
    pub fn push(&mut self, example: Example) -> Result<()> {
        check(&example, self.examples.first())?;
        memory::reserve(&mut self.examples, 1)?;
        self.examples.push(example);
        Ok(())
    }

    /// Adds all of `examples`, or none of them.
    ///
    /// # Errors
    /// As [`push`](Dataset::push); the sentence says which of `examples` it was, counted from 1.
    pub fn extend(&mut self, examples: impl IntoIterator<Item = Example>) -> Result<()> {
        // Gathered apart, so that nothing is added if one is refused or if the iterator itself panics.
        let mut added: Vec<Example> = Vec::new();
        for example in examples {
            let first = self.examples.first().or(added.first());
            check(&example, first).map_err(|e| match e {
                Error::Data(m) => Error::Data(format!("Example {}: {m}", added.len() + 1)),
                other => other,
            })?;
            memory::reserve(&mut added, 1)?;
            added.push(example);
        }
        memory::reserve(&mut self.examples, added.len())?;
        self.examples.append(&mut added);
        Ok(())
    }
}

/// Whether `label` can be one.
fn check_label(label: &Label) -> Result<()> {
    match label {
        Label::Name(name) if name.is_empty() => Err(Error::Data(
            "The label is an empty name; every example needs a label.".into(),
        )),
        Label::Names(names) if names.iter().any(String::is_empty) => Err(Error::Data(
            "One of the labels is an empty name; a text without labels has an empty list.".into(),
        )),
        Label::Targets(values) if values.is_empty() || values.len() > MAX_CLASSES => {
            Err(Error::Data(format!(
                "The target has {} numbers; it must have between 1 and {MAX_CLASSES}.",
                values.len()
            )))
        }
        Label::Targets(values) => match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::Data(format!(
                "The target holds {value}; every target must be a finite number."
            ))),
            None => Ok(()),
        },
        Label::Name(_) | Label::Id(_) | Label::Names(_) => Ok(()),
    }
}

/// Whether `example` may stand in one data set with `first`.
fn check(example: &Example, first: Option<&Example>) -> Result<()> {
    check_label(&example.label)?;
    let Some(first) = first else { return Ok(()) };
    let is_same_kind = match (&first.label, &example.label) {
        (Label::Targets(a), Label::Targets(b)) => a.len() == b.len(),
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    };
    if !is_same_kind {
        return Err(Error::Data(format!(
            "The label is {}, but the data set's labels are {}; a data set has one kind of label.",
            example.label.describe(),
            first.label.describe_all()
        )));
    }
    match (&first.pair, &example.pair) {
        (Some(_), Some(_)) | (None, None) => Ok(()),
        (None, Some(_)) => Err(Error::Data(
            "The example is a pair of texts, but the data set holds single texts; a data set has one kind of example."
                .into(),
        )),
        (Some(_), None) => Err(Error::Data(
            "The example is a single text, but the data set holds pairs of texts; a data set has one kind of example \
             (an empty second text makes a pair)."
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, name: &str) -> Example {
        Example {
            text: text.into(),
            pair: None,
            label: Label::Name(name.into()),
        }
    }

    fn with_id(text: &str, id: u32) -> Example {
        Example {
            text: text.into(),
            pair: None,
            label: Label::Id(id),
        }
    }

    fn pair(a: &str, b: &str, name: &str) -> Example {
        Example {
            text: a.into(),
            pair: Some(b.into()),
            label: Label::Name(name.into()),
        }
    }

    #[test]
    fn examples_come_back_in_order() {
        let mut data = Dataset::new();
        assert!(data.is_empty());
        data.push(named("good", "yes")).unwrap();
        data.push(named("", "no")).unwrap();
        data.push(named("nul \0 inside", "no")).unwrap();
        assert_eq!(data.len(), 3);
        assert_eq!(data.get(1), Some(&named("", "no")));
        assert_eq!(data.get(3), None);
        assert_eq!(
            data.texts().collect::<Vec<_>>(),
            ["good", "", "nul \0 inside"]
        );
    }

    #[test]
    fn texts_of_pairs_follow_each_other() {
        let mut data = Dataset::new();
        data.extend([pair("a", "b", "x"), pair("c", "", "y")])
            .unwrap();
        assert_eq!(data.texts().collect::<Vec<_>>(), ["a", "b", "c", ""]);
    }

    #[test]
    fn names_and_ids_do_not_mix() {
        let mut data = Dataset::new();
        data.push(named("good", "yes")).unwrap();
        let before = data.clone();
        assert_eq!(
            data.push(with_id("bad", 3)),
            Err(Error::Data(
                "The label is the id 3, but the data set's labels are names such as 'yes'; a data set has one kind of \
                 label."
                    .into()
            ))
        );
        assert_eq!(data, before);

        let mut data = Dataset::new();
        data.push(with_id("bad", 3)).unwrap();
        let error = data.push(named("good", "yes")).unwrap_err();
        assert!(error.message().starts_with(
            "The label is the name 'yes', but the data set's labels are ids such as 3;"
        ));
    }

    #[test]
    fn pairs_and_single_texts_do_not_mix() {
        let mut data = Dataset::new();
        data.push(named("good", "yes")).unwrap();
        assert!(
            matches!(data.push(pair("a", "b", "yes")), Err(Error::Data(m)) if m.contains("is a pair of texts"))
        );
        let mut data = Dataset::new();
        data.push(pair("a", "", "yes")).unwrap();
        assert!(
            matches!(data.push(named("good", "yes")), Err(Error::Data(m)) if m.contains("is a single text"))
        );
    }

    #[test]
    fn an_empty_name_is_no_label() {
        let mut data = Dataset::new();
        assert!(
            matches!(data.push(named("good", "")), Err(Error::Data(m)) if m.contains("empty name"))
        );
        assert!(data.is_empty());
    }

    #[test]
    fn lists_and_targets_are_kinds_of_their_own() {
        let with = |label: Label| Example {
            text: "t".into(),
            pair: None,
            label,
        };
        let list = |names: &[&str]| Label::Names(names.iter().map(|n| n.to_string()).collect());
        let refused = |first: Label, second: Label| {
            let mut data = Dataset::new();
            data.push(with(first)).unwrap();
            let error = data.push(with(second)).unwrap_err();
            assert_eq!(data.len(), 1);
            error.message().to_string()
        };
        let mut data = Dataset::new();
        assert_eq!(data.problem_type(), None);
        data.extend([with(list(&["a", "b"])), with(list(&[]))])
            .unwrap();
        assert_eq!(data.problem_type(), Some(ProblemType::MultiLabel));
        assert_eq!(
            refused(list(&["a"]), Label::Targets(vec![1.0])),
            "The label is a target of 1 number, but the data set's labels are lists of names; a data set has one kind \
             of label."
        );
        assert!(
            refused(Label::Targets(vec![1.0]), Label::Targets(vec![1.0, 2.0])).contains(
                "is a target of 2 numbers, but the data set's labels are targets of 1 number;"
            )
        );
        assert!(refused(Label::Id(1), list(&[])).contains("is a list of 0 names, but"));
        for (label, word) in [
            (list(&["a", ""]), "an empty name"),
            (Label::Targets(vec![]), "0 numbers"),
            (Label::Targets(vec![1.0, f32::NAN]), "holds NaN"),
            (Label::Targets(vec![f32::NEG_INFINITY]), "holds -inf"),
        ] {
            let error = Dataset::new().push(with(label)).unwrap_err();
            assert!(
                matches!(&error, Error::Data(m) if m.contains(word)),
                "{error}"
            );
        }
    }

    #[test]
    fn extend_adds_all_or_nothing() {
        let mut data = Dataset::new();
        data.push(named("good", "yes")).unwrap();
        let error = data
            .extend([named("fine", "yes"), with_id("bad", 0)])
            .unwrap_err();
        assert!(
            error
                .message()
                .starts_with("Example 2: The label is the id 0")
        );
        assert_eq!(data.len(), 1);
        // The first of the added ones sets the kind where the set was empty.
        let mut data = Dataset::new();
        assert!(data.extend([with_id("a", 0), named("b", "yes")]).is_err());
        assert!(data.is_empty());
        data.extend([with_id("a", 0), with_id("b", 1)]).unwrap();
        assert_eq!(data.len(), 2);
    }
}
