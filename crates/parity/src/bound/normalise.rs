//! How far layer normalisation in f32 may be from the truth.
//!
//! `y = gamma·(v − μ)/σ + beta`, with μ the mean of the n values of a row and σ = √(variance + ε). Every value comes with
//! an error δ. Write F for what n + 3 roundings do to a sum (γ, or λ·√(n+3)·u), and ‖·‖ for the root of a mean square.
//!
//! - **Mean.** It is off by δ̄, the mean of the δ, from its inputs, and by m = F·mean(|v| + δ) from its own rounding.
//! - **Distance to the mean.** d = v − μ is off by e = δ + δ̄ + m + u·w, where w = |v| + δ + |μ| + δ̄ + m is all that is
//!   subtracted.
//! - **σ** is the length of the vector (d/√n, √ε). Lengths change by no more than the vector does, and taking the mean away
//!   lengthens no vector, so σ is off by at most r = ‖δ‖ + m + u·‖w‖. Squares, their sum, ε, the root and its inverse then
//!   round: as all summands are positive that is a factor within 1 ± θ, θ = F + 20·u ([`INVERSE_ROOT`]). However wrong the
//!   inputs are, σ stays at or above √ε; so at least s = max(σ − r, √ε)·(1 − θ) is divided by.
//! - **Quotient.** d/σ is off by e/s + |d|·(r + θ·(σ + r))/(σ·s).
//! - **Scale and shift.** Either `(v − μ)·g + beta` or, as `tf.nn.batch_normalization` has it, `v·g + (beta − μ·g)` with
//!   g = gamma/σ: five roundings (with that of gamma and beta themselves) of terms no larger than |gamma|·w/s and |beta|.
//!
//! A row whose values hardly differ has σ near √ε = 1e-6: then δ is not small beside σ, and the bound is as large as the
//! error really may be. It is finite for every ε > 0.

use ndarray::Array1;

use super::{Inexact, UNIT_ROUNDOFF as U, sum_factors};

/// Relative error of 1/√(variance + ε), in units of u: WGSL allows an inverse square root 2 ULP and a division 2.5, and a
/// square root is made of both ("Accuracy of built-in functions"), which is 7 ULP or 14·u for the quotient; with the
/// sum and room for the second order, 20.
const INVERSE_ROOT: f64 = 20.0;

/// Normalises one row, values and errors, with gamma and beta `[units]`.
pub(super) fn normalise(row: &mut [Inexact], [gamma, beta]: &[Array1<f64>; 2], epsilon: f64) {
    let n = row.len() as f64;
    let mean_of = |of: &dyn Fn(&Inexact) -> f64| row.iter().map(of).sum::<f64>() / n;
    let mean = mean_of(&|v| v.value);
    let sigma = (mean_of(&|v| (v.value - mean).powi(2)) + epsilon).sqrt();
    let factors = sum_factors(row.len() + 3);
    let shared = [0, 1].map(|k| {
        let of_inputs = mean_of(&|v| v.error[k]);
        let of_mean = factors[k] * mean_of(&|v| v.value.abs() + v.error[k]);
        let subtracted = |v: &Inexact| v.value.abs() + v.error[k] + mean.abs() + of_inputs + of_mean;
        let root_of = |of: &dyn Fn(&Inexact) -> f64| mean_of(&|v| of(v).powi(2)).sqrt();
        let r = root_of(&|v| v.error[k]) + of_mean + U * root_of(&subtracted);
        let theta = factors[k] + INVERSE_ROOT * U;
        Shared {
            of_mean: of_inputs + of_mean,
            r,
            theta,
            least: (sigma - r).max(epsilon.sqrt()) * (1.0 - theta).max(0.0),
        }
    });
    for (unit, v) in row.iter_mut().enumerate() {
        let (distance, scale) = (v.value - mean, gamma[unit].abs());
        for (error, Shared { of_mean, r, theta, least }) in v.error.iter_mut().zip(shared) {
            let all = v.value.abs() + *error + mean.abs() + of_mean;
            let off = *error + of_mean + U * all;
            let of_sigma = distance.abs() * (r + theta * (sigma + r)) / (sigma * least);
            let rounding = 5.05 * U * (scale * all / least + beta[unit].abs());
            *error = scale * (off / least + of_sigma) + rounding;
            // Zero over zero: nothing is known of a row that may be constant, where nothing is added to its variance.
            if error.is_nan() {
                *error = f64::INFINITY;
            }
        }
        v.value = gamma[unit] * (distance / sigma) + beta[unit];
    }
}

