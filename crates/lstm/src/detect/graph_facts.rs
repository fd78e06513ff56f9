//! What a graph says of one cell: forget bias, activation, clipping, and which class it is.
//!
//! Node names differ by cell and release, so only the structure is matched: the kernel's product, the bias, a split
//! into four gates i, j, f, o, and what is done with each. A graph may hold the cell many times (an unrolled loop, a
//! decoder built twice); all copies must agree.

use tf_checkpoint::{Attr, Node};

use super::graph_index::{GraphIndex, Reader};
use super::{CellKind, CellVariables, Problem};
use crate::Activation;

/// What was found; `None` where the graph does not show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) kind: Option<CellKind>,
    pub(super) forget_bias: Option<f32>,
    pub(super) activation: Option<Activation>,
    pub(super) cell_clip: Option<f32>,
    pub(super) projection_clip: Option<f32>,
}

/// One use of the cell's kernel in the graph.
pub(super) enum Instance<'g> {
    /// Spelt out: the product with the kernel, and the split into gates.
    Operations { product: &'g Node, split: &'g Node },
    /// One fused operation.
    Block(&'g Node),
}

/// Every use of the kernel as an LSTM.
pub(super) fn instances<'g>(graph: &GraphIndex<'g>, variables: &CellVariables) -> Vec<Instance<'g>> {
    let Some(kernel) = variables.kernel.first() else { return vec![] };
    let mut found = vec![];
    for Reader { node, input, .. } in graph.uses(kernel) {
        match (node.op.as_str(), input) {
            ("MatMul", 1) => {
                if let Some(split) = split_of(graph, node) {
                    found.push(Instance::Operations { product: node, split });
                }
            }
            ("LSTMBlockCell", 3) | ("BlockLSTM", 4) => found.push(Instance::Block(node)),
            _ => {}
        }
    }
    found
}

/// Whether the graph uses these variables as an LSTM does, whatever their names.
pub(super) fn is_lstm(graph: &GraphIndex<'_>, variables: &CellVariables) -> bool {
    instances(graph, variables).iter().any(|instance| match instance {
        Instance::Block(_) => true,
        // A GRU splits in two and other cells use other functions: require sigmoids on i and o.
        Instance::Operations { split, .. } => {
            [0, 3].iter().all(|gate| gate_operation(graph, split, *gate).is_some_and(|n| n.op == "Sigmoid"))
        }
    })
}

/// Reads the facts of a cell; those of all its instances must agree.
pub(super) fn mine(graph: &GraphIndex<'_>, variables: &CellVariables) -> Result<Facts, Problem> {
    let mut all = vec![];
    for instance in instances(graph, variables) {
        all.push(match instance {
            Instance::Block(node) => block(node)?,
            Instance::Operations { split, .. } => operations(graph, split)?,
        });
    }
    let mut facts = all.first().cloned().unwrap_or_default();
    let differing = |differs: &dyn Fn(&Facts) -> String, what, option| {
        let mut values: Vec<String> = all.iter().map(differs).collect();
        values.sort();
        values.dedup();
        if values.len() > 1 { Err(Problem::Ambiguous { what, values: values.join(" and "), option }) } else { Ok(()) }
    };
    let show = |value: Option<f32>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
    differing(&|f| show(f.forget_bias), "forget bias", "--forget-bias and --override")?;
    let activation = |f: &Facts| f.activation.map_or_else(|| "an unknown one".to_owned(), |a| a.to_string());
    differing(&activation, "activation", "--activation and --override")?;
    differing(&|f| show(f.cell_clip), "cell clip", "--override")?;
    if let Some(projection) = &variables.projection {
        facts.projection_clip = projection_clip(graph, projection)?;
    }
    Ok(facts)
}

/// MatMul → BiasAdd or Add → Split into four.
fn split_of<'g>(graph: &GraphIndex<'g>, product: &'g Node) -> Option<&'g Node> {
    graph.readers(&product.name).iter().filter(|r| matches!(r.node.op.as_str(), "BiasAdd" | "Add" | "AddV2")).find_map(
        |sum| {
            graph.readers(&sum.node.name).iter().map(|r| r.node).find(|n| {
                matches!(n.op.as_str(), "Split" | "SplitV") && matches!(n.attrs.get("num_split"), Some(Attr::Int(4)))
            })
        },
    )
}

