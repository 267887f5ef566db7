//! The training loop: steps, epochs, and the whole plan with evaluation, best checkpoint and early stopping.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};

use super::automatic::steps_per_epoch;
use super::checkpoint::{BestScore, Fingerprint, Position, Totals, exact};
use super::checkpoint_folder::CheckpointFolder;
use super::evaluate::{EncodedDataset, Evaluation, evaluate};
use super::history::History;
use super::lengths::warn_of_cut_texts;
use super::optimizer::AdamW;
use super::options::TrainOptions;
use super::plan::epoch_batches;
use super::resume::Saver;
use super::schedule::Schedule;
use super::step::{Awaited, Begun};
use super::target_scale::TargetScale;
use super::touched::TouchedRows;
use super::warnings::{self, LossWatch};
use crate::classifier::Classifier;
use crate::cuda::CudaTraining;
use crate::data::{Dataset, Targets};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::hf::{self, PlanNumbers};
use crate::memory;
use crate::model::{Gradients, Parameters, refuse_int8};
use crate::ops::Buffers;
use crate::problem::ProblemType;
use crate::sync::Turns;

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The epoch it belongs to, from 1.
    pub epoch: u32,
    /// Steps done, this one included.
    pub step: u64,
    /// Steps of the whole plan.
    pub total_steps: u64,
    /// Mean loss of its examples, before the update.
    #[serde(with = "exact")]
    pub loss: f64,
    /// The rate it was taken with.
    #[serde(with = "exact")]
    pub learning_rate: f64,
    /// Norm of all gradients before clipping.
    #[serde(with = "exact")]
    pub grad_norm: f64,
    /// Examples.
    pub examples: usize,
    /// Tokens, [CLS] and [SEP] included, padding not.
    pub tokens: usize,
    /// Wall time.
    #[serde(with = "exact")]
    pub seconds: f64,
}

/// One epoch, counted from its first step, whichever call made it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// Which, from 1.
    pub epoch: u32,
    /// Steps done in all.
    pub step: u64,
    /// Mean loss over the examples, each as it was when its step was made.
    pub loss: f64,
    /// Share of examples that the model had right at that moment, with dropout acting: of multi-label examples, of those
    /// with all labels right and no other; NaN for regression.
    pub accuracy: f64,
    /// Examples.
    pub examples: usize,
    /// Tokens, [CLS] and [SEP] included, padding not.
    pub tokens: usize,
    /// Wall time of the steps.
    pub seconds: f64,
    /// The last step's rate.
    pub learning_rate: f64,
}

/// Why [`Trainer::train`] came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All planned epochs are done.
    Finished,
    /// The metric had not improved for `early_stopping_patience` evaluations.
    EarlyStopping,
    /// A callback or a cancellation ended it.
    Cancelled,
    /// The loss or the gradient became NaN or infinite.
    NotFinite,
    /// Another error ended it.
    Failed,
}

impl StopReason {
    fn of(error: &Error) -> StopReason {
        match error.category() {
            Error::Cancelled(_) => StopReason::Cancelled,
            Error::NotFinite(_) => StopReason::NotFinite,
            _ => StopReason::Failed,
        }
    }
}

/// How a training call ended.
#[derive(Debug)]
pub struct Ended<T> {
    /// What was done until then; `None` where no step was.
    pub report: Option<T>,
    /// Whether it went to its end.
    pub outcome: Result<()>,
}

impl<T> Ended<T> {
    /// The report of a call that went to its end.
    pub fn into_result(self) -> Result<T> {
        self.outcome?;
        self.report.ok_or_else(|| {
            Error::Internal("A training call has no report; please report this.".into())
        })
    }
}

impl<T> From<Error> for Ended<T> {
    fn from(error: Error) -> Ended<T> {
        Ended {
            report: None,
            outcome: Err(error),
        }
    }
}

