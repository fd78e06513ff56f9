//! The protocol buffer messages of checkpoints and graphs, as far as they are read. Enums are kept as numbers, and
//! messages that hold whole tensors as bytes, for [`crate::tensor_proto`] to decode without a detour.

use std::collections::BTreeMap;

use prost::Message;

/// `tensorflow/core/protobuf/tensor_bundle.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BundleHeader {
    #[prost(int32, tag = "1")]
    pub(crate) num_shards: i32,
    #[prost(int32, tag = "2")]
    pub(crate) endianness: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) version: Option<VersionDef>,
}

/// `tensorflow/core/framework/versions.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct VersionDef {
    #[prost(int32, tag = "1")]
    pub(crate) producer: i32,
    #[prost(int32, tag = "2")]
    pub(crate) min_consumer: i32,
}

/// `tensorflow/core/protobuf/tensor_bundle.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BundleEntry {
    #[prost(int32, tag = "1")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShape>,
    #[prost(int32, tag = "3")]
    pub(crate) shard_id: i32,
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
    #[prost(int64, tag = "5")]
    pub(crate) size: i64,
    #[prost(fixed32, tag = "6")]
    pub(crate) crc32c: u32,
    #[prost(message, repeated, tag = "7")]
    pub(crate) slices: Vec<TensorSlice>,
}

/// `tensorflow/core/framework/tensor_shape.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    pub(crate) dim: Vec<Dim>,
    #[prost(bool, tag = "3")]
    pub(crate) unknown_rank: bool,
}

/// One dimension of a [`TensorShape`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dim {
    #[prost(int64, tag = "1")]
    pub(crate) size: i64,
}

/// `tensorflow/core/framework/tensor_slice.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorSlice {
    #[prost(message, repeated, tag = "1")]
    pub(crate) extent: Vec<SliceExtent>,
}

/// One dimension of a [`TensorSlice`]; without a length, all of it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SliceExtent {
    #[prost(int64, tag = "1")]
    pub(crate) start: i64,
    #[prost(int64, optional, tag = "2")]
    pub(crate) length: Option<i64>,
}

/// `tensorflow/core/util/saved_tensor_slice.proto`, the message under the empty key.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedTensorSlices {
    #[prost(message, optional, tag = "1")]
    pub(crate) meta: Option<SavedTensorSliceMeta>,
}

/// The list of tensors in a V1 file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedTensorSliceMeta {
    #[prost(message, repeated, tag = "1")]
    pub(crate) tensor: Vec<SavedSliceMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) versions: Option<VersionDef>,
}

/// One tensor of a V1 file, and the slices of it that are in that file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedSliceMeta {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<TensorShape>,
    #[prost(int32, tag = "3")]
    pub(crate) dtype: i32,
    #[prost(message, repeated, tag = "4")]
    pub(crate) slice: Vec<TensorSlice>,
}

/// `tensorflow/core/protobuf/saved_model.proto`, which is read field by field.
#[cfg(test)]
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SavedModel {
    #[prost(message, repeated, tag = "2")]
    pub(crate) meta_graphs: Vec<MetaGraph>,
}

/// `tensorflow/core/protobuf/meta_graph.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetaGraph {
    #[prost(message, optional, tag = "1")]
    pub(crate) info: Option<MetaInfo>,
    #[prost(message, optional, tag = "2")]
    pub(crate) graph: Option<GraphDef>,
    #[prost(message, optional, tag = "3")]
    pub(crate) saver: Option<SaverDef>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(crate) collections: BTreeMap<String, Collection>,
}

/// `MetaGraphDef.MetaInfoDef`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetaInfo {
    #[prost(string, tag = "5")]
    pub(crate) tensorflow_version: String,
    #[prost(bool, tag = "7")]
    pub(crate) stripped_default_attrs: bool,
}

/// `tensorflow/core/protobuf/saver.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SaverDef {
    #[prost(string, tag = "2")]
    pub(crate) save_tensor_name: String,
}

