//! What `gatewise bench` prints.

use serde::Serialize;

use super::Device;

/// `gatewise.bench/1`: how long LSTMs take on a device.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// `gatewise.bench/1`.
    pub schema: &'static str,
    /// Where everything ran.
    pub device: BenchDevice,
    /// How it was measured.
    pub settings: BenchSettings,
    /// One entry for every implementation in every case.
    pub results: Vec<BenchResult>,
    /// What was not timed, and why.
    pub skipped: Vec<Skipped>,
    /// The comparison with earlier results, where one was asked for.
    pub baseline: Option<Baseline>,
}

/// A device, and the most it was seen to do.
#[derive(Clone, Debug, Serialize)]
pub struct BenchDevice {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// Of a product of two matrices, in 10⁹ additions and multiplications a second.
    pub peak_gflops: f64,
    /// Of a copy in its memory, read and written bytes together, in 10⁹ bytes a second.
    pub copy_gb_s: f64,
}

/// How times were measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchSettings {
    /// Turns of each implementation.
    pub rounds: usize,
    /// Seed of the weights and inputs.
    pub seed: u64,
    /// What `gflops` counts.
    pub operations: &'static str,
    /// What `bytes` counts.
    pub traffic: &'static str,
    /// Sequences of each case whose output was compared with the truth, at most.
    pub checked_sequences: usize,
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BenchCase {
    /// The LSTM's name in the checkpoint; `None` for random weights.
    pub lstm: Option<String>,
    /// Sequences in the batch.
    pub sequences: usize,
    /// Steps of each.
    pub timesteps: usize,
    /// Width of the first layer's input.
    pub input: usize,
    /// Width of the state; of the widest cell where they differ.
    pub units: usize,
    /// Layers.
    pub layers: usize,
    /// `forward`, or `bidirectional` where any layer is.
    pub direction: &'static str,
}

/// One implementation in one case. Without a right result there are no times.
#[derive(Clone, Debug, Serialize)]
pub struct BenchResult {
    /// Its name.
    pub implementation: &'static str,
    /// The way it takes to compute this case on this device.
    pub route: String,
    /// What it ran.
    #[serde(flatten)]
    pub case: BenchCase,
    /// The output of the last timed run is as near to the truth as right runs are.
    pub verified: bool,
    /// Why it is not verified.
    pub why: Option<String>,
    /// Largest distance of that output from the truth.
    pub error: Option<f64>,
    /// How far right f32 runs may be from it.
    pub allowed: Option<f64>,
    /// What it took.
    #[serde(flatten)]
    pub time: Option<BenchTime>,
}

/// What one implementation took.
#[derive(Clone, Debug, Serialize)]
pub struct BenchTime {
    /// The very first run, with all that is done once.
    pub first_run_ms: f64,
    /// Median of one run.
    pub median_ms: f64,
    /// The median is no less than this, with 95 % confidence.
    pub low_ms: f64,
    /// Nor more than this.
    pub high_ms: f64,
    /// The shortest.
    pub min_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Median of one step of the whole batch, through all layers.
    pub ms_per_step: f64,
    /// Steps of one sequence a second.
    pub steps_per_s: f64,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// As a share of the device's peak.
    pub of_peak: f64,
    /// Operations for each byte that must be moved at least.
    pub intensity: f64,
    /// `fastest`, `tie` with the fastest, or `slower`.
    pub standing: &'static str,
}

/// An implementation that was not timed.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// Its name.
    pub implementation: &'static str,
    /// What it would have run.
    #[serde(flatten)]
    pub case: BenchCase,
    /// Why not.
    pub why: String,
}

/// A comparison with earlier results.
#[derive(Clone, Debug, Serialize)]
pub struct Baseline {
    /// The file they come from.
    pub path: String,
    /// Results compared.
    pub compared: usize,
    /// Results of the file that were not measured this time.
    pub not_measured: usize,
    /// What has become slower, or wrong.
    pub regressions: Vec<BenchRegression>,
}

/// A result that was better before.
#[derive(Clone, Debug, Serialize)]
pub struct BenchRegression {
    /// The implementation.
    pub implementation: String,
    /// What it ran.
    #[serde(flatten)]
    pub case: BenchCase,
    /// Median before.
    pub before_ms: f64,
    /// Median now; `None` where the result is not verified any more.
    pub now_ms: Option<f64>,
}
