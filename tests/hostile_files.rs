//! Hostile files and the real binary: it refuses them or reads them, within a limit on its memory, and prints nothing
//! from them raw.

mod common;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use common::golden;
use hostile::malice::{self, Case, Outcome};

/// Runs `gatewise` with an address space of twice the size of its input and 256 MiB, its own code and libraries included.
fn limited(size: u64, arguments: &[&OsStr]) -> Output {
    let limit = (2 * size + (256 << 20)) >> 10;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &limit.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_gatewise")).args(arguments);
    command.output().expect("sh runs")
}

/// Whether a terminal could take any of it for more than text: controls, and what reorders or hides.
fn raw(output: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(output).expect("UTF-8");
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().find(|c| harmful(*c))
}

/// The exit code; a signal, a panic or a raw character fails.
#[track_caller]
fn checked(what: &str, output: &Output) -> i32 {
    let shown = || format!("{what}: {:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let Some(code) = output.status.code() else { panic!("{}", shown()) };
    for stream in [&output.stdout, &output.stderr] {
        assert_eq!(raw(stream), None, "{}", shown());
        // What a CI log would take for a command, or a reader for another message.
        let text = String::from_utf8_lossy(stream);
        let forged = |line: &str| ["error: forged", "::error::forged"].iter().any(|f| line.trim().starts_with(f));
        assert!(!text.lines().any(forged), "{}", shown());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked") && !stderr.contains("memory allocation"), "{}", shown());
    code
}

fn run(case: &Case, path: &Path, command: &str, rest: &[&OsStr]) -> (i32, Output) {
    let mut arguments = vec![OsStr::new(command), path.as_os_str()];
    arguments.extend(rest);
    let output = limited(case.size(), &arguments);
    (checked(&format!("{} {command}", case.name), &output), output)
}

#[test]
fn right_files_are_read() {
    for case in malice::right() {
        let folder = tempfile::tempdir().unwrap();
        let path = case.write(folder.path());
        let (code, output) = run(&case, &path, "inspect", &[]);
        assert_eq!(code, 0, "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("LSTM"), "{}", case.name);
    }
}

#[test]
fn hostile_files_are_refused_for_what_is_wrong_with_them() {
    let mut wrong = vec![];
    for case in malice::cases() {
        let folder = tempfile::tempdir().unwrap();
        let path = case.write(folder.path());
        let (code, output) = run(&case, &path, "inspect", &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let right = match case.outcome {
            Outcome::Read => code == 0,
            Outcome::Refused(words) => code == 2 && stderr.contains(words) && output.stdout.is_empty(),
        };
        if !right {
            wrong.push(format!("{}: expected {:?}, found {code}: {stderr}", case.name, case.outcome));
        }
        let output = folder.path().join("out.npz");
        for (command, rest) in [
            ("inspect", vec![OsStr::new("--format"), OsStr::new("json")]),
            ("inspect", vec![OsStr::new("--format"), OsStr::new("map")]),
            ("convert", vec![OsStr::new("-o"), output.as_os_str()]),
        ] {
            let (code, _) = run(&case, &path, command, &rest);
            assert!(code == 0 || code == 2, "{}: {command} ended with {code}", case.name);
            assert!(!output.exists() || code == 0, "{}: {command} left a file", case.name);
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn golden_checkpoints_stay_within_the_limit() {
    for case in ::golden::cases() {
        // As if the files were empty.
        let output = limited(0, &[OsStr::new("inspect"), case.dir.as_os_str()]);
        let shown = String::from_utf8_lossy(&output.stderr);
        assert_eq!(checked(&case.name, &output), 0, "{}: {shown}", case.name);
    }
    for file in ["basic/keras2/legacy_weights.h5", "basic/keras2/model.weights.h5", "basic/keras3/model.keras"] {
        let output = limited(0, &[OsStr::new("inspect"), golden(file).as_os_str()]);
        assert_eq!(checked(file, &output), 0, "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Half a gigabyte each: a copy too many would not fit.
#[test]
fn large_right_files_are_read_within_the_limit() {
    for name in hostile::large::NAMES {
        let folder = tempfile::tempdir().unwrap();
        let path = hostile::large::write(name, folder.path());
        let sizes = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len());
        let output = limited(sizes.sum(), &[OsStr::new("inspect"), path.as_os_str()]);
        assert_eq!(checked(name, &output), 0, "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// 64 sequences of 100,000 steps take some 16 GB.
#[test]
fn a_run_that_does_not_fit_is_refused_before_it_begins() {
    let checkpoint = golden("basic");
    let run = |steps: &'static str| {
        let rest = ["--device", "cpu", "--quiet", "--timesteps", steps].map(OsStr::new);
        let arguments = [&[OsStr::new("verify"), checkpoint.as_os_str()], &rest[..]].concat();
        limited(1 << 30, &arguments)
    };
    let output = run("100000");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(checked("a large run", &output), 2, "{stderr}");
    assert!(stderr.contains("the run takes about ") && stderr.contains("fewer --timesteps"), "{stderr}");
    assert!(output.stdout.is_empty());
    let output = run("20");
    assert_eq!(checked("a small run", &output), 0, "{}", String::from_utf8_lossy(&output.stderr));
}
