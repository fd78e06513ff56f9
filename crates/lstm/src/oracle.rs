//! The truth: the equations of [`Tf1Cell`] evaluated in f64 on the CPU.
//!
//! Written from the equations alone, sharing no code with the lanes it judges, and always run from the TF1 weights. The
//! arithmetic is a parameter ([`Arithmetic`]): exact for the truth, rounded at random to see how far right f32 runs
//! drift apart.

mod elementary;
mod normalise;
mod parts;
mod products;
mod step;

use ndarray::{Array, Array1, Array2, Array3, ArrayViewMut2, Axis, Dimension, concatenate, s};

use crate::{Activation, Batch, CellTrace, ExactWeights, Merge, Network, State, Tf1Cell, Trace};
pub use elementary::{apply, vectorized};
use normalise::normalise;
pub use parts::{map_parts, run_in_parts};
pub use products::{Number, Packed};
use step::Step;

/// What happens to the results of operations, some of a kind at a time.
pub trait Arithmetic {
    /// Whether nothing happens; then [`sums`](Self::sums) is told no squares.
    const EXACT: bool;
    /// Sums of `terms` products each, whose squares add up to `squares`.
    fn sums(&mut self, values: &mut [f64], squares: &[f32], terms: usize);
    /// Single products, sums or stored states.
    fn round(&mut self, values: &mut [f64]);
    /// Values of an activation function.
    fn activate(&mut self, function: Activation, values: &mut [f64]);
}

/// f64 as it is: exact beside f32.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl Arithmetic for Exact {
    const EXACT: bool = true;
    fn sums(&mut self, _: &mut [f64], _: &[f32], _: usize) {}
    fn round(&mut self, _: &mut [f64]) {}
    fn activate(&mut self, _: Activation, _: &mut [f64]) {}
}

/// The true trace of a network, and what each of its cells read.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// What each cell computed.
    pub trace: Trace<f64>,
    /// Input of each cell, `[sequences, timesteps, input]` in the order of the steps, in the order of
    /// [`Network::cells`].
    pub inputs: Vec<Array3<f64>>,
}

/// Runs a network in f64.
///
/// # Panics
/// If the batch does not fit the network: the number of initial states or any width differs.
pub fn run(network: &Network<Tf1Cell>, batch: &Batch) -> Truth {
    run_in_parts(network, batch, &|_| Exact)
}

/// Runs a network in f64 with the result of every operation changed by `arithmetic`.
///
/// # Panics
/// As [`run`].
pub fn run_with<A: Arithmetic>(network: &Network<Tf1Cell>, batch: &Batch, arithmetic: &mut A) -> Truth {
    let cells = network.cells().len();
    assert_eq!(batch.initial.len(), cells, "a batch has one initial state per cell");
    let mut walk =
        Walk { batch, arithmetic, next_cell: 0, traces: Vec::with_capacity(cells), inputs: Vec::with_capacity(cells) };
    let output = walk.network(network, batch.x.mapv(f64::from), false);
    Truth { trace: Trace { cells: walk.traces, output }, inputs: walk.inputs }
}

struct Walk<'a, A> {
    batch: &'a Batch,
    arithmetic: &'a mut A,
    next_cell: usize,
    traces: Vec<CellTrace<f64>>,
    inputs: Vec<Array3<f64>>,
}

