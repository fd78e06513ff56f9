//! `gatewise bench`: what it prints, what it checks, and how it ends. No test here asserts how long anything takes.

mod common;

use std::path::Path;

use common::{Run, gatewise, golden};
use serde_json::{Value, json};

/// A small shape, timed in a moment.
const SMALL: [&str; 12] =
    ["bench", "--device", "cpu", "--sequences", "5", "--timesteps", "4", "--input", "3", "--units", "7", "--rounds"];

fn bench(more: &[&str]) -> Run {
    gatewise(SMALL.iter().chain(&["2"]).chain(more))
}

fn baseline(folder: &Path, document: &Value) -> String {
    let path = folder.join("before.json");
    std::fs::write(&path, document.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn every_implementation_is_timed_and_verified() {
    let run = bench(&["--format", "json"]);
    run.expect_code(0, "bench");
    let document = run.json();
    assert_eq!(document["schema"], "gatewise.bench/1");
    let device = &document["device"];
    assert!(device["peak_gflops"].as_f64().unwrap() > 0.0 && device["copy_gb_s"].as_f64().unwrap() > 0.0);
    assert_eq!((&device["backend"], &device["self_check"]["passed"]), (&json!("flex"), &json!(true)));
    let results = document["results"].as_array().unwrap();
    let names: Vec<&str> = results.iter().map(|r| r["implementation"].as_str().unwrap()).collect();
    assert_eq!(names, ["burn-nn-lstm", "ops-tf1", "ops-keras", "cpu-tf1", "cpu-keras"]);
    for result in results {
        let number = |key: &str| result[key].as_f64().unwrap_or_else(|| panic!("{key} of {result}"));
        assert_eq!(result["verified"], true, "{result}");
        assert!(number("error") <= number("allowed") && number("allowed") < 1e-4, "{result}");
        let shape = ["sequences", "timesteps", "input", "units", "layers"].map(|key| result[key].as_u64().unwrap());
        assert_eq!((shape, &result["direction"], &result["lstm"]), ([5, 4, 3, 7, 1], &json!("forward"), &Value::Null));
        let ascending = ["min_ms", "low_ms", "median_ms", "high_ms", "max_ms"].map(number);
        assert!(ascending[0] > 0.0 && ascending.is_sorted(), "{result}");
        let median = number("median_ms");
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b;
        assert!(close(number("ms_per_step"), median / 4.0), "{result}");
        assert!(close(number("steps_per_s"), 20.0 / (median / 1e3)), "{result}");
        assert!(close(number("gflops"), f64::from(8 * 7 * (3 + 7) * 20) / (median * 1e6)), "{result}");
        assert!(close(number("of_peak"), number("gflops") / device["peak_gflops"].as_f64().unwrap()), "{result}");
        assert!(number("first_run_ms") > 0.0);
    }
    let routes: Vec<&str> = results.iter().map(|r| r["route"].as_str().unwrap()).collect();
    let (operations, twin) = ("tensor operations", "whole sequences on the CPU");
    assert_eq!(routes, ["Burn's nn::Lstm", operations, operations, twin, twin]);
    let standings: Vec<&str> = results.iter().map(|r| r["standing"].as_str().unwrap()).collect();
    let (fastest, ties) = (|s: &&&str| **s == "fastest", |s: &&&str| **s == "tie");
    let (fastest, ties) = (standings.iter().filter(fastest).count(), standings.iter().filter(ties).count());
    assert!((fastest, ties) == (1, 0) || fastest == 0 && ties >= 2, "{standings:?}");
}

#[test]
fn lists_are_swept_and_implementations_chosen() {
    let arguments =
        ["--layers", "1,2", "--direction", "forward,bidirectional", "--implementation", "cpu-tf1,ops-keras"];
    let run = bench(&[&arguments[..], &["--format", "json"]].concat());
    run.expect_code(0, "bench");
    let document = run.json();
    let found: Vec<String> = document["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            format!("{} {} {}", r["layers"], r["direction"].as_str().unwrap(), r["implementation"].as_str().unwrap())
        })
        .collect();
    let expected: Vec<String> = ["1 forward", "1 bidirectional", "2 forward", "2 bidirectional"]
        .iter()
        .flat_map(|shape| ["ops-keras", "cpu-tf1"].map(|name| format!("{shape} {name}")))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_checkpoint_brings_its_own_lstms() {
    let path = golden("seed_stack").display().to_string();
    let arguments = ["bench", &path, "--device", "cpu", "--sequences", "2", "--timesteps", "3", "--rounds", "1"];
    let run = gatewise(arguments.iter().chain(&["--format", "json"]));
    run.expect_code(0, "bench CHECKPOINT");
    let results = run.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 5);
    for result in results {
        assert!(result["lstm"].is_string() && result["verified"] == true, "{result}");
        assert!(result["layers"].as_u64().unwrap() > 1, "{result}");
    }
    let run = gatewise(arguments);
    run.expect_code(0, "for people");
    assert!(run.stdout.contains("cpu-keras") && run.stderr.is_empty(), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("\n  cpu-tf1, cpu-keras: whole sequences on the CPU\n"), "{}", run.stdout);
    assert!(run.stdout.lines().filter(|l| l.starts_with("  ")).all(|l| l.chars().count() <= 88), "{}", run.stdout);
}

#[test]
fn a_planted_regression_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let before = bench(&["--format", "json"]).json();
    let scaled = |factor: f64| {
        let mut document = before.clone();
        for result in document["results"].as_array_mut().unwrap() {
            for key in ["median_ms", "low_ms", "high_ms"] {
                result[key] = json!(result[key].as_f64().unwrap() * factor);
            }
        }
        document
    };
    // A thousand times faster before, and a thousand times slower.
    for (factor, code, says) in [(1e-3, 1, "REGRESSION"), (1e3, 0, "no regression")] {
        let path = baseline(folder.path(), &scaled(factor));
        let run = bench(&["--baseline", &path]);
        run.expect_code(code, says);
        assert!(run.stdout.contains(says) && run.stdout.contains("5 results compared"), "{}", run.stdout);
        let run = bench(&["--baseline", &path, "--format", "json"]);
        run.expect_code(code, says);
        let found = run.json()["baseline"].clone();
        assert_eq!((found["compared"].as_u64(), found["not_measured"].as_u64()), (Some(5), Some(0)));
        assert_eq!(found["regressions"].as_array().unwrap().len(), if code == 1 { 5 } else { 0 });
    }
    // Of one implementation alone.
    let mut one = scaled(1e3);
    let fast = scaled(1e-3);
    one["results"][3] = fast["results"][3].clone();
    let run = bench(&["--baseline", &baseline(folder.path(), &one), "--format", "json"]);
    run.expect_code(1, "one regression");
    assert_eq!(run.json()["baseline"]["regressions"][0]["implementation"], "cpu-tf1");
    // What was right before and is not timed now is not compared; what had no time before says nothing.
    let mut less = scaled(1e3);
    less["results"][0]["verified"] = json!(false);
    let path = baseline(folder.path(), &less);
    let run = bench(&["--baseline", &path, "--implementation", "cpu-keras,burn-nn-lstm", "--format", "json"]);
    run.expect_code(0, "fewer");
    let found = run.json()["baseline"].clone();
    assert_eq!((found["compared"].as_u64(), found["not_measured"].as_u64()), (Some(1), Some(3)));
}

