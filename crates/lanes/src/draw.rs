//! Inputs drawn on the device: the numbers of `parity::inputs`, bit for bit.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_cubecl::cubecl::prelude::KernelId;
use burn_cubecl::template::{KernelSource, SourceTemplate};
use parity::InputSpec;
use parity::inputs::{self, CYCLE, Regime, SEGMENT};
use parity::random::{NORMAL_SCALE, UNIFORM_SCALE};

use crate::sequence_op::KernelOps;
use crate::tiling::tiles;
use crate::wgsl::{bytes_of, constant_lines};
use crate::{Device, layout};

const DRAW: &str = include_str!("../../../kernels/draw.wgsl");

/// What is drawn: the codes in `draw.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draws {
    /// Input sequences.
    Input = 0,
    /// A state uniform in [−1, 1), zero for every other sequence.
    Uniform = 1,
    /// A normal state, zero for every other sequence.
    Normal = 2,
    /// Zeros.
    Zero = 3,
}

/// The number of a regime in `draw.wgsl`, in three bits.
fn code(regime: Regime) -> u32 {
    match regime {
        Regime::Normal => 0,
        Regime::Saturating => 1,
        Regime::Tiny => 2,
        Regime::Constant => 3,
        Regime::Alternating => 4,
        Regime::OneHot => 5,
    }
}

/// `draw.wgsl`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DrawKernel;

impl DrawKernel {
    /// Invocations in a workgroup.
    pub(crate) const WORKGROUP: u32 = 64;

    fn text(self) -> String {
        let constants = constant_lines(&[
            ("WORKGROUP", DrawKernel::WORKGROUP),
            ("INPUT", Draws::Input as u32),
            ("UNIFORM", Draws::Uniform as u32),
            ("NORMAL", Draws::Normal as u32),
            ("ZERO", Draws::Zero as u32),
            ("REGIME_SATURATING", code(Regime::Saturating)),
            ("REGIME_TINY", code(Regime::Tiny)),
            ("REGIME_CONSTANT", code(Regime::Constant)),
            ("REGIME_ALTERNATING", code(Regime::Alternating)),
            ("REGIME_ONE_HOT", code(Regime::OneHot)),
        ]);
        [&constants, DRAW].concat()
    }
}

impl KernelSource for DrawKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.text())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>()
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// `Parameters` of `draw.wgsl`, apart from what is the same in every version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DrawParameters {
    pub(crate) seed: u64,
    pub(crate) stream: u32,
    pub(crate) draws: Draws,
    /// The number, in the run, of the first sequence.
    pub(crate) first_sequence: u32,
    pub(crate) sequences: u32,
    /// Of x; 1 for a state.
    pub(crate) timesteps: u32,
    pub(crate) width: u32,
    /// Four sequences side by side, as `frame.wgsl` keeps states.
    pub(crate) quads: bool,
    /// Elements before these.
    pub(crate) offset: u32,
    pub(crate) elements: u32,
}

impl DrawParameters {
    fn words(&self) -> [(&'static str, u32); 18] {
        let cycle = CYCLE.iter().rev().fold(0u32, |cycle, regime| cycle << 3 | code(*regime));
        [
            ("key_low", self.seed as u32),
            ("key_high", (self.seed >> 32) as u32),
            ("stream", self.stream),
            ("draws", self.draws as u32),
            ("first_sequence", self.first_sequence),
            ("sequences", self.sequences),
            ("timesteps", self.timesteps),
            ("width", self.width),
            ("quads", self.quads.into()),
            ("offset", self.offset),
            ("elements", self.elements),
            ("cycle", cycle),
            ("regimes", CYCLE.len() as u32),
            ("segment", SEGMENT as u32),
            ("normal_scale", NORMAL_SCALE.to_bits()),
            ("uniform_scale", UNIFORM_SCALE.to_bits()),
            ("saturating", inputs::SATURATING.to_bits()),
            ("tiny", inputs::TINY.to_bits()),
        ]
    }

    /// The struct as the kernel reads it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes_of(&self.words())
    }
}

/// The buffers of `draw.wgsl`.
pub(crate) const DRAW_BINDINGS: [(&str, bool); 2] = [("values", true), ("parameters", false)];

/// Sequences of a run that are drawn on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    pub(crate) spec: InputSpec,
    /// The number, in the run, of the first one.
    pub(crate) first: usize,
    pub(crate) sequences: usize,
}

impl Drawn {
    fn parameters(&self, stream: u32, draws: Draws, timesteps: usize, width: usize) -> DrawParameters {
        DrawParameters {
            seed: self.spec.seed,
            stream,
            draws,
            first_sequence: self.first as u32,
            sequences: self.sequences as u32,
            timesteps: timesteps as u32,
            width: width as u32,
            quads: false,
            offset: 0,
            elements: (self.sequences * timesteps * width) as u32,
        }
    }

    /// x `[sequences, timesteps, input]`.
    pub(crate) fn x(&self, input: usize, device: &Device) -> Tensor<3> {
        let timesteps = self.spec.timesteps;
        let x = Tensor::<3>::empty([self.sequences, timesteps, input], device.burn());
        let parameters = self.parameters(inputs::INPUT, Draws::Input, timesteps, input);
        Tensor::from_dispatch(Dispatch::draw(x.into_dispatch(), vec![parameters]))
    }

