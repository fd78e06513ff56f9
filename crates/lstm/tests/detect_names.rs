//! Detection by names alone, as in a checkpoint whose `.meta` is lost.

use lstm::detect::{CellKind, Detection, Fact, Given, GivenError, Known, Source, WeightsChoice, detect};
use lstm::{Activation, Direction, Network};
use tf_checkpoint::{DType, Variable};

/// A variable's name and shape.
type Named<'a> = (&'a str, &'a [usize]);

fn variables(list: &[Named]) -> Vec<Variable> {
    let variable =
        |(name, shape): &Named| Variable { name: (*name).to_owned(), dtype: DType::Float32, shape: shape.to_vec() };
    list.iter().map(variable).collect()
}

fn found(list: &[Named]) -> Detection {
    detect(&variables(list), None, &Given::default()).unwrap()
}

fn why(detection: &Detection, name: &str) -> String {
    detection.ignored.iter().find(|i| i.name == name).unwrap_or_else(|| panic!("{name} is used")).why.clone()
}

#[test]
fn layers_come_in_the_order_of_their_numbers() {
    let names: Vec<(String, String)> = (0..12)
        .map(|n| format!("rnn/multi_rnn_cell/cell_{n}/lstm_cell"))
        .map(|scope| (format!("{scope}/kernel"), format!("{scope}/bias")))
        .collect();
    let list: Vec<(&str, &[usize])> =
        names.iter().flat_map(|(k, b)| [(k.as_str(), &[8, 16][..]), (b.as_str(), &[16][..])]).collect();
    let detection = found(&list);
    let [network] = &detection.networks[..] else { panic!("one stack") };
    let order: Vec<&str> = network.network.cells().iter().map(|c| c.name.split('/').nth(2).unwrap()).collect();
    let expected: Vec<String> = (0..12).map(|n| format!("cell_{n}")).collect();
    assert_eq!(order, expected);
}

#[test]
fn every_release_names_its_variables_otherwise() {
    let cases: [(&[Named], CellKind, &str); 8] = [
        (
            &[("RNN/BasicLSTMCell/Linear/Matrix", &[13, 32]), ("RNN/BasicLSTMCell/Linear/Bias", &[32])],
            CellKind::BasicLstm,
            "0.12",
        ),
        (&[("RNN/LSTMCell/W_0", &[13, 32]), ("RNN/LSTMCell/B", &[32])], CellKind::Lstm, "0.12"),
        (&[("LSTMBlockCell/W", &[13, 32]), ("LSTMBlockCell/b", &[32])], CellKind::LstmBlock, "0.12"),
        (
            &[("rnn/basic_lstm_cell/weights", &[13, 32]), ("rnn/basic_lstm_cell/biases", &[32])],
            CellKind::BasicLstm,
            "1.0",
        ),
        (
            &[("lstm_block_wrapper/kernel", &[13, 32]), ("lstm_block_wrapper/bias", &[32])],
            CellKind::LstmBlockFused,
            "1.2",
        ),
        (
            &[("rnn/basic_lstm_cell_1/kernel", &[13, 32]), ("rnn/basic_lstm_cell_1/bias", &[32])],
            CellKind::BasicLstm,
            "1.5",
        ),
        (&[("lstm_fused_cell/kernel", &[13, 32]), ("lstm_fused_cell/bias", &[32])], CellKind::LstmBlockFused, "1.6"),
        (
            &[("a/cudnn_compatible_lstm_cell/kernel", &[13, 32]), ("a/cudnn_compatible_lstm_cell/bias", &[32])],
            CellKind::CudnnCompatible,
            "1.15",
        ),
    ];
    for (list, kind, release) in cases {
        let detection = found(list);
        let [network] = &detection.networks[..] else { panic!("{release}: {detection:?}") };
        let Network::Cell(cell) = &network.network else { panic!("{release}: one cell") };
        assert_eq!((cell.kind, cell.input_size, cell.units), (kind, 5, 8), "{release}");
        let cudnn = kind == CellKind::CudnnCompatible;
        assert_eq!(cell.forget_bias.value, if cudnn { 0.0 } else { 1.0 }, "{release}");
        assert_eq!(cell.forget_bias.source, if cudnn { Source::Cudnn } else { Source::CellDefault }, "{release}");
        assert!(detection.ignored.is_empty());
    }
}

