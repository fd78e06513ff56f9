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
const REFUSED: [(&str, &str); 23] = [
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
    ("graphs/ema_named", "--weights raw or --weights ema"),
    ("graphs/ema_scoped", "--weights raw or --weights ema"),
];

/// Recorded outputs that are not those of the weights as saved, run on x as it is.
const NOT_COMPARABLE: [(&str, &str); 10] = [
    ("float16", "TensorFlow computed in float16, whose unit roundoff is 4.9e-4"),
    ("graphs/cfv2_trained", "the graph cuts sequences off and the recording does not say where"),
    ("graphs/decoder_twice", "y holds the outputs of two uses of the decoder"),
    ("graphs/dropout", "recorded while dropping out"),
    ("graphs/residual_dropout", "recorded while dropping out"),
    ("graphs/ema_only", "computed with the weights, of which only the averages are saved"),
    ("graphs/ema_named_only", "computed with the weights, of which only the averages are saved"),
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
    assert!(cases.len() >= 32 + 25 + 44 + 38, "{} cases", cases.len());
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
        (None, 6) => (problems, "converted"),
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

/// The sizes and the forget bias that `case.json` gives, of every LSTM that `gatewise inspect` finds.
#[test]
fn every_case_is_inspected_as_what_its_author_says() {
    let mut compared = 0;
    for case in golden::cases().into_iter().filter(|c| c.name != "gru_not_lstm") {
        let run = gatewise(["inspect".as_ref(), case.dir.as_os_str(), "--format".as_ref(), "json".as_ref()]);
        run.expect_code(0, &case.name);
        let document = run.json();
        let found = document["lstms"].as_array().unwrap();
        let layers = 1 + found.iter().filter_map(|l| l["layer"].as_u64()).max().unwrap();
        for (index, lstm) in found.iter().enumerate() {
            // A list has an entry for each cell or for each layer.
            let layer = lstm["layer"].as_u64().unwrap() as usize;
            let said = |key: &str| match &case.json[key] {
                serde_json::Value::Array(each) if each.len() == found.len() => each[index].clone(),
                serde_json::Value::Array(each) if each.len() as u64 == layers => each[layer].clone(),
                other => other.clone(),
            };
            let name = format!("{}: {}", case.name, lstm["name"]);
            let class = case.json["cell"].as_str().unwrap().trim_end_matches(" x2");
            // What names the wiring leaves the class of its cells open.
            if !["MultiRNNCell", "bidirectional_dynamic_rnn", "stack_bidirectional_dynamic_rnn"].contains(&class) {
                assert_eq!(lstm["cell"], class, "{name}");
            }
            if layer == 0 {
                assert_eq!(lstm["input_size"], said("input"), "{name}");
            }
            if !case.json["units"].is_null() {
                assert_eq!(lstm["units"], said("units"), "{name}");
            }
            match said("forget_bias").as_f64() {
                Some(bias) => {
                    let found = lstm["forget_bias"]["value"].as_f64().unwrap();
                    assert!((found - bias).abs() < 1e-7, "{name}: {found} against {bias}");
                    let source =
                        if case.json["cell"] == "CudnnCompatibleLSTMCell" { ["graph", "cudnn"] } else { ["graph"; 2] };
                    assert!(source.iter().any(|s| lstm["forget_bias"]["source"] == *s), "{name}: {lstm}");
                }
                None => assert_eq!(lstm["forget_bias"]["source"], "in-bias", "{name}"),
            }
            assert_eq!(lstm["projection"].as_u64(), case.json["projection"].as_u64(), "{name}");
            assert_eq!(lstm["peephole"], case.json["peephole"].as_bool().unwrap_or(false), "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 70, "{compared} cells");
}

/// Each file that a real Keras wrote, taken as the source, computes what that Keras recorded.
#[test]
fn every_keras_file_computes_what_its_keras_did() {
    let mut files = vec![];
    for case in golden::cases() {
        for (generation, major) in [("keras2", "2"), ("keras3", "3")] {
            let folder = case.dir.join(generation);
            let recorded = folder.join("y_keras.npz");
            let y = recorded.is_file().then(|| golden::npz(&recorded));
            let Some(y) = y.and_then(|mut arrays| arrays.remove("y")) else { continue };
            for file in [
                "model.h5",
                "model.keras",
                "model.weights.h5",
                "legacy_weights.h5",
                "tf2_checkpoint",
                "tf2_train_checkpoint",
            ] {
                let path = folder.join(file);
                if path.exists() || path.with_extension("index").exists() {
                    files.push((case.name.clone(), case.io()["x"].clone(), y.clone(), path, major));
                }
            }
        }
    }
    let problems = on_all_cores(&files, |(name, x, y, path, _)| {
        let folder = TempDir::new().unwrap();
        let recorded = folder.path().join("recorded.npz");
        golden::write_npz(&recorded, &[("x", x.clone()), ("y", y.clone())]);
        let has_config = path.ends_with("model.h5") || path.ends_with("model.keras");
        let mut arguments: Vec<std::ffi::OsString> = vec!["verify".into(), path.into()];
        arguments.extend(["--device", "cpu", "--inputs"].map(Into::into));
        arguments.push(recorded.into());
        if !has_config {
            let gates = if name == "keras_tf1_hard_sigmoid" { "hard_sigmoid" } else { "sigmoid" };
            arguments.extend(["--recurrent-activation", gates].map(Into::into));
            if name == "relu" {
                arguments.extend(["--activation", "relu"].map(Into::into));
            }
            // Weights alone do not say that one layer reads the other: a map does.
            let template = gatewise(["inspect".as_ref(), path.as_os_str(), "--format".as_ref(), "map".as_ref()]);
            let map = folder.path().join("map.toml");
            std::fs::write(&map, on_one_another(&template.stdout)).unwrap();
            arguments.extend(["--map".into(), map.into()]);
        }
        let run = gatewise(arguments);
        let text = format!("{}{}", run.stdout, run.stderr);
        // Some have weights on which nothing could show; the recording is judged all the same.
        if run.code != 1 && text.contains("the recorded outputs y agree with the truth") {
            return vec![];
        }
        vec![format!("{}: {}: {text}", path.display(), run.code)]
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(files.len() >= 180, "{} files", files.len());
}

/// A map whose networks are put on one another, in their order.
fn on_one_another(template: &str) -> String {
    let mut networks: Vec<String> = vec![];
    let mut text = String::new();
    for line in template.lines() {
        if let Some(network) = line.strip_prefix("network = ") {
            if !networks.iter().any(|n| n == network) {
                networks.push(network.to_owned());
            }
            text += &format!("network = \"whole\"\nlayer = {}\n", networks.len() - 1);
        // What the options say is not in the map.
        } else if !line.starts_with("layer = ") && !line.starts_with("activation = ") {
            text += &format!("{line}\n");
        }
    }
    text
}

/// A row for each LSTM of an inspection: class, sizes, place, forget bias and activations, each with its source.
fn rows(document: &serde_json::Value) -> String {
    let row = |lstm: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        let fact = |fact: &serde_json::Value| format!("{} {}", text(&fact["value"]), text(&fact["source"]));
        format!(
            "    {} | {} | {}x{} | layer {} {} | projection {} | fb {} {} | {} | {}\n",
            text(&lstm["name"]),
            text(&lstm["cell"]),
            lstm["input_size"],
            lstm["units"],
            lstm["layer"],
            text(&lstm["direction"]),
            lstm["projection"],
            lstm["forget_bias"]["value"],
            text(&lstm["forget_bias"]["source"]),
            fact(&lstm["activation"]),
            fact(&lstm["recurrent_activation"]),
        )
    };
    document["lstms"].as_array().unwrap().iter().map(row).collect()
}

/// Every golden case as `gatewise inspect` shows it.
#[test]
fn every_golden_case_is_read_as_what_it_is() {
    let mut table = String::new();
    for name in cases() {
        let run = gatewise(["inspect".as_ref(), golden(&name).as_os_str(), "--format".as_ref(), "json".as_ref()]);
        run.expect_code(0, &name);
        let rows = rows(&run.json());
        table += &format!("{name}\n{}", if rows.is_empty() { "    no LSTM\n" } else { &rows });
    }
    insta::assert_snapshot!(table);
}

/// What people have: inspected, and converted and verified, or refused.
#[test]
fn every_real_case_is_read_as_what_it_is() {
    let Some(real) = golden::real_dir("every_real_case_is_read_as_what_it_is") else { return };
    let folder = TempDir::new().unwrap();
    let mut table = String::new();
    for (name, options) in [
        ("bilstm-stacked-tf111", &[][..]),
        ("char-rnn-tf012", &[]),
        ("elmo-fixture-h5/lm_weights.hdf5", &[]),
        ("ge2e-projection-tf18", &[]),
        ("keras-object-graph-tf1", &[]),
        ("ntm-split-gates-v1/NTM_copy.model-16501", &[]),
        ("story-rnn-v1", &[]),
        ("textgenrnn-h5/textgenrnn_weights.hdf5", &[]),
        ("textgenrnn-h5/textgenrnn_weights_2017.hdf5", &[]),
    ] {
        let source = real.join(name);
        let run = gatewise(["inspect".as_ref(), source.as_os_str(), "--format".as_ref(), "json".as_ref()]);
        run.expect_code(0, name);
        let document = run.json();
        table += &format!("{name} ({})\n", document["format"].as_str().unwrap());
        table += &rows(&document);
        for note in document["notes"].as_array().unwrap() {
            table += &format!("    note: {}\n", note.as_str().unwrap());
        }
        let output = folder.path().join("out.weights.h5");
        let run = convert(&source, &output, options);
        if run.code == 2 {
            let text = run.stderr.replace(&real.display().to_string(), "REAL");
            table += &format!("    refused: {}\n", text.trim_end().replace('\n', "\n        "));
            assert!(!output.exists(), "{name}");
            continue;
        }
        run.expect_code(0, name);
        verify(&source, Some(&output), options).expect_code(0, name);
        table += "    converted, and the conversion verified\n";
        std::fs::remove_file(output).unwrap();
    }
    insta::assert_snapshot!(table);
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
