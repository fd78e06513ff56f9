//! Both lanes on the CPU and on a graphics adapter, against the equations in f64.

mod awkward;
mod cpu_twin;
mod nets;
mod reference;
mod screened;

use std::sync::OnceLock;

use burn::tensor::{Tensor, TensorData};
use lanes::{Choice, Device, KerasLstm, Route, Tf1FusedLstm, apply};
use lstm::{Activation, Batch, KerasCell, Network, Tf1Cell, Trace};
use nets::{Make, Random, SIZES, Size, batch, normalised, projecting, rich_tf1, wirings, with_activations};
use parity::{Lane, LaneError};

fn cpu() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| Device::open(Choice::Cpu).unwrap())
}

/// A GPU or a software adapter. Without either these tests fail: a pass would claim what was not run.
fn adapter() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let device = Device::open(Choice::Gpu)
            .unwrap_or_else(|e| panic!("{e}\nthese tests need an adapter: apt-get install mesa-vulkan-drivers"));
        eprintln!("adapter: {:?}", device.info());
        device
    })
}

/// The kernels of the adapter.
fn kernels() -> Vec<Route> {
    let mut kernels = vec![Route::SequenceKernel, Route::StepKernel];
    // Not every GPU has what it needs, and none chooses it.
    kernels.extend(adapter().info().is_software.then_some(Route::VectorKernel));
    kernels
}

/// The routes that every cell without layer normalisation can take.
fn routes() -> Vec<(&'static Device, Route)> {
    let on_cpu = [(cpu(), Route::Auto), (cpu(), Route::Operations), (adapter(), Route::Operations)];
    on_cpu.into_iter().chain(kernels().into_iter().map(|route| (adapter(), route))).collect()
}

fn keras_lanes() -> Vec<KerasLstm> {
    routes().into_iter().map(|(device, route)| KerasLstm::new(device.clone()).with_route(route)).collect()
}

fn tf1_lanes() -> Vec<Tf1FusedLstm> {
    routes().into_iter().map(|(device, route)| Tf1FusedLstm::new(device.clone()).with_route(route)).collect()
}

/// The largest error relative to max(1, |expected|); NaN where either side is not finite.
fn error(expected: &Trace<f64>, actual: &Trace<f32>) -> f64 {
    assert_eq!(expected.cells.len(), actual.cells.len());
    let mut pairs = vec![(&expected.output, &actual.output)];
    for (e, a) in expected.cells.iter().zip(&actual.cells) {
        pairs.extend([(&e.h, &a.h), (&e.c, &a.c), (e.gates.as_ref().unwrap(), a.gates.as_ref().unwrap())]);
    }
    let mut worst = 0.0;
    for (expected, actual) in pairs {
        assert_eq!(expected.dim(), actual.dim());
        for (e, a) in expected.iter().zip(actual) {
            let error = (f64::from(*a) - e).abs() / e.abs().max(1.0);
            if error.is_nan() || error > worst {
                worst = error;
            }
        }
    }
    worst
}

#[track_caller]
fn assert_close<C: reference::Cell>(lane: &impl Lane<C>, network: &Network<C>, batch: &Batch, what: &str) {
    let expected = reference::run(network, batch);
    let actual = lane.run(network, batch).unwrap();
    let error = error(&expected, &actual);
    assert!(error <= 2e-6, "{} {what}: error {error:e}", lane.name());
}

/// Every wiring on one of the sizes each, whole and ragged.
fn wire_up<C: Make + reference::Cell, L: Lane<C>>(lanes: &[L]) {
    let mut random = Random(1);
    for (index, size) in SIZES.into_iter().enumerate() {
        for (other, (name, network)) in wirings::<C>(size.input, size.units, &mut random).into_iter().enumerate() {
            // All sizes as one cell; the larger networks on half of the sizes, to keep the run short.
            if other != 0 && (index + other) % 2 != 0 {
                continue;
            }
            for ragged in [false, true] {
                let batch = batch(&network, size, ragged, &mut random);
                for lane in lanes {
                    assert_close(lane, &network, &batch, &format!("{name} {size:?} ragged: {ragged}"));
                }
            }
        }
    }
}

