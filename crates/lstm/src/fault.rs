//! The catalogue of mistakes that a conversion to Keras can make, as a closed set, and how each looks in the weights.
//!
//! A fault is either found in a candidate ([`diagnose`](crate::diagnose)) or planted in a right conversion
//! ([`inject`]) to see whether a comparison would notice it. Both use the same description of what a mistake does to
//! the weights, so that what can be planted can be found.

mod catalogue;
mod gather;
mod inject;
pub(crate) mod recipe;
mod rounding;
mod text;

pub use catalogue::catalogue;
pub(crate) use gather::{Gather, Layout, Part, RowOp, Stage};
pub use inject::{Injected, inject, inject_all};
pub(crate) use inject::{same, same_weight};

use crate::Activation;
use crate::gate_order::{Gate, GateOrder};

/// One mistake. [`name`](Fault::name) is what reports call it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The forget bias, which TensorFlow adds at run time, was not folded into the bias.
    ForgetBiasMissing,
    /// The forget bias was added a second time.
    ForgetBiasDoubled,
    /// Another value than the cell's forget bias was added.
    ForgetBiasValue {
        /// What was added.
        found: f32,
    },
    /// The forget bias was added to other gates than the forget gate, or to more.
    ForgetBiasWrongGate {
        /// The gates it was added to.
        gates: Vec<Gate>,
    },
    /// Kernels and bias keep TensorFlow's gate order; the forget bias is on the forget gate.
    GatesNotPermuted,
    /// Some tensors have another gate order than Keras's, other than [`GatesNotPermuted`](Self::GatesNotPermuted) and
    /// [`BiasNotPermuted`](Self::BiasNotPermuted).
    GateOrder {
        /// Which tensors.
        tensors: Tensors,
        /// The gate whose weights each of the four blocks of columns holds.
        order: GateOrder,
    },
    /// The bias keeps TensorFlow's gate order, the kernels do not.
    BiasNotPermuted,
    /// The first `units` rows of the fused kernel were taken for the recurrent kernel, the rest for the kernel.
    KernelRowsRecurrentFirst,
    /// Each gate's block of the recurrent kernel is transposed.
    RecurrentTransposed,
    /// The rows of the recurrent kernel are moved down by one, the last one first.
    RecurrentRowsRolled,
    /// The fused kernel was split by columns, which separates gates, instead of by rows.
    ColumnSplit(ColumnSplit),
    /// The columns were read as `[units, 4]` instead of `[4, units]`.
    InterleavedGates {
        /// Whether the bias was read so too.
        bias: bool,
    },
    /// The bytes of the fused kernel were read column by column.
    FortranOrder,
    /// The kernels are in the layout of a `CuDNNLSTM` layer.
    CudnnLayout,
    /// Only one of the two halves, into which a `CuDNNLSTM` layer splits the bias evenly, was kept.
    BiasHalfDropped,
    /// The bias is zero, or the layer has none.
    BiasMissing,
    /// The gates use another function than the sigmoid.
    RecurrentActivation {
        /// What they use.
        found: Activation,
    },
    /// Hard sigmoid as the other generation of Keras defines it.
    HardSigmoidDefinition {
        /// The definition used.
        found: Activation,
    },
    /// Candidate and output use another function than the cell.
    Activation {
        /// What they use.
        found: Activation,
    },
    /// The initial states h and c are exchanged.
    StateSwapped,
    /// Outputs are those of the step before.
    OneStepLate,
    /// Weights were rounded to a shorter format.
    PrecisionReduced(Precision),
    /// Weights differ and no other fault says why.
    WeightsDiffer(Difference),
    /// Weights are infinite or not a number.
    NonFinite {
        /// How many.
        count: usize,
        /// The first one, in the order kernel, recurrent kernel, bias.
        first: Spot,
    },
    /// The layer reads its input the wrong way round, and returns outputs in that order.
    BackwardNotReversed,
    /// Two layers of a stack are exchanged. Numbers are indices into [`Network::cells`](crate::Network::cells).
    LayersSwapped {
        /// The cell that the second layer holds.
        first: usize,
        /// The cell that the first layer holds.
        second: usize,
    },
    /// Forward and backward are exchanged. Numbers are indices into [`Network::cells`](crate::Network::cells).
    DirectionsSwapped {
        /// The forward cell.
        forward: usize,
        /// The backward cell.
        backward: usize,
    },
    /// A layer holds another cell's weights. Numbers are indices into [`Network::cells`](crate::Network::cells).
    WrongLstm {
        /// The cell that the layer should hold.
        expected: usize,
        /// The cell that it does hold.
        found: usize,
    },
    /// Two stacks side by side were taken for a stack of bidirectional layers, or the reverse.
    Stacking,
    /// A moving average of the weights was taken instead of the weights, or the reverse.
    MovingAverage,
    /// A slot of the optimizer was taken instead of the variable it belongs to.
    OptimizerSlot,
    /// The cell clips its state or its output, and the layer does not.
    ClipIgnored,
    /// The cell's gates see its state, and the layer's do not.
    PeepholeDropped,
    /// The cell normalises its gates and its state, and the layer does not.
    LayerNormDropped,
    /// The cell projects its output, and no dense layer after the layer does.
    ProjectionDropped,
    /// The dense layer after the layer is not the cell's projection.
    ProjectionDiffers {
        /// How many of its weights differ.
        count: usize,
        /// Of how many.
        of: usize,
    },
    /// Shapes do not fit.
    ShapeMismatch {
        /// What has the wrong shape.
        what: String,
        /// The right shape.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
}

