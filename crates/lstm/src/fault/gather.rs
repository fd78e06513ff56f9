//! Where each weight of a wrongly converted kernel comes from.
//!
//! Every mistake in the layout of the kernels moves values and changes none. It is therefore a map from a place in the
//! result to a place in the fused kernel `K`, and several mistakes at once are maps one after the other.

use crate::fault::ColumnSplit;
use crate::gate_order::{self, Gate, TF1};

/// A mistake in how the fused kernel is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A variant of [`ColumnSplit`] whose shapes fit.
    Column(ColumnSplit),
    /// Columns read as `[units, 4]`.
    Interleaved,
    /// Bytes read column by column.
    Fortran,
    /// The last rows taken for the input, the first for the recurrent part.
    RecurrentFirst,
    /// Kernels as a `CuDNNLSTM` layer holds them.
    Cudnn,
}

/// When in a conversion a mistake of layout is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// On the fused kernel.
    Fused,
    /// When it is split into rows.
    Split,
    /// On each of the two parts.
    Parts,
}

impl Layout {
    /// The mistakes that give fitting shapes for these widths.
    pub(crate) fn all(input: usize, units: usize) -> Vec<Layout> {
        let columns = ColumnSplit::ALL.into_iter().filter(|c| c.fits(input, units)).map(Layout::Column);
        let others = [Layout::RecurrentFirst, Layout::Interleaved, Layout::Fortran, Layout::Cudnn];
        others.into_iter().chain(columns).collect()
    }

    pub(crate) fn stage(self) -> Stage {
        match self {
            Layout::RecurrentFirst => Stage::Split,
            Layout::Cudnn | Layout::Column(ColumnSplit::StackedReshapedApart) => Stage::Parts,
            Layout::Column(_) | Layout::Interleaved | Layout::Fortran => Stage::Fused,
        }
    }
}

/// Which of the two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Input,
    Recurrent,
}

/// What happened to the rows of the recurrent kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowOp {
    /// Each gate's block is transposed.
    pub(crate) transposed: bool,
    /// Then all rows are moved down by one.
    pub(crate) rolled: bool,
}

impl RowOp {
    pub(crate) const ALL: [RowOp; 4] = [
        RowOp { transposed: false, rolled: false },
        RowOp { transposed: true, rolled: false },
        RowOp { transposed: false, rolled: true },
        RowOp { transposed: true, rolled: true },
    ];
}

/// A map from places in kernel and recurrent kernel to places in the fused kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gather<'a> {
    pub(crate) input: usize,
    pub(crate) units: usize,
    /// Mistakes of layout, in the order they were made and so by stage.
    pub(crate) layouts: &'a [Layout],
    pub(crate) rows: RowOp,
}

