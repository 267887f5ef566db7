//! Training and evaluation.

use std::ffi::c_void;
use std::sync::Arc;

use super::arguments::{self, array, choice, flag, optional_path, output, result, size, steps};
use super::boundary::{call, free, outside};
use super::dataset::contents;
use super::handles::{self, Object, TrainerHandle, bert_dataset, bert_model, bert_trainer};
use super::predict::INFERENCE_PRECISIONS;
use super::sized::{self, Sized_, sized_struct};
use super::status::bert_status;
use crate::error::{Error, Result, check_range};
use crate::metrics::{Metrics, Scores};
use crate::model::Frozen;
use crate::ops::Precision;
use crate::problem::ProblemType;
use crate::train::loss::CrossEntropy;
use crate::train::optimizer::AdamWOptions;
use crate::train::{
    CheckpointOptions, EncodedDataset, EpochReport, Event, Metric, Progress, ScheduleKind,
    StepReport, StopReason, TrainOptions, TrainReport, Trainer, evaluate_in,
};

/// The learning rate stays after the warm-up.
pub const BERT_SCHEDULE_CONSTANT: i32 = 0;
/// The learning rate falls to zero in a straight line.
pub const BERT_SCHEDULE_LINEAR: i32 = 1;
/// The learning rate falls to zero along half a cosine.
pub const BERT_SCHEDULE_COSINE: i32 = 2;

/// Products of float32 numbers.
pub const BERT_PRECISION_FLOAT32: i32 = 0;
/// Products of numbers that were rounded to bfloat16, added up in float32. bfloat16 has float32's range and 8 significant
/// bits: in predictions on a GPU, which keeps the states between the products in it too, it changes logits in their third
/// digit.
pub const BERT_PRECISION_BFLOAT16: i32 = 1;
/// The same with float16 (IEEE 754's binary16), whose 11 significant bits change logits in their fourth digit: for
/// predictions, vectors and evaluations on a GPU. Its range ends at 65,504: a model whose states go beyond that gives
/// BERT_ERR_NOT_FINITE, and needs bfloat16 or float32. Not for training, whose gradients leave that range at both ends.
pub const BERT_PRECISION_FLOAT16: i32 = 2;

/// What training is computed in: each constant with what it is called inside.
const PRECISIONS: [(i32, Precision); 2] = [
    (BERT_PRECISION_FLOAT32, Precision::Float32),
    (BERT_PRECISION_BFLOAT16, Precision::BFloat16),
];

/// BERT_METRIC_ACCURACY for single-label classification, BERT_METRIC_F1_MICRO for multi-label, BERT_METRIC_MSE for
/// regression.
pub const BERT_METRIC_AUTO: i32 = -1;
/// The evaluation with the lowest loss is the best.
pub const BERT_METRIC_LOSS: i32 = 0;
/// The evaluation with the highest accuracy is the best; of multi-label examples, the share with all labels right and no
/// other. Not for regression; so the two that follow.
pub const BERT_METRIC_ACCURACY: i32 = 1;
/// The evaluation with the highest F1, averaged over classes or labels, is the best.
pub const BERT_METRIC_F1_MACRO: i32 = 2;
/// The evaluation with the highest F1, averaged over classes or labels by their examples, is the best.
pub const BERT_METRIC_F1_WEIGHTED: i32 = 3;
/// The evaluation with the highest Matthews correlation is the best. For single-label classification alone.
pub const BERT_METRIC_MATTHEWS: i32 = 4;
/// The evaluation with the highest F1 of all decisions counted together is the best; with classes that is the accuracy.
/// Not for regression.
pub const BERT_METRIC_F1_MICRO: i32 = 5;
/// The evaluation with the lowest mean squared error is the best. For regression alone; so the two that follow.
pub const BERT_METRIC_MSE: i32 = 6;
/// The evaluation with the highest Pearson correlation is the best.
pub const BERT_METRIC_PEARSON: i32 = 7;
/// The evaluation with the highest Spearman correlation is the best.
pub const BERT_METRIC_SPEARMAN: i32 = 8;

/// A progress callback is told of a step.
pub const BERT_EVENT_STEP: i32 = 0;
/// A progress callback is told of an evaluation.
pub const BERT_EVENT_EVALUATION: i32 = 1;

/// bert_train went through all planned epochs.
pub const BERT_STOP_FINISHED: i32 = 0;
/// bert_train ended because evaluations no longer improved.
pub const BERT_STOP_EARLY: i32 = 1;

