//! Where a graph computes an LSTM: each place at which a kernel is multiplied and its product split into gates.
//!
//! Node names differ by cell and release, so only the structure is matched. A graph may hold one cell many times (an
//! unrolled loop, a decoder built twice).

use std::collections::BTreeMap;

use tf_checkpoint::Attr;

use super::graph_index::{GraphIndex, NodeId, Output};

/// One place at which a cell is computed.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// The kernel's variables: several where its rows are spread, or one for each group of a grouped cell.
    pub(super) kernels: Vec<NodeId>,
    /// The variables added to the product.
    pub(super) bias: Vec<NodeId>,
    /// What the cell reads.
    pub(super) x: Vec<Output>,
    /// Its own output of the step before.
    pub(super) h: Option<Output>,
    pub(super) form: Form,
}

/// How it is spelt out.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Operation by operation.
    Operations(Gates),
    /// One fused operation.
    Block(NodeId),
}

/// The gates before anything is added to them or applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gates {
    /// `None` for a coupled cell, whose input gate is one minus its forget gate.
    pub(super) input: Option<Output>,
    pub(super) candidate: Output,
    pub(super) forget: Output,
    pub(super) output: Output,
}

/// Every instance in a graph, by the (first) variable of its kernel.
pub(super) struct Instances {
    pub(super) all: Vec<Instance>,
    by_kernel: BTreeMap<NodeId, Vec<usize>>,
}

impl Instances {
    pub(super) fn new(graph: &GraphIndex<'_>) -> Instances {
        let mut all = vec![];
        for id in graph.ids() {
            all.extend(match graph.op(id) {
                "Split" | "SplitV" => from_split(graph, id),
                "LSTMBlockCell" => from_block(graph, id, 0, 2, 3, 7),
                "BlockLSTM" | "BlockLSTMV2" => from_block(graph, id, 1, 3, 4, 8),
                _ => None,
            });
        }
        let mut by_kernel: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for (index, instance) in all.iter().enumerate() {
            by_kernel.entry(instance.kernels[0]).or_default().push(index);
        }
        Instances { all, by_kernel }
    }

    /// The instances of the cell whose kernel was saved under `key`, by index.
    pub(super) fn of(&self, graph: &GraphIndex<'_>, key: &str) -> &[usize] {
        graph.variable(key).and_then(|id| self.by_kernel.get(&id)).map_or(&[], Vec::as_slice)
    }

    /// The first instance of each kernel.
    pub(super) fn kernels(&self) -> impl Iterator<Item = &Instance> {
        self.by_kernel.values().map(|i| &self.all[i[0]])
    }
}

fn from_block(graph: &GraphIndex<'_>, id: NodeId, x: usize, h: usize, kernel: usize, bias: usize) -> Option<Instance> {
    let kernels = graph.variables_behind(graph.input(id, kernel)?)?;
    let bias = graph.input(id, bias).and_then(|b| graph.variables_behind(b)).unwrap_or_default();
    let x = vec![graph.input(id, x)?];
    Some(Instance { kernels, bias, x, h: graph.input(id, h), form: Form::Block(id) })
}

/// The variables and inputs behind a product with a kernel.
struct Product {
    kernels: Vec<NodeId>,
    bias: Vec<NodeId>,
    x: Vec<Output>,
    h: Option<Output>,
}

/// `split(x · kernel + bias)` into four gates i, j, f, o, or three j, f, o of a coupled cell.
fn from_split(graph: &GraphIndex<'_>, split: NodeId) -> Option<Instance> {
    let Some(Attr::Int(count @ (3 | 4))) = graph.attr(split, "num_split") else { return None };
    let value = graph.input(split, if graph.op(split) == "SplitV" { 0 } else { 1 })?;
    let mut product = behind_sum(graph, value)?;
    let mut gates: Vec<Output> = (0..*count as usize).map(|n| (split, n)).collect();
    if product.bias.is_empty()
        && let Some((joined, groups)) = grouped(graph, split)
    {
        // Every group has its own product and split; the gates of all are joined before the bias. The group that
        // comes first stands for all.
        if groups.first() != Some(&split) {
            return None;
        }
        product.kernels = vec![];
        for group in groups {
            let value = graph.input(group, if graph.op(group) == "SplitV" { 0 } else { 1 })?;
            product.kernels.extend(behind_sum(graph, value)?.kernels);
        }
        gates = joined;
    }
    let gate = |n: usize| gates[n];
    let gates = match gates.len() {
        4 => Gates { input: Some(gate(0)), candidate: gate(1), forget: gate(2), output: gate(3) },
        _ => Gates { input: None, candidate: gate(0), forget: gate(1), output: gate(2) },
    };
    let Product { kernels, bias, x, h } = product;
    Some(Instance { kernels, bias, x, h, form: Form::Operations(gates) })
}

