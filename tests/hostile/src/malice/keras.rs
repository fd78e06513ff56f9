//! Keras archives, `.npz`, `.safetensors`; HDF5 files made by `tests/hostile/make_hdf5.py` lie in `tests/hostile/files`.

use std::io::{Cursor, Write};
use std::path::Path;

use keras_file::{Array, Layer, LayerKind, Lstm, LstmConfig, Stored, Target};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::Outcome::{Read, Refused};
use super::{Case, Outcome};

const METADATA: &[u8] = br#"{"keras_version": "3.0.0"}"#;

/// Two units, one input.
fn lstm() -> Lstm {
    Lstm {
        kernel: Array::float32(vec![1, 8], vec![0.25; 8]),
        recurrent_kernel: Array::float32(vec![2, 8], vec![0.5; 16]),
        bias: Some(Array::float32(vec![8], vec![1.0; 8])),
        config: Some(LstmConfig {
            units: 2,
            activation: "tanh".to_owned(),
            recurrent_activation: "sigmoid".to_owned(),
            use_bias: true,
            go_backwards: false,
            time_major: false,
            return_sequences: true,
            return_state: false,
            zero_output_for_mask: false,
            stateful: false,
        }),
        stored: Stored::Plain,
    }
}

fn encoded(target: Target) -> Vec<u8> {
    let layer = Layer { name: "lstm".to_owned(), kind: LayerKind::Lstm(lstm()) };
    keras_file::encode(&[vec![layer]], target).expect("a right layer")
}

/// An archive of these members.
fn archive(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    for (name, content) in members {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("a member");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

/// A model whose one layer has this name, in JSON.
fn config(layer: &str) -> String {
    let lstm = format!(
        r#"{{"class_name": "LSTM", "config": {{"name": {layer}, "units": 2, "activation": "tanh",
            "recurrent_activation": "sigmoid", "use_bias": true}}}}"#
    );
    format!(r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [{lstm}]}}}}"#)
}

/// A `.keras` with this configuration and right weights.
fn keras(config: &[u8]) -> Vec<u8> {
    let weights = encoded(Target::Weights);
    let members: [(&str, &[u8]); 3] =
        [("metadata.json", METADATA), ("config.json", config), ("model.weights.h5", &weights)];
    archive(&members, CompressionMethod::Stored)
}