/// A `CudnnLSTM` saves cuDNN's own buffer beside the canonical form, and TensorFlow 1.3 both of cuDNN's biases beside their
/// sum.
#[test]
fn what_cudnn_saves_beside_its_canonical_form_changes_nothing() {
    let cell = "scope/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell";
    let names = ["kernel", "bias", "bias_cudnn_0", "bias_cudnn_1"].map(|name| format!("{cell}/{name}"));
    let mut list: Vec<Named> = names.iter().map(|n| (n.as_str(), &[32][..])).collect();
    list[0].1 = &[13, 32];
    list.extend([("scope/cudnn_lstm/opaque_kernel", &[480][..]), ("scope/cudnn_lstm/opaque_kernel/Adam", &[480])]);
    let detection = found(&list);
    let [network] = &detection.networks[..] else { panic!("{detection:?}") };
    let Network::Cell(found) = &network.network else { panic!("one cell") };
    assert_eq!((found.kind, found.input_size, found.units), (CellKind::CudnnCompatible, 5, 8));
    assert_eq!((found.forget_bias.value, found.forget_bias.source), (0.0, Source::Cudnn));
    assert_eq!(found.variables.all().collect::<Vec<_>>(), [&names[0], &names[1]]);
    assert!(why(&detection, "scope/cudnn_lstm/opaque_kernel").ends_with("wrote beside it are read"));
    assert_eq!(
        why(&detection, "scope/cudnn_lstm/opaque_kernel/Adam"),
        "optimizer slot (Adam) of scope/cudnn_lstm/opaque_kernel"
    );
    for bias in &names[2..] {
        assert_eq!(why(&detection, bias), format!("one of the two biases whose sum {cell}/bias is"));
    }
}

#[test]
fn rows_spread_over_variables_are_one_kernel_in_numeric_order() {
    let names: Vec<String> = (0..11).map(|n| format!("RNN/LSTMCell/W_{n}")).collect();
    let mut list: Vec<(&str, &[usize])> = names.iter().map(|n| (n.as_str(), &[2, 32][..])).collect();
    list.push(("RNN/LSTMCell/B", &[32]));
    let detection = found(&list);
    let cells = detection.networks[0].network.cells();
    assert_eq!(cells[0].variables.kernel, names);
    assert_eq!((cells[0].input_size, cells[0].units), (22 - 8, 8));
}

#[test]
fn directions_pair_up_inside_and_outside_of_stacks() {
    let name = |path: &str| {
        let shape: &[usize] = if path.ends_with("bias") { &[32] } else { &[16, 32] };
        (path.to_owned(), shape.to_vec())
    };
    let list: Vec<(String, Vec<usize>)> = ["fw", "bw"]
        .iter()
        .flat_map(|d| (0..2).map(move |n| format!("bidirectional_rnn/{d}/multi_rnn_cell/cell_{n}/lstm_cell")))
        .flat_map(|scope| [name(&format!("{scope}/kernel")), name(&format!("{scope}/bias"))])
        .collect();
    let list: Vec<(&str, &[usize])> = list.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
    let detection = found(&list);
    let Network::Bidirectional { forward, backward, .. } = &detection.networks[0].network else {
        panic!("two directions")
    };
    assert!(matches!(&**forward, Network::Stack(parts) if parts.len() == 2));
    assert!(matches!(&**backward, Network::Stack(parts) if parts.len() == 2));
    let placed = detection.networks[0].network.placed_cells();
    assert!(placed[0].1.name.contains("/fw/") && placed[2].0.direction == Direction::Backward);
}

#[test]
fn other_cells_are_no_lstms_and_are_called_by_their_name() {
    let detection = found(&[
        ("rnn/gru_cell/gates/kernel", &[13, 16]),
        ("rnn/gru_cell/gates/bias", &[16]),
        ("rnn/nas_cell/kernel", &[13, 64]),
        ("dense/kernel", &[128, 64]),
        ("dense/bias", &[64]),
        ("global_step", &[]),
    ]);
    assert!(detection.networks.is_empty() && detection.malformed.is_empty());
    assert!(why(&detection, "rnn/gru_cell/gates/kernel").contains("GRUCell"));
    assert!(why(&detection, "rnn/nas_cell/kernel").contains("NASCell"));
    assert!(why(&detection, "dense/kernel").contains("its shape alone would allow one"));
    assert_eq!(why(&detection, "global_step"), "training scalar");
}

#[test]
fn a_scope_of_any_name_is_taken_on_the_users_word() {
    let list = variables(&[
        ("decoder/kernel", &[13, 32]),
        ("decoder/bias", &[32]),
        ("dense/kernel", &[8, 4]),
        ("dense/bias", &[4]),
    ]);
    assert!(detect(&list, None, &Given::default()).unwrap().networks.is_empty());
    let given = Given { only: vec!["decoder".to_owned()], ..Given::default() };
    let detection = detect(&list, None, &given).unwrap();
    assert_eq!(detection.networks[0].name, "decoder");
    let given = Given { only: vec!["deco".to_owned()], ..Given::default() };
    assert!(matches!(detect(&list, None, &given), Err(GivenError::NoMatch { .. })), "part of a name is no name");
}

