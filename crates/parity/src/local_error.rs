//! How far a lane is from the truth after one step, as a share of what it may be.

use lstm::gate_order::Gate;

use crate::divergence::{PerQuantity, Place, Quantity};
use crate::rows::largest;

/// Local error of one lane at one step, over all sequences and units of one quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LocalError {
    /// Largest |Δ| from the truth.
    pub max_abs: f64,
    /// Largest |Δ| as a share of its bound: at most 1 for a right lane, but for a chance below 1e-7 per element. Infinite
    /// where there is no bound.
    pub ratio: f64,
    /// The bound where the ratio is largest.
    pub bound: f64,
    /// Largest |Δ| as a share of the bound that no rounding can exceed.
    pub worst_case_ratio: f64,
    /// Elements compared.
    pub count: u64,
    /// Elements that were NaN or infinite.
    pub non_finite: u64,
    /// Where the ratio is largest, or the first element that was not finite.
    pub at: Option<Place>,
}

impl LocalError {
    /// Takes one element into account.
    fn add(&mut self, place: Place, bound: f64, worst: f64) {
        self.count += 1;
        let delta = (place.expected - place.found).abs();
        if !delta.is_finite() {
            if self.non_finite == 0 {
                self.at = Some(place);
            }
            self.non_finite += 1;
            return;
        }
        self.max_abs = self.max_abs.max(delta);
        let [ratio, worst_case] = shares(delta, bound, worst);
        if ratio > self.ratio || self.at.is_none() {
            self.ratio = ratio;
            self.bound = bound;
            if self.non_finite == 0 {
                self.at = Some(place);
            }
        }
        self.worst_case_ratio = self.worst_case_ratio.max(worst_case);
    }

    /// Takes a row of elements into account, one after the other: `expected` with its bounds, and what was `found`. `place`
    /// tells where an element stands.
    pub(crate) fn add_row(
        &mut self,
        expected: &[f64],
        [bound, worst]: [&[f64]; 2],
        found: &[f32],
        place: impl Fn(usize, f64, f64) -> Place,
    ) {
        let elements = || expected.iter().zip(found).zip(bound.iter().zip(worst));
        let [delta, ratio, worst_case] = largest(elements().map(
            #[inline(always)]
            |((expected, found), (bound, worst))| {
                let delta = (expected - f64::from(*found)).abs();
                let [ratio, worst_case] = shares(delta, *bound, *worst);
                [delta, ratio, worst_case]
            },
        ));
        if !delta.is_finite() {
            for (unit, ((expected, found), (bound, worst))) in elements().enumerate() {
                self.add(place(unit, *expected, f64::from(*found)), *bound, *worst);
            }
            return;
        }
        self.count += elements().len() as u64;
        if ratio > self.ratio || self.at.is_none() {
            let share = |((expected, found), (bound, worst)): ((&f64, &f32), (&f64, &f64))| {
                shares((expected - f64::from(*found)).abs(), *bound, *worst)[0]
            };
            let Some(first) = elements().position(|element| share(element) == ratio) else { return };
            (self.ratio, self.bound) = (ratio, bound[first]);
            if self.non_finite == 0 {
                self.at = Some(place(first, expected[first], f64::from(found[first])));
            }
        }
        self.max_abs = self.max_abs.max(delta);
        self.worst_case_ratio = self.worst_case_ratio.max(worst_case);
    }

    /// Takes the elements of another into account, which come after its own: the same as if all had been added here.
    pub(crate) fn merge(&mut self, later: &LocalError) {
        if self.count == 0 {
            *self = *later;
            return;
        }
        let graver = later.ratio > self.ratio;
        // The first element that is not finite stays in view; else the first of those with the largest ratio.
        if self.non_finite == 0 && (later.non_finite > 0 || graver) {
            self.at = later.at;
        }
        if graver {
            (self.ratio, self.bound) = (later.ratio, later.bound);
        }
        self.max_abs = self.max_abs.max(later.max_abs);
        self.worst_case_ratio = self.worst_case_ratio.max(later.worst_case_ratio);
        self.count += later.count;
        self.non_finite += later.non_finite;
    }

    /// Within the bound at every element, and at least one compared. False for NaN.
    pub fn within(&self) -> bool {
        self.count > 0 && self.non_finite == 0 && self.ratio <= 1.0
    }
}

