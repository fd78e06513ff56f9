//! What is timed: shapes with random weights, or a checkpoint's own LSTMs.

use std::path::PathBuf;

use lstm::{Batch, Direction, KerasCell, Network, State, Tf1Cell, convert};
use ndarray::{Array1, Array2, Array3};
use parity::random::Stream;
use report::document::BenchCase;

use crate::args;
use crate::error::CliError;
use crate::source::{self, Subject};

/// What the operations of a case count.
pub(crate) const OPERATIONS: &str =
    "8 * units * (inputs + units) for each cell and step of a sequence: the products alone";
/// What its bytes count.
pub(crate) const TRAFFIC: &str = "each weight, input and output once, 4 bytes each";

/// Streams of random numbers: weights from here on, one for each tensor, and the input.
const WEIGHTS: u32 = 1 << 26;
const INPUT: u32 = (1 << 26) - 1;

/// A case before its numbers are drawn.
#[derive(Clone)]
pub(crate) struct Shape<'a> {
    pub(crate) described: BenchCase,
    /// `None` for random weights.
    subject: Option<&'a Subject>,
}

/// A case with its weights and inputs.
pub(crate) struct Case {
    pub(crate) described: BenchCase,
    pub(crate) truth: Network<Tf1Cell>,
    pub(crate) converted: Network<KerasCell>,
    pub(crate) batch: Batch,
}

/// The LSTMs of the checkpoint, if one is given.
pub(crate) fn subjects(args: &args::Bench) -> Result<Vec<Subject>, CliError> {
    let Some(checkpoint) = &args.checkpoint else { return Ok(vec![]) };
    let source = args::Source { checkpoint: checkpoint.clone(), lstm: args.lstm.clone(), map: args.map.clone() };
    source::find(&source, Some(&args.facts))?.load_convertible(args.display.look.quiet)
}

/// The files that are read.
pub(crate) fn files(args: &args::Bench) -> Vec<PathBuf> {
    args.checkpoint.iter().chain(&args.map).chain(&args.baseline).cloned().collect()
}

/// Every combination of the lists that were given.
pub(crate) fn shapes<'a>(args: &args::Bench, subjects: &'a [Subject]) -> Vec<Shape<'a>> {
    let mut shapes = vec![];
    for &timesteps in &args.timesteps {
        for &sequences in &args.sequences {
            for subject in subjects {
                shapes.push(Shape { described: describe(subject, sequences, timesteps), subject: Some(subject) });
            }
            if subjects.is_empty() {
                shapes.extend(random(args, sequences, timesteps));
            }
        }
    }
    shapes
}

fn random(args: &args::Bench, sequences: usize, timesteps: usize) -> Vec<Shape<'static>> {
    let mut shapes = vec![];
    for &input in &args.input {
        for &units in &args.units {
            for &layers in &args.layers {
                for direction in &args.direction {
                    let direction = direction.as_str();
                    let described = BenchCase { lstm: None, sequences, timesteps, input, units, layers, direction };
                    shapes.push(Shape::random(described));
                }
            }
        }
    }
    shapes
}

fn describe(subject: &Subject, sequences: usize, timesteps: usize) -> BenchCase {
    let placed = subject.truth.placed_cells();
    let widest = |of: fn(&Tf1Cell) -> usize| placed.iter().map(|(_, cell)| of(cell)).max().unwrap_or(0);
    let backward = placed.iter().any(|(place, _)| place.direction == Direction::Backward);
    BenchCase {
        lstm: Some(subject.name.clone()),
        sequences,
        timesteps,
        input: placed.first().map_or(0, |(_, cell)| cell.input_size()),
        units: widest(Tf1Cell::units),
        layers: placed.iter().map(|(place, _)| place.layer + 1).max().unwrap_or(0),
        direction: if backward { args::BenchDirection::Bidirectional.as_str() } else { Direction::Forward.as_str() },
    }
}

impl Shape<'_> {
    /// A shape with random weights.
    pub(crate) fn random(described: BenchCase) -> Shape<'static> {
        Shape { described, subject: None }
    }
}

