//! What files may be converted from: Keras files and object checkpoints, moving averages, other types than float32, and
//! cells that Keras cannot express.

mod common;

use std::path::Path;

use common::{Run, SMALL, beside, golden, in_crate, run, verify};
use keras_file::{Layer, LayerKind, Lstm};
use tempfile::TempDir;

/// Each file of a Keras as the source, the others as candidates: they hold the same weights.
#[test]
fn keras_files_and_object_checkpoints_are_sources_too() {
    for case in ["basic", "bidirectional", "keras_tf1_hard_sigmoid"] {
        let folder = golden(case).join("keras2");
        let files = ["model.h5", "model.keras", "model.weights.h5", "legacy_weights.h5", "tf2_checkpoint"];
        for source in files {
            for candidate in ["model.h5", "tf2_train_checkpoint"] {
                // What only weights hold is said by the user.
                let says = if case.starts_with("keras_tf1") {
                    ["--recurrent-activation", "hard_sigmoid"]
                } else {
                    ["--recurrent-activation", "sigmoid"]
                };
                let weights_only = !matches!(source, "model.h5" | "model.keras");
                let says: &[&str] = if weights_only { &says } else { &[] };
                let run = verify(&folder.join(source), &folder.join(candidate), says);
                run.expect_code(0, &format!("{case}: {source} against {candidate}"));
            }
        }
    }
    let inspected = run(&["inspect", "{}", "--format", "json"], &[&golden("bidirectional").join("keras3/model.keras")]);
    inspected.expect_code(0, "inspect a .keras file");
    let document = inspected.json();
    assert_eq!((document["format"].as_str(), document["lstms"].as_array().map(Vec::len)), (Some("keras"), Some(2)));
    let lstm = &document["lstms"][1];
    assert_eq!(
        (lstm["direction"].as_str(), lstm["forget_bias"]["source"].as_str()),
        (Some("backward"), Some("in-bias"))
    );
    assert_eq!(lstm["recurrent_activation"]["source"], "config");
}

#[test]
fn saved_models_of_both_kerases_are_found_through_their_objects() {
    let objects = in_crate("tf-checkpoint/tests/object_checkpoints");
    for both in ["keras2_save_weights", "keras2_train_checkpoint", "keras2_saved_model", "keras3_saved_model"] {
        verify(&objects.join(both), &objects.join(both), &["--recurrent-activation", "sigmoid"]).expect_code(0, both);
    }
    // Trained in between.
    verify(
        &objects.join("keras2_save_weights"),
        &objects.join("keras2_train_checkpoint"),
        &["--recurrent-activation", "sigmoid"],
    )
    .expect_code(1, "other weights");
    for folder in ["keras3_saved_model", "keras3_train_checkpoint"] {
        let inspected = run(&["inspect", "{}", "--format", "json"], &[&objects.join(folder)]);
        inspected.expect_code(0, folder);
        assert_eq!(inspected.json()["lstms"].as_array().unwrap().len(), 3, "{folder}: an LSTM and a pair");
    }
}

/// A CuDNNLSTM as stored, and the LSTM that gatewise makes of it.
#[test]
fn cudnn_and_keras_1_layers_become_lstms() {
    let folder = TempDir::new().unwrap();
    for source in ["old/cudnn_stack.model.h5", "old/cudnn_both_ways.legacy.h5", "old/keras1_real.model.h5"] {
        let source = in_crate("keras-file/tests/models").join(source);
        let output = folder.path().join("out.weights.h5");
        let says: &[&str] =
            if source.to_string_lossy().contains("legacy") { &["--recurrent-activation", "sigmoid"] } else { &[] };
        let arguments: Vec<&str> = ["convert", "{}", "-o", "{}", "--quiet"].iter().chain(says).copied().collect();
        run(&arguments, &[&source, &output]).expect_code(0, "convert");
        verify(&source, &output, says).expect_code(0, &source.display().to_string());
    }
}

