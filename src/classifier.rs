//! A model with its values, its tokenizer and its labels: what a user makes or loads, predicts with and saves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::{Dataset, Labels};
use crate::error::{Error, Result};
use crate::hf::{LoadOptions, Origins, PlanNumbers, Untrained};
use crate::model::quantized::quantized;
use crate::model::{
    BertConfig, InferencePrecision, LoraConfig, Model, Parameters, Preset, refuse_int8,
};
use crate::predict::TEXTS_AT_ONCE;
use crate::problem::ProblemType;
use crate::sync::{Exclusive, Published, Right};
use crate::text::{Tokenizer, TokenizerOptions};
use crate::train::lengths::percentile;
use crate::{device, hf, log, memory, threads};

/// How a new classifier is made.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The model's sizes; vocab_size, pad_token_id, num_labels and problem_type are set from the tokenizer and the
    /// data.
    pub config: BertConfig,
    /// Whether the training texts decide max_position_embeddings, and not `config`.
    pub fits_positions: bool,
    /// How the tokenizer is learned from the training texts.
    pub tokenizer: TokenizerOptions,
    /// A `tokenizer.json` to take instead of learning one.
    pub tokenizer_path: Option<PathBuf>,
    /// The classes in the order of their ids; `None` takes them from the training data.
    pub label_names: Option<Vec<String>>,
    /// The problem that the training data must be for; `None` takes the one that it is for.
    pub problem_type: Option<ProblemType>,
    /// Decides the initial values.
    pub seed: u64,
    /// `cpu`, `cuda`, `cuda:N` or `auto`.
    pub device: String,
}

impl CreateOptions {
    /// A preset's sizes, positions for the training texts, a word-level tokenizer, the CPU.
    pub fn preset(preset: Preset) -> CreateOptions {
        CreateOptions {
            config: preset.config(),
            fits_positions: true,
            tokenizer: TokenizerOptions::default(),
            tokenizer_path: None,
            label_names: None,
            problem_type: None,
            seed: 42,
            device: "cpu".into(),
        }
    }
}

/// A text classifier. Any number of threads may use one at once; training swaps whole sets of values, so that each
/// call sees one set from its beginning to its end.
#[derive(Debug)]
pub struct Classifier {
    model: Model,
    tokenizer: Tokenizer,
    labels: Labels,
    /// The longest sequence that tokenizer and model are made for.
    max_length: usize,
    origins: Origins,
    /// Of the run whose checkpoint it was loaded from.
    run: Option<PlanNumbers>,
    /// Whether the pooler has initial values still.
    has_new_pooler: AtomicBool,
    /// Whether the classifier has.
    has_new_classifier: AtomicBool,
    parameters: Published<Parameters>,
    /// The probability from which on each label counts as predicted (multi-label); as many as labels.
    thresholds: Published<Vec<f64>>,
    training: Exclusive,
    /// Whether it was told that predictions cut texts.
    has_told_of_cut: AtomicBool,
}

/// A label's threshold unless it is set.
pub const DEFAULT_THRESHOLD: f64 = 0.5;

impl Classifier {
    /// A new model with initial values: the tokenizer's vocabulary and the labels come from `train` alone.
    pub fn create(options: &CreateOptions, train: &Dataset) -> Result<Classifier> {
        let Some(of_data) = train.problem_type() else {
            return Err(Error::Data(
                "The data set is empty; the tokenizer and the labels are taken from it.".into(),
            ));
        };
        let problem_type = options.problem_type.unwrap_or(of_data);
        let labels = match &options.label_names {
            Some(names) => Labels::from_names(names.clone())?,
            None => Labels::from_dataset(train)?,
        };
        // Each example's label must be among them, and of that problem.
        labels.targets_of(train, problem_type)?;
        let device = device::from_name(&options.device)?;
        // The sizes are checked before the vocabulary is learned; its own size is limited by its option.
        options.config.validate()?;
        let tokenizer = match &options.tokenizer_path {
            Some(path) => Tokenizer::from_json(&hf::read_file(path, hf::MAX_JSON_BYTES)?)
                .map_err(|error| error.naming("tokenizer.json", path))?,
            None => threads::run(|| Tokenizer::train(train.texts(), &options.tokenizer))??,
        };
        let max_position_embeddings = match options.fits_positions {
            true => fitting_positions(&tokenizer, train)?,
            false => options.config.max_position_embeddings,
        };
        let config = BertConfig {
            max_position_embeddings,
            vocab_size: tokenizer.vocab_size(),
            pad_token_id: tokenizer.pad_token_id(),
            num_labels: labels.len(),
            problem_type,
            ..options.config.clone()
        };
        let model = Model::new(config, device)?;
        let parameters = threads::run(|| {
            Parameters::initialise(&model.config, &model.table, options.seed, &model.device)
        })??;
        let origins = Origins::initialised(&model);
        let classifier = Classifier::from_parts(model, tokenizer, labels, parameters, origins)?;
        classifier.check_pairs(train.examples().iter().any(|e| e.pair.is_some()))?;
        Ok(classifier)
    }

