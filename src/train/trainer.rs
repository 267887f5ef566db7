//! The training loop: steps, epochs, and the whole plan with evaluation, best checkpoint and early stopping.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};

use super::checkpoint::{
    BestScore, DESCRIPTION, Environment, Fingerprint, Position, Record, RunIdentity, TENSORS,
    Totals, exact,
};
use super::checkpoint_folder::CheckpointFolder;
use super::evaluate::{EncodedDataset, Evaluation, evaluate};
use super::history::History;
use super::optimizer::{AdamW, clip_factor, global_norm};
use super::options::TrainOptions;
use super::plan::epoch_batches;
use super::schedule::Schedule;
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::model::{Frozen, Gradients, Parameters, TrainingPass, Values};
use crate::ops::Buffers;
use crate::random::Dropout;
use crate::{hf, log, threads};

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
    /// The step of the checkpoint that this call went on from; 0 where it didn't.
    pub resumed_step: u64,
    /// Tokens trained on during this call.
    pub tokens: usize,
    /// Wall time of this call, evaluations included.
    pub seconds: f64,
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
    classifier: Arc<Classifier>,
    options: TrainOptions,
    data: EncodedDataset,
    lengths: Vec<usize>,
    validation: Option<EncodedDataset>,
    schedule: Schedule,
    cancelled: Arc<AtomicBool>,
    /// Held for one step at a time, never during a callback: whoever wants to save the run waits for a step at most.
    state: Mutex<State>,
    /// What the run is, as far as the data goes: computed when it is first asked for.
    fingerprints: OnceCell<(Fingerprint, Option<Fingerprint>)>,
    checkpoints: Option<CheckpointFolder>,
    /// Who waits for `state`: without a queue the training call, which takes it again at once, would starve the others.
    turn: Mutex<()>,
}

/// What a run changes as it goes.
struct State {
    optimizer: AdamW,
    gradients: Gradients,
    /// Memory of the passes.
    buffers: Buffers,
    /// Memory for the next values of what isn't frozen; empty where there is none.
    spare: Vec<Vec<f32>>,
    /// Where the run stands.
    position: Position,
    /// The running epoch's batches; empty between epochs.
    batches: Vec<Vec<usize>>,
    history: Option<History>,
    best: Option<Best>,
}

impl State {
    fn standing(&self, step: StepReport) -> Standing {
        Standing {
            step,
            tokens_per_second: self.position.totals.tokens as f64
                / self.position.totals.seconds.max(1e-9),
        }
    }
}

/// What a callback is told after a step or an evaluation.
#[derive(Debug, Clone, Copy)]
struct Standing {
    step: StepReport,
    tokens_per_second: f64,
}

/// The best evaluation so far, and the weights that it was made with.
struct Best {
    score: BestScore,
    parameters: Arc<Parameters>,
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

/// The prefixes of the names in `trainer.safetensors`; torch's names for the moments.
const FIRST_MOMENTS: &str = "exp_avg.";
const SECOND_MOMENTS: &str = "exp_avg_sq.";
const BEST: &str = "best.";
/// Of a model with adapters: the present values of them and the head, which the checkpoint's model has merged.
const ADAPTED: &str = "adapted.";

/// A checkpoint that was read and checked.
struct LoadedCheckpoint {
    path: PathBuf,
    record: Record,
    parameters: Arc<Parameters>,
    first_moments: Vec<Vec<f32>>,
    second_moments: Vec<Vec<f32>>,
    best: Option<Best>,
    /// What makes it another run than this one.
    others: Vec<String>,
    /// What only the last bits may follow.
    environment: Vec<String>,
}

/// Makes the checkpoints of one call of `train`, where they are asked for.
struct Saver<'a> {
    trainer: &'a Trainer,
    /// Tokens trained on.
    tokens: usize,
    last_time: Instant,
    /// What the newest checkpoint holds: nothing is written twice.
    saved: Option<Position>,
}

