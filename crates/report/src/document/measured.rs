//! From what was measured to what is printed of it.

use super::{
    At, ByQuantity, Carried, Heat, Kill, Local, Screened, ScreenedStep, SmallestChange, Timestep, VerifiedLstm,
    WeightTensor, Weights,
};

impl ByQuantity {
    fn new<T>(values: &parity::PerQuantity<T>, of: impl Fn(&T) -> f64) -> ByQuantity {
        let [h, c, i, j, f, o] = &values.0;
        ByQuantity { h: of(h), c: of(c), i: of(i), j: of(j), f: of(f), o: of(o) }
    }
}

impl From<parity::Place> for At {
    fn from(p: parity::Place) -> At {
        At {
            state: p.quantity.as_str().to_owned(),
            sequence: p.sequence,
            unit: p.unit,
            expected: p.expected,
            found: p.found,
            oracle: None,
        }
    }
}

impl From<&parity::StepReport> for Timestep {
    fn from(s: &parity::StepReport) -> Timestep {
        let states = s.carried.states();
        // A lane with values that are not finite is the worse one.
        let gravity = |lane: &parity::PerQuantity<parity::LocalError>| {
            let worst = lane.worst().1;
            (worst.non_finite > 0, worst.ratio)
        };
        let lane = if gravity(&s.keras_local) >= gravity(&s.tf1_local) { &s.keras_local } else { &s.tf1_local };
        let worse = lane.worst().1;
        let locals = s.tf1_local.0.iter().chain(&s.keras_local.0);
        Timestep {
            t: s.t,
            carried: Carried {
                max_abs: states.max_abs,
                max_rel: states.max_rel,
                max_ulp: states.max_ulp,
                rms: states.rms(),
                at: states.at.map(|at| At { oracle: Some(s.carried.truth_there), ..At::from(at) }),
                non_finite: states.non_finite,
                lanes: ByQuantity::new(&s.carried.lanes, |d| d.max_abs),
                tf1_from_oracle: ByQuantity::new(&s.carried.tf1_from_oracle, |d| *d),
                keras_from_oracle: ByQuantity::new(&s.carried.keras_from_oracle, |d| *d),
                noise_floor: s.carried.noise_floor,
                allowed: s.carried.allowed,
                saturated: s.carried.saturated,
            },
            local: Local {
                max_abs: locals.clone().fold(0.0, |m: f64, e| m.max(e.max_abs)),
                bound: worse.bound,
                ratio: worse.ratio,
                tf1_ratio: ByQuantity::new(&s.tf1_local, |e| e.ratio),
                keras_ratio: ByQuantity::new(&s.keras_local, |e| e.ratio),
                non_finite: locals.map(|e| e.non_finite).sum(),
                at: worse.at.map(At::from),
                gate: parity::Quantity::Gate(lane.worst_gate()).to_string(),
            },
        }
    }
}

impl Screened {
    /// Of one cell, from every step of it.
    pub fn new(steps: &[parity::apart::StepApart], sequences: usize, judged: usize) -> Screened {
        let timesteps: Vec<ScreenedStep> = steps.iter().enumerate().map(|(t, step)| screened_step(t, step)).collect();
        Screened {
            sequences,
            judged,
            compared: steps.iter().map(|s| s.states().count).sum(),
            non_finite: timesteps.iter().map(|s| s.non_finite).sum(),
            max_abs: timesteps.iter().fold(0.0, |m: f64, s| m.max(s.max_abs)),
            timesteps,
        }
    }
}

fn screened_step(t: usize, step: &parity::apart::StepApart) -> ScreenedStep {
    let states = step.states();
    let state = if states.abs == step.h.abs { "h" } else { "c" };
    ScreenedStep {
        t,
        max_abs: states.max_abs(),
        max_rel: states.max_rel(),
        max_ulp: states.max_ulp(),
        non_finite: states.non_finite,
        at: states.abs.map(|seen| At {
            state: state.to_owned(),
            sequence: seen.sequence,
            unit: seen.unit,
            expected: seen.tf1.into(),
            found: seen.keras.into(),
            oracle: None,
        }),
    }
}

impl From<&parity::CellReport> for VerifiedLstm {
    fn from(cell: &parity::CellReport) -> VerifiedLstm {
        let largest = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(0.0, |m: f64, v| if m.is_nan() || v.is_nan() { f64::NAN } else { m.max(v) })
        };
        VerifiedLstm {
            name: cell.name.clone(),
            candidate: cell.candidate.clone(),
            direction: cell.place.direction.as_str().to_owned(),
            layer: cell.place.layer,
            input_size: cell.input_size,
            units: cell.units,
            weights: Weights {
                equal: cell.weights.equal(),
                count: cell.weights.count(),
                differing: cell.weights.differing(),
                max_abs: largest(&mut cell.weights.tensors.iter().map(|t| t.max_abs)),
                settings: cell.weights.settings.clone(),
                tensors: cell
                    .weights
                    .tensors
                    .iter()
                    .map(|t| WeightTensor {
                        tensor: t.tensor.to_owned(),
                        count: t.count,
                        differing: t.differing,
                        max_abs: t.max_abs,
                        at: t.at.map(|(row, column)| [row, column]),
                    })
                    .collect(),
            },
            compared: cell.compared,
            max_abs: largest(&mut cell.steps.iter().map(|s| s.carried.states().max_abs)),
            growth_per_step: growth(cell),
            first_step_beyond: first_beyond(cell),
            timesteps: cell.steps.iter().map(Timestep::from).collect(),
            sensitivity: cell
                .sensitivity
                .kills
                .iter()
                .map(|k| Kill {
                    fault: k.fault.name().to_owned(),
                    text: k.fault.describe(),
                    detected: k.detected,
                    margin: k.margin,
                    why: k.why.clone(),
                })
                .collect(),
            smallest_change: cell.sensitivity.smallest_change.map(|s| SmallestChange {
                weights: s.weights,
                min: s.min,
                median: s.median,
                p95: s.p95,
                invisible: s.invisible,
            }),
            diagnosis: vec![],
            screened: None,
            heat: cell.heat.as_ref().map(|heat| Heat {
                sequence: heat.sequence,
                values: heat.apart.rows().into_iter().map(|row| row.to_vec()).collect(),
            }),
        }
    }
}

/// The first step at which something was compared and the Keras lane is beyond its bound.
fn first_beyond(cell: &parity::CellReport) -> Option<usize> {
    let compared = cell.steps.iter().filter(|s| s.carried.states().count > 0);
    compared.filter(|s| !(s.keras_local.within() && s.carried.keras_within())).map(|s| s.t).next()
}

/// Geometric mean of the growth of the Keras lane's distance from the oracle, in the order the cell reads.
fn growth(cell: &parity::CellReport) -> Option<f64> {
    let mut distances: Vec<f64> = cell
        .steps
        .iter()
        .filter(|s| s.carried.states().count > 0)
        .map(|s| s.carried.keras_from_oracle.states().iter().fold(0.0, |m: f64, d| m.max(*d)))
        .collect();
    if cell.place.direction == lstm::Direction::Backward {
        distances.reverse();
    }
    let (first, last) = (*distances.first()?, *distances.last()?);
    let growth = (last / first).powf(1.0 / (distances.len() as f64 - 1.0));
    growth.is_finite().then_some(growth)
}
