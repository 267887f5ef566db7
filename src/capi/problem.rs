//! The problem types by their numbers.

use super::arguments::choice;
use crate::error::Result;
use crate::problem::ProblemType;

/// The problem that the data is for.
pub const BERT_PROBLEM_AUTO: i32 = 0;
/// Each text has exactly one of the classes: softmax, cross entropy.
pub const BERT_PROBLEM_SINGLE_LABEL: i32 = 1;
/// Each text has any number of the labels, none included: a sigmoid for each label, binary cross entropy.
pub const BERT_PROBLEM_MULTI_LABEL: i32 = 2;
/// Each text has one number or several, the targets: the model's scores as they are, mean squared error.
pub const BERT_PROBLEM_REGRESSION: i32 = 3;

const PROBLEMS: [(i32, ProblemType); 3] = [
    (BERT_PROBLEM_SINGLE_LABEL, ProblemType::SingleLabel),
    (BERT_PROBLEM_MULTI_LABEL, ProblemType::MultiLabel),
    (BERT_PROBLEM_REGRESSION, ProblemType::Regression),
];

/// An option's problem type.
pub(super) fn problem_type(value: i32) -> Result<ProblemType> {
    choice(value, "problem_type", &PROBLEMS)
}

/// An option's problem type, `None` for BERT_PROBLEM_AUTO.
pub(super) fn problem_type_or_auto(value: i32) -> Result<Option<ProblemType>> {
    let mut choices = vec![(BERT_PROBLEM_AUTO, None)];
    choices.extend(PROBLEMS.map(|(number, problem)| (number, Some(problem))));
    choice(value, "problem_type", &choices)
}

/// A problem type's number.
pub(super) fn number_of(problem: ProblemType) -> i32 {
    PROBLEMS
        .iter()
        .find(|(_, p)| *p == problem)
        .map_or(BERT_PROBLEM_AUTO, |(number, _)| *number)
}