/// A whole run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainReport {
    /// Epochs done.
    pub epochs: u32,
    /// Steps done.
    pub steps: u64,
    /// The last epoch's mean training loss.
    pub loss: f64,
    /// The last epoch's training accuracy; NaN for regression.
    pub accuracy: f64,
    /// The best evaluation's metric; `None` without validation data.
    pub best_metric: Option<f64>,
    /// The step after which it was measured; 0 without validation data.
    pub best_step: u64,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Whether the model now has the best evaluation's weights.
    pub restored_best: bool,
    /// The step of the checkpoint that this call went on from; 0 where it didn't.
    pub resumed_step: u64,
    /// Tokens trained on during this call.
    pub tokens: usize,
    /// Wall time of this call, evaluations included.
    pub seconds: f64,
    /// The numbers of the plan, those that the library has taken included.
    pub plan: PlanNumbers,
    /// Steps of the plan.
    pub planned_steps: u64,
    /// Training texts that were cut to the maximum length.
    pub train_texts_cut: usize,
    /// Validation texts that were.
    pub validation_texts_cut: usize,
}

/// A run that was taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Steps done.
    pub step: u64,
    /// Whole epochs done.
    pub epochs_done: u32,
    /// Steps of the whole plan.
    pub total_steps: u64,
    /// In what this run differs from the one that was saved, each as "name (then …, now …)". Where there is nothing, the
    /// run ends with the same weights, bit for bit, as if it had never stopped.
    pub differences: Vec<String>,
}

/// What a progress callback is told about.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A step was made.
    Step,
    /// An evaluation was made.
    Evaluation(&'a Evaluation),
}

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What has just happened.
    pub event: Event<'a>,
    /// The last step.
    pub step: StepReport,
    /// Epochs of the plan.
    pub epochs: u32,
    /// Tokens a second over the epoch so far.
    pub tokens_per_second: f64,
}

