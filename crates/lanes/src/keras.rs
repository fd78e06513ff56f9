//! The LSTM as Keras computes it: `keras/src/layers/rnn/lstm.py`, `tf_keras/layers/rnn/lstm.py`.

use burn::tensor::{Bool, Tensor, TensorData};
use lstm::{Batch, KerasCell, Network, State, Trace};
use parity::{Lane, LaneError};

use crate::sequence_op::{self, Launch, Route};
use crate::tiling::{Plan, Sizes};
use crate::wgsl::{Cell, SequenceKernel, SequenceParameters};
use crate::wiring::{self, Steps, upload};
use crate::{Device, apply};

/// The Keras-style lane: x·W + h·U + b, columns i, f, c, o.
///
/// A backward part reverses the whole sequence and relies on the mask, which holds the state over the padding that then
/// comes first; masked steps give zeros, as with `zero_output_for_mask`. A cell with `go_backwards` hands its outputs on
/// in processing order, and the mask in the order of the input, as Keras does. A cell's output projection is a dense layer
/// after it, and its trace holds what that gives.
#[derive(Clone, Debug)]
pub struct KerasLstm {
    device: Device,
    route: Route,
}

impl KerasLstm {
    /// A lane on this device.
    pub fn new(device: Device) -> KerasLstm {
        KerasLstm { device, route: Route::Auto }
    }

    /// The same lane, bound to one way to compute.
    pub fn with_route(self, route: Route) -> KerasLstm {
        KerasLstm { route, ..self }
    }

    /// How the lane computes a cell in a batch of `sequences` × `timesteps`: [`Route::Kernel`] or
    /// [`Route::Operations`].
    pub fn route_of(&self, cell: &KerasCell, sequences: usize, timesteps: usize) -> Route {
        match self.plan(cell, sequences, timesteps, true) {
            Ok(None) => Route::Operations,
            Ok(Some(_)) | Err(_) => Route::Kernel,
        }
    }

    fn plan(&self, cell: &KerasCell, sequences: usize, timesteps: usize, gates: bool) -> Result<Option<Plan>, String> {
        let sizes = Sizes { sequences, timesteps, input: cell.input_size(), units: cell.units(), gates };
        sequence_op::plan(self.route, true, sizes, &self.device)
    }

    /// One cell of a network: what it computed, and what the next cell reads.
    fn cell(
        &self,
        cell: &KerasCell,
        x: Tensor<3>,
        initial: &State,
        batch: &Batch,
        backward: bool,
    ) -> Result<(Steps, Tensor<3>), String> {
        let backward = backward != cell.go_backwards;
        let steps = match self.plan(cell, batch.sequences(), batch.timesteps(), wiring::wants_gates(batch))? {
            Some(plan) => in_kernel(plan, cell, x, initial, batch, backward),
            None => self.step_by_step(cell, x, initial, batch, backward),
        };
        let steps = match &cell.output_projection {
            Some(projection) => Steps { h: dense(steps.h, upload(projection, &self.device)), ..steps },
            None => steps,
        };
        let output = if cell.go_backwards { steps.h.clone().flip([1]) } else { steps.h.clone() };
        Ok((steps, output))
    }

