//! The softmax of a row of scores, and its derivative.

use super::math::{Arithmetic, LANES, dot, exp, highest, sum};

/// The softmax of the row times `scale`, in place; all NaN where one score is: the sum is.
#[inline(always)]
pub fn softmax<A: Arithmetic>(row: &mut [f32], scale: f32) {
    let most = highest(row);
    for value in row.iter_mut() {
        *value = exp::<A>((*value - most) * scale);
    }
    let share = 1.0 / sum(row);
    for value in row.iter_mut() {
        *value *= share;
    }
}

/// The same of the row's first `count` scores, in a row of whole vectors, which take less time than a rest. What stands behind
/// them has no part in it.
#[inline(always)]
pub fn softmax_of_first<A: Arithmetic>(row: &mut [f32], count: usize, scale: f32) {
    let whole = count - count % LANES;
    let (chunks, rest) = row[whole..].as_chunks_mut::<LANES>();
    let mut left = count - whole;
    for chunk in chunks {
        for (lane, value) in chunk.iter_mut().enumerate() {
            if lane >= left {
                *value = f32::NEG_INFINITY;
            }
        }
        left = 0;
    }
    if left < rest.len() {
        rest[left..].fill(f32::NEG_INFINITY);
    }
    softmax::<A>(row, scale);
}

/// From the derivative by the probabilities to that by the scores, in place.
#[inline(always)]
pub fn softmax_backward(derivatives: &mut [f32], probabilities: &[f32], scale: f32) {
    let mean = dot(derivatives, probabilities);
    for (value, probability) in derivatives.iter_mut().zip(probabilities) {
        *value = (*value - mean) * probability * scale;
    }
}
