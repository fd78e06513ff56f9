use super::*;
use crate::Checkpoint;
use crate::proto::{Dim, SavedSliceMeta, SliceExtent, TensorShape};
use crate::table_writer::{BlockType, TableWriter};
use crate::wire::put_varint;
use proptest::prelude::*;

/// A V1 file to be written, right unless a test breaks it.
#[derive(Clone, Default)]
struct Fixture {
    meta: SavedTensorSliceMeta,
    slices: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn shape(dims: &[i64]) -> TensorShape {
    TensorShape { dim: dims.iter().map(|&size| Dim { size }).collect(), unknown_rank: false }
}

fn whole(rank: usize) -> TensorSlice {
    TensorSlice { extent: vec![SliceExtent { start: 0, length: None }; rank] }
}

fn columns(start: i64, length: i64) -> TensorSlice {
    TensorSlice { extent: vec![SliceExtent { start: 0, length: None }, SliceExtent { start, length: Some(length) }] }
}

fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(tag << 3 | 2, &mut out);
    put_varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

fn floats(values: &[f32]) -> Vec<u8> {
    field(5, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

fn stored(name: &str, slice: &TensorSlice, tensor: &[u8]) -> Vec<u8> {
    let data = [field(1, name.as_bytes()), field(2, &slice.encode_to_vec()), field(3, tensor)].concat();
    field(2, &data)
}

impl Fixture {
    fn add(&mut self, name: &str, dtype: i32, dims: &[i64], slice: &TensorSlice, tensor: &[u8]) {
        let slot = self.meta.tensor.iter_mut().find(|t| t.name == name);
        match slot {
            Some(known) => known.slice.push(slice.clone()),
            None => self.meta.tensor.push(SavedSliceMeta {
                name: name.into(),
                shape: Some(shape(dims)),
                dtype,
                slice: vec![slice.clone()],
            }),
        }
        self.slices.insert(slice_key::encode(name, &slices::extents(slice)), stored(name, slice, tensor));
    }

    fn right() -> Fixture {
        let mut f = Fixture::default();
        f.add("b", 1, &[3], &whole(1), &floats(&[1.0, 2.0, 3.0]));
        f.add("global_step", 9, &[], &whole(0), &field(10, &[42]));
        f.add("text", 7, &[2], &whole(1), &[field(8, b"one"), field(8, b"")].concat());
        f.add("w", 1, &[2, 3], &columns(0, 1), &floats(&[1.0, 4.0]));
        f.add("w", 1, &[2, 3], &columns(1, 2), &floats(&[2.0, 3.0, 5.0, 6.0]));
        f
    }

    fn bytes(&self, kind: BlockType) -> Vec<u8> {
        let mut writer = TableWriter::new(60, kind);
        writer.add(b"", &SavedTensorSlices { meta: Some(self.meta.clone()) }.encode_to_vec());
        self.slices.iter().for_each(|(k, v)| writer.add(k, v));
        writer.finish()
    }

    fn read(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m"), self.bytes(BlockType::Stored)).unwrap();
        read_all(&dir.path().join("m"))
    }

    fn saved(&mut self, name: &str) -> &mut SavedSliceMeta {
        self.meta.tensor.iter_mut().find(|t| t.name == name).unwrap()
    }
}

fn read_all(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.variables().iter().map(|v| Ok((v.name.clone(), checkpoint.read(&v.name)?))).collect()
}

fn check(all: &BTreeMap<String, Tensor>) {
    assert_eq!(all.keys().collect::<Vec<_>>(), ["b", "global_step", "text", "w"]);
    assert_eq!(all["b"].to_f32().unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(all["global_step"].to_i64().unwrap(), [42]);
    assert_eq!(all["text"].strings().unwrap(), [&b"one"[..], b""]);
    assert_eq!(all["w"].to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn a_right_file() {
    check(&Fixture::right().read().unwrap());
}

#[test]
fn a_right_file_with_snappy_blocks() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m"), Fixture::right().bytes(BlockType::Snappy)).unwrap();
    check(&read_all(dir.path()).unwrap());
}

#[test]
fn shards_are_united() {
    let (mut first, mut second) = (Fixture::default(), Fixture::default());
    first.add("b", 1, &[3], &whole(1), &floats(&[1.0, 2.0, 3.0]));
    first.add("w", 1, &[2, 3], &columns(1, 2), &floats(&[2.0, 3.0, 5.0, 6.0]));
    second.add("w", 1, &[2, 3], &columns(0, 1), &floats(&[1.0, 4.0]));
    second.add("global_step", 9, &[], &whole(0), &field(10, &[42]));
    second.add("text", 7, &[2], &whole(1), &[field(8, b"one"), field(8, b"")].concat());
    let dir = tempfile::tempdir().unwrap();
    let names = ["m-00000-of-00002", "m-00001-of-00002"].map(|n| dir.path().join(n));
    for (name, f) in names.iter().zip([&first, &second]) {
        std::fs::write(name, f.bytes(BlockType::Stored)).unwrap();
    }
    for path in [dir.path(), &names[0], &names[1], &dir.path().join("m")] {
        check(&read_all(path).unwrap());
    }
    assert_eq!(Checkpoint::open(dir.path()).unwrap().files(), names);
    second.saved("w").shape = Some(shape(&[2, 4]));
    std::fs::write(&names[1], second.bytes(BlockType::Stored)).unwrap();
    assert!(matches!(Checkpoint::open(dir.path()), Err(Error::Entry { .. })));
    std::fs::remove_file(&names[1]).unwrap();
    assert!(
        matches!(Checkpoint::open(&names[0]), Err(Error::MissingFile { looked_for, .. }) if looked_for == names[1])
    );
}

#[test]
fn a_state_file_names_the_shards_by_a_pattern() {
    let (mut first, mut second) = (Fixture::default(), Fixture::default());
    first.add("w", 1, &[2, 3], &columns(0, 1), &floats(&[1.0, 4.0]));
    second.add("w", 1, &[2, 3], &columns(1, 2), &floats(&[2.0, 3.0, 5.0, 6.0]));
    let dir = tempfile::tempdir().unwrap();
    for (name, f) in [("m-7-00000-of-00002", &first), ("m-7-00001-of-00002", &second)] {
        std::fs::write(dir.path().join(name), f.bytes(BlockType::Stored)).unwrap();
    }
    for named in ["m-7-?????-of-00002", "/gone/m-7-?????-of-00002", "m-7"] {
        std::fs::write(dir.path().join("checkpoint"), format!("model_checkpoint_path: \"{named}\"\n")).unwrap();
        for path in [dir.path().to_owned(), dir.path().join("checkpoint"), dir.path().join("m-7")] {
            let checkpoint = Checkpoint::open(&path).unwrap();
            assert_eq!((checkpoint.format().as_str(), checkpoint.prefix()), ("v1", &*dir.path().join("m-7")));
            assert_eq!(checkpoint.read("w").unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        }
    }
}

#[test]
fn slices_on_any_axis() {
    let slice = |parts: &[(i64, i64)]| TensorSlice {
        extent: parts.iter().map(|&(start, n)| SliceExtent { start, length: Some(n).filter(|&n| n > 0) }).collect(),
    };
    const ALL: (i64, i64) = (0, 0);
    let mut f = Fixture::default();
    f.add("rows", 1, &[3, 2], &slice(&[(1, 2), ALL]), &floats(&[2.0, 3.0, 4.0, 5.0]));
    f.add("rows", 1, &[3, 2], &slice(&[(0, 1), ALL]), &floats(&[0.0, 1.0]));
    f.add("columns", 1, &[2, 3], &slice(&[ALL, (2, 1)]), &floats(&[2.0, 5.0]));
    f.add("columns", 1, &[2, 3], &slice(&[ALL, (0, 2)]), &floats(&[0.0, 1.0, 3.0, 4.0]));
    f.add("both", 1, &[2, 2], &slice(&[(0, 1), (1, 1)]), &floats(&[1.0]));
    f.add("both", 1, &[2, 2], &slice(&[(1, 1), ALL]), &floats(&[2.0, 3.0]));
    f.add("both", 1, &[2, 2], &slice(&[(0, 1), (0, 1)]), &floats(&[0.0]));
    f.add("cube", 1, &[2, 2, 2], &slice(&[ALL, (1, 1), ALL]), &floats(&[2.0, 3.0, 6.0, 7.0]));
    f.add("cube", 1, &[2, 2, 2], &slice(&[ALL, (0, 1), ALL]), &floats(&[0.0, 1.0, 4.0, 5.0]));
    let all = f.read().unwrap();
    assert_eq!(all.len(), 4);
    for (name, tensor) in all {
        let values = tensor.to_f32().unwrap();
        assert!(values.iter().enumerate().all(|(i, &v)| v == i as f32), "{name} {values:?}");
    }
}

#[test]
fn every_type_and_scalars_and_nothing() {
    let mut f = Fixture::default();
    f.add("scalar", 1, &[], &whole(0), &floats(&[0.5]));
    f.add("double", 2, &[2], &whole(1), &field(6, &[0.1f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat()));
    f.add("half", 19, &[1], &whole(1), &field(13, &[0x80, 0x78]));
    f.add("int32", 3, &[2], &whole(1), &field(7, &[&[0xff; 9][..], &[1, 5]].concat()));
    f.add("uint8", 4, &[1], &whole(1), &field(7, &[200, 1]));
    f.add("bool", 10, &[2], &whole(1), &field(11, &[1, 0]));
    f.add("complex", 8, &[1], &whole(1), &field(9, &[1.0f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat()));
    f.add("nothing", 1, &[0, 4], &whole(2), &[]);
    f.add("no_text", 7, &[0], &whole(1), &[]);
    let all = f.read().unwrap();
    assert_eq!((all["scalar"].to_f32().unwrap(), all["scalar"].shape()), (vec![0.5], &[][..]));
    assert_eq!(all["double"].to_f64().unwrap(), [0.1, -2.0]);
    assert_eq!(all["half"].to_f32().unwrap(), [1.0]);
    assert_eq!((all["int32"].to_i64().unwrap(), all["uint8"].to_i64().unwrap()), (vec![-1, 5], vec![200]));
    assert_eq!((all["bool"].bytes(), all["complex"].bytes().len()), (&[1, 0][..], 8));
    assert_eq!((all["nothing"].shape(), all["nothing"].bytes().len()), (&[0, 4][..], 0));
    assert_eq!(all["no_text"].strings().unwrap().len(), 0);
}

#[test]
fn broken_lists_are_refused() {
    let broken = |change: fn(&mut Fixture)| {
        let mut f = Fixture::right();
        change(&mut f);
        f.read().unwrap_err()
    };
    assert!(matches!(broken(|f| f.saved("b").shape = Some(shape(&[-1]))), Error::Entry { .. }));
    assert!(matches!(broken(|f| f.saved("b").shape.as_mut().unwrap().unknown_rank = true), Error::Entry { .. }));
    assert!(matches!(broken(|f| f.saved("b").shape = Some(shape(&[4]))), Error::Entry { .. }));
    assert!(matches!(broken(|f| f.saved("b").shape = Some(shape(&[i64::MAX]))), Error::TooMuch { .. }));
    assert!(matches!(broken(|f| f.saved("b").dtype = 3), Error::Entry { .. }));
    assert!(matches!(broken(|f| f.saved("b").dtype = 21), Error::Unsupported { .. }));
    assert!(matches!(broken(|f| f.saved("w").slice.truncate(1)), Error::Slices { .. }));
    assert!(matches!(broken(|f| f.saved("w").slice.clear()), Error::Slices { .. }));
    assert!(matches!(broken(|f| f.saved("w").slice[0] = columns(0, 4)), Error::Slices { .. }));
    assert!(matches!(broken(|f| f.saved("w").slice[0] = columns(0, 2)), Error::Slices { .. }));
    assert!(matches!(broken(|f| f.saved("w").slice.push(columns(0, 1))), Error::Slices { .. }));
    assert!(matches!(broken(|f| f.saved("w").shape = Some(shape(&[i64::MAX, 3]))), Error::TooMuch { .. }));
    assert!(matches!(
        broken(|f| f.meta.versions = Some(crate::proto::VersionDef { producer: 9, min_consumer: 9 })),
        Error::Header { .. }
    ));
}

#[test]
fn a_value_under_the_key_of_another_is_refused() {
    let mut f = Fixture::right();
    let key = slice_key::encode("b", &[Extent::FULL]);
    f.slices.insert(key, stored("c", &whole(1), &floats(&[1.0, 2.0, 3.0])));
    assert!(matches!(f.read(), Err(Error::Entry { expected: "the slice that the key is of", .. })));
}

#[test]
fn formats_under_each_others_names() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m.index"), Fixture::right().bytes(BlockType::Stored)).unwrap();
    let error = Checkpoint::open(&dir.path().join("m")).unwrap_err();
    assert!(matches!(&error, Error::WrongFormat { found: "a whole V1 checkpoint", .. }), "{error}");
    let mut writer = TableWriter::new(60, BlockType::Stored);
    writer.add(b"", &[0x08, 1, 0x1a, 2, 0x08, 1]);
    std::fs::write(dir.path().join("v2"), writer.finish()).unwrap();
    let error = Checkpoint::open(&dir.path().join("v2")).unwrap_err();
    assert!(matches!(&error, Error::WrongFormat { found: "the index of a V2 checkpoint", .. }), "{error}");
}

#[test]
fn truncation_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    let bytes = Fixture::right().bytes(BlockType::Stored);
    for n in 0..bytes.len() {
        std::fs::write(&path, &bytes[..n]).unwrap();
        assert!(Checkpoint::open(&path).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn flipped_bytes_never_give_other_tensors(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        snappy in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let mut bytes = Fixture::right().bytes(if snappy { BlockType::Snappy } else { BlockType::Stored });
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        std::fs::write(&path, bytes).unwrap();
        let originals = Fixture::right().read().unwrap();
        if let Ok(checkpoint) = Checkpoint::open(&path) {
            for variable in checkpoint.variables() {
                if let Ok(tensor) = checkpoint.read(&variable.name) {
                    prop_assert_eq!(Some(&tensor), originals.get(&variable.name));
                }
            }
        }
    }

    #[test]
    fn values_of_any_bytes_are_no_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
        let region = Region::new(&[Extent::FULL], &[3]).unwrap();
        let _ = slice(Path::new("f"), "b", &value, DType::Float32, &[Extent::FULL], &region);
        let _ = header(Path::new("f"), &value);
    }
}
