//! What a run needs, beside its model, to be taken up again: `trainer.json`, described here, and the moments in
//! `trainer.safetensors`.

use std::collections::BTreeMap;

use super::evaluate::EncodedDataset;
use super::trainer::StepReport;
use crate::data::Targets;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::Precision;
use crate::{hf, threads};
use serde::{Deserialize, Serialize};

/// The description's file name.
pub const DESCRIPTION: &str = hf::CHECKPOINT_FILES[0];
/// The moments' and the best weights' file name.
pub const TENSORS: &str = hf::CHECKPOINT_FILES[1];

/// The version of the format that this library writes. Newer ones are refused.
const VERSION: u32 = 1;

/// `trainer.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    libbert_checkpoint_version: u32,
    /// Where the run stands.
    pub position: Position,
    /// The best evaluation so far.
    pub best: Option<BestScore>,
    /// The options that decide what a run computes, by their names, as text.
    pub plan: BTreeMap<String, String>,
    /// The training data, as the model sees it.
    pub train: Fingerprint,
    /// The validation data.
    pub validation: Option<Fingerprint>,
    /// On what it was computed.
    pub environment: Environment,
    /// Length of the history file at that moment, if there is one.
    pub history_bytes: Option<u64>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Whole epochs done.
    pub epochs_done: u32,
    /// The running epoch's next batch; 0 between epochs.
    pub next_batch: usize,
    /// Optimizer steps done.
    pub step: u64,
    /// Batches done over the whole run: numbers the dropouts.
    pub batch_number: u32,
    /// Sums over the running or the last epoch.
    pub totals: Totals,
    /// The last step.
    pub last_step: Option<StepReport>,
    /// Evaluations in a row whose metric was no better than the best.
    pub evaluations_without_gain: u32,
    /// Whether `train` owes an evaluation of the present weights.
    pub evaluation_is_due: bool,
    /// Whether `train` came to its end because evaluations no longer improved.
    pub stopped_early: bool,
}

/// Sums over an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Of the examples' losses.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Of the examples' weights.
    #[serde(with = "exact")]
    pub weight: f64,
    /// Right answers.
    pub correct: usize,
    /// Examples.
    pub examples: usize,
    /// Tokens.
    pub tokens: usize,
    /// Wall time of the steps.
    #[serde(with = "exact")]
    pub seconds: f64,
}

impl Totals {
    /// The mean loss.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.weight.max(f64::MIN_POSITIVE)
    }

    /// The share of right answers.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples.max(1) as f64
    }
}

/// What made an evaluation the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestScore {
    /// The metric that decides.
    #[serde(with = "exact")]
    pub metric: f64,
    /// Its loss.
    #[serde(with = "exact")]
    pub loss: f64,
    /// The step after which it was measured.
    pub step: u64,
}

/// Examples as the model sees them: token ids, token types, lengths and labels, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How many.
    pub examples: usize,
    /// XXH3 of 128 bits of all of it.
    pub xxh3_128: String,
}

impl Fingerprint {
    /// That of encoded examples.
    pub fn of(data: &EncodedDataset) -> Fingerprint {
        let mut checksum = hf::Checksum::new();
        let mut numbers = |values: &mut dyn ExactSizeIterator<Item = u64>| {
            checksum.update(&(values.len() as u64).to_le_bytes());
            for value in values {
                checksum.update(&value.to_le_bytes());
            }
        };
        let sequences = &data.sequences;
        numbers(&mut sequences.offsets().iter().map(|&n| n as u64));
        numbers(&mut sequences.input_ids().iter().map(|&n| n.into()));
        numbers(&mut sequences.token_type_ids().iter().map(|&n| n.into()));
        match &data.targets {
            Targets::Classes(classes) => numbers(&mut classes.iter().map(|&n| n.into())),
            Targets::Labels(lists) => {
                numbers(&mut lists.iter().map(|list| list.len() as u64));
                for list in lists {
                    numbers(&mut list.iter().map(|&n| n.into()));
                }
            }
            Targets::Values { values, width } => {
                numbers(&mut std::iter::once(*width as u64));
                numbers(&mut values.iter().map(|value| value.to_bits().into()));
            }
        }
        Fingerprint {
            examples: data.len(),
            xxh3_128: checksum.digits(),
        }
    }
}

/// On what a run is computed: with another, the last bits of its numbers may differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The library's version.
    pub version: String,
    /// The processor's architecture and the widest instructions that the run uses.
    pub instructions: String,
    /// The device's kind.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
}

