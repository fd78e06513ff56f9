use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn what_is_hashed_is_what_was_read() {
    let (_folder, path) = file(&vec![7; 3 * CHUNK + 5]);
    let disk = Disk::new();
    let bytes = disk.read(&path).unwrap();
    assert_eq!(bytes, std::fs::read(&path).unwrap());
    let mut told = 0;
    let digest = disk.sha256(&path, |n| told += n).unwrap();
    assert_eq!(told, bytes.len() as u64);
    let expected: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digest, expected);
}

#[test]
fn every_change_is_seen_and_said() {
    let change = |what: &str, change: &dyn Fn(&Path)| {
        let (folder, path) = file(b"0123456789");
        let disk = Disk::patient();
        disk.read(&path).unwrap();
        change(&path);
        for result in [disk.read(&path).map(|_| ()), disk.sha256(&path, |_| ()).map(|_| ())] {
            let error = result.expect_err(what).to_string();
            assert!(error.contains(what) && error.contains("f: the file changed while it was in use"), "{error}");
        }
        drop(folder);
    };
    change("it had 10 bytes, and has 11", &|path| std::fs::write(path, b"0123456789a").unwrap());
    change("it was written to, and has 10 bytes as before", &|path| std::fs::write(path, b"012345678X").unwrap());
    change("another file took its name", &|path| {
        let other = path.with_extension("other");
        std::fs::write(&other, b"0123456789").unwrap();
        std::fs::rename(other, path).unwrap();
    });
    // A program that sets the time back cannot set back when it did.
    change("it was written to, and has 10 bytes as before", &|path| {
        let before = std::fs::metadata(path).unwrap().modified().unwrap();
        std::fs::write(path, b"012345678X").unwrap();
        std::fs::File::options().append(true).open(path).unwrap().set_modified(before).unwrap();
    });
}

#[test]
fn a_change_right_after_the_last_one_is_seen_by_the_patient() {
    // Linux keeps finer times from 6.13 on; before, a write often falls into the tick of the one before.
    for round in 0u8..30 {
        let (_folder, path) = file(&[round; 9]);
        let disk = Disk::patient();
        disk.read(&path).unwrap();
        std::fs::write(&path, [round.wrapping_add(1); 9]).unwrap();
        assert!(matches!(disk.read(&path), Err(Error::Changed { .. })), "round {round}");
    }
}

#[test]
fn a_change_within_a_read_is_seen() {
    let (_folder, path) = file(&vec![1; 2 * CHUNK]);
    let disk = Disk::patient();
    let changed = disk.sha256(&path, |_| std::fs::write(&path, vec![2; 2 * CHUNK]).unwrap());
    assert!(matches!(changed, Err(Error::Changed { .. })), "{changed:?}");
    let (_folder, path) = file(&vec![1; 2 * CHUNK]);
    let shrunk = Disk::patient().sha256(&path, |_| std::fs::write(&path, [2; 5]).unwrap());
    assert!(matches!(shrunk, Err(Error::Changed { .. })), "{shrunk:?}");
}

#[test]
fn a_fresh_file_is_waited_for_and_an_old_one_is_not() {
    let tick = Duration::from_millis(20);
    let fresh = (0..50).any(|_| {
        let (_folder, path) = file(b"fresh");
        Stamp::new(&std::fs::metadata(&path).unwrap()).settles_in().is_some_and(|wait| wait <= tick)
    });
    assert!(fresh);
    let (_folder, path) = file(b"old");
    std::thread::sleep(tick * 2);
    assert_eq!(Stamp::new(&std::fs::metadata(&path).unwrap()).settles_in(), None);
}

#[test]
fn every_call_may_fail_and_short_reads_are_read_on() {
    let (_folder, path) = file(&vec![3; CHUNK + 1]);
    let work = |disk: &Disk| -> Result<(Vec<u8>, String), Error> {
        assert!(disk.list(path.parent().unwrap())?.contains(&path));
        Ok((disk.read(&path)?, disk.sha256(&path, |_| ())?))
    };
    let right = work(&Disk::new()).unwrap();
    let (disk, calls) = FaultySystem::disk(Fault::Error, usize::MAX);
    assert_eq!(work(&disk).unwrap(), right);
    let total = calls.load(Ordering::Relaxed);
    assert!(total >= 10, "{total} calls");
    let (mut failed, mut ended) = (0, 0);
    for at in 0..total {
        assert_eq!(work(&FaultySystem::disk(Fault::Short, at).0).unwrap(), right, "call {at}");
        failed += usize::from(work(&FaultySystem::disk(Fault::Error, at).0).is_err());
        match work(&FaultySystem::disk(Fault::End, at).0) {
            Ok(result) => assert_eq!(result, right),
            Err(_) => ended += 1,
        }
    }
    assert_eq!(failed, total, "no error is swallowed");
    assert!(ended >= 3, "{ended} reads ended early");
}

#[test]
fn folders_and_missing_files_are_told_apart() {
    let (folder, path) = file(b"x");
    let disk = Disk::new();
    assert!(disk.is_file(&path).unwrap() && !disk.is_file(folder.path()).unwrap());
    assert!(!disk.is_file(&path.join("below a file")).unwrap() && !disk.is_file(Path::new("no\0name")).unwrap());
    let kind = |path: &Path| match disk.open(path) {
        Err(Error::Io { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(folder.path()), ErrorKind::IsADirectory);
    assert_eq!(kind(&folder.path().join("gone")), ErrorKind::NotFound);
}
