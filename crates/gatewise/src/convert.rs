//! `gatewise convert`: the LSTMs of a checkpoint as Keras weights.

use std::path::{Path, PathBuf};

use report::document;

use crate::args::{self, Format, Target};
use crate::error::CliError;
use crate::exit::Code;
use crate::layers::{Names, Written};
use crate::progress::Progress;
use crate::source::{self, Opened};
use crate::{into, layers, object_checkpoint, output};

pub(crate) fn run(args: &args::Convert) -> Result<Code, CliError> {
    let opened = source::find(&args.source, Some(&args.facts))?;
    let mut inputs = opened.store.files.clone();
    inputs.extend(args.into.iter().chain(&args.source.map).cloned());
    let subjects = opened.load_convertible(args.display.look.quiet)?;
    let mut notes = opened.detection.notes.clone();
    notes.extend(source::precision(&opened.store, &subjects));

    let progress = Progress::stages("writing", 2, args.display.look.quiet);
    let mut names = Names::default();
    let mut written: Vec<Written> = vec![];
    for subject in &subjects {
        let layers = layers::of(subject, &mut names)
            .map_err(|problem| CliError::Wiring { checkpoint: opened.store.path.clone(), problem })?;
        written.push(layers);
    }
    let made = match &args.into {
        Some(model) => {
            let filled =
                into::fill(model, &subjects, &opened.map, &opened.store, args.keras.map(args::KerasMajor::number))?;
            for (written, names) in written.iter_mut().zip(&filled.layers) {
                written.rename(names);
            }
            notes.extend(filled.notes);
            let files = vec![(args.output.clone(), filled.bytes)];
            Made { format: filled.format.as_str().to_owned(), files }
        }
        None => made(args, &opened, &written)?,
    };
    progress.set(1);
    for (path, _) in &made.files {
        output::refuse_to_overwrite(path, &inputs)?;
    }
    output::write_all(&made.files)?;
    drop(progress);
    let document = document::Convert {
        schema: "gatewise.convert/1",
        output: args.output.display().to_string(),
        format: made.format,
        sha256: made.files.last().map_or_else(String::new, |(_, bytes)| output::sha256(bytes)),
        layers: written.into_iter().flat_map(|w| w.described).collect(),
        notes,
    };
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human if args.display.look.quiet => {}
        Format::Human => output::print(&report::convert_text(&document, args.display.look.style()))?,
    }
    Ok(Code::Pass)
}

/// Files to write, the one that makes the others count last.
struct Made {
    format: String,
    files: Vec<(PathBuf, Vec<u8>)>,
}

fn made(args: &args::Convert, opened: &Opened, written: &[Written]) -> Result<Made, CliError> {
    let target = target(args)?;
    if target == Target::Tf2Checkpoint {
        let files = object_checkpoint::files(&args.output, written, &opened.store.path)?;
        return Ok(Made { format: "tf2-checkpoint".to_owned(), files });
    }
    let (target, format) = match target {
        Target::KerasH5 => (keras_file::Target::LegacyWeights, "keras-h5"),
        Target::KerasWeights => (keras_file::Target::Weights, "keras-weights"),
        Target::Keras => (keras_file::Target::Keras, "keras"),
        Target::Npz => (keras_file::Target::Npz, "npz"),
        Target::Safetensors | Target::Tf2Checkpoint => (keras_file::Target::Safetensors, "safetensors"),
    };
    let generation = match args.keras {
        None => keras_file::Generation::Any,
        Some(args::KerasMajor::Two) => keras_file::Generation::Two,
        Some(args::KerasMajor::Three) => keras_file::Generation::Three,
    };
    let chains: Vec<_> = written.iter().map(|w| w.layers.clone()).collect();
    let bytes = keras_file::encode_for(&chains, target, generation)
        .map_err(|source| CliError::Encode { output: args.output.clone(), source: Box::new(source) })?;
    Ok(Made { format: format.to_owned(), files: vec![(args.output.clone(), bytes)] })
}

fn target(args: &args::Convert) -> Result<Target, CliError> {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name(&args.output);
    Ok(match args.to {
        Some(target) => target,
        // The longer extension first: `.weights.h5` also ends in `.h5`.
        None if name.ends_with(".weights.h5") => Target::KerasWeights,
        None if name.ends_with(".h5") || name.ends_with(".hdf5") => Target::KerasH5,
        None if name.ends_with(".keras") => Target::Keras,
        None if name.ends_with(".npz") => Target::Npz,
        None if name.ends_with(".safetensors") => Target::Safetensors,
        None => return Err(CliError::OutputFormat(args.output.clone())),
    })
}
