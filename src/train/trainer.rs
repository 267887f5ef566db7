//! The training loop: steps, epochs, and the whole plan with evaluation, best checkpoint and early stopping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::evaluate::{EncodedDataset, Evaluation, evaluate};
use super::history::History;
use super::optimizer::{AdamW, clip_factor, global_norm};
use super::options::TrainOptions;
use super::plan::epoch_batches;
use super::schedule::Schedule;
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::{Frozen, Gradients, Parameters, TrainingPass};
use crate::ops::Buffers;
use crate::random::Dropout;
use crate::{hf, log, threads};

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The epoch it belongs to, from 1.
    pub epoch: u32,
    /// Steps done, this one included.
    pub step: u64,
    /// Steps of the whole plan.
    pub total_steps: u64,
    /// Mean loss of its examples, before the update.
    pub loss: f64,
    /// The rate it was taken with.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Examples.
    pub examples: usize,
    /// Tokens, [CLS] and [SEP] included, padding not.
    pub tokens: usize,
    /// Wall time.
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
    /// Share of examples that the model had right at that moment, with dropout acting.
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
    /// The last epoch's training accuracy.
    pub accuracy: f64,
    /// The best evaluation's metric; `None` without validation data.
    pub best_metric: Option<f64>,
    /// The step after which it was measured; 0 without validation data.
    pub best_step: u64,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Whether the model now has the best evaluation's weights.
    pub restored_best: bool,
    /// Tokens trained on during this call.
    pub tokens: usize,
    /// Wall time of this call, evaluations included.
    pub seconds: f64,
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
    classifier: Arc<Classifier>,
    options: TrainOptions,
    data: EncodedDataset,
    lengths: Vec<usize>,
    validation: Option<EncodedDataset>,
    schedule: Schedule,
    cancelled: Arc<AtomicBool>,
    /// Held for one step at a time, never during a callback: whoever wants to save the run waits for a step at most.
    state: Mutex<State>,
    /// Who waits for `state`: without a queue the training call, which takes it again at once, would starve the others.
    turn: Mutex<()>,
}

/// What a run changes as it goes.
struct State {
    optimizer: AdamW,
    gradients: Gradients,
    /// Memory of the passes.
    buffers: Buffers,
    /// Memory for the next set of values; empty where there is none.
    spare: Vec<Vec<f32>>,
    /// Whole epochs done.
    epochs_done: u32,
    /// The running epoch's batches; empty between epochs.
    batches: Vec<Vec<usize>>,
    next_batch: usize,
    /// Optimizer steps done.
    step: u64,
    /// Batches done over the whole run: numbers the dropouts.
    batch_number: u32,
    totals: Totals,
    last_step: Option<StepReport>,
    history: Option<History>,
    best: Option<Best>,
    evaluations_without_gain: u32,
    /// Whether `train` owes an evaluation of the present weights.
    evaluation_is_due: bool,
}

impl State {
    fn standing(&self, step: StepReport) -> Standing {
        Standing {
            step,
            tokens_per_second: self.totals.tokens as f64 / self.totals.seconds.max(1e-9),
        }
    }
}

/// Sums over an epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    loss: f64,
    /// Sum of the examples' weights.
    weight: f64,
    correct: usize,
    examples: usize,
    tokens: usize,
    seconds: f64,
}

impl Totals {
    fn mean_loss(&self) -> f64 {
        self.loss / self.weight.max(f64::MIN_POSITIVE)
    }

    fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples.max(1) as f64
    }
}

/// What a callback is told after a step or an evaluation.
#[derive(Debug, Clone, Copy)]
struct Standing {
    step: StepReport,
    tokens_per_second: f64,
}

/// The best evaluation so far.
struct Best {
    metric: f64,
    loss: f64,
    step: u64,
    parameters: Arc<Parameters>,
}

