//! What a device can do at best, measured.

use std::time::Instant;

use burn::tensor::{Distribution, Tensor};
use parity::LaneError;
use rayon::prelude::*;

use crate::Device;
use crate::cpu_twin::panels::OnAllCores;
use crate::wiring::{failed, guarded};

/// The most that a device was seen to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Of a product of two square matrices, by Burn or on the CPU by the twin if that is faster, in 10⁹ additions and multiplications a second.
    pub gflops: f64,
    /// Of a copy within the device's memory, read and written bytes together, in 10⁹ bytes a second.
    pub copy_gb_s: f64,
}

/// Rows and columns of the matrices: enough to keep a GPU busy, and small enough for a CPU to finish.
const SIZE: usize = 2048;
const SIZE_ON_A_CPU: usize = 1024;
/// Bytes copied: beyond the caches of most processors.
const COPIED: usize = 128 << 20;
/// Each is run this often, the best counts.
const RUNS: usize = 5;

impl Peak {
    /// Measures a device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn measure(device: &Device) -> Result<Peak, LaneError> {
        let measured = guarded(|| {
            let size = if device.is_cpu() || device.info().is_software { SIZE_ON_A_CPU } else { SIZE };
            let matrix = || Tensor::<2>::random([size, size], Distribution::Default, device.burn());
            let (a, b) = (matrix(), matrix());
            let mut product = best(device, || drop(a.clone().matmul(b.clone())))?;
            if device.is_cpu() {
                // Two libraries may differ by much: a share of the peak means something only beside the better one.
                let own = OnAllCores::new(size);
                product = product.min(best(device, || own.run())?);
            }
            let operations = 2.0 * (size as f64).powi(3);
            let copy = if device.is_cpu() {
                let (from, mut to) = (vec![1f32; COPIED / size_of::<f32>()], vec![0f32; COPIED / size_of::<f32>()]);
                best(device, || copy(&from, &mut to))?
            } else {
                let from = Tensor::<1>::ones([COPIED / size_of::<f32>()], device.burn());
                // A tensor's clone shares its memory; a product with a scalar reads and writes all of it.
                best(device, || drop(from.clone() * 2.0))?
            };
            Ok(Peak { gflops: operations / product / 1e9, copy_gb_s: 2.0 * COPIED as f64 / copy / 1e9 })
        });
        measured.map_err(|message| failed("the peak", device, message))
    }
}

fn copy(from: &[f32], to: &mut [f32]) {
    const PART: usize = 1 << 18;
    to.par_chunks_mut(PART).zip(from.par_chunks(PART)).for_each(|(to, from)| to.copy_from_slice(from));
}

/// Seconds of the shortest of several runs, the first of which only warms up.
fn best(device: &Device, mut work: impl FnMut()) -> Result<f64, String> {
    let mut best = f64::INFINITY;
    for run in 0..=RUNS {
        let started = Instant::now();
        work();
        device.burn().sync().map_err(|e| e.to_string())?;
        let took = started.elapsed().as_secs_f64();
        if run > 0 {
            best = best.min(took);
        }
    }
    Ok(best)
}
