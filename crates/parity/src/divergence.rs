//! Measuring how far two runs are apart.

use std::fmt;

/// Which of a cell's two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// The output h.
    Hidden,
    /// The cell state c.
    Cell,
}

impl StateKind {
    /// `h` or `c`.
    pub fn as_str(self) -> &'static str {
        match self {
            StateKind::Hidden => "h",
            StateKind::Cell => "c",
        }
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One element of a trace at a given step, with the values found there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Which state.
    pub state: StateKind,
    /// Sequence in the batch.
    pub sequence: usize,
    /// Unit of the state.
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

    /// Root of the mean square difference.
    pub fn rms(&self) -> f64 {
        let finite = self.count - self.non_finite;
        if finite == 0 { 0.0 } else { (self.sum_of_squares / finite as f64).sqrt() }
    }
}

/// How many representable f32 values lie from one to the other; +0 and −0 are the same place.
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
        Place { state: StateKind::Hidden, sequence: 1, unit: 2, expected, found }
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
}
