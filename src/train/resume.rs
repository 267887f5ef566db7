//! A trainer's checkpoints: how a run is written to a directory and taken up again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::{
    DESCRIPTION, Environment, Fingerprint, Position, Record, RunIdentity, TENSORS,
};
use super::checkpoint_folder::CheckpointFolder;
use super::history::History;
use super::trainer::{Best, Resumed, State, Trainer};
use crate::error::{Error, Result};
use crate::hf::Untrained;
use crate::model::Parameters;
use crate::{device, hf, log};

/// The prefixes of the names in `trainer.safetensors`; torch's names for the moments.
const FIRST_MOMENTS: &str = "exp_avg.";
const SECOND_MOMENTS: &str = "exp_avg_sq.";
/// Of the best evaluation's weights, those that aren't the present ones.
const BEST: &str = "best.";
/// The present weights of a model with adapters: its model.safetensors has them merged.
const PRESENT: &str = "value.";

/// A checkpoint that was read and checked.
struct Loaded {
    path: PathBuf,
    record: Record,
    parameters: Arc<Parameters>,
    /// What of its head was never trained.
    untrained: Untrained,
    thresholds: Arc<Vec<f64>>,
    first_moments: Vec<Vec<f32>>,
    second_moments: Vec<Vec<f32>>,
    best: Option<Best>,
    /// What makes it another run than this one.
    others: Vec<String>,
    /// What only the last bits may follow.
    environment: Vec<String>,
}

