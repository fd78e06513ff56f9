//! The dense layer that follows a candidate, beside the projection of its cell.

use crate::fault::{Fault, same_weight};
use crate::{KerasCell, Tf1Cell};

/// What is wrong with the dense layer after a candidate.
pub(super) fn fault(truth: &Tf1Cell, candidate: &KerasCell) -> Option<Fault> {
    match (&truth.projection, &candidate.output_projection) {
        (None, None) => None,
        (Some(_), None) => Some(Fault::ProjectionDropped),
        (Some(right), Some(found)) if right.dim() == found.dim() => {
            let count = right.iter().zip(found).filter(|(a, b)| !same_weight(**a, **b)).count();
            (count > 0).then_some(Fault::ProjectionDiffers { count, of: right.len() })
        }
        (right, Some(found)) => Some(Fault::ShapeMismatch {
            what: "the dense layer after the LSTM".to_owned(),
            expected: right.as_ref().map_or(vec![], |r| r.shape().to_vec()),
            found: found.shape().to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;
    use crate::diagnose::{Explanation, explain};
    use ndarray::{Array1, Array2, s};

    fn projected() -> Tf1Cell {
        let weight = |k: usize| ((k * 37 + 11) % 101) as f32 / 50.0 - 1.0;
        let kernel = Array2::from_shape_fn((7, 16), |(r, c)| weight(16 * r + c));
        let cell = Tf1Cell::new(kernel, Array1::from_shape_fn(16, |c| weight(c + 200))).unwrap();
        let kernel = cell.kernel.slice(s![..5, ..]).to_owned();
        let projection = Some(Array2::from_shape_fn((4, 2), |(r, c)| 0.5 - (2 * r + c) as f32 / 7.0));
        let cell = Tf1Cell { kernel, projection, ..cell };
        cell.check().unwrap();
        cell
    }

    fn names(explanation: &Explanation) -> Vec<&'static str> {
        explanation.faults.iter().map(Fault::name).collect()
    }

    #[test]
    fn of_a_projected_cell_both_layers_are_explained() {
        let projected = projected();
        let right = convert::to_keras(&projected).unwrap();
        assert_eq!(explain(&projected, &right), []);
        let of = |change: fn(&mut KerasCell)| {
            let mut wrong = right.clone();
            change(&mut wrong);
            explain(&projected, &wrong).remove(0)
        };
        let dropped = of(|k| k.output_projection = None);
        assert_eq!((names(&dropped), dropped.equal), (vec!["projection-dropped"], true));
        let other = of(|k| k.output_projection.as_mut().unwrap()[[1, 1]] = 9.0);
        assert_eq!(other.faults, [Fault::ProjectionDiffers { count: 1, of: 8 }]);
        let reshaped = of(|k| k.output_projection = Some(Array2::ones((4, 3))));
        assert_eq!(names(&reshaped), ["shape-mismatch"]);
        let no_bias = of(|k| k.bias.fill(0.0));
        assert_eq!(names(&no_bias), ["bias-missing"]);
        let both = of(|k| {
            k.output_projection = None;
            k.bias.fill(0.0);
        });
        assert_eq!(names(&both), ["projection-dropped", "bias-missing"]);
        // A candidate with the recurrent rows of the fused kernel fits no layer of as many units.
        let cut = of(|k| k.recurrent_kernel = k.recurrent_kernel.slice(s![..2, ..]).to_owned());
        assert_eq!(names(&cut), ["shape-mismatch"]);
    }
}