/// Called on the thread that trains, after each step and evaluation, with no lock of the model held; false ends the
/// training.
pub type OnProgress<'a> = &'a mut dyn FnMut(&Progress<'_>) -> bool;

/// Trains one classifier on one data set. Its calls take `&self` and may come from any thread; a second one while one
/// trains answers [`Error::Busy`].
pub struct Trainer {
    pub(super) classifier: Arc<Classifier>,
    pub(super) options: TrainOptions,
    pub(super) data: EncodedDataset,
    pub(super) lengths: Vec<usize>,
    pub(super) validation: Option<EncodedDataset>,
    /// The units of regression targets; `None` of others, and where they are taken as they are.
    pub(super) scale: Option<TargetScale>,
    pub(super) schedule: Schedule,
    pub(super) cancelled: Arc<AtomicBool>,
    /// Held for one step at a time, never during a callback: whoever wants to save the run waits for a step at most.
    pub(super) state: Turns<State>,
    /// What the run is, as far as the data goes: computed when it is first asked for.
    pub(super) fingerprints: OnceCell<(Fingerprint, Option<Fingerprint>)>,
    pub(super) checkpoints: Option<CheckpointFolder>,
}

/// One call of [`Trainer::train`].
struct TrainCall {
    started: Instant,
    /// The step of the checkpoint that it went on from; 0: none.
    resumed_step: u64,
    /// Tokens that it trained on.
    tokens: usize,
    restored_best: bool,
}

/// What a run changes as it goes.
pub(super) struct State {
    pub(super) optimizer: AdamW,
    /// The optimizer and the gradients of a model on a GPU; the host's have no numbers then.
    pub(super) on_gpu: Option<CudaTraining>,
    pub(super) gradients: Gradients,
    /// The rows of the word embeddings in which `gradients` may be other than zero.
    pub(super) touched: TouchedRows,
    /// Memory of the passes.
    pub(super) buffers: Buffers,
    /// Memory for the next values of what isn't frozen; empty where there is none.
    pub(super) spare: Vec<Vec<f32>>,
    /// Where the run stands.
    pub(super) position: Position,
    /// The running epoch's batches; empty between epochs.
    pub(super) batches: Vec<Vec<usize>>,
    pub(super) history: Option<History>,
    pub(super) best: Option<Best>,
    /// The step that was begun and isn't finished: only on a GPU, and only while a training call is inside.
    pub(super) begun: Option<Begun>,
    /// When the last step was finished.
    pub(super) last_end: Option<Instant>,
    /// The steps that were finished and that the training call hasn't told of.
    pub(super) untold: Vec<Standing>,
    /// Why a step came to nothing that another call than the one that trains has finished.
    pub(super) failure: Option<Error>,
    /// What the last evaluation found, and what the best one did; nothing after a resumption.
    pub(super) last_found: Option<Arc<Evaluation>>,
    pub(super) best_found: Option<Arc<Evaluation>>,
    /// Evaluations that were made.
    pub(super) evaluations: u64,
    pub(super) loss_watch: LossWatch,
    /// Whether a new head was brought into the targets' units.
    pub(super) is_head_ready: bool,
    /// An epoch that ended with a loss to warn of: its number, the loss and the rate.
    pub(super) risen: Option<(u32, f64, f64)>,
}

impl State {
    /// Writes the lines of the steps that were made.
    pub(super) fn write_history(&mut self) -> Result<()> {
        self.history.as_mut().map_or(Ok(()), History::write)
    }

    /// The optimizer's first and second moments, in the table's order; empty where a parameter is frozen.
    pub(super) fn moments(&self) -> Result<[Cow<'_, [Vec<f32>]>; 2]> {
        Ok(match &self.on_gpu {
            Some(training) => training.moments()?.map(Cow::Owned),
            None => {
                let (first, second) = self.optimizer.moments();
                [Cow::Borrowed(first), Cow::Borrowed(second)]
            }
        })
    }

    /// Goes on after `step` steps with the moments that they left.
    pub(super) fn resume_moments(
        &mut self,
        step: u64,
        first: Vec<Vec<f32>>,
        second: Vec<Vec<f32>>,
    ) -> Result<()> {
        match &mut self.on_gpu {
            Some(training) => training.resume(step, &first, &second),
            None => {
                self.optimizer.resume(step, first, second);
                Ok(())
            }
        }
    }

    pub(super) fn standing(&self, step: StepReport) -> Standing {
        Standing {
            step,
            tokens_per_second: self.position.totals.tokens as f64
                / self.position.totals.seconds.max(1e-9),
        }
    }
}

/// What a callback is told after a step or an evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    step: StepReport,
    tokens_per_second: f64,
}

/// The best evaluation so far, and the weights that it was made with.
pub(super) struct Best {
    pub(super) score: BestScore,
    pub(super) parameters: Arc<Parameters>,
}

