//! What shows why a comparison did not pass, and is small.

use lstm::{Batch, Direction, KerasCell, Network, State, Tf1Cell, one_unit};
use ndarray::{Array1, Array2, Axis};
use parity::{CellReport, LocalError, Place, Verdict, replay};
use serde::Serialize;

use super::file::{self, Bundle, Element, Here, Inputs, Layer, Only, Shows, TrueCell, Wiring};
use crate::error::CliError;
use crate::verify::{Compared, Judged};
use crate::{args, certificate};

/// The smallest part that shows the gravest reason, as the bytes of its file; or why there is none.
pub(crate) fn smallest(args: &args::Verify, judged: &Judged) -> Result<Result<Vec<u8>, String>, CliError> {
    if judged.compared.batches.is_empty() {
        return Ok(Err("the run was too large to be judged as a whole: fewer --sequences or more --memory".to_owned()));
    }
    let arguments = certificate::arguments(args)?;
    let mut too_large = None;
    for part in parts(args, judged).filter(|part| part.inputs.fit(&part.truth).is_ok()) {
        let bytes = to_bytes(&bundle(args, judged, &arguments, part));
        if bytes.len() < file::MAX_BYTES {
            return Ok(Ok(bytes));
        }
        too_large = Some(bytes.len());
    }
    Ok(Err(match too_large {
        Some(bytes) => format!(
            "what shows it needs {:.1} MB, and a bundle has less than {} MB; the arguments repeat it, or a certificate does",
            bytes as f64 / 1e6,
            file::MAX_BYTES / 1_000_000
        ),
        None => "all that it was tried with is too much to repeat in one go".to_owned(),
    }))
}

fn to_bytes(bundle: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(bundle).expect("a bundle is plain data");
    bytes.push(b'\n');
    bytes
}

/// A part of a comparison.
struct Part {
    /// The first cell shown, among all cells of the comparison.
    first: usize,
    shows: Shows,
    truth: Network<Tf1Cell>,
    candidate: Network<KerasCell>,
    settings: Vec<String>,
    inputs: Inputs,
}

fn bundle(args: &args::Verify, judged: &Judged, arguments: &[String], part: Part) -> Bundle {
    let report = &judged.compared.cells[part.first];
    let reason = judged.document.reasons.first();
    Bundle {
        schema: file::SCHEMA.to_owned(),
        verdict: judged.document.verdict.clone(),
        reason: reason.map_or_else(String::new, |r| r.text.clone()),
        device: judged.document.device.name.clone(),
        arguments: arguments.to_vec(),
        seed: args.seed,
        lstm: report.name.clone(),
        layer: report.candidate.clone(),
        settings: part.settings,
        shows: part.shows,
        truth: Wiring::of(&part.truth, &|c| TrueCell::from(c)),
        candidate: Wiring::of(&part.candidate, &|c| Layer::from(c)),
        inputs: part.inputs,
    }
}

/// One cell of the comparison, and the network it is in.
#[derive(Clone, Copy)]
struct Cell<'a> {
    /// Among all cells.
    number: usize,
    report: &'a CellReport,
    network: usize,
    /// In its network.
    index: usize,
}

/// Every part that could show it, the best first.
fn parts<'a>(args: &'a args::Verify, judged: &'a Judged) -> impl Iterator<Item = Part> + 'a {
    let compared = &judged.compared;
    let mut cells = vec![];
    for (network, subject) in compared.subjects.iter().enumerate() {
        for index in 0..subject.truth.cells().len() {
            let number = cells.len();
            cells.extend(compared.cells.get(number).map(|report| Cell { number, report, network, index }));
        }
    }
    let gravest = judged.document.reasons.first().map(|r| r.lstm.clone()).unwrap_or_default();
    // The cell or network that the gravest reason names before all others.
    let named = |c: &Cell<'_>| c.report.name == gravest || compared.subjects[c.network].name == gravest;
    cells.sort_by_key(|c| !named(c));
    let fails = judged.verdict == Verdict::Fail;
    // Where the verdict is open, a lane that the oracle contradicts comes first: TF1's, which runs right weights.
    let lanes: &[&str] = if fails { &["keras"] } else { &["tf1", "keras"] };
    let local = lanes.iter().flat_map({
        let cells = cells.clone();
        move |lane| cells.clone().into_iter().filter_map(move |c| local(compared, &c, lane))
    });
    let weights = cells.clone().into_iter().filter_map(|c| differing(compared, &c));
    let carried = cells.clone().into_iter().filter(move |_| fails).filter_map(|c| carried(args, compared, &c));
    let whole = cells.into_iter().map(|c| whole(args, compared, &c));
    local.chain(weights).chain(carried).chain(whole)
}

/// The first step at which a lane went beyond its bound, where it did so most.
fn local(compared: &Compared, cell: &Cell<'_>, lane: &str) -> Option<Part> {
    let errors = |s: &parity::StepReport| if lane == "tf1" { s.tf1_local } else { s.keras_local };
    let beyond = |e: &LocalError| e.count > 0 && !e.within();
    let step = cell.report.steps.iter().find(|s| errors(s).0.iter().any(beyond))?;
    let all = errors(step);
    let (_, error) = all.worst();
    let place = error.at?;
    one_step(compared, cell, lane, step.t, place, Some(error.bound))
}

