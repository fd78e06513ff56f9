//! The search for the fewest mistakes that make a candidate of a cell.
//!
//! Kernel, recurrent kernel and bias are looked at apart, because most mistakes concern one of them: for each way of
//! taking the fused kernel apart the gate that each block of columns holds is found by a sample of its weights. What
//! fits is then put together, and the best few compositions are compared with every weight.

use crate::diagnose::bias::{self, BiasOption};
use crate::diagnose::sample::{Mismatches, Sample, Tolerance};
use crate::diagnose::setting_faults;
use crate::fault::recipe::Recipe;
use crate::fault::{Fault, Gather, Layout, Part, Precision, RowOp, Spot, Stage, Tensor, same_weight};
use crate::gate_order::{Gate, GateOrder, KERAS, TF1};
use crate::{KerasCell, Tf1Cell};

/// Compositions that are compared with every weight.
const COMPARED: usize = 8;

/// Every gate order, Keras's first and TensorFlow's second.
pub(super) const ORDERS: [GateOrder; 24] = orders();

const fn orders() -> [GateOrder; 24] {
    const GATES: [Gate; 4] = KERAS;
    let mut orders = [KERAS; 24];
    let mut count = 2;
    orders[1] = TF1;
    let mut code = 0;
    while code < 256 {
        let (a, b, c, d) = (code & 3, (code >> 2) & 3, (code >> 4) & 3, code >> 6);
        let distinct = a != b && a != c && a != d && b != c && b != d && c != d;
        let keras = a == 0 && b == 1 && c == 2;
        let tf1 = a == 0 && b == 2 && c == 1;
        if distinct && !keras && !tf1 {
            orders[count] = [GATES[a], GATES[b], GATES[c], GATES[d]];
            count += 1;
        }
        code += 1;
    }
    orders
}

/// What an explanation leaves unexplained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Remainder {
    /// Weights that differ, in kernel, recurrent kernel and bias.
    pub(super) counts: [usize; 3],
    /// Those that are not even close.
    far: [usize; 3],
    /// The largest difference.
    pub(super) largest: f64,
    pub(super) at: Spot,
    pub(super) expected: f32,
    pub(super) found: f32,
    /// Nearly all weights are close to what they should be.
    pub(super) near: bool,
}

impl Default for Remainder {
    fn default() -> Self {
        let at = Spot { tensor: Tensor::Kernel, row: 0, column: 0, gate: Gate::Input };
        Remainder { counts: [0; 3], far: [0; 3], largest: 0.0, at, expected: 0.0, found: 0.0, near: false }
    }
}

impl Remainder {
    fn cost(&self) -> f64 {
        total_left_over(self.far.map(|count| count as f64))
    }

    /// How many weights of each tensor differ, in brackets.
    pub(super) fn by_tensor(&self, candidate: &KerasCell) -> String {
        let of = [candidate.kernel.len(), candidate.recurrent_kernel.len(), candidate.bias.len()];
        let tensors = [Tensor::Kernel, Tensor::RecurrentKernel, Tensor::Bias];
        let parts: Vec<String> = tensors
            .iter()
            .zip(self.counts)
            .zip(of)
            .filter(|((_, count), _)| *count > 0)
            .map(|((tensor, count), of)| format!("{count} of {of} in the {tensor}"))
            .collect();
        if parts.len() < 2 && self.counts.iter().sum::<usize>() < 2 {
            String::new()
        } else {
            format!(" ({})", parts.join(", "))
        }
    }
}

/// What weights of one tensor that no mistake explains count against the number of mistakes: a mistake more must
/// explain half of them, or the last one.
pub(super) fn left_over(count: f64) -> f64 {
    if count > 0.0 { 1.05 + count.max(1.0).log2() } else { 0.0 }
}

/// [`left_over`] of kernel, recurrent kernel and bias.
fn total_left_over(counts: [f64; 3]) -> f64 {
    let left: f64 = counts.into_iter().map(left_over).sum();
    if left > 0.0 { left + 0.5 } else { 0.0 }
}

