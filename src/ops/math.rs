//! exp and erf as polynomials, which the compiler can vectorise, and sums over fixed lanes.

/// Lanes of every sum: a multiple of the widest instruction set's, and the same on all.
pub const LANES: usize = 16;

/// How a product and a sum go together.
pub trait Arithmetic {
    /// a b + c.
    fn multiply_add(a: f32, b: f32, c: f32) -> f32;
}

/// In one instruction, rounded once.
pub struct Fused;

/// Rounded one after the other: what every processor of a target can do.
pub struct Separate;

impl Arithmetic for Fused {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Arithmetic for Separate {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// `low` to `high`; NaN stays NaN, unlike with `f32::clamp` on the way through `min` and `max`.
#[inline(always)]
fn bound(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// e^x with a relative error of about 1e-7; 0 below -87, about 2e38 above 88.
#[inline(always)]
pub fn exp<A: Arithmetic>(x: f32) -> f32 {
    let is_tiny = x < -87.0;
    let x = bound(x, -87.0, 88.0);
    // Adding and subtracting 1.5 · 2^23 rounds to a whole number, whose value is in the sum's low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = A::multiply_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact to float32.
    let r = A::multiply_add(n, -0.693_359_4, x);
    let r = A::multiply_add(n, 2.121_944_4e-4, r);
    // Minimax over |r| ≤ ln(2) / 2: e^r = 1 + r + r² p(r), relative error 3e-9.
    let p = 1.381_459_9e-3;
    let p = A::multiply_add(p, r, 8.368_717e-3);
    let p = A::multiply_add(p, r, 4.166_839e-2);
    let p = A::multiply_add(p, r, 0.166_665_21);
    let p = A::multiply_add(p, r, 0.499_999_94);
    let y = 1.0 + A::multiply_add(r * r, p, r);
    let power = f32::from_bits(
        (shifted
            .to_bits()
            .wrapping_sub(ROUND.to_bits())
            .wrapping_add(127))
            << 23,
    );
    if is_tiny { 0.0 } else { y * power }
}

/// The error function with an error of at most 4e-7: x P(x²) / Q(x²), a minimax fit over |x| ≤ 3.92, from where it is
/// one in float32.
#[inline(always)]
pub fn erf<A: Arithmetic>(x: f32) -> f32 {
    let x = bound(x, -3.92, 3.92);
    let s = x * x;
    let p = 2.050_087_7e-6;
    let p = A::multiply_add(p, s, 2.848_834e-4);
    let p = A::multiply_add(p, s, 3.765_635e-3);
    let p = A::multiply_add(p, s, 5.274_878e-2);
    let p = A::multiply_add(p, s, 0.190_406_86);
    let p = A::multiply_add(p, s, std::f32::consts::FRAC_2_SQRT_PI);
    let q = 3.809_175_5e-5;
    let q = A::multiply_add(q, s, 1.162_540_4e-3);
    let q = A::multiply_add(q, s, 1.496_925_3e-2);
    let q = A::multiply_add(q, s, 0.114_109_28);
    let q = A::multiply_add(q, s, 0.502_076_45);
    let q = A::multiply_add(q, s, 1.0);
    x * p / q
}

/// tanh, by way of [`exp`]; its error is about 1e-7.
#[inline(always)]
pub fn tanh<A: Arithmetic>(x: f32) -> f32 {
    1.0 - 2.0 / (exp::<A>(2.0 * x) + 1.0)
}

/// Adds up `term` of each place of `n`, in [`LANES`] sums.
#[inline(always)]
fn sum_of(n: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = n - n % LANES;
    let mut start = 0;
    while start < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
        start += LANES;
    }
    for place in whole..n {
        lanes[place - whole] += term(place);
    }
    in_pairs(lanes, |a, b| a + b)
}

/// One number from all lanes: each half with the other, until one is left.
#[inline(always)]
fn in_pairs(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Σ x.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    sum_of(x.len(), |i| x[i])
}

/// Σ (x - mean)².
#[inline(always)]
pub fn sum_of_squares(x: &[f32], mean: f32) -> f32 {
    sum_of(x.len(), |i| {
        let d = x[i] - mean;
        d * d
    })
}

/// Σ a b.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    sum_of(n, |i| a[i] * b[i])
}

/// The higher of the two. A NaN as `value` is passed over; as `best` it stays.
#[inline(always)]
fn higher(best: f32, value: f32) -> f32 {
    if value > best { value } else { best }
}

/// The highest of what isn't NaN; -∞ where nothing is.
#[inline(always)]
pub fn highest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = higher(*lane, value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = higher(*lane, value);
    }
    in_pairs(lanes, higher)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exp_is_close<A: Arithmetic>() {
        let mut x = -90f32;
        while x < 88.0 {
            let want = f64::from(x).exp();
            let got = f64::from(exp::<A>(x));
            if x < -87.0 {
                assert_eq!(got, 0.0);
            } else {
                assert!((got / want - 1.0).abs() < 2.5e-7, "{x}: {got} {want}");
            }
            x += 0.003;
        }
        assert_eq!(exp::<A>(0.0), 1.0);
        assert_eq!(exp::<A>(f32::NEG_INFINITY), 0.0);
        assert!(exp::<A>(f32::INFINITY).is_finite());
        assert!(exp::<A>(f32::NAN).is_nan());
    }

    fn erf_is_close<A: Arithmetic>() {
        // Abramowitz and Stegun, table 7.1.
        for (x, want) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916),
            (0.5, 0.520_499_878),
            (1.0, 0.842_700_793),
            (1.5, 0.966_105_146),
            (2.0, 0.995_322_265),
            (3.0, 0.999_977_910),
            (9.0, 1.0),
        ] {
            assert!((f64::from(erf::<A>(x)) - want).abs() < 4e-7, "{x}");
            assert!((f64::from(erf::<A>(-x)) + want).abs() < 4e-7, "{x}");
        }
        assert!(erf::<A>(f32::NAN).is_nan());
    }

    fn tanh_is_close<A: Arithmetic>() {
        for i in -2000..2000 {
            let x = i as f32 * 0.01;
            assert!(
                (f64::from(tanh::<A>(x)) - f64::from(x).tanh()).abs() < 3e-7,
                "{x}"
            );
        }
    }

    #[test]
    fn functions_are_close_everywhere_in_either_arithmetic() {
        exp_is_close::<Separate>();
        exp_is_close::<Fused>();
        erf_is_close::<Separate>();
        erf_is_close::<Fused>();
        tanh_is_close::<Separate>();
        tanh_is_close::<Fused>();
    }

    #[test]
    fn sums_and_the_highest_take_every_place_in() {
        for n in [0usize, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
            let want: f64 = x.iter().map(|&v| f64::from(v)).sum();
            assert!((f64::from(sum(&x)) - want).abs() < 1e-5);
            let want: f64 = x.iter().map(|&v| (f64::from(v) - 0.5).powi(2)).sum();
            assert!((f64::from(sum_of_squares(&x, 0.5)) - want).abs() < 1e-4);
            let want = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(highest(&x), want);
        }
        assert_eq!(highest(&[1.0, f32::NAN, 3.0]), 3.0);
    }
}
