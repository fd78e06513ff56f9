//! Can this device be trusted? Tried before any verdict, against f64 on the CPU.
//!
//! GPU backends have returned wrong numbers in public reports (all-zero products, near-zero results for tall matrices),
//! so a verdict on a device stands only after the operations that lanes use gave right results there.

mod kernels;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Tensor, TensorData};
use lstm::{Activation, Batch, CellTrace, KerasCell, Network, State, oracle};
use ndarray::{Array1, Array2, Array3, s};
use parity::bound::{LAMBDA, SMALLEST_RESULT, UNIT_ROUNDOFF};
use parity::random::Stream;
use parity::{ActivationBudget, Lane};

use crate::cpu_twin::panels;
use crate::wiring::upload;
use crate::{Device, KerasLstm, apply};

/// M, K, N of the products tried: one, primes, powers of two and their neighbours, tall, wide and deep.
const PRODUCTS: [[usize; 3]; 14] = [
    [1, 1, 1],
    [1, 4, 3],
    [7, 5, 1],
    [3, 33, 31],
    [64, 120, 400],
    [65, 129, 257],
    [257, 33, 255],
    [500, 64, 100],
    [513, 12, 1023],
    [1, 1024, 257],
    [1024, 1, 7],
    [1024, 16, 129],
    [127, 1023, 65],
    [6, 511, 4],
];

/// Points of the sweep of one activation.
const SWEEP: usize = 1 << 16;

/// An activation further off than this is not a rounding matter any more. (A hard sigmoid is far off in ULP just above
/// its foot, where 0.5 cancels.)
const SANE_ULP: f64 = 1024.0;

/// The error of one activation function on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationError {
    /// The function.
    pub function: Activation,
    /// Largest error found, in ULP of the result (results below 2⁻¹² count as 2⁻¹²).
    pub ulp: f64,
    /// Where it was found.
    pub at: f32,
}

/// What was found on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfCheck {
    /// What each activation may add to a bound: twice the largest error found, and at least one ULP.
    pub budget: ActivationBudget,
    /// The errors that the budget rests on.
    pub activations: Vec<ActivationError>,
    /// Products tried.
    pub products: usize,
    /// Largest error of a product, as a share of its rounding bound.
    pub product_ratio: f64,
    /// What went wrong; empty if the device can be trusted.
    pub failures: Vec<String>,
}

impl SelfCheck {
    /// Tries the device, with these activation functions; the budget of any other is infinite, so that it is never
    /// assumed.
    pub fn run(device: &Device, functions: &[Activation]) -> SelfCheck {
        let mut failures = vec![];
        let mut activations = vec![];
        for &function in functions {
            match guarded(|| activation(device, function)) {
                Ok((error, more)) => {
                    if error.ulp.is_nan() || error.ulp > SANE_ULP {
                        failures.push(format!("{function} is {:.3e} ULP off at {:e}", error.ulp, error.at));
                    }
                    activations.push(error);
                    failures.extend(more);
                }
                Err(message) => failures.push(format!("{function}: {message}")),
            }
        }
        let mut product_ratio = 0.0f64;
        let ways = if device.is_cpu() { &[by_burn, by_the_twin][..] } else { &[by_burn as Multiply] };
        for (index, shape) in PRODUCTS.into_iter().enumerate() {
            for way in ways {
                match guarded(|| product(device, *way, shape, index as u32)) {
                    Ok(Some(ratio)) if ratio <= 1.0 => product_ratio = product_ratio.max(ratio),
                    Ok(Some(ratio)) => {
                        failures.push(format!("the product {shape:?} is off by {ratio:.3e} times its rounding bound"))
                    }
                    Ok(None) => {
                        failures.push(format!("the product {shape:?} has the wrong size or values that are not finite"))
                    }
                    Err(message) => failures.push(format!("the product {shape:?}: {message}")),
                }
            }
        }
        match guarded(|| whole_lane(device)) {
            Ok(more) => failures.extend(more),
            Err(message) => failures.push(format!("a lane: {message}")),
        }
        let measured = activations.clone();
        let budget = ActivationBudget::new(move |function| {
            let found = measured.iter().find(|e| e.function == function);
            found.map_or(f64::INFINITY, |e| (2.0 * e.ulp).max(1.0))
        });
        SelfCheck { budget, activations, products: PRODUCTS.len() * ways.len(), product_ratio, failures }
    }
}

impl SelfCheck {
    /// Tries the kernels of both lanes too, with everything a cell may have, and what is drawn and reduced on the device.
    /// That compiles some ten shaders, seconds of work on a software adapter; a verification does without where the oracle
    /// judges everything that a kernel gives.
    pub fn and_kernels(mut self, device: &Device) -> SelfCheck {
        match guarded(|| kernels::failures(device, &budget_of_kernels(device, &self.budget)?)) {
            Ok(more) => self.failures.extend(more),
            Err(message) => self.failures.push(format!("a kernel: {message}")),
        }
        self
    }
}