/// Where a training run stands. It is the library's: valid during the callback.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_progress {
    /// The library's sizeof(bert_progress): read no field beyond it.
    pub struct_size: usize,
    /// BERT_EVENT_STEP or BERT_EVENT_EVALUATION.
    pub event: i32,
    /// The running epoch, from 1.
    pub epoch: i32,
    /// Epochs of the plan.
    pub epochs: i32,
    /// Steps done.
    pub step: i64,
    /// Steps of the plan.
    pub total_steps: i64,
    /// Mean loss of the last step's examples.
    pub loss: f64,
    /// The last step's learning rate.
    pub learning_rate: f64,
    /// The last step's gradient norm, before clipping.
    pub grad_norm: f64,
    /// Tokens a second over the epoch so far.
    pub tokens_per_second: f64,
    /// At BERT_EVENT_EVALUATION the validation data's mean loss, else NaN; so those that follow, which are NaN too where
    /// the problem doesn't have them (see bert_evaluation).
    pub eval_loss: f64,
    /// Accuracy.
    pub eval_accuracy: f64,
    /// F1, averaged over classes or labels.
    pub eval_f1_macro: f64,
    /// F1, averaged over classes or labels by their examples.
    pub eval_f1_weighted: f64,
    /// Matthews correlation.
    pub eval_matthews: f64,
    /// F1 of all decisions counted together.
    pub eval_f1_micro: f64,
    /// Mean squared error.
    pub eval_mse: f64,
    /// Pearson's correlation.
    pub eval_pearson: f64,
    /// Spearman's correlation.
    pub eval_spearman: f64,
}

/// Called after each step and evaluation, on the thread that trains, with what was set as progress_user_data. Returns 0
/// to go on; anything else ends the training with BERT_ERR_CANCELLED. Inside it, predicting, evaluating, saving and
/// asking are allowed; training the same model answers BERT_ERR_BUSY; freeing the trainer takes effect when the training
/// call returns. It must not throw or longjmp.
///
/// The model has the weights of the step that is told of. On a GPU the call comes while the step behind it is under way
/// (but for an epoch's last step, those before an evaluation or a checkpoint, and bert_train_step's): a training that is
/// ended then has made that step too, without a call for it.
pub type bert_progress_callback =
    Option<unsafe extern "C" fn(progress: *const bert_progress, user_data: *mut c_void) -> i32>;