impl Saver<'_> {
    fn new(trainer: &Trainer, start: Position, is_saved: bool) -> Saver<'_> {
        Saver {
            trainer,
            tokens: 0,
            last_time: Instant::now(),
            // A run that hasn't begun, and one that was finished before, has nothing to save.
            saved: (is_saved || start.step == 0 || start.epochs_done >= trainer.options.epochs)
                .then_some(start),
        }
    }

    /// Whether the options ask for one after this step.
    fn is_due(&self, step: u64, ends_epoch: bool) -> bool {
        let Some(options) = &self.trainer.options.checkpoints else {
            return false;
        };
        let minutes = self.last_time.elapsed().as_secs_f64() / 60.0;
        match (options.steps, options.minutes) {
            (0, 0.0) => ends_epoch,
            (every, after) => (every > 0 && step % every == 0) || (after > 0.0 && minutes >= after),
        }
    }

    /// Makes one, unless the newest is of this position or none is asked for.
    fn save(&mut self, state: &State) -> Result<()> {
        let Some(folder) = &self.trainer.checkpoints else {
            return Ok(());
        };
        if self.saved == Some(state.position) {
            return Ok(());
        }
        let step = state.position.step;
        self.trainer.save_state(state, &folder.path_of(step))?;
        folder.prune(step);
        self.saved = Some(state.position);
        self.last_time = Instant::now();
        Ok(())
    }
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
        let groups = options.groups(&model.table);
        let trained: usize = (groups.iter().zip(&model.table.specs))
            .filter(|(group, _)| !group.is_frozen)
            .map(|(_, spec)| spec.len())
            .sum();
        // All values; of what is trained another set, gradients and two moments too.
        let bytes = (4 * model.table.parameter_count()).saturating_add(4 * 4 * trained);
        let memory = crate::memory::physical_bytes();
        if bytes > memory {
            return Err(Error::OutOfMemory(format!(
                "Training this model needs at least {bytes} bytes for weights, gradients and moments; this machine \
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
            lengths: data.sequences.ranges().map(|range| range.len()).collect(),
            state: Mutex::new(State {
                optimizer: AdamW::new(options.adamw, &model.table, groups),
                gradients: model.zero_gradients(options.frozen),
                buffers: Buffers::default(),
                spare: Vec::new(),
                position: Position::default(),
                batches: Vec::new(),
                history,
                best: None,
            }),
            turn: Mutex::new(()),
            fingerprints: OnceCell::new(),
            checkpoints: options
                .checkpoints
                .as_ref()
                .map(CheckpointFolder::open)
                .transpose()?,
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
            let totals = state.position.totals;
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
    ///
    /// With [`checkpoints`](TrainOptions::checkpoints) a run that hasn't begun goes on from the newest whole one in the
    /// folder; they are made as the options say, at the end, and when the run is cancelled.
    pub fn train(&self, progress: Option<OnProgress<'_>>) -> Result<TrainReport> {
        let _training = self.classifier.begin_training()?;
        let started = Instant::now();
        let before = self.state()?.position;
        let resumed = match &self.checkpoints {
            Some(folder) if before.step == 0 => self.resume_newest(folder)?,
            _ => None,
        };
        let start = self.state()?.position;
        let mut tokens = 0;
        let stop_reason = if resumed.is_some() && start.stopped_early {
            StopReason::EarlyStopping
        } else {
            let mut saver = Saver::new(self, start, resumed.is_some());
            let outcome = self.train_on(&mut saver, progress);
            tokens = saver.tokens;
            if let Ok(StopReason::EarlyStopping) = outcome {
                self.state()?.position.stopped_early = true;
            }
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
        let mut restored_best = false;
        if let (true, true, Some(best)) = (has_worked, self.options.restore_best, &state.best) {
            restored_best = true;
            self.classifier.publish(best.parameters.clone());
        }
        Ok(TrainReport {
            epochs: position.epochs_done,
            steps: position.step,
            loss: position.totals.mean_loss(),
            accuracy: position.totals.accuracy(),
            best_metric: state.best.as_ref().map(|best| best.score.metric),
            best_step: state.best.as_ref().map_or(0, |best| best.score.step),
            stop_reason,
            restored_best,
            resumed_step: resumed.map_or(0, |resumed| resumed.step),
            tokens,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Steps and evaluations until the plan or patience ends.
    fn train_on(
        &self,
        saver: &mut Saver<'_>,
        mut progress: Option<OnProgress<'_>>,
    ) -> Result<StopReason> {
        loop {
            let mut state = self.state()?;
            // An evaluation that is due is made also where a cancellation came in between.
            if state.position.evaluation_is_due {
                drop(state);
                let without_gain = self.evaluate_now(again(&mut progress))?;
                let patience = self.options.early_stopping_patience;
                if patience > 0 && without_gain >= patience {
                    return Ok(StopReason::EarlyStopping);
                }
                continue;
            }
            if state.position.epochs_done >= self.options.epochs {
                return Ok(StopReason::Finished);
            }
            let report = self.step(&mut state)?;
            saver.tokens += report.tokens;
            let every = self.options.eval_steps;
            let ends_epoch = state.batches.is_empty();
            let is_due = ends_epoch || (every > 0 && report.step % every == 0);
            state.position.evaluation_is_due = is_due && self.validation.is_some();
            if saver.is_due(report.step, ends_epoch) {
                saver.save(&state)?;
            }
            let standing = state.standing(report);
            drop(state);
            self.tell(standing, Event::Step, again(&mut progress))?;
        }
    }

    /// Writes a checkpoint: the model's directory, as [`Classifier::save`] does, with all that the run needs to go on as
    /// if it had never stopped. Any thread, also while the run trains: it has the end of a step then.
    pub fn save(&self, path: &Path) -> Result<()> {
        let state = self.state()?;
        self.save_state(&state, path)
    }

    fn save_state(&self, state: &State, path: &Path) -> Result<()> {
        let model = self.classifier.model();
        let specs = &model.table.specs;
        let parameters = self.classifier.parameters();
        let (first, second) = state.optimizer.moments();
        let best = state.best.as_ref();
        let best_is_current = best.is_some_and(|best| Arc::ptr_eq(&best.parameters, &parameters));
        // What the model has from its base is there already.
        let changing = |values: &[Values]| -> Vec<Values> {
            values
                .iter()
                .enumerate()
                .map(
                    |(index, values)| match model.table.is_frozen(index, Frozen::default()) {
                        true => Values::default(),
                        false => values.clone(),
                    },
                )
                .collect()
        };
        let best_values = match best {
            Some(best) if !best_is_current => changing(&best.parameters.host()?),
            _ => Vec::new(),
        };
        let adapted = match model.table.lora {
            Some(_) => changing(&parameters.host()?),
            None => Vec::new(),
        };
        let record = Record::new(
            state.position,
            best.map(|best| best.score),
            best_is_current,
            self.identity()?,
            state.history.as_ref().map(History::length),
        )
        .to_json()?;
        let sets: [(&str, Vec<&Vec<f32>>); 4] = [
            (FIRST_MOMENTS, first.iter().collect()),
            (SECOND_MOMENTS, second.iter().collect()),
            (BEST, best_values.iter().map(|values| &**values).collect()),
            (ADAPTED, adapted.iter().map(|values| &**values).collect()),
        ];
        let tensors = sets.iter().flat_map(|(prefix, set)| {
            let pairs = specs.iter().zip(set);
            pairs
                .filter(|(_, values)| !values.is_empty())
                .map(move |(spec, _)| (format!("{prefix}{}", spec.name), spec.shape.as_slice()))
        });
        let header = hf::tensors_header(tensors, Default::default());
        hf::save_directory_with(&self.classifier, &parameters, path, |staging| {
            staging.file(TENSORS, |file| {
                file.write(&header)?;
                for (_, set) in &sets {
                    hf::write_values(set, |piece| file.write(piece))?;
                }
                Ok(())
            })?;
            staging.file(DESCRIPTION, |file| file.write(record.as_bytes()))
        })
    }

    /// Takes a run up where [`save`](Trainer::save) left it: the model's weights and everything else become those of
    /// then. This trainer's own options, data and threads go on; where they aren't those of then, the outcome says so.
    pub fn resume(&self, path: &Path) -> Result<Resumed> {
        let _training = self.classifier.begin_training()?;
        let loaded = self.read_checkpoint(path)?;
        self.take_up(loaded)
    }

    /// Goes on from the folder's newest whole checkpoint, which must be of this very run.
    fn resume_newest(&self, folder: &CheckpointFolder) -> Result<Option<Resumed>> {
        let newest = folder.newest(|path| {
            let loaded = self.read_checkpoint(path)?;
            if !loaded.others.is_empty() {
                return Err(Error::InvalidArgument(format!(
                    "The checkpoint '{}' is of another run: {}. Train with what it was made with, or give another \
                     checkpoint_path.",
                    path.display(),
                    loaded.others.join(", ")
                )));
            }
            Ok(loaded)
        })?;
        newest.map(|loaded| self.take_up(loaded)).transpose()
    }

    /// Reads and checks a checkpoint; the run stays as it is.
    fn read_checkpoint(&self, path: &Path) -> Result<LoadedCheckpoint> {
        let model = self.classifier.model();
        let specs = &model.table.specs;
        let frozen: Vec<bool> = (0..specs.len())
            .map(|index| model.table.is_frozen(index, self.options.frozen))
            .collect();
        let options = hf::LoadOptions {
            device: crate::device::name(&model.device),
            ..hf::LoadOptions::default()
        };
        // Of a model with adapters the base, which the trainer's has as well.
        let is_base: Vec<bool> = (0..specs.len())
            .map(|index| model.table.is_frozen(index, Frozen::default()))
            .collect();
        let (loaded, (record, first, second, best, adapted)) = hf::load_directory_with(
            path,
            &options,
            |directory| {
                let missing = |name: &str| {
                    Error::Format(format!(
                        "'{}' has no {name}: it is no training checkpoint. To go on from a model that was only saved, \
                         load it and make a new trainer.",
                        path.display()
                    ))
                };
                let json = directory
                    .read(DESCRIPTION)?
                    .ok_or_else(|| missing(DESCRIPTION))?;
                let name = format!("'{}'", path.join(DESCRIPTION).display());
                let record = Record::from_json(&json, &name)?;
                let file = directory.file(TENSORS)?.ok_or_else(|| missing(TENSORS))?;
                let mut file = hf::Weights::open(hf::Source::File(file))?;
                let mut read = |prefix: &str, is_left_out: &dyn Fn(usize) -> bool| {
                    let sets = specs.iter().enumerate().map(|(index, spec)| {
                        if is_left_out(index) {
                            return Ok(Vec::new());
                        }
                        file.read_shaped(&format!("{prefix}{}", spec.name), &spec.shape)
                    });
                    sets.collect::<Result<Vec<Vec<f32>>>>()
                };
                let first = read(FIRST_MOMENTS, &|index| frozen[index])?;
                let second = read(SECOND_MOMENTS, &|index| frozen[index])?;
                if second.iter().flatten().any(|&v| v < 0.0) {
                    return Err(Error::Format(format!(
                        "'{}' holds a negative second moment.",
                        path.join(TENSORS).display()
                    )));
                }
                let best = match record.best {
                    Some(_) if !record.best_is_current => {
                        Some(read(BEST, &|index| is_base[index])?)
                    }
                    _ => None,
                };
                let adapted = match model.table.lora {
                    Some(_) => Some(read(ADAPTED, &|index| is_base[index])?),
                    None => None,
                };
                file.finish()?;
                Ok((record, first, second, best, adapted))
            },
        )?;
        let mut parameters = loaded.parameters();
        let mut is_same_model = loaded.model().table.specs == model.table.base_specs();
        if let (true, Some(adapted)) = (is_same_model, adapted) {
            // The trainer's own base with the checkpoint's adapters must be what the checkpoint's model has merged.
            let own = self.classifier.parameters();
            let own = own.with_updated(adapted, &model.table)?;
            let merged = model.merged_values(&own)?;
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
            is_same_model = merged
                .iter()
                .zip(parameters.host()?.iter())
                .all(|(a, b)| a.iter().zip(b.iter()).all(close));
            parameters = Arc::new(own);
        }
        if !is_same_model {
            return Err(Error::InvalidArgument(format!(
                "The checkpoint '{}' is of a model with other parameters than the trainer's; make the trainer with the \
                 model that the checkpoint began with, or with the checkpoint itself, loaded as a model.",
                path.display()
            )));
        }
        let best = match (record.best, best) {
            (Some(score), Some(values)) => {
                let values = parameters.with_updated(values, &model.table)?;
                Some(Best {
                    score,
                    parameters: Arc::new(values),
                })
            }
            (Some(score), None) => Some(Best {
                score,
                parameters: parameters.clone(),
            }),
            (None, _) => None,
        };
        let (others, environment) = record.differences(&self.identity()?);
        Ok(LoadedCheckpoint {
            path: path.to_path_buf(),
            record,
            parameters,
            first_moments: first,
            second_moments: second,
            best,
            others,
            environment,
        })
    }

    /// The run becomes the checkpoint's.
    fn take_up(&self, loaded: LoadedCheckpoint) -> Result<Resumed> {
        let mut state = self.state()?;
        let mut position = loaded.record.position;
        let batches = if position.next_batch > 0 {
            self.epoch_batches(position.epochs_done)
        } else {
            Vec::new()
        };
        // With other data the epoch may be shorter.
        let is_over = position.next_batch >= batches.len();
        if position.next_batch > 0 && is_over {
            position.epochs_done += 1;
            position.next_batch = 0;
        }
        if let Some(history) = &mut state.history {
            history.resume(loaded.record.history_bytes.unwrap_or(0))?;
        }
        state.batches = if is_over { Vec::new() } else { batches };
        state.position = position;
        state
            .optimizer
            .resume(position.step, loaded.first_moments, loaded.second_moments);
        state.best = loaded.best;
        self.classifier.publish(loaded.parameters);
        let mut differences = loaded.others;
        differences.extend(loaded.environment);
        let name = loaded.path.display();
        if differences.is_empty() {
            log::info(|| format!("The run goes on from '{name}', step {}.", position.step));
        } else {
            log::warning(|| {
                format!(
                    "The run goes on from '{name}', step {}; that it ends with the same weights, bit for bit, as one \
                     that never stopped is not promised with other conditions: {}.",
                    position.step,
                    differences.join(", ")
                )
            });
        }
        Ok(Resumed {
            step: position.step,
            epochs_done: position.epochs_done,
            total_steps: self.schedule.total_steps,
            differences,
        })
    }

    /// What makes this run the same as another.
    fn identity(&self) -> Result<RunIdentity> {
        let (train, validation) = self.fingerprints.get_or_init(|| {
            (
                Fingerprint::of(&self.data),
                self.validation.as_ref().map(Fingerprint::of),
            )
        });
        let model = self.classifier.model();
        let mut plan = self.options.plan(&model.config, self.schedule.total_steps);
        if let Some(lora) = &model.table.lora {
            plan.insert("lora_dropout".into(), lora.dropout.to_string());
            plan.insert("train_pooler".into(), lora.train_pooler.to_string());
        }
        Ok(RunIdentity {
            plan,
            train: train.clone(),
            validation: validation.clone(),
            environment: Environment::now(model)?,
        })
    }

    /// The batches of epoch number `epoch`, from 0.
    fn epoch_batches(&self, epoch: u32) -> Vec<Vec<usize>> {
        epoch_batches(
            &self.lengths,
            self.options.batch_size,
            self.options.group_by_length,
            self.options.seed,
            epoch,
        )
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
        self.check_cancelled(state.position.step)?;
        let options = &self.options;
        if state.position.epochs_done >= options.epochs {
            return Err(Error::Finished(format!(
                "All {} planned epochs are done; create a trainer with more epochs to go on.",
                options.epochs
            )));
        }
        let started = Instant::now();
        if state.batches.is_empty() {
            state.batches = self.epoch_batches(state.position.epochs_done);
            state.position.next_batch = 0;
            state.position.totals = Totals::default();
        }
        let first = state.position.next_batch;
        let last = first
            .saturating_add(options.gradient_accumulation_steps)
            .min(state.batches.len());
        let window: Vec<Vec<usize>> = state.batches[first..last].to_vec();
        let epoch = state.position.epochs_done + 1;
        let first_batch_number = state.position.batch_number;
        // The position moves on first: a step that fails isn't tried again with the same outcome.
        state.position.next_batch = last;
        state.position.batch_number = state
            .position
            .batch_number
            .wrapping_add(window.len() as u32);
        if last == state.batches.len() {
            state.batches.clear();
            state.position.next_batch = 0;
            state.position.epochs_done += 1;
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
        let learning_rate = options.learning_rate * self.schedule.factor(state.position.step);
        // The memory of the set before the present one, where nobody uses that any more.
        let mut updated = match std::mem::take(&mut state.spare) {
            values if values.is_empty() => model.zero_gradients(options.frozen),
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
            let updated = parameters.with_updated(updated, &model.table)?;
            Ok((sums, norm, Some(updated)))
        })??;
        let loss = sums.loss / weight;
        let Some(updated) = updated else {
            return Err(Error::NotFinite(format!(
                "At step {} the loss is {loss} and the gradient's norm {grad_norm}; the update was left out and the \
                 model has the weights of the step before. A lower learning_rate (now {learning_rate}) or a smaller \
                 max_grad_norm (now {}) helps.",
                state.position.step + 1,
                options.max_grad_norm
            )));
        };
        let before = self.classifier.publish(Arc::new(updated));
        drop(parameters);
        if let Ok(Parameters::Host(values)) = Arc::try_unwrap(before) {
            state.spare = unshared(values, &state.gradients);
        }
        state.position.step += 1;
        let report = StepReport {
            epoch,
            step: state.position.step,
            total_steps: self.schedule.total_steps,
            loss,
            learning_rate,
            grad_norm,
            examples,
            tokens: sums.tokens,
            seconds: started.elapsed().as_secs_f64(),
        };
        let totals = &mut state.position.totals;
        totals.loss += sums.loss;
        totals.weight += weight;
        totals.correct += sums.correct;
        totals.examples += sums.examples;
        totals.tokens += sums.tokens;
        totals.seconds += report.seconds;
        state.position.last_step = Some(report);
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
        state.position.evaluation_is_due = false;
        let evaluation = evaluation?;
        let Some(last_step) = state.position.last_step else {
            return Err(Error::Internal(
                "An evaluation was due before the first step; please report this.".into(),
            ));
        };
        let step = state.position.step;
        if let Some(history) = &mut state.history {
            history.evaluation(step, last_step.epoch, &evaluation)?;
        }
        let metric = self.options.metric.of(&evaluation);
        let best = state.best.as_ref().map(|best| best.score);
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
        let without_gain = state.position.evaluations_without_gain;
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
