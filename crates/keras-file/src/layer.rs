//! The data that a Keras file holds, as plain values.

use crate::error::Problem;
use crate::slot::{Half, Role, Slot};

/// How a file stores its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HDF5 from `save_weights("x.h5")`.
    LegacyWeights,
    /// HDF5 from `save("x.h5")`: configuration and weights.
    LegacyModel,
    /// HDF5 from `save_weights("x.weights.h5")`, Keras 2.12 and later.
    Weights,
    /// Zip archive from `save("x.keras")`.
    Keras,
    /// Arrays by name or position, from `numpy.savez`.
    Npz,
    /// Arrays by name, from the safetensors library.
    Safetensors,
}

impl Format {
    /// The name used in reports: `keras-h5`, `keras-model-h5`, `keras-weights`, `keras`, `npz` or `safetensors`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::LegacyWeights => "keras-h5",
            Format::LegacyModel => "keras-model-h5",
            Format::Weights => "keras-weights",
            Format::Keras => "keras",
            Format::Npz => "npz",
            Format::Safetensors => "safetensors",
        }
    }
}

/// The layers found by one of the readers.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) layers: Vec<Layer>,
    pub(crate) other_layers: Vec<OtherLayer>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) order_unknown: bool,
    /// The layers carry their names, as Keras 3 alone writes them into weights.
    pub(crate) named_layers: bool,
}

impl Contents {
    pub(crate) fn push(&mut self, name: &str, kind: LayerKind) {
        self.layers.push(Layer { name: name.to_owned(), kind });
    }

    /// Notes where the arrays of the layer last pushed lie.
    pub(crate) fn place(&mut self, class: Option<&str>, places: Vec<Place>) {
        let Some(layer) = self.layers.last() else { return };
        self.slots.extend(places.into_iter().map(|place| Slot {
            layer: layer.name.clone(),
            class: class.map(str::to_owned),
            half: place.half,
            role: place.role,
            dataset: place.dataset,
            shape: place.shape,
        }));
    }
}

/// Where one array of a layer lies.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) half: Half,
    pub(crate) role: Role,
    pub(crate) dataset: String,
    pub(crate) shape: Vec<usize>,
}

/// Everything read from one Keras file.
#[derive(Clone, Debug, PartialEq)]
pub struct KerasFile {
    /// How the file stores its layers.
    pub format: Format,
    /// `keras_version` as the file states it; `.weights.h5` files never do.
    pub keras_version: Option<String>,
    /// The major version of the Keras that wrote it, by `keras_version` or by what it alone writes; `None` if nothing
    /// tells.
    pub keras_major: Option<u32>,
    /// The LSTM layers in the order data flows through the model: for parallel branches, branch by
    /// branch in the order of the model's outputs. Without a configuration, the order of the file.
    pub layers: Vec<Layer>,
    /// Every other layer that has arrays or that the configuration names.
    pub other_layers: Vec<OtherLayer>,
    /// Where the arrays of `layers` and `other_layers` lie, for [`crate::replace`]; none of the LSTMs that are not
    /// [`Stored::Plain`], and none for [`Format::Npz`] and [`Format::Safetensors`].
    pub slots: Vec<Slot>,
    /// False where a weights-only file does not tell in which order `layers` follow each other:
    /// `.weights.h5` numbers the layers of each class separately, and what writes `.safetensors` often
    /// sorts them by name.
    pub order_known: bool,
    /// LSTM layers that read the sequences of another one of the model and nothing else, each with that other one.
    pub feeds: Vec<(String, String)>,
    /// Whether the model has a layer that marks steps to be left out: `Masking`, or `Embedding(mask_zero=True)`.
    pub masks: bool,
}

/// One LSTM layer, alone or in two directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The layer's name; in a `.weights.h5` file of Keras 2 the group's name, as it has no other.
    pub name: String,
    /// Its weights and settings.
    pub kind: LayerKind,
}

