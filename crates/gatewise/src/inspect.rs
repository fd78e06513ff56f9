//! `gatewise inspect`: what a checkpoint holds, and how each fact is known.

use std::collections::BTreeMap;

use lstm::convert::NotRepresentable;
use lstm::detect::{Fact, FoundCell};
use lstm::{Place, convert};
use report::document;

use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Code;
use crate::{digests, output, source};

pub(crate) fn run(args: &args::Inspect) -> Result<Code, CliError> {
    let (checkpoint, version, detection) = source::find(&args.source, None)?;
    let mut variables = vec![];
    for (variable, sha256) in checkpoint.variables().iter().zip(digests::sha256(&checkpoint)?) {
        variables.push(document::Variable {
            name: variable.name.clone(),
            dtype: variable.dtype.as_str().to_owned(),
            shape: variable.shape.clone(),
            sha256,
        });
    }
    let mut lstms = vec![];
    for network in &detection.networks {
        lstms.extend(network.network.placed_cells().into_iter().map(|(place, cell)| lstm(&network.name, place, cell)));
    }
    let document = document::Inspect {
        schema: "gatewise.inspect/1",
        path: args.source.checkpoint.display().to_string(),
        format: checkpoint.format().as_str().to_owned(),
        tensorflow_version: version,
        files: checkpoint.files().iter().map(|f| f.display().to_string()).collect(),
        variables,
        lstms,
        ignored: detection
            .ignored
            .iter()
            .map(|i| document::Ignored { name: i.name.clone(), why: i.why.clone() })
            .collect(),
        malformed: detection
            .malformed
            .iter()
            .map(|m| document::Malformed { name: m.name.clone(), problem: m.problem.to_string() })
            .collect(),
        notes: detection.notes,
    };
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human => output::print(&report::inspect_text(&document, args.display.style()))?,
    }
    Ok(Code::Pass)
}

fn lstm(network: &str, place: Place, cell: &FoundCell) -> document::Lstm {
    let mut variables = BTreeMap::new();
    let one = |name: &String| document::OneOrMany::One(name.clone());
    match &cell.variables.kernel[..] {
        [kernel] => variables.insert("kernel".to_owned(), one(kernel)),
        parts => variables.insert("kernel".to_owned(), document::OneOrMany::Many(parts.to_vec())),
    };
    if let Some(bias) = &cell.variables.bias {
        variables.insert("bias".to_owned(), one(bias));
    }
    if let Some([i, f, o]) = &cell.variables.peepholes {
        for (role, name) in [("peephole_input", i), ("peephole_forget", f), ("peephole_output", o)] {
            variables.insert(role.to_owned(), one(name));
        }
    }
    if let Some(projection) = &cell.variables.projection {
        variables.insert("projection".to_owned(), one(projection));
    }
    let reason = why_not_keras(cell);
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

/// The same judgement as the conversion's, from what was found and without reading weights.
fn why_not_keras(cell: &FoundCell) -> Option<String> {
    // Files are written without the dense layer that a projection needs, so far.
    let projected = cell.projection.map(|projected| NotRepresentable::Projection { units: cell.units, projected });
    convert::refusal_of(cell).or(projected).map(|why| why.to_string())
}
