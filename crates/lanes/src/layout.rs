//! Weights and state in the order in which `frame.wgsl` reads them.

use burn::tensor::{Tensor, TensorData};
use lstm::{Peepholes, State};
use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::Device;
use crate::draw::StateShape;
use crate::tiling::tiles;
use crate::wiring::Start;

/// A cell's weights as the kernels read them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed(Vec<f32>);

impl Packed {
    /// Kernel and bias: the four gates of one unit side by side, the bias in the last row. The blocks, each
    /// `[rows, 4·units]`, come one below the other.
    pub(crate) fn new(blocks: &[ArrayView2<'_, f32>], bias: ArrayView1<'_, f32>) -> Packed {
        let units = bias.len() / 4;
        let rows: usize = blocks.iter().map(|b| b.nrows()).sum();
        let mut packed = Vec::with_capacity((rows + 1) * 4 * units);
        let all = blocks.iter().flat_map(|block| block.rows()).chain([bias]);
        for row in all {
            packed.extend((0..units).flat_map(|unit| (0..4).map(move |gate| row[gate * units + unit])));
        }
        Packed(packed)
    }

    /// With peepholes after them.
    pub(crate) fn with_peepholes(mut self, peepholes: Option<&Peepholes>) -> Packed {
        if let Some(p) = peepholes {
            let units = p.input.iter().zip(&p.forget).zip(&p.output);
            self.0.extend(units.flat_map(|((i, f), o)| [*i, *f, *o, 0.0]));
        }
        self
    }

    /// With a projection `[units, projected]` after them: four rows side by side, zero past the last.
    pub(crate) fn with_projection(mut self, projection: Option<&Array2<f32>>) -> Packed {
        if let Some(p) = projection {
            let (units, projected) = p.dim();
            let at = |unit: usize, column: usize| if unit < units { p[[unit, column]] } else { 0.0 };
            for first in (0..units).step_by(4) {
                self.0.extend((0..projected).flat_map(|column| (first..first + 4).map(move |unit| at(unit, column))));
            }
        }
        self
    }

    /// For the device.
    pub(crate) fn data(self) -> TensorData {
        let length = self.0.len();
        TensorData::new(self.0, [length])
    }
}

/// The `vec4` elements that the kernels keep of the state of so many sequences: h twice, c, and what the units show where
/// that is projected; and room for x of some steps.
pub(crate) fn state_quads(sequences: usize, shape: StateShape) -> usize {
    let StateShape { recurrent, units, projected, staged, .. } = shape;
    let shown = if projected { units.next_multiple_of(4) } else { 0 };
    tiles(sequences) * (2 * recurrent + units + shown + staged)
}

/// The state that a cell starts from, on the device.
pub(crate) fn start(start: Start<'_>, shape: StateShape, device: &Device) -> Tensor<1> {
    match start {
        Start::Given(initial) => Tensor::from_data(state(initial, shape), device.burn()),
        Start::Drawn(drawn, cell) => drawn.state(cell, shape, device),
    }
}

/// A state as the kernels keep it.
fn state(initial: &State, shape: StateShape) -> TensorData {
    let sequences = initial.c.nrows();
    let mut packed = vec![0f32; 4 * state_quads(sequences, shape)];
    let c_start = 2 * tiles(sequences) * shape.recurrent;
    for (start, values) in [(0, &initial.h), (c_start, &initial.c)] {
        let width = values.ncols();
        for ((sequence, row), value) in values.indexed_iter() {
            packed[4 * (start + sequence / 4 * width + row) + sequence % 4] = *value;
        }
    }
    let length = packed.len();
    TensorData::new(packed, [length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    fn floats(data: TensorData) -> Vec<f32> {
        data.try_into_vec().unwrap()
    }

    #[test]
    fn the_gates_of_a_unit_lie_side_by_side_and_the_rest_follows() {
        let kernel = array![[11., 12., 21., 22., 31., 32., 41., 42.]];
        let bias: Array1<f32> = (1..=8).map(|v| v as f32).collect();
        let packed = Packed::new(&[kernel.view()], bias.view());
        let plain = [11., 21., 31., 41., 12., 22., 32., 42., 1., 3., 5., 7., 2., 4., 6., 8.];
        assert_eq!(floats(packed.clone().data()), plain);
        let peepholes = Peepholes { input: array![1., 2.], forget: array![3., 4.], output: array![5., 6.] };
        let projection = array![[1., 2., 3.], [4., 5., 6.]];
        let rich = floats(packed.with_peepholes(Some(&peepholes)).with_projection(Some(&projection)).data());
        assert_eq!(rich[..16], plain);
        assert_eq!(rich[16..24], [1., 3., 5., 0., 2., 4., 6., 0.]);
        assert_eq!(rich[24..], [1., 4., 0., 0., 2., 5., 0., 0., 3., 6., 0., 0.]);
    }

    #[test]
    fn four_sequences_of_a_state_lie_side_by_side() {
        let initial = State {
            h: Array2::from_shape_fn((5, 2), |(n, u)| (10 * n + u + 100) as f32),
            c: Array2::from_shape_fn((5, 3), |(n, u)| (10 * n + u + 200) as f32),
        };
        let shape = StateShape { recurrent: 2, units: 3, projected: true, from_zero: false, staged: 5 };
        let packed = floats(state(&initial, shape));
        // Eight tiles: h twice, c, three units' output rounded up to four, and room for x.
        assert_eq!(packed.len(), 4 * 8 * (2 * 2 + 3 + 4 + 5));
        assert_eq!(packed[..8], [100., 110., 120., 130., 101., 111., 121., 131.]);
        assert_eq!(packed[8..16], [140., 0., 0., 0., 141., 0., 0., 0.]);
        assert!(packed[16..128].iter().all(|v| *v == 0.0));
        assert_eq!(packed[128..132], [200., 210., 220., 230.]);
        assert_eq!(packed[140..144], [240., 0., 0., 0.]);
        assert!(packed[152..].iter().all(|v| *v == 0.0));
    }
}
