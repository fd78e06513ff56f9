//! What users say of their own models and files: a model to be filled, and a map of variables and layers.

mod common;

use common::{Run, SMALL, beside, golden, run, verify};
use tempfile::TempDir;

/// Only the bytes of the replaced arrays differ, and what is in their place is right.
#[test]
fn a_model_of_the_users_keeps_all_but_what_is_replaced() {
    let folder = TempDir::new().unwrap();
    let source = golden("seed_names");
    let map = folder.path().join("map.toml");
    std::fs::write(&map, "[[lstm]]\nname = \"lstm/basic_lstm_cell\"\nkeras = \"reader\"\n\n[[layer]]\nkeras = \"answer\"\nkernel = \"output_layer/kernel\"\nbias = \"output_layer/bias\"\n").unwrap();
    for model in ["keras2.h5", "keras2.keras", "keras3.keras", "keras3.weights.h5"] {
        let (_, extension) = model.split_once('.').unwrap();
        let model = beside("models").join(model);
        let output = folder.path().join(format!("filled.{extension}"));
        let named = extension != "weights.h5" || model.ends_with("keras3.weights.h5");
        assert!(named);
        run(
            &["convert", "{}", "-o", "{}", "--into", "{}", "--map", "{}", "--quiet"],
            &[&source, &output, &model, &map],
        )
        .expect_code(0, &model.display().to_string());
        let (before, after) = (std::fs::read(&model).unwrap(), std::fs::read(&output).unwrap());
        assert_eq!(before.len(), after.len());
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        // 48,400 weights of the LSTM and 1,010 of the Dense layer, four bytes each, and a checksum written twice.
        assert!(changed > 100_000 && changed <= 4 * (48_400 + 1_010) + 8, "{changed} bytes differ");
        verify(&source, &output, &[]).expect_code(0, &output.display().to_string());
        let dense = keras_file::read_other_array(&output, "answer", "kernel").unwrap();
        let expected = tf_checkpoint::Checkpoint::open(&source).unwrap().read("output_layer/kernel").unwrap();
        assert_eq!(dense.data, expected.to_f32().unwrap());
    }
    // What does not fit is refused, and nothing written.
    let output = folder.path().join("never.keras");
    let model = beside("models/keras3.keras");
    let refused = run(&["convert", "{}", "-o", "{}", "--into", "{}"], &[&golden("multi"), &output, &model]);
    refused.expect_code(2, "two LSTMs into a model with one");
    std::fs::write(&map, "[[layer]]\nkeras = \"nothing\"\nkernel = \"output_layer/kernel\"\n").unwrap();
    let unknown = run(&["convert", "{}", "-o", "{}", "--into", "{}", "--map", "{}"], &[&source, &output, &model, &map]);
    unknown.expect_code(2, "a layer that is not there");
    std::fs::write(&map, "[[layer]]\nkeras = \"answer\"\nkernel = \"output_layer/bias\"\n").unwrap();
    let misfit = run(&["convert", "{}", "-o", "{}", "--into", "{}", "--map", "{}"], &[&source, &output, &model, &map]);
    misfit.expect_code(2, "a bias for a kernel");
    assert!(!output.exists());
    let texts = [refused.stderr, unknown.stderr, misfit.stderr].join("\n");
    insta::assert_snapshot!(common::redacted(&texts, &[(folder.path(), "FOLDER")]));
}

/// An Embedding and a Dense layer take their weights from the same map as the LSTM.
#[test]
fn embeddings_and_dense_layers_are_filled_too() {
    let folder = TempDir::new().unwrap();
    let (map, output) = (folder.path().join("map.toml"), folder.path().join("filled.keras"));
    std::fs::write(
        &map,
        "[[layer]]\nkeras = \"words\"\nembeddings = \"embedding\"\n[[layer]]\nkeras = \"answer\"\nkernel = \"out\"\n",
    )
    .unwrap();
    let source = golden("graphs/decoder_twice");
    let model = beside("models/embedding.keras");
    let words = ["convert", "{}", "-o", "{}", "--into", "{}", "--map", "{}", "--quiet"];
    run(&words, &[&source, &output, &model, &map]).expect_code(0, "an embedding");
    verify(&source, &output, &[]).expect_code(0, "the LSTM of the filled model");
    let checkpoint = tf_checkpoint::Checkpoint::open(&source).unwrap();
    for (layer, array, variable) in [("words", "embeddings", "embedding"), ("answer", "kernel", "out")] {
        let found = keras_file::read_other_array(&output, layer, array).unwrap();
        assert_eq!(found.data, checkpoint.read(variable).unwrap().to_f32().unwrap(), "{layer}");
    }
    let (before, after) = (std::fs::read(&model).unwrap(), std::fs::read(&output).unwrap());
    assert_eq!(before.len(), after.len());
    let weights = 3 * 16 + 4 * 16 + 16 + 7 * 3 + 4 * 7;
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(changed > weights && changed <= 4 * weights + 8, "{changed} bytes differ");
}

