//! How far two lanes are apart over many sequences, reduced as it is measured: what is kept does not grow with them.

use lstm::{Batch, CellTrace};
use ndarray::s;

use crate::divergence::ulp_distance;

/// One element of h or c in both lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The sequence.
    pub sequence: usize,
    /// Its unit.
    pub unit: usize,
    /// The TF1 lane's value.
    pub tf1: f32,
    /// The Keras lane's.
    pub keras: f32,
}

impl Seen {
    /// |Δ|.
    pub fn abs(&self) -> f64 {
        (f64::from(self.tf1) - f64::from(self.keras)).abs()
    }

    /// |Δ| relative to the larger magnitude of the two; zero where they are equal.
    pub fn rel(&self) -> f64 {
        let larger = f64::from(self.tf1).abs().max(f64::from(self.keras).abs());
        if self.abs() > 0.0 { self.abs() / larger } else { 0.0 }
    }

    /// Distance in representable f32 values.
    pub fn ulp(&self) -> u64 {
        ulp_distance(self.tf1, self.keras)
    }
}

/// h or c of one cell at one step, over all sequences and units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Apart {
    /// Elements compared.
    pub count: u64,
    /// Elements of which at least one value was NaN or infinite; they count in nothing else.
    pub non_finite: u64,
    /// The first of those.
    pub first_non_finite: Option<Seen>,
    /// The largest |Δ|.
    pub abs: Option<Seen>,
    /// The largest relative Δ.
    pub rel: Option<Seen>,
    /// The largest distance in representable values.
    pub ulp: Option<Seen>,
}

impl Apart {
    /// Takes one more element into account.
    pub fn add(&mut self, seen: Seen) {
        self.count += 1;
        if !(seen.tf1.is_finite() && seen.keras.is_finite()) {
            self.non_finite += 1;
            self.first_non_finite = self.first_non_finite.or(Some(seen));
            return;
        }
        self.keep(seen, seen, seen);
    }

    fn keep(&mut self, abs: Seen, rel: Seen, ulp: Seen) {
        let keep = |kept: &mut Option<Seen>, new: Seen, larger: bool| {
            if kept.is_none() || larger {
                *kept = Some(new);
            }
        };
        let before = *self;
        keep(&mut self.abs, abs, before.abs.is_some_and(|kept| abs.abs() > kept.abs()));
        keep(&mut self.rel, rel, before.rel.is_some_and(|kept| rel.rel() > kept.rel()));
        keep(&mut self.ulp, ulp, before.ulp.is_some_and(|kept| ulp.ulp() > kept.ulp()));
    }

    /// Takes the elements of a later set into account.
    pub fn merge(&mut self, later: &Apart) {
        self.count += later.count;
        self.non_finite += later.non_finite;
        self.first_non_finite = self.first_non_finite.or(later.first_non_finite);
        if let (Some(abs), Some(rel), Some(ulp)) = (later.abs, later.rel, later.ulp) {
            self.keep(abs, rel, ulp);
        }
    }

    /// Largest |Δ|; zero where nothing finite was compared.
    pub fn max_abs(&self) -> f64 {
        self.abs.map_or(0.0, |seen| seen.abs())
    }

    /// Largest relative Δ.
    pub fn max_rel(&self) -> f64 {
        self.rel.map_or(0.0, |seen| seen.rel())
    }

    /// Largest distance in representable f32 values.
    pub fn max_ulp(&self) -> u64 {
        self.ulp.map_or(0, |seen| seen.ulp())
    }
}

/// One step of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepApart {
    /// Of the output.
    pub h: Apart,
    /// Of the cell state.
    pub c: Apart,
}

impl StepApart {
    /// Takes the elements of a later set into account.
    pub fn merge(&mut self, later: &StepApart) {
        self.h.merge(&later.h);
        self.c.merge(&later.c);
    }

    /// Both together.
    pub fn states(&self) -> Apart {
        let mut both = self.h;
        both.merge(&self.c);
        both
    }
}

