//! Every checkpoint that TensorFlow wrote for the tests, and every public one that is at hand, against TensorFlow's own
//! list of what is in it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tf_checkpoint::{Checkpoint, Error, Format};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The folders in `parent` that hold `file`, sorted.
fn cases(parent: &Path, file: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).unwrap().map(|e| e.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|p| p.join(file).is_file()).collect();
    cases.sort();
    cases
}

/// Compares all of a checkpoint with `expected`, and counts its variables. Older lists have shapes only.
fn check(checkpoint: &Checkpoint, expected: &Value) -> usize {
    let at = checkpoint.prefix().display();
    let expected = expected.as_object().unwrap();
    let names: Vec<&str> = checkpoint.variables().iter().map(|v| v.name.as_str()).collect();
    let mut sorted: Vec<&str> = expected.keys().map(String::as_str).collect();
    sorted.sort_unstable();
    assert_eq!(names, sorted, "{at}");
    for variable in checkpoint.variables() {
        let listed = &expected[&variable.name];
        let shape: Vec<usize> = serde_json::from_value(listed["shape"].clone()).unwrap();
        let tensor = checkpoint.read(&variable.name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(variable.shape, shape, "{at} {}", variable.name);
        assert_eq!(checkpoint.sha256(&variable.name).unwrap(), tensor.sha256(), "{at} {}", variable.name);
        assert_eq!((tensor.dtype(), tensor.shape()), (variable.dtype, &shape[..]), "{at} {}", variable.name);
        if let Some(dtype) = listed["dtype"].as_str() {
            assert_eq!(variable.dtype.as_str(), dtype, "{at} {}", variable.name);
            assert_eq!(tensor.sha256(), listed["sha256"].as_str().unwrap(), "{at} {}", variable.name);
        }
        if let Some(bytes) = listed["byte_length"].as_u64() {
            assert_eq!(tensor.bytes().len() as u64, bytes);
        }
    }
    names.len()
}

/// The list with `name/part_<n>`, as the graph calls the parts of a variable that is split by rows, put together as
/// `name`, as it is saved.
fn whole(listed: &Value) -> Value {
    let mut whole = serde_json::Map::new();
    for (name, entry) in listed.as_object().unwrap() {
        let Some((base, _)) = name.split_once("/part_") else {
            whole.insert(name.clone(), entry.clone());
            continue;
        };
        match whole.get_mut(base) {
            None => drop(whole.insert(base.to_owned(), entry.clone())),
            Some(sum) => {
                assert_eq!(sum["shape"][1], entry["shape"][1]);
                sum["shape"][0] = (sum["shape"][0].as_u64().unwrap() + entry["shape"][0].as_u64().unwrap()).into();
            }
        }
    }
    whole.into()
}

#[test]
fn every_case_of_tensorflow_1_15() {
    let cases = cases(&golden(), "case.json");
    let mut variables = 0;
    for case in &cases {
        let expected = json(&case.join("case.json"));
        let checkpoint = Checkpoint::open(case).unwrap_or_else(|e| panic!("{e}"));
        let format = if expected["format"] == "v1" { Format::V1 } else { Format::V2 };
        assert_eq!(checkpoint.format(), format, "{}", case.display());
        variables += check(&checkpoint, &expected["variables"]);
        let version = checkpoint.graph().unwrap_or_else(|e| panic!("{e}")).unwrap().tensorflow_version;
        assert_eq!(expected["producer"], format!("tensorflow {version}"));
    }
    assert!(cases.len() == 32 && variables >= 64, "{} cases, {variables} variables", cases.len());
}

#[test]
fn every_case_of_older_releases() {
    let cases = cases(&golden().join("old"), "case.json");
    for case in &cases {
        let expected = json(&case.join("case.json"));
        let checkpoint = Checkpoint::open(case).unwrap_or_else(|e| panic!("{e}"));
        check(&checkpoint, &whole(&expected["variables"]));
        let graph = checkpoint.graph().unwrap_or_else(|e| panic!("{e}")).unwrap();
        assert_eq!(expected["producer"], format!("tensorflow {}", graph.tensorflow_version));
        // The weights of sharded units are parts, saved under the name of the whole.
        for (key, node) in &graph.saved {
            assert!(node.starts_with(key.as_str()) && graph.node(node).is_some(), "{key} {node}");
        }
    }
    assert_eq!(cases.len(), 25);
}

#[test]
fn stale_state_files_and_every_file_of_a_case_lead_to_it() {
    for case in ["basic", "basic_v1", "sharded", "partitioned"] {
        let case = golden().join(case);
        let state = std::fs::read_to_string(case.join("checkpoint")).unwrap();
        assert!(state.contains("\"/") && !state.contains(env!("CARGO_MANIFEST_DIR")), "a stale absolute path");
        let prefix = case.join("model.ckpt");
        let whole = Checkpoint::open(&case).unwrap();
        assert_eq!(whole.prefix(), prefix);
        let paths = whole.files().iter().cloned().chain([prefix.clone(), case.join("checkpoint")]);
        for path in paths {
            let checkpoint = Checkpoint::open(&path).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((checkpoint.prefix(), checkpoint.files()), (whole.prefix(), whole.files()));
            assert_eq!(checkpoint.variables(), whole.variables());
        }
    }
    let sharded = Checkpoint::open(&golden().join("sharded")).unwrap();
    assert_eq!(sharded.files().len(), 4);
}

#[test]
fn a_checkpoint_can_be_read_by_several_threads() {
    let checkpoint = &Checkpoint::open(&golden().join("basic_v1")).unwrap();
    let digests = || checkpoint.variables().iter().map(|v| checkpoint.sha256(&v.name).unwrap()).collect::<Vec<_>>();
    let alone = digests();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(digests)).collect();
        threads.into_iter().for_each(|t| assert_eq!(t.join().unwrap(), alone));
    });
}

