//! What both lanes share: checking a batch, walking a network, and bringing traces back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Bool, Tensor, TensorData};
use lstm::{Batch, CellTrace, KerasCell, Merge, Network, State, Tf1Cell, Trace};
use ndarray::{Array2, Array3};
use parity::LaneError;

use crate::draw::Drawn;
use crate::{Device, Route};

/// The widths of a cell.
pub(crate) trait Widths {
    fn input_size(&self) -> usize;
    /// Of the output that is fed back.
    fn recurrent_size(&self) -> usize;
    /// Of what the next layer reads.
    fn output_size(&self) -> usize;
    fn units(&self) -> usize;
}

impl Widths for Tf1Cell {
    fn input_size(&self) -> usize {
        self.input_size()
    }
    fn recurrent_size(&self) -> usize {
        self.recurrent_size()
    }
    fn output_size(&self) -> usize {
        self.recurrent_size()
    }
    fn units(&self) -> usize {
        self.units()
    }
}

impl Widths for KerasCell {
    fn input_size(&self) -> usize {
        self.input_size()
    }
    fn recurrent_size(&self) -> usize {
        self.units()
    }
    fn output_size(&self) -> usize {
        self.output_size()
    }
    fn units(&self) -> usize {
        self.units()
    }
}

/// What one cell computed, on the device, in the order of its input's steps.
pub(crate) struct Steps {
    /// `[sequences, timesteps, output]`
    pub(crate) h: Tensor<3>,
    /// `[sequences, timesteps, units]`; `[1, 1, 1]` from the twin where the run does not ask for it.
    pub(crate) c: Tensor<3>,
    /// `[sequences, timesteps, 4·units]`, blocks i, j, f, o; where the batch asks for them.
    pub(crate) gates: Option<Tensor<3>>,
}

impl Steps {
    /// Joins the steps of a loop, in order: of each h `[sequences, recurrent]`, c `[sequences, units]`, and the gates
    /// `[sequences, 4·units]` where they are asked for.
    pub(crate) fn stack(h: Vec<Tensor<2>>, c: Vec<Tensor<2>>, gates: Vec<Tensor<2>>) -> Steps {
        let gates = (!gates.is_empty()).then(|| Tensor::stack(gates, 1));
        Steps { h: Tensor::stack(h, 1), c: Tensor::stack(c, 1), gates }
    }

    /// The same change made to each of the three.
    pub(crate) fn map(self, change: impl Fn(Tensor<3>) -> Tensor<3>) -> Steps {
        Steps { h: change(self.h), c: change(self.c), gates: self.gates.map(change) }
    }
}

/// What a cell is told of the batch, besides its input and where it starts.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) sequences: usize,
    pub(crate) timesteps: usize,
    /// Valid steps of each sequence; `None` when all are valid.
    pub(crate) lengths: Option<&'a [usize]>,
    /// Whether c is asked for: of the output alone, the twin leaves it out.
    pub(crate) record_states: bool,
    pub(crate) record_gates: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn of(batch: &'a Batch) -> Run<'a> {
        let (sequences, timesteps) = (batch.sequences(), batch.timesteps());
        let lengths = batch.lengths.as_deref();
        Run { sequences, timesteps, lengths, record_states: true, record_gates: batch.record_gates }
    }

    pub(crate) fn is_valid(&self, sequence: usize, step: usize) -> bool {
        self.lengths.is_none_or(|lengths| step < lengths[sequence])
    }

    /// Valid steps of each sequence as the kernels read them.
    pub(crate) fn kernel_lengths(&self) -> Vec<u32> {
        match self.lengths {
            Some(lengths) => lengths.iter().map(|length| *length as u32).collect(),
            None => vec![self.timesteps as u32; self.sequences],
        }
    }
}

/// The states that cells start from.
#[derive(Clone, Copy)]
pub(crate) enum Starts<'a> {
    /// One per cell.
    Given(&'a [State]),
    /// Drawn on the device.
    Drawn(&'a Drawn),
}

/// The state that one cell starts from.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// h and c.
    Given(&'a State),
    /// Those of the cell of this number, drawn on the device.
    Drawn(&'a Drawn, usize),
}

impl Starts<'_> {
    fn of_cell(&self, cell: usize) -> Start<'_> {
        match self {
            Starts::Given(states) => Start::Given(&states[cell]),
            Starts::Drawn(drawn) => Start::Drawn(drawn, cell),
        }
    }
}

impl Start<'_> {
    /// h and c, for tensor operations.
    pub(crate) fn given(&self) -> Result<&State, String> {
        match self {
            Start::Given(state) => Ok(state),
            Start::Drawn(..) => Err("states are drawn on the device for kernels alone".to_owned()),
        }
    }
}

