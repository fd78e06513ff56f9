//! How every error reads.

use std::io;
use std::path::PathBuf;

use super::*;

fn path() -> PathBuf {
    "model.ckpt".into()
}

fn kernel() -> String {
    "rnn/basic_lstm_cell/kernel".to_owned()
}

#[test]
fn every_message() {
    let text = golden::messages!(Error {
        Error::Io { .. } =>
            Error::Io { doing: "reading", path: path(), source: io::Error::other("the disk is on fire") },
        Error::NotFound { .. } =>
            Error::NotFound { path: path(), looked_for: vec!["model.ckpt.index".into(), "model.ckpt".into()] },
        Error::Ambiguous { .. } =>
            Error::Ambiguous { path: "runs".into(), found: vec!["runs/a.ckpt".into(), "runs/b.ckpt".into()] },
        Error::MissingFile { .. } => Error::MissingFile {
            needed_by: "model.ckpt.index".into(),
            looked_for: "model.ckpt.data-00000-of-00001".into(),
        },
        Error::StateFile { .. } => Error::StateFile {
            path: "checkpoint".into(),
            line: 3,
            expected: "a path in quotes",
            found: "model.ckpt".to_owned(),
        },
        Error::StaleState { .. } => Error::StaleState {
            path: "checkpoint".into(),
            named: "/home/me/model.ckpt".to_owned(),
            looked_for: vec!["/home/me/model.ckpt".into(), "model.ckpt".into()],
        },
        Error::NotATable { .. } => Error::NotATable {
            path: path(),
            found: "12 bytes that start with the text \"version http\"".to_owned(),
            hint: "this is a Git LFS pointer; fetch the file itself",
        },
        Error::Table { .. } => Error::Table {
            path: path(),
            offset: 4096,
            expected: "keys in increasing order",
            found: "a key that is smaller".to_owned(),
        },
        Error::BlockChecksum { .. } =>
            Error::BlockChecksum { path: path(), offset: 0, stored: 0x5d5d_4622, computed: 0x8646_8af4 },
        Error::WrongFormat { .. } => Error::WrongFormat {
            path: path(),
            expected: "the index of a V2 checkpoint",
            found: "a V1 checkpoint",
            hint: "rename it",
        },
        Error::NotAGraph { .. } =>
            Error::NotAGraph { path: "frozen.pb".into(), found: "an empty file".to_owned(), hint: "" },
        Error::NotFrozen { .. } =>
            Error::NotFrozen { path: "graph.pb".into(), nodes: 120, constants: 7, variables: 4 },
        Error::Header { .. } => Error::Header {
            path: path(),
            expected: "a version that this reader knows, 1",
            found: "2".to_owned(),
        },
        Error::Entry { .. } => Error::Entry {
            path: path(),
            variable: kernel(),
            expected: "as many bytes as its shape needs",
            found: "1663".to_owned(),
        },
        Error::TooMuch { .. } => Error::TooMuch {
            path: path(),
            what: "its shape".to_owned(),
            limit: 254,
            unit: "axes",
            found: "300".to_owned(),
        },
        Error::Message { .. } => Error::Message {
            path: "model.ckpt.meta".into(),
            what: "the file".to_owned(),
            message: "MetaGraphDef",
            source: Box::new(io::Error::other("an unexpected end")),
        },
        Error::OutsideFile { .. } => Error::OutsideFile {
            path: "model.ckpt.data-00000-of-00001".into(),
            variable: kernel(),
            offset: 128,
            size: 1664,
            length: 896,
        },
        Error::DataLength { .. } => Error::DataLength {
            path: "model.ckpt.data-00000-of-00001".into(),
            expected: 1792,
            found: 1800,
        },
        Error::TensorChecksum { .. } => Error::TensorChecksum {
            path: "model.ckpt.data-00000-of-00001".into(),
            variable: kernel(),
            stored: 0x065e_077b,
            computed: 0x1f61_2696,
        },
        Error::Slices { .. } => Error::Slices {
            path: path(),
            variable: kernel(),
            found: "nothing at [3, 0]".to_owned(),
        },
        Error::Unsupported { .. } =>
            Error::Unsupported { path: path(), variable: "queue".to_owned(), dtype: DType::Resource },
        Error::FileChanged { .. } =>
            Error::FileChanged { path: path(), how: "it is 12 bytes long and was 96".to_owned() },
        Error::NoSuchVariable { .. } => Error::NoSuchVariable {
            path: path(),
            variable: "rnn/lstm_cell/kernel".to_owned(),
            count: 4,
            similar: vec![kernel()],
        },
        Error::Objects { .. } => Error::Objects {
            path: path(),
            node: 5,
            expected: "children that are in the graph",
            found: "node 9 of 6".to_owned(),
        },
        Error::Unwritable { .. } => Error::Unwritable {
            what: "lstm/cell/kernel".to_owned(),
            expected: "a path that no other variable has",
            found: "it twice".to_owned(),
        },
        Error::Graph { .. } => Error::Graph {
            path: "model.ckpt.meta".into(),
            node: "rnn/while/Enter".to_owned(),
            expected: "a name that no other node has",
            found: "it twice".to_owned(),
        },
    });
    insta::assert_snapshot!(text);
}
