//! What a graph says of one cell: forget bias, activation, clipping, and which class it is. All its instances must
//! agree.

use tf_checkpoint::Attr;

use super::graph_index::{GraphIndex, NodeId, Output};
use super::instances::{Form, Gates, Instance};
use super::{CellKind, Problem};
use crate::Activation;
use crate::gate_order::{self, GateOrder};

/// What was found; `None` where the graph does not show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) kind: Option<CellKind>,
    pub(super) columns: Option<GateOrder>,
    pub(super) forget_bias: Option<f32>,
    pub(super) activation: Option<Activation>,
    pub(super) cell_clip: Option<f32>,
    pub(super) projection_clip: Option<f32>,
    /// Variables of the peepholes to i, f, o.
    pub(super) peepholes: [Option<NodeId>; 3],
    /// Where the output is: behind projection and clipping.
    pub(super) output: Option<Output>,
    /// Whether the gates act and combine as an LSTM's do.
    pub(super) is_lstm: bool,
}

/// Reads the facts of all instances of a cell, and agrees on them. `projection` is the variable of its projection.
pub(super) fn mine(
    graph: &GraphIndex<'_>,
    instances: &[&Instance],
    projection: Option<NodeId>,
) -> Result<Facts, Problem> {
    let all: Vec<Facts> = instances.iter().map(|i| of(graph, i, projection)).collect::<Result<_, _>>()?;
    // What was not reached was not seen to be absent.
    if graph.exhausted() {
        return Err(Problem::Tangled);
    }
    let differing = |what, option, value: &dyn Fn(&Facts) -> String| {
        let mut values: Vec<String> = all.iter().map(value).collect();
        values.sort();
        values.dedup();
        if values.len() > 1 { Err(Problem::Ambiguous { what, values: values.join(" and "), option }) } else { Ok(()) }
    };
    let show = |value: Option<f32>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
    differing("forget bias", "--forget-bias and --override", &|f| show(f.forget_bias))?;
    differing("activation", "--activation and --override", &|f| {
        f.activation.map_or_else(|| "an unknown one".to_owned(), |a| a.to_string())
    })?;
    differing("cell clip", "a map and --override", &|f| show(f.cell_clip))?;
    differing("projection clip", "a map and --override", &|f| show(f.projection_clip))?;
    Ok(all.into_iter().next().unwrap_or_default())
}

/// The facts of one instance.
pub(super) fn of(graph: &GraphIndex<'_>, instance: &Instance, projection: Option<NodeId>) -> Result<Facts, Problem> {
    let mut facts = match &instance.form {
        Form::Block(node) => block(graph, *node)?,
        Form::Operations(gates) => operations(graph, gates)?,
    };
    if let (Some(h), Some(projection)) = (facts.output, projection) {
        // None where the projection is not applied to this output: a checkpoint may be read with another's graph.
        let product = graph.forward(h).find(|r| {
            graph.op(r.node) == "MatMul"
                && r.input == 0
                && graph.input(r.node, 1).is_some_and(|w| behind_weights(graph, w) == Some(projection))
        });
        if let Some(product) = product {
            let (clip, output) = clip_after(graph, (product.node, 0))?;
            facts.projection_clip = clip;
            facts.output = Some(output);
        }
    }
    Ok(facts)
}

/// The variable of a projection, through the normalisation of a weight-normalised cell.
fn behind_weights(graph: &GraphIndex<'_>, weights: Output) -> Option<NodeId> {
    let mut at = weights;
    for _ in 0..8 {
        if let Some(id) = graph.variables_behind(at).and_then(|v| v.first().copied()) {
            return Some(id);
        }
        let (id, _) = graph.behind(at);
        at = match graph.op(id) {
            "ConcatV2" | "StridedSlice" | "Slice" => graph.input(id, 0)?,
            "Mul" => (0..2).filter_map(|s| graph.input(id, s)).find(|o| {
                let from = graph.behind(*o).0;
                graph.variable_behind(*o).is_none() && graph.op(from) != "Rsqrt"
            })?,
            _ => return None,
        };
    }
    None
}

