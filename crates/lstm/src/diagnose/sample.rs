//! A few weights of each gate's block of a candidate's kernel, by which most explanations are ruled out.

use ndarray::Array2;

use crate::Tf1Cell;
use crate::fault::{Gather, Part, Precision, same_weight};
use crate::gate_order::KERAS;

/// Weights looked at in each block.
const PER_BLOCK: usize = 48;

/// When two weights count as the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tolerance {
    /// When they are equal.
    Exact,
    /// When they differ by less than this, or by less than two percent.
    Near(f32),
}

impl Tolerance {
    pub(super) fn matches(self, expected: f32, found: f32) -> bool {
        match self {
            Tolerance::Exact => same_weight(expected, found),
            Tolerance::Near(absolute) => (expected - found).abs() <= absolute + 0.02 * expected.abs(),
        }
    }
}

/// A candidate's weights at some places of one kernel.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    part: Part,
    /// Row, unit and value, for each of the four blocks.
    blocks: [Vec<(usize, usize, f32)>; 4],
    /// Weights in a block, seen or not.
    pub(super) block_len: usize,
}

/// Of the weights sampled in each block of columns, how many are not those of each gate, in the order of
/// [`KERAS`], scaled to the whole block.
pub(super) type Mismatches = [[f64; 4]; 4];

impl Sample {
    pub(super) fn new(part: Part, kernel: &Array2<f32>) -> Sample {
        let (rows, units) = (kernel.nrows(), kernel.ncols() / 4);
        let block_len = rows * units;
        let places = places(block_len);
        let blocks = [0, 1, 2, 3].map(|block| {
            let weight = |at: &usize| (at / units, at % units, kernel[[at / units, block * units + at % units]]);
            // Zeros tell little: pruned weights are zero anywhere.
            let (told, zeros): (Vec<_>, Vec<_>) = places.iter().map(weight).partition(|(_, _, value)| *value != 0.0);
            told.into_iter().chain(zeros).take(PER_BLOCK).collect()
        });
        Sample { part, blocks, block_len }
    }

    /// How many sampled weights are of a format.
    pub(super) fn of_precision(&self, precision: Precision) -> (usize, usize) {
        let values = self.blocks.iter().flatten();
        let (mut of_it, mut all) = (0, 0);
        for (_, _, value) in values {
            all += 1;
            of_it += usize::from(precision.round(*value) == *value);
        }
        (of_it, all)
    }

    /// Compares each block with each gate of what a map makes of the fused kernel.
    pub(super) fn compare(
        &self,
        truth: &Tf1Cell,
        gather: Gather<'_>,
        precision: Option<Precision>,
        tolerance: Tolerance,
    ) -> Mismatches {
        let mut mismatches = [[0.0; 4]; 4];
        for (block, row) in self.blocks.iter().zip(&mut mismatches) {
            for (gate, mismatch) in KERAS.into_iter().zip(row) {
                let mut missed = 0;
                for (row, unit, found) in block {
                    let value = truth.kernel[gather.source(self.part, *row, gate, *unit)];
                    let value = precision.map_or(value, |p| p.round(value));
                    missed += usize::from(!tolerance.matches(value, *found));
                    // No use in counting how wrong the wrong ones are.
                    if 3 * missed > block.len() + 6 {
                        missed = block.len();
                        break;
                    }
                }
                *mismatch = missed as f64 * self.block_len as f64 / block.len() as f64;
            }
        }
        mismatches
    }
}

/// Places to look at among `len`, the same for the same `len`: all of them where there are few.
fn places(len: usize) -> Vec<usize> {
    if len <= PER_BLOCK {
        return (0..len).collect();
    }
    // Knuth's multiplicative generator modulo 2^64; its upper bits are well spread.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 32) as usize) % len
    };
    let mut places: Vec<usize> = (0..4 * PER_BLOCK).map(|_| next()).collect();
    places.sort_unstable();
    places.dedup();
    // Spread what is taken first: neighbours in a sorted list would all be in the first rows.
    let step = places.len().div_ceil(PER_BLOCK);
    (0..step).flat_map(|first| places.iter().skip(first).step_by(step).copied().collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_distinct_and_spread() {
        for len in [1, 48, 49, 200, 100_000] {
            let mut places = places(len);
            let count = places.len();
            assert!(count >= len.min(PER_BLOCK), "{count} of {len}");
            let first = &places[..count.min(PER_BLOCK)];
            assert!(first.iter().max().unwrap() * 5 >= (len - 1) * 4, "the first ones reach the end of {len}");
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), count);
            assert!(places.iter().all(|p| *p < len));
        }
    }
}
