use ndarray::{Array1, Array2, array, s};
use proptest::prelude::*;

use super::*;
use crate::fault::{Injected, Precision, Tensors, catalogue, inject, inject_all};
use crate::gate_order::{Gate, TF1};
use crate::{Activation, Network};

/// Weights in about ±1, the same for the same seed.
struct Weights(u64);

impl Weights {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn cell(input: usize, units: usize, seed: u64) -> Tf1Cell {
    let mut weights = Weights(seed);
    for _ in 0..8 {
        weights.next();
    }
    let kernel = Array2::from_shape_simple_fn((input + units, 4 * units), || weights.next());
    let bias = Array1::from_shape_simple_fn(4 * units, || 0.3 * weights.next());
    Tf1Cell::new(kernel, bias).unwrap()
}

fn right(cell: &Tf1Cell) -> KerasCell {
    convert::to_keras(cell).unwrap()
}

/// The best explanation of what these mistakes make of a cell; `None` where they change nothing.
fn explained(cell: &Tf1Cell, faults: &[Fault]) -> Option<Explanation> {
    match inject_all(cell, faults) {
        Injected::Cell(wrong) => Some(explain(cell, &wrong).into_iter().next().expect("wrong, so explained")),
        Injected::Unobservable(_) => None,
        Injected::NotOnWeights => panic!("{faults:?}"),
    }
}

fn names(explanation: &Explanation) -> Vec<&'static str> {
    explanation.faults.iter().map(Fault::name).collect()
}

#[test]
fn a_right_conversion_needs_no_explanation() {
    for (d, u) in [(1, 1), (5, 8), (8, 8)] {
        let cell = cell(d, u, 1);
        assert_eq!(explain(&cell, &right(&cell)), []);
    }
    // The sign of a zero changes nothing: here it depends on whether 0 was added.
    let mut zero = cell(2, 2, 1);
    zero.forget_bias = 0.0;
    zero.bias.fill(-0.0);
    let mut candidate = right(&zero);
    candidate.bias.fill(-0.0);
    assert_eq!(explain(&zero, &candidate), []);
}

#[test]
fn every_single_fault_is_named() {
    for (d, u) in [(5, 8), (8, 5), (6, 6), (1, 7), (40, 24)] {
        for (seed, forget_bias) in [(1, 1.0), (2, 0.7)] {
            let mut cell = cell(d, u, seed);
            cell.forget_bias = forget_bias;
            for fault in catalogue(&cell) {
                if inject(&cell, &fault) == Injected::NotOnWeights {
                    continue;
                }
                let Some(best) = explained(&cell, std::slice::from_ref(&fault)) else {
                    assert!(matches!(fault, Fault::HardSigmoidDefinition { .. }) || d == 1, "{fault:?} {d} {u}");
                    continue;
                };
                if let Fault::WeightsDiffer(planted) = &fault {
                    let [Fault::WeightsDiffer(found)] = &best.faults[..] else { panic!("{best:?}") };
                    assert_eq!(found, planted);
                    assert_eq!(best.residual, (f64::from(planted.expected) - f64::from(planted.found)).abs());
                    continue;
                }
                // With one input these move nothing but the recurrent kernel, or nothing that others do not.
                let same = d == 1 && best.faults[0] == Fault::RecurrentTransposed;
                assert!(best.faults == [fault.clone()] || same, "{d} {u}: {fault:?} explained as {:?}", best.faults);
                assert!(best.residual == 0.0 && best.equal, "{fault:?}");
                assert!(best.text.contains("residual 0"), "{}", best.text);
            }
        }
    }
}

