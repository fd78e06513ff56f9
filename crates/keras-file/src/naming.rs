//! Which arrays of a `.npz` or `.safetensors` file are an LSTM's, by name or by position; and what the ones
//! that are written are called.

mod order;

use std::collections::HashMap;

use crate::archive;
use crate::error::Problem;
use crate::graph::Weighted;
use crate::layer::{Array, Contents, LayerKind, Lstm, OtherArray, OtherLayer, Stored};
use crate::tensor::Tensor;

const KERNEL: &str = "kernel";
const RECURRENT: &str = "recurrent_kernel";
const BIAS: &str = "bias";
const ROLES: [&str; 3] = [KERNEL, RECURRENT, BIAS];
/// By how much arrays may be larger in memory than their file.
const MAX_GROWTH: u64 = 64 << 20;
/// The layer of arrays that are named without one.
const ONLY_LAYER: &str = "lstm";

/// The arrays whose names differ in the last part only.
#[derive(Default)]
struct Group<'a> {
    parts: Vec<String>,
    kernel: Option<Tensor<'a>>,
    recurrent: Option<Tensor<'a>>,
    bias: Option<Tensor<'a>>,
    others: Vec<OtherArray>,
}

/// A layer before its place and final name are known.
struct Found {
    /// What to call it, if that is unique.
    short: String,
    long: String,
    kind: LayerKind,
}

/// Sorts arrays, in the order of a file of `length` bytes, into layers.
pub(crate) fn contents(tensors: Vec<Tensor<'_>>, length: usize) -> Result<Contents, Problem> {
    let mut contents = Contents::default();
    let (positional, named): (Vec<_>, Vec<_>) = tensors.into_iter().partition(|t| position(&t.name).is_some());
    let of_an_lstm = named.iter().filter(|t| ROLES.contains(&path(&t.name).1.as_str())).chain(&positional);
    check_growth(of_an_lstm, archive::size(length))?;
    // What sorts arrays by name has lost their order; any other order is the model's.
    let sorted = named.iter().map(|t| t.name.as_str()).filter(|n| ROLES.contains(&path(n).1.as_str())).is_sorted();
    let mut lstms = Vec::new();
    for group in groups(named)? {
        let (lstm, others) = group.split()?;
        lstms.extend(lstm);
        contents.other_layers.extend(others);
    }
    let mut found = layers(lstms);
    if sorted {
        contents.order_unknown = !order::by_number(&mut found, |f| &f.long);
    }
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for layer in &found {
        let count = uses.entry(&layer.short).or_default();
        *count = count.saturating_add(1);
    }
    let unique: Vec<bool> = found.iter().map(|f| uses.get(f.short.as_str()) == Some(&1)).collect();
    for (Found { short, long, kind }, unique) in found.into_iter().zip(unique) {
        contents.push(if unique { &short } else { &long }, kind);
    }
    let named = contents.layers.len();
    by_position(positional, &mut contents)?;
    contents.order_unknown |= named > 0 && contents.layers.len() > named;
    Ok(contents)
}

/// Half floats are twice as large in memory, as float32: together these take little more than their file of `length`
/// bytes.
fn check_growth<'a>(arrays: impl Iterator<Item = &'a Tensor<'a>>, length: u64) -> Result<(), Problem> {
    let limit = length.saturating_add(MAX_GROWTH);
    let count = |t: &Tensor<'_>| t.bytes.len().checked_div(t.element.width()?);
    let bytes = |t| archive::size(count(t).unwrap_or(0)).saturating_mul(4);
    if arrays.map(bytes).fold(0, u64::saturating_add) <= limit {
        return Ok(());
    }
    let what = "all arrays together, as float32".to_owned();
    Err(Problem::TooLarge { what, limit, unit: "bytes", found: "more".to_owned() })
}

/// The parts of an array's name before the last, and the last. `:0` is TensorFlow's, and no part of it.
fn path(name: &str) -> (Vec<String>, String) {
    let name = name.strip_suffix(":0").unwrap_or(name);
    let mut parts: Vec<String> = name.split(['/', '.']).filter(|p| !p.is_empty()).map(str::to_owned).collect();
    let last = parts.pop().unwrap_or_default();
    (parts, last)
}

/// Groups named arrays, in the order in which the groups begin.
fn groups(tensors: Vec<Tensor<'_>>) -> Result<Vec<Group<'_>>, Problem> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut known: HashMap<Vec<String>, usize> = HashMap::new();
    for tensor in tensors {
        let (parts, role) = path(&tensor.name);
        let index = *known.entry(parts.clone()).or_insert_with(|| {
            groups.push(Group { parts, ..Group::default() });
            groups.len().saturating_sub(1)
        });
        let Some(group) = groups.get_mut(index) else { continue };
        let slot = match role.as_str() {
            KERNEL => &mut group.kernel,
            RECURRENT => &mut group.recurrent,
            BIAS => &mut group.bias,
            _ => {
                group.others.push(OtherArray { name: role, shape: tensor.shape });
                continue;
            }
        };
        if let Some(before) = slot {
            return Err(Problem::Array {
                array: tensor.name.clone(),
                expected: format!("one {role} in each layer"),
                found: format!("{:?} as well", before.name),
            });
        }
        *slot = Some(tensor);
    }
    Ok(groups)
}

