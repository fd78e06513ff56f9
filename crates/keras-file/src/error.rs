//! What can go wrong when a Keras file is read or written, and in which file.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error as ThisError;

/// A [`Problem`] together with what was being done, and to which file.
#[derive(Debug)]
pub struct Error {
    doing: Doing,
    // Boxed, as a `Result` is as large as its larger half.
    problem: Box<Problem>,
}

#[derive(Debug)]
enum Doing {
    Reading(PathBuf),
    ReadingArrays(PathBuf),
    Decoding,
    DecodingArrays,
    Encoding,
    Replacing,
}

impl Error {
    pub(crate) fn decoding(problem: Problem) -> Self {
        Self { doing: Doing::Decoding, problem: Box::new(problem) }
    }

    pub(crate) fn encoding(problem: Problem) -> Self {
        Self { doing: Doing::Encoding, problem: Box::new(problem) }
    }

    pub(crate) fn replacing(problem: Problem) -> Self {
        Self { doing: Doing::Replacing, problem: Box::new(problem) }
    }

    pub(crate) fn decoding_arrays(problem: Problem) -> Self {
        Self { doing: Doing::DecodingArrays, problem: Box::new(problem) }
    }

    pub(crate) fn in_arrays(problem: Problem, file: &Path) -> Self {
        Self::decoding_arrays(problem).in_file(file)
    }

    /// The same problem, known to be in `file`.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        let doing = match self.doing {
            Doing::DecodingArrays | Doing::ReadingArrays(_) => Doing::ReadingArrays(file.to_path_buf()),
            _ => Doing::Reading(file.to_path_buf()),
        };
        Self { doing, ..self }
    }

    /// The file that was read; none for bytes in memory.
    pub fn file(&self) -> Option<&Path> {
        match &self.doing {
            Doing::Reading(file) | Doing::ReadingArrays(file) => Some(file),
            Doing::Decoding | Doing::DecodingArrays | Doing::Encoding | Doing::Replacing => None,
        }
    }

    /// What went wrong.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What went wrong, by value.
    pub fn into_problem(self) -> Problem {
        *self.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.doing {
            Doing::Reading(file) => write!(f, "reading Keras file {}", file.display()),
            Doing::ReadingArrays(file) => write!(f, "reading arrays from {}", file.display()),
            Doing::Decoding => write!(f, "decoding a Keras file"),
            Doing::DecodingArrays => write!(f, "decoding arrays"),
            Doing::Encoding => write!(f, "encoding a Keras file"),
            Doing::Replacing => write!(f, "replacing arrays in a Keras file"),
        }?;
        write!(f, ": {}", self.problem)
    }
}

impl StdError for Error {
    /// The cause below the problem; the problem itself is already part of the message.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.problem.source()
    }
}

