//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), as `torch.optim.AdamW` computes it,
//! with clipping by the global norm (`torch.nn.utils.clip_grad_norm_`).

use super::target_scale::Units;
use super::touched::TouchedRows;
use crate::error::Result;
use crate::memory;
use crate::model::{Gradients, ParameterTable, Values};
use crate::ops::isa::vectorised;
use crate::ops::parallel::{chunks, chunks_mut, each_of, for_each, map};

/// Numbers that one task works on: sums go by these blocks, so that they don't depend on the number of threads.
const BLOCK: usize = 16_384;

/// Rows of the word embeddings that go together in a sum, likewise.
const ROWS: usize = 32;

/// The constants of the update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

/// How one parameter is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// What the learning rate is multiplied with.
    pub rate_factor: f64,
    /// Its weight decay.
    pub weight_decay: f64,
    /// Whether it stays as it is: it has no gradient and no moments.
    pub is_frozen: bool,
}

impl Group {
    /// Each parameter alike, but for the decay that biases and layer norms are spared.
    pub fn plain(table: &ParameterTable, weight_decay: f64) -> Vec<Group> {
        table
            .specs
            .iter()
            .map(|spec| Group {
                rate_factor: 1.0,
                weight_decay: if spec.kind.has_weight_decay() {
                    weight_decay
                } else {
                    0.0
                },
                is_frozen: false,
            })
            .collect()
    }
}

/// The optimizer's state.
#[derive(Debug, Clone)]
pub struct AdamW {
    options: AdamWOptions,
    /// One for each parameter.
    groups: Vec<Group>,
    /// In what the rows of some are measured.
    units: Option<Units>,
    /// Steps taken.
    step: u64,
    first_moments: Vec<Vec<f32>>,
    second_moments: Vec<Vec<f32>>,
    /// For each row of the word embeddings whether both its moments are zero: without a gradient it only decays.
    is_idle: Vec<bool>,
}

impl AdamW {
    /// Moments of zero for the parameters of `table`, trained as `groups` says.
    pub fn new(options: AdamWOptions, table: &ParameterTable, groups: Vec<Group>) -> Result<AdamW> {
        let zeros = || -> Result<Vec<Vec<f32>>> {
            table
                .specs
                .iter()
                .zip(&groups)
                .map(|(spec, group)| {
                    if group.is_frozen {
                        Ok(Vec::new())
                    } else {
                        memory::zeroed(spec.len())
                    }
                })
                .collect()
        };
        Ok(AdamW {
            is_idle: memory::filled(true, table.specs[table.embeddings.word].shape[0])?,
            first_moments: zeros()?,
            second_moments: zeros()?,
            options,
            groups,
            units: None,
            step: 0,
        })
    }

    /// Some parameters have rows in units of their own, as [`target_scale`](super::target_scale) has it; the gradients
    /// that updates get are normalised.
    pub fn with_units(mut self, units: Option<Units>) -> AdamW {
        self.units = units;
        self
    }

    /// In what the rows of some parameters are measured.
    pub fn units(&self) -> Option<&Units> {
        self.units.as_ref()
    }

    /// The first and the second moments, in the table's order; empty where a parameter is frozen.
    pub fn moments(&self) -> (&[Vec<f32>], &[Vec<f32>]) {
        (&self.first_moments, &self.second_moments)
    }

    /// Goes on after `step` steps with the moments that they left, of the same lengths as the present ones.
    pub fn resume(&mut self, step: u64, first: Vec<Vec<f32>>, second: Vec<Vec<f32>>) {
        debug_assert!(
            [
                (&first, &self.first_moments),
                (&second, &self.second_moments)
            ]
            .iter()
            .all(|(new, old)| new.iter().map(Vec::len).eq(old.iter().map(Vec::len)))
        );
        self.step = step;
        self.first_moments = first;
        self.second_moments = second;
        // Whatever a row's moments are, this is right; a row that only decays is found out by its next update.
        self.is_idle.fill(false);
    }

