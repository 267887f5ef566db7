//! Training and evaluation.

use std::ffi::c_void;
use std::sync::{Arc, RwLock};

use super::arguments::{self, array, choice, flag, optional_path, output, result, size, steps};
use super::boundary::{call, free, outside};
use super::dataset::copy_of;
use super::fields::{
    any, automatic, constant, count, long_count, pointer, ranged, reserved, setting, written,
    zero_or_one,
};
use super::handles::{self, Object, TrainerHandle, bert_dataset, bert_model, bert_trainer};
use super::predict::{
    BERT_COMBINE_MEAN_LOGITS, BERT_COMBINE_MOST_CONFIDENT, BERT_LONG_TEXT_TRUNCATE,
    BERT_LONG_TEXT_WINDOWS, INFERENCE_PRECISIONS, bert_combine, bert_long_text, long_text,
};
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Scores};
use crate::model::Frozen;
use crate::ops::Precision;
use crate::predict::PredictOptions;
use crate::problem::ProblemType;
use crate::train::checkpoint_folder::{CHECKPOINT_KEEP, CHECKPOINT_MINUTES};
use crate::train::loss::CrossEntropy;
use crate::train::optimizer::AdamWOptions;
use crate::train::options::*;
use crate::train::warnings::{of_cut_texts, of_evaluation};
use crate::train::{
    Asked, CheckpointOptions, EpochReport, Event, Metric, Progress, ScheduleKind, StepReport,
    StopReason, TrainOptions, TrainReport, Trainer, evaluate_texts,
};

/// The course of the learning rate after the warm-up.
pub type bert_schedule = i32;

/// Keeps the learning rate at its highest value after the warm-up.
pub const BERT_SCHEDULE_CONSTANT: bert_schedule = 0;
/// Reduces the learning rate to 0 in a straight line after the warm-up.
pub const BERT_SCHEDULE_LINEAR: bert_schedule = 1;
/// Reduces the learning rate to 0 along half a cosine after the warm-up.
pub const BERT_SCHEDULE_COSINE: bert_schedule = 2;

/// The number format of matrix products.
pub type bert_precision = i32;

/// Matrix products of float32 numbers.
pub const BERT_PRECISION_FLOAT32: bert_precision = 0;
/// Matrix products of numbers that are rounded to bfloat16, with float32 sums. bfloat16 has the range of float32 and
/// 8 significant bits. A GPU also stores the states between the products in bfloat16. In predictions this changes the
/// third digit of the logits.
pub const BERT_PRECISION_BFLOAT16: bert_precision = 1;
/// Matrix products of numbers that are rounded to float16 (IEEE 754 binary16), with float32 sums. Use it for
/// predictions, vectors and evaluations on a GPU. It isn't possible in training, because gradients can be too small
/// and too large for float16. float16 has 11 significant bits; in predictions on a GPU this changes the fourth digit
/// of the logits. The largest float16 number is 65504. If the states of a model are larger, the call returns
/// BERT_ERR_NOT_FINITE; use bfloat16 or float32 for such a model.
pub const BERT_PRECISION_FLOAT16: bert_precision = 2;

/// What training is computed in: each constant with what it is called inside.
const PRECISIONS: [(i32, Precision); 2] = [
    (BERT_PRECISION_FLOAT32, Precision::Float32),
    (BERT_PRECISION_BFLOAT16, Precision::BFloat16),
];

/// The metric that selects the best evaluation.
pub type bert_metric = i32;

/// Uses BERT_METRIC_ACCURACY for single-label classification, BERT_METRIC_F1_MICRO for multi-label classification,
/// and BERT_METRIC_MSE for regression.
pub const BERT_METRIC_AUTO: bert_metric = -1;
/// Selects the evaluation with the lowest loss.
pub const BERT_METRIC_LOSS: bert_metric = 0;
/// Selects the evaluation with the highest accuracy. For multi-label classification the accuracy is the share of
/// examples for which exactly the right labels are predicted. Not for regression.
pub const BERT_METRIC_ACCURACY: bert_metric = 1;
/// Selects the evaluation with the highest macro F1, as f1_macro of bert_evaluation. Not for regression.
pub const BERT_METRIC_F1_MACRO: bert_metric = 2;
/// Selects the evaluation with the highest weighted F1. Weighted F1 is the mean of the F1 of all classes or labels,
/// weighted by their numbers of examples. Not for regression.
pub const BERT_METRIC_F1_WEIGHTED: bert_metric = 3;
/// Selects the evaluation with the highest Matthews correlation. For single-label classification only.
pub const BERT_METRIC_MATTHEWS: bert_metric = 4;
/// Selects the evaluation with the highest micro F1. Micro F1 is the F1 of all decisions counted together; for
/// single-label classification it equals the accuracy. Not for regression.
pub const BERT_METRIC_F1_MICRO: bert_metric = 5;
/// Selects the evaluation with the lowest mean squared error. For regression only.
pub const BERT_METRIC_MSE: bert_metric = 6;
/// Selects the evaluation with the highest Pearson correlation. For regression only.
pub const BERT_METRIC_PEARSON: bert_metric = 7;
/// Selects the evaluation with the highest Spearman correlation. For regression only.
pub const BERT_METRIC_SPEARMAN: bert_metric = 8;

/// The event that a progress callback reports.
pub type bert_event = i32;

/// A completed training step.
pub const BERT_EVENT_STEP: bert_event = 0;
/// A completed evaluation on the validation data.
pub const BERT_EVENT_EVALUATION: bert_event = 1;

/// The reason why a training run ended.
pub type bert_stop_reason = i32;

/// The end of the plan: bert_train completed all planned epochs.
pub const BERT_STOP_FINISHED: bert_stop_reason = 0;
/// Early stopping: the metric didn't improve in early_stopping_patience successive evaluations.
pub const BERT_STOP_EARLY: bert_stop_reason = 1;
/// A cancellation by the progress callback, bert_trainer_cancel or bert_trainer_close. The training call returns
/// BERT_ERR_CANCELLED.
pub const BERT_STOP_CANCELLED: bert_stop_reason = 2;
/// A loss, gradient or score that is NaN or infinite. The training call returns BERT_ERR_NOT_FINITE.
pub const BERT_STOP_NOT_FINITE: bert_stop_reason = 3;
/// Another error. The training call returns its status.
pub const BERT_STOP_ERROR: bert_stop_reason = 4;

/// The state of a training run, which a progress callback receives. It belongs to the library and is valid only during
/// the callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_progress {
    /// The library's sizeof(bert_progress). Don't read fields beyond this size.
    pub struct_size: usize,
    /// The event that is reported: BERT_EVENT_STEP or BERT_EVENT_EVALUATION.
    pub event: bert_event,
    /// Number of the epoch that the last step belongs to, from 1.
    pub epoch: i32,
    /// Number of epochs in the plan.
    pub epochs: i32,
    /// Reserved for a later version. The library writes 0.
    pub reserved: i32,
    /// Number of steps done in the run.
    pub step: i64,
    /// Number of steps in the plan.
    pub total_steps: i64,
    /// Mean training loss of the last step's examples, before the update.
    pub loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Global norm of the last step's gradients, before clipping.
    pub grad_norm: f64,
    /// Number of tokens per second in the steps of the current epoch so far.
    pub tokens_per_second: f64,
    /// Mean loss on the validation data, as in bert_evaluation. NaN at BERT_EVENT_STEP.
    pub eval_loss: f64,
    /// Accuracy on the validation data, as in bert_evaluation. NaN at BERT_EVENT_STEP, and for regression.
    pub eval_accuracy: f64,
    /// Macro F1 on the validation data, as f1_macro of bert_evaluation. NaN at BERT_EVENT_STEP, and for regression.
    pub eval_f1_macro: f64,
    /// Weighted F1 on the validation data. It is the mean of the F1 of all classes or labels, weighted by their numbers
    /// of examples. NaN at BERT_EVENT_STEP, and for regression.
    pub eval_f1_weighted: f64,
    /// Matthews correlation on the validation data. NaN at BERT_EVENT_STEP, and for multi-label classification and
    /// regression.
    pub eval_matthews: f64,
    /// Micro F1 on the validation data: the F1 of all decisions counted together. NaN at BERT_EVENT_STEP, and for
    /// regression.
    pub eval_f1_micro: f64,
    /// Mean squared error on the validation data. NaN at BERT_EVENT_STEP, and for classification.
    pub eval_mse: f64,
    /// Pearson correlation on the validation data. NaN at BERT_EVENT_STEP, and for classification.
    pub eval_pearson: f64,
    /// Spearman correlation on the validation data. NaN at BERT_EVENT_STEP, and for classification.
    pub eval_spearman: f64,
}

