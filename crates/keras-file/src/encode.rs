//! Checks layers to be written, names them, and hands them to the writer of the target format.

use std::collections::HashSet;

use crate::config::{Chain, model_json};
use crate::error::Problem;
use crate::layer::{Layer, LayerKind, Lstm};
use crate::{archive, legacy_h5, naming, npz, safetensors, weights_h5};

/// The version that the files claim: they are written in its dialect.
const KERAS_VERSION: &str = "2.15.0";

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

pub(crate) fn encode(chains: &[Vec<Layer>], target: Target) -> Result<Vec<u8>, Problem> {
    if chains.is_empty() || chains.iter().any(Vec::is_empty) {
        return Err(Problem::Empty);
    }
    let mut names = Names { in_paths: matches!(target, Target::Npz | Target::Safetensors), used: HashSet::new() };
    let chains: Vec<Chain<'_>> = chains
        .iter()
        .map(|layers| Chain {
            layers: layers.iter().map(|l| (names.unique(&l.name), l)).collect(),
            input: String::new(),
        })
        .collect();
    for (name, layer) in chains.iter().flat_map(|c| &c.layers) {
        check(name, layer)?;
    }
    let flat = || chains.iter().flat_map(|c| c.layers.iter().cloned()).collect::<Vec<_>>();
    match target {
        Target::LegacyWeights => legacy_h5::tree(&flat(), KERAS_VERSION).into_bytes(),
        Target::Weights => weights_h5::tree(&flat(), &[]).into_bytes(),
        Target::Keras => keras(chains, &mut names),
        Target::Npz => npz::write(&naming::arrays(&flat())),
        Target::Safetensors => Ok(safetensors::write(&naming::arrays(&flat()))),
    }
}

fn keras(mut chains: Vec<Chain<'_>>, names: &mut Names) -> Result<Vec<u8>, Problem> {
    for chain in &mut chains {
        chain.input = names.unique("input");
        check_chain(chain)?;
    }
    let order = graph_order(&chains);
    let mut queues: Vec<_> = chains.iter().map(|c| c.layers.iter().cloned()).collect();
    let mut begun = vec![false; chains.len()];
    let mut layers = Vec::new();
    let mut inputs = Vec::new();
    for chain in order.iter().copied() {
        // The first of a chain is its input layer.
        match (begun.get_mut(chain), queues.get_mut(chain), chains.get(chain)) {
            (Some(begun @ false), _, Some(chain)) => {
                *begun = true;
                inputs.push(chain.input.clone());
            }
            (_, Some(queue), _) => layers.extend(queue.next()),
            _ => {}
        }
    }
    // A Sequential model does not count its input among its layers.
    let inputs = if chains.len() == 1 { Vec::new() } else { inputs };
    let weights = weights_h5::tree(&layers, &inputs).into_bytes()?;
    archive::pack(KERAS_VERSION, &model_json(&chains, &order).to_string(), &weights)
}

/// The chain of each layer in a Functional model's `layers`, inputs included: by distance from the
/// output, farthest first, then by chain (`_map_graph_network` in Keras 2, `map_graph` in Keras 3).
/// The groups of the weights are numbered in this order.
fn graph_order(chains: &[Chain<'_>]) -> Vec<usize> {
    let longest = chains.iter().map(|c| c.layers.len()).max().unwrap_or(0);
    (0..=longest)
        .rev()
        .flat_map(|depth| {
            let reaching = chains.iter().enumerate();
            reaching.filter(move |(_, c)| c.layers.len() >= depth).map(|(i, _)| i)
        })
        .collect()
}

fn halves(layer: &Layer) -> Vec<&Lstm> {
    match &layer.kind {
        LayerKind::Lstm(lstm) => vec![lstm],
        LayerKind::Bidirectional { forward, backward, .. } => vec![forward, backward],
    }
}

/// What every target needs: arrays that fit together.
fn check(name: &str, layer: &Layer) -> Result<(), Problem> {
    for lstm in halves(layer) {
        lstm.check(name)?;
    }
    Ok(())
}

/// What a model needs besides: settings, and layers that fit the one before.
fn check_chain(chain: &Chain<'_>) -> Result<(), Problem> {
    let mut width = None;
    for (name, layer) in &chain.layers {
        let refuse = |expected: String, found: String| Problem::Unwritable { layer: name.clone(), expected, found };
        for lstm in halves(layer) {
            let Some(config) = &lstm.config else {
                return Err(refuse("a configuration, to write a model".into(), "none".into()));
            };
            if config.stateful || config.time_major {
                return Err(refuse(
                    "stateful=false and time_major=false (Keras 3 has no time_major, and a stateful \
                     layer needs a batch size)"
                        .into(),
                    format!("stateful={}, time_major={}", config.stateful, config.time_major),
                ));
            }
            let inputs = width.unwrap_or(lstm.inputs());
            if inputs != lstm.inputs() {
                return Err(refuse(
                    format!("{inputs} inputs, from the layer or direction before"),
                    format!("{} kernel rows", lstm.inputs()),
                ));
            }
            width = Some(inputs);
        }
        width = Some(match &layer.kind {
            LayerKind::Lstm(lstm) => lstm.units(),
            LayerKind::Bidirectional { forward, backward, merge_mode } => {
                let reversed = |l: &Lstm| l.config.as_ref().is_some_and(|c| c.go_backwards);
                if reversed(forward) == reversed(backward) {
                    return Err(refuse(
                        "one direction with go_backwards and one without".into(),
                        format!("go_backwards={} in both", reversed(forward)),
                    ));
                }
                match merge_mode.as_deref() {
                    None | Some("concat") => forward.units().saturating_add(backward.units()),
                    Some("sum" | "mul" | "ave") if forward.units() == backward.units() => forward.units(),
                    Some(other) => {
                        return Err(refuse(
                            "merge_mode concat, or sum, mul or ave of equal sizes".into(),
                            other.into(),
                        ));
                    }
                }
            }
        });
    }
    Ok(())
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
