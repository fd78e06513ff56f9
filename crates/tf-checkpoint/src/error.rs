//! What can go wrong while reading a checkpoint, or before writing one.

use std::path::PathBuf;

use crate::DType;

/// A checkpoint that could not be found, trusted or understood.
///
/// Messages are lower-case fragments that read well after "error: "; a hint, where there is one, is on its own line.
/// Offsets and lengths are in bytes from the start of the named file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {doing} failed")]
    Io {
        /// What was being done, as a noun: "reading".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason it gave.
        source: std::io::Error,
    },
    /// Nothing that looks like a checkpoint is at the given path.
    #[error("{path}: no checkpoint here; looked for {}", list(looked_for))]
    NotFound {
        /// The path as given.
        path: PathBuf,
        /// Every name that would have been accepted.
        looked_for: Vec<PathBuf>,
    },
    /// The path could mean more than one checkpoint.
    #[error("{path}: expected one checkpoint, found {}: {}\nhint: name one of them", found.len(), list(found))]
    Ambiguous {
        /// The path as given.
        path: PathBuf,
        /// The prefixes of the checkpoints that it could mean, sorted.
        found: Vec<PathBuf>,
    },
    /// A file that belongs to the checkpoint is missing.
    #[error(
        "{needed_by}: expected its file {looked_for} beside it, found none\nhint: copy all files of the checkpoint together"
    )]
    MissingFile {
        /// The file that says that there must be another.
        needed_by: PathBuf,
        /// The file that is not there.
        looked_for: PathBuf,
    },
    /// A `checkpoint` state file that is not the text that TensorFlow writes.
    #[error("{path}: line {line}: expected a checkpoint state file with {expected}, found {found}")]
    StateFile {
        /// The state file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The rule it broke.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A state file whose checkpoint is neither where it says nor beside it.
    #[error(
        "{path}: it names the checkpoint {named:?}, which does not exist; looked for {}\nhint: give the prefix of the checkpoint itself",
        list(looked_for)
    )]
    StaleState {
        /// The state file.
        path: PathBuf,
        /// `model_checkpoint_path` as written.
        named: String,
        /// The names that were tried.
        looked_for: Vec<PathBuf>,
    },
    /// A file that is not in the table format of checkpoints at all.
    #[error(
        "{path}: expected a TensorFlow checkpoint table, which ends in the magic number 57 fb 80 8b 24 75 47 db; found {found}{}",
        hint_line(hint)
    )]
    NotATable {
        /// The file.
        path: PathBuf,
        /// Its length and first bytes.
        found: String,
        /// What it seems to be instead; may be empty.
        hint: &'static str,
    },
    /// A table whose structure is broken.
    #[error(
        "{path}: table at byte {offset}: expected {expected}, found {found}\nhint: the file is damaged or incomplete; copy it again"
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// Where the block, or the footer, starts.
        offset: u64,
        /// The rule it broke.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A table block whose bytes are not the ones that were written.
    #[error(
        "{path}: block at byte {offset}: expected CRC-32C {stored:08x}, found {computed:08x}\nhint: the file is damaged; copy it again"
    )]
    BlockChecksum {
        /// The file.
        path: PathBuf,
        /// Where the block starts.
        offset: u64,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes in the file.
        computed: u32,
    },
    /// A file of one checkpoint format under the name of the other.
    #[error("{path}: expected {expected}, found {found}\nhint: {hint}")]
    WrongFormat {
        /// The file.
        path: PathBuf,
        /// What the name promises.
        expected: &'static str,
        /// What the content is.
        found: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A file named `.pb` or `.pbtxt` that is no kind of graph.
    #[error("{path}: expected a frozen GraphDef, found {found}{}", hint_line(hint))]
    NotAGraph {
        /// The file.
        path: PathBuf,
        /// Its length and first bytes.
        found: String,
        /// What it seems to be instead; may be empty.
        hint: &'static str,
    },
    /// A graph whose weights are not in it.
    #[error(
        "{path}: expected a frozen graph, whose weights are constants, found {nodes} nodes with {constants} constants of numbers and {variables} variables\nhint: give the checkpoint of this graph, or freeze the graph first"
    )]
    NotFrozen {
        /// The file.
        path: PathBuf,
        /// How many nodes it has.
        nodes: usize,
        /// How many of them are constants of numbers.
        constants: usize,
        /// How many of them are variables.
        variables: usize,
    },
    /// The header of a checkpoint breaks a rule of its format.
    #[error("{path}: checkpoint header: expected {expected}, found {found}")]
    Header {
        /// The file.
        path: PathBuf,
        /// The rule.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The entry of one variable breaks a rule of the format.
    #[error("{path}: variable {variable:?}: expected {expected}, found {found}")]
    Entry {
        /// The file that holds the entry.
        path: PathBuf,
        /// The variable, or the slice key in escaped form.
        variable: String,
        /// The rule.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// More of something than any checkpoint has, of which little in the file makes much in memory.
    #[error(
        "{path}: {what}: expected at most {limit} {unit}, found {found}\nhint: no program is known to write such a file; it may be made to exhaust memory"
    )]
    TooMuch {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        what: String,
        /// The most that is read.
        limit: u64,
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        found: String,
    },
    /// A protocol buffer message that does not parse.
    #[error("{path}: {what}: expected a {message} message, found bytes that are not one")]
    Message {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        what: String,
        /// The message type.
        message: &'static str,
        /// The parser's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A tensor is said to lie outside its data file.
    #[error(
        "{path}: variable {variable:?}: expected {size} bytes at byte {offset}, found a file of {length} bytes\nhint: the download is incomplete, a Git LFS pointer, or from another checkpoint"
    )]
    OutsideFile {
        /// The data file.
        path: PathBuf,
        /// The variable.
        variable: String,
        /// Where its bytes start.
        offset: u64,
        /// How many they are.
        size: u64,
        /// Length of the file.
        length: u64,
    },
    /// A data file holds more than the index accounts for.
    #[error(
        "{path}: expected a file of {expected} bytes, as its index says, found {found}\nhint: index and data are of different checkpoints"
    )]
    DataLength {
        /// The data file.
        path: PathBuf,
        /// The end of the last tensor in the index.
        expected: u64,
        /// Length of the file.
        found: u64,
    },
    /// The bytes of a tensor are not the ones that were saved.
    #[error(
        "{path}: variable {variable:?}: expected CRC-32C {stored:08x}, found {computed:08x}\nhint: the file is damaged or from another checkpoint than its index; copy both again"
    )]
    TensorChecksum {
        /// The data file.
        path: PathBuf,
        /// The variable.
        variable: String,
        /// The checksum in the index.
        stored: u32,
        /// The checksum of the bytes in the data file.
        computed: u32,
    },
    /// The slices of a partitioned variable do not make up the variable.
    #[error("{path}: partitioned variable {variable:?}: expected slices that cover it exactly once, found {found}")]
    Slices {
        /// The file that lists the slices.
        path: PathBuf,
        /// The variable.
        variable: String,
        /// What is wrong with them.
        found: String,
    },
    /// A type of tensor that has no plain bytes, or that this crate cannot decode.
    #[error("{path}: variable {variable:?}: expected a tensor of numbers or strings, found {}, which this reader does not decode", dtype.as_str())]
    Unsupported {
        /// The file that lists the variable.
        path: PathBuf,
        /// The variable.
        variable: String,
        /// Its type.
        dtype: DType,
    },
    /// A file is not what it was when it was first opened.
    #[error("{path}: the file changed while it was in use: {how}\nhint: wait until the writer is done, or read a copy")]
    FileChanged {
        /// The file.
        path: PathBuf,
        /// What is different.
        how: String,
    },
    /// A variable that is not in the checkpoint.
    #[error("{path}: no variable {variable:?} among its {count}{}", similar_line(similar))]
    NoSuchVariable {
        /// Prefix of the checkpoint.
        path: PathBuf,
        /// The name asked for.
        variable: String,
        /// How many variables there are.
        count: usize,
        /// Up to three variables whose last name component is the same.
        similar: Vec<String>,
    },
    /// An object graph that breaks a rule of its format.
    #[error(
        "{path}: object {node} of the object graph: expected {expected}, found {found}\nhint: the checkpoint is damaged, or was changed without its object graph"
    )]
    Objects {
        /// Prefix of the checkpoint.
        path: PathBuf,
        /// Place of the object in the graph.
        node: usize,
        /// The rule.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// An object-based checkpoint that can not be written as asked for; nothing was written.
    #[error("object checkpoint to be written: {what:?}: expected {expected}, found {found}")]
    Unwritable {
        /// The path or the key of the variable.
        what: String,
        /// The rule.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// A graph that breaks a rule of its format.
    #[error("{path}: graph node {node:?}: expected {expected}, found {found}")]
    Graph {
        /// The `.meta` file.
        path: PathBuf,
        /// The node.
        node: String,
        /// The rule.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Error {
        match error {
            disk::Error::Io { doing, path, source } => Error::Io { doing, path, source },
            disk::Error::Changed { path, how } => Error::FileChanged { path, how },
        }
    }
}

/// What a name has to be: one with a line break in it could forge a line of whatever it is printed in.
pub(crate) const ON_ONE_LINE: &str = "a name on one line";

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn hint_line(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("\nhint: {hint}") }
}

fn similar_line(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!("\nhint: did you mean {}?", similar.join(" or ")) }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