/// How a model is trained. Call bert_train_options_init first. The defaults train a small model from nothing; to train a
/// pretrained one further, take a learning_rate of 2e-5 to 5e-5 and 2 to 4 epochs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_train_options {
    /// sizeof(bert_train_options), set by bert_train_options_init.
    pub struct_size: usize,
    /// Decides the order of the examples and the dropout. Default 42.
    pub seed: u64,
    /// Times through the data in the whole plan; the schedule's length follows from it. Default 30.
    pub epochs: i32,
    /// Examples of one batch. Default 16.
    pub batch_size: i32,
    /// Batches whose gradients make one step, every example weighing the same. Default 1.
    pub gradient_accumulation_steps: i32,
    /// Longest sequence in tokens, at least 4; 0 (default) takes what the model allows.
    pub max_length: i32,
    /// Highest learning rate. Default 0.001.
    pub learning_rate: f64,
    /// AdamW's weight decay; biases and layer norms are spared. Default 0.01.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment. Default 0.9.
    pub adam_beta1: f64,
    /// AdamW's decay of the second moment. Default 0.999.
    pub adam_beta2: f64,
    /// AdamW's epsilon. Default 1e-8.
    pub adam_epsilon: f64,
    /// Gradients are scaled down to this global norm; 0 turns that off. Default 1.
    pub max_grad_norm: f64,
    /// BERT_SCHEDULE_CONSTANT, _LINEAR (default) or _COSINE: the learning rate after the warm-up.
    pub schedule: i32,
    /// 1 (default): batches hold examples of similar length, which costs less; 0: any.
    pub group_by_length: i32,
    /// Steps in which the learning rate rises from 0; 0 (default): warmup_ratio decides.
    pub warmup_steps: i64,
    /// Share of all steps in which the learning rate rises from 0. Default 0.1.
    pub warmup_ratio: f64,
    /// bert_train evaluates every so many steps too; 0 (default): after each epoch only.
    pub eval_steps: i64,
    /// BERT_METRIC_…: which evaluation is the best; of equals the one with the lower loss. It must be one that the model's
    /// problem has. Default BERT_METRIC_AUTO.
    pub metric: i32,
    /// 1 (default): bert_train ends with the weights of the best evaluation; 0: with those of the last step.
    pub restore_best: i32,
    /// bert_train ends after so many evaluations in a row whose metric was no better than the best; 0 (default): never.
    pub early_stopping_patience: i32,
    /// bert_train saves the model here, as bert_save does, whenever an evaluation is the best so far; NULL (default):
    /// it doesn't.
    pub best_model_path: *const std::ffi::c_char,
    /// A file that gets a line of JSON after each step and evaluation; what it held is replaced. NULL (default): none.
    pub history_path: *const std::ffi::c_char,
    /// Highest learning rate of the pooler and the classifier; 0 (default): learning_rate.
    pub head_learning_rate: f64,
    /// Each layer's learning rate is that of the layer above it times this, the embeddings' below the first; 1 (default):
    /// all the same.
    pub layer_learning_rate_decay: f64,
    /// 1: the embeddings stay as they are; 0 (default).
    pub freeze_embeddings: i32,
    /// The first so many layers, and the embeddings, stay as they are; -1: all layers. Default 0. What is frozen costs
    /// no backward pass and no memory for gradients.
    pub freeze_layers: i32,
    /// A folder in which bert_train makes checkpoints (`checkpoint-STEP`, see bert_trainer_save), and from whose newest
    /// whole one a bert_train that hasn't made a step goes on, so that a program that was killed is simply started again.
    /// One comes every checkpoint_steps, every checkpoint_minutes, when the run ends and when it is cancelled; with
    /// neither of the two set, after each epoch. The folder is made where it is absent. A checkpoint of a run with other
    /// options or data is refused with BERT_ERR_INVALID_ARGUMENT. NULL (default): no checkpoints.
    pub checkpoint_path: *const std::ffi::c_char,
    /// See checkpoint_path; 0 (default): not by steps.
    pub checkpoint_steps: i64,
    /// See checkpoint_path; 0 (default): not by time.
    pub checkpoint_minutes: f64,
    /// How many checkpoints are kept, the newest; at least 1. Default 2.
    pub checkpoint_keep: i32,
    /// How much an example of each class weighs in the training loss, in the order of the class ids, as PyTorch's
    /// cross_entropy has it; NULL (default): all the same. For single-label classification alone.
    pub class_weights: *const f64,
    /// How many: the model's number of classes.
    pub num_class_weights: usize,
    /// The share of each target that is spread over all classes, 0 to 1. Default 0. For single-label classification alone.
    pub label_smoothing: f64,
    /// The probability, 0 to 1, from which on a label counts as predicted in evaluations and in the training accuracy of a
    /// multi-label model. Default 0.5.
    pub threshold: f64,
    /// Called after each step and evaluation; NULL (default): nothing is.
    pub progress: bert_progress_callback,
    /// Given to it.
    pub progress_user_data: *mut c_void,
    /// BERT_PRECISION_FLOAT32 (default), or BERT_PRECISION_BFLOAT16: mixed precision, as PyTorch's autocast has it. The
    /// layers' matrix products are computed with bfloat16 numbers, which is about twice as fast on processors with AMX, faster
    /// with AMD's AVX512-BF16, and as fast as float32 or slower on others; weights, gradients, moments, norms, softmax, loss
    /// and sums stay float32. On a GPU the states between the products are bfloat16 too. Evaluations during the training are float32 in any case:
    /// what decides about the best weights isn't rounded.
    pub precision: i32,
    /// 1: the backward pass computes each layer's inside again instead of keeping it, which takes less memory and about a
    /// third more time; the weights are the same, bit for bit. 0 (default).
    pub gradient_checkpointing: i32,
}

