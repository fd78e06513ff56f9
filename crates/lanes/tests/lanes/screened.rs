//! What is drawn, run and reduced on the device is what the same lanes give when everything goes through main memory.

use std::ops::Range;

use lanes::{DeviceScreen, KerasLstm, Tf1FusedLstm};
use lstm::{KerasCell, Network, Tf1Cell, convert};
use parity::apart::{Apart, StepApart};
use parity::{HostScreen, InputSpec, Lanes, Screen};

use crate::nets::{Make, Random, normalised, rich_tf1, wirings};
use crate::{adapter, cpu};

/// The same lanes on the adapter, screened on the device and in main memory.
fn both_ways(
    truth: &Network<Tf1Cell>,
    candidate: &Network<KerasCell>,
    spec: InputSpec,
    range: Range<usize>,
) -> [Vec<Vec<StepApart>>; 2] {
    let device = adapter();
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device.clone()));
    let screen = DeviceScreen::new(device.clone());
    assert!(screen.stays_on_device(truth, candidate, spec, range.len()));
    let host = HostScreen { lanes: Lanes { tf1: &tf1, keras: &keras } };
    [screen.screen(truth, candidate, spec, range.clone()).unwrap(), host.screen(truth, candidate, spec, range).unwrap()]
}

/// The same in everything but the largest relative difference, which the device finds with its own division: it may be
/// another one of nearly the same size.
#[track_caller]
fn assert_alike([on_device, on_host]: &[Vec<Vec<StepApart>>; 2], what: &str) {
    assert_eq!(on_device.len(), on_host.len());
    for (cell, (a, b)) in on_device.iter().zip(on_host).enumerate() {
        assert_eq!(a.len(), b.len());
        for (t, (a, b)) in a.iter().zip(b).enumerate() {
            for (a, b) in [(a.h, b.h), (a.c, b.c)] {
                let rest = |apart: Apart| format!("{:?}", Apart { rel: None, ..apart });
                assert_eq!(rest(a), rest(b), "{what}: cell {cell}, step {t}");
                assert!((a.max_rel() - b.max_rel()).abs() <= 1e-6 * b.max_rel(), "{what}: cell {cell}, step {t}");
            }
        }
    }
}

#[test]
fn every_wiring_is_screened_alike_on_the_device_and_beside_it() {
    let mut random = Random(31);
    let mut networks = wirings::<Tf1Cell>(3, 9, &mut random);
    networks.push(("projected", Network::Cell(rich_tf1(3, 9, 5, &mut random))));
    for (name, truth) in networks {
        // Conversions lose what Keras lacks, and the two sides differ: all the more to be found.
        let (candidate, _) = convert::nearest_network(&truth);
        let spec = InputSpec { sequences: 1000, timesteps: 23, seed: 5 };
        let found = both_ways(&truth, &candidate, spec, 610..641);
        assert_alike(&found, name);
        assert!(found[0].iter().flatten().any(|step| step.h.max_abs() > 0.0), "{name}: the lanes do differ somewhere");
    }
}

#[test]
fn what_is_not_a_number_is_found_on_the_device() {
    let mut random = Random(32);
    let truth = Network::Cell(Tf1Cell::make(3, 9, &mut random));
    let (right, _) = convert::nearest_network(&truth);
    let wrong = right.try_map(&mut |cell: &KerasCell| {
        let mut cell = cell.clone();
        cell.recurrent_kernel[[4, 20]] = f32::NAN;
        Ok::<_, ()>(cell)
    });
    let spec = InputSpec { sequences: 100, timesteps: 12, seed: 5 };
    let found = both_ways(&truth, &wrong.unwrap(), spec, 50..90);
    assert_alike(&found, "NaN");
    assert!(found[0][0][3].h.non_finite > 0 && found[0][0][3].h.first_non_finite.is_some());
}

#[test]
fn large_steps_are_cut_into_parts() {
    let mut random = Random(33);
    let truth = Network::Cell(Tf1Cell::make(1, 17, &mut random));
    let (candidate, _) = convert::nearest_network(&truth);
    let spec = InputSpec { sequences: 100_000, timesteps: 2, seed: 0 };
    // 65,000 sequences of 17 units are more than a workgroup goes through.
    assert_alike(&both_ways(&truth, &candidate, spec, 1000..66_000), "many sequences");
}

#[test]
fn what_no_kernel_computes_is_screened_in_main_memory() {
    let mut random = Random(34);
    let plain = Network::Cell(Tf1Cell::make(3, 6, &mut random));
    let normalised = Network::Cell(normalised(Tf1Cell::make(3, 6, &mut random), &mut random));
    let spec = InputSpec { sequences: 12, timesteps: 5, seed: 0 };
    for (device, truth) in [(adapter(), normalised), (cpu(), plain)] {
        let (candidate, _) = convert::nearest_network(&truth);
        let screen = DeviceScreen::new(device.clone());
        assert!(!screen.stays_on_device(&truth, &candidate, spec, 12));
        let found = screen.screen(&truth, &candidate, spec, 0..12).unwrap();
        assert!(found.iter().flatten().all(|step| step.h.count > 0 && step.h.non_finite == 0));
    }
}