#[test]
fn a_keras_layer_is_never_taken_for_a_fused_kernel() {
    let list = variables(&[("lstm/kernel", &[20, 32]), ("lstm/recurrent_kernel", &[8, 32]), ("lstm/bias", &[32])]);
    let detection = detect(&list, None, &Given::default()).unwrap();
    let cell = detection.networks[0].network.cells()[0].clone();
    assert_eq!((cell.kind, cell.input_size, cell.units), (CellKind::Keras, 20, 8));
    assert_eq!((cell.forget_bias.value, cell.forget_bias.source), (0.0, Source::InBias), "the bias holds it");
    // Nothing says what the gates go through: up to TensorFlow 1.15 the default is hard sigmoid.
    assert_eq!(cell.recurrent_activation, Fact { value: Activation::HardSigmoidKeras2, source: Source::CellDefault });
    let known = Known { recurrent_activation: Some(Activation::Sigmoid), ..Known::default() };
    let mut given = Given { known: [("lstm".to_owned(), known)].into(), ..Given::default() };
    let facts = |given: &Given| {
        Ok::<_, GivenError>(detect(&list, None, given)?.networks[0].network.cells()[0].recurrent_activation)
    };
    assert_eq!(facts(&given).unwrap(), Fact { value: Activation::Sigmoid, source: Source::Config });
    given.recurrent_activation = Some(Activation::HardSigmoidKeras2);
    assert!(matches!(facts(&given), Err(GivenError::Contradicts { option: "--recurrent-activation", .. })));
    let given = Given { forget_bias: Some(1.0), ..Given::default() };
    assert!(matches!(detect(&list, None, &given), Err(GivenError::Contradicts { option: "--forget-bias", .. })));
}

#[test]
fn keras_directions_are_one_network_and_a_gru_is_none() {
    let list = variables(&[
        ("bidirectional/forward_lstm/kernel", &[3, 16]),
        ("bidirectional/forward_lstm/recurrent_kernel", &[4, 16]),
        ("bidirectional/backward_lstm/kernel", &[3, 16]),
        ("bidirectional/backward_lstm/recurrent_kernel", &[4, 16]),
        ("cu_dnnlstm/kernel", &[3, 16]),
        ("cu_dnnlstm/recurrent_kernel", &[4, 16]),
        ("cu_dnnlstm/bias", &[32]),
        ("gru/kernel", &[3, 12]),
        ("gru/recurrent_kernel", &[4, 12]),
    ]);
    let detection = detect(&list, None, &Given::default()).unwrap();
    let kinds: Vec<_> = detection.networks.iter().map(|n| (n.name.as_str(), n.network.cells()[0].kind)).collect();
    assert_eq!(kinds, [("bidirectional", CellKind::Keras), ("cu_dnnlstm", CellKind::KerasCudnn)]);
    assert!(matches!(detection.networks[0].network, Network::Bidirectional { .. }));
    assert!(!why(&detection, "gru/kernel").is_empty());
}

#[test]
fn sizes_that_fit_no_lstm_are_malformed() {
    for (kernel, bias) in [([100, 400], 400), ([13, 33], 33), ([13, 32], 31), ([13, 0], 0)] {
        let detection = found(&[("lstm_cell/kernel", &kernel), ("lstm_cell/bias", &[bias])]);
        assert!(detection.networks.is_empty());
        assert_eq!(detection.malformed.len(), 1, "{kernel:?} {bias}");
    }
    let detection = found(&[("lstm_cell/kernel", &[4, 13, 32]), ("lstm_cell/bias", &[32])]);
    assert_eq!(detection.malformed.len(), 1, "a kernel of three axes");
}

#[test]
fn a_stack_whose_sizes_do_not_fit_on_each_other_is_taken_apart_aloud() {
    let detection = found(&[
        ("rnn/multi_rnn_cell/cell_0/lstm_cell/kernel", &[13, 32]),
        ("rnn/multi_rnn_cell/cell_0/lstm_cell/bias", &[32]),
        ("rnn/multi_rnn_cell/cell_1/lstm_cell/kernel", &[13, 32]),
        ("rnn/multi_rnn_cell/cell_1/lstm_cell/bias", &[32]),
    ]);
    assert_eq!(detection.networks.len(), 2);
    assert!(detection.notes[0].contains("do not fit on top of each other"), "{:?}", detection.notes);
}

