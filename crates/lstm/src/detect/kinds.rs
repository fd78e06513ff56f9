//! The classes of LSTM cells that TensorFlow 1.x has.

use std::fmt;

use super::names::without_number;

/// The class of cell that wrote a set of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// `BasicLSTMCell`.
    BasicLstm,
    /// `LSTMCell`; also what an `LSTMBlockCell` is called where no graph tells them apart.
    Lstm,
    /// `LSTMBlockCell`.
    LstmBlock,
    /// `LSTMBlockFusedCell`.
    LstmBlockFused,
    /// `CudnnCompatibleLSTMCell`, also the canonical form `CudnnLSTM` saves.
    CudnnCompatible,
    /// `LayerNormBasicLSTMCell`.
    LayerNormBasicLstm,
    /// `LayerNormLSTMCell`: normalised as well, with the options of an `LSTMCell`.
    LayerNormLstm,
    /// `CoupledInputForgetGateLSTMCell`: the input gate is one minus the forget gate.
    CoupledInputForgetGate,
    /// `WeightNormLSTMCell`: the kernel's columns are normalised.
    WeightNorm,
    /// `IndyLSTMCell`: a unit's gates see that unit's output alone.
    Indy,
    /// `GLSTMCell`: groups of units that see their own share of input and output.
    Grouped,
    /// An LSTM layer of Keras: the forget bias is in its bias, the columns are i, f, c, o.
    Keras,
    /// `CuDNNLSTM` of Keras: kernels transposed gate by gate, and two biases.
    KerasCudnn,
    /// An LSTM by its graph or by the user's word, under a name of its own.
    Named,
}

impl CellKind {
    /// Every class.
    pub const ALL: [CellKind; 14] = [
        CellKind::BasicLstm,
        CellKind::Lstm,
        CellKind::LstmBlock,
        CellKind::LstmBlockFused,
        CellKind::CudnnCompatible,
        CellKind::LayerNormBasicLstm,
        CellKind::LayerNormLstm,
        CellKind::CoupledInputForgetGate,
        CellKind::WeightNorm,
        CellKind::Indy,
        CellKind::Grouped,
        CellKind::Keras,
        CellKind::KerasCudnn,
        CellKind::Named,
    ];

    /// The class that TensorFlow calls so, as [`as_str`](Self::as_str) writes it.
    pub fn from_class(name: &str) -> Option<CellKind> {
        CellKind::ALL.into_iter().find(|k| k.as_str() == name)
    }

    /// How many gates lie side by side in the kernel.
    pub(super) fn gates(self) -> usize {
        if self == CellKind::CoupledInputForgetGate { 3 } else { 4 }
    }

    /// A layer of Keras.
    pub fn is_keras(self) -> bool {
        matches!(self, CellKind::Keras | CellKind::KerasCudnn)
    }

    /// The TensorFlow class.
    pub fn as_str(self) -> &'static str {
        match self {
            CellKind::BasicLstm => "BasicLSTMCell",
            CellKind::Lstm => "LSTMCell",
            CellKind::LstmBlock => "LSTMBlockCell",
            CellKind::LstmBlockFused => "LSTMBlockFusedCell",
            CellKind::CudnnCompatible => "CudnnCompatibleLSTMCell",
            CellKind::LayerNormBasicLstm => "LayerNormBasicLSTMCell",
            CellKind::LayerNormLstm => "LayerNormLSTMCell",
            CellKind::CoupledInputForgetGate => "CoupledInputForgetGateLSTMCell",
            CellKind::WeightNorm => "WeightNormLSTMCell",
            CellKind::Indy => "IndyLSTMCell",
            CellKind::Grouped => "GLSTMCell",
            CellKind::Keras => "tf.keras LSTM",
            CellKind::KerasCudnn => "tf.keras CuDNNLSTM",
            CellKind::Named => "LSTM",
        }
    }

    /// From the last component of a cell's scope, `_1` and the like removed.
    pub(super) fn from_scope(component: &str) -> Option<CellKind> {
        Some(match without_number(component) {
            "basic_lstm_cell" | "BasicLSTMCell" => CellKind::BasicLstm,
            "lstm_cell" | "LSTMCell" => CellKind::Lstm,
            "lstm_block_cell" | "LSTMBlockCell" => CellKind::LstmBlock,
            "lstm_fused_cell" | "lstm_block_wrapper" | "LSTMBlockFusedCell" => CellKind::LstmBlockFused,
            "cudnn_compatible_lstm_cell" => CellKind::CudnnCompatible,
            "layer_norm_basic_lstm_cell" | "LayerNormBasicLSTMCell" => CellKind::LayerNormBasicLstm,
            "layer_norm_lstm_cell" | "LayerNormLSTMCell" => CellKind::LayerNormLstm,
            "coupled_input_forget_gate_lstm_cell" | "CoupledInputForgetGateLSTMCell" => {
                CellKind::CoupledInputForgetGate
            }
            "wn_lstm_cell" => CellKind::WeightNorm,
            "indy_lstm_cell" => CellKind::Indy,
            "glstm_cell" | "GLSTMCell" => CellKind::Grouped,
            _ => return None,
        })
    }
}

/// A class with its article, as it is spoken.
pub(super) fn a(class: &str) -> String {
    // Those that begin with a vowel's sound: an LSTMCell, an IndyLSTMCell, but a GLSTMCell.
    let vowel = class.starts_with("LSTM") || class.starts_with(['A', 'E', 'I', 'O']);
    format!("{} {class}", if vowel { "an" } else { "a" })
}

impl fmt::Display for CellKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
