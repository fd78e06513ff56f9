//! Why a variable is no weight of an LSTM.

use std::collections::{BTreeMap, BTreeSet};

use tf_checkpoint::Variable;

use super::kinds::a;
use super::names::{join, other_cell, split, without_number};
use super::{CellKind, Ignored, Malformed, wrappers};

/// The slots and averages that optimizers leave beside a variable (suffix without its number).
const SLOTS: [&str; 13] = [
    "Adam",
    "AdamW",
    "AdaMax",
    "Momentum",
    "RMSProp",
    "Adagrad",
    "Adadelta",
    "Ftrl",
    "ProximalAdagrad",
    "AdagradDA",
    "AddSignOptimizer",
    "Nadam",
    "LazyAdam",
];
const SCALARS: [&str; 4] = ["beta1_power", "beta2_power", "global_step", "learning_rate"];

/// What is known of the cells when reasons are looked for.
pub(super) struct Known<'a> {
    /// Variables that cells use.
    pub(super) taken: BTreeSet<&'a str>,
    /// Weights whose moving averages are used in their place.
    pub(super) averaged: BTreeSet<&'a str>,
    /// The variable that a key holds the moving average of.
    pub(super) averages: BTreeMap<&'a str, &'a str>,
    pub(super) malformed: &'a [Malformed],
    pub(super) has_graph: bool,
    /// The user said which variables are weights.
    pub(super) mapped: bool,
}

/// A reason for every variable that belongs to no cell.
pub(super) fn ignored(variables: &[Variable], known: &Known<'_>) -> Vec<Ignored> {
    let names: BTreeSet<&str> = variables.iter().map(|v| v.name.as_str()).collect();
    let malformed: BTreeSet<&str> = known.malformed.iter().map(|m| m.name.as_str()).collect();
    variables
        .iter()
        .filter(|v| !known.taken.contains(v.name.as_str()))
        .map(|v| Ignored { name: v.name.clone(), why: why_ignored(v, &names, &malformed, known) })
        .collect()
}

/// What a cell with one matrix for each gate calls them.
const GATE_SCOPES: [&str; 8] = [
    "input_gate",
    "forget_gate",
    "output_gate",
    "update_gate",
    "cell_gate",
    "candidate_gate",
    "new_gate",
    "memory_gate",
];

fn why_ignored(variable: &Variable, names: &BTreeSet<&str>, malformed: &BTreeSet<&str>, known: &Known<'_>) -> String {
    let name = variable.name.as_str();
    if known.mapped {
        return "not in the map".to_owned();
    }
    if known.averaged.contains(name) {
        return "weights as trained: their moving average is taken".to_owned();
    }
    if let Some(of) = known.averages.get(name) {
        return format!("moving average of {of}");
    }
    if let Some((slot, of)) = slot_of(name, names) {
        return if slot.starts_with("ExponentialMovingAverage") {
            format!("moving average of {of}")
        } else {
            format!("optimizer slot ({slot}) of {of}")
        };
    }
    let (scope, last) = split(name);
    if SCALARS.contains(&without_number(last)) || SCALARS.contains(&last) {
        return "training scalar".to_owned();
    }
    if name == "_CHECKPOINTABLE_OBJECT_GRAPH" || name.contains("/.ATTRIBUTES/") {
        return "belongs to a TF2 object checkpoint, whose layers are not TF1 cells".to_owned();
    }
    let other_cell = other_cell(scope);
    // The one cell of TensorFlow 1 that keeps its recurrent weights apart.
    let nas = other_cell == Some("NASCell");
    if names.contains(join(scope, "recurrent_kernel").as_str()) && !nas {
        return "belongs to a Keras layer (its recurrent kernel is apart), which is not a TF1 cell".to_owned();
    }
    if let Some(cell) = other_cell {
        return format!("belongs to {}, which is not an LSTM cell that gatewise reads", a(cell));
    }
    // A cell's scope is one of the scopes above its variables.
    let above = name.match_indices('/').map(|(at, _)| &name[..at]).chain([name]).find(|s| malformed.contains(s));
    if let Some(bad) = above {
        return format!("belongs to {bad}, which is malformed");
    }
    if let Some(gates) = gate_scope(scope, names) {
        return format!(
            "one matrix for each gate ({gates}/input_gate…, forget_gate…, output_gate…): no TensorFlow cell stores its \
             weights so, and no file says which forget bias and functions belong to them"
        );
    }
    if known.has_norms(scope, last, names) {
        return "made by a layer-normalised cell and left unused".to_owned();
    }
    if let Some(why) = known.of_cudnn(scope, last, names) {
        return why;
    }
    if names.contains(scope) {
        return format!(
            "lies under the variable {scope}, as optimizer slots and moving averages do, by a name that gatewise does not know"
        );
    }
    let class = scope.rsplit('/').find_map(CellKind::from_scope);
    if let Some(class) = class {
        return format!("lies in the scope of {} but is none of the variables such a cell has", a(class.as_str()));
    }
    if let Some(why) = wrappers::why(name, names) {
        return why;
    }
    let looks_like_kernel = matches!(&variable.shape[..], [rows, columns] if columns % 4 == 0 && *rows > columns / 4);
    match (last, looks_like_kernel) {
        ("kernel" | "weights" | "Matrix" | "W", true) => {
            let graph = if known.has_graph { "nor the graph" } else { "nor a graph" };
            format!("no LSTM by name: its shape alone would allow one, but neither its scope {graph} says so")
        }
        _ => "not part of an LSTM".to_owned(),
    }
}

