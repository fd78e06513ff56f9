//! Completions and manual pages, made by the binary, as shells and `man` take them.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::gatewise;
use tempfile::TempDir;

/// Feeds `text` to a program: whether it accepts it, and what it says; `None`, said aloud, if it is not there.
fn accepts(program: &str, arguments: &[&str], text: &str) -> Option<(bool, String)> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: no {program} on PATH");
        return None;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said))
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = gatewise(["completions", shell]);
        run.expect_code(0, shell);
        for word in ["verify", "convert", "inspect", "timesteps", "report"] {
            assert!(run.stdout.contains(word), "{shell}: no {word}");
        }
        let check: &[&str] = match shell {
            "bash" | "zsh" => &["-n"],
            "fish" => &["--no-execute"],
            _ => continue,
        };
        if let Some((accepted, said)) = accepts(shell, check, &run.stdout) {
            assert!(accepted, "{shell}: {said}");
        }
    }
    gatewise(["completions", "tcsh"]).expect_code(2, "a shell there is no script for");
}

#[test]
fn bash_completes_commands_and_options() {
    let script = gatewise(["completions", "bash"]).stdout;
    let ask = |line: &str, word: usize| {
        let words: Vec<&str> = line.split(' ').collect();
        let program = format!(
            "{script}\nCOMP_WORDS=({line}); COMP_CWORD={word}; _gatewise gatewise '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words[word],
            words[word - 1]
        );
        accepts("bash", &[], &program)
    };
    let Some((_, commands)) = ask("gatewise ver", 1) else { return };
    assert_eq!(commands.trim(), "verify");
    let (_, options) = ask("gatewise verify --time", 2).unwrap();
    assert_eq!(options.trim(), "--timesteps");
}

#[test]
fn manual_pages_render() {
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man1");
    gatewise(["man".as_ref(), pages.as_os_str()]).expect_code(0, "man DIR");
    let mut names: Vec<String> =
        std::fs::read_dir(&pages).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in ["gatewise.1", "gatewise-convert.1", "gatewise-inspect.1", "gatewise-verify.1"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    assert_eq!(gatewise(["man"]).stdout, std::fs::read_to_string(pages.join("gatewise.1")).unwrap());
    for name in names {
        let page = std::fs::read_to_string(pages.join(&name)).unwrap();
        let Some((accepted, text)) = accepts("groff", &["-man", "-Tascii", "-P-bcou", "-ww"], &page) else { return };
        assert!(accepted && text.contains("SYNOPSIS") && text.contains("gatewise"), "{name}: {text}");
        assert!(!text.contains("warning"), "{name}: {text}");
    }
}
