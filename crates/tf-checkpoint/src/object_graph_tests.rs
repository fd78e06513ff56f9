use super::*;
use proptest::prelude::*;

fn child(name: &str, node: usize) -> ObjectChild {
    ObjectChild { name: name.into(), node }
}

fn decode(graph: &ObjectGraph) -> Result<ObjectGraph, Error> {
    ObjectGraph::decode(Path::new("m"), &graph.encode().unwrap(), |key| key.ends_with(VALUE))
}

fn two_cells() -> ObjectGraph {
    let mut graph = ObjectGraph::new();
    for path in ["layer_with_weights-0/cell/kernel", "layer_with_weights-0/cell/bias", "odd..name.S/kernel"] {
        graph.insert_variable(path, "").unwrap();
    }
    graph
}

#[test]
fn paths_lead_to_objects() {
    let graph = two_cells();
    let key = graph.variable_key("layer_with_weights-0/cell/bias");
    assert_eq!(key, Some("layer_with_weights-0/cell/bias/.ATTRIBUTES/VARIABLE_VALUE"));
    assert_eq!(graph.resolve(""), Some(0));
    let odd = graph.nodes[0].child("odd.name/").unwrap();
    assert_eq!(graph.resolve("odd..name.S"), Some(odd));
    for none in ["/", "cell", "layer_with_weights-0/", "layer_with_weights-0//cell", "odd.name", "odd.", "odd.x"] {
        assert_eq!(graph.resolve(none), None, "{none}");
    }
    assert_eq!((graph.variable_key(""), graph.nodes[0].config_key()), (None, None));
    assert_eq!(ObjectGraph { nodes: vec![] }.resolve(""), None);
    assert_eq!(decode(&graph).unwrap(), graph);
}

#[test]
fn circles_and_shared_objects_are_walked_once() {
    let mut graph = two_cells();
    let cell = graph.resolve("layer_with_weights-0/cell").unwrap();
    graph.nodes[cell].children.push(child("parent", 0));
    graph.nodes[cell].children.push(child("self", cell));
    let layer = graph.resolve("layer_with_weights-0").unwrap();
    graph.nodes[0].children.push(child("layer-0", layer));
    graph.nodes.push(ObjectNode::default());
    let graph = decode(&graph).unwrap();
    let paths: Vec<String> = graph.walk().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "",
            "layer_with_weights-0",
            "odd..name.S",
            "layer_with_weights-0/cell",
            "odd..name.S/kernel",
            "layer_with_weights-0/cell/kernel",
            "layer_with_weights-0/cell/bias"
        ]
    );
    for (path, node) in graph.walk() {
        assert_eq!(graph.resolve(&path), Some(node));
    }
    assert_eq!(graph.resolve("layer-0/cell/parent/layer-0/cell/self/self"), Some(cell));
}

#[test]
fn a_path_is_inserted_once() {
    let (mut graph, before) = (two_cells(), two_cells());
    for (path, part) in [
        ("layer_with_weights-0/cell/kernel", "a path that is free"),
        ("", "names with"),
        ("a//b", "names with"),
        ("a.b", "names with"),
    ] {
        let error = graph.insert_variable(path, "").unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }) && error.to_string().contains(part), "{error}");
    }
    assert_eq!(graph, before);
}

#[test]
fn broken_graphs_are_refused() {
    let broken = |change: fn(&mut TrackableObjectGraph)| {
        let mut message = TrackableObjectGraph::decode(two_cells().encode().unwrap().as_slice()).unwrap();
        change(&mut message);
        let bytes = message.encode_to_vec();
        ObjectGraph::decode(Path::new("m"), &bytes, |k| {
            k.ends_with("cell/kernel/.ATTRIBUTES/VARIABLE_VALUE")
                || k.ends_with("cell/bias/.ATTRIBUTES/VARIABLE_VALUE")
                || k.starts_with("odd")
        })
    };
    assert!(broken(|_| ()).is_ok());
    for change in [
        (|g| g.nodes.clear()) as fn(&mut TrackableObjectGraph),
        |g| g.nodes[0].children[0].node_id = -1,
        |g| g.nodes[0].children[0].node_id = 7,
        |g| g.nodes[3].attributes[0].checkpoint_key.push('x'),
        |g| g.nodes[0].attributes.push(SerializedTensor { name: CONFIG.into(), ..SerializedTensor::default() }),
        |g| {
            let slot = SlotVariableReference { slot_variable_node_id: 99, ..SlotVariableReference::default() };
            g.nodes[1].slot_variables.push(slot);
        },
    ] {
        let error = broken(change).unwrap_err();
        assert!(matches!(error, Error::Objects { .. }), "{error}");
    }
    // A lookup table is saved under two other keys.
    assert!(
        broken(|g| g.nodes[0]
            .attributes
            .push(SerializedTensor { name: "table".into(), ..SerializedTensor::default() }))
        .is_ok()
    );
    assert!(matches!(ObjectGraph::decode(Path::new("m"), &[0x0a, 9], |_| true), Err(Error::Message { .. })));
}

#[test]
fn a_graph_of_endless_paths_is_refused() {
    let mut graph = ObjectGraph { nodes: vec![ObjectNode::default(); 20_000] };
    for node in 1..20_000 {
        graph.nodes[node - 1].children.push(child("a name", node));
    }
    let error = decode(&graph).unwrap_err();
    assert!(error.to_string().contains("paths of at most 64 MiB"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn names_survive_escaping(name in ".*") {
        prop_assert_eq!(unescape(&escape(&name)), Some(name.clone()));
        prop_assert!(!escape(&name).contains('/'));
    }

    #[test]
    fn graphs_of_any_shape_are_walked(edges in proptest::collection::vec((0usize..9, 0usize..9, "[a-c]"), 0..30)) {
        let mut graph = ObjectGraph { nodes: vec![ObjectNode::default(); 9] };
        for (from, to, name) in edges {
            if graph.nodes[from].child(&name).is_none() {
                graph.nodes[from].children.push(child(&name, to));
            }
        }
        let walked = decode(&graph).unwrap().walk();
        prop_assert!(walked.len() <= 9);
        for (path, node) in walked {
            prop_assert_eq!(graph.resolve(&path), Some(node));
        }
    }

    #[test]
    fn damaged_graphs_are_no_panic(at in any::<prop::sample::Index>(), mask in 1u8..) {
        let mut bytes = two_cells().encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        if let Ok(graph) = ObjectGraph::decode(Path::new("m"), &bytes, |_| true) {
            let _ = graph.walk();
        }
    }
}
