//! Every input that a fuzzer found worth keeping, and every file that once broke a reader, on the same entry points.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostile::targets::targets;

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a folder entry").path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

#[test]
fn seeds_and_regressions_do_no_harm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut total = 0;
    for target in targets() {
        let mut inputs = files_of(&root.join("../../fuzz/corpus").join(target.name));
        assert!(
            !inputs.is_empty(),
            "fuzz/corpus/{} is empty: python fuzz/make_seeds.py makes first inputs",
            target.name
        );
        inputs.extend(files_of(&root.join("files").join(target.name)));
        total += inputs.len();
        let (mut read, mut slowest) = (0, Duration::ZERO);
        for path in inputs {
            let bytes = std::fs::read(&path).expect("a committed file");
            let begun = Instant::now();
            // The name of the file is what a failure must say.
            let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
            let Ok(is_read) = outcome else { panic!("{} panicked on {}", target.name, path.display()) };
            read += usize::from(is_read);
            slowest = slowest.max(begun.elapsed());
        }
        // A target that refuses everything would show nothing.
        assert!(read > 0, "{}: no input is read as a file of its kind", target.name);
        println!("{}: {read} are read, the slowest took {} ms", target.name, slowest.as_millis());
    }
    println!("{total} inputs");
}
