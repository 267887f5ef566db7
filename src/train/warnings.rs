//! What may be a mistake of whoever trains, told to the log as a warning where it is known: of the data and of the plan
//! before the first step, of an evaluation, and of how the run went.

use std::collections::HashMap;

use super::automatic::Trained;
use super::evaluate::{EncodedDataset, Evaluation};
use super::lengths::how_to_read_more;
use super::options::{Metric, TrainOptions};
use super::schedule::Schedule;
use super::target_scale::TargetScale;
use crate::classifier::Classifier;
use crate::data::{Dataset, Labels, Targets, quoted};
use crate::error::Result;
use crate::metrics::Metrics;
use crate::{log, memory};

/// A rate above this spoils what a published encoder knows, when all of it is trained.
const HIGHEST_FINE_TUNING_RATE: f64 = 2e-4;

/// Steps that fine-tuning needs at the least.
const FEWEST_FINE_TUNING_STEPS: u64 = 100;

/// A label is rare where another one has more than so many times its examples: of two labels, where it has less than a
/// tenth of all.
const RARE: u64 = 9;

/// Names that one line lists.
const MOST_NAMES: usize = 10;

/// A data set, and what the model sees of it.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    pub dataset: &'a Dataset,
    pub encoded: &'a EncodedDataset,
}

/// "the label 'x' has", "3 labels have", each with their names.
fn labels_that(ids: &[u32], labels: &Labels, one: &str, more: &str) -> String {
    let names = ids.iter().take(MOST_NAMES);
    let names = names.map(|&id| quoted(labels.name(id).unwrap_or_default()));
    let mut names = names.collect::<Vec<String>>().join(", ");
    let rest = ids.len().saturating_sub(MOST_NAMES);
    if rest > 0 {
        names += &format!(" and {rest} more");
    }
    match ids.len() {
        1 => format!("The label {names} {one}"),
        _ => format!("The labels {names} {more}"),
    }
}

/// How many examples each class or label has; none for regression.
fn counts(targets: &Targets, num_labels: usize) -> Vec<u64> {
    let mut counts = vec![0; num_labels];
    let mut count = |id: &u32| {
        if let Some(count) = counts.get_mut(*id as usize) {
            *count += 1;
        }
    };
    match targets {
        Targets::Classes(classes) => classes.iter().for_each(&mut count),
        Targets::Labels(lists) => lists.iter().flatten().for_each(&mut count),
        Targets::Values { .. } => return Vec::new(),
    }
    counts
}

/// Of the data that a trainer gets.
pub fn of_data(
    classifier: &Classifier,
    train: Data<'_>,
    validation: Option<Data<'_>>,
) -> Result<()> {
    let labels = classifier.labels();
    let ids = |counts: &[u64], is_wanted: &dyn Fn(u64) -> bool| -> Vec<u32> {
        let ids = (0u32..).zip(counts).filter(|(_, count)| is_wanted(**count));
        ids.map(|(id, _)| id).collect()
    };
    let in_train = counts(&train.encoded.targets, labels.len());
    let absent = ids(&in_train, &|count| count == 0);
    if !absent.is_empty() {
        log::warning(|| {
            let text = labels_that(&absent, labels, "has", "have");
            format!("{text} no training example; the model can't learn what no example shows.")
        });
    }
    let most = in_train.iter().copied().max().unwrap_or(0);
    let is_single = matches!(train.encoded.targets, Targets::Classes(_));
    let rare = ids(&in_train, &|count| count > 0 && count * RARE < most);
    if is_single && !rare.is_empty() {
        log::warning(|| {
            let count: u64 = rare.iter().map(|&id| in_train[id as usize]).sum();
            format!(
                "{} {count} of {} training examples, {:.1} %, and the most frequent label {most}: such a model may \
                 answer the frequent labels only, and its accuracy doesn't show it. Set class_weights, and \
                 BERT_METRIC_F1_MACRO as the metric.",
                labels_that(&rare, labels, "has", "have together"),
                train.encoded.len(),
                100.0 * count as f64 / train.encoded.len().max(1) as f64
            )
        });
    }
    empty_texts(train.dataset, "training");
    let known = texts_with_labels(train)?;
    if let Some(validation) = validation {
        let counts = counts(&validation.encoded.targets, labels.len());
        let untested = ids(&counts, &|count| count == 0);
        let untested: Vec<u32> = (untested.into_iter())
            .filter(|&id| in_train[id as usize] > 0)
            .collect();
        if !untested.is_empty() {
            log::warning(|| {
                let text = labels_that(&untested, labels, "has", "have");
                format!("{text} no validation example; evaluations say nothing about it.")
            });
        }
        empty_texts(validation.dataset, "validation");
        overlap(validation.dataset, &known);
    }
    Ok(())
}

