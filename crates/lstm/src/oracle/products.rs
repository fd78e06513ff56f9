//! Products with a matrix that is packed once and used at every step.
//!
//! A general product packs its right side at each call, which at one step of a few sequences costs half as much as the
//! product itself. Each sum is taken in the order of the matrix's rows, one term after another, whatever rows it is
//! computed beside: a sequence gives the same bits alone and in any batch.

use std::marker::PhantomData;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use pulp::{Arch, Simd, WithSimd};

/// Vectors of a panel: with 6 rows their sums fill 24 of the 32 registers of AVX-512, with 3 rows 12 of AVX2's 16.
const VECTORS: usize = 4;

/// Numbers that processors have vectors of.
pub trait Number: Copy + Default + std::ops::AddAssign + Send + Sync {
    /// A vector of them.
    type Vector<S: Simd>: Copy;
    /// A slice of vectors, whose length is a whole number of them.
    fn vectors<S: Simd>(values: &[Self]) -> &[Self::Vector<S>];
    /// The same to write to.
    fn vectors_mut<S: Simd>(values: &mut [Self]) -> &mut [Self::Vector<S>];
    /// The number in every lane.
    fn splat<S: Simd>(self, simd: S) -> Self::Vector<S>;
    /// `a·b + c`, rounded once or twice as is faster.
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
}

impl Number for f64 {
    type Vector<S: Simd> = S::f64s;

    #[inline(always)]
    fn vectors<S: Simd>(values: &[f64]) -> &[S::f64s] {
        S::as_simd_f64s(values).0
    }

    #[inline(always)]
    fn vectors_mut<S: Simd>(values: &mut [f64]) -> &mut [S::f64s] {
        S::as_mut_simd_f64s(values).0
    }

    #[inline(always)]
    fn splat<S: Simd>(self, simd: S) -> S::f64s {
        simd.splat_f64s(self)
    }

    #[inline(always)]
    fn mul_add<S: Simd>(simd: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        simd.mul_add_e_f64s(a, b, c)
    }
}

impl Number for f32 {
    type Vector<S: Simd> = S::f32s;

    #[inline(always)]
    fn vectors<S: Simd>(values: &[f32]) -> &[S::f32s] {
        S::as_simd_f32s(values).0
    }

    #[inline(always)]
    fn vectors_mut<S: Simd>(values: &mut [f32]) -> &mut [S::f32s] {
        S::as_mut_simd_f32s(values).0
    }

    #[inline(always)]
    fn splat<S: Simd>(self, simd: S) -> S::f32s {
        simd.splat_f32s(self)
    }

    #[inline(always)]
    fn mul_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        simd.mul_add_e_f32s(a, b, c)
    }
}

/// A matrix `[rows, columns]`, cut into panels of as many columns as [`VECTORS`] vectors of this processor hold, the last
/// one filled up with zeros.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    rows: usize,
    columns: usize,
    /// Columns of a panel.
    width: usize,
    /// `[panel, row, column]`
    values: Vec<T>,
}

impl<T: Number> Packed<T> {
    /// Packs what `of` makes of each element of a matrix.
    pub fn new<U: Copy>(matrix: ArrayView2<'_, U>, of: impl Fn(U) -> T) -> Packed<T> {
        let (rows, columns) = matrix.dim();
        let width = Arch::new().dispatch(Width(PhantomData::<T>));
        let mut values = vec![T::default(); rows * columns.next_multiple_of(width)];
        for (row, from) in matrix.outer_iter().enumerate() {
            for (column, value) in from.iter().enumerate() {
                values[(column / width * rows + row) * width + column % width] = of(*value);
            }
        }
        Packed { rows, columns, width, values }
    }

    /// Adds the product of `left` `[n, rows]` and this matrix to `sums` `[n, columns]`.
    ///
    /// # Panics
    /// If the shapes do not fit, or a row of `sums` does not lie in one piece.
    pub fn add_product(&self, left: ArrayView2<'_, T>, mut sums: ArrayViewMut2<'_, T>) {
        assert_eq!(left.ncols(), self.rows, "a column of the left side for each row of the right");
        assert_eq!(sums.dim(), (left.nrows(), self.columns), "a sum for each row and column");
        let left = left.as_standard_layout();
        let whole = "rows lie in one piece";
        let sums = sums.rows_mut().into_iter().map(|row| row.into_slice().expect(whole)).collect();
        let left = left.outer_iter().map(|row| row.to_slice().expect(whole)).collect();
        Arch::new().dispatch(AddProduct { packed: self, left, sums });
    }

    /// The product of `left` `[n, rows]` and this matrix.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn product(&self, left: ArrayView2<'_, T>) -> Array2<T> {
        let mut sums = Array2::from_elem((left.nrows(), self.columns), T::default());
        self.add_product(left, sums.view_mut());
        sums
    }
}

/// How many columns a panel has.
struct Width<T>(PhantomData<T>);

impl<T: Number> WithSimd for Width<T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        VECTORS * (size_of::<T::Vector<S>>() / size_of::<T>())
    }
}

struct AddProduct<'a, T> {
    packed: &'a Packed<T>,
    left: Vec<&'a [T]>,
    sums: Vec<&'a mut [T]>,
}

