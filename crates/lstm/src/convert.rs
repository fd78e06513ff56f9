//! From a TensorFlow 1.x cell to the Keras layer that computes the same function.
//!
//! `W = perm(K[:input])`, `U = perm(K[input:])`, `b' = perm(b)` with the forget bias added to the f block, where `perm`
//! takes the column blocks from i, j, f, o to i, f, c, o. A projection `P` moves out of the recurrence: as m = h·P is all
//! that the cell sees of its output, `U = P·perm(K[input:])` over h does what `perm(K[input:])` does over m, and a dense
//! layer with kernel P makes m from h.

use std::borrow::Cow;

use ndarray::{Axis, concatenate, s};
use thiserror::Error;

use crate::detect::FoundCell;
use crate::fault::Fault;
use crate::gate_order::{self, Gate, KERAS, TF1};
use crate::{ExactWeights, KerasCell, Network, Tf1Cell};

/// Why no Keras LSTM computes what this cell does.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum NotRepresentable {
    /// Gates see the cell state.
    #[error("it has peephole connections, and a Keras LSTM's gates never see the cell state")]
    Peepholes,
    /// Gates and state are normalised.
    #[error("it normalises its gates and its state over all units, and a Keras LSTM does not")]
    LayerNorm,
    /// The state is clipped.
    #[error("it clips its cell state to ±{0}, and a Keras LSTM does not clip")]
    CellClip(f32),
    /// The projected output is clipped.
    #[error("it clips its projected output to ±{0}, and a Keras LSTM does not clip")]
    ProjectionClip(f32),
}

/// The first of a cell's properties that Keras lacks.
fn refusal(
    layer_norm: bool,
    peepholes: bool,
    cell_clip: Option<f32>,
    projection_clip: Option<f32>,
) -> Option<NotRepresentable> {
    if layer_norm {
        return Some(NotRepresentable::LayerNorm);
    }
    if peepholes {
        return Some(NotRepresentable::Peepholes);
    }
    projection_clip.map(NotRepresentable::ProjectionClip).or(cell_clip.map(NotRepresentable::CellClip))
}

/// Why no Keras LSTM computes what a found cell does, if none does: the judgement of [`representable`] without reading
/// weights.
pub fn refusal_of(found: &FoundCell) -> Option<NotRepresentable> {
    // A coupled cell has two diagonals, by names of their own.
    let peepholes = found.variables.peepholes.is_some() || found.variables.extra.contains_key("W_F_diag");
    let value = |clip: Option<crate::detect::Fact<f32>>| clip.map(|f| f.value);
    refusal(found.layer_norm, peepholes, value(found.cell_clip), value(found.projection_clip))
}

/// Whether a Keras LSTM, with a dense layer after it where the cell projects, can compute what `cell` does.
///
/// # Errors
/// The first property that Keras lacks.
pub fn representable(cell: &Tf1Cell) -> Result<(), NotRepresentable> {
    refusal(cell.layer_norm.is_some(), cell.peepholes.is_some(), cell.cell_clip, cell.projection_clip)
        .map_or(Ok(()), Err)
}

/// Converts one cell. The only roundings are those of `bias + forget_bias` and, of a projected cell, of the product `U`
/// to f32, once; a cell that holds more than f32 does ([`Tf1Cell::exact`]) is rounded to f32 first.
///
/// # Errors
/// If no Keras LSTM computes what the cell does.
pub fn to_keras(cell: &Tf1Cell) -> Result<KerasCell, NotRepresentable> {
    representable(cell)?;
    let (input, units) = (cell.input_size(), cell.units());
    let flat = unprojected(cell);
    let kernel = gate_order::reorder(flat.kernel.view(), TF1, KERAS);
    let mut bias = gate_order::reorder(flat.bias.view(), TF1, KERAS);
    let forget = gate_order::position(KERAS, Gate::Forget) * units;
    bias.slice_mut(s![forget..forget + units]).mapv_inplace(|b| b + cell.forget_bias);
    Ok(KerasCell {
        recurrent_kernel: kernel.slice(s![input.., ..]).to_owned(),
        kernel: kernel.slice(s![..input, ..]).to_owned(),
        bias,
        activation: cell.activation,
        recurrent_activation: cell.recurrent_activation,
        go_backwards: false,
        output_projection: cell.projection.clone(),
    })
}

/// The same recurrence over the output of the units, before it is projected: the recurrent rows `K_h`
/// `[projected, 4·units]` become `P·K_h` `[units, 4·units]`, in f64 and rounded once. The clipping of the projected output
/// is not part of it. A cell without a projection as it is.
pub fn unprojected(cell: &Tf1Cell) -> Cow<'_, Tf1Cell> {
    let weights = cell.weights();
    let Some(projection) = &weights.projection else { return Cow::Borrowed(cell) };
    let input = cell.input_size();
    let recurrent = projection.dot(&weights.kernel.slice(s![input.., ..]));
    let kernel = concatenate(Axis(0), &[weights.kernel.slice(s![..input, ..]), recurrent.view()])
        .expect("both parts have four columns a unit");
    let weights = ExactWeights { kernel, projection: None, ..weights.into_owned() };
    let mut flat = cell.clone();
    flat.projection_clip = None;
    flat.hold(weights, cell.layer_norm.as_ref().map_or(0.0, |n| n.epsilon));
    Cow::Owned(flat)
}

/// The Keras layer that comes nearest to a cell, and what of the cell it lacks, as the faults that lacking it is: nothing
/// where [`to_keras`] converts the cell, which then gives the same.
///
/// Peepholes and layer normalisation are left out altogether, and a clip is ignored: on inputs on which the state never
/// reaches it (`ClipUse` of the comparison says so) the layer still computes what the cell does.
pub fn nearest(cell: &Tf1Cell) -> (KerasCell, Vec<Fault>) {
    let keras = to_keras(&stripped(cell)).expect("what Keras lacks was taken away");
    (keras, lacking(cell))
}

