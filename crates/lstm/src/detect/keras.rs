//! LSTM layers of Keras as variables: kernels apart, columns i, f, c, o, the forget bias inside the bias.
//!
//! `tf.keras` of TensorFlow 1.x saves them among a graph's variables, object-based checkpoints and Keras files under
//! their layers. What a layer's functions are is in its configuration, or in the graph.

use std::collections::{BTreeMap, BTreeSet};

use super::graph_index::{GraphIndex, NodeId};
use super::names::{Candidate, join, split};
use super::{CellKind, CellVariables, Problem};
use crate::{Activation, CellError};

/// What a layer's configuration says of its cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// φ, for candidate and output.
    pub activation: Option<Activation>,
    /// σ, for the three gates.
    pub recurrent_activation: Option<Activation>,
    /// σ where nothing says it: what the Keras that wrote the layer defaults to. Without it, hard sigmoid: the default of
    /// `tf.keras` up to TensorFlow 1.15.
    pub usual_recurrent_activation: Option<Activation>,
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
