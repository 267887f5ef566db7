//! L-BFGS (Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.5): minimises a smooth convex function, in
//! float64.

use std::collections::VecDeque;

use crate::error::Result;
use crate::memory;

/// Steps whose curvature is remembered.
const MEMORY: usize = 10;

/// Trials of one line search: each halves or doubles the step.
const MOST_TRIALS: usize = 60;

/// The share of the predicted decrease that a step must bring (the first of Wolfe's conditions).
const DECREASE: f64 = 1e-4;

/// The share of the slope that may be left behind a step (the second of Wolfe's conditions).
const CURVATURE: f64 = 0.9;

/// When a minimisation ends.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Iterations, at most.
    pub max_iterations: u32,
    /// It has converged when no derivative is larger than this; where the largest one at the beginning is above 1, than
    /// this times that one.
    pub tolerance: f64,
}

/// How a minimisation ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended {
    /// Iterations done.
    pub iterations: u32,
    /// Whether the tolerance was reached.
    pub is_converged: bool,
    /// The largest derivative, by its magnitude.
    pub largest: f64,
}

/// A step that was made: the way, the gradient's change, and 1 / their product.
struct Pair {
    way: Vec<f64>,
    change: Vec<f64>,
    inverse: f64,
    /// How much longer the way is than the guessed inverse Hessian makes the change.
    scale: f64,
}

/// Minimises a function from `x` on, which becomes the minimum. `evaluate` writes the gradient and gives the value.
/// `precondition` multiplies by a guess of the inverse Hessian: the better it is, the fewer iterations are needed. The
/// minimum doesn't depend on it.
///
/// # Errors
/// Those of `evaluate`, and [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
pub fn minimise(
    x: &mut [f64],
    limits: Limits,
    mut evaluate: impl FnMut(&[f64], &mut [f64]) -> Result<f64>,
    precondition: impl Fn(&mut [f64]),
) -> Result<Ended> {
    let mut gradient = memory::filled(0f64, x.len())?;
    let mut value = evaluate(x, &mut gradient)?;
    let limit = limits.tolerance * largest(&gradient).max(1.0);
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let (mut trial, mut trial_gradient) = (memory::copied(x)?, memory::filled(0f64, x.len())?);
    let mut iterations = 0;
    while iterations < limits.max_iterations && largest(&gradient) > limit {
        let mut direction = memory::copied(&gradient)?;
        towards_minimum(&pairs, &precondition, &mut direction);
        let slope = dot(&gradient, &direction);
        // Rounding alone is left.
        if slope >= 0.0 || !slope.is_finite() {
            break;
        }
        // Weak Wolfe conditions, by bisection: a convex function has a step that meets them.
        let (mut low, mut high, mut step) = (0.0, f64::INFINITY, 1.0);
        let mut found = None;
        for _ in 0..MOST_TRIALS {
            for ((trial, x), way) in trial.iter_mut().zip(&*x).zip(&direction) {
                *trial = x + step * way;
            }
            let there = evaluate(&trial, &mut trial_gradient)?;
            let slope_there = dot(&trial_gradient, &direction);
            // Near the minimum values differ by rounding alone: there the slopes decide (Hager and Zhang, 2005).
            let is_flat = there <= value + 1e-14 * value.abs().max(1.0)
                && slope_there <= (2.0 * DECREASE - 1.0) * slope;
            if !(there <= value + DECREASE * step * slope || is_flat) {
                high = step;
            } else if slope_there < CURVATURE * slope {
                low = step;
            } else {
                found = Some(there);
                break;
            }
            step = match high.is_finite() {
                true => 0.5 * (low + high),
                false => 2.0 * step,
            };
        }
        let Some(there) = found else { break };
        for (way, (trial, x)) in direction.iter_mut().zip(trial.iter().zip(&*x)) {
            *way = trial - x;
        }
        // The memory of the oldest step's change serves the newest.
        let mut change = match pairs.len() {
            MEMORY => pairs.pop_front().map(|pair| pair.change),
            _ => None,
        }
        .map_or_else(|| memory::filled(0f64, x.len()), Ok)?;
        for ((change, new), old) in change.iter_mut().zip(&trial_gradient).zip(&gradient) {
            *change = new - old;
        }
        let product = dot(&direction, &change);
        let mut guessed = memory::copied(&change)?;
        precondition(&mut guessed);
        let length = dot(&change, &guessed);
        if product > 0.0 && length > 0.0 {
            pairs.push_back(Pair {
                way: direction,
                change,
                inverse: 1.0 / product,
                scale: product / length,
            });
        }
        x.copy_from_slice(&trial);
        std::mem::swap(&mut gradient, &mut trial_gradient);
        value = there;
        iterations += 1;
    }
    let largest = largest(&gradient);
    Ok(Ended {
        iterations,
        is_converged: largest <= limit,
        largest,
    })
}

