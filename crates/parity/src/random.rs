//! Random numbers that depend on nothing but a seed and a place.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): each block of
//! four words is a function of a 64-bit key and a 128-bit counter, so any element can be drawn alone, in any order, on
//! any device. Values are made of the words by integer arithmetic and one exact conversion, so they are the same bit
//! for bit everywhere.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// What the centred sum of eight 16-bit uniforms is multiplied with.
pub const NORMAL_SCALE: f32 = 1.224_745 / 65_536.0;
/// What 24 random bits, centred, are multiplied with.
pub const UNIFORM_SCALE: f32 = 1.0 / (1u32 << 23) as f32;

/// One block of Philox4x32-10.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let wide = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    let (mut c, mut k) = (counter, key);
    for _ in 0..10 {
        let (high0, low0) = wide(MULTIPLIERS[0], c[0]);
        let (high1, low1) = wide(MULTIPLIERS[1], c[2]);
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0];
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    c
}

/// Eight blocks of [`philox`] side by side, for processors that work on as many numbers at a time.
#[inline(always)]
fn eight_philox(counters: [[u32; 8]; 4], key: [u32; 2]) -> [[u32; 8]; 4] {
    let (mut c, mut k) = (counters, key);
    for _ in 0..10 {
        let mut next = [[0; 8]; 4];
        for lane in 0..8 {
            let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
            let (first, second) = (product(MULTIPLIERS[0], c[0][lane]), product(MULTIPLIERS[1], c[2][lane]));
            next[0][lane] = (second >> 32) as u32 ^ c[1][lane] ^ k[0];
            next[1][lane] = second as u32;
            next[2][lane] = (first >> 32) as u32 ^ c[3][lane] ^ k[1];
            next[3][lane] = first as u32;
        }
        c = next;
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    c
}

/// A stream of independent numbers, addressed by index.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    key: [u32; 2],
    stream: u32,
}

impl Stream {
    /// The numbers of one purpose (`stream`) under one seed.
    pub fn new(seed: u64, stream: u32) -> Stream {
        Stream { key: [seed as u32, (seed >> 32) as u32], stream }
    }

    /// Four random words at `index`.
    pub fn words(&self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, self.stream, 0], self.key)
    }

    /// The words at `index` and the seven after it, the first of each before the second of each.
    #[inline(always)]
    pub(crate) fn words_of_eight(&self, index: u64) -> [[u32; 8]; 4] {
        let counter = std::array::from_fn(|k| index.wrapping_add(k as u64));
        let [low, high] = [counter.map(|c| c as u32), counter.map(|c| (c >> 32) as u32)];
        eight_philox([low, high, [self.stream; 8], [0; 8]], self.key)
    }

    /// Nearly standard normal: the sum of eight 16-bit uniforms, centred and scaled to variance 1, within ±4.9.
    pub fn normal(&self, index: u64) -> f32 {
        let sum: u32 = self.words(index).iter().map(|w| (w & 0xFFFF) + (w >> 16)).sum();
        // |sum − 262 140| < 2²⁴: the conversion is exact, and the product rounds once.
        let centred = sum as i32 - 4 * 0xFFFF;
        centred as f32 * NORMAL_SCALE
    }

    /// Uniform in [−1, 1), a multiple of 2⁻²³.
    pub fn uniform(&self, index: u64) -> f32 {
        let bits = (self.words(index)[0] >> 8) as i32;
        (bits - (1 << 23)) as f32 * UNIFORM_SCALE
    }

    /// Uniform in 0…n − 1, with a bias below n·2⁻³².
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&self, index: u64, n: u32) -> u32 {
        assert!(n > 0, "a choice among none");
        ((u64::from(self.words(index)[0]) * u64::from(n)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' Random123 (`tests/kat_vectors`, philox4x32 10).
    #[test]
    fn philox_agrees_with_its_authors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn eight_blocks_are_the_same_as_one_after_the_other() {
        let stream = Stream::new(0x0123_4567_89ab_cdef, 42);
        for index in [0, 5, u64::from(u32::MAX) - 3, u64::MAX - 2] {
            let eight = stream.words_of_eight(index);
            for k in 0..8 {
                assert_eq!(eight.map(|words| words[k]), stream.words(index.wrapping_add(k as u64)), "{index} {k}");
            }
        }
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let stream = Stream::new(7, 1);
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|i| f64::from(stream.normal(i))).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
    }

    #[test]
    fn every_bit_of_seed_stream_and_index_counts() {
        let stream = Stream::new(0x0123_4567_89AB_CDEF, 7);
        assert_eq!(
            stream.words(0xFEDC_BA98_7654_3210),
            philox([0x7654_3210, 0xFEDC_BA98, 7, 0], [0x89AB_CDEF, 0x0123_4567])
        );
    }

    /// Bit patterns, so that a certificate of today can be repeated tomorrow.
    #[test]
    fn values_are_made_of_the_words_as_documented() {
        let stream = Stream::new(0, 0);
        assert_eq!(stream.words(0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let halves = [0x6627, 0xe8d5, 0xe169, 0xc58d, 0xbc57, 0xac4c, 0x9b00, 0xdbd8].map(f64::from);
        let normal = (halves.iter().sum::<f64>() / 65_536.0 - 4.0 * 65_535.0 / 65_536.0) * 1.224_745;
        assert!((f64::from(stream.normal(0)) - normal).abs() < 1e-6, "{normal}");
        assert_eq!(stream.uniform(0), (f64::from(0x6627e8) / f64::from(1 << 23) - 1.0) as f32);
        assert_eq!((stream.below(0, 10), stream.below(0, u32::MAX)), (3, 0x6627_e8d4));
        let extreme = (0..200_000).map(|k| Stream::new(1, 1).normal(k)).fold(0f32, |m, v| m.max(v.abs()));
        assert!(extreme > 3.5 && extreme < 4.9, "{extreme}");
    }

    #[test]
    fn streams_and_seeds_differ_and_values_stay() {
        assert_eq!(Stream::new(0, 0).normal(0), Stream::new(0, 0).normal(0));
        assert_ne!(Stream::new(0, 0).words(0), Stream::new(0, 1).words(0));
        assert_ne!(Stream::new(0, 0).words(0), Stream::new(1, 0).words(0));
        let u = Stream::new(3, 0);
        assert!((0..1000).all(|i| (-1.0..1.0).contains(&u.uniform(i)) && u.below(i, 7) < 7));
    }
}
