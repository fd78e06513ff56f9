//! Times of one contender, and what they say.

/// Milliseconds of one contender's runs, one number for each turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// In ascending order; never empty.
    sorted: Vec<f64>,
}

/// A median, and the range it lies in with 95 % confidence, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The median itself.
    pub median: f64,
    /// The least it may be.
    pub low: f64,
    /// The most it may be.
    pub high: f64,
}

impl Times {
    /// `None` if there is no time, or one that is not a positive number.
    pub fn new(mut ms: Vec<f64>) -> Option<Times> {
        ms.sort_by(f64::total_cmp);
        let sound = !ms.is_empty() && ms.iter().all(|t| t.is_finite() && *t > 0.0);
        sound.then_some(Times { sorted: ms })
    }

    /// Turns measured.
    pub fn turns(&self) -> usize {
        self.sorted.len()
    }

    /// The shortest.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// The longest.
    pub fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// The middle one, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let n = self.sorted.len();
        (self.sorted[(n - 1) / 2] + self.sorted[n / 2]) / 2.0
    }

    /// The median with the range it lies in: between two of the times, whatever their distribution, for each time is as
    /// likely above the true median as below it. With fewer than six turns, all that was seen.
    pub fn interval(&self) -> Interval {
        let n = self.sorted.len();
        let outside = left_out(n);
        Interval { median: self.median(), low: self.sorted[outside], high: self.sorted[n - 1 - outside] }
    }

    /// Neither is the faster one: the ranges of their medians overlap.
    pub fn ties_with(&self, other: &Times) -> bool {
        let (a, b) = (self.interval(), other.interval());
        a.low <= b.high && b.low <= a.high
    }
}

/// How many of `n` times may be left out on each side: as many as keep the chance that the median lies outside, on that
/// side, at 2.5 % or below. That chance is the one of at most so many heads in `n` tosses of a coin.
fn left_out(n: usize) -> usize {
    // The chance of exactly k heads, and of at most k.
    let mut exactly = 0.5f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut at_most = exactly;
    let mut left_out = 0;
    while at_most <= 0.025 && 2 * (left_out + 1) < n {
        left_out += 1;
        exactly *= (n + 1 - left_out) as f64 / left_out as f64;
        at_most += exactly;
    }
    // `left_out` values below the lower end mean at most `left_out − 1` heads.
    if at_most > 0.025 { left_out.saturating_sub(1) } else { left_out }
}

/// A regression below this ratio is not called one: two builds of the same source differ by as much.
const SLOWER: f64 = 1.05;

/// Whether `now` is slower than `before`: the ranges of the medians are apart, and the medians by more than 5 %.
pub fn regressed(before: Interval, now: Interval) -> bool {
    // Written so that what is not a number counts as a regression.
    !(now.low <= before.high || now.median <= SLOWER * before.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(ms: &[f64]) -> Times {
        Times::new(ms.to_vec()).unwrap()
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        for bad in [&[][..], &[0.0], &[1.0, -1.0], &[1.0, f64::NAN], &[f64::INFINITY]] {
            assert_eq!(Times::new(bad.to_vec()), None, "{bad:?}");
        }
    }

    #[test]
    fn the_median_and_its_range() {
        let odd = times(&[3.0, 1.0, 2.0]);
        assert_eq!((odd.median(), odd.min(), odd.max(), odd.turns()), (2.0, 1.0, 3.0, 3));
        assert_eq!(times(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(odd.interval(), Interval { median: 2.0, low: 1.0, high: 3.0 });
    }

    /// The ranks of the usual tables for the median at 95 %: n = 6 to 8 first and last, n = 9 to 11 second, n = 12 third.
    #[test]
    fn how_many_are_left_out_is_as_in_the_tables() {
        let expected =
            [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (14, 2), (15, 3), (17, 4), (20, 5), (25, 7)];
        for (n, outside) in expected {
            assert_eq!(left_out(n), outside, "{n} times");
        }
        assert_eq!(left_out(100), 39);
    }

    #[test]
    fn ranges_that_overlap_are_a_tie() {
        let fast = times(&[1.0, 1.1, 1.2]);
        assert!(fast.ties_with(&times(&[1.2, 1.3, 1.4])) && fast.ties_with(&fast));
        assert!(!fast.ties_with(&times(&[1.21, 1.3, 1.4])) && !times(&[1.21, 1.3, 1.4]).ties_with(&fast));
    }

    #[test]
    fn a_regression_is_apart_and_more_than_a_twentieth_slower() {
        let at = |low, median, high| Interval { low, median, high };
        let before = at(0.9, 1.0, 1.02);
        assert!(regressed(before, at(1.03, 1.06, 1.1)));
        assert!(!regressed(before, at(1.0, 1.06, 1.1)), "the ranges overlap");
        assert!(!regressed(before, at(1.03, 1.04, 1.1)), "too small to be called one");
        assert!(!regressed(before, at(0.5, 0.6, 0.7)), "faster");
        assert!(regressed(before, at(f64::NAN, f64::NAN, f64::NAN)), "nothing is known of it");
    }
}
