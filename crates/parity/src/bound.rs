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
    /// One number per function, in the order of [`Activation::ALL`].
    ulp: [f64; Activation::ALL.len()],
}

/// Results below this count as this when an activation's error is expressed in ULP.
pub const SMALLEST_RESULT: f64 = 1.0 / 4096.0;

impl ActivationBudget {
    /// A budget per function, as measured on a device.
    pub fn new(mut of: impl FnMut(Activation) -> f64) -> ActivationBudget {
        ActivationBudget { ulp: Activation::ALL.map(&mut of) }
    }

    /// The budget of a function, in ULP.
    pub fn ulp(&self, function: Activation) -> f64 {
        Activation::ALL.iter().zip(self.ulp).find(|(a, _)| **a == function).map_or(f64::INFINITY, |(_, ulp)| ulp)
    }

    /// The error allowed where the function's value is `value`.
    pub fn at(&self, function: Activation, value: f64) -> f64 {
        2.0 * self.ulp(function) * UNIT_ROUNDOFF * value.abs().max(SMALLEST_RESULT)
    }
}

/// A true value per element, and how far f32 may be from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounded {
    /// The truth.
    pub value: Array2<f64>,
    /// Exceeded by rounding with a chance below 1e-7 per sum.
    pub bound: Array2<f64>,
    /// Never exceeded by rounding.
    pub worst: Array2<f64>,
}

impl Bounded {
    fn zeros(rows: usize, columns: usize) -> Bounded {
        let zeros = || Array2::zeros((rows, columns));
        Bounded { value: zeros(), bound: zeros(), worst: zeros() }
    }

    fn set(&mut self, at: [usize; 2], value: f64, [bound, worst]: [f64; 2]) {
        self.value[at] = value;
        self.bound[at] = bound;
        self.worst[at] = worst;
    }

    /// The same for some of the rows.
    pub fn select(&self, rows: &[usize]) -> Bounded {
        let pick = |a: &Array2<f64>| a.select(ndarray::Axis(0), rows);
        Bounded { value: pick(&self.value), bound: pick(&self.bound), worst: pick(&self.worst) }
    }
}

/// One step from given states: the truth and its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalTruth {
    /// Output, `[rows, recurrent]`.
    pub h: Bounded,
    /// Cell state, `[rows, units]`.
    pub c: Bounded,
    /// Gates after their activations, `[rows, 4·units]`, blocks i, j, f, o.
    pub gates: Bounded,
}

/// Evaluates one step and its bound for every row: `x` `[rows, input]`, `h` `[rows, recurrent]`, `c` `[rows, units]`.
pub fn local(
    cell: &Tf1Cell,
    x: ArrayView2<f32>,
    h: ArrayView2<f32>,
    c: ArrayView2<f32>,
    budget: &ActivationBudget,
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
    let mut m = Bounded::zeros(rows, units);
    let mut state = Bounded::zeros(rows, units);
    let mut gates = Bounded::zeros(rows, 4 * units);
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

            let errors = factors.map(|factor| {
                let gate = |value: f64, s: f64| {
                    through(Activation::Sigmoid, value, factor * s) + budget.at(Activation::Sigmoid, value)
                };
                let (di, df) = (gate(i, si), gate(f, sf));
                let dj = through(cell.activation, j, factor * sj) + budget.at(cell.activation, j);
                let products = (f * old).abs() + (i * j).abs() + di * j.abs() + df * old.abs();
                let dc = df * old.abs() + di * j.abs() + i * dj + di * dj + 2.0 * UNIT_ROUNDOFF * products;
                // The output gate's peephole carries the error of the new state into its sum.
                let carried = peephole(|p| &p.output, unit).abs() * dc;
                let d_o = through(Activation::Sigmoid, o, factor * so + carried) + budget.at(Activation::Sigmoid, o);
                let dphi = through(cell.activation, phi, dc) + budget.at(cell.activation, phi);
                let dm = d_o * phi.abs() + o * dphi + d_o * dphi + UNIT_ROUNDOFF * (o * phi).abs() * 1.01;
                [di, dj, df, d_o, dc, dm]
            });
            let both = |which: usize| [errors[0][which], errors[1][which]];
            for (block, value) in [i, j, f, o].into_iter().enumerate() {
                gates.set([row, block * units + unit], value, both(block));
            }
            state.set([row, unit], c_true, both(4));
            m.set([row, unit], o * phi, both(5));
        }
    }
    let h = match &cell.projection {
        None => m,
        Some(projection) => {
            let p = projection.mapv(f64::from);
            let clip = cell.projection_clip.map_or(f64::INFINITY, f64::from);
            let positive = p.mapv(f64::abs);
            let sizes = m.value.mapv(f64::abs).dot(&positive);
            let terms = units as f64 + 1.0;
            Bounded {
                bound: m.bound.dot(&positive) + &sizes * (LAMBDA * terms.sqrt() * UNIT_ROUNDOFF),
                worst: m.worst.dot(&positive) + &sizes * gamma(terms),
                value: m.value.dot(&p).mapv_into(|v| v.clamp(-clip, clip)),
            }
        }
    };
    LocalTruth { h, c: state, gates }
}

/// γₘ = m·u/(1 − m·u); infinite where the sum is so long that nothing is guaranteed.
fn gamma(terms: f64) -> f64 {
    let mu = terms * UNIT_ROUNDOFF;
    if mu < 1.0 { mu / (1.0 - mu) } else { f64::INFINITY }
}

/// How much an input error `delta` can change the function's value where that is `value`: the largest slope in reach.
/// The slopes of sigmoid and tanh follow from their values, s·(1 − s) and 1 − t².
fn through(function: Activation, value: f64, delta: f64) -> f64 {
    // The slope here, plus the second derivative's largest value times the way to the farthest point.
    let slope = match function {
        Activation::Sigmoid => (value * (1.0 - value) + 0.0963 * delta).min(0.25),
        Activation::Tanh => ((1.0 - value * value) + 0.7699 * delta).min(1.0),
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
            let truth = local(&cell, x.view(), h.view(), c.view(), &ActivationBudget::new(|_| 4.0));
            let ratio = |cell: &Tf1Cell| {
                let (h32, c32) = plain_f32(cell, &x, &h, &c);
                let of = |a: &Array2<f32>, b: &Bounded| {
                    a.iter()
                        .zip(&b.value)
                        .zip(&b.bound)
                        .map(|((a, b), e)| (f64::from(*a) - b).abs() / e)
                        .fold(0.0, f64::max)
                };
                of(&h32, &truth.h).max(of(&c32, &truth.c))
            };
            let right = ratio(&cell);
            assert!(right < 1.0 && right > 1e-4, "{input} x {units} x {scale}: {right}");
            assert!(truth.h.bound.iter().zip(&truth.h.worst).all(|(p, w)| *p > 0.0 && w.is_finite()));
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
                    assert!(moved <= through(function, at(z), delta) * (1.0 + 1e-9), "{function:?} at {z} ± {delta}");
                }
            }
        }
    }
}
