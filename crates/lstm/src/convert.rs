//! From a TensorFlow 1.x cell to the Keras layer that computes the same function.
//!
//! `W = perm(K[:input])`, `U = perm(K[input:])`, `b' = perm(b)` with the forget bias added to the f block, where `perm`
//! takes the column blocks from i, j, f, o to i, f, c, o.

use ndarray::s;
use thiserror::Error;

use crate::gate_order::{self, Gate, KERAS, TF1};
use crate::{KerasCell, Network, Tf1Cell};

/// Why no Keras LSTM computes what this cell does.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum NotRepresentable {
    /// Gates see the cell state.
    #[error("it has peephole connections, and a Keras LSTM's gates never see the cell state")]
    Peepholes,
    /// The output is projected.
    #[error("it projects its output from {units} units to {projected}, and a Keras LSTM has no projection")]
    Projection {
        /// Width of the cell state.
        units: usize,
        /// Width of the output.
        projected: usize,
    },
    /// The state is clipped.
    #[error("it clips its cell state to ±{0}, and a Keras LSTM does not clip")]
    CellClip(f32),
    /// Gates and state are normalised.
    #[error("it normalises its gates and its state over all units, and a Keras LSTM does not")]
    LayerNorm,
    /// The projected output is clipped.
    #[error("it clips its projected output to ±{0}, and a Keras LSTM does not clip")]
    ProjectionClip(f32),
}

/// The first of a cell's properties that Keras lacks; `projection` is units and projected width.
pub fn refusal(
    peepholes: bool,
    projection: Option<(usize, usize)>,
    cell_clip: Option<f32>,
    projection_clip: Option<f32>,
) -> Option<NotRepresentable> {
    if peepholes {
        return Some(NotRepresentable::Peepholes);
    }
    if let Some(clip) = projection_clip {
        return Some(NotRepresentable::ProjectionClip(clip));
    }
    if let Some((units, projected)) = projection {
        return Some(NotRepresentable::Projection { units, projected });
    }
    cell_clip.map(NotRepresentable::CellClip)
}

/// Whether a Keras LSTM can compute what `cell` does.
///
/// # Errors
/// The first property that Keras lacks.
pub fn representable(cell: &Tf1Cell) -> Result<(), NotRepresentable> {
    if cell.layer_norm.is_some() {
        return Err(NotRepresentable::LayerNorm);
    }
    let projection = cell.projection.as_ref().map(|p| p.dim());
    refusal(cell.peepholes.is_some(), projection, cell.cell_clip, cell.projection_clip).map_or(Ok(()), Err)
}

/// Converts one cell. The only rounding is that of `bias + forget_bias` to f32.
///
/// # Errors
/// If no Keras LSTM computes what the cell does.
pub fn to_keras(cell: &Tf1Cell) -> Result<KerasCell, NotRepresentable> {
    representable(cell)?;
    let (input, units) = (cell.input_size(), cell.units());
    let kernel = gate_order::reorder(cell.kernel.view(), TF1, KERAS);
    let mut bias = gate_order::reorder(cell.bias.view(), TF1, KERAS);
    let forget = gate_order::position(KERAS, Gate::Forget) * units;
    bias.slice_mut(s![forget..forget + units]).mapv_inplace(|b| b + cell.forget_bias);
    Ok(KerasCell {
        recurrent_kernel: kernel.slice(s![input.., ..]).to_owned(),
        kernel: kernel.slice(s![..input, ..]).to_owned(),
        bias,
        activation: cell.activation,
        recurrent_activation: cell.recurrent_activation,
        go_backwards: false,
    })
}

/// Converts every cell of a network, keeping its wiring.
///
/// # Errors
/// The index of the first cell, in the order of [`Network::cells`], that Keras cannot express, and why.
pub fn network_to_keras(network: &Network<Tf1Cell>) -> Result<Network<KerasCell>, (usize, NotRepresentable)> {
    let mut index = 0;
    network.try_map(&mut |cell| {
        let converted = to_keras(cell).map_err(|why| (index, why));
        index += 1;
        converted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;
    use ndarray::{Array1, Array2, array};

    fn cell() -> Tf1Cell {
        // One unit, two inputs: every value names its place (row, then column in i, j, f, o).
        let kernel = array![[11., 12., 13., 14.], [21., 22., 23., 24.], [31., 32., 33., 34.]];
        Tf1Cell::new(kernel, array![1., 2., 3., 4.]).unwrap()
    }

    #[test]
    fn rows_are_split_columns_reordered_and_the_forget_bias_folded_in() {
        let mut cell = cell();
        cell.forget_bias = 0.5;
        let keras = to_keras(&cell).unwrap();
        assert_eq!(keras.kernel, array![[11., 13., 12., 14.], [21., 23., 22., 24.]]);
        assert_eq!(keras.recurrent_kernel, array![[31., 33., 32., 34.]]);
        assert_eq!(keras.bias, array![1., 3.5, 2., 4.]);
        assert_eq!((keras.activation, keras.recurrent_activation), (Activation::Tanh, Activation::Sigmoid));
        assert!(!keras.go_backwards);
    }

    #[test]
    fn what_keras_lacks_is_refused_by_name() {
        let wide = || Tf1Cell::new(Array2::zeros((13, 32)), Array1::zeros(32)).unwrap();
        let mut clipped = wide();
        clipped.cell_clip = Some(3.0);
        assert_eq!(to_keras(&clipped), Err(NotRepresentable::CellClip(3.0)));
        let mut projected = wide();
        projected.projection = Some(Array2::zeros((8, 4)));
        assert_eq!(to_keras(&projected), Err(NotRepresentable::Projection { units: 8, projected: 4 }));
        let stack = Network::Stack(vec![Network::Cell(wide()), Network::Cell(clipped)]);
        assert_eq!(network_to_keras(&stack).unwrap_err().0, 1);
    }

    #[test]
    fn each_refusal_keeps_its_numbers_and_the_first_wins() {
        use NotRepresentable::*;
        assert_eq!(refusal(false, None, None, None), None);
        assert_eq!(refusal(true, Some((8, 4)), Some(3.0), Some(2.0)), Some(Peepholes));
        assert_eq!(refusal(false, Some((8, 4)), Some(3.0), Some(2.0)), Some(ProjectionClip(2.0)));
        assert_eq!(refusal(false, Some((8, 4)), Some(3.0), None), Some(Projection { units: 8, projected: 4 }));
        assert_eq!(refusal(false, None, Some(3.0), None), Some(CellClip(3.0)));
        let mut cell = cell();
        assert_eq!(representable(&cell), Ok(()));
        let zero = || Array1::zeros(1);
        cell.peepholes = Some(crate::Peepholes { input: zero(), forget: zero(), output: zero() });
        assert_eq!(representable(&cell), Err(Peepholes));
    }

    #[test]
    fn the_blocks_of_several_units_stay_whole() {
        let kernel = Array2::from_shape_fn((5, 8), |(r, c)| (10 * r + c) as f32);
        let keras = to_keras(&Tf1Cell::new(kernel, Array1::from_iter((0..8).map(|c| c as f32))).unwrap()).unwrap();
        let order = [0., 1., 4., 5., 2., 3., 6., 7.];
        let row = |r: usize| order.map(|c| 10.0 * r as f32 + c);
        assert_eq!(keras.kernel, Array2::from(vec![row(0), row(1), row(2)]));
        assert_eq!(keras.recurrent_kernel, Array2::from(vec![row(3), row(4)]));
        assert_eq!(keras.bias, array![0., 1., 5., 6., 2., 3., 6., 7.]);
    }
}
