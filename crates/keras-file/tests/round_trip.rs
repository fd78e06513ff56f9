//! What `encode` writes, `decode` reads back, bit for bit and in order.

use keras_file::{Array, Format, Layer, LayerKind, Lstm, LstmConfig, Stored, Target};

/// An LSTM whose every value is different, also from those of other seeds.
fn lstm(seed: usize, inputs: usize, units: usize) -> Lstm {
    let array = |part: usize, shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let value = |i: usize| (seed * 1_000_003 + part * 100_003 + i) as f32 * 1e-7 - 0.5;
        Array::float32(shape.to_vec(), (0..count).map(value).collect())
    };
    Lstm {
        kernel: array(0, &[inputs, 4 * units]),
        recurrent_kernel: array(1, &[units, 4 * units]),
        bias: Some(array(2, &[4 * units])),
        config: Some(LstmConfig {
            units,
            activation: "tanh".into(),
            recurrent_activation: "sigmoid".into(),
            use_bias: true,
            go_backwards: false,
            time_major: false,
            return_sequences: true,
            return_state: false,
            zero_output_for_mask: false,
            stateful: false,
        }),
        stored: Stored::Plain,
    }
}

fn single(name: &str, seed: usize, inputs: usize, units: usize) -> Layer {
    Layer { name: name.into(), kind: LayerKind::Lstm(lstm(seed, inputs, units)) }
}

fn double(name: &str, seed: usize, inputs: usize, units: [usize; 2]) -> Layer {
    let mut backward = lstm(seed + 500, inputs, units[1]);
    if let Some(config) = &mut backward.config {
        config.go_backwards = true;
    }
    Layer {
        name: name.into(),
        kind: LayerKind::Bidirectional {
            forward: lstm(seed, inputs, units[0]),
            backward,
            merge_mode: Some("concat".into()),
        },
    }
}

/// `layers` without what a weights-only file cannot hold.
fn bare(layers: &[Layer]) -> Vec<Layer> {
    let mut layers = layers.to_vec();
    for layer in &mut layers {
        match &mut layer.kind {
            LayerKind::Lstm(lstm) => lstm.config = None,
            LayerKind::Bidirectional { forward, backward, merge_mode } => {
                (forward.config, backward.config, *merge_mode) = (None, None, None);
            }
            other => panic!("{other:?} is only written"),
        }
    }
    layers
}

fn assert_round_trip(chains: &[Vec<Layer>]) {
    let layers = chains.concat();
    for (target, format) in [
        (Target::LegacyWeights, Format::LegacyWeights),
        (Target::Weights, Format::Weights),
        (Target::Keras, Format::Keras),
    ] {
        let bytes = keras_file::encode(chains, target).unwrap_or_else(|e| panic!("{target:?}: {e}"));
        assert!(bytes == keras_file::encode(chains, target).expect("again"), "{target:?} is not reproducible");
        let file = keras_file::decode(bytes).unwrap_or_else(|e| panic!("{target:?}: {e}"));
        assert_eq!(file.format, format);
        if target == Target::Keras {
            assert!(file.order_known);
            assert!(file.layers == layers, "{target:?}");
        } else {
            let mut listed = bare(&layers);
            let order = keras_file::listed(chains);
            listed.sort_by_key(|l| order.iter().position(|name| *name == l.name));
            assert!(!file.order_known || file.layers == listed, "{target:?}");
            assert_eq!(file.layers.len(), layers.len());
            assert!(bare(&layers).iter().all(|l| file.layers.contains(l)), "{target:?}");
        }
    }
}

#[test]
fn twelve_layers_stay_in_numeric_order() {
    let layers = (0..12).map(|i| single(&format!("layer{i}"), i, 3, 3)).collect();
    assert_round_trip(&[layers]);
}

#[test]
fn bidirectional_layers_keep_their_directions_and_sizes() {
    assert_round_trip(&[vec![double("bi", 1, 3, [2, 4]), double("bi2", 2, 6, [3, 3])]]);
}

#[test]
fn mixed_classes_keep_their_order_where_the_file_tells_it() {
    let chain = vec![single("a", 1, 2, 3), double("b", 2, 3, [4, 4]), single("c", 3, 8, 2)];
    assert_round_trip(std::slice::from_ref(&chain));
    let bytes = keras_file::encode(&[chain], Target::Weights).expect("an encoding");
    let file = keras_file::decode(bytes).expect("a file");
    assert!(!file.order_known);
    let names: Vec<_> = file.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["a", "c", "b"]);
}

