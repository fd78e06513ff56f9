//! `gatewise convert`: the LSTMs of a checkpoint as Keras weights.

use std::path::Path;

use keras_file::{Array, Layer, LayerKind, Lstm, LstmConfig};
use lstm::detect::FoundCell;
use lstm::{KerasCell, Network, Place};
use report::document;

use crate::args::{self, Format, Target};
use crate::candidate::{Slot, goes_backwards, slots};
use crate::error::CliError;
use crate::exit::Code;
use crate::source::{self, Subject};
use crate::{inspect, output};

pub(crate) fn run(args: &args::Convert) -> Result<Code, CliError> {
    let target = target(args)?;
    let (checkpoint, _, detection) = source::find(&args.source, Some(&args.facts))?;
    refuse_to_overwrite(&args.output, checkpoint.files())?;
    let subjects = source::load(&args.source.checkpoint, &checkpoint, &detection)?;
    let mut names = Names::default();
    let mut chains = vec![];
    let mut described = vec![];
    for subject in &subjects {
        if target == keras_file::Target::Keras && has_stack_inside_directions(&subject.keras) {
            let (output, network) = (args.output.clone(), subject.name.clone());
            return Err(CliError::StackInsideDirections { output, network });
        }
        let layers = layers(subject, &mut names);
        described.extend(layers.iter().map(|(_, description)| description.clone()));
        chains.push(layers.into_iter().map(|(layer, _)| layer).collect::<Vec<_>>());
    }
    let bytes = keras_file::encode(&chains, target)?;
    output::write_whole(&args.output, &bytes)?;
    let document = document::Convert {
        schema: "gatewise.convert/1",
        output: args.output.display().to_string(),
        format: match target {
            keras_file::Target::LegacyWeights => "keras-h5",
            keras_file::Target::Weights => "keras-weights",
            keras_file::Target::Keras => "keras",
            keras_file::Target::Npz => "npz",
            keras_file::Target::Safetensors => "safetensors",
        }
        .to_owned(),
        sha256: output::sha256(&bytes),
        layers: described,
        notes: detection.notes,
    };
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human if args.display.quiet => {}
        Format::Human => output::print(&report::convert_text(&document, args.display.style()))?,
    }
    Ok(Code::Pass)
}

fn target(args: &args::Convert) -> Result<keras_file::Target, CliError> {
    let name = args.output.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    Ok(match args.to {
        Some(Target::KerasH5) => keras_file::Target::LegacyWeights,
        Some(Target::KerasWeights) => keras_file::Target::Weights,
        Some(Target::Keras) => keras_file::Target::Keras,
        Some(Target::Npz) => keras_file::Target::Npz,
        Some(Target::Safetensors) => keras_file::Target::Safetensors,
        // The longer extension first: `.weights.h5` also ends in `.h5`.
        None if name.ends_with(".weights.h5") => keras_file::Target::Weights,
        None if name.ends_with(".h5") || name.ends_with(".hdf5") => keras_file::Target::LegacyWeights,
        None if name.ends_with(".keras") => keras_file::Target::Keras,
        None if name.ends_with(".npz") => keras_file::Target::Npz,
        None if name.ends_with(".safetensors") => keras_file::Target::Safetensors,
        None => return Err(CliError::OutputFormat(args.output.clone())),
    })
}

/// A conversion must not destroy what it converts.
fn refuse_to_overwrite(path: &Path, inputs: &[std::path::PathBuf]) -> Result<(), CliError> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    if inputs.iter().any(|input| input.canonicalize().is_ok_and(|i| i == real)) {
        return Err(CliError::OutputIsInput(path.to_owned()));
    }
    Ok(())
}

fn has_stack_inside_directions<C>(network: &Network<C>) -> bool {
    match network {
        Network::Cell(_) => false,
        Network::Stack(parts) => parts.iter().any(has_stack_inside_directions),
        Network::Residual(part) => has_stack_inside_directions(part),
        Network::Bidirectional { forward, backward, .. } => {
            !matches!((&**forward, &**backward), (Network::Cell(_), Network::Cell(_)))
        }
    }
}

/// Names as Keras gives them: `lstm`, `lstm_1`, …, `bidirectional`, ….
#[derive(Default)]
struct Names {
    lstm: usize,
    bidirectional: usize,
}

impl Names {
    fn next(&mut self, slot: Slot) -> String {
        let (stem, count) = match slot {
            Slot::Single => ("lstm", &mut self.lstm),
            Slot::Pair => ("bidirectional", &mut self.bidirectional),
        };
        *count += 1;
        if *count == 1 { stem.to_owned() } else { format!("{stem}_{}", *count - 1) }
    }
}

/// The layers of one network, each with its description.
fn layers(subject: &Subject, names: &mut Names) -> Vec<(Layer, document::ConvertedLayer)> {
    let found = subject.found.cells();
    let mut cells = subject.keras.placed_cells().into_iter().zip(found);
    let mut layers = vec![];
    for slot in slots(&subject.keras) {
        let name = names.next(slot);
        let mut half = || {
            let ((place, cell), found) = cells.next().expect("a network has as many cells as its layers hold");
            (lstm(cell, slot, place), found)
        };
        let (kind, class, found) = match slot {
            Slot::Single => {
                let (lstm, found) = half();
                (LayerKind::Lstm(lstm), "LSTM", vec![found])
            }
            Slot::Pair => {
                let ((forward, a), (backward, b)) = (half(), half());
                (
                    LayerKind::Bidirectional { forward, backward, merge_mode: Some("concat".to_owned()) },
                    "Bidirectional",
                    vec![a, b],
                )
            }
        };
        let description = describe(&name, class, &found);
        layers.push((Layer { name, kind }, description));
    }
    layers
}

fn lstm(cell: &KerasCell, slot: Slot, place: Place) -> Lstm {
    let array = |a: &ndarray::Array2<f32>| Array::float32(a.shape().to_vec(), a.iter().copied().collect());
    Lstm {
        kernel: array(&cell.kernel),
        recurrent_kernel: array(&cell.recurrent_kernel),
        bias: Some(Array::float32(vec![cell.bias.len()], cell.bias.to_vec())),
        config: Some(LstmConfig {
            units: cell.units(),
            activation: cell.activation.keras_name().to_owned(),
            recurrent_activation: cell.recurrent_activation.keras_name().to_owned(),
            use_bias: true,
            go_backwards: goes_backwards(slot, place),
            time_major: false,
            return_sequences: true,
            // TF1 gives zeros past a sequence's end; a Keras layer under a mask does so only with this set.
            zero_output_for_mask: false,
            stateful: false,
        }),
    }
}

fn describe(name: &str, class: &str, found: &[&FoundCell]) -> document::ConvertedLayer {
    document::ConvertedLayer {
        layer: name.to_owned(),
        class: class.to_owned(),
        cells: found.iter().map(|c| c.name.clone()).collect(),
        input_size: found.first().map_or(0, |c| c.input_size),
        units: found.iter().map(|c| c.units).collect(),
        forget_bias: found.iter().map(|c| inspect::fact(c.forget_bias, |v| v)).collect(),
        activation: found.iter().map(|c| c.activation.value.keras_name().to_owned()).collect(),
    }
}
