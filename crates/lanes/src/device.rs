//! Choosing and opening the device that lanes run on.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use burn_wgpu::graphics::AutoGraphicsApi;
use burn_wgpu::{RuntimeOptions, WgpuBackend, WgpuDevice, try_init_setup, wgpu};
use thiserror::Error;

use crate::tiling::Limits;

/// What the user asked for: `auto`, `cpu`, `gpu` or `wgpu:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A real GPU if there is one, else the CPU; never a software adapter.
    Auto,
    /// Burn's CPU backend, Flex. No graphics API is touched.
    Cpu,
    /// A real GPU, or else a software adapter; an error without either.
    Gpu,
    /// The adapter of this number in [`adapters`].
    Adapter(usize),
}

impl FromStr for Choice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Choice, DeviceError> {
        match text {
            "auto" => Ok(Choice::Auto),
            "cpu" => Ok(Choice::Cpu),
            "gpu" => Ok(Choice::Gpu),
            _ => text
                .strip_prefix("wgpu:")
                .and_then(|number| number.parse().ok())
                .map(Choice::Adapter)
                .ok_or_else(|| DeviceError::Choice(text.to_owned())),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Auto => f.write_str("auto"),
            Choice::Cpu => f.write_str("cpu"),
            Choice::Gpu => f.write_str("gpu"),
            Choice::Adapter(number) => write!(f, "wgpu:{number}"),
        }
    }
}

/// A device could not be chosen or opened.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DeviceError {
    /// The text names no device.
    #[error("unknown device {0:?}: expected auto, cpu, gpu, or wgpu:N with N from `gatewise devices`")]
    Choice(String),
    /// No graphics API offers an adapter.
    #[error(
        "no GPU adapter found through {apis}: install a driver (a software one is in the Debian package \
         mesa-vulkan-drivers), or use the cpu device"
    )]
    NoAdapter {
        /// The graphics APIs asked.
        apis: &'static str,
    },
    /// There is no adapter of that number.
    #[error("no adapter wgpu:{number}: found {found} (`gatewise devices` lists them)")]
    NoSuchAdapter {
        /// The number asked for.
        number: usize,
        /// How many there are.
        found: usize,
    },
    /// The driver or the runtime refused.
    #[error("could not open {name}: {message}")]
    Open {
        /// The adapter's name.
        name: String,
        /// What the runtime said.
        message: String,
    },
}

/// What is known of a device, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The adapter's name, or `CPU (Burn Flex)`.
    pub name: String,
    /// `flex`, or `wgpu-` and the graphics API, such as `wgpu-vulkan`.
    pub backend: String,
    /// `cpu`, `discrete-gpu`, `integrated-gpu`, `virtual-gpu`, `software-adapter` or `other-adapter`.
    pub kind: String,
    /// The driver's name and version as it reports them; empty on the CPU.
    pub driver: String,
    /// The adapter is a program running on the CPU, such as lavapipe or WARP.
    pub is_software: bool,
}

/// An opened device.
#[derive(Clone, Debug)]
pub struct Device {
    burn: burn::tensor::Device,
    info: DeviceInfo,
    /// What kernels may use; `None` on a device that takes no WGSL.
    limits: Option<Limits>,
}

impl Device {
    /// Opens a device. Opening the same adapter again gives the same device.
    ///
    /// # Errors
    /// If there is no such adapter or its driver fails. [`Choice::Cpu`] cannot fail, and [`Choice::Auto`] only where a
    /// GPU was found and does not open: it is not replaced in silence.
    pub fn open(choice: Choice) -> Result<Device, DeviceError> {
        if choice == Choice::Cpu {
            return Ok(Device::cpu());
        }
        let adapters = found();
        let real = adapters.iter().position(|a| a.info.kind.ends_with("-gpu"));
        let software = adapters.iter().position(|a| a.info.is_software);
        let index = match choice {
            Choice::Auto | Choice::Cpu => match real {
                Some(index) => index,
                None => return Ok(Device::cpu()),
            },
            Choice::Gpu => real.or(software).ok_or(DeviceError::NoAdapter { apis: APIS })?,
            Choice::Adapter(number) if number < adapters.len() => number,
            Choice::Adapter(number) => return Err(DeviceError::NoSuchAdapter { number, found: adapters.len() }),
        };
        open_adapter(&adapters[index])
    }

