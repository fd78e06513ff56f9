//! From the variables of a found cell to its weights.

use ndarray::{Array1, Array2};
use tf_checkpoint::{DType, Tensor};
use thiserror::Error;

use super::FoundCell;
use crate::{CellError, Peepholes, Tf1Cell};

/// A cell's variables could not be made into weights.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The checkpoint could not deliver a variable.
    #[error(transparent)]
    Read(#[from] tf_checkpoint::Error),
    /// Weights of a type the lanes do not run.
    #[error(
        "tensor {name} is {dtype}: gatewise certifies float32 LSTMs, and rounding the weights first would hide what the rounding does"
    )]
    Type {
        /// The variable.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A weight is NaN or infinite.
    #[error("tensor {name} holds {count} value{} that {} not finite, first at element {first}: was the training diverging?", if *.count == 1 { "" } else { "s" }, if *.count == 1 { "is" } else { "are" })]
    NonFinite {
        /// The variable.
        name: String,
        /// How many.
        count: usize,
        /// The first, counted in row-major order.
        first: usize,
    },
    /// The weights do not fit together.
    #[error("{cell}: {source}")]
    Cell {
        /// The cell.
        cell: String,
        /// What does not fit.
        source: CellError,
    },
    /// The cell computes something that neither lane nor oracle runs.
    #[error("{cell} is a {kind}: it normalises its gates, which no Keras LSTM does and gatewise does not run")]
    LayerNorm {
        /// The cell.
        cell: String,
        /// Its class.
        kind: &'static str,
    },
}

/// Reads the weights of `found` through `read`.
///
/// # Errors
/// If a variable cannot be read, is not float32, or does not fit the others.
pub fn load(
    found: &FoundCell,
    mut read: impl FnMut(&str) -> Result<Tensor, tf_checkpoint::Error>,
) -> Result<Tf1Cell, LoadError> {
    if found.layer_norm {
        return Err(LoadError::LayerNorm { cell: found.name.clone(), kind: found.kind.as_str() });
    }
    let mut values = |name: &str| -> Result<(Vec<usize>, Vec<f32>), LoadError> {
        let tensor = read(name)?;
        match (tensor.dtype(), tensor.to_f32()) {
            (DType::Float32, Some(values)) => match values.iter().position(|v| !v.is_finite()) {
                None => Ok((tensor.shape().to_vec(), values)),
                Some(first) => {
                    let count = values.iter().filter(|v| !v.is_finite()).count();
                    Err(LoadError::NonFinite { name: name.to_owned(), count, first })
                }
            },
            (dtype, _) => Err(LoadError::Type { name: name.to_owned(), dtype: dtype.as_str().to_owned() }),
        }
    };
    let misfit = |tensor: &'static str, found_shape: Vec<usize>, expected: Vec<usize>| LoadError::Cell {
        cell: found.name.clone(),
        source: CellError::Shape { tensor, found: found_shape, expected, units: found.units },
    };

    let recurrent = found.projection.unwrap_or(found.units);
    let kernel_shape = (found.input_size + recurrent, 4 * found.units);
    let mut kernel = vec![];
    for name in &found.variables.kernel {
        // Row-major parts spread over the rows: their concatenation is the concatenation of their bytes.
        kernel.extend(values(name)?.1);
    }
    let rows = kernel.len() / kernel_shape.1.max(1);
    let kernel = Array2::from_shape_vec(kernel_shape, kernel)
        .map_err(|_| misfit("kernel", vec![rows, kernel_shape.1], vec![kernel_shape.0, kernel_shape.1]))?;
    let mut vector = |name: &str| values(name).map(|(_, v)| Array1::from_vec(v));
    let bias = match &found.variables.bias {
        Some(name) => vector(name)?,
        None => Array1::zeros(4 * found.units),
    };
    let peepholes = match &found.variables.peepholes {
        Some([i, f, o]) => Some(Peepholes { input: vector(i)?, forget: vector(f)?, output: vector(o)? }),
        None => None,
    };
    let projection = match &found.variables.projection {
        None => None,
        Some(name) => {
            let (shape, v) = values(name)?;
            let expected = (found.units, recurrent);
            Some(
                Array2::from_shape_vec(expected, v)
                    .map_err(|_| misfit("projection", shape, vec![expected.0, expected.1]))?,
            )
        }
    };
    let cell = Tf1Cell {
        kernel,
        bias,
        forget_bias: found.forget_bias.value,
        activation: found.activation.value,
        peepholes,
        projection,
        cell_clip: found.cell_clip.map(|f| f.value),
        projection_clip: found.projection_clip.map(|f| f.value),
        layer_norm: None,
        exact: None,
    };
    cell.check().map_err(|source| LoadError::Cell { cell: found.name.clone(), source })?;
    Ok(cell)
}