/// The variable of a projection that the graph shows: what the output is multiplied with on its way back into the cell.
pub(super) fn projection(graph: &GraphIndex<'_>, instance: &Instance, facts: &Facts) -> Option<NodeId> {
    let products: Vec<_> =
        graph.forward(facts.output?).filter(|r| graph.op(r.node) == "MatMul" && r.input == 0).collect();
    products.iter().find_map(|product| {
        let variable = behind_weights(graph, graph.input(product.node, 1)?)?;
        let (_, output) = clip_after(graph, (product.node, 0)).ok()?;
        reaches(graph, instance.h?, output).then_some(variable)
    })
}

/// Whether `h`, followed back to the step before, is `output`.
fn reaches(graph: &GraphIndex<'_>, h: Output, output: Output) -> bool {
    let mut pending = vec![h];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(at) = pending.pop() {
        if at == output {
            return true;
        }
        if !graph.step() || !seen.insert(at) {
            continue;
        }
        let inputs = graph.inputs(at.0);
        if let Some(through) = super::wiring::passed_through(graph.op(at.0), inputs.len()) {
            pending.extend(through.filter_map(|i| inputs.get(i).copied().flatten()));
        }
    }
    false
}

/// What became of a gate on its way to its sigmoid.
struct Gate {
    /// The first operation that is neither an addition nor a normalisation.
    operation: Option<NodeId>,
    /// A constant added to it.
    added: Option<f32>,
    /// Something else added to it: neither constant nor peephole.
    unknown: Option<NodeId>,
    peephole: Option<NodeId>,
}

fn gate(graph: &GraphIndex<'_>, gate: Output) -> Gate {
    let mut found = Gate { operation: None, added: None, unknown: None, peephole: None };
    let mut at = normalised(graph, gate).unwrap_or(gate);
    for _ in 0..6 {
        let readers: Vec<_> = graph.forward(at).collect();
        let sigmoid = readers.iter().find(|r| graph.op(r.node) == "Sigmoid");
        let sum = readers.iter().find(|r| is_sum(graph.op(r.node)));
        let step = match (sigmoid, sum) {
            (Some(sigmoid), None) => {
                found.operation = Some(sigmoid.node);
                return found;
            }
            (_, Some(sum)) => {
                match graph.other(sum.node, sum.input) {
                    Some(other) => match (graph.scalar(other), peephole(graph, other)) {
                        (Some(value), _) => found.added = Some(found.added.unwrap_or(0.0) + value),
                        (None, Some(variable)) => found.peephole = Some(variable),
                        (None, None) => found.unknown = Some(other.0),
                    },
                    None => found.unknown = Some(sum.node),
                }
                sum
            }
            (None, None) => match readers.iter().find(|r| graph.op(r.node) == "Identity") {
                Some(identity) => identity,
                None => {
                    found.operation = readers.first().map(|r| r.node);
                    return found;
                }
            },
        };
        at = (step.node, 0);
    }
    found
}

fn is_sum(op: &str) -> bool {
    matches!(op, "Add" | "AddV2")
}

/// `w ⊙ c` with a variable w.
fn peephole(graph: &GraphIndex<'_>, from: Output) -> Option<NodeId> {
    let (id, _) = graph.behind(from);
    if graph.op(id) != "Mul" {
        return None;
    }
    (0..2).find_map(|side| graph.variable_behind(graph.input(id, side)?))
}

/// The value after layer normalisation, if that is what happens to it: a product and a sum inside
/// `batch_normalization`, told by the mean that is taken of the value.
fn normalised(graph: &GraphIndex<'_>, value: Output) -> Option<Output> {
    let readers: Vec<_> = graph.forward(value).collect();
    readers.iter().find(|r| matches!(graph.op(r.node), "Mean" | "SquaredDifference"))?;
    readers.iter().filter(|r| graph.op(r.node) == "Mul").find_map(|scaled| {
        graph.forward((scaled.node, 0)).find_map(|shifted| {
            let shift = graph.other(shifted.node, shifted.input).filter(|_| is_sum(graph.op(shifted.node)))?;
            (graph.op(graph.behind(shift).0) == "Sub").then_some((shifted.node, 0))
        })
    })
}

