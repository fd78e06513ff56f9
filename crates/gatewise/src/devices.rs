//! `gatewise devices`: what lanes can run on, and whether it can be trusted.

use lanes::{Choice, Device, DeviceInfo, SelfCheck};
use lstm::Activation;
use report::document;

use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Code;
use crate::output;

pub(crate) fn run(args: &args::Devices) -> Result<Code, CliError> {
    let adapters = (0..lanes::adapters().len()).map(Choice::Adapter);
    let mut devices = vec![];
    for choice in std::iter::once(Choice::Cpu).chain(adapters) {
        let device = Device::open(choice)?;
        // The functions that LSTMs in the wild use.
        let check =
            SelfCheck::run(&device, &[Activation::Sigmoid, Activation::Tanh, Activation::Relu]).and_kernels(&device);
        devices.push(describe(choice, device.info(), &check));
    }
    let document = document::Devices { schema: "gatewise.devices/1", devices };
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human => output::print(&report::devices_text(&document, args.display.look.style()))?,
    }
    Ok(Code::Pass)
}

/// A device for a document.
pub(crate) fn describe(choice: Choice, info: &DeviceInfo, check: &SelfCheck) -> document::Device {
    document::Device {
        choice: choice.to_string(),
        name: info.name.clone(),
        backend: info.backend.clone(),
        kind: info.kind.clone(),
        driver: info.driver.clone(),
        self_check: document::SelfCheck {
            passed: check.failures.is_empty(),
            failures: check.failures.clone(),
            activation_ulp: check.activations.iter().map(|e| (e.function.to_string(), e.ulp)).collect(),
            products: check.products,
            product_ratio: check.product_ratio,
        },
    }
}
