//! What `gatewise verify --bundle DIR` prints when it repeats a bundle.

use serde::Serialize;

/// `gatewise.replay/1`: whether what a bundle shows shows again.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// `gatewise.replay/1`.
    pub schema: &'static str,
    /// The comparison's verdict: `fail` or `inconclusive`.
    pub verdict: String,
    /// Whether the same shows again.
    pub shows: bool,
    /// The folder.
    pub bundle: String,
    /// The device of the comparison.
    pub found_on: String,
    /// The device of this run.
    pub repeated_on: String,
    /// `step`: one step from the oracle's state; `sequence`: one sequence from its start; `whole`: all that a network was
    /// tried with.
    pub what: String,
    /// The TF1 cell.
    pub lstm: String,
    /// The Keras layer.
    pub layer: String,
    /// The comparison's first reason.
    pub reason: String,
    /// The value that was at fault; absent where the whole is repeated.
    pub element: Option<ReplayedElement>,
    /// What speaks against a pass now.
    pub reasons: Vec<String>,
}

/// One value, then and now.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayedElement {
    /// Whose value was at fault: `keras` or `tf1`.
    pub lane: String,
    /// `h`, `c`, `i`, `j`, `f` or `o`.
    pub quantity: String,
    /// Sequence in the comparison.
    pub sequence: usize,
    /// Step in the comparison.
    pub step: usize,
    /// Unit in the comparison.
    pub unit: usize,
    /// What the comparison found.
    pub recorded: ReplayedValues,
    /// What is found now.
    pub repeated: ReplayedValues,
    /// The value is now as near to the oracle as it must be.
    pub within: bool,
}

/// The values at one element; absent where not finite or not known.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayedValues {
    /// The truth.
    pub oracle: Option<f64>,
    /// What the TF1 lane gives.
    pub tf1: Option<f64>,
    /// What the Keras lane gives.
    pub keras: Option<f64>,
    /// What the lane at fault gives.
    pub found: Option<f64>,
    /// How far it may be from the oracle.
    pub limit: Option<f64>,
}
