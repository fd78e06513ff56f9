//! Object-based checkpoints and SavedModels that TensorFlow 2 wrote, and one that this crate writes for it.
//! `object_checkpoints/make.py` made the former, `object_checkpoints/check.py` loads the latter into real Keras models.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tf_checkpoint::{Checkpoint, ObjectGraph, ObjectVariable, write_object_checkpoint};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/object_checkpoints").join(name)
}

fn expected(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap()
}

/// Opens the checkpoint and compares all of it with what TensorFlow read.
fn open(name: &str, format: &str) -> (Checkpoint, ObjectGraph, Value) {
    let folder = folder(name);
    let checkpoint = Checkpoint::open(&folder).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(checkpoint.format().as_str(), format, "{name}");
    let expected = expected(&folder);
    let listed = expected["variables"].as_object().unwrap();
    assert_eq!(checkpoint.variables().len(), listed.len(), "{name}");
    for variable in checkpoint.variables() {
        let entry = &listed[&variable.name];
        assert_eq!(variable.dtype.as_str(), entry["dtype"], "{name} {}", variable.name);
        assert_eq!(serde_json::to_value(&variable.shape).unwrap(), entry["shape"], "{name} {}", variable.name);
        assert_eq!(checkpoint.sha256(&variable.name).unwrap(), entry["sha256"].as_str().unwrap());
    }
    let objects = checkpoint.objects().unwrap_or_else(|e| panic!("{e}")).unwrap();
    (checkpoint, objects, expected)
}

#[test]
fn paths_of_objects_lead_to_the_weights() {
    for (name, format) in [
        ("keras2_save_weights", "v2"),
        ("keras2_train_checkpoint", "v2"),
        ("keras2_saved_model", "saved-model"),
        ("keras3_train_checkpoint", "v2"),
        ("keras3_saved_model", "saved-model"),
    ] {
        let (checkpoint, objects, expected) = open(name, format);
        let weights = expected["weights"].as_object().unwrap();
        assert!(weights.len() >= 11, "{name}");
        for (path, digest) in weights {
            let key = objects.variable_key(path).unwrap_or_else(|| panic!("{name}: nothing at {path}"));
            assert_eq!(checkpoint.sha256(key).unwrap(), digest.as_str().unwrap(), "{name} {path}");
        }
        // Every variable of the checkpoint is reached, but for the graph itself and what optimizers keep.
        let walked = objects.walk();
        for (path, node) in &walked {
            assert_eq!(objects.resolve(path), Some(*node), "{name} {path}");
        }
        let slots: Vec<usize> = objects.nodes.iter().flat_map(|n| n.slots.iter().map(|s| s.slot)).collect();
        for (number, node) in objects.nodes.iter().enumerate().filter(|(_, n)| n.variable_key().is_some()) {
            let reached = walked.iter().any(|(_, n)| *n == number) || slots.contains(&number);
            assert!(reached, "{name} {:?}", node.variable_key());
        }
    }
}

#[test]
fn keys_do_not_tell_what_paths_do() {
    let (_, objects, _) = open("keras2_saved_model", "saved-model");
    let kernel = objects.variable_key("layer_with_weights-0/cell/kernel");
    assert_eq!(kernel, Some("variables/0/.ATTRIBUTES/VARIABLE_VALUE"));
    let dense = objects.variable_key("layer_with_weights-2/kernel");
    assert_eq!(dense, Some("layer_with_weights-2/kernel/.ATTRIBUTES/VARIABLE_VALUE"));
    // An export of Keras 3 has no layers. All it says of a variable is its full name.
    let (_, objects, _) = open("keras3_saved_model", "saved-model");
    assert_eq!(objects.resolve("_functional"), None);
    let first = &objects.nodes[objects.resolve("variables/0").unwrap()];
    assert_eq!(first.attributes[0].full_name, "sequential/lstm/lstm_cell/kernel");
}

#[test]
fn optimizers_keep_variables_for_others() {
    let (checkpoint, objects, _) = open("keras2_train_checkpoint", "v2");
    let optimizer = &objects.nodes[objects.resolve("model/optimizer").unwrap()];
    assert_eq!(optimizer.slots.len(), 22);
    let kernel = objects.resolve("model/layer_with_weights-0/cell/kernel").unwrap();
    let of_kernel: Vec<&str> =
        optimizer.slots.iter().filter(|s| s.variable == kernel).map(|s| s.name.as_str()).collect();
    assert_eq!(of_kernel, ["m", "v"]);
    for slot in &optimizer.slots {
        let key = |node: usize| objects.nodes[node].variable_key().unwrap();
        let (slot, variable) = (checkpoint.read(key(slot.slot)).unwrap(), checkpoint.read(key(slot.variable)).unwrap());
        assert_eq!(slot.shape(), variable.shape());
    }
}