sized_struct!(bert_progress {
    event: written(),
    epoch: written(),
    epochs: written(),
    reserved: written(),
    step: written(),
    total_steps: written(),
    loss: written(),
    learning_rate: written(),
    grad_norm: written(),
    tokens_per_second: written(),
    eval_loss: written(),
    eval_accuracy: written(),
    eval_f1_macro: written(),
    eval_f1_weighted: written(),
    eval_matthews: written(),
    eval_f1_micro: written(),
    eval_mse: written(),
    eval_pearson: written(),
    eval_spearman: written(),
});

/// A function of the caller. Training calls call it after each step and each evaluation, on the thread of the training
/// call. It receives progress_user_data as `user_data`. It returns 0 to continue; any other value ends the training
/// with BERT_ERR_CANCELLED.
///
/// Inside the callback you can predict, evaluate, save and query. A training call on the same model returns
/// BERT_ERR_BUSY. bert_trainer_free takes effect when the training call returns. The callback must not throw an
/// exception and must not call longjmp.
///
/// During the callback the model has the weights of the reported step. On a GPU the next step may already be running.
/// If the callback then returns non-zero, that next step is still completed, and no callback is made for it. The next
/// step is never started early in bert_train_step, after the last step of an epoch, or before an evaluation or a
/// checkpoint.
///
/// The callback and its user data must stay valid until the trainer is freed and every training call on it has
/// returned.
pub type bert_progress_callback =
    Option<unsafe extern "C" fn(progress: *const bert_progress, user_data: *mut c_void) -> i32>;

/// The options of a training run. Initialise the struct with bert_train_options_init. It writes -1 to epochs,
/// batch_size and learning_rate: bert_trainer_create then takes the values that fit the model. The log reports them, at
/// BERT_LOG_INFO, and so does bert_train_report. Values that you set are not changed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_train_options {
    /// The caller's sizeof(bert_train_options), set by bert_train_options_init.
    pub struct_size: usize,
    /// Seed for the order of the examples and for dropout. Default 42.
    pub seed: u64,
    /// Number of epochs in the plan: how often the run uses each example. The length of the learning rate schedule
    /// follows from it. -1 takes 30 for a model from bert_create. For a model from bert_load it takes 3, or more so
    /// that the plan has at least 200 steps. -1 (automatic) or 1 to 1000000. Default -1.
    pub epochs: i32,
    /// Number of examples in a batch. -1 takes 16 for a model from bert_create, and 32 for a model from bert_load.
    /// -1 (automatic) or 1 to 1000000. Default -1.
    pub batch_size: i32,
    /// Number of batches whose gradients are combined into one step. The loss of the step is the mean over the examples
    /// of all these batches. Range 1 to 1000000. Default 1.
    pub gradient_accumulation_steps: i32,
    /// Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. Longer texts
    /// are cut. The log reports how many, at BERT_LOG_WARNING, with the lengths of the texts. The lengths 1 to 3 are
    /// refused, and lengths above the model's max_position_embeddings. At least 0. Default 0.
    pub max_length: i32,
    /// Highest learning rate, which is reached after the warm-up. -1 takes 0.001 for a model from bert_create. For a
    /// model from bert_load it takes 3e-5, with LoRA adapters 3e-4, and 0.001 if freeze_layers freezes all layers. A
    /// model that was loaded from a checkpoint of bert_trainer_save takes the epochs, batch_size and learning_rate of
    /// that run. -1 (automatic) or 0 to 10. Default -1.
    pub learning_rate: f64,
    /// Weight decay of AdamW. It isn't applied to biases and layer norms. Range 0 to 10. Default 0.01.
    pub weight_decay: f64,
    /// Decay rate of AdamW's first moment. Range 0 to 0.999999. Default 0.9.
    pub adam_beta1: f64,
    /// Decay rate of AdamW's second moment. Range 0 to 0.9999999. Default 0.999.
    pub adam_beta2: f64,
    /// AdamW's epsilon. Range 1e-30 to 1. Default 1e-8.
    pub adam_epsilon: f64,
    /// Limit for the global norm of all gradients. Gradients with a larger norm are scaled down to this norm. 0: no
    /// limit. Range 0 to 1e30. Default 1.
    pub max_grad_norm: f64,
    /// The course of the learning rate after the warm-up: BERT_SCHEDULE_CONSTANT, BERT_SCHEDULE_LINEAR or
    /// BERT_SCHEDULE_COSINE. Default BERT_SCHEDULE_LINEAR.
    pub schedule: bert_schedule,
    /// 1: each batch contains examples of similar length, which is faster; 0: the length of examples isn't considered.
    /// 0 or 1. Default 1.
    pub group_by_length: i32,
    /// Number of steps in which the learning rate rises from 0 to its highest value; 0: warmup_ratio is used.
    /// At least 0. Default 0.
    pub warmup_steps: i64,
    /// Share of all planned steps in which the learning rate rises from 0 to its highest value, rounded up to whole
    /// steps. At least one step follows them. It is used if warmup_steps is 0. Range 0 to 1. Default 0.1.
    pub warmup_ratio: f64,
    /// Number of steps between evaluations in bert_train, in addition to the evaluation after each epoch; 0: only after
    /// each epoch. At least 0. Default 0.
    pub eval_steps: i64,
    /// The metric that selects the best evaluation. Ties are resolved by the lower loss. The metric must be defined for
    /// the model's problem type. Default BERT_METRIC_AUTO.
    pub metric: bert_metric,
    /// Whether bert_train ends with the weights of the best evaluation. 1: it does, if there is validation data; 0: it
    /// ends with the weights of the last step. 0 or 1. Default 1.
    pub restore_best: i32,
    /// Number of successive evaluations without a better metric after which bert_train stops; 0: it doesn't stop early.
    /// At least 0. Default 0.
    pub early_stopping_patience: i32,
    /// Reserved for a later version. Must be 0.
    pub reserved: i32,
    /// Directory in which bert_train saves the best model; NULL: it isn't saved. It is saved as by bert_save, after
    /// each evaluation that is the best so far. The path ends with a NUL. Default NULL.
    pub best_model_path: *const std::ffi::c_char,
    /// File to which a line of JSON is written after each step and each evaluation; NULL: no file. The file is
    /// overwritten; if a run is resumed, new lines are appended. The path ends with a NUL. Default NULL.
    pub history_path: *const std::ffi::c_char,
    /// Highest learning rate of the pooler and the classifier; 0: learning_rate is used. It has no effect if
    /// learning_rate is 0. Range 0 to 10. Default 0.
    pub head_learning_rate: f64,
    /// Layer-wise learning rate decay. The top layer, the last one before the classifier, is multiplied once: with the
    /// value 0.9 and a learning_rate of 1e-4 it has 9e-5, the layer below it 8.1e-5, and so on. The embeddings count as
    /// the layer below the first. The pooler, the classifier and a final layer norm have learning_rate itself, or
    /// head_learning_rate. 1 disables the decay. Range 0 to 1. Default 1.
    pub layer_learning_rate_decay: f64,
    /// 1: the weights of the embeddings are not trained; 0: they are trained. 0 or 1. Default 0.
    pub freeze_embeddings: i32,
    /// Number of layers, counted from the input, whose weights are not trained; -1: all layers. If it isn't 0, the
    /// embeddings are not trained either. Frozen layers need no backward pass and no memory for gradients. A number
    /// above the model's num_hidden_layers is refused. At least -1. Default 0.
    pub freeze_layers: i32,
    /// Directory for checkpoints; NULL: no checkpoints. bert_train writes checkpoints here. If the directory already
    /// contains complete checkpoints of the same run, bert_train resumes from the newest one. To continue after a
    /// crash, start the program again.
    ///
    /// Each checkpoint is a directory `checkpoint-STEP`, as bert_trainer_save writes it. bert_train writes one every
    /// checkpoint_steps steps and every checkpoint_minutes minutes, or after each epoch if both options are 0. It also
    /// writes one at the end of the run and after a cancellation. The directory is created if it doesn't exist; its
    /// parent must exist. bert_train resumes only if this trainer has made no step yet. If the newest complete
    /// checkpoint was made with other options, other data or another model, bert_train returns
    /// BERT_ERR_INVALID_ARGUMENT. The path ends with a NUL. Default NULL.
    pub checkpoint_path: *const std::ffi::c_char,
    /// Number of steps between checkpoints in checkpoint_path; 0: none by the number of steps. At least 0. Default 0.
    pub checkpoint_steps: i64,
    /// Time between checkpoints in checkpoint_path, in minutes; 0: none by time. Range 0 to 1000000. Default 0.
    pub checkpoint_minutes: f64,
    /// Number of checkpoints that are kept in checkpoint_path. Older ones are deleted. Range 1 to 1000000. Default 2.
    pub checkpoint_keep: i32,
    /// Reserved for a later version. Must be 0.
    pub reserved2: i32,
    /// Weight of each class in the training loss, in the order of the class ids, shape [L]. NULL: all classes have the
    /// same weight. It is the `weight` of PyTorch's cross_entropy. Each weight must be above 0 and at most 1000000. For
    /// single-label classification only. Default NULL.
    pub class_weights: *const f64,
    /// Number of elements in class_weights: the model's number of classes, or 0 without class weights. Default 0.
    pub num_class_weights: usize,
    /// Share of each target that is spread evenly over all classes in the training loss. For single-label
    /// classification only. Range 0 to 1. Default 0.
    pub label_smoothing: f64,
    /// Probability from which a label of a multi-label model counts as predicted, from 0 to 1. It is used in
    /// evaluations during training and in the training accuracy. -1: the model's own thresholds, see
    /// bert_set_thresholds. Other negative numbers are refused. Range -1 to 1. Default -1.
    pub threshold: f64,
    /// Callback after each step and each evaluation; NULL: no callback. Default NULL.
    pub progress: bert_progress_callback,
    /// Pointer that the progress callback receives as `user_data`. Default NULL.
    pub progress_user_data: *mut c_void,
    /// Number format of the matrix products in the layers: BERT_PRECISION_FLOAT32 or BERT_PRECISION_BFLOAT16.
    /// BERT_PRECISION_FLOAT16 is refused. BERT_PRECISION_BFLOAT16 is mixed precision like PyTorch's autocast: only the
    /// layers' matrix products use bfloat16 numbers. Weights, gradients, moments, norms, softmax, loss and sums are
    /// float32. On a GPU the states between the products are bfloat16 too. On CPUs bfloat16 is about twice as fast with
    /// AMX, faster with AMD's AVX512-BF16, and as fast as float32 or slower on others. Evaluations during training
    /// always use float32, so that rounding doesn't decide which weights are the best. Default BERT_PRECISION_FLOAT32.
    pub precision: bert_precision,
    /// Whether the backward pass computes the inner values of each layer again instead of storing them. 1: it does,
    /// which takes less memory and about a third more time; 0: it doesn't. The trained weights are the same, bit for
    /// bit. 0 or 1. Default 0.
    pub gradient_checkpointing: i32,
    /// Whether regression targets are scaled during training. 1: each target is measured by its mean and its standard
    /// deviation in the training data, so that the learning rate fits targets of any size; 0: it isn't, as in
    /// transformers. Values, losses and saved weights are in the units of the targets in both cases. It has no effect
    /// on classification. 0 or 1. Default 1.
    pub scale_targets: i32,
    /// Reserved for a later version. Must be 0.
    pub reserved3: i32,
}

