//! Which way a lane computes a cell.

use std::fmt;

use crate::Device;
use crate::tiling::{Plan, Sizes, Tiling};

/// How a lane is to compute a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Route {
    /// A kernel where the device takes one and the run fits it, the kernels' twin on the CPU, else tensor operations.
    #[default]
    Auto,
    /// Burn's tensor operations, step by step.
    Operations,
    /// The kernel that is the faster one at this size, or on the CPU their twin; or an error.
    Kernel,
    /// The kernel that computes whole sequences in one workgroup, or an error.
    SequenceKernel,
    /// The kernel that computes one step a dispatch, or an error.
    StepKernel,
    /// The kernel for adapters that compute on the vectors of a CPU, or an error.
    VectorKernel,
}

/// How a lane does compute a cell of some size on its device. Its [`Display`](fmt::Display) says it in words, with the
/// sizes of a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen(pub(crate) Way);

/// What [`Chosen`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Burn's tensor operations.
    Operations,
    /// The kernels' twin on the CPU.
    Twin,
    /// A kernel.
    Kernel(Tiling),
}

impl Chosen {
    /// Whether a kernel on a wgpu device computes it.
    pub fn is_kernel(self) -> bool {
        matches!(self.0, Way::Kernel(_))
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Way::Kernel(tiling) => tiling.fmt(f),
            Way::Twin => f.write_str("whole sequences on the CPU"),
            Way::Operations => f.write_str("tensor operations"),
        }
    }
}

/// Whether cells that the kernels' twin covers run in it.
pub(crate) fn is_for_the_twin(route: Route, device: &Device) -> bool {
    device.is_cpu() && matches!(route, Route::Auto | Route::Kernel)
}

/// The plan of a kernel for a run, in the words of [`Route`]: `None` means tensor operations. A cell that is `normalised`
/// has what the kernels lack.
pub(crate) fn plan(route: Route, normalised: bool, sizes: Sizes, device: &Device) -> Result<Option<Plan>, String> {
    let choose = match route {
        Route::Operations => return Ok(None),
        Route::Auto | Route::Kernel => Plan::choose,
        Route::SequenceKernel => Plan::whole_sequence,
        Route::StepKernel => Plan::step_by_step,
        Route::VectorKernel => Plan::on_vectors,
    };
    let plan = device.limits().filter(|_| !normalised).and_then(|limits| choose(sizes, limits));
    match plan {
        Some(plan) => Ok(Some(plan)),
        None if route == Route::Auto => Ok(None),
        None if device.limits().is_none() => Err("the kernels need a wgpu device".to_owned()),
        None if normalised => Err("the kernels have no layer normalisation".to_owned()),
        None => Err(format!("the kernel does not fit this device: {sizes:?}")),
    }
}
