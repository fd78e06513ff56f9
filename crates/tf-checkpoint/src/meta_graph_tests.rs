use super::*;
use crate::Checkpoint;
use proptest::prelude::*;

fn golden(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)
}

fn graph_of(case: &str) -> Graph {
    Checkpoint::open(&golden(case)).unwrap().graph().unwrap().unwrap()
}

fn scalar(graph: &Graph, value: f32) -> bool {
    graph
        .nodes
        .iter()
        .filter_map(Node::constant)
        .any(|t| t.shape().is_empty() && t.to_f32().as_deref() == Some(&[value]))
}

#[test]
fn versions_variables_and_constants() {
    let graph = graph_of("forget_bias_other");
    assert_eq!(graph.tensorflow_version, "1.15.5");
    assert!(scalar(&graph, 2.5) && !scalar(&graph_of("basic"), 2.5));
    assert_eq!(graph.trainable, ["rnn/lstm_cell/kernel", "rnn/lstm_cell/bias"]);
    for (key, node) in &graph.saved {
        assert_eq!(key, node);
        assert!(["VariableV2", "VarHandleOp"].contains(&graph.node(node).unwrap().op.as_str()));
    }
    assert_eq!(graph.saved.len(), 2);
    assert_eq!(graph_of("old/tf0_12_1_basic").tensorflow_version, "0.12.1");
}

#[test]
fn attributes_of_every_kind() {
    let graph = graph_of("basic");
    let node = graph.nodes.iter().find(|n| n.op == "Split").unwrap();
    assert_eq!(node.attrs["num_split"], Attr::Int(4));
    assert_eq!(node.attrs["T"], Attr::Type(DType::Float32));
    let product = graph.nodes.iter().find(|n| n.op == "MatMul").unwrap();
    assert_eq!(product.attrs["transpose_a"], Attr::Bool(false));
    let names = graph.nodes.iter().find(|n| n.op == "SaveV2").unwrap();
    assert!(matches!(&names.attrs["dtypes"], Attr::List(types) if types.contains(&Attr::Type(DType::Float32))));
}

#[test]
fn averages_slots_and_parts() {
    let graph = graph_of("trained_adam_ema");
    assert!(!graph.moving_averages.is_empty());
    assert!(graph.saved.keys().any(|k| k.ends_with("/Adam")) && !graph.trainable.iter().any(|t| t.ends_with("/Adam")));
    let parts = graph_of("partitioned");
    let (key, node) = parts.saved.iter().find(|(k, _)| k.ends_with("kernel")).unwrap();
    assert_eq!(*node, format!("{key}/part_0"));
}

#[test]
fn a_saved_model_folder() {
    let path = golden("saved_model/saved_model");
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert!(checkpoint.files().contains(&path.join("saved_model.pb")));
    let graph = checkpoint.graph().unwrap().unwrap();
    assert_eq!(graph.tensorflow_version, "1.15.5");
    let names: Vec<_> = checkpoint.variables().iter().map(|v| v.name.clone()).collect();
    assert_eq!(graph.saved.keys().cloned().collect::<Vec<_>>(), names);
}

#[test]
fn files_that_are_no_graph_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.meta");
    std::fs::write(&path, b"<!DOCTYPE html>").unwrap();
    assert!(matches!(read_meta(&disk::Disk::new(), &path), Err(Error::Message { .. })));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(read_meta(&disk::Disk::new(), &path), Err(Error::Graph { .. })));
    let node = NodeDef { name: "n".into(), ..NodeDef::default() };
    let meta =
        MetaGraph { graph: Some(crate::proto::GraphDef { node: vec![node], library: None }), ..MetaGraph::default() };
    std::fs::write(&path, meta.encode_to_vec()).unwrap();
    assert!(matches!(read_meta(&disk::Disk::new(), &path), Err(Error::Graph { node, .. }) if node == "n"));
}

#[test]
fn constants_that_repeat_a_value_share_a_limit() {
    let mut convert = Converter { path: Path::new(""), left: 100, memory: 0, limit: 0 };
    // float32 [20], one value.
    let message = [0x08, 1, 0x12, 4, 0x12, 2, 0x08, 20, 0x2d, 0, 0, 0x80, 0x3f];
    assert!(matches!(convert.tensor(&message), Attr::Tensor(t) if t.to_f32().unwrap() == [1.0; 20]));
    assert_eq!(convert.tensor(&message), Attr::Other);
}

#[test]
fn the_saver_that_wrote_the_file_decides() {
    let text = |name: &str, value: &str| Node {
        name: name.into(),
        op: "Const".into(),
        inputs: vec![],
        attrs: [("value".to_owned(), Attr::Tensor(Tensor::of_strings(vec![1], [value.as_bytes()]).unwrap()))].into(),
    };
    let node = |name: &str, op: &str, inputs: &[&str]| Node {
        name: name.into(),
        op: op.into(),
        inputs: inputs.iter().map(|&i| i.to_owned()).collect(),
        attrs: BTreeMap::new(),
    };
    let nodes = [
        text("save/names", "key"),
        node("raw", "VariableV2", &[]),
        node("average", "VarHandleOp", &[]),
        node("average/Read", "ReadVariableOp", &["average"]),
        node("loop", "Identity", &["loop"]),
        node("save/SaveV2", "SaveV2", &["p", "save/names", "s", "raw:0", "^raw"]),
        node("save_1/SaveV2", "SaveV2", &["p", "save/names", "s", "average/Read"]),
        node("save_2/Save", "Save", &["p", "save/names", "loop"]),
    ];
    assert_eq!(saved(&nodes, "save/control:0")["key"], "raw");
    assert_eq!(saved(&nodes, "save_1/control:0")["key"], "average");
    assert_eq!(saved(&nodes, "save_2/control:0")["key"], "loop");
    assert_eq!(saved(&nodes, "")["key"], "raw");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn damaged_graphs_are_no_panic(at in any::<prop::sample::Index>(), mask in 1u8.., cut in any::<prop::sample::Index>()) {
        let mut bytes = std::fs::read(golden("basic/model.ckpt.meta")).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            let _ = meta_graph(Path::new("m.meta"), bytes, "MetaGraphDef");
        }
    }
}
