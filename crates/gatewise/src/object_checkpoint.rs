//! Writing layers as an object-based checkpoint of TensorFlow 2, which `Model.load_weights(prefix)` of Keras 2 restores: into the
//! model that gatewise writes as `.keras`, or, where a direction holds a stack of cells and nothing else, into one layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keras_file::{Array, Layer, LayerKind, Lstm};
use tf_checkpoint::{ObjectGraph, ObjectVariable, write_object_checkpoint};

use crate::error::CliError;
use crate::layers::Written;

/// The files of the checkpoint `prefix`, its index last: a checkpoint is there once its index is.
pub(crate) fn files(prefix: &Path, written: &[Written]) -> Result<Vec<(PathBuf, Vec<u8>)>, CliError> {
    let chains: Vec<Vec<Layer>> = written.iter().map(|w| w.layers.clone()).collect();
    let mut arrays = vec![];
    match &chains[..] {
        [layers] if layers.iter().all(is_one_layer) => {
            layers.iter().enumerate().for_each(|(place, layer)| collect(layer, place, &mut arrays));
        }
        _ => {
            let places: BTreeMap<String, usize> =
                keras_file::listed(&chains).into_iter().enumerate().map(|(place, name)| (name, place)).collect();
            chains.iter().flatten().for_each(|layer| collect_listed(layer, &places, &mut arrays));
        }
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

/// Whether a layer is one of Keras too: `Bidirectional(RNN([LSTMCell(…), …]))` is, for a stack of cells inside each direction.
fn is_one_layer(layer: &Layer) -> bool {
    match &layer.kind {
        LayerKind::Lstm(_) | LayerKind::Bidirectional { .. } | LayerKind::Dense { .. } => true,
        LayerKind::Directions { forward, backward } => {
            forward.iter().chain(backward).all(|l| matches!(l.kind, LayerKind::Lstm(_)))
        }
        LayerKind::Residual(_) => false,
    }
}

/// The arrays of a layer under the paths that a Keras 2 model of the same layers has for them.
fn collect<'a>(layer: &'a Layer, place: usize, arrays: &mut Vec<(String, &'a Array)>) {
    let scope = format!("layer_with_weights-{place}");
    match &layer.kind {
        LayerKind::Lstm(lstm) => cell(&format!("{scope}/cell"), lstm, arrays),
        LayerKind::Bidirectional { forward, backward, .. } => {
            cell(&format!("{scope}/forward_layer/cell"), forward, arrays);
            cell(&format!("{scope}/backward_layer/cell"), backward, arrays);
        }
        LayerKind::Dense { kernel, bias } => {
            arrays.push((format!("{scope}/kernel"), kernel));
            arrays.extend(bias.as_ref().map(|b| (format!("{scope}/bias"), b)));
        }
        LayerKind::Directions { forward, backward } => {
            for (half, layers) in [("forward_layer", forward), ("backward_layer", backward)] {
                for (number, lstm) in layers.iter().flat_map(|l| l.kind.lstms()).enumerate() {
                    cell(&format!("{scope}/{half}/cell/cells/{number}"), lstm, arrays);
                }
            }
        }
        LayerKind::Residual(_) => {}
    }
}

/// The arrays of the layers inside a layer, each a layer of a Functional model at the place that such a model gives it.
fn collect_listed<'a>(layer: &'a Layer, places: &BTreeMap<String, usize>, arrays: &mut Vec<(String, &'a Array)>) {
    match &layer.kind {
        LayerKind::Residual(inside) => inside.iter().for_each(|layer| collect_listed(layer, places, arrays)),
        LayerKind::Directions { forward, backward } => {
            forward.iter().chain(backward).for_each(|layer| collect_listed(layer, places, arrays));
        }
        LayerKind::Lstm(_) | LayerKind::Bidirectional { .. } | LayerKind::Dense { .. } => {
            if let Some(place) = places.get(&layer.name) {
                collect(layer, *place, arrays);
            }
        }
    }
}

fn cell<'a>(scope: &str, lstm: &'a Lstm, arrays: &mut Vec<(String, &'a Array)>) {
    arrays.push((format!("{scope}/kernel"), &lstm.kernel));
    arrays.push((format!("{scope}/recurrent_kernel"), &lstm.recurrent_kernel));
    arrays.extend(lstm.bias.as_ref().map(|b| (format!("{scope}/bias"), b)));
}
