//! One LSTM cell as TensorFlow 1.x stores it, and as Keras does.

use std::borrow::Cow;
use std::fmt;

use ndarray::{Array1, Array2};
use thiserror::Error;

use crate::Activation;

/// The weights of a cell do not fit together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CellError {
    /// The number of columns cannot be split into four gates.
    #[error(
        "kernel is [{rows}, {columns}]: an LSTM kernel has 4 x units columns, and {columns} is not a multiple of 4"
    )]
    Columns {
        /// Rows of the kernel.
        rows: usize,
        /// Columns of the kernel.
        columns: usize,
    },
    /// The rows leave no room for an input beside the recurrent part.
    #[error(
        "kernel is [{rows}, {columns}]: {columns} columns mean {units} units, and {rows} rows leave no room for an input \
         beside {recurrent} {what}"
    )]
    NoInput {
        /// Rows of the kernel.
        rows: usize,
        /// Columns of the kernel.
        columns: usize,
        /// Units, a quarter of the columns.
        units: usize,
        /// Rows that belong to the recurrent part.
        recurrent: usize,
        /// What those rows are: `units` or `projected units`.
        what: &'static str,
    },
    /// A tensor beside the kernel has the wrong shape.
    #[error("{tensor} is {found:?}: expected {expected:?} beside a kernel of {units} units")]
    Shape {
        /// Which tensor.
        tensor: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape the kernel calls for.
        expected: Vec<usize>,
        /// Units of the kernel.
        units: usize,
    },
}

/// Diagonal weights from the cell state to three gates, each `[units]`. The output gate sees the new state.
#[derive(Clone, Debug, PartialEq)]
pub struct Peepholes {
    /// To the input gate.
    pub input: Array1<f32>,
    /// To the forget gate.
    pub forget: Array1<f32>,
    /// To the output gate.
    pub output: Array1<f32>,
}

/// An LSTM cell of TensorFlow 1.x: one fused kernel, and a forget bias that is added at run time.
///
/// ```text
/// [i j f o] = [x, m] · kernel + bias
/// c' = σ(f + forget_bias + p_f ⊙ c) ⊙ c + σ(i + p_i ⊙ c) ⊙ φ(j)      then clipped to ± cell_clip
/// m' = σ(o + p_o ⊙ c') ⊙ φ(c')                                       then · projection, clipped to ± projection_clip
/// ```
///
/// With layer normalisation each of i, j, f, o is normalised before anything is added to it, and c' before it is clipped.
///
/// Source: `tensorflow/python/ops/rnn_cell_impl.py` (1.15), `BasicLSTMCell.call` and `LSTMCell.call`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tf1Cell {
    /// `[input + recurrent, 4·units]`, columns i, j, f, o; input rows first.
    pub kernel: Array2<f32>,
    /// `[4·units]`, columns i, j, f, o; the forget bias is not in it.
    pub bias: Array1<f32>,
    /// Added to the forget gate before the sigmoid.
    pub forget_bias: f32,
    /// φ, for the candidate and for the output.
    pub activation: Activation,
    /// σ, for the three gates: the logistic sigmoid in every cell of TensorFlow's own, often hard sigmoid in one that
    /// tf.keras stored.
    pub recurrent_activation: Activation,
    /// Diagonal connections from the cell state, if the cell has them.
    pub peepholes: Option<Peepholes>,
    /// `[units, projected]`, if the output is projected.
    pub projection: Option<Array2<f32>>,
    /// The cell state is clipped to ± this.
    pub cell_clip: Option<f32>,
    /// The projected output is clipped to ± this.
    pub projection_clip: Option<f32>,
    /// Layer normalisation of the gates and of the new state, if the cell has it.
    pub layer_norm: Option<LayerNorm>,
    /// The weights in f64 where f32 does not hold them: those of a float64 checkpoint, or computed from others.
    pub exact: Option<Box<ExactWeights>>,
}

/// What `LayerNormBasicLSTMCell` learns beside its kernel: `gamma ⊙ (v − mean) / √(variance + epsilon) + beta`, over the
/// units of each sequence and step.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Of the gates i, j, f, o, before the forget bias and the activations.
    pub gates: [Norm; 4],
    /// Of the new cell state, before it is kept and shown.
    pub state: Norm,
    /// Added to the variance: 1e-12, and 1e-3 for float16 (`tensorflow/contrib/layers/python/layers/layers.py`).
    pub epsilon: f64,
}

/// One normalisation's weights, each `[units]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Scale.
    pub gamma: Array1<f32>,
    /// Shift.
    pub beta: Array1<f32>,
}

