//! `.npz` files of float arrays, as NumPy writes them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use ndarray::{ArrayD, IxDyn};

pub(crate) fn read(path: &Path) -> BTreeMap<String, ArrayD<f32>> {
    read64(path).into_iter().map(|(name, values)| (name, values.mapv(|v| v as f32))).collect()
}

pub(crate) fn read64(path: &Path) -> BTreeMap<String, ArrayD<f64>> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = zip::ZipArchive::new(file).expect("npz is a zip archive");
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).expect("a member");
        let name = member.name().expect("a name").trim_end_matches(".npy").to_owned();
        let mut bytes = vec![];
        member.read_to_end(&mut bytes).expect("a member can be read");
        arrays.insert(name, array(&bytes));
    }
    arrays
}

/// One version 1 `.npy`: magic, version, header length, header, data.
fn array(bytes: &[u8]) -> ArrayD<f64> {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "npy version 1");
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..header_end]).expect("an ASCII header");
    assert!(header.contains("'fortran_order': False"), "row-major: {header}");
    let between = |start: &str, end: char| {
        let rest = &header[header.find(start).expect("a header field") + start.len()..];
        &rest[..rest.find(end).expect("its end")]
    };
    let shape: Vec<usize> = between("'shape': (", ')')
        .split(',')
        .filter(|s| !s.trim().is_empty())
        .map(|s| s.trim().parse().expect("a size"))
        .collect();
    let data = &bytes[header_end..];
    let values: Vec<f64> = match between("'descr': '", '\'') {
        "<f2" => {
            data.chunks_exact(2).map(|b| half::f16::from_le_bytes(b.try_into().expect("2 bytes")).to_f64()).collect()
        }
        "<f4" => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")).into()).collect(),
        "<f8" => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes"))).collect(),
        "<i4" => data.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().expect("4 bytes")).into()).collect(),
        other => panic!("npy of {other}"),
    };
    ArrayD::from_shape_vec(IxDyn(&shape), values).expect("as many elements as the shape says")
}

pub(crate) fn write(path: &Path, arrays: &[(&str, ArrayD<f32>)]) {
    let file = std::fs::File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = zip::ZipWriter::new(file);
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), stored).expect("a new member");
        let shape: String = array.shape().iter().map(|n| format!("{n}, ")).collect();
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
        // Header and what stands before it fill a multiple of 64 bytes, the last one a line feed.
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
        let data: Vec<u8> = array.iter().flat_map(|v| v.to_le_bytes()).collect();
        for part in [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &data] {
            archive.write_all(part).expect("the member can be written");
        }
    }
    archive.finish().expect("the archive is complete");
}
