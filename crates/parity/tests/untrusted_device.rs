//! On a device that failed its self-check no lane proves anything, neither way.

mod plain;

use lstm::{Batch, KerasCell, Network, Tf1Cell, Trace, convert};
use parity::{
    ActivationBudget, CellReport, InputSpec, Lane, LaneError, Lanes, Subject, Verdict, conclude_on_device, inputs,
    verify,
};
use plain::{Plain, random_cell};

/// A Keras lane that is wrong in every output.
struct Shifted;

impl Lane<KerasCell> for Shifted {
    fn name(&self) -> String {
        "shifted".to_owned()
    }

    fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
        let mut trace = Plain.run(network, batch)?;
        for cell in &mut trace.cells {
            cell.h += 1e-2;
        }
        Ok(trace)
    }
}

fn run(keras: &dyn Lane<KerasCell>, candidate: fn(KerasCell) -> KerasCell) -> Vec<CellReport> {
    let cell: Tf1Cell = random_cell(5, 8, 0.6, 1);
    let right = Network::Cell(convert::to_keras(&cell).unwrap());
    let candidate = right.try_map(&mut |cell| Ok::<_, ()>(candidate(cell.clone()))).unwrap();
    let truth = Network::Cell(cell);
    let names = vec!["cell".to_owned()];
    let subject = Subject {
        truth: &truth,
        expected: &right,
        candidate: &candidate,
        names: names.clone(),
        candidate_names: names,
    };
    let batch = inputs::draw(InputSpec { sequences: 8, timesteps: 10, seed: 0 }, &truth);
    verify(&subject, Lanes { tf1: &Plain, keras }, &batch, 0, &ActivationBudget::new(|_| 4.0), &|_| {})
}

#[test]
fn right_lanes_do_not_pass_there() {
    let cells = run(&Plain, |cell| cell);
    assert_eq!(conclude_on_device(&cells, &[]).0, Verdict::Pass);
    let (verdict, reasons) = conclude_on_device(&cells, &["sums are wrong".to_owned()]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons.iter().any(|r| r.text.contains("sums are wrong")), "{reasons:?}");
}

#[test]
fn wrong_lanes_do_not_fail_a_candidate_there() {
    let cells = run(&Shifted, |cell| cell);
    assert_eq!(conclude_on_device(&cells, &[]).0, Verdict::Fail);
    assert_eq!(conclude_on_device(&cells, &["sums are wrong".to_owned()]).0, Verdict::Inconclusive);
}

#[test]
fn wrong_weights_fail_anywhere() {
    let cells = run(&Plain, |mut cell| {
        cell.bias[3] += 1.0;
        cell
    });
    assert_eq!(conclude_on_device(&cells, &["sums are wrong".to_owned()]).0, Verdict::Fail);
}
