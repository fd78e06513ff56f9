//! One network through both lanes and the oracle.

use lstm::fault::Fault;
use lstm::{Batch, KerasCell, Network, Place as CellPlace, Tf1Cell, Trace, oracle};

use crate::bound::{ActivationBudget, Prepared};
use crate::carried::{self, CarriedStep};
use crate::clips::{self, ClipUse};
use crate::divergence::PerQuantity;
use crate::ensemble;
use crate::heat::Heat;
use crate::judged::Judged;
use crate::lane::{self, Lane, LaneError};
use crate::local::Points;
use crate::local_error::LocalError;
use crate::projected::{self, keras_batch};
use crate::sensitivity::{self, Sensitivity};
use crate::weights::{self, WeightsReport};

/// What is to be compared.
pub struct Subject<'a> {
    /// The TF1 network: the truth.
    pub truth: &'a Network<Tf1Cell>,
    /// Its right conversion; of cells that Keras cannot express, the nearest one
    /// ([`convert::nearest_network`](lstm::convert::nearest_network)).
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
    /// Both lanes running freely.
    pub carried: CarriedStep,
    /// The TF1 lane, one step from the oracle's state.
    pub tf1_local: PerQuantity<LocalError>,
    /// The Keras lane, one step from the oracle's state.
    pub keras_local: PerQuantity<LocalError>,
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
    /// Values of h and c compared between the lanes.
    pub compared: u64,
    /// Values there should be.
    pub expected: u64,
    /// Every step.
    pub steps: Vec<StepReport>,
    /// What each fault of the catalogue would have looked like.
    pub sensitivity: Sensitivity,
    /// The oracle's output never changes: nothing could show on it.
    pub degenerate: bool,
    /// The clips that the cell has and Keras lacks, and whether these inputs reach them.
    pub clips: Vec<ClipUse>,
    /// The lanes' divergence in its worst sequence; absent where a lane failed.
    pub heat: Option<Heat>,
    /// What a lane did not deliver as it should.
    pub lane_failures: Vec<LaneFailure>,
    /// Where a sequence gives something else alone than inside the batch.
    pub batch_dependence: Vec<LaneFailure>,
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

/// How many stages [`verify`] reports for a network of so many cells: four for all of them together, and for each cell,
/// one after the other, its comparison and then its kill table.
pub fn stages(cells: usize) -> usize {
    4 + 2 * cells
}

/// Runs the comparison of one network over `batch`, which must ask for gates. `seed` drives the ensemble of right runs;
/// `progress` is told how many stages are done, of [`stages`] in all.
pub fn verify(
    subject: &Subject<'_>,
    lanes: Lanes<'_>,
    batch: &Batch,
    seed: u64,
    budget: &ActivationBudget,
    progress: &dyn Fn(usize),
) -> Vec<CellReport> {
    verify_more(subject, lanes, batch, seed, budget, &[], progress)
}

