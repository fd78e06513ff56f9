//! What the user says of the cells, where files cannot.

use std::collections::BTreeMap;

use super::{CellKind, CellVariables, Known};
use crate::{Activation, Network};

/// What the user says of the cells, where files cannot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Scopes to take as LSTMs (or below which to look); empty means all.
    pub only: Vec<String>,
    /// The forget bias of every cell taken.
    pub forget_bias: Option<f32>,
    /// The activation of every cell taken.
    pub activation: Option<Activation>,
    /// What the gates of every Keras layer taken go through.
    pub recurrent_activation: Option<Activation>,
    /// What the configurations of Keras layers say, by the layer's scope.
    pub known: BTreeMap<String, Known>,
    /// The input size the user expects of the first cell of each network.
    pub input_size: Option<usize>,
    /// Which weights count where the checkpoint holds moving averages too.
    pub weights: Option<WeightsChoice>,
    /// The networks by name, where neither names nor graph lead to them. If there are any, nothing else is looked for.
    pub mapped: Vec<MappedNetwork>,
    /// Take the user's word over the graph's.
    pub override_graph: bool,
}

/// The weights as trained, or their moving averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsChoice {
    /// As trained.
    Raw,
    /// The moving averages (`tf.train.ExponentialMovingAverage`).
    Ema,
}

impl WeightsChoice {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            WeightsChoice::Raw => "raw",
            WeightsChoice::Ema => "ema",
        }
    }
}

/// A network that the user declares.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedNetwork {
    /// What to call it.
    pub name: String,
    /// Its cells: directions, layers, residual connections and merging are the user's to say.
    pub network: Network<MappedCell>,
}

/// A cell that the user declares: which keys hold which weights.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedCell {
    /// What to call it.
    pub name: String,
    /// Its class, which says how the weights are laid out; [`CellKind::Lstm`] if the user does not say.
    pub class: CellKind,
    /// The keys of its weights, in the roles that [`CellVariables`] names.
    pub variables: CellVariables,
    /// Added to the forget gate at run time; `None` to take the graph's or the class's default.
    pub forget_bias: Option<f32>,
    /// φ; `None` likewise.
    pub activation: Option<Activation>,
    /// The cell state is clipped to ± this; `None` to take the graph's, or none.
    pub cell_clip: Option<f32>,
    /// The projected output is clipped to ± this; `None` likewise.
    pub projection_clip: Option<f32>,
}

/// What the user said does not agree with what was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GivenError {
    /// A name matches no LSTM.
    #[error("--lstm {name} matches no LSTM of this checkpoint; {}", would_match(.found))]
    NoMatch {
        /// The name given.
        name: String,
        /// Names that would match.
        found: Vec<String>,
    },
    /// The graph says otherwise.
    #[error(
        "{option} {given} contradicts the {file}, which says {graph} for {cell}; add --override to use {given} all the same"
    )]
    Contradicts {
        /// The option.
        option: &'static str,
        /// Its value.
        given: String,
        /// What says otherwise: `graph`, or the `file` of a Keras layer.
        file: &'static str,
        /// Its value there.
        graph: String,
        /// The cell.
        cell: String,
    },
    /// A map names a key that the checkpoint does not have.
    #[error("the map gives {cell} the variable {key}, which this checkpoint does not have{}", alike(.similar))]
    MapKey {
        /// The cell's name in the map.
        cell: String,
        /// The key.
        key: String,
        /// Keys that look like it.
        similar: Vec<String>,
    },
    /// A map declares a cell without a kernel.
    #[error("the map gives {cell} no kernel")]
    MapKernel {
        /// The cell's name in the map.
        cell: String,
    },
    /// Averages are asked for that are not there.
    #[error("--weights ema: {cell} has no moving average of {}", .missing.join(", "))]
    NoAverage {
        /// The cell.
        cell: String,
        /// Variables without one.
        missing: Vec<String>,
    },
    /// Raw weights are asked for that are not there.
    #[error("--weights raw: this checkpoint holds only the moving average of {} ({cell})", .missing.join(", "))]
    NoRaw {
        /// The cell.
        cell: String,
        /// Variables without raw weights.
        missing: Vec<String>,
    },
    /// The kernel says otherwise.
    #[error(
        "--input-size {given} does not fit {cell}: its kernel has room for an input of {found} beside {recurrent} recurrent rows"
    )]
    InputSize {
        /// The size given.
        given: usize,
        /// The size found.
        found: usize,
        /// Recurrent rows.
        recurrent: usize,
        /// The cell.
        cell: String,
    },
}

fn alike(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; similar: {}", names.join(", ")) }
}

fn would_match(found: &[String]) -> String {
    if found.is_empty() { "it holds none".to_owned() } else { format!("these would: {}", found.join(", ")) }
}
