//! Where in one sequence the lanes differ: the picture behind the numbers.

use lstm::{Batch, CellTrace};
use ndarray::{Array2, s};

/// |Δh| between the freely running lanes in the sequence where they are furthest apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// The sequence.
    pub sequence: usize,
    /// `[width of h, timesteps]`; `None` past the sequence's end.
    pub apart: Array2<Option<f64>>,
}

impl Heat {
    /// Of two traces of the right shape; `None` if they have no valid step.
    pub(crate) fn new(tf1: &CellTrace<f32>, keras: &CellTrace<f32>, batch: &Batch) -> Option<Heat> {
        let furthest = |n: usize| {
            let steps = (0..batch.timesteps()).filter(|t| batch.is_valid(n, *t));
            let apart = steps.flat_map(|t| {
                let (a, b) = (tf1.h.slice(s![n, t, ..]), keras.h.slice(s![n, t, ..]));
                // What is not a number is as far as can be.
                a.iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).abs())
                    .map(|d| if d.is_nan() { f32::INFINITY } else { d })
                    .collect::<Vec<_>>()
            });
            apart.reduce(f32::max)
        };
        let of_each = (0..batch.sequences()).filter_map(|n| Some((n, furthest(n)?)));
        let (sequence, _) = of_each.reduce(|a, b| if b.1 > a.1 { b } else { a })?;
        let (_, timesteps, width) = tf1.h.dim();
        let apart = Array2::from_shape_fn((width, timesteps), |(unit, t)| {
            let valid = batch.is_valid(sequence, t);
            valid.then(|| f64::from((tf1.h[[sequence, t, unit]] - keras.h[[sequence, t, unit]]).abs()))
        });
        Some(Heat { sequence, apart })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lstm::State;
    use ndarray::Array3;

    #[test]
    fn the_sequence_furthest_apart_is_shown_up_to_its_end() {
        let trace = |values: Array3<f32>| CellTrace { c: values.clone(), h: values, gates: None };
        let state = State { h: Array2::zeros((3, 2)), c: Array2::zeros((3, 2)) };
        let batch = Batch {
            x: Array3::zeros((3, 4, 1)),
            lengths: Some(vec![4, 3, 2]),
            initial: vec![state],
            record_gates: false,
        };
        let zero = trace(Array3::zeros((3, 4, 2)));
        let mut other = Array3::zeros((3, 4, 2));
        other[[0, 1, 0]] = 0.5;
        other[[1, 2, 1]] = -0.75;
        // Past its end, so that it does not count.
        other[[2, 3, 0]] = 9.0;
        let heat = Heat::new(&zero, &trace(other.clone()), &batch).unwrap();
        assert_eq!((heat.sequence, heat.apart[[1, 2]], heat.apart[[0, 2]]), (1, Some(0.75), Some(0.0)));
        assert_eq!(heat.apart[[0, 3]], None);
        other[[0, 0, 1]] = f32::NAN;
        assert_eq!(Heat::new(&zero, &trace(other), &batch).unwrap().sequence, 0);
        let none = Batch { lengths: Some(vec![0; 3]), ..batch };
        assert_eq!(Heat::new(&zero, &zero, &none), None);
    }
}
