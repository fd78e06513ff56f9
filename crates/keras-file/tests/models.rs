//! Models beyond the golden cases, written by Keras of TensorFlow 1.15, 2.2 and 2.15 and Keras 3 (`models/make_models.py`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use keras_file::{Dtype, KerasFile, Layer, LayerKind, Lstm};

fn models(writer: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(writer)
}

#[derive(serde::Deserialize)]
struct Expected {
    name: String,
    kernel_sums: Vec<f64>,
}

fn expected(writer: &str) -> HashMap<String, Vec<Expected>> {
    let text = std::fs::read_to_string(models(writer).join("expected.json")).expect("expected.json");
    serde_json::from_str(&text).expect("expected.json of make_models.py")
}

fn read(file: &str) -> KerasFile {
    keras_file::read(&models(file)).unwrap_or_else(|e| panic!("{e}"))
}

fn directions(layer: &Layer) -> Vec<&Lstm> {
    layer.kind.lstms()
}

fn kernel_sums(layer: &Layer) -> Vec<f64> {
    let sum = |l: &Lstm| l.kernel.data.iter().map(|v| f64::from(*v)).sum();
    directions(layer).into_iter().map(sum).collect()
}

/// float64 kernels are rounded to float32 on reading.
fn near(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6)
}

#[test]
fn every_layer_is_found_in_every_format_and_in_order_where_that_is_known() {
    let mut files = 0;
    for writer in ["tf1", "tf2.2", "keras2", "keras3"] {
        for (model, expected) in expected(writer) {
            for ending in ["model.h5", "keras", "weights.h5", "legacy.h5"] {
                let file = format!("{writer}/{model}.{ending}");
                if model == "cudnn" || !models(&file).exists() {
                    continue;
                }
                let found = read(&file);
                let configured = matches!(ending, "model.h5" | "keras");
                assert!(found.order_known || !configured, "{file}");
                assert_eq!(found.layers.len(), expected.len(), "{file}");
                // Without a configuration the branches of a model are listed as the file lists them, by depth.
                let in_order = configured || found.order_known && model != "branches";
                for (i, expected) in expected.iter().enumerate() {
                    let same = |l: &&Layer| near(&kernel_sums(l), &expected.kernel_sums);
                    let layer = match in_order {
                        true => Some(&found.layers[i]).filter(same),
                        false => found.layers.iter().find(same),
                    };
                    let layer = layer.unwrap_or_else(|| panic!("{file}: {} is not in its place", expected.name));
                    assert!(!configured || layer.name == expected.name, "{file}: {} for {}", layer.name, expected.name);
                    let settings = directions(layer).into_iter().filter(|l| l.config.is_some()).count();
                    assert_eq!(settings, if configured { expected.kernel_sums.len() } else { 0 }, "{file}");
                }
                files += 1;
            }
        }
    }
    assert!(files > 50, "only {files} files");
}

#[test]
fn other_layers_are_listed_with_their_classes() {
    for file in ["keras2/nested.keras", "keras3/nested.keras", "keras2/nested.model.h5", "tf1/nested.model.h5"] {
        let others = read(file).other_layers;
        let gru = others.iter().find(|l| l.class.as_deref() == Some("GRU")).unwrap_or_else(|| panic!("{file}: no GRU"));
        assert_eq!(gru.arrays[0].shape, [6, 9], "{file}");
        assert!(others.iter().any(|l| l.arrays.iter().any(|a| a.shape == [3, 5])), "{file}: no inner Dense");
    }
    for file in ["keras2/stacked_cells.weights.h5", "keras2/stacked_cells.model.h5", "keras3/stacked_cells.keras"] {
        let cells: Vec<_> = read(file).other_layers.into_iter().filter(|l| l.arrays.len() == 6).collect();
        assert_eq!(cells.len(), 1, "{file}");
    }
}

#[test]
fn cells_in_rnn_layers_bring_their_settings() {
    for file in ["tf1/rnn.model.h5", "keras2/rnn.keras", "keras3/rnn.keras", "keras3/rnn.model.h5"] {
        let found = read(file);
        let LayerKind::Bidirectional { forward, backward, merge_mode } = &found.layers[1].kind else {
            panic!("{file}: not bidirectional");
        };
        let config = |l: &Lstm| l.config.clone().expect("a configuration");
        assert_eq!(config(forward).recurrent_activation, "hard_sigmoid");
        assert_eq!((config(forward).go_backwards, config(backward).go_backwards), (false, true));
        assert_eq!(merge_mode.as_deref(), Some("concat"));
    }
}

#[test]
fn element_types_are_noted_and_rounding_is_admitted() {
    for writer in ["keras2", "keras3"] {
        for ending in ["keras", "weights.h5", "model.h5"] {
            for (model, dtype, lossy) in [("float64", Dtype::Float64, true), ("float16", Dtype::Float16, false)] {
                let found = read(&format!("{writer}/{model}.{ending}"));
                let kernel = &directions(&found.layers[0])[0].kernel;
                assert_eq!((kernel.stored_as, kernel.lossy), (dtype, lossy), "{writer}/{model}.{ending}");
            }
        }
    }
}

#[test]
fn an_order_that_the_file_does_not_tell_is_not_claimed() {
    assert!(!read("keras2/nested.weights.h5").order_known);
    assert!(!read("keras3/sub.weights.h5").order_known);
    assert!(read("keras3/twelve.weights.h5").order_known);
}

/// Keras splits lists of names that are too long for one attribute of HDF5.
#[test]
fn lists_of_names_in_pieces_are_put_together() {
    let shared = |file: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models").join(file);
    let [whole, pieces] = ["merged.h5", "split.h5"].map(|file| keras_file::read(&shared(file)).unwrap());
    let bytes = std::fs::read(shared("split.h5")).unwrap();
    for name in ["layer_names1", "weight_names5"] {
        assert!(bytes.windows(name.len()).any(|b| b == name.as_bytes()), "no {name} in the file");
    }
    assert_eq!(whole.layers.len(), 4);
    assert_eq!((whole.layers, whole.feeds), (pieces.layers, pieces.feeds));
}
