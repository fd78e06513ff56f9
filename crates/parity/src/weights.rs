//! The exact comparison: candidate against the right conversion, element by element.

use lstm::{Activation, KerasCell};
use ndarray::Array2;

/// One tensor of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorDifference {
    /// `kernel`, `recurrent_kernel`, `bias` or `output_projection`.
    pub tensor: &'static str,
    /// Elements.
    pub count: usize,
    /// Elements whose bits differ.
    pub differing: usize,
    /// Largest |Δ|; NaN if one of the values is.
    pub max_abs: f64,
    /// Row and column of the largest difference (row 0 for a bias).
    pub at: Option<(usize, usize)>,
    /// The value of the right conversion there.
    pub expected: f64,
    /// The candidate's value there.
    pub found: f64,
}

/// How a candidate layer's weights and settings compare with the right conversion's.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsReport {
    /// The three tensors, and the kernel of the dense layer that follows where both have one.
    pub tensors: Vec<TensorDifference>,
    /// Settings that differ, in words.
    pub settings: Vec<String>,
}

impl WeightsReport {
    /// Every element equal, bit for bit, and every setting too.
    pub fn equal(&self) -> bool {
        // Counted both ways: a report of nothing is not an equality.
        !self.tensors.is_empty()
            && self.tensors.iter().all(|t| t.count > 0 && t.differing == 0)
            && self.settings.is_empty()
    }

    /// The same with one more difference, in words.
    pub(crate) fn with(mut self, difference: Option<String>) -> WeightsReport {
        self.settings.extend(difference);
        self
    }

    /// Elements compared.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(|t| t.count).sum()
    }

    /// Elements whose bits differ.
    pub fn differing(&self) -> usize {
        self.tensors.iter().map(|t| t.differing).sum()
    }
}