#[test]
fn what_the_user_says_counts_where_no_graph_does() {
    let list = variables(&[("lstm_cell/kernel", &[13, 32]), ("lstm_cell/bias", &[32])]);
    let given = Given { forget_bias: Some(0.5), input_size: Some(5), ..Given::default() };
    let detection = detect(&list, None, &given).unwrap();
    let cells = detection.networks[0].network.cells();
    assert_eq!((cells[0].forget_bias.value, cells[0].forget_bias.source), (0.5, Source::Option));
    let given = Given { input_size: Some(6), ..Given::default() };
    assert!(matches!(detect(&list, None, &given), Err(GivenError::InputSize { found: 5, .. })));
}

#[test]
fn gates_in_matrices_of_their_own_are_explained() {
    let gates = ["input_gate_0", "forget_gate_0", "output_gate_0", "update_gate_0"];
    let names: Vec<String> = gates.iter().map(|g| format!("NTM/controller/{g}/Matrix")).collect();
    let list: Vec<(&str, &[usize])> = names.iter().map(|n| (n.as_str(), &[130, 100][..])).collect();
    let detection = found(&list);
    assert!(detection.networks.is_empty());
    insta::assert_snapshot!(why(&detection, &names[3]));
}

#[test]
fn fused_cells_of_an_unknown_release_may_clip() {
    let detection = found(&[
        ("a/LSTMBlockCell/W", &[13, 32]),
        ("a/LSTMBlockCell/b", &[32]),
        ("b/lstm_block_wrapper/kernel", &[13, 32]),
        ("b/lstm_block_wrapper/bias", &[32]),
        ("c/lstm_fused_cell/kernel", &[13, 32]),
        ("c/lstm_fused_cell/bias", &[32]),
        ("d/lstm_cell/weights", &[13, 32]),
        ("d/lstm_cell/biases", &[32]),
        ("e/lstm_cell/kernel", &[13, 32]),
        ("e/lstm_cell/bias", &[32]),
    ]);
    insta::assert_snapshot!(detection.notes.join("\n"));
}

#[test]
fn averages_of_a_part_of_a_cell_are_told() {
    let list: &[Named] = &[
        ("lstm_cell/kernel", &[13, 32]),
        ("lstm_cell/kernel/ExponentialMovingAverage", &[13, 32]),
        ("lstm_cell/bias", &[32]),
    ];
    let given = Given { weights: Some(WeightsChoice::Ema), ..Given::default() };
    let refused = detect(&variables(list), None, &given).unwrap_err();
    insta::assert_snapshot!(format!("{}\n{refused}", found(list).notes.join("\n")));
}

#[test]
fn misfits_of_other_classes_are_told() {
    let problem = |list: &[Named]| {
        let detection = found(list);
        assert!(detection.networks.is_empty());
        detection.malformed[0].problem.to_string()
    };
    let coupled = "coupled_input_forget_gate_lstm_cell";
    let name = |scope: &str, last: &str| format!("{scope}/{last}");
    let texts = [
        problem(&[(&name(coupled, "W_0"), &[13, 32]), (&name(coupled, "B"), &[32])]),
        problem(&[(&name(coupled, "W_0"), &[13, 24]), (&name(coupled, "B"), &[32])]),
        problem(&[
            ("wn_lstm_cell/kernel", &[13, 32]),
            ("wn_lstm_cell/bias", &[32]),
            ("wn_lstm_cell/norm_0", &[8]),
            ("wn_lstm_cell/norm_1", &[32]),
        ]),
        problem(&[
            ("indy_lstm_cell/kernel_w", &[5, 32]),
            ("indy_lstm_cell/kernel_u", &[8, 32]),
            ("indy_lstm_cell/bias", &[32]),
        ]),
        problem(&[
            ("glstm_cell/group0/kernel", &[4, 8]),
            ("glstm_cell/group1/kernel", &[5, 8]),
            ("glstm_cell/bias_i", &[4]),
        ]),
        problem(&[("lstm_cell/kernel", &[13, 33]), ("lstm_cell/bias", &[33])]),
        problem(&[("lstm_cell/kernel", &[4, 13, 32]), ("lstm_cell/bias", &[32])]),
        problem(&[("lstm_cell/kernel", &[8, 32]), ("lstm_cell/bias", &[32])]),
    ];
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn what_only_cudnn_can_read_is_explained() {
    let old = "CudnnRNNParamsToCanonical:17";
    // As TensorFlow 1.0 to 1.2 saved a layer.
    let numbered = "CudnnRNNParamsToCanonical_1:3";
    let detection = found(&[("dec/opaque_kernel", &[99]), (old, &[4]), (numbered, &[4, 5])]);
    assert!(detection.networks.is_empty());
    insta::assert_snapshot!(
        [why(&detection, "dec/opaque_kernel"), why(&detection, old), why(&detection, numbered)].join("\n")
    );
}
