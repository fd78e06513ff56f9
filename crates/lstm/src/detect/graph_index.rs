//! A TensorFlow graph laid out flat: functions put in place of the nodes that call them, edges in both directions.
//!
//! A loop of control flow v2 is a node with a body function. Laid out, each of its variables is a `Merge` of what goes
//! in and what the body returns, exactly as control flow v1 writes loops; what the body returns as it came is an
//! `Identity`. One way of walking then serves both.

use std::cell::Cell;
use std::collections::BTreeMap;

use tf_checkpoint::{Attr, Function, Graph, Node};

/// Functions inside functions are followed this deep; real graphs nest two or three.
const DEPTH: usize = 16;

/// A node of the flat graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(usize);

/// One output of a node.
pub(super) type Output = (NodeId, usize);

/// A reader of a node: which one, through which of its inputs, from which output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) node: NodeId,
    pub(super) input: usize,
    pub(super) output: usize,
}

struct Flat<'g> {
    name: &'g str,
    op: &'g str,
    attrs: &'g BTreeMap<String, Attr>,
    /// Data inputs; `None` where the graph names a node that it does not have.
    inputs: Vec<Option<Output>>,
    /// Belongs to the computation of gradients.
    gradient: bool,
}

/// The flat graph.
pub(super) struct GraphIndex<'g> {
    graph: &'g Graph,
    nodes: Vec<Flat<'g>>,
    /// Nodes of the main graph.
    by_name: BTreeMap<&'g str, NodeId>,
    readers: Vec<Vec<Reader>>,
    /// Steps that walks may still take, all together: what keeps a hostile graph from costing quadratic time.
    fuel: Cell<usize>,
}

static NO_ATTRS: BTreeMap<String, Attr> = BTreeMap::new();

