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
use crate::model::{BertConfig, Frozen, Model, ParameterTable};
use crate::ops::Precision;
use crate::problem::ProblemType;
use crate::setting::Setting;

/// What decides which of two evaluations is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The mean loss; lower is better.
    Loss,
    /// The share of right answers; of multi-label examples, of those with all labels right and no other.
    Accuracy,
    /// F1, averaged over the classes that occur or over the labels.
    F1Macro,
    /// F1, averaged over the classes or labels by their examples.
    F1Weighted,
    /// Matthews correlation (single-label).
    Matthews,
    /// F1 of all decisions counted together (single-label: the accuracy).
    F1Micro,
    /// The mean squared error (regression); lower is better.
    Mse,
    /// Pearson's correlation (regression).
    Pearson,
    /// Spearman's correlation (regression).
    Spearman,
}

impl Metric {
    /// The one that decides where none is chosen.
    pub fn default_for(problem: ProblemType) -> Metric {
        match problem {
            ProblemType::SingleLabel => Metric::Accuracy,
            ProblemType::MultiLabel => Metric::F1Micro,
            ProblemType::Regression => Metric::Mse,
        }
    }

    /// Whether evaluations of that problem have it.
    pub fn fits(self, problem: ProblemType) -> bool {
        match self {
            Metric::Loss => true,
            Metric::Matthews => problem == ProblemType::SingleLabel,
            Metric::Accuracy | Metric::F1Micro | Metric::F1Macro | Metric::F1Weighted => {
                problem != ProblemType::Regression
            }
            Metric::Mse | Metric::Pearson | Metric::Spearman => problem == ProblemType::Regression,
        }
    }

    /// Its name in messages.
    fn name(self) -> &'static str {
        match self {
            Metric::Loss => "the loss",
            Metric::Accuracy => "the accuracy",
            Metric::F1Macro => "the macro F1",
            Metric::F1Weighted => "the weighted F1",
            Metric::Matthews => "the Matthews correlation",
            Metric::F1Micro => "the micro F1",
            Metric::Mse => "the mean squared error",
            Metric::Pearson => "Pearson's correlation",
            Metric::Spearman => "Spearman's correlation",
        }
    }

    /// This metric of an evaluation; NaN where the problem doesn't have it.
    pub fn of(self, evaluation: &Evaluation) -> f64 {
        let scores = evaluation.metrics.scores();
        match self {
            Metric::Loss => evaluation.loss,
            Metric::Accuracy => scores.accuracy,
            Metric::F1Macro => scores.f1_macro,
            Metric::F1Weighted => scores.f1_weighted,
            Metric::Matthews => scores.matthews,
            Metric::F1Micro => scores.f1_micro,
            Metric::Mse => scores.mse,
            Metric::Pearson => scores.pearson,
            Metric::Spearman => scores.spearman,
        }
    }

    /// The best that it can be.
    pub fn perfect(self) -> f64 {
        match self {
            Metric::Loss | Metric::Mse => 0.0,
            _ => 1.0,
        }
    }

    /// Whether `new` is better than `old`.
    pub fn is_better(self, new: f64, old: f64) -> bool {
        match self {
            Metric::Loss | Metric::Mse => new < old,
            _ => new > old,
        }
    }
}

/// Times through the data.
pub const EPOCHS: Setting<u32> = Setting::new("epochs", 30, 1, 1_000_000);
/// Examples of one batch.
pub const BATCH_SIZE: Setting<usize> = Setting::new("batch_size", 16, 1, 1_000_000);
/// Batches of one step.
pub const GRADIENT_ACCUMULATION_STEPS: Setting<usize> =
    Setting::new("gradient_accumulation_steps", 1, 1, 1_000_000);
