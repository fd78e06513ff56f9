//! Runs of more sequences than are judged: what cannot hide among them, and what does not pass.

mod plain;

use std::ops::Range;
use std::sync::Mutex;

use lstm::{Batch, KerasCell, Network, Tf1Cell, Trace, convert};
use parity::apart::{Apart, StepApart};
use parity::streaming::ALL_JUDGED;
use parity::{
    ActivationBudget, HostScreen, InputSpec, Lane, LaneError, Lanes, Reason, Screen, Streamed, Streaming, Subject,
    Verdict, conclude, inputs, verify,
};
use plain::{Plain, random_cell};

const SEQUENCES: usize = 2000;
const SPEC: InputSpec = InputSpec { sequences: SEQUENCES, timesteps: 12, seed: 3 };

fn network() -> (Network<Tf1Cell>, Network<KerasCell>) {
    let cell = random_cell(5, 8, 0.6, 1);
    (Network::Cell(cell.clone()), Network::Cell(convert::to_keras(&cell).unwrap()))
}

fn run_with(keras: &dyn Lane<KerasCell>, screen: Option<&dyn Screen>, spec: InputSpec, memory: u64) -> Streamed {
    let (truth, right) = network();
    let names = vec!["cell".to_owned()];
    let subject =
        Subject { truth: &truth, expected: &right, candidate: &right, names: names.clone(), candidate_names: names };
    let lanes = Lanes { tf1: &Plain, keras };
    let host = HostScreen { lanes };
    let budget = ActivationBudget::new(|_| 4.0);
    let streaming =
        Streaming { subject: &subject, lanes, screen: screen.unwrap_or(&host), spec, memory, budget: &budget };
    streaming.run(&|_, _| {})
}

fn run(keras: &dyn Lane<KerasCell>) -> (Streamed, Verdict, Vec<Reason>) {
    let streamed = run_with(keras, None, SPEC, 1 << 30);
    let (verdict, reasons) = streamed.conclude(&[]);
    (streamed, verdict, reasons)
}

/// Adds to h of one sequence, which it knows by its input, from a step on.
struct WrongIn {
    /// The first input of the sequence, as bits.
    known_by: u32,
    by: f32,
}

impl WrongIn {
    fn sequence(sequence: usize, by: f32) -> WrongIn {
        let batch = inputs::draw_some(SPEC, &[sequence], &network().0);
        WrongIn { known_by: batch.x[[0, 0, 0]].to_bits(), by }
    }
}

impl Lane<KerasCell> for WrongIn {
    fn name(&self) -> String {
        "wrong in one sequence".to_owned()
    }

    fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        let mut trace = Plain.run(network, batch)?;
        for n in 0..batch.sequences() {
            if batch.x[[n, 0, 0]].to_bits() == self.known_by {
                for t in 4..batch.timesteps() {
                    if batch.is_valid(n, t) {
                        trace.cells[0].h[[n, t, 2]] += self.by;
                    }
                }
            }
        }
        Ok(trace)
    }
}

#[test]
fn right_lanes_pass_and_the_furthest_of_every_step_was_judged() {
    let (streamed, verdict, reasons) = run(&Plain);
    assert_eq!((verdict, &reasons), (Verdict::Pass, &vec![]));
    assert!(streamed.judged >= 64 + 40 && streamed.judged <= ALL_JUDGED, "{}", streamed.judged);
    let cells = streamed.cells();
    let valid: usize = (0..SEQUENCES).map(|n| inputs::length(SPEC, n)).sum();
    let compared: u64 = streamed.screened[0].iter().map(|s| s.states().count).sum();
    assert_eq!(compared, (valid * 16) as u64);
    assert_eq!(cells[0].compared, cells[0].expected);
    for (t, (all, judged)) in streamed.screened[0].iter().zip(&cells[0].steps).enumerate() {
        assert!(all.states().max_abs() > 0.0);
        assert_eq!(all.states().max_abs(), judged.carried.states().max_abs, "step {t}");
        let at = judged.carried.states().at.unwrap();
        assert_eq!(at.sequence, all.states().abs.unwrap().sequence, "numbered as in the whole run");
    }
}