    /// One update of `values`, written to `updated`: every parameter decays and moves by its moments, also where its
    /// gradient is zero. The gradients are multiplied with `gradient_scale` first (clipping). What is frozen isn't
    /// looked at: `updated` needs no memory for it. Of the word embeddings' gradient only the `touched` rows are read, the
    /// others are taken for zero; with `None` all are read.
    pub fn update(
        &mut self,
        values: &[Values],
        updated: &mut [Vec<f32>],
        (gradients, touched): (&Gradients, Option<&TouchedRows>),
        learning_rate: f64,
        gradient_scale: f64,
    ) {
        self.step += 1;
        let AdamWOptions {
            beta1,
            beta2,
            epsilon,
        } = self.options;
        let exponent = self.step.min(i32::MAX as u64) as i32;
        let first_correction = 1.0 - beta1.powi(exponent);
        let root_correction = (1.0 - beta2.powi(exponent)).sqrt() as f32;
        let moments = self.first_moments.iter_mut().zip(&mut self.second_moments);
        let (mut rules, mut parts) = (Vec::new(), Vec::new());
        for (index, (((values, updated), gradient), (first, second))) in values
            .iter()
            .zip(updated)
            .zip(gradients)
            .zip(moments)
            .enumerate()
        {
            let group = self.groups[index];
            if group.is_frozen {
                continue;
            }
            let learning_rate = learning_rate * group.rate_factor;
            let rule = Rule {
                scale: gradient_scale as f32,
                first: (beta1 as f32, (1.0 - beta1) as f32),
                second: (beta2 as f32, (1.0 - beta2) as f32),
                root_correction,
                epsilon: epsilon as f32,
                step_size: (learning_rate / first_correction) as f32,
                shrink: (1.0 - learning_rate * group.weight_decay) as f32,
            };
            if let Some(units) = self.units.as_ref().and_then(|units| units.of(index)) {
                // Row by row; the decay is a share of the row whatever its unit is.
                let width = (updated.len() / units.len()).max(1);
                let rows = values
                    .chunks(width)
                    .zip(updated.chunks_mut(width))
                    .zip(gradient.chunks(width))
                    .zip(first.chunks_mut(width))
                    .zip(second.chunks_mut(width))
                    .zip(units);
                for (((((values, updated), gradient), first), second), unit) in rows {
                    let rule = Rule {
                        step_size: (learning_rate * unit / first_correction) as f32,
                        ..rule
                    };
                    rule.update((values, updated, gradient, first, second));
                }
                continue;
            }
            let touched = touched.filter(|touched| touched.index == index);
            // Whole rows, where rows matter.
            let rows = touched.map_or(1, |touched| (BLOCK / touched.width).max(1));
            let block = touched.map_or(BLOCK, |touched| rows * touched.width);
            let part = (
                chunks(values.as_slice(), block),
                chunks_mut(updated.as_mut_slice(), block),
                chunks(gradient.as_slice(), block),
                chunks_mut(first.as_mut_slice(), block),
                chunks_mut(second.as_mut_slice(), block),
            );
            match touched {
                None => {
                    rules.push(rule);
                    parts.push(part);
                }
                Some(touched) => {
                    let idle = chunks_mut(&mut self.is_idle, rows);
                    let touched_rows = chunks(&touched.is_touched, rows);
                    for_each(
                        (part, idle, touched_rows),
                        |_, (part, idle, touched_rows)| {
                            rule.update_rows(part, touched.width, idle, touched_rows);
                        },
                    );
                }
            }
        }
        for_each(each_of(parts), |_, (index, part)| rules[index].update(part));
    }
}

/// The numbers of one update.
#[derive(Clone, Copy)]
struct Rule {
    /// What gradients are multiplied with.
    scale: f32,
    /// What the first moment keeps, and what it takes of the gradient.
    first: (f32, f32),
    /// The same of the second moment.
    second: (f32, f32),
    /// The root of the second moment's bias correction.
    root_correction: f32,
    epsilon: f32,
    /// The rate, corrected for the first moment's bias.
    step_size: f32,
    /// What weight decay leaves of a value.
    shrink: f32,
}

/// A piece of a parameter: its values, the new ones, its gradient, and its first and second moments.
type Part<'a> = (
    &'a [f32],
    &'a mut [f32],
    &'a [f32],
    &'a mut [f32],
    &'a mut [f32],
);

impl Rule {
    fn update(&self, (values, updated, gradient, first, second): Part<'_>) {
        vectorised!(self.apply(values, updated, gradient.iter().copied(), first, second));
    }

