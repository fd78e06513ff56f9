//! `gatewise verify`: right conversions pass, wrong ones fail, on the CPU and on a GPU adapter.

mod common;

use std::path::{Path, PathBuf};

use common::{Run, gatewise, golden};
use ndarray::{Array2, ArrayD, Axis, s};

/// The formats of golden conversions that verify reads.
const FORMATS: [&str; 4] = ["legacy_weights.h5", "model.h5", "model.weights.h5", "model.keras"];

fn verify(device: &str, checkpoint: &Path, candidate: Option<&PathBuf>, more: &[&str]) -> Run {
    let mut arguments = vec!["verify".into(), checkpoint.as_os_str().to_owned()];
    arguments.extend(candidate.map(|c| c.clone().into_os_string()));
    arguments.extend(["--device", device, "--format", "json"].iter().chain(more).map(|s| (*s).into()));
    // Its moving averages are stored too, and the golden conversions are of the weights.
    if checkpoint.to_string_lossy().contains("trained_adam_ema") {
        arguments.extend(["--weights", "raw"].map(Into::into));
    }
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

fn all_pass(device: &str, conversions: &[(String, PathBuf)], more: &[&str]) {
    for (case, file) in conversions {
        let run = verify(device, &golden(case), Some(file), more);
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

fn all_fail(device: &str, conversions: &[PathBuf], more: &[&str]) {
    for file in conversions {
        let run = verify(device, &golden("basic"), Some(file), more);
        run.expect_code(1, &file.display().to_string());
        let document = run.json();
        assert_eq!(document["verdict"], "fail", "{}", file.display());
        assert!(!document["reasons"].as_array().unwrap().is_empty());
    }
}

#[test]
fn right_conversions_pass_on_the_cpu() {
    all_pass("cpu", &right(), &["--sequences", "16", "--timesteps", "30"]);
}

#[test]
fn wrong_conversions_fail_on_the_cpu() {
    all_fail("cpu", &wrong(), &[]);
}

/// One file of each case: once read, all files of a case are the same weights, which the CPU shows. The software adapter
/// stands in for a GPU where there is none; without either this fails, it does not pass by not running.
#[test]
fn right_conversions_pass_on_the_gpu() {
    let document = verify("gpu", &golden("basic"), None, &[]).json();
    eprintln!("GPU tests run on {} ({})", document["device"]["name"], document["device"]["kind"]);
    let mut conversions = right();
    conversions.dedup_by(|a, b| a.0 == b.0);
    assert!(conversions.len() >= 20, "{} cases", conversions.len());
    all_pass("gpu", &conversions, &["--sequences", "8", "--timesteps", "12"]);
}

/// Keras 3's files hold what Keras 2's do.
#[test]
fn wrong_conversions_fail_on_the_gpu() {
    let mut conversions = wrong();
    conversions.retain(|file| file.to_string_lossy().contains("keras2"));
    assert_eq!(conversions.len(), 18);
    all_fail("gpu", &conversions, &["--sequences", "8", "--timesteps", "12"]);
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

/// The mistake that each golden wrong conversion is diagnosed as.
const NAMES: [(&str, &str); 18] = [
    ("bias_not_permuted", "bias-not-permuted"),
    ("bias_zeroed", "bias-missing"),
    // The blocks of f and c exchanged are the order that TF1 stores.
    ("forget_and_cell_swapped", "gates-not-permuted"),
    ("forget_bias_on_wrong_gate", "forget-bias-wrong-gate"),
    ("forget_bias_twice", "forget-bias-doubled"),
    ("gates_not_permuted", "gates-not-permuted"),
    ("gates_not_permuted_no_forget_bias", "gates-not-permuted + forget-bias-missing"),
    ("go_backwards", "backward-not-reversed"),
    ("hard_sigmoid_gates", "recurrent-activation"),
    ("no_bias", "bias-missing"),
    ("no_forget_bias", "forget-bias-missing"),
    ("one_weight_off_by_1_percent", "weights-differ"),
    ("output_and_input_swapped", "gate-order"),
    ("recurrent_rows_rolled_by_one", "recurrent-rows-rolled"),
    ("recurrent_transposed_per_gate", "recurrent-transposed"),
    ("relu_instead_of_tanh", "activation"),
    ("rounded_to_float16", "precision-reduced"),
    ("rows_recurrent_first", "kernel-rows-recurrent-first"),
];

#[test]
fn wrong_conversions_are_called_by_their_right_name() {
    for file in wrong() {
        let name = file.file_name().unwrap().to_string_lossy().split('.').next().unwrap().to_owned();
        let document = verify("cpu", &golden("basic"), Some(&file), &["--sequences", "4", "--timesteps", "4"]).json();
        let expected = NAMES.iter().find(|(file, _)| *file == name).unwrap_or_else(|| panic!("{name}")).1;
        let found = &document["lstms"][0]["diagnosis"][0];
        assert_eq!(found["fault"], expected, "{}: {found:#}", file.display());
        assert!(document["reasons"][0]["text"].as_str().unwrap().contains("candidate"), "it is said first");
    }
}

/// The fused kernel split by columns, in the variants of the reference that look plausible; gates of `kernel` are
/// i, j, f, o, `input` of its rows are the input's.
fn column_splits(kernel: &Array2<f32>, input: usize) -> Vec<(&'static str, Array2<f32>, Array2<f32>)> {
    let units = kernel.ncols() / 4;
    let rows = kernel.nrows();
    let shaped = |a: Array2<f32>, rows: usize| {
        let columns = a.len() / rows;
        Array2::from_shape_vec((rows, columns), a.iter().copied().collect()).unwrap()
    };
    let halves = |k: &Array2<f32>| (k.slice(s![.., ..2 * units]).to_owned(), k.slice(s![.., 2 * units..]).to_owned());
    let stack = |parts: &[Array2<f32>]| {
        ndarray::concatenate(Axis(0), &parts.iter().map(|p| p.view()).collect::<Vec<_>>()).unwrap()
    };
    let by_rows = |k: &Array2<f32>| (k.slice(s![..input, ..]).to_owned(), k.slice(s![input.., ..]).to_owned());
    let (left, right) = halves(kernel);
    let (w, u) = by_rows(kernel);
    let apart = |k: &Array2<f32>| {
        let (left, right) = halves(k);
        shaped(stack(&[left, right]), k.nrows())
    };
    let gates: Vec<Array2<f32>> = (0..4).map(|g| kernel.slice(s![.., g * units..(g + 1) * units]).to_owned()).collect();
    let stacked_gates = by_rows(&shaped(stack(&gates), rows));
    let reshaped = by_rows(&shaped(stack(&[left.clone(), right.clone()]), rows));
    let exchanged = by_rows(&ndarray::concatenate(Axis(1), &[right.view(), left.view()]).unwrap());
    vec![
        ("a", left.clone(), right.clone()),
        ("b", stack(&[left, right]), u.clone()),
        ("c", reshaped.0, reshaped.1),
        ("d", apart(&w), apart(&u)),
        ("f", stacked_gates.0, stacked_gates.1),
        ("h", exchanged.0, exchanged.1),
    ]
}

#[test]
fn a_kernel_split_by_columns_is_named_whether_its_shapes_fit_or_not() {
    let checkpoint = tf_checkpoint::Checkpoint::open(&golden("seed_names")).unwrap();
    let read = |name: &str| checkpoint.read(&format!("lstm/basic_lstm_cell/{name}")).unwrap().to_f32().unwrap();
    let kernel = Array2::from_shape_vec((120, 400), read("kernel")).unwrap();
    let bias = read("bias");
    let folder = tempfile::tempdir().unwrap();
    for (variant, w, u) in column_splits(&kernel, 20) {
        let file = folder.path().join(format!("{variant}.npz"));
        let mut folded = bias.clone();
        folded.iter_mut().skip(100).take(100).for_each(|b| *b += 1.0);
        let arrays = [
            ("kernel", w.clone().into_dyn()),
            ("recurrent_kernel", u.into_dyn()),
            ("bias", ndarray::Array1::from(folded).into_dyn()),
        ];
        golden::write_npz(&file, &arrays);
        let run = verify("cpu", &golden("seed_names"), Some(&file), &["--sequences", "4", "--timesteps", "4"]);
        if w.dim() == (20, 400) {
            run.expect_code(1, variant);
            let fault = run.json()["lstms"][0]["diagnosis"][0]["fault"].to_string();
            assert!(fault.contains("column-split"), "{variant}: {fault}");
        } else {
            run.expect_code(2, variant);
            assert!(run.stderr.contains("column-split"), "{variant}: {}", run.stderr);
        }
    }
}

/// A right conversion of any kernel and bias of a checkpoint, as an `.npz` file.
fn converted(case: &str, kernel: &str, bias: &str, input: usize, file: &Path) {
    let checkpoint = tf_checkpoint::Checkpoint::open(&golden(case)).unwrap();
    let tensor = |name: &str| checkpoint.read(name).unwrap();
    let shape = (tensor(kernel).shape()[0], tensor(kernel).shape()[1]);
    let units = shape.1 / 4;
    let permuted = |a: Array2<f32>| {
        let block = |g: usize| a.slice(s![.., g * units..(g + 1) * units]).to_owned();
        let blocks = [block(0), block(2), block(1), block(3)];
        ndarray::concatenate(Axis(1), &blocks.each_ref().map(|b| b.view())).unwrap()
    };
    let k = permuted(Array2::from_shape_vec(shape, tensor(kernel).to_f32().unwrap()).unwrap());
    let mut b = permuted(Array2::from_shape_vec((1, shape.1), tensor(bias).to_f32().unwrap()).unwrap());
    b.slice_mut(s![.., units..2 * units]).mapv_inplace(|v| v + 1.0);
    let arrays = [
        ("lstm/kernel", k.slice(s![..input, ..]).to_owned().into_dyn()),
        ("lstm/recurrent_kernel", k.slice(s![input.., ..]).to_owned().into_dyn()),
        ("lstm/bias", b.row(0).to_owned().into_dyn()),
    ];
    golden::write_npz(file, &arrays);
}

#[test]
fn right_weights_of_another_origin_are_called_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candidate.npz");
    let small = ["--sequences", "4", "--timesteps", "4"];
    let fault = |case: &str, kernel: &str, bias: &str, more: &[&str]| {
        converted(case, kernel, bias, 5, &file);
        let run = verify("cpu", &golden(case), Some(&file), &[&small, more].concat());
        let document = run.json();
        (run.code, document["lstms"][0]["diagnosis"][0]["fault"].as_str().unwrap_or_default().to_owned())
    };
    let (k, b) = ("rnn/basic_lstm_cell/kernel", "rnn/basic_lstm_cell/bias");
    let beside = |suffix: &str| fault("trained_adam_ema", &format!("{k}/{suffix}"), &format!("{b}/{suffix}"), &[]);
    assert_eq!(fault("trained_adam_ema", k, b, &[]), (0, String::new()), "the weights themselves pass");
    assert_eq!(beside("ExponentialMovingAverage"), (1, "moving-average".to_owned()));
    assert_eq!(beside("Adam"), (1, "optimizer-slot".to_owned()));
    // Two LSTMs of one shape: the candidate holds the other one twice.
    let checkpoint = tf_checkpoint::Checkpoint::open(&golden("twins")).unwrap();
    assert_eq!(checkpoint.variables().len(), 4);
    let both = folder.path().join("both.npz");
    converted("twins", "question/rnn/basic_lstm_cell/kernel", "question/rnn/basic_lstm_cell/bias", 5, &file);
    let arrays = golden::npz(&file);
    let named: Vec<(String, ArrayD<f32>)> = ["lstm", "lstm_1"]
        .iter()
        .flat_map(|layer| arrays.iter().map(move |(name, a)| (name.replacen("lstm", layer, 1), a.clone())))
        .collect();
    let named: Vec<(&str, ArrayD<f32>)> = named.iter().map(|(name, a)| (name.as_str(), a.clone())).collect();
    golden::write_npz(&both, &named);
    let run = verify("cpu", &golden("twins"), Some(&both), &small);
    run.expect_code(1, "the question twice");
    let document = run.json();
    assert_eq!(document["lstms"][0]["name"], "answer/rnn/basic_lstm_cell");
    assert_eq!(document["lstms"][0]["diagnosis"][0]["fault"], "wrong-lstm");
    assert_eq!(document["lstms"][1]["weights"]["equal"], true);
}

#[test]
fn a_software_adapter_says_so_and_its_driver_says_nothing() {
    let checkpoint = golden("basic");
    let small = ["--sequences", "4", "--timesteps", "4"];
    let run = verify("gpu", &checkpoint, None, &small);
    run.expect_code(0, "the GPU adapter");
    let device = &run.json()["device"];
    if device["kind"] == "software-adapter" {
        let name = device["name"].as_str().unwrap();
        assert_eq!(run.stderr, format!("note: {name} is a software adapter: it runs on the CPU\n"));
    } else {
        assert_eq!(run.stderr, "");
    }
    // `auto` never takes a software adapter.
    let auto = verify("auto", &checkpoint, None, &small);
    auto.expect_code(0, "auto");
    assert_ne!(auto.json()["device"]["kind"], "software-adapter");
    assert_eq!(auto.stderr, "");
}

#[test]
fn an_adapter_that_is_not_there_is_a_clear_error() {
    let checkpoint = golden("basic");
    let run = verify("wgpu:99", &checkpoint, None, &[]);
    run.expect_code(2, "no such adapter");
    assert!(run.stderr.starts_with("error: no adapter wgpu:99: found "), "{}", run.stderr);
    // No driver at all, as on a machine without one.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gatewise"))
        .args(["verify".as_ref(), checkpoint.as_os_str(), "--device".as_ref(), "gpu".as_ref()])
        .envs(["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].map(|name| (name, "/nonexistent")))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: no GPU adapter found") && stderr.contains("mesa-vulkan-drivers"), "{stderr}");
}

#[test]
fn a_model_on_which_nothing_can_show_is_inconclusive() {
    let run = verify("cpu", &golden("../checkpoints/dead_weights"), None, &["--sequences", "8", "--timesteps", "8"]);
    run.expect_code(3, "weights that are all zero");
    let document = run.json();
    assert_eq!(document["verdict"], "inconclusive");
    assert!(document["reasons"].to_string().contains("would not have been seen"), "{:#}", document["reasons"]);
}

#[test]
fn a_weight_that_is_not_a_number_is_refused() {
    let run = verify("cpu", &golden("../checkpoints/not_a_number"), None, &["--sequences", "8", "--timesteps", "8"]);
    run.expect_code(2, "NaN in the kernel");
    assert!(run.stderr.contains("holds 1 value that is not finite, first at element 77"), "{}", run.stderr);
}

#[test]
fn what_no_graph_says_is_said_to_be_assumed() {
    let run = verify("cpu", &golden("../checkpoints/dead_weights"), None, &["--sequences", "4", "--timesteps", "4"]);
    let notes = run.json()["notes"].to_string();
    assert!(notes.contains("BasicLSTMCell's default of 1 is assumed"), "{notes}");
    assert!(notes.contains("BasicLSTMCell's default of tanh is assumed"), "{notes}");
}

#[test]
fn recorded_inputs_are_run_and_recorded_outputs_judged() {
    // TensorFlow's own x and y, ragged and with states that are not zero.
    for case in ["basic", "lstm_cell", "initial_state", "relu", "multi", "bidirectional"] {
        let inputs = golden(case).join("io.npz");
        let run = verify("cpu", &golden(case), None, &["--inputs", inputs.to_str().unwrap()]);
        run.expect_code(0, case);
        let document = run.json();
        assert!(document["notes"].to_string().contains("recorded outputs y agree"), "{case}: {}", document["notes"]);
        assert_eq!((&document["settings"]["sequences"], &document["settings"]["timesteps"]), (&3.into(), &7.into()));
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("io.npz");
    let io = golden::npz(&golden("basic/io.npz"));
    let write = |x: &ArrayD<f32>, y: &ArrayD<f32>| golden::write_npz(&file, &[("x", x.clone()), ("y", y.clone())]);
    let inputs = ["--inputs", file.to_str().unwrap()];

    // Outputs in the reverse order of their steps: a layer that reads its input backwards does not give these, but
    // nothing right does either.
    let mut y = io["y"].clone();
    y.invert_axis(Axis(1));
    write(&io["x"], &y);
    let run = verify("cpu", &golden("basic"), None, &inputs);
    run.expect_code(1, "reversed outputs");
    assert!(run.stdout.contains("no single known mistake explains them"), "{}", run.stdout);

    let short = io["x"].slice_axis(Axis(2), (0..4).into()).to_owned();
    write(&short, &io["y"]);
    let run = verify("cpu", &golden("basic"), None, &inputs);
    run.expect_code(2, "another width");
    assert!(run.stderr.contains("x is [3, 7, 4]: expected [sequences, timesteps, 5]"), "{}", run.stderr);

    let empty = io["x"].slice_axis(Axis(0), (0..0).into()).to_owned();
    write(&empty, &io["y"]);
    verify("cpu", &golden("basic"), None, &inputs).expect_code(2, "nothing in it");
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
