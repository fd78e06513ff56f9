//! Activation functions on tensors.

use burn::tensor::{Tensor, activation};
use lstm::Activation;

use crate::Device;
use crate::sequence_op;

/// An activation on every element of a tensor that lies on `device`. NaN stays NaN, and infinities saturate.
///
/// On the CPU these are Burn's own operations, which call Rust's accurate elementary functions. On a wgpu device it is
/// `activate.wgsl`, the very functions that the sequence kernels use: WGSL's own `tanh` turns NaN into a number on some
/// drivers, and Burn's sigmoid passes through a logarithm.
pub fn apply<const D: usize>(function: Activation, x: Tensor<D>, device: &Device) -> Tensor<D> {
    if device.limits().is_some() {
        return if function == Activation::Linear { x } else { sequence_op::activate(function, x) };
    }
    match function {
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::HardSigmoidKeras2 => (x * 0.2 + 0.5).clamp(0.0, 1.0),
        Activation::HardSigmoidKeras3 => (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Activation::Relu => x.clamp_min(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Elu => {
            // e^x - 1 = 2t / (1 - t) with t = tanh(x/2): nothing cancels for x <= 0.
            let t = (x.clone().clamp_max(0.0) * 0.5).tanh();
            x.clamp_min(0.0) + t.clone() * 2.0 / (t * -1.0 + 1.0)
        }
        Activation::Softplus => x.clone().clamp_min(0.0) + (x.abs() * -1.0).exp().log1p(),
        Activation::Softsign => {
            // Beyond 1e9 the quotient is 1 to the last bit, and infinity would give NaN.
            let bounded = x.clamp(-1e9, 1e9);
            bounded.clone() / (bounded.abs() + 1.0)
        }
        Activation::Linear => x,
    }
}
