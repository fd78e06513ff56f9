//! Frozen graphs that TensorFlow 2.15 wrote (`frozen_graphs/make.py`), against their constants as it computes them.

use std::path::Path;

use serde_json::Value;
use tf_checkpoint::{Checkpoint, Format};

#[test]
fn every_constant_is_as_tensorflow_computes_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen_graphs");
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    for (file, constants) in expected.as_object().unwrap() {
        let checkpoint = Checkpoint::open(&folder.join(file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(checkpoint.format(), Format::FrozenGraph);
        let constants = constants.as_object().unwrap();
        assert_eq!(checkpoint.variables().len(), constants.len(), "{file}");
        for variable in checkpoint.variables() {
            let (name, entry) = (&variable.name, &constants[&variable.name]);
            assert_eq!(variable.dtype.as_str(), entry["dtype"], "{file} {name}");
            assert_eq!(serde_json::to_value(&variable.shape).unwrap(), entry["shape"], "{file} {name}");
            let tensor = checkpoint.read(name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(tensor.sha256(), entry["sha256"].as_str().unwrap(), "{file} {name}");
        }
        assert!(checkpoint.graph().unwrap().is_some());
    }
}
