//! What `gatewise bench` is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lanes::Choice;

use super::{Display, Facts, at_least_one};

/// `gatewise bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// A checkpoint whose LSTMs are timed; without it, shapes with random weights.
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Take only the LSTMs at or below this scope (repeatable).
    #[arg(long, value_name = "NAME", requires = "checkpoint")]
    pub(crate) lstm: Vec<String>,
    /// Which variables make which LSTM; `inspect --format map` prints a template.
    #[arg(long, value_name = "FILE.toml", requires = "checkpoint")]
    pub(crate) map: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) facts: Facts,
    /// Where to run: auto, cpu, gpu, or wgpu:N as listed by `gatewise devices`.
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Measurement")]
    pub(crate) device: Choice,
    /// Sequences in a batch; like every list here, 1,32,256 times each.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "32", value_parser = at_least_one, help_heading = "Measurement")]
    pub(crate) sequences: Vec<usize>,
    /// Steps of each sequence.
    #[arg(long, value_name = "T,...", value_delimiter = ',', default_value = "100", value_parser = at_least_one, help_heading = "Measurement")]
    pub(crate) timesteps: Vec<usize>,
    /// Width of the input.
    #[arg(long, value_name = "D,...", value_delimiter = ',', default_value = "128", value_parser = at_least_one, conflicts_with = "checkpoint", help_heading = "Measurement")]
    pub(crate) input: Vec<usize>,
    /// Width of the state.
    #[arg(long, value_name = "U,...", value_delimiter = ',', default_value = "256", value_parser = at_least_one, conflicts_with = "checkpoint", help_heading = "Measurement")]
    pub(crate) units: Vec<usize>,
    /// Layers, one on top of the other.
    #[arg(long, value_name = "L,...", value_delimiter = ',', default_value = "1", value_parser = at_least_one, conflicts_with = "checkpoint", help_heading = "Measurement")]
    pub(crate) layers: Vec<usize>,
    /// Whether layers read their input one way, or both ways side by side.
    #[arg(
        long,
        value_name = "WAY,...",
        value_delimiter = ',',
        default_value = "forward",
        conflicts_with = "checkpoint",
        help_heading = "Measurement"
    )]
    pub(crate) direction: Vec<BenchDirection>,
    /// Time these alone (burn-nn-lstm, ops-tf1, ops-keras, and cpu-tf1, cpu-keras or kernel-tf1, kernel-keras).
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = IMPLEMENTATIONS, help_heading = "Measurement")]
    pub(crate) implementation: Vec<String>,
    /// Turns that the implementations take.
    #[arg(long, value_name = "R", default_value_t = 9, value_parser = at_least_one, help_heading = "Measurement")]
    pub(crate) rounds: usize,
    /// Seed of the weights and inputs.
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Measurement")]
    pub(crate) seed: u64,
    /// Earlier results, as --format json wrote them: exit code 1 if anything has become slower.
    #[arg(long, value_name = "FILE.json", help_heading = "Measurement")]
    pub(crate) baseline: Option<PathBuf>,
    /// Also draw the results under what the device can do at most.
    #[arg(long, value_name = "FILE.svg", help_heading = "Display")]
    pub(crate) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) display: Display,
}

const IMPLEMENTATIONS: [&str; 7] =
    ["burn-nn-lstm", "ops-tf1", "ops-keras", "kernel-tf1", "kernel-keras", "cpu-tf1", "cpu-keras"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchDirection {
    Forward,
    Bidirectional,
}

impl BenchDirection {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            BenchDirection::Forward => "forward",
            BenchDirection::Bidirectional => "bidirectional",
        }
    }
}
