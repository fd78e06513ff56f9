//! Reads and writes the LSTM layers of Keras model and weight files.
//!
//! All four formats of Keras 2 and 3 give the same values: legacy weights (`.h5`), legacy models
//! (`.h5`), `.weights.h5` and `.keras`. So do `.npz` and `.safetensors`, in which people exchange bare arrays.
//! Files are untrusted: sizes, nesting and checksums are checked before anything is believed, and a damaged file
//! is an error, never a panic.
//!
//! # Bare arrays
//!
//! In `.npz` and `.safetensors` files an LSTM is a `kernel` and a `recurrent_kernel`, and a `bias` if there is
//! one, found by these names:
//!
//! - `<layer>/kernel` and so on, divided by `/` or `.`, with or without a `:0` at the end: one layer. Two of them
//!   that differ in a part that is or begins with `forward`/`backward` or `fw`/`bw` are a bidirectional one, so
//!   `bi/forward_layer/kernel` as well as `bi.bw_lstm.lstm_cell_1.kernel:0`.
//! - `kernel`, `recurrent_kernel` and `bias` alone: one layer named `lstm`.
//! - `arr_0`, `arr_1`, …, as `numpy.savez(path, *model.get_weights())` calls them: by their number, every
//!   `[inputs, 4*units]` that is followed by `[units, 4*units]` is an LSTM, named `lstm`, `lstm_1`, …; `[4*units]`
//!   after these is its bias, and so is `[8*units]`, although only a CuDNNLSTM has one like it. The directions of a
//!   bidirectional layer cannot be told from two layers, and come as two.
//!
//! All other arrays go to [`KerasFile::other_layers`], a GRU's too: two kernels that both fit three gates. Layers are
//! in the order of the arrays, unless these are sorted by name: then `lstm_2` comes before `lstm_10`, and
//! [`KerasFile::order_known`] is false if the names differ in more than numbers.
//!
//! The arrays found by name may have any shape: whoever reads a [`Lstm`] from these formats has to check it.
//!
//! # Old layers
//!
//! `CuDNNLSTM` layers and those of Keras 1 are converted as Keras 2 does it on loading, and [`Lstm::stored`] says so.
//! HDF5 files of others, in which TensorFlow's variables lie under their own names, are no Keras files:
//! [`read_hdf5_arrays`] lists what they hold.
//!
//! # Other arrays in a file that exists
//!
//! ```no_run
//! use keras_file::{Array, Half, Replacement, Role};
//!
//! let bytes = std::fs::read("model.keras")?;
//! for slot in keras_file::decode(bytes.clone())?.slots {
//!     println!("{} {}: {:?}", slot.layer, slot.role, slot.shape);
//! }
//! let array = Array::float32(vec![8, 32], vec![0.0; 256]);
//! let kernel = Replacement { layer: "lstm".to_owned(), half: Half::Whole, role: Role::RecurrentKernel, array };
//! std::fs::write("changed.keras", keras_file::replace(&bytes, &[kernel])?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Example
//!
//! ```no_run
//! use keras_file::{LayerKind, Target};
//!
//! let file = keras_file::read("model.keras".as_ref())?;
//! for layer in &file.layers {
//!     if let LayerKind::Lstm(lstm) = &layer.kind {
//!         println!("{}: {} inputs, {} units", layer.name, lstm.inputs(), lstm.units());
//!     }
//! }
//! let bytes = keras_file::encode(&[file.layers], Target::Weights)?;
//! std::fs::write("model.weights.h5", bytes)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// What a file says never panics, wraps round or is cut short.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        reason = "a test that panics has failed, which is what it is for"
    )
)]

mod archive;
mod cell;
mod config;
mod cudnn;
mod encode;
mod error;
mod graph;
mod hdf5;
mod json;
mod keras1;
mod layer;
mod legacy_h5;
mod naming;
mod npy;
mod npz;
mod replace;
mod safetensors;
mod slot;
mod slug;
mod tensor;
mod weights_h5;

use std::path::Path;

pub use encode::{Generation, Target};
pub use error::{Error, Problem};
pub use hdf5::{Elements, Hdf5Array};
pub use layer::{Array, Dtype, Format, KerasFile, Layer, LayerKind, Lstm, LstmConfig, OtherArray, OtherLayer, Stored};
pub use npz::NamedArray;
pub use replace::Replacement;
pub use slot::{Half, Role, Slot};

