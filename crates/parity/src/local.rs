//! Local error: one step of a lane from the oracle's state, so that errors do not accumulate.
//!
//! With all states known, all steps of all sequences are one batch of one-step sequences.

use lstm::oracle::Truth;
use lstm::{Batch, Direction, Network, Place as CellPlace, State, Tf1Cell, Trace};
use ndarray::{Array2, Array3, Axis};

use crate::bound::{self, ActivationBudget, LocalTruth};
use crate::divergence::{Place, StateKind};
use crate::lane::{Lane, LaneError};

/// Local error of one lane at one step, over all sequences and units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LocalError {
    /// Largest |Δ| from the truth.
    pub max_abs: f64,
    /// Largest |Δ| as a share of its bound: at most 1 for a right lane, but for a chance below 1e-7 per element.
    pub ratio: f64,
    /// The bound where the ratio is largest.
    pub bound: f64,
    /// Largest |Δ| as a share of the bound that no rounding can exceed.
    pub worst_case_ratio: f64,
    /// Elements compared.
    pub count: u64,
    /// Elements that were NaN or infinite.
    pub non_finite: u64,
    /// Where the ratio is largest.
    pub at: Option<Place>,
}

/// The points at which a cell is tried: every valid step of every sequence, from the oracle's state.
pub(crate) struct Points {
    /// Sequence and step of each row.
    pub(crate) rows: Vec<(usize, usize)>,
    x: Array2<f32>,
    h: Array2<f32>,
    c: Array2<f32>,
}

impl Points {
    /// Collects the points of the cell with this index.
    pub(crate) fn new(cell: usize, place: CellPlace, truth: &Truth, batch: &Batch) -> Points {
        let trace = &truth.trace.cells[cell];
        let input = &truth.inputs[cell];
        let start = &batch.initial[cell];
        let (sequences, timesteps, _) = input.dim();
        let mut rows = vec![];
        for sequence in 0..sequences {
            rows.extend((0..timesteps).filter(|t| batch.is_valid(sequence, *t)).map(|t| (sequence, t)));
        }
        let before = |sequence: usize, t: usize| match place.direction {
            Direction::Forward => t.checked_sub(1),
            Direction::Backward => Some(t + 1).filter(|t| *t < timesteps && batch.is_valid(sequence, *t)),
        };
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

    fn batch(&self) -> Batch {
        Batch {
            x: self.x.clone().insert_axis(Axis(1)),
            lengths: None,
            initial: vec![State { h: self.h.clone(), c: self.c.clone() }],
        }
    }

    /// The truth and its bound at every point.
    pub(crate) fn truth(&self, cell: &Tf1Cell, budget: ActivationBudget) -> LocalTruth {
        bound::local(cell, self.x.view(), self.h.view(), self.c.view(), budget)
    }

    /// What a lane computes at every point: `[rows, 1, …]`.
    ///
    /// # Errors
    /// If the lane fails.
    pub(crate) fn run<C: Clone>(&self, lane: &dyn Lane<C>, cell: &C) -> Result<Trace<f32>, LaneError> {
        lane.run(&Network::Cell(cell.clone()), &self.batch())
    }

    /// Judges a lane's result against the truth, per step. `None` if the result is missing or misshapen.
    pub(crate) fn judge(&self, truth: &LocalTruth, trace: &Trace<f32>, timesteps: usize) -> Option<Vec<LocalError>> {
        let [found] = &trace.cells[..] else { return None };
        let expected = |a: &Array2<f64>| [self.rows.len(), 1, a.ncols()];
        if found.h.shape() != expected(&truth.h) || found.c.shape() != expected(&truth.c) {
            return None;
        }
        let mut steps = vec![LocalError::default(); timesteps];
        let states = [
            (StateKind::Hidden, &found.h, &truth.h, &truth.h_bound, &truth.h_worst),
            (StateKind::Cell, &found.c, &truth.c, &truth.c_bound, &truth.c_worst),
        ];
        for (state, found, truth, bounds, worst) in states {
            for (row, &(sequence, t)) in self.rows.iter().enumerate() {
                for unit in 0..truth.ncols() {
                    let (expected, value) = (truth[[row, unit]], f64::from(found[[row, 0, unit]]));
                    let place = Place { state, sequence, unit, expected, found: value };
                    steps[t].add(place, bounds[[row, unit]], worst[[row, unit]]);
                }
            }
        }
        Some(steps)
    }
}

impl LocalError {
    fn add(&mut self, place: Place, bound: f64, worst: f64) {
        self.count += 1;
        let delta = (place.expected - place.found).abs();
        if !delta.is_finite() {
            if self.non_finite == 0 {
                self.at = Some(place);
            }
            self.non_finite += 1;
            return;
        }
        self.max_abs = self.max_abs.max(delta);
        // The smallest normal number stands for what a device that flushes subnormals may lose.
        let floor = f64::from(f32::MIN_POSITIVE);
        let ratio = delta / (bound + floor);
        if ratio > self.ratio || self.at.is_none() {
            self.ratio = ratio;
            self.bound = bound;
            if self.non_finite == 0 {
                self.at = Some(place);
            }
        }
        self.worst_case_ratio = self.worst_case_ratio.max(delta / (worst + floor));
    }

    /// Within the bound at every element, and at least one compared. False for NaN.
    pub fn within(&self) -> bool {
        self.count > 0 && self.non_finite == 0 && self.ratio <= 1.0
    }
}
