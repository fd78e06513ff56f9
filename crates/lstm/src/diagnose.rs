//! Which mistake of the [catalogue](crate::fault) made a candidate what it is.
//!
//! A candidate is compared with the weights that every mistake, and every composition of mistakes, would have made of
//! the true cell. Mistakes in layout move weights, mistakes with the forget bias add to one block of the bias, and both
//! leave exact traces: what is explained is explained to the last bit, or the rest is said.

mod bias;
mod network;
mod projection;
mod sample;
mod search;

pub use network::{NetworkExplanation, explain_network};

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};

use crate::fault::recipe::{Recipe, settings};
use crate::fault::{ColumnSplit, Difference, Fault, Spot, Tensor, same};
use crate::{KerasCell, Tf1Cell, convert};
use search::Remainder;

/// What explains a candidate, wholly or in part.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The mistakes, the more basic ones first; [`Fault::WeightsDiffer`] last where they leave something unexplained.
    pub faults: Vec<Fault>,
    /// The largest difference between a weight of the candidate and the same weight of a conversion with these
    /// mistakes. Where shapes do not fit or weights are not finite, infinite.
    pub residual: f64,
    /// Whether the mistakes explain every weight exactly.
    pub equal: bool,
    /// The explanation in a sentence without its full stop, with the residual.
    pub text: String,
    /// What to do about it.
    pub advice: String,
}

/// Explains what a candidate has that a right conversion of `truth` does not have: the best explanation first, then
/// others that give the very same weights. Empty if and only if the candidate is right: equal settings and equal
/// weights (zeros are equal whatever their sign).
///
/// The best explanation is the one with the fewest mistakes, where what mistakes leave unexplained counts the more the
/// more weights it concerns.
pub fn explain(truth: &Tf1Cell, candidate: &KerasCell) -> Vec<Explanation> {
    let mut losses = convert::lacking(truth);
    losses.extend(projection::fault(truth, candidate));
    let truth = &*convert::unprojected(truth);
    let candidate = &KerasCell { output_projection: None, ..candidate.clone() };
    let mismatches = shape_mismatches(truth, shapes_of(candidate));
    if !mismatches.is_empty() {
        return vec![misshapen(truth, losses.into_iter().chain(mismatches).collect())];
    }
    if same(candidate, &Recipe::right(truth).apply(truth)) {
        return if losses.is_empty() {
            vec![]
        } else {
            vec![explanation(truth, losses, &Remainder::default(), candidate)]
        };
    }
    if let Some(fault) = non_finite(truth, candidate) {
        let (text, advice) = (fault.describe(), fault.advice_for(truth));
        return vec![Explanation { faults: vec![fault], residual: f64::INFINITY, equal: false, text, advice }];
    }
    let mut explanations: Vec<Explanation> = search::search(truth, candidate)
        .into_iter()
        .map(|(faults, remainder)| {
            explanation(truth, losses.iter().cloned().chain(faults).collect(), &remainder, candidate)
        })
        .collect();
    let others: Vec<String> = explanations
        .iter()
        .skip(1)
        .map(|e| e.faults.iter().map(Fault::phrase).collect::<Vec<_>>().join(" and "))
        .collect();
    if let (Some(first), false) = (explanations.first_mut(), others.is_empty()) {
        first.text += &format!(" (on this cell the same as {})", others.join(", or as "));
    }
    explanations
}

/// [`explain`] for arrays whose shapes may fit no layer: splits of the fused kernel by columns are recognised, with
/// gates permuted or not, and other arrays reported by shape. `bias` is `None` for a layer without bias.
pub fn explain_arrays(
    truth: &Tf1Cell,
    kernel: ArrayView2<'_, f32>,
    recurrent_kernel: ArrayView2<'_, f32>,
    bias: Option<ArrayView1<'_, f32>>,
) -> Vec<Explanation> {
    let bias = bias.map_or_else(|| Array1::zeros(kernel.ncols()), |b| b.to_owned());
    if let Ok(cell) = KerasCell::new(kernel.to_owned(), recurrent_kernel.to_owned(), bias.clone()) {
        return explain(truth, &KerasCell { activation: truth.activation, ..cell });
    }
    for split in [
        ColumnSplit::HalvesAsKernels,
        ColumnSplit::HalvesStacked,
        ColumnSplit::AtInputColumn,
        ColumnSplit::StackedTransposed,
    ] {
        if misfits(truth, split).iter().any(|(k, r)| k == kernel && r.as_ref().is_none_or(|r| r == recurrent_kernel)) {
            let fault = Fault::ColumnSplit(split);
            let text = format!("candidate = {}: shapes that fit no layer, residual 0", fault.phrase());
            let advice = fault.advice_for(truth);
            return vec![Explanation { faults: vec![fault], residual: 0.0, equal: true, text, advice }];
        }
    }
    let arrays = [kernel.into_dyn(), recurrent_kernel.into_dyn(), bias.view().into_dyn()];
    let flat = convert::unprojected(truth);
    vec![misshapen(truth, shape_mismatches(&flat, arrays.each_ref().map(|a| a.shape())))]
}

