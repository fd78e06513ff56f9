//! Finds recurrent cells among the weight names of a legacy file, and reads them.

use std::collections::{HashMap, HashSet};

use crate::error::Problem;
use crate::hdf5::Node;
use crate::keras1;
use crate::layer::{Lstm, LstmConfig, OtherArray, Place, Stored};
use crate::slot::{Half, Role};

/// The weights of an LSTM, GRU or SimpleRNN.
#[derive(Debug)]
pub(crate) struct Cell {
    parent: String,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    /// `kernel`, `recurrent_kernel` and perhaps `bias` under one parent, and nothing else there.
    Keras2 {
        kernel: String,
        recurrent_kernel: String,
        bias: Option<String>,
    },
    Keras1(keras1::Names),
}

/// Sorts the weights of a layer into cells, in order of appearance, and the names left over.
pub(crate) fn split_cells(weight_names: &[String]) -> (Vec<Cell>, Vec<String>) {
    let mut cells: Vec<(usize, Cell)> = Vec::new();
    for (parent, first, names) in keras1::find(weight_names) {
        cells.push((first, Cell { parent, weights: Weights::Keras1(names) }));
    }
    let old: HashSet<String> = cells.iter().flat_map(|(_, cell)| cell.weights().cloned()).collect();
    let mut parents: Vec<(&str, usize, Vec<&String>)> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (position, name) in weight_names.iter().enumerate().filter(|(_, n)| !old.contains(*n)) {
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        let at = *index.entry(parent).or_insert(parents.len());
        match parents.get_mut(at) {
            Some((_, _, names)) => names.push(name),
            None => parents.push((parent, position, vec![name])),
        }
    }
    let mut rest = Vec::new();
    for (parent, first, names) in parents {
        match Cell::of(parent, &names) {
            Some(cell) => cells.push((first, cell)),
            None => rest.extend(names.into_iter().cloned()),
        }
    }
    cells.sort_by_key(|(first, _)| *first);
    (cells.into_iter().map(|(_, cell)| cell).collect(), rest)
}

impl Cell {
    fn of(parent: &str, names: &[&String]) -> Option<Self> {
        let find = |role: &str| {
            let mut with_role = names.iter().filter(|n| role_of(n) == role);
            let first = with_role.next()?;
            with_role.next().is_none().then(|| (*first).clone())
        };
        let weights = Weights::Keras2 {
            kernel: find("kernel")?,
            recurrent_kernel: find("recurrent_kernel")?,
            bias: find("bias"),
        };
        let cell = Self { parent: parent.to_owned(), weights };
        (cell.weights().count() == names.len()).then_some(cell)
    }

    /// Path of the weights without their last part.
    pub(crate) fn parent(&self) -> &str {
        &self.parent
    }

    pub(crate) fn weights(&self) -> impl Iterator<Item = &String> {
        let (names, old) = match &self.weights {
            Weights::Keras2 { kernel, recurrent_kernel, bias } => {
                ([Some(kernel), Some(recurrent_kernel), bias.as_ref()], None)
            }
            Weights::Keras1(names) => ([None; 3], Some(names.all())),
        };
        names.into_iter().flatten().chain(old.into_iter().flatten())
    }

    /// Whether `name` is one of the parts of the path.
    pub(crate) fn has_component(&self, name: &str) -> bool {
        self.parent.split('/').any(|part| part == name)
    }

    /// Whether this is the forward half of a `Bidirectional` and `next` its backward half: Keras 2
    /// prefixes the names of the two layers.
    pub(crate) fn is_forward_of(&self, next: &Cell) -> bool {
        let halves = self.parent.split('/').zip(next.parent.split('/'));
        let mut differing = halves.skip_while(|(a, b)| a == b);
        differing.next().is_some_and(|(a, b)| a.starts_with("forward_") && b.starts_with("backward_"))
    }

