//! How a conversion was made, step by step: the right one, or one with mistakes in it.

use ndarray::{Array1, Array2, Axis};

use crate::fault::gather::Layout;
use crate::fault::{Fault, Gather, Part, Precision, RowOp, Spot, Tensor, Tensors};
use crate::gate_order::{self, Gate, GateOrder, KERAS, TF1};
use crate::{Activation, KerasCell, Tf1Cell};

/// Every step of a conversion at which a mistake of the catalogue can be made, in the order of the steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recipe {
    /// Mistakes in taking the fused kernel apart.
    pub(crate) layouts: Vec<Layout>,
    /// What happened to the rows of the recurrent kernel.
    pub(crate) rows: RowOp,
    /// Gate order of the kernel.
    pub(crate) kernel: GateOrder,
    /// Gate order of the recurrent kernel.
    pub(crate) recurrent: GateOrder,
    /// The bias.
    pub(crate) bias: BiasRecipe,
    /// Rounding of the result.
    pub(crate) precision: Option<Precision>,
    /// One weight that is something else altogether.
    pub(crate) weight: Option<(Spot, f32)>,
    pub(crate) activation: Activation,
    pub(crate) recurrent_activation: Activation,
    pub(crate) go_backwards: bool,
}

/// How a bias was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BiasRecipe {
    pub(crate) order: GateOrder,
    /// Columns read as `[units, 4]`.
    pub(crate) interleaved: bool,
    /// Zeros in place of the stored bias.
    pub(crate) missing: bool,
    pub(crate) forget: ForgetBias,
    /// Then halved.
    pub(crate) halved: bool,
}

/// What was added to the bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ForgetBias {
    pub(crate) gates: Gates,
    pub(crate) value: f32,
    /// Added one time after the other.
    pub(crate) twice: bool,
}

/// A set of gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gates(pub(crate) u8);

impl Gates {
    pub(crate) const FORGET: Gates = Gates(1 << Gate::Forget as u8);

    pub(crate) fn of(gates: &[Gate]) -> Gates {
        Gates(gates.iter().fold(0, |set, gate| set | 1 << *gate as u8))
    }

    pub(crate) fn has(self, gate: Gate) -> bool {
        self.0 & (1 << gate as u8) != 0
    }

    fn list(self) -> Vec<Gate> {
        KERAS.into_iter().filter(|gate| self.has(*gate)).collect()
    }
}

impl ForgetBias {
    pub(crate) fn add(self, bias: f32, gate: Gate) -> f32 {
        match (self.gates.has(gate), self.twice) {
            (false, _) => bias,
            (true, false) => bias + self.value,
            (true, true) => bias + self.value + self.value,
        }
    }

    /// The faults that this is for a cell with forget bias `right`; `missing`: of a bias that is otherwise zero.
    fn faults(self, right: f32, missing: bool, faults: &mut Vec<Fault>) {
        if missing {
            faults.push(Fault::BiasMissing);
        }
        if self.gates.0 == 0 || self.value == 0.0 {
            if right != 0.0 && !missing {
                faults.push(Fault::ForgetBiasMissing);
            }
            return;
        }
        if self.gates != Gates::FORGET {
            faults.push(Fault::ForgetBiasWrongGate { gates: self.gates.list() });
        }
        let sum = if self.twice { 2.0 * self.value } else { self.value };
        if sum == 2.0 * right {
            faults.push(Fault::ForgetBiasDoubled);
        } else if sum != right || (missing && self.gates == Gates::FORGET) {
            faults.push(Fault::ForgetBiasValue { found: sum });
        }
    }
}

impl BiasRecipe {
    /// The value at `unit` of the block taken for `gate`, from the bias of a TF1 cell.
    pub(crate) fn value(&self, bias: &Array1<f32>, gate: Gate, unit: usize) -> f32 {
        let units = bias.len() / 4;
        let column = gate_order::position(TF1, gate) * units + unit;
        let stored = match (self.missing, self.interleaved) {
            (true, _) => 0.0,
            (false, false) => bias[column],
            (false, true) => bias[4 * (column % units) + column / units],
        };
        let sum = self.forget.add(stored, gate);
        if self.halved { 0.5 * sum } else { sum }
    }
}

impl Recipe {
    /// The right conversion.
    pub(crate) fn right(cell: &Tf1Cell) -> Recipe {
        Recipe {
            layouts: vec![],
            rows: RowOp::default(),
            kernel: KERAS,
            recurrent: KERAS,
            bias: BiasRecipe {
                order: KERAS,
                interleaved: false,
                missing: false,
                forget: ForgetBias { gates: Gates::FORGET, value: cell.forget_bias, twice: false },
                halved: false,
            },
            precision: None,
            weight: None,
            activation: cell.activation,
            recurrent_activation: cell.recurrent_activation,
            go_backwards: false,
        }
    }

