//! What the README shows is what the program does.

mod common;

use std::path::Path;

use common::gatewise;

fn readme() -> String {
    std::fs::read_to_string(golden::golden_dir().join("../../README.md")).expect("README.md")
}

/// The lines of the fenced block that begins with this command, the command excluded.
fn transcript(command: &str) -> Vec<String> {
    let readme = readme();
    let block = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').map_or("", |(_, body)| body))
        .find(|body| body.starts_with(&format!("$ {command}")))
        .unwrap_or_else(|| panic!("no transcript of `{command}` in README.md"));
    block.lines().skip(1).map(str::to_owned).collect()
}

/// Words without measured numbers, which differ in their last digits from processor to processor.
fn words(line: &str) -> Vec<String> {
    let measured = |w: &str| w.contains("e-") || (w.starts_with("0.") && w.len() == 5) || w.contains(':');
    line.split_whitespace().map(|w| w.trim_end_matches(',')).filter(|w| !measured(w)).map(str::to_owned).collect()
}

fn shows(command: &str, code: i32) {
    let arguments: Vec<String> = command.split_whitespace().skip(1).map(str::to_owned).collect();
    let root = golden::golden_dir().join("../..");
    std::env::set_current_dir(Path::new(&root)).expect("the repository's root");
    let run = gatewise(&arguments);
    run.expect_code(code, command);
    let shown = transcript(command);
    let printed: Vec<&str> = run.stdout.lines().collect();
    let verdict = |line: &str| words(line);
    assert_eq!(verdict(&shown[0]), verdict(printed[0]), "the verdict");
    // The transcript may be cut short with an ellipsis.
    for (shown, printed) in shown.iter().zip(&printed).take_while(|(s, _)| s.trim() != "...").take(9) {
        let (shown, printed) = (words(shown), words(printed));
        assert_eq!(shown.first(), printed.first(), "{command}");
        assert_eq!(shown.len(), printed.len(), "{command}: {shown:?} {printed:?}");
    }
}

#[test]
fn transcripts_are_real() {
    shows("gatewise verify tests/golden/seed_names tests/golden/seed_names/keras3/model.keras", 0);
    shows("gatewise verify tests/golden/basic tests/golden/basic/keras2/wrong/no_forget_bias.weights.h5", 1);
}
