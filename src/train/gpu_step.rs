//! One optimizer step on a GPU: gradients, moments and values stay there; logits and the gradients' norm come back.

use super::checkpoint::Totals;
use super::loss::Objective;
use super::options::TrainOptions;
use crate::cuda::{CudaTraining, CudaValues};
use crate::data::Batch;
use crate::error::Result;
use crate::model::{Model, Parameters, TrainingPass};
use crate::random::Dropout;

/// What a step goes by.
pub(super) struct GpuStep<'a> {
    pub model: &'a Model,
    pub options: &'a TrainOptions,
    /// The training data's.
    pub sequences: &'a Batch,
    pub objective: Objective<'a>,
    /// The sum of the examples' weights.
    pub weight: f64,
    /// The number of the step's first batch, counted over the whole run.
    pub first_batch_number: u32,
    pub learning_rate: f64,
}

impl GpuStep<'_> {
    /// (what was met, the gradients' norm, the next values) over the batches of `window`; no values where the loss or the
    /// norm isn't finite.
    pub fn take(
        &self,
        training: &mut CudaTraining,
        values: &CudaValues,
        window: &[Vec<usize>],
    ) -> Result<(Totals, f64, Option<Parameters>)> {
        let options = self.options;
        training.clear()?;
        let mut sums = Totals::default();
        for (number, examples) in window.iter().enumerate() {
            let batch = self.sequences.select(examples);
            let number = self.first_batch_number.wrapping_add(number as u32);
            let pass = TrainingPass {
                batch: &batch,
                dropout: Some(Dropout::new(options.seed, number)),
                frozen: options.frozen,
                precision: options.precision,
                gradient_checkpointing: options.gradient_checkpointing,
            };
            training.pass(self.model, values, pass, |logits| {
                let loss = self.objective.of(examples, logits, 1.0 / self.weight);
                sums.loss += loss.sum;
                sums.correct += loss.correct;
                loss.derivative
            })?;
            sums.examples += batch.len();
            sums.tokens += batch.tokens();
        }
        if !sums.loss.is_finite() {
            return Ok((sums, f64::NAN, None));
        }
        let (norm, next) = training.update(values, self.learning_rate, options.max_grad_norm)?;
        let updated = norm.is_finite().then_some(Parameters::Cuda(next));
        Ok((sums, norm, updated))
    }
}
