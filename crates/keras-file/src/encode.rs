//! Checks layers to be written, names them, and hands them to the writer of the target format.

use crate::config::model_json;
use crate::error::Problem;
use crate::graph::{Graph, Node, Op, Weighted};
use crate::layer::{Layer, LayerKind, Lstm};
use crate::{archive, legacy_h5, naming, npz, safetensors, weights_h5};

/// File formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Legacy HDF5 weights, `.h5`: for every Keras and tf.keras, by position.
    LegacyWeights,
    /// `.weights.h5`: for Keras 2.12 and later, by class and position.
    Weights,
    /// `.keras`: a whole model, for Keras 2.12 and later.
    Keras,
    /// `.npz`: arrays `<layer>/kernel`, `<layer>/recurrent_kernel` and `<layer>/bias` for `numpy.load`, with
    /// `forward_layer/` and `backward_layer/` after the layer's name if it is bidirectional.
    Npz,
    /// `.safetensors`: the same arrays, for the library of that name.
    Safetensors,
}

/// Which Kerases a file is for. Weights are the same for all; files of weights that can say which Keras they are for do so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generation {
    /// Keras 2 and Keras 3 alike: what the two would understand differently is refused.
    #[default]
    Any,
    /// Keras 2 (2.13 and later where a sequence is reversed). Names of functions mean its functions; Keras 3 may load
    /// the file and compute something else.
    Two,
    /// Keras 3, with its functions.
    Three,
}

impl Generation {
    /// The version that the files claim: they are written in its dialect.
    fn keras_version(self) -> &'static str {
        match self {
            Generation::Any | Generation::Two => "2.15.0",
            Generation::Three => "3.0.0",
        }
    }
}

pub(crate) fn encode(chains: &[Vec<Layer>], target: Target, generation: Generation) -> Result<Vec<u8>, Problem> {
    if chains.is_empty() || chains.iter().any(|layers| !is_full(layers)) {
        return Err(Problem::Empty);
    }
    let graph = Graph::of(chains, matches!(target, Target::Npz | Target::Safetensors));
    let weighted = graph.weighted();
    for (name, layer) in &weighted {
        check_arrays(name, *layer)?;
    }
    match target {
        Target::LegacyWeights => legacy_h5::tree(&graph.listed(), generation.keras_version()).into_bytes(),
        Target::Weights => {
            // Names are how a reader knows Keras 3, by whose hard_sigmoid weights made for Keras 2's are wrong.
            let hard = |lstm: &&crate::layer::Lstm| {
                let config = lstm.config.as_ref();
                config.is_some_and(|c| c.activation == "hard_sigmoid" || c.recurrent_activation == "hard_sigmoid")
            };
            let named = generation == Generation::Three
                || !chains.iter().flatten().flat_map(|l| l.kind.lstms()).any(|l| hard(&l));
            weights_h5::tree(weights_h5::Layers::Weighted(&graph.listed()), named).into_bytes()
        }
        Target::Keras => keras(&graph, generation),
        Target::Npz => npz::write(&naming::arrays(&weighted)),
        Target::Safetensors => Ok(safetensors::write(&naming::arrays(&weighted))),
    }
}

