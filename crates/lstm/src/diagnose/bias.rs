//! How a candidate's bias may have been made: its gate order, and what was added to which gate.

use ndarray::Array1;

use crate::Tf1Cell;
use crate::diagnose::sample::Tolerance;
use crate::diagnose::search::{ORDERS, left_over};
use crate::fault::Precision;
use crate::fault::recipe::{BiasRecipe, ForgetBias, Gates};
use crate::gate_order::{GateOrder, KERAS};

/// A way of making a bias, and how many of the candidate's values it does not explain.
#[derive(Clone, Copy, Debug)]
pub(super) struct BiasOption {
    pub(super) recipe: BiasRecipe,
    pub(super) unexplained: usize,
    /// Mistakes in it and what they leave, but for its gate order, which it may share with the kernels.
    pub(super) cost: f64,
}

/// How the stored bias was read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    interleaved: bool,
    missing: bool,
    halved: bool,
}

impl Reading {
    fn recipe(self, order: GateOrder, forget: ForgetBias) -> BiasRecipe {
        BiasRecipe { order, interleaved: self.interleaved, missing: self.missing, forget, halved: self.halved }
    }
}

/// The best few ways for each gate order, the order in which Keras wants it first.
pub(super) fn options(
    truth: &Tf1Cell,
    bias: &Array1<f32>,
    precision: Option<Precision>,
    tolerance: Tolerance,
) -> Vec<BiasOption> {
    let units = truth.units();
    let plain = Reading { interleaved: false, missing: false, halved: false };
    let mut readings = vec![plain, Reading { halved: true, ..plain }, Reading { missing: true, ..plain }];
    if units > 1 {
        readings.extend([Reading { interleaved: true, ..plain }, Reading { interleaved: true, halved: true, ..plain }]);
    }
    let mut options = vec![];
    for reading in readings {
        let search = Search { truth, bias, precision, tolerance, reading, units };
        let additions = search.additions();
        let mismatches: Vec<[[usize; 4]; 4]> = additions.iter().map(|a| search.mismatches(*a)).collect();
        for order in ORDERS {
            let position = order.map(|gate| KERAS.iter().position(|g| *g == gate).unwrap_or(0));
            let mut of_order = vec![];
            for (addition, mismatch) in additions.iter().zip(&mismatches) {
                let sets = if addition.is_none() { 0..1 } else { 1..16u8 };
                for set in sets {
                    let gates = Gates(set);
                    let unexplained = (0..4)
                        .map(|block| {
                            let table = if gates.has(order[block]) { mismatch } else { &mismatches[0] };
                            table[block][position[block]]
                        })
                        .sum();
                    let forget = addition
                        .map_or(ForgetBias { gates: Gates::default(), value: truth.forget_bias, twice: false }, |a| {
                            ForgetBias { gates, ..a }
                        });
                    let recipe = reading.recipe(order, forget);
                    let cost = mistakes(truth, &recipe) + left_over(unexplained as f64);
                    of_order.push(BiasOption { recipe, unexplained, cost });
                }
            }
            of_order.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.unexplained.cmp(&b.unexplained)));
            options.extend(of_order.into_iter().take(4));
        }
    }
    options.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let most = options.first().map_or(0.0, |o| o.cost) + 3.0;
    options.retain(|o| o.cost <= most);
    options
}

/// The number of mistakes in how a bias was made, its gate order aside.
fn mistakes(truth: &Tf1Cell, recipe: &BiasRecipe) -> f64 {
    let (forget, right) = (recipe.forget, truth.forget_bias);
    let sum = if forget.twice { 2.0 * forget.value } else { forget.value };
    let none = forget.gates.0 == 0;
    let mut count = usize::from(recipe.halved) + usize::from(recipe.missing);
    if none {
        count += usize::from(!recipe.missing && right != 0.0);
    } else {
        count += usize::from(forget.gates != Gates::FORGET);
        count += usize::from(sum != right || (recipe.missing && forget.gates == Gates::FORGET));
    }
    count as f64
}

struct Search<'a> {
    truth: &'a Tf1Cell,
    bias: &'a Array1<f32>,
    precision: Option<Precision>,
    tolerance: Tolerance,
    reading: Reading,
    units: usize,
}

