//! Bundles: the smallest part of a comparison that shows why it did not pass, in a folder of its own, to be repeated
//! elsewhere on a CPU.

mod choose;
mod file;
mod replay;

use std::path::Path;

use parity::Verdict;

pub(crate) use replay::run as replay;

use crate::args;
use crate::error::CliError;
use crate::interrupt;
use crate::verify::Judged;

/// A bundle is a new folder: nothing that stands there is replaced.
pub(crate) fn refuse_existing(folder: &Path) -> Result<(), CliError> {
    match folder.symlink_metadata() {
        Ok(_) => Err(CliError::Bundle {
            folder: folder.to_owned(),
            problem: "it exists already, and a bundle is written into a new folder".to_owned(),
        }),
        Err(_) => Ok(()),
    }
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
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = {
        // Held while the folder is not yet listed, so that a signal in between does not leave it behind.
        let mut unfinished = interrupt::unfinished();
        let temporary = tempfile::Builder::new().prefix(".gatewise-").tempdir_in(parent).map_err(failed)?;
        unfinished.insert(temporary.path().to_owned());
        temporary
    };
    crate::output::write_whole(&temporary.path().join(file::NAME), bytes)?;
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