/// Runs `network` on `device` with `cell` computing one cell: from x `[sequences, timesteps, input]`, where it starts,
/// the batch, and whether the sequence is read last step first, to what it computed and what the next cell reads
/// `[sequences, timesteps, output]`.
///
/// Burn reports some failures of a device by panicking; those come back as errors too.
pub(crate) fn run<C: Widths>(
    lane: &str,
    device: &Device,
    network: &Network<C>,
    batch: &Batch,
    cell: impl Fn(&C, Tensor<3>, Start<'_>, &Run<'_>, bool) -> Result<(Steps, Tensor<3>), String>,
) -> Result<Trace<f32>, LaneError> {
    check(network, batch)?;
    let attempt = || -> Result<Trace<f32>, String> {
        let x = upload_input(batch, device);
        let (steps, output) = on_device(device, network, x, Starts::Given(&batch.initial), Run::of(batch), cell)?;
        let cells = steps
            .into_iter()
            .map(|Steps { h, c, gates }| {
                Ok(CellTrace { h: read(h)?, c: read(c)?, gates: gates.map(read).transpose()? })
            })
            .collect::<Result<_, String>>()?;
        Ok(Trace { cells, output: read(output)? })
    };
    guarded(attempt).map_err(|message| failed(lane, device, message))
}

/// The same from inputs that lie on the device, with all results left there: every cell's, and the network's output.
pub(crate) fn on_device<C>(
    device: &Device,
    network: &Network<C>,
    x: Tensor<3>,
    starts: Starts<'_>,
    run: Run<'_>,
    cell: impl Fn(&C, Tensor<3>, Start<'_>, &Run<'_>, bool) -> Result<(Steps, Tensor<3>), String>,
) -> Result<(Vec<Steps>, Tensor<3>), String> {
    let mut walk = Walk { run, starts, device, cell, steps: vec![] };
    let output = walk.network(network, x, false)?;
    Ok((walk.steps, output))
}

/// Burn reports some failures of a device by panicking.
pub(crate) fn guarded<T>(attempt: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| Err(panic_message(panic)))
}

pub(crate) fn failed(lane: &str, device: &Device, message: String) -> LaneError {
    LaneError::Device { lane: lane.to_owned(), device: device.info().name.clone(), message }
}

struct Walk<'a, F> {
    run: Run<'a>,
    starts: Starts<'a>,
    device: &'a Device,
    cell: F,
    /// Of the cells so far.
    steps: Vec<Steps>,
}

impl<F> Walk<'_, F> {
    /// Inputs and outputs are in the order of the steps, whichever way a part reads, but for a [`Network::Backward`].
    fn network<C>(&mut self, network: &Network<C>, x: Tensor<3>, backward: bool) -> Result<Tensor<3>, String>
    where
        F: Fn(&C, Tensor<3>, Start<'_>, &Run<'_>, bool) -> Result<(Steps, Tensor<3>), String>,
    {
        match network {
            Network::Cell(cell) => {
                let start = self.starts.of_cell(self.steps.len());
                let (steps, output) = (self.cell)(cell, x, start, &self.run, backward)?;
                self.steps.push(steps);
                Ok(output)
            }
            Network::Backward(cell) => {
                let start = self.starts.of_cell(self.steps.len());
                let (steps, output) = (self.cell)(cell, x, start, &self.run, !backward)?;
                self.steps.push(steps);
                Ok(output.flip([1]))
            }
            Network::Stack(parts) => parts.iter().try_fold(x, |x, part| self.network(part, x, backward)),
            Network::Bidirectional { forward, backward: inner, merge } => {
                let ahead = self.network(forward, x.clone(), backward)?;
                let back = self.network(inner, x, !backward)?;
                Ok(match merge {
                    Merge::Concat => Tensor::cat(vec![ahead, back], 2),
                    Merge::Sum => ahead + back,
                    Merge::Mul => ahead * back,
                    Merge::Ave => (ahead + back) * 0.5,
                })
            }
            Network::Residual(part) => {
                let output = self.network(part, x.clone(), backward)?;
                Ok(match self.run.lengths {
                    None => output + x,
                    // Past a sequence's end the output stays zero, whatever the input is there: it may be NaN.
                    Some(lengths) => {
                        let ended = past_end(lengths, self.run.timesteps, self.device).expand(x.dims());
                        output + x.mask_fill(ended, 0.0)
                    }
                })
            }
        }
    }
}

/// A batch's input `[sequences, timesteps, input]` on the device.
pub(crate) fn upload_input(batch: &Batch, device: &Device) -> Tensor<3> {
    let (sequences, timesteps, input) = batch.x.dim();
    let x = TensorData::new(batch.x.iter().copied().collect::<Vec<f32>>(), [sequences, timesteps, input]);
    Tensor::from_data(x, device.burn())
}

