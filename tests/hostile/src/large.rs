//! Right files so large that a copy too many shows: 400 MB, nearly all of it one kernel.

use std::fs::File;
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use keras_file::{Array, Layer, LayerKind, Lstm, Stored, Target};

use crate::bundle::{BIAS, Bundle, DATA, INDEX, KERNEL};
use crate::saved_slices::{FILE, SavedSlices};
use crate::wire::{bytes, number, shape};

/// Rows of the kernel, the 500 of the recurrent part included.
const ROWS: usize = 50_000;
/// Four gates of 500 units.
const COLUMNS: usize = 2_000;

/// The files that [`write`] makes.
pub const NAMES: [&str; 8] = [
    "400 MB as a V2 checkpoint",
    "400 MB as a V2 checkpoint in two parts, by columns",
    "400 MB as a V1 checkpoint",
    "400 MB as a frozen graph",
    "400 MB as .h5",
    "400 MB as .keras",
    "400 MB as .npz",
    "400 MB as .safetensors",
];

fn values(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| ((n % 1000) as f32 / 1000.0 - 0.5).to_le_bytes()).collect()
}

/// Writes one of [`NAMES`] into a folder; returns the path to open.
pub fn write(name: &str, folder: &Path) -> PathBuf {
    let put = |file: &str, parts: &[&[u8]]| {
        let path = folder.join(file);
        let mut out = BufWriter::new(File::create(&path).expect("a file"));
        parts.iter().for_each(|part| out.write_all(part).expect("room for it"));
        path
    };
    let dims = [ROWS as i64, COLUMNS as i64];
    match NAMES.iter().position(|n| *n == name).expect("one of the names") {
        0 => {
            let mut bundle = Bundle::empty();
            bundle.add(BIAS, 1, &[dims[1]], &values(COLUMNS));
            bundle.add(KERNEL, 1, &dims, &values(ROWS * COLUMNS));
            put(DATA, &[&bundle.data]);
            put(INDEX, &[&bundle.index()])
        }
        1 => {
            let mut bundle = Bundle::empty();
            bundle.add(BIAS, 1, &[dims[1]], &values(COLUMNS));
            let half = dims[1] / 2;
            let (all, left, right) = ((0, None), (0, Some(half)), (half, Some(half)));
            let shape = [dims[0], half];
            bundle.add_parts(KERNEL, &dims, &[(&[all, left], &shape), (&[all, right], &shape)]);
            let bundle = bundle.sorted();
            put(DATA, &[&bundle.data]);
            put(INDEX, &[&bundle.index()])
        }
        2 => {
            let mut file = SavedSlices::default();
            file.add(BIAS, &dims[1..], &[(0, None)], &bytes(5, &values(COLUMNS)));
            file.add(KERNEL, &dims, &[(0, None), (0, None)], &bytes(5, &values(ROWS * COLUMNS)));
            put(FILE, &[&file.files().remove(0).1])
        }
        3 => {
            let constant = |name: &str, dims: &[i64], data: &[u8]| {
                let tensor = [number(1, 1), bytes(2, &shape(dims)), bytes(4, data)].concat();
                let value = [bytes(1, b"value"), bytes(2, &bytes(8, &tensor))].concat();
                bytes(1, &[bytes(1, name.as_bytes()), bytes(2, b"Const"), bytes(5, &value)].concat())
            };
            let bias = constant(BIAS, &dims[1..], &values(COLUMNS));
            put("frozen.pb", &[&bias, &constant(KERNEL, &dims, &values(ROWS * COLUMNS))])
        }
        4 => put("model.h5", &[&keras(Target::LegacyWeights)]),
        5 => {
            let config = r#"{"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "LSTM", "config":
                {"name": "lstm", "units": 500, "activation": "tanh", "recurrent_activation": "sigmoid"}}]}}"#;
            let weights = keras(Target::Weights);
            let members: [(&str, &[u8]); 3] = [
                ("metadata.json", br#"{"keras_version": "3.0.0"}"#),
                ("config.json", config.as_bytes()),
                ("model.weights.h5", &weights),
            ];
            put("model.keras", &[&stored(&members)])
        }
        6 => put("model.npz", &[&keras(Target::Npz)]),
        _ => put("model.safetensors", &[&keras(Target::Safetensors)]),
    }
}

fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(vec![]));
    for (name, content) in members {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(*name, options).expect("a member");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

fn keras(target: Target) -> Vec<u8> {
    let units = COLUMNS / 4;
    let floats = |count: usize| (0..count).map(|n| (n % 1000) as f32 / 1000.0 - 0.5).collect();
    let lstm = Lstm {
        kernel: Array::float32(vec![ROWS - units, COLUMNS], floats((ROWS - units) * COLUMNS)),
        recurrent_kernel: Array::float32(vec![units, COLUMNS], floats(units * COLUMNS)),
        bias: Some(Array::float32(vec![COLUMNS], floats(COLUMNS))),
        config: None,
        stored: Stored::Plain,
    };
    let layer = Layer { name: "lstm".to_owned(), kind: LayerKind::Lstm(lstm) };
    keras_file::encode(&[vec![layer]], target).expect("a right layer")
}
