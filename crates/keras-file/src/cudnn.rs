//! Arrays of a `CuDNNLSTM`, which has a parameter buffer of cuDNN cut into Keras' shapes.
//!
//! Per gate the buffer holds a row-major `[units, inputs]` matrix; Keras shows the same bytes as `[inputs, units]`.
//! There is one bias for the input and one for the state, which cuDNN adds (`_convert_rnn_weights` in Keras 2's
//! `saving/legacy/hdf5_format.py`).

use crate::error::Problem;
use crate::layer::{Array, Lstm, Stored};

const GATES: usize = 4;

impl Lstm {
    /// Whether the bias has twice an LSTM's length, by which Keras 2 tells a `CuDNNLSTM`.
    pub(crate) fn has_two_biases(&self) -> bool {
        let bias = self.bias.as_ref().map(|b| b.shape.as_slice());
        let twice = self.units().checked_mul(GATES).and_then(|n| n.checked_mul(2));
        matches!(bias, Some([n]) if *n > 0 && twice == Some(*n))
    }

    /// The same function with the arrays of an LSTM. `layer` is for the message.
    pub(crate) fn into_plain(self, layer: &str) -> Result<Lstm, Problem> {
        let units = self.units();
        let plain = (|| {
            let columns = units.checked_mul(GATES)?;
            let [inputs, n] = *self.kernel.shape.as_slice() else { return None };
            (n == columns && self.recurrent_kernel.shape == [units, columns]).then_some(())?;
            Some((
                transposed_gates(&self.kernel, inputs, units)?,
                transposed_gates(&self.recurrent_kernel, units, units)?,
                added_halves(self.bias.as_ref()?, columns)?,
            ))
        })();
        let Some((kernel, recurrent_kernel, bias)) = plain else {
            return Err(self.misfit(layer, " of a CuDNNLSTM, whose bias is [8*units]"));
        };
        Ok(Lstm { kernel, recurrent_kernel, bias: Some(bias), config: self.config, stored: Stored::Cudnn })
    }
}

/// `[rows, 4*units]` whose every gate is read as `[units, rows]`, row-major, and transposed.
fn transposed_gates(array: &Array, rows: usize, units: usize) -> Option<Array> {
    let columns = units.checked_mul(GATES)?;
    let mut data = Vec::with_capacity(array.data.len());
    for row in 0..rows {
        for gate in 0..GATES {
            for unit in 0..units {
                // Place in the gate's own buffer, then in the array that all gates share.
                let flat = unit.checked_mul(rows)?.checked_add(row)?;
                let (r, c) = (flat.checked_div(units)?, flat.checked_rem(units)?);
                let at = r.checked_mul(columns)?.checked_add(gate.checked_mul(units)?)?.checked_add(c)?;
                data.push(*array.data.get(at)?);
            }
        }
    }
    Some(Array { data, ..array.clone_without_data() })
}

fn added_halves(bias: &Array, columns: usize) -> Option<Array> {
    let (input, recurrent) = bias.data.split_at_checked(columns)?;
    (recurrent.len() == columns).then_some(())?;
    let data = input.iter().zip(recurrent).map(|(a, b)| a + b).collect();
    Some(Array { shape: vec![columns], data, ..bias.clone_without_data() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gates_of_three_inputs_and_two_units_are_transposed() {
        // `k.T.reshape(k.shape, order='F')`, which is what Keras does (its comment there has the two exchanged).
        // Each gate is 10 higher than the one before.
        let cudnn = [[0., 1., 2.], [3., 4., 5.]];
        let plain = [[0., 2., 4.], [1., 3., 5.]];
        let gates = |rows: [[f32; 3]; 2]| {
            let row = |row: [f32; 3]| [0., 10., 20., 30.].map(|g| row.map(|v| v + g)).concat();
            Array::float32(vec![2, 12], rows.map(row).concat())
        };
        assert_eq!(transposed_gates(&gates(cudnn), 2, 3), Some(gates(plain)));
    }
}
