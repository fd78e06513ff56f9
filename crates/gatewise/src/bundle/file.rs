//! The file of a bundle: `bundle.json`, under 1 MB. Arrays are base64 of little-endian row-major values.

use base64ct::{Base64, Encoding};
use lstm::{Activation, Batch, ExactWeights, KerasCell, Merge, Network, State, Tf1Cell};
use ndarray::{Array, Array1, Array2, Array3, Axis, Dimension, Ix1};
use parity::{InputSpec, Quantity};
use serde::{Deserialize, Serialize};

/// The name of the file in its folder.
pub(crate) const NAME: &str = "bundle.json";
/// `gatewise.bundle/1`.
pub(crate) const SCHEMA: &str = "gatewise.bundle/1";
/// A bundle is smaller than this.
pub(crate) const MAX_BYTES: usize = 1_000_000;
/// Values of inputs and traces that a replay may ask for.
const MAX_VALUES: usize = 1 << 26;

/// All that a replay needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bundle {
    pub(crate) schema: String,
    /// `fail` or `inconclusive`.
    pub(crate) verdict: String,
    /// The first reason of the comparison, in words.
    pub(crate) reason: String,
    /// Where it was found.
    pub(crate) device: String,
    /// The arguments of the whole comparison.
    pub(crate) arguments: Vec<String>,
    pub(crate) seed: u64,
    /// The LSTM and the layer shown.
    pub(crate) lstm: String,
    pub(crate) layer: String,
    /// Settings that the candidate's file states otherwise, and no array shows.
    pub(crate) settings: Vec<String>,
    pub(crate) shows: Shows,
    /// The checkpoint's weights, or of them what is needed.
    pub(crate) truth: Wiring<TrueCell>,
    /// The candidate's.
    pub(crate) candidate: Wiring<Layer>,
    pub(crate) inputs: Inputs,
}

/// What of a comparison is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Shows {
    /// One unit, one step from the oracle's state.
    Step(Element),
    /// One sequence from its start up to one step.
    Sequence(Element),
    /// Everything that one network was tried with.
    Whole {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        atol: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rtol: Option<f64>,
    },
}

/// An element of the comparison, and the values found there; null where not finite or not asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Element {
    /// Whose value is at fault: `keras` or `tf1`.
    pub(crate) lane: String,
    /// `h`, `c`, `i`, `j`, `f` or `o`.
    pub(crate) quantity: String,
    /// In the comparison.
    pub(crate) sequence: usize,
    pub(crate) step: usize,
    pub(crate) unit: usize,
    /// Where it is among the cells, steps and units of this file.
    pub(crate) here: Here,
    pub(crate) oracle: Option<f64>,
    pub(crate) found: Option<f64>,
    /// How far it may be from the oracle.
    pub(crate) limit: Option<f64>,
}

/// An element of what a bundle holds, in its one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Here {
    pub(crate) cell: usize,
    pub(crate) step: usize,
    pub(crate) unit: usize,
}

impl Element {
    /// The quantity, if it is one.
    pub(crate) fn quantity(&self) -> Option<Quantity> {
        Quantity::ALL.into_iter().find(|q| q.as_str() == self.quantity)
    }
}

/// The inputs of a replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Inputs {
    /// Drawn from the seed; of them perhaps one sequence alone, and of that some steps.
    Drawn { sequences: usize, timesteps: usize, only: Option<Only> },
    /// As they stand here.
    Given {
        /// `[sequences, timesteps, input]`.
        x: Numbers,
        lengths: Option<Vec<usize>>,
        /// For each cell h and c, `[sequences, …]`.
        states: Vec<[Numbers; 2]>,
        /// Recorded outputs, `[sequences, timesteps, output]`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        y: Option<Numbers>,
    },
}

/// One sequence, and its first steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Only {
    pub(crate) sequence: usize,
    pub(crate) steps: usize,
}

/// A network, as its wiring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Wiring<C> {
    Cell(C),
    Backward(C),
    Stack(Vec<Wiring<C>>),
    Bidirectional { forward: Box<Wiring<C>>, backward: Box<Wiring<C>>, merge: String },
    Residual(Box<Wiring<C>>),
}

/// A TF1 cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrueCell {
    /// `[input + recurrent, 4·units]`, columns i, j, f, o.
    kernel: Numbers,
    bias: Numbers,
    forget_bias: f32,
    activation: String,
    recurrent_activation: String,
    peepholes: Option<[Numbers; 3]>,
    projection: Option<Numbers>,
    cell_clip: Option<f32>,
    projection_clip: Option<f32>,
    /// Gamma and beta of the gates i, j, f, o and of the state.
    layer_norm: Option<[[Numbers; 2]; 5]>,
    epsilon: Option<f64>,
}

