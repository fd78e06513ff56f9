//! How far two traces on the device are apart at each step, reduced there: `apart.wgsl`.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};
use burn_cubecl::cubecl::prelude::KernelId;
use burn_cubecl::template::{KernelSource, SourceTemplate};
use parity::apart::{Apart, Seen};

use crate::sequence_op::KernelOps;
use crate::wgsl::{bytes_of, constant_lines};

const APART: &str = include_str!("../../../kernels/apart.wgsl");

/// `apart.wgsl`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ApartKernel;

impl ApartKernel {
    /// Invocations in a workgroup.
    pub(crate) const WORKGROUP: u32 = 64;
    /// Words that a workgroup writes.
    pub(crate) const RECORD: usize = 14;
    /// Elements of a step that one workgroup goes through at most: lavapipe ends all loops of an invocation after 65535
    /// iterations.
    const PART: usize = 1 << 20;

    fn text(self) -> String {
        [&constant_lines(&[("WORKGROUP", ApartKernel::WORKGROUP)]), APART].concat()
    }
}

impl KernelSource for ApartKernel {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.text())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>()
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// `Parameters` of `apart.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApartParameters {
    pub(crate) sequences: u32,
    pub(crate) timesteps: u32,
    pub(crate) width: u32,
    /// In which each step is cut.
    pub(crate) parts: u32,
}

impl ApartParameters {
    fn words(&self) -> [(&'static str, u32); 4] {
        [("sequences", self.sequences), ("timesteps", self.timesteps), ("width", self.width), ("parts", self.parts)]
    }

    /// The struct as the kernel reads it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes_of(&self.words())
    }

    /// Words of the result.
    pub(crate) fn results(&self) -> usize {
        self.timesteps as usize * self.parts as usize * ApartKernel::RECORD
    }
}

/// The buffers of `apart.wgsl`.
pub(crate) const APART_BINDINGS: [(&str, bool); 5] =
    [("a", false), ("b", false), ("lengths", false), ("found", true), ("parameters", false)];

/// A reduction under way on the device.
pub(crate) struct Reduction {
    words: Tensor<1, Int>,
    parameters: ApartParameters,
}

impl Reduction {
    /// Of the TF1 lane's and the Keras lane's trace `[sequences, timesteps, width]`.
    pub(crate) fn begin(tf1: Tensor<3>, keras: Tensor<3>, lengths: &[u32]) -> Result<Reduction, String> {
        let [sequences, timesteps, width] = tf1.dims();
        if keras.dims() != tf1.dims() || lengths.len() != sequences {
            return Err(format!("traces {:?} and {:?} of {} lengths", tf1.dims(), keras.dims(), lengths.len()));
        }
        let parts = (sequences * width).div_ceil(ApartKernel::PART).max(1);
        let [sequences, timesteps, width, parts] = [sequences, timesteps, width, parts].map(|n| n as u32);
        let parameters = ApartParameters { sequences, timesteps, width, parts };
        let words = Dispatch::apart(tf1.into_dispatch(), keras.into_dispatch(), lengths.to_vec(), parameters);
        Ok(Reduction { words: Tensor::from_dispatch(words), parameters })
    }

    /// Each step, with sequences counted from `first`.
    pub(crate) fn finish(self, first: usize) -> Result<Vec<Apart>, String> {
        let words = self.words.try_into_data().map_err(|e| e.to_string())?;
        let words = words.try_into_vec::<i32>().map_err(|e| e.to_string())?;
        if words.len() != self.parameters.results() {
            return Err(format!("{} words of a reduction: expected {}", words.len(), self.parameters.results()));
        }
        let words: Vec<u32> = words.into_iter().map(i32::cast_unsigned).collect();
        let of_step = |records: &[u32]| {
            let mut step = Apart::default();
            records
                .chunks_exact(ApartKernel::RECORD)
                .for_each(|r| step.merge(&record(r, self.parameters.width, first)));
            step
        };
        Ok(words.chunks_exact(self.parameters.parts as usize * ApartKernel::RECORD).map(of_step).collect())
    }
}

fn record(words: &[u32], width: u32, first: usize) -> Apart {
    let seen = |at: usize| {
        let element = words[at];
        (element != u32::MAX).then(|| Seen {
            sequence: first + (element / width) as usize,
            unit: (element % width) as usize,
            tf1: f32::from_bits(words[at + 1]),
            keras: f32::from_bits(words[at + 2]),
        })
    };
    Apart {
        count: words[0].into(),
        non_finite: words[1].into(),
        first_non_finite: seen(2),
        abs: seen(5),
        rel: seen(8),
        ulp: seen(11),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader_test::check;

    #[test]
    fn the_kernel_agrees_with_the_host() {
        let parameters = ApartParameters { sequences: 1, timesteps: 2, width: 3, parts: 4 };
        assert_eq!(parameters.results(), 2 * 4 * 14);
        check(&ApartKernel.text(), ApartKernel::WORKGROUP, &APART_BINDINGS, &parameters.words());
        assert!(ApartKernel.text().contains(&format!("const RECORD: u32 = {}u;", ApartKernel::RECORD)));
    }
}
