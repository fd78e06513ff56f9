//! Lays out the groups of a `.weights.h5` to be written.

use crate::graph::{Node, Op, Weighted};
use crate::hdf5::Tree;
use crate::layer::{Array, Lstm};
use crate::slug::Numbering;

/// Layers in the order of the model, in which they are numbered.
pub(crate) enum Layers<'s, 'a> {
    /// Of a Sequential model, which does not count its input, or of a model that is not known.
    Weighted(&'s [(&'s str, Weighted<'a>)]),
    /// Of a Functional model, with the layers that have no arrays. In Keras 2 the reversal of a sequence is a layer,
    /// in Keras 3 it is not.
    Functional { nodes: &'s [&'s Node<'a>], flip_is_layer: bool },
}

/// The root of a file with these layers. `named` gives them the names that Keras 3 writes, and does without.
pub(crate) fn tree<'a>(layers: Layers<'_, 'a>, named: bool) -> Tree<'a> {
    let mut root = Tree::default();
    // Every object has a group `vars`, also an empty one: Keras 2 stops where one is missing.
    root.group("vars");
    let mut numbering = Numbering::default();
    let mut put = |name: &str, class: &str, layer: Option<Weighted<'a>>| {
        let group = root.group(&format!("layers/{}", numbering.next(class)));
        let vars = group.group("vars");
        if named {
            vars.text("name", name);
        }
        if let Some(layer) = layer {
            arrays(group, name, layer);
        }
    };
    match layers {
        Layers::Weighted(layers) => layers.iter().for_each(|(name, layer)| put(name, class(*layer), Some(*layer))),
        Layers::Functional { nodes, flip_is_layer } => {
            for node in nodes {
                match node.op {
                    Op::Input => put(&node.name, "InputLayer", None),
                    Op::Weighted(layer) => put(&node.name, class(layer), Some(layer)),
                    Op::Add => put(&node.name, "Add", None),
                    Op::Concatenate => put(&node.name, "Concatenate", None),
                    Op::Flip if flip_is_layer => put(&node.name, "TFOpLambda", None),
                    Op::Flip => {}
                }
            }
        }
    }
    root
}

fn class(layer: Weighted<'_>) -> &'static str {
    match layer {
        Weighted::Lstm(_) => "LSTM",
        Weighted::Bidirectional { .. } => "Bidirectional",
        Weighted::Dense { .. } => "Dense",
    }
}

fn arrays<'a>(group: &mut Tree<'a>, name: &str, layer: Weighted<'a>) {
    match layer {
        Weighted::Lstm(lstm) => cell(group, lstm),
        Weighted::Bidirectional { forward, backward, .. } => {
            for (half, lstm) in [("forward", forward), ("backward", backward)] {
                let group = group.group(&format!("{half}_layer"));
                group.group("vars").text("name", &format!("{half}_{name}"));
                cell(group, lstm);
            }
            // Keras 2 saves the layer that `forward_layer` was copied from, never built.
            group.group("layer/vars");
            group.group("layer/cell/vars");
        }
        Weighted::Dense { kernel, bias } => numbered(group.group("vars"), [Some(kernel), bias]),
    }
}

fn cell<'a>(group: &mut Tree<'a>, lstm: &'a Lstm) {
    let vars = group.group("cell/vars");
    vars.text("name", "lstm_cell");
    numbered(vars, [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()]);
}

fn numbered<'a>(vars: &mut Tree<'a>, arrays: impl IntoIterator<Item = Option<&'a Array>>) {
    for (number, array) in arrays.into_iter().flatten().enumerate() {
        vars.dataset(&number.to_string(), array);
    }
}
