//! Wrappers that compute something around a cell which no Keras LSTM does.
//!
//! Their sources: `rnn_cell_impl.py` and `core_rnn_cell_impl.py` of TensorFlow 0.12 to 1.15, `tensorflow/contrib/rnn/python/ops`
//! `{core_rnn_cell,rnn_cell}.py`, `tensorflow/contrib/seq2seq/python/ops/attention_wrapper.py`. Wrappers without variables of their
//! own that change what a cell is fed or gives (residual connections, dropout) are seen in the graph.

use std::collections::BTreeSet;

use super::FoundCell;
use super::kinds::a;
use super::names::{join, split, without_number};

/// A wrapper: the name of its scope, its class, and what it does.
struct Wrapper {
    scope: &'static str,
    class: &'static str,
    does: &'static str,
}

const WRAPPERS: [Wrapper; 5] = [
    Wrapper {
        scope: "attention_cell_wrapper",
        class: "AttentionCellWrapper",
        does: "feeds the cell at each step with what it attended to at the step before, and makes the output of both",
    },
    Wrapper {
        scope: "attention_wrapper",
        class: "AttentionWrapper",
        does: "feeds the cell at each step with what it attended to at the step before",
    },
    Wrapper {
        scope: "input_projection_wrapper",
        class: "InputProjectionWrapper",
        does: "puts a dense layer before the cell",
    },
    Wrapper {
        scope: "output_projection_wrapper",
        class: "OutputProjectionWrapper",
        does: "puts a dense layer after the cell",
    },
    Wrapper { scope: "embedding_wrapper", class: "EmbeddingWrapper", does: "puts an embedding before the cell" },
];

/// The variables of a `HighwayWrapper`, which lie in the scope of whatever runs the cell.
const HIGHWAY: [&str; 2] = ["carry_w", "carry_b"];

/// What is to be said of the wrappers around a cell.
pub(super) fn notes<'a>(cell: &'a FoundCell, names: &'a BTreeSet<&str>) -> impl Iterator<Item = String> + 'a {
    let say = |class: &str, scope: &str, does: &str| {
        format!(
            "{}: {} ({scope}) {does}, which is not converted: a Keras LSTM stands for the cell alone",
            cell.name,
            a(class)
        )
    };
    let scopes = cell.name.match_indices('/').map(|(at, _)| &cell.name[..at]).chain([cell.name.as_str()]);
    let by_scope = scopes.clone().filter_map(move |scope| of_scope(scope).map(|w| say(w.class, scope, w.does)));
    let highway = scopes.filter(|scope| HIGHWAY.iter().all(|v| names.contains(join(scope, v).as_str())));
    let carry = "mixes the cell's input into its output";
    by_scope.chain(highway.map(move |scope| say("HighwayWrapper", &join(scope, HIGHWAY[0]), carry)))
}

/// The wrapper whose scope this is.
fn of_scope(scope: &str) -> Option<&'static Wrapper> {
    let last = without_number(split(scope).1);
    // Before 1.0 scopes are named as the class is.
    WRAPPERS.iter().find(|w| w.scope == last || w.class == last)
}

/// Why a variable of a wrapper belongs to no cell.
pub(super) fn why(name: &str, names: &BTreeSet<&str>) -> Option<String> {
    let (scope, last) = split(name);
    if HIGHWAY.contains(&last) && HIGHWAY.iter().all(|v| names.contains(join(scope, v).as_str())) {
        return Some("belongs to a HighwayWrapper around a cell".to_owned());
    }
    let scopes = name.match_indices('/').map(|(at, _)| &name[..at]);
    scopes.filter_map(of_scope).next_back().map(|w| format!("belongs to a wrapper around a cell ({})", w.class))
}
