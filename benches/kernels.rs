//! Time of the LSTM kernels on a graphics adapter beside Burn's own `nn::Lstm` and our lanes of tensor operations there.
//!
//!     cargo bench --workspace --bench kernels -- [WORD]... [SEQUENCES,STEPS,INPUT,UNITS]...
//!
//! A time is of a whole call, from inputs in main memory to outputs there, weights uploaded by our lanes each time; of
//! `nn::Lstm` the weights are on the device before. The first call, which compiles, is shown apart; then the median of at
//! least two calls, or the second alone where that takes more than five seconds. Lanes count only if their output is that of the tensor operations. With words, such as
//! `kernel` or `tf1`, only what has one of them in its name is timed.

use std::time::Instant;

use burn::nn::LstmConfig;
use burn::tensor::{Tensor, TensorData};
use lanes::{Choice, Device, KerasLstm, Route, Tf1FusedLstm};
use lstm::{Batch, KerasCell, Network, State, Tf1Cell, Trace, convert};
use ndarray::{Array1, Array2, Array3};
use parity::Lane;
use parity::random::Stream;

type Shape = [usize; 4];

const DEFAULT: [Shape; 2] = [[32, 100, 128, 256], [256, 100, 128, 256]];

/// Seconds that one implementation is timed for, beyond two calls.
const SECONDS: f64 = 2.0;

/// Seconds of a call that is not made a third time.
const LONG: f64 = 5.0;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let (shapes, only): (Vec<String>, Vec<String>) = words.into_iter().partition(|word| word.contains(','));
    let given: Vec<Shape> = shapes.iter().map(|text| shape(text)).collect();
    let shapes = if given.is_empty() { DEFAULT.to_vec() } else { given };
    let device = Device::open(Choice::Gpu).unwrap_or_else(|e| panic!("{e}"));
    println!("{} ({})", device.info().name, device.info().kind);
    for shape in shapes {
        of_shape(shape, &device, &only);
    }
}

fn shape(text: &str) -> Shape {
    let numbers: Vec<usize> = text.split(',').map(|n| n.parse().expect("SEQUENCES,STEPS,INPUT,UNITS")).collect();
    numbers.try_into().expect("SEQUENCES,STEPS,INPUT,UNITS")
}

fn of_shape([sequences, steps, input, units]: Shape, device: &Device, only: &[String]) {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|word| name.contains(word.as_str()));
    let random = Stream::new(0, 7);
    let scale = 1.0 / ((input + units) as f32).sqrt();
    let kernel =
        Array2::from_shape_fn((input + units, 4 * units), |(r, c)| scale * random.normal((r * 4 * units + c) as u64));
    let cell = Tf1Cell::new(kernel, Array1::zeros(4 * units)).expect("a kernel of the right shape");
    let keras: Network<KerasCell> = Network::Cell(convert::to_keras(&cell).expect("a plain cell"));
    let tf1 = Network::Cell(cell.clone());
    let inputs = Stream::new(0, 8);
    let x = Array3::from_shape_fn((sequences, steps, input), |(n, t, d)| {
        inputs.normal(((n * steps + t) * input + d) as u64)
    });
    let zero = Array2::zeros((sequences, units));
    let batch = Batch { x, lengths: None, initial: vec![State { h: zero.clone(), c: zero }], record_gates: false };
    // Two operations for each weight of each gate, per sequence and step.
    let operations = 2.0 * (4 * units * (input + units)) as f64 * (sequences * steps) as f64;
    println!("\n{sequences} sequences, {steps} steps, {input} inputs, {units} units: {:.2} GFLOP", operations / 1e9);

    let burn = LstmConfig::new(input, units, true).init(device.burn());
    let slowest = wanted("Burn nn::Lstm").then(|| {
        time("Burn nn::Lstm", operations, None, || {
            let x = TensorData::new(batch.x.iter().copied().collect::<Vec<f32>>(), [sequences, steps, input]);
            let (output, _) = burn.forward(Tensor::<3>::from_data(x, device.burn()), None);
            output.into_data();
        })
    });
    let mut reference: Option<Array3<f32>> = None;
    for route in [Route::Operations, Route::SequenceKernel, Route::StepKernel, Route::VectorKernel] {
        let tf1_lane = Tf1FusedLstm::new(device.clone()).with_route(route);
        let keras_lane = KerasLstm::new(device.clone()).with_route(route);
        let runs: [(String, &dyn Fn() -> Trace<f32>); 2] = [
            (Lane::name(&tf1_lane), &|| tf1_lane.run(&tf1, &batch).unwrap_or_else(|e| panic!("{e}"))),
            (Lane::name(&keras_lane), &|| keras_lane.run(&keras, &batch).unwrap_or_else(|e| panic!("{e}"))),
        ];
        if route != Route::Operations && !tf1_lane.chosen(&cell, sequences, steps).is_kernel() {
            println!("{} does not fit", Lane::name(&tf1_lane));
            continue;
        }
        for (name, run) in runs.into_iter().filter(|(name, _)| wanted(name)) {
            time(&name, operations, slowest, || {
                let output = run().output;
                let right = reference.get_or_insert_with(|| output.clone());
                let off = right.iter().zip(&output).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                assert!(off <= 1e-5, "{name} is {off:e} from the tensor operations");
            });
        }
    }
    let chosen = Tf1FusedLstm::new(device.clone()).chosen(&cell, sequences, steps);
    println!("chosen: {chosen}");
}

/// Prints the first call and the median of the others, and gives the median in seconds.
fn time(name: &str, operations: f64, beside: Option<f64>, mut call: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    };
    let first = once();
    let mut times = vec![];
    while times.is_empty()
        || (times.len() < 2 && times[0] < LONG)
        || (times.iter().sum::<f64>() < SECONDS && times.len() < 50)
    {
        times.push(once());
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let ratio = beside.map_or_else(String::new, |b| format!("  {:6.1} x nn::Lstm", b / median));
    println!(
        "{name:<26} first {:8.1} ms, then {:8.1} ms ({:.1} to {:.1}), {:6.1} GFLOP/s{ratio}",
        first * 1e3,
        median * 1e3,
        times[0] * 1e3,
        times[times.len() - 1] * 1e3,
        operations / median / 1e9
    );
    median
}
