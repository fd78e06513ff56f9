//! Damaged and malicious `.npz` and `.safetensors` files: no panic, no hang, no huge allocation.

use std::io::{Cursor, Write};
use std::path::Path;

use keras_file::{LayerKind, NamedArray, Problem};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const FILES: [&str; 10] = [
    "alone.npz",
    "float16.npz",
    "keras_names.npz",
    "positional.npz",
    "versions.npz",
    "inputs.npz",
    "inputs_deflated.npz",
    "bfloat16.safetensors",
    "float64.safetensors",
    "twelve.safetensors",
];

fn fixture(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/arrays").join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{file}: {e}"))
}

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

/// `bytes` as recorded inputs.
fn arrays(bytes: &[u8]) -> Result<Vec<NamedArray>, keras_file::Error> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("its content");
    keras_file::read_arrays(file.path())
}

/// Reads `bytes` in every way. What is accepted must be consistent.
fn read(bytes: Vec<u8>) {
    if bytes.starts_with(b"PK")
        && let Ok(found) = arrays(&bytes)
    {
        assert!(found.iter().all(|a| a.shape.iter().product::<usize>() == a.values.len()));
    }
    let Ok(file) = keras_file::decode(bytes) else { return };
    for layer in &file.layers {
        for lstm in layer.kind.lstms() {
            let _ = (lstm.inputs(), lstm.units());
            for array in [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()].into_iter().flatten() {
                assert_eq!(array.shape.iter().product::<usize>(), array.data.len());
            }
        }
    }
}

fn archive(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("a member");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).expect("a short header");
    [b"\x93NUMPY\x01\x00", length.to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}

/// The kernel of an otherwise right LSTM.
fn npz_with(kernel: &[u8]) -> Vec<u8> {
    let recurrent = npy("<f4", "(1, 4)", &[0; 16]);
    archive(&[("kernel.npy", kernel), ("recurrent_kernel.npy", &recurrent)], CompressionMethod::Stored)
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u64::try_from(header.len()).expect("a length");
    [length.to_le_bytes().as_slice(), header.as_bytes(), data].concat()
}

#[test]
fn truncation_anywhere_is_an_error() {
    for file in FILES {
        let whole = fixture(file);
        for length in 0..whole.len() {
            problem(whole[..length].to_vec());
            if file.ends_with("npz") && length % 16 == 0 {
                arrays(&whole[..length]).expect_err(file);
            }
        }
    }
}

#[test]
fn shapes_that_overflow_are_refused_before_they_are_allocated() {
    for shape in [
        "(4611686018427387904, 4)",
        "(4611686018427387904, 4, 0)",
        "(0, 18446744073709551615, 18446744073709551615)",
        "(2305843009213693952,)",
    ] {
        assert!(matches!(problem(npz_with(&npy("<f4", shape, &[]))), Problem::TooLarge { .. }), "{shape}");
        let json = shape.replace('(', "[").replace(",)", "]").replace(')', "]");
        let header = format!("{{\"kernel\":{{\"dtype\":\"F32\",\"shape\":{json},\"data_offsets\":[0,0]}}}}");
        assert!(matches!(problem(safetensors(&header, &[])), Problem::Safetensors { .. }), "{shape}");
    }
    // More than the file has, though not more than memory could address.
    let message = problem(npz_with(&npy("<f4", "(1099511627776, 4)", &[0; 16]))).to_string();
    assert!(message.contains("\"kernel\"") && message.contains("found 16"), "{message}");
    let axes = format!("({})", "1,".repeat(65));
    assert!(problem(npz_with(&npy("<f4", &axes, &[0; 4]))).to_string().contains("64 axes"));
}

#[test]
fn an_npy_header_longer_than_any_is_refused() {
    let long = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes(), b"{}"].concat();
    assert!(matches!(problem(npz_with(&long)), Problem::TooLarge { .. }));
    let nested = format!("{{'descr': {}", "[".repeat(60_000));
    let length = u16::try_from(nested.len()).expect("a length").to_le_bytes();
    let nested = [b"\x93NUMPY\x01\x00", length.as_slice(), nested.as_bytes()].concat();
    assert!(matches!(problem(npz_with(&nested)), Problem::Array { .. }));
    assert!(problem(npz_with(b"\x93NUMPY\x09\x00")).to_string().contains("version 9"));
}

#[test]
fn weights_that_are_no_floats_are_named() {
    for descr in ["<i4", "|O", "<c8", "<f16", "|V2"] {
        let message = problem(npz_with(&npy(descr, "(1, 4)", &[0; 16]))).to_string();
        assert!(message.contains("\"kernel\"") && message.contains("bfloat16"), "{message}");
    }
    let alone = archive(&[("recurrent_kernel.npy", &npy("<f4", "(1, 4)", &[0; 16]))], CompressionMethod::Stored);
    assert!(matches!(problem(alone), Problem::Missing { .. }));
}

