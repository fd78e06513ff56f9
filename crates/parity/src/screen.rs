//! Both lanes over many sequences, a chunk at a time, with nothing kept but how far apart they are.

use std::ops::Range;

use lstm::{Batch, KerasCell, Network, Tf1Cell};

use crate::apart::{self, StepApart};
use crate::inputs::{self, InputSpec};
use crate::lane::LaneError;
use crate::projected::keras_batch;
use crate::verify::Lanes;

/// Runs both lanes over sequences that are drawn for it, and reduces how far apart they are.
pub trait Screen {
    /// Bytes that one sequence takes while it is screened, at most.
    fn bytes_per_sequence(&self, truth: &Network<Tf1Cell>, candidate: &Network<KerasCell>, spec: InputSpec) -> u64;

    /// `[cells][timesteps]`: how far the lanes are apart over these sequences of the run.
    ///
    /// # Errors
    /// If a lane fails, or gives something missing or misshapen.
    fn screen(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: &Network<KerasCell>,
        spec: InputSpec,
        sequences: Range<usize>,
    ) -> Result<Vec<Vec<StepApart>>, LaneError>;
}

/// Draws, and compares what the lanes give, in main memory.
pub struct HostScreen<'a> {
    /// The lanes.
    pub lanes: Lanes<'a>,
}

impl Screen for HostScreen<'_> {
    fn bytes_per_sequence(&self, truth: &Network<Tf1Cell>, _: &Network<KerasCell>, spec: InputSpec) -> u64 {
        let cells = truth.cells();
        let input = cells.first().map_or(0, |c| c.input_size()) as u64;
        // h and c of both lanes, once on the device and once beside it, and what a lane of tensor operations holds besides:
        // the input's share of the gates, and every step before they are joined.
        let of_cell = |cell: &&Tf1Cell| 4 * (cell.recurrent_size() + cell.units()) as u64 + 10 * cell.units() as u64;
        let per_step = 5 * input + cells.iter().map(of_cell).sum::<u64>();
        per_step.saturating_mul(4 * spec.timesteps as u64)
    }

    fn screen(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: &Network<KerasCell>,
        spec: InputSpec,
        sequences: Range<usize>,
    ) -> Result<Vec<Vec<StepApart>>, LaneError> {
        let first = sequences.start;
        let drawn = inputs::draw_some(spec, &sequences.collect::<Vec<_>>(), truth);
        let batch = Batch { record_gates: false, ..drawn };
        let tf1 = self.lanes.tf1.run(truth, &batch)?;
        let misfit = |message: String| LaneError::Device {
            lane: self.lanes.keras.name(),
            device: "the lanes compared".to_owned(),
            message,
        };
        let keras = self.lanes.keras.run(candidate, &*keras_batch(candidate, &batch).map_err(misfit)?)?;
        let cells = truth.cells().len();
        if tf1.cells.len() != cells || keras.cells.len() != cells {
            let found = vec![tf1.cells.len(), keras.cells.len()];
            return Err(LaneError::Shape { what: "cells in the output".to_owned(), expected: vec![cells; 2], found });
        }
        let pairs = tf1.cells.iter().zip(&keras.cells);
        pairs
            .map(|(tf1, keras)| {
                apart::reduce(tf1, keras, &batch, first).ok_or_else(|| LaneError::Shape {
                    what: "h of the two lanes [sequences, timesteps, units]".to_owned(),
                    expected: tf1.h.shape().to_vec(),
                    found: keras.h.shape().to_vec(),
                })
            })
            .collect()
    }
}