/// The highest learning rate.
pub const LEARNING_RATE: Setting<f64> = Setting::new("learning_rate", 1e-3, 0.0, 10.0);
/// AdamW's decay of the first moment.
pub const ADAM_BETA1: Setting<f64> = Setting::new("adam_beta1", 0.9, 0.0, 0.999_999);
/// AdamW's decay of the second moment.
pub const ADAM_BETA2: Setting<f64> = Setting::new("adam_beta2", 0.999, 0.0, 0.999_999_9);
/// AdamW's epsilon.
pub const ADAM_EPSILON: Setting<f64> = Setting::new("adam_epsilon", 1e-8, 1e-30, 1.0);
/// AdamW's weight decay.
pub const WEIGHT_DECAY: Setting<f64> = Setting::new("weight_decay", 0.01, 0.0, 10.0);
/// The head's highest learning rate; 0: the others' too.
pub const HEAD_LEARNING_RATE: Setting<f64> = Setting::new("head_learning_rate", 0.0, 0.0, 10.0);
/// The factor from one block's learning rate to that of the block below.
pub const LAYER_LEARNING_RATE_DECAY: Setting<f64> =
    Setting::new("layer_learning_rate_decay", 1.0, 0.0, 1.0);
/// The share of each target that is spread over all classes.
pub const LABEL_SMOOTHING: Setting<f64> = Setting::new("label_smoothing", 0.0, 0.0, 1.0);
/// The norm that gradients are scaled down to; 0: they aren't.
pub const MAX_GRAD_NORM: Setting<f64> = Setting::new("max_grad_norm", 1.0, 0.0, 1e30);
/// The share of all steps that is warm-up.
pub const WARMUP_RATIO: Setting<f64> = Setting::new("warmup_ratio", 0.1, 0.0, 1.0);
/// The probability from which on a label counts as predicted; -1: the model's own thresholds.
pub const THRESHOLD: Setting<f64> = Setting::new("threshold", -1.0, -1.0, 1.0);

/// What an option `threshold` asks for; `None`: the model's own thresholds.
pub fn threshold(value: f64) -> Result<Option<f64>> {
    match value {
        -1.0 => Ok(None),
        value if (0.0..=1.0).contains(&value) => Ok(Some(value)),
        value => Err(Error::InvalidArgument(format!(
            "threshold is {value}; it must be between 0 and 1, or -1 for the model's own thresholds."
        ))
        .of_argument("threshold")),
    }
}