use hdf5::{Hdf5, Node};
use layer::Contents;

/// Reads a Keras file; the format is told by its content, not its name.
///
/// # Errors
///
/// If the file cannot be read, and as [`decode`].
pub fn read(path: &Path) -> Result<KerasFile, Error> {
    std::fs::read(path).map_err(|e| Error::decoding(Problem::Io(e))).and_then(decode).map_err(|e| e.in_file(path))
}

/// Decodes the bytes of a Keras file; its format is told by its content.
///
/// # Errors
///
/// If the bytes are no Keras file, are damaged, or hold LSTM arrays that do not fit together. Layers of other kinds are no error, nor are values that are not finite. Of the bare arrays of `.npz`
/// and `.safetensors` nothing is checked but that an LSTM has both kernels, each once, and of floats.
pub fn decode(bytes: Vec<u8>) -> Result<KerasFile, Error> {
    decode_any(bytes).and_then(on_one_line).map_err(Error::decoding)
}

/// Encodes chains of layers as a file in memory: the same layers give the same bytes. A model is for Keras 2 and 3
/// alike ([`Generation::Any`]).
///
/// In each chain a layer feeds the next. For [`Target::Keras`] one chain becomes a Sequential model, unless it has
/// residual connections or directions, and several become one Functional model with an input and an output per
/// chain, in this order; the layers return sequences. Files of weights list the layers with arrays as that model does
/// ([`listed`]), bare arrays chain by chain, forward before backward. Names are changed where Keras, or the reader of bare arrays, would take them for
/// something else. Values are written as float32.
///
/// # Errors
///
/// If there is nothing to write, arrays do not fit together, or, for [`Target::Keras`], a layer has
/// no configuration, one that the two Kerases cannot express or understand differently, or does not fit the layer
/// before it.
pub fn encode(chains: &[Vec<Layer>], target: Target) -> Result<Vec<u8>, Error> {
    encode_for(chains, target, Generation::Any)
}

/// As [`encode`], for one generation of Keras.
///
/// # Errors
///
/// As [`encode`]; what the two Kerases understand differently is an error for [`Generation::Any`] only.
pub fn encode_for(chains: &[Vec<Layer>], target: Target, generation: Generation) -> Result<Vec<u8>, Error> {
    encode::encode(chains, target, generation).map_err(Error::encoding)
}

/// The names of the layers with arrays, in the order in which the model of the chains that [`encode`] writes lists them:
/// that of the chain for a Sequential one; for a Functional one by the longest way to an output, farthest first. In this
/// order a Keras loads weights without names.
pub fn listed(chains: &[Vec<Layer>]) -> Vec<String> {
    encode::listed(chains)
}

/// Reads all arrays of a `.npz` file as numbers, for recorded inputs, in the order of the archive.
///
/// # Errors
///
/// If the file cannot be read, and as [`decode_arrays`].
pub fn read_arrays(path: &Path) -> Result<Vec<NamedArray>, Error> {
    let read = || decode_arrays(&std::fs::read(path).map_err(|e| Error::decoding_arrays(Problem::Io(e)))?);
    read().map_err(|e| e.in_file(path))
}

/// Decodes all arrays of a `.npz` file as numbers, in the order of the archive.
///
/// Floats of 2, 4 and 8 bytes, integers of 1 to 8 bytes and bools are understood, in either byte order, row-major
/// or Fortran order, compressed or not.
///
/// # Errors
///
/// If the bytes are no `.npz`, are damaged, hold another element type, or an integer above 2^53 that `f64` may not hold
/// exactly.
pub fn decode_arrays(bytes: &[u8]) -> Result<Vec<NamedArray>, Error> {
    npz::values(bytes).map_err(Error::decoding_arrays)
}

/// Whether a file is HDF5, Keras' or not; only its first bytes are read.
///
/// # Errors
///
/// If the file cannot be read.
pub fn is_hdf5(path: &Path) -> Result<bool, Error> {
    Hdf5::is(path).map_err(|e| Error::in_arrays(Problem::Io(e), path))
}

