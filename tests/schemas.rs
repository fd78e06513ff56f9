//! Every JSON document that gatewise prints or writes, judged by its schema in `schemas`.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{gatewise, golden, small};
use golden::schema;
use serde_json::Value;

/// The document fits its schema, and every field of it is described there.
#[track_caller]
fn fits(name: &str, document: &Value) {
    let problems = schema::problems(name, document);
    assert!(problems.is_empty(), "{name}: {problems:#?}");
}

fn json_of(line: &[&str]) -> Value {
    let run = gatewise(line.iter().copied().chain(["--format", "json"]));
    assert_ne!(run.code, 2, "{line:?}: {}", run.stderr);
    run.json()
}

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("UTF-8").to_owned()
}

fn verified(case: &str, candidate: Option<&str>, more: &[&str]) -> Value {
    let checkpoint = text(golden(case));
    let candidate = candidate.map(|c| text(golden(case).join(c)));
    let mut line = vec!["verify", &checkpoint];
    line.extend(candidate.as_deref());
    line.extend(small(more));
    json_of(&line)
}

#[test]
fn inspections_fit_their_schema() {
    let cases = golden::cases().into_iter().map(|c| c.name).chain(golden::cell_cases().into_iter().map(|c| c.name));
    let mut all = 0;
    for case in cases {
        fits("inspect", &json_of(&["inspect", &text(golden(&case))]));
        all += 1;
    }
    assert!(all > 80, "{all} cases");
    for file in ["keras2/model.keras", "keras2/legacy_weights.h5", "keras2/tf2_checkpoint"] {
        fits("inspect", &json_of(&["inspect", &text(golden("basic").join(file))]));
    }
}

#[test]
fn conversions_fit_their_schema() {
    let folder = tempfile::tempdir().unwrap();
    for case in ["basic", "bidirectional", "stack_bidirectional", "multi"] {
        for file in ["a.h5", "a.weights.h5", "a.keras", "a.npz", "a.safetensors"] {
            fits("convert", &json_of(&["convert", &text(golden(case)), "-o", &text(folder.path().join(file))]));
        }
    }
}

#[test]
fn devices_fit_their_schema() {
    fits("devices", &json_of(&["devices"]));
}

#[test]
fn verifications_fit_their_schema() {
    let pass = verified("basic", Some("keras2/model.keras"), &["--atol", "1", "--rtol", "1e9"]);
    assert_eq!(pass["verdict"], "pass");
    fits("verify", &pass);
    let own = verified("stack_bidirectional", None, &[]);
    assert_eq!(own["verdict"], "pass");
    fits("verify", &own);
    let fail = verified("basic", Some("keras2/wrong/relu_instead_of_tanh.keras"), &[]);
    assert_eq!(fail["verdict"], "fail");
    assert!(!fail["lstms"][0]["weights"]["settings"].as_array().unwrap().is_empty());
    fits("verify", &fail);
    let inconclusive = verified("basic", Some("keras2/tf2_checkpoint"), &["--sequences", "1"]);
    fits("verify", &inconclusive);
    fits("verify", &verified("projection", None, &[]));
    // On a GPU adapter, with recorded inputs, and too large to be judged as a whole.
    fits("verify", &verified("basic", None, &["--device", "gpu"]));
    let recorded = text(golden("basic/io.npz"));
    let document = json_of(&["verify", &text(golden("basic")), "--device", "cpu", "--inputs", &recorded]);
    assert!(document["inputs"]["recorded"].is_object(), "{document}");
    fits("verify", &document);
    let streamed = verified("basic", None, &["--sequences", "3000", "--timesteps", "30", "--memory", "128MiB"]);
    assert!(streamed["lstms"][0]["screened"].is_object(), "{}", streamed["lstms"][0]);
    fits("verify", &streamed);
}