/// Counts faults; where two explain the same, the more telling one counts a trifle less.
fn count(faults: &[Fault]) -> f64 {
    faults.iter().map(|f| if matches!(f, Fault::GateOrder { .. }) { 1.01 } else { 1.0 }).sum()
}

/// The mistakes that explain a candidate best, and what they leave; then others that explain it as well and exactly.
pub(super) fn search(truth: &Tf1Cell, candidate: &KerasCell) -> Vec<(Vec<Fault>, Remainder)> {
    let exact = Search::new(truth, candidate, Tolerance::Exact).run();
    let half = (candidate.kernel.len() + candidate.recurrent_kernel.len()) / 2;
    match exact.first() {
        // Hardly a weight is where it should be. It may be close to it.
        Some((_, remainder)) if remainder.counts[0] + remainder.counts[1] > half => {
            let weights = truth.kernel.iter().map(|w| f64::from(*w)).filter(|w| w.is_finite());
            let mean_square = weights.map(|w| w * w).sum::<f64>() / truth.kernel.len() as f64;
            let tolerance = Tolerance::Near((0.02 * mean_square.sqrt()) as f32);
            let near = Search::new(truth, candidate, tolerance).run();
            let is_near = |(_, r): &(_, Remainder)| r.near;
            if near.first().is_some_and(is_near) { near } else { exact }
        }
        _ => exact,
    }
}

struct Search<'a> {
    truth: &'a Tf1Cell,
    candidate: &'a KerasCell,
    tolerance: Tolerance,
    input: Sample,
    recurrent: Sample,
    settings: f64,
}

/// A gate order of a kernel, and about how many weights it does not explain.
type OrderOption = (GateOrder, f64);

impl<'a> Search<'a> {
    fn new(truth: &'a Tf1Cell, candidate: &'a KerasCell, tolerance: Tolerance) -> Self {
        Search {
            truth,
            candidate,
            tolerance,
            input: Sample::new(Part::Input, &candidate.kernel),
            recurrent: Sample::new(Part::Recurrent, &candidate.recurrent_kernel),
            settings: count(&setting_faults(truth, candidate)),
        }
    }

    fn run(&self) -> Vec<(Vec<Fault>, Remainder)> {
        let mut best: Vec<(f64, Recipe)> = vec![];
        for precision in self.precisions() {
            let options = bias::options(self.truth, &self.candidate.bias, precision, self.tolerance);
            for layouts in self.chains() {
                // With fewer mistakes explained, further ones are of no interest, equivalent or not.
                let least = (layouts.len() + usize::from(precision.is_some())) as f64 + self.settings;
                if best.first().is_some_and(|(cost, _)| least > cost + 0.5) {
                    continue;
                }
                self.compose(&layouts, precision, &options, &mut best);
            }
        }
        self.compare_best(&best)
    }

    /// Formats that the candidate's weights may have been rounded to, the shortest first: it is the likeliest.
    fn precisions(&self) -> Vec<Option<Precision>> {
        let mut precisions = vec![];
        if self.tolerance == Tolerance::Exact {
            for precision in [Precision::Bfloat16, Precision::Float16] {
                let (a, b) = (self.input.of_precision(precision), self.recurrent.of_precision(precision));
                if 8 * (a.0 + b.0) >= 7 * (a.1 + b.1) {
                    precisions.push(Some(precision));
                }
            }
        }
        precisions.push(None);
        precisions
    }

    /// No mistake of layout, each of them, and each two of them in every order in which they can be made.
    fn chains(&self) -> Vec<Vec<Layout>> {
        let all = Layout::all(self.candidate.input_size(), self.candidate.units());
        let mut chains = vec![vec![]];
        chains.extend(all.iter().map(|layout| vec![*layout]));
        for first in &all {
            for second in &all {
                if first.stage() <= second.stage() && first != second {
                    chains.push(vec![*first, *second]);
                }
            }
        }
        debug_assert!(chains.iter().all(|c| c.iter().filter(|l| l.stage() == Stage::Split).count() <= 1));
        chains
    }

