//! The ways to compute an LSTM on a device, ready to be timed.

use std::fmt;

use burn::tensor::Tensor;
use lstm::{Batch, KerasCell, Network, Tf1Cell};
use ndarray::Array3;
use parity::LaneError;

use crate::burn_lstm::BurnLstm;
use crate::wiring::{check, failed, guarded, read, upload_input};
use crate::{Chosen, Device, KerasLstm, Route, Tf1FusedLstm};

/// A way to compute an LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// Burn's own module.
    BurnNnLstm,
    /// The TF1 lane in tensor operations.
    OperationsTf1,
    /// The Keras lane in tensor operations.
    OperationsKeras,
    /// The TF1 lane in kernels, whole sequences at once: in WGSL, or their twin on the CPU.
    KernelTf1,
    /// The Keras lane in kernels.
    KernelKeras,
}

impl Implementation {
    /// Every way.
    pub const ALL: [Implementation; 5] = [
        Implementation::BurnNnLstm,
        Implementation::OperationsTf1,
        Implementation::OperationsKeras,
        Implementation::KernelTf1,
        Implementation::KernelKeras,
    ];

    /// What it is called on this device: kernels are `cpu-…` on the CPU.
    pub fn name(self, device: &Device) -> &'static str {
        match (self, device.is_cpu()) {
            (Implementation::BurnNnLstm, _) => "burn-nn-lstm",
            (Implementation::OperationsTf1, _) => "ops-tf1",
            (Implementation::OperationsKeras, _) => "ops-keras",
            (Implementation::KernelTf1, false) => "kernel-tf1",
            (Implementation::KernelKeras, false) => "kernel-keras",
            (Implementation::KernelTf1, true) => "cpu-tf1",
            (Implementation::KernelKeras, true) => "cpu-keras",
        }
    }

    /// Brings a batch to the device and makes everything ready to run: the TF1 network or its conversion, as the way
    /// wants it. The batch must not ask for gates.
    ///
    /// # Errors
    /// In words, why this way cannot run this network on this device.
    pub fn prepare<'a>(
        self,
        device: &Device,
        truth: &'a Network<Tf1Cell>,
        converted: &'a Network<KerasCell>,
        batch: &'a Batch,
    ) -> Result<Ready<'a>, String> {
        check(truth, batch).map_err(|e| e.to_string())?;
        check(converted, batch).map_err(|e| e.to_string())?;
        let name = self.name(device);
        let route = match self {
            Implementation::KernelTf1 | Implementation::KernelKeras => Route::Kernel,
            _ => Route::Operations,
        };
        let compute: Box<Compute<'a>> = match self {
            Implementation::BurnNnLstm => {
                let module = guarded(|| BurnLstm::new(converted, batch, device))?;
                Box::new(move |x| Ok(module.run(x)))
            }
            Implementation::OperationsTf1 | Implementation::KernelTf1 => {
                let lane = Tf1FusedLstm::new(device.clone()).with_route(route);
                Box::new(move |x| lane.output(truth, x, batch))
            }
            Implementation::OperationsKeras | Implementation::KernelKeras => {
                let lane = KerasLstm::new(device.clone()).with_route(route);
                Box::new(move |x| lane.output(converted, x, batch))
            }
        };
        let route = match self {
            Implementation::BurnNnLstm => "Burn's nn::Lstm".to_owned(),
            Implementation::OperationsTf1 | Implementation::KernelTf1 => {
                let lane = Tf1FusedLstm::new(device.clone()).with_route(route);
                told(truth.cells().iter().map(|cell| lane.chosen(cell, batch.sequences(), batch.timesteps())))
            }
            Implementation::OperationsKeras | Implementation::KernelKeras => {
                let lane = KerasLstm::new(device.clone()).with_route(route);
                told(converted.cells().iter().map(|cell| lane.chosen(cell, batch.sequences(), batch.timesteps())))
            }
        };
        let x = guarded(|| Ok(upload_input(batch, device)))?;
        Ok(Ready { name, route, device: device.clone(), x, compute, output: None })
    }
}

/// The routes of a network's cells in words, each once.
fn told(routes: impl Iterator<Item = Chosen>) -> String {
    let mut words: Vec<String> = vec![];
    for route in routes.map(|route| route.to_string()) {
        if !words.contains(&route) {
            words.push(route);
        }
    }
    words.join("; ")
}

type Compute<'a> = dyn Fn(Tensor<3>) -> Result<Tensor<3>, String> + 'a;

/// A network whose input lies on the device. Each run computes every step anew, weights brought to the device included,
/// and leaves the output there.
pub struct Ready<'a> {
    name: &'static str,
    route: String,
    device: Device,
    x: Tensor<3>,
    compute: Box<Compute<'a>>,
    /// Of the last run.
    output: Option<Tensor<3>>,
}

impl fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("name", &self.name).field("device", &self.device).finish_non_exhaustive()
    }
}

impl Ready<'_> {
    /// How its cells are computed, in words.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Runs once, and waits until the device is done.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run(&mut self) -> Result<(), LaneError> {
        self.output = None;
        let output = guarded(|| {
            let output = (self.compute)(self.x.clone())?;
            self.device.burn().sync().map_err(|e| e.to_string())?;
            Ok(output)
        });
        self.output = Some(output.map_err(|message| failed(self.name, &self.device, message))?);
        Ok(())
    }

    /// What the last run computed, `[sequences, timesteps, output]`; `None` if there was none, or it failed.
    ///
    /// # Errors
    /// If the device does not hand it over.
    pub fn output(&self) -> Result<Option<Array3<f32>>, LaneError> {
        let output = self.output.clone();
        let read = output.map(|output| guarded(|| read(output))).transpose();
        read.map_err(|message| failed(self.name, &self.device, message))
    }
}
