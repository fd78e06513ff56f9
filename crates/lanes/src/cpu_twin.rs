//! The CPU's twin of the sequence kernels: one cell over whole sequences in one call.
//!
//! A batch is cut into parts of a few dozen sequences. One thread takes a part through all of its steps: threads never
//! wait for each other, and the state of a part stays in that core's cache. The products are in [`panels`], what a cell
//! makes of them in [`tf1`] and [`keras`], which share the frame here and keep their own order of arithmetic.

pub(crate) mod activation;
pub(crate) mod keras;
pub(crate) mod panels;
mod simd;
pub(crate) mod tf1;

use burn::tensor::{Tensor, TensorData};
use lstm::State;
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use crate::wiring::Steps;
use panels::{Panels, Tile};
use simd::{Arithmetic, LANES, Task, dispatch};

/// What the frame asks of a cell.
pub(crate) trait Cell: Sync {
    /// Weights of the input, `[input, 4·units]`.
    fn input(&self) -> &Panels;

    /// Width of the state.
    fn units(&self) -> usize;

    /// Which step of its input a sequence of this length reads at a position of the run; `None` where it reads none.
    fn step(position: usize, length: usize, timesteps: usize, backward: bool) -> Option<usize>;

    /// Makes pre-activations of one block of units out of x·W, four groups of `rows.len()` sums that begin `stride`
    /// apart, and the fed back outputs `rows`. `scratch` holds as many sums for its use.
    fn pre_activate<A: Arithmetic>(
        &self,
        arithmetic: A,
        block: usize,
        sums: &mut [Tile],
        stride: usize,
        rows: &[&[f32]],
        scratch: &mut [Tile],
    );

    /// The gates i, j, f, o of one sequence in one block of units, its new state, and its output, from pre-activations
    /// in the cell's own order.
    fn gates<A: Arithmetic>(&self, block: usize, sums: [&Tile; 4], c: Tile) -> Unit;

    /// The panels that project the output, and the bound that it is clipped to.
    fn projection(&self) -> Option<(&Panels, f32)>;
}

/// What a step makes of one block of units.
pub(crate) struct Unit {
    pub(crate) gates: [Tile; 4],
    pub(crate) c: Tile,
    pub(crate) h: Tile,
}

/// What a cell runs over, apart from its input.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) initial: &'a State,
    pub(crate) lengths: Option<&'a [usize]>,
    pub(crate) backward: bool,
    /// Whether c is wanted.
    pub(crate) states: bool,
    pub(crate) gates: bool,
}

/// Runs a cell over x `[sequences, timesteps, input]`, which lies on the CPU.
///
/// # Errors
/// If Burn does not hand the input over.
pub(crate) fn run<C: Cell>(cell: &C, x: Tensor<3>, pass: Pass<'_>) -> Result<Steps, String> {
    let ([sequences, timesteps, _], device) = (x.dims(), x.device());
    let x = x.try_into_data().map_err(|e| e.to_string())?.try_into_vec::<f32>().map_err(|e| e.to_string())?;
    let recurrent = cell.projection().map_or(cell.units(), |(panels, _)| panels.width());
    let shape = |width| [sequences, timesteps, width];
    let empty = |width: usize| vec![0.0; sequences * timesteps * width];
    let mut h = empty(recurrent);
    let mut c = pass.states.then(|| empty(cell.units()));
    let mut gates = pass.gates.then(|| empty(4 * cell.units()));

    let part = sequences_of_a_part(sequences, timesteps * cell.units() * (cell.input().rows() + recurrent));
    let steps = part * timesteps;
    let mut parts: Vec<Part<'_, C>> = h
        .chunks_mut(steps * recurrent)
        .enumerate()
        .map(|(index, h)| Part { cell, pass, timesteps, x: &x, first: index * part, h, c: None, gates: None })
        .collect();
    if let Some(c) = &mut c {
        parts.iter_mut().zip(c.chunks_mut(steps * cell.units())).for_each(|(part, c)| part.c = Some(c));
    }
    if let Some(gates) = &mut gates {
        parts.iter_mut().zip(gates.chunks_mut(steps * 4 * cell.units())).for_each(|(part, g)| part.gates = Some(g));
    }
    if parts.len() == 1 {
        parts.into_iter().for_each(dispatch);
    } else {
        parts.into_par_iter().for_each(dispatch);
    }
    let tensor = |values, width| Tensor::from_data(TensorData::new(values, shape(width)), &device);
    Ok(Steps {
        h: tensor(h, recurrent),
        c: c.map_or_else(|| Tensor::empty([1, 1, 1], &device), |c| tensor(c, cell.units())),
        gates: gates.map(|gates| tensor(gates, 4 * cell.units())),
    })
}

/// Sequences that one thread takes at a time. The state of 64 of them fits a core's cache, and they read the weights
/// often enough for the memory to keep up.
const LARGEST_PART: usize = 64;
/// Products of two numbers for which it pays to wake another thread.
const WORTH_A_THREAD: usize = 1 << 20;

