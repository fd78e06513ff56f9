//! Entry points: each takes any bytes as one kind of file, reads all that can be read, and checks what it got.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use keras_file::KerasFile;
use lstm::detect::{Given, detect};
use tempfile::TempDir;
use tf_checkpoint::{Checkpoint, CheckpointState, DType};

use crate::bundle::{self, Bundle};
use crate::map_format;

/// An entry point and its name, which is that of its fuzz target and of its folder of seeds.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads these bytes.
    pub run: fn(&[u8]),
}

/// Every entry point.
pub fn targets() -> [Target; 11] {
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
    ]
}

/// Largest input worth trying. Larger ones take time and find nothing else.
const LARGEST: usize = 1 << 20;

/// A folder in memory where there is one, for readers that open files.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Scratch {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Scratch(folder.expect("a folder for one file"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file in a new folder");
        path
    }
}

thread_local! {
    static SCRATCH: Scratch = Scratch::new();
    static BESIDE: OnceCell<(Scratch, Checkpoint)> = const { OnceCell::new() };
}

/// A table, as the index of a V2 checkpoint.
pub fn table(input: &[u8]) {
    SCRATCH.with(|s| {
        let path = s.put("table.index", input);
        if let Ok(checkpoint) = Checkpoint::open(&path) {
            read_all(&checkpoint);
        }
    });
}

/// A V2 checkpoint: index and data, as [`bundle::split`] takes them apart.
pub fn v2_bundle(input: &[u8]) {
    let Some((index, data)) = bundle::split(input) else { return };
    SCRATCH.with(|s| {
        bundle::write(s.0.path(), index, data);
        if let Ok(checkpoint) = Checkpoint::open(&s.path(bundle::INDEX)) {
            read_all(&checkpoint);
            let _ = checkpoint.objects();
        }
    });
}

/// A V1 checkpoint.
pub fn v1_file(input: &[u8]) {
    SCRATCH.with(|s| {
        if let Ok(checkpoint) = Checkpoint::open(&s.put("v1.ckpt", input)) {
            read_all(&checkpoint);
        }
    });
}

/// A `.meta` file beside a right checkpoint, and the LSTMs that the two hold.
pub fn meta_graph(input: &[u8]) {
    BESIDE.with(|beside| {
        let (scratch, checkpoint) = beside.get_or_init(|| {
            let scratch = Scratch::new();
            let right = Bundle::lstm();
            bundle::write(scratch.0.path(), &right.index(), &right.data);
            scratch.put("model.ckpt.meta", &[]);
            let checkpoint = Checkpoint::open(&scratch.path("model.ckpt")).expect("a right checkpoint");
            (scratch, checkpoint)
        });
        scratch.put("model.ckpt.meta", input);
        if let Ok(graph) = checkpoint.graph() {
            let _ = detect(checkpoint.variables(), graph.as_ref(), &Given::default());
        }
    });
}

/// A frozen graph.
pub fn frozen_graph(input: &[u8]) {
    SCRATCH.with(|s| {
        if let Ok(checkpoint) = Checkpoint::open(&s.put("frozen.pb", input)) {
            read_all(&checkpoint);
            if let Ok(graph) = checkpoint.graph() {
                let _ = detect(checkpoint.variables(), graph.as_ref(), &Given::default());
            }
        }
    });
}

/// The object graph of an otherwise right checkpoint.
pub fn object_graph(input: &[u8]) {
    let mut bundle = Bundle::empty();
    let (text, crc) = bundle::strings(&[input]);
    bundle.add_key(b"_CHECKPOINTABLE_OBJECT_GRAPH", 7, &[], &text, crc);
    for key in ["model/kernel/.ATTRIBUTES/VARIABLE_VALUE", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"] {
        bundle.add(key, 1, &[1], &[0; 4]);
    }
    SCRATCH.with(|s| {
        bundle::write(s.0.path(), &bundle.index(), &bundle.data);
        let checkpoint = Checkpoint::open(&s.path(bundle::INDEX)).expect("a right checkpoint");
        if let Ok(Some(objects)) = checkpoint.objects() {
            for (path, _) in objects.walk() {
                let _ = objects.resolve(&path);
            }
        }
    });
}

/// A `checkpoint` state file.
pub fn state_file(input: &[u8]) {
    if let Ok(state) = CheckpointState::parse(Path::new("checkpoint"), input) {
        assert!(!state.model_checkpoint_path.is_empty());
    }
}

/// An HDF5 file, as one of Keras and as one of another kind.
pub fn hdf5(input: &[u8]) {
    keras_file(input);
    SCRATCH.with(|s| {
        for array in keras_file::read_hdf5_arrays(&s.put("any.h5", input)).unwrap_or_default() {
            assert_eq!(array.shape.iter().product::<usize>(), array.data.len(), "{}", array.name);
        }
    });
}

/// A `.keras` or `.npz` archive.
pub fn archive(input: &[u8]) {
    keras_file(input);
    SCRATCH.with(|s| {
        for array in keras_file::read_arrays(&s.put("any.npz", input)).unwrap_or_default() {
            assert_eq!(array.shape.iter().product::<usize>(), array.values.len(), "{}", array.name);
        }
    });
}

/// A `.safetensors` file.
pub fn safetensors(input: &[u8]) {
    keras_file(input);
}

/// A map file.
pub fn map_file(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(map) = map_format::parse(text)
    {
        assert!(!map.lstm.is_empty() || !map.layer.is_empty());
    }
}

fn keras_file(input: &[u8]) {
    if input.len() > LARGEST {
        return;
    }
    if let Ok(file) = keras_file::decode(input.to_vec()) {
        check_arrays(&file);
    }
}

/// Arrays have as many elements as their shapes say.
fn check_arrays(file: &KerasFile) {
    for lstm in file.layers.iter().flat_map(|l| l.kind.lstms()) {
        for array in [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()].into_iter().flatten() {
            assert_eq!(array.shape.iter().product::<usize>(), array.data.len());
        }
    }
}

/// Reads every variable, in both ways, which must agree.
fn read_all(checkpoint: &Checkpoint) {
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
            Err(error) => assert!(digest.is_err() && !error.to_string().is_empty()),
        }
    }
}
