//! `action.yml`, `.pre-commit-hooks.yaml` and the workflows: they are YAML of the right form, and the steps of the action
//! and of a release do what they say, run here by bash as GitHub's runner would.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Run, golden};
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    golden("../..").canonicalize().unwrap()
}

fn yaml(name: &str) -> Yaml {
    let text = std::fs::read_to_string(root().join(name)).unwrap();
    let mut documents = YamlLoader::load_from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

/// A runner's folder: what it gives a step, and what the step leaves.
struct Runner {
    folder: TempDir,
    inputs: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl Runner {
    fn new(inputs: &[(&str, &str)]) -> Runner {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut variables = BTreeMap::new();
        for (name, file) in [("GITHUB_STEP_SUMMARY", "summary"), ("GITHUB_OUTPUT", "output"), ("GITHUB_PATH", "path")] {
            std::fs::write(at(file), "").unwrap();
            variables.insert(name.to_owned(), at(file));
        }
        std::fs::create_dir(at("temp")).unwrap();
        variables.insert("RUNNER_TEMP".to_owned(), at("temp"));
        let inputs = inputs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Runner { folder, inputs, variables }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    /// A program of that name in a folder at the front of PATH.
    fn program(&self, name: &str, script: &str) {
        std::fs::create_dir_all(self.at("programs")).unwrap();
        let path = self.at("programs").join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a step of the action, in the root of the repository.
    fn step(&self, name: &str) -> Run {
        let action = yaml("action.yml");
        self.run(&action["runs"]["steps"], name, &root(), |value| {
            let input = value.strip_prefix("${{ inputs.")?.strip_suffix(" }}")?;
            let declared = &action["inputs"][input];
            assert!(!declared.is_badvalue(), "no input {input}");
            let given = self.inputs.get(input).map(String::as_str);
            Some(given.or(declared["default"].as_str()).unwrap_or_default().to_owned())
        })
    }

    /// Runs a step of a job of the release of this tag.
    fn release(&self, job: &str, name: &str, folder: &Path, tag: &str) -> Run {
        let steps = &yaml(".github/workflows/release.yml")["jobs"][job]["steps"];
        self.run(steps, name, folder, |value| (value == "${{ github.ref_name }}").then(|| tag.to_owned()))
    }

    /// Runs a step with the shell and options that GitHub takes for `shell: bash`. `value` is what stands for an
    /// expression in its variables.
    fn run(&self, steps: &Yaml, name: &str, folder: &Path, value: impl Fn(&str) -> Option<String>) -> Run {
        let steps = steps.as_vec().expect("steps");
        let step = steps.iter().find(|s| s["name"].as_str() == Some(name)).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(step["shell"].as_str(), Some("bash"));
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "inputs come by variables: in the script they would be run");
        std::fs::write(self.at("step.sh"), script).unwrap();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]).arg(self.at("step.sh")).current_dir(folder);
        for (variable, expression) in step["env"].as_hash().into_iter().flatten() {
            let expression = expression.as_str().unwrap();
            let value = value(expression).unwrap_or_else(|| panic!("{expression}"));
            command.env(variable.as_str().unwrap(), value);
        }
        let binaries = Path::new(env!("CARGO_BIN_EXE_gatewise")).parent().unwrap();
        let folders = [self.at("programs"), binaries.to_owned()];
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).unwrap();
        let output = command.envs(&self.variables).env("PATH", path).output().expect("bash runs");
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

const RIGHT: &str = "[defaults]\ndevice = \"cpu\"\nsequences = 4\ntimesteps = 6\n\n[[case]]\nname = \"right\"\n\
                     checkpoint = \"GOLDEN/basic\"\ncandidate = \"GOLDEN/basic/keras2/model.keras\"\n";

fn suite(folder: &Path, more: &str) -> String {
    let golden = golden("").display().to_string();
    let file = folder.join("a suite.toml");
    std::fs::write(&file, format!("{RIGHT}{more}").replace("GOLDEN", golden.trim_end_matches('/'))).unwrap();
    file.display().to_string()
}

#[test]
fn the_action_runs_a_suite_and_tells_the_runner_what_came_out() {
    let folder = TempDir::new().unwrap();
    let results = folder.path().join("results.json").display().to_string();
    let junit = folder.path().join("junit.xml").display().to_string();
    let file = suite(folder.path(), "");
    let inputs =
        [("suite", &*file), ("results", &*results), ("junit", &*junit), ("arguments", "--jobs 1  --shard 1/1")];
    let runner = Runner::new(&inputs);
    let run = runner.step("Run the suite");
    run.expect_code(0, "a right suite");
    assert!(!run.stderr.contains("::error"), "{}", run.stderr);
    assert!(
        runner.read("summary").starts_with("## gatewise: its case ended as expected"),
        "{}",
        runner.read("summary")
    );
    assert_eq!(runner.read("output"), format!("results={results}\ncode=0\n"));
    assert!(std::fs::read_to_string(&junit).unwrap().contains("<testsuite "));
    assert!(std::fs::read_to_string(&results).unwrap().contains("gatewise.suite-shard/1"));

    let file = suite(folder.path(), "expect = \"fail\"\n");
    let runner = Runner::new(&[("suite", &file), ("results", &results)]);
    let run = runner.step("Run the suite");
    run.expect_code(1, "a suite that is not as expected");
    assert!(
        run.stderr.contains(&format!("::error file={file},line=6,title=right::expected fail, found pass")),
        "{}",
        run.stderr
    );
    assert!(runner.read("summary").contains("### Not as expected"));
    assert!(runner.read("output").ends_with("code=1\n"));

    // A bad suite has no summary, and the one of the step before is not shown again.
    std::fs::write(runner.at("summary"), "").unwrap();
    std::fs::write(&file, "[[cases]]\n").unwrap();
    runner.step("Run the suite").expect_code(2, "a bad suite");
    assert_eq!(runner.read("summary"), "");
}

/// The machines that a release is built on, and what `uname -m` and `uname -s` say there.
const MACHINES: [(&str, &str, &str); 4] = [
    ("ubuntu-22.04", "x86_64", "Linux"),
    ("ubuntu-22.04-arm", "aarch64", "Linux"),
    ("macos-15", "arm64", "Darwin"),
    ("macos-15-intel", "x86_64", "Darwin"),
];
const ACTION: &str = "/home/runner/work/_actions/someone/gatewise/v9.9.9";

/// A program that says which version it is and writes a manual page.
const PROGRAM: &str = "#!/bin/sh\n[ \"$1\" = man ] && exec touch \"$2/gatewise.1\"\necho gatewise 9.9.9\n";

/// A runner on a machine of this kind, which reaches a server through files.
fn runner_on(machine: &str, system: &str, server: &Path, version: &str) -> Runner {
    let mut runner = Runner::new(&[("version", version)]);
    let (server, target) = (format!("file://{}", server.display()), runner.at("target").display().to_string());
    for (name, value) in [
        ("GITHUB_ACTION_PATH", ACTION),
        ("GITHUB_SERVER_URL", &*server),
        ("GITHUB_REPOSITORY", "a/b"),
        ("CARGO_TARGET_DIR", &*target),
    ] {
        runner.variables.insert(name.to_owned(), value.to_owned());
    }
    runner.program(
        "uname",
        &format!("#!/bin/sh\ncase $1 in -m) echo {machine} ;; -s) echo {system} ;; *) exit 9 ;; esac\n"),
    );
    // A cargo that says how it was called, and leaves a program where the real one does.
    runner.program(
        "cargo",
        "#!/bin/bash\necho \"cargo $*\"\nmkdir -p \"$CARGO_TARGET_DIR/release\"\n\
         printf '#!/bin/sh\\necho gatewise 9.9.9\\n' > \"$CARGO_TARGET_DIR/release/gatewise\"\n\
         chmod +x \"$CARGO_TARGET_DIR/release/gatewise\"\n",
    );
    runner
}

/// A server with a release that the workflow's own steps made, for the machines given.
fn released(machines: &[(&str, &str, &str)]) -> (TempDir, PathBuf) {
    let server = TempDir::new().unwrap();
    let release = server.path().join("someone/gatewise/releases/download/v9.9.9");
    std::fs::create_dir_all(&release).unwrap();
    for (_, machine, system) in machines {
        let runner = runner_on(machine, system, server.path(), "");
        let checkout = runner.at("checkout");
        std::fs::create_dir_all(checkout.join("target/release")).unwrap();
        for file in ["README.md", "CHANGELOG.md", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT"] {
            std::fs::copy(root().join(file), checkout.join(file)).unwrap();
        }
        runner.program("../checkout/target/release/gatewise", PROGRAM);
        let wrong = runner.release("build", "Pack", &checkout, "v9.9.8");
        assert!(wrong.code != 0 && wrong.stdout.contains("the tag is v9.9.8, and the program says gatewise 9.9.9"));
        runner.release("build", "Pack", &checkout, "v9.9.9").expect_code(0, "pack");
        for archive in std::fs::read_dir(checkout.join("archives")).unwrap() {
            let archive = archive.unwrap();
            std::fs::copy(archive.path(), release.join(archive.file_name())).unwrap();
        }
    }
    // The step works in the folder that artifacts are downloaded to.
    let all = TempDir::new().unwrap();
    std::os::unix::fs::symlink(&release, all.path().join("archives")).unwrap();
    runner_on("x86_64", "Linux", server.path(), "")
        .release("publish", "Sum", all.path(), "v9.9.9")
        .expect_code(0, "the sums");
    (server, release)
}

fn curl_or_skip(test: &str) -> bool {
    let there = Command::new("curl").arg("--version").output().is_ok();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "no curl on PATH, and CI is set");
        eprintln!("SKIPPED {test}: no curl on PATH; .ci/setup installs it");
    }
    there
}