/// Every step of one cell in two traces. `None` if the shapes differ from the batch's or from each other. Sequences are
/// counted from `first`.
pub fn reduce(tf1: &CellTrace<f32>, keras: &CellTrace<f32>, batch: &Batch, first: usize) -> Option<Vec<StepApart>> {
    let expected = (batch.sequences(), batch.timesteps());
    let shape = |trace: &CellTrace<f32>| (trace.h.dim(), trace.c.dim());
    let ((n, t, _), (also_n, also_t, _)) = shape(tf1);
    if shape(tf1) != shape(keras) || (n, t) != expected || (also_n, also_t) != expected {
        return None;
    }
    let of = |a: &ndarray::Array3<f32>, b: &ndarray::Array3<f32>, t: usize| {
        let mut apart = Apart::default();
        for n in (0..batch.sequences()).filter(|n| batch.is_valid(*n, t)) {
            for (unit, (tf1, keras)) in a.slice(s![n, t, ..]).iter().zip(b.slice(s![n, t, ..])).enumerate() {
                apart.add(Seen { sequence: first + n, unit, tf1: *tf1, keras: *keras });
            }
        }
        apart
    };
    let step = |t| StepApart { h: of(&tf1.h, &keras.h, t), c: of(&tf1.c, &keras.c, t) };
    Some((0..batch.timesteps()).map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lstm::State;
    use ndarray::{Array2, Array3};

    fn seen(sequence: usize, tf1: f32, keras: f32) -> Seen {
        Seen { sequence, unit: 0, tf1, keras }
    }

    #[test]
    fn each_measure_keeps_its_own_place_and_the_first_of_equals() {
        let mut apart = Apart::default();
        assert_eq!((apart.max_abs(), apart.max_rel(), apart.max_ulp()), (0.0, 0.0, 0));
        for (n, (a, b)) in [(0.0, 0.0), (100.0, 101.0), (5.0, 4.0), (1e-8, -1e-8), (7.0, 6.0)].into_iter().enumerate() {
            apart.add(seen(n, a, b));
        }
        assert_eq!((apart.abs.unwrap().sequence, apart.max_abs()), (1, 1.0));
        assert_eq!((apart.rel.unwrap().sequence, apart.max_rel()), (3, 2.0));
        assert_eq!((apart.ulp.unwrap().sequence, apart.count), (3, 5));
        let of_ulp = 2 * u64::from(1e-8f32.to_bits());
        assert_eq!(apart.max_ulp(), of_ulp);
        apart.add(seen(9, -1e-8, 1e-8));
        apart.add(seen(10, 101.0, 100.0));
        let kept = [apart.abs, apart.rel, apart.ulp].map(|seen| seen.unwrap().sequence);
        assert_eq!(kept, [1, 3, 3], "the first of equals");
    }

    #[test]
    fn what_is_not_finite_is_counted_and_the_first_is_kept() {
        let mut apart = Apart::default();
        apart.add(seen(0, 1.0, 1.5));
        apart.add(seen(1, f32::NAN, 0.0));
        apart.add(seen(2, 0.0, f32::INFINITY));
        assert_eq!((apart.non_finite, apart.count, apart.first_non_finite.unwrap().sequence), (2, 3, 1));
        assert_eq!(apart.max_abs(), 0.5);
    }

    #[test]
    fn merging_is_adding_to_one() {
        let of = |all: &[(usize, f32, f32)]| {
            let mut apart = Apart::default();
            all.iter().for_each(|(n, a, b)| apart.add(seen(*n, *a, *b)));
            apart
        };
        let sets: [&[(usize, f32, f32)]; 4] = [
            &[],
            &[(0, 1.0, 2.0), (1, 0.0, 1e-9)],
            &[(2, f32::INFINITY, 0.0), (3, 4.0, 3.0)],
            &[(4, f32::NEG_INFINITY, 0.0)],
        ];
        for a in sets {
            for b in sets {
                let mut merged = of(a);
                merged.merge(&of(b));
                assert_eq!(merged, of(&[a, b].concat()), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn steps_are_merged_output_with_output_and_state_with_state() {
        let of = |n: usize, keras: f32| {
            let mut step = StepApart::default();
            step.h.add(seen(n, 0.0, keras));
            step.c.add(seen(n, 0.0, 8.0 - keras));
            step
        };
        let mut merged = of(0, 1.0);
        merged.merge(&of(1, 2.0));
        assert_eq!((merged.h.max_abs(), merged.c.max_abs()), (2.0, 7.0));
        assert_eq!((merged.h.count, merged.c.count), (2, 2));
    }

    #[test]
    fn traces_are_reduced_step_by_step_up_to_each_end() {
        let trace = |v: f32| CellTrace {
            h: Array3::from_shape_fn((2, 3, 2), |(n, t, u)| v * (100 * n + 10 * t + u + 1) as f32),
            c: Array3::from_shape_fn((2, 3, 1), |(n, t, _)| v * (n + t + 1) as f32),
            gates: None,
        };
        let start = State { h: Array2::zeros((2, 2)), c: Array2::zeros((2, 1)) };
        let batch =
            Batch { x: Array3::zeros((2, 3, 1)), lengths: Some(vec![3, 2]), initial: vec![start], record_gates: false };
        let steps = reduce(&trace(1.0), &trace(0.5), &batch, 40).unwrap();
        let worst: Vec<_> =
            steps.iter().map(|s| (s.h.abs.unwrap().sequence, s.h.abs.unwrap().unit, s.h.max_abs())).collect();
        assert_eq!(worst, [(41, 1, 51.0), (41, 1, 56.0), (40, 1, 11.0)]);
        assert_eq!(steps.iter().map(|s| (s.h.count, s.c.count)).collect::<Vec<_>>(), [(4, 2), (4, 2), (2, 1)]);
        assert_eq!(steps[0].states().max_abs(), 51.0);
        let mut short = trace(1.0);
        short.c = Array3::zeros((2, 2, 1));
        assert_eq!(reduce(&short, &trace(1.0), &batch, 0), None);
        assert_eq!(reduce(&short, &short, &batch, 0), None);
        let mut few = trace(1.0);
        few.h = Array3::zeros((1, 3, 2));
        assert_eq!(reduce(&few, &few, &batch, 0), None);
    }
}