fn empty_texts(dataset: &Dataset, kind: &str) {
    let is_empty = |text: &str| text.trim().is_empty();
    let examples = dataset.examples().iter();
    let empty = examples
        .filter(|e| is_empty(&e.text) && e.pair.as_deref().is_none_or(is_empty))
        .count();
    if empty > 0 {
        log::warning(|| {
            format!(
                "{empty} of {} {kind} texts are empty; the model learns nothing from them but how frequent their \
                 labels are.",
                dataset.len()
            )
        });
    }
}

/// A text, or a pair.
type Text<'a> = (&'a str, Option<&'a str>);

/// Every text of the training data with the number of an example that has it. Warns of texts that have more than one
/// label.
fn texts_with_labels<'a>(train: Data<'a>) -> Result<HashMap<Text<'a>, usize>> {
    let mut known: HashMap<Text<'a>, usize> = HashMap::new();
    let targets = &train.encoded.targets;
    let differ = |a: usize, b: usize| match targets {
        Targets::Classes(classes) => classes[a] != classes[b],
        Targets::Labels(lists) => lists[a] != lists[b],
        // Two judges may give two numbers.
        Targets::Values { .. } => false,
    };
    let mut contradictions = 0u64;
    let mut shown = None;
    for (index, example) in train.dataset.examples().iter().enumerate() {
        let text = (example.text.as_str(), example.pair.as_deref());
        memory::reserve_place(&mut known)?;
        let first = *known.entry(text).or_insert(index);
        if differ(first, index) {
            contradictions += 1;
            shown.get_or_insert((first, index));
        }
    }
    if let Some((first, second)) = shown {
        log::warning(|| {
            format!(
                "{contradictions} training examples have the text of an earlier example and another label, the first \
                 of them example {} with the text of example {}, {}; a model can't be right on both.",
                second + 1,
                first + 1,
                quoted(&train.dataset.examples()[first].text)
            )
        });
    }
    Ok(known)
}

fn overlap(validation: &Dataset, known: &HashMap<Text<'_>, usize>) {
    let is_known = |text: Text<'_>| known.contains_key(&text);
    let examples = validation.examples().iter();
    let shared = examples
        .filter(|e| is_known((e.text.as_str(), e.pair.as_deref())))
        .count();
    if shared == 0 {
        return;
    }
    log::warning(|| {
        match shared == validation.len() {
        true => "All validation texts are training texts too: evaluations say how well the model remembers them, not \
                 how well it does on new texts."
            .into(),
        false => format!(
            "{shared} of {} validation texts are training texts too; evaluations come out better than on new texts.",
            validation.len()
        ),
    }
    });
}