/// What sigmoid and tanh may add to the bound by which kernels are judged, whether or not they were asked for.
fn budget_of_kernels(device: &Device, known: &ActivationBudget) -> Result<ActivationBudget, String> {
    let of = |function| match known.ulp(function) {
        ulp if ulp.is_finite() => Ok(ulp),
        _ => activation(device, function).map(|(error, _)| (2.0 * error.ulp).max(1.0)),
    };
    if device.limits().is_none() {
        return Ok(*known);
    }
    let (sigmoid, tanh) = (of(Activation::Sigmoid)?, of(Activation::Tanh)?);
    Ok(ActivationBudget::new(|function| if function == Activation::Sigmoid { sigmoid } else { tanh }))
}

/// Burn reports some failures of a device by panicking.
fn guarded<T>(attempt: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| Err("the device failed".to_owned()))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    tensor.try_into_data().map_err(|e| e.to_string())?.try_into_vec::<f32>().map_err(|e| e.to_string())
}

/// Sweeps one activation densely, and tries the ends of the float range.
fn activation(device: &Device, function: Activation) -> Result<(ActivationError, Vec<String>), String> {
    let x = points();
    let tensor = Tensor::<1>::from_data(TensorData::new(x.clone(), [x.len()]), device.burn());
    let y = values(apply(function, tensor, device))?;
    judge_activation(function, &x, &y)
}

/// Where activations are tried.
fn points() -> Vec<f32> {
    // Half of the points evenly over the bit patterns up to ±128 (every exponent), half evenly over ±32.
    let half = SWEEP / 2;
    let by_bits = (0..half).map(|k| {
        let magnitude = f32::from_bits((k / 2 * (128f32.to_bits() as usize / (half / 2))) as u32);
        if k % 2 == 0 { magnitude } else { -magnitude }
    });
    let evenly = (0..half).map(|k| (k as f32 / half as f32 - 0.5) * 64.0);
    let ends = [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        1e30,
        -1e30,
        88.8,
        -88.8,
        104.0,
        -104.0,
        0.0,
        -0.0,
        1e-42,
        f32::NAN,
    ];
    by_bits.chain(evenly).chain(ends).collect()
}

/// Judges the values `y` of a function at `x`.
fn judge_activation(function: Activation, x: &[f32], y: &[f32]) -> Result<(ActivationError, Vec<String>), String> {
    if y.len() != x.len() {
        return Err(format!("{} values for {} points", y.len(), x.len()));
    }
    let mut worst = ActivationError { function, ulp: 0.0, at: 0.0 };
    let mut failures = vec![];
    for (&x, &y) in x.iter().zip(y) {
        let exact = oracle::activation(function, f64::from(x));
        if x.is_nan() {
            if !y.is_nan() {
                failures.push(format!("{function} turns NaN into {y}"));
            }
            continue;
        }
        // Where the truth leaves the range of f32, infinity of the right sign is right.
        let exact_f32 = exact as f32;
        if exact_f32.is_infinite() || exact.is_infinite() {
            if y != exact_f32 && y.abs() < f32::MAX {
                failures.push(format!("{function}({x}) is {y}: expected {exact_f32}"));
            }
            continue;
        }
        let ulp = (f64::from(y) - exact).abs() / (2.0 * UNIT_ROUNDOFF * exact.abs().max(SMALLEST_RESULT));
        // Once NaN, always NaN.
        if ulp.is_nan() || ulp > worst.ulp {
            worst = ActivationError { ulp, at: x, ..worst };
        }
    }
    Ok((worst, failures))
}

fn random(rows: usize, columns: usize, stream: u32) -> Array2<f32> {
    let stream = Stream::new(0, 1 << 24 | stream);
    Array2::from_shape_fn((rows, columns), |(r, c)| stream.normal((r * columns + c) as u64))
}

/// The error of one product as a share of its rounding bound; `None` if it has the wrong size or is not finite. Run
/// twice: the results must be the same bit for bit.
fn product(device: &Device, multiply: Multiply, [m, k, n]: [usize; 3], stream: u32) -> Result<Option<f64>, String> {
    let (a, b) = (random(m, k, 2 * stream), random(k, n, 2 * stream + 1));
    let (found, again) = (multiply(device, &a, &b)?, multiply(device, &a, &b)?);
    judge_product(&a, &b, &found, &again)
}

/// What multiplies two matrices on a device.
type Multiply = fn(&Device, &Array2<f32>, &Array2<f32>) -> Result<Vec<f32>, String>;