    /// Row by row; those that have no gradient aren't read from it.
    fn update_rows(
        &self,
        (values, updated, gradient, first, second): Part<'_>,
        width: usize,
        idle: &mut [bool],
        touched: &[bool],
    ) {
        vectorised!({
            let rows = values
                .chunks_exact(width)
                .zip(updated.chunks_exact_mut(width))
                .zip(gradient.chunks_exact(width))
                .zip(first.chunks_exact_mut(width))
                .zip(second.chunks_exact_mut(width))
                .zip(idle.iter_mut().zip(touched));
            for (((((values, updated), gradient), first), second), (idle, &touched)) in rows {
                if touched {
                    *idle = false;
                    self.apply(values, updated, gradient.iter().copied(), first, second);
                } else if !*idle {
                    self.apply(values, updated, std::iter::repeat(0.0), first, second);
                    *idle = first.iter().chain(&*second).all(|&moment| moment == 0.0);
                } else {
                    // Moments of zero move nothing.
                    for (new, value) in updated.iter_mut().zip(values) {
                        *new = value * self.shrink;
                    }
                }
            }
        });
    }

    #[inline(always)]
    fn apply(
        &self,
        values: &[f32],
        updated: &mut [f32],
        gradient: impl Iterator<Item = f32>,
        first: &mut [f32],
        second: &mut [f32],
    ) {
        for ((((p, new), g), m), v) in values
            .iter()
            .zip(updated)
            .zip(gradient)
            .zip(first)
            .zip(second)
        {
            let g = g * self.scale;
            *m = self.first.0 * *m + self.first.1 * g;
            *v = self.second.0 * *v + self.second.1 * g * g;
            let denominator = v.sqrt() / self.root_correction + self.epsilon;
            *new = *p * self.shrink - self.step_size * (*m / denominator);
        }
    }
}

/// The square root of the sum of the squares of all gradients, in float64. Of the word embeddings' only the `touched`
/// rows are read; with `None` all are.
pub fn global_norm(gradients: &Gradients, touched: Option<&TouchedRows>) -> f64 {
    let square = |block: &[f32]| -> f64 {
        vectorised!({
            // Eight sums, so that they go side by side.
            let mut sums = [0f64; 8];
            let mut chunks = block.chunks_exact(8);
            for numbers in &mut chunks {
                for (sum, &g) in sums.iter_mut().zip(numbers) {
                    *sum += f64::from(g) * f64::from(g);
                }
            }
            for (sum, &g) in sums.iter_mut().zip(chunks.remainder()) {
                *sum += f64::from(g) * f64::from(g);
            }
            sums.iter().sum()
        })
    };
    let mut parts = Vec::with_capacity(gradients.len());
    let mut sum = 0f64;
    for (index, gradient) in gradients.iter().enumerate() {
        match touched {
            Some(touched) if touched.index == index && !gradient.is_empty() => {
                let row = |row: u32| &gradient[row as usize * touched.width..][..touched.width];
                let rows = map(chunks(&touched.rows, ROWS), |rows| -> f64 {
                    rows.iter().map(|&number| square(row(number))).sum()
                });
                sum += rows.iter().sum::<f64>();
            }
            _ => parts.push(chunks(gradient.as_slice(), BLOCK)),
        }
    }
    let squares = map(each_of(parts), |(_, block)| square(block));
    (sum + squares.iter().sum::<f64>()).sqrt()
}

