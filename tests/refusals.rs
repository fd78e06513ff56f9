//! Every refusal and every ambiguity, as the user reads it: exit code 2, nothing on stdout, nothing written.

mod common;

use std::path::{Path, PathBuf};

use common::{beside, gatewise, golden, in_crate, redacted, run};
use keras_file::{Array, Layer, LayerKind, Lstm, LstmConfig, Stored, Target};
use tempfile::TempDir;

/// Messages, collected for a snapshot.
struct Refusals {
    folder: TempDir,
    texts: Vec<String>,
}

impl Refusals {
    fn new() -> Refusals {
        Refusals { folder: TempDir::new().unwrap(), texts: vec![] }
    }

    /// A file in the folder, whether it is there or not.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A golden case of which a test may leave out or change files.
    fn copy(&self, case: &str, name: &str) -> PathBuf {
        let folder = self.file(name);
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(golden(case)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
        folder
    }

    /// Runs the words, in which `{}` are paths.
    fn refuse(&mut self, what: &str, words: &[&str], paths: &[&Path]) {
        let before = self.everything();
        let run = run(words, paths);
        run.expect_code(2, what);
        assert!(run.stdout.is_empty(), "{what} printed {}", run.stdout);
        assert!(run.stderr.starts_with("error: ") && !run.stderr.contains("panicked"), "{what}: {}", run.stderr);
        assert_eq!(self.everything(), before, "{what}: nothing is written");
        let text = redacted(&run.stderr, &[(self.folder.path(), "FOLDER")]);
        self.texts.push(format!("# {what}\n{text}"));
    }

    fn convert(&mut self, what: &str, source: &Path, more: &[&str]) {
        let output = self.file("out.keras");
        self.refuse(what, &[&["convert", "{}", "-o", "{}"], more].concat(), &[source, &output]);
    }

    fn judge(&mut self, what: &str, source: &Path, candidate: &Path, more: &[&str]) {
        self.refuse(what, &[&["verify", "{}", "{}", "--device", "cpu"], more].concat(), &[source, candidate]);
    }

    fn map(&mut self, what: &str, source: &Path, text: &str) {
        let (map, output) = (self.write("map.toml", text), self.file("out.npz"));
        self.refuse(what, &["convert", "{}", "-o", "{}", "--map", "{}"], &[source, &output, &map]);
    }

    /// Fills `model` with the LSTMs of `source`.
    fn fill(&mut self, what: &str, source: &Path, model: &Path, more: &[&str]) {
        let output = self.file("filled");
        self.refuse(what, &[&["convert", "{}", "-o", "{}", "--into", "{}"], more].concat(), &[source, &output, model]);
    }

    fn everything(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = std::fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    }

    fn text(&self) -> String {
        self.texts.join("\n")
    }
}

fn lstm(inputs: usize, units: usize, change: impl FnOnce(&mut LstmConfig)) -> Lstm {
    let array = |shape: Vec<usize>| Array::float32(shape.clone(), vec![0.5; shape.iter().product()]);
    let mut config = LstmConfig {
        units,
        activation: "tanh".to_owned(),
        recurrent_activation: "sigmoid".to_owned(),
        use_bias: true,
        go_backwards: false,
        time_major: false,
        return_sequences: true,
        return_state: false,
        zero_output_for_mask: false,
        stateful: false,
    };
    change(&mut config);
    Lstm {
        kernel: array(vec![inputs, 4 * units]),
        recurrent_kernel: array(vec![units, 4 * units]),
        bias: config.use_bias.then(|| array(vec![4 * units])),
        config: Some(config),
        stored: Stored::Plain,
    }
}

fn single(name: &str, lstm: Lstm) -> Layer {
    Layer { name: name.to_owned(), kind: LayerKind::Lstm(lstm) }
}

fn pair(name: &str, forward: Lstm, backward: Lstm) -> Layer {
    let merge_mode = Some("concat".to_owned());
    Layer { name: name.to_owned(), kind: LayerKind::Bidirectional { forward, backward, merge_mode } }
}

fn keras(layers: Vec<Layer>) -> Vec<u8> {
    keras_file::encode(&[layers], Target::Keras).unwrap()
}

/// Puts other bytes in the place of all of one kind.
fn patched(path: &Path, old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let mut bytes = std::fs::read(path).unwrap();
    let at: Vec<usize> = bytes.windows(old.len()).enumerate().filter(|(_, w)| *w == old).map(|(i, _)| i).collect();
    assert!(!at.is_empty(), "{} holds {old:?}", path.display());
    for at in at {
        bytes[at..at + old.len()].copy_from_slice(new);
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_a_graph_says_and_no_lane_runs() {
    let mut refusals = Refusals::new();
    refusals.convert("two forget biases", &golden("graphs/two_forget_biases"), &[]);
    refusals.convert("two activations", &golden("graphs/contrib_cells"), &["--lstm", "grouped_relu"]);
    let other = refusals.copy("basic", "sinh");
    patched(&other.join("model.ckpt.meta"), b"Tanh", b"Sinh");
    refusals.convert("an unknown activation", &other, &[]);
    let clipped = refusals.copy("cell_clip", "sides");
    patched(&clipped.join("model.ckpt.meta"), &(-0.3f32).to_le_bytes(), &(-0.25f32).to_le_bytes());
    refusals.convert("a clip of two bounds", &clipped, &[]);
    let clipped = refusals.copy("cell_clip", "endless");
    patched(&clipped.join("model.ckpt.meta"), &(-0.3f32).to_le_bytes(), &f32::NEG_INFINITY.to_le_bytes());
    patched(&clipped.join("model.ckpt.meta"), &0.3f32.to_le_bytes(), &f32::INFINITY.to_le_bytes());
    refusals.convert("a clip that is none", &clipped, &[]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn weights_that_are_none() {
    let mut refusals = Refusals::new();
    refusals.convert("whole numbers", &beside("checkpoints/whole_numbers"), &[]);
    refusals.convert("beyond float32", &beside("checkpoints/beyond_float32"), &[]);
    refusals.convert("not a number", &beside("checkpoints/not_a_number"), &[]);
    refusals.convert("three axes", &beside("checkpoints/three_axes"), &[]);
    refusals.convert("no room for an input", &beside("checkpoints/no_room_for_input"), &[]);
    refusals.convert("no LSTM", &golden("gru_not_lstm"), &[]);
    let without_graph = refusals.copy("cells/glstm", "glstm");
    std::fs::remove_file(without_graph.join("model.ckpt.meta")).unwrap();
    refusals.convert(
        "an activation that a GLSTMCell applies to its output alone",
        &without_graph,
        &["--activation", "relu"],
    );
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn options_against_what_is_found() {
    let mut refusals = Refusals::new();
    let basic = golden("basic");
    refusals.convert("another forget bias", &basic, &["--forget-bias", "0.5"]);
    refusals.convert("another activation", &basic, &["--activation", "relu"]);
    let model = golden("basic/keras2/model.keras");
    refusals.convert("another recurrent activation", &model, &["--recurrent-activation", "hard_sigmoid"]);
    refusals.convert("a forget bias for a layer that has it in its bias", &model, &["--forget-bias", "1"]);
    refusals.convert("another input size", &basic, &["--input-size", "6"]);
    refusals.convert("no such LSTM", &golden("twins"), &["--lstm", "decoder"]);
    refusals.convert("no such LSTM where there is none", &golden("gru_not_lstm"), &["--lstm", "decoder"]);
    for case in ["trained_adam_ema", "graphs/ema_swapped", "graphs/ema_named"] {
        refusals.convert(&format!("weights or averages: {case}"), &golden(case), &[]);
    }
    refusals.convert("averages that are not there", &basic, &["--weights", "ema"]);
    refusals.convert("weights that are not there", &golden("graphs/ema_only"), &["--weights", "raw"]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn maps_that_say_too_little_or_too_much() {
    let mut refusals = Refusals::new();
    let cell = |name: &str, more: &str| {
        let kernel = "kernel = \"rnn/basic_lstm_cell/kernel\"\nbias = \"rnn/basic_lstm_cell/bias\"\n";
        format!("[[lstm]]\nname = \"{name}\"\n{kernel}{more}\n")
    };
    let two = |first: &str, second: &str| {
        cell("a", &format!("network = \"n\"\n{first}")) + &cell("b", &format!("network = \"n\"\n{second}"))
    };
    let texts = [
        ("nothing", String::new()),
        ("not TOML", "not a map".to_owned()),
        ("a misspelt word", cell("a", "forget_bais = 1.0")),
        ("one name twice", cell("a", "") + &cell("a", "")),
        ("one layer twice", cell("a", "keras = \"lstm\"") + "[[layer]]\nkeras = \"lstm\"\n"),
        ("other variables and no kernel", "[[lstm]]\nname = \"a\"\nbias = \"b\"\n".to_owned()),
        ("an empty list of kernels", "[[lstm]]\nname = \"a\"\nkernel = []\n".to_owned()),
        ("a variable that is not there", cell("a", "projection = \"rnn/basic_lstm_cell/kernal\"")),
        ("an unknown class", cell("a", "cell = \"GRUCell\"")),
        ("an unknown activation", cell("a", "activation = \"swish\"")),
        ("an unknown direction", cell("a", "direction = \"up\"")),
        ("an unknown way to join directions", two("merge = \"max\"", "direction = \"backward\"")),
        ("one place twice", two("", "layer = 0")),
        ("a gap between layers", two("", "layer = 2")),
        ("a backward cell alone", cell("a", "direction = \"backward\"")),
        ("a stack in one direction", two("stack_inside_directions = true", "layer = 1")),
        ("a class without a variable it has", cell("a", "cell = \"IndyLSTMCell\"")),
        ("a class of other shapes", cell("a", "cell = \"CoupledInputForgetGateLSTMCell\"")),
        (
            "a vector of another length",
            cell(
                "a",
                "cell = \"WeightNormLSTMCell\"\nextra = { norm_0 = \"rnn/basic_lstm_cell/bias\", norm_1 = \"rnn/basic_lstm_cell/kernel\" }",
            ),
        ),
        (
            "peepholes that are a kernel",
            cell(
                "a",
                "peepholes = { input = \"rnn/basic_lstm_cell/kernel\", forget = \"rnn/basic_lstm_cell/bias\", output = \"rnn/basic_lstm_cell/bias\" }",
            ),
        ),
        (
            "kernels of other columns",
            cell("a", "").replace(
                "\"rnn/basic_lstm_cell/kernel\"",
                "[\"rnn/basic_lstm_cell/bias\", \"rnn/basic_lstm_cell/kernel\"]",
            ),
        ),
        ("a forget bias against the graph", cell("a", "forget_bias = 0.5")),
        ("a clip against the graph", cell("a", "cell_clip = 0.5")),
        ("an LSTM that is not there", "[[lstm]]\nname = \"decoder\"\n".to_owned()),
    ];
    for (what, text) in texts {
        refusals.map(what, &golden("basic"), &text);
    }
    // Against a graph that clips: by default nothing contradicts.
    let clipped = cell("a", "cell_clip = 0.5").replace("basic_lstm_cell", "lstm_cell");
    refusals.map("another clip than the graph's", &golden("cell_clip"), &clipped);
    let long = format!("# {}\n", "x".repeat(5 << 20));
    refusals.map("too long a map", &golden("basic"), &long);
    let (absent, output) = (refusals.file("absent.toml"), refusals.file("out.npz"));
    refusals.refuse("no map", &["convert", "{}", "-o", "{}", "--map", "{}"], &[&golden("basic"), &output, &absent]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn keras_files_as_sources() {
    let mut refusals = Refusals::new();
    let swish =
        refusals.write("swish.keras", keras(vec![single("reader", lstm(3, 4, |c| c.activation = "swish".into()))]));
    refusals.convert("an activation that no lane has", &swish, &[]);
    let halves = pair("both", lstm(3, 4, |c| c.go_backwards = true), lstm(3, 4, |_| ()));
    let halves = refusals.write("halves.keras", keras(vec![halves]));
    refusals.convert("halves that read the wrong way round", &halves, &[]);
    let foreign = in_crate("keras-file/tests/models/old/foreign.hdf5");
    refusals.convert("HDF5 that is not Keras's", &foreign, &[]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn candidates_that_do_not_fit() {
    let mut refusals = Refusals::new();
    let basic = golden("basic");
    for (what, case, candidate) in [
        ("other shapes", "basic", "square/keras3/model.keras"),
        ("fewer layers", "multi", "basic/keras3/model.keras"),
        ("more layers", "basic", "multi/keras3/model.weights.h5"),
        ("two directions for one", "basic", "bidirectional/keras3/model.keras"),
        ("one direction for two", "bidirectional", "basic/keras3/model.keras"),
        ("no Keras file", "basic", "basic/case.json"),
        ("no file", "basic", "basic/nothing.keras"),
    ] {
        refusals.judge(what, &golden(case), &golden(candidate), &[]);
    }
    let swish =
        refusals.write("swish.keras", keras(vec![single("reader", lstm(5, 8, |c| c.activation = "swish".into()))]));
    refusals.judge("an activation that no lane has", &basic, &swish, &[]);
    let mut short = lstm(5, 8, |_| ());
    short.bias = Some(Array::float32(vec![8], vec![0.0; 8]));
    let arrays = [("lstm/kernel", vec![5, 32]), ("lstm/recurrent_kernel", vec![8, 32]), ("lstm/bias", vec![8])];
    let named = |arrays: &[(&'static str, Vec<usize>)]| -> Vec<(&'static str, ndarray::ArrayD<f32>)> {
        arrays.iter().map(|(name, shape)| (*name, ndarray::ArrayD::zeros(shape.clone()))).collect()
    };
    golden::write_npz(&refusals.file("bias.npz"), &named(&arrays));
    let bias = refusals.file("bias.npz");
    refusals.judge("a bias of another length", &basic, &bias, &[]);
    let arrays = [("lstm/kernel", vec![5, 32]), ("lstm/recurrent_kernel", vec![5, 32]), ("lstm/bias", vec![32])];
    golden::write_npz(&refusals.file("recurrent.npz"), &named(&arrays));
    let recurrent = refusals.file("recurrent.npz");
    refusals.judge("a recurrent kernel of other rows", &basic, &recurrent, &[]);
    let map = refusals.write("map.toml", "[[lstm]]\nname = \"rnn/basic_lstm_cell\"\nkeras = \"decoder\"\n");
    let keras3 = golden("basic/keras3/model.keras");
    let words = ["verify", "{}", "{}", "--device", "cpu", "--map", "{}"];
    refusals.refuse("a layer that is not there", &words, &[&basic, &keras3, &map]);
    // A checkpoint of TensorFlow 2 without LSTM layers: there is nothing to compare with.
    refusals.judge("a checkpoint of TensorFlow 1 as the candidate", &basic, &golden("multi"), &[]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn targets_that_cannot_hold_it() {
    let mut refusals = Refusals::new();
    let hard = golden("keras_tf1_hard_sigmoid");
    let [of_keras2, of_keras3] = ["keras2", "keras3"].map(|keras| hard.join(keras).join("model.keras"));
    refusals.convert("hard sigmoid for both Kerases", &hard, &[]);
    refusals.convert("Keras 3's hard sigmoid for both", &of_keras3, &[]);
    refusals.convert("Keras 2's hard sigmoid for Keras 3", &of_keras2, &["--keras", "3"]);
    refusals.convert("Keras 3's hard sigmoid for Keras 2", &of_keras3, &["--keras", "2"]);
    refusals.convert("weights alone, and said to be for the other", &hard, &["--to", "keras-weights", "--keras", "3"]);
    refusals.convert("a stack inside each direction for both Kerases", &golden("cells/bidirectional_multi"), &[]);
    let projected = golden("graphs/sum_projected");
    let template = run(&["inspect", "{}", "--format", "map"], &[&projected]).stdout;
    assert!(template.contains("merge = \"sum\""), "{template}");
    let multiplied = template.replace("merge = \"sum\"", "merge = \"mul\"");
    refusals.map("directions projected before they are multiplied", &projected, &multiplied);
    let map = refusals.file("map.toml");
    let words = ["verify", "{}", "--device", "cpu", "--map", "{}"];
    refusals.refuse("the same, where gatewise's own conversion is to be compared with", &words, &[&projected, &map]);
    let output = refusals.file("out.onnx");
    refusals.refuse("no format", &["convert", "{}", "-o", "{}"], &[&golden("basic"), &output]);
    let copy = refusals.copy("basic", "copy");
    let own = copy.join("model.ckpt.index");
    refusals.refuse("the checkpoint itself", &["convert", "{}", "-o", "{}", "--to", "keras"], &[&copy, &own]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn models_of_the_users_that_cannot_be_filled() {
    let mut refusals = Refusals::new();
    let basic = golden("basic");
    let model = |refusals: &Refusals, name: &str, layers: Vec<Layer>| refusals.write(name, keras(layers));
    let one = |change: fn(&mut LstmConfig)| vec![single("reader", lstm(5, 8, change))];
    let two = model(
        &refusals,
        "two.keras",
        vec![single("a", lstm(5, 8, |_| ())), single("b", lstm(8, 5, |_| ())), single("c", lstm(5, 8, |_| ()))],
    );
    refusals.fill("more than one layer fits", &basic, &two, &[]);
    let other = model(&refusals, "other.keras", vec![single("a", lstm(3, 4, |_| ())), single("b", lstm(4, 3, |_| ()))]);
    refusals.fill("no layer fits", &basic, &other, &[]);
    let size = model(&refusals, "size.keras", vec![single("a", lstm(3, 4, |_| ()))]);
    refusals.fill("the one layer has other sizes", &basic, &size, &[]);
    let both =
        model(&refusals, "both.keras", vec![pair("a", lstm(5, 8, |_| ()), lstm(5, 8, |c| c.go_backwards = true))]);
    refusals.fill("two directions for one", &basic, &both, &[]);
    refusals.fill("one direction for two", &golden("bidirectional"), &golden("basic/keras3/model.keras"), &[]);
    let bare = model(&refusals, "bare.keras", one(|c| c.use_bias = false));
    refusals.fill("a layer without bias", &basic, &bare, &[]);
    let relu = model(&refusals, "relu.keras", one(|c| c.activation = "relu".into()));
    refusals.fill("another activation", &basic, &relu, &[]);
    let back = model(&refusals, "back.keras", one(|c| c.go_backwards = true));
    refusals.fill("another direction", &basic, &back, &[]);
    let hard = golden("keras_tf1_hard_sigmoid");
    refusals.fill("a model that has the other hard sigmoid", &hard, &hard.join("keras3/model.keras"), &[]);
    refusals.fill(
        "weights of a Keras that has the other hard sigmoid",
        &hard,
        &hard.join("keras3/model.weights.h5"),
        &[],
    );
    refusals.fill("fewer layers", &golden("multi"), &golden("basic/keras3/model.keras"), &[]);
    refusals.fill("a file of bare arrays", &basic, &in_crate("keras-file/tests/models/arrays/alone.npz"), &[]);
    refusals.fill(
        "a layer of Keras 1",
        &golden("graphs/own_name"),
        &in_crate("keras-file/tests/models/old/keras1_real.model.h5"),
        &[],
    );
    let seed = golden("seed_names");
    let keras3 = beside("models/keras3.keras");
    for (what, table) in [
        ("no such layer", "keras = \"nothing\"\nkernel = \"output_layer/kernel\"\n"),
        ("no such array", "keras = \"answer\"\nembeddings = \"output_layer/kernel\"\n"),
        ("an array of another shape", "keras = \"answer\"\nkernel = \"output_layer/bias\"\n"),
        ("no such variable", "keras = \"answer\"\nkernel = \"output_layer/kernal\"\n"),
    ] {
        let (map, output) = (refusals.write("map.toml", format!("[[layer]]\n{table}")), refusals.file("filled"));
        let words = ["convert", "{}", "-o", "{}", "--into", "{}", "--map", "{}"];
        refusals.refuse(what, &words, &[&seed, &output, &keras3, &map]);
    }
    let (map, output) = (
        refusals.write("map.toml", "[[lstm]]\nname = \"rnn/basic_lstm_cell\"\nkeras = \"reader\"\n[[layer]]\nkeras = \"answer\"\nkernel = \"global_step\"\n"),
        refusals.file("filled"),
    );
    let words = ["convert", "{}", "-o", "{}", "--into", "{}", "--map", "{}", "--weights", "raw"];
    refusals.refuse("a map of another checkpoint", &words, &[&golden("trained_adam_ema"), &output, &keras3, &map]);
    refusals.fill("no model", &basic, &refusals.file("absent.keras"), &[]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn recorded_inputs_that_do_not_fit() {
    let mut refusals = Refusals::new();
    let array = |shape: &[usize], value: f32| ndarray::ArrayD::from_elem(shape.to_vec(), value);
    let x = || ("x", array(&[2, 3, 5], 0.5));
    let cases = [
        ("no x", vec![("inputs", array(&[2, 3, 5], 0.5))]),
        ("x of another width", vec![("x", array(&[2, 3, 4], 0.5))]),
        ("x of two axes", vec![("x", array(&[3, 5], 0.5))]),
        ("nothing in x", vec![("x", array(&[0, 3, 5], 0.5))]),
        ("lengths of other sequences", vec![x(), ("seq_len", array(&[3], 2.0))]),
        ("half a step", vec![x(), ("seq_len", array(&[2], 1.5))]),
        ("more steps than there are", vec![x(), ("seq_len", array(&[2], 4.0))]),
        ("a state of another width", vec![x(), ("h0", array(&[2, 4], 0.0))]),
        ("outputs of other steps", vec![x(), ("y", array(&[2, 4, 8], 0.0))]),
        ("outputs of another width", vec![x(), ("y", array(&[2, 3, 9], 0.0))]),
    ];
    for (what, arrays) in cases {
        let path = refusals.file("recorded.npz");
        golden::write_npz(&path, &arrays);
        refusals.refuse(what, &["verify", "{}", "--device", "cpu", "--inputs", "{}"], &[&golden("basic"), &path]);
    }
    let path = refusals.file("recorded.npz");
    golden::write_npz(&path, &[("x", array(&[2, 3, 5], 0.5)), ("h0", array(&[2, 8], 0.5))]);
    let words = ["verify", "{}", "--device", "cpu", "--inputs", "{}"];
    refusals.refuse("a state for two cells", &words, &[&golden("multi"), &path]);
    refusals.refuse("inputs for two networks", &words, &[&golden("twins"), &path]);
    refusals.refuse("no inputs", &words, &[&golden("basic"), Path::new("absent.npz")]);
    refusals.refuse("no arrays", &words, &[&golden("basic"), &golden("basic/case.json")]);
    insta::assert_snapshot!(refusals.text());
}

#[test]
fn devices_that_are_not_there() {
    let mut refusals = Refusals::new();
    refusals.refuse("an unknown word", &["verify", "{}", "--device", "tpu"], &[&golden("basic")]);
    insta::assert_snapshot!(refusals.text());
    // How many there are differs from machine to machine.
    let run = gatewise(["verify".as_ref(), golden("basic").as_os_str(), "--device".as_ref(), "wgpu:99".as_ref()]);
    run.expect_code(2, "wgpu:99");
    assert!(run.stderr.starts_with("error: no adapter wgpu:99: found ") || run.stderr.contains("no GPU adapter found"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gatewise"));
    let output = command.arg("inspect").arg(golden("basic")).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}
