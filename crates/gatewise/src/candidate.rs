//! A Keras file's LSTM layers, matched one by one to the cells they should compute.

use std::path::{Path, PathBuf};

use disk::Disk;
use keras_file::{Array, KerasFile, LayerKind, Lstm, Role, Stored};
use lstm::{Activation, Direction, KerasCell, Merge, Network, Place, Tf1Cell};
use ndarray::{Array1, Array2};

use crate::error::CliError;
use crate::joined::{self, joined};
use crate::map::Map;
use crate::matching;
use crate::meaning::Meaning;
use crate::projections::projections;
use crate::source::Subject;
use crate::store;

/// A Keras layer that one or two cells become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// `LSTM`: one cell.
    Single,
    /// `LSTM(go_backwards=True)`: one cell.
    Backward,
    /// `Bidirectional(LSTM)`: a forward and a backward cell.
    Pair,
}

/// The Keras layers of a network, in the order of its cells. A stack inside each direction has no such layer of its
/// own: its forward cells come first, then its backward ones.
pub(crate) fn slots<C>(network: &Network<C>) -> Vec<Slot> {
    match network {
        Network::Cell(_) => vec![Slot::Single],
        Network::Backward(_) => vec![Slot::Backward],
        Network::Stack(parts) => parts.iter().flat_map(slots).collect(),
        Network::Residual(part) => slots(part),
        Network::Bidirectional { forward, backward, .. } => match (&**forward, &**backward) {
            (Network::Cell(_), Network::Cell(_)) => vec![Slot::Pair],
            (forward, backward) => [slots(forward), slots(backward)].concat(),
        },
    }
}

/// Whether a direction holds a stack of its own, which no Keras layer does.
pub(crate) fn has_stack_inside_directions<C>(network: &Network<C>) -> bool {
    match network {
        Network::Cell(_) | Network::Backward(_) => false,
        Network::Stack(parts) => parts.iter().any(has_stack_inside_directions),
        Network::Residual(part) => has_stack_inside_directions(part),
        Network::Bidirectional { forward, backward, .. } => {
            !matches!((&**forward, &**backward), (Network::Cell(_), Network::Cell(_)))
        }
    }
}

/// Whether the layer that this cell becomes has `go_backwards` set: the backward half of a `Bidirectional`, or a layer of
/// Keras that had it before. The layers of a backward stack read what was turned round before them.
pub(crate) fn goes_backwards(slot: Slot, place: Place) -> bool {
    place.direction == Direction::Backward && slot != Slot::Single
}

/// A candidate for one subject.
pub(crate) struct Candidate {
    pub(crate) network: Network<KerasCell>,
    /// The layer of each cell.
    pub(crate) names: Vec<String>,
    /// Settings of each cell's layer that no [`KerasCell`] holds and that differ from the right ones.
    pub(crate) settings: Vec<Vec<String>>,
}

/// A candidate's file, read.
pub(crate) struct OpenedFile {
    pub(crate) file: KerasFile,
    /// Whether its layers are in the order of a Keras model's list of them.
    pub(crate) listed: bool,
    pub(crate) format: String,
    /// Every file read.
    pub(crate) files: Vec<PathBuf>,
    /// Kernels of dense layers without bias, `[inputs, outputs]` each, in the file's order.
    pub(crate) dense: Vec<Array2<f32>>,
}

/// Reads a candidate: a Keras file, or the layers of an object-based checkpoint or SavedModel of TensorFlow 2.
pub(crate) fn open(disk: &Disk, path: &Path) -> Result<OpenedFile, CliError> {
    if let Some(opened) = store::layers_of_objects(disk, path)? {
        return Ok(opened);
    }
    let file = keras_file::decode(disk.read(path)?).map_err(|e| e.in_file(path))?;
    let format = file.format.as_str().to_owned();
    let files = vec![path.to_owned()];
    let dense = dense_kernels(disk, path, &file)?;
    let listed = matching::is_listed(&file);
    Ok(OpenedFile { file, listed, format, files, dense })
}

/// The kernels of the dense layers without bias, as far as they can be read: what cannot is no projection.
fn dense_kernels(disk: &Disk, path: &Path, file: &KerasFile) -> Result<Vec<Array2<f32>>, CliError> {
    let mut named: Vec<(&str, &str, &[usize])> = vec![];
    for layer in &file.other_layers {
        let arrays: Vec<_> = file.slots.iter().filter(|s| s.layer == layer.name).collect();
        match (&arrays[..], &layer.arrays[..]) {
            ([kernel], _) if kernel.role == Role::Kernel => named.push((&layer.name, "kernel", &kernel.shape)),
            // Bare arrays have no slots.
            ([], [kernel]) => named.push((&layer.name, &kernel.name, &kernel.shape)),
            _ => {}
        }
    }
    let mut kernels = vec![];
    for (layer, array, shape) in named {
        let &[inputs, outputs] = shape else { continue };
        if let Ok(array) = keras_file::decode_other_array(disk.read(path)?, layer, array) {
            kernels.extend(Array2::from_shape_vec((inputs, outputs), array.data).ok());
        }
    }
    Ok(kernels)
}