    /// One cell over x `[sequences, timesteps, input]` in tensor operations.
    fn step_by_step(&self, cell: &KerasCell, x: Tensor<3>, initial: &State, batch: &Batch, backward: bool) -> Steps {
        let device = &self.device;
        let [sequences, timesteps, input] = x.dims();
        let units = cell.units();
        // The input's share of all steps in one product, steps first so that each is one block of memory.
        let x = x.swap_dims(0, 1).reshape([timesteps * sequences, input]);
        let of_x = x.matmul(upload(&cell.kernel, device)).reshape([timesteps, sequences, 4 * units]);
        let recurrent = upload(&cell.recurrent_kernel, device);
        let bias = upload(&cell.bias.clone().insert_axis(ndarray::Axis(0)), device);
        let mask = batch.lengths.as_ref().map(|lengths| mask(lengths, timesteps, device));

        let mut h = upload(&initial.h, device);
        let mut c = upload(&initial.c, device);
        let (mut outputs, mut states, mut gates) = (vec![], vec![], vec![]);
        for position in 0..timesteps {
            let t = if backward { timesteps - 1 - position } else { position };
            let z = of_x.clone().narrow(0, t, 1).squeeze_dim::<2>(0) + h.clone().matmul(recurrent.clone());
            let z = z + bias.clone();
            let rho = |gate: usize| apply(cell.recurrent_activation, z.clone().narrow(1, gate * units, units), device);
            let phi = |v| apply(cell.activation, v, device);
            let (i, f, candidate, o) = (rho(0), rho(1), phi(z.clone().narrow(1, 2 * units, units)), rho(3));
            if wiring::wants_gates(batch) {
                gates.push(Tensor::cat(vec![i.clone(), candidate.clone(), f.clone(), o.clone()], 1));
            }
            let next_c = f * c.clone() + i * candidate;
            let next_h = o * phi(next_c.clone());
            match &mask {
                None => (h, c) = (next_h, next_c),
                Some(mask) => {
                    let valid = mask.clone().narrow(0, t, 1).squeeze_dim::<2>(0).expand([sequences, units]);
                    h = h.mask_where(valid.clone(), next_h);
                    c = c.mask_where(valid, next_c);
                }
            }
            outputs.push(h.clone());
            states.push(c.clone());
        }
        if backward {
            outputs.reverse();
            states.reverse();
            gates.reverse();
        }
        let steps = Steps::stack(outputs, states, gates);
        match mask {
            None => steps,
            Some(mask) => {
                let ended = mask.swap_dims(0, 1).bool_not();
                steps.map(|trace| {
                    let shape = trace.dims();
                    trace.mask_fill(ended.clone().expand(shape), 0.0)
                })
            }
        }
    }
}

/// A dense layer without bias, applied to each step of h `[sequences, timesteps, units]`. Past a sequence's end zeros stay
/// zeros.
fn dense(h: Tensor<3>, kernel: Tensor<2>) -> Tensor<3> {
    let ([sequences, timesteps, units], [_, projected]) = (h.dims(), kernel.dims());
    h.reshape([sequences * timesteps, units]).matmul(kernel).reshape([sequences, timesteps, projected])
}

/// One cell over x `[sequences, timesteps, input]` in `keras_lstm.wgsl`.
fn in_kernel(plan: Plan, cell: &KerasCell, x: Tensor<3>, initial: &State, batch: &Batch, backward: bool) -> Steps {
    let kernel = SequenceKernel {
        cell: Cell::Keras,
        tiling: plan.tiling,
        activation: cell.activation,
        recurrent_activation: cell.recurrent_activation,
    };
    let parameters = SequenceParameters {
        sequences: batch.sequences() as u32,
        timesteps: batch.timesteps() as u32,
        input: cell.input_size() as u32,
        units: cell.units() as u32,
        backward,
        first_step: 0,
        steps: plan.steps,
        record_gates: wiring::wants_gates(batch),
        forget_bias: 0.0,
    };
    let weights = sequence_op::pack(&[cell.kernel.view(), cell.recurrent_kernel.view()], cell.bias.view());
    sequence_op::sequence(x, weights, initial, Launch { kernel, parameters, lengths: wiring::lengths(batch) })
}

/// `[timesteps, sequences, 1]`: whether a step lies before the sequence's end.
fn mask(lengths: &[usize], timesteps: usize, device: &Device) -> Tensor<3, Bool> {
    let valid: Vec<bool> = (0..timesteps).flat_map(|t| lengths.iter().map(move |length| t < *length)).collect();
    Tensor::from_data(TensorData::new(valid, [timesteps, lengths.len(), 1]), device.burn())
}

impl Lane<KerasCell> for KerasLstm {
    /// `keras (sequence kernel)` where a kernel may run: with [`Route::Auto`], cells that do not fit it still take
    /// tensor operations (see [`route_of`](KerasLstm::route_of)).
    fn name(&self) -> String {
        format!("keras ({})", wiring::route_name(self.route, &self.device))
    }

    fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        wiring::run(&self.name(), &self.device, network, batch, |cell, x, initial, backward| {
            self.cell(cell, x, initial, batch, backward)
        })
    }
}
