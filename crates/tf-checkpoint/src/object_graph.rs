//! The objects of an object-based checkpoint, as TensorFlow 2 and the Keras of TensorFlow 1.13 and later save them.
//!
//! Keys of such checkpoints look like paths of attributes, but which path they are is an accident of the order in which
//! the objects were visited; only the graph tells. Sources: `tensorflow/core/protobuf/trackable_object_graph.proto`,
//! `tensorflow/python/checkpoint/trackable_view.py`.

use std::collections::VecDeque;
use std::path::Path;

use prost::Message;

use crate::Error;
use crate::error::ON_ONE_LINE;
use crate::proto::{ObjectReference, SerializedTensor, SlotVariableReference, TrackableObject, TrackableObjectGraph};

/// The key of the tensor that is the graph.
pub(crate) const KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
/// Name of the attribute that is the value of a variable.
pub(crate) const VALUE: &str = "VARIABLE_VALUE";
/// Name of the attribute that is the configuration of a layer, as a string of JSON.
const CONFIG: &str = "OBJECT_CONFIG_JSON";
/// Graphs of this many bytes are of a million objects.
const MAX_BYTES: usize = 64 << 20;
/// All paths together have at most this many bytes: a chain of many objects has far more in its paths than in the file.
const MAX_PATHS: usize = 64 << 20;

/// What was saved, as a graph of objects: layers, cells, variables, optimizers. It may have circles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectGraph {
    /// The objects. They refer to one another by their place in this list; the first is the root.
    pub nodes: Vec<ObjectNode>,
}

/// An object of an [`ObjectGraph`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectNode {
    /// The objects that it holds, by the names it has for them.
    pub children: Vec<ObjectChild>,
    /// What was saved of itself.
    pub attributes: Vec<ObjectAttribute>,
    /// If it is an optimizer: the variables that it keeps for others.
    pub slots: Vec<ObjectSlot>,
}

/// An object that another holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChild {
    /// The name of the attribute that holds it, such as `cell` or `layer_with_weights-0`; not escaped.
    pub name: String,
    /// Its place in [`ObjectGraph::nodes`].
    pub node: usize,
}

/// A tensor of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAttribute {
    /// What it is: `VARIABLE_VALUE`, or `OBJECT_CONFIG_JSON`, which is a string.
    pub name: String,
    /// Name of the variable outside of the graph, such as `lstm/lstm_cell/kernel`; may be empty.
    pub full_name: String,
    /// The name of the variable in the checkpoint, to give to [`Checkpoint::read`](crate::Checkpoint::read).
    pub checkpoint_key: String,
}

/// A variable that an optimizer keeps for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSlot {
    /// The object it is kept for.
    pub variable: usize,
    /// What it is to the optimizer, such as `m`.
    pub name: String,
    /// The object that it is itself.
    pub slot: usize,
}

impl Default for ObjectGraph {
    fn default() -> ObjectGraph {
        ObjectGraph::new()
    }
}

impl ObjectGraph {
    /// A graph of nothing but a root, to which [`ObjectGraph::insert_variable`] adds.
    #[must_use]
    pub fn new() -> ObjectGraph {
        ObjectGraph { nodes: vec![ObjectNode::default()] }
    }

    /// The object at `path` from the root: names of children with `/` between them, escaped as in keys, where `.` is
    /// written `..` and `/` in a name `.S`. The root itself is at the empty path.
    #[must_use]
    pub fn resolve(&self, path: &str) -> Option<usize> {
        let mut node = 0;
        for name in path.split('/').filter(|_| !path.is_empty()) {
            node = self.nodes.get(node)?.child(&unescape(name)?)?;
        }
        (node < self.nodes.len()).then_some(node)
    }

    /// The key of the variable at `path`, which is as in [`ObjectGraph::resolve`].
    #[must_use]
    pub fn variable_key(&self, path: &str) -> Option<&str> {
        self.nodes.get(self.resolve(path)?)?.variable_key()
    }

    /// Every object that the root leads to, once, with the shortest path to it: nearer ones first, and of paths that are
    /// as short the first. Objects that are only slots of an optimizer have no path.
    #[must_use]
    pub fn walk(&self) -> Vec<(String, usize)> {
        let steps = self.steps();
        let mut paths: Vec<(String, usize)> = Vec::with_capacity(steps.len());
        for (from, name, node) in steps {
            let path = match from.and_then(|f| paths.get(f)) {
                Some((parent, _)) if !parent.is_empty() => format!("{parent}/{}", escape(name)),
                _ => escape(name),
            };
            paths.push((path, node));
        }
        paths
    }