/// Turns a gradient into the direction to go: minus the inverse Hessian, as the last steps have shown it, times it.
fn towards_minimum(
    pairs: &VecDeque<Pair>,
    precondition: &impl Fn(&mut [f64]),
    gradient: &mut [f64],
) {
    let mut shares = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let share = pair.inverse * dot(&pair.way, gradient);
        add(gradient, -share, &pair.change);
        shares.push(share);
    }
    precondition(gradient);
    if let Some(newest) = pairs.back() {
        gradient.iter_mut().for_each(|value| *value *= newest.scale);
    }
    for (pair, share) in pairs.iter().zip(shares.into_iter().rev()) {
        let back = pair.inverse * dot(&pair.change, gradient);
        add(gradient, share - back, &pair.way);
    }
    gradient.iter_mut().for_each(|value| *value = -*value);
}

fn largest(values: &[f64]) -> f64 {
    // NaN is larger than every limit.
    values.iter().fold(0.0, |most, value| match value.abs() {
        value if value > most || value.is_nan() => value,
        _ => most,
    })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_iterations: 200,
        tolerance: 1e-10,
    };

    /// Σ scale · (x - place)² / 2, with scales from 1 to 10,000.
    fn bowl(x: &[f64], gradient: &mut [f64]) -> Result<f64> {
        let mut value = 0.0;
        for (index, (x, gradient)) in x.iter().zip(gradient).enumerate() {
            let scale = 10f64.powi(index as i32);
            let distance = x - index as f64;
            *gradient = scale * distance;
            value += 0.5 * scale * distance * distance;
        }
        Ok(value)
    }

    #[test]
    fn a_bowl_has_its_lowest_point_where_it_was_put() {
        let mut x = [7.0; 5];
        let ended = minimise(&mut x, LIMITS, bowl, |_| ()).unwrap();
        assert!(ended.is_converged, "{ended:?}");
        for (index, x) in x.iter().enumerate() {
            assert!((x - index as f64).abs() < 1e-6, "{x} and not {index}");
        }
        // The inverse Hessian itself takes one step.
        let mut x = [7.0; 5];
        let exact = |gradient: &mut [f64]| {
            for (index, value) in gradient.iter_mut().enumerate() {
                *value /= 10f64.powi(index as i32);
            }
        };
        let ended = minimise(&mut x, LIMITS, bowl, exact).unwrap();
        assert_eq!((ended.iterations, ended.is_converged), (1, true));
    }

    #[test]
    fn iterations_are_limited_and_a_start_at_the_minimum_takes_none() {
        let few = Limits {
            max_iterations: 2,
            ..LIMITS
        };
        let ended = minimise(&mut [7.0; 5], few, bowl, |_| ()).unwrap();
        assert_eq!((ended.iterations, ended.is_converged), (2, false));
        let mut x = [0.0, 1.0, 2.0];
        let ended = minimise(&mut x, LIMITS, bowl, |_| ()).unwrap();
        assert_eq!((ended.iterations, ended.largest), (0, 0.0));
    }

    #[test]
    fn a_function_without_curvature_far_out_is_minimised_too() {
        // ln(1 + exp(x)) + ln(1 + exp(-x)) + 1e-3 x², from far away: its derivative is nearly constant there.
        let function = |x: &[f64], gradient: &mut [f64]| {
            let s = |x: f64| 1.0 / (1.0 + (-x).exp());
            gradient[0] = s(x[0]) - s(-x[0]) + 2e-3 * x[0];
            Ok(x[0].abs() + 2.0 * (-x[0].abs()).exp().ln_1p() + 1e-3 * x[0] * x[0])
        };
        let mut x = [1e4];
        let ended = minimise(&mut x, LIMITS, function, |_| ()).unwrap();
        assert!(
            ended.is_converged && x[0].abs() < 1e-8,
            "{ended:?} at {}",
            x[0]
        );
    }

    #[test]
    fn nan_ends_it() {
        let function = |_: &[f64], gradient: &mut [f64]| {
            gradient[0] = f64::NAN;
            Ok(f64::NAN)
        };
        let ended = minimise(&mut [1.0], LIMITS, function, |_| ()).unwrap();
        assert!(!ended.is_converged && ended.iterations == 0);
    }
}
