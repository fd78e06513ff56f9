//! Reads TensorFlow 1.x checkpoints without TensorFlow: V2 bundles, V1 single files, the `checkpoint` state file that
//! points at them and the graph (`.meta`) beside them; SavedModels and frozen graphs; and the object-based checkpoints of
//! TensorFlow 2, which [`write_object_checkpoint`] also makes.
//!
//! Files are untrusted. Every length is checked against the bytes that are really there before memory is taken for it,
//! every checksum that the format has is verified on every read, and a malformed file is an [`Error`] that names the
//! file, the variable, what was expected and what was found.
//!
//! ```no_run
//! use std::path::Path;
//! use tf_checkpoint::Checkpoint;
//!
//! # fn main() -> Result<(), tf_checkpoint::Error> {
//! let checkpoint = Checkpoint::open(Path::new("runs/model.ckpt-1000"))?;
//! for variable in checkpoint.variables() {
//!     println!("{} {} {:?}", variable.name, variable.dtype.as_str(), variable.shape);
//! }
//! let kernel = checkpoint.read("rnn/basic_lstm_cell/kernel")?;
//! println!("{}", kernel.sha256());
//! # Ok(())
//! # }
//! ```
// What a file says never panics, wraps round or is cut short.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a test that panics has failed, which is what it is for"
    )
)]

mod bundle;
mod checkpoint;
mod data_files;
mod dtype;
mod error;
mod frozen_graph;
mod meta_graph;
mod object_graph;
mod object_writer;
mod proto;
mod resolve;
mod saved_slices;
mod slice_key;
mod slices;
mod source;
mod state_file;
mod string_tensor;
mod table;
mod table_writer;
mod tensor;
mod tensor_proto;
mod wire;

pub use checkpoint::{Checkpoint, Format, Variable};
pub use dtype::DType;
pub use error::Error;
pub use meta_graph::{Attr, Function, Graph, Node};
pub use object_graph::{ObjectAttribute, ObjectChild, ObjectGraph, ObjectNode, ObjectSlot};
pub use object_writer::{ObjectCheckpoint, ObjectVariable, write_object_checkpoint};
pub use state_file::CheckpointState;
pub use tensor::Tensor;
