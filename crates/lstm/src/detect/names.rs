//! The names of all TensorFlow 1.x releases: which variables make a cell, which cell it is, and what the rest are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tf_checkpoint::Variable;

use super::graph_index::GraphIndex;
use super::{CellVariables, Ignored, Malformed, Problem, graph_facts};
use crate::CellError;

/// The class of cell that wrote a set of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// `BasicLSTMCell`.
    BasicLstm,
    /// `LSTMCell`; also what an `LSTMBlockCell` is called where no graph tells them apart.
    Lstm,
    /// `LSTMBlockCell`.
    LstmBlock,
    /// `LSTMBlockFusedCell`.
    LstmBlockFused,
    /// `CudnnCompatibleLSTMCell`, also the canonical form `CudnnLSTM` saves.
    CudnnCompatible,
    /// `LayerNormBasicLSTMCell`.
    LayerNormBasicLstm,
    /// `CoupledInputForgetGateLSTMCell`: the input gate is one minus the forget gate.
    CoupledInputForgetGate,
    /// `WeightNormLSTMCell`: the kernel's columns are normalised.
    WeightNorm,
    /// `IndyLSTMCell`: a unit's gates see that unit's output alone.
    Indy,
    /// `GLSTMCell`: groups of units that see their own share of input and output.
    Grouped,
    /// An LSTM by its graph or by the user's word, under a name of its own.
    Named,
}

impl CellKind {
    /// The TensorFlow class.
    pub fn as_str(self) -> &'static str {
        match self {
            CellKind::BasicLstm => "BasicLSTMCell",
            CellKind::Lstm => "LSTMCell",
            CellKind::LstmBlock => "LSTMBlockCell",
            CellKind::LstmBlockFused => "LSTMBlockFusedCell",
            CellKind::CudnnCompatible => "CudnnCompatibleLSTMCell",
            CellKind::LayerNormBasicLstm => "LayerNormBasicLSTMCell",
            CellKind::CoupledInputForgetGate => "CoupledInputForgetGateLSTMCell",
            CellKind::WeightNorm => "WeightNormLSTMCell",
            CellKind::Indy => "IndyLSTMCell",
            CellKind::Grouped => "GLSTMCell",
            CellKind::Named => "LSTM",
        }
    }

    /// From the last component of a cell's scope, `_1` and the like removed.
    fn from_scope(component: &str) -> Option<CellKind> {
        Some(match without_number(component) {
            "basic_lstm_cell" | "BasicLSTMCell" => CellKind::BasicLstm,
            "lstm_cell" | "LSTMCell" => CellKind::Lstm,
            "lstm_block_cell" | "LSTMBlockCell" => CellKind::LstmBlock,
            "lstm_fused_cell" | "lstm_block_wrapper" | "LSTMBlockFusedCell" => CellKind::LstmBlockFused,
            "cudnn_compatible_lstm_cell" => CellKind::CudnnCompatible,
            "layer_norm_basic_lstm_cell" | "LayerNormBasicLSTMCell" => CellKind::LayerNormBasicLstm,
            _ => return None,
        })
    }
}

impl fmt::Display for CellKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Cells whose variables look like an LSTM's and are not.
const OTHER_CELLS: [(&str, &str); 16] = [
    ("gru_cell", "GRUCell"),
    ("GRUCell", "GRUCell"),
    ("gru_block_cell", "GRUBlockCell"),
    ("cudnn_compatible_gru_cell", "CudnnCompatibleGRUCell"),
    ("basic_rnn_cell", "BasicRNNCell"),
    ("BasicRNNCell", "BasicRNNCell"),
    ("nas_cell", "NASCell"),
    ("ugrnn_cell", "UGRNNCell"),
    ("intersection_rnn_cell", "IntersectionRNNCell"),
    ("phased_lstm_cell", "PhasedLSTMCell"),
    ("coupled_input_forget_gate_lstm_cell", "CoupledInputForgetGateLSTMCell"),
    ("time_freq_lstm_cell", "TimeFreqLSTMCell"),
    ("grid_lstm_cell", "GridLSTMCell"),
    ("conv_lstm_cell", "ConvLSTMCell"),
    ("sru_cell", "SRUCell"),
    ("g_lstm_cell", "GLSTMCell"),
];

