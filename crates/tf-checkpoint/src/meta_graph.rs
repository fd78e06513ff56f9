//! The graph that saved a checkpoint: `MetaGraphDef`, as our own types.

use std::collections::BTreeMap;
use std::path::Path;

use disk::Disk;
use prost::Message;

use crate::error::ON_ONE_LINE;
use crate::proto::{
    AttrValue, Collection, FunctionDef, ListValue, MetaGraph, NodeDef, OpDef, TensorShape, VariableDef,
};
use crate::tensor_proto::{Missing, decode};
use crate::wire::{Fields, Malformed, Value, count, pieces, put_bytes, without};
use crate::{DType, Error, Tensor};

/// A constant that repeats one value is unpacked up to this many bytes, and becomes [`Attr::Other`] beyond.
const CONSTANT: usize = 64 << 10;
/// All constants that repeat one value are unpacked up to this many bytes together.
const CONSTANTS: usize = 64 << 20;
/// A constant of more bytes than this is a weight of a frozen graph, and not read for what it says of the graph.
const WEIGHT: usize = 4 << 20;
/// Names that the collections of a graph may hold.
const COLLECTED: usize = 500_000;
/// A graph may take this much more memory than the file that it is in.
const MEMORY: usize = 64 << 20;
/// What a name takes in memory beside its letters.
const NAME: usize = size_of::<String>() + 16;
/// What an attribute takes beside its value: trees keep room for more.
const ATTRIBUTE: usize = 2 * (NAME + size_of::<Attr>());

/// The graph that saved a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Release of TensorFlow that wrote it, such as `1.15.5`; empty if it does not say, as a frozen graph never does.
    pub tensorflow_version: String,
    /// Whether attributes that equal the default of their operation were left out.
    pub stripped_default_attrs: bool,
    /// Nodes of the main graph, in file order.
    pub nodes: Vec<Node>,
    /// Functions of the library: bodies of loops with control flow v2, and others.
    pub functions: Vec<Function>,
    /// Names of the trainable variables, without `:0`; weights, but not optimizer slots or averages.
    pub trainable: Vec<String>,
    /// Names of the variables that have a moving average, without `:0`.
    pub moving_averages: Vec<String>,
    /// Key in the checkpoint → node of the variable that was saved under it. They differ where the saver was given a
    /// dictionary. In a frozen graph they are the constants. Of a partitioned variable it is the node of the first part.
    pub saved: BTreeMap<String, String>,
}

/// A function of a graph's library.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Its name, by which nodes refer to it.
    pub name: String,
    /// Names of its arguments, in the order of the inputs of a node that calls it. Its nodes read them by name alone.
    pub arguments: Vec<String>,
    /// What it returns, in order: an argument, or `node:output:index`; empty where the file does not say.
    pub results: Vec<String>,
    /// Its nodes. Their inputs are written `node:output:index`.
    pub nodes: Vec<Node>,
}

/// An operation in a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, unique in its graph or function.
    pub name: String,
    /// Name of the operation: `MatMul`.
    pub op: String,
    /// What it reads: `node`, `node:1` for another output than the first, `^node` for order only.
    pub inputs: Vec<String>,
    /// Its attributes by name.
    pub attrs: BTreeMap<String, Attr>,
}

/// Value of an attribute of a [`Node`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Attr {
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f32),
    /// A truth value.
    Bool(bool),
    /// A string, which may hold any bytes.
    Bytes(Vec<u8>),
    /// An element type.
    Type(DType),
    /// A shape: `None` where the rank is unknown, -1 for each dimension that is.
    Shape(Option<Vec<i64>>),
    /// A constant.
    Tensor(Tensor),
    /// Name of a function.
    Function(String),
    /// Several values of one kind.
    List(Vec<Attr>),
    /// A placeholder, or a constant that is not decoded: of a type without plain values, of more than 4 MiB, or one that
    /// repeats its value to more than 64 KiB.
    Other,
}

impl Graph {
    /// The node of the main graph with this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|n| n.name == name)
    }
}

impl Node {
    /// The value of a constant.
    #[must_use]
    pub fn constant(&self) -> Option<&Tensor> {
        match self.attrs.get("value") {
            Some(Attr::Tensor(tensor)) if self.op == "Const" => Some(tensor),
            _ => None,
        }
    }
}

/// Reads a `.meta` file.
pub(crate) fn read_meta(disk: &Disk, path: &Path) -> Result<Graph, Error> {
    let bytes = disk.read(path)?;
    meta_graph(path, &bytes, "MetaGraphDef")
}

