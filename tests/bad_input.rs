//! Bad input: one clear error, exit code 2, nothing on stdout, nothing written.

mod common;

use std::path::{Path, PathBuf};

use common::{Run, gatewise, golden, redacted};

/// A copy of a golden checkpoint that may be damaged.
fn copy(case: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(case)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn damage(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Runs inspect, convert and verify on the path; all must refuse alike. Returns the message.
fn refused(path: &Path, folder: &Path) -> String {
    let output = folder.join("must-not-exist.h5");
    let runs: [(&str, Run); 3] = [
        ("inspect", gatewise(["inspect".as_ref(), path.as_os_str()])),
        ("convert", gatewise(["convert".as_ref(), path.as_os_str(), "-o".as_ref(), output.as_os_str()])),
        ("verify", gatewise(["verify".as_ref(), path.as_os_str(), "--device".as_ref(), "cpu".as_ref()])),
    ];
    for (command, run) in &runs {
        run.expect_code(2, command);
        assert!(run.stdout.is_empty(), "{command} printed {}", run.stdout);
        assert!(run.stderr.starts_with("error: ") && !run.stderr.contains("panicked"), "{command}: {}", run.stderr);
    }
    assert!(!output.exists());
    let message = &runs[1].1.stderr;
    redacted(message, &[(folder, "FOLDER")])
}

#[test]
fn unreadable_checkpoints() {
    let mut messages = String::new();
    let mut collect = |what: &str, message: String| messages += &format!("# {what}\n{message}\n");

    let folder = tempfile::tempdir().unwrap();
    collect("missing file", refused(&folder.path().join("model.ckpt-1000"), folder.path()));

    let folder = copy("basic");
    damage(folder.path().join("model.ckpt.index"), |b| {
        let end = b.len();
        b[end - 1] ^= 1;
    });
    collect("wrong magic", refused(folder.path(), folder.path()));

    let folder = copy("basic");
    damage(folder.path().join("model.ckpt.index"), |b| {
        *b = b"<!DOCTYPE html><html><body>Not found</body></html>".repeat(4)
    });
    collect("an HTML page named .index", refused(folder.path(), folder.path()));

    let folder = copy("basic");
    damage(folder.path().join("model.ckpt.data-00000-of-00001"), |b| b.truncate(b.len() / 2));
    collect("truncated data", refused(folder.path(), folder.path()));

    let folder = copy("basic");
    damage(folder.path().join("model.ckpt.index"), |b| b[20] ^= 4);
    collect("a flipped bit in the index", refused(folder.path(), folder.path()));

    let folder = copy("basic");
    damage(folder.path().join("model.ckpt.data-00000-of-00001"), |b| b[777] ^= 4);
    collect("a flipped bit in the data", refused(folder.path(), folder.path()));

    let folder = copy("basic");
    let other = golden("square/model.ckpt.data-00000-of-00001");
    damage(folder.path().join("model.ckpt.data-00000-of-00001"), |b| {
        // As long as the index expects, but another commit's.
        let length = b.len();
        *b = std::fs::read(other).unwrap()[..length].to_vec();
    });
    collect("another commit's data", refused(folder.path(), folder.path()));

    let folder = copy("basic_v1");
    damage(folder.path().join("model.ckpt"), |b| b[300] ^= 4);
    collect("a flipped bit in a V1 file", refused(folder.path(), folder.path()));

    insta::assert_snapshot!(messages);
}

#[test]
fn checkpoints_without_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("must-not-exist.h5");
    let mut messages = String::new();
    let mut refuse = |what: &str, arguments: &[&str]| {
        for command in ["convert", "verify"] {
            let mut all = vec![command];
            all.extend(arguments);
            if command == "convert" {
                all.extend(["-o", output.to_str().unwrap()]);
            }
            let run = gatewise(all);
            run.expect_code(2, what);
            assert!(run.stdout.is_empty() && !output.exists());
            if command == "convert" {
                messages += &format!("# {what}\n{}\n", redacted(&run.stderr, &[(folder.path(), "FOLDER")]));
            }
        }
    };
    let path = |case: &str| golden(case).to_str().unwrap().to_owned();
    refuse("no LSTM", &[&path("gru_not_lstm")]);
    refuse("no such LSTM", &[&path("twins"), "--lstm", "decoder"]);
    refuse("another input size", &[&path("basic"), "--input-size", "6"]);
    insta::assert_snapshot!(messages);
}

#[test]
fn a_kernel_without_room_for_an_input() {
    // lstm/basic_lstm_cell/kernel [100, 400] and bias [400].
    let run = gatewise(["verify".as_ref(), golden("../checkpoints/no_room_for_input").as_os_str()]);
    run.expect_code(2, "kernel [100, 400]");
    assert!(run.stdout.is_empty());
    let message = run.stderr;
    assert!(
        message.contains("400 columns mean 100 units, and 100 rows leave no room for an input beside 100 units"),
        "{message}"
    );
}

#[test]
fn candidates_that_do_not_fit() {
    let mut messages = String::new();
    let mut refuse = |what: &str, case: &str, candidate: &str| {
        let run = gatewise([
            "verify".into(),
            golden(case).into_os_string(),
            golden(candidate).into_os_string(),
            "--device".into(),
            "cpu".into(),
        ]);
        run.expect_code(2, what);
        assert!(run.stdout.is_empty());
        messages += &format!("# {what}\n{}\n", redacted(&run.stderr, &[]));
    };
    refuse("other shapes", "basic", "square/keras3/model.keras");
    refuse("fewer layers", "multi", "basic/keras3/model.keras");
    refuse("more layers", "basic", "multi/keras3/model.weights.h5");
    refuse("bidirectional for plain", "basic", "bidirectional/keras3/model.keras");
    refuse("not a Keras file", "basic", "basic/case.json");
    refuse("missing", "basic", "basic/nothing.keras");
    insta::assert_snapshot!(messages);
}

#[test]
fn an_unknown_output_format() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.onnx");
    let run = gatewise(["convert".as_ref(), golden("basic").as_os_str(), "-o".as_ref(), output.as_os_str()]);
    run.expect_code(2, "out.onnx");
    assert!(run.stderr.contains("cannot tell the format") && !output.exists(), "{}", run.stderr);
}

#[test]
fn an_output_folder_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("no/such/folder/out.h5");
    let run = gatewise(["convert".as_ref(), golden("basic").as_os_str(), "-o".as_ref(), output.as_os_str()]);
    run.expect_code(2, "no folder");
    assert!(run.stderr.starts_with("error: writing"), "{}", run.stderr);
}
