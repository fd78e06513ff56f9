use super::*;
use crate::Checkpoint;
use crate::proto::{Dim, SliceExtent, TensorShape, TensorSlice, VersionDef};
use crate::source::CHUNK;
use crate::table::mask;
use crate::table_writer::{BlockType, TableWriter};
use proptest::prelude::*;

#[path = "bundle_layout_tests.rs"]
mod layout;

/// A bundle to be written, right unless a test breaks it.
#[derive(Clone)]
struct Fixture {
    header: BundleHeader,
    entries: BTreeMap<Vec<u8>, BundleEntry>,
    data: Vec<Vec<u8>>,
}

fn shape(dims: &[i64]) -> TensorShape {
    TensorShape { dim: dims.iter().map(|&size| Dim { size }).collect(), unknown_rank: false }
}

fn rows(start: i64, length: i64, columns: Option<i64>) -> TensorSlice {
    TensorSlice { extent: vec![SliceExtent { start, length: Some(length) }, SliceExtent { start: 0, length: columns }] }
}

impl Fixture {
    fn empty(shards: usize) -> Fixture {
        let version = Some(VersionDef { producer: 1, min_consumer: 0 });
        let header = BundleHeader { num_shards: shards as i32, endianness: 0, version };
        Fixture { header, entries: BTreeMap::new(), data: vec![Vec::new(); shards] }
    }

    fn add(&mut self, key: &[u8], dtype: i32, dims: &[i64], shard: usize, bytes: &[u8]) {
        self.add_with_crc(key, dtype, dims, shard, bytes, crc32c::crc32c(bytes));
    }

    fn add_with_crc(&mut self, key: &[u8], dtype: i32, dims: &[i64], shard: usize, bytes: &[u8], crc: u32) {
        let (offset, size) = (self.data[shard].len() as i64, bytes.len() as i64);
        let entry = BundleEntry {
            dtype,
            shape: Some(shape(dims)),
            shard_id: shard as i32,
            offset,
            size,
            crc32c: mask(crc),
            slices: vec![],
        };
        self.entries.insert(key.to_vec(), entry);
        self.data[shard].extend(bytes);
    }

    fn slice(&mut self, name: &str, dims: &[i64], slice: &TensorSlice, shard: usize, bytes: &[u8]) {
        self.add(&slice_key::encode(name, &slices::extents(slice)), 1, dims, shard, bytes);
        let full = BundleEntry { dtype: 1, shape: Some(shape(&[3, 2])), ..BundleEntry::default() };
        self.entries.entry(name.into()).or_insert(full).slices.push(slice.clone());
    }

    /// Two data files; a vector, a scalar at an offset that is not aligned, strings, nothing, and a variable in two parts.
    fn right() -> Fixture {
        let mut f = Fixture::empty(2);
        f.add(b"a/flag", 10, &[], 0, &[1]);
        f.add(b"b/vector", 1, &[3], 0, &floats(&[1.0, -2.0, 3.5]));
        f.add(b"c/step", 9, &[], 1, &7i64.to_le_bytes());
        let (bytes, crc) = string_tensor::encode(&[b"one", b"", b"three"], false);
        f.add_with_crc(b"d/text", 7, &[3], 1, &bytes, crc);
        f.add(b"e/none", 1, &[0, 4], 1, &[]);
        f.slice("f/parts", &[2, 2], &rows(1, 2, None), 1, &floats(&[3.0, 4.0, 5.0, 6.0]));
        f.slice("f/parts", &[1, 2], &rows(0, 1, None), 0, &floats(&[1.0, 2.0]));
        f
    }

    fn index(&self) -> Vec<u8> {
        let mut writer = TableWriter::new(1 << 18, BlockType::Stored);
        writer.add(b"", &self.header.encode_to_vec());
        for (key, entry) in &self.entries {
            writer.add(key, &entry.encode_to_vec());
        }
        writer.finish()
    }

    fn write(&self, prefix: &Path) {
        std::fs::write(data_files::with_suffix(prefix, ".index"), self.index()).unwrap();
        for (i, data) in self.data.iter().enumerate() {
            std::fs::write(data_files::name(prefix, i, self.data.len()), data).unwrap();
        }
    }

    fn read(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let dir = tempfile::tempdir().unwrap();
        self.write(&dir.path().join("m"));
        read_all(&dir.path().join("m"))
    }