    /// Adds the compositions with these mistakes of layout to the best ones.
    fn compose(
        &self,
        layouts: &[Layout],
        precision: Option<Precision>,
        options: &[BiasOption],
        best: &mut Vec<(f64, Recipe)>,
    ) {
        let gather = |rows| Gather { input: self.candidate.input_size(), units: self.candidate.units(), layouts, rows };
        let compare = |sample: &Sample, rows| sample.compare(self.truth, gather(rows), precision, self.tolerance);
        let kernel = order_options(&compare(&self.input, RowOp::default()));
        for rows in RowOp::ALL {
            if rows != RowOp::default() && self.candidate.units() == 1 {
                continue;
            }
            let recurrent = order_options(&compare(&self.recurrent, rows));
            let row_ops = usize::from(rows.transposed) + usize::from(rows.rolled);
            let least = (layouts.len() + row_ops + usize::from(precision.is_some())) as f64
                + self.settings
                + left_over(kernel[0].1)
                + left_over(recurrent[0].1);
            for option in options {
                // Options are sorted: what follows costs no less.
                if best.get(COMPARED - 1).is_some_and(|(cost, _)| least + option.cost >= *cost) {
                    break;
                }
                if option.recipe.interleaved && !layouts.contains(&Layout::Interleaved) {
                    continue;
                }
                let worth =
                    |options: &[OrderOption], other: &[OrderOption]| worth_trying(options, other, option.recipe.order);
                let (kernels, recurrents) = (worth(&kernel, &recurrent), worth(&recurrent, &kernel));
                for (kernel, kernel_left) in &kernels {
                    for (recurrent, recurrent_left) in &recurrents {
                        let left = total_left_over([*kernel_left, *recurrent_left, option.unexplained as f64]);
                        let recipe = Recipe {
                            layouts: layouts.to_vec(),
                            rows,
                            kernel: *kernel,
                            recurrent: *recurrent,
                            bias: option.recipe,
                            precision,
                            weight: None,
                            activation: self.candidate.activation,
                            recurrent_activation: self.candidate.recurrent_activation,
                            go_backwards: self.candidate.go_backwards,
                        };
                        keep(best, count(&recipe.faults(self.truth)) + left, recipe);
                    }
                }
            }
        }
    }

    /// Compares the best compositions with every weight and returns the best of them, then its equals.
    fn compare_best(&self, best: &[(f64, Recipe)]) -> Vec<(Vec<Fault>, Remainder)> {
        let mut compared: Vec<(f64, Vec<Fault>, Remainder)> = vec![];
        for (estimate, recipe) in best {
            let lowest = compared.iter().map(|(cost, ..)| *cost).fold(f64::INFINITY, f64::min);
            // A sample sees too few differences rather than too many; what looks worse than the best is worse.
            if *estimate > lowest + 0.5 {
                continue;
            }
            let faults = recipe.faults(self.truth);
            if compared.iter().any(|(_, known, _)| *known == faults) {
                continue;
            }
            let remainder = self.remainder(recipe);
            compared.push((count(&faults) + remainder.cost(), faults, remainder));
        }
        compared.sort_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, faults, remainder)) = compared.first().cloned() else { return vec![] };
        let number = faults.len();
        let mut explanations = vec![(faults, remainder)];
        if remainder.counts == [0; 3] {
            let equals = compared.into_iter().skip(1).filter(|(_, f, r)| r.counts == [0; 3] && f.len() == number);
            explanations.extend(equals.map(|(_, faults, remainder)| (faults, remainder)));
        }
        explanations
    }

    /// What a composition leaves, over every weight.
    fn remainder(&self, recipe: &Recipe) -> Remainder {
        let gather = recipe.gather(self.truth);
        let units = gather.units;
        let round = |value: f32| recipe.precision.map_or(value, |p| p.round(value));
        let mut remainder = Remainder::default();
        let mut all = 0;
        let mut see = |tensor: Tensor, row: usize, column: usize, expected: f32, found: f32| {
            all += 1;
            if same_weight(expected, found) {
                return;
            }
            remainder.counts[tensor as usize] += 1;
            remainder.far[tensor as usize] += usize::from(!self.tolerance.matches(expected, found));
            let difference = (f64::from(expected) - f64::from(found)).abs();
            // The negated comparison lets NaN, where truth or candidate is infinite, be the largest.
            #[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is to count as larger than any number")]
            let larger = !(difference <= remainder.largest);
            if larger {
                remainder.largest = if difference.is_nan() { f64::INFINITY } else { difference };
                remainder.at = Spot::new(tensor, row, column, units);
                (remainder.expected, remainder.found) = (expected, found);
            }
        };
        for (part, tensor, order, weights) in [
            (Part::Input, Tensor::Kernel, recipe.kernel, &self.candidate.kernel),
            (Part::Recurrent, Tensor::RecurrentKernel, recipe.recurrent, &self.candidate.recurrent_kernel),
        ] {
            for (row, weights) in weights.outer_iter().enumerate() {
                for (block, gate) in order.into_iter().enumerate() {
                    for unit in 0..units {
                        let expected = round(self.truth.kernel[gather.source(part, row, gate, unit)]);
                        let column = block * units + unit;
                        see(tensor, row, column, expected, weights[column]);
                    }
                }
            }
        }
        for (block, gate) in recipe.bias.order.into_iter().enumerate() {
            for unit in 0..units {
                let column = block * units + unit;
                let expected = round(recipe.bias.value(&self.truth.bias, gate, unit));
                see(Tensor::Bias, 0, column, expected, self.candidate.bias[column]);
            }
        }
        remainder.near = self.tolerance != Tolerance::Exact && 10 * remainder.far.iter().sum::<usize>() <= all;
        remainder
    }
}

