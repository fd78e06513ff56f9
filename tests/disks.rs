//! Full, read-only and changing disks, and outputs that are inputs: exit 2, one clear error, and nothing half done.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{gatewise, golden};
use tempfile::TempDir;

/// A shell in which file systems can be mounted that nobody else sees; `None`, said aloud, where the system forbids it.
fn shell_with_mounts(test: &str) -> Option<Command> {
    for options in ["-m", "-rm"] {
        let probe = ["unshare", options, "sh", "-c", "mount -t tmpfs tmpfs /mnt"];
        let output = Command::new(probe[0]).args(&probe[1..]).stderr(Stdio::null()).status();
        if output.is_ok_and(|status| status.success()) {
            let mut command = Command::new("unshare");
            command.args([options, "sh", "-c"]);
            return Some(command);
        }
    }
    eprintln!("SKIPPED {test}: this system lets nobody mount a file system in a namespace of its own");
    None
}

/// Runs a script with `$0` the program and `$1` the golden folder, in an empty folder; what it printed.
fn script(mut shell: Command, text: &str) -> String {
    let folder = TempDir::new().unwrap();
    let output = shell
        .args([text.as_ref(), Path::new(env!("CARGO_BIN_EXE_gatewise")).as_os_str(), golden("").as_os_str()])
        .current_dir(folder.path())
        .output()
        .expect("unshare runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let Some(shell) = shell_with_mounts("a_full_disk_leaves_the_old_file_and_nothing_else") else { return };
    let printed = script(
        shell,
        "mkdir d && mount -t tmpfs -o size=64k tmpfs d && echo old > d/out.h5 && echo old > d/report.html || exit 9
         \"$0\" convert \"$1/seed_names\" -o d/out.h5 2>&1; echo \"code $?\"
         \"$0\" verify \"$1/basic\" --sequences 4 --timesteps 200 --device cpu --report d/report.html 2>&1; echo \"code $?\"
         cat d/out.h5 d/report.html; ls -A d",
    );
    let lines: Vec<&str> = printed.lines().collect();
    let expected = [
        "error: writing d/out.h5",
        "  caused by: No space left on device (os error 28)",
        "code 2",
        "error: writing d/report.html",
        "  caused by: No space left on device (os error 28)",
        "code 2",
        "old",
        "old",
        "out.h5",
        "report.html",
    ];
    assert_eq!(lines, expected, "{printed}");
}

#[test]
fn a_read_only_folder_is_found_out_before_the_work() {
    let Some(shell) = shell_with_mounts("a_read_only_folder_is_found_out_before_the_work") else { return };
    let printed = script(
        shell,
        "mkdir d && mount -t tmpfs tmpfs d && echo old > d/out.h5 && mount -o remount,ro d || exit 9
         \"$0\" convert \"$1/basic\" -o d/out.h5 2>&1; echo \"code $?\"
         \"$0\" verify \"$1/basic\" --sequences 100000 --timesteps 10000 --device cpu --report d/r.html 2>&1; echo \"code $?\"
         cat d/out.h5; ls -A d",
    );
    let lines: Vec<&str> = printed.lines().collect();
    let expected = [
        "error: writing d/out.h5",
        "  caused by: Read-only file system (os error 30)",
        "code 2",
        "error: writing d/r.html",
        "  caused by: Read-only file system (os error 30)",
        "code 2",
        "old",
        "out.h5",
    ];
    // Not the errors' last lines, where the system's words end with the temporary name.
    let lines: Vec<String> = lines.iter().map(|l| l.split(" at path").next().unwrap_or(l).to_owned()).collect();
    assert_eq!(lines, expected, "{printed}");
}

/// A suite of one small case of `$1`, for a script; what is accepted of it, and files that are to stay as they are.
const A_SUITE: &str = "
    printf '[[case]]\nname = \"a\"\ncheckpoint = \"%s/basic\"\ndevice = \"cpu\"\nsequences = 4\ntimesteps = 6\n' \"$1\" > s.toml
    mkdir d && mount -t tmpfs -o size=64k tmpfs d || exit 9
    \"$0\" suite s.toml --quiet --baseline d/base --accept > /dev/null || exit 9
    cp d/base base; for f in certificate results junit summary; do echo old > d/$f; done";

/// Every way to write evidence, each followed by its exit code, with verifications of this size.
fn every_output(size: &str) -> String {
    let verify = format!("\"$0\" verify \"$1/basic\" --device cpu --quiet {size}");
    let commands = [
        format!("{verify} --certificate d/certificate"),
        // A FAIL, for there to be something to show.
        format!("{verify} --atol 0 --bundle d/bundle"),
        "\"$0\" suite s.toml --quiet --results d/results".to_owned(),
        "\"$0\" suite s.toml --quiet --junit d/junit".to_owned(),
        "\"$0\" suite s.toml --quiet --summary d/summary".to_owned(),
        "\"$0\" suite s.toml --quiet --baseline d/base --accept".to_owned(),
        // All or none: a baseline without the results that it was accepted with is half of a run.
        "\"$0\" suite s.toml --quiet --baseline base --accept --results d/results".to_owned(),
        "\"$0\" suite s.toml --quiet --state d/state".to_owned(),
    ];
    commands.map(|command| format!("{command} 2>&1; echo \"code $?\"\n")).concat()
}

/// What every command of [`every_output`] says where nothing can be written, and that all is as it was.
fn nothing_was_written(printed: &str, why: &str, state: &str, files: &[&str]) {
    let refused = |what: &str| [format!("error: {what}"), format!("  caused by: {why}"), "code 2".to_owned()];
    let outputs =
        ["certificate", "bundle", "results", "junit", "summary", "base", "results"].map(|f| format!("writing d/{f}"));
    let expected = outputs.iter().map(String::as_str).chain([state]).flat_map(refused);
    let expected: Vec<String> = expected.chain(files.iter().map(|f| (*f).to_owned())).collect();
    // Not the system's words to the end, where they may hold the temporary name.
    let lines: Vec<&str> = printed.lines().map(|l| l.split(" at path").next().unwrap_or(l)).collect();
    assert_eq!(lines, expected, "{printed}");
}

const AS_IT_WAS: &str = "cat d/certificate d/results d/junit d/summary; cmp base d/base && echo same; ls -A d; ls -A";

#[test]
fn a_full_disk_leaves_all_evidence_as_it_was() {
    let Some(shell) = shell_with_mounts("a_full_disk_leaves_all_evidence_as_it_was") else { return };
    let commands = every_output("--sequences 4 --timesteps 6");
    let printed = script(shell, &format!("{A_SUITE}; cat /dev/zero > d/full 2>/dev/null\n{commands}{AS_IT_WAS}"));
    nothing_was_written(
        &printed,
        "No space left on device (os error 28)",
        "writing the state file d/state",
        &[
            "old",
            "old",
            "old",
            "old",
            "same",
            "base",
            "certificate",
            "full",
            "junit",
            "results",
            "state",
            "summary",
            "base",
            "d",
            "s.toml",
        ],
    );
}

#[test]
fn a_read_only_folder_takes_no_evidence_and_that_is_found_out_before_the_work() {
    let name = "a_read_only_folder_takes_no_evidence_and_that_is_found_out_before_the_work";
    let Some(shell) = shell_with_mounts(name) else { return };
    let commands = every_output("--sequences 100000 --timesteps 10000 --memory 100GiB");
    let slow = "sed -i -e 's/^sequences.*/sequences = 100000/' -e 's/^timesteps.*/timesteps = 10000/' s.toml";
    let printed = script(shell, &format!("{A_SUITE}; {slow}; mount -o remount,ro d || exit 9\n{commands}{AS_IT_WAS}"));
    nothing_was_written(
        &printed,
        "Read-only file system (os error 30)",
        "opening the state file d/state",
        &[
            "old",
            "old",
            "old",
            "old",
            "same",
            "base",
            "certificate",
            "junit",
            "results",
            "summary",
            "base",
            "d",
            "s.toml",
        ],
    );
}

/// A checkpoint of one's own that may be written to.
fn copy(folder: &Path) -> Vec<PathBuf> {
    let names = ["model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta"];
    for name in names {
        std::fs::copy(golden("basic").join(name), folder.join(name)).unwrap();
    }
    names.map(|name| folder.join(name)).to_vec()
}

#[test]
fn no_output_may_be_an_input_through_any_link() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut inputs = copy(folder);
    let checkpoint = folder.join("model.ckpt");
    let candidate = folder.join("candidate.keras");
    std::fs::copy(golden("basic/keras2/model.keras"), &candidate).unwrap();
    let recorded = folder.join("io.npz");
    std::fs::copy(golden("basic/io.npz"), &recorded).unwrap();
    let map = folder.join("map.toml");
    std::fs::write(&map, "[[lstm]]\nname = \"rnn/basic_lstm_cell\"\n").unwrap();
    inputs.extend([candidate.clone(), recorded.clone(), map.clone()]);
    let before: Vec<Vec<u8>> = inputs.iter().map(|f| std::fs::read(f).unwrap()).collect();

    let mut refused = 0;
    for input in &inputs {
        let (hard, soft) = (folder.join("hard-link"), folder.join("soft-link"));
        std::fs::hard_link(input, &hard).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(input, &soft).unwrap();
        let roundabout = folder.join(".").join("..").join(folder.file_name().unwrap()).join(input.file_name().unwrap());
        for output in [input, &hard, &soft, &roundabout] {
            let name = |path: &Path| path.display().to_string();
            let verify = vec![
                "verify".to_owned(),
                name(&checkpoint),
                name(&candidate),
                "--inputs".to_owned(),
                name(&recorded),
                "--map".to_owned(),
                name(&map),
                "--report".to_owned(),
                name(output),
            ];
            let mut runs = vec![verify];
            if *input != recorded {
                let to: &[&str] = if *input == candidate { &["--into", "CANDIDATE"] } else { &["--to", "keras"] };
                let to = to.iter().map(|w| if *w == "CANDIDATE" { name(&candidate) } else { (*w).to_owned() });
                let fixed =
                    ["convert", &name(&checkpoint), "--map", &name(&map), "-o", &name(output)].map(str::to_owned);
                runs.push(fixed.into_iter().chain(to).collect());
            }
            for arguments in runs {
                let run = gatewise(&arguments);
                run.expect_code(2, &arguments.join(" "));
                assert!(run.stderr.contains("choose another file to write"), "{arguments:?}: {}", run.stderr);
                refused += 1;
            }
        }
        std::fs::remove_file(hard).unwrap();
        std::fs::remove_file(soft).unwrap();
    }
    assert!(refused >= 40, "{refused} runs");
    for (input, bytes) in inputs.iter().zip(before) {
        assert!(std::fs::read(input).unwrap() == bytes, "{} changed", input.display());
    }
    assert_no_temporary(folder);
}

