//! Ctrl-C and kill -9 at random moments: afterwards there is the old file or the new one, whole, and after Ctrl-C no
//! temporary. `GATEWISE_KILLS=500` kills as often; the default is a short version.
#![cfg(unix)]

mod common;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{gatewise, golden};
use ndarray::ArrayD;
use tempfile::TempDir;

fn kills() -> u32 {
    std::env::var("GATEWISE_KILLS").ok().map_or(50, |text| text.parse().expect("GATEWISE_KILLS is a number"))
}

/// The same moments in every run: numbers from 0 to 1.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> f64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn start(arguments: &[OsString]) -> Child {
    // Whoever runs the tests may have started them to ignore signals.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", env!("CARGO_BIN_EXE_gatewise")]);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("env of coreutils runs")
}

fn signal(child: &Child, name: &str) {
    // A child that has ended and was not waited for can still be sent a signal.
    let script = format!("kill -{name} {}", child.id());
    let kill = Command::new("sh").args(["-c", &script]).status().expect("sh runs");
    assert!(kill.success());
}

/// One command whose files are written again and again.
struct Case {
    name: &'static str,
    arguments: Vec<OsString>,
    /// How it ends undisturbed.
    code: i32,
    /// Files that count together.
    outputs: Vec<PathBuf>,
    /// A folder that holds them and that the command makes, in place of files that it replaces.
    makes: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Tally {
    old: u32,
    new: u32,
    mixed: u32,
    strays: u32,
}

/// Kills a command `times` times, with a signal it can tidy up after and with one it cannot, at any moment and while it
/// writes. What it leaves is the old files or the new ones; a kill -9 between the renames of files that count together
/// may leave some of both, which the checksums of the format tell.
fn kill_at_random(case: &Case, folder: &Path, times: u32, moments: &mut Moments) -> Tally {
    let run = || {
        let begun = Instant::now();
        assert_eq!(start(&case.arguments).wait().unwrap().code(), Some(case.code), "{}", case.name);
        begun.elapsed()
    };
    let read = || case.outputs.iter().map(|f| std::fs::read(f).ok()).collect::<Vec<_>>();
    let text = |f: &PathBuf| case.makes.is_none().then(|| format!("old {}", f.display()).into_bytes());
    let old: Vec<Option<Vec<u8>>> = case.outputs.iter().map(text).collect();
    let restore = || {
        if let Some(made) = case.makes.as_ref().filter(|made| made.exists()) {
            std::fs::remove_dir_all(made).unwrap();
        }
        case.outputs.iter().zip(&old).for_each(|(f, bytes)| {
            if let Some(bytes) = bytes {
                std::fs::write(f, bytes).unwrap();
            }
        });
    };
    restore();
    let whole = run().max(Duration::from_millis(5));
    let new = read();
    assert!(new.iter().all(Option::is_some), "{}", case.name);
    let mut tally = Tally::default();
    for round in 0..times {
        restore();
        let (gently, while_writing) = (round % 2 == 0, round % 4 >= 2);
        let mut child = start(&case.arguments);
        if while_writing {
            while child.try_wait().unwrap().is_none() && !strays(folder).iter().any(|file| holds_something(file)) {}
        } else {
            std::thread::sleep(whole.mul_f64(moments.next() * 1.1));
        }
        // One that has ended, and was seen to, has a number that may be another's by now.
        match child.try_wait().unwrap() {
            Some(_) => {}
            None if gently => signal(&child, "INT"),
            None => child.kill().unwrap(),
        }
        let status = child.wait().unwrap();
        let what = format!("{}, round {round}, {status}", case.name);
        let found = read();
        let strays = strays(folder);
        if gently {
            // Before `main` a signal still ends the program as it ends any.
            let by_signal = std::os::unix::process::ExitStatusExt::signal(&status) == Some(2);
            assert!(status.code() == Some(case.code) || status.code() == Some(130) || by_signal, "{what}");
            assert!(found == old || found == new, "{what}: neither the old files nor the new ones");
            assert!(strays.is_empty(), "{what}: {strays:?}");
            assert!(status.code() != Some(case.code) || found == new, "{what}");
        }
        for (file, (found, (old, new))) in case.outputs.iter().zip(found.iter().zip(old.iter().zip(&new))) {
            assert!(found == old || found == new, "{what}: {} is neither", file.display());
        }
        if let Some(made) = &case.makes {
            assert_eq!(made.exists(), found == new, "{what}: a folder without what belongs in it");
        }
        match () {
            () if found == old => tally.old += 1,
            () if found == new => tally.new += 1,
            () => tally.mixed += 1,
        }
        tally.strays += u32::from(!strays.is_empty());
        for stray in strays {
            if stray.is_dir() { std::fs::remove_dir_all(stray) } else { std::fs::remove_file(stray) }.unwrap();
        }
    }
    tally
}

fn strays(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().filter_map(|e| Some(e.ok()?.path()));
    files.filter(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".gatewise-"))).collect()
}

