//! How far a right f32 implementation may be from the truth after one step.
//!
//! With u = 2⁻²⁴: a gate's pre-activation is a sum of n products plus bias (and forget bias), so whatever the order of
//! the additions |ẑ − z| ≤ γ·S with S = Σ|w·v| + |b| + |forget bias| and γₘ = m·u/(1 − m·u), m = n + 3 (Higham,
//! "Accuracy and Stability of Numerical Algorithms", 3.1). With probability at least 1 − 2·exp(−λ²/2) per sum it is
//! even below λ·√m·u·S (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019). The error goes on through each
//! activation (its slope near z, plus a budget for the implementation) and through c' = f·c + i·j and
//! h' = o·φ(c') by the product rule.

use lstm::{Activation, Peepholes, Tf1Cell, oracle};
use ndarray::{Array2, ArrayView2, s};

/// Unit roundoff of f32.
pub const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// λ of the probabilistic bound: a sum exceeds it with a probability below 2·exp(−λ²/2) = 3.1e-8 at λ = 6.
pub const LAMBDA: f64 = 6.0;

/// What an implementation's activation functions may add, in units in the last place of the result. A result below
/// 2⁻¹² counts as 2⁻¹²: there an absolute error is what matters to the state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationBudget {
    /// Budget in ULP.
    pub ulp: f64,
}

impl Default for ActivationBudget {
    fn default() -> Self {
        ActivationBudget { ulp: 8.0 }
    }
}

impl ActivationBudget {
    fn at(self, value: f64) -> f64 {
        2.0 * self.ulp * UNIT_ROUNDOFF * value.abs().max(1.0 / 4096.0)
    }
}

/// One step from given states: the truth, and per element how far f32 may be from it.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalTruth {
    /// Output, `[rows, recurrent]`.
    pub h: Array2<f64>,
    /// Cell state, `[rows, units]`.
    pub c: Array2<f64>,
    /// Bound on h, with high probability, `[rows, recurrent]`.
    pub h_bound: Array2<f64>,
    /// Bound on c, with high probability, `[rows, units]`.
    pub c_bound: Array2<f64>,
    /// Bound on h that no rounding can exceed.
    pub h_worst: Array2<f64>,
    /// Bound on c that no rounding can exceed.
    pub c_worst: Array2<f64>,
}