    /// Puts together what belongs together; says which two parts disagree.
    pub fn from_parts(
        model: Model,
        tokenizer: Tokenizer,
        labels: Labels,
        parameters: Parameters,
        origins: Origins,
    ) -> Result<Classifier> {
        if tokenizer.vocab_size() > model.config.vocab_size {
            return Err(Error::Format(format!(
                "The tokenizer has token ids up to {}, but the model's vocab_size is {}; they don't belong together.",
                tokenizer.vocab_size().saturating_sub(1),
                model.config.vocab_size
            )));
        }
        if labels.len() != model.config.num_labels {
            return Err(Error::Format(format!(
                "There are {} label names, but the model has {} classes; they don't belong together.",
                labels.len(),
                model.config.num_labels
            )));
        }
        let untrained = Untrained::of(&origins);
        Ok(Classifier {
            max_length: model.config.max_position_embeddings,
            has_new_pooler: AtomicBool::new(untrained.pooler),
            has_new_classifier: AtomicBool::new(untrained.classifier),
            thresholds: Published::new(Arc::new(vec![DEFAULT_THRESHOLD; labels.len()])),
            model,
            tokenizer,
            labels,
            origins,
            run: None,
            parameters: Published::new(Arc::new(parameters)),
            training: Exclusive::new(),
            has_told_of_cut: AtomicBool::new(false),
        })
    }

    /// The default for the longest sequence becomes the smaller of `limit` (`model_max_length`) and what the model
    /// allows.
    pub(crate) fn with_max_length(mut self, limit: Option<usize>) -> Classifier {
        if let Some(limit) = limit {
            self.max_length = self.max_length.min(limit.max(4));
        }
        self
    }

    /// It was loaded from a training checkpoint, of a run with these numbers.
    pub(crate) fn with_run_numbers(mut self, run: Option<PlanNumbers>) -> Classifier {
        self.run = run;
        self
    }

    /// The numbers of the training run whose checkpoint it was loaded from.
    pub fn run_numbers(&self) -> Option<PlanNumbers> {
        self.run
    }

    /// Says what of the head was never trained.
    pub(crate) fn with_untrained(self, untrained: Untrained) -> Classifier {
        self.set_untrained(untrained);
        self
    }

    /// What of the head has initial values still.
    pub fn untrained(&self) -> Untrained {
        Untrained {
            pooler: self.has_new_pooler.load(Ordering::Acquire),
            classifier: self.has_new_classifier.load(Ordering::Acquire),
        }
    }

    /// As [`with_untrained`](Classifier::with_untrained), once the parameters are there.
    pub(crate) fn set_untrained(&self, untrained: Untrained) {
        self.has_new_pooler
            .store(untrained.pooler, Ordering::Release);
        self.has_new_classifier
            .store(untrained.classifier, Ordering::Release);
    }

