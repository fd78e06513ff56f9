//! Every bit of every byte flipped, and every truncation: an error, or exactly what was there before.
//!
//! `GATEWISE_SWEEP=full` tries all bits; without it, one bit of each byte, another from byte to byte.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostile::bundle::{Bundle, DATA, INDEX};
use hostile::saved_slices::{FILE, SavedSlices};
use tf_checkpoint::Checkpoint;

/// What a file says, as text that differs where anything of it does: tensors by name with all their bits.
type Contents = BTreeMap<String, String>;

/// How many changes had which effect.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    tried: usize,
    refused: usize,
    harmless: usize,
    /// Read without an error, as something else.
    silent: Vec<usize>,
}

fn golden(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Reading a small file takes a millisecond or two.
const SLOW: Duration = Duration::from_secs(20);

/// Tries every change of `bytes` on `read`, which takes a whole file.
fn sweep(what: &str, bytes: &[u8], read: impl Fn(&[u8]) -> Result<Contents, String>) -> Counts {
    let full = std::env::var_os("GATEWISE_SWEEP").is_some_and(|v| v == "full");
    let before = read(bytes).unwrap_or_else(|e| panic!("{what} is right: {e}"));
    let mut counts = Counts::default();
    let mut one = |at: usize, changed: &[u8]| {
        let timed = || {
            let start = Instant::now();
            let outcome = catch_unwind(std::panic::AssertUnwindSafe(|| read(changed)));
            (outcome.unwrap_or_else(|_| panic!("{what}: panic after a change at byte {at}")), start.elapsed())
        };
        let (outcome, mut took) = timed();
        // Again, as the machine may have been busy with something else.
        if took > SLOW {
            took = timed().1;
        }
        assert!(took <= SLOW, "{what}: {took:?} after a change at byte {at}");
        counts.tried += 1;
        match outcome {
            Err(message) => {
                assert!(!message.is_empty());
                counts.refused += 1;
            }
            Ok(after) if after == before => counts.harmless += 1,
            Ok(_) => counts.silent.push(at),
        }
    };
    let mut changed = bytes.to_vec();
    for at in 0..bytes.len() {
        for bit in (0..8).filter(|bit| full || *bit == (at * 5 + at / 8) % 8) {
            changed[at] ^= 1 << bit;
            one(at, &changed);
            changed[at] ^= 1 << bit;
        }
    }
    for length in 0..bytes.len() {
        one(length, &bytes[..length]);
    }
    println!(
        "{what}: {} bytes, {} changes tried, {} refused, {} harmless, {} silent",
        bytes.len(),
        counts.tried,
        counts.refused,
        counts.harmless,
        counts.silent.len()
    );
    counts
}

/// A folder in memory where there is one.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

fn tensors(path: &Path) -> Result<Contents, String> {
    let checkpoint = Checkpoint::open(path).map_err(|e| e.to_string())?;
    let read = |name: &String| {
        let tensor = checkpoint.read(name).map_err(|e| e.to_string())?;
        Ok((name.clone(), format!("{} {:?} {:?}", tensor.dtype(), tensor.shape(), tensor.bytes())))
    };
    checkpoint.variables().iter().map(|v| read(&v.name)).collect()
}

/// One file of a checkpoint is changed, the others stay.
fn checkpoint(what: &str, files: &[(String, Vec<u8>)], changed: &str, open: &str) -> Counts {
    let folder = folder();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    let (path, open): (PathBuf, PathBuf) = (folder.path().join(changed), folder.path().join(open));
    let (_, bytes) = files.iter().find(|(name, _)| name == changed).expect("one of the files");
    sweep(&format!("{what}, {changed}"), bytes, |bytes| {
        std::fs::write(&path, bytes).expect("a file");
        tensors(&open)
    })
}

fn keras(bytes: &[u8]) -> Result<Contents, String> {
    let file = keras_file::decode(bytes.to_vec()).map_err(|e| e.to_string())?;
    let mut contents = Contents::new();
    for (n, layer) in file.layers.iter().enumerate() {
        contents.insert(format!("layer {n} {}", layer.name), format!("{:?}", layer.kind));
    }
    contents.insert("others".to_owned(), format!("{:?}", file.other_layers));
    contents.insert("version".to_owned(), format!("{:?}", file.keras_version));
    Ok(contents)
}

#[test]
fn a_v2_checkpoint_is_never_read_as_another() {
    let basic = || {
        let data = "model.ckpt.data-00000-of-00001";
        let files = ["model.ckpt.index", data].map(|f| (f.to_owned(), golden(&format!("basic/{f}"))));
        files.to_vec()
    };
    for (what, files) in [("golden V2", basic()), ("V2", Bundle::lstm().files())] {
        for changed in [INDEX, DATA] {
            let counts = checkpoint(what, &files, changed, INDEX);
            assert_eq!(counts.silent, [0; 0], "{what} {changed}");
        }
    }
}

#[test]
fn a_v1_checkpoint_is_never_read_as_another() {
    let golden = vec![(FILE.to_owned(), golden("basic_v1/model.ckpt"))];
    for (what, files) in [("golden V1", golden), ("V1", SavedSlices::lstm().files())] {
        assert_eq!(checkpoint(what, &files, FILE, FILE).silent, [0; 0], "{what}");
    }
}

#[test]
fn a_keras_archive_is_never_read_as_another() {
    for file in ["basic/keras2/model.keras", "basic/keras3/model.keras"] {
        assert_eq!(sweep(file, &golden(file), keras).silent, [0; 0], "{file}");
    }
}

/// HDF5 as Keras writes it has no checksums. What is silent lies in bytes that docs/reliability.md lists.
#[test]
fn hdf5_is_read_or_refused_and_the_uncovered_bytes_are_known() {
    for file in ["basic/keras2/legacy_weights.h5", "basic/keras2/model.weights.h5"] {
        let bytes = golden(file);
        let counts = sweep(file, &bytes, keras);
        let data = element_bytes(&bytes);
        let (in_elements, elsewhere): (Vec<usize>, Vec<usize>) = counts.silent.iter().partition(|at| data[**at]);
        println!(
            "  silent: {} in {} bytes of elements, {} elsewhere",
            in_elements.len(),
            data.iter().filter(|d| **d).count(),
            elsewhere.len()
        );
        assert!(!in_elements.is_empty(), "a flip in the elements is seen by nothing, or this test looks at nothing");
    }
}

/// Which bytes are elements: the float32 weights of the file, found where they lie.
fn element_bytes(file: &[u8]) -> Vec<bool> {
    let mut marked = vec![false; file.len()];
    let decoded = keras_file::decode(file.to_vec()).expect("a golden file");
    for lstm in decoded.layers.iter().flat_map(|l| l.kind.lstms()) {
        for array in [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()].into_iter().flatten() {
            let bytes: Vec<u8> = array.data.iter().flat_map(|v| v.to_le_bytes()).collect();
            let at = file.windows(bytes.len()).position(|w| w == bytes).expect("contiguous elements");
            marked[at..at + bytes.len()].fill(true);
        }
    }
    marked
}