/// What gradients of this norm are multiplied with so that it is at most `max_norm`; 0 turns clipping off.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    if max_norm == 0.0 {
        1.0
    } else {
        // The 1e-6 is PyTorch's.
        (max_norm / (norm + 1e-6)).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::device::Device;

    use super::*;
    use crate::model::{BertConfig, ParameterTable, Parameters};

    fn small_table() -> ParameterTable {
        ParameterTable::new(&BertConfig {
            vocab_size: 5,
            hidden_size: 4,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 4,
            max_position_embeddings: 4,
            ..BertConfig::default()
        })
    }

    /// Against the formula in float64, two steps, one parameter with decay and one without.
    #[test]
    fn updates_follow_the_formula_and_spare_biases_from_decay() {
        let table = small_table();
        let options = AdamWOptions {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        };
        let mut groups = Group::plain(&table, 0.1);
        groups[table.embeddings.word].is_frozen = true;
        groups[table.layers[0].output.bias].rate_factor = 0.5;
        let mut optimizer = AdamW::new(options, &table, groups).unwrap();
        let fill = |value: f32| -> Vec<Vec<f32>> {
            table.specs.iter().map(|s| vec![value; s.len()]).collect()
        };
        let set = Parameters::from_host(fill(0.5), &table, &Device::Cpu).unwrap();
        let mut values = set.host().unwrap().into_owned();
        let frozen = values[table.embeddings.word].clone();
        let (mut m, mut v) = (0f64, 0f64);
        let mut expected = [0.5f64, 0.5];
        for (step, gradient) in [(1, 0.3f64), (2, 0.0)] {
            let mut updated = fill(f32::NAN);
            updated[table.embeddings.word].clear();
            optimizer.update(
                &values,
                &mut updated,
                (&fill(gradient as f32), None),
                0.01,
                0.5,
            );
            let next = Parameters::Host(values.into())
                .with_updated(updated, &table)
                .unwrap();
            values = next.host().unwrap().into_owned();
            let g = gradient * 0.5;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let move_by = 0.01 / (1.0 - 0.9f64.powi(step)) * m
                / ((v / (1.0 - 0.999f64.powi(step))).sqrt() + 1e-8);
            expected[0] = expected[0] * (1.0 - 0.01 * 0.1) - move_by;
            expected[1] -= move_by;
        }
        let weight = values[table.classifier.weight][0];
        let bias = values[table.classifier.bias][0];
        assert!((f64::from(weight) - expected[0]).abs() < 1e-6);
        assert!((f64::from(bias) - expected[1]).abs() < 1e-6);
        assert!(bias > weight);
        // Shared, not copied.
        assert!(Arc::ptr_eq(&values[table.embeddings.word], &frozen));
        assert!(frozen.iter().all(|&v| v == 0.5));
        // Half the rate: half the way.
        let slower = values[table.layers[0].output.bias][0];
        assert!(
            (0.5 - slower - 0.5 * (0.5 - bias)).abs() < 1e-6,
            "{slower} {bias}"
        );
    }

    /// Reading only the rows that have a gradient changes no number, whatever rows were reached before.
    #[test]
    fn rows_without_a_gradient_need_not_be_read() {
        let table = small_table();
        let options = AdamWOptions {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        };
        let word = table.embeddings.word;
        let new = || AdamW::new(options, &table, Group::plain(&table, 0.1)).unwrap();
        let (mut all, mut some) = (new(), new());
        let mut touched = TouchedRows::new(&table).unwrap();
        let initial: Vec<Vec<f32>> = table.specs.iter().map(|s| vec![0.5; s.len()]).collect();
        let set = Parameters::from_host(initial.clone(), &table, &Device::Cpu).unwrap();
        let mut values = set.host().unwrap().into_owned();
        for (step, ids) in [vec![1, 3], vec![3, 4], vec![], vec![0, 1]]
            .into_iter()
            .enumerate()
        {
            touched.set(ids.iter().copied());
            let mut gradients: Vec<Vec<f32>> =
                table.specs.iter().map(|s| vec![0.3; s.len()]).collect();
            for (row, gradient) in gradients[word].chunks_exact_mut(4).enumerate() {
                gradient.fill(if ids.contains(&(row as u32)) {
                    0.1 + row as f32
                } else {
                    0.0
                });
            }
            let norms = [None, Some(&touched)].map(|touched| global_norm(&gradients, touched));
            assert!((norms[0] - norms[1]).abs() < 1e-12);
            let (mut a, mut b) = (initial.clone(), initial.clone());
            all.update(&values, &mut a, (&gradients, None), 0.01, 0.5);
            some.update(&values, &mut b, (&gradients, Some(&touched)), 0.01, 0.5);
            assert_eq!(a, b);
            assert_eq!(all.moments(), some.moments());
            assert_eq!(some.is_idle[2], step < 4);
            values = a.into_iter().map(Arc::new).collect();
        }
        assert_eq!(some.is_idle, [false, false, true, false, false]);
    }

    #[test]
    fn clipping_bounds_the_norm() {
        let gradients = vec![vec![3.0f32; 1], vec![4.0; 1]];
        assert_eq!(global_norm(&gradients, None), 5.0);
        assert!((clip_factor(5.0, 1.0) - 0.2).abs() < 1e-6);
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert_eq!(clip_factor(5.0, 0.0), 1.0);
    }
}
