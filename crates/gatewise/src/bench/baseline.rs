//! Earlier results, and what has become of them.

use std::path::{Path, PathBuf};

use report::document::{self, Baseline, BenchCase, BenchRegression, BenchResult};
use serde::Deserialize;
use timing::{Interval, regressed};

use crate::error::CliError;

/// A file that `bench --format json` wrote.
pub(crate) struct Before {
    path: PathBuf,
    document: Document,
}

#[derive(Deserialize)]
struct Document {
    schema: String,
    device: Device,
    results: Vec<Earlier>,
}

#[derive(Deserialize)]
struct Device {
    name: String,
    backend: String,
}

#[derive(Deserialize)]
struct Earlier {
    implementation: String,
    lstm: Option<String>,
    sequences: usize,
    timesteps: usize,
    input: usize,
    units: usize,
    layers: usize,
    direction: String,
    verified: bool,
    median_ms: Option<f64>,
    low_ms: Option<f64>,
    high_ms: Option<f64>,
}

impl Before {
    /// Reads a file of earlier results.
    pub(crate) fn read(path: &Path) -> Result<Before, CliError> {
        let text = std::fs::read(path).map_err(|source| CliError::File {
            doing: "reading the baseline",
            file: path.to_owned(),
            source,
        })?;
        let problem = |problem: String| CliError::Baseline { file: path.to_owned(), problem };
        let document: Document = serde_json::from_slice(&text)
            .map_err(|e| problem(format!("expected what `gatewise bench --format json` writes: {e}")))?;
        if document.schema != "gatewise.bench/1" {
            return Err(problem(format!("its schema is {:?}: expected gatewise.bench/1", document.schema)));
        }
        Ok(Before { path: path.to_owned(), document })
    }

    /// Times of another device say nothing about this one.
    pub(crate) fn check_device(&self, device: &document::Device) -> Result<(), CliError> {
        let Device { name, backend } = &self.document.device;
        if (name, backend) == (&device.name, &device.backend) {
            return Ok(());
        }
        Err(CliError::Baseline {
            file: self.path.clone(),
            problem: format!(
                "it was measured on {name} ({backend}), and this is {} ({}): say --device, or measure a baseline here",
                device.name, device.backend
            ),
        })
    }

    /// What has become slower, or wrong. Results without a time before have none to be compared with.
    pub(crate) fn compare(&self, results: &[BenchResult]) -> Result<Baseline, CliError> {
        let mut baseline =
            Baseline { path: self.path.display().to_string(), compared: 0, not_measured: 0, regressions: vec![] };
        for earlier in &self.document.results {
            let Some(before) = earlier.interval() else { continue };
            let Some(result) = results.iter().find(|r| earlier.is_of(r)) else {
                baseline.not_measured += 1;
                continue;
            };
            baseline.compared += 1;
            let now = result.time.as_ref().filter(|_| result.verified);
            let interval = now.map(|t| Interval { median: t.median_ms, low: t.low_ms, high: t.high_ms });
            if interval.is_none_or(|now| regressed(before, now)) {
                baseline.regressions.push(BenchRegression {
                    implementation: earlier.implementation.clone(),
                    case: result.case.clone(),
                    before_ms: before.median,
                    now_ms: interval.map(|i| i.median),
                });
            }
        }
        if baseline.compared == 0 {
            let problem = "none of its results is of an implementation and shape that was measured now".to_owned();
            return Err(CliError::Baseline { file: self.path.clone(), problem });
        }
        Ok(baseline)
    }
}

impl Earlier {
    fn interval(&self) -> Option<Interval> {
        let interval = Interval { median: self.median_ms?, low: self.low_ms?, high: self.high_ms? };
        let sound = [interval.median, interval.low, interval.high].iter().all(|v| v.is_finite() && *v > 0.0);
        (self.verified && sound).then_some(interval)
    }

    fn is_of(&self, result: &BenchResult) -> bool {
        let BenchCase { lstm, sequences, timesteps, input, units, layers, direction } = &result.case;
        self.implementation == result.implementation
            && self.lstm == *lstm
            && (self.sequences, self.timesteps, self.input) == (*sequences, *timesteps, *input)
            && (self.units, self.layers, self.direction.as_str()) == (*units, *layers, *direction)
    }
}