/// How a batch is cut, by the weights that one sequence meets: into parts as equal as can be, as many for every thread.
fn sequences_of_a_part(sequences: usize, weights: usize) -> usize {
    let threads = rayon::current_num_threads().min(1 + sequences * weights / WORTH_A_THREAD);
    let rounds = sequences.div_ceil(threads * LARGEST_PART);
    sequences.div_ceil(threads * rounds).max(1)
}

/// Rows that an input's product should have, for the weights to be worth reading: few sequences take several steps.
const ROWS_OF_A_PRODUCT: usize = 48;

/// Some of the sequences, in all of their steps.
struct Part<'a, C> {
    cell: &'a C,
    pass: Pass<'a>,
    timesteps: usize,
    /// Of all sequences.
    x: &'a [f32],
    /// The first sequence of the part.
    first: usize,
    h: &'a mut [f32],
    c: Option<&'a mut [f32]>,
    gates: Option<&'a mut [f32]>,
}

impl<C: Cell> Task for Part<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, arithmetic: A) {
        let Part { cell, pass, timesteps, x, first, h: all_h, c: mut all_c, gates: mut all_gates } = self;
        let (input, units) = (cell.input().rows(), cell.units());
        let blocks = units.div_ceil(LANES);
        let recurrent = cell.projection().map_or(units, |(panels, _)| panels.width());
        let sequences = all_h.len() / (timesteps * recurrent);
        let steps_at_once = (ROWS_OF_A_PRODUCT / sequences).max(1);

        let mut h = Rows::new(pass.initial.h.slice(s![first..first + sequences, ..]));
        let mut next_h = h.clone();
        let mut c = Rows::new(pass.initial.c.slice(s![first..first + sequences, ..]));
        // What the units show before it is projected.
        let mut shown = cell.projection().map(|_| c.clone());
        let mut sums = vec![Tile::ZERO; sequences * steps_at_once * 4 * blocks];
        let mut scratch = vec![Tile::ZERO; 4 * sequences];
        let stride_of_x = apart_in_cache(input);
        let mut near_x = vec![0.0; sequences * steps_at_once * stride_of_x];

        for start in (0..timesteps).step_by(steps_at_once) {
            let positions = start..timesteps.min(start + steps_at_once);
            // Every sequence that reads something at a position, and the step it reads, position after position.
            let reading: Vec<Vec<(usize, usize)>> = positions
                .map(|position| {
                    let step = |n: usize| {
                        let length = pass.lengths.map_or(timesteps, |lengths| lengths[first + n]);
                        C::step(position, length, timesteps, pass.backward)
                    };
                    (0..sequences).filter_map(|n| Some((n, step(n)?))).collect()
                })
                .collect();
            for (near, (n, t)) in near_x.chunks_mut(stride_of_x).zip(reading.iter().flatten()) {
                near[..input].copy_from_slice(&x[((first + n) * timesteps + t) * input..][..input]);
            }
            let count = reading.iter().map(Vec::len).sum();
            let rows_of_x: Vec<&[f32]> = near_x.chunks(stride_of_x).map(|row| &row[..input]).take(count).collect();
            let stride = rows_of_x.len();
            if stride == 0 {
                continue;
            }
            let at_once = reading.len() > 1;
            if at_once {
                for block in 0..blocks {
                    let sums = &mut sums[block * 4 * stride..][..4 * stride];
                    of_x(arithmetic, cell.input(), block, sums, &rows_of_x);
                }
            }
            let mut done = 0;
            for reading in reading {
                // A position past the end of every sequence has no rows.
                if reading.is_empty() {
                    continue;
                }
                let rows_of_h: Vec<&[f32]> = reading.iter().map(|(n, _)| h.row(*n)).collect();
                for block in 0..blocks {
                    let sums = &mut sums[block * 4 * stride..][..4 * stride];
                    if !at_once {
                        of_x(arithmetic, cell.input(), block, sums, &rows_of_x);
                    }
                    let sums = &mut sums[done..];
                    cell.pre_activate(arithmetic, block, sums, stride, &rows_of_h, &mut scratch);
                    let now = Now { reading: &reading, sums, stride, block, timesteps };
                    let shown = shown.as_mut().unwrap_or(&mut next_h);
                    now.finish(arithmetic, cell, &mut c, shown, all_c.as_deref_mut(), all_gates.as_deref_mut());
                }
                if let (Some((panels, clip)), Some(shown)) = (cell.projection(), &shown) {
                    project(arithmetic, panels, clip, shown, &mut next_h, &reading);
                }
                for &(n, t) in &reading {
                    h.row_mut(n).copy_from_slice(next_h.row(n));
                    all_h[(n * timesteps + t) * recurrent..][..recurrent].copy_from_slice(h.row(n));
                }
                done += reading.len();
            }
        }
    }
}

