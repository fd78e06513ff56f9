//! From the variables of a found cell to its weights.

use ndarray::{Array1, Array2};
use tf_checkpoint::{DType, Tensor};
use thiserror::Error;

use super::kinds::a;
use super::{CellKind, FoundCell};
use crate::{Activation, CellError, ExactWeights, Tf1Cell, forms, gate_order};

/// A cell's variables could not be made into weights.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The checkpoint could not deliver a variable.
    #[error(transparent)]
    Read(#[from] tf_checkpoint::Error),
    /// Weights that are not floating-point numbers.
    #[error("tensor {name} is {dtype}: an LSTM's weights are float16, bfloat16, float32 or float64")]
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
    /// A float64 weight is beyond float32, which lanes and Keras compute in.
    #[error("tensor {name} holds {value:e} at element {first}, which float32 cannot hold")]
    TooLarge {
        /// The variable.
        name: String,
        /// The first such value.
        value: f64,
        /// Where it is, counted in row-major order.
        first: usize,
    },
    /// The weights do not fit together.
    #[error("{cell}: its arrays do not fit together")]
    Cell {
        /// The cell.
        cell: String,
        /// What does not fit.
        source: CellError,
    },
    /// A variable that such a cell has was not found.
    #[error("{cell} is {} without {role}", a(kind))]
    Missing {
        /// The cell.
        cell: String,
        /// Its class.
        kind: &'static str,
        /// What is missing.
        role: String,
    },
    /// The cell computes something that neither lane nor oracle runs.
    #[error("{cell} is {} {what}, which gatewise does not run", a(kind))]
    Unsupported {
        /// The cell.
        cell: String,
        /// Its class.
        kind: &'static str,
        /// What it does.
        what: String,
    },
}

/// What `layer_norm` of `tensorflow/contrib/layers/python/layers/layers.py` adds to a variance.
fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::Float16 { 1e-3 } else { 1e-12 }
}