impl<T: Number> WithSimd for AddProduct<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddProduct { packed, left, mut sums } = self;
        let most = if S::REGISTER_COUNT < 32 { 3 } else { 6 };
        let mut made = vec![T::default(); most * packed.width];
        for (panel, values) in packed.values.chunks_exact((packed.rows * packed.width).max(1)).enumerate() {
            let first = panel * packed.width;
            let columns = first..packed.columns.min(first + packed.width);
            for (left, sums) in left.chunks(most).zip(sums.chunks_mut(most)) {
                match left.len() {
                    6 => tile::<T, S, 6>(simd, left, values, &mut made),
                    5 => tile::<T, S, 5>(simd, left, values, &mut made),
                    4 => tile::<T, S, 4>(simd, left, values, &mut made),
                    3 => tile::<T, S, 3>(simd, left, values, &mut made),
                    2 => tile::<T, S, 2>(simd, left, values, &mut made),
                    _ => tile::<T, S, 1>(simd, left, values, &mut made),
                }
                for (sums, made) in sums.iter_mut().zip(made.chunks_exact(packed.width)) {
                    sums[columns.clone()].iter_mut().zip(made).for_each(|(sum, made)| *sum += *made);
                }
            }
        }
    }
}

/// `M` rows through one panel, all of their sums in registers, in a function of its own that has all of them to itself.
#[allow(clippy::needless_range_loop, reason = "plain counted loops are what the compiler unrolls into registers")]
#[inline(always)]
fn tile<T: Number, S: Simd, const M: usize>(simd: S, left: &[&[T]], panel: &[T], made: &mut [T]) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (panel, _) = T::vectors::<S>(panel).as_chunks::<VECTORS>();
            let mut rows = [&left[0][..panel.len()]; M];
            for m in 0..M {
                rows[m] = &left[m][..panel.len()];
            }
            let mut sums = [[T::default().splat(simd); VECTORS]; M];
            for (k, right) in panel.iter().enumerate() {
                for m in 0..M {
                    let factor = rows[m][k].splat(simd);
                    for v in 0..VECTORS {
                        sums[m][v] = T::mul_add(simd, factor, right[v], sums[m][v]);
                    }
                }
            }
            let (made, _) = T::vectors_mut::<S>(made).as_chunks_mut::<VECTORS>();
            made[..M].copy_from_slice(&sums);
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Axis, s};

    /// Small whole numbers, so that every order of summation gives the same.
    fn numbers<T: Number + From<i8>>(rows: usize, columns: usize, seed: usize) -> Array2<T> {
        Array2::from_shape_fn((rows, columns), |(r, c)| T::from((((r * 31 + c * 7 + seed) % 15) as i8) - 7))
    }

    fn fits_all_shapes<T: Number + From<i8> + ndarray::LinalgScalar + PartialEq + std::fmt::Debug>() {
        for n in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13] {
            for (rows, columns) in [(1, 1), (3, 15), (5, 16), (4, 17), (9, 31), (2, 64), (40, 65), (7, 132)] {
                let (left, right) = (numbers::<T>(n, rows, 1), numbers::<T>(rows, columns, 2));
                let packed = Packed::new(right.view(), |v| v);
                assert_eq!(packed.product(left.view()), left.dot(&right), "{n} {rows} {columns}");
                let mut sums = numbers::<T>(n, columns, 3);
                packed.add_product(left.view(), sums.view_mut());
                assert_eq!(sums, numbers::<T>(n, columns, 3) + left.dot(&right));
            }
        }
    }

    #[test]
    fn products_of_all_shapes_in_both_precisions() {
        fits_all_shapes::<f64>();
        fits_all_shapes::<f32>();
    }

    #[test]
    fn a_row_gives_the_same_bits_in_any_company() {
        let value = |(r, c): (usize, usize)| ((r * 37 + c * 11) as f64 * 0.618).sin();
        let (left, right) = (Array2::from_shape_fn((13, 50), value), Array2::from_shape_fn((50, 70), value));
        let packed = Packed::new(right.view(), |v| v);
        let all = packed.product(left.view());
        for n in 0..13 {
            assert_eq!(packed.product(left.slice(s![n..n + 1, ..])).row(0), all.row(n));
        }
        let transposed = left.t().to_owned();
        assert_eq!(packed.product(transposed.t()), all, "whatever layout the left side has");
    }

    #[test]
    fn what_is_not_a_number_stays_in_its_row() {
        let mut left = numbers::<f64>(7, 4, 1);
        left[[2, 3]] = f64::NAN;
        let right = numbers::<f64>(4, 9, 2);
        let found = Packed::new(right.view(), |v| v).product(left.view());
        assert!(found.row(2).iter().all(|v| v.is_nan()));
        let others = [0, 1, 3, 4, 5, 6];
        assert_eq!(found.select(Axis(0), &others), left.select(Axis(0), &others).dot(&right));
    }

    #[test]
    #[should_panic(expected = "a column of the left side for each row of the right")]
    fn shapes_that_do_not_fit_are_refused() {
        Packed::new(numbers::<f64>(4, 9, 2).view(), |v| v).product(numbers::<f64>(3, 5, 1).view());
    }
}