/// NaN and infinity have no JSON form of their own: the schema says where null may stand for them.
#[test]
fn values_that_are_not_finite_fit_too() {
    let folder = tempfile::tempdir().unwrap();
    let right = text(folder.path().join("right.npz"));
    json_of(&["convert", &text(golden("basic")), "-o", &right]);
    let mut arrays: Vec<(String, ndarray::ArrayD<f32>)> = golden::npz(Path::new(&right)).into_iter().collect();
    for (_, array) in &mut arrays {
        array.fill(f32::NAN);
    }
    let named: Vec<(&str, ndarray::ArrayD<f32>)> = arrays.iter().map(|(n, a)| (n.as_str(), a.clone())).collect();
    let wrong = folder.path().join("wrong.npz");
    golden::write_npz(&wrong, &named);
    let mut line = vec!["verify".to_owned(), text(golden("basic")), text(&wrong)];
    line.extend(small(&[]).into_iter().map(str::to_owned));
    let document = json_of(&line.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(document["verdict"], "fail");
    assert!(
        document["lstms"][0]["max_abs"].is_null() || document["lstms"][0]["timesteps"][0]["carried"]["non_finite"] != 0
    );
    fits("verify", &document);
}

/// A certificate, its envelope, and what checking them prints.
#[test]
fn certificates_and_checks_fit_their_schemas() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(folder.path().join(name));
    let read = |name: &str| -> Value { serde_json::from_str(&std::fs::read_to_string(at(name)).unwrap()).unwrap() };
    std::fs::write(at("key.pem"), KEY).unwrap();
    verified(
        "basic",
        Some("keras2/model.keras"),
        &["--certificate", &at("plain.json"), "--created", "2026-11-25T22:30:00Z"],
    );
    verified("multi", None, &["--certificate", &at("signed.json"), "--sign", &at("key.pem")]);
    fits("certificate", &read("plain.json"));
    fits("envelope", &read("signed.json"));
    fits("check", &json_of(&["check", &at("plain.json"), "--again"]));
    fits("check", &json_of(&["check", &at("signed.json")]));
    fits("check", &json_of(&["check", &at("plain.json"), &text(golden("basic").join("checkpoint"))]));
    let changed = std::fs::read_to_string(at("plain.json")).unwrap().replace("\"seed\": 0", "\"seed\": 1");
    std::fs::write(at("changed.json"), changed).unwrap();
    let refused = json_of(&["check", &at("changed.json")]);
    assert_eq!(refused["outcome"], "refused");
    fits("check", &refused);
}

/// What a suite prints, writes for merging, and accepts: a pass, a failure, an error, and what got worse.
#[test]
fn suites_fit_their_schemas() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| text(folder.path().join(name));
    let read = |name: &str| -> Value { serde_json::from_str(&std::fs::read_to_string(at(name)).unwrap()).unwrap() };
    let case = |name: &str, candidate: &str, expect: &str| {
        let (checkpoint, candidate) = (text(golden("basic")), text(golden("basic").join(candidate)));
        format!(
            "[[case]]\nname = {name:?}\ncheckpoint = {checkpoint:?}\ncandidate = {candidate:?}\nexpect = {expect:?}\n"
        )
    };
    let defaults = "[defaults]\ndevice = \"cpu\"\nsequences = 4\ntimesteps = 6\n";
    let cases = case("right", "keras2/model.keras", "pass")
        + &case("wrong", "keras2/wrong/no_forget_bias.weights.h5", "fail")
        + &case("absent", "keras2/there_is_none.keras", "error");
    std::fs::write(at("a.toml"), defaults.to_owned() + &cases).unwrap();
    let run = json_of(&["suite", &at("a.toml"), "--results", &at("results"), "--baseline", &at("old"), "--accept"]);
    assert_eq!(run["counts"]["cases"], 3, "{run}");
    fits("suite", &run);
    fits("suite", &read("results"));
    json_of(&["suite", &at("a.toml"), "--shard", "1/2", "--results", &at("part")]);
    fits("suite-shard", &read("part"));
    fits("baseline", &read("old"));
    // Something is missing that was accepted.
    let fewer = case("right", "keras2/model.keras", "pass");
    std::fs::write(at("a.toml"), defaults.to_owned() + &fewer).unwrap();
    let worse = json_of(&["suite", &at("a.toml"), "--baseline", &at("old")]);
    assert!(!worse["baseline"]["regressions"].as_array().unwrap().is_empty(), "{worse}");
    fits("suite", &worse);
}

/// The smallest part that shows a failure, and what repeating it prints.
#[test]
fn bundles_and_what_repeats_them_fit_their_schemas() {
    let folder = tempfile::tempdir().unwrap();
    for (name, candidate, more) in [
        ("step", Some("keras2/wrong/no_forget_bias.weights.h5"), &[][..]),
        ("sequence", Some("keras2/wrong/go_backwards.keras"), &[]),
        ("whole", None, &["--atol", "0"]),
    ] {
        let bundle = text(folder.path().join(name));
        verified("basic", candidate, &[more, &["--bundle", &bundle]].concat());
        let written = std::fs::read(Path::new(&bundle).join("bundle.json")).unwrap();
        let written: Value = serde_json::from_slice(&written).unwrap();
        assert!(written["shows"][name].is_object(), "{name}: {written}");
        fits("bundle", &written);
        fits("replay", &json_of(&["verify", "--bundle", &bundle]));
    }
}

