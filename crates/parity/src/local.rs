//! Local error: one step of a lane from the oracle's state, so that errors do not accumulate.
//!
//! With all states known, all steps of all sequences are one batch of one-step sequences.

use lstm::gate_order::{self, Gate, TF1};
use lstm::oracle::Truth;
use lstm::{Batch, Direction, Network, Place as CellPlace, State, Tf1Cell, Trace};
use ndarray::{Array2, Array3, Axis};

use crate::bound::{self, ActivationBudget, Bounded, LocalTruth};
use crate::divergence::{PerQuantity, Place, Quantity};
use crate::lane::{Lane, LaneError};

/// Local error of one lane at one step, over all sequences and units of one quantity.
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
    /// Where the ratio is largest, or the first element that was not finite.
    pub at: Option<Place>,
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

impl PerQuantity<LocalError> {
    /// Every quantity within its bound.
    pub fn within(&self) -> bool {
        self.0.iter().all(LocalError::within)
    }

    /// The quantity furthest beyond its bound: values that are not finite before any that are.
    pub fn worst(&self) -> (Quantity, &LocalError) {
        let graver = |a: &LocalError, b: &LocalError| (a.non_finite > 0, a.ratio) > (b.non_finite > 0, b.ratio);
        self.iter().reduce(|a, b| if graver(b.1, a.1) { b } else { a }).expect("there are six quantities")
    }

    /// The gate whose error is the largest share of its bound.
    pub fn worst_gate(&self) -> Gate {
        let shares = self.iter().filter_map(|(quantity, error)| match quantity {
            Quantity::Gate(gate) => Some((gate, error.ratio)),
            _ => None,
        });
        shares.reduce(|a, b| if b.1 > a.1 { b } else { a }).expect("four of the quantities are gates").0
    }
}

/// The points at which a cell is tried: valid steps of the sequences, from the oracle's state.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    /// Sequence and step of each row.
    pub(crate) rows: Vec<(usize, usize)>,
    /// Inputs, `[rows, input]`.
    pub(crate) x: Array2<f32>,
    /// Outputs of the step before, `[rows, recurrent]`.
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

    /// The truth and its bound at every point.
    pub(crate) fn truth(&self, cell: &Tf1Cell, budget: &ActivationBudget) -> LocalTruth {
        bound::local(cell, self.x.view(), self.h.view(), self.c.view(), budget)
    }

    /// What a lane computes at every point: `[rows, 1, …]`.
    ///
    /// # Errors
    /// If the lane fails.
    pub(crate) fn run<C: Clone>(&self, lane: &dyn Lane<C>, cell: &C) -> Result<Trace<f32>, LaneError> {
        lane.run(&Network::Cell(cell.clone()), &self.batch())
    }

    /// Judges a lane's result against the truth, per step. `None` if anything is missing or misshapen.
    pub(crate) fn judge(
        &self,
        truth: &LocalTruth,
        trace: &Trace<f32>,
        timesteps: usize,
    ) -> Option<Vec<PerQuantity<LocalError>>> {
        let [found] = &trace.cells[..] else { return None };
        let gates = found.gates.as_ref()?;
        let fits = |found: &Array3<f32>, truth: &Bounded| found.shape() == [self.rows.len(), 1, truth.value.ncols()];
        if !fits(&found.h, &truth.h) || !fits(&found.c, &truth.c) || !fits(gates, &truth.gates) {
            return None;
        }
        let units = truth.c.value.ncols();
        let mut steps = vec![PerQuantity::<LocalError>::default(); timesteps];
        for (which, quantity) in Quantity::ALL.into_iter().enumerate() {
            let (truth, found, first, width) = match quantity {
                Quantity::Hidden => (&truth.h, &found.h, 0, truth.h.value.ncols()),
                Quantity::Cell => (&truth.c, &found.c, 0, units),
                Quantity::Gate(gate) => (&truth.gates, gates, gate_order::position(TF1, gate) * units, units),
            };
            for (row, &(sequence, t)) in self.rows.iter().enumerate() {
                let error = &mut steps[t].0[which];
                for unit in 0..width {
                    let (at, expected) = ([row, first + unit], truth.value[[row, first + unit]]);
                    let place =
                        Place { quantity, sequence, unit, expected, found: f64::from(found[[row, 0, first + unit]]) };
                    error.add(place, truth.bound[at], truth.worst[at]);
                }
            }
        }
        Some(steps)
    }
}
