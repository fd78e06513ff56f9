//! Graphs beside a checkpoint, and frozen ones.

use super::Outcome::{Read, Refused};
use super::{Case, Outcome};
use crate::bundle::{BIAS, Bundle, INDEX, KERNEL, floats};
use crate::wire::{bytes, number, shape, unknown_rank};

/// A `NodeDef`: name, operation, inputs, and encoded attributes by name.
fn node(name: &str, op: &str, inputs: &[&str], attrs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = [bytes(1, name.as_bytes()), bytes(2, op.as_bytes())].concat();
    out.extend(inputs.iter().flat_map(|i| bytes(3, i.as_bytes())));
    out.extend(attrs.iter().flat_map(|(key, value)| bytes(5, &[bytes(1, key.as_bytes()), bytes(2, value)].concat())));
    out
}

/// A float32 `TensorProto` as the value of an attribute.
fn constant(shape: &[u8], values: &[u8]) -> Vec<u8> {
    bytes(8, &[number(1, 1), bytes(2, shape), bytes(5, values)].concat())
}

fn graph(nodes: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    nodes.into_iter().flat_map(|n| bytes(1, &n)).collect()
}

/// A frozen graph whose kernel is this constant.
fn frozen(kernel: Vec<u8>) -> Vec<u8> {
    let bias = constant(&shape(&[8]), &floats((0..8).map(|n| n as f32)));
    graph([node(BIAS, "Const", &[], &[("value", bias)]), node(KERNEL, "Const", &[], &[("value", kernel)])])
}

/// A right frozen graph.
pub(super) fn right() -> Case {
    let kernel = constant(&shape(&[3, 8]), &floats((0..24).map(|n| n as f32)));
    Case::one("a right frozen graph", "frozen.pb", frozen(kernel), Read)
}

/// A right checkpoint with this beside it.
fn meta(name: &'static str, outcome: Outcome, meta: Vec<u8>) -> Case {
    let mut files = Bundle::lstm().files();
    files.push(("model.ckpt.meta".to_owned(), meta));
    Case::new(name, files, INDEX, outcome)
}

pub(super) fn cases() -> Vec<Case> {
    let kernel = |name, says, shape: Vec<u8>, values: Vec<u8>| {
        Case::one(name, "frozen.pb", frozen(constant(&shape, &values)), Refused(says))
    };
    let values = || floats((0..24).map(|n| n as f32));
    let in_graph = |nodes: Vec<Vec<u8>>| bytes(2, &graph(nodes));
    vec![
        kernel("frozen: a negative dimension", "a constant with a type and a shape", shape(&[-3, -8]), values()),
        kernel("frozen: an unknown rank", "a constant with a type and a shape", unknown_rank(), values()),
        kernel("frozen: dimensions that overflow", "shape", shape(&[1 << 33, 1 << 33]), values()),
        kernel("frozen: more values than elements", "with the values of its shape", shape(&[2, 8]), values()),
        kernel("frozen: one value repeated to a gigabyte", "repeat a value", shape(&[1 << 14, 1 << 14]), floats([1.0])),
        Case::one("frozen: the same constant twice", "frozen.pb", [right_bytes(), right_bytes()].concat(), {
            Refused("one constant of each name")
        }),
        meta("a graph of a million nodes", Refused("memory"), in_graph(chain(1_000_000))),
        meta(
            "a graph of ten million nodes without a name",
            Refused("a name and an operation"),
            bytes(2, &[0x0a, 0].repeat(10_000_000)),
        ),
        meta("a graph of a million attributes", Refused("memory"), in_graph(vec![attributes(1_000_000)])),
        meta(
            "a node that reads itself",
            Read,
            in_graph(vec![
                node("a", "Identity", &["a"], &[]),
                node(KERNEL, "Identity", &["b"], &[]),
                node("b", "Identity", &[KERNEL], &[]),
            ]),
        ),
        meta(
            "two nodes of one name",
            Read,
            in_graph(vec![
                node(KERNEL, "VariableV2", &[], &[]),
                node(KERNEL, "Const", &[], &[("value", constant(&shape(&[3, 8]), &values()))]),
            ]),
        ),
        meta("a function that calls itself", Read, recursive_function()),
        meta("groups within groups, a million deep", Refused("MetaGraphDef"), vec![0x0b; 1_000_000]),
        meta("a graph that ends within a node", Refused("GraphDef"), [&bytes(2, &[0x0a, 0x7f])[..]].concat()),
        meta("a graph of nothing", Refused("a graph with nodes"), vec![]),
        meta("a node without an operation", Refused("a name and an operation"), {
            in_graph(vec![bytes(1, b"\x1b]0;a")])
        }),
    ]
}

fn right_bytes() -> Vec<u8> {
    right().files.remove(0).1
}

fn chain(length: usize) -> Vec<Vec<u8>> {
    let name = |n: usize| format!("n{n}");
    let link = |n: usize| node(&name(n), "Identity", &[&name(n.saturating_sub(1))], &[]);
    (0..length).map(link).collect()
}

fn attributes(count: usize) -> Vec<u8> {
    let named: Vec<(String, Vec<u8>)> = (0..count).map(|n| (format!("a{n}"), number(3, 1))).collect();
    let attrs: Vec<(&str, Vec<u8>)> = named.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    node("a", "NoOp", &[], &attrs)
}

/// A loop whose body and condition are functions that are loops of themselves.
fn recursive_function() -> Vec<u8> {
    let call = |name: &str| {
        let function = bytes(10, &bytes(1, b"f"));
        node(name, "While", &["x"], &[("body", function.clone()), ("cond", function)])
    };
    let signature = [bytes(1, b"f"), bytes(2, &bytes(1, b"x")), bytes(3, &bytes(1, b"y"))].concat();
    let returned = bytes(4, &[bytes(1, b"y"), bytes(2, b"w:output:0")].concat());
    let function = [bytes(1, &signature), bytes(3, &call("w")), returned].concat();
    let library = bytes(2, &bytes(1, &function));
    bytes(2, &[graph([node("x", "Placeholder", &[], &[]), call("w")]), library].concat())
}
