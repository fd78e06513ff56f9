//! What goes into a network, and what comes out of it at every step.

use std::ops::Range;

use ndarray::{Array2, Array3, Axis, s};

/// State of one cell for a batch of sequences.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Output fed back, `[sequences, recurrent]`: `units` wide, or `projected` for a TF1 cell with a projection.
    pub h: Array2<f32>,
    /// Cell state, `[sequences, units]`.
    pub c: Array2<f32>,
}

/// A batch of input sequences with the state each cell starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[sequences, timesteps, input]`.
    pub x: Array3<f32>,
    /// Valid steps of each sequence, at most `timesteps`; `None` when all are valid. Steps past the end give zeros and
    /// leave the state as it was, as `dynamic_rnn`'s `sequence_length` does; a backward cell starts at the last valid
    /// step.
    pub lengths: Option<Vec<usize>>,
    /// One state per cell, in the order of [`Network::cells`](crate::Network::cells).
    pub initial: Vec<State>,
    /// Whether lanes must return the gates too.
    pub record_gates: bool,
}

impl Batch {
    /// Sequences in the batch.
    pub fn sequences(&self) -> usize {
        self.x.dim().0
    }

    /// Steps of the longest sequence.
    pub fn timesteps(&self) -> usize {
        self.x.dim().1
    }

    /// Some of the sequences, as a batch of their own.
    pub fn select(&self, sequences: Range<usize>) -> Batch {
        let rows = |a: &Array2<f32>| a.slice(s![sequences.clone(), ..]).to_owned();
        Batch {
            x: self.x.slice(s![sequences.clone(), .., ..]).to_owned(),
            lengths: self.lengths.as_ref().map(|lengths| lengths[sequences.clone()].to_vec()),
            initial: self.initial.iter().map(|state| State { h: rows(&state.h), c: rows(&state.c) }).collect(),
            record_gates: self.record_gates,
        }
    }

    /// Whether `step` of `sequence` lies before that sequence's end.
    pub fn is_valid(&self, sequence: usize, step: usize) -> bool {
        self.lengths.as_ref().is_none_or(|lengths| step < lengths[sequence])
    }
}

/// What one cell computed, at each step of the input whatever direction the cell reads in. Zero past a sequence's end.
#[derive(Clone, Debug, PartialEq)]
pub struct CellTrace<T> {
    /// Output, `[sequences, timesteps, recurrent]`: what the next layer reads, so after a projection, whether that is
    /// inside the recurrence (TF1) or follows it (Keras).
    pub h: Array3<T>,
    /// Cell state, `[sequences, timesteps, units]`.
    pub c: Array3<T>,
    /// Gates after their activations, `[sequences, timesteps, 4·units]`, in blocks i, j, f, o
    /// ([`gate_order::TF1`](crate::gate_order::TF1)) whatever order the lane itself uses. `None` where the lane was not
    /// asked for them ([`Batch::record_gates`]).
    pub gates: Option<Array3<T>>,
}

/// What a whole network computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace<T> {
    /// One trace per cell, in the order of [`Network::cells`](crate::Network::cells).
    pub cells: Vec<CellTrace<T>>,
    /// The network's output, `[sequences, timesteps, output]`.
    pub output: Array3<T>,
}

/// Puts arrays `[sequences, …, …]` of consecutive parts of a batch back together, each by a thread of its own: most of the
/// time goes into new memory.
///
/// # Panics
/// If the parts have different steps or widths, or there is none.
pub fn join_sequences<T: Clone + Default + Send + Sync>(parts: &[&Array3<T>]) -> Array3<T> {
    let (_, timesteps, width) = parts.first().expect("there is a part").dim();
    let sequences = parts.iter().map(|part| part.dim().0).sum();
    let mut joined = Array3::default((sequences, timesteps, width));
    std::thread::scope(|scope| {
        let mut rest = joined.view_mut();
        for part in parts {
            let (mut place, others) = rest.split_at(Axis(0), part.dim().0);
            rest = others;
            scope.spawn(move || place.assign(part));
        }
    });
    joined
}
