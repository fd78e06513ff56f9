//! Arrays replaced inside files that real Kerases wrote: nothing else changes, and what cannot be done is refused.

use std::path::Path;

use keras_file::{Array, Half, KerasFile, Problem, Replacement, Role, Slot};

fn bytes(file: &str) -> Vec<u8> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    std::fs::read(tests.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn decode(bytes: &[u8]) -> KerasFile {
    keras_file::decode(bytes.to_vec()).unwrap_or_else(|e| panic!("{e}"))
}

/// Values that no file has.
fn values(k: usize, shape: &[usize]) -> Array {
    let count = shape.iter().product();
    Array::float32(shape.to_vec(), (0..count).map(|i| 1000.0 + (k * 10_000 + i) as f32 / 8.0).collect())
}

fn replacement(k: usize, slot: &Slot) -> Replacement {
    Replacement { layer: slot.layer.clone(), half: slot.half, role: slot.role.clone(), array: values(k, &slot.shape) }
}

const FILES: [&str; 13] = [
    "models/keras2/nested.model.h5",
    "models/keras2/branches.legacy.h5",
    "models/keras2/nested.keras",
    "models/keras3/nested.keras",
    "models/keras3/nested.weights.h5",
    "models/keras3/nested.model.h5",
    "models/keras2/float64.keras",
    "models/keras3/float64.weights.h5",
    "models/tf1/nested.model.h5",
    "models/tf2.2/branches.legacy.h5",
    "../../../tests/golden/bidirectional/keras2/legacy_weights.h5",
    "../../../tests/golden/bidirectional/keras2/model.weights.h5",
    "../../../tests/golden/stack_bidirectional/keras3/model.keras",
];

#[test]
fn only_the_bytes_of_the_arrays_change() {
    for file in FILES {
        let before = bytes(file);
        let old = decode(&before);
        let unique = |slot: &&Slot| {
            let same = |s: &&Slot| (&s.layer, s.half, &s.role) == (&slot.layer, slot.half, &slot.role);
            old.slots.iter().filter(same).count() == 1
        };
        let slots: Vec<&Slot> = old.slots.iter().filter(unique).collect();
        assert!(slots.len() >= 2, "{file}: {:?}", old.slots);
        let replacements: Vec<_> = slots.iter().enumerate().map(|(k, s)| replacement(k, s)).collect();
        let after = keras_file::replace(&before, &replacements).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(after.len(), before.len(), "{file}");
        let width = if file.contains("float64") { 8 } else { 4 };
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let payload: usize = slots.iter().map(|s| s.shape.iter().product::<usize>() * width).sum();
        let checksums = if file.ends_with(".keras") { 8 } else { 0 };
        assert!(changed > payload / 4 && changed <= payload + checksums, "{file}: {changed} of {payload}");
        let new = decode(&after);
        assert_eq!((&new.slots, &new.other_layers), (&old.slots, &old.other_layers), "{file}");
        for r in replacements.iter().filter(|r| r.half == Half::Whole) {
            let Some(layer) = new.layers.iter().find(|l| l.name == r.layer) else { continue };
            let keras_file::LayerKind::Lstm(lstm) = &layer.kind else { panic!("{file}: {}", r.layer) };
            let array = match r.role {
                Role::Kernel => &lstm.kernel,
                Role::RecurrentKernel => &lstm.recurrent_kernel,
                _ => lstm.bias.as_ref().expect("a bias"),
            };
            assert_eq!(array.data, r.array.data, "{file}: {}", r.layer);
        }
        // Back to the old values is back to the old bytes, except where float32 does not hold these.
        if width == 8 {
            continue;
        }
        let again = keras_file::replace(&after, &originals(&before, &slots)).expect("the old values fit");
        assert!(again == before, "{file}");
    }
}

/// For `interop/check.py`, which loads the files with real Kerases: what is replaced has the values of [`values`].
#[test]
#[ignore = "writes files for tests/interop/check.py into KERAS_FILE_OUT"]
fn write_files_for_keras() {
    let out = std::path::PathBuf::from(std::env::var_os("KERAS_FILE_OUT").expect("KERAS_FILE_OUT"));
    let mut list = Vec::new();
    for (number, file) in FILES.iter().enumerate() {
        let before = bytes(file);
        let old = decode(&before);
        // Every third array of those whose names are unique, so that old and new ones stand side by side.
        let unique = |s: &&Slot| {
            let same = |t: &&Slot| (&s.layer, s.half, &s.role) == (&t.layer, t.half, &t.role);
            old.slots.iter().filter(same).count() == 1
        };
        let chosen: Vec<_> =
            old.slots.iter().filter(unique).step_by(3).enumerate().map(|(k, s)| (replacement(k, s), s)).collect();
        let replacements: Vec<_> = chosen.iter().map(|(r, _)| r.clone()).collect();
        let after = keras_file::replace(&before, &replacements).unwrap_or_else(|e| panic!("{file}: {e}"));
        let ending = file.rsplit('/').next().expect("a name");
        let name = format!("replaced_{number}_{ending}");
        std::fs::write(out.join(&name), after).expect("a file");
        let arrays: Vec<_> = chosen.iter().map(|(r, s)| serde_json::json!([s.dataset, r.array.shape])).collect();
        list.push(serde_json::json!({"file": name, "original": file, "replaced": arrays}));
    }
    let text = serde_json::Value::from(list).to_string();
    std::fs::write(out.join("replaced.json"), text).expect("a list");
}

/// The values that the file has, read as plain HDF5.
fn originals(file: &[u8], slots: &[&Slot]) -> Vec<Replacement> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("weights.h5");
    let weights = match file.starts_with(b"PK") {
        false => file.to_vec(),
        true => {
            let mut zip = zip::ZipArchive::new(std::io::Cursor::new(file)).expect("an archive");
            let mut content = Vec::new();
            let mut member = zip.by_name("model.weights.h5").expect("the weights");
            std::io::copy(&mut member, &mut content).expect("their content");
            content
        }
    };
    std::fs::write(&path, weights).expect("a file");
    let arrays = keras_file::read_hdf5_arrays(&path).expect("HDF5");
    let restore = |slot: &&Slot| {
        let array = arrays.iter().find(|a| a.name == slot.dataset).expect("the dataset");
        let data = match &array.data {
            keras_file::Elements::Float32(v) => v.clone(),
            keras_file::Elements::Float64(v) => v.iter().map(|v| *v as f32).collect(),
        };
        Replacement { array: Array::float32(array.shape.clone(), data), ..replacement(0, slot) }
    };
    slots.iter().map(restore).collect()
}

