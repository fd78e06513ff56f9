//! Lanes of a few lines, in plain f32 loops: right ones, on which faults are planted.

#![allow(dead_code, unreachable_pub, reason = "a module of several test programs, each of which uses its own part")]

use lstm::{Activation, Batch, CellTrace, KerasCell, Merge, Network, Norm, Peepholes, State, Tf1Cell, Trace};
use ndarray::{Array1, Array2, Array3, Axis, concatenate, s};
use parity::random::Stream;
use parity::{Lane, LaneError};

/// Runs either form of the weights.
#[derive(Clone, Copy)]
pub struct Plain;

/// One step in f32: next h, next c, gates i, j, f, o.
pub trait PlainCell {
    fn units(&self) -> usize;
    fn recurrent(&self) -> usize;
    /// What the next layer reads, from the output fed back.
    fn shown(&self, h: &[f32]) -> Vec<f32>;
    fn backwards(&self) -> bool;
    fn step(&self, x: &[f32], h: &[f32], c: &[f32]) -> [Vec<f32>; 3];
}

fn act(function: Activation, x: f32) -> f32 {
    match function {
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::HardSigmoidKeras2 => (0.2 * x + 0.5).clamp(0.0, 1.0),
        Activation::HardSigmoidKeras3 => (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Linear => x,
        other => panic!("{other} is not among the plain ones"),
    }
}

impl PlainCell for Tf1Cell {
    fn units(&self) -> usize {
        Tf1Cell::units(self)
    }
    fn recurrent(&self) -> usize {
        self.recurrent_size()
    }
    fn shown(&self, h: &[f32]) -> Vec<f32> {
        h.to_vec()
    }
    fn backwards(&self) -> bool {
        false
    }
    fn step(&self, x: &[f32], h: &[f32], c: &[f32]) -> [Vec<f32>; 3] {
        let u = Tf1Cell::units(self);
        let z: Vec<f32> = (0..4 * u)
            .map(|k| x.iter().chain(h).enumerate().map(|(r, v)| v * self.kernel[[r, k]]).sum::<f32>() + self.bias[k])
            .collect();
        let sigmoid = |v| act(Activation::Sigmoid, v);
        let epsilon = self.layer_norm.as_ref().map_or(0.0, |n| n.epsilon as f32);
        let norm = |v: &[f32], n: Option<&Norm>| n.map_or(v.to_vec(), |n| normalised(v, n, epsilon));
        let gate = |g: usize| norm(&z[g * u..(g + 1) * u], self.layer_norm.as_ref().map(|n| &n.gates[g]));
        let [zi, zj, zf, zo] = [0, 1, 2, 3].map(gate);
        let seen = |pick: fn(&Peepholes) -> &Array1<f32>, k: usize, c: f32| {
            self.peepholes.as_ref().map_or(0.0, |p| pick(p)[k] * c)
        };
        let i: Vec<f32> = (0..u).map(|k| sigmoid(zi[k] + seen(|p| &p.input, k, c[k]))).collect();
        let j: Vec<f32> = (0..u).map(|k| act(self.activation, zj[k])).collect();
        let f: Vec<f32> = (0..u).map(|k| sigmoid(zf[k] + self.forget_bias + seen(|p| &p.forget, k, c[k]))).collect();
        let new: Vec<f32> = (0..u).map(|k| c[k] * f[k] + i[k] * j[k]).collect();
        let new: Vec<f32> = norm(&new, self.layer_norm.as_ref().map(|n| &n.state))
            .into_iter()
            .map(|v| self.cell_clip.map_or(v, |clip| v.clamp(-clip, clip)))
            .collect();
        let o: Vec<f32> = (0..u).map(|k| sigmoid(zo[k] + seen(|p| &p.output, k, new[k]))).collect();
        let mut h: Vec<f32> = (0..u).map(|k| act(self.activation, new[k]) * o[k]).collect();
        if let Some(p) = &self.projection {
            h = times(&h, p);
        }
        if let Some(clip) = self.projection_clip {
            h.iter_mut().for_each(|v| *v = v.clamp(-clip, clip));
        }
        [h, new, [i, j, f, o].concat()]
    }
}

fn times(v: &[f32], matrix: &Array2<f32>) -> Vec<f32> {
    (0..matrix.ncols()).map(|k| v.iter().enumerate().map(|(r, v)| v * matrix[[r, k]]).sum()).collect()
}

fn normalised(v: &[f32], n: &Norm, epsilon: f32) -> Vec<f32> {
    let mean = v.iter().sum::<f32>() / v.len() as f32;
    let variance = v.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / v.len() as f32;
    let root = (variance + epsilon).sqrt();
    v.iter().enumerate().map(|(k, v)| (v - mean) / root * n.gamma[k] + n.beta[k]).collect()
}

impl PlainCell for KerasCell {
    fn units(&self) -> usize {
        KerasCell::units(self)
    }
    fn recurrent(&self) -> usize {
        KerasCell::units(self)
    }
    fn shown(&self, h: &[f32]) -> Vec<f32> {
        self.output_projection.as_ref().map_or(h.to_vec(), |p| times(h, p))
    }
    fn backwards(&self) -> bool {
        self.go_backwards
    }
    fn step(&self, x: &[f32], h: &[f32], c: &[f32]) -> [Vec<f32>; 3] {
        let u = KerasCell::units(self);
        let dot = |v: &[f32], w: &Array2<f32>, k: usize| v.iter().enumerate().map(|(r, v)| v * w[[r, k]]).sum::<f32>();
        let z: Vec<f32> =
            (0..4 * u).map(|k| dot(x, &self.kernel, k) + dot(h, &self.recurrent_kernel, k) + self.bias[k]).collect();
        let rho = |v| act(self.recurrent_activation, v);
        let mut out = [vec![0.0; u], vec![0.0; u], vec![0.0; 4 * u]];
        for k in 0..u {
            let (i, f) = (rho(z[k]), rho(z[u + k]));
            let (j, o) = (act(self.activation, z[2 * u + k]), rho(z[3 * u + k]));
            out[1][k] = f * c[k] + i * j;
            out[0][k] = o * act(self.activation, out[1][k]);
            for (gate, value) in [i, j, f, o].into_iter().enumerate() {
                out[2][gate * u + k] = value;
            }
        }
        out
    }
}

impl<C: PlainCell> Lane<C> for Plain {
    fn name(&self) -> String {
        "plain".to_owned()
    }

    fn run(&self, network: &Network<C>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        let mut cells = vec![];
        let output = walk(network, batch.x.clone(), false, batch, &mut cells);
        Ok(Trace { cells, output })
    }
}

fn walk<C: PlainCell>(
    network: &Network<C>,
    x: Array3<f32>,
    backward: bool,
    batch: &Batch,
    cells: &mut Vec<CellTrace<f32>>,
) -> Array3<f32> {
    match network {
        Network::Cell(cell) => {
            let trace = sequence(cell, &x, &batch.initial[cells.len()], backward != cell.backwards(), batch);
            let output = trace.h.clone();
            cells.push(trace);
            output
        }
        Network::Backward(cell) => {
            let trace = sequence(cell, &x, &batch.initial[cells.len()], backward == cell.backwards(), batch);
            let mut output = trace.h.clone();
            output.invert_axis(Axis(1));
            cells.push(trace);
            output
        }
        Network::Stack(parts) => parts.iter().fold(x, |x, part| walk(part, x, backward, batch, cells)),
        Network::Residual(part) => {
            let mut output = walk(part, x.clone(), backward, batch, cells);
            for ((row, step, unit), v) in output.indexed_iter_mut().filter(|((n, t, _), _)| batch.is_valid(*n, *t)) {
                *v += x[[row, step, unit]];
            }
            output
        }
        Network::Bidirectional { forward, backward: inner, merge } => {
            let ahead = walk(forward, x.clone(), backward, batch, cells);
            let back = walk(inner, x, !backward, batch, cells);
            match merge {
                Merge::Concat => concatenate(Axis(2), &[ahead.view(), back.view()]).unwrap(),
                Merge::Sum => ahead + back,
                Merge::Mul => ahead * back,
                Merge::Ave => (ahead + back) / 2.0,
            }
        }
    }
}

fn sequence<C: PlainCell>(cell: &C, x: &Array3<f32>, start: &State, backward: bool, batch: &Batch) -> CellTrace<f32> {
    let (n, t, _) = x.dim();
    let zeros = |width| Array3::zeros((n, t, width));
    let (mut hs, mut cs, mut gates) =
        (zeros(cell.shown(&vec![0.0; cell.recurrent()]).len()), zeros(cell.units()), zeros(4 * cell.units()));
    for row in 0..n {
        let (mut h, mut c) = (start.h.row(row).to_vec(), start.c.row(row).to_vec());
        for position in 0..t {
            let step = if backward { t - 1 - position } else { position };
            if !batch.is_valid(row, step) {
                continue;
            }
            let [next_h, next_c, g] = cell.step(&x.slice(s![row, step, ..]).to_vec(), &h, &c);
            hs.slice_mut(s![row, step, ..]).assign(&Array1::from(cell.shown(&next_h)));
            cs.slice_mut(s![row, step, ..]).assign(&Array1::from(next_c.clone()));
            gates.slice_mut(s![row, step, ..]).assign(&Array1::from(g));
            (h, c) = (next_h, next_c);
        }
    }
    CellTrace { h: hs, c: cs, gates: batch.record_gates.then_some(gates) }
}

/// A cell with random weights and a trained-like forget bias.
pub fn random_cell(input: usize, units: usize, scale: f32, seed: u64) -> Tf1Cell {
    let draw = |stream, count| {
        (0..count).map(move |k| scale * Stream::new(seed, stream).normal(k as u64)).collect::<Vec<f32>>()
    };
    let kernel = Array2::from_shape_vec((input + units, 4 * units), draw(50, (input + units) * 4 * units)).unwrap();
    Tf1Cell::new(kernel, Array1::from(draw(51, 4 * units))).unwrap()
}