sized_struct!(bert_train_options, older [256], {
    seed: any(42u64),
    epochs: automatic(&EPOCHS),
    batch_size: automatic(&BATCH_SIZE),
    gradient_accumulation_steps: setting(&GRADIENT_ACCUMULATION_STEPS),
    max_length: count(),
    learning_rate: automatic(&LEARNING_RATE),
    weight_decay: setting(&WEIGHT_DECAY),
    adam_beta1: setting(&ADAM_BETA1),
    adam_beta2: setting(&ADAM_BETA2),
    adam_epsilon: setting(&ADAM_EPSILON),
    max_grad_norm: setting(&MAX_GRAD_NORM),
    schedule: constant(
        "BERT_SCHEDULE_",
        BERT_SCHEDULE_LINEAR,
        BERT_SCHEDULE_CONSTANT,
        BERT_SCHEDULE_COSINE
    ),
    group_by_length: zero_or_one(true),
    warmup_steps: long_count(),
    warmup_ratio: setting(&WARMUP_RATIO),
    eval_steps: long_count(),
    metric: constant(
        "BERT_METRIC_",
        BERT_METRIC_AUTO,
        BERT_METRIC_AUTO,
        BERT_METRIC_SPEARMAN
    ),
    restore_best: zero_or_one(true),
    early_stopping_patience: count(),
    reserved: reserved(),
    best_model_path: pointer(),
    history_path: pointer(),
    head_learning_rate: setting(&HEAD_LEARNING_RATE),
    layer_learning_rate_decay: setting(&LAYER_LEARNING_RATE_DECAY),
    freeze_embeddings: zero_or_one(false),
    freeze_layers: ranged(0, -1, i32::MAX),
    checkpoint_path: pointer(),
    checkpoint_steps: long_count(),
    checkpoint_minutes: setting(&CHECKPOINT_MINUTES),
    checkpoint_keep: setting(&CHECKPOINT_KEEP),
    reserved2: reserved(),
    class_weights: pointer(),
    num_class_weights: any(0usize),
    label_smoothing: setting(&LABEL_SMOOTHING),
    threshold: setting(&THRESHOLD),
    progress: pointer(),
    progress_user_data: pointer(),
    precision: constant(
        "BERT_PRECISION_",
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT16
    ),
    gradient_checkpointing: zero_or_one(false),
    scale_targets: zero_or_one(true),
    reserved3: reserved(),
});

/// One optimizer step, as bert_train_step reports it. Initialise it with bert_step_report_init or
/// BERT_STEP_REPORT_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_step_report {
    /// The caller's sizeof(bert_step_report), set by bert_step_report_init or BERT_STEP_REPORT_INIT.
    pub struct_size: usize,
    /// Number of the epoch that the step belongs to, from 1.
    pub epoch: i32,
    /// Number of examples in the step.
    pub examples: i32,
    /// Number of steps done in the run, this one included.
    pub step: i64,
    /// Number of steps in the plan.
    pub total_steps: i64,
    /// Number of tokens in the step, [CLS] and [SEP] included.
    pub tokens: i64,
    /// Mean loss of the step's examples, before the update.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Global norm of all gradients of the step, before clipping.
    pub grad_norm: f64,
    /// Elapsed time of the step in seconds.
    pub seconds: f64,
}

sized_struct!(bert_step_report {
    epoch: written(),
    examples: written(),
    step: written(),
    total_steps: written(),
    tokens: written(),
    loss: written(),
    learning_rate: written(),
    grad_norm: written(),
    seconds: written(),
});

/// One epoch, as bert_train_epoch reports it. It covers all steps of the epoch, including those of earlier calls. If
/// the call fails, it covers the steps that were done until then. Initialise it with bert_epoch_report_init or
/// BERT_EPOCH_REPORT_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_epoch_report {
    /// The caller's sizeof(bert_epoch_report), set by bert_epoch_report_init or BERT_EPOCH_REPORT_INIT.
    pub struct_size: usize,
    /// Number of the epoch, from 1.
    pub epoch: i32,
    /// Reserved for a later version. The library writes 0.
    pub reserved: i32,
    /// Number of steps done in the run, over all epochs.
    pub step: i64,
    /// Number of examples trained on in the epoch.
    pub examples: i64,
    /// Number of tokens trained on in the epoch, [CLS] and [SEP] included.
    pub tokens: i64,
    /// Mean training loss of the epoch. The loss of each example is the one that its step had before the update.
    pub loss: f64,
    /// Share of examples that were predicted correctly in their step, with dropout. For multi-label classification it
    /// is the share of examples for which exactly the right labels were predicted. NaN for regression.
    pub accuracy: f64,
    /// Elapsed time of the epoch's steps in seconds.
    pub seconds: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