impl Trainer {
    /// Encodes the data with the classifier's tokenizer and lays the plan. Nothing is trained yet.
    pub fn new(
        classifier: Arc<Classifier>,
        train: &Dataset,
        validation: Option<&Dataset>,
        options: TrainOptions,
    ) -> Result<Trainer> {
        if classifier.is_int8() {
            return Err(refuse_int8("training"));
        }
        options.validate()?;
        options.validate_for(&classifier.model().config)?;
        let data = EncodedDataset::new(&classifier, train, options.max_length)?;
        if let Targets::Classes(classes) = &data.targets
            && classes.iter().all(|class| *class == classes[0])
        {
            return Err(Error::Data(format!(
                "All {} training examples have the label '{}'; a classifier needs examples of at least two labels.",
                data.len(),
                classifier.labels().name(classes[0]).unwrap_or_default()
            )));
        }
        let max_length = classifier.max_length(options.max_length)?;
        warn_of_cut_texts(&classifier, train, &data, max_length, "training")?;
        let of_train = warnings::Data {
            dataset: train,
            encoded: &data,
        };
        let validation = match validation {
            None => {
                warnings::of_data(&classifier, of_train, None)?;
                None
            }
            Some(dataset) => {
                let encoded = EncodedDataset::new(&classifier, dataset, options.max_length)?;
                warn_of_cut_texts(&classifier, dataset, &encoded, max_length, "validation")?;
                let of_validation = warnings::Data {
                    dataset,
                    encoded: &encoded,
                };
                warnings::of_data(&classifier, of_train, Some(of_validation))?;
                Some(encoded)
            }
        };
        let model = classifier.model();
        let groups = options.groups(&model.table);
        let trained: usize = (groups.iter().zip(&model.table.specs))
            .filter(|(group, _)| !group.is_frozen)
            .map(|(_, spec)| spec.len())
            .sum();
        // All values; of what is trained another set, gradients and two moments too.
        let bytes = (4 * model.table.parameter_count()).saturating_add(4 * 4 * trained);
        memory::check(bytes as u128, |most| {
            format!(
                "Training this model needs at least {bytes} bytes for weights, gradients and moments; this process can \
                 have {most}."
            )
        })?;
        let mut groups = groups;
        let scale = match options.scale_targets {
            true => TargetScale::of(&data.targets),
            false => None,
        };
        if let Some(scale) = &scale {
            warnings::of_scale(classifier.labels(), scale);
        }
        let units = scale.as_ref().map(|scale| scale.units(&model.table));
        let on_gpu = match &model.device {
            Device::Cpu => {
                // What that may tell the log it tells here, on the caller's thread and with no lock held.
                options.precision.instructions();
                None
            }
            Device::Cuda(gpu) => {
                let all = groups.clone();
                // The host keeps no moments beside the GPU's.
                groups.iter_mut().for_each(|group| group.is_frozen = true);
                let training =
                    CudaTraining::new(gpu, options.adamw, &model.table, (all, units.clone()));
                Some(training?)
            }
        };
        let steps_per_epoch = steps_per_epoch(
            data.len(),
            options.batch_size,
            options.gradient_accumulation_steps,
        );
        let schedule = options.schedule(steps_per_epoch * u64::from(options.epochs));
        warnings::of_plan(&classifier, &options, &schedule);
        if let Some(path) = &options.best_model_path {
            hf::check_save(path)?;
        }
        let history = options
            .history_path
            .as_deref()
            .map(History::create)
            .transpose()?;
        Ok(Trainer {
            lengths: memory::collected(data.sequences.ranges().map(|range| Ok(range.len())))?,
            state: Turns::new(State {
                gradients: match on_gpu {
                    Some(_) => Vec::new(),
                    None => model.zero_gradients(options.frozen)?,
                },
                optimizer: AdamW::new(options.adamw, &model.table, groups)?.with_units(units),
                on_gpu,
                touched: TouchedRows::new(&model.table)?,
                buffers: Buffers::default(),
                spare: Vec::new(),
                position: Position::default(),
                batches: Vec::new(),
                history,
                best: None,
                begun: None,
                last_end: None,
                untold: Vec::new(),
                failure: None,
                last_found: None,
                best_found: None,
                evaluations: 0,
                loss_watch: LossWatch::default(),
                is_head_ready: false,
                risen: None,
            }),
            fingerprints: OnceCell::new(),
            checkpoints: options
                .checkpoints
                .as_ref()
                .map(CheckpointFolder::open)
                .transpose()?,
            data,
            validation,
            scale,
            schedule,
            cancelled: Arc::new(AtomicBool::new(false)),
            options,
            classifier,
        })
    }

    /// The classifier that is trained.
    pub fn classifier(&self) -> &Arc<Classifier> {
        &self.classifier
    }

    /// Setting it ends the running training call after its step, or the next one before its first.
    pub fn cancel_flag(&self) -> &Arc<AtomicBool> {
        &self.cancelled
    }

    /// One optimizer step on the next batches. [`Error::Finished`] once all planned epochs are done. Where the history
    /// can't be written the step is made; its line comes with the next one.
    pub fn train_step(&self, progress: Option<OnProgress<'_>>) -> Result<StepReport> {
        let _training = self.classifier.begin_training()?;
        self.ended(self.one_step(progress))
    }

