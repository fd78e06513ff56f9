//! Networks that the user declares by the keys of their weights.

use std::collections::BTreeMap;

use lstm::detect::{CellKind, CellVariables, Given, MappedCell, MappedNetwork, Source, as_map, detect};
use lstm::{Activation, Network};
use tf_checkpoint::{Checkpoint, DType, Variable};

fn variables(list: &[(&str, &[usize])]) -> Vec<Variable> {
    list.iter()
        .map(|(name, shape)| Variable { name: (*name).to_owned(), dtype: DType::Float32, shape: shape.to_vec() })
        .collect()
}

fn cell(name: &str, kernel: &[&str], bias: &str) -> MappedCell {
    let variables = CellVariables {
        kernel: kernel.iter().map(|k| (*k).to_owned()).collect(),
        bias: Some(bias.to_owned()),
        ..CellVariables::default()
    };
    MappedCell {
        name: name.to_owned(),
        class: CellKind::Lstm,
        variables,
        forget_bias: None,
        activation: None,
        cell_clip: None,
        projection_clip: None,
    }
}

fn map(network: Network<MappedCell>) -> Given {
    let mapped = vec![MappedNetwork { name: "mapped".to_owned(), network }];
    Given { mapped, ..Given::default() }
}

/// The weights of ELMo's released model: forward and backward are networks of their own scopes, and the clips are in a
/// file beside the weights.
fn elmo() -> Vec<Variable> {
    let mut list: Vec<(String, Vec<usize>)> = vec![("char_embed".to_owned(), vec![261, 4])];
    for (direction, layer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let scope = format!("RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell");
        list.push((format!("{scope}/W_0"), vec![32, 256]));
        list.push((format!("{scope}/B"), vec![256]));
        list.push((format!("{scope}/W_P_0"), vec![64, 16]));
    }
    let list: Vec<(&str, &[usize])> = list.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
    variables(&list)
}

fn elmo_cell(direction: usize, layer: usize) -> MappedCell {
    let scope = format!("RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell");
    let mut cell =
        cell(&format!("direction {direction} layer {layer}"), &[&format!("{scope}/W_0")], &format!("{scope}/B"));
    cell.variables.projection = vec![format!("{scope}/W_P_0")];
    (cell.cell_clip, cell.projection_clip) = (Some(3.0), Some(3.0));
    cell
}

#[test]
fn a_map_says_what_no_file_does() {
    let direction = |d| {
        Network::Stack(vec![
            Network::Cell(elmo_cell(d, 0)),
            Network::Residual(Box::new(Network::Cell(elmo_cell(d, 1)))),
        ])
    };
    let given = map(Network::side_by_side(direction(0), direction(1)));
    let found = detect(&elmo(), None, &given).unwrap();
    let [network] = &found.networks[..] else { panic!("one network") };
    assert!(
        matches!(&network.network, Network::Bidirectional { forward, .. } if matches!(&**forward, Network::Stack(l) if matches!(l[1], Network::Residual(_))))
    );
    for cell in network.network.cells() {
        assert_eq!((cell.input_size, cell.units, cell.projection), (16, 64, Some(16)));
        assert_eq!(cell.cell_clip.map(|c| (c.value, c.source)), Some((3.0, Source::Option)));
        assert_eq!(cell.forget_bias.source, Source::CellDefault);
    }
    assert_eq!(found.ignored.len(), 1);
    assert_eq!(found.ignored[0].why, "not in the map");
}

#[test]
fn rows_and_classes_are_as_the_map_says() {
    let list = variables(&[("x", &[5, 32]), ("h", &[8, 32]), ("b", &[32]), ("n0", &[32]), ("n1", &[32])]);
    let mut split = cell("split", &["x", "h"], "b");
    (split.forget_bias, split.activation) = (Some(0.0), Some(Activation::Relu));
    let found = detect(&list, None, &map(Network::Cell(split.clone()))).unwrap();
    let cells = found.networks[0].network.cells();
    assert_eq!((cells[0].input_size, cells[0].units, cells[0].forget_bias.value), (5, 8, 0.0));
    assert_eq!(cells[0].activation.value, Activation::Relu);
    split.class = CellKind::from_class("WeightNormLSTMCell").unwrap();
    split.variables.extra =
        BTreeMap::from([("norm_0", "n0"), ("norm_1", "n1")].map(|(r, k)| (r.to_owned(), k.to_owned())));
    let found = detect(&list, None, &map(Network::Cell(split))).unwrap();
    assert_eq!(found.networks[0].network.cells()[0].kind, CellKind::WeightNorm);
    assert!(found.ignored.is_empty());
}

#[test]
fn what_was_found_is_a_map_that_finds_the_same() {
    for case in
        ["multi", "stack_bidirectional", "old/tf0_12_1_peephole_proj", "graphs/residual_middle", "graphs/shared_stack"]
    {
        let checkpoint = Checkpoint::open(&golden::golden_dir().join(case)).unwrap();
        let graph = checkpoint.graph().unwrap();
        let found = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
        let given = Given { mapped: as_map(&found), ..Given::default() };
        let again = detect(checkpoint.variables(), graph.as_ref(), &given).unwrap();
        assert_eq!(as_map(&again), given.mapped, "{case}");
        let without_graph = detect(checkpoint.variables(), None, &given).unwrap();
        assert_eq!(as_map(&without_graph), given.mapped, "{case}");
    }
}

#[test]
fn refusals_are_told() {
    let mut texts = vec![];
    let error = |given: &Given| detect(&elmo(), None, given).unwrap_err().to_string();
    let mut wrong = elmo_cell(0, 0);
    wrong.variables.bias = Some("RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/bias".to_owned());
    texts.push(error(&map(Network::Cell(wrong.clone()))));
    wrong.variables.bias = Some("nothing/like/it".to_owned());
    texts.push(error(&map(Network::Cell(wrong.clone()))));
    wrong.variables = CellVariables::default();
    texts.push(error(&map(Network::Cell(wrong))));
    let mut coupled = elmo_cell(0, 0);
    coupled.class = CellKind::CoupledInputForgetGate;
    let found = detect(&elmo(), None, &map(Network::Cell(coupled))).unwrap();
    texts.push(found.malformed[0].problem.to_string());
    let mut bias = elmo_cell(1, 1);
    bias.variables.bias = Some("char_embed".to_owned());
    texts.push(detect(&elmo(), None, &map(Network::Cell(bias))).unwrap().malformed[0].problem.to_string());
    let checkpoint = Checkpoint::open(&golden::golden_dir().join("cell_clip")).unwrap();
    let graph = checkpoint.graph().unwrap();
    let mut clipped = cell("clipped", &["rnn/lstm_cell/kernel"], "rnn/lstm_cell/bias");
    clipped.cell_clip = Some(1.0);
    let given = map(Network::Cell(clipped));
    texts.push(detect(checkpoint.variables(), graph.as_ref(), &given).unwrap_err().to_string());
    insta::assert_snapshot!(texts.join("\n"));
}