sized_struct!(bert_epoch_report {
    epoch: written(),
    reserved: written(),
    step: written(),
    examples: written(),
    tokens: written(),
    loss: written(),
    accuracy: written(),
    seconds: written(),
    learning_rate: written(),
});

/// A training run, as bert_train reports it. bert_train also writes it if it fails and the run has at least one step.
/// Initialise it with bert_train_report_init or BERT_TRAIN_REPORT_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_train_report {
    /// The caller's sizeof(bert_train_report), set by bert_train_report_init or BERT_TRAIN_REPORT_INIT.
    pub struct_size: usize,
    /// Number of complete epochs done in the run.
    pub epochs: i32,
    /// The reason why the run ended. BERT_STOP_FINISHED or BERT_STOP_EARLY if bert_train returns BERT_OK, otherwise
    /// BERT_STOP_CANCELLED, BERT_STOP_NOT_FINITE or BERT_STOP_ERROR.
    pub stop_reason: bert_stop_reason,
    /// Number of steps done in the run.
    pub steps: i64,
    /// Mean training loss of the last epoch. If the run ended within an epoch, it covers the steps of that epoch that
    /// were done.
    pub loss: f64,
    /// Training accuracy of the last epoch, with dropout. If the run ended within an epoch, it covers the steps of that
    /// epoch that were done. NaN for regression.
    pub accuracy: f64,
    /// Metric of the best evaluation. NaN if the run has had no evaluation.
    pub best_metric: f64,
    /// Number of steps done when the best evaluation was made. 0 if the run has had no evaluation.
    pub best_step: i64,
    /// Whether this call ended by restoring the weights of the best evaluation: 1 if it did, otherwise 0.
    pub restored_best: i32,
    /// Reserved for a later version. The library writes 0.
    pub reserved: i32,
    /// Step of the checkpoint from which this call resumed the run. 0 if it did not resume from a checkpoint.
    pub resumed_step: i64,
    /// Number of tokens that this call trained on, [CLS] and [SEP] included.
    pub tokens: i64,
    /// Elapsed time of this call in seconds, evaluations included.
    pub seconds: f64,
    /// Highest learning rate of the plan: the one that you set, or the one that was taken for -1.
    pub learning_rate: f64,
    /// Number of epochs in the plan: the one that you set, or the one that was taken for -1.
    pub planned_epochs: i32,
    /// Number of examples in a batch: the one that you set, or the one that was taken for -1.
    pub batch_size: i32,
    /// Number of steps in the plan.
    pub planned_steps: i64,
    /// Number of training texts that were cut to the maximum length.
    pub train_texts_cut: i64,
    /// Number of validation texts that were cut to the maximum length.
    pub validation_texts_cut: i64,
}

sized_struct!(bert_train_report, older [88], {
    epochs: written(),
    stop_reason: written(),
    steps: written(),
    loss: written(),
    accuracy: written(),
    best_metric: written(),
    best_step: written(),
    restored_best: written(),
    reserved: written(),
    resumed_step: written(),
    tokens: written(),
    seconds: written(),
    learning_rate: written(),
    planned_epochs: written(),
    batch_size: written(),
    planned_steps: written(),
    train_texts_cut: written(),
    validation_texts_cut: written(),
});

/// A resumed training run, as bert_trainer_resume reports it. Initialise it with bert_resume_report_init or
/// BERT_RESUME_REPORT_INIT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_resume_report {
    /// The caller's sizeof(bert_resume_report), set by bert_resume_report_init or BERT_RESUME_REPORT_INIT.
    pub struct_size: usize,
    /// Number of complete epochs done in the run.
    pub epochs: i32,
    /// Whether the run ends with the same weights, bit for bit, as if it had never been interrupted. 1: it does;
    /// 0: this isn't guaranteed. It is 0 if the options, data, device, number of threads, processor or library differ
    /// from those of the interrupted run. The log then reports the differences.
    pub is_exact: i32,
    /// Number of steps done in the run.
    pub step: i64,
    /// Number of steps in the plan.
    pub total_steps: i64,
}

sized_struct!(bert_resume_report {
    epochs: written(),
    is_exact: written(),
    step: written(),
    total_steps: written(),
});

/// The metrics of a model on labelled examples, as bert_evaluate writes them. They are defined as in scikit-learn and
/// scipy. Initialise the struct with bert_evaluation_init or BERT_EVALUATION_INIT, then set threshold,
/// compute_precision and the arrays as needed. Arrays that are NULL are not filled. A metric is NaN if, and only if, it
/// isn't defined for the model's problem type.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_evaluation {
    /// The caller's sizeof(bert_evaluation), set by bert_evaluation_init or BERT_EVALUATION_INIT.
    pub struct_size: usize,
    /// Number of examples that were evaluated.
    pub examples: i64,
    /// Mean loss without class weights and label smoothing. It is the cross entropy for single-label classification,
    /// the binary cross entropy over all examples and labels for multi-label classification, and the mean squared error
    /// for regression.
    pub loss: f64,
    /// Share of examples that were predicted correctly. For multi-label classification it is the share of examples for
    /// which exactly the right labels were predicted (subset accuracy). NaN for regression.
    pub accuracy: f64,
    /// Macro F1: the mean of the F1 of the classes that occur, in the examples or in the predictions. For multi-label
    /// classification it is the mean of the F1 of all labels. NaN for regression.
    pub f1_macro: f64,
    /// Weighted F1: the mean of the F1 of all classes or labels, weighted by their numbers of examples. NaN for
    /// regression.
    pub f1_weighted: f64,
    /// Matthews correlation. It is 0 where it is undefined. NaN for multi-label classification and regression.
    pub matthews: f64,
    /// Array of the caller for the confusion matrix, shape [L, L]; NULL: not filled. Row i, column j contains how many
    /// examples of class i were predicted as class j. For single-label classification only.
    pub confusion: *mut u64,
    /// Number of elements that the array `confusion` can hold.
    pub confusion_capacity: usize,
    /// Array of the caller for the precision of each class or label, shape [L]; NULL: not filled. Its capacity is
    /// class_capacity. Not for regression.
    pub precision: *mut f64,
    /// Array of the caller for the recall of each class or label, shape [L]; NULL: not filled. Its capacity is
    /// class_capacity. Not for regression.
    pub recall: *mut f64,
    /// Array of the caller for the F1 of each class or label, shape [L]; NULL: not filled. Its capacity is
    /// class_capacity. Not for regression.
    pub f1: *mut f64,
    /// Array of the caller for the number of examples of each class or label, shape [L]; NULL: not filled. Its capacity
    /// is class_capacity. Not for regression.
    pub support: *mut u64,
    /// Number of elements that each of the arrays `precision`, `recall`, `f1` and `support` can hold.
    pub class_capacity: usize,
    /// Probability from which a label of a multi-label model counts as predicted, from 0 to 1. The caller sets it
    /// before the call. -1: the model's own thresholds, see bert_set_thresholds. Other negative numbers are refused.
    /// Range -1 to 1. Default -1.
    pub threshold: f64,
    /// Micro F1: the F1 of all decisions counted together. For single-label classification it equals the accuracy. NaN
    /// for regression.
    pub f1_micro: f64,
    /// Mean squared error over all examples and targets. NaN for classification.
    pub mse: f64,
    /// Pearson correlation of the targets and the predictions; with several targets, the mean of their correlations. An
    /// undefined correlation counts as 0: with fewer than two examples, or if all targets or all predictions are equal.
    /// NaN for classification.
    pub pearson: f64,
    /// Spearman rank correlation of the targets and the predictions; with several targets, the mean of their
    /// correlations. An undefined correlation counts as 0: with fewer than two examples, or if all targets or all
    /// predictions are equal. NaN for classification.
    pub spearman: f64,
    /// Number format in which the layers are computed: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
    /// BERT_PRECISION_FLOAT16, as in bert_predict_options. The caller sets it before the call. Default
    /// BERT_PRECISION_FLOAT32.
    pub compute_precision: bert_precision,
    /// Reserved for a later version. It has no effect.
    pub reserved: i32,
    /// Number of examples whose text was cut to the maximum length. With BERT_LONG_TEXT_WINDOWS only the first text of
    /// a pair can be cut.
    pub texts_cut: i64,
}