/// Reads the first graph of a `saved_model.pb`.
pub(crate) fn read_saved_model(disk: &Disk, path: &Path) -> Result<Graph, Error> {
    let bytes = disk.read(path)?;
    let first = messages(&bytes, 2).next().transpose().map_err(|e| message(path, "SavedModel", e))?;
    meta_graph(path, first.unwrap_or_default(), "SavedModel")
}

/// Reads a file that is a `GraphDef` alone. Its constants are the variables that they were, under the same names.
pub(crate) fn read_graph(disk: &Disk, path: &Path) -> Result<Graph, Error> {
    let bytes = disk.read(path)?;
    let mut graph = graph(path, MetaGraph::default(), &[&bytes], bytes.len())?;
    let constants = graph.nodes.iter().filter(|n| n.op == "Const");
    graph.saved = constants.map(|n| (n.name.clone(), n.name.clone())).collect();
    Ok(graph)
}

fn message(path: &Path, message: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Message { path: path.to_owned(), what: "graph".to_owned(), message, source: Box::new(source) }
}

/// The messages under this tag of another.
fn messages(message: &[u8], tag: u32) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields::new(message).filter_map(move |field| match field {
        Ok((t, Value::Bytes(content))) if t == tag => Some(Ok(content)),
        Ok(_) => None,
        Err(e) => Some(Err(e)),
    })
}

/// Reads a `MetaGraphDef` in `bytes`, which is in a message of this type.
fn meta_graph(path: &Path, bytes: &[u8], kind: &'static str) -> Result<Graph, Error> {
    // Nodes are most of it. They are read one at a time, since a byte of the file can become a hundred on the way.
    let graphs = messages(bytes, 2).collect::<Result<Vec<_>, _>>().map_err(|e| message(path, kind, e))?;
    // Names of variables, and messages that name one.
    let named: [&[u32]; 2] = [&[4, 2, 1, 1], &[4, 2, 2, 1]];
    let named = named.iter().fold(0usize, |n, path_of| n.saturating_add(count(bytes, path_of)));
    if named > COLLECTED {
        return Err(Error::TooMuch {
            path: path.to_owned(),
            what: "graph".to_owned(),
            limit: u64::try_from(COLLECTED).unwrap_or(u64::MAX),
            unit: "names in its collections",
            found: named.to_string(),
        });
    }
    let rest = without(bytes, 2).unwrap_or_default();
    let meta = MetaGraph::decode(rest.as_slice()).map_err(|e| message(path, kind, e))?;
    graph(path, meta, &graphs, bytes.len())
}

/// The graph that is in these parts of a file of `length` bytes, one after the other.
fn graph(path: &Path, meta: MetaGraph, graphs: &[&[u8]], length: usize) -> Result<Graph, Error> {
    let MetaGraph { info, saver, mut collections, .. } = meta;
    let empty = || Error::Graph {
        path: path.to_owned(),
        node: String::new(),
        expected: "a graph with nodes",
        found: "none".to_owned(),
    };
    let memory = MEMORY.saturating_add(length);
    let mut convert = Converter { path, left: CONSTANTS, memory, limit: memory };
    let (mut nodes, mut functions) = (Vec::new(), Vec::new());
    for graph in graphs {
        for field in Fields::new(graph) {
            match field.map_err(|e| message(path, "GraphDef", e))? {
                (1, Value::Bytes(node)) => nodes.push(convert.node(node)?),
                (2, Value::Bytes(library)) => {
                    for function in messages(library, 1) {
                        let function = function.map_err(|e| message(path, "FunctionDefLibrary", e))?;
                        functions.push(convert.function(function)?);
                    }
                }
                _ => (),
            }
        }
    }
    if nodes.is_empty() {
        return Err(empty());
    }
    let mut names = |collection: &str| variable_names(path, collections.remove(collection).unwrap_or_default());
    let (trainable, moving_averages) = (names("trainable_variables")?, names("moving_average_variables")?);
    let saved = saved(&nodes, &saver.unwrap_or_default().save_tensor_name);
    let info = info.unwrap_or_default();
    Ok(Graph {
        tensorflow_version: info.tensorflow_version,
        stripped_default_attrs: info.stripped_default_attrs,
        nodes,
        functions,
        trainable,
        moving_averages,
        saved,
    })
}

fn variable_names(path: &Path, collection: Collection) -> Result<Vec<String>, Error> {
    let mut names = collection.nodes.unwrap_or_default().value;
    for bytes in collection.bytes.unwrap_or_default().value {
        names.push(VariableDef::decode(bytes.as_slice()).map_err(|e| message(path, "VariableDef", e))?.variable_name);
    }
    Ok(names.into_iter().map(|n| n.strip_suffix(":0").map(str::to_owned).unwrap_or(n)).collect())
}