/// An LSTM in one or two directions, or what can stand around it in a model to be written.
#[allow(clippy::large_enum_variant, reason = "a file has a few of these, and a box would only get in the way")]
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// `LSTM`, or `RNN(LSTMCell)`.
    Lstm(Lstm),
    /// `Bidirectional` around such a layer.
    Bidirectional {
        /// Reads the sequence from first to last.
        forward: Lstm,
        /// Reads the sequence from last to first.
        backward: Lstm,
        /// `concat`, `sum`, `mul`, `ave`, or `none` for two separate outputs; `None` when the file
        /// has no configuration.
        merge_mode: Option<String>,
    },
    /// `Dense` without an activation, for the projection of an LSTM. Only written: reading lists every `Dense` under
    /// [`KerasFile::other_layers`].
    Dense {
        /// `[inputs, outputs]`.
        kernel: Array,
        /// `[outputs]`; `None` with `use_bias=False`.
        bias: Option<Array>,
    },
    /// Layers one after the other, to whose output their input is added. Only written: as an `Add` with the name of
    /// this layer.
    Residual(Vec<Layer>),
    /// A stack of layers for each direction, over the same input, their outputs side by side: as a `Concatenate` with
    /// the name of this layer. Only written. Single LSTMs are better off in [`LayerKind::Bidirectional`].
    Directions {
        /// Read the sequence from first to last.
        forward: Vec<Layer>,
        /// Read it from last to first: they are given the sequence reversed, so their own `go_backwards` is false,
        /// and their output is reversed again.
        backward: Vec<Layer>,
    },
}

impl LayerKind {
    /// Its LSTMs, forward before backward: none in a `Dense`, one, two, or those of all layers inside.
    pub fn lstms(&self) -> Vec<&Lstm> {
        match self {
            LayerKind::Lstm(lstm) => vec![lstm],
            LayerKind::Bidirectional { forward, backward, .. } => vec![forward, backward],
            LayerKind::Dense { .. } => vec![],
            LayerKind::Residual(layers) => layers.iter().flat_map(|l| l.kind.lstms()).collect(),
            LayerKind::Directions { forward, backward } => {
                forward.iter().chain(backward).flat_map(|l| l.kind.lstms()).collect()
            }
        }
    }
}

/// The arrays of one LSTM, gate order i, f, c, o along the last axis.
///
/// From Keras' own formats they are checked to fit together. From [`Format::Npz`] and
/// [`Format::Safetensors`] they are as the file has them, of any shape and number of axes: they may come from
/// a conversion by hand, and in what way it is wrong is for the caller to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Lstm {
    /// `[inputs, 4*units]`, if checked.
    pub kernel: Array,
    /// `[units, 4*units]`, if checked.
    pub recurrent_kernel: Array,
    /// `[4*units]`, if checked; `None` with `use_bias=False`.
    pub bias: Option<Array>,
    /// `None` for weights-only files.
    pub config: Option<LstmConfig>,
    /// What these arrays were made from. Writing ignores it.
    pub stored: Stored,
}

/// How a file holds the arrays of an LSTM. All are given as Keras 2's and 3's LSTM has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stored {
    /// As they are given.
    #[default]
    Plain,
    /// As a `CuDNNLSTM`: kernels transposed gate by gate, and two biases, here added. Its activations are tanh and
    /// sigmoid, also where the file has no configuration.
    Cudnn,
    /// As by Keras 1: one matrix per gate in the order i, c, f, o, or three arrays called `W`, `U` and `b`. Where
    /// the file has no configuration: Keras 1's gates have hard_sigmoid unless they were told otherwise.
    Keras1,
}

impl Stored {
    /// `plain`, `cudnn` or `keras1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stored::Plain => "plain",
            Stored::Cudnn => "cudnn",
            Stored::Keras1 => "keras1",
        }
    }
}

/// Settings of an LSTM that change what it computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LstmConfig {
    /// Size of the state.
    pub units: usize,
    /// Activation of candidate and output: its name, or compact JSON where a name cannot say it.
    pub activation: String,
    /// Activation of the gates, likewise.
    pub recurrent_activation: String,
    /// Whether there is a bias.
    pub use_bias: bool,
    /// Whether the sequence is read from last to first.
    pub go_backwards: bool,
    /// Whether the first axis is time (Keras 2 only).
    pub time_major: bool,
    /// Whether the output has every time step.
    pub return_sequences: bool,
    /// Whether the final states are outputs too.
    pub return_state: bool,
    /// Whether masked steps give zeros rather than the last valid output.
    pub zero_output_for_mask: bool,
    /// Whether the state is kept from batch to batch.
    pub stateful: bool,
}