sized_struct!(bert_evaluation, older [160], {
    examples: written(),
    loss: written(),
    accuracy: written(),
    f1_macro: written(),
    f1_weighted: written(),
    matthews: written(),
    confusion: pointer(),
    confusion_capacity: any(0usize),
    precision: pointer(),
    recall: pointer(),
    f1: pointer(),
    support: pointer(),
    class_capacity: any(0usize),
    threshold: setting(&THRESHOLD),
    f1_micro: written(),
    mse: written(),
    pearson: written(),
    spearman: written(),
    compute_precision: constant(
        "BERT_PRECISION_",
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT32,
        BERT_PRECISION_FLOAT16
    ),
    reserved: written(),
    texts_cut: written(),
});

/// The options of an evaluation that reads texts in the way of a prediction. Initialise the struct with
/// bert_evaluate_options_init. Set its fields to the values that you predict with; threshold and the number format are
/// fields of bert_evaluation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_evaluate_options {
    /// The caller's sizeof(bert_evaluate_options), set by bert_evaluate_options_init.
    pub struct_size: usize,
    /// Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. The lengths 1
    /// to 3 are refused, and lengths above the model's max_position_embeddings. At least 0. Default 0.
    pub max_length: i32,
    /// Treatment of texts that are longer than the maximum length: BERT_LONG_TEXT_TRUNCATE or BERT_LONG_TEXT_WINDOWS.
    /// Default BERT_LONG_TEXT_TRUNCATE.
    pub long_text: bert_long_text,
    /// Number of text tokens that neighbouring windows share, as in bert_predict_options. -1: a quarter of the maximum
    /// length. At least -1. Default -1.
    pub window_stride: i32,
    /// Method that makes one answer from the answers of a long text's windows: BERT_COMBINE_MEAN_LOGITS,
    /// BERT_COMBINE_MEAN_PROBABILITIES or BERT_COMBINE_MOST_CONFIDENT. Default BERT_COMBINE_MEAN_LOGITS.
    pub combine: bert_combine,
}

sized_struct!(bert_evaluate_options {
    max_length: count(),
    long_text: constant(
        "BERT_LONG_TEXT_",
        BERT_LONG_TEXT_TRUNCATE,
        BERT_LONG_TEXT_TRUNCATE,
        BERT_LONG_TEXT_WINDOWS
    ),
    window_stride: ranged(-1, -1, i32::MAX),
    combine: constant(
        "BERT_COMBINE_",
        BERT_COMBINE_MEAN_LOGITS,
        BERT_COMBINE_MEAN_LOGITS,
        BERT_COMBINE_MOST_CONFIDENT
    ),
});

/// Initialises `options` with the defaults. `struct_size` is sizeof(bert_evaluate_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
/// is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_evaluate_options_init(
    options: *mut bert_evaluate_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Initialises `options` with the defaults. `struct_size` is sizeof(bert_train_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
/// is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_options_init(
    options: *mut bert_train_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Initialises `report` for bert_train_step. `struct_size` is sizeof(bert_step_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
/// not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_step_report_init(
    report: *mut bert_step_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Initialises `report` for bert_train_epoch. `struct_size` is sizeof(bert_epoch_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
/// not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_epoch_report_init(
    report: *mut bert_epoch_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Initialises `report` for bert_train. `struct_size` is sizeof(bert_train_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
/// not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_report_init(
    report: *mut bert_train_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Initialises `report` for bert_trainer_resume. `struct_size` is sizeof(bert_resume_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
/// not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_resume_report_init(
    report: *mut bert_resume_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Initialises `evaluation` for bert_evaluate. All arrays are NULL, the settings have their defaults. `struct_size` is
/// sizeof(bert_evaluation). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`evaluation` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
/// (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `evaluation` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_evaluation_init(
    evaluation: *mut bert_evaluation,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(evaluation, struct_size, Sized_::default()) })
}

/// The caller's progress callback.
#[derive(Clone, Copy)]
pub(super) struct Callback {
    function: bert_progress_callback,
    user_data: *mut c_void,
}

// SAFETY: the pointers are never followed here, only handed back, on the thread that makes the training call; one at a
// time trains.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Callback {
    /// Runs `train` with this callback, if there is one.
    fn with<T>(self, train: impl FnOnce(Option<&mut dyn FnMut(&Progress<'_>) -> bool>) -> T) -> T {
        let Some(function) = self.function else {
            return train(None);
        };
        let mut on_progress = |progress: &Progress<'_>| -> bool {
            let value = c_progress(progress);
            // SAFETY: the caller of bert_trainer_create vouches for the function and what it is given.
            outside(|| unsafe { function(&value, self.user_data) == 0 })
        };
        train(Some(&mut on_progress))
    }
}

fn c_progress(progress: &Progress<'_>) -> bert_progress {
    let step = &progress.step;
    let (event, eval_loss, scores) = match progress.event {
        Event::Step => (BERT_EVENT_STEP, f64::NAN, Scores::NONE),
        Event::Evaluation(found) => (BERT_EVENT_EVALUATION, found.loss, found.metrics.scores()),
    };
    bert_progress {
        struct_size: size_of::<bert_progress>(),
        event,
        epoch: step.epoch as i32,
        epochs: progress.epochs as i32,
        reserved: 0,
        step: step.step as i64,
        total_steps: step.total_steps as i64,
        loss: step.loss,
        learning_rate: step.learning_rate,
        grad_norm: step.grad_norm,
        tokens_per_second: progress.tokens_per_second,
        eval_loss,
        eval_accuracy: scores.accuracy,
        eval_f1_macro: scores.f1_macro,
        eval_f1_weighted: scores.f1_weighted,
        eval_matthews: scores.matthews,
        eval_f1_micro: scores.f1_micro,
        eval_mse: scores.mse,
        eval_pearson: scores.pearson,
        eval_spearman: scores.spearman,
    }
}

/// What training is computed in. float16's constant is one of this header, so that its refusal says what to take.
fn training_precision(precision: i32) -> Result<Precision> {
    if precision == BERT_PRECISION_FLOAT16 {
        return Err(Error::InvalidArgument(
            "precision is BERT_PRECISION_FLOAT16, whose range is too small for gradients; train in \
             BERT_PRECISION_BFLOAT16. You can use the trained model in float16."
                .into(),
        )
        .of_argument("precision"));
    }
    choice(precision, "precision", &PRECISIONS)
}

/// Translates the caller's options.
///
/// # Safety
/// `options` is NULL or set by bert_train_options_init; its paths end with a NUL.
unsafe fn translate(
    options: *const bert_train_options,
    classifier: &Classifier,
    examples: usize,
) -> Result<(TrainOptions, Callback)> {
    // SAFETY: by this function's contract.
    let (o, best_model_path, history_path, checkpoint_path, class_weights) = unsafe {
        let o = sized::read_or_default(options)?;
        (
            o,
            optional_path(o.best_model_path, "best_model_path")?,
            optional_path(o.history_path, "history_path")?,
            optional_path(o.checkpoint_path, "checkpoint_path")?,
            array(o.class_weights, o.num_class_weights, "class_weights")?.to_vec(),
        )
    };
    // Checked also where no folder is set, so that a wrong value is reported at once.
    let has_checkpoints = checkpoint_path.is_some();
    let checkpoints = CheckpointOptions {
        folder: checkpoint_path.unwrap_or_default(),
        steps: steps(o.checkpoint_steps, "checkpoint_steps")?,
        minutes: o.checkpoint_minutes,
        keep: size(o.checkpoint_keep, "checkpoint_keep")?,
    };
    checkpoints.validate()?;
    let frozen = Frozen {
        embeddings: flag(o.freeze_embeddings, "freeze_embeddings")?,
        layers: match o.freeze_layers {
            -1 => classifier.model().config.num_hidden_layers,
            layers => size(layers, "freeze_layers")?,
        },
    };
    let gradient_accumulation_steps =
        size(o.gradient_accumulation_steps, "gradient_accumulation_steps")?;
    // Each is in its range, or -1.
    let asked = Asked {
        epochs: u32::try_from(o.epochs).ok(),
        batch_size: usize::try_from(o.batch_size).ok(),
        learning_rate: (o.learning_rate >= 0.0).then_some(o.learning_rate),
    };
    let numbers = asked.suited_to(classifier, frozen, examples, gradient_accumulation_steps);
    let options = TrainOptions {
        seed: o.seed,
        epochs: numbers.epochs,
        batch_size: numbers.batch_size,
        gradient_accumulation_steps,
        max_length: size(o.max_length, "max_length")?,
        learning_rate: numbers.learning_rate,
        adamw: AdamWOptions {
            beta1: o.adam_beta1,
            beta2: o.adam_beta2,
            epsilon: o.adam_epsilon,
        },
        weight_decay: o.weight_decay,
        head_learning_rate: o.head_learning_rate,
        layer_learning_rate_decay: o.layer_learning_rate_decay,
        frozen,
        cross_entropy: CrossEntropy {
            class_weights,
            label_smoothing: o.label_smoothing,
        },
        max_grad_norm: o.max_grad_norm,
        precision: training_precision(o.precision)?,
        gradient_checkpointing: flag(o.gradient_checkpointing, "gradient_checkpointing")?,
        scale_targets: flag(o.scale_targets, "scale_targets")?,
        schedule: choice(
            o.schedule,
            "schedule",
            &[
                (BERT_SCHEDULE_CONSTANT, ScheduleKind::Constant),
                (BERT_SCHEDULE_LINEAR, ScheduleKind::Linear),
                (BERT_SCHEDULE_COSINE, ScheduleKind::Cosine),
            ],
        )?,
        warmup_steps: steps(o.warmup_steps, "warmup_steps")?,
        warmup_ratio: o.warmup_ratio,
        group_by_length: flag(o.group_by_length, "group_by_length")?,
        eval_steps: steps(o.eval_steps, "eval_steps")?,
        metric: choice(
            o.metric,
            "metric",
            &[
                (BERT_METRIC_AUTO, None),
                (BERT_METRIC_LOSS, Some(Metric::Loss)),
                (BERT_METRIC_ACCURACY, Some(Metric::Accuracy)),
                (BERT_METRIC_F1_MACRO, Some(Metric::F1Macro)),
                (BERT_METRIC_F1_WEIGHTED, Some(Metric::F1Weighted)),
                (BERT_METRIC_MATTHEWS, Some(Metric::Matthews)),
                (BERT_METRIC_F1_MICRO, Some(Metric::F1Micro)),
                (BERT_METRIC_MSE, Some(Metric::Mse)),
                (BERT_METRIC_PEARSON, Some(Metric::Pearson)),
                (BERT_METRIC_SPEARMAN, Some(Metric::Spearman)),
            ],
        )?,
        threshold: threshold(o.threshold)?,
        restore_best: flag(o.restore_best, "restore_best")?,
        early_stopping_patience: size(o.early_stopping_patience, "early_stopping_patience")? as u32,
        best_model_path,
        history_path,
        checkpoints: has_checkpoints.then_some(checkpoints),
    };
    let callback = Callback {
        function: o.progress,
        user_data: o.progress_user_data,
    };
    Ok((options, callback))
}

/// Creates a trainer that trains `model` with the data set `train`. `validation` is the data set for evaluations; NULL:
/// there are none. This call doesn't train yet; training changes the weights of `model`. The texts are tokenized in
/// this call, with the model's tokenizer. Afterwards you may free both data sets and the handle of the model. `options`
/// may be NULL: the defaults are used. The strings and arrays of the options are copied, but not what
/// progress_user_data points to. Free the trainer with bert_trainer_free or bert_trainer_close. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model`, `train` or `validation` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer
/// is NULL, or an option is out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` isn't
/// initialised), BERT_ERR_DATA (no examples, all examples of one class, or labels for another problem type),
/// BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have), BERT_ERR_UNSUPPORTED (`model` is int8), BERT_ERR_IO
/// (history_path, best_model_path or checkpoint_path can't be used), BERT_ERR_OUT_OF_MEMORY (the system has not enough
/// memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or was initialised with bert_train_options_init. Its paths are NULL or end with a NUL, and
/// class_weights has num_class_weights elements. Its callback and user data stay valid until the trainer is freed and
/// every training call on it has returned. `trainer` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_trainer_create(
    model: *mut bert_model,
    train: *const bert_dataset,
    validation: *const bert_dataset,
    options: *const bert_train_options,
    trainer: *mut *mut bert_trainer,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        let train = handles::dataset_named(train, "train")?;
        let validation = match validation.is_null() {
            true => None,
            false => Some(handles::dataset_named(validation, "validation")?),
        };
        let train = copy_of(&train)?;
        // SAFETY: by this function's contract.
        let ((options, callback), out) = unsafe {
            (
                translate(options, &model.classifier, train.len())?,
                result(trainer, "trainer")?,
            )
        };
        let validation = validation.map(|data| copy_of(&data)).transpose()?;
        let trainer = Trainer::new(
            model.classifier.clone(),
            &train,
            validation.as_ref(),
            options,
        )?;
        *out = handles::insert(Object::Trainer(Arc::new(TrainerHandle {
            trainer,
            callback,
            running: Arc::default(),
        })));
        Ok(())
    })
}

