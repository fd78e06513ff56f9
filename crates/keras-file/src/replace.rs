//! Puts other values into the arrays of a file and leaves every other byte as it is.

use std::ops::Range;

use crate::archive;
use crate::error::Problem;
use crate::hdf5::{Hdf5, Location};
use crate::layer::{Array, Dtype, Format, KerasFile, Layer, Stored};
use crate::slot::{Half, Role, Slot};

/// Values for one array of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// The layer, as [`Slot::layer`].
    pub layer: String,
    /// Which part of it.
    pub half: Half,
    /// Which of its arrays.
    pub role: Role,
    /// The values, of the shape that the file has.
    pub array: Array,
}

impl Replacement {
    /// What it is for, for messages.
    fn what(&self) -> String {
        format!("layer {:?}{}: {}", self.layer, self.half.suffix(), self.role)
    }
}

/// Replaces arrays in the bytes of a Keras file.
pub(crate) fn replace(bytes: &[u8], replacements: &[Replacement]) -> Result<Vec<u8>, Problem> {
    let before = crate::decode_any(bytes.to_vec())?;
    let slots = replacements.iter().map(|r| slot(&before, r)).collect::<Result<Vec<_>, _>>()?;
    let mut out = bytes.to_vec();
    let weights = match before.format {
        Format::Keras => Some(archive::stored_weights(bytes)?),
        _ => None,
    };
    let content = weights.as_ref().map_or(0..bytes.len(), |w| w.content.clone());
    let hdf5 = Hdf5::from_bytes(bytes.get(content.clone()).unwrap_or_default().to_vec())?;
    let locations = slots.iter().map(|s| hdf5.locate(&s.dataset)).collect::<Result<Vec<_>, _>>()?;
    check_alone(&hdf5, &slots, &locations)?;
    drop(hdf5);
    for ((replacement, slot), location) in replacements.iter().zip(&slots).zip(&locations) {
        let values = encoded(replacement, location)?;
        let target = out.get_mut(content.clone()).and_then(|c| c.get_mut(location.bytes.clone()));
        match target.filter(|t| t.len() == values.len()) {
            Some(target) => target.copy_from_slice(&values),
            None => {
                return Err(Problem::Unreplaceable {
                    what: format!("dataset {:?}", slot.dataset),
                    expected: format!("{} bytes from its shape {:?}", values.len(), slot.shape),
                    found: format!("{} bytes of layout", location.bytes.len()),
                });
            }
        }
    }
    if let Some(weights) = weights {
        weights.update_checksum(&mut out);
    }
    check_result(&out, &before, replacements, &slots)?;
    Ok(out)
}

/// The one array that is meant.
fn slot<'a>(file: &'a KerasFile, replacement: &Replacement) -> Result<&'a Slot, Problem> {
    let refuse = |expected: &str, found: String| Problem::Unreplaceable {
        what: replacement.what(),
        expected: expected.into(),
        found,
    };
    if matches!(file.format, Format::Npz | Format::Safetensors) {
        return Err(refuse(
            "a Keras file (.h5, .weights.h5 or .keras)",
            format!("{}; convert to it instead", file.format.as_str()),
        ));
    }
    if let Some(stored) = other_layout(&file.layers, &replacement.layer) {
        let found = match stored {
            Stored::Cudnn => {
                "a CuDNNLSTM, whose arrays are laid out otherwise; load the file in Keras 2, which converts it, and save it as LSTM"
            }
            _ => {
                "a layer of Keras 1, with arrays of other names and shapes; load the file in Keras 2, which converts it, and save it"
            }
        };
        return Err(refuse("an LSTM of Keras 2 or 3", found.to_owned()));
    }
    let in_layer: Vec<&Slot> = file.slots.iter().filter(|s| s.layer == replacement.layer).collect();
    if in_layer.is_empty() {
        let mut names: Vec<&str> = file.slots.iter().map(|s| s.layer.as_str()).collect();
        names.dedup();
        return Err(refuse("a layer of this name", format!("layers {}", shown(&names))));
    }
    let fits = |s: &&&Slot| s.half == replacement.half && s.role == replacement.role;
    let fitting: Vec<&Slot> = in_layer.iter().filter(fits).copied().collect();
    let slot = match fitting.as_slice() {
        [slot] => *slot,
        [] => {
            let others: Vec<String> = in_layer.iter().map(|s| format!("{}{}", s.role, s.half.suffix())).collect();
            return Err(refuse("such an array", shown(&others)));
        }
        several => {
            let datasets: Vec<&str> = several.iter().map(|s| s.dataset.as_str()).collect();
            return Err(refuse("one such array in the file", format!("datasets {}", shown(&datasets))));
        }
    };
    let array = &replacement.array;
    let count = array.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if slot.shape != array.shape || count != Some(array.data.len()) {
        let expected = format!("values of shape {:?}, as dataset {:?} has", slot.shape, slot.dataset);
        return Err(refuse(&expected, format!("{} values of shape {:?}", array.data.len(), array.shape)));
    }
    Ok(slot)
}

