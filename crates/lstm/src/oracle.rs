//! The truth: the equations of [`Tf1Cell`] evaluated in f64 on the CPU.
//!
//! Written from the equations alone, sharing no code with the lanes it judges, and always run from the TF1 weights. The
//! arithmetic is a parameter ([`Arithmetic`]): exact for the truth, rounded at random to see how far right f32 runs
//! drift apart.

mod normalise;

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, Array3, ArrayView2, Axis, concatenate, s};

use crate::gate_order::{self, Gate, TF1};
use crate::{Activation, Batch, CellTrace, ExactWeights, Merge, Network, State, Tf1Cell, Trace, join_sequences};
use normalise::normalise;

/// What happens to the result of every operation.
pub trait Arithmetic {
    /// Whether nothing happens; then [`sum`](Self::sum) is told no squares.
    const EXACT: bool;
    /// A sum of `terms` products whose squares add up to `squares`.
    fn sum(&mut self, value: f64, squares: f64, terms: usize) -> f64;
    /// A single product, sum or stored state.
    fn round(&mut self, value: f64) -> f64;
    /// The value of an activation function.
    fn activate(&mut self, function: Activation, value: f64) -> f64;
}

/// f64 as it is: exact beside f32.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl Arithmetic for Exact {
    const EXACT: bool = true;
    fn sum(&mut self, value: f64, _: f64, _: usize) -> f64 {
        value
    }
    fn round(&mut self, value: f64) -> f64 {
        value
    }
    fn activate(&mut self, _: Activation, value: f64) -> f64 {
        value
    }
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

/// Sequences that one thread takes at a time, at least and at most. Few of them keep every thread busy; many of them are
/// worth reading the weights for.
const PART: [usize; 2] = [16, 64];

/// How many sequences one thread takes at a time. The number of threads does not count, so that results do not depend
/// on it: what is drawn at random belongs to a part.
fn sequences_of_a_part(sequences: usize) -> usize {
    (sequences / 4).clamp(PART[0], PART[1])
}