impl<'g> GraphIndex<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let functions: BTreeMap<&str, &Function> = graph.functions.iter().map(|f| (f.name.as_str(), f)).collect();
        let total = graph.nodes.len() + graph.functions.iter().map(|f| f.nodes.len()).sum::<usize>();
        let mut layout = Layout { nodes: vec![], functions, left: 4 * total + 10_000 };
        let by_name = layout.scope(&graph.nodes, &BTreeMap::new(), false, 0);
        let nodes = layout.nodes;
        let mut readers: Vec<Vec<Reader>> = (0..nodes.len()).map(|_| vec![]).collect();
        for (index, node) in nodes.iter().enumerate() {
            for (input, from) in node.inputs.iter().enumerate() {
                if let Some((from, output)) = from {
                    readers[from.0].push(Reader { node: NodeId(index), input, output: *output });
                }
            }
        }
        let fuel = Cell::new(64 * nodes.len() + 1_000_000);
        GraphIndex { graph, nodes, by_name, readers, fuel }
    }

    /// Takes one step of what walks may take; `false` when none is left.
    pub(super) fn step(&self) -> bool {
        let left = self.fuel.get();
        self.fuel.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether a walk was cut short: what it would have found is not known.
    pub(super) fn exhausted(&self) -> bool {
        self.fuel.get() == 0
    }

    pub(super) fn tensorflow_version(&self) -> &'g str {
        &self.graph.tensorflow_version
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        (0..self.nodes.len()).map(NodeId)
    }

    pub(super) fn name(&self, id: NodeId) -> &'g str {
        self.nodes[id.0].name
    }

    pub(super) fn op(&self, id: NodeId) -> &'g str {
        self.nodes[id.0].op
    }

    pub(super) fn attr(&self, id: NodeId, name: &str) -> Option<&'g Attr> {
        self.nodes[id.0].attrs.get(name)
    }

    pub(super) fn inputs(&self, id: NodeId) -> &[Option<Output>] {
        &self.nodes[id.0].inputs
    }

    pub(super) fn input(&self, id: NodeId, index: usize) -> Option<Output> {
        self.nodes[id.0].inputs.get(index).copied().flatten()
    }

    pub(super) fn readers(&self, id: NodeId) -> &[Reader] {
        &self.readers[id.0]
    }

    /// The readers of one output that belong to the forward pass: what gradients, their stacks and summaries read is
    /// left out.
    pub(super) fn forward(&self, (id, output): Output) -> impl Iterator<Item = Reader> + '_ {
        self.readers(id).iter().copied().take_while(|_| self.step()).filter(move |r| {
            let node = &self.nodes[r.node.0];
            r.output == output && !node.gradient && !is_bookkeeping(node.op)
        })
    }

    /// The input beside `side` of an operation of two inputs.
    pub(super) fn other(&self, id: NodeId, side: usize) -> Option<Output> {
        self.input(id, 1 - side.min(1))
    }

    /// The node of the variable saved under a key, or of that name.
    pub(super) fn variable(&self, key: &str) -> Option<NodeId> {
        let saved = self.graph.saved.get(key).map(String::as_str);
        // A saver may store an average under the plain name; the graph computes with the variable of that name.
        let saved = saved.filter(|name| !name.ends_with(super::averages::SUFFIX));
        let part = format!("{key}/part_0");
        [saved, Some(key), Some(part.as_str())].into_iter().flatten().find_map(|n| self.by_name.get(n).copied())
    }

    /// The key that a variable's node was saved under.
    pub(super) fn keys(&self) -> BTreeMap<NodeId, &'g str> {
        let mut keys = BTreeMap::new();
        for (key, name) in &self.graph.saved {
            if let Some(id) = self.by_name.get(name.as_str()) {
                keys.entry(*id).or_insert(key.as_str());
            }
        }
        // A frozen graph saves nothing: its constants are named as the variables were.
        if keys.is_empty() {
            keys.extend(self.by_name.iter().filter(|(_, id)| is_variable(self.op(**id))).map(|(n, id)| (*id, *n)));
        }
        keys
    }

    /// Which node was saved under which key.
    pub(super) fn saved(&self) -> &'g BTreeMap<String, String> {
        &self.graph.saved
    }

    /// Steps back over what hands a value on unchanged wherever it stands.
    pub(super) fn behind(&self, mut from: Output) -> Output {
        while matches!(self.op(from.0), "Identity" | "Enter" | "RefEnter" | "ReadVariableOp" | "Cast" | "StopGradient")
            && self.step()
        {
            match self.input(from.0, 0) {
                Some(input) => from = input,
                None => break,
            }
        }
        from
    }

    /// The variables (or a frozen graph's constants) whose rows, one below the other, are the value: in row order.
    pub(super) fn variables_behind(&self, from: Output) -> Option<Vec<NodeId>> {
        let mut found = vec![];
        let mut pending = vec![from];
        while let Some(next) = pending.pop() {
            let (id, _) = self.behind(next);
            if !self.step() {
                return None;
            }
            let parts = match self.op(id) {
                op if is_variable(op) => {
                    found.push(id);
                    continue;
                }
                "ConcatV2" => self.inputs(id).split_last()?.1,
                "Concat" => self.inputs(id).split_first()?.1,
                _ => return None,
            };
            pending.extend(parts.iter().rev().map(|p| p.ok_or(())).collect::<Result<Vec<_>, ()>>().ok()?);
        }
        (!found.is_empty()).then_some(found)
    }

    /// The one variable behind a value; constants that hold one number are none.
    pub(super) fn variable_behind(&self, from: Output) -> Option<NodeId> {
        match self.variables_behind(from)?[..] {
            [id] if self.scalar(from).is_none() => Some(id),
            _ => None,
        }
    }

    /// The value of a constant of one element, whatever its rank: `[1]` broadcasts like a scalar.
    pub(super) fn scalar(&self, from: Output) -> Option<f32> {
        let (id, _) = self.behind(from);
        match self.attr(id, "value") {
            Some(Attr::Tensor(tensor)) if self.op(id) == "Const" && tensor.shape().iter().all(|d| *d == 1) => {
                tensor.to_f64()?.first().map(|v| *v as f32)
            }
            _ => None,
        }
    }
}