    fn one_step(&self, progress: Option<OnProgress<'_>>) -> Result<StepReport> {
        let mut state = self.state()?;
        let awaited = |_, _| Awaited {
            caller: true,
            ..Awaited::default()
        };
        self.advance(&mut state, awaited)?;
        state.write_history()?;
        let Some(standing) = state.untold.pop() else {
            return Err(Error::Internal(
                "A step has no report; please report this.".into(),
            ));
        };
        let risen = state.risen.take();
        drop(state);
        if let Some((epoch, loss, learning_rate)) = risen {
            warnings::of_rising_loss(epoch, loss, learning_rate);
        }
        self.tell(standing, Event::Step, progress)?;
        Ok(standing.step)
    }

    /// The rest of the running epoch, or the whole next one. [`Error::Finished`] once all planned epochs are done.
    pub fn train_epoch(&self, progress: Option<OnProgress<'_>>) -> Result<EpochReport> {
        self.train_epoch_and_report(progress).into_result()
    }

    /// As [`Trainer::train_epoch`], with the report of the epoch's steps also where the call fails, if it has any.
    pub fn train_epoch_and_report(
        &self,
        mut progress: Option<OnProgress<'_>>,
    ) -> Ended<EpochReport> {
        let _training = match self.classifier.begin_training() {
            Ok(training) => training,
            Err(error) => return error.into(),
        };
        let epoch = match self.state() {
            Ok(state) => state.position.epochs_done + 1,
            Err(error) => return error.into(),
        };
        let outcome = self.ended(loop {
            match self.part_of_epoch(again(&mut progress)) {
                Ok(None) => {}
                Ok(Some(report)) => break Ok(report),
                Err(error) => break Err(error),
            }
        });
        match outcome {
            Ok(report) => Ended {
                report: Some(report),
                outcome: Ok(()),
            },
            // Where all epochs are done already there is none to tell of.
            Err(error @ Error::Finished(_)) => error.into(),
            Err(error) => Ended {
                report: self.steps_of_epoch(epoch),
                outcome: Err(error),
            },
        }
    }

    /// An epoch, which is the newest one, as far as it has come; `None` where it has no step.
    fn steps_of_epoch(&self, epoch: u32) -> Option<EpochReport> {
        let position = self.state().ok()?.position;
        // The totals are an earlier epoch's until this one begins.
        let last = position.last_step.filter(|last| last.epoch == epoch)?;
        Some(self.epoch_report(&position.totals, &last))
    }

    fn epoch_report(&self, totals: &Totals, last: &StepReport) -> EpochReport {
        EpochReport {
            epoch: last.epoch,
            step: last.step,
            loss: totals.mean_loss(),
            accuracy: self.accuracy(totals),
            examples: totals.examples,
            tokens: totals.tokens,
            seconds: totals.seconds,
            learning_rate: last.learning_rate,
        }
    }

    /// A step more; the epoch's report at its end.
    fn part_of_epoch(&self, progress: Option<OnProgress<'_>>) -> Result<Option<EpochReport>> {
        let mut state = self.state()?;
        let advanced = self.advance(&mut state, |_, _| Awaited::default());
        let written = state.write_history();
        let totals = state.position.totals;
        let is_whole = state.batches.is_empty() && state.begun.is_none();
        let last = self.tell_all(state, advanced.and(written), progress)?;
        Ok(last
            .filter(|_| is_whole)
            .map(|last| self.epoch_report(&totals, &last)))
    }

    /// The rest of the plan: all epochs, an evaluation after each and every `eval_steps`, the best weights restored at
    /// the end where there is validation data and `restore_best` is set. After a cancellation or an error the model
    /// has the weights of the last step.
    ///
    /// With [`checkpoints`](TrainOptions::checkpoints) a run that hasn't begun goes on from the newest whole one in the
    /// folder; they are made as the options say, at the end, and when the run is cancelled.
    pub fn train(&self, progress: Option<OnProgress<'_>>) -> Result<TrainReport> {
        self.train_and_report(progress).into_result()
    }

