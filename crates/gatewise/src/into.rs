//! `gatewise convert --into`: a user's own Keras model with its LSTM layers replaced and every other byte kept.

use std::path::Path;

use keras_file::{Array, Half, KerasFile, Layer, LayerKind, Lstm, Replacement, Role};
use lstm::{Activation, KerasCell};

use crate::candidate::{Slot, goes_backwards, slots};
use crate::error::CliError;
use crate::map::Map;
use crate::matching;
use crate::meaning::Meaning;
use crate::source::Subject;
use crate::store::Store;

/// A filled model.
pub(crate) struct Filled {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: keras_file::Format,
    /// The layer of each network's slots, in their order.
    pub(crate) layers: Vec<Vec<String>>,
    pub(crate) notes: Vec<String>,
}

/// The bytes of `model` with the weights of `subjects`, and those of other layers that the map names.
pub(crate) fn fill(
    model: &Path,
    subjects: &[Subject],
    map: &Map,
    store: &Store,
    keras: Option<u32>,
) -> Result<Filled, CliError> {
    let misfit = |problem: String| CliError::Into { file: model.to_owned(), problem };
    let bytes = store.disk.read(model)?;
    let file = keras_file::decode(bytes.clone()).map_err(|e| e.in_file(model))?;
    let mut notes = vec![];
    let meaning = Meaning::of(&file, keras);
    notes.extend(meaning.note(&file));
    if file.layers.iter().flat_map(|l| l.kind.lstms()).any(|l| l.config.is_none()) {
        notes.extend(meaning.note_of_weights(subjects.iter().flat_map(|s| s.keras.cells())));
    }

    let chosen = matching::layers(subjects, map, &file, matching::is_listed(&file), true).map_err(misfit)?;
    let mut remaining = chosen.iter();
    let mut replacements = vec![];
    let mut layers = vec![];
    for subject in subjects {
        let mut cells = subject.keras.placed_cells().into_iter();
        let mut names = vec![];
        for slot in slots(&subject.keras) {
            let Some(layer) = remaining.next() else { return Err(misfit("it has too few LSTM layers".to_owned())) };
            for (half, lstm) in halves(layer, slot).map_err(misfit)? {
                let Some((place, cell)) = cells.next() else { continue };
                let backwards = goes_backwards(slot, place);
                fits(cell, lstm, backwards, meaning)
                    .map_err(|problem| misfit(format!("layer {}: {problem}", layer.name)))?;
                replacements.extend(arrays(layer, half, cell, lstm));
            }
            names.push(layer.name.clone());
        }
        layers.push(names);
    }
    let left: Vec<&str> =
        file.layers.iter().filter(|l| !chosen.iter().any(|c| c.name == l.name)).map(|l| l.name.as_str()).collect();
    if !left.is_empty() {
        notes.push(format!("LSTM layers left as they were: {}", left.join(", ")));
    }
    let projecting = subjects.iter().flat_map(|s| s.found.cells()).filter(|cell| cell.projection.is_some());
    notes.extend(projecting.map(|cell| {
        format!(
            "{} projects its output, which a dense layer after it has to do: no layer but those that the map names is filled",
            cell.name
        )
    }));
    for layer in &map.layer {
        let other = others(model, &file, layer, store)?;
        notes.push(format!(
            "layer {} filled from {}",
            layer.keras,
            layer.arrays.values().cloned().collect::<Vec<_>>().join(", ")
        ));
        replacements.extend(other);
    }
    let bytes = keras_file::replace(&bytes, &replacements).map_err(|e| e.in_file(model))?;
    Ok(Filled { bytes, format: file.format, layers, notes })
}

fn halves(layer: &Layer, slot: Slot) -> Result<Vec<(Half, &Lstm)>, String> {
    match (&layer.kind, slot) {
        (LayerKind::Lstm(lstm), Slot::Single | Slot::Backward) => Ok(vec![(Half::Whole, lstm)]),
        (LayerKind::Bidirectional { forward, backward, .. }, Slot::Pair) => {
            Ok(vec![(Half::Forward, forward), (Half::Backward, backward)])
        }
        (_, Slot::Single | Slot::Backward) => {
            Err(format!("layer {} is Bidirectional, and the checkpoint's LSTM is not", layer.name))
        }
        (_, Slot::Pair) => Err(format!("layer {} is not Bidirectional, and the checkpoint's LSTM is", layer.name)),
    }
}

