//! Damaged and malicious files are errors that say what is wrong: no panic, no hang, no huge allocation.

use std::io::{Cursor, Write};
use std::path::Path;

use keras_file::Problem;
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn golden(file: &str) -> Vec<u8> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    std::fs::read(golden.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

const FILES: [&str; 9] = [
    "basic/keras2/legacy_weights.h5",
    "bidirectional/keras2/model.h5",
    "basic/keras3/model.h5",
    "bidirectional/keras2/model.weights.h5",
    "basic/keras2/model.keras",
    "stack_bidirectional/keras3/model.keras",
    "../../crates/keras-file/tests/models/old/cudnn_both_ways.weights.h5",
    "../../crates/keras-file/tests/models/old/cudnn_stack.legacy.h5",
    "../../crates/keras-file/tests/models/old/keras1_both_ways.model.h5",
];

fn problem(bytes: Vec<u8>) -> Problem {
    match keras_file::decode(bytes) {
        Ok(file) => panic!("accepted as {:?}", file.format),
        // The message itself must not panic either.
        Err(e) => {
            assert!(!e.to_string().is_empty());
            e.into_problem()
        }
    }
}

fn archive(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).expect("a member");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

const METADATA: (&str, &[u8]) = ("metadata.json", br#"{"keras_version": "3.0.0"}"#);

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) -> usize {
    let mut count = 0;
    for at in 0..bytes.len() - old.len() {
        if bytes[at..].starts_with(old) {
            bytes[at..at + new.len()].copy_from_slice(new);
            count += 1;
        }
    }
    count
}

#[test]
fn what_is_no_keras_file_is_named() {
    assert!(matches!(problem(vec![]), Problem::NotKeras { found } if found == "an empty file"));
    assert!(matches!(problem(b"# Keras".to_vec()), Problem::NotKeras { found } if found.contains("# Keras")));
    let missing = keras_file::read(Path::new("no/such.h5")).expect_err("no such file");
    assert!(missing.to_string().contains("no/such.h5"));
    assert!(std::error::Error::source(&missing).is_some());
}

#[test]
fn truncation_anywhere_is_an_error() {
    for file in FILES {
        let whole = golden(file);
        let step = if whole.len() > 30_000 { 211 } else { 37 };
        for length in (0..whole.len()).step_by(step) {
            // HDF5 checks the length that its superblock states, zip its directory at the end.
            problem(whole[..length].to_vec());
        }
    }
}

#[test]
fn a_shape_larger_than_the_file_is_refused_before_it_is_allocated() {
    let mut bytes = golden("basic/keras2/legacy_weights.h5");
    let shape = |rows: u64| [rows.to_le_bytes(), 32u64.to_le_bytes()].concat();
    // The extents, and the largest extents behind them.
    assert!(replace(&mut bytes, &shape(5), &shape(1 << 40)) > 0);
    assert!(matches!(problem(bytes), Problem::TooLarge { .. }));
}

#[test]
fn arrays_of_the_wrong_shape_name_layer_and_shapes() {
    let mut bytes = golden("basic/keras2/legacy_weights.h5");
    let shape = |rows: u64, columns: u64| [rows.to_le_bytes(), columns.to_le_bytes()].concat();
    // The recurrent kernel is transposed.
    assert!(replace(&mut bytes, &shape(8, 32), &shape(32, 8)) > 0);
    let message = problem(bytes).to_string();
    assert!(message.contains("\"lstm\"") && message.contains("recurrent_kernel [32, 8]"), "{message}");
}

#[test]
fn a_group_linked_by_an_empty_name_does_not_recurse_for_ever() {
    let mut bytes = golden("bidirectional/keras2/model.weights.h5");
    assert!(replace(&mut bytes, b"cell\0", b"\0ell\0") > 0);
    assert!(matches!(problem(bytes), Problem::LinkName { .. }));
}

#[test]
fn a_zip_member_twice_is_refused() {
    let config = br#"{"class_name": "Sequential", "config": {"layers": []}}"#;
    let mut bytes = archive(&[METADATA, ("config.json", config), ("config.jsoX", config)], CompressionMethod::Stored);
    assert_eq!(replace(&mut bytes, b"config.jsoX", b"config.json"), 2);
    assert!(matches!(problem(bytes), Problem::DuplicateMember));
}

#[test]
fn a_wrong_checksum_is_an_error() {
    let mut bytes = golden("basic/keras2/model.keras");
    assert_eq!(replace(&mut bytes, b"\"units\": 8", b"\"units\": 9"), 1);
    assert!(matches!(problem(bytes), Problem::ZipContent { .. }));
}

#[test]
fn json_nested_ten_thousand_deep_is_an_error() {
    let config = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let bytes = archive(&[METADATA, ("config.json", &config), ("model.weights.h5", b"")], CompressionMethod::Stored);
    assert!(matches!(problem(bytes), Problem::Json { .. }));
}

#[test]
fn zip_bombs_are_refused() {
    let zeros = vec![0; 65 << 20];
    let bytes = archive(&[METADATA, ("config.json", &zeros)], CompressionMethod::Deflated);
    assert!(bytes.len() < 100_000);
    assert!(matches!(problem(bytes), Problem::TooLarge { .. }));
    let config = br#"{"class_name": "Sequential", "config": {"layers": []}}"#;
    let bytes =
        archive(&[METADATA, ("config.json", config), ("model.weights.h5", &zeros)], CompressionMethod::Deflated);
    assert!(matches!(problem(bytes), Problem::TooLarge { .. }));
}

#[test]
fn a_missing_member_is_named() {
    let message = problem(archive(&[METADATA], CompressionMethod::Stored)).to_string();
    assert!(message.contains("config.json"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        file in 0..FILES.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..8),
    ) {
        let mut bytes = golden(FILES[file]);
        for (at, xor) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
        }
        // A flip inside the values stays a valid file; anything else must end as an error.
        let _ = keras_file::decode(bytes);
    }

    #[test]
    fn overwritten_numbers_never_panic(
        file in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        number in prop_oneof![Just(0u64), Just(u64::MAX), Just(1 << 31), Just(1 << 40), any::<u64>()],
    ) {
        let mut bytes = golden(FILES[file]);
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let _ = keras_file::decode(bytes);
    }

    #[test]
    fn replacing_in_damaged_files_never_panics(
        file in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        number in prop_oneof![Just(0u64), Just(u64::MAX), Just(1 << 31), 0..20_000u64, any::<u64>()],
    ) {
        let mut bytes = golden(FILES[file]);
        let sound = keras_file::decode(bytes.clone()).expect("a golden file");
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let replacement = |slot: &keras_file::Slot| keras_file::Replacement {
            layer: slot.layer.clone(),
            half: slot.half,
            role: slot.role.clone(),
            array: keras_file::Array::float32(slot.shape.clone(), vec![0.5; slot.shape.iter().product()]),
        };
        let replacements: Vec<_> = sound.slots.iter().map(replacement).collect();
        // What is accepted is a file as sound as before.
        if let Ok(after) = keras_file::replace(&bytes, &replacements) {
            prop_assert!(keras_file::decode(after).is_ok());
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("damaged.h5");
        std::fs::write(&path, &bytes).expect("a file");
        let _ = keras_file::read_hdf5_arrays(&path);
    }
}
