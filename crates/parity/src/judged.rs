//! All points of a cell judged block by block: neither the truth nor its bound is kept for more than one block.

use lstm::{Tf1Cell, Trace};

use crate::bound::{ActivationBudget, Prepared};
use crate::divergence::PerQuantity;
use crate::local::Points;
use crate::local_error::LocalError;

/// Points of a block: enough to be worth reading the weights for, few enough to leave what they make in the cache.
const ROWS: usize = 512;

/// The points of a cell as each of the two lanes reads them.
pub(crate) struct Judged<'a> {
    pub(crate) cell: &'a Tf1Cell,
    pub(crate) budget: &'a ActivationBudget,
    /// What the TF1 lane was run on.
    pub(crate) tf1: &'a Points,
    /// What the Keras lane was run on, where that is not the same.
    pub(crate) keras: Option<&'a Points>,
}

/// The errors of one lane at each step.
pub(crate) type Steps = Vec<PerQuantity<LocalError>>;

impl Judged<'_> {
    /// Judges what the TF1 lane and the Keras lane computed at all points, spread over the cores. A trace that is absent
    /// or misshapen gives `None`.
    pub(crate) fn judge(&self, traces: [Option<&Trace<f32>>; 2], timesteps: usize) -> [Option<Steps>; 2] {
        let widths = [self.cell.recurrent_size(), self.cell.units()];
        let [tf1, keras] = traces;
        let traces = [
            tf1.filter(|trace| self.tf1.fits(trace, widths)),
            keras.filter(|trace| self.keras.unwrap_or(self.tf1).fits(trace, widths)),
        ];
        let rows = self.tf1.rows.len();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let of_a_thread = rows.div_ceil(ROWS).div_ceil(threads).max(1) * ROWS;
        let from = |first: usize| self.judge_some(first..rows.min(first + of_a_thread), traces, timesteps);
        let parts: Vec<[Option<Steps>; 2]> = std::thread::scope(|scope| {
            let others: Vec<_> =
                (of_a_thread..rows).step_by(of_a_thread).map(|first| scope.spawn(move || from(first))).collect();
            let first = from(0);
            let others = others.into_iter().map(|t| t.join().expect("judging does not panic"));
            std::iter::once(first).chain(others).collect()
        });
        // In the order of the points, whoever judged them: of equals the first is shown.
        parts
            .into_iter()
            .reduce(|all, part| [0, 1].map(|lane| merged(all[lane].as_ref(), part[lane].as_ref())))
            .unwrap_or_default()
    }

    /// Some of the points, block by block.
    fn judge_some(
        &self,
        points: std::ops::Range<usize>,
        traces: [Option<&Trace<f32>>; 2],
        timesteps: usize,
    ) -> [Option<Steps>; 2] {
        let mut found = traces.map(|trace| trace.map(|_| vec![PerQuantity::default(); timesteps]));
        let step = Prepared::new(self.cell, self.budget);
        let of_keras = self.keras.map(|points| (points, Prepared::unprojected(self.cell, self.budget)));
        for first in points.clone().step_by(ROWS) {
            let block = first..points.end.min(first + ROWS);
            let truth = self.tf1.truth_of(block.clone(), &step);
            let of_keras = of_keras.as_ref().map(|(points, step)| points.truth_of(block, step));
            let lanes = [(self.tf1, &truth), (self.keras.unwrap_or(self.tf1), of_keras.as_ref().unwrap_or(&truth))];
            for (((points, truth), trace), steps) in lanes.into_iter().zip(traces).zip(&mut found) {
                if let (Some(trace), Some(steps)) = (trace, steps) {
                    points.judge_from(first, truth, trace, steps);
                }
            }
        }
        found
    }
}

fn merged(all: Option<&Steps>, part: Option<&Steps>) -> Option<Steps> {
    let mut all = all?.clone();
    for (all, part) in all.iter_mut().zip(part?) {
        all.0.iter_mut().zip(&part.0).for_each(|(all, part)| all.merge(part));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;
    use lstm::CellTrace;
    use ndarray::{Array1, Array2, Axis};

    fn random(rows: usize, columns: usize, from: usize) -> Array2<f32> {
        let stream = Stream::new(0, 7);
        Array2::from_shape_fn((rows, columns), |(r, c)| stream.normal((from + r * columns + c) as u64))
    }

    #[test]
    fn blocks_and_threads_say_what_all_points_at_once_say() {
        let mut cell = Tf1Cell::new(random(8, 20, 0), Array1::zeros(20)).unwrap();
        cell.projection = Some(random(5, 4, 1000));
        cell.kernel = random(3 + 4, 20, 0);
        cell.check().unwrap();
        let count = 4 * ROWS + 3;
        let rows: Vec<(usize, usize)> = (0..count).map(|k| (k / 7, k % 7)).collect();
        let points = |width, from| Points {
            x: random(count, 3, 2000),
            h: random(count, width, from),
            c: random(count, 5, 40_000),
            rows: rows.clone(),
        };
        let (tf1, keras) = (points(4, 20_000), points(5, 60_000));
        let budget = ActivationBudget::new(|_| 2.0);
        let trace = |width: usize, from: usize| {
            let of = |width, from| random(count, width, from).insert_axis(Axis(1));
            let cell = CellTrace { h: of(width, from), c: of(5, from + 1), gates: Some(of(20, from + 2)) };
            Trace { output: cell.h.clone(), cells: vec![cell] }
        };
        let (of_tf1, of_keras) = (trace(4, 100_000), trace(4, 200_000));
        let judged = Judged { cell: &cell, budget: &budget, tf1: &tf1, keras: Some(&keras) };
        let [a, b] = judged.judge([Some(&of_tf1), Some(&of_keras)], 7);
        assert_eq!(a, tf1.judge(&tf1.truth(&Prepared::new(&cell, &budget)), &of_tf1, 7));
        assert_eq!(b, keras.judge(&keras.truth(&Prepared::unprojected(&cell, &budget)), &of_keras, 7));
        assert!(a.is_some() && b.is_some() && a != b);
        let [none, b] = judged.judge([Some(&trace(3, 0)), Some(&of_keras)], 7);
        assert!(none.is_none() && b.is_some(), "misshapen");
        assert_eq!(judged.judge([None, None], 7), [None, None]);
    }
}