#[test]
fn averages_are_the_users_choice() {
    let folder = TempDir::new().unwrap();
    let source = golden("trained_adam_ema");
    let open = run(&["convert", "{}", "-o", "{}"], &[&source, &folder.path().join("x.npz")]);
    open.expect_code(2, "nothing chosen");
    assert!(open.stderr.contains("say --weights raw or --weights ema"), "{}", open.stderr);
    assert!(!folder.path().join("x.npz").exists());
    let files = ["raw", "ema"].map(|which| {
        let output = folder.path().join(format!("{which}.npz"));
        run(&["convert", "{}", "-o", "{}", "--quiet", "--weights", which], &[&source, &output]).expect_code(0, which);
        verify(&source, &output, &["--weights", which]).expect_code(0, which);
        output
    });
    let mixed = verify(&source, &files[1], &["--weights", "raw"]);
    mixed.expect_code(1, "averages for weights");
    assert!(mixed.stdout.contains("moving average"), "{}", mixed.stdout);
    // What real Keras made of the case are the weights as trained.
    verify(&source, &golden("trained_adam_ema").join("keras3/model.keras"), &["--weights", "raw"])
        .expect_code(0, "raw");
    let document = run(&["inspect", "{}", "--format", "json"], &[&source]).json();
    assert_eq!(document["lstms"][0]["averages"], serde_json::json!({ "used": "raw", "open": true }));
}

/// A plain layer with the weights of `found` and nothing of what Keras lacks, as a converter by hand would write it.
fn plain_layer(source: &Path, output: &Path) {
    let checkpoint = tf_checkpoint::Checkpoint::open(source).unwrap();
    let graph = checkpoint.graph().unwrap();
    let given = lstm::detect::Given::default();
    let detection = lstm::detect::detect(checkpoint.variables(), graph.as_ref(), &given).unwrap();
    let layers = detection.networks[0]
        .network
        .cells()
        .into_iter()
        .enumerate()
        .map(|(index, found)| {
            let cell = lstm::detect::load(found, |name| checkpoint.read(name)).unwrap();
            let (keras, _) = lstm::convert::nearest(&cell);
            let array = |shape: &[usize], data: Vec<f32>| keras_file::Array::float32(shape.to_vec(), data);
            let kind = LayerKind::Lstm(Lstm {
                kernel: array(keras.kernel.shape(), keras.kernel.iter().copied().collect()),
                recurrent_kernel: array(
                    keras.recurrent_kernel.shape(),
                    keras.recurrent_kernel.iter().copied().collect(),
                ),
                bias: Some(array(keras.bias.shape(), keras.bias.to_vec())),
                config: None,
                stored: keras_file::Stored::Plain,
            });
            Layer { name: format!("lstm_{index}"), kind }
        })
        .collect();
    std::fs::write(output, keras_file::encode(&[layers], keras_file::Target::Npz).unwrap()).unwrap();
}

#[test]
fn what_keras_cannot_express_is_still_compared_with_a_candidate() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("plain.npz");
    let mut texts = vec![];
    for (case, fault) in [("peephole", "peephole-dropped"), ("cell_clip", "clip-ignored")] {
        plain_layer(&golden(case), &output);
        let arguments: Vec<&str> = ["verify", "{}", "{}", "--format", "json"].into_iter().chain(SMALL).collect();
        let judged = run(&arguments, &[&golden(case), &output]);
        judged.expect_code(1, case);
        let document = judged.json();
        assert_eq!(document["lstms"][0]["diagnosis"][0]["fault"], fault, "{case}");
        assert!(document["lstms"][0]["max_abs"].as_f64().unwrap() > 1e-3, "how far the plain layer is from the truth");
        texts.push(format!("{case}: {}", document["notes"]));
    }
    // A clip that the state never reaches changes nothing, for inputs like these.
    let case = golden("cells/clip_never_binds");
    plain_layer(&case, &output);
    let arguments: Vec<&str> = ["verify", "{}", "{}", "--format", "json"].into_iter().chain(SMALL).collect();
    let judged = run(&arguments, &[&case, &output]);
    judged.expect_code(0, "a clip of 50");
    let document = judged.json();
    assert!(document["notes"].to_string().contains("holds for inputs like these only"), "{}", document["notes"]);
    texts.push(format!("clip_never_binds: {}", document["notes"]));
    insta::assert_snapshot!(texts.join("\n"));
}