/// Variables that may be one cell.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) scope: String,
    pub(super) kind: CellKind,
    pub(super) layer_norm: bool,
    pub(super) variables: CellVariables,
}

/// Removes a trailing `_<number>`.
pub(super) fn without_number(component: &str) -> &str {
    match component.rsplit_once('_') {
        Some((stem, digits))
            if !stem.is_empty() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            stem
        }
        _ => component,
    }
}

/// Whether `path` is `scope` or lies inside it.
pub(super) fn is_at_or_below(path: &str, scope: &str) -> bool {
    let scope = scope.trim_end_matches('/');
    path.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn join(scope: &str, last: &str) -> String {
    if scope.is_empty() { last.to_owned() } else { format!("{scope}/{last}") }
}

/// Every set of variables that a known cell name, the graph or the user's word makes an LSTM.
pub(super) fn candidates(
    shapes: &BTreeMap<&str, &[usize]>,
    graph: Option<&GraphIndex<'_>>,
    only: &[String],
) -> Vec<Candidate> {
    let mut found = vec![];
    for name in shapes.keys() {
        let (scope, last) = split(name);
        let Some((scope, kernel, bias)) = pair(scope, last, shapes) else { continue };
        let cell = split(&scope).1;
        // Keras keeps the recurrent rows in a matrix of their own: taking its kernel for a fused one would be wrong.
        if other_cell(&scope).is_some() || shapes.contains_key(join(&scope, "recurrent_kernel").as_str()) {
            continue;
        }
        let layer_norm = bias.is_none();
        let by_name = CellKind::from_scope(cell);
        if layer_norm && by_name != Some(CellKind::LayerNormBasicLstm) {
            continue;
        }
        let peephole =
            |a: &str, b: &str| [a, b].iter().map(|n| join(&scope, n)).find(|n| shapes.contains_key(n.as_str()));
        let peepholes = match (
            peephole("w_i_diag", "W_I_diag").or_else(|| peephole("wci", "wci")),
            peephole("w_f_diag", "W_F_diag").or_else(|| peephole("wcf", "wcf")),
            peephole("w_o_diag", "W_O_diag").or_else(|| peephole("wco", "wco")),
        ) {
            (Some(i), Some(f), Some(o)) => Some([i, f, o]),
            _ => None,
        };
        let projection = ["projection/kernel", "projection/weights", "W_P_0"]
            .iter()
            .map(|n| join(&scope, n))
            .find(|n| shapes.contains_key(n.as_str()));
        let variables = CellVariables { kernel, bias, peepholes, projection, extra: BTreeMap::new() };
        let kind = match by_name {
            Some(kind) => kind,
            None if graph.is_some_and(|g| graph_facts::is_lstm(g, &variables)) => CellKind::Named,
            None if only.iter().any(|o| is_at_or_below(&scope, o)) && fits(&variables, shapes) => CellKind::Named,
            None => continue,
        };
        found.push(Candidate { scope, kind, layer_norm, variables });
    }
    found
}

/// If `last` is the (first) kernel of a cell: the cell's scope, the kernel's keys in row order, and the bias.
fn pair(scope: &str, last: &str, shapes: &BTreeMap<&str, &[usize]>) -> Option<(String, Vec<String>, Option<String>)> {
    let has = |name: &String| shapes.contains_key(name.as_str());
    let (cell, bias) = match last {
        "kernel" => (scope, join(scope, "bias")),
        "weights" => (scope, join(scope, "biases")),
        "W" => (scope, join(scope, "b")),
        "W_0" => (scope, join(scope, "B")),
        // `_linear` of 0.12 and before has a scope of its own inside the cell's.
        "Matrix" if split(scope).1 == "Linear" => (split(scope).0, join(scope, "Bias")),
        "Matrix" => (scope, join(scope, "Bias")),
        _ => return None,
    };
    let kernel = if last == "W_0" {
        (0..).map(|n| join(scope, &format!("W_{n}"))).take_while(has).collect()
    } else {
        vec![join(scope, last)]
    };
    // A layer-normalised cell has gains in place of the bias.
    let bias = Some(bias).filter(has);
    if bias.is_none() && !has(&join(cell, "input/gamma")) {
        return None;
    }
    Some((cell.to_owned(), kernel, bias))
}

/// Whether shapes alone would allow an LSTM: four gates, a bias as long, and room for an input.
fn fits(variables: &CellVariables, shapes: &BTreeMap<&str, &[usize]>) -> bool {
    let rows: Option<usize> = variables.kernel.iter().map(|k| shapes.get(k.as_str())?.first().copied()).sum();
    let columns = variables.kernel.first().and_then(|k| shapes.get(k.as_str())?.get(1).copied());
    let bias = variables.bias.as_ref().and_then(|b| shapes.get(b.as_str())?.first().copied());
    matches!((rows, columns), (Some(rows), Some(columns)) if columns % 4 == 0 && rows > columns / 4 && bias == Some(columns))
}

/// The name of a recurrent cell, not an LSTM that gatewise reads, in whose scope `path` lies.
fn other_cell(path: &str) -> Option<&'static str> {
    path.split('/').find_map(|component| {
        let stem = without_number(component);
        OTHER_CELLS.iter().find(|(scope, _)| *scope == stem).map(|(_, class)| *class)
    })
}

