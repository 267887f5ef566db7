//! One optimizer step: begun, and finished when it is known how it went. On the CPU that is at once. A GPU works on a step
//! while the host begins the next one, so that neither waits for the other.

use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::{Position, Totals};
use super::gpu_step::GpuStep;
use super::loss::Objective;
use super::optimizer::{clip_factor, global_norm};
use super::options::TrainOptions;
use super::target_scale::TargetScale;
use super::trainer::{State, StepReport, Trainer};
use super::warnings::loss_of_ignorance;
use crate::cuda::{BegunStep, CudaTraining};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::log;
use crate::model::{Gradients, Parameters, TrainingPass, Values};
use crate::ops::parallel::together;
use crate::random::Dropout;
use crate::threads;

/// How a step went.
#[derive(Debug, Clone, Copy)]
pub struct StepOutcome {
    /// The norm of all gradients, before clipping.
    pub norm: f64,
    /// The sum of the examples' losses.
    pub loss: f64,
    /// Examples that the model had right.
    pub correct: usize,
    /// Whether the update was made: not where the norm or the loss isn't finite.
    pub is_updated: bool,
}

/// A step that was begun.
pub(super) struct Begun {
    outcome: Outcome,
    epoch: u32,
    learning_rate: f64,
    /// The sum of the examples' weights.
    weight: f64,
    examples: usize,
    tokens: usize,
    started: Instant,
    /// Where the run stood before, and the epoch's batches where this step is its last.
    before: (Position, Vec<Vec<usize>>),
    /// Whether it is to be finished before another is begun.
    is_awaited: bool,
    /// Whether an evaluation follows it.
    evaluation_is_due: bool,
}

enum Outcome {
    Known(StepOutcome),
    /// With the values that the model gets if it goes well.
    OnGpu(BegunStep, Arc<Parameters>),
}

/// What a step goes by.
pub(super) struct Step<'a> {
    /// The examples of each of its batches.
    pub window: &'a [Vec<usize>],
    pub objective: Objective<'a>,
    /// The sum of the examples' weights.
    pub weight: f64,
    /// The number of its first batch, counted over the whole run.
    pub first_batch_number: u32,
    pub learning_rate: f64,
}

impl Step<'_> {
    /// The pass of batch `number` of the window. The first one's gradients take the place of the step's before.
    pub fn pass<'b>(
        &self,
        options: &TrainOptions,
        number: usize,
        batch: &'b Batch,
    ) -> TrainingPass<'b> {
        let batch_number = self.first_batch_number.wrapping_add(number as u32);
        TrainingPass {
            batch,
            dropout: Some(Dropout::new(options.seed, batch_number)),
            frozen: options.frozen,
            precision: options.precision,
            gradient_checkpointing: options.gradient_checkpointing,
            replaces_weight_gradients: number == 0,
        }
    }
}

/// What waits for a step's end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Awaited {
    pub evaluation: bool,
    pub checkpoint: bool,
    /// The call that trains.
    pub caller: bool,
}

impl Awaited {
    fn is_any(self) -> bool {
        self.evaluation || self.checkpoint || self.caller
    }
}

impl Trainer {
    /// Goes on by a step. On the CPU that is begun and finished. On a GPU one is begun, and the one before it finished; a
    /// step that ends an epoch, or for which something waits (`awaited` of its number and whether it ends the epoch), is
    /// finished before another is begun. What is finished stands in `untold`; its lines in the history are to be written.
    /// Where a step fails the weights are those of the step before.
    pub(super) fn advance(
        &self,
        state: &mut State,
        awaited: impl FnOnce(u64, bool) -> Awaited,
    ) -> Result<()> {
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        // What a callback has taken since is no part of a step.
        state.last_end = Some(Instant::now());
        self.check_cancelled(state)?;
        if state.begun.as_ref().is_some_and(|begun| begun.is_awaited) {
            return self.settle(state);
        }
        let earlier = state.begun.take();
        let is_first = earlier.is_none();
        let position = state.position;
        let begun = self.begin(state, earlier.as_ref());
        if let Some(earlier) = earlier
            && let Err(error) = self.finish(state, earlier)
        {
            let next = begun.ok();
            if next.is_none() {
                // Its batches come again too, and with them what it failed of.
                state.position = position;
                state.batches = self.epoch_batches(position.epochs_done)?;
            }
            self.take_back(state, next);
            return Err(error);
        }
        let mut begun = begun?;
        let (number, ends_epoch) = (state.position.step + 1, state.batches.is_empty());
        let awaited = awaited(number, ends_epoch);
        begun.evaluation_is_due = awaited.evaluation;
        begun.is_awaited = awaited.is_any() || ends_epoch;
        let is_known = matches!(begun.outcome, Outcome::Known(_));
        let is_finished = is_known || (is_first && begun.is_awaited);
        state.begun = Some(begun);
        if is_finished {
            self.settle(state)?;
        }
        Ok(())
    }

    /// Finishes the step that was begun, if there is one.
    pub(super) fn settle(&self, state: &mut State) -> Result<()> {
        let Some(begun) = state.begun.take() else {
            return Ok(());
        };
        self.finish(state, begun)
            .inspect_err(|_| self.take_back(state, None))
    }