/// A layer that reads its sequences last step first stays one, and gives its outputs in that order, as Keras recorded.
#[test]
fn layers_that_go_backwards_are_converted_as_such() {
    let folder = TempDir::new().unwrap();
    for model in ["backwards.h5", "backwards.keras"] {
        let source = beside("models").join(model);
        let inspected = run(&["inspect", "{}", "--format", "json"], &[&source]).json();
        assert_eq!(inspected["lstms"][0]["direction"], "backward", "{model}");
        for output in ["out.keras", "out.weights.h5", "out.h5", "out.npz"] {
            let output = folder.path().join(output);
            run(&["convert", "{}", "-o", "{}", "--quiet"], &[&source, &output]).expect_code(0, model);
            verify(&source, &output, &[]).expect_code(0, &output.display().to_string());
        }
        let written = keras_file::read(&folder.path().join("out.keras")).unwrap();
        let backwards = |file: &keras_file::KerasFile| match &file.layers[..] {
            [Layer { kind: LayerKind::Lstm(Lstm { config: Some(config), .. }), .. }] => config.go_backwards,
            other => panic!("{other:?}"),
        };
        assert!(backwards(&written), "{model}");
        let recorded = run(
            &["verify", "{}", "{}", "--device", "cpu", "--inputs", "{}"],
            &[&source, &folder.path().join("out.keras"), &beside("models/backwards.npz")],
        );
        recorded.expect_code(0, model);
        assert!(recorded.stdout.contains("the recorded outputs y agree with the truth"), "{}", recorded.stdout);
        // With a map, and into a model that has such a layer.
        let map = folder.path().join("map.toml");
        std::fs::write(&map, run(&["inspect", "{}", "--format", "map"], &[&source]).stdout).unwrap();
        verify(&source, &folder.path().join("out.keras"), &["--map", map.to_str().unwrap()]).expect_code(0, model);
        let filled = folder.path().join("filled.keras");
        run(
            &["convert", "{}", "-o", "{}", "--into", "{}", "--quiet"],
            &[&source, &filled, &beside("models/backwards.keras")],
        )
        .expect_code(0, model);
        verify(&source, &filled, &[]).expect_code(0, model);
    }
    // Outputs in the order of the steps are not what it gives.
    let io = golden::npz(&beside("models/backwards.npz"));
    let mut y = io["y"].clone();
    y.invert_axis(ndarray::Axis(1));
    let turned = folder.path().join("turned.npz");
    golden::write_npz(&turned, &[("x", io["x"].clone()), ("y", y.as_standard_layout().to_owned())]);
    let source = beside("models/backwards.keras");
    run(&["verify", "{}", "--device", "cpu", "--inputs", "{}"], &[&source, &turned]).expect_code(1, "turned outputs");
    // Nor does a layer that reads forwards have the function of one that does not.
    let file = keras_file::read(&source).unwrap();
    let forwards = file.layers.into_iter().map(|mut layer| {
        if let LayerKind::Lstm(Lstm { config: Some(config), .. }) = &mut layer.kind {
            config.go_backwards = false;
        }
        layer
    });
    let forwards = keras_file::encode(&[forwards.collect()], keras_file::Target::Keras).unwrap();
    let candidate = folder.path().join("forwards.keras");
    std::fs::write(&candidate, forwards).unwrap();
    let judged = verify(&source, &candidate, &[]);
    judged.expect_code(1, "a layer that reads forwards");
    // Wherever the lines are broken.
    let words = judged.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("reading in the wrong direction"), "{}", judged.stdout);
}