    /// As [`Trainer::train`], with the report of what was done also where the call fails.
    pub fn train_and_report(&self, progress: Option<OnProgress<'_>>) -> Ended<TrainReport> {
        let _training = match self.classifier.begin_training() {
            Ok(training) => training,
            Err(error) => return error.into(),
        };
        let mut call = TrainCall {
            started: Instant::now(),
            resumed_step: 0,
            tokens: 0,
            restored_best: false,
        };
        let outcome = self.run(&mut call, progress);
        let stop_reason = outcome
            .as_ref()
            .map_or_else(StopReason::of, |reason| *reason);
        let has_steps = |state: &State| outcome.is_ok() || state.position.step > 0;
        let state = self.state().ok().filter(|state| has_steps(state));
        Ended {
            report: state.map(|state| self.report(&call, &state, stop_reason)),
            outcome: outcome.map(|_| ()),
        }
    }

    fn report(&self, call: &TrainCall, state: &State, stop_reason: StopReason) -> TrainReport {
        let position = &state.position;
        TrainReport {
            epochs: position.epochs_done,
            steps: position.step,
            loss: position.totals.mean_loss(),
            accuracy: self.accuracy(&position.totals),
            best_metric: state.best.as_ref().map(|best| best.score.metric),
            best_step: state.best.as_ref().map_or(0, |best| best.score.step),
            stop_reason,
            restored_best: call.restored_best,
            resumed_step: call.resumed_step,
            tokens: call.tokens,
            seconds: call.started.elapsed().as_secs_f64(),
            plan: PlanNumbers {
                epochs: self.options.epochs,
                batch_size: self.options.batch_size,
                learning_rate: self.options.learning_rate,
            },
            planned_steps: self.schedule.total_steps,
            train_texts_cut: self.data.cut.len(),
            validation_texts_cut: self.validation.as_ref().map_or(0, |data| data.cut.len()),
        }
    }

    /// The work of [`Trainer::train`].
    fn run(&self, call: &mut TrainCall, progress: Option<OnProgress<'_>>) -> Result<StopReason> {
        let before = self.state()?.position;
        let resumed = match &self.checkpoints {
            Some(folder) if before.step == 0 => self.resume_newest(folder)?,
            _ => None,
        };
        call.resumed_step = resumed.as_ref().map_or(0, |resumed| resumed.step);
        let start = self.state()?.position;
        let stop_reason = if resumed.is_some() && start.stopped_early {
            StopReason::EarlyStopping
        } else {
            let mut saver = Saver::new(self, start, resumed.is_some());
            let outcome = self.ended(self.train_on(&mut saver, &mut call.tokens, progress));
            // What was done so far is kept also where somebody ended it.
            if let Ok(_) | Err(Error::Cancelled(_)) = outcome {
                saver.save(&*self.state()?)?;
            }
            outcome?
        };
        let state = self.state()?;
        let position = state.position;
        // A call that found nothing to do leaves the model as it is: somebody else may have trained it since.
        let has_worked = position != before;
        if let (true, true, Some(best)) = (has_worked, self.options.restore_best, &state.best) {
            call.restored_best = true;
            self.classifier.publish_step(best.parameters.clone());
        }
        let found = match call.restored_best {
            true => state.best_found.clone(),
            false => state.last_found.clone(),
        };
        let best = state.best.as_ref().map(|best| best.score);
        let evaluations = state.evaluations;
        // What is told to the log may call the library.
        drop(state);
        let mut is_all_right = false;
        if let (true, Some(found), Some(validation)) = (has_worked, found, &self.validation) {
            warnings::of_evaluation(self.classifier.labels(), &validation.targets, &found);
            is_all_right = found.metrics.scores().accuracy == 1.0;
        }
        if let (true, StopReason::Finished, Some(best)) = (has_worked, stop_reason, best)
            && best.step == position.step
            && !is_all_right
        {
            let problem = self.classifier.model().config.problem_type;
            let decides = self.options.metric_for(problem);
            warnings::of_last_best(decides, best.metric, evaluations);
        }
        Ok(stop_reason)
    }