/// The input's share of the sums of one block of units.
#[inline(always)]
fn of_x<A: Arithmetic>(arithmetic: A, weights: &Panels, block: usize, sums: &mut [Tile], rows: &[&[f32]]) {
    sums.fill(Tile::ZERO);
    panels::accumulate::<A, 4>(arithmetic, sums, rows.len(), rows, weights.block(block));
}

/// How far apart rows of this width begin: whole tiles, and an odd number of them. Rows that a power of two lies between
/// share one place in a first-level cache, and a product that reads six of them side by side would lose each before it
/// is done with it.
fn apart_in_cache(width: usize) -> usize {
    (width.div_ceil(LANES) | 1) * LANES
}

/// A vector for each sequence of a part, filled up with zeros to whole tiles.
#[derive(Clone)]
struct Rows {
    values: Vec<f32>,
    width: usize,
    /// A multiple of [`LANES`].
    stride: usize,
}

impl Rows {
    fn new(rows: ArrayView2<'_, f32>) -> Rows {
        let (sequences, width) = rows.dim();
        let stride = apart_in_cache(width);
        let mut values = vec![0.0; sequences * stride];
        for (to, row) in values.chunks_mut(stride).zip(rows.rows()) {
            to.iter_mut().zip(row).for_each(|(to, value)| *to = *value);
        }
        Rows { values, width, stride }
    }

    #[inline(always)]
    fn row(&self, sequence: usize) -> &[f32] {
        &self.values[sequence * self.stride..][..self.width]
    }

    #[inline(always)]
    fn row_mut(&mut self, sequence: usize) -> &mut [f32] {
        &mut self.values[sequence * self.stride..][..self.width]
    }

    #[inline(always)]
    fn tile(&self, sequence: usize, block: usize) -> Tile {
        let mut tile = Tile::ZERO;
        tile.0.copy_from_slice(&self.values[sequence * self.stride + block * LANES..][..LANES]);
        tile
    }

    #[inline(always)]
    fn set_tile(&mut self, sequence: usize, block: usize, tile: &Tile) {
        tile.write(&mut self.values[sequence * self.stride + block * LANES..][..LANES]);
    }
}

/// One block of units at one position.
struct Now<'a> {
    /// Sequences, and the step that each of them reads.
    reading: &'a [(usize, usize)],
    /// Pre-activations, the four of one sequence `stride` apart.
    sums: &'a [Tile],
    stride: usize,
    block: usize,
    timesteps: usize,
}

impl Now<'_> {
    /// From pre-activations to the new state, what the units show, and the traces.
    #[inline(always)]
    fn finish<A: Arithmetic, C: Cell>(
        &self,
        arithmetic: A,
        cell: &C,
        c: &mut Rows,
        shown: &mut Rows,
        mut all_c: Option<&mut [f32]>,
        mut all_gates: Option<&mut [f32]>,
    ) {
        let (units, stride) = (cell.units(), self.stride);
        let first = self.block * LANES;
        let filled = LANES.min(units - first);
        arithmetic.apart(
            #[inline(always)]
            || {
                for (row, &(n, t)) in self.reading.iter().enumerate() {
                    let sums = &self.sums[row..];
                    let sums = [&sums[0], &sums[stride], &sums[2 * stride], &sums[3 * stride]];
                    let unit = cell.gates::<A>(self.block, sums, c.tile(n, self.block));
                    c.set_tile(n, self.block, &unit.c);
                    shown.set_tile(n, self.block, &unit.h);
                    let step = (n * self.timesteps + t) * units;
                    if let Some(all_c) = &mut all_c {
                        unit.c.write(&mut all_c[step + first..][..filled]);
                    }
                    if let Some(all_gates) = &mut all_gates {
                        for (gate, tile) in unit.gates.iter().enumerate() {
                            tile.write(&mut all_gates[4 * step + gate * units + first..][..filled]);
                        }
                    }
                }
            },
        );
    }
}

/// Projects what the units show, and clips it. NaN stays NaN.
#[inline(always)]
fn project<A: Arithmetic>(
    arithmetic: A,
    panels: &Panels,
    clip: f32,
    shown: &Rows,
    next_h: &mut Rows,
    reading: &[(usize, usize)],
) {
    let rows: Vec<&[f32]> = reading.iter().map(|(n, _)| shown.row(*n)).collect();
    let mut sums = vec![Tile::ZERO; rows.len()];
    for block in 0..panels.width().div_ceil(LANES) {
        sums.fill(Tile::ZERO);
        panels::accumulate::<A, 1>(arithmetic, &mut sums, rows.len(), &rows, panels.block(block));
        for (sum, (n, _)) in sums.iter().zip(reading) {
            next_h.set_tile(*n, block, &sum.map(|v| v.clamp(-clip, clip)));
        }
    }
}