/// Directions joined in each way, layers on one another, and layers without bias: as the file's configuration says.
#[test]
fn the_wiring_of_a_keras_model_is_kept() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("out.keras");
    let wiring = |file: &Path| -> Vec<String> {
        let file = keras_file::read(file).unwrap();
        let layers = file.layers.iter().map(|layer| match &layer.kind {
            LayerKind::Bidirectional { merge_mode, .. } => merge_mode.clone().unwrap(),
            other => format!("{} units", other.lstms()[0].units()),
        });
        layers.chain(file.feeds.iter().map(|_| "fed".to_owned())).collect()
    };
    for (model, expected) in [
        ("merged.h5", &["sum", "mul", "ave", "concat", "fed", "fed", "fed"][..]),
        ("unbiased.keras", &["4 units", "5 units", "fed"]),
    ] {
        let source = beside("models").join(model);
        let inspected = run(&["inspect", "{}", "--format", "json"], &[&source]).json();
        let networks: std::collections::BTreeSet<&str> =
            inspected["lstms"].as_array().unwrap().iter().map(|l| l["network"].as_str().unwrap()).collect();
        assert_eq!(networks.len(), 1, "{model}: {networks:?}");
        run(&["convert", "{}", "-o", "{}", "--quiet"], &[&source, &output]).expect_code(0, model);
        assert_eq!(wiring(&output), expected, "{model}");
        verify(&source, &output, &[]).expect_code(0, model);
        verify(&source, &source, &[]).expect_code(0, model);
    }
    // Another way to join directions is another function, at the end of a model too.
    let pair = |mode: &str| {
        let mut file = keras_file::read(&beside("models/merged.h5")).unwrap();
        let mut layer = file.layers.swap_remove(0);
        if let LayerKind::Bidirectional { merge_mode, .. } = &mut layer.kind {
            *merge_mode = Some(mode.to_owned());
        }
        let path = folder.path().join(format!("{mode}.keras"));
        std::fs::write(&path, keras_file::encode(&[vec![layer]], keras_file::Target::Keras).unwrap()).unwrap();
        path
    };
    let (added, multiplied) = (pair("sum"), pair("mul"));
    verify(&added, &added, &[]).expect_code(0, "added");
    let judged = verify(&added, &multiplied, &[]);
    judged.expect_code(1, "multiplied instead of added");
    assert!(judged.stdout.contains("merge_mode is mul, the right conversion has sum"), "{}", judged.stdout);
    let mut file = keras_file::read(&beside("models/merged.h5")).unwrap();
    if let LayerKind::Bidirectional { merge_mode, .. } = &mut file.layers[1].kind {
        *merge_mode = Some("ave".to_owned());
    }
    std::fs::write(&output, keras_file::encode(&[file.layers], keras_file::Target::Keras).unwrap()).unwrap();
    let judged = verify(&beside("models/merged.h5"), &output, &[]);
    judged.expect_code(1, "averaged instead of multiplied");
    assert!(judged.stdout.contains("merge_mode is ave, the right conversion has mul"), "{}", judged.stdout);
}

/// Keras 2 and Keras 3 call different functions `hard_sigmoid`: each is written for its own Keras alone, and what is written
/// passes.
#[test]
fn a_hard_sigmoid_is_written_for_the_keras_that_has_it() {
    let folder = TempDir::new().unwrap();
    for (own, other) in [("2", "3"), ("3", "2")] {
        let source = golden("keras_tf1_hard_sigmoid").join(format!("keras{own}/model.keras"));
        for target in ["keras", "keras-weights", "keras-h5", "npz", "safetensors", "tf2-checkpoint"] {
            let what = format!("Keras {own} to {target}");
            let output = folder.path().join(format!("of-keras-{own}-{target}"));
            let convert = |more: &[&str]| {
                let words = ["convert", "{}", "-o", "{}", "--quiet", "--to", target];
                run(&[&words, more].concat(), &[&source, &output])
            };
            let refused = convert(&["--keras", other]);
            refused.expect_code(2, &what);
            assert!(refused.stderr.contains(&format!("cannot be written for Keras {other}")), "{}", refused.stderr);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{what}: nothing is written");
            // Weights alone name no function; a model does, and somebody has to say for whom.
            convert(&[]).expect_code(if target == "keras" { 2 } else { 0 }, &what);
            if target != "keras" {
                verify(&source, &output, &[]).expect_code(0, &what);
            }
            convert(&["--keras", own]).expect_code(0, &what);
            verify(&source, &output, &[]).expect_code(0, &what);
            // In the other Keras it would be another function.
            let elsewhere = verify(&source, &output, &["--keras", other, "--format", "json"]);
            elsewhere.expect_code(1, &what);
            assert_eq!(elsewhere.json()["lstms"][0]["diagnosis"][0]["fault"], "hard-sigmoid-definition", "{what}");
            std::fs::read_dir(folder.path()).unwrap().for_each(|e| std::fs::remove_file(e.unwrap().path()).unwrap());
        }
    }
}

