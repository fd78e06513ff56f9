//! Walking a TensorFlow graph: nodes by name, and who reads whom.

use std::collections::{BTreeMap, BTreeSet};

use tf_checkpoint::{Attr, Graph, Node};

/// One output of one node, as another node names it: `split:2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input<'g> {
    pub(super) node: &'g str,
    pub(super) output: usize,
}

/// Reads an input's text: `name`, `name:2`; `None` for a control input (`^name`).
pub(super) fn parse_input(text: &str) -> Option<Input<'_>> {
    if text.starts_with('^') {
        return None;
    }
    Some(match text.rsplit_once(':') {
        Some((node, output)) => Input { node, output: output.parse().unwrap_or(0) },
        None => Input { node: text, output: 0 },
    })
}

/// A reader of a node: which one, through which of its inputs, from which output.
#[derive(Clone, Copy)]
pub(super) struct Reader<'g> {
    pub(super) node: &'g Node,
    pub(super) input: usize,
    pub(super) output: usize,
}

/// A graph with its edges in both directions.
pub(super) struct GraphIndex<'g> {
    graph: &'g Graph,
    nodes: BTreeMap<&'g str, &'g Node>,
    readers: BTreeMap<&'g str, Vec<Reader<'g>>>,
}

impl<'g> GraphIndex<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let nodes = graph.nodes.iter().map(|n| (n.name.as_str(), n)).collect();
        let mut readers: BTreeMap<&str, Vec<Reader>> = BTreeMap::new();
        for node in &graph.nodes {
            for (input, text) in node.inputs.iter().enumerate() {
                if let Some(from) = parse_input(text) {
                    readers.entry(from.node).or_default().push(Reader { node, input, output: from.output });
                }
            }
        }
        GraphIndex { graph, nodes, readers }
    }

    pub(super) fn node(&self, name: &str) -> Option<&'g Node> {
        self.nodes.get(name).copied()
    }

    pub(super) fn readers(&self, name: &str) -> &[Reader<'g>] {
        self.readers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The nodes that read output `output` of `name`.
    pub(super) fn readers_of(&self, name: &str, output: usize) -> impl Iterator<Item = Reader<'g>> + '_ {
        self.readers(name).iter().copied().filter(move |r| r.output == output)
    }

    /// The node behind the `index`-th input of `node`.
    pub(super) fn input(&self, node: &'g Node, index: usize) -> Option<(&'g Node, usize)> {
        let from = parse_input(node.inputs.get(index)?)?;
        Some((self.node(from.node)?, from.output))
    }

    /// The node of the variable that a checkpoint key was saved from.
    pub(super) fn variable(&self, key: &str) -> Option<&'g Node> {
        let name = self.graph.saved.get(key).map_or(key, String::as_str);
        self.node(name).or_else(|| self.node(key))
    }

    /// The nodes where a variable is used: its own reads, loop entries and casts are stepped over. The walk also steps
    /// over the concatenation of a partitioned or sharded variable's parts.
    pub(super) fn uses(&self, key: &str) -> Vec<Reader<'g>> {
        let mut starts: Vec<&str> = self.variable(key).map(|n| n.name.as_str()).into_iter().collect();
        // A partitioned variable has one node per part and none of its own name.
        let parts = format!("{key}/part_");
        starts.extend(
            self.nodes.range(parts.as_str()..).map(|(n, _)| *n).take_while(|n| n.starts_with(&parts)).filter(|n| {
                self.node(n).is_some_and(|n| matches!(n.op.as_str(), "Variable" | "VariableV2" | "VarHandleOp"))
            }),
        );
        let mut seen = BTreeSet::new();
        let mut uses = vec![];
        while let Some(name) = starts.pop() {
            if !seen.insert(name) {
                continue;
            }
            for reader in self.readers(name) {
                match reader.node.op.as_str() {
                    "Identity" | "ReadVariableOp" | "Enter" | "RefEnter" | "Cast" | "ConcatV2" | "Concat" => {
                        starts.push(&reader.node.name);
                    }
                    _ => uses.push(*reader),
                }
            }
        }
        uses
    }

    /// The value of a scalar constant, through the identities and loop entries that may stand before it.
    pub(super) fn scalar(&self, mut node: &'g Node) -> Option<f32> {
        for _ in 0..8 {
            match node.op.as_str() {
                "Const" => {
                    let Some(Attr::Tensor(tensor)) = node.attrs.get("value") else { return None };
                    let values = tensor.to_f64()?;
                    // One element, whatever its rank: `[1]` broadcasts like a scalar.
                    return if values.len() == 1 { values.first().map(|v| *v as f32) } else { None };
                }
                "Identity" | "Enter" | "Cast" => node = self.input(node, 0)?.0,
                _ => return None,
            }
        }
        None
    }
}
