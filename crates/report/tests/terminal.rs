//! What people read at a terminal and in a log.

mod documents;

use documents::{bidirectional, chaotic, fail, inconclusive, pass, projected, ragged};
use report::document::Verify;
use report::{Steps, Style, verdict_line, verify_text};

const LOG: Style = Style::PLAIN;
const SCREEN: Style = Style { color: false, unicode: true };
const COLOUR: Style = Style { color: true, unicode: true };

fn all() -> [(&'static str, Verify); 7] {
    [
        ("pass", pass()),
        ("fail", fail()),
        ("inconclusive", inconclusive()),
        ("ragged", ragged()),
        ("bidirectional", bidirectional()),
        ("chaotic", chaotic()),
        ("projected", projected()),
    ]
}

#[test]
fn people_read_it_so() {
    for (name, document) in all() {
        insta::assert_snapshot!(name, verify_text(&document, Steps::Telling, SCREEN));
    }
    insta::assert_snapshot!("log", verify_text(&fail(), Steps::Telling, LOG));
    insta::assert_snapshot!("every_step", verify_text(&ragged(), Steps::All, LOG));
    // The escapes themselves, readable.
    insta::assert_snapshot!("colour", verify_text(&fail(), Steps::Telling, COLOUR).replace('\u{1b}', "␛"));
}

#[test]
fn no_line_is_wider_than_a_terminal_but_for_names() {
    let mut lines = 0;
    for (name, document) in all() {
        for steps in [Steps::Telling, Steps::All] {
            let text = verify_text(&document, steps, SCREEN);
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
                assert!(!line.ends_with(' '), "{name}: {line:?}");
                lines += 1;
            }
        }
    }
    assert!(lines > 600, "{lines} lines");
    let mut long = fail();
    let path = "a/very/long/path/".repeat(8);
    long.inputs.candidate.as_mut().unwrap().path.clone_from(&path);
    long.lstms[0].timesteps.iter_mut().for_each(|t| t.t += 123_456);
    for line in verify_text(&long, Steps::All, SCREEN).lines() {
        assert!(line.chars().count() <= 80 || line.trim_start().trim_start_matches("candidate ") == path, "{line}");
    }
}

#[test]
fn without_colour_or_unicode_every_byte_is_ascii_and_no_word_is_lost() {
    for (name, document) in all() {
        let (log, colour) = (verify_text(&document, Steps::All, LOG), verify_text(&document, Steps::All, COLOUR));
        assert!(log.is_ascii() && !log.contains('\u{1b}'), "{name}");
        let mut without = String::new();
        let mut rest = colour.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            without += before;
            rest = after.split_once('m').unwrap().1;
        }
        without += rest;
        assert_eq!(without, verify_text(&document, Steps::All, SCREEN), "{name}: colour changes nothing else");
        assert!(colour.contains('\u{1b}'), "{name}");
    }
}

#[test]
fn the_verdict_comes_first_and_what_to_do_last() {
    for (name, document) in all() {
        let text = verify_text(&document, Steps::Telling, LOG);
        let verdict = document.verdict.to_uppercase();
        assert!(text.starts_with(&format!("{verdict}  ")), "{name}: {text}");
        assert!(text.starts_with(&verdict_line(&document, LOG)), "{name}");
        let last = text.rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("next  "), "{name}: {last}");
    }
    assert!(verify_text(&fail(), Steps::Telling, LOG).contains("next  add 1 to columns 100..200 of the bias"));
    assert!(verify_text(&inconclusive(), Steps::Telling, LOG).contains("--inputs FILE.npz"));
}

#[test]
fn the_worst_steps_are_among_those_shown() {
    let mut document = pass();
    document.lstms[0].timesteps[41] = documents::step(41, 1e-7, 0.987);
    document.lstms[0].timesteps[67] = documents::step(67, 6e-6, 0.2);
    let text = verify_text(&document, Steps::Telling, LOG);
    let shown = |t: usize| text.lines().any(|l| l.trim_start().starts_with(&format!("{t}  ")));
    assert!(shown(0) && shown(41) && shown(67) && shown(99), "{text}");
    assert!(text.lines().count() < 60, "{} lines", text.lines().count());
    assert!(text.contains("steps; --steps shows all"));
    let every = verify_text(&document, Steps::All, LOG);
    assert!(every.lines().count() > 120 && !every.contains("--steps shows all"));
}

#[test]
fn what_is_not_a_number_is_never_ok() {
    let mut document = pass();
    document.lstms[0].timesteps[50].carried.keras_from_oracle.h = f64::NAN;
    let row = |document: &Verify, check: &str| {
        let text = verify_text(document, Steps::Telling, LOG);
        text.lines().find(|l| l.starts_with(&format!("  {check}"))).unwrap().to_owned()
    };
    assert!(row(&pass(), "carried").contains(" ok "));
    assert!(row(&document, "carried").contains("BROKEN"), "{}", row(&document, "carried"));
    document.lstms[0].timesteps[50].local.keras_ratio.f = f64::NAN;
    assert!(row(&document, "local").contains("BROKEN"), "{}", row(&document, "local"));
    document.lstms[0].timesteps.clear();
    for check in ["local", "carried"] {
        assert!(row(&document, check).contains("BROKEN"), "nothing compared is not ok");
    }
}