impl<'a> Group<'a> {
    /// Three gates. No mistake in converting an LSTM gives both kernels these shapes.
    fn is_gru(&self) -> bool {
        let shape = |t: &Option<Tensor<'_>>| t.as_ref().map_or(Vec::new(), |t| t.shape.clone());
        let (kernel, recurrent) = (shape(&self.kernel), shape(&self.recurrent));
        matches!((&*kernel, &*recurrent), ([_, n], [units, m]) if n == m && *units > 0 && units.checked_mul(3) == Some(*n))
    }

    /// The LSTM, if it is one, and what else is in the group.
    fn split(self) -> Result<(Option<Half>, Vec<OtherLayer>), Problem> {
        let is_gru = self.is_gru();
        let Group { parts, kernel, recurrent, bias, mut others } = self;
        let mut lstm = None;
        match (kernel, recurrent) {
            (Some(kernel), Some(recurrent)) if !is_gru => {
                let lstm_arrays = unchecked(&kernel, &recurrent, bias.as_ref())?;
                lstm = Some(Half { parts: parts.clone(), lstm: lstm_arrays });
            }
            (None, Some(recurrent)) => {
                return Err(Problem::Missing {
                    place: format!("beside array {:?}", recurrent.name),
                    expected: "an array \"kernel\"".to_owned(),
                });
            }
            (kernel, recurrent) => {
                for (role, tensor) in ROLES.into_iter().zip([kernel, recurrent, bias]) {
                    others.extend(tensor.map(|t| OtherArray { name: role.to_owned(), shape: t.shape }));
                }
            }
        }
        if parts.is_empty() {
            return Ok((lstm, others.into_iter().map(alone).collect()));
        }
        let layer = OtherLayer { name: parts.join("/"), class: None, arrays: others };
        Ok((lstm, if layer.arrays.is_empty() { Vec::new() } else { vec![layer] }))
    }
}

/// An array that belongs to no layer.
fn alone(array: OtherArray) -> OtherLayer {
    OtherLayer { name: array.name.clone(), class: None, arrays: vec![array] }
}

/// The arrays of an LSTM, which may be one direction of a layer, and the name they have in common.
struct Half {
    parts: Vec<String>,
    lstm: Lstm,
}

