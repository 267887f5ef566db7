//! One optimizer step on a GPU: everything stays there but how it went.

use super::options::TrainOptions;
use super::step::Step;
use crate::cuda::{BegunStep, CudaTraining, CudaValues};
use crate::data::Batch;
use crate::error::Result;
use crate::model::Model;

/// What a step goes by.
pub(super) struct GpuStep<'a> {
    pub model: &'a Model,
    pub options: &'a TrainOptions,
    /// The training data's.
    pub sequences: &'a Batch,
    pub step: &'a Step<'a>,
}

impl GpuStep<'_> {
    /// Begins it: (how it goes, the next values).
    pub fn begin(
        &self,
        training: &mut CudaTraining,
        values: &CudaValues,
    ) -> Result<(BegunStep, CudaValues)> {
        let GpuStep { options, step, .. } = self;
        training.clear()?;
        for (number, examples) in step.window.iter().enumerate() {
            let batch = self.sequences.select(examples);
            training.pass(
                self.model,
                values,
                step.pass(options, number, &batch),
                (step.objective, examples, 1.0 / step.weight),
            )?;
        }
        training.update(values, step.learning_rate, options.max_grad_norm)
    }
}