/// [`verify`] of more of the same sequences: what others have shown of each cell is not tried again where it says all.
pub(crate) fn verify_more(
    subject: &Subject<'_>,
    lanes: Lanes<'_>,
    batch: &Batch,
    seed: u64,
    budget: &ActivationBudget,
    shown: &[Sensitivity],
    progress: &dyn Fn(usize),
) -> Vec<CellReport> {
    // Lanes run here, one after the other: a device is not shared between threads. What is f64 runs beside them.
    let (truth, floor, clips, tf1, keras) = std::thread::scope(|scope| {
        let runs = scope.spawn(|| ensemble::run(subject.truth, batch, budget, seed));
        let exact = scope.spawn(|| {
            let truth = oracle::run(subject.truth, batch);
            let floor = runs.join().expect("the ensemble does not panic").floor(&truth.trace);
            let clips = clips::of(subject.truth, batch, &truth);
            (truth, floor, clips)
        });
        let tf1 = carried::check_trace(lane::run(lanes.tf1, subject.truth, batch), subject.truth, batch);
        progress(1);
        let keras = run_keras(subject, lanes, batch);
        progress(2);
        let (truth, floor, clips) = exact.join().expect("the oracle does not panic");
        progress(4);
        (truth, floor, clips, tf1, keras)
    });
    let alone = alone(subject, lanes, batch);
    // What cells compute says nothing of what the last ones' outputs are made into.
    let (right_wiring, wiring) = (subject.expected.wiring(), subject.candidate.wiring());
    let rewired = (wiring != right_wiring)
        .then(|| format!("the candidate is wired as {wiring}, the right conversion as {right_wiring}"));

    let timesteps = batch.timesteps();
    let expected = subject.expected.cells();
    let candidate = subject.candidate.cells();
    let mut reports = vec![];
    for (index, (place, cell)) in subject.truth.placed_cells().into_iter().enumerate() {
        let mut failures = vec![];
        let mut batch_dependence = vec![];
        let mut heat = None;
        let mut free = vec![CarriedStep::default(); timesteps];
        match (&tf1, &keras) {
            (Ok(tf1), Ok(keras)) => {
                let (tf1, keras) = (&tf1.cells[index], &keras.cells[index]);
                heat = Heat::new(tf1, keras, batch);
                free = carried::compare(&truth.trace.cells[index], tf1, keras, &floor[index], batch, place.direction);
                for (side, inside, alone) in [(Side::Tf1, tf1, &alone[0]), (Side::Keras, keras, &alone[1])] {
                    batch_dependence
                        .extend(differs_alone(inside, alone, index, &free).map(|text| LaneFailure { side, text }));
                }
            }
            (tf1, keras) => {
                for (side, trace) in [(Side::Tf1, tf1), (Side::Keras, keras)] {
                    failures.extend(trace.as_ref().err().map(|text| LaneFailure { side, text: text.clone() }));
                }
            }
        }

        let points = Points::new(index, place, &truth, batch);
        let projected = cell.projection.as_ref().map(|_| projected::points(&points, index, cell, place, &truth, batch));
        let keras_points = projected.as_ref().unwrap_or(&points);
        let runs = [points.run(lanes.tf1, cell), keras_points.run(lanes.keras, candidate[index])];
        let judged = Judged { cell, budget, tf1: &points, keras: projected.as_ref() };
        let judged = judged.judge(runs.each_ref().map(|run| run.as_ref().ok()), timesteps);
        let error =
            |run: Result<_, LaneError>| run.err().map_or("missing or misshapen output".to_owned(), |e| e.to_string());
        let [tf1_judged, keras_judged] = judged;
        let [tf1_run, keras_run] = runs;
        let tf1_judged = tf1_judged.ok_or_else(|| error(tf1_run.map(drop)));
        let keras_judged = keras_judged.ok_or_else(|| error(keras_run.map(drop)));
        let mut local = |side, judged: Result<Vec<PerQuantity<LocalError>>, String>| {
            judged.unwrap_or_else(|text| {
                failures.push(LaneFailure { side, text: format!("one step from the oracle's state: {text}") });
                vec![PerQuantity::default(); timesteps]
            })
        };
        let (tf1_local, keras_local) = (local(Side::Tf1, tf1_judged), local(Side::Keras, keras_judged));
        let steps: Vec<StepReport> = free
            .into_iter()
            .zip(tf1_local.into_iter().zip(keras_local))
            .enumerate()
            .map(|(t, (carried, (tf1_local, keras_local)))| StepReport { t, carried, tf1_local, keras_local })
            .collect();
        progress(stages(index) + 1);
        let tried = || {
            let others: Vec<(Fault, &KerasCell)> =
                sensitivity::mistaken_for(index, &subject.truth.placed_cells(), &expected);
            let step = match projected {
                Some(_) => Prepared::unprojected(cell, budget),
                None => Prepared::new(cell, budget),
            };
            let truth_of = |some: &Points| some.truth(&step);
            sensitivity::measure((cell, &clips[index]), place, &others, lanes.keras, keras_points, &truth_of)
        };
        let sensitivity = shown.get(index).filter(|shown| shown.says_all(&clips[index])).cloned();
        let sensitivity = sensitivity.unwrap_or_else(tried);
        progress(stages(index + 1));
        reports.push(CellReport {
            name: subject.names[index].clone(),
            candidate: subject.candidate_names[index].clone(),
            place,
            input_size: cell.input_size(),
            units: cell.units(),
            weights: weights::compare(expected[index], candidate[index]).with(rewired.clone()),
            compared: steps.iter().map(|s| s.carried.states().count).sum(),
            expected: (points.rows.len() * (cell.units() + cell.recurrent_size())) as u64,
            sensitivity,
            clips: clips[index].clone(),
            degenerate: is_constant(&truth.trace.cells[index], batch),
            heat,
            lane_failures: failures,
            batch_dependence,
            steps,
        });
    }
    reports
}

/// The candidate over a batch, or what went wrong.
fn run_keras(subject: &Subject<'_>, lanes: Lanes<'_>, batch: &Batch) -> Result<Trace<f32>, String> {
    let batch = keras_batch(subject.candidate, batch)?;
    carried::check_trace(lane::run(lanes.keras, subject.candidate, &batch), subject.truth, &batch)
}

/// A whole sequence and one that ends early, as batches of their own.
fn chosen(batch: &Batch) -> Vec<(usize, Batch)> {
    let ragged = (0..batch.sequences()).find(|n| !batch.is_valid(*n, batch.timesteps() - 1));
    let mut sequences = vec![0];
    sequences.extend(ragged.filter(|n| *n != 0));
    sequences.into_iter().map(|n| (n, batch.select(n..n + 1))).collect()
}

/// Those sequences run alone, each lane's in turn: sequence, and trace or what went wrong.
type Alone = Vec<(usize, Result<Trace<f32>, String>)>;

