//! What `gatewise verify` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Device;

/// `gatewise.verify/1`: the outcome of a verification.
#[derive(Clone, Debug, Serialize)]
pub struct Verify {
    /// `gatewise.verify/1`.
    pub schema: &'static str,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: String,
    /// What the lanes ran on.
    pub device: Device,
    /// What was asked for.
    pub settings: Settings,
    /// The files compared.
    pub inputs: Inputs,
    /// Every LSTM.
    pub lstms: Vec<VerifiedLstm>,
    /// What speaks against a pass, gravest first.
    pub reasons: Vec<Reason>,
    /// What was assumed.
    pub notes: Vec<String>,
}

/// How the comparison was made.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Sequences in the batch.
    pub sequences: usize,
    /// Steps of each.
    pub timesteps: usize,
    /// How many of them were judged against the oracle, where that is not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<usize>,
    /// Seed of the inputs.
    pub seed: u64,
    /// The lanes that ran, TF1's first.
    pub lanes: Vec<String>,
    /// λ of the probabilistic bound.
    pub lambda: f64,
    /// Budget of each activation function in ULP, as measured on the device.
    pub activation_budget_ulp: BTreeMap<String, f64>,
    /// The Keras lane may be this many times as far from the oracle as the farthest of the ensemble's right runs.
    pub carried_factor: f64,
    /// And this many ULP on top.
    pub carried_ulp: f64,
    /// Runs of every sequence in the ensemble.
    pub ensemble_members: usize,
    /// Also required: largest absolute carried divergence.
    pub atol: Option<f64>,
    /// Also required: largest relative carried divergence.
    pub rtol: Option<f64>,
}

/// The two sides of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Inputs {
    /// The checkpoint's files.
    pub checkpoint: Vec<FileDigest>,
    /// The candidate's file; absent when gatewise's own conversion was verified.
    pub candidate: Option<FileDigest>,
    /// All of the candidate's files, where it has several.
    pub candidate_files: Vec<FileDigest>,
    /// The candidate's format.
    pub candidate_format: String,
    /// Recorded inputs; absent when random ones were drawn.
    pub recorded: Option<FileDigest>,
}

/// A file and what was in it.
#[derive(Clone, Debug, Serialize)]
pub struct FileDigest {
    /// The path.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// One reason against a pass.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// `fail` or `inconclusive`.
    pub verdict: String,
    /// The LSTM it concerns; empty for all.
    pub lstm: String,
    /// In words.
    pub text: String,
}

/// One LSTM of a verification.
#[derive(Clone, Debug, Serialize)]
pub struct VerifiedLstm {
    /// The TF1 cell.
    pub name: String,
    /// The Keras layer it was compared with.
    pub candidate: String,
    /// `forward` or `backward`.
    pub direction: String,
    /// Depth in the stack, from 0.
    pub layer: usize,
    /// Width of the input.
    pub input_size: usize,
    /// Width of the state.
    pub units: usize,
    /// The exact comparison.
    pub weights: Weights,
    /// Elements compared.
    pub compared: u64,
    /// Largest divergence between the lanes, over all steps.
    pub max_abs: f64,
    /// Mean factor by which the Keras lane's distance from the oracle grows per step; absent where it is ever zero.
    pub growth_per_step: Option<f64>,
    /// The first step at which the Keras lane is beyond its bound, one step from the oracle's state or running freely.
    pub first_step_beyond: Option<usize>,
    /// Every step.
    pub timesteps: Vec<Timestep>,
    /// What each fault of the catalogue would have looked like.
    pub sensitivity: Vec<Kill>,
    /// The smallest relative change of one weight that would have been seen.
    pub smallest_change: Option<SmallestChange>,
    /// What explains a failure, best first.
    pub diagnosis: Vec<Diagnosis>,
    /// The lanes over all sequences, where only some were judged; what stands above is of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screened: Option<Screened>,
    /// For the picture alone: too much for a JSON document.
    #[serde(skip)]
    pub heat: Option<Heat>,
}

/// Both lanes over all sequences of a run, of which only some were judged against the oracle.
#[derive(Clone, Debug, Serialize)]
pub struct Screened {
    /// Sequences that ran through both lanes.
    pub sequences: usize,
    /// Sequences that were judged against the oracle.
    pub judged: usize,
    /// Values of h and c compared between the lanes.
    pub compared: u64,
    /// Values that were not finite.
    pub non_finite: u64,
    /// Largest |Δ| between the lanes, over all steps.
    pub max_abs: f64,
    /// Every step.
    pub timesteps: Vec<ScreenedStep>,
}

/// One step of one LSTM over all sequences, h and c together.
#[derive(Clone, Debug, Serialize)]
pub struct ScreenedStep {
    /// The step, from 0.
    pub t: usize,
    /// Largest |Δ| between the lanes.
    pub max_abs: f64,
    /// Largest relative Δ.
    pub max_rel: f64,
    /// Largest distance in representable f32 values.
    pub max_ulp: u64,
    /// Values that were not finite.
    pub non_finite: u64,
    /// Where the largest |Δ| is: the TF1 lane's value is the one expected.
    pub at: Option<At>,
}

/// Divergence of the lanes' h in one sequence.
#[derive(Clone, Debug)]
pub struct Heat {
    /// The sequence.
    pub sequence: usize,
    /// Rows are units, columns steps; `None` past the sequence's end.
    pub values: Vec<Vec<Option<f64>>>,
}