pub(super) struct Sizes {
    pub(super) input: usize,
    pub(super) units: usize,
    pub(super) projection: Option<usize>,
}

/// Input size and units of a candidate, from shapes alone.
pub(super) fn sizes(candidate: &Candidate, shapes: &BTreeMap<&str, &[usize]>) -> Result<Sizes, Problem> {
    let shape = |name: &String| shapes.get(name.as_str()).copied().unwrap_or_default();
    let (mut rows, mut columns) = (0usize, None);
    for name in &candidate.variables.kernel {
        let &[part_rows, part_columns] = shape(name) else {
            return Err(Problem::Rank { name: name.clone(), shape: shape(name).to_vec() });
        };
        if *columns.get_or_insert(part_columns) != part_columns {
            return Err(Problem::Rank { name: name.clone(), shape: shape(name).to_vec() });
        }
        rows = rows.saturating_add(part_rows);
    }
    let columns = columns.unwrap_or(0);
    if columns == 0 || !columns.is_multiple_of(4) {
        return Err(CellError::Columns { rows, columns }.into());
    }
    let units = columns / 4;
    let expect = |tensor, name: &String, expected: Vec<usize>| {
        let found = shape(name).to_vec();
        if found == expected { Ok(()) } else { Err(CellError::Shape { tensor, found, expected, units }) }
    };
    if let Some(bias) = &candidate.variables.bias {
        expect("bias", bias, vec![columns])?;
    }
    if let Some(peepholes) = &candidate.variables.peepholes {
        for name in peepholes {
            expect("peephole", name, vec![units])?;
        }
    }
    let projection = match &candidate.variables.projection {
        None => None,
        Some(name) => {
            let width = shape(name).get(1).copied().unwrap_or(0).max(1);
            expect("projection", name, vec![units, width])?;
            Some(width)
        }
    };
    let recurrent = projection.unwrap_or(units);
    if rows <= recurrent {
        let what = if projection.is_some() { "projected units" } else { "units" };
        return Err(CellError::NoInput { rows, columns, units, recurrent, what }.into());
    }
    Ok(Sizes { input: rows - recurrent, units, projection })
}

/// The slots and averages that optimizers leave beside a variable (suffix without its number).
const SLOTS: [&str; 13] = [
    "Adam",
    "AdamW",
    "AdaMax",
    "Momentum",
    "RMSProp",
    "Adagrad",
    "Adadelta",
    "Ftrl",
    "ProximalAdagrad",
    "AdagradDA",
    "AddSignOptimizer",
    "Nadam",
    "LazyAdam",
];
const SCALARS: [&str; 4] = ["beta1_power", "beta2_power", "global_step", "learning_rate"];

/// A reason for every variable that belongs to no cell.
pub(super) fn ignored(
    variables: &[Variable],
    taken: &[String],
    malformed: &[Malformed],
    graph: Option<&GraphIndex<'_>>,
) -> Vec<Ignored> {
    let taken: BTreeSet<&str> = taken.iter().map(String::as_str).collect();
    let names: BTreeSet<&str> = variables.iter().map(|v| v.name.as_str()).collect();
    variables
        .iter()
        .filter(|v| !taken.contains(v.name.as_str()))
        .map(|v| Ignored { name: v.name.clone(), why: why_ignored(v, &names, malformed, graph) })
        .collect()
}

