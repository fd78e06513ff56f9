//! Would a fault have been seen? Each fault of the catalogue is injected into the right conversion and run through the
//! same lane and the same bound. A pass means something only if the faults that could show did show.

mod smallest_change;

use std::sync::mpsc;

use lstm::fault::{self, Fault, Injected};
use lstm::{Direction, KerasCell, Place, Tf1Cell, convert};
use ndarray::{Array2, Axis};

use crate::bound::LocalTruth;
use crate::clips::ClipUse;
use crate::lane::Lane;
use crate::local::Points;
pub use smallest_change::SmallestChange;

/// Points at which faults are tried: enough to meet every regime, few enough to cost less than the verification.
const POINTS: usize = 128;

/// One row of the kill table.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// The fault.
    pub fault: Fault,
    /// Whether the lanes alone showed it; `None` where it cannot show on this cell.
    pub detected: Option<bool>,
    /// The largest error it caused, as a share of the bound: detected above 1.
    pub margin: f64,
    /// Why it cannot show, or why it was not seen where the lane did not run.
    pub why: Option<String>,
}

/// What this verification could have seen of one cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sensitivity {
    /// One row per fault of the catalogue.
    pub kills: Vec<Kill>,
    /// Of single weights.
    pub smallest_change: Option<SmallestChange>,
}

impl Sensitivity {
    /// Material faults that could show and did not.
    pub fn missed(&self) -> impl Iterator<Item = &Kill> {
        self.kills.iter().filter(|k| k.detected == Some(false) && is_material(&k.fault))
    }

    /// Whether more sequences, on which the cell's clips do this, could show nothing new: every fault that could show did,
    /// and none could not for a clip that is reached now.
    pub(crate) fn says_all(&self, clips: &[ClipUse]) -> bool {
        let reached = clips.iter().any(|clip| clip.reached);
        let unseen_clip = |k: &Kill| reached && k.fault == Fault::ClipIgnored && k.detected.is_none();
        !self.kills.is_empty() && self.missed().next().is_none() && !self.kills.iter().any(unseen_clip)
    }
}

/// Whether a pass must rest on having seen this fault in the outputs. Small changes of the weights themselves are seen
/// by the exact comparison in any case; their rows tell how small an error the outputs alone would show.
fn is_material(fault: &Fault) -> bool {
    !matches!(fault, Fault::WeightsDiffer(_) | Fault::PrecisionReduced(_))
}

/// The right conversions of other cells that this one could be mistaken for: same shapes, same network.
pub(crate) fn mistaken_for<'a>(
    index: usize,
    placed: &[(Place, &Tf1Cell)],
    expected: &[&'a KerasCell],
) -> Vec<(Fault, &'a KerasCell)> {
    let own = placed[index].0;
    let same_shape = |other: &KerasCell| other.kernel.dim() == expected[index].kernel.dim();
    let mut found = vec![];
    for (other, (place, _)) in placed.iter().enumerate().filter(|(other, _)| *other != index) {
        let (first, second) = (index.min(other), index.max(other));
        let fault = if place.layer == own.layer && place.direction != own.direction {
            Fault::DirectionsSwapped { forward: first, backward: second }
        } else if place.direction == own.direction && place.layer.abs_diff(own.layer) == 1 {
            Fault::LayersSwapped { first, second }
        } else {
            continue;
        };
        if same_shape(expected[other]) {
            found.push((fault, expected[other]));
        }
    }
    found
}