/// Evaluates one step and its bound for every row: `x` `[rows, input]`, `h` `[rows, recurrent]`, `c` `[rows, units]`.
pub fn local(
    cell: &Tf1Cell,
    x: ArrayView2<f32>,
    h: ArrayView2<f32>,
    c: ArrayView2<f32>,
    budget: ActivationBudget,
) -> LocalTruth {
    let (units, input) = (cell.units(), cell.input_size());
    let kernel = cell.kernel.mapv(f64::from);
    let wide = |a: ArrayView2<f32>| a.mapv(f64::from);
    let (x, h, c) = (wide(x), wide(h), wide(c));
    let z = x.dot(&kernel.slice(s![..input, ..])) + h.dot(&kernel.slice(s![input.., ..])) + &cell.bias.mapv(f64::from);
    // S of the sums: the same products with every factor made positive.
    let kernel = kernel.mapv_into(f64::abs);
    let magnitude = x.mapv_into(f64::abs).dot(&kernel.slice(s![..input, ..]))
        + h.mapv_into(f64::abs).dot(&kernel.slice(s![input.., ..]))
        + &cell.bias.mapv(|b| f64::from(b.abs()));
    let terms = (cell.kernel.nrows() + 3) as f64;
    let factors = [LAMBDA.mul_add(terms.sqrt(), 0.0) * UNIT_ROUNDOFF, gamma(terms)];

    let rows = z.nrows();
    let mut m = Array2::zeros((rows, units));
    let mut next_c = Array2::zeros((rows, units));
    let mut m_error = [Array2::zeros((rows, units)), Array2::zeros((rows, units))];
    let mut c_error = [Array2::zeros((rows, units)), Array2::zeros((rows, units))];
    let peephole = |pick: fn(&Peepholes) -> &ndarray::Array1<f32>, unit: usize| {
        cell.peepholes.as_ref().map_or(0.0, |p| f64::from(pick(p)[unit]))
    };
    let clip = cell.cell_clip.map_or(f64::INFINITY, f64::from);
    let forget_bias = f64::from(cell.forget_bias);
    for row in 0..rows {
        for unit in 0..units {
            let old = c[[row, unit]];
            let at = |gate: usize, extra: f64| {
                let column = gate * units + unit;
                (z[[row, column]] + extra, magnitude[[row, column]] + extra.abs())
            };
            let (zi, si) = at(0, peephole(|p| &p.input, unit) * old);
            let (zj, sj) = at(1, 0.0);
            let (zf, sf) = at(2, peephole(|p| &p.forget, unit) * old);
            let (zf, sf) = (zf + forget_bias, sf + forget_bias.abs());
            let (i, f) = (oracle::sigmoid(zi), oracle::sigmoid(zf));
            let j = oracle::activation(cell.activation, zj);
            let c_true = (f * old + i * j).clamp(-clip, clip);
            let (zo, so) = at(3, peephole(|p| &p.output, unit) * c_true);
            let o = oracle::sigmoid(zo);
            let phi = oracle::activation(cell.activation, c_true);
            next_c[[row, unit]] = c_true;
            m[[row, unit]] = o * phi;
            for (which, factor) in factors.iter().enumerate() {
                let gate = |z: f64, s: f64, value: f64| through(Activation::Sigmoid, z, factor * s) + budget.at(value);
                let (di, df) = (gate(zi, si, i), gate(zf, sf, f));
                let dj = through(cell.activation, zj, factor * sj) + budget.at(j);
                let products = (f * old).abs() + (i * j).abs() + di * j.abs() + df * old.abs();
                let dc = df * old.abs() + di * j.abs() + i * dj + di * dj + 2.0 * UNIT_ROUNDOFF * products;
                // The output gate's peephole carries the error of the new state into its sum.
                let carried = peephole(|p| &p.output, unit).abs() * dc;
                let d_o = through(Activation::Sigmoid, zo, factor * so + carried) + budget.at(o);
                let dphi = through(cell.activation, c_true, dc) + budget.at(phi);
                c_error[which][[row, unit]] = dc;
                m_error[which][[row, unit]] =
                    d_o * phi.abs() + o * dphi + d_o * dphi + UNIT_ROUNDOFF * (o * phi).abs() * 1.01;
            }
        }
    }
    let [c_bound, c_worst] = c_error;
    let [m_bound, m_worst] = m_error;
    match &cell.projection {
        None => LocalTruth { h: m, c: next_c, h_bound: m_bound, c_bound, h_worst: m_worst, c_worst },
        Some(projection) => {
            let p = projection.mapv(f64::from);
            let clip = cell.projection_clip.map_or(f64::INFINITY, f64::from);
            let positive = p.mapv(f64::abs);
            let sizes = m.mapv(f64::abs).dot(&positive);
            let terms = units as f64 + 1.0;
            let h_bound = m_bound.dot(&positive) + &sizes * (LAMBDA * terms.sqrt() * UNIT_ROUNDOFF);
            let h_worst = m_worst.dot(&positive) + &sizes * gamma(terms);
            let h = m.dot(&p).mapv_into(|v| v.clamp(-clip, clip));
            LocalTruth { h, c: next_c, h_bound, c_bound, h_worst, c_worst }
        }
    }
}

/// γₘ = m·u/(1 − m·u); infinite where the sum is so long that nothing is guaranteed.
fn gamma(terms: f64) -> f64 {
    let mu = terms * UNIT_ROUNDOFF;
    if mu < 1.0 { mu / (1.0 - mu) } else { f64::INFINITY }
}