#[test]
fn a_baseline_that_says_nothing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let good = bench(&["--format", "json"]).json();
    let refused = |change: &dyn Fn(&mut Value), says: &str| {
        let mut document = good.clone();
        change(&mut document);
        let run = bench(&["--baseline", &baseline(folder.path(), &document)]);
        run.expect_code(2, says);
        assert!(run.stdout.is_empty() && run.stderr.contains(says), "{}{}", run.stdout, run.stderr);
    };
    refused(&|d| d["schema"] = json!("gatewise.bench/2"), "expected gatewise.bench/1");
    refused(&|d| d["device"]["name"] = json!("another"), "it was measured on another");
    refused(&|d| d["results"] = json!([]), "none of its results");
    refused(
        &|d| d["results"].as_array_mut().unwrap().iter_mut().for_each(|r| r["units"] = json!(8)),
        "none of its results",
    );
    refused(&|d| *d = json!({"schema": "gatewise.bench/1"}), "expected what `gatewise bench --format json` writes");
    let run = bench(&["--baseline", "no-such-file.json"]);
    run.expect_code(2, "no such file");
    assert!(run.stderr.contains("reading the baseline no-such-file.json"), "{}", run.stderr);
}

#[test]
fn the_picture_shows_every_implementation_under_the_roof() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roof.svg");
    let mut arguments = SMALL.to_vec();
    arguments[4] = "1,9";
    let plot = path.display().to_string();
    gatewise(arguments.iter().chain(&["2", "--plot", &plot])).expect_code(0, "bench --plot");
    let svg = std::fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("class=\"mark").count(), 2 * 5 + 5, "five marks a case, and five in the legend");
    assert_eq!(svg.matches("class=\"roof\"").count(), 1);
    let numbers = svg.replace("inference", "");
    assert!(!numbers.contains("NaN") && !numbers.contains("inf"), "{svg}");
    for name in ["burn-nn-lstm", "ops-tf1", "ops-keras", "cpu-tf1", "cpu-keras"] {
        assert!(svg.contains(name), "{name}");
    }
}
