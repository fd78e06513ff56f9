//! `--bundle`: what a comparison that did not pass leaves behind shows the same again, alone and on a CPU.

mod common;

use std::path::{Path, PathBuf};

use common::{Run, gatewise, golden, small};
use golden::schema;
use ndarray::{ArrayD, IxDyn};
use serde_json::Value;

struct Bundles {
    folder: tempfile::TempDir,
}

impl Bundles {
    fn new() -> Bundles {
        Bundles { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Verifies and writes the bundle `name`.
    fn verify(&self, name: &str, checkpoint: &Path, candidate: Option<&Path>, more: &[&str]) -> Run {
        let mut line: Vec<std::ffi::OsString> = vec!["verify".into(), checkpoint.into()];
        line.extend(candidate.map(|c| c.as_os_str().to_owned()));
        line.extend(small(more).into_iter().map(Into::into));
        line.extend(["--format".into(), "json".into(), "--bundle".into(), self.path(name).into()]);
        gatewise(line)
    }

    fn json(&self, name: &str) -> Value {
        let bytes = std::fs::read(self.path(name).join("bundle.json")).unwrap();
        assert!(bytes.len() < 1_000_000, "{name}: {} bytes", bytes.len());
        let json = serde_json::from_slice(&bytes).unwrap();
        let problems = schema::problems("bundle", &json);
        assert!(problems.is_empty(), "{name}: {problems:#?}");
        json
    }

    fn replay(&self, name: &str) -> Run {
        replay(&self.path(name))
    }
}

fn replay(folder: &Path) -> Run {
    let run =
        gatewise(["verify".as_ref(), "--bundle".as_ref(), folder.as_os_str(), "--format".as_ref(), "json".as_ref()]);
    if run.code != 2 {
        let problems = schema::problems("replay", &run.json());
        assert!(problems.is_empty(), "{}: {problems:#?}", folder.display());
    }
    run
}

/// The one key of an object with one key: which kind of part a bundle shows.
fn kind(bundle: &Value) -> String {
    bundle["shows"].as_object().unwrap().keys().next().unwrap().clone()
}

/// The value then and now are the same but for what another order of additions changes.
fn same_values(document: &Value) {
    let element = &document["element"];
    let (then, now) = (&element["recorded"], &element["repeated"]);
    for field in ["oracle", "found"] {
        let (Some(then), Some(now)) = (then[field].as_f64(), now[field].as_f64()) else { continue };
        assert!((then - now).abs() <= 1e-5 * then.abs().max(1.0), "{field}: {element:#}");
    }
}

#[test]
fn every_wrong_conversion_shows_again_from_its_bundle() {
    let bundles = Bundles::new();
    let (mut all, mut kinds) = (0, std::collections::BTreeMap::<String, usize>::new());
    for entry in std::fs::read_dir(golden("basic/keras2/wrong")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|e| e == "json") {
            continue;
        }
        let name = file.file_name().unwrap().to_str().unwrap();
        bundles.verify(name, &golden("basic"), Some(&file), &[]).expect_code(1, name);
        let bundle = bundles.json(name);
        let run = bundles.replay(name);
        run.expect_code(1, name);
        let document = run.json();
        assert_eq!((&document["shows"], &document["verdict"]), (&true.into(), &"fail".into()), "{name}");
        same_values(&document);
        let kind = kind(&bundle);
        if kind == "step" && !bundle["shows"]["step"]["found"].is_null() {
            assert_eq!(document["element"]["within"], false, "{name}: {document:#}");
        }
        *kinds.entry(kind).or_default() += 1;
        all += 1;
    }
    assert_eq!(all, 18);
    // A layer that reads backwards shows in no single step.
    assert!(kinds["step"] >= 16 && kinds["sequence"] == 1, "{kinds:?}");
}

#[test]
fn what_was_found_on_a_gpu_adapter_shows_on_the_cpu() {
    let bundles = Bundles::new();
    let wrong = golden("basic/keras2/wrong/no_forget_bias.weights.h5");
    bundles.verify("b", &golden("basic"), Some(&wrong), &["--device", "gpu"]).expect_code(1, "verify");
    let document = bundles.replay("b").json();
    assert_ne!(document["found_on"], document["repeated_on"]);
    assert_eq!(document["repeated_on"], "CPU (Burn Flex)");
    assert_eq!(document["shows"], true);
    same_values(&document);
}

#[test]
fn an_inconclusive_comparison_is_inconclusive_again() {
    let bundles = Bundles::new();
    bundles.verify("b", &golden("basic"), None, &["--sequences", "1", "--timesteps", "1"]).expect_code(3, "verify");
    assert_eq!(kind(&bundles.json("b")), "whole");
    let run = bundles.replay("b");
    run.expect_code(3, "replay");
    let document = run.json();
    assert_eq!((&document["shows"], &document["verdict"]), (&true.into(), &"inconclusive".into()));
    assert!(document["reasons"][0].as_str().unwrap().contains("would not have been seen"), "{document:#}");
    let text = gatewise(["verify".as_ref(), "--bundle".as_ref(), bundles.path("b").as_os_str()]);
    assert!(text.stdout.starts_with("INCONCLUSIVE  the same shows on CPU"), "{}", text.stdout);
}

#[test]
fn a_pass_leaves_no_bundle_and_says_so() {
    let bundles = Bundles::new();
    let run = bundles.verify("b", &golden("basic"), None, &[]);
    run.expect_code(0, "verify");
    assert!(!bundles.path("b").exists());
    assert!(run.stderr.contains("the comparison passed, so no bundle was written"), "{}", run.stderr);
    let quiet = bundles.verify("b", &golden("basic"), None, &["--quiet"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert_eq!(std::fs::read_dir(bundles.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_bundle_is_a_new_folder() {
    let bundles = Bundles::new();
    let wrong = golden("basic/keras2/wrong/no_forget_bias.weights.h5");
    std::fs::create_dir(bundles.path("b")).unwrap();
    std::fs::write(bundles.path("b/mine"), "kept").unwrap();
    let run = bundles.verify("b", &golden("basic"), Some(&wrong), &[]);
    run.expect_code(2, "it exists");
    assert!(run.stderr.contains("it exists already"), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(bundles.path("b/mine")).unwrap(), "kept");
    bundles.verify("none/b", &golden("basic"), Some(&wrong), &[]).expect_code(2, "no folder to put it in");
    assert_eq!(std::fs::read_dir(bundles.folder.path()).unwrap().count(), 1, "nothing else is left");
}

/// Arrays of one layer under the names that `gatewise convert` gives them, and the same with a change.
fn layer(input: usize, units: usize, change: impl Fn(&mut [(&str, ArrayD<f32>); 3])) -> Vec<(String, ArrayD<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names.npz");
    gatewise(["convert".as_ref(), golden("basic").as_os_str(), "-o".as_ref(), file.as_os_str()])
        .expect_code(0, "convert");
    let names: Vec<String> = golden::npz(&file).into_keys().collect();
    let mut state = 1u64;
    let mut random = |shape: &[usize]| {
        let scale = 1.0 / (units as f32).sqrt();
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
        })
    };
    let mut arrays = [
        ("/kernel", random(&[input, 4 * units])),
        ("recurrent_kernel", random(&[units, 4 * units])),
        ("bias", random(&[4 * units])),
    ];
    change(&mut arrays);
    let named = |(end, array): (&str, ArrayD<f32>)| {
        let name = names.iter().find(|n| n.ends_with(end)).unwrap_or_else(|| panic!("{end} in {names:?}"));
        (name.clone(), array)
    };
    arrays.into_iter().map(named).collect()
}

fn write(path: &Path, arrays: &[(String, ArrayD<f32>)]) {
    let named: Vec<(&str, ArrayD<f32>)> = arrays.iter().map(|(n, a)| (n.as_str(), a.clone())).collect();
    golden::write_npz(path, &named);
}

/// The weights are 1.5 MB on each side; one unit's step needs few of them.
#[test]
fn a_large_layer_has_a_small_bundle() {
    let bundles = Bundles::new();
    let (right, wrong) = (bundles.path("right.npz"), bundles.path("wrong.npz"));
    write(&right, &layer(20, 300, |_| {}));
    write(&wrong, &layer(20, 300, |arrays| arrays[2].1.slice_mut(ndarray::s![300..600]).mapv_inplace(|b| b - 1.0)));
    assert!(std::fs::metadata(&right).unwrap().len() > 1_500_000);
    bundles.verify("b", &right, Some(&wrong), &["--sequences", "2", "--timesteps", "3"]).expect_code(1, "verify");
    let bundle = bundles.json("b");
    assert_eq!(kind(&bundle), "step");
    assert_eq!(bundle["candidate"]["cell"]["kernel"]["shape"], serde_json::json!([20 + 299, 4]));
    let document = bundles.replay("b").json();
    assert_eq!((&document["shows"], &document["element"]["within"]), (&true.into(), &false.into()));
    same_values(&document);
    // What takes the whole network cannot be shown so small, and that is said.
    let run = bundles.verify("c", &right, Some(&right), &["--sequences", "2", "--timesteps", "3", "--atol", "0"]);
    run.expect_code(1, "--atol 0");
    assert!(
        run.stderr.contains("MB, and a bundle has less than 1 MB") && run.stderr.contains("no bundle was written"),
        "{}",
        run.stderr
    );
    assert!(!bundles.path("c").exists());
}

/// gatewise's own conversion of a golden case with the bias of one layer spoilt: the forget gate's, by a tenth.
fn spoilt(bundles: &Bundles, case: &str, layer: &str) -> PathBuf {
    let file = bundles.path("spoilt.npz");
    gatewise(["convert".as_ref(), golden(case).as_os_str(), "-o".as_ref(), file.as_os_str()]).expect_code(0, case);
    let mut arrays: Vec<(String, ArrayD<f32>)> = golden::npz(&file).into_iter().collect();
    let (_, bias) = arrays.iter_mut().find(|(name, _)| name.contains(layer) && name.ends_with("bias")).expect(layer);
    let units = bias.len() / 4;
    bias.slice_mut(ndarray::s![units..2 * units]).mapv_inplace(|b| b + 0.1);
    write(&file, &arrays);
    file
}

/// Cells of other forms, each with the kind of part that shows them: where units do not stand alone a step of the whole
/// cell, and a sequence where the two forms of a cell start a step from different states.
#[test]
fn every_form_of_cell_shows_again_on_a_cpu() {
    let bundles = Bundles::new();
    let without_layer_norm = bundles.path("basic.npz");
    gatewise(["convert".as_ref(), golden("basic").as_os_str(), "-o".as_ref(), without_layer_norm.as_os_str()])
        .expect_code(0, "convert");
    for (case, layer, expected) in [
        ("layer_norm", "", "step"),
        ("projection", "lstm", "sequence"),
        ("bidirectional", "backward_layer", "step"),
        ("cells/bidirectional_projection", "backward_layer", "sequence"),
    ] {
        let candidate = if layer.is_empty() { without_layer_norm.clone() } else { spoilt(&bundles, case, layer) };
        let name = case.replace('/', "-");
        bundles.verify(&name, &golden(case), Some(&candidate), &[]).expect_code(1, case);
        let bundle = bundles.json(&name);
        assert_eq!(kind(&bundle), expected, "{case}");
        let run = bundles.replay(&name);
        run.expect_code(1, case);
        let document = run.json();
        assert_eq!((&document["shows"], &document["verdict"]), (&true.into(), &"fail".into()), "{case}");
        let element = &document["element"];
        assert_eq!(element["within"], false, "{case}: {element:#}");
        for values in ["recorded", "repeated"] {
            let (oracle, found) = (element[values]["oracle"].as_f64(), element[values]["found"].as_f64());
            let apart = (oracle.expect("the oracle's value") - found.expect("the lane's value")).abs();
            assert!(apart > 1e-3, "{case}: {element:#}");
        }
        same_values(&document);
        if layer == "backward_layer" {
            let layer = bundle["layer"].as_str().unwrap();
            assert!(layer.contains("backward"), "{case}: {layer}");
        }
    }
}

/// One bit of one weight: too little for the lanes, and a fail all the same.
#[test]
fn a_weight_off_by_one_bit_shows_again() {
    let bundles = Bundles::new();
    let (right, wrong) = (bundles.path("right.npz"), bundles.path("wrong.npz"));
    write(&right, &layer(5, 8, |_| {}));
    write(
        &wrong,
        &layer(5, 8, |arrays| {
            let weight = &mut arrays[1].1[[3, 21]];
            *weight = f32::from_bits(weight.to_bits() + 1);
        }),
    );
    bundles.verify("b", &right, Some(&wrong), &[]).expect_code(1, "verify");
    let bundle = bundles.json("b");
    assert_eq!((kind(&bundle), &bundle["shows"]["step"]["unit"]), ("step".to_owned(), &5.into()));
    let run = bundles.replay("b");
    run.expect_code(1, "replay");
    let document = run.json();
    assert!(
        document["reasons"][0].as_str().unwrap().starts_with("1 of 4 weights of recurrent_kernel differ")
            || document["reasons"][0].as_str().unwrap().contains("weights of kernel differ"),
        "{document:#}"
    );
    assert_eq!(document["element"]["within"], true);
}

/// Tolerances and recorded data are part of what is repeated.
#[test]
fn what_was_asked_for_besides_is_repeated() {
    let bundles = Bundles::new();
    bundles.verify("atol", &golden("basic"), None, &["--atol", "0"]).expect_code(1, "--atol 0");
    assert_eq!(bundles.json("atol")["shows"]["whole"]["atol"], 0.0);
    let run = bundles.replay("atol");
    run.expect_code(1, "replay");
    assert!(run.json()["reasons"][0].as_str().unwrap().contains("--atol 0e0 was asked for"));

    let io = golden::case("basic").io();
    let y = io.iter().find(|(name, _)| name.as_str() == "y").map(|(_, y)| y + 1.0).expect("y");
    let recorded = bundles.path("recorded.npz");
    golden::write_npz(&recorded, &[("x", io["x"].clone()), ("y", y)]);
    let line = [
        "verify".into(),
        golden("basic").into_os_string(),
        "--device".into(),
        "cpu".into(),
        "--inputs".into(),
        recorded.into_os_string(),
        "--bundle".into(),
        bundles.path("y").into_os_string(),
    ];
    gatewise(line).expect_code(1, "wrong outputs");
    let bundle = bundles.json("y");
    assert!(bundle["inputs"]["given"]["y"].is_object());
    let run = bundles.replay("y");
    run.expect_code(1, "replay");
    assert!(run.json()["reasons"].to_string().contains("the recorded outputs y are"), "{}", run.stdout);
}

/// A part that shows nothing is no pass: here a bundle whose candidate was put right.
#[test]
fn what_does_not_show_is_inconclusive() {
    let bundles = Bundles::new();
    let wrong = golden("basic/keras2/wrong/no_forget_bias.weights.h5");
    bundles.verify("b", &golden("basic"), Some(&wrong), &[]).expect_code(1, "verify");
    let mut bundle = bundles.json("b");
    // The right bias, as the exact comparison states it.
    let stated = bundles.replay("b").json()["reasons"][0].as_str().unwrap().to_owned();
    let right: f32 = stated.split("expected ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let mut bytes = base64(&bundle["candidate"]["cell"]["bias"]);
    bytes[4..8].copy_from_slice(&right.to_le_bytes());
    bundle["candidate"]["cell"]["bias"]["base64"] = encode(&bytes).into();
    std::fs::write(bundles.path("b/bundle.json"), bundle.to_string()).unwrap();
    let run = bundles.replay("b");
    run.expect_code(3, "put right");
    let document = run.json();
    assert_eq!((&document["shows"], &document["element"]["within"]), (&false.into(), &true.into()), "{document:#}");
    let text = gatewise(["verify".as_ref(), "--bundle".as_ref(), bundles.path("b").as_os_str(), "--quiet".as_ref()]);
    assert_eq!(text.stdout, "INCONCLUSIVE  it does not show on CPU (Burn Flex)\n");
}

fn base64(numbers: &Value) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(numbers["base64"].as_str().unwrap()).unwrap()
}

fn encode(bytes: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(bytes)
}

/// A bundle is somebody else's file: whatever is in it, one clear error or an honest result, and never a panic.
#[test]
fn hostile_bundles_are_refused() {
    let bundles = Bundles::new();
    let wrong = golden("basic/keras2/wrong/no_forget_bias.weights.h5");
    bundles.verify("b", &golden("basic"), Some(&wrong), &[]).expect_code(1, "verify");
    let good = bundles.json("b");
    let file = bundles.path("b/bundle.json");
    let refused = |what: &str, bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let run = bundles.replay("b");
        run.expect_code(2, what);
        assert!(run.stderr.starts_with("error: ") && run.stdout.is_empty(), "{what}: {}", run.stderr);
    };
    refused("empty", b"");
    refused("cut off", &good.to_string().as_bytes()[..500]);
    refused("deep", &[b'['; 100_000]);
    refused("large", &[b' '; 1_000_001]);
    let twice = good.to_string().replacen('{', "{\"seed\":1,", 1);
    refused("a name twice", twice.as_bytes());

    let nan = encode(&[f32::NAN.to_le_bytes(); 4].concat());
    let cell = |part: &str| format!("/{part}/cell");
    let changes: Vec<(String, Value)> = vec![
        ("/schema".into(), "gatewise.bundle/2".into()),
        ("/verdict".into(), "pass".into()),
        ("/shows/step/lane".into(), "cpu".into()),
        ("/shows/step/quantity".into(), "x".into()),
        ("/shows/step/here/cell".into(), 1.into()),
        ("/shows/step/here/step".into(), 1.into()),
        ("/shows/step/here/unit".into(), u64::MAX.into()),
        (cell("truth") + "/bias/base64", nan.into()),
        (cell("truth") + "/bias/base64", "not base64!".into()),
        (cell("truth") + "/bias/shape", serde_json::json!([u64::MAX])),
        (cell("truth") + "/bias/shape", serde_json::json!([1u64 << 32, 1u64 << 32])),
        (cell("truth") + "/bias/dtype", "int8".into()),
        (cell("truth") + "/kernel/shape", serde_json::json!([4, 13])),
        (cell("truth") + "/activation", "nothing".into()),
        (cell("truth") + "/forget_bias", 1e300.into()),
        (cell("truth") + "/cell_clip", (-1).into()),
        (cell("truth") + "/projection_clip", (-0.5).into()),
        (cell("candidate") + "/kernel/shape", serde_json::json!([4, 12])),
        (cell("candidate") + "/go_backwards", "yes".into()),
        ("/truth".into(), serde_json::json!({ "stack": [] })),
        ("/truth".into(), serde_json::json!({ "stack": [good["truth"], good["truth"]] })),
        ("/candidate".into(), serde_json::json!({ "stack": [good["candidate"], good["candidate"]] })),
        ("/truth".into(), serde_json::json!({ "residual": good["truth"] })),
        (
            "/truth".into(),
            serde_json::json!({ "bidirectional": { "forward": good["truth"], "backward": good["truth"], "merge": "sub" } }),
        ),
        ("/inputs".into(), serde_json::json!({ "drawn": { "sequences": 0, "timesteps": 1, "only": null } })),
        (
            "/inputs".into(),
            serde_json::json!({ "drawn": { "sequences": 1u64 << 40, "timesteps": 1u64 << 40, "only": null } }),
        ),
        (
            "/inputs".into(),
            serde_json::json!({ "drawn": { "sequences": 1, "timesteps": 1, "only": { "sequence": 1, "steps": 1 } } }),
        ),
        (
            "/inputs".into(),
            serde_json::json!({ "drawn": { "sequences": 1, "timesteps": 1, "only": { "sequence": 0, "steps": 2 } } }),
        ),
        ("/inputs/given/states".into(), serde_json::json!([])),
        ("/inputs/given/lengths".into(), serde_json::json!([9])),
        ("/inputs/given/x/shape".into(), serde_json::json!([12, 1, 1])),
    ];
    for (place, value) in changes {
        let mut changed = good.clone();
        *changed.pointer_mut(&place).unwrap_or_else(|| panic!("{place}")) = value.clone();
        refused(&format!("{place} = {value}"), changed.to_string().as_bytes());
    }

    std::fs::remove_file(&file).unwrap();
    bundles.replay("b").expect_code(2, "no file in it");
    bundles.replay("nowhere").expect_code(2, "no folder");
    std::fs::create_dir(&file).unwrap();
    bundles.replay("b").expect_code(2, "a folder for a file");
}

/// Each value of a bundle replaced by others: any exit code that means something.
#[test]
fn no_change_of_a_bundle_makes_it_panic() {
    let bundles = Bundles::new();
    let wrong = golden("basic/keras2/wrong/go_backwards.keras");
    bundles.verify("b", &golden("basic"), Some(&wrong), &[]).expect_code(1, "verify");
    let good = bundles.json("b");
    assert_eq!(kind(&good), "sequence");
    let mut places = vec![];
    leaves(&good, String::new(), &mut places);
    assert!(places.len() > 40, "{}", places.len());
    for place in places {
        for value in [Value::Null, 0.into(), (-1).into(), (1u64 << 20).into(), "".into(), serde_json::json!([])] {
            let mut changed = good.clone();
            *changed.pointer_mut(&place).unwrap() = value.clone();
            std::fs::write(bundles.path("b/bundle.json"), changed.to_string()).unwrap();
            let run = bundles.replay("b");
            assert!([1, 2, 3].contains(&run.code), "{place} = {value}: {} {}", run.code, run.stderr);
        }
    }
}

fn leaves(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| leaves(field, format!("{at}/{name}"), places)),
        Value::Array(items) if !items.is_empty() => leaves(&items[0], format!("{at}/0"), places),
        _ => places.push(at),
    }
}