/// A Keras layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    /// `[input, 4·units]`, columns i, f, c, o.
    kernel: Numbers,
    recurrent_kernel: Numbers,
    bias: Numbers,
    activation: String,
    recurrent_activation: String,
    go_backwards: bool,
    output_projection: Option<Numbers>,
}

/// An array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numbers {
    shape: Vec<usize>,
    /// `float32` or `float64`.
    dtype: String,
    base64: String,
}

impl Numbers {
    pub(crate) fn narrow<D: Dimension>(array: &Array<f32, D>) -> Numbers {
        let bytes: Vec<u8> = array.iter().flat_map(|v| v.to_le_bytes()).collect();
        Numbers { shape: array.shape().to_vec(), dtype: "float32".to_owned(), base64: Base64::encode_string(&bytes) }
    }

    /// As float64 only where float32 does not hold it.
    fn exact<D: Dimension>(array: &Array<f64, D>) -> Numbers {
        if array.iter().all(|v| f64::from(*v as f32).to_bits() == v.to_bits()) {
            return Numbers::narrow(&array.mapv(|v| v as f32));
        }
        let bytes: Vec<u8> = array.iter().flat_map(|v| v.to_le_bytes()).collect();
        Numbers { shape: array.shape().to_vec(), dtype: "float64".to_owned(), base64: Base64::encode_string(&bytes) }
    }

    fn values(&self) -> Result<Vec<f64>, String> {
        let bytes = Base64::decode_vec(&self.base64).map_err(|_| "an array is not base64".to_owned())?;
        let read = |chunk: &[u8]| match (self.dtype.as_str(), chunk) {
            ("float32", &[a, b, c, d]) => Some(f32::from_le_bytes([a, b, c, d]).into()),
            ("float64", &[a, b, c, d, e, f, g, h]) => Some(f64::from_le_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        };
        let width = if self.dtype == "float64" { 8 } else { 4 };
        bytes.chunks(width).map(read).collect::<Option<_>>().ok_or_else(|| format!("an array is not {}", self.dtype))
    }

    fn wide<D: Dimension>(&self) -> Result<Array<f64, D>, String> {
        ndarray::ArrayD::from_shape_vec(self.shape.clone(), self.values()?)
            .ok()
            .and_then(|array| array.into_dimensionality().ok())
            .ok_or_else(|| "an array's shape does not fit its values or its place".to_owned())
    }

    pub(crate) fn f32<D: Dimension>(&self) -> Result<Array<f32, D>, String> {
        Ok(self.wide::<D>()?.mapv(|v| v as f32))
    }
}

impl<C> Wiring<C> {
    pub(crate) fn of<T>(network: &Network<T>, cell: &impl Fn(&T) -> C) -> Wiring<C> {
        match network {
            Network::Cell(one) => Wiring::Cell(cell(one)),
            Network::Backward(one) => Wiring::Backward(cell(one)),
            Network::Stack(parts) => Wiring::Stack(parts.iter().map(|p| Wiring::of(p, cell)).collect()),
            Network::Residual(part) => Wiring::Residual(Box::new(Wiring::of(part, cell))),
            Network::Bidirectional { forward, backward, merge } => Wiring::Bidirectional {
                forward: Box::new(Wiring::of(forward, cell)),
                backward: Box::new(Wiring::of(backward, cell)),
                merge: merge.as_str().to_owned(),
            },
        }
    }