/// Compares two layers of the same shape.
///
/// # Panics
/// If the shapes differ: the caller matches layers by shape first.
pub fn compare(expected: &KerasCell, found: &KerasCell) -> WeightsReport {
    assert_eq!(expected.kernel.dim(), found.kernel.dim(), "layers are matched by shape before they are compared");
    assert_eq!(expected.recurrent_kernel.dim(), found.recurrent_kernel.dim(), "same units");
    let tensor = |tensor, columns: usize, a: &mut dyn Iterator<Item = &f32>, b: &mut dyn Iterator<Item = &f32>| {
        let mut difference =
            TensorDifference { tensor, count: 0, differing: 0, max_abs: 0.0, at: None, expected: 0.0, found: 0.0 };
        for (index, (a, b)) in a.zip(b).enumerate() {
            difference.count += 1;
            // Bits, so that NaN equals itself here (the finiteness check reports it) and 0 differs from −0.
            if a.to_bits() == b.to_bits() {
                continue;
            }
            difference.differing += 1;
            let delta = (f64::from(*a) - f64::from(*b)).abs();
            if difference.at.is_none() || delta.is_nan() || delta > difference.max_abs {
                difference.at = Some((index / columns, index % columns));
                difference.max_abs = delta;
                (difference.expected, difference.found) = (f64::from(*a), f64::from(*b));
            }
        }
        difference
    };
    let mut settings = vec![];
    let mut setting = |what, expected: String, found: String| {
        if expected != found {
            settings.push(format!("{what} is {found}, the right conversion has {expected}"));
        }
    };
    let name = |a: Activation| a.to_string();
    setting("activation", name(expected.activation), name(found.activation));
    setting("recurrent_activation", name(expected.recurrent_activation), name(found.recurrent_activation));
    setting("go_backwards", expected.go_backwards.to_string(), found.go_backwards.to_string());
    let shape = |p: &Option<Array2<f32>>| p.as_ref().map_or("none".to_owned(), |p| format!("{:?}", p.shape()));
    setting("the projection after it", shape(&expected.output_projection), shape(&found.output_projection));
    let columns = expected.kernel.ncols();
    let mut report = WeightsReport {
        tensors: vec![
            tensor("kernel", columns, &mut expected.kernel.iter(), &mut found.kernel.iter()),
            tensor(
                "recurrent_kernel",
                columns,
                &mut expected.recurrent_kernel.iter(),
                &mut found.recurrent_kernel.iter(),
            ),
            tensor("bias", columns, &mut expected.bias.iter(), &mut found.bias.iter()),
        ],
        settings,
    };
    if let (Some(a), Some(b)) = (&expected.output_projection, &found.output_projection)
        && a.dim() == b.dim()
    {
        report.tensors.push(tensor("output_projection", a.ncols(), &mut a.iter(), &mut b.iter()));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

    fn layer() -> KerasCell {
        KerasCell::new(Array2::ones((2, 12)), Array2::ones((3, 12)), Array1::ones(12)).unwrap()
    }

    #[test]
    fn equal_layers_are_equal() {
        let report = compare(&layer(), &layer());
        assert!(report.equal());
        assert_eq!((report.count(), report.differing()), (24 + 36 + 12, 0));
    }

    #[test]
    fn one_bit_in_any_tensor_is_a_difference_with_its_place() {
        let next = f32::from_bits(1f32.to_bits() + 1);
        let mut kernel = layer();
        kernel.kernel[[1, 5]] = next;
        let mut recurrent = layer();
        recurrent.recurrent_kernel[[2, 11]] = next;
        let mut bias = layer();
        bias.bias[7] = next;
        for (found, tensor, at) in [(kernel, 0, (1, 5)), (recurrent, 1, (2, 11)), (bias, 2, (0, 7))] {
            let report = compare(&layer(), &found);
            assert!(!report.equal());
            assert_eq!((report.differing(), report.tensors[tensor].at), (1, Some(at)));
        }
    }

    #[test]
    fn settings_count_as_much_as_weights() {
        let relu = KerasCell { activation: Activation::Relu, ..layer() };
        let hard = KerasCell { recurrent_activation: Activation::HardSigmoidKeras3, ..layer() };
        let backwards = KerasCell { go_backwards: true, ..layer() };
        for found in [relu, hard, backwards] {
            let report = compare(&layer(), &found);
            assert!(!report.equal() && report.settings.len() == 1, "{report:?}");
        }
    }

    #[test]
    fn a_projection_after_the_layer_is_compared_with_it() {
        let with = |p: Option<Array2<f32>>| KerasCell { output_projection: p, ..layer() };
        let right = with(Some(Array2::ones((3, 2))));
        assert!(compare(&right, &right).equal());
        assert_eq!(compare(&right, &right).tensors.len(), 4);
        let mut one = Array2::ones((3, 2));
        one[[2, 1]] = 0.5;
        let report = compare(&right, &with(Some(one)));
        assert_eq!((report.differing(), report.tensors[3].at), (1, Some((2, 1))));
        for found in [None, Some(Array2::ones((3, 1)))] {
            let report = compare(&right, &with(found));
            assert!(!report.equal() && report.settings.len() == 1, "{report:?}");
        }
        assert!(!compare(&layer(), &right).equal());
    }

    #[test]
    fn nan_and_signed_zero_are_differences() {
        for bad in [f32::NAN, -1.0] {
            let mut found = layer();
            found.bias[0] = bad;
            assert!(!compare(&layer(), &found).equal());
        }
        let (mut a, mut b) = (layer(), layer());
        (a.bias[0], b.bias[0]) = (0.0, -0.0);
        assert_eq!(compare(&a, &b).differing(), 1);
    }

    #[test]
    fn nothing_compared_is_not_equal() {
        assert!(!WeightsReport { tensors: vec![], settings: vec![] }.equal());
    }

    #[test]
    fn the_largest_difference_is_told_and_nan_before_any() {
        let with = |values: [f32; 3]| {
            let mut found = layer();
            for (at, value) in values.into_iter().enumerate() {
                found.kernel[[1, at]] = value;
            }
            let report = compare(&layer(), &found);
            let t = &report.tensors[0];
            (t.differing, t.max_abs.to_bits(), t.at, t.expected, t.found.to_bits())
        };
        let told = |differing, delta: f64, column, found: f64| {
            (differing, delta.to_bits(), Some((1, column)), 1.0, found.to_bits())
        };
        assert_eq!(with([1.5, 3.0, 2.0]), told(3, 2.0, 1, 3.0));
        assert_eq!(with([1.5, 1.0, 0.5]), told(2, 0.5, 0, 1.5), "the first of equals");
        let (differing, delta, at, expected, found) = with([9.0, f32::NAN, 20.0]);
        assert_eq!((differing, at, expected), (3, Some((1, 1)), 1.0));
        assert!(f64::from_bits(delta).is_nan() && f64::from_bits(found).is_nan());
    }

    #[test]
    fn an_empty_tensor_is_not_equal() {
        let mut report = compare(&layer(), &layer());
        report.tensors[1].count = 0;
        assert!(!report.equal());
    }
}
