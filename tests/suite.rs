//! `gatewise suite` on all golden cases: whole, in parts, and killed again and again.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Run, gatewise, golden};
use serde_json::Value;
use tempfile::TempDir;

fn golden_suite() -> PathBuf {
    golden("../golden.suite.toml")
}

fn suite(file: &Path, more: &[&dyn AsRef<OsStr>]) -> Run {
    let mut arguments = vec!["suite".as_ref(), file.as_os_str()];
    arguments.extend(more.iter().map(|m| m.as_ref()));
    gatewise(arguments)
}

#[test]
fn every_golden_case_ends_as_expected_whole_and_in_two_parts() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let files: [&dyn AsRef<OsStr>; 8] = [
        &"--results",
        &at("whole.json"),
        &"--junit",
        &at("whole.xml"),
        &"--summary",
        &at("whole.md"),
        &"--state",
        &at("state"),
    ];
    let whole = suite(&golden_suite(), &files);
    whole.expect_code(0, "the whole suite");
    assert!(whole.stdout.starts_with("PASS"), "{}", whole.stdout);
    let document: Value = serde_json::from_slice(&std::fs::read(at("whole.json")).unwrap()).unwrap();
    nothing_is_left_out(&document);
    valid_junit(&at("whole.xml"));

    let mut parts: Vec<PathBuf> = vec![];
    for part in ["1/2", "2/2"] {
        let file = at(&format!("part-{}.json", parts.len() + 1));
        suite(&golden_suite(), &[&"--shard", &part, &"--results", &file, &"--quiet"]).expect_code(0, part);
        parts.push(file);
    }
    // In whatever order the parts come.
    let merged = gatewise([
        "suite".as_ref(),
        "merge".as_ref(),
        parts[1].as_os_str(),
        parts[0].as_os_str(),
        "--results".as_ref(),
        at("merged.json").as_os_str(),
        "--junit".as_ref(),
        at("merged.xml").as_os_str(),
        "--summary".as_ref(),
        at("merged.md").as_os_str(),
    ]);
    merged.expect_code(0, "merge");
    assert_eq!(merged.stdout, whole.stdout);
    for name in ["json", "md"] {
        let read = |which: &str| std::fs::read_to_string(at(&format!("{which}.{name}"))).unwrap();
        assert!(read("merged") == read("whole"), "the merged .{name} is another");
    }
    // Each case is in one part, and the parts are about as large.
    let sizes: Vec<usize> = parts
        .iter()
        .map(|part| serde_json::from_slice::<Value>(&std::fs::read(part).unwrap()).unwrap())
        .map(|part| part["report"]["cases"].as_array().unwrap().len())
        .collect();
    assert!(
        sizes[0] - sizes[1] <= 1 && sizes[0] + sizes[1] == document["cases"].as_array().unwrap().len(),
        "{sizes:?}"
    );
    valid_junit(&at("merged.xml"));

    killed_ten_times_over(&at("state"), &std::fs::read_to_string(at("whole.json")).unwrap());
}

/// Ten times: the suite of all golden cases goes on where it was left a little before its end, is killed at a random
/// moment, and goes on again. What it says in the end is what it says undisturbed.
fn killed_ten_times_over(finished: &Path, undisturbed: &str) {
    let finished: Vec<String> = std::fs::read_to_string(finished).unwrap().lines().map(str::to_owned).collect();
    assert!(finished.len() >= 290, "{} cases", finished.len());
    let mut random = Random(u64::from(std::process::id()));
    let folder = TempDir::new().unwrap();
    let mut in_time = 0;
    for round in 0..10 {
        let state = folder.path().join(format!("state-{round}"));
        let mut left = finished.clone();
        for _ in 0..TO_RUN {
            left.swap_remove(random.below(left.len()));
        }
        std::fs::write(&state, left.join("\n") + "\n").unwrap();
        let killed = Killed { file: &golden_suite(), state: &state, signal: "KILL" };
        in_time += usize::from(killed.and_goes_on(random.below(TO_RUN), &mut random, undisturbed).is_none());
        // A line that the kill cut off stays, and is ignored.
        assert!(lines(&state) >= finished.len(), "round {round}: what was run is kept");
    }
    assert!(in_time >= 5, "only {in_time} of 10 kills came in time");
}

/// How many finished cases each of those runs has still to do, errors apart, which are tried anew.
const TO_RUN: usize = 12;

/// Every folder of golden data, and every Keras file in one, is in the suite.
fn nothing_is_left_out(document: &Value) {
    let commands: BTreeSet<String> = document["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["command"].as_str().unwrap().replace("/../golden/", "/"))
        .collect();
    let (mut folders, mut files) = (0, 0);
    let mut open = vec![golden("")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap();
            if name == "case.json" {
                folders += 1;
                let case = folder.strip_prefix(golden("")).unwrap().display().to_string();
                let of =
                    |c: &&String| c.contains(&format!("golden/{case} ")) || c.contains(&format!("golden/{case}/ "));
                assert!(commands.iter().any(|c| of(&c)), "{case} is not in the suite");
            } else if name.ends_with(".h5") || name.ends_with(".keras") {
                files += 1;
                let path = path.strip_prefix(golden("")).unwrap().display().to_string();
                assert!(commands.iter().any(|c| c.contains(&path)), "{path} is not in the suite");
            }
        }
    }
    assert!(folders >= 126 && files >= 140 + 36, "{folders} folders, {files} files");
    let counts = &document["counts"];
    assert!(counts["pass"].as_u64().unwrap() >= 220, "{counts}");
    assert!(counts["fail"].as_u64().unwrap() >= 36 + 3, "{counts}");
    assert!(counts["error"].as_u64().unwrap() >= 30, "{counts}");
}

