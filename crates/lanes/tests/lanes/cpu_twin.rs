//! The kernels' twin on the CPU, at sizes that cut it in every way.

use lanes::{KerasLstm, Route, Tf1FusedLstm};
use lstm::{KerasCell, Network, Tf1Cell};
use ndarray::s;
use parity::Lane;

use crate::nets::{Make, Random, Size, batch, rich_tf1};
use crate::{assert_close, cpu};

/// Every size that cuts the CPU's panels, parts and groups of rows another way: one row, a few, more than one part takes;
/// units and inputs around a panel's width and around a block of its depth.
#[test]
fn awkward_sizes_on_the_cpu() {
    let mut random = Random(15);
    for sequences in [1, 2, 3, 5, 6, 7, 65, 131] {
        for (input, units) in [(1, 1), (3, 15), (16, 16), (17, 31), (1, 33), (257, 65)] {
            let size = Size { sequences, steps: 3, input, units };
            for ragged in [false, true] {
                let keras = Network::Cell(KerasCell::make(input, units, &mut random));
                let batch = batch(&keras, size, ragged, &mut random);
                assert_close(&KerasLstm::new(cpu().clone()), &keras, &batch, &format!("{size:?} ragged: {ragged}"));
                let tf1 = Network::Cell(Tf1Cell::make(input, units, &mut random));
                assert_close(&Tf1FusedLstm::new(cpu().clone()), &tf1, &batch, &format!("{size:?} ragged: {ragged}"));
            }
        }
    }
    let size = Size { sequences: 7, steps: 2, input: 31, units: 1023 };
    let network = Network::Cell(KerasCell::make(size.input, size.units, &mut random));
    let batch = batch(&network, size, false, &mut random);
    assert_close(&KerasLstm::new(cpu().clone()), &network, &batch, "1023 units");
    let chosen = |route| KerasLstm::new(cpu().clone()).with_route(route).chosen(network.cells()[0], 7, 2).to_string();
    assert_eq!(chosen(Route::Auto), "whole sequences on the CPU");
    assert_eq!(chosen(Route::Operations), "tensor operations");
}

/// On the CPU the same sequence gives the same bits alone, in a batch, and in a batch of another size.
#[test]
fn a_sequence_does_not_depend_on_its_batch_on_the_cpu() {
    let mut random = Random(16);
    let size = Size { sequences: 70, steps: 9, input: 19, units: 37 };
    let keras = Network::Cell(KerasCell::make(size.input, size.units, &mut random));
    let tf1 = Network::Cell(rich_tf1(size.input, size.units, size.units, &mut random));
    let batch = batch(&keras, size, true, &mut random);
    let (keras_lane, tf1_lane) = (KerasLstm::new(cpu().clone()), Tf1FusedLstm::new(cpu().clone()));
    let whole = [keras_lane.run(&keras, &batch).unwrap(), tf1_lane.run(&tf1, &batch).unwrap()];
    for range in [0..1, 69..70, 3..5, 10..13, 1..62] {
        let part = batch.select(range.clone());
        let parts = [keras_lane.run(&keras, &part).unwrap(), tf1_lane.run(&tf1, &part).unwrap()];
        for (whole, part) in whole.iter().zip(parts) {
            let inside = whole.output.slice(s![range.clone(), .., ..]);
            assert_eq!(inside, part.output, "{range:?}");
        }
    }
}
