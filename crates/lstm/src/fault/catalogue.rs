//! The faults worth trying on a cell.

use crate::fault::recipe::{Recipe, is_hard};
use crate::fault::{ColumnSplit, Difference, Fault, Precision, Spot, Tensor, Tensors};
use crate::gate_order::Gate::{Candidate, Forget, Input, Output};
use crate::gate_order::{GateOrder, TF1};
use crate::{Activation, Tf1Cell, convert};

/// Gate orders besides TensorFlow's that a mistake leads to: each pair of gates exchanged, and ONNX's order.
/// (f and c exchanged is [`Fault::GatesNotPermuted`]; c and o exchanged is also MIOpen's order.)
const ORDERS: [GateOrder; 6] = [
    [Forget, Input, Candidate, Output],
    [Candidate, Forget, Input, Output],
    [Output, Forget, Candidate, Input],
    [Input, Output, Candidate, Forget],
    [Input, Forget, Output, Candidate],
    [Input, Output, Forget, Candidate],
];

/// The material faults to try on a cell, in a fixed order: every way of converting it wrongly that is known to happen
/// and whose shapes fit. Some may be unobservable on this very cell; [`inject`](crate::fault::inject()) says which and
/// why. For a cell that Keras cannot express, the properties that would be lost.
pub fn catalogue(cell: &Tf1Cell) -> Vec<Fault> {
    let lacking = convert::lacking(cell);
    if !lacking.is_empty() {
        return lacking;
    }
    let projection = cell.projection.as_ref().map(|_| Fault::ProjectionDropped);
    let cell = &*convert::unprojected(cell);
    let every_gate = vec![Input, Forget, Candidate, Output];
    let mut faults = vec![
        Fault::ForgetBiasMissing,
        Fault::ForgetBiasDoubled,
        Fault::ForgetBiasValue { found: if cell.forget_bias == 1.0 { 0.5 } else { 1.0 } },
        Fault::ForgetBiasWrongGate { gates: vec![Candidate] },
        Fault::ForgetBiasWrongGate { gates: every_gate },
        Fault::GatesNotPermuted,
        Fault::BiasNotPermuted,
    ];
    faults.extend(ORDERS.map(|order| Fault::GateOrder { tensors: Tensors::ALL, order }));
    faults.extend([
        Fault::GateOrder { tensors: Tensors::KERNEL, order: TF1 },
        Fault::GateOrder { tensors: Tensors::RECURRENT, order: TF1 },
        Fault::KernelRowsRecurrentFirst,
        Fault::RecurrentTransposed,
        Fault::RecurrentRowsRolled,
    ]);
    let (input, units) = (cell.input_size(), cell.units());
    faults.extend(ColumnSplit::ALL.into_iter().filter(|s| s.fits(input, units)).map(Fault::ColumnSplit));
    let other_activation = if cell.activation == Activation::Tanh { Activation::Relu } else { Activation::Tanh };
    let other_recurrent = match cell.recurrent_activation {
        Activation::Sigmoid => Activation::HardSigmoidKeras2,
        _ => Activation::Sigmoid,
    };
    faults.extend([
        Fault::InterleavedGates { bias: true },
        Fault::FortranOrder,
        Fault::CudnnLayout,
        Fault::BiasHalfDropped,
        Fault::BiasMissing,
        Fault::RecurrentActivation { found: other_recurrent },
        Fault::HardSigmoidDefinition { found: other_hard_sigmoid(cell) },
        Fault::Activation { found: other_activation },
        Fault::StateSwapped,
        Fault::OneStepLate,
        Fault::BackwardNotReversed,
        Fault::PrecisionReduced(Precision::Float16),
        Fault::PrecisionReduced(Precision::Bfloat16),
        one_weight_off(cell),
    ]);
    faults.extend(projection);
    faults
}

/// The other definition where the cell uses hard sigmoid, else the cell's own function, which changes nothing.
fn other_hard_sigmoid(cell: &Tf1Cell) -> Activation {
    match if is_hard(cell.recurrent_activation) { cell.recurrent_activation } else { cell.activation } {
        Activation::HardSigmoidKeras2 => Activation::HardSigmoidKeras3,
        Activation::HardSigmoidKeras3 => Activation::HardSigmoidKeras2,
        other => other,
    }
}

/// The largest recurrent weight, off by one percent.
fn one_weight_off(cell: &Tf1Cell) -> Fault {
    let recurrent = Recipe::right(cell).apply(cell).recurrent_kernel;
    let mut largest = ((0, 0), 0.0f32);
    for (at, weight) in recurrent.indexed_iter() {
        if weight.abs() > largest.1.abs() {
            largest = (at, *weight);
        }
    }
    let ((row, column), expected) = largest;
    let at = Spot::new(Tensor::RecurrentKernel, row, column, cell.units());
    Fault::WeightsDiffer(Difference { count: 1, of: weights(cell), at, expected, found: expected * 1.01 })
}

fn weights(cell: &Tf1Cell) -> usize {
    cell.kernel.len() + cell.bias.len()
}
