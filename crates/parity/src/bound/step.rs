//! One step up to the output of the units: every operation on all units of a row, each value beside its errors.

use lstm::oracle::{apply, vectorized};
use lstm::{Activation, ExactWeights, Tf1Cell};
use ndarray::ArrayView2;

use super::{ActivationBudget, Bounded, Inexact, LocalTruth, Sums, UNIT_ROUNDOFF, normalise, through};

/// One step up to the output of the units, `[rows, units]`, which a projection follows.
pub(super) fn one_step(
    cell: &Tf1Cell,
    weights: &ExactWeights,
    sums: Sums,
    c: ArrayView2<f32>,
    budget: &ActivationBudget,
) -> LocalTruth {
    let units = cell.units();
    let Sums { value, magnitude, factors } = sums;
    let rows = value.nrows();
    // The sums, until they are activated where they lie.
    let mut gates = Bounded { value, bound: &magnitude * factors[0], worst: magnitude * factors[1] };
    let mut state = Bounded::zeros(rows, units);
    let mut h = Bounded::zeros(rows, units);
    let mut seen = Bounded::zeros(1, units);
    let step = Step { cell, weights, factors, budget };
    for row in 0..rows {
        let old: Vec<f64> = c.row(row).iter().copied().map(f64::from).collect();
        step.take(&old, gates.row(row).blocks(), state.row(row), seen.row(0), h.row(row));
    }
    for bounds in [&mut gates, &mut state, &mut h].into_iter().flat_map(|b| [&mut b.bound, &mut b.worst]) {
        // Where errors were infinite, products with zero are not a number: nothing is guaranteed there.
        bounds.iter_mut().for_each(|e| *e = if e.is_nan() { f64::INFINITY } else { *e });
    }
    LocalTruth { h, c: state, gates }
}

/// Values of one row, and how far each may be off: by the probabilistic bound, and at worst.
struct Values<'a> {
    value: &'a mut [f64],
    error: [&'a mut [f64]; 2],
}

impl Bounded {
    fn row(&mut self, row: usize) -> Values<'_> {
        let whole = "rows lie in one piece";
        Values {
            value: self.value.row_mut(row).into_slice().expect(whole),
            error: [&mut self.bound, &mut self.worst].map(|e| e.row_mut(row).into_slice().expect(whole)),
        }
    }
}

impl<'a> Values<'a> {
    /// The blocks i, j, f, o of a row.
    fn blocks(self) -> [Values<'a>; 4] {
        let [bound, worst] = self.error.map(four);
        let mut blocks = four(self.value).into_iter().zip(bound.into_iter().zip(worst));
        std::array::from_fn(|_| {
            let (value, (bound, worst)) = blocks.next().expect("four blocks");
            Values { value, error: [bound, worst] }
        })
    }

    /// The value and its errors of each unit, changed one by one.
    #[inline(always)]
    fn each(&mut self, mut change: impl FnMut(usize, &mut f64, [&mut f64; 2])) {
        let [bound, worst] = &mut self.error;
        let errors = bound.iter_mut().zip(worst.iter_mut());
        for (unit, (value, (bound, worst))) in self.value.iter_mut().zip(errors).enumerate() {
            change(unit, value, [bound, worst]);
        }
    }
}

fn four(row: &mut [f64]) -> [&mut [f64]; 4] {
    let mut blocks = row.chunks_exact_mut(row.len() / 4);
    std::array::from_fn(|_| blocks.next().expect("four blocks"))
}

/// How the step of a cell goes.
struct Step<'a> {
    cell: &'a Tf1Cell,
    weights: &'a ExactWeights,
    /// What rounding does to a sum, as a share of its magnitude.
    factors: [f64; 2],
    budget: &'a ActivationBudget,
}

