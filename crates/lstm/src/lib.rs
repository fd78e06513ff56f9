//! LSTM cells of TensorFlow 1.x and of Keras: their weights, finding them in a checkpoint, converting one into the
//! other, and an f64 evaluation of the equations that serves as the truth.
//!
//! The crate knows neither files nor devices. Data flows one way: variables and graph of a checkpoint →
//! [`detect`](detect::detect) → [`Network`]`<`[`Tf1Cell`]`>` → [`convert`](convert::to_keras) →
//! [`Network`]`<`[`KerasCell`]`>`.

#![warn(missing_docs)]

mod activation;
mod cell;
pub mod convert;
pub mod detect;
pub mod diagnose;
pub mod fault;
pub mod forms;
pub mod gate_order;
mod network;
pub mod one_unit;
pub mod oracle;
mod sequence;

pub use activation::Activation;
pub use cell::{CellError, ExactWeights, KerasCell, LayerNorm, Norm, Peepholes, Rounding, Tf1Cell};
pub use network::{Direction, Merge, Network, Place};
pub use sequence::{Batch, CellTrace, State, Trace, join_sequences};
