//! How every problem reads.

use std::io;

use super::*;

fn layer() -> String {
    "lstm".to_owned()
}

#[test]
fn every_message() {
    let damaged = || hdf5_pure::Error::Format(hdf5_pure::FormatError::SignatureNotFound);
    let not_json = || serde_json::from_str::<serde_json::Value>("{\"class_name\": ").unwrap_err();
    let text = golden::messages!(Problem {
        Problem::Io(_) => Problem::Io(io::Error::other("the disk is on fire")),
        Problem::NotKeras { .. } => Problem::NotKeras { found: "an empty file".to_owned() },
        Problem::NotNpz { .. } => Problem::NotNpz { found: "an empty file".to_owned() },
        Problem::Array { .. } => Problem::Array {
            array: "lstm/kernel".to_owned(),
            expected: "float32, float16 or float64".to_owned(),
            found: "<i8".to_owned(),
        },
        Problem::Safetensors { .. } => Problem::Safetensors {
            place: "lstm/kernel".to_owned(),
            expected: "bytes from 640 on".to_owned(),
            found: "from 644 on".to_owned(),
        },
        Problem::UnknownLayout { .. } => Problem::UnknownLayout { groups: "RNN_0, RNN_1".to_owned() },
        Problem::Name { .. } => Problem::Name { name: "lstm\nerror: forged".to_owned() },
        Problem::Hdf5 { .. } => Problem::Hdf5 { object: "/layers/lstm".to_owned(), source: damaged() },
        Problem::LinkName { .. } =>
            Problem::LinkName { group: "/layers".to_owned(), name: "a/b".to_owned() },
        Problem::Truncated { .. } => Problem::Truncated { expected: 4096, found: 1000 },
        Problem::Hdf5Write(_) => Problem::Hdf5Write(damaged()),
        Problem::Missing { .. } => Problem::Missing {
            place: "layer \"lstm\"".to_owned(),
            expected: "recurrent_kernel".to_owned(),
        },
        Problem::Attribute { .. } => Problem::Attribute {
            object: "/".to_owned(),
            name: "layer_names".to_owned(),
            expected: "an array of strings",
            found: "an integer".to_owned(),
        },
        Problem::Shape { .. } => Problem::Shape {
            layer: layer(),
            with_units: " with units=8".to_owned(),
            found: "kernel [5, 32], recurrent_kernel [7, 32]".to_owned(),
        },
        Problem::Keras1Gates { .. } =>
            Problem::Keras1Gates { layer: layer(), found: "[3, 4], [3, 5]".to_owned() },
        Problem::Dtype { .. } =>
            Problem::Dtype { dataset: "/lstm/kernel:0".to_owned(), found: "int64".to_owned() },
        Problem::Length { .. } => Problem::Length {
            dataset: "/lstm/kernel:0".to_owned(),
            shape: vec![5, 32],
            expected: 640,
            found: 320,
        },
        Problem::TooLarge { .. } => Problem::TooLarge {
            what: "attribute layer_names".to_owned(),
            limit: 4096,
            unit: "names",
            found: "1000000".to_owned(),
        },
        Problem::ConfigMismatch { .. } => Problem::ConfigMismatch {
            layer: layer(),
            configured: "units=16".to_owned(),
            found: "8 units".to_owned(),
        },
        Problem::Json { .. } => Problem::Json { document: "config.json", source: not_json() },
        Problem::Config { .. } =>
            Problem::Config { place: layer(), expected: "a number of units", found: "\"many\"".to_owned() },
        Problem::Zip { .. } => Problem::Zip {
            member: "config.json".to_owned(),
            source: zip::result::ZipError::FileNotFound,
        },
        Problem::ZipContent { .. } => Problem::ZipContent {
            member: "config.json".to_owned(),
            source: io::Error::other("an invalid checksum"),
        },
        Problem::ZipWrite(_) => Problem::ZipWrite(zip::result::ZipError::FileNotFound),
        Problem::DuplicateMember => Problem::DuplicateMember,
        Problem::Unwritable { .. } => Problem::Unwritable {
            layer: layer(),
            expected: "5 inputs, from the layer or direction before".to_owned(),
            found: "6 kernel rows".to_owned(),
        },
        Problem::Unreplaceable { .. } => Problem::Unreplaceable {
            what: "kernel of layer \"lstm\"".to_owned(),
            expected: "as many elements as it has, 160".to_owned(),
            found: "192".to_owned(),
        },
        Problem::NotHdf5 { .. } => Problem::NotHdf5 { found: "an empty file".to_owned() },
        Problem::Empty => Problem::Empty,
    });
    let file = Path::new("model.keras");
    let doing = [
        Error::decoding(Problem::Empty).in_file(file),
        Error::in_arrays(Problem::Empty, file),
        Error::decoding(Problem::Empty),
        Error::decoding_arrays(Problem::Empty),
        Error::encoding(Problem::Empty),
        Error::replacing(Problem::Empty),
    ];
    let doing: String = doing.iter().map(|e| format!("{e}\n")).collect();
    let text = format!("{text}\n{doing}");
    insta::assert_snapshot!(text);
}
