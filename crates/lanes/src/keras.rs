//! The LSTM as Keras computes it: `keras/src/layers/rnn/lstm.py`, `tf_keras/layers/rnn/lstm.py`.

use burn::tensor::{Bool, Tensor, TensorData};
use lstm::{Batch, KerasCell, Network, State, Trace};
use parity::{Lane, LaneError};

use crate::cpu_twin::keras::Keras;
use crate::cpu_twin::{self, Pass};
use crate::draw::StateShape;
use crate::layout::{self, Packed};
use crate::route::{self, Chosen, Route, Way};
use crate::sequence_op::{self, Launch};
use crate::tiling::{Plan, Sizes};
use crate::wgsl::{Cell, LstmKernel, LstmParameters, Parts};
use crate::wiring::{self, Run, Start, Starts, Steps, upload};
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

    /// How the lane computes a cell in a batch of `sequences` × `timesteps`.
    pub fn chosen(&self, cell: &KerasCell, sequences: usize, timesteps: usize) -> Chosen {
        if self.takes_twin() {
            return Chosen(Way::Twin);
        }
        let plan = self.plan(cell, sequences, timesteps, true);
        Chosen(plan.ok().flatten().map_or(Way::Operations, |plan| Way::Kernel(plan.tiling)))
    }

    /// Whether cells run in the kernels' twin on the CPU, which covers them all.
    fn takes_twin(&self) -> bool {
        route::is_for_the_twin(self.route, &self.device)
    }

    fn plan(&self, cell: &KerasCell, sequences: usize, timesteps: usize, gates: bool) -> Result<Option<Plan>, String> {
        let units = cell.units();
        let input = cell.input_size();
        let sizes = Sizes { sequences, timesteps, input, recurrent: units, units, projected: false, gates };
        route::plan(self.route, false, sizes, &self.device)
    }

    /// Runs a network on inputs that lie on the device, and leaves the results of every cell there.
    pub(crate) fn on_device(
        &self,
        network: &Network<KerasCell>,
        x: Tensor<3>,
        starts: Starts<'_>,
        run: Run<'_>,
    ) -> Result<Vec<Steps>, String> {
        let (steps, _) = wiring::on_device(&self.device, network, x, starts, run, |cell, x, start, run, backward| {
            self.cell(cell, x, start, run, backward)
        })?;
        Ok(steps)
    }

    /// The network's output for x `[sequences, timesteps, input]`, the input of a batch that fits it, left on the device.
    pub(crate) fn output(
        &self,
        network: &Network<KerasCell>,
        x: Tensor<3>,
        batch: &Batch,
    ) -> Result<Tensor<3>, String> {
        let (starts, run) = (Starts::Given(&batch.initial), Run { record_states: false, ..Run::of(batch) });
        let (_, output) = wiring::on_device(&self.device, network, x, starts, run, |cell, x, start, run, backward| {
            self.cell(cell, x, start, run, backward)
        })?;
        Ok(output)
    }

    /// One cell of a network: what it computed, and what the next cell reads.
    fn cell(
        &self,
        cell: &KerasCell,
        x: Tensor<3>,
        start: Start<'_>,
        run: &Run<'_>,
        backward: bool,
    ) -> Result<(Steps, Tensor<3>), String> {
        let backward = backward != cell.go_backwards;
        let steps = if self.takes_twin() {
            let Run { lengths, record_states: states, record_gates: gates, .. } = *run;
            let pass = Pass { initial: start.given()?, lengths, backward, states, gates };
            cpu_twin::run(&Keras::pack(cell), x, pass)?
        } else {
            match self.plan(cell, run.sequences, run.timesteps, run.record_gates)? {
                Some(plan) => self.in_kernel(plan, cell, x, start, run, backward),
                None => self.step_by_step(cell, x, start.given()?, run, backward),
            }
        };
        let steps = match &cell.output_projection {
            Some(projection) => Steps { h: dense(steps.h, upload(projection, &self.device)), ..steps },
            None => steps,
        };
        let output = if cell.go_backwards { steps.h.clone().flip([1]) } else { steps.h.clone() };
        Ok((steps, output))
    }

    /// One cell over x `[sequences, timesteps, input]` in tensor operations.
    fn step_by_step(&self, cell: &KerasCell, x: Tensor<3>, initial: &State, run: &Run<'_>, backward: bool) -> Steps {
        let device = &self.device;
        let [sequences, timesteps, input] = x.dims();
        let units = cell.units();
        // The input's share of all steps in one product, steps first so that each is one block of memory.
        let x = x.swap_dims(0, 1).reshape([timesteps * sequences, input]);
        let of_x = x.matmul(upload(&cell.kernel, device)).reshape([timesteps, sequences, 4 * units]);
        let recurrent = upload(&cell.recurrent_kernel, device);
        let bias = upload(&cell.bias.clone().insert_axis(ndarray::Axis(0)), device);
        let mask = run.lengths.map(|lengths| mask(lengths, timesteps, device));

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
            if run.record_gates {
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

    /// One cell over x `[sequences, timesteps, input]` in `keras_lstm.wgsl`.
    fn in_kernel(
        &self,
        plan: Plan,
        cell: &KerasCell,
        x: Tensor<3>,
        start: Start<'_>,
        run: &Run<'_>,
        backward: bool,
    ) -> Steps {
        let units = cell.units();
        let activations = [cell.activation, cell.recurrent_activation];
        let kernel = LstmKernel::new(Cell::Keras, Parts::default(), plan.tiling, activations);
        let parameters = LstmParameters {
            sequences: run.sequences as u32,
            timesteps: run.timesteps as u32,
            input: cell.input_size() as u32,
            recurrent: units as u32,
            units: units as u32,
            backward,
            steps: plan.steps,
            record_gates: run.record_gates,
            ..LstmParameters::default()
        };
        let weights = Packed::new(&[cell.kernel.view(), cell.recurrent_kernel.view()], cell.bias.view());
        // A layer that a dense layer follows can start from no projected output (see `parity::keras_batch`).
        let from_zero = cell.output_projection.is_some();
        let shape = StateShape {
            recurrent: units,
            units,
            projected: false,
            from_zero,
            staged: plan.tiling.staged(cell.input_size()),
        };
        let state = layout::start(start, shape, &self.device);
        let launch = Launch { kernel, parameters, lengths: run.kernel_lengths() };
        sequence_op::lstm(x, weights.data(), state, launch)
    }
}

/// A dense layer without bias, applied to each step of h `[sequences, timesteps, units]`. Past a sequence's end zeros stay
/// zeros.
fn dense(h: Tensor<3>, kernel: Tensor<2>) -> Tensor<3> {
    let ([sequences, timesteps, units], [_, projected]) = (h.dims(), kernel.dims());
    h.reshape([sequences * timesteps, units]).matmul(kernel).reshape([sequences, timesteps, projected])
}

/// `[timesteps, sequences, 1]`: whether a step lies before the sequence's end.
fn mask(lengths: &[usize], timesteps: usize, device: &Device) -> Tensor<3, Bool> {
    let valid: Vec<bool> = (0..timesteps).flat_map(|t| lengths.iter().map(move |length| t < *length)).collect();
    Tensor::from_data(TensorData::new(valid, [timesteps, lengths.len(), 1]), device.burn())
}

impl Lane<KerasCell> for KerasLstm {
    /// `keras (sequence kernel)` where a kernel may run: with [`Route::Auto`], cells that do not fit it still take
    /// tensor operations (see [`chosen`](KerasLstm::chosen)).
    fn name(&self) -> String {
        format!("keras ({})", wiring::route_name(self.route))
    }

    fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        wiring::run(&self.name(), &self.device, network, batch, |cell, x, start, run, backward| {
            self.cell(cell, x, start, run, backward)
        })
    }
}
