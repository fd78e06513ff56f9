//! The TF1 cell: one fused kernel, blocks i, j, f, o, the forget bias added as it runs.

use lstm::{Activation, Tf1Cell};
use ndarray::s;

use super::activation::activate;
use super::panels::{Panels, Tile, accumulate, tiles};
use super::simd::Arithmetic;
use super::{Cell, Unit};

/// A cell's weights, packed.
pub(crate) struct Tf1 {
    /// The upper rows of the kernel.
    of_x: Panels,
    /// The lower ones.
    of_h: Panels,
    /// `[block, gate]`
    bias: Vec<Tile>,
    forget_bias: f32,
    activation: Activation,
    recurrent_activation: Activation,
    /// To the input, forget and output gate, each `[block]`.
    peepholes: Option<[Vec<Tile>; 3]>,
    cell_clip: Option<f32>,
    projection: Option<(Panels, f32)>,
    units: usize,
}

impl Tf1 {
    /// Whether the twin has all that the cell does: layer normalisation needs whole rows of units at once.
    pub(crate) fn covers(cell: &Tf1Cell) -> bool {
        cell.layer_norm.is_none()
    }

    /// Packs a cell's weights.
    pub(crate) fn pack(cell: &Tf1Cell) -> Tf1 {
        let input = cell.input_size();
        let peepholes = cell.peepholes.as_ref().map(|p| [&p.input, &p.forget, &p.output]);
        let vector = |v: &ndarray::Array1<f32>, groups| tiles(&v.to_vec(), groups);
        Tf1 {
            of_x: Panels::pack(cell.kernel.slice(s![..input, ..]), 4),
            of_h: Panels::pack(cell.kernel.slice(s![input.., ..]), 4),
            bias: vector(&cell.bias, 4),
            forget_bias: cell.forget_bias,
            activation: cell.activation,
            recurrent_activation: cell.recurrent_activation,
            peepholes: peepholes.map(|three| three.map(|p| vector(p, 1))),
            cell_clip: cell.cell_clip,
            projection: cell
                .projection
                .as_ref()
                .map(|p| (Panels::pack(p.view(), 1), cell.projection_clip.unwrap_or(f32::INFINITY))),
            units: cell.units(),
        }
    }
}

impl Cell for Tf1 {
    fn input(&self) -> &Panels {
        &self.of_x
    }

    fn units(&self) -> usize {
        self.units
    }

    /// `reverse_sequence` turns round the valid steps alone.
    fn step(position: usize, length: usize, _: usize, backward: bool) -> Option<usize> {
        (position < length).then(|| if backward { length - 1 - position } else { position })
    }

    /// [x, h]·K is one sum: the terms of h are added to those of x.
    #[inline(always)]
    fn pre_activate<A: Arithmetic>(
        &self,
        arithmetic: A,
        block: usize,
        sums: &mut [Tile],
        stride: usize,
        rows: &[&[f32]],
        _: &mut [Tile],
    ) {
        accumulate::<A, 4>(arithmetic, sums, stride, rows, self.of_h.block(block));
        for (gate, sums) in sums.chunks_mut(stride).enumerate() {
            let bias = self.bias[4 * block + gate];
            sums[..rows.len()].iter_mut().for_each(|sum| *sum = sum.plus(bias));
        }
    }

    #[inline(always)]
    fn gates<A: Arithmetic>(&self, block: usize, [i, j, f, o]: [&Tile; 4], c: Tile) -> Unit {
        let rho = |v| activate::<A>(self.recurrent_activation, v);
        let phi = |v| activate::<A>(self.activation, v);
        let peep = |v: Tile, gate: usize, c: Tile| match &self.peepholes {
            Some(peepholes) => v.plus(peepholes[gate][block].times(c)),
            None => v,
        };
        let i = rho(peep(*i, 0, c));
        let j = phi(*j);
        let f = rho(peep(f.map(|f| f + self.forget_bias), 1, c));
        let mut c = f.times(c).plus(i.times(j));
        if let Some(clip) = self.cell_clip {
            c = c.map(|c| c.clamp(-clip, clip));
        }
        let o = rho(peep(*o, 2, c));
        Unit { gates: [i, j, f, o], c, h: o.times(phi(c)) }
    }

    fn projection(&self) -> Option<(&Panels, f32)> {
        self.projection.as_ref().map(|(panels, clip)| (panels, *clip))
    }
}