#[test]
fn the_first_block_is_what_a_run_of_the_default_size_gives() {
    let (streamed, ..) = run(&Plain);
    let (truth, right) = network();
    let names = vec!["cell".to_owned()];
    let subject =
        Subject { truth: &truth, expected: &right, candidate: &right, names: names.clone(), candidate_names: names };
    let batch = inputs::draw(InputSpec { sequences: 64, ..SPEC }, &truth);
    let lanes = Lanes { tf1: &Plain, keras: &Plain };
    let alone = verify(&subject, lanes, &batch, SPEC.seed, &ActivationBudget::new(|_| 4.0), &|_| {});
    assert_eq!(streamed.blocks[0][0].steps, alone[0].steps);
    assert_eq!(conclude(&alone).0, Verdict::Pass);
}

#[test]
fn one_wrong_sequence_among_thousands_fails() {
    // Not among the first 64, and the sample of 64 is unlikely to hold one of them all.
    for sequence in [999, 1500, 1998] {
        for by in [1e-4, -3.0, f32::NAN, f32::INFINITY] {
            let (_, verdict, reasons) = run(&WrongIn::sequence(sequence, by));
            assert_eq!(verdict, Verdict::Fail, "{by} in sequence {sequence}: {reasons:?}");
        }
    }
}

/// A lane that is right when few sequences are run, and wrong among many.
struct WrongAmongMany;

impl Lane<KerasCell> for WrongAmongMany {
    fn name(&self) -> String {
        "wrong among many".to_owned()
    }

    fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        let mut trace = Plain.run(network, batch)?;
        if batch.sequences() > 200 && batch.timesteps() > 1 {
            trace.cells[0].c[[150, 1, 2]] += 1e-3;
        }
        Ok(trace)
    }
}

#[test]
fn what_does_not_happen_again_where_it_is_judged_is_no_pass() {
    let (_, verdict, reasons) = run(&WrongAmongMany);
    assert_eq!(verdict, Verdict::Inconclusive);
    let text = &reasons[0].text;
    assert!(
        text.starts_with("over all sequences, first at step 1: the lanes are 1.00e-3 apart in sequence 150"),
        "{text}"
    );
}

/// A screen whose results something is done to.
struct Tampered<'a>(HostScreen<'a>, fn(&mut Vec<Vec<StepApart>>) -> Result<(), LaneError>);

impl Screen for Tampered<'_> {
    fn bytes_per_sequence(&self, truth: &Network<Tf1Cell>, candidate: &Network<KerasCell>, spec: InputSpec) -> u64 {
        self.0.bytes_per_sequence(truth, candidate, spec)
    }

    fn screen(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: &Network<KerasCell>,
        spec: InputSpec,
        sequences: Range<usize>,
    ) -> Result<Vec<Vec<StepApart>>, LaneError> {
        let mut found = self.0.screen(truth, candidate, spec, sequences)?;
        (self.1)(&mut found)?;
        Ok(found)
    }
}

#[test]
fn a_screen_that_leaves_something_out_does_not_pass() {
    type Tamper = fn(&mut Vec<Vec<StepApart>>) -> Result<(), LaneError>;
    let tamper: [(&str, Tamper); 6] = [
        ("values were compared", |found| {
            found[0][3].h.count -= 1;
            Ok(())
        }),
        ("values were compared", |found| {
            found[0][3].c = Apart::default();
            Ok(())
        }),
        ("not finite", |found| {
            found[0][3].h.non_finite = 1;
            found[0][3].h.first_non_finite = found[0][3].h.abs;
            Ok(())
        }),
        ("missing or misshapen", |found| {
            found[0].pop();
            Ok(())
        }),
        ("missing or misshapen", |found| {
            found.pop();
            Ok(())
        }),
        ("the device is lost", |_| {
            let message = "the device is lost".to_owned();
            Err(LaneError::Device { lane: "both".to_owned(), device: "gone".to_owned(), message })
        }),
    ];
    for (says, tamper) in tamper {
        let screen = Tampered(HostScreen { lanes: Lanes { tf1: &Plain, keras: &Plain } }, tamper);
        let (verdict, reasons) = run_with(&Plain, Some(&screen), SPEC, 1 << 30).conclude(&[]);
        assert_eq!(verdict, Verdict::Inconclusive, "{says}");
        assert!(reasons.iter().any(|r| r.text.contains(says)), "{says}: {reasons:?}");
    }
}