/// A weight that is not the right one, in the first step of its unit.
fn differing(compared: &Compared, cell: &Cell<'_>) -> Option<Part> {
    let tensor = cell.report.weights.tensors.iter().find(|t| t.differing > 0)?;
    let unit = tensor.at?.1 % cell.report.units;
    let quantity = parity::Quantity::Cell;
    let place = Place { quantity, sequence: 0, unit, expected: f64::NAN, found: f64::NAN };
    one_step(compared, cell, "keras", 0, place, None)
}

/// One unit's step from the oracle's state; the whole cell's where units do not stand alone.
fn one_step(
    compared: &Compared,
    cell: &Cell<'_>,
    lane: &str,
    t: usize,
    place: Place,
    limit: Option<f64>,
) -> Option<Part> {
    let truth = &compared.subjects[cell.network].truth;
    let batch = compared.batches[cell.network].select(place.sequence..place.sequence + 1);
    let replay::Step { x, h, c } = replay::step(truth, &batch, cell.index, t)?;
    let tf1 = *truth.cells().get(cell.index)?;
    let keras = *compared.candidates[cell.network].network.cells().get(cell.index)?;
    let (tf1, keras, x, h, c, unit) = match (one_unit::of_tf1(tf1, place.unit), one_unit::of_keras(keras, place.unit)) {
        (Some(tf1), Some(keras)) => {
            let (x, own) = one_unit::reads(x.view(), h.view(), place.unit)?;
            (tf1, keras, x, Array1::from_elem(1, own), Array1::from_elem(1, c[place.unit]), 0)
        }
        // The two forms of a projected cell start from different states.
        _ if tf1.projection.is_some() || keras.output_projection.is_some() => return None,
        _ => (tf1.clone(), keras.clone(), x, h, c, place.unit),
    };
    let row = |v: Array1<f32>| -> Array2<f32> { v.insert_axis(Axis(0)) };
    let batch = Batch {
        x: row(x).insert_axis(Axis(0)),
        lengths: None,
        initial: vec![State { h: row(h), c: row(c) }],
        record_gates: true,
    };
    Some(Part {
        first: cell.number,
        shows: Shows::Step(element(lane, t, place, limit, place.expected, Here { cell: 0, step: 0, unit })),
        truth: Network::Cell(tf1),
        candidate: Network::Cell(keras),
        settings: compared.candidates[cell.network].settings.get(cell.index).cloned().unwrap_or_default(),
        inputs: Inputs::given(&batch, None),
    })
}

/// One sequence up to the first step at which the lanes, running freely, are further apart than they may be.
fn carried(args: &args::Verify, compared: &Compared, cell: &Cell<'_>) -> Option<Part> {
    let step = cell.report.steps.iter().find(|s| s.carried.states().count > 0 && !s.carried.keras_within())?;
    let place = step.carried.states().at.filter(|_| step.carried.allowed.is_finite())?;
    let (truth, candidate, batch) = network(compared, cell);
    // What is read last step first needs all of them.
    let backwards = truth.placed_cells().iter().any(|(p, _)| p.direction == Direction::Backward)
        || candidate.cells().iter().any(|c| c.go_backwards);
    let steps = if backwards { batch.timesteps() } else { step.t + 1 };
    let only = Only { sequence: place.sequence, steps };
    let inputs = match args.inputs {
        None => Inputs::Drawn { sequences: batch.sequences(), timesteps: batch.timesteps(), only: Some(only) },
        Some(_) => Inputs::given(&file::first_steps(batch, place.sequence, steps), None),
    };
    let here = Here { cell: cell.index, step: step.t, unit: place.unit };
    let shows =
        Shows::Sequence(element("keras", step.t, place, Some(step.carried.allowed), step.carried.truth_there, here));
    Some(of_network(compared, cell, shows, inputs))
}

/// All that the network was tried with.
fn whole(args: &args::Verify, compared: &Compared, cell: &Cell<'_>) -> Part {
    let batch = &compared.batches[cell.network];
    let inputs = match args.inputs {
        None => Inputs::Drawn { sequences: batch.sequences(), timesteps: batch.timesteps(), only: None },
        Some(_) => Inputs::given(batch, compared.recorded.as_ref()),
    };
    of_network(compared, cell, Shows::Whole { atol: args.atol, rtol: args.rtol }, inputs)
}

fn network<'a>(compared: &'a Compared, cell: &Cell<'_>) -> (&'a Network<Tf1Cell>, &'a Network<KerasCell>, &'a Batch) {
    let number = cell.network;
    (&compared.subjects[number].truth, &compared.candidates[number].network, &compared.batches[number])
}

fn of_network(compared: &Compared, cell: &Cell<'_>, shows: Shows, inputs: Inputs) -> Part {
    let (truth, candidate, _) = network(compared, cell);
    Part {
        first: cell.number,
        shows,
        truth: truth.clone(),
        candidate: candidate.clone(),
        settings: compared.candidates[cell.network].settings.concat(),
        inputs,
    }
}

fn element(lane: &str, step: usize, place: Place, limit: Option<f64>, oracle: f64, here: Here) -> Element {
    let finite = |v: f64| Some(v).filter(|v| v.is_finite());
    Element {
        lane: lane.to_owned(),
        quantity: place.quantity.as_str().to_owned(),
        sequence: place.sequence,
        step,
        unit: place.unit,
        here,
        oracle: finite(oracle),
        found: finite(place.found),
        limit: limit.and_then(finite),
    }
}