#[test]
fn keras_lanes_compute_the_equations_in_every_wiring() {
    wire_up::<KerasCell, _>(&keras_lanes());
}

#[test]
fn tf1_lanes_compute_the_equations_in_every_wiring() {
    wire_up::<Tf1Cell, _>(&tf1_lanes());
}

const SMALL: Size = Size { sequences: 5, steps: 4, input: 3, units: 6 };

#[test]
fn every_activation_in_every_place() {
    let mut random = Random(2);
    for activation in Activation::ALL {
        for (phi, rho) in [(activation, Activation::Sigmoid), (Activation::Tanh, activation)] {
            let network = Network::Cell(with_activations(KerasCell::make(3, 6, &mut random), phi, rho));
            let batch = batch(&network, SMALL, true, &mut random);
            for lane in keras_lanes() {
                assert_close(&lane, &network, &batch, &format!("{phi} and {rho}"));
            }
        }
        let mut cell = Tf1Cell::make(3, 6, &mut random);
        cell.activation = activation;
        cell.forget_bias = 0.3;
        let network = Network::Cell(cell);
        let batch = batch(&network, SMALL, true, &mut random);
        for lane in tf1_lanes() {
            assert_close(&lane, &network, &batch, &format!("{activation}"));
        }
    }
}

#[test]
fn go_backwards_hands_on_outputs_in_processing_order() {
    let mut random = Random(3);
    let mut backwards = KerasCell::make(3, 6, &mut random);
    backwards.go_backwards = true;
    let cell = || Network::Cell(backwards.clone());
    let above = Network::Cell(KerasCell::make(6, 4, &mut random));
    let other = Network::Cell(KerasCell::make(3, 6, &mut random));
    let networks = [cell(), Network::Stack(vec![cell(), above]), Network::side_by_side(other, cell())];
    for network in networks {
        for ragged in [false, true] {
            let mut batch = batch(&network, SMALL, ragged, &mut random);
            // The mask is handed on in the order of the input, as Keras does, so a cell above does read the padding.
            batch.x.mapv_inplace(|v| if v.is_nan() { 9.0 } else { v });
            for lane in keras_lanes() {
                assert_close(&lane, &network, &batch, &format!("ragged: {ragged}"));
            }
        }
    }
}

#[test]
fn layer_normalisation_takes_operations() {
    let mut random = Random(12);
    for device in [cpu(), adapter()] {
        let lane = Tf1FusedLstm::new(device.clone());
        for (input, units) in [(3, 6), (5, 33), (7, 65)] {
            let plain = normalised(Tf1Cell::make(input, units, &mut random), &mut random);
            // Normalised, then clipped, as `LayerNormLSTMCell` does.
            let rich = normalised(rich_tf1(input, units, 4, &mut random), &mut random);
            let network = Network::side_by_side(Network::Cell(plain.clone()), Network::Cell(rich));
            for ragged in [false, true] {
                let size = Size { sequences: 5, steps: 6, input, units };
                let batch = batch(&network, size, ragged, &mut random);
                assert_close(&lane, &network, &batch, &format!("{size:?} normalised, ragged: {ragged}"));
            }
            assert!(!lane.chosen(&plain, 5, 6).is_kernel());
        }
    }
}

#[test]
fn a_dense_layer_follows_each_step() {
    let mut random = Random(13);
    for (units, width) in [(6, 4), (6, 6), (33, 40), (1, 1)] {
        let mut cell = |input, width, backwards| {
            let cell = projecting(KerasCell::make(input, units, &mut random), width, &mut random);
            Network::Cell(KerasCell { go_backwards: backwards, ..cell })
        };
        let stack = Network::Stack(vec![cell(3, width, false), cell(width, 3, false)]);
        let networks = [stack, Network::side_by_side(cell(3, width, false), cell(3, 2, false)), cell(3, width, true)];
        for network in networks {
            for ragged in [false, true] {
                let batch = batch(&network, Size { units, ..SMALL }, ragged, &mut random);
                for lane in keras_lanes() {
                    assert_close(&lane, &network, &batch, &format!("{units} to {width}, ragged: {ragged}"));
                }
            }
        }
    }
}

