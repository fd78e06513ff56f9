//! Every way a verifier could pass without reason, planted and seen not to pass.

mod plain;

use lstm::fault::Fault;
use lstm::{Batch, KerasCell, Network, Tf1Cell, Trace, convert};
use ndarray::{Array1, Array2, Array3};
use parity::{
    ActivationBudget, CellReport, InputSpec, Lane, LaneError, Lanes, Reason, Subject, Verdict, conclude, inputs, verify,
};
use plain::{Plain, random_cell};

/// A right lane whose every result is changed.
struct Changed<F>(F);

impl<C, F: Fn(&Network<C>, Trace<f32>) -> Result<Trace<f32>, LaneError> + Sync> Lane<C> for Changed<F>
where
    Plain: Lane<C>,
{
    fn name(&self) -> String {
        "changed".to_owned()
    }

    fn run(&self, network: &Network<C>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        (self.0)(network, Plain.run(network, batch)?)
    }
}

fn network() -> Network<Tf1Cell> {
    Network::Cell(random_cell(5, 8, 0.6, 1))
}

fn batch(network: &Network<Tf1Cell>) -> Batch {
    inputs::draw(InputSpec { sequences: 12, timesteps: 15, seed: 0 }, network)
}

fn run(network: &Network<Tf1Cell>, tf1: &dyn Lane<Tf1Cell>, keras: &dyn Lane<KerasCell>) -> Vec<CellReport> {
    run_with(&ActivationBudget::new(|_| 4.0), batch(network), network, tf1, keras)
}

fn run_with(
    budget: &ActivationBudget,
    batch: Batch,
    network: &Network<Tf1Cell>,
    tf1: &dyn Lane<Tf1Cell>,
    keras: &dyn Lane<KerasCell>,
) -> Vec<CellReport> {
    let right = convert::network_to_keras(network).unwrap();
    let cells = network.cells().len();
    let names: Vec<String> = (0..cells).map(|k| format!("cell {k}")).collect();
    let subject =
        Subject { truth: network, expected: &right, candidate: &right, names: names.clone(), candidate_names: names };
    verify(&subject, Lanes { tf1, keras }, &batch, 0, budget, &|_| {})
}

#[track_caller]
fn does_not_pass(what: &str, tf1: &dyn Lane<Tf1Cell>, keras: &dyn Lane<KerasCell>, words: &str) -> Vec<Reason> {
    let (verdict, reasons) = conclude(&run(&network(), tf1, keras));
    assert_ne!(verdict, Verdict::Pass, "{what}");
    let text = reasons.iter().map(|r| r.text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(text.contains(words), "{what}: no reason says {words:?}:\n{text}");
    reasons
}

#[test]
fn right_lanes_pass_so_that_the_rest_means_something() {
    let (verdict, reasons) = conclude(&run(&network(), &Plain, &Plain));
    assert_eq!(verdict, Verdict::Pass, "{reasons:#?}");
}

#[test]
fn a_missing_output() {
    let none = Changed(|_: &Network<KerasCell>, mut t: Trace<f32>| {
        t.cells.clear();
        Ok(t)
    });
    does_not_pass("no cells", &Plain, &none, "0 cells in the output: expected 1");
    let no_gates = Changed(|_: &Network<KerasCell>, mut t: Trace<f32>| {
        t.cells[0].gates = None;
        Ok(t)
    });
    does_not_pass("no gates", &Plain, &no_gates, "no gates of cell 0");
}

#[test]
fn a_shape_mismatch() {
    let short = Changed(|_: &Network<KerasCell>, mut t: Trace<f32>| {
        t.cells[0].h = t.cells[0].h.slice(ndarray::s![.., ..-1, ..]).to_owned();
        Ok(t)
    });
    does_not_pass("one step short", &Plain, &short, "expected [12, 15, 8]");
    let narrow = Changed(|_: &Network<Tf1Cell>, mut t: Trace<f32>| {
        t.cells[0].c = t.cells[0].c.slice(ndarray::s![.., .., 1..]).to_owned();
        Ok(t)
    });
    does_not_pass("one unit short", &narrow, &Plain, "expected [12, 15, 8]");
}

fn spoil(mut trace: Trace<f32>, value: f32) -> Trace<f32> {
    let cell = &mut trace.cells[0];
    let (n, t, u) = cell.h.dim();
    cell.h[[n - 1, t - 1, u - 1]] = value;
    cell.h[[0, 0, 0]] = value;
    trace
}

#[test]
fn nan_in_one_lane_and_in_both() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let keras = Changed(move |_: &Network<KerasCell>, t| Ok(spoil(t, value)));
        let tf1 = Changed(move |_: &Network<Tf1Cell>, t| Ok(spoil(t, value)));
        let reasons = does_not_pass("Keras lane", &Plain, &keras, "not finite");
        assert_eq!(reasons[0].verdict, Verdict::Fail);
        does_not_pass("TF1 lane", &tf1, &Plain, "not finite");
        does_not_pass("both", &tf1, &keras, "not finite");
    }
}

