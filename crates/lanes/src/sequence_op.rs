//! The backend extension: kernels launched through Burn's runtime on tensors where they are.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, TensorData};
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim};
use burn_cubecl::cubecl::server::{Handle, KernelArguments};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::template::{KernelSource, SourceKernel};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, cubecl};
use lstm::{Activation, State};
use ndarray::{ArrayView1, ArrayView2};

use crate::Device;
use crate::tiling::{Plan, Sizes};
use crate::wgsl::{
    ACTIVATE_BINDINGS, ActivateKernel, ActivateParameters, SEQUENCE_BINDINGS, SequenceKernel, SequenceParameters,
};
use crate::wiring::Steps;

/// How a lane computes a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Route {
    /// The sequence kernel where the device takes one and the run fits it, else tensor operations.
    #[default]
    Auto,
    /// Burn's tensor operations, step by step.
    Operations,
    /// The sequence kernel, or an error.
    Kernel,
}

/// One run of a sequence kernel, apart from its tensors.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) kernel: SequenceKernel,
    /// Of the first dispatch.
    pub(crate) parameters: SequenceParameters,
    /// Valid steps, `[sequences]`.
    pub(crate) lengths: Vec<u32>,
}

/// What the kernels add to a backend. Only for backends that take WGSL: a call on another one panics.
#[backend_extension(Cube)]
pub(crate) trait KernelOps: Backend {
    /// One activation, element by element.
    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;

    /// h and c `[sequences, timesteps, units]` and the gates `[sequences, timesteps, 4·units]`, or `[1, 1, 1]` where they
    /// are not asked for, of one cell from x `[sequences, timesteps, input]`, weights
    /// `[input + units + 1, units, 4]` and the initial state `[2, sequences, units]`.
    fn lstm_sequence(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        initial: FloatTensor<Self>,
        launch: Launch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl KernelOps for CubeBackend {
    fn activate(x: CubeTensor, activation: Activation) -> CubeTensor {
        let x = into_contiguous(x);
        let elements = x.shape().num_elements();
        let y = empty_like(&x, x.shape());
        let parameters = ActivateParameters { elements: elements as u32 }.bytes();
        let parameters = x.client.create_from_slice(&parameters);
        let workgroups = elements.div_ceil(ActivateKernel::WORKGROUP as usize * ActivateKernel::ELEMENTS);
        // The kernel strides over what a bounded grid leaves.
        let workgroups = workgroups.clamp(1, 65535) as u32;
        let buffers: [Handle; ACTIVATE_BINDINGS.len()] = [x.handle.clone(), y.handle.clone(), parameters];
        launch(&x.client, ActivateKernel(activation), ActivateKernel::WORKGROUP, workgroups, buffers);
        y
    }

    fn lstm_sequence(
        x: CubeTensor,
        weights: CubeTensor,
        initial: CubeTensor,
        Launch { kernel, parameters, lengths }: Launch,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let (x, weights, initial) = (into_contiguous(x), into_contiguous(weights), into_contiguous(initial));
        let shape = [parameters.sequences, parameters.timesteps, parameters.units].map(|n| n as usize);
        let h = empty_like(&x, Shape::from(shape));
        let c = empty_like(&x, Shape::from(shape));
        let [sequences, timesteps, units] = shape;
        let of_gates = if parameters.record_gates { [sequences, timesteps, 4 * units] } else { [1, 1, 1] };
        let gates = empty_like(&x, Shape::from(of_gates));
        let lengths: Vec<u8> = lengths.iter().flat_map(|length| length.to_ne_bytes()).collect();
        let lengths = x.client.create_from_slice(&lengths);
        let workgroups = parameters.sequences.div_ceil(4 * kernel.tiling.quads);
        // Each dispatch finds the state where the one before it left it: in the traces.
        let mut first_step = 0;
        while first_step < parameters.timesteps {
            let steps = parameters.steps.min(parameters.timesteps - first_step);
            let bytes = SequenceParameters { first_step, steps, ..parameters }.bytes();
            let buffers: [Handle; SEQUENCE_BINDINGS.len()] = [
                x.handle.clone(),
                weights.handle.clone(),
                initial.handle.clone(),
                lengths.clone(),
                h.handle.clone(),
                c.handle.clone(),
                gates.handle.clone(),
                x.client.create_from_slice(&bytes),
            ];
            launch(&x.client, kernel, kernel.tiling.workgroup, workgroups, buffers);
            first_step += steps;
        }
        (h, c, gates)
    }
}

fn empty_like(x: &CubeTensor, shape: Shape) -> CubeTensor {
    let bytes = shape.num_elements() * size_of::<f32>();
    CubeTensor::new_contiguous(x.client.clone(), x.device.clone(), shape, x.client.empty(bytes), x.dtype)
}

fn launch<K: KernelSource, const N: usize>(
    client: &cubecl::prelude::Client,
    kernel: K,
    workgroup: u32,
    workgroups: u32,
    buffers: [Handle; N],
) {
    let kernel = SourceKernel::new(kernel, CubeDim::new_1d(workgroup));
    let bindings = buffers.into_iter().map(Handle::binding).collect();
    client.launch(Box::new(kernel), CubeCount::Static(workgroups, 1, 1), KernelArguments::new().with_buffers(bindings));
}

/// [`KernelOps::activate`] on a tensor of any rank.
pub(crate) fn activate<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::activate(x.into_dispatch(), activation))
}