#[test]
fn chains_of_different_lengths_stay_apart() {
    let chains = [
        vec![single("a", 1, 4, 4), single("b", 2, 4, 4), single("c", 3, 4, 4)],
        vec![single("d", 4, 4, 4)],
        vec![single("e", 5, 4, 4), single("f", 6, 4, 4)],
    ];
    assert_round_trip(&chains);
    // As a Functional model lists them: those furthest from an output first.
    assert_eq!(keras_file::listed(&chains), ["a", "b", "e", "c", "d", "f"]);
}

#[test]
fn values_that_are_not_finite_survive() {
    let mut layer = lstm(1, 2, 2);
    layer.kernel.data[..4].copy_from_slice(&[f32::NAN, f32::INFINITY, -0.0, 1e-45]);
    let expected: Vec<u32> = layer.kernel.data.iter().map(|v| v.to_bits()).collect();
    let chains = [vec![Layer { name: "a".into(), kind: LayerKind::Lstm(layer) }]];
    for target in [Target::LegacyWeights, Target::Weights, Target::Keras] {
        let file = keras_file::decode(keras_file::encode(&chains, target).expect("bytes")).expect("a file");
        let LayerKind::Lstm(lstm) = &file.layers[0].kind else { panic!("not an LSTM") };
        let actual: Vec<u32> = lstm.kernel.data.iter().map(|v| v.to_bits()).collect();
        assert_eq!(actual, expected);
    }
}

/// A function of the user's own, as Keras writes it.
const OWN: &str = r#"{"module":"builtins","class_name":"function","config":{"name":"gate"},"registered_name":"gate"}"#;

#[test]
fn no_bias_and_odd_activations_survive() {
    let mut layer = lstm(1, 2, 2);
    layer.bias = None;
    if let Some(c) = &mut layer.config {
        (c.use_bias, c.activation, c.recurrent_activation) = (false, "softsign".into(), OWN.into());
        c.zero_output_for_mask = true;
    }
    assert_round_trip(&[vec![Layer { name: "a".into(), kind: LayerKind::Lstm(layer) }]]);
}

#[test]
fn names_are_made_fit_for_keras_and_unique() {
    let chain = vec![
        single("rnn/lstm cell", 1, 2, 2),
        single("rnn/lstm cell", 2, 2, 2),
        single("_x", 3, 2, 2),
        single("", 4, 2, 2),
    ];
    for target in [Target::LegacyWeights, Target::Weights, Target::Keras] {
        let bytes = keras_file::encode(std::slice::from_ref(&chain), target).expect("bytes");
        let file = keras_file::decode(bytes).expect("a file");
        let names: Vec<_> = file.layers.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["rnn_lstm_cell", "rnn_lstm_cell_1", "lstm_x", "lstm"]);
    }
}

#[test]
fn a_thousand_layers_need_split_attributes_and_fit() {
    let name = |i| format!("a_rather_long_layer_name_so_that_the_list_is_split_{i:0>60}");
    assert_round_trip(&[(0..1000).map(|i| single(&name(i), i, 1, 1)).collect()]);
}

#[test]
fn what_keras_could_not_load_is_refused() {
    let refused = |chains: &[Vec<Layer>], target| match keras_file::encode(chains, target) {
        Ok(_) => panic!("accepted"),
        Err(e) => e.to_string(),
    };
    let all = [Target::LegacyWeights, Target::Weights, Target::Keras];
    for target in all {
        assert!(refused(&[], target).contains("at least one chain"));
        assert!(refused(&[vec![]], target).contains("at least one chain"));
        let mut wrong = single("a", 1, 2, 3);
        if let LayerKind::Lstm(lstm) = &mut wrong.kind {
            lstm.recurrent_kernel.shape = vec![4, 9];
        }
        let message = refused(&[vec![wrong]], target);
        assert!(message.contains("\"a\"") && message.contains("[4, 9]"), "{message}");
    }
    let unfit = vec![single("a", 1, 2, 3), single("b", 2, 4, 4)];
    let message = refused(&[unfit], Target::Keras);
    assert!(message.contains("3 inputs") && message.contains("4 kernel rows"), "{message}");
    let bare = bare(&[single("a", 1, 2, 3)]);
    assert!(refused(&[bare], Target::Keras).contains("configuration"));
}
