//! How far a right f32 implementation may be from the truth after one step.
//!
//! With u = 2⁻²⁴: a gate's pre-activation is a sum of n products plus bias (and forget bias), so whatever the order of
//! the additions |ẑ − z| ≤ γ·S with S = Σ|w·v| + |b| + |forget bias| and γₘ = m·u/(1 − m·u), m = n + 3 (Higham,
//! "Accuracy and Stability of Numerical Algorithms", 3.1). With probability at least 1 − 2·exp(−λ²/2) per sum it is
//! even below λ·√m·u·S (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019). The error goes on through each
//! activation (its slope near z, plus a budget for the implementation) and through c' = f·c + i·j and
//! h' = o·φ(c') by the product rule. A weight that was itself rounded to f32 makes m one larger; what layer
//! normalisation does is derived in `bound/normalise.rs`.

mod normalise;
mod step;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use lstm::oracle::Packed;
use lstm::{Activation, ExactWeights, Tf1Cell, convert};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use step::one_step;

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
    Prepared::new(cell, budget).local([x, h, c])
}

/// A cell whose step is evaluated more than once.
pub(crate) struct Prepared<'a> {
    cell: &'a Tf1Cell,
    weights: Cow<'a, ExactWeights>,
    products: Products,
    /// Whether h is the output of the units before it is projected.
    unprojected: bool,
    budget: &'a ActivationBudget,
}

impl<'a> Prepared<'a> {
    /// The cell as it is.
    pub(crate) fn new(cell: &'a Tf1Cell, budget: &'a ActivationBudget) -> Prepared<'a> {
        Prepared { cell, weights: cell.weights(), products: Products::new(cell), unprojected: false, budget }
    }

    /// The form in which a projection follows the recurrence ([`convert::unprojected`]): h, `[rows, units]`, is the output
    /// of the units before it is projected. The truth is that of the TF1 cell, whose state is the projection of h.
    ///
    /// The recurrent weights of that form, products P·K, are each rounded to f32 once: one more rounding in every term,
    /// whose magnitude is |h|·|P·K|.
    pub(crate) fn unprojected(cell: &'a Tf1Cell, budget: &'a ActivationBudget) -> Prepared<'a> {
        let weights = cell.weights();
        if weights.projection.is_none() {
            return Prepared::new(cell, budget);
        }
        let flat = &*convert::unprojected(cell);
        // The products may all be exact in f32, and the conversion rounds them all the same where they are not.
        let factors = sum_factors(flat.kernel.nrows() + 3 + 1);
        Prepared { cell, weights, products: Products { factors, ..Products::new(flat) }, unprojected: true, budget }
    }

    /// One step from x, h and c, `[rows, …]` each.
    pub(crate) fn local(&self, [x, h, c]: [ArrayView2<'_, f32>; 3]) -> LocalTruth {
        let mut sums = self.products.sums(x, h);
        let clip = self.cell.projection_clip.map(f64::from).filter(|_| self.unprojected);
        if let Some((clip, projection)) = clip.zip(self.weights.projection.as_ref()) {
            // Not what the other form computes, but what it has to answer for.
            let seen = h.mapv(f64::from).dot(projection);
            let lost = seen.mapv(|v| v.clamp(-clip, clip)) - &seen;
            sums.value += &lost.dot(&self.weights.kernel.slice(s![self.cell.input_size().., ..]));
        }
        self.project(one_step(self.cell, &self.weights, sums, c, self.budget))
    }

    /// Replaces the output of the units by the cell's: projected and clipped, where the cell does either.
    fn project(&self, step: LocalTruth) -> LocalTruth {
        let Some(p) = &self.weights.projection else { return step };
        let clip = self.cell.projection_clip.map_or(f64::INFINITY, f64::from);
        let positive = p.mapv(f64::abs);
        let sizes = step.h.value.mapv(f64::abs).dot(&positive);
        let [bound, worst] = sum_factors(self.cell.units() + 1 + rounded(self.cell));
        let h = Bounded {
            bound: step.h.bound.dot(&positive) + &sizes * bound,
            worst: step.h.worst.dot(&positive) + &sizes * worst,
            value: step.h.value.dot(p).mapv_into(|v| v.clamp(-clip, clip)),
        };
        LocalTruth { h, ..step }
    }
}

