//! Entry points: each takes any bytes as one kind of file, reads all that can be read, and checks what it got.
//!
//! Each says whether the bytes were read as a file of their kind, so that a target that refuses everything is seen.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use disk::Disk;
use keras_file::KerasFile;
use lstm::detect::{Given, detect};
use report::dsse::PrivateKey;
use report::statement::{self, Signed};
use tf_checkpoint::{Checkpoint, CheckpointState, DType, Error};

use crate::bundle::{self, Bundle, DATA, INDEX};
use crate::wire::fields;
use crate::{map_format, memory, suite_file};

/// An entry point and its name, which is that of its fuzz target and of its folder of seeds.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads these bytes; whether they are a file of its kind.
    pub run: fn(&[u8]) -> bool,
}

/// Every entry point.
pub fn targets() -> [Target; 13] {
    [
        Target { name: "table", run: table },
        Target { name: "bundle", run: v2_bundle },
        Target { name: "saved_slices", run: v1_file },
        Target { name: "meta_graph", run: meta_graph },
        Target { name: "frozen_graph", run: frozen_graph },
        Target { name: "object_graph", run: object_graph },
        Target { name: "state_file", run: state_file },
        Target { name: "hdf5", run: hdf5 },
        Target { name: "archive", run: archive },
        Target { name: "safetensors", run: safetensors },
        Target { name: "map_file", run: map_file },
        Target { name: "suite_file", run: suite_file },
        Target { name: "certificate", run: certificate },
    ]
}

/// Largest input worth trying. Larger ones take time and find nothing else.
const LARGEST: usize = 1 << 20;

thread_local! {
    static RIGHT: [Arc<[u8]>; 2] = { let right = Bundle::lstm(); [right.index().into(), right.data.into()] };
    static KEY: PrivateKey = PrivateKey::from_pem(PRIVATE_KEY).expect("a right key");
}

/// Opens one file, or the checkpoint that it is part of.
fn opened(disk: &Disk, name: &str) -> Option<Checkpoint> {
    Checkpoint::open_on(disk, &memory::path(name)).ok()
}

/// A table, as the index of a V2 checkpoint whose tensors are zeros.
pub fn table(input: &[u8]) -> bool {
    let index: Arc<[u8]> = input.into();
    let open = |data: Vec<u8>| {
        let disk = memory::disk([(INDEX, Arc::clone(&index)), (DATA, data.into())]);
        Checkpoint::open_on(&disk, &memory::path(INDEX))
    };
    let opened = match open(vec![]) {
        // All of the table has been read, and this is where the data should end.
        Err(Error::OutsideFile { offset, size, .. }) if offset.saturating_add(size) <= LARGEST as u64 => {
            open(vec![0; (offset + size) as usize])
        }
        opened => opened,
    };
    if let Ok(checkpoint) = &opened {
        read_all(checkpoint);
    }
    opened.is_ok()
}

/// A V2 checkpoint: index and data, as [`bundle::split`] takes them apart.
pub fn v2_bundle(input: &[u8]) -> bool {
    let Some((index, data)) = bundle::split(input) else { return false };
    let disk = memory::disk([(INDEX, index.into()), (DATA, data.into())]);
    let Some(checkpoint) = opened(&disk, INDEX) else { return false };
    let _ = checkpoint.objects();
    read_all(&checkpoint)
}

/// A V1 checkpoint.
pub fn v1_file(input: &[u8]) -> bool {
    let Some(checkpoint) = opened(&memory::disk([("v1.ckpt", input.into())]), "v1.ckpt") else { return false };
    read_all(&checkpoint)
}

/// A `.meta` file beside a right checkpoint, and the LSTMs that the two hold.
pub fn meta_graph(input: &[u8]) -> bool {
    let [index, data] = RIGHT.with(Clone::clone);
    let disk = memory::disk([(INDEX, index), (DATA, data), ("model.ckpt.meta", input.into())]);
    let checkpoint = opened(&disk, "model.ckpt").expect("a right checkpoint");
    let Ok(graph) = checkpoint.graph() else { return false };
    let _ = detect(checkpoint.variables(), graph.as_ref(), &Given::default());
    graph.is_some()
}

/// A frozen graph.
pub fn frozen_graph(input: &[u8]) -> bool {
    let Some(checkpoint) = opened(&memory::disk([("frozen.pb", input.into())]), "frozen.pb") else { return false };
    if let Ok(graph) = checkpoint.graph() {
        let _ = detect(checkpoint.variables(), graph.as_ref(), &Given::default());
    }
    read_all(&checkpoint)
}

/// The keys of tensors that an object graph names, as far as it can be read.
fn keys_of(graph: &[u8]) -> BTreeSet<&[u8]> {
    let within = |message: &'_ [u8], tag| -> Vec<std::ops::Range<usize>> {
        fields(message).into_iter().filter(|f| (f.0, f.1) == (tag, 2)).map(|f| f.3).collect()
    };
    let mut keys = BTreeSet::new();
    for node in within(graph, 1) {
        let node = &graph[node];
        for attribute in within(node, 2) {
            let attribute = &node[attribute];
            keys.extend(within(attribute, 3).into_iter().map(|key| &attribute[key]));
        }
    }
    keys
}

