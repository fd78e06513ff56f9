//! Finding the LSTMs in a checkpoint: by the names TensorFlow gave their variables, and by the graph where there is one.
//!
//! Names alone say which variables belong together and which cell wrote them; forget bias, activation and clipping are
//! run-time constants that only the graph holds. Every fact carries the place it comes from ([`Source`]).

mod graph_facts;
mod graph_index;
mod grouping;
mod load;
mod names;
mod wiring;

use std::collections::BTreeMap;
use std::fmt;

use tf_checkpoint::{Graph, Variable};

use crate::{Activation, CellError, Network};

pub use load::{LoadError, load};
pub use names::CellKind;

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
}

impl Source {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Graph => "graph",
            Source::Option => "option",
            Source::CellDefault => "cell-default",
            Source::Cudnn => "cudnn",
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
    /// The projection.
    pub projection: Option<String>,
    /// Whatever else the class of cell has, by role: `input/gamma` … `state/beta` of a layer-normalised cell, `norm_0`
    /// and `norm_1` of a weight-normalised one, `kernel_u` of an Indy one, `bias_i` … `bias_o` of a grouped one,
    /// `W_F_diag` and `W_O_diag` of a coupled one.
    pub extra: BTreeMap<String, String>,
}

impl CellVariables {
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
    /// The cell state is clipped to ± this.
    pub cell_clip: Option<Fact<f32>>,
    /// The projected output is clipped to ± this.
    pub projection_clip: Option<Fact<f32>>,
    /// Gates are layer-normalised.
    pub layer_norm: bool,
    /// Its variables.
    pub variables: CellVariables,
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

/// What is wrong with a cell.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Shapes do not fit together.
    #[error(transparent)]
    Shapes(#[from] CellError),
    /// The kernel is not a matrix.
    #[error("kernel {name} has shape {shape:?}: expected a matrix [input + units, 4 x units]")]
    Rank {
        /// The kernel's key.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The graph gives one fact two values.
    #[error("the graph uses these weights with more than one {what}: {values}; say which one counts with {option}")]
    Ambiguous {
        /// Which fact.
        what: &'static str,
        /// The values found.
        values: String,
        /// The option that decides.
        option: &'static str,
    },
    /// The graph computes something that no lane runs.
    #[error("the graph applies {op} where an LSTM cell applies its {what}; gatewise cannot run that")]
    UnknownOperation {
        /// What the operation takes the place of.
        what: &'static str,
        /// Its TensorFlow type.
        op: String,
    },
    /// A clip is not a positive number.
    #[error("the graph clips the cell state to {0}: expected a positive finite number")]
    Clip(f32),
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
    /// What a reader should know of how the wiring was decided.
    pub notes: Vec<String>,
}

/// What the user says of the cells, where files cannot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Scopes to take as LSTMs (or below which to look); empty means all.
    pub only: Vec<String>,
    /// The forget bias of every cell taken.
    pub forget_bias: Option<f32>,
    /// The activation of every cell taken.
    pub activation: Option<Activation>,
    /// The input size the user expects of the first cell of each network.
    pub input_size: Option<usize>,
    /// Take the user's word over the graph's.
    pub override_graph: bool,
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
        "{option} {given} contradicts the graph, which says {graph} for {cell}; add --override to use {given} all the same"
    )]
    Contradicts {
        /// The option.
        option: &'static str,
        /// Its value.
        given: String,
        /// The graph's value.
        graph: String,
        /// The cell.
        cell: String,
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

fn would_match(found: &[String]) -> String {
    if found.is_empty() { "it holds none".to_owned() } else { format!("these would: {}", found.join(", ")) }
}

/// Finds every LSTM among `variables`, with what `graph` says of each.
///
/// # Errors
/// If what the user gave matches nothing or contradicts the graph.
pub fn detect(variables: &[Variable], graph: Option<&Graph>, given: &Given) -> Result<Detection, GivenError> {
    let shapes: BTreeMap<&str, &[usize]> = variables.iter().map(|v| (v.name.as_str(), v.shape.as_slice())).collect();
    let index = graph.map(graph_index::GraphIndex::new);
    let mut detection = Detection::default();

    let mut cells = vec![];
    for candidate in names::candidates(&shapes, index.as_ref(), &given.only) {
        match describe(&candidate, &shapes, index.as_ref(), given)? {
            Ok(cell) => cells.push(cell),
            Err(problem) => detection.malformed.push(Malformed { name: candidate.scope, problem }),
        }
    }
    let taken: Vec<String> = cells.iter().flat_map(|c| c.variables.all().cloned()).collect();
    detection.ignored = names::ignored(variables, &taken, &detection.malformed, index.as_ref());
    let grouped = grouping::group(cells, index.as_ref(), &mut detection.notes);
    detection.networks = select(grouped, &detection.malformed, &given.only)?;
    for network in &detection.networks {
        check_input_size(network, given)?;
    }
    Ok(detection)
}

/// Fills in what shapes, graph and user say of one cell. The outer error is the user's, the inner one the checkpoint's.
fn describe(
    candidate: &names::Candidate,
    shapes: &BTreeMap<&str, &[usize]>,
    index: Option<&graph_index::GraphIndex<'_>>,
    given: &Given,
) -> Result<Result<FoundCell, Problem>, GivenError> {
    let sizes = match names::sizes(candidate, shapes) {
        Ok(sizes) => sizes,
        Err(problem) => return Ok(Err(problem)),
    };
    let facts = match index.map(|g| graph_facts::mine(g, &candidate.variables)) {
        Some(Err(problem)) if !given.override_graph => return Ok(Err(problem)),
        Some(Ok(facts)) => facts,
        _ => graph_facts::Facts::default(),
    };
    // `LSTMBlockCell` borrows `LSTMCell`'s name; the other names say more than the operation does.
    let kind = match candidate.kind {
        CellKind::Lstm | CellKind::Named => facts.kind.unwrap_or(candidate.kind),
        named => named,
    };
    let default_forget = match kind {
        CellKind::CudnnCompatible => Fact { value: 0.0, source: Source::Cudnn },
        _ => Fact { value: 1.0, source: Source::CellDefault },
    };
    let forget_bias = decide("--forget-bias", given.forget_bias, facts.forget_bias, default_forget, candidate, given)?;
    let tanh = Fact { value: Activation::Tanh, source: Source::CellDefault };
    let activation = decide("--activation", given.activation, facts.activation, tanh, candidate, given)?;
    let graph = |value| Fact { value, source: Source::Graph };
    Ok(Ok(FoundCell {
        name: candidate.scope.clone(),
        kind,
        input_size: sizes.input,
        units: sizes.units,
        projection: sizes.projection,
        forget_bias,
        activation,
        cell_clip: facts.cell_clip.map(graph),
        projection_clip: facts.projection_clip.map(graph),
        layer_norm: candidate.layer_norm,
        variables: candidate.variables.clone(),
    }))
}

/// Option over graph over default; an option that contradicts the graph is an error unless overridden.
fn decide<T: Copy + PartialEq + fmt::Display>(
    option: &'static str,
    said: Option<T>,
    graph: Option<T>,
    default: Fact<T>,
    candidate: &names::Candidate,
    given: &Given,
) -> Result<Fact<T>, GivenError> {
    match (said, graph) {
        (Some(said), Some(graph)) if said != graph && !given.override_graph => Err(GivenError::Contradicts {
            option,
            given: said.to_string(),
            graph: graph.to_string(),
            cell: candidate.scope.clone(),
        }),
        (Some(value), _) => Ok(Fact { value, source: Source::Option }),
        (None, Some(value)) => Ok(Fact { value, source: Source::Graph }),
        (None, None) => Ok(default),
    }
}

/// Keeps the networks the user named: by their own name, a scope above, or a cell inside.
fn select(
    networks: Vec<FoundNetwork>,
    malformed: &[Malformed],
    only: &[String],
) -> Result<Vec<FoundNetwork>, GivenError> {
    let matches = |network: &FoundNetwork, name: &String| {
        names::is_at_or_below(&network.name, name)
            || network.network.cells().iter().any(|c| names::is_at_or_below(&c.name, name))
    };
    for name in only {
        let known =
            networks.iter().any(|n| matches(n, name)) || malformed.iter().any(|m| names::is_at_or_below(&m.name, name));
        if !known {
            let found = networks.iter().map(|n| n.name.clone()).collect();
            return Err(GivenError::NoMatch { name: name.clone(), found });
        }
    }
    Ok(networks.into_iter().filter(|n| only.is_empty() || only.iter().any(|name| matches(n, name))).collect())
}

fn check_input_size(network: &FoundNetwork, given: &Given) -> Result<(), GivenError> {
    let (Some(expected), Some(first)) = (given.input_size, network.network.cells().first().copied()) else {
        return Ok(());
    };
    if first.input_size == expected {
        return Ok(());
    }
    Err(GivenError::InputSize {
        given: expected,
        found: first.input_size,
        recurrent: first.projection.unwrap_or(first.units),
        cell: first.name.clone(),
    })
}
