//! What becomes of a saved model's classifier: it is kept, under its own names or others, or there is a new one.

use super::config::Description;
use super::{LabelChoice, LoadOptions};
use crate::data::{Labels, listed};
use crate::error::{Error, Result};
use crate::model::Pooling;
use crate::problem::ProblemType;

/// Classes of transformers whose head is another task's: parts of their names.
const OTHER_TASKS: [&str; 7] = [
    "TokenClassification",
    "QuestionAnswering",
    "MultipleChoice",
    "NextSentencePrediction",
    "LMHeadModel",
    "CausalLM",
    "ConditionalGeneration",
];

/// Classes of transformers that are read, by parts of their names: of those that are pretrained none has a classifier.
const PRETRAINED: [&str; 3] = ["BertModel", "ForPreTraining", "ForMaskedLM"];
const CLASSIFIER: &str = "ForSequenceClassification";

/// The classifier of the loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The checkpoint's, where it has one.
    Saved,
    /// The checkpoint's with its rows in another order: for each class the row that was its.
    Reordered(Vec<usize>),
    /// One with initial values.
    New,
}

/// What is to be loaded.
#[derive(Debug)]
pub struct Decision {
    /// The model's labels.
    pub labels: Labels,
    /// Its problem.
    pub problem_type: ProblemType,
    /// Its classifier.
    pub head: Head,
    /// Whether the caller said that the head shall be new if need be.
    pub is_asked: bool,
    /// What to tell of a trained classifier that isn't used.
    pub dropped: Option<String>,
    /// What to tell that went as it was asked.
    pub told: Option<String>,
    /// Whether the labels are the checkpoint's own.
    pub has_saved_labels: bool,
}

impl Decision {
    /// The labels' thresholds by the saved ones, which were chosen for the saved classifier's probabilities; none: all
    /// have the default.
    pub fn thresholds(&self, saved: &[f64]) -> Vec<f64> {
        match &self.head {
            Head::Saved => saved.to_vec(),
            Head::Reordered(rows) => rows
                .iter()
                .filter_map(|&row| saved.get(row))
                .copied()
                .collect(),
            Head::New => Vec::new(),
        }
    }
}

/// What transformers' class the checkpoint was saved from, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved<'a> {
    /// A text classifier, or nothing says what.
    Classifier,
    /// An encoder, or one with the heads of pretraining.
    Encoder,
    /// A model of another task.
    OtherTask(&'a str),
    /// A class that isn't known.
    Unknown(&'a str),
}

/// What the `architectures` of a config.json say.
pub fn saved_from(architectures: &[String]) -> Saved<'_> {
    let is_one_of = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let mut found = Saved::Classifier;
    for name in architectures {
        if is_one_of(name, &OTHER_TASKS) {
            return Saved::OtherTask(name);
        }
        if name.contains(CLASSIFIER) {
            return Saved::Classifier;
        }
        found = if is_one_of(name, &PRETRAINED) {
            Saved::Encoder
        } else {
            Saved::Unknown(name)
        };
    }
    found
}

/// How the asked labels stand to the saved ones.
enum Relation {
    Same,
    /// The same names in another order.
    Order(Vec<usize>),
    /// Others, and what tells why.
    Other(String),
}

/// The names, as one reads them in a sentence.
fn shown(labels: &Labels) -> String {
    listed(labels.names().iter().map(String::as_str))
}

fn relation(saved: &Result<Labels>, asked: &Labels) -> Relation {
    let saved = match saved {
        Ok(saved) => saved,
        Err(error) => return Relation::Other(format!("its own labels can't be read: {error}")),
    };
    if saved == asked {
        return Relation::Same;
    }
    let places: Option<Vec<usize>> = asked
        .names()
        .iter()
        .map(|name| saved.id(name).map(|id| id as usize))
        .collect();
    match places {
        Some(rows) if asked.len() == saved.len() => Relation::Order(rows),
        _ => {
            let case = if by_lowercase(saved, asked).is_some() {
                " They differ in upper and lower case only."
            } else {
                ""
            };
            Relation::Other(format!(
                "its labels are {} and those asked for are {}.{case}",
                shown(saved),
                shown(asked)
            ))
        }
    }
}