/// Frees a trainer; NULL is allowed. The model keeps its weights. A training call that is running on the trainer
/// continues to its end, and the trainer's memory is freed when it returns. This also holds if you free the trainer
/// inside its progress callback. The callback and its user data must stay valid until every training call on the
/// trainer has returned. bert_trainer_close waits for that. Any thread, once.
#[unsafe(no_mangle)]
pub extern "C" fn bert_trainer_free(trainer: *mut bert_trainer) {
    free(|| handles::free_trainer(trainer));
}

/// Cancels the running training call of a trainer, waits until it has returned, and frees the trainer. NULL is allowed.
/// An evaluation that is running or due is completed first. When this function has returned BERT_OK, the progress
/// callback isn't running and isn't called again; you may free the callback and its user data. Don't hold a lock that
/// the callback needs. Any thread, once; not inside a callback of the trainer's own training call.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_BUSY (inside a callback of the trainer's own
/// training call; the trainer isn't freed), BERT_ERR_FORKED (in a forked child process).
#[unsafe(no_mangle)]
pub extern "C" fn bert_trainer_close(trainer: *mut bert_trainer) -> bert_status {
    call(|| handles::close_trainer(trainer))
}

/// Makes one optimizer step with the next batches of the trainer. `report` may be NULL; otherwise initialise it with
/// bert_step_report_init or BERT_STEP_REPORT_INIT. Any thread, but only one thread at a time can train a model.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`report` isn't aligned),
/// BERT_ERR_STRUCT_SIZE (`report` isn't initialised), BERT_ERR_FINISHED (all planned epochs are done),
/// BERT_ERR_CANCELLED (by the callback, bert_trainer_cancel or bert_trainer_close), BERT_ERR_NOT_FINITE (the loss or a
/// gradient is NaN or infinite: the model keeps the weights of the step before; the next call skips these batches),
/// BERT_ERR_BUSY (another call trains the model), BERT_ERR_IO (history_path can't be written: the step is made, and its
/// line is written together with the next one), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
/// BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or was initialised with bert_step_report_init or BERT_STEP_REPORT_INIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_step(
    trainer: *mut bert_trainer,
    report: *mut bert_step_report,
) -> bert_status {
    call(|| {
        let (handle, _inside) = handles::training(trainer)?;
        // SAFETY: by this function's contract.
        unsafe { sized::check_report(report) }?;
        let step = handle.callback.with(|p| handle.trainer.train_step(p))?;
        let StepReport {
            epoch,
            step,
            total_steps,
            loss,
            learning_rate,
            grad_norm,
            examples,
            tokens,
            seconds,
        } = step;
        let value = bert_step_report {
            struct_size: 0,
            epoch: epoch as i32,
            examples: examples as i32,
            step: step as i64,
            total_steps: total_steps as i64,
            tokens: tokens as i64,
            loss,
            learning_rate,
            grad_norm,
            seconds,
        };
        // SAFETY: by this function's contract.
        unsafe { write_report(report, &value) }
    })
}

