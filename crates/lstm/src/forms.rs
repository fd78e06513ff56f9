//! Cells that are an LSTM in other variables: from their weights to those of the fused kernel.
//!
//! Each transform is exact mathematics, computed in f64. Whether the result is held exactly or rounded to f32 is
//! [`Tf1Cell::hold`](crate::Tf1Cell::hold)'s business. All of them are from
//! `tensorflow/contrib/rnn/python/ops/rnn_cell.py` (1.15).

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

use crate::ExactWeights;

/// What `tf.nn.l2_normalize` takes for the smallest sum of squares.
const SMALLEST_SQUARES: f64 = 1e-12;

/// `CoupledInputForgetGateLSTMCell`: its input gate is one minus its forget gate, and
/// `1 − σ(z + forget_bias) = σ(−z − forget_bias)`, so that the input gate's weights are the forget gate's, negated.
///
/// `kernel` is `[input + recurrent, 3·units]` with columns j, f, o, `bias` `[3·units]`, and `diagonals` lead from the
/// state to the forget and the output gate, each `[units]`.
pub fn coupled(
    kernel: &Array2<f64>,
    bias: &Array1<f64>,
    diagonals: Option<[Array1<f64>; 2]>,
    forget_bias: f32,
) -> ExactWeights {
    let units = bias.len() / 3;
    let columns = |block: usize| kernel.slice(s![.., block * units..(block + 1) * units]);
    let part = |block: usize| bias.slice(s![block * units..(block + 1) * units]);
    let (input, input_bias) = (columns(1).mapv(|w| -w), part(1).mapv(|b| -(b + f64::from(forget_bias))));
    ExactWeights {
        kernel: side_by_side(Axis(1), &[input.view(), columns(0), columns(1), columns(2)]),
        bias: concatenate(Axis(0), &[input_bias.view(), part(0), part(1), part(2)]).expect("vectors of any length"),
        peepholes: diagonals.map(|[forget, output]| [forget.mapv(|w| -w), forget, output]),
        projection: None,
        layer_norm: None,
    }
}

/// As [`coupled`], with layer normalisation. Its bias is not added, and negating a gate before it is normalised negates
/// it after, so that only the shift of the input gate takes the forget bias in: `1 − σ(γ⊙ẑ + β + forget_bias) =
/// σ(γ⊙(−ẑ) − β − forget_bias)`. `norms` are gamma and beta of j, f, o and of the state, each `[units]`.
pub fn coupled_normalised(
    kernel: &Array2<f64>,
    diagonals: Option<[Array1<f64>; 2]>,
    norms: [[Array1<f64>; 2]; 4],
    forget_bias: f32,
) -> ExactWeights {
    let [candidate, forget, output, state] = norms;
    let [gamma, beta] = &forget;
    let input = [gamma.clone(), beta.mapv(|b| -(b + f64::from(forget_bias)))];
    ExactWeights {
        layer_norm: Some([input, candidate, forget, output, state]),
        ..coupled(kernel, &Array1::zeros(kernel.ncols()), diagonals, 0.0)
    }
}

/// `WeightNormLSTMCell`: each column of the first `input` rows of `kernel` `[input + recurrent, columns]` is scaled to
/// the length that `norms[0]` gives, each column of the rows after them to that of `norms[1]`; both are `[columns]`.
pub fn weight_normalised(kernel: &Array2<f64>, input: usize, norms: [&Array1<f64>; 2]) -> Array2<f64> {
    let above = normalised_columns(kernel.slice(s![..input, ..]), norms[0]);
    let below = normalised_columns(kernel.slice(s![input.., ..]), norms[1]);
    side_by_side(Axis(0), &[above.view(), below.view()])
}

/// Scales each column to a length: `column / ‖column‖ · norm`, as `tf.nn.l2_normalize` defines it near zero.
pub fn normalised_columns(matrix: ArrayView2<'_, f64>, norm: &Array1<f64>) -> Array2<f64> {
    let squares = matrix.mapv(|w| w * w).sum_axis(Axis(0));
    let scale = squares.mapv(|sum| 1.0 / sum.max(SMALLEST_SQUARES).sqrt()) * norm;
    &matrix * &scale
}