/// `[sequences, units]` on the device.
pub(crate) fn upload(matrix: &Array2<f32>, device: &Device) -> Tensor<2> {
    let (rows, columns) = matrix.dim();
    let data = TensorData::new(matrix.iter().copied().collect::<Vec<f32>>(), [rows, columns]);
    Tensor::from_data(data, device.burn())
}

pub(crate) fn read(tensor: Tensor<3>) -> Result<Array3<f32>, String> {
    let [sequences, timesteps, width] = tensor.dims();
    let data = tensor.try_into_data().map_err(|e| e.to_string())?;
    let values = data.try_into_vec::<f32>().map_err(|e| e.to_string())?;
    Array3::from_shape_vec((sequences, timesteps, width), values).map_err(|e| e.to_string())
}

fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let text =
        panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    text.unwrap_or_else(|| "the runtime panicked".to_owned())
}

/// Checks that every part of the batch fits the network.
pub(crate) fn check<C: Widths>(network: &Network<C>, batch: &Batch) -> Result<(), LaneError> {
    let (sequences, timesteps, input) = batch.x.dim();
    if sequences == 0 || timesteps == 0 || input == 0 {
        let expected = vec![sequences.max(1), timesteps.max(1), input.max(1)];
        return shape("x [sequences, timesteps, input]", expected, vec![sequences, timesteps, input]);
    }
    width(network, input)?;
    let cells = network.cells();
    if cells.len() != batch.initial.len() {
        return shape("initial states [cells]", vec![cells.len()], vec![batch.initial.len()]);
    }
    for (index, (cell, state)) in cells.iter().zip(&batch.initial).enumerate() {
        for (name, array, width) in [("h", &state.h, cell.recurrent_size()), ("c", &state.c, cell.units())] {
            if array.dim() != (sequences, width) {
                let what = format!("initial {name} [sequences, width] of cell {index}");
                return shape(what, vec![sequences, width], array.shape().to_vec());
            }
        }
    }
    if let Some(lengths) = &batch.lengths {
        if lengths.len() != sequences {
            return shape("lengths [sequences]", vec![sequences], vec![lengths.len()]);
        }
        if let Some((sequence, length)) = lengths.iter().enumerate().find(|(_, length)| **length > timesteps) {
            return shape(format!("length of sequence {sequence}, at most"), vec![timesteps], vec![*length]);
        }
    }
    Ok(())
}

/// The width of a part's output, for an input of this width.
fn width<C: Widths>(network: &Network<C>, input: usize) -> Result<usize, LaneError> {
    match network {
        Network::Cell(cell) | Network::Backward(cell) if cell.input_size() == input => Ok(cell.output_size()),
        Network::Cell(cell) | Network::Backward(cell) => {
            let what = format!("input of a cell of {} units [width]", cell.units());
            shape(what, vec![cell.input_size()], vec![input])
        }
        Network::Stack(parts) => parts.iter().try_fold(input, |input, part| width(part, input)),
        Network::Bidirectional { forward, backward, merge } => {
            let (ahead, back) = (width(forward, input)?, width(backward, input)?);
            match merge {
                Merge::Concat => Ok(ahead + back),
                _ if ahead == back => Ok(ahead),
                _ => shape(format!("{} of two directions [width]", merge.as_str()), vec![ahead], vec![back]),
            }
        }
        Network::Residual(part) => {
            let output = width(part, input)?;
            if output == input { Ok(output) } else { shape("residual output [width]", vec![input], vec![output]) }
        }
    }
}

fn shape<T>(what: impl Into<String>, expected: Vec<usize>, found: Vec<usize>) -> Result<T, LaneError> {
    Err(LaneError::Shape { what: what.into(), expected, found })
}

/// `[sequences, timesteps, 1]`: whether a step lies past its sequence's end.
fn past_end(lengths: &[usize], timesteps: usize, device: &Device) -> Tensor<3, Bool> {
    let values: Vec<bool> = lengths.iter().flat_map(|length| (0..timesteps).map(move |t| t >= *length)).collect();
    Tensor::from_data(TensorData::new(values, [lengths.len(), timesteps, 1]), device.burn())
}

/// What a lane's name says of its route.
pub(crate) fn route_name(route: Route) -> &'static str {
    match route {
        Route::Operations => "tensor operations",
        Route::StepKernel => "step kernel",
        Route::VectorKernel => "vector kernel",
        Route::Auto | Route::Kernel | Route::SequenceKernel => "sequence kernel",
    }
}
