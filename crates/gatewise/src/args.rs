//! The command line.

mod bench;
mod evidence;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lanes::Choice;

use crate::suite;
pub(crate) use bench::{Bench, BenchDirection};
pub(crate) use evidence::{Check, Evidence, Replay, VerifyOrReplay};

/// Certify that LSTM weights converted from TensorFlow 1.x to Keras compute the same function.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 pass, 1 fail (parity broken), 2 error (nothing was compared), 3 inconclusive, 130 interrupted."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a checkpoint holds: variables, LSTMs found, and how each fact is known.
    Inspect(Inspect),
    /// Write the LSTMs of a checkpoint as Keras weights.
    Convert(Convert),
    /// Certify a conversion: run both sides over random sequences and judge their divergence.
    Verify(VerifyOrReplay),
    /// Say whether a certificate is genuine, about these files, and what it certifies.
    Check(Check),
    /// Run many verifications, in parallel and in parts, against what is expected of each.
    Suite(Box<suite::Options>),
    /// Time LSTM inference on a device: a checkpoint's LSTMs, or shapes with random weights.
    Bench(Box<Bench>),
    /// List the devices that lanes can run on.
    Devices(Devices),
    /// Print what makes a shell complete this program's commands and options.
    Completions(Completions),
    /// Print the manual page, or write those of all commands into a folder.
    Man(Man),
}

