//! Steps at which nothing is compared, or all is zero, must not switch off the judgement of the free run.

mod plain;

use lstm::{Batch, KerasCell, Network, Trace, convert};
use parity::*;
use plain::{Plain, random_cell};
struct Wrong;
impl Lane<KerasCell> for Wrong {
    fn name(&self) -> String {
        "wrong".into()
    }
    fn run(&self, n: &Network<KerasCell>, b: &Batch) -> Result<Trace<f32>, LaneError> {
        let mut t = Plain.run(n, b)?;
        // wrong only when run freely over the whole batch: nothing but the carried error can see it
        if b.sequences() > 1 && b.timesteps() > 1 {
            let k = t.cells.len() - 1;
            t.cells[k].h[[3, 1, 4]] += 1.0;
        }
        Ok(t)
    }
}
fn check(network: Network<lstm::Tf1Cell>, change: fn(&mut Batch)) -> (Verdict, bool) {
    let right = convert::network_to_keras(&network).unwrap();
    let names: Vec<String> = (0..network.cells().len()).map(|k| k.to_string()).collect();
    let subject =
        Subject { truth: &network, expected: &right, candidate: &right, names: names.clone(), candidate_names: names };
    let mut batch = inputs::draw(InputSpec { sequences: 12, timesteps: 12, seed: 0 }, &network);
    change(&mut batch);
    let lanes = Lanes { tf1: &Plain, keras: &Wrong };
    let cells = verify(&subject, lanes, &batch, 0, &ActivationBudget::new(|_| 4.0), &|_| {});
    let last = cells.last().unwrap();
    (conclude(&cells).0, last.steps[1].carried.saturated)
}
fn both() -> Network<lstm::Tf1Cell> {
    let cell = |seed| Network::Cell(random_cell(5, 8, 0.6, seed));
    Network::side_by_side(cell(1), cell(2))
}
#[test]
fn control_bidirectional() {
    assert_eq!(check(both(), |_| {}), (Verdict::Fail, false));
}
#[test]
fn no_sequence_reaches_the_last_step() {
    assert_eq!(
        check(both(), |b| b.lengths = Some(b.lengths.take().unwrap().into_iter().map(|l| l.min(11)).collect())),
        (Verdict::Fail, false)
    );
}
#[test]
fn nothing_happens_at_the_first_step() {
    let mut cell = random_cell(5, 8, 0.6, 1);
    cell.bias.fill(0.0);
    assert_eq!(
        check(Network::Cell(cell), |b| {
            b.x.slice_mut(ndarray::s![.., 0, ..]).fill(0.0);
            for s in &mut b.initial {
                s.h.fill(0.0);
                s.c.fill(0.0);
            }
        }),
        (Verdict::Fail, false)
    );
}
