//! Graphs that no TensorFlow wrote: whatever their shape, detection neither panics nor takes forever.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lstm::detect::{Detection, Given, detect};
use proptest::prelude::*;
use tf_checkpoint::{Attr, Checkpoint, DType, Function, Graph, Node, Variable};

fn node(name: String, op: &str, inputs: &[String]) -> Node {
    Node { name, op: op.to_owned(), inputs: inputs.to_vec(), attrs: BTreeMap::new() }
}

fn graph(nodes: Vec<Node>, functions: Vec<Function>) -> Graph {
    Graph {
        tensorflow_version: String::new(),
        stripped_default_attrs: false,
        nodes,
        functions,
        trainable: vec![],
        moving_averages: vec![],
        saved: BTreeMap::new(),
    }
}

fn cell(scope: &str) -> [Variable; 2] {
    let variable = |name: &str, shape: &[usize]| Variable {
        name: format!("{scope}/lstm_cell/{name}"),
        dtype: DType::Float32,
        shape: shape.to_vec(),
    };
    [variable("kernel", &[8, 16]), variable("bias", &[16])]
}

/// Far more than any of these takes, even in a debug build; quadratic time would take hours.
fn in_time(variables: &[Variable], graph: &Graph) -> Detection {
    let start = Instant::now();
    let found = detect(variables, Some(graph), &Given::default()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    found
}

/// The operations of one instance of an LSTM: it reads `x` and `h`, and its output is `{name}/h`.
fn instance(name: &str, scope: &str, x: &str, h: &str) -> Vec<Node> {
    let at = |part: &str| format!("{name}/{part}");
    let key = |part: &str| format!("{scope}/lstm_cell/{part}");
    let step = |part: &str, op: &str, inputs: &[String]| node(at(part), op, inputs);
    let mut split = step("split", "Split", &[at("axis"), at("sum")]);
    split.attrs.insert("num_split".to_owned(), Attr::Int(4));
    vec![
        step("axis", "Const", &[]),
        step("concat", "ConcatV2", &[x.to_owned(), h.to_owned(), at("axis")]),
        step("product", "MatMul", &[at("concat"), key("kernel")]),
        step("sum", "BiasAdd", &[at("product"), key("bias")]),
        split,
        step("i", "Sigmoid", &[at("split")]),
        step("j", "Tanh", &[at("split:1")]),
        step("f", "Sigmoid", &[at("split:2")]),
        step("o", "Sigmoid", &[at("split:3")]),
        step("ij", "Mul", &[at("i"), at("j")]),
        step("fc", "Mul", &[at("f"), "zero".to_owned()]),
        step("c", "Add", &[at("fc"), at("ij")]),
        step("phi", "Tanh", &[at("c")]),
        step("h", "Mul", &[at("phi"), at("o")]),
    ]
}

#[test]
fn a_million_nodes_in_one_chain() {
    let mut nodes = vec![node("n0".into(), "Const", &[]), node("zero".into(), "Const", &[])];
    nodes.extend((1..1_000_000).map(|n| node(format!("n{n}"), "Identity", &[format!("n{}", n - 1)])));
    let variables: Vec<Variable> = (0..40).flat_map(|n| cell(&format!("s{n}"))).collect();
    nodes.extend(variables.iter().map(|v| node(v.name.clone(), "VariableV2", &[])));
    // Forty cells all read the far end of the chain.
    nodes.extend((0..40).flat_map(|n| instance(&format!("a{n}"), &format!("s{n}"), "n999999", "n999999")));
    let found = in_time(&variables, &graph(nodes, vec![]));
    assert_eq!(found.networks.len(), 40);
}

#[test]
fn thousands_of_steps_and_of_layers() {
    let mut nodes = vec![node("zero".into(), "Const", &[])];
    let mut variables = vec![];
    // One cell unrolled 5000 times, each step reading the step before; and 2000 cells on top of each other.
    variables.extend(cell("loop"));
    for n in 0..5000 {
        let before = if n == 0 { "zero".to_owned() } else { format!("l{}/h", n - 1) };
        nodes.extend(instance(&format!("l{n}"), "loop", "zero", &before));
    }
    for n in 0..2000 {
        variables.extend(cell(&format!("layer{n}")));
        let below = if n == 0 { "x".to_owned() } else { format!("s{}/h", n - 1) };
        nodes.extend(instance(&format!("s{n}"), &format!("layer{n}"), &below, "zero"));
    }
    nodes.push(node("x".into(), "Placeholder", &[]));
    nodes.extend(variables.iter().map(|v| node(v.name.clone(), "VariableV2", &[])));
    let found = in_time(&variables, &graph(nodes, vec![]));
    let deepest = found.networks.iter().map(|n| n.network.cells().len()).max();
    assert_eq!(deepest, Some(2000));
}

#[test]
fn functions_that_call_each_other_without_end() {
    let call = |name: String, function: &str| {
        let mut call = node(name, "PartitionedCall", &["x".to_owned()]);
        call.attrs.insert("f".to_owned(), Attr::Function(function.to_owned()));
        call
    };
    // Each calls the next one many times: laid out naively, 50^100 nodes.
    let functions: Vec<Function> = (0..100)
        .map(|n| Function {
            name: format!("f{n}"),
            arguments: vec!["x".into()],
            results: vec!["c0:output:0".into()],
            nodes: (0..50).map(|c| call(format!("c{c}"), &format!("f{}", (n + 1) % 100))).collect(),
        })
        .collect();
    let mut circle = node("w".into(), "While", &["w".to_owned(), "w:1".to_owned()]);
    circle.attrs.insert("body".to_owned(), Attr::Function("f0".to_owned()));
    let nodes = vec![call("start".into(), "f0"), circle, node("x".into(), "Placeholder", &["x".to_owned()])];
    in_time(&cell("a"), &graph(nodes, functions));
}

#[test]
fn names_of_endless_depth() {
    let variables = cell(&"a/".repeat(200_000));
    assert_eq!(detect(&variables, None, &Given::default()).unwrap().networks.len(), 1);
}

#[test]
fn many_cells_that_cannot_be() {
    let mut variables: Vec<Variable> = (0..20_000).flat_map(|n| cell(&format!("s{n}"))).collect();
    variables.iter_mut().filter(|v| v.shape.len() == 2).for_each(|v| v.shape = vec![3, 16]);
    let found = in_time(&variables, &graph(vec![node("x".into(), "Placeholder", &[])], vec![]));
    assert_eq!((found.malformed.len(), found.ignored.len()), (20_000, 40_000));
}

#[test]
fn a_graph_too_tangled_to_follow_says_so() {
    let mut nodes = vec![node("zero".into(), "Const", &[])];
    let variables: Vec<Variable> = (0..3000).flat_map(|n| cell(&format!("s{n}"))).collect();
    nodes.extend(variables.iter().map(|v| node(v.name.clone(), "VariableV2", &[])));
    // Every cell reads all of two thousand packs of packs, none of which leads to a cell.
    let all: Vec<String> = (0..2000).map(|n| format!("p{n}")).collect();
    nodes.extend(all.iter().map(|p| node(p.clone(), "Pack", &all)));
    nodes.extend((0..3000).flat_map(|n| instance(&format!("a{n}"), &format!("s{n}"), "p0", "zero")));
    let found = in_time(&variables, &graph(nodes, vec![]));
    assert_eq!(found.networks.len() + found.malformed.len(), 3000);
    assert!(found.notes.iter().any(|n| n.contains("too tangled")), "{:?}", found.notes.last());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn damaged_graphs_are_no_panic(
        case in prop::sample::select(vec!["residual_dropout", "sum_stack", "cfv2_resource", "shared_stack_static", "contrib_cells"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..5u8, any::<prop::sample::Index>()), 1..12),
    ) {
        let checkpoint = Checkpoint::open(&golden::golden_dir().join("graphs").join(case)).unwrap();
        let mut graph = checkpoint.graph().unwrap().unwrap();
        for (at, what, with) in damage {
            let other = graph.nodes[with.index(graph.nodes.len())].clone();
            let in_function = !graph.functions.is_empty() && at.index(2) == 1;
            let nodes = if in_function {
                let which = with.index(graph.functions.len());
                &mut graph.functions[which].nodes
            } else {
                &mut graph.nodes
            };
            if nodes.is_empty() {
                continue;
            }
            let index = at.index(nodes.len());
            let node = &mut nodes[index];
            match what {
                0 => node.op = other.op,
                1 => node.inputs = other.inputs,
                2 => node.inputs.push(other.name),
                3 => { node.inputs.pop(); }
                _ => node.attrs = other.attrs,
            }
        }
        let _ = detect(checkpoint.variables(), Some(&graph), &Given::default());
    }
}
