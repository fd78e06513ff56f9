//! Detection on graphs that real TensorFlow wrote (`tests/golden/graphs`): each way an LSTM can be wired and saved.

use std::fmt::Write;

use lstm::detect::{Detection, FoundCell, Given, GivenError, WeightsChoice, detect, load};
use lstm::{Batch, Network, State, oracle};
use ndarray::Array2;
use tf_checkpoint::{Attr, Checkpoint, Graph, Node};

/// How many cases there are: none may go missing unseen.
const CASES: usize = 38;

fn open(case: &str) -> (Checkpoint, Graph) {
    let checkpoint = Checkpoint::open(&golden::golden_dir().join("graphs").join(case)).unwrap();
    let graph = checkpoint.graph().unwrap().unwrap();
    (checkpoint, graph)
}

fn found_with(case: &str, given: &Given) -> Result<Detection, GivenError> {
    let (checkpoint, graph) = open(case);
    detect(checkpoint.variables(), Some(&graph), given)
}

fn found(case: &str) -> Detection {
    found_with(case, &Given::default()).unwrap()
}

fn every_case() -> Vec<String> {
    let folders = std::fs::read_dir(golden::golden_dir().join("graphs")).unwrap().map(Result::unwrap);
    let cases = folders.filter(|f| f.path().join("case.json").is_file());
    let mut names: Vec<String> = cases.map(|f| f.file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), CASES);
    names.sort();
    names
}

/// The wiring on one line: `[a, residual b]`, `sum(f | b)`.
fn wiring(network: &Network<FoundCell>) -> String {
    match network {
        Network::Cell(cell) => {
            let last = cell.name.rsplit('/').find(|p| p.starts_with("cell_") || ["fw", "bw"].contains(p));
            last.unwrap_or(&cell.name).to_owned()
        }
        Network::Backward(cell) => format!("backward {}", cell.name),
        Network::Stack(parts) => format!("[{}]", parts.iter().map(wiring).collect::<Vec<_>>().join(", ")),
        Network::Residual(part) => format!("residual {}", wiring(part)),
        Network::Bidirectional { forward, backward, merge } => {
            format!("{}({} | {})", merge.as_str(), wiring(forward), wiring(backward))
        }
    }
}

fn describe(found: &Detection) -> String {
    let mut text = String::new();
    for network in &found.networks {
        writeln!(text, "  {}: {}", network.name, wiring(&network.network)).unwrap();
        for cell in network.network.cells() {
            let FoundCell { name, kind, input_size, units, forget_bias, activation, .. } = cell;
            write!(
                text,
                "    {name} | {kind} {input_size}x{units} | fb {} {} | {} {}",
                forget_bias.value,
                forget_bias.source.as_str(),
                activation.value,
                activation.source.as_str()
            )
            .unwrap();
            for (what, clip) in [("clip", cell.cell_clip), ("projection clip", cell.projection_clip)] {
                clip.iter().for_each(|c| write!(text, " | {what} {}", c.value).unwrap());
            }
            cell.projection.iter().for_each(|p| write!(text, " | projection {p}").unwrap());
            if cell.variables.peepholes.is_some() {
                text += " | peepholes";
            }
            if let Some(fact) = cell.time_major {
                text += if fact.value { " | time-major" } else { " | batch-major" };
            }
            if cell.columns != lstm::gate_order::TF1 {
                write!(text, " | columns {}", cell.columns.map(|g| g.letter()).iter().collect::<String>()).unwrap();
            }
            if cell.layer_norm {
                text += " | layer norm";
            }
            if !cell.variables.extra.is_empty() {
                write!(text, " | {}", cell.variables.extra.keys().cloned().collect::<Vec<_>>().join(" ")).unwrap();
            }
            if let Some(a) = &cell.averages {
                let open = if a.open { " open" } else { "" };
                let exchanged = if a.exchanged { " exchanged" } else { "" };
                write!(text, " | averages: {}{open}{exchanged}", a.used.as_str()).unwrap();
            }
            text.push('\n');
        }
    }
    found.malformed.iter().for_each(|m| writeln!(text, "  malformed {}: {}", m.name, m.problem).unwrap());
    found.notes.iter().for_each(|n| writeln!(text, "  note: {n}").unwrap());
    text
}

#[test]
fn every_graph_is_read_as_what_it_is() {
    let mut table = String::new();
    for case in every_case() {
        let found = found(&case);
        let version = found.tensorflow_version.as_deref().unwrap_or("of no release");
        write!(table, "{case} (TensorFlow {version})\n{}", describe(&found)).unwrap();
    }
    insta::assert_snapshot!(table);
}

/// What `convert_variables_to_constants` makes of a graph: variables become constants of the same names, and what read a
/// resource becomes an identity.
fn frozen(mut graph: Graph) -> Graph {
    let functions = graph.functions.iter_mut().flat_map(|f| &mut f.nodes);
    for node in graph.nodes.iter_mut().chain(functions) {
        match node.op.as_str() {
            "VariableV2" | "VarHandleOp" => node.op = "Const".to_owned(),
            "ReadVariableOp" => node.op = "Identity".to_owned(),
            _ => {}
        }
    }
    graph.nodes.retain(|n| !n.op.starts_with("Save"));
    graph.saved.clear();
    graph.trainable.clear();
    graph.tensorflow_version.clear();
    graph
}

