//! `gatewise verify`: right conversions pass, wrong ones fail, on the CPU and on a GPU adapter.

mod common;

use std::path::{Path, PathBuf};

use common::{Run, gatewise, golden, redacted};

/// The formats of golden conversions that verify reads.
const FORMATS: [&str; 4] = ["legacy_weights.h5", "model.h5", "model.weights.h5", "model.keras"];

fn verify(device: &str, checkpoint: &Path, candidate: Option<&PathBuf>, more: &[&str]) -> Run {
    let mut arguments = vec!["verify".into(), checkpoint.as_os_str().to_owned()];
    arguments.extend(candidate.map(|c| c.clone().into_os_string()));
    arguments.extend(["--device", device, "--format", "json"].iter().chain(more).map(|s| (*s).into()));
    gatewise(arguments)
}

/// Every right conversion in the golden folder: case, file.
fn right() -> Vec<(String, PathBuf)> {
    let mut found = vec![];
    for case in golden::cases() {
        // Its weights are Keras's own, no TF1 cell's.
        if case.name == "keras_tf1_hard_sigmoid" {
            continue;
        }
        for keras in ["keras2", "keras3"] {
            let files = FORMATS.iter().map(|f| case.dir.join(keras).join(f)).filter(|f| f.is_file());
            found.extend(files.map(|f| (case.name.clone(), f)));
        }
    }
    assert!(found.len() >= 130, "{} right conversions", found.len());
    found
}

