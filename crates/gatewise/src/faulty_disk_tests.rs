//! A disk that fails at every call in turn, under everything that this program reads besides TensorFlow's formats, whose
//! own tests do the same.

use std::path::Path;
use std::sync::atomic::Ordering;

use disk::{Disk, Fault, FaultySystem};

use crate::candidate;
use crate::error::CliError;
use crate::map::Map;
use crate::store::Store;

/// Everything read from a file, as source and as candidate, and its digest.
fn everything(disk: &Disk, path: &Path) -> Result<String, CliError> {
    let store = Store::open(disk, path)?;
    let mut all = format!("{:?} {:?} {:?}\n", store.format, store.known, store.notes);
    for variable in store.variables() {
        all += &format!("{variable:?} {}\n", store.sha256(&variable.name)?);
    }
    let opened = candidate::open(disk, path)?;
    let layers: Vec<_> = opened.file.layers.iter().flat_map(|l| l.kind.lstms()).collect();
    all += &format!("{} {layers:?} {:?}\n", opened.format, opened.dense);
    Ok(all + &disk.sha256(path, |_| ())?)
}

fn fails_cleanly(what: &str, work: impl Fn(&Disk) -> Result<String, CliError>) {
    let right = work(&Disk::new()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let (disk, calls) = FaultySystem::disk(Fault::Error, usize::MAX);
    assert_eq!(work(&disk).unwrap(), right, "{what}");
    let total = calls.load(Ordering::Relaxed);
    assert!(total >= 4, "{what}: {total} calls");
    for at in 0..total {
        let error = work(&FaultySystem::disk(Fault::Error, at).0).expect_err(what);
        let text = crate::error::render(&error);
        assert!(text.contains("an injected fault"), "{what}, call {at}: {text}");
        let short = work(&FaultySystem::disk(Fault::Short, at).0).unwrap_or_else(|e| panic!("{what}, call {at}: {e}"));
        assert_eq!(short, right, "{what}, call {at}");
        if let Ok(all) = work(&FaultySystem::disk(Fault::End, at).0) {
            assert_eq!(all, right, "{what}, call {at}");
        }
    }
}

#[test]
fn every_call_to_the_disk_may_fail() {
    let golden = golden::golden_dir();
    for name in ["legacy_weights.h5", "model.h5", "model.weights.h5", "model.keras"] {
        let path = golden.join("basic/keras2").join(name);
        fails_cleanly(name, |disk| everything(disk, &path));
    }
    let folder = tempfile::tempdir().unwrap();
    let layers = keras_file::read(&golden.join("basic/keras2/model.keras")).unwrap().layers;
    for (name, target) in [("w.npz", keras_file::Target::Npz), ("w.safetensors", keras_file::Target::Safetensors)] {
        let path = folder.path().join(name);
        std::fs::write(&path, keras_file::encode(std::slice::from_ref(&layers), target).unwrap()).unwrap();
        fails_cleanly(name, |disk| everything(disk, &path));
    }
    let map = folder.path().join("map.toml");
    std::fs::write(&map, "[[lstm]]\nname = \"a\"\nkeras = \"b\"\n").unwrap();
    fails_cleanly("a map", |disk| Ok(format!("{:?}", Map::read(disk, &map)?)));
}
