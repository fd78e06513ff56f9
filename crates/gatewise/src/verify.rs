//! `gatewise verify`: certify a conversion.

use std::path::PathBuf;

use disk::Disk;
use lanes::{Device, KerasLstm, SelfCheck, Tf1FusedLstm};
use lstm::Batch;
use lstm::detect::{FoundCell, Source};
use ndarray::Array3;
use parity::{CellReport, Lane, Lanes, Reason, Verdict};
use report::document;

use crate::args::{self, Format};
use crate::candidate::{self, Candidate, Slot};
use crate::error::CliError;
use crate::exit::Code;
use crate::progress::Progress;
use crate::source::{self, Subject};
use crate::store::Store;
use crate::streamed::{self, Found};
use crate::{bundle, certificate, comparison, devices, layers, other_origin, output, recorded, shell};

/// What a verification found.
pub(crate) struct Judged {
    pub(crate) document: document::Verify,
    pub(crate) verdict: Verdict,
    pub(crate) compared: Compared,
}

/// What was compared, and what the comparison measured.
pub(crate) struct Compared {
    pub(crate) store: Store,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) candidate_files: Vec<PathBuf>,
    /// The inputs of each network, and the outputs recorded for them.
    pub(crate) batches: Vec<Batch>,
    pub(crate) recorded: Option<Array3<f32>>,
    pub(crate) cells: Vec<CellReport>,
}

pub(crate) fn run(args: &args::Verify) -> Result<Code, CliError> {
    let evidence = &args.evidence;
    let key = evidence.sign.as_deref().map(certificate::private_key).transpose()?;
    evidence.bundle.as_deref().map_or(Ok(()), bundle::refuse_existing)?;
    let args = &streamed::sized(args);
    let judged = judge_sized(args)?;
    let mut files = vec![];
    if let Some(path) = &args.report {
        files.push((path.clone(), report::html(&judged.document, &command_line()).into_bytes()));
    }
    if let Some(path) = &evidence.certificate {
        files.push((path.clone(), certificate::certify(args, &judged, evidence.created.as_deref(), key.as_ref())?));
    }
    output::write_all(&files)?;
    if let Some(folder) = &evidence.bundle {
        bundle::write(args, &judged, folder)?;
    }
    let Judged { document, verdict, .. } = judged;
    let style = args.display.look.style();
    let steps = if args.steps { report::Steps::All } else { report::Steps::Telling };
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human if args.display.look.quiet => output::print(&report::verdict_line(&document, style))?,
        Format::Human => output::print(&report::verify_text(&document, steps, style))?,
    }
    Ok(verdict.into())
}

/// Verifies without showing anything but progress: one case of a suite, or what is repeated.
pub(crate) fn judge(args: &args::Verify) -> Result<Judged, CliError> {
    judge_sized(&streamed::sized(args))
}