/// |Δ| as a share of its bound, and of the bound that no rounding can exceed.
#[inline(always)]
fn shares(delta: f64, bound: f64, worst: f64) -> [f64; 2] {
    // The smallest normal number stands for what a device that flushes subnormals may lose.
    let floor = f64::from(f32::MIN_POSITIVE);
    // Where nothing bounds the error, nothing is shown by its size.
    let ratio = if bound.is_finite() { delta / (bound + floor) } else { f64::INFINITY };
    let of_worst = delta / (worst + floor);
    [ratio, if of_worst.is_nan() { 0.0 } else { of_worst }]
}

impl PerQuantity<LocalError> {
    /// Every quantity within its bound.
    pub fn within(&self) -> bool {
        self.0.iter().all(LocalError::within)
    }

    /// The quantity furthest beyond its bound: values that are not finite before any that are.
    pub fn worst(&self) -> (Quantity, &LocalError) {
        let graver = |a: &LocalError, b: &LocalError| (a.non_finite > 0, a.ratio) > (b.non_finite > 0, b.ratio);
        self.iter().reduce(|a, b| if graver(b.1, a.1) { b } else { a }).expect("there are six quantities")
    }

    /// The gate whose error is the largest share of its bound.
    pub fn worst_gate(&self) -> Gate {
        let shares = self.iter().filter_map(|(quantity, error)| match quantity {
            Quantity::Gate(gate) => Some((gate, error.ratio)),
            _ => None,
        });
        shares.reduce(|a, b| if b.1 > a.1 { b } else { a }).expect("four of the quantities are gates").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(expected: f64, found: f64) -> Place {
        Place { quantity: Quantity::Cell, sequence: 1, unit: 2, expected, found }
    }

    #[test]
    fn errors_are_shares_of_both_bounds() {
        let mut e = LocalError::default();
        assert!(!e.within(), "nothing was compared");
        e.add(place(1.0, 1.0), 0.5, 2.0);
        assert!(e.within() && e.ratio == 0.0 && e.bound == 0.5 && e.at.is_some());
        e.add(place(1.0, 1.5), 1.0, 8.0);
        e.add(place(2.0, 2.25), 0.25, 1.0);
        assert_eq!((e.max_abs, e.ratio, e.bound, e.worst_case_ratio), (0.5, 1.0, 0.25, 0.25));
        assert_eq!((e.count, e.non_finite, e.at.unwrap().expected), (3, 0, 2.0));
        assert!(e.within(), "the bound itself is within");
        e.add(place(3.0, 3.25), 0.25, 1.0);
        assert_eq!(e.at.unwrap().expected, 2.0, "the first of equals");
        e.add(place(0.0, 0.26), 0.25, 1.0);
        assert!(!e.within());
    }

    /// However a row of elements is cut in two: the parts together say what all say.
    #[test]
    fn parts_together_say_what_all_say() {
        let nan = f64::NAN;
        for deltas in [[0.0, 0.0, 0.0, 0.0], [0.2, 0.4, 0.4, 0.1], [nan, 0.0, 0.3, nan], [0.4, nan, 0.5, 0.2], [nan; 4]]
        {
            let of = |numbers: std::ops::Range<usize>| {
                let mut e = LocalError::default();
                for k in numbers {
                    let place = Place { unit: k, ..place(1.0, 1.0 + deltas[k]) };
                    e.add(place, 1.0 + k as f64, if k == 2 { 1.0 } else { 8.0 });
                }
                e
            };
            for cut in 0..=4 {
                let mut parts = of(0..cut);
                parts.merge(&of(cut..4));
                // As text, for NaN is not equal to itself.
                assert_eq!(format!("{parts:?}"), format!("{:?}", of(0..4)), "{deltas:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_flushed_subnormal_is_within_and_no_more() {
        let smallest = f64::from(f32::MIN_POSITIVE);
        for (delta, within) in [(smallest, true), (smallest * 1.01, false)] {
            let mut e = LocalError::default();
            e.add(place(0.0, delta), 0.0, 0.0);
            assert_eq!((e.within(), e.worst_case_ratio <= 1.0), (within, within));
        }
    }

    #[test]
    fn nothing_is_within_a_bound_that_is_none() {
        for bound in [f64::INFINITY, f64::NAN] {
            let mut e = LocalError::default();
            e.add(place(1.0, 1.0), 0.5, 2.0);
            assert!(e.within());
            e.add(place(1.0, 1.0), bound, bound);
            e.add(place(1.0, 1.2), 0.5, 2.0);
            assert!(!e.within() && e.ratio == f64::INFINITY && !e.bound.is_finite());
        }
    }

    #[test]
    fn what_is_not_finite_is_never_within() {
        for (expected, found) in [(f64::NAN, 0.0), (0.0, f64::NAN), (0.0, f64::INFINITY), (f64::NAN, f64::NAN)] {
            let mut e = LocalError::default();
            e.add(place(7.0, 7.0), 1.0, 1.0);
            e.add(place(expected, found), f64::INFINITY, f64::INFINITY);
            e.add(place(f64::NAN, 5.0), 1.0, 1.0);
            e.add(place(0.0, 0.5), 1.0, 1.0);
            assert!(!e.within());
            assert_eq!((e.count, e.non_finite, e.ratio, e.max_abs), (4, 2, 0.5, 0.5));
            assert_eq!(e.at.unwrap().found.to_bits(), found.to_bits(), "the first that is not finite");
        }
        assert!(!LocalError { count: 1, ratio: f64::NAN, ..LocalError::default() }.within());
    }

    #[test]
    fn the_worst_quantity_and_gate_are_told() {
        let one = |ratio, non_finite| LocalError { ratio, non_finite, count: 1, ..LocalError::default() };
        let with = |all: [(f64, u64); 6]| PerQuantity(all.map(|(ratio, non_finite)| one(ratio, non_finite)));
        let found = with([(0.5, 0), (0.9, 0), (0.1, 0), (0.8, 0), (0.8, 0), (0.2, 0)]);
        assert_eq!((found.worst().0, found.worst_gate()), (Quantity::Cell, Gate::Candidate));
        assert!(found.within());
        let found = with([(5.0, 0), (0.9, 2), (0.9, 1), (0.9, 0), (0.9, 0), (0.9, 0)]);
        assert_eq!((found.worst().0, found.worst_gate()), (Quantity::Cell, Gate::Input));
        assert!(!found.within());
        let found = with([(0.0, 0), (0.0, 0), (0.0, 0), (0.0, 0), (0.0, 0), (1.1, 0)]);
        assert_eq!((found.worst().0, found.worst_gate()), (Quantity::Gate(Gate::Output), Gate::Output));
        assert!(!found.within());
    }

    /// Of a row at once, what is said of its elements one after the other.
    #[test]
    fn a_row_says_what_its_elements_say() {
        let (nan, none) = (f32::NAN, f64::INFINITY);
        let found_ones = [
            [1.0, 1.0, 1.0, 1.0, 1.0],
            [1.0, 1.25, 0.75, 1.5, 1.5],
            [1.0, 1.5, 1.5, 1.0, 3.0],
            [1.0, nan, 1.5, nan, 1.0],
            [f32::INFINITY, 1.0, 1.0, 1.0, 1.5],
        ];
        let all_bounds = [[1.0; 5], [1.0, 0.5, 0.25, 1.0, 1.0], [1.0, none, 0.5, 0.5, 2.0], [none; 5]];
        let first = LocalError::default();
        let mut seen = LocalError::default();
        seen.add(place(2.0, 2.5), 1.0, 1.0);
        let mut lost = seen;
        lost.add(place(2.0, f64::NAN), 1.0, 1.0);
        for (found, bounds) in found_ones.into_iter().flat_map(|f| all_bounds.map(|b| (f, b))) {
            for before in [first, seen, lost] {
                let (mut row, mut single) = (before, before);
                let at = |unit, expected, found| Place { unit, ..place(expected, found) };
                let worst = bounds.map(|b| 2.0 * b);
                row.add_row(&[1.0; 5], [&bounds, &worst], &found, at);
                for k in 0..5 {
                    single.add(at(k, 1.0, f64::from(found[k])), bounds[k], worst[k]);
                }
                // As text, for NaN is not equal to itself.
                assert_eq!(format!("{row:?}"), format!("{single:?}"), "{found:?} {bounds:?}");
            }
        }
        let mut empty = seen;
        empty.add_row(&[], [&[], &[]], &[], |_, _, _| unreachable!("no element"));
        assert_eq!(empty, seen);
    }
}
