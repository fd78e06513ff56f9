//! LSTM layers of Keras as variables: kernels apart, columns i, f, c, o, the forget bias inside the bias.
//!
//! `tf.keras` of TensorFlow 1.x saves them among a graph's variables, object-based checkpoints and Keras files under
//! their layers. What a layer's functions are is in its configuration, or in the graph.

use std::collections::{BTreeMap, BTreeSet};

use super::graph_index::{GraphIndex, NodeId};
use super::names::{Candidate, join, split};
use super::{CellKind, CellVariables, FoundNetwork, Problem};
use crate::{Activation, CellError, Merge, Network};

/// What a layer's configuration says of its cell, and its model of the layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// φ, for candidate and output.
    pub activation: Option<Activation>,
    /// σ, for the three gates.
    pub recurrent_activation: Option<Activation>,
    /// σ where nothing says it: what the Keras that wrote the layer defaults to. Without it, hard sigmoid: the default of
    /// `tf.keras` up to TensorFlow 1.15.
    pub usual_recurrent_activation: Option<Activation>,
    /// A layer on its own that reads its input last step first and gives its outputs in that order.
    pub go_backwards: bool,
    /// Steps that are masked give zeros; by default they repeat the output before.
    pub zero_output_for_mask: bool,
    /// Whether its sequences have their steps first.
    pub time_major: Option<bool>,
    /// Of the forward half of a `Bidirectional`: what becomes of the two outputs.
    pub merge: Option<Merge>,
    /// The cell whose sequences it reads, and nothing else: of a `Bidirectional` the forward half's.
    pub reads: Option<String>,
}

/// Every scope with a kernel and a recurrent kernel of four gates.
pub(super) fn candidates(shapes: &BTreeMap<&str, &[usize]>) -> Vec<Candidate> {
    shapes.keys().filter_map(|name| candidate(name, shapes)).collect()
}

fn candidate(name: &str, shapes: &BTreeMap<&str, &[usize]>) -> Option<Candidate> {
    let (scope, "recurrent_kernel") = split(name) else { return None };
    let key = |role: &str| Some(join(scope, role)).filter(|k| shapes.contains_key(k.as_str()));
    let shape = |key: &String| shapes.get(key.as_str()).copied().unwrap_or_default();
    let recurrent = name.to_owned();
    // Three gates are a GRU's, one a simple cell's.
    let &[units, columns] = shape(&recurrent) else { return None };
    if units == 0 || columns != units.checked_mul(4)? {
        return None;
    }
    let bias = key("bias");
    // A CuDNNLSTM has a bias for the input and another for the output before.
    let doubled =
        bias.as_ref().is_some_and(|b| Some(shape(b)) == columns.checked_mul(2).map(|n| [n]).as_ref().map(|s| &s[..]));
    let variables = CellVariables { kernel: vec![key("kernel")?, recurrent], bias, ..CellVariables::default() };
    let kind = if doubled { CellKind::KerasCudnn } else { CellKind::Keras };
    Some(Candidate { scope: scope.to_owned(), kind, layer_norm: false, variables })
}