impl Step<'_> {
    /// One row, from its state c and the sums of the gates.
    fn take(&self, old: &[f64], gates: [Values<'_>; 4], mut new: Values<'_>, mut phi: Values<'_>, mut h: Values<'_>) {
        let [mut i, mut j, mut f, mut o] = gates;
        for (sums, which) in [&mut i, &mut j, &mut f, &mut o].into_iter().zip(0..) {
            self.normalise(sums, which);
        }
        self.add(&mut i, 0, old, 0.0);
        self.add(&mut f, 1, old, f64::from(self.cell.forget_bias));
        let rho = self.cell.recurrent_activation;
        for (gate, function) in [(&mut i, rho), (&mut j, self.cell.activation), (&mut f, rho)] {
            self.activate(function, gate);
        }
        vectorized(
            #[inline(always)]
            || {
                new.each(
                    #[inline(always)]
                    |u, new, errors| {
                        let (i_, j_, f_, old) = (i.value[u], j.value[u].abs(), f.value[u], old[u]);
                        let products = (f_ * old).abs() + (i_ * j_).abs();
                        for (k, error) in errors.into_iter().enumerate() {
                            let (di, dj, df) = (i.error[k][u], j.error[k][u], f.error[k][u]);
                            let carried = df * old.abs() + di * j_ + i_.abs() * dj + di * dj;
                            *error = carried + 2.0 * UNIT_ROUNDOFF * (products + di * j_ + df * old.abs());
                        }
                        *new = f_ * old + i_ * j.value[u];
                    },
                );
            },
        );
        self.normalise(&mut new, 4);
        if let Some(clip) = self.cell.cell_clip.map(f64::from) {
            // Clipping brings two values no further apart.
            new.value.iter_mut().for_each(|new| *new = new.clamp(-clip, clip));
        }
        self.add(&mut o, 2, new.value, 0.0);
        if let Some(peepholes) = &self.weights.peepholes {
            // The output gate's peephole carries the error of the new state into its sum.
            o.each(|u, _, errors| {
                for (error, carried) in errors.into_iter().zip(&new.error) {
                    *error += peepholes[2][u].abs() * carried[u];
                }
            });
        }
        self.activate(rho, &mut o);
        phi.value.copy_from_slice(new.value);
        phi.error.iter_mut().zip(&new.error).for_each(|(phi, new)| phi.copy_from_slice(new));
        self.activate(self.cell.activation, &mut phi);
        vectorized(
            #[inline(always)]
            || {
                h.each(
                    #[inline(always)]
                    |u, h, errors| {
                        *h = o.value[u] * phi.value[u];
                        for (k, error) in errors.into_iter().enumerate() {
                            let (d_o, dphi) = (o.error[k][u], phi.error[k][u]);
                            let carried = d_o * phi.value[u].abs() + o.value[u].abs() * dphi + d_o * dphi;
                            *error = carried + UNIT_ROUNDOFF * h.abs() * 1.01;
                        }
                    },
                );
            },
        );
    }

    /// Layer normalisation, where the cell has it: of a gate's sums, or, as the fifth, of the state.
    fn normalise(&self, values: &mut Values<'_>, which: usize) {
        let (Some(norms), Some(norm)) = (&self.weights.layer_norm, &self.cell.layer_norm) else { return };
        let mut row = vec![];
        values.each(|_, value, [bound, worst]| row.push(Inexact { value: *value, error: [*bound, *worst] }));
        normalise::normalise(&mut row, &norms[which], norm.epsilon);
        values.each(|unit, value, [bound, worst]| {
            (*value, [*bound, *worst]) = (row[unit].value, row[unit].error);
        });
    }

    /// Adds a peephole of `c` and a constant to sums: terms like any other, unless the sum was normalised before.
    fn add(&self, sums: &mut Values<'_>, peephole: usize, c: &[f64], constant: f64) {
        let peephole = self.weights.peepholes.as_ref().map(|p| &p[peephole]);
        if peephole.is_none() && constant == 0.0 && self.cell.layer_norm.is_none() {
            return;
        }
        sums.each(|unit, value, errors| {
            let term = peephole.map_or(0.0, |p| p[unit] * c[unit]);
            let size = term.abs() + constant.abs();
            for (error, factor) in errors.into_iter().zip(self.factors) {
                let normalised = self.cell.layer_norm.is_some();
                *error += if normalised { 4.04 * UNIT_ROUNDOFF * (value.abs() + *error + size) } else { factor * size };
            }
            *value += term;
            *value += constant;
        });
    }

    /// Sums become gates: an error goes on by the slope, and the function adds its own.
    fn activate(&self, function: Activation, sums: &mut Values<'_>) {
        apply(function, sums.value);
        let own = [0.0, 1.0].map(|value| self.budget.at(function, value));
        // Spelled out, so that the slopes of each are compiled by themselves.
        vectorized(
            #[inline(always)]
            || match function {
                Activation::Sigmoid => go_on(Activation::Sigmoid, sums, own),
                Activation::Tanh => go_on(Activation::Tanh, sums, own),
                other => go_on(other, sums, own),
            },
        );
    }
}

/// The errors of a function's values, whose own error is `own` at 0 and at 1, from those of its arguments.
#[inline(always)]
fn go_on(function: Activation, values: &mut Values<'_>, [least, of_one]: [f64; 2]) {
    values.each(
        #[inline(always)]
        |_, value, errors| {
            let own = (of_one * value.abs()).max(least);
            errors.into_iter().for_each(|e| *e = through(function, *value, *e) + own);
        },
    );
}
