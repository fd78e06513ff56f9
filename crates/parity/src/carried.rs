//! Carried error: each lane runs freely on its own state, as users will see it, judged against the noise floor of right
//! f32 runs.

use lstm::gate_order::{self, TF1};
use lstm::{Batch, CellTrace, Direction, Network, Tf1Cell, Trace};
use ndarray::{ArrayView3, Axis, s};

use crate::divergence::{Divergence, PerQuantity, Place, Quantity, ulp_at};
use crate::lane::LaneError;

/// The Keras lane may be this many times further from the oracle than the farthest right run was so far.
pub const CARRIED_FACTOR: f64 = 16.0;
/// On top of that, this many ULP of the largest magnitude at the step.
pub const CARRIED_ULP: f64 = 4.0;
/// Where right runs are apart by this share of the largest magnitude, running freely says nothing any more.
pub const SATURATION: f64 = 0.05;

/// One step of one cell, all sequences and units together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CarriedStep {
    /// Between the lanes.
    pub lanes: PerQuantity<Divergence>,
    /// TF1 lane from the oracle: largest |Δ|, NaN if anything is.
    pub tf1_from_oracle: PerQuantity<f64>,
    /// Keras lane from the oracle.
    pub keras_from_oracle: PerQuantity<f64>,
    /// The farthest right run so far: how far f32 runs of this network drift apart by this step.
    pub noise_floor: f64,
    /// How far h and c of the Keras lane may be from the oracle.
    pub allowed: f64,
    /// Right runs are so far apart here that the comparison says nothing.
    pub saturated: bool,
}

impl CarriedStep {
    /// h and c of both lanes together.
    pub fn states(&self) -> Divergence {
        let [h, c] = self.lanes.states() else { return Divergence::default() };
        h.merge(c)
    }

    /// The Keras lane is as near to the oracle as it must be. False for NaN, and for nothing compared.
    pub fn keras_within(&self) -> bool {
        let states = self.states();
        states.count > 0 && states.non_finite == 0 && self.keras_from_oracle.states().iter().all(|d| *d <= self.allowed)
    }

    /// The TF1 lane is.
    pub fn tf1_within(&self) -> bool {
        self.tf1_from_oracle.states().iter().all(|d| *d <= self.allowed)
    }
}

/// Accepts a trace only with every cell in its right shape, gates included.
pub(crate) fn check_trace(
    trace: Result<Trace<f32>, LaneError>,
    network: &Network<Tf1Cell>,
    batch: &Batch,
) -> Result<Trace<f32>, String> {
    let trace = trace.map_err(|e| e.to_string())?;
    let cells = network.cells();
    if trace.cells.len() != cells.len() {
        return Err(format!("{} cells in the output: expected {}", trace.cells.len(), cells.len()));
    }
    for (index, (found, cell)) in trace.cells.iter().zip(cells).enumerate() {
        let Some(gates) = &found.gates else { return Err(format!("no gates of cell {index}")) };
        let widths = [cell.recurrent_size(), cell.units(), 4 * cell.units()];
        for ((name, found), width) in [("h", &found.h), ("c", &found.c), ("gates", gates)].into_iter().zip(widths) {
            let expected = [batch.sequences(), batch.timesteps(), width];
            if found.shape() != expected {
                return Err(format!("{name} of cell {index} is {:?}: expected {expected:?}", found.shape()));
            }
        }
    }
    Ok(trace)
}

/// Compares the free runs of one cell step by step. `floor` is the noise floor of each step; the traces have passed
/// [`check_trace`].
pub(crate) fn compare(
    truth: &CellTrace<f64>,
    tf1: &CellTrace<f32>,
    keras: &CellTrace<f32>,
    floor: &[f64],
    batch: &Batch,
    direction: Direction,
) -> Vec<CarriedStep> {
    let timesteps = batch.timesteps();
    let mut steps = vec![CarriedStep::default(); timesteps];
    let mut so_far = 0.0f64;
    for position in 0..timesteps {
        // "So far" means in the order the cell reads.
        let t = match direction {
            Direction::Forward => position,
            Direction::Backward => timesteps - 1 - position,
        };
        let step = &mut steps[t];
        let mut magnitude = 0.0f64;
        for (which, quantity) in Quantity::ALL.into_iter().enumerate() {
            let (truth, tf1, keras) = (block(truth, quantity), block(tf1, quantity), block(keras, quantity));
            for sequence in (0..batch.sequences()).filter(|n| batch.is_valid(*n, t)) {
                let row = |a: &ArrayView3<f32>| a.slice(s![sequence, t, ..]).to_vec();
                let exact = truth.slice(s![sequence, t, ..]);
                for (unit, ((exact, a), b)) in exact.iter().zip(row(&tf1)).zip(row(&keras)).enumerate() {
                    let (a, b) = (f64::from(a), f64::from(b));
                    step.lanes.0[which].add(Place { quantity, sequence, unit, expected: a, found: b });
                    let from_oracle =
                        |largest: &mut f64, value: f64| *largest = larger(*largest, (value - exact).abs());
                    from_oracle(&mut step.tf1_from_oracle.0[which], a);
                    from_oracle(&mut step.keras_from_oracle.0[which], b);
                    if quantity.is_state() {
                        magnitude = magnitude.max(exact.abs());
                    }
                }
            }
        }
        so_far = larger(so_far, floor.get(t).copied().unwrap_or(f64::NAN));
        step.noise_floor = so_far;
        step.allowed = CARRIED_FACTOR * so_far + CARRIED_ULP * ulp_at(magnitude);
        step.saturated = so_far >= SATURATION * magnitude;
    }
    steps
}

/// The part of a trace that holds one quantity, `[sequences, timesteps, units]`.
fn block<T>(trace: &CellTrace<T>, quantity: Quantity) -> ArrayView3<'_, T> {
    match (quantity, &trace.gates) {
        (Quantity::Hidden, _) => trace.h.view(),
        (Quantity::Cell, _) => trace.c.view(),
        (Quantity::Gate(gate), Some(gates)) => {
            let units = gates.len_of(Axis(2)) / 4;
            let first = gate_order::position(TF1, gate) * units;
            gates.slice(s![.., .., first..first + units])
        }
        // Refused by `check_trace`; an empty view compares nothing, which never passes.
        (Quantity::Gate(_), None) => trace.h.slice(s![.., .., 0..0]),
    }
}

/// The larger of two, NaN if either is: `f64::max` would drop it.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// How far one sequence run alone is from the same sequence inside the batch, at each step: largest |Δ| of h and c.
/// `None` if the shapes do not allow the comparison.
pub(crate) fn apart_from_alone(inside: &CellTrace<f32>, alone: &CellTrace<f32>, sequence: usize) -> Option<Vec<f64>> {
    let timesteps = inside.h.dim().1;
    let mut largest = vec![0.0; timesteps];
    for (inside, alone) in [(&inside.h, &alone.h), (&inside.c, &alone.c)] {
        if alone.dim() != (1, timesteps, inside.dim().2) {
            return None;
        }
        for (t, largest) in largest.iter_mut().enumerate() {
            for (a, b) in inside.slice(s![sequence, t, ..]).iter().zip(alone.slice(s![0, t, ..])) {
                // NaN in both is judged where NaN is: it does not depend on the batch.
                if !(a.is_nan() && b.is_nan()) {
                    *largest = larger(*largest, (f64::from(*a) - f64::from(*b)).abs());
                }
            }
        }
    }
    Some(largest)
}
