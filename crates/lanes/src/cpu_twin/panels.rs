//! Matrix products with weights that are packed once and used at every step.
//!
//! A general product packs its right side at each call, which at one LSTM step of a few sequences costs as much as the
//! product; and it cannot hand on the sums while they are in registers. Hence an own one: panels of 16 columns, taken
//! through at most 6 rows at a time. Each sum is taken in the order of the rows of the weights, one term after another,
//! whatever rows it is computed beside: a sequence gives the same bits alone and in any batch.

use std::ops::Range;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::simd::{Arithmetic, LANES, Task, dispatch};

/// One row of a panel.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
pub(crate) struct Tile(pub(crate) [f32; LANES]);

impl Tile {
    pub(crate) const ZERO: Tile = Tile([0.0; LANES]);

    #[inline(always)]
    pub(crate) fn plus(mut self, other: Tile) -> Tile {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a += b;
        }
        self
    }

    #[inline(always)]
    pub(crate) fn times(mut self, other: Tile) -> Tile {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a *= b;
        }
        self
    }

    /// Writes the first values, as many as there is room for.
    #[inline(always)]
    pub(crate) fn write(&self, to: &mut [f32]) {
        match to.first_chunk_mut() {
            // The usual case, of a length that the compiler knows.
            Some(to) => *to = self.0,
            None => to.copy_from_slice(&self.0[..to.len()]),
        }
    }

    /// A function of every value. Unlike `array::map` it is sure to be compiled into its caller.
    #[inline(always)]
    pub(crate) fn map(mut self, function: impl Fn(f32) -> f32) -> Tile {
        for value in &mut self.0 {
            *value = function(*value);
        }
        self
    }
}

/// Rows taken through a panel at a time: with 16 columns they fill twelve of AVX2's sixteen registers. Through four panels at a
/// time they fill 24 of the 32 of AVX-512.
const ROWS: usize = 6;
/// Rows of a panel taken at a time: they stay in the first-level cache while all rows of the left side pass by.
const DEPTH: usize = 256;
/// Rows of a panel between two checks of an index.
const GROUP: usize = 4;
/// Weights from which packing is spread over the cores.
const PARALLEL: usize = 1 << 18;

/// A matrix whose columns come in `groups` of equal width (a cell's four gates), cut into panels `[block, group]` of 16
/// columns each, filled up with zeros.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    rows: usize,
    groups: usize,
    /// Columns of a group.
    width: usize,
    /// `[block, group, row]`
    tiles: Vec<Tile>,
}

impl Panels {
    /// Packs a matrix `[rows, groups · width]`.
    pub(crate) fn pack(matrix: ArrayView2<'_, f32>, groups: usize) -> Panels {
        let (rows, columns) = matrix.dim();
        let width = columns / groups;
        let matrix = matrix.as_standard_layout();
        let values = matrix.as_slice().unwrap_or_default();
        let mut tiles = vec![Tile::ZERO; width.div_ceil(LANES) * groups * rows];
        let fill = |(panel, tiles): (usize, &mut [Tile])| {
            let (block, group) = (panel / groups, panel % groups);
            let first = group * width + block * LANES;
            let filled = LANES.min(width - block * LANES);
            for (tile, row) in tiles.iter_mut().zip(values.chunks_exact(columns)) {
                tile.0[..filled].copy_from_slice(&row[first..first + filled]);
            }
        };
        if values.len() >= PARALLEL {
            tiles.par_chunks_mut(rows).enumerate().for_each(fill);
        } else {
            tiles.chunks_mut(rows.max(1)).enumerate().for_each(fill);
        }
        Panels { rows, groups, width, tiles }
    }

    /// How many rows the matrix has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns a group has.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The panels of one block of columns, one for each group. `G` is the number of groups.
    #[inline(always)]
    pub(crate) fn block<const G: usize>(&self, block: usize) -> [&[Tile]; G] {
        debug_assert_eq!(G, self.groups);
        let mut panels: [&[Tile]; G] = [&[]; G];
        for (group, panel) in panels.iter_mut().enumerate() {
            *panel = &self.tiles[(block * G + group) * self.rows..][..self.rows];
        }
        panels
    }
}

