//! Layouts that the format allows and few writers use.

use super::*;
use half::{bf16, f16};

/// The numbers of a tensor of this shape, of which each is its own place; those of one slice of it.
fn places(full: &[i64], starts: &[i64], lengths: &[i64]) -> Vec<f32> {
    let mut all = vec![0i64];
    for ((&size, &start), &length) in full.iter().zip(starts).zip(lengths) {
        all = all.iter().flat_map(|n| (start..start + length).map(move |i| n * size + i)).collect();
    }
    all.into_iter().map(|n| n as f32).collect()
}

fn part(f: &mut Fixture, name: &str, full: &[i64], starts: &[i64], lengths: &[i64], shard: usize, big_endian: bool) {
    let extent = starts.iter().zip(lengths).map(|(&start, &n)| SliceExtent { start, length: Some(n) }).collect();
    let slice = TensorSlice { extent };
    let values = places(full, starts, lengths).into_iter();
    let bytes: Vec<u8> = values.flat_map(|v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }).collect();
    f.add(&slice_key::encode(name, &slices::extents(&slice)), 1, lengths, shard, &bytes);
    let whole = BundleEntry { dtype: 1, shape: Some(shape(full)), ..BundleEntry::default() };
    f.entries.entry(name.into()).or_insert(whole).slices.push(slice);
}

/// Variables in parts along every axis and along several, in three data files.
fn parted(big_endian: bool) -> Fixture {
    let mut f = Fixture::empty(3);
    f.header.endianness = big_endian.into();
    let mut add = |name: &str, full: &[i64], parts: &[(&[i64], &[i64])]| {
        for (i, (starts, lengths)) in parts.iter().enumerate() {
            part(&mut f, name, full, starts, lengths, i % 3, big_endian);
        }
    };
    add("vector", &[5], &[(&[3], &[2]), (&[0], &[3])]);
    add("rows", &[4, 3], &[(&[0, 0], &[1, 3]), (&[1, 0], &[3, 3])]);
    add("columns", &[2, 7], &[(&[0, 0], &[2, 3]), (&[0, 3], &[2, 3]), (&[0, 6], &[2, 1])]);
    let quarters: [(&[i64], &[i64]); 4] =
        [(&[0, 0], &[2, 1]), (&[0, 1], &[2, 2]), (&[2, 0], &[1, 2]), (&[2, 2], &[1, 1])];
    add("both", &[3, 3], &quarters);
    add("middle", &[2, 4, 3], &[(&[0, 1, 0], &[2, 3, 3]), (&[0, 0, 0], &[2, 1, 3])]);
    add("last", &[2, 2, 2, 70], &[(&[0, 0, 0, 0], &[2, 2, 2, 64]), (&[0, 0, 0, 64], &[2, 2, 2, 6])]);
    f
}

#[test]
fn slices_on_any_axis_in_several_files() {
    for big_endian in [false, true] {
        let all = parted(big_endian).read().unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["both", "columns", "last", "middle", "rows", "vector"]);
        for (name, tensor) in all {
            let values = tensor.to_f32().unwrap();
            assert!(values.iter().enumerate().all(|(i, &v)| v == i as f32), "{name} {values:?}");
        }
    }
}

