//! Fits a model's classifier on the vectors of its encoder, which stays as it is: for few examples, and as a baseline
//! for fine-tuning. The problem is convex, so that the result depends on no learning rate, seed or order.

use std::sync::Arc;
use std::time::Instant;

use super::evaluate::EncodedDataset;
use super::lbfgs::{Ended, Limits};
use super::lengths::warn_of_cut_texts;
use super::linear_fit::{Curvature, Linear, Rows, fit, log_sum_exp, logistic};
use super::loss::{CrossEntropy, Objective};
use super::options::TrainOptions;
use crate::classifier::Classifier;
use crate::data::{Dataset, Targets, listed};
use crate::error::{Error, Result};
use crate::model::{InferencePrecision, refuse_int8};
use crate::predict::check_finite;
use crate::problem::ProblemType;
use crate::setting::Setting;
use crate::{log, memory, threads};

/// scikit-learn's C: how much the examples' losses weigh against the penalty.
pub const INVERSE_REGULARIZATION: Setting<f64> =
    Setting::new("inverse_regularization", 1.0, 1e-10, 1e10);
/// Iterations, at most.
pub const MAX_ITERATIONS: Setting<u32> = Setting::new("max_iterations", 1000, 1, 1_000_000);
/// The largest derivative that counts as none.
pub const TOLERANCE: Setting<f64> = Setting::new("tolerance", 1e-8, 1e-15, 1.0);

/// A class or label of which the examples say nothing has this probability, or its complement.
const ABSENT: f64 = 1e-9;

/// Rows whose scores are held at once.
const ROWS_AT_ONCE: usize = 1024;

/// How a classifier is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FitHeadOptions {
    /// scikit-learn's C: C · Σ loss + ½ Σ weight² is minimised. Biases aren't penalised.
    pub inverse_regularization: f64,
    /// Iterations for each problem, at most.
    pub max_iterations: u32,
    /// It has converged when no derivative of the mean loss is larger.
    pub tolerance: f64,
    /// Longest sequence in tokens; 0 takes what the model allows.
    pub max_length: usize,
    /// How much an example of each class weighs (single-label); none: all the same.
    pub class_weights: Vec<f64>,
    /// What a GPU computes the layers in; the CPU computes in float32.
    pub precision: InferencePrecision,
}

impl Default for FitHeadOptions {
    fn default() -> FitHeadOptions {
        FitHeadOptions {
            inverse_regularization: INVERSE_REGULARIZATION.default,
            max_iterations: MAX_ITERATIONS.default,
            tolerance: TOLERANCE.default,
            max_length: 0,
            class_weights: Vec::new(),
            precision: InferencePrecision::Float32,
        }
    }
}

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitHeadReport {
    /// Examples.
    pub examples: usize,
    /// Of them those whose text was shortened to the maximum length.
    pub truncated: usize,
    /// Iterations done; of several problems the most.
    pub iterations: u32,
    /// Whether the tolerance was reached, in all problems.
    pub is_converged: bool,
    /// The mean loss of the examples with the fitted classifier, without class weights and penalty.
    pub loss: f64,
    /// The share of examples that it has right; NaN for regression.
    pub accuracy: f64,
    /// Wall time.
    pub seconds: f64,
}

/// A classifier's new values, and how they were found.
struct Fitted {
    /// [num_labels, hidden_size].
    weight: Vec<f64>,
    /// [num_labels].
    bias: Vec<f64>,
    iterations: u32,
    is_converged: bool,
    /// Classes or labels that the examples say nothing of.
    absent: Vec<usize>,
}

impl Fitted {
    fn new(num_labels: usize, width: usize) -> Result<Fitted> {
        Ok(Fitted {
            weight: memory::filled(0f64, num_labels * width)?,
            bias: memory::filled(0f64, num_labels)?,
            iterations: 0,
            is_converged: true,
            absent: Vec::new(),
        })
    }

    fn note(&mut self, ended: Ended) {
        self.iterations = self.iterations.max(ended.iterations);
        self.is_converged &= ended.is_converged;
    }

    /// Makes `factor` times score `from` of a fit the score of label `to`.
    fn set(&mut self, to: usize, linear: &Linear, from: usize, factor: f64) {
        let width = self.weight.len() / self.bias.len();
        let row = &linear.weight[from * width..][..width];
        for (out, weight) in self.weight[to * width..][..width].iter_mut().zip(row) {
            *out = factor * weight;
        }
        self.bias[to] = factor * linear.bias[from];
    }
}

