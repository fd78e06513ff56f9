//! Ctrl-C and kill -9 at random moments: afterwards there is the old file or the new one, whole, and after Ctrl-C no
//! temporary. `GATEWISE_KILLS=500` kills as often; the default is a short version.
#![cfg(unix)]

mod common;

use std::ffi::OsString;
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

/// One command whose files are overwritten again and again.
struct Case {
    name: &'static str,
    arguments: Vec<OsString>,
    /// Files that count together.
    outputs: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct Tally {
    old: u32,
    new: u32,
    mixed: u32,
    strays: u32,
}

/// Kills a command `times` times. What it leaves is the old files or the new ones; a kill -9 between the renames of
/// files that count together may leave some of both, which the checksums of the format tell.
fn kill_at_random(case: &Case, folder: &Path, times: u32, moments: &mut Moments) -> Tally {
    let run = || {
        let begun = Instant::now();
        assert!(start(&case.arguments).wait().unwrap().success(), "{}", case.name);
        begun.elapsed()
    };
    run();
    let read = || case.outputs.iter().map(|f| std::fs::read(f).unwrap()).collect::<Vec<_>>();
    let new = read();
    let old: Vec<Vec<u8>> = case.outputs.iter().map(|f| format!("old {}", f.display()).into_bytes()).collect();
    let restore = || case.outputs.iter().zip(&old).for_each(|(f, bytes)| std::fs::write(f, bytes).unwrap());
    restore();
    let whole = run().max(Duration::from_millis(5));
    let mut tally = Tally::default();
    for round in 0..times {
        restore();
        let gently = round % 2 == 0;
        let mut child = start(&case.arguments);
        std::thread::sleep(whole.mul_f64(moments.next() * 1.1));
        signal(&child, if gently { "INT" } else { "KILL" });
        let status = child.wait().unwrap();
        let what = format!("{}, round {round}, {status}", case.name);
        let found = read();
        let strays = strays(folder);
        if gently {
            // Before `main` a signal still ends the program as it ends any.
            let by_signal = std::os::unix::process::ExitStatusExt::signal(&status) == Some(2);
            assert!(matches!(status.code(), Some(0 | 130)) || by_signal, "{what}");
            assert!(found == old || found == new, "{what}: neither the old files nor the new ones");
            assert!(strays.is_empty(), "{what}: {strays:?}");
            assert!(status.code() != Some(0) || found == new, "{what}");
        }
        for (file, (found, (old, new))) in case.outputs.iter().zip(found.iter().zip(old.iter().zip(&new))) {
            assert!(found == old || found == new, "{what}: {} is {} bytes of neither", file.display(), found.len());
        }
        match () {
            () if found == old => tally.old += 1,
            () if found == new => tally.new += 1,
            () => tally.mixed += 1,
        }
        tally.strays += u32::from(!strays.is_empty());
        strays.iter().for_each(|f| std::fs::remove_file(f).unwrap());
    }
    tally
}

fn strays(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    files.filter(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".gatewise-"))).collect()
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
    let cases = [
        Case { name: "convert", arguments: words(&[&"convert", &large, &"-o", &model]), outputs: vec![model.clone()] },
        Case {
            name: "convert to two files",
            arguments: words(&[&"convert", &large, &"--to", &"tf2-checkpoint", &"-o", &prefix]),
            outputs: pair,
        },
        Case {
            name: "verify --report",
            arguments: words(&[
                &"verify",
                &golden("basic"),
                &"--device",
                &"cpu",
                &"--sequences",
                &"4",
                &"--timesteps",
                &"30",
                &"--report",
                &report,
            ]),
            outputs: vec![report.clone()],
        },
    ];
    let mut moments = Moments(42);
    let total = kills();
    let mut all = Tally::default();
    for (index, case) in cases.iter().enumerate() {
        let times = total / 3 + u32::from((index as u32) < total % 3);
        let tally = kill_at_random(case, folder, times, &mut moments);
        eprintln!("{}: {times} kills left {tally:?}", case.name);
        all.old += tally.old;
        all.new += tally.new;
        all.mixed += tally.mixed;
    }
    assert_eq!(all.old + all.new + all.mixed, total);
    assert!(all.old > 0, "every command was done before it was killed");
}

/// What was started to ignore a signal, as by nohup, goes on ignoring it.
#[test]
fn an_ignored_signal_stays_ignored() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("report.html");
    let child = Command::new("sh")
        .args(["-c", "trap '' INT; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_gatewise"), "verify"])
        .arg(golden("basic"))
        .args(["--device", "cpu", "--sequences", "16", "--timesteps", "100", "--report"])
        .arg(&output)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = child;
    while child.try_wait().unwrap().is_none() {
        signal(&child, "INT");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(output.is_file());
}

#[test]
fn an_interrupted_run_says_so_by_its_exit_code() {
    // Long enough to be interrupted at leisure; whatever it is doing by then.
    let mut child = start(&[
        "verify".into(),
        golden("seed_names").into(),
        "--device".into(),
        "cpu".into(),
        "--timesteps".into(),
        "2000".into(),
    ]);
    std::thread::sleep(Duration::from_millis(400));
    signal(&child, "INT");
    let begun = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(20));
    let mut child = start(&[
        "verify".into(),
        golden("seed_names").into(),
        "--device".into(),
        "cpu".into(),
        "--timesteps".into(),
        "2000".into(),
    ]);
    std::thread::sleep(Duration::from_millis(400));
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let run = gatewise(["--help"]);
    let words = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("130 interrupted"), "{words}");
}