#[test]
fn big_endian_numbers_of_every_width() {
    let mut f = Fixture::empty(1);
    f.header.endianness = 1;
    f.add(b"bf16", 14, &[1], 0, &bf16::from_f32(-1.5).to_be_bytes());
    f.add(b"bool", 10, &[2], 0, &[1, 0]);
    f.add(b"f16", 19, &[2], 0, &[f16::from_f32(0.5).to_be_bytes(), f16::from_f32(-3.0).to_be_bytes()].concat());
    f.add(b"f64", 2, &[2], 0, &[0.1f64.to_be_bytes(), (-1e300f64).to_be_bytes()].concat());
    f.add(b"i16", 5, &[], 0, &(-2i16).to_be_bytes());
    f.add(b"i32", 3, &[], 0, &(-3i32).to_be_bytes());
    f.add(b"i64", 9, &[], 0, &(-4i64).to_be_bytes());
    f.add(b"i8", 6, &[], 0, &[0xff]);
    f.add(b"u16", 17, &[], 0, &0x1234u16.to_be_bytes());
    let all = f.read().unwrap();
    for (name, value) in [("i8", -1), ("i16", -2), ("i32", -3), ("i64", -4), ("u16", 0x1234)] {
        assert_eq!(all[name].to_i64().unwrap(), [value], "{name}");
    }
    assert_eq!(all["bf16"].to_f32().unwrap(), [-1.5]);
    assert_eq!(all["f16"].to_f64().unwrap(), [0.5, -3.0]);
    assert_eq!(all["f64"].to_f64().unwrap(), [0.1, -1e300]);
    assert_eq!(all["bool"].bytes(), [1, 0]);
}

/// A writer that aligns the tensors leaves gaps between them; another may have them out of order.
#[test]
fn gaps_and_any_order_of_tensors() {
    let mut f = Fixture::empty(1);
    f.data[0] = vec![0xee; 5];
    f.add(b"z", 1, &[2], 0, &floats(&[1.0, 2.0]));
    f.data[0].extend([0xee; 51]);
    f.add(b"a", 2, &[1], 0, &3.0f64.to_le_bytes());
    f.data[0].push(0xee);
    f.add(b"none", 1, &[3, 0], 0, &[]);
    f.add(b"m", 9, &[], 0, &4i64.to_le_bytes());
    let all = f.read().unwrap();
    assert_eq!(f.entries[&b"m"[..]].offset, 73);
    assert_eq!((all["z"].to_f32().unwrap(), all["a"].to_f64().unwrap()), (vec![1.0, 2.0], vec![3.0]));
    assert_eq!((all["m"].to_i64().unwrap(), all["none"].shape()), (vec![4], &[3, 0][..]));
}

#[test]
fn slices_in_snappy_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("m");
    let f = parted(false);
    f.write(&prefix);
    let stored = read_all(&prefix).unwrap();
    for block_size in [1, 150, 1 << 18] {
        let mut writer = TableWriter::new(block_size, BlockType::Snappy);
        writer.add(b"", &f.header.encode_to_vec());
        f.entries.iter().for_each(|(k, e)| writer.add(k, &e.encode_to_vec()));
        let index = writer.finish();
        assert!(block_size < 1 << 18 || index.len() < f.index().len());
        std::fs::write(data_files::with_suffix(&prefix, ".index"), index).unwrap();
        assert_eq!(read_all(&prefix).unwrap(), stored);
    }
}

/// The header counts bundles that were merged, the names of the files those that had tensors.
#[test]
fn a_header_that_counts_more_files_than_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("m");
    let mut f = Fixture::right();
    f.header.num_shards = 4;
    f.write(&prefix);
    assert_eq!(read_all(&prefix).unwrap(), Fixture::right().read().unwrap());
    assert_eq!(Checkpoint::open(&prefix).unwrap().files()[..2], [0, 1].map(|i| data_files::name(&prefix, i, 2)));
    // A file of another prefix, or of a writer that died, is none of them.
    std::fs::rename(data_files::name(&prefix, 1, 2), dir.path().join("mm.data-00001-of-00002")).unwrap();
    std::fs::write(dir.path().join("m.data-00001-of-00002.tempstate1"), b"").unwrap();
    assert!(matches!(read_all(&prefix), Err(Error::MissingFile { .. })));
}

#[test]
fn a_shard_without_tensors_needs_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("m");
    let mut f = Fixture::empty(3);
    f.add(b"a", 1, &[1], 0, &floats(&[1.0]));
    f.add(b"b", 1, &[1], 2, &floats(&[2.0]));
    f.write(&prefix);
    std::fs::remove_file(data_files::name(&prefix, 1, 3)).unwrap();
    assert_eq!(read_all(&prefix).unwrap()["b"].to_f32().unwrap(), [2.0]);
}
