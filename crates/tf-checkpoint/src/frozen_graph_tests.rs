use super::*;
use crate::proto::{AttrValue, Dim, GraphDef, MetaGraph, SavedModel, TensorShape};
use crate::wire::put_varint;
use crate::{Checkpoint, Format};
use proptest::prelude::*;

fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(tag << 3 | 2, &mut out);
    put_varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

/// A `TensorProto` of this type and shape, with these fields of values.
fn tensor(dtype: u8, dims: &[i64], values: &[u8]) -> Vec<u8> {
    let shape = TensorShape { dim: dims.iter().map(|&size| Dim { size }).collect(), unknown_rank: false };
    [&[0x08, dtype][..], &field(2, &shape.encode_to_vec()), values].concat()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn node(name: &str, op: &str, value: Option<Vec<u8>>) -> NodeDef {
    let value = value.map(|t| ("value".to_owned(), AttrValue { tensor: Some(t), ..AttrValue::default() }));
    NodeDef { name: name.into(), op: op.into(), input: vec![], attr: value.into_iter().collect() }
}

fn constant(name: &str, value: Vec<u8>) -> NodeDef {
    node(name, "Const", Some(value))
}

fn graph(node: Vec<NodeDef>) -> GraphDef {
    GraphDef { node, library: None }
}

fn right() -> GraphDef {
    graph(vec![
        node("x", "Placeholder", None),
        constant("cell/kernel", tensor(1, &[2, 2], &field(4, &floats(&[1.0, 2.0, 3.0, 4.0])))),
        constant("cell/bias", tensor(1, &[4], &field(5, &floats(&[0.5])))),
        constant("cell/half", tensor(19, &[2], &[0x6a, 2, 0x80, 0x78])),
        constant("cell/none", tensor(1, &[0, 3], &[])),
        constant("zeros", tensor(2, &[2], &[])),
        constant("axis", tensor(3, &[], &[0x38, 1])),
        constant("text", tensor(7, &[], &field(8, b"names"))),
        node("cell/kernel/read", "Identity", None),
    ])
}

/// Opens a file of this name with these bytes.
fn open(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<Checkpoint, Error>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), bytes).unwrap();
    let opened = Checkpoint::open(&dir.path().join(name));
    (dir, opened)
}

fn error(name: &str, bytes: &[u8]) -> String {
    open(name, bytes).1.unwrap_err().to_string()
}

#[test]
fn constants_are_variables() {
    let (dir, checkpoint) = open("m.pb", &right().encode_to_vec());
    let checkpoint = checkpoint.unwrap();
    assert_eq!((checkpoint.format(), checkpoint.format().as_str()), (Format::FrozenGraph, "frozen-graph"));
    assert_eq!(checkpoint.files(), [dir.path().join("m.pb")]);
    let names: Vec<&str> = checkpoint.variables().iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["axis", "cell/bias", "cell/half", "cell/kernel", "cell/none", "zeros"]);
    let read = |name: &str| checkpoint.read(name).unwrap();
    assert_eq!(read("cell/kernel").to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read("cell/bias").to_f32().unwrap(), [0.5; 4]);
    assert_eq!(read("cell/half").to_f32().unwrap(), [1.0; 2]);
    assert_eq!(read("cell/none").shape(), [0, 3]);
    assert_eq!(read("zeros").to_f64().unwrap(), [0.0; 2]);
    assert_eq!(read("axis").to_i64().unwrap(), [1]);
    assert_eq!(checkpoint.sha256("axis").unwrap(), read("axis").sha256());
    assert!(matches!(checkpoint.read("text"), Err(Error::NoSuchVariable { .. })));
    let graph = checkpoint.graph().unwrap().unwrap();
    assert_eq!((graph.nodes.len(), graph.saved["cell/bias"].as_str()), (9, "cell/bias"));
    assert!(checkpoint.objects().unwrap().is_none());

    // Recognised by what it is, under whatever name, and alone in a folder.
    assert_eq!(Checkpoint::open(dir.path()).unwrap().format(), Format::FrozenGraph);
    assert_eq!(open("frozen", &right().encode_to_vec()).1.unwrap().variables().len(), 6);
}

#[test]
fn other_graphs_are_refused_by_name() {
    let meta = MetaGraph { graph: Some(right()), ..MetaGraph::default() };
    let model = SavedModel { meta_graphs: vec![meta.clone()] };
    for (bytes, part) in [
        (meta.encode_to_vec(), "a MetaGraphDef, which has no weights"),
        (model.encode_to_vec(), "the graph of a SavedModel"),
        (b"# frozen\nnode {\n  name: \"x\"\n}\n".to_vec(), "a graph in text format"),
        (b"versions { producer: 1 }".to_vec(), "a graph in text format"),
        (b"node of mine".to_vec(), "expected a frozen GraphDef"),
        (b"<!DOCTYPE html><html>".to_vec(), "web page"),
        (vec![], "an empty file"),
        (vec![0xff; 40], "expected a frozen GraphDef"),
        (right().encode_to_vec()[1..].to_vec(), "expected a frozen GraphDef"),
    ] {
        let error = error("m.pb", &bytes);
        assert!(error.contains(part), "{error}");
    }
    assert!(error("m.pbtxt", b"node {\n}").contains("as_text=False"));
    let error = error("saved_model.pb", &model.encode_to_vec());
    assert!(error.contains("variables.index beside it, found none"), "{error}");
}

