use ndarray::{Array1, Array2, array, s};

use super::*;
use crate::gate_order::{Gate, KERAS, TF1};
use crate::{KerasCell, Tf1Cell, convert};

/// Two inputs, two units: every value names its place, row then column in i, j, f, o.
fn cell() -> Tf1Cell {
    let kernel = Array2::from_shape_fn((4, 8), |(r, c)| (10 * (r + 1) + c) as f32 + 0.1);
    Tf1Cell::new(kernel, array![1., 2., 3., 4., 5., 6., 7., 8.]).unwrap()
}

fn injected(cell: &Tf1Cell, fault: &Fault) -> KerasCell {
    match inject(cell, fault) {
        Injected::Cell(wrong) => wrong,
        other => panic!("{fault:?}: {other:?}"),
    }
}

fn reason(cell: &Tf1Cell, fault: &Fault) -> String {
    match inject(cell, fault) {
        Injected::Unobservable(why) => why,
        other => panic!("{fault:?}: {other:?}"),
    }
}

#[test]
fn the_recipe_without_mistakes_is_the_conversion() {
    assert_eq!(recipe::Recipe::right(&cell()).apply(&cell()), convert::to_keras(&cell()).unwrap());
}

#[test]
fn mistakes_with_the_forget_bias_show_in_the_bias() {
    let bias = |fault| injected(&cell(), &fault).bias.to_vec();
    assert_eq!(convert::to_keras(&cell()).unwrap().bias.to_vec(), [1., 2., 6., 7., 3., 4., 7., 8.]);
    assert_eq!(bias(Fault::ForgetBiasMissing), [1., 2., 5., 6., 3., 4., 7., 8.]);
    assert_eq!(bias(Fault::ForgetBiasDoubled), [1., 2., 7., 8., 3., 4., 7., 8.]);
    assert_eq!(bias(Fault::ForgetBiasValue { found: 2.5 }), [1., 2., 7.5, 8.5, 3., 4., 7., 8.]);
    let wrong = |gates: &[Gate]| bias(Fault::ForgetBiasWrongGate { gates: gates.to_vec() });
    assert_eq!(wrong(&[Gate::Candidate]), [1., 2., 5., 6., 4., 5., 7., 8.]);
    assert_eq!(wrong(&KERAS), [2., 3., 6., 7., 4., 5., 8., 9.]);
    assert_eq!(bias(Fault::BiasNotPermuted), [1., 2., 3., 4., 6., 7., 7., 8.]);
    assert_eq!(bias(Fault::BiasHalfDropped), [0.5, 1., 3., 3.5, 1.5, 2., 3.5, 4.]);
    assert_eq!(bias(Fault::BiasMissing), [0.; 8]);
    assert_eq!(bias(Fault::InterleavedGates { bias: true }), [1., 5., 4., 8., 2., 6., 4., 8.]);
}

#[test]
fn mistakes_of_layout_move_kernel_rows_and_columns() {
    let right = convert::to_keras(&cell()).unwrap();
    let not_permuted = injected(&cell(), &Fault::GatesNotPermuted);
    assert_eq!(not_permuted.kernel, cell().kernel.slice(s![..2, ..]));
    assert_eq!(not_permuted.recurrent_kernel, cell().kernel.slice(s![2.., ..]));
    assert_eq!(not_permuted.bias.to_vec(), [1., 2., 3., 4., 6., 7., 7., 8.]);
    let swapped = injected(&cell(), &Fault::KernelRowsRecurrentFirst);
    assert_eq!((&swapped.kernel, &swapped.recurrent_kernel), (&right.recurrent_kernel, &right.kernel));
    assert_eq!(swapped.bias, right.bias);
    let rolled = injected(&cell(), &Fault::RecurrentRowsRolled);
    assert_eq!(rolled.recurrent_kernel.row(0), right.recurrent_kernel.row(1));
    let transposed = injected(&cell(), &Fault::RecurrentTransposed).recurrent_kernel;
    assert_eq!(transposed.slice(s![.., 2..4]), right.recurrent_kernel.slice(s![.., 2..4]).t());
    let order = [Gate::Output, Gate::Forget, Gate::Candidate, Gate::Input];
    let kernel_only = injected(&cell(), &Fault::GateOrder { tensors: Tensors::KERNEL, order });
    assert_eq!(kernel_only.kernel.slice(s![.., ..2]), right.kernel.slice(s![.., 6..]));
    assert_eq!((kernel_only.recurrent_kernel, kernel_only.bias), (right.recurrent_kernel, right.bias));
}