/// Which variable node was saved under which key, from the nodes that save.
fn saved(nodes: &[Node], save_tensor: &str) -> BTreeMap<String, String> {
    let by_name: BTreeMap<&str, &Node> = nodes.iter().map(|n| (n.name.as_str(), n)).collect();
    // A graph may hold several savers; the one that wrote this checkpoint is named, by a node in its scope.
    let scope =
        save_tensor.split('/').next().filter(|s| !s.is_empty() && save_tensor.contains('/')).unwrap_or_default();
    let scope = format!("{scope}/");
    let mut of_saver = BTreeMap::new();
    let mut of_any = BTreeMap::new();
    for node in nodes {
        let first = match node.op.as_str() {
            "SaveV2" | "SaveSlices" => 3,
            "Save" => 2,
            _ => continue,
        };
        let data: Vec<&String> = node.inputs.iter().filter(|i| !i.starts_with('^')).collect();
        let names = data.get(1).and_then(|n| by_name.get(base(n))).and_then(|n| n.constant()).and_then(Tensor::strings);
        for (key, input) in names.unwrap_or_default().into_iter().zip(data.into_iter().skip(first)) {
            let Ok(key) = String::from_utf8(key) else { continue };
            let variable = variable(&by_name, base(input)).to_owned();
            if node.name.starts_with(&scope) {
                of_saver.entry(key.clone()).or_insert_with(|| variable.clone());
            }
            of_any.entry(key).or_insert(variable);
        }
    }
    if of_saver.is_empty() { of_any } else { of_saver }
}

/// The node that an input names.
fn base(input: &str) -> &str {
    input.split(':').next().unwrap_or_default()
}

/// The variable that `name` is, or passes on: savers read resource variables through other nodes.
fn variable<'a>(nodes: &BTreeMap<&str, &'a Node>, name: &'a str) -> &'a str {
    let mut name = name;
    // Far more than any chain of such nodes; a graph in a damaged file may be a circle.
    for _ in 0..16 {
        let Some(node) = nodes.get(name) else { break };
        match (node.op.as_str(), node.inputs.first()) {
            ("Identity" | "ReadVariableOp" | "Cast" | "Enter", Some(input)) => name = base(input),
            _ => break,
        }
    }
    name
}

/// Turns messages into our types.
struct Converter<'a> {
    path: &'a Path,
    /// Bytes that constants may still unpack to.
    left: usize,
    /// Bytes that all of the graph may still take.
    memory: usize,
    /// What `memory` was at first.
    limit: usize,
}

