//! `gatewise inspect` on real checkpoints.

mod common;

use common::{gatewise, golden, redacted};
use golden::cases;
use serde_json::Value;

#[test]
fn every_variable_of_every_golden_case_has_its_digest() {
    let mut compared = 0;
    for case in cases() {
        let run = gatewise(["inspect".as_ref(), case.checkpoint().as_os_str(), "--format".as_ref(), "json".as_ref()]);
        run.expect_code(0, &case.name);
        let document = run.json();
        assert_eq!(document["schema"], "gatewise.inspect/1");
        let found = document["variables"].as_array().unwrap();
        let expected = case.json["variables"].as_object().unwrap();
        for variable in found {
            let name = variable["name"].as_str().unwrap();
            // The cases of older releases list graph names and shapes only.
            let Some(sha256) = expected.get(name).and_then(|e| e.get("sha256")) else { continue };
            assert_eq!(&variable["sha256"], sha256, "{} {name}", case.name);
            assert_eq!(variable["shape"], expected[name]["shape"], "{} {name}", case.name);
            assert_eq!(variable["dtype"], expected[name]["dtype"], "{} {name}", case.name);
            compared += 1;
        }
        if !case.name.starts_with("old/") {
            assert_eq!(found.len(), expected.len(), "{}", case.name);
        }
    }
    assert!(compared >= 80, "{compared} digests compared");
}

#[test]
fn every_variable_of_every_real_checkpoint_has_its_digest() {
    let Some(real) = golden::real_dir("every_variable_of_every_real_checkpoint_has_its_digest") else { return };
    let checkpoints = [
        ("bilstm-stacked-tf111", ""),
        ("char-rnn-tf012", ""),
        ("ge2e-projection-tf18", ""),
        ("keras-object-graph-tf1", ""),
        ("ntm-split-gates-v1", "NTM_copy.model-16501"),
        ("story-rnn-v1", ""),
    ];
    for (name, file) in checkpoints {
        let run = gatewise([
            "inspect".as_ref(),
            real.join(name).join(file).as_os_str(),
            "--format".as_ref(),
            "json".as_ref(),
        ]);
        run.expect_code(0, name);
        let text = std::fs::read_to_string(real.join(name).join("variables.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let document = run.json();
        let found = document["variables"].as_array().unwrap();
        assert_eq!(found.len(), expected.as_object().unwrap().len(), "{name}");
        for variable in found {
            let key = variable["name"].as_str().unwrap();
            assert_eq!(variable["sha256"], expected[key]["sha256"], "{name} {key}");
            assert_eq!(variable["shape"], expected[key]["shape"], "{name} {key}");
        }
    }
}

#[test]
fn facts_carry_their_source() {
    let inspect = |case: &str| {
        gatewise(["inspect".as_ref(), golden(case).as_os_str(), "--format".as_ref(), "json".as_ref()]).json()
    };
    let multi = inspect("multi");
    let bias = |index: usize| multi["lstms"][index]["forget_bias"].clone();
    assert_eq!(bias(0), serde_json::json!({"value": 1.0, "source": "graph"}));
    assert_eq!(bias(1), serde_json::json!({"value": 0.5, "source": "graph"}));

    // Without its .meta the same checkpoint says nothing of it.
    let folder = tempfile::tempdir().unwrap();
    for file in ["model.ckpt.index", "model.ckpt.data-00000-of-00001"] {
        std::fs::copy(golden("cudnn_compatible").join(file), folder.path().join(file)).unwrap();
    }
    let run = gatewise(["inspect".as_ref(), folder.path().as_os_str(), "--format".as_ref(), "json".as_ref()]);
    let cudnn = run.json();
    assert_eq!(cudnn["lstms"][0]["forget_bias"], serde_json::json!({"value": 0.0, "source": "cudnn"}));
    assert_eq!(cudnn["lstms"][0]["activation"], serde_json::json!({"value": "tanh", "source": "cell-default"}));

    assert_eq!(inspect("relu")["lstms"][0]["activation"], serde_json::json!({"value": "relu", "source": "graph"}));
    assert_eq!(inspect("cell_clip")["lstms"][0]["keras"]["representable"], false);
}

#[test]
fn slots_and_averages_are_told_from_weights() {
    let run =
        gatewise(["inspect".as_ref(), golden("trained_adam_ema").as_os_str(), "--format".as_ref(), "json".as_ref()]);
    let document = run.json();
    assert_eq!(document["lstms"].as_array().unwrap().len(), 1);
    let why = |name: &str| {
        let ignored = document["ignored"].as_array().unwrap();
        ignored.iter().find(|i| i["name"] == name).unwrap_or_else(|| panic!("{name}"))["why"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(why("rnn/basic_lstm_cell/kernel/Adam_1"), "optimizer slot (Adam_1) of rnn/basic_lstm_cell/kernel");
    assert_eq!(why("rnn/basic_lstm_cell/bias/ExponentialMovingAverage"), "moving average of rnn/basic_lstm_cell/bias");
    assert_eq!(why("beta1_power"), "training scalar");
}

#[test]
fn every_variable_is_either_used_or_explained() {
    for case in cases() {
        let document =
            gatewise(["inspect".as_ref(), case.checkpoint().as_os_str(), "--format".as_ref(), "json".as_ref()]).json();
        let mut names: Vec<String> = vec![];
        for lstm in document["lstms"].as_array().unwrap() {
            for value in lstm["variables"].as_object().unwrap().values() {
                match value {
                    Value::Array(parts) => names.extend(parts.iter().map(|p| p.as_str().unwrap().to_owned())),
                    one => names.push(one.as_str().unwrap().to_owned()),
                }
            }
        }
        names.extend(document["ignored"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap().to_owned()));
        names.sort();
        let mut all: Vec<String> =
            document["variables"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned()).collect();
        all.sort();
        assert_eq!(names, all, "{}", case.name);
    }
}

#[test]
fn people_read_it_so() {
    for case in ["multi", "trained_adam_ema", "gru_not_lstm", "peephole"] {
        let run = gatewise(["inspect".as_ref(), golden(case).as_os_str()]);
        run.expect_code(0, case);
        insta::assert_snapshot!(case, redacted(&run.stdout, &[]));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatewise"))
        .args(["inspect".as_ref(), golden("trained_adam_ema").as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}