    fn cpu() -> Device {
        let info = DeviceInfo {
            name: "CPU (Burn Flex)".to_owned(),
            backend: "flex".to_owned(),
            kind: "cpu".to_owned(),
            driver: String::new(),
            is_software: false,
        };
        Device { burn: burn::tensor::Device::flex(), info, limits: None }
    }

    /// What is known of the device.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// The device in Burn's terms, to create tensors on.
    pub fn burn(&self) -> &burn::tensor::Device {
        &self.burn
    }

    /// The lanes run on the CPU itself, by no graphics API.
    pub(crate) fn is_cpu(&self) -> bool {
        self.limits.is_none()
    }

    /// What kernels may use, on a device that takes WGSL.
    pub(crate) fn limits(&self) -> Option<&Limits> {
        self.limits.as_ref()
    }
}

/// The graphics adapters of this machine, in the order of their numbers (`wgpu:0` first). Empty without a driver.
pub fn adapters() -> Vec<DeviceInfo> {
    found().iter().map(|a| a.info.clone()).collect()
}

/// The graphics APIs asked. OpenGL is left out: its loader connects to a display server, which prints on stderr where
/// there is none, and every GPU of interest has one of these.
const APIS: &str = "Vulkan, Metal and DirectX 12";
const ASKED: [(wgpu::Backend, WgpuBackend, &str); 3] = [
    (wgpu::Backend::Vulkan, WgpuBackend::Vulkan, "wgpu-vulkan"),
    (wgpu::Backend::Metal, WgpuBackend::Metal, "wgpu-metal"),
    (wgpu::Backend::Dx12, WgpuBackend::Dx12, "wgpu-dx12"),
];

struct Adapter {
    info: DeviceInfo,
    selector: WgpuDevice,
}

/// An environment variable that keeps Mesa's Vulkan drivers from writing `XDG_RUNTIME_DIR is invalid or not set` on
/// stderr, once or twice for each look at the adapters, on a machine without a display.
///
/// The line comes from a layer in C (`VkLayer_MESA_device_select`) which connects to a Wayland display to learn which
/// GPU the desktop prefers, and reads the environment of the process: a program that wants a clean stderr must have the
/// variable set when it starts.
pub const QUIET_MESA: (&str, &str) = ("NODEVICE_SELECT", "1");

/// Held while graphics instances are made or destroyed, because the Vulkan loader crashes when that happens on several
/// threads at once; holds the devices opened so far, because the runtime starts a device only once.
static OPENED: Mutex<Option<HashMap<WgpuDevice, Device>>> = Mutex::new(None);

/// The adapters, asked for once: each time is slow, and drivers may print on stderr.
fn found() -> &'static [Adapter] {
    static FOUND: OnceLock<Vec<Adapter>> = OnceLock::new();
    FOUND.get_or_init(probe)
}