fn judge_sized(args: &args::Verify) -> Result<Judged, CliError> {
    let quiet = args.display.look.quiet;
    let opened = source::find(&args.source, Some(&args.facts))?;
    // Without a candidate there must be a right conversion; with one, the truth is run whatever it is.
    let subjects = if args.candidate.is_some() { opened.load(quiet)? } else { opened.load_convertible(quiet)? };
    let store = &opened.store;
    let mut notes = opened.detection.notes.clone();
    notes.extend(assumed(&subjects));
    notes.extend(source::precision(store, &subjects));
    let (candidates, format, candidate_files) = match &args.candidate {
        None => {
            // What has no form in Keras though each of its cells has one: only projections do that.
            if subjects.iter().flat_map(|s| s.keras.cells()).any(|cell| cell.output_projection.is_some()) {
                layers::all(&subjects, &store.path)?;
            }
            (subjects.iter().map(own_conversion).collect(), "gatewise conversion, in memory".to_owned(), vec![])
        }
        Some(path) => {
            let opened_file = candidate::open(&store.disk, path)?;
            let (candidates, more) = candidate::match_layers(
                path,
                &opened_file,
                &subjects,
                &opened.map,
                opened.knows_merges(),
                args.keras.map(args::KerasMajor::number),
            )?;
            notes.extend(more);
            (candidates, opened_file.format, opened_file.files)
        }
    };
    for subject in &subjects {
        if let Some((cell, reason)) = &subject.refused {
            notes.push(format!("no Keras LSTM computes what {cell} does: {reason}; the nearest one is compared with"));
        }
    }

    let written: Vec<&PathBuf> =
        args.report.iter().chain(&args.evidence.certificate).chain(&args.evidence.bundle).collect();
    for (index, path) in written.iter().enumerate() {
        written[..index].iter().try_for_each(|other| output::refuse_one_for_two(other, path))?;
    }
    for path in args.report.iter().chain(&args.evidence.certificate) {
        output::refuse_to_overwrite(path, &read_files(store, args, &candidate_files))?;
    }

    let device = Device::open(args.device)?;
    if device.info().is_software && !quiet {
        eprintln!("note: {} is a software adapter: it runs on the CPU", report::printable(&device.info().name));
    }
    let check = SelfCheck::run(&device, &comparison::functions(&subjects, &candidates));
    let streams = streamed::applies(args, &subjects, &candidates)?;
    let check = if streams { check.and_kernels(&device) } else { check };
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device.clone()));
    let lanes = Lanes { tf1: &tf1, keras: &keras };
    let (batches, y) = if streams { (vec![], None) } else { batches(&store.disk, args, &subjects)? };
    let found = if streams {
        streamed::compare(args, &subjects, &candidates, lanes, &device, (&check.budget, &check.failures))
    } else {
        whole(args, &subjects, &candidates, lanes, &batches, &check)
    };
    let Found { cells, screened, mut verdict, mut reasons, judged, note } = found;
    notes.extend(note);
    if let (Some(y), [subject], [batch]) = (&y, &subjects[..], &batches[..]) {
        let report = parity::outputs::judge(&subject.truth, batch, y, &keras, &check.budget, args.seed)?;
        let names: Vec<String> = subject.found.cells().iter().map(|c| c.name.clone()).collect();
        match comparison::recorded_outputs(&subject.name, &names, &report) {
            Some(reason) => reasons.push(reason),
            None => notes.push(comparison::recorded_outputs_agree(&report)),
        }
    }
    verdict = reasons.iter().map(|r| r.verdict).fold(verdict, Verdict::max);
    reasons.sort_by_key(|r| std::cmp::Reverse(r.verdict));
    notes.extend(cells.iter().flat_map(|c| c.clips.iter().map(|clip| format!("{}: {}", c.name, clip.note()))));
    let mut lstms: Vec<document::VerifiedLstm> = cells.iter().map(document::VerifiedLstm::from).collect();
    lstms.iter_mut().zip(screened).for_each(|(lstm, screened)| lstm.screened = screened);
    let at_once = batches.first().map_or(args.sequences, Batch::sequences);
    if verdict == Verdict::Fail {
        diagnose(store, &subjects, &candidates, &mut lstms);
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
        device: devices::describe(args.device, device.info(), &check),
        settings: document::Settings {
            sequences: at_once,
            timesteps: batches.first().map_or(args.timesteps, Batch::timesteps),
            judged,
            seed: args.seed,
            lanes: vec![Lane::name(&tf1), Lane::name(&keras)],
            lambda: parity::bound::LAMBDA,
            activation_budget_ulp: check
                .activations
                .iter()
                .map(|e| (e.function.to_string(), check.budget.ulp(e.function)))
                .collect(),
            carried_factor: parity::CARRIED_FACTOR,
            carried_ulp: parity::CARRIED_ULP,
            ensemble_members: parity::ensemble::members(at_once),
            atol: args.atol,
            rtol: args.rtol,
        },
        inputs: inputs(store, args, format, &candidate_files)?,
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
    let compared = Compared { store: opened.store, subjects, candidates, candidate_files, batches, recorded: y, cells };
    Ok(Judged { document, verdict, compared })
}

/// All sequences at once, each judged.
fn whole(
    args: &args::Verify,
    subjects: &[Subject],
    candidates: &[Candidate],
    lanes: Lanes<'_>,
    batches: &[Batch],
    check: &SelfCheck,
) -> Found {
    let quiet = args.display.look.quiet;
    let cells = comparison::compare(subjects, candidates, lanes, batches, args.seed, &check.budget, quiet);
    let (verdict, mut reasons) = parity::conclude_on_device(&cells, &check.failures);
    reasons.extend(comparison::tolerances(&cells, args.atol, args.rtol));
    Found { cells, screened: vec![], verdict, reasons, judged: None, note: None }
}

/// Every file that the verification reads.
fn read_files(store: &Store, args: &args::Verify, candidate: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = store.files.clone();
    files.extend(candidate.iter().chain(&args.inputs).chain(&args.source.map).chain(&args.evidence.sign).cloned());
    files
}

/// The command as it was given.
fn command_line() -> String {
    shell::quoted(std::iter::once("gatewise".into()).chain(std::env::args_os().skip(1)))
}

