//! `gatewise verify`: certify a conversion.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lanes::{Device, KerasLstm, SelfCheck, Tf1FusedLstm};
use lstm::Activation;
use parity::{ActivationBudget, CellReport, InputSpec, Lane, Lanes, Reason, Verdict};
use report::document;

use crate::args::{self, Format};
use crate::candidate::{self, Candidate, Slot};
use crate::devices;
use crate::error::CliError;
use crate::exit::Code;
use crate::output;
use crate::source::{self, Subject};

pub(crate) fn run(args: &args::Verify) -> Result<Code, CliError> {
    let (checkpoint, _, detection) = source::find(&args.source, Some(&args.facts))?;
    let subjects = source::load(&args.source.checkpoint, &checkpoint, &detection)?;
    let mut notes = detection.notes;
    let (candidates, format) = match &args.candidate {
        None => (subjects.iter().map(own_conversion).collect(), "gatewise conversion, in memory".to_owned()),
        Some(path) => {
            let file = keras_file::read(path)?;
            let (candidates, more) = candidate::match_layers(path, &file, &subjects)?;
            notes.extend(more);
            (candidates, file.format.as_str().to_owned())
        }
    };

    let device = Device::open(args.device)?;
    if device.info().is_software && !args.display.quiet {
        eprintln!("note: {} is a software adapter: it runs on the CPU", report::printable(&device.info().name));
    }
    let check = SelfCheck::run(&device, &functions(&subjects, &candidates));
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device.clone()));
    let lanes = Lanes { tf1: &tf1, keras: &keras };
    let spec = InputSpec { sequences: args.sequences, timesteps: args.timesteps, seed: args.seed };
    let cells = compare(&subjects, &candidates, lanes, spec, &check.budget, args.display.quiet);

    let (mut verdict, mut reasons) = parity::conclude(&cells);
    reasons.extend(tolerances(&cells, args.atol, args.rtol));
    reasons.extend(check.failures.iter().map(|failure| Reason {
        verdict: Verdict::Inconclusive,
        cell: String::new(),
        text: format!("the device failed its self-check: {failure}"),
    }));
    verdict = reasons.iter().map(|r| r.verdict).fold(verdict, Verdict::max);
    reasons.sort_by_key(|r| std::cmp::Reverse(r.verdict));
    let mut lstms: Vec<document::VerifiedLstm> = cells.iter().map(document::VerifiedLstm::from).collect();
    if verdict == Verdict::Fail {
        diagnose(&subjects, &candidates, &mut lstms);
        // What explains the failure is said first.
        let explained = lstms.iter().filter_map(|l| Some((l.name.clone(), l.diagnosis.first()?.text.clone())));
        let mut first: Vec<Reason> =
            explained.map(|(cell, text)| Reason { verdict: Verdict::Fail, cell, text }).collect();
        first.extend(reasons);
        reasons = first;
    }
    let document = document::Verify {
        schema: "gatewise.verify/1",
        verdict: verdict.as_str().to_owned(),
        device: devices::describe(args.device, device.info()),
        settings: document::Settings {
            sequences: spec.sequences,
            timesteps: spec.timesteps,
            seed: spec.seed,
            lanes: vec![Lane::name(&tf1), Lane::name(&keras)],
            lambda: parity::bound::LAMBDA,
            activation_budget_ulp: check
                .activations
                .iter()
                .map(|e| (e.function.to_string(), check.budget.ulp(e.function)))
                .collect(),
            carried_factor: parity::CARRIED_FACTOR,
            carried_ulp: parity::CARRIED_ULP,
            ensemble_members: parity::ensemble::MEMBERS,
            atol: args.atol,
            rtol: args.rtol,
        },
        inputs: inputs(&checkpoint, args, format)?,
        lstms,
        reasons: reasons
            .iter()
            .map(|r| document::Reason {
                verdict: r.verdict.as_str().to_owned(),
                lstm: r.cell.clone(),
                text: r.text.clone(),
            })
            .collect(),
        notes,
    };
    let style = args.display.style();
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human if args.display.quiet => output::print(&report::verdict_line(&document, style))?,
        Format::Human => output::print(&report::verify_text(&document, style))?,
    }
    Ok(verdict.into())
}

/// The activation functions that will run.
fn functions(subjects: &[Subject], candidates: &[Candidate]) -> Vec<Activation> {
    // Sigmoid and both hard sigmoids, ReLU and tanh besides: the catalogue's faults use them.
    let mut used = vec![
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::HardSigmoidKeras2,
        Activation::HardSigmoidKeras3,
    ];
    used.extend(subjects.iter().flat_map(|s| s.truth.cells()).map(|c| c.activation));
    for cell in candidates.iter().flat_map(|c| c.network.cells()) {
        used.extend([cell.activation, cell.recurrent_activation]);
    }
    Activation::ALL.into_iter().filter(|a| used.contains(a)).collect()
}

