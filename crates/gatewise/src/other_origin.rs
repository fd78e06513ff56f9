//! Weights that are right, but of another origin: a moving average, an optimizer's slot, or another LSTM of the same
//! checkpoint.

use lstm::KerasCell;
use lstm::detect::{self, FoundCell};
use lstm::diagnose;
use lstm::fault::Fault;
use report::document;

use crate::store::Store;

/// If `candidate` is the right conversion of other variables than those of `cells[index]`: which ones.
pub(crate) fn find(
    store: &Store,
    cells: &[&FoundCell],
    index: usize,
    candidate: &KerasCell,
) -> Option<document::Diagnosis> {
    let own = *cells.get(index)?;
    beside(store, own, candidate).or_else(|| another_cell(store, cells, index, candidate))
}

/// Variables named after the kernel and the bias: `kernel/Adam`, `train/…/kernel/Adam_1`,
/// `kernel/ExponentialMovingAverage`.
fn beside(store: &Store, own: &FoundCell, candidate: &KerasCell) -> Option<document::Diagnosis> {
    let [kernel] = &own.variables.kernel[..] else { return None };
    let bias = own.variables.bias.as_ref()?;
    for variable in store.variables() {
        let Some((before, after)) = variable.name.split_once(&format!("{kernel}/")) else { continue };
        let mut other = own.clone();
        other.variables.kernel = vec![variable.name.clone()];
        other.variables.bias = Some(format!("{before}{bias}/{after}"));
        if !is_conversion_of(store, &other, candidate) {
            continue;
        }
        let (fault, what) = if after.starts_with("ExponentialMovingAverage") {
            (Fault::MovingAverage, "moving average")
        } else {
            (Fault::OptimizerSlot, "optimizer slot")
        };
        let text = format!("candidate = correct conversion of {}, a {what} of {kernel}: residual 0", variable.name);
        return Some(diagnosis(&fault, text));
    }
    None
}

fn another_cell(
    store: &Store,
    cells: &[&FoundCell],
    index: usize,
    candidate: &KerasCell,
) -> Option<document::Diagnosis> {
    let (found, other) = cells
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != index)
        .find(|(_, other)| is_conversion_of(store, other, candidate))?;
    let text = format!("candidate = correct conversion of {}, another LSTM of this checkpoint: residual 0", other.name);
    Some(diagnosis(&Fault::WrongLstm { expected: index, found }, text))
}

fn is_conversion_of(store: &Store, found: &FoundCell, candidate: &KerasCell) -> bool {
    let fits = found.units == candidate.units() && found.input_size == candidate.input_size();
    fits && detect::load(found, |name| store.read(name))
        .is_ok_and(|cell| diagnose::explain(&cell, candidate).is_empty())
}

fn diagnosis(fault: &Fault, text: String) -> document::Diagnosis {
    document::Diagnosis { fault: fault.name().to_owned(), text, residual: 0.0, advice: fault.advice() }
}