impl Command {
    /// Whether a graphics driver may be asked for adapters.
    pub(crate) fn may_use_a_gpu(&self) -> bool {
        match self {
            Command::Inspect(_) | Command::Convert(_) | Command::Completions(_) | Command::Man(_) => false,
            Command::Verify(VerifyOrReplay::Verify(verify)) => verify.device != Choice::Cpu,
            Command::Verify(VerifyOrReplay::Replay(_)) => false,
            Command::Check(check) => check.again && check.device != Some(Choice::Cpu),
            // Which devices its cases name is not known yet.
            Command::Suite(suite) => suite.merge.is_none(),
            Command::Bench(bench) => bench.device != Choice::Cpu,
            Command::Devices(_) => true,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) source: Source,
    /// For reading, one JSON document, or a template for --map.
    #[arg(long, value_name = "FORMAT", default_value = "human", help_heading = "Display")]
    pub(crate) format: InspectFormat,
    #[command(flatten)]
    pub(crate) look: Look,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Convert {
    #[command(flatten)]
    pub(crate) source: Source,
    /// File to write; the extension picks the format (.h5, .weights.h5, .keras, .npz, .safetensors).
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Format to write, whatever the extension.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) to: Option<Target>,
    /// A Keras model of yours (.h5, .weights.h5 or .keras) whose LSTM layers are replaced; all else is kept byte for byte.
    #[arg(long, value_name = "MODEL", conflicts_with = "to")]
    pub(crate) into: Option<PathBuf>,
    /// The Keras that will load the file, where its version matters: the two mean different functions by hard_sigmoid.
    #[arg(long, value_name = "MAJOR")]
    pub(crate) keras: Option<KerasMajor>,
    #[command(flatten)]
    pub(crate) facts: Facts,
    #[command(flatten)]
    pub(crate) display: Display,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Keras file to judge (.h5, .weights.h5, .keras, .npz, .safetensors); without it, gatewise's own conversion.
    #[arg(value_name = "CANDIDATE")]
    pub(crate) candidate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) facts: Facts,
    /// The Keras that will run the candidate, where the file does not say: the two mean different functions by
    /// hard_sigmoid.
    #[arg(long, value_name = "MAJOR", help_heading = "What the files cannot say")]
    pub(crate) keras: Option<KerasMajor>,
    /// Where to run: auto, cpu, gpu, or wgpu:N as listed by `gatewise devices`.
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Comparison")]
    pub(crate) device: Choice,
    /// Random sequences to run.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one, help_heading = "Comparison")]
    pub(crate) sequences: usize,
    /// Steps of each sequence.
    #[arg(long, value_name = "T", default_value_t = 100, value_parser = at_least_one, help_heading = "Comparison")]
    pub(crate) timesteps: usize,
    /// Seed of the inputs: the same numbers on every device.
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Comparison")]
    pub(crate) seed: u64,
    /// Memory to stay below, such as 512MiB or 4GiB; half of what is free if that is less. Runs of more than 64 sequences that need more go through the lanes
    /// in chunks, and a sample of them is judged, with those in which the lanes are furthest apart.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = memory, conflicts_with = "inputs", help_heading = "Comparison")]
    pub(crate) memory: u64,
    /// Recorded inputs instead of random ones: arrays x [sequences, timesteps, input], optionally seq_len, h0 and c0,
    /// and y, the outputs recorded for them.
    #[arg(long, value_name = "FILE.npz", conflicts_with_all = ["sequences", "timesteps"], help_heading = "Comparison")]
    pub(crate) inputs: Option<PathBuf>,
    /// Also require every carried divergence to be at most X; never loosens the derived bound.
    #[arg(long, value_name = "X", value_parser = tolerance, help_heading = "Comparison")]
    pub(crate) atol: Option<f64>,
    /// Also require every carried relative divergence to be at most X; never loosens the derived bound.
    #[arg(long, value_name = "X", value_parser = tolerance, help_heading = "Comparison")]
    pub(crate) rtol: Option<f64>,
    /// Show every step, not only those that tell most.
    #[arg(long, help_heading = "Display")]
    pub(crate) steps: bool,
    /// Also write the result as one HTML file, with pictures.
    #[arg(long, value_name = "FILE.html", help_heading = "Display")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) evidence: Evidence,
    #[command(flatten)]
    pub(crate) display: Display,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Devices {
    #[command(flatten)]
    pub(crate) display: Display,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Man {
    /// A folder for the pages of all commands, made if it is not there; without it, the main page goes to stdout.
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

/// Which LSTMs of which checkpoint.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// A V2 prefix (model.ckpt-1000) or any of its files, a V1 file, a folder with a `checkpoint` file, a SavedModel, a
    /// frozen graph (.pb), or a Keras file.
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// Take only the LSTMs at or below this scope (repeatable).
    #[arg(long, value_name = "NAME")]
    pub(crate) lstm: Vec<String>,
    /// Which variables make which LSTM and which Keras layer it goes to; `inspect --format map` prints a template.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) map: Option<PathBuf>,
}

/// What the files cannot say.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What the files cannot say")]
pub(crate) struct Facts {
    /// Forget bias added at run time; against what the graph says it is an error.
    #[arg(long, value_name = "F", value_parser = finite)]
    pub(crate) forget_bias: Option<f32>,
    /// Activation of candidate and output.
    #[arg(long, value_name = "A")]
    pub(crate) activation: Option<ActivationName>,
    /// What the gates of Keras layers go through.
    #[arg(long, value_name = "A")]
    pub(crate) recurrent_activation: Option<RecurrentName>,
    /// Expected width of the first layer's input.
    #[arg(long, value_name = "D")]
    pub(crate) input_size: Option<usize>,
    /// Which of the weights to take where the checkpoint holds moving averages beside them.
    #[arg(long, value_name = "WHICH")]
    pub(crate) weights: Option<WeightsName>,
    /// Take the options' word over the graph's.
    #[arg(long = "override")]
    pub(crate) override_graph: bool,
}

/// How results are shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Display")]
pub(crate) struct Display {
    /// For reading, or one JSON document.
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) look: Look,
}

/// How much is shown, and in which colours.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Display")]
pub(crate) struct Look {
    /// Show the verdict alone, and nothing on stderr but errors.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Colour.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InspectFormat {
    Human,
    Json,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KerasMajor {
    /// Keras 2, also as tf.keras and tf_keras.
    #[value(name = "2")]
    Two,
    /// Keras 3.
    #[value(name = "3")]
    Three,
}

impl KerasMajor {
    pub(crate) fn number(self) -> u32 {
        match self {
            KerasMajor::Two => 2,
            KerasMajor::Three => 3,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsName {
    /// The weights as trained.
    Raw,
    /// Their exponential moving averages.
    Ema,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Legacy HDF5 weights (.h5).
    KerasH5,
    /// HDF5 weights of Keras 2.12 and later (.weights.h5).
    KerasWeights,
    /// A whole model (.keras).
    Keras,
    /// Object-based checkpoint of TensorFlow 2 (prefix.index and prefix.data-00000-of-00001).
    Tf2Checkpoint,
    /// Arrays by name (.npz).
    Npz,
    /// Arrays by name (.safetensors).
    Safetensors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecurrentName {
    Sigmoid,
    /// As the Keras that wrote the file defines it; without a Keras file as Keras 2 does, 0.2x + 0.5: all that
    /// TensorFlow 1.x knew.
    #[value(name = "hard_sigmoid")]
    HardSigmoid,
}

impl RecurrentName {
    /// The function of this name in the Keras that wrote a file.
    pub(crate) fn meant_by(self, keras_major: Option<u32>) -> lstm::Activation {
        match (self, keras_major) {
            (RecurrentName::Sigmoid, _) => lstm::Activation::Sigmoid,
            (RecurrentName::HardSigmoid, Some(3)) => lstm::Activation::HardSigmoidKeras3,
            (RecurrentName::HardSigmoid, _) => lstm::Activation::HardSigmoidKeras2,
        }
    }
}

impl From<WeightsName> for lstm::detect::WeightsChoice {
    fn from(name: WeightsName) -> lstm::detect::WeightsChoice {
        match name {
            WeightsName::Raw => lstm::detect::WeightsChoice::Raw,
            WeightsName::Ema => lstm::detect::WeightsChoice::Ema,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActivationName {
    Tanh,
    Sigmoid,
    Relu,
    Relu6,
    Elu,
    Softplus,
    Softsign,
    Linear,
}

impl From<ActivationName> for lstm::Activation {
    fn from(name: ActivationName) -> lstm::Activation {
        match name {
            ActivationName::Tanh => lstm::Activation::Tanh,
            ActivationName::Sigmoid => lstm::Activation::Sigmoid,
            ActivationName::Relu => lstm::Activation::Relu,
            ActivationName::Relu6 => lstm::Activation::Relu6,
            ActivationName::Elu => lstm::Activation::Elu,
            ActivationName::Softplus => lstm::Activation::Softplus,
            ActivationName::Softsign => lstm::Activation::Softsign,
            ActivationName::Linear => lstm::Activation::Linear,
        }
    }
}

impl Look {
    /// Colour as asked for; `auto` means a terminal that `NO_COLOR` does not forbid.
    pub(crate) fn style(&self) -> report::Style {
        use std::io::IsTerminal;
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && !no_color,
        };
        report::Style { color, unicode: shows_unicode() }
    }
}

/// Whether the locale says that the screen, or whatever reads the log, understands UTF-8.
fn shows_unicode() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    (locale.contains("utf-8") || locale.contains("utf8")) && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("with 0 nothing would be compared".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("expected a whole number".to_owned()),
    }
}

/// What `--memory` is where nothing is said: 1 GiB.
pub(crate) const DEFAULT_MEMORY: u64 = 1 << 30;
/// Less than this it cannot be: the program and a graphics driver take about as much by themselves.
pub(crate) const LEAST_MEMORY: u64 = 128 << 20;

/// A number of bytes, at least 128 MiB.
fn memory(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let (number, unit) =
        UNITS.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit))).unwrap_or((text, 1));
    let bytes = number.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes >= LEAST_MEMORY => Ok(bytes),
        Some(_) => Err("expected at least 128MiB".to_owned()),
        None => Err("expected a whole number with B, KiB, MiB, GiB or TiB, such as 512MiB".to_owned()),
    }
}

fn finite(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|v: &f32| v.is_finite()).ok_or_else(|| "expected a finite number".to_owned())
}

fn tolerance(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|v: &f64| v.is_finite() && *v >= 0.0)
        .ok_or_else(|| "expected a number of at least 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn good_and_bad_command_lines() {
        for good in [
            "gatewise inspect model.ckpt --format json",
            "gatewise convert model.ckpt -o out.h5 --to keras-weights --forget-bias 0.5 --override",
            "gatewise verify model.ckpt",
            "gatewise verify model.ckpt out.keras --device wgpu:1 --sequences 3 --timesteps 2 --seed 7 --atol 1e-5",
            "gatewise verify model.ckpt --sequences 1000000 --memory 512MiB",
            "gatewise verify model.ckpt --memory 2000000000",
            "gatewise bench --sequences 1,32 --units 64,128 --direction forward,bidirectional --implementation ops-tf1",
            "gatewise bench model.ckpt --sequences 1 --rounds 3 --baseline old.json --plot out.svg",
            "gatewise devices --color never",
            "gatewise verify model.ckpt --steps",
            "gatewise completions zsh",
            "gatewise man",
            "gatewise verify model.ckpt --certificate c.json --sign key.pem --created 2026-11-25T22:00:00Z",
            "gatewise verify model.ckpt --bundle folder",
            "gatewise verify --bundle folder --format json --quiet",
            "gatewise check c.json a b --key pub.pem",
            "gatewise check c.json --again --root folder --device cpu",
            "gatewise suite a.toml --shard 1/2 --jobs 3 --device cpu,wgpu:0 --state s --results r.json",
            "gatewise suite a.toml --baseline b.json --accept",
            "gatewise suite merge 1.json 2.json --junit x.xml",
        ] {
            assert!(Arguments::try_parse_from(good.split(' ')).is_ok(), "{good}");
        }
        for bad in [
            "gatewise",
            "gatewise verify",
            "gatewise verify a --sequences 0",
            "gatewise verify a --timesteps -1",
            "gatewise verify a --device tpu",
            "gatewise verify a --atol NaN",
            "gatewise verify a --memory 1MiB",
            "gatewise verify a --memory lots",
            "gatewise verify a --memory 99999999999999TiB",
            "gatewise verify a --memory 1GiB --inputs x.npz",
            "gatewise bench --units 0",
            "gatewise bench --units 64,,128",
            "gatewise bench a --units 64",
            "gatewise bench --lstm a",
            "gatewise bench --implementation cudnn",
            "gatewise convert a",
            "gatewise verify a --sign key.pem",
            "gatewise verify a --created 2026-11-25T22:00:00Z",
            "gatewise verify a --certificate c.json --created yesterday",
            "gatewise verify --bundle folder --seed 3",
            "gatewise verify --bundle folder --certificate c.json",
            "gatewise check",
            "gatewise check c.json a --again",
            "gatewise check c.json --device cpu",
            "gatewise convert a -o b --forget-bias inf",
            "gatewise suite",
            "gatewise suite a.toml --shard 0/2",
            "gatewise suite a.toml --jobs 0",
            "gatewise suite a.toml --accept",
            "gatewise suite a.toml --shard 1/2 --baseline b.json",
            "gatewise suite a.toml --slower 1",
            "gatewise suite merge",
        ] {
            assert!(Arguments::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
    }
}
