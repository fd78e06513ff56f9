//! Files written by real Kerases (`tests/golden/make_golden_keras.py`): every format must decode to the same bits.

use std::path::{Path, PathBuf};

use keras_file::{Array, Format, Generation, KerasFile, Layer, LayerKind, Lstm, LstmConfig, Target};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Cases that Keras conversions exist for.
fn cases() -> Vec<String> {
    let mut cases: Vec<String> = std::fs::read_dir(golden())
        .expect("golden cases")
        .map(|entry| entry.expect("golden case").file_name().into_string().expect("a UTF-8 name"))
        .filter(|case| golden().join(case).join("keras2").exists())
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} golden cases found", cases.len());
    cases
}

fn read(file: &str) -> KerasFile {
    keras_file::read(&golden().join(file)).unwrap_or_else(|e| panic!("{e}"))
}

const FILES: [(&str, Format); 4] = [
    ("legacy_weights.h5", Format::LegacyWeights),
    ("model.h5", Format::LegacyModel),
    ("model.weights.h5", Format::Weights),
    ("model.keras", Format::Keras),
];

fn directions(layer: &Layer) -> Vec<&Lstm> {
    layer.kind.lstms()
}

type Bits = (Vec<usize>, Vec<u32>);

/// Shape and bits of every array, by layer and direction.
fn bits(layers: &[Layer]) -> Vec<Vec<Vec<Bits>>> {
    let array = |a: &Array| (a.shape.clone(), a.data.iter().map(|v| v.to_bits()).collect());
    let lstm = |l: &Lstm| {
        let bias = l.bias.iter().map(array);
        [array(&l.kernel), array(&l.recurrent_kernel)].into_iter().chain(bias).collect()
    };
    layers.iter().map(|l| directions(l).into_iter().map(lstm).collect()).collect()
}

#[test]
fn all_formats_of_both_kerases_hold_the_same_bits() {
    let mut files = 0;
    for case in cases() {
        let expected = bits(&read(&format!("{case}/keras2/legacy_weights.h5")).layers);
        assert!(!expected.is_empty(), "{case} has no layers");
        for keras in ["keras2", "keras3"] {
            for (file, format) in FILES {
                // Keras 3 cannot write weights alone in the legacy format.
                if keras == "keras3" && format == Format::LegacyWeights {
                    continue;
                }
                let file = format!("{case}/{keras}/{file}");
                let actual = read(&file);
                assert_eq!(actual.format, format, "{file}");
                assert!(actual.order_known, "{file}");
                assert!(actual.other_layers.iter().all(|l| l.arrays.is_empty()), "{file}");
                assert!(bits(&actual.layers) == expected, "{file} differs from legacy_weights.h5");
                files += 1;
            }
        }
    }
    assert!(files >= 20 * 7);
}

#[test]
fn versions_are_those_of_the_writers() {
    for (keras, version) in [("keras2", "2.15.0"), ("keras3", "3.15.1")] {
        for (file, has_version) in [("model.h5", true), ("model.keras", true), ("model.weights.h5", false)] {
            let actual = read(&format!("basic/{keras}/{file}")).keras_version;
            assert_eq!(actual.as_deref(), has_version.then_some(version), "{keras}/{file}");
        }
    }
}

fn only_config(file: &KerasFile) -> &LstmConfig {
    let [layer] = file.layers.as_slice() else {
        panic!("{} layers", file.layers.len());
    };
    let [lstm] = directions(layer)[..] else {
        panic!("two directions");
    };
    lstm.config.as_ref().expect("a configuration")
}

#[test]
fn models_bring_their_configuration_and_weights_do_not() {
    for keras in ["keras2", "keras3"] {
        for file in ["model.h5", "model.keras"] {
            let basic = LstmConfig {
                units: 8,
                activation: "tanh".into(),
                recurrent_activation: "sigmoid".into(),
                use_bias: true,
                go_backwards: false,
                time_major: false,
                return_sequences: true,
                return_state: false,
                zero_output_for_mask: false,
                stateful: false,
            };
            assert_eq!(*only_config(&read(&format!("basic/{keras}/{file}"))), basic);
            let relu = LstmConfig { activation: "relu".into(), ..basic.clone() };
            assert_eq!(*only_config(&read(&format!("relu/{keras}/{file}"))), relu);
            let hard = LstmConfig { recurrent_activation: "hard_sigmoid".into(), ..basic };
            let case = format!("keras_tf1_hard_sigmoid/{keras}/{file}");
            assert_eq!(*only_config(&read(&case)), hard);
        }
        let weights = read(&format!("basic/{keras}/model.weights.h5"));
        assert_eq!(directions(&weights.layers[0])[0].config, None);
    }
}

#[test]
fn wrong_settings_are_seen() {
    for keras in ["keras2", "keras3"] {
        let wrong = |name: &str| read(&format!("basic/{keras}/wrong/{name}.keras"));
        assert!(only_config(&wrong("go_backwards")).go_backwards);
        assert_eq!(only_config(&wrong("hard_sigmoid_gates")).recurrent_activation, "hard_sigmoid");
        assert_eq!(only_config(&wrong("relu_instead_of_tanh")).activation, "relu");
        let no_bias = wrong("no_bias");
        assert!(!only_config(&no_bias).use_bias);
        assert_eq!(directions(&no_bias.layers[0])[0].bias, None);
    }
}

#[test]
fn layers_are_counted_and_ordered() {
    for (case, kinds) in
        [("basic", "L"), ("multi", "LL"), ("seed_stack", "LL"), ("bidirectional", "B"), ("stack_bidirectional", "BB")]
    {
        for keras in ["keras2", "keras3"] {
            for file in ["model.h5", "model.weights.h5", "model.keras"] {
                let file = read(&format!("{case}/{keras}/{file}"));
                let found: String =
                    file.layers.iter().map(|l| if directions(l).len() == 1 { 'L' } else { 'B' }).collect();
                assert_eq!(found, kinds, "{case} {keras}");
            }
        }
    }
    let names = |file: &str| read(file).layers.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    assert_eq!(names("multi/keras3/model.keras"), ["lstm_32", "lstm_33"]);
    assert_eq!(names("multi/keras3/model.weights.h5"), ["lstm_32", "lstm_33"]);
    assert_eq!(names("multi/keras2/model.weights.h5"), ["lstm", "lstm_1"]);
    let file = read("stack_bidirectional/keras3/model.keras");
    for layer in &file.layers {
        let LayerKind::Bidirectional { forward, backward, merge_mode } = &layer.kind else {
            panic!("{} is not bidirectional", layer.name);
        };
        assert_eq!(merge_mode.as_deref(), Some("concat"));
        let backwards = |l: &Lstm| l.config.as_ref().map(|c| c.go_backwards);
        assert_eq!((backwards(forward), backwards(backward)), (Some(false), Some(true)));
    }
}

#[test]
fn rewritten_models_hold_the_same_bits_and_settings() {
    for case in cases() {
        for keras in ["keras2", "keras3"] {
            let original = read(&format!("{case}/{keras}/model.keras"));
            let chains = [original.layers.clone()];
            for target in [Target::LegacyWeights, Target::Weights, Target::Keras] {
                let generation = if keras == "keras2" { Generation::Two } else { Generation::Three };
                let bytes = keras_file::encode_for(&chains, target, generation).expect("an encoding");
                let again = keras_file::decode(bytes).unwrap_or_else(|e| panic!("{case}: {e}"));
                assert!(bits(&again.layers) == bits(&original.layers), "{case} {target:?}");
                if target == Target::Keras {
                    assert_eq!(again.layers, original.layers, "{case}");
                }
            }
        }
    }
}
