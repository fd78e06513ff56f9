//! Finding the LSTMs in a checkpoint: by the names TensorFlow gave their variables, by the graph where there is one, and
//! by the user's word.
//!
//! Names alone say which variables belong together and which cell wrote them; forget bias, activation and clipping are
//! run-time constants that only the graph holds. Every fact carries the place it comes from ([`Source`]).

mod averages;
mod dropout;
mod found;
mod given;
mod graph_facts;
mod graph_index;
mod grouping;
mod ignored;
mod instances;
mod keras;
mod kinds;
mod load;
mod mapped;
mod merging;
mod names;
mod notes;
mod problem;
mod sizes;
mod wiring;
mod wrappers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tf_checkpoint::{Graph, Variable};

use crate::{Activation, gate_order};
use graph_index::GraphIndex;
use instances::{Instance, Instances};
use names::Candidate;

pub use found::{Averages, CellVariables, Detection, Fact, FoundCell, FoundNetwork, Ignored, Malformed, Source};
pub use given::{Given, GivenError, MappedCell, MappedNetwork, WeightsChoice};
pub use keras::Known;
pub use kinds::CellKind;
pub use load::{LoadError, load};
pub use mapped::as_map;
pub use problem::Problem;

/// A graph made ready: laid out flat, with every place in it that computes an LSTM.
struct Indexed<'g> {
    graph: GraphIndex<'g>,
    instances: Instances,
}

impl Indexed<'_> {
    /// The places at which a cell is computed.
    fn of(&self, variables: &CellVariables) -> Vec<&Instance> {
        let Some(kernel) = variables.kernel.first() else { return vec![] };
        self.instances.of(&self.graph, kernel).iter().map(|i| &self.instances.all[*i]).collect()
    }

    /// The same, with the output of each.
    fn uses(&self, variables: &CellVariables) -> wiring::Uses<'_> {
        let instances = self.of(variables);
        let projection = variables.projection.first().and_then(|p| self.graph.variable(p));
        let output = |i: &&Instance| graph_facts::of(&self.graph, i, projection).ok().and_then(|f| f.output);
        let outputs = instances.iter().map(output).collect();
        wiring::Uses { instances, outputs }
    }
}

/// Finds every LSTM among `variables`, with what `graph` says of each.
///
/// # Errors
/// If what the user gave matches nothing or contradicts the graph.
pub fn detect(variables: &[Variable], graph: Option<&Graph>, given: &Given) -> Result<Detection, GivenError> {
    let indexed = graph.map(|g| {
        let graph = GraphIndex::new(g);
        let instances = Instances::new(&graph);
        Indexed { graph, instances }
    });
    let indexed = indexed.as_ref();
    let keys: BTreeSet<&str> = variables.iter().map(|v| v.name.as_str()).collect();
    let stored = averages::Stored::new(&keys, indexed.map(|i| &i.graph));
    let mut shapes: BTreeMap<&str, &[usize]> =
        variables.iter().map(|v| (v.name.as_str(), v.shape.as_slice())).collect();
    // Where only the average of a variable is stored, it stands for the variable.
    for (name, average) in stored.only_averages() {
        if let Some(shape) = shapes.get(average).copied() {
            shapes.insert(name, shape);
        }
    }
    let version = indexed.map(|i| i.graph.tensorflow_version().to_owned()).filter(|v| !v.is_empty());
    let mut detection = Detection { tensorflow_version: version, ..Detection::default() };
    let mapped = !given.mapped.is_empty();
    if mapped {
        detection.networks = mapped::networks(&shapes, indexed, given, &mut detection.malformed)?;
    } else {
        let mut cells = vec![];
        for candidate in names::candidates(&shapes, indexed.map(|i| (&i.graph, &i.instances)), &given.only) {
            match describe(&candidate, &shapes, indexed, given, &Said::of(given))? {
                Ok(cell) => cells.push(cell),
                Err(problem) => detection.malformed.push(Malformed { name: candidate.scope, problem }),
            }
        }
        detection.networks = grouping::group(cells, indexed, &mut detection.notes);
        detection.networks = keras::wired(detection.networks, &given.known);
    }
    let mut averaged = vec![];
    for network in &mut detection.networks {
        network.network = network.network.try_map(&mut |cell: &FoundCell| {
            // Who names the keys means them.
            if mapped && given.weights.is_none() {
                return Ok(cell.clone());
            }
            let (variables, averages) = stored.choose(&cell.name, &cell.variables, given.weights)?;
            if let Some(Averages { used: WeightsChoice::Ema, raw: Some(raw), .. }) = &averages {
                averaged.extend(raw.all().cloned());
            }
            Ok(FoundCell { variables, averages, ..cell.clone() })
        })?;
    }
    let cells = || detection.networks.iter().flat_map(|n| n.network.cells());
    let known = ignored::Known {
        taken: cells().flat_map(|c| c.variables.all()).map(String::as_str).collect(),
        averaged: averaged.iter().map(String::as_str).collect(),
        averages: stored.owners(),
        malformed: &detection.malformed,
        has_graph: indexed.is_some(),
        mapped,
    };
    detection.ignored = ignored::ignored(variables, &known);
    if !mapped {
        detection.networks = select(detection.networks, &detection.malformed, &given.only)?;
    }
    let notes = notes::of(&detection.networks, &keys, indexed.map(|i| &i.graph));
    detection.notes.extend(notes);
    for network in &detection.networks {
        check_input_size(network, given)?;
    }
    Ok(detection)
}

