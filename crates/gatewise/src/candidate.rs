//! A Keras file's LSTM layers, matched one by one to the cells they should compute.

use std::path::Path;

use keras_file::{Array, KerasFile, LayerKind, Lstm};
use lstm::{Activation, Direction, KerasCell, Network, Place, Tf1Cell};
use ndarray::{Array1, Array2};

use crate::error::CliError;
use crate::source::Subject;

/// A Keras layer that one or two cells become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// `LSTM`: one cell.
    Single,
    /// `Bidirectional(LSTM)`: a forward and a backward cell.
    Pair,
}

/// The Keras layers of a network, in the order of its cells. A stack inside each direction has no such layer of its
/// own: its forward cells come first, then its backward ones.
pub(crate) fn slots<C>(network: &Network<C>) -> Vec<Slot> {
    match network {
        Network::Cell(_) => vec![Slot::Single],
        Network::Stack(parts) => parts.iter().flat_map(slots).collect(),
        Network::Residual(part) => slots(part),
        Network::Bidirectional { forward, backward, .. } => match (&**forward, &**backward) {
            (Network::Cell(_), Network::Cell(_)) => vec![Slot::Pair],
            (forward, backward) => [slots(forward), slots(backward)].concat(),
        },
    }
}

/// Whether the layer that this cell becomes has `go_backwards` set: the backward half of a `Bidirectional`, and the
/// first layer of a backward stack, which hands its output on in the order it reads.
pub(crate) fn goes_backwards(slot: Slot, place: Place) -> bool {
    place.direction == Direction::Backward && (slot == Slot::Pair || place.layer == 0)
}

/// A candidate for one subject.
pub(crate) struct Candidate {
    pub(crate) network: Network<KerasCell>,
    /// The layer of each cell.
    pub(crate) names: Vec<String>,
    /// Settings of each cell's layer that no [`KerasCell`] holds and that differ from the right ones.
    pub(crate) settings: Vec<Vec<String>>,
}

/// Matches the layers of `file` to the subjects, in order.
///
/// # Errors
/// If there are too few or too many layers, or one has another class or shape than its cell needs.
pub(crate) fn match_layers(
    path: &Path,
    file: &KerasFile,
    subjects: &[Subject],
) -> Result<(Vec<Candidate>, Vec<String>), CliError> {
    let misfit = |problem: String| CliError::Candidate { file: path.to_owned(), problem };
    let needed: Vec<Slot> = subjects.iter().flat_map(|s| slots(&s.keras)).collect();
    if file.layers.len() != needed.len() {
        let names: Vec<&str> = file.layers.iter().map(|l| l.name.as_str()).collect();
        let listed = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        return Err(misfit(format!(
            "it has {} LSTM layer{}{listed}, and the checkpoint's LSTMs need {}",
            names.len(),
            if names.len() == 1 { "" } else { "s" },
            needed.len()
        )));
    }
    let mut notes = notes(file);
    let major = keras_major(file, &mut notes);
    let mut layers = file.layers.iter();
    let mut candidates = vec![];
    for subject in subjects {
        let placed = subject.keras.placed_cells();
        let truths = subject.truth.cells();
        let found_names: Vec<&str> = subject.found.cells().iter().map(|c| c.name.as_str()).collect();
        let (mut cells, mut names, mut settings) = (vec![], vec![], vec![]);
        for slot in slots(&subject.keras) {
            let layer = layers.next().ok_or_else(|| misfit("it ends before the checkpoint's LSTMs do".to_owned()))?;
            let (halves, merge) = match (&layer.kind, slot) {
                (LayerKind::Lstm(lstm), Slot::Single) => (vec![(lstm, layer.name.clone())], None),
                (LayerKind::Bidirectional { forward, backward, merge_mode }, Slot::Pair) => (
                    vec![(forward, format!("{}/forward", layer.name)), (backward, format!("{}/backward", layer.name))],
                    merge_mode.as_deref(),
                ),
                (LayerKind::Lstm(_), Slot::Pair) => {
                    let cell = found_names.get(cells.len()).unwrap_or(&"");
                    return Err(misfit(format!(
                        "layer {} is an LSTM, and {cell} needs a Bidirectional one",
                        layer.name
                    )));
                }
                (LayerKind::Bidirectional { .. }, Slot::Single) => {
                    let cell = found_names.get(cells.len()).unwrap_or(&"");
                    return Err(misfit(format!(
                        "layer {} is Bidirectional, and {cell} needs a plain LSTM",
                        layer.name
                    )));
                }
            };
            for (lstm, name) in halves {
                let Some((place, expected)) = placed.get(cells.len()) else {
                    return Err(misfit(format!("layer {name} has no cell to be compared with")));
                };
                let cell_name = found_names.get(cells.len()).unwrap_or(&"");
                let backwards = goes_backwards(slot, *place);
                let cell = cell(lstm, expected, backwards, major).map_err(|problem| {
                    let why = explain(truths.get(cells.len()).copied(), lstm);
                    misfit(format!("layer {name}, to be compared with {cell_name}: {problem}{why}"))
                })?;
                let mut differing = vec![];
                if let Some(mode) = merge.filter(|m| *m != "concat") {
                    differing.push(format!("merge_mode is {mode}, the right conversion has concat"));
                }
                cells.push(cell);
                names.push(name);
                settings.push(differing);
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

/// What the file leaves open, in words.
fn notes(file: &KerasFile) -> Vec<String> {
    let mut notes = vec![];
    let halves = || {
        file.layers.iter().flat_map(|l| match &l.kind {
            LayerKind::Lstm(lstm) => vec![lstm],
            LayerKind::Bidirectional { forward, backward, .. } => vec![forward, backward],
        })
    };
    if halves().any(|l| l.config.is_none()) {
        notes.push(
            "the file holds weights only and says nothing of activations: those of gatewise's own conversion are assumed".to_owned(),
        );
    }
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
    if halves().any(|l| l.config.as_ref().is_some_and(|c| c.time_major)) {
        notes.push("a layer is time-major: its data must be fed [time, batch, input]".to_owned());
    }
    notes
}

/// The major version of the Keras whose functions the file's names mean.
fn keras_major(file: &KerasFile, notes: &mut Vec<String>) -> u32 {
    let stated = file.keras_version.as_deref().and_then(|v| v.split('.').next()?.parse().ok());
    let names_hard_sigmoid = file.layers.iter().any(|l| match &l.kind {
        LayerKind::Lstm(l) => uses_hard_sigmoid(l),
        LayerKind::Bidirectional { forward, backward, .. } => uses_hard_sigmoid(forward) || uses_hard_sigmoid(backward),
    });
    let major = stated.unwrap_or(2);
    if names_hard_sigmoid {
        let from = if stated.is_some() { "by the file's keras_version" } else { "the file states no keras_version" };
        let formula = if major >= 3 { "x/6 + 0.5" } else { "0.2x + 0.5" };
        notes.push(format!("hard_sigmoid is taken as Keras {major}'s, {formula} ({from})"));
    }
    major
}

fn uses_hard_sigmoid(lstm: &Lstm) -> bool {
    lstm.config.as_ref().is_some_and(|c| c.activation == "hard_sigmoid" || c.recurrent_activation == "hard_sigmoid")
}

/// One layer's weights in the form the Keras lane runs.
fn cell(lstm: &Lstm, expected: &KerasCell, backwards: bool, keras_major: u32) -> Result<KerasCell, String> {
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
            cell.activation = expected.activation;
            cell.recurrent_activation = expected.recurrent_activation;
        }
        Some(config) => {
            let known = |what: &str, name: &str| {
                Activation::from_keras(name, keras_major)
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