/// A float array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// The elements; as many as the extents multiply to.
    pub data: Vec<f32>,
    /// Element type in the file.
    pub stored_as: Dtype,
    /// Whether at least one float64 element was rounded to fit float32. NaN counts as NaN, exactly.
    pub lossy: bool,
}

impl Array {
    /// A float32 array.
    pub fn float32(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Self { shape, data, stored_as: Dtype::Float32, lossy: false }
    }

    /// Everything but the elements.
    pub(crate) fn clone_without_data(&self) -> Self {
        Self { shape: self.shape.clone(), data: Vec::new(), ..*self }
    }
}

/// Element types an array can be stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 binary16.
    Float16,
    /// The upper half of binary32.
    BFloat16,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
}

impl Dtype {
    /// `float16`, `bfloat16`, `float32` or `float64`.
    pub fn as_str(self) -> &'static str {
        match self {
            Dtype::Float16 => "float16",
            Dtype::BFloat16 => "bfloat16",
            Dtype::Float32 => "float32",
            Dtype::Float64 => "float64",
        }
    }
}

/// A layer that is not an LSTM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherLayer {
    /// Name, or path of groups where the file has no name.
    pub name: String,
    /// Class, if the file tells it.
    pub class: Option<String>,
    /// Its arrays; their elements are not read.
    pub arrays: Vec<OtherArray>,
}

/// Name and shape of an array that belongs to no LSTM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherArray {
    /// Name inside the layer.
    pub name: String,
    /// Extent of each axis.
    pub shape: Vec<usize>,
}

impl Lstm {
    /// Rows of the kernel: size of one input vector. 0 for an unchecked kernel without axes.
    pub fn inputs(&self) -> usize {
        self.kernel.shape.first().copied().unwrap_or(0)
    }

    /// Rows of the recurrent kernel: size of the state. 0 for an unchecked one without axes.
    pub fn units(&self) -> usize {
        self.recurrent_kernel.shape.first().copied().unwrap_or(0)
    }

    /// Checks that the arrays fit each other and the configuration. `layer` is for the message.
    pub(crate) fn check(&self, layer: &str) -> Result<(), Problem> {
        let configured = self.config.as_ref();
        let units = configured.map_or_else(|| self.units(), |c| c.units);
        let columns = units.checked_mul(4);
        let bias = self.bias.as_ref();
        let fits = columns.is_some_and(|columns| {
            units > 0
                && matches!(self.kernel.shape.as_slice(), [d, n] if *d > 0 && *n == columns)
                && self.recurrent_kernel.shape == [units, columns]
                && bias.is_none_or(|b| b.shape == [columns])
        });
        let complete = [Some(&self.kernel), Some(&self.recurrent_kernel), bias].into_iter().flatten().all(|a| {
            let count = a.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            count == Some(a.data.len())
        });
        if !(fits && complete) {
            return Err(self.misfit(layer, &configured.map_or(String::new(), |c| format!(" with units={}", c.units))));
        }
        if let Some(c) = configured
            && c.use_bias != bias.is_some()
        {
            return Err(Problem::ConfigMismatch {
                layer: layer.to_owned(),
                configured: format!("use_bias={}", c.use_bias),
                found: if bias.is_some() { "a bias" } else { "no bias" }.to_owned(),
            });
        }
        Ok(())
    }

    /// That the arrays do not fit each other; `more` says what else is known of them.
    pub(crate) fn misfit(&self, layer: &str, more: &str) -> Problem {
        Problem::Shape { layer: layer.to_owned(), with_units: more.to_owned(), found: self.describe() }
    }

    fn describe(&self) -> String {
        let one = |name: &str, a: &Array| format!("{name} {:?} of {} elements", a.shape, a.data.len());
        let mut found = format!("{}, {}", one("kernel", &self.kernel), one("recurrent_kernel", &self.recurrent_kernel));
        if let Some(b) = &self.bias {
            found.push_str(", ");
            found.push_str(&one("bias", b));
        }
        found
    }
}
