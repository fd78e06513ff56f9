//! `gatewise verify --bundle DIR`: what a bundle holds, run once more on the CPU.

use std::path::Path;

use lanes::{Choice, Device, KerasLstm, SelfCheck, Tf1FusedLstm};
use lstm::{Activation, Batch, KerasCell, Network, Tf1Cell, convert};
use ndarray::Array3;
use parity::{Lanes, Reason, Verdict, replay};
use report::document;

use super::file::{self, Bundle, Element, Shows};
use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Code;
use crate::{comparison, output};

pub(crate) fn run(args: &args::Replay) -> Result<Code, CliError> {
    let wrong = |problem: String| CliError::Bundle { folder: args.bundle.clone(), problem };
    let bytes = output::read_at_most(&args.bundle.join(file::NAME), file::MAX_BYTES as u64)?;
    let bundle: Bundle = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("{}: {e}", file::NAME)))?;
    let held = Held::of(&bundle).map_err(wrong)?;
    let document = repeat(&args.bundle, &bundle, &held).map_err(wrong)?;
    let style = args.display.look.style();
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human if args.display.look.quiet => output::print(&report::replay_line(&document, style))?,
        Format::Human => output::print(&report::replay_text(&document, style))?,
    }
    // A part of a comparison can repeat why it did not pass, but never pass for the whole.
    Ok(if document.shows && bundle.verdict == "fail" { Code::Fail } else { Code::Inconclusive })
}

/// A bundle whose parts fit together.
struct Held {
    truth: Network<Tf1Cell>,
    /// The right conversion, or what comes nearest.
    expected: Network<KerasCell>,
    candidate: Network<KerasCell>,
    batch: Batch,
    recorded: Option<Array3<f32>>,
}

impl Held {
    /// Checks everything that running it takes for granted.
    fn of(bundle: &Bundle) -> Result<Held, String> {
        if bundle.schema != file::SCHEMA {
            return Err(format!("its schema is {:?}: expected {:?}", bundle.schema, file::SCHEMA));
        }
        if !["fail", "inconclusive"].contains(&bundle.verdict.as_str()) {
            return Err(format!("its verdict is {:?}: there is nothing to repeat", bundle.verdict));
        }
        let truth = bundle.truth.network(&|cell| cell.cell())?;
        let candidate = bundle.candidate.network(&|layer| layer.layer())?;
        let input = truth.cells().first().map_or(0, |c| c.input_size());
        file::output_width(&truth, input, &|c| (c.input_size(), c.recurrent_size()))?;
        file::output_width(&candidate, input, &|c| (c.input_size(), c.output_size()))?;
        let expected = convert::nearest_network(&truth).0;
        let (right, found) = (expected.cells(), candidate.cells());
        let shape =
            |c: &KerasCell| (c.kernel.dim(), c.recurrent_kernel.dim(), c.output_projection.as_ref().map(|p| p.dim()));
        if right.len() != found.len() || right.iter().zip(&found).any(|(a, b)| shape(a) != shape(b)) {
            return Err("its candidate has other cells than its checkpoint's weights".to_owned());
        }
        let (batch, recorded) = bundle.inputs.batch(&truth, bundle.seed)?;
        Ok(Held { truth, expected, candidate, batch, recorded })
    }
}

fn repeat(folder: &Path, bundle: &Bundle, held: &Held) -> Result<document::Replay, String> {
    let device = Device::open(Choice::Cpu).map_err(|e| e.to_string())?;
    let mut functions: Vec<Activation> = held.truth.cells().iter().map(|c| c.activation).collect();
    functions.extend(held.truth.cells().iter().map(|c| c.recurrent_activation));
    functions.extend(held.candidate.cells().iter().flat_map(|c| [c.activation, c.recurrent_activation]));
    let check = SelfCheck::run(&device, &comparison::with_the_catalogues(&functions));
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device.clone()));
    let lanes = Lanes { tf1: &tf1, keras: &keras };

    let mut reasons: Vec<String> = differences(held);
    reasons.extend(bundle.settings.iter().map(|s| format!("the candidate's file states: {s}")));
    let (what, element) = match &bundle.shows {
        Shows::Step(element) => ("step", Some(measure(element, held, lanes, Some(&check))?)),
        Shows::Sequence(element) => ("sequence", Some(measure(element, held, lanes, None)?)),
        Shows::Whole { atol, rtol } => {
            reasons.extend(whole(bundle, held, lanes, &check, (*atol, *rtol))?);
            ("whole", None)
        }
    };
    if let Some(element) = element.as_ref().filter(|e| !e.within) {
        reasons
            .push(format!("{} of unit {} is further from the oracle than it may be", element.quantity, element.unit));
    }
    Ok(document::Replay {
        schema: "gatewise.replay/1",
        verdict: bundle.verdict.clone(),
        shows: !reasons.is_empty(),
        bundle: folder.display().to_string(),
        found_on: bundle.device.clone(),
        repeated_on: device.info().name.clone(),
        what: what.to_owned(),
        lstm: bundle.lstm.clone(),
        layer: bundle.layer.clone(),
        reason: bundle.reason.clone(),
        element,
        reasons,
    })
}