    /// The error after a change to the entry `key`.
    fn broken(key: &str, change: impl FnOnce(&mut BundleEntry)) -> Error {
        let mut f = Fixture::right();
        change(f.entries.get_mut(key.as_bytes()).unwrap());
        f.read().unwrap_err()
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn read_all(prefix: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let checkpoint = Checkpoint::open(prefix)?;
    checkpoint.variables().iter().for_each(|v| drop(digest(&checkpoint, &v.name)));
    checkpoint.variables().iter().map(|v| Ok((v.name.clone(), checkpoint.read(&v.name)?))).collect()
}

/// Digests the variable in both ways, which have to agree, in errors too.
fn digest(checkpoint: &Checkpoint, name: &str) -> Result<String, Error> {
    let read = checkpoint.read(name).map(|tensor| tensor.sha256());
    let streamed = checkpoint.sha256(name);
    assert_eq!(format!("{streamed:?}"), format!("{read:?}"), "{name}");
    streamed
}

#[test]
fn a_right_bundle() {
    let all = Fixture::right().read().unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["a/flag", "b/vector", "c/step", "d/text", "e/none", "f/parts"]);
    assert_eq!(all["b/vector"].to_f32().unwrap(), [1.0, -2.0, 3.5]);
    assert_eq!(all["c/step"].to_i64().unwrap(), [7]);
    assert_eq!(all["d/text"].strings().unwrap(), [&b"one"[..], b"", b"three"]);
    assert_eq!(all["e/none"].shape(), [0, 4]);
    assert_eq!(all["f/parts"].to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn names_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    Fixture::right().write(&dir.path().join("m"));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let slice = String::from_utf8(slice_key::encode("ab", &[])).unwrap();
    for name in ["", "\0f/parts", &slice] {
        assert!(matches!(digest(&checkpoint, name), Err(Error::NoSuchVariable { .. })));
    }
    let error = checkpoint.read("rnn/vector").unwrap_err();
    assert!(error.to_string().contains("did you mean b/vector?"), "{error}");
    assert_eq!((checkpoint.format().as_str(), checkpoint.files().len()), ("v2", 3));
    assert!(checkpoint.graph().unwrap().is_none());
}

#[test]
fn big_endian_bundles_are_swapped_after_the_checksum() {
    let mut f = Fixture::empty(1);
    f.header.endianness = 1;
    f.add(b"half", 19, &[1], 0, &0x3c00u16.to_be_bytes());
    f.add(b"single", 1, &[2], 0, &[1.5f32.to_be_bytes(), (-2.0f32).to_be_bytes()].concat());
    f.add(b"complex", 8, &[1], 0, &[1.0f32.to_be_bytes(), 2.0f32.to_be_bytes()].concat());
    let (bytes, crc) = string_tensor::encode(&[b"text"], true);
    f.add_with_crc(b"text", 7, &[], 0, &bytes, crc);
    let all = f.read().unwrap();
    assert_eq!(all["half"].to_f32().unwrap(), [1.0]);
    assert_eq!(all["single"].to_f32().unwrap(), [1.5, -2.0]);
    assert_eq!(all["complex"].bytes(), floats(&[1.0, 2.0]));
    assert_eq!(all["text"].bytes(), b"text");
}

#[test]
fn broken_entries_are_refused() {
    let expects = |error: Error, part: &str| {
        assert!(matches!(error, Error::Entry { .. }) && error.to_string().contains(part), "{part}")
    };
    expects(Fixture::broken("b/vector", |e| e.shape.as_mut().unwrap().unknown_rank = true), "unknown rank");
    expects(Fixture::broken("b/vector", |e| e.shape = Some(shape(&[-3]))), "[-3]");
    expects(Fixture::broken("b/vector", |e| e.shape = Some(shape(&[i64::MAX, i64::MAX]))), "fits memory");
    expects(Fixture::broken("b/vector", |e| e.shape = Some(shape(&[1; 255]))), "254 dimensions");
    expects(Fixture::broken("b/vector", |e| e.shape = Some(shape(&[4]))), "12 bytes for float32 [4]");
    expects(Fixture::broken("b/vector", |e| e.dtype = 2), "12 bytes for float64 [3]");
    expects(Fixture::broken("b/vector", |e| e.size = 16), "16 bytes");
    expects(Fixture::broken("b/vector", |e| e.size = -12), "at least 0");
    expects(Fixture::broken("b/vector", |e| e.offset = -1), "at least 0");
    expects(Fixture::broken("b/vector", |e| e.shard_id = 2), "2 of 2");
    expects(Fixture::broken("b/vector", |e| e.shard_id = -1), "-1 of 2");
    assert!(matches!(Fixture::broken("b/vector", |e| e.offset = i64::MAX), Error::OutsideFile { .. }));
    assert!(matches!(Fixture::broken("b/vector", |e| e.crc32c ^= 1), Error::TensorChecksum { .. }));
    assert!(matches!(Fixture::broken("d/text", |e| e.crc32c ^= 1), Error::TensorChecksum { .. }));
    assert!(matches!(Fixture::broken("d/text", |e| e.shape = Some(shape(&[1 << 40]))), Error::Entry { .. }));
    assert!(matches!(Fixture::broken("e/none", |e| e.crc32c = 0), Error::TensorChecksum { .. }));
    for dtype in [20, 21, 29, 0, 101] {
        let error = Fixture::broken("c/step", |e| e.dtype = dtype);
        assert!(matches!(&error, Error::Unsupported { variable, .. } if variable == "c/step"), "{error}");
    }
}

#[test]
fn broken_slices_are_refused() {
    let expects = |error: Error, part: &str| match &error {
        Error::Slices { .. } => assert!(error.to_string().contains(part), "{error}"),
        _ => panic!("{error}"),
    };
    expects(Fixture::broken("f/parts", |e| drop(e.slices.pop())), "4 elements for a tensor of 6");
    expects(Fixture::broken("f/parts", |e| e.slices.push(e.slices[0].clone())), "slices of 10 elements");
    expects(Fixture::broken("f/parts", |e| e.slices[0] = rows(0, 2, None)), "listed but not stored");
    expects(Fixture::broken("f/parts", |e| e.slices[0] = rows(2, 2, None)), "outside its shape");
    expects(Fixture::broken("f/parts", |e| e.dtype = 3), "stored as float32");

    let mut overlap = Fixture::right();
    overlap.entries.remove(&b"f/parts"[..]);
    overlap.slice("f/parts", &[2, 2], &rows(0, 2, None), 0, &floats(&[0.0; 4]));
    overlap.slice("f/parts", &[1, 2], &rows(1, 1, None), 0, &floats(&[0.0; 2]));
    expects(overlap.read().unwrap_err(), "overlap");

    // Three slices, all of the same bytes: with more of them an index would make much of little data.
    let mut bomb = Fixture::empty(1);
    for i in 0..3 {
        bomb.slice("f/parts", &[1, 2], &rows(i, 1, None), 0, &if i == 0 { floats(&[0.0; 2]) } else { vec![] });
    }
    bomb.entries.iter_mut().filter(|(k, _)| k[0] == 0).for_each(|(_, e)| {
        (e.offset, e.size, e.crc32c) = (0, 8, mask(crc32c::crc32c(&[0; 8])));
    });
    let error = bomb.read().unwrap_err().to_string();
    assert!(error.contains("bytes of its own"), "{error}");
}

#[test]
fn broken_headers_are_refused() {
    for (shards, endianness, min_consumer) in
        [(0, 0, 0), (-1, 0, 0), (100_000, 0, 0), (i32::MAX, 0, 0), (2, 2, 0), (2, 0, 2)]
    {
        let mut f = Fixture::right();
        f.header =
            BundleHeader { num_shards: shards, endianness, version: Some(VersionDef { producer: 1, min_consumer }) };
        assert!(matches!(f.read(), Err(Error::Header { .. })), "{shards} {endianness} {min_consumer}");
    }
    let header =
        BundleHeader { num_shards: 1, endianness: 0, version: Some(VersionDef { producer: 1, min_consumer: 0 }) };
    assert_eq!(header.encode_to_vec(), [0x08, 1, 0x1a, 2, 0x08, 1]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.index");
    let mut writer = TableWriter::new(100, BlockType::Stored);
    std::fs::write(&path, TableWriter::new(100, BlockType::Stored).finish()).unwrap();
    assert!(matches!(Checkpoint::open(&path), Err(Error::Header { .. })));
    writer.add(b"a", b"");
    std::fs::write(&path, writer.finish()).unwrap();
    assert!(matches!(Checkpoint::open(&path), Err(Error::Header { .. })));
}

#[test]
fn data_files_of_the_wrong_length_or_missing_are_refused() {
    let mut short = Fixture::right();
    short.data[1].pop();
    assert!(matches!(short.read(), Err(Error::OutsideFile { .. })));
    let mut long = Fixture::right();
    long.data[1].push(0);
    assert!(matches!(long.read(), Err(Error::DataLength { .. })));
    let mut other = Fixture::right();
    other.data[0][3] ^= 1;
    assert!(matches!(other.read(), Err(Error::TensorChecksum { .. })));

    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("m");
    Fixture::right().write(&prefix);
    let (second, renamed) = (data_files::name(&prefix, 1, 2), data_files::name(&prefix, 1, 3));
    std::fs::rename(&second, &renamed).unwrap();
    assert_eq!(read_all(&prefix).unwrap().len(), 6);
    std::fs::copy(&renamed, data_files::name(&prefix, 1, 4)).unwrap();
    assert!(matches!(read_all(&prefix), Err(Error::Ambiguous { .. })));
    std::fs::remove_file(data_files::name(&prefix, 1, 4)).unwrap();
    std::fs::remove_file(renamed).unwrap();
    assert!(matches!(read_all(&prefix), Err(Error::MissingFile { looked_for, .. }) if looked_for == second));
}

#[test]
fn a_data_file_that_changes_after_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("m");
    Fixture::right().write(&prefix);
    let checkpoint = Checkpoint::open(&prefix).unwrap();
    std::fs::write(data_files::name(&prefix, 0, 2), b"").unwrap();
    assert!(matches!(digest(&checkpoint, "b/vector"), Err(Error::FileChanged { .. })));
    assert!(digest(&checkpoint, "c/step").is_ok());
}

#[test]
fn large_tensors_are_digested_in_pieces() {
    let sizes = [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7];
    let bytes = |size| (0..size).map(|i| (i % 253) as u8).collect::<Vec<u8>>();
    let mut f = Fixture::empty(1);
    sizes.iter().for_each(|&n| f.add(n.to_string().as_bytes(), 4, &[n as i64], 0, &bytes(n)));
    f.add(b"none", 1, &[0, 4], 0, &[]);
    let dir = tempfile::tempdir().unwrap();
    f.write(&dir.path().join("m"));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    for n in sizes {
        assert_eq!(digest(&checkpoint, &n.to_string()).unwrap(), hex(&Sha256::digest(bytes(n))));
    }
    assert_eq!(digest(&checkpoint, "none").unwrap(), hex(&Sha256::digest([])));

    // A bit in each piece of the largest, which is followed by nothing.
    for piece in 0..4 {
        let mut flipped = f.clone();
        let at = flipped.data[0].len() - 7 - piece * CHUNK;
        flipped.data[0][at] ^= 0x20;
        flipped.write(&dir.path().join("m"));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let errors = sizes.map(|n| digest(&checkpoint, &n.to_string()).err());
        assert!(matches!(errors, [None, None, None, Some(Error::TensorChecksum { .. })]), "{errors:?}");
    }
    f.data[0].pop();
    std::fs::write(data_files::name(&dir.path().join("m"), 0, 1), &f.data[0]).unwrap();
    assert!(matches!(digest(&checkpoint, &sizes[0].to_string()), Err(Error::FileChanged { .. })));
    assert!(matches!(Checkpoint::open(dir.path()), Err(Error::OutsideFile { .. })));
}

/// Opens and reads what is at `prefix`: it may fail, but what can be read must be as it was.
fn never_other(prefix: &Path, originals: &BTreeMap<String, Tensor>) {
    let Ok(checkpoint) = Checkpoint::open(prefix) else { return };
    for variable in checkpoint.variables() {
        let _ = digest(&checkpoint, &variable.name);
        if let Ok(tensor) = checkpoint.read(&variable.name) {
            assert_eq!(Some(&tensor), originals.get(&variable.name), "{}", variable.name);
        }
    }
}

#[test]
fn truncation_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("m");
    let fixture = Fixture::right();
    fixture.write(&prefix);
    let originals = read_all(&prefix).unwrap();
    let index = fixture.index();
    for n in 0..index.len() {
        std::fs::write(data_files::with_suffix(&prefix, ".index"), &index[..n]).unwrap();
        assert!(Checkpoint::open(&prefix).is_err(), "index of {n} bytes");
    }
    fixture.write(&prefix);
    for shard in 0..2 {
        for n in 0..fixture.data[shard].len() {
            std::fs::write(data_files::name(&prefix, shard, 2), &fixture.data[shard][..n]).unwrap();
            assert!(matches!(Checkpoint::open(&prefix), Err(Error::OutsideFile { .. })));
        }
        fixture.write(&prefix);
    }
    never_other(&prefix, &originals);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn flipped_bytes_never_give_other_tensors(
        flips in proptest::collection::vec((0usize..3, any::<prop::sample::Index>(), 1u8..), 1..4),
        snappy in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("m");
        let fixture = Fixture::right();
        fixture.write(&prefix);
        let originals = read_all(&prefix).unwrap();
        let index = data_files::with_suffix(&prefix, ".index");
        if snappy {
            let mut writer = TableWriter::new(100, BlockType::Snappy);
            writer.add(b"", &fixture.header.encode_to_vec());
            fixture.entries.iter().for_each(|(k, e)| writer.add(k, &e.encode_to_vec()));
            std::fs::write(&index, writer.finish()).unwrap();
            prop_assert_eq!(&read_all(&prefix).unwrap(), &originals);
        }
        let files = [index, data_files::name(&prefix, 0, 2), data_files::name(&prefix, 1, 2)];
        for (file, at, mask) in flips {
            let mut bytes = std::fs::read(&files[file]).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            std::fs::write(&files[file], bytes).unwrap();
        }
        never_other(&prefix, &originals);
    }

    #[test]
    fn entries_of_any_bytes_are_no_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = Entry::parse(Path::new("i"), b"k", &value, 3);
        let _ = Header::parse(Path::new("i"), b"", &value);
    }
}
