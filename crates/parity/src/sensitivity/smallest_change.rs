//! How small a change of one weight would still have shown.

use lstm::gate_order::{self, Gate, TF1};
use lstm::{Activation, Tf1Cell, convert, oracle};
use ndarray::Array2;

use crate::bound::LocalTruth;
use crate::local::Points;

/// How large a relative change of one weight must be to be seen, over all weights of the Keras form that are not zero:
/// kernel, recurrent kernel, bias with the forget bias inside, and the projection after the layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmallestChange {
    /// Weights considered.
    pub weights: usize,
    /// Seen in the most sensitive weight.
    pub min: f64,
    /// Seen in half of the weights.
    pub median: f64,
    /// Seen in 95 of 100 weights.
    pub p95: f64,
    /// Weights that no change of up to their own size would show: their inputs or units are never active.
    pub invisible: usize,
}

/// For each weight the smallest relative change whose effect on h or c, to first order, exceeds the bound somewhere.
/// The points hold what the Keras form reads.
pub(super) fn measure(cell: &Tf1Cell, points: &Points, truth: &LocalTruth) -> SmallestChange {
    of_both(&convert::unprojected(cell), cell.projection.as_ref(), points, truth)
}

/// The same for a cell without a projection, and the projection after it.
fn of_both(cell: &Tf1Cell, projection: Option<&Array2<f32>>, points: &Points, truth: &LocalTruth) -> SmallestChange {
    let (units, input) = (cell.units(), cell.input_size());
    let effects = Effects::new(cell, projection, points, truth);
    let largest = |of: &dyn Fn(usize) -> f64| (0..points.rows.len()).map(of).fold(0.0, f64::max);

    let mut changes = vec![];
    let mut invisible = 0;
    let mut weigh = |weight: f32, effect: f64| {
        let change = 1.0 / (effect * f64::from(weight).abs());
        if change <= 1.0 { changes.push(change) } else { invisible += usize::from(weight != 0.0) }
    };
    // Row by row of the kernel, so that what its weights act through is read in the order in which it lies.
    let mut largest_of_row = vec![0.0f64; 4 * units];
    for (r, weights) in cell.kernel.outer_iter().enumerate() {
        largest_of_row.fill(0.0);
        for (row, of_sums) in effects.of_sums.outer_iter().enumerate() {
            let read = f64::from(if r < input { points.x[[row, r]] } else { points.h[[row, r - input]] }).abs();
            largest_of_row.iter_mut().zip(of_sums).for_each(|(most, effect)| *most = most.max(read * effect));
        }
        weights.iter().zip(&largest_of_row).for_each(|(weight, effect)| weigh(*weight, *effect));
    }
    for (column, bias) in cell.bias.iter().enumerate() {
        let in_forget_gate = column / units == gate_order::position(TF1, Gate::Forget);
        let bias = bias + if in_forget_gate { cell.forget_bias } else { 0.0 };
        weigh(bias, largest(&|row| effects.of_sums[[row, column]]));
    }
    for ((unit, k), weight) in projection.into_iter().flat_map(|p| p.indexed_iter()) {
        weigh(*weight, largest(&|row| effects.outputs[[row, unit]].abs() / truth.h.bound[[row, k]]));
    }

    changes.sort_by(f64::total_cmp);
    let quantile =
        |q: f64| changes.get(((changes.len() as f64 - 1.0) * q).round() as usize).copied().unwrap_or(f64::INFINITY);
    SmallestChange {
        weights: changes.len() + invisible,
        min: quantile(0.0),
        median: quantile(0.5),
        p95: quantile(0.95),
        invisible,
    }
}

/// What a weight acts through.
struct Effects {
    /// |∂(h or c)/∂z| over its bound, whichever is largest, `[rows, 4·units]`.
    of_sums: Array2<f64>,
    /// o·φ(c), which a projection reads, `[rows, units]`.
    outputs: Array2<f64>,
}