fn assert_no_temporary(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with(".gatewise-"), "{name:?} was left behind");
    }
}

#[cfg(unix)]
#[test]
fn links_stay_links_and_what_is_no_file_stays_what_it_is() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let convert = |output: &Path| {
        let basic = golden("basic");
        gatewise([
            "convert".as_ref(),
            basic.as_os_str(),
            "--to".as_ref(),
            "npz".as_ref(),
            "-o".as_ref(),
            output.as_os_str(),
        ])
    };
    let (target, link) = (folder.join("target.npz"), folder.join("link.npz"));
    std::fs::write(&target, "old").unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    convert(&link).expect_code(0, "a link to a file");
    assert!(link.is_symlink() && std::fs::read(&target).unwrap().starts_with(b"PK"));
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o600, "who may read it stays the same");

    let (gone, pipe, sub) = (folder.join("gone"), folder.join("pipe"), folder.join("folder"));
    std::os::unix::fs::symlink(folder.join("nothing"), &gone).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::create_dir(&sub).unwrap();
    for (output, why) in
        [(&gone, "a symbolic link to nothing"), (&pipe, "a device or a pipe"), (&sub, "is a directory")]
    {
        let run = convert(output);
        run.expect_code(2, why);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
    assert!(gone.is_symlink() && pipe.metadata().unwrap().file_type().is_fifo() && sub.is_dir());
    // A pipe as an input would be waited for.
    let run = gatewise(["inspect".as_ref(), pipe.as_os_str()]);
    run.expect_code(2, "a pipe to inspect");
    assert_no_temporary(folder);
}