/// `IndyLSTMCell`: a unit's gates see that unit's output alone, through one weight per gate. `of_input` is
/// `[input, 4·units]` and `of_output` `[4·units]`, columns i, j, f, o; the result `[input + units, 4·units]`.
pub fn independent(of_input: &Array2<f64>, of_output: &Array1<f64>) -> Array2<f64> {
    let units = of_output.len() / 4;
    let recurrent =
        Array2::from_shape_fn(
            (units, 4 * units),
            |(row, column)| {
                if column % units == row { of_output[column] } else { 0.0 }
            },
        );
    side_by_side(Axis(0), &[of_input.view(), recurrent.view()])
}

/// `CuDNNLSTM` of Keras: the bytes of each gate's matrix `[rows, units]` are what cuDNN reads as `[units, rows]`, and its
/// two biases add up. `kernel` is `[input + units, 4·units]`, `biases` `[8·units]`; both keep the order of their columns.
pub fn cudnn_layer(kernel: &Array2<f64>, biases: &Array1<f64>, input: usize) -> (Array2<f64>, Array1<f64>) {
    let (rows, columns) = kernel.dim();
    let units = columns / 4;
    let mut out = Array2::zeros((rows, columns));
    for (first, count) in [(0, input), (input, rows - input)] {
        for gate in 0..4 {
            for row in 0..count {
                for unit in 0..units {
                    // Element of the flat matrix that stands at [unit, row] of `[units, rows]`.
                    let flat = unit * count + row;
                    out[[first + row, gate * units + unit]] =
                        kernel[[first + flat / units, gate * units + flat % units]];
                }
            }
        }
    }
    let half = biases.len() / 2;
    (out, &biases.slice(s![..half]) + &biases.slice(s![half..]))
}

/// `GLSTMCell`: each group of units sees its own share of the input and of the output before. `groups` hold
/// `[(input + recurrent) / groups, 4·units / groups]` each, columns i, j, f, o; the result is
/// `[input + recurrent, 4·units]`, zero where a group does not look.
///
/// # Panics
/// If the groups are not all of the shape that the widths call for.
pub fn grouped(groups: &[Array2<f64>], input: usize, recurrent: usize, units: usize) -> Array2<f64> {
    let count = groups.len();
    let (x, h, u) = (input / count, recurrent / count, units / count);
    let mut kernel = Array2::zeros((input + recurrent, 4 * units));
    for (g, group) in groups.iter().enumerate() {
        assert_eq!(group.dim(), (x + h, 4 * u), "every group is as wide as the others");
        for gate in 0..4 {
            let columns = gate * units + g * u..gate * units + (g + 1) * u;
            let from = group.slice(s![.., gate * u..(gate + 1) * u]);
            kernel.slice_mut(s![g * x..(g + 1) * x, columns.clone()]).assign(&from.slice(s![..x, ..]));
            kernel.slice_mut(s![input + g * h..input + (g + 1) * h, columns]).assign(&from.slice(s![x.., ..]));
        }
    }
    kernel
}