/// Judged by the schema of Jenkins' reader.
fn valid_junit(file: &Path) {
    let schema = golden("../schemas/junit-10.xsd");
    let run = Command::new("xmllint").args(["--noout", "--schema"]).arg(schema).arg(file).output();
    let Ok(run) = run else {
        assert!(std::env::var_os("CI").is_none(), "no xmllint on PATH, and CI is set");
        eprintln!("SKIPPED: no xmllint on PATH; .ci/setup installs it");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// Some cases of every ending that is kept, and one that is not.
const TO_BE_KILLED: &str = r#"
[defaults]
device = "cpu"
sequences = 4
timesteps = 6

[[case]]
name = "right"
checkpoint = ["GOLDEN/basic", "GOLDEN/square"]
candidate = "{checkpoint}/keras?/model.*"

[[case]]
name = "wrong"
checkpoint = "GOLDEN/basic"
candidate = "GOLDEN/basic/keras2/wrong/forget_*.weights.h5"
expect = "fail"

[[case]]
name = "peephole"
checkpoint = "GOLDEN/peephole"
expect = "error"
"#;

/// From its beginning: killed by a signal that nothing can be done about, and by Ctrl-C. A case that was finished is not
/// run again, by either; and a third run has nothing left to do but what ended in an error.
#[test]
fn a_suite_that_was_killed_or_interrupted_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let golden = golden("").display().to_string();
    std::fs::write(at("suite.toml"), TO_BE_KILLED.replace("GOLDEN", golden.trim_end_matches('/'))).unwrap();
    let undisturbed = suite(&at("suite.toml"), &[&"--format", &"json"]);
    undisturbed.expect_code(0, "undisturbed");
    let total = undisturbed.json()["counts"]["cases"].as_u64().unwrap() as usize;
    let errors = undisturbed.json()["counts"]["error"].as_u64().unwrap() as usize;
    assert!(total >= 16 && errors == 1, "{total} cases");

    let mut random = Random(u64::from(std::process::id()));
    for (signal, code) in [("KILL", None), ("INT", Some(130))] {
        let state = at(signal);
        let killed = Killed { file: &at("suite.toml"), state: &state, signal };
        assert_eq!(killed.and_goes_on(1 + random.below(4), &mut random, &undisturbed.stdout), code, "{signal}");
        let a_third_time = suite(&at("suite.toml"), &[&"--format", &"json", &"--state", &state]);
        assert!(a_third_time.stdout == undisturbed.stdout, "{signal}: known, the report is another");
        assert_eq!(a_third_time.stderr.matches("(known)").count(), total - errors, "an error is tried again");
    }
}

/// A run that a signal ends.
struct Killed<'a> {
    file: &'a Path,
    state: &'a Path,
    signal: &'a str,
}

impl Killed<'_> {
    /// Begins, is killed some time after `more` cases have ended, and goes on; how it ended at first. The second run
    /// knows every case that the first one finished, and says what an undisturbed one says.
    fn and_goes_on(&self, more: usize, random: &mut Random, undisturbed: &str) -> Option<i32> {
        let mut command = Command::new("env");
        // Whoever runs the tests may have started them to ignore signals.
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_gatewise"), "suite"]).arg(self.file);
        command.args(["--quiet", "--state"]).arg(self.state).stdout(Stdio::null()).stderr(Stdio::null());
        let before = lines(self.state);
        let mut child = command.spawn().expect("env of coreutils runs");
        wait_for(self.state, before + more, &mut child);
        std::thread::sleep(Duration::from_micros(random.below(40_000) as u64));
        let kill = format!("kill -{} {}", self.signal, child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let ended = child.wait().unwrap().code();

        let kept = lines(self.state);
        assert!(kept >= before + more, "{kept} after {before} and {more}");
        let again = suite(self.file, &[&"--format", &"json", &"--state", &self.state]);
        again.expect_code(0, "gone on with");
        assert!(again.stdout == undisturbed, "killed after {kept} cases, the report is another");
        // A last line that the kill cut off is run again: it may be one less.
        let known = again.stderr.matches("(known)").count();
        assert!(known == kept || known + 1 == kept, "{known} of {kept} were not run again");
        ended
    }
}

fn wait_for(state: &Path, wanted: usize, child: &mut Child) {
    let begun = Instant::now();
    while lines(state) < wanted && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{} of {wanted} cases", lines(state));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn lines(file: &Path) -> usize {
    std::fs::read(file).map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count())
}

/// Splitmix64: which moments, is all that hangs on it.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}