/// Matches the layers of `file` to the subjects: by the map, else in order.
///
/// # Errors
/// If there are too few or too many layers, or one has another class or shape than its cell needs.
pub(crate) fn match_layers(
    path: &Path,
    opened: &OpenedFile,
    subjects: &[Subject],
    map: &Map,
    knows_merges: bool,
    keras: Option<u32>,
) -> Result<(Vec<Candidate>, Vec<String>), CliError> {
    let file = &opened.file;
    let mut projections = projections(subjects, &opened.dense, opened.listed).into_iter();
    let misfit = |problem: String| CliError::Candidate { file: path.to_owned(), problem };
    let mut notes = notes(file);
    if file.layers.iter().flat_map(|l| l.kind.lstms()).any(|l| l.config.is_none()) {
        notes.insert(
            0,
            "the file holds weights only and says nothing of activations: those of gatewise's own conversion are assumed"
                .to_owned(),
        );
    }
    let meaning = Meaning::of(file, keras);
    notes.extend(meaning.note(file));
    if file.layers.iter().flat_map(|l| l.kind.lstms()).any(|l| l.config.is_none()) {
        notes.extend(meaning.note_of_weights(subjects.iter().flat_map(|s| s.keras.cells())));
    }
    let chosen = matching::layers(subjects, map, file, opened.listed, false).map_err(misfit)?;
    let left: Vec<&str> =
        file.layers.iter().filter(|l| !chosen.iter().any(|c| c.name == l.name)).map(|l| l.name.as_str()).collect();
    if !left.is_empty() {
        notes.push(format!("the map leaves these LSTM layers of the file aside: {}", left.join(", ")));
    }
    let mut layers = chosen.into_iter();
    let mut candidates = vec![];
    for subject in subjects {
        let placed = subject.keras.placed_cells();
        let truths = subject.truth.cells();
        let found_names: Vec<&str> = subject.found.cells().iter().map(|c| c.name.as_str()).collect();
        let mut merges = merges(&subject.keras).into_iter();
        let (mut cells, mut names, mut settings) = (vec![], vec![], vec![]);
        for slot in slots(&subject.keras) {
            let layer = layers.next().ok_or_else(|| misfit("it ends before the checkpoint's LSTMs do".to_owned()))?;
            let cell_name = found_names.get(cells.len()).unwrap_or(&"");
            let (halves, merge) = match (&layer.kind, slot) {
                (LayerKind::Lstm(lstm), Slot::Single | Slot::Backward) => (vec![(lstm, layer.name.clone())], None),
                (LayerKind::Bidirectional { forward, backward, merge_mode }, Slot::Pair) => (
                    vec![(forward, format!("{}/forward", layer.name)), (backward, format!("{}/backward", layer.name))],
                    merge_mode.as_deref(),
                ),
                (_, Slot::Pair) => {
                    return Err(misfit(format!(
                        "layer {} is an LSTM, and {cell_name} needs a Bidirectional one",
                        layer.name
                    )));
                }
                (_, Slot::Single | Slot::Backward) => {
                    return Err(misfit(format!(
                        "layer {} is Bidirectional, and {cell_name} needs a plain LSTM",
                        layer.name
                    )));
                }
            };
            let mut differing = vec![];
            let mut pair = None;
            if slot == Slot::Pair {
                let (wanted, is_last) = merges.next().unwrap_or((Merge::Concat, true));
                if let Some([(_, a), (_, b)]) = placed.get(cells.len()..cells.len() + 2) {
                    pair = Some(([*a, *b], wanted));
                }
                // Where none is right, no mode of the file's is.
                let form = pair.and_then(|(pair, wanted)| joined(pair, wanted).ok());
                let right = form.as_ref().map_or(wanted, |form| form.merge);
                if merge.is_none() {
                    let judged = if knows_merges || !is_last {
                        format!("{} is assumed, as the model has it", right.as_str())
                    } else {
                        "no graph says it either, and each direction is compared by itself".to_owned()
                    };
                    notes.push(format!(
                        "the file holds weights only and does not say how layer {} joins its directions: {judged}",
                        layer.name
                    ));
                }
                // Two separate outputs are what concat puts side by side.
                match merge.filter(|m| *m != right.as_str() && !(*m == "none" && wanted == Merge::Concat)) {
                    Some(mode) if is_last && !knows_merges => notes.push(format!(
                        "layer {} joins its directions by {mode}, and no graph says how the model joined them: each \
                         direction is compared by itself",
                        layer.name
                    )),
                    Some(mode) => {
                        differing.push(format!("merge_mode is {mode}, the right conversion has {}", right.as_str()));
                    }
                    None => {}
                }
            }
            for (lstm, name) in halves {
                let Some((place, expected)) = placed.get(cells.len()) else {
                    return Err(misfit(format!("layer {name} has no cell to be compared with")));
                };
                let cell_name = found_names.get(cells.len()).unwrap_or(&"");
                let backwards = goes_backwards(slot, *place);
                let mut cell = cell(lstm, expected, backwards, meaning).map_err(|problem| {
                    let why = explain(truths.get(cells.len()).copied(), lstm);
                    misfit(format!("layer {name}, to be compared with {cell_name}: {problem}{why}"))
                })?;
                if slot == Slot::Single && place.direction == Direction::Backward {
                    // Turned round by the first layer itself or by an operation before it: the file's layers do not say.
                    cell.go_backwards = false;
                }
                if expected.output_projection.is_some() && slot != Slot::Pair {
                    cell.output_projection = projections.next().flatten();
                }
                cells.push(cell);
                names.push(name);
                settings.push(differing.clone());
            }
            if let (Some((pair, wanted)), [.., forward, backward]) = (pair, &mut cells[..])
                && joined(pair, wanted).is_ok_and(|form| form.dense.is_some())
                && let Some(kernel) = projections.next().flatten()
            {
                [forward.output_projection, backward.output_projection] = joined::apart(&kernel, pair, wanted);
            }
        }
        let mut in_order = cells.into_iter();
        let network = subject
            .keras
            .try_map(&mut |_| in_order.next().ok_or(()))
            .map_err(|()| misfit("it has fewer layers than the network has cells".to_owned()))?;
        candidates.push(Candidate { network, names, settings });
    }
    Ok((candidates, notes))
}

