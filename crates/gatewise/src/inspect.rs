//! `gatewise inspect`: what a checkpoint holds, and how each fact is known.

use std::collections::BTreeMap;

use lstm::detect::{Fact, FoundCell};
use lstm::{Place, convert};
use report::document;

use crate::args::{self, InspectFormat};
use crate::error::CliError;
use crate::exit::Code;
use crate::store::Store;
use crate::{digests, map, output, source};

pub(crate) fn run(args: &args::Inspect) -> Result<Code, CliError> {
    let source::Opened { store, detection, .. } = source::find(&args.source, None)?;
    let mut variables = vec![];
    for (variable, sha256) in store.variables().iter().zip(digests::sha256(&store, args.look.quiet)?) {
        variables.push(document::Variable {
            name: store.key(&variable.name).to_owned(),
            dtype: variable.dtype.as_str().to_owned(),
            shape: variable.shape.clone(),
            sha256,
        });
    }
    let mut lstms = vec![];
    for network in &detection.networks {
        lstms.extend(
            network.network.placed_cells().into_iter().map(|(place, cell)| lstm(&store, &network.name, place, cell)),
        );
    }
    let document = document::Inspect {
        schema: "gatewise.inspect/1",
        path: args.source.checkpoint.display().to_string(),
        format: store.format.clone(),
        tensorflow_version: detection.tensorflow_version.clone(),
        files: store.files.iter().map(|f| f.display().to_string()).collect(),
        variables,
        lstms,
        ignored: detection
            .ignored
            .iter()
            .map(|i| document::Ignored { name: store.key(&i.name).to_owned(), why: i.why.clone() })
            .collect(),
        malformed: detection
            .malformed
            .iter()
            .map(|m| document::Malformed { name: m.name.clone(), problem: m.problem.to_string() })
            .collect(),
        notes: detection.notes.clone(),
    };
    match args.format {
        InspectFormat::Json => output::print_json(&document)?,
        InspectFormat::Human => output::print(&report::inspect_text(&document, args.look.style()))?,
        InspectFormat::Map => output::print(&map::render(&map::template(&detection), &args.source.checkpoint)?)?,
    }
    Ok(Code::Pass)
}

fn lstm(store: &Store, network: &str, place: Place, cell: &FoundCell) -> document::Lstm {
    let mut variables = BTreeMap::new();
    let one = |name: &String| document::OneOrMany::One(store.key(name).to_owned());
    for (role, parts) in [("kernel", &cell.variables.kernel), ("projection", &cell.variables.projection)] {
        let keys = match &parts[..] {
            [] => continue,
            [whole] => one(whole),
            parts => document::OneOrMany::Many(parts.iter().map(|p| store.key(p).to_owned()).collect()),
        };
        variables.insert(role.to_owned(), keys);
    }
    if let Some(bias) = &cell.variables.bias {
        variables.insert("bias".to_owned(), one(bias));
    }
    if let Some([i, f, o]) = &cell.variables.peepholes {
        for (role, name) in [("peephole_input", i), ("peephole_forget", f), ("peephole_output", o)] {
            variables.insert(role.to_owned(), one(name));
        }
    }
    for (role, name) in &cell.variables.extra {
        variables.insert(role.clone(), one(name));
    }
    let reason = convert::refusal_of(cell).map(|why| why.to_string());
    document::Lstm {
        name: cell.name.clone(),
        network: network.to_owned(),
        cell: cell.kind.as_str().to_owned(),
        input_size: cell.input_size,
        units: cell.units,
        direction: place.direction.as_str().to_owned(),
        layer: place.layer,
        forget_bias: fact(cell.forget_bias, |v| v),
        activation: fact(cell.activation, |a| a.keras_name().to_owned()),
        peephole: cell.variables.peepholes.is_some(),
        projection: cell.projection,
        recurrent_activation: fact(cell.recurrent_activation, |a| a.to_string()),
        time_major: cell.time_major.map(|f| f.value),
        averages: cell.averages.as_ref().map(|a| document::Averages { used: a.used.as_str().to_owned(), open: a.open }),
        projection_clip: cell.projection_clip.map(|c| c.value),
        cell_clip: cell.cell_clip.map(|c| c.value),
        layer_norm: cell.layer_norm,
        variables,
        keras: document::Representable { representable: reason.is_none(), reason },
    }
}

/// A fact for a document.
pub(crate) fn fact<T: Copy, U>(fact: Fact<T>, show: impl Fn(T) -> U) -> document::Fact<U> {
    document::Fact { value: show(fact.value), source: fact.source.as_str().to_owned(), origin: fact.source.to_string() }
}
