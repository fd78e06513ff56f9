//! Prints how much memory `gatewise inspect` took at most, for every hostile file and for large right ones:
//!
//!     cargo run --release --manifest-path fuzz/memory/Cargo.toml -- target/release/gatewise

use std::path::Path;
use std::process::{Command, Stdio};

use hostile::{large, malice};
use nix::sys::resource::{UsageWho, getrusage};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        // The system knows the largest child only, so that each measurement takes a process.
        [flag, program, path] if flag == "--one" => one(program, path),
        [program] => table(Path::new(program)),
        _ => panic!("usage: memory PATH/TO/gatewise"),
    }
}

fn one(program: &str, path: &str) {
    let status = Command::new(program).args(["inspect", path]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let code = status.expect("the program runs").code().map_or("killed".to_owned(), |c| c.to_string());
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the usage of children").max_rss();
    println!("{code} {peak}");
}

fn table(program: &Path) {
    println!("| file | bytes | exit code | peak, MiB | allowed, MiB |\n|---|---|---|---|---|");
    let mut exceeded = vec![];
    let mut row = |name: &str, size: u64, path: &Path| {
        let own = std::env::current_exe().expect("this program");
        let run = Command::new(own).arg("--one").arg(program).arg(path).output().expect("it runs again");
        let printed = String::from_utf8(run.stdout).expect("text");
        let (code, peak) = printed.trim().split_once(' ').expect("two words");
        let peak: u64 = peak.parse::<u64>().expect("KiB").div_ceil(1024);
        let allowed = (2 * size + (256 << 20)) >> 20;
        println!("| {name} | {size} | {code} | {peak} | {allowed} |");
        if peak > allowed {
            exceeded.push(name.to_owned());
        }
    };
    for case in malice::right().iter().chain(&malice::cases()) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = case.write(folder.path());
        row(case.name, case.size(), &path);
    }
    for name in large::NAMES {
        let folder = tempfile::tempdir().expect("a folder");
        let path = large::write(name, folder.path());
        let sizes = std::fs::read_dir(folder.path()).expect("a folder").map(|e| e.expect("a file").metadata());
        row(name, sizes.map(|m| m.expect("a file").len()).sum(), &path);
    }
    assert!(exceeded.is_empty(), "beyond what is allowed: {exceeded:?}");
}
