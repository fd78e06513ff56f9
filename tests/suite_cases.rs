//! `gatewise suite`: what it does where something is wrong, known, worse, or missing.

mod common;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Run, gatewise, golden, redacted};
use serde_json::Value;
use tempfile::TempDir;

const DEFAULTS: &str = "[defaults]\ndevice = \"cpu\"\nsequences = 4\ntimesteps = 6\n";
const RIGHT: &str =
    "[[case]]\nname = \"right\"\ncheckpoint = \"GOLDEN/basic\"\ncandidate = \"GOLDEN/basic/keras2/model.keras\"\n";
const WRONG: &str = "[[case]]\nname = \"wrong\"\ncheckpoint = \"GOLDEN/basic\"\n\
                     candidate = \"GOLDEN/basic/keras2/wrong/bias_zeroed.weights.h5\"\n";
const OWN: &str = "[[case]]\nname = \"own\"\ncheckpoint = \"GOLDEN/bidirectional\"\n";
const DEAD: &str = "[[case]]\nname = \"dead\"\ncheckpoint = \"GOLDEN/../checkpoints/dead_weights\"\n";

/// A folder with a suite of these tables in it.
struct Suite(TempDir);

impl Suite {
    fn new(tables: &[&str]) -> Suite {
        let suite = Suite(TempDir::new().unwrap());
        suite.rewrite(tables);
        suite
    }

    fn rewrite(&self, tables: &[&str]) {
        let golden = golden("").display().to_string();
        let text = tables.concat().replace("GOLDEN", golden.trim_end_matches('/'));
        std::fs::write(self.at("suite.toml"), text).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run<A: AsRef<OsStr>>(&self, more: &[A]) -> Run {
        let file = self.at("suite.toml");
        gatewise(["suite".as_ref(), file.as_os_str()].into_iter().chain(more.iter().map(AsRef::as_ref)))
    }

    /// The same, ending with `code`.
    #[track_caller]
    fn ends<A: AsRef<OsStr>>(&self, more: &[A], code: i32) -> Run {
        let run = self.run(more);
        run.expect_code(code, "suite");
        run
    }

    fn redacted(&self, text: &str) -> String {
        redacted(text, &[(self.0.path(), "FOLDER")])
    }
}

const NOTHING: [&str; 0] = [];

/// The table's measured numbers as `N`: their last digits differ from processor to processor.
fn without_measurements(summary: &str) -> String {
    let cell = |cell: &str| {
        let number = cell.contains('.') && cell.parse::<f64>().is_ok();
        if number { "N".to_owned() } else { cell.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(cell).collect::<Vec<_>>().join(" ");
    summary.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_not_as_expected_is_said_everywhere() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, "expect = \"fail\"\nfault = \"bias-missing\"\n", WRONG]);
    let (junit, summary) = (suite.at("out.xml"), suite.at("out.md"));
    let files = ["--junit".as_ref(), junit.as_os_str(), "--summary".as_ref(), summary.as_os_str()];
    let run = suite.ends(
        &[&files[..], &["--annotations".as_ref(), "github".as_ref(), "--jobs".as_ref(), "1".as_ref()]].concat(),
        1,
    );
    insta::assert_snapshot!("suite_unexpected", suite.redacted(&run.stdout));
    let annotations: Vec<&str> = run.stderr.lines().filter(|l| l.starts_with("::")).collect();
    insta::assert_snapshot!("suite_annotations", suite.redacted(&annotations.join("\n")));
    let summary = suite.redacted(&std::fs::read_to_string(&summary).unwrap());
    insta::assert_snapshot!("suite_summary", without_measurements(&summary));
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"2\" errors=\"0\""), "{xml}");
    assert_eq!(xml.matches("<failure type=").count(), 2, "{xml}");
}

#[test]
fn a_verdict_with_another_fault_or_another_reason_is_not_as_expected() {
    Suite::new(&[DEFAULTS, WRONG, "expect = \"fail\"\nfault = \"bias-missing\"\n"]).ends(&NOTHING, 0);
    Suite::new(&[DEFAULTS, WRONG, "expect = \"fail\"\nfault = \"gate-order\"\n"]).ends(&NOTHING, 1);
    Suite::new(&[DEFAULTS, WRONG, "expect = \"fail\"\nsays = \"with no bias\"\n"]).ends(&NOTHING, 0);
    Suite::new(&[DEFAULTS, WRONG, "expect = \"fail\"\nsays = \"with no kernel\"\n"]).ends(&NOTHING, 1);
}

