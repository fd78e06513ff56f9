//! How everything that is refused reads.

use std::io;

use lstm::convert::NotRepresentable;
use lstm::detect::{CellKind, GivenError, LoadError, Problem};
use lstm::{Activation, CellError};

fn cell() -> String {
    "rnn/lstm_cell".to_owned()
}

fn kernel() -> String {
    "rnn/lstm_cell/kernel".to_owned()
}

fn misshapen() -> CellError {
    CellError::Shape { tensor: "vector", found: vec![13, 32], expected: vec![8], units: 8 }
}

#[test]
fn what_is_wrong_with_the_weights_of_a_cell() {
    let text = golden::messages!(CellError {
        CellError::Columns { .. } => CellError::Columns { rows: 13, columns: 33 },
        CellError::NoInput { .. } =>
            CellError::NoInput { rows: 8, columns: 32, units: 8, recurrent: 8, what: "units" },
        CellError::Shape { .. } => misshapen(),
    });
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_wrong_with_a_cell() {
    let text = golden::messages!(Problem {
        Problem::Shapes(_) => Problem::Shapes(misshapen()),
        Problem::Rank { .. } => Problem::Rank { name: kernel(), shape: vec![2, 3, 8] },
        Problem::Ambiguous { .. } => Problem::Ambiguous {
            what: "cell clip",
            values: "3 and none".to_owned(),
            option: "a map and --override",
        },
        Problem::UnknownOperation { .. } =>
            Problem::UnknownOperation { what: "activation", op: "Sinh".to_owned() },
        Problem::Clip(_) => Problem::Clip(f32::INFINITY),
        Problem::Misfit { .. } => Problem::Misfit {
            name: kernel(),
            found: vec![13, 32],
            kind: CellKind::CoupledInputForgetGate,
            expected: "a multiple of 3 columns".to_owned(),
        },
        Problem::ForgetBias { .. } =>
            Problem::ForgetBias { op: "Placeholder".to_owned(), node: "rnn/forget".to_owned() },
        Problem::TwoActivations { .. } =>
            Problem::TwoActivations { candidate: Activation::Tanh, output: Activation::Relu },
        Problem::Tangled => Problem::Tangled,
        Problem::ClipSides { .. } => Problem::ClipSides { low: -0.25, high: 0.3 },
    });
    insta::assert_snapshot!(text);
}

#[test]
fn what_keeps_weights_from_being_read() {
    let text = golden::messages!(LoadError {
        LoadError::Read(_) => LoadError::Read(tf_checkpoint::Error::Io {
            doing: "reading",
            path: "model.ckpt.data-00000-of-00001".into(),
            source: io::Error::other("the disk is on fire"),
        }),
        LoadError::Type { .. } => LoadError::Type { name: kernel(), dtype: "int32".to_owned() },
        LoadError::NonFinite { .. } => LoadError::NonFinite { name: kernel(), count: 2, first: 77 },
        LoadError::TooLarge { .. } => LoadError::TooLarge { name: kernel(), value: 1e300, first: 7 },
        LoadError::Cell { .. } => LoadError::Cell { cell: cell(), source: misshapen() },
        LoadError::Missing { .. } =>
            LoadError::Missing { cell: cell(), kind: "IndyLSTMCell", role: "kernel_u".to_owned() },
        LoadError::Unsupported { .. } => LoadError::Unsupported {
            cell: cell(),
            kind: "GLSTMCell",
            what: "of 3 groups that do not divide its widths".to_owned(),
        },
    });
    insta::assert_snapshot!(text);
}

#[test]
fn what_of_the_users_words_does_not_fit() {
    let text = golden::messages!(GivenError {
        GivenError::NoMatch { .. } =>
            GivenError::NoMatch { name: "decoder".to_owned(), found: vec![cell()] },
        GivenError::Contradicts { .. } => GivenError::Contradicts {
            option: "--forget-bias",
            given: "0.5".to_owned(),
            file: "graph",
            graph: "1".to_owned(),
            cell: cell(),
        },
        GivenError::MapKey { .. } =>
            GivenError::MapKey { cell: cell(), key: "rnn/lstm_cell/kernal".to_owned(), similar: vec![kernel()] },
        GivenError::MapKernel { .. } => GivenError::MapKernel { cell: cell() },
        GivenError::NoAverage { .. } => GivenError::NoAverage { cell: cell(), missing: vec![kernel()] },
        GivenError::NoRaw { .. } => GivenError::NoRaw { cell: cell(), missing: vec![kernel()] },
        GivenError::InputSize { .. } =>
            GivenError::InputSize { given: 6, found: 5, recurrent: 8, cell: cell() },
    });
    insta::assert_snapshot!(text);
}

#[test]
fn what_keras_lacks() {
    let text = golden::messages!(NotRepresentable {
        NotRepresentable::Peepholes => NotRepresentable::Peepholes,
        NotRepresentable::LayerNorm => NotRepresentable::LayerNorm,
        NotRepresentable::CellClip(_) => NotRepresentable::CellClip(3.0),
        NotRepresentable::ProjectionClip(_) => NotRepresentable::ProjectionClip(0.5),
    });
    insta::assert_snapshot!(text);
}
