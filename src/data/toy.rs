//! The built-in sentiment set: small enough to read, large enough to see a model learn.

use super::{Dataset, Example, Label};

const TRAIN: [(&str, &str); 16] = [
    ("what a wonderful film , i loved every minute", "positive"),
    ("the food was cold and the service was terrible", "negative"),
    ("a delightful story with a great cast", "positive"),
    ("this book is boring and far too long", "negative"),
    (
        "the staff were friendly and the room was lovely",
        "positive",
    ),
    ("i hated the noisy room and the rude staff", "negative"),
    ("great music , we enjoyed the whole evening", "positive"),
    ("a terrible plot and an awful cast", "negative"),
    (
        "the soup was delicious and the service was excellent",
        "positive",
    ),
    (
        "the screen broke after a week , what a waste of money",
        "negative",
    ),
    ("an excellent phone , fast and easy to use", "positive"),
    ("the film was dull and i regret watching it", "negative"),
    (
        "i enjoyed this book , it is funny and wonderful",
        "positive",
    ),
    ("an awful evening , the music was dull and loud", "negative"),
    (
        "we loved the delicious cake and the friendly owner",
        "positive",
    ),
    ("a slow and boring phone , i hated it", "negative"),
];

const VALIDATION: [(&str, &str); 6] = [
    ("i loved the wonderful music", "positive"),
    ("the plot was boring and dull", "negative"),
    (
        "a delicious meal and excellent friendly service",
        "positive",
    ),
    ("rude staff and terrible food , i hated it", "negative"),
    ("we enjoyed this great story", "positive"),
    ("an awful film , a waste of an evening", "negative"),
];

fn dataset(sentences: &[(&str, &str)]) -> Dataset {
    let example = |(text, label): &(&str, &str)| Example {
        text: text.to_string(),
        pair: None,
        label: Label::Name(label.to_string()),
    };
    Dataset::from_uniform(sentences.iter().map(example).collect())
}

impl Dataset {
    /// Sixteen short English sentences, eight `negative` (class 0) and eight `positive` (class 1).
    pub fn toy_train() -> Dataset {
        dataset(&TRAIN)
    }

    /// Six more sentences, three of each class, in the words of [`toy_train`](Dataset::toy_train).
    pub fn toy_validation() -> Dataset {
        dataset(&VALIDATION)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::data::Labels;

    #[test]
    fn the_toy_sets_are_balanced() {
        let labels = Labels::from_dataset(&Dataset::toy_train()).unwrap();
        assert_eq!(labels.names(), ["negative", "positive"]);
        let ones = |d: &Dataset| {
            let of_class = |e: &&Example| e.label == Label::Name("positive".into());
            d.examples().iter().filter(of_class).count()
        };
        assert_eq!(
            (Dataset::toy_train().len(), ones(&Dataset::toy_train())),
            (16, 8)
        );
        assert_eq!(
            (
                Dataset::toy_validation().len(),
                ones(&Dataset::toy_validation())
            ),
            (6, 3)
        );
        let all: HashSet<&str> = TRAIN.iter().chain(&VALIDATION).map(|(t, _)| *t).collect();
        assert_eq!(all.len(), 22);
    }

    #[test]
    fn a_bag_of_words_classifies_the_validation_sentences() {
        let mut weight: HashMap<&str, f64> = HashMap::new();
        for (text, label) in TRAIN {
            let sign = if label == "positive" { 1.0 } else { -1.0 };
            for word in text.split(' ').collect::<HashSet<_>>() {
                *weight.entry(word).or_default() += sign;
            }
        }
        for (text, label) in VALIDATION {
            let score: f64 = text.split(' ').filter_map(|w| weight.get(w)).sum();
            assert_eq!(score > 0.0, label == "positive", "{text}: {score}");
            assert!(score.abs() >= 1.0, "{text}: {score}");
        }
    }
}
