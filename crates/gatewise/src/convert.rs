//! `gatewise convert`: the LSTMs of a checkpoint as Keras weights.

use std::path::{Path, PathBuf};

use report::document;

use crate::args::{self, Format, Target};
use crate::error::CliError;
use crate::exit::Code;
use crate::layers::Written;
use crate::progress::Progress;
use crate::source;
use crate::{into, layers, meaning, object_checkpoint, output};

pub(crate) fn run(args: &args::Convert) -> Result<Code, CliError> {
    let opened = source::find(&args.source, Some(&args.facts))?;
    let mut inputs = opened.store.files.clone();
    inputs.extend(args.into.iter().chain(&args.source.map).cloned());
    let subjects = opened.load_convertible(args.display.look.quiet)?;
    let way = match &args.into {
        Some(model) => Way::Into(model),
        None => Way::To(target(args)?),
    };
    let said = args.keras.map(args::KerasMajor::number);
    let whole_model = matches!(way, Way::To(Target::Keras));
    let generation = meaning::generation(said, whole_model, &subjects, &opened.store.path)?;
    let mut notes = opened.detection.notes.clone();
    notes.extend(source::precision(&opened.store, &subjects));

    let progress = Progress::stages("writing", 2, args.display.look.quiet);
    let mut written = layers::all(&subjects, &opened.store.path)?;
    let made = match way {
        Way::Into(model) => {
            let filled = into::fill(model, &subjects, &opened.map, &opened.store, said)?;
            for (written, names) in written.iter_mut().zip(&filled.layers) {
                written.rename(names);
            }
            notes.extend(filled.notes);
            let files = vec![(args.output.clone(), filled.bytes)];
            Made { format: filled.format.as_str().to_owned(), files, note: None }
        }
        Way::To(target) => made(args, &written, target, generation)?,
    };
    notes.extend(made.note);
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
    /// What a user needs to know of them.
    note: Option<String>,
}

/// A file of its own, or a model of the user's with other weights.
enum Way<'a> {
    To(Target),
    Into(&'a Path),
}

fn made(
    args: &args::Convert,
    written: &[Written],
    target: Target,
    generation: keras_file::Generation,
) -> Result<Made, CliError> {
    if target == Target::Tf2Checkpoint {
        let files = object_checkpoint::files(&args.output, written)?;
        return Ok(Made { format: "tf2-checkpoint".to_owned(), files, note: None });
    }
    let (target, format) = match target {
        Target::KerasH5 => (keras_file::Target::LegacyWeights, "keras-h5"),
        Target::KerasWeights => (keras_file::Target::Weights, "keras-weights"),
        Target::Keras => (keras_file::Target::Keras, "keras"),
        Target::Npz => (keras_file::Target::Npz, "npz"),
        Target::Safetensors | Target::Tf2Checkpoint => (keras_file::Target::Safetensors, "safetensors"),
    };
    let chains: Vec<_> = written.iter().map(|w| w.layers.clone()).collect();
    let bytes = keras_file::encode_for(&chains, target, generation)
        .map_err(|source| CliError::Encode { output: args.output.clone(), source: Box::new(source) })?;
    let by_order = matches!(target, keras_file::Target::LegacyWeights | keras_file::Target::Weights);
    let note = if by_order { order(&keras_file::listed(&chains), written) } else { None };
    Ok(Made { format: format.to_owned(), files: vec![(args.output.clone(), bytes)], note })
}

/// The order in which a file of weights has its LSTM layers, where it is not that in which they are described.
fn order(listed: &[String], written: &[Written]) -> Option<String> {
    let described: Vec<&str> = written.iter().flat_map(|w| &w.described).map(|d| d.layer.as_str()).collect();
    let listed: Vec<&str> = listed.iter().map(String::as_str).filter(|name| described.contains(name)).collect();
    (listed != described).then(|| {
        format!(
            "Keras loads weights by their order; the file has that of the model that --to keras writes: {}",
            listed.join(", ")
        )
    })
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