/// For each saved label the one of `asked` that differs from it in upper and lower case alone, where each has its own.
fn by_lowercase(saved: &Labels, asked: &Labels) -> Option<Labels> {
    let lower = |labels: &Labels| labels.names().iter().map(|n| n.to_lowercase()).collect();
    let lower_asked = Labels::from_names(lower(asked)).ok()?;
    let lower_saved = Labels::from_names(lower(saved)).ok()?;
    if lower_saved.len() != lower_asked.len() {
        return None;
    }
    let names: Option<Vec<String>> = lower_saved
        .names()
        .iter()
        .map(|name| asked.name(lower_asked.id(name)?).map(str::to_string))
        .collect();
    Labels::from_names(names?).ok()
}

/// Decides by what the directory says and by what is asked for. `rows` is the number of rows of the checkpoint's
/// classifier, where it has one.
///
/// Who gives a data set to train on has asked for a classifier of its labels, and so has who sets `new_classifier`;
/// label names alone only name what is there.
pub fn decide(
    description: &Description,
    rows: Option<usize>,
    options: &LoadOptions,
) -> Result<Decision> {
    let is_renamed = options.rename_labels;
    let is_asked = options.new_classifier || matches!(options.labels, LabelChoice::Dataset(_));
    if is_renamed && options.new_classifier {
        return Err(Error::InvalidArgument(
            "rename_labels and new_classifier are both 1: the one keeps the saved classifier, the other doesn't. Set \
             one of them."
                .into(),
        )
        .of_argument("new_classifier"));
    }
    if is_renamed && matches!(options.labels, LabelChoice::Checkpoint) {
        return Err(Error::InvalidArgument(
            "rename_labels is 1, but there are no new names: set label_names.".into(),
        )
        .of_argument("rename_labels"));
    }
    let other_task = match saved_from(&description.architectures) {
        Saved::OtherTask(name) => Some(name),
        _ => None,
    };
    if let Some(name) = other_task
        && (!is_asked || is_renamed)
    {
        return Err(Error::Unsupported(format!(
            "The checkpoint is a {name}, whose head answers another question than a text's classes. To train a new \
             classifier on its encoder, set new_classifier to 1, or labels_from to the data set to train on."
        )));
    }

    let saved = &description.labels.labels;
    let stated = description.problem_type;
    let asked_problem = options.problem_type.or(match &options.labels {
        LabelChoice::Dataset(dataset) => dataset.problem_type(),
        LabelChoice::Names(_) | LabelChoice::Checkpoint => None,
    });
    let (mut labels, relation) = match &options.labels {
        LabelChoice::Checkpoint => match saved {
            Ok(saved) => (saved.clone(), Relation::Same),
            Err(error) => return Err(error.clone()),
        },
        LabelChoice::Names(names) => (names.clone(), relation(saved, names)),
        LabelChoice::Dataset(dataset) => {
            let problem = asked_problem.unwrap_or(description.config.problem_type);
            match saved
                .as_ref()
                .map(|saved| (saved, saved.targets_of(dataset, problem)))
            {
                Ok((saved, Ok(_))) => (saved.clone(), Relation::Same),
                _ => {
                    let wanted = Labels::from_dataset(dataset)?;
                    wanted.targets_of(dataset, problem)?;
                    let relation = relation(saved, &wanted);
                    (wanted, relation)
                }
            }
        }
    };
    let has_saved_labels = matches!(relation, Relation::Same);
    // A checkpoint that doesn't name its problem has a head for whichever is asked for.
    let problem_type = asked_problem
        .or(stated)
        .unwrap_or(ProblemType::inferred(labels.len()));
    let other_problem = stated.filter(|&stated| stated != problem_type);

    // What was trained on one vector says nothing of another.
    let has_other_pooling = options
        .pooling
        .is_some_and(|asked| asked != description.config.pooling);
    if is_renamed && has_other_pooling {
        return Err(Error::InvalidArgument(
            "rename_labels is 1, and pooling asks for another vector than the saved classifier was trained on; it \
             can't be kept. Leave pooling at BERT_POOLING_AUTO."
                .into(),
        )
        .of_argument("pooling"));
    }
    let mut dropped = None;
    let mut told = None;
    let drop_because = |why: &str, what_keeps: &str| {
        rows.map(|_| {
            format!(
                "The checkpoint's trained classifier isn't used: {why} The new one has initial values and must be \
                 trained. {what_keeps}"
            )
        })
    };
    let head = if options.new_classifier {
        dropped = drop_because("new_classifier is 1.", "");
        Head::New
    } else if let Some(name) = other_task {
        dropped = drop_because(&format!("it is a {name}'s."), "");
        Head::New
    } else if is_renamed {
        check_renamed(&labels, rows, other_problem, problem_type)?;
        if let (Ok(saved), LabelChoice::Dataset(_)) = (saved, &options.labels) {
            labels = by_lowercase(saved, &labels).unwrap_or(labels);
            // By their order a name would go to another class than the one that it is the name of.
            let moved = labels
                .names()
                .iter()
                .enumerate()
                .find(|(id, name)| saved.id(name).is_some_and(|saved| saved as usize != *id));
            if let Some((id, name)) = moved {
                return Err(Error::InvalidArgument(format!(
                    "rename_labels is 1, and the data set's label '{name}' would become the name of the saved label \
                     '{}', though one of the saved labels is called '{name}'; give label_names in the order of the \
                     saved labels, {}.",
                    saved.name(id as u32).unwrap_or_default(),
                    shown(saved)
                ))
                .of_argument("rename_labels"));
            }
        }
        told = Some(match saved {
            Ok(saved) if saved != &labels => format!(
                "The saved classifier is kept; its labels {} are called {} now, in this order.",
                shown(saved),
                shown(&labels)
            ),
            _ => format!(
                "The saved classifier is kept; its labels are {}.",
                shown(&labels)
            ),
        });
        Head::Saved
    } else if let (Some(pooling), true) = (options.pooling, has_other_pooling) {
        let why = format!(
            "it was trained on another vector ({}) than the one asked for ({}).",
            pooling_name(description.config.pooling),
            pooling_name(pooling)
        );
        dropped = drop_because(&why, "To keep it, leave pooling at BERT_POOLING_AUTO.");
        Head::New
    } else if let Some(other) = other_problem {
        let why =
            format!("config.json names its problem as {other}, and {problem_type} is asked for.");
        dropped = drop_because(
            &why,
            "To keep it, ask for the problem type that it was trained for.",
        );
        Head::New
    } else {
        match relation {
            Relation::Same => Head::Saved,
            Relation::Order(order) => {
                told = Some(format!(
                    "The saved classifier is kept, with its rows in the order of label_names: {}.",
                    shown(&labels)
                ));
                Head::Reordered(order)
            }
            Relation::Other(why) => {
                let keeps = match rows == Some(labels.len()) {
                    true => {
                        "To keep it under these names, set rename_labels to 1; to keep it under its own, give it the \
                             same names."
                    }
                    false => "To keep it, give it the same names.",
                };
                dropped = drop_because(&why, keeps);
                Head::New
            }
        }
    };
    Ok(Decision {
        labels,
        problem_type,
        head,
        is_asked,
        dropped,
        told,
        has_saved_labels,
    })
}

