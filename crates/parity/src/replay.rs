//! One element of a comparison, looked at again: what the oracle and both lanes give there.

use lstm::gate_order::{self, TF1};
use lstm::{Batch, CellTrace, KerasCell, Network, Tf1Cell, oracle};
use ndarray::{Array1, Array3};

use crate::bound::ActivationBudget;
use crate::carried;
use crate::divergence::Quantity;
use crate::local::Points;
use crate::projected::keras_batch;
use crate::verify::Lanes;

/// An element of the trace of the first sequence of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The cell, in the order of [`Network::cells`].
    pub cell: usize,
    /// The step.
    pub t: usize,
    /// The unit; of h, the output.
    pub unit: usize,
    /// What of it.
    pub quantity: Quantity,
}

/// The values at an element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values {
    /// The truth.
    pub oracle: f64,
    /// What the TF1 lane gives.
    pub tf1: f64,
    /// What the Keras lane gives for the candidate.
    pub keras: f64,
}

/// What a cell reads at one step of one sequence, from the oracle's state.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// `[input]`.
    pub x: Array1<f32>,
    /// Output of the step before, `[recurrent]`.
    pub h: Array1<f32>,
    /// Cell state of the step before, `[units]`.
    pub c: Array1<f32>,
}

/// What the cell with this index reads at step `t` of the first sequence of `batch`; `None` past its end.
pub fn step(network: &Network<Tf1Cell>, batch: &Batch, cell: usize, t: usize) -> Option<Step> {
    let (place, _) = *network.placed_cells().get(cell)?;
    let first = batch.select(0..1);
    let points = Points::new(cell, place, &oracle::run(network, &first), &first);
    let row = points.rows.iter().position(|at| *at == (0, t))?;
    Some(Step { x: points.x.row(row).to_owned(), h: points.h.row(row).to_owned(), c: points.c.row(row).to_owned() })
}

/// Runs the oracle and both lanes over `batch`, which must ask for gates, and gives what they compute at an element.
///
/// # Errors
/// If a lane fails or gives something misshapen, or there is no such element.
pub fn values(
    truth: &Network<Tf1Cell>,
    candidate: &Network<KerasCell>,
    lanes: Lanes<'_>,
    batch: &Batch,
    at: Element,
) -> Result<Values, String> {
    let tf1 = carried::check_trace(lanes.tf1.run(truth, batch), truth, batch)?;
    let for_keras = keras_batch(candidate, batch)?;
    let keras = carried::check_trace(lanes.keras.run(candidate, &for_keras), truth, batch)?;
    let exact = oracle::run(truth, batch).trace;
    let missing = || "there is no such element".to_owned();
    Ok(Values {
        oracle: exact.cells.get(at.cell).and_then(|trace| value(trace, at)).ok_or_else(missing)?,
        tf1: tf1.cells.get(at.cell).and_then(|trace| value(trace, at)).ok_or_else(missing)?.into(),
        keras: keras.cells.get(at.cell).and_then(|trace| value(trace, at)).ok_or_else(missing)?.into(),
    })
}

fn value<T: Copy>(trace: &CellTrace<T>, at: Element) -> Option<T> {
    let of = |values: &Array3<T>, column: usize| values.get((0, at.t, column)).copied();
    match at.quantity {
        Quantity::Hidden => of(&trace.h, at.unit),
        Quantity::Cell => of(&trace.c, at.unit),
        Quantity::Gate(gate) => {
            let units = trace.c.dim().2;
            let gates = trace.gates.as_ref().filter(|_| at.unit < units)?;
            of(gates, gate_order::position(TF1, gate) * units + at.unit)
        }
    }
}

