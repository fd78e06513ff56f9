//! A disk that fails at every call in turn: an error each time, and never other values.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use disk::{Disk, Fault, FaultySystem};
use tf_checkpoint::{Checkpoint, Error};

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(case)
}

/// Everything that a checkpoint says: names, shapes, digests of every value read and streamed, graph and objects.
fn everything(disk: &Disk, path: &Path) -> Result<String, Error> {
    let checkpoint = Checkpoint::open_on(disk, path)?;
    let mut all = format!("{:?}\n{:?}\n", checkpoint.files(), checkpoint.format());
    for variable in checkpoint.variables() {
        let streamed = checkpoint.sha256(&variable.name)?;
        assert_eq!(streamed, checkpoint.read(&variable.name)?.sha256());
        all += &format!("{variable:?} {streamed}\n");
    }
    all += &format!("{:?}\n{:?}\n", checkpoint.graph()?, checkpoint.objects()?);
    Ok(all)
}

#[test]
fn every_call_to_the_disk_may_fail() {
    for (case, least) in [
        ("basic", 40),
        ("basic/model.ckpt", 40),
        ("basic_v1", 30),
        ("sharded", 40),
        ("saved_model/saved_model", 40),
        ("saved_model/frozen.pb", 20),
        ("graphs/tf215_cf2", 40),
    ] {
        let path = golden(case);
        let right = everything(&Disk::new(), &path).unwrap_or_else(|e| panic!("{case}: {e}"));
        let (disk, calls) = FaultySystem::disk(Fault::Error, usize::MAX);
        assert_eq!(everything(&disk, &path).unwrap(), right);
        let total = calls.load(Ordering::Relaxed);
        assert!(total >= least, "{case}: {total} calls");
        let mut ended = 0;
        for at in 0..total {
            let error = everything(&FaultySystem::disk(Fault::Error, at).0, &path).expect_err(case);
            assert!(matches!(error, Error::Io { .. }), "{case}, call {at}: {error}");
            let short = everything(&FaultySystem::disk(Fault::Short, at).0, &path);
            assert_eq!(short.unwrap(), right, "{case}, call {at}: a short read is read on");
            match everything(&FaultySystem::disk(Fault::End, at).0, &path) {
                Ok(all) => assert_eq!(all, right, "{case}, call {at}"),
                Err(_) => ended += 1,
            }
        }
        assert!(ended >= 3, "{case}: {ended} of {total} calls are reads that matter");
    }
}