#[test]
fn a_saved_model_is_a_folder_and_its_files() {
    for name in ["keras2_saved_model", "keras3_saved_model"] {
        let folder = folder(name);
        for path in ["", "saved_model.pb", "variables", "variables/variables", "variables/variables.index"] {
            let checkpoint = Checkpoint::open(&folder.join(path)).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(checkpoint.format().as_str(), "saved-model", "{name} {path}");
            assert_eq!((checkpoint.files().len(), checkpoint.prefix()), (3, &*folder.join("variables/variables")));
        }
        let graph = Checkpoint::open(&folder).unwrap().graph().unwrap_or_else(|e| panic!("{e}")).unwrap();
        assert!(expected(&folder)["producer"].as_str().unwrap().ends_with(&graph.tensorflow_version));
    }
}

#[test]
fn a_real_object_checkpoint_of_tensorflow_1() {
    let given = std::env::var_os("GATEWISE_REAL").map(PathBuf::from);
    let real = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real"));
    let folder = real.join("keras-object-graph-tf1");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no real checkpoint at {}; set GATEWISE_REAL to the folder of them", folder.display());
        return;
    }
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let objects = checkpoint.objects().unwrap_or_else(|e| panic!("{e}")).unwrap();
    let kernel = objects.variable_key("layer_with_weights-1/cell/recurrent_kernel").unwrap();
    assert_eq!(checkpoint.read(kernel).unwrap().shape(), [64, 256]);
    let layer = &objects.nodes[objects.resolve("layer_with_weights-1").unwrap()];
    let config = checkpoint.read(layer.config_key().unwrap()).unwrap().strings().unwrap().remove(0);
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!((&config["class_name"], &config["config"]["units"]), (&"LSTM".into(), &64.into()));
    assert_eq!(config["config"]["recurrent_activation"], "sigmoid");
    let optimizer = &objects.nodes[objects.resolve("optimizer/optimizer").unwrap()];
    assert_eq!(optimizer.slots.len(), 12);
}

/// The weights of the fixture under paths of our own, as Keras 2 and as Keras 3 look for them.
#[test]
fn what_real_keras_restored_is_still_what_is_written() {
    let (source, objects, expected) = open("keras2_save_weights", "v2");
    for (name, keras3) in [("written_for_keras2", false), ("written_for_keras3", true)] {
        let mut graph = ObjectGraph::new();
        let mut tensors = vec![];
        for path in expected["weights"].as_object().unwrap().keys() {
            let node = &objects.nodes[objects.resolve(path).unwrap()];
            let to = if keras3 { keras3_path(path) } else { path.clone() };
            let key = graph.insert_variable(&to, &node.attributes[0].full_name).unwrap();
            tensors.push((key, source.read(node.variable_key().unwrap()).unwrap()));
        }
        let values: Vec<Vec<f32>> = tensors.iter().map(|(_, t)| t.to_f32().unwrap()).collect();
        let variables: Vec<_> = tensors
            .iter()
            .zip(&values)
            .map(|((key, tensor), values)| ObjectVariable { key, shape: tensor.shape(), values })
            .collect();
        let files = write_object_checkpoint(&graph, &variables, 1).unwrap();
        let folder = folder(name);
        if std::env::var_os("TF_CHECKPOINT_WRITE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("ckpt.index"), &files.index).unwrap();
            std::fs::write(folder.join("ckpt.data-00000-of-00001"), &files.data).unwrap();
        }
        let stored = |file: &str| std::fs::read(folder.join(file)).unwrap();
        assert!(stored("ckpt.index") == files.index, "{name}: set TF_CHECKPOINT_WRITE, then run check.py");
        assert!(stored("ckpt.data-00000-of-00001") == files.data, "{name}: set TF_CHECKPOINT_WRITE, then run check.py");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        for (key, tensor) in &tensors {
            assert_eq!(&checkpoint.read(key).unwrap(), tensor);
        }
    }
}

/// Keras 3 counts all layers, and the input layer first.
fn keras3_path(path: &str) -> String {
    let (layer, rest) = path.strip_prefix("layer_with_weights-").unwrap().split_once('/').unwrap();
    let rest = if rest == "kernel" { "_kernel" } else { rest };
    format!("_functional/_operations/{}/{rest}", layer.parse::<usize>().unwrap() + 1)
}
