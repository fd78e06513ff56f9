//! Do the kernels compute the equations on this device? Both that a run may take, in both lanes, with everything a cell may have.

use lstm::{Batch, CellTrace, Network, Peepholes, State, Tf1Cell, convert};
use ndarray::{Array2, Array3, Axis, s};
use parity::apart::{self, Apart, StepApart};
use parity::bound::{self, Bounded};
use parity::random::Stream;
use parity::{ActivationBudget, InputSpec, Lane, Screen, inputs};

use super::random;
use crate::{Device, DeviceScreen, KerasLstm, Route, Tf1FusedLstm};

/// Sequences, steps, inputs, units, and the width of a projection: none a multiple of what kernels work in.
const SIZES: [usize; 5] = [9, 4, 5, 33, 14];

/// What is wrong with the kernels. Nothing is on a device that takes none.
pub(super) fn failures(device: &Device, budget: &ActivationBudget) -> Result<Vec<String>, String> {
    let Some(limits) = device.limits() else { return Ok(vec![]) };
    let [_, _, input, units, projected] = SIZES;
    let plain = cell(input, units, None);
    let rich = cell(input, units, Some(projected));
    let mut failures = vec![];
    let whole = if limits.prefers_vectors() { Route::VectorKernel } else { Route::SequenceKernel };
    for route in [whole, Route::StepKernel] {
        let tf1 = Tf1FusedLstm::new(device.clone()).with_route(route);
        let keras = KerasLstm::new(device.clone()).with_route(route);
        let converted = convert::to_keras(&plain).map_err(|e| e.to_string())?;
        for (lane, cell, network) in [
            (&tf1 as &dyn Lane<Tf1Cell>, &plain, Network::Cell(plain.clone())),
            (&tf1, &rich, Network::Cell(rich.clone())),
        ] {
            failures.extend(of_lane(lane, &network, cell, budget)?);
        }
        failures.extend(of_lane(&keras as &dyn Lane<_>, &Network::Cell(converted), &plain, budget)?);
    }
    failures.extend(of_screen(device, &plain)?);
    Ok(failures)
}

fn cell(input: usize, units: usize, projected: Option<usize>) -> Tf1Cell {
    let recurrent = projected.unwrap_or(units);
    let vector = |stream| random(1, units, stream).row(0).to_owned();
    let mut cell =
        Tf1Cell::new(random(input + units, 4 * units, 1101) * 0.3, random(1, 4 * units, 1102).row(0).to_owned())
            .expect("the shapes fit");
    cell.kernel = random(input + recurrent, 4 * units, 1103) * 0.3;
    cell.forget_bias = 0.75;
    if projected.is_some() {
        cell.peepholes = Some(Peepholes { input: vector(1104), forget: vector(1105), output: vector(1106) });
        cell.projection = projected.map(|width| random(units, width, 1107) * 0.3);
        cell.cell_clip = Some(0.9);
        cell.projection_clip = Some(0.5);
    }
    cell
}

/// Ragged sequences from random states, forwards and backwards, each step judged by the equations from the state that the
/// lane itself had before it.
fn of_lane<C: Clone>(
    lane: &dyn Lane<C>,
    form: &Network<C>,
    cell: &Tf1Cell,
    budget: &ActivationBudget,
) -> Result<Vec<String>, String> {
    let [sequences, timesteps, input, ..] = SIZES;
    let stream = Stream::new(0, 1 << 24 | 1110);
    let x = Array3::from_shape_fn((sequences, timesteps, input), |(n, t, d)| {
        stream.normal(((n * timesteps + t) * input + d) as u64)
    });
    let start = State {
        h: random(sequences, cell.recurrent_size(), 1111) * 0.4,
        c: random(sequences, cell.units(), 1112) * 0.6,
    };
    let lengths: Vec<usize> = (0..sequences).map(|n| 1 + n % timesteps).collect();
    let batch = Batch { x, lengths: Some(lengths), initial: vec![start.clone(), start], record_gates: true };
    let both = Network::side_by_side(form.clone(), form.clone());
    let trace = lane.run(&both, &batch).map_err(|e| e.to_string())?;
    let again = lane.run(&both, &batch).map_err(|e| e.to_string())?;
    let [ahead, back] = &trace.cells[..] else { return Err(format!("{} cells: expected 2", trace.cells.len())) };
    let mut failures = vec![];
    for (backward, found) in [(false, ahead), (true, back)] {
        let share = share(cell, &batch, found, backward, budget)?;
        if share.is_nan() || share > 1.0 {
            failures.push(format!("a {} cell is off by {share:.3e} times its rounding bound", lane.name()));
        }
    }
    if format!("{again:?}") != format!("{trace:?}") {
        failures.push(format!("a {} cell run twice gives different values", lane.name()));
    }
    Ok(failures)
}

