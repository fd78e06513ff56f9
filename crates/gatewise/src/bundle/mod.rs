//! Bundles: the smallest part of a comparison that shows why it did not pass, in a folder of its own, to be repeated
//! elsewhere on a CPU.

mod choose;
mod file;
mod replay;

use std::path::Path;

use parity::Verdict;
use tempfile::TempDir;

pub(crate) use replay::run as replay;

use crate::error::CliError;
use crate::verify::Judged;
use crate::{args, interrupt, output};

/// A bundle is a new folder, where nothing stands that would be replaced, and needs a place: better to say so before
/// the work than after.
pub(crate) fn refuse_existing(folder: &Path) -> Result<(), CliError> {
    if folder.symlink_metadata().is_ok() {
        let problem = "it exists already, and a bundle is written into a new folder".to_owned();
        return Err(CliError::Bundle { folder: folder.to_owned(), problem });
    }
    // No signal comes before it is gone again.
    let _unfinished = interrupt::unfinished();
    temporary_beside(folder).map(drop)
}

/// An empty folder beside the place of `folder`, which goes when it is dropped.
fn temporary_beside(folder: &Path) -> Result<TempDir, CliError> {
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".gatewise-").tempdir_in(parent);
    made.map_err(|source| CliError::File { doing: "writing", file: folder.to_owned(), source })
}

/// Writes the bundle of a comparison that did not pass, and says where there is none.
pub(crate) fn write(args: &args::Verify, judged: &Judged, folder: &Path) -> Result<(), CliError> {
    let say = |what: &str| {
        if !args.display.look.quiet {
            eprintln!("note: {what}, so no bundle was written to {}", report::printable(&folder.display().to_string()));
        }
    };
    if judged.verdict == Verdict::Pass {
        say("the comparison passed");
        return Ok(());
    }
    match choose::smallest(args, judged)? {
        Ok(bytes) => write_folder(folder, &bytes),
        Err(why) => {
            say(&why);
            Ok(())
        }
    }
}

/// Under a temporary name beside its place, then renamed: there is never a folder of that name without its file.
fn write_folder(folder: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::File { doing: "writing", file: folder.to_owned(), source };
    let temporary = {
        // Held while the folder is not yet listed, so that a signal in between does not leave it behind.
        let mut unfinished = interrupt::unfinished();
        let temporary = temporary_beside(folder)?;
        unfinished.insert(temporary.path().to_owned());
        temporary
    };
    output::write_whole(&temporary.path().join(file::NAME), bytes).map_err(|error| match error {
        // The name that was asked for says more than the temporary one.
        CliError::File { source, .. } => failed(source),
        other => other,
    })?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let mut unfinished = interrupt::unfinished();
    std::fs::rename(temporary.path(), folder).map_err(failed)?;
    unfinished.remove(temporary.path());
    // It is no longer where it could be cleared away.
    let _ = temporary.keep();
    Ok(())
}
