//! Frozen graphs: a `GraphDef` in which the weights are constants, as `freeze_graph` and
//! `convert_variables_to_constants` write them. Each constant keeps the name of the variable that it was.
//!
//! Sources: `tensorflow/core/framework/{graph,node_def,tensor}.proto`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use disk::Disk;
use prost::Message;

use crate::checkpoint::Variable;
use crate::error::ON_ONE_LINE;
use crate::proto::NodeDef;
use crate::source::{Source, describe_start};
use crate::tensor::element_count;
use crate::tensor_proto::{self, Missing};
use crate::wire::{Fields, Malformed, Value};
use crate::{DType, Error, Tensor};

/// Constants that repeat a value may unpack to this many bytes in all: each takes but a few bytes of the file.
const REPEATED: usize = 128 << 20;
/// Protocol buffers are not written beyond this.
const MAX_MESSAGE: u64 = 2 << 30;

/// An open frozen graph: where each constant is is in memory, the constants are read as needed.
///
/// The format has no checksums.
#[derive(Debug)]
pub(crate) struct FrozenGraph {
    source: Source,
    constants: BTreeMap<String, Constant>,
    /// Bytes that the constants that repeat a value unpack to.
    repeated: usize,
}

#[derive(Debug)]
struct Constant {
    dtype: DType,
    shape: Vec<usize>,
    /// Where its `TensorProto` is in the file.
    offset: u64,
    size: usize,
    /// Where all of its elements are, if they lie in the file as they do in memory.
    elements: Option<(u64, usize)>,
}

/// What a file that is a protocol buffer message seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Graph,
    MetaGraph,
    SavedModel,
    /// A graph in text format.
    Text,
}