/// The object graph of an otherwise right checkpoint, which has the keys that the graph names.
pub fn object_graph(input: &[u8]) -> bool {
    let mut bundle = Bundle::empty();
    let (text, crc) = bundle::strings(&[input]);
    bundle.add_key(b"_CHECKPOINTABLE_OBJECT_GRAPH", 7, &[], &text, crc);
    for key in keys_of(input).into_iter().filter(|key| !key.is_empty()).take(50) {
        bundle.add_key(key, 1, &[1], &[0; 4], crc32c::crc32c(&[0; 4]));
    }
    let bundle = bundle.sorted();
    let disk = memory::disk([(INDEX, bundle.index().into()), (DATA, bundle.data.into())]);
    // Not with keys that are no names.
    let Some(checkpoint) = opened(&disk, INDEX) else { return false };
    let Ok(Some(objects)) = checkpoint.objects() else { return false };
    for (path, _) in objects.walk() {
        let _ = objects.resolve(&path);
    }
    true
}

/// A `checkpoint` state file.
pub fn state_file(input: &[u8]) -> bool {
    let Ok(state) = CheckpointState::parse(Path::new("checkpoint"), input) else { return false };
    assert!(!state.model_checkpoint_path.is_empty());
    true
}

/// An HDF5 file, as one of Keras and as one of another kind.
pub fn hdf5(input: &[u8]) -> bool {
    let is_keras = keras_file(input);
    let arrays = if input.len() > LARGEST { None } else { keras_file::decode_hdf5_arrays(input.to_vec()).ok() };
    for array in arrays.iter().flatten() {
        assert_eq!(array.shape.iter().product::<usize>(), array.data.len(), "{}", array.name);
    }
    is_keras || arrays.is_some()
}

/// A `.keras` or `.npz` archive.
pub fn archive(input: &[u8]) -> bool {
    let is_keras = keras_file(input);
    let arrays = if input.len() > LARGEST { None } else { keras_file::decode_arrays(input).ok() };
    for array in arrays.iter().flatten() {
        assert_eq!(array.shape.iter().product::<usize>(), array.values.len(), "{}", array.name);
    }
    is_keras || arrays.is_some()
}

/// A `.safetensors` file.
pub fn safetensors(input: &[u8]) -> bool {
    keras_file(input)
}

/// A map file.
pub fn map_file(input: &[u8]) -> bool {
    let Some(map) = std::str::from_utf8(input).ok().and_then(|text| map_format::parse(text).ok()) else { return false };
    assert!(!map.lstm.is_empty() || !map.layer.is_empty());
    true
}

/// A suite file.
pub fn suite_file(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    match suite_file::parse(text) {
        Ok(entries) => {
            assert!(!entries.is_empty() && entries.iter().all(|e| !e.name.is_empty() && !e.checkpoint.is_empty()));
            true
        }
        Err(wrong) => {
            // The end of the file is a line too, if it ends in a newline.
            assert!((1..=text.split('\n').count()).contains(&wrong.line) && !wrong.problem.is_empty(), "{wrong:?}");
            false
        }
    }
}

/// A certificate, plain or signed: one that is accepted says no more than what its key, or its digest, is of.
pub fn certificate(input: &[u8]) -> bool {
    let public = KEY.with(PrivateKey::public);
    let Ok(read) = statement::open(input, None) else {
        // Nor does a key make it right.
        assert!(statement::open(input, Some(&public)).is_err());
        return false;
    };
    let by_key = statement::open(input, Some(&public));
    match (&read.signed, &by_key) {
        (Signed::No, _) => assert!(by_key.is_err(), "a plain certificate for a signed one"),
        (Signed::Unchecked(_), Ok(checked)) => assert_eq!(checked.statement, read.statement),
        (Signed::Unchecked(_), Err(_)) => {}
        (Signed::By(_), _) => panic!("signed by a key that nobody gave"),
    }
    // Signed by us, it is the same statement; with one byte more it is none.
    let signed = KEY.with(|key| statement::signed(read.statement.clone(), key));
    let again = statement::open(&signed, Some(&public)).expect("what was read can be written").statement;
    assert_eq!((again.subject, again.predicate.verdict), (read.statement.subject, read.statement.predicate.verdict));
    true
}

/// The first key of RFC 8032, section 7.1: everybody knows it.
pub const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

fn keras_file(input: &[u8]) -> bool {
    if input.len() > LARGEST {
        return false;
    }
    let Ok(file) = keras_file::decode(input.to_vec()) else { return false };
    check_arrays(&file);
    true
}

/// Arrays have as many elements as their shapes say.
fn check_arrays(file: &KerasFile) {
    for lstm in file.layers.iter().flat_map(|l| l.kind.lstms()) {
        for array in [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()].into_iter().flatten() {
            assert_eq!(array.shape.iter().product::<usize>(), array.data.len());
        }
    }
}

/// Reads every variable, in both ways, which must agree; whether all could be read.
fn read_all(checkpoint: &Checkpoint) -> bool {
    let mut whole = true;
    for variable in checkpoint.variables().iter().take(100) {
        let digest = checkpoint.sha256(&variable.name);
        match checkpoint.read(&variable.name) {
            Ok(tensor) => {
                assert_eq!((tensor.dtype(), tensor.shape()), (variable.dtype, &variable.shape[..]));
                assert_eq!(digest.ok(), Some(tensor.sha256()));
                let _ = (tensor.to_f32(), tensor.to_f64(), tensor.to_i64());
                if tensor.dtype() == DType::String {
                    assert!(tensor.strings().is_some());
                }
            }
            Err(error) => {
                assert!(digest.is_err() && !error.to_string().is_empty());
                whole = false;
            }
        }
    }
    whole
}