impl Trainer {
    /// Encodes the data with the classifier's tokenizer and lays the plan. Nothing is trained yet.
    pub fn new(
        classifier: Arc<Classifier>,
        train: &Dataset,
        validation: Option<&Dataset>,
        options: TrainOptions,
    ) -> Result<Trainer> {
        options.validate()?;
        options.validate_for(&classifier.model().config)?;
        let data = EncodedDataset::new(&classifier, train, options.max_length)?;
        if data.labels.iter().all(|label| *label == data.labels[0]) {
            return Err(Error::Data(format!(
                "All {} training examples have the label '{}'; a classifier needs examples of at least two.",
                data.len(),
                classifier.labels().name(data.labels[0]).unwrap_or_default()
            )));
        }
        if data.truncated > 0 {
            log::info(|| {
                format!(
                    "{} of {} training texts are longer than the maximum length and were shortened.",
                    data.truncated,
                    data.len()
                )
            });
        }
        let validation = validation
            .map(|dataset| EncodedDataset::new(&classifier, dataset, options.max_length))
            .transpose()?;
        let model = classifier.model();
        let moments = model.table.parameter_count().saturating_mul(4 * 5);
        let memory = crate::memory::physical_bytes();
        if moments > memory {
            return Err(Error::OutOfMemory(format!(
                "Training this model needs at least {moments} bytes for weights, gradients and moments; this machine \
                 has {memory}."
            )));
        }
        let batches = data.len().div_ceil(options.batch_size) as u64;
        let steps_per_epoch = batches.div_ceil(options.gradient_accumulation_steps as u64);
        let schedule = options.schedule(steps_per_epoch * u64::from(options.epochs));
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
            state: Mutex::new(State {
                optimizer: AdamW::new(options.adamw, &model.table, options.groups(&model.table))?,
                gradients: model.zero_gradients(options.frozen)?,
                buffers: Buffers::default(),
                spare: Vec::new(),
                epochs_done: 0,
                batches: Vec::new(),
                next_batch: 0,
                step: 0,
                batch_number: 0,
                totals: Totals::default(),
                last_step: None,
                history,
                best: None,
                evaluations_without_gain: 0,
                evaluation_is_due: false,
            }),
            turn: Mutex::new(()),
            data,
            validation,
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

    /// One optimizer step on the next batches. [`Error::Finished`] once all planned epochs are done.
    pub fn train_step(&self, progress: Option<OnProgress<'_>>) -> Result<StepReport> {
        let _training = self.classifier.begin_training()?;
        let mut state = self.state()?;
        let report = self.step(&mut state)?;
        let standing = state.standing(report);
        drop(state);
        self.tell(standing, Event::Step, progress)?;
        Ok(report)
    }

    /// The rest of the running epoch, or the whole next one. [`Error::Finished`] once all planned epochs are done.
    pub fn train_epoch(&self, mut progress: Option<OnProgress<'_>>) -> Result<EpochReport> {
        let _training = self.classifier.begin_training()?;
        loop {
            let mut state = self.state()?;
            let report = self.step(&mut state)?;
            let totals = state.totals;
            let is_whole = state.batches.is_empty();
            let standing = state.standing(report);
            drop(state);
            self.tell(standing, Event::Step, again(&mut progress))?;
            if is_whole {
                return Ok(EpochReport {
                    epoch: report.epoch,
                    step: report.step,
                    loss: totals.mean_loss(),
                    accuracy: totals.accuracy(),
                    examples: totals.examples,
                    tokens: totals.tokens,
                    seconds: totals.seconds,
                    learning_rate: report.learning_rate,
                });
            }
        }
    }

    /// The rest of the plan: all epochs, an evaluation after each and every `eval_steps`, the best weights restored at
    /// the end where there is validation data and `restore_best` is set. After a cancellation or an error the model
    /// has the weights of the last step.
    pub fn train(&self, mut progress: Option<OnProgress<'_>>) -> Result<TrainReport> {
        let _training = self.classifier.begin_training()?;
        let started = Instant::now();
        let mut tokens = 0;
        let mut stop_reason = StopReason::Finished;
        let mut has_worked = false;
        loop {
            let mut state = self.state()?;
            // An evaluation that is due is made also where a cancellation came in between.
            if state.evaluation_is_due {
                drop(state);
                has_worked = true;
                let without_gain = self.evaluate_now(again(&mut progress))?;
                let patience = self.options.early_stopping_patience;
                if patience > 0 && without_gain >= patience {
                    stop_reason = StopReason::EarlyStopping;
                    break;
                }
                continue;
            }
            if state.epochs_done >= self.options.epochs {
                break;
            }
            has_worked = true;
            let report = self.step(&mut state)?;
            tokens += report.tokens;
            let every = self.options.eval_steps;
            let is_due = state.batches.is_empty() || (every > 0 && report.step % every == 0);
            state.evaluation_is_due = is_due && self.validation.is_some();
            let standing = state.standing(report);
            drop(state);
            self.tell(standing, Event::Step, again(&mut progress))?;
        }
        let state = self.state()?;
        let mut restored_best = false;
        // A call that found nothing left to do leaves the model as it is: somebody else may have trained it since.
        if let (true, true, Some(best)) = (has_worked, self.options.restore_best, &state.best) {
            restored_best = true;
            self.classifier.publish(best.parameters.clone());
        }
        Ok(TrainReport {
            epochs: state.epochs_done,
            steps: state.step,
            loss: state.totals.mean_loss(),
            accuracy: state.totals.accuracy(),
            best_metric: state.best.as_ref().map(|best| best.metric),
            best_step: state.best.as_ref().map_or(0, |best| best.step),
            stop_reason,
            restored_best,
            tokens,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// The run's state, as of the end of a step.
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        let _turn = self.turn.lock().unwrap_or_else(|p| p.into_inner());
        self.state.lock().map_err(|_| {
            Error::Poisoned("An earlier call on this trainer failed; create a new one.".into())
        })
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
                    step.step, self.schedule.total_steps
                )));
            }
        }
        self.check_cancelled(step.step)
    }

    fn check_cancelled(&self, step: u64) -> Result<()> {
        if self.cancelled.swap(false, Ordering::Relaxed) {
            return Err(Error::Cancelled(format!(
                "Training was cancelled after step {step} of {}; the model has that step's weights.",
                self.schedule.total_steps
            )));
        }
        Ok(())
    }

    /// One optimizer step. Where it fails the weights are those of the step before.
    fn step(&self, state: &mut State) -> Result<StepReport> {
        self.check_cancelled(state.step)?;
        let options = &self.options;
        if state.epochs_done >= options.epochs {
            return Err(Error::Finished(format!(
                "All {} planned epochs are done; create a trainer with more epochs to go on.",
                options.epochs
            )));
        }
        let started = Instant::now();
        if state.batches.is_empty() {
            state.batches = epoch_batches(
                &self.lengths,
                options.batch_size,
                options.group_by_length,
                options.seed,
                state.epochs_done,
            )?;
            state.next_batch = 0;
            state.totals = Totals::default();
        }
        let first = state.next_batch;
        let last = first
            .saturating_add(options.gradient_accumulation_steps)
            .min(state.batches.len());
        let window: Vec<Vec<usize>> = state.batches[first..last].to_vec();
        let epoch = state.epochs_done + 1;
        let first_batch_number = state.batch_number;
        // The position moves on first: a step that fails isn't tried again with the same outcome.
        state.next_batch = last;
        state.batch_number = state.batch_number.wrapping_add(window.len() as u32);
        if last == state.batches.len() {
            state.batches.clear();
            state.epochs_done += 1;
        }

        let examples: usize = window.iter().map(Vec::len).sum();
        let cross_entropy = &options.cross_entropy;
        let weight: f64 = window
            .iter()
            .flatten()
            .map(|&example| cross_entropy.weight(self.data.labels[example]))
            .sum();
        let model = self.classifier.model();
        let parameters = self.classifier.parameters();
        let learning_rate = options.learning_rate * self.schedule.factor(state.step);
        // The memory of the set before the present one, where nobody uses that any more.
        let mut updated = match std::mem::take(&mut state.spare) {
            values if values.is_empty() => model.zero_gradients(Frozen::default())?,
            values => values,
        };
        let State {
            optimizer,
            gradients,
            buffers,
            ..
        } = state;
        let (sums, grad_norm, updated) = threads::run(|| -> Result<_> {
            for gradient in gradients.iter_mut() {
                gradient.fill(0.0);
            }
            let mut sums = Totals::default();
            for (number, examples) in window.iter().enumerate() {
                let batch = self.data.sequences.select(examples);
                let labels: Vec<u32> = examples.iter().map(|&i| self.data.labels[i]).collect();
                let dropout =
                    Dropout::new(options.seed, first_batch_number.wrapping_add(number as u32));
                model.logits_and_gradients(
                    &parameters,
                    TrainingPass {
                        batch: &batch,
                        dropout: Some(dropout),
                        frozen: options.frozen,
                    },
                    |logits| {
                        let num_labels = model.config.num_labels;
                        let loss = cross_entropy.of(logits, &labels, num_labels, 1.0 / weight);
                        sums.loss += loss.sum;
                        sums.correct += loss.correct;
                        loss.derivative
                    },
                    gradients,
                    buffers,
                )?;
                sums.examples += batch.len();
                sums.tokens += batch.tokens();
            }
            let norm = global_norm(gradients);
            if !sums.loss.is_finite() || !norm.is_finite() {
                return Ok((sums, norm, None));
            }
            let scale = clip_factor(norm, options.max_grad_norm);
            optimizer.update(
                &parameters.host()?,
                &mut updated,
                gradients,
                learning_rate,
                scale,
            );
            let updated = Parameters::from_host(updated, &model.table, &model.device)?;
            Ok((sums, norm, Some(updated)))
        })??;
        let loss = sums.loss / weight;
        let Some(updated) = updated else {
            return Err(Error::NotFinite(format!(
                "At step {} the loss is {loss} and the gradient's norm {grad_norm}; the update was left out and the \
                 model has the weights of the step before. A lower learning_rate (now {learning_rate}) or a smaller \
                 max_grad_norm (now {}) helps.",
                state.step + 1,
                options.max_grad_norm
            )));
        };
        let before = self.classifier.publish(Arc::new(updated));
        drop(parameters);
        if let Ok(Parameters::Host(values)) = Arc::try_unwrap(before) {
            state.spare = values;
        }
        state.step += 1;
        let report = StepReport {
            epoch,
            step: state.step,
            total_steps: self.schedule.total_steps,
            loss,
            learning_rate,
            grad_norm,
            examples,
            tokens: sums.tokens,
            seconds: started.elapsed().as_secs_f64(),
        };
        let totals = &mut state.totals;
        totals.loss += sums.loss;
        totals.weight += weight;
        totals.correct += sums.correct;
        totals.examples += sums.examples;
        totals.tokens += sums.tokens;
        totals.seconds += report.seconds;
        state.last_step = Some(report);
        if let Some(history) = &mut state.history {
            history.step(&report)?;
        }
        Ok(report)
    }

    /// Evaluates on the validation data, keeps the weights where they are the best so far, and calls back. How many
    /// evaluations in a row brought no gain.
    fn evaluate_now(&self, progress: Option<OnProgress<'_>>) -> Result<u32> {
        let Some(validation) = &self.validation else {
            return Ok(0);
        };
        let parameters = self.classifier.parameters();
        let evaluation = evaluate(self.classifier.model(), &parameters, validation);
        let mut state = self.state()?;
        // One that fails isn't tried again with the same outcome.
        state.evaluation_is_due = false;
        let evaluation = evaluation?;
        let Some(last_step) = state.last_step else {
            return Err(Error::Internal(
                "An evaluation was due before the first step; please report this.".into(),
            ));
        };
        let step = state.step;
        if let Some(history) = &mut state.history {
            history.evaluation(step, last_step.epoch, &evaluation)?;
        }
        let metric = self.options.metric.of(&evaluation);
        let best = state.best.as_ref();
        let gains = best.is_none_or(|best| self.options.metric.is_better(metric, best.metric));
        // Small data sets give the same accuracy often: of equals the lower loss is kept. Patience doesn't count it as a
        // gain, or a loss that still falls would never let it end.
        let is_kept =
            gains || best.is_some_and(|best| metric == best.metric && evaluation.loss < best.loss);
        if is_kept {
            // Saved first: what can't be saved isn't the best yet.
            if let Some(path) = &self.options.best_model_path {
                self.classifier.save(path)?;
            }
            state.best = Some(Best {
                metric,
                loss: evaluation.loss,
                step,
                parameters,
            });
        }
        if gains {
            state.evaluations_without_gain = 0;
        } else {
            state.evaluations_without_gain += 1;
        }
        let without_gain = state.evaluations_without_gain;
        let standing = state.standing(last_step);
        drop(state);
        self.tell(standing, Event::Evaluation(&evaluation), progress)?;
        Ok(without_gain)
    }
}

/// The callback for one more call.
fn again<'a>(progress: &'a mut Option<OnProgress<'_>>) -> Option<OnProgress<'a>> {
    match progress {
        Some(progress) => Some(&mut **progress),
        None => None,
    }
}