/// Tries every fault on some of the points, which hold what the Keras form reads and of which `truth` makes the truth. Of
/// a cell that Keras cannot express, what the nearest layer loses; a clip that is never reached is as good as none.
pub(crate) fn measure(
    (cell, clips): (&Tf1Cell, &[ClipUse]),
    place: Place,
    others: &[(Fault, &KerasCell)],
    lane: &dyn Lane<KerasCell>,
    points: &Points,
    truth: &dyn Fn(&Points) -> LocalTruth,
) -> Sensitivity {
    let never_clipped = clips.iter().all(|clip| !clip.reached);
    let cell = &if never_clipped { convert::unclipped(cell) } else { cell.clone() };
    let (right, _) = convert::nearest(cell);
    let rows = spread(points.rows.len());
    let few = points.select(&rows);
    let truth = truth(&few);
    let margin = |cell: &KerasCell, points: &Points| -> Result<f64, String> {
        if cell.output_size() != right.output_size() {
            // Outputs of another width are certainly seen.
            return Ok(f64::INFINITY);
        }
        let trace = points.run(lane, cell).map_err(|e| e.to_string())?;
        let steps = points.judge(&truth, &trace, steps(points)).ok_or("missing or misshapen output")?;
        let errors = steps.iter().flat_map(|s| s.states());
        Ok(errors.fold(0.0, |m: f64, e| match (e.non_finite, e.bound.is_finite()) {
            // What nothing bounds shows nothing.
            (0, false) => m,
            (0, true) => m.max(e.ratio),
            // A fault that makes the lane give NaN is certainly seen too.
            _ => f64::INFINITY,
        }))
    };
    let seen = |fault: &Fault, margin: Result<f64, String>| match margin {
        Ok(margin) => Kill { fault: fault.clone(), detected: Some(margin > 1.0), margin, why: None },
        // A lane that does not run shows nothing, least of all every fault.
        Err(text) => Kill { fault: fault.clone(), detected: Some(false), margin: 0.0, why: Some(text) },
    };
    let cannot = |fault: &Fault, why: &str| Kill {
        fault: fault.clone(),
        detected: None,
        margin: 0.0,
        why: Some(why.to_owned()),
    };

    let try_fault = |fault: Fault, injected: Injected| -> Option<Kill> {
        // One step at a time a cell has no direction: this one is a matter of which state it meets.
        if fault == Fault::BackwardNotReversed {
            return Some(seen(&fault, margin(&right, &read_the_other_way(points, &rows, &few, place.direction))));
        }
        Some(match injected {
            Injected::Cell(wrong) => seen(&fault, margin(&wrong, &few)),
            Injected::Unobservable(why) => cannot(&fault, &why),
            Injected::NotOnWeights => match fed_wrongly(&fault, &few)? {
                points if points.x == few.x && points.h == few.h && points.c == few.c => {
                    cannot(&fault, "what is fed wrongly is the same here")
                }
                points => seen(&fault, margin(&right, &points)),
            },
        })
    };
    let (few, truth) = (&few, &truth);
    std::thread::scope(|scope| {
        let representable = convert::representable(cell).is_ok();
        let smallest = scope.spawn(move || representable.then(|| smallest_change::measure(cell, few, truth)));
        // The next faults are made while one is run, but no more of them than that: each is as large as the cell.
        let (made, faults) = mpsc::sync_channel(1);
        scope.spawn(move || {
            // Stops where nobody takes them any more.
            fault::catalogue(cell).into_iter().all(|fault| {
                let injected = fault::inject(cell, &fault);
                made.send((fault, injected)).is_ok()
            })
        });
        let mut kills: Vec<Kill> = faults.iter().filter_map(|(fault, injected)| try_fault(fault, injected)).collect();
        for (fault, other) in others {
            let same = other.kernel == right.kernel
                && other.recurrent_kernel == right.recurrent_kernel
                && other.bias == right.bias
                && other.output_projection == right.output_projection;
            kills.push(if same {
                cannot(fault, "both cells hold the same weights")
            } else {
                seen(fault, margin(other, few))
            });
        }
        if never_clipped && !clips.is_empty() {
            kills.push(cannot(&Fault::ClipIgnored, "no value reaches the clip on these inputs"));
        }
        Sensitivity { kills, smallest_change: smallest.join().expect("counting does not panic") }
    })
}

fn steps(points: &Points) -> usize {
    points.rows.iter().map(|(_, t)| t + 1).max().unwrap_or(0)
}

/// Indices spread evenly over all points, so that all sequences and steps are met.
fn spread(count: usize) -> Vec<usize> {
    let taken = count.min(POINTS);
    (0..taken).map(|k| k * count / taken).collect()
}

