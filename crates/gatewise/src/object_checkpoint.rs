//! Writing layers as an object-based checkpoint of TensorFlow 2, which `Model.load_weights(prefix)` of Keras 2 restores.

use std::path::{Path, PathBuf};

use keras_file::{Array, Layer, LayerKind, Lstm};
use tf_checkpoint::{ObjectGraph, ObjectVariable, write_object_checkpoint};

use crate::error::CliError;
use crate::layers::Written;

/// The files of the checkpoint `prefix`, its index last: a checkpoint is there once its index is.
pub(crate) fn files(prefix: &Path, written: &[Written], source: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, CliError> {
    let refuse = |problem: &str| CliError::ObjectCheckpoint {
        output: prefix.to_owned(),
        problem: format!("{}: {problem}", source.display()),
    };
    let mut arrays: Vec<(String, &Array)> = vec![];
    let mut place = 0;
    for layer in written.iter().flat_map(|w| &w.layers) {
        collect(layer, &mut place, &mut arrays).map_err(|problem| refuse(&problem))?;
    }
    let mut graph = ObjectGraph::new();
    let mut keys = vec![];
    for (path, _) in &arrays {
        keys.push(graph.insert_variable(path, "")?);
    }
    let variables: Vec<ObjectVariable<'_>> = keys
        .iter()
        .zip(&arrays)
        .map(|(key, (_, array))| ObjectVariable { key, shape: &array.shape, values: &array.data })
        .collect();
    let made = write_object_checkpoint(&graph, &variables, 1)?;
    let with = |suffix: &str| {
        let mut name = prefix.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    Ok(vec![(with(".data-00000-of-00001"), made.data), (with(".index"), made.index)])
}

/// The arrays of a layer under the paths that a Keras 2 model of the same layers has for them. A stack inside each
/// direction is one layer: `Bidirectional(RNN([LSTMCell(…), …]))`.
fn collect<'a>(layer: &'a Layer, place: &mut usize, arrays: &mut Vec<(String, &'a Array)>) -> Result<(), String> {
    let scope = format!("layer_with_weights-{place}");
    match &layer.kind {
        LayerKind::Lstm(lstm) => {
            cell(&format!("{scope}/cell"), lstm, arrays);
            *place += 1;
        }
        LayerKind::Bidirectional { forward, backward, .. } => {
            cell(&format!("{scope}/forward_layer/cell"), forward, arrays);
            cell(&format!("{scope}/backward_layer/cell"), backward, arrays);
            *place += 1;
        }
        LayerKind::Dense { kernel, bias } => {
            arrays.push((format!("{scope}/kernel"), kernel));
            arrays.extend(bias.as_ref().map(|b| (format!("{scope}/bias"), b)));
            *place += 1;
        }
        LayerKind::Residual(inside) => {
            for layer in inside {
                collect(layer, place, arrays)?;
            }
        }
        LayerKind::Directions { forward, backward } => {
            for (half, layers) in [("forward_layer", forward), ("backward_layer", backward)] {
                for (number, layer) in layers.iter().enumerate() {
                    // The order of a Functional model's layers depends on how it was built.
                    let LayerKind::Lstm(lstm) = &layer.kind else {
                        return Err(format!(
                            "{} inside a direction is no LSTM cell, and only a stack of cells has fixed places in such a \
                             checkpoint: write .keras",
                            layer.name
                        ));
                    };
                    cell(&format!("{scope}/{half}/cell/cells/{number}"), lstm, arrays);
                }
            }
            *place += 1;
        }
    }
    Ok(())
}

fn cell<'a>(scope: &str, lstm: &'a Lstm, arrays: &mut Vec<(String, &'a Array)>) {
    arrays.push((format!("{scope}/kernel"), &lstm.kernel));
    arrays.push((format!("{scope}/recurrent_kernel"), &lstm.recurrent_kernel));
    arrays.extend(lstm.bias.as_ref().map(|b| (format!("{scope}/bias"), b)));
}