/// [`run_with`] over parts of the batch, spread over the cores. `arithmetic` makes what one part runs with, from the
/// part's number.
///
/// # Panics
/// As [`run`].
pub fn run_in_parts<A: Arithmetic>(
    network: &Network<Tf1Cell>,
    batch: &Batch,
    arithmetic: &(impl Fn(usize) -> A + Sync),
) -> Truth {
    let of_a_part = sequences_of_a_part(batch.sequences());
    let parts = batch.sequences().div_ceil(of_a_part);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts);
    if threads <= 1 && parts <= 1 {
        return run_with(network, batch, &mut arithmetic(0));
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = vec![];
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return done;
            }
            let sequences = part * of_a_part..((part + 1) * of_a_part).min(batch.sequences());
            done.push((part, run_with(network, &batch.select(sequences), &mut arithmetic(part))));
        }
    };
    let mut done: Vec<(usize, Truth)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        done.extend(others.into_iter().flat_map(|t| t.join().expect("the oracle does not panic")));
        done
    });
    done.sort_by_key(|(part, _)| *part);
    let joined = |pick: &dyn Fn(&Truth) -> &Array3<f64>| {
        join_sequences(&done.iter().map(|(_, truth)| pick(truth)).collect::<Vec<_>>())
    };
    let gates = |truth: &Truth, k: usize| truth.trace.cells[k].gates.is_some();
    let cells = (0..network.cells().len())
        .map(|k| CellTrace {
            h: joined(&|t| &t.trace.cells[k].h),
            c: joined(&|t| &t.trace.cells[k].c),
            gates: done
                .iter()
                .all(|(_, t)| gates(t, k))
                .then(|| joined(&|t| t.trace.cells[k].gates.as_ref().unwrap_or(&t.trace.cells[k].h))),
        })
        .collect();
    let inputs = (0..network.cells().len()).map(|k| joined(&|t| &t.inputs[k])).collect();
    Truth { trace: Trace { cells, output: joined(&|t| &t.trace.output) }, inputs }
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
        if !A::EXACT {
            values.mapv_inplace(|v| self.arithmetic.round(v));
        }
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
        let matrices = projection.iter_mut().chain([kernel]).flat_map(|m| m.iter_mut());
        let norms = layer_norm.iter_mut().flatten().flatten();
        let vectors = peepholes.iter_mut().flatten().chain(norms).chain([bias]).flat_map(|v| v.iter_mut());
        matrices.chain(vectors).for_each(|w| *w = arithmetic.round(*w));
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
    let (kernel, bias) = (&weights.kernel, &weights.bias);

    // The input's share of every step in one product: exact enough in f64, and far faster than step by step.
    let flat = x.to_shape((sequences * timesteps, input)).expect("a view of the same elements");
    let by_step =
        |a: Array2<f64>| a.into_shape_with_order((sequences, timesteps, 4 * units)).expect("the same elements by step");
    let from_input = by_step(flat.dot(&kernel.slice(s![..input, ..])) + bias);
    let recurrent = kernel.slice(s![input.., ..]);
    let squares = (!A::EXACT).then(|| {
        let kernel = kernel.mapv(|w| w * w);
        let from_input = flat.mapv(|v| v * v).dot(&kernel.slice(s![..input, ..])) + &bias.mapv(|b| b * b);
        (by_step(from_input), kernel.slice(s![input.., ..]).to_owned())
    });

    let mut h = initial.h.mapv(f64::from);
    let mut c = initial.c.mapv(f64::from);
    let empty = |width: usize| Array3::zeros((sequences, timesteps, width));
    let mut trace = CellTrace { h: empty(cell.recurrent_size()), c: empty(units), gates: Some(empty(4 * units)) };
    for position in 0..timesteps {
        let t = if backward { timesteps - 1 - position } else { position };
        let mut z = &from_input.index_axis(Axis(1), t) + &h.dot(&recurrent);
        if let Some((from_input, recurrent)) = &squares {
            let squares = &from_input.index_axis(Axis(1), t) + &h.mapv(|v| v * v).dot(recurrent);
            z.zip_mut_with(&squares, |z, squares| *z = arithmetic.sum(*z, *squares, cell.kernel.nrows() + 2));
        }
        let next = step(cell, &weights, z, c.view(), arithmetic);
        for sequence in (0..sequences).filter(|n| batch.is_valid(*n, t)) {
            // A backward cell meets the padding first, so freezing the state there makes it start at the last valid
            // step, as `reverse_sequence` does.
            h.row_mut(sequence).assign(&next.h.row(sequence));
            c.row_mut(sequence).assign(&next.c.row(sequence));
            trace.h.slice_mut(s![sequence, t, ..]).assign(&next.h.row(sequence));
            trace.c.slice_mut(s![sequence, t, ..]).assign(&next.c.row(sequence));
            if let Some(gates) = &mut trace.gates {
                gates.slice_mut(s![sequence, t, ..]).assign(&next.gates.row(sequence));
            }
        }
    }
    trace
}

/// The state after one step, and the gates that made it.
struct Step {
    /// `[sequences, recurrent]`.
    h: Array2<f64>,
    /// `[sequences, units]`.
    c: Array2<f64>,
    /// Values after their activations, `[sequences, 4·units]`, blocks i, j, f, o.
    gates: Array2<f64>,
}

impl Step {
    /// Clips the new state of one unit, and makes its output and its output gate.
    fn show<A: Arithmetic>(
        &mut self,
        cell: &Tf1Cell,
        weights: &ExactWeights,
        z: &Array2<f64>,
        [row, unit]: [usize; 2],
        a: &mut A,
    ) {
        let clip = cell.cell_clip.map_or(f64::INFINITY, f64::from);
        // `clamp` hands NaN on, where a chain of min and max would hide it.
        let new = self.c[[row, unit]].clamp(-clip, clip);
        let o = gate_order::position(TF1, Gate::Output) * cell.units() + unit;
        let seen = weights.peepholes.as_ref().map_or(0.0, |p| p[2][unit] * new);
        let rho = cell.recurrent_activation;
        let output = a.activate(rho, activation(rho, z[[row, o]] + seen));
        let shown = a.activate(cell.activation, activation(cell.activation, new));
        self.c[[row, unit]] = new;
        self.h[[row, unit]] = a.round(output * shown);
        self.gates[[row, o]] = output;
    }
}

