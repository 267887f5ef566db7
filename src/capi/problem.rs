//! The problem types by their numbers.

use super::arguments::choice;
use crate::error::Result;
use crate::problem::ProblemType;

/// The problem type: what a model predicts for a text.
pub type bert_problem_type = i32;

/// The problem type that the data is for.
pub const BERT_PROBLEM_AUTO: bert_problem_type = 0;
/// Single-label classification: each text has exactly one class. Softmax and cross entropy.
pub const BERT_PROBLEM_SINGLE_LABEL: bert_problem_type = 1;
/// Multi-label classification: each text has any number of labels, also none. A sigmoid and binary cross entropy for
/// each label.
pub const BERT_PROBLEM_MULTI_LABEL: bert_problem_type = 2;
/// Regression: each text has one or more numbers, the targets. The model's scores are the predictions; the loss is the
/// mean squared error.
pub const BERT_PROBLEM_REGRESSION: bert_problem_type = 3;

const PROBLEMS: [(bert_problem_type, ProblemType); 3] = [
    (BERT_PROBLEM_SINGLE_LABEL, ProblemType::SingleLabel),
    (BERT_PROBLEM_MULTI_LABEL, ProblemType::MultiLabel),
    (BERT_PROBLEM_REGRESSION, ProblemType::Regression),
];

/// An option's problem type.
pub(super) fn problem_type(value: bert_problem_type) -> Result<ProblemType> {
    choice(value, "problem_type", &PROBLEMS)
}

/// An option's problem type, `None` for BERT_PROBLEM_AUTO.
pub(super) fn problem_type_or_auto(value: bert_problem_type) -> Result<Option<ProblemType>> {
    let mut choices = vec![(BERT_PROBLEM_AUTO, None)];
    choices.extend(PROBLEMS.map(|(number, problem)| (number, Some(problem))));
    choice(value, "problem_type", &choices)
}

/// A problem type's number.
pub(super) fn number_of(problem: ProblemType) -> bert_problem_type {
    PROBLEMS
        .iter()
        .find(|(_, p)| *p == problem)
        .map_or(BERT_PROBLEM_AUTO, |(number, _)| *number)
}