/// What makes the sums before the gates: weights of inputs and of states.
struct Products {
    value: [Packed<f64>; 2],
    /// Without their signs.
    size: [Packed<f32>; 2],
    bias: Array1<f64>,
    /// What rounding does to a sum, as a share of its magnitude.
    factors: [f64; 2],
    /// What f32 may lose of a magnitude, made good.
    regained: f64,
}

/// The sums before the gates, `[rows, 4·units]`.
struct Sums {
    value: Array2<f64>,
    /// Σ|w·v| + |b|: the same products with every factor made positive.
    magnitude: Array2<f64>,
    /// What rounding does to them, as a share of the magnitude.
    factors: [f64; 2],
}

impl Products {
    fn new(cell: &Tf1Cell) -> Products {
        let weights = cell.weights();
        let (from_input, recurrent) = weights.kernel.view().split_at(Axis(0), cell.input_size());
        Products {
            value: [from_input, recurrent].map(|w| Packed::new(w, |w| w)),
            // In f32, which takes half the time. Nothing is subtracted, so little is lost, and that is added again.
            size: [from_input, recurrent].map(|w| Packed::new(w, |w| w.abs() as f32)),
            bias: weights.bias.clone(),
            factors: sum_factors(cell.kernel.nrows() + 3 + rounded(cell)),
            regained: 1.0 + 2.0 * gamma(weights.kernel.nrows() as f64 + 2.0),
        }
    }

    fn sums(&self, x: ArrayView2<f32>, h: ArrayView2<f32>) -> Sums {
        let mut value = self.value[0].product(x.mapv(f64::from).view());
        self.value[1].add_product(h.mapv(f64::from).view(), value.view_mut());
        let mut sizes = self.size[0].product(x.mapv(f32::abs).view());
        self.size[1].add_product(h.mapv(f32::abs).view(), sizes.view_mut());
        let magnitude = sizes.mapv(|v| f64::from(v) * self.regained) + self.bias.mapv(f64::abs);
        Sums { value: value + &self.bias, magnitude, factors: self.factors }
    }
}

/// What rounding the weights themselves adds to each term of a sum: one factor 1 + δ, |δ| ≤ u, more, which counts as one
/// more rounding. (A weight that float32 can only hold as a subnormal is further off, by at most 2⁻¹⁵⁰, which the
/// smallest normal number allowed beside every bound covers.)
fn rounded(cell: &Tf1Cell) -> usize {
    usize::from(cell.exact.is_some())
}

/// A value, and how far f32 may be from it: by the probabilistic bound, and at worst.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Inexact {
    value: f64,
    error: [f64; 2],
}

/// How far a sum in which every term is rounded `terms` times may be off, as a share of Σ|term|: by the probabilistic
/// bound, and at worst.
fn sum_factors(terms: usize) -> [f64; 2] {
    let terms = terms as f64;
    [LAMBDA * terms.sqrt() * UNIT_ROUNDOFF, gamma(terms)]
}

/// γₘ = m·u/(1 − m·u); infinite where the sum is so long that nothing is guaranteed.
fn gamma(terms: f64) -> f64 {
    let mu = terms * UNIT_ROUNDOFF;
    if mu < 1.0 { mu / (1.0 - mu) } else { f64::INFINITY }
}

/// How much an input error `delta` can change the function's value where that is `value`: the largest slope in reach.
/// The slopes of sigmoid and tanh follow from their values, s·(1 − s) and 1 − t².
#[inline(always)]
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
