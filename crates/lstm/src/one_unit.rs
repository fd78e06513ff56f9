//! One unit of a cell as a cell of its own, which takes the same step: what the unit reads of the other units becomes
//! input. So a step of one unit of a large cell can be shown with few weights, and run like any other cell.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};

use crate::{ExactWeights, KerasCell, Tf1Cell};

/// One unit of a TF1 cell. Its rows are the input's, then those of the other units' outputs in their order, then that of
/// its own.
///
/// `None` for a unit that is not there, and where units do not stand alone: layer normalisation is over all of them, and
/// a projection mixes them.
pub fn of_tf1(cell: &Tf1Cell, unit: usize) -> Option<Tf1Cell> {
    if unit >= cell.units() || cell.layer_norm.is_some() || cell.projection.is_some() {
        return None;
    }
    let weights = cell.weights();
    let input = weights.kernel.slice(s![..cell.input_size(), ..]);
    let recurrent = weights.kernel.slice(s![cell.input_size().., ..]);
    let kernel =
        concatenate(Axis(0), &[columns(input, unit).view(), own_row_last(columns(recurrent, unit), unit).view()])
            .expect("both parts have four columns");
    let one = ExactWeights {
        kernel,
        bias: four(weights.bias.view(), unit),
        peepholes: weights.peepholes.as_ref().map(|all| all.each_ref().map(|p| Array1::from_elem(1, p[unit]))),
        projection: None,
        layer_norm: None,
    };
    let mut small = cell.clone();
    small.exact = None;
    small.hold(one, 0.0);
    small.check().is_ok().then_some(small)
}

/// The same unit of a Keras layer: as input rows what [`of_tf1`] has as input and other units' rows.
pub fn of_keras(layer: &KerasCell, unit: usize) -> Option<KerasCell> {
    if unit >= layer.units() || layer.output_projection.is_some() {
        return None;
    }
    let recurrent = own_row_last(columns(layer.recurrent_kernel.view(), unit), unit);
    let (others, own) = recurrent.view().split_at(Axis(0), layer.units() - 1);
    let kernel = concatenate(Axis(0), &[columns(layer.kernel.view(), unit).view(), others])
        .expect("both parts have four columns");
    Some(KerasCell {
        kernel,
        recurrent_kernel: own.to_owned(),
        bias: four(layer.bias.view(), unit),
        output_projection: None,
        ..layer.clone()
    })
}

/// What the unit reads: the input `[input]` and the other units' outputs as one input `[input + units − 1]`, and its own
/// output. `None` for a unit that is not there.
pub fn reads(x: ArrayView1<f32>, h: ArrayView1<f32>, unit: usize) -> Option<(Array1<f32>, f32)> {
    let own = *h.get(unit)?;
    let others = h.iter().enumerate().filter(|(other, _)| *other != unit).map(|(_, h)| *h);
    Some((x.iter().copied().chain(others).collect(), own))
}

/// The unit's column of each of the four gates, `[rows, 4]`.
fn columns<T: Clone>(matrix: ArrayView2<T>, unit: usize) -> Array2<T> {
    let units = matrix.ncols() / 4;
    matrix.select(Axis(1), &[0, 1, 2, 3].map(|gate| gate * units + unit))
}

fn four<T: Clone>(vector: ArrayView1<T>, unit: usize) -> Array1<T> {
    let units = vector.len() / 4;
    vector.select(Axis(0), &[0, 1, 2, 3].map(|gate| gate * units + unit))
}