    /// The state that a cell starts from, as the kernels keep it: h from zero if `from_zero`.
    pub(crate) fn state(&self, cell: usize, shape: StateShape, device: &Device) -> Tensor<1> {
        let StateShape { recurrent, units, from_zero, .. } = shape;
        let of_tile = 4 * tiles(self.sequences);
        let elements = 4 * layout::state_quads(self.sequences, shape);
        let (h_end, c_start) = (of_tile * recurrent, 2 * of_tile * recurrent);
        let c_end = c_start + of_tile * units;
        let part = |of_c, draws, width, start: usize, end: usize| DrawParameters {
            quads: true,
            offset: start as u32,
            elements: (end - start) as u32,
            ..self.parameters(inputs::state_stream(cell, of_c), draws, 1, width)
        };
        let of_h = if from_zero { Draws::Zero } else { Draws::Uniform };
        let mut parts = vec![
            part(false, of_h, recurrent, 0, h_end),
            part(false, Draws::Zero, recurrent, h_end, c_start),
            part(true, Draws::Normal, units, c_start, c_end),
        ];
        if elements > c_end {
            parts.push(part(false, Draws::Zero, units, c_end, elements));
        }
        let state = Tensor::<1>::empty([elements], device.burn());
        Tensor::from_dispatch(Dispatch::draw(state.into_dispatch(), parts))
    }

    /// Valid steps of each sequence.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        (self.first..self.first + self.sequences).map(|n| inputs::length(self.spec, n)).collect()
    }
}

/// The widths of a cell's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateShape {
    pub(crate) recurrent: usize,
    pub(crate) units: usize,
    pub(crate) projected: bool,
    /// h starts from zero in every sequence.
    pub(crate) from_zero: bool,
    /// Elements of x for which there is room, of each sequence.
    pub(crate) staged: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;
    use crate::shader_test::check;
    use lstm::{Network, State, Tf1Cell};
    use ndarray::{Array1, Array2};

    fn adapter() -> Device {
        Device::open(Choice::Gpu).expect("a software adapter is in the Debian package mesa-vulkan-drivers")
    }

    fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
        tensor.into_data().try_into_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    fn network(input: usize, units: usize, projected: Option<usize>) -> Network<Tf1Cell> {
        let rows = input + projected.unwrap_or(units);
        let mut cell = Tf1Cell::new(Array2::zeros((input + units, 4 * units)), Array1::zeros(4 * units)).unwrap();
        cell.kernel = Array2::zeros((rows, 4 * units));
        cell.projection = projected.map(|width| Array2::zeros((units, width)));
        let above = Tf1Cell::new(Array2::zeros((rows - input + 3, 12)), Array1::zeros(12)).unwrap();
        Network::Stack(vec![Network::Cell(cell), Network::Cell(above)])
    }

    #[test]
    fn every_regime_and_state_is_drawn_bit_for_bit() {
        let device = adapter();
        // Regimes last ten steps, so that 104 steps of 13 sequences show all of them, the last cut short; numbers from 0
        // and from far inside a run whose indices do not fit 32 bits.
        for (first, timesteps, input, units, seed) in
            [(0usize, 104, 7, 5, 0u64), (1_000_003, 23, 1, 33, 1 << 40 | 7), (4_294_967_000, 104, 3, 2, u64::MAX)]
        {
            let spec = InputSpec { sequences: first + 13, timesteps, seed };
            let drawn = Drawn { spec, first, sequences: 13 };
            for projected in [None, Some(units + 1)] {
                let network = network(input, units, projected);
                let sequences: Vec<usize> = (first..first + 13).collect();
                let right = inputs::draw_some(spec, &sequences, &network);
                let found = bits(drawn.x(input, &device));
                let expected: Vec<u32> = right.x.iter().map(|v| v.to_bits()).collect();
                let wrong = expected.iter().zip(&found).position(|(a, b)| a != b);
                assert!(found.len() == expected.len() && wrong.is_none(), "from {first}: {wrong:?}");
                assert_eq!(right.lengths, Some(drawn.lengths()));
                for (index, (cell, state)) in network.cells().into_iter().zip(&right.initial).enumerate() {
                    let projected = cell.projection.is_some();
                    let (recurrent, units) = (cell.recurrent_size(), cell.units());
                    let shape = StateShape { recurrent, units, projected, from_zero: projected, staged: 0 };
                    let given = layout::start(crate::wiring::Start::Given(state), shape, &device);
                    assert_eq!(bits(drawn.state(index, shape, &device)), bits(given), "from {first}, cell {index}");
                }
                assert!(right.initial.iter().any(|State { c, .. }| c.iter().any(|v| *v != 0.0)));
            }
        }
    }

    #[test]
    fn the_kernel_agrees_with_the_host() {
        let drawn = Drawn { spec: InputSpec::default(), first: 0, sequences: 1 };
        let parameters = drawn.parameters(0, Draws::Input, 1, 1);
        check(&DrawKernel.text(), DrawKernel::WORKGROUP, &DRAW_BINDINGS, &parameters.words());
    }

    #[test]
    fn the_cycle_of_regimes_fits_a_word_and_comes_out_again() {
        let words =
            Drawn { spec: InputSpec::default(), first: 0, sequences: 1 }.parameters(0, Draws::Input, 1, 1).words();
        let word = |name| words.iter().find(|(n, _)| *n == name).unwrap().1;
        assert!(3 * word("regimes") <= 32);
        let read: Vec<u32> =
            (0..2 * CYCLE.len() as u32).map(|k| word("cycle") >> (3 * (k % word("regimes"))) & 7).collect();
        let right: Vec<u32> = (0..2 * CYCLE.len()).map(|n| code(inputs::regime(n, 0))).collect();
        assert_eq!(read, right);
    }
}
