//! Recorded outputs, where nothing is known of the weights that made them: do they agree with the truth, and if not,
//! which mistake would have made them?

use lstm::fault::{self, Fault, Injected};
use lstm::{Batch, KerasCell, Network, Tf1Cell, oracle};
use ndarray::Array3;

use crate::bound::ActivationBudget;
use crate::carried::{CARRIED_ULP, allowance, larger};
use crate::divergence::ulp_at;
use crate::ensemble;
use crate::lane::{Lane, LaneError};

/// What recorded outputs say.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputReport {
    /// Values compared.
    pub compared: u64,
    /// Largest distance of the recorded outputs from the truth; NaN if any is.
    pub distance: f64,
    /// How far right f32 runs may be from it.
    pub allowed: f64,
    /// Mistakes that explain the outputs better than the right conversion does, best first, each with the distance that
    /// remains. Only for networks of one cell.
    pub explanations: Vec<(Fault, f64)>,
}

impl OutputReport {
    /// The recorded outputs are as near to the truth as right runs are. False for NaN, and for nothing compared.
    pub fn within(&self) -> bool {
        self.compared > 0 && self.distance <= self.allowed
    }
}

/// Compares recorded outputs `y` `[sequences, timesteps, output]` with the truth; padding past a sequence's end is left
/// out.
///
/// # Errors
/// If `y` has another shape than the network's output, or the lane fails.
pub fn judge(
    network: &Network<Tf1Cell>,
    batch: &Batch,
    y: &Array3<f32>,
    lane: &dyn Lane<KerasCell>,
    budget: &ActivationBudget,
    seed: u64,
) -> Result<OutputReport, LaneError> {
    let truth = oracle::run(network, batch).trace;
    if y.dim() != truth.output.dim() {
        let (expected, found) = (truth.output.shape().to_vec(), y.shape().to_vec());
        return Err(LaneError::Shape { what: "recorded outputs y".to_owned(), expected, found });
    }
    let floor = ensemble::noise_floor(&ensemble::run(network, batch, budget, seed), &truth);
    let largest_floor = floor.iter().flatten().fold(0.0, |m, f| larger(m, *f));
    let magnitude = truth.output.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let states = truth.cells.iter().flat_map(|cell| cell.h.iter().chain(&cell.c));
    let largest = states.fold(0.0, |m: f64, v| m.max(v.abs()));
    let (compared, distance) = apart(batch, y, &truth.output.mapv(|v| v as f32));
    let allowed = allowance(largest_floor, largest) + CARRIED_ULP * ulp_at(magnitude);
    let mut report = OutputReport { compared, distance, allowed, explanations: vec![] };
    if let (false, Network::Cell(cell)) = (report.within(), network) {
        for fault in fault::catalogue(cell) {
            let Injected::Cell(wrong) = fault::inject(cell, &fault) else { continue };
            let trace = lane.run(&Network::Cell(wrong), batch)?;
            let residual = apart(batch, y, &trace.output).1;
            if residual < report.distance || report.distance.is_nan() && residual.is_finite() {
                report.explanations.push((fault, residual));
            }
        }
        report.explanations.sort_by(|a, b| a.1.total_cmp(&b.1));
    }
    Ok(report)
}

/// Values compared, and the largest distance between them.
fn apart(batch: &Batch, y: &Array3<f32>, z: &Array3<f32>) -> (u64, f64) {
    if y.dim() != z.dim() {
        return (0, f64::NAN);
    }
    let mut compared = 0;
    let mut distance = 0.0;
    for (((n, t, _), y), z) in y.indexed_iter().zip(z) {
        if batch.is_valid(n, t) {
            compared += 1;
            distance = larger(distance, (f64::from(*y) - f64::from(*z)).abs());
        }
    }
    (compared, distance)
}
