//! The kinds of problem that a text classifier solves: what a label is, and with it the loss, the metrics and the answer.

use std::fmt;

/// The problem types of `transformers.BertForSequenceClassification`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProblemType {
    /// Each text has exactly one of the classes: softmax, cross entropy.
    #[default]
    SingleLabel,
    /// Each text has any number of the labels, none included: a sigmoid for each, binary cross entropy.
    MultiLabel,
    /// Each text has one number or several: the scores as they are, mean squared error.
    Regression,
}

impl ProblemType {
    /// All of them.
    pub const ALL: [ProblemType; 3] = [
        ProblemType::SingleLabel,
        ProblemType::MultiLabel,
        ProblemType::Regression,
    ];

    /// By the name in `config.json`.
    pub fn from_name(name: &str) -> Option<ProblemType> {
        ProblemType::ALL.into_iter().find(|p| p.name() == name)
    }

    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            ProblemType::SingleLabel => "single_label_classification",
            ProblemType::MultiLabel => "multi_label_classification",
            ProblemType::Regression => "regression",
        }
    }

    /// What transformers takes where a configuration names none, for labels that are no lists: one label is regression.
    pub fn inferred(num_labels: usize) -> ProblemType {
        if num_labels == 1 {
            ProblemType::Regression
        } else {
            ProblemType::SingleLabel
        }
    }
}

impl fmt::Display for ProblemType {
    /// As a sentence names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProblemType::SingleLabel => "single-label classification",
            ProblemType::MultiLabel => "multi-label classification",
            ProblemType::Regression => "regression",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        for problem in ProblemType::ALL {
            assert_eq!(ProblemType::from_name(problem.name()), Some(problem));
        }
        assert_eq!(ProblemType::from_name("Regression"), None);
        assert_eq!(ProblemType::inferred(1), ProblemType::Regression);
        assert_eq!(ProblemType::inferred(2), ProblemType::SingleLabel);
    }
}
