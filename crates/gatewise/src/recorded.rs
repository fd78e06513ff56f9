//! Recorded inputs: `--inputs FILE.npz`.

use std::path::Path;

use disk::Disk;
use keras_file::NamedArray;
use lstm::{Batch, Merge, Network, State, Tf1Cell};
use ndarray::{Array2, Array3};

use crate::error::CliError;

/// Inputs that somebody recorded, and the outputs recorded with them.
pub(crate) struct Recorded {
    pub(crate) batch: Batch,
    /// `[sequences, timesteps, output]`.
    pub(crate) y: Option<Array3<f32>>,
}

/// Reads the arrays for one network: `x`, optionally `seq_len`, `h0` and `c0` (for a network of one cell), and `y`.
pub(crate) fn read(disk: &Disk, path: &Path, network: &Network<Tf1Cell>) -> Result<Recorded, CliError> {
    let wrong = |problem: String| CliError::Inputs { file: path.to_owned(), problem };
    let arrays = keras_file::decode_arrays(&disk.read(path)?).map_err(|e| e.in_file(path))?;
    let find = |name: &str| arrays.iter().find(|a| a.name == name);
    let cells = network.cells();
    let input = cells.first().map_or(0, |c| c.input_size());

    let x = find("x").ok_or_else(|| {
        let names: Vec<&str> = arrays.iter().map(|a| a.name.as_str()).collect();
        wrong(format!("it has no array x: expected [sequences, timesteps, {input}], found {}", names.join(", ")))
    })?;
    let x = cube(x, input).map_err(&wrong)?;
    let (sequences, timesteps, _) = x.dim();
    if sequences == 0 || timesteps == 0 {
        return Err(wrong(format!(
            "x is [{sequences}, {timesteps}, {input}]: with nothing in it nothing would be compared"
        )));
    }

    let lengths = find("seq_len").map(|a| lengths(a, sequences, timesteps)).transpose().map_err(&wrong)?;
    let state = |name: &str, width: usize| -> Result<Array2<f32>, CliError> {
        match find(name) {
            None => Ok(Array2::zeros((sequences, width))),
            Some(_) if cells.len() > 1 => Err(wrong(format!(
                "{name} is given, and the network has {} cells: initial states are read for one cell",
                cells.len()
            ))),
            Some(array) => {
                let expected = vec![sequences, width];
                if array.shape != expected {
                    return Err(wrong(format!("{name} is {:?}: expected {expected:?}", array.shape)));
                }
                let values = array.values.iter().map(|v| *v as f32).collect();
                Array2::from_shape_vec((sequences, width), values).map_err(|e| wrong(format!("{name}: {e}")))
            }
        }
    };
    let mut initial = vec![];
    for cell in &cells {
        initial.push(State { h: state("h0", cell.recurrent_size())?, c: state("c0", cell.units())? });
    }
    let width = output_width(network);
    let y = find("y").map(|a| cube(a, width)).transpose().map_err(&wrong)?;
    if let Some(y) = y.as_ref().filter(|y| (y.dim().0, y.dim().1) != (sequences, timesteps)) {
        return Err(wrong(format!("y is {:?}: expected [{sequences}, {timesteps}, {width}] beside this x", y.shape())));
    }
    Ok(Recorded { batch: Batch { x, lengths, initial, record_gates: true }, y })
}

fn cube(array: &NamedArray, width: usize) -> Result<Array3<f32>, String> {
    let &[n, t, found] = &array.shape[..] else {
        return Err(format!(
            "{} is {:?}: expected three axes [sequences, timesteps, {width}]",
            array.name, array.shape
        ));
    };
    if found != width {
        return Err(format!("{} is {:?}: expected [sequences, timesteps, {width}]", array.name, array.shape));
    }
    let values = array.values.iter().map(|v| *v as f32).collect();
    Array3::from_shape_vec((n, t, found), values).map_err(|e| format!("{}: {e}", array.name))
}

fn lengths(array: &NamedArray, sequences: usize, timesteps: usize) -> Result<Vec<usize>, String> {
    if array.shape != [sequences] {
        return Err(format!("seq_len is {:?}: expected [{sequences}]", array.shape));
    }
    let length = |v: &f64| {
        let whole = v.fract() == 0.0 && *v >= 0.0 && *v <= timesteps as f64;
        if whole {
            Ok(*v as usize)
        } else {
            Err(format!("seq_len holds {v}: expected whole numbers up to {timesteps}"))
        }
    };
    array.values.iter().map(length).collect()
}

fn output_width(network: &Network<Tf1Cell>) -> usize {
    match network {
        Network::Cell(cell) | Network::Backward(cell) => cell.recurrent_size(),
        Network::Stack(parts) => parts.last().map_or(0, output_width),
        Network::Bidirectional { forward, backward, merge: Merge::Concat } => {
            output_width(forward) + output_width(backward)
        }
        Network::Bidirectional { forward, .. } => output_width(forward),
        Network::Residual(part) => output_width(part),
    }
}