fn probe() -> Vec<Adapter> {
    let _guard = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = vec![];
    for (backend, pinned, name) in ASKED {
        if !wgpu::Instance::enabled_backend_features().contains(backend.into()) {
            continue;
        }
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: backend.into(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        // The runtime counts the adapters of each type on its own.
        let mut seen: HashMap<wgpu::DeviceType, usize> = HashMap::new();
        for adapter in wait(instance.enumerate_adapters(backend.into())) {
            let info = adapter.get_info();
            let index = seen.entry(info.device_type).and_modify(|n| *n += 1).or_insert(0);
            // The runtime cannot address a second software adapter of one API.
            if info.device_type == wgpu::DeviceType::Cpu && *index > 0 {
                continue;
            }
            let selector = WgpuDevice::new(kind(info.device_type, *index)).on(pinned);
            found.push(Adapter { info: describe(&info, name), selector });
        }
    }
    found
}

fn kind(device: wgpu::DeviceType, index: usize) -> burn::backend::WgpuDeviceKind {
    use burn::backend::WgpuDeviceKind as Kind;
    match device {
        wgpu::DeviceType::DiscreteGpu => Kind::DiscreteGpu(index),
        wgpu::DeviceType::IntegratedGpu => Kind::IntegratedGpu(index),
        wgpu::DeviceType::VirtualGpu => Kind::VirtualGpu(index),
        wgpu::DeviceType::Cpu => Kind::Cpu,
        wgpu::DeviceType::Other => Kind::Other(index),
    }
}

fn describe(info: &wgpu::AdapterInfo, backend: &str) -> DeviceInfo {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete-gpu",
        wgpu::DeviceType::IntegratedGpu => "integrated-gpu",
        wgpu::DeviceType::VirtualGpu => "virtual-gpu",
        wgpu::DeviceType::Cpu => "software-adapter",
        wgpu::DeviceType::Other => "other-adapter",
    };
    DeviceInfo {
        name: info.name.clone(),
        backend: backend.to_owned(),
        kind: kind.to_owned(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        is_software: info.device_type == wgpu::DeviceType::Cpu,
    }
}

fn open_adapter(adapter: &Adapter) -> Result<Device, DeviceError> {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = opened.get_or_insert_default();
    if let Some(device) = opened.get(&adapter.selector) {
        return Ok(device.clone());
    }
    let failed = |message: String| DeviceError::Open { name: adapter.info.name.clone(), message };
    let options = RuntimeOptions::try_default().map_err(|e| failed(e.to_string()))?;
    let setup = try_init_setup::<AutoGraphicsApi>(&adapter.selector, options).map_err(|e| failed(e.to_string()))?;
    let limits = setup.device.limits();
    let (features, info) = (setup.device.features(), setup.adapter.get_info());
    let one_size = info.subgroup_min_size == info.subgroup_max_size;
    let able = features.contains(wgpu::Features::SUBGROUP | wgpu::Features::SHADER_INT64) && one_size;
    let device = Device {
        burn: burn::tensor::Device::new(adapter.selector.clone()),
        info: adapter.info.clone(),
        limits: Some(Limits {
            workgroup_bytes: limits.max_compute_workgroup_storage_size as usize,
            workgroup_size: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x)
                as usize,
            workgroups: limits.max_compute_workgroups_per_dimension as usize,
            binding_bytes: usize::try_from(limits.max_storage_buffer_binding_size).unwrap_or(usize::MAX),
            is_software: adapter.info.is_software,
            subgroup: able.then_some(info.subgroup_min_size as usize),
        }),
    };
    opened.insert(adapter.selector.clone(), device.clone());
    Ok(device)
}

/// Waits for a future of wgpu's, which on native platforms is ready at once.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for choice in [Choice::Auto, Choice::Cpu, Choice::Gpu, Choice::Adapter(0), Choice::Adapter(12)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for text in ["", "GPU", "wgpu", "wgpu:", "wgpu:x", "wgpu:-1", "cuda"] {
            assert_eq!(text.parse::<Choice>(), Err(DeviceError::Choice(text.to_owned())));
        }
        assert_eq!(
            "cuda".parse::<Choice>().unwrap_err().to_string(),
            "unknown device \"cuda\": expected auto, cpu, gpu, or wgpu:N with N from `gatewise devices`"
        );
    }

    #[test]
    fn the_cpu_is_always_there() {
        let device = Device::open(Choice::Cpu).unwrap();
        assert_eq!((device.info().backend.as_str(), device.info().is_software), ("flex", false));
        assert!(device.limits().is_none());
    }
}