impl<A: Arithmetic> Walk<'_, A> {
    fn rounded(&mut self, mut values: Array3<f64>) -> Array3<f64> {
        self.arithmetic.round(whole(&mut values));
        values
    }

    /// Runs one cell over `x` `[sequences, timesteps, input]`; the outputs are in the order of the steps, whichever way it
    /// reads.
    fn cell(&mut self, cell: &Tf1Cell, x: Array3<f64>, backward: bool) -> Array3<f64> {
        let initial = &self.batch.initial[self.next_cell];
        self.next_cell += 1;
        let trace = sequence(cell, &x, initial, self.batch, backward, self.arithmetic);
        let output = trace.h.clone();
        self.traces.push(trace);
        self.inputs.push(x);
        output
    }

    /// Runs one part over `x` `[sequences, timesteps, input]`; inputs and outputs are in the order of the steps, whichever
    /// way the part reads, but for a [`Network::Backward`], which gives its outputs last step first.
    fn network(&mut self, network: &Network<Tf1Cell>, x: Array3<f64>, backward: bool) -> Array3<f64> {
        match network {
            Network::Cell(cell) => self.cell(cell, x, backward),
            Network::Backward(cell) => {
                let mut output = self.cell(cell, x, !backward);
                output.invert_axis(Axis(1));
                output
            }
            Network::Stack(parts) => parts.iter().fold(x, |x, part| self.network(part, x, backward)),
            Network::Bidirectional { forward, backward: inner, merge } => {
                let ahead = self.network(forward, x.clone(), backward);
                let back = self.network(inner, x, !backward);
                match merge {
                    Merge::Concat => {
                        concatenate(Axis(2), &[ahead.view(), back.view()]).expect("both directions have the same steps")
                    }
                    Merge::Sum => self.rounded(ahead + back),
                    Merge::Mul => self.rounded(ahead * back),
                    Merge::Ave => self.rounded((ahead + back) / 2.0),
                }
            }
            Network::Residual(part) => {
                let mut output = self.network(part, x.clone(), backward);
                for ((sequence, t, unit), value) in output.indexed_iter_mut() {
                    // Past a sequence's end `dynamic_rnn` gives zeros, whatever the input is there.
                    if self.batch.is_valid(sequence, t) {
                        *value += x[[sequence, t, unit]];
                    }
                }
                self.rounded(output)
            }
        }
    }
}

/// A cell's weights as they enter the equations: exact, or with what f32 does not hold rounded once.
fn weights<A: Arithmetic>(cell: &Tf1Cell, arithmetic: &mut A) -> ExactWeights {
    let mut weights = cell.weights().into_owned();
    if !A::EXACT && cell.exact.is_some() {
        let ExactWeights { kernel, bias, peepholes, projection, layer_norm } = &mut weights;
        let matrices = projection.iter_mut().chain([kernel]).map(whole);
        let norms = layer_norm.iter_mut().flatten().flatten();
        let vectors = peepholes.iter_mut().flatten().chain(norms).chain([bias]).map(whole);
        matrices.chain(vectors).for_each(|w| arithmetic.round(w));
    }
    weights
}

/// One cell over a whole sequence.
fn sequence<A: Arithmetic>(
    cell: &Tf1Cell,
    x: &Array3<f64>,
    initial: &State,
    batch: &Batch,
    backward: bool,
    arithmetic: &mut A,
) -> CellTrace<f64> {
    let (sequences, timesteps, input) = x.dim();
    assert_eq!(input, cell.input_size(), "the input is as wide as the cell expects");
    let units = cell.units();
    let weights = weights(cell, arithmetic);
    // Squares in f32, which take half the time: they say how large roundings are, to which a millionth is nothing.
    let squared = (!A::EXACT).then(|| Sums::new(&weights, input, square));
    let exact = Sums::new(&weights, input, |w| w);

    let mut h = initial.h.mapv(f64::from);
    let mut c = initial.c.mapv(f64::from);
    let empty = |width: usize| Array3::zeros((sequences, timesteps, width));
    // Of rounded runs only the states are compared.
    let gates = A::EXACT.then(|| empty(4 * units));
    let mut trace = CellTrace { h: empty(cell.recurrent_size()), c: empty(units), gates };
    let mut next = Step::new(sequences, units);
    let steps_at_once = (ROWS_AT_ONCE / sequences.max(1)).max(1);
    for first in (0..timesteps).step_by(steps_at_once) {
        let steps: Vec<usize> = (first..timesteps.min(first + steps_at_once))
            .map(|position| if backward { timesteps - 1 - position } else { position })
            .collect();
        // Step after step, each with a row per sequence.
        let read = steps.iter().flat_map(|t| x.index_axis(Axis(1), *t).into_iter().copied()).collect();
        let read = Array2::from_shape_vec((steps.len() * sequences, input), read).expect("a row for each");
        let mut sums = exact.of_input(&read);
        let mut squares = squared.as_ref().map(|squared| squared.of_input(&read.mapv(square)));
        for (k, t) in steps.into_iter().enumerate() {
            let rows = s![k * sequences..(k + 1) * sequences, ..];
            let mut z = sums.slice_mut(rows);
            exact.add_recurrent(&h, &mut z);
            if let Some((squared, squares)) = squared.as_ref().zip(squares.as_mut()) {
                let mut squares = squares.slice_mut(rows);
                squared.add_recurrent(&h.mapv(square), &mut squares);
                let whole = "whole rows lie in one piece";
                let (z, squares) = (z.as_slice_mut().expect(whole), squares.as_slice().expect(whole));
                arithmetic.sums(z, squares, cell.kernel.nrows() + 2);
            }
            next.take(cell, &weights, &mut z, &c, arithmetic);
            let projected = project(cell, &weights, &next.shown, arithmetic);
            let output = projected.as_ref().unwrap_or(&next.shown);
            for sequence in (0..sequences).filter(|n| batch.is_valid(*n, t)) {
                // A backward cell meets the padding first, so freezing the state there makes it start at the last valid
                // step, as `reverse_sequence` does.
                h.row_mut(sequence).assign(&output.row(sequence));
                c.row_mut(sequence).assign(&next.c.row(sequence));
                trace.h.slice_mut(s![sequence, t, ..]).assign(&output.row(sequence));
                trace.c.slice_mut(s![sequence, t, ..]).assign(&next.c.row(sequence));
                if let Some(gates) = &mut trace.gates {
                    gates.slice_mut(s![sequence, t, ..]).assign(&next.gates.row(sequence));
                }
            }
        }
    }
    trace
}