/// How much an input error `delta` at `z` can change the function's value: the largest slope within reach.
fn through(function: Activation, z: f64, delta: f64) -> f64 {
    // The slope at z, plus the second derivative's largest value times the way to the farthest point.
    let slope = match function {
        Activation::Sigmoid => {
            let s = oracle::sigmoid(z);
            (s * (1.0 - s) + 0.0963 * delta).min(0.25)
        }
        Activation::Tanh => {
            let t = z.tanh();
            ((1.0 - t * t) + 0.7699 * delta).min(1.0)
        }
        Activation::HardSigmoidKeras2 => 0.2,
        Activation::HardSigmoidKeras3 => 1.0 / 6.0,
        Activation::Relu
        | Activation::Relu6
        | Activation::Elu
        | Activation::Softplus
        | Activation::Softsign
        | Activation::Linear => 1.0,
    };
    slope * delta
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;
    use ndarray::{Array1, Axis, concatenate};

    fn random_cell(input: usize, units: usize, scale: f32, seed: u64) -> Tf1Cell {
        let w = Stream::new(seed, 10);
        let b = Stream::new(seed, 11);
        let kernel =
            Array2::from_shape_fn((input + units, 4 * units), |(r, c)| scale * w.normal((r * 4 * units + c) as u64));
        Tf1Cell::new(kernel, Array1::from_shape_fn(4 * units, |c| scale * b.normal(c as u64))).unwrap()
    }

    /// The plainest f32 evaluation: ndarray's product, std's functions.
    fn plain_f32(cell: &Tf1Cell, x: &Array2<f32>, h: &Array2<f32>, c: &Array2<f32>) -> (Array2<f32>, Array2<f32>) {
        let z = concatenate(Axis(1), &[x.view(), h.view()]).unwrap().dot(&cell.kernel) + &cell.bias;
        let u = cell.units();
        let sigmoid = |v: f32| 1.0 / (1.0 + (-v).exp());
        let new_c = Array2::from_shape_fn(c.dim(), |(r, k)| {
            c[[r, k]] * sigmoid(z[[r, 2 * u + k]] + cell.forget_bias) + sigmoid(z[[r, k]]) * z[[r, u + k]].tanh()
        });
        let new_h = Array2::from_shape_fn(c.dim(), |(r, k)| new_c[[r, k]].tanh() * sigmoid(z[[r, 3 * u + k]]));
        (new_h, new_c)
    }

    #[test]
    fn plain_f32_stays_within_the_bound_and_a_small_fault_does_not() {
        for (input, units, scale) in
            [(1, 1, 1.0), (5, 8, 0.6), (20, 100, 0.15), (40, 33, 3.0), (128, 256, 0.05), (5, 8, 0.01)]
        {
            let cell = random_cell(input, units, scale, 3);
            let draw = |stream, width| {
                Array2::from_shape_fn((64, width), |(r, k)| Stream::new(5, stream).normal((r * width + k) as u64))
            };
            let (x, h, c) = (draw(0, input), draw(1, units).mapv(f32::tanh), draw(2, units));
            let truth = local(&cell, x.view(), h.view(), c.view(), ActivationBudget::default());
            let ratio = |cell: &Tf1Cell| {
                let (h32, c32) = plain_f32(cell, &x, &h, &c);
                let of = |a: &Array2<f32>, b: &Array2<f64>, bound: &Array2<f64>| {
                    a.iter().zip(b).zip(bound).map(|((a, b), e)| (f64::from(*a) - b).abs() / e).fold(0.0, f64::max)
                };
                of(&h32, &truth.h, &truth.h_bound).max(of(&c32, &truth.c, &truth.c_bound))
            };
            let right = ratio(&cell);
            assert!(right < 1.0 && right > 1e-4, "{input} x {units} x {scale}: {right}");
            assert!(truth.h_bound.iter().zip(&truth.h_worst).all(|(p, w)| *p > 0.0 && w.is_finite()));
            let mut wrong = cell.clone();
            wrong.forget_bias = 0.99;
            let wrong = ratio(&wrong);
            assert!(wrong > 1.0, "{input} x {units} x {scale}: a forget bias of 0.99 stays at {wrong} of the bound");
        }
    }

    #[test]
    fn nothing_is_guaranteed_for_endless_sums() {
        assert_eq!(gamma(2f64.powi(24)), f64::INFINITY);
        assert!(gamma(100.0) > 100.0 * UNIT_ROUNDOFF);
    }

    #[test]
    fn slopes_cover_the_function_within_reach() {
        for function in Activation::ALL {
            for z in [-3.0, -1.0, -0.1, 0.0, 0.2, 0.7, 2.5, 5.9] {
                for delta in [1e-6, 1e-3, 0.1, 1.0] {
                    let at = |z| oracle::activation(function, z);
                    let moved = (at(z + delta) - at(z)).abs().max((at(z - delta) - at(z)).abs());
                    assert!(moved <= through(function, z, delta) * (1.0 + 1e-9), "{function:?} at {z} ± {delta}");
                }
            }
        }
    }
}
