//! Planting a fault in a right conversion.

use crate::convert;
use crate::fault::recipe::Recipe;
use crate::fault::{Fault, Tensor};
use crate::{KerasCell, Tf1Cell};

/// What a fault does to the conversion of one cell.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "made one at a time, and nearly always a layer")]
pub enum Injected {
    /// The wrong layer.
    Cell(KerasCell),
    /// On this cell the mistake changes nothing, or gives shapes that no layer accepts; says why.
    Unobservable(String),
    /// The mistake is made in feeding or wiring layers, not in what a layer holds.
    NotOnWeights,
}

/// The layer that a conversion with this mistake makes of `cell`.
pub fn inject(cell: &Tf1Cell, fault: &Fault) -> Injected {
    inject_all(cell, std::slice::from_ref(fault))
}

/// The layer that a conversion with all these mistakes makes of `cell`. Each is made at its own step of the conversion,
/// whatever
/// their order here, and once; of two that contradict each other the later one counts.
pub fn inject_all(cell: &Tf1Cell, faults: &[Fault]) -> Injected {
    // A property that Keras lacks can be lost, and no other fault has a right conversion to start from.
    if let Some(property) = faults.iter().find(|f| is_loss(f)) {
        let (nearest, mut lacking) = convert::nearest(cell);
        lacking.extend(cell.projection.as_ref().map(|_| Fault::ProjectionDropped));
        if !lacking.contains(property) {
            return Injected::Unobservable(format!("the cell {}", property.lacking()));
        }
        let dropped = faults.contains(&Fault::ProjectionDropped);
        let output_projection = nearest.output_projection.filter(|_| !dropped);
        return Injected::Cell(KerasCell { output_projection, ..nearest });
    }
    if let Err(why) = convert::representable(cell) {
        return Injected::Unobservable(format!("the cell has no right conversion: {why}"));
    }
    let projection = cell.projection.clone();
    let cell = &*convert::unprojected(cell);
    let (input, units) = (cell.input_size(), cell.units());
    for fault in faults {
        if let Fault::ColumnSplit(split) = fault
            && !split.fits(input, units)
        {
            return Injected::Unobservable(format!(
                "with {input} inputs and {units} units this gives shapes that no layer accepts"
            ));
        }
        if let Fault::WeightsDiffer(difference) = fault {
            let (row, column) = (difference.at.row, difference.at.column);
            let rows = match difference.at.tensor {
                Tensor::Kernel => input,
                Tensor::RecurrentKernel => units,
                Tensor::Bias => 1,
            };
            if row >= rows || column >= 4 * units {
                return Injected::Unobservable(format!("the layer has no weight in row {row}, column {column}"));
            }
        }
    }
    let right = Recipe::right(cell);
    let mut wrong = right.clone();
    for fault in faults {
        if !wrong.plant(cell, fault) {
            return Injected::NotOnWeights;
        }
    }
    let injected = wrong.apply(cell);
    if same(&injected, &right.apply(cell)) {
        let why = faults.iter().map(|f| f.why_unobservable(cell)).collect::<Vec<_>>().join("; ");
        return Injected::Unobservable(why);
    }
    Injected::Cell(KerasCell { output_projection: projection, ..injected })
}

fn is_loss(fault: &Fault) -> bool {
    use Fault::{ClipIgnored, LayerNormDropped, PeepholeDropped, ProjectionDropped};
    matches!(fault, ClipIgnored | PeepholeDropped | LayerNormDropped | ProjectionDropped)
}

/// Whether two layers compute the same: equal settings, equal shapes and equal weights. Zeros are equal whatever their
/// sign, and NaN is equal to NaN.
pub(crate) fn same(a: &KerasCell, b: &KerasCell) -> bool {
    (a.activation, a.recurrent_activation, a.go_backwards) == (b.activation, b.recurrent_activation, b.go_backwards)
        && a.kernel.dim() == b.kernel.dim()
        && a.recurrent_kernel.dim() == b.recurrent_kernel.dim()
        && a.bias.dim() == b.bias.dim()
        && a.output_projection == b.output_projection
        && a.kernel.iter().zip(&b.kernel).all(|(a, b)| same_weight(*a, *b))
        && a.recurrent_kernel.iter().zip(&b.recurrent_kernel).all(|(a, b)| same_weight(*a, *b))
        && a.bias.iter().zip(&b.bias).all(|(a, b)| same_weight(*a, *b))
}

/// Whether two weights are equal: zeros whatever their sign, NaN to NaN.
pub(crate) fn same_weight(a: f32, b: f32) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}
