//! The documents gatewise prints, as plain data. Their JSON form is a contract: fields may be added, not changed.

use std::collections::BTreeMap;

use serde::Serialize;

/// `gatewise.inspect/1`: what a checkpoint holds.
#[derive(Clone, Debug, Serialize)]
pub struct Inspect {
    /// `gatewise.inspect/1`.
    pub schema: &'static str,
    /// The path as given.
    pub path: String,
    /// `v1`, `v2`, ….
    pub format: String,
    /// The TensorFlow that wrote the graph, where it says so.
    pub tensorflow_version: Option<String>,
    /// Every file read.
    pub files: Vec<String>,
    /// Every variable.
    pub variables: Vec<Variable>,
    /// Every LSTM cell found.
    pub lstms: Vec<Lstm>,
    /// Every other variable, and why it was left aside.
    pub ignored: Vec<Ignored>,
    /// Cells named like LSTMs that cannot be.
    pub malformed: Vec<Malformed>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One variable.
#[derive(Clone, Debug, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type, as TensorFlow names it.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Over the little-endian row-major bytes, in lower-case hexadecimal.
    pub sha256: String,
}

/// One LSTM cell.
#[derive(Clone, Debug, Serialize)]
pub struct Lstm {
    /// The cell's scope.
    pub name: String,
    /// The network it belongs to.
    pub network: String,
    /// The TensorFlow class.
    pub cell: String,
    /// Width of the input.
    pub input_size: usize,
    /// Width of the cell state.
    pub units: usize,
    /// `forward` or `backward`.
    pub direction: String,
    /// Depth in the stack, from 0.
    pub layer: usize,
    /// Added to the forget gate at run time.
    pub forget_bias: Fact<f32>,
    /// Of candidate and output.
    pub activation: Fact<String>,
    /// Whether the gates see the cell state.
    pub peephole: bool,
    /// Width of the projected output.
    pub projection: Option<usize>,
    /// Bound of the cell state.
    pub cell_clip: Option<f32>,
    /// Whether the gates are normalised.
    pub layer_norm: bool,
    /// The variables by their role; a list where rows are spread over several.
    pub variables: BTreeMap<String, OneOrMany>,
    /// Whether a Keras LSTM can compute the same.
    pub keras: Representable,
}

/// One name, or several.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

/// A value and its origin.
#[derive(Clone, Debug, Serialize)]
pub struct Fact<T> {
    /// The value.
    pub value: T,
    /// `graph`, `option`, `cell-default`, `cudnn` or `in-bias`.
    pub source: String,
    /// The origin in words, for people.
    #[serde(skip)]
    pub origin: String,
}