/// Trains the rest of the current epoch, or the whole next epoch. The learning rate follows the schedule of the planned
/// epochs. This function doesn't evaluate; call bert_evaluate for that. `report` may be NULL; otherwise initialise it
/// with bert_epoch_report_init or BERT_EPOCH_REPORT_INIT. If training fails and the epoch has at least one step, the
/// report is written too. Any thread, but only one thread at a time can train a model.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`report` isn't aligned),
/// BERT_ERR_STRUCT_SIZE (`report` isn't initialised), BERT_ERR_FINISHED (all planned epochs are done),
/// BERT_ERR_CANCELLED (by the callback, bert_trainer_cancel or bert_trainer_close), BERT_ERR_NOT_FINITE (the loss or a
/// gradient is NaN or infinite: the model keeps the weights of the step before; the next call skips these batches),
/// BERT_ERR_BUSY (another call trains the model), BERT_ERR_IO (history_path can't be written: the step is made, and its
/// line is written together with the next one), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
/// BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or was initialised with bert_epoch_report_init or BERT_EPOCH_REPORT_INIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_epoch(
    trainer: *mut bert_trainer,
    report: *mut bert_epoch_report,
) -> bert_status {
    call(|| {
        let (handle, _inside) = handles::training(trainer)?;
        // SAFETY: by this function's contract.
        unsafe { sized::check_report(report) }?;
        let ended = handle
            .callback
            .with(|p| handle.trainer.train_epoch_and_report(p));
        if let Some(epoch) = ended.report {
            // SAFETY: by this function's contract.
            unsafe { write_report(report, &epoch_report(&epoch)) }?;
        }
        ended.outcome
    })
}

fn epoch_report(epoch: &EpochReport) -> bert_epoch_report {
    let &EpochReport {
        epoch,
        step,
        loss,
        accuracy,
        examples,
        tokens,
        seconds,
        learning_rate,
    } = epoch;
    bert_epoch_report {
        struct_size: 0,
        epoch: epoch as i32,
        reserved: 0,
        step: step as i64,
        examples: examples as i64,
        tokens: tokens as i64,
        loss,
        accuracy,
        seconds,
        learning_rate,
    }
}

/// Trains until the end of the plan: all remaining epochs, with evaluations on the validation data. It evaluates after
/// each epoch and every eval_steps steps. With checkpoint_path it writes checkpoints and can resume an interrupted run.
/// `report` may be NULL; otherwise initialise it with bert_train_report_init or BERT_TRAIN_REPORT_INIT. If training
/// fails and the run has at least one step, the report is written too, and its stop_reason says why. Any thread, but
/// only one thread at a time can train a model.
///
/// At the end, also after early stopping, the model has the weights of the best evaluation if restore_best is 1 and
/// there is validation data; otherwise it has the weights of the last step. After a cancellation or an error it has the
/// weights of the last step; best_model_path then still contains the best model. If all planned epochs were done before
/// the call, it returns BERT_OK and doesn't change the model.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`report` isn't aligned, or
/// checkpoint_path contains checkpoints of another run), BERT_ERR_STRUCT_SIZE (`report` isn't initialised),
/// BERT_ERR_CANCELLED (by the callback, bert_trainer_cancel or bert_trainer_close), BERT_ERR_NOT_FINITE (the loss or a
/// gradient is NaN or infinite: the model keeps the weights of the step before; the next call skips these batches),
/// BERT_ERR_BUSY (another call trains the model), BERT_ERR_IO (history_path, best_model_path or checkpoint_path can't
/// be written: call again to continue; the line or the evaluation that failed is made again), BERT_ERR_VERSION (a newer
/// version of this library wrote a checkpoint in checkpoint_path), BERT_ERR_OUT_OF_MEMORY (the system has not enough
/// memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `report` is NULL or was initialised with bert_train_report_init or BERT_TRAIN_REPORT_INIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train(
    trainer: *mut bert_trainer,
    report: *mut bert_train_report,
) -> bert_status {
    call(|| {
        let (handle, _inside) = handles::training(trainer)?;
        // SAFETY: by this function's contract.
        unsafe { sized::check_report(report) }?;
        let ended = handle.callback.with(|p| handle.trainer.train_and_report(p));
        if let Some(run) = ended.report {
            // SAFETY: by this function's contract.
            unsafe { write_report(report, &train_report(&run)) }?;
        }
        ended.outcome
    })
}

fn train_report(run: &TrainReport) -> bert_train_report {
    let &TrainReport {
        epochs,
        steps,
        loss,
        accuracy,
        best_metric,
        best_step,
        stop_reason,
        restored_best,
        resumed_step,
        tokens,
        seconds,
        plan,
        planned_steps,
        train_texts_cut,
        validation_texts_cut,
    } = run;
    bert_train_report {
        struct_size: 0,
        epochs: epochs as i32,
        stop_reason: match stop_reason {
            StopReason::Finished => BERT_STOP_FINISHED,
            StopReason::EarlyStopping => BERT_STOP_EARLY,
            StopReason::Cancelled => BERT_STOP_CANCELLED,
            StopReason::NotFinite => BERT_STOP_NOT_FINITE,
            StopReason::Failed => BERT_STOP_ERROR,
        },
        steps: steps as i64,
        loss,
        accuracy,
        best_metric: best_metric.unwrap_or(f64::NAN),
        best_step: best_step as i64,
        restored_best: i32::from(restored_best),
        reserved: 0,
        resumed_step: resumed_step as i64,
        tokens: tokens as i64,
        seconds,
        learning_rate: plan.learning_rate,
        planned_epochs: plan.epochs as i32,
        batch_size: plan.batch_size as i32,
        planned_steps: planned_steps as i64,
        train_texts_cut: train_texts_cut as i64,
        validation_texts_cut: validation_texts_cut as i64,
    }
}

/// Writes a checkpoint of the training run to the directory `path`. The directory contains the model, as bert_save
/// writes it, so that bert_load can load it. It also contains what the run needs to continue as if it had never
/// stopped: the moments of the optimizer, the step, the schedule, the data order, the random state, and the best
/// evaluation with its weights. Its files have checksums, and an older checkpoint is replaced in one step. A checkpoint
/// needs about four times the disk space of the model. Any thread, also while the trainer trains and inside its
/// callback; the checkpoint then has the state after a complete step.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty),
/// BERT_ERR_IO (the checkpoint can't be written), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
/// BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `path` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_trainer_save(
    trainer: *const bert_trainer,
    path: *const std::ffi::c_char,
) -> bert_status {
    call(|| {
        let handle = handles::trainer(trainer)?;
        // SAFETY: by this function's contract.
        let path = unsafe { arguments::path(path, "path") }?;
        handle.trainer.save(&path)
    })
}

/// Restores the state that bert_trainer_save wrote: weights, optimizer, data order and random state. First create the
/// trainer in the same way as before: with the same data sets and options, and a model with the same parameters. That
/// can be the model that the run began with, or the checkpoint, loaded with bert_load. `report` may be NULL; otherwise
/// initialise it with bert_resume_report_init or BERT_RESUME_REPORT_INIT. If the call fails, nothing is changed.
/// Any thread; not inside a callback of a training call on the same model.
///
/// If the options, data, device, number of threads, processor and library are the same as before, the run ends with the
/// same weights, bit for bit, as if it had never been interrupted. Otherwise the run continues with the trainer's own
/// options, without this guarantee; is_exact in `report` is then 0.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty,
/// `report` isn't aligned, or the model has other parameters), BERT_ERR_STRUCT_SIZE (`report` isn't initialised),
/// BERT_ERR_FORMAT (the checkpoint is damaged, or the directory is not a checkpoint), BERT_ERR_VERSION (a newer version
/// of the library wrote it), BERT_ERR_IO (a file can't be read), BERT_ERR_BUSY (another call trains the model),
/// BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `path` is NULL or ends with a NUL. `report` is NULL or was initialised with bert_resume_report_init or
/// BERT_RESUME_REPORT_INIT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_trainer_resume(
    trainer: *mut bert_trainer,
    path: *const std::ffi::c_char,
    report: *mut bert_resume_report,
) -> bert_status {
    call(|| {
        let (handle, _inside) = handles::training(trainer)?;
        // SAFETY: by this function's contract.
        let path = unsafe {
            let path = arguments::path(path, "path")?;
            sized::check_report(report)?;
            path
        };
        let resumed = handle.trainer.resume(&path)?;
        let value = bert_resume_report {
            struct_size: 0,
            epochs: resumed.epochs_done as i32,
            is_exact: i32::from(resumed.differences.is_empty()),
            step: resumed.step as i64,
            total_steps: resumed.total_steps as i64,
        };
        // SAFETY: by this function's contract.
        unsafe { write_report(report, &value) }
    })
}