    /// The objects that the root leads to, breadth first: from which step, by which name, to which object.
    fn steps(&self) -> Vec<(Option<usize>, &str, usize)> {
        let mut seen = vec![false; self.nodes.len()];
        let mut steps = Vec::new();
        let mut queue = VecDeque::from([(None, "", 0usize)]);
        while let Some(step) = queue.pop_front() {
            let (Some(node), Some(seen)) = (self.nodes.get(step.2), seen.get_mut(step.2)) else { continue };
            if std::mem::replace(seen, true) {
                continue;
            }
            let at = steps.len();
            steps.push(step);
            queue.extend(node.children.iter().map(|c| (Some(at), c.name.as_str(), c.node)));
        }
        steps
    }

    /// Adds a variable at `path`, which is as in [`ObjectGraph::resolve`], and the objects on the way to it. Returns the
    /// key to save it under.
    ///
    /// `full_name` is its name outside of the graph, and may be empty: restoring does not need it.
    ///
    /// # Errors
    ///
    /// [`Error::Unwritable`] if the path is empty, has an empty or wrongly escaped component, or leads to a variable
    /// that is there already.
    pub fn insert_variable(&mut self, path: &str, full_name: &str) -> Result<String, Error> {
        let wrong = |expected, found: String| Error::Unwritable { what: path.to_owned(), expected, found };
        let names = path.split('/').map(|c| unescape(c).filter(|n| !n.is_empty())).collect::<Option<Vec<_>>>();
        let names = names.ok_or_else(|| wrong("names with . and / escaped, / between them", "others".to_owned()))?;
        let mut at = 0usize;
        for name in names {
            let new = self.nodes.len();
            let node = self.nodes.get_mut(at).ok_or_else(|| wrong("children that are in the graph", at.to_string()))?;
            at = match node.child(&name) {
                Some(child) => child,
                None => {
                    node.children.push(ObjectChild { name, node: new });
                    self.nodes.push(ObjectNode::default());
                    new
                }
            };
        }
        let checkpoint_key = format!("{path}/.ATTRIBUTES/{VALUE}");
        let node = self.nodes.get_mut(at).ok_or_else(|| wrong("children that are in the graph", at.to_string()))?;
        if let Some(key) = node.variable_key() {
            return Err(wrong("a path that is free", format!("the variable {key:?} there")));
        }
        let attribute = ObjectAttribute { name: VALUE.into(), full_name: full_name.into(), checkpoint_key };
        let key = attribute.checkpoint_key.clone();
        node.attributes.push(attribute);
        Ok(key)
    }

    /// Reads the graph of the checkpoint at `path`, and checks that all that it refers to is there.
    pub(crate) fn decode(path: &Path, bytes: &[u8], has: impl Fn(&str) -> bool) -> Result<ObjectGraph, Error> {
        let wrong = |expected, found: String| Error::Objects { path: path.to_owned(), node: 0, expected, found };
        if bytes.len() > MAX_BYTES {
            return Err(wrong("an object graph of at most 64 MiB", format!("{} bytes", bytes.len())));
        }
        let message = TrackableObjectGraph::decode(bytes).map_err(|e| Error::Message {
            path: path.to_owned(),
            what: "object graph".to_owned(),
            message: "TrackableObjectGraph",
            source: Box::new(e),
        })?;
        let count = message.nodes.len();
        if count == 0 {
            return Err(wrong("a root object", "no objects".to_owned()));
        }
        let mut nodes = Vec::with_capacity(count);
        for (number, object) in message.nodes.into_iter().enumerate() {
            let wrong = |expected, found| Error::Objects { path: path.to_owned(), node: number, expected, found };
            let id = |id: i32| {
                let valid = usize::try_from(id).ok().filter(|&n| n < count);
                valid.ok_or_else(|| wrong("a number of an object below that of objects", format!("{id} of {count}")))
            };
            let names =
                object.children.iter().map(|c| &c.local_name).chain(object.attributes.iter().map(|a| &a.full_name));
            if let Some(name) = names.into_iter().find(|name| name.contains('\n')) {
                return Err(wrong(ON_ONE_LINE, format!("{name:?}")));
            }
            let children = object.children.into_iter();
            let children = children.map(|c| Ok(ObjectChild { node: id(c.node_id)?, name: c.local_name }));
            let slots = object.slot_variables.into_iter().map(|s| {
                let (variable, slot) = (id(s.original_variable_node_id)?, id(s.slot_variable_node_id)?);
                Ok(ObjectSlot { variable, name: s.slot_name, slot })
            });
            let attributes = object.attributes.into_iter().map(|a| {
                // Lookup tables are saved as two tensors, under keys that only begin with theirs.
                if matches!(a.name.as_str(), VALUE | CONFIG) && !has(&a.checkpoint_key) {
                    return Err(wrong("a key that is in the checkpoint", format!("{:?}", a.checkpoint_key)));
                }
                Ok(ObjectAttribute { name: a.name, full_name: a.full_name, checkpoint_key: a.checkpoint_key })
            });
            nodes.push(ObjectNode {
                children: children.collect::<Result<_, Error>>()?,
                attributes: attributes.collect::<Result<_, Error>>()?,
                slots: slots.collect::<Result<_, Error>>()?,
            });
        }
        let graph = ObjectGraph { nodes };
        graph.check_paths().ok_or_else(|| wrong("paths of at most 64 MiB in all", "longer ones".to_owned()))?;
        Ok(graph)
    }