impl Environment {
    /// The present one, for training that model in that precision.
    pub fn now(model: &Model, precision: Precision) -> Result<Environment> {
        // What a GPU computes doesn't depend on the processor's bfloat16.
        let precision = match model.device.is_cpu() {
            true => precision,
            false => Precision::Float32,
        };
        Ok(Environment {
            version: env!("CARGO_PKG_VERSION").into(),
            instructions: format!("{} {}", std::env::consts::ARCH, precision.instructions()),
            device: crate::device::name(&model.device),
            threads: threads::num_threads()?,
        })
    }

    /// In what `self` differs from what it was, each as "name (then …, now …)".
    fn differences(&self, then: &Environment) -> Vec<String> {
        let pairs = [
            ("the library's version", &then.version, &self.version),
            (
                "the processor's instructions",
                &then.instructions,
                &self.instructions,
            ),
            ("the device", &then.device, &self.device),
            (
                "the number of threads",
                &then.threads.to_string(),
                &self.threads.to_string(),
            ),
        ];
        pairs
            .into_iter()
            .filter(|(_, then, now)| then != now)
            .map(|(name, then, now)| format!("{name} (then {then}, now {now})"))
            .collect()
    }
}

impl Record {
    /// A record of this version.
    pub fn new(
        position: Position,
        best: Option<BestScore>,
        run: RunIdentity,
        history_bytes: Option<u64>,
    ) -> Record {
        Record {
            libbert_checkpoint_version: VERSION,
            position,
            best,
            plan: run.plan,
            train: run.train,
            validation: run.validation,
            environment: run.environment,
            history_bytes,
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|_| {
            Error::Internal("A checkpoint could not be written as JSON; please report this.".into())
        })
    }

    /// Reads it back; `name` is for messages.
    pub fn from_json(json: &[u8], name: &str) -> Result<Record> {
        // First as any JSON that doesn't nest too deeply.
        let value = hf::json_from_slice::<serde_json::Value>(json, name).ok();
        let version = value.and_then(|value| value.get("libbert_checkpoint_version")?.as_u64());
        match version {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) if version > u64::from(VERSION) => {
                return Err(Error::Version(format!(
                    "{name} has the version {version}; this library reads versions up to {VERSION}. Update the library."
                )));
            }
            _ => {
                return Err(Error::Format(format!(
                    "{name} is not a training checkpoint's description."
                )));
            }
        }
        let record: Record = serde_json::from_slice(json).map_err(|error| {
            Error::Format(format!(
                "{name} is not a whole description of a training checkpoint (line {}, column {}).",
                error.line(),
                error.column()
            ))
        })?;
        // Far more than any run can reach, and far from where counting on would overflow.
        const MOST: u64 = 1 << 53;
        let p = &record.position;
        let totals = [p.totals.correct, p.totals.examples, p.totals.tokens].map(|n| n as u64);
        let counts = [p.step, p.next_batch as u64];
        let is_sound = counts.iter().chain(&totals).all(|&n| n <= MOST)
            && p.epochs_done <= u32::MAX / 2
            && p.evaluations_without_gain <= u32::MAX / 2
            && (p.last_step.is_some() || !p.evaluation_is_due);
        if !is_sound {
            return Err(Error::Format(format!(
                "{name} describes a position that no run can be in."
            )));
        }
        Ok(record)
    }

    /// In what a run differs from this checkpoint's: first what makes it another run, then what only the last bits of its
    /// numbers may follow. The phrases are for messages.
    pub fn differences(&self, run: &RunIdentity) -> (Vec<String>, Vec<String>) {
        let mut other = Vec::new();
        let none = String::from("none");
        let names = self.plan.keys().chain(run.plan.keys());
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let then = self.plan.get(name).unwrap_or(&none);
            let now = run.plan.get(name).unwrap_or(&none);
            if then != now {
                other.push(format!("{name} (then {then}, now {now})"));
            }
        }
        if self.train != run.train {
            other.push(format!(
                "the training data (then {} examples, now {})",
                self.train.examples, run.train.examples
            ));
        }
        if self.validation != run.validation {
            let count = |data: &Option<Fingerprint>| data.as_ref().map_or(0, |data| data.examples);
            other.push(format!(
                "the validation data (then {} examples, now {})",
                count(&self.validation),
                count(&run.validation)
            ));
        }
        (other, run.environment.differences(&self.environment))
    }
}

/// What makes two runs the same.
#[derive(Debug, Clone, PartialEq)]
pub struct RunIdentity {
    /// See [`Record::plan`].
    pub plan: BTreeMap<String, String>,
    /// See [`Record::train`].
    pub train: Fingerprint,
    /// See [`Record::validation`].
    pub validation: Option<Fingerprint>,
    /// See [`Record::environment`].
    pub environment: Environment,
}

/// float64 as text: JSON numbers lose the last bit in reading, and can't be NaN or infinite.
pub mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// The shortest text that is read back as the same number.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads it back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
