//! Local error: one step of a lane from the oracle's state, so that errors do not accumulate.
//!
//! With all states known, all steps of all sequences are one batch of one-step sequences.

use std::ops::Range;

use lstm::gate_order::{self, TF1};
use lstm::oracle::Truth;
use lstm::{Batch, CellTrace, Direction, Network, Place as CellPlace, State, Trace};
use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use crate::bound::{LocalTruth, Prepared};
use crate::divergence::{PerQuantity, Place, Quantity};
use crate::lane::{self, Lane, LaneError};
use crate::local_error::LocalError;

/// The step whose state a cell reading in this direction meets at step `t`; `None` where it meets the initial state.
pub(crate) fn step_before(direction: Direction, batch: &Batch, sequence: usize, t: usize) -> Option<usize> {
    match direction {
        Direction::Forward => t.checked_sub(1),
        Direction::Backward => Some(t + 1).filter(|t| *t < batch.timesteps() && batch.is_valid(sequence, *t)),
    }
}

/// The points at which a cell is tried: valid steps of the sequences, from the oracle's state.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    /// Sequence and step of each row.
    pub(crate) rows: Vec<(usize, usize)>,
    /// Inputs, `[rows, input]`.
    pub(crate) x: Array2<f32>,
    /// Outputs of the step before that are fed back, `[rows, recurrent]`.
    pub(crate) h: Array2<f32>,
    /// Cell states of the step before, `[rows, units]`.
    pub(crate) c: Array2<f32>,
}

impl Points {
    /// Every valid step of the cell with this index.
    pub(crate) fn new(cell: usize, place: CellPlace, truth: &Truth, batch: &Batch) -> Points {
        let trace = &truth.trace.cells[cell];
        let input = &truth.inputs[cell];
        let start = &batch.initial[cell];
        let (sequences, timesteps, _) = input.dim();
        let mut rows = vec![];
        for sequence in 0..sequences {
            rows.extend((0..timesteps).filter(|t| batch.is_valid(sequence, *t)).map(|t| (sequence, t)));
        }
        let before = |sequence, t| step_before(place.direction, batch, sequence, t);
        let state = |values: &Array3<f64>, initial: &Array2<f32>| {
            Array2::from_shape_fn((rows.len(), initial.ncols()), |(row, unit)| {
                let (sequence, t) = rows[row];
                before(sequence, t).map_or(initial[[sequence, unit]], |t| values[[sequence, t, unit]] as f32)
            })
        };
        Points {
            x: Array2::from_shape_fn((rows.len(), input.dim().2), |(row, d)| {
                input[[rows[row].0, rows[row].1, d]] as f32
            }),
            h: state(&trace.h, &start.h),
            c: state(&trace.c, &start.c),
            rows,
        }
    }

    /// Some of the points.
    pub(crate) fn select(&self, rows: &[usize]) -> Points {
        let pick = |a: &Array2<f32>| a.select(Axis(0), rows);
        Points {
            rows: rows.iter().map(|r| self.rows[*r]).collect(),
            x: pick(&self.x),
            h: pick(&self.h),
            c: pick(&self.c),
        }
    }

    fn batch(&self) -> Batch {
        Batch {
            x: self.x.clone().insert_axis(Axis(1)),
            lengths: None,
            initial: vec![State { h: self.h.clone(), c: self.c.clone() }],
            record_gates: true,
        }
    }

    /// The truth and its bound at every point: of a cell as it is, or of its unprojected form at points that hold the
    /// output of the units.
    pub(crate) fn truth(&self, step: &Prepared<'_>) -> LocalTruth {
        self.truth_of(0..self.rows.len(), step)
    }

    /// The truth of some of the points.
    pub(crate) fn truth_of(&self, points: Range<usize>, step: &Prepared<'_>) -> LocalTruth {
        step.local(self.views(points))
    }

    fn views(&self, points: Range<usize>) -> [ArrayView2<'_, f32>; 3] {
        [&self.x, &self.h, &self.c].map(|a| a.slice(s![points.clone(), ..]))
    }

    /// What a lane computes at every point: `[rows, 1, …]`.
    ///
    /// # Errors
    /// If the lane fails.
    pub(crate) fn run<C: Clone>(&self, lane: &dyn Lane<C>, cell: &C) -> Result<Trace<f32>, LaneError> {
        lane::run(lane, &Network::Cell(cell.clone()), &self.batch())
    }

