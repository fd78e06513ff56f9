//! What `gatewise verify` shows at a terminal and in a log: 80 columns, the verdict first and what to do last. How the
//! text looks to the last character is a matter of snapshots of fixed numbers, in `crates/report/tests/terminal.rs`:
//! what is measured here differs from processor to processor.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{golden, redacted};

/// What the program prints in this locale.
fn shown(case: &Case, locale: &str, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gatewise"))
        .args(["verify", "--device", "cpu"])
        .args(&case.arguments)
        .args(more)
        .env_remove("NO_COLOR")
        .envs([("LC_ALL", locale), ("TERM", "xterm")])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(case.code), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "no progress where nobody watches: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

struct Case {
    name: &'static str,
    arguments: Vec<PathBuf>,
    code: i32,
    /// The result of each check, of every LSTM.
    checks: Vec<[&'static str; 4]>,
}

fn cases() -> Vec<Case> {
    let small = ["--sequences", "8", "--timesteps", "30"].map(PathBuf::from);
    let with = |arguments: &[PathBuf]| [arguments, &small].concat();
    let all_ok = ["ok", "ok", "ok", "ok"];
    let wrong = golden("basic/keras3/wrong/no_forget_bias.weights.h5");
    vec![
        Case {
            name: "pass",
            arguments: with(&[golden("basic"), golden("basic/keras3/model.keras")]),
            code: 0,
            checks: vec![all_ok],
        },
        Case {
            name: "fail",
            arguments: with(&[golden("basic"), wrong]),
            code: 1,
            checks: vec![["BROKEN", "BROKEN", "BROKEN", "ok"]],
        },
        Case {
            name: "inconclusive",
            arguments: with(&[golden("../checkpoints/dead_weights")]),
            code: 3,
            checks: vec![["ok", "ok", "ok", "unsure"]],
        },
        Case {
            name: "ragged",
            arguments: vec![golden("basic"), "--inputs".into(), golden("basic/io.npz")],
            code: 0,
            checks: vec![all_ok],
        },
        Case { name: "bidirectional", arguments: with(&[golden("bidirectional")]), code: 0, checks: vec![all_ok; 2] },
    ]
}

#[test]
fn every_verdict_fits_a_terminal_and_reads_from_verdict_to_advice() {
    for case in cases() {
        let text = shown(&case, "C.UTF-8", &[]);
        let name = case.name;
        assert!(!text.contains('\u{1b}'), "{name}: colour, and nobody watches");
        for line in redacted(&text, &[]).lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        let verdict = ["PASS  ", "FAIL  ", "", "INCONCLUSIVE  "][case.code as usize];
        assert!(text.starts_with(verdict), "{name}: {text}");
        let parts = [
            "check    result",
            "weights ",
            "local ",
            "carried ",
            "faults ",
            "error, steps 0 to ",
            "step  lanes apart",
            "\ncompared\n",
            "\nnext  ",
        ];
        let mut rest = text.as_str();
        for part in parts {
            rest = rest
                .split_once(part)
                .unwrap_or_else(|| panic!("{name}: no {part:?} after what comes before it\n{text}"))
                .1;
        }
        let results = |check: &str| -> Vec<&str> {
            let rows =
                text.lines().filter(|l| l.strip_prefix("  ").is_some_and(|l| l.starts_with(&format!("{check:<8} "))));
            rows.filter_map(|row| row.split_whitespace().nth(1))
                .filter(|w| ["ok", "BROKEN", "unsure"].contains(w))
                .collect()
        };
        let columns = ["weights", "local", "carried", "faults"].map(results);
        assert!(columns.iter().all(|c| c.len() == case.checks.len()), "{name}: {columns:?}\n{text}");
        for (index, expected) in case.checks.iter().enumerate() {
            assert_eq!(columns.each_ref().map(|c| c[index]), *expected, "{name}: {text}");
        }
        // A block character for every step or column of steps.
        assert!(
            text.lines().any(|l| l.starts_with("  carried") && l.chars().any(|c| ('▁'..='█').contains(&c))),
            "{text}"
        );
    }
}

#[test]
fn a_locale_without_unicode_gets_none_and_colour_only_on_demand() {
    let [pass, fail, ..] = &cases()[..] else { panic!("two cases") };
    for locale in ["C", "POSIX", "en_US.ISO-8859-1"] {
        assert!(shown(fail, locale, &[]).is_ascii(), "{locale}");
    }
    let plain = shown(pass, "C", &["--color", "never"]);
    let colour = shown(pass, "C", &["--color", "always"]);
    assert!(colour.starts_with("\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m  "), "{colour}");
    assert_eq!(anstyle_free(&colour), plain, "colour changes nothing else");
}

/// The text without escape sequences.
fn anstyle_free(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |out, piece| out + piece.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn all_steps_are_shown_when_asked_for_and_the_verdict_alone_when_quiet() {
    let [pass, ..] = &cases()[..] else { panic!("a case") };
    // A row is a number of its own, set further in than anything else that begins with one.
    let first = |line: &str| line.split_whitespace().next().is_some_and(|word| word.parse::<usize>().is_ok());
    let rows = |text: &str| text.lines().filter(|l| l.starts_with("   ") && first(l)).count();
    let digest = rows(&shown(pass, "C", &[]));
    assert!((5..=8).contains(&digest), "{digest} rows");
    assert_eq!(rows(&shown(pass, "C", &["--steps"])), 30);
    let quiet = shown(pass, "C", &["--quiet"]);
    assert!(quiet.starts_with("PASS  ") && quiet.lines().count() <= 3, "{quiet}");
}