impl Search<'_> {
    /// What may have been added: nothing, the forget bias once or twice, or what the differences say.
    fn additions(&self) -> Vec<Option<ForgetBias>> {
        let once = |value| ForgetBias { gates: Gates::default(), value, twice: false };
        let right = self.truth.forget_bias;
        let mut additions = vec![None];
        if right != 0.0 {
            additions.extend([Some(once(right)), Some(ForgetBias { twice: true, ..once(right) })]);
        }
        let mut seen = vec![0.0, right];
        for block in 0..4 {
            for gate in 0..4 {
                if let Some(value) = self.estimate(block, gate)
                    && !seen.contains(&value)
                {
                    seen.push(value);
                    additions.push(Some(once(value)));
                }
            }
        }
        additions
    }

    /// For each block of columns and each gate, how many of the candidate's values are not this gate's with `addition`.
    fn mismatches(&self, addition: Option<ForgetBias>) -> [[usize; 4]; 4] {
        // With every gate in the set the recipe adds to whichever gate is asked for.
        let all = Gates(0b1111);
        let none = ForgetBias { gates: Gates::default(), value: 0.0, twice: false };
        let recipe = self.reading.recipe(KERAS, addition.map_or(none, |a| ForgetBias { gates: all, ..a }));
        let mut mismatches = [[0; 4]; 4];
        for (block, row) in mismatches.iter_mut().enumerate() {
            for (gate, count) in KERAS.into_iter().zip(row) {
                *count = (0..self.units)
                    .filter(|unit| {
                        let value = recipe.value(&self.truth.bias, gate, *unit);
                        let value = self.precision.map_or(value, |p| p.round(value));
                        !self.tolerance.matches(value, self.bias[block * self.units + unit])
                    })
                    .count();
            }
        }
        mismatches
    }

    /// The value that, added to a gate's bias, gives most of a block of the candidate: `None` if no value gives half of
    /// it. Each unit leaves an interval of values that round to what the candidate has; the simplest decimal in the
    /// intersection of most is taken.
    fn estimate(&self, block: usize, gate: usize) -> Option<f32> {
        let none = ForgetBias { gates: Gates::default(), value: 0.0, twice: false };
        let recipe = BiasRecipe { halved: false, ..self.reading.recipe(KERAS, none) };
        let factor = if self.reading.halved { 2.0 } else { 1.0 };
        let mut intervals: Vec<(f64, f64)> = (0..self.units)
            .map(|unit| {
                let stored = f64::from(recipe.value(&self.truth.bias, KERAS[gate], unit));
                let found = self.bias[block * self.units + unit];
                let half_step = self.half_step(found);
                let (found, stored) = (f64::from(found), stored);
                (factor * (found - half_step) - stored, factor * (found + half_step) - stored)
            })
            .filter(|(low, high)| low.is_finite() && high.is_finite())
            .collect();
        if intervals.is_empty() {
            return None;
        }
        intervals.sort_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
        let mut common = intervals[intervals.len() / 2];
        let mut agreeing = 0;
        for (low, high) in &intervals {
            let (low, high) = (low.max(common.0), high.min(common.1));
            if low <= high {
                common = (low, high);
                agreeing += 1;
            }
        }
        if 2 * agreeing < self.units { None } else { Some(simplest(common.0, common.1)) }
    }

    /// Half the distance from a value to the next one of its format, and what the tolerance allows.
    fn half_step(&self, value: f32) -> f64 {
        let magnitude = f64::from(value.abs().max(f32::MIN_POSITIVE));
        let relative = match self.precision {
            None => f64::exp2(-24.0),
            Some(Precision::Float16) => f64::exp2(-11.0),
            Some(Precision::Bfloat16) => f64::exp2(-8.0),
        };
        let near = match self.tolerance {
            Tolerance::Exact => 0.0,
            Tolerance::Near(absolute) => f64::from(absolute) + 0.02 * magnitude,
        };
        relative * f64::exp2(magnitude.log2().floor()) + near
    }
}

/// The number with the fewest decimals in `low..=high`, or one near the middle.
fn simplest(low: f64, high: f64) -> f32 {
    let middle = f64::midpoint(low, high);
    let inside = |value: f64| (low..=high).contains(&value);
    for decimals in 0..9 {
        let scale = 10f64.powi(decimals);
        let rounded = (middle * scale).round() / scale;
        if inside(rounded) {
            return rounded as f32;
        }
    }
    // The interval may hold a single f32.
    let all = [middle, low, high].map(|value| value as f32);
    all.into_iter().find(|value| inside(f64::from(*value))).unwrap_or(all[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simplest_number_of_an_interval_is_taken() {
        assert_eq!(simplest(0.999_999, 1.000_001), 1.0);
        assert_eq!(simplest(0.699_99, 0.700_01), 0.7);
        assert_eq!(simplest(2.5, 2.5), 2.5);
        assert_eq!(simplest(0.1, 7.0), 4.0);
    }
}
