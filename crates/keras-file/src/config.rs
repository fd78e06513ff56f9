//! Reads a Keras model configuration (JSON): which layers there are, in which order, and how the
//! LSTMs among them are set. Understands the dialects of Keras 2 (also TensorFlow 1) and Keras 3.

mod write;

use std::collections::HashMap;

use serde_json::Value;

use crate::error::Problem;
use crate::json;
use crate::layer::LstmConfig;

pub(crate) use write::model_json;

/// A model: the layers in the order of its `layers` property, which numbers them in files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) layers: Vec<Node>,
    /// Indices into `layers` in the order data flows, branch by branch.
    pub(crate) flow: Vec<usize>,
    /// Indices into `layers` of what each layer reads.
    inputs: Vec<Vec<usize>>,
}

/// One layer of a model.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) kind: Kind,
    /// Whether it marks steps to be left out.
    pub(crate) masks: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Lstm(LstmConfig),
    Bidirectional { forward: LstmConfig, backward: LstmConfig, merge_mode: String },
    Model(Model),
    Other,
}

/// Layers that hand sequences on unchanged at inference.
const PASSING: [&str; 6] =
    ["Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "ActivityRegularization", "Masking"];

impl Model {
    /// Names of LSTM layers that read the sequences of another and nothing else: which one, and which it reads. What only
    /// drops or marks values lies between them unseen.
    pub(crate) fn feeds(&self) -> Vec<(String, String)> {
        let one = |index: usize| match self.inputs.get(index).map(Vec::as_slice) {
            Some([only]) => Some((*only, self.layers.get(*only)?)),
            _ => None,
        };
        let below = |index: usize| {
            let (mut at, mut node) = one(index)?;
            // No layer is looked at twice, whatever a hostile file says.
            for _ in 0..self.layers.len() {
                match &node.kind {
                    Kind::Lstm(config) | Kind::Bidirectional { forward: config, .. } => {
                        return config.return_sequences.then_some(node);
                    }
                    Kind::Other if PASSING.contains(&node.class.as_str()) => (at, node) = one(at)?,
                    _ => return None,
                }
            }
            None
        };
        let is_lstm = |node: &Node| matches!(node.kind, Kind::Lstm(_) | Kind::Bidirectional { .. });
        let lstms = self.layers.iter().enumerate().filter(|(_, node)| is_lstm(node));
        lstms.filter_map(|(index, node)| Some((node.name.clone(), below(index)?.name.clone()))).collect()
    }

    /// Whether a layer, of models inside it too, marks steps to be left out.
    pub(crate) fn masks(&self) -> bool {
        self.layers.iter().any(|node| match &node.kind {
            Kind::Model(inner) => inner.masks(),
            _ => node.masks,
        })
    }

    /// The layers in the order data flows.
    pub(crate) fn in_flow_order(&self) -> impl Iterator<Item = &Node> {
        self.flow.iter().filter_map(|i| self.layers.get(*i))
    }
}

/// Parses the JSON text of a whole model.
pub(crate) fn parse(document: &'static str, text: &str) -> Result<Model, Problem> {
    // serde_json refuses nesting deeper than 128 levels, which bounds the recursion below.
    let value: Value = json::parse(document, text.as_bytes())?;
    model(&value)
}

fn model(value: &Value) -> Result<Model, Problem> {
    let config = value.get("config").unwrap_or(&Value::Null);
    // Keras before 2.3 stored a Sequential's configuration as the bare list of layers.
    let list = config.get("layers").unwrap_or(config);
    // A subclassed model has no list of layers.
    let Some(list) = list.as_array() else {
        return Ok(Model::default());
    };
    let layers = list.iter().map(node).collect::<Result<Vec<_>, _>>()?;
    let (flow, inputs) = match config.get("output_layers") {
        Some(outputs) => flow_order(&layers, list, outputs),
        None => {
            ((0..layers.len()).collect(), (0..layers.len()).map(|i| i.checked_sub(1).into_iter().collect()).collect())
        }
    };
    Ok(Model { layers, flow, inputs })
}

fn node(value: &Value) -> Result<Node, Problem> {
    let class = class_of(value).to_owned();
    let config = value.get("config").unwrap_or(&Value::Null);
    let name = config.get("name").or_else(|| value.get("name")).and_then(Value::as_str).unwrap_or(&class).to_owned();
    let kind = match class.as_str() {
        "Bidirectional" => bidirectional(&name, config)?,
        _ => match lstm(&name, value)? {
            Some(lstm) => Kind::Lstm(lstm),
            None if is_model(config) => Kind::Model(model(value)?),
            None => Kind::Other,
        },
    };
    let masks = class == "Masking" || config.get("mask_zero").and_then(Value::as_bool) == Some(true);
    Ok(Node { name, class, kind, masks })
}

fn class_of(value: &Value) -> &str {
    value.get("class_name").and_then(Value::as_str).unwrap_or("")
}

/// A nested model: a list of layer objects, whatever its class is called.
fn is_model(config: &Value) -> bool {
    let list = config.get("layers").unwrap_or(config).as_array();
    list.is_some_and(|l| !l.is_empty() && l.iter().all(|v| v.get("class_name").is_some()))
}

fn bidirectional(name: &str, config: &Value) -> Result<Kind, Problem> {
    let inner = config.get("layer").unwrap_or(&Value::Null);
    let Some(forward) = lstm(name, inner)? else {
        return Ok(Kind::Other);
    };
    let backward = match config.get("backward_layer") {
        None | Some(Value::Null) => LstmConfig { go_backwards: !forward.go_backwards, ..forward.clone() },
        Some(own) => match lstm(name, own)? {
            Some(own) => own,
            None => return Ok(Kind::Other),
        },
    };
    let merge_mode = match config.get("merge_mode") {
        Some(Value::Null) => "none",
        Some(Value::String(mode)) => mode,
        None => "concat",
        Some(other) => return Err(unexpected(name, "merge_mode as a string", other)),
    };
    Ok(Kind::Bidirectional { forward, backward, merge_mode: merge_mode.to_owned() })
}

/// Settings of an `LSTM`, `RNN(LSTMCell)` or `CuDNNLSTM`; none where `value` is something else.
fn lstm(name: &str, value: &Value) -> Result<Option<LstmConfig>, Problem> {
    let layer = value.get("config").unwrap_or(&Value::Null);
    let cell = match class_of(value) {
        "LSTM" | "CuDNNLSTM" => layer,
        "RNN" => match layer.get("cell") {
            Some(cell) if class_of(cell) == "LSTMCell" => cell.get("config").unwrap_or(&Value::Null),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    // The second names are those of Keras 1.
    let units = cell.get("units").or_else(|| cell.get("output_dim")).unwrap_or(&Value::Null);
    // Keras accepts units=8.0 and writes it back so.
    let units = units
        .as_u64()
        .or_else(|| units.as_f64().and_then(whole))
        .and_then(|u| usize::try_from(u).ok())
        .ok_or_else(|| unexpected(name, "units as a whole number", units))?;
    let flag = |of: &Value, key: &str, default: bool| match of.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(b)) => Ok(*b),
        Some(other) => Err(unexpected(name, "true or false", other)),
    };
    // What cuDNN computes; the layer has no such settings.
    let (activations, use_bias) = match class_of(value) {
        "CuDNNLSTM" => (("tanh".to_owned(), "sigmoid".to_owned()), true),
        _ => {
            let gates = cell.get("recurrent_activation").or_else(|| cell.get("inner_activation"));
            let both = (activation(name, cell.get("activation"))?, activation(name, gates)?);
            (both, flag(cell, "use_bias", true)?)
        }
    };
    Ok(Some(LstmConfig {
        units,
        activation: activations.0,
        recurrent_activation: activations.1,
        use_bias,
        go_backwards: flag(layer, "go_backwards", false)?,
        time_major: flag(layer, "time_major", false)?,
        return_sequences: flag(layer, "return_sequences", false)?,
        return_state: flag(layer, "return_state", false)?,
        zero_output_for_mask: flag(layer, "zero_output_for_mask", false)?,
        stateful: flag(layer, "stateful", false)?,
    }))
}

/// A number without a fraction, up to 10^15.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what either would change is left out")]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..1e15).contains(&number)).then_some(number as u64)
}

