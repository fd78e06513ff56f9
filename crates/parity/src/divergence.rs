//! Measuring how far two runs are apart.

use std::fmt;

use lstm::gate_order::Gate;
use lstm::oracle::vectorized;

use crate::rows::largest;

/// What is compared of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The output h.
    Hidden,
    /// The cell state c.
    Cell,
    /// A gate after its activation.
    Gate(Gate),
}

impl Quantity {
    /// All six, states first.
    pub const ALL: [Quantity; 6] = [
        Quantity::Hidden,
        Quantity::Cell,
        Quantity::Gate(Gate::Input),
        Quantity::Gate(Gate::Candidate),
        Quantity::Gate(Gate::Forget),
        Quantity::Gate(Gate::Output),
    ];

    /// `h` and `c` for the states, `i`, `j`, `f` and `o` for the gates, the candidate under TensorFlow's letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Quantity::Hidden => "h",
            Quantity::Cell => "c",
            Quantity::Gate(Gate::Input) => "i",
            Quantity::Gate(Gate::Candidate) => "j",
            Quantity::Gate(Gate::Forget) => "f",
            Quantity::Gate(Gate::Output) => "o",
        }
    }

    /// Whether it is handed on from step to step.
    pub fn is_state(self) -> bool {
        matches!(self, Quantity::Hidden | Quantity::Cell)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value for each [`Quantity`], in the order of [`Quantity::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerQuantity<T>(pub [T; 6]);

impl<T> PerQuantity<T> {
    /// The two states' values.
    pub fn states(&self) -> &[T] {
        &self.0[..2]
    }

    /// Each quantity with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Quantity, &T)> {
        Quantity::ALL.into_iter().zip(&self.0)
    }
}

/// One element of a trace at a given step, with the values found there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// What is compared.
    pub quantity: Quantity,
    /// Sequence in the batch.
    pub sequence: usize,
    /// Unit of the cell.
    pub unit: usize,
    /// The value that serves as reference.
    pub expected: f64,
    /// The value under judgement.
    pub found: f64,
}

/// The largest differences over a set of elements.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Divergence {
    /// Largest |Δ|.
    pub max_abs: f64,
    /// Largest |Δ| relative to the larger magnitude of the two values.
    pub max_rel: f64,
    /// Largest distance in representable f32 values.
    pub max_ulp: u64,
    sum_of_squares: f64,
    /// Elements compared.
    pub count: u64,
    /// Elements of which at least one value was NaN or infinite; they count in nothing else.
    pub non_finite: u64,
    /// Where the largest |Δ| was, or the first element that was not finite.
    pub at: Option<Place>,
}

impl Divergence {
    /// Takes one more element into account.
    pub fn add(&mut self, place: Place) {
        self.count += 1;
        let (a, b) = (place.expected, place.found);
        if !(a.is_finite() && b.is_finite()) {
            if self.non_finite == 0 {
                self.at = Some(place);
            }
            self.non_finite += 1;
            return;
        }
        let delta = (a - b).abs();
        self.sum_of_squares += delta * delta;
        if delta > 0.0 {
            self.max_rel = self.max_rel.max(delta / a.abs().max(b.abs()));
            self.max_ulp = self.max_ulp.max(ulp_distance(a as f32, b as f32));
        }
        if self.non_finite == 0 && (delta > self.max_abs || self.at.is_none()) {
            self.at = Some(place);
        }
        self.max_abs = self.max_abs.max(delta);
    }

    /// Takes a row of elements into account, one after the other; `place` tells where one stands, with its two values.
    pub(crate) fn add_row(&mut self, expected: &[f32], found: &[f32], place: impl Fn(usize, f32, f32) -> Place) {
        let deltas = expected.iter().zip(found).map(
            #[inline(always)]
            |(a, b)| {
                let (from, to) = (f64::from(*a), f64::from(*b));
                let delta = (from - to).abs();
                let relative = delta / from.abs().max(to.abs());
                // Both are 0: no difference.
                let relative = if delta > 0.0 { relative } else { 0.0 };
                // Exact: a distance has at most 33 bits.
                [delta, relative, ulp_distance(*a, *b) as f64, from, to]
            },
        );
        let [delta, relative, ulp, from, to] = largest(deltas);
        if !(from.is_finite() && to.is_finite()) {
            let elements = expected.iter().zip(found).enumerate();
            elements.for_each(|(unit, (a, b))| self.add(place(unit, *a, *b)));
            return;
        }
        let delta_of = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
        self.count += expected.len().min(found.len()) as u64;
        self.sum_of_squares += sum_of_squares(expected, found);
        self.max_rel = self.max_rel.max(relative);
        self.max_ulp = self.max_ulp.max(ulp as u64);
        if self.non_finite == 0 && (delta > self.max_abs || self.at.is_none()) {
            let first = expected.iter().zip(found).position(|values| delta_of(values) == delta);
            self.at = first.map(|k| place(k, expected[k], found[k])).or(self.at);
        }
        self.max_abs = self.max_abs.max(delta);
    }

    /// Both sets of elements together.
    pub fn merge(&self, other: &Divergence) -> Divergence {
        let larger = if other.max_abs > self.max_abs || self.at.is_none() { other } else { self };
        let first_not_finite = [self, other].into_iter().find(|d| d.non_finite > 0);
        Divergence {
            max_abs: self.max_abs.max(other.max_abs),
            max_rel: self.max_rel.max(other.max_rel),
            max_ulp: self.max_ulp.max(other.max_ulp),
            sum_of_squares: self.sum_of_squares + other.sum_of_squares,
            count: self.count + other.count,
            non_finite: self.non_finite + other.non_finite,
            at: first_not_finite.unwrap_or(larger).at,
        }
    }

    /// Root of the mean square difference.
    pub fn rms(&self) -> f64 {
        let finite = self.count - self.non_finite;
        if finite == 0 { 0.0 } else { (self.sum_of_squares / finite as f64).sqrt() }
    }
}

/// Of the differences of a row, eight sums side by side.
fn sum_of_squares(a: &[f32], b: &[f32]) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
            let mut sums = [0.0; 8];
            for (a, b) in a.chunks(8).zip(b.chunks(8)) {
                sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, values)| *sum += square(values));
            }
            sums.iter().sum()
        },
    )
}

/// How many representable f32 values lie from one to the other; +0 and −0 are the same place.
#[inline(always)]
pub fn ulp_distance(a: f32, b: f32) -> u64 {
    let ordered = |v: f32| {
        let bits = i64::from(v.to_bits() & 0x7FFF_FFFF);
        if v.is_sign_negative() { -bits } else { bits }
    };
    ordered(a).abs_diff(ordered(b))
}

/// The distance between neighbouring f32 values at this magnitude; never below the smallest normal number's.
pub fn ulp_at(magnitude: f64) -> f64 {
    let exponent = magnitude.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    (exponent - 23.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(expected: f64, found: f64) -> Place {
        Place { quantity: Quantity::Hidden, sequence: 1, unit: 2, expected, found }
    }

    /// Of a row at once, what is said of its elements one after the other.
    #[test]
    fn a_row_says_what_its_elements_say() {
        let nan = f32::NAN;
        let rows = [
            [1.0, 1.0, 0.0, -0.0, 2.0],
            [1.0, 1.5, -1.0, 1.5, 3.0],
            [nan, 1.5, -1.0, f32::INFINITY, 3.0],
            [-3.0, 0.0, f32::MIN_POSITIVE, 1e-42, f32::MAX],
            [f32::MAX, 0.0, 0.0, 2.0, f32::MIN],
        ];
        let mut lost = Divergence::default();
        lost.add(place(f64::NAN, 1.0));
        let mut seen = Divergence::default();
        seen.add(place(1.0, 1.5));
        for (a, b) in rows.iter().flat_map(|a| rows.map(|b| (a, b))) {
            for before in [Divergence::default(), lost, seen] {
                let (mut row, mut single) = (before, before);
                let at = |unit, a, b| Place { unit, ..place(f64::from(a), f64::from(b)) };
                row.add_row(a, &b, at);
                (0..5).for_each(|k| single.add(at(k, a[k], b[k])));
                assert!((row.rms() - single.rms()).abs() <= 1e-15 * single.rms(), "{row:?} {single:?}");
                row.sum_of_squares = single.sum_of_squares;
                // As text, for NaN is not equal to itself.
                assert_eq!(format!("{row:?}"), format!("{single:?}"), "{a:?} {b:?}");
            }
        }
        let mut equals = seen;
        equals.add_row(&[3.0], &[3.5], |_, a, b| place(f64::from(a), f64::from(b)));
        assert_eq!(equals.at.unwrap().expected, 1.0, "the first of equals");
        let mut empty = seen;
        empty.add_row(&[], &[], |_, _, _| unreachable!("no element"));
        assert_eq!(empty, seen);
    }

    #[test]
    fn ulps_are_counted_across_zero() {
        assert_eq!(ulp_distance(1.0, 1.0 + f32::EPSILON), 1);
        assert_eq!(ulp_distance(0.0, -0.0), 0);
        assert_eq!(ulp_distance(f32::from_bits(1), -f32::from_bits(1)), 2);
        assert_eq!(ulp_at(1.0), f64::from(f32::EPSILON));
        assert_eq!(ulp_at(1.9), f64::from(f32::EPSILON));
        assert!(ulp_at(0.0) > 0.0);
    }

    #[test]
    fn the_largest_difference_is_kept_with_its_place() {
        let mut d = Divergence::default();
        d.add(place(1.0, 1.0));
        d.add(place(2.0, 2.5));
        d.add(place(3.0, 3.1));
        assert_eq!((d.max_abs, d.max_rel, d.count, d.non_finite), (0.5, 0.2, 3, 0));
        assert_eq!(d.at.unwrap().found, 2.5);
        assert!((d.rms() - ((0.25 + 0.01f64) / 3.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_finite_is_counted_and_pointed_at() {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut d = Divergence::default();
            d.add(place(1.0, 9.0));
            d.add(place(bad, 0.0));
            d.add(place(0.0, bad));
            d.add(place(bad, bad));
            assert_eq!((d.non_finite, d.count), (3, 4));
            assert!(!d.at.unwrap().expected.is_finite());
        }
    }

    #[test]
    fn quantities_have_their_letters_and_states_come_first() {
        assert_eq!(Quantity::ALL.map(|q| q.to_string()).concat(), "hcijfo");
        assert_eq!(Quantity::ALL.map(Quantity::is_state), [true, true, false, false, false, false]);
        let numbered = PerQuantity([0, 1, 2, 3, 4, 5]);
        assert_eq!(numbered.states(), [0, 1]);
        assert!(numbered.iter().all(|(quantity, number)| quantity == Quantity::ALL[*number]));
    }

    #[test]
    fn an_ulp_is_that_of_the_binade() {
        for (magnitude, exponent) in [(2.0, -22), (-3.9, -22), (0.5, -24), (1024.0, -13)] {
            assert_eq!(ulp_at(magnitude), 2f64.powi(exponent), "{magnitude}");
        }
        assert_eq!(ulp_at(0.0), 2f64.powi(-149));
        assert_eq!(ulp_distance(-1.0, 1.0), 2 * u64::from(1f32.to_bits()));
    }

    #[test]
    fn every_measure_of_a_difference() {
        let mut d = Divergence::default();
        assert_eq!((d.rms(), d.at), (0.0, None));
        d.add(place(0.0, 0.0));
        assert_eq!((d.max_rel, d.at.unwrap().found), (0.0, 0.0), "equal zeros are no relative difference");
        d.add(place(-4.0, -1.0));
        d.add(place(1.0, -2.0));
        d.add(place(1.0, f64::NAN));
        let ulp = u64::from(1f32.to_bits()) + u64::from(2f32.to_bits());
        assert_eq!((d.max_abs, d.max_rel, d.max_ulp, d.count, d.non_finite), (3.0, 1.5, ulp, 4, 1));
        assert_eq!(d.rms(), 6f64.sqrt());
        assert_eq!(d.at.unwrap().expected, 1.0, "what is not finite is pointed at");
        let mut d = Divergence::default();
        d.add(place(-4.0, -1.0));
        d.add(place(1.0, -2.0));
        assert_eq!(d.at.unwrap().expected, -4.0, "the first of equals");
    }

    #[test]
    fn merging_is_adding_to_one() {
        let of = |places: &[(f64, f64)]| {
            let mut d = Divergence::default();
            places.iter().for_each(|(a, b)| d.add(place(*a, *b)));
            d
        };
        let nan = f64::NAN;
        let sets: [&[(f64, f64)]; 5] =
            [&[], &[(1.0, 1.5), (0.0, 3.0)], &[(2.0, 1.0)], &[(5.0, 9.0), (7.0, 4.0)], &[(1.0, 4.0)]];
        for a in sets {
            for b in sets {
                assert_eq!(of(a).merge(&of(b)), of(&[a, b].concat()), "{a:?} and {b:?}");
            }
        }
        let merged = of(&[(5.0, 9.0)]).merge(&of(&[(nan, 0.0), (0.0, 1.0)]));
        assert_eq!((merged.count, merged.non_finite, merged.max_abs), (3, 1, 4.0));
        assert!(merged.at.unwrap().expected.is_nan());
        let merged = of(&[(nan, 0.0)]).merge(&of(&[(nan, 8.0), (0.0, 1.0)]));
        assert_eq!((merged.non_finite, merged.at.unwrap().found), (2, 0.0));
    }
}
