//! Recorded outputs, where nothing is known of the weights that made them: do they agree with the truth, and if not,
//! which mistake would have made them?

use lstm::fault::{self, Fault, Injected};
use lstm::{Batch, Direction, KerasCell, Network, Tf1Cell, Trace, convert, oracle};
use ndarray::{Array3, Axis};

use crate::bound::ActivationBudget;
use crate::carried::{CARRIED_ULP, SATURATION, allowance, larger};
use crate::divergence::ulp_at;
use crate::ensemble;
use crate::lane::{self, Lane, LaneError};
use crate::projected::keras_batch;
use crate::sensitivity::mistaken_for;

/// What recorded outputs say.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputReport {
    /// Values compared.
    pub compared: u64,
    /// The step at which the outputs are furthest beyond what is allowed, or come nearest to it.
    pub step: usize,
    /// Their largest distance from the truth at that step; NaN or infinite if any output is.
    pub distance: f64,
    /// How far right f32 runs may be from the truth there.
    pub allowed: f64,
    /// Steps at which right runs are so far apart that outputs say nothing, as long as they are finite.
    pub unjudged: usize,
    /// Mistakes that explain the outputs better than the right conversion does, best first.
    pub explanations: Vec<Explanation>,
}

/// A mistake that would have made outputs like the recorded ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The mistake.
    pub fault: Fault,
    /// The cell that it was made in, as an index into [`Network::cells`]; `None` if in all of them, or in the only one.
    pub cell: Option<usize>,
    /// The distance that remains at the steps that are judged.
    pub residual: f64,
}

impl OutputReport {
    /// The recorded outputs are as near to the truth as right runs are. False for NaN, and for nothing compared.
    pub fn within(&self) -> bool {
        self.compared > 0 && self.distance.is_finite() && self.distance <= self.allowed
    }

    /// Right runs are apart from the first step on: any finite outputs are within.
    pub fn says_nothing(&self) -> bool {
        self.allowed == f64::INFINITY
    }
}

/// The truth of a network over a batch, and how far right f32 runs may be from it: outputs are judged against both.
#[derive(Clone, Debug)]
pub struct Yardstick {
    /// `[sequences, timesteps, output]`
    exact: Array3<f32>,
    /// Of each step.
    allowed: Vec<f64>,
}

impl Yardstick {
    /// Runs the oracle and the ensemble of right runs.
    pub fn new(network: &Network<Tf1Cell>, batch: &Batch, budget: &ActivationBudget, seed: u64) -> Yardstick {
        let truth = oracle::run(network, batch).trace;
        let floor = ensemble::run(network, batch, budget, seed).floor(&truth);
        let allowed = allowed(network, batch, &truth, &floor);
        Yardstick { exact: truth.output.mapv(|v| v as f32), allowed }
    }

    /// Compares outputs `y` `[sequences, timesteps, output]` for the same batch with the truth, each step with what right
    /// runs may be apart there; padding past a sequence's end is left out. Nothing is explained.
    ///
    /// # Errors
    /// If `y` has another shape than the network's output.
    pub fn judge(&self, batch: &Batch, y: &Array3<f32>) -> Result<OutputReport, LaneError> {
        let Yardstick { exact, allowed } = self;
        if y.dim() != exact.dim() {
            let (expected, found) = (exact.shape().to_vec(), y.shape().to_vec());
            return Err(LaneError::Shape { what: "recorded outputs y".to_owned(), expected, found });
        }
        let Apart { compared, distances } = apart(batch, y, exact);
        let unjudged = allowed.iter().filter(|a| a.is_infinite()).count();
        let step = worst(&distances, allowed);
        let at = |of: &[f64]| step.map_or(f64::NAN, |t| of[t]);
        Ok(OutputReport {
            compared,
            step: step.unwrap_or(0),
            distance: at(&distances),
            allowed: at(allowed),
            unjudged,
            explanations: vec![],
        })
    }
}

/// Compares recorded outputs `y` `[sequences, timesteps, output]` with the truth ([`Yardstick`]), and looks for the
/// mistakes that explain them where they are too far from it.
///
/// # Errors
/// If `y` has another shape than the network's output.
pub fn judge(
    network: &Network<Tf1Cell>,
    batch: &Batch,
    y: &Array3<f32>,
    lane: &dyn Lane<KerasCell>,
    budget: &ActivationBudget,
    seed: u64,
) -> Result<OutputReport, LaneError> {
    let yardstick = Yardstick::new(network, batch, budget, seed);
    let mut report = yardstick.judge(batch, y)?;
    if !report.within() {
        let Yardstick { exact, allowed } = &yardstick;
        let residual = |output: &Array3<f32>| {
            let distances = apart(batch, y, output).distances;
            distances.iter().zip(allowed).filter(|(_, a)| a.is_finite()).fold(0.0, |m, (d, _)| larger(m, *d))
        };
        let unexplained = residual(exact);
        for (fault, cell, candidate) in candidates(network) {
            let Ok(batch) = keras_batch(&candidate, batch) else { continue };
            // A mistake with which the lane does not run explains nothing; the judgement stands without it.
            let Ok(trace) = lane::run(lane, &candidate, &batch) else { continue };
            let residual = residual(&trace.output);
            if residual < unexplained {
                report.explanations.push(Explanation { fault, cell, residual });
            }
        }
        report.explanations.sort_by(|a, b| a.residual.total_cmp(&b.residual));
    }
    Ok(report)
}

