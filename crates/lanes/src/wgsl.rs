//! The kernels of the top-level folder `kernels` as Burn's runtime takes them: source, identity, parameters.

use burn_cubecl::cubecl::prelude::KernelId;
use burn_cubecl::template::{KernelSource, SourceTemplate};
use lstm::Activation;

use crate::tiling::Tiling;

const ACTIVATIONS: &str = include_str!("../../../kernels/activations.wgsl");
const ACTIVATE: &str = include_str!("../../../kernels/activate.wgsl");
const SEQUENCE: &str = include_str!("../../../kernels/sequence.wgsl");
const KERAS_LSTM: &str = include_str!("../../../kernels/keras_lstm.wgsl");
const TF1_LSTM: &str = include_str!("../../../kernels/tf1_lstm.wgsl");

/// A sequence kernel: which cell it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cell {
    /// `keras_lstm.wgsl`
    Keras,
    /// `tf1_lstm.wgsl`
    Tf1,
}

/// A sequence kernel with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SequenceKernel {
    pub(crate) cell: Cell,
    pub(crate) tiling: Tiling,
    /// φ
    pub(crate) activation: Activation,
    /// ρ in a Keras cell, σ in a TF1 cell.
    pub(crate) recurrent_activation: Activation,
}

impl SequenceKernel {
    fn text(self) -> String {
        let Tiling { workgroup, quads, shared } = self.tiling;
        let cell = match self.cell {
            Cell::Keras => KERAS_LSTM,
            Cell::Tf1 => TF1_LSTM,
        };
        let (phi, rho) = (code(self.activation), code(self.recurrent_activation));
        let constants = format!(
            "const WORKGROUP: u32 = {workgroup}u;\nconst QUADS: u32 = {quads}u;\nconst SHARED: u32 = {shared}u;\n\
             const PHI: u32 = {phi}u;\nconst RHO: u32 = {rho}u;\n"
        );
        [&constants, ACTIVATIONS, SEQUENCE, cell].concat()
    }
}

impl KernelSource for SequenceKernel {
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
        let constants =
            format!("const WORKGROUP: u32 = {}u;\nconst PHI: u32 = {}u;\n", ActivateKernel::WORKGROUP, code(self.0));
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

/// `Parameters` of `sequence.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SequenceParameters {
    /// Sequences in the batch.
    pub(crate) sequences: u32,
    /// Steps of the longest sequence.
    pub(crate) timesteps: u32,
    /// Width of the input.
    pub(crate) input: u32,
    /// Width of the state.
    pub(crate) units: u32,
    /// Read last step first.
    pub(crate) backward: bool,
    /// The first step of the dispatch, in the order of reading.
    pub(crate) first_step: u32,
    /// Steps of the dispatch.
    pub(crate) steps: u32,
    /// Write the gates too.
    pub(crate) record_gates: bool,
    /// Added to the forget gate, in the TF1 kernel.
    pub(crate) forget_bias: f32,
}

impl SequenceParameters {
    /// The fields in the order of the WGSL struct, four bytes each.
    fn words(&self) -> [(&'static str, u32); 9] {
        [
            ("sequences", self.sequences),
            ("timesteps", self.timesteps),
            ("input", self.input),
            ("units", self.units),
            ("backward", u32::from(self.backward)),
            ("first_step", self.first_step),
            ("steps", self.steps),
            ("record_gates", u32::from(self.record_gates)),
            ("forget_bias", self.forget_bias.to_bits()),
        ]
    }

    /// The struct as the kernel reads it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.words().iter().flat_map(|(_, word)| word.to_ne_bytes()).collect()
    }
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
        self.words().iter().flat_map(|(_, word)| word.to_ne_bytes()).collect()
    }
}