#[test]
fn every_pair_of_faults_is_explained_by_as_few() {
    let (mut pairs, mut named) = (0, 0);
    for (d, u) in [(5, 8), (6, 6), (9, 4)] {
        let cell = cell(d, u, 7);
        let on_weights = |f: &Fault| {
            !matches!(f, Fault::WeightsDiffer(_) | Fault::HardSigmoidDefinition { .. })
                && inject(&cell, f) != Injected::NotOnWeights
        };
        let faults: Vec<Fault> = catalogue(&cell).into_iter().filter(on_weights).collect();
        for (index, first) in faults.iter().enumerate() {
            for second in &faults[index + 1..] {
                let planted = [first.clone(), second.clone()];
                let Some(best) = explained(&cell, &planted) else { continue };
                pairs += 1;
                assert!(best.equal, "{d} {u}: {planted:?} explained as {}", best.text);
                assert!(best.faults.len() <= 2, "{d} {u}: {planted:?} explained as {:?}", best.faults);
                named += usize::from(planted.iter().all(|f| best.faults.contains(f)));
            }
        }
    }
    // The rest contradict each other, so that one of the two is all that is made, or are one fault under one name.
    assert!(pairs > 1500 && 100 * named > 85 * pairs, "{named} of {pairs}");
}

/// Sizes, scales and forget biases as they come, one or two faults: each is explained by its name, or by others that
/// make the very same layer.
#[test]
fn random_wrong_conversions_are_explained() {
    let mut weights = Weights(99);
    let mut pick = |n: usize| (((weights.next() + 1.0) / 2.0 * n as f32) as usize).min(n - 1);
    let mut explained = 0;
    for seed in 0..1500 {
        let largest = [4, 16, 48, 128][pick(4)];
        let mut cell = cell(1 + pick(largest), 1 + pick(largest), seed);
        let scale = [0.01f32, 0.1, 1.0, 10.0][pick(4)];
        cell.kernel *= scale;
        cell.bias *= scale * [0.0, 1.0, 1.0, 1.0][pick(4)];
        cell.forget_bias = [1.0, 1.0, 0.0, 0.3, 2.5, -1.37][pick(6)];
        let faults = catalogue(&cell);
        let planted: Vec<Fault> = (0..1 + pick(2)).map(|_| faults[pick(faults.len())].clone()).collect();
        let Injected::Cell(wrong) = inject_all(&cell, &planted) else { continue };
        explained += 1;
        let explanations = explain(&cell, &wrong);
        let best = &explanations[0];
        let found = names(best);
        let named = planted.iter().all(|f| found.contains(&f.name()));
        let again = matches!(inject_all(&cell, &best.faults), Injected::Cell(again) if same(&again, &wrong));
        assert!(named || again, "{planted:?} explained as {}", best.text);
        assert!(best.equal || found.contains(&"weights-differ"), "{planted:?}: {}", best.text);
    }
    assert!(explained > 1200, "{explained} of 1500 can be seen");
}

#[test]
fn pairs_that_people_make_are_named_as_they_would() {
    for (d, u) in [(5, 8), (8, 8)] {
        let cell = cell(d, u, 3);
        for (planted, expected) in [
            (
                vec![Fault::GatesNotPermuted, Fault::ForgetBiasMissing],
                vec!["gates-not-permuted", "forget-bias-missing"],
            ),
            (
                vec![Fault::KernelRowsRecurrentFirst, Fault::BiasNotPermuted],
                vec!["kernel-rows-recurrent-first", "bias-not-permuted"],
            ),
            (
                vec![Fault::RecurrentTransposed, Fault::ForgetBiasDoubled],
                vec!["recurrent-transposed", "forget-bias-doubled"],
            ),
            (
                vec![Fault::GatesNotPermuted, Fault::ForgetBiasWrongGate { gates: vec![Gate::Candidate] }],
                vec!["gates-not-permuted", "forget-bias-wrong-gate"],
            ),
            (
                vec![
                    Fault::ForgetBiasMissing,
                    Fault::RecurrentActivation { found: Activation::HardSigmoidKeras3 },
                    Fault::PrecisionReduced(Precision::Float16),
                ],
                vec!["forget-bias-missing", "recurrent-activation", "precision-reduced"],
            ),
        ] {
            let best = explained(&cell, &planted).unwrap();
            assert_eq!(names(&best), expected);
            assert!(best.equal);
        }
    }
}

