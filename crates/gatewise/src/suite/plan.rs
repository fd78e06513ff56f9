//! Which verifications a suite asks for, once its patterns are matched with the files that are there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use glob::{MatchOptions, Pattern as Glob, PatternError};
use lanes::Choice;
use report::document::Expected;
use sha2::{Digest, Sha256};

use super::file::{self, Entry, Pattern};
use super::read::SuiteFile;
use crate::args;
use crate::error::CliError;
use crate::shell;

/// More cases than this are a pattern gone astray.
const MOST_CASES: usize = 100_000;
/// In a candidate, what stands for the checkpoint of the case.
const CHECKPOINT: &str = "{checkpoint}";
/// A star stops at a slash, and a name that begins with a dot is not meant by it.
const AS_IN_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Every case of a suite.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<Case>,
    /// SHA-256 over all of them: two machines with equal ones mean the same cases.
    pub(crate) sha256: String,
}

/// One verification.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its place in the suite, from 0.
    pub(crate) index: usize,
    pub(crate) name: String,
    /// The line of the suite file where its table begins.
    pub(crate) line: usize,
    pub(crate) expected: Expected,
    pub(crate) verify: args::Verify,
    /// The command line that means the same, paths as given.
    pub(crate) command: String,
}

/// Matches a suite with the files that are there.
///
/// # Errors
/// If a pattern matches nothing, a value is none that `gatewise verify` takes, or two cases have one name.
pub(crate) fn plan(suite: &SuiteFile, devices: &[Choice]) -> Result<Plan, CliError> {
    let wrong = |line, problem| CliError::Suite { file: suite.path.clone(), line: Some(line), problem };
    let folder = suite.path.parent().unwrap_or(Path::new(""));
    let mut cases: Vec<Case> = vec![];
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut hasher = Sha256::new();
    for entry in &suite.entries {
        for matched in matches(entry, folder).map_err(|(line, problem)| wrong(line, problem))? {
            let index = cases.len();
            if index == MOST_CASES {
                return Err(wrong(entry.line, format!("the suite has more than {MOST_CASES} cases")));
            }
            let name = matched.name(&entry.name);
            if let Some(first) = lines.insert(name.clone(), entry.line) {
                return Err(wrong(entry.line, format!("a second case named {name:?}: the first is on line {first}")));
            }
            let device = (!devices.is_empty()).then(|| devices[index % devices.len()]);
            let words = words(entry, &matched, folder, device);
            let verify = parse(&words).map_err(|problem| wrong(line_of(entry, &problem), problem))?;
            // What the case is, apart from where the suite lies.
            let mut meant = vec![name.clone(), format!("{:?}", entry.expected)];
            meant.extend(matched.relative());
            meant.extend(entry.options.iter().map(|(key, value)| format!("{key}={:?}{}", value.words, value.switch)));
            meant.push(verify.device.to_string());
            for text in &meant {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
            hasher.update([0; 8]);
            let command = shell::quoted(["gatewise".into(), "verify".into()].iter().chain(&words));
            let (line, expected) = (entry.line, entry.expected.clone());
            cases.push(Case { index, name, line, expected, verify, command });
        }
    }
    let sha256 = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(Plan { cases, sha256 })
}

/// What the patterns of an entry stand for in one case, from the folder of the suite file.
struct Matched {
    checkpoint: String,
    candidate: Option<String>,
    /// Whether each was written as a pattern, or as a list.
    patterns: [bool; 2],
}

impl Matched {
    fn name(&self, entry: &str) -> String {
        let [checkpoint, candidate] = self.patterns;
        // The candidate of a checkpoint says which checkpoint it is of.
        let parts: Vec<&str> = match (&self.candidate, checkpoint, candidate) {
            (_, false, false) => return entry.to_owned(),
            (Some(path), true, _) if path.starts_with(&self.checkpoint) => vec![path],
            (Some(path), true, true) => vec![&self.checkpoint, path],
            (Some(path), false, true) => vec![path],
            _ => vec![&self.checkpoint],
        };
        format!("{entry} [{}]", parts.join(", "))
    }

    fn relative(&self) -> Vec<String> {
        vec![self.checkpoint.clone(), self.candidate.clone().unwrap_or_default()]
    }
}

fn matches(entry: &Entry, folder: &Path) -> Result<Vec<Matched>, (usize, String)> {
    let several = |patterns: &[Pattern]| patterns.len() > 1 || patterns.iter().any(|p| is_pattern(&p.text));
    let patterns = [several(&entry.checkpoint), several(&entry.candidate)];
    let mut excluded = Exclusion::new(&entry.exclude)?;
    let mut all = vec![];
    for checkpoint in expand_all(&entry.checkpoint, folder, &mut excluded)? {
        if entry.candidate.is_empty() {
            all.push(Matched { checkpoint, candidate: None, patterns });
            continue;
        }
        let candidates: Vec<Pattern> =
            entry.candidate.iter().map(|pattern| of_checkpoint(pattern, &checkpoint)).collect();
        for candidate in expand_all(&candidates, folder, &mut excluded)? {
            all.push(Matched { checkpoint: checkpoint.clone(), candidate: Some(candidate), patterns });
        }
    }
    excluded.all_used()?;
    match all.is_empty() {
        true => Err((entry.line, "everything that it matches is excluded".to_owned())),
        false => Ok(all),
    }
}

/// A candidate's pattern, with the checkpoint in the place that is kept for it.
fn of_checkpoint(pattern: &Pattern, checkpoint: &str) -> Pattern {
    let with = if is_pattern(&pattern.text) { Glob::escape(checkpoint) } else { checkpoint.to_owned() };
    Pattern { text: pattern.text.replace(CHECKPOINT, &with), line: pattern.line }
}

/// What is not meant.
struct Exclusion<'a> {
    /// Each with how often it has excluded something.
    patterns: Vec<(&'a Pattern, Glob, usize)>,
}

impl<'a> Exclusion<'a> {
    fn new(patterns: &'a [Pattern]) -> Result<Exclusion<'a>, (usize, String)> {
        let read = |p: &'a Pattern| Ok((p, Glob::new(&p.text).map_err(|e| (p.line, no_pattern(p, &e)))?, 0));
        Ok(Exclusion { patterns: patterns.iter().map(read).collect::<Result<_, _>>()? })
    }

    fn excludes(&mut self, path: &str) -> bool {
        let found = self.patterns.iter_mut().find(|(_, glob, _)| glob.matches_with(path, AS_IN_A_SHELL));
        found.map(|(.., times)| *times += 1).is_some()
    }

    /// One that excludes nothing is a mistake, like a pattern that matches nothing.
    fn all_used(&self) -> Result<(), (usize, String)> {
        match self.patterns.iter().find(|(.., times)| *times == 0) {
            Some((pattern, ..)) => Err((pattern.line, format!("{:?} excludes nothing", pattern.text))),
            None => Ok(()),
        }
    }
}

fn expand_all(
    patterns: &[Pattern],
    folder: &Path,
    excluded: &mut Exclusion<'_>,
) -> Result<Vec<String>, (usize, String)> {
    let mut found = vec![];
    for pattern in patterns {
        found.extend(expand(pattern, folder)?.into_iter().filter(|path| !excluded.excludes(path)));
    }
    Ok(found)
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The paths that match, from the folder of the suite file, sorted.
fn expand(pattern: &Pattern, folder: &Path) -> Result<Vec<String>, (usize, String)> {
    if !is_pattern(&pattern.text) {
        return Ok(vec![pattern.text.clone()]);
    }
    let wrong = |problem: String| (pattern.line, problem);
    let folder_text = folder.to_str().ok_or_else(|| wrong(format!("the folder {} is not UTF-8", folder.display())))?;
    let in_folder = match folder_text {
        _ if Path::new(&pattern.text).is_absolute() => pattern.text.clone(),
        "" => pattern.text.clone(),
        folder => format!("{}/{}", Glob::escape(folder), pattern.text),
    };
    let paths = glob::glob_with(&in_folder, AS_IN_A_SHELL).map_err(|e| wrong(no_pattern(pattern, &e)))?;
    let mut found = vec![];
    for path in paths {
        let path =
            path.map_err(|e| wrong(format!("{:?}: reading {}: {}", pattern.text, e.path().display(), e.error())))?;
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        let text = relative.to_str().ok_or_else(|| wrong(format!("{} is not UTF-8", relative.display())))?;
        found.push(text.to_owned());
    }
    if found.is_empty() {
        return Err(wrong(format!("{:?} matches nothing in {}", pattern.text, named(folder))));
    }
    found.sort();
    Ok(found)
}

fn no_pattern(pattern: &Pattern, error: &PatternError) -> String {
    format!("{:?} is no pattern: {}", pattern.text, error.msg)
}

fn named(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { "the current folder".to_owned() } else { folder.display().to_string() }
}

/// The words of `gatewise verify …` that mean this case.
fn words(entry: &Entry, matched: &Matched, folder: &Path, device: Option<Choice>) -> Vec<OsString> {
    let place = |text: &str| -> PathBuf {
        let path = folder.join(text);
        // A path is not to be taken for an option.
        if path.as_os_str().as_encoded_bytes().starts_with(b"-") { Path::new(".").join(path) } else { path }
    };
    let mut words: Vec<OsString> = vec![place(&matched.checkpoint).into()];
    words.extend(matched.candidate.as_deref().map(|c| place(c).into()));
    for (key, value) in &entry.options {
        // A device given on the command line stands in for the default one.
        if *key == "device" && value.by_default && device.is_some() {
            continue;
        }
        let name = file::option_name(key);
        if value.switch {
            words.push(name.clone().into());
        }
        for word in &value.words {
            let mut option = OsString::from(format!("{name}="));
            if file::is_path(key) {
                option.push(folder.join(word))
            } else {
                option.push(word)
            }
            words.push(option);
        }
    }
    let own = entry.options.get("device").is_some_and(|value| !value.by_default);
    words.extend(device.filter(|_| !own).map(|device| format!("--device={device}").into()));
    words
}

/// Reads the words as the command line does, so that a suite can say what a command line can.
fn parse(words: &[OsString]) -> Result<args::Verify, String> {
    let program = ["gatewise", "verify", "--quiet"].map(OsString::from);
    let parsed = args::Arguments::try_parse_from(program.iter().chain(words));
    match parsed.map(|arguments| arguments.command) {
        Ok(args::Command::Verify(args::VerifyOrReplay::Verify(verify))) => Ok(*verify),
        Ok(_) => Err("not a verification".to_owned()),
        Err(error) => {
            let text = error.to_string();
            let problem = text.split("\n\n").next().unwrap_or_default().trim();
            Err(problem.strip_prefix("error: ").unwrap_or(problem).to_owned())
        }
    }
}

/// The line of the option that a problem names; else that of the case.
fn line_of(entry: &Entry, problem: &str) -> usize {
    let named = entry.options.iter().find(|(key, _)| problem.contains(&format!("'{} ", file::option_name(key))));
    named.map_or(entry.line, |(_, value)| value.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files in it, and the plan of a suite there; or what is wrong.
    fn planned(files: &[&str], suite: &str, devices: &[Choice]) -> Result<Vec<(String, String)>, String> {
        // A folder whose name is a pattern itself.
        let folder = tempfile::Builder::new().prefix("a[b]*").tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let path = folder.path().join("suite.toml");
        std::fs::write(&path, suite).unwrap();
        let place = folder.path().display().to_string();
        let plan = plan(&SuiteFile::read(&path).unwrap(), devices).map_err(|e| e.to_string().replace(&place, "F"))?;
        let words = |c: &Case| c.command.replace(&format!("{place}/"), "").replace('\'', "");
        Ok(plan.cases.iter().map(|c| (c.name.clone(), words(c))).collect())
    }

    fn names(files: &[&str], suite: &str) -> Vec<String> {
        planned(files, suite, &[]).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    const FILES: [&str; 7] = ["m/a/x.h5", "m/a/y.keras", "m/b/x.h5", "m/.c/x.h5", "m/d/e/x.h5", "n", "m/[b]/x.h5"];

    #[test]
    fn every_match_is_a_case_named_after_it() {
        let one = "[[case]]\nname = \"n\"\ncheckpoint = \"n\"\n";
        assert_eq!(names(&FILES, one), ["n"]);
        let candidates = format!("{one}candidate = \"m/*/x.h5\"\n");
        assert_eq!(names(&FILES, &candidates), ["n [m/[b]/x.h5]", "n [m/a/x.h5]", "n [m/b/x.h5]"]);
        let deep = format!("{one}candidate = \"m/**/x.h5\"\nexclude = [\"m/[ab]/*\", \"m/[[]*/*\"]\n");
        assert_eq!(names(&FILES, &deep), ["n [m/d/e/x.h5]"]);
        let both =
            "[[case]]\nname = \"n\"\ncheckpoint = \"m/*/\"\ncandidate = \"{checkpoint}/x.*\"\nexclude = \"m/d\"\n";
        assert_eq!(names(&FILES, both), ["n [m/[b]/x.h5]", "n [m/a/x.h5]", "n [m/b/x.h5]"]);
        let list = "[[case]]\nname = \"n\"\ncheckpoint = [\"n\", \"m/a\"]\n";
        assert_eq!(names(&FILES, list), ["n [n]", "n [m/a]"]);
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("x.h5"), "").unwrap();
        let absolute = elsewhere.path().display();
        let absolute =
            format!("[[case]]\nname = \"n\"\ncheckpoint = \"{absolute}\"\ncandidate = \"{{checkpoint}}/*.h5\"\n");
        assert_eq!(names(&FILES, &absolute), [format!("n [{}/x.h5]", elsewhere.path().display())]);
        let cross = "[[case]]\nname = \"n\"\ncheckpoint = [\"n\", \"m/a\"]\ncandidate = \"m/b/*\"\n";
        assert_eq!(names(&FILES, cross), ["n [n, m/b/x.h5]", "n [m/a, m/b/x.h5]"]);
    }

    #[test]
    fn a_case_is_a_command_line_of_verify() {
        let suite = "[defaults]\ndevice = \"cpu\"\nforget_bias = 0.1\n[[case]]\nname = \"a\"\ncheckpoint = \"n\"\n\
                     candidate = \"-x.h5\"\nlstm = [\"p\", \"-q\"]\nmap = \"map.toml\"\noverride = true\n\
                     [[case]]\nname = \"b\"\ncheckpoint = \"n\"\ndevice = \"gpu\"\n";
        let commands = |devices: &[Choice]| {
            planned(&FILES, suite, devices).unwrap().into_iter().map(|(_, command)| command).collect::<Vec<_>>()
        };
        let rest = "--forget-bias=0.1 --lstm=p --lstm=-q --map=map.toml --override";
        assert_eq!(commands(&[])[0], format!("gatewise verify n -x.h5 --device=cpu {rest}"));
        assert_eq!(commands(&[])[1], "gatewise verify n --device=gpu --forget-bias=0.1");
        let dealt = commands(&[Choice::Adapter(0), Choice::Adapter(1)]);
        assert_eq!(dealt[0], format!("gatewise verify n -x.h5 {rest} --device=wgpu:0"));
        assert_eq!(dealt[1], "gatewise verify n --device=gpu --forget-bias=0.1", "what a case says itself stays");
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let problem = |more: &str| {
            planned(&FILES, &format!("[[case]]\nname = \"n\"\ncheckpoint = \"n\"\n{more}\n"), &[]).unwrap_err()
        };
        assert_eq!(problem("candidate = \"m/*.onnx\""), "F/suite.toml:4: \"m/*.onnx\" matches nothing in F");
        assert!(
            problem("seed = 1\nsequences = 0").starts_with("F/suite.toml:5: invalid value '0' for '--sequences <N>'")
        );
        assert!(problem("[[case]]\nname = \"n\"\ncheckpoint = \"m/a\"").ends_with("the first is on line 1"));
        assert_eq!(problem("exclude = \"z*\""), "F/suite.toml:4: \"z*\" excludes nothing");
        assert_eq!(problem("exclude = \"n\""), "F/suite.toml:1: everything that it matches is excluded");
    }

    /// Two machines mean the same cases where the digest is the same, wherever the suite lies.
    #[test]
    fn the_digest_is_of_what_is_meant() {
        let digest = |suite: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("suite.toml");
            std::fs::write(&path, suite).unwrap();
            plan(&SuiteFile::read(&path).unwrap(), &[]).unwrap().sha256
        };
        let suite = "[[case]]\nname = \"n\"\ncheckpoint = \"n\"\n";
        assert_eq!(digest(suite), digest(&format!("# a remark\n{suite}")));
        let others = ["seed = 1", "candidate = \"x\"", "expect = \"fail\"", "device = \"cpu\"", "override = false"];
        let mut digests: Vec<String> = others.iter().map(|more| digest(&format!("{suite}{more}\n"))).collect();
        digests.push(digest(suite));
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 6);
    }
}