    /// `None` if the paths to the objects are too long together.
    fn check_paths(&self) -> Option<()> {
        let mut lengths: Vec<usize> = Vec::new();
        let mut total = 0usize;
        for (from, name, _) in self.steps() {
            let parent = from.and_then(|f| lengths.get(f)).copied().unwrap_or(0);
            // Escaped, and a slash.
            let length = parent.checked_add(name.len().checked_mul(2)?)?.checked_add(1)?;
            total = total.checked_add(length).filter(|&t| t <= MAX_PATHS)?;
            lengths.push(length);
        }
        Some(())
    }

    /// The message to save; `None` if a number does not fit it.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let id = |node: usize| i32::try_from(node).ok().filter(|_| node < self.nodes.len());
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let child = |c: &ObjectChild| Some(ObjectReference { node_id: id(c.node)?, local_name: c.name.clone() });
            let slot = |s: &ObjectSlot| {
                Some(SlotVariableReference {
                    original_variable_node_id: id(s.variable)?,
                    slot_name: s.name.clone(),
                    slot_variable_node_id: id(s.slot)?,
                })
            };
            let attribute = |a: &ObjectAttribute| SerializedTensor {
                name: a.name.clone(),
                full_name: a.full_name.clone(),
                checkpoint_key: a.checkpoint_key.clone(),
            };
            nodes.push(TrackableObject {
                children: node.children.iter().map(child).collect::<Option<_>>()?,
                attributes: node.attributes.iter().map(attribute).collect(),
                slot_variables: node.slots.iter().map(slot).collect::<Option<_>>()?,
            });
        }
        Some(TrackableObjectGraph { nodes }.encode_to_vec())
    }
}

impl ObjectNode {
    /// The object that it holds under this name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<usize> {
        self.children.iter().find(|c| c.name == name).map(|c| c.node)
    }

    /// The attribute of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&ObjectAttribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    /// The key of its value, if it is a variable.
    #[must_use]
    pub fn variable_key(&self) -> Option<&str> {
        self.attribute(VALUE).map(|a| a.checkpoint_key.as_str())
    }

    /// The key of its configuration, a string of JSON, if it is a layer that was saved with one (TensorFlow 1.13 to 2.0).
    #[must_use]
    pub fn config_key(&self) -> Option<&str> {
        self.attribute(CONFIG).map(|a| a.checkpoint_key.as_str())
    }
}

/// A name as a component of a path.
fn escape(name: &str) -> String {
    name.replace('.', "..").replace('/', ".S")
}

/// The name that a component of a path is of.
fn unescape(component: &str) -> Option<String> {
    let mut name = String::with_capacity(component.len());
    let mut rest = component.chars();
    while let Some(c) = rest.next() {
        match c {
            '.' => match rest.next()? {
                '.' => name.push('.'),
                'S' => name.push('/'),
                _ => return None,
            },
            other => name.push(other),
        }
    }
    Some(name)
}

#[cfg(test)]
#[path = "object_graph_tests.rs"]
mod tests;