#[test]
fn a_layer_without_bias_is_one_with_zeros() {
    let mut random = Random(14);
    let mut cell = KerasCell::make(3, 6, &mut random);
    cell.bias.fill(0.0);
    let network = Network::Cell(cell);
    let batch = batch(&network, SMALL, true, &mut random);
    for lane in keras_lanes() {
        assert_close(&lane, &network, &batch, "no bias");
    }
}

#[test]
fn peepholes_projections_and_clips_alone_and_together() {
    let mut random = Random(4);
    for (input, units, projected) in [(5, 33, 40), (4, 65, 9)] {
        let rich = rich_tf1(input, units, projected, &mut random);
        let plain = Tf1Cell { projection: None, projection_clip: None, ..Tf1Cell::make(input, units, &mut random) };
        let cells = [
            Tf1Cell { peepholes: rich.peepholes.clone(), ..plain.clone() },
            Tf1Cell { cell_clip: Some(0.1), ..plain },
            Tf1Cell { peepholes: None, projection_clip: None, ..rich.clone() },
            Tf1Cell { cell_clip: None, ..rich.clone() },
            rich,
        ];
        for (which, cell) in cells.into_iter().enumerate() {
            let network = Network::side_by_side(Network::Cell(cell.clone()), Network::Cell(cell.clone()));
            for ragged in [false, true] {
                let size = Size { sequences: 9, steps: 5, input, units };
                let batch = batch(&network, size, ragged, &mut random);
                for lane in tf1_lanes() {
                    assert_close(
                        &lane,
                        &network,
                        &batch,
                        &format!("{which} {size:?} to {projected}, ragged: {ragged}"),
                    );
                }
            }
            assert!(Tf1FusedLstm::new(adapter().clone()).chosen(&cell, 5, 6).is_kernel());
        }
    }
}

/// Memory comes from a pool and holds what was there before: what a kernel leaves out shows as a change.
#[test]
fn every_output_is_written_whatever_was_in_memory() {
    let mut random = Random(5);
    let size = Size { sequences: 9, steps: 11, input: 5, units: 33 };
    let network = Network::Cell(KerasCell::make(size.input, size.units, &mut random));
    let tf1 = Network::Cell(Tf1Cell::make(size.input, size.units, &mut random));
    let rich = Network::Cell(rich_tf1(size.input, size.units, 14, &mut random));
    let batches = [true, false].map(|ragged| batch(&network, size, ragged, &mut random));
    let rich_batches = [true, false].map(|ragged| batch(&rich, size, ragged, &mut random));
    for route in kernels() {
        let lane = KerasLstm::new(adapter().clone()).with_route(route);
        let tf1_lane = Tf1FusedLstm::new(adapter().clone()).with_route(route);
        let first = lane.run(&network, &batches[0]).unwrap();
        let tf1_first = tf1_lane.run(&tf1, &batches[0]).unwrap();
        let rich_first = tf1_lane.run(&rich, &rich_batches[0]).unwrap();
        for _ in 0..3 {
            assert_close(&lane, &network, &batches[1], "whole");
            assert_eq!(lane.run(&network, &batches[0]).unwrap(), first);
            assert_close(&tf1_lane, &tf1, &batches[1], "whole");
            assert_eq!(tf1_lane.run(&tf1, &batches[0]).unwrap(), tf1_first);
            assert_close(&tf1_lane, &rich, &rich_batches[1], "whole");
            assert_eq!(tf1_lane.run(&rich, &rich_batches[0]).unwrap(), rich_first);
        }
    }
}

#[test]
fn gates_come_only_when_asked_for() {
    let mut random = Random(11);
    let network = Network::Cell(KerasCell::make(3, 6, &mut random));
    let tf1 = Network::Cell(Tf1Cell::make(3, 6, &mut random));
    let with = batch(&network, SMALL, true, &mut random);
    let without = Batch { record_gates: false, ..with.clone() };
    let check = |name: String, mut with: Trace<f32>, without: Trace<f32>| {
        assert!(with.cells[0].gates.take().is_some() && without.cells[0].gates.is_none(), "{name}");
        assert_eq!(with, without, "{name}");
    };
    for lane in keras_lanes() {
        check(lane.name(), lane.run(&network, &with).unwrap(), lane.run(&network, &without).unwrap());
    }
    for lane in tf1_lanes() {
        check(lane.name(), lane.run(&tf1, &with).unwrap(), lane.run(&tf1, &without).unwrap());
    }
}

