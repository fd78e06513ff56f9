//! Runs two LSTM implementations over the same inputs and judges their divergence.
//!
//! The crate knows neither Burn nor files nor the screen: a [`Lane`] is anything that turns weights and inputs into a
//! trace. [`verify()`] measures, [`conclude`] judges.

#![warn(missing_docs)]

pub mod apart;
pub mod bound;
mod carried;
mod clips;
mod divergence;
pub mod ensemble;
mod heat;
pub mod inputs;
mod judged;
mod lane;
mod local;
mod local_error;
mod merge;
pub mod outputs;
mod projected;
pub mod random;
pub mod replay;
mod rows;
mod screen;
mod sensitivity;
pub mod streaming;
mod verdict;
mod verify;
pub mod weights;

pub use bound::ActivationBudget;
pub use carried::{CARRIED_FACTOR, CARRIED_ULP, CarriedStep, GROWN, SATURATION};
pub use clips::{ClipUse, Clipped};
pub use divergence::{Divergence, PerQuantity, Place, Quantity, ulp_at, ulp_distance};
pub use heat::Heat;
pub use inputs::InputSpec;
pub use lane::{Lane, LaneError};
pub use local_error::LocalError;
pub use projected::keras_batch;
pub use screen::{HostScreen, Screen};
pub use sensitivity::{Kill, Sensitivity, SmallestChange};
pub use streaming::{Streamed, Streaming};
pub use verdict::{Reason, Verdict, conclude, conclude_on_device};
pub use verify::{CellReport, LaneFailure, Lanes, Side, StepReport, Subject, stages, verify};
