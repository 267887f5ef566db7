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
    // By whole chunks: writing single places makes the vectors that are read next wait for them.
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

#[cfg(test)]
mod tests {
    use super::super::math::{Fused, Separate};
    use super::*;

    fn check<A: Arithmetic>() {
        for n in [1usize, 5, 8, 16, 17, 40] {
            let scores: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin() * 4.0).collect();
            let mut row = scores.clone();
            softmax::<A>(&mut row, 0.5);
            let powers: Vec<f64> = scores.iter().map(|&s| (0.5 * f64::from(s)).exp()).collect();
            let total: f64 = powers.iter().sum();
            for (got, power) in row.iter().zip(&powers) {
                assert!((f64::from(*got) - power / total).abs() < 1e-6);
            }
            for width in [n, n.next_multiple_of(8), n.next_multiple_of(32)] {
                let mut padded = vec![f32::NAN; width];
                padded[..n].copy_from_slice(&scores);
                softmax_of_first::<A>(&mut padded, n, 0.5);
                for (place, &got) in padded.iter().enumerate() {
                    let want = row.get(place).copied().unwrap_or_default();
                    assert!(
                        (got - want).abs() < 1e-6,
                        "{n} of {width} at {place}: {got}"
                    );
                }
            }
            // What isn't a number leaves none.
            for place in 0..n {
                let mut row = scores.clone();
                row[place] = f32::NAN;
                softmax::<A>(&mut row, 0.5);
                assert!(row.iter().all(|p| p.is_nan()), "{n} at {place}");
            }
        }
    }

    #[test]
    fn it_follows_the_formula_and_nothing_hides_nan() {
        check::<Separate>();
        check::<Fused>();
    }
}