/// Rows of an input that are multiplied at once: exact enough in f64, far faster than step by step, and few enough for the
/// products to stay in the processor's cache.
const ROWS_AT_ONCE: usize = 512;

/// What makes the sums before the gates: the weights, or their squares.
struct Sums<T> {
    from_input: Packed<T>,
    recurrent: Packed<T>,
    bias: Array1<T>,
}

impl<T: Number> Sums<T> {
    fn new(weights: &ExactWeights, input: usize, of: impl Fn(f64) -> T + Copy) -> Sums<T> {
        let (from_input, recurrent) = weights.kernel.view().split_at(Axis(0), input);
        let bias = weights.bias.iter().copied().map(of).collect();
        Sums { from_input: Packed::new(from_input, of), recurrent: Packed::new(recurrent, of), bias }
    }

    fn of_input(&self, rows: &Array2<T>) -> Array2<T> {
        let mut sums = self.from_input.product(rows.view());
        sums.rows_mut().into_iter().for_each(|mut sums| sums.zip_mut_with(&self.bias, |sum, bias| *sum += *bias));
        sums
    }

    fn add_recurrent(&self, h: &Array2<T>, sums: &mut ArrayViewMut2<'_, T>) {
        self.recurrent.add_product(h.view(), sums.view_mut());
    }
}

fn square(value: f64) -> f32 {
    (value * value) as f32
}

/// All elements of an array that owns them.
fn whole<T, D: Dimension>(values: &mut Array<T, D>) -> &mut [T] {
    values.as_slice_memory_order_mut().expect("an array that owns its elements has them in one piece")
}

/// What a projection makes of the output of the units `[sequences, units]`; `None` for a cell without.
fn project<A: Arithmetic>(
    cell: &Tf1Cell,
    weights: &ExactWeights,
    shown: &Array2<f64>,
    a: &mut A,
) -> Option<Array2<f64>> {
    let projection = weights.projection.as_ref()?;
    let clip = cell.projection_clip.map_or(f64::INFINITY, f64::from);
    let mut projected = shown.dot(projection);
    if !A::EXACT {
        let squared = |a: &Array2<f64>| a.mapv(square);
        a.sums(whole(&mut projected), whole(&mut squared(shown).dot(&squared(projection))), cell.units());
    }
    Some(projected.mapv_into(|v| v.clamp(-clip, clip)))
}