    pub(crate) fn network<T>(&self, cell: &impl Fn(&C) -> Result<T, String>) -> Result<Network<T>, String> {
        Ok(match self {
            Wiring::Cell(one) => Network::Cell(cell(one)?),
            Wiring::Backward(one) => Network::Backward(cell(one)?),
            Wiring::Stack(parts) if parts.is_empty() => return Err("a stack of nothing".to_owned()),
            Wiring::Stack(parts) => {
                Network::Stack(parts.iter().map(|p| p.network(cell)).collect::<Result<_, String>>()?)
            }
            Wiring::Residual(part) => Network::Residual(Box::new(part.network(cell)?)),
            Wiring::Bidirectional { forward, backward, merge } => Network::Bidirectional {
                forward: Box::new(forward.network(cell)?),
                backward: Box::new(backward.network(cell)?),
                merge: [Merge::Concat, Merge::Sum, Merge::Mul, Merge::Ave]
                    .into_iter()
                    .find(|m| m.as_str() == merge)
                    .ok_or_else(|| format!("no way of merging is called {merge:?}"))?,
            },
        })
    }
}

impl From<&Tf1Cell> for TrueCell {
    fn from(cell: &Tf1Cell) -> TrueCell {
        let weights = cell.weights();
        TrueCell {
            kernel: Numbers::exact(&weights.kernel),
            bias: Numbers::exact(&weights.bias),
            forget_bias: cell.forget_bias,
            activation: cell.activation.to_string(),
            recurrent_activation: cell.recurrent_activation.to_string(),
            peepholes: weights.peepholes.as_ref().map(|all| all.each_ref().map(Numbers::exact)),
            projection: weights.projection.as_ref().map(Numbers::exact),
            cell_clip: cell.cell_clip,
            projection_clip: cell.projection_clip,
            layer_norm: weights.layer_norm.as_ref().map(|all| all.each_ref().map(|n| n.each_ref().map(Numbers::exact))),
            epsilon: cell.layer_norm.as_ref().map(|n| n.epsilon),
        }
    }
}

impl TrueCell {
    pub(crate) fn cell(&self) -> Result<Tf1Cell, String> {
        let vector = |numbers: &Numbers| numbers.wide::<Ix1>();
        let weights = ExactWeights {
            kernel: self.kernel.wide()?,
            bias: vector(&self.bias)?,
            peepholes: self.peepholes.as_ref().map(|p| all(p, vector)).transpose()?,
            projection: self.projection.as_ref().map(Numbers::wide).transpose()?,
            layer_norm: self.layer_norm.as_ref().map(|n| all(n, |pair| all(pair, vector))).transpose()?,
        };
        let finite = |v: &f64| v.is_finite() && (*v as f32).is_finite();
        let vectors = weights.peepholes.iter().flatten().chain(weights.layer_norm.iter().flatten().flatten()).flatten();
        let values =
            weights.kernel.iter().chain(&weights.bias).chain(weights.projection.iter().flatten()).chain(vectors);
        if !values.clone().all(finite) || !self.forget_bias.is_finite() {
            return Err("a weight of the checkpoint is not finite".to_owned());
        }
        // Below zero there is nothing between the two ends of a clip.
        let is_clip = |clip: &f32| clip.is_finite() && *clip >= 0.0;
        if !self.cell_clip.iter().chain(&self.projection_clip).all(is_clip) {
            return Err("a clip of the checkpoint is not a number of at least 0".to_owned());
        }
        let mut cell = Tf1Cell {
            kernel: Array2::zeros((0, 0)),
            bias: Array1::zeros(0),
            forget_bias: self.forget_bias,
            activation: activation(&self.activation)?,
            recurrent_activation: activation(&self.recurrent_activation)?,
            peepholes: None,
            projection: None,
            cell_clip: self.cell_clip,
            projection_clip: self.projection_clip,
            layer_norm: None,
            exact: None,
        };
        cell.hold(weights, self.epsilon.unwrap_or_default());
        cell.check().map_err(|e| e.to_string())?;
        Ok(cell)
    }
}

/// Every item read, or the first error.
fn all<T, U, const N: usize>(items: &[T; N], read: impl Fn(&T) -> Result<U, String>) -> Result<[U; N], String> {
    let read: Vec<U> = items.iter().map(read).collect::<Result<_, _>>()?;
    read.try_into().map_err(|_| "an array is missing".to_owned())
}

impl From<&KerasCell> for Layer {
    fn from(layer: &KerasCell) -> Layer {
        Layer {
            kernel: Numbers::narrow(&layer.kernel),
            recurrent_kernel: Numbers::narrow(&layer.recurrent_kernel),
            bias: Numbers::narrow(&layer.bias),
            activation: layer.activation.to_string(),
            recurrent_activation: layer.recurrent_activation.to_string(),
            go_backwards: layer.go_backwards,
            output_projection: layer.output_projection.as_ref().map(Numbers::narrow),
        }
    }
}

impl Layer {
    pub(crate) fn layer(&self) -> Result<KerasCell, String> {
        let (kernel, recurrent, bias) = (self.kernel.f32()?, self.recurrent_kernel.f32()?, self.bias.f32()?);
        let mut layer = KerasCell::new(kernel, recurrent, bias).map_err(|e| e.to_string())?;
        layer.activation = activation(&self.activation)?;
        layer.recurrent_activation = activation(&self.recurrent_activation)?;
        layer.go_backwards = self.go_backwards;
        layer.output_projection = self.output_projection.as_ref().map(Numbers::f32).transpose()?;
        match &layer.output_projection {
            Some(p) if p.nrows() != layer.units() || p.ncols() == 0 => Err("a projection of another shape".to_owned()),
            _ => Ok(layer),
        }
    }
}

fn activation(name: &str) -> Result<Activation, String> {
    Activation::ALL
        .into_iter()
        .find(|a| a.to_string() == name)
        .ok_or_else(|| format!("no activation function is called {name:?}"))
}

impl Inputs {
    pub(crate) fn given(batch: &Batch, y: Option<&Array3<f32>>) -> Inputs {
        Inputs::Given {
            x: Numbers::narrow(&batch.x),
            lengths: batch.lengths.clone(),
            states: batch.initial.iter().map(|s| [Numbers::narrow(&s.h), Numbers::narrow(&s.c)]).collect(),
            y: y.map(Numbers::narrow),
        }
    }