fn wrong() -> Vec<PathBuf> {
    let mut found = vec![];
    for keras in ["keras2", "keras3"] {
        for entry in std::fs::read_dir(golden("basic").join(keras).join("wrong")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e != "json") {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 36, "wrong conversions");
    found.sort();
    found
}

fn all_right_pass(device: &str, more: &[&str]) {
    for (case, file) in right() {
        let run = verify(device, &golden(&case), Some(&file), more);
        run.expect_code(0, &format!("{case} {}", file.display()));
        let document = run.json();
        assert_eq!((&document["schema"], &document["verdict"]), (&"gatewise.verify/1".into(), &"pass".into()));
        for lstm in document["lstms"].as_array().unwrap() {
            assert_eq!(lstm["weights"]["equal"], true);
            assert!(lstm["compared"].as_u64().unwrap() > 0);
            for step in lstm["timesteps"].as_array().unwrap() {
                let ratio = step["local"]["ratio"].as_f64().unwrap();
                assert!(ratio > 0.0 && ratio < 1.0, "{case}: local error at {ratio} of its bound");
            }
            for kill in lstm["sensitivity"].as_array().unwrap() {
                assert_ne!(kill["detected"], false, "{case}: {kill}");
            }
        }
    }
}

fn all_wrong_fail(device: &str, more: &[&str]) {
    for file in wrong() {
        let run = verify(device, &golden("basic"), Some(&file), more);
        run.expect_code(1, &file.display().to_string());
        let document = run.json();
        assert_eq!(document["verdict"], "fail", "{}", file.display());
        assert!(!document["reasons"].as_array().unwrap().is_empty());
    }
}

#[test]
fn right_conversions_pass_on_the_cpu() {
    all_right_pass("cpu", &["--sequences", "16", "--timesteps", "30"]);
}

#[test]
fn wrong_conversions_fail_on_the_cpu() {
    all_wrong_fail("cpu", &[]);
}

/// The software adapter stands in for a GPU where there is none; without either this fails, it does not pass by not
/// running.
#[test]
fn right_conversions_pass_on_the_gpu() {
    let document = verify("gpu", &golden("basic"), None, &[]).json();
    eprintln!("GPU tests run on {} ({})", document["device"]["name"], document["device"]["kind"]);
    all_right_pass("gpu", &["--sequences", "8", "--timesteps", "12"]);
}

#[test]
fn wrong_conversions_fail_on_the_gpu() {
    all_wrong_fail("gpu", &["--sequences", "8", "--timesteps", "12"]);
}

/// What is wrong shows in the outputs too, not only in the weights: for each wrong conversion, at default sizes, the
/// lanes themselves must disagree.
#[test]
fn wrong_conversions_show_in_the_lanes_alone() {
    for file in wrong() {
        let document = verify("cpu", &golden("basic"), Some(&file), &[]).json();
        let lanes_say_so = document["reasons"].as_array().unwrap().iter().any(|r| {
            let text = r["text"].as_str().unwrap();
            r["verdict"] == "fail" && (text.starts_with("running freely") || text.starts_with("one step"))
        });
        assert!(lanes_say_so, "{}: {:#}", file.display(), document["reasons"]);
    }
}

#[test]
fn own_conversions_pass_and_need_no_option() {
    for case in golden::cases() {
        let inspect =
            gatewise(["inspect".as_ref(), case.checkpoint().as_os_str(), "--format".as_ref(), "json".as_ref()]).json();
        let lstms = inspect["lstms"].as_array().unwrap();
        let float32 = case.json.get("dtype").is_none_or(|d| d == "float32");
        if lstms.is_empty() || !float32 || lstms.iter().any(|l| l["keras"]["representable"] == false) {
            continue;
        }
        let run = verify("cpu", &case.checkpoint(), None, &["--sequences", "8", "--timesteps", "20"]);
        run.expect_code(0, &case.name);
    }
}

#[test]
fn real_checkpoints_pass() {
    let Some(real) = golden::real_dir("real_checkpoints_pass") else { return };
    for name in ["bilstm-stacked-tf111", "char-rnn-tf012", "story-rnn-v1"] {
        verify("cpu", &real.join(name), None, &["--sequences", "8", "--timesteps", "20"]).expect_code(0, name);
    }
}

#[test]
fn a_weights_only_candidate_is_said_to_leave_activations_open() {
    let candidate = golden("relu/keras3/model.weights.h5");
    let document = verify("cpu", &golden("relu"), Some(&candidate), &["--sequences", "4", "--timesteps", "5"]).json();
    let notes = document["notes"].to_string();
    assert!(notes.contains("weights only and says nothing of activations"), "{notes}");
    let candidate = golden("relu/keras3/model.keras");
    let document = verify("cpu", &golden("relu"), Some(&candidate), &["--sequences", "4", "--timesteps", "5"]).json();
    assert_eq!(document["notes"], serde_json::json!([]));
}

#[test]
fn a_tolerance_can_only_add_to_the_rule() {
    let candidate = golden("basic/keras3/model.keras");
    let strict = verify("cpu", &golden("basic"), Some(&candidate), &["--atol", "1e-12"]);
    strict.expect_code(1, "no two lanes agree to 1e-12");
    let loose = golden("basic/keras3/wrong/one_weight_off_by_1_percent.weights.h5");
    verify("cpu", &golden("basic"), Some(&loose), &["--atol", "1e9", "--rtol", "1e9"])
        .expect_code(1, "a wrong weight stays wrong");
}

#[test]
fn the_same_seed_gives_the_same_document() {
    let run = |seed| verify("cpu", &golden("basic"), None, &["--seed", seed]).stdout;
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
}

#[test]
fn people_read_it_so() {
    let text = |candidate: &str| {
        let arguments =
            ["verify", "CHECKPOINT", "CANDIDATE", "--device", "cpu", "--sequences", "4", "--timesteps", "4"];
        let run = gatewise(arguments.map(|a| match a {
            "CHECKPOINT" => golden("basic").into_os_string(),
            "CANDIDATE" => golden(candidate).into_os_string(),
            other => other.into(),
        }));
        redacted(&numbers(&run.stdout), &[])
    };
    insta::assert_snapshot!("pass", text("basic/keras3/model.keras"));
    insta::assert_snapshot!("fail", text("basic/keras3/wrong/no_forget_bias.weights.h5"));
    insta::assert_snapshot!("fail_by_setting", text("basic/keras3/wrong/hard_sigmoid_gates.keras"));
}

/// Measured numbers in scientific notation differ in their last digits from processor to processor.
fn numbers(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let measured = |word: &str| {
            let number = word.trim_matches([',', ')', ':', '(']);
            (number.contains('e') || number.contains('.')) && number.parse::<f64>().is_ok()
        };
        // From the first measured number on, the rest of a line moves with it.
        match line.split(' ').find(|w| measured(w)) {
            Some(word) if !line.contains("weights of") => {
                let start = line.split_once(word).map_or("", |(start, _)| start);
                let start = start.split("step ").next().unwrap_or(start);
                out += &format!("{start}#...\n");
            }
            _ => out += line,
        }
    }
    out
}
