//! Results on stdout, and files that appear whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use disk::Disk;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::CliError;
use crate::interrupt;

/// Writes text to stdout. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
        _ => Ok(()),
    }
}

/// Writes a document to stdout as JSON.
pub(crate) fn print_json(document: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(document).map_err(|e| CliError::Stdout(e.into()))?;
    print(&format!("{}\n", report::printable_json(&text)))
}

/// Writes a file under a temporary name beside its place, then renames it: at no moment is there a partial file of
/// that name, and an old one stays until the new one is whole.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    publish(vec![Unfinished::write(path, bytes)?])
}

/// Writes several files that count together, and renames them only when all are whole, the last one last.
pub(crate) fn write_all(files: &[(PathBuf, Vec<u8>)]) -> Result<(), CliError> {
    publish(files.iter().map(|(path, bytes)| Unfinished::write(path, bytes)).collect::<Result<_, _>>()?)
}

/// A result must not destroy what it was made from, and must have a place: better to say so before the work than after.
pub(crate) fn refuse_to_overwrite(path: &Path, inputs: &[PathBuf]) -> Result<(), CliError> {
    if inputs.iter().any(|input| is_same(path, input)) {
        return Err(CliError::OutputIsInput(path.to_owned()));
    }
    Unfinished::create(path).map(|_| ())
}

/// Two results need two files.
pub(crate) fn refuse_one_for_two(a: &Path, b: &Path) -> Result<(), CliError> {
    if a == b || is_same(a, b) { Err(CliError::OutputTwice(b.to_owned())) } else { Ok(()) }
}

/// Whether both names are of one file, through links of either kind.
fn is_same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (a.metadata(), b.metadata()) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    matches!((resolved(a), resolved(b)), (Some(a), Some(b)) if a == b)
}

/// The one name of a file that is there or whose folder is.
fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| Some(folder_of(path).canonicalize().ok()?.join(path.file_name()?)))
}

/// A file under its temporary name, which goes unless the file gets its own.
struct Unfinished {
    /// The name as given.
    path: PathBuf,
    /// The same, links followed: a link stays a link.
    place: PathBuf,
    /// Tidied up here, together with the list of such files, and not by itself.
    file: NamedTempFile,
    /// It has its own name.
    named: bool,
}

impl Unfinished {
    /// An empty file beside the place of `path`.
    fn create(path: &Path) -> Result<Unfinished, CliError> {
        let failed = |source| CliError::File { doing: "writing", file: path.to_owned(), source };
        let place = place(path).map_err(failed)?;
        let folder = folder_of(&place);
        // Held while the file is not yet listed, so that a signal in between does not leave it behind.
        let mut unfinished = interrupt::unfinished();
        let mut builder = with_usual_permissions();
        let file = builder.prefix(".gatewise-").disable_cleanup(true).tempfile_in(folder).map_err(failed)?;
        unfinished.insert(file.path().to_owned());
        Ok(Unfinished { path: path.to_owned(), place, file, named: false })
    }

    /// A whole file, on the disk.
    fn write(path: &Path, bytes: &[u8]) -> Result<Unfinished, CliError> {
        let mut made = Unfinished::create(path)?;
        let failed = |source| CliError::File { doing: "writing", file: path.to_owned(), source };
        made.file.as_file_mut().write_all(bytes).map_err(failed)?;
        // A file that is there keeps who may read it.
        if let Ok(there) = made.place.metadata() {
            made.file.as_file().set_permissions(there.permissions()).map_err(failed)?;
        }
        made.file.as_file().sync_all().map_err(failed)?;
        Ok(made)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut unfinished = interrupt::unfinished();
        if !self.named {
            // If this fails too, an error is on its way already.
            let _gone = std::fs::remove_file(self.file.path());
        }
        unfinished.remove(self.file.path());
    }
}

/// Gives files their names, in this order.
fn publish(mut files: Vec<Unfinished>) -> Result<(), CliError> {
    let mut folders = vec![];
    {
        // No signal ends the program between two files that count together.
        let _unfinished = interrupt::unfinished();
        for made in &mut files {
            std::fs::rename(made.file.path(), &made.place).map_err(|source| CliError::File {
                doing: "writing",
                file: made.path.clone(),
                source,
            })?;
            made.named = true;
            folders.push(folder_of(&made.place).to_owned());
        }
    }
    folders.dedup();
    for folder in folders {
        // The names too should survive a loss of power. Some file systems cannot promise it, and the files are there.
        let _promised = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// Where a file of this name is, or will be.
fn place(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Ok(place) if place.is_file() => Ok(place),
        Ok(place) if place.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Err(io::Error::other("it is a device or a pipe, which cannot be replaced by a whole file")),
        Err(_) if path.is_symlink() => Err(io::Error::other("it is a symbolic link to nothing")),
        // Not there yet. What else is wrong with the name shows when the file is created.
        Err(_) => Ok(path.to_owned()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A temporary file is private to its owner; a result is as readable as any other file that its owner makes.
fn with_usual_permissions() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less what the umask takes away.
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder
}

/// Reads a file whole, as long as it is no larger than `limit`.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let disk = Disk::new();
    if disk.open(path)?.len() > limit {
        let source = io::Error::other(format!("it has more than the {limit} bytes that such a file can have"));
        return Err(CliError::File { doing: "reading", file: path.to_owned(), source });
    }
    Ok(disk.read(path)?)
}

/// Reads a text of a few lines, such as a key.
pub(crate) fn read_small_text(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { doing: "reading", file: path.to_owned(), source };
    String::from_utf8(read_at_most(path, 64 << 10)?).map_err(|_| failed(io::Error::other("it is not text")))
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
