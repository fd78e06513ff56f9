//! The map file: which variables make which LSTM, and which Keras layer it goes to, where names do not say it.

mod format;
mod printable;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use disk::Disk;
use lstm::detect::{CellKind, CellVariables, Detection, FoundCell, MappedCell, MappedNetwork};
use lstm::{Activation, Direction, Merge, Network, Place};

use crate::candidate::has_stack_inside_directions;
use crate::error::CliError;
use format::{MappedLstm, MappedPeepholes, OneOrMany, parse};

pub(crate) use format::{Map, MappedLayer};

/// A map beyond this many bytes is no map that anybody wrote.
const LARGEST: u64 = 4 << 20;

impl Map {
    /// Reads a map file.
    pub(crate) fn read(disk: &Disk, path: &Path) -> Result<Map, CliError> {
        let length = disk.open(path)?.len();
        if length > LARGEST {
            let problem = format!("{length} bytes: a map has at most {LARGEST}");
            return Err(CliError::Map { file: path.to_owned(), problem });
        }
        let wrong = |problem: String| CliError::Map { file: path.to_owned(), problem };
        let text = String::from_utf8(disk.read(path)?).map_err(|e| wrong(format!("it is no text: {e}")))?;
        parse(&text).map_err(wrong)
    }
}

impl Map {
    /// The Keras layer that a cell goes to, without the half of a bidirectional one.
    pub(crate) fn keras_layer(&self, cell: &str) -> Option<String> {
        let layer = self.lstm.iter().find(|l| l.name == cell)?.keras.as_ref()?;
        let half = layer.strip_suffix("/forward").or_else(|| layer.strip_suffix("/backward"));
        Some(half.unwrap_or(layer).to_owned())
    }

    /// The networks that it makes of variables; none if it only names LSTMs that are found without it. Its names of
    /// functions mean those of that Keras.
    pub(crate) fn networks(&self, keras_major: u32) -> Result<Vec<MappedNetwork>, String> {
        let mut by_network: Vec<(&str, Vec<&MappedLstm>)> = vec![];
        for lstm in self.lstm.iter().filter(|l| l.kernel.is_some()) {
            let network = lstm.network.as_deref().unwrap_or(&lstm.name);
            match by_network.iter_mut().find(|(name, _)| *name == network) {
                Some((_, cells)) => cells.push(lstm),
                None => by_network.push((network, vec![lstm])),
            }
        }
        by_network
            .into_iter()
            .map(|(name, cells)| Ok(MappedNetwork { name: name.to_owned(), network: wire(name, &cells, keras_major)? }))
            .collect()
    }
}

/// The cells of one network, wired as their layers and directions say.
fn wire(network: &str, cells: &[&MappedLstm], keras_major: u32) -> Result<Network<MappedCell>, String> {
    let mut layers: BTreeMap<usize, [Option<&MappedLstm>; 2]> = BTreeMap::new();
    for lstm in cells {
        let direction = match lstm.direction.as_deref() {
            None | Some("forward") => 0,
            Some("backward") => 1,
            Some(other) => {
                return Err(format!(
                    "[[lstm]] {:?}: direction is {other:?}: expected \"forward\" or \"backward\"",
                    lstm.name
                ));
            }
        };
        let layer = lstm.layer.unwrap_or(0);
        if let Some(other) = layers.entry(layer).or_default()[direction].replace(lstm) {
            return Err(format!(
                "[[lstm]] {:?} and {:?} are both the same layer and direction of {network:?}",
                other.name, lstm.name
            ));
        }
    }
    if !layers.keys().copied().eq(0..layers.len()) {
        let found: Vec<String> = layers.keys().map(usize::to_string).collect();
        return Err(format!(
            "the layers of {network:?} are {}: expected them numbered from 0 without a gap",
            found.join(", ")
        ));
    }
    let layer = |lstm: &MappedLstm| layer(lstm, keras_major);
    let stack =
        |mut parts: Vec<Network<MappedCell>>| if parts.len() == 1 { parts.remove(0) } else { Network::Stack(parts) };
    if cells.iter().any(|l| l.stack_inside_directions == Some(true)) {
        let side = |which: usize| -> Result<Network<MappedCell>, String> {
            let missing = || format!("{network:?} has a stack inside each direction, and not every layer has both");
            let parts: Vec<_> =
                layers.values().map(|l| layer(l[which].ok_or_else(missing)?)).collect::<Result<_, String>>()?;
            Ok(stack(parts))
        };
        return Ok(Network::side_by_side(side(0)?, side(1)?));
    }
    let parts: Result<Vec<_>, String> = layers
        .values()
        .map(|both| match both {
            [Some(forward), None] => layer(forward),
            [Some(forward), Some(backward)] => {
                let merge = merge(forward)?;
                let [forward, backward] = [layer(forward)?, layer(backward)?].map(Box::new);
                Ok(Network::Bidirectional { forward, backward, merge })
            }
            [None, Some(backward)] => {
                Err(format!("[[lstm]] {:?} is backward, and its layer has no forward cell", backward.name))
            }
            [None, None] => Err(format!("a layer of {network:?} is empty")),
        })
        .collect();
    Ok(stack(parts?))
}