sized_struct!(bert_train_options, || {
    let options = TrainOptions::default();
    bert_train_options {
        struct_size: size_of::<bert_train_options>(),
        seed: options.seed,
        epochs: options.epochs as i32,
        batch_size: options.batch_size as i32,
        gradient_accumulation_steps: options.gradient_accumulation_steps as i32,
        max_length: options.max_length as i32,
        learning_rate: options.learning_rate,
        weight_decay: options.weight_decay,
        adam_beta1: options.adamw.beta1,
        adam_beta2: options.adamw.beta2,
        adam_epsilon: options.adamw.epsilon,
        max_grad_norm: options.max_grad_norm,
        schedule: BERT_SCHEDULE_LINEAR,
        group_by_length: i32::from(options.group_by_length),
        warmup_steps: options.warmup_steps as i64,
        warmup_ratio: options.warmup_ratio,
        eval_steps: options.eval_steps as i64,
        metric: BERT_METRIC_AUTO,
        restore_best: i32::from(options.restore_best),
        early_stopping_patience: options.early_stopping_patience as i32,
        best_model_path: std::ptr::null(),
        history_path: std::ptr::null(),
        head_learning_rate: options.head_learning_rate,
        layer_learning_rate_decay: options.layer_learning_rate_decay,
        freeze_embeddings: 0,
        freeze_layers: 0,
        checkpoint_path: std::ptr::null(),
        checkpoint_steps: 0,
        checkpoint_minutes: 0.0,
        checkpoint_keep: 2,
        class_weights: std::ptr::null(),
        num_class_weights: 0,
        label_smoothing: options.cross_entropy.label_smoothing,
        threshold: options.threshold,
        progress: None,
        progress_user_data: std::ptr::null_mut(),
        precision: BERT_PRECISION_FLOAT32,
        gradient_checkpointing: 0,
    }
});

/// One optimizer step, as bert_train_step writes it. Call bert_step_report_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_step_report {
    /// sizeof(bert_step_report), set by bert_step_report_init.
    pub struct_size: usize,
    /// The epoch it belongs to, from 1.
    pub epoch: i32,
    /// Examples.
    pub examples: i32,
    /// Steps done, this one included.
    pub step: i64,
    /// Steps of the plan.
    pub total_steps: i64,
    /// Tokens, [CLS] and [SEP] included.
    pub tokens: i64,
    /// Mean loss of its examples, before the update.
    pub loss: f64,
    /// The rate it was taken with.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Wall time.
    pub seconds: f64,
}

sized_struct!(bert_step_report, || bert_step_report {
    struct_size: size_of::<bert_step_report>(),
    epoch: 0,
    examples: 0,
    step: 0,
    total_steps: 0,
    tokens: 0,
    loss: 0.0,
    learning_rate: 0.0,
    grad_norm: 0.0,
    seconds: 0.0,
});

/// One epoch, as bert_train_epoch writes it: all its steps, whichever call made them. Call bert_epoch_report_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_epoch_report {
    /// sizeof(bert_epoch_report), set by bert_epoch_report_init.
    pub struct_size: usize,
    /// Which, from 1.
    pub epoch: i32,
    /// Steps done in all.
    pub step: i64,
    /// Examples.
    pub examples: i64,
    /// Tokens, [CLS] and [SEP] included.
    pub tokens: i64,
    /// Mean loss, each example's as it was when its step was made.
    pub loss: f64,
    /// Share of examples that were right at that moment, with dropout acting: of multi-label examples, of those with all
    /// labels right and no other; NaN for regression.
    pub accuracy: f64,
    /// Wall time of the steps.
    pub seconds: f64,
    /// The last step's learning rate.
    pub learning_rate: f64,
}

sized_struct!(bert_epoch_report, || bert_epoch_report {
    struct_size: size_of::<bert_epoch_report>(),
    epoch: 0,
    step: 0,
    examples: 0,
    tokens: 0,
    loss: 0.0,
    accuracy: 0.0,
    seconds: 0.0,
    learning_rate: 0.0,
});

/// A whole run, as bert_train writes it. Call bert_train_report_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_train_report {
    /// sizeof(bert_train_report), set by bert_train_report_init.
    pub struct_size: usize,
    /// Whole epochs done.
    pub epochs: i32,
    /// BERT_STOP_FINISHED or BERT_STOP_EARLY.
    pub stop_reason: i32,
    /// Steps done.
    pub steps: i64,
    /// The last epoch's mean training loss.
    pub loss: f64,
    /// The last epoch's training accuracy, with dropout acting; NaN for regression.
    pub accuracy: f64,
    /// The best evaluation's metric; NaN without validation data.
    pub best_metric: f64,
    /// The step after which it was measured; 0 without validation data.
    pub best_step: i64,
    /// 1 if this call ended by giving the model the best evaluation's weights.
    pub restored_best: i32,
    /// The step of the checkpoint that this call went on from; 0 where it went on from none.
    pub resumed_step: i64,
    /// Tokens that this call trained on.
    pub tokens: i64,
    /// Wall time of this call.
    pub seconds: f64,
}

