//! What can be wrong with a cell.

use super::CellKind;
use crate::{Activation, CellError};

/// What is wrong with a cell.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Shapes do not fit together.
    #[error(transparent)]
    Shapes(#[from] CellError),
    /// The kernel is not a matrix.
    #[error("kernel {name} has shape {shape:?}: expected a matrix [input + units, 4 x units]")]
    Rank {
        /// The kernel's key.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The graph gives one fact two values.
    #[error("the graph uses these weights with more than one {what}: {values}; say which one counts with {option}")]
    Ambiguous {
        /// Which fact.
        what: &'static str,
        /// The values found.
        values: String,
        /// The option that decides.
        option: &'static str,
    },
    /// The graph computes something that no lane runs.
    #[error("the graph applies {op} where an LSTM cell applies its {what}; gatewise cannot run that")]
    UnknownOperation {
        /// What the operation takes the place of.
        what: &'static str,
        /// Its TensorFlow type.
        op: String,
    },
    /// A clip is not a positive number.
    #[error("the graph clips the cell state to {0}: expected a positive finite number")]
    Clip(f32),
    /// A variable of a cell of one class has a shape that such a cell does not give it.
    #[error("{name} is {found:?}: {kind} has {expected} there")]
    Misfit {
        /// The variable's key.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The class.
        kind: CellKind,
        /// What belongs there.
        expected: String,
    },
    /// What is added to the forget gate is no constant.
    #[error(
        "the graph adds {node} ({op}) to the forget gate, which is no constant; say the forget bias with --forget-bias and --override"
    )]
    ForgetBias {
        /// The operation's type.
        op: String,
        /// The operation's name.
        node: String,
    },
    /// The two places of an LSTM's activation have different ones.
    #[error(
        "the graph applies {candidate} to the candidate and {output} to the cell state; gatewise runs cells that apply one function to both"
    )]
    TwoActivations {
        /// On the candidate.
        candidate: Activation,
        /// On the new cell state.
        output: Activation,
    },
    /// Following the graph would take too long.
    #[error("the graph is too tangled to follow; its facts can be said with options and --override")]
    Tangled,
    /// The bounds of a clip are not opposite numbers.
    #[error("the graph clips to {low} … {high}: gatewise runs clips to ± one bound")]
    ClipSides {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
}
