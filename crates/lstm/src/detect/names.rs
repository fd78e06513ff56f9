//! The names of all TensorFlow 1.x releases: which variables make a cell, and which cell it is.

use std::collections::{BTreeMap, BTreeSet};

use super::graph_index::{GraphIndex, NodeId};
use super::instances::Instances;
use super::{CellKind, CellVariables, graph_facts, keras};

/// Cells whose variables look like an LSTM's and are not.
const OTHER_CELLS: [(&str, &str); 14] = [
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
    ("time_freq_lstm_cell", "TimeFreqLSTMCell"),
    ("grid_lstm_cell", "GridLSTMCell"),
    ("conv_lstm_cell", "ConvLSTMCell"),
    ("sru_cell", "SRUCell"),
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

pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

pub(super) fn join(scope: &str, last: &str) -> String {
    if scope.is_empty() { last.to_owned() } else { format!("{scope}/{last}") }
}

/// Every set of variables that a known cell name, the graph or the user's word makes an LSTM.
pub(super) fn candidates(
    shapes: &BTreeMap<&str, &[usize]>,
    graph: Option<(&GraphIndex<'_>, &Instances)>,
    only: &[String],
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = keras::candidates(shapes);
    found.extend(shapes.keys().filter_map(|name| by_name(name, shapes, graph, only)));
    if let Some((graph, instances)) = graph {
        let taken = found.iter().flat_map(|c| c.variables.kernel.iter().cloned()).collect();
        found.extend(by_graph(shapes, graph, instances, &taken));
    }
    found
}

/// The cell whose (first) kernel is called `name`.
fn by_name(
    name: &str,
    shapes: &BTreeMap<&str, &[usize]>,
    graph: Option<(&GraphIndex<'_>, &Instances)>,
    only: &[String],
) -> Option<Candidate> {
    let has = |name: &String| shapes.contains_key(name.as_str());
    let (scope, last) = split(name);
    let Parts { scope, kernel, bias } = parts(scope, last, shapes)?;
    let by_name = CellKind::from_scope(split(&scope).1);
    // Keras keeps the recurrent rows in a matrix of their own: taking its kernel for a fused one would be wrong.
    if other_cell(&scope).is_some() || has(&join(&scope, "recurrent_kernel")) {
        return None;
    }
    let is_apart = |role: &str| has(&join(&scope, role)).then(|| (role.to_owned(), join(&scope, role)));
    let mut extra: BTreeMap<String, String> = NORMS.iter().filter_map(|role| is_apart(role)).collect();
    let layer_norm = !extra.is_empty();
    let normalises = [CellKind::LayerNormBasicLstm, CellKind::LayerNormLstm, CellKind::CoupledInputForgetGate];
    if layer_norm && !by_name.is_some_and(|k| normalises.contains(&k)) {
        return None;
    }
    let one_of = |a: &str, b: &str| [a, b].iter().map(|n| join(&scope, n)).find(has);
    let mut peepholes = match (
        one_of("w_i_diag", "W_I_diag").or_else(|| one_of("wci", "wci")),
        one_of("w_f_diag", "W_F_diag").or_else(|| one_of("wcf", "wcf")),
        one_of("w_o_diag", "W_O_diag").or_else(|| one_of("wco", "wco")),
    ) {
        (Some(i), Some(f), Some(o)) => Some([i, f, o]),
        _ => None,
    };
    let projection = match one_of("projection/kernel", "projection/weights") {
        Some(whole) => vec![whole],
        None => parts_of(&scope, "W_P_", shapes),
    };
    let is_grouped = kernel[0] == join(&scope, "group0/kernel");
    let mut bias = bias;
    let kind = match (by_name, last) {
        (Some(CellKind::CoupledInputForgetGate), "W_0") => {
            extra.extend(["W_F_diag", "W_O_diag"].iter().filter_map(|role| is_apart(role)));
            peepholes = None;
            CellKind::CoupledInputForgetGate
        }
        (Some(CellKind::CoupledInputForgetGate), _) => return None,
        (Some(CellKind::WeightNorm), _) => {
            extra.extend(["norm_0", "norm_1", "projection/norm_0"].iter().filter_map(|role| is_apart(role)));
            // With `norm=False` it is an `LSTMCell`.
            if extra.is_empty() { CellKind::Lstm } else { CellKind::WeightNorm }
        }
        (_, "kernel_w") => {
            extra.extend(is_apart("kernel_u"));
            CellKind::Indy
        }
        _ if is_grouped => {
            extra.extend(["bias_i", "bias_j", "bias_f", "bias_o"].iter().filter_map(|role| is_apart(role)));
            CellKind::Grouped
        }
        (Some(CellKind::Indy | CellKind::Grouped), _) => return None,
        (Some(kind), _) => kind,
        (None, _) if layer_norm || bias.is_none() => return None,
        (None, _) => {
            let named = only.iter().any(|o| is_at_or_below(&scope, o));
            let variables = CellVariables { kernel: kernel.clone(), bias: bias.clone(), ..CellVariables::default() };
            let shown = graph.is_some_and(|(g, i)| is_lstm(g, i, &kernel[0]));
            let taken = shown || (named && fits(&variables, shapes));
            if !taken {
                return None;
            }
            CellKind::Named
        }
    };
    if layer_norm {
        // `LayerNormLSTMCell` and the coupled cell make a bias all the same and leave it unused.
        bias = None;
    } else if bias.is_none() && kind != CellKind::Grouped {
        return None;
    }
    let variables = CellVariables { kernel, bias, peepholes, projection, extra };
    Some(Candidate { scope, kind, layer_norm, variables })
}

/// The gains and shifts of layer normalisation; a coupled cell has none for its input gate.
const NORMS: [&str; 10] = [
    "input/gamma",
    "input/beta",
    "transform/gamma",
    "transform/beta",
    "forget/gamma",
    "forget/beta",
    "output/gamma",
    "output/beta",
    "state/gamma",
    "state/beta",
];

/// A kernel, its scope and its bias, by names.
struct Parts {
    scope: String,
    kernel: Vec<String>,
    bias: Option<String>,
}

/// If `last` is the (first) kernel of a cell: the cell's scope, the kernel's keys in row order, and the bias.
fn parts(scope: &str, last: &str, shapes: &BTreeMap<&str, &[usize]>) -> Option<Parts> {
    let has = |name: &String| shapes.contains_key(name.as_str());
    let (cell, bias) = match last {
        "kernel" | "kernel_w" => (scope, join(scope, "bias")),
        "weights" => (scope, join(scope, "biases")),
        "W" => (scope, join(scope, "b")),
        "W_0" => (scope, join(scope, "B")),
        // `_linear` of 0.12 and before has a scope of its own inside the cell's.
        "Matrix" if split(scope).1 == "Linear" => (split(scope).0, join(scope, "Bias")),
        "Matrix" => (scope, join(scope, "Bias")),
        _ => return None,
    };
    if last == "kernel" && split(scope).1 == "group0" {
        let cell = split(scope).0;
        let kernel: Vec<String> = (0..).map(|n| join(cell, &format!("group{n}/kernel"))).take_while(has).collect();
        let whole = has(&join(cell, "bias_i"));
        return whole.then(|| Parts { scope: cell.to_owned(), kernel, bias: None });
    }
    let kernel = if last == "W_0" { parts_of(scope, "W_", shapes) } else { vec![join(scope, last)] };
    Some(Parts { scope: cell.to_owned(), kernel, bias: Some(bias).filter(has) })
}

/// The variables `<stem>0`, `<stem>1`, … of a scope, between which `_get_concat_variable` spreads the rows of one matrix.
fn parts_of(scope: &str, stem: &str, shapes: &BTreeMap<&str, &[usize]>) -> Vec<String> {
    let name = |n: usize| join(scope, &format!("{stem}{n}"));
    (0..).map(name).take_while(|name| shapes.contains_key(name.as_str())).collect()
}

/// Whether the graph uses a kernel as an LSTM does, whatever its name.
fn is_lstm(graph: &GraphIndex<'_>, instances: &Instances, kernel: &str) -> bool {
    let mut of = instances.of(graph, kernel).iter();
    of.any(|i| graph_facts::of(graph, &instances.all[*i], None).is_ok_and(|f| f.is_lstm))
}

/// The cells that only the graph shows: their keys say nothing, as where a saver was given other names.
fn by_graph(
    shapes: &BTreeMap<&str, &[usize]>,
    graph: &GraphIndex<'_>,
    instances: &Instances,
    taken: &BTreeSet<String>,
) -> Vec<Candidate> {
    let keys = graph.keys();
    let key = |id: &NodeId| {
        // A variable whose average was saved under its name, or the other way round, is called by its own.
        let key = *keys.get(id)?;
        let own = key.strip_suffix(super::averages::SUFFIX).filter(|k| shapes.contains_key(k));
        shapes.contains_key(key).then(|| own.unwrap_or(key).to_owned())
    };
    let mut found: Vec<Candidate> = vec![];
    let mut scopes = BTreeSet::new();
    for instance in instances.kernels() {
        // The parts of a partitioned variable are one key.
        let kernel: Vec<String> = instance.kernels.iter().filter_map(key).collect();
        let partitioned = |id: &NodeId| graph.name(*id).contains("/part_");
        let complete = kernel.len() == instance.kernels.len() || instance.kernels.iter().all(partitioned);
        if kernel.is_empty()
            || !complete
            || kernel.iter().any(|k| taken.contains(k))
            || other_cell(&kernel[0]).is_some()
        {
            continue;
        }
        let Ok(facts) = graph_facts::of(graph, instance, None) else { continue };
        if !facts.is_lstm {
            continue;
        }
        let bias = instance.bias.iter().find_map(key);
        let peepholes = match facts.peepholes.each_ref().map(|p| p.as_ref().and_then(key)) {
            [Some(i), Some(f), Some(o)] => Some([i, f, o]),
            _ => None,
        };
        let projection = graph_facts::projection(graph, instance, &facts).as_ref().and_then(key).into_iter().collect();
        let extra = BTreeMap::new();
        let variables = CellVariables { kernel, bias, peepholes, projection, extra };
        let parent = split(&variables.kernel[0]).0.to_owned();
        let scope =
            if parent.is_empty() || !scopes.insert(parent.clone()) { variables.kernel[0].clone() } else { parent };
        found.push(Candidate { scope, kind: CellKind::Named, layer_norm: false, variables });
    }
    found
}

/// Whether shapes alone would allow an LSTM: four gates, a bias as long, and room for an input.
fn fits(variables: &CellVariables, shapes: &BTreeMap<&str, &[usize]>) -> bool {
    let rows: Option<usize> = variables.kernel.iter().map(|k| shapes.get(k.as_str())?.first().copied()).sum();
    let columns = variables.kernel.first().and_then(|k| shapes.get(k.as_str())?.get(1).copied());
    let bias = variables.bias.as_ref().and_then(|b| shapes.get(b.as_str())?.first().copied());
    matches!((rows, columns), (Some(rows), Some(columns)) if columns % 4 == 0 && rows > columns / 4 && bias == Some(columns))
}

/// The name of a recurrent cell, not an LSTM that gatewise reads, in whose scope `path` lies.
pub(super) fn other_cell(path: &str) -> Option<&'static str> {
    path.split('/').find_map(|component| {
        let stem = without_number(component);
        OTHER_CELLS.iter().find(|(scope, _)| *scope == stem).map(|(_, class)| *class)
    })
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
}
