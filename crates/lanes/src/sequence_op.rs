//! The backend extension: kernels launched through Burn's runtime on tensors where they are.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim};
use burn_cubecl::cubecl::server::{Handle, KernelArguments};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::template::{KernelSource, SourceKernel};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, cubecl};
use lstm::Activation;

use crate::apart::{APART_BINDINGS, ApartKernel, ApartParameters};
use crate::draw::{DRAW_BINDINGS, DrawKernel, DrawParameters};
use crate::tiling::{Form, STAGED_STEPS};
use crate::wgsl::{
    ACTIVATE_BINDINGS, ActivateKernel, ActivateParameters, LSTM_BINDINGS, LstmKernel, LstmParameters, Part,
};
use crate::wiring::Steps;

/// One run of a cell's kernel, apart from its tensors.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) kernel: LstmKernel,
    /// Of the first dispatch.
    pub(crate) parameters: LstmParameters,
    /// Valid steps, `[sequences]`.
    pub(crate) lengths: Vec<u32>,
}

impl Launch {
    /// Every dispatch in order: its parameters and its workgroups.
    fn dispatches(&self) -> Vec<(LstmParameters, [u32; 2])> {
        let LstmParameters { sequences, timesteps, input, recurrent, units, steps, .. } = self.parameters;
        let tiling = self.kernel.tiling;
        let groups = sequences.div_ceil(4 * tiling.quads);
        let rows = |rows: u32| rows.div_ceil(tiling.workgroup);
        let mut dispatches = vec![];
        let mut first_step = 0;
        // Each dispatch finds the state where the one before it left it.
        while first_step < timesteps {
            let steps = steps.min(timesteps - first_step);
            let parameters = LstmParameters { first_step, steps, ..self.parameters };
            let projection =
                self.kernel.parts.projection.then_some(LstmParameters { part: Part::Project, ..parameters });
            match tiling.form {
                Form::Sequence { .. } => dispatches.push((parameters, [groups, 1])),
                Form::Step { units: of_units, .. } => {
                    dispatches.push((parameters, [units.div_ceil(of_units), groups]));
                    dispatches.extend(projection.map(|parameters| (parameters, [rows(recurrent), groups])));
                }
                Form::Vector { own } => {
                    if (first_step as usize).is_multiple_of(STAGED_STEPS) {
                        let steps = (timesteps - first_step).min(STAGED_STEPS as u32);
                        let parameters = LstmParameters { part: Part::Stage, steps, ..parameters };
                        dispatches.push((parameters, [rows(input), groups]));
                    }
                    dispatches.push((parameters, [rows(units.div_ceil(own)), groups]));
                    dispatches.extend(projection.map(|parameters| (parameters, [rows(recurrent), groups])));
                }
            }
            first_step += steps;
        }
        dispatches
    }
}

/// A part of a buffer that is bound alone begins at a multiple of this (WebGPU's default; devices may allow less).
const OFFSET_ALIGNMENT: usize = 256;

/// What the kernels add to a backend. Only for backends that take WGSL: a call on another one panics.
#[backend_extension(Cube)]
pub(crate) trait KernelOps: Backend {
    /// One activation, element by element.
    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;

    /// h `[sequences, timesteps, recurrent]`, c `[sequences, timesteps, units]` and the gates
    /// `[sequences, timesteps, 4·units]`, or `[1, 1, 1]` where they are not asked for, of one cell from x
    /// `[sequences, timesteps, input]`, and weights and state as `frame.wgsl` lays them out. The state is consumed.
    fn lstm(
        x: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        state: FloatTensor<Self>,
        launch: Launch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Fills parts of a tensor with random numbers.
    fn draw(values: FloatTensor<Self>, parts: Vec<DrawParameters>) -> FloatTensor<Self>;

    /// How far two traces `[sequences, timesteps, width]` are apart, in the words of `apart.wgsl`.
    fn apart(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        lengths: Vec<u32>,
        parameters: ApartParameters,
    ) -> IntTensor<Self>;
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
        launch(&x.client, ActivateKernel(activation), ActivateKernel::WORKGROUP, [workgroups, 1], buffers);
        y
    }