/// The largest error of any step, as a share of its bound.
fn share(
    cell: &Tf1Cell,
    batch: &Batch,
    found: &CellTrace<f32>,
    backward: bool,
    budget: &ActivationBudget,
) -> Result<f64, String> {
    let gates = found.gates.as_ref().ok_or("no gates")?;
    let widths = [cell.recurrent_size(), cell.units(), 4 * cell.units()];
    let shape = |width| [batch.sequences(), batch.timesteps(), width];
    if [&found.h, &found.c, gates].into_iter().zip(widths).any(|(a, width)| a.shape() != shape(width)) {
        return Err("a trace of the wrong shape".to_owned());
    }
    let mut worst = 0.0;
    for t in 0..batch.timesteps() {
        for n in 0..batch.sequences() {
            if !batch.is_valid(n, t) {
                // Past the end there is nothing.
                if [&found.h, &found.c].iter().any(|a| a.slice(s![n, t, ..]).iter().any(|v| *v != 0.0)) {
                    return Ok(f64::INFINITY);
                }
                continue;
            }
            let before = if backward {
                Some(t + 1).filter(|t| batch.is_valid(n, *t) && *t < batch.timesteps())
            } else {
                t.checked_sub(1)
            };
            let state = |trace: &Array3<f32>, start: &Array2<f32>| match before {
                Some(before) => trace.slice(s![n, before, ..]).insert_axis(Axis(0)).to_owned(),
                None => start.slice(s![n..n + 1, ..]).to_owned(),
            };
            let (h, c) = (state(&found.h, &batch.initial[0].h), state(&found.c, &batch.initial[0].c));
            let truth = bound::local(cell, batch.x.slice(s![n..n + 1, t, ..]), h.view(), c.view(), budget);
            let mut judge = |found: &Array3<f32>, truth: &Bounded| {
                for (unit, found) in found.slice(s![n, t, ..]).iter().enumerate() {
                    let allowed = truth.bound[[0, unit]] + f64::from(f32::MIN_POSITIVE);
                    let share = (f64::from(*found) - truth.value[[0, unit]]).abs() / allowed;
                    if share.is_nan() || share > worst {
                        worst = share;
                    }
                }
            };
            judge(&found.h, &truth.h);
            judge(&found.c, &truth.c);
            judge(gates, &truth.gates);
        }
    }
    Ok(worst)
}

/// Numbers drawn on the device are those of the CPU, and what is reduced there is what the CPU reduces.
fn of_screen(device: &Device, cell: &Tf1Cell) -> Result<Vec<String>, String> {
    let [sequences, _, input, ..] = SIZES;
    let truth = Network::Cell(cell.clone());
    let (candidate, _) = convert::nearest_network(&truth);
    let spec = InputSpec { sequences: 1 << 20, timesteps: 12, seed: 1 };
    let range = 1_000_003..1_000_003 + sequences;
    let screen = DeviceScreen::new(device.clone());
    if !screen.stays_on_device(&truth, &candidate, spec, sequences) {
        return Ok(vec![]);
    }
    let drawn = inputs::draw_some(spec, &range.clone().collect::<Vec<_>>(), &truth);
    let mut failures = vec![];
    if screen.draw(spec, range.clone(), input)?.iter().map(|v| v.to_bits()).ne(drawn.x.iter().map(|v| v.to_bits())) {
        failures.push("random inputs drawn on the device are not those of the CPU".to_owned());
    }
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device.clone()));
    let batch = Batch { record_gates: false, ..drawn };
    let tf1 = tf1.run(&truth, &batch).map_err(|e| e.to_string())?;
    let keras = keras.run(&candidate, &batch).map_err(|e| e.to_string())?;
    let expected =
        apart::reduce(&tf1.cells[0], &keras.cells[0], &batch, range.start).ok_or("traces of other shapes")?;
    let found = screen.screen(&truth, &candidate, spec, range).map_err(|e| e.to_string())?;
    let [found] = &found[..] else { return Err(format!("{} cells were reduced: expected 1", found.len())) };
    if found.len() != expected.len() || found.iter().zip(&expected).any(|(a, b)| !alike(a, b)) {
        failures.push("differences reduced on the device are not those of the CPU".to_owned());
    }
    Ok(failures)
}

