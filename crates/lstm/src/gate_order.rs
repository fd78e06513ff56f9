//! The order of the four gates along the columns of a fused matrix.
//!
//! TensorFlow 1.x writes i, j, f, o (`rnn_cell_impl.py`, also called ICFO); Keras writes i, f, c, o, where c is
//! TensorFlow's j, the candidate. Each gate owns one block of `units` adjacent columns.

use ndarray::{Array, ArrayView, Axis, RemoveAxis, Slice};

/// One of the four gates of an LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// Input gate i.
    Input,
    /// Candidate: j in TensorFlow, c in Keras.
    Candidate,
    /// Forget gate f.
    Forget,
    /// Output gate o.
    Output,
}

impl Gate {
    /// The letter used for the gate in reports: `i`, `c`, `f` or `o`.
    pub fn letter(self) -> char {
        match self {
            Gate::Input => 'i',
            Gate::Candidate => 'c',
            Gate::Forget => 'f',
            Gate::Output => 'o',
        }
    }
}

/// A sequence of the four gates: which gate owns which block of columns.
pub type GateOrder = [Gate; 4];

/// Column blocks of TensorFlow 1.x: i, j, f, o.
pub const TF1: GateOrder = [Gate::Input, Gate::Candidate, Gate::Forget, Gate::Output];

/// Column blocks of Keras: i, f, c, o.
pub const KERAS: GateOrder = [Gate::Input, Gate::Forget, Gate::Candidate, Gate::Output];

/// The block index of `gate` in `order`.
pub fn position(order: GateOrder, gate: Gate) -> usize {
    order.iter().position(|g| *g == gate).expect("a gate order holds all four gates")
}

/// Rearranges the blocks of the last axis, `[…, 4·units]`, from one order to another.
///
/// # Panics
/// If the last axis is not a multiple of four: cells check their shapes when they are made.
pub fn reorder<A: Clone, D: RemoveAxis>(matrix: ArrayView<'_, A, D>, from: GateOrder, to: GateOrder) -> Array<A, D> {
    let last = Axis(matrix.ndim() - 1);
    let columns = matrix.len_of(last);
    assert_eq!(columns % 4, 0, "a fused matrix has four blocks of columns");
    let units = columns / 4;
    let blocks: Vec<_> = to
        .iter()
        .map(|gate| {
            let start = position(from, *gate) * units;
            matrix.slice_axis(last, Slice::from(start..start + units))
        })
        .collect();
    ndarray::concatenate(last, &blocks).expect("blocks of one matrix fit together")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn tf1_to_keras_swaps_the_two_middle_blocks() {
        let row = array![[0, 1, 10, 11, 20, 21, 30, 31]];
        assert_eq!(reorder(row.view(), TF1, KERAS), array![[0, 1, 20, 21, 10, 11, 30, 31]]);
    }

    #[test]
    fn reordering_there_and_back_is_the_identity_for_every_order() {
        let row = array![1, 2, 3, 4, 5, 6, 7, 8];
        for to in every_order() {
            let there = reorder(row.view(), TF1, to);
            assert_eq!(reorder(there.view(), to, TF1), row, "{to:?}");
        }
    }

    fn every_order() -> Vec<GateOrder> {
        let mut orders = vec![];
        for a in TF1 {
            for b in TF1 {
                for c in TF1 {
                    for d in TF1 {
                        let order = [a, b, c, d];
                        if TF1.iter().all(|g| order.contains(g)) {
                            orders.push(order);
                        }
                    }
                }
            }
        }
        assert_eq!(orders.len(), 24);
        orders
    }

    #[test]
    fn gates_have_their_letters_and_places() {
        assert_eq!(TF1.map(Gate::letter), ['i', 'c', 'f', 'o']);
        assert_eq!(TF1.map(|gate| position(KERAS, gate)), [0, 2, 1, 3]);
    }
}
