//! What `gatewise convert` prints.

use serde::Serialize;

use super::Fact;

/// `gatewise.convert/1`: what was written.
#[derive(Clone, Debug, Serialize)]
pub struct Convert {
    /// `gatewise.convert/1`.
    pub schema: &'static str,
    /// The file written.
    pub output: String,
    /// Its format.
    pub format: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Which cell became which layer, in order.
    pub layers: Vec<ConvertedLayer>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One Keras layer written.
#[derive(Clone, Debug, Serialize)]
pub struct ConvertedLayer {
    /// The Keras layer.
    pub layer: String,
    /// `LSTM` or `Bidirectional`.
    pub class: String,
    /// The TF1 cells it comes from, forward first.
    pub cells: Vec<String>,
    /// Width of the input.
    pub input_size: usize,
    /// Units of each direction.
    pub units: Vec<usize>,
    /// The forget bias folded into the bias of each direction, and its source.
    pub forget_bias: Vec<Fact<f32>>,
    /// The activation of each direction.
    pub activation: Vec<String>,
}