#[test]
fn the_tiny_cell_of_the_reference() {
    let kernel = array![[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]];
    let cell = Tf1Cell::new(kernel, Array1::zeros(4)).unwrap();
    let candidate =
        |w: [f32; 4], u: [f32; 4], b: [f32; 4]| KerasCell::new(array![w], array![u], Array1::from(b.to_vec())).unwrap();
    let best = |c: KerasCell| explain(&cell, &c).into_iter().next();
    assert_eq!(best(candidate([0.1, 0.3, 0.2, 0.4], [0.5, 0.7, 0.6, 0.8], [0., 1., 0., 0.])), None);
    let missing = best(candidate([0.1, 0.3, 0.2, 0.4], [0.5, 0.7, 0.6, 0.8], [0.; 4])).unwrap();
    assert_eq!(missing.faults, [Fault::ForgetBiasMissing]);
    assert_eq!(
        missing.text,
        "candidate = correct conversion with the forget bias missing: residual 0 (on this cell the same as no bias)"
    );
    assert_eq!(missing.advice, "add 1 to columns 1..2 of the bias after permuting it");
    let unpermuted = best(candidate([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0., 0., 1., 0.])).unwrap();
    assert_eq!(names(&unpermuted), ["gates-not-permuted"]);
    let naive = best(candidate([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0., 1., 0., 0.])).unwrap();
    assert_eq!(naive.faults.len(), 1, "{}", naive.text);
    let rows = best(candidate([0.5, 0.7, 0.6, 0.8], [0.1, 0.3, 0.2, 0.4], [0., 1., 0., 0.])).unwrap();
    assert_eq!(rows.faults[0], Fault::KernelRowsRecurrentFirst);
}

#[test]
fn parameters_are_found() {
    let mut cell = cell(5, 8, 4);
    cell.forget_bias = 0.25;
    for value in [0.7f32, 2.5, -1.0, 0.1, 3.0, 1e-3] {
        let best = explained(&cell, &[Fault::ForgetBiasValue { found: value }]).unwrap();
        assert_eq!(best.faults, [Fault::ForgetBiasValue { found: value }]);
    }
    let wrong_and_other =
        [Fault::ForgetBiasWrongGate { gates: vec![Gate::Input, Gate::Forget] }, Fault::ForgetBiasValue { found: 1.5 }];
    assert_eq!(explained(&cell, &wrong_and_other).unwrap().faults, wrong_and_other);
    // Keras's initial bias, never overwritten.
    let initial = [Fault::BiasMissing, Fault::ForgetBiasValue { found: 1.0 }];
    assert_eq!(explained(&cell, &initial).unwrap().faults, initial);
    // Each tensor in an order of its own.
    let order = [Gate::Output, Gate::Input, Gate::Candidate, Gate::Forget];
    let orders = [
        Fault::GateOrder { tensors: Tensors::KERNEL, order },
        Fault::GateOrder { tensors: Tensors::RECURRENT, order: TF1 },
    ];
    assert_eq!(explained(&cell, &orders).unwrap().faults, orders);
}

#[test]
fn a_forget_bias_added_at_once_or_in_two_steps_is_doubled() {
    let mut cell = cell(3, 50, 5);
    cell.forget_bias = 0.3;
    for sum in [|b: f32| b + 0.3 + 0.3, |b: f32| b + 0.6] {
        let mut candidate = right(&cell);
        candidate.bias.slice_mut(s![50..100]).assign(&cell.bias.slice(s![100..150]).mapv(sum));
        assert_eq!(explain(&cell, &candidate)[0].faults, [Fault::ForgetBiasDoubled]);
    }
}

#[test]
fn what_a_fault_leaves_is_said_beside_it() {
    let cell = cell(5, 8, 6);
    let Injected::Cell(mut wrong) = inject(&cell, &Fault::ForgetBiasMissing) else { panic!() };
    wrong.kernel[[2, 9]] += 0.5;
    wrong.kernel[[4, 30]] -= 0.25;
    let best = &explain(&cell, &wrong)[0];
    assert_eq!(names(best), ["forget-bias-missing", "weights-differ"]);
    let Fault::WeightsDiffer(difference) = &best.faults[1] else { panic!() };
    assert_eq!((difference.count, difference.of), (2, 5 * 32 + 8 * 32 + 32));
    assert_eq!((difference.at.tensor, difference.at.row, difference.at.column), (Tensor::Kernel, 2, 9));
    assert_eq!(difference.at.gate, Gate::Forget);
    assert!((best.residual - 0.5).abs() < 1e-6 && !best.equal);
    assert!(best.text.contains("the forget bias missing, but 2 of 448 weights differ"), "{}", best.text);
}

