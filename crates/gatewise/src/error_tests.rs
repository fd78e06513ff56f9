//! How every way to end without a result reads.

use std::io;

use lstm::convert::NotRepresentable;

use super::*;

fn checkpoint() -> PathBuf {
    "model.ckpt".into()
}

fn cell() -> String {
    "rnn/lstm_cell".to_owned()
}

fn no_space() -> io::Error {
    io::Error::other("no space left on device")
}

#[test]
fn every_message() {
    let no_file = || tf_checkpoint::Error::NotFound { path: checkpoint(), looked_for: vec!["model.ckpt.index".into()] };
    let not_keras = || keras_file::decode(vec![]).unwrap_err();
    let text = golden::messages!(CliError {
        CliError::Checkpoint(_) => CliError::Checkpoint(no_file()),
        CliError::Keras(_) => CliError::Keras(not_keras()),
        CliError::Disk(_) => CliError::Disk(disk::Error::Io {
            doing: "opening",
            path: "map.toml".into(),
            source: io::Error::other("no such file"),
        }),
        CliError::Given(_) => CliError::Given(lstm::detect::GivenError::MapKernel { cell: cell() }),
        CliError::Load { .. } => CliError::Load {
            checkpoint: checkpoint(),
            source: Box::new(lstm::detect::LoadError::NonFinite { name: cell() + "/kernel", count: 1, first: 77 }),
        },
        CliError::NoLstm { .. } => CliError::NoLstm { checkpoint: checkpoint(), holds: "it holds x [3]".to_owned() },
        CliError::Malformed { .. } => CliError::Malformed {
            checkpoint: checkpoint(),
            problems: vec![format!("{}: {}", cell(), lstm::detect::Problem::Tangled)],
        },
        CliError::NotRepresentable { .. } => CliError::NotRepresentable {
            checkpoint: checkpoint(),
            cell: cell(),
            reason: Box::new(NotRepresentable::Peepholes),
        },
        CliError::Wiring { .. } => CliError::Wiring {
            checkpoint: checkpoint(),
            problem: "a and b are multiplied".to_owned(),
        },
        CliError::OtherKeras { .. } => CliError::OtherKeras {
            checkpoint: checkpoint(),
            asked: "for Keras 3".to_owned(),
            cell: "lstm".to_owned(),
            function: lstm::Activation::HardSigmoidKeras2,
            elsewhere: "in Keras 3 that name means x/6 + 0.5".to_owned(),
            own: 2,
        },
        CliError::ChooseWeights { .. } => CliError::ChooseWeights { checkpoint: checkpoint(), cell: cell() },
        CliError::Encode { .. } => CliError::Encode {
            output: "out.keras".into(),
            source: Box::new(keras_file::encode(&[], keras_file::Target::Keras).unwrap_err()),
        },
        CliError::Into { .. } =>
            CliError::Into { file: "mine.keras".into(), problem: "it has no LSTM layer".to_owned() },
        CliError::Candidate { .. } =>
            CliError::Candidate { file: "theirs.keras".into(), problem: "it has no LSTM layer".to_owned() },
        CliError::OutputFormat(_) => CliError::OutputFormat("out.onnx".into()),
        CliError::OutputIsInput(_) => CliError::OutputIsInput("model.ckpt.index".into()),
        CliError::Inputs { .. } =>
            CliError::Inputs { file: "recorded.npz".into(), problem: "it has no array x".to_owned() },
        CliError::Map { .. } => CliError::Map { file: "map.toml".into(), problem: "it maps nothing".to_owned() },
        CliError::Suite { .. } => CliError::Suite {
            file: "suite.toml".into(),
            line: Some(5),
            problem: "a second case named \"right\"".to_owned(),
        },
        CliError::Shard(_) => CliError::Shard("SLURM_ARRAY_TASK_ID is not set".to_owned()),
        CliError::NothingRun(_) => CliError::NothingRun("part 4 of 9 of 3 cases".to_owned()),
        CliError::State { .. } => CliError::State { file: "state".into(), problem: "it is of another suite".to_owned() },
        CliError::StateInUse(_) => CliError::StateInUse("state".into()),
        CliError::Baseline { .. } =>
            CliError::Baseline { file: "baseline.json".into(), problem: "it is no baseline".to_owned() },
        CliError::Shards { .. } =>
            CliError::Shards { file: "part-0.json".into(), problem: "it is of another suite".to_owned() },
        CliError::OutputIsRead(_) => CliError::OutputIsRead("suite.toml".into()),
        CliError::OutputTwice(_) => CliError::OutputTwice("out.json".into()),
        CliError::OneNetwork(_) => CliError::OneNetwork(vec!["answer".to_owned(), "question".to_owned()]),
        CliError::Lane(_) => CliError::Lane(parity::LaneError::Panicked {
            lane: "keras (sequence kernel)".to_owned(),
            message: "an index was out of bounds".to_owned(),
        }),
        CliError::Key { .. } =>
            CliError::Key { file: "key.pem".into(), source: report::dsse::KeyError::PrivateForPublic },
        CliError::Certificate { .. } =>
            CliError::Certificate { file: "model.intoto.json".into(), problem: "it is no text".to_owned() },
        CliError::Bundle { .. } =>
            CliError::Bundle { folder: "shown".into(), problem: "it has no bundle.json".to_owned() },
        CliError::File { .. } =>
            CliError::File { doing: "writing", file: "out.keras".into(), source: no_space() },
        CliError::Device(_) => CliError::Device(lanes::DeviceError::NoSuchAdapter { number: 9, found: 1 }),
        CliError::Stdout(_) => CliError::Stdout(no_space()),
        CliError::Memory { .. } => CliError::Memory { needed: 300 << 20, free: 200 << 20 },
    });
    insta::assert_snapshot!(text);
}

