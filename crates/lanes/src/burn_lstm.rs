//! Burn's own `nn::Lstm`, to time the lanes beside.

use burn::module::Param;
use burn::nn::{Initializer, Linear, Lstm, LstmConfig, LstmState};
use burn::tensor::{Tensor, TensorData};
use lstm::{Activation, Batch, KerasCell, Merge, Network, State};
use ndarray::s;

use crate::Device;
use crate::wiring::upload;

/// A network of Burn's modules, with its weights on a device.
pub(crate) struct BurnLstm {
    network: Network<Part>,
}

/// One module, and the state it starts from.
struct Part {
    module: Lstm,
    initial: [Tensor<2>; 2],
}

impl BurnLstm {
    /// Puts a network's weights into Burn's modules.
    ///
    /// # Errors
    /// In words, what of the network Burn's module does not have.
    pub(crate) fn new(network: &Network<KerasCell>, batch: &Batch, device: &Device) -> Result<BurnLstm, String> {
        if batch.lengths.is_some() {
            return Err("nn::Lstm knows no lengths".to_owned());
        }
        let mut initial = batch.initial.iter();
        let network = network.try_map(&mut |cell| {
            let state = initial.next().ok_or("an initial state is missing")?;
            part(cell, state, device)
        })?;
        Ok(BurnLstm { network })
    }

    /// The network's output `[sequences, timesteps, output]` for x `[sequences, timesteps, input]`.
    pub(crate) fn run(&self, x: Tensor<3>) -> Tensor<3> {
        walk(&self.network, x, false)
    }
}

fn part(cell: &KerasCell, state: &State, device: &Device) -> Result<Part, String> {
    if cell.activation != Activation::Tanh || cell.recurrent_activation != Activation::Sigmoid {
        return Err("only the default activations are given to nn::Lstm".to_owned());
    }
    if cell.go_backwards || cell.output_projection.is_some() {
        return Err("nn::Lstm has neither a projection nor Keras's go_backwards".to_owned());
    }
    let (input, units) = (cell.input_size(), cell.units());
    let config = LstmConfig::new(input, units, true).with_initializer(Initializer::Zeros);
    let mut module = config.init(device.burn());
    // Keras's columns are i, f, c, o.
    let gates = [
        Some(&mut module.input_gate),
        module.forget_gate.as_mut(),
        Some(&mut module.cell_gate),
        Some(&mut module.output_gate),
    ];
    for (block, gate) in gates.into_iter().enumerate() {
        let gate = gate.ok_or("nn::Lstm has no forget gate")?;
        let columns = s![.., block * units..(block + 1) * units];
        set(&mut gate.input_transform, upload(&cell.kernel.slice(columns).to_owned(), device));
        set(&mut gate.hidden_transform, upload(&cell.recurrent_kernel.slice(columns).to_owned(), device));
        let bias = cell.bias.slice(s![block * units..(block + 1) * units]).to_vec();
        let bias = Tensor::<1>::from_data(TensorData::new(bias, [units]), device.burn());
        gate.input_transform.bias = Some(Param::from_tensor(bias));
    }
    Ok(Part { module, initial: [upload(&state.c, device), upload(&state.h, device)] })
}

fn set(linear: &mut Linear, weight: Tensor<2>) {
    linear.weight = Param::from_tensor(weight);
}

/// The output in the order of the input's steps.
fn in_order(Part { module, initial: [c, h] }: &Part, x: Tensor<3>, backward: bool) -> Tensor<3> {
    let x = if backward { x.flip([1]) } else { x };
    let (y, _) = module.forward(x, Some(LstmState::new(c.clone(), h.clone())));
    if backward { y.flip([1]) } else { y }
}

fn walk(network: &Network<Part>, x: Tensor<3>, backward: bool) -> Tensor<3> {
    match network {
        Network::Cell(part) => in_order(part, x, backward),
        Network::Backward(part) => in_order(part, x, !backward).flip([1]),
        Network::Stack(parts) => parts.iter().fold(x, |x, part| walk(part, x, backward)),
        Network::Bidirectional { forward, backward: inner, merge } => {
            let (ahead, back) = (walk(forward, x.clone(), backward), walk(inner, x, !backward));
            match merge {
                Merge::Concat => Tensor::cat(vec![ahead, back], 2),
                Merge::Sum => ahead + back,
                Merge::Mul => ahead * back,
                Merge::Ave => (ahead + back) * 0.5,
            }
        }
        Network::Residual(part) => walk(part, x.clone(), backward) + x,
    }
}