/// What the units of a row share, for one of the two kinds of error.
#[derive(Clone, Copy)]
struct Shared {
    /// Error of the mean.
    of_mean: f64,
    /// Error of σ before its own rounding.
    r: f64,
    /// Relative error of the rounding of σ.
    theta: f64,
    /// The least that may be divided by.
    least: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;
    use ndarray::array;

    /// The plainest f32 evaluation in the two orders in common use.
    fn in_f32(v: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, late: bool) -> Vec<f32> {
        let n = v.len() as f32;
        let mean = v.iter().sum::<f32>() / n;
        let variance = v.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        let one = |k: usize| {
            let scale = inverse * gamma[k];
            if late { v[k] * scale + (beta[k] - mean * scale) } else { (v[k] - mean) * inverse * gamma[k] + beta[k] }
        };
        (0..v.len()).map(one).collect()
    }

    #[test]
    fn f32_stays_within_the_bound_however_little_the_values_differ() {
        for (case, (width, offset, spread)) in
            [(7, 0.0, 1.0), (64, 3.0, 0.1), (33, 100.0, 1e-2), (16, 1.0, 1e-5), (8, 5.0, 1e-6), (5, 2.0, 0.0)]
                .into_iter()
                .enumerate()
        {
            let (mut largest, mut smallest) = (0.0f64, f64::INFINITY);
            for round in 0..200 {
                let draw = Stream::new(case as u64, round);
                let at = |k: usize, which: u64| draw.normal(which * 1000 + k as u64);
                let f32s = |which, first: f32, by: f32| -> Vec<f32> {
                    (0..width).map(|k| first + by * at(k, which)).collect()
                };
                // What is known of the inputs is off by up to this.
                let (truth, delta) = (f32s(0, offset, spread), 1e-7f32 * (offset + spread));
                let moved: Vec<f32> =
                    truth.iter().enumerate().map(|(k, v)| v + delta * at(k, 1).clamp(-1.0, 1.0)).collect();
                let (gamma, beta) = (f32s(2, 1.0, 0.3), f32s(3, 0.0, 1.0));
                let wide = |v: &[f32]| Array1::from_iter(v.iter().map(|v| f64::from(*v)));
                let mut row: Vec<Inexact> = truth
                    .iter()
                    .zip(&moved)
                    .map(|(t, m)| Inexact { value: f64::from(*t), error: [(f64::from(*t) - f64::from(*m)).abs(); 2] })
                    .collect();
                normalise(&mut row, &[wide(&gamma), wide(&beta)], 1e-12);
                for late in [false, true] {
                    for (found, v) in in_f32(&moved, &gamma, &beta, 1e-12, late).into_iter().zip(&row) {
                        let share = (f64::from(found) - v.value).abs() / v.error[0];
                        assert!(v.error[1] >= v.error[0] * 0.02 && v.error.iter().all(|e| e.is_finite()));
                        assert!(share <= 1.0, "{width} values {spread} apart: {share} of the bound");
                        largest = largest.max(share);
                        smallest = smallest.min(v.error[0]);
                    }
                }
            }
            assert!(largest > 1e-4, "{width} values {spread} apart: never above {largest:e} of the bound");
            // Small where rounding is small beside what the values differ by, and large where it is not.
            let right_size = if spread < 1e-5 { smallest > 0.01 } else { spread < 1e-2 || smallest < 0.05 };
            assert!(right_size, "{width} values {spread} apart: a bound of {smallest:e}");
        }
    }

