//! One step of a cell, operation by operation over the units of each sequence.

use ndarray::{Array1, Array2, ArrayViewMut2};

use super::elementary::apply;
use super::{Arithmetic, normalise};
use crate::{ExactWeights, Tf1Cell};

/// The state after one step, and the gates that made it.
pub(super) struct Step {
    /// Output of the units, before it is projected, `[sequences, units]`.
    pub(super) shown: Array2<f64>,
    /// `[sequences, units]`.
    pub(super) c: Array2<f64>,
    /// Values after their activations, `[sequences, 4·units]`, blocks i, j, f, o.
    pub(super) gates: Array2<f64>,
}

impl Step {
    /// Room for the steps of so many sequences.
    pub(super) fn new(sequences: usize, units: usize) -> Step {
        let empty = |width| Array2::zeros((sequences, width));
        Step { shown: empty(units), c: empty(units), gates: empty(4 * units) }
    }

    /// One step from pre-activations `z` `[sequences, 4·units]` (i, j, f, o; without the forget bias) and state `c`.
    pub(super) fn take<A: Arithmetic>(
        &mut self,
        cell: &Tf1Cell,
        weights: &ExactWeights,
        z: &mut ArrayViewMut2<'_, f64>,
        c: &Array2<f64>,
        a: &mut A,
    ) {
        let rows = z.rows_mut().into_iter().zip(c.rows());
        let made = self.shown.rows_mut().into_iter().zip(self.c.rows_mut()).zip(self.gates.rows_mut());
        let whole = "rows lie in one piece";
        for ((z, old), ((shown, new), gates)) in rows.zip(made) {
            let made = Row {
                shown: shown.into_slice().expect(whole),
                new: new.into_slice().expect(whole),
                gates: gates.into_slice().expect(whole),
            };
            made.take(cell, weights, z.into_slice().expect(whole), old.to_slice().expect(whole), a);
        }
    }
}

/// One sequence of a [`Step`].
struct Row<'a> {
    shown: &'a mut [f64],
    new: &'a mut [f64],
    gates: &'a mut [f64],
}

impl Row<'_> {
    fn take<A: Arithmetic>(self, cell: &Tf1Cell, weights: &ExactWeights, z: &mut [f64], old: &[f64], a: &mut A) {
        let Row { shown, new, gates } = self;
        let (phi, rho) = (cell.activation, cell.recurrent_activation);
        let norms = weights.layer_norm.as_ref().zip(cell.layer_norm.as_ref());
        if let Some((norms, norm)) = norms {
            for (block, norms) in z.chunks_exact_mut(cell.units()).zip(norms) {
                normalise(block, norms, norm.epsilon, a);
            }
        }
        gates.copy_from_slice(z);
        let [i, j, f, o] = blocks(gates);
        let forget_bias = f64::from(cell.forget_bias);
        f.iter_mut().for_each(|f| *f += forget_bias);
        a.round(f);
        if let Some(peepholes) = &weights.peepholes {
            add_products(i, &peepholes[0], old);
            add_products(f, &peepholes[1], old);
        }
        for (function, gate) in [(rho, &mut *i), (phi, &mut *j), (rho, &mut *f)] {
            apply(function, gate);
            a.activate(function, gate);
        }
        multiply(new, f, old);
        a.round(new);
        // What is added to the state, until there is an output.
        multiply(shown, i, j);
        a.round(shown);
        new.iter_mut().zip(&*shown).for_each(|(new, added)| *new += added);
        a.round(new);
        // The state is normalised over all units, and only then clipped and shown.
        if let Some((norms, norm)) = norms {
            normalise(new, &norms[4], norm.epsilon, a);
        }
        if let Some(clip) = cell.cell_clip.map(f64::from) {
            // `clamp` hands NaN on, where a chain of min and max would hide it.
            new.iter_mut().for_each(|new| *new = new.clamp(-clip, clip));
        }
        if let Some(peepholes) = &weights.peepholes {
            add_products(o, &peepholes[2], new);
        }
        apply(rho, o);
        a.activate(rho, o);
        shown.copy_from_slice(new);
        apply(phi, shown);
        a.activate(phi, shown);
        shown.iter_mut().zip(o).for_each(|(shown, gate)| *shown *= *gate);
        a.round(shown);
    }
}

/// The blocks i, j, f, o ([`TF1`](crate::gate_order::TF1)) of a row.
fn blocks(row: &mut [f64]) -> [&mut [f64]; 4] {
    let units = row.len() / 4;
    let (i, rest) = row.split_at_mut(units);
    let (j, rest) = rest.split_at_mut(units);
    let (f, o) = rest.split_at_mut(units);
    [i, j, f, o]
}

fn multiply(into: &mut [f64], a: &[f64], b: &[f64]) {
    into.iter_mut().zip(a.iter().zip(b)).for_each(|(into, (a, b))| *into = a * b);
}

fn add_products(into: &mut [f64], a: &Array1<f64>, b: &[f64]) {
    into.iter_mut().zip(a.iter().zip(b)).for_each(|(into, (a, b))| *into += a * b);
}