/// How far outputs may be from the truth at each step: what the cell that is worst off there may be, infinitely far from
/// where errors of rounding have taken over. `floor` is `[cell][t]`.
fn allowed(network: &Network<Tf1Cell>, batch: &Batch, truth: &Trace<f64>, floor: &[Vec<f64>]) -> Vec<f64> {
    let timesteps = batch.timesteps();
    let magnitude =
        |values: &Array3<f64>, t: usize| values.index_axis(Axis(1), t).fold(0.0, |m: f64, v| m.max(v.abs()));
    let mut allowed: Vec<f64> = (0..timesteps).map(|t| CARRIED_ULP * ulp_at(magnitude(&truth.output, t))).collect();
    let mut of_cells = vec![0.0; timesteps];
    for ((place, _), (cell, floor)) in network.placed_cells().into_iter().zip(truth.cells.iter().zip(floor)) {
        let (mut so_far, mut largest, mut lost) = (0.0, 0.0f64, false);
        for position in 0..timesteps {
            let t = match place.direction {
                Direction::Forward => position,
                Direction::Backward => timesteps - 1 - position,
            };
            so_far = larger(so_far, floor[t]);
            largest = largest.max(magnitude(&cell.h, t)).max(magnitude(&cell.c, t));
            lost |= largest > 0.0 && so_far >= SATURATION * largest;
            let own = if lost { f64::INFINITY } else { allowance(so_far, largest) };
            of_cells[t] = larger(of_cells[t], own);
        }
    }
    allowed.iter_mut().zip(of_cells).for_each(|(allowed, of_cells)| *allowed += of_cells);
    allowed
}

/// The step at which distances are the largest share of what is allowed: one with something that is not a number before
/// any other, and one at which all is allowed only where there is no other. `None` where nothing was compared.
fn worst(distances: &[f64], allowed: &[f64]) -> Option<usize> {
    let share = |t: usize| {
        let (distance, allowed) = (distances[t], allowed[t]);
        match (distance.is_finite() && !allowed.is_nan(), allowed.is_infinite()) {
            (false, _) => f64::INFINITY,
            (true, true) => -1.0,
            (true, false) => distance / allowed,
        }
    };
    let compared = (0..distances.len()).filter(|t| distances[*t] != NOTHING);
    compared.reduce(|a, b| if share(b) > share(a) { b } else { a })
}

/// The distance at a step that no sequence reaches.
const NOTHING: f64 = -1.0;

/// How far two outputs are apart.
struct Apart {
    /// Values compared.
    compared: u64,
    /// The largest distance at each step; NaN if any is, [`NOTHING`] where nothing was compared.
    distances: Vec<f64>,
}

fn apart(batch: &Batch, y: &Array3<f32>, z: &Array3<f32>) -> Apart {
    let mut apart = Apart { compared: 0, distances: vec![NOTHING; y.len_of(Axis(1))] };
    if y.dim() != z.dim() {
        apart.distances.fill(f64::NAN);
        return apart;
    }
    for (((n, t, _), y), z) in y.indexed_iter().zip(z) {
        if batch.is_valid(n, t) {
            apart.compared += 1;
            apart.distances[t] = larger(apart.distances[t], (f64::from(*y) - f64::from(*z)).abs());
        }
    }
    apart
}

