//! Which cell feeds which, as the graph shows it.

use std::collections::BTreeSet;

use tf_checkpoint::Node;

use super::CellVariables;
use super::graph_facts::{Instance, instances};
use super::graph_index::GraphIndex;

/// Where a cell's input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// From the outputs of these cells (by index) and nothing else.
    Cells(BTreeSet<usize>),
    /// From elsewhere: the model's input, or an operation that changes values.
    Elsewhere,
    /// The graph does not show the cell.
    Unknown,
}

/// The input of each cell. `cells` are the variables of all cells of the checkpoint.
pub(super) fn feeds(graph: &GraphIndex<'_>, cells: &[&CellVariables]) -> Vec<Feed> {
    let found: Vec<Vec<Instance>> = cells.iter().map(|c| instances(graph, c)).collect();
    let kernels: Vec<BTreeSet<&str>> = found.iter().map(|i| i.iter().map(kernel_node).collect()).collect();
    found
        .iter()
        .enumerate()
        .map(|(cell, instances)| {
            let mut sources = BTreeSet::new();
            let mut elsewhere = false;
            for instance in instances {
                match trace_back(graph, instance, cell, &kernels) {
                    Some(cells) => sources.extend(cells),
                    None => elsewhere = true,
                }
            }
            match (instances.is_empty(), elsewhere || sources.is_empty()) {
                (true, _) => Feed::Unknown,
                (false, true) => Feed::Elsewhere,
                (false, false) => Feed::Cells(sources),
            }
        })
        .collect()
}

/// The node that stands for an instance: its product with the kernel, or the fused operation.
fn kernel_node<'g>(instance: &Instance<'g>) -> &'g str {
    match instance {
        Instance::Operations { product, .. } => &product.name,
        Instance::Block(node) => &node.name,
    }
}

/// Walks from a cell's input back through operations that only move values about. `None` if the walk meets anything
/// else than other cells' outputs.
fn trace_back<'g>(
    graph: &GraphIndex<'g>,
    instance: &Instance<'g>,
    own: usize,
    kernels: &[BTreeSet<&str>],
) -> Option<BTreeSet<usize>> {
    let mut pending: Vec<&Node> = match instance {
        // [x, h] is the product's left input; x is its first part.
        Instance::Operations { product, .. } => {
            let joined = graph.input(product, 0)?.0;
            match joined.op.as_str() {
                "ConcatV2" => vec![graph.input(joined, 0)?.0],
                "Concat" => vec![graph.input(joined, 1)?.0],
                _ => return None,
            }
        }
        Instance::Block(node) if node.op == "BlockLSTM" => vec![graph.input(node, 1)?.0],
        Instance::Block(node) => vec![graph.input(node, 0)?.0],
    };
    let mut sources = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(node) = pending.pop() {
        if !seen.insert(node.name.as_str()) {
            continue;
        }
        if let Some(cell) = output_of(graph, node, kernels) {
            if cell == own {
                return None;
            }
            sources.insert(cell);
            continue;
        }
        if let Some(dropped_out) = before_dropout(graph, node) {
            pending.push(dropped_out);
            continue;
        }
        pending.extend(passed_through(node)?.iter().filter_map(|input| Some(graph.input(node, *input)?.0)));
    }
    Some(sources)
}

/// What dropout was applied to, if `node` is its last operation: (x ÷ keep) ⊙ mask, where the mask is a Floor up to
/// TensorFlow 1.12 and a Cast since, and the scaling a division or a product. At inference dropout does nothing.
fn before_dropout<'g>(graph: &GraphIndex<'g>, node: &'g Node) -> Option<&'g Node> {
    let is_mask = |n: &Node| matches!(n.op.as_str(), "Floor" | "Cast");
    if node.op != "Mul" {
        return None;
    }
    let (left, right) = (graph.input(node, 0)?.0, graph.input(node, 1)?.0);
    let scaled = if is_mask(right) {
        left
    } else if is_mask(left) {
        right
    } else {
        return None;
    };
    match scaled.op.as_str() {
        "RealDiv" | "Div" | "Mul" => Some(graph.input(scaled, 0)?.0),
        _ => None,
    }
}

/// The inputs whose values an operation hands on unchanged; empty for constants; `None` if it computes.
fn passed_through(node: &Node) -> Option<Vec<usize>> {
    let all = || (0..node.inputs.len()).collect();
    Some(match node.op.as_str() {
        "Const" | "Fill" | "ZerosLike" | "TensorArrayV3" | "TensorArrayV2" | "TensorArray" => vec![],
        "Identity" | "Enter" | "RefEnter" | "Exit" | "NextIteration" | "Switch" | "Transpose" | "Reshape"
        | "ReverseSequence" | "ReverseV2" | "Reverse" | "StridedSlice" | "Slice" | "Squeeze" | "ExpandDims"
        | "Unpack" | "CheckNumerics" => vec![0],
        "Merge" | "Pack" | "ConcatV2" => all(),
        "Concat" => (1..node.inputs.len()).collect(),
        "Select" | "SelectV2" => vec![1, 2],
        "SplitV" => vec![0],
        "Split" => vec![1],
        "TensorArrayReadV3" | "TensorArrayGatherV3" | "TensorArrayRead" | "TensorArrayPack" | "TensorArrayGather" => {
            vec![2]
        }
        "TensorArrayWriteV3" | "TensorArrayWrite" => vec![2, 3],
        "TensorArrayScatterV3" | "TensorArrayScatter" | "TensorArrayUnpack" => vec![2],
        _ => return None,
    })
}

/// The cell whose output `node` is: h' = φ(c') ⊙ σ(o), the product of a tanh-like value and a sigmoid of that cell's
/// fourth gate, or output of its fused operation.
fn output_of<'g>(graph: &GraphIndex<'g>, node: &'g Node, kernels: &[BTreeSet<&str>]) -> Option<usize> {
    let owner = |name: &str| kernels.iter().position(|k| k.contains(name));
    if matches!(node.op.as_str(), "LSTMBlockCell" | "BlockLSTM") {
        return owner(&node.name);
    }
    if node.op == "MatMul" {
        // A projected output: the product of such an h with the projection.
        let (left, _) = graph.input(node, 0)?;
        return if left.op == "Mul" { output_of(graph, left, kernels) } else { None };
    }
    if node.op != "Mul" {
        return None;
    }
    (0..2).find_map(|side| {
        let (sigmoid, _) = graph.input(node, side)?;
        if sigmoid.op != "Sigmoid" {
            return None;
        }
        let (mut split, mut output) = graph.input(sigmoid, 0)?;
        if matches!(split.op.as_str(), "Add" | "AddV2") {
            // A peephole is added to the gate first.
            (split, output) = (0..2).filter_map(|i| graph.input(split, i)).find(|(n, _)| n.op.starts_with("Split"))?;
        }
        if output != 3 || !split.op.starts_with("Split") {
            return None;
        }
        let value = if split.op == "SplitV" { 0 } else { 1 };
        let (sum, _) = graph.input(split, value)?;
        (0..2).find_map(|i| owner(&graph.input(sum, i)?.0.name))
    })
}