/// What the user says of one cell.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    forget_bias: Option<f32>,
    activation: Option<Activation>,
    cell_clip: Option<f32>,
    projection_clip: Option<f32>,
}

impl Said {
    fn of(given: &Given) -> Said {
        Said { forget_bias: given.forget_bias, activation: given.activation, ..Said::default() }
    }
}

/// Fills in what shapes, graph and user say of one cell. The outer error is the user's, the inner one the checkpoint's.
fn describe(
    candidate: &Candidate,
    shapes: &BTreeMap<&str, &[usize]>,
    indexed: Option<&Indexed<'_>>,
    given: &Given,
    said: &Said,
) -> Result<Result<FoundCell, Problem>, GivenError> {
    let sizes = match sizes::sizes(candidate, shapes) {
        Ok(sizes) => sizes,
        Err(problem) => return Ok(Err(problem)),
    };
    // A Keras layer computes in another way; its functions are looked for apart.
    let cells_own = indexed.filter(|_| !candidate.kind.is_keras());
    let uses = cells_own.map(|i| (i, i.of(&candidate.variables))).filter(|(_, uses)| !uses.is_empty());
    let mined = uses.as_ref().map(|(i, instances)| {
        let projection = candidate.variables.projection.first().and_then(|p| i.graph.variable(p));
        graph_facts::mine(&i.graph, instances, projection)
    });
    let facts = match mined {
        Some(Err(problem)) if !given.override_graph => return Ok(Err(problem)),
        Some(Ok(facts)) => facts,
        _ => graph_facts::Facts::default(),
    };
    // `LSTMBlockCell` borrows `LSTMCell`'s name; the other names say more than the operation does.
    let kind = match candidate.kind {
        CellKind::Lstm | CellKind::Named => facts.kind.unwrap_or(candidate.kind),
        named => named,
    };
    let default_forget = match kind {
        CellKind::Keras | CellKind::KerasCudnn => Fact { value: 0.0, source: Source::InBias },
        CellKind::CudnnCompatible => Fact { value: 0.0, source: Source::Cudnn },
        _ => Fact { value: 1.0, source: Source::CellDefault },
    };
    let file = if kind.is_keras() { "file" } else { "graph" };
    let about = |option| About { option, file, cell: &candidate.scope, given };
    let stated = if kind.is_keras() { Some(0.0) } else { facts.forget_bias };
    let forget_bias = match about("--forget-bias").decide(said.forget_bias, stated)? {
        Some(fact) if !(kind.is_keras() && fact.source == Source::Graph) => fact,
        _ => default_forget,
    };
    let tanh = Fact { value: Activation::Tanh, source: Source::CellDefault };
    let functions =
        if kind.is_keras() { keras_functions(candidate, indexed, given) } else { KerasFunctions::default() };
    let activation = match functions.activation {
        Some(fact) => {
            about("--activation").decide(said.activation, Some(fact.value))?.map(|f| functions.sourced(f, fact))
        }
        None => about("--activation").decide(said.activation, facts.activation)?,
    };
    let activation = activation.unwrap_or(tanh);
    let recurrent_activation = match (kind.is_keras(), functions.recurrent_activation) {
        // The cells of TensorFlow's own have no choice.
        (false, _) => Fact { value: Activation::Sigmoid, source: Source::CellDefault },
        (true, Some(fact)) => about("--recurrent-activation")
            .decide(given.recurrent_activation, Some(fact.value))?
            .map_or(fact, |f| functions.sourced(f, fact)),
        (true, None) => {
            given.recurrent_activation.map_or(functions.usual, |value| Fact { value, source: Source::Option })
        }
    };
    let cell_clip = about("the map's cell clip").decide(said.cell_clip, facts.cell_clip)?;
    let projection_clip = about("the map's projection clip").decide(said.projection_clip, facts.projection_clip)?;
    let time_major = uses.as_ref().and_then(|(i, _)| merging::time_major(&i.graph, &i.uses(&candidate.variables)));
    Ok(Ok(FoundCell {
        name: candidate.scope.clone(),
        kind,
        input_size: sizes.input,
        units: sizes.units,
        projection: sizes.projection,
        forget_bias,
        activation,
        recurrent_activation,
        cell_clip,
        projection_clip,
        layer_norm: candidate.layer_norm,
        time_major: time_major.map(|value| Fact { value, source: Source::Graph }).or_else(|| {
            let known = given.known.get(&candidate.scope)?;
            known.time_major.map(|value| Fact { value, source: Source::Config })
        }),
        zero_past_end: !kind.is_keras()
            || given.known.get(&candidate.scope).is_some_and(|known| known.zero_output_for_mask),
        columns: facts.columns.unwrap_or(if kind.is_keras() { gate_order::KERAS } else { gate_order::TF1 }),
        variables: candidate.variables.clone(),
        averages: None,
    }))
}