#[test]
fn the_frozen_graph_and_the_saved_model_have_the_weights_of_the_checkpoint() {
    let case = golden().join("saved_model");
    let checkpoint = Checkpoint::open(&case).unwrap();
    let frozen = Checkpoint::open(&case.join("frozen.pb")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((frozen.format(), frozen.format().as_str()), (Format::FrozenGraph, "frozen-graph"));
    assert_eq!((frozen.prefix(), frozen.files()), (&*case.join("frozen.pb"), &[case.join("frozen.pb")][..]));
    let model = Checkpoint::open(&case.join("saved_model")).unwrap();
    assert_eq!((model.format(), model.format().as_str()), (Format::SavedModel, "saved-model"));
    assert_eq!(Checkpoint::open(&case.join("saved_model/saved_model.pb")).unwrap().variables(), model.variables());
    assert_eq!(model.variables(), checkpoint.variables());
    for variable in checkpoint.variables() {
        let tensor = checkpoint.read(&variable.name).unwrap();
        assert!(frozen.variables().contains(variable), "{}", variable.name);
        assert_eq!(frozen.read(&variable.name).unwrap(), tensor);
        assert_eq!(frozen.sha256(&variable.name).unwrap(), tensor.sha256());
        assert_eq!(model.read(&variable.name).unwrap(), tensor);
    }
    for variable in frozen.variables() {
        let tensor = frozen.read(&variable.name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((tensor.dtype(), tensor.shape()), (variable.dtype, &variable.shape[..]));
    }
    let graph = frozen.graph().unwrap().unwrap();
    assert_eq!(graph.node("rnn/basic_lstm_cell/kernel").unwrap().op, "Const");
    assert_eq!(graph.node("rnn/basic_lstm_cell/kernel/read").unwrap().inputs, ["rnn/basic_lstm_cell/kernel"]);
    assert_eq!(graph.saved["rnn/basic_lstm_cell/bias"], "rnn/basic_lstm_cell/bias");
    assert!(frozen.objects().unwrap().is_none() && model.objects().unwrap().is_none());
}

#[test]
fn a_meta_graph_is_no_frozen_graph() {
    let dir = tempfile::tempdir().unwrap();
    let pb = dir.path().join("graph.pb");
    for (file, part) in
        [("model.ckpt.meta", "a MetaGraphDef"), ("saved_model/saved_model.pb", "the graph of a SavedModel")]
    {
        std::fs::copy(golden().join("saved_model").join(file), &pb).unwrap();
        let error = Checkpoint::open(&pb).unwrap_err();
        assert!(matches!(&error, Error::WrongFormat { .. }) && error.to_string().contains(part), "{error}");
    }
    std::fs::rename(&pb, dir.path().join("saved_model.pb")).unwrap();
    let error = Checkpoint::open(&dir.path().join("saved_model.pb")).unwrap_err();
    assert!(matches!(error, Error::MissingFile { .. }), "{error}");
}

#[test]
fn keras_object_checkpoints_are_bundles_too() {
    let mut found = 0;
    for case in cases(&golden(), "keras2") {
        for folder in ["tf2_checkpoint", "tf2_train_checkpoint"] {
            let folder = case.join("keras2").join(folder);
            if folder.is_dir() {
                let checkpoint = Checkpoint::open(&folder).unwrap_or_else(|e| panic!("{e}"));
                for variable in checkpoint.variables() {
                    let tensor = checkpoint.read(&variable.name).unwrap_or_else(|e| panic!("{e}"));
                    assert_eq!(checkpoint.sha256(&variable.name).unwrap(), tensor.sha256(), "{}", variable.name);
                }
                assert!(checkpoint.read("_CHECKPOINTABLE_OBJECT_GRAPH").unwrap().strings().is_some());
                let objects = checkpoint.objects().unwrap_or_else(|e| panic!("{e}")).unwrap();
                assert!(objects.walk().iter().any(|(_, node)| objects.nodes[*node].variable_key().is_some()));
                found += 1;
            }
        }
    }
    eprintln!("{found} object checkpoints");
}

#[test]
fn an_index_with_the_data_of_another_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let old = golden().join("old");
    let name = "model.ckpt.data-00000-of-00001";
    std::fs::copy(old.join("tf1_5_0_basic/model.ckpt.index"), dir.path().join("model.ckpt.index")).unwrap();
    std::fs::copy(golden().join("basic").join(name), dir.path().join(name)).unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(Error::OutsideFile { .. } | Error::DataLength { .. })));
    let mut data = std::fs::read(old.join("tf1_5_0_basic").join(name)).unwrap();
    data.rotate_left(4);
    std::fs::write(dir.path().join(name), data).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    for variable in checkpoint.variables() {
        assert!(matches!(checkpoint.read(&variable.name), Err(Error::TensorChecksum { .. })));
    }
}

#[test]
fn every_real_checkpoint() {
    let given = std::env::var_os("GATEWISE_REAL").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real"));
    if !folder.is_dir() {
        eprintln!("SKIPPED: no real checkpoints at {}; set GATEWISE_REAL to the folder", folder.display());
        return;
    }
    let mut checked = Vec::new();
    for case in cases(&folder, "variables.json") {
        let mut entries = std::fs::read_dir(&case).unwrap().map(|e| e.unwrap().path());
        if entries.any(|p| p.extension().is_some_and(|e| e == "hdf5")) {
            continue;
        }
        let checkpoint = Checkpoint::open(&case).unwrap_or_else(|e| panic!("{e}"));
        let variables = check(&checkpoint, &json(&case.join("variables.json")));
        let nodes = checkpoint.graph().unwrap_or_else(|e| panic!("{e}")).map(|g| g.nodes.len());
        checked.push(format!("{} ({variables} variables, {nodes:?} nodes)", case.display()));
    }
    eprintln!("{}", checked.join("\n"));
    assert!(!checked.is_empty());
}
