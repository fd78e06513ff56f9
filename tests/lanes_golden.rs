//! Both lanes reproduce what TensorFlow itself computed with the checkpoints, on the CPU and on a GPU adapter.

#[path = "../crates/lstm/tests/found/mod.rs"]
mod found;

use golden::{Case, KERAS_CASES, case, cases, cell_cases};
use lanes::{Choice, Device, KerasLstm, Route, SelfCheck, Tf1FusedLstm};
use lstm::detect::{Given, detect, load};
use lstm::{Activation, Batch, CellTrace, Direction, Network, Place, State, Tf1Cell, Trace, convert};
use ndarray::{Array2, Array3, ArrayD, Axis, concatenate};
use parity::{Lane, Lanes, Subject};
use tf_checkpoint::Checkpoint;

fn network(case: &Case) -> Network<Tf1Cell> {
    let checkpoint = Checkpoint::open(&case.checkpoint()).unwrap();
    let graph = checkpoint.graph().unwrap();
    let found = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
    let [network] = &found.networks[..] else { panic!("{}: one network", case.name) };
    network.network.try_map(&mut |cell| load(cell, |name| checkpoint.read(name))).unwrap()
}

fn batch(case: &Case, network: &Network<Tf1Cell>) -> Batch {
    let io = case.io();
    let x = golden::cube(&io["x"]);
    let n = x.dim().0;
    let state = |name: &str, width| io.get(name).map_or_else(|| Array2::zeros((n, width)), golden::matrix);
    let initial = network
        .cells()
        .iter()
        .map(|c| State { h: state("h0", c.recurrent_size()), c: state("c0", c.units()) })
        .collect();
    let lengths = io.get("seq_len").map(|l| l.iter().map(|v| *v as usize).collect());
    Batch { x, lengths, initial, record_gates: false }
}

/// The final states of the top layer, both directions joined, as the generator of the cases saved them.
fn finals(
    trace: &Trace<f32>,
    places: &[Place],
    batch: &Batch,
    pick: fn(&CellTrace<f32>) -> &Array3<f32>,
) -> ArrayD<f32> {
    let top = places.iter().map(|p| p.layer).max().unwrap();
    let last = |n: usize| batch.lengths.as_ref().map_or(batch.timesteps(), |l| l[n]) - 1;
    let parts: Vec<Array2<f32>> = places
        .iter()
        .zip(&trace.cells)
        .filter(|(place, _)| place.layer == top)
        .map(|(place, cell)| {
            let values = pick(cell);
            Array2::from_shape_fn((batch.sequences(), values.dim().2), |(n, unit)| {
                values[[n, if place.direction == Direction::Forward { last(n) } else { 0 }, unit]]
            })
        })
        .collect();
    concatenate(Axis(1), &parts.iter().map(|p| p.view()).collect::<Vec<_>>()).unwrap().into_dyn()
}

/// Whether a trace is what TensorFlow computed, in outputs and final states.
fn agree(case: &Case, lane: &str, trace: &Trace<f32>, places: &[Place], batch: &Batch, tolerance: f32) {
    let (name, io) = (&case.name, case.io());
    let close = |what: &str, ours: &ArrayD<f32>| {
        let Some(theirs) = io.get(what) else { return };
        assert_eq!(ours.shape(), theirs.shape(), "{name} {what}");
        let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(worst <= tolerance, "{name}: {what} of the {lane} lane is {worst:e} from TensorFlow's");
    };
    close("y", &trace.output.clone().into_dyn());
    close("h", &finals(trace, places, batch, |t| &t.h));
    close("c", &finals(trace, places, batch, |t| &t.c));
}

/// The rarer cells, wrappers and wirings. Those computed in float64 too: lanes run them in f32, within the same distance.
fn reproduce_cells(choice: Choice) {
    let device = Device::open(choice).expect("a software adapter is in the Debian package mesa-vulkan-drivers");
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device));
    for case in cell_cases() {
        let checkpoint = Checkpoint::open(&case.checkpoint()).unwrap();
        let network = found::network(&case).try_map(&mut |cell| load(cell, |name| checkpoint.read(name))).unwrap();
        let batch = found::batch(&case, &network);
        let places: Vec<Place> = network.placed_cells().iter().map(|(place, _)| *place).collect();
        agree(&case, "TF1", &tf1.run(&network, &batch).unwrap(), &places, &batch, 2e-6);
        let converted = convert::network_to_keras(&network);
        assert_eq!(converted.is_err(), case.json["keras"] == "refused", "{}", case.name);
        if let Ok(converted) = converted {
            let batch = parity::keras_batch(&converted, &batch).unwrap();
            agree(&case, "Keras", &keras.run(&converted, &batch).unwrap(), &places, &batch, 2e-6);
        }
    }
}