    /// Reads a directory that [`save`](Classifier::save) wrote, or a published BERT's.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Classifier> {
        hf::load_directory(path, options)
    }

    /// Reads what [`save_to_buffer`](Classifier::save_to_buffer) wrote.
    pub fn load_from_buffer(bytes: &[u8], options: &LoadOptions) -> Result<Classifier> {
        hf::load_buffer(bytes, options)
    }

    /// Where its parameters came from.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Writes a Hugging Face model directory, in place of an older one of ours in one step.
    pub fn save(&self, path: &Path) -> Result<()> {
        hf::save_directory(self, path)
    }

    /// An int8 classifier that predicts nearly as this one does: weights are rounded once, states as they come. LoRA
    /// adapters are merged first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where it is int8 already; [`Error::Unsupported`] where it isn't computed on the CPU;
    /// [`Error::OutOfMemory`].
    pub fn quantize(&self) -> Result<Classifier> {
        if self.is_int8() {
            return Err(Error::InvalidArgument("This model is int8 already.".into()));
        }
        if !self.model.device.is_cpu() {
            return Err(Error::Unsupported(format!(
                "Int8 models run only on the CPU, and this model is on {}; load it on the CPU first.",
                device::name(&self.model.device)
            )));
        }
        let model = Model::new(self.model.config.clone(), self.model.device.clone())?;
        let values = self.model.merged_values(&self.parameters())?;
        let parameters = Parameters::Int8(quantized(&model.table, &values)?.into());
        drop(values);
        let precision = InferencePrecision::default();
        parameters.choose_instructions(precision);
        if self.untrained() != Untrained::default() {
            log::warning(|| {
                "The model that is quantized has parts with initial values, and an int8 model can't be trained: train \
                 the model first."
                    .into()
            });
        }
        // Now, so that a model that int8 can't be computed of is refused here.
        threads::run_here(|| model.prepare(&parameters, precision))??;
        let origins = self.origins.only_of(&model);
        Ok(self.with_model(model, self.labels.clone(), parameters, origins))
    }

    /// A classifier of the same values on another device: `cpu`, `cuda`, `cuda:N` or `auto`.
    ///
    /// # Errors
    /// [`Error::Device`] where there is no such device; [`Error::Unsupported`] where this one is int8 and the device not the
    /// CPU, or a GPU can't compute it; [`Error::OutOfMemory`].
    pub fn copy_to_device(&self, name: &str) -> Result<Classifier> {
        let device = device::from_name(name)?;
        let parameters = self.parameters();
        let parameters = match &*parameters {
            Parameters::Int8(values) if device.is_cpu() => Parameters::Int8(values.clone()),
            Parameters::Int8(_) => {
                return Err(Error::Unsupported(
                    "An int8 model runs only on the CPU; use the model that this one was quantized from."
                        .into(),
                ));
            }
            float32 => float32.on(&device)?,
        };
        let mut model = Model::new(self.model.config.clone(), device)?;
        model.table = self.model.table.clone();
        let copy = self.with_model(model, self.labels.clone(), parameters, self.origins.clone());
        Ok(copy)
    }

    /// Whether it was quantized.
    pub fn is_int8(&self) -> bool {
        self.parameters().is_int8()
    }

    /// A classifier of this one's parameters with adapters of initial values behind them: it computes the same until it
    /// is trained. What the adapters leave as it is is shared.
    pub fn add_lora(&self, lora: LoraConfig, seed: u64) -> Result<Classifier> {
        if self.model.table.lora.is_some() {
            return Err(Error::InvalidArgument(
                "This model has LoRA adapters already; merge them first.".into(),
            ));
        }
        if self.is_int8() {
            return Err(refuse_int8("an adapter"));
        }
        let model = Model::with_lora(self.model.config.clone(), lora, self.model.device.clone())?;
        hf::check_pooler(self, &lora)?;
        let parameters = threads::run(|| {
            self.parameters()
                .with_adapters(&model.config, &model.table, seed)
        })??;
        let mut origins = self.origins.clone();
        let adapters = &model.table.specs[model.table.base_specs().len()..];
        origins
            .initialised
            .extend(adapters.iter().map(|spec| spec.name.clone()));
        Ok(self.with_model(model, self.labels.clone(), parameters, origins))
    }

    /// A classifier without adapters that computes what this one with them does.
    pub fn merge_lora(&self) -> Result<Classifier> {
        if self.model.table.lora.is_none() {
            return Err(Error::InvalidArgument(
                "This model has no LoRA adapters to merge.".into(),
            ));
        }
        let model = Model::new(self.model.config.clone(), self.model.device.clone())?;
        let mut parameters = Parameters::Host(self.model.merged_values(&self.parameters())?.into());
        if !model.device.is_cpu() {
            parameters = parameters.on(&model.device)?;
        }
        let origins = self.origins.only_of(&model);
        Ok(self.with_model(model, self.labels.clone(), parameters, origins))
    }

    /// Writes the adapters, and the head that is trained with them, as a PEFT directory.
    pub fn save_adapter(&self, path: &Path) -> Result<()> {
        hf::save_adapter(self, path)
    }

    /// A classifier of this one's parameters and the adapters and head of a PEFT directory.
    pub fn load_adapter(&self, path: &Path) -> Result<Classifier> {
        hf::load_adapter(self, path)
    }

    /// Another model with this one's tokenizer, as trained as this one.
    pub(crate) fn with_model(
        &self,
        model: Model,
        labels: Labels,
        parameters: Parameters,
        origins: Origins,
    ) -> Classifier {
        let untrained = self.untrained();
        let thresholds = self.thresholds_of(&labels);
        Classifier {
            thresholds: Published::new(Arc::new(thresholds)),
            model,
            tokenizer: self.tokenizer.clone(),
            labels,
            max_length: self.max_length,
            origins,
            run: self.run,
            has_new_pooler: AtomicBool::new(untrained.pooler),
            has_new_classifier: AtomicBool::new(untrained.classifier),
            parameters: Published::new(Arc::new(parameters)),
            training: Exclusive::new(),
            has_told_of_cut: AtomicBool::new(false),
        }
    }

    /// One safetensors file that holds everything.
    pub fn save_to_buffer(&self) -> Result<Vec<u8>> {
        hf::save_buffer(self)
    }

    /// What is computed, and where.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Its classes, labels or regression targets.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The present set of values; it stays as it is while training goes on.
    pub fn parameters(&self) -> Arc<Parameters> {
        self.parameters.get()
    }

    /// Puts a new set of values, whose classifier is trained, in place of the present one, and gives that back.
    pub fn publish(&self, parameters: Arc<Parameters>) -> Arc<Parameters> {
        let before = self.parameters.replace(parameters);
        self.has_new_classifier.store(false, Ordering::Release);
        before
    }

    /// As [`publish`](Classifier::publish), of a training's step: it trains the pooler too, unless adapters leave it
    /// out.
    pub fn publish_step(&self, parameters: Arc<Parameters>) -> Arc<Parameters> {
        let before = self.publish(parameters);
        if self.model.table.lora.is_none_or(|lora| lora.train_pooler) {
            self.has_new_pooler.store(false, Ordering::Release);
        }
        before
    }

    /// Whether this is the first time that predictions cut a text.
    pub(crate) fn is_first_cut(&self) -> bool {
        !self.has_told_of_cut.swap(true, Ordering::Relaxed)
    }

    /// The probability from which on each label counts as predicted (multi-label), by label id.
    pub fn thresholds(&self) -> Arc<Vec<f64>> {
        self.thresholds.get()
    }

    /// The same threshold for all labels where one is given, else the model's own.
    pub fn thresholds_or(&self, given: Option<f64>) -> Arc<Vec<f64>> {
        match given {
            Some(threshold) => Arc::new(vec![threshold; self.labels.len()]),
            None => self.thresholds(),
        }
    }

    /// Sets the model's own thresholds, one a label; none: all have [`DEFAULT_THRESHOLD`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the problem isn't multi-label; [`Error::InvalidArgument`] for another number of
    /// thresholds and for one that isn't from 0 to 1.
    pub fn set_thresholds(&self, thresholds: &[f64]) -> Result<()> {
        self.check_has_thresholds()?;
        let mut all = vec![DEFAULT_THRESHOLD; self.labels.len()];
        if !thresholds.is_empty() {
            if thresholds.len() != all.len() {
                return Err(Error::InvalidArgument(format!(
                    "There are {} thresholds, but this model has {} labels; give one for each, in the order of the \
                     label ids.",
                    thresholds.len(),
                    all.len()
                ))
                .of_argument("thresholds"));
            }
            check_thresholds(thresholds).map_err(|error| error.of_argument("thresholds"))?;
            all.copy_from_slice(thresholds);
        }
        self.thresholds.replace(Arc::new(all));
        Ok(())
    }

    /// Refuses a model without labels of which a text has any number.
    pub fn check_has_thresholds(&self) -> Result<()> {
        match self.model.config.problem_type {
            ProblemType::MultiLabel => Ok(()),
            problem => Err(Error::Unsupported(format!(
                "This model's problem is {problem}; thresholds are for multi-label classification."
            ))),
        }
    }

    /// The thresholds of these labels: those that this model has by the same name, if it has all.
    fn thresholds_of(&self, labels: &Labels) -> Vec<f64> {
        let own = self.thresholds();
        let of = |name: &String| Some(own[self.labels.id(name)? as usize]);
        let found: Option<Vec<f64>> = labels.names().iter().map(of).collect();
        found.unwrap_or_else(|| vec![DEFAULT_THRESHOLD; labels.len()])
    }

    /// The right to train, given back when dropped; [`Error::Busy`] while somebody has it.
    pub fn begin_training(&self) -> Result<Right<'_>> {
        self.training.take().ok_or_else(|| {
            Error::Busy(
                "This model is being trained by another call; wait until that one has returned."
                    .into(),
            )
        })
    }

    /// Refuses pairs where the model can't tell the second text from the first.
    pub fn check_pairs(&self, has_pairs: bool) -> Result<()> {
        let types = self.model.config.type_vocab_size;
        if has_pairs && types < 2 {
            return Err(Error::InvalidArgument(format!(
                "There are pairs of texts, but this model's type_vocab_size is {types}; pairs need 2."
            )));
        }
        Ok(())
    }

    /// The maximum length in tokens for an option's value: 0 takes what the model allows.
    pub fn max_length(&self, asked: usize) -> Result<usize> {
        let most = self.model.config.max_position_embeddings;
        match asked {
            0 => Ok(self.max_length),
            4.. if asked <= most => Ok(asked),
            _ => Err(Error::InvalidArgument(format!(
                "max_length is {asked}; it must be between 4 and this model's max_position_embeddings, {most}, or 0 for \
                 that."
            ))
            .of_argument("max_length")),
        }
    }
}