impl FrozenGraph {
    /// Opens the frozen graph at `path`: finds its constants, and checks the type and shape of each.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<FrozenGraph, Error> {
        let source = Source::open(disk, path)?;
        if source.len() > MAX_MESSAGE {
            let found = format!("{} bytes, over the 2 GiB that such a message can have", source.len());
            return Err(Error::NotAGraph { path: path.to_owned(), found, hint: "" });
        }
        let bytes = source.read_all()?;
        match kind(&bytes) {
            Some(Kind::Graph) => (),
            Some(Kind::MetaGraph) => return Err(other(path, "a MetaGraphDef, which has no weights in it", META_HINT)),
            Some(Kind::SavedModel) => return Err(other(path, "the graph of a SavedModel", SAVED_MODEL_HINT)),
            Some(Kind::Text) => return Err(other(path, "a graph in text format", TEXT_HINT)),
            None => {
                let (found, hint) = describe_start(&bytes, source.len());
                return Err(Error::NotAGraph { path: path.to_owned(), found, hint });
            }
        }
        let mut graph = FrozenGraph { source, constants: BTreeMap::new(), repeated: 0 };
        let (mut nodes, mut variables, mut floats) = (0usize, 0usize, false);
        for field in Fields::new(&bytes) {
            let (1, Value::Bytes(node)) = field.map_err(|e| graph.message("graph", "GraphDef", e))? else { continue };
            nodes = nodes.saturating_add(1);
            match NodeParts::of(node).map_err(|e| graph.message("a node", "NodeDef", e))? {
                NodeParts { op: b"Variable" | b"VariableV2" | b"VarHandleOp", .. } => {
                    variables = variables.saturating_add(1)
                }
                NodeParts { name, op: b"Const", value: Some(value) } => {
                    floats |= graph.add(&bytes, name, value)?;
                }
                _ => (),
            }
        }
        if graph.constants.is_empty() || (variables > 0 && !floats) {
            let constants = graph.constants.len();
            return Err(Error::NotFrozen { path: path.to_owned(), nodes, constants, variables });
        }
        Ok(graph)
    }

    /// Adds a constant if it is of numbers. Says whether it can be a weight: floating-point, and not a scalar.
    fn add(&mut self, bytes: &[u8], name: &[u8], value: &[u8]) -> Result<bool, Error> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let wrong = |expected, found| self.wrong(&shown, expected, found);
        let (dtype, shape) =
            tensor_proto::head(value).map_err(|e| wrong("a constant with a type and a shape", e.to_string()))?;
        let Some(size) = dtype.size() else { return Ok(false) };
        let unpacked = element_count(&shape).and_then(|n| n.checked_mul(size));
        let unpacked = unpacked.ok_or_else(|| wrong("a shape that fits memory", format!("{shape:?}")))?;
        let repeated = if unpacked > value.len() { self.repeated.saturating_add(unpacked) } else { self.repeated };
        if repeated > REPEATED {
            return Err(wrong("constants that repeat a value to at most 128 MiB in all", format!("{repeated} bytes")));
        }
        let name = std::str::from_utf8(name).map_err(|_| wrong("a name in UTF-8", "other bytes".to_owned()))?;
        if name.contains('\n') {
            return Err(wrong(ON_ONE_LINE, format!("{name:?}")));
        }
        let place =
            position(bytes, value).ok_or_else(|| wrong("a constant inside the file", "other bytes".to_owned()))?;
        let weight =
            !shape.is_empty() && matches!(dtype, DType::Float16 | DType::BFloat16 | DType::Float32 | DType::Float64);
        let elements = tensor_proto::content(value).filter(|content| content.len() == unpacked);
        let elements = elements.and_then(|content| Some((position(bytes, content)?, content.len())));
        let constant = Constant { dtype, shape, offset: place, size: value.len(), elements };
        if self.constants.insert(name.to_owned(), constant).is_some() {
            return Err(self.wrong(&shown, "one constant of each name", "two".to_owned()));
        }
        self.repeated = repeated;
        Ok(weight)
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        vec![self.source.path().to_owned()]
    }

    /// Every constant of numbers, by name.
    pub(crate) fn variables(&self) -> Vec<Variable> {
        self.constants
            .iter()
            .map(|(name, c)| Variable { name: name.clone(), dtype: c.dtype, shape: c.shape.clone() })
            .collect()
    }

    /// Reads the constant `name`; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let Some(constant) = self.constants.get(name) else { return Ok(None) };
        if let Some((offset, size)) = constant.elements {
            // Without a copy of the message, which is as large again.
            let bytes = self.source.read(offset, size)?;
            return Ok(Tensor::fixed(constant.dtype, constant.shape.clone(), bytes));
        }
        let bytes = self.source.read(constant.offset, constant.size)?;
        let tensor = tensor_proto::decode(&bytes, Missing::Repeat(REPEATED))
            .map_err(|e| self.wrong(name, "a constant with the values of its shape", e.to_string()))?;
        if (tensor.dtype(), tensor.shape()) != (constant.dtype, &constant.shape[..]) {
            let found =
                format!("{} {:?} after {} {:?}", tensor.dtype(), tensor.shape(), constant.dtype, constant.shape);
            return Err(self.wrong(name, "the same type and shape as when the file was opened", found));
        }
        Ok(Some(tensor))
    }

    fn wrong(&self, name: &str, expected: &'static str, found: String) -> Error {
        Error::Entry { path: self.source.path().to_owned(), variable: name.to_owned(), expected, found }
    }

    fn message(&self, what: &str, message: &'static str, source: Malformed) -> Error {
        Error::Message { path: self.source.path().to_owned(), what: what.to_owned(), message, source: Box::new(source) }
    }
}

const META_HINT: &str = "open the checkpoint that it was saved with; as .meta beside it, it is read along";
const SAVED_MODEL_HINT: &str =
    "name it saved_model.pb, with its folder variables beside it, and open the folder of both";
const TEXT_HINT: &str = "write it in binary, as write_graph does with as_text=False";

fn other(path: &Path, found: &'static str, hint: &'static str) -> Error {
    Error::WrongFormat { path: path.to_owned(), expected: "a frozen GraphDef in binary", found, hint }
}