#[test]
fn names_that_are_there_twice_are_refused() {
    let array = npy("<f4", "(1, 4)", &[0; 16]);
    let mut bytes = archive(&[("kernel.npy", &array), ("kernex.npy", &array)], CompressionMethod::Stored);
    for at in 0..bytes.len() - 6 {
        if bytes[at..].starts_with(b"kernex") {
            bytes[at + 5] = b'l';
        }
    }
    assert!(matches!(problem(bytes.clone()), Problem::DuplicateMember));
    assert!(arrays(&bytes).is_err());
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let header = format!(r#"{{"kernel":{entry},"kernel":{entry}}}"#);
    assert!(matches!(problem(safetensors(&header, &[0; 4])), Problem::Json { .. }));
    // Of different names, but for the same place in the same layer.
    let members: [(&str, &[u8]); 3] =
        [("a/kernel.npy", &array), ("a.kernel:0.npy", &array), ("a/recurrent_kernel.npy", &array)];
    let message = problem(archive(&members, CompressionMethod::Stored)).to_string();
    assert!(message.contains("\"a.kernel:0\"") && message.contains("\"a/kernel\""), "{message}");
}

#[test]
fn zip_bombs_are_refused() {
    let zeros = npy("|b1", "(68157440,)", &vec![0; 65 << 20]);
    let bytes = archive(&[("a.npy", &zeros)], CompressionMethod::Deflated);
    assert!(bytes.len() < 100_000);
    assert!(matches!(problem(bytes.clone()), Problem::TooLarge { .. }));
    assert!(matches!(arrays(&bytes).expect_err("a bomb").problem(), Problem::TooLarge { .. }));
    // Each member is small enough, but not all of them, and not as float64.
    let zeros = npy("|b1", "(4194304,)", &vec![0; 4 << 20]);
    let names: Vec<String> = (0..40).map(|i| format!("{i}.npy")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), zeros.as_slice())).collect();
    let bytes = archive(&members, CompressionMethod::Deflated);
    assert!(matches!(arrays(&bytes).expect_err("a bomb").problem(), Problem::TooLarge { .. }));
}

#[test]
fn safetensors_headers_that_lie_about_their_length_are_refused() {
    for length in [1u64 << 60, u64::MAX, 100_000_001, 1 << 27] {
        let bytes = [length.to_le_bytes().as_slice(), b"{}"].concat();
        assert!(matches!(problem(bytes), Problem::TooLarge { .. }), "{length}");
    }
    let bytes = [1000u64.to_le_bytes().as_slice(), b"{}"].concat();
    assert!(matches!(problem(bytes), Problem::Safetensors { .. }));
}

#[test]
fn safetensors_data_is_used_once_and_wholly() {
    let two = |a: &str, b: &str, data: usize| {
        let header = format!(
            r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":{a}}},"b":{{"dtype":"F32","shape":[1],"data_offsets":{b}}}}}"#
        );
        keras_file::decode(safetensors(&header, &vec![0; data]))
    };
    assert!(two("[0,4]", "[4,8]", 8).is_ok());
    assert!(two("[4,8]", "[0,4]", 8).is_ok());
    for (a, b, data) in [
        ("[0,4]", "[0,4]", 8),
        ("[0,4]", "[2,6]", 8),
        ("[0,4]", "[5,9]", 9),
        ("[1,5]", "[5,9]", 9),
        ("[0,4]", "[4,8]", 9),
        ("[0,4]", "[4,8]", 7),
        ("[0,4]", "[4,4]", 4),
        ("[4,0]", "[4,8]", 8),
        ("[0,8]", "[8,8]", 8),
        ("[0,18446744073709551615]", "[4,8]", 8),
    ] {
        let error = two(a, b, data).expect_err("bad offsets");
        assert!(matches!(error.problem(), Problem::Safetensors { .. }), "{a} {b}: {error}");
    }
    for (a, b) in [("[0,-4]", "[4,8]"), ("[0,4,8]", "[4,8]"), ("[0.0,4.0]", "[4,8]"), ("[0]", "[4,8]")] {
        let error = two(a, b, 8).expect_err("no offsets");
        assert!(matches!(error.problem(), Problem::Json { .. }), "{a} {b}: {error}");
    }
}

#[test]
fn safetensors_headers_of_another_form_are_refused() {
    let nested = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = format!("{}{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for header in [
        nested.as_str(),
        &deep,
        r#"{"a":1}"#,
        r#"{"a":{"dtype":"F32","shape":[0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"more":1}}"#,
        r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"dtype":"F64"}}"#,
        r#"{"__metadata__":{"a":1}}"#,
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        "{} {}",
        "{",
    ] {
        assert!(matches!(problem(safetensors(header, &[])), Problem::Json { .. }), "{:.60}", header);
    }
    // Element types that this version does not know are somebody else's layers.
    let header = r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}   "#;
    assert!(keras_file::decode(safetensors(header, &[0])).expect("a file").layers.is_empty());
}

#[test]
fn odd_shapes_are_handed_on_without_a_panic() {
    for (shape, count) in [("()", 1), ("(0, 4)", 0), ("(3,)", 3), ("(2, 3, 1)", 6)] {
        let array = npy("<f4", shape, &vec![0; count * 4]);
        let members: [(&str, &[u8]); 3] =
            [("kernel.npy", &array), ("recurrent_kernel.npy", &array), ("bias.npy", &array)];
        let file = keras_file::decode(archive(&members, CompressionMethod::Stored)).expect("a file");
        let LayerKind::Lstm(lstm) = &file.layers[0].kind else { panic!("not an LSTM") };
        assert_eq!(lstm.inputs(), lstm.units());
        assert_eq!(lstm.kernel.data.len(), count);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        file in 0..FILES.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..8),
    ) {
        let mut bytes = fixture(FILES[file]);
        for (at, xor) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
        }
        read(bytes);
    }

    #[test]
    fn flipped_headers_inside_a_sound_archive_never_panic(
        flips in prop::collection::vec((0usize..128, 1u8..), 1..8),
    ) {
        // Checksums would catch these flips in a whole file, and hide the parser behind them.
        let mut array = npy("<f4", "(2, 4)", &[1; 32]);
        for (at, xor) in flips {
            let at = at % array.len();
            array[at] ^= xor;
        }
        read(npz_with(&array));
    }

    #[test]
    fn overwritten_numbers_never_panic(
        file in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        number in prop_oneof![Just(0u64), Just(u64::MAX), Just(1 << 31), Just(1 << 40), any::<u64>()],
    ) {
        let mut bytes = fixture(FILES[file]);
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        read(bytes);
    }
}