/// How each pair of directions is joined, in the order of [`slots`], and whether nothing reads the result.
fn merges<C>(network: &Network<C>) -> Vec<(Merge, bool)> {
    fn walk<C>(network: &Network<C>, last: bool, found: &mut Vec<(Merge, bool)>) {
        match network {
            Network::Cell(_) | Network::Backward(_) => {}
            Network::Stack(parts) => {
                let top = parts.len().saturating_sub(1);
                parts.iter().enumerate().for_each(|(i, part)| walk(part, last && i == top, found));
            }
            Network::Residual(part) => walk(part, false, found),
            Network::Bidirectional { forward, backward, merge } => match (&**forward, &**backward) {
                (Network::Cell(_), Network::Cell(_)) => found.push((*merge, last)),
                (forward, backward) => {
                    walk(forward, false, found);
                    walk(backward, false, found);
                }
            },
        }
    }
    let mut found = vec![];
    walk(network, true, &mut found);
    found
}

/// What the file leaves open, in words.
pub(crate) fn notes(file: &KerasFile) -> Vec<String> {
    let mut notes = vec![];
    let halves = || file.layers.iter().flat_map(|l| l.kind.lstms());
    if !file.order_known {
        let taken = match file.format {
            keras_file::Format::Npz | keras_file::Format::Safetensors => "they are taken in the order of their names",
            _ => "LSTM layers are taken before Bidirectional ones",
        };
        notes.push(format!("the file does not say in which order its layers follow each other: {taken}"));
    }
    let arrays =
        || halves().flat_map(|l| [Some(&l.kernel), Some(&l.recurrent_kernel), l.bias.as_ref()].into_iter().flatten());
    if let Some(array) = arrays().find(|a| a.stored_as != keras_file::Dtype::Float32) {
        let lost =
            if arrays().any(|a| a.lossy) { ", and were rounded to float32" } else { ", exactly as float32 holds them" };
        notes.push(format!("weights are stored as {}{lost}", array.stored_as.as_str()));
    }
    let stored = |how| halves().any(|l| l.stored == how);
    if stored(Stored::Cudnn) {
        notes.push(
            "weights of a CuDNNLSTM: its kernels are laid out anew and its two biases added, as Keras 2 does"
                .to_owned(),
        );
    }
    if stored(Stored::Keras1) {
        notes.push("weights as Keras 1 kept them, one array per gate: put together as Keras 2 does".to_owned());
    }
    if halves().any(|l| l.config.as_ref().is_some_and(|c| c.stateful)) {
        notes.push(
            "a layer is stateful: it goes on from the last batch's state, and states are compared from given ones"
                .to_owned(),
        );
    }
    if halves().any(|l| l.config.as_ref().is_some_and(|c| !c.return_sequences)) {
        notes.push(
            "a layer returns its last step only (return_sequences=False): every step is compared all the same"
                .to_owned(),
        );
    }
    if halves().any(|l| l.config.as_ref().is_some_and(|c| c.return_state)) {
        notes.push(
            "a layer returns its final states too (return_state=True): states are compared at every step all the same"
                .to_owned(),
        );
    }
    let repeats = |l: &keras_file::Layer| matches!(&l.kind, LayerKind::Lstm(l) if l.config.as_ref().is_some_and(|c| !c.zero_output_for_mask));
    if file.masks && file.layers.iter().any(repeats) {
        notes.push(
            "the model masks steps, and an LSTM layer without zero_output_for_mask repeats its last output in them, where \
             TensorFlow 1.x gives zeros past a sequence's end: outputs are compared as zeros there"
                .to_owned(),
        );
    }
    if halves().any(|l| l.config.as_ref().is_some_and(|c| c.time_major)) {
        notes.push("a layer is time-major: its data must be fed [time, batch, input]".to_owned());
    }
    notes
}