fn operations(graph: &GraphIndex<'_>, gates: &Gates) -> Result<Facts, Problem> {
    let mut facts = Facts::default();
    let forget = gate(graph, gates.forget);
    let output = gate(graph, gates.output);
    let input = gates.input.map(|i| gate(graph, i));
    if let Some(unknown) = forget.unknown {
        return Err(Problem::ForgetBias { op: graph.op(unknown).to_owned(), node: graph.name(unknown).to_owned() });
    }
    for gate in [Some(&forget), Some(&output), input.as_ref()].into_iter().flatten() {
        match gate.operation {
            Some(node) if graph.op(node) != "Sigmoid" => {
                return Err(Problem::UnknownOperation { what: "gate sigmoid", op: graph.op(node).to_owned() });
            }
            _ => {}
        }
    }
    if forget.operation.is_some() {
        facts.forget_bias = Some(forget.added.unwrap_or(0.0));
    }
    facts.peepholes = [input.as_ref().and_then(|i| i.peephole), forget.peephole, output.peephole];
    let Some(activated) = activation_of(graph, gates.candidate)? else { return Ok(facts) };
    facts.activation = Some(activated.activation);

    // The share that the candidate gets: σ(i), or 1 − σ(f) of a coupled cell.
    let share = match &input {
        Some(input) => input.operation.map(|s| (s, 0)),
        None => forget.operation.and_then(|s| {
            graph.forward((s, 0)).find(|r| graph.op(r.node) == "Sub" && r.input == 1).map(|r| (r.node, 0))
        }),
    };
    let product = share.and_then(|share| {
        graph.forward(share).find(|r| {
            graph.op(r.node) == "Mul" && graph.other(r.node, r.input).is_some_and(|o| activated.is_at(graph, o))
        })
    });
    let sum = product.and_then(|p| graph.forward((p.node, 0)).find(|r| is_sum(graph.op(r.node))));
    let Some(sum) = sum else { return Ok(facts) };
    let state = normalised(graph, (sum.node, 0)).unwrap_or((sum.node, 0));
    let (clip, state) = clip_after(graph, state)?;
    facts.cell_clip = clip;

    let Some(sigmoid) = output.operation else { return Ok(facts) };
    let Some(shown) = graph.forward((sigmoid, 0)).find(|r| graph.op(r.node) == "Mul") else { return Ok(facts) };
    facts.output = Some((shown.node, 0));
    let Some(value) = graph.other(shown.node, shown.input).map(|o| graph.behind(o)) else { return Ok(facts) };
    let shown_by = match Activation::from_tf_op(graph.op(value.0)) {
        Some(activation) => activation,
        None if value == graph.behind(state) => Activation::Linear,
        None => {
            let op = graph.op(value.0).to_owned();
            return Err(Problem::UnknownOperation { what: "output activation", op });
        }
    };
    if shown_by != activated.activation {
        return Err(Problem::TwoActivations { candidate: activated.activation, output: shown_by });
    }
    facts.is_lstm = forget.operation.is_some();
    Ok(facts)
}

/// φ of the candidate, and where its value is.
struct Activated {
    activation: Activation,
    at: Output,
}

impl Activated {
    /// Whether `value` is the activated candidate, with recurrent dropout between them perhaps.
    fn is_at(&self, graph: &GraphIndex<'_>, value: Output) -> bool {
        let mut at = graph.behind(value);
        for _ in 0..3 {
            if at == self.at {
                return true;
            }
            match super::dropout::before(graph, at) {
                Some(before) => at = graph.behind(before),
                None => return false,
            }
        }
        false
    }
}

