//! Whether a clip that Keras lacks is ever reached.

use lstm::{Batch, Network, Tf1Cell, convert, oracle};

/// What is clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clipped {
    /// The cell state.
    State,
    /// The projected output.
    Output,
}

impl Clipped {
    /// `cell state` or `projected output`.
    pub fn as_str(self) -> &'static str {
        match self {
            Clipped::State => "cell state",
            Clipped::Output => "projected output",
        }
    }
}

/// How near the values that a cell clips come to the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipUse {
    /// What is clipped.
    pub what: Clipped,
    /// To ± this.
    pub limit: f32,
    /// The largest magnitude over all valid steps where nothing in the network is clipped.
    pub largest: f64,
    /// Whether the clip does anything: whether, with it, a value lies at the limit. True where a value is not a number.
    pub reached: bool,
}

impl ClipUse {
    /// What follows for a Keras layer, which does not clip, as a sentence without its full stop.
    pub fn note(&self) -> String {
        let (what, limit) = (self.what.as_str(), self.limit);
        if self.reached {
            format!("the cell clips its {what} to ±{limit}, and on these inputs it reaches {:.3} without", self.largest)
        } else {
            format!(
                "the cell clips its {what} to ±{limit}, which a Keras LSTM does not; on these inputs it never exceeds {:.3}, \
                 so the comparison holds for inputs like these only",
                self.largest
            )
        }
    }
}

/// For each cell the clips it has, and whether the truth reaches them.
pub(crate) fn of(network: &Network<Tf1Cell>, batch: &Batch, truth: &oracle::Truth) -> Vec<Vec<ClipUse>> {
    let cells = network.cells();
    if cells.iter().all(|c| c.cell_clip.is_none() && c.projection_clip.is_none()) {
        return vec![vec![]; cells.len()];
    }
    let free = network.try_map(&mut |cell| Ok::<_, std::convert::Infallible>(convert::unclipped(cell)));
    let free = match free {
        Ok(free) => oracle::run(&free, batch),
        Err(never) => match never {},
    };
    cells
        .into_iter()
        .zip(truth.trace.cells.iter().zip(&free.trace.cells))
        .map(|(cell, (clipped, free))| {
            let of = |what, limit: Option<f32>, clipped: &ndarray::Array3<f64>, free: &ndarray::Array3<f64>| {
                // Past a sequence's end values are zero; NaN counts as reached.
                limit.map(|limit| ClipUse {
                    what,
                    limit,
                    largest: free.iter().fold(0.0, |m: f64, v| m.max(v.abs())),
                    reached: !clipped.iter().all(|v| v.abs() < f64::from(limit)),
                })
            };
            let state = of(Clipped::State, cell.cell_clip, &clipped.c, &free.c);
            let output = of(Clipped::Output, cell.projection_clip, &clipped.h, &free.h);
            state.into_iter().chain(output).collect()
        })
        .collect()
}