    /// Refuses what would take more memory than a comparison of a network that fits into a bundle should.
    pub(crate) fn fit(&self, truth: &Network<Tf1Cell>) -> Result<(), String> {
        let cells = truth.cells();
        let input = cells.first().map_or(0, |c| c.input_size());
        let (sequences, timesteps, width) = match self {
            // All are drawn, and one is run.
            Inputs::Drawn { sequences, timesteps, only: Some(_) } => (*sequences, *timesteps, input),
            Inputs::Drawn { sequences, timesteps, only: None } => {
                (*sequences, *timesteps, cells.iter().map(|c| c.input_size() + 6 * c.units()).sum())
            }
            Inputs::Given { .. } => return Ok(()),
        };
        let values = sequences.checked_mul(timesteps).and_then(|n| n.checked_mul(width));
        match values {
            Some(1..=MAX_VALUES) => Ok(()),
            _ => Err(format!("{sequences} sequences of {timesteps} steps are none or too many")),
        }
    }

    /// The batch for this network, and recorded outputs.
    pub(crate) fn batch(&self, truth: &Network<Tf1Cell>, seed: u64) -> Result<(Batch, Option<Array3<f32>>), String> {
        self.fit(truth)?;
        match self {
            Inputs::Drawn { sequences, timesteps, only } => {
                let spec = InputSpec { sequences: *sequences, timesteps: *timesteps, seed };
                let batch = parity::inputs::draw(spec, truth);
                let Some(Only { sequence, steps }) = *only else { return Ok((batch, None)) };
                if sequence >= *sequences || steps == 0 || steps > *timesteps {
                    return Err(format!("sequence {sequence} up to step {steps} is not among those drawn"));
                }
                Ok((first_steps(&batch, sequence, steps), None))
            }
            Inputs::Given { x, lengths, states, y } => {
                let batch = given(x, lengths, states, truth)?;
                Ok((batch, y.as_ref().map(Numbers::f32).transpose()?))
            }
        }
    }
}

fn given(
    x: &Numbers,
    lengths: &Option<Vec<usize>>,
    states: &[[Numbers; 2]],
    truth: &Network<Tf1Cell>,
) -> Result<Batch, String> {
    let x: Array3<f32> = x.f32()?;
    let (sequences, timesteps, input) = x.dim();
    let cells = truth.cells();
    let first = cells.first().map_or(0, |c| c.input_size());
    if sequences == 0 || timesteps == 0 || input != first || states.len() != cells.len() {
        return Err(format!("inputs {:?} and {} states do not fit the network", x.shape(), states.len()));
    }
    if lengths.as_ref().is_some_and(|all| all.len() != sequences || all.iter().any(|l| *l > timesteps)) {
        return Err("the sequences' lengths do not fit the inputs".to_owned());
    }
    let mut initial = vec![];
    for ([h, c], cell) in states.iter().zip(&cells) {
        let state = State { h: h.f32()?, c: c.f32()? };
        if state.h.dim() != (sequences, cell.recurrent_size()) || state.c.dim() != (sequences, cell.units()) {
            return Err("a state does not fit its cell".to_owned());
        }
        initial.push(state);
    }
    Ok(Batch { x, lengths: lengths.clone(), initial, record_gates: true })
}

/// One sequence of a batch, cut off after some steps.
pub(crate) fn first_steps(batch: &Batch, sequence: usize, steps: usize) -> Batch {
    let mut one = batch.select(sequence..sequence + 1);
    one.x = one.x.slice_axis(Axis(1), (..steps).into()).to_owned();
    one.lengths = one.lengths.map(|all| all.into_iter().map(|l| l.min(steps)).collect());
    one
}

/// The width of what a network gives for inputs of a width, where its parts fit together. `widths` says what a cell reads
/// and gives.
pub(crate) fn output_width<C>(
    network: &Network<C>,
    input: usize,
    widths: &impl Fn(&C) -> (usize, usize),
) -> Result<usize, String> {
    let misfit = || "the cells do not fit together".to_owned();
    match network {
        Network::Cell(cell) | Network::Backward(cell) => {
            Some(widths(cell)).filter(|w| w.0 == input).map(|w| w.1).ok_or_else(misfit)
        }
        Network::Stack(parts) => parts.iter().try_fold(input, |width, part| output_width(part, width, widths)),
        Network::Residual(part) => {
            Some(output_width(part, input, widths)?).filter(|width| *width == input).ok_or_else(misfit)
        }
        Network::Bidirectional { forward, backward, merge } => {
            let (a, b) = (output_width(forward, input, widths)?, output_width(backward, input, widths)?);
            match merge {
                Merge::Concat => Ok(a + b),
                _ => Some(a).filter(|a| *a == b).ok_or_else(misfit),
            }
        }
    }
}
