//! A checkpoint's LSTMs: opened, found, and their weights read.

use std::collections::BTreeSet;
use std::path::Path;

use lstm::detect::{self, Detection, FoundCell, Given};
use lstm::{KerasCell, Network, Tf1Cell};
use tf_checkpoint::Checkpoint;

use crate::args;
use crate::error::CliError;

/// One network of a checkpoint with its weights, and what it becomes in Keras.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) found: Network<FoundCell>,
    pub(crate) truth: Network<Tf1Cell>,
    pub(crate) keras: Network<KerasCell>,
}

/// Finds the LSTMs that the options select.
pub(crate) fn find(
    source: &args::Source,
    facts: Option<&args::Facts>,
) -> Result<(Checkpoint, Option<String>, Detection), CliError> {
    let checkpoint = Checkpoint::open(&source.checkpoint)?;
    let graph = checkpoint.graph()?;
    let mut given = Given { only: source.lstm.clone(), ..Given::default() };
    if let Some(facts) = facts {
        given.forget_bias = facts.forget_bias;
        given.activation = facts.activation.map(Into::into);
        given.input_size = facts.input_size;
        given.override_graph = facts.override_graph;
    }
    let detection = detect::detect(checkpoint.variables(), graph.as_ref(), &given)?;
    let version = graph.map(|g| g.tensorflow_version).filter(|v| !v.is_empty());
    Ok((checkpoint, version, detection))
}

/// Reads the weights of every LSTM found and converts them. A malformed cell, no LSTM at all, and a cell that Keras
/// cannot express are errors.
pub(crate) fn load(path: &Path, checkpoint: &Checkpoint, detection: &Detection) -> Result<Vec<Subject>, CliError> {
    if !detection.malformed.is_empty() {
        let problems = detection.malformed.iter().map(|m| format!("{}: {}", m.name, m.problem)).collect();
        return Err(CliError::Malformed { checkpoint: path.to_owned(), problems });
    }
    if detection.networks.is_empty() {
        return Err(CliError::NoLstm { checkpoint: path.to_owned(), holds: what_else(checkpoint, detection) });
    }
    detection.networks.iter().map(|network| subject(path, checkpoint, network)).collect()
}

fn subject(path: &Path, checkpoint: &Checkpoint, network: &detect::FoundNetwork) -> Result<Subject, CliError> {
    let truth = network
        .network
        .try_map(&mut |cell| detect::load(cell, |name| checkpoint.read(name)))
        .map_err(|source| CliError::Load { checkpoint: path.to_owned(), source: Box::new(source) })?;
    let keras = lstm::convert::network_to_keras(&truth).map_err(|(index, reason)| CliError::NotRepresentable {
        checkpoint: path.to_owned(),
        cell: network.network.cells().get(index).map_or_else(String::new, |c| c.name.clone()),
        reason,
    })?;
    // Files are written without the dense layer that a projection needs, so far.
    if let Some(cell) = network.network.cells().into_iter().find(|c| c.projection.is_some()) {
        let projected = cell.projection.unwrap_or(cell.units);
        return Err(CliError::NotRepresentable {
            checkpoint: path.to_owned(),
            cell: cell.name.clone(),
            reason: lstm::convert::NotRepresentable::Projection { units: cell.units, projected },
        });
    }
    Ok(Subject { name: network.name.clone(), found: network.network.clone(), truth, keras })
}

/// In a few words, what a checkpoint without LSTM holds.
fn what_else(checkpoint: &Checkpoint, detection: &Detection) -> String {
    let cells: BTreeSet<&str> =
        detection.ignored.iter().filter(|i| i.why.starts_with("belongs to a ")).map(|i| i.why.as_str()).collect();
    let variables = checkpoint.variables();
    let shown: Vec<String> = variables.iter().take(8).map(|v| format!("{} {:?}", v.name, v.shape)).collect();
    let more = variables.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more (`gatewise inspect` lists them)") } else { String::new() };
    let mut text = format!("it holds {}{more}", shown.join(", "));
    for why in cells {
        text += &format!("\na variable {why}");
    }
    text + "\nif one of these is an LSTM under another name, --lstm SCOPE takes it"
}
