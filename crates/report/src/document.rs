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

/// What a device's self-check found.
#[derive(Clone, Debug, Serialize)]
pub struct SelfCheck {
    /// It can be trusted.
    pub passed: bool,
    /// What went wrong.
    pub failures: Vec<String>,
    /// Largest error of each activation function, in ULP.
    pub activation_ulp: BTreeMap<String, f64>,
    /// Products tried.
    pub products: usize,
    /// Largest error of a product, as a share of its rounding bound.
    pub product_ratio: f64,
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
    /// What its self-check found.
    pub self_check: SelfCheck,
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
    /// Every step.
    pub timesteps: Vec<Timestep>,
    /// What each fault of the catalogue would have looked like.
    pub sensitivity: Vec<Kill>,
    /// The smallest relative change of one weight that would have been seen.
    pub smallest_change: Option<SmallestChange>,
    /// What explains a failure, best first.
    pub diagnosis: Vec<Diagnosis>,
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

impl ByQuantity {
    fn new<T>(values: &parity::PerQuantity<T>, of: impl Fn(&T) -> f64) -> ByQuantity {
        let [h, c, i, j, f, o] = &values.0;
        ByQuantity { h: of(h), c: of(c), i: of(i), j: of(j), f: of(f), o: of(o) }
    }
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
}

impl From<parity::Place> for At {
    fn from(p: parity::Place) -> At {
        At {
            state: p.quantity.as_str().to_owned(),
            sequence: p.sequence,
            unit: p.unit,
            expected: p.expected,
            found: p.found,
        }
    }
}

impl From<&parity::StepReport> for Timestep {
    fn from(s: &parity::StepReport) -> Timestep {
        let states = s.carried.states();
        let (tf1, keras) = (s.tf1_local.worst().1, s.keras_local.worst().1);
        // A lane with values that are not finite is the worse one.
        let worse = if (keras.non_finite > 0, keras.ratio) >= (tf1.non_finite > 0, tf1.ratio) { keras } else { tf1 };
        let locals = s.tf1_local.0.iter().chain(&s.keras_local.0);
        Timestep {
            t: s.t,
            carried: Carried {
                max_abs: states.max_abs,
                max_rel: states.max_rel,
                max_ulp: states.max_ulp,
                rms: states.rms(),
                at: states.at.map(At::from),
                non_finite: states.non_finite,
                lanes: ByQuantity::new(&s.carried.lanes, |d| d.max_abs),
                tf1_from_oracle: ByQuantity::new(&s.carried.tf1_from_oracle, |d| *d),
                keras_from_oracle: ByQuantity::new(&s.carried.keras_from_oracle, |d| *d),
                noise_floor: s.carried.noise_floor,
                allowed: s.carried.allowed,
                saturated: s.carried.saturated,
            },
            local: Local {
                max_abs: locals.clone().fold(0.0, |m: f64, e| m.max(e.max_abs)),
                bound: worse.bound,
                ratio: worse.ratio,
                tf1_ratio: ByQuantity::new(&s.tf1_local, |e| e.ratio),
                keras_ratio: ByQuantity::new(&s.keras_local, |e| e.ratio),
                non_finite: locals.map(|e| e.non_finite).sum(),
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
            max_abs: largest(&mut cell.steps.iter().map(|s| s.carried.states().max_abs)),
            growth_per_step: growth(cell),
            timesteps: cell.steps.iter().map(Timestep::from).collect(),
            sensitivity: cell
                .sensitivity
                .kills
                .iter()
                .map(|k| Kill {
                    fault: k.fault.name().to_owned(),
                    text: k.fault.describe(),
                    detected: k.detected,
                    margin: k.margin,
                    why: k.why.clone(),
                })
                .collect(),
            smallest_change: cell.sensitivity.smallest_change.map(|s| SmallestChange {
                weights: s.weights,
                min: s.min,
                median: s.median,
                p95: s.p95,
                invisible: s.invisible,
            }),
            diagnosis: vec![],
        }
    }
}

/// Geometric mean of the growth of the Keras lane's distance from the oracle, in the order the cell reads.
fn growth(cell: &parity::CellReport) -> Option<f64> {
    let mut distances: Vec<f64> = cell
        .steps
        .iter()
        .filter(|s| s.carried.states().count > 0)
        .map(|s| s.carried.keras_from_oracle.states().iter().fold(0.0, |m: f64, d| m.max(*d)))
        .collect();
    if cell.place.direction == lstm::Direction::Backward {
        distances.reverse();
    }
    let (first, last) = (*distances.first()?, *distances.last()?);
    let growth = (last / first).powf(1.0 / (distances.len() as f64 - 1.0));
    growth.is_finite().then_some(growth)
}