impl Converter<'_> {
    /// Takes what a part of the graph will need off the memory that is left for it.
    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.memory.checked_sub(bytes).ok_or_else(|| Error::TooMuch {
            path: self.path.to_owned(),
            what: "graph".to_owned(),
            limit: u64::try_from(self.limit).unwrap_or(u64::MAX),
            unit: "bytes of memory, from the size of the file",
            found: "more".to_owned(),
        })?;
        self.memory = left;
        Ok(())
    }

    fn function(&mut self, bytes: &[u8]) -> Result<Function, Error> {
        self.spend(size_of::<Function>().saturating_add(bytes.len()))?;
        let unreadable = |e: Malformed| message(self.path, "FunctionDef", e);
        let defs = messages(bytes, 3).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        // An argument is a name among a few that are not kept.
        let names = [count(bytes, &[1, 2]), count(bytes, &[1, 3]), count(bytes, &[4])];
        self.spend(names.into_iter().fold(0, usize::saturating_add).saturating_mul(ATTRIBUTE))?;
        let rest = without(bytes, 3).unwrap_or_default();
        let FunctionDef { signature, mut ret, .. } =
            FunctionDef::decode(rest.as_slice()).map_err(|e| message(self.path, "FunctionDef", e))?;
        let OpDef { name, input_arg, output_arg } = signature.unwrap_or_default();
        Ok(Function {
            name,
            arguments: input_arg.into_iter().map(|a| a.name).collect(),
            results: output_arg.into_iter().map(|a| ret.remove(&a.name).unwrap_or_default()).collect(),
            nodes: defs.into_iter().map(|n| self.node(n)).collect::<Result<_, _>>()?,
        })
    }

    fn node(&mut self, bytes: &[u8]) -> Result<Node, Error> {
        self.spend(size_of::<Node>())?;
        for field in Fields::new(bytes) {
            let needed = match field {
                Ok((5, Value::Bytes(attribute))) => {
                    // Each element of a list, which can be one byte, becomes a value of its own.
                    let lists = messages(attribute, 2).flatten().flat_map(|value| messages(value, 1));
                    let elements = lists.flatten().map(<[u8]>::len).fold(0, usize::saturating_add);
                    let values = elements.saturating_mul(size_of::<Attr>());
                    ATTRIBUTE.saturating_add(attribute.len()).saturating_add(values)
                }
                Ok((_, Value::Bytes(text))) => text.len().saturating_add(NAME),
                // Decoding says what is wrong.
                _ => 0,
            };
            self.spend(needed)?;
        }
        let node = node_def(bytes).map_err(|e| message(self.path, "NodeDef", e))?;
        let NodeDef { name, op, input: mut inputs, attr } = node;
        inputs.shrink_to_fit();
        if name.is_empty() || op.is_empty() {
            let found = format!("name {name:?} and operation {op:?}");
            return Err(Error::Graph {
                path: self.path.to_owned(),
                node: name,
                expected: "a name and an operation",
                found,
            });
        }
        if name.contains('\n') {
            let found = format!("{name:?}");
            return Err(Error::Graph { path: self.path.to_owned(), node: name, expected: ON_ONE_LINE, found });
        }
        let attrs = attr.into_iter().map(|(key, value)| (key, self.attr(value))).collect();
        Ok(Node { name, op, inputs, attrs })
    }

    fn attr(&mut self, value: AttrValue) -> Attr {
        match value {
            AttrValue { s: Some(s), .. } => Attr::Bytes(s),
            AttrValue { i: Some(i), .. } => Attr::Int(i),
            AttrValue { f: Some(f), .. } => Attr::Float(f),
            AttrValue { b: Some(b), .. } => Attr::Bool(b),
            AttrValue { r#type: Some(t), .. } => Attr::Type(DType::from_number(t)),
            AttrValue { shape: Some(s), .. } => shape(&s),
            AttrValue { tensor: Some(t), .. } => self.tensor(&t),
            AttrValue { func: Some(f), .. } => Attr::Function(f.name),
            AttrValue { list: Some(list), .. } => self.list(*list),
            _ => Attr::Other,
        }
    }

    fn list(&mut self, list: ListValue) -> Attr {
        let mut all: Vec<Attr> = list.s.into_iter().map(Attr::Bytes).collect();
        all.extend(list.i.into_iter().map(Attr::Int));
        all.extend(list.f.into_iter().map(Attr::Float));
        all.extend(list.b.into_iter().map(Attr::Bool));
        all.extend(list.r#type.into_iter().map(|t| Attr::Type(DType::from_number(t))));
        all.extend(list.shape.iter().map(shape));
        all.extend(list.tensor.iter().map(|t| self.tensor(t)));
        all.extend(list.func.into_iter().map(|f| Attr::Function(f.name)));
        Attr::List(all)
    }

    fn tensor(&mut self, message: &[u8]) -> Attr {
        if message.len() > WEIGHT {
            return Attr::Other;
        }
        let Ok(tensor) = decode(message, Missing::Repeat(CONSTANT.min(self.left))) else { return Attr::Other };
        let borders = tensor.elements().count().saturating_mul(size_of::<usize>());
        let memory = tensor.bytes().len().saturating_add(borders);
        self.left = self.left.saturating_sub(memory.saturating_sub(message.len()));
        Attr::Tensor(tensor)
    }
}

/// Decodes a node. A weight in it would only be left out later, and is not copied first.
fn node_def(bytes: &[u8]) -> Result<NodeDef, prost::DecodeError> {
    if bytes.len() <= WEIGHT {
        return NodeDef::decode(bytes);
    }
    let mut node = NodeDef::default();
    let mut rest = bytes;
    for piece in pieces(bytes) {
        let Ok((tag, value, field)) = piece else { break };
        rest = rest.get(field.len()..).unwrap_or_default();
        match value {
            Value::Bytes(attribute) if tag == 5 && attribute.len() > WEIGHT => match without_weight(attribute) {
                Some(light) => node.merge(light.as_slice())?,
                None => node.merge(field)?,
            },
            _ => node.merge(field)?,
        }
    }
    // What is malformed, the decoder says best.
    node.merge(rest)?;
    Ok(node)
}

/// The field of an attribute that is a weight, without the tensor; `None` if it is no weight.
fn without_weight(attribute: &[u8]) -> Option<Vec<u8>> {
    let values = || messages(attribute, 2).flatten();
    let is_weight = values().flat_map(|value| messages(value, 8).flatten()).any(|tensor| tensor.len() > WEIGHT);
    let mut light = without(attribute, 2).filter(|_| is_weight)?;
    for value in values() {
        put_bytes(2, &without(value, 8)?, &mut light);
    }
    let mut field = Vec::new();
    put_bytes(5, &light, &mut field);
    Some(field)
}

fn shape(shape: &TensorShape) -> Attr {
    Attr::Shape((!shape.unknown_rank).then(|| shape.dim.iter().map(|d| d.size).collect()))
}

#[cfg(test)]
#[path = "meta_graph_tests.rs"]
mod tests;