/// One step from pre-activations `z` `[sequences, 4·units]` (i, j, f, o; without the forget bias) and state `c`.
fn step<A: Arithmetic>(
    cell: &Tf1Cell,
    weights: &ExactWeights,
    mut z: Array2<f64>,
    c: ArrayView2<f64>,
    a: &mut A,
) -> Step {
    let units = cell.units();
    let (phi, rho) = (cell.activation, cell.recurrent_activation);
    let forget_bias = f64::from(cell.forget_bias);
    let column = |gate, unit| gate_order::position(TF1, gate) * units + unit;
    let epsilon = cell.layer_norm.as_ref().map_or(0.0, |n| n.epsilon);
    let norms = weights.layer_norm.as_ref();

    let mut next = Step { h: Array2::zeros(c.dim()), c: Array2::zeros(c.dim()), gates: Array2::zeros(z.dim()) };
    for row in 0..c.nrows() {
        for block in 0..4 {
            if let Some(norms) = norms {
                normalise(z.slice_mut(s![row, block * units..(block + 1) * units]), &norms[block], epsilon, a);
            }
        }
        for unit in 0..units {
            let [i, j, f, _] = TF1.map(|gate| column(gate, unit));
            let old = c[[row, unit]];
            let seen = |which: usize| weights.peepholes.as_ref().map_or(0.0, |p| p[which][unit] * old);
            let before_forget = a.round(z[[row, f]] + forget_bias);
            let forget = a.activate(rho, activation(rho, before_forget + seen(1)));
            let input = a.activate(rho, activation(rho, z[[row, i]] + seen(0)));
            let candidate = a.activate(phi, activation(phi, z[[row, j]]));
            let (keep, add) = (a.round(forget * old), a.round(input * candidate));
            next.c[[row, unit]] = a.round(keep + add);
            for (column, value) in [(i, input), (j, candidate), (f, forget)] {
                next.gates[[row, column]] = value;
            }
            if norms.is_none() {
                next.show(cell, weights, &z, [row, unit], a);
            }
        }
        // The state is normalised over all units, and only then clipped and shown.
        if let Some(norms) = norms {
            normalise(next.c.row_mut(row), &norms[4], epsilon, a);
            (0..units).for_each(|unit| next.show(cell, weights, &z, [row, unit], a));
        }
    }
    if let Some(projection) = &weights.projection {
        let clip = cell.projection_clip.map_or(f64::INFINITY, f64::from);
        let mut projected = next.h.dot(projection);
        if !A::EXACT {
            let squares = next.h.mapv(|v| v * v).dot(&projection.mapv(|w| w * w));
            projected.zip_mut_with(&squares, |v, squares| *v = a.sum(*v, *squares, units));
        }
        next.h = projected.mapv_into(|v| v.clamp(-clip, clip));
    }
    next
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
    use ndarray::{Array1, array};

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
    fn parts_of_a_batch_give_what_the_batch_gives() {
        let cell =
            Tf1Cell::new(Array2::from_shape_fn((5, 8), |(r, c)| (r * 8 + c) as f32 / 40.0 - 0.5), Array1::ones(8))
                .unwrap();
        let network = Network::Cell(cell);
        // The smallest parts, parts in between, and the largest; each with one that is not full.
        for n in [2 * PART[0] + 3, 4 * 2 * PART[0] + 5, 4 * PART[1] + 3] {
            let batch = Batch {
                x: Array3::from_shape_fn((n, 4, 3), |(n, t, d)| ((n * 12 + t * 3 + d) % 7) as f32 - 3.0),
                lengths: Some((0..n).map(|n| 1 + n % 4).collect()),
                initial: vec![State {
                    h: Array2::zeros((n, 2)),
                    c: Array2::from_shape_fn((n, 2), |(n, u)| (n + u) as f32 / 9.0),
                }],
                record_gates: true,
            };
            let whole = run_with(&network, &batch, &mut Exact);
            assert_eq!(run(&network, &batch), whole);
        }
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
