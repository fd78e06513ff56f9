//! Both lanes over many sequences with nothing coming back from the device but how far apart they are.

use std::ops::Range;

use lstm::{KerasCell, Network, Tf1Cell};
use parity::apart::StepApart;
use parity::{HostScreen, InputSpec, Lane, LaneError, Lanes, Screen};

use crate::apart::Reduction;
use crate::draw::Drawn;
use crate::tiling::STAGED_STEPS;
use crate::wiring::{self, Run, Starts, Steps};
use crate::{Device, KerasLstm, Tf1FusedLstm};

/// Draws the inputs on the device, runs both lanes there, and reduces what they give. What no kernel computes, and every
/// run on a device that takes none, goes through main memory instead.
#[derive(Clone, Debug)]
pub struct DeviceScreen {
    device: Device,
    tf1: Tf1FusedLstm,
    keras: KerasLstm,
}

impl DeviceScreen {
    /// On this device.
    pub fn new(device: Device) -> DeviceScreen {
        let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device.clone()));
        DeviceScreen { device, tf1, keras }
    }

    /// Whether inputs and results of so many sequences stay on the device.
    pub fn stays_on_device(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: &Network<KerasCell>,
        spec: InputSpec,
        sequences: usize,
    ) -> bool {
        let Some(limits) = self.device.limits() else { return false };
        let steps = sequences.saturating_mul(spec.timesteps);
        let fits = |width: usize| steps.saturating_mul(4 * width) <= limits.binding_bytes.min(u32::MAX as usize);
        let input = truth.cells().first().map_or(0, |c| c.input_size());
        fits(input)
            && spec.timesteps <= limits.workgroups
            && truth.cells().iter().all(|c| self.tf1.chosen(c, sequences, spec.timesteps).is_kernel())
            && candidate.cells().iter().all(|c| self.keras.chosen(c, sequences, spec.timesteps).is_kernel())
    }

    /// The inputs `[sequences, timesteps, input]` of some sequences of a run, as the device draws them.
    pub(crate) fn draw(&self, spec: InputSpec, sequences: Range<usize>, input: usize) -> Result<Vec<f32>, String> {
        let drawn = Drawn { spec, first: sequences.start, sequences: sequences.len() };
        let x = drawn.x(input, &self.device).try_into_data().map_err(|e| e.to_string())?;
        x.try_into_vec::<f32>().map_err(|e| e.to_string())
    }

    fn host(&self) -> HostScreen<'_> {
        HostScreen { lanes: Lanes { tf1: &self.tf1, keras: &self.keras } }
    }

    fn on_device(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: &Network<KerasCell>,
        drawn: &Drawn,
    ) -> Result<Vec<Vec<StepApart>>, String> {
        let input = truth.cells().first().map_or(0, |c| c.input_size());
        let x = drawn.x(input, &self.device);
        let lengths = drawn.lengths();
        let run = Run {
            sequences: drawn.sequences,
            timesteps: drawn.spec.timesteps,
            lengths: Some(&lengths),
            record_states: true,
            record_gates: false,
        };
        let tf1 = self.tf1.on_device(truth, x.clone(), Starts::Drawn(drawn), run)?;
        let keras = self.keras.on_device(candidate, x, Starts::Drawn(drawn), run)?;
        if tf1.len() != truth.cells().len() || keras.len() != tf1.len() {
            return Err(format!("{} and {} cells ran: expected {}", tf1.len(), keras.len(), truth.cells().len()));
        }
        let lengths = run.kernel_lengths();
        // Everything is set going before the first result is waited for.
        let begin = |(tf1, keras): (Steps, Steps)| {
            let h = Reduction::begin(tf1.h, keras.h, &lengths)?;
            Ok((h, Reduction::begin(tf1.c, keras.c, &lengths)?))
        };
        let reductions: Vec<(Reduction, Reduction)> =
            tf1.into_iter().zip(keras).map(begin).collect::<Result<_, String>>()?;
        let finish = |(h, c): (Reduction, Reduction)| {
            let (h, c) = (h.finish(drawn.first)?, c.finish(drawn.first)?);
            Ok(h.into_iter().zip(c).map(|(h, c)| StepApart { h, c }).collect())
        };
        reductions.into_iter().map(finish).collect()
    }
}

impl Screen for DeviceScreen {
    fn bytes_per_sequence(&self, truth: &Network<Tf1Cell>, candidate: &Network<KerasCell>, spec: InputSpec) -> u64 {
        if !self.stays_on_device(truth, candidate, spec, 1) {
            return self.host().bytes_per_sequence(truth, candidate, spec);
        }
        let cells = truth.cells();
        let input = cells.first().map_or(0, |c| c.input_size()) as u64;
        // h and c of both lanes, and once more h where directions are joined or turned round.
        let of_cell = |cell: &&Tf1Cell| 4 * (cell.recurrent_size() + cell.units()) as u64;
        let per_step = input + cells.iter().map(of_cell).sum::<u64>();
        // And in each lane the state of the cell that is being computed, with what a kernel keeps of x beside it.
        let of_state =
            |cell: &&Tf1Cell| (2 * cell.recurrent_size() + 2 * cell.units() + STAGED_STEPS * cell.input_size()) as u64;
        let state = cells.iter().map(of_state).max().unwrap_or(0);
        per_step.saturating_mul(4 * spec.timesteps as u64).saturating_add(2 * 4 * state)
    }

    fn screen(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: &Network<KerasCell>,
        spec: InputSpec,
        sequences: Range<usize>,
    ) -> Result<Vec<Vec<StepApart>>, LaneError> {
        if !self.stays_on_device(truth, candidate, spec, sequences.len()) {
            return self.host().screen(truth, candidate, spec, sequences);
        }
        let drawn = Drawn { spec, first: sequences.start, sequences: sequences.len() };
        let attempt = || self.on_device(truth, candidate, &drawn);
        let lanes = format!("{} beside {}", self.tf1.name(), self.keras.name());
        wiring::guarded(attempt).map_err(|message| wiring::failed(&lanes, &self.device, message))
    }
}