/// How many buffers the host binds, and which of them the kernel writes: `sequence_op.rs` binds in this order.
pub(crate) const SEQUENCE_BINDINGS: [(&str, bool); 8] = [
    ("x", false),
    ("weights", false),
    ("initial", false),
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
    use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
    use naga::{AddressSpace, Module, TypeInner};

    use super::*;

    fn tilings() -> Vec<Tiling> {
        [(32, 2, 1023), (256, 1, 64)].map(|(workgroup, quads, shared)| Tiling { workgroup, quads, shared }).to_vec()
    }

    fn sequence_kernels() -> Vec<SequenceKernel> {
        let both = [Cell::Keras, Cell::Tf1];
        both.iter()
            .flat_map(|cell| {
                tilings().into_iter().map(|tiling| SequenceKernel {
                    cell: *cell,
                    tiling,
                    activation: Activation::Tanh,
                    recurrent_activation: Activation::Sigmoid,
                })
            })
            .collect()
    }

    fn valid(text: &str) -> (Module, ModuleInfo) {
        let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
        // No capability beyond WebGPU's own: the kernels must run anywhere.
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|e| panic!("{}", e.emit_to_string(text)));
        (module, info)
    }

    fn check(text: &str, workgroup: u32, bindings: &[(&str, bool)], parameters: &[(&'static str, u32)]) {
        let (module, info) = valid(text);
        let [entry] = module.entry_points.as_slice() else { panic!("one entry point") };
        assert_eq!((entry.name.as_str(), entry.workgroup_size), ("main", [workgroup, 1, 1]));

        let uses = info.get_entry_point(0);
        let mut found = vec![];
        for (handle, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            let name = variable.name.clone().unwrap();
            // Two tensors may lie in one buffer, which then has to have one kind of access.
            let AddressSpace::Storage { access } = variable.space else { panic!("{name} is not a storage buffer") };
            assert!(
                access.contains(naga::StorageAccess::LOAD | naga::StorageAccess::STORE),
                "{name} is not read_write"
            );
            assert!(!uses[handle].is_empty(), "{name} is not used, so an automatic layout would leave it out");
            assert_eq!(binding.group, 0);
            found.push((binding.binding, name.clone(), uses[handle].contains(GlobalUse::WRITE)));
            if name == "parameters" {
                let TypeInner::Struct { members, span } = &module.types[variable.ty].inner else { panic!("a struct") };
                let host: Vec<_> = parameters.iter().enumerate().map(|(i, (name, _))| (*name, 4 * i as u32)).collect();
                let kernel: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap(), m.offset)).collect();
                assert_eq!(kernel, host);
                assert_eq!(*span as usize, 4 * parameters.len());
            }
        }
        found.sort();
        let host: Vec<_> =
            bindings.iter().enumerate().map(|(i, (name, written))| (i as u32, (*name).to_owned(), *written)).collect();
        assert_eq!(found, host);
    }

    #[test]
    fn sequence_kernels_agree_with_the_host() {
        let parameters = SequenceParameters {
            sequences: 1,
            timesteps: 2,
            input: 3,
            units: 4,
            backward: true,
            first_step: 5,
            steps: 6,
            record_gates: true,
            forget_bias: 1.0,
        };
        assert_eq!(parameters.bytes().len(), 36);
        assert_eq!(parameters.bytes()[32..], 1.0f32.to_ne_bytes());
        for kernel in sequence_kernels() {
            check(&kernel.text(), kernel.tiling.workgroup, &SEQUENCE_BINDINGS, &parameters.words());
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
    fn activation_codes_are_the_constants_of_the_same_name() {
        let (module, _) = valid(&ActivateKernel(Activation::Tanh).text());
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
        for kernel in sequence_kernels() {
            let (module, _) = valid(&kernel.text());
            let bytes: u32 = module
                .global_variables
                .iter()
                .filter(|(_, v)| v.space == AddressSpace::WorkGroup)
                .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
                .sum();
            let reserved = kernel.tiling.shared * 16;
            assert!(bytes > reserved && bytes <= reserved + 16, "{bytes} for {reserved}");
        }
    }
}