fn activation_of(graph: &GraphIndex<'_>, candidate: Output) -> Result<Option<Activated>, Problem> {
    let candidate = normalised(graph, candidate).unwrap_or(candidate);
    let readers: Vec<_> = graph.forward(candidate).collect();
    let known = readers.iter().find_map(|r| Some((Activation::from_tf_op(graph.op(r.node))?, r.node)));
    if let Some((activation, node)) = known.filter(|(a, _)| *a != Activation::Linear) {
        return Ok(Some(Activated { activation, at: (node, 0) }));
    }
    // A linear activation leaves no operation: the candidate goes straight into the product with the input gate.
    match readers.first() {
        None => Ok(None),
        Some(reader) if matches!(graph.op(reader.node), "Mul" | "Identity") => {
            Ok(Some(Activated { activation: Activation::Linear, at: graph.behind(candidate) }))
        }
        Some(reader) => Err(Problem::UnknownOperation { what: "activation", op: graph.op(reader.node).to_owned() }),
    }
}

/// `clip_by_value` is a Minimum with the upper bound, then a Maximum with the lower one. The bound, and the value behind.
fn clip_after(graph: &GraphIndex<'_>, value: Output) -> Result<(Option<f32>, Output), Problem> {
    let Some(upper) = graph.forward(value).find(|r| graph.op(r.node) == "Minimum") else { return Ok((None, value)) };
    let Some(bound) = graph.other(upper.node, upper.input).and_then(|o| graph.scalar(o)) else {
        return Ok((None, value));
    };
    let lower = graph.forward((upper.node, 0)).find(|r| graph.op(r.node) == "Maximum");
    let lower = lower.map(|r| (r.node, graph.other(r.node, r.input).and_then(|o| graph.scalar(o))));
    match lower {
        Some((node, Some(low))) if low == -bound => Ok((Some(positive_clip(bound)?), (node, 0))),
        Some((_, Some(low))) => Err(Problem::ClipSides { low, high: bound }),
        _ => Err(Problem::UnknownOperation { what: "clip", op: "Minimum".to_owned() }),
    }
}

fn positive_clip(bound: f32) -> Result<f32, Problem> {
    if bound > 0.0 && bound.is_finite() { Ok(bound) } else { Err(Problem::Clip(bound)) }
}

/// The attributes of a fused operation. An absent attribute means the operation's default (a graph exported with its
/// defaults stripped), which for `cell_clip` is 3, and 0 for `BlockLSTMV2`: up to TensorFlow 1.3 every such cell clips.
fn block(graph: &GraphIndex<'_>, node: NodeId) -> Result<Facts, Problem> {
    let float = |name: &str, default: f32| match graph.attr(node, name) {
        Some(Attr::Float(value)) => *value,
        _ => default,
    };
    let (kind, second) = match graph.op(node) {
        "LSTMBlockCell" => (CellKind::LstmBlock, false),
        "BlockLSTMV2" => (CellKind::LstmBlockFused, true),
        _ => (CellKind::LstmBlockFused, false),
    };
    let clip = float("cell_clip", if second { 0.0 } else { 3.0 });
    // Zero and below mean no clipping (`lstm_ops.cc`).
    let cell_clip = if clip <= 0.0 { None } else { Some(positive_clip(clip)?) };
    let first_peephole = if kind == CellKind::LstmBlock { 4 } else { 5 };
    let peephole = |n: usize| match graph.attr(node, "use_peephole") {
        Some(Attr::Bool(true)) => graph.input(node, first_peephole + n).and_then(|i| graph.variable_behind(i)),
        _ => None,
    };
    Ok(Facts {
        kind: Some(kind),
        columns: Some(if second { gate_order::KERAS } else { gate_order::TF1 }),
        // The second version leaves the forget bias to whoever makes the bias (`rnn_ops.cc`).
        forget_bias: Some(if second { 0.0 } else { float("forget_bias", 1.0) }),
        activation: Some(Activation::Tanh),
        cell_clip,
        projection_clip: None,
        peepholes: [peephole(0), peephole(1), peephole(2)],
        output: Some((node, 6)),
        is_lstm: true,
    })
}