/// Says of every cell what explains its difference from the right conversion.
fn diagnose(subjects: &[Subject], candidates: &[Candidate], lstms: &mut [document::VerifiedLstm]) {
    let mut first = 0;
    for (subject, candidate) in subjects.iter().zip(candidates) {
        for found in lstm::diagnose::explain_network(&subject.truth, &candidate.network) {
            for cell in found.cells {
                if let Some(lstm) = lstms.get_mut(first + cell) {
                    lstm.diagnosis.push(diagnosis(&found.explanation));
                }
            }
        }
        first += subject.truth.cells().len();
    }
}

fn diagnosis(explanation: &lstm::diagnose::Explanation) -> document::Diagnosis {
    document::Diagnosis {
        fault: explanation.faults.iter().map(|f| f.name()).collect::<Vec<_>>().join(" + "),
        text: explanation.text.clone(),
        residual: explanation.residual,
        advice: explanation.advice.clone(),
    }
}

/// Runs every network through both lanes and the oracle.
fn compare(
    subjects: &[Subject],
    candidates: &[Candidate],
    lanes: Lanes<'_>,
    spec: InputSpec,
    budget: &ActivationBudget,
    quiet: bool,
) -> Vec<CellReport> {
    let stages: usize = subjects.iter().map(|s| parity::stages(s.truth.cells().len())).sum();
    let bar = progress_bar(stages, quiet);
    let mut done = 0;
    let mut cells = vec![];
    for (subject, candidate) in subjects.iter().zip(candidates) {
        bar.set_message(subject.name.clone());
        let comparison = parity::Subject {
            truth: &subject.truth,
            expected: &subject.keras,
            candidate: &candidate.network,
            names: subject.found.cells().iter().map(|c| c.name.clone()).collect(),
            candidate_names: candidate.names.clone(),
        };
        let batch = parity::inputs::draw(spec, &subject.truth);
        let tick = |stage: usize| bar.set_position((done + stage) as u64);
        let mut reports = parity::verify(&comparison, lanes, &batch, spec.seed, budget, &tick);
        done += parity::stages(reports.len());
        for (report, settings) in reports.iter_mut().zip(&candidate.settings) {
            report.weights.settings.extend(settings.iter().cloned());
        }
        cells.extend(reports);
    }
    bar.finish_and_clear();
    cells
}

/// On stderr, and only where somebody watches.
fn progress_bar(stages: usize, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} (left: {eta}) {wide_msg}");
    let bar = ProgressBar::with_draw_target(Some(stages as u64), ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The conversion that `gatewise convert` writes.
fn own_conversion(subject: &Subject) -> Candidate {
    let cells = subject.keras.cells().len();
    let mut names = vec![];
    for (layer, slot) in candidate::slots(&subject.keras).into_iter().enumerate() {
        match slot {
            Slot::Single => names.push(format!("own layer {layer}")),
            Slot::Pair => names.extend([format!("own layer {layer}/forward"), format!("own layer {layer}/backward")]),
        }
    }
    Candidate { network: subject.keras.clone(), names, settings: vec![vec![]; cells] }
}

/// What the user requires on top of the derived bound. Written so that NaN fails.
fn tolerances(cells: &[CellReport], atol: Option<f64>, rtol: Option<f64>) -> Vec<Reason> {
    let mut reasons = vec![];
    for cell in cells {
        for step in &cell.steps {
            let mut require = |what: &str, limit: Option<f64>, found: f64| {
                let Some(limit) = limit else { return };
                let within = found <= limit;
                if !within {
                    let text = format!(
                        "running freely, first at step {}: {what} divergence {found:.3e}, and --{what} {limit:e} was asked for",
                        step.t
                    );
                    reasons.push(Reason { verdict: Verdict::Fail, cell: cell.name.clone(), text });
                }
            };
            require("atol", atol, step.carried.states().max_abs);
            require("rtol", rtol, step.carried.states().max_rel);
            if reasons.iter().any(|r| r.cell == cell.name) {
                break;
            }
        }
    }
    reasons
}

fn inputs(
    checkpoint: &tf_checkpoint::Checkpoint,
    args: &args::Verify,
    format: String,
) -> Result<document::Inputs, CliError> {
    let digest = |path: &std::path::Path| -> Result<document::FileDigest, CliError> {
        Ok(document::FileDigest { path: path.display().to_string(), sha256: output::sha256_of_file(path)? })
    };
    Ok(document::Inputs {
        checkpoint: checkpoint.files().iter().map(|f| digest(f)).collect::<Result<_, _>>()?,
        candidate: args.candidate.as_deref().map(digest).transpose()?,
        candidate_format: format,
    })
}