fn alone(subject: &Subject<'_>, lanes: Lanes<'_>, batch: &Batch) -> [Alone; 2] {
    let chosen = chosen(batch);
    let tf1 = |b: &Batch| carried::check_trace(lane::run(lanes.tf1, subject.truth, b), subject.truth, b);
    let keras = |b: &Batch| run_keras(subject, lanes, b);
    [chosen.iter().map(|(n, b)| (*n, tf1(b))).collect(), chosen.iter().map(|(n, b)| (*n, keras(b))).collect()]
}

/// Batch invariance: what a sequence gives must not depend on what else is in the batch, beyond rounding.
fn differs_alone(inside: &lstm::CellTrace<f32>, alone: &Alone, cell: usize, steps: &[CarriedStep]) -> Option<String> {
    alone.iter().find_map(|(sequence, trace)| {
        let trace = match trace {
            Ok(trace) => trace,
            Err(text) => return Some(format!("sequence {sequence} run alone: {text}")),
        };
        let Some(apart) = carried::apart_from_alone(inside, &trace.cells[cell], *sequence) else {
            return Some(format!("sequence {sequence} run alone is misshapen"));
        };
        // Each of the two may be off by what is allowed.
        let near = |distance: f64, step: &CarriedStep| distance <= 2.0 * step.allowed;
        let bad = apart.iter().zip(steps).position(|(distance, step)| !near(*distance, step));
        bad.map(|t| {
            format!(
                "sequence {sequence} gives something else alone than in the batch: {:.3e} apart at step {t}",
                apart[t]
            )
        })
    })
}

/// Whether the oracle's output is the same everywhere.
fn is_constant(trace: &lstm::CellTrace<f64>, batch: &Batch) -> bool {
    let mut valid = trace.h.indexed_iter().filter(|((n, t, _), _)| batch.is_valid(*n, *t)).map(|(_, v)| *v);
    let first = valid.next();
    first.is_none_or(|first| valid.all(|v| v == first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lstm::CellTrace;
    use ndarray::{Array2, Array3};

    fn batch(lengths: Option<Vec<usize>>) -> Batch {
        let initial = vec![lstm::State { h: Array2::zeros((3, 1)), c: Array2::zeros((3, 1)) }];
        Batch { x: Array3::from_shape_fn((3, 4, 1), |(n, ..)| n as f32), lengths, initial, record_gates: true }
    }

    #[test]
    fn a_whole_and_a_ragged_sequence_are_run_alone() {
        let of = |lengths| chosen(&batch(lengths)).iter().map(|(n, b)| (*n, b.x[[0, 0, 0]])).collect::<Vec<_>>();
        assert_eq!(of(None), [(0, 0.0)]);
        assert_eq!(of(Some(vec![4, 4, 4])), [(0, 0.0)]);
        assert_eq!(of(Some(vec![3, 4, 4])), [(0, 0.0)]);
        assert_eq!(of(Some(vec![4, 4, 3])), [(0, 0.0), (2, 2.0)]);
    }

    #[test]
    fn a_sequence_alone_may_differ_by_twice_what_is_allowed() {
        let trace = |n: usize, value: f32| CellTrace {
            h: Array3::from_elem((n, 2, 1), value),
            c: Array3::zeros((n, 2, 1)),
            gates: None,
        };
        let steps = [0.5, 0.25].map(|allowed| CarriedStep { allowed, ..CarriedStep::default() });
        let alone = |cells: Vec<CellTrace<f32>>| vec![(1, Ok(Trace { output: Array3::zeros((1, 2, 1)), cells }))];
        let differs = |value| differs_alone(&trace(3, 0.0), &alone(vec![trace(1, 9.0), trace(1, value)]), 1, &steps);
        assert_eq!((differs(0.0), differs(0.5)), (None, None));
        assert!(differs(0.51).unwrap().ends_with("5.100e-1 apart at step 1"));
        assert!(differs(1.01).unwrap().ends_with("apart at step 0"));
        assert!(differs(f32::NAN).unwrap().contains("sequence 1 gives something else"));
        let misshapen = differs_alone(&trace(3, 0.0), &alone(vec![trace(2, 0.0)]), 0, &steps);
        assert!(misshapen.unwrap().contains("misshapen"));
        let failed = differs_alone(&trace(3, 0.0), &vec![(2, Err("lost".to_owned()))], 0, &steps);
        assert_eq!(failed.unwrap(), "sequence 2 run alone: lost");
    }

    #[test]
    fn constant_means_the_same_at_every_valid_step() {
        let mut trace = CellTrace { h: Array3::from_elem((3, 4, 2), 0.5), c: Array3::zeros((3, 4, 2)), gates: None };
        let ragged = batch(Some(vec![4, 2, 4]));
        assert!(is_constant(&trace, &batch(None)));
        trace.h[[1, 2, 1]] = 0.0;
        assert!(is_constant(&trace, &ragged), "what is past the end does not count");
        assert!(!is_constant(&trace, &batch(None)));
        trace.h[[2, 3, 1]] = 0.25;
        assert!(!is_constant(&trace, &ragged));
        assert!(is_constant(&trace, &batch(Some(vec![0; 3]))), "nothing at all shows nothing");
    }
}