/// A cell's weights before they were rounded to f32, in the shapes of [`Tf1Cell`].
#[derive(Clone, Debug, PartialEq)]
pub struct ExactWeights {
    /// `[input + recurrent, 4·units]`, columns i, j, f, o.
    pub kernel: Array2<f64>,
    /// `[4·units]`, columns i, j, f, o.
    pub bias: Array1<f64>,
    /// To the input, forget and output gate, each `[units]`.
    pub peepholes: Option<[Array1<f64>; 3]>,
    /// `[units, projected]`.
    pub projection: Option<Array2<f64>>,
    /// Gamma and beta of the gates i, j, f, o and of the state, each `[units]`.
    pub layer_norm: Option<[[Array1<f64>; 2]; 5]>,
}

impl ExactWeights {
    /// Every weight, in a fixed order.
    fn iter(&self) -> impl Iterator<Item = &f64> {
        let vectors = self.peepholes.iter().flatten().chain(self.layer_norm.iter().flatten().flatten());
        self.kernel.iter().chain(&self.bias).chain(self.projection.iter().flatten()).chain(vectors.flatten())
    }
}

/// What rounding a cell's weights to f32 changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Weights of the cell.
    pub weights: usize,
    /// Those that f32 does not hold.
    pub changed: usize,
    /// The largest change, as a share of the weight: at most 2⁻²⁴ but for weights near zero or near the largest f32.
    pub largest_relative: f64,
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changed == 0 {
            return f.write_str("held exactly");
        }
        write!(
            f,
            "{} of {} weights rounded to float32: largest relative change {:.1e}",
            self.changed, self.weights, self.largest_relative
        )
    }
}

impl Tf1Cell {
    /// A plain cell: no peepholes, projection or clipping, tanh, forget bias 1.0 as every TensorFlow cell defaults to.
    ///
    /// # Errors
    /// If the shapes do not describe an LSTM cell.
    pub fn new(kernel: Array2<f32>, bias: Array1<f32>) -> Result<Tf1Cell, CellError> {
        let cell = Tf1Cell {
            kernel,
            bias,
            forget_bias: 1.0,
            activation: Activation::Tanh,
            recurrent_activation: Activation::Sigmoid,
            peepholes: None,
            projection: None,
            cell_clip: None,
            projection_clip: None,
            layer_norm: None,
            exact: None,
        };
        cell.check()?;
        Ok(cell)
    }

