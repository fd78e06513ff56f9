//! Which layer of a Keras file goes with which LSTM: by a map, else by order, else by shape where that leaves one way.

use keras_file::{Format, KerasFile, Layer, LayerKind, Lstm};

use crate::candidate::{Slot, has_stack_inside_directions, slots};
use crate::layers::{self, Listed};
use crate::map::Map;
use crate::source::Subject;

/// One layer that a network needs.
pub(crate) struct Needed<'a> {
    pub(crate) slot: Slot,
    /// The cells that it holds: the name, input size and units of each.
    pub(crate) cells: Vec<(&'a str, usize, usize)>,
    /// The layer that a map names for it.
    pub(crate) wanted: Option<String>,
}

impl Needed<'_> {
    fn takes(&self, layer: &Layer) -> bool {
        let halves: Vec<&Lstm> = match (&layer.kind, self.slot) {
            (LayerKind::Lstm(lstm), Slot::Single | Slot::Backward) => vec![lstm],
            (LayerKind::Bidirectional { forward, backward, .. }, Slot::Pair) => vec![forward, backward],
            _ => return false,
        };
        halves.len() == self.cells.len()
            && halves
                .iter()
                .zip(&self.cells)
                .all(|(lstm, (_, input, units))| (lstm.inputs(), lstm.units()) == (*input, *units))
    }

    fn describe(&self) -> String {
        let cells: Vec<String> =
            self.cells.iter().map(|(name, input, units)| format!("{name} ({input} inputs, {units} units)")).collect();
        cells.join(" + ")
    }
}

/// The layers that a subject needs, and what the map says of them.
fn needed<'a>(subject: &'a Subject, map: &Map) -> Vec<Needed<'a>> {
    let found = subject.found.cells();
    let mut cells = found.iter().zip(subject.keras.cells());
    let mut all = vec![];
    for slot in slots(&subject.keras) {
        let count = match slot {
            Slot::Single | Slot::Backward => 1,
            Slot::Pair => 2,
        };
        let taken: Vec<_> = cells.by_ref().take(count).collect();
        let wanted = taken.first().and_then(|(found, _)| map.keras_layer(&found.name));
        all.push(Needed {
            slot,
            cells: taken.iter().map(|(found, cell)| (found.name.as_str(), cell.input_size(), cell.units())).collect(),
            wanted,
        });
    }
    all
}

/// The layer of each need of these subjects, in their order. A `listed` file has its layers in the order in which a Keras model
/// lists them; others have them in the order in which they feed each other, forward before backward.
///
/// # Errors
/// As [`choose`].
pub(crate) fn layers<'f>(
    subjects: &[Subject],
    map: &Map,
    file: &'f KerasFile,
    listed: bool,
    spare: bool,
) -> Result<Vec<&'f Layer>, String> {
    let mut needed: Vec<Option<Needed<'_>>> = subjects.iter().flat_map(|s| self::needed(s, map)).map(Some).collect();
    let order = in_file(order(subjects, listed).lstms, needed.len());
    let in_order: Vec<Needed<'_>> = order.iter().filter_map(|i| needed.get_mut(*i)?.take()).collect();
    let chosen = choose(&in_order, file, spare)?;
    let mut placed: Vec<(usize, &Layer)> = order.into_iter().zip(chosen).collect();
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, layer)| layer).collect())
}

/// The order in which a file has the layers of the subjects, none where it is that in which they feed each other.
pub(crate) fn order(subjects: &[Subject], listed: bool) -> Listed {
    // A chain alone is listed as it is.
    let several = subjects.len() > 1 || subjects.iter().any(|s| has_stack_inside_directions(&s.keras));
    if listed && several { layers::listed(subjects) } else { Listed::default() }
}

/// The places of `count` layers in that order.
pub(crate) fn in_file(order: Vec<usize>, count: usize) -> Vec<usize> {
    // What no layers of Keras are wired as is compared in the order of its cells.
    if order.len() == count { order } else { (0..count).collect() }
}

/// Whether a file names its layers in the order of a Keras model's list of them: weights without a configuration.
pub(crate) fn is_listed(file: &KerasFile) -> bool {
    matches!(file.format, Format::LegacyWeights | Format::Weights)
}