/// The vector, as the C interface calls it.
fn pooling_name(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Pooler => "BERT_POOLING_POOLER",
        Pooling::Cls => "BERT_POOLING_CLS",
        Pooling::Mean => "BERT_POOLING_MEAN",
    }
}

/// Refuses other names for a classifier that can't be kept under them.
fn check_renamed(
    labels: &Labels,
    rows: Option<usize>,
    other_problem: Option<ProblemType>,
    problem_type: ProblemType,
) -> Result<()> {
    let refused = |what: String| {
        Err(
            Error::InvalidArgument(format!("rename_labels is 1, but {what}"))
                .of_argument("rename_labels"),
        )
    };
    match rows {
        None => {
            refused("the checkpoint has no classifier to keep; leave rename_labels at 0.".into())
        }
        Some(rows) if rows != labels.len() => refused(format!(
            "there are {} names and the checkpoint's classifier has {rows} labels; the numbers must be the same.",
            labels.len()
        )),
        Some(_) => match other_problem {
            Some(other) => refused(format!(
                "the checkpoint's classifier was trained for {other} and {problem_type} is asked for; it can't be kept."
            )),
            None => Ok(()),
        },
    }
}

/// Whether the name is that of a tensor that a head has, as other people name them: no part of the encoder, nor of what
/// it was pretrained with.
pub fn looks_like_a_head(name: &str, saved_from: &Saved<'_>, has_language_model: bool) -> bool {
    let is_of_pretraining =
        name.starts_with("cls.") && (has_language_model || *saved_from == Saved::Encoder);
    let is_buffer = name.ends_with("position_ids") || name.ends_with("token_type_ids");
    let is_parameter = name.ends_with("weight") || name.ends_with("bias");
    // A pooler that isn't read is a part of BERT.
    let is_pooler = name.contains("pooler.dense.");
    is_parameter && !is_buffer && !is_of_pretraining && !is_pooler
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Example, Label};
    use crate::hf::config;

    fn labels(names: &[&str]) -> Labels {
        Labels::from_saved(names.iter().map(|name| name.to_string()).collect())
    }

    fn dataset(names: &[&str]) -> LabelChoice {
        let mut dataset = Dataset::new();
        let example = |name: &&str| Example {
            text: String::new(),
            pair: None,
            label: Label::Name(name.to_string()),
        };
        dataset.extend(names.iter().map(example)).unwrap();
        LabelChoice::Dataset(dataset)
    }

    fn asked(
        json: &str,
        choice: LabelChoice,
        change: impl Fn(&mut LoadOptions),
    ) -> Result<Decision> {
        let mut options = LoadOptions {
            labels: choice,
            ..LoadOptions::default()
        };
        change(&mut options);
        decide(
            &config::read(json.as_bytes(), "c").unwrap(),
            Some(2),
            &options,
        )
    }

    const NAMED: &str = r#"{"id2label": {"0": "Bad", "1": "Good"}}"#;

    #[test]
    fn a_head_is_kept_under_its_names_in_any_order() {
        let same = asked(NAMED, LabelChoice::Checkpoint, |_| {}).unwrap();
        assert_eq!(
            (same.head, same.dropped, same.told),
            (Head::Saved, None, None)
        );
        let order = asked(NAMED, LabelChoice::Names(labels(&["Good", "Bad"])), |_| {}).unwrap();
        assert_eq!(order.head, Head::Reordered(vec![1, 0]));
        assert_eq!(order.labels.names(), ["Good", "Bad"]);
        // Data that has them, or some of them, gets the saved order.
        let data = asked(NAMED, dataset(&["Good", "Bad"]), |_| {}).unwrap();
        assert_eq!((data.head, data.is_asked), (Head::Saved, true));
        assert_eq!(data.labels.names(), ["Bad", "Good"]);
        // By number where the names are numbers.
        let numbers = asked(r#"{"num_labels": 2}"#, dataset(&["1", "0"]), |_| {}).unwrap();
        assert_eq!(numbers.labels.names(), ["LABEL_0", "LABEL_1"]);
        assert_eq!((numbers.head, numbers.dropped), (Head::Saved, None));
    }

    #[test]
    fn a_head_that_is_dropped_says_what_would_keep_it() {
        let said = |choice: LabelChoice, json: &str| {
            let decision = asked(json, choice, |_| {}).unwrap();
            assert_eq!(decision.head, Head::New);
            decision.dropped.unwrap()
        };
        let names = said(LabelChoice::Names(labels(&["bad", "fine"])), NAMED);
        for word in ["'Bad', 'Good'", "'bad', 'fine'", "rename_labels to 1"] {
            assert!(names.contains(word), "{names}");
        }
        assert!(!names.contains("upper and lower"), "{names}");
        let case = said(dataset(&["good", "bad"]), NAMED);
        assert!(case.contains("upper and lower case only"), "{case}");
        let twice = r#"{"id2label": {"0": "a", "1": "a"}}"#;
        said(dataset(&["a", "b"]), twice);
        let broken = said(dataset(&["a", "b"]), r#"{"id2label": ["a", "b"]}"#);
        assert!(broken.contains("can't be read"), "{broken}");
        let decision = asked(
            r#"{"problem_type": "regression", "id2label": {"0": "Bad", "1": "Good"}}"#,
            dataset(&["Good", "Bad"]),
            |_| {},
        );
        let problem = decision.unwrap().dropped.unwrap();
        assert!(problem.contains("regression"), "{problem}");
        // Nothing is dropped where there is nothing.
        let options = LoadOptions {
            labels: dataset(&["x", "y"]),
            ..LoadOptions::default()
        };
        let bare = decide(
            &config::read(NAMED.as_bytes(), "c").unwrap(),
            None,
            &options,
        );
        assert_eq!(bare.unwrap().dropped, None);
    }

    #[test]
    fn labels_are_renamed_where_their_number_is_the_same() {
        let rename = |options: &mut LoadOptions| options.rename_labels = true;
        let renamed = asked(NAMED, LabelChoice::Names(labels(&["no", "yes"])), rename).unwrap();
        assert_eq!(renamed.head, Head::Saved);
        assert_eq!(renamed.labels.names(), ["no", "yes"]);
        assert_eq!(renamed.dropped, None);
        assert!(renamed.told.unwrap().contains("'no', 'yes'"));
        // Also names that are there: exchanged, the rows stay.
        let swapped = asked(NAMED, LabelChoice::Names(labels(&["Good", "Bad"])), rename).unwrap();
        assert_eq!(swapped.head, Head::Saved);
        assert_eq!(swapped.labels.names(), ["Good", "Bad"]);
        // A data set's names go by their spelling, not by their order, where they differ in case alone.
        let json = r#"{"id2label": {"0": "Good", "1": "Bad"}}"#;
        let data = asked(json, dataset(&["bad", "good"]), rename).unwrap();
        assert_eq!(data.labels.names(), ["good", "bad"]);
        // Whatever the saved names are.
        let broken = asked(
            r#"{"id2label": ["a", "b"]}"#,
            LabelChoice::Names(labels(&["x", "y"])),
            rename,
        );
        assert_eq!(broken.unwrap().head, Head::Saved);

        let refused = |result: Result<Decision>, words: &[&str]| {
            let error = result.unwrap_err();
            assert!(matches!(error.category(), Error::InvalidArgument(_)));
            for word in words {
                assert!(error.message().contains(word), "{error}");
            }
        };
        let three = LabelChoice::Names(labels(&["a", "b", "c"]));
        refused(asked(NAMED, three, rename), &["3 names", "2 labels"]);
        refused(
            asked(NAMED, LabelChoice::Checkpoint, rename),
            &["label_names"],
        );
        let both = |options: &mut LoadOptions| {
            options.rename_labels = true;
            options.new_classifier = true;
        };
        let two = || LabelChoice::Names(labels(&["a", "b"]));
        refused(asked(NAMED, two(), both), &["new_classifier"]);
        let problem = |options: &mut LoadOptions| {
            options.rename_labels = true;
            options.problem_type = Some(ProblemType::MultiLabel);
        };
        let json = r#"{"problem_type": "single_label_classification"}"#;
        refused(
            asked(json, two(), problem),
            &["multi-label", "single-label"],
        );
        let options = LoadOptions {
            labels: two(),
            rename_labels: true,
            ..LoadOptions::default()
        };
        let bare = decide(&config::read(b"{}", "c").unwrap(), None, &options);
        refused(bare, &["no classifier"]);
    }

    #[test]
    fn another_tasks_checkpoint_needs_a_new_head() {
        for name in [
            "BertForTokenClassification",
            "BertForQuestionAnswering",
            "BertForMultipleChoice",
            "BertForNextSentencePrediction",
            "TFBertForTokenClassification",
            "BertLMHeadModel",
        ] {
            let json = format!(r#"{{"architectures": ["{name}"]}}"#);
            for choice in [
                LabelChoice::Checkpoint,
                LabelChoice::Names(labels(&["a", "b"])),
            ] {
                let error = asked(&json, choice, |_| {}).unwrap_err();
                assert!(matches!(error, Error::Unsupported(_)), "{error}");
                assert!(error.message().contains(name), "{error}");
                assert!(error.message().contains("new_classifier"), "{error}");
            }
            // Its classifier isn't used even where all labels fit.
            let data = asked(&json, dataset(&["0", "1"]), |_| {}).unwrap();
            assert_eq!(data.head, Head::New);
            let new = |options: &mut LoadOptions| options.new_classifier = true;
            let new = asked(&json, LabelChoice::Checkpoint, new).unwrap();
            assert_eq!((new.head, new.is_asked), (Head::New, true));
        }
        for (names, what) in [
            (&[][..], Saved::Classifier),
            (&["BertForSequenceClassification"], Saved::Classifier),
            (&["LibbertForSequenceClassification"], Saved::Classifier),
            (&["BertModel"], Saved::Encoder),
            (&["BertForPreTraining"], Saved::Encoder),
            (&["BertForMaskedLM"], Saved::Encoder),
            (&["BertForRanking"], Saved::Unknown("BertForRanking")),
        ] {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            assert_eq!(saved_from(&names), what);
        }
    }
}