/// What the release workflow packs is what the action fetches, on each kind of machine.
#[test]
fn the_action_installs_what_a_release_holds() {
    if !curl_or_skip("the_action_installs_what_a_release_holds") {
        return;
    }
    let workflow = yaml(".github/workflows/release.yml");
    let runners = workflow["jobs"]["build"]["strategy"]["matrix"]["runner"].as_vec().unwrap();
    assert_eq!(runners.iter().map(|r| r.as_str().unwrap()).collect::<Vec<_>>(), MACHINES.map(|(runner, ..)| runner));
    let (server, release) = released(&MACHINES);
    let sums = std::fs::read_to_string(release.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), MACHINES.len(), "{sums}");
    for (_, machine, system) in MACHINES {
        let runner = runner_on(machine, system, server.path(), "v9.9.9");
        let run = runner.step("Install gatewise");
        run.expect_code(0, system);
        let archive = format!("gatewise-v9.9.9-{machine}-{}.tar.gz", system.to_lowercase());
        assert_eq!(run.stdout, format!("{archive}: OK\ngatewise 9.9.9\n"));
        assert_eq!(runner.read("path").trim(), runner.at("temp/gatewise/bin").display().to_string());
        assert!(sums.contains(&archive));
    }
}

#[test]
fn the_action_installs_nothing_that_is_not_vouched_for() {
    if !curl_or_skip("the_action_installs_nothing_that_is_not_vouched_for") {
        return;
    }
    let (server, release) = released(&MACHINES[..1]);
    let nothing = |version: &str, why: &str| {
        let runner = runner_on("x86_64", "Linux", server.path(), version);
        let run = runner.step("Install gatewise");
        assert!(run.code != 0 && runner.read("path").is_empty(), "{why}: {}", run.stdout);
        (runner, run)
    };
    // A version that does not exist is not some other version, built from source.
    let (_, run) = nothing("v9.9.7", "no such release");
    assert!(!run.stdout.contains("cargo") && run.stderr.contains("curl"), "{}{}", run.stdout, run.stderr);

    let archive = release.join("gatewise-v9.9.9-x86_64-linux.tar.gz");
    let right = std::fs::read(&archive).unwrap();
    let mut wrong = right.clone();
    wrong[right.len() / 2] ^= 1;
    std::fs::write(&archive, wrong).unwrap();
    let (runner, run) = nothing("v9.9.9", "another archive than was summed");
    assert!(run.stdout.contains("FAILED") && !runner.at("temp/gatewise/bin/gatewise").exists(), "{}", run.stdout);
    std::fs::remove_file(&archive).unwrap();
    nothing("v9.9.9", "no archive, though it was summed");
    std::fs::write(&archive, right).unwrap();
    runner_on("x86_64", "Linux", server.path(), "v9.9.9").step("Install gatewise").expect_code(0, "put right");
}