/// The layer of each need, in the same order; `spare` says whether layers may be left over without a map naming those
/// that count.
///
/// # Errors
/// If a layer is missing, or more than one choice is left.
fn choose<'f>(needed: &[Needed<'_>], file: &'f KerasFile, spare: bool) -> Result<Vec<&'f Layer>, String> {
    let mut chosen: Vec<Option<&Layer>> = vec![];
    for need in needed {
        let Some(wanted) = &need.wanted else {
            chosen.push(None);
            continue;
        };
        let layer = file.layers.iter().find(|l| l.name == *wanted);
        let layer = layer.ok_or_else(|| {
            format!("the map names layer {wanted:?} for {}; {}", need.describe(), choices(&file.layers))
        })?;
        chosen.push(Some(layer));
    }
    let is_taken = |layer: &Layer| chosen.iter().flatten().any(|c| c.name == layer.name);
    let free: Vec<&Layer> = file.layers.iter().filter(|l| !is_taken(l)).collect();
    let open: Vec<usize> = (0..needed.len()).filter(|i| chosen[*i].is_none()).collect();
    let mapped = needed.len() > open.len();
    if open.is_empty() && (mapped || free.is_empty()) {
        return Ok(chosen.into_iter().flatten().collect());
    }
    if free.len() < open.len() || (free.len() > open.len() && !spare) {
        return Err(format!(
            "it has {} LSTM layer{}{}, and the checkpoint's LSTMs need {}",
            file.layers.len(),
            if file.layers.len() == 1 { "" } else { "s" },
            listed(&file.layers),
            needed.len()
        ));
    }
    if free.len() == open.len() {
        // A file that numbers the layers of each class apart keeps the order within a class only.
        let mut free = free;
        if !file.order_known {
            let is_pair = |layer: &Layer| matches!(layer.kind, LayerKind::Bidirectional { .. });
            let mut sorted = vec![];
            for need in open.iter().map(|i| &needed[*i]) {
                let wanted = need.slot == Slot::Pair;
                let at = free.iter().position(|layer| is_pair(layer) == wanted).unwrap_or(0);
                sorted.push(free.remove(at));
            }
            free = sorted;
        }
        for (index, layer) in open.into_iter().zip(free) {
            chosen[index] = Some(layer);
        }
        return Ok(chosen.into_iter().flatten().collect());
    }
    let needs: Vec<&Needed<'_>> = open.iter().map(|i| &needed[*i]).collect();
    match in_order(&needs, &free) {
        Ok(layers) => {
            for (index, layer) in open.into_iter().zip(layers) {
                chosen[index] = Some(layer);
            }
            Ok(chosen.into_iter().flatten().collect())
        }
        Err(0) => {
            let missing: Vec<String> = needs.iter().map(|n| n.describe()).collect();
            Err(format!("no choice of its layers{} fits {} in this order", listed(&file.layers), missing.join(", ")))
        }
        Err(_) => {
            let lines: Vec<String> = needs
                .iter()
                .map(|need| {
                    let fitting: Vec<&str> = free.iter().filter(|l| need.takes(l)).map(|l| l.name.as_str()).collect();
                    format!("\n{} fits {}", need.describe(), fitting.join(", "))
                })
                .collect();
            Err(format!("more than one choice of its layers fits{}\nname them in a map (--map)", lines.concat()))
        }
    }
}