/// One layer's weights in the form the Keras lane runs.
fn cell(lstm: &Lstm, expected: &KerasCell, backwards: bool, meaning: Meaning) -> Result<KerasCell, String> {
    let kernel = matrix("kernel", &lstm.kernel, expected.kernel.dim())?;
    let recurrent_kernel = matrix("recurrent_kernel", &lstm.recurrent_kernel, expected.recurrent_kernel.dim())?;
    let bias = match &lstm.bias {
        // `use_bias=False` computes what zeros compute.
        None => Array1::zeros(expected.bias.len()),
        Some(bias) if bias.shape[..] == [expected.bias.len()] => Array1::from_vec(bias.data.clone()),
        Some(bias) => return Err(format!("bias is {:?}: expected [{}]", bias.shape, expected.bias.len())),
    };
    let mut cell = KerasCell::new(kernel, recurrent_kernel, bias).map_err(|e| e.to_string())?;
    match &lstm.config {
        None => {
            cell.activation = meaning.instead_of(expected.activation);
            cell.recurrent_activation = meaning.instead_of(expected.recurrent_activation);
        }
        Some(config) => {
            let known = |what: &str, name: &str| {
                Activation::from_keras(name, meaning.major())
                    .ok_or_else(|| format!("its {what} is {name:?}, which gatewise cannot run"))
            };
            cell.activation = known("activation", &config.activation)?;
            cell.recurrent_activation = known("recurrent_activation", &config.recurrent_activation)?;
            // The network's wiring already reverses what the right layer reverses itself.
            cell.go_backwards = config.go_backwards != backwards;
        }
    }
    Ok(cell)
}

/// If a known mistake explains arrays of the wrong shapes: that mistake, as a hint on a line of its own.
fn explain(truth: Option<&Tf1Cell>, lstm: &Lstm) -> String {
    let view =
        |array: &Array| Array2::from_shape_vec((*array.shape.first()?, *array.shape.get(1)?), array.data.clone()).ok();
    let (Some(truth), Some(kernel), Some(recurrent)) = (truth, view(&lstm.kernel), view(&lstm.recurrent_kernel)) else {
        return String::new();
    };
    let bias = lstm.bias.as_ref().map(|b| Array1::from_vec(b.data.clone()));
    let bias = bias.as_ref().map(|b| b.view());
    let found = lstm::diagnose::explain_arrays(truth, kernel.view(), recurrent.view(), bias);
    match found.first().filter(|e| e.equal) {
        Some(e) => {
            let names: Vec<&str> = e.faults.iter().map(|f| f.name()).collect();
            format!("\n{}: {}; {}", names.join(" + "), e.text, e.advice)
        }
        None => String::new(),
    }
}

fn matrix(name: &str, array: &Array, expected: (usize, usize)) -> Result<Array2<f32>, String> {
    if array.shape[..] != [expected.0, expected.1] {
        return Err(format!("{name} is {:?}: expected [{}, {}]", array.shape, expected.0, expected.1));
    }
    Array2::from_shape_vec(expected, array.data.clone()).map_err(|e| format!("{name}: {e}"))
}
