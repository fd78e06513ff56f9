//! The LSTM as TensorFlow 1.x computes it: `tensorflow/python/ops/rnn_cell_impl.py` (1.15), `rnn.py`.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use lstm::{Batch, Network, State, Tf1Cell, Trace};
use ndarray::{Array1, Axis};
use parity::{Lane, LaneError};

use crate::cpu_twin::tf1::Tf1;
use crate::cpu_twin::{self, Pass};
use crate::draw::StateShape;
use crate::layout::{self, Packed};
use crate::route::{self, Chosen, Route, Way};
use crate::sequence_op::{self, Launch};
use crate::tiling::{Plan, Sizes};
use crate::wgsl::{Cell, LstmKernel, LstmParameters, Parts};
use crate::wiring::{self, Run, Start, Starts, Steps, upload};
use crate::{Device, apply};

/// The TF1-style lane: [x, h]·K + b with one fused kernel, columns i, j, f, o, forget bias added at run time.
///
/// Steps past a sequence's end give zeros and leave the state, as `dynamic_rnn` does with `sequence_length`; a backward
/// part turns round the valid steps alone, as `reverse_sequence` does.
#[derive(Clone, Debug)]
pub struct Tf1FusedLstm {
    device: Device,
    route: Route,
}

impl Tf1FusedLstm {
    /// A lane on this device.
    pub fn new(device: Device) -> Tf1FusedLstm {
        Tf1FusedLstm { device, route: Route::Auto }
    }

    /// The same lane, bound to one way to compute.
    pub fn with_route(self, route: Route) -> Tf1FusedLstm {
        Tf1FusedLstm { route, ..self }
    }

    /// How the lane computes a cell in a batch of `sequences` × `timesteps`. Cells with layer normalisation take
    /// operations.
    pub fn chosen(&self, cell: &Tf1Cell, sequences: usize, timesteps: usize) -> Chosen {
        if self.takes_twin(cell) {
            return Chosen(Way::Twin);
        }
        let plan = self.plan(cell, sequences, timesteps, true);
        Chosen(plan.ok().flatten().map_or(Way::Operations, |plan| Way::Kernel(plan.tiling)))
    }

    /// Whether a cell runs in the kernels' twin on the CPU.
    fn takes_twin(&self, cell: &Tf1Cell) -> bool {
        route::is_for_the_twin(self.route, &self.device) && Tf1::covers(cell)
    }

    fn plan(&self, cell: &Tf1Cell, sequences: usize, timesteps: usize, gates: bool) -> Result<Option<Plan>, String> {
        let (input, recurrent, units) = (cell.input_size(), cell.recurrent_size(), cell.units());
        let projected = cell.projection.is_some();
        let sizes = Sizes { sequences, timesteps, input, recurrent, units, projected, gates };
        route::plan(self.route, cell.layer_norm.is_some(), sizes, &self.device)
    }