fn side_by_side(axis: Axis, parts: &[ArrayView2<'_, f64>]) -> Array2<f64> {
    concatenate(axis, parts).expect("parts of one matrix fit together")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::sigmoid;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn a_coupled_input_gate_is_one_minus_the_forget_gate() {
        let kernel = array![[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]];
        let w = coupled(&kernel, &array![0.1, 0.2, 0.3], Some([array![5.0], array![6.0]]), 0.5);
        assert_eq!(w.kernel, array![[-2.0, 1.0, 2.0, 3.0], [-20.0, 10.0, 20.0, 30.0]]);
        assert_eq!(w.bias, array![-0.7, 0.1, 0.2, 0.3]);
        assert_eq!(w.peepholes.unwrap(), [array![-5.0], array![5.0], array![6.0]]);
        for z in [-3.0, 0.2, 4.0] {
            assert_abs_diff_eq!(1.0 - sigmoid(z + 0.5), sigmoid(-z - 0.5), epsilon = 1e-15);
        }
    }

    #[test]
    fn columns_get_the_length_that_is_given() {
        let kernel = array![[3.0, 0.0], [4.0, 0.0], [-2.0, 1e-7]];
        let found = weight_normalised(&kernel, 2, [&array![10.0, 7.0], &array![0.5, 1.0]]);
        let far = (&found - &array![[6.0, 0.0], [8.0, 0.0], [-0.5, 0.1]]).mapv(f64::abs);
        assert!(far.iter().all(|d| *d < 1e-12), "{found}");
    }

    #[test]
    fn a_unit_sees_its_own_output_alone() {
        let found = independent(&Array2::ones((1, 8)), &Array1::from_iter((1..=8).map(f64::from)));
        assert_eq!(found.row(0), Array1::ones(8));
        assert_eq!(found.row(1), array![1.0, 0.0, 3.0, 0.0, 5.0, 0.0, 7.0, 0.0]);
        assert_eq!(found.row(2), array![0.0, 2.0, 0.0, 4.0, 0.0, 6.0, 0.0, 8.0]);
    }

    #[test]
    fn each_matrix_of_a_cudnn_layer_is_read_the_other_way_round_and_its_biases_add_up() {
        // Three inputs, two units; hundreds are the gate, the rest counts the gate's bytes in their order.
        let kernel = Array2::from_shape_fn((5, 8), |(row, column)| (100 * (column / 2) + 2 * row + column % 2) as f64);
        let biases = Array1::from_iter((0..16).map(|k| if k < 8 { 1.0 } else { f64::from(k) }));
        let (found, bias) = cudnn_layer(&kernel, &biases, 3);
        // [units, rows] laid over the bytes 0…5 is [[0, 1, 2], [3, 4, 5]], over 6…9 [[6, 7], [8, 9]].
        let one = array![[0.0, 3.0], [1.0, 4.0], [2.0, 5.0], [6.0, 8.0], [7.0, 9.0]];
        for gate in 0..4 {
            let block = found.slice(s![.., 2 * gate..2 * gate + 2]);
            assert_eq!(block, &one + 100.0 * gate as f64, "gate {gate}");
        }
        assert_eq!(bias, Array1::from_iter((9..17).map(f64::from)));
    }

    #[test]
    fn groups_of_several_units_and_inputs_of_another_width() {
        // Two groups of two units, one input and three recurrent rows each.
        let group = |g: usize| Array2::from_shape_fn((4, 8), |(r, c)| (1000 * (g + 1) + 10 * r + c) as f64);
        let found = grouped(&[group(0), group(1)], 2, 6, 4);
        assert_eq!(found.dim(), (8, 16));
        for ((row, column), value) in found.indexed_iter() {
            let (row_of, r) = if row < 2 { (row, 0) } else { ((row - 2) / 3, 1 + (row - 2) % 3) };
            let (gate, unit) = (column / 4, column % 4);
            let expected = if unit / 2 == row_of { group(row_of)[[r, 2 * gate + unit % 2]] } else { 0.0 };
            assert_eq!(*value, expected, "{row}, {column}");
        }
    }

    #[test]
    fn a_coupled_cell_of_several_units_keeps_its_blocks() {
        let kernel = array![[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]];
        let w = coupled(&kernel, &array![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None, 0.0);
        assert_eq!(w.kernel, array![[-3.0, -4.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
        assert_eq!(w.bias, array![-3.0, -4.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(w.peepholes, None);
    }

    #[test]
    fn groups_stand_on_the_diagonal_gate_by_gate() {
        // Two groups of one unit, each with one input row and one recurrent row; hundreds are the group.
        let group = |g: f64| array![[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]] + 100.0 * g;
        let found = grouped(&[group(0.0), group(1.0)], 2, 2, 2);
        assert_eq!(found.row(0), array![1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0]);
        assert_eq!(found.row(1), array![0.0, 101.0, 0.0, 102.0, 0.0, 103.0, 0.0, 104.0]);
        assert_eq!(found.row(2), array![11.0, 0.0, 12.0, 0.0, 13.0, 0.0, 14.0, 0.0]);
        assert_eq!(found.row(3), array![0.0, 111.0, 0.0, 112.0, 0.0, 113.0, 0.0, 114.0]);
    }
}