#[test]
fn settings_and_single_weights_can_be_wrong() {
    let found = Activation::HardSigmoidKeras2;
    assert_eq!(injected(&cell(), &Fault::RecurrentActivation { found }).recurrent_activation, found);
    assert_eq!(injected(&cell(), &Fault::Activation { found }).activation, found);
    assert!(injected(&cell(), &Fault::BackwardNotReversed).go_backwards);
    let half = injected(&cell(), &Fault::PrecisionReduced(Precision::Bfloat16));
    assert_eq!(half.kernel[[0, 0]], 10.125);
    let at = Spot { tensor: Tensor::RecurrentKernel, row: 1, column: 3, gate: Gate::Forget };
    let one = Fault::WeightsDiffer(Difference { count: 1, of: 40, at, expected: 45.1, found: -3.0 });
    let wrong = injected(&cell(), &one);
    assert_eq!(wrong.recurrent_kernel[[1, 3]], -3.0);
    let outside = Spot { row: 2, ..at };
    let fault = Fault::WeightsDiffer(Difference { count: 1, of: 40, at: outside, expected: 0.0, found: 1.0 });
    assert!(reason(&cell(), &fault).contains("no weight in row 2"));
}

#[test]
fn what_cannot_show_says_why() {
    let mut flat = Tf1Cell::new(Array2::ones((3, 8)), Array1::zeros(8)).unwrap();
    flat.forget_bias = 0.0;
    for (fault, why) in [
        (Fault::ForgetBiasMissing, "the forget bias is 0"),
        (Fault::ForgetBiasDoubled, "the forget bias is 0"),
        (Fault::GatesNotPermuted, "the gates that it exchanges hold the same weights"),
        (Fault::RecurrentTransposed, "every gate's block of the recurrent kernel is symmetric"),
        (Fault::RecurrentRowsRolled, "the rows of the recurrent kernel are equal"),
        (Fault::BiasMissing, "the bias is 0"),
        (Fault::PrecisionReduced(Precision::Float16), "every weight is exact in float16"),
        (Fault::FortranOrder, "with 1 inputs, 2 units and these weights every value stays in its place"),
        (Fault::HardSigmoidDefinition { found: Activation::Tanh }, "the cell does not use hard_sigmoid"),
        (
            Fault::ColumnSplit(ColumnSplit::StackedTransposed),
            "with 1 inputs and 2 units this gives shapes that no layer accepts",
        ),
    ] {
        assert_eq!(reason(&flat, &fault), why);
    }
    let mut large = cell();
    large.bias.fill(1e9);
    assert_eq!(reason(&large, &Fault::ForgetBiasMissing), "the bias is so large that 1 changes no float32 in it");
    for fault in [Fault::StateSwapped, Fault::OneStepLate, Fault::LayersSwapped { first: 0, second: 1 }] {
        assert_eq!(inject(&cell(), &fault), Injected::NotOnWeights);
    }
}

#[test]
fn a_cell_that_keras_lacks_can_only_lose_what_keras_lacks() {
    let mut clipped = cell();
    clipped.cell_clip = Some(3.0);
    assert_eq!(catalogue(&clipped), [Fault::ClipIgnored]);
    assert_eq!(injected(&clipped, &Fault::ClipIgnored), convert::to_keras(&cell()).unwrap());
    assert!(reason(&clipped, &Fault::ForgetBiasMissing).starts_with("the cell has no right conversion: it clips"));
    assert_eq!(reason(&clipped, &Fault::PeepholeDropped), "the cell has no peepholes");
    assert_eq!(reason(&clipped, &Fault::LayerNormDropped), "the cell has no layer normalisation");
    assert_eq!(reason(&cell(), &Fault::ProjectionDropped), "the cell has no projection");
}

