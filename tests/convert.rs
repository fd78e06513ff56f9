//! `gatewise convert`: bit for bit the weights of the golden Keras files.

mod common;

use std::path::Path;

use common::{gatewise, golden};
use keras_file::{KerasFile, LayerKind, Lstm};

fn convert(case: &str, output: &Path) -> common::Run {
    let golden = golden(case);
    let mut arguments = vec!["convert".as_ref(), golden.as_os_str(), "-o".as_ref(), output.as_os_str()];
    // Its moving averages are stored too, and the golden conversions are of the weights.
    if case == "trained_adam_ema" {
        arguments.extend(["--weights", "raw"].map(std::ffi::OsStr::new));
    }
    gatewise(arguments)
}

/// Kernel, recurrent kernel and bias of every layer, forward before backward, as bits.
fn weights(file: &KerasFile) -> Vec<Vec<u32>> {
    let arrays = |lstm: &Lstm| {
        let bias = lstm.bias.as_ref().map(|b| b.data.clone()).unwrap_or_default();
        [lstm.kernel.data.clone(), lstm.recurrent_kernel.data.clone(), bias]
            .map(|v| v.iter().map(|x| x.to_bits()).collect())
    };
    let mut all = vec![];
    for lstm in file.layers.iter().flat_map(|layer| layer.kind.lstms()) {
        all.extend(arrays(lstm));
    }
    all
}

#[test]
fn every_format_holds_the_weights_of_the_golden_conversions() {
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for case in golden::cases() {
        // Its weights are Keras's own; it is no TF1 cell.
        if case.name == "keras_tf1_hard_sigmoid" {
            continue;
        }
        for (keras, reference) in
            [("keras2", "model.weights.h5"), ("keras3", "model.weights.h5"), ("keras2", "model.keras")]
        {
            let reference = case.dir.join(keras).join(reference);
            if !reference.is_file() {
                continue;
            }
            let expected = weights(&keras_file::read(&reference).unwrap());
            for name in ["model.h5", "model.weights.h5", "model.keras"] {
                let output = folder.path().join(name);
                convert(&case.name, &output).expect_code(0, &case.name);
                let found = weights(&keras_file::read(&output).unwrap());
                assert!(!found.is_empty());
                assert_eq!(found, expected, "{} {name} against {}", case.name, reference.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared} files compared");
}

#[test]
fn two_scopes_become_two_layers_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.keras");
    let run = gatewise([
        "convert".as_ref(),
        golden("seed_stack").as_os_str(),
        "-o".as_ref(),
        output.as_os_str(),
        "--format".as_ref(),
        "json".as_ref(),
    ]);
    run.expect_code(0, "seed_stack");
    let document = run.json();
    assert_eq!(document["schema"], "gatewise.convert/1");
    assert_eq!(document["layers"][0]["cells"][0], "lstm_0/basic_lstm_cell");
    assert_eq!(document["layers"][1]["cells"][0], "lstm_1/basic_lstm_cell");
    let file = keras_file::read(&output).unwrap();
    let units: Vec<usize> = file
        .layers
        .iter()
        .map(|l| match &l.kind {
            LayerKind::Lstm(lstm) => lstm.recurrent_kernel.shape[0],
            _ => panic!("two plain layers"),
        })
        .collect();
    assert_eq!(units, [100, 150]);
}

#[test]
fn the_same_checkpoint_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.h5", "a.weights.h5", "a.keras"] {
        let (first, second) = (folder.path().join(name), folder.path().join(format!("second-{name}")));
        convert("stack_bidirectional", &first).expect_code(0, name);
        convert("stack_bidirectional", &second).expect_code(0, name);
        assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap(), "{name}");
    }
}

#[test]
fn cells_that_keras_cannot_express_are_refused_by_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut messages = String::new();
    for case in [
        "peephole",
        "block_cell_peephole",
        "cell_clip",
        "layer_norm",
        "old/tf1_2_1_block_big_state",
        "cells/projection_clip",
    ] {
        let output = folder.path().join("out.h5");
        let run = convert(case, &output);
        run.expect_code(2, case);
        assert!(run.stdout.is_empty() && !output.exists(), "{case} wrote something");
        messages += &common::redacted(&run.stderr, &[]);
    }
    insta::assert_snapshot!(messages);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no stray file");
}

#[test]
fn an_option_against_the_graph_needs_override() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.h5");
    let with = |extra: &[&str]| {
        let fixed =
            ["convert", golden("basic").to_str().unwrap(), "-o", output.to_str().unwrap(), "--forget-bias", "0.5"]
                .map(str::to_owned);
        gatewise(fixed.into_iter().chain(extra.iter().map(|s| (*s).to_owned())))
    };
    let run = with(&[]);
    run.expect_code(2, "0.5 against the graph's 1");
    assert!(run.stderr.contains("contradicts the graph, which says 1") && !output.exists(), "{}", run.stderr);
    with(&["--override"]).expect_code(0, "overridden");
    assert!(output.exists());
}

#[test]
fn a_checkpoint_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("model.ckpt.index");
    for file in ["model.ckpt.index", "model.ckpt.data-00000-of-00001"] {
        std::fs::copy(golden("basic").join(file), folder.path().join(file)).unwrap();
    }
    let before = std::fs::read(&index).unwrap();
    let run = gatewise([
        "convert".as_ref(),
        folder.path().as_os_str(),
        "-o".as_ref(),
        index.as_os_str(),
        "--to".as_ref(),
        "keras".as_ref(),
    ]);
    run.expect_code(2, "output is input");
    assert_eq!(std::fs::read(&index).unwrap(), before);
}

/// Two stacks of cells that project: a Keras model of both lists the first layers of both before the second ones, and so do
/// files of weights, LSTMs and projections alike.
#[test]
fn projections_go_with_their_cells_whatever_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = golden("../checkpoints/two_projected_stacks");
    for target in ["keras", "keras-weights", "keras-h5", "npz", "safetensors", "tf2-checkpoint"] {
        let output = folder.path().join(target);
        let convert = ["convert".as_ref(), source.as_os_str(), "-o".as_ref(), output.as_os_str()];
        gatewise(convert.into_iter().chain(["--to", target].map(AsRef::as_ref))).expect_code(0, target);
        let small = ["--device", "cpu", "--sequences", "4", "--timesteps", "6", "--format", "json"];
        let verify = ["verify".as_ref(), source.as_os_str(), output.as_os_str()];
        let run = gatewise(verify.into_iter().chain(small.map(AsRef::as_ref)));
        run.expect_code(0, target);
        assert_eq!(run.json()["lstms"].as_array().unwrap().len(), 4, "{target}");
    }
}