/// Burn: the lanes' tensor operations.
fn by_burn(device: &Device, a: &Array2<f32>, b: &Array2<f32>) -> Result<Vec<f32>, String> {
    // What the pool hands out next holds NaN: an element that is not written shows.
    drop(values(Tensor::<2>::full([a.nrows(), b.ncols()], f32::NAN, device.burn()))?);
    values(upload(a, device).matmul(upload(b, device)))
}

/// The kernels' twin on the CPU.
fn by_the_twin(_: &Device, a: &Array2<f32>, b: &Array2<f32>) -> Result<Vec<f32>, String> {
    Ok(panels::product(a.view(), b.view()))
}

/// Judges two runs of the product of `a` and `b`.
fn judge_product(a: &Array2<f32>, b: &Array2<f32>, found: &[f32], again: &[f32]) -> Result<Option<f64>, String> {
    if found.len() != a.nrows() * b.ncols() || found.iter().any(|v| !v.is_finite()) {
        return Ok(None);
    }
    if found.len() != again.len() || found.iter().zip(again).any(|(a, b)| a.to_bits() != b.to_bits()) {
        return Err("two runs differ".to_owned());
    }
    let wide = |a: &Array2<f32>, f: fn(f64) -> f64| a.mapv(|v| f(f64::from(v)));
    let exact = wide(a, |v| v).dot(&wide(b, |v| v));
    let magnitude = wide(a, f64::abs).dot(&wide(b, f64::abs));
    let factor = LAMBDA * (a.ncols() as f64 + 1.0).sqrt() * UNIT_ROUNDOFF;
    let ratios = exact.iter().zip(&magnitude).zip(found).map(|((e, m), f)| (f64::from(*f) - e).abs() / (factor * m));
    Ok(Some(ratios.fold(0.0, f64::max)))
}

/// A lane as a whole: not a number and infinity stay in their own sequence, and a second run gives the same bits.
fn whole_lane(device: &Device) -> Result<Vec<String>, String> {
    let (sequences, timesteps, input, units) = (5, 3, 7, 9);
    let kernel = random(input, 4 * units, 1001) * 0.3;
    let recurrent = random(units, 4 * units, 1002) * 0.3;
    let cell = KerasCell::new(kernel, recurrent, Array1::zeros(4 * units)).map_err(|e| e.to_string())?;
    let stream = Stream::new(0, 1 << 24 | 1003);
    let x = Array3::from_shape_fn((sequences, timesteps, input), |(n, t, d)| {
        stream.normal(((n * timesteps + t) * input + d) as u64)
    });
    let zero = State { h: Array2::zeros((sequences, units)), c: Array2::zeros((sequences, units)) };
    let lane = KerasLstm::new(device.clone());
    let run = |x: Array3<f32>| -> Result<CellTrace<f32>, String> {
        let batch = Batch { x, lengths: None, initial: vec![zero.clone()], record_gates: true };
        let mut trace = lane.run(&Network::Cell(cell.clone()), &batch).map_err(|e| e.to_string())?;
        trace.cells.pop().ok_or_else(|| "no output".to_owned())
    };
    let mut poisoned = x.clone();
    poisoned[[POISONED[0], 1, 0]] = f32::NAN;
    poisoned[[POISONED[1], 1, 0]] = f32::INFINITY;
    let clean = run(x.clone())?;
    let spoilt = run(poisoned)?;
    Ok(judge_lane(&clean, &spoilt, &run(x)?))
}

/// The sequences that get NaN and infinity in their second step.
const POISONED: [usize; 2] = [1, 3];