/// A cell's weights as the kernels read them, `[rows + 1, units, 4]`: the four gates of one unit side by side, the bias
/// in the last row. The blocks, each `[rows, 4·units]`, come one below the other.
pub(crate) fn pack(blocks: &[ArrayView2<'_, f32>], bias: ArrayView1<'_, f32>) -> TensorData {
    let units = bias.len() / 4;
    let rows: usize = blocks.iter().map(|b| b.nrows()).sum();
    let mut packed = Vec::with_capacity((rows + 1) * 4 * units);
    let all = blocks.iter().flat_map(|block| block.rows()).chain([bias]);
    for row in all {
        packed.extend((0..units).flat_map(|unit| (0..4).map(move |gate| row[gate * units + unit])));
    }
    TensorData::new(packed, [rows + 1, units, 4])
}

/// Runs a sequence kernel on x `[sequences, timesteps, input]`.
pub(crate) fn sequence(x: Tensor<3>, weights: TensorData, initial: &State, launch: Launch) -> Steps {
    let device = x.device();
    let record_gates = launch.parameters.record_gates;
    let (sequences, units) = initial.c.dim();
    let state: Vec<f32> = initial.h.iter().chain(initial.c.iter()).copied().collect();
    let state = Tensor::<3>::from_data(TensorData::new(state, [2, sequences, units]), &device);
    let weights = Tensor::<3>::from_data(weights, &device);
    let (h, c, gates) =
        Dispatch::lstm_sequence(x.into_dispatch(), weights.into_dispatch(), state.into_dispatch(), launch);
    let gates = record_gates.then(|| Tensor::from_dispatch(gates));
    Steps { h: Tensor::from_dispatch(h), c: Tensor::from_dispatch(c), gates }
}

/// The plan of a sequence kernel for a run, in the words of [`Route`]: `None` means tensor operations. A cell that is
/// not `plain` has parts that the kernels lack.
pub(crate) fn plan(route: Route, plain: bool, sizes: Sizes, device: &Device) -> Result<Option<Plan>, String> {
    if route == Route::Operations {
        return Ok(None);
    }
    let plan = device.limits().filter(|_| plain).and_then(|limits| Plan::choose(sizes, limits));
    match plan {
        Some(plan) => Ok(Some(plan)),
        None if route == Route::Auto => Ok(None),
        None if device.limits().is_none() => Err("the sequence kernel needs a wgpu device".to_owned()),
        None if !plain => {
            Err("the sequence kernel has no peepholes, projection, clipping or layer normalisation".to_owned())
        }
        None => Err(format!("the sequence kernel does not fit this device: {sizes:?}")),
    }
}
