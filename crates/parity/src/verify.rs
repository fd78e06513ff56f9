//! One network through both lanes and the oracle.

use lstm::{Batch, Direction, KerasCell, Network, Place as CellPlace, Tf1Cell, Trace, oracle};

use crate::bound::ActivationBudget;
use crate::divergence::{Divergence, Place, StateKind, ulp_at};
use crate::inputs::{self, InputSpec};
use crate::lane::{Lane, LaneError};
use crate::local::{LocalError, Points};
use crate::weights::{self, WeightsReport};

/// The Keras lane may be this many times further from the oracle than the TF1 lane was so far.
pub const CARRIED_FACTOR: f64 = 32.0;
/// On top of that, this many ULP of the largest magnitude at the step.
pub const CARRIED_ULP: f64 = 4.0;

/// What is to be compared.
pub struct Subject<'a> {
    /// The TF1 network: the truth.
    pub truth: &'a Network<Tf1Cell>,
    /// Its right conversion.
    pub expected: &'a Network<KerasCell>,
    /// The conversion under judgement, wired and shaped as `expected`.
    pub candidate: &'a Network<KerasCell>,
    /// A name per cell, in the order of [`Network::cells`].
    pub names: Vec<String>,
    /// The candidate's name of each cell.
    pub candidate_names: Vec<String>,
}

/// The two lanes under comparison.
#[derive(Clone, Copy)]
pub struct Lanes<'a> {
    /// Runs the TF1 weights.
    pub tf1: &'a dyn Lane<Tf1Cell>,
    /// Runs the candidate's weights.
    pub keras: &'a dyn Lane<KerasCell>,
}

/// One step of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step, from 0.
    pub t: usize,
    /// Between the lanes, each running freely on its own state; h and c together.
    pub carried: Divergence,
    /// Between the lanes, h alone.
    pub h: Divergence,
    /// Between the lanes, c alone.
    pub c: Divergence,
    /// TF1 lane from the oracle: largest |Δ| of h and of c.
    pub tf1_from_oracle: [f64; 2],
    /// Keras lane from the oracle: largest |Δ| of h and of c.
    pub keras_from_oracle: [f64; 2],
    /// How far the Keras lane may be from the oracle.
    pub allowed: f64,
    /// Local error of the TF1 lane.
    pub tf1_local: LocalError,
    /// Local error of the Keras lane.
    pub keras_local: LocalError,
}

/// One cell of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct CellReport {
    /// The TF1 cell's name.
    pub name: String,
    /// The candidate's layer.
    pub candidate: String,
    /// Where in the network it stands.
    pub place: CellPlace,
    /// Width of the input.
    pub input_size: usize,
    /// Width of the state.
    pub units: usize,
    /// The exact comparison.
    pub weights: WeightsReport,
    /// Elements compared between the lanes.
    pub compared: u64,
    /// Elements there should be.
    pub expected: u64,
    /// Every step.
    pub steps: Vec<StepReport>,
    /// The oracle's output never changes: nothing could show on it.
    pub degenerate: bool,
    /// What a lane said when it failed or returned something misshapen.
    pub lane_failures: Vec<LaneFailure>,
}

/// A lane did not deliver what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneFailure {
    /// Whose failure it is.
    pub side: Side,
    /// What happened.
    pub text: String,
}

/// One of the two sides of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The TF1 lane.
    Tf1,
    /// The Keras lane.
    Keras,
}

/// Runs the comparison of one network.
///
/// `progress` is told how much is done: a number of stages, of [`stages`] in all.
pub fn verify(
    subject: &Subject<'_>,
    lanes: Lanes<'_>,
    spec: InputSpec,
    budget: ActivationBudget,
    progress: &dyn Fn(usize),
) -> Vec<CellReport> {
    let batch = inputs::draw(spec, subject.truth);
    let truth = oracle::run(subject.truth, &batch);
    progress(1);
    let tf1 = check_trace(lanes.tf1.run(subject.truth, &batch), subject.truth, &batch);
    progress(2);
    let keras = check_trace(lanes.keras.run(subject.candidate, &batch), subject.truth, &batch);
    progress(3);

    let expected = subject.expected.cells();
    let candidate = subject.candidate.cells();
    let mut reports = vec![];
    for (index, (place, cell)) in subject.truth.placed_cells().into_iter().enumerate() {
        let mut failures = vec![];
        let mut failed = |side, text: &String| failures.push(LaneFailure { side, text: text.clone() });
        let mut steps: Vec<StepReport> = (0..spec.timesteps).map(empty_step).collect();
        let (tf1_trace, keras_trace) = (tf1.as_ref().map(|t| &t.cells[index]), keras.as_ref().map(|t| &t.cells[index]));
        match (tf1_trace, keras_trace) {
            (Ok(tf1), Ok(keras)) => carried(&mut steps, &truth.trace.cells[index], tf1, keras, &batch, place.direction),
            (tf1, keras) => {
                if let Err(text) = tf1 {
                    failed(Side::Tf1, text);
                }
                if let Err(text) = keras {
                    failed(Side::Keras, text);
                }
            }
        }

        let points = Points::new(index, place, &truth, &batch);
        let local_truth = points.truth(cell, budget);
        let mut local = |side, trace: Result<Trace<f32>, LaneError>| {
            let judged = trace.map_err(|e| e.to_string()).and_then(|t| {
                points.judge(&local_truth, &t, spec.timesteps).ok_or("missing or misshapen output".to_owned())
            });
            judged.unwrap_or_else(|text| {
                failed(side, &format!("one step from the oracle's state: {text}"));
                vec![LocalError::default(); spec.timesteps]
            })
        };
        let tf1_local = local(Side::Tf1, points.run(lanes.tf1, cell));
        let keras_local = local(Side::Keras, points.run(lanes.keras, candidate[index]));
        for (step, (tf1, keras)) in steps.iter_mut().zip(tf1_local.into_iter().zip(keras_local)) {
            (step.tf1_local, step.keras_local) = (tf1, keras);
        }
        reports.push(CellReport {
            name: subject.names[index].clone(),
            candidate: subject.candidate_names[index].clone(),
            place,
            input_size: cell.input_size(),
            units: cell.units(),
            weights: weights::compare(expected[index], candidate[index]),
            compared: steps.iter().map(|s| s.carried.count).sum(),
            expected: (points.rows.len() * (cell.units() + cell.recurrent_size())) as u64,
            steps,
            degenerate: is_constant(&truth.trace.cells[index], &batch),
            lane_failures: failures,
        });
        progress(4 + index);
    }
    reports
}