/// A machine that a release has nothing for, and no release asked for: the action's own source is built, and is of the
/// version that was asked for.
#[test]
fn the_action_builds_its_own_source_where_there_is_no_archive() {
    if !curl_or_skip("the_action_builds_its_own_source_where_there_is_no_archive") {
        return;
    }
    let (server, release) = released(&MACHINES[..1]);
    let built = format!("cargo build --release --locked --package gatewise --manifest-path {ACTION}/Cargo.toml\n");
    let run = runner_on("riscv64", "Linux", server.path(), "v9.9.9").step("Install gatewise");
    run.expect_code(0, "a machine without an archive");
    assert!(run.stdout.starts_with("::notice::gatewise v9.9.9 has no gatewise-v9.9.9-riscv64-linux.tar.gz"));
    assert!(run.stdout.ends_with(&format!("{built}gatewise 9.9.9\n")), "{}", run.stdout);
    let run = runner_on("x86_64", "Linux", server.path(), "").step("Install gatewise");
    run.expect_code(0, "no version");
    assert_eq!(run.stdout, format!("{built}gatewise 9.9.9\n"));

    // The source at hand is of another version.
    std::fs::rename(&release, release.with_file_name("v9.9.8")).unwrap();
    let runner = runner_on("riscv64", "Linux", server.path(), "v9.9.8");
    let run = runner.step("Install gatewise");
    assert!(run.code != 0 && runner.read("path").is_empty(), "{}", run.stdout);
    assert!(run.stdout.contains("::error::asked for gatewise v9.9.8, found gatewise 9.9.9"), "{}", run.stdout);
    assert!(root().join("Cargo.toml").is_file(), "where the action's manifest is");
}