#[test]
fn all_zeros_and_constants_on_both_sides() {
    for value in [0.0, 0.25] {
        let fill = move |mut t: Trace<f32>| {
            for cell in &mut t.cells {
                cell.h.fill(value);
                cell.c.fill(value);
            }
            Ok(t)
        };
        let tf1 = Changed(move |_: &Network<Tf1Cell>, t| fill(t));
        let keras = Changed(move |_: &Network<KerasCell>, t| fill(t));
        does_not_pass("both lanes give the same constant", &tf1, &keras, "both lanes disagree with the oracle");
    }
}

#[test]
fn a_model_on_which_nothing_can_show() {
    let dead = Network::Cell(Tf1Cell::new(Array2::zeros((13, 32)), Array1::zeros(32)).unwrap());
    let (verdict, reasons) = conclude(&run(&dead, &Plain, &Plain));
    assert_eq!(verdict, Verdict::Inconclusive, "{reasons:#?}");
    assert!(reasons.iter().any(|r| r.text.contains("would not have been seen")), "{reasons:#?}");

    let mut batch = batch(&dead);
    for state in &mut batch.initial {
        state.h.fill(0.0);
        state.c.fill(0.0);
    }
    let (verdict, reasons) = conclude(&run_with(&ActivationBudget::new(|_| 4.0), batch, &dead, &Plain, &Plain));
    assert_eq!(verdict, Verdict::Inconclusive, "{reasons:#?}");
    assert!(reasons.iter().any(|r| r.text.contains("output never changes")), "{reasons:#?}");
}

#[test]
fn a_stale_buffer() {
    // The lane returns what an earlier run left: right values, of other inputs.
    let stale = Changed(|network: &Network<KerasCell>, t: Trace<f32>| {
        let (n, steps, input) = (t.cells[0].h.dim().0, t.cells[0].h.dim().1, network.cells()[0].input_size());
        let other = Batch {
            x: Array3::from_elem((n, steps, input), 0.3),
            lengths: None,
            initial: vec![lstm::State { h: Array2::zeros((n, 8)), c: Array2::zeros((n, 8)) }],
            record_gates: true,
        };
        Plain.run(network, &other)
    });
    does_not_pass("stale", &Plain, &stale, "one step from the oracle's state");
}

#[test]
fn an_error_inside_a_lane() {
    let broken = Changed(|_: &Network<KerasCell>, _| {
        Err(LaneError::Device { lane: "l".into(), device: "d".into(), message: "device lost".into() })
    });
    does_not_pass("Keras lane", &Plain, &broken, "device lost");
    let broken = Changed(|_: &Network<Tf1Cell>, _| {
        Err(LaneError::Device { lane: "l".into(), device: "d".into(), message: "device lost".into() })
    });
    does_not_pass("TF1 lane", &broken, &Plain, "device lost");
}

#[test]
fn a_panic_inside_a_lane() {
    let panics =
        Changed(|_: &Network<KerasCell>, _: Trace<f32>| -> Result<_, LaneError> { panic!("index out of bounds") });
    does_not_pass("Keras lane", &Plain, &panics, "changed panicked: index out of bounds");
    let panics = Changed(|_: &Network<Tf1Cell>, t: Trace<f32>| match t.cells[0].h.dim().0 {
        1 => panic!("sequence {}", t.cells.len()),
        _ => Ok(t),
    });
    does_not_pass("TF1 lane, only in some runs", &panics, &Plain, "run alone: changed panicked: sequence 1");
    let panics = Changed(|_: &Network<KerasCell>, t: Trace<f32>| match t.cells[0].h.dim().1 {
        1 => std::panic::panic_any(7),
        _ => Ok(t),
    });
    does_not_pass("one step at a time", &Plain, &panics, "oracle's state: changed panicked: without a message");
}

/// A device that is lost while faults are tried has not shown every one of them.
#[test]
fn an_error_while_faults_are_tried() {
    let network = network();
    let right = convert::to_keras(network.cells()[0]).unwrap();
    type Broken = fn(Trace<f32>) -> Result<Trace<f32>, LaneError>;
    let ways: [Broken; 3] = [
        |_| Err(LaneError::Device { lane: "l".into(), device: "d".into(), message: "device lost".into() }),
        |_| panic!("device lost"),
        |t| Ok(Trace { cells: vec![], ..t }),
    ];
    for broken in ways {
        let lane = Changed(|found: &Network<KerasCell>, t| if *found.cells()[0] == right { Ok(t) } else { broken(t) });
        let reasons = does_not_pass("lost", &Plain, &lane, "these faults could not be tried: forget-bias-missing, ");
        assert_eq!((reasons.len(), reasons[0].verdict), (1, Verdict::Inconclusive), "{reasons:#?}");
        let report = run(&network, &Plain, &lane).remove(0);
        let kill = report.sensitivity.kills.iter().find(|k| k.fault == Fault::BiasMissing).unwrap();
        assert_eq!((kill.detected, kill.margin), (Some(false), 0.0));
        let why = kill.why.as_deref().unwrap();
        assert!(why.contains("device lost") || why == "missing or misshapen output", "{why}");
    }
}

