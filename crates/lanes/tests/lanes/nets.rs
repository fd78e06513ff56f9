//! Random networks and batches.

use lstm::{Activation, Batch, KerasCell, LayerNorm, Merge, Network, Norm, Peepholes, State, Tf1Cell};
use ndarray::{Array1, Array2, Array3};

/// SplitMix64: the same numbers on every platform.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in ± `scale`.
    pub(crate) fn real(&mut self, scale: f32) -> f32 {
        ((self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    fn vector(&mut self, n: usize, scale: f32) -> Array1<f32> {
        Array1::from_shape_simple_fn(n, || self.real(scale))
    }

    pub(crate) fn matrix(&mut self, rows: usize, columns: usize, scale: f32) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, columns), || self.real(scale))
    }
}

/// Sizes of a cell and its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) sequences: usize,
    pub(crate) steps: usize,
    pub(crate) input: usize,
    pub(crate) units: usize,
}

pub(crate) const SIZES: [Size; 6] = [
    Size { sequences: 1, steps: 1, input: 1, units: 1 },
    Size { sequences: 7, steps: 2, input: 5, units: 3 },
    Size { sequences: 9, steps: 11, input: 40, units: 31 },
    Size { sequences: 1, steps: 11, input: 5, units: 33 },
    Size { sequences: 9, steps: 2, input: 1, units: 65 },
    Size { sequences: 7, steps: 11, input: 40, units: 1 },
];

pub(crate) trait Make: Clone {
    fn make(input: usize, units: usize, random: &mut Random) -> Self;
    fn widths(&self) -> (usize, usize);
}

impl Make for KerasCell {
    fn make(input: usize, units: usize, random: &mut Random) -> KerasCell {
        let scale = 1.0 / ((input + units) as f32).sqrt();
        KerasCell::new(
            random.matrix(input, 4 * units, scale),
            random.matrix(units, 4 * units, scale),
            random.vector(4 * units, 0.5),
        )
        .unwrap()
    }
    fn widths(&self) -> (usize, usize) {
        (self.units(), self.units())
    }
}

impl Make for Tf1Cell {
    fn make(input: usize, units: usize, random: &mut Random) -> Tf1Cell {
        let scale = 1.0 / ((input + units) as f32).sqrt();
        Tf1Cell::new(random.matrix(input + units, 4 * units, scale), random.vector(4 * units, 0.5)).unwrap()
    }
    fn widths(&self) -> (usize, usize) {
        (self.recurrent_size(), self.units())
    }
}

/// A TF1 cell with everything that the kernel leaves to tensor operations; clips low enough to bind.
pub(crate) fn rich_tf1(input: usize, units: usize, projected: usize, random: &mut Random) -> Tf1Cell {
    let mut cell = Tf1Cell::make(input, units, random);
    cell.kernel = random.matrix(input + projected, 4 * units, 0.5);
    cell.forget_bias = 0.75;
    cell.peepholes = Some(Peepholes {
        input: random.vector(units, 0.7),
        forget: random.vector(units, 0.7),
        output: random.vector(units, 0.7),
    });
    cell.projection = Some(random.matrix(units, projected, 0.8));
    cell.cell_clip = Some(0.4);
    cell.projection_clip = Some(0.3);
    cell.check().unwrap();
    cell
}

/// The same with layer normalisation of gates and state.
pub(crate) fn normalised(cell: Tf1Cell, random: &mut Random) -> Tf1Cell {
    let units = cell.units();
    let mut norm = || Norm { gamma: random.vector(units, 1.5), beta: random.vector(units, 0.5) };
    let gates = [norm(), norm(), norm(), norm()];
    Tf1Cell { layer_norm: Some(LayerNorm { gates, state: norm(), epsilon: 1e-12 }), ..cell }
}

/// The same followed by a dense layer.
pub(crate) fn projecting(cell: KerasCell, width: usize, random: &mut Random) -> KerasCell {
    KerasCell { output_projection: Some(random.matrix(cell.units(), width, 0.8)), ..cell }
}

/// Every way to wire cells, for an input and a number of units.
pub(crate) fn wirings<C: Make>(input: usize, units: usize, random: &mut Random) -> Vec<(&'static str, Network<C>)> {
    let mut cell = |input: usize, units: usize| Network::Cell(C::make(input, units, random));
    let both = Network::side_by_side;
    let residual = |part: Network<C>| Network::Residual(Box::new(part));
    let merged = |forward, backward, merge| Network::Bidirectional {
        forward: Box::new(forward),
        backward: Box::new(backward),
        merge,
    };
    let backwards = |part: Network<C>| match part {
        Network::Cell(cell) => Network::Backward(cell),
        other => other,
    };
    let other = units + 2;
    vec![
        ("one cell", cell(input, units)),
        ("stack", Network::Stack(vec![cell(input, units), cell(units, other)])),
        ("bidirectional", both(cell(input, units), cell(input, other))),
        (
            "stack of bidirectional",
            Network::Stack(vec![
                both(cell(input, units), cell(input, other)),
                both(cell(units + other, units), cell(units + other, units)),
            ]),
        ),
        (
            "bidirectional of stacks",
            both(
                Network::Stack(vec![cell(input, units), cell(units, other)]),
                Network::Stack(vec![cell(input, other), cell(other, units)]),
            ),
        ),
        ("residual", Network::Stack(vec![cell(input, units), residual(cell(units, units)), cell(units, other)])),
        ("residual around two", residual(Network::Stack(vec![cell(input, units), cell(units, input)]))),
        ("sum", merged(cell(input, units), cell(input, units), Merge::Sum)),
        ("mul", Network::Stack(vec![merged(cell(input, units), cell(input, units), Merge::Mul), cell(units, other)])),
        ("ave", residual(merged(cell(input, input), cell(input, input), Merge::Ave))),
        ("backwards", backwards(cell(input, units))),
        (
            "stack with layers that go backwards",
            Network::Stack(vec![
                backwards(cell(input, units)),
                residual(backwards(cell(units, units))),
                cell(units, other),
            ]),
        ),
        (
            "bidirectional of a layer that goes backwards",
            both(backwards(cell(input, units)), backwards(cell(input, other))),
        ),
    ]
}

/// A batch for a network; `ragged` gives lengths from 0 to `steps`, and NaN in the padding, which nothing may read.
pub(crate) fn batch<C: Make>(network: &Network<C>, size: Size, ragged: bool, random: &mut Random) -> Batch {
    let Size { sequences, steps, input, .. } = size;
    let mut x = Array3::from_shape_simple_fn((sequences, steps, input), || random.real(1.5));
    let lengths = ragged.then(|| (0..sequences).map(|_| random.below(steps + 1)).collect::<Vec<_>>());
    for (sequence, length) in lengths.iter().flatten().enumerate() {
        x.slice_mut(ndarray::s![sequence, *length.., ..]).fill(f32::NAN);
    }
    let initial = network
        .cells()
        .into_iter()
        .map(|cell| {
            let (recurrent, units) = cell.widths();
            State { h: random.matrix(sequences, recurrent, 0.8), c: random.matrix(sequences, units, 0.8) }
        })
        .collect();
    Batch { x, lengths, initial, record_gates: true }
}

/// A network's cells with these activations.
pub(crate) fn with_activations(mut cell: KerasCell, phi: Activation, rho: Activation) -> KerasCell {
    cell.activation = phi;
    cell.recurrent_activation = rho;
    cell
}