/// The exact comparison of what the bundle holds.
fn differences(held: &Held) -> Vec<String> {
    let mut found = vec![];
    for (right, candidate) in held.expected.cells().into_iter().zip(held.candidate.cells()) {
        let report = parity::weights::compare(right, candidate);
        for tensor in report.tensors.iter().filter(|t| t.differing > 0) {
            found.push(format!(
                "{} of {} weights of {} differ, by up to {:.2e} (expected {}, found {})",
                tensor.differing,
                tensor.count,
                tensor.tensor,
                tensor.max_abs,
                tensor.expected as f32,
                tensor.found as f32
            ));
        }
        found.extend(report.settings);
    }
    let (right, wiring) = (held.expected.wiring(), held.candidate.wiring());
    if right != wiring {
        found.push(format!("the candidate is wired as {wiring}, the right conversion as {right}"));
    }
    found
}

/// The element of a bundle, measured again: against the bound of its step as it is here, or else against the limit of the
/// comparison.
fn measure(
    element: &Element,
    held: &Held,
    lanes: Lanes<'_>,
    step: Option<&SelfCheck>,
) -> Result<document::ReplayedElement, String> {
    let quantity = element.quantity().ok_or_else(|| format!("{:?} is no quantity of a cell", element.quantity))?;
    let here = element.here;
    let at = replay::Element { cell: here.cell, t: here.step, unit: here.unit, quantity };
    let values = replay::values(&held.truth, &held.candidate, lanes, &held.batch, at)?;
    let found = match element.lane.as_str() {
        "keras" => values.keras,
        "tf1" => values.tf1,
        other => return Err(format!("{other:?} is no lane")),
    };
    let limit = match step {
        None => element.limit.ok_or("it has no limit")?,
        Some(check) => {
            let [cell] = held.truth.cells()[..] else { return Err("a step is of one cell".to_owned()) };
            replay::bound(cell, &held.batch, at, &check.budget).ok_or("it has no such element")?
        }
    };
    // Written so that NaN is not within.
    let within = (found - values.oracle).abs() <= limit;
    Ok(document::ReplayedElement {
        lane: element.lane.clone(),
        quantity: element.quantity.clone(),
        sequence: element.sequence,
        step: element.step,
        unit: element.unit,
        recorded: document::ReplayedValues {
            oracle: element.oracle,
            tf1: None,
            keras: None,
            found: element.found,
            limit: element.limit,
        },
        repeated: document::ReplayedValues {
            oracle: finite(values.oracle),
            tf1: finite(values.tf1),
            keras: finite(values.keras),
            found: finite(found),
            limit: finite(limit),
        },
        within,
    })
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|v| v.is_finite())
}

/// The whole comparison of one network; what speaks against a pass.
fn whole(
    bundle: &Bundle,
    held: &Held,
    lanes: Lanes<'_>,
    check: &SelfCheck,
    (atol, rtol): (Option<f64>, Option<f64>),
) -> Result<Vec<String>, String> {
    let cells = held.truth.cells().len();
    let subject = parity::Subject {
        truth: &held.truth,
        expected: &held.expected,
        candidate: &held.candidate,
        names: vec![bundle.lstm.clone(); cells],
        candidate_names: vec![bundle.layer.clone(); cells],
    };
    let cells = parity::verify(&subject, lanes, &held.batch, bundle.seed, &check.budget, &|_| {});
    let (_, mut reasons) = parity::conclude_on_device(&cells, &check.failures);
    reasons.extend(comparison::tolerances(&cells, atol, rtol));
    if let Some(y) = &held.recorded {
        let report = parity::outputs::judge(&held.truth, &held.batch, y, lanes.keras, &check.budget, bundle.seed)
            .map_err(|e| e.to_string())?;
        reasons.extend(comparison::recorded_outputs(&bundle.lstm, &subject.names, &report));
    }
    // What would have been inconclusive shows no failure.
    let counts = |r: &Reason| bundle.verdict != "fail" || r.verdict == Verdict::Fail;
    Ok(reasons.into_iter().filter(counts).map(|r| r.text).collect())
}