/// Faults of feeding: right weights, wrong points.
fn fed_wrongly(fault: &Fault, points: &Points) -> Option<Points> {
    let mut wrong = points.clone();
    match fault {
        Fault::StateSwapped if points.h.dim() == points.c.dim() => {
            std::mem::swap(&mut wrong.h, &mut wrong.c);
            Some(wrong)
        }
        Fault::OneStepLate => {
            // Every point gets the input of the point before it.
            let last = points.rows.len().checked_sub(1)?;
            let order: Vec<usize> = (0..=last).map(|k| k.checked_sub(1).unwrap_or(last)).collect();
            wrong.x = points.x.select(Axis(0), &order);
            Some(wrong)
        }
        _ => None,
    }
}

/// The points of a cell that reads its sequences the wrong way round: each meets the state of its other neighbour.
fn read_the_other_way(points: &Points, rows: &[usize], few: &Points, direction: Direction) -> Points {
    let mut wrong = few.clone();
    for (k, &row) in rows.iter().enumerate() {
        // A forward cell meets at step t the state after t − 1. The one after t + 1 is what step t + 2 meets.
        let source = match direction {
            Direction::Forward => Some(row + 2).filter(|source| *source < points.rows.len()),
            Direction::Backward => row.checked_sub(2),
        };
        let source = source.filter(|source| points.rows[*source].0 == points.rows[row].0);
        let state = |all: &Array2<f32>, own: &mut Array2<f32>| match source {
            Some(source) => own.row_mut(k).assign(&all.row(source)),
            None => own.row_mut(k).fill(0.0),
        };
        state(&points.h, &mut wrong.h);
        state(&points.c, &mut wrong.c);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;
    use lstm::Network;
    use ndarray::Array1;

    pub(super) fn cell(input: usize, units: usize, seed: u64) -> Tf1Cell {
        let draw = Stream::new(seed, 0);
        let kernel =
            Array2::from_shape_fn((input + units, 4 * units), |(r, c)| 0.5 * draw.normal((r * 4 * units + c) as u64));
        Tf1Cell::new(kernel, Array1::zeros(4 * units)).unwrap()
    }

    pub(super) fn points(rows: Vec<(usize, usize)>, width: usize) -> Points {
        let of = |stream| {
            let draw = Stream::new(1, stream);
            Array2::from_shape_fn((rows.len(), width), |(r, c)| draw.normal((r * width + c) as u64))
        };
        Points { x: of(0), h: of(1), c: of(2), rows: rows.clone() }
    }

    #[test]
    fn points_are_spread_over_all() {
        assert_eq!(spread(0), [0; 0]);
        assert_eq!(spread(5), [0, 1, 2, 3, 4]);
        assert_eq!(spread(3 * POINTS), (0..POINTS).map(|k| 3 * k).collect::<Vec<_>>());
        assert_eq!(steps(&points(vec![(0, 0), (0, 4), (1, 2)], 1)), 5);
        assert_eq!(steps(&points(vec![], 1)), 0);
    }

    #[test]
    fn small_changes_of_weights_are_not_material() {
        let kill = |fault, detected| Kill { fault, detected, margin: 0.0, why: None };
        let small = Fault::PrecisionReduced(fault::Precision::Float16);
        let kills = vec![
            kill(Fault::BiasMissing, Some(true)),
            kill(small, Some(false)),
            kill(Fault::StateSwapped, None),
            kill(Fault::OneStepLate, Some(false)),
        ];
        let sensitivity = Sensitivity { kills, smallest_change: None };
        assert_eq!(sensitivity.missed().map(|k| &k.fault).collect::<Vec<_>>(), [&Fault::OneStepLate]);
    }

    #[test]
    fn all_is_said_when_everything_that_could_show_did() {
        let of = |kills: &[(Fault, Option<bool>)]| {
            let kill = |(fault, detected): &(Fault, Option<bool>)| Kill {
                fault: fault.clone(),
                detected: *detected,
                margin: 0.0,
                why: None,
            };
            Sensitivity { kills: kills.iter().map(kill).collect(), smallest_change: None }
        };
        let clip = |reached| ClipUse { what: crate::Clipped::State, limit: 1.0, largest: 0.5, reached };
        let seen = (Fault::BiasMissing, Some(true));
        let small = (Fault::PrecisionReduced(fault::Precision::Float16), Some(false));
        assert!(of(&[seen.clone(), small, (Fault::StateSwapped, None)]).says_all(&[]));
        assert!(!of(&[seen.clone(), (Fault::StateSwapped, Some(false))]).says_all(&[]));
        assert!(!of(&[]).says_all(&[]), "nothing was tried");
        let unseen = of(&[seen.clone(), (Fault::ClipIgnored, None)]);
        assert!(unseen.says_all(&[clip(false)]) && !unseen.says_all(&[clip(false), clip(true)]));
        assert!(of(&[seen, (Fault::ClipIgnored, Some(true))]).says_all(&[clip(true)]));
    }

    #[test]
    fn a_cell_is_mistaken_for_its_neighbours_of_the_same_shape() {
        let bidirectional =
            |seed| Network::side_by_side(Network::Cell(cell(4, 2, seed)), Network::Cell(cell(4, 2, seed + 1)));
        let of = |network: &Network<Tf1Cell>, index: usize| {
            let right = convert::network_to_keras(network).unwrap();
            let placed = network.placed_cells();
            let found = mistaken_for(index, &placed, &right.cells());
            for (fault, other) in &found {
                let (Fault::DirectionsSwapped { forward: a, backward: b }
                | Fault::LayersSwapped { first: a, second: b }) = fault
                else {
                    panic!("{fault:?}")
                };
                assert_eq!(*other, right.cells()[a + b - index], "the other cell's weights");
            }
            found.into_iter().map(|(fault, _)| fault).collect::<Vec<_>>()
        };
        let directions = |forward, backward| Fault::DirectionsSwapped { forward, backward };
        let layers = |first, second| Fault::LayersSwapped { first, second };
        let both = Network::Stack(vec![bidirectional(0), bidirectional(2)]);
        assert_eq!(of(&both, 0), [directions(0, 1), layers(0, 2)]);
        assert_eq!(of(&both, 3), [layers(1, 3), directions(2, 3)]);
        let stack = |input| {
            Network::Stack(vec![
                Network::Cell(cell(input, 4, 0)),
                Network::Cell(cell(4, 4, 1)),
                Network::Cell(cell(4, 4, 2)),
            ])
        };
        assert_eq!(of(&stack(4), 0), [layers(0, 1)]);
        assert_eq!(of(&stack(4), 1), [layers(0, 1), layers(1, 2)]);
        assert_eq!(of(&stack(3), 1), [layers(1, 2)], "another shape is never taken");
    }

    #[test]
    fn faults_of_feeding_change_what_is_fed_and_nothing_else() {
        let right = points(vec![(0, 0), (0, 1), (0, 2)], 2);
        let swapped = fed_wrongly(&Fault::StateSwapped, &right).unwrap();
        assert_eq!((&swapped.h, &swapped.c, &swapped.x), (&right.c, &right.h, &right.x));
        let late = fed_wrongly(&Fault::OneStepLate, &right).unwrap();
        assert_eq!((late.x.row(1), late.x.row(2), late.x.row(0)), (right.x.row(0), right.x.row(1), right.x.row(2)));
        assert_eq!((&late.h, &late.c), (&right.h, &right.c));
        assert!(fed_wrongly(&Fault::BiasMissing, &right).is_none());
        let projected = Points { h: Array2::zeros((3, 1)), ..right };
        assert!(fed_wrongly(&Fault::StateSwapped, &projected).is_none());
    }

    #[test]
    fn read_the_other_way_each_step_meets_the_state_of_its_other_neighbour() {
        let all = points((0..2).flat_map(|n| (0..4).map(move |t| (n, t))).collect(), 2);
        let rows = [0, 1, 2, 4, 7];
        let few = all.select(&rows);
        for (direction, sources) in [
            (Direction::Forward, [Some(2), Some(3), None, Some(6), None]),
            (Direction::Backward, [None, None, Some(0), None, Some(5)]),
        ] {
            let wrong = read_the_other_way(&all, &rows, &few, direction);
            assert_eq!((&wrong.x, &wrong.rows), (&few.x, &few.rows));
            for (k, source) in sources.into_iter().enumerate() {
                let of = |a: &Array2<f32>| source.map_or(Array1::zeros(2), |s| a.row(s).to_owned());
                assert_eq!((wrong.h.row(k), wrong.c.row(k)), (of(&all.h).view(), of(&all.c).view()), "{direction} {k}");
            }
        }
    }
}