/// The fewest and the most positions that the library chooses, and of what they are a multiple.
const FEWEST_POSITIONS: usize = 32;
const MOST_POSITIONS: usize = 512;
const POSITIONS_STEP: usize = 16;

/// Positions for all but the longest hundredth of the texts: the 99th percentile of their tokens, rounded up.
fn fitting_positions(tokenizer: &Tokenizer, train: &Dataset) -> Result<usize> {
    let texts = train.pairs()?;
    let mut lengths = memory::room(texts.len())?;
    for texts in texts.chunks(TEXTS_AT_ONCE) {
        // What is longer counts as one more.
        let encodings = threads::run(|| tokenizer.encode_batch(texts, MOST_POSITIONS + 1))??;
        lengths.extend(encodings.iter().map(|encoding| encoding.input_ids.len()));
    }
    lengths.sort_unstable();
    let tokens = percentile(&lengths, 0.99);
    let positions = tokens
        .next_multiple_of(POSITIONS_STEP)
        .clamp(FEWEST_POSITIONS, MOST_POSITIONS);
    log::info(|| {
        let most = match tokens > MOST_POSITIONS {
            true => format!("more than {MOST_POSITIONS}"),
            false => tokens.to_string(),
        };
        format!(
            "Chosen by the library: max_position_embeddings {positions}. The 99th percentile of the training texts' \
             tokens is {most}."
        )
    });
    Ok(positions)
}

/// Refuses a threshold that isn't from 0 to 1.
pub(crate) fn check_thresholds(thresholds: &[f64]) -> Result<()> {
    match thresholds.iter().position(|t| !(0.0..=1.0).contains(t)) {
        None => Ok(()),
        Some(index) => Err(Error::InvalidArgument(format!(
            "Threshold {index} is {}; it must be between 0 and 1.",
            thresholds[index]
        ))
        .at_index(index)),
    }
}
