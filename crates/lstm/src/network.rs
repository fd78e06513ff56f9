//! How cells are wired: stacks, and two directions side by side.

use std::fmt;

/// Cells of one kind, wired as TensorFlow 1.x and Keras wire them.
///
/// | TensorFlow 1.x | here |
/// |---|---|
/// | `dynamic_rnn(cell)` | `Cell` |
/// | `MultiRNNCell([a, b])` | `Stack([Cell, Cell])` |
/// | `bidirectional_dynamic_rnn(a, b)` | `Bidirectional { Cell, Cell }` |
/// | `stack_bidirectional_dynamic_rnn` | `Stack([Bidirectional, Bidirectional])` |
/// | `bidirectional_dynamic_rnn` over `MultiRNNCell`s | `Bidirectional { Stack, Stack }`: another network than the line above |
/// | `ResidualWrapper(cell)` | `Residual(Cell)` |
/// | no such thing; an `LSTM(go_backwards=True)` of Keras on its own | `Backward` |
#[derive(Clone, Debug, PartialEq)]
pub enum Network<C> {
    /// One cell run over the sequence.
    Cell(C),
    /// One cell that reads the sequence last step first and gives its outputs in that order, as a Keras layer with
    /// `go_backwards` does.
    Backward(C),
    /// Each part reads the output of the part before it.
    Stack(Vec<Network<C>>),
    /// Two parts read the same input, one of them last step first; both outputs are in the order of the input's steps.
    Bidirectional {
        /// Reads first step first.
        forward: Box<Network<C>>,
        /// Reads last step first.
        backward: Box<Network<C>>,
        /// What becomes of the two outputs.
        merge: Merge,
    },
    /// The part's input is added to its output, which is as wide.
    Residual(Box<Network<C>>),
}

/// How the outputs of two directions become one, as Keras names it (`merge_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// Side by side on the last axis, forward first. Two separate outputs (`merge_mode=None`) are compared so too.
    #[default]
    Concat,
    /// Added.
    Sum,
    /// Multiplied.
    Mul,
    /// Added and halved.
    Ave,
}

impl Merge {
    /// Keras's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Merge::Concat => "concat",
            Merge::Sum => "sum",
            Merge::Mul => "mul",
            Merge::Ave => "ave",
        }
    }
}

/// Whether a cell reads its sequence first step first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// First step first.
    Forward,
    /// Last step first.
    Backward,
}

impl Direction {
    /// The opposite one.
    pub fn other(self) -> Direction {
        match self {
            Direction::Forward => Direction::Backward,
            Direction::Backward => Direction::Forward,
        }
    }

    /// `forward` or `backward`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in a network a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Depth in the stack, from 0.
    pub layer: usize,
    /// Reading direction.
    pub direction: Direction,
}

impl<C> Network<C> {
    /// Two directions whose outputs are joined on the last axis.
    pub fn side_by_side(forward: Network<C>, backward: Network<C>) -> Network<C> {
        Network::Bidirectional { forward: Box::new(forward), backward: Box::new(backward), merge: Merge::Concat }
    }

    /// The cells in their fixed order: stacks from the bottom, forward before backward. Initial states, traces and
    /// comparisons use the same order.
    pub fn cells(&self) -> Vec<&C> {
        self.placed_cells().into_iter().map(|(_, cell)| cell).collect()
    }

    /// The cells with their places, in the order of [`cells`](Self::cells).
    pub fn placed_cells(&self) -> Vec<(Place, &C)> {
        let mut cells = vec![];
        self.collect(Place { layer: 0, direction: Direction::Forward }, &mut cells);
        cells
    }