/// Equal but for the largest relative difference, which the device finds with a division of its own.
fn alike(a: &StepApart, b: &StepApart) -> bool {
    let one = |a: &Apart, b: &Apart| {
        let rest = |apart: &Apart| format!("{:?}", Apart { rel: None, ..*apart });
        rest(a) == rest(b) && (a.max_rel() - b.max_rel()).abs() <= 1e-6 * b.max_rel()
    };
    one(&a.h, &b.h) && one(&a.c, &b.c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;
    use crate::wgsl::planted;
    use lstm::{KerasCell, Trace};
    use parity::LaneError;

    fn budget() -> ActivationBudget {
        ActivationBudget::new(|_| 8.0)
    }

    /// A right lane on the CPU whose trace something is done to.
    struct Tampered(KerasLstm, fn(&mut CellTrace<f32>));

    impl Lane<KerasCell> for Tampered {
        fn name(&self) -> String {
            "tampered".to_owned()
        }

        fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
            let mut trace = self.0.run(network, batch)?;
            trace.cells.iter_mut().for_each(self.1);
            Ok(trace)
        }
    }

    #[test]
    fn a_kernel_that_is_wrong_anywhere_is_caught() {
        let device = Device::open(Choice::Cpu).unwrap();
        let [_, _, input, units, _] = SIZES;
        let plain = cell(input, units, None);
        let form = Network::Cell(convert::to_keras(&plain).unwrap());
        let failures = |tamper: fn(&mut CellTrace<f32>)| {
            of_lane(&Tampered(KerasLstm::new(device.clone()), tamper), &form, &plain, &budget()).unwrap().len()
        };
        assert_eq!(failures(|_| ()), 0);
        assert_eq!(failures(|t| t.h[[3, 2, 32]] += 1e-4), 2, "the last unit of a step");
        assert_eq!(failures(|t| t.c[[8, 0, 0]] = f32::NAN), 2, "not a number");
        assert_eq!(failures(|t| t.h[[0, 3, 1]] = 0.5), 2, "past a sequence's end");
        assert_eq!(failures(|t| t.gates.as_mut().unwrap()[[7, 1, 100]] += 1e-3), 2, "a gate");
    }

    #[test]
    fn the_kernels_of_an_adapter_are_right() {
        let device = Device::open(Choice::Gpu).expect("a software adapter is in the package mesa-vulkan-drivers");
        assert_eq!(failures(&device, &budget()), Ok(vec![]));
    }

    /// Faults in the text of a kernel, each in one route of the TF1 cell with everything it may have.
    #[test]
    fn a_fault_in_the_text_of_a_kernel_is_caught() {
        let device = Device::open(Choice::Gpu).expect("a software adapter is in the package mesa-vulkan-drivers");
        let [_, _, input, units, projected] = SIZES;
        let cell = cell(input, units, Some(projected));
        let form = Network::Cell(cell.clone());
        let found = |route| {
            let lane = Tf1FusedLstm::new(device.clone()).with_route(route);
            of_lane(&lane, &form, &cell, &budget()).unwrap()
        };
        let on_all = [
            ("sum.second + w.y * v", "sum.second + w.z * v", "a gate's weights in another's place"),
            ("let valid = step < length;", "let valid = step + 1u < length;", "a step too few"),
            ("(z.third + bias.z) + run.forget_bias", "z.third + bias.z", "no forget bias"),
            ("h_index(first, step + 1u, row)", "h_index(first, step, row)", "h where it was before"),
            ("of_o += peepholes.z * c;", "of_o += peepholes.z * before;", "the output gate sees the old c"),
            ("c = clip(c, run.cell_clip);", "", "no clip"),
            ("project(first + 4u * quad, ", "project(first, ", "four sequences projected for all"),
        ];
        let of_sequence = [("workgroupBarrier();  // the step's rows", "//", "a missing barrier")];
        let of_vector = [
            ("subgroupShuffle(held[quad], other + 1u)", "subgroupShuffle(held[quad], other)", "another lane's row"),
            ("row + lane < end", "row + lane + 1u < end", "a row too few"),
            ("vec2(word(v.xy), word(v.zw))", "vec2(word(v.xy), word(v.xy))", "half of the state"),
        ];
        let whole = if device.info().is_software { Route::VectorKernel } else { Route::SequenceKernel };
        let of_whole = if device.info().is_software { &of_vector[..] } else { &[] };
        let faults = [(whole, &on_all[..]), (whole, of_whole), (Route::SequenceKernel, &of_sequence[..])];
        for (route, faults) in faults {
            assert_eq!(found(route), Vec::<String>::new());
            for &(right, wrong, what) in faults {
                let failures = planted::with((right, wrong), || found(route));
                assert!(!failures.is_empty(), "{what} was not seen");
            }
        }
    }
}