#[test]
fn graphs_without_weights_are_refused() {
    let unfrozen = graph(vec![node("w", "VariableV2", None), constant("axis", tensor(3, &[], &[0x38, 1]))]);
    let error = error("m.pb", &unfrozen.encode_to_vec());
    assert!(error.contains("2 nodes with 1 constants of numbers and 1 variables"), "{error}");
    let empty = graph(vec![node("x", "Placeholder", None), constant("text", tensor(7, &[], &[]))]);
    assert!(matches!(open("m.pb", &empty.encode_to_vec()).1, Err(Error::NotFrozen { constants: 0, .. })));
    let partly = graph(vec![node("w", "VarHandleOp", None), constant("k", tensor(1, &[1], &field(4, &[0; 4])))]);
    assert!(open("m.pb", &partly.encode_to_vec()).1.is_ok());
}

#[test]
fn broken_constants_are_refused() {
    let read = |value: Vec<u8>| {
        let (_dir, checkpoint) = open("m.pb", &graph(vec![constant("k", value)]).encode_to_vec());
        checkpoint.and_then(|c| c.read("k")).unwrap_err()
    };
    for (value, part) in [
        (tensor(1, &[3], &field(4, &[0; 8])), "8 bytes of values where 12 belong"),
        (tensor(1, &[1], &field(5, &[0; 8])), "8 bytes of values where 4 belong"),
        (tensor(1, &[1 << 40], &field(5, &[0; 4])), "found 4398046511104 bytes"),
        (tensor(1, &[i64::MAX, 8], &[]), "a shape that fits memory"),
        (tensor(1, &[-1], &[]), "a shape that is not one"),
        (tensor(3, &[1], &[0x3d, 0, 0, 0, 0]), "a value out of range for int32"),
    ] {
        let error = read(value);
        assert!(matches!(&error, Error::Entry { variable, .. } if variable == "k"), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let many = (0..3).map(|i| constant(&i.to_string(), tensor(1, &[1 << 24], &[]))).collect();
    assert!(error("m.pb", &graph(many).encode_to_vec()).contains("at most 128 MiB in all"));
    let twice = graph(vec![constant("k", tensor(1, &[], &[])), constant("k", tensor(1, &[], &[]))]);
    assert!(error("m.pb", &twice.encode_to_vec()).contains("one constant of each name"));
}

/// The graph says nothing of a weight but that it is there; how its elements are stored makes no difference.
#[test]
fn large_weights_are_read_and_left_out_of_the_graph() {
    let values: Vec<f32> = (0..(2 << 20)).map(|n| n as f32).collect();
    for tag in [4, 5] {
        let mut big = constant("big", tensor(1, &[2 << 20], &field(tag, &floats(&values))));
        big.input.push("^x".to_owned());
        big.attr.insert("dtype".to_owned(), AttrValue { r#type: Some(1), ..AttrValue::default() });
        let mut all = right();
        all.node.push(big);
        let (_dir, checkpoint) = open("m.pb", &all.encode_to_vec());
        let checkpoint = checkpoint.unwrap();
        assert_eq!(checkpoint.read("big").unwrap().to_f32().unwrap(), values);
        let graph = checkpoint.graph().unwrap().unwrap();
        let node = graph.node("big").unwrap();
        assert_eq!((node.op.as_str(), &node.inputs[..]), ("Const", &["^x".to_owned()][..]));
        let expected = [("dtype", crate::Attr::Type(DType::Float32)), ("value", crate::Attr::Other)];
        assert_eq!(node.attrs, expected.map(|(key, attr)| (key.to_owned(), attr)).into());
        // Cut off in the middle of the weight, or with bytes of no field at the end.
        let whole = all.encode_to_vec();
        assert!(open("m.pb", &whole[..whole.len() - (1 << 20)]).1.is_err());
    }
}

#[test]
fn a_file_that_changes_is_refused() {
    let (dir, checkpoint) = open("m.pb", &right().encode_to_vec());
    std::fs::write(dir.path().join("m.pb"), [0; 9]).unwrap();
    assert!(matches!(checkpoint.unwrap().read("axis"), Err(Error::FileChanged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn damaged_graphs_are_no_panic(at in any::<prop::sample::Index>(), mask in 1u8.., cut in any::<prop::sample::Index>()) {
        let mut bytes = right().encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let (_dir, Ok(checkpoint)) = open("m.pb", bytes) {
                checkpoint.variables().iter().for_each(|v| drop(checkpoint.read(&v.name)));
                drop(checkpoint.graph());
            }
        }
    }
}