impl Effects {
    fn new(cell: &Tf1Cell, projection: Option<&Array2<f32>>, points: &Points, truth: &LocalTruth) -> Effects {
        let (units, rows) = (cell.units(), points.rows.len());
        let mut effects = Effects { of_sums: Array2::zeros((rows, 4 * units)), outputs: Array2::zeros((rows, units)) };
        let [of_gate, of_state] = [cell.recurrent_activation, cell.activation].map(|f| move |value| slope(f, value));
        for row in 0..rows {
            for unit in 0..units {
                let gate = |gate| truth.gates.value[[row, gate_order::position(TF1, gate) * units + unit]];
                let (i, j, f, o) = (gate(Gate::Input), gate(Gate::Candidate), gate(Gate::Forget), gate(Gate::Output));
                let phi = oracle::activation(cell.activation, truth.c.value[[row, unit]]);
                // How much of h a change of o·φ(c) by one is, as a share of the bound.
                let shown = match projection {
                    None => 1.0 / truth.h.bound[[row, unit]],
                    Some(p) => p
                        .row(unit)
                        .iter()
                        .zip(truth.h.bound.row(row))
                        .fold(0.0, |m: f64, (p, bound)| m.max(f64::from(*p).abs() / bound)),
                };
                let dc = [of_gate(i) * j, i * of_state(j), of_gate(f) * f64::from(points.c[[row, unit]]), 0.0];
                for (block, dc) in dc.into_iter().enumerate() {
                    let dh = if block == 3 { of_gate(o) * phi } else { o * of_state(phi) * dc };
                    effects.of_sums[[row, block * units + unit]] =
                        (dh.abs() * shown).max(dc.abs() / truth.c.bound[[row, unit]]);
                }
                effects.outputs[[row, unit]] = o * phi;
            }
        }
        effects
    }
}

