//! The units of regression targets. A head that begins with small weights reaches targets from 0 to 100 only after many
//! thousand steps, and its squared errors drown what else a step does. So a run is computed as if each target were
//! measured by its distance from the training data's mean in standard deviations, while all values stay in the targets'
//! own units: what is published, saved and evaluated needs no translation.
//!
//! With o = m + d · n for an output o and its normalised value n: the loss is (o - t)² / d², a row of the head's
//! weights is d times the normalised row, its gradient is 1 / d times the normalised one's. AdamW's update of the row
//! is then the normalised update where gradients are multiplied with d, the rate is d times as high and the decay 1 / d
//! times.

use crate::data::Targets;
use crate::error::Result;
use crate::memory;
use crate::model::{Gradients, ParameterTable, Parameters};

/// Units that float32 can hold with the squares of what is measured in them.
const LEAST: f64 = 1e-12;
const MOST: f64 = 1e12;

/// The mean and the deviation of each target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetScale {
    means: Vec<f64>,
    deviations: Vec<f64>,
    /// Targets that stay as they are, because their numbers are too large or too small.
    unscaled: Vec<u32>,
}

impl TargetScale {
    /// Those of training targets; `None` of classes and labels. A target that is always the same has 1 as its
    /// deviation; so has one whose numbers are too large or too small for float32, with a mean of 0: it stays as it is.
    pub fn of(targets: &Targets) -> Option<TargetScale> {
        let Targets::Values { values, width } = targets else {
            return None;
        };
        let count = (values.len() / width).max(1) as f64;
        let (mut means, mut deviations, mut unscaled) = (Vec::new(), Vec::new(), Vec::new());
        for (id, target) in (0u32..).zip(0..*width) {
            let column = || {
                values
                    .iter()
                    .skip(target)
                    .step_by(*width)
                    .map(|&v| f64::from(v))
            };
            let mean = column().sum::<f64>() / count;
            let squares = column().map(|v| (v - mean) * (v - mean)).sum::<f64>();
            let deviation = match (squares / count).sqrt() {
                0.0 => 1.0,
                deviation => deviation,
            };
            let is_right = mean.abs() <= MOST && (LEAST..=MOST).contains(&deviation);
            let (mean, deviation) = match is_right {
                true => (mean, deviation),
                false => {
                    unscaled.push(id);
                    (0.0, 1.0)
                }
            };
            means.push(mean);
            deviations.push(deviation);
        }
        Some(TargetScale {
            means,
            deviations,
            unscaled,
        })
    }

    /// The ids of the targets that stay as they are.
    pub fn unscaled(&self) -> &[u32] {
        &self.unscaled
    }

    /// The deviation of each target.
    pub fn deviations(&self) -> &[f64] {
        &self.deviations
    }

    /// The values of a head that is new: its rows in the targets' units, its biases the targets' means. `None` where
    /// the head isn't as it was initialised, with biases of zero.
    pub fn new_head(
        &self,
        parameters: &Parameters,
        table: &ParameterTable,
    ) -> Result<Option<Parameters>> {
        let values = parameters.host()?;
        let (weight, bias) = (
            &values[table.classifier.weight],
            &values[table.classifier.bias],
        );
        if bias.iter().any(|&b| b != 0.0) {
            return Ok(None);
        }
        let mut updated = vec![Vec::new(); table.specs.len()];
        let mut rows: Vec<f32> = memory::copied(weight)?;
        let width = (rows.len() / self.deviations.len()).max(1);
        for (row, deviation) in rows.chunks_mut(width).zip(&self.deviations) {
            row.iter_mut()
                .for_each(|w| *w = (f64::from(*w) * deviation) as f32);
        }
        updated[table.classifier.weight] = rows;
        updated[table.classifier.bias] = self.means.iter().map(|&mean| mean as f32).collect();
        drop(values);
        parameters.with_updated(updated, table).map(Some)
    }

    /// The units of the head's rows.
    pub fn units(&self, table: &ParameterTable) -> Units {
        Units {
            parameters: [table.classifier.weight, table.classifier.bias],
            sizes: self.deviations.clone(),
        }
    }
}

/// In what the rows of some parameters are measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Units {
    parameters: [usize; 2],
    sizes: Vec<f64>,
}

impl Units {
    /// The units of the rows of parameter `index`; `None` where it has none.
    pub fn of(&self, index: usize) -> Option<&[f64]> {
        self.parameters.contains(&index).then_some(&self.sizes)
    }

    /// Gradients by the normalised values, from those by the values themselves.
    pub fn normalise(&self, gradients: &mut Gradients) {
        for index in self.parameters {
            let gradient = &mut gradients[index];
            let width = (gradient.len() / self.sizes.len()).max(1);
            for (row, size) in gradient.chunks_mut(width).zip(&self.sizes) {
                row.iter_mut()
                    .for_each(|g| *g = (f64::from(*g) * size) as f32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_its_own_mean_and_deviation() {
        let of = |values: Vec<f32>, width| TargetScale::of(&Targets::Values { values, width });
        let scale = of(vec![0.0, 5.0, 100.0, 5.0], 2).unwrap();
        assert_eq!(scale.means, [50.0, 5.0]);
        assert_eq!(scale.deviations, [50.0, 1.0]);
        let huge = of(vec![3e38, -3e38], 1).unwrap();
        assert_eq!((huge.means[0], huge.deviations[0]), (0.0, 1.0));
        assert_eq!((huge.unscaled(), scale.unscaled()), (&[0][..], &[][..]));
        assert_eq!(TargetScale::of(&Targets::Classes(vec![0, 1])), None);
    }
}