/// [`nearest`] of every cell of a network: the candidate, and what each cell loses, in the order of [`Network::cells`].
pub fn nearest_network(network: &Network<Tf1Cell>) -> (Network<KerasCell>, Vec<Vec<Fault>>) {
    let mut lost = vec![];
    let candidate = network.try_map(&mut |cell| {
        let (keras, lacking) = nearest(cell);
        lost.push(lacking);
        Ok::<_, std::convert::Infallible>(keras)
    });
    match candidate {
        Ok(candidate) => (candidate, lost),
        Err(never) => match never {},
    }
}

/// The cell without what Keras lacks.
pub(crate) fn stripped(cell: &Tf1Cell) -> Tf1Cell {
    let mut plain = unclipped(cell);
    plain.hold(ExactWeights { peepholes: None, layer_norm: None, ..cell.weights().into_owned() }, 0.0);
    plain
}

/// The cell without its clips: the same function on inputs that never reach them.
pub fn unclipped(cell: &Tf1Cell) -> Tf1Cell {
    Tf1Cell { cell_clip: None, projection_clip: None, ..cell.clone() }
}

/// The properties of a cell that any Keras layer lacks, as the faults that losing them is.
pub(crate) fn lacking(cell: &Tf1Cell) -> Vec<Fault> {
    let all = [
        (Fault::LayerNormDropped, cell.layer_norm.is_some()),
        (Fault::PeepholeDropped, cell.peepholes.is_some()),
        (Fault::ClipIgnored, cell.cell_clip.is_some() || cell.projection_clip.is_some()),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(fault, _)| fault).collect()
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
        let stack = Network::Stack(vec![Network::Cell(wide()), Network::Cell(clipped)]);
        assert_eq!(network_to_keras(&stack).unwrap_err().0, 1);
    }

    #[test]
    fn each_refusal_keeps_its_numbers_and_the_first_wins() {
        use NotRepresentable::*;
        assert_eq!(refusal(false, false, None, None), None);
        assert_eq!(refusal(true, true, Some(3.0), Some(2.0)), Some(LayerNorm));
        assert_eq!(refusal(false, true, Some(3.0), Some(2.0)), Some(Peepholes));
        assert_eq!(refusal(false, false, Some(3.0), Some(2.0)), Some(ProjectionClip(2.0)));
        assert_eq!(refusal(false, false, Some(3.0), None), Some(CellClip(3.0)));
        let mut cell = cell();
        assert_eq!(representable(&cell), Ok(()));
        let zero = || Array1::zeros(1);
        cell.peepholes = Some(crate::Peepholes { input: zero(), forget: zero(), output: zero() });
        assert_eq!(representable(&cell), Err(Peepholes));
    }

    #[test]
    fn a_projection_leaves_the_recurrence() {
        // Two units projected to one, one input: U is the outer product of P and the recurrent row.
        let mut cell = Tf1Cell::new(Array2::zeros((3, 8)), Array1::zeros(8)).unwrap();
        cell.kernel = array![[1., 2., 3., 4., 5., 6., 7., 8.], [10., 20., 30., 40., 50., 60., 70., 80.]];
        cell.projection = Some(array![[0.5], [-0.1]]);
        cell.check().unwrap();
        let keras = to_keras(&cell).unwrap();
        assert_eq!(keras.kernel, array![[1., 2., 5., 6., 3., 4., 7., 8.]]);
        assert_eq!(keras.recurrent_kernel.row(0), array![5., 10., 25., 30., 15., 20., 35., 40.]);
        // Rounded once from the product of the f32 weights in f64.
        let product = |w: f32| (f64::from(w) * f64::from(-0.1f32)) as f32;
        assert_eq!(keras.recurrent_kernel.row(1), array![10., 20., 50., 60., 30., 40., 70., 80.].mapv(product));
        assert_eq!((keras.output_projection.as_ref(), keras.output_size()), (cell.projection.as_ref(), 1));
        assert_eq!(nearest(&cell), (keras, vec![]), "nothing is lost");
        assert!(matches!(unprojected(&cell), Cow::Owned(flat) if flat.exact.is_some() && flat.projection.is_none()));
        cell.projection_clip = Some(1.0);
        assert_eq!(to_keras(&cell), Err(NotRepresentable::ProjectionClip(1.0)));
        assert_eq!(nearest(&cell).1, [Fault::ClipIgnored]);
    }

    #[test]
    fn the_nearest_layer_lacks_what_it_says_it_lacks() {
        let plain = cell();
        let right = to_keras(&plain).unwrap();
        let one = || array![0.5];
        let norm = || crate::Norm { gamma: one(), beta: one() };
        let norms = crate::LayerNorm { gates: [norm(), norm(), norm(), norm()], state: norm(), epsilon: 1e-12 };
        let full = Tf1Cell {
            peepholes: Some(crate::Peepholes { input: one(), forget: one(), output: one() }),
            cell_clip: Some(2.0),
            layer_norm: Some(norms),
            ..plain.clone()
        };
        let all = vec![Fault::LayerNormDropped, Fault::PeepholeDropped, Fault::ClipIgnored];
        assert_eq!(nearest(&full), (right.clone(), all.clone()));
        assert_eq!(to_keras(&full), Err(NotRepresentable::LayerNorm));
        let network = Network::Stack(vec![Network::Cell(plain), Network::Cell(full)]);
        let (candidate, lost) = nearest_network(&network);
        assert_eq!(lost, [vec![], all]);
        assert_eq!(candidate.cells(), [&right, &right]);
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