#[test]
fn exit_codes() {
    Suite::new(&[DEFAULTS, RIGHT, DEAD, "expect = \"inconclusive\"\n"]).ends(&NOTHING, 0);
    let doubtful = Suite::new(&[DEFAULTS, RIGHT, DEAD]);
    assert!(doubtful.ends(&NOTHING, 3).stdout.starts_with("INCONCLUSIVE"), "an unexpected inconclusive alone");
    Suite::new(&[DEFAULTS, RIGHT, DEAD, WRONG]).ends(&NOTHING, 1);
    // An inconclusive that was to be expected does not excuse.
    Suite::new(&[DEFAULTS, WRONG, DEAD, "expect = \"inconclusive\"\n"]).ends(&NOTHING, 1);
    let missing = Suite::new(&[DEFAULTS, "[[case]]\nname = \"a\"\ncheckpoint = \"nowhere\"\n"]);
    assert!(missing.ends(&NOTHING, 1).stdout.contains("expected pass, found error"));
    let missing = Suite::new(&[DEFAULTS, "[[case]]\nname = \"a\"\ncheckpoint = \"nowhere\"\nexpect = \"error\"\n"]);
    missing.ends(&NOTHING, 0);
}

#[test]
fn a_bad_suite_is_an_error_with_its_line_and_leaves_nothing() {
    let glob = "[[case]]\nname = \"a\"\ncheckpoint = \"GOLDEN/basic\"\n";
    let mut messages = String::new();
    for tables in [
        &[][..],
        &[DEFAULTS],
        &["[defaults]\n", glob, "sequences = 4\ntimestep = 3\n"],
        &["[default]\n", RIGHT],
        &[DEFAULTS, glob, "candidate = \"GOLDEN/basic/keras?/*.onnx\"\n"],
        &[DEFAULTS, glob, "candidate = \"GOLDEN/basic/[\"\n"],
        &[DEFAULTS, glob, "exclude = \"*.h5\"\n"],
        &[DEFAULTS, glob, "exclude = \"GOLDEN/*\"\n"],
        &[DEFAULTS, RIGHT, RIGHT],
        &[DEFAULTS, glob, "device = \"tpu\"\n"],
        &[DEFAULTS, glob, "sequences = 0\n"],
        &[DEFAULTS, glob, "atol = nan\n"],
        &[DEFAULTS, glob, "inputs = \"x.npz\"\nsequences = 3\n"],
        &[DEFAULTS, glob, "activation = \"gelu\"\n"],
        &["[defaults\n"],
    ] {
        let suite = Suite::new(tables);
        let results = suite.at("out.json");
        let run = suite.ends(&["--results".as_ref(), results.as_os_str()], 2);
        assert!(run.stdout.is_empty() && !results.exists(), "{}", run.stdout);
        messages += &suite.redacted(&run.stderr);
    }
    insta::assert_snapshot!("suite_bad", messages);
}

#[test]
fn nothing_run_is_an_error() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, WRONG]);
    let run = suite.ends(&["--shard", "3/3"], 2);
    assert!(run.stderr.contains("nothing to run: part 3 of 3 of "), "{}", run.stderr);
    assert!(suite.ends(&["--shard", "auto"], 2).stderr.contains("SLURM_ARRAY_TASK_ID"));
}

/// The results do not depend on how many run at once, nor on where in the file a case stands.
#[test]
fn results_are_the_same_in_whatever_order_cases_run() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, WRONG, "expect = \"fail\"\n", DEAD, "expect = \"inconclusive\"\n"]);
    let one = suite.ends(&["--jobs", "1", "--format", "json"], 0);
    let three = suite.ends(&["--jobs", "3", "--format", "json"], 0);
    assert_eq!(one.stdout, three.stdout);
    suite.rewrite(&[DEFAULTS, DEAD, "expect = \"inconclusive\"\n", WRONG, "expect = \"fail\"\n", RIGHT]);
    let turned = suite.ends(&["--format", "json"], 0).json();
    let found = |document: &Value, name: &str| {
        document["cases"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap()["found"].clone()
    };
    for name in ["right", "wrong", "dead"] {
        assert_eq!(found(&turned, name), found(&one.json(), name));
    }
}

