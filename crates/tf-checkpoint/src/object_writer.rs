//! Writes object-based checkpoints that TensorFlow 2 and Keras restore: a V2 bundle of one data file.
//!
//! Sources: `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`, `tensorflow/python/checkpoint/checkpoint.py`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::object_graph::{KEY, VALUE};
use crate::proto::{BundleEntry, BundleHeader, Dim, TensorShape, VersionDef};
use crate::table::mask;
use crate::table_writer::{BlockType, TableWriter};
use crate::tensor::element_count;
use crate::{Error, ObjectGraph, string_tensor};

/// What `tf.train.Checkpoint.save` counts its saves with. Without it `assert_consumed` fails.
const SAVE_COUNTER: &str = "save_counter";
/// Keys are kept well below the size of a block.
const MAX_KEY: usize = 4096;
/// Block size of TensorFlow's tables.
const BLOCK: usize = 256 << 10;

/// A variable to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectVariable<'a> {
    /// The key it is saved under, as [`ObjectGraph::insert_variable`] gave it.
    pub key: &'a str,
    /// Extent of each dimension, outermost first.
    pub shape: &'a [usize],
    /// Its elements, row-major.
    pub values: &'a [f32],
}

/// The files of an object-based checkpoint with the prefix `P`, for the caller to write: the data first, since a
/// checkpoint is there once its index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectCheckpoint {
    /// The bytes of `P.index`.
    pub index: Vec<u8>,
    /// The bytes of `P.data-00000-of-00001`.
    pub data: Vec<u8>,
}

/// Makes the files of an object-based checkpoint of these objects and the values of their variables.
///
/// It is restored by `Model.load_weights(P)` of Keras 2 and by `tf.train.Checkpoint(model).restore(P)`, where the paths
/// are those of the model's own objects: `layer_with_weights-0/cell/kernel` in Keras 2, with `forward_layer` and
/// `backward_layer` in between if the layer is bidirectional; `_functional/_operations/1/cell/kernel` in Keras 3, where
/// the input layer counts too. With `tf.train.Checkpoint(model=model)` all begin with `model/`. The model has to be built
/// before. The object `save_counter`, which `tf.train.Checkpoint` has, is added to the root, with the value
/// `save_counter`.
///
/// # Errors
///
/// [`Error::Unwritable`] unless the variables are exactly those of the graph, with as many values as their shapes say.
pub fn write_object_checkpoint(
    graph: &ObjectGraph,
    variables: &[ObjectVariable<'_>],
    save_counter: i64,
) -> Result<ObjectCheckpoint, Error> {
    let mut graph = graph.clone();
    let counter = graph.insert_variable(SAVE_COUNTER, SAVE_COUNTER)?;
    let mut keys = keys(&graph)?;
    keys.remove(&counter);
    let mut tensors = BTreeMap::new();
    for variable in variables {
        let wrong = |expected, found| unwritable(variable.key, expected, found);
        if !keys.remove(variable.key) {
            return Err(wrong("a key of one variable in the object graph", "none, or two values for it".to_owned()));
        }
        if element_count(variable.shape) != Some(variable.values.len()) {
            let found = format!("{} for {:?}", variable.values.len(), variable.shape);
            return Err(wrong("as many values as the shape has elements", found));
        }
        let bytes: Vec<u8> = variable.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let crc = crc32c::crc32c(&bytes);
        let shape = shape(variable.shape).ok_or_else(|| wrong("a shape that fits", format!("{:?}", variable.shape)))?;
        tensors.insert(variable.key.to_owned(), Stored { dtype: 1, shape, bytes, crc });
    }
    if let Some(key) = keys.first() {
        return Err(unwritable(key, "a value for each variable of the object graph", "none".to_owned()));
    }
    let bytes = save_counter.to_le_bytes().to_vec();
    let crc = crc32c::crc32c(&bytes);
    tensors.insert(counter, Stored { dtype: 9, shape: TensorShape::default(), bytes, crc });
    let message = graph.encode();
    let message = message.ok_or_else(|| unwritable(KEY, "children and slots in the graph", "others".to_owned()))?;
    let (bytes, crc) = string_tensor::encode(&[&message], false);
    tensors.insert(KEY.to_owned(), Stored { dtype: 7, shape: TensorShape::default(), bytes, crc });
    files(tensors)
}

/// A tensor as it will be in the data file.
struct Stored {
    dtype: i32,
    shape: TensorShape,
    bytes: Vec<u8>,
    /// Not masked.
    crc: u32,
}

fn files(tensors: BTreeMap<String, Stored>) -> Result<ObjectCheckpoint, Error> {
    let mut index = TableWriter::new(BLOCK, BlockType::Stored);
    let version = Some(VersionDef { producer: 1, min_consumer: 0 });
    index.add(b"", &BundleHeader { num_shards: 1, endianness: 0, version }.encode_to_vec());
    let mut data = Vec::new();
    for (key, tensor) in tensors {
        let (Ok(offset), Ok(size)) = (i64::try_from(data.len()), i64::try_from(tensor.bytes.len())) else {
            return Err(unwritable(&key, "less than 2^63 bytes", "more".to_owned()));
        };
        let entry = BundleEntry {
            dtype: tensor.dtype,
            shape: Some(tensor.shape),
            shard_id: 0,
            offset,
            size,
            crc32c: mask(tensor.crc),
            slices: Vec::new(),
        };
        index.add(key.as_bytes(), &entry.encode_to_vec());
        data.extend(tensor.bytes);
    }
    Ok(ObjectCheckpoint { index: index.finish(), data })
}

/// The keys of the graph's variables, each of which must be of one.
fn keys(graph: &ObjectGraph) -> Result<BTreeSet<String>, Error> {
    let mut keys = BTreeSet::new();
    for attribute in graph.nodes.iter().flat_map(|n| &n.attributes) {
        let key = &attribute.checkpoint_key;
        if attribute.name != VALUE {
            return Err(unwritable(key, "no attributes but VARIABLE_VALUE", attribute.name.clone()));
        }
        if key.is_empty() || key.starts_with('\0') || key == KEY || key.len() > MAX_KEY {
            return Err(unwritable(key, "a key of 1 to 4096 bytes that is not reserved", format!("{key:?}")));
        }
        if !keys.insert(key.clone()) {
            return Err(unwritable(key, "a key of one variable", "two variables".to_owned()));
        }
    }
    Ok(keys)
}

fn shape(dims: &[usize]) -> Option<TensorShape> {
    let dim = dims.iter().map(|&d| Some(Dim { size: i64::try_from(d).ok()? })).collect::<Option<_>>()?;
    Some(TensorShape { dim, unknown_rank: false })
}

fn unwritable(what: &str, expected: &'static str, found: String) -> Error {
    Error::Unwritable { what: what.to_owned(), expected, found }
}

#[cfg(test)]
#[path = "object_writer_tests.rs"]
mod tests;
