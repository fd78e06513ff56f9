//! Results on stdout, and files that appear whole or not at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::CliError;

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
    let mut text = serde_json::to_string_pretty(document).map_err(|e| CliError::Stdout(e.into()))?;
    text.push('\n');
    print(&text)
}

/// Writes a file under a temporary name beside its place, then renames it: at no moment is there a partial file of
/// that name, and an old one stays until the new one is whole.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::File { doing: "writing", file: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".gatewise-").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    make_readable(file.as_file()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Writes several files that count together, the last one only when all others are whole.
pub(crate) fn write_all(files: &[(PathBuf, Vec<u8>)]) -> Result<(), CliError> {
    files.iter().try_for_each(|(path, bytes)| write_whole(path, bytes))
}

/// A result must not destroy what it was made from.
pub(crate) fn refuse_to_overwrite(path: &Path, inputs: &[PathBuf]) -> Result<(), CliError> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    if inputs.iter().any(|input| input.canonicalize().is_ok_and(|i| i == real)) {
        return Err(CliError::OutputIsInput(path.to_owned()));
    }
    Ok(())
}

/// A temporary file is private to its owner; a result should be as readable as any other file.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, read in pieces.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { doing: "reading", file: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
