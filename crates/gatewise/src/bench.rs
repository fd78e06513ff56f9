//! `gatewise bench`: how long LSTMs take on a device.

mod baseline;
mod cases;
mod measure;

use lanes::{Device, Peak, SelfCheck};
use lstm::Activation;
use report::document;

use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Code;
use crate::progress::Progress;
use crate::{devices, output};
use cases::Case;

pub(crate) fn run(args: &args::Bench) -> Result<Code, CliError> {
    let subjects = cases::subjects(args)?;
    // Read before anything is timed: what is wrong with it should not be learnt after minutes.
    let before = args.baseline.as_deref().map(baseline::Before::read).transpose()?;
    if let Some(path) = &args.plot {
        output::refuse_to_overwrite(path, &cases::files(args))?;
    }
    let device = Device::open(args.device)?;
    let quiet = args.display.look.quiet;
    if device.info().is_software && !quiet {
        eprintln!("note: {} is a software adapter: it runs on the CPU", report::printable(&device.info().name));
    }
    let check = SelfCheck::run(&device, &functions(&subjects));
    let described = devices::describe(args.device, device.info(), &check);
    if let Some(before) = &before {
        before.check_device(&described)?;
    }
    let peak = Peak::measure(&device)?;

    let shapes = cases::shapes(args, &subjects);
    let turns = shapes.len() * measure::turns_of_a_case(args.rounds);
    let progress = Progress::stages("timing", turns as u64, quiet);
    let (mut results, mut skipped) = (vec![], vec![]);
    for (index, shape) in shapes.iter().enumerate() {
        progress.set((index * measure::turns_of_a_case(args.rounds)) as u64);
        let case = Case::make(shape, args.seed);
        let measured = measure::measure(&case, &device, &check, peak, args, &progress);
        results.extend(measured.results);
        skipped.extend(measured.skipped);
    }
    drop(progress);

    let baseline = before.map(|before| before.compare(&results)).transpose()?;
    let code = judge(&results, baseline.as_ref());
    let document = document::Bench {
        schema: "gatewise.bench/1",
        device: document::BenchDevice { device: described, peak_gflops: peak.gflops, copy_gb_s: peak.copy_gb_s },
        settings: document::BenchSettings {
            rounds: args.rounds,
            seed: args.seed,
            operations: cases::OPERATIONS,
            traffic: cases::TRAFFIC,
            checked_sequences: measure::CHECKED,
        },
        results,
        skipped,
        baseline,
    };
    if let Some(path) = &args.plot {
        output::write_whole(path, report::roofline(&document).as_bytes())?;
    }
    let style = args.display.look.style();
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human => output::print(&report::bench_text(&document, style))?,
    }
    Ok(code)
}

/// Good only where something was timed, every result is right and none has become slower.
fn judge(results: &[document::BenchResult], baseline: Option<&document::Baseline>) -> Code {
    if results.is_empty() {
        return Code::Inconclusive;
    }
    let right = results.iter().all(|r| r.verified && r.time.is_some());
    let regressed = baseline.is_some_and(|b| !b.regressions.is_empty());
    if right && !regressed { Code::Pass } else { Code::Fail }
}

/// The activation functions that will run.
fn functions(subjects: &[crate::source::Subject]) -> Vec<Activation> {
    let mut used = vec![Activation::Sigmoid, Activation::Tanh];
    for cell in subjects.iter().flat_map(|s| s.truth.cells()) {
        used.extend([cell.activation, cell.recurrent_activation]);
    }
    Activation::ALL.into_iter().filter(|a| used.contains(a)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_timed_is_not_good() {
        assert_eq!(judge(&[], None), Code::Inconclusive);
    }
}