    /// The weights in f64: [`exact`](Self::exact) where they are held so, else the f32 ones widened.
    pub fn weights(&self) -> Cow<'_, ExactWeights> {
        if let Some(exact) = &self.exact {
            return Cow::Borrowed(exact);
        }
        let wide = |vector: &Array1<f32>| vector.mapv(f64::from);
        let norms = |norm: &LayerNorm| {
            let [i, j, f, o] = &norm.gates;
            [i, j, f, o, &norm.state].map(|n| [wide(&n.gamma), wide(&n.beta)])
        };
        Cow::Owned(ExactWeights {
            kernel: self.kernel.mapv(f64::from),
            bias: wide(&self.bias),
            peepholes: self.peepholes.as_ref().map(|p| [wide(&p.input), wide(&p.forget), wide(&p.output)]),
            projection: self.projection.as_ref().map(|p| p.mapv(f64::from)),
            layer_norm: self.layer_norm.as_ref().map(norms),
        })
    }

    /// Holds these weights: exactly where f32 does not hold every one of them, and rounded to f32 in the fields, which
    /// is what lanes and conversion read. `epsilon` is that of a layer-normalised cell.
    pub fn hold(&mut self, weights: ExactWeights, epsilon: f64) {
        let narrow = |vector: &Array1<f64>| vector.mapv(|v| v as f32);
        let norm = |[gamma, beta]: &[Array1<f64>; 2]| Norm { gamma: narrow(gamma), beta: narrow(beta) };
        self.kernel = weights.kernel.mapv(|v| v as f32);
        self.bias = narrow(&weights.bias);
        self.peepholes = weights.peepholes.as_ref().map(|[input, forget, output]| Peepholes {
            input: narrow(input),
            forget: narrow(forget),
            output: narrow(output),
        });
        self.projection = weights.projection.as_ref().map(|p| p.mapv(|v| v as f32));
        self.layer_norm = weights.layer_norm.as_ref().map(|[i, j, f, o, state]| LayerNorm {
            gates: [norm(i), norm(j), norm(f), norm(o)],
            state: norm(state),
            epsilon,
        });
        self.exact = None;
        if *self.weights() != weights {
            self.exact = Some(Box::new(weights));
        }
    }

    /// What rounding the weights to f32 changed: nothing where [`exact`](Self::exact) is `None`.
    pub fn rounding(&self) -> Rounding {
        let weights = self.weights();
        let mut rounding = Rounding { weights: 0, changed: 0, largest_relative: 0.0 };
        for weight in weights.iter() {
            let change = (weight - f64::from(*weight as f32)).abs();
            rounding.weights += 1;
            if change > 0.0 {
                rounding.changed += 1;
                rounding.largest_relative = rounding.largest_relative.max(change / weight.abs());
            }
        }
        rounding
    }

    /// Checks that all shapes fit together; to be called after a field was changed by hand.
    ///
    /// # Errors
    /// If they do not.
    pub fn check(&self) -> Result<(), CellError> {
        let (rows, columns) = self.kernel.dim();
        if columns == 0 || columns % 4 != 0 {
            return Err(CellError::Columns { rows, columns });
        }
        let units = columns / 4;
        let shape = |tensor, found: &[usize], expected: Vec<usize>| {
            if found == expected {
                Ok(())
            } else {
                Err(CellError::Shape { tensor, found: found.to_vec(), expected, units })
            }
        };
        shape("bias", self.bias.shape(), vec![columns])?;
        if let Some(p) = &self.projection {
            shape("projection", p.shape(), vec![units, p.ncols().max(1)])?;
        }
        if let Some(p) = &self.peepholes {
            shape("peephole of the input gate", p.input.shape(), vec![units])?;
            shape("peephole of the forget gate", p.forget.shape(), vec![units])?;
            shape("peephole of the output gate", p.output.shape(), vec![units])?;
        }
        if let Some(norm) = &self.layer_norm {
            for part in norm.gates.iter().chain([&norm.state]) {
                shape("gamma of a normalisation", part.gamma.shape(), vec![units])?;
                shape("beta of a normalisation", part.beta.shape(), vec![units])?;
            }
        }
        if let Some(exact) = &self.exact {
            shape("the exact kernel", exact.kernel.shape(), vec![rows, columns])?;
            shape("the exact bias", exact.bias.shape(), vec![columns])?;
            let parts = |p: bool, q: bool, n: bool| [p, q, n].map(usize::from);
            let held = parts(exact.peepholes.is_some(), exact.projection.is_some(), exact.layer_norm.is_some());
            let own = parts(self.peepholes.is_some(), self.projection.is_some(), self.layer_norm.is_some());
            shape("exact peepholes, projection, normalisation: how many", &held, own.to_vec())?;
        }
        let recurrent = self.recurrent_size();
        if rows <= recurrent {
            let what = if self.projection.is_some() { "projected units" } else { "units" };
            return Err(CellError::NoInput { rows, columns, units, recurrent, what });
        }
        Ok(())
    }

    /// Width of the cell state.
    pub fn units(&self) -> usize {
        self.kernel.ncols() / 4
    }

    /// Width of the output, which is also the recurrent input: `projected` with a projection, else `units`.
    pub fn recurrent_size(&self) -> usize {
        self.projection.as_ref().map_or(self.units(), Array2::ncols)
    }

    /// Width of the input.
    pub fn input_size(&self) -> usize {
        self.kernel.nrows() - self.recurrent_size()
    }
}

/// An LSTM layer of Keras: kernels apart, forget bias inside the bias; and the dense layer after it, if it has one.
///
/// ```text
/// [i f c̃ o] = x · kernel + h · recurrent_kernel + bias
/// c' = ρ(f) ⊙ c + ρ(i) ⊙ φ(c̃)
/// h' = ρ(o) ⊙ φ(c')                    fed back as it is; what the next layer reads is h' · output_projection
/// ```
///
/// Source: `tf_keras/layers/rnn/lstm.py`, `keras/src/layers/rnn/lstm.py`.
#[derive(Clone, Debug, PartialEq)]
pub struct KerasCell {
    /// `[input, 4·units]`, columns i, f, c, o.
    pub kernel: Array2<f32>,
    /// `[units, 4·units]`, columns i, f, c, o.
    pub recurrent_kernel: Array2<f32>,
    /// `[4·units]`, columns i, f, c, o; zeros for a layer without bias.
    pub bias: Array1<f32>,
    /// φ, for the candidate and for the output.
    pub activation: Activation,
    /// ρ, for the three gates.
    pub recurrent_activation: Activation,
    /// The layer reads its input last step first, and returns outputs in that order.
    pub go_backwards: bool,
    /// `[units, projected]`: the kernel of a dense layer without bias or activation that follows, one step at a time.
    /// Unlike a [`Tf1Cell::projection`] it is outside of the recurrence.
    pub output_projection: Option<Array2<f32>>,
}

