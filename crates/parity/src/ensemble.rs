//! How far *right* f32 runs drift apart: an ensemble of oracle runs with randomly rounded arithmetic.
//!
//! Errors of a recurrent network grow with its weights: a chaotic one carries a right f32 run arbitrarily far from the
//! truth. No fixed tolerance, and no fixed factor between two lanes, tells such a run from a wrong one. So the same
//! network is run again in stochastic arithmetic (Vignes, "A stochastic arithmetic for reliable scientific
//! computation", 1993): every product, sum and stored state is rounded to f32 upwards or downwards at random, and every
//! activation is off by up to its budget. The roundings inside one long sum are drawn at once from their distribution:
//! for n terms tⱼ added one by one they have a variance of about n/6·u²·Σtⱼ², which Σw²·v² gives in one product.

use std::ops::Range;

use lstm::oracle::{self, Arithmetic};
use lstm::{Activation, Batch, CellTrace, Network, Tf1Cell, Trace};
use ndarray::{Axis, s};

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

fn stream(member: usize, part: usize) -> u32 {
    STREAM + member as u32 * PARTS + part as u32 % PARTS
}

/// The runs of an ensemble: each by parts, with the sequences of a part.
pub(crate) struct Runs(Vec<(Range<usize>, Trace<f64>)>);

/// Runs the ensemble of a network over a batch.
pub(crate) fn run(network: &Network<Tf1Cell>, batch: &Batch, budget: &ActivationBudget, seed: u64) -> Runs {
    let members = (0..members(batch.sequences())).flat_map(|member| {
        let arithmetic = |part: usize| Stochastic::new(Stream::new(seed, stream(member, part)), budget);
        oracle::map_parts(network, batch, &arithmetic, &|sequences, rounded| (sequences, rounded.trace))
    });
    Runs(members.collect())
}

impl Runs {
    /// How far the farthest member is from the truth, per cell and step (`[cell][t]`), over all sequences and units of h
    /// and c.
    pub(crate) fn floor(&self, truth: &Trace<f64>) -> Vec<Vec<f64>> {
        let mut floor = vec![vec![0.0f64; truth.output.len_of(Axis(1))]; truth.cells.len()];
        let parts: Vec<_> = std::thread::scope(|scope| {
            let parts = self.0.iter().map(|(sequences, part)| scope.spawn(|| floor_of(part, truth, sequences.clone())));
            let parts: Vec<_> = parts.collect();
            parts.into_iter().map(|part| part.join().expect("measuring does not panic")).collect()
        });
        raise(&mut floor, &parts);
        floor
    }
}

/// Raises a floor to what parts of the ensemble call for.
fn raise(floor: &mut [Vec<f64>], parts: &[Vec<Vec<f64>>]) {
    for part in parts {
        floor.iter_mut().flatten().zip(part.iter().flatten()).for_each(|(floor, part)| *floor = floor.max(*part));
    }
}

/// How far a member's part, of these sequences, is from the truth.
fn floor_of(member: &Trace<f64>, truth: &Trace<f64>, sequences: Range<usize>) -> Vec<Vec<f64>> {
    let of_cell = |(exact, rounded): (&CellTrace<f64>, &CellTrace<f64>)| {
        let mut floor = vec![0.0f64; exact.h.len_of(Axis(1))];
        for (exact, rounded) in [(&exact.h, &rounded.h), (&exact.c, &rounded.c)] {
            let exact = exact.slice(s![sequences.clone(), .., ..]);
            for (exact, rounded) in exact.outer_iter().zip(rounded.outer_iter()) {
                for (floor, (exact, rounded)) in floor.iter_mut().zip(exact.outer_iter().zip(rounded.outer_iter())) {
                    // Past a sequence's end both are zero. NaN is left out here: the truth's own is judged elsewhere.
                    *floor = exact.iter().zip(rounded).fold(*floor, |m, (a, b)| m.max((a - b).abs()));
                }
            }
        }
        floor
    };
    truth.cells.iter().zip(&member.cells).map(of_cell).collect()
}

/// Rounds every result to a neighbouring f32 value, up or down with equal chance.
struct Stochastic<'a> {
    stream: Stream,
    /// Blocks of the stream that were used.
    drawn: u64,
    /// One bit of chance each.
    coins: [u32; CHUNK],
    coins_left: usize,
    budget: &'a ActivationBudget,
}