/// Long enough for several dispatches: lavapipe ends all loops of an invocation after 65535 iterations, in silence.
#[test]
fn long_sequences_are_computed_to_their_end() {
    let mut random = Random(10);
    let size = Size { sequences: 9, steps: 400, input: 5, units: 65 };
    let networks = wirings::<KerasCell>(size.input, size.units, &mut random);
    let (_, network) = &networks[2];
    let batch = batch(network, size, true, &mut random);
    for route in kernels() {
        assert_close(&KerasLstm::new(adapter().clone()).with_route(route), network, &batch, "long");
    }
    let networks = wirings::<Tf1Cell>(size.input, size.units, &mut random);
    let (_, network) = &networks[2];
    for route in kernels() {
        assert_close(&Tf1FusedLstm::new(adapter().clone()).with_route(route), network, &batch, "long");
    }
}

#[test]
fn not_a_number_stays_in_its_sequence_and_spreads_along_it() {
    let mut random = Random(6);
    let network = Network::Cell(KerasCell::make(3, 6, &mut random));
    let tf1 = Network::Cell(Tf1Cell::make(3, 6, &mut random));
    let mut batch = batch(&network, SMALL, false, &mut random);
    batch.x[[2, 1, 0]] = f32::NAN;
    let check = |name: String, trace: Trace<f32>| {
        for ((sequence, step, _), v) in trace.output.indexed_iter() {
            assert_eq!(v.is_nan(), sequence == 2 && step >= 1, "{name} at {sequence}, {step}");
        }
    };
    keras_lanes().iter().for_each(|lane| check(lane.name(), lane.run(&network, &batch).unwrap()));
    tf1_lanes().iter().for_each(|lane| check(lane.name(), lane.run(&tf1, &batch).unwrap()));
    let rich = Network::Cell(rich_tf1(3, 6, 6, &mut random));
    tf1_lanes().iter().for_each(|lane| check(lane.name(), lane.run(&rich, &batch).unwrap()));
}

#[test]
fn what_does_not_fit_workgroup_memory_takes_a_dispatch_for_each_step() {
    let mut random = Random(7);
    let size = Size { sequences: 2, steps: 2, input: 40_000, units: 2 };
    let network = Network::Cell(KerasCell::make(size.input, size.units, &mut random));
    let batch = batch(&network, size, false, &mut random);
    let lane = KerasLstm::new(adapter().clone());
    let chosen = lane.chosen(network.cells()[0], 2, 2).to_string();
    let expected = if adapter().info().is_software { "vector kernel" } else { "step kernel" };
    assert!(chosen.starts_with(expected), "{chosen}");
    assert_close(&lane, &network, &batch, "a wide input");
    for (device, route, says) in [
        (adapter(), Route::SequenceKernel, "does not fit"),
        (cpu(), Route::SequenceKernel, "need a wgpu device"),
        (cpu(), Route::StepKernel, "need a wgpu device"),
        (cpu(), Route::VectorKernel, "need a wgpu device"),
    ] {
        let forced = KerasLstm::new(device.clone()).with_route(route);
        let Err(LaneError::Device { message, .. }) = forced.run(&network, &batch) else { panic!("forced") };
        assert!(message.contains(says), "{message}");
    }
    let normalised = normalised(Tf1Cell::make(3, 6, &mut random), &mut random);
    let forced = Tf1FusedLstm::new(adapter().clone()).with_route(Route::Kernel);
    let network = Network::Cell(normalised);
    let Err(LaneError::Device { message, .. }) =
        forced.run(&network, &nets::batch(&network, SMALL, false, &mut random))
    else {
        panic!("forced")
    };
    assert_eq!(message, "the kernels have no layer normalisation");
}