/// There is a schema of every kind of document that the program knows, and no other; each is used in this file.
#[test]
fn every_document_has_its_schema() {
    let root = golden("../..");
    let (mut known, mut open) = (BTreeSet::new(), vec![root.join("crates")]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let source = std::fs::read_to_string(path).unwrap();
                let names = source.split("\"gatewise.").skip(1).filter_map(|rest| rest.split_once("/1\""));
                known.extend(names.map(|(name, _)| name.to_owned()).filter(|name| !name.contains('"')));
            }
        }
    }
    // Around a certificate, in a form that is not ours.
    known.insert("envelope".to_owned());
    let files = std::fs::read_dir(root.join("schemas")).unwrap().map(|e| e.unwrap().file_name());
    let files: BTreeSet<String> =
        files.filter_map(|f| Some(f.to_str()?.strip_suffix(".schema.json")?.to_owned())).collect();
    assert_eq!(known, files);
    assert!(files.len() >= 13, "{files:?}");
    let this = include_str!("schemas.rs");
    for name in files {
        assert!(this.contains(&format!("fits(\"{name}\", ")) || this.contains(&format!("fits({name:?},")), "{name}");
        assert!(schema::load(&name).to_string().contains("gatewise"), "{name}");
    }
}

/// Times of a device, and of one that was faster before.
#[test]
fn benchmarks_fit_their_schema() {
    let folder = tempfile::tempdir().unwrap();
    let old = text(folder.path().join("old.json"));
    let line = ["bench", "--device", "cpu", "--sequences", "2", "--timesteps", "3", "--input", "3", "--units", "4"];
    let mut first = json_of(&[&line[..], &["--rounds", "2"]].concat());
    fits("bench", &first);
    for result in first["results"].as_array_mut().unwrap() {
        for time in ["first_run_ms", "median_ms", "low_ms", "high_ms", "min_ms", "max_ms"] {
            result[time] = serde_json::json!(1e-9);
        }
    }
    std::fs::write(&old, first.to_string()).unwrap();
    let slower = json_of(&[&line[..], &["--rounds", "2", "--baseline", &old]].concat());
    assert!(!slower["baseline"]["regressions"].as_array().unwrap().is_empty(), "{slower}");
    fits("bench", &slower);
}

/// The first key of RFC 8032, section 7.1.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

/// The schemas are no formality: each field of a real document that is left out, and each value of another type, is a
/// problem.
#[test]
fn no_field_can_be_missing_or_of_another_type() {
    for (name, document) in [
        ("verify", verified("basic", Some("keras2/wrong/no_forget_bias.weights.h5"), &["--timesteps", "2"])),
        ("inspect", json_of(&["inspect", &text(golden("basic"))])),
        ("devices", json_of(&["devices"])),
    ] {
        fits(name, &document);
        let mut changes = 0;
        every_change(&document, &mut |what, changed| {
            changes += 1;
            assert!(!schema::problems(name, changed).is_empty(), "{name}: {what}");
        });
        assert!(changes > 30, "{name}: {changes} changes");
    }
}

/// Calls `judge` with the document changed in one place: each field left out, renamed and of another type. Of a list only
/// the first item is changed.
fn every_change(document: &Value, judge: &mut dyn FnMut(&str, &Value)) {
    let mut places = vec![];
    walk(document, String::new(), &mut places);
    for place in places {
        let (parent, name) = place.rsplit_once('/').expect("a pointer");
        let name = &*name.replace("~1", "/").replace("~0", "~");
        let mut changed = document.clone();
        let fields = match changed.pointer_mut(parent) {
            Some(Value::Object(fields)) => fields,
            _ => continue,
        };
        // These are names that vary: functions, roles.
        let free = ["activation_budget_ulp", "activation_ulp", "variables"].iter().any(|n| parent.ends_with(n));
        let old = fields.shift_remove(name).expect("the field");
        if !free {
            judge(&format!("without {place}"), &changed);
            let mut renamed = changed.clone();
            renamed.pointer_mut(parent).expect("the parent")[format!("{name}_")] = old.clone();
            judge(&format!("{place} renamed"), &renamed);
        }
        // No value is a list of lists.
        changed.pointer_mut(parent).expect("the parent")[name] = serde_json::json!([[[]]]);
        judge(&format!("{place} of another type"), &changed);
    }
}

fn walk(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                places.push(at.clone());
                walk(field, at, places);
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                walk(first, format!("{at}/0"), places);
            }
        }
        _ => {}
    }
}