/// How many stages [`verify`] reports for a network of so many cells.
pub fn stages(cells: usize) -> usize {
    3 + cells
}

fn empty_step(t: usize) -> StepReport {
    StepReport {
        t,
        carried: Divergence::default(),
        h: Divergence::default(),
        c: Divergence::default(),
        tf1_from_oracle: [0.0; 2],
        keras_from_oracle: [0.0; 2],
        allowed: 0.0,
        tf1_local: LocalError::default(),
        keras_local: LocalError::default(),
    }
}

/// Accepts a trace only with every cell in its right shape.
fn check_trace(
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
        let (n, t) = (batch.sequences(), batch.timesteps());
        for (state, found, width) in [("h", &found.h, cell.recurrent_size()), ("c", &found.c, cell.units())] {
            if found.shape() != [n, t, width] {
                return Err(format!("{state} of cell {index} is {:?}: expected {:?}", found.shape(), [n, t, width]));
            }
        }
    }
    Ok(trace)
}

/// Fills in the comparison of the two free runs, and of each with the oracle.
fn carried(
    steps: &mut [StepReport],
    truth: &lstm::CellTrace<f64>,
    tf1: &lstm::CellTrace<f32>,
    keras: &lstm::CellTrace<f32>,
    batch: &Batch,
    direction: Direction,
) {
    let timesteps = steps.len();
    let mut largest_tf1 = 0.0f64;
    for position in 0..timesteps {
        // "So far" means in the order the cell reads.
        let t = match direction {
            Direction::Forward => position,
            Direction::Backward => timesteps - 1 - position,
        };
        let step = &mut steps[t];
        let mut magnitude = 0.0f64;
        let states =
            [(StateKind::Hidden, &truth.h, &tf1.h, &keras.h, 0), (StateKind::Cell, &truth.c, &tf1.c, &keras.c, 1)];
        for (state, truth, tf1, keras, which) in states {
            for sequence in (0..batch.sequences()).filter(|s| batch.is_valid(*s, t)) {
                for unit in 0..truth.dim().2 {
                    let at = [sequence, t, unit];
                    let (exact, a, b) = (truth[at], f64::from(tf1[at]), f64::from(keras[at]));
                    let place = Place { state, sequence, unit, expected: a, found: b };
                    step.carried.add(place);
                    if which == 0 {
                        step.h.add(place)
                    } else {
                        step.c.add(place)
                    }
                    step.tf1_from_oracle[which] = larger(step.tf1_from_oracle[which], (a - exact).abs());
                    step.keras_from_oracle[which] = larger(step.keras_from_oracle[which], (b - exact).abs());
                    magnitude = magnitude.max(exact.abs());
                }
            }
        }
        largest_tf1 = larger(largest_tf1, larger(step.tf1_from_oracle[0], step.tf1_from_oracle[1]));
        step.allowed = CARRIED_FACTOR * largest_tf1 + CARRIED_ULP * ulp_at(magnitude);
    }
}

/// The larger of two, NaN if either is: `f64::max` would drop it.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Whether the oracle's output is the same everywhere.
fn is_constant(trace: &lstm::CellTrace<f64>, batch: &Batch) -> bool {
    let mut valid = trace.h.indexed_iter().filter(|((n, t, _), _)| batch.is_valid(*n, *t)).map(|(_, v)| *v);
    let first = valid.next();
    first.is_none_or(|first| valid.all(|v| v == first))
}

impl StepReport {
    /// The Keras lane is as near to the oracle as it must be. False for NaN.
    pub fn carried_within(&self) -> bool {
        self.carried.count > 0
            && self.carried.non_finite == 0
            && self.keras_from_oracle[0] <= self.allowed
            && self.keras_from_oracle[1] <= self.allowed
    }
}
