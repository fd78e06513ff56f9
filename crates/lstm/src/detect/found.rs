//! What was found, and where each fact comes from.

use std::collections::BTreeMap;
use std::fmt;

use super::{CellKind, Problem, WeightsChoice};
use crate::gate_order::GateOrder;
use crate::{Activation, Network};

/// Where a fact about a cell comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Read from the checkpoint's graph (`.meta`).
    Graph,
    /// Given by the user.
    Option,
    /// What the cell's constructor defaults to: neither graph nor user said otherwise.
    CellDefault,
    /// cuDNN's canonical weights, which have no forget bias.
    Cudnn,
    /// In the bias already, as Keras keeps the forget bias.
    InBias,
    /// Read from a layer's configuration.
    Config,
}

impl Source {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Graph => "graph",
            Source::Option => "option",
            Source::CellDefault => "cell-default",
            Source::Cudnn => "cudnn",
            Source::InBias => "in-bias",
            Source::Config => "config",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Graph => "read from the graph",
            Source::Option => "given by option",
            Source::CellDefault => "the cell's default: no graph says otherwise",
            Source::Cudnn => "cuDNN weights have none",
            Source::InBias => "the bias holds it",
            Source::Config => "read from the layer's configuration",
        })
    }
}

/// A value and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<T> {
    /// The value.
    pub value: T,
    /// Its origin.
    pub source: Source,
}

/// The checkpoint keys of one cell's variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellVariables {
    /// The fused kernel; several when the rows are spread over `W_0`, `W_1`, …, in row order.
    pub kernel: Vec<String>,
    /// The bias; `None` for a layer-normalised cell.
    pub bias: Option<String>,
    /// Peepholes to the input, forget and output gate.
    pub peepholes: Option<[String; 3]>,
    /// The projection; several when its rows are spread over `W_P_0`, `W_P_1`, …, in row order.
    pub projection: Vec<String>,
    /// Whatever else the class of cell has, by role: `input/gamma` … `state/beta` of a layer-normalised cell, `norm_0`
    /// and `norm_1` (and `projection/norm_0`) of a weight-normalised one, `kernel_u` of an Indy one, `bias_i` …
    /// `bias_o` of a grouped one, whose `kernel` holds one matrix for each group, `W_F_diag` and `W_O_diag` of a coupled
    /// one.
    pub extra: BTreeMap<String, String>,
}

impl CellVariables {
    /// The same roles with other keys.
    pub(super) fn map(&self, mut key: impl FnMut(&String) -> String) -> CellVariables {
        CellVariables {
            kernel: self.kernel.iter().map(&mut key).collect(),
            bias: self.bias.as_ref().map(&mut key),
            peepholes: self.peepholes.as_ref().map(|p| p.each_ref().map(&mut key)),
            projection: self.projection.iter().map(&mut key).collect(),
            extra: self.extra.iter().map(|(role, k)| (role.clone(), key(k))).collect(),
        }
    }

    /// Every key, in a fixed order.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.kernel
            .iter()
            .chain(&self.bias)
            .chain(self.peepholes.iter().flatten())
            .chain(&self.projection)
            .chain(self.extra.values())
    }
}

/// One LSTM cell of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundCell {
    /// The scope that holds its variables, such as `rnn/multi_rnn_cell/cell_0/lstm_cell`.
    pub name: String,
    /// The class that wrote it.
    pub kind: CellKind,
    /// Width of the input.
    pub input_size: usize,
    /// Width of the cell state.
    pub units: usize,
    /// Width of the projected output, if there is a projection.
    pub projection: Option<usize>,
    /// Added to the forget gate at run time.
    pub forget_bias: Fact<f32>,
    /// φ, for candidate and output.
    pub activation: Fact<Activation>,
    /// σ, for the three gates.
    pub recurrent_activation: Fact<Activation>,
    /// The cell state is clipped to ± this.
    pub cell_clip: Option<Fact<f32>>,
    /// The projected output is clipped to ± this.
    pub projection_clip: Option<Fact<f32>>,
    /// Gates are layer-normalised.
    pub layer_norm: bool,
    /// Whether the steps come first in the sequences it reads (`[time, batch, input]`), before any transposition that
    /// the graph shows; `None` where no graph says.
    pub time_major: Option<Fact<bool>>,
    /// Whether steps past a sequence's end give zeros: `dynamic_rnn` does, and a Keras layer if it is told to.
    pub zero_past_end: bool,
    /// Which gate owns which block of the kernel's columns and of the bias: i, j, f, o except for `BlockLSTMV2`. Of no
    /// meaning for a coupled cell, which has three blocks j, f, o.
    pub columns: GateOrder,
    /// Its variables: the weights that count.
    pub variables: CellVariables,
    /// The moving averages of its variables, if the checkpoint holds any.
    pub averages: Option<Averages>,
}

/// The moving averages beside a cell's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Averages {
    /// Which kind [`FoundCell::variables`] names.
    pub used: WeightsChoice,
    /// Both kinds are stored and the user has not chosen: models often evaluate with the averages, and no file says so.
    pub open: bool,
    /// The keys that hold the weights as trained, if all are stored.
    pub raw: Option<CellVariables>,
    /// The keys that hold the averages, if every variable has one.
    pub average: Option<CellVariables>,
    /// The graph shows that the saver exchanged the two: plain names hold the averages. The keys above are told by what
    /// they hold, not by their names.
    pub exchanged: bool,
}

/// Cells wired together, under the longest scope they share.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundNetwork {
    /// The shared scope.
    pub name: String,
    /// The cells.
    pub network: Network<FoundCell>,
}

/// A cell that is named like an LSTM but cannot be one.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// The cell's scope.
    pub name: String,
    /// What is wrong.
    pub problem: Problem,
}

/// A variable that belongs to no LSTM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The variable.
    pub name: String,
    /// Why it was left aside.
    pub why: String,
}

/// Everything found in one checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detection {
    /// LSTM networks, in natural order of their names (`lstm_10` after `lstm_9`).
    pub networks: Vec<FoundNetwork>,
    /// Cells named like LSTMs that cannot be.
    pub malformed: Vec<Malformed>,
    /// Every other variable, with the reason.
    pub ignored: Vec<Ignored>,
    /// What a reader should know: how the wiring was decided, and what the files do not say.
    pub notes: Vec<String>,
    /// Release of TensorFlow that wrote the graph, if there is one that says so.
    pub tensorflow_version: Option<String>,
}
