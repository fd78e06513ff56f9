//! The equations in f64, one number at a time: what the lanes are judged by. Shares no code with them.

use lstm::{Activation, Batch, CellTrace, KerasCell, Merge, Network, Norm, Tf1Cell, Trace};
use ndarray::{Array2, Array3};

pub(crate) fn activation(f: Activation, x: f64) -> f64 {
    match f {
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::HardSigmoidKeras2 => (0.2 * x + 0.5).clamp(0.0, 1.0),
        Activation::HardSigmoidKeras3 => (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Relu => x.clamp(0.0, f64::INFINITY),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
        Activation::Softplus => {
            if x > 0.0 {
                x + (-x).exp().ln_1p()
            } else {
                x.exp().ln_1p()
            }
        }
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Linear => x,
    }
}

/// The state after a step, and the gates i, j, f, o of each unit.
pub(crate) struct Step {
    h: Vec<f64>,
    c: Vec<f64>,
    gates: Vec<[f64; 4]>,
}

pub(crate) trait Cell: Clone {
    fn units(&self) -> usize;
    fn recurrent(&self) -> usize;
    fn flips(&self) -> bool;
    /// What the next layer reads, from the output fed back.
    fn shown(&self, h: &[f64]) -> Vec<f64> {
        h.to_vec()
    }
    /// One step of one sequence: x, h, c to the next ones.
    fn step(&self, x: &[f64], h: &[f64], c: &[f64]) -> Step;
}

fn column(matrix: &Array2<f32>, first_row: usize, v: &[f64], column: usize) -> f64 {
    v.iter().enumerate().map(|(row, v)| v * f64::from(matrix[[first_row + row, column]])).sum()
}

impl Cell for KerasCell {
    fn units(&self) -> usize {
        self.units()
    }
    fn recurrent(&self) -> usize {
        self.units()
    }
    fn flips(&self) -> bool {
        self.go_backwards
    }
    fn shown(&self, h: &[f64]) -> Vec<f64> {
        let Some(p) = &self.output_projection else { return h.to_vec() };
        (0..p.ncols()).map(|at| column(p, 0, h, at)).collect()
    }
    fn step(&self, x: &[f64], h: &[f64], c: &[f64]) -> Step {
        let units = self.units();
        let rho = |v| activation(self.recurrent_activation, v);
        let phi = |v| activation(self.activation, v);
        let one = |unit: usize| {
            let z = |gate: usize| {
                let at = gate * units + unit;
                column(&self.kernel, 0, x, at) + column(&self.recurrent_kernel, 0, h, at) + f64::from(self.bias[at])
            };
            let (i, f, candidate, o) = (rho(z(0)), rho(z(1)), phi(z(2)), rho(z(3)));
            let c = f * c[unit] + i * candidate;
            (o * phi(c), (c, [i, candidate, f, o]))
        };
        let (h, (c, gates)) = (0..units).map(one).unzip();
        Step { h, c, gates }
    }
}

impl Cell for Tf1Cell {
    fn units(&self) -> usize {
        self.units()
    }
    fn recurrent(&self) -> usize {
        self.recurrent_size()
    }
    fn flips(&self) -> bool {
        false
    }
    fn step(&self, x: &[f64], h: &[f64], c: &[f64]) -> Step {
        let units = self.units();
        let sigma = |v| activation(Activation::Sigmoid, v);
        let phi = |v| activation(self.activation, v);
        let clip = |v: f64, bound: Option<f32>| bound.map_or(v, |b| v.clamp(-f64::from(b), f64::from(b)));
        let norm = |values: Vec<f64>, which: Option<&Norm>| {
            let Some(norm) = which else { return values };
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            let root = (variance + self.layer_norm.as_ref().unwrap().epsilon).sqrt();
            let one = |(k, v): (usize, &f64)| (v - mean) / root * f64::from(norm.gamma[k]) + f64::from(norm.beta[k]);
            values.iter().enumerate().map(one).collect()
        };
        let gate = |gate: usize| {
            let sum = |at: usize| {
                column(&self.kernel, 0, x, at) + column(&self.kernel, x.len(), h, at) + f64::from(self.bias[at])
            };
            let sums = (gate * units..(gate + 1) * units).map(sum).collect();
            norm(sums, self.layer_norm.as_ref().map(|n| &n.gates[gate]))
        };
        let z = [gate(0), gate(1), gate(2), gate(3)];
        let before = |unit: usize| {
            let (mut i, j, mut f) = (z[0][unit], z[1][unit], z[2][unit] + f64::from(self.forget_bias));
            if let Some(p) = &self.peepholes {
                i += f64::from(p.input[unit]) * c[unit];
                f += f64::from(p.forget[unit]) * c[unit];
            }
            let (i, j, f) = (sigma(i), phi(j), sigma(f));
            (f * c[unit] + i * j, [i, j, f])
        };
        let (new, gates): (Vec<_>, Vec<_>) = (0..units).map(before).unzip();
        let new = norm(new, self.layer_norm.as_ref().map(|n| &n.state));
        let one = |unit: usize| {
            let (c, [i, j, f], mut o) = (clip(new[unit], self.cell_clip), gates[unit], z[3][unit]);
            if let Some(p) = &self.peepholes {
                o += f64::from(p.output[unit]) * c;
            }
            (sigma(o) * phi(c), (c, [i, j, f, sigma(o)]))
        };
        let (m, (c, gates)): (Vec<_>, (Vec<_>, Vec<_>)) = (0..units).map(one).unzip();
        let h = match &self.projection {
            None => m,
            Some(p) => (0..p.ncols()).map(|at| clip(column(p, 0, &m, at), self.projection_clip)).collect(),
        };
        Step { h, c, gates }
    }
}

pub(crate) fn run<C: Cell>(network: &Network<C>, batch: &Batch) -> Trace<f64> {
    let mut cells = vec![];
    let output = part(network, batch.x.mapv(f64::from), batch, false, &mut cells);
    Trace { cells, output }
}

fn part<C: Cell>(
    network: &Network<C>,
    x: Array3<f64>,
    batch: &Batch,
    backward: bool,
    traces: &mut Vec<CellTrace<f64>>,
) -> Array3<f64> {
    let (sequences, steps, _) = x.dim();
    match network {
        Network::Stack(parts) => parts.iter().fold(x, |x, p| part(p, x, batch, backward, traces)),
        Network::Backward(cell) => {
            let mut y = part(&Network::Cell(cell.clone()), x, batch, !backward, traces);
            y.invert_axis(ndarray::Axis(1));
            y
        }
        Network::Residual(inner) => {
            let mut y = part(inner, x.clone(), batch, backward, traces);
            for ((s, t, w), y) in y.indexed_iter_mut() {
                *y += if batch.is_valid(s, t) { x[[s, t, w]] } else { 0.0 };
            }
            y
        }
        Network::Bidirectional { forward, backward: inner, merge } => {
            let a = part(forward, x.clone(), batch, backward, traces);
            let b = part(inner, x, batch, !backward, traces);
            match merge {
                Merge::Sum => return a + b,
                Merge::Mul => return a * b,
                Merge::Ave => return (a + b) / 2.0,
                Merge::Concat => {}
            }
            let split = a.dim().2;
            Array3::from_shape_fn((sequences, steps, split + b.dim().2), |(s, t, w)| {
                if w < split { a[[s, t, w]] } else { b[[s, t, w - split]] }
            })
        }
        Network::Cell(cell) => {
            let initial = &batch.initial[traces.len()];
            let width = cell.shown(&vec![0.0; cell.recurrent()]).len();
            let mut h_trace = Array3::zeros((sequences, steps, width));
            let mut c_trace = Array3::zeros((sequences, steps, cell.units()));
            let mut gates_trace = Array3::zeros((sequences, steps, 4 * cell.units()));
            for s in 0..sequences {
                let length = batch.lengths.as_ref().map_or(steps, |lengths| lengths[s]);
                let mut h: Vec<f64> = initial.h.row(s).iter().map(|v| f64::from(*v)).collect();
                let mut c: Vec<f64> = initial.c.row(s).iter().map(|v| f64::from(*v)).collect();
                let mut order: Vec<usize> = (0..length).collect();
                if backward != cell.flips() {
                    order.reverse();
                }
                for t in order {
                    let row: Vec<f64> = (0..x.dim().2).map(|k| x[[s, t, k]]).collect();
                    let next = cell.step(&row, &h, &c);
                    (h, c) = (next.h, next.c);
                    for (unit, gates) in next.gates.iter().enumerate() {
                        for (block, v) in gates.iter().enumerate() {
                            gates_trace[[s, t, block * cell.units() + unit]] = *v;
                        }
                    }
                    cell.shown(&h).iter().enumerate().for_each(|(unit, v)| h_trace[[s, t, unit]] = *v);
                    c.iter().enumerate().for_each(|(unit, v)| c_trace[[s, t, unit]] = *v);
                }
            }
            let mut output = h_trace.clone();
            if cell.flips() {
                output.invert_axis(ndarray::Axis(1));
            }
            traces.push(CellTrace { h: h_trace, c: c_trace, gates: Some(gates_trace) });
            output
        }
    }
}