/// The slope of a function where its value is `value`.
fn slope(function: Activation, value: f64) -> f64 {
    let inside = |top: f64, slope: f64| if value > 0.0 && value < top { slope } else { 0.0 };
    match function {
        Activation::Tanh => 1.0 - value * value,
        Activation::Sigmoid => value * (1.0 - value),
        Activation::HardSigmoidKeras2 => inside(1.0, 0.2),
        Activation::HardSigmoidKeras3 => inside(1.0, 1.0 / 6.0),
        Activation::Relu => inside(f64::INFINITY, 1.0),
        Activation::Relu6 => inside(6.0, 1.0),
        Activation::Elu => 1.0 + value.min(0.0),
        Activation::Softplus => 1.0 - (-value).exp(),
        Activation::Softsign => (1.0 - value.abs()).powi(2),
        Activation::Linear => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::{ActivationBudget, Bounded, Prepared};
    use crate::sensitivity::tests::{cell, points};
    use ndarray::{Array1, array};

    #[test]
    fn slopes_are_those_of_the_functions() {
        for function in Activation::ALL {
            for z in [-8.0, -2.4, -1.0, -0.3, 0.4, 1.1, 2.9, 5.0, 7.0] {
                let at = |z| oracle::activation(function, z);
                let expected = (at(z + 1e-6) - at(z - 1e-6)) / 2e-6;
                let found = slope(function, at(z));
                assert!((found - expected).abs() < 1e-8, "{function} at {z}: {found}, by differences {expected}");
            }
        }
    }

    /// Each weight is really changed a little, and the effect measured against the bound.
    #[test]
    fn the_smallest_change_is_what_changing_each_weight_shows() {
        let budget = ActivationBudget::new(|_| 4.0);
        let projection = array![[1.0f32, 0.0, -0.5], [0.25, 2.0, 0.0]];
        for (activation, recurrent_activation, projection) in [
            (Activation::Tanh, Activation::Sigmoid, None),
            (Activation::Linear, Activation::HardSigmoidKeras2, None),
            (Activation::Softsign, Activation::Sigmoid, None),
            (Activation::Tanh, Activation::Sigmoid, Some(projection)),
        ] {
            let mut plain = Tf1Cell { activation, recurrent_activation, forget_bias: 0.75, ..cell(2, 2, 5) };
            plain.bias = Array1::from_iter((0..8).map(|k| 0.35 - 0.1 * k as f32));
            plain.kernel[[1, 3]] = 0.0;
            // One bias of the Keras form is zero: what the checkpoint holds and the forget bias cancel.
            plain.bias[5] = -0.75;
            let right = convert::to_keras(&plain).unwrap();
            assert_eq!(right.bias.iter().filter(|b| **b == 0.0).count(), 1);
            let mut points = points((0..20).map(|t| (0, t)).collect(), 2);
            points.x.column_mut(0).fill(0.0);
            // h and c of a plain cell, and h again where it is projected.
            let step = |cell: &Tf1Cell, p: Option<&Array2<f32>>| {
                let truth = points.truth(&Prepared::new(cell, &budget));
                let h = p.map_or(truth.h.value.clone(), |p| truth.h.value.dot(&p.mapv(f64::from)));
                (h, truth.c.value)
            };
            let mut truth = points.truth(&Prepared::new(&plain, &budget));
            if let Some(p) = &projection {
                // Any bound will do, as long as every output has its own.
                let h = truth.h.value.dot(&p.mapv(f64::from));
                let bound = Array2::from_shape_fn(h.dim(), |(row, k)| 1e-7 * (1 + k + row % 3) as f64);
                truth.h = Bounded { value: h, worst: bound.clone(), bound };
            }
            let by = 1e-3f32;
            let mut changes = vec![];
            let mut invisible = 0;
            let mut weigh = |weight: f32, moved: &dyn Fn(f32) -> (Array2<f64>, Array2<f64>)| {
                if weight == 0.0 {
                    return;
                }
                let (more, less) = (moved(by), moved(-by));
                let share = |a: &Array2<f64>, b: &Array2<f64>, bound: &Array2<f64>| {
                    ((a - b).mapv_into(f64::abs) / bound).fold(0.0, |m: f64, v| m.max(*v))
                };
                let largest = share(&more.0, &less.0, &truth.h.bound).max(share(&more.1, &less.1, &truth.c.bound));
                let change = 1.0 / (largest / (2.0 * f64::from(by)) * f64::from(weight).abs());
                if change <= 1.0 { changes.push(change) } else { invisible += 1 }
            };
            for (at, weight) in plain.kernel.indexed_iter() {
                weigh(*weight, &|by| {
                    let mut wrong = plain.clone();
                    wrong.kernel[at] += by;
                    step(&wrong, projection.as_ref())
                });
            }
            for (at, weight) in gate_order::reorder(right.bias.view(), gate_order::KERAS, TF1).iter().enumerate() {
                weigh(*weight, &|by| {
                    let mut wrong = plain.clone();
                    wrong.bias[at] += by;
                    step(&wrong, projection.as_ref())
                });
            }
            for (at, weight) in projection.iter().flat_map(|p| p.indexed_iter()) {
                weigh(*weight, &|by| {
                    let mut wrong = projection.clone().unwrap();
                    wrong[at] += by;
                    step(&plain, Some(&wrong))
                });
            }
            changes.sort_by(f64::total_cmp);
            let found = of_both(&plain, projection.as_ref(), &points, &truth);
            let weights = 31 + 7 + projection.as_ref().map_or(0, |_| 4);
            assert_eq!((found.weights, found.invisible), (weights, invisible), "{activation}");
            assert!(invisible >= 8, "nothing is fed to the first row");
            let last = changes.len() - 1;
            let at = |share: f64| changes[(last as f64 * share).round() as usize];
            for (found, expected) in [(found.min, at(0.0)), (found.median, at(0.5)), (found.p95, at(0.95))] {
                assert!((found / expected - 1.0).abs() < 1e-3, "{activation}: {found:e} for {expected:e}");
            }
        }
    }
}