/// Two directions that project before they are joined: one layer that puts them side by side, and a dense layer.
#[test]
fn projected_directions_become_one_layer_and_a_dense_one() {
    let folder = TempDir::new().unwrap();
    let source = golden("graphs/sum_projected");
    let template = run(&["inspect", "{}", "--format", "map"], &[&source]).stdout;
    let map = folder.path().join("map.toml");
    for merge in ["concat", "sum", "ave"] {
        std::fs::write(&map, template.replace("merge = \"sum\"", &format!("merge = \"{merge}\""))).unwrap();
        let says = ["--map", map.to_str().unwrap()];
        for target in ["keras", "keras-weights", "keras-h5", "npz", "tf2-checkpoint"] {
            let output = folder.path().join(target);
            let words = [&["convert", "{}", "-o", "{}", "--quiet", "--to", target], &says[..]].concat();
            run(&words, &[&source, &output]).expect_code(0, merge);
            verify(&source, &output, &says).expect_code(0, &format!("{merge} as {target}"));
        }
        let output = folder.path().join("keras");
        match &keras_file::read(&output).unwrap().layers[..] {
            [Layer { kind: LayerKind::Bidirectional { merge_mode, .. }, .. }] => {
                assert_eq!(merge_mode.as_deref(), Some("concat"), "{merge}");
            }
            other => panic!("{other:?}"),
        }
        // The dense layer of a sum is not that of an average.
        let mut array = keras_file::read_other_array(&output, "dense", "kernel").unwrap();
        array.data.iter_mut().for_each(|w| *w *= 2.0);
        let changed = keras_file::Replacement {
            layer: "dense".to_owned(),
            half: keras_file::Half::Whole,
            role: keras_file::Role::Kernel,
            array,
        };
        let bytes = keras_file::replace(&std::fs::read(&output).unwrap(), &[changed]).unwrap();
        std::fs::write(&output, bytes).unwrap();
        verify(&source, &output, &says).expect_code(1, &format!("{merge}, doubled"));
    }
}

/// Bare arrays are sources as well: they say as little as weights alone.
#[test]
fn bare_arrays_are_sources_too() {
    let folder = TempDir::new().unwrap();
    for case in ["basic", "bidirectional"] {
        for name in ["bare.npz", "bare.safetensors"] {
            let (bare, back) = (folder.path().join(name), folder.path().join("back.keras"));
            run(&["convert", "{}", "-o", "{}", "--quiet"], &[&golden(case), &bare]).expect_code(0, case);
            let says = ["--recurrent-activation", "sigmoid"];
            verify(&bare, &golden(case).join("keras2/model.keras"), &says).expect_code(0, name);
            let words: Vec<&str> = ["convert", "{}", "-o", "{}", "--quiet"].into_iter().chain(says).collect();
            run(&words, &[&bare, &back]).expect_code(0, name);
            verify(&golden(case), &back, &[]).expect_code(0, name);
        }
    }
}

/// float16, bfloat16 and float64 weights: what became of their precision is said.
#[test]
fn the_precision_of_other_types_is_stated() {
    let folder = TempDir::new().unwrap();
    let mut texts = vec![];
    for case in [
        "float16",
        "cells/bfloat16",
        "float64",
        "cells/float64_basic",
        "cells/indy",
        "cells/projection_ragged",
        "basic",
    ] {
        let output = folder.path().join("out.npz");
        let run = run(&["convert", "{}", "-o", "{}", "--format", "json"], &[&golden(case), &output]);
        run.expect_code(0, case);
        let notes = run.json()["notes"].as_array().unwrap().clone();
        let precision = notes.iter().filter_map(|n| n.as_str()).filter(|n| n.contains("float32"));
        texts.push(format!("{case}: {}", precision.collect::<Vec<_>>().join("; ")));
    }
    insta::assert_snapshot!(texts.join("\n"));
}

