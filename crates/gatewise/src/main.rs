//! Certify that LSTM weights converted from TensorFlow 1.x to Keras compute the same function.
//!
//! The binary is thin: parse, call, print, exit code. One file per subcommand; the steps they share are in `source`
//! (a checkpoint's LSTMs), `candidate` (a Keras file's layers matched to them) and `output` (stdout and files).

#![forbid(unsafe_code)]

mod again;
mod args;
mod bench;
mod bundle;
mod candidate;
mod certificate;
mod check;
mod comparison;
mod completions;
mod convert;
mod devices;
mod digests;
mod error;
mod exit;
#[cfg(test)]
mod faulty_disk_tests;
mod free_memory;
mod inspect;
mod interrupt;
mod into;
mod joined;
mod layers;
mod map;
mod matching;
mod meaning;
mod object_checkpoint;
mod other_origin;
mod output;
mod progress;
mod projections;
mod quiet_driver;
mod recorded;
mod shell;
mod source;
mod store;
mod streamed;
mod suite;
mod verify;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    if arguments.command.may_use_a_gpu() {
        quiet_driver::restart_once();
    }
    interrupt::watch();
    let outcome = match &arguments.command {
        args::Command::Inspect(inspect) => inspect::run(inspect),
        args::Command::Convert(convert) => convert::run(convert),
        args::Command::Verify(args::VerifyOrReplay::Verify(verify)) => verify::run(verify),
        args::Command::Verify(args::VerifyOrReplay::Replay(replay)) => bundle::replay(replay),
        args::Command::Check(check) => check::run(check),
        args::Command::Suite(suite) => suite::run(suite),
        args::Command::Bench(bench) => bench::run(bench),
        args::Command::Devices(devices) => devices::run(devices),
        args::Command::Completions(completions) => completions::completions(completions),
        args::Command::Man(man) => completions::man(man),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            eprint!("{}", error::render(&error));
            exit::Code::Error.into()
        }
    }
}