/// What runs on every change is what anybody runs, and files that come from elsewhere are of a version.
#[test]
fn the_workflows_run_the_checks_of_the_repository() {
    let mut uses = 0;
    for name in ["ci", "release"] {
        let workflow = yaml(&format!(".github/workflows/{name}.yml"));
        assert_eq!(workflow["permissions"]["contents"].as_str(), Some("read"), "{name}: no more than it needs");
        for (_, job) in workflow["jobs"].as_hash().unwrap() {
            for step in job["steps"].as_vec().unwrap() {
                if let Some(action) = step["uses"].as_str() {
                    assert!(action.starts_with("actions/") && action.contains("@v"), "{action}");
                    uses += 1;
                } else {
                    assert!(!step["run"].as_str().unwrap().contains("${{"), "{name}: {step:?}");
                }
            }
        }
    }
    assert!(uses >= 4, "{uses}");
    let ci = yaml(".github/workflows/ci.yml");
    let runs: Vec<_> = ci["jobs"]["run"]["steps"].as_vec().unwrap().iter().filter_map(|s| s["run"].as_str()).collect();
    assert!(runs.contains(&".ci/run") && root().join(".ci/run").is_file(), "{runs:?}");
}

#[test]
fn the_action_and_the_hook_have_the_form_that_their_readers_ask_for() {
    let action = yaml("action.yml");
    assert_eq!(action["runs"]["using"].as_str(), Some("composite"));
    for key in ["name", "description"] {
        assert!(action[key].as_str().is_some(), "{key}");
    }
    for (name, input) in action["inputs"].as_hash().unwrap() {
        assert!(input["description"].as_str().is_some(), "{name:?}");
        let required = input["required"].as_bool() == Some(true);
        assert!(required != input["default"].as_str().is_some(), "{name:?} is required or has a default");
    }
    let hooks = yaml(".pre-commit-hooks.yaml");
    let [hook] = &hooks.as_vec().unwrap()[..] else { panic!("one hook") };
    assert_eq!(hook["id"].as_str(), Some("gatewise-suite"));
    assert_eq!((hook["language"].as_str(), hook["pass_filenames"].as_bool()), (Some("system"), Some(false)));
    // What the hook runs, with its own arguments, is a command line that gatewise reads.
    let arguments = hook["args"].as_vec().unwrap().iter().map(|a| a.as_str().unwrap());
    let words: Vec<&str> = hook["entry"].as_str().unwrap().split(' ').skip(1).chain(arguments).collect();
    let run = common::gatewise(words);
    run.expect_code(2, "there is no such suite here");
    assert!(run.stderr.contains("reading gatewise.suite.toml"), "{}", run.stderr);
}