/// Logistic sigmoid, without overflow on either side.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// An activation in f64.
pub fn activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::HardSigmoidKeras2 => (0.2 * x + 0.5).clamp(0.0, 1.0),
        Activation::HardSigmoidKeras3 => (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Elu => {
            if x < 0.0 {
                x.exp_m1()
            } else {
                x
            }
        }
        Activation::Softplus => {
            // `max` would hide a NaN.
            if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
        }
        // At infinity the quotient would be NaN.
        Activation::Softsign => {
            if x.is_infinite() {
                x.signum()
            } else {
                x / (1.0 + x.abs())
            }
        }
        Activation::Linear => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    fn one_unit() -> Tf1Cell {
        let kernel = array![[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]];
        Tf1Cell::new(kernel, Array1::zeros(4)).unwrap()
    }

    fn zero_state(sequences: usize, cell: &Tf1Cell) -> State {
        State { h: Array2::zeros((sequences, cell.recurrent_size())), c: Array2::zeros((sequences, cell.units())) }
    }

    #[test]
    fn one_unit_by_hand() {
        let cell = one_unit();
        let batch = Batch {
            x: array![[[1.0], [-1.0]]],
            lengths: None,
            initial: vec![zero_state(1, &cell)],
            record_gates: false,
        };
        let trace = run(&Network::Cell(cell), &batch).trace;
        // The weights are f32 here and exact decimals in the hand calculation.
        assert_abs_diff_eq!(trace.cells[0].c[[0, 0, 0]], 0.10361793524, epsilon = 1e-8);
        assert_abs_diff_eq!(trace.output[[0, 0, 0]], 0.06181371277, epsilon = 1e-8);
        assert_abs_diff_eq!(trace.cells[0].c[[0, 1, 0]], -0.00773160256, epsilon = 1e-8);
        assert_abs_diff_eq!(trace.output[[0, 1, 0]], -0.00319501560, epsilon = 1e-8);
    }

    #[test]
    fn past_the_end_is_zero_and_backward_starts_at_the_last_valid_step() {
        let cell = one_unit();
        let both = Network::side_by_side(Network::Cell(cell.clone()), Network::Cell(cell.clone()));
        let state = zero_state(1, &cell);
        let padded = Batch {
            x: array![[[1.0], [-1.0], [9.0]]],
            lengths: Some(vec![2]),
            initial: vec![state.clone(), state.clone()],
            record_gates: false,
        };
        let short = Batch {
            x: array![[[1.0], [-1.0]]],
            lengths: None,
            initial: vec![state.clone(), state],
            record_gates: false,
        };
        let (padded, short) = (run(&both, &padded).trace, run(&both, &short).trace);
        assert_eq!(padded.output.slice(s![.., ..2, ..]), short.output);
        assert_eq!(padded.output.slice(s![.., 2, ..]), Array2::<f64>::zeros((1, 2)));
    }

    #[test]
    fn not_a_number_stays_one_through_every_activation() {
        for a in Activation::ALL {
            assert!(activation(a, f64::NAN).is_nan(), "{a:?}");
            assert!(activation(a, 1e300).is_finite() || a == Activation::Softplus, "{a:?}");
        }
        assert_eq!((sigmoid(1e9), sigmoid(-1e9)), (1.0, 0.0));
        assert!(sigmoid(f64::NAN).is_nan());
    }

    #[test]
    fn clips_and_projection_apply_in_order() {
        let mut cell = Tf1Cell::new(Array2::from_elem((3, 8), 2.0), Array1::zeros(8)).unwrap();
        cell.projection = Some(array![[1.0], [1.0]]);
        cell.cell_clip = Some(0.25);
        cell.projection_clip = Some(0.1);
        cell.check().unwrap();
        let batch =
            Batch { x: array![[[1.0, 1.0]]], lengths: None, initial: vec![zero_state(1, &cell)], record_gates: false };
        let trace = run(&Network::Cell(cell), &batch).trace;
        assert_eq!(trace.cells[0].c, array![[[0.25, 0.25]]]);
        assert_abs_diff_eq!(trace.output[[0, 0, 0]], f64::from(0.1f32), epsilon = 1e-12);
    }
}
