//! The places in a file where the arrays of its layers are, for putting others there.

use std::fmt;

/// One array of an HDF5 layout, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The layer, as [`crate::Layer::name`] or [`crate::OtherLayer::name`] has it.
    pub layer: String,
    /// Its class, if the file tells it: `LSTM`, `Bidirectional`, `Dense`, ….
    pub class: Option<String>,
    /// Which part of the layer.
    pub half: Half,
    /// What the array is to the layer.
    pub role: Role,
    /// Path of the dataset in the HDF5 file or member.
    pub dataset: String,
    /// Extent of each axis.
    pub shape: Vec<usize>,
}

/// Part of a layer: a `Bidirectional` has two, with the arrays of one layer each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The layer itself.
    Whole,
    /// What reads the sequence from first to last.
    Forward,
    /// What reads the sequence from last to first.
    Backward,
}

/// What an array is to its layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `[inputs, 4*units]` of an LSTM, `[inputs, outputs]` of a `Dense`.
    Kernel,
    /// `[units, 4*units]` of an LSTM.
    RecurrentKernel,
    /// `[4*units]` of an LSTM, `[outputs]` of a `Dense`.
    Bias,
    /// `[words, width]` of an `Embedding`.
    Embeddings,
    /// Any other array, under its name inside the layer.
    Other(String),
}

impl Role {
    /// The role of an array that the file calls `name`, whole or with `:0` and path.
    pub(crate) fn named(role: &str, name: &str) -> Role {
        match role {
            "kernel" => Role::Kernel,
            "recurrent_kernel" => Role::RecurrentKernel,
            "bias" => Role::Bias,
            "embeddings" => Role::Embeddings,
            _ => Role::Other(name.to_owned()),
        }
    }

    /// Keras' name for it: `kernel`, `recurrent_kernel`, `bias`, `embeddings`, or the file's.
    pub fn as_str(&self) -> &str {
        match self {
            Role::Kernel => "kernel",
            Role::RecurrentKernel => "recurrent_kernel",
            Role::Bias => "bias",
            Role::Embeddings => "embeddings",
            Role::Other(name) => name,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Half {
    /// What to put after the layer's name in a message.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Half::Whole => "",
            Half::Forward => ", forward",
            Half::Backward => ", backward",
        }
    }
}