/// A frozen graph has no checksum: nothing but the look of the file tells that it changed. Whatever the moment, the
/// verdict is about the bytes whose digest is reported, or there is none.
#[test]
fn a_verdict_is_about_the_bytes_whose_digest_it_states() {
    let folder = TempDir::new().unwrap();
    let (source, candidate) = (folder.path().join("frozen.pb"), folder.path().join("candidate.keras"));
    let right = std::fs::read(golden("saved_model/frozen.pb")).unwrap();
    std::fs::write(&source, &right).unwrap();
    let run = gatewise(["convert".as_ref(), source.as_os_str(), "-o".as_ref(), candidate.as_os_str()]);
    run.expect_code(0, "the right conversion");
    // Another weight, in the longest run of bytes that are the kernel's.
    let mut wrong = right.clone();
    let weight = tf_checkpoint::Checkpoint::open(&source).unwrap();
    let kernel = weight.variables().iter().find(|v| v.name.ends_with("kernel")).unwrap();
    let bytes = weight.read(&kernel.name).unwrap().bytes().to_vec();
    let at = right.windows(bytes.len()).position(|w| w == bytes).expect("the kernel lies in the file as it is");
    wrong[at + 6] ^= 0x40;

    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewise"));
        command.args(["verify".as_ref(), source.as_os_str(), candidate.as_os_str()]);
        command.args(["--device", "cpu", "--sequences", "8", "--timesteps", "20", "--format", "json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let outcome = |child: std::process::Child| {
        let output = child.wait_with_output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let digest = document["inputs"]["checkpoint"][0]["sha256"].as_str().map(str::to_owned);
        (output.status.code().unwrap(), digest, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let begun = std::time::Instant::now();
    let (code, of_right, _) = outcome(verify());
    let (whole, of_right) = (begun.elapsed(), of_right.unwrap());
    assert_eq!(code, 0);
    std::fs::write(&source, &wrong).unwrap();
    let (code, of_wrong, _) = outcome(verify());
    let of_wrong = of_wrong.unwrap();
    assert_eq!(code, 1, "the changed weight fails");

    let mut refused = 0;
    let rounds: u32 = 24;
    for round in 0..rounds {
        std::fs::write(&source, &right).unwrap();
        let child = verify();
        std::thread::sleep(whole * round / rounds);
        std::fs::write(&source, &wrong).unwrap();
        match outcome(child) {
            (0, Some(digest), _) => assert_eq!(digest, of_right, "round {round}: a pass of other bytes"),
            (1, Some(digest), _) => assert_eq!(digest, of_wrong, "round {round}: a failure of other bytes"),
            (2, None, error) => {
                // Half written when it was read, it may be no graph at all.
                refused += usize::from(error.contains("the file changed while it was in use"));
            }
            other => panic!("round {round}: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(refused > 0, "no change came between reading and hashing in {rounds} rounds of {whole:?}");
}