fn shown<T: std::fmt::Debug>(items: &[T]) -> String {
    let list: Vec<String> = items.iter().take(20).map(|i| format!("{i:?}")).collect();
    let more = if items.len() > list.len() { ", …" } else { "" };
    format!("{}{more}", list.join(", "))
}

/// How the layer's arrays are stored, if that is not as they are given.
fn other_layout(layers: &[Layer], name: &str) -> Option<Stored> {
    let layers = layers.iter().filter(|l| l.name == name);
    layers.flat_map(|l| l.kind.lstms()).map(|l| l.stored).find(|s| *s != Stored::Plain)
}

/// Bytes of no other dataset may be written, and none twice: two names of one dataset are two layers that share it.
fn check_alone(hdf5: &Hdf5, slots: &[&Slot], locations: &[Location]) -> Result<(), Problem> {
    let mut extents = hdf5.extents()?;
    extents.retain(|(_, bytes)| !bytes.is_empty());
    extents.sort_by_key(|(_, bytes)| bytes.start);
    let mut end = 0u64;
    let mut last = "";
    let mut shared: Vec<Range<u64>> = Vec::new();
    let mut with: Vec<[&str; 2]> = Vec::new();
    for (path, bytes) in &extents {
        if bytes.start < end {
            shared.push(bytes.start..end.min(bytes.end));
            with.push([last, path]);
        }
        if bytes.end > end {
            (end, last) = (bytes.end, path);
        }
    }
    for (slot, location) in slots.iter().zip(locations) {
        let own = archive::size(location.bytes.start)..archive::size(location.bytes.end);
        let hit = shared.iter().zip(&with).find(|(s, _)| s.start < own.end && own.start < s.end);
        if let Some((_, [a, b])) = hit {
            return Err(Problem::Unreplaceable {
                what: format!("dataset {:?}", slot.dataset),
                expected: "bytes of its own".to_owned(),
                found: format!("bytes that {a:?} and {b:?} share: to change one is to change the other"),
            });
        }
    }
    for (i, slot) in slots.iter().enumerate() {
        if slots.iter().skip(i.saturating_add(1)).any(|s| s.dataset == slot.dataset) {
            return Err(Problem::Unreplaceable {
                what: format!("dataset {:?}", slot.dataset),
                expected: "one replacement".to_owned(),
                found: "two".to_owned(),
            });
        }
    }
    Ok(())
}

/// The values in the element type of the file.
fn encoded(replacement: &Replacement, location: &Location) -> Result<Vec<u8>, Problem> {
    let values = &replacement.array.data;
    let big = location.big_endian;
    match location.dtype {
        Dtype::Float32 => Ok(values.iter().flat_map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() }).collect()),
        Dtype::Float64 => {
            let wide = values.iter().map(|v| f64::from(*v));
            Ok(wide.flat_map(|v| if big { v.to_be_bytes() } else { v.to_le_bytes() }).collect())
        }
        narrow @ (Dtype::Float16 | Dtype::BFloat16) => Err(Problem::Unreplaceable {
            what: replacement.what(),
            expected: "float32 or float64 elements, which hold the values exactly".to_owned(),
            found: format!("{}; save the model with dtype float32 first", narrow.as_str()),
        }),
    }
}

/// Reads the file again. A layout message that lies may have led into the file's own structure.
fn check_result(out: &[u8], before: &KerasFile, replacements: &[Replacement], slots: &[&Slot]) -> Result<(), Problem> {
    let after = crate::decode_any(out.to_vec())?;
    let mut same = after.slots == before.slots && after.layers.len() == before.layers.len();
    let content = match after.format {
        Format::Keras => archive::stored_weights(out)?.content,
        _ => 0..out.len(),
    };
    let hdf5 = Hdf5::from_bytes(out.get(content).unwrap_or_default().to_vec())?;
    for (replacement, slot) in replacements.iter().zip(slots) {
        let array = hdf5.array(&slot.dataset)?;
        let bits = |a: &Array| a.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        same &= bits(&array) == bits(&replacement.array);
    }
    if same {
        return Ok(());
    }
    Err(Problem::Unreplaceable {
        what: "the whole file".to_owned(),
        expected: "the same arrays as before, and the new values".to_owned(),
        found: "others: its datasets lie over its own structure, the file is damaged".to_owned(),
    })
}