/// Wrong conversions to try: each fault in every cell at once, as a wrong script makes it, then in each cell alone, and
/// cells exchanged with their neighbours.
fn candidates(network: &Network<Tf1Cell>) -> Vec<(Fault, Option<usize>, Network<KerasCell>)> {
    let (right, _) = convert::nearest_network(network);
    let placed = network.placed_cells();
    let wrong = |fault: &Fault, index: usize| match fault::inject(placed[index].1, fault) {
        Injected::Cell(wrong) => Some(wrong),
        Injected::Unobservable(_) | Injected::NotOnWeights => None,
    };
    let mut found = vec![];
    for fault in fault::catalogue(placed[0].1) {
        // One weight that is off is off in one cell.
        let everywhere: Vec<Option<KerasCell>> = match fault {
            Fault::WeightsDiffer(_) if placed.len() > 1 => vec![],
            _ => (0..placed.len()).map(|k| wrong(&fault, k)).collect(),
        };
        if everywhere.iter().any(Option::is_some) {
            found.push((fault, None, with(&right, &everywhere)));
        }
    }
    if placed.len() > 1 {
        for index in 0..placed.len() {
            for fault in fault::catalogue(placed[index].1) {
                let mut one = vec![None; placed.len()];
                one[index] = wrong(&fault, index);
                if one[index].is_some() {
                    found.push((fault, Some(index), with(&right, &one)));
                }
            }
            for (fault, _) in mistaken_for(index, &placed, &right.cells()) {
                let (Fault::DirectionsSwapped { forward: a, backward: b }
                | Fault::LayersSwapped { first: a, second: b }) = fault
                else {
                    continue;
                };
                // Each pair is met twice.
                if index == a {
                    let mut both = vec![None; placed.len()];
                    (both[a], both[b]) = (Some(right.cells()[b].clone()), Some(right.cells()[a].clone()));
                    found.push((fault, None, with(&right, &both)));
                }
            }
        }
    }
    found
}