/// Whether the layer, once it has the cell's weights, computes what the cell does.
fn fits(cell: &KerasCell, lstm: &Lstm, backwards: bool, meaning: Meaning) -> Result<(), String> {
    if (lstm.inputs(), lstm.units()) != (cell.input_size(), cell.units()) {
        return Err(format!(
            "it has {} inputs and {} units: the checkpoint's LSTM has {} and {}",
            lstm.inputs(),
            lstm.units(),
            cell.input_size(),
            cell.units()
        ));
    }
    if lstm.bias.is_none() && cell.bias.iter().any(|b| *b != 0.0) {
        return Err("it has no bias (use_bias=False), and the checkpoint's LSTM has one".to_owned());
    }
    let Some(config) = &lstm.config else { return meaning.fits(cell) };
    for (what, name, expected) in [
        ("activation", &config.activation, cell.activation),
        ("recurrent_activation", &config.recurrent_activation, cell.recurrent_activation),
    ] {
        let meant = Activation::from_keras(name, meaning.major());
        if meant != Some(expected) {
            let found = meant.map_or_else(|| format!("{name:?}"), |m| m.to_string());
            return Err(format!("its {what} is {found}: the checkpoint's LSTM needs {expected}"));
        }
    }
    if config.go_backwards != backwards {
        return Err(format!("its go_backwards is {}: the checkpoint's LSTM needs {backwards}", config.go_backwards));
    }
    Ok(())
}

fn arrays(layer: &Layer, half: Half, cell: &KerasCell, lstm: &Lstm) -> Vec<Replacement> {
    let one = |role, array| Replacement { layer: layer.name.clone(), half, role, array };
    let matrix = |a: &ndarray::Array2<f32>| Array::float32(a.shape().to_vec(), a.iter().copied().collect());
    let mut all =
        vec![one(Role::Kernel, matrix(&cell.kernel)), one(Role::RecurrentKernel, matrix(&cell.recurrent_kernel))];
    if lstm.bias.is_some() {
        all.push(one(Role::Bias, Array::float32(vec![cell.bias.len()], cell.bias.to_vec())));
    }
    all
}

/// The arrays of a layer that is no LSTM, from the variables that the map names.
fn others(
    model: &Path,
    file: &KerasFile,
    layer: &crate::map::MappedLayer,
    store: &Store,
) -> Result<Vec<Replacement>, CliError> {
    let misfit = |problem: String| CliError::Into { file: model.to_owned(), problem };
    let slots: Vec<_> = file.slots.iter().filter(|s| s.layer == layer.keras && s.half == Half::Whole).collect();
    if slots.is_empty() {
        let mut names: Vec<&str> = file.slots.iter().map(|s| s.layer.as_str()).collect();
        names.dedup();
        return Err(misfit(format!("the map names layer {:?}; the file has {}", layer.keras, names.join(", "))));
    }
    let mut replacements = vec![];
    for (role, variable) in &layer.arrays {
        let slot = slots.iter().find(|s| s.role.as_str() == role).ok_or_else(|| {
            let roles: Vec<&str> = slots.iter().map(|s| s.role.as_str()).collect();
            misfit(format!("layer {} has no {role}: it has {}", layer.keras, roles.join(", ")))
        })?;
        let tensor = store.read(variable)?;
        let values = tensor.to_f32().ok_or_else(|| {
            misfit(format!(
                "{role} of layer {}: variable {variable} is {}, which is no float",
                layer.keras,
                tensor.dtype().as_str()
            ))
        })?;
        if tensor.shape() != slot.shape {
            return Err(misfit(format!(
                "{role} of layer {} is {:?}: variable {variable} is {:?}",
                layer.keras,
                slot.shape,
                tensor.shape()
            )));
        }
        let array = Array::float32(slot.shape.clone(), values);
        replacements.push(Replacement {
            layer: layer.keras.clone(),
            half: Half::Whole,
            role: slot.role.clone(),
            array,
        });
    }
    Ok(replacements)
}
