//! What a lane is: weights and inputs in, a trace out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lstm::{Batch, CellTrace, Network, Trace, join_sequences};
use ndarray::Array3;
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
///
/// A device that failed is as likely as not out of memory, so the batch is run in halves, and these in halves: no sequence
/// knows of another. Where one sequence alone fails, all has failed.
pub(crate) fn run<C>(lane: &dyn Lane<C>, network: &Network<C>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
    let attempt = || lane.run(network, batch);
    let done = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
        Err(LaneError::Panicked { lane: lane.name(), message: text_of(panic.as_ref()).to_owned() })
    });
    let sequences = batch.sequences();
    match done {
        Err(LaneError::Device { .. } | LaneError::Panicked { .. }) if sequences > 1 => {
            let half = sequences / 2;
            let first = run(lane, network, &batch.select(0..half))?;
            let second = run(lane, network, &batch.select(half..sequences))?;
            joined(&first, &second)
        }
        done => done,
    }
}

/// The traces of two parts of a batch as that of the batch.
fn joined(first: &Trace<f32>, second: &Trace<f32>) -> Result<Trace<f32>, LaneError> {
    let misshapen = || LaneError::Shape {
        what: "the second half of a batch".to_owned(),
        expected: first.output.shape().to_vec(),
        found: second.output.shape().to_vec(),
    };
    let join = |a: &Array3<f32>, b: &Array3<f32>| {
        let alike = a.shape()[1..] == b.shape()[1..];
        alike.then(|| join_sequences(&[a, b])).ok_or_else(misshapen)
    };
    if first.cells.len() != second.cells.len() {
        return Err(misshapen());
    }
    let cell = |(a, b): (&CellTrace<f32>, &CellTrace<f32>)| {
        let gates = a.gates.as_ref().zip(b.gates.as_ref()).map(|(a, b)| join(a, b)).transpose()?;
        Ok(CellTrace { h: join(&a.h, &b.h)?, c: join(&a.c, &b.c)?, gates })
    };
    Ok(Trace {
        cells: first.cells.iter().zip(&second.cells).map(cell).collect::<Result<_, LaneError>>()?,
        output: join(&first.output, &second.output)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use lstm::State;
    use ndarray::{Array2, s};
    use std::sync::Mutex;

    /// A lane that hands on its input, `wide` times as wide, of at most so many sequences at a time.
    struct Room {
        sequences: usize,
        panics: bool,
        /// Makes traces of later sequences another shape.
        misshapen: bool,
        asked: Mutex<Vec<usize>>,
    }

    impl Lane<()> for Room {
        fn name(&self) -> String {
            "room".to_owned()
        }

        fn run(&self, _: &Network<()>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
            self.asked.lock().unwrap().push(batch.sequences());
            if batch.sequences() > self.sequences {
                assert!(!self.panics, "no room");
                let (lane, device) = (self.name(), "device".to_owned());
                return Err(LaneError::Device { lane, device, message: "out of memory".to_owned() });
            }
            let first = batch.x[[0, 0, 0]] == 0.0;
            let x = if self.misshapen && !first { batch.x.slice(s![.., ..1, ..]).to_owned() } else { batch.x.clone() };
            let cell = CellTrace { h: x.clone(), c: -&x, gates: Some(x.clone()) };
            Ok(Trace { cells: vec![cell.clone(), cell], output: x })
        }
    }

    fn batch() -> Batch {
        let state = State { h: Array2::zeros((5, 3)), c: Array2::zeros((5, 3)) };
        let x = Array3::from_shape_fn((5, 2, 3), |(n, t, d)| (n * 6 + t * 3 + d) as f32);
        Batch { x, lengths: Some(vec![2, 1, 2, 2, 1]), initial: vec![state], record_gates: true }
    }

    fn of(sequences: usize, panics: bool, misshapen: bool) -> (Result<Trace<f32>, LaneError>, Vec<usize>) {
        let lane = Room { sequences, panics, misshapen, asked: Mutex::new(vec![]) };
        let result = run(&lane, &Network::Cell(()), &batch());
        (result, lane.asked.into_inner().unwrap())
    }

    #[test]
    fn a_device_without_room_for_a_batch_runs_its_halves() {
        let (whole, asked) = of(5, false, false);
        assert_eq!(asked, [5]);
        for panics in [false, true] {
            let (halves, asked) = of(2, panics, false);
            assert_eq!(halves, whole);
            assert_eq!(asked, [5, 2, 3, 1, 2]);
        }
    }

    #[test]
    fn one_sequence_that_fails_is_all_that_is_asked_for() {
        let (none, asked) = of(0, false, false);
        assert!(matches!(none, Err(LaneError::Device { .. })));
        assert_eq!(asked, [5, 2, 1]);
        assert!(matches!(of(0, true, false).0, Err(LaneError::Panicked { .. })));
    }

    #[test]
    fn halves_of_different_shapes_are_an_error() {
        assert!(of(5, false, true).0.is_ok());
        assert!(matches!(of(3, false, true).0, Err(LaneError::Shape { .. })));
    }
}