/// The names of the layers with arrays, in the order in which a model of the chains lists them.
pub(crate) fn listed(chains: &[Vec<Layer>]) -> Vec<String> {
    Graph::of(chains, false).listed().into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// Whether there is a layer at the bottom of all that can be empty.
fn is_full(layers: &[Layer]) -> bool {
    let inner = |layer: &Layer| match &layer.kind {
        LayerKind::Residual(layers) => is_full(layers),
        LayerKind::Directions { forward, backward } => is_full(forward) && is_full(backward),
        LayerKind::Lstm(_) | LayerKind::Bidirectional { .. } | LayerKind::Dense { .. } => true,
    };
    !layers.is_empty() && layers.iter().all(inner)
}

fn keras(graph: &Graph<'_>, generation: Generation) -> Result<Vec<u8>, Problem> {
    let widths = check_model(graph, generation)?;
    let order = graph.functional_order();
    let nodes: Vec<&Node<'_>> = order.iter().filter_map(|i| graph.nodes.get(*i)).collect();
    let weighted = graph.weighted();
    let layers = match graph.is_sequence() {
        true => weights_h5::Layers::Weighted(&weighted),
        false => weights_h5::Layers::Functional { nodes: &nodes, flip_is_layer: generation == Generation::Two },
    };
    let weights = weights_h5::tree(layers, true).into_bytes()?;
    let config = model_json(graph, &order, &widths, generation).to_string();
    archive::pack(generation.keras_version(), &config, &weights)
}

fn refuse(name: &str, expected: impl Into<String>, found: impl Into<String>) -> Problem {
    Problem::Unwritable { layer: name.to_owned(), expected: expected.into(), found: found.into() }
}

/// What every target needs: arrays that fit together.
fn check_arrays(name: &str, layer: Weighted<'_>) -> Result<(), Problem> {
    for lstm in layer.lstms() {
        lstm.check(name)?;
    }
    if let Weighted::Dense { kernel, bias } = layer {
        let fits = matches!(kernel.shape.as_slice(), [inputs, outputs]
            if *inputs > 0 && *outputs > 0
                && inputs.checked_mul(*outputs) == Some(kernel.data.len())
                && bias.is_none_or(|b| b.shape == [*outputs] && b.data.len() == *outputs));
        if !fits {
            let bias = bias.map_or("no bias".to_owned(), |b| format!("bias {:?}", b.shape));
            let found = format!("kernel {:?} of {} elements, {bias}", kernel.shape, kernel.data.len());
            return Err(refuse(name, "a Dense layer's arrays, kernel [inputs, outputs] and bias [outputs]", found));
        }
    }
    Ok(())
}

/// What a model needs besides: settings, and layers that fit those before. Gives the width of every node's output.
fn check_model(graph: &Graph<'_>, generation: Generation) -> Result<Vec<usize>, Problem> {
    let mut widths: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let of = |at: usize| node.from.get(at).and_then(|from| widths.get(*from)).copied().unwrap_or(0);
        let width = match node.op {
            Op::Input => input_width(graph, index),
            Op::Weighted(layer) => {
                check_width(node, layer, of(0))?;
                for lstm in layer.lstms() {
                    check_settings(node, lstm, generation)?;
                }
                output_width(node, layer)?
            }
            Op::Add if of(0) != of(1) => {
                let expected = format!("as many outputs as inputs, {}, to add the two", of(1));
                return Err(refuse(&node.name, expected, of(0).to_string()));
            }
            Op::Add => of(0),
            Op::Concatenate => of(0).saturating_add(of(1)),
            Op::Flip if generation == Generation::Any => {
                return Err(refuse(
                    &node.name,
                    "a Keras to write for, as Keras 2 and Keras 3 have no way in common to reverse a sequence",
                    "either (--keras 2 or --keras 3 says which)",
                ));
            }
            Op::Flip => of(0),
        };
        widths.push(width);
    }
    Ok(widths)
}

/// What the first layers that an input reaches take.
fn input_width(graph: &Graph<'_>, input: usize) -> usize {
    let mut reached = vec![false; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        let fed = index == input || node.from.iter().any(|f| reached.get(*f) == Some(&true));
        if let (true, Op::Weighted(layer)) = (fed, &node.op) {
            return layer.inputs();
        }
        if let Some(slot) = reached.get_mut(index) {
            *slot = fed;
        }
    }
    0
}

fn check_width(node: &Node<'_>, layer: Weighted<'_>, width: usize) -> Result<(), Problem> {
    let lstms = layer.lstms().map(Lstm::inputs);
    match lstms.chain([layer.inputs()]).find(|inputs| *inputs != width) {
        None => Ok(()),
        Some(inputs) => Err(refuse(
            &node.name,
            format!("{width} inputs, from the layer or direction before"),
            format!("{inputs} kernel rows"),
        )),
    }
}

fn check_settings(node: &Node<'_>, lstm: &Lstm, generation: Generation) -> Result<(), Problem> {
    let Some(config) = &lstm.config else {
        return Err(refuse(&node.name, "a configuration, to write a model", "none"));
    };
    if config.stateful || config.time_major {
        return Err(refuse(
            &node.name,
            "stateful=false and time_major=false (Keras 3 has no time_major, and a stateful layer needs a batch size)",
            format!("stateful={}, time_major={}", config.stateful, config.time_major),
        ));
    }
    let named = [&config.activation, &config.recurrent_activation];
    if generation == Generation::Any && named.into_iter().any(|name| name == "hard_sigmoid") {
        return Err(refuse(
            &node.name,
            "a Keras to write for, as hard_sigmoid is 0.2x + 0.5 in Keras 2 and x/6 + 0.5 in Keras 3",
            "both; choose the one whose function it is, or write weights alone",
        ));
    }
    Ok(())
}

fn output_width(node: &Node<'_>, layer: Weighted<'_>) -> Result<usize, Problem> {
    Ok(match layer {
        Weighted::Lstm(lstm) => lstm.units(),
        Weighted::Dense { kernel, .. } => kernel.shape.last().copied().unwrap_or(0),
        Weighted::Bidirectional { forward, backward, merge_mode } => {
            let reversed = |l: &Lstm| l.config.as_ref().is_some_and(|c| c.go_backwards);
            if reversed(forward) == reversed(backward) {
                return Err(refuse(
                    &node.name,
                    "one direction with go_backwards and one without",
                    format!("go_backwards={} in both", reversed(forward)),
                ));
            }
            match merge_mode {
                None | Some("concat") => forward.units().saturating_add(backward.units()),
                Some("sum" | "mul" | "ave") if forward.units() == backward.units() => forward.units(),
                Some(other) => {
                    let expected = "merge_mode concat, or sum, mul or ave of equal sizes";
                    return Err(refuse(&node.name, expected, other));
                }
            }
        }
    })
}
