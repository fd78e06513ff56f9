//! What a fault is called, how it is told to people, and what to do about it.

use std::fmt;

use crate::fault::{ColumnSplit, Fault, Spot, Tensor, Tensors};
use crate::gate_order::{Gate, GateOrder};
use crate::{Activation, Tf1Cell};

impl Fault {
    /// The name used in reports: kebab-case, without parameters.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::ForgetBiasMissing => "forget-bias-missing",
            Fault::ForgetBiasDoubled => "forget-bias-doubled",
            Fault::ForgetBiasValue { .. } => "forget-bias-value",
            Fault::ForgetBiasWrongGate { .. } => "forget-bias-wrong-gate",
            Fault::GatesNotPermuted => "gates-not-permuted",
            Fault::GateOrder { .. } => "gate-order",
            Fault::BiasNotPermuted => "bias-not-permuted",
            Fault::KernelRowsRecurrentFirst => "kernel-rows-recurrent-first",
            Fault::RecurrentTransposed => "recurrent-transposed",
            Fault::RecurrentRowsRolled => "recurrent-rows-rolled",
            Fault::ColumnSplit(_) => "column-split",
            Fault::InterleavedGates { .. } => "interleaved-gates",
            Fault::FortranOrder => "fortran-order",
            Fault::CudnnLayout => "cudnn-layout",
            Fault::BiasHalfDropped => "bias-half-dropped",
            Fault::BiasMissing => "bias-missing",
            Fault::RecurrentActivation { .. } => "recurrent-activation",
            Fault::HardSigmoidDefinition { .. } => "hard-sigmoid-definition",
            Fault::Activation { .. } => "activation",
            Fault::StateSwapped => "state-swapped",
            Fault::OneStepLate => "one-step-late",
            Fault::PrecisionReduced(_) => "precision-reduced",
            Fault::WeightsDiffer(_) => "weights-differ",
            Fault::NonFinite { .. } => "non-finite",
            Fault::BackwardNotReversed => "backward-not-reversed",
            Fault::LayersSwapped { .. } => "layers-swapped",
            Fault::DirectionsSwapped { .. } => "directions-swapped",
            Fault::WrongLstm { .. } => "wrong-lstm",
            Fault::Stacking => "stacking",
            Fault::MovingAverage => "moving-average",
            Fault::OptimizerSlot => "optimizer-slot",
            Fault::ClipIgnored => "clip-ignored",
            Fault::PeepholeDropped => "peephole-dropped",
            Fault::LayerNormDropped => "layer-norm-dropped",
            Fault::ProjectionDropped => "projection-dropped",
            Fault::ProjectionDiffers { .. } => "projection-differs",
            Fault::ShapeMismatch { .. } => "shape-mismatch",
        }
    }

    /// What went wrong, as a sentence without its full stop.
    pub fn describe(&self) -> String {
        match self {
            Fault::ForgetBiasMissing => "the forget bias was not folded into the bias".into(),
            Fault::ForgetBiasDoubled => "the forget bias was added twice".into(),
            Fault::ForgetBiasValue { found } => {
                format!("a forget bias of {found} was added, which is not the cell's")
            }
            Fault::ForgetBiasWrongGate { gates } => {
                format!("the forget bias was added to {}, not to the forget gate alone", list(gates))
            }
            Fault::GatesNotPermuted => {
                "the columns keep TensorFlow's gate order i, j, f, o, and Keras reads them as i, f, c, o".into()
            }
            Fault::GateOrder { tensors, order } => format!(
                "the columns of {tensors} hold the gates in the order {}, and Keras reads them as i, f, c, o",
                letters(*order)
            ),
            Fault::BiasNotPermuted => {
                "the bias keeps TensorFlow's gate order i, j, f, o, while the kernels have Keras's i, f, c, o".into()
            }
            Fault::KernelRowsRecurrentFirst => {
                "the first rows of the fused kernel were taken for the recurrent kernel; they belong to the input"
                    .into()
            }
            Fault::RecurrentTransposed => "each gate's block of the recurrent kernel is transposed".into(),
            Fault::RecurrentRowsRolled => "the rows of the recurrent kernel are moved down by one".into(),
            Fault::ColumnSplit(split) => format!(
                "the fused kernel was split by columns, which separates gates, instead of by rows ({})",
                split.how()
            ),
            Fault::InterleavedGates { bias } => format!(
                "the columns of kernel and recurrent kernel{} were read as [units, 4], and are [4, units]",
                if *bias { " and the bias" } else { "" }
            ),
            Fault::FortranOrder => "the fused kernel was read column by column, and is stored row by row".into(),
            Fault::CudnnLayout => {
                "the kernels are in the layout of a CuDNNLSTM layer, whose gate blocks are transposed".into()
            }
            Fault::BiasHalfDropped => {
                "the bias is half of what it should be: one of the two halves of a CuDNNLSTM layer's bias".into()
            }
            Fault::BiasMissing => "the bias of the cell is not in the layer, which has zeros or no bias".into(),
            Fault::RecurrentActivation { found } => format!("the gates use {found}, which is not what the cell's use"),
            Fault::HardSigmoidDefinition { found } => format!("hard_sigmoid is computed as {found}"),
            Fault::Activation { found } => {
                format!("candidate and output use {found}, which is not the cell's activation")
            }
            Fault::StateSwapped => "the initial states h and c are exchanged".into(),
            Fault::OneStepLate => "each output is that of the step before".into(),
            Fault::PrecisionReduced(precision) => format!("the weights were rounded to {}", precision.as_str()),
            Fault::WeightsDiffer(d) => match d.count {
                1 => format!("one weight differs: {} is {}, not {}", d.at, d.found, d.expected),
                count => format!(
                    "{count} of {} weights differ, most {}, which is {}, not {}",
                    d.of, d.at, d.found, d.expected
                ),
            },
            Fault::NonFinite { count: 1, first } => format!("one weight is not finite: {first}"),
            Fault::NonFinite { count, first } => format!("{count} weights are not finite, the first is {first}"),
            Fault::BackwardNotReversed => {
                "the layer reads its input in the wrong direction, and returns its outputs in that order".into()
            }
            Fault::LayersSwapped { first, second } => {
                format!("the layers of cells {first} and {second} are exchanged")
            }
            Fault::DirectionsSwapped { forward, backward } => {
                format!("forward and backward are exchanged: cells {forward} and {backward}")
            }
            Fault::WrongLstm { expected, found } => {
                format!("the layer of cell {expected} holds the weights of cell {found}")
            }
            Fault::Stacking => {
                "two stacks side by side and a stack of bidirectional layers were taken for the same network".into()
            }
            Fault::MovingAverage => "a moving average of the weights was taken for the weights, or the reverse".into(),
            Fault::OptimizerSlot => "a slot of the optimizer was taken for the variable that it belongs to".into(),
            Fault::ClipIgnored => "the cell clips its state or its output, and a Keras LSTM does not".into(),
            Fault::PeepholeDropped => "the cell's gates see its state, and those of a Keras LSTM do not".into(),
            Fault::LayerNormDropped => "the cell normalises its gates and its state, and a Keras LSTM does not".into(),
            Fault::ProjectionDropped => {
                "the cell projects its output, and no dense layer after the Keras LSTM does".into()
            }
            Fault::ProjectionDiffers { count, of } => {
                format!(
                    "the dense layer after the Keras LSTM is not the cell's projection: {count} of {of} weights differ"
                )
            }
            Fault::ShapeMismatch { what, expected, found } => format!("{what} is {found:?}, not {expected:?}"),
        }
    }

    /// What to do about it, as a sentence without its full stop.
    pub fn advice(&self) -> String {
        self.advise("the forget bias", "units..2·units")
    }

    /// [`advice`](Self::advice) with the numbers of a cell.
    pub(crate) fn advice_for(&self, cell: &Tf1Cell) -> String {
        let units = cell.units();
        match self {
            Fault::Activation { .. } => format!("set the layer's activation to {}", cell.activation),
            _ => self.advise(&cell.forget_bias.to_string(), &format!("{units}..{}", 2 * units)),
        }
    }

    fn advise(&self, forget_bias: &str, columns: &str) -> String {
        match self {
            Fault::ForgetBiasMissing => {
                format!("add {forget_bias} to columns {columns} of the bias after permuting it")
            }
            Fault::ForgetBiasDoubled => {
                format!(
                    "add {forget_bias} once to columns {columns} of the bias; a bias that Keras trained \
                     already has it"
                )
            }
            Fault::ForgetBiasValue { .. } => {
                format!("add {forget_bias}, the value in the TensorFlow graph, to columns {columns} of the bias")
            }
            Fault::ForgetBiasWrongGate { .. } => {
                format!("add {forget_bias} to columns {columns} of the bias, after permuting it, and to no others")
            }
            Fault::GatesNotPermuted | Fault::GateOrder { .. } => {
                "take the four blocks of columns of kernel, recurrent kernel and bias in the order 0, 2, 1, 3".into()
            }
            Fault::BiasNotPermuted => {
                "take the four blocks of the bias in the order 0, 2, 1, 3, as those of the kernels".into()
            }
            Fault::KernelRowsRecurrentFirst => {
                "take the first rows, as many as inputs, for the kernel and the last, as many as units, for \
                 the recurrent kernel"
                    .into()
            }
            Fault::RecurrentTransposed => "do not transpose the recurrent kernel: both multiply from the right".into(),
            Fault::RecurrentRowsRolled => "take the recurrent rows from the row after the last input row on".into(),
            Fault::ColumnSplit(_) => {
                "split the fused kernel by rows: K[:input] is the kernel and K[input:] the recurrent kernel".into()
            }
            Fault::InterleavedGates { .. } => {
                "read the columns as four blocks of adjacent columns, one per gate".into()
            }
            Fault::FortranOrder => "read the tensor row by row (C order)".into(),
            Fault::CudnnLayout => {
                "load the weights into an LSTM layer, not a CuDNNLSTM, or undo its layout per gate".into()
            }
            Fault::BiasHalfDropped => "add the two halves of a CuDNNLSTM layer's bias".into(),
            Fault::BiasMissing => {
                format!("set use_bias and copy the permuted bias, with {forget_bias} added to columns {columns}")
            }
            Fault::RecurrentActivation { found: Activation::Sigmoid } => {
                "set the layer's recurrent_activation to the cell's, which is not sigmoid".into()
            }
            Fault::RecurrentActivation { .. } => "set the layer's recurrent_activation to sigmoid".into(),
            Fault::HardSigmoidDefinition { .. } => {
                "give the layer a function of its own: Keras 2 computes clip(0.2x + 0.5), \
                 Keras 3 clip(x/6 + 0.5)"
                    .into()
            }
            Fault::Activation { .. } => "set the layer's activation to the cell's".into(),
            Fault::StateSwapped => "pass the initial state as [h, c]: TensorFlow's tuple is (c, h)".into(),
            Fault::OneStepLate => "compare output t with input t: the first output belongs to the first input".into(),
            Fault::PrecisionReduced(_) => "keep the weights in float32 from the checkpoint to the layer".into(),
            Fault::WeightsDiffer(_) => "convert again from the checkpoint that is compared with".into(),
            Fault::NonFinite { .. } => {
                "look for the step that wrote NaN or infinity; the checkpoint's weights are finite".into()
            }
            Fault::BackwardNotReversed => {
                "let the layer read as the cell does, and bring a backward layer's outputs into the order of \
                 the steps"
                    .into()
            }
            Fault::LayersSwapped { .. } => "sort layers by number: cell_10 follows cell_9".into(),
            Fault::DirectionsSwapped { .. } => {
                "take fw for the forward layer and bw for the backward one: sorted by name, bw comes first".into()
            }
            Fault::WrongLstm { .. } => "match layers and cells by name".into(),
            Fault::Stacking => {
                "in stacked bidirectional layers the second reads both outputs of the first; in two stacks \
                 side by side only its own"
                    .into()
            }
            Fault::MovingAverage => "say which weights are wanted: the averages end in ExponentialMovingAverage".into(),
            Fault::OptimizerSlot => {
                "take the variable itself: slots end in Adam, Momentum, RMSProp and the like".into()
            }
            Fault::ProjectionDropped | Fault::ProjectionDiffers { .. } => {
                "follow the LSTM by a dense layer without bias whose kernel is the cell's projection, and take the \
                 projection times the recurrent rows for the recurrent kernel"
                    .into()
            }
            Fault::ClipIgnored | Fault::PeepholeDropped | Fault::LayerNormDropped => {
                "write a layer of its own for this cell: no weights make a Keras LSTM compute it".into()
            }
            Fault::ShapeMismatch { .. } => "compare the layer with the cell it was made from".into(),
        }
    }

    /// The fault as it stands after "correct conversion with".
    pub(crate) fn phrase(&self) -> String {
        match self {
            Fault::ForgetBiasMissing => "the forget bias missing".into(),
            Fault::ForgetBiasDoubled => "the forget bias added twice".into(),
            Fault::ForgetBiasValue { found } => format!("a forget bias of {found}"),
            Fault::ForgetBiasWrongGate { gates } => format!("the forget bias added to {}", list(gates)),
            Fault::GatesNotPermuted => "the gates not permuted".into(),
            Fault::GateOrder { tensors, order } => format!("gates {} in {tensors}", letters(*order)),
            Fault::BiasNotPermuted => "the bias not permuted".into(),
            Fault::KernelRowsRecurrentFirst => "the recurrent rows taken first".into(),
            Fault::RecurrentTransposed => "the recurrent kernel transposed gate by gate".into(),
            Fault::RecurrentRowsRolled => "the recurrent rows moved down by one".into(),
            Fault::ColumnSplit(split) => format!("the fused kernel split by columns ({})", split.how()),
            Fault::InterleavedGates { bias: true } => "columns read as [units, 4]".into(),
            Fault::InterleavedGates { bias: false } => "columns of the kernels read as [units, 4]".into(),
            Fault::FortranOrder => "the fused kernel read column by column".into(),
            Fault::CudnnLayout => "the kernels in CuDNNLSTM's layout".into(),
            Fault::BiasHalfDropped => "half of the bias".into(),
            Fault::BiasMissing => "no bias".into(),
            Fault::RecurrentActivation { found } => format!("{found} for the gates"),
            Fault::HardSigmoidDefinition { found } => format!("the other definition of hard sigmoid, {found}"),
            Fault::Activation { found } => format!("{found} for candidate and output"),
            Fault::PrecisionReduced(precision) => format!("weights rounded to {}", precision.as_str()),
            Fault::BackwardNotReversed => "the layer reading in the wrong direction".into(),
            Fault::WeightsDiffer(d) if d.count == 1 => format!("one weight off by {:e}", change(d.expected, d.found)),
            Fault::WeightsDiffer(d) => format!("{} of {} weights different", d.count, d.of),
            Fault::ClipIgnored => "the clipping ignored".into(),
            Fault::PeepholeDropped => "the peepholes dropped".into(),
            Fault::LayerNormDropped => "the layer normalisation dropped".into(),
            Fault::ProjectionDropped => "the projection dropped".into(),
            Fault::ProjectionDiffers { .. } => "another projection".into(),
            Fault::StateSwapped
            | Fault::OneStepLate
            | Fault::NonFinite { .. }
            | Fault::LayersSwapped { .. }
            | Fault::DirectionsSwapped { .. }
            | Fault::WrongLstm { .. }
            | Fault::Stacking
            | Fault::MovingAverage
            | Fault::OptimizerSlot
            | Fault::ShapeMismatch { .. } => self.describe(),
        }
    }

    /// Why the fault changes nothing on a cell, once it was seen to change nothing.
    pub(crate) fn why_unobservable(&self, cell: &Tf1Cell) -> String {
        match self {
            Fault::ForgetBiasMissing | Fault::ForgetBiasDoubled | Fault::ForgetBiasWrongGate { .. }
                if cell.forget_bias == 0.0 =>
            {
                "the forget bias is 0".into()
            }
            Fault::ForgetBiasMissing | Fault::ForgetBiasDoubled | Fault::ForgetBiasWrongGate { .. } => {
                format!("the bias is so large that {} changes no float32 in it", cell.forget_bias)
            }
            Fault::ForgetBiasValue { found } => format!("a forget bias of {found} gives the same bias in float32"),
            Fault::GatesNotPermuted | Fault::GateOrder { .. } | Fault::BiasNotPermuted => {
                "the gates that it exchanges hold the same weights".into()
            }
            Fault::RecurrentTransposed => "every gate's block of the recurrent kernel is symmetric".into(),
            Fault::RecurrentRowsRolled if cell.units() == 1 => "one row cannot be moved".into(),
            Fault::RecurrentRowsRolled => "the rows of the recurrent kernel are equal".into(),
            Fault::KernelRowsRecurrentFirst
            | Fault::ColumnSplit(_)
            | Fault::InterleavedGates { .. }
            | Fault::FortranOrder
            | Fault::CudnnLayout => {
                format!(
                    "with {} inputs, {} units and these weights every value stays in its place",
                    cell.input_size(),
                    cell.units()
                )
            }
            Fault::BiasHalfDropped | Fault::BiasMissing => "the bias is 0".into(),
            Fault::RecurrentActivation { found } => format!("the gates do use {found}"),
            Fault::HardSigmoidDefinition { .. } => "the cell does not use hard_sigmoid".into(),
            Fault::Activation { found } => format!("the cell does use {found}"),
            Fault::PrecisionReduced(precision) => format!("every weight is exact in {}", precision.as_str()),
            Fault::WeightsDiffer(_) => "the weight does have that value".into(),
            _ => "it changes nothing here".into(),
        }
    }

    /// For a property that Keras lacks, that a cell does not have it, after "the cell".
    pub(crate) fn lacking(&self) -> &'static str {
        match self {
            Fault::ClipIgnored => "does not clip",
            Fault::PeepholeDropped => "has no peepholes",
            Fault::LayerNormDropped => "has no layer normalisation",
            Fault::ProjectionDropped => "has no projection",
            _ => "does not have it",
        }
    }
}