/// The network with some of its cells replaced.
fn with(network: &Network<KerasCell>, cells: &[Option<KerasCell>]) -> Network<KerasCell> {
    let mut replaced = cells.iter();
    let changed = network.try_map(&mut |own| {
        Ok::<_, std::convert::Infallible>(replaced.next().and_then(Option::as_ref).unwrap_or(own).clone())
    });
    match changed {
        Ok(changed) => changed,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2, array};

    fn batch(lengths: Vec<usize>) -> Batch {
        Batch { x: Array3::zeros((2, 2, 1)), lengths: Some(lengths), initial: vec![], record_gates: true }
    }

    #[test]
    fn padding_does_not_count_and_not_a_number_does() {
        let y = array![[[1.0f32, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]];
        let mut z = y.clone();
        let of = |lengths, z: &Array3<f32>| {
            let apart = apart(&batch(lengths), &y, z);
            (apart.compared, apart.distances)
        };
        assert_eq!(of(vec![2, 2], &z), (8, vec![0.0, 0.0]));
        z[[0, 1, 0]] = 2.0;
        z[[1, 1, 1]] = 18.0;
        assert_eq!(of(vec![2, 2], &z), (8, vec![0.0, 10.0]));
        assert_eq!(of(vec![2, 1], &z), (6, vec![0.0, 1.0]));
        assert_eq!(of(vec![1, 1], &z), (4, vec![0.0, NOTHING]));
        assert_eq!(of(vec![0, 0], &z), (0, vec![NOTHING; 2]));
        z[[0, 0, 0]] = f32::NAN;
        let (compared, distances) = of(vec![2, 2], &z);
        assert!(compared == 8 && distances[0].is_nan() && distances[1] == 10.0);
        let (compared, distances) = of(vec![2, 2], &Array3::zeros((2, 2, 3)));
        assert!(compared == 0 && distances.iter().all(|d| d.is_nan()));
    }

    #[test]
    fn the_worst_step_is_the_largest_share_and_what_is_no_number_comes_first() {
        let inf = f64::INFINITY;
        assert_eq!(worst(&[1.0, 4.0, 2.0], &[1.0, 8.0, 1.0]), Some(2));
        assert_eq!(worst(&[1.0, 2.0], &[1.0, 2.0]), Some(0), "the first of equals");
        assert_eq!(worst(&[0.0, 9.0], &[1.0, inf]), Some(0), "where all is allowed nothing is near the limit");
        assert_eq!(worst(&[5.0, 9.0], &[inf, inf]), Some(0));
        assert_eq!(worst(&[5.0, f64::NAN, 7.0], &[1.0, inf, 1.0]), Some(1));
        assert_eq!(worst(&[5.0, inf, 7.0], &[1.0, inf, 1.0]), Some(1));
        assert_eq!(worst(&[5.0, 0.0], &[1.0, f64::NAN]), Some(1), "an unknown limit allows nothing");
        assert_eq!(worst(&[NOTHING, 3.0], &[1.0, 8.0]), Some(1));
        assert_eq!(worst(&[NOTHING; 2], &[1.0, 1.0]), None);
    }

    #[test]
    fn within_is_at_most_what_is_allowed_and_never_nothing() {
        let report = |compared, distance, allowed| OutputReport {
            compared,
            step: 0,
            distance,
            allowed,
            unjudged: 0,
            explanations: vec![],
        };
        let inf = f64::INFINITY;
        assert!(report(1, 0.5, 0.5).within() && !report(1, 0.5, 0.5).says_nothing());
        assert!(report(1, 0.5, inf).within() && report(1, 0.5, inf).says_nothing());
        for (compared, distance, allowed) in
            [(0, 0.0, 0.5), (1, 0.6, 0.5), (1, f64::NAN, 0.5), (1, 0.0, f64::NAN), (1, inf, inf), (1, f64::NAN, inf)]
        {
            assert!(!report(compared, distance, allowed).within(), "{compared} {distance} {allowed}");
        }
    }

    #[test]
    fn one_weight_is_off_in_one_cell_and_other_mistakes_in_all_as_well() {
        let cell = |seed: usize| {
            let kernel = Array2::from_shape_fn((4, 8), |(r, c)| ((seed + r * 8 + c) as f32 * 0.7).sin());
            Network::Cell(Tf1Cell::new(kernel, Array1::from_elem(8, 0.25)).unwrap())
        };
        let of = |network: &Network<Tf1Cell>, wanted: fn(&Fault) -> bool| -> Vec<Option<usize>> {
            candidates(network).into_iter().filter(|(fault, ..)| wanted(fault)).map(|(_, cell, _)| cell).collect()
        };
        let one_weight: fn(&Fault) -> bool = |fault| matches!(fault, Fault::WeightsDiffer(_));
        let (alone, two) = (cell(0), Network::Stack(vec![cell(0), cell(100)]));
        let in_one = of(&alone, one_weight);
        assert!(!in_one.is_empty() && in_one.iter().all(Option::is_none), "{in_one:?}");
        let in_two = of(&two, one_weight);
        assert_eq!(in_two, [vec![Some(0); in_one.len()], vec![Some(1); in_one.len()]].concat());
        assert_eq!(of(&alone, |f| *f == Fault::ForgetBiasMissing), [None]);
        assert_eq!(of(&two, |f| *f == Fault::ForgetBiasMissing), [None, Some(0), Some(1)]);
        assert_eq!(of(&two, |f| *f == Fault::LayersSwapped { first: 0, second: 1 }), [None], "each pair once");
        assert_eq!(of(&alone, |f| matches!(f, Fault::LayersSwapped { .. })), []);
    }

    /// Each cell's own rule, in the order it reads, and the most that any of them allows.
    #[test]
    fn a_step_allows_what_its_worst_cell_allows() {
        let cell = || Network::Cell(Tf1Cell::new(Array2::zeros((2, 4)), Array1::zeros(4)).unwrap());
        let network = Network::side_by_side(cell(), cell());
        let of = |h: [f64; 3], c: [f64; 3]| {
            let array = |v: [f64; 3]| Array3::from_shape_fn((1, 3, 1), |(_, t, _)| -v[t]);
            lstm::CellTrace { h: array(h), c: array(c), gates: None }
        };
        let cells = vec![of([0.5, 0.5, 0.25], [1.0, 8.0, 2.0]), of([0.5; 3], [4.0; 3])];
        let truth = Trace { output: Array3::from_elem((1, 3, 2), 0.5), cells };
        let batch = Batch { x: Array3::zeros((1, 3, 1)), ..batch(vec![3]) };
        let least = 2f64.powi(-20);
        let ulp = 4.0 * 2f64.powi(-24);
        let judge = |forward: [f64; 3], backward: [f64; 3]| {
            allowed(&network, &batch, &truth, &[forward.to_vec(), backward.to_vec()]).into_iter().collect::<Vec<_>>()
        };
        // 32 times the floor so far where errors have not grown; forwards it rises, backwards it was met before.
        assert_eq!(
            judge([least, 0.0, 2.0 * least], [0.0; 3]),
            [32.0 * least + ulp, 32.0 * least + ulp, 64.0 * least + ulp]
        );
        assert_eq!(judge([0.0; 3], [0.0, least, 0.0]), [32.0 * least + ulp, 32.0 * least + ulp, ulp]);
        assert_eq!(
            judge([least; 3], [2.0 * least, 0.0, 0.0]),
            [64.0 * least + ulp, 32.0 * least + ulp, 32.0 * least + ulp]
        );
        // Grown by four where the largest value so far is 1, by none where it is 8.
        let grown = judge([4.0 * least; 3], [0.0; 3]);
        assert_eq!(grown, [2.0 * 128.0 * least + ulp, 128.0 * least + ulp, 128.0 * least + ulp]);
        // A thousandth of the largest value so far: of 1 at first, of 8 afterwards.
        assert_eq!(judge([0.001; 3], [0.0; 3]), [f64::INFINITY; 3], "lost once is lost for good");
        assert!(
            judge([0.0, 0.0079, 0.0], [0.0; 3])[1].is_finite() && judge([0.0, 0.008, 0.0], [0.0; 3])[2].is_infinite()
        );
        assert_eq!(judge([0.0; 3], [0.0, 0.004, 0.0])[..2], [f64::INFINITY; 2]);
        assert!(judge([f64::NAN, 0.0, 0.0], [0.0; 3]).iter().all(|a| a.is_nan()));
    }
}