sized_struct!(bert_train_report, || bert_train_report {
    struct_size: size_of::<bert_train_report>(),
    epochs: 0,
    stop_reason: 0,
    steps: 0,
    loss: 0.0,
    accuracy: 0.0,
    best_metric: 0.0,
    best_step: 0,
    restored_best: 0,
    resumed_step: 0,
    tokens: 0,
    seconds: 0.0,
});

/// A run that was taken up again, as bert_trainer_resume writes it. Call bert_resume_report_init first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_resume_report {
    /// sizeof(bert_resume_report), set by bert_resume_report_init.
    pub struct_size: usize,
    /// Whole epochs done.
    pub epochs: i32,
    /// 1: the run ends with the same weights, bit for bit, as if it had never stopped. 0: that isn't promised, since
    /// options, data, device, number of threads, processor or library aren't those of then; the log says which.
    pub is_exact: i32,
    /// Steps done.
    pub step: i64,
    /// Steps of the plan.
    pub total_steps: i64,
}

sized_struct!(bert_resume_report, || bert_resume_report {
    struct_size: size_of::<bert_resume_report>(),
    epochs: 0,
    is_exact: 0,
    step: 0,
    total_steps: 0,
});

/// How good a model is on labelled examples, as bert_evaluate writes it, as scikit-learn and scipy define it. Call
/// bert_evaluation_init first, then set the arrays that you want; what is NULL isn't wanted. A metric that the model's
/// problem doesn't have is NaN; none is NaN else.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bert_evaluation {
    /// sizeof(bert_evaluation), set by bert_evaluation_init.
    pub struct_size: usize,
    /// Examples.
    pub examples: i64,
    /// Mean cross entropy; for multi-label classification mean binary cross entropy over all examples and labels; for
    /// regression the mean squared error.
    pub loss: f64,
    /// Share of right answers; for multi-label classification the share of examples with all labels right and no other
    /// (subset accuracy). Regression has none; so the two that follow.
    pub accuracy: f64,
    /// F1, averaged over classes or labels.
    pub f1_macro: f64,
    /// F1, averaged over classes or labels by their examples.
    pub f1_weighted: f64,
    /// Matthews correlation, of single-label classification alone; 0 where it is undefined.
    pub matthews: f64,
    /// The caller's array for the confusion matrix, num_labels * num_labels: row by row the true class, along a row how
    /// often each class was predicted. For single-label classification alone.
    pub confusion: *mut u64,
    /// Its capacity in elements.
    pub confusion_capacity: usize,
    /// The caller's array for each class's or label's precision: num_labels; so the three that follow. Not for
    /// regression.
    pub precision: *mut f64,
    /// Each class's recall.
    pub recall: *mut f64,
    /// Each class's F1.
    pub f1: *mut f64,
    /// Each class's number of examples.
    pub support: *mut u64,
    /// The capacity in elements of each of these four.
    pub class_capacity: usize,
    /// Set before the call: the probability, 0 to 1, from which on a label counts as predicted by a multi-label model.
    /// Default 0.5.
    pub threshold: f64,
    /// F1 of all decisions counted together; with classes that is the accuracy. Regression has none.
    pub f1_micro: f64,
    /// Mean squared error over all examples and targets, of regression alone; so the two that follow.
    pub mse: f64,
    /// Pearson's correlation of targets and answers; of several targets the mean. It counts as 0 where it is undefined:
    /// with fewer than two examples, and where all targets or all answers are the same.
    pub pearson: f64,
    /// Spearman's rank correlation, likewise.
    pub spearman: f64,
    /// Set before the call: what a GPU computes the layers in, BERT_PRECISION_FLOAT32 (default), _BFLOAT16 or _FLOAT16.
    /// The CPU computes in float32 whichever it is.
    pub compute_precision: i32,
}

sized_struct!(bert_evaluation, || bert_evaluation {
    struct_size: size_of::<bert_evaluation>(),
    examples: 0,
    loss: 0.0,
    accuracy: 0.0,
    f1_macro: 0.0,
    f1_weighted: 0.0,
    matthews: 0.0,
    confusion: std::ptr::null_mut(),
    confusion_capacity: 0,
    precision: std::ptr::null_mut(),
    recall: std::ptr::null_mut(),
    f1: std::ptr::null_mut(),
    support: std::ptr::null_mut(),
    class_capacity: 0,
    threshold: 0.5,
    f1_micro: 0.0,
    mse: 0.0,
    pearson: 0.0,
    spearman: 0.0,
    compute_precision: BERT_PRECISION_FLOAT32,
});