#[test]
fn a_batch_that_does_not_fit_is_refused_in_words() {
    let mut random = Random(8);
    let network = Network::Cell(KerasCell::make(3, 6, &mut random));
    let good = batch(&network, SMALL, true, &mut random);
    let lane = KerasLstm::new(cpu().clone());
    let refused = |change: &dyn Fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        let error = lane.run(&network, &batch).unwrap_err();
        assert!(matches!(error, LaneError::Shape { .. }), "{error}");
        error.to_string()
    };
    assert_eq!(
        refused(&|b| b.x = ndarray::Array3::zeros((5, 4, 2))),
        "input of a cell of 6 units [width]: expected [3], found [2]"
    );
    refused(&|b| b.x = ndarray::Array3::zeros((5, 0, 3)));
    refused(&|b| b.x = ndarray::Array3::zeros((0, 4, 3)));
    refused(&|b| b.initial.clear());
    refused(&|b| b.initial[0].h = ndarray::Array2::zeros((5, 7)));
    refused(&|b| b.initial[0].c = ndarray::Array2::zeros((4, 6)));
    refused(&|b| b.lengths = Some(vec![1; 4]));
    assert_eq!(
        refused(&|b| b.lengths = Some(vec![1, 2, 3, 4, 5])),
        "length of sequence 4, at most: expected [4], found [5]"
    );
}

fn evaluate(function: Activation, x: &[f32], device: &Device) -> Vec<f32> {
    let x = Tensor::<1>::from_data(TensorData::new(x.to_vec(), [x.len()]), device.burn());
    apply(function, x, device).into_data().try_into_vec().unwrap()
}

#[test]
fn activations_are_accurate_saturate_and_keep_nan() {
    // Every exponent, both signs, several mantissas, and a fine grid where the functions bend.
    let mut x: Vec<f32> = (-2400..=2400).map(|n| n as f32 / 50.0 + 1e-3).collect();
    for exponent in -126..=127 {
        x.extend([1.0, 1.37, 1.999].iter().flat_map(|m| [m * 2f32.powi(exponent), -m * 2f32.powi(exponent)]));
    }
    x.extend([0.0, -0.0, f32::MAX, f32::MIN]);
    for device in [cpu(), adapter()] {
        for function in Activation::ALL {
            let mut worst = (0.0, 0.0);
            for (x, y) in x.iter().zip(evaluate(function, &x, device)) {
                let expected = reference::activation(function, f64::from(*x));
                // Near its zero a hard sigmoid is the difference of two numbers around a half.
                let scale = match function {
                    Activation::HardSigmoidKeras2 | Activation::HardSigmoidKeras3 => 0.5,
                    _ => (expected as f32).abs(),
                };
                let ulp = f64::from((scale.next_up() - scale).max(f32::MIN_POSITIVE));
                let error = (f64::from(y) - expected).abs();
                // Results below the smallest normal number may be flushed to zero.
                let ulps = if error <= 2.0 * f64::from(f32::MIN_POSITIVE) { 0.0 } else { error / ulp };
                assert!(!ulps.is_nan(), "{function} of {x} is {y}");
                if ulps > worst.0 {
                    worst = (ulps, f64::from(*x));
                }
            }
            eprintln!("{:<40} {:>6.2} ULP at {:e} on {}", function.to_string(), worst.0, worst.1, device.info().name);
            assert!(worst.0 <= 8.0, "{function} on {:?}: {worst:?}", device.info());

            let odd = evaluate(function, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN], device);
            assert!(odd[0].is_nan() && odd[3].is_nan(), "{function} of NaN on {:?}", device.info());
            let bounds = match function {
                Activation::Tanh | Activation::Softsign => Some((1.0, -1.0)),
                Activation::Sigmoid | Activation::HardSigmoidKeras2 | Activation::HardSigmoidKeras3 => Some((1.0, 0.0)),
                Activation::Relu6 => Some((6.0, 0.0)),
                Activation::Relu | Activation::Softplus => Some((f32::INFINITY, 0.0)),
                Activation::Elu => Some((f32::INFINITY, -1.0)),
                Activation::Linear => Some((f32::INFINITY, f32::NEG_INFINITY)),
            };
            assert_eq!(Some((odd[1], odd[2])), bounds, "{function} of ±∞ on {:?}", device.info());
        }
    }
}