#[test]
fn one_bias_off_does_not_hide_the_value_that_was_added() {
    let cell = cell(5, 8, 6);
    let Injected::Cell(mut wrong) = inject(&cell, &Fault::ForgetBiasValue { found: 2.5 }) else { panic!() };
    wrong.bias[10] += 0.125;
    let best = &explain(&cell, &wrong)[0];
    assert_eq!(best.faults[0], Fault::ForgetBiasValue { found: 2.5 });
    assert!(matches!(&best.faults[1], Fault::WeightsDiffer(d) if d.count == 1 && d.at.column == 10), "{best:?}");
}

#[test]
fn unrelated_weights_are_not_explained_away() {
    let (truth, other) = (cell(5, 8, 8), cell(5, 8, 9));
    let explanations = explain(&truth, &right(&other));
    assert_eq!(explanations.len(), 1);
    let best = &explanations[0];
    let [Fault::WeightsDiffer(difference)] = &best.faults[..] else { panic!("{best:?}") };
    assert!(difference.count > 440, "{difference:?}");
    assert!(best.text.starts_with("no known mistake explains the candidate: "), "{}", best.text);
    assert!(best.residual > 1.0);
}

#[test]
fn one_wrong_kernel_does_not_hide_a_mistake_in_the_bias() {
    let (truth, other) = (cell(5, 8, 8), cell(5, 8, 9));
    let mut candidate = right(&truth);
    candidate.recurrent_kernel = right(&other).recurrent_kernel;
    candidate.bias = match inject(&truth, &Fault::ForgetBiasMissing) {
        Injected::Cell(wrong) => wrong.bias,
        other => panic!("{other:?}"),
    };
    let best = &explain(&truth, &candidate)[0];
    assert_eq!(names(best), ["forget-bias-missing", "weights-differ"]);
    assert!(best.text.contains("in the recurrent kernel"), "{}", best.text);
}

#[test]
fn weights_that_are_nearly_right_are_seen_through() {
    let truth = cell(5, 8, 10);
    let nearly = |faults: &[Fault]| {
        let mut candidate = if faults.is_empty() {
            right(&truth)
        } else {
            match inject_all(&truth, faults) {
                Injected::Cell(wrong) => wrong,
                other => panic!("{other:?}"),
            }
        };
        let mut noise = Weights(77);
        candidate.kernel.mapv_inplace(|w| w + 1e-3 * noise.next());
        candidate.recurrent_kernel.mapv_inplace(|w| w + 1e-3 * noise.next());
        candidate.bias.mapv_inplace(|w| w + 1e-3 * noise.next());
        explain(&truth, &candidate).into_iter().next().unwrap()
    };
    let right = nearly(&[]);
    assert_eq!(names(&right), ["weights-differ"]);
    assert!(right.text.starts_with("candidate = correct conversion, nearly: "), "{}", right.text);
    let wrong = nearly(&[Fault::GatesNotPermuted, Fault::ForgetBiasMissing]);
    assert_eq!(names(&wrong), ["gates-not-permuted", "forget-bias-missing", "weights-differ"]);
    assert!(wrong.residual < 2e-3 && wrong.residual > 1e-4);
}

#[test]
fn weights_that_are_not_finite_come_first() {
    let truth = cell(2, 3, 11);
    let mut candidate = right(&truth);
    candidate.recurrent_kernel[[1, 4]] = f32::NAN;
    candidate.bias[0] = f32::INFINITY;
    let best = &explain(&truth, &candidate)[0];
    let [Fault::NonFinite { count: 2, first }] = &best.faults[..] else { panic!("{best:?}") };
    assert_eq!((first.tensor, first.row, first.column), (Tensor::RecurrentKernel, 1, 4));
    assert!(!best.equal);
    // The checkpoint's own NaN is no fault of the conversion.
    let mut broken = truth;
    broken.kernel[[0, 0]] = f32::NAN;
    assert_eq!(explain(&broken, &right(&broken)), []);
    let missing = explained(&broken, &[Fault::ForgetBiasMissing]).unwrap();
    assert_eq!(missing.faults, [Fault::ForgetBiasMissing]);
    assert!(missing.equal);
}