/// What a file leaves open, or sets for a model around the LSTM, is said.
#[test]
fn settings_that_are_not_compared_are_noted() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("out.npz");
    let mut texts = vec![];
    let mut noted = |what: &str, run: Run| {
        run.expect_code(0, what);
        texts.push(format!("{what}: {:#}", run.json()["notes"]));
    };
    let json = |source: &Path, candidate: &Path| {
        let words: Vec<&str> = ["verify", "{}", "{}", "--format", "json"].into_iter().chain(SMALL).collect();
        run(&words, &[source, candidate])
    };
    for case in ["bidirectional", "graphs/sum_directions"] {
        run(&["convert", "{}", "-o", "{}", "--quiet"], &[&golden(case), &output]).expect_code(0, case);
        noted(&format!("weights alone of {case}"), json(&golden(case), &output));
        let copy = folder.path().join(case.replace('/', "-"));
        std::fs::create_dir(&copy).unwrap();
        for file in ["model.ckpt.index", "model.ckpt.data-00000-of-00001"] {
            std::fs::copy(golden(case).join(file), copy.join(file)).unwrap();
        }
        noted(&format!("weights alone of {case}, without a graph"), json(&copy, &output));
        let model = folder.path().join("out.keras");
        run(&["convert", "{}", "-o", "{}", "--quiet"], &[&golden(case), &model]).expect_code(0, case);
        noted(&format!("a model of {case}, without a graph"), json(&copy, &model));
    }
    let masked = folder.path().join("masked.keras");
    let own_name = golden("graphs/own_name");
    run(
        &["convert", "{}", "-o", "{}", "--into", "{}", "--quiet"],
        &[&own_name, &masked, &beside("models/masked.keras")],
    )
    .expect_code(0, "a model with masks");
    noted("a model that masks steps", json(&own_name, &masked));
    let settings = folder.path().join("settings.h5");
    run(
        &["convert", "{}", "-o", "{}", "--into", "{}", "--quiet"],
        &[&own_name, &settings, &beside("models/settings.h5")],
    )
    .expect_code(0, "a model with states");
    noted("a layer that keeps and returns its states", json(&own_name, &settings));
    run(&["convert", "{}", "-o", "{}", "--quiet"], &[&own_name, &masked]).expect_code(0, "own_name");
    match &keras_file::read(&masked).unwrap().layers[0].kind {
        LayerKind::Lstm(Lstm { config: Some(config), .. }) => {
            assert!(config.zero_output_for_mask, "as dynamic_rnn gives zeros past a sequence's end");
        }
        other => panic!("{other:?}"),
    }
    noted("gatewise's own", json(&own_name, &masked));
    insta::assert_snapshot!(texts.join("\n"));
}

/// ELMo's weights are HDF5 that Keras did not write, textgenrnn's are a CuDNNLSTM's.
#[test]
fn real_hdf5_files_are_converted() {
    let Some(real) = golden::real_dir("real_hdf5_files_are_converted") else { return };
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("out.weights.h5");
    for (file, says) in [
        ("elmo-fixture-h5/lm_weights.hdf5", &["--lstm", "RNN_0"][..]),
        ("textgenrnn-h5/textgenrnn_weights.hdf5", &[]),
        ("textgenrnn-h5/textgenrnn_weights_2017.hdf5", &["--recurrent-activation", "hard_sigmoid"]),
        ("keras-object-graph-tf1", &[]),
        ("ge2e-projection-tf18", &[]),
    ] {
        let source = real.join(file);
        let arguments: Vec<&str> = ["convert", "{}", "-o", "{}", "--quiet"].iter().chain(says).copied().collect();
        let converted = run(&arguments, &[&source, &output]);
        if file.starts_with("elmo") {
            // Its language model clips states and projections at 3, which no HDF5 file says: a note has to.
            assert!(converted.code == 0 || converted.stderr.contains("clip"), "{}", converted.stderr);
        }
        converted.expect_code(0, file);
        verify(&source, &output, says).expect_code(0, file);
    }
    // With a map, ELMo's own options can be said: then no Keras LSTM computes it.
    let map = folder.path().join("map.toml");
    let source = real.join("elmo-fixture-h5/lm_weights.hdf5");
    let template = run(&["inspect", "{}", "--format", "map"], &[&source]);
    template.expect_code(0, "a template of ELMo");
    let clipped = template
        .stdout
        .replace("activation = \"tanh\"", "activation = \"tanh\"\ncell_clip = 3.0\nprojection_clip = 3.0");
    std::fs::write(&map, clipped).unwrap();
    let refused = run(&["convert", "{}", "-o", "{}", "--map", "{}"], &[&source, &output, &map]);
    refused.expect_code(2, "ELMo with its clips");
    assert!(refused.stderr.contains("clips its projected output to ±3"), "{}", refused.stderr);
}