impl Case {
    /// Draws the numbers of a case.
    pub(crate) fn make(shape: &Shape<'_>, seed: u64) -> Case {
        let described = shape.described.clone();
        let (truth, converted) = match shape.subject {
            Some(subject) => (subject.truth.clone(), subject.keras.clone()),
            None => {
                let truth = draw(&described, seed);
                let converted =
                    convert::network_to_keras(&truth).unwrap_or_else(|_| convert::nearest_network(&truth).0);
                (truth, converted)
            }
        };
        let (sequences, timesteps, input) = (described.sequences, described.timesteps, described.input);
        let stream = Stream::new(seed, INPUT);
        let x = Array3::from_shape_fn((sequences, timesteps, input), |(n, t, d)| {
            stream.normal(((n * timesteps + t) * input + d) as u64)
        });
        let zeros = |width| Array2::zeros((sequences, width));
        let initial = truth
            .cells()
            .iter()
            .map(|cell| State { h: zeros(cell.recurrent_size()), c: zeros(cell.units()) })
            .collect();
        Case { described, truth, converted, batch: Batch { x, lengths: None, initial, record_gates: false } }
    }

    /// Additions and multiplications, in all sequences and steps, as [`OPERATIONS`] says.
    pub(crate) fn operations(&self) -> f64 {
        let of_cell = |cell: &&Tf1Cell| {
            let products = 4 * cell.kernel.nrows() * cell.units();
            2.0 * (products + cell.projection.as_ref().map_or(0, Array2::len)) as f64
        };
        self.steps() * self.truth.cells().iter().map(of_cell).sum::<f64>()
    }

    /// Bytes that must be moved at least, as [`TRAFFIC`] says.
    pub(crate) fn bytes(&self) -> f64 {
        let cells = self.truth.cells();
        let weights: usize = cells.iter().map(|c| c.kernel.len() + c.bias.len()).sum();
        let read_and_written: usize = cells.iter().map(|c| c.input_size() + c.recurrent_size()).sum();
        4.0 * (weights as f64 + self.steps() * read_and_written as f64)
    }

    /// Steps of all sequences.
    pub(crate) fn steps(&self) -> f64 {
        self.described.sequences as f64 * self.described.timesteps as f64
    }
}

/// A network of the described shape, its weights uniform in ±1/√units, as Keras and PyTorch draw them or nearly so.
fn draw(case: &BenchCase, seed: u64) -> Network<Tf1Cell> {
    let mut stream = WEIGHTS;
    let mut cell = |input: usize| {
        let scale = 1.0 / (case.units as f32).sqrt();
        let mut uniform = || {
            stream += 1;
            let stream = Stream::new(seed, stream);
            move |index: usize| scale * stream.uniform(index as u64)
        };
        let (kernel, bias) = (uniform(), uniform());
        let columns = 4 * case.units;
        let kernel = Array2::from_shape_fn((input + case.units, columns), |(r, c)| kernel(r * columns + c));
        let cell = Tf1Cell::new(kernel, Array1::from_shape_fn(columns, bias));
        Network::Cell(cell.expect("the shapes fit by construction"))
    };
    let mut layers = vec![];
    let mut input = case.input;
    for _ in 0..case.layers {
        if case.direction == args::BenchDirection::Bidirectional.as_str() {
            layers.push(Network::side_by_side(cell(input), cell(input)));
            input = 2 * case.units;
        } else {
            layers.push(cell(input));
            input = case.units;
        }
    }
    if layers.len() == 1 { layers.remove(0) } else { Network::Stack(layers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(layers: usize, direction: &'static str) -> Shape<'static> {
        let described = BenchCase { lstm: None, sequences: 3, timesteps: 5, input: 7, units: 4, layers, direction };
        Shape::random(described)
    }

    #[test]
    fn operations_and_bytes_are_counted_by_hand() {
        let case = Case::make(&shape(1, "forward"), 0);
        assert_eq!(case.operations(), (3 * 5) as f64 * (8 * 4 * (7 + 4)) as f64);
        assert_eq!(case.bytes(), 4.0 * (11 * 16 + 16 + 15 * (7 + 4)) as f64);
        let case = Case::make(&shape(2, "bidirectional"), 0);
        // The second layer reads both directions of the first.
        assert_eq!(case.operations(), 15.0 * 2.0 * (8 * 4 * (7 + 4) + 8 * 4 * (8 + 4)) as f64);
        assert_eq!((case.batch.initial.len(), case.truth.cells().len()), (4, 4));
    }

    #[test]
    fn a_seed_draws_the_same_numbers() {
        let make = |seed| Case::make(&shape(1, "forward"), seed);
        assert_eq!((make(1).truth, make(1).batch), (make(1).truth, make(1).batch));
        assert_ne!(make(1).truth, make(2).truth);
        assert_ne!(make(1).batch.x, make(2).batch.x);
    }
}