impl Gather<'_> {
    /// Row and column in `K` of what stands in row `row` of `part`, in the block that is taken for `gate`, at `unit`.
    pub(crate) fn source(&self, part: Part, row: usize, gate: Gate, unit: usize) -> (usize, usize) {
        let (mut row, mut unit) = (row, unit);
        if part == Part::Recurrent {
            if self.rows.rolled {
                row = if row == 0 { self.units - 1 } else { row - 1 };
            }
            if self.rows.transposed {
                (row, unit) = (unit, row);
            }
        }
        let mut column = gate_order::position(TF1, gate) * self.units + unit;
        let mut recurrent_first = false;
        let mut layouts = self.layouts;
        while let Some((last, before)) = layouts.split_last() {
            match last.stage() {
                Stage::Fused => break,
                Stage::Split => recurrent_first = true,
                Stage::Parts => (row, column) = self.in_part(*last, part, row, column),
            }
            layouts = before;
        }
        row += match (part, recurrent_first) {
            (Part::Input, false) | (Part::Recurrent, true) => 0,
            (Part::Recurrent, false) => self.input,
            (Part::Input, true) => self.units,
        };
        for layout in layouts.iter().rev() {
            (row, column) = self.in_fused(*layout, row, column);
        }
        (row, column)
    }

    fn in_part(&self, layout: Layout, part: Part, row: usize, column: usize) -> (usize, usize) {
        let (u, rows) = (self.units, if part == Part::Input { self.input } else { self.units });
        match layout {
            // Per gate G: ravel(Gᵀ) in the shape of G for the kernel, Gᵀ for the recurrent kernel.
            Layout::Cudnn => {
                let (block, unit) = (column / u, column % u);
                match part {
                    Part::Input => {
                        let flat = row * u + unit;
                        (flat % rows, block * u + flat / rows)
                    }
                    Part::Recurrent => (unit, block * u + row),
                }
            }
            Layout::Column(ColumnSplit::StackedReshapedApart) => stacked_reshaped(u, rows, row, column),
            _ => (row, column),
        }
    }

    fn in_fused(&self, layout: Layout, row: usize, column: usize) -> (usize, usize) {
        let (u, rows) = (self.units, self.input + self.units);
        match layout {
            Layout::Interleaved => (row, 4 * (column % u) + column / u),
            Layout::Fortran => {
                let flat = column * rows + row;
                (flat / (4 * u), flat % (4 * u))
            }
            Layout::Column(split) => match split {
                ColumnSplit::StackedReshaped => stacked_reshaped(u, rows, row, column),
                ColumnSplit::StackedTransposed if column < rows => (column, row),
                ColumnSplit::StackedTransposed => (column - rows, 2 * u + row),
                ColumnSplit::GatesStackedReshaped => {
                    let flat = row * 4 * u + column;
                    let (stacked, unit) = (flat / u, flat % u);
                    (stacked % rows, stacked / rows * u + unit)
                }
                ColumnSplit::HalvesExchanged => (row, (column + 2 * u) % (4 * u)),
                ColumnSplit::HalvesUnfolded => {
                    let half = if row < u { 0 } else { 2 * u };
                    (row % u + if column < 2 * u { 0 } else { u }, half + column % (2 * u))
                }
                ColumnSplit::HalvesAsKernels
                | ColumnSplit::HalvesStacked
                | ColumnSplit::StackedReshapedApart
                | ColumnSplit::AtInputColumn => (row, column),
            },
            Layout::RecurrentFirst | Layout::Cudnn => (row, column),
        }
    }
}