/// Operations that hold weights. A frozen graph has constants in their place.
pub(super) fn is_variable(op: &str) -> bool {
    matches!(op, "Variable" | "VariableV2" | "VarHandleOp" | "Const" | "AutoReloadVariable")
}

/// Readers that take no part in what a cell computes.
fn is_bookkeeping(op: &str) -> bool {
    matches!(
        op,
        "StackPushV2"
            | "StackPush"
            | "TensorListPushBack"
            | "Shape"
            | "ShapeN"
            | "Size"
            | "Rank"
            | "ZerosLike"
            | "HistogramSummary"
            | "ScalarSummary"
            | "AccumulateNV2"
    )
}

/// Reads an input's text: `name`, `name:2`, in functions also `name:output:2`; `None` for a control input (`^name`).
pub(super) fn parse_input(text: &str) -> Option<(&str, usize)> {
    if text.starts_with('^') {
        return None;
    }
    let mut parts = text.split(':');
    let node = parts.next()?;
    Some(match (parts.next(), parts.next()) {
        (None, _) => (node, 0),
        (Some(index), None) => (node, index.parse().unwrap_or_else(|_| named_output(index))),
        (Some(name), Some(index)) => (node, named_output(name) + index.parse::<usize>().unwrap_or(0)),
    })
}

/// Where a named output stands among all outputs. The fused cells are the only operations with several that matter
/// here (`tensorflow/core/ops/rnn_ops.cc`).
fn named_output(name: &str) -> usize {
    match name {
        "cs" => 1,
        "f" => 2,
        "o" => 3,
        "ci" => 4,
        "co" => 5,
        "h" => 6,
        _ => 0,
    }
}

struct Layout<'g> {
    nodes: Vec<Flat<'g>>,
    functions: BTreeMap<&'g str, &'g Function>,
    /// Nodes that may still be added by laying functions out: calls of calls could grow without end.
    left: usize,
}

/// A call being laid out: the node, the function, and the nodes that stand for its results.
struct Call<'g> {
    node: NodeId,
    functions: Vec<&'g Function>,
    /// First data input that is an argument.
    first: usize,
    results: usize,
    count: usize,
    is_loop: bool,
}

impl<'g> Layout<'g> {
    fn push(&mut self, flat: Flat<'g>) -> NodeId {
        self.nodes.push(flat);
        NodeId(self.nodes.len() - 1)
    }

    fn pass(&mut self, name: &'g str, op: &'static str, inputs: Vec<Option<Output>>, gradient: bool) -> NodeId {
        self.push(Flat { name, op, attrs: &NO_ATTRS, inputs, gradient })
    }

