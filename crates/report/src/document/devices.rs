//! What `gatewise devices` prints.

use std::collections::BTreeMap;

use serde::Serialize;

/// `gatewise.devices/1`: the devices found.
#[derive(Clone, Debug, Serialize)]
pub struct Devices {
    /// `gatewise.devices/1`.
    pub schema: &'static str,
    /// Each device.
    pub devices: Vec<Device>,
}

/// What a device's self-check found.
#[derive(Clone, Debug, Serialize)]
pub struct SelfCheck {
    /// It can be trusted.
    pub passed: bool,
    /// What went wrong.
    pub failures: Vec<String>,
    /// Largest error of each activation function, in ULP.
    pub activation_ulp: BTreeMap<String, f64>,
    /// Products tried.
    pub products: usize,
    /// Largest error of a product, as a share of its rounding bound.
    pub product_ratio: f64,
}

/// A device a lane ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// What `--device` takes to choose it.
    pub choice: String,
    /// The adapter's name.
    pub name: String,
    /// Burn's backend.
    pub backend: String,
    /// `cpu`, `discrete-gpu`, `software-adapter`, ….
    pub kind: String,
    /// Driver name and version.
    pub driver: String,
    /// What its self-check found.
    pub self_check: SelfCheck,
}