/// Whether a Keras LSTM can compute what a cell does.
#[derive(Clone, Debug, Serialize)]
pub struct Representable {
    /// It can.
    pub representable: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// A variable left aside.
#[derive(Clone, Debug, Serialize)]
pub struct Ignored {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// A cell that cannot be one.
#[derive(Clone, Debug, Serialize)]
pub struct Malformed {
    /// Its scope.
    pub name: String,
    /// What is wrong.
    pub problem: String,
}

/// `gatewise.convert/1`: what was written.
#[derive(Clone, Debug, Serialize)]
pub struct Convert {
    /// `gatewise.convert/1`.
    pub schema: &'static str,
    /// The file written.
    pub output: String,
    /// Its format.
    pub format: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Which cell became which layer, in order.
    pub layers: Vec<ConvertedLayer>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One Keras layer written.
#[derive(Clone, Debug, Serialize)]
pub struct ConvertedLayer {
    /// The Keras layer.
    pub layer: String,
    /// `LSTM` or `Bidirectional`.
    pub class: String,
    /// The TF1 cells it comes from, forward first.
    pub cells: Vec<String>,
    /// Width of the input.
    pub input_size: usize,
    /// Units of each direction.
    pub units: Vec<usize>,
    /// The forget bias folded into the bias of each direction, and its source.
    pub forget_bias: Vec<Fact<f32>>,
    /// The activation of each direction.
    pub activation: Vec<String>,
}

/// `gatewise.devices/1`: the devices found.
#[derive(Clone, Debug, Serialize)]
pub struct Devices {
    /// `gatewise.devices/1`.
    pub schema: &'static str,
    /// Each device.
    pub devices: Vec<Device>,
}

/// A device a lane ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// What `--device` takes to choose it.
    pub choice: String,
    /// The adapter's name.
    pub name: String,
    /// Burn's backend.
    pub backend: String,
    /// `cpu`, `discrete-gpu`, `software-adapter`, ….
    pub kind: String,
    /// Driver name and version.
    pub driver: String,
}

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
    /// Seed of the inputs.
    pub seed: u64,
    /// The lanes that ran, TF1's first.
    pub lanes: Vec<String>,
    /// λ of the probabilistic bound.
    pub lambda: f64,
    /// Budget of each activation function, in ULP.
    pub activation_budget_ulp: f64,
    /// The Keras lane may be this many times as far from the oracle as the TF1 lane.
    pub carried_factor: f64,
    /// And this many ULP on top.
    pub carried_ulp: f64,
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
    /// The candidate's format.
    pub candidate_format: String,
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
    /// Every step.
    pub timesteps: Vec<Timestep>,
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

/// Divergence of two freely running lanes.
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
    /// Largest |Δ| of h between the lanes.
    pub h: f64,
    /// Largest |Δ| of c between the lanes.
    pub c: f64,
    /// TF1 lane from the oracle.
    pub tf1_from_oracle: PerState,
    /// Keras lane from the oracle.
    pub keras_from_oracle: PerState,
    /// How far the Keras lane may be from the oracle.
    pub allowed: f64,
}

/// A number for h and one for c.
#[derive(Clone, Debug, Serialize)]
pub struct PerState {
    /// Of the output.
    pub h: f64,
    /// Of the cell state.
    pub c: f64,
}

/// An element of a trace.
#[derive(Clone, Debug, Serialize)]
pub struct At {
    /// `h` or `c`.
    pub state: String,
    /// Sequence in the batch.
    pub sequence: usize,
    /// Unit.
    pub unit: usize,
    /// The reference's value.
    pub expected: f64,
    /// The value under judgement.
    pub found: f64,
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
    /// The TF1 lane's share.
    pub tf1_ratio: f64,
    /// The Keras lane's share.
    pub keras_ratio: f64,
    /// Values that were not finite.
    pub non_finite: u64,
    /// Where the share is largest.
    pub at: Option<At>,
}

impl From<parity::Place> for At {
    fn from(p: parity::Place) -> At {
        At {
            state: p.state.as_str().to_owned(),
            sequence: p.sequence,
            unit: p.unit,
            expected: p.expected,
            found: p.found,
        }
    }
}

impl From<&parity::StepReport> for Timestep {
    fn from(s: &parity::StepReport) -> Timestep {
        let per_state = |[h, c]: [f64; 2]| PerState { h, c };
        // `max` would drop a NaN; a lane with values that are not finite is the worse one.
        let keras_worse = s.keras_local.non_finite > 0 || s.tf1_local.ratio <= s.keras_local.ratio;
        let worse = if keras_worse { &s.keras_local } else { &s.tf1_local };
        Timestep {
            t: s.t,
            carried: Carried {
                max_abs: s.carried.max_abs,
                max_rel: s.carried.max_rel,
                max_ulp: s.carried.max_ulp,
                rms: s.carried.rms(),
                at: s.carried.at.map(At::from),
                non_finite: s.carried.non_finite,
                h: s.h.max_abs,
                c: s.c.max_abs,
                tf1_from_oracle: per_state(s.tf1_from_oracle),
                keras_from_oracle: per_state(s.keras_from_oracle),
                allowed: s.allowed,
            },
            local: Local {
                max_abs: worse.max_abs,
                bound: worse.bound,
                ratio: worse.ratio,
                tf1_ratio: s.tf1_local.ratio,
                keras_ratio: s.keras_local.ratio,
                non_finite: s.tf1_local.non_finite + s.keras_local.non_finite,
                at: worse.at.map(At::from),
            },
        }
    }
}

impl From<&parity::CellReport> for VerifiedLstm {
    fn from(cell: &parity::CellReport) -> VerifiedLstm {
        let largest =
            |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |m: f64, v| if v.is_nan() { v } else { m.max(v) });
        VerifiedLstm {
            name: cell.name.clone(),
            candidate: cell.candidate.clone(),
            direction: cell.place.direction.as_str().to_owned(),
            layer: cell.place.layer,
            input_size: cell.input_size,
            units: cell.units,
            weights: Weights {
                equal: cell.weights.equal(),
                count: cell.weights.count(),
                differing: cell.weights.differing(),
                max_abs: largest(&mut cell.weights.tensors.iter().map(|t| t.max_abs)),
                settings: cell.weights.settings.clone(),
                tensors: cell
                    .weights
                    .tensors
                    .iter()
                    .map(|t| WeightTensor {
                        tensor: t.tensor.to_owned(),
                        count: t.count,
                        differing: t.differing,
                        max_abs: t.max_abs,
                        at: t.at.map(|(row, column)| [row, column]),
                    })
                    .collect(),
            },
            compared: cell.compared,
            max_abs: largest(&mut cell.steps.iter().map(|s| s.carried.max_abs)),
            timesteps: cell.steps.iter().map(Timestep::from).collect(),
        }
    }
}
