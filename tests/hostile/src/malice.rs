//! Files with right checksums and wrong contents: each breaks one thing in a file that is right otherwise.

mod bundles;
mod graphs;
mod keras;
mod names;
mod slices;
mod tables;

use std::path::{Path, PathBuf};

/// One hostile input.
pub struct Case {
    /// What is wrong with it.
    pub name: &'static str,
    /// Its files by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// The one to open.
    pub open: &'static str,
    /// What must come of it.
    pub outcome: Outcome,
}

/// What must come of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is refused, with a message that has these words.
    Refused(&'static str),
    /// It is unusual but right: it is read.
    Read,
}

impl Case {
    fn new(name: &'static str, files: Vec<(String, Vec<u8>)>, open: &'static str, outcome: Outcome) -> Case {
        Case { name, files, open, outcome }
    }

    fn one(name: &'static str, file: &'static str, bytes: Vec<u8>, outcome: Outcome) -> Case {
        Case { name, files: vec![(file.to_owned(), bytes)], open: file, outcome }
    }

    /// Writes the files into a folder; returns the path to open.
    pub fn write(&self, folder: &Path) -> PathBuf {
        for (name, bytes) in &self.files {
            std::fs::write(folder.join(name), bytes).expect("a file in a new folder");
        }
        folder.join(self.open)
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

/// Every hostile input.
pub fn cases() -> Vec<Case> {
    let mut all = vec![];
    all.extend(bundles::cases());
    all.extend(slices::cases());
    all.extend(tables::cases());
    all.extend(graphs::cases());
    all.extend(names::cases());
    all.extend(keras::cases());
    all
}

/// The right inputs that the others are made from. Where these were refused, nothing would be shown.
pub fn right() -> Vec<Case> {
    let v2 = crate::bundle::Bundle::lstm().files();
    let v1 = crate::saved_slices::SavedSlices::lstm().files();
    vec![
        Case::new("a right V2 checkpoint", v2, crate::bundle::INDEX, Outcome::Read),
        Case::new("a right V1 checkpoint", v1, crate::saved_slices::FILE, Outcome::Read),
        Case::new("right slices", slices::right().files(), crate::bundle::INDEX, Outcome::Read),
        keras::right_archive(),
        graphs::right(),
    ]
}