/// Reads the weights of `found` through `read`, and brings those of cells with variables of their own
/// ([`forms`]) into the form of the fused kernel.
///
/// float16 and bfloat16 are widened, which loses nothing. float64 weights, and weights computed from others, are held in
/// [`Tf1Cell::exact`] and rounded to f32 beside it; [`Tf1Cell::rounding`] tells what that changed.
///
/// # Errors
/// If a variable cannot be read, is not floating point, or does not fit the others.
pub fn load(
    found: &FoundCell,
    read: impl FnMut(&str) -> Result<Tensor, tf_checkpoint::Error>,
) -> Result<Tf1Cell, LoadError> {
    let mut reader = Reader { found, read };
    let (input, units) = (found.input_size, found.units);
    let recurrent = found.projection.unwrap_or(units);
    let projection = reader.projection()?;
    let kernel_keys = &found.variables.kernel;
    let first = kernel_keys.first().ok_or_else(|| reader.missing("a kernel"))?;
    let dtype = (reader.read)(first)?.dtype();

    let mut weights = match found.kind {
        CellKind::CoupledInputForgetGate => {
            let kernel = reader.rows(kernel_keys, "kernel", [input + recurrent, 3 * units])?;
            let forget = reader.extra("W_F_diag").map(|name| reader.vector(name, units)).transpose()?;
            let output = reader.extra("W_O_diag").map(|name| reader.vector(name, units)).transpose()?;
            let diagonals = forget.zip(output).map(<[_; 2]>::from);
            if found.layer_norm {
                let norms = reader.norms(["transform", "forget", "output", "state"])?;
                forms::coupled_normalised(&kernel, diagonals, norms, found.forget_bias.value)
            } else {
                forms::coupled(&kernel, &reader.bias(3 * units)?, diagonals, found.forget_bias.value)
            }
        }
        CellKind::Indy => {
            let of_input = reader.rows(kernel_keys, "kernel", [input, 4 * units])?;
            let of_output = reader.vector(reader.role("kernel_u")?, 4 * units)?;
            plain(forms::independent(&of_input, &of_output), reader.bias(4 * units)?)
        }
        CellKind::Grouped => {
            if found.activation.value != Activation::Tanh {
                // `call` applies `math_ops.tanh` to the candidate, and `self._activation` to the output alone.
                let what = format!("with {} for its output and tanh for its candidate", found.activation.value);
                return Err(reader.unsupported(what));
            }
            let count = kernel_keys.len();
            let shape = [(input + recurrent) / count, 4 * units / count];
            let groups: Vec<Array2<f64>> =
                kernel_keys.iter().map(|name| reader.matrix(name, shape)).collect::<Result<_, _>>()?;
            let whole = [input, recurrent, units].iter().all(|width| width.is_multiple_of(count));
            if !whole {
                return Err(reader.unsupported(format!("of {count} groups that do not divide its widths")));
            }
            let mut bias = vec![];
            for gate in ["bias_i", "bias_j", "bias_f", "bias_o"] {
                bias.extend(reader.vector(reader.role(gate)?, units)?);
            }
            plain(forms::grouped(&groups, input, recurrent, units), Array1::from_vec(bias))
        }
        CellKind::WeightNorm => {
            let mut kernel = reader.rows(kernel_keys, "kernel", [input + recurrent, 4 * units])?;
            if let Some(norm) = reader.extra("norm_0") {
                let norms = [reader.vector(norm, 4 * units)?, reader.vector(reader.role("norm_1")?, 4 * units)?];
                kernel = forms::weight_normalised(&kernel, input, norms.each_ref());
            }
            plain(kernel, reader.bias(4 * units)?)
        }
        CellKind::KerasCudnn => {
            let kernel = reader.rows(kernel_keys, "kernel", [input + units, 4 * units])?;
            let biases =
                reader.vector(found.variables.bias.as_ref().ok_or_else(|| reader.missing("a bias"))?, 8 * units)?;
            let (kernel, bias) = forms::cudnn_layer(&kernel, &biases, input);
            let order = |a: Array2<f64>| gate_order::reorder(a.view(), found.columns, gate_order::TF1);
            plain(order(kernel), gate_order::reorder(bias.view(), found.columns, gate_order::TF1))
        }
        _ => {
            let kernel = reader.rows(kernel_keys, "kernel", [input + recurrent, 4 * units])?;
            let bias = match found.variables.bias {
                // What such a cell has in place of a bias comes after the normalisation.
                None if found.layer_norm => Array1::zeros(4 * units),
                // `use_bias=False`
                None if found.kind == CellKind::Keras => Array1::zeros(4 * units),
                _ => reader.bias(4 * units)?,
            };
            let (kernel, bias) = match found.columns {
                gate_order::TF1 => (kernel, bias),
                order => (
                    gate_order::reorder(kernel.view(), order, gate_order::TF1),
                    gate_order::reorder(bias.view(), order, gate_order::TF1),
                ),
            };
            let layer_norm = if found.layer_norm { Some(reader.layer_norm()?) } else { None };
            ExactWeights { layer_norm, ..plain(kernel, bias) }
        }
    };
    weights.projection = projection;
    if let Some(names) = &found.variables.peepholes {
        let [i, f, o] = names;
        weights.peepholes = Some([reader.vector(i, units)?, reader.vector(f, units)?, reader.vector(o, units)?]);
    }

    let mut cell = Tf1Cell {
        kernel: Array2::zeros((0, 0)),
        bias: Array1::zeros(0),
        forget_bias: found.forget_bias.value,
        activation: found.activation.value,
        recurrent_activation: found.recurrent_activation.value,
        peepholes: None,
        projection: None,
        cell_clip: found.cell_clip.map(|f| f.value),
        projection_clip: found.projection_clip.map(|f| f.value),
        layer_norm: None,
        exact: None,
    };
    cell.hold(weights, epsilon(dtype));
    cell.check().map_err(|source| LoadError::Cell { cell: found.name.clone(), source })?;
    Ok(cell)
}

/// A cell of kernel and bias.
fn plain(kernel: Array2<f64>, bias: Array1<f64>) -> ExactWeights {
    ExactWeights { kernel, bias, peepholes: None, projection: None, layer_norm: None }
}

/// Reads variables in f64.
struct Reader<'a, F> {
    found: &'a FoundCell,
    read: F,
}

impl<'a, F: FnMut(&str) -> Result<Tensor, tf_checkpoint::Error>> Reader<'a, F> {
    fn values(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f64>), LoadError> {
        let tensor = (self.read)(name)?;
        let is_float = matches!(tensor.dtype(), DType::Float16 | DType::BFloat16 | DType::Float32 | DType::Float64);
        let Some(values) = tensor.to_f64().filter(|_| is_float) else {
            return Err(LoadError::Type { name: name.to_owned(), dtype: tensor.dtype().to_string() });
        };
        let bad = |v: &f64| !v.is_finite();
        if let Some(first) = values.iter().position(bad) {
            let count = values.iter().filter(|v| bad(v)).count();
            return Err(LoadError::NonFinite { name: name.to_owned(), count, first });
        }
        if let Some(first) = values.iter().position(|v| !(*v as f32).is_finite()) {
            return Err(LoadError::TooLarge { name: name.to_owned(), value: values[first], first });
        }
        Ok((tensor.shape().to_vec(), values))
    }