/// The vectors and what is asked of them.
struct Fit<'a> {
    vectors: &'a [f32],
    width: usize,
    num_labels: usize,
    targets: &'a Targets,
    options: &'a FitHeadOptions,
}

impl Fit<'_> {
    fn limits(&self) -> Limits {
        Limits {
            max_iterations: self.options.max_iterations,
            tolerance: self.options.tolerance,
        }
    }

    /// The penalty beside the mean loss, by the sum of the examples' weights.
    fn penalty(&self, total: f64) -> f64 {
        1.0 / (self.options.inverse_regularization * total)
    }

    fn run(&self) -> Result<Fitted> {
        match self.targets {
            Targets::Classes(classes) => self.classes(classes),
            Targets::Labels(lists) => self.labels(lists),
            Targets::Values { values, .. } => self.values(values),
        }
    }

    /// One problem of all classes that have examples; of two, one score as scikit-learn has it, of which each class
    /// gets half.
    fn classes(&self, classes: &[u32]) -> Result<Fitted> {
        let weights: Vec<f64> = {
            let cross_entropy = CrossEntropy {
                class_weights: self.options.class_weights.clone(),
                label_smoothing: 0.0,
            };
            let weights = classes.iter().map(|&class| Ok(cross_entropy.weight(class)));
            memory::collected(weights)?
        };
        let rows = Rows::new(self.vectors, self.width, &weights)?;
        let penalty = self.penalty(weights.iter().sum());
        let mut places = memory::filled(usize::MAX, self.num_labels)?;
        classes.iter().for_each(|&class| places[class as usize] = 0);
        let present: Vec<usize> = (0..self.num_labels).filter(|&c| places[c] == 0).collect();
        for (place, &class) in present.iter().enumerate() {
            places[class] = place;
        }
        let mut fitted = Fitted::new(self.num_labels, self.width)?;
        if let [first, second] = present[..] {
            let loss = |index: usize, z: &[f64], derivative: &mut [f64]| {
                let sign = if classes[index] as usize == second {
                    1.0
                } else {
                    -1.0
                };
                margin_loss(sign, z, derivative)
            };
            let curvature = Curvature::new(&rows, 0.25, penalty)?;
            let (linear, ended) = fit(&rows, 1, loss, (penalty, &curvature), self.limits())?;
            fitted.note(ended);
            fitted.set(first, &linear, 0, -0.5);
            fitted.set(second, &linear, 0, 0.5);
        } else {
            let scores = present.len();
            let loss = |index: usize, z: &[f64], derivative: &mut [f64]| {
                let right = places[classes[index] as usize];
                let sum = log_sum_exp(z);
                for (derivative, z) in derivative.iter_mut().zip(z) {
                    *derivative = (z - sum).exp();
                }
                derivative[right] -= 1.0;
                sum - z[right]
            };
            let curvature = Curvature::new(&rows, 1.0 / scores as f64, penalty)?;
            let (linear, ended) = fit(&rows, scores, loss, (penalty, &curvature), self.limits())?;
            fitted.note(ended);
            for (place, &class) in present.iter().enumerate() {
                fitted.set(class, &linear, place, 1.0);
            }
        }
        fitted.absent = (0..self.num_labels)
            .filter(|&c| places[c] == usize::MAX)
            .collect();
        if !fitted.absent.is_empty() {
            // The best would be a probability of 0. A score that leads to a small one on each example is nearly as
            // good.
            let lowest = self.vectors.chunks_exact(self.width).map(|row| {
                let scores: Vec<f64> = present.iter().map(|&c| score(&fitted, c, row)).collect();
                log_sum_exp(&scores)
            });
            let bias = lowest.fold(f64::INFINITY, f64::min) + ABSENT.ln();
            for &class in &fitted.absent {
                fitted.bias[class] = bias;
            }
        }
        Ok(fitted)
    }

    /// A problem of its own for each label.
    fn labels(&self, lists: &[Vec<u32>]) -> Result<Fitted> {
        let weights = memory::filled(1f64, lists.len())?;
        let rows = Rows::new(self.vectors, self.width, &weights)?;
        let penalty = self.penalty(lists.len() as f64);
        let curvature = Curvature::new(&rows, 0.25, penalty)?;
        let mut fitted = Fitted::new(self.num_labels, self.width)?;
        let mut signs = memory::filled(-1f64, lists.len())?;
        for label in 0..self.num_labels {
            for (sign, list) in signs.iter_mut().zip(lists) {
                let has_label = list.binary_search(&(label as u32)).is_ok();
                *sign = if has_label { 1.0 } else { -1.0 };
            }
            if signs.iter().all(|sign| *sign == signs[0]) {
                // Nothing tells when it would be otherwise.
                fitted.absent.push(label);
                fitted.bias[label] = -signs[0] * ABSENT.ln();
                continue;
            }
            let loss = |index: usize, z: &[f64], derivative: &mut [f64]| {
                margin_loss(signs[index], z, derivative)
            };
            let (linear, ended) = fit(&rows, 1, loss, (penalty, &curvature), self.limits())?;
            fitted.note(ended);
            fitted.set(label, &linear, 0, 1.0);
        }
        Ok(fitted)
    }

    /// Half the squares of all targets at once; they don't depend on each other.
    fn values(&self, values: &[f32]) -> Result<Fitted> {
        let weights = memory::filled(1f64, values.len() / self.num_labels)?;
        let rows = Rows::new(self.vectors, self.width, &weights)?;
        let penalty = self.penalty(weights.len() as f64);
        let curvature = Curvature::new(&rows, 1.0, penalty)?;
        let width = self.num_labels;
        let loss = |index: usize, z: &[f64], derivative: &mut [f64]| {
            let targets = &values[index * width..][..width];
            let mut sum = 0.0;
            for ((derivative, z), &target) in derivative.iter_mut().zip(z).zip(targets) {
                *derivative = z - f64::from(target);
                sum += 0.5 * *derivative * *derivative;
            }
            sum
        };
        let (linear, ended) = fit(&rows, width, loss, (penalty, &curvature), self.limits())?;
        let mut fitted = Fitted::new(self.num_labels, self.width)?;
        fitted.note(ended);
        (fitted.weight, fitted.bias) = (linear.weight, linear.bias);
        Ok(fitted)
    }

    /// The mean loss and the share of right examples with these values.
    fn outcome(&self, weight: &[f32], bias: &[f32], thresholds: &[f64]) -> Result<(f64, f64)> {
        let examples = self.targets.len();
        let objective = Objective {
            targets: self.targets,
            cross_entropy: &CrossEntropy::default(),
            thresholds,
            num_labels: self.num_labels,
            deviations: None,
        };
        let (mut loss, mut correct) = (0.0, 0);
        for start in (0..examples).step_by(ROWS_AT_ONCE) {
            let all: Vec<usize> = (start..examples.min(start + ROWS_AT_ONCE)).collect();
            let mut logits = memory::room(all.len() * self.num_labels)?;
            for &index in &all {
                let row = &self.vectors[index * self.width..][..self.width];
                for (weight, bias) in weight.chunks_exact(self.width).zip(bias) {
                    let products = weight
                        .iter()
                        .zip(row)
                        .map(|(w, x)| f64::from(*w) * f64::from(*x));
                    logits.push((f64::from(*bias) + products.sum::<f64>()) as f32);
                }
            }
            let found = objective.of(&all, &logits, 1.0);
            loss += found.sum;
            correct += found.correct;
        }
        let accuracy = match self.targets {
            Targets::Values { .. } => f64::NAN,
            Targets::Classes(_) | Targets::Labels(_) => correct as f64 / examples as f64,
        };
        Ok((loss / examples as f64, accuracy))
    }
}

