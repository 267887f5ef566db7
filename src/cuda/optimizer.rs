//! What training keeps on a GPU, gradients and moments, and its update there: the norm of all gradients, clipping by it
//! and AdamW, as [`optimizer`](crate::train::optimizer) on the CPU. Neither gradients nor values travel to the host; how a
//! step went does, and nothing waits for it before the step is begun as a whole.

use super::arena::Arena;
use super::gpu::{Argument, Gpu, Later, Memory, Number, THREADS};
use super::libraries::Address;
use super::values::{CudaValues, pieces};
use super::{loss, pass};
use crate::error::Result;
use crate::memory;
use crate::model::{Model, ParameterTable, TrainingPass};
use crate::train::StepOutcome;
use crate::train::loss::Objective;
use crate::train::optimizer::{AdamWOptions, Group};
use crate::train::target_scale::Units;

/// `Slice` in `kernels/kernels.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slice {
    value: Address,
    updated: Address,
    gradient: Address,
    first: Address,
    second: Address,
    count: i64,
    rate_factor: f64,
    weight_decay: f64,
    unit: f64,
}

// SAFETY: numbers without room between them.
unsafe impl Number for Slice {}

/// `Rule` in `kernels/kernels.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Rule {
    learning_rate: f64,
    max_norm: f64,
    first_correction: f64,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    root_correction: f32,
    epsilon: f32,
}

/// `Outcome` in `kernels/loss.cuh`, on the GPU.
pub(super) struct CudaOutcome(Memory);

impl CudaOutcome {
    const NUMBERS: usize = 4;
    /// Those that are each step's own.
    const OF_A_STEP: usize = 3;

    pub fn memory(&self) -> &Memory {
        &self.0
    }
}

/// A step that was begun, and how it went once the GPU has made it: without an update also where an earlier one had none,
/// until [`CudaTraining::take_back`].
pub struct BegunStep(Later<f64, { CudaOutcome::NUMBERS }>);

impl BegunStep {
    /// Waits for it.
    pub fn wait(self) -> Result<StepOutcome> {
        let [norm, loss, correct, has_stopped] = self.0.wait()?;
        Ok(StepOutcome {
            norm,
            loss,
            correct: correct as usize,
            is_updated: has_stopped == 0.0,
        })
    }
}

/// The units of the rows of a parameter, where they have units.
fn rows_of(units: Option<&Units>, index: usize) -> Option<&[f64]> {
    units.and_then(|units| units.of(index))
}

/// One trainer's gradients and moments.
pub struct CudaTraining {
    gpu: &'static Gpu,
    options: AdamWOptions,
    groups: Vec<Group>,
    /// In what the rows of some parameters are measured.
    units: Option<Units>,
    /// Numbers of each parameter; 0 where it is frozen.
    lengths: Vec<usize>,
    gradients: Arena,
    first: Arena,
    second: Arena,
    /// The number of the first piece of each trained parameter, or of each of its rows where they have units.
    pieces: Memory,
    piece_count: usize,
    outcome: CudaOutcome,
    /// Steps begun.
    step: u64,
}

impl CudaTraining {
    /// Moments of zero for the parameters of `table`, trained as `groups` says.
    pub fn new(
        gpu: &'static Gpu,
        options: AdamWOptions,
        table: &ParameterTable,
        (groups, units): (Vec<Group>, Option<Units>),
    ) -> Result<CudaTraining> {
        let pairs = table.specs.iter().zip(&groups);
        let lengths = memory::collected(pairs.map(|(spec, group)| {
            Ok(match group.is_frozen {
                true => 0,
                false => spec.len(),
            })
        }))?;
        let rows = (0..lengths.len()).flat_map(|index| {
            let rows = rows_of(units.as_ref(), index).map_or(1, <[f64]>::len);
            std::iter::repeat_n(lengths[index] / rows, rows)
        });
        let (pieces, piece_count) = pieces(rows.filter(|&length| length > 0))?;
        Ok(CudaTraining {
            gradients: Arena::new(gpu, memory::copied(&lengths)?)?,
            first: Arena::new(gpu, memory::copied(&lengths)?)?,
            second: Arena::new(gpu, memory::copied(&lengths)?)?,
            pieces: gpu.upload(&pieces)?,
            gpu,
            options,
            groups,
            units,
            lengths,
            piece_count,
            outcome: CudaOutcome(gpu.zeros(8 * CudaOutcome::NUMBERS)?),
            step: 0,
        })
    }

    /// Begins a step: gradients and loss are zero.
    pub fn clear(&mut self) -> Result<()> {
        self.gradients.clear()?;
        self.outcome.0.clear_first(8 * CudaOutcome::OF_A_STEP)
    }

