//! The numbers of a plan that suit what is trained, where the caller leaves them to the library.

use super::options::{BATCH_SIZE, EPOCHS, LEARNING_RATE};
use crate::classifier::Classifier;
use crate::hf::PlanNumbers;
use crate::log;
use crate::model::Frozen;

/// Examples of a batch for an encoder that was loaded: fine-tuning's usual number.
const FINE_TUNING_BATCH_SIZE: usize = 32;

/// The highest learning rate of an encoder that was loaded (Devlin et al., "BERT", 2019, appendix A.3).
const FINE_TUNING_RATE: f64 = 3e-5;

/// That of adapters, whose weights begin at zero.
const ADAPTER_RATE: f64 = 3e-4;

/// Epochs of fine-tuning, unless they are too few steps.
const FINE_TUNING_EPOCHS: u32 = 3;

/// Steps of fine-tuning at the least, so that small data are learned too.
pub const FINE_TUNING_STEPS: u64 = 200;

/// What the caller asks of a plan; `None` is left to the library.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Asked {
    /// Times through the data.
    pub epochs: Option<u32>,
    /// Examples of one batch.
    pub batch_size: Option<usize>,
    /// The highest learning rate.
    pub learning_rate: Option<f64>,
}

/// What is trained, as far as the numbers of a plan go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    /// A model with initial values.
    New,
    /// An encoder that was loaded.
    Loaded,
    /// Adapters of an encoder that was loaded.
    Adapters,
    /// The head of an encoder that was loaded and stays as it is.
    Head,
}

impl Trained {
    /// What is trained of a classifier.
    pub fn of(classifier: &Classifier, frozen: Frozen) -> Trained {
        let table = &classifier.model().table;
        if !classifier.origins().has_loaded_encoder(table) {
            Trained::New
        } else if frozen.layers >= table.layers.len() {
            Trained::Head
        } else if table.lora.is_some() {
            Trained::Adapters
        } else {
            Trained::Loaded
        }
    }

    /// The learning rate that suits it.
    fn learning_rate(self) -> f64 {
        match self {
            Trained::New | Trained::Head => LEARNING_RATE.default,
            Trained::Loaded => FINE_TUNING_RATE,
            Trained::Adapters => ADAPTER_RATE,
        }
    }

    /// What it is called in the log.
    fn name(self) -> &'static str {
        match self {
            Trained::New => "a new model",
            Trained::Loaded => "an encoder that was loaded",
            Trained::Adapters => "adapters of an encoder that was loaded",
            Trained::Head => "the head of an encoder that was loaded and isn't trained",
        }
    }
}

/// Optimizer steps of one epoch.
pub fn steps_per_epoch(examples: usize, batch_size: usize, accumulation_steps: usize) -> u64 {
    let batches = examples.div_ceil(batch_size.max(1)) as u64;
    batches.div_ceil(accumulation_steps.max(1) as u64)
}

impl Asked {
    /// The numbers for a run of so many training examples; what the caller asks for stays. A model that was loaded from
    /// a training checkpoint takes the numbers of that run, so that it can go on.
    pub fn suited_to(
        self,
        classifier: &Classifier,
        frozen: Frozen,
        examples: usize,
        accumulation_steps: usize,
    ) -> PlanNumbers {
        let trained = Trained::of(classifier, frozen);
        let run = classifier.run_numbers();
        let batch_size =
            self.batch_size
                .or(run.map(|run| run.batch_size))
                .unwrap_or(match trained {
                    Trained::New => BATCH_SIZE.default,
                    _ => FINE_TUNING_BATCH_SIZE,
                });
        let epochs = self
            .epochs
            .or(run.map(|run| run.epochs))
            .unwrap_or_else(|| match trained {
                Trained::New => EPOCHS.default,
                _ => {
                    let steps = steps_per_epoch(examples, batch_size, accumulation_steps);
                    let enough = FINE_TUNING_STEPS.div_ceil(steps.max(1)) as u32;
                    FINE_TUNING_EPOCHS.max(enough)
                }
            });
        let learning_rate = self
            .learning_rate
            .or(run.map(|run| run.learning_rate))
            .unwrap_or(trained.learning_rate());
        let numbers = PlanNumbers {
            epochs,
            batch_size,
            learning_rate,
        };
        self.tell(&numbers, trained, run.is_some());
        numbers
    }

    /// Tells the log what was taken where nothing was asked for.
    fn tell(self, numbers: &PlanNumbers, trained: Trained, is_of_run: bool) {
        let taken = [
            (
                self.learning_rate.is_none(),
                format!("learning_rate {}", numbers.learning_rate),
            ),
            (
                self.batch_size.is_none(),
                format!("batch_size {}", numbers.batch_size),
            ),
            (self.epochs.is_none(), format!("epochs {}", numbers.epochs)),
        ];
        let taken: Vec<String> = (taken.into_iter())
            .filter_map(|(is_taken, text)| is_taken.then_some(text))
            .collect();
        if taken.is_empty() {
            return;
        }
        log::info(|| {
            format!(
                "Chosen by the library: {}, {} {}.",
                taken.join(", "),
                match is_of_run {
                    true => "from the run whose checkpoint was loaded, which trains",
                    false => "for",
                },
                trained.name()
            )
        });
    }
}
