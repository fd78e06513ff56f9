//! Activation functions in f64 over whole slices, as fast as the processor's vectors allow.
//!
//! [`activation`](super::activation) evaluates the same functions one by one with the system's mathematical library; a test
//! holds the two together. Products and sums are rounded one by one, so that the values do not depend on the processor.

use std::f64::consts::LOG2_E;

use super::activation;
use crate::Activation;

/// Does some work with the widest vectors that this processor is known to have. The work must be inlined into the closure,
/// or it is compiled for the least of them.
#[inline(always)]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V4::try_new() {
        return simd.vectorize(work);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(work);
    }
    work()
}

/// Replaces every value by the function's.
pub fn apply(function: Activation, values: &mut [f64]) {
    match function {
        Activation::Tanh => vectorized(
            #[inline(always)]
            || values.iter_mut().for_each(|v| *v = tanh(*v)),
        ),
        Activation::Sigmoid => vectorized(
            #[inline(always)]
            || values.iter_mut().for_each(|v| *v = sigmoid(*v)),
        ),
        other => values.iter_mut().for_each(|v| *v = activation(other, *v)),
    }
}

/// tanh x = m/(m + 2) with m = e²ˣ − 1, which cancels nothing near 0.
#[inline(always)]
fn tanh(x: f64) -> f64 {
    // From 20 on the nearest number is ±1.
    let m = exp_m1(2.0 * x.clamp(-20.0, 20.0));
    m / (m + 2.0)
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
fn sigmoid(x: f64) -> f64 {
    let value = 1.0 / (2.0 + exp_m1(-x));
    // Where e⁻ˣ is more than a number can be.
    if x < -LARGEST { 0.0 } else { value }
}

/// e to this is nearly the largest number.
const LARGEST: f64 = 709.0;
/// Added to a number and taken away again, rounds it to a whole one, which the low bits of the sum hold.
const TO_WHOLE: f64 = 6_755_399_441_055_744.0;
/// ln 2 as two numbers. The first has so many trailing zeros that its product with a whole number up to 1024 is exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
/// 1/2!, 1/3!, … of the series of eʳ − 1 − r, enough for |r| ≤ ln 2/2.
const SERIES: [f64; 12] = {
    let mut series = [0.5; 12];
    let mut k = 1;
    while k < series.len() {
        series[k] = series[k - 1] / (k as f64 + 2.0);
        k += 1;
    }
    series
};

/// eˣ − 1, for x up to [`LARGEST`]: with x = n·ln 2 + r it is 2ⁿ·(eʳ − 1) + (2ⁿ − 1).
#[inline(always)]
fn exp_m1(x: f64) -> f64 {
    let x = x.clamp(-LARGEST, LARGEST);
    let sum = x * LOG2_E + TO_WHOLE;
    let n = sum - TO_WHOLE;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    // The bits of 2ⁿ: n and the bias of the exponent, in its place.
    let power = f64::from_bits((sum.to_bits() << 52).wrapping_add(1023 << 52));
    let (r2, r4) = (r * r, (r * r) * (r * r));
    // Four terms at a time, each pair by itself, so that the processor need not wait for one after the other.
    let four = |k: usize| (SERIES[k] + SERIES[k + 1] * r) + (SERIES[k + 2] + SERIES[k + 3] * r) * r2;
    let rest = r + r2 * (four(0) + (four(4) + four(8) * r4) * r4);
    power * rest + (power - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far two numbers are apart, in units in the last place.
    fn ulp(a: f64, b: f64) -> u64 {
        a.to_bits().abs_diff(b.to_bits())
    }

    /// Dense where the functions change, and over all magnitudes.
    fn arguments() -> Vec<f64> {
        let dense = (-400_000..=400_000).map(|k| f64::from(k) * 1e-4);
        let every_magnitude = (0..60_000).flat_map(|k| {
            let x = 2f64.powf(-1074.0 + f64::from(k) * 0.03497);
            [x, -x]
        });
        dense.chain(every_magnitude).collect()
    }

    #[test]
    fn slices_give_what_the_mathematical_library_gives() {
        for function in Activation::ALL {
            let arguments = arguments();
            let mut values = arguments.clone();
            apply(function, &mut values);
            for (x, value) in arguments.into_iter().zip(values) {
                let expected = activation(function, x);
                // Past 709 both are nearly nothing, and the library's has fewer digits.
                let near = ulp(value, expected) <= 6 || function == Activation::Sigmoid && x < -700.0 && value < 1e-303;
                assert!(near, "{function} of {x:e}: {value:e}, expected {expected:e}");
            }
        }
    }

    #[test]
    fn far_out_and_not_a_number() {
        let of = |function, x: f64| {
            let mut values = [x; 5];
            apply(function, &mut values);
            assert!(values.iter().all(|v| v.to_bits() == values[0].to_bits()), "{values:?}");
            values[0]
        };
        for (function, [below, above]) in [(Activation::Tanh, [-1.0, 1.0]), (Activation::Sigmoid, [0.0, 1.0])] {
            for (x, expected) in [(1e9, above), (f64::INFINITY, above), (-1e9, below), (f64::NEG_INFINITY, below)] {
                assert_eq!(of(function, x), expected, "{function} of {x}");
            }
            assert!(of(function, f64::NAN).is_nan());
        }
        assert_eq!((of(Activation::Tanh, 0.0), of(Activation::Sigmoid, 0.0)), (0.0, 0.5));
    }
}
