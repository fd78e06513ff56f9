//! The truth: the equations of [`Tf1Cell`] evaluated in f64 on the CPU.
//!
//! Written from the equations alone, sharing no code with the lanes it judges, and always run from the TF1 weights.

use ndarray::{Array2, Array3, ArrayView2, Axis, Zip, concatenate, s};

use crate::{Activation, Batch, CellTrace, Network, State, Tf1Cell, Trace};

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
    let cells = network.cells().len();
    assert_eq!(batch.initial.len(), cells, "a batch has one initial state per cell");
    let mut walk = Walk { batch, next_cell: 0, traces: Vec::with_capacity(cells), inputs: Vec::with_capacity(cells) };
    let output = walk.network(network, batch.x.mapv(f64::from), false);
    Truth { trace: Trace { cells: walk.traces, output }, inputs: walk.inputs }
}

struct Walk<'a> {
    batch: &'a Batch,
    next_cell: usize,
    traces: Vec<CellTrace<f64>>,
    inputs: Vec<Array3<f64>>,
}

impl Walk<'_> {
    /// Runs one part over `x` `[sequences, timesteps, input]`; inputs and outputs are in the order of the steps,
    /// whichever way the part reads.
    fn network(&mut self, network: &Network<Tf1Cell>, x: Array3<f64>, backward: bool) -> Array3<f64> {
        match network {
            Network::Cell(cell) => {
                let initial = &self.batch.initial[self.next_cell];
                self.next_cell += 1;
                let trace = sequence(cell, &x, initial, self.batch, backward);
                let output = trace.h.clone();
                self.traces.push(trace);
                self.inputs.push(x);
                output
            }
            Network::Stack(parts) => parts.iter().fold(x, |x, part| self.network(part, x, backward)),
            Network::Bidirectional { forward, backward: inner } => {
                let ahead = self.network(forward, x.clone(), backward);
                let back = self.network(inner, x, !backward);
                concatenate(Axis(2), &[ahead.view(), back.view()]).expect("both directions have the same steps")
            }
        }
    }
}

/// One cell over a whole sequence.
fn sequence(cell: &Tf1Cell, x: &Array3<f64>, initial: &State, batch: &Batch, backward: bool) -> CellTrace<f64> {
    let (sequences, timesteps, input) = x.dim();
    assert_eq!(input, cell.input_size(), "the input is as wide as the cell expects");
    let units = cell.units();
    let kernel = cell.kernel.mapv(f64::from);
    let bias = cell.bias.mapv(f64::from);
    let projection = cell.projection.as_ref().map(|p| p.mapv(f64::from));

    // The input's share of every step in one product: exact enough in f64, and far faster than step by step.
    let flat = x.to_shape((sequences * timesteps, input)).expect("a view of the same elements");
    let from_input = (flat.dot(&kernel.slice(s![..input, ..])) + &bias)
        .into_shape_with_order((sequences, timesteps, 4 * units))
        .expect("the same elements by step");
    let recurrent = kernel.slice(s![input.., ..]);

    let mut h = initial.h.mapv(f64::from);
    let mut c = initial.c.mapv(f64::from);
    let mut trace = CellTrace {
        h: Array3::zeros((sequences, timesteps, cell.recurrent_size())),
        c: Array3::zeros((sequences, timesteps, units)),
    };
    for position in 0..timesteps {
        let t = if backward { timesteps - 1 - position } else { position };
        let z = &from_input.index_axis(Axis(1), t) + &h.dot(&recurrent);
        let (next_h, next_c) = step(cell, z.view(), c.view(), projection.as_ref());
        for sequence in 0..sequences {
            // A backward cell meets the padding first, so freezing the state there makes it start at the last valid
            // step, as `reverse_sequence` does.
            if batch.is_valid(sequence, t) {
                h.row_mut(sequence).assign(&next_h.row(sequence));
                c.row_mut(sequence).assign(&next_c.row(sequence));
                trace.h.slice_mut(s![sequence, t, ..]).assign(&next_h.row(sequence));
                trace.c.slice_mut(s![sequence, t, ..]).assign(&next_c.row(sequence));
            }
        }
    }
    trace
}

/// One step from pre-activations `z` `[sequences, 4·units]` (i, j, f, o; without the forget bias) and state `c`.
fn step(
    cell: &Tf1Cell,
    z: ArrayView2<f64>,
    c: ArrayView2<f64>,
    projection: Option<&Array2<f64>>,
) -> (Array2<f64>, Array2<f64>) {
    let units = cell.units();
    let phi = |x: f64| activation(cell.activation, x);
    let peephole = |gate: fn(&crate::Peepholes) -> &ndarray::Array1<f32>, unit: usize| {
        cell.peepholes.as_ref().map_or(0.0, |p| f64::from(gate(p)[unit]))
    };
    let clip = cell.cell_clip.map_or(f64::INFINITY, f64::from);
    let forget_bias = f64::from(cell.forget_bias);

    let mut next_c = Array2::zeros(c.dim());
    let mut m = Array2::zeros(c.dim());
    Zip::indexed(&mut next_c).and(&mut m).and(&c).for_each(|(row, unit), next_c, m, &c| {
        let (i, j, f, o) =
            (z[[row, unit]], z[[row, units + unit]], z[[row, 2 * units + unit]], z[[row, 3 * units + unit]]);
        let keep = sigmoid(f + forget_bias + peephole(|p| &p.forget, unit) * c) * c;
        let add = sigmoid(i + peephole(|p| &p.input, unit) * c) * phi(j);
        // `clamp` would turn NaN into a panic-free NaN as well; min/max would hide it.
        let new = (keep + add).clamp(-clip, clip);
        *next_c = new;
        *m = sigmoid(o + peephole(|p| &p.output, unit) * new) * phi(new);
    });
    let h = match projection {
        None => m,
        Some(projection) => {
            let clip = cell.projection_clip.map_or(f64::INFINITY, f64::from);
            m.dot(projection).mapv_into(|v| v.clamp(-clip, clip))
        }
    };
    (h, next_c)
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
        Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p() + 0.0 * x,
        Activation::Softsign => x / (1.0 + x.abs()),
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
        let batch = Batch { x: array![[[1.0], [-1.0]]], lengths: None, initial: vec![zero_state(1, &cell)] };
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
        let both = Network::Bidirectional {
            forward: Box::new(Network::Cell(cell.clone())),
            backward: Box::new(Network::Cell(cell.clone())),
        };
        let state = zero_state(1, &cell);
        let padded = Batch {
            x: array![[[1.0], [-1.0], [9.0]]],
            lengths: Some(vec![2]),
            initial: vec![state.clone(), state.clone()],
        };
        let short = Batch { x: array![[[1.0], [-1.0]]], lengths: None, initial: vec![state.clone(), state] };
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
        let batch = Batch { x: array![[[1.0, 1.0]]], lengths: None, initial: vec![zero_state(1, &cell)] };
        let trace = run(&Network::Cell(cell), &batch).trace;
        assert_eq!(trace.cells[0].c, array![[[0.25, 0.25]]]);
        assert_abs_diff_eq!(trace.output[[0, 0, 0]], f64::from(0.1f32), epsilon = 1e-12);
    }
}