/// Numbers that are rounded at a time: for each there is a word of chance in eight blocks of the stream, and a bit in one
/// word.
const CHUNK: usize = 32;

impl Stochastic<'_> {
    fn new(stream: Stream, budget: &ActivationBudget) -> Stochastic<'_> {
        Stochastic { stream, drawn: 0, coins: [0; CHUNK], coins_left: 0, budget }
    }

    #[inline(always)]
    fn words(&mut self) -> [u32; CHUNK] {
        let words = self.stream.words_of_eight(self.drawn);
        self.drawn += 8;
        let mut all = [0; CHUNK];
        all.chunks_exact_mut(8).zip(words).for_each(|(all, words)| all.copy_from_slice(&words));
        all
    }

    /// A coin for each number of a chunk.
    #[inline(always)]
    fn coins(&mut self) -> u32 {
        if self.coins_left == 0 {
            (self.coins, self.coins_left) = (self.words(), CHUNK);
        }
        self.coins_left -= 1;
        self.coins[self.coins_left]
    }

    /// Rounds a chunk.
    #[inline(always)]
    fn round_chunk(&mut self, values: &mut [f64]) {
        let coins = self.coins();
        values.iter_mut().enumerate().for_each(|(k, v)| *v = neighbour(*v, coins >> (k % CHUNK) & 1));
    }
}

/// Nearly standard normal: the sum of the four bytes of a word, centred and scaled to variance 1.
#[inline(always)]
fn normal(word: u32) -> f64 {
    let sum = (word & 0xFF) + (word >> 8 & 0xFF) + (word >> 16 & 0xFF) + (word >> 24);
    (f64::from(sum as i32) - 510.0) / 147.8
}

/// Uniform in [−1, 1).
#[inline(always)]
fn uniform(word: u32) -> f64 {
    f64::from(word as i32) / 2f64.powi(31)
}

/// The number of f32's precision next to a value: towards zero, or with a `coin` of 1 away from it. A value that has one is
/// left alone, and so is what f32 does not reach. Below its smallest normal number f32 is less precise than this.
#[inline(always)]
fn neighbour(value: f64, coin: u32) -> f64 {
    /// Bits of an f64 that an f32 has no room for.
    const BEYOND: u64 = (1 << 29) - 1;
    let bits = value.to_bits();
    let away = u64::from(coin) & u64::from(bits & BEYOND != 0);
    let rounded = f64::from_bits((bits & !BEYOND).wrapping_add(away << 29));
    if value.abs() <= f64::from(f32::MAX) { rounded } else { value }
}