fn why_ignored(
    variable: &Variable,
    names: &BTreeSet<&str>,
    malformed: &[Malformed],
    graph: Option<&GraphIndex<'_>>,
) -> String {
    let name = variable.name.as_str();
    if let Some((slot, of)) = slot_of(name, names) {
        return if slot.starts_with("ExponentialMovingAverage") {
            format!("moving average of {of}")
        } else {
            format!("optimizer slot ({slot}) of {of}")
        };
    }
    let (scope, last) = split(name);
    if SCALARS.contains(&without_number(last)) || SCALARS.contains(&last) {
        return "training scalar".to_owned();
    }
    if name == "_CHECKPOINTABLE_OBJECT_GRAPH" || name.contains("/.ATTRIBUTES/") {
        return "belongs to a TF2 object checkpoint, whose layers are not TF1 cells".to_owned();
    }
    if names.contains(join(scope, "recurrent_kernel").as_str()) {
        return "belongs to a Keras layer (its recurrent kernel is apart), which is not a TF1 cell".to_owned();
    }
    if let Some(cell) = other_cell(scope) {
        return format!("belongs to a {cell}, which is not an LSTM cell that gatewise reads");
    }
    if let Some(bad) = malformed.iter().find(|m| is_at_or_below(name, &m.name)) {
        return format!("belongs to {}, which is malformed", bad.name);
    }
    let class = scope.rsplit('/').find_map(CellKind::from_scope);
    if let Some(class) = class {
        return format!("lies in the scope of a {class} but is none of the variables such a cell has");
    }
    let looks_like_kernel = matches!(&variable.shape[..], [rows, columns] if columns % 4 == 0 && *rows > columns / 4);
    match (last, looks_like_kernel) {
        ("kernel" | "weights" | "Matrix" | "W", true) => {
            let graph = if graph.is_some() { "nor the graph" } else { "nor a graph" };
            format!("no LSTM by name: its shape alone would allow one, but neither its scope {graph} says so")
        }
        _ => "not part of an LSTM".to_owned(),
    }
}

/// If the name is a slot or an average: its suffix and the variable it belongs to.
fn slot_of<'a>(name: &'a str, names: &BTreeSet<&str>) -> Option<(&'a str, &'a str)> {
    let components: Vec<(usize, &str)> = name
        .split('/')
        .scan(0, |at, part| {
            let start = *at;
            *at += part.len() + 1;
            Some((start, part))
        })
        .collect();
    for (start, part) in components.iter().skip(1) {
        let is_slot =
            *part == "ExponentialMovingAverage" || SLOTS.contains(part) || SLOTS.contains(&without_number(part));
        if !is_slot {
            continue;
        }
        let of = &name[..start - 1];
        // An optimizer built inside a scope puts that scope before the whole path.
        let owner = components
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| *at < of.len())
            .map(|at| &of[at..])
            .find(|tail| names.contains(tail))
            .unwrap_or(of);
        return Some((&name[*start..], owner));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_end_are_removed_and_nothing_else() {
        assert_eq!(without_number("basic_lstm_cell_12"), "basic_lstm_cell");
        assert_eq!(without_number("basic_lstm_cell"), "basic_lstm_cell");
        assert_eq!(without_number("_1"), "_1");
    }

    #[test]
    fn slots_are_told_from_weights() {
        let names = BTreeSet::from(["rnn/lstm_cell/kernel", "a/B/Bias"]);
        assert_eq!(slot_of("rnn/lstm_cell/kernel", &names), None);
        assert_eq!(slot_of("rnn/lstm_cell/kernel/Adam_1", &names), Some(("Adam_1", "rnn/lstm_cell/kernel")));
        assert_eq!(slot_of("train/rnn/lstm_cell/kernel/Adam", &names), Some(("Adam", "rnn/lstm_cell/kernel")));
        assert_eq!(slot_of("a/a/B/Bias/RMSProp", &names), Some(("RMSProp", "a/B/Bias")));
        assert_eq!(
            slot_of("rnn/lstm_cell/kernel/ExponentialMovingAverage/biased", &names),
            Some(("ExponentialMovingAverage/biased", "rnn/lstm_cell/kernel"))
        );
        assert_eq!(slot_of("Adam", &names), None);
    }
}