#[test]
fn layers_of_another_shape_are_a_fault() {
    let truth = cell(2, 3, 12);
    let best = &explain(&truth, &right(&cell(3, 3, 12)))[0];
    assert_eq!(names(best), ["shape-mismatch"]);
    assert_eq!(best.text, "kernel is [3, 12], not [2, 12]");
    let mut clipped = truth.clone();
    clipped.cell_clip = Some(1.0);
    let lost = &explain(&clipped, &right(&truth))[0];
    assert_eq!(lost.faults, [Fault::ClipIgnored]);
    assert!(lost.equal);
}

#[test]
fn column_splits_that_fit_no_layer_are_told_by_their_values() {
    let truth = cell(5, 3, 13);
    let k = &truth.kernel;
    let halves = explain_arrays(&truth, k.slice(s![.., ..6]), k.slice(s![.., 6..]), None);
    assert_eq!(halves[0].faults, [Fault::ColumnSplit(ColumnSplit::HalvesAsKernels)]);
    let at_input = explain_arrays(&truth, k.slice(s![.., ..5]), k.slice(s![.., 5..]), None);
    assert_eq!(at_input[0].faults, [Fault::ColumnSplit(ColumnSplit::AtInputColumn)]);
    let other = explain_arrays(&truth, k.slice(s![..4, ..]), k.slice(s![4.., ..]), None);
    assert_eq!(names(&other[0]), ["shape-mismatch", "shape-mismatch"]);
    let keras = right(&truth);
    assert_eq!(explain_arrays(&truth, keras.kernel.view(), keras.recurrent_kernel.view(), Some(keras.bias.view())), []);
}

mod networks {
    use super::*;

    fn pair<C>(forward: C, backward: C) -> Network<C> {
        Network::side_by_side(Network::Cell(forward), Network::Cell(backward))
    }

    fn explained(truth: &Network<Tf1Cell>, candidate: &Network<KerasCell>) -> Vec<(Vec<usize>, Vec<Fault>, bool)> {
        explain_network(truth, candidate)
            .into_iter()
            .map(|e| (e.cells, e.explanation.faults, e.explanation.equal))
            .collect()
    }

    #[test]
    fn exchanged_directions_and_layers_are_named() {
        let (a, b) = (cell(4, 4, 20), cell(4, 4, 21));
        let (ka, kb) = (right(&a), right(&b));
        let both = pair(a.clone(), b.clone());
        assert_eq!(explained(&both, &pair(ka.clone(), kb.clone())), []);
        assert_eq!(
            explained(&both, &pair(kb.clone(), ka.clone())),
            [(vec![0, 1], vec![Fault::DirectionsSwapped { forward: 0, backward: 1 }], true)]
        );
        let stack = |cells: Vec<_>| Network::Stack(cells.into_iter().map(Network::Cell).collect());
        let layers: Network<Tf1Cell> = Network::Stack(vec![Network::Cell(a.clone()), Network::Cell(b)]);
        assert_eq!(
            explained(&layers, &stack(vec![kb.clone(), ka.clone()])),
            [(vec![0, 1], vec![Fault::LayersSwapped { first: 0, second: 1 }], true)]
        );
        assert_eq!(
            explained(&layers, &stack(vec![ka.clone(), ka.clone()])),
            [(vec![1], vec![Fault::WrongLstm { expected: 1, found: 0 }], true)]
        );
        let Injected::Cell(wrong) = inject(&a, &Fault::ForgetBiasMissing) else { panic!() };
        let text = explain_network(&layers, &stack(vec![kb.clone(), wrong.clone()]));
        assert_eq!(text[0].explanation.faults, [Fault::LayersSwapped { first: 0, second: 1 }]);
        assert_eq!(text[1].explanation.faults, [Fault::WrongLstm { expected: 1, found: 0 }, Fault::ForgetBiasMissing]);
        assert_eq!(
            text[1].explanation.text,
            "the layer of cell 1 holds the weights of cell 0, correct conversion with the forget bias \
             missing: residual 0"
        );
        assert_eq!(explained(&layers, &stack(vec![wrong, kb])), [(vec![0], vec![Fault::ForgetBiasMissing], true)]);
    }

