//! A checkpoint's LSTMs: opened, found, and their weights read.

use std::collections::BTreeSet;

use disk::Disk;
use lstm::convert::NotRepresentable;
use lstm::detect::{self, Detection, FoundCell, Given};
use lstm::{KerasCell, Network, Tf1Cell};
use tf_checkpoint::DType;

use crate::args;
use crate::error::CliError;
use crate::map::Map;
use crate::progress::Progress;
use crate::store::Store;

/// A source with the LSTMs found in it.
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// What the user maps; empty without `--map`.
    pub(crate) map: Map,
    pub(crate) detection: Detection,
}

/// One network of a checkpoint with its weights, and what it becomes in Keras.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) found: Network<FoundCell>,
    pub(crate) truth: Network<Tf1Cell>,
    /// The right conversion; where there is none, what comes nearest.
    pub(crate) keras: Network<KerasCell>,
    /// The first cell that no Keras LSTM computes, and why.
    pub(crate) refused: Option<(String, NotRepresentable)>,
}

/// Finds the LSTMs that the options select.
pub(crate) fn find(source: &args::Source, facts: Option<&args::Facts>) -> Result<Opened, CliError> {
    let disk = Disk::patient();
    let store = Store::open(&disk, &source.checkpoint)?;
    let map = source.map.as_deref().map(|path| Map::read(&disk, path)).transpose()?.unwrap_or_default();
    let problem = |problem| CliError::Map { file: source.map.clone().unwrap_or_default(), problem };
    let mut given = Given {
        only: source.lstm.clone(),
        known: store.known.clone(),
        mapped: map.networks(store.keras_major.unwrap_or(2)).map_err(problem)?,
        ..Given::default()
    };
    // LSTMs that the map only names are found as ever, and no others.
    given.only.extend(map.lstm.iter().filter(|l| l.kernel.is_none()).map(|l| l.name.clone()));
    if let Some(facts) = facts {
        given.forget_bias = facts.forget_bias;
        given.activation = facts.activation.map(Into::into);
        given.recurrent_activation = facts.recurrent_activation.map(|name| name.meant_by(store.keras_major));
        given.input_size = facts.input_size;
        given.weights = facts.weights.map(Into::into);
        given.override_graph = facts.override_graph;
    }
    let mut detection = detect::detect(store.variables(), store.graph.as_ref(), &given)?;
    detection.notes.splice(..0, store.notes.iter().cloned());
    Ok(Opened { store, map, detection })
}

impl Opened {
    /// Reads the weights of every LSTM found and converts them. A malformed cell, no LSTM at all, and a choice that is
    /// the user's are errors.
    pub(crate) fn load(&self, quiet: bool) -> Result<Vec<Subject>, CliError> {
        let checkpoint = self.store.path.clone();
        let detection = &self.detection;
        if !detection.malformed.is_empty() {
            let problems = detection.malformed.iter().map(|m| format!("{}: {}", m.name, m.problem)).collect();
            return Err(CliError::Malformed { checkpoint, problems });
        }
        if detection.networks.is_empty() {
            return Err(CliError::NoLstm { checkpoint, holds: self.what_else() });
        }
        let cells = || detection.networks.iter().flat_map(|n| n.network.cells());
        if let Some(cell) = cells().find(|c| c.averages.as_ref().is_some_and(|a| a.open)) {
            return Err(CliError::ChooseWeights { checkpoint, cell: cell.name.clone() });
        }
        let progress = Progress::bytes("reading", self.store.bytes_of(cells().flat_map(|c| c.variables.all())), quiet);
        detection.networks.iter().map(|network| self.subject(network, &progress)).collect()
    }

    /// Whether the graph, a configuration or the map says how directions are joined.
    pub(crate) fn knows_merges(&self) -> bool {
        self.store.graph.is_some()
            || self.store.known.values().any(|known| known.merge.is_some())
            || self.map.lstm.iter().any(|lstm| lstm.merge.is_some())
    }

    /// As [`load`](Self::load), and a cell that Keras cannot express is an error too.
    pub(crate) fn load_convertible(&self, quiet: bool) -> Result<Vec<Subject>, CliError> {
        let subjects = self.load(quiet)?;
        match subjects.iter().find_map(|s| s.refused.clone()) {
            None => Ok(subjects),
            Some((cell, reason)) => {
                Err(CliError::NotRepresentable { checkpoint: self.store.path.clone(), cell, reason: Box::new(reason) })
            }
        }
    }

    fn subject(&self, network: &detect::FoundNetwork, progress: &Progress) -> Result<Subject, CliError> {
        let truth = network
            .network
            .try_map(&mut |cell| {
                let read = |name: &str| {
                    let tensor = self.store.read(name)?;
                    progress.add(tensor.bytes().len() as u64);
                    Ok(tensor)
                };
                detect::load(cell, read)
            })
            .map_err(|source| CliError::Load { checkpoint: self.store.path.clone(), source: Box::new(source) })?;
        let (keras, refused) = match lstm::convert::network_to_keras(&truth) {
            Ok(keras) => (keras, None),
            Err((index, reason)) => {
                let cell = network.network.cells().get(index).map_or_else(String::new, |c| c.name.clone());
                (lstm::convert::nearest_network(&truth).0, Some((cell, reason)))
            }
        };
        Ok(Subject { name: network.name.clone(), found: network.network.clone(), truth, keras, refused })
    }

    /// In a few words, what a checkpoint without LSTM holds.
    fn what_else(&self) -> String {
        let ignored = &self.detection.ignored;
        let cells: BTreeSet<&str> =
            ignored.iter().filter(|i| i.why.starts_with("belongs to a ")).map(|i| i.why.as_str()).collect();
        let variables = self.store.variables();
        let shown: Vec<String> = variables.iter().take(8).map(|v| format!("{} {:?}", v.name, v.shape)).collect();
        let more = variables.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more (`gatewise inspect` lists them)") } else { String::new() };
        let mut text = format!("it holds {}{more}", shown.join(", "));
        for why in cells {
            text += &format!("\na variable {why}");
        }
        text + "\nif one of these is an LSTM under another name, --lstm SCOPE takes it, or --map says which variables make it"
    }
}

/// For each cell whose weights are stored as another type than float32, or computed from others: what float32 changed.
pub(crate) fn precision(store: &Store, subjects: &[Subject]) -> Vec<String> {
    let mut notes = vec![];
    for subject in subjects {
        for (found, cell) in subject.found.cells().into_iter().zip(subject.truth.cells()) {
            let rounding = cell.rounding();
            let kernel = store.variables().iter().find(|v| found.variables.kernel.first() == Some(&v.name));
            if let Some(dtype) = kernel.map(|v| v.dtype).filter(|d| rounding.changed == 0 && *d != DType::Float32) {
                notes.push(format!("{}: its {} weights are kept exactly in float32", found.name, dtype.as_str()));
            }
            if rounding.changed > 0 {
                notes.push(format!(
                    "{}: {} of {} weights are rounded to float32, by at most {:.1e} of their value; the truth keeps them as \
                     they are",
                    found.name, rounding.changed, rounding.weights, rounding.largest_relative
                ));
            }
        }
    }
    notes
}