impl ColumnSplit {
    /// How it is made, in a few words.
    fn how(self) -> &'static str {
        match self {
            ColumnSplit::HalvesAsKernels => "halves as kernel and recurrent kernel",
            ColumnSplit::HalvesStacked => "halves one above the other",
            ColumnSplit::StackedReshaped => "halves one above the other, reshaped",
            ColumnSplit::StackedReshapedApart => {
                "halves one above the other, reshaped, for input and recurrent rows apart"
            }
            ColumnSplit::StackedTransposed => "halves one above the other, transposed",
            ColumnSplit::GatesStackedReshaped => "gates one above the other, reshaped",
            ColumnSplit::HalvesExchanged => "halves exchanged",
            ColumnSplit::HalvesUnfolded => "each half unfolded into one kernel",
            ColumnSplit::AtInputColumn => "after as many columns as inputs",
        }
    }
}

impl Tensor {
    /// `kernel`, `recurrent kernel` or `bias`.
    pub fn as_str(self) -> &'static str {
        match self {
            Tensor::Kernel => "kernel",
            Tensor::RecurrentKernel => "recurrent kernel",
            Tensor::Bias => "bias",
        }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.kernel, Tensor::Kernel),
            (self.recurrent_kernel, Tensor::RecurrentKernel),
            (self.bias, Tensor::Bias),
        ];
        let names: Vec<&str> = all.into_iter().filter(|(has, _)| *has).map(|(_, tensor)| tensor.as_str()).collect();
        match &names[..] {
            [] => f.write_str("no tensor"),
            [first @ .., last] if !first.is_empty() => write!(f, "{} and {last}", first.join(", ")),
            _ => f.write_str(&names.join(", ")),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tensor {
            Tensor::Bias => write!(f, "bias column {} (gate {})", self.column, self.gate.letter()),
            tensor => write!(f, "{tensor} row {}, column {} (gate {})", self.row, self.column, self.gate.letter()),
        }
    }
}

/// The difference of two weights, in f64.
fn change(expected: f32, found: f32) -> f64 {
    (f64::from(found) - f64::from(expected)).abs()
}

fn letters(order: GateOrder) -> String {
    order.map(|gate| gate.letter().to_string()).join(", ")
}

fn list(gates: &[Gate]) -> String {
    let name = |gate: &Gate| match gate {
        Gate::Input => "the input gate",
        Gate::Forget => "the forget gate",
        Gate::Candidate => "the candidate",
        Gate::Output => "the output gate",
    };
    match gates {
        [] => "no gate".into(),
        [one] => name(one).into(),
        [first @ .., last] => {
            format!("{} and {}", first.iter().map(name).collect::<Vec<_>>().join(", "), name(last))
        }
    }
}