    #[test]
    fn other_wirings_and_directions_are_named() {
        let cells = [cell(4, 2, 22), cell(4, 2, 23), cell(4, 2, 24), cell(4, 2, 25)];
        let keras = cells.each_ref().map(right);
        let [a, b, c, d] = cells;
        let truth = Network::Stack(vec![pair(a.clone(), b), pair(c, d)]);
        let [ka, kb, kc, kd] = keras;
        let side_by_side = Network::side_by_side(
            Network::Stack(vec![Network::Cell(ka.clone()), Network::Cell(kc)]),
            Network::Stack(vec![Network::Cell(kb), Network::Cell(kd)]),
        );
        assert_eq!(explained(&truth, &side_by_side), [(vec![], vec![Fault::Stacking], false)]);
        let fewer = explain_network(&truth, &Network::Cell(ka.clone()));
        assert_eq!(fewer[0].explanation.text, "the number of layers is [1], not [4]");
        let backwards = KerasCell { go_backwards: true, ..ka };
        assert_eq!(
            explained(&Network::Cell(a), &Network::Cell(backwards)),
            [(vec![0], vec![Fault::BackwardNotReversed], true)]
        );
    }
}

/// Cells as generic as trained ones, and cells with so few different weights that many mistakes look alike.
fn any_cell() -> impl Strategy<Value = Tf1Cell> {
    let value = prop_oneof![
        4 => (-1.0f32..1.0).boxed(),
        1 => prop_oneof![Just(0.0f32), Just(1.0), Just(-0.5)].boxed(),
    ];
    let forget_bias = prop_oneof![Just(1.0f32), Just(0.0), Just(2.5), -2.0f32..2.0];
    (1usize..12, 1usize..12, forget_bias, any::<bool>()).prop_flat_map(move |(d, u, forget_bias, degenerate)| {
        let value = if degenerate { prop_oneof![Just(0.0f32), Just(1.0)].boxed() } else { value.clone().boxed() };
        (
            proptest::collection::vec(value.clone(), (d + u) * 4 * u),
            proptest::collection::vec(value, 4 * u),
            Just((d, u, forget_bias)),
        )
            .prop_map(|(kernel, bias, (d, u, forget_bias))| {
                let kernel = Array2::from_shape_vec((d + u, 4 * u), kernel).unwrap();
                let mut cell = Tf1Cell::new(kernel, Array1::from(bias)).unwrap();
                cell.forget_bias = forget_bias;
                cell
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_observable_fault_is_explained_by_itself_or_its_equal(cell in any_cell()) {
        for fault in catalogue(&cell) {
            let Injected::Cell(wrong) = inject(&cell, &fault) else { continue };
            let explanations = explain(&cell, &wrong);
            let best = &explanations[0];
            let again = inject_all(&cell, &best.faults);
            let reproduced = matches!(&again, Injected::Cell(c) if same(c, &wrong));
            prop_assert!(best.faults.len() == 1, "{fault:?} explained as {:?}", best.faults);
            prop_assert!(reproduced, "{fault:?} explained as {:?}", best.faults);
            prop_assert!(best.equal || matches!(fault, Fault::WeightsDiffer(_)), "{fault:?} {}", best.text);
        }
    }

    #[test]
    fn no_candidate_panics_or_goes_unexplained(a in any_cell(), b in any_cell()) {
        let candidate = right(&b);
        let explanations = explain(&a, &candidate);
        let right = a.input_size() == b.input_size() && a.units() == b.units() && same(&candidate, &right(&a));
        prop_assert_eq!(explanations.is_empty(), right);
    }
}
