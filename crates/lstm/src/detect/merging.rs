//! What becomes of the outputs of two directions, and in which order a cell's steps lie in its input.

use std::collections::{BTreeMap, BTreeSet};

use tf_checkpoint::Attr;

use super::dropout;
use super::graph_index::{GraphIndex, NodeId, Output};
use super::instances::Form;
use super::wiring::{Uses, passed_through, without_version};
use crate::Merge;

/// How two outputs are joined, and where.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) merge: Merge,
    /// The operations that add or multiply; empty where the outputs are side by side.
    pub(super) at: BTreeSet<NodeId>,
    /// They are added or multiplied, and also read otherwise.
    pub(super) also_read: bool,
}

/// Reads how the outputs of two cells are joined: added or multiplied only if nothing reads them otherwise.
pub(super) fn joined(graph: &GraphIndex<'_>, forward: &Uses<'_>, backward: &Uses<'_>) -> Joined {
    let (f, b) = (readers(graph, forward), readers(graph, backward));
    let both: BTreeSet<NodeId> = f.keys().filter(|n| b.contains_key(n)).copied().collect();
    let ops: BTreeSet<&str> = both.iter().map(|n| without_version(graph.op(*n))).collect();
    let merge = match ops.iter().copied().collect::<Vec<_>>()[..] {
        ["Add"] => Merge::Sum,
        ["Mul"] => Merge::Mul,
        _ => {
            let also_read = ops.contains("Add") || ops.contains("Mul");
            return Joined { also_read, ..Joined::default() };
        }
    };
    if both.len() < f.len() || both.len() < b.len() || graph.exhausted() {
        return Joined { also_read: true, ..Joined::default() };
    }
    if merge == Merge::Sum
        && let Some(halves) = both.iter().map(|n| half(graph, *n)).collect::<Option<BTreeSet<_>>>()
    {
        return Joined { merge: Merge::Ave, at: halves, also_read: false };
    }
    Joined { merge, at: both, also_read: false }
}

/// The operation that halves a value, if nothing else reads it.
fn half(graph: &GraphIndex<'_>, sum: NodeId) -> Option<NodeId> {
    let readers: Vec<_> = graph.forward((sum, 0)).collect();
    let [reader] = readers[..] else { return None };
    let by = graph.scalar(graph.other(reader.node, reader.input)?)?;
    match graph.op(reader.node) {
        "RealDiv" | "Div" if reader.input == 0 && by == 2.0 => Some(reader.node),
        "Mul" if by == 0.5 => Some(reader.node),
        _ => None,
    }
}

/// What reads the outputs of a cell, behind whatever only moves values about: node → input.
fn readers(graph: &GraphIndex<'_>, uses: &Uses<'_>) -> BTreeMap<NodeId, usize> {
    let own: BTreeSet<Output> = uses.instances.iter().filter_map(|i| i.h).collect();
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut pending: Vec<Output> = uses.outputs.iter().flatten().copied().collect();
    while let Some(at) = pending.pop() {
        if !seen.insert(at) {
            continue;
        }
        for reader in graph.forward(at) {
            let op = graph.op(reader.node);
            let inputs = graph.inputs(reader.node);
            let is_own = match without_version(op) {
                // Only the cell's own h joined with its input; the outputs joined with one another are read so.
                "Concat" => inputs.iter().flatten().any(|i| own.contains(i)),
                "LSTMBlockCell" | "BlockLSTM" => {
                    uses.instances.iter().any(|i| matches!(i.form, Form::Block(node) if node == reader.node))
                }
                _ => false,
            };
            if is_own {
                continue;
            }
            match passed_through(op, inputs.len()) {
                Some(through) if through.contains(&reader.input) && without_version(op) != "Concat" => {
                    // A split hands its value to all of its outputs.
                    let outputs: BTreeSet<usize> = graph.readers(reader.node).iter().map(|r| r.output).collect();
                    pending.extend(outputs.into_iter().map(|o| (reader.node, o)));
                }
                // Read for its length, or as the index of something.
                Some(through) if !through.contains(&reader.input) => {}
                _ => {
                    found.insert(reader.node, reader.input);
                }
            }
        }
    }
    found
}

/// Whether the steps come first in the sequence that a cell reads, before any transposition that the graph shows:
/// `dynamic_rnn` transposes what is batch-major. `None` where the graph does not say.
pub(super) fn time_major(graph: &GraphIndex<'_>, uses: &Uses<'_>) -> Option<bool> {
    let found: BTreeSet<bool> = uses
        .instances
        .iter()
        .filter_map(|instance| {
            let [x] = instance.x[..] else { return None };
            let whole = matches!(instance.form, Form::Block(n) if without_version(graph.op(n)) == "BlockLSTM");
            order_of_steps(graph, x, whole)
        })
        .collect();
    match found.into_iter().collect::<Vec<_>>()[..] {
        [one] => Some(one),
        _ => None,
    }
}

fn order_of_steps(graph: &GraphIndex<'_>, mut at: Output, mut whole: bool) -> Option<bool> {
    for _ in 0..64 {
        at = graph.behind(at);
        if let Some(before) = dropout::before(graph, at) {
            at = before;
            continue;
        }
        let op = without_version(graph.op(at.0));
        let next = match op {
            "Transpose" if whole => return Some(false),
            "Reverse" | "ReverseSequence" => 0,
            _ if whole => return if passes_or_is_input(op) { Some(true) } else { None },
            "TensorArrayRead" => 2,
            "TensorListGetItem" | "Slice" => 0,
            "TensorArrayScatter" => {
                whole = true;
                2
            }
            "TensorArrayUnpack" => {
                whole = true;
                1
            }
            "TensorListFromTensor" => {
                whole = true;
                0
            }
            // An absent axis is the default, the first.
            "Unpack" => return first_axis(graph.attr(at.0, "axis").or(Some(&Attr::Int(0)))),
            "Squeeze" => match graph.attr(at.0, "squeeze_dims") {
                Some(Attr::List(axes)) if axes.len() == 1 => return first_axis(axes.first()),
                _ => return None,
            },
            // `x[:, t]` drops the second axis, `x[t]` the first.
            "StridedSlice" => match graph.attr(at.0, "shrink_axis_mask") {
                Some(Attr::Int(1)) => return Some(true),
                Some(Attr::Int(2)) => return Some(false),
                _ => return None,
            },
            _ => return None,
        };
        at = graph.input(at.0, next)?;
    }
    None
}

/// Whether a whole sequence that comes from `op` lies as the model has it: an output of another loop does not say.
fn passes_or_is_input(op: &str) -> bool {
    !matches!(op, "TensorArrayGather" | "TensorArrayPack" | "TensorListStack" | "BlockLSTM" | "Merge" | "Exit")
}

fn first_axis(axis: Option<&Attr>) -> Option<bool> {
    match axis {
        Some(Attr::Int(0)) => Some(true),
        Some(Attr::Int(1)) => Some(false),
        _ => None,
    }
}