/// The error of a function that was not measured on the device is not bounded by anything, and nothing is within that.
#[test]
fn an_activation_that_was_not_measured() {
    for unmeasured in [lstm::Activation::Tanh, lstm::Activation::Sigmoid] {
        let budget = ActivationBudget::new(|a| if a == unmeasured { f64::INFINITY } else { 4.0 });
        let report = run_with(&budget, batch(&network()), &network(), &Plain, &Plain);
        assert!(report[0].sensitivity.missed().count() > 20, "and no fault is seen beside it");
        let (verdict, reasons) = conclude(&report);
        assert_eq!(verdict, Verdict::Inconclusive, "{unmeasured}: {reasons:#?}");
        assert!(reasons[0].text.contains("nothing bounds what rounding may do to"), "{unmeasured}: {reasons:#?}");
    }
}

#[test]
fn nothing_compared() {
    assert_eq!(conclude(&[]).0, Verdict::Inconclusive);
    let mut cells = run(&network(), &Plain, &Plain);
    cells[0].steps.clear();
    cells[0].compared = 0;
    cells[0].expected = 0;
    assert_ne!(conclude(&cells).0, Verdict::Pass);
    let mut cells = run(&network(), &Plain, &Plain);
    cells[0].weights.tensors.clear();
    assert_eq!(conclude(&cells).0, Verdict::Fail);
    let mut cells = run(&network(), &Plain, &Plain);
    cells[0].expected += 1;
    assert_ne!(conclude(&cells).0, Verdict::Pass);
    let mut cells = run(&network(), &Plain, &Plain);
    cells[0].sensitivity.kills.clear();
    assert_ne!(conclude(&cells).0, Verdict::Pass);
}

/// A bound that grew with the candidate's own error would let any error pass.
#[test]
fn a_bound_normalised_by_the_bad_side() {
    for factor in [1.001, 2.0, 1e3, 1e6] {
        let scaled = Changed(move |_: &Network<KerasCell>, mut t: Trace<f32>| {
            for cell in &mut t.cells {
                cell.h *= factor;
            }
            Ok(t)
        });
        let reasons = does_not_pass("h too large", &Plain, &scaled, "one step from the oracle's state");
        assert_eq!(reasons[0].verdict, Verdict::Fail);
    }
}

/// One element of one sequence at one step is enough, in h, in c and in a gate.
#[test]
fn a_single_wrong_element() {
    let change = |pick: fn(&mut Trace<f32>) -> &mut f32| {
        Changed(move |_: &Network<KerasCell>, mut t: Trace<f32>| {
            if t.cells[0].h.dim().1 == 1 {
                *pick(&mut t) += 1e-4;
            }
            Ok(t)
        })
    };
    does_not_pass("h", &Plain, &change(|t| &mut t.cells[0].h[[3, 0, 2]]), "h is 1.00e-4 off");
    does_not_pass("c", &Plain, &change(|t| &mut t.cells[0].c[[3, 0, 2]]), "c is 1.00e-4 off");
    does_not_pass("gate", &Plain, &change(|t| &mut t.cells[0].gates.as_mut().unwrap()[[3, 0, 2]]), "i is 1.00e-4 off");
}

#[test]
fn a_result_that_depends_on_the_rest_of_the_batch() {
    let leaky = Changed(|_: &Network<KerasCell>, mut t: Trace<f32>| {
        if t.cells[0].h.dim().0 == 1 {
            t.cells[0].h += 1e-3;
        }
        Ok(t)
    });
    does_not_pass("alone", &Plain, &leaky, "gives something else alone than in the batch");
}

#[test]
fn wrong_everywhere_but_where_it_is_free() {
    // Right one step at a time, wrong when run freely: a lane that drops its state between steps.
    let forgetful = Changed(|_: &Network<KerasCell>, mut t: Trace<f32>| {
        if t.cells[0].h.dim().0 > 1 && t.cells[0].h.dim().1 > 1 {
            t.cells[0].h[[2, 9, 4]] += 1e-3;
        }
        Ok(t)
    });
    let reasons = does_not_pass("carried", &Plain, &forgetful, "running freely, first at step 9");
    assert_eq!(reasons[0].verdict, Verdict::Fail);
}