/// Of a plan.
pub fn of_plan(classifier: &Classifier, options: &TrainOptions, schedule: &Schedule) {
    let trained = Trained::of(classifier, options.frozen);
    let rate = options.learning_rate;
    if rate == 0.0 {
        log::warning(|| "learning_rate is 0: training changes nothing.".into());
    } else if schedule.warmup_steps >= schedule.total_steps {
        log::warning(|| {
            format!(
                "warmup_steps is {}, and the plan has {}: the learning rate never reaches {rate}{}. Set fewer \
                 warmup_steps or more epochs.",
                schedule.warmup_steps,
                steps(schedule.total_steps),
                match schedule.total_steps {
                    1 => ", and the only step has the rate 0, so that nothing is trained",
                    _ => "",
                }
            )
        });
    }
    if trained == Trained::Loaded && rate > HIGHEST_FINE_TUNING_RATE {
        log::warning(|| {
            format!(
                "learning_rate is {rate}, and the encoder was loaded: above {HIGHEST_FINE_TUNING_RATE} training spoils \
                 what it knows. Usual are 2e-5 to 5e-5; a learning_rate that isn't set is 3e-5."
            )
        });
    }
    if trained != Trained::New && schedule.total_steps < FEWEST_FINE_TUNING_STEPS {
        log::warning(|| {
            format!(
                "The plan has {}; fine-tuning an encoder that was loaded needs {FEWEST_FINE_TUNING_STEPS} and more. \
                 Set more epochs or a smaller batch_size; where epochs isn't set, there are enough of them.",
                steps(schedule.total_steps)
            )
        });
    }
}

/// Of regression targets that can't be scaled.
pub fn of_scale(labels: &Labels, scale: &TargetScale) {
    let ids = scale.unscaled();
    if !ids.is_empty() {
        log::warning(|| {
            format!(
                "The numbers of {} too large or too small to be scaled, and are taken as they are; divide them by \
                 their size.",
                match ids {
                    [id] => format!(
                        "the target {} are",
                        quoted(labels.name(*id).unwrap_or_default())
                    ),
                    ids => format!("{} targets are", ids.len()),
                }
            )
        });
    }
}

fn steps(count: u64) -> String {
    format!("{count} step{}", if count == 1 { "" } else { "s" })
}

/// Of an evaluation that didn't read its texts whole.
pub fn of_cut_texts(classifier: &Classifier, evaluation: &Evaluation, asked: usize) -> Result<()> {
    if evaluation.cut > 0 {
        let max_length = classifier.max_length(asked)?;
        log::warning(|| {
            format!(
                "{} of {} evaluated texts are longer than the maximum length of {max_length} tokens and were cut. {}",
                evaluation.cut,
                evaluation.examples,
                how_to_read_more(classifier, max_length)
            )
        });
    }
    Ok(())
}

/// Of an evaluation on `targets`.
pub fn of_evaluation(labels: &Labels, targets: &Targets, evaluation: &Evaluation) {
    let classes = evaluation.metrics.classes();
    let never = (0u32..).zip(classes);
    let never = never.filter(|(_, class)| class.support > 0 && class.predicted == 0);
    let never: Vec<u32> = never.map(|(id, _)| id).collect();
    if !never.is_empty() {
        log::warning(|| {
            let text = labels_that(&never, labels, "is", "are");
            let it = if never.len() == 1 { "it" } else { "them" };
            format!("{text} never predicted, though the evaluated data have examples of {it}.")
        });
    }
    match &evaluation.metrics {
        Metrics::SingleLabel(metrics, _) => {
            // The first of several that are as large, as one counts them.
            let all = classes.iter().enumerate().rev();
            let Some((id, class)) = all.max_by_key(|(_, class)| class.support) else {
                return;
            };
            let share = class.support as f64 / evaluation.examples.max(1) as f64;
            // Where one class is all that there is, nothing can be better.
            if share < 1.0 && metrics.accuracy <= share {
                log::warning(|| {
                    format!(
                        "The accuracy on {} examples, {:.4}, is no better than that of always answering {}, \
                         {share:.4}.",
                        evaluation.examples,
                        metrics.accuracy,
                        quoted(labels.name(id as u32).unwrap_or_default())
                    )
                });
            }
        }
        Metrics::Regression(metrics) => {
            let Targets::Values { values, width } = targets else {
                return;
            };
            let variance = variance(values, *width);
            if variance > 0.0 && metrics.mse >= variance {
                log::warning(|| {
                    format!(
                        "The mean squared error, {:.4}, is no better than that of always answering the targets' mean, \
                         {variance:.4}.",
                        metrics.mse
                    )
                });
            }
        }
        Metrics::MultiLabel(_) => {}
    }
}