/// Sets the defaults. `struct_size` is sizeof(bert_train_options). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_options_init(
    options: *mut bert_train_options,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(options, struct_size, Sized_::default()) })
}

/// Prepares the struct for bert_train_step. `struct_size` is sizeof(bert_step_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `report` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_step_report_init(
    report: *mut bert_step_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Prepares the struct for bert_train_epoch. `struct_size` is sizeof(bert_epoch_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `report` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_epoch_report_init(
    report: *mut bert_epoch_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Prepares the struct for bert_train. `struct_size` is sizeof(bert_train_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `report` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_report_init(
    report: *mut bert_train_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Prepares the struct for bert_trainer_resume. `struct_size` is sizeof(bert_resume_report). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `report` is NULL or writable for `struct_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_resume_report_init(
    report: *mut bert_resume_report,
    struct_size: usize,
) -> bert_status {
    // SAFETY: by this function's contract.
    call(|| unsafe { sized::initialise(report, struct_size, Sized_::default()) })
}

/// Prepares the struct for bert_evaluate: no array is wanted. `struct_size` is sizeof(bert_evaluation). Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
///
/// # Safety
/// `evaluation` is NULL or writable for `struct_size` bytes.
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
    fn with<T>(
        self,
        train: impl FnOnce(Option<&mut dyn FnMut(&Progress<'_>) -> bool>) -> Result<T>,
    ) -> Result<T> {
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
             BERT_PRECISION_BFLOAT16. What was trained so can be used in float16."
                .into(),
        ));
    }
    choice(precision, "precision", &PRECISIONS)
}

/// Translates the caller's options.
///
/// # Safety
/// `options` is NULL or set by bert_train_options_init; its paths end with a NUL.
unsafe fn translate(
    options: *const bert_train_options,
    num_hidden_layers: usize,
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
    // Held against their ranges also where no folder is set: a slip shows at once.
    let has_checkpoints = checkpoint_path.is_some();
    let checkpoints = CheckpointOptions {
        folder: checkpoint_path.unwrap_or_default(),
        steps: steps(o.checkpoint_steps, "checkpoint_steps")?,
        minutes: o.checkpoint_minutes,
        keep: size(o.checkpoint_keep, "checkpoint_keep")?,
    };
    checkpoints.validate()?;
    let options = TrainOptions {
        seed: o.seed,
        epochs: size(o.epochs, "epochs")? as u32,
        batch_size: size(o.batch_size, "batch_size")?,
        gradient_accumulation_steps: size(
            o.gradient_accumulation_steps,
            "gradient_accumulation_steps",
        )?,
        max_length: size(o.max_length, "max_length")?,
        learning_rate: o.learning_rate,
        adamw: AdamWOptions {
            beta1: o.adam_beta1,
            beta2: o.adam_beta2,
            epsilon: o.adam_epsilon,
        },
        weight_decay: o.weight_decay,
        head_learning_rate: o.head_learning_rate,
        layer_learning_rate_decay: o.layer_learning_rate_decay,
        frozen: Frozen {
            embeddings: flag(o.freeze_embeddings, "freeze_embeddings")?,
            layers: match o.freeze_layers {
                -1 => num_hidden_layers,
                layers => size(layers, "freeze_layers")?,
            },
        },
        cross_entropy: CrossEntropy {
            class_weights,
            label_smoothing: o.label_smoothing,
        },
        max_grad_norm: o.max_grad_norm,
        precision: training_precision(o.precision)?,
        gradient_checkpointing: flag(o.gradient_checkpointing, "gradient_checkpointing")?,
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
        threshold: o.threshold,
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

/// Makes a trainer of `model` on the data set `train`, with `validation` (NULL: none) to evaluate on. Nothing is trained
/// yet. Texts are tokenized now, with the model's tokenizer: both data sets can be freed at once, and the model's handle
/// too. `options` may be NULL; what its
/// pointers point to is copied, but for progress_user_data. Free the trainer with bert_trainer_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an option out of its range), BERT_ERR_STRUCT_SIZE,
/// BERT_ERR_DATA (no examples, or all of one class, or labels for another problem), BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have),
/// BERT_ERR_IO (history_path, best_model_path), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `options` is NULL or set by bert_train_options_init; its callback and user data are valid until the trainer is freed;
/// `trainer` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_trainer_create(
    model: *const bert_model,
    train: *const bert_dataset,
    validation: *const bert_dataset,
    options: *const bert_train_options,
    trainer: *mut *mut bert_trainer,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        let layers = model.classifier.model().config.num_hidden_layers;
        // SAFETY: by this function's contract.
        let (out, (options, callback)) =
            unsafe { (result(trainer, "trainer")?, translate(options, layers)?) };
        let train = contents(train)?;
        let validation = if validation.is_null() {
            None
        } else {
            Some(contents(validation)?)
        };
        let trainer = Trainer::new(
            model.classifier.clone(),
            &train,
            validation.as_ref(),
            options,
        )?;
        *out = handles::insert(Object::Trainer(Arc::new(TrainerHandle {
            trainer,
            callback,
        })));
        Ok(())
    })
}

/// Frees a trainer; NULL is allowed. The model keeps what it has learned. Inside a progress callback it takes effect
/// when the training call returns. Any thread, once.
#[unsafe(no_mangle)]
pub extern "C" fn bert_trainer_free(trainer: *mut bert_trainer) {
    free(|| handles::free_trainer(trainer));
}

/// Makes one optimizer step on the trainer's own next batches. Prepare `report` with bert_step_report_init, or give NULL.
/// One thread at a time trains a model.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_FINISHED (all planned epochs are done),
/// BERT_ERR_CANCELLED, BERT_ERR_NOT_FINITE (the batches are skipped if you go on), BERT_ERR_BUSY, BERT_ERR_IO (history_path: the
/// step is made, and its line is written with the next one if you go on), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `report` is NULL or set by bert_step_report_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_step(
    trainer: *mut bert_trainer,
    report: *mut bert_step_report,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        unsafe { sized::read_or_default(report) }?;
        let handle = handles::trainer(trainer)?;
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

/// Trains the rest of the running epoch, or the whole next one. Prepare `report` with bert_epoch_report_init, or give
/// NULL. The learning rate follows the schedule of the planned epochs. Evaluation is left to the caller
/// (bert_evaluate). One thread at a time trains a model.
///
/// Returns as bert_train_step.
///
/// # Safety
/// `report` is NULL or set by bert_epoch_report_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train_epoch(
    trainer: *mut bert_trainer,
    report: *mut bert_epoch_report,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        unsafe { sized::read_or_default(report) }?;
        let handle = handles::trainer(trainer)?;
        let epoch = handle.callback.with(|p| handle.trainer.train_epoch(p))?;
        let EpochReport {
            epoch,
            step,
            loss,
            accuracy,
            examples,
            tokens,
            seconds,
            learning_rate,
        } = epoch;
        let value = bert_epoch_report {
            struct_size: 0,
            epoch: epoch as i32,
            step: step as i64,
            examples: examples as i64,
            tokens: tokens as i64,
            loss,
            accuracy,
            seconds,
            learning_rate,
        };
        // SAFETY: by this function's contract.
        unsafe { write_report(report, &value) }
    })
}

/// Trains the rest of the plan: all epochs, with an evaluation on the validation data after each and every eval_steps.
/// Prepare `report` with bert_train_report_init, or give NULL. At the end, also after early stopping, the model has the
/// weights of the best evaluation (with restore_best and validation data), else those of the last step. After a
/// cancellation, and after an error, it has those of the last step; what best_model_path holds is then still the best.
/// One thread at a time trains a model.
///
/// Returns as bert_train_step, but BERT_OK where all planned epochs were done before, with the model left as it is; and
/// BERT_ERR_IO for best_model_path (the evaluation is made again if you go on) and checkpoint_path too;
/// BERT_ERR_INVALID_ARGUMENT where checkpoint_path holds another run's checkpoints.
///
/// # Safety
/// `report` is NULL or set by bert_train_report_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_train(
    trainer: *mut bert_trainer,
    report: *mut bert_train_report,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        unsafe { sized::read_or_default(report) }?;
        let handle = handles::trainer(trainer)?;
        let run = handle.callback.with(|p| handle.trainer.train(p))?;
        let TrainReport {
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
        } = run;
        let value = bert_train_report {
            struct_size: 0,
            epochs: epochs as i32,
            stop_reason: match stop_reason {
                StopReason::Finished => BERT_STOP_FINISHED,
                StopReason::EarlyStopping => BERT_STOP_EARLY,
            },
            steps: steps as i64,
            loss,
            accuracy,
            best_metric: best_metric.unwrap_or(f64::NAN),
            best_step: best_step as i64,
            restored_best: i32::from(restored_best),
            resumed_step: resumed_step as i64,
            tokens: tokens as i64,
            seconds,
        };
        // SAFETY: by this function's contract.
        unsafe { write_report(report, &value) }
    })
}

/// Writes a checkpoint of the run to the directory `path`: the model as bert_save does, in one step and with checksums
/// (bert_load reads it like any model), and beside it what the run needs to go on as if it had never stopped: the
/// optimizer's moments, step, schedule, the order of the data, random state and the best evaluation with its weights.
/// About four times the model's size. Any thread, also while the trainer trains, and inside its callback: it gets the end
/// of a step.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_IO, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
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

/// Takes a run up where bert_trainer_save left it: the weights of the trainer's model, the optimizer and everything else
/// become those of then. Make the trainer as it was made then: a model with the same parameters (the one that the run
/// began with, or the checkpoint, loaded as a model), the same data sets and options. With the same options, data,
/// device, threads, processor and library the run ends with the same weights, bit for bit, as one that never stopped;
/// with others it goes on too, with its own options, and `report` says that this isn't promised. Where it fails,
/// nothing has changed. Prepare `report` with bert_resume_report_init, or give NULL. Any thread; not inside a callback of
/// the same model's training.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model with other parameters), BERT_ERR_STRUCT_SIZE,
/// BERT_ERR_FORMAT (damaged, or no checkpoint), BERT_ERR_VERSION (written by a newer library), BERT_ERR_IO,
/// BERT_ERR_BUSY, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `path` is NULL or ends with a NUL; `report` is NULL or set by bert_resume_report_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_trainer_resume(
    trainer: *mut bert_trainer,
    path: *const std::ffi::c_char,
    report: *mut bert_resume_report,
) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let path = unsafe {
            sized::read_or_default(report)?;
            arguments::path(path, "path")?
        };
        let handle = handles::trainer(trainer)?;
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
unsafe fn write_report<T: Sized_>(report: *mut T, value: &T) -> Result<()> {
    if report.is_null() {
        return Ok(());
    }
    // SAFETY: by this function's contract.
    unsafe { sized::write(report, value) }
}

/// Asks a trainer to stop: the training call that is running ends after its step, or, where none is running, the next
/// one ends before its first, with BERT_ERR_CANCELLED. Any thread, and signal handlers. NULL is allowed.
///
/// # Safety
/// The trainer isn't freed before this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_trainer_cancel(trainer: *const bert_trainer) {
    // SAFETY: by this function's contract.
    unsafe { handles::cancel(trainer) }
}

/// Says which of the caller's arrays and options an evaluation of that problem can't go with.
fn check_wanted(e: &bert_evaluation, problem: ProblemType) -> Result<()> {
    check_range("threshold", e.threshold, 0.0, 1.0)?;
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

/// Evaluates a model on labelled examples, with texts cut at `max_length` tokens (0: what the model allows). Prepare
/// `evaluation` with bert_evaluation_init and set the arrays that you want. Any thread, also while the model is trained.
///
/// Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_DATA (no examples,
/// or labels for another problem), BERT_ERR_UNKNOWN_LABEL, BERT_ERR_BUFFER_TOO_SMALL (nothing was written),
/// BERT_ERR_UNSUPPORTED (an array for something that the model's problem doesn't have), BERT_ERR_NOT_FINITE,
/// BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `evaluation` is set by bert_evaluation_init and its arrays are writable for their capacities.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_evaluate(
    model: *const bert_model,
    dataset: *const bert_dataset,
    max_length: i32,
    evaluation: *mut bert_evaluation,
) -> bert_status {
    call(|| {
        let model = handles::model(model)?;
        let classifier = &model.classifier;
        let num_labels = classifier.labels().len();
        // SAFETY: by this function's contract. Everything is checked before anything is computed.
        let (caller, confusion, precisions, recall, f1, support) = unsafe {
            let e = sized::read(evaluation)?;
            check_wanted(&e, classifier.model().config.problem_type)?;
            let cells = num_labels.checked_mul(num_labels).ok_or_else(|| {
                Error::InvalidArgument(
                    "This model has too many classes for a confusion matrix.".into(),
                )
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
        let precision = choice(
            caller.compute_precision,
            "compute_precision",
            &INFERENCE_PRECISIONS,
        )?;
        let data = EncodedDataset::new(
            classifier,
            &contents(dataset)?,
            size(max_length, "max_length")?,
        )?;
        let found = evaluate_in(
            precision,
            classifier.model(),
            &classifier.parameters(),
            &data,
            caller.threshold,
        )?;
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
        unsafe { sized::write(evaluation, &value) }
    })
}