#[test]
fn a_template_is_a_map_that_finds_the_same() {
    let folder = TempDir::new().unwrap();
    let map = folder.path().join("map.toml");
    for case in
        ["multi", "stack_bidirectional", "cells/bidirectional_multi", "cells/residual", "peephole", "cells/glstm"]
    {
        let template = run(&["inspect", "{}", "--format", "map"], &[&golden(case)]);
        template.expect_code(0, case);
        std::fs::write(&map, &template.stdout).unwrap();
        let lstms = |run: Run| run.json()["lstms"].clone();
        let plain = lstms(run(&["inspect", "{}", "--format", "json"], &[&golden(case)]));
        let mut mapped = lstms(run(&["inspect", "{}", "--format", "json", "--map", "{}"], &[&golden(case), &map]));
        // What the map says is the user's word now.
        for (plain, mapped) in plain.as_array().unwrap().iter().zip(mapped.as_array_mut().unwrap()) {
            for fact in ["forget_bias", "activation"] {
                assert_eq!(mapped[fact]["value"], plain[fact]["value"], "{case}");
                mapped[fact] = plain[fact].clone();
            }
        }
        assert_eq!(mapped, plain, "{case}");
    }
}

#[test]
fn a_map_says_which_layer_is_whose_and_its_mistakes_are_named() {
    let folder = TempDir::new().unwrap();
    let (map, output) = (folder.path().join("map.toml"), folder.path().join("out.npz"));
    let twins = golden("twins");
    run(&["convert", "{}", "-o", "{}", "--quiet"], &[&twins, &output]).expect_code(0, "convert");
    let names: Vec<String> = {
        let document = run(&["inspect", "{}", "--format", "json"], &[&twins]).json();
        document["lstms"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap().to_owned()).collect()
    };
    let write = |layers: [&str; 2]| {
        let table = |(name, layer): (&String, &str)| format!("[[lstm]]\nname = \"{name}\"\nkeras = \"{layer}\"\n");
        std::fs::write(&map, names.iter().zip(layers).map(table).collect::<String>()).unwrap();
    };
    let judged = || {
        let arguments: Vec<&str> = ["verify", "{}", "{}", "--map", "{}"].into_iter().chain(SMALL).collect();
        run(&arguments, &[&twins, &output, &map])
    };
    write(["lstm", "lstm_1"]);
    judged().expect_code(0, "each twin with its own layer");
    write(["lstm_1", "lstm"]);
    let exchanged = judged();
    exchanged.expect_code(1, "the twins exchanged");
    assert!(exchanged.stdout.contains("another LSTM of this checkpoint"), "{}", exchanged.stdout);
    let mut texts = vec![];
    for text in [
        "[[lstm]]\nname = \"nothing\"\n",
        "[[lstm]]\nname = \"x\"\nkernel = \"no/such/kernel\"\nbias = \"b\"\n",
        "[[lstm]]\nname = \"x\"\nkernal = \"k\"\n",
        "[[lstm]]\nname = \"x\"\nkernel = \"k\"\ncell = \"GRUCell\"\n",
        "[[lstm]]\nname = \"x\"\nkernel = \"k\"\nlayer = 3\n",
        "not a map",
    ] {
        std::fs::write(&map, text).unwrap();
        let failed = judged();
        failed.expect_code(2, text);
        texts.push(failed.stderr);
    }
    write(["lstm", "lstm_9"]);
    let failed = judged();
    failed.expect_code(2, "a layer that is not there");
    texts.push(failed.stderr);
    insta::assert_snapshot!(common::redacted(&texts.join("\n"), &[(folder.path(), "FOLDER")]));
}