    /// Whether the shapes, or else the names, say that this is meant to be an LSTM.
    pub(crate) fn is_lstm(&self, node: &Node<'_>) -> Result<bool, Problem> {
        // The cells of one RNN layer share its group; they are no layers.
        if self.has_component("stacked_rnn_cells") {
            return Ok(false);
        }
        let (kernel, recurrent, bias) = match &self.weights {
            Weights::Keras2 { kernel, recurrent_kernel, bias } => {
                let bias = bias.as_ref().map(|b| node.shape(b)).transpose()?;
                (node.shape(kernel)?, node.shape(recurrent_kernel)?, bias)
            }
            Weights::Keras1(names) => {
                let [kernel, recurrent, bias] = names.shapes(node)?;
                // Only an LSTM has these four gates, but ConvLSTM2D has them too, with four axes.
                if matches!(names, keras1::Names::PerGate(_)) {
                    return Ok(kernel.shape.len() == 2);
                }
                (kernel, recurrent, Some(bias))
            }
        };
        let name = format!("{}/{}", node.path(), self.parent).to_ascii_lowercase();
        let named = name.split('/').any(|part| part.contains("lstm") && !part.contains("conv"));
        Ok(named || shapes_say_lstm(&kernel, &recurrent, bias.as_ref()))
    }

    /// Reads and checks the arrays; the second value says where those lie that can be replaced. `layer` is for
    /// messages.
    pub(crate) fn read(
        &self,
        node: &Node<'_>,
        layer: &str,
        half: Half,
        config: Option<&LstmConfig>,
    ) -> Result<(Lstm, Vec<Place>), Problem> {
        let layer = format!("{layer}{}", half.suffix());
        let (kernel, recurrent_kernel, bias) = match &self.weights {
            Weights::Keras1(names) => return Ok((names.read(node, &layer, config)?, Vec::new())),
            Weights::Keras2 { kernel, recurrent_kernel, bias } => (kernel, recurrent_kernel, bias),
        };
        let lstm = Lstm {
            kernel: node.array(kernel)?,
            recurrent_kernel: node.array(recurrent_kernel)?,
            bias: bias.as_ref().map(|b| node.array(b)).transpose()?,
            config: config.cloned(),
            stored: Stored::Plain,
        };
        // As Keras 2 does, by the bias alone: it takes either layer's arrays for either class.
        if lstm.has_two_biases() {
            let lstm = lstm.into_plain(&layer)?;
            lstm.check(&layer)?;
            return Ok((lstm, Vec::new()));
        }
        lstm.check(&layer)?;
        let place = |role, name: &str, array: &crate::layer::Array| Place {
            half,
            role,
            dataset: node.path_of(name),
            shape: array.shape.clone(),
        };
        let mut places = vec![
            place(Role::Kernel, kernel, &lstm.kernel),
            place(Role::RecurrentKernel, recurrent_kernel, &lstm.recurrent_kernel),
        ];
        places.extend(bias.as_ref().zip(lstm.bias.as_ref()).map(|(name, array)| place(Role::Bias, name, array)));
        Ok((lstm, places))
    }
}

/// `a/b/kernel_1:0` is a `kernel`: TensorFlow 1 makes names unique with a number.
pub(crate) fn role_of(weight: &str) -> &str {
    let base = weight.rsplit_once('/').map_or(weight, |(_, base)| base);
    let base = base.split_once(':').map_or(base, |(base, _)| base);
    match base.rsplit_once('_') {
        Some((role, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => role,
        _ => base,
    }
}

/// Whether the arrays can only be an LSTM's: some axis is 4 or 8 times the units, counting the units from
/// the recurrent kernel's rows. A GRU has 3 times, a SimpleRNN once, a ConvLSTM2D four axes.
pub(crate) fn shapes_say_lstm(kernel: &OtherArray, recurrent: &OtherArray, bias: Option<&OtherArray>) -> bool {
    let ([_, kernel_columns], [units, recurrent_columns]) = (kernel.shape.as_slice(), recurrent.shape.as_slice())
    else {
        return false;
    };
    let gates = |extent: usize, n: usize| *units > 0 && units.checked_mul(n) == Some(extent);
    let bias = bias.and_then(|b| b.shape.last().copied()).unwrap_or(0);
    [*kernel_columns, *recurrent_columns, bias].into_iter().any(|extent| gates(extent, 4)) || gates(bias, 8)
}
