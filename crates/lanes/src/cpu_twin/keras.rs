//! The Keras cell: x·W and h·U apart, columns i, f, c, o, the forget bias inside the bias.

use lstm::{Activation, KerasCell};

use super::activation::activate;
use super::panels::{Panels, Tile, accumulate, tiles};
use super::simd::Arithmetic;
use super::{Cell, Unit};

/// A layer's weights, packed.
pub(crate) struct Keras {
    kernel: Panels,
    recurrent_kernel: Panels,
    /// `[block, gate]`
    bias: Vec<Tile>,
    activation: Activation,
    recurrent_activation: Activation,
    units: usize,
}

impl Keras {
    /// Packs a layer's weights; the dense layer after it is not among them.
    pub(crate) fn pack(cell: &KerasCell) -> Keras {
        Keras {
            kernel: Panels::pack(cell.kernel.view(), 4),
            recurrent_kernel: Panels::pack(cell.recurrent_kernel.view(), 4),
            bias: tiles(&cell.bias.to_vec(), 4),
            activation: cell.activation,
            recurrent_activation: cell.recurrent_activation,
            units: cell.units(),
        }
    }
}

impl Cell for Keras {
    fn input(&self) -> &Panels {
        &self.kernel
    }

    fn units(&self) -> usize {
        self.units
    }

    /// A backward layer reverses the whole sequence, and its mask holds the state over the padding that then comes
    /// first.
    fn step(position: usize, length: usize, timesteps: usize, backward: bool) -> Option<usize> {
        let t = if backward { timesteps - 1 - position } else { position };
        (t < length).then_some(t)
    }

    /// (x·W + h·U) + b, two sums.
    #[inline(always)]
    fn pre_activate<A: Arithmetic>(
        &self,
        arithmetic: A,
        block: usize,
        sums: &mut [Tile],
        stride: usize,
        rows: &[&[f32]],
        scratch: &mut [Tile],
    ) {
        let of_h = &mut scratch[..4 * rows.len()];
        of_h.fill(Tile::ZERO);
        accumulate::<A, 4>(arithmetic, of_h, rows.len(), rows, self.recurrent_kernel.block(block));
        for (gate, (sums, of_h)) in sums.chunks_mut(stride).zip(of_h.chunks(rows.len())).enumerate() {
            let bias = self.bias[4 * block + gate];
            sums.iter_mut().zip(of_h).for_each(|(sum, of_h)| *sum = sum.plus(*of_h).plus(bias));
        }
    }

    #[inline(always)]
    fn gates<A: Arithmetic>(&self, _: usize, [i, f, candidate, o]: [&Tile; 4], c: Tile) -> Unit {
        let rho = |v| activate::<A>(self.recurrent_activation, v);
        let phi = |v| activate::<A>(self.activation, v);
        let (i, f, candidate, o) = (rho(*i), rho(*f), phi(*candidate), rho(*o));
        let c = f.times(c).plus(i.times(candidate));
        Unit { gates: [i, candidate, f, o], c, h: o.times(phi(c)) }
    }

    fn projection(&self) -> Option<(&Panels, f32)> {
        None
    }
}