/// What configuration and graph say of a Keras layer's functions.
struct KerasFunctions {
    activation: Option<Fact<Activation>>,
    recurrent_activation: Option<Fact<Activation>>,
    usual: Fact<Activation>,
}

impl Default for KerasFunctions {
    fn default() -> KerasFunctions {
        let usual = Fact { value: Activation::HardSigmoidKeras2, source: Source::CellDefault };
        KerasFunctions { activation: None, recurrent_activation: None, usual }
    }
}

impl KerasFunctions {
    /// What was decided, with the origin that it has if it is the file's own word.
    fn sourced(&self, decided: Fact<Activation>, file: Fact<Activation>) -> Fact<Activation> {
        if decided.source == Source::Graph { file } else { decided }
    }
}

fn keras_functions(candidate: &Candidate, indexed: Option<&Indexed<'_>>, given: &Given) -> KerasFunctions {
    let mut functions = KerasFunctions::default();
    let known = given.known.get(&candidate.scope).cloned().unwrap_or_default();
    let recurrent = candidate.variables.kernel.get(1);
    let (gates, state) = match (indexed, recurrent) {
        (Some(i), Some(kernel)) => keras::functions(&i.graph, kernel),
        _ => (None, None),
    };
    let fact = |config: Option<Activation>, graph: Option<Activation>| {
        let config = config.map(|value| Fact { value, source: Source::Config });
        config.or(graph.map(|value| Fact { value, source: Source::Graph }))
    };
    functions.activation = fact(known.activation, state);
    functions.recurrent_activation = fact(known.recurrent_activation, gates);
    if candidate.kind == CellKind::KerasCudnn {
        // cuDNN knows no other function.
        functions.usual.value = Activation::Sigmoid;
    } else if let Some(usual) = known.usual_recurrent_activation {
        functions.usual.value = usual;
    }
    functions
}

/// What is being decided, for the error.
struct About<'a> {
    option: &'static str,
    file: &'static str,
    cell: &'a str,
    given: &'a Given,
}

impl About<'_> {
    /// Option over graph; an option that contradicts the graph is an error unless overridden.
    fn decide<T: Copy + PartialEq + fmt::Display>(
        &self,
        said: Option<T>,
        graph: Option<T>,
    ) -> Result<Option<Fact<T>>, GivenError> {
        match (said, graph) {
            (Some(said), Some(graph)) if said != graph && !self.given.override_graph => Err(GivenError::Contradicts {
                option: self.option,
                given: said.to_string(),
                file: self.file,
                graph: graph.to_string(),
                cell: self.cell.to_owned(),
            }),
            (Some(value), _) => Ok(Some(Fact { value, source: Source::Option })),
            (None, Some(value)) => Ok(Some(Fact { value, source: Source::Graph })),
            (None, None) => Ok(None),
        }
    }
}

/// Keeps the networks the user named: by their own name, a scope above, or a cell inside.
fn select(
    networks: Vec<FoundNetwork>,
    malformed: &[Malformed],
    only: &[String],
) -> Result<Vec<FoundNetwork>, GivenError> {
    let matches = |network: &FoundNetwork, name: &String| {
        names::is_at_or_below(&network.name, name)
            || network.network.cells().iter().any(|c| names::is_at_or_below(&c.name, name))
    };
    for name in only {
        let known =
            networks.iter().any(|n| matches(n, name)) || malformed.iter().any(|m| names::is_at_or_below(&m.name, name));
        if !known {
            let found = networks.iter().map(|n| n.name.clone()).collect();
            return Err(GivenError::NoMatch { name: name.clone(), found });
        }
    }
    Ok(networks.into_iter().filter(|n| only.is_empty() || only.iter().any(|name| matches(n, name))).collect())
}

fn check_input_size(network: &FoundNetwork, given: &Given) -> Result<(), GivenError> {
    let (Some(expected), Some(first)) = (given.input_size, network.network.cells().first().copied()) else {
        return Ok(());
    };
    if first.input_size == expected {
        return Ok(());
    }
    Err(GivenError::InputSize {
        given: expected,
        found: first.input_size,
        recurrent: first.projection.unwrap_or(first.units),
        cell: first.name.clone(),
    })
}