/// The options of a [`Trainer`](super::Trainer). The defaults train a small model from nothing; for a pretrained one
/// take the numbers of [`Asked::suited_to`](super::automatic::Asked::suited_to).
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
    /// The training loss's class weights and label smoothing (single-label).
    pub cross_entropy: CrossEntropy,
    /// Gradients are scaled down to this global norm; 0 turns that off.
    pub max_grad_norm: f64,
    /// Whether regression targets are measured by the training data's mean and deviation while the run computes, as
    /// [`target_scale`](super::target_scale) has it.
    pub scale_targets: bool,
    /// What the blocks' products are computed in on the CPU. Weights, gradients, moments, norms, softmax, loss and all that
    /// is added up stay float32, and so do evaluations.
    pub precision: Precision,
    /// Whether the backward pass computes each block's inside again instead of keeping it: a third more work, and memory
    /// that grows with the tokens of a batch by a fraction of what it does otherwise. The numbers are the same.
    pub gradient_checkpointing: bool,
    /// The learning rate's course.
    pub schedule: ScheduleKind,
    /// Steps of warm-up; where 0, `warmup_ratio` decides.
    pub warmup_steps: u64,
    /// Share of all steps that is warm-up, rounded up; at least one step comes after it.
    pub warmup_ratio: f64,
    /// Whether batches hold examples of similar length.
    pub group_by_length: bool,
    /// In [`Trainer::train`](super::Trainer::train): evaluate every so many steps too; 0 only after each epoch.
    pub eval_steps: u64,
    /// Which evaluation is the best; `None` takes [`Metric::default_for`] the model's problem.
    pub metric: Option<Metric>,
    /// The probability from which on a label counts as predicted, in evaluations and in the training accuracy
    /// (multi-label); `None`: the model's own thresholds.
    pub threshold: Option<f64>,
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
            epochs: EPOCHS.default,
            batch_size: BATCH_SIZE.default,
            gradient_accumulation_steps: GRADIENT_ACCUMULATION_STEPS.default,
            max_length: 0,
            learning_rate: LEARNING_RATE.default,
            adamw: AdamWOptions {
                beta1: ADAM_BETA1.default,
                beta2: ADAM_BETA2.default,
                epsilon: ADAM_EPSILON.default,
            },
            weight_decay: WEIGHT_DECAY.default,
            head_learning_rate: HEAD_LEARNING_RATE.default,
            layer_learning_rate_decay: LAYER_LEARNING_RATE_DECAY.default,
            frozen: Frozen::default(),
            cross_entropy: CrossEntropy::default(),
            max_grad_norm: MAX_GRAD_NORM.default,
            scale_targets: true,
            precision: Precision::Float32,
            gradient_checkpointing: false,
            schedule: ScheduleKind::Linear,
            warmup_steps: 0,
            warmup_ratio: WARMUP_RATIO.default,
            group_by_length: true,
            eval_steps: 0,
            metric: None,
            threshold: None,
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
        EPOCHS.check(self.epochs)?;
        BATCH_SIZE.check(self.batch_size)?;
        GRADIENT_ACCUMULATION_STEPS.check(self.gradient_accumulation_steps)?;
        for (setting, value) in [
            (LEARNING_RATE, self.learning_rate),
            (ADAM_BETA1, self.adamw.beta1),
            (ADAM_BETA2, self.adamw.beta2),
            (ADAM_EPSILON, self.adamw.epsilon),
            (WEIGHT_DECAY, self.weight_decay),
            (HEAD_LEARNING_RATE, self.head_learning_rate),
            (LAYER_LEARNING_RATE_DECAY, self.layer_learning_rate_decay),
            (LABEL_SMOOTHING, self.cross_entropy.label_smoothing),
            (MAX_GRAD_NORM, self.max_grad_norm),
            (WARMUP_RATIO, self.warmup_ratio),
        ] {
            setting.check(value)?;
        }
        if let Some(value) = self.threshold {
            threshold(value)?;
        }
        match &self.checkpoints {
            Some(checkpoints) => checkpoints.validate(),
            None => Ok(()),
        }
    }

    /// What can only be said of the model that is to be trained.
    pub fn validate_for(&self, config: &BertConfig) -> Result<()> {
        let problem = config.problem_type;
        if let Some(metric) = self.metric
            && !metric.fits(problem)
        {
            return Err(Error::InvalidArgument(format!(
                "The metric is {}, which {problem} doesn't have; choose another, or none for its default.",
                metric.name()
            )));
        }
        let weights = &self.cross_entropy.class_weights;
        if problem != ProblemType::SingleLabel {
            for (name, is_set) in [
                ("class_weights are", !weights.is_empty()),
                (
                    "label_smoothing is",
                    self.cross_entropy.label_smoothing > 0.0,
                ),
            ] {
                if is_set {
                    return Err(Error::InvalidArgument(format!(
                        "{name} for single-label classification; this model's problem is {problem}."
                    )));
                }
            }
        }
        if !weights.is_empty() && weights.len() != config.num_labels {
            return Err(Error::InvalidArgument(format!(
                "There are {} class_weights; this model has {} classes.",
                weights.len(),
                config.num_labels
            ))
            .of_argument("class_weights"));
        }
        if let Some(index) = weights.iter().position(|w| !(*w > 0.0 && *w <= 1e6)) {
            return Err(Error::InvalidArgument(format!(
                "A class weight is {}; it must be above 0 and at most 1000000.",
                weights[index]
            ))
            .of_argument("class_weights")
            .at_index(index));
        }
        if self.frozen.layers > config.num_hidden_layers {
            return Err(Error::InvalidArgument(format!(
                "freeze_layers is {}; this model has {} layers.",
                self.frozen.layers, config.num_hidden_layers
            ))
            .of_argument("freeze_layers"));
        }
        Ok(())
    }

    /// What decides which evaluation is the best.
    pub fn metric_for(&self, problem: ProblemType) -> Metric {
        self.metric.unwrap_or(Metric::default_for(problem))
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
    /// `thresholds` are those that it evaluates with.
    pub fn plan(
        &self,
        model: &Model,
        thresholds: &[f64],
        total_steps: u64,
    ) -> BTreeMap<String, String> {
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
            scale_targets,
            precision,
            // It changes no number.
            gradient_checkpointing: _,
            schedule,
            warmup_steps: _,
            warmup_ratio: _,
            group_by_length,
            eval_steps,
            metric: _,
            threshold: _,
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
            classifier_dropout: _,
            layer_norm_eps,
            pad_token_id,
            pooling,
            problem_type,
            // The others are in the shapes of the parameters.
            ..
        } = &model.config;
        let warmup_steps = self.schedule(total_steps).warmup_steps;
        let classifier_dropout = model.config.classifier_dropout();
        // One number where all are the same.
        let threshold: &dyn std::fmt::Debug = match thresholds {
            [first, rest @ ..] if rest.iter().all(|other| other == first) => first,
            _ => &thresholds,
        };
        let plan: [(&str, &dyn std::fmt::Debug); 36] = [
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
            ("precision", precision),
            ("schedule", schedule),
            ("warmup_steps", &warmup_steps),
            ("group_by_length", group_by_length),
            ("eval_steps", eval_steps),
            ("metric", &self.metric_for(*problem_type)),
            ("threshold", threshold),
            ("restore_best", restore_best),
            ("early_stopping_patience", early_stopping_patience),
            ("lora", &model.table.lora),
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
            ("problem_type", problem_type),
        ];
        // Of classes and labels there is nothing to scale.
        let scale = ("scale_targets", scale_targets as &dyn std::fmt::Debug);
        let scale = (*problem_type == ProblemType::Regression).then_some(scale);
        plan.into_iter()
            .chain(scale)
            .map(|(name, value)| (name.to_owned(), format!("{value:?}")))
            .collect()
    }

    /// The schedule of a plan of `total_steps`.
    pub fn schedule(&self, total_steps: u64) -> Schedule {
        let warmup_steps = if self.warmup_steps > 0 {
            self.warmup_steps
        } else {
            let share = (total_steps as f64 * self.warmup_ratio).ceil() as u64;
            // A plan of one step would have the rate 0 otherwise, and train nothing.
            share.min(total_steps.saturating_sub(1))
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
    fn options_fit_the_problem() {
        let config = |problem_type| BertConfig {
            problem_type,
            ..BertConfig::default()
        };
        let default = TrainOptions::default();
        for problem in ProblemType::ALL {
            assert_eq!(default.validate_for(&config(problem)), Ok(()));
            assert!(default.metric_for(problem).fits(problem));
        }
        let wrong = |problem, change: fn(&mut TrainOptions)| {
            let mut options = TrainOptions::default();
            change(&mut options);
            assert_eq!(options.validate(), Ok(()));
            options
                .validate_for(&config(problem))
                .unwrap_err()
                .message()
                .to_string()
        };
        let (multi, regression) = (ProblemType::MultiLabel, ProblemType::Regression);
        assert_eq!(
            wrong(regression, |o| o.metric = Some(Metric::Accuracy)),
            "The metric is the accuracy, which regression doesn't have; choose another, or none for its default."
        );
        assert!(wrong(multi, |o| o.metric = Some(Metric::Matthews)).contains("Matthews"));
        assert!(
            wrong(ProblemType::SingleLabel, |o| o.metric = Some(Metric::Mse))
                .contains("mean squared")
        );
        assert!(
            wrong(multi, |o| o.cross_entropy.label_smoothing = 0.1)
                .contains("label_smoothing is for")
        );
        let weights = |o: &mut TrainOptions| o.cross_entropy.class_weights = vec![1.0, 2.0];
        assert!(wrong(regression, weights).contains("class_weights are for"));
        let beyond = TrainOptions {
            threshold: Some(1.5),
            ..TrainOptions::default()
        };
        assert!(
            beyond
                .validate()
                .unwrap_err()
                .message()
                .contains("threshold is 1.5")
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
        // One step is a step with a rate.
        assert_eq!(options.schedule(1).warmup_steps, 0);
        assert_eq!(options.schedule(2).warmup_steps, 1);
        options.warmup_ratio = 1.0;
        assert_eq!(options.schedule(41).warmup_steps, 40);
        options.warmup_steps = 3;
        assert_eq!(options.schedule(41).warmup_steps, 3);
    }
}
