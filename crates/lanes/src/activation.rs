//! Activation functions on tensors.

use burn::tensor::{Tensor, TensorData};
use lstm::Activation;

use crate::Device;
use crate::cpu_twin::activation::activate_all;
use crate::sequence_op;

/// An activation on every element of a tensor that lies on `device`. NaN stays NaN, and infinities saturate.
///
/// These are the very functions that the lanes' kernels use, whatever route a lane takes: on a wgpu device
/// `activate.wgsl`, for WGSL's own `tanh` turns NaN into a number on some drivers, and Burn's sigmoid passes through a
/// logarithm; on the CPU those of the kernels' twin.
///
/// # Panics
/// If the device does not hand over a tensor's values, as Burn's own operations do.
pub fn apply<const D: usize>(function: Activation, x: Tensor<D>, device: &Device) -> Tensor<D> {
    if function == Activation::Linear {
        return x;
    }
    if !device.is_cpu() {
        return sequence_op::activate(function, x);
    }
    let (shape, on) = (x.dims(), x.device());
    let mut values = x.into_data().try_into_vec::<f32>().expect("a tensor of f32");
    activate_all(function, &mut values);
    Tensor::from_data(TensorData::new(values, shape), &on)
}