/// Judges three runs of a lane: as it should be, with poison in two sequences, and as it should be once more.
fn judge_lane(clean: &CellTrace<f32>, spoilt: &CellTrace<f32>, again: &CellTrace<f32>) -> Vec<String> {
    let mut failures = vec![];
    if !clean.h.iter().chain(&clean.c).all(|v| v.is_finite()) {
        failures.push("a lane gives values that are not finite from finite ones".to_owned());
    }
    if clean.h.iter().all(|v| *v == 0.0) {
        failures.push("a lane gives nothing but zeros".to_owned());
    }
    if !spoilt.h.slice(s![POISONED[0], 1.., ..]).iter().all(|v| v.is_nan()) {
        failures.push("NaN in the input of a lane does not reach its output".to_owned());
    }
    let row = |t: &CellTrace<f32>, n: usize| t.h.slice(s![n, .., ..]).to_owned();
    let others = (0..clean.h.dim().0).filter(|n| !POISONED.contains(n));
    if others.into_iter().any(|n| row(spoilt, n) != row(clean, n)) {
        failures.push("NaN or infinity in one sequence changes another".to_owned());
    }
    let bits = |t: &CellTrace<f32>| t.h.iter().chain(&t.c).map(|v| v.to_bits()).collect::<Vec<u32>>();
    if bits(again) != bits(clean) {
        failures.push("a lane run twice gives different bits".to_owned());
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;

    #[test]
    fn the_cpu_can_be_trusted() {
        let check = SelfCheck::run(&Device::open(Choice::Cpu).expect("the CPU is always there"), &Activation::ALL);
        assert_eq!(check.failures, Vec::<String>::new());
        assert!(check.product_ratio > 0.0 && check.product_ratio < 1.0, "{}", check.product_ratio);
        for error in check.activations.iter().filter(|e| matches!(e.function, Activation::Tanh | Activation::Sigmoid)) {
            assert!(error.ulp < 8.0, "{error:?}");
        }
        let sigmoid = check.budget.ulp(Activation::Sigmoid);
        assert!((1.0..32.0).contains(&sigmoid), "{sigmoid}");
    }

    #[test]
    fn what_was_not_measured_has_no_budget() {
        let check = SelfCheck::run(&Device::open(Choice::Cpu).expect("the CPU is always there"), &[Activation::Tanh]);
        assert!(check.budget.ulp(Activation::Tanh).is_finite());
        assert_eq!(check.budget.ulp(Activation::Relu), f64::INFINITY);
    }

    #[test]
    fn a_wrong_activation_is_caught() {
        let x = points();
        let judge = |f: &dyn Fn(f32) -> f32| {
            let y: Vec<f32> = x.iter().map(|v| f(*v)).collect();
            judge_activation(Activation::Tanh, &x, &y).expect("as many values as points")
        };
        let (right, failures) = judge(&f32::tanh);
        assert!(right.ulp < 2.0 && failures.is_empty());
        // Overflows where e^2x does, as a tanh written out naively.
        let (naive, _) = judge(&|v| ((2.0 * v).exp() - 1.0) / ((2.0 * v).exp() + 1.0));
        assert!(naive.ulp.is_nan() || naive.ulp > SANE_ULP, "{naive:?}");
        let (_, failures) = judge(&|v| v.tanh().max(-1.0));
        assert!(failures.iter().any(|f| f.contains("turns NaN into")), "{failures:?}");
        let (rough, _) = judge(&|v| v.tanh() + 1e-4);
        assert!(rough.ulp > SANE_ULP);
        let (hole, _) = judge(&|v| if v == 0.0 { f32::NAN } else { v.tanh() });
        assert!(hole.ulp.is_nan(), "a NaN must not be lost among right values");
        assert!(judge_activation(Activation::Tanh, &x, &[0.0]).is_err());
    }

    #[test]
    fn a_wrong_product_is_caught() {
        let (a, b) = (random(5, 7, 1), random(7, 3, 2));
        let right: Vec<f32> = a.dot(&b).into_iter().collect();
        let judge = |found: &[f32]| judge_product(&a, &b, found, found);
        assert!(matches!(judge(&right), Ok(Some(ratio)) if ratio < 1.0));
        assert!(matches!(judge(&[0.0; 15]), Ok(Some(ratio)) if ratio > 1.0), "all zeros");
        let mut one_off = right.clone();
        one_off[14] += 1e-4;
        assert!(matches!(judge(&one_off), Ok(Some(ratio)) if ratio > 1.0), "one element");
        let mut stale = right.clone();
        stale[3] = f32::NAN;
        assert_eq!(judge(&stale), Ok(None), "an element that was not written");
        assert_eq!(judge(&right[..14]), Ok(None), "too few");
        assert!(judge_product(&a, &b, &right, &one_off).is_err(), "two runs differ");
    }

    #[test]
    fn a_wrong_lane_is_caught() {
        let trace = |value: f32| CellTrace {
            h: Array3::from_shape_fn((5, 3, 2), |(n, t, u)| value + (n * 6 + t * 2 + u) as f32),
            c: Array3::ones((5, 3, 2)),
            gates: None,
        };
        let clean = trace(1.0);
        let mut spoilt = clean.clone();
        spoilt.h.slice_mut(s![1, 1.., ..]).fill(f32::NAN);
        assert_eq!(judge_lane(&clean, &spoilt, &clean), Vec::<String>::new());
        let says =
            |failures: Vec<String>, words: &str| assert!(failures.iter().any(|f| f.contains(words)), "{failures:?}");
        says(judge_lane(&clean, &clean, &clean), "does not reach its output");
        says(judge_lane(&clean, &spoilt, &trace(2.0)), "different bits");
        let mut leaking = spoilt.clone();
        leaking.h[[2, 2, 1]] = f32::NAN;
        says(judge_lane(&clean, &leaking, &clean), "changes another");
        says(judge_lane(&spoilt, &spoilt, &spoilt), "not finite from finite ones");
        let zeros = CellTrace { h: Array3::zeros((5, 3, 2)), ..clean };
        says(judge_lane(&zeros, &zeros, &zeros), "nothing but zeros");
    }
}
