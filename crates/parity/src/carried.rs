//! Carried error: each lane runs freely on its own state, as users will see it, judged against the noise floor of right
//! f32 runs.

use lstm::gate_order::{self, TF1};
use lstm::{Batch, CellTrace, Direction, Network, Tf1Cell, Trace};
use ndarray::{ArrayView3, Axis, s};

use crate::divergence::{Divergence, PerQuantity, Place, Quantity, ulp_at};
use crate::lane::LaneError;
use crate::rows::largest;

/// The Keras lane may be this many times further from the oracle than the farthest right run was so far, where errors
/// have not grown.
pub const CARRIED_FACTOR: f64 = 32.0;
/// Errors have grown where right runs are apart by more than this share of the largest magnitude, 16 times the unit
/// roundoff of f32.
pub const GROWN: f64 = 1.0 / (1u64 << 20) as f64;
/// On top of that, this many ULP of the largest magnitude at the step.
pub const CARRIED_ULP: f64 = 4.0;
/// From where right runs are apart by this share of the largest magnitude, running freely says nothing any more: rounding
/// errors have grown ten-thousandfold, and how fast they did is a matter of chance.
pub const SATURATION: f64 = 0.001;

/// How far a right run may be from the oracle where the farthest run of the ensemble is `floor` away and `largest` is
/// the largest magnitude. Growing errors are multiplied at every step, so that chance spreads right runs the wider the
/// longer they grow: the factor rises as the square root of what they have grown by.
pub(crate) fn allowance(floor: f64, largest: f64) -> f64 {
    let grown = if largest > 0.0 { (floor / (GROWN * largest)).max(1.0) } else { 1.0 };
    CARRIED_FACTOR * floor * grown.sqrt()
}

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
    /// The oracle's value where h or c of the lanes are furthest apart.
    pub truth_there: f64,
}

impl CarriedStep {
    /// h and c of both lanes together.
    pub fn states(&self) -> Divergence {
        let [h, c] = self.lanes.states() else { return Divergence::default() };
        h.merge(c)
    }

    /// The Keras lane is as near to the oracle as it must be; anywhere finite where right runs are anywhere. False for
    /// NaN, and for nothing compared.
    pub fn keras_within(&self) -> bool {
        let states = self.states();
        states.count > 0 && states.non_finite == 0 && self.near(&self.keras_from_oracle)
    }

    /// The TF1 lane is.
    pub fn tf1_within(&self) -> bool {
        self.near(&self.tf1_from_oracle)
    }

    fn near(&self, from_oracle: &PerQuantity<f64>) -> bool {
        let limit = if self.saturated { f64::MAX } else { self.allowed };
        from_oracle.states().iter().all(|distance| *distance <= limit)
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
    let of_a_thread = timesteps.div_ceil(std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let measure = |first: usize| {
        let some = first..timesteps.min(first + of_a_thread);
        some.map(|t| apart(truth, tf1, keras, batch, t)).collect::<Vec<_>>()
    };
    // What is apart at a step depends on no other step; what is allowed there does.
    let measured: Vec<(CarriedStep, f64)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..timesteps).step_by(of_a_thread).map(|first| scope.spawn(move || measure(first))).collect();
        threads.into_iter().flat_map(|t| t.join().expect("measuring does not panic")).collect()
    });
    let (mut steps, magnitudes): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    let mut so_far = 0.0f64;
    let mut saturated = false;
    let mut largest = 0.0f64;
    for position in 0..timesteps {
        // "So far" means in the order the cell reads.
        let t = match direction {
            Direction::Forward => position,
            Direction::Backward => timesteps - 1 - position,
        };
        let (step, magnitude) = (&mut steps[t], magnitudes[t]);
        so_far = larger(so_far, floor.get(t).copied().unwrap_or(f64::NAN));
        step.noise_floor = so_far;
        // Measured by the largest value so far, so that a step at which all is zero, or no sequence is valid, counts
        // neither as grown nor as lost.
        largest = largest.max(magnitude);
        step.allowed = allowance(so_far, largest) + CARRIED_ULP * ulp_at(magnitude);
        // For good: what has once been lost to chance does not come back.
        saturated |= largest > 0.0 && so_far >= SATURATION * largest;
        step.saturated = saturated;
    }
    steps
}