    /// After a step that came to nothing, and `next` that was begun behind it: that one has made no update either, and its
    /// batches come again.
    fn take_back(&self, state: &mut State, next: Option<Begun>) {
        let mut steps = 1;
        if let Some(next) = next {
            steps += 1;
            let (position, batches) = next.before;
            state.position = position;
            if !batches.is_empty() {
                state.batches = batches;
            }
        }
        // What a GPU that fails altogether says to the next step is better than what it says here.
        if let Some(training) = &mut state.on_gpu
            && let Err(error) = training.take_back(steps)
        {
            log::debug(|| error.message().to_string());
        }
    }

    /// Begins a step behind the `earlier` one, which isn't finished.
    fn begin(&self, state: &mut State, earlier: Option<&Begun>) -> Result<Begun> {
        let options = &self.options;
        if state.position.epochs_done >= options.epochs {
            return Err(Error::Finished(format!(
                "All {} planned epochs are done; to continue, create a trainer with more epochs.",
                options.epochs
            )));
        }
        let started = Instant::now();
        self.prepare_head(state)?;
        if state.batches.is_empty() {
            state.batches = self.epoch_batches(state.position.epochs_done)?;
            state.position.next_batch = 0;
            state.position.totals = Totals::default();
        }
        let before = state.position;
        let first = before.next_batch;
        let last = first
            .saturating_add(options.gradient_accumulation_steps)
            .min(state.batches.len());
        let window: Vec<Vec<usize>> = state.batches[first..last].to_vec();
        let epoch = before.epochs_done + 1;
        // The position moves on first: a step that fails isn't tried again with the same outcome.
        let position = &mut state.position;
        position.stopped_early = false;
        position.next_batch = last;
        position.batch_number = position.batch_number.wrapping_add(window.len() as u32);
        let mut ended = Vec::new();
        if last == state.batches.len() {
            ended = std::mem::take(&mut state.batches);
            position.next_batch = 0;
            position.epochs_done += 1;
        }

        let thresholds = self.classifier.thresholds_or(options.threshold);
        let objective = Objective {
            targets: &self.data.targets,
            cross_entropy: &options.cross_entropy,
            thresholds: &thresholds,
            num_labels: self.classifier.model().config.num_labels,
            deviations: self.scale.as_ref().map(TargetScale::deviations),
        };
        let all = || window.iter().flatten();
        let weight: f64 = all().map(|&example| objective.weight(example)).sum();
        let number = before.step + u64::from(earlier.is_some());
        let learning_rate = options.learning_rate * self.schedule.factor(number);
        let step = Step {
            window: &window,
            objective,
            weight,
            first_batch_number: before.batch_number,
            learning_rate,
        };
        let outcome = match &mut state.on_gpu {
            Some(training) => {
                let parameters = match earlier.map(|earlier| &earlier.outcome) {
                    Some(Outcome::OnGpu(_, next)) => next.clone(),
                    _ => self.classifier.parameters(),
                };
                self.begin_on_gpu(training, &parameters, &step)?
            }
            None => Outcome::Known(self.compute(state, &step)?),
        };
        Ok(Begun {
            outcome,
            epoch,
            learning_rate,
            weight,
            examples: all().count(),
            tokens: all().map(|&example| self.lengths[example]).sum(),
            started,
            before: (before, ended),
            is_awaited: false,
            evaluation_is_due: false,
        })
    }

    /// Before a run's first step: a new head for regression begins in the targets' units.
    fn prepare_head(&self, state: &mut State) -> Result<()> {
        if std::mem::replace(&mut state.is_head_ready, true) || state.position.step > 0 {
            return Ok(());
        }
        let Some(scale) = &self.scale else {
            return Ok(());
        };
        let table = &self.classifier.model().table;
        let bias = &table.specs[table.classifier.bias].name;
        if !self.classifier.origins().initialised.contains(bias) {
            return Ok(());
        }
        if let Some(prepared) = scale.new_head(&self.classifier.parameters(), table)? {
            self.classifier.publish(Arc::new(prepared));
        }
        Ok(())
    }

    fn begin_on_gpu(
        &self,
        training: &mut CudaTraining,
        parameters: &Parameters,
        step: &Step<'_>,
    ) -> Result<Outcome> {
        let Parameters::Cuda(values) = parameters else {
            return Err(Error::Internal(
                "The model and its trainer are on different devices; please report this.".into(),
            ));
        };
        let on_gpu = GpuStep {
            model: self.classifier.model(),
            options: &self.options,
            sequences: &self.data.sequences,
            step,
        };
        let (begun, next) = threads::run(|| on_gpu.begin(training, values))??;
        Ok(Outcome::OnGpu(begun, Arc::new(Parameters::Cuda(next))))
    }