fn layer(lstm: &MappedLstm, keras_major: u32) -> Result<Network<MappedCell>, String> {
    let cell = cell(lstm, keras_major)?;
    let cell = if lstm.go_backwards == Some(true) { Network::Backward(cell) } else { Network::Cell(cell) };
    Ok(if lstm.residual == Some(true) { Network::Residual(Box::new(cell)) } else { cell })
}

fn merge(lstm: &MappedLstm) -> Result<Merge, String> {
    let known = [Merge::Concat, Merge::Sum, Merge::Mul, Merge::Ave];
    let Some(word) = &lstm.merge else { return Ok(Merge::Concat) };
    known.into_iter().find(|m| m.as_str() == word).ok_or_else(|| {
        format!("[[lstm]] {:?}: merge is {word:?}: expected \"concat\", \"sum\", \"mul\" or \"ave\"", lstm.name)
    })
}

fn cell(lstm: &MappedLstm, keras_major: u32) -> Result<MappedCell, String> {
    let unknown = |what: &str, word: &str, expected: String| {
        format!("[[lstm]] {:?}: {what} is {word:?}: expected one of {expected}", lstm.name)
    };
    let class = match &lstm.cell {
        None => CellKind::Lstm,
        Some(word) => CellKind::ALL
            .into_iter()
            .find(|k| k.as_str() == word)
            .ok_or_else(|| unknown("cell", word, CellKind::ALL.map(|k| k.as_str()).join(", ")))?,
    };
    let activation = match &lstm.activation {
        None => None,
        Some(word) => Some(
            Activation::from_keras(word, keras_major)
                .ok_or_else(|| unknown("activation", word, Activation::ALL.map(|a| a.keras_name()).join(", ")))?,
        ),
    };
    Ok(MappedCell {
        name: lstm.name.clone(),
        class,
        variables: CellVariables {
            kernel: lstm.kernel.as_ref().map(OneOrMany::to_vec).unwrap_or_default(),
            bias: lstm.bias.clone(),
            peepholes: lstm.peepholes.as_ref().map(|p| [p.input.clone(), p.forget.clone(), p.output.clone()]),
            projection: lstm.projection.as_ref().map(OneOrMany::to_vec).unwrap_or_default(),
            extra: lstm.extra.clone(),
        },
        forget_bias: lstm.forget_bias,
        activation,
        cell_clip: lstm.cell_clip,
        projection_clip: lstm.projection_clip,
    })
}

