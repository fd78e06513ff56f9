//! A verdict reaches the exit code, whatever is shown of it and whoever reads it.

mod common;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::golden;

/// One verification for each verdict: its exit code, checkpoint and candidate.
fn verdicts() -> [(i32, &'static str, PathBuf, Option<PathBuf>); 3] {
    let wrong = golden("basic/keras3/wrong/no_forget_bias.weights.h5");
    [
        (0, "PASS", golden("basic"), None),
        (1, "FAIL", golden("basic"), Some(wrong)),
        (3, "INCONCLUSIVE", golden("../checkpoints/dead_weights"), None),
    ]
}

fn command(checkpoint: &PathBuf, candidate: Option<&PathBuf>, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewise"));
    command.arg("verify").arg(checkpoint).args(candidate);
    command.args(["--device", "cpu", "--sequences", "4", "--timesteps", "4"]).args(more);
    command
}

#[test]
fn every_way_of_showing_a_verdict_ends_with_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.html");
    let ways: [&[&str]; 5] =
        [&[], &["--quiet"], &["--format", "json"], &["--color", "always"], &["--report", report.to_str().unwrap()]];
    for (code, word, checkpoint, candidate) in verdicts() {
        for way in ways {
            let output = command(&checkpoint, candidate.as_ref(), way).output().unwrap();
            let stdout = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(code), "{word} {way:?}: {stdout}");
            let said =
                if way.contains(&"json") { format!("\"verdict\": \"{}\"", word.to_lowercase()) } else { word.into() };
            assert!(stdout.contains(&said), "{word} {way:?}: {stdout}");
            if word != "PASS" {
                assert!(
                    !stdout.contains("PASS") && !stdout.contains("\"verdict\": \"pass\""),
                    "{word} {way:?}: {stdout}"
                );
            }
        }
    }
}

#[test]
fn a_reader_that_goes_away_changes_no_code() {
    for (code, word, checkpoint, candidate) in verdicts() {
        let mut child =
            command(&checkpoint, candidate.as_ref(), &[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{word}");
    }
}

/// What cannot be shown is an error, and no pass.
#[test]
#[cfg(target_os = "linux")]
fn a_verdict_that_cannot_be_written_is_an_error() {
    for (_, word, checkpoint, candidate) in verdicts() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(&checkpoint, candidate.as_ref(), &[]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{word} on a full disk");
        let nowhere = ["--report", "/nonexistent/report.html"];
        let output = command(&checkpoint, candidate.as_ref(), &nowhere).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{word} into no folder");
        assert!(output.stdout.is_empty(), "no verdict beside an error: {:?}", String::from_utf8(output.stdout));
    }
}
