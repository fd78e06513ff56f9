//! How far *right* f32 runs drift apart: an ensemble of oracle runs with randomly rounded arithmetic.
//!
//! Errors of a recurrent network grow with its weights: a chaotic one carries a right f32 run arbitrarily far from the
//! truth. No fixed tolerance, and no fixed factor between two lanes, tells such a run from a wrong one. So the same
//! network is run again in stochastic arithmetic (Vignes, "A stochastic arithmetic for reliable scientific
//! computation", 1993): every product, sum and stored state is rounded to f32 upwards or downwards at random, and every
//! activation is off by up to its budget. The roundings inside one long sum are drawn at once from their distribution:
//! for n terms tⱼ added one by one they have a variance of about n/6·u²·Σtⱼ², which Σw²·v² gives in one product.

use lstm::oracle::{self, Arithmetic};
use lstm::{Activation, Batch, Network, Tf1Cell, Trace};
use ndarray::Axis;

use crate::bound::{ActivationBudget, UNIT_ROUNDOFF};
use crate::random::Stream;

/// Every sequence is run so often that there are at least this many runs in all.
const RUNS: usize = 32;

/// Runs of every sequence in the ensemble.
pub fn members(sequences: usize) -> usize {
    RUNS.div_ceil(sequences.max(1))
}

/// Streams from here on belong to the ensemble, [`PARTS`] to a member.
const STREAM: u32 = 1 << 28;
const PARTS: u32 = 1 << 20;

/// Runs every member.
pub fn run(network: &Network<Tf1Cell>, batch: &Batch, budget: &ActivationBudget, seed: u64) -> Vec<Trace<f64>> {
    let member = |member: usize| {
        let arithmetic = |part: usize| {
            let stream = STREAM + member as u32 * PARTS + part as u32 % PARTS;
            Stochastic::new(Stream::new(seed, stream), budget)
        };
        oracle::run_in_parts(network, batch, &arithmetic).trace
    };
    (0..members(batch.sequences())).map(member).collect()
}

/// How far the farthest member is from the truth, per cell and step (`[cell][t]`), over all sequences and units of h
/// and c.
pub fn noise_floor(members: &[Trace<f64>], truth: &Trace<f64>) -> Vec<Vec<f64>> {
    let timesteps = truth.output.len_of(Axis(1));
    let mut floor = vec![vec![0.0f64; timesteps]; truth.cells.len()];
    for member in members {
        for (floor, (exact, rounded)) in floor.iter_mut().zip(truth.cells.iter().zip(&member.cells)) {
            for (exact, rounded) in [(&exact.h, &rounded.h), (&exact.c, &rounded.c)] {
                for (floor, (exact, rounded)) in
                    floor.iter_mut().zip(exact.axis_iter(Axis(1)).zip(rounded.axis_iter(Axis(1))))
                {
                    // Past a sequence's end both are zero. NaN is left out here: the truth's own is judged elsewhere.
                    *floor = exact.iter().zip(rounded).fold(*floor, |m, (a, b)| m.max((a - b).abs()));
                }
            }
        }
    }
    floor
}

/// Rounds every result to a neighbouring f32 value, up or down with equal chance.
struct Stochastic<'a> {
    stream: Stream,
    drawn: u64,
    words: [u32; 4],
    left: usize,
    coins: u32,
    coins_left: u32,
    budget: &'a ActivationBudget,
}

impl Stochastic<'_> {
    fn new(stream: Stream, budget: &ActivationBudget) -> Stochastic<'_> {
        Stochastic { stream, drawn: 0, words: [0; 4], left: 0, coins: 0, coins_left: 0, budget }
    }

    fn word(&mut self) -> u32 {
        if self.left == 0 {
            self.words = self.stream.words(self.drawn);
            self.drawn += 1;
            self.left = 4;
        }
        self.left -= 1;
        self.words[self.left]
    }

    fn coin(&mut self) -> bool {
        if self.coins_left == 0 {
            self.coins = self.word();
            self.coins_left = 32;
        }
        self.coins_left -= 1;
        let bit = self.coins & 1 == 1;
        self.coins >>= 1;
        bit
    }

    /// Nearly standard normal: the sum of the four bytes of a word, centred and scaled to variance 1.
    fn normal(&mut self) -> f64 {
        let sum: u32 = self.word().to_le_bytes().into_iter().map(u32::from).sum();
        (f64::from(sum) - 510.0) / 147.8
    }

    /// Uniform in [−1, 1).
    fn uniform(&mut self) -> f64 {
        f64::from(self.word() as i32) / 2f64.powi(31)
    }
}

