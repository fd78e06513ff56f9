use super::*;
use crate::Checkpoint;

fn read_back(files: &ObjectCheckpoint) -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m.index"), &files.index).unwrap();
    std::fs::write(dir.path().join("m.data-00000-of-00001"), &files.data).unwrap();
    let checkpoint = Checkpoint::open(&dir.path().join("m")).unwrap();
    (dir, checkpoint)
}

#[test]
fn what_is_written_comes_back() {
    let mut graph = ObjectGraph::new();
    let odd = [f32::NAN, -0.0, f32::MIN_POSITIVE / 4.0, f32::INFINITY, 1.0, -2.5];
    let kernel = graph.insert_variable("layer_with_weights-0/cell/kernel", "lstm/lstm_cell/kernel").unwrap();
    let bias = graph.insert_variable("layer_with_weights-0/cell/bias", "").unwrap();
    let none = graph.insert_variable("none", "").unwrap();
    let variables = [
        ObjectVariable { key: &none, shape: &[0, 4], values: &[] },
        ObjectVariable { key: &kernel, shape: &[2, 3], values: &odd },
        ObjectVariable { key: &bias, shape: &[], values: &[7.0] },
    ];
    let files = write_object_checkpoint(&graph, &variables, 5).unwrap();
    let (_dir, checkpoint) = read_back(&files);
    assert_eq!((checkpoint.format().as_str(), checkpoint.variables().len()), ("v2", 5));
    for variable in variables {
        let tensor = checkpoint.read(variable.key).unwrap();
        let bits: Vec<u32> = tensor.to_f32().unwrap().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, variable.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        assert_eq!(tensor.shape(), variable.shape);
    }
    let objects = checkpoint.objects().unwrap().unwrap();
    let counter = objects.variable_key("save_counter").unwrap();
    assert_eq!(checkpoint.read(counter).unwrap().to_i64().unwrap(), [5]);
    assert_eq!(objects.nodes[..graph.nodes.len()][1..], graph.nodes[1..]);
    assert_eq!(objects.variable_key("layer_with_weights-0/cell/kernel"), Some(kernel.as_str()));
    assert_eq!(files, write_object_checkpoint(&graph, &variables, 5).unwrap());
}

#[test]
fn many_variables_take_several_blocks() {
    let mut graph = ObjectGraph::new();
    let keys: Vec<String> =
        (0..5000).map(|i| graph.insert_variable(&format!("layer-{i}/{}", "x".repeat(90)), "").unwrap()).collect();
    let values: Vec<f32> = (0..5000u16).map(f32::from).collect();
    let variables: Vec<_> =
        keys.iter().zip(values.chunks(1)).map(|(key, values)| ObjectVariable { key, shape: &[1], values }).collect();
    let files = write_object_checkpoint(&graph, &variables, 1).unwrap();
    assert!(files.index.len() > 2 * BLOCK);
    let (_dir, checkpoint) = read_back(&files);
    for (key, value) in keys.iter().zip(values) {
        assert_eq!(checkpoint.read(key).unwrap().to_f32().unwrap(), [value]);
    }
    assert_eq!(checkpoint.objects().unwrap().unwrap().nodes.len(), 10_002);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut graph = ObjectGraph::new();
    let key = graph.insert_variable("v", "").unwrap();
    let right = ObjectVariable { key: &key, shape: &[2], values: &[1.0, 2.0] };
    assert!(write_object_checkpoint(&graph, &[right], 1).is_ok());
    let refused = |graph: &ObjectGraph, variables: &[ObjectVariable<'_>], part: &str| {
        let error = write_object_checkpoint(graph, variables, 1).unwrap_err();
        assert!(matches!(error, Error::Unwritable { .. }) && error.to_string().contains(part), "{error}");
    };
    refused(&graph, &[], "a value for each variable");
    refused(&graph, &[right, right], "a key of one variable");
    refused(&graph, &[right, ObjectVariable { key: "w", ..right }], "a key of one variable");
    refused(&graph, &[ObjectVariable { shape: &[3], ..right }], "2 for [3]");
    refused(&graph, &[ObjectVariable { shape: &[usize::MAX, 2], ..right }], "as many values");
    let changed = |change: fn(&mut ObjectGraph)| {
        let mut graph = graph.clone();
        change(&mut graph);
        graph
    };
    refused(&changed(|g| drop(g.insert_variable("save_counter", ""))), &[right], "a path that is free");
    refused(&changed(|g| g.nodes[0].children[0].node = 9), &[right], "children and slots in the graph");
    refused(&changed(|g| g.nodes.clear()), &[right], "children that are in the graph");
    refused(&changed(|g| g.nodes[1].attributes[0].name = "OTHER".into()), &[right], "no attributes but");
    refused(&changed(|g| g.nodes[0].attributes = g.nodes[1].attributes.clone()), &[right], "two variables");
    for bad in [String::new(), "\0v".into(), KEY.into(), "k".repeat(MAX_KEY + 1)] {
        let mut graph = graph.clone();
        graph.nodes[1].attributes[0].checkpoint_key = bad;
        refused(&graph, &[right], "a key of 1 to 4096 bytes");
    }
}