/// The logistic loss of a score that should have this sign.
fn margin_loss(sign: f64, z: &[f64], derivative: &mut [f64]) -> f64 {
    let (loss, by_margin) = logistic(sign * z[0]);
    derivative[0] = sign * by_margin;
    loss
}

fn score(fitted: &Fitted, class: usize, row: &[f32]) -> f64 {
    let weight = &fitted.weight[class * row.len()..][..row.len()];
    let products = weight.iter().zip(row).map(|(w, x)| w * f64::from(*x));
    fitted.bias[class] + products.sum::<f64>()
}

impl Classifier {
    /// Fits the classifier on the vectors that it reads of `dataset`'s texts, without dropout; all other parameters
    /// stay as they are. The classifier's former values have no part in it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the model is int8; [`Error::Busy`] while a trainer trains it;
    /// [`Error::InvalidArgument`] for an option; [`Error::Data`] and [`Error::UnknownLabel`] for the data;
    /// [`Error::NotFinite`]; [`Error::OutOfMemory`].
    pub fn fit_head(&self, dataset: &Dataset, options: &FitHeadOptions) -> Result<FitHeadReport> {
        let started = Instant::now();
        if self.is_int8() {
            return Err(refuse_int8("training"));
        }
        INVERSE_REGULARIZATION.check(options.inverse_regularization)?;
        MAX_ITERATIONS.check(options.max_iterations)?;
        TOLERANCE.check(options.tolerance)?;
        let model = self.model();
        let config = &model.config;
        TrainOptions {
            cross_entropy: CrossEntropy {
                class_weights: options.class_weights.clone(),
                label_smoothing: 0.0,
            },
            ..TrainOptions::default()
        }
        .validate_for(config)?;
        let _training = self.begin_training()?;
        let data = EncodedDataset::new(self, dataset, options.max_length)?;
        if let Targets::Classes(classes) = &data.targets
            && classes.iter().all(|class| *class == classes[0])
        {
            return Err(Error::Data(format!(
                "All {} examples have the label '{}'; a classifier needs examples of at least two labels.",
                data.len(),
                self.labels().name(classes[0]).unwrap_or_default()
            )));
        }
        warn_of_cut_texts(
            self,
            dataset,
            &data,
            self.max_length(options.max_length)?,
            "training",
        )?;
        let (width, num_labels) = (config.hidden_size, config.num_labels);
        check_memory(data.len(), width, num_labels)?;
        let parameters = self.parameters();
        let thresholds = self.thresholds();
        let (weight, bias, fitted, outcome) = threads::run(|| -> Result<_> {
            let vectors = model.pooled_in(
                options.precision,
                &parameters,
                &data.sequences,
                config.pooling,
            )?;
            check_finite(&vectors)?;
            let fit = Fit {
                vectors: &vectors,
                width,
                num_labels,
                targets: &data.targets,
                options,
            };
            let fitted = fit.run()?;
            let float32 = |values: &[f64]| -> Result<Vec<f32>> {
                let values = memory::collected(values.iter().map(|&value| Ok(value as f32)))?;
                check_finite(&values)?;
                Ok(values)
            };
            let (weight, bias) = (float32(&fitted.weight)?, float32(&fitted.bias)?);
            let outcome = fit.outcome(&weight, &bias, &thresholds)?;
            Ok((weight, bias, fitted, outcome))
        })??;
        let table = &model.table;
        let mut updated = vec![Vec::new(); table.specs.len()];
        updated[table.classifier.weight] = weight;
        updated[table.classifier.bias] = bias;
        self.publish(Arc::new(parameters.with_updated(updated, table)?));
        let (loss, accuracy) = outcome;
        let report = FitHeadReport {
            examples: data.len(),
            truncated: data.cut.len(),
            iterations: fitted.iterations,
            is_converged: fitted.is_converged,
            loss,
            accuracy,
            seconds: started.elapsed().as_secs_f64(),
        };
        self.tell(&fitted, &report, options);
        Ok(report)
    }