/// Writes a report that the caller may not want.
///
/// # Safety
/// `report` is NULL or set by its _init function.
pub(super) unsafe fn write_report<T: Sized_>(report: *mut T, value: &T) -> Result<()> {
    if report.is_null() {
        return Ok(());
    }
    // SAFETY: by this function's contract.
    unsafe { sized::write(report, value) }
}

/// Asks a trainer to stop: the running training call returns BERT_ERR_CANCELLED after its current step. If no training
/// call is running, the next one returns BERT_ERR_CANCELLED before its first step. An evaluation that is running or due
/// is completed before the call returns. NULL is allowed. Any thread, also inside signal handlers.
///
/// # Safety
/// `trainer` is NULL or a trainer that isn't freed before this function returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_trainer_cancel(trainer: *const bert_trainer) {
    // SAFETY: by this function's contract.
    unsafe { handles::cancel(trainer) }
}

/// Says which of the caller's arrays and options an evaluation of that problem can't go with.
fn check_wanted(e: &bert_evaluation, problem: ProblemType) -> Result<()> {
    let wants_classes = [e.precision, e.recall, e.f1].iter().any(|p| !p.is_null());
    let (what, is_wanted) = match problem {
        ProblemType::SingleLabel => return Ok(()),
        ProblemType::MultiLabel => ("confusion matrix", !e.confusion.is_null()),
        ProblemType::Regression => (
            "confusion matrix, precision, recall, F1 and support",
            wants_classes || !e.confusion.is_null() || !e.support.is_null(),
        ),
    };
    if is_wanted {
        return Err(Error::Unsupported(format!(
            "This model's problem is {problem}, which has no {what}; leave those arrays NULL."
        )));
    }
    Ok(())
}

/// Evaluates a model on labelled examples. `max_length` is the maximum sequence length in tokens; 0: the maximum length
/// of the model. Longer texts are cut; texts_cut says how many, and bert_evaluate_with can read them in windows.
/// Initialise `evaluation` with bert_evaluation_init or BERT_EVALUATION_INIT, then set the arrays that you want. Any
/// thread, also while the model is trained. The log reports at BERT_LOG_WARNING if texts were cut, if a class is never
/// predicted, and if the answers are no better than a constant answer.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` or `dataset` is invalid), BERT_ERR_INVALID_ARGUMENT (`evaluation` is NULL,
/// or a value is out of its range), BERT_ERR_STRUCT_SIZE (`evaluation` isn't initialised), BERT_ERR_DATA (no examples,
/// or labels for another problem type), BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have),
/// BERT_ERR_BUFFER_TOO_SMALL (an array; nothing was written), BERT_ERR_UNSUPPORTED (an array for something that the
/// model's problem type doesn't have), BERT_ERR_NOT_FINITE (the model's scores are NaN or infinite),
/// BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `evaluation` was initialised with bert_evaluation_init or BERT_EVALUATION_INIT. Its arrays are NULL or writable for
/// their capacities.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_evaluate(
    model: *const bert_model,
    dataset: *const bert_dataset,
    max_length: i32,
    evaluation: *mut bert_evaluation,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe {
        let model = handles::model(model)?;
        let dataset = handles::dataset(dataset)?;
        let options = bert_evaluate_options {
            max_length,
            ..Sized_::default()
        };
        evaluate(&model.classifier, &dataset, options, evaluation)
    })
}

/// Evaluates a model on labelled examples, whose texts it reads as bert_predict_batch reads them with the same options:
/// what is measured is what is used. `options` may be NULL: the defaults are used. Initialise `evaluation` with
/// bert_evaluation_init or BERT_EVALUATION_INIT, then set threshold, compute_precision and the arrays as needed. Any
/// thread, also while the model is trained. The log reports what bert_evaluate reports.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`model` or `dataset` is invalid), BERT_ERR_INVALID_ARGUMENT (`evaluation` is NULL,
/// or a value is out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` or `evaluation` isn't
/// initialised), BERT_ERR_DATA (no examples, or labels for another problem type), BERT_ERR_UNKNOWN_LABEL (a label that
/// the model doesn't have), BERT_ERR_BUFFER_TOO_SMALL (an array; nothing was written), BERT_ERR_UNSUPPORTED (an array
/// for something that the model's problem type doesn't have), BERT_ERR_NOT_FINITE (the model's scores are NaN or
/// infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
///
/// # Safety
/// `options` is NULL or was initialised with bert_evaluate_options_init. `evaluation` was initialised with
/// bert_evaluation_init or BERT_EVALUATION_INIT. Its arrays are NULL or writable for their capacities.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_evaluate_with(
    model: *const bert_model,
    dataset: *const bert_dataset,
    options: *const bert_evaluate_options,
    evaluation: *mut bert_evaluation,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe {
        let model = handles::model(model)?;
        let dataset = handles::dataset(dataset)?;
        let options = sized::read_or_default(options)?;
        evaluate(&model.classifier, &dataset, options, evaluation)
    })
}

/// # Safety
/// As for [`bert_evaluate_with`].
unsafe fn evaluate(
    classifier: &Classifier,
    dataset: &RwLock<Dataset>,
    options: bert_evaluate_options,
    evaluation: *mut bert_evaluation,
) -> Result<()> {
    let num_labels = classifier.labels().len();
    let max_length = size(options.max_length, "max_length")?;
    classifier.max_length(max_length)?;
    // SAFETY: by this function's contract. Everything is checked before anything is computed.
    let (caller, confusion, precisions, recall, f1, support) = unsafe {
        let e = sized::read(evaluation)?;
        check_wanted(&e, classifier.model().config.problem_type)?;
        let cells = num_labels.checked_mul(num_labels).ok_or_else(|| {
            Error::InvalidArgument("This model has too many classes for a confusion matrix.".into())
        })?;
        (
            e,
            output(e.confusion, e.confusion_capacity, cells, "confusion")?,
            output(e.precision, e.class_capacity, num_labels, "precision")?,
            output(e.recall, e.class_capacity, num_labels, "recall")?,
            output(e.f1, e.class_capacity, num_labels, "f1")?,
            output(e.support, e.class_capacity, num_labels, "support")?,
        )
    };
    let thresholds = classifier.thresholds_or(threshold(caller.threshold)?);
    let precision = choice(
        caller.compute_precision,
        "compute_precision",
        &INFERENCE_PRECISIONS,
    )?;
    let options = PredictOptions {
        max_length,
        long_text: long_text(
            (options.long_text, options.window_stride, options.combine),
            max_length,
            classifier.max_length(0)?,
        )?,
        precision,
    };
    let dataset = copy_of(dataset)?;
    let (found, targets) = evaluate_texts(classifier, &dataset, &options, &thresholds)?;
    let scores = found.metrics.scores();
    let classes = found.metrics.classes();
    // Whatever can still fail does so before anything is written.
    let counts = match (&confusion, &found.metrics) {
        (Some(_), Metrics::SingleLabel(_, matrix)) => matrix.counts()?,
        _ => Vec::new(),
    };
    let value = bert_evaluation {
        examples: found.examples as i64,
        loss: found.loss,
        accuracy: scores.accuracy,
        f1_macro: scores.f1_macro,
        f1_weighted: scores.f1_weighted,
        matthews: scores.matthews,
        f1_micro: scores.f1_micro,
        mse: scores.mse,
        pearson: scores.pearson,
        spearman: scores.spearman,
        texts_cut: found.cut as i64,
        ..caller
    };
    if let Some(out) = confusion {
        out.copy_from_slice(&counts);
    }
    for (out, class) in precisions.into_iter().flatten().zip(classes) {
        *out = class.precision;
    }
    for (out, class) in recall.into_iter().flatten().zip(classes) {
        *out = class.recall;
    }
    for (out, class) in f1.into_iter().flatten().zip(classes) {
        *out = class.f1;
    }
    for (out, class) in support.into_iter().flatten().zip(classes) {
        *out = class.support;
    }
    // SAFETY: by this function's contract.
    unsafe { sized::write(evaluation, &value) }?;
    of_cut_texts(classifier, &found, max_length)?;
    of_evaluation(classifier.labels(), &targets, &found);
    Ok(())
}
