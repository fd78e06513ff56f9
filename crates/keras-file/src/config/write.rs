//! Writes the configuration of a model, in a dialect that both Keras 2 and Keras 3 read: plain dtype names,
//! `batch_input_shape`, and the graph of a Functional model in Keras 2's lists. Only the reversal of a sequence has
//! one form for each. Initializers are left to their defaults, as the weights replace what they made.

use serde_json::{Value, json};

use crate::encode::Generation;
use crate::graph::{Graph, Node, Op, Weighted};
use crate::layer::{Lstm, LstmConfig};

/// One chain of layers as a Sequential model, anything else as a Functional one, whose layers come in `order`.
/// `widths` has the last axis of every node's output.
pub(crate) fn model_json(graph: &Graph<'_>, order: &[usize], widths: &[usize], generation: Generation) -> Value {
    let json = |index: usize| {
        let width = widths.get(index).copied().unwrap_or(0);
        graph.nodes.get(index).map(|node| node_json(node, width, generation))
    };
    if graph.is_sequence() {
        let layers: Vec<Value> = (0..graph.nodes.len()).filter_map(json).collect();
        return json!({
            "module": "keras",
            "class_name": "Sequential",
            "config": {"name": "sequential", "layers": layers},
            "registered_name": null,
        });
    }
    let name = |index: usize| graph.nodes.get(index).map_or("", |n| &n.name);
    let layer = |index: usize| {
        let (mut json, node) = json(index).zip(graph.nodes.get(index))?;
        if let Some(fields) = json.as_object_mut() {
            fields.insert("name".to_owned(), node.name.as_str().into());
            fields.insert("inbound_nodes".to_owned(), inbound(node, name, generation));
        }
        Some(json)
    };
    let ends = |index: &usize| json!([name(*index), 0, 0]);
    // `Model` makes a Functional model of this; the class `Functional` has another module in each Keras.
    json!({
        "module": "keras",
        "class_name": "Model",
        "config": {
            "name": "model",
            "trainable": true,
            "layers": order.iter().copied().filter_map(layer).collect::<Vec<_>>(),
            "input_layers": graph.inputs.iter().map(ends).collect::<Vec<_>>(),
            "output_layers": graph.outputs.iter().map(ends).collect::<Vec<_>>(),
        },
        "registered_name": null,
    })
}

/// The one call of a layer: what it is given.
fn inbound<'n>(node: &Node<'_>, name: impl Fn(usize) -> &'n str, generation: Generation) -> Value {
    let from = node.from.iter().map(|f| name(*f));
    match (&node.op, generation) {
        (Op::Input, _) => json!([]),
        // A function of TensorFlow, with its other arguments.
        (Op::Flip, Generation::Any | Generation::Two) => {
            from.map(|f| json!([f, 0, 0, {"axis": [1], "name": null}])).collect()
        }
        _ => json!([from.map(|f| json!([f, 0, 0, {}])).collect::<Vec<_>>()]),
    }
}

fn keras_layer(class: &str, config: Value) -> Value {
    json!({
        "module": "keras.layers",
        "class_name": class,
        "config": config,
        "registered_name": null,
    })
}

fn node_json(node: &Node<'_>, width: usize, generation: Generation) -> Value {
    let name = node.name.as_str();
    match &node.op {
        Op::Input => keras_layer(
            "InputLayer",
            json!({
                "batch_input_shape": [null, null, width],
                "dtype": "float32",
                "sparse": false,
                "name": name,
            }),
        ),
        Op::Weighted(layer) => layer_json(name, *layer),
        Op::Add => keras_layer("Add", json!({"name": name, "trainable": true, "dtype": "float32"})),
        Op::Concatenate => {
            keras_layer("Concatenate", json!({"name": name, "trainable": true, "dtype": "float32", "axis": -1}))
        }
        Op::Flip if generation == Generation::Three => json!({
            "module": "keras.src.ops.numpy",
            "class_name": "Flip",
            "config": {"name": name, "axis": 1},
            "registered_name": "Flip",
        }),
        Op::Flip => json!({
            "module": "keras.src.layers.core.tf_op_layer",
            "class_name": "TFOpLambda",
            "config": {"name": name, "trainable": true, "dtype": "float32", "function": "reverse"},
            "registered_name": "TFOpLambda",
        }),
    }
}

fn layer_json(name: &str, layer: Weighted<'_>) -> Value {
    match layer {
        Weighted::Lstm(lstm) => lstm_json(name, lstm),
        Weighted::Bidirectional { forward, backward, merge_mode } => keras_layer(
            "Bidirectional",
            json!({
                "name": name,
                "trainable": true,
                "dtype": "float32",
                "layer": lstm_json(&format!("forward_{name}"), forward),
                "merge_mode": merge_mode.unwrap_or("concat"),
                "backward_layer": lstm_json(&format!("backward_{name}"), backward),
            }),
        ),
        Weighted::Dense { kernel, bias } => keras_layer(
            "Dense",
            json!({
                "name": name,
                "trainable": true,
                "dtype": "float32",
                "units": kernel.shape.last(),
                "activation": "linear",
                "use_bias": bias.is_some(),
            }),
        ),
    }
}

fn lstm_json(name: &str, lstm: &Lstm) -> Value {
    let Some(LstmConfig {
        units, activation, recurrent_activation, use_bias, go_backwards, zero_output_for_mask, ..
    }) = &lstm.config
    else {
        return Value::Null;
    };
    let mut config = json!({
        "name": name,
        "trainable": true,
        "dtype": "float32",
        "return_sequences": true,
        "return_state": false,
        "go_backwards": go_backwards,
        "stateful": false,
        "unroll": false,
        "units": units,
        "activation": activation_json(activation),
        "recurrent_activation": activation_json(recurrent_activation),
        "use_bias": use_bias,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
    });
    // Before 2.11 Keras did not know this argument.
    if *zero_output_for_mask && let Some(fields) = config.as_object_mut() {
        fields.insert("zero_output_for_mask".to_owned(), true.into());
    }
    keras_layer("LSTM", config)
}

/// A name, or the object that stands for a function of the user's own.
fn activation_json(activation: &str) -> Value {
    let object = serde_json::from_str(activation).ok().filter(Value::is_object);
    object.unwrap_or_else(|| activation.into())
}