/// How far the lanes are apart at a step, and from the oracle, and the largest magnitude of the true states there.
fn apart(
    truth: &CellTrace<f64>,
    tf1: &CellTrace<f32>,
    keras: &CellTrace<f32>,
    batch: &Batch,
    t: usize,
) -> (CarriedStep, f64) {
    let mut step = CarriedStep::default();
    let mut magnitude = 0.0f64;
    let mut furthest = f64::NEG_INFINITY;
    for (which, quantity) in Quantity::ALL.into_iter().enumerate() {
        let (truth, tf1, keras) = (block(truth, quantity), block(tf1, quantity), block(keras, quantity));
        for sequence in (0..batch.sequences()).filter(|n| batch.is_valid(*n, t)) {
            let row = s![sequence, t, ..];
            let whole = "rows lie in one piece";
            let [tf1, keras] = [&tf1, &keras].map(|lane| lane.slice(row).to_slice().expect(whole));
            let exact = truth.slice(row).to_slice().expect(whole);
            let place = |unit, a, b| Place { quantity, sequence, unit, expected: f64::from(a), found: f64::from(b) };
            step.lanes.0[which].add_row(tf1, keras, place);
            let distances = exact.iter().zip(tf1.iter().zip(keras)).map(
                #[inline(always)]
                |(exact, (a, b))| [f64::from(*a) - exact, f64::from(*b) - exact, *exact],
            );
            let [of_tf1, of_keras, size] = largest(distances);
            for (furthest, distance) in [(&mut step.tf1_from_oracle, of_tf1), (&mut step.keras_from_oracle, of_keras)] {
                furthest.0[which] = larger(furthest.0[which], distance);
            }
            if quantity.is_state() {
                magnitude = magnitude.max(size);
                for ((exact, a), b) in exact.iter().zip(tf1).zip(keras) {
                    // The same order and the same ties as in `states`.
                    let apart = (f64::from(*a) - f64::from(*b)).abs();
                    if apart > furthest {
                        furthest = apart;
                        step.truth_there = *exact;
                    }
                }
            }
        }
    }
    (step, magnitude)
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

#[cfg(test)]
mod tests {
    use super::*;
    use lstm::State;
    use ndarray::{Array1, Array2, Array3};

    fn step(allowed: f64) -> CarriedStep {
        let mut step = CarriedStep { allowed, ..CarriedStep::default() };
        let place = Place { quantity: Quantity::Cell, sequence: 0, unit: 0, expected: 0.0, found: 0.0 };
        step.lanes.0[1].add(place);
        step
    }

    #[test]
    fn what_is_allowed_is_within_and_nan_is_not() {
        assert!(!CarriedStep::default().keras_within(), "nothing was compared");
        for (distance, within) in [(0.5, true), (0.51, false), (f64::NAN, false), (f64::INFINITY, false)] {
            for which in 0..6 {
                let expected = within || which > 1;
                let mut keras = step(0.5);
                keras.keras_from_oracle.0[which] = distance;
                assert_eq!((keras.keras_within(), keras.tf1_within()), (expected, true), "{distance} of {which}");
                let mut tf1 = step(0.5);
                tf1.tf1_from_oracle.0[which] = distance;
                assert_eq!((tf1.keras_within(), tf1.tf1_within()), (true, expected), "{distance} of {which}");
            }
        }
        assert!(!step(f64::NAN).keras_within() && !step(f64::NAN).tf1_within());
        let mut spoilt = step(0.5);
        spoilt.lanes.0[0].non_finite = 1;
        assert!(!spoilt.keras_within());
        assert_eq!((spoilt.states().count, spoilt.states().non_finite), (1, 1));
    }

    #[test]
    fn the_larger_of_two_is_nan_if_either_is() {
        assert_eq!((larger(1.0, 2.0), larger(2.0, 1.0)), (2.0, 2.0));
        assert!(larger(f64::NAN, 1.0).is_nan() && larger(1.0, f64::NAN).is_nan());
    }

    #[test]
    fn the_allowance_rises_with_what_errors_have_grown_by() {
        let least = 2f64.powi(-20);
        assert_eq!(allowance(least, 1.0), 32.0 * least);
        assert_eq!(allowance(least / 4.0, 1.0), 8.0 * least, "what has not grown keeps the factor");
        assert_eq!(allowance(100.0 * least, 1.0), 32.0 * 10.0 * 100.0 * least);
        assert_eq!(allowance(100.0 * least, 100.0), 3200.0 * least, "growth is relative to the largest value");
        assert_eq!(allowance(1.0, 0.0), 32.0, "beside a truth of zeros nothing has grown");
        assert!(allowance(f64::NAN, 1.0).is_nan());
    }

    /// A trace whose values name their sequence, step and column, `scale` apart.
    fn trace(scale: f64) -> CellTrace<f64> {
        let of = |width: usize, first: usize| {
            Array3::from_shape_fn((2, 3, width), |(n, t, k)| scale * (first + 100 * n + 10 * t + k) as f64)
        };
        CellTrace { h: of(2, 1), c: of(2, 3), gates: Some(of(8, 5)) }
    }

    fn to_f32(trace: &CellTrace<f64>) -> CellTrace<f32> {
        let of = |a: &Array3<f64>| a.mapv(|v| v as f32);
        CellTrace { h: of(&trace.h), c: of(&trace.c), gates: trace.gates.as_ref().map(of) }
    }

    fn batch(lengths: Vec<usize>) -> Batch {
        let start = State { h: Array2::zeros((2, 1)), c: Array2::zeros((2, 1)) };
        Batch { x: Array3::zeros((2, 3, 1)), lengths: Some(lengths), initial: vec![start], record_gates: true }
    }

    #[test]
    fn free_runs_are_measured_step_by_step_against_the_floor_so_far() {
        let (truth, tf1, keras) = (trace(1.0), to_f32(&trace(1.5)), to_f32(&trace(0.5)));
        let floor = [0.05, 0.025, 0.1];
        for (direction, so_far) in [(Direction::Forward, [0.05, 0.05, 0.1]), (Direction::Backward, [0.1, 0.1, 0.1])] {
            let steps = compare(&truth, &tf1, &keras, &floor, &batch(vec![3, 2]), direction);
            for (t, step) in steps.iter().enumerate() {
                // The largest true value of each quantity: the second unit's, of the second sequence but for the last step.
                let largest = |column: usize| (column + 10 * t + if t < 2 { 100 } else { 0 }) as f64;
                for which in 0..6 {
                    let value = largest(2 * which + 2);
                    assert_eq!(step.lanes.0[which].max_abs, value, "{t} {which}");
                    assert_eq!(step.lanes.0[which].count, if t < 2 { 4 } else { 2 });
                    assert_eq!(step.tf1_from_oracle.0[which], value / 2.0);
                    assert_eq!(step.keras_from_oracle.0[which], value / 2.0);
                    let at = step.lanes.0[which].at.unwrap();
                    assert_eq!((at.quantity, at.sequence, at.unit), (Quantity::ALL[which], usize::from(t < 2), 1));
                    assert_eq!((at.expected, at.found), (1.5 * value, 0.5 * value));
                }
                assert_eq!(step.noise_floor, so_far[t]);
                let so_far_largest: f64 = match direction {
                    Direction::Forward => [104.0, 114.0, 114.0][t],
                    Direction::Backward => [114.0, 114.0, 24.0][t],
                };
                let grown = so_far[t] / (2f64.powi(-20) * so_far_largest);
                assert_eq!(step.allowed, 32.0 * so_far[t] * grown.sqrt() + 4.0 * ulp_at(largest(4)));
                // Read forwards, 0.1 is less than a thousandth of 114, met before; read backwards, 24 is the largest
                // value so far, and what is lost once stays lost.
                assert_eq!(step.saturated, direction == Direction::Backward);
            }
        }
        let exactly = compare(&truth, &tf1, &keras, &[0.001 * 104.0; 3], &batch(vec![3, 2]), Direction::Forward);
        assert!(exactly[0].saturated);
        let short = compare(&truth, &tf1, &keras, &floor[..1], &batch(vec![3, 2]), Direction::Forward);
        assert!(!short[0].allowed.is_nan() && short[1].allowed.is_nan(), "a missing floor allows nothing");
    }

    /// Both states, and the first of equals.
    #[test]
    fn the_truth_shown_is_where_the_lanes_are_furthest_apart() {
        let of = |h: [f64; 2], c: [f64; 2]| {
            let array = |v: [f64; 2]| Array3::from_shape_fn((2, 1, 2), |(n, _, u)| if n == 0 { v[u] } else { 0.0 });
            CellTrace { h: array(h), c: array(c), gates: Some(Array3::zeros((2, 1, 8))) }
        };
        let start = State { h: Array2::zeros((2, 2)), c: Array2::zeros((2, 2)) };
        let batch = Batch { x: Array3::zeros((2, 1, 1)), lengths: None, initial: vec![start], record_gates: true };
        let truth = of([1.0, 2.0], [3.0, 4.0]);
        for (tf1, keras, there) in [
            (([1.0, 9.0], [9.0, 9.0]), ([3.0, 9.0], [9.0, 8.0]), 1.0),
            (([1.0, 9.0], [9.0, 9.0]), ([3.0, 6.0], [9.0, 8.0]), 2.0),
            (([1.0, 9.0], [9.0, 9.0]), ([3.0, 9.0], [9.0, 6.0]), 4.0),
            (([1.0, 9.0], [9.0, 9.0]), ([3.0, 7.0], [7.0, 7.0]), 1.0),
            (([1.0, 1.0], [1.0, 1.0]), ([-1.0, 1.0], [4.0, 1.0]), 3.0),
        ] {
            let [tf1, keras] = [tf1, keras].map(|(h, c)| to_f32(&of(h, c)));
            let steps = compare(&truth, &tf1, &keras, &[1e-6], &batch, Direction::Forward);
            assert_eq!(steps[0].truth_there, there, "{tf1:?} {keras:?}");
        }
    }

    #[test]
    fn where_right_runs_are_anywhere_a_lane_may_be_anywhere_finite() {
        let (truth, far) = (trace(1.0), to_f32(&trace(1.5)));
        let judge = |floor: f64, keras: &CellTrace<f32>| {
            let steps = compare(&truth, &far, keras, &[floor; 3], &batch(vec![3, 3]), Direction::Forward);
            (steps[0].keras_within(), steps[0].tf1_within())
        };
        assert_eq!(judge(1e-5, &far), (false, false), "half of the value is too far");
        assert_eq!(judge(1e-2, &far), (false, false), "also before all is lost");
        assert_eq!(judge(10.0, &far), (true, true), "where all is lost nothing is too far");
        assert_eq!(judge(f64::NAN, &far), (false, false), "an unknown floor is no licence");
        let mut broken = far.clone();
        broken.h[[0, 0, 1]] = f32::NAN;
        assert!(!judge(10.0, &broken).0, "but NaN is");
        let mut broken = far.clone();
        broken.c[[0, 0, 1]] = f32::INFINITY;
        assert!(!judge(10.0, &broken).0);
    }

    #[test]
    fn only_whole_traces_are_accepted() {
        let mut cell = Tf1Cell::new(Array2::zeros((4, 8)), Array1::zeros(8)).unwrap();
        cell.projection = Some(Array2::zeros((2, 1)));
        let network = Network::Cell(cell);
        let with = |h: [usize; 3], c: [usize; 3], gates: [usize; 3]| {
            let found = CellTrace { h: Array3::zeros(h), c: Array3::zeros(c), gates: Some(Array3::zeros(gates)) };
            let trace = Trace { output: found.h.clone(), cells: vec![found] };
            check_trace(Ok(trace), &network, &batch(vec![3, 3])).map(|_| ())
        };
        assert_eq!(with([2, 3, 1], [2, 3, 2], [2, 3, 8]), Ok(()));
        let wrong = "gates of cell 0 is [2, 3, 4]: expected [2, 3, 8]";
        assert_eq!(with([2, 3, 1], [2, 3, 2], [2, 3, 4]), Err(wrong.to_owned()));
        assert!(with([2, 3, 2], [2, 3, 2], [2, 3, 8]).is_err());
        assert!(with([2, 3, 1], [2, 3, 1], [2, 3, 8]).is_err());
        assert!(with([1, 3, 1], [2, 3, 2], [2, 3, 8]).is_err());
    }

    #[test]
    fn a_sequence_alone_is_compared_with_its_own_place_in_the_batch() {
        let inside = to_f32(&trace(1.0));
        let mut alone = CellTrace {
            h: inside.h.slice(s![1..2, .., ..]).to_owned(),
            c: inside.c.slice(s![1..2, .., ..]).to_owned(),
            gates: None,
        };
        assert_eq!(apart_from_alone(&inside, &alone, 1), Some(vec![0.0; 3]));
        alone.h[[0, 1, 0]] += 2.0;
        alone.c[[0, 1, 0]] -= 3.0;
        alone.h[[0, 2, 0]] -= 4.0;
        assert_eq!(apart_from_alone(&inside, &alone, 1), Some(vec![0.0, 3.0, 4.0]));
        alone.c[[0, 0, 0]] = f32::NAN;
        assert!(apart_from_alone(&inside, &alone, 1).unwrap()[0].is_nan());
        let mut both = inside.clone();
        both.c[[1, 0, 0]] = f32::NAN;
        assert_eq!(apart_from_alone(&both, &alone, 1), Some(vec![0.0, 3.0, 4.0]), "it is NaN in the batch as well");
        assert_eq!(apart_from_alone(&inside, &CellTrace { c: Array3::zeros((1, 3, 3)), ..alone.clone() }, 1), None);
        assert_eq!(apart_from_alone(&inside, &CellTrace { h: Array3::zeros((1, 2, 2)), ..alone }, 1), None);
    }
}
