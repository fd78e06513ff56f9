//! The command line of `gatewise suite`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use lanes::Choice;

use super::shard::ShardOption;
use crate::args::Display;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Exit codes: 0 all as expected, 1 something is not or got worse, 2 error (bad suite: nothing was \
                        run), 3 some are inconclusive that should not be, and all others are as expected."
)]
pub(crate) struct Suite {
    #[command(subcommand)]
    pub(crate) merge: Option<SuiteCommand>,
    /// The suite: [defaults], and a [[case]] table for each verification.
    #[arg(value_name = "FILE.toml", required = true)]
    pub(crate) file: Option<PathBuf>,
    /// Cases to run at once; as many as there are cores unless said.
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Running")]
    pub(crate) jobs: Option<usize>,
    /// Where cases run that name no device of their own: one of verify's devices, or several to take turns.
    #[arg(long, value_name = "DEVICE", value_delimiter = ',', help_heading = "Running")]
    pub(crate) device: Vec<Choice>,
    /// Keep finished cases in this file; a run that is started again after a kill does not run them again.
    #[arg(long, value_name = "FILE", help_heading = "Running")]
    pub(crate) state: Option<PathBuf>,
    /// Run the I-th of N parts, counted from 1; or `auto`: read both from the environment (Slurm, Kubernetes, CI).
    #[arg(long, value_name = "I/N", conflicts_with_all = ["baseline", "accept"], help_heading = "Running")]
    pub(crate) shard: Option<ShardOption>,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SuiteCommand {
    /// Put the results of all parts together, as if the suite had been run whole.
    Merge(Merge),
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// The results of every part, as --results wrote them.
    #[arg(value_name = "SHARD.json", required = true)]
    pub(crate) parts: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

/// What is made of the results.
#[derive(Debug, Args)]
pub(crate) struct Outputs {
    /// Write the results as one JSON document.
    #[arg(long, value_name = "FILE.json", help_heading = "Results")]
    pub(crate) results: Option<PathBuf>,
    /// Write the results as JUnit XML.
    #[arg(long, value_name = "FILE.xml", help_heading = "Results")]
    pub(crate) junit: Option<PathBuf>,
    /// Write the results in Markdown, for the summary of a CI run; under 1 MB.
    #[arg(long, value_name = "FILE.md", help_heading = "Results")]
    pub(crate) summary: Option<PathBuf>,
    /// Say on stderr what is not as expected, in the form that a CI system shows on the lines of the suite file.
    #[arg(long, value_name = "SYSTEM", help_heading = "Results")]
    pub(crate) annotations: Option<Annotations>,
    /// Compare divergence and speed with the last accepted run; what got worse is exit 1.
    #[arg(long, value_name = "FILE.json", help_heading = "Baseline")]
    pub(crate) baseline: Option<PathBuf>,
    /// Write this run to the baseline, whatever got worse, if every case ended as expected.
    #[arg(long, requires = "baseline", help_heading = "Baseline")]
    pub(crate) accept: bool,
    /// How many times as long a case may take as in the baseline, on the same device, version and machine.
    #[arg(long, value_name = "X", default_value_t = 2.0, value_parser = more_than_one, help_heading = "Baseline")]
    pub(crate) slower: f64,
    #[command(flatten)]
    pub(crate) display: Display,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Annotations {
    /// Workflow commands of GitHub Actions.
    Github,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("with 0 nothing would run".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("expected a whole number".to_owned()),
    }
}

fn more_than_one(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v: &f64| v.is_finite() && *v > 1.0).ok_or_else(|| "expected a number above 1".to_owned())
}