    /// The share of examples that were right; regression has no right and wrong.
    fn accuracy(&self, totals: &Totals) -> f64 {
        match self.classifier.model().config.problem_type {
            ProblemType::Regression => f64::NAN,
            ProblemType::SingleLabel | ProblemType::MultiLabel => totals.accuracy(),
        }
    }

    /// Steps and evaluations until the plan or patience ends; counts the `tokens` trained on.
    fn train_on(
        &self,
        saver: &mut Saver<'_>,
        tokens: &mut usize,
        mut progress: Option<OnProgress<'_>>,
    ) -> Result<StopReason> {
        loop {
            let mut state = self.state()?;
            // An evaluation that is due is made also where a cancellation came in between.
            if state.position.evaluation_is_due {
                drop(state);
                if self.evaluate_now(again(&mut progress))? {
                    return Ok(StopReason::EarlyStopping);
                }
                continue;
            }
            if state.begun.is_none() && state.position.epochs_done >= self.options.epochs {
                state.write_history()?;
                return Ok(StopReason::Finished);
            }
            let every = self.options.eval_steps;
            let advanced = self.advance(&mut state, |step, ends_epoch| {
                let is_due = ends_epoch || (every > 0 && step % every == 0);
                Awaited {
                    evaluation: is_due && self.validation.is_some(),
                    checkpoint: saver.is_due(step, ends_epoch),
                    caller: false,
                }
            });
            let work = || {
                let told = state.untold.iter();
                *tokens += told.map(|told| told.step.tokens).sum::<usize>();
                advanced?;
                state.write_history()?;
                let ends_epoch = state.batches.is_empty();
                if state.begun.is_none() && saver.is_due(state.position.step, ends_epoch) {
                    saver.save(&state)?;
                }
                Ok(())
            };
            let worked = work();
            self.tell_all(state, worked, again(&mut progress))?;
        }
    }

    /// The batches of epoch number `epoch`, from 0.
    pub(super) fn epoch_batches(&self, epoch: u32) -> Result<Vec<Vec<usize>>> {
        epoch_batches(
            &self.lengths,
            self.options.batch_size,
            self.options.group_by_length,
            self.options.seed,
            epoch,
        )
    }

