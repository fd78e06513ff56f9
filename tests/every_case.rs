//! Every golden case through the whole path: inspected, then converted to every format and verified from each, or
//! refused for the right reason.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{gatewise, golden};
use tempfile::TempDir;

/// Why no Keras LSTM computes what these hold: a word of the message.
const REFUSED: [(&str, &str); 21] = [
    ("block_cell_peephole", "peephole"),
    ("cell_clip", "clips its cell state to ±0.3"),
    ("gru_not_lstm", "holds no LSTM"),
    ("layer_norm", "normalises"),
    ("peephole", "peephole"),
    ("old/tf0_12_1_peephole_proj", "peephole"),
    ("old/tf1_0_1_peephole_proj", "peephole"),
    ("old/tf1_2_1_peephole_proj", "peephole"),
    ("old/tf1_5_0_peephole_proj", "peephole"),
    ("old/tf0_12_1_block_big_state", "clips its cell state to ±3"),
    ("old/tf1_0_1_block_big_state", "clips its cell state to ±3"),
    ("old/tf1_2_1_block_big_state", "clips its cell state to ±3"),
    ("cells/layer_norm_bidirectional", "normalises"),
    ("graphs/cfv2_resource", "peephole"),
    ("graphs/contrib_cells", "applies tanh to the candidate and relu"),
    ("graphs/renamed_keys", "peephole"),
    ("graphs/stripped_defaults", "clips its cell state to ±3"),
    ("graphs/two_forget_biases", "more than one forget bias: 0 and 1"),
    ("trained_adam_ema", "--weights raw or --weights ema"),
    ("graphs/ema_both", "--weights raw or --weights ema"),
    ("graphs/ema_swapped", "--weights raw or --weights ema"),
];

/// Recorded outputs that are not those of the weights as saved, run on x as it is.
const NOT_COMPARABLE: [(&str, &str); 9] = [
    ("float16", "TensorFlow computed in float16, whose unit roundoff is 4.9e-4"),
    ("graphs/cfv2_trained", "the graph cuts sequences off and the recording does not say where"),
    ("graphs/decoder_twice", "y holds the outputs of two uses of the decoder"),
    ("graphs/dropout", "recorded while dropping out"),
    ("graphs/residual_dropout", "recorded while dropping out"),
    ("graphs/ema_only", "computed with the weights, of which only the averages are saved"),
    ("graphs/feedback", "x is not what the cell reads: each step reads the output before"),
    ("graphs/sum_and_more", "y is the sum of both directions beside the forward one"),
    ("graphs/time_major", "x has its steps first"),
];

const FORMATS: [&str; 6] = ["h5", "weights.h5", "keras", "npz", "safetensors", "tf2"];

/// Every folder with a `case.json`, by name.
fn cases() -> Vec<String> {
    let mut names = vec![];
    for prefix in ["", "old/", "cells/", "graphs/"] {
        for entry in std::fs::read_dir(golden(prefix)).unwrap() {
            let path = entry.unwrap().path();
            if path.join("case.json").is_file() {
                names.push(format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap()));
            }
        }
    }
    names.sort();
    names
}

/// Why a case should be refused, by the table and by what its own `case.json` says.
fn refusal(name: &str) -> Option<String> {
    if let Some((_, why)) = REFUSED.iter().find(|(case, _)| *case == name) {
        return Some((*why).to_owned());
    }
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden(name).join("case.json")).unwrap()).unwrap();
    (json["keras"] == "refused").then(|| {
        match json["why"].as_str().unwrap() {
            "peepholes" => "peephole",
            "layer norm" => "normalises",
            "cell clip" => "clips its cell state",
            "projection clip" => "clips its projected output",
            other => other,
        }
        .to_owned()
    })
}

/// Runs `work` on every item on all cores, and collects what went wrong.
fn on_all_cores<T: Sync>(items: &[T], work: impl Fn(&T) -> Vec<String> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = work(item);
                    problems.lock().unwrap().extend(found);
                }
            });
        }
    });
    problems.into_inner().unwrap()
}

