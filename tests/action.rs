//! `action.yml` and `.pre-commit-hooks.yaml`: they are YAML of the right form, and the action's steps do what they say,
//! run here by bash as GitHub's runner would.

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

    /// Runs a step of the action with the shell and options that GitHub takes for `shell: bash`.
    fn step(&self, name: &str) -> Run {
        let action = yaml("action.yml");
        let steps = action["runs"]["steps"].as_vec().unwrap();
        let step = steps.iter().find(|s| s["name"].as_str() == Some(name)).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(step["shell"].as_str(), Some("bash"));
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "inputs come by variables: in the script they would be run");
        std::fs::write(self.at("step.sh"), script).unwrap();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]).arg(self.at("step.sh")).current_dir(root());
        for (variable, value) in step["env"].as_hash().unwrap() {
            let input = value.as_str().unwrap().trim_start_matches("${{ inputs.").trim_end_matches(" }}");
            let declared = &action["inputs"][input];
            assert!(!declared.is_badvalue(), "no input {input}");
            let given = self.inputs.get(input).map(String::as_str);
            command.env(variable.as_str().unwrap(), given.or(declared["default"].as_str()).unwrap_or_default());
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

/// A release is fetched from where the action came from, and only what its digest vouches for is installed.
#[test]
fn the_action_installs_a_release_that_its_digest_vouches_for() {
    let mut runner = Runner::new(&[("version", "v9.9.9")]);
    let action = "/home/runner/work/_actions/someone/gatewise/v9.9.9";
    for (name, value) in
        [("GITHUB_ACTION_PATH", action), ("GITHUB_SERVER_URL", "https://server"), ("GITHUB_REPOSITORY", "a/b")]
    {
        runner.variables.insert(name.to_owned(), value.to_owned());
    }
    // The release, served by a curl that only knows this one place.
    let served = runner.at("served");
    std::fs::create_dir(&served).unwrap();
    std::fs::write(served.join("gatewise"), "#!/bin/sh\necho gatewise 9.9.9\n").unwrap();
    std::fs::set_permissions(served.join("gatewise"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let system = |command: &str| {
        assert!(
            Command::new("bash").args(["-ec", command]).current_dir(&served).status().unwrap().success(),
            "{command}"
        );
    };
    system("tar -czf archive.tar.gz gatewise");
    let curl = format!(
        "#!/bin/bash\nwhile [ $# -gt 1 ]; do [ \"$1\" = --output ] && out=$2; shift; done\n\
         case $1 in https://server/someone/gatewise/releases/download/v9.9.9/gatewise-v9.9.9-*.tar.gz) cp {0}/archive.tar.gz \"$out\" ;;\n\
         https://server/someone/gatewise/releases/download/v9.9.9/gatewise-v9.9.9-*.tar.gz.sha256)\n\
         echo \"$(cat {0}/digest)  $(basename \"${{1%.sha256}}\")\" > \"$out\" ;;\n*) echo \"no $1\" >&2; exit 22 ;; esac\n",
        served.display()
    );
    runner.program("curl", &curl);

    system("printf '%064d' 0 > digest");
    let run = runner.step("Install gatewise");
    assert!(run.code != 0 && runner.read("path").is_empty(), "a digest that does not match: {}", run.stdout);
    assert!(!runner.at("temp/gatewise/bin/gatewise").exists());

    system("sha256sum archive.tar.gz | cut -d' ' -f1 > digest");
    let run = runner.step("Install gatewise");
    run.expect_code(0, "a release");
    assert!(run.stdout.ends_with("gatewise 9.9.9\n"), "{}", run.stdout);
    assert_eq!(runner.read("path").trim(), runner.at("temp/gatewise/bin").display().to_string());
}

#[test]
fn the_action_builds_its_own_source_where_no_release_is_named() {
    let mut runner = Runner::new(&[]);
    runner.variables.insert("GITHUB_ACTION_PATH".to_owned(), root().display().to_string());
    // A cargo that says how it was called, and leaves a program where the real one does.
    runner.program(
        "cargo",
        "#!/bin/bash\necho \"cargo $*\"\nmkdir -p \"$CARGO_TARGET_DIR/release\"\n\
         printf '#!/bin/sh\\necho built\\n' > \"$CARGO_TARGET_DIR/release/gatewise\"\nchmod +x \"$CARGO_TARGET_DIR/release/gatewise\"\n",
    );
    runner.variables.insert("CARGO_TARGET_DIR".to_owned(), runner.at("target").display().to_string());
    let run = runner.step("Install gatewise");
    run.expect_code(0, "from source");
    let manifest = root().join("Cargo.toml");
    assert!(manifest.is_file());
    let called =
        format!("cargo build --release --locked --package gatewise --manifest-path {}\nbuilt\n", manifest.display());
    assert_eq!(run.stdout, called);
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