#[test]
fn lanes_and_devices_that_fail() {
    use lanes::DeviceError;
    use parity::LaneError;
    let lane = golden::messages!(LaneError {
        LaneError::Shape { .. } => LaneError::Shape {
            what: "the initial state of cell 0".to_owned(),
            expected: vec![64, 8],
            found: vec![64, 9],
        },
        LaneError::Device { .. } => LaneError::Device {
            lane: "keras".to_owned(),
            device: "llvmpipe".to_owned(),
            message: "the device is lost".to_owned(),
        },
        LaneError::Panicked { .. } => LaneError::Panicked {
            lane: "keras".to_owned(),
            message: "an index was out of bounds".to_owned(),
        },
    });
    let device = golden::messages!(DeviceError {
        DeviceError::Choice(_) => DeviceError::Choice("tpu".to_owned()),
        DeviceError::NoAdapter { .. } => DeviceError::NoAdapter { apis: "Vulkan" },
        DeviceError::NoSuchAdapter { .. } => DeviceError::NoSuchAdapter { number: 9, found: 1 },
        DeviceError::Open { .. } => DeviceError::Open {
            name: "llvmpipe".to_owned(),
            message: "the limit max_buffer_size is too low".to_owned(),
        },
    });
    let text = [lane, device].concat();
    insta::assert_snapshot!(text);
}

#[test]
fn files_keys_and_certificates_that_are_refused() {
    use report::dsse::{EnvelopeError, KeyError};
    use report::statement::CertificateError;
    let disk = golden::messages!(disk::Error {
        disk::Error::Io { .. } => disk::Error::Io {
            doing: "reading",
            path: checkpoint(),
            source: io::Error::other("the disk is on fire"),
        },
        disk::Error::Changed { .. } =>
            disk::Error::Changed { path: checkpoint(), how: "it is 12 bytes long and was 96".to_owned() },
    });
    let key = golden::messages!(KeyError {
        KeyError::Private => KeyError::Private,
        KeyError::PrivateForPublic => KeyError::PrivateForPublic,
        KeyError::Public => KeyError::Public,
    });
    let envelope = golden::messages!(EnvelopeError {
        EnvelopeError::Malformed(_) => EnvelopeError::Malformed("expected `,` at line 1".to_owned()),
        EnvelopeError::PayloadType(_) => EnvelopeError::PayloadType("text/plain".to_owned()),
        EnvelopeError::Signatures(_) => EnvelopeError::Signatures(2),
        EnvelopeError::Encoding(_) => EnvelopeError::Encoding("payload"),
        EnvelopeError::NotCanonical => EnvelopeError::NotCanonical,
        EnvelopeError::OtherKey { .. } =>
            EnvelopeError::OtherKey { expected: "a1b2".to_owned(), found: "c3d4".to_owned() },
        EnvelopeError::Signature => EnvelopeError::Signature,
    });
    let certificate = golden::messages!(CertificateError {
        CertificateError::Other(_) => CertificateError::Other("it is no JSON".to_owned()),
        CertificateError::Refused(_) => CertificateError::Refused("the digest does not fit".to_owned()),
    });
    let text = [disk, key, envelope, certificate].concat();
    insta::assert_snapshot!(text);
}