    fn lstm(
        x: CubeTensor,
        weights: CubeTensor,
        state: CubeTensor,
        run: Launch,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let (x, weights, state) = (into_contiguous(x), into_contiguous(weights), into_contiguous(state));
        let LstmParameters { sequences, timesteps, recurrent, units, record_gates, .. } = run.parameters;
        let of_width = |width: u32| empty_like(&x, Shape::from([sequences, timesteps, width].map(|n| n as usize)));
        let (h, c) = (of_width(recurrent), of_width(units));
        let gates = if record_gates { of_width(4 * units) } else { empty_like(&x, Shape::from([1, 1, 1])) };
        let lengths: Vec<u8> = run.lengths.iter().flat_map(|length| length.to_ne_bytes()).collect();
        let lengths = x.client.create_from_slice(&lengths);
        // The parameters of all dispatches in one upload: a queue that is fed bit by bit is flushed in between.
        let dispatches = run.dispatches();
        let mut uploaded = vec![0; dispatches.len() * OFFSET_ALIGNMENT];
        for ((parameters, _), slot) in dispatches.iter().zip(uploaded.chunks_exact_mut(OFFSET_ALIGNMENT)) {
            let bytes = parameters.bytes();
            slot[..bytes.len()].copy_from_slice(&bytes);
        }
        let all_parameters = x.client.create_from_slice(&uploaded);
        for (index, (parameters, workgroups)) in dispatches.iter().enumerate() {
            let start = index * OFFSET_ALIGNMENT;
            let end = start + parameters.bytes().len();
            let parameters =
                all_parameters.clone().offset_start(start as u64).offset_end((uploaded.len() - end) as u64);
            let buffers: [Handle; LSTM_BINDINGS.len()] = [
                x.handle.clone(),
                weights.handle.clone(),
                state.handle.clone(),
                lengths.clone(),
                h.handle.clone(),
                c.handle.clone(),
                gates.handle.clone(),
                parameters,
            ];
            launch(&x.client, run.kernel, run.kernel.tiling.workgroup, *workgroups, buffers);
        }
        (h, c, gates)
    }

    fn draw(values: CubeTensor, parts: Vec<DrawParameters>) -> CubeTensor {
        for part in parts {
            // The kernel strides over what a bounded grid leaves.
            let workgroups = part.elements.div_ceil(16 * DrawKernel::WORKGROUP).clamp(1, 65535);
            let parameters = values.client.create_from_slice(&part.bytes());
            let buffers: [Handle; DRAW_BINDINGS.len()] = [values.handle.clone(), parameters];
            launch(&values.client, DrawKernel, DrawKernel::WORKGROUP, [workgroups, 1], buffers);
        }
        values
    }

    fn apart(a: CubeTensor, b: CubeTensor, lengths: Vec<u32>, parameters: ApartParameters) -> CubeTensor {
        let (a, b) = (into_contiguous(a), into_contiguous(b));
        let lengths: Vec<u8> = lengths.iter().flat_map(|length| length.to_ne_bytes()).collect();
        let words = parameters.results();
        let shape = Shape::from([words]);
        let found = a.client.empty(words * size_of::<u32>());
        let found = CubeTensor::new_contiguous(a.client.clone(), a.device.clone(), shape, found, DType::I32);
        let buffers: [Handle; APART_BINDINGS.len()] = [
            a.handle.clone(),
            b.handle.clone(),
            a.client.create_from_slice(&lengths),
            found.handle.clone(),
            a.client.create_from_slice(&parameters.bytes()),
        ];
        let count = [parameters.timesteps, parameters.parts];
        launch(&a.client, ApartKernel, ApartKernel::WORKGROUP, count, buffers);
        found
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
    [across, along]: [u32; 2],
    buffers: [Handle; N],
) {
    let kernel = SourceKernel::new(kernel, CubeDim::new_1d(workgroup));
    let bindings = buffers.into_iter().map(Handle::binding).collect();
    let count = CubeCount::Static(across, along, 1);
    client.launch(Box::new(kernel), count, KernelArguments::new().with_buffers(bindings));
}

/// [`KernelOps::activate`] on a tensor of any rank.
pub(crate) fn activate<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::activate(x.into_dispatch(), activation))
}

/// Runs a cell's kernel on x `[sequences, timesteps, input]`, from weights and state as `frame.wgsl` lays them out.
pub(crate) fn lstm(x: Tensor<3>, weights: TensorData, state: Tensor<1>, launch: Launch) -> Steps {
    let record_gates = launch.parameters.record_gates;
    let weights = Tensor::<1>::from_data(weights, &x.device());
    let (h, c, gates) = Dispatch::lstm(x.into_dispatch(), weights.into_dispatch(), state.into_dispatch(), launch);
    let gates = record_gates.then(|| Tensor::from_dispatch(gates));
    Steps { h: Tensor::from_dispatch(h), c: Tensor::from_dispatch(c), gates }
}