    /// Makes a mistake in the conversion of `cell`. False if it is not one that weights or settings of a single layer
    /// can show.
    pub(crate) fn plant(&mut self, cell: &Tf1Cell, fault: &Fault) -> bool {
        match fault {
            Fault::ForgetBiasMissing => self.bias.forget.gates = Gates::default(),
            Fault::ForgetBiasDoubled => {
                self.bias.forget.value = cell.forget_bias;
                self.bias.forget.twice = true;
            }
            Fault::ForgetBiasValue { found } => {
                if self.bias.forget.gates.0 == 0 {
                    self.bias.forget.gates = Gates::FORGET;
                }
                self.bias.forget.value = *found;
                self.bias.forget.twice = false;
            }
            Fault::ForgetBiasWrongGate { gates } => self.bias.forget.gates = Gates::of(gates),
            Fault::GatesNotPermuted => self.set_order(Tensors::ALL, TF1),
            Fault::BiasNotPermuted => self.set_order(Tensors::BIAS, TF1),
            Fault::GateOrder { tensors, order } => self.set_order(*tensors, *order),
            Fault::KernelRowsRecurrentFirst => self.lay_out(Layout::RecurrentFirst),
            Fault::RecurrentTransposed => self.rows.transposed = true,
            Fault::RecurrentRowsRolled => self.rows.rolled = true,
            Fault::ColumnSplit(split) => self.lay_out(Layout::Column(*split)),
            Fault::InterleavedGates { bias } => {
                self.lay_out(Layout::Interleaved);
                self.bias.interleaved = *bias;
            }
            Fault::FortranOrder => self.lay_out(Layout::Fortran),
            Fault::CudnnLayout => self.lay_out(Layout::Cudnn),
            Fault::BiasHalfDropped => self.bias.halved = true,
            Fault::BiasMissing => {
                self.bias.missing = true;
                self.bias.forget.gates = Gates::default();
            }
            Fault::RecurrentActivation { found } => self.recurrent_activation = *found,
            // The gates' function where that is the hard sigmoid.
            Fault::HardSigmoidDefinition { found } if is_hard(cell.recurrent_activation) => {
                self.recurrent_activation = *found;
            }
            Fault::Activation { found } | Fault::HardSigmoidDefinition { found } => self.activation = *found,
            Fault::PrecisionReduced(precision) => self.precision = Some(*precision),
            Fault::WeightsDiffer(difference) => self.weight = Some((difference.at, difference.found)),
            Fault::BackwardNotReversed => self.go_backwards = true,
            Fault::StateSwapped
            | Fault::OneStepLate
            | Fault::NonFinite { .. }
            | Fault::LayersSwapped { .. }
            | Fault::DirectionsSwapped { .. }
            | Fault::WrongLstm { .. }
            | Fault::Stacking
            | Fault::MovingAverage
            | Fault::OptimizerSlot
            | Fault::ClipIgnored
            | Fault::PeepholeDropped
            | Fault::LayerNormDropped
            | Fault::ProjectionDropped
            | Fault::ProjectionDiffers { .. }
            | Fault::ShapeMismatch { .. } => return false,
        }
        true
    }

    fn set_order(&mut self, tensors: Tensors, order: GateOrder) {
        if tensors.kernel {
            self.kernel = order;
        }
        if tensors.recurrent_kernel {
            self.recurrent = order;
        }
        if tensors.bias {
            self.bias.order = order;
        }
    }

    /// Adds a mistake of layout after others of the same and of earlier stages; each is made only once.
    fn lay_out(&mut self, layout: Layout) {
        if !self.layouts.contains(&layout) {
            let later = |other: &Layout| other.stage() > layout.stage();
            let at = self.layouts.iter().position(later).unwrap_or(self.layouts.len());
            self.layouts.insert(at, layout);
        }
    }