/// A right `.keras`.
pub(super) fn right_archive() -> Case {
    Case::one("a right .keras", "model.keras", keras(config("\"lstm\"").as_bytes()), Read)
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", (header.len() as u16).to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}

fn archives() -> Vec<Case> {
    let one = |name, bytes, says| Case::one(name, "model.keras", bytes, Refused(says));
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let wide = [&b"[0"[..], &b",0".repeat(20_000_000), b"]"].concat();
    let zeros = vec![0; 200 << 20];
    let many: Vec<String> = (0..20_000).map(|n| format!("{n}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|n| (n.as_str(), &b""[..])).collect();
    let escaped = config(r#""\u001b[31m\u009b2J\u202elstm""#);
    vec![
        one("JSON nested 100,000 deep", keras(&deep), "config.json"),
        one("JSON of twenty million zeros", keras(&wide), "config.json"),
        one(
            "an archive whose configuration unpacks to 200 MB",
            archive(&[("metadata.json", METADATA), ("config.json", &zeros)], CompressionMethod::Deflated),
            "config.json",
        ),
        one(
            "an archive whose weights unpack to 200 MB",
            {
                let config = config("\"lstm\"");
                let members: [(&str, &[u8]); 3] =
                    [("metadata.json", METADATA), ("config.json", config.as_bytes()), ("model.weights.h5", &zeros)];
                archive(&members, CompressionMethod::Deflated)
            },
            "model.weights.h5",
        ),
        one("an archive of 20,000 members", archive(&many, CompressionMethod::Stored), "members"),
        Case::one("a layer with escapes in its name", "model.keras", keras(escaped.as_bytes()), Read),
        one("a layer whose name forges a line", keras(config(r#""a\nerror: forged""#).as_bytes()), "names on one line"),
        one("units that are no whole number", keras(config("\"lstm\"").replace("2,", "1e300,").as_bytes()), "units"),
    ]
}

fn arrays() -> Vec<Case> {
    let npz = |kernel: Vec<u8>| {
        let recurrent = npy("<f4", "(1, 4)", &[0; 16]);
        archive(&[("kernel.npy", &kernel), ("recurrent_kernel.npy", &recurrent)], CompressionMethod::Stored)
    };
    let one = |name, file, bytes, outcome: Outcome| Case::one(name, file, bytes, outcome);
    let zeros = npy("|b1", "(209715200,)", &vec![0; 200 << 20]);
    let entry = r#"{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}"#;
    let names: Vec<String> =
        (0..600_000).map(|n| format!(r#""a{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    let ones = format!(r#"{{"a":{{"dtype":"F32","shape":[1{}],"data_offsets":[0,4]}}}}"#, ",1".repeat(20_000_000));
    vec![
        one(
            "npz: a shape that overflows",
            "a.npz",
            npz(npy("<f4", "(4611686018427387904, 4)", &[])),
            Refused("kernel"),
        ),
        one(
            "npz: a member that unpacks to 200 MB",
            "a.npz",
            archive(&[("kernel.npy", &zeros)], CompressionMethod::Deflated),
            Refused("kernel"),
        ),
        one(
            "npz: names that lead out of the folder",
            "a.npz",
            {
                let array = npy("<f4", "(1, 4)", &[0; 16]);
                let members: [(&str, &[u8]); 2] =
                    [("../../\u{1b}[31m/kernel.npy", &array), ("../../\u{1b}[31m/recurrent_kernel.npy", &array)];
                archive(&members, CompressionMethod::Stored)
            },
            Read,
        ),
        one(
            "npz: a name that forges a line",
            "a.npz",
            {
                let array = npy("<f4", "(1, 4)", &[0; 16]);
                let members: [(&str, &[u8]); 2] =
                    [("a\nerror: forged/kernel.npy", &array), ("a\nerror: forged/recurrent_kernel.npy", &array)];
                archive(&members, CompressionMethod::Stored)
            },
            Refused("names on one line"),
        ),
        one(
            "safetensors: a name that forges a line",
            "a.safetensors",
            safetensors(&format!(r#"{{"a\n::error::forged":{entry}}}"#), &[0; 16]),
            Refused("names on one line"),
        ),
        one(
            "safetensors: names with escapes",
            "a.safetensors",
            {
                let second = entry.replace("[0,16]", "[16,32]");
                let name = r"\u009b31m\u202e\u001b]0;x\u0007\ufeff";
                safetensors(&format!(r#"{{"{name}/kernel":{entry},"{name}/recurrent_kernel":{second}}}"#), &[0; 32])
            },
            Read,
        ),
        one(
            "safetensors: a header of 2^60 bytes",
            "a.safetensors",
            [(1u64 << 60).to_le_bytes().as_slice(), b"{}"].concat(),
            Refused("safetensors header"),
        ),
        one(
            "safetensors: two arrays of the same bytes",
            "a.safetensors",
            safetensors(&format!(r#"{{"kernel":{entry},"recurrent_kernel":{entry}}}"#), &[0; 16]),
            Refused("elements from byte 16"),
        ),
        one(
            "safetensors: 600,000 arrays without elements",
            "a.safetensors",
            safetensors(&format!("{{{}}}", names.join(",")), &[]),
            Refused("JSON values"),
        ),
        one("safetensors: an array with twenty million axes", "a.safetensors", safetensors(&ones, &[0; 4]), {
            Refused("JSON values")
        }),
    ]
}

/// Files that are committed, as nothing here writes such HDF5.
fn hdf5() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("files/malice");
    let one = |name, file: &'static str, outcome| {
        let bytes = std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        Case::one(name, file, bytes, outcome)
    };
    vec![
        one("HDF5: a group that is its own grandchild", "link_cycle.h5", Refused("nesting")),
        one("HDF5: groups 300 deep", "deep_groups.h5", Refused("nesting")),
        one("HDF5: a chunked array of 2^60 elements", "huge_chunked.h5", Refused("dataset")),
        one("HDF5: one array of 16 MB under 16 names", "shared_array.h5", Refused("together")),
        one("HDF5: an array of zeros that unpacks to 400 MB", "deflated_zeros.h5", Refused("dataset")),
        one("HDF5: 100 MB of attributes that share their strings", "attributes.h5", Refused("attribute")),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = archives();
    all.extend(arrays());
    all.extend(hdf5());
    all
}