/// Notes the largest batch that it is given.
struct Noting(Mutex<usize>);

impl Lane<KerasCell> for Noting {
    fn name(&self) -> String {
        "noting".to_owned()
    }

    fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        // One-step batches are a block's points.
        if batch.timesteps() > 1 {
            let mut largest = self.0.lock().unwrap();
            *largest = largest.max(batch.sequences());
        }
        Plain.run(network, batch)
    }
}

#[test]
fn batches_shrink_with_the_memory_and_the_result_stays() {
    let (full, ..) = run(&Plain);
    let lane = Noting(Mutex::new(0));
    let streamed = run_with(&lane, None, SPEC, 2 << 20);
    assert!(*lane.0.lock().unwrap() < 300, "{:?}", lane.0);
    assert_eq!(streamed.conclude(&[]).0, Verdict::Pass);
    assert_eq!(streamed.screened, full.screened);
    assert!(streamed.blocks.len() > full.blocks.len());
    // Blocks have noise floors of their own, and the same lanes.
    let apart = |s: &Streamed| s.cells()[0].steps.iter().map(|s| s.carried.states().max_abs).collect::<Vec<_>>();
    assert_eq!((apart(&streamed), streamed.judged), (apart(&full), full.judged));
}

#[test]
fn few_sequences_are_all_judged() {
    let spec = InputSpec { sequences: 100, ..SPEC };
    let streamed = run_with(&Plain, None, spec, 1 << 30);
    assert_eq!((streamed.judged, streamed.screened.len(), streamed.blocks.len()), (100, 0, 2));
    assert_eq!(streamed.conclude(&[]).0, Verdict::Pass);
    let cells = streamed.cells();
    let valid: usize = (0..100).map(|n| inputs::length(spec, n)).sum();
    assert_eq!((cells[0].compared, cells[0].expected), ((valid * 16) as u64, (valid * 16) as u64));
    assert_eq!(streamed.conclude(&["sums are wrong".to_owned()]).0, Verdict::Inconclusive);
}

#[test]
fn more_sequences_than_can_be_numbered_are_refused() {
    let spec = InputSpec { sequences: 1 << 33, ..SPEC };
    let (verdict, reasons) = run_with(&Plain, None, spec, 1 << 30).conclude(&[]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons.iter().any(|r| r.text.contains("can be numbered")), "{reasons:?}");
}

#[test]
fn nothing_at_all_is_no_pass() {
    assert_eq!(Streamed::default().conclude(&[]).0, Verdict::Inconclusive);
}

/// A device that has room for so many sequences at a time.
struct Room {
    sequences: usize,
    /// From sequence [`LATE`](Room::LATE) on.
    late: usize,
    /// What it says that a sequence takes.
    bytes: u64,
    /// The sizes of the pieces that it was asked for.
    asked: Mutex<Vec<usize>>,
}

impl Room {
    const LATE: usize = 500;

    fn of(sequences: usize) -> Room {
        Room { sequences, late: sequences, bytes: 1, asked: Mutex::new(vec![]) }
    }
}

impl Screen for Room {
    fn bytes_per_sequence(&self, _: &Network<Tf1Cell>, _: &Network<KerasCell>, _: InputSpec) -> u64 {
        self.bytes
    }

    fn screen(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: &Network<KerasCell>,
        spec: InputSpec,
        sequences: Range<usize>,
    ) -> Result<Vec<Vec<StepApart>>, LaneError> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(sequences.len());
        assert!(asked.len() < 200, "it is asked for ever");
        if sequences.len() > if sequences.start < Room::LATE { self.sequences } else { self.late } {
            let (lane, device) = ("lane".to_owned(), "device".to_owned());
            return Err(LaneError::Device { lane, device, message: "out of memory".to_owned() });
        }
        HostScreen { lanes: Lanes { tf1: &Plain, keras: &Plain } }.screen(truth, candidate, spec, sequences)
    }
}

