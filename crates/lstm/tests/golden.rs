//! Detection and oracle on real TensorFlow checkpoints.

use golden::{Case, KERAS_CASES, case, cases};
use lstm::detect::{Detection, FoundNetwork, Given, detect, load};
use lstm::{Batch, Direction, Network, State, Tf1Cell, oracle};
use ndarray::{Array2, Axis, concatenate, s};
use tf_checkpoint::Checkpoint;

fn inspect(case: &Case) -> (Checkpoint, Detection) {
    let checkpoint = Checkpoint::open(&case.checkpoint()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let graph = checkpoint.graph().unwrap();
    let found = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
    (checkpoint, found)
}

fn weights(checkpoint: &Checkpoint, network: &FoundNetwork) -> Network<Tf1Cell> {
    network.network.try_map(&mut |cell| load(cell, |name| checkpoint.read(name))).unwrap()
}

/// What a checkpoint is found to hold, one line per cell.
fn describe(found: &Detection) -> Vec<String> {
    let mut lines = vec![];
    for network in &found.networks {
        for (place, cell) in network.network.placed_cells() {
            let mut line = format!(
                "{} | {} | {} | {}x{} | layer {} {} | fb {} {} | {} {}",
                network.name,
                cell.name,
                cell.kind,
                cell.input_size,
                cell.units,
                place.layer,
                place.direction,
                cell.forget_bias.value,
                cell.forget_bias.source.as_str(),
                cell.activation.value,
                cell.activation.source.as_str()
            );
            if cell.variables.peepholes.is_some() {
                line += " | peepholes";
            }
            if let Some(width) = cell.projection {
                line += &format!(" | projection {width}");
            }
            if let Some(clip) = cell.cell_clip {
                line += &format!(" | clip {}", clip.value);
            }
            if cell.layer_norm {
                line += " | layer norm";
            }
            lines.push(line);
        }
    }
    lines.extend(found.malformed.iter().map(|m| format!("malformed {}: {}", m.name, m.problem)));
    lines.extend(found.notes.iter().map(|n| format!("note: {n}")));
    lines
}

#[test]
fn every_golden_case_is_found_as_what_it_is() {
    let mut table = String::new();
    for case in cases() {
        let (_, found) = inspect(&case);
        table += &format!("{}\n", case.name);
        for line in describe(&found) {
            table += &format!("    {line}\n");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_real_checkpoint_is_found_as_what_it_is() {
    let Some(real) = golden::real_dir("every_real_checkpoint_is_found_as_what_it_is") else { return };
    let mut table = String::new();
    for name in [
        "bilstm-stacked-tf111",
        "char-rnn-tf012",
        "ge2e-projection-tf18",
        "keras-object-graph-tf1",
        "ntm-split-gates-v1/NTM_copy.model-16501",
        "story-rnn-v1",
    ] {
        let checkpoint = Checkpoint::open(&real.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let graph = checkpoint.graph().unwrap();
        let found = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
        table += &format!("{name}\n");
        for line in describe(&found) {
            table += &format!("    {line}\n");
        }
    }
    insta::assert_snapshot!(table);
}

/// Cells that Keras lacks, of which the oracle has the equations.
const BEYOND_KERAS: [&str; 3] = ["peephole", "projection", "cell_clip"];

#[test]
fn the_oracle_reproduces_tensorflow() {
    let old: Vec<String> = cases().into_iter().map(|c| c.name).filter(|n| n.starts_with("old/")).collect();
    let names = KERAS_CASES.iter().chain(&BEYOND_KERAS).map(|n| (*n).to_owned()).chain(old);
    for name in names {
        let case = case(&name);
        let (checkpoint, found) = inspect(&case);
        let [network] = &found.networks[..] else { panic!("{name}: {} networks", found.networks.len()) };
        let network = weights(&checkpoint, network);
        let io = case.io();
        let x = golden::cube(&io["x"]);
        let sequences = x.dim().0;
        let zero = |width| Array2::zeros((sequences, width));
        let mut initial: Vec<State> =
            network.cells().iter().map(|c| State { h: zero(c.recurrent_size()), c: zero(c.units()) }).collect();
        if let (Some(h), Some(c)) = (io.get("h0"), io.get("c0")) {
            initial = vec![State { h: golden::matrix(h), c: golden::matrix(c) }];
        }
        let lengths: Option<Vec<usize>> = io.get("seq_len").map(|l| l.iter().map(|v| *v as usize).collect());
        let batch = Batch { x, lengths: lengths.clone(), initial, record_gates: false };
        let trace = oracle::run(&network, &batch).trace;

        // Where weights are large (`block_big_state`, three times the others) f32 itself is further off.
        let tolerance = if name.contains("big_state") { 1e-5 } else { 1e-6 };
        let close = |what: &str, ours: &ndarray::ArrayViewD<f64>, theirs: &ndarray::ArrayD<f32>| {
            assert_eq!(ours.shape(), theirs.shape(), "{name} {what}");
            let worst = ours.iter().zip(theirs).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
            assert!(worst <= tolerance, "{name}: {what} is {worst:e} from TensorFlow's");
        };
        close("y", &trace.output.view().into_dyn(), &io["y"]);
        if !io.contains_key("h") {
            continue;
        }
        // Final states of the top layer: TensorFlow's generator joined both directions.
        let placed = network.placed_cells();
        let top = placed.iter().map(|(p, _)| p.layer).max().unwrap();
        let finals = |pick: fn(&lstm::CellTrace<f64>) -> &ndarray::Array3<f64>| {
            let parts: Vec<Array2<f64>> = placed
                .iter()
                .enumerate()
                .filter(|(_, (place, _))| place.layer == top)
                .map(|(index, (place, _))| {
                    let values = pick(&trace.cells[index]);
                    Array2::from_shape_fn((sequences, values.dim().2), |(n, unit)| {
                        let last = lengths.as_ref().map_or(batch.timesteps(), |l| l[n]) - 1;
                        values[[n, if place.direction == Direction::Forward { last } else { 0 }, unit]]
                    })
                })
                .collect();
            let views: Vec<_> = parts.iter().map(|p| p.slice(s![.., ..])).collect();
            concatenate(Axis(1), &views).unwrap().into_dyn()
        };
        close("h", &finals(|t| &t.h).view(), &io["h"]);
        close("c", &finals(|t| &t.c).view(), &io["c"]);
    }
}
