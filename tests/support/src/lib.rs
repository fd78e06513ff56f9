//! The golden cases in `tests/golden`, and the real checkpoints that are not shipped. For tests only: whatever is
//! wrong with a case panics.

#![forbid(unsafe_code)]

mod messages;
mod npz;
pub mod schema;

pub use messages::message;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, ArrayD, Ix2, Ix3};

/// One folder of golden data: a checkpoint, what TensorFlow computed with it, and conversions of it.
pub struct Case {
    /// `basic`, `old/tf1_2_1_multi`, ….
    pub name: String,
    /// The folder.
    pub dir: PathBuf,
    /// `case.json`.
    pub json: serde_json::Value,
}

/// The golden cases of TensorFlow 1.15 whose cells a Keras LSTM can express.
pub const KERAS_CASES: [&str; 21] = [
    "basic",
    "basic_v1",
    "seed_names",
    "forget_bias_0",
    "forget_bias_other",
    "lstm_cell",
    "relu",
    "block_cell",
    "block_fused",
    "multi",
    "bidirectional",
    "stack_bidirectional",
    "cudnn_compatible",
    "partitioned",
    "sharded",
    "trained_adam_ema",
    "static_rnn",
    "seed_stack",
    "square",
    "initial_state",
    "saved_model",
];

/// The folder of golden cases.
pub fn golden_dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden");
    dir.canonicalize().expect("tests/golden is part of the repository")
}

/// One golden case by name.
pub fn case(name: &str) -> Case {
    let dir = golden_dir().join(name);
    let text = std::fs::read_to_string(dir.join("case.json")).unwrap_or_else(|e| panic!("case.json of {name}: {e}"));
    Case { name: name.to_owned(), dir, json: serde_json::from_str(&text).expect("case.json is JSON") }
}

/// Every golden case, the old releases' included, by name.
pub fn cases() -> Vec<Case> {
    let mut names = vec![];
    for (prefix, dir) in [("", golden_dir()), ("old/", golden_dir().join("old"))] {
        for entry in std::fs::read_dir(dir).expect("the golden folder can be listed") {
            let path = entry.expect("a folder entry").path();
            if path.join("case.json").is_file() {
                names.push(format!("{prefix}{}", path.file_name().expect("a name").to_string_lossy()));
            }
        }
    }
    names.sort();
    assert_eq!(names.len(), 32 + 25, "32 cases of TensorFlow 1.15 and 25 of older releases");
    names.iter().map(|n| case(n)).collect()
}

/// The golden cases in `cells`: rarer cells, wrappers and wirings, whose `case.json` says what a reader should find.
pub fn cell_cases() -> Vec<Case> {
    let dir = golden_dir().join("cells");
    let entries = std::fs::read_dir(dir).expect("the folder can be listed");
    let mut names: Vec<String> = entries
        .map(|entry| format!("cells/{}", entry.expect("a folder entry").file_name().to_string_lossy()))
        .collect();
    names.sort();
    assert_eq!(names.len(), 44, "cases of rarer cells");
    names.iter().map(|n| case(n)).collect()
}

impl Case {
    /// The arrays of `io.npz`, as f64: as exact as they were saved.
    pub fn io64(&self) -> BTreeMap<String, ArrayD<f64>> {
        npz::read64(&self.dir.join("io.npz"))
    }

    /// The arrays of `io.npz`, as f32 (float64 ones rounded).
    pub fn io(&self) -> BTreeMap<String, ArrayD<f32>> {
        npz::read(&self.dir.join("io.npz"))
    }

    /// The checkpoint: its folder, found by the `checkpoint` state file.
    pub fn checkpoint(&self) -> PathBuf {
        self.dir.clone()
    }
}

/// The arrays of an `.npz` file, as f32.
pub fn npz(path: &Path) -> BTreeMap<String, ArrayD<f32>> {
    npz::read(path)
}

/// Writes an `.npz` file as NumPy does.
pub fn write_npz(path: &Path, arrays: &[(&str, ArrayD<f32>)]) {
    npz::write(path, arrays);
}

/// An array known to be a matrix.
pub fn matrix(array: &ArrayD<f32>) -> Array2<f32> {
    array.clone().into_dimensionality::<Ix2>().expect("two axes")
}

/// An array known to have three axes.
pub fn cube(array: &ArrayD<f32>) -> Array3<f32> {
    array.clone().into_dimensionality::<Ix3>().expect("three axes")
}

/// The folder of real checkpoints: `GATEWISE_REAL`, or `../shared/real` beside the repository. `None`, said loudly on
/// stderr, where it is absent: the files are not ours to ship.
pub fn real_dir(test: &str) -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real");
    let dir = std::env::var_os("GATEWISE_REAL").map_or(default, PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: {test}: no real checkpoints in {} (set GATEWISE_REAL)", dir.display());
    None
}
