//! Running the comparison of every network, and what the user asks for beyond the derived rule.

use lstm::{Activation, Batch};
use parity::outputs::{Explanation, OutputReport};
use parity::{ActivationBudget, CellReport, Lanes, Reason, Verdict};

use crate::candidate::Candidate;
use crate::progress::Progress;
use crate::source::Subject;

/// The activation functions that will run.
pub(crate) fn functions(subjects: &[Subject], candidates: &[Candidate]) -> Vec<Activation> {
    let truths = subjects.iter().flat_map(|s| s.truth.cells());
    let mut used: Vec<Activation> = truths.flat_map(|c| [c.activation, c.recurrent_activation]).collect();
    for cell in candidates.iter().flat_map(|c| c.network.cells()) {
        used.extend([cell.activation, cell.recurrent_activation]);
    }
    with_the_catalogues(&used)
}

/// These functions, each once, and those that the catalogue's faults use besides.
pub(crate) fn with_the_catalogues(used: &[Activation]) -> Vec<Activation> {
    let faults = [
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::HardSigmoidKeras2,
        Activation::HardSigmoidKeras3,
    ];
    Activation::ALL.into_iter().filter(|a| used.contains(a) || faults.contains(a)).collect()
}

/// Runs every network through both lanes and the oracle.
pub(crate) fn compare(
    subjects: &[Subject],
    candidates: &[Candidate],
    lanes: Lanes<'_>,
    batches: &[Batch],
    seed: u64,
    budget: &ActivationBudget,
    quiet: bool,
) -> Vec<CellReport> {
    let stages: usize = subjects.iter().map(|s| parity::stages(s.truth.cells().len())).sum();
    let progress = Progress::stages("comparing", stages as u64, quiet);
    let mut done = 0;
    let mut cells = vec![];
    for ((subject, candidate), batch) in subjects.iter().zip(candidates).zip(batches) {
        progress.say(&report::printable(&subject.name));
        let comparison = subject_of(subject, candidate);
        let tick = |stage: usize| progress.set((done + stage) as u64);
        let mut reports = parity::verify(&comparison, lanes, batch, seed, budget, &tick);
        done += parity::stages(reports.len());
        for (report, settings) in reports.iter_mut().zip(&candidate.settings) {
            report.weights.settings.extend(settings.iter().cloned());
        }
        cells.extend(reports);
    }
    cells
}

/// What is to be compared of one network.
pub(crate) fn subject_of<'a>(subject: &'a Subject, candidate: &'a Candidate) -> parity::Subject<'a> {
    parity::Subject {
        truth: &subject.truth,
        expected: &subject.keras,
        candidate: &candidate.network,
        names: subject.found.cells().iter().map(|c| c.name.clone()).collect(),
        candidate_names: candidate.names.clone(),
    }
}

/// What the user requires on top of the derived bound.
pub(crate) fn tolerances(cells: &[CellReport], atol: Option<f64>, rtol: Option<f64>) -> Vec<Reason> {
    let mut reasons = vec![];
    for cell in cells {
        for step in &cell.steps {
            let states = step.carried.states();
            if let Some(how) = beyond(atol, rtol, states.max_abs, states.max_rel) {
                let text = format!("running freely, first at step {}: {how}", step.t);
                reasons.push(Reason { verdict: Verdict::Fail, cell: cell.name.clone(), text });
                break;
            }
        }
    }
    reasons
}

/// How the lanes are further apart than was asked for. Written so that NaN is.
pub(crate) fn beyond(atol: Option<f64>, rtol: Option<f64>, max_abs: f64, max_rel: f64) -> Option<String> {
    let require = |what: &str, option: &str, limit: Option<f64>, found: f64| {
        let limit = limit?;
        let within = found <= limit;
        (!within)
            .then(|| format!("the lanes' {what} divergence is {found:.2e}, and --{option} {limit:e} was asked for"))
    };
    require("absolute", "atol", atol, max_abs).or_else(|| require("relative", "rtol", rtol, max_rel))
}

/// What recorded outputs say against the checkpoint, whose cells have these names; `None` if they agree with the truth.
pub(crate) fn recorded_outputs(network: &str, names: &[String], report: &OutputReport) -> Option<Reason> {
    let reason = |verdict, text| Some(Reason { verdict, cell: network.to_owned(), text });
    if report.within() {
        let text = "the recorded outputs y say nothing: right runs are apart from the first step".to_owned();
        return report.says_nothing().then(|| reason(Verdict::Inconclusive, text)).flatten();
    }
    let mut text = format!(
        "the recorded outputs y are {:.2e} from the truth at step {}, where {:.2e} is allowed",
        report.distance, report.step, report.allowed
    );
    // A mistake explains them only if what remains is rounding.
    text += &match report.explanations.first().filter(|best| best.residual <= report.allowed) {
        Some(Explanation { fault, cell, residual }) => {
            let place = match cell.and_then(|index| names.get(index)) {
                Some(name) => format!(" in {name}"),
                None if names.len() > 1 => " in every cell".to_owned(),
                None => String::new(),
            };
            format!("; {}{place} explains them, to within {residual:.2e}: {}", fault.name(), fault.describe())
        }
        None => "; no single known mistake explains them".to_owned(),
    };
    reason(Verdict::Fail, text)
}

/// What recorded outputs that agree with the truth say for the checkpoint.
pub(crate) fn recorded_outputs_agree(report: &OutputReport) -> String {
    let mut text = format!(
        "the recorded outputs y agree with the truth: nearest to the limit at step {}, {:.2e} apart where {:.2e} is allowed",
        report.step, report.distance, report.allowed
    );
    if report.unjudged > 0 {
        text += &format!("; at {} steps right runs are anywhere, and y says nothing", report.unjudged);
    }
    text
}
