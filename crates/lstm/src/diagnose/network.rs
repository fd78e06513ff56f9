//! Mistakes between the cells of a network: which layer holds which cell.

use crate::diagnose::{Explanation, explain};
use crate::fault::Fault;
use crate::{Direction, KerasCell, Network, Place, Tf1Cell};

/// What explains one layer of a candidate, or two that are exchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkExplanation {
    /// The cells concerned, as indices into [`Network::cells`]; empty for the network as a whole.
    pub cells: Vec<usize>,
    /// What explains them.
    pub explanation: Explanation,
}

/// Explains what a candidate network has that a right conversion of `truth` does not have, one explanation for each
/// cell that is not right, or for each two that are exchanged; in the order of the cells. Empty if and only if all are
/// right.
pub fn explain_network(truth: &Network<Tf1Cell>, candidate: &Network<KerasCell>) -> Vec<NetworkExplanation> {
    let (cells, layers) = (truth.placed_cells(), candidate.cells());
    if cells.len() != layers.len() || wiring(truth) != wiring(candidate) {
        return vec![rewired(truth, candidate)];
    }
    // What each layer is, by the cell it should be; then by another cell where that explains it and its own does not.
    let mut found: Vec<Option<(usize, Explanation)>> = vec![];
    for (index, layer) in layers.iter().enumerate() {
        let own = explain(cells[index].1, layer).into_iter().next();
        found.push(own.map(|own| elsewhere(&cells, layer, index, &own).unwrap_or((index, own))));
    }
    let mut explanations = vec![];
    for (index, entry) in found.iter().enumerate() {
        let Some((source, explanation)) = entry else { continue };
        let counterpart = found[*source].as_ref();
        let swapped = *source != index && counterpart.is_some_and(|(back, _)| *back == index);
        if swapped && *source < index {
            // Told with the first of the two, unless this one has mistakes of its own.
            if explanation.faults.len() > 1 {
                explanations.push(misplaced(&cells, index, *source, explanation, false));
            }
            continue;
        }
        explanations.push(if *source == index {
            NetworkExplanation { cells: vec![index], explanation: explanation.clone() }
        } else {
            misplaced(&cells, index, *source, explanation, swapped)
        });
    }
    explanations
}

/// The other cell that explains a layer better than its own does, with a placeholder for the fault of its place first
/// among the explanation's faults.
fn elsewhere(
    cells: &[(Place, &Tf1Cell)],
    layer: &KerasCell,
    index: usize,
    own: &Explanation,
) -> Option<(usize, Explanation)> {
    let mut best: Option<(usize, Explanation)> = None;
    for (other, (_, cell)) in cells.iter().enumerate() {
        let fits = cell.input_size() == layer.input_size() && cell.units() == layer.units();
        if other == index || !fits {
            continue;
        }
        let misplaced = Fault::WrongLstm { expected: index, found: other };
        let explanation = match explain(cell, layer).into_iter().next() {
            None => Explanation {
                advice: misplaced.advice(),
                faults: vec![misplaced],
                residual: 0.0,
                equal: true,
                text: String::new(),
            },
            Some(mut explanation) if explanation.equal => {
                explanation.faults.insert(0, misplaced);
                explanation
            }
            Some(_) => continue,
        };
        let cost = |e: &Explanation| if e.equal { e.faults.len() } else { usize::MAX };
        if cost(&explanation) < cost(best.as_ref().map_or(own, |(_, e)| e)) {
            best = Some((other, explanation));
        }
    }
    best
}

/// A layer that holds another cell.
fn misplaced(
    cells: &[(Place, &Tf1Cell)],
    index: usize,
    source: usize,
    explanation: &Explanation,
    swapped: bool,
) -> NetworkExplanation {
    let (here, there) = (cells[index].0, cells[source].0);
    let mut explanation = explanation.clone();
    let fault = match (swapped, here.direction == there.direction) {
        (false, _) => Fault::WrongLstm { expected: index, found: source },
        (true, true) => Fault::LayersSwapped { first: index, second: source },
        (true, false) => {
            let (forward, backward) =
                if here.direction == Direction::Forward { (index, source) } else { (source, index) };
            Fault::DirectionsSwapped { forward, backward }
        }
    };
    let own = explanation.text.strip_prefix("candidate = ").map(|rest| format!(", {rest}"));
    explanation.text = format!("{}{}", fault.describe(), own.unwrap_or_else(|| ": residual 0".to_owned()));
    if explanation.faults.len() > 1 {
        explanation.advice = format!("{}; {}", fault.advice(), explanation.advice);
    } else {
        explanation.advice = fault.advice();
    }
    if let Some(first) = explanation.faults.first_mut() {
        *first = fault;
    }
    let cells = if swapped { vec![index, source] } else { vec![index] };
    NetworkExplanation { cells, explanation }
}

/// A candidate that is wired otherwise than the truth.
fn rewired(truth: &Network<Tf1Cell>, candidate: &Network<KerasCell>) -> NetworkExplanation {
    let (cells, layers) = (truth.cells().len(), candidate.cells().len());
    let fault = if cells == layers {
        Fault::Stacking
    } else {
        Fault::ShapeMismatch { what: "the number of layers".to_owned(), expected: vec![cells], found: vec![layers] }
    };
    let (text, advice) = (
        if cells == layers {
            format!("{}: {} against {}", fault.describe(), wiring(truth), wiring(candidate))
        } else {
            fault.describe()
        },
        fault.advice(),
    );
    let explanation = Explanation { faults: vec![fault], residual: f64::INFINITY, equal: false, text, advice };
    NetworkExplanation { cells: vec![], explanation }
}

/// A network's wiring in words: `stack of 2 (bidirectional (cell, cell), …)`.
fn wiring<C>(network: &Network<C>) -> String {
    match network {
        Network::Cell(_) => "cell".to_owned(),
        Network::Backward(_) => "backward cell".to_owned(),
        Network::Stack(parts) => {
            format!("stack of {} ({})", parts.len(), parts.iter().map(wiring).collect::<Vec<_>>().join(", "))
        }
        Network::Residual(part) => format!("residual ({})", wiring(part)),
        Network::Bidirectional { forward, backward, .. } => {
            format!("bidirectional ({}, {})", wiring(forward), wiring(backward))
        }
    }
}