    /// One training pass, as [`Model::logits_and_gradients`], with the loss of `examples`, which the batch has. `factor` is
    /// as in [`Objective::of`].
    pub fn pass(
        &mut self,
        model: &Model,
        values: &CudaValues,
        pass: TrainingPass<'_>,
        (objective, examples, factor): (Objective<'_>, &[usize], f64),
    ) -> Result<()> {
        self.assert_values(values);
        assert!(
            model.table.has_lengths(&self.lengths) && examples.len() == pass.batch.len(),
            "the gradients or the examples are of another pass"
        );
        let derivative = |logits: &Memory| {
            loss::derivative(self.gpu, objective, examples, logits, factor, &self.outcome)
        };
        pass::train(
            model,
            values,
            pass,
            derivative,
            &self.gradients.addresses()?,
        )
    }

    /// One update, by gradients clipped to `max_grad_norm`: (how the step goes, the next values). Where the norm or the loss
    /// isn't finite nothing changes, and the next values are the present ones, in this step and in those that are begun
    /// before [`take_back`](CudaTraining::take_back).
    pub fn update(
        &mut self,
        values: &CudaValues,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> Result<(BegunStep, CudaValues)> {
        self.assert_values(values);
        // All that may be missing is asked for before anything changes.
        let later = Later::new(self.gpu)?;
        let next = values.with_room(&self.lengths)?;
        let mut slices = memory::room(self.lengths.len())?;
        let gradients = self.gradients.addresses()?;
        let (firsts, seconds) = (self.first.addresses()?, self.second.addresses()?);
        for (index, &length) in self.lengths.iter().enumerate() {
            let (Some(gradient), Some(first), Some(second)) =
                (gradients[index], firsts[index], seconds[index])
            else {
                continue;
            };
            let units = rows_of(self.units.as_ref(), index).unwrap_or(&[1.0]);
            let count = length / units.len();
            memory::reserve(&mut slices, units.len())?;
            for (row, &unit) in units.iter().enumerate() {
                let at = 4 * (row * count) as Address;
                slices.push(Slice {
                    value: values.value(index).at() + at,
                    updated: next.value(index).at() + at,
                    gradient: gradient + at,
                    first: first + at,
                    second: second + at,
                    count: count as i64,
                    rate_factor: self.groups[index].rate_factor,
                    weight_decay: self.groups[index].weight_decay,
                    unit,
                });
            }
        }
        let count = slices.len();
        let slices = self.gpu.upload(&slices)?;
        let sums = self.gpu.memory(8 * self.piece_count)?;
        let outcome = &self.outcome.0;
        let places = |more: Argument, last: Argument| -> [Argument; 5] {
            [
                (&slices).into(),
                (&self.pieces).into(),
                count.into(),
                more,
                last,
            ]
        };
        let [a, b, c, d, _] = places((&sums).into(), 0usize.into());
        self.gpu.launch(
            ("square_sums", ""),
            (self.piece_count, 1),
            THREADS,
            0,
            &mut [a, b, c, d],
        )?;
        self.gpu.launch(
            ("global_norm", ""),
            (1, 1),
            THREADS,
            0,
            &mut [(&sums).into(), self.piece_count.into(), outcome.into()],
        )?;
        let rule = self.rule(learning_rate, max_grad_norm);
        self.gpu.launch(
            ("adamw", ""),
            (self.piece_count, 1),
            THREADS,
            0,
            &mut places(Argument::of(rule), outcome.into()),
        )?;
        outcome.read_later(&later)?;
        self.step += 1;
        Ok((BegunStep(later), next))
    }

    /// Holds values to be on this GPU, and as large as what is trained of them.
    fn assert_values(&self, values: &CudaValues) {
        assert!(
            std::ptr::eq(values.gpu(), self.gpu),
            "the values are on another GPU"
        );
        for (index, &length) in self.lengths.iter().enumerate() {
            assert!(length == 0 || values.value(index).bytes() == 4 * length);
        }
    }

    /// The last `steps` steps that were begun made no update, and the next one is to make one again.
    pub fn take_back(&mut self, steps: u64) -> Result<()> {
        self.step = self.step.saturating_sub(steps);
        self.outcome.0.clear()
    }

    fn rule(&self, learning_rate: f64, max_norm: f64) -> Rule {
        let AdamWOptions {
            beta1,
            beta2,
            epsilon,
        } = self.options;
        let exponent = (self.step + 1).min(i32::MAX as u64) as i32;
        Rule {
            learning_rate,
            max_norm,
            first_correction: 1.0 - beta1.powi(exponent),
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            root_correction: (1.0 - beta2.powi(exponent)).sqrt() as f32,
            epsilon: epsilon as f32,
        }
    }

    /// Copies of the first and the second moments, in the table's order; empty where a parameter is frozen.
    pub fn moments(&self) -> Result<[Vec<Vec<f32>>; 2]> {
        let copy = |arena: &Arena| -> Result<Vec<Vec<f32>>> {
            let mut all = memory::room(self.lengths.len())?;
            arena.read(|_, moments| {
                all.push(memory::copied(moments)?);
                Ok(())
            })?;
            Ok(all)
        };
        Ok([copy(&self.first)?, copy(&self.second)?])
    }

    /// Goes on after `step` steps with the moments that they left, of the same lengths as the present ones.
    pub fn resume(&mut self, step: u64, first: &[Vec<f32>], second: &[Vec<f32>]) -> Result<()> {
        self.first.write(first)?;
        self.second.write(second)?;
        self.step = step;
        Ok(())
    }
}
