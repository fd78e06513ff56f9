//! Rows in blocks, spread over the cores: a row's truth and bound depend on no other row.

use std::sync::Mutex;

use lstm::Tf1Cell;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use super::{Bounded, LocalTruth};

/// Rows of a block: enough to be worth reading the weights for, few enough to leave what they make in the cache.
const ROWS: usize = 512;

/// Makes the truth of all rows block by block: `one` makes it of some rows of x, h and c.
pub(super) fn in_blocks(
    cell: &Tf1Cell,
    rows: [ArrayView2<'_, f32>; 3],
    one: &(impl Fn([ArrayView2<'_, f32>; 3]) -> LocalTruth + Sync),
) -> LocalTruth {
    let count = rows[0].nrows();
    if count <= ROWS {
        return one(rows);
    }
    let (h, c, gates) = (cell.recurrent_size(), cell.units(), 4 * cell.units());
    let [h, c, gates] = [h, c, gates].map(|width| Bounded::zeros(count, width));
    let mut truth = LocalTruth { h, c, gates };
    let [x, h, c] = rows.map(|rows| rows.into_axis_chunks(ROWS));
    let places = truth.h.blocks().zip(truth.c.blocks()).zip(truth.gates.blocks());
    let work = Mutex::new(x.zip(h.zip(c)).zip(places));
    let next = || work.lock().expect("no thread panics while it holds the lock").next();
    let run = || {
        while let Some(((x, (h, c)), ((of_h, of_c), of_gates))) = next() {
            let found = one([x, h, c]);
            for (place, found) in [(of_h, found.h), (of_c, found.c), (of_gates, found.gates)] {
                let Bounded { value, bound, worst } = found;
                for (mut place, found) in place.into_iter().zip([value, bound, worst]) {
                    place.assign(&found);
                }
            }
        }
    };
    let others = std::thread::available_parallelism().map_or(1, usize::from).min(count.div_ceil(ROWS)) - 1;
    std::thread::scope(|scope| {
        (0..others).for_each(|_| drop(scope.spawn(run)));
        run();
    });
    drop(work);
    truth
}

impl Bounded {
    /// Its three arrays, block by block.
    fn blocks(&mut self) -> impl Iterator<Item = [ArrayViewMut2<'_, f64>; 3]> + Send {
        let Bounded { value, bound, worst } = self;
        let bounds = bound.axis_chunks_iter_mut(Axis(0), ROWS).zip(worst.axis_chunks_iter_mut(Axis(0), ROWS));
        value.axis_chunks_iter_mut(Axis(0), ROWS).zip(bounds).map(|(value, (bound, worst))| [value, bound, worst])
    }
}

/// The rows of a view, block by block.
trait IntoBlocks<'a> {
    fn into_axis_chunks(self, rows: usize) -> impl Iterator<Item = ArrayView2<'a, f32>> + Send;
}

impl<'a> IntoBlocks<'a> for ArrayView2<'a, f32> {
    fn into_axis_chunks(self, rows: usize) -> impl Iterator<Item = ArrayView2<'a, f32>> + Send {
        let count = self.nrows();
        (0..count).step_by(rows).map(move |first| {
            let (_, rest) = self.split_at(Axis(0), first);
            rest.split_at(Axis(0), rows.min(count - first)).0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ActivationBudget;
    use crate::bound::local;
    use crate::random::Stream;
    use ndarray::{Array1, Array2, s};

    #[test]
    fn blocks_give_the_same_bits_as_each_row_alone() {
        let stream = Stream::new(0, 7);
        let random = |rows: usize, columns: usize, from: usize| {
            Array2::from_shape_fn((rows, columns), |(r, c)| stream.normal((from + r * columns + c) as u64))
        };
        let mut cell = Tf1Cell::new(random(8, 20, 0), Array1::zeros(20)).unwrap();
        cell.projection = Some(random(5, 4, 1000));
        cell.kernel = random(3 + 4, 20, 0);
        cell.check().unwrap();
        let count = 2 * ROWS + 3;
        let (x, h, c) = (random(count, 3, 2000), random(count, 4, 20_000), random(count, 5, 40_000));
        let budget = ActivationBudget::new(|_| 2.0);
        let all = local(&cell, x.view(), h.view(), c.view(), &budget);
        for row in [0, 1, ROWS - 1, ROWS, 2 * ROWS, count - 1] {
            let rows = |a: &Array2<f32>| a.slice(s![row..row + 1, ..]).to_owned();
            let (x, h, c) = (rows(&x), rows(&h), rows(&c));
            let one = local(&cell, x.view(), h.view(), c.view(), &budget);
            for (all, one) in [(&all.h, &one.h), (&all.c, &one.c), (&all.gates, &one.gates)] {
                assert_eq!(all.select(&[row]), *one, "row {row}");
            }
        }
        assert!(all.h.bound.iter().chain(&all.gates.bound).chain(&all.c.worst).all(|b| *b > 0.0));
    }
}