/// One fault and whether it would have been seen.
#[derive(Clone, Debug, Serialize)]
pub struct Kill {
    /// The fault's name.
    pub fault: String,
    /// In words.
    pub text: String,
    /// Whether the outputs alone showed it; null where it cannot show on this model.
    pub detected: Option<bool>,
    /// The largest error it caused, as a share of the rounding bound; null where that is not finite.
    pub margin: f64,
    /// Why it cannot show.
    pub why: Option<String>,
}

/// A distribution over all weights.
#[derive(Clone, Debug, Serialize)]
pub struct SmallestChange {
    /// Weights considered.
    pub weights: usize,
    /// In the most sensitive weight.
    pub min: f64,
    /// In half of the weights.
    pub median: f64,
    /// In 95 of 100 weights.
    pub p95: f64,
    /// Weights that no change up to their own size would show.
    pub invisible: usize,
}

/// What explains a failure.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The fault's name; several joined by ` + `.
    pub fault: String,
    /// In words.
    pub text: String,
    /// What remains unexplained: the largest difference from the weights that the fault would give.
    pub residual: f64,
    /// What to do about it.
    pub advice: String,
}

/// The exact comparison of one layer.
#[derive(Clone, Debug, Serialize)]
pub struct Weights {
    /// Every element and setting equal.
    pub equal: bool,
    /// Elements compared.
    pub count: usize,
    /// Elements that differ.
    pub differing: usize,
    /// Largest |Δ|; null if not a number.
    pub max_abs: f64,
    /// Settings that differ.
    pub settings: Vec<String>,
    /// Each tensor.
    pub tensors: Vec<WeightTensor>,
}

/// The exact comparison of one tensor.
#[derive(Clone, Debug, Serialize)]
pub struct WeightTensor {
    /// `kernel`, `recurrent_kernel` or `bias`.
    pub tensor: String,
    /// Elements compared.
    pub count: usize,
    /// Elements that differ.
    pub differing: usize,
    /// Largest |Δ|.
    pub max_abs: f64,
    /// Row and column of the largest difference.
    pub at: Option<[usize; 2]>,
}

/// One step of one LSTM.
#[derive(Clone, Debug, Serialize)]
pub struct Timestep {
    /// The step, from 0.
    pub t: usize,
    /// Both lanes running freely.
    pub carried: Carried,
    /// Each lane one step from the oracle's state; the worse of the two lanes.
    pub local: Local,
}

/// Divergence of two freely running lanes; the plain numbers are of h and c together.
#[derive(Clone, Debug, Serialize)]
pub struct Carried {
    /// Largest |Δ| between the lanes.
    pub max_abs: f64,
    /// Largest relative Δ.
    pub max_rel: f64,
    /// Largest distance in representable f32 values.
    pub max_ulp: u64,
    /// Root of the mean square Δ.
    pub rms: f64,
    /// Where the largest |Δ| is.
    pub at: Option<At>,
    /// Values that were not finite.
    pub non_finite: u64,
    /// Largest |Δ| between the lanes, by quantity.
    pub lanes: ByQuantity,
    /// TF1 lane from the oracle, by quantity.
    pub tf1_from_oracle: ByQuantity,
    /// Keras lane from the oracle, by quantity.
    pub keras_from_oracle: ByQuantity,
    /// How far right f32 runs drift apart by this step.
    pub noise_floor: f64,
    /// How far h and c of the Keras lane may be from the oracle.
    pub allowed: f64,
    /// Right runs are so far apart that the comparison says nothing here.
    pub saturated: bool,
}

/// A number for each of the states h and c and the gates i, j, f and o.
#[derive(Clone, Debug, Serialize)]
pub struct ByQuantity {
    /// Of the output.
    pub h: f64,
    /// Of the cell state.
    pub c: f64,
    /// Of the input gate.
    pub i: f64,
    /// Of the candidate.
    pub j: f64,
    /// Of the forget gate.
    pub f: f64,
    /// Of the output gate.
    pub o: f64,
}

/// An element of a trace.
#[derive(Clone, Debug, Serialize)]
pub struct At {
    /// `h` or `c`, or the gate `i`, `j`, `f` or `o`.
    pub state: String,
    /// Sequence in the batch.
    pub sequence: usize,
    /// Unit.
    pub unit: usize,
    /// The reference's value.
    pub expected: f64,
    /// The value under judgement.
    pub found: f64,
    /// The oracle's value there, where the reference is not the oracle itself.
    pub oracle: Option<f64>,
}

/// Local error at one step.
#[derive(Clone, Debug, Serialize)]
pub struct Local {
    /// Largest |Δ| of either lane from the truth.
    pub max_abs: f64,
    /// The bound where the share of it is largest.
    pub bound: f64,
    /// The largest share of the bound of either lane.
    pub ratio: f64,
    /// The TF1 lane's share, by quantity.
    pub tf1_ratio: ByQuantity,
    /// The Keras lane's share, by quantity.
    pub keras_ratio: ByQuantity,
    /// Values that were not finite.
    pub non_finite: u64,
    /// Where the share is largest.
    pub at: Option<At>,
    /// The gate `i`, `j`, `f` or `o` whose error is the largest share of its bound in that lane.
    pub gate: String,
}