fn refused(file: &str, replacements: &[Replacement]) -> String {
    let error = keras_file::replace(&bytes(file), replacements).expect_err("a refusal");
    assert!(matches!(error.problem(), Problem::Unreplaceable { .. }), "{error}");
    error.to_string()
}

fn for_layer(layer: &str, role: Role, shape: &[usize]) -> Replacement {
    Replacement { layer: layer.into(), half: Half::Whole, role, array: values(0, shape) }
}

#[test]
fn what_cannot_be_replaced_is_refused_with_the_reason() {
    let kernel = |layer: &str| for_layer(layer, Role::Kernel, &[4, 12]);
    let branches = "models/keras2/branches.legacy.h5";
    let message = refused(branches, &[kernel("nowhere")]);
    assert!(message.contains("\"nowhere\"") && message.contains("\"a1\""), "{message}");
    let message = refused(branches, &[for_layer("a1", Role::Embeddings, &[4, 16])]);
    assert!(message.contains("recurrent_kernel"), "{message}");
    let message = refused(branches, &[kernel("a1")]);
    assert!(message.contains("[4, 12]") && message.contains("[4, 16]"), "{message}");
    let twice = for_layer("a1", Role::Kernel, &[4, 16]);
    assert!(refused(branches, &[twice.clone(), twice.clone()]).contains("one replacement"));
    let mut short = twice;
    short.array.data.pop();
    assert!(refused(branches, &[short]).contains("63 values"));
    assert!(refused("models/old/cudnn_stack.legacy.h5", &[kernel("a")]).contains("CuDNNLSTM"));
    assert!(refused("models/old/keras1.model.h5", &[kernel("lstm_1")]).contains("Keras 1"));
    let float16 = "models/keras2/float16.legacy.h5";
    let message = refused(float16, &[replacement(0, &decode(&bytes(float16)).slots[0])]);
    assert!(message.contains("float16"), "{message}");
    assert!(refused("models/arrays/keras_names.npz", &[kernel("lstm")]).contains("npz"));
    let both = Replacement { half: Half::Forward, ..kernel("a1") };
    assert!(refused(branches, &[both]).contains("such an array"));
}

#[test]
fn elements_that_are_not_one_run_of_bytes_are_refused() {
    for (file, found) in [("chunked", "chunked"), ("compressed", "chunked"), ("linked", "share")] {
        let file = format!("models/old/{file}.legacy.h5");
        let message = refused(&file, &[for_layer("lstm", Role::Kernel, &[4, 12])]);
        assert!(message.contains(found), "{file}: {message}");
    }
    let deflated = refused("models/old/deflated.keras", &[for_layer("lstm", Role::Kernel, &[4, 12])]);
    assert!(deflated.contains("uncompressed"), "{deflated}");
}