#[test]
fn every_case_is_converted_to_every_format_or_refused_for_its_reason() {
    let cases = cases();
    assert!(cases.len() >= 32 + 24 + 35 + 34, "{} cases", cases.len());
    let counts = Mutex::new(BTreeMap::<&str, usize>::new());
    let problems = on_all_cores(&cases, |name| {
        let (found, what) = try_case(name);
        *counts.lock().unwrap().entry(what).or_default() += 1;
        found
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let counts = counts.into_inner().unwrap();
    assert!(counts["converted"] >= 85 && counts["refused"] >= 30, "{counts:?}");
}

fn try_case(name: &str) -> (Vec<String>, &'static str) {
    let folder = TempDir::new().unwrap();
    let source = golden(name);
    let mut problems = vec![];
    let mut outputs = 0;
    for format in FORMATS {
        let output = folder.path().join(format!("out.{format}"));
        // Which Keras matters where directions are turned round, and to hard sigmoid.
        let mut arguments = vec!["--keras", "2"];
        if format == "tf2" {
            arguments.extend(["--to", "tf2-checkpoint"]);
        }
        let run = convert(&source, &output, &arguments);
        if let Some(why) = refusal(name) {
            if run.code != 2 || !run.stderr.contains(&why) {
                problems.push(format!("{name} to {format}: expected {why:?}, found {}: {}", run.code, run.stderr));
            }
            if std::fs::read_dir(folder.path()).unwrap().next().is_some() {
                problems.push(format!("{name} to {format}: refused, and left a file"));
            }
            continue;
        }
        if format == "tf2" && run.stderr.contains("no fixed order of layers") {
            continue;
        }
        if run.code != 0 {
            problems.push(format!("{name} to {format}: {}: {}", run.code, run.stderr));
            continue;
        }
        outputs += 1;
        let run = verify(&source, Some(&output), &[]);
        if run.code != 0 || !run.stdout.starts_with("PASS") {
            problems.push(format!("{name} from {format}: {}: {}{}", run.code, run.stdout, run.stderr));
        }
    }
    match (refusal(name), outputs) {
        (Some(_), 0) => (problems, "refused"),
        (None, 5 | 6) => (problems, "converted"),
        (_, outputs) => {
            problems.push(format!("{name}: {outputs} files written"));
            (problems, "neither")
        }
    }
}

fn convert(source: &Path, output: &Path, more: &[&str]) -> common::Run {
    let mut arguments =
        vec!["convert".as_ref(), source.as_os_str(), "-o".as_ref(), output.as_os_str(), "--quiet".as_ref()];
    arguments.extend(more.iter().map(|m| std::ffi::OsStr::new(*m)));
    gatewise(arguments)
}

fn verify(source: &Path, candidate: Option<&PathBuf>, more: &[&str]) -> common::Run {
    let mut arguments = vec!["verify".as_ref(), source.as_os_str()];
    arguments.extend(candidate.map(|c| c.as_os_str()));
    let size = ["--device", "cpu", "--sequences", "8", "--timesteps", "8", "--quiet"];
    arguments.extend(size.iter().map(|a| std::ffi::OsStr::new(*a)));
    arguments.extend(more.iter().map(|m| std::ffi::OsStr::new(*m)));
    gatewise(arguments)
}

/// What TensorFlow and each Keras computed for the recorded inputs is what the checkpoint computes, and where Keras 3
/// means another function by a name, that is said.
#[test]
fn recorded_outputs_of_tensorflow_and_of_both_kerases_agree() {
    let comparable = |n: &String| refusal(n).is_none() && !NOT_COMPARABLE.iter().any(|(name, _)| name == n);
    let names: Vec<String> = cases().into_iter().filter(comparable).collect();
    let compared = AtomicUsize::new(0);
    let problems = on_all_cores(&names, |name| {
        let folder = TempDir::new().unwrap();
        let mut problems = vec![];
        let io = golden::npz(&golden(name).join("io.npz"));
        let (Some(x), Some(y)) = (io.get("x"), io.get("y")) else { return problems };
        let mut outputs = vec![("TensorFlow", y.clone(), false)];
        for generation in ["keras2", "keras3"] {
            let path = golden(name).join(generation).join("y_keras.npz");
            // Keras ran without masks.
            if path.is_file() && !io.contains_key("seq_len") {
                let wrong = generation == "keras3" && name == "keras_tf1_hard_sigmoid";
                outputs.push((generation, golden::npz(&path)["y"].clone(), wrong));
            }
        }
        for (who, y, wrong) in outputs {
            let mut arrays = vec![("x", x.clone()), ("y", y)];
            arrays.extend(["seq_len", "h0", "c0"].iter().filter_map(|n| Some((*n, io.get(*n)?.clone()))));
            let path = folder.path().join("recorded.npz");
            golden::write_npz(&path, &arrays);
            let source = golden(name);
            let run = gatewise([
                "verify".as_ref(),
                source.as_os_str(),
                "--device".as_ref(),
                "cpu".as_ref(),
                "--inputs".as_ref(),
                path.as_os_str(),
            ]);
            if run.stderr.contains("--inputs is for one network") || run.stderr.contains("of several LSTMs") {
                continue;
            }
            compared.fetch_add(1, Ordering::Relaxed);
            let text = format!("{}{}", run.stdout, run.stderr);
            let right = if wrong {
                run.code == 1 && text.contains("hard-sigmoid-definition explains them")
            } else {
                text.contains("the recorded outputs y agree with the truth")
            };
            if !right {
                problems.push(format!("{name}, y of {who}: {}: {text}", run.code));
            }
        }
        problems
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let compared = compared.into_inner();
    assert!(compared >= 100, "{compared} recorded outputs");
}