/// What was found is kept for as long as nothing changes that it hangs on.
#[test]
fn a_case_is_known_until_something_changes_that_its_finding_hangs_on() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, WRONG, "expect = \"fail\"\n"]);
    let state = suite.at("state");
    let known =
        |code: i32| suite.ends(&["--state".as_ref(), state.as_os_str()], code).stderr.matches("(known)").count();
    assert_eq!((known(0), known(0)), (0, 2));

    // What is expected does not matter to what is found.
    suite.rewrite(&["\n\n", DEFAULTS, RIGHT, "expect = \"fail\"\n", WRONG, "expect = \"fail\"\n"]);
    assert_eq!(known(1), 2);
    suite.rewrite(&[DEFAULTS, RIGHT, "seed = 1\n", WRONG, "expect = \"fail\"\n"]);
    assert_eq!((known(0), known(0)), (1, 2));

    // The same path with another file in it.
    let candidate = suite.at("candidate.keras");
    let case = "[[case]]\nname = \"mine\"\ncheckpoint = \"GOLDEN/basic\"\ncandidate = \"candidate.keras\"\n";
    suite.rewrite(&[DEFAULTS, case]);
    std::fs::copy(golden("basic/keras2/model.keras"), &candidate).unwrap();
    assert_eq!((known(0), known(0)), (0, 1));
    std::fs::copy(golden("basic/keras2/wrong/no_bias.keras"), &candidate).unwrap();
    assert_eq!((known(1), known(1)), (0, 1));
    // An error is no result: it is tried again.
    std::fs::write(&candidate, "nothing").unwrap();
    assert_eq!((known(1), known(1)), (0, 0));
    std::fs::copy(golden("basic/keras2/model.keras"), &candidate).unwrap();
    assert_eq!(known(0), 1, "the first one again");
}

#[test]
fn a_line_of_the_state_file_that_is_not_whole_is_run_again() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, WRONG, "expect = \"fail\"\n"]);
    let state = suite.at("state");
    let options = ["--state".as_ref(), state.as_os_str(), "--format".as_ref(), "json".as_ref()];
    let undisturbed = suite.ends(&options, 0);
    // A fail turned into a pass.
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(text.contains("\"verdict\":\"fail\""), "{text}");
    std::fs::write(&state, text.replace("\"verdict\":\"fail\"", "\"verdict\":\"pass\"")).unwrap();
    let run = suite.ends(&options, 0);
    assert_eq!(run.stdout, undisturbed.stdout);
    assert!(run.stderr.contains("1 lines of the state file are not whole"), "{}", run.stderr);
    assert_eq!(run.stderr.matches("(known)").count(), 1);

    std::fs::write(&state, "a file of mine\n").unwrap();
    assert!(suite.ends(&options, 2).stderr.contains("something else than the state of a suite"));
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "a file of mine\n");
}

