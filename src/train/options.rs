//! What a training run is asked to do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::checkpoint_folder::CheckpointOptions;
use super::evaluate::Evaluation;
use super::loss::CrossEntropy;
use super::optimizer::{AdamWOptions, Group};
use super::schedule::{Schedule, ScheduleKind};
use crate::error::{Error, Result};
use crate::model::parameters::Part;
use crate::model::{BertConfig, Frozen, ParameterTable};

/// What decides which of two evaluations is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The mean loss; lower is better.
    Loss,
    /// The share of right answers.
    Accuracy,
    /// F1, averaged over the classes.
    F1Macro,
    /// F1, averaged over the examples.
    F1Weighted,
    /// Matthews correlation.
    Matthews,
}

impl Metric {
    /// This metric of an evaluation.
    pub fn of(self, evaluation: &Evaluation) -> f64 {
        match self {
            Metric::Loss => evaluation.loss,
            Metric::Accuracy => evaluation.metrics.accuracy,
            Metric::F1Macro => evaluation.metrics.f1_macro,
            Metric::F1Weighted => evaluation.metrics.f1_weighted,
            Metric::Matthews => evaluation.metrics.matthews,
        }
    }

    /// Whether `new` is better than `old`.
    pub fn is_better(self, new: f64, old: f64) -> bool {
        match self {
            Metric::Loss => new < old,
            _ => new > old,
        }
    }
}

/// The options of a [`Trainer`](super::Trainer). The defaults train a small model from nothing; to fine-tune a
/// pretrained one take `learning_rate` 2e-5 to 5e-5 and `epochs` 2 to 4.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Decides the order of the examples and the dropouts.
    pub seed: u64,
    /// Times through the data in the whole plan; the schedule's length follows from it.
    pub epochs: u32,
    /// Examples of one batch.
    pub batch_size: usize,
    /// Batches whose gradients make one step.
    pub gradient_accumulation_steps: usize,
    /// Longest sequence in tokens; 0 takes what the model allows.
    pub max_length: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// The update's constants.
    pub adamw: AdamWOptions,
    /// AdamW's weight decay; biases and layer norms are spared.
    pub weight_decay: f64,
    /// Highest learning rate of the pooler and the classifier; 0: the others' too.
    pub head_learning_rate: f64,
    /// Each block's learning rate is that of the block above times this, the last block's the head's; the embeddings'
    /// come below the first (Clark et al., "ELECTRA", 2020). 1: all the same.
    pub layer_learning_rate_decay: f64,
    /// What stays as it is.
    pub frozen: Frozen,
    /// The training loss's class weights and label smoothing.
    pub cross_entropy: CrossEntropy,
    /// Gradients are scaled down to this global norm; 0 turns that off.
    pub max_grad_norm: f64,
    /// The learning rate's course.
    pub schedule: ScheduleKind,
    /// Steps of warm-up; where 0, `warmup_ratio` decides.
    pub warmup_steps: u64,
    /// Share of all steps that is warm-up, rounded up.
    pub warmup_ratio: f64,
    /// Whether batches hold examples of similar length.
    pub group_by_length: bool,
    /// In [`Trainer::train`](super::Trainer::train): evaluate every so many steps too; 0 only after each epoch.
    pub eval_steps: u64,
    /// Which evaluation is the best.
    pub metric: Metric,
    /// Whether `train` ends with the best evaluation's weights instead of the last step's.
    pub restore_best: bool,
    /// `train` ends after so many evaluations in a row that were no better than the best; 0 never.
    pub early_stopping_patience: u32,
    /// `train` saves the model here whenever an evaluation is the best so far.
    pub best_model_path: Option<PathBuf>,
    /// A file that gets a line of JSON for each step and each evaluation; what it held before is replaced.
    pub history_path: Option<PathBuf>,
    /// Where and when `train` makes checkpoints, and from where it takes up an interrupted run.
    pub checkpoints: Option<CheckpointOptions>,
}

impl Default for TrainOptions {
    fn default() -> TrainOptions {
        TrainOptions {
            seed: 42,
            epochs: 30,
            batch_size: 16,
            gradient_accumulation_steps: 1,
            max_length: 0,
            learning_rate: 1e-3,
            adamw: AdamWOptions {
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
            },
            weight_decay: 0.01,
            head_learning_rate: 0.0,
            layer_learning_rate_decay: 1.0,
            frozen: Frozen::default(),
            cross_entropy: CrossEntropy::default(),
            max_grad_norm: 1.0,
            schedule: ScheduleKind::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.1,
            group_by_length: true,
            eval_steps: 0,
            metric: Metric::Accuracy,
            restore_best: true,
            early_stopping_patience: 0,
            best_model_path: None,
            history_path: None,
            checkpoints: None,
        }
    }
}