fn reproduce(choice: Choice, route: Route) {
    let device = Device::open(choice).expect("a software adapter is in the Debian package mesa-vulkan-drivers");
    eprintln!("on {} ({})", device.info().name, device.info().kind);
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()).with_route(route), KerasLstm::new(device).with_route(route));
    let old = cases().into_iter().map(|c| c.name).filter(|n| n.starts_with("old/"));
    let mut compared = 0;
    for name in KERAS_CASES.iter().map(|n| (*n).to_owned()).chain(old) {
        let case = case(&name);
        let network = network(&case);
        let batch = batch(&case, &network);
        let places: Vec<Place> = network.placed_cells().iter().map(|(place, _)| *place).collect();
        let mut traces = vec![("TF1", tf1.run(&network, &batch).unwrap())];
        // Cells that Keras cannot express run in the TF1 lane alone.
        match convert::network_to_keras(&network) {
            Ok(converted) => {
                let batch = parity::keras_batch(&converted, &batch).unwrap();
                traces.push(("Keras", keras.run(&converted, &batch).unwrap()));
            }
            Err(_) => assert!(name.contains("peephole_proj") || name == "old/tf1_2_1_block_big_state", "{name}"),
        }
        // Three times larger weights than the others': f32 itself is further off there.
        let tolerance = if name.contains("big_state") { 2e-5 } else { 2e-6 };
        for (lane, trace) in &traces {
            agree(&case, lane, trace, &places, &batch, tolerance);
            compared += 1;
        }
    }
    assert!(compared >= 2 * 21 + 24 + 19, "{compared} runs compared");
}

#[test]
fn lanes_reproduce_tensorflow_on_the_cpu() {
    reproduce(Choice::Cpu, Route::Auto);
}

#[test]
fn the_sequence_kernels_reproduce_tensorflow() {
    reproduce(Choice::Gpu, Route::SequenceKernel);
}

#[test]
fn the_step_kernels_reproduce_tensorflow() {
    reproduce(Choice::Gpu, Route::StepKernel);
}

#[test]
fn lanes_run_the_rarer_cells_on_the_cpu() {
    reproduce_cells(Choice::Cpu);
}

#[test]
fn lanes_run_the_rarer_cells_on_the_gpu() {
    reproduce_cells(Choice::Gpu);
}

/// Every step of every golden case, from the oracle's state, within the bound that follows from rounding, and running
/// freely no further off than right runs are.
fn within_the_bound(route: Route) {
    let device = Device::open(Choice::Gpu).expect("a software adapter is in the Debian package mesa-vulkan-drivers");
    let check = SelfCheck::run(&device, &Activation::ALL);
    assert_eq!(check.failures, Vec::<String>::new());
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()).with_route(route), KerasLstm::new(device).with_route(route));
    let mut worst = (0.0, String::new());
    let (mut compared, mut expected) = (0, 0);
    for case in KERAS_CASES.iter().map(|name| case(name)) {
        let truth = network(&case);
        let batch = Batch { record_gates: true, ..batch(&case, &truth) };
        let (nearest, _) = convert::nearest_network(&truth);
        // What Keras cannot express is judged in the TF1 lane alone.
        let expressible = convert::network_to_keras(&truth).is_ok() && parity::keras_batch(&nearest, &batch).is_ok();
        let names: Vec<String> = truth.cells().iter().map(|_| case.name.clone()).collect();
        let subject = Subject {
            truth: &truth,
            expected: &nearest,
            candidate: &nearest,
            names: names.clone(),
            candidate_names: names,
        };
        let lanes = Lanes { tf1: &tf1, keras: &keras };
        let longest = batch.lengths.as_ref().map_or(batch.timesteps(), |l| *l.iter().max().unwrap());
        expected += truth.cells().len() * longest;
        for report in parity::verify(&subject, lanes, &batch, 0, &check.budget, &|_| {}) {
            let ran = report.steps.iter().filter(|s| s.carried.states().count > 0);
            for step in ran {
                let what = format!("{} at step {}", case.name, step.t);
                assert!(step.tf1_local.within() && step.carried.tf1_within(), "TF1 lane: {what}");
                assert!(!expressible || step.keras_local.within() && step.carried.keras_within(), "Keras lane: {what}");
                let ratio = step.tf1_local.worst().1.ratio;
                if ratio > worst.0 {
                    worst = (ratio, what);
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, expected, "steps compared, of those that the cells of all cases have");
    eprintln!("{compared} steps, at most {:.3} of the bound: {}", worst.0, worst.1);
}

#[test]
fn the_sequence_kernels_stay_within_the_bound() {
    within_the_bound(Route::SequenceKernel);
}

#[test]
fn the_step_kernels_stay_within_the_bound() {
    within_the_bound(Route::StepKernel);
}