/// One of the three tensors of a Keras layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tensor {
    /// `[input, 4·units]`.
    Kernel,
    /// `[units, 4·units]`.
    RecurrentKernel,
    /// `[4·units]`.
    Bias,
}

/// A choice of the three tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensors {
    /// The kernel.
    pub kernel: bool,
    /// The recurrent kernel.
    pub recurrent_kernel: bool,
    /// The bias.
    pub bias: bool,
}

impl Tensors {
    /// All three.
    pub const ALL: Tensors = Tensors { kernel: true, recurrent_kernel: true, bias: true };
    /// Kernel and recurrent kernel.
    pub const KERNELS: Tensors = Tensors { kernel: true, recurrent_kernel: true, bias: false };
    /// The kernel alone.
    pub const KERNEL: Tensors = Tensors { kernel: true, recurrent_kernel: false, bias: false };
    /// The recurrent kernel alone.
    pub const RECURRENT: Tensors = Tensors { kernel: false, recurrent_kernel: true, bias: false };
    /// The bias alone.
    pub const BIAS: Tensors = Tensors { kernel: false, recurrent_kernel: false, bias: true };
}

/// One weight of a Keras layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Which tensor.
    pub tensor: Tensor,
    /// Its row; 0 for the bias.
    pub row: usize,
    /// Its column, in `0..4·units`.
    pub column: usize,
    /// The gate that Keras gives the column to.
    pub gate: Gate,
}

/// Weights that differ: how many, and the one that differs most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// How many differ. Only a single one can be injected.
    pub count: usize,
    /// Of how many weights.
    pub of: usize,
    /// Where the difference is largest.
    pub at: Spot,
    /// The value that belongs there.
    pub expected: f32,
    /// The value found there.
    pub found: f32,
}

/// Ways of splitting the fused kernel `K` `[input + units, 4·units]` by columns, where `H1 = K[:, :2·units]` holds gates
/// i and j, and `H2 = K[:, 2·units:]` gates f and o.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnSplit {
    /// `H1` as kernel, `H2` as recurrent kernel: fits no layer.
    HalvesAsKernels,
    /// `[H1; H2]`, the halves one above the other, in place of `K`: fits no layer.
    HalvesStacked,
    /// `[H1; H2]` reshaped to the shape of `K`.
    StackedReshaped,
    /// The same for input rows and recurrent rows apart.
    StackedReshapedApart,
    /// `[H1; H2]` transposed. Fits only where input and units are equal.
    StackedTransposed,
    /// The four gates one above the other, reshaped to the shape of `K`.
    GatesStackedReshaped,
    /// `[H2 H1]`, the halves exchanged.
    HalvesExchanged,
    /// `[H1[:units] H1[units:]]` as kernel, `[H2[:units] H2[units:]]` as recurrent kernel. Fits only where input and
    /// units are equal.
    HalvesUnfolded,
    /// `K[:, :input]` and `K[:, input:]`: fits no layer.
    AtInputColumn,
}

impl ColumnSplit {
    /// Every variant.
    pub const ALL: [ColumnSplit; 9] = [
        ColumnSplit::HalvesAsKernels,
        ColumnSplit::HalvesStacked,
        ColumnSplit::StackedReshaped,
        ColumnSplit::StackedReshapedApart,
        ColumnSplit::StackedTransposed,
        ColumnSplit::GatesStackedReshaped,
        ColumnSplit::HalvesExchanged,
        ColumnSplit::HalvesUnfolded,
        ColumnSplit::AtInputColumn,
    ];

    /// Whether a Keras layer of these widths accepts the shapes that result.
    pub fn fits(self, input: usize, units: usize) -> bool {
        match self {
            ColumnSplit::HalvesAsKernels | ColumnSplit::HalvesStacked | ColumnSplit::AtInputColumn => false,
            ColumnSplit::StackedTransposed | ColumnSplit::HalvesUnfolded => input == units,
            ColumnSplit::StackedReshaped
            | ColumnSplit::StackedReshapedApart
            | ColumnSplit::GatesStackedReshaped
            | ColumnSplit::HalvesExchanged => true,
        }
    }
}

/// A float format shorter than float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// IEEE 754 binary16: 11 significant bits.
    Float16,
    /// The upper half of a float32: 8 significant bits.
    Bfloat16,
}

impl Precision {
    /// `float16` or `bfloat16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Precision::Float16 => "float16",
            Precision::Bfloat16 => "bfloat16",
        }
    }

    /// The nearest value of the format, ties to even; infinite beyond its range.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Precision::Float16 => rounding::to_float16(value),
            Precision::Bfloat16 => rounding::to_bfloat16(value),
        }
    }
}

#[cfg(test)]
mod tests;