    /// Lays out the nodes of the main graph or of a function.
    fn scope(
        &mut self,
        nodes: &'g [Node],
        arguments: &BTreeMap<&'g str, NodeId>,
        gradient: bool,
        depth: usize,
    ) -> BTreeMap<&'g str, NodeId> {
        let mut names = BTreeMap::new();
        let mut calls: BTreeMap<NodeId, Call<'g>> = BTreeMap::new();
        for node in nodes {
            let gradient = gradient || node.name.contains("gradients");
            let id = self.push(Flat { name: &node.name, op: &node.op, attrs: &node.attrs, inputs: vec![], gradient });
            names.insert(node.name.as_str(), id);
            if let Some(mut call) = self.call(id, node).filter(|_| depth < DEPTH) {
                call.results = self.nodes.len();
                for _ in 0..call.count {
                    self.pass(&node.name, "Identity", vec![None], gradient);
                }
                calls.insert(id, call);
            }
        }
        let resolve = |text: &'g str| -> Option<Output> {
            let (name, output) = parse_input(text)?;
            if let Some(id) = names.get(name) {
                return Some(match calls.get(id) {
                    Some(call) if output < call.count => (NodeId(call.results + output), 0),
                    _ => (*id, output),
                });
            }
            arguments.get(name).map(|id| (*id, 0))
        };
        for node in nodes {
            let inputs = node.inputs.iter().filter(|t| !t.starts_with('^')).map(|t| resolve(t)).collect();
            // Of two nodes with one name the last counts.
            self.nodes[names[node.name.as_str()].0].inputs = inputs;
        }
        for call in calls.values() {
            self.expand(call, depth);
        }
        names
    }

    /// Whether a node calls functions of the library that may still be laid out.
    fn call(&mut self, id: NodeId, node: &'g Node) -> Option<Call<'g>> {
        let function = |name: &str| match node.attrs.get(name) {
            Some(Attr::Function(f)) => self.functions.get(f.as_str()).copied(),
            _ => None,
        };
        let (names, first): (&[&str], usize) = match node.op.as_str() {
            "While" | "StatelessWhile" => (&["body"], 0),
            "PartitionedCall" | "StatefulPartitionedCall" => (&["f"], 0),
            "If" | "StatelessIf" => (&["then_branch", "else_branch"], 1),
            _ => return None,
        };
        let functions: Vec<&Function> = names.iter().map(|n| function(n)).collect::<Option<_>>()?;
        let count = functions.iter().map(|f| f.results.len()).max().unwrap_or(0);
        let cost = functions.iter().map(|f| f.nodes.len() + f.arguments.len() + f.results.len() + 1).sum();
        self.left = self.left.checked_sub(cost)?;
        let is_loop = names[0] == "body";
        Some(Call { node: id, functions, first, results: 0, count, is_loop })
    }

    fn expand(&mut self, call: &Call<'g>, depth: usize) {
        let Flat { name, gradient, .. } = self.nodes[call.node.0];
        let given: Vec<Option<Output>> = self.nodes[call.node.0].inputs.clone();
        let mut results: Vec<Vec<Output>> = vec![vec![]; call.count];
        for function in &call.functions {
            let mut arguments = BTreeMap::new();
            let mut entries = vec![];
            for (index, argument) in function.arguments.iter().enumerate() {
                let input = given.get(call.first + index).copied().flatten();
                let entry = self.pass(name, "Identity", vec![input], gradient);
                arguments.insert(argument.as_str(), entry);
                entries.push(entry);
            }
            let names = self.scope(&function.nodes, &arguments, gradient, depth + 1);
            for (index, text) in function.results.iter().enumerate() {
                let Some((node, output)) = parse_input(text) else { continue };
                let inner = names.get(node).map(|id| (*id, output)).or(arguments.get(node).map(|id| (*id, 0)));
                let Some(result) = inner.map(|r| self.through_identities(r)) else { continue };
                results[index].push(result);
                if let Some(entry) = entries.get(index).filter(|e| call.is_loop && result.0 != **e) {
                    self.nodes[entry.0].op = "Merge";
                    self.nodes[entry.0].inputs.push(Some(result));
                }
            }
        }
        for (index, results) in results.into_iter().enumerate() {
            let node = &mut self.nodes[call.results + index];
            node.op = if results.len() > 1 { "Merge" } else { "Identity" };
            node.inputs = results.into_iter().map(Some).collect();
        }
    }

    fn through_identities(&self, mut from: Output) -> Output {
        for _ in 0..8 {
            match (self.nodes[from.0.0].op, self.nodes[from.0.0].inputs.first()) {
                // An entry of the body is where the chain must stop.
                ("Identity", Some(Some(input))) if !std::ptr::eq(self.nodes[from.0.0].attrs, &NO_ATTRS) => {
                    from = *input;
                }
                _ => break,
            }
        }
        from
    }
}