/// As [`is_hdf5`], of a file of `len` bytes of which `at` gives eight at an offset.
///
/// # Errors
///
/// The error of `at`.
pub fn is_hdf5_by<E>(len: u64, mut at: impl FnMut(u64) -> Result<[u8; 8], E>) -> Result<bool, E> {
    Hdf5::is_by(len, &mut at)
}

/// Reads every dataset of numbers of an HDF5 file, sorted by path.
///
/// # Errors
///
/// If the file cannot be read, and as [`decode_hdf5_arrays`].
pub fn read_hdf5_arrays(path: &Path) -> Result<Vec<Hdf5Array>, Error> {
    let read = || decode_hdf5_arrays(std::fs::read(path).map_err(|e| Error::decoding_arrays(Problem::Io(e)))?);
    read().map_err(|e| e.in_file(path))
}

/// Decodes every dataset of numbers of an HDF5 file, sorted by path: for files that are not Keras', such as the weights
/// of ELMo, which hold TensorFlow's variables under their names. Strings and other types are left out.
///
/// # Errors
///
/// If the bytes are no HDF5, are damaged, nested too deep or in a circle, claim more than they could hold, or hold an
/// integer above 2^53.
pub fn decode_hdf5_arrays(bytes: Vec<u8>) -> Result<Vec<Hdf5Array>, Error> {
    let decode = || {
        if !Hdf5::recognises(&bytes) {
            return Err(Problem::NotHdf5 { found: archive::beginning(&bytes) });
        }
        hdf5::read_arrays(&Hdf5::from_bytes(bytes)?)
    };
    decode().map_err(Error::decoding_arrays)
}

/// Replaces arrays in the bytes of a Keras file, and gives the new bytes: every byte but those of the arrays (and, in
/// a `.keras`, the two checksums of its weights) is as before, whatever else the file holds.
///
/// [`KerasFile::slots`] lists what can be replaced. The values are written in the element type of the file.
///
/// # Errors
///
/// As [`decode`]; and if a replacement names no array of the file or several, has another shape, or belongs to a layer
/// that is not [`Stored::Plain`]; if the file is a `.npz` or `.safetensors`; or if an array is chunked, compressed,
/// shared with another layer, or of elements that are neither float32 nor float64.
pub fn replace(bytes: &[u8], replacements: &[Replacement]) -> Result<Vec<u8>, Error> {
    replace::replace(bytes, replacements).map_err(Error::replacing)
}

/// Reads one float array of a layer that is no LSTM: of [`KerasFile::other_layers`], the array called `array` of the
/// layer called `layer`.
///
/// # Errors
///
/// If the file cannot be read or is damaged, or has no such array.
pub fn read_other_array(path: &Path, layer: &str, array: &str) -> Result<Array, Error> {
    let read = || decode_other_array(std::fs::read(path).map_err(|e| Error::decoding(Problem::Io(e)))?, layer, array);
    read().map_err(|e| e.in_file(path))
}

/// As [`read_other_array`], of the bytes of a Keras file.
///
/// # Errors
///
/// If the bytes are damaged, or have no such array.
pub fn decode_other_array(bytes: Vec<u8>, layer: &str, array: &str) -> Result<Array, Error> {
    other_array(bytes, layer, array).map_err(Error::decoding)
}

fn other_array(bytes: Vec<u8>, layer: &str, array: &str) -> Result<Array, Problem> {
    let missing = || Problem::Unreplaceable {
        what: format!("layer {layer:?}"),
        expected: format!("an array {array:?}"),
        found: "none".to_owned(),
    };
    let whole = format!("{layer}/{array}");
    let named = |tensors: &[tensor::Tensor<'_>]| {
        let found = tensors.iter().find(|t| t.name == whole || t.name == array);
        found.ok_or_else(missing)?.array()
    };
    if safetensors::recognises(&bytes) {
        return named(&safetensors::read(&bytes)?);
    }
    if archive::recognises(&bytes) {
        let mut zip = archive::open(&bytes)?;
        if npz::recognises(&zip) {
            return named(&npz::read(&mut zip, bytes.len())?);
        }
    }
    let file = decode_any(bytes.clone())?;
    let role = |s: &&Slot| {
        s.layer == layer && s.half == Half::Whole && s.role.as_str() == slot::Role::named(array, array).as_str()
    };
    let slot = file.slots.iter().find(role).ok_or_else(missing)?;
    let content = match file.format {
        Format::Keras => archive::stored_weights(&bytes)?.content,
        _ => 0..bytes.len(),
    };
    Hdf5::from_bytes(bytes.get(content).unwrap_or_default().to_vec())?.array(&slot.dataset)
}