/// What went wrong, without the file's name.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Problem {
    /// The operating system refused the read.
    #[error("cannot read the file")]
    Io(#[source] std::io::Error),

    /// Not one of the formats that weights come in.
    #[error(
        "expected an HDF5 file (.h5, .weights.h5), a zip archive (.keras, .npz) or .safetensors, found {found}; \
         is this a Keras file?"
    )]
    NotKeras {
        /// The first bytes, or "an empty file".
        found: String,
    },

    /// No zip archive, or one that is no `.npz`.
    #[error("expected a zip archive of .npy arrays (.npz, from numpy.savez), found {found}")]
    NotNpz {
        /// The first bytes, "an empty file", or a member.
        found: String,
    },

    /// An array of a `.npz` or `.safetensors` file is not as it must be.
    #[error("array {array:?}: expected {expected}, found {found}")]
    Array {
        /// Name of the array, or of the layer it should belong to.
        array: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },

    /// The arrays of a `.safetensors` file do not fill it, each byte once.
    #[error("safetensors, {place}: expected {expected}, found {found}; the file is damaged or cut off")]
    Safetensors {
        /// Array, or part of the file.
        place: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },

    /// HDF5, but laid out like no Keras file.
    #[error(
        "expected a Keras layout (attribute layer_names or model_config, or group model_weights, \
         layers or vars), found an HDF5 file with root groups [{groups}]"
    )]
    UnknownLayout {
        /// Names of the root groups, shortened.
        groups: String,
    },

    /// The HDF5 structure is damaged or uses a feature that is not supported.
    #[error("cannot read HDF5 object {object:?}; the file is damaged or uses an unsupported feature")]
    Hdf5 {
        /// Path inside the HDF5 file.
        object: String,
        /// What the HDF5 reader says.
        #[source]
        source: hdf5_pure::Error,
    },

    /// A link has a name that HDF5 does not allow.
    #[error(
        "HDF5 group {group:?}: expected link names of at least one character, without \"/\", found {name:?}; the file is damaged"
    )]
    LinkName {
        /// Path of the group.
        group: String,
        /// The name.
        name: String,
    },

    /// A layer or an array has a name that could forge a line of whatever it is printed in.
    #[error("expected names on one line, found {name:?}; no program is known to write such a file")]
    Name {
        /// The name.
        name: String,
    },

    /// The file ends before its HDF5 content does.
    #[error("expected {expected} bytes of HDF5, found {found}; the file is cut off, copy it again")]
    Truncated {
        /// Length that the superblock states.
        expected: u64,
        /// Length of the file.
        found: u64,
    },

    /// The HDF5 writer refused the content.
    #[error("cannot build the HDF5 content")]
    Hdf5Write(#[source] hdf5_pure::Error),

    /// Something that must be there is not.
    #[error("{place}: expected {expected}, found nothing; was the file written completely?")]
    Missing {
        /// Where in the file.
        place: String,
        /// What should be there.
        expected: String,
    },

    /// An attribute is there with another type or value than expected.
    #[error("attribute {name:?} of {object:?}: expected {expected}, found {found}")]
    Attribute {
        /// HDF5 object that carries the attribute.
        object: String,
        /// Attribute name.
        name: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },

    /// The arrays of an LSTM do not fit together.
    #[error(
        "layer {layer:?}: expected an LSTM's arrays, kernel [inputs, 4*units], \
         recurrent_kernel [units, 4*units] and bias [4*units]{with_units}, found {found}"
    )]
    Shape {
        /// Layer (and direction) the arrays belong to.
        layer: String,
        /// What else is known, as ` with units=8` where a configuration says so, else empty.
        with_units: String,
        /// The shapes found, with names.
        found: String,
    },

    /// The gates of an LSTM of Keras 1, each an array of its own, are not of one size.
    #[error(
        "layer {layer:?}: expected the gates i, f, c and o in arrays of one shape, as Keras 1 saves them, found {found}"
    )]
    Keras1Gates {
        /// Layer (and direction) the arrays belong to.
        layer: String,
        /// The shapes found.
        found: String,
    },

    /// An array has an element type that is no float.
    #[error("dataset {dataset:?}: expected float32, float16 or float64 elements, found {found}")]
    Dtype {
        /// Path of the dataset.
        dataset: String,
        /// Its element type.
        found: String,
    },

    /// A dataset did not deliver as many bytes as its shape says.
    #[error("dataset {dataset:?}: expected {expected} bytes from its shape {shape:?}, found {found}")]
    Length {
        /// Path of the dataset.
        dataset: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Bytes the shape needs.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },

    /// Something claims to be larger than the file could honestly hold.
    #[error(
        "{what}: expected at most {limit} {unit}, found {found}; \
         the file is damaged or made to exhaust memory"
    )]
    TooLarge {
        /// Which thing.
        what: String,
        /// The limit.
        limit: u64,
        /// Unit of both numbers.
        unit: &'static str,
        /// What the file claims.
        found: String,
    },

    /// The model configuration and the weights disagree.
    #[error("layer {layer:?}: the configuration says {configured}, the weights hold {found}")]
    ConfigMismatch {
        /// Layer name.
        layer: String,
        /// What the configuration says.
        configured: String,
        /// What the weights hold.
        found: String,
    },

    /// A JSON document cannot be parsed.
    #[error("cannot parse {document}")]
    Json {
        /// Which document.
        document: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },

    /// A JSON document parses but says something unexpected.
    #[error("model configuration, {place}: expected {expected}, found {found}")]
    Config {
        /// Layer, or "model".
        place: String,
        /// What should be there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
    },

    /// The zip container is damaged.
    #[error("cannot read zip member {member:?}; the archive is damaged or uses an unsupported feature")]
    Zip {
        /// Member, or "central directory".
        member: String,
        /// What the zip reader says.
        #[source]
        source: zip::result::ZipError,
    },

    /// The content of a zip member cannot be read (wrong checksum, broken compression).
    #[error("cannot read the content of zip member {member:?}; the archive is damaged")]
    ZipContent {
        /// Member name.
        member: String,
        /// What the zip reader says.
        #[source]
        source: std::io::Error,
    },

    /// The zip writer refused the content.
    #[error("cannot build the zip archive")]
    ZipWrite(#[source] zip::result::ZipError),

    /// Two zip members have one name, so that two readers may see two models.
    #[error(
        "expected each zip member once, found a name twice; \
         the archive was put together by hand or tampered with"
    )]
    DuplicateMember,

    /// A layer cannot be written as asked.
    #[error("layer {layer:?}: expected {expected}, found {found}")]
    Unwritable {
        /// Layer name.
        layer: String,
        /// What the target format needs.
        expected: String,
        /// What was given.
        found: String,
    },

    /// An array of a file cannot be replaced.
    #[error("{what}: expected {expected}, found {found}")]
    Unreplaceable {
        /// Which array, or part of the file.
        what: String,
        /// What would be needed.
        expected: String,
        /// What is there, or what was given.
        found: String,
    },

    /// HDF5 was asked for.
    #[error("expected an HDF5 file, found {found}")]
    NotHdf5 {
        /// The first bytes, or "an empty file".
        found: String,
    },

    /// Nothing to write.
    #[error("expected at least one chain of at least one layer, found an empty one")]
    Empty,
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