/// The mean squared distance of targets [examples, width] from their mean, each target by its own.
fn variance(values: &[f32], width: usize) -> f64 {
    let examples = (values.len() / width.max(1)).max(1) as f64;
    let of_target = |target: usize| -> f64 {
        let column = || {
            values
                .iter()
                .skip(target)
                .step_by(width)
                .map(|&v| f64::from(v))
        };
        let mean = column().sum::<f64>() / examples;
        column().map(|v| (v - mean) * (v - mean)).sum::<f64>() / examples
    };
    (0..width).map(of_target).sum::<f64>() / width.max(1) as f64
}

/// The mean training loss of a model that knows nothing but how often what occurs.
pub fn loss_of_ignorance(data: &EncodedDataset, num_labels: usize) -> f64 {
    match &data.targets {
        Targets::Classes(_) => (num_labels as f64).ln(),
        Targets::Labels(_) => std::f64::consts::LN_2,
        Targets::Values { values, width } => variance(values, *width),
    }
}

/// Of how the training loss goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct LossWatch {
    lowest: Option<f64>,
    has_told: bool,
}

impl LossWatch {
    /// An epoch ended with that mean loss: whether it is to be told that the loss rises.
    pub fn rises(&mut self, mean: f64, ignorance: f64) -> bool {
        // Where all targets are the same, any loss is more than that of who knows nothing else.
        if ignorance <= 0.0 {
            return false;
        }
        let lowest = self.lowest.unwrap_or(mean);
        // A low loss may double by chance. The first epoch has the loss of initial values in it.
        let rises = (mean > 2.0 * lowest && mean > ignorance)
            || (self.lowest.is_some() && mean > 1.5 * ignorance);
        self.lowest = Some(lowest.min(mean));
        let tells = rises && !self.has_told;
        self.has_told |= rises;
        tells
    }
}

/// Tells that the loss rises.
pub fn of_rising_loss(epoch: u32, mean: f64, learning_rate: f64) {
    log::warning(|| {
        format!(
            "The training loss is {mean:.4} in epoch {epoch}, worse than guessing or than before: it diverges. Train \
             with a lower learning_rate (now {learning_rate})."
        )
    });
}

/// Of a run whose best evaluation is its last one, with `best` as the metric that decides.
pub fn of_last_best(decides: Metric, best: f64, evaluations: u64) {
    // Nothing is better than all right.
    if evaluations < 2 || best == decides.perfect() {
        return;
    }
    log::warning(|| {
        "The best evaluation was the last one: with more epochs the model may become better.".into()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_rises_is_told_once() {
        let ln2 = std::f64::consts::LN_2;
        let told = |losses: &[f64]| -> Vec<bool> {
            let mut watch = LossWatch::default();
            losses.iter().map(|&loss| watch.rises(loss, ln2)).collect()
        };
        assert_eq!(told(&[0.7, 0.5, 0.3, 0.35]), [false; 4]);
        assert_eq!(told(&[0.001, 0.003, 0.002]), [false; 3]);
        assert_eq!(told(&[1.17, 35.0, 19.0]), [false, true, false]);
        assert_eq!(told(&[0.3, 0.72, 0.9]), [false, true, false]);
        // The first epoch of a model whose head answered otherwise before.
        assert_eq!(told(&[2.0, 0.6]), [false, false]);
    }

    #[test]
    fn the_variance_is_of_each_target_by_itself() {
        assert_eq!(variance(&[0.0, 100.0, 2.0, 104.0], 2), (1.0 + 4.0) / 2.0);
        assert_eq!(variance(&[3.0], 1), 0.0);
    }
}
