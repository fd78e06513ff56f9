//! Parts of a batch, spread over the cores: no sequence knows of another.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array3;

use super::{Arithmetic, Truth, run_with};
use crate::{Batch, CellTrace, Network, Tf1Cell, Trace, join_sequences};

/// Sequences that one thread takes at a time, at least and at most. Few of them keep every thread busy; many of them are
/// worth reading the weights for.
const PART: [usize; 2] = [32, 64];

/// How many sequences one thread takes at a time. The number of threads does not count, so that results do not depend
/// on it: what is drawn at random belongs to a part.
fn sequences_of_a_part(sequences: usize) -> usize {
    (sequences / 2).clamp(PART[0], PART[1])
}

/// [`run_with`] over parts of the batch, spread over the cores. `arithmetic` makes what one part runs with, from the
/// part's number.
///
/// # Panics
/// As [`run`].
pub fn run_in_parts<A: Arithmetic>(
    network: &Network<Tf1Cell>,
    batch: &Batch,
    arithmetic: &(impl Fn(usize) -> A + Sync),
) -> Truth {
    let mut parts = map_parts(network, batch, arithmetic, &|_, truth| truth);
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let joined = |pick: &dyn Fn(&Truth) -> &Array3<f64>| join_sequences(&parts.iter().map(pick).collect::<Vec<_>>());
    let gates = |truth: &Truth, k: usize| truth.trace.cells[k].gates.is_some();
    let cells = (0..network.cells().len())
        .map(|k| CellTrace {
            h: joined(&|t| &t.trace.cells[k].h),
            c: joined(&|t| &t.trace.cells[k].c),
            gates: parts
                .iter()
                .all(|t| gates(t, k))
                .then(|| joined(&|t| t.trace.cells[k].gates.as_ref().unwrap_or(&t.trace.cells[k].h))),
        })
        .collect();
    let inputs = (0..network.cells().len()).map(|k| joined(&|t| &t.inputs[k])).collect();
    Truth { trace: Trace { cells, output: joined(&|t| &t.trace.output) }, inputs }
}

/// What `each` makes of every part of the batch, in order: of the part's sequences and what [`run_with`] gives for them,
/// which is not kept. The parts are spread over the cores; `arithmetic` makes what one runs with, from its number.
///
/// # Panics
/// As [`run`].
pub fn map_parts<A: Arithmetic, R: Send>(
    network: &Network<Tf1Cell>,
    batch: &Batch,
    arithmetic: &(impl Fn(usize) -> A + Sync),
    each: &(impl Fn(Range<usize>, Truth) -> R + Sync),
) -> Vec<R> {
    let of_a_part = sequences_of_a_part(batch.sequences());
    let parts = batch.sequences().div_ceil(of_a_part).max(1);
    if parts == 1 {
        return vec![each(0..batch.sequences(), run_with(network, batch, &mut arithmetic(0)))];
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = vec![];
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return done;
            }
            let sequences = part * of_a_part..((part + 1) * of_a_part).min(batch.sequences());
            let truth = run_with(network, &batch.select(sequences.clone()), &mut arithmetic(part));
            done.push((part, each(sequences, truth)));
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        done.extend(others.into_iter().flat_map(|t| t.join().expect("the oracle does not panic")));
        done
    });
    done.sort_by_key(|(part, _)| *part);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use crate::oracle::{Exact, run};
    use ndarray::{Array1, Array2};

    #[test]
    fn parts_of_a_batch_give_what_the_batch_gives() {
        let cell =
            Tf1Cell::new(Array2::from_shape_fn((5, 8), |(r, c)| (r * 8 + c) as f32 / 40.0 - 0.5), Array1::ones(8))
                .unwrap();
        let network = Network::Cell(cell);
        // The smallest parts, parts in between, and the largest; each with one that is not full.
        for n in [2 * PART[0] + 3, PART[0] + PART[1] + 5, 2 * PART[1] + 3] {
            let batch = Batch {
                x: Array3::from_shape_fn((n, 4, 3), |(n, t, d)| ((n * 12 + t * 3 + d) % 7) as f32 - 3.0),
                lengths: Some((0..n).map(|n| 1 + n % 4).collect()),
                initial: vec![State {
                    h: Array2::zeros((n, 2)),
                    c: Array2::from_shape_fn((n, 2), |(n, u)| (n + u) as f32 / 9.0),
                }],
                record_gates: true,
            };
            let whole = run_with(&network, &batch, &mut Exact);
            assert_eq!(run(&network, &batch), whole);
        }
    }
}