    /// Whether a lane's result has what these points call for: `width` units, and an output as wide as h.
    pub(crate) fn fits(&self, trace: &Trace<f32>, [hidden, units]: [usize; 2]) -> bool {
        let [found] = &trace.cells[..] else { return false };
        let Some(gates) = &found.gates else { return false };
        [(&found.h, hidden), (&found.c, units), (gates, 4 * units)]
            .iter()
            .all(|(found, width)| found.shape() == [self.rows.len(), 1, *width])
    }

    /// Judges a lane's result against the truth, per step. `None` if anything is missing or misshapen.
    pub(crate) fn judge(
        &self,
        truth: &LocalTruth,
        trace: &Trace<f32>,
        timesteps: usize,
    ) -> Option<Vec<PerQuantity<LocalError>>> {
        let widths = [truth.h.value.ncols(), truth.c.value.ncols()];
        let whole = truth.h.value.nrows() == self.rows.len() && self.fits(trace, widths);
        let mut steps = vec![PerQuantity::default(); timesteps];
        whole.then(|| self.judge_from(0, truth, trace, &mut steps))?;
        Some(steps)
    }

    /// Judges the points from `first` on for which there is a truth, and adds what it finds to their steps. The trace
    /// [fits](Self::fits).
    pub(crate) fn judge_from(
        &self,
        first: usize,
        truth: &LocalTruth,
        trace: &Trace<f32>,
        steps: &mut [PerQuantity<LocalError>],
    ) {
        let [CellTrace { h, c, gates: Some(gates) }] = &trace.cells[..] else { return };
        let units = truth.c.value.ncols();
        for (which, quantity) in Quantity::ALL.into_iter().enumerate() {
            let (truth, found, from, width) = match quantity {
                Quantity::Hidden => (&truth.h, h, 0, truth.h.value.ncols()),
                Quantity::Cell => (&truth.c, c, 0, units),
                Quantity::Gate(gate) => (&truth.gates, gates, gate_order::position(TF1, gate) * units, units),
            };
            for (row, &(sequence, t)) in self.rows[first..].iter().take(truth.value.nrows()).enumerate() {
                let whole = "rows lie in one piece";
                let columns = s![row, from..from + width];
                let [values, bound, worst] = [&truth.value, &truth.bound, &truth.worst]
                    .map(|values| values.slice(columns).to_slice().expect(whole));
                let found = found.slice(s![first + row, 0, from..from + width]).to_slice().expect(whole);
                let place = |unit, expected, found| Place { quantity, sequence, unit, expected, found };
                steps[t].0[which].add_row(values, [bound, worst], found, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::{ActivationBudget, Bounded};
    use lstm::{Tf1Cell, oracle};
    use ndarray::array;

    /// Two units, one input; the second sequence ends after two of three steps.
    fn case(direction: Direction) -> (Points, Tf1Cell, Truth, Batch) {
        let kernel = Array2::from_shape_fn((3, 8), |(r, c)| (r * 8 + c) as f32 / 24.0 - 0.4);
        let cell = Tf1Cell::new(kernel, ndarray::Array1::zeros(8)).unwrap();
        let other = Network::Cell(cell.clone());
        let network = Network::side_by_side(other.clone(), other);
        let start = State { h: array![[0.1, 0.2], [0.3, 0.4]], c: array![[0.5, 0.6], [0.7, 0.8]] };
        let batch = Batch {
            x: Array3::from_shape_fn((2, 3, 1), |(n, t, _)| (n * 3 + t) as f32 / 4.0),
            lengths: Some(vec![3, 2]),
            initial: vec![start.clone(), start],
            record_gates: true,
        };
        let truth = oracle::run(&network, &batch);
        let index = usize::from(direction == Direction::Backward);
        let points = Points::new(index, CellPlace { layer: 0, direction }, &truth, &batch);
        (points, cell, truth, batch)
    }

    #[test]
    fn a_cell_reading_backwards_starts_at_the_last_valid_step() {
        let (.., ragged) = case(Direction::Backward);
        let whole = Batch { lengths: None, ..ragged.clone() };
        let before = |batch: &Batch, sequence| [0, 1, 2].map(|t| step_before(Direction::Backward, batch, sequence, t));
        assert_eq!(before(&whole, 1), [Some(1), Some(2), None]);
        assert_eq!(before(&ragged, 1), [Some(1), None, None]);
    }

    #[test]
    fn every_valid_step_starts_from_the_step_before_in_the_cells_own_order() {
        for (direction, index) in [(Direction::Forward, 0), (Direction::Backward, 1)] {
            let (points, _, truth, batch) = case(direction);
            assert_eq!(points.rows, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
            let before = match direction {
                Direction::Forward => [None, Some(0), Some(1), None, Some(0)],
                Direction::Backward => [Some(1), Some(2), None, Some(1), None],
            };
            for (row, (&(sequence, t), before)) in points.rows.iter().zip(before).enumerate() {
                assert_eq!(points.x[[row, 0]], batch.x[[sequence, t, 0]]);
                for unit in 0..2 {
                    let state = |values: &Array3<f64>, initial: &Array2<f32>| {
                        before.map_or(initial[[sequence, unit]], |t| values[[sequence, t, unit]] as f32)
                    };
                    let (trace, start) = (&truth.trace.cells[index], &batch.initial[index]);
                    assert_eq!(points.h[[row, unit]], state(&trace.h, &start.h), "{direction} row {row}");
                    assert_eq!(points.c[[row, unit]], state(&trace.c, &start.c), "{direction} row {row}");
                }
            }
            let few = points.select(&[3, 1]);
            assert_eq!(few.rows, [(1, 0), (0, 1)]);
            assert_eq!((few.x.row(0), few.h.row(1), few.c.row(0)), (points.x.row(3), points.h.row(1), points.c.row(3)));
        }
    }

    /// What a lane would return that is right to the last bit of f32.
    fn right(truth: &LocalTruth) -> Trace<f32> {
        let of = |b: &Bounded| b.value.mapv(|v| v as f32).insert_axis(Axis(1));
        let cell = lstm::CellTrace { h: of(&truth.h), c: of(&truth.c), gates: Some(of(&truth.gates)) };
        Trace { output: cell.h.clone(), cells: vec![cell] }
    }

    #[test]
    fn each_element_is_judged_at_its_step_in_its_quantity() {
        let (points, cell, ..) = case(Direction::Forward);
        let truth = points.truth(&Prepared::new(&cell, &ActivationBudget::new(|_| 4.0)));
        let steps = points.judge(&truth, &right(&truth), 3).unwrap();
        assert_eq!(steps.iter().map(|s| s.0.map(|e| e.count)).collect::<Vec<_>>(), [[4; 6], [4; 6], [2; 6]]);
        assert!(steps.iter().all(|s| s.within() && s.0.iter().all(|e| e.ratio > 0.0)));
        for (row, &(sequence, t)) in points.rows.iter().enumerate() {
            for (which, quantity) in Quantity::ALL.into_iter().enumerate() {
                for unit in 0..2 {
                    let mut trace = right(&truth);
                    let found = &mut trace.cells[0];
                    match which {
                        0 => found.h[[row, 0, unit]] += 1e-3,
                        1 => found.c[[row, 0, unit]] += 1e-3,
                        gate => found.gates.as_mut().unwrap()[[row, 0, (gate - 2) * 2 + unit]] += 1e-3,
                    }
                    let steps = points.judge(&truth, &trace, 3).unwrap();
                    let bad: Vec<_> = (0..3)
                        .flat_map(|t| steps[t].iter().filter(|(_, e)| !e.within()).map(move |(q, e)| (t, q, *e)))
                        .collect();
                    let [(found_t, found_quantity, error)] = bad[..] else { panic!("{bad:?}") };
                    let at = error.at.unwrap();
                    assert_eq!((found_t, found_quantity), (t, quantity));
                    assert_eq!((at.quantity, at.sequence, at.unit), (quantity, sequence, unit));
                    assert!((at.found - at.expected - 1e-3).abs() < 1e-6 && (error.max_abs - 1e-3).abs() < 1e-6);
                    let bounds = [&truth.h, &truth.c, &truth.gates][which.min(2)];
                    let column = unit + which.saturating_sub(2) * 2;
                    assert_eq!(error.bound, bounds.bound[[row, column]]);
                    assert_eq!(error.ratio / error.worst_case_ratio > 1.0, bounds.worst[[row, column]] > error.bound);
                }
            }
        }
    }

    #[test]
    fn missing_or_misshapen_results_are_not_judged() {
        let (points, cell, ..) = case(Direction::Forward);
        let truth = points.truth(&Prepared::new(&cell, &ActivationBudget::new(|_| 4.0)));
        let refused = |change: fn(&mut Trace<f32>)| {
            let mut trace = right(&truth);
            change(&mut trace);
            points.judge(&truth, &trace, 3).is_none()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|t| t.cells.clear()));
        assert!(refused(|t| t.cells.push(t.cells[0].clone())));
        assert!(refused(|t| t.cells[0].gates = None));
        assert!(refused(|t| t.cells[0].h = Array3::zeros((5, 1, 3))));
        assert!(refused(|t| t.cells[0].c = Array3::zeros((5, 2, 2))));
        assert!(refused(|t| t.cells[0].gates = Some(Array3::zeros((4, 1, 8)))));
    }
}
