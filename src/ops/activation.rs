//! The feed-forward block's activations with their derivatives.

use super::isa::vectorised;
use super::math::{Arithmetic, erf, exp, tanh};
use super::parallel::{chunks, chunks_mut, for_each};
use super::rows::rows_per_task;
use crate::model::HiddenAct;

/// √(2/π), of the tanh form.
const TANH_SCALE: f32 = 0.797_884_6;
/// Its cubic term.
const TANH_CUBIC: f32 = 0.044_715;

#[inline(always)]
pub(super) fn gelu<A: Arithmetic>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<A>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// (value, derivative) of x Φ(x): Φ(x) + x φ(x).
#[inline(always)]
fn gelu_both<A: Arithmetic>(x: f32) -> (f32, f32) {
    let cumulative = 0.5 * (1.0 + erf::<A>(x * std::f32::consts::FRAC_1_SQRT_2));
    let density = 0.398_942_3 * exp::<A>(-0.5 * x * x);
    (x * cumulative, A::multiply_add(x, density, cumulative))
}

#[inline(always)]
pub(super) fn gelu_tanh<A: Arithmetic>(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh::<A>(TANH_SCALE * (x + TANH_CUBIC * x * x * x)))
}

#[inline(always)]
fn gelu_tanh_both<A: Arithmetic>(x: f32) -> (f32, f32) {
    let t = tanh::<A>(TANH_SCALE * (x + TANH_CUBIC * x * x * x));
    let inner = TANH_SCALE * (1.0 + 3.0 * TANH_CUBIC * x * x);
    (
        0.5 * x * (1.0 + t),
        0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner,
    )
}

#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn relu_both(x: f32) -> (f32, f32) {
    if x > 0.0 { (x, 1.0) } else { (relu(x), 0.0) }
}

/// Adds `bias` to each row of `x`, in place, and writes the activation of the sums to `y`.
pub fn forward(act: HiddenAct, x: &mut [f32], bias: &[f32], y: &mut [f32]) {
    let width = bias.len();
    let task = rows_per_task(width) * width;
    for_each((chunks_mut(x, task), chunks_mut(y, task)), |_, (x, y)| {
        // The choice is outside of the loop that is vectorised.
        match act {
            HiddenAct::Gelu => vectorised!(A => forward_rows(x, bias, y, gelu::<A>)),
            HiddenAct::GeluTanh => vectorised!(A => forward_rows(x, bias, y, gelu_tanh::<A>)),
            HiddenAct::Relu => vectorised!(forward_rows(x, bias, y, relu)),
        }
    });
}

#[inline(always)]
fn forward_rows(x: &mut [f32], bias: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    let width = bias.len();
    for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact_mut(width)) {
        for ((x, y), bias) in x.iter_mut().zip(y.iter_mut()).zip(bias) {
            *x += bias;
            *y = f(*x);
        }
    }
}

/// Writes the activation of `x` to `y` and multiplies `dy`, in place, with its derivative: the backward pass needs both.
pub fn backward(act: HiddenAct, x: &[f32], y: &mut [f32], dy: &mut [f32]) {
    const TASK: usize = 16_384;
    for_each(
        (chunks(x, TASK), chunks_mut(y, TASK), chunks_mut(dy, TASK)),
        |_, (x, y, dy)| match act {
            HiddenAct::Gelu => vectorised!(A => backward_slice(x, y, dy, gelu_both::<A>)),
            HiddenAct::GeluTanh => {
                vectorised!(A => backward_slice(x, y, dy, gelu_tanh_both::<A>))
            }
            HiddenAct::Relu => vectorised!(backward_slice(x, y, dy, relu_both)),
        },
    );
}

#[inline(always)]
fn backward_slice(x: &[f32], y: &mut [f32], dy: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    for ((x, y), dy) in x.iter().zip(y.iter_mut()).zip(dy.iter_mut()) {
        let (value, derivative) = f(*x);
        *y = value;
        *dy *= derivative;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor, Var};

    #[test]
    fn values_and_derivatives_are_those_of_the_plain_operations() {
        let (rows, width) = (37, 129);
        let x: Vec<f32> = (0..rows * width)
            .map(|i| 6.0 * (0.37 * i as f32).sin())
            .collect();
        let bias: Vec<f32> = (0..width).map(|i| 0.1 * (i as f32).cos()).collect();
        let upstream: Vec<f32> = (0..rows * width).map(|i| (0.11 * i as f32).cos()).collect();
        for act in [HiddenAct::Gelu, HiddenAct::GeluTanh, HiddenAct::Relu] {
            let mut sums = x.clone();
            let mut y = vec![f32::NAN; x.len()];
            forward(act, &mut sums, &bias, &mut y);
            let mut again = vec![f32::NAN; x.len()];
            let mut dx = upstream.clone();
            backward(act, &sums, &mut again, &mut dx);

            let tensor = |v: &[f32]| Tensor::from_slice(v, (rows, width), &Device::Cpu).unwrap();
            let bias = Tensor::from_slice(&bias, width, &Device::Cpu).unwrap();
            let var = Var::from_tensor(&tensor(&x).broadcast_add(&bias).unwrap()).unwrap();
            let plain = match act {
                HiddenAct::Gelu => var.gelu_erf(),
                HiddenAct::GeluTanh => var.gelu(),
                HiddenAct::Relu => var.relu(),
            }
            .unwrap();
            let gradients = (&plain * tensor(&upstream))
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let want_y = values(&plain);
            let want_dx = values(gradients.get(&var).unwrap());
            for i in 0..x.len() {
                assert!(
                    (y[i] - want_y[i]).abs() < 3e-6,
                    "{act:?} at {}: {} {}",
                    sums[i],
                    y[i],
                    want_y[i]
                );
                assert!((again[i] - y[i]).abs() < 1e-6);
                assert!(
                    (dx[i] - want_dx[i]).abs() < 5e-6,
                    "{act:?} at {}: {} {}",
                    sums[i],
                    dx[i],
                    want_dx[i]
                );
            }
        }
    }
}