    /// Runs a network on inputs that lie on the device, and leaves the results of every cell there.
    pub(crate) fn on_device(
        &self,
        network: &Network<Tf1Cell>,
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
    pub(crate) fn output(&self, network: &Network<Tf1Cell>, x: Tensor<3>, batch: &Batch) -> Result<Tensor<3>, String> {
        let (starts, run) = (Starts::Given(&batch.initial), Run { record_states: false, ..Run::of(batch) });
        let (_, output) = wiring::on_device(&self.device, network, x, starts, run, |cell, x, start, run, backward| {
            self.cell(cell, x, start, run, backward)
        })?;
        Ok(output)
    }

    /// One cell of a network: what it computed, and what the next cell reads.
    fn cell(
        &self,
        cell: &Tf1Cell,
        x: Tensor<3>,
        start: Start<'_>,
        run: &Run<'_>,
        backward: bool,
    ) -> Result<(Steps, Tensor<3>), String> {
        let steps = if self.takes_twin(cell) {
            let Run { lengths, record_states: states, record_gates: gates, .. } = *run;
            let pass = Pass { initial: start.given()?, lengths, backward, states, gates };
            cpu_twin::run(&Tf1::pack(cell), x, pass)?
        } else {
            match self.plan(cell, run.sequences, run.timesteps, run.record_gates)? {
                Some(plan) => self.in_kernel(plan, cell, x, start, run, backward),
                None if backward => {
                    let steps = self.step_by_step(cell, reverse_sequence(x, run.lengths), start.given()?, run);
                    steps.map(|trace| reverse_sequence(trace, run.lengths))
                }
                None => self.step_by_step(cell, x, start.given()?, run),
            }
        };
        let output = steps.h.clone();
        Ok((steps, output))
    }

    /// A forward cell over x `[sequences, timesteps, input]` in tensor operations.
    fn step_by_step(&self, cell: &Tf1Cell, x: Tensor<3>, initial: &State, run: &Run<'_>) -> Steps {
        let device = &self.device;
        let row = |vector: &Array1<f32>| upload(&vector.clone().insert_axis(Axis(0)), device);
        let weights = Weights {
            kernel: upload(&cell.kernel, device),
            bias: row(&cell.bias),
            peepholes: cell.peepholes.as_ref().map(|p| [row(&p.input), row(&p.forget), row(&p.output)]),
            projection: cell.projection.as_ref().map(|p| upload(p, device)),
            norms: cell.layer_norm.as_ref().map(|norm| {
                let [i, j, f, o] = &norm.gates;
                [i, j, f, o, &norm.state].map(|n| [row(&n.gamma), row(&n.beta)])
            }),
        };
        // Steps first, so that each is one block of memory.
        let [sequences, timesteps, input] = x.dims();
        let x = x.swap_dims(0, 1).reshape([timesteps * sequences, input]).reshape([timesteps, sequences, input]);
        let mut h = upload(&initial.h, device);
        let mut c = upload(&initial.c, device);
        let (mut outputs, mut states, mut gates) = (vec![], vec![], vec![]);
        for t in 0..timesteps {
            let x = x.clone().narrow(0, t, 1).squeeze_dim(0);
            let next = self.step(cell, &weights, x, h.clone(), c.clone());
            let zero_past_end = |v: Tensor<2>| match self.ended(run, t, v.dims()) {
                Some(ended) => v.mask_fill(ended, 0.0),
                None => v,
            };
            outputs.push(zero_past_end(next.h.clone()));
            states.push(zero_past_end(next.c.clone()));
            if run.record_gates {
                gates.push(zero_past_end(Tensor::cat(next.gates.to_vec(), 1)));
            }
            h = match self.ended(run, t, next.h.dims()) {
                Some(ended) => next.h.mask_where(ended, h),
                None => next.h,
            };
            c = match self.ended(run, t, next.c.dims()) {
                Some(ended) => next.c.mask_where(ended, c),
                None => next.c,
            };
        }
        Steps::stack(outputs, states, gates)
    }

    /// One step from x `[sequences, input]`, h `[sequences, recurrent]` and c `[sequences, units]`.
    fn step(&self, cell: &Tf1Cell, weights: &Weights, x: Tensor<2>, h: Tensor<2>, c: Tensor<2>) -> Step {
        let units = cell.units();
        let z = Tensor::cat(vec![x, h], 1).matmul(weights.kernel.clone()) + weights.bias.clone();
        let epsilon = cell.layer_norm.as_ref().map_or(0.0, |n| n.epsilon);
        let norm = |v: Tensor<2>, which: usize| match &weights.norms {
            Some(norms) => normalise(v, &norms[which], epsilon),
            None => v,
        };
        let gate = |block: usize| norm(z.clone().narrow(1, block * units, units), block);
        let sigma = |v| apply(cell.recurrent_activation, v, &self.device);
        let phi = |v| apply(cell.activation, v, &self.device);
        let peep = |v: Tensor<2>, gate: usize, c: &Tensor<2>| match &weights.peepholes {
            Some(peepholes) => v + peepholes[gate].clone() * c.clone(),
            None => v,
        };
        let i = sigma(peep(gate(0), 0, &c));
        let j = phi(gate(1));
        let f = sigma(peep(gate(2) + cell.forget_bias, 1, &c));
        let mut next_c = norm(f.clone() * c + i.clone() * j.clone(), 4);
        if let Some(clip) = cell.cell_clip {
            next_c = clamp(next_c, clip);
        }
        let o = sigma(peep(gate(3), 2, &next_c));
        let mut next_h = o.clone() * phi(next_c.clone());
        if let Some(projection) = &weights.projection {
            next_h = next_h.matmul(projection.clone());
            if let Some(clip) = cell.projection_clip {
                next_h = clamp(next_h, clip);
            }
        }
        Step { h: next_h, c: next_c, gates: [i, j, f, o] }
    }

    /// `[sequences, width]`: which sequences have ended before step `t`; `None` where all go on.
    fn ended(&self, run: &Run<'_>, t: usize, [sequences, width]: [usize; 2]) -> Option<Tensor<2, Bool>> {
        let ended: Vec<bool> = (0..sequences).map(|sequence| !run.is_valid(sequence, t)).collect();
        ended.contains(&true).then(|| {
            let column = Tensor::<2, Bool>::from_data(TensorData::new(ended, [sequences, 1]), self.device.burn());
            column.expand([sequences, width])
        })
    }

    /// One cell over x `[sequences, timesteps, input]` in `tf1_lstm.wgsl`.
    fn in_kernel(
        &self,
        plan: Plan,
        cell: &Tf1Cell,
        x: Tensor<3>,
        start: Start<'_>,
        run: &Run<'_>,
        backward: bool,
    ) -> Steps {
        let projected = cell.projection.is_some();
        // Without a projection there is nothing to clip, whatever the cell says.
        let projection_clip = cell.projection_clip.filter(|_| projected);
        let parts = Parts {
            peepholes: cell.peepholes.is_some(),
            projection: projected,
            cell_clip: cell.cell_clip.is_some(),
            projection_clip: projection_clip.is_some(),
        };
        let activations = [cell.activation, cell.recurrent_activation];
        let kernel = LstmKernel::new(Cell::Tf1, parts, plan.tiling, activations);
        let parameters = LstmParameters {
            sequences: run.sequences as u32,
            timesteps: run.timesteps as u32,
            input: cell.input_size() as u32,
            recurrent: cell.recurrent_size() as u32,
            units: cell.units() as u32,
            backward,
            steps: plan.steps,
            record_gates: run.record_gates,
            forget_bias: cell.forget_bias,
            cell_clip: cell.cell_clip.unwrap_or_default(),
            projection_clip: projection_clip.unwrap_or_default(),
            ..LstmParameters::default()
        };
        let weights = Packed::new(&[cell.kernel.view()], cell.bias.view())
            .with_peepholes(cell.peepholes.as_ref())
            .with_projection(cell.projection.as_ref());
        let launch = Launch { kernel, parameters, lengths: run.kernel_lengths() };
        // A projected output starts from zero everywhere (see `parity::inputs`).
        let shape = StateShape {
            recurrent: cell.recurrent_size(),
            units: cell.units(),
            projected,
            from_zero: projected,
            staged: plan.tiling.staged(cell.input_size()),
        };
        let state = layout::start(start, shape, &self.device);
        sequence_op::lstm(x, weights.data(), state, launch)
    }
}

/// The state after a step, h `[sequences, recurrent]` and c `[sequences, units]`, and the gates i, j, f, o that made
/// it, each `[sequences, units]`.
struct Step {
    h: Tensor<2>,
    c: Tensor<2>,
    gates: [Tensor<2>; 4],
}

/// A cell's weights on the device.
struct Weights {
    /// `[input + recurrent, 4·units]`
    kernel: Tensor<2>,
    /// `[1, 4·units]`
    bias: Tensor<2>,
    /// Of the input, forget and output gate, each `[1, units]`.
    peepholes: Option<[Tensor<2>; 3]>,
    /// `[units, projected]`
    projection: Option<Tensor<2>>,
    /// Gamma and beta of the gates i, j, f, o and of the state, each `[1, units]`.
    norms: Option<[[Tensor<2>; 2]; 5]>,
}

/// Normalises each row of `[sequences, units]`: mean 0 and variance 1, then gamma and beta. Both are taken over the row
/// as `tf.nn.moments` takes them, the variance from the distances to the mean.
fn normalise(v: Tensor<2>, [gamma, beta]: &[Tensor<2>; 2], epsilon: f64) -> Tensor<2> {
    let centred = v.clone() - v.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    centred / (variance + epsilon).sqrt() * gamma.clone() + beta.clone()
}

/// Clips to ± `bound`. NaN stays NaN, which a device's own clamp need not keep.
fn clamp(v: Tensor<2>, bound: f32) -> Tensor<2> {
    let above = v.clone().greater_elem(bound);
    let below = v.clone().lower_elem(-bound);
    v.mask_fill(above, bound).mask_fill(below, -bound)
}

/// Turns round the valid steps of each sequence of `[sequences, timesteps, width]`, as `tf.reverse_sequence` does.
fn reverse_sequence(x: Tensor<3>, lengths: Option<&[usize]>) -> Tensor<3> {
    let Some(lengths) = lengths else { return x.flip([1]) };
    let [sequences, timesteps, width] = x.dims();
    let rows: Vec<i32> = lengths
        .iter()
        .enumerate()
        .flat_map(|(sequence, length)| {
            (0..timesteps).map(move |t| (sequence * timesteps + if t < *length { length - 1 - t } else { t }) as i32)
        })
        .collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [sequences * timesteps]), &x.device());
    x.reshape([sequences * timesteps, width]).select(0, rows).reshape([sequences, timesteps, width])
}

impl Lane<Tf1Cell> for Tf1FusedLstm {
    /// `tf1 (sequence kernel)` where a kernel may run: with [`Route::Auto`], cells that it does not cover still take
    /// tensor operations (see [`chosen`](Tf1FusedLstm::chosen)).
    fn name(&self) -> String {
        format!("tf1 ({})", wiring::route_name(self.route))
    }

    fn run(&self, network: &Network<Tf1Cell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        wiring::run(&self.name(), &self.device, network, batch, |cell, x, start, run, backward| {
            self.cell(cell, x, start, run, backward)
        })
    }
}