    fn tell(&self, fitted: &Fitted, report: &FitHeadReport, options: &FitHeadOptions) {
        if !fitted.absent.is_empty() {
            log::warning(|| {
                let names = fitted
                    .absent
                    .iter()
                    .map(|&label| self.labels().names()[label].as_str());
                match self.model().config.problem_type {
                    ProblemType::MultiLabel => format!(
                        "These labels are on all examples or on none: {}. The classifier predicts the same for every \
                         text; add examples with and without them.",
                        listed(names)
                    ),
                    _ => format!(
                        "These classes have no example: {}. The classifier never predicts them; add examples, or load \
                         the model with label_names that don't contain them.",
                        listed(names)
                    ),
                }
            });
        }
        if !report.is_converged {
            log::warning(|| {
                format!(
                    "The classifier's fit ended after {} iterations before it reached the tolerance {}; the classifier \
                     is the best so far. Set a larger max_iterations or tolerance, or a smaller \
                     inverse_regularization.",
                    report.iterations, options.tolerance
                )
            });
        }
        log::info(|| {
            format!(
                "The classifier was fitted on {} examples in {} iterations; the encoder didn't change.",
                report.examples, report.iterations
            )
        });
    }
}

/// Refuses what this process can't hold: the vectors, and the solver's copies of the classifier.
fn check_memory(examples: usize, width: usize, num_labels: usize) -> Result<()> {
    let vectors = 4 * examples as u128 * width as u128;
    // Ten steps with two vectors each, sixteen partial sums, and some more.
    let copies = 8 * 48 * num_labels as u128 * (width as u128 + 1);
    let bytes = vectors + copies + 8 * (width as u128).pow(2);
    memory::check(bytes, |most| {
        format!(
            "Fitting a classifier of {num_labels} labels on {examples} examples needs about {bytes} bytes of memory; \
             this process can have {most}."
        )
    })
}
