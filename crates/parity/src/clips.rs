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

#[cfg(test)]
mod tests {
    use super::*;
    use lstm::State;
    use ndarray::{Array1, Array2, Array3, array};

    /// One unit whose state grows by one a step, nearly: its input and forget gates are open, its candidate is 1.
    fn counter() -> Tf1Cell {
        let bias = Array1::from(vec![40.0, 20.0, 40.0, 40.0]);
        Tf1Cell::new(Array2::zeros((2, 4)), bias).unwrap()
    }

    fn used(cells: Vec<Tf1Cell>, start: f32) -> Vec<Vec<ClipUse>> {
        let initial = cells.iter().map(|_| State { h: Array2::zeros((2, 1)), c: Array2::from_elem((2, 1), start) });
        let batch = Batch {
            initial: initial.collect(),
            x: Array3::zeros((2, 5, 1)),
            lengths: Some(vec![3, 2]),
            record_gates: true,
        };
        let network = Network::Stack(cells.into_iter().map(Network::Cell).collect());
        of(&network, &batch, &oracle::run(&network, &batch))
    }

    #[test]
    fn a_clip_is_reached_where_a_value_lies_at_it() {
        let clipped = |limit: f32| Tf1Cell { cell_clip: Some(limit), ..counter() };
        let found = used(vec![counter(), clipped(3.5), clipped(2.5)], 0.0);
        assert!(found[0].is_empty());
        for (found, limit, reached) in [(&found[1], 3.5, false), (&found[2], 2.5, true)] {
            let [found] = found[..] else { panic!("{found:?}") };
            assert_eq!((found.what, found.limit, found.reached), (Clipped::State, limit, reached));
            // Steps past the end, at which the state would be 4 and 5, do not count.
            assert!((found.largest - 3.0).abs() < 1e-6, "{}", found.largest);
        }
        assert!(used(vec![counter(), counter()], 0.0).iter().all(Vec::is_empty));
        // A state of exactly −2 is at the limit.
        let still = Tf1Cell { bias: Array1::from(vec![-900.0, 0.0, 900.0, 0.0]), ..clipped(2.0) };
        assert!(used(vec![still.clone()], -2.0)[0][0].reached);
        assert!(!used(vec![still], -1.75)[0][0].reached);
        let nan = Tf1Cell { bias: Array1::from(vec![f32::NAN; 4]), ..clipped(2.0) };
        assert!(used(vec![nan], 0.0)[0][0].reached, "what is not a number may have been clipped");
    }

    #[test]
    fn both_clips_of_a_projected_cell_are_told() {
        let cell = Tf1Cell { projection: Some(array![[-2.0]]), cell_clip: Some(5.0), ..counter() };
        let cell = Tf1Cell { projection_clip: Some(1.5), ..cell };
        let found = used(vec![cell], 0.0).remove(0);
        assert_eq!(
            found.iter().map(|c| (c.what, c.reached)).collect::<Vec<_>>(),
            [(Clipped::State, false), (Clipped::Output, true)]
        );
        assert!((found[1].largest - 2.0 * 3f64.tanh()).abs() < 1e-6);
        assert_eq!(
            found[0].note(),
            "the cell clips its cell state to ±5, which a Keras LSTM does not; on these inputs it never exceeds 3.000, so \
             the comparison holds for inputs like these only"
        );
        assert_eq!(
            found[1].note(),
            "the cell clips its projected output to ±1.5, and on these inputs it reaches 1.990 without"
        );
    }
}