#[test]
fn a_frozen_graph_says_the_same() {
    for case in every_case() {
        let (checkpoint, graph) = open(&case);
        // Where a saver renamed or exchanged variables, the frozen graph has other names than the checkpoint.
        if graph.saved.iter().any(|(key, node)| key != node) {
            continue;
        }
        let whole = detect(checkpoint.variables(), Some(&graph), &Given::default()).unwrap();
        let constants = detect(checkpoint.variables(), Some(&frozen(graph)), &Given::default()).unwrap();
        assert_eq!(describe(&constants), describe(&whole), "{case}");
    }
}

#[test]
fn without_a_graph_names_say_the_cells_and_defaults_the_rest() {
    let mut table = String::new();
    for case in every_case() {
        let (checkpoint, _) = open(&case);
        let found = detect(checkpoint.variables(), None, &Given::default()).unwrap();
        write!(table, "{case}\n{}", describe(&found)).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_a_class_leaves_unused_is_ignored_with_the_reason() {
    let found = found("contrib_cells");
    let why: Vec<String> = found.ignored.iter().map(|i| format!("{}: {}", i.name, i.why)).collect();
    insta::assert_snapshot!(why.join("\n"));
}

#[test]
fn averages_are_chosen_by_what_they_hold() {
    let kernel = "rnn/basic_lstm_cell/kernel";
    let average = "rnn/basic_lstm_cell/kernel/ExponentialMovingAverage";
    let chosen = |case: &str, weights| {
        let found = found_with(case, &Given { weights, ..Given::default() }).unwrap();
        let cell = found.networks[0].network.cells()[0].clone();
        (cell.variables.kernel[0].clone(), cell.averages.is_some_and(|a| a.open))
    };
    let (raw, ema) = (Some(WeightsChoice::Raw), Some(WeightsChoice::Ema));
    assert_eq!(chosen("ema_both", None), (kernel.to_owned(), true));
    assert_eq!(chosen("ema_both", raw), (kernel.to_owned(), false));
    assert_eq!(chosen("ema_both", ema), (average.to_owned(), false));
    // The swapping saver stored the averages under the plain names.
    assert_eq!(chosen("ema_swapped", raw), (average.to_owned(), false));
    assert_eq!(chosen("ema_swapped", ema), (kernel.to_owned(), false));
    // Averages by another name, and in a scope of their own.
    let shadow = format!("{kernel}/shadow");
    assert_eq!(chosen("ema_named", None), (kernel.to_owned(), true));
    assert_eq!(chosen("ema_named", ema), (shadow.clone(), false));
    assert_eq!(chosen("ema_named_only", None), (shadow, false));
    assert_eq!(chosen("ema_scoped", raw), (kernel.to_owned(), false));
    assert_eq!(chosen("ema_scoped", ema), (format!("averages/{average}"), false));
    assert_eq!(chosen("ema_only", None), (average.to_owned(), false));
    assert_eq!(chosen("ema_for_evaluation", ema), (average.to_owned(), false));
    let refused = |case, weights| found_with(case, &Given { weights, ..Given::default() }).unwrap_err().to_string();
    insta::assert_snapshot!(format!("{}\n{}", refused("ema_only", raw), refused("cfv2_loop", ema)));
}

#[test]
fn of_variables_the_graph_uses_otherwise_the_user_can_decide() {
    let given = Given { forget_bias: Some(1.0), override_graph: true, ..Given::default() };
    let found = found_with("two_forget_biases", &given).unwrap();
    assert_eq!(found.networks[0].network.cells()[0].forget_bias.value, 1.0);
    let given = Given { forget_bias: Some(1.0), ..Given::default() };
    insta::assert_snapshot!(found_with("cfv2_loop", &given).unwrap_err().to_string());
}

#[test]
fn problems_that_only_a_graph_shows_are_told() {
    let mut texts = String::new();
    let mut with = |what: &str, change: &dyn Fn(&mut Node)| {
        let (checkpoint, mut graph) = open("unrolled_20");
        graph.nodes.iter_mut().for_each(change);
        let found = detect(checkpoint.variables(), Some(&graph), &Given::default()).unwrap();
        write!(texts, "{what}\n{}", describe(&found)).unwrap();
    };
    let is = |node: &Node, op: &str, part: &str| node.op == op && node.name.contains(part);
    with("hard sigmoid gates", &|n| {
        if is(n, "Sigmoid", "cell_0") {
            n.op = "ClipByValue".to_owned();
        }
    });
    with("an activation of the candidate alone", &|n| {
        if is(n, "Tanh", "cell_0") && n.inputs[0].contains(":1") {
            n.op = "Relu".to_owned();
        }
    });
    with("an unknown activation", &|n| {
        if is(n, "Tanh", "cell_1") {
            n.op = "Sin".to_owned();
        }
    });
    let is_value = |node: &Node, value: f64| {
        node.op == "Const"
            && matches!(node.attrs.get("value"), Some(Attr::Tensor(t)) if t.to_f64() == Some(vec![value]))
    };
    with("a forget bias that is fed", &|n| {
        if n.name.contains("cell_0") && is_value(n, 1.0) {
            n.op = "Placeholder".to_owned();
        }
    });
    insta::assert_snapshot!(texts);
}

/// Cases whose `y` is the output of the whole network, with no dropout and from zero states.
const COMPUTED: [&str; 26] = [
    "ave_directions",
    "block_v2",
    "cfv2_bidirectional",
    "cfv2_loop",
    "cfv2_resource",
    "ema_both",
    "ema_named",
    "ema_scoped",
    "ema_swapped",
    "mul_directions",
    "own_name",
    "renamed_keys",
    "residual_middle",
    "residual_whole",
    "shared_stack",
    "shared_stack_static",
    "stripped_defaults",
    "sum_directions",
    "sum_projected",
    "sum_stack",
    "tf215_cf1",
    "tf215_cf1_resource",
    "tf215_cf2",
    "tf215_cf2_resource",
    "time_major",
    "unrolled_20",
];

#[test]
fn the_networks_found_compute_what_tensorflow_did() {
    for case in COMPUTED {
        let (checkpoint, graph) = open(case);
        let found = detect(checkpoint.variables(), Some(&graph), &Given::default()).unwrap();
        let [network] = &found.networks[..] else { panic!("{case}: {} networks", found.networks.len()) };
        let cells = network.network.try_map(&mut |cell| load(cell, |name| checkpoint.read(name))).unwrap();
        let io = golden::case(&format!("graphs/{case}")).io();
        let batch_major = |array| {
            let mut cube = golden::cube(array);
            if network.network.cells()[0].time_major.is_some_and(|t| t.value) {
                cube.swap_axes(0, 1);
            }
            cube
        };
        let (x, y) = (batch_major(&io["x"]), batch_major(&io["y"]));
        let zero = |width| Array2::zeros((x.dim().0, width));
        let initial = cells.cells().iter().map(|c| State { h: zero(c.recurrent_size()), c: zero(c.units()) }).collect();
        let batch = Batch { x: x.as_standard_layout().to_owned(), lengths: None, initial, record_gates: false };
        let ours = oracle::run(&cells, &batch).trace.output;
        assert_eq!(ours.dim(), y.dim(), "{case}");
        let worst = ours.iter().zip(&y).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
        assert!(worst <= 1e-6, "{case}: {worst:e} from TensorFlow's");
    }
}

#[test]
fn the_graph_of_a_saved_model_says_the_same() {
    let read = |path: &str| {
        let checkpoint = Checkpoint::open(&golden::golden_dir().join(path)).unwrap();
        let graph = checkpoint.graph().unwrap().unwrap();
        describe(&detect(checkpoint.variables(), Some(&graph), &Given::default()).unwrap())
    };
    assert_eq!(read("saved_model/saved_model"), read("saved_model"));
}

/// A checkpoint that `tests/checkpoints/make.py` wrote, with its graph if it has one.
fn small(name: &str) -> (Checkpoint, Option<Graph>) {
    let checkpoint = Checkpoint::open(&golden::golden_dir().join("../checkpoints").join(name)).unwrap();
    let graph = checkpoint.graph().unwrap();
    (checkpoint, graph)
}

/// Notes, and why variables were left aside.
fn said(detection: &Detection) -> String {
    let mut text = String::new();
    for note in &detection.notes {
        writeln!(text, "note: {note}").unwrap();
    }
    for ignored in &detection.ignored {
        writeln!(text, "{}: {}", ignored.name, ignored.why).unwrap();
    }
    text
}

#[test]
fn what_wrappers_compute_besides_the_cell_is_told() {
    let (checkpoint, graph) = small("wrapped");
    let detection = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
    assert_eq!(detection.networks.len(), 7, "the cell in each wrapper, and the plain one");
    let told = |name: &str| detection.notes.iter().filter(|n| n.starts_with(name)).count();
    assert_eq!(told("plain"), 0);
    insta::assert_snapshot!(said(&detection));
}

#[test]
fn layers_of_cudnn_are_read_by_what_their_saver_writes() {
    let (checkpoint, graph) = small("cudnn");
    let detection = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
    let cells: Vec<&FoundCell> = detection.networks.iter().flat_map(|n| n.network.cells()).collect();
    assert_eq!(cells.iter().map(|c| (c.input_size, c.units)).collect::<Vec<_>>(), [(4, 3), (4, 3), (5, 4), (4, 4)]);
    assert!(cells.iter().all(|c| c.forget_bias.value == 0.0), "cuDNN adds none");
    insta::assert_snapshot!(said(&detection));
}