/// Whether a temporary file or folder is more than the trial that there is room for it.
fn holds_something(stray: &Path) -> bool {
    match std::fs::read_dir(stray) {
        Ok(mut inside) => inside.next().is_some(),
        Err(_) => stray.metadata().is_ok_and(|m| m.len() > 0),
    }
}

/// An LSTM large enough that writing it takes a while.
fn large(folder: &Path) -> PathBuf {
    let path = folder.join("large.npz");
    let array = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| ((i * 7919) % 1013) as f32 / 4096.0 - 0.1).collect();
        ArrayD::from_shape_vec(shape.to_vec(), values).unwrap()
    };
    let arrays = [("kernel", array(&[64, 2048])), ("recurrent_kernel", array(&[512, 2048])), ("bias", array(&[2048]))];
    golden::write_npz(&path, &arrays);
    path
}

#[test]
fn files_are_old_or_new_whenever_the_program_is_killed() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let large = large(folder);
    let words = |words: &[&dyn AsRef<std::ffi::OsStr>]| words.iter().map(|w| w.as_ref().to_owned()).collect::<Vec<_>>();
    let (model, prefix, report) = (folder.join("out.h5"), folder.join("tf2"), folder.join("report.html"));
    let pair = [".data-00000-of-00001", ".index"].map(|suffix| folder.join(format!("tf2{suffix}"))).to_vec();
    let basic = golden("basic");
    let suite = folder.join("suite.toml");
    let one_case = "device = \"cpu\"\nsequences = 4\ntimesteps = 6\n";
    std::fs::write(&suite, format!("[[case]]\nname = \"a\"\ncheckpoint = {basic:?}\n{one_case}")).unwrap();
    let (certificate, bundle) = (folder.join("certificate.json"), folder.join("bundle"));
    let [results, junit, summary] = ["results", "junit", "summary"].map(|name| folder.join(name));
    let verify = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let small: &[&dyn AsRef<std::ffi::OsStr>] =
            &[&"verify", &basic, &"--device", &"cpu", &"--sequences", &"4", &"--timesteps", &"30"];
        words(&[small, more].concat())
    };
    let case = |name, arguments, outputs| Case { name, arguments, code: 0, outputs, makes: None };
    let cases = [
        case("convert", words(&[&"convert", &large, &"-o", &model]), vec![model.clone()]),
        case("convert to two files", words(&[&"convert", &large, &"--to", &"tf2-checkpoint", &"-o", &prefix]), pair),
        case(
            "verify --report --certificate",
            verify(&[&"--report", &report, &"--certificate", &certificate]),
            vec![report.clone(), certificate.clone()],
        ),
        case(
            "suite",
            words(&[&"suite", &suite, &"--results", &results, &"--junit", &junit, &"--summary", &summary]),
            vec![results.clone(), summary.clone()],
        ),
        Case {
            name: "verify --bundle",
            arguments: verify(&[&"--atol", &"0", &"--bundle", &bundle]),
            code: 1,
            outputs: vec![bundle.join("bundle.json")],
            makes: Some(bundle.clone()),
        },
    ];
    let mut moments = Moments(42);
    let total = kills();
    let mut all = Tally::default();
    for (index, case) in cases.iter().enumerate() {
        let n = cases.len() as u32;
        let times = total / n + u32::from((index as u32) < total % n);
        let tally = kill_at_random(case, folder, times, &mut moments);
        eprintln!("{}: {times} kills left {tally:?}", case.name);
        all.old += tally.old;
        all.new += tally.new;
        all.mixed += tally.mixed;
        all.strays += tally.strays;
    }
    assert_eq!(all.old + all.new + all.mixed, total);
    assert!(all.old > 0, "every command was done before it was killed");
    assert!(all.strays > 0, "no kill -9 came while a file was being written");
}

/// What was started to ignore a signal, as by nohup, goes on ignoring it.
#[test]
fn an_ignored_signal_stays_ignored() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("report.html");
    // The shell says when it ignores the signal: one that comes before would end the shell.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' INT; echo ignored; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_gatewise"), "verify"])
        .arg(golden("basic"))
        .args(["--device", "cpu", "--sequences", "16", "--timesteps", "100", "--report"])
        .arg(&output)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    stdout.read_line(&mut said).unwrap();
    assert_eq!(said, "ignored\n");
    while child.try_wait().unwrap().is_none() {
        signal(&child, "INT");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(output.is_file());
}

#[test]
fn an_interrupted_run_says_so_by_its_exit_code() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        // Long enough to be interrupted at leisure; whatever it is doing by then.
        let words = ["--device", "cpu", "--timesteps", "2000"].map(OsString::from);
        let mut child = start(&[&["verify".into(), golden("seed_names").into()][..], &words[..]].concat());
        std::thread::sleep(Duration::from_millis(400));
        signal(&child, name);
        let begun = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(begun.elapsed() < Duration::from_secs(20), "{name}");
    }
    let run = gatewise(["--help"]);
    let words = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("130 interrupted"), "{words}");
}