#[test]
fn what_got_worse_since_the_baseline_is_exit_1() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, WRONG, "expect = \"fail\"\n"]);
    let file = suite.at("baseline.json");
    let against = ["--baseline".as_ref(), file.as_os_str(), "--format".as_ref(), "json".as_ref()];
    let accept = ["--baseline".as_ref(), file.as_os_str(), "--accept".as_ref()];
    assert!(suite.ends(&against, 2).stderr.contains("--accept writes it"));
    suite.ends(&accept, 0);
    assert_eq!(suite.ends(&against, 0).json()["baseline"]["regressions"], Value::Array(vec![]));
    let accepted: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let right = accepted["cases"].as_array().unwrap().iter().position(|c| c["name"] == "right").unwrap();

    let plant = |change: &dyn Fn(&mut Value)| {
        let mut planted = accepted.clone();
        change(&mut planted);
        std::fs::write(&file, planted.to_string()).unwrap();
        let document = suite.ends(&against, 1).json();
        assert_eq!(document["outcome"], "unexpected");
        let regressions = document["baseline"]["regressions"].as_array().unwrap().clone();
        assert_eq!(regressions.len(), 1, "{regressions:?}");
        assert!(suite.run(&["--baseline".as_ref(), file.as_os_str()]).stdout.contains("\n  worse "));
        regressions[0].clone()
    };
    // A tenth of the error was accepted: ten times as much is found.
    let smaller = plant(&|b| {
        let local = b["cases"][right]["divergence"]["local"].as_f64().unwrap();
        b["cases"][right]["divergence"]["local"] = (local / 10.0).into();
    });
    assert_eq!((&smaller["what"], &smaller["case"]), (&"local".into(), &"right".into()));
    assert!((smaller["ratio"].as_f64().unwrap() - 10.0).abs() < 0.1, "{smaller}");
    let gone = plant(&|b| {
        let mut more = b["cases"][right].clone();
        more["name"] = "gone".into();
        b["cases"].as_array_mut().unwrap().push(more);
    });
    assert_eq!((&gone["what"], &gone["line"]), (&"missing".into(), &Value::Null));
    let better = plant(&|b| b["cases"][1 - right]["verdict"] = "pass".into());
    assert_eq!((&better["what"], &better["case"]), (&"verdict".into(), &"wrong".into()));

    // Accepted whatever got worse, and then no longer worse.
    assert!(suite.ends(&accept, 0).stdout.contains("note  accepted: wrong: fail, and pass was accepted"));
    suite.ends(&against, 0);
    // But not what is not as expected.
    let before = std::fs::read(&file).unwrap();
    suite.rewrite(&[DEFAULTS, RIGHT, WRONG]);
    assert!(suite.ends(&accept, 1).stderr.contains("is left as it was"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn slowness_is_judged_where_times_can_be_compared() {
    let suite = Suite::new(&["[defaults]\ndevice = \"cpu\"\nsequences = 1024\ntimesteps = 200\n", RIGHT]);
    let file = suite.at("baseline.json");
    let against = ["--baseline".as_ref(), file.as_os_str(), "--format".as_ref(), "json".as_ref()];
    suite.ends(&["--baseline".as_ref(), file.as_os_str(), "--accept".as_ref()], 0);
    let mut accepted: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let seconds = accepted["timings"]["right"]["seconds"].as_f64().unwrap();
    assert!(seconds > 0.3, "{seconds} s are too short to show anything");
    accepted["timings"]["right"]["seconds"] = 0.01.into();
    std::fs::write(&file, accepted.to_string()).unwrap();
    let regressions = suite.ends(&against, 1).json()["baseline"]["regressions"].clone();
    assert_eq!(regressions[0]["what"], "speed", "{regressions}");
    // Another machine's times say nothing of this one.
    accepted["timings"]["right"]["host"] = "another".into();
    std::fs::write(&file, accepted.to_string()).unwrap();
    let notes = suite.ends(&against, 0).json()["baseline"]["notes"].to_string();
    assert!(notes.contains("the speed of 1 cases was not compared"), "{notes}");
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, WRONG, "expect = \"fail\"\n", DEAD, "expect = \"inconclusive\"\n"]);
    let part = |shard: &str, name: &str| {
        let file = suite.at(name);
        suite
            .ends(&["--shard".as_ref(), shard.as_ref(), "--quiet".as_ref(), "--results".as_ref(), file.as_os_str()], 0);
        file
    };
    let (first, second) = (part("1/2", "1.json"), part("2/2", "2.json"));
    let whole = suite.at("whole.json");
    suite.ends(&["--results".as_ref(), whole.as_os_str()], 0);
    let third = part("3/3", "3.json");
    suite.rewrite(&[DEFAULTS, RIGHT, WRONG, "expect = \"fail\"\n", DEAD, "expect = \"inconclusive\"\n", "\n"]);
    let other = part("2/2", "other.json");
    let edited = |name: &str, from: &str, to: &str| {
        let file = suite.at(name);
        let text = std::fs::read_to_string(&second).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        file
    };
    let version =
        edited("version.json", &format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION")), "\"version\": \"9.9.9\"");
    let index = edited("index.json", "\"index\": 0", "\"index\": 1");
    let cut = suite.at("cut.json");
    std::fs::write(&cut, &std::fs::read(&second).unwrap()[..200]).unwrap();

    let merge = |parts: &[&Path]| {
        gatewise(["suite".as_ref(), "merge".as_ref()].into_iter().chain(parts.iter().map(|p| p.as_os_str())))
    };
    merge(&[&first, &second]).expect_code(0, "both parts");
    let mut messages = String::new();
    for parts in [
        &[&first][..],
        &[&second],
        &[&first, &first],
        &[&first, &second, &second],
        &[&first, &third],
        &[&first, &other],
        &[&first, &version],
        &[&first, &index],
        &[&first, &cut],
        &[&whole, &second],
    ] {
        let parts: Vec<&Path> = parts.iter().map(|p| p.as_path()).collect();
        let run = merge(&parts);
        run.expect_code(2, "parts that do not belong together");
        messages += &suite.redacted(&run.stderr);
    }
    let digests = |line: &str| {
        let words = line.split(' ').map(|w| if w.trim_end_matches([':', ',']).len() == 64 { "DIGEST" } else { w });
        words.collect::<Vec<_>>().join(" ")
    };
    insta::assert_snapshot!("suite_merge", messages.lines().map(digests).collect::<Vec<_>>().join("\n"));
}