/// The arrays that a split by columns gives where they fit no layer: kernel and, where it has one, recurrent kernel;
/// from the fused kernel as stored and with its gates permuted.
fn misfits(truth: &Tf1Cell, split: ColumnSplit) -> Vec<(Array2<f32>, Option<Array2<f32>>)> {
    let permuted = crate::gate_order::reorder(truth.kernel.view(), crate::gate_order::TF1, crate::gate_order::KERAS);
    let (units, input) = (truth.units(), truth.input_size());
    let of = |k: &Array2<f32>| {
        let at = |column: usize| (k.slice(s![.., ..column]).to_owned(), k.slice(s![.., column..]).to_owned());
        let stacked = || {
            let (left, right) = at(2 * units);
            concatenate(Axis(0), &[left.view(), right.view()]).expect("halves of a matrix have the same width")
        };
        match split {
            ColumnSplit::HalvesAsKernels => {
                let (left, right) = at(2 * units);
                (left, Some(right))
            }
            ColumnSplit::AtInputColumn => {
                let (left, right) = at(input.min(k.ncols()));
                (left, Some(right))
            }
            ColumnSplit::StackedTransposed => (stacked().reversed_axes().as_standard_layout().into_owned(), None),
            _ => (stacked(), None),
        }
    };
    vec![of(&truth.kernel), of(&permuted)]
}

fn shapes_of(cell: &KerasCell) -> [&[usize]; 3] {
    [cell.kernel.shape(), cell.recurrent_kernel.shape(), cell.bias.shape()]
}

/// The tensors of a candidate whose shapes are not those of a right conversion.
fn shape_mismatches(truth: &Tf1Cell, [kernel, recurrent, bias]: [&[usize]; 3]) -> Vec<Fault> {
    let (units, input) = (truth.units(), truth.input_size());
    [
        ("kernel", vec![input, 4 * units], kernel),
        ("recurrent kernel", vec![units, 4 * units], recurrent),
        ("bias", vec![4 * units], bias),
    ]
    .into_iter()
    .filter(|(_, expected, found)| expected != found)
    .map(|(what, expected, found)| Fault::ShapeMismatch { what: what.to_owned(), expected, found: found.to_vec() })
    .collect()
}

fn misshapen(truth: &Tf1Cell, faults: Vec<Fault>) -> Explanation {
    let text = faults.iter().map(Fault::describe).collect::<Vec<_>>().join("; ");
    let advice = faults.first().map_or_else(String::new, |f| f.advice_for(truth));
    Explanation { faults, residual: f64::INFINITY, equal: false, text, advice }
}

/// The weights of a candidate that are not finite, unless the truth has as many.
fn non_finite(truth: &Tf1Cell, candidate: &KerasCell) -> Option<Fault> {
    let units = candidate.units();
    let kernels = [(Tensor::Kernel, &candidate.kernel), (Tensor::RecurrentKernel, &candidate.recurrent_kernel)];
    let in_kernels = kernels.into_iter().flat_map(|(tensor, weights)| {
        let bad = weights.indexed_iter().filter(|(_, w)| !w.is_finite());
        bad.map(move |((row, column), _)| Spot::new(tensor, row, column, units))
    });
    let bad = candidate.bias.indexed_iter().filter(|(_, w)| !w.is_finite());
    let mut all = in_kernels.chain(bad.map(|(column, _)| Spot::new(Tensor::Bias, 0, column, units)));
    let first = all.next()?;
    let count = 1 + all.count();
    let in_truth = truth.kernel.iter().chain(&truth.bias).filter(|w| !w.is_finite()).count();
    if count > in_truth { Some(Fault::NonFinite { count, first }) } else { None }
}

fn explanation(truth: &Tf1Cell, mut faults: Vec<Fault>, remainder: &Remainder, candidate: &KerasCell) -> Explanation {
    let named = faults.iter().map(Fault::phrase).collect::<Vec<_>>().join(" and ");
    let of = candidate.kernel.len() + candidate.recurrent_kernel.len() + candidate.bias.len();
    let count = remainder.counts.iter().sum();
    let mut text = if count == 0 {
        format!("candidate = correct conversion with {named}: residual 0")
    } else {
        let difference =
            Difference { count, of, at: remainder.at, expected: remainder.expected, found: remainder.found };
        let fault = Fault::WeightsDiffer(difference);
        let what = fault.describe();
        faults.push(fault);
        let residual = format!("residual {:.1e}", remainder.largest);
        match (named.is_empty(), count) {
            (true, 1) => format!("candidate = correct conversion, but {what}: {residual}"),
            (true, _) if remainder.near => {
                format!("candidate = correct conversion, nearly: {what}{}: {residual}", remainder.by_tensor(candidate))
            }
            (true, _) => {
                format!("no known mistake explains the candidate: {what}{}: {residual}", remainder.by_tensor(candidate))
            }
            (false, _) => {
                let near = if remainder.near { ", nearly" } else { "" };
                format!(
                    "candidate = correct conversion with {named}{near}, but {what}{}: {residual}",
                    remainder.by_tensor(candidate)
                )
            }
        }
    };
    if faults.is_empty() {
        text = "candidate = correct conversion: residual 0".to_owned();
    }
    let mut advice: Vec<String> = vec![];
    for fault in &faults {
        let line = fault.advice_for(truth);
        if !advice.contains(&line) {
            advice.push(line);
        }
    }
    Explanation { faults, residual: remainder.largest, equal: count == 0, text, advice: advice.join("; ") }
}

/// The faults in a candidate's settings.
fn setting_faults(truth: &Tf1Cell, candidate: &KerasCell) -> Vec<Fault> {
    settings(truth, candidate.activation, candidate.recurrent_activation, candidate.go_backwards)
}

#[cfg(test)]
mod tests;
