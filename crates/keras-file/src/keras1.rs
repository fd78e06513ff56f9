//! Arrays of an LSTM as Keras 1 saved them (`keras/layers/recurrent.py` and `engine/topology.py`, 1.0 to 1.2).
//!
//! With `consume_less='cpu'`, the default, and `'mem'` there are twelve: `<layer>_W_<gate>`, `_U_` and `_b_` for the
//! gates i, c, f and o. With `'gpu'` there are three, `<layer>_W`, `_U` and `_b`, with the gates i, f, c and o along
//! the last axis. The halves of a `Bidirectional` are layers called `forward_<name>` and `backward_<name>`.

use std::collections::HashMap;

use crate::error::Problem;
use crate::hdf5::Node;
use crate::layer::{Array, Lstm, LstmConfig, OtherArray, Stored};

/// The order in which Keras 2 and 3 join them.
const GATES: [&str; 4] = ["i", "f", "c", "o"];
const KINDS: [&str; 3] = ["W", "U", "b"];

/// The names of the arrays of one LSTM.
#[derive(Debug)]
pub(crate) enum Names {
    /// For each gate in the order of `GATES`, `W`, `U` and `b`.
    PerGate(Box<[[String; 3]; 4]>),
    /// `W`, `U` and `b`.
    Joined([String; 3]),
}

/// Finds the LSTMs among weight names: for each the path of its weights, the index of its first and all names.
pub(crate) fn find(weight_names: &[String]) -> Vec<(String, usize, Names)> {
    let mut stems: Vec<(String, usize, HashMap<&str, &String>)> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    for (position, name) in weight_names.iter().enumerate() {
        let Some((stem, role)) = split(name) else { continue };
        let at = *index.entry(stem.clone()).or_insert(stems.len());
        if at == stems.len() {
            stems.push((stem, position, HashMap::new()));
        }
        if let Some((_, _, roles)) = stems.get_mut(at) {
            roles.insert(role, name);
        }
    }
    let complete = |(stem, first, roles): (String, usize, HashMap<&str, &String>)| {
        let name = |role: &str| roles.get(role).map(|n| (*n).clone());
        let names = match roles.len() {
            3 => Names::Joined([name("W")?, name("U")?, name("b")?]),
            12 => {
                let gate = |g: &str| {
                    let one = |kind: &str| name(&format!("{kind}_{g}"));
                    let [w, u, b] = KINDS;
                    Some([one(w)?, one(u)?, one(b)?])
                };
                let [i, f, c, o] = GATES;
                Names::PerGate(Box::new([gate(i)?, gate(f)?, gate(c)?, gate(o)?]))
            }
            _ => return None,
        };
        Some((stem, first, names))
    };
    stems.into_iter().filter_map(complete).collect()
}

/// `a/lstm_1_W_i:0` is `W_i` of `a/lstm_1`. TensorFlow may have added a number to make the name unique.
fn split(weight: &str) -> Option<(String, &str)> {
    let name = weight.split_once(':').map_or(weight, |(name, _)| name);
    let name = match name.rsplit_once('_') {
        Some((stem, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => name,
    };
    let (stem, last) = name.rsplit_once('_')?;
    let (stem, role) = if KINDS.contains(&last) {
        (stem, last)
    } else {
        GATES.contains(&last).then_some(())?;
        let (stem, kind) = stem.rsplit_once('_')?;
        KINDS.contains(&kind).then_some(())?;
        (stem, name.get(stem.len().checked_add(1)?..)?)
    };
    Some((stem.to_owned(), role))
}

impl Names {
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        match self {
            Names::PerGate(gates) => gates.as_flattened().iter(),
            Names::Joined(names) => names.iter(),
        }
    }

    /// Kernel, recurrent kernel and bias: of one gate, or of all.
    pub(crate) fn shapes(&self, node: &Node<'_>) -> Result<[OtherArray; 3], Problem> {
        let [w, u, b] = match self {
            Names::Joined(names) => names,
            Names::PerGate(gates) => {
                let [names, ..] = &**gates;
                names
            }
        };
        Ok([node.shape(w)?, node.shape(u)?, node.shape(b)?])
    }

    /// Reads the arrays and joins the gates. `layer` is for messages.
    pub(crate) fn read(&self, node: &Node<'_>, layer: &str, config: Option<&LstmConfig>) -> Result<Lstm, Problem> {
        let [kernel, recurrent_kernel, bias] = match self {
            Names::Joined([w, u, b]) => [node.array(w)?, node.array(u)?, node.array(b)?],
            Names::PerGate(gates) => {
                let mut kinds = [Vec::new(), Vec::new(), Vec::new()];
                for names in gates.iter() {
                    for (name, kind) in names.iter().zip(&mut kinds) {
                        kind.push(node.array(name)?);
                    }
                }
                let [w, u, b] = kinds;
                [joined(w, layer)?, joined(u, layer)?, joined(b, layer)?]
            }
        };
        let lstm = Lstm { kernel, recurrent_kernel, bias: Some(bias), config: config.cloned(), stored: Stored::Keras1 };
        lstm.check(layer)?;
        Ok(lstm)
    }
}

/// Joins arrays of one shape along the last axis.
fn joined(parts: Vec<Array>, layer: &str) -> Result<Array, Problem> {
    let shape = parts.first().map_or(Vec::new(), |p| p.shape.clone());
    if parts.iter().any(|p| p.shape != shape) {
        let shapes: Vec<_> = parts.iter().map(|p| format!("{:?}", p.shape)).collect();
        return Err(Problem::Keras1Gates { layer: layer.to_owned(), found: shapes.join(", ") });
    }
    let Some((last, before)) = shape.split_last() else {
        return Err(Problem::Keras1Gates { layer: layer.to_owned(), found: "scalars".to_owned() });
    };
    let columns = last.checked_mul(GATES.len()).unwrap_or(usize::MAX);
    let length = parts.iter().map(|p| p.data.len()).fold(0, usize::saturating_add);
    let mut data = Vec::with_capacity(length);
    let mut rows: Vec<_> = parts.iter().map(|p| p.data.chunks(*last.max(&1))).collect();
    while data.len() < length {
        data.extend(rows.iter_mut().filter_map(Iterator::next).flatten());
    }
    Ok(Array {
        shape: before.iter().copied().chain([columns]).collect(),
        data,
        stored_as: parts.first().map_or(crate::layer::Dtype::Float32, |p| p.stored_as),
        lossy: parts.iter().any(|p| p.lossy),
    })
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn names_of_keras_1_are_split() {
        let split = |name| split(name).map(|(stem, role)| format!("{stem} {role}"));
        assert_eq!(split("lstm_1_W_i:0").as_deref(), Some("lstm_1 W_i"));
        assert_eq!(split("lstm_1_W_i_1:0").as_deref(), Some("lstm_1 W_i"));
        assert_eq!(split("a/forward_lstm_1_b_o").as_deref(), Some("a/forward_lstm_1 b_o"));
        assert_eq!(split("lstm_1_U").as_deref(), Some("lstm_1 U"));
        assert_eq!(split("lstm_1/kernel:0"), None);
        assert_eq!(split("W_i"), None);
    }
}