#[test]
fn a_device_out_of_memory_gets_smaller_pieces() {
    let room = Room::of(300);
    let streamed = run_with(&Plain, Some(&room), SPEC, 1 << 30);
    assert_eq!(streamed.conclude(&[]), (Verdict::Pass, vec![]));
    assert_eq!(room.asked.lock().unwrap()[..4], [2000, 1000, 500, 250]);
    assert_eq!(streamed.screened, run_with(&Plain, None, SPEC, 1 << 30).screened, "the pieces make no difference");
}

#[test]
fn a_device_without_room_for_one_sequence_says_so_and_nothing_passes() {
    let room = Room::of(0);
    let (verdict, reasons) = run_with(&Plain, Some(&room), SPEC, 1 << 30).conclude(&[]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons.iter().any(|r| r.text.contains("not even one sequence at a time: lane on device: out of memory")));
    assert!(room.asked.lock().unwrap().len() < 20);
}

/// However late a device fails, it is asked for smaller pieces and then no more.
#[test]
fn a_device_that_runs_out_of_memory_late_is_asked_for_smaller_pieces_and_then_no_more() {
    // 256 at a time.
    let memory = 1 << 30;
    let with = |late: usize| Room { late, bytes: 1 << 20, ..Room::of(1000) };
    let room = with(100);
    assert_eq!(run_with(&Plain, Some(&room), SPEC, memory).conclude(&[]), (Verdict::Pass, vec![]));
    assert_eq!(room.asked.lock().unwrap()[..6], [256, 256, 256, 128, 64, 64]);
    let (verdict, reasons) = run_with(&Plain, Some(&with(0)), SPEC, memory).conclude(&[]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons.iter().any(|r| r.text.contains("not even one sequence at a time")), "{reasons:?}");
}

/// A lane that gives the trace of a cell that the network does not have.
struct OneTooMany;

impl Lane<KerasCell> for OneTooMany {
    fn name(&self) -> String {
        "one too many".to_owned()
    }

    fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        let mut trace = Plain.run(network, batch)?;
        trace.cells.push(trace.cells[0].clone());
        Ok(trace)
    }
}

#[test]
fn a_cell_too_many_is_no_pass() {
    let (truth, right) = network();
    let host = HostScreen { lanes: Lanes { tf1: &Plain, keras: &OneTooMany } };
    assert!(matches!(host.screen(&truth, &right, SPEC, 0..3), Err(LaneError::Shape { .. })));
    let (_, verdict, reasons) = run(&OneTooMany);
    assert_eq!(verdict, Verdict::Inconclusive);
    let says = "cells in the output: expected [1, 1], found [1, 2]";
    assert!(reasons.iter().any(|r| r.text.contains(says)), "{reasons:?}");
}

/// The gravest of all blocks counts, whatever the blocks before it said of the cell; and nothing is said twice.
#[test]
fn a_later_block_can_fail_what_an_earlier_one_left_open() {
    let passing = run_with(&Plain, None, InputSpec { sequences: 100, ..SPEC }, 1 << 30);
    let (first, second) = (passing.blocks[0].clone(), passing.blocks[1].clone());
    let (mut open, mut wrong) = (first.clone(), second.clone());
    open[0].degenerate = true;
    wrong[0].steps[3].keras_local.0[1].ratio = 1.5;
    let of = |blocks: &[&Vec<parity::CellReport>]| {
        let mut streamed = Streamed::default();
        streamed.blocks = blocks.iter().map(|block| (*block).clone()).collect();
        let (verdict, reasons) = streamed.conclude(&[]);
        (verdict, reasons.len())
    };
    assert_eq!(of(&[&first, &second]), (Verdict::Pass, 0));
    assert_eq!(of(&[&open, &wrong]), (Verdict::Fail, 2));
    assert_eq!(of(&[&wrong, &open]), (Verdict::Fail, 2));
    assert_eq!(of(&[&wrong, &wrong]), (Verdict::Fail, 1));
    assert_eq!(of(&[&open, &first]), (Verdict::Inconclusive, 1));
}