/// An activation is stored as its name, as null (which means linear), or as an object: Keras 3
/// stores functions as `{"class_name": "function", "config": "relu"}`.
fn activation(layer: &str, value: Option<&Value>) -> Result<String, Problem> {
    match value {
        Some(Value::String(name)) => Ok(name.clone()),
        Some(Value::Null) => Ok("linear".to_owned()),
        Some(object @ Value::Object(_)) => Ok(match object.get("config") {
            Some(Value::String(name)) => name.clone(),
            _ => object.to_string(),
        }),
        other => Err(unexpected(
            layer,
            "activation and recurrent_activation as names or objects",
            other.unwrap_or(&Value::Null),
        )),
    }
}

fn unexpected(layer: &str, expected: &'static str, found: &Value) -> Problem {
    let mut found = found.to_string();
    if let Some((cut, _)) = found.char_indices().nth(80) {
        found.truncate(cut);
        found.push('…');
    }
    Problem::Config { place: format!("layer {layer:?}"), expected, found }
}

/// Order of layers in a graph: for each output in turn, everything it needs before it. And what each layer reads.
fn flow_order(layers: &[Node], list: &[Value], outputs: &Value) -> (Vec<usize>, Vec<Vec<usize>>) {
    let index: HashMap<&str, usize> = layers.iter().enumerate().map(|(i, l)| (l.name.as_str(), i)).collect();
    let inbound: Vec<Vec<usize>> =
        list.iter().map(|l| references(l.get("inbound_nodes").unwrap_or(&Value::Null), &index)).collect();
    let mut order = Vec::with_capacity(layers.len());
    let mut seen = vec![false; layers.len()];
    // Depth first with a stack of our own: a chain of layers may be longer than the call stack.
    let everything = references(outputs, &index).into_iter().chain(0..layers.len());
    for start in everything {
        let mut stack = vec![(start, false)];
        while let Some((layer, inputs_done)) = stack.pop() {
            if inputs_done {
                order.push(layer);
                continue;
            }
            match seen.get_mut(layer) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            stack.push((layer, true));
            let inputs = inbound.get(layer).into_iter().flatten();
            stack.extend(inputs.rev().map(|i| (*i, false)));
        }
    }
    (order, inbound)
}

/// Layers that a node mentions, in order. Both dialects write a reference as `[name, node, tensor]`
/// (Keras 2 bare, Keras 3 as `keras_history`), inside structures that differ.
fn references(value: &Value, index: &HashMap<&str, usize>) -> Vec<usize> {
    match value {
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), Value::Number(_), rest @ ..] if index.contains_key(name.as_str()) => {
                let own = index.get(name.as_str()).copied();
                // Keras 2 appends keyword arguments, which may refer to further layers.
                own.into_iter().chain(rest.iter().flat_map(|v| references(v, index))).collect()
            }
            items => items.iter().flat_map(|v| references(v, index)).collect(),
        },
        Value::Object(fields) => fields.values().flat_map(|v| references(v, index)).collect(),
        _ => Vec::new(),
    }
}