impl Known<'_> {
    /// What cuDNN's layers leave beside the arrays that are read.
    ///
    /// Source: `tensorflow/contrib/cudnn_rnn/python/ops/cudnn_rnn_ops.py`, 1.0 to 1.15.
    fn of_cudnn(&self, scope: &str, last: &str, names: &BTreeSet<&str>) -> Option<String> {
        if last == "opaque_kernel" {
            // They lie in the layer's scope or in the one around it.
            let beside = |name: &&str| [scope, split(scope).0].iter().any(|scope| name.starts_with(&join(scope, "")));
            let read = self.taken.iter().any(|n| n.contains("cudnn_compatible_lstm_cell/") && beside(n));
            return Some(if read {
                "cuDNN's own buffer, in a layout of its version: the arrays that TensorFlow wrote beside it are read"
                    .into()
            } else {
                "cuDNN's own buffer, in a layout of its version, which cannot be read: save it with a Saver that is made \
                 after the layer, which writes its kernels and biases too"
                    .into()
            });
        }
        if matches!(last, "bias_cudnn_0" | "bias_cudnn_1") && names.contains(join(scope, "bias").as_str()) {
            return Some(format!("one of the two biases whose sum {} is", join(scope, "bias")));
        }
        let op = last.split(':').next().map_or(last, without_number);
        (op == "CudnnRNNParamsToCanonical").then(|| {
            "weights or bias of one gate of a cuDNN layer, as TensorFlow 1.0 to 1.2 saved it: nothing says of which layer and \
             direction, so such files are not read; save it again with TensorFlow 1.3 or later"
                .into()
        })
    }

    fn has_norms(&self, scope: &str, last: &str, names: &BTreeSet<&str>) -> bool {
        matches!(last, "bias" | "B") && names.contains(join(scope, "forget/gamma").as_str())
    }
}

/// If a variable lies in a gate's own scope, with forget and output gates beside it: the scope that holds them.
fn gate_scope<'a>(scope: &'a str, names: &BTreeSet<&str>) -> Option<&'a str> {
    let (parent, gate) = split(scope);
    if !GATE_SCOPES.contains(&without_number(gate)) {
        return None;
    }
    let beside = |gate: &str| {
        let start = join(parent, gate);
        names.range(start.as_str()..).next().is_some_and(|n| n.starts_with(&start))
    };
    (beside("input_gate") && beside("forget_gate") && beside("output_gate")).then_some(parent)
}

/// If the name is a slot or an average: its suffix and the variable it belongs to.
pub(super) fn slot_of<'a>(name: &'a str, names: &BTreeSet<&str>) -> Option<(&'a str, &'a str)> {
    let components: Vec<(usize, &str)> = name
        .split('/')
        .scan(0, |at, part| {
            let start = *at;
            *at += part.len() + 1;
            Some((start, part))
        })
        .collect();
    for (start, part) in components.iter().skip(1) {
        let is_slot =
            *part == "ExponentialMovingAverage" || SLOTS.contains(part) || SLOTS.contains(&without_number(part));
        if !is_slot {
            continue;
        }
        let of = &name[..start - 1];
        // An optimizer built inside a scope puts that scope before the whole path.
        let owner = components
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| *at < of.len())
            .map(|at| &of[at..])
            .find(|tail| names.contains(tail))
            .unwrap_or(of);
        return Some((&name[*start..], owner));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_told_from_weights() {
        let names = BTreeSet::from(["rnn/lstm_cell/kernel", "a/B/Bias"]);
        assert_eq!(slot_of("rnn/lstm_cell/kernel", &names), None);
        assert_eq!(slot_of("rnn/lstm_cell/kernel/Adam_1", &names), Some(("Adam_1", "rnn/lstm_cell/kernel")));
        assert_eq!(slot_of("train/rnn/lstm_cell/kernel/Adam", &names), Some(("Adam", "rnn/lstm_cell/kernel")));
        assert_eq!(slot_of("a/a/B/Bias/RMSProp", &names), Some(("RMSProp", "a/B/Bias")));
        assert_eq!(
            slot_of("rnn/lstm_cell/kernel/ExponentialMovingAverage/biased", &names),
            Some(("ExponentialMovingAverage/biased", "rnn/lstm_cell/kernel"))
        );
        assert_eq!(slot_of("Adam", &names), None);
    }
}
