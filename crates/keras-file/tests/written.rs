//! Models beyond a chain of LSTMs: projections, residual connections and stacks in each direction.

use std::path::Path;

use keras_file::{Array, Generation, KerasFile, Layer, LayerKind, Lstm, LstmConfig, OtherLayer, Stored, Target};

/// Values of array number `k`: small, and all different.
fn array(k: usize, shape: &[usize]) -> Array {
    let count: usize = shape.iter().product();
    let value = |i: usize| ((k * 977 + i * 131) % 1009) as f32 / 1009.0 - 0.5;
    Array::float32(shape.to_vec(), (0..count).map(value).collect())
}

fn lstm(k: usize, inputs: usize, units: usize) -> Lstm {
    Lstm {
        kernel: array(3 * k, &[inputs, 4 * units]),
        recurrent_kernel: array(3 * k + 1, &[units, 4 * units]),
        bias: Some(array(3 * k + 2, &[4 * units])),
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

fn layer(name: &str, kind: LayerKind) -> Layer {
    Layer { name: name.into(), kind }
}

fn single(name: &str, k: usize, inputs: usize, units: usize) -> Layer {
    layer(name, LayerKind::Lstm(lstm(k, inputs, units)))
}

fn dense(name: &str, k: usize, inputs: usize, outputs: usize, bias: bool) -> Layer {
    let bias = bias.then(|| array(3 * k + 1, &[outputs]));
    layer(name, LayerKind::Dense { kernel: array(3 * k, &[inputs, outputs]), bias })
}

/// A projected LSTM and one after it.
fn projection() -> Vec<Layer> {
    vec![single("a", 1, 3, 5), dense("project", 2, 5, 2, false), single("b", 3, 2, 4), dense("out", 4, 4, 2, true)]
}

fn residual() -> Vec<Layer> {
    let body = vec![single("b", 2, 4, 6), dense("project", 3, 6, 4, false)];
    let again = layer("sum_1", LayerKind::Residual(vec![single("c", 4, 4, 4)]));
    vec![single("a", 1, 3, 4), layer("sum", LayerKind::Residual(body)), again]
}

/// A stack in each direction, with what ELMo has inside it, and an LSTM on top.
fn directions() -> Vec<Layer> {
    let forward = vec![single("f1", 1, 3, 4), layer("f_sum", LayerKind::Residual(vec![single("f2", 2, 4, 4)]))];
    let backward = vec![
        single("b1", 3, 3, 5),
        dense("b_project", 4, 5, 2, false),
        layer("b_sum", LayerKind::Residual(vec![single("b2", 5, 2, 2)])),
    ];
    vec![layer("both", LayerKind::Directions { forward, backward }), single("top", 6, 6, 3)]
}

fn decode(bytes: Vec<u8>) -> KerasFile {
    keras_file::decode(bytes).unwrap_or_else(|e| panic!("{e}"))
}

fn names(file: &KerasFile) -> String {
    file.layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn other<'a>(file: &'a KerasFile, name: &str) -> &'a OtherLayer {
    file.other_layers.iter().find(|l| l.name == name).unwrap_or_else(|| panic!("no {name}: {:?}", file.other_layers))
}

#[test]
fn projections_are_written_in_every_format() {
    let chains = [projection()];
    for target in [Target::LegacyWeights, Target::Weights, Target::Keras, Target::Npz, Target::Safetensors] {
        let bytes = keras_file::encode(&chains, target).unwrap_or_else(|e| panic!("{target:?}: {e}"));
        assert!(bytes == keras_file::encode(&chains, target).expect("again"), "{target:?} is not reproducible");
        let file = decode(bytes);
        assert_eq!(names(&file), "a b", "{target:?}");
        let shapes = |name: &str| other(&file, name).arrays.iter().map(|a| a.shape.clone()).collect::<Vec<_>>();
        assert_eq!(shapes("project"), [[5, 2]], "{target:?}");
        assert_eq!(shapes("out"), [vec![4, 2], vec![2]], "{target:?}");
    }
}

#[test]
fn graphs_are_read_again_in_the_order_of_the_data() {
    // A Functional model lists the layers that are furthest from its output first.
    let listed = "b1 f1 b2 f2 top";
    for (chain, generation, order, listed) in [
        (residual(), Generation::Any, "a b c", "a b c"),
        (directions(), Generation::Two, "f1 f2 b1 b2 top", listed),
        (directions(), Generation::Three, "f1 f2 b1 b2 top", listed),
    ] {
        let chains = [chain];
        let file = decode(keras_file::encode_for(&chains, Target::Keras, generation).unwrap_or_else(|e| panic!("{e}")));
        assert_eq!(names(&file), order);
        let expected = match generation {
            Generation::Three => "3.0.0",
            _ => "2.15.0",
        };
        assert_eq!(file.keras_version.as_deref(), Some(expected));
        let mut names_listed = keras_file::listed(&chains);
        // Projections are listed too, and are no LSTMs.
        names_listed.retain(|name| !name.ends_with("project"));
        assert_eq!(names_listed.join(" "), listed);
        for (target, order) in [
            (Target::LegacyWeights, listed),
            (Target::Weights, listed),
            (Target::Npz, order),
            (Target::Safetensors, order),
        ] {
            let file = decode(keras_file::encode(&chains, target).unwrap_or_else(|e| panic!("{e}")));
            assert_eq!(names(&file), order, "{target:?}");
        }
    }
}

#[test]
fn what_the_two_kerases_take_differently_needs_a_choice() {
    let refused =
        |chain: Vec<Layer>| keras_file::encode(&[chain], Target::Keras).map(|_| ()).expect_err("a refusal").to_string();
    let message = refused(directions());
    assert!(message.contains("reverse"), "{message}");
    let mut hard = lstm(1, 3, 4);
    if let Some(c) = &mut hard.config {
        c.recurrent_activation = "hard_sigmoid".into();
    }
    let chain = vec![layer("a", LayerKind::Lstm(hard))];
    let message = refused(chain.clone());
    assert!(message.contains("x/6 + 0.5") && message.contains("0.2x + 0.5"), "{message}");
    for generation in [Generation::Two, Generation::Three] {
        keras_file::encode_for(std::slice::from_ref(&chain), Target::Keras, generation)
            .unwrap_or_else(|e| panic!("{e}"));
    }
    keras_file::encode(&[chain], Target::Weights).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |chain: Vec<Layer>, target| {
        keras_file::encode(&[chain], target).map(|_| ()).expect_err("a refusal").to_string()
    };
    let message = refused(vec![single("a", 1, 3, 5), dense("p", 2, 4, 2, false)], Target::Keras);
    assert!(
        message.contains("\"p\"") && message.contains("5 inputs") && message.contains("4 kernel rows"),
        "{message}"
    );
    let message = refused(vec![layer("sum", LayerKind::Residual(vec![single("a", 1, 3, 4)]))], Target::Keras);
    assert!(message.contains("\"sum\"") && message.contains('3') && message.contains('4'), "{message}");
    for target in [Target::LegacyWeights, Target::Keras, Target::Npz] {
        let empty = vec![layer("sum", LayerKind::Residual(vec![]))];
        assert!(refused(empty, target).contains("at least one"));
        let torn = LayerKind::Dense { kernel: array(0, &[3, 2]), bias: Some(array(1, &[3])) };
        let message = refused(vec![layer("d", torn)], target);
        assert!(message.contains("[3, 2]") && message.contains("bias [3]"), "{message}");
    }
}

/// For `interop/check.py`, which loads the files with real Kerases and computes every layer by itself.
#[test]
#[ignore = "writes files for tests/interop/check.py into KERAS_FILE_OUT"]
fn write_files_for_keras() {
    let out = std::path::PathBuf::from(std::env::var_os("KERAS_FILE_OUT").expect("KERAS_FILE_OUT"));
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(Path::new(&out).join(name), bytes).expect("a file");
    for (name, chains) in [
        ("projection", vec![projection()]),
        ("residual", vec![residual()]),
        ("directions", vec![directions()]),
        ("two_chains", vec![residual(), projection()]),
    ] {
        for (generation, keras) in [(Generation::Any, "any"), (Generation::Two, "2"), (Generation::Three, "3")] {
            match keras_file::encode_for(&chains, Target::Keras, generation) {
                Ok(bytes) => write(&format!("written_{name}.{keras}.keras"), bytes),
                Err(e) => assert_eq!((name, generation), ("directions", Generation::Any), "{e}"),
            }
        }
        for (target, ending) in
            [(Target::LegacyWeights, "legacy.h5"), (Target::Weights, "weights.h5"), (Target::Npz, "npz")]
        {
            let bytes = keras_file::encode(&chains, target).unwrap_or_else(|e| panic!("{e}"));
            write(&format!("written_{name}.{ending}"), bytes);
        }
    }
}

#[test]
fn every_merge_mode_that_gives_one_output_is_written() {
    let both = |mode: &str, units: [usize; 2]| {
        let mut backward = lstm(2, 3, units[1]);
        if let Some(c) = &mut backward.config {
            c.go_backwards = true;
        }
        let merge_mode = Some(mode.to_owned());
        let pair = LayerKind::Bidirectional { forward: lstm(1, 3, units[0]), backward, merge_mode };
        let after = if mode == "concat" { units[0] + units[1] } else { units[0] };
        vec![layer("both", pair), single("top", 3, after, 2)]
    };
    for (mode, units) in [("concat", [4, 2]), ("sum", [4, 4]), ("mul", [4, 4]), ("ave", [4, 4])] {
        let chain = both(mode, units);
        let bytes = keras_file::encode(std::slice::from_ref(&chain), Target::Keras).unwrap_or_else(|e| panic!("{e}"));
        assert!(decode(bytes).layers == chain, "{mode}");
    }
    for (mode, units) in [("none", [4, 4]), ("sum", [4, 2])] {
        let error = keras_file::encode(&[both(mode, units)], Target::Keras).map(|_| ()).expect_err("a refusal");
        assert!(error.to_string().contains(mode), "{error}");
    }
}
