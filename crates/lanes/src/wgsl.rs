//! The LSTM kernels of the top-level folder `kernels` as Burn's runtime takes them: source, identity, parameters.

use burn_cubecl::cubecl::prelude::KernelId;
use burn_cubecl::template::{KernelSource, SourceTemplate};
use lstm::Activation;

use crate::tiling::{Form, STAGED_STEPS, Tiling};

const ACTIVATIONS: &str = include_str!("../../../kernels/activations.wgsl");
const ACTIVATE: &str = include_str!("../../../kernels/activate.wgsl");
const PLAIN_MEMORY: &str = include_str!("../../../kernels/plain_memory.wgsl");
const WIDE_MEMORY: &str = include_str!("../../../kernels/wide_memory.wgsl");
const FRAME: &str = include_str!("../../../kernels/frame.wgsl");
const TILE: &str = include_str!("../../../kernels/tile.wgsl");
const SEQUENCE: &str = include_str!("../../../kernels/sequence.wgsl");
const STEP: &str = include_str!("../../../kernels/step.wgsl");
const VECTOR: &str = include_str!("../../../kernels/vector.wgsl");
const KERAS_LSTM: &str = include_str!("../../../kernels/keras_lstm.wgsl");
const TF1_LSTM: &str = include_str!("../../../kernels/tf1_lstm.wgsl");

/// Whose arithmetic a kernel follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cell {
    /// `keras_lstm.wgsl`
    Keras,
    /// `tf1_lstm.wgsl`
    Tf1,
}

/// What a cell has besides its kernel and bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Parts {
    pub(crate) peepholes: bool,
    pub(crate) projection: bool,
    pub(crate) cell_clip: bool,
    pub(crate) projection_clip: bool,
}

/// The kernel of a cell, with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LstmKernel {
    pub(crate) cell: Cell,
    pub(crate) parts: Parts,
    pub(crate) tiling: Tiling,
    /// φ
    pub(crate) activation: Activation,
    /// ρ in a Keras cell, σ in a TF1 cell.
    pub(crate) recurrent_activation: Activation,
    #[cfg(test)]
    planted: Option<planted::Fault>,
}

impl LstmKernel {
    /// The kernel of a cell with these activations, φ and then ρ or σ.
    pub(crate) fn new(cell: Cell, parts: Parts, tiling: Tiling, activations: [Activation; 2]) -> LstmKernel {
        let [activation, recurrent_activation] = activations;
        LstmKernel {
            cell,
            parts,
            tiling,
            activation,
            recurrent_activation,
            #[cfg(test)]
            planted: planted::now(),
        }
    }

    fn text(self) -> String {
        let text = self.right_text();
        #[cfg(test)]
        let text = planted::into_text(text, self.planted);
        text
    }

    fn right_text(self) -> String {
        let Tiling { workgroup, quads, form } = self.tiling;
        let cell = match self.cell {
            Cell::Keras => KERAS_LSTM,
            Cell::Tf1 => TF1_LSTM,
        };
        let Parts { peepholes, projection, cell_clip, projection_clip } = self.parts;
        let mut constants = vec![
            ("WORKGROUP", workgroup),
            ("QUADS", quads),
            ("PHI", code(self.activation)),
            ("RHO", code(self.recurrent_activation)),
            ("PEEPHOLES", peepholes.into()),
            ("PROJECTED", projection.into()),
            ("CELL_CLIP", cell_clip.into()),
            ("PROJECTION_CLIP", projection_clip.into()),
        ];
        let [memory, tile, route] = match form {
            Form::Sequence { shared } => {
                constants.push(("SHARED", shared));
                [PLAIN_MEMORY, TILE, SEQUENCE]
            }
            Form::Step { units, slices } => {
                constants.extend([("UNITS", units), ("SLICES", slices)]);
                [PLAIN_MEMORY, TILE, STEP]
            }
            Form::Vector { own } => {
                constants.extend([("OWN", own), ("STAGED", STAGED_STEPS as u32)]);
                [WIDE_MEMORY, "", VECTOR]
            }
        };
        [&constant_lines(&constants), ACTIVATIONS, memory, FRAME, tile, route, cell].concat()
    }
}

/// Faults that tests put into kernels.
#[cfg(test)]
pub(crate) mod planted {
    use std::cell::Cell;

    /// A piece of a kernel's text, and what stands there instead.
    pub(crate) type Fault = (&'static str, &'static str);

    thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Does something with every kernel that this thread asks for having a fault.
    pub(crate) fn with<T>(fault: Fault, run: impl FnOnce() -> T) -> T {
        FAULT.set(Some(fault));
        let result = run();
        FAULT.set(None);
        result
    }

    pub(super) fn now() -> Option<Fault> {
        FAULT.get()
    }

    pub(super) fn into_text(text: String, fault: Option<Fault>) -> String {
        let Some((right, wrong)) = fault else { return text };
        assert!(text.contains(right), "no kernel has {right}");
        text.replace(right, wrong)
    }
}

/// The lines that set a kernel's constants.
pub(crate) fn constant_lines(constants: &[(&str, u32)]) -> String {
    constants.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect()
}

impl KernelSource for LstmKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.text())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(*self)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// The element-wise kernel `activate.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ActivateKernel(pub(crate) Activation);

impl ActivateKernel {
    /// Invocations in a workgroup.
    pub(crate) const WORKGROUP: u32 = 64;
    /// Elements that one invocation computes at a time.
    pub(crate) const ELEMENTS: usize = 4;

    fn text(self) -> String {
        let constants = constant_lines(&[("WORKGROUP", ActivateKernel::WORKGROUP), ("PHI", code(self.0))]);
        [&constants, ACTIVATIONS, ACTIVATE].concat()
    }
}

impl KernelSource for ActivateKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.text())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(*self)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// The number that stands for an activation in `activations.wgsl`.
pub(crate) fn code(activation: Activation) -> u32 {
    match activation {
        Activation::Tanh => 0,
        Activation::Sigmoid => 1,
        Activation::HardSigmoidKeras2 => 2,
        Activation::HardSigmoidKeras3 => 3,
        Activation::Relu => 4,
        Activation::Relu6 => 5,
        Activation::Elu => 6,
        Activation::Softplus => 7,
        Activation::Softsign => 8,
        Activation::Linear => 9,
    }
}

/// What a dispatch does: the constants of the same names in `frame.wgsl`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Part {
    /// All there is to its steps, but for what the others do.
    #[default]
    Compute,
    /// Makes h from what the units show.
    Project,
    /// Puts x of its steps where `vector.wgsl` reads it.
    Stage,
}

/// `Parameters` of `frame.wgsl`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LstmParameters {
    /// Sequences in the batch.
    pub(crate) sequences: u32,
    /// Steps of the longest sequence.
    pub(crate) timesteps: u32,
    /// Width of the input.
    pub(crate) input: u32,
    /// Width of h.
    pub(crate) recurrent: u32,
    /// Width of c.
    pub(crate) units: u32,
    /// Read last step first.
    pub(crate) backward: bool,
    /// The first step of the dispatch, in the order of reading.
    pub(crate) first_step: u32,
    /// Steps of the dispatch.
    pub(crate) steps: u32,
    /// What the dispatch does.
    pub(crate) part: Part,
    /// Write the gates too.
    pub(crate) record_gates: bool,
    /// Added to the forget gate, in a TF1 cell.
    pub(crate) forget_bias: f32,
    /// Of c, where the kernel has that part.
    pub(crate) cell_clip: f32,
    /// Of a projected h, where the kernel has that part.
    pub(crate) projection_clip: f32,
}

impl LstmParameters {
    /// The fields in the order of the WGSL struct, four bytes each.
    fn words(&self) -> [(&'static str, u32); 13] {
        [
            ("sequences", self.sequences),
            ("timesteps", self.timesteps),
            ("input", self.input),
            ("recurrent", self.recurrent),
            ("units", self.units),
            ("backward", u32::from(self.backward)),
            ("first_step", self.first_step),
            ("steps", self.steps),
            ("part", self.part as u32),
            ("record_gates", u32::from(self.record_gates)),
            ("forget_bias", self.forget_bias.to_bits()),
            ("cell_clip", self.cell_clip.to_bits()),
            ("projection_clip", self.projection_clip.to_bits()),
        ]
    }

    /// The struct as the kernel reads it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes_of(&self.words())
    }
}