impl TrainOptions {
    /// Says which option can't be used, and what would be right.
    pub fn validate(&self) -> Result<()> {
        let whole = [
            ("epochs", u64::from(self.epochs), 1, 1_000_000),
            ("batch_size", self.batch_size as u64, 1, 1_000_000),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps as u64,
                1,
                1_000_000,
            ),
        ];
        let keep = self.checkpoints.iter().map(|c| c.keep as u64);
        let keep = keep.map(|keep| ("checkpoint_keep", keep, 1, 1_000_000));
        for (name, value, least, most) in whole.into_iter().chain(keep) {
            if !(least..=most).contains(&value) {
                return Err(Error::InvalidArgument(format!(
                    "{name} is {value}; it must be between {least} and {most}."
                )));
            }
        }
        let reals = [
            ("learning_rate", self.learning_rate, 0.0, 10.0),
            ("adam_beta1", self.adamw.beta1, 0.0, 0.999_999),
            ("adam_beta2", self.adamw.beta2, 0.0, 0.999_999_9),
            ("adam_epsilon", self.adamw.epsilon, 1e-30, 1.0),
            ("weight_decay", self.weight_decay, 0.0, 10.0),
            ("head_learning_rate", self.head_learning_rate, 0.0, 10.0),
            (
                "layer_learning_rate_decay",
                self.layer_learning_rate_decay,
                0.0,
                1.0,
            ),
            (
                "label_smoothing",
                self.cross_entropy.label_smoothing,
                0.0,
                1.0,
            ),
            ("max_grad_norm", self.max_grad_norm, 0.0, 1e30),
            ("warmup_ratio", self.warmup_ratio, 0.0, 1.0),
        ];
        let minutes = self.checkpoints.iter().map(|c| c.minutes);
        let minutes = minutes.map(|minutes| ("checkpoint_minutes", minutes, 0.0, 1e6));
        for (name, value, least, most) in reals.into_iter().chain(minutes) {
            // NaN is in no range.
            if !(least..=most).contains(&value) {
                return Err(Error::InvalidArgument(format!(
                    "{name} is {value}; it must be between {least} and {most}."
                )));
            }
        }
        Ok(())
    }

    /// What can only be said of the model that is to be trained.
    pub fn validate_for(&self, config: &BertConfig) -> Result<()> {
        let weights = &self.cross_entropy.class_weights;
        if !weights.is_empty() && weights.len() != config.num_labels {
            return Err(Error::InvalidArgument(format!(
                "There are {} class_weights; this model has {} classes.",
                weights.len(),
                config.num_labels
            )));
        }
        if let Some(weight) = weights.iter().find(|w| !(**w > 0.0 && **w <= 1e6)) {
            return Err(Error::InvalidArgument(format!(
                "A class weight is {weight}; it must be above 0 and at most 1000000."
            )));
        }
        if self.frozen.layers > config.num_hidden_layers {
            return Err(Error::InvalidArgument(format!(
                "freeze_layers is {}; this model has {} layers.",
                self.frozen.layers, config.num_hidden_layers
            )));
        }
        Ok(())
    }

    /// How each parameter is trained.
    pub fn groups(&self, table: &ParameterTable) -> Vec<Group> {
        let layers = table.layers.len();
        let decay = |below: usize| self.layer_learning_rate_decay.powi(below as i32);
        let head = match self.head_learning_rate {
            rate if rate > 0.0 && self.learning_rate > 0.0 => rate / self.learning_rate,
            _ => 1.0,
        };
        let mut groups = Group::plain(table, self.weight_decay);
        for (index, group) in groups.iter_mut().enumerate() {
            group.is_frozen = table.is_frozen(index, self.frozen);
            group.rate_factor = match table.part(index) {
                Part::Embeddings => decay(layers + 1),
                Part::Layer(number) => decay(layers - number),
                Part::FinalNorm => 1.0,
                Part::Head => head,
            };
        }
        groups
    }

    /// What of the options and of the model decides the numbers that a run computes, by name, as text.
    pub fn plan(&self, config: &BertConfig, total_steps: u64) -> BTreeMap<String, String> {
        // Every field is named, so that a new one isn't forgotten.
        let TrainOptions {
            seed,
            epochs,
            batch_size,
            gradient_accumulation_steps,
            max_length,
            learning_rate,
            adamw:
                AdamWOptions {
                    beta1,
                    beta2,
                    epsilon,
                },
            weight_decay,
            head_learning_rate,
            layer_learning_rate_decay,
            frozen: Frozen { embeddings, layers },
            cross_entropy:
                CrossEntropy {
                    class_weights,
                    label_smoothing,
                },
            max_grad_norm,
            schedule,
            warmup_steps: _,
            warmup_ratio: _,
            group_by_length,
            eval_steps,
            metric,
            restore_best,
            early_stopping_patience,
            best_model_path: _,
            history_path: _,
            checkpoints: _,
        } = self;
        let BertConfig {
            num_attention_heads,
            hidden_act,
            hidden_dropout_prob,
            attention_probs_dropout_prob,
            classifier_dropout,
            layer_norm_eps,
            pad_token_id,
            pooling,
            // The others are in the shapes of the parameters.
            ..
        } = config;
        let warmup_steps = self.schedule(total_steps).warmup_steps;
        let classifier_dropout = classifier_dropout.unwrap_or(*hidden_dropout_prob);
        let plan: [(&str, &dyn std::fmt::Debug); 32] = [
            ("seed", seed),
            ("epochs", epochs),
            ("total_steps", &total_steps),
            ("batch_size", batch_size),
            ("gradient_accumulation_steps", gradient_accumulation_steps),
            ("max_length", max_length),
            ("learning_rate", learning_rate),
            ("adam_beta1", beta1),
            ("adam_beta2", beta2),
            ("adam_epsilon", epsilon),
            ("weight_decay", weight_decay),
            ("head_learning_rate", head_learning_rate),
            ("layer_learning_rate_decay", layer_learning_rate_decay),
            ("freeze_embeddings", embeddings),
            ("freeze_layers", layers),
            ("class_weights", class_weights),
            ("label_smoothing", label_smoothing),
            ("max_grad_norm", max_grad_norm),
            ("schedule", schedule),
            ("warmup_steps", &warmup_steps),
            ("group_by_length", group_by_length),
            ("eval_steps", eval_steps),
            ("metric", metric),
            ("restore_best", restore_best),
            ("early_stopping_patience", early_stopping_patience),
            ("num_attention_heads", num_attention_heads),
            ("hidden_act", hidden_act),
            (
                "dropout",
                &(hidden_dropout_prob, attention_probs_dropout_prob),
            ),
            ("classifier_dropout", &classifier_dropout),
            ("layer_norm_eps", layer_norm_eps),
            ("pad_token_id", pad_token_id),
            ("pooling", pooling),
        ];
        plan.into_iter()
            .map(|(name, value)| (name.to_owned(), format!("{value:?}")))
            .collect()
    }

    /// The schedule of a plan of `total_steps`.
    pub fn schedule(&self, total_steps: u64) -> Schedule {
        let warmup_steps = if self.warmup_steps > 0 {
            self.warmup_steps
        } else {
            (total_steps as f64 * self.warmup_ratio).ceil() as u64
        };
        Schedule {
            kind: self.schedule,
            warmup_steps,
            total_steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        assert_eq!(TrainOptions::default().validate(), Ok(()));
        let nan = TrainOptions {
            learning_rate: f64::NAN,
            ..TrainOptions::default()
        };
        let error = nan.validate().unwrap_err();
        assert!(error.message().contains("learning_rate is NaN"), "{error}");
        let none = TrainOptions {
            epochs: 0,
            ..TrainOptions::default()
        };
        assert!(
            none.validate()
                .unwrap_err()
                .message()
                .contains("epochs is 0")
        );
    }

    #[test]
    fn rates_fall_from_the_head_to_the_embeddings() {
        let table = ParameterTable::new(&BertConfig {
            num_hidden_layers: 2,
            ..BertConfig::default()
        });
        let options = TrainOptions {
            learning_rate: 1e-4,
            head_learning_rate: 1e-3,
            layer_learning_rate_decay: 0.5,
            ..TrainOptions::default()
        };
        let groups = options.groups(&table);
        let factor = |index: usize| groups[index].rate_factor;
        assert!((factor(table.classifier.weight) - 10.0).abs() < 1e-12);
        assert_eq!(factor(table.layers[1].query.weight), 0.5);
        assert_eq!(factor(table.layers[0].query.weight), 0.25);
        assert_eq!(factor(table.embeddings.word), 0.125);
        assert_eq!(groups[table.layers[0].query.bias].weight_decay, 0.0);
        assert_eq!(groups[table.layers[0].query.weight].weight_decay, 0.01);
    }

    #[test]
    fn the_warmup_ratio_rounds_up_and_steps_win() {
        let mut options = TrainOptions::default();
        assert_eq!(options.schedule(41).warmup_steps, 5);
        options.warmup_steps = 3;
        assert_eq!(options.schedule(41).warmup_steps, 3);
    }
}