    /// The run's state, as of the end of a step.
    pub(super) fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| {
            Error::Poisoned("An earlier call on this trainer failed; create a new one.".into())
        })
    }

    /// The end of a training call that has come to `outcome`: no step stays begun.
    fn ended<T>(&self, outcome: Result<T>) -> Result<T> {
        let Ok(mut state) = self.state() else {
            return outcome;
        };
        let settled = self.settle(&mut state);
        let written = state.write_history();
        state.untold.clear();
        let failed = state.failure.take().map_or(Ok(()), Err);
        match outcome {
            // Why a step came to nothing counts for more than that there should be no further one.
            Ok(_) | Err(Error::Cancelled(_)) => {
                failed.and(settled)?;
                let value = outcome?;
                written.map(|()| value)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells of all steps that were finished, with the lock given back, whatever has come of the `work` on them; gives the
    /// last one.
    fn tell_all(
        &self,
        mut state: MutexGuard<'_, State>,
        work: Result<()>,
        mut progress: Option<OnProgress<'_>>,
    ) -> Result<Option<StepReport>> {
        let finished = std::mem::take(&mut state.untold);
        let risen = state.risen.take();
        drop(state);
        if let Some((epoch, loss, learning_rate)) = risen {
            warnings::of_rising_loss(epoch, loss, learning_rate);
        }
        let mut told = Ok(());
        for &standing in &finished {
            told = told.and_then(|()| self.tell(standing, Event::Step, again(&mut progress)));
        }
        work.and(told)?;
        Ok(finished.last().map(|standing| standing.step))
    }

    /// Calls back, and ends the training where that or a cancellation asks for it.
    fn tell(
        &self,
        standing: Standing,
        event: Event<'_>,
        progress: Option<OnProgress<'_>>,
    ) -> Result<()> {
        let Standing {
            step,
            tokens_per_second,
        } = standing;
        if let Some(progress) = progress {
            let go_on = progress(&Progress {
                event,
                step,
                epochs: self.options.epochs,
                tokens_per_second,
            });
            if !go_on {
                return Err(Error::Cancelled(format!(
                    "Training was ended by the progress callback after step {} of {}; the model has that step's \
                     weights.",
                    self.settled_step(&mut *self.state()?)?,
                    self.schedule.total_steps
                )));
            }
        }
        if self.cancelled.load(Ordering::Relaxed) {
            self.check_cancelled(&mut *self.state()?)?;
        }
        Ok(())
    }

    pub(super) fn check_cancelled(&self, state: &mut State) -> Result<()> {
        if self.cancelled.swap(false, Ordering::Relaxed) {
            return Err(Error::Cancelled(format!(
                "Training was cancelled after step {} of {}; the model has that step's weights.",
                self.settled_step(state)?,
                self.schedule.total_steps
            )));
        }
        Ok(())
    }

    /// The number of the last step, which is finished.
    fn settled_step(&self, state: &mut State) -> Result<u64> {
        self.settle(state)?;
        Ok(state.position.step)
    }

    /// Evaluates on the validation data, keeps the weights where they are the best so far, and calls back. Whether the
    /// run has had enough evaluations in a row without a gain.
    fn evaluate_now(&self, progress: Option<OnProgress<'_>>) -> Result<bool> {
        let Some(validation) = &self.validation else {
            return Ok(false);
        };
        let parameters = self.classifier.parameters();
        let model = self.classifier.model();
        let thresholds = self.classifier.thresholds_or(self.options.threshold);
        let evaluation = evaluate(model, &parameters, validation, &thresholds);
        let mut state = self.state()?;
        let Some(last_step) = state.position.last_step else {
            return Err(Error::Internal(
                "An evaluation was due before the first step; please report this.".into(),
            ));
        };
        // One that fails isn't tried again with the same outcome.
        let evaluation = evaluation.inspect_err(|_| state.position.evaluation_is_due = false)?;
        let decides = self.options.metric_for(model.config.problem_type);
        let metric = decides.of(&evaluation);
        let best = state.best.as_ref().map(|best| best.score);
        let gains = best.is_none_or(|best| decides.is_better(metric, best.metric));
        // Small data sets give the same accuracy often: of equals the lower loss is kept. Patience doesn't count it as a
        // gain, or a loss that still falls would never let it end.
        let is_kept =
            gains || best.is_some_and(|best| metric == best.metric && evaluation.loss < best.loss);
        // Files come first: where one can't be written, the evaluation is due still, and is made again.
        if let (true, Some(path)) = (is_kept, &self.options.best_model_path) {
            self.classifier.save(path)?;
        }
        let step = state.position.step;
        if let Some(history) = &mut state.history {
            history.evaluation(step, last_step.epoch, &evaluation)?;
        }
        state.position.evaluation_is_due = false;
        let found = Arc::new(evaluation);
        let evaluation = &*found;
        state.evaluations += 1;
        state.last_found = Some(found.clone());
        if is_kept {
            state.best_found = Some(found.clone());
            let score = BestScore {
                metric,
                loss: evaluation.loss,
                step,
            };
            state.best = Some(Best { score, parameters });
        }
        if gains {
            state.position.evaluations_without_gain = 0;
        } else {
            state.position.evaluations_without_gain += 1;
        }
        // Before the callback: a run that this cancels is ended all the same.
        let patience = self.options.early_stopping_patience;
        let is_enough = patience > 0 && state.position.evaluations_without_gain >= patience;
        state.position.stopped_early = is_enough;
        let standing = state.standing(last_step);
        drop(state);
        self.tell(standing, Event::Evaluation(evaluation), progress)?;
        Ok(is_enough)
    }
}

/// The callback for one more call.
fn again<'a>(progress: &'a mut Option<OnProgress<'_>>) -> Option<OnProgress<'a>> {
    match progress {
        Some(progress) => Some(&mut **progress),
        None => None,
    }
}
