//! Every way a command can end without a result, and how that reads.

use std::path::PathBuf;

use report::printable;
use thiserror::Error;

/// A command could not do its work.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Checkpoint(#[from] tf_checkpoint::Error),
    #[error(transparent)]
    Keras(#[from] keras_file::Error),
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Given(#[from] lstm::detect::GivenError),
    #[error("reading the weights of {}", .checkpoint.display())]
    Load { checkpoint: PathBuf, source: Box<lstm::detect::LoadError> },
    #[error("{} holds no LSTM that gatewise reads\n{holds}", .checkpoint.display())]
    NoLstm { checkpoint: PathBuf, holds: String },
    #[error("{}: {}", .checkpoint.display(), .problems.join("; "))]
    Malformed { checkpoint: PathBuf, problems: Vec<String> },
    #[error("{cell} of {} cannot be converted: {reason}", .checkpoint.display())]
    NotRepresentable { checkpoint: PathBuf, cell: String, reason: Box<lstm::convert::NotRepresentable> },
    #[error("{} cannot be converted: {problem}", .checkpoint.display())]
    Wiring { checkpoint: PathBuf, problem: String },
    #[error("{} cannot be written {asked}: {cell} has {function}, and {elsewhere}\nsay --keras {own} if Keras {own} will load the file; or write weights alone (.weights.h5, .h5, .npz) without --keras, for a layer that is given this function under another name", .checkpoint.display())]
    OtherKeras {
        checkpoint: PathBuf,
        asked: String,
        cell: String,
        function: lstm::Activation,
        elsewhere: String,
        own: u32,
    },
    #[error("{} holds both the weights of {cell} and their moving averages, and no file says which of them the model is evaluated with\nsay --weights raw or --weights ema", .checkpoint.display())]
    ChooseWeights { checkpoint: PathBuf, cell: String },
    #[error("writing {}", .output.display())]
    Encode { output: PathBuf, source: Box<keras_file::Error> },
    #[error("{} cannot take the checkpoint's LSTMs: {problem}", .file.display())]
    Into { file: PathBuf, problem: String },
    #[error("{} does not fit the checkpoint: {problem}", .file.display())]
    Candidate { file: PathBuf, problem: String },
    #[error("{}: cannot tell the format from the extension: expected .h5, .weights.h5, .keras, .npz or .safetensors, or the option --to", .0.display())]
    OutputFormat(PathBuf),
    #[error("{} is part of the checkpoint: choose another file to write", .0.display())]
    OutputIsInput(PathBuf),
    #[error("{}: {problem}", .file.display())]
    Inputs { file: PathBuf, problem: String },
    #[error("map {}: {problem}", .file.display())]
    Map { file: PathBuf, problem: String },
    #[error("{}{}: {problem}", .file.display(), .line.map_or_else(String::new, |line| format!(":{line}")))]
    Suite { file: PathBuf, line: Option<usize>, problem: String },
    #[error("--shard auto: {0}")]
    Shard(String),
    #[error("nothing to run: {0}")]
    NothingRun(String),
    #[error("the state file {}: {problem}", .file.display())]
    State { file: PathBuf, problem: String },
    #[error("the state file {} is in use by another run: give each its own, or wait", .0.display())]
    StateInUse(PathBuf),
    #[error("the baseline {}: {problem}", .file.display())]
    Baseline { file: PathBuf, problem: String },
    #[error("merging {}: {problem}", .file.display())]
    Shards { file: PathBuf, problem: String },
    #[error("{} is read by this run: choose another file to write", .0.display())]
    OutputIsRead(PathBuf),
    #[error("{} is named for two results: give each its own file", .0.display())]
    OutputTwice(PathBuf),
    #[error("--inputs is for one network, and the checkpoint holds {}: {}\nname one with --lstm", .0.len(), .0.join(", "))]
    OneNetwork(Vec<String>),
    #[error(transparent)]
    Lane(#[from] parity::LaneError),
    #[error("key {}: {source}", .file.display())]
    Key { file: PathBuf, source: report::dsse::KeyError },
    #[error("{}: {problem}", .file.display())]
    Certificate { file: PathBuf, problem: String },
    #[error("bundle {}: {problem}", .folder.display())]
    Bundle { folder: PathBuf, problem: String },
    #[error("{doing} {}", .file.display())]
    File { doing: &'static str, file: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Device(#[from] lanes::DeviceError),
    #[error("the run takes about {} MiB of memory, and {} are free\nhint: take fewer --timesteps or --sequences, or fewer LSTMs at a time (--lstm)", .needed >> 20, .free >> 20)]
    Memory { needed: u64, free: u64 },
    #[error("writing results to stdout")]
    Stdout(#[source] std::io::Error),
}

/// `error: …`, then causes and hints on lines of their own, with nothing from a file printed raw.
pub(crate) fn render(error: &dyn std::error::Error) -> String {
    let mut lines = vec![];
    let mut next = Some(error);
    let mut before = String::new();
    while let Some(error) = next {
        let text = error.to_string();
        // A transparent error repeats its source's words.
        if !before.contains(&text) {
            let label = if lines.is_empty() { "error: " } else { "  caused by: " };
            for (index, line) in text.lines().enumerate() {
                let label = if index == 0 { label } else { "  " };
                lines.push(format!("{label}{}\n", printable(line)));
            }
            before = text;
        }
        next = error.source();
    }
    lines.concat()
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
