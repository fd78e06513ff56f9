//! Cells whose projection is inside the recurrence on one side and after it on the other.
//!
//! The TF1 cell feeds back m = h·P, the Keras layer h itself, and a dense layer makes m from it. Both show m, so outputs,
//! states and gates compare as they are. What differs is where a run starts: any h gives an m, but an m that is not zero
//! has no h of its own. So a free run of such a cell starts from m = 0 and h = 0, and one-step runs start from the h that
//! the oracle's units gave, of which each side's truth makes its own m.

use std::borrow::Cow;

use lstm::{Batch, KerasCell, Network, Place, State, Tf1Cell, oracle};
use ndarray::Array2;

use crate::local::{Points, step_before};

/// The batch as the Keras form of a network reads it: cells that a dense layer follows start from h = 0, `units` wide.
///
/// # Errors
/// If such a cell's state is to start from an output that is not zero.
pub fn keras_batch<'a>(network: &Network<KerasCell>, batch: &'a Batch) -> Result<Cow<'a, Batch>, String> {
    let mut changed = Cow::Borrowed(batch);
    for (index, cell) in network.cells().into_iter().enumerate() {
        let Some(state) = batch.initial.get(index).filter(|_| cell.output_projection.is_some()) else { continue };
        if state.h.iter().any(|v| *v != 0.0) {
            return Err(format!(
                "cell {index} is to start from a projected output that is not zero, and no state of the units gives it"
            ));
        }
        let h = Array2::zeros((state.h.nrows(), cell.units()));
        changed.to_mut().initial[index] = State { h, c: state.c.clone() };
    }
    Ok(changed)
}

/// The same points for the form that feeds back h `[rows, units]`: o·φ(c) of the step before, zero at the start.
pub(crate) fn points(
    points: &Points,
    index: usize,
    cell: &Tf1Cell,
    place: Place,
    truth: &oracle::Truth,
    batch: &Batch,
) -> Points {
    let trace = &truth.trace.cells[index];
    let units = cell.units();
    let h = Array2::from_shape_fn((points.rows.len(), units), |(row, unit)| {
        let (sequence, t) = points.rows[row];
        let Some(before) = step_before(place.direction, batch, sequence, t) else { return 0.0 };
        let output = trace.gates.as_ref().map_or(f64::NAN, |gates| gates[[sequence, before, 3 * units + unit]]);
        (output * oracle::activation(cell.activation, trace.c[[sequence, before, unit]])) as f32
    });
    Points { h, ..points.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lstm::{Direction, convert};
    use ndarray::{Array1, Array3, array};

    fn cell() -> Tf1Cell {
        let mut cell = Tf1Cell::new(Array2::zeros((9, 8)), Array1::zeros(8)).unwrap();
        cell.kernel = Array2::from_shape_fn((4, 8), |(r, c)| (r * 8 + c) as f32 / 24.0 - 0.6);
        cell.projection = Some(array![[0.5, -1.0, 0.25], [2.0, 0.75, -0.5]]);
        cell.check().unwrap();
        cell
    }

    fn batch(h: f32) -> Batch {
        Batch {
            x: Array3::from_shape_fn((2, 3, 1), |(n, t, _)| (n * 3 + t) as f32 / 4.0),
            lengths: Some(vec![3, 2]),
            initial: vec![State { h: Array2::from_elem((2, 3), h), c: Array2::from_elem((2, 2), 0.5) }],
            record_gates: true,
        }
    }

    #[test]
    fn only_a_start_from_zero_can_be_expressed() {
        let keras = Network::Cell(convert::to_keras(&cell()).unwrap());
        let zero = batch(0.0);
        let started = keras_batch(&keras, &zero).unwrap();
        assert_eq!((started.initial[0].h.dim(), &started.initial[0].c), ((2, 2), &zero.initial[0].c));
        assert!(
            keras_batch(&keras, &batch(0.1)).unwrap_err().starts_with("cell 0 is to start from a projected output")
        );
        let Network::Cell(mut plain) = keras else { unreachable!() };
        plain.output_projection = None;
        assert!(matches!(keras_batch(&Network::Cell(plain), &batch(0.1)), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn projected_the_points_are_those_of_the_cell() {
        let (cell, batch) = (cell(), batch(0.0));
        for direction in [Direction::Forward, Direction::Backward] {
            let one = Network::Cell(cell.clone());
            let network = Network::side_by_side(one.clone(), one);
            let batch = Batch { initial: vec![batch.initial[0].clone(); 2], ..batch.clone() };
            let truth = oracle::run(&network, &batch);
            let (index, place) = (usize::from(direction == Direction::Backward), Place { layer: 0, direction });
            let of_tf1 = Points::new(index, place, &truth, &batch);
            let of_keras = points(&of_tf1, index, &cell, place, &truth, &batch);
            assert_eq!((&of_keras.rows, &of_keras.x, &of_keras.c), (&of_tf1.rows, &of_tf1.x, &of_tf1.c));
            let projected = of_keras.h.dot(cell.projection.as_ref().unwrap());
            assert!((&projected - &of_tf1.h).iter().all(|d| d.abs() < 1e-6), "{direction}");
            assert!(of_tf1.h.iter().filter(|v| **v != 0.0).count() > 6, "{direction}");
        }
    }
}
