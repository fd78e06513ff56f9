//! Dropout in a graph. At inference it does nothing, so walks step over it.

use super::graph_index::{GraphIndex, Output};

/// What dropout was applied to, if `value` is what it made: (x ÷ keep) ⊙ mask, where the mask is a Floor up to
/// TensorFlow 1.12 and a Cast of a comparison since, and the scaling a division or a product. `SelectV2` since 2.13.
pub(super) fn before(graph: &GraphIndex<'_>, value: Output) -> Option<Output> {
    let (node, _) = value;
    if matches!(graph.op(node), "Select" | "SelectV2") {
        let (condition, _) = graph.behind(graph.input(node, 0)?);
        let zero = graph.input(node, 2)?;
        if graph.op(condition) != "GreaterEqual" || graph.scalar(zero) != Some(0.0) {
            return None;
        }
        return scaled(graph, graph.input(node, 1)?);
    }
    if graph.op(node) != "Mul" {
        return None;
    }
    (0..2).find_map(|side| {
        let (mask, _) = graph.input(node, side)?;
        let is_mask = match graph.op(mask) {
            "Floor" => true,
            "Cast" => graph.op(graph.input(mask, 0)?.0).starts_with("Greater"),
            _ => false,
        };
        if is_mask { scaled(graph, graph.input(node, 1 - side)?) } else { None }
    })
}

fn scaled(graph: &GraphIndex<'_>, (node, _): Output) -> Option<Output> {
    match graph.op(node) {
        "RealDiv" | "Div" => graph.input(node, 0),
        // The scale comes second where TensorFlow writes it; a product of two values of the model is no dropout.
        "Mul" => graph.input(node, 0),
        _ => None,
    }
}
