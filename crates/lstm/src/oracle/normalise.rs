//! Layer normalisation: `gamma ⊙ (v − mean) / √(variance + epsilon) + beta` over the units of each row.

use std::slice;

use ndarray::Array1;

use super::Arithmetic;

/// Normalises one row `[units]` in place; gamma and beta are `[units]`, the variance that of the whole row.
///
/// The exact value takes the mean away first, which cancels nothing else. Rounded arithmetic goes the way of
/// `tf.nn.batch_normalization`, `v·s + (beta − mean·s)` with `s = gamma/√(variance + epsilon)`, the one of the two in
/// common use that errs more.
///
/// Source: `layer_norm` in `tensorflow/contrib/layers/python/layers/layers.py` (1.15), `tensorflow/python/ops/nn_impl.py`.
pub(super) fn normalise<A: Arithmetic>(row: &mut [f64], [gamma, beta]: &[Array1<f64>; 2], epsilon: f64, a: &mut A) {
    let n = row.len() as f64;
    let sum = |mut value: f64, terms: &mut dyn Iterator<Item = f64>, count: usize, a: &mut A| {
        let squares = terms.map(|v| v * v).sum::<f64>() as f32;
        a.sums(slice::from_mut(&mut value), &[squares], count);
        value
    };
    let mut mean = row.iter().sum::<f64>() / n;
    if !A::EXACT {
        mean = sum(mean, &mut row.iter().map(|v| v / n), row.len() + 1, a);
    }
    let mut variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    if A::EXACT {
        let root = (variance + epsilon).sqrt();
        for (unit, v) in row.iter_mut().enumerate() {
            *v = gamma[unit] * ((*v - mean) / root) + beta[unit];
        }
        return;
    }
    variance = sum(variance, &mut row.iter().map(|v| (v - mean).powi(2) / n), row.len() + 3, a);
    let mut round = |mut value: f64| {
        a.round(slice::from_mut(&mut value));
        value
    };
    let root = round(root_of(variance + epsilon));
    for (unit, v) in row.iter_mut().enumerate() {
        let scale = round(gamma[unit] / root);
        let shift = round(mean * scale);
        let shift = round(beta[unit] - shift);
        let scaled = round(*v * scale);
        *v = round(scaled + shift);
    }
}

/// The square root of what rounding may have made negative.
fn root_of(value: f64) -> f64 {
    // `max` would hide a NaN.
    if value < 0.0 { 0.0 } else { value.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Exact;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn a_row_by_hand() {
        // Mean 2, variance 2/3.
        let mut row = [1.0, 2.0, 3.0];
        normalise(&mut row, &[array![1.0, 5.0, 2.0], array![0.0, 0.5, -1.0]], 0.0, &mut Exact);
        let root = (2.0f64 / 3.0).sqrt();
        for (found, expected) in row.iter().zip([-1.0 / root, 0.5, 2.0 / root - 1.0]) {
            assert_abs_diff_eq!(*found, expected, epsilon = 1e-15);
        }
    }

    #[test]
    fn a_constant_row_gives_beta_and_not_nan() {
        let mut row = [7.0, 7.0];
        normalise(&mut row, &[array![3.0, 3.0], array![0.25, -0.25]], 1e-12, &mut Exact);
        assert_eq!(row, [0.25, -0.25]);
        let mut lost = [f64::NAN, 1.0];
        normalise(&mut lost, &[array![1.0, 1.0], array![0.0, 0.0]], 1e-12, &mut Exact);
        assert!(lost.iter().all(|v| v.is_nan()), "the mean sees every unit");
    }
}
