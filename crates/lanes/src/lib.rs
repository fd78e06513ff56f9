//! The TF1-style and the Keras-style LSTM in Burn, on any device.
//!
//! A [`Device`] is opened once; [`Tf1FusedLstm`] and [`KerasLstm`] run on it as [`parity::Lane`]s. Each lane exists in
//! Burn's tensor operations, which run on every device, and as kernels ([`Route`]): in WGSL, launched through Burn's
//! runtime, and in a twin of them for the CPU. The WGSL is in the top-level folder `kernels`.

#![warn(missing_docs)]

mod activation;
mod apart;
mod burn_lstm;
mod cpu_twin;
mod device;
mod draw;
mod keras;
mod layout;
mod peak;
mod ready;
mod route;
mod screen;
mod self_check;
mod sequence_op;
#[cfg(test)]
mod shader_test;
mod tf1_fused;
mod tiling;
mod wgsl;
mod wiring;

pub use activation::apply;
pub use device::{Choice, Device, DeviceError, DeviceInfo, QUIET_MESA, adapters};
pub use keras::KerasLstm;
pub use peak::Peak;
pub use ready::{Implementation, Ready};
pub use route::{Chosen, Route};
pub use screen::DeviceScreen;
pub use self_check::{ActivationError, SelfCheck};
pub use tf1_fused::Tf1FusedLstm;