impl Arithmetic for Stochastic<'_> {
    const EXACT: bool = false;

    fn sum(&mut self, value: f64, squares: f64, terms: usize) -> f64 {
        let deviation = UNIT_ROUNDOFF * (terms as f64 / 6.0 * squares).sqrt();
        let error = self.normal() * deviation;
        self.round(value + error)
    }

    fn round(&mut self, value: f64) -> f64 {
        let nearest = value as f32;
        if f64::from(nearest) == value || !nearest.is_finite() {
            return value;
        }
        let (below, above) =
            if f64::from(nearest) > value { (nearest.next_down(), nearest) } else { (nearest, nearest.next_up()) };
        f64::from(if self.coin() { above } else { below })
    }

    fn activate(&mut self, function: Activation, value: f64) -> f64 {
        // A member errs as a right implementation may: anywhere within a quarter of the budget, which is half of the
        // largest error measured over all arguments.
        let share = self.uniform() / 4.0;
        self.round(value + share * self.budget.at(function, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{InputSpec, draw};
    use ndarray::{Array1, Array2};

    fn network(scale: f32) -> Network<Tf1Cell> {
        let w = Stream::new(1, 10);
        let kernel = Array2::from_shape_fn((21, 64), |(r, c)| scale * w.normal((r * 64 + c) as u64));
        Network::Cell(Tf1Cell::new(kernel, Array1::zeros(64)).unwrap())
    }

    fn floor(scale: f32, seed: u64) -> Vec<f64> {
        let network = network(scale);
        let batch = draw(InputSpec { sequences: 16, timesteps: 60, seed: 0 }, &network);
        let truth = oracle::run(&network, &batch).trace;
        noise_floor(&run(&network, &batch, &ActivationBudget::new(|_| 4.0), seed), &truth).remove(0)
    }

    #[test]
    fn the_floor_is_f32_noise_at_first_and_grows_with_the_weights() {
        let (calm, chaotic) = (floor(0.3, 0), floor(3.0, 0));
        assert!(calm[0] > 1e-8 && calm[0] < 1e-5, "{}", calm[0]);
        assert!(calm[59] < 1e-5, "a calm network forgets its errors: {}", calm[59]);
        assert!(chaotic[59] > 100.0 * chaotic[0], "a chaotic one does not: {} then {}", chaotic[0], chaotic[59]);
    }

    #[test]
    fn drawn_errors_have_mean_zero_and_the_right_size() {
        let budget = ActivationBudget::new(|_| 4.0);
        let mut a = Stochastic::new(Stream::new(3, 0), &budget);
        let n = 100_000;
        let normal: Vec<f64> = (0..n).map(|_| a.normal()).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let squares: Vec<f64> = normal.iter().map(|v| v * v).collect();
        assert!(mean(&normal).abs() < 0.02 && (mean(&squares) - 1.0).abs() < 0.02);
        let uniform: Vec<f64> = (0..n).map(|_| a.uniform()).collect();
        assert!(mean(&uniform).abs() < 0.02 && uniform.iter().all(|v| (-1.0..1.0).contains(v)));
        let heads = (0..n).filter(|_| a.coin()).count() as f64 / f64::from(n);
        assert!((heads - 0.5).abs() < 0.02);
    }

    #[test]
    fn the_same_seed_gives_the_same_floor() {
        assert_eq!(floor(0.3, 5), floor(0.3, 5));
        assert_ne!(floor(0.3, 5), floor(0.3, 6));
    }

    #[test]
    fn rounding_goes_to_a_neighbour_and_keeps_what_is_exact() {
        let budget = ActivationBudget::new(|_| 4.0);
        let mut a = Stochastic::new(Stream::new(0, 0), &budget);
        let third = 1.0 / 3.0;
        let seen: Vec<f64> = (0..100).map(|_| a.round(third)).collect();
        let (below, above) = ((1f32 / 3.0).next_down(), 1f32 / 3.0);
        assert!(seen.iter().all(|v| *v == f64::from(below) || *v == f64::from(above)));
        assert!(seen.contains(&f64::from(below)) && seen.contains(&f64::from(above)));
        assert_eq!(a.round(0.5), 0.5);
        assert!(a.round(f64::NAN).is_nan());
    }
}