/// A struct of four-byte fields as a kernel reads it.
pub(crate) fn bytes_of(words: &[(&'static str, u32)]) -> Vec<u8> {
    words.iter().flat_map(|(_, word)| word.to_ne_bytes()).collect()
}

/// `Parameters` of `activate.wgsl`.
pub(crate) struct ActivateParameters {
    pub(crate) elements: u32,
}

impl ActivateParameters {
    fn words(&self) -> [(&'static str, u32); 1] {
        [("elements", self.elements)]
    }

    /// The struct as the kernel reads it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes_of(&self.words())
    }
}

/// How many buffers the host binds, and which of them the kernel writes: `sequence_op.rs` binds in this order.
pub(crate) const LSTM_BINDINGS: [(&str, bool); 8] = [
    ("x", false),
    ("weights", false),
    ("state", true),
    ("lengths", false),
    ("h_trace", true),
    ("c_trace", true),
    ("gates_trace", true),
    ("parameters", false),
];

/// The same for `activate.wgsl`.
pub(crate) const ACTIVATE_BINDINGS: [(&str, bool); 3] = [("x", false), ("y", true), ("parameters", false)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader_test::{check, parse, workgroup_bytes};

    fn tilings() -> [Tiling; 5] {
        [
            Tiling { workgroup: 32, quads: 2, form: Form::Sequence { shared: 1023 } },
            Tiling { workgroup: 256, quads: 1, form: Form::Sequence { shared: 64 } },
            Tiling { workgroup: 32, quads: 2, form: Form::Step { units: 32, slices: 1 } },
            Tiling { workgroup: 256, quads: 1, form: Form::Step { units: 32, slices: 8 } },
            Tiling { workgroup: 8, quads: 8, form: Form::Vector { own: 2 } },
        ]
    }

    /// Both cells on all routes, and the TF1 cell with everything it may have.
    fn kernels() -> Vec<LstmKernel> {
        let all = Parts { peepholes: true, projection: true, cell_clip: true, projection_clip: true };
        let cells = [(Cell::Keras, Parts::default()), (Cell::Tf1, Parts::default()), (Cell::Tf1, all)];
        let of_cell = |(cell, parts)| {
            tilings().map(|tiling| LstmKernel::new(cell, parts, tiling, [Activation::Tanh, Activation::Sigmoid]))
        };
        cells.into_iter().flat_map(of_cell).collect()
    }

    #[test]
    fn lstm_kernels_agree_with_the_host() {
        let parameters = LstmParameters { forget_bias: 1.0, ..LstmParameters::default() };
        assert_eq!(parameters.bytes().len(), 52);
        assert_eq!(parameters.bytes()[40..44], 1.0f32.to_ne_bytes());
        for kernel in kernels() {
            check(&kernel.text(), kernel.tiling.workgroup, &LSTM_BINDINGS, &parameters.words());
        }
    }

    #[test]
    fn the_activation_kernel_agrees_with_the_host() {
        let parameters = ActivateParameters { elements: 1 };
        for activation in Activation::ALL {
            let text = ActivateKernel(activation).text();
            check(&text, ActivateKernel::WORKGROUP, &ACTIVATE_BINDINGS, &parameters.words());
        }
    }

    #[test]
    fn every_constant_is_part_of_the_identity() {
        let texts: Vec<String> = kernels().iter().map(|k| k.text()).collect();
        let ids: Vec<String> = kernels().iter().map(|k| format!("{:?}", k.id())).collect();
        for a in 0..texts.len() {
            for b in 0..a {
                assert_eq!(texts[a] == texts[b], ids[a] == ids[b], "{} and {}", ids[a], ids[b]);
            }
        }
    }

    #[test]
    fn activation_codes_are_the_constants_of_the_same_name() {
        let (module, _) = parse(&ActivateKernel(Activation::Tanh).text());
        for activation in Activation::ALL {
            let mut name = String::new();
            for letter in format!("{activation:?}").chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            let constant = module.constants.iter().find(|(_, c)| c.name.as_deref() == Some(&name));
            let (_, constant) = constant.unwrap_or_else(|| panic!("no constant {name}"));
            let value = &module.global_expressions[constant.init];
            assert_eq!(*value, naga::Expression::Literal(naga::Literal::U32(code(activation))), "{name}");
        }
    }

    #[test]
    fn workgroup_memory_is_what_the_tiling_reserves() {
        for kernel in kernels() {
            let bytes = workgroup_bytes(&kernel.text());
            let reserved = 16
                * match kernel.tiling.form {
                    Form::Sequence { shared } => shared,
                    Form::Step { .. } => kernel.tiling.workgroup,
                    Form::Vector { .. } => {
                        assert_eq!(bytes, 0);
                        continue;
                    }
                };
            assert!(bytes > reserved && bytes <= reserved + 16, "{bytes} for {reserved}");
        }
    }
}