/// The two halves of the columns of `rows` rows one above the other, reshaped back to the shape they had.
fn stacked_reshaped(units: usize, rows: usize, row: usize, column: usize) -> (usize, usize) {
    let (stacked, column) = (2 * row + column / (2 * units), column % (2 * units));
    if stacked < rows { (stacked, column) } else { (stacked - rows, 2 * units + column) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate_order::KERAS;
    use ndarray::{Array2, Axis, array, concatenate, s};

    /// The kernel that a chain of mistakes gives, both parts one above the other, in TF1 gate order.
    fn gathered(k: &Array2<f32>, input: usize, layouts: &[Layout]) -> Array2<f32> {
        let units = k.ncols() / 4;
        let gather = Gather { input, units, layouts, rows: RowOp::default() };
        Array2::from_shape_fn(k.dim(), |(r, c)| {
            let (part, row) = if r < input { (Part::Input, r) } else { (Part::Recurrent, r - input) };
            k[gather.source(part, row, TF1[c / units], c % units)]
        })
    }

    fn numbered(input: usize, units: usize) -> Array2<f32> {
        let mut value = -1.0;
        Array2::from_shape_simple_fn((input + units, 4 * units), || {
            value += 1.0;
            value
        })
    }

    fn reshaped(a: Array2<f32>, shape: (usize, usize)) -> Array2<f32> {
        Array2::from_shape_vec(shape, a.iter().copied().collect()).unwrap()
    }

    /// Each variant written as the tensor operations of the reference, against the map.
    #[test]
    fn maps_agree_with_the_operations_they_stand_for() {
        for (d, u) in [(3, 2), (2, 3), (4, 4), (1, 1), (1, 4), (5, 1)] {
            let k = numbered(d, u);
            let rows = d + u;
            let stack = |k: &Array2<f32>| concatenate![Axis(0), k.slice(s![.., ..2 * u]), k.slice(s![.., 2 * u..])];
            let check =
                |layout, expected: Array2<f32>| assert_eq!(gathered(&k, d, &[layout]), expected, "{layout:?} {d} {u}");
            check(Layout::Column(ColumnSplit::StackedReshaped), reshaped(stack(&k), (rows, 4 * u)));
            let (top, bottom) = (k.slice(s![..d, ..]).to_owned(), k.slice(s![d.., ..]).to_owned());
            check(
                Layout::Column(ColumnSplit::StackedReshapedApart),
                concatenate![Axis(0), reshaped(stack(&top), (d, 4 * u)), reshaped(stack(&bottom), (u, 4 * u))],
            );
            let gates: Vec<_> = (0..4).map(|g| k.slice(s![.., g * u..(g + 1) * u])).collect();
            check(
                Layout::Column(ColumnSplit::GatesStackedReshaped),
                reshaped(concatenate(Axis(0), &gates).unwrap(), (rows, 4 * u)),
            );
            check(
                Layout::Column(ColumnSplit::HalvesExchanged),
                concatenate![Axis(1), k.slice(s![.., 2 * u..]), k.slice(s![.., ..2 * u])],
            );
            // `reshape(ravel(k), order="F")`: element (r, c) is number `c·rows + r` of the row-major values.
            check(Layout::Fortran, reshaped(k.clone(), (4 * u, rows)).t().to_owned());
            check(Layout::RecurrentFirst, concatenate![Axis(0), k.slice(s![u.., ..]), k.slice(s![..u, ..])]);
            let interleaved: Vec<_> = (0..4).map(|g| k.slice(s![.., g..;4])).collect();
            check(Layout::Interleaved, concatenate(Axis(1), &interleaved).unwrap());
            let cudnn: Vec<_> = (0..4)
                .map(|g| {
                    let block = |part: &Array2<f32>| part.slice(s![.., g * u..(g + 1) * u]).to_owned();
                    let kernel = reshaped(block(&top).t().to_owned(), (d, u));
                    concatenate![Axis(0), kernel, block(&bottom).t()]
                })
                .collect();
            check(Layout::Cudnn, concatenate![Axis(1), cudnn[0], cudnn[1], cudnn[2], cudnn[3]]);
            if d == u {
                check(Layout::Column(ColumnSplit::StackedTransposed), stack(&k).t().to_owned());
                let unfold =
                    |h: ndarray::ArrayView2<f32>| concatenate![Axis(1), h.slice(s![..u, ..]), h.slice(s![u.., ..])];
                let halves = [unfold(k.slice(s![.., ..2 * u])), unfold(k.slice(s![.., 2 * u..]))];
                check(Layout::Column(ColumnSplit::HalvesUnfolded), concatenate![Axis(0), halves[0], halves[1]]);
            }
        }
    }

    #[test]
    fn blocks_of_the_square_transposed_split_are_those_of_the_reference() {
        // Kernel's j block is U_iᵀ, the recurrent kernel's f block is W_oᵀ (section 7.1, variant e).
        let k = numbered(3, 3);
        let wrong = gathered(&k, 3, &[Layout::Column(ColumnSplit::StackedTransposed)]);
        assert_eq!(wrong.slice(s![..3, 3..6]), k.slice(s![3.., ..3]).t());
        assert_eq!(wrong.slice(s![3.., 6..9]), k.slice(s![..3, 9..]).t());
    }

    #[test]
    fn row_operations_and_gate_order_act_on_the_recurrent_kernel() {
        let k = numbered(1, 2);
        let place = |rows| {
            let gather = Gather { input: 1, units: 2, layouts: &[], rows };
            Array2::from_shape_fn((2, 8), |(r, c)| k[gather.source(Part::Recurrent, r, KERAS[c / 2], c % 2)])
        };
        let (t, r) = (true, true);
        assert_eq!(
            place(RowOp { transposed: false, rolled: false }),
            array![[8., 9., 12., 13., 10., 11., 14., 15.], [16., 17., 20., 21., 18., 19., 22., 23.]]
        );
        assert_eq!(
            place(RowOp { transposed: t, rolled: false }).row(0).to_vec(),
            [8., 16., 12., 20., 10., 18., 14., 22.]
        );
        assert_eq!(
            place(RowOp { transposed: false, rolled: r }).row(0).to_vec(),
            [16., 17., 20., 21., 18., 19., 22., 23.]
        );
        assert_eq!(place(RowOp { transposed: t, rolled: r }).row(0).to_vec(), [9., 17., 13., 21., 11., 19., 15., 23.]);
    }
}
