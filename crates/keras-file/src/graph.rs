//! What is to be written as a graph of Keras layers: chains, and inside them residual connections and directions.

use std::collections::HashSet;

use crate::layer::{Array, Layer, LayerKind, Lstm};
use crate::naming;

/// A layer with arrays.
#[derive(Clone, Copy)]
pub(crate) enum Weighted<'a> {
    Lstm(&'a Lstm),
    Bidirectional { forward: &'a Lstm, backward: &'a Lstm, merge_mode: Option<&'a str> },
    Dense { kernel: &'a Array, bias: Option<&'a Array> },
}

impl<'a> Weighted<'a> {
    /// Its LSTMs: one, two or none.
    pub(crate) fn lstms(self) -> impl Iterator<Item = &'a Lstm> {
        let (first, second) = match self {
            Weighted::Lstm(lstm) => (Some(lstm), None),
            Weighted::Bidirectional { forward, backward, .. } => (Some(forward), Some(backward)),
            Weighted::Dense { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Size of one input vector.
    pub(crate) fn inputs(self) -> usize {
        match self {
            Weighted::Lstm(l) | Weighted::Bidirectional { forward: l, .. } => l.inputs(),
            Weighted::Dense { kernel, .. } => kernel.shape.first().copied().unwrap_or(0),
        }
    }
}

pub(crate) enum Op<'a> {
    Input,
    Weighted(Weighted<'a>),
    /// The sum of its two inputs.
    Add,
    /// Its two inputs side by side, along the last axis.
    Concatenate,
    /// Its input from last to first, along the axis of time.
    Flip,
}

pub(crate) struct Node<'a> {
    pub(crate) name: String,
    pub(crate) op: Op<'a>,
    /// Indices of the nodes that feed it, all smaller than its own.
    pub(crate) from: Vec<usize>,
}

/// A model; every chain has an input and an output.
#[derive(Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
}

impl<'a> Graph<'a> {
    /// The graph of chains, whose names become unique, and parts of paths if `in_paths`.
    pub(crate) fn of(chains: &'a [Vec<Layer>], in_paths: bool) -> Self {
        let mut graph = Graph::default();
        for layers in chains {
            let input = graph.push("input", Op::Input, vec![]);
            graph.inputs.push(input);
            let output = graph.chain(layers, input);
            graph.outputs.push(output);
        }
        let mut names = Names { in_paths, used: HashSet::new() };
        // Layers with arrays keep their names if two want one.
        for weighted in [true, false] {
            for node in graph.nodes.iter_mut().filter(|n| matches!(n.op, Op::Weighted(_)) == weighted) {
                node.name = names.unique(&node.name);
            }
        }
        graph
    }

    fn push(&mut self, name: &str, op: Op<'a>, from: Vec<usize>) -> usize {
        self.nodes.push(Node { name: name.to_owned(), op, from });
        self.nodes.len().saturating_sub(1)
    }

    /// Adds layers one after the other, and gives the last.
    fn chain(&mut self, layers: &'a [Layer], input: usize) -> usize {
        layers.iter().fold(input, |from, layer| self.layer(layer, from))
    }

    fn layer(&mut self, layer: &'a Layer, from: usize) -> usize {
        let weighted = match &layer.kind {
            LayerKind::Lstm(lstm) => Weighted::Lstm(lstm),
            LayerKind::Bidirectional { forward, backward, merge_mode } => {
                Weighted::Bidirectional { forward, backward, merge_mode: merge_mode.as_deref() }
            }
            LayerKind::Dense { kernel, bias } => Weighted::Dense { kernel, bias: bias.as_ref() },
            LayerKind::Residual(layers) => {
                let last = self.chain(layers, from);
                return self.push(&layer.name, Op::Add, vec![last, from]);
            }
            LayerKind::Directions { forward, backward } => {
                let first = self.chain(forward, from);
                let reversed = self.push("flip", Op::Flip, vec![from]);
                let last = self.chain(backward, reversed);
                let second = self.push("flip", Op::Flip, vec![last]);
                return self.push(&layer.name, Op::Concatenate, vec![first, second]);
            }
        };
        self.push(&layer.name, Op::Weighted(weighted), vec![from])
    }

    /// The layers with arrays, in the order of the chains.
    pub(crate) fn weighted(&self) -> Vec<(&str, Weighted<'a>)> {
        let weighted = self.nodes.iter().filter_map(|n| match n.op {
            Op::Weighted(w) => Some((n.name.as_str(), w)),
            _ => None,
        });
        weighted.collect()
    }

    /// The layers with arrays in the order in which a model of the chains lists its layers.
    pub(crate) fn listed(&self) -> Vec<(&str, Weighted<'a>)> {
        let order = if self.is_sequence() { (0..self.nodes.len()).collect() } else { self.functional_order() };
        let weighted = order.into_iter().filter_map(|i| self.nodes.get(i)).filter_map(|n| match n.op {
            Op::Weighted(w) => Some((n.name.as_str(), w)),
            _ => None,
        });
        weighted.collect()
    }

    /// Whether every layer feeds the next and nothing else.
    pub(crate) fn is_sequence(&self) -> bool {
        self.inputs.len() == 1 && self.nodes.iter().all(|n| matches!(n.op, Op::Input | Op::Weighted(_)))
    }

    /// The order of a Functional model's `layers`, in which the groups of the weights are numbered: by the longest way
    /// to an output, farthest first, then by when a search from the outputs meets them (`_map_graph_network` in
    /// Keras 2, `map_graph` in Keras 3).
    pub(crate) fn functional_order(&self) -> Vec<usize> {
        let mut depth = vec![0usize; self.nodes.len()];
        // Whatever feeds a node comes before it.
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let next = depth.get(index).copied().unwrap_or(0).saturating_add(1);
            for from in &node.from {
                if let Some(depth) = depth.get_mut(*from) {
                    *depth = next.max(*depth);
                }
            }
        }
        let mut met = vec![None; self.nodes.len()];
        let mut count = 0usize;
        for output in &self.outputs {
            let mut stack = vec![*output];
            while let Some(index) = stack.pop() {
                let (Some(slot @ None), Some(node)) = (met.get_mut(index), self.nodes.get(index)) else { continue };
                *slot = Some(count);
                count = count.saturating_add(1);
                stack.extend(node.from.iter().rev());
            }
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(depth.get(*i).copied()), met.get(*i).copied()));
        order
    }
}

/// Layer names that every Keras accepts, each once.
struct Names {
    /// Whether a name becomes part of the arrays' names, and must be found in them again.
    in_paths: bool,
    used: HashSet<String>,
}

impl Names {
    /// `wanted` with characters that TensorFlow's name scopes or Keras 3 refuse made `_`, and
    /// numbered where it is taken.
    fn unique(&mut self, wanted: &str) -> String {
        let mut name: String = wanted
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' })
            .collect();
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            name.insert_str(0, "lstm");
        }
        if self.in_paths {
            name = naming::plain(&name);
        }
        let mut candidate = name.clone();
        let mut number = 0usize;
        while !self.used.insert(candidate.clone()) {
            number = number.saturating_add(1);
            candidate = format!("{name}_{number}");
        }
        candidate
    }
}