/// What the file at `path` is; `None` if no kind of graph.
pub(crate) fn kind_of(disk: &Disk, path: &Path) -> Result<Option<Kind>, Error> {
    let source = Source::open(disk, path)?;
    if source.len() > MAX_MESSAGE {
        return Ok(None);
    }
    Ok(kind(&source.read_all()?))
}

/// What a file with these bytes is; `None` if no kind of graph.
fn kind(bytes: &[u8]) -> Option<Kind> {
    if is_text(bytes) {
        return Some(Kind::Text);
    }
    // Whichever message it is, all of its fields must be whole.
    let fields = Fields::new(bytes).collect::<Result<Vec<_>, _>>().ok()?;
    let messages = |tag| {
        fields.iter().filter_map(move |f| if let (t, Value::Bytes(b)) = *f { (t == tag).then_some(b) } else { None })
    };
    let is_graph =
        |graph: &[u8]| Fields::new(graph).any(|f| matches!(f, Ok((1, Value::Bytes(n))) if NodeParts::is_node(n)));
    let is_meta = |meta: &[u8]| Fields::new(meta).any(|f| matches!(f, Ok((2, Value::Bytes(g))) if is_graph(g)));
    if messages(1).next().is_some_and(NodeParts::is_node) {
        Some(Kind::Graph)
    } else if messages(2).any(is_graph) {
        Some(Kind::MetaGraph)
    } else if messages(2).any(is_meta) {
        Some(Kind::SavedModel)
    } else {
        None
    }
}

/// Whether it is text that begins with a field of a graph or of what a graph can be in.
fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
    let start = String::from_utf8_lossy(start);
    let first = start.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#')).unwrap_or_default();
    let word = first.split([' ', '{', ':']).next().unwrap_or_default();
    matches!(word, "node" | "versions" | "library" | "meta_info_def" | "graph_def" | "saved_model_schema_version")
        && first.trim_start_matches(word).trim_start().starts_with(['{', ':'])
}

/// Where `part`, which is a slice of `whole`, starts in it.
fn position(whole: &[u8], part: &[u8]) -> Option<u64> {
    let offset = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (offset.checked_add(part.len())? <= whole.len()).then_some(())?;
    u64::try_from(offset).ok()
}

/// The parts of a `NodeDef` that say whether it is a constant.
struct NodeParts<'a> {
    name: &'a [u8],
    op: &'a [u8],
    /// The `TensorProto` of the attribute `value`.
    value: Option<&'a [u8]>,
}

impl<'a> NodeParts<'a> {
    fn of(node: &'a [u8]) -> Result<NodeParts<'a>, Malformed> {
        let mut parts = NodeParts { name: &[], op: &[], value: None };
        for field in Fields::new(node) {
            match field? {
                (1, Value::Bytes(b)) => parts.name = b,
                (2, Value::Bytes(b)) => parts.op = b,
                (5, Value::Bytes(entry)) => {
                    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
                    for field in Fields::new(entry) {
                        match field? {
                            (1, Value::Bytes(b)) => key = b,
                            (2, Value::Bytes(b)) => value = b,
                            _ => (),
                        }
                    }
                    if key == b"value" {
                        for field in Fields::new(value) {
                            if let (8, Value::Bytes(b)) = field? {
                                parts.value = Some(b);
                            }
                        }
                    }
                }
                _ => (),
            }
        }
        Ok(parts)
    }

    /// Whether it is a node: with a name, and an operation, which is a name in camel case.
    fn is_node(node: &[u8]) -> bool {
        NodeParts::of(node).is_ok_and(|parts| {
            !parts.name.is_empty()
                && parts.op.first().is_some_and(|c| c.is_ascii_alphabetic() || *c == b'_')
                && parts.op.iter().all(|c| c.is_ascii_alphanumeric() || b"_>./-".contains(c))
                && NodeDef::decode(node).is_ok()
        })
    }
}

#[cfg(test)]
#[path = "frozen_graph_tests.rs"]
mod tests;
