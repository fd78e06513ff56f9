//! `gatewise verify` over more sequences than memory holds.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use golden::golden_dir;
use serde_json::Value;

/// What a run printed, its exit code, and the most memory it had at once.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
    /// Bytes. Read while the process runs, so at most a few milliseconds before its end.
    peak: u64,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

fn verify(case: &str, candidate: Option<&str>, options: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewise"));
    command.arg("verify").arg(golden_dir().join(case));
    command.args(candidate.map(|c| golden_dir().join(case).join(c))).args(["--format", "json"]).args(options);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let read_errors = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let mut peak = 0;
    let status = loop {
        // `VmHWM` is the peak so far; gone once the process has ended.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    Run { code: status.code(), out: read.join().unwrap(), err: read_errors.join().unwrap(), peak }
}

const MIB: u64 = 1 << 20;

/// A run that is judged as a whole takes more than the same run in chunks may, so that the limit does bind.
#[test]
fn memory_stays_below_what_is_allowed_however_many_sequences() {
    for device in ["cpu", "gpu"] {
        let options = |n: &'static str, memory: &'static str| {
            ["--device", device, "--sequences", n, "--timesteps", "20", "--memory", memory]
        };
        let whole = verify("basic", None, &options("14000", "64GiB"));
        assert_eq!(whole.code, Some(0), "{}", whole.err);
        assert!(whole.json()["lstms"][0]["screened"].is_null());
        assert!(whole.peak > 320 * MIB, "{device}: a whole run peaks at {} MiB", whole.peak / MIB);
        let mut peaks = vec![];
        for sequences in ["14000", "60000"] {
            let run = verify("basic", None, &options(sequences, "320MiB"));
            assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
            assert!(run.peak < 320 * MIB, "{device}: {sequences} sequences peak at {} MiB", run.peak / MIB);
            peaks.push(run.peak / MIB);
            let screened = &run.json()["lstms"][0]["screened"];
            assert_eq!(screened["sequences"].to_string(), sequences);
            assert!(screened["judged"].as_u64().unwrap() >= 128);
        }
        eprintln!("{device}: {} MiB as a whole, {peaks:?} MiB in chunks", whole.peak / MIB);
    }
}

#[test]
fn both_devices_agree_on_all_sequences_and_say_how_many_were_judged() {
    let all = |device: &str| {
        let options =
            ["--device", device, "--sequences", "3000", "--timesteps", "30", "--seed", "9", "--memory", "128MiB"];
        let run = verify("bidirectional", None, &options);
        assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
        run.json()
    };
    let (cpu, gpu) = (all("cpu"), all("gpu"));
    assert_eq!(cpu["settings"]["sequences"], 3000);
    for document in [&cpu, &gpu] {
        let judged = document["settings"]["judged"].as_u64().unwrap();
        assert!((128..=384).contains(&judged), "{judged}");
        let note = document["notes"].as_array().unwrap().iter().any(|n| n.as_str().unwrap().starts_with("judged were"));
        assert!(note);
        for lstm in document["lstms"].as_array().unwrap() {
            let steps = lstm["screened"]["timesteps"].as_array().unwrap();
            assert_eq!(steps.len(), 30);
            assert!(steps.iter().all(|s| s["max_abs"].as_f64().unwrap() > 0.0 && s["at"]["sequence"].is_u64()));
            assert!(lstm["screened"]["compared"].as_u64().unwrap() > lstm["compared"].as_u64().unwrap());
        }
    }
    let compared = |d: &Value| d["lstms"][1]["screened"]["compared"].clone();
    assert_eq!(compared(&cpu), compared(&gpu));
}

#[test]
fn wrong_weights_fail_among_many_sequences_too() {
    for device in ["cpu", "gpu"] {
        let options = ["--device", device, "--sequences", "3000", "--timesteps", "10", "--memory", "128MiB"];
        let run = verify("basic", Some("keras2/wrong/no_forget_bias.weights.h5"), &options);
        assert_eq!(run.code, Some(1), "{}{}", run.out, run.err);
        let document = run.json();
        assert!(document["reasons"][0]["text"].as_str().unwrap().contains("forget bias missing"), "{document:?}");
        assert!(document["lstms"][0]["screened"]["max_abs"].as_f64().unwrap() > 0.1);
    }
}

#[test]
fn a_tolerance_holds_for_every_sequence() {
    let options = |atol: &'static str| {
        ["--device", "cpu", "--sequences", "3000", "--timesteps", "10", "--memory", "128MiB", "--atol", atol]
    };
    let run = verify("basic", None, &options("1"));
    assert_eq!(run.code, Some(0));
    let furthest = run.json()["lstms"][0]["screened"]["max_abs"].as_f64().unwrap();
    assert!(furthest > 1e-8 && furthest < 1e-4);
    let run = verify("basic", None, &options("1e-9"));
    assert_eq!(run.code, Some(1));
    assert!(run.json()["reasons"][0]["text"].as_str().unwrap().contains("--atol 1e-9 was asked for"));
}

#[test]
fn runs_that_fit_are_what_they_were() {
    let run = verify("basic", None, &["--device", "cpu"]);
    assert_eq!(run.code, Some(0));
    let document = run.json();
    assert!(document["settings"].get("judged").is_none() && document["lstms"][0].get("screened").is_none());
}