/// A vector of `groups` of `width` values each as tiles `[block, group]`, filled up with zeros.
pub(crate) fn tiles(vector: &[f32], groups: usize) -> Vec<Tile> {
    let width = vector.len() / groups;
    let mut tiles = vec![Tile::ZERO; width.div_ceil(LANES) * groups];
    for (index, value) in vector.iter().enumerate() {
        let (group, column) = (index / width, index % width);
        tiles[column / LANES * groups + group].0[column % LANES] = *value;
    }
    tiles
}

/// Adds the products of `rows` with each of the panels to `sums`, in which those of one panel begin `stride` after
/// those of the one before.
#[inline(always)]
pub(crate) fn accumulate<A: Arithmetic, const G: usize>(
    arithmetic: A,
    sums: &mut [Tile],
    stride: usize,
    rows: &[&[f32]],
    panels: [&[Tile]; G],
) {
    let depth = panels[0].len();
    for start in (0..depth).step_by(DEPTH) {
        let part = &(start..depth.min(start + DEPTH));
        if A::MANY_REGISTERS {
            accumulate_part_of_all(arithmetic, sums, stride, rows, panels, part);
        } else {
            accumulate_part(arithmetic, sums, stride, rows, panels, part);
        }
    }
}

/// [`accumulate`] over a part of the rows of the panels.
#[inline(always)]
fn accumulate_part<A: Arithmetic, const G: usize>(
    arithmetic: A,
    sums: &mut [Tile],
    stride: usize,
    rows: &[&[f32]],
    panels: [&[Tile]; G],
    part: &Range<usize>,
) {
    let full = rows.len() / ROWS * ROWS;
    let rest = &rows[full..];
    for (panel, sums) in panels.iter().zip(sums.chunks_mut(stride)) {
        for (rows, sums) in rows.chunks_exact(ROWS).zip(sums.chunks_exact_mut(ROWS)) {
            tile::<A, ROWS, 1>(arithmetic, sums, stride, rows, &[panel], part);
        }
        let sums = &mut sums[full..];
        match rest.len() {
            5 => tile::<A, 5, 1>(arithmetic, sums, stride, rest, &[panel], part),
            4 => tile::<A, 4, 1>(arithmetic, sums, stride, rest, &[panel], part),
            3 => tile::<A, 3, 1>(arithmetic, sums, stride, rest, &[panel], part),
            _ => {}
        }
    }
    // One or two rows do not keep the processor busy with one panel.
    match rest.len() {
        2 if G == 4 => {
            let (first, second) = sums.split_at_mut(2 * stride);
            tile::<A, 2, 2>(arithmetic, &mut first[full..], stride, rest, &panels[..2], part);
            tile::<A, 2, 2>(arithmetic, &mut second[full..], stride, rest, &panels[2..], part);
        }
        2 => tile::<A, 2, G>(arithmetic, &mut sums[full..], stride, rest, &panels, part),
        1 => tile::<A, 1, G>(arithmetic, &mut sums[full..], stride, rest, &panels, part),
        _ => {}
    }
}

/// The same with so many registers that all panels are taken at a time: every value of a row is read once for all of them.
#[inline(always)]
fn accumulate_part_of_all<A: Arithmetic, const G: usize>(
    arithmetic: A,
    sums: &mut [Tile],
    stride: usize,
    rows: &[&[f32]],
    panels: [&[Tile]; G],
    part: &Range<usize>,
) {
    let mut done = 0;
    while done < rows.len() {
        let (rows, sums) = (&rows[done..], &mut sums[done..]);
        done += match rows.len() {
            // One panel alone does not keep the processor busy with so few rows.
            count if G == 1 && count >= 2 * ROWS => {
                tile::<A, { 2 * ROWS }, G>(arithmetic, sums, stride, &rows[..2 * ROWS], &panels, part);
                2 * ROWS
            }
            ROWS.. => {
                tile::<A, ROWS, G>(arithmetic, sums, stride, &rows[..ROWS], &panels, part);
                ROWS
            }
            rest => {
                match rest {
                    5 => tile::<A, 5, G>(arithmetic, sums, stride, rows, &panels, part),
                    4 => tile::<A, 4, G>(arithmetic, sums, stride, rows, &panels, part),
                    3 => tile::<A, 3, G>(arithmetic, sums, stride, rows, &panels, part),
                    2 => tile::<A, 2, G>(arithmetic, sums, stride, rows, &panels, part),
                    _ => tile::<A, 1, G>(arithmetic, sums, stride, rows, &panels, part),
                }
                rest
            }
        };
    }
}