    fn collect<'a>(&'a self, place: Place, cells: &mut Vec<(Place, &'a C)>) {
        match self {
            Network::Cell(cell) => cells.push((place, cell)),
            Network::Backward(cell) => cells.push((Place { direction: place.direction.other(), ..place }, cell)),
            Network::Stack(parts) => {
                for (depth, part) in parts.iter().enumerate() {
                    part.collect(Place { layer: place.layer + depth, ..place }, cells);
                }
            }
            Network::Bidirectional { forward, backward, .. } => {
                forward.collect(place, cells);
                backward.collect(Place { direction: Direction::Backward, ..place }, cells);
            }
            Network::Residual(part) => part.collect(place, cells),
        }
    }

    /// The wiring in words: `stack of 2 (bidirectional sum (cell, cell), residual (cell))`. Networks are wired alike if and
    /// only if these are equal.
    pub fn wiring(&self) -> String {
        match self {
            Network::Cell(_) => "cell".to_owned(),
            Network::Backward(_) => "backward cell".to_owned(),
            Network::Stack(parts) => {
                let inner = parts.iter().map(Network::wiring).collect::<Vec<_>>().join(", ");
                format!("stack of {} ({inner})", parts.len())
            }
            Network::Residual(part) => format!("residual ({})", part.wiring()),
            Network::Bidirectional { forward, backward, merge } => {
                let merge = if *merge == Merge::Concat { "" } else { merge.as_str() };
                let space = if merge.is_empty() { "" } else { " " };
                format!("bidirectional{space}{merge} ({}, {})", forward.wiring(), backward.wiring())
            }
        }
    }

    /// The same wiring with each cell replaced, in the order of [`cells`](Self::cells).
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<D, E>(&self, f: &mut impl FnMut(&C) -> Result<D, E>) -> Result<Network<D>, E> {
        Ok(match self {
            Network::Cell(cell) => Network::Cell(f(cell)?),
            Network::Backward(cell) => Network::Backward(f(cell)?),
            Network::Stack(parts) => Network::Stack(parts.iter().map(|p| p.try_map(f)).collect::<Result<_, _>>()?),
            Network::Bidirectional { forward, backward, merge } => {
                let forward = Box::new(forward.try_map(f)?);
                let backward = Box::new(backward.try_map(f)?);
                Network::Bidirectional { forward, backward, merge: *merge }
            }
            Network::Residual(part) => Network::Residual(Box::new(part.try_map(f)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_bottom_up_and_forward_first() {
        let pair = |a, b| Network::side_by_side(Network::Cell(a), Network::Cell(b));
        let net = Network::Stack(vec![pair("f0", "b0"), pair("f1", "b1")]);
        let placed: Vec<_> = net.placed_cells().into_iter().map(|(p, c)| (*c, p.layer, p.direction.as_str())).collect();
        assert_eq!(placed, [("f0", 0, "forward"), ("b0", 0, "backward"), ("f1", 1, "forward"), ("b1", 1, "backward")]);
        let inside = Network::side_by_side(
            Network::Stack(vec![Network::Cell("f0"), Network::Cell("f1")]),
            Network::Stack(vec![Network::Cell("b0"), Network::Cell("b1")]),
        );
        assert_eq!(inside.cells(), [&"f0", &"f1", &"b0", &"b1"]);
        let summed = |part| Network::Bidirectional {
            forward: Box::new(Network::Cell("f")),
            backward: Box::new(part),
            merge: Merge::Sum,
        };
        let residual = Network::Residual(Box::new(summed(Network::Cell("b"))));
        assert_eq!(residual.wiring(), "residual (bidirectional sum (cell, cell))");
        assert_eq!(inside.wiring(), "bidirectional (stack of 2 (cell, cell), stack of 2 (cell, cell))");
        assert_eq!(inside.placed_cells()[3].0, Place { layer: 1, direction: Direction::Backward });
        let twice = Network::side_by_side(Network::Backward("f"), Network::Backward("b"));
        let directions: Vec<Direction> = twice.placed_cells().iter().map(|(place, _)| place.direction).collect();
        assert_eq!(directions, [Direction::Backward, Direction::Forward]);
        assert_eq!(twice.wiring(), "bidirectional (backward cell, backward cell)");
    }
}