    /// The mistakes in this recipe, as the fewest faults that name them, for a cell with this truth.
    pub(crate) fn faults(&self, cell: &Tf1Cell) -> Vec<Fault> {
        let mut faults = vec![];
        faults.extend(self.layouts.iter().map(|layout| match layout {
            Layout::Column(split) => Fault::ColumnSplit(*split),
            Layout::Interleaved => Fault::InterleavedGates { bias: self.bias.interleaved },
            Layout::Fortran => Fault::FortranOrder,
            Layout::RecurrentFirst => Fault::KernelRowsRecurrentFirst,
            Layout::Cudnn => Fault::CudnnLayout,
        }));
        if self.rows.transposed {
            faults.push(Fault::RecurrentTransposed);
        }
        if self.rows.rolled {
            faults.push(Fault::RecurrentRowsRolled);
        }
        let orders = [self.kernel, self.recurrent, self.bias.order];
        for (index, order) in orders.into_iter().enumerate() {
            if order == KERAS || orders[..index].contains(&order) {
                continue;
            }
            let [kernel, recurrent_kernel, bias] = orders.map(|other| other == order);
            let tensors = Tensors { kernel, recurrent_kernel, bias };
            faults.push(match (order == TF1, tensors) {
                (true, Tensors::ALL) => Fault::GatesNotPermuted,
                (true, Tensors::BIAS) => Fault::BiasNotPermuted,
                _ => Fault::GateOrder { tensors, order },
            });
        }
        self.bias.forget.faults(cell.forget_bias, self.bias.missing, &mut faults);
        if self.bias.halved {
            faults.push(Fault::BiasHalfDropped);
        }
        faults.extend(settings(cell, self.activation, self.recurrent_activation, self.go_backwards));
        faults.extend(self.precision.map(Fault::PrecisionReduced));
        faults
    }

    pub(crate) fn gather(&self, cell: &Tf1Cell) -> Gather<'_> {
        let units = cell.units();
        debug_assert!(cell.projection.is_none(), "the projection is taken out of the recurrence before");
        Gather { input: cell.kernel.nrows() - units, units, layouts: &self.layouts, rows: self.rows }
    }

    /// The layer that this recipe makes of a cell without a projection.
    pub(crate) fn apply(&self, cell: &Tf1Cell) -> KerasCell {
        let gather = self.gather(cell);
        let (input, units) = (gather.input, gather.units);
        let round = |value: f32| self.precision.map_or(value, |p| p.round(value));
        let part = |part, order: GateOrder, rows| {
            let mut made = Array2::zeros((rows, 4 * units));
            for (r, mut row) in made.outer_iter_mut().enumerate() {
                for (mut block, gate) in row.axis_chunks_iter_mut(Axis(0), units).zip(order) {
                    for (unit, value) in block.iter_mut().enumerate() {
                        *value = round(cell.kernel[gather.source(part, r, gate, unit)]);
                    }
                }
            }
            made
        };
        let mut keras = KerasCell {
            kernel: part(Part::Input, self.kernel, input),
            recurrent_kernel: part(Part::Recurrent, self.recurrent, units),
            bias: Array1::from_shape_fn(4 * units, |c| {
                round(self.bias.value(&cell.bias, self.bias.order[c / units], c % units))
            }),
            activation: self.activation,
            recurrent_activation: self.recurrent_activation,
            go_backwards: self.go_backwards,
            output_projection: None,
        };
        if let Some((spot, value)) = self.weight {
            *spot.weight_mut(&mut keras) = value;
        }
        keras
    }
}

impl Spot {
    /// The place in row `row` and column `column` of a tensor of a layer with `units` units.
    pub(crate) fn new(tensor: Tensor, row: usize, column: usize, units: usize) -> Spot {
        Spot { tensor, row, column, gate: KERAS[column / units] }
    }

    fn weight_mut(self, cell: &mut KerasCell) -> &mut f32 {
        match self.tensor {
            Tensor::Kernel => &mut cell.kernel[[self.row, self.column]],
            Tensor::RecurrentKernel => &mut cell.recurrent_kernel[[self.row, self.column]],
            Tensor::Bias => &mut cell.bias[self.column],
        }
    }
}

/// Either definition of the hard sigmoid.
pub(crate) fn is_hard(activation: Activation) -> bool {
    matches!(activation, Activation::HardSigmoidKeras2 | Activation::HardSigmoidKeras3)
}

/// The faults that a layer's settings are, beside those of a right conversion.
pub(crate) fn settings(
    cell: &Tf1Cell,
    activation: Activation,
    recurrent_activation: Activation,
    go_backwards: bool,
) -> Vec<Fault> {
    let mut faults = vec![];
    if activation != cell.activation {
        faults.push(if is_hard(activation) && is_hard(cell.activation) {
            Fault::HardSigmoidDefinition { found: activation }
        } else {
            Fault::Activation { found: activation }
        });
    }
    if recurrent_activation != cell.recurrent_activation {
        faults.push(if is_hard(recurrent_activation) && is_hard(cell.recurrent_activation) {
            Fault::HardSigmoidDefinition { found: recurrent_activation }
        } else {
            Fault::RecurrentActivation { found: recurrent_activation }
        });
    }
    if go_backwards {
        faults.push(Fault::BackwardNotReversed);
    }
    faults
}
