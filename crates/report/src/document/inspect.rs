//! What `gatewise inspect` prints.

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
    /// Of the gates.
    pub recurrent_activation: Fact<String>,
    /// Whether the sequences it reads have their steps first; absent where no graph says.
    pub time_major: Option<bool>,
    /// Whether moving averages of its weights are stored; absent where none are.
    pub averages: Option<Averages>,
    /// Bound of the projected output.
    pub projection_clip: Option<f32>,
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

/// Moving averages beside the weights.
#[derive(Clone, Debug, Serialize)]
pub struct Averages {
    /// `raw` or `ema`: which kind `variables` names.
    pub used: String,
    /// Both are stored and nobody has chosen.
    pub open: bool,
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