    /// The bound written down once more from the head of this file, for one row.
    #[test]
    fn the_bound_is_that_of_its_derivation() {
        let values = [0.7, -1.9, 2.4, 0.1, -0.3];
        let deltas = [1e-6, 3e-6, 2e-7, 0.0, 5e-6];
        let (gamma, beta) = (array![1.5, -0.7, 0.9, 0.0, 2.0], array![0.3, -0.2, 0.0, 1.1, -4.0]);
        let (n, epsilon, u) = (5.0, 1e-3, 2f64.powi(-24));
        let mean_of = |v: &dyn Fn(usize) -> f64| (0..5).map(v).sum::<f64>() / n;
        let mean = mean_of(&|k| values[k]);
        let sigma = (mean_of(&|k| (values[k] - mean) * (values[k] - mean)) + epsilon).sqrt();
        // The two kinds of error are kept apart: here the second is ten times the first.
        let mut row: Vec<Inexact> =
            values.iter().zip(deltas).map(|(v, d)| Inexact { value: *v, error: [d, 10.0 * d] }).collect();
        normalise(&mut row, &[gamma.clone(), beta.clone()], epsilon);
        for (which, by, f) in [(0, 1.0, 6.0 * 8f64.sqrt() * u), (1, 10.0, 8.0 * u / (1.0 - 8.0 * u))] {
            let delta = |k: usize| by * deltas[k];
            let delta_mean = mean_of(&delta);
            let m = f * mean_of(&|k| values[k].abs() + delta(k));
            let w = |k: usize| values[k].abs() + delta(k) + mean.abs() + delta_mean + m;
            let norm = |v: &dyn Fn(usize) -> f64| mean_of(&|k| v(k) * v(k)).sqrt();
            let r = norm(&delta) + m + u * norm(&w);
            let theta = f + 20.0 * u;
            let s = (sigma - r).max(epsilon.sqrt()) * (1.0 - theta);
            for (k, found) in row.iter().enumerate() {
                let d = values[k] - mean;
                let e = delta(k) + delta_mean + m + u * w(k);
                let quotient = e / s + d.abs() * (r + theta * (sigma + r)) / (sigma * s);
                let error = gamma[k].abs() * quotient + 5.05 * u * (gamma[k].abs() * w(k) / s + beta[k].abs());
                assert!(
                    (found.error[which] / error - 1.0).abs() < 1e-12,
                    "{k}: {:e}, by hand {error:e}",
                    found.error[which]
                );
                assert!((found.value - (gamma[k] * d / sigma + beta[k])).abs() < 1e-15);
            }
        }
    }

    /// With inputs so far off that σ itself is unknown, what is divided by is no less than √ε.
    #[test]
    fn sigma_never_falls_below_the_root_of_epsilon() {
        let row = |delta: f64| {
            let mut row: Vec<Inexact> = [1.0, 1.5].iter().map(|v| Inexact { value: *v, error: [delta; 2] }).collect();
            normalise(&mut row, &[array![1.0, 1.0], array![0.0, 0.0]], 0.01);
            row[0].error[0]
        };
        // e/s + |d|·r/(σ·s) with e = 2δ, s = √ε, r = δ and σ² = ¼² + ε.
        let expected = 2.0 * 100.0 / 0.1 + 0.25 * 100.0 / ((0.0625f64 + 0.01).sqrt() * 0.1);
        assert!((row(100.0) / expected - 1.0).abs() < 1e-4, "{:e}, by hand {expected:e}", row(100.0));
    }

    #[test]
    fn a_constant_row_has_a_huge_bound_and_never_nan() {
        for epsilon in [1e-12, 0.0] {
            let mut row = vec![Inexact { value: 1.0, error: [1e-7, 1e-6] }; 4];
            normalise(&mut row, &[array![1.0, 1.0, 0.0, 2.0], array![0.5, 0.0, 0.0, 0.0]], epsilon);
            for v in &row {
                assert!(v.error.iter().all(|e| !e.is_nan()), "{v:?}");
            }
            assert!(row[0].error[0] > 0.1 && row[3].error[1] > 1.0);
        }
    }
}
