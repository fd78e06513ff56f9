//! Runs the real binary.

#![allow(dead_code, unreachable_pub, reason = "a module of several test programs, each of which uses its own part")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a run printed and how it ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `gatewise` with these arguments.
pub fn gatewise<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewise"));
    command.args(arguments).env_remove("NO_COLOR");
    finished(command.output().expect("the binary runs"))
}

/// Runs `gatewise` with these words, in which `{}` are paths.
pub fn run(words: &[&str], paths: &[&Path]) -> Run {
    let mut paths = paths.iter();
    let arguments: Vec<&OsStr> = words
        .iter()
        .map(
            |word| if *word == "{}" { paths.next().expect("a path for each place").as_os_str() } else { word.as_ref() },
        )
        .collect();
    assert!(paths.next().is_none(), "as many places as paths");
    gatewise(arguments)
}

/// Options of a small comparison on the CPU.
pub const SMALL: [&str; 7] = ["--device", "cpu", "--sequences", "8", "--timesteps", "8", "--quiet"];

/// A small comparison.
pub fn verify(source: &Path, candidate: &Path, more: &[&str]) -> Run {
    run(&[&["verify", "{}", "{}"], &SMALL[..], more].concat(), &[source, candidate])
}

/// Runs `gatewise` in this folder.
pub fn gatewise_in<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewise"));
    command.args(arguments).env_remove("NO_COLOR").current_dir(folder);
    finished(command.output().expect("the binary runs"))
}

/// Options of verify for a run that is small, and enough for the kill table; options in `more` stand for those of the
/// same name.
pub fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let sizes = [["--device", "cpu"], ["--sequences", "8"], ["--timesteps", "12"]];
    let kept = sizes.into_iter().filter(|[name, _]| !more.contains(name));
    kept.flatten().chain(more.iter().copied()).collect()
}

fn finished(output: Output) -> Run {
    Run {
        code: output.status.code().expect("it ends by itself, not by a signal"),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

impl Run {
    /// The JSON document on stdout.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// Ends as expected, or shows everything.
    #[track_caller]
    pub fn expect_code(&self, code: i32, what: &str) {
        assert_eq!(self.code, code, "{what}\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
    }
}

/// A path below `tests/golden`.
pub fn golden(path: impl AsRef<Path>) -> PathBuf {
    golden::golden_dir().join(path)
}

/// A path below `tests`.
pub fn beside(path: &str) -> PathBuf {
    golden("..").join(path)
}

/// A path below `crates`.
pub fn in_crate(path: &str) -> PathBuf {
    golden("../../crates").join(path)
}

/// Replaces what differs from machine to machine.
pub fn redacted(text: &str, replace: &[(&Path, &str)]) -> String {
    let mut text = text.to_owned();
    for (path, name) in replace {
        text = text.replace(&path.display().to_string(), name);
    }
    text.replace(&golden::golden_dir().display().to_string(), "GOLDEN")
}