/// A map that says what was found: one table per cell.
pub(crate) fn template(detection: &Detection) -> Map {
    let mut map = Map::default();
    for network in &detection.networks {
        let inside = has_stack_inside_directions(&network.network);
        let place = Place { layer: 0, direction: Direction::Forward };
        describe(&network.network, place, (false, None), &mut |place, residual, merge, backwards, cell| {
            let v = &cell.variables;
            map.lstm.push(MappedLstm {
                name: cell.name.clone(),
                keras: None,
                cell: Some(cell.kind.as_str().to_owned()),
                network: Some(network.name.clone()),
                layer: Some(place.layer),
                direction: Some(place.direction.as_str().to_owned()),
                stack_inside_directions: inside.then_some(true),
                go_backwards: backwards.then_some(true),
                residual: residual.then_some(true),
                merge: merge.filter(|m| *m != Merge::Concat).map(|m| m.as_str().to_owned()),
                kernel: OneOrMany::of(&v.kernel),
                bias: v.bias.clone(),
                projection: OneOrMany::of(&v.projection),
                // What a Keras layer keeps in its bias is not added.
                forget_bias: (!cell.kind.is_keras()).then_some(cell.forget_bias.value),
                activation: Some(cell.activation.value.keras_name().to_owned()),
                cell_clip: cell.cell_clip.map(|f| f.value),
                projection_clip: cell.projection_clip.map(|f| f.value),
                peepholes: v.peepholes.clone().map(|[input, forget, output]| MappedPeepholes { input, forget, output }),
                extra: v.extra.clone(),
            });
        });
    }
    map
}

/// Shows every cell with its place, whether its input is added to its output, how its direction is merged with the
/// other, and whether it is a layer that goes backwards on its own.
fn describe<'a>(
    network: &'a Network<FoundCell>,
    place: Place,
    (residual, merge): (bool, Option<Merge>),
    show: &mut impl FnMut(Place, bool, Option<Merge>, bool, &'a FoundCell),
) {
    match network {
        Network::Cell(cell) => show(place, residual, merge, false, cell),
        Network::Backward(cell) => show(place, residual, merge, true, cell),
        Network::Stack(parts) => {
            for (depth, part) in parts.iter().enumerate() {
                describe(part, Place { layer: place.layer + depth, ..place }, (residual, None), show);
            }
        }
        Network::Residual(part) => describe(part, place, (true, merge), show),
        Network::Bidirectional { forward, backward, merge } => {
            describe(forward, place, (residual, Some(*merge)), show);
            describe(backward, Place { direction: Direction::Backward, ..place }, (residual, None), show);
        }
    }
}

/// A map as text, with what a reader needs to know above it.
pub(crate) fn render(map: &Map, checkpoint: &Path) -> Result<String, CliError> {
    let wrong = |problem| CliError::Map { file: PathBuf::from("the template"), problem };
    let body = toml::to_string(map).map_err(|e| wrong(e.to_string()))?;
    let body = printable::printable(body).map_err(|e| wrong(e.to_string()))?;
    Ok(format!(
        "# Map of {}, for --map: change what is wrong, leave out what is not wanted.\n\
         # [[lstm]]: variables of one cell, and the Keras layer it goes to (\"bidirectional/forward\" is half a layer).\n\
         # [[layer]]: variables of another layer, for convert --into.\n\n{body}",
        report::printable(&checkpoint.display().to_string())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_and_written_back() {
        let text = "[[lstm]]\nname = \"a\"\nkeras = \"lstm\"\nkernel = [\"W_0\", \"W_1\"]\nbias = \"B\"\nforget_bias = 1.0\n\n\
                    [[layer]]\nkeras = \"dense\"\nkernel = \"output/kernel\"\n";
        let map = parse(text).unwrap();
        assert_eq!(map.lstm[0].kernel.as_ref().unwrap().to_vec(), ["W_0", "W_1"]);
        assert_eq!(map.layer[0].arrays["kernel"], "output/kernel");
        let again = parse(&render(&map, Path::new("x")).unwrap()).unwrap();
        assert_eq!(format!("{map:?}"), format!("{again:?}"));
    }

    #[test]
    fn mistakes_are_named() {
        let problem = |text: &str| parse(text).unwrap_err();
        assert!(problem("").contains("maps nothing"));
        assert!(problem("[[lstm]]\nname = \"a\"\n[[lstm]]\nname = \"a\"").contains("two [[lstm]] tables"));
        assert!(problem("[[lstm]]\nname = \"a\"\nkernal = \"b\"").contains("kernal"));
        assert!(problem("[[lstm]]\nname = \"a\"\nbias = \"b\"").contains("no kernel"));
        let twice = "[[lstm]]\nname = \"a\"\nkeras = \"l\"\n[[layer]]\nkeras = \"l\"";
        assert!(problem(twice).contains("two tables go to the Keras layer \"l\""));
    }
}