fn own_row_last<T: Clone>(rows: Array2<T>, unit: usize) -> Array2<T> {
    let order: Vec<usize> = (0..rows.nrows()).filter(|row| *row != unit).chain([unit]).collect();
    rows.select(Axis(0), &order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, LayerNorm, Network, Norm, Peepholes, State, convert, oracle};
    use ndarray::Array3;

    /// Two inputs, three units; no two weights are equal.
    fn cell() -> Tf1Cell {
        let kernel = Array2::from_shape_fn((5, 12), |(r, c)| ((r * 12 + c) as f32 * 0.37).sin());
        let mut cell = Tf1Cell::new(kernel, Array1::from_shape_fn(12, |c| (c as f32 * 0.7).cos())).unwrap();
        cell.forget_bias = 0.3;
        cell
    }

    fn step(cell: &Tf1Cell, x: Array1<f32>, h: Array1<f32>, c: Array1<f32>) -> [Vec<f64>; 3] {
        let row = |v: Array1<f32>| v.insert_axis(Axis(0));
        let batch = Batch {
            x: Array3::from_shape_vec((1, 1, x.len()), x.to_vec()).unwrap(),
            lengths: None,
            initial: vec![State { h: row(h), c: row(c) }],
            record_gates: true,
        };
        let trace = oracle::run(&Network::Cell(cell.clone()), &batch).trace.cells.remove(0);
        [trace.h, trace.c, trace.gates.unwrap()].map(|values| values.iter().copied().collect())
    }

    #[test]
    fn a_unit_alone_takes_the_step_it_takes_among_others() {
        let (x, h, c) = (ndarray::array![0.5, -1.5], ndarray::array![0.1, -0.2, 0.3], ndarray::array![1.0, -2.0, 3.0]);
        let mut with_peepholes = cell();
        let p = |first: f32| ndarray::array![first, -0.4, 0.9];
        with_peepholes.peepholes = Some(Peepholes { input: p(0.1), forget: p(0.2), output: p(0.3) });
        with_peepholes.cell_clip = Some(1.5);
        let mut exact = cell();
        let wide = ExactWeights { bias: exact.bias.mapv(|b| f64::from(b) + 1e-9), ..exact.weights().into_owned() };
        exact.hold(wide, 0.0);
        assert!(exact.exact.is_some());
        for cell in [cell(), with_peepholes, exact] {
            let [all_h, all_c, all_gates] = step(&cell, x.clone(), h.clone(), c.clone());
            for unit in 0..3 {
                let small = of_tf1(&cell, unit).unwrap();
                assert_eq!((small.units(), small.input_size()), (1, 4));
                let (x, own) = reads(x.view(), h.view(), unit).unwrap();
                let [h, c, gates] = step(&small, x, ndarray::array![own], ndarray::array![c[unit]]);
                let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
                near(h[0], all_h[unit]);
                near(c[0], all_c[unit]);
                (0..4).for_each(|gate| near(gates[gate], all_gates[gate * 3 + unit]));
            }
        }
    }

    #[test]
    fn a_unit_of_the_conversion_is_the_conversion_of_the_unit() {
        let keras = convert::to_keras(&cell()).unwrap();
        for unit in 0..3 {
            let small = of_keras(&keras, unit).unwrap();
            assert_eq!(small, convert::to_keras(&of_tf1(&cell(), unit).unwrap()).unwrap());
            assert_eq!((small.units(), small.input_size()), (1, 4));
        }
    }

    #[test]
    fn units_that_do_not_stand_alone_are_refused() {
        let mut projected = cell();
        projected.projection = Some(Array2::zeros((3, 3)));
        assert_eq!(of_tf1(&projected, 0), None);
        assert_eq!(of_keras(&convert::to_keras(&projected).unwrap(), 0), None);
        let mut normalised = cell();
        let norm = || Norm { gamma: Array1::ones(3), beta: Array1::zeros(3) };
        normalised.layer_norm =
            Some(LayerNorm { gates: [norm(), norm(), norm(), norm()], state: norm(), epsilon: 1e-12 });
        assert_eq!(of_tf1(&normalised, 0), None);
        assert_eq!(of_tf1(&cell(), 3), None);
        assert_eq!(of_keras(&convert::to_keras(&cell()).unwrap(), 3), None);
        assert_eq!(reads(ndarray::array![1.0].view(), ndarray::array![1.0].view(), 1), None);
    }
}