    fn misfit(&self, tensor: &'static str, found: Vec<usize>, expected: Vec<usize>) -> LoadError {
        let source = CellError::Shape { tensor, found, expected, units: self.found.units };
        LoadError::Cell { cell: self.found.name.clone(), source }
    }

    fn matrix(&mut self, name: &str, [rows, columns]: [usize; 2]) -> Result<Array2<f64>, LoadError> {
        let (shape, values) = self.values(name)?;
        let fits = shape == [rows, columns];
        match Array2::from_shape_vec((rows, columns), values) {
            Ok(matrix) if fits => Ok(matrix),
            _ => Err(self.misfit("kernel", shape, vec![rows, columns])),
        }
    }

    /// A matrix whose rows may be spread over several variables.
    fn rows(
        &mut self,
        names: &[String],
        what: &'static str,
        [rows, columns]: [usize; 2],
    ) -> Result<Array2<f64>, LoadError> {
        let mut all = vec![];
        for name in names {
            // Row-major parts spread over the rows: their concatenation is the concatenation of their elements.
            all.extend(self.values(name)?.1);
        }
        let found = vec![all.len() / columns.max(1), columns];
        Array2::from_shape_vec((rows, columns), all).map_err(|_| self.misfit(what, found, vec![rows, columns]))
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Array1<f64>, LoadError> {
        let (shape, values) = self.values(name)?;
        // `kernel_u` of an Indy cell is `[1, 4·units]`.
        if values.len() == length {
            Ok(Array1::from_vec(values))
        } else {
            Err(self.misfit("vector", shape, vec![length]))
        }
    }

    fn bias(&mut self, length: usize) -> Result<Array1<f64>, LoadError> {
        match &self.found.variables.bias {
            Some(name) => self.vector(name, length),
            None => Err(self.missing("a bias")),
        }
    }

    fn projection(&mut self) -> Result<Option<Array2<f64>>, LoadError> {
        let Some(width) = self.found.projection else { return Ok(None) };
        let projection = self.rows(&self.found.variables.projection, "projection", [self.found.units, width])?;
        Ok(Some(match self.extra("projection/norm_0") {
            Some(norm) => forms::normalised_columns(projection.view(), &self.vector(norm, width)?),
            None => projection,
        }))
    }

    /// Gamma and beta of the gates i, j, f, o and of the state.
    fn layer_norm(&mut self) -> Result<[[Array1<f64>; 2]; 5], LoadError> {
        self.norms(["input", "transform", "forget", "output", "state"])
    }

    /// Gamma and beta in each of these scopes.
    fn norms<const N: usize>(&mut self, scopes: [&str; N]) -> Result<[[Array1<f64>; 2]; N], LoadError> {
        let units = self.found.units;
        let mut norms: [[Array1<f64>; 2]; N] = std::array::from_fn(|_| Default::default());
        for (norm, scope) in norms.iter_mut().zip(scopes) {
            for (vector, which) in norm.iter_mut().zip(["gamma", "beta"]) {
                // Their names are fixed: where detection did not list them, they are in the cell's scope.
                let role = format!("{scope}/{which}");
                let name = self.extra(&role).map_or_else(|| format!("{}/{role}", self.found.name), str::to_owned);
                *vector = self.vector(&name, units)?;
            }
        }
        Ok(norms)
    }

    fn extra(&self, role: &str) -> Option<&'a str> {
        self.found.variables.extra.get(role).map(String::as_str)
    }

    fn role(&self, role: &str) -> Result<&'a str, LoadError> {
        self.extra(role).ok_or_else(|| self.missing(role))
    }

    fn missing(&self, role: &str) -> LoadError {
        LoadError::Missing { cell: self.found.name.clone(), kind: self.found.kind.as_str(), role: role.to_owned() }
    }

    fn unsupported(&self, what: String) -> LoadError {
        LoadError::Unsupported { cell: self.found.name.clone(), kind: self.found.kind.as_str(), what }
    }
}