/// The variables of a job array choose the part, and all parts together are the whole.
#[test]
fn parts_are_chosen_by_the_environment() {
    let suite = Suite::new(&[DEFAULTS, RIGHT, WRONG, "expect = \"fail\"\n"]);
    let part = |variables: &[(&str, &str)], name: &str| {
        let file = suite.at(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewise"));
        command.arg("suite").arg(suite.at("suite.toml")).args(["--shard", "auto", "--quiet", "--results"]).arg(&file);
        assert!(command.envs(variables.iter().copied()).status().unwrap().success());
        file
    };
    let slurm = [("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_ARRAY_TASK_MIN", "4"), ("SLURM_ARRAY_TASK_MAX", "5")];
    let first = part(&[&slurm[..], &[("SLURM_ARRAY_TASK_ID", "4")]].concat(), "1.json");
    let second = part(&[("JOB_COMPLETION_INDEX", "1"), ("GATEWISE_SHARDS", "2")], "2.json");
    let merged = gatewise([
        "suite".as_ref(),
        "merge".as_ref(),
        first.as_os_str(),
        second.as_os_str(),
        "--format".as_ref(),
        "json".as_ref(),
    ]);
    merged.expect_code(0, "merge");
    assert_eq!(merged.stdout, suite.ends(&["--format", "json"], 0).stdout);
}

/// Names and texts may hold anything: the XML stays XML.
#[test]
fn junit_is_well_formed_whatever_a_case_is_called() {
    let name = "[[case]]\nname = \"a\\u0001\\u001b[31m<b>&\\\"]]>\\n\\uFFFF\\u202e\"\ncheckpoint = \"GOLDEN/basic\"\nexpect = \"fail\"\n";
    let suite = Suite::new(&[DEFAULTS, name]);
    let file = suite.at("out.xml");
    suite.ends(&["--junit".as_ref(), file.as_os_str()], 1);
    let Ok(run) = Command::new("xmllint").arg("--noout").arg(&file).output() else {
        assert!(std::env::var_os("CI").is_none(), "no xmllint on PATH, and CI is set");
        eprintln!("SKIPPED: no xmllint on PATH; .ci/setup installs it");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn results_do_not_replace_what_was_read() {
    let suite = Suite::new(&[DEFAULTS, RIGHT]);
    for (option, name) in [("--results", "suite.toml"), ("--junit", "suite.toml"), ("--summary", "suite.toml")] {
        let file = suite.at(name);
        let before = std::fs::read(&file).unwrap();
        assert!(suite.ends(&[option.as_ref(), file.as_os_str()], 2).stderr.contains("choose another file"));
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
    let file = suite.at("out");
    let twice = |other: &Path, option: &str| {
        let run = suite.ends(&["--results".as_ref(), file.as_os_str(), option.as_ref(), other.as_os_str()], 2);
        assert!(run.stderr.contains("named for two results"), "{}", run.stderr);
    };
    twice(&file, "--junit");
    twice(&file, "--state");
    twice(&suite.at("../").join(suite.0.path().file_name().unwrap()).join("out"), "--summary");
    assert!(!file.exists());
}

/// Whatever a model is called by, its files are not replaced: a prefix, a folder, one of its files.
#[test]
fn results_do_not_replace_a_part_of_a_model() {
    let suite = Suite::new(&[]);
    let files = ["checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta"];
    std::fs::create_dir(suite.at("model")).unwrap();
    for file in files {
        std::fs::copy(golden("basic").join(file), suite.at("model").join(file)).unwrap();
    }
    let convert: [OsString; 6] = [
        "convert".into(),
        suite.at("model").into(),
        "-o".into(),
        suite.at("tf2").into(),
        "--to".into(),
        "tf2-checkpoint".into(),
    ];
    gatewise(convert).expect_code(0, "convert");
    let mut refused = 0;
    for checkpoint in ["model", "model/model.ckpt", "model/model.ckpt.meta", "model/checkpoint"] {
        let case = format!("[[case]]\nname = \"a\"\ncheckpoint = \"{checkpoint}\"\ncandidate = \"tf2\"\n");
        suite.rewrite(&[DEFAULTS, &case]);
        let parts = files[1..].iter().map(|file| suite.at("model").join(file));
        let candidate = ["tf2.index", "tf2.data-00000-of-00001"].map(|file| suite.at(file));
        for file in parts.chain(candidate) {
            let before = std::fs::read(&file).unwrap();
            for option in ["--results", "--junit", "--summary"] {
                let run = suite.ends(&[option.as_ref(), file.as_os_str()], 2);
                assert!(run.stderr.contains("is read by this run"), "{checkpoint}: {}", run.stderr);
                refused += 1;
            }
            assert!(std::fs::read(&file).unwrap() == before, "{} was replaced", file.display());
        }
        // And a file of another kind beside them may be, again and again.
        for _ in 0..2 {
            suite.ends(&["--results".as_ref(), suite.at("model/results.json").as_os_str()], 0);
        }
    }
    assert_eq!(refused, 4 * 5 * 3);
}

/// The same suite on the CPU and on a GPU adapter, and dealt to both: the verdicts are the same, each case says where it
/// ran, and neither the number at once nor the state file changes a byte. Killed and gone on with, it stays on its devices.
#[test]
fn a_suite_runs_over_several_devices_at_once() {
    let suite = Suite::new(&["[defaults]\nsequences = 4\ntimesteps = 6\n", RIGHT, WRONG, "expect = \"fail\"\n", OWN]);
    let state = suite.at("state");
    let run = |more: &[&str]| {
        let run = suite.ends(&[&["--format", "json"][..], more].concat(), 0);
        let cases = run.json()["cases"].as_array().unwrap().clone();
        let devices: Vec<String> = cases.iter().map(|c| c["found"]["device"].as_str().unwrap().to_owned()).collect();
        let verdicts: Vec<Value> = cases.iter().map(|c| c["found"]["verdict"].clone()).collect();
        assert_eq!(verdicts, ["pass", "fail", "pass"], "{more:?}");
        (run, devices)
    };
    let (_, on_cpu) = run(&["--device", "cpu"]);
    let (_, on_gpu) = run(&["--device", "gpu", "--jobs", "3"]);
    assert!(on_cpu.iter().all(|d| *d == on_cpu[0]) && on_gpu.iter().all(|d| *d == on_gpu[0]), "{on_cpu:?} {on_gpu:?}");
    assert_ne!(on_cpu[0], on_gpu[0]);
    let dealt = ["--device", "cpu,gpu", "--state", state.to_str().unwrap()];
    let (both, on_both) = run(&[&dealt[..], &["--jobs", "3"]].concat());
    assert_eq!(on_both, [&on_cpu[0], &on_gpu[0], &on_cpu[0]].map(String::as_str));
    let (known, _) = run(&[&dealt[..], &["--jobs", "1"]].concat());
    assert_eq!((known.stderr.matches("(known)").count(), &known.stdout), (3, &both.stdout));
    // A case of another device is another case.
    let (other, _) = run(&["--device", "gpu,cpu", "--state", state.to_str().unwrap()]);
    assert_eq!(other.stderr.matches("(known)").count(), 0, "{}", other.stderr);
}