/// The networks of layers as their configurations and their model wire them: halves of a `Bidirectional` joined as it
/// says, a layer that goes backwards as such, and layers that read one another stacked.
pub(super) fn wired(networks: Vec<FoundNetwork>, known: &BTreeMap<String, Known>) -> Vec<FoundNetwork> {
    let of = |network: &FoundNetwork| known.get(&network.network.cells().first()?.name);
    let mut networks: Vec<FoundNetwork> = networks
        .into_iter()
        .map(|mut network| {
            let known = of(&network);
            network.network = match (network.network, known) {
                (Network::Cell(cell), Some(known)) if known.go_backwards => Network::Backward(cell),
                (Network::Bidirectional { forward, backward, merge }, Some(known)) => {
                    Network::Bidirectional { forward, backward, merge: known.merge.unwrap_or(merge) }
                }
                (other, _) => other,
            };
            network
        })
        .collect();
    let first = |network: &FoundNetwork| network.network.cells().first().map_or("", |c| &c.name).to_owned();
    let by_first: BTreeMap<String, usize> = networks.iter().enumerate().map(|(i, n)| (first(n), i)).collect();
    let below = |network: &FoundNetwork| by_first.get(of(network)?.reads.as_ref()?).copied();
    let below: Vec<Option<usize>> = networks.iter().map(below).collect();
    // Only a chain becomes a stack: a network read by two others stays apart from both.
    let mut above: Vec<Vec<usize>> = vec![vec![]; networks.len()];
    for (index, below) in below.iter().enumerate() {
        if let Some(below) = below {
            above[*below].push(index);
        }
    }
    let next = |index: usize| if let [one] = above[index][..] { Some(one) } else { None };
    let starts: Vec<usize> = (0..networks.len()).filter(|i| below[*i].is_none_or(|b| next(b).is_none())).collect();
    let mut left: Vec<Option<FoundNetwork>> = networks.drain(..).map(Some).collect();
    for start in starts {
        let (mut names, mut parts) = (vec![], vec![]);
        let mut at = Some(start);
        while let Some((index, network)) = at.and_then(|index| Some((index, left[index].take()?))) {
            names.push(network.name);
            parts.push(network.network);
            at = next(index);
        }
        let network = if parts.len() == 1 { parts.remove(0) } else { Network::Stack(parts) };
        networks.push(FoundNetwork { name: names.join(" + "), network });
    }
    // What no start leads to is a circle, each of it left as it is.
    networks.extend(left.into_iter().flatten());
    networks
}

/// A layer has one kernel of input rows and one of as many rows as units.
pub(super) fn check(variables: &CellVariables, shapes: &BTreeMap<&str, &[usize]>, units: usize) -> Result<(), Problem> {
    let shape = |name: Option<&String>| name.and_then(|n| shapes.get(n.as_str()).copied()).unwrap_or_default().to_vec();
    let found = shape(variables.kernel.get(1));
    let expected = vec![units, units.saturating_mul(4)];
    if variables.kernel.len() == 2 && found == expected {
        return Ok(());
    }
    Err(CellError::Shape { tensor: "recurrent_kernel", found, expected, units }.into())
}

/// What the graph applies to the products with the recurrent kernel: to the gates, and to the candidate.
pub(super) fn functions(graph: &GraphIndex<'_>, recurrent_kernel: &str) -> (Option<Activation>, Option<Activation>) {
    let Some(variable) = graph.variable(recurrent_kernel) else { return (None, None) };
    let mut pending: Vec<(NodeId, bool)> = vec![(variable, false)];
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut hard = false;
    while let Some((node, multiplied)) = pending.pop() {
        if !seen.insert((node, multiplied)) || !graph.step() {
            continue;
        }
        for reader in graph.readers(node) {
            let op = graph.op(reader.node);
            match op {
                "ReadVariableOp" | "Identity" | "Enter" | "RefEnter" | "Switch" | "Merge" | "Split" | "SplitV"
                | "StridedSlice" | "Slice" | "Unpack" => pending.push((reader.node, multiplied)),
                "MatMul" => pending.push((reader.node, true)),
                "Add" | "AddV2" | "BiasAdd" if multiplied => pending.push((reader.node, true)),
                // 0.2·z, of which 0.5 more, clipped to 0…1, is the gate.
                "Mul" if multiplied => {
                    hard |= graph.other(reader.node, reader.input).and_then(|o| graph.scalar(o)) == Some(0.2);
                }
                _ if multiplied => found.extend(Activation::from_tf_op(op).map(|a| a.keras_name())),
                _ => {}
            }
        }
    }
    let gates = match (hard, found.contains("sigmoid")) {
        (true, false) => Some(Activation::HardSigmoidKeras2),
        (false, true) => Some(Activation::Sigmoid),
        _ => None,
    };
    found.remove("sigmoid");
    let mut others = Activation::ALL.into_iter().filter(|a| found.contains(a.keras_name()));
    let candidate = others.next().filter(|_| others.next().is_none() && gates.is_some());
    (gates, candidate)
}