impl Trainer {
    /// Writes a checkpoint: the model's directory, as [`Classifier::save`](crate::classifier::Classifier::save) does, with
    /// all that the run needs to go on as if it had never stopped. Any thread, also while the run trains: it has the end of
    /// a step then.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut state = self.state()?;
        if state.begun.is_some() {
            // Why it came to nothing is for the call that has begun it.
            state.failure = self.settle(&mut state).err();
            // The checkpoint says how long the history is.
            state.write_history()?;
        }
        self.save_state(&state, path)
    }

    fn save_state(&self, state: &State, path: &Path) -> Result<()> {
        let table = &self.classifier.model().table;
        let parameters = self.classifier.parameters();
        let present = parameters.host()?;
        let best_values = match &state.best {
            Some(best) => best.parameters.host()?,
            None => Default::default(),
        };
        let record = Record::new(
            state.position,
            state.best.as_ref().map(|best| best.score),
            self.identity(&self.thresholds())?,
            state.history.as_ref().map(History::length),
        )
        .to_json()?;

        // Name, shape and numbers of each tensor.
        let mut tensors: Vec<(String, &[usize], &[f32])> = Vec::new();
        let mut add = |prefix: &str, index: usize, values| {
            let spec = &table.specs[index];
            tensors.push((format!("{prefix}{}", spec.name), &spec.shape, values));
        };
        let [first, second] = state.moments()?;
        for (prefix, moments) in [(FIRST_MOMENTS, &first), (SECOND_MOMENTS, &second)] {
            for (index, values) in moments.iter().enumerate() {
                if !values.is_empty() {
                    add(prefix, index, values.as_slice());
                }
            }
        }
        for (index, (best, present)) in best_values.iter().zip(present.iter()).enumerate() {
            if !Arc::ptr_eq(best, present) {
                add(BEST, index, best.as_slice());
            }
        }
        if table.lora.is_some() {
            for (index, values) in present.iter().enumerate() {
                add(PRESENT, index, values.as_slice());
            }
        }
        let names = tensors
            .iter()
            .map(|(name, shape, _)| (name.clone(), *shape));
        let header = hf::tensors_header(names, Default::default());
        hf::save_directory_with(&self.classifier, &parameters, path, |staging| {
            staging.file(TENSORS, |file| {
                file.write(&header)?;
                let values = tensors.iter().map(|(_, _, values)| *values);
                hf::write_values(values, |piece| file.write(piece))
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
    pub(super) fn resume_newest(&self, folder: &CheckpointFolder) -> Result<Option<Resumed>> {
        let newest = folder.newest(|path| {
            let loaded = self.read_checkpoint(path)?;
            if !loaded.others.is_empty() {
                return Err(Error::InvalidArgument(format!(
                    "The checkpoint '{}' is of another run: {}. Train with what it was made with, or give another \
                     checkpoint_path.{}",
                    path.display(),
                    loaded.others.join(", "),
                    // The commonest wish behind it.
                    match loaded.others.iter().any(|other| other.starts_with("epochs ")) {
                        true =>
                            " To train a finished model for more epochs, load it (bert_load takes the checkpoint's \
                             directory) and train it as a new run.",
                        false => "",
                    }
                )));
            }
            Ok(loaded)
        })?;
        newest.map(|loaded| self.take_up(loaded)).transpose()
    }

    /// Reads and checks a checkpoint; the run stays as it is.
    fn read_checkpoint(&self, path: &Path) -> Result<Loaded> {
        let model = self.classifier.model();
        let table = &model.table;
        let options = hf::LoadOptions {
            device: device::name(&model.device),
            ..hf::LoadOptions::default()
        };
        let other_model = || {
            Error::InvalidArgument(format!(
                "The checkpoint '{}' is of a model with other parameters than the trainer's; create the trainer \
                 with the model that the run began with.",
                path.display()
            ))
        };
        let (saved, tensors) = hf::load_directory_with(path, &options, |directory| {
            let missing = |name: &str| {
                Error::Format(format!(
                    "'{}' has no {name}: it is no training checkpoint. To continue from a saved model, load it and \
                     create a new trainer.",
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
            // What the trainer's model and the checkpoint's don't share is told once both are read.
            let has_adapters = file.contains(&format!("{PRESENT}{}", table.specs[0].name));
            if has_adapters != table.lora.is_some() {
                return Err(other_model());
            }
            let mut read = |prefix: &str, index: usize| {
                let spec = &table.specs[index];
                file.read_shaped(&format!("{prefix}{}", spec.name), &spec.shape)
            };
            let all = 0..table.specs.len();
            let mut moments = |prefix: &str| {
                all.clone()
                    .map(|index| {
                        if table.is_frozen(index, self.options.frozen) {
                            Ok(Vec::new())
                        } else {
                            read(prefix, index)
                        }
                    })
                    .collect::<Result<Vec<Vec<f32>>>>()
            };
            let first_moments = moments(FIRST_MOMENTS)?;
            let second_moments = moments(SECOND_MOMENTS)?;
            if second_moments.iter().flatten().any(|&v| v < 0.0) {
                return Err(Error::Format(format!(
                    "'{}' holds a negative second moment.",
                    path.join(TENSORS).display()
                )));
            }
            let present = match has_adapters {
                true => Some(
                    all.clone()
                        .map(|index| read(PRESENT, index))
                        .collect::<Result<Vec<_>>>()?,
                ),
                false => None,
            };
            let mut best = Vec::new();
            if record.best.is_some() {
                for spec in &table.specs {
                    let name = format!("{BEST}{}", spec.name);
                    best.push(match file.contains(&name) {
                        true => file.read_shaped(&name, &spec.shape)?,
                        // The present ones.
                        false => Vec::new(),
                    });
                }
            }
            file.finish()?;
            Ok((record, first_moments, second_moments, present, best))
        })?;
        if saved.model().table.specs != table.base_specs() {
            return Err(other_model());
        }
        let (record, first_moments, second_moments, present, best) = tensors;
        let parameters = match present {
            Some(mut values) => {
                // What the model has as it is stays shared with the model that it was made from.
                let now = self.classifier.parameters();
                for (values, now) in values.iter_mut().zip(now.host()?.iter()) {
                    let mut pairs = values.iter().zip(now.iter());
                    if pairs.all(|(a, b)| a.to_bits() == b.to_bits()) {
                        *values = Vec::new();
                    }
                }
                Arc::new(now.with_updated(values, table)?)
            }
            None => saved.parameters(),
        };
        let best = match record.best {
            // What isn't stored is as it is at present.
            Some(score) => Some(Best {
                score,
                parameters: Arc::new(parameters.with_updated(best, table)?),
            }),
            None => None,
        };
        // The model's own thresholds become those of then.
        let thresholds = saved.thresholds();
        let now = match self.options.threshold {
            Some(_) => self.thresholds(),
            None => thresholds.clone(),
        };
        let (others, environment) = record.differences(&self.identity(&now)?);
        Ok(Loaded {
            path: path.to_path_buf(),
            record,
            parameters,
            untrained: saved.untrained(),
            thresholds,
            first_moments,
            second_moments,
            best,
            others,
            environment,
        })
    }

    /// The run becomes the checkpoint's.
    fn take_up(&self, loaded: Loaded) -> Result<Resumed> {
        let mut state = self.state()?;
        let mut position = loaded.record.position;
        let mut batches = Vec::new();
        if position.next_batch > 0 {
            batches = self.epoch_batches(position.epochs_done)?;
            // With other data the epoch may be shorter.
            if position.next_batch >= batches.len() {
                batches.clear();
                position.epochs_done += 1;
                position.next_batch = 0;
            }
        }
        if let Some(history) = &mut state.history {
            history.resume(loaded.record.history_bytes.unwrap_or(0))?;
        }
        state.batches = batches;
        state.position = position;
        state.resume_moments(position.step, loaded.first_moments, loaded.second_moments)?;
        state.best = loaded.best;
        // A checkpoint from before the first step has a new head as it was initialised.
        state.is_head_ready = position.step > 0;
        self.classifier.publish(loaded.parameters);
        self.classifier.set_untrained(loaded.untrained);
        if self.classifier.check_has_thresholds().is_ok() {
            self.classifier.set_thresholds(&loaded.thresholds)?;
        }
        // What is told to the log may call the library.
        drop(state);
        let mut differences = loaded.others;
        differences.extend(loaded.environment);
        let name = loaded.path.display();
        if differences.is_empty() {
            log::info(|| format!("The run goes on from '{name}', step {}.", position.step));
        } else {
            log::warning(|| {
                format!(
                    "The run goes on from '{name}', step {}. Its weights at the end may differ from those of a run \
                     without interruption, because these are different: {}.",
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

    /// The thresholds that evaluations of this run have now.
    fn thresholds(&self) -> Arc<Vec<f64>> {
        self.classifier.thresholds_or(self.options.threshold)
    }

    /// What makes this run the same as another.
    fn identity(&self, thresholds: &[f64]) -> Result<RunIdentity> {
        let (train, validation) = self.fingerprints.get_or_init(|| {
            (
                Fingerprint::of(&self.data),
                self.validation.as_ref().map(Fingerprint::of),
            )
        });
        let model = self.classifier.model();
        Ok(RunIdentity {
            plan: self
                .options
                .plan(model, thresholds, self.schedule.total_steps),
            train: train.clone(),
            validation: validation.clone(),
            environment: Environment::now(model, self.options.precision)?,
        })
    }
}

/// Makes the checkpoints of one call of `train`, where they are asked for.
pub(super) struct Saver<'a> {
    trainer: &'a Trainer,
    last_time: Instant,
    /// What the newest checkpoint holds: nothing is written twice.
    saved: Option<Position>,
}

impl Saver<'_> {
    /// For a call that begins at `start`, which a checkpoint holds if `is_saved`.
    pub fn new(trainer: &Trainer, start: Position, is_saved: bool) -> Saver<'_> {
        Saver {
            trainer,
            last_time: Instant::now(),
            // A run that hasn't begun, and one that was finished before, has nothing to save.
            saved: (is_saved || start.step == 0 || start.epochs_done >= trainer.options.epochs)
                .then_some(start),
        }
    }

    /// Whether the options ask for one after this step.
    pub fn is_due(&self, step: u64, ends_epoch: bool) -> bool {
        let Some(options) = &self.trainer.options.checkpoints else {
            return false;
        };
        let minutes = self.last_time.elapsed().as_secs_f64() / 60.0;
        match (options.steps, options.minutes) {
            (0, 0.0) => ends_epoch,
            (every, after) => {
                (every > 0 && step.is_multiple_of(every)) || (after > 0.0 && minutes >= after)
            }
        }
    }

    /// Makes one, unless the newest is of this position or none is asked for.
    pub fn save(&mut self, state: &State) -> Result<()> {
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