/// `CollectionDef` of `tensorflow/core/protobuf/meta_graph.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Collection {
    #[prost(message, optional, tag = "1")]
    pub(crate) nodes: Option<NodeList>,
    #[prost(message, optional, tag = "2")]
    pub(crate) bytes: Option<BytesList>,
}

/// Names of nodes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeList {
    #[prost(string, repeated, tag = "1")]
    pub(crate) value: Vec<String>,
}

/// Serialized messages.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BytesList {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) value: Vec<Vec<u8>>,
}

/// `tensorflow/core/framework/variable.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct VariableDef {
    #[prost(string, tag = "1")]
    pub(crate) variable_name: String,
}

/// `tensorflow/core/framework/graph.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphDef {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<NodeDef>,
    #[prost(message, optional, tag = "2")]
    pub(crate) library: Option<FunctionLibrary>,
}

/// `tensorflow/core/framework/function.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FunctionLibrary {
    #[prost(message, repeated, tag = "1")]
    pub(crate) function: Vec<FunctionDef>,
}

/// `tensorflow/core/framework/function.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FunctionDef {
    #[prost(message, optional, tag = "1")]
    pub(crate) signature: Option<OpDef>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) node_def: Vec<NodeDef>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) ret: BTreeMap<String, String>,
}

/// `tensorflow/core/framework/op_def.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OpDef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) input_arg: Vec<ArgDef>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) output_arg: Vec<ArgDef>,
}

/// `OpDef.ArgDef` of `tensorflow/core/framework/op_def.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ArgDef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// `tensorflow/core/framework/node_def.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeDef {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) op: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) input: Vec<String>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(crate) attr: BTreeMap<String, AttrValue>,
}

/// `tensorflow/core/framework/attr_value.proto`; exactly one field is present.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttrValue {
    #[prost(message, optional, boxed, tag = "1")]
    pub(crate) list: Option<Box<ListValue>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) s: Option<Vec<u8>>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) i: Option<i64>,
    #[prost(float, optional, tag = "4")]
    pub(crate) f: Option<f32>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) b: Option<bool>,
    #[prost(int32, optional, tag = "6")]
    pub(crate) r#type: Option<i32>,
    #[prost(message, optional, tag = "7")]
    pub(crate) shape: Option<TensorShape>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub(crate) tensor: Option<Vec<u8>>,
    #[prost(message, optional, tag = "10")]
    pub(crate) func: Option<NameAttrList>,
}

/// A function given as an attribute.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NameAttrList {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// `AttrValue.ListValue`; at most one field has elements.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListValue {
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) s: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) i: Vec<i64>,
    #[prost(float, repeated, tag = "4")]
    pub(crate) f: Vec<f32>,
    #[prost(bool, repeated, tag = "5")]
    pub(crate) b: Vec<bool>,
    #[prost(int32, repeated, tag = "6")]
    pub(crate) r#type: Vec<i32>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) shape: Vec<TensorShape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(crate) tensor: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) func: Vec<NameAttrList>,
}

/// `tensorflow/core/protobuf/trackable_object_graph.proto`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrackableObjectGraph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) nodes: Vec<TrackableObject>,
}

/// One object of a [`TrackableObjectGraph`]; others refer to it by its place in the list.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrackableObject {
    #[prost(message, repeated, tag = "1")]
    pub(crate) children: Vec<ObjectReference>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) attributes: Vec<SerializedTensor>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) slot_variables: Vec<SlotVariableReference>,
}

/// An edge of a [`TrackableObjectGraph`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ObjectReference {
    #[prost(int32, tag = "1")]
    pub(crate) node_id: i32,
    #[prost(string, tag = "2")]
    pub(crate) local_name: String,
}

/// A value of an object, and the key it is saved under.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SerializedTensor {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) full_name: String,
    #[prost(string, tag = "3")]
    pub(crate) checkpoint_key: String,
}

/// What an optimizer keeps for a variable.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SlotVariableReference {
    #[prost(int32, tag = "1")]
    pub(crate) original_variable_node_id: i32,
    #[prost(string, tag = "2")]
    pub(crate) slot_name: String,
    #[prost(int32, tag = "3")]
    pub(crate) slot_variable_node_id: i32,
}