/// The first operation that is neither an addition nor an identity on output `gate` of the split.
fn gate_operation<'g>(graph: &GraphIndex<'g>, split: &'g Node, gate: usize) -> Option<&'g Node> {
    let mut readers: Vec<&Node> = forward_readers(graph, split, gate);
    for _ in 0..4 {
        let sums: Vec<&Node> =
            readers.iter().copied().filter(|n| matches!(n.op.as_str(), "Add" | "AddV2" | "Identity")).collect();
        match readers.iter().copied().find(|n| !matches!(n.op.as_str(), "Add" | "AddV2" | "Identity")) {
            Some(node) => return Some(node),
            None => readers = sums.iter().flat_map(|n| forward_readers(graph, n, 0)).collect(),
        }
    }
    None
}

/// Readers that belong to the forward pass: what gradients and their stacks read is left out.
fn forward_readers<'g>(graph: &GraphIndex<'g>, node: &Node, output: usize) -> Vec<&'g Node> {
    graph
        .readers_of(&node.name, output)
        .map(|r| r.node)
        .filter(|n| {
            !n.name.contains("gradients")
                && !matches!(n.op.as_str(), "StackPushV2" | "StackPush" | "Shape" | "ShapeN" | "Enter")
        })
        .collect()
}

fn operations(graph: &GraphIndex<'_>, split: &Node) -> Result<Facts, Problem> {
    let mut facts = Facts::default();
    let of_forget = forward_readers(graph, split, 2);
    facts.forget_bias = of_forget.iter().find_map(|node| match node.op.as_str() {
        "Add" | "AddV2" => (0..2).find_map(|side| graph.scalar(graph.input(node, side)?.0)),
        _ => None,
    });
    if facts.forget_bias.is_none() && of_forget.iter().any(|n| n.op == "Sigmoid") {
        facts.forget_bias = Some(0.0);
    }
    for gate in [0, 2, 3] {
        match gate_operation(graph, split, gate) {
            Some(node) if node.op != "Sigmoid" => {
                return Err(Problem::UnknownOperation { what: "gate sigmoid", op: node.op.clone() });
            }
            _ => {}
        }
    }
    let Some(candidate) = forward_readers(graph, split, 1).into_iter().next() else { return Ok(facts) };
    // A linear activation leaves no operation: the candidate goes straight into the product with the input gate.
    let activation =
        if candidate.op == "Mul" { Some(Activation::Linear) } else { Activation::from_tf_op(&candidate.op) };
    let Some(activation) = activation else {
        return Err(Problem::UnknownOperation { what: "activation", op: candidate.op.clone() });
    };
    facts.activation = Some(activation);
    let product = if candidate.op == "Mul" { vec![candidate] } else { forward_readers(graph, candidate, 0) };
    for sum in product.iter().filter(|n| n.op == "Mul").flat_map(|n| forward_readers(graph, n, 0)) {
        if matches!(sum.op.as_str(), "Add" | "AddV2") {
            facts.cell_clip = clip_after(graph, sum)?;
        }
    }
    Ok(facts)
}

/// `clip_by_value` is a Minimum with the upper bound, then a Maximum with the lower one.
fn clip_after(graph: &GraphIndex<'_>, node: &Node) -> Result<Option<f32>, Problem> {
    let minimum = forward_readers(graph, node, 0).into_iter().find(|n| n.op == "Minimum");
    let bound = minimum.and_then(|n| (0..2).find_map(|side| graph.scalar(graph.input(n, side)?.0)));
    bound.map_or(Ok(None), |b| positive_clip(b).map(Some))
}

fn positive_clip(bound: f32) -> Result<f32, Problem> {
    if bound > 0.0 && bound.is_finite() { Ok(bound) } else { Err(Problem::Clip(bound)) }
}

fn projection_clip(graph: &GraphIndex<'_>, projection: &str) -> Result<Option<f32>, Problem> {
    let products = graph.uses(projection).into_iter().filter(|r| r.node.op == "MatMul" && r.input == 1);
    let clips: Result<Vec<_>, _> = products.map(|r| clip_after(graph, r.node)).collect();
    Ok(clips?.into_iter().flatten().next())
}

/// The attributes of a fused operation. An absent attribute means the operation's default (a graph exported with its
/// defaults stripped), which for `cell_clip` is 3: up to TensorFlow 1.3 every such cell clips.
fn block(node: &Node) -> Result<Facts, Problem> {
    let float = |name: &str, default: f32| match node.attrs.get(name) {
        Some(Attr::Float(value)) => *value,
        _ => default,
    };
    let clip = float("cell_clip", 3.0);
    // Zero and below mean no clipping (`lstm_ops.cc`).
    let cell_clip = if clip <= 0.0 { None } else { Some(positive_clip(clip)?) };
    Ok(Facts {
        kind: Some(if node.op == "BlockLSTM" { CellKind::LstmBlockFused } else { CellKind::LstmBlock }),
        forget_bias: Some(float("forget_bias", 1.0)),
        activation: Some(Activation::Tanh),
        cell_clip,
        projection_clip: None,
    })
}