impl Arithmetic for Stochastic<'_> {
    const EXACT: bool = false;

    fn sums(&mut self, values: &mut [f64], squares: &[f32], terms: usize) {
        let deviation = UNIT_ROUNDOFF * (terms as f64 / 6.0).sqrt();
        oracle::vectorized(
            #[inline(always)]
            || {
                for (values, squares) in values.chunks_mut(CHUNK).zip(squares.chunks(CHUNK)) {
                    let words = self.words();
                    for ((value, squares), word) in values.iter_mut().zip(squares).zip(words) {
                        *value += normal(word) * (deviation * f64::from(*squares).sqrt());
                    }
                    self.round_chunk(values);
                }
            },
        );
    }

    fn round(&mut self, values: &mut [f64]) {
        oracle::vectorized(
            #[inline(always)]
            || values.chunks_mut(CHUNK).for_each(|values| self.round_chunk(values)),
        );
    }

    fn activate(&mut self, function: Activation, values: &mut [f64]) {
        // A member errs as a right implementation may: anywhere within a quarter of the budget, which is half of the
        // largest error measured over all arguments.
        let (least, per_value) = (self.budget.at(function, 0.0) / 4.0, self.budget.at(function, 1.0) / 4.0);
        oracle::vectorized(
            #[inline(always)]
            || {
                for values in values.chunks_mut(CHUNK) {
                    let words = self.words();
                    for (value, word) in values.iter_mut().zip(words) {
                        *value += uniform(word) * (per_value * value.abs()).max(least);
                    }
                    self.round_chunk(values);
                }
            },
        );
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
        run(&network, &batch, &ActivationBudget::new(|_| 4.0), seed).floor(&truth).remove(0)
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
        let n = 3200 * CHUNK;
        let words: Vec<u32> = (0..n / CHUNK).flat_map(|_| a.words()).collect();
        let normal: Vec<f64> = words.iter().map(|word| normal(*word)).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let squares: Vec<f64> = normal.iter().map(|v| v * v).collect();
        assert!(mean(&normal).abs() < 0.02 && (mean(&squares) - 1.0).abs() < 0.02);
        let uniform: Vec<f64> = words.iter().map(|word| uniform(*word)).collect();
        assert!(mean(&uniform).abs() < 0.02 && uniform.iter().all(|v| (-1.0..1.0).contains(v)));
        let heads = (0..n / CHUNK).map(|_| a.coins().count_ones()).sum::<u32>() as f64 / n as f64;
        assert!((heads - 0.5).abs() < 0.02);
    }

    #[test]
    fn there_are_enough_runs_and_no_two_share_their_roundings() {
        assert_eq!([1, 2, 5, 31, 32, 64].map(members), [32, 16, 7, 2, 1, 1]);
        assert_eq!(members(0), 32);
        assert_eq!(
            [(0, 0), (0, 7), (1, 0), (31, 2)].map(|(m, p)| stream(m, p)),
            [1 << 28, (1 << 28) + 7, (1 << 28) + (1 << 20), (1 << 28) + (31 << 20) + 2]
        );
        assert_eq!(stream(1, 1 << 20), stream(1, 0), "parts come round, and never into the next member");
        let network = network(0.3);
        let batch = draw(InputSpec { sequences: 5, timesteps: 3, seed: 0 }, &network);
        let budget = ActivationBudget::new(|_| 4.0);
        let run = |member| {
            let arithmetic = |part| Stochastic::new(Stream::new(0, stream(member, part)), &budget);
            oracle::run_in_parts(&network, &batch, &arithmetic)
        };
        assert!((1..7).all(|k| run(k) != run(k - 1)));
    }

    #[test]
    fn the_floor_is_the_farthest_member_at_each_step() {
        let trace = |scale: f64| {
            let of = |first: f64| {
                ndarray::Array3::from_shape_fn((2, 3, 2), |(n, t, u)| scale * (first + (n * 100 + t * 10 + u) as f64))
            };
            let cell = |first| lstm::CellTrace { h: of(first), c: of(first + 1.0), gates: None };
            Trace { cells: vec![cell(1.0), cell(5.0)], output: of(1.0) }
        };
        let floor = |members: &[Trace<f64>]| {
            let mut floor = vec![vec![0.0; 3]; 2];
            raise(&mut floor, &members.iter().map(|m| floor_of(m, &trace(1.0), 0..2)).collect::<Vec<_>>());
            floor
        };
        // Twice and half the truth: the first is farther, in the second unit of c in the second sequence.
        let mut members = vec![trace(2.0), trace(0.5)];
        assert_eq!(floor(&members), [[103.0, 113.0, 123.0], [107.0, 117.0, 127.0]]);
        members[1].cells[1].h[[0, 1, 0]] = -985.0;
        members[0].cells[0].c[[1, 2, 1]] = f64::NAN;
        assert_eq!(floor(&members), [[103.0, 113.0, 122.0], [107.0, 1000.0, 127.0]]);
    }

    #[test]
    fn a_part_is_measured_against_its_own_sequences() {
        let of = |first: usize, sequences: usize, off: f64| {
            let values =
                ndarray::Array3::from_shape_fn((sequences, 2, 1), |(n, t, _)| (first + n) as f64 + off * t as f64);
            let cell = lstm::CellTrace { h: values.clone(), c: values.clone(), gates: None };
            Trace { cells: vec![cell], output: values }
        };
        let truth = of(0, 5, 0.0);
        assert_eq!(floor_of(&of(3, 2, 0.5), &truth, 3..5), [[0.0, 0.5]]);
        assert_eq!(floor_of(&of(3, 2, 0.5), &truth, 1..3), [[2.0, 2.5]]);
    }

    #[test]
    fn sums_are_off_by_what_their_terms_call_for() {
        let budget = ActivationBudget::new(|_| 4.0);
        let mut a = Stochastic::new(Stream::new(4, 0), &budget);
        // An exact multiple of 2⁻²⁰, so that rounding the sum itself adds next to nothing.
        let (terms, squares) = (600, 1e8f32);
        let mut values = vec![1.0; 20_000];
        a.sums(&mut values, &[squares; 20_000], terms);
        let errors: Vec<f64> = values.into_iter().map(|v| v - 1.0).collect();
        let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
        let expected = UNIT_ROUNDOFF * (100.0 * f64::from(squares)).sqrt();
        assert!((deviation / expected - 1.0).abs() < 0.03, "{deviation:e}, {expected:e}");
        assert!((errors.iter().sum::<f64>() / errors.len() as f64).abs() < 0.05 * expected);
        assert!(errors.iter().all(|e| f64::from((1.0 + e) as f32) == 1.0 + e), "rounded to f32");
    }

    #[test]
    fn an_activation_is_off_by_up_to_a_quarter_of_its_budget() {
        let budget = ActivationBudget::new(|a| if a == Activation::Tanh { 4096.0 } else { f64::NAN });
        let mut a = Stochastic::new(Stream::new(4, 0), &budget);
        let mut values = [0.5; 2000];
        a.activate(Activation::Tanh, &mut values);
        let errors = values.map(|v| v - 0.5);
        let quarter = budget.at(Activation::Tanh, 0.5) / 4.0;
        let ulp = 2f64.powi(-24);
        let (least, most) = errors.iter().fold((0.0f64, 0.0f64), |(a, b), e| (a.min(*e), b.max(*e)));
        assert!(most <= quarter + ulp && most > 0.98 * quarter, "{most:e} of {quarter:e}");
        assert!(least >= -quarter - ulp && least < -0.98 * quarter, "{least:e} of {quarter:e}");
        assert!(errors.iter().all(|e| f64::from((0.5 + e) as f32) == 0.5 + e), "rounded to f32");
    }

    /// Near zero, where a share of the value would be next to nothing.
    #[test]
    fn an_activation_near_zero_is_off_by_up_to_a_quarter_of_the_least() {
        let budget = ActivationBudget::new(|_| 4096.0);
        let mut a = Stochastic::new(Stream::new(4, 0), &budget);
        let mut values = [0.0; 2000];
        a.activate(Activation::Tanh, &mut values);
        let quarter = budget.at(Activation::Tanh, 0.0) / 4.0;
        assert!(quarter > 0.0);
        let (least, most) = values.iter().fold((0.0f64, 0.0f64), |(a, b), v| (a.min(*v), b.max(*v)));
        assert!(most <= 1.001 * quarter && most > 0.98 * quarter, "{most:e} of {quarter:e}");
        assert!(least >= -1.001 * quarter && least < -0.98 * quarter, "{least:e} of {quarter:e}");
    }

    fn rounded(a: &mut Stochastic<'_>, values: &[f64]) -> Vec<f64> {
        let mut values = values.to_vec();
        a.round(&mut values);
        values
    }

    #[test]
    fn what_f32_does_not_reach_is_left_alone() {
        let budget = ActivationBudget::new(|_| 4.0);
        let mut a = Stochastic::new(Stream::new(0, 0), &budget);
        assert_eq!(rounded(&mut a, &[1e300, f64::NEG_INFINITY]), [1e300, f64::NEG_INFINITY]);
        // Nearest above and nearest below: both neighbours either way.
        for value in [0.1, -0.1, 0.3, -0.3] {
            let seen = rounded(&mut a, &[value; 64]);
            let low = seen.iter().copied().fold(f64::INFINITY, f64::min);
            let high = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!(low < value && value < high && (low as f32).next_up() == high as f32, "{low} {value} {high}");
        }
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
        let seen = rounded(&mut a, &[third; 100]);
        let (below, above) = ((1f32 / 3.0).next_down(), 1f32 / 3.0);
        assert!(seen.iter().all(|v| *v == f64::from(below) || *v == f64::from(above)));
        assert!(seen.contains(&f64::from(below)) && seen.contains(&f64::from(above)));
        assert_eq!(rounded(&mut a, &[0.5; 40]), [0.5; 40]);
        let every_bit = f64::from_bits(u64::MAX);
        assert!(rounded(&mut a, &[f64::NAN, every_bit, -every_bit]).iter().all(|v| v.is_nan()));
    }
}
