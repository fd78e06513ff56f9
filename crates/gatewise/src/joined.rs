//! Two directions that project their outputs, as one `Bidirectional` layer and one dense layer after it.
//!
//! Side by side, [h_f·P_f, h_b·P_b] is [h_f, h_b] times a matrix of two blocks; added, h_f·P_f + h_b·P_b is [h_f, h_b] times
//! P_f above P_b; averaged, it is half of that. Of a product of the two no dense layer makes anything.

use lstm::{KerasCell, Merge};
use ndarray::Array2;

/// What Keras has in the place of two directions and the way they are joined.
pub(crate) struct Joined {
    /// What the layer itself does with its directions.
    pub(crate) merge: Merge,
    /// The kernel of the dense layer after it, `[units of both, outputs]`.
    pub(crate) dense: Option<Array2<f32>>,
}

/// The form of the two directions in Keras.
///
/// # Errors
/// If there is none, in words.
pub(crate) fn joined(cells: [&KerasCell; 2], merge: Merge) -> Result<Joined, String> {
    if cells.iter().all(|c| c.output_projection.is_none()) {
        return Ok(Joined { merge, dense: None });
    }
    // A direction that does not project is multiplied by the unit matrix.
    let [above, below] = cells.map(|c| c.output_projection.clone().unwrap_or_else(|| Array2::eye(c.units())));
    let (rows, columns) = above.dim();
    let (rows_below, columns_below) = below.dim();
    let (width, across) = match merge {
        Merge::Concat => (columns + columns_below, columns),
        Merge::Sum | Merge::Ave if columns == columns_below => (columns, 0),
        Merge::Sum | Merge::Ave => return Err(format!("one projects to {columns} and one to {columns_below}")),
        Merge::Mul => return Err("no dense layer makes the product of two projections of what it reads".to_owned()),
    };
    let mut kernel = Array2::from_shape_fn((rows + rows_below, width), |(row, column)| match row.checked_sub(rows) {
        None => above.get((row, column)).copied().unwrap_or(0.0),
        Some(row) => column.checked_sub(across).and_then(|column| below.get((row, column))).copied().unwrap_or(0.0),
    });
    if merge == Merge::Ave {
        if kernel.iter().any(|w| w * 0.5 * 2.0 != *w) {
            return Err("float32 holds a weight of them and not its half".to_owned());
        }
        kernel *= 0.5;
    }
    Ok(Joined { merge: Merge::Concat, dense: Some(kernel) })
}

/// The two projections out of the kernel of the dense layer in such a form; none where it has another form.
pub(crate) fn apart(kernel: &Array2<f32>, cells: [&KerasCell; 2], merge: Merge) -> [Option<Array2<f32>>; 2] {
    let (rows, columns) = (cells[0].units(), cells[0].output_size());
    let below = kernel.nrows().saturating_sub(rows);
    let block = |from: (usize, usize), size: (usize, usize)| {
        Array2::from_shape_fn(size, |(row, column)| kernel[[from.0 + row, from.1 + column]])
    };
    let [above, below] = match merge {
        Merge::Concat => {
            let is_beside = |(row, column): (usize, usize)| (row < rows) != (column < columns);
            if kernel.indexed_iter().any(|(place, w)| is_beside(place) && *w != 0.0) {
                return [None, None];
            }
            [block((0, 0), (rows, columns)), block((rows, columns), (below, kernel.ncols().saturating_sub(columns)))]
        }
        Merge::Sum | Merge::Ave => {
            let both = [block((0, 0), (rows, kernel.ncols())), block((rows, 0), (below, kernel.ncols()))];
            if merge == Merge::Ave { both.map(|block| block * 2.0) } else { both }
        }
        Merge::Mul => return [None, None],
    };
    let own = |block: Array2<f32>, cell: &KerasCell| {
        let none = cell.output_projection.is_none() && block == Array2::<f32>::eye(cell.units());
        (!none).then_some(block)
    };
    [own(above, cells[0]), own(below, cells[1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    fn cell(projection: Option<Array2<f32>>) -> KerasCell {
        let mut cell = KerasCell::new(Array2::zeros((3, 8)), Array2::zeros((2, 8)), Array1::zeros(8)).unwrap();
        cell.output_projection = projection;
        cell
    }

    const ALL: [Merge; 4] = [Merge::Concat, Merge::Sum, Merge::Mul, Merge::Ave];

    #[test]
    fn the_dense_layer_does_what_projecting_and_joining_does() {
        let [a, b] = [array![[1.0, -2.0], [0.5, 3.0]], array![[4.0, 0.25], [-1.0, 2.0]]];
        let [h, back] = [array![[0.3f32, -0.7]], array![[-0.2f32, 0.9]]];
        let both = array![[0.3f32, -0.7, -0.2, 0.9]];
        let near = |found: &Array2<f32>, expected: &Array2<f32>| (found - expected).iter().all(|d| d.abs() < 1e-6);
        for (first, second) in [(Some(a.clone()), Some(b.clone())), (Some(a), None), (None, Some(b))] {
            let cells = [cell(first.clone()), cell(second.clone())];
            let [y, z] = [(&h, &first), (&back, &second)].map(|(h, p)| p.as_ref().map_or(h.clone(), |p| h.dot(p)));
            for merge in ALL {
                let form = joined(cells.each_ref(), merge);
                if merge == Merge::Mul {
                    assert!(form.is_err_and(|why| why.contains("product")));
                    continue;
                }
                let form = form.unwrap();
                assert_eq!(form.merge, Merge::Concat);
                let kernel = form.dense.unwrap();
                let expected = match merge {
                    Merge::Sum => &y + &z,
                    Merge::Ave => (&y + &z) / 2.0,
                    _ => ndarray::concatenate(ndarray::Axis(1), &[y.view(), z.view()]).unwrap(),
                };
                assert!(near(&both.dot(&kernel), &expected), "{merge:?}");
                assert_eq!(apart(&kernel, cells.each_ref(), merge), [first.clone(), second.clone()], "{merge:?}");
            }
        }
    }

    #[test]
    fn directions_that_do_not_project_need_no_dense_layer() {
        for merge in ALL {
            let form = joined([&cell(None), &cell(None)], merge).unwrap();
            assert_eq!((form.merge, form.dense), (merge, None));
        }
    }

    #[test]
    fn what_has_no_exact_form_is_refused() {
        let narrow = cell(Some(array![[1.0], [2.0]]));
        let wide = cell(Some(array![[1.0, 2.0], [3.0, 4.0]]));
        assert!(joined([&narrow, &wide], Merge::Sum).is_err_and(|why| why.contains("to 1 and one to 2")));
        let tiny = cell(Some(array![[f32::from_bits(1)], [2.0]]));
        assert!(joined([&tiny, &narrow], Merge::Ave).is_err_and(|why| why.contains("half")));
        assert!(joined([&tiny, &narrow], Merge::Sum).is_ok());
    }

    #[test]
    fn a_layer_that_mixes_what_is_side_by_side_has_another_form() {
        let cells = [cell(Some(array![[1.0], [2.0]])), cell(Some(array![[3.0], [4.0]]))];
        let mut kernel = joined(cells.each_ref(), Merge::Concat).unwrap().dense.unwrap();
        kernel[[0, 1]] = 0.5;
        assert_eq!(apart(&kernel, cells.each_ref(), Merge::Concat), [None, None]);
    }
}