fn unchecked(kernel: &Tensor<'_>, recurrent: &Tensor<'_>, bias: Option<&Tensor<'_>>) -> Result<Lstm, Problem> {
    Ok(Lstm {
        kernel: kernel.array()?,
        recurrent_kernel: recurrent.array()?,
        bias: bias.map(Tensor::array).transpose()?,
        config: None,
        stored: Stored::Plain,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// The direction that one part of a name says, and what else it says: `backward_lstm` gives `lstm`.
fn direction(part: &str) -> Option<(Direction, &str)> {
    for (word, direction) in [
        ("forward", Direction::Forward),
        ("fw", Direction::Forward),
        ("backward", Direction::Backward),
        ("bw", Direction::Backward),
    ] {
        match part.strip_prefix(word) {
            Some("") => return Some((direction, "")),
            Some(rest) => {
                if let Some(rest) = rest.strip_prefix('_') {
                    return Some((direction, rest));
                }
            }
            None => {}
        }
    }
    None
}

/// `parts` without the name of the cell that Keras puts between a layer and its arrays.
fn without_cell(parts: &[String]) -> &[String] {
    match parts {
        [layer @ .., last] if !layer.is_empty() && is_cell(last) => layer,
        parts => parts,
    }
}

fn is_cell(part: &str) -> bool {
    let number = part.strip_prefix("lstm_cell");
    part == "cell" || number.is_some_and(|n| n.is_empty() || n.starts_with('_'))
}

/// Joins the directions of bidirectional layers: the two groups whose names differ in one word.
fn layers(lstms: Vec<Half>) -> Vec<Found> {
    /// A name with a hole where the direction was.
    type Hole = (Vec<String>, String, Vec<String>);
    let hole = |parts: &[String]| -> Option<(Hole, Direction)> {
        let at = parts.iter().rposition(|p| direction(p).is_some())?;
        let (before, rest) = parts.split_at_checked(at)?;
        let (part, after) = rest.split_first()?;
        let (direction, word) = direction(part)?;
        let after = if after.len() == 1 && after.iter().all(|p| is_cell(p)) { &[] } else { after };
        Some(((before.to_vec(), word.to_owned(), after.to_vec()), direction))
    };
    let mut pairs: HashMap<Hole, (usize, usize)> = HashMap::new();
    for (hole, direction) in lstms.iter().filter_map(|half| hole(&half.parts)) {
        let (forward, backward) = pairs.entry(hole).or_default();
        let count = if direction == Direction::Forward { forward } else { backward };
        *count = count.saturating_add(1);
    }
    let mut found: Vec<Found> = Vec::new();
    let mut halves: HashMap<Hole, (usize, Direction)> = HashMap::new();
    for Half { parts, lstm } in lstms {
        let long = parts.join("/");
        let pair = hole(&parts).filter(|(hole, _)| pairs.get(hole) == Some(&(1, 1)));
        let Some((hole, direction)) = pair else {
            let short = without_cell(&parts).join("/");
            let named = |name: String| if name.is_empty() { ONLY_LAYER.to_owned() } else { name };
            found.push(Found { short: named(short), long: named(long), kind: LayerKind::Lstm(lstm) });
            continue;
        };
        let (before, word, after) = &hole;
        let long = [before.as_slice(), std::slice::from_ref(word), after].concat();
        let long = long.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/");
        let short = [before.as_slice(), after].concat().join("/");
        match halves.get(&hole).and_then(|(index, first)| found.get_mut(*index).zip(Some(*first))) {
            None => {
                halves.insert(hole, (found.len(), direction));
                let named = |name: String| if name.is_empty() { "bidirectional".to_owned() } else { name };
                found.push(Found { short: named(short), long: named(long), kind: LayerKind::Lstm(lstm) });
            }
            Some((layer, first)) => {
                let LayerKind::Lstm(other) = &layer.kind else { continue };
                let (forward, backward) = match first {
                    Direction::Forward => (other.clone(), lstm),
                    Direction::Backward => (lstm, other.clone()),
                };
                layer.kind = LayerKind::Bidirectional { forward, backward, merge_mode: None };
            }
        }
    }
    found
}

/// The number of `arr_<n>`, which is what numpy calls an array without a name.
fn position(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("arr_")?;
    let number = digits.parse().ok()?;
    (u64::to_string(&number) == digits).then_some(number)
}

/// Finds kernel, recurrent kernel and bias in a row, as in `savez(path, *model.get_weights())`.
fn by_position(mut tensors: Vec<Tensor<'_>>, contents: &mut Contents) -> Result<(), Problem> {
    tensors.sort_by_key(|t| position(&t.name));
    let mut rest = tensors.as_slice();
    let mut number = 0usize;
    while let [first, after @ ..] = rest {
        rest = after;
        let float = |t: &Tensor<'_>| matches!(t.element, crate::tensor::Element::Float(_));
        if let [second, after @ ..] = after
            && let ([inputs, n], [units, m]) = (first.shape.as_slice(), second.shape.as_slice())
            && *inputs > 0
            && *units > 0
            && n == m
            && units.checked_mul(4) == Some(*n)
            && float(first)
            && float(second)
        {
            rest = after;
            // A bias of twice the length is a CuDNNLSTM's: no bias at all would be another LSTM.
            let bias = after.split_first().filter(|(b, _)| {
                matches!(b.shape.as_slice(), [n] if n == m || m.checked_mul(2) == Some(*n)) && float(b)
            });
            if let Some((_, after)) = bias {
                rest = after;
            }
            let lstm = unchecked(first, second, bias.map(|(b, _)| b))?;
            let name = if number == 0 { ONLY_LAYER.to_owned() } else { format!("{ONLY_LAYER}_{number}") };
            number = number.saturating_add(1);
            contents.push(&name, LayerKind::Lstm(lstm));
        } else {
            contents.other_layers.push(alone(OtherArray { name: first.name.clone(), shape: first.shape.clone() }));
        }
    }
    Ok(())
}

/// The arrays of `layers`, in their order, by the names under which [`contents`] finds them.
pub(crate) fn arrays<'a>(layers: &[(&str, Weighted<'a>)]) -> Vec<(String, &'a Array)> {
    let mut arrays = Vec::new();
    for (name, layer) in layers {
        let of = |lstm: &'a Lstm| [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()];
        let parts = match *layer {
            Weighted::Lstm(lstm) => vec![((*name).to_owned(), of(lstm))],
            Weighted::Bidirectional { forward, backward, .. } => {
                vec![(format!("{name}/forward_layer"), of(forward)), (format!("{name}/backward_layer"), of(backward))]
            }
            Weighted::Dense { kernel, bias } => vec![((*name).to_owned(), [Some(kernel), None, bias])],
        };
        for (path, of_part) in parts {
            let named = ROLES.into_iter().zip(of_part);
            arrays.extend(named.filter_map(|(role, array)| Some((format!("{path}/{role}"), array?))));
        }
    }
    // Sorted by chance, which only happens without a bias: the reader must not take it for the order of the names.
    if layers.len() > 1
        && arrays.is_sorted_by(|a, b| a.0 <= b.0)
        && let [.., kernel, recurrent] = arrays.as_mut_slice()
    {
        std::mem::swap(kernel, recurrent);
    }
    arrays
}

/// A layer name that [`contents`] gives back: one part, and no direction.
pub(crate) fn plain(name: &str) -> String {
    let name = name.replace('.', "_");
    if direction(&name).is_some() { format!("{ONLY_LAYER}_{name}") } else { name }
}