/// The rounding bound of an element of one cell after one step, from the state that `batch` starts with. `None` if there
/// is no such element, or the batch has more than one step.
pub fn bound(cell: &Tf1Cell, batch: &Batch, at: Element, budget: &ActivationBudget) -> Option<f64> {
    let ([start], 1) = (&batch.initial[..], batch.timesteps()) else { return None };
    let x = batch.x.index_axis(ndarray::Axis(1), 0);
    let truth = crate::bound::local(cell, x, start.h.view(), start.c.view(), budget);
    let units = cell.units();
    match at.quantity {
        Quantity::Hidden => truth.h.bound.get((0, at.unit)).copied(),
        Quantity::Cell => truth.c.bound.get((0, at.unit)).copied(),
        Quantity::Gate(_) if at.unit >= units => None,
        Quantity::Gate(gate) => truth.gates.bound.get((0, gate_order::position(TF1, gate) * units + at.unit)).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{InputSpec, draw};
    use lstm::gate_order::Gate;
    use lstm::{State, one_unit};
    use ndarray::{Array2, Axis};

    fn network() -> Network<Tf1Cell> {
        let cell = |rows: usize, seed: f32| {
            let kernel = Array2::from_shape_fn((rows, 12), |(r, c)| ((r * 12 + c) as f32 * seed).sin());
            Network::Cell(Tf1Cell::new(kernel, Array1::from_elem(12, 0.1)).unwrap())
        };
        Network::Stack(vec![Network::side_by_side(cell(5, 0.31), cell(5, 0.47)), cell(9, 0.53)])
    }

    /// One step of one unit from the state a cell meets gives what the whole network gives there: forwards, backwards, in
    /// the second layer, at the start and in the middle.
    #[test]
    fn a_step_from_the_state_a_cell_meets_is_the_step_it_takes() {
        let network = network();
        let batch = draw(InputSpec { sequences: 4, timesteps: 6, seed: 3 }, &network);
        for sequence in [1, 3] {
            let one = batch.select(sequence..sequence + 1);
            let whole = oracle::run(&network, &one).trace;
            let length = one.lengths.as_ref().unwrap()[0];
            for (index, cell) in network.cells().into_iter().enumerate() {
                for t in 0..length {
                    let Step { x, h, c } = step(&network, &one, index, t).unwrap();
                    for unit in 0..3 {
                        let small = one_unit::of_tf1(cell, unit).unwrap();
                        let (x, own) = one_unit::reads(x.view(), h.view(), unit).unwrap();
                        let batch = Batch {
                            x: x.insert_axis(Axis(0)).insert_axis(Axis(0)),
                            lengths: None,
                            initial: vec![State {
                                h: Array2::from_elem((1, 1), own),
                                c: Array2::from_elem((1, 1), c[unit]),
                            }],
                            record_gates: true,
                        };
                        let alone = oracle::run(&Network::Cell(small.clone()), &batch).trace.cells.remove(0);
                        let trace = &whole.cells[index];
                        // States were rounded to f32 on the way.
                        assert!((alone.h[[0, 0, 0]] - trace.h[[0, t, unit]]).abs() < 1e-6);
                        assert!((alone.c[[0, 0, 0]] - trace.c[[0, t, unit]]).abs() < 1e-5);
                        let at = |quantity| Element { cell: 0, t: 0, unit: 0, quantity };
                        let budget = ActivationBudget::new(|_| 1.0);
                        for quantity in Quantity::ALL {
                            let bound = bound(&small, &batch, at(quantity), &budget).unwrap();
                            assert!(bound > 0.0 && bound < 1e-3, "{bound}");
                        }
                    }
                }
                assert_eq!(step(&network, &one, index, length), None, "past the end");
            }
        }
        assert_eq!(step(&network, &batch, 3, 0), None, "no such cell");
    }

    #[test]
    fn the_bound_is_that_of_the_very_element() {
        let kernel = Array2::from_shape_fn((5, 12), |(r, c)| ((r * 12 + c) as f32 * 0.31).sin());
        let cell = Tf1Cell::new(kernel, Array1::from_elem(12, 0.1)).unwrap();
        let network = Network::Cell(cell.clone());
        let batch = draw(InputSpec { sequences: 1, timesteps: 1, seed: 0 }, &network);
        let budget = ActivationBudget::new(|_| 1.0);
        let start = &batch.initial[0];
        let truth = crate::bound::local(&cell, batch.x.index_axis(Axis(1), 0), start.h.view(), start.c.view(), &budget);
        let of = |quantity, unit| bound(&cell, &batch, Element { cell: 0, t: 0, unit, quantity }, &budget);
        for unit in 0..3 {
            assert_eq!(of(Quantity::Hidden, unit), Some(truth.h.bound[[0, unit]]));
            assert_eq!(of(Quantity::Cell, unit), Some(truth.c.bound[[0, unit]]));
            // TensorFlow's columns are i, j, f, o.
            for (k, gate) in [Gate::Input, Gate::Candidate, Gate::Forget, Gate::Output].into_iter().enumerate() {
                assert_eq!(of(Quantity::Gate(gate), unit), Some(truth.gates.bound[[0, 3 * k + unit]]), "{gate:?}");
            }
        }
        assert!(Quantity::ALL.into_iter().all(|quantity| of(quantity, 3).is_none()), "not the next gate's");
    }

    #[test]
    fn elements_that_are_not_there_have_no_value() {
        let trace = CellTrace {
            h: Array3::from_elem((1, 2, 3), 1.0),
            c: Array3::from_elem((1, 2, 3), 2.0),
            gates: Some(Array3::from_shape_fn((1, 2, 12), |(_, _, k)| k as f64)),
        };
        let of = |quantity, t, unit| value(&trace, Element { cell: 0, t, unit, quantity });
        assert_eq!((of(Quantity::Hidden, 1, 2), of(Quantity::Cell, 0, 0)), (Some(1.0), Some(2.0)));
        assert_eq!(of(Quantity::Gate(Gate::Forget), 1, 1), Some(7.0));
        assert_eq!((of(Quantity::Hidden, 2, 0), of(Quantity::Cell, 0, 3)), (None, None));
        assert_eq!(of(Quantity::Gate(Gate::Input), 0, 3), None, "not the next gate's");
        assert_eq!(
            value(
                &CellTrace { gates: None, ..trace },
                Element { cell: 0, t: 0, unit: 0, quantity: Quantity::Gate(Gate::Input) }
            ),
            None
        );
    }
}