impl KerasCell {
    /// A layer with Keras 2's and 3's default activations.
    ///
    /// # Errors
    /// If the shapes do not describe an LSTM layer.
    pub fn new(kernel: Array2<f32>, recurrent_kernel: Array2<f32>, bias: Array1<f32>) -> Result<KerasCell, CellError> {
        let (rows, columns) = kernel.dim();
        if columns == 0 || columns % 4 != 0 {
            return Err(CellError::Columns { rows, columns });
        }
        let units = columns / 4;
        if rows == 0 {
            return Err(CellError::Shape {
                tensor: "kernel",
                found: vec![rows, columns],
                expected: vec![1, columns],
                units,
            });
        }
        if recurrent_kernel.dim() != (units, columns) {
            let found = recurrent_kernel.shape().to_vec();
            return Err(CellError::Shape { tensor: "recurrent_kernel", found, expected: vec![units, columns], units });
        }
        if bias.len() != columns {
            return Err(CellError::Shape { tensor: "bias", found: vec![bias.len()], expected: vec![columns], units });
        }
        Ok(KerasCell {
            kernel,
            recurrent_kernel,
            bias,
            activation: Activation::Tanh,
            recurrent_activation: Activation::Sigmoid,
            go_backwards: false,
            output_projection: None,
        })
    }

    /// Width of the state, and of the output before it is projected.
    pub fn units(&self) -> usize {
        self.kernel.ncols() / 4
    }

    /// Width of what the next layer reads.
    pub fn output_size(&self) -> usize {
        self.output_projection.as_ref().map_or(self.units(), Array2::ncols)
    }

    /// Width of the input.
    pub fn input_size(&self) -> usize {
        self.kernel.nrows()
    }

    /// Whether a layer that names this one's activations computes them in the Keras of that major version.
    pub fn means_itself_in(&self, keras_major: u32) -> bool {
        self.unlike_in(keras_major).is_none()
    }

    /// The activation for whose name the Keras of that major version computes another function.
    pub fn unlike_in(&self, keras_major: u32) -> Option<Activation> {
        let both = [self.activation, self.recurrent_activation];
        both.into_iter().find(|f| Activation::from_keras(f.keras_name(), keras_major) != Some(*f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_rows_for_an_input_is_refused_in_words() {
        let error = Tf1Cell::new(Array2::zeros((100, 400)), Array1::zeros(400)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernel is [100, 400]: 400 columns mean 100 units, and 100 rows leave no room for an input beside 100 units"
        );
    }

    #[test]
    fn sizes_follow_from_kernel_and_projection() {
        let mut cell = Tf1Cell::new(Array2::zeros((13, 32)), Array1::zeros(32)).unwrap();
        assert_eq!((cell.units(), cell.input_size(), cell.recurrent_size()), (8, 5, 8));
        cell.projection = Some(Array2::zeros((8, 4)));
        cell.check().unwrap();
        assert_eq!((cell.units(), cell.input_size(), cell.recurrent_size()), (8, 9, 4));
    }

    #[test]
    fn what_f32_does_not_hold_is_kept_beside_it() {
        let mut cell = Tf1Cell::new(Array2::zeros((3, 8)), Array1::zeros(8)).unwrap();
        let mut weights = cell.weights().into_owned();
        weights.kernel[[1, 2]] = 0.5;
        cell.hold(weights.clone(), 0.0);
        assert_eq!((cell.kernel[[1, 2]], &cell.exact), (0.5, &None), "one half needs no more than f32");
        weights.kernel[[1, 2]] = 0.1;
        cell.hold(weights.clone(), 0.0);
        assert_eq!(cell.kernel[[1, 2]], 0.1);
        let rounding = cell.rounding();
        assert_eq!((rounding.weights, rounding.changed), (3 * 8 + 8, 1));
        assert_eq!(rounding.to_string(), "1 of 32 weights rounded to float32: largest relative change 1.5e-8");
        assert_eq!(*cell.weights(), weights, "one tenth does");
        cell.check().unwrap();
        cell.exact.as_mut().unwrap().kernel = Array2::zeros((2, 8));
        assert!(matches!(cell.check(), Err(CellError::Shape { tensor: "the exact kernel", .. })));
    }

    #[test]
    fn misshapen_tensors_are_refused() {
        assert!(matches!(Tf1Cell::new(Array2::zeros((13, 33)), Array1::zeros(33)), Err(CellError::Columns { .. })));
        assert!(matches!(Tf1Cell::new(Array2::zeros((13, 0)), Array1::zeros(0)), Err(CellError::Columns { .. })));
        assert!(matches!(Tf1Cell::new(Array2::zeros((13, 32)), Array1::zeros(31)), Err(CellError::Shape { .. })));
        let keras = |k, u, b| KerasCell::new(Array2::zeros(k), Array2::zeros(u), Array1::zeros(b));
        assert!(keras((5, 32), (8, 32), 32).is_ok());
        assert!(matches!(keras((5, 32), (7, 32), 32), Err(CellError::Shape { tensor: "recurrent_kernel", .. })));
        assert!(matches!(keras((5, 32), (8, 32), 64), Err(CellError::Shape { tensor: "bias", .. })));
    }
}