/// The one way to give each need a layer that fits, layers in the file's order; else how many ways there are, 0 or 2 for
/// more than one.
fn in_order<'f>(needs: &[&Needed<'_>], layers: &[&'f Layer]) -> Result<Vec<&'f Layer>, usize> {
    // ways[n][l]: ways to serve needs n… from layers l…, counted up to 2.
    let (n, l) = (needs.len(), layers.len());
    let mut ways = vec![vec![0usize; l + 1]; n + 1];
    ways[n] = vec![1; l + 1];
    for need in (0..n).rev() {
        for layer in (0..l).rev() {
            let taking = if needs[need].takes(layers[layer]) { ways[need + 1][layer + 1] } else { 0 };
            ways[need][layer] = (ways[need][layer + 1] + taking).min(2);
        }
    }
    if ways[0][0] != 1 {
        return Err(ways[0][0]);
    }
    let mut taken = vec![];
    let mut layer = 0;
    for ways in &ways[..n] {
        while ways[layer + 1] == 1 {
            layer += 1;
        }
        taken.push(layers[layer]);
        layer += 1;
    }
    Ok(taken)
}

fn listed(layers: &[Layer]) -> String {
    let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

fn choices(layers: &[Layer]) -> String {
    let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
    if names.is_empty() {
        "the file has no LSTM layer".to_owned()
    } else {
        format!("the file has {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keras_file::Array;

    fn layer(name: &str, input: usize, units: usize) -> Layer {
        let array = |shape: Vec<usize>| Array::float32(shape.clone(), vec![0.0; shape.iter().product()]);
        let lstm = Lstm {
            kernel: array(vec![input, 4 * units]),
            recurrent_kernel: array(vec![units, 4 * units]),
            bias: None,
            config: None,
            stored: keras_file::Stored::Plain,
        };
        Layer { name: name.to_owned(), kind: LayerKind::Lstm(lstm) }
    }

    fn file(layers: Vec<Layer>) -> KerasFile {
        KerasFile {
            format: Format::Weights,
            keras_version: None,
            keras_major: None,
            layers,
            other_layers: vec![],
            order_known: true,
            slots: vec![],
            feeds: vec![],
            masks: false,
        }
    }

    fn need<'a>(name: &'a str, input: usize, units: usize, wanted: Option<&str>) -> Needed<'a> {
        Needed { slot: Slot::Single, cells: vec![(name, input, units)], wanted: wanted.map(str::to_owned) }
    }

    fn names(result: Result<Vec<&Layer>, String>) -> Result<Vec<String>, String> {
        result.map(|layers| layers.into_iter().map(|l| l.name.clone()).collect())
    }

    #[test]
    fn as_many_layers_are_taken_in_order_whatever_their_shapes() {
        let file = file(vec![layer("a", 1, 2), layer("b", 3, 4)]);
        let needs = [need("x", 3, 4, None), need("y", 1, 2, None)];
        assert_eq!(names(choose(&needs, &file, false)).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_map_has_the_first_word_and_the_rest_follows_in_order() {
        let file = file(vec![layer("a", 1, 2), layer("b", 1, 2)]);
        let needs = [need("x", 1, 2, Some("b")), need("y", 1, 2, None)];
        assert_eq!(names(choose(&needs, &file, false)).unwrap(), ["b", "a"]);
        let error = choose(&[need("x", 1, 2, Some("c"))], &file, false).unwrap_err();
        assert!(error.contains("\"c\"") && error.contains("the file has a, b"), "{error}");
        assert_eq!(
            names(choose(&[need("x", 1, 2, Some("b"))], &file, false)).unwrap(),
            ["b"],
            "the map leaves a aside"
        );
    }

    #[test]
    fn layers_left_over_are_refused_unless_shapes_leave_one_choice() {
        let file = file(vec![layer("a", 1, 2), layer("b", 3, 4), layer("c", 4, 4), layer("d", 4, 4)]);
        assert!(choose(&[need("x", 3, 4, None)], &file, false).unwrap_err().contains("it has 4 LSTM layers"));
        assert_eq!(names(choose(&[need("x", 3, 4, None)], &file, true)).unwrap(), ["b"]);
        let both = [need("x", 3, 4, None), need("y", 4, 4, None)];
        let error = choose(&both, &file, true).unwrap_err();
        assert!(error.contains("y (4 inputs, 4 units) fits c, d"), "{error}");
        assert!(choose(&[need("x", 9, 9, None)], &file, true).unwrap_err().contains("no choice"));
        let all = [need("x", 1, 2, None), need("y", 4, 4, None), need("z", 4, 4, None)];
        assert_eq!(names(choose(&all, &file, true)).unwrap(), ["a", "c", "d"]);
    }

    #[test]
    fn too_few_layers_are_an_error() {
        let error = choose(&[need("x", 1, 2, None)], &file(vec![]), true).unwrap_err();
        assert_eq!(error, "it has 0 LSTM layers, and the checkpoint's LSTMs need 1");
    }
}