fn decode_any(bytes: Vec<u8>) -> Result<KerasFile, Problem> {
    if archive::recognises(&bytes) {
        return decode_zip(bytes);
    }
    if safetensors::recognises(&bytes) {
        let contents = naming::contents(safetensors::read(&bytes)?, bytes.len())?;
        return Ok(keras_file(Format::Safetensors, None, contents));
    }
    if !Hdf5::recognises(&bytes) {
        return Err(Problem::NotKeras { found: archive::beginning(&bytes) });
    }
    let hdf5 = Hdf5::from_bytes(bytes)?;
    let root = hdf5.root();
    let model_config = root.text("model_config")?;
    let model_weights = root.child("model_weights")?;
    if model_config.is_some() || model_weights.is_some() {
        let model = model_config.map(|text| config::parse("model_config", &text)).transpose()?;
        let weights = match model_weights {
            Some(weights) => weights,
            None => root.expect_child("model_weights")?,
        };
        let version = version(&root, &weights)?;
        let contents = legacy_h5::read(&weights, model.as_ref())?;
        let model = model.unwrap_or_default();
        let file = keras_file(Format::LegacyModel, version, contents);
        return Ok(KerasFile { masks: model.masks(), feeds: model.feeds(), ..file });
    }
    if root.texts("layer_names")?.is_some() {
        let version = version(&root, &root)?;
        let contents = legacy_h5::read(&root, None)?;
        return Ok(keras_file(Format::LegacyWeights, version, contents));
    }
    if weights_h5::recognises(&root)? {
        let contents = weights_h5::read(&root, None)?;
        return Ok(keras_file(Format::Weights, None, contents));
    }
    let names = root.group_names()?;
    let shown: Vec<_> = names.iter().take(10).map(String::as_str).collect();
    Err(Problem::UnknownLayout { groups: shown.join(", ") })
}

/// The file, if no name in it has a line break.
fn on_one_line(file: KerasFile) -> Result<KerasFile, Problem> {
    let layers = file.layers.iter().map(|l| &l.name);
    let others = file.other_layers.iter().flat_map(|l| l.arrays.iter().map(|a| &a.name).chain([&l.name]));
    let broken = layers.chain(others).find(|name| name.contains('\n')).cloned();
    broken.map_or(Ok(file), |name| Err(Problem::Name { name }))
}

fn decode_zip(bytes: Vec<u8>) -> Result<KerasFile, Problem> {
    let length = bytes.len();
    let mut zip = archive::open(&bytes)?;
    if npz::recognises(&zip) {
        let tensors = npz::read(&mut zip, length)?;
        drop(bytes);
        return Ok(keras_file(Format::Npz, None, naming::contents(tensors, length)?));
    }
    let archive = archive::unpack(&mut zip, length)?;
    drop(bytes);
    let model = config::parse("config.json", &archive.config)?;
    drop(archive.config);
    let hdf5 = Hdf5::from_bytes(archive.weights)?;
    let contents = weights_h5::read(&hdf5.root(), Some(&model))?;
    let file = keras_file(Format::Keras, archive.keras_version, contents);
    Ok(KerasFile { masks: model.masks(), feeds: model.feeds(), ..file })
}

/// `keras_version` of a legacy file, at the root or where the weights are.
fn version(root: &Node<'_>, weights: &Node<'_>) -> Result<Option<String>, Problem> {
    match root.text("keras_version")? {
        Some(version) => Ok(Some(version)),
        None => weights.text("keras_version"),
    }
}

fn keras_file(format: Format, keras_version: Option<String>, contents: Contents) -> KerasFile {
    let stated = keras_version.as_deref().and_then(|v| v.split('.').next()?.parse().ok());
    KerasFile {
        format,
        keras_version,
        keras_major: stated.or(contents.named_layers.then_some(3)),
        layers: contents.layers,
        other_layers: contents.other_layers,
        slots: contents.slots,
        order_known: !contents.order_unknown,
        feeds: vec![],
        masks: false,
    }
}
