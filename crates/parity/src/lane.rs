//! What a lane is: weights and inputs in, a trace out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lstm::{Batch, Network, Trace};
use thiserror::Error;

/// An implementation of an LSTM under comparison. `C` is the form of the weights it runs: [`lstm::Tf1Cell`] or
/// [`lstm::KerasCell`].
pub trait Lane<C>: Sync {
    /// A short name for reports, such as `keras (tensor operations)`.
    fn name(&self) -> String;

    /// Runs the network over every sequence of the batch and returns what each cell computed at each step.
    ///
    /// # Errors
    /// If the lane cannot run this network, or the device fails.
    fn run(&self, network: &Network<C>, batch: &Batch) -> Result<Trace<f32>, LaneError>;
}

/// Runs a lane. One that panics has failed like one that returns an error: neither may end the comparison without a
/// verdict. (What it leaves behind is no concern of ours: weights and inputs are only lent to it.)
pub(crate) fn run<C>(lane: &dyn Lane<C>, network: &Network<C>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
    let attempt = || lane.run(network, batch);
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
        Err(LaneError::Panicked { lane: lane.name(), message: text_of(panic.as_ref()).to_owned() })
    })
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// A lane could not produce a trace.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LaneError {
    /// The batch does not fit the network.
    #[error("{what}: expected {expected:?}, found {found:?}")]
    Shape {
        /// Which part of the batch.
        what: String,
        /// The shape the network calls for.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// The device failed.
    #[error("{lane} on {device}: {message}")]
    Device {
        /// The lane's name.
        lane: String,
        /// The device's name.
        device: String,
        /// What the runtime said.
        message: String,
    },
    /// The lane panicked.
    #[error("{lane} panicked: {message}")]
    Panicked {
        /// The lane's name.
        lane: String,
        /// What it said.
        message: String,
    },
}