/// The inputs of every network, and recorded outputs where there are some.
fn batches(
    disk: &Disk,
    args: &args::Verify,
    subjects: &[Subject],
) -> Result<(Vec<Batch>, Option<Array3<f32>>), CliError> {
    let Some(path) = &args.inputs else {
        let spec = streamed::spec(args);
        return Ok((subjects.iter().map(|s| parity::inputs::draw(spec, &s.truth)).collect(), None));
    };
    let [subject] = subjects else {
        return Err(CliError::OneNetwork(subjects.iter().map(|s| s.name.clone()).collect()));
    };
    let recorded = recorded::read(disk, path, &subject.truth)?;
    Ok((vec![recorded.batch], recorded.y))
}

/// Facts that no file states: a pass rests on them.
fn assumed(subjects: &[Subject]) -> Vec<String> {
    let cells = || subjects.iter().flat_map(|s| s.found.cells());
    let mut notes = vec![];
    if let Some(cell) = cells().find(|c| c.forget_bias.source == Source::CellDefault) {
        notes.push(format!(
            "no graph says which forget bias is added at run time: {}'s default of {} is assumed (--forget-bias says otherwise)",
            cell.kind, cell.forget_bias.value
        ));
    }
    if let Some(cell) = cells().find(|c| c.kind.is_keras() && c.recurrent_activation.source == Source::CellDefault) {
        notes.push(format!(
            "nothing says what the gates of {} go through: {} is assumed, as the Keras of its time defaults to \
             (--recurrent-activation says otherwise)",
            cell.name, cell.recurrent_activation.value
        ));
    }
    if let Some(cell) = cells().find(|c| c.activation.source == Source::CellDefault) {
        notes.push(format!(
            "no graph says which activation the cells use: {}'s default of {} is assumed (--activation says otherwise)",
            cell.kind, cell.activation.value
        ));
    }
    notes
}

/// Says of every cell what explains its difference from the right conversion.
fn diagnose(store: &Store, subjects: &[Subject], candidates: &[Candidate], lstms: &mut [document::VerifiedLstm]) {
    let cells: Vec<&FoundCell> = subjects.iter().flat_map(|s| s.found.cells()).collect();
    let mut first = 0;
    for (subject, candidate) in subjects.iter().zip(candidates) {
        for found in lstm::diagnose::explain_network(&subject.truth, &candidate.network) {
            for cell in found.cells {
                if let Some(lstm) = lstms.get_mut(first + cell) {
                    lstm.diagnosis.push(diagnosis(&found.explanation));
                }
            }
        }
        for (cell, candidate) in candidate.network.cells().into_iter().enumerate() {
            let Some(lstm) = lstms.get_mut(first + cell) else { continue };
            let unexplained = lstm.diagnosis.first().is_some_and(|d| d.fault.contains("weights-differ"));
            if let Some(origin) =
                unexplained.then(|| other_origin::find(store, &cells, first + cell, candidate)).flatten()
            {
                lstm.diagnosis.insert(0, origin);
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

/// The conversion that `gatewise convert` writes.
fn own_conversion(subject: &Subject) -> Candidate {
    let cells = subject.keras.cells().len();
    let mut names = vec![];
    for (layer, slot) in candidate::slots(&subject.keras).into_iter().enumerate() {
        match slot {
            Slot::Single | Slot::Backward => names.push(format!("own layer {layer}")),
            Slot::Pair => names.extend([format!("own layer {layer}/forward"), format!("own layer {layer}/backward")]),
        }
    }
    Candidate { network: subject.keras.clone(), names, settings: vec![vec![]; cells] }
}

fn inputs(
    store: &Store,
    args: &args::Verify,
    format: String,
    candidate_files: &[PathBuf],
) -> Result<document::Inputs, CliError> {
    let mut files = store.files.clone();
    // A candidate's one file is listed twice.
    files.extend(candidate_files.iter().chain(&args.inputs).cloned());
    let total = files.iter().map(|f| f.metadata().map_or(0, |m| m.len())).sum();
    let progress = Progress::bytes("hashing", total, args.display.look.quiet);
    let digest = |path: &std::path::Path| -> Result<document::FileDigest, CliError> {
        let sha256 = store.disk.sha256(path, |n| progress.add(n))?;
        Ok(document::FileDigest { path: path.display().to_string(), sha256 })
    };
    Ok(document::Inputs {
        checkpoint: store.files.iter().map(|f| digest(f)).collect::<Result<_, _>>()?,
        // Of an object-based checkpoint the index, which holds the checksums of the rest.
        candidate: candidate_files
            .iter()
            .find(|f| candidate_files.len() == 1 || f.extension().is_some_and(|e| e == "index"))
            .map(|f| digest(f))
            .transpose()?,
        candidate_files: candidate_files.iter().map(|f| digest(f)).collect::<Result<_, _>>()?,
        recorded: args.inputs.as_deref().map(digest).transpose()?,
        candidate_format: format,
    })
}