/// Inserts a composition among the best ones, after those that cost the same.
fn keep(best: &mut Vec<(f64, Recipe)>, cost: f64, recipe: Recipe) {
    let at = best.partition_point(|(other, _)| *other <= cost);
    if at < COMPARED {
        best.insert(at, (cost, recipe));
        best.truncate(COMPARED);
    }
}

/// All gate orders by how many weights they do not explain, the fewest first.
fn order_options(mismatches: &Mismatches) -> Vec<OrderOption> {
    let mut options: Vec<OrderOption> = ORDERS
        .into_iter()
        .map(|order| {
            let left =
                (0..4).map(|block| mismatches[block][KERAS.iter().position(|g| *g == order[block]).unwrap_or(0)]).sum();
            (order, left)
        })
        .collect();
    options.sort_by(|a, b| a.1.total_cmp(&b.1));
    options
}

/// Of a kernel's gate orders, those that can be part of the best explanation: the right one, the bias's, and those that
/// explain most, the other kernel's best first.
fn worth_trying(options: &[OrderOption], other: &[OrderOption], bias: GateOrder) -> Vec<OrderOption> {
    let least = options.first().map_or(0.0, |o| o.1);
    let shared = other.iter().take_while(|o| o.1 == other[0].1).map(|o| o.0);
    let best = options.iter().take_while(|o| o.1 == least);
    let mut wanted: Vec<GateOrder> = vec![KERAS, TF1, bias];
    wanted.extend(shared.filter(|order| options.iter().any(|(o, left)| o == order && *left == least)).take(4));
    wanted.extend(best.map(|o| o.0).take(2));
    let mut worth: Vec<OrderOption> = vec![];
    for order in wanted {
        let Some(option) = options.iter().find(|o| o.0 == order) else { continue };
        // An order that explains fewer weights is only of use where it saves a fault.
        if !worth.iter().any(|o| o.0 == order) && left_over(option.1) <= left_over(least) + 2.0 {
            worth.push(*option);
        }
    }
    worth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_all_different() {
        let mut letters: Vec<String> = ORDERS.iter().map(|o| o.iter().map(|g| g.letter()).collect()).collect();
        assert_eq!(&letters[..2], ["ifco", "icfo"]);
        letters.sort();
        letters.dedup();
        assert_eq!(letters.len(), 24);
    }

    #[test]
    fn a_mistake_must_explain_half_of_what_is_left() {
        assert_eq!((left_over(0.0), left_over(1.0), left_over(8.0)), (0.0, 1.05, 4.05));
    }
}
