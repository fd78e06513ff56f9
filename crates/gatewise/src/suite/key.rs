//! What determines the finding of a case, as one digest.

use std::path::PathBuf;

use disk::Disk;
use lanes::DeviceInfo;
use sha2::{Digest, Sha256};

use super::host::Host;
use super::plan::Case;
use crate::candidate;
use crate::store::Store;

/// The digest over the command, every file that it reads, the program and the device. `None` where a file cannot be
/// read, or the device not be opened: then there is nothing to find again.
pub(crate) fn of(case: &Case, device: Option<&DeviceInfo>, host: &Host) -> Option<String> {
    let device = device?;
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    for text in [&case.command, &host.program, &host.arithmetic] {
        add(text);
    }
    for text in [&device.name, &device.backend, &device.kind, &device.driver] {
        add(text);
    }
    let disk = Disk::new();
    for file in files(&disk, case)? {
        add(&file.display().to_string());
        add(&disk.sha256(&file, |_| ()).ok()?);
    }
    Some(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Every file that the verification reads, as it would find them now.
fn files(disk: &Disk, case: &Case) -> Option<Vec<PathBuf>> {
    let verify = &case.verify;
    let mut files = Store::open(disk, &verify.source.checkpoint).ok()?.files;
    if let Some(candidate) = &verify.candidate {
        files.extend(candidate::open(disk, candidate).ok()?.files);
    }
    files.extend(verify.inputs.iter().chain(&verify.source.map).cloned());
    Some(files)
}
