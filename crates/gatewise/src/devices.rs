//! `gatewise devices`: what lanes can run on.

use lanes::{Choice, Device, DeviceInfo};
use report::document;

use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Code;
use crate::output;

pub(crate) fn run(args: &args::Devices) -> Result<Code, CliError> {
    let cpu = Device::open(Choice::Cpu)?;
    let mut devices = vec![describe(Choice::Cpu, cpu.info())];
    devices.extend(lanes::adapters().iter().enumerate().map(|(n, info)| describe(Choice::Adapter(n), info)));
    let document = document::Devices { schema: "gatewise.devices/1", devices };
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human => output::print(&report::devices_text(&document, args.display.style()))?,
    }
    Ok(Code::Pass)
}

/// A device for a document.
pub(crate) fn describe(choice: Choice, info: &DeviceInfo) -> document::Device {
    document::Device {
        choice: choice.to_string(),
        name: info.name.clone(),
        backend: info.backend.clone(),
        kind: info.kind.clone(),
        driver: info.driver.clone(),
    }
}
