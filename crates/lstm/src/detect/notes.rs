//! What a reader should know of the networks found: choices left open, and what the files do not say.

use std::collections::BTreeSet;

use super::averages;
use super::graph_index::GraphIndex;
use super::{CellKind, FoundCell, FoundNetwork, Source, wrappers};

pub(super) fn of(networks: &[FoundNetwork], variables: &BTreeSet<&str>, graph: Option<&GraphIndex<'_>>) -> Vec<String> {
    let mut notes = vec![];
    for network in networks {
        let cells = network.network.cells();
        for cell in &cells {
            notes.extend(cell.averages.as_ref().and_then(|a| averages::note(&cell.name, a, graph.is_some())));
            notes.extend(may_clip(cell, graph.is_some()));
            notes.extend(wrappers::notes(cell, variables));
        }
        if graph.is_some() && cells.iter().all(|c| c.time_major.is_none()) {
            notes.push(format!(
                "the graph does not show whether {} reads sequences batch-major or time-major",
                network.name
            ));
        }
        if graph.is_some() && cells.iter().any(|c| c.forget_bias.source == Source::CellDefault) {
            notes.push(format!("the graph does not show how {} is computed: its facts are defaults", network.name));
        }
    }
    if graph.is_some_and(GraphIndex::exhausted) {
        notes.push("the graph is too tangled to follow: how cells feed each other is told by their names".to_owned());
    }
    // A cell that stands twice in a network is spoken of once.
    let mut said = BTreeSet::new();
    notes.retain(|n| said.insert(n.clone()));
    notes
}

/// Without a graph nothing tells the release, and up to TensorFlow 1.3 fused cells clip by default.
fn may_clip(cell: &FoundCell, has_graph: bool) -> Option<String> {
    if has_graph || cell.cell_clip.is_some() {
        return None;
    }
    let kernel = cell.variables.kernel.first()?.rsplit('/').next()?;
    // `lstm_fused_cell` is the name of 1.6 and later.
    let fused = match cell.kind {
        CellKind::LstmBlock => true,
        CellKind::LstmBlockFused => !cell.name.contains("lstm_fused_cell"),
        _ => false,
    };
    let how = "say cell_clip = 3 in a map if this is one";
    if fused {
        return Some(format!(
            "{}: up to TensorFlow 1.3 {} clips its cell state to 3, and without a graph nothing tells the release; {how}",
            cell.name, cell.kind
        ));
    }
    let shared = cell.kind == CellKind::Lstm && kernel == "weights" && cell.name.contains("lstm_cell");
    shared.then(|| {
        format!(
            "{}: in TensorFlow 1.0 and 1.1 an LSTMBlockCell, which clips its cell state to 3, has the same names as an \
             LSTMCell, which does not, and without a graph nothing tells them apart; {how}",
            cell.name
        )
    })
}
