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
        Case { name: "projected", arguments: with(&[golden("projection")]), code: 0, checks: vec![all_ok] },
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
        assert_eq!(text.contains("8 units projected to 4, layer 0"), name == "projected", "{name}: {text}");
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

/// Work that takes a while: `gatewise` and these arguments.
const LONG: [&str; 7] = ["verify", "GOLDEN/seed_names", "--device", "cpu", "--sequences", "1000000", "--color=never"];

fn long() -> Vec<String> {
    LONG.map(|word| word.replace("GOLDEN", golden("").to_str().unwrap().trim_end_matches('/'))).to_vec()
}

/// On a terminal of 80 columns, made by `script` of util-linux: a bar with what is done, how fast it goes and how long it
/// still takes, which is gone after Ctrl-C. The same work beside it, without a terminal, says nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_bar_is_shown_where_somebody_watches_and_nowhere_else() {
    use std::io::Read;
    use std::process::Stdio;
    let folder = tempfile::TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    let quoted: Vec<String> = long().iter().map(|word| format!("'{word}'")).collect();
    let program = env!("CARGO_BIN_EXE_gatewise");
    let on_it = format!("stty cols 80; echo $$ > '{}'; exec '{program}' {}", pid.display(), quoted.join(" "));
    let watched =
        Command::new("script").args(["-qec", &on_it, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let Ok(mut watched) = watched else {
        assert!(std::env::var_os("CI").is_none(), "no script on PATH, and CI is set");
        eprintln!("SKIPPED: no script of util-linux on PATH");
        return;
    };
    let mut alone = Command::new(program)
        .args(long())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");

    let mut screen = watched.stdout.take().unwrap();
    let (mut shown, mut buffer) = (String::new(), [0; 4096]);
    let is_bar = |line: &str| line.contains("lstm/") && line.contains(" left");
    let known = |shown: &str| shown.split('\r').any(|l| is_bar(l) && !l.contains("not known yet"));
    while !known(&shown) {
        let read = screen.read(&mut buffer).unwrap();
        assert!(read > 0, "it ended without a bar: {shown:?}");
        shown += std::str::from_utf8(&buffer[..read]).unwrap();
    }
    let interrupt = format!("kill -INT {}", std::fs::read_to_string(&pid).unwrap());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    screen.read_to_string(&mut shown).unwrap();
    assert_eq!(watched.wait().unwrap().code(), Some(130));
    alone.kill().unwrap();
    let said = alone.wait_with_output().unwrap().stderr;
    assert_eq!(String::from_utf8_lossy(&said), "", "nobody watches");

    let lines: Vec<String> = shown.split(['\r', '\n']).map(without_clearing).filter(|l| is_bar(l)).collect();
    assert!(lines.iter().all(|l| l.is_ascii() && l.chars().count() <= 80), "{lines:?}");
    let last = lines.last().unwrap();
    let (done, pace) = last.split_once("/1000000, ").unwrap_or_else(|| panic!("{last}"));
    assert!(done.parse::<u32>().unwrap() > 0, "{last}");
    let (speed, left) = pace.split_once(", ").unwrap_or_else(|| panic!("{last}"));
    assert!(speed.ends_with("/s") || speed.ends_with(" s each"), "{last}");
    assert!(left.contains(" left ") && left.starts_with(|c: char| c.is_ascii_digit()), "{last}");
    assert!(shown.ends_with("\r\u{1b}[K"), "the bar stays on the screen: {shown:?}");
}

/// The line without the escape sequence that clears what was there before.
#[cfg(target_os = "linux")]
fn without_clearing(line: &str) -> String {
    line.replace("\u{1b}[2K", "").replace("\u{1b}[K", "")
}