/// `M` rows through `P` panels at once, all of their sums in registers.
#[allow(clippy::needless_range_loop, reason = "plain counted loops are what the compiler unrolls into registers")]
#[inline(always)]
fn tile<A: Arithmetic, const M: usize, const P: usize>(
    arithmetic: A,
    sums: &mut [Tile],
    stride: usize,
    rows: &[&[f32]],
    panels: &[&[Tile]],
    part: &Range<usize>,
) {
    arithmetic.apart(
        #[inline(always)]
        || {
            let zero = arithmetic.load(&[0.0; LANES]);
            let mut all = [[zero; P]; M];
            for m in 0..M {
                for p in 0..P {
                    all[m][p] = arithmetic.load(&sums[p * stride + m].0);
                }
            }
            // In groups of a length that the compiler knows, so that one check serves them all.
            let groups = part.len() / GROUP;
            let mut left: [&[[f32; GROUP]]; M] = [&[]; M];
            for m in 0..M {
                left[m] = &rows[m][part.clone()].as_chunks().0[..groups];
            }
            let mut right: [&[[Tile; GROUP]]; P] = [&[]; P];
            for p in 0..P {
                right[p] = &panels[p][part.clone()].as_chunks().0[..groups];
            }
            for group in 0..groups {
                for k in 0..GROUP {
                    let mut tiles = [zero; P];
                    for p in 0..P {
                        tiles[p] = arithmetic.load(&right[p][group][k].0);
                    }
                    for m in 0..M {
                        for p in 0..P {
                            all[m][p] = arithmetic.add_products(left[m][group][k], tiles[p], all[m][p]);
                        }
                    }
                }
            }
            for k in part.start + groups * GROUP..part.end {
                for m in 0..M {
                    for p in 0..P {
                        all[m][p] = arithmetic.add_products(rows[m][k], arithmetic.load(&panels[p][k].0), all[m][p]);
                    }
                }
            }
            for m in 0..M {
                for p in 0..P {
                    arithmetic.store(all[m][p], &mut sums[p * stride + m].0);
                }
            }
        },
    );
}

/// The product of two matrices by what a cell's products are made of, row by row.
pub(crate) fn product(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Vec<f32> {
    let (a, panels) = (a.as_standard_layout(), Panels::pack(b, 1));
    let rows = a.as_slice().unwrap_or_default().chunks_exact(b.nrows()).collect();
    dispatch(Product { rows, panels: &panels })
}

/// A product of two square matrices on all cores, for what the processor can do at best.
pub(crate) struct OnAllCores {
    left: Vec<f32>,
    size: usize,
    right: Panels,
}

impl OnAllCores {
    /// Of so many rows and columns.
    pub(crate) fn new(size: usize) -> OnAllCores {
        let value = |k: usize| (k % 7) as f32 - 3.0;
        let right = ndarray::Array2::from_shape_fn((size, size), |(r, c)| value(r + 3 * c));
        OnAllCores { left: (0..size * size).map(value).collect(), size, right: Panels::pack(right.view(), 1) }
    }

    /// Computes it, and keeps nothing.
    pub(crate) fn run(&self) {
        const ROWS_OF_A_PART: usize = 60;
        self.left.par_chunks(ROWS_OF_A_PART * self.size).for_each(|rows| {
            let product = Product { rows: rows.chunks_exact(self.size).collect(), panels: &self.right };
            drop(std::hint::black_box(dispatch(product)));
        });
    }
}

struct Product<'a> {
    rows: Vec<&'a [f32]>,
    panels: &'a Panels,
}

impl Task for Product<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<A: Arithmetic>(self, a: A) -> Vec<f32> {
        let (rows, width) = (self.rows.len(), self.panels.width());
        let mut product = vec![0.0; rows * width];
        let mut sums = vec![Tile::ZERO; rows];
        for block in 0..width.div_ceil(LANES) {
            sums.fill(Tile::ZERO);
            accumulate::<A, 1>(a, &mut sums, rows, &self.rows, self.panels.block(block));
            let filled = LANES.min(width - block * LANES);
            for (to, Tile(sum)) in product.chunks_exact_mut(width).zip(&sums) {
                to[block * LANES..][..filled].copy_from_slice(&sum[..filled]);
            }
        }
        product
    }
}
