//! What a map file may say: its tables and keys, and which of them exclude each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A map file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Map {
    /// LSTM cells, in the order in which they are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lstm: Vec<MappedLstm>,
    /// Layers of other classes that `convert --into` fills from the checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layer: Vec<MappedLayer>,
}

/// One LSTM cell: found by its name, or made of the variables given here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappedLstm {
    /// Its name in reports; without `kernel`, the name `gatewise inspect` gives it.
    pub(crate) name: String,
    /// The Keras layer it goes to; `bidirectional/forward` and `bidirectional/backward` are halves of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keras: Option<String>,
    /// The TensorFlow class, such as `LSTMCell`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cell: Option<String>,
    /// Cells of one network have the same word here; by default each is a network of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<String>,
    /// Depth in the network, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<usize>,
    /// `forward` or `backward`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) direction: Option<String>,
    /// A stack inside each direction instead of a stack of bidirectional layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stack_inside_directions: Option<bool>,
    /// On a layer of Keras: it reads its input last step first and gives its outputs in that order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) go_backwards: Option<bool>,
    /// Its input is added to its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) residual: Option<bool>,
    /// On the forward cell of two directions: `concat`, `sum`, `mul` or `ave`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) merge: Option<String>,
    /// The kernel, or the matrices whose rows make it, in row order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<OneOrMany>,
    /// The bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bias: Option<String>,
    /// The projection, or the matrices whose rows make it, in row order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) projection: Option<OneOrMany>,
    /// Added to the forget gate at run time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forget_bias: Option<f32>,
    /// Of candidate and output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) activation: Option<String>,
    /// The cell state is clipped to ± this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cell_clip: Option<f32>,
    /// The projected output is clipped to ± this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) projection_clip: Option<f32>,
    /// Peepholes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peepholes: Option<MappedPeepholes>,
    /// Other variables of the class, by role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) extra: BTreeMap<String, String>,
}

/// The variables of a cell's peepholes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappedPeepholes {
    /// To the input gate.
    pub(crate) input: String,
    /// To the forget gate.
    pub(crate) forget: String,
    /// To the output gate.
    pub(crate) output: String,
}

/// A layer that is no LSTM: Dense or Embedding.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct MappedLayer {
    /// The layer of the Keras file.
    pub(crate) keras: String,
    /// Variable of each of its arrays, by the array's role: `kernel`, `bias`, `embeddings`.
    #[serde(flatten)]
    pub(crate) arrays: BTreeMap<String, String>,
}

/// One name, or several.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn of(names: &[String]) -> Option<OneOrMany> {
        match names {
            [] => None,
            [one] => Some(OneOrMany::One(one.clone())),
            many => Some(OneOrMany::Many(many.to_vec())),
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<String> {
        match self {
            OneOrMany::One(name) => vec![name.clone()],
            OneOrMany::Many(names) => names.clone(),
        }
    }
}

/// Reads the text of a map file. The message says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Map, String> {
    let map: Map = toml::from_str(text).map_err(|e| e.to_string())?;
    if map.lstm.is_empty() && map.layer.is_empty() {
        return Err("it maps nothing: expected [[lstm]] or [[layer]] tables".to_owned());
    }
    let mut names: Vec<&String> = map.lstm.iter().map(|l| &l.name).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two [[lstm]] tables are named {:?}", pair[0]));
    }
    let mut layers: Vec<&String> =
        map.lstm.iter().filter_map(|l| l.keras.as_ref()).chain(map.layer.iter().map(|l| &l.keras)).collect();
    layers.sort();
    if let Some(pair) = layers.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two tables go to the Keras layer {:?}", pair[0]));
    }
    for lstm in &map.lstm {
        if lstm.kernel.is_none() && (lstm.bias.is_some() || lstm.projection.is_some() || !lstm.extra.is_empty()) {
            return Err(format!("[[lstm]] {:?} names other variables but no kernel", lstm.name));
        }
    }
    Ok(map)
}