#[test]
fn a_projected_cell_can_be_converted_wrongly_in_every_way_and_in_one_more() {
    let mut projected =
        Tf1Cell::new(Array2::from_shape_fn((5, 16), |(r, c)| (r * 16 + c) as f32), Array1::ones(16)).unwrap();
    projected.projection = Some(Array2::from_shape_fn((4, 2), |(r, c)| (r as f32) - 2.0 * (c as f32)));
    projected.check().unwrap();
    let right = convert::to_keras(&projected).unwrap();
    let faults = catalogue(&projected);
    assert!(faults.contains(&Fault::ProjectionDropped) && faults.contains(&Fault::RecurrentTransposed));
    let dropped = injected(&projected, &Fault::ProjectionDropped);
    assert_eq!(dropped, KerasCell { output_projection: None, ..right.clone() });
    let missing = injected(&projected, &Fault::ForgetBiasMissing);
    assert_eq!(
        (&missing.recurrent_kernel, &missing.output_projection),
        (&right.recurrent_kernel, &right.output_projection)
    );
    assert_eq!(missing.bias, Array1::ones(16));
    projected.cell_clip = Some(1.0);
    assert_eq!(catalogue(&projected), [Fault::ClipIgnored]);
    assert_eq!(injected(&projected, &Fault::ClipIgnored), right);
}

#[test]
fn the_catalogue_is_fixed_and_covers_what_fits() {
    let faults = catalogue(&cell());
    assert_eq!(faults, catalogue(&cell()));
    let mut wide = Tf1Cell::new(Array2::ones((3, 8)), Array1::zeros(8)).unwrap();
    wide.forget_bias = 0.3;
    let (square, wide) = (faults, catalogue(&wide));
    assert!(square.contains(&Fault::ColumnSplit(ColumnSplit::HalvesUnfolded)));
    assert!(!wide.contains(&Fault::ColumnSplit(ColumnSplit::HalvesUnfolded)));
    assert!(square.contains(&Fault::ForgetBiasValue { found: 0.5 }));
    assert!(wide.contains(&Fault::ForgetBiasValue { found: 1.0 }));
    assert!(square.contains(&Fault::GateOrder { tensors: Tensors::RECURRENT, order: TF1 }));
    for fault in &square {
        assert!(!fault.describe().is_empty() && !fault.advice().is_empty() && !fault.phrase().is_empty());
        assert!(fault.name().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", fault.name());
    }
}

#[test]
fn texts_read_well() {
    let gates = vec![Gate::Input, Gate::Candidate];
    assert_eq!(
        Fault::ForgetBiasWrongGate { gates }.describe(),
        "the forget bias was added to the input gate and the candidate, not to the forget gate alone"
    );
    assert_eq!(
        Fault::GateOrder { tensors: Tensors::KERNELS, order: TF1 }.describe(),
        "the columns of kernel and recurrent kernel hold the gates in the order i, c, f, o, and Keras reads \
         them as i, f, c, o"
    );
    assert_eq!(Tensors::ALL.to_string(), "kernel, recurrent kernel and bias");
    assert_eq!(
        Fault::ForgetBiasMissing.advice(),
        "add the forget bias to columns units..2·units of the bias after permuting it"
    );
    assert_eq!(Fault::ForgetBiasMissing.advice_for(&cell()), "add 1 to columns 2..4 of the bias after permuting it");
}

#[test]
fn faults_are_made_at_their_own_step_whatever_their_order() {
    let pairs = [
        [Fault::ForgetBiasMissing, Fault::GatesNotPermuted],
        [Fault::CudnnLayout, Fault::FortranOrder],
        [Fault::RecurrentRowsRolled, Fault::RecurrentTransposed],
        [Fault::PrecisionReduced(Precision::Float16), Fault::ForgetBiasDoubled],
    ];
    for [a, b] in pairs {
        assert_eq!(inject_all(&cell(), &[a.clone(), b.clone()]), inject_all(&cell(), &[b, a]));
    }
}
