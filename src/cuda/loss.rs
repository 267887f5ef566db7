//! A batch's loss on a GPU, and its derivative by the logits there.

use super::gpu::{Gpu, Memory, THREADS};
use super::optimizer::CudaOutcome;
use crate::data::Targets;
use crate::error::Result;
use crate::memory;
use crate::train::loss::Objective;

/// Threads of a warp.
const WARP: usize = 32;

/// The derivative of the loss of `logits` [examples, num_labels], as [`Objective::of`] has it; the loss and what is right
/// are added to the outcome.
pub(super) fn derivative(
    gpu: &'static Gpu,
    objective: Objective<'_>,
    examples: &[usize],
    logits: &Memory,
    factor: f64,
    outcome: &CudaOutcome,
) -> Result<Memory> {
    let (count, num_labels) = (examples.len(), objective.num_labels);
    assert_eq!(logits.bytes(), 4 * count * num_labels);
    let derivative = gpu.memory(4 * count * num_labels)?;
    // Two float64 an example.
    let losses = gpu.memory(16 * count)?;
    let grid = (count, 1);
    let threads = num_labels.next_multiple_of(WARP).min(THREADS);
    match objective.targets.select(examples) {
        Targets::Classes(classes) => {
            let weights = &objective.cross_entropy.class_weights;
            assert!(
                classes.iter().all(|&class| (class as usize) < num_labels)
                    && (weights.is_empty() || weights.len() == num_labels)
            );
            let classes = memory::collected(classes.iter().map(|&class| Ok(class as i32)))?;
            let labels = gpu.upload(&classes)?;
            let weights = match weights.is_empty() {
                true => None,
                false => Some(gpu.upload(weights)?),
            };
            gpu.launch(
                ("cross_entropy", ""),
                grid,
                threads,
                0,
                &mut [
                    logits.into(),
                    (&labels).into(),
                    weights.as_ref().into(),
                    objective.cross_entropy.label_smoothing.into(),
                    factor.into(),
                    (&derivative).into(),
                    (&losses).into(),
                    num_labels.into(),
                ],
            )?;
        }
        Targets::Labels(lists) => {
            let mut targets = memory::filled(0f32, count * num_labels)?;
            for (row, list) in targets.chunks_mut(num_labels).zip(&lists) {
                list.iter().for_each(|&label| row[label as usize] = 1.0);
            }
            let targets = gpu.upload(&targets)?;
            assert_eq!(objective.thresholds.len(), num_labels);
            let thresholds = gpu.upload(objective.thresholds)?;
            gpu.launch(
                ("binary_cross_entropy", ""),
                grid,
                threads,
                0,
                &mut [
                    logits.into(),
                    (&targets).into(),
                    (&thresholds).into(),
                    factor.into(),
                    (&derivative).into(),
                    (&losses).into(),
                    num_labels.into(),
                ],
            )?;
        }
        Targets::Values { values, .. } => {
            assert_eq!(values.len(), count * num_labels);
            let targets = gpu.upload(&values)?;
            let deviations = match objective.deviations {
                Some(deviations) => {
                    assert_eq!(deviations.len(), num_labels);
                    Some(gpu.upload(deviations)?)
                }
                None => None,
            };
            gpu.launch(
                ("squared_error", ""),
                grid,
                threads,
                0,
                &mut [
                    logits.into(),
                    (&targets).into(),
                    deviations.as_ref().into(),
                    factor.into(),
                    (&derivative).into(),
                    (&losses).into(),
                    num_labels.into(),
                ],
            )?;
        }
    }
    gpu.launch(
        ("add_losses", ""),
        (1, 1),
        THREADS,
        0,
        &mut [(&losses).into(), count.into(), outcome.memory().into()],
    )?;
    Ok(derivative)
}