    /// The whole step on the CPU.
    fn compute(&self, state: &mut State, step: &Step<'_>) -> Result<StepOutcome> {
        let options = &self.options;
        let model = self.classifier.model();
        let parameters = self.classifier.parameters();
        // The memory of the set before the present one, where nobody uses that any more.
        let mut updated = match std::mem::take(&mut state.spare) {
            values if values.is_empty() => model.zero_gradients(options.frozen)?,
            values => values,
        };
        let State {
            optimizer,
            gradients,
            touched,
            buffers,
            ..
        } = state;
        let (outcome, updated) = threads::run(|| -> Result<_> {
            touched.clear(gradients, &model.table);
            let sequences = &self.data.sequences;
            let ranges = step
                .window
                .iter()
                .flatten()
                .map(|&example| sequences.range(example));
            touched.set(ranges.flat_map(|range| sequences.input_ids()[range].iter().copied()));
            let (mut loss, mut correct) = (0.0, 0);
            for (number, examples) in step.window.iter().enumerate() {
                let batch = sequences.select(examples);
                model.logits_and_gradients(
                    &parameters,
                    step.pass(options, number, &batch),
                    |logits| {
                        let batch_loss = step.objective.of(examples, logits, 1.0 / step.weight);
                        loss += batch_loss.sum;
                        correct += batch_loss.correct;
                        batch_loss.derivative
                    },
                    gradients,
                    buffers,
                )?;
            }
            if let Some(units) = optimizer.units() {
                units.normalise(gradients);
            }
            let values = parameters.host()?;
            let (norm, is_updated) = together(|| {
                let norm = global_norm(gradients, Some(touched));
                if !f64::is_finite(loss) || !norm.is_finite() {
                    return (norm, false);
                }
                let scale = clip_factor(norm, options.max_grad_norm);
                optimizer.update(
                    &values,
                    &mut updated,
                    (gradients, Some(touched)),
                    step.learning_rate,
                    scale,
                );
                (norm, true)
            });
            let outcome = StepOutcome {
                norm,
                loss,
                correct,
                is_updated,
            };
            if !is_updated {
                return Ok((outcome, None));
            }
            let updated = parameters.with_updated(updated, &model.table)?;
            Ok((outcome, Some(updated)))
        })??;
        if let Some(updated) = updated {
            let before = self.classifier.publish_step(Arc::new(updated));
            drop(parameters);
            if let Ok(Parameters::Host(values)) = Arc::try_unwrap(before) {
                state.spare = unshared(values.into_values(), &state.gradients);
            }
        }
        Ok(outcome)
    }

    /// Notes a step that was begun, once it is known how it went.
    fn finish(&self, state: &mut State, begun: Begun) -> Result<()> {
        let Begun {
            outcome,
            epoch,
            learning_rate,
            weight,
            examples,
            tokens,
            started,
            evaluation_is_due,
            before: (_, ended),
            ..
        } = begun;
        let ends_epoch = !ended.is_empty();
        let (outcome, values) = match outcome {
            Outcome::Known(outcome) => (outcome, None),
            Outcome::OnGpu(begun, values) => (begun.wait()?, Some(values)),
        };
        let (loss, grad_norm) = (outcome.loss / weight, outcome.norm);
        if !outcome.is_updated {
            return Err(Error::NotFinite(format!(
                "At step {} the loss is {loss} and the gradient's norm is {grad_norm}; the weights weren't updated, \
                 and the model has those of the step before. Try a lower learning_rate (now {learning_rate}) or a \
                 smaller max_grad_norm (now {}).",
                state.position.step + 1,
                self.options.max_grad_norm
            )));
        }
        if let Some(values) = values {
            self.classifier.publish_step(values);
        }
        // Of two steps that overlap each has its own time.
        let now = Instant::now();
        let from = state.last_end.map_or(started, |end| end.max(started));
        state.last_end = Some(now);
        let position = &mut state.position;
        position.step += 1;
        let report = StepReport {
            epoch,
            step: position.step,
            total_steps: self.schedule.total_steps,
            loss,
            learning_rate,
            grad_norm,
            examples,
            tokens,
            seconds: now.duration_since(from).as_secs_f64(),
        };
        let totals = &mut position.totals;
        totals.loss += outcome.loss;
        totals.weight += weight;
        totals.correct += outcome.correct;
        totals.examples += examples;
        totals.tokens += tokens;
        totals.seconds += report.seconds;
        position.last_step = Some(report);
        position.evaluation_is_due |= evaluation_is_due;
        let mean_loss = totals.mean_loss();
        if let Some(history) = &mut state.history {
            history.note_step(&report);
        }
        state.untold.push(state.standing(report));
        if ends_epoch {
            let labels = self.classifier.model().config.num_labels;
            let ignorance = loss_of_ignorance(&self.data, labels);
            if state.loss_watch.rises(mean_loss, ignorance) {
                state.risen = Some((epoch, mean_loss, self.options.learning_rate));
            }
        }
        Ok(())
    }
}

/// The memory of values that nobody uses any more, for the next values of what has a gradient.
fn unshared(values: Vec<Values>, gradients: &Gradients) -> Vec<Vec<f32>> {
    values
        .into_iter()
        .zip(gradients)
        .map(|(values, gradient)| {
            if gradient.is_empty() {
                return Vec::new();
            }
            // Another model may share them.
            Arc::try_unwrap(values).unwrap_or_else(|shared| vec![0f32; shared.len()])
        })
        .collect()
}