/// Steps back from a sum to the product with the kernel.
fn behind_sum(graph: &GraphIndex<'_>, value: Output) -> Option<Product> {
    let mut bias = vec![];
    let mut recurrent = None;
    let (mut node, _) = graph.behind(value);
    // A bias, and the diagonal recurrent part of an Indy cell.
    for _ in 0..3 {
        match graph.op(node) {
            "MatMul" => break,
            "BiasAdd" => {
                bias = graph.variables_behind(graph.input(node, 1)?)?;
                node = graph.behind(graph.input(node, 0)?).0;
            }
            "Add" | "AddV2" => {
                let sides = [graph.behind(graph.input(node, 0)?), graph.behind(graph.input(node, 1)?)];
                let side = sides.iter().position(|(id, _)| matches!(graph.op(*id), "MatMul" | "BiasAdd" | "Add"))?;
                let other = sides[1 - side];
                match graph.variables_behind(other) {
                    Some(variables) => bias = variables,
                    None => recurrent = Some(diagonal(graph, other)?),
                }
                node = sides[side].0;
            }
            _ => return None,
        }
    }
    if graph.op(node) != "MatMul" {
        return None;
    }
    if ["transpose_a", "transpose_b"].iter().any(|a| graph.attr(node, a) == Some(&Attr::Bool(true))) {
        return None;
    }
    let weights = graph.input(node, 1)?;
    let kernels = graph.variables_behind(weights).or_else(|| normalised(graph, weights))?;
    let left = graph.behind(graph.input(node, 0)?);
    if let Some(h) = recurrent {
        return Some(Product { kernels, bias, x: vec![left], h: Some(h) });
    }
    let parts: Vec<Output> = match graph.op(left.0) {
        "ConcatV2" => graph.inputs(left.0).split_last()?.1.iter().copied().flatten().collect(),
        "Concat" => graph.inputs(left.0).split_first()?.1.iter().copied().flatten().collect(),
        _ => return None,
    };
    // The recurrent part comes last in every release.
    let (h, x) = parts.split_last()?;
    Some(Product { kernels, bias, x: x.to_vec(), h: Some(*h) })
}

/// `tile(h) ⊙ kernel_u` of an Indy cell: its h.
fn diagonal(graph: &GraphIndex<'_>, from: Output) -> Option<Output> {
    if graph.op(from.0) != "Mul" {
        return None;
    }
    let tile = (0..2).filter_map(|s| graph.input(from.0, s)).find(|(id, _)| graph.op(*id) == "Tile")?;
    graph.input(tile.0, 0)
}

/// The kernel behind `concat(l2_normalize(kernel[rows]) ⊙ norm, …)` of a weight-normalised cell.
fn normalised(graph: &GraphIndex<'_>, from: Output) -> Option<Vec<NodeId>> {
    let (concat, _) = graph.behind(from);
    if graph.op(concat) != "ConcatV2" {
        return None;
    }
    let mut kernel = None;
    for part in graph.inputs(concat).split_last()?.1 {
        let rows = source_of_rows(graph, (*part)?)?;
        if *kernel.get_or_insert(rows) != rows {
            return None;
        }
    }
    kernel.map(|k| vec![k])
}

fn source_of_rows(graph: &GraphIndex<'_>, from: Output) -> Option<NodeId> {
    let mut at = from;
    // ⊙ norm, ⊙ 1/length, the rows, the variable.
    for _ in 0..8 {
        let (id, _) = graph.behind(at);
        at = match graph.op(id) {
            "StridedSlice" | "Slice" => return graph.variable_behind(graph.input(id, 0)?),
            "Mul" => {
                let scale = |o: &Output| {
                    graph.variable_behind(*o).is_some()
                        || matches!(graph.op(graph.behind(*o).0), "Rsqrt" | "Reciprocal")
                };
                (0..2).filter_map(|s| graph.input(id, s)).find(|o| !scale(o))?
            }
            _ => return None,
        };
    }
    None
}

/// If the gates of `split` are joined with those of other splits: the joined gates, and the splits in their order.
fn grouped(graph: &GraphIndex<'_>, split: NodeId) -> Option<(Vec<Output>, Vec<NodeId>)> {
    let mut gates = vec![];
    let mut splits = None;
    for gate in 0..4 {
        let reader = graph.forward((split, gate)).find(|r| matches!(graph.op(r.node), "ConcatV2" | "Identity"))?;
        let parts: Vec<NodeId> = match graph.op(reader.node) {
            "Identity" => vec![split],
            _ => graph.inputs(reader.node).split_last()?.1.iter().map(|p| Some((*p)?.0)).collect::<Option<_>>()?,
        };
        let sum = graph.forward((reader.node, 0)).find(|r| graph.op(r.node) == "BiasAdd")?;
        if *splits.get_or_insert_with(|| parts.clone()) != parts {
            return None;
        }
        gates.push((sum.node, 0));
    }
    Some((gates, splits?))
}
