//! Writes the configuration of a model of LSTM chains, in a dialect that both Keras 2 and Keras 3
//! read: plain dtype names, `batch_input_shape`, and the graph of a Functional model in Keras 2's
//! lists. Initializers are left to their defaults, as the weights replace what they made.

use serde_json::{Value, json};

use crate::layer::{Layer, LayerKind, Lstm, LstmConfig};

/// Layers that feed each other, with their names and that of their input.
pub(crate) struct Chain<'a> {
    pub(crate) input: String,
    pub(crate) layers: Vec<(String, &'a Layer)>,
}

/// One chain as a Sequential model, several as a Functional one; `order` lists the chain of each
/// layer of a Functional model, inputs included, in the order of its `layers` property.
pub(crate) fn model_json(chains: &[Chain<'_>], order: &[usize]) -> Value {
    if let [chain] = chains {
        let mut layers = vec![input_json(chain)];
        layers.extend(chain.layers.iter().map(|(n, l)| layer_json(n, l)));
        return json!({
            "module": "keras",
            "class_name": "Sequential",
            "config": {"name": "sequential", "layers": layers},
            "registered_name": null,
        });
    }
    // What each chain still has to list, in front of it the layer that feeds it.
    let mut queues: Vec<_> = chains
        .iter()
        .map(|chain| {
            let mut before = None::<&str>;
            let input = (chain.input.as_str(), input_json(chain));
            let layers = chain.layers.iter().map(|(n, l)| (n.as_str(), layer_json(n, l)));
            std::iter::once(input).chain(layers).map(move |(name, mut json)| {
                let nodes = before.map_or(json!([]), |b| json!([[[b, 0, 0, {}]]]));
                if let Some(fields) = json.as_object_mut() {
                    fields.insert("name".to_owned(), name.into());
                    fields.insert("inbound_nodes".to_owned(), nodes);
                }
                before = Some(name);
                json
            })
        })
        .collect();
    let layers: Vec<Value> = order.iter().filter_map(|chain| queues.get_mut(*chain)?.next()).collect();
    let ends = |name: &str| json!([name, 0, 0]);
    let inputs: Vec<Value> = chains.iter().map(|c| ends(&c.input)).collect();
    let last = |c: &Chain<'_>| c.layers.last().map_or(Value::Null, |(n, _)| ends(n));
    // `Model` makes a Functional model of this; the class `Functional` has another module in each Keras.
    json!({
        "module": "keras",
        "class_name": "Model",
        "config": {
            "name": "model",
            "trainable": true,
            "layers": layers,
            "input_layers": inputs,
            "output_layers": chains.iter().map(last).collect::<Vec<_>>(),
        },
        "registered_name": null,
    })
}

fn keras_layer(class: &str, config: Value) -> Value {
    json!({
        "module": "keras.layers",
        "class_name": class,
        "config": config,
        "registered_name": null,
    })
}

fn input_json(chain: &Chain<'_>) -> Value {
    let width = match chain.layers.first().map(|(_, l)| &l.kind) {
        Some(LayerKind::Lstm(l) | LayerKind::Bidirectional { forward: l, .. }) => l.inputs(),
        None => 0,
    };
    keras_layer(
        "InputLayer",
        json!({
            "batch_input_shape": [null, null, width],
            "dtype": "float32",
            "sparse": false,
            "name": chain.input,
        }),
    )
}

fn layer_json(name: &str, layer: &Layer) -> Value {
    match &layer.kind {
        LayerKind::Lstm(lstm) => lstm_json(name, lstm),
        LayerKind::Bidirectional { forward, backward, merge_mode } => keras_layer(
            "Bidirectional",
            json!({
                "name": name,
                "trainable": true,
                "dtype": "float32",
                "layer": lstm_json(&format!("forward_{name}"), forward),
                "merge_mode": merge_mode.as_deref().unwrap_or("concat"),
                "backward_layer": lstm_json(&format!("backward_{name}"), backward),
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
        "activation": activation,
        "recurrent_activation": recurrent_activation,
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
