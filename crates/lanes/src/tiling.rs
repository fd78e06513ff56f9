//! How a sequence kernel is cut to a device: the one place that decides whether it fits.

/// What a device allows a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Workgroup memory.
    pub(crate) workgroup_bytes: usize,
    /// Invocations in a workgroup.
    pub(crate) workgroup_size: usize,
    /// Workgroups in one dimension of a dispatch.
    pub(crate) workgroups: usize,
    /// One binding.
    pub(crate) binding_bytes: usize,
    /// The adapter runs on the CPU.
    pub(crate) is_software: bool,
}

/// The sizes of one run of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) sequences: usize,
    pub(crate) timesteps: usize,
    pub(crate) input: usize,
    pub(crate) units: usize,
    /// The gates are written too.
    pub(crate) gates: bool,
}

/// The constants that are put before a sequence kernel's source, and so part of its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tiling {
    /// Invocations in a workgroup.
    pub(crate) workgroup: u32,
    /// A workgroup keeps 4 × this many sequences; 1 or 2.
    pub(crate) quads: u32,
    /// `vec4` elements of workgroup memory.
    pub(crate) shared: u32,
}

/// How a run is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) tiling: Tiling,
    /// Time steps that one dispatch may take.
    pub(crate) steps: u32,
}

const VEC4_BYTES: usize = 16;
/// The kernels keep one more variable, the number of steps, in workgroup memory.
const RESERVED_BYTES: usize = 16;
/// Loop iterations that one invocation may take in a dispatch, over all its loops. Beyond 65535 Mesa's lavapipe ends
/// every loop where it stands, and reports nothing (`LP_MAX_TGSI_LOOP_ITERATIONS`). The rest is left for what this
/// module does not count.
const ITERATIONS: usize = 50_000;

impl Plan {
    /// The plan for a run, or `None` if the run does not fit the device: then tensor operations take its place.
    ///
    /// Eight sequences a tile halve the traffic of the weights, four let twice as many workgroups work. A software
    /// adapter has few cores and takes eight; a GPU takes four until there are enough tiles to fill it. On lavapipe 32
    /// invocations were the fastest workgroup; a GPU wants one invocation a unit.
    ///
    /// A run does not fit if `input + units` rows of four sequences exceed workgroup memory (16 KiB hold 1023 rows, the
    /// least that WebGPU guarantees), or if one of its buffers exceeds a binding.
    pub(crate) fn choose(sizes: Sizes, limits: &Limits) -> Option<Plan> {
        let Sizes { sequences, timesteps, input, units, gates } = sizes;
        let binding = limits.binding_bytes.min(u32::MAX as usize);
        let rows = input + units;
        let fits = |elements: Option<usize>, bytes: usize| {
            elements.and_then(|n| n.checked_mul(bytes)).is_some_and(|bytes| bytes <= binding)
        };
        let steps = sequences.checked_mul(timesteps)?;
        if !fits(steps.checked_mul(input.max(if gates { 4 * units } else { units })), 4)
            || !fits((rows + 1).checked_mul(units), VEC4_BYTES)
            || !fits(sequences.checked_mul(2 * units), 4)
        {
            return None;
        }
        let shared_limit = limits.workgroup_bytes.checked_sub(RESERVED_BYTES)? / VEC4_BYTES;
        let wide = if limits.is_software { sequences > 4 } else { sequences >= 2048 };
        let quads = [2, 1].into_iter().find(|quads| (*quads == 1 || wide) && quads * rows <= shared_limit)?;
        if sequences.div_ceil(4 * quads) > limits.workgroups {
            return None;
        }
        // Rounded up so that similar sizes share one compiled kernel.
        let shared = (quads * rows).next_power_of_two().min(shared_limit);
        let widest = if limits.is_software { 32 } else { 256 };
        let mut workgroup = units.next_power_of_two().clamp(32, widest).min(limits.workgroup_size);
        let iterations = |workgroup: usize| {
            let staging = (input.div_ceil(workgroup) + units.div_ceil(workgroup)) * (quads + 2);
            1 + staging + units.div_ceil(workgroup) * (rows + 3)
        };
        while iterations(workgroup) > ITERATIONS && 2 * workgroup <= limits.workgroup_size {
            workgroup *= 2;
        }
        let steps = ITERATIONS / iterations(workgroup);
        let tiling = Tiling { workgroup: workgroup as u32, quads: quads as u32, shared: shared as u32 };
        (steps > 0).then_some(Plan { tiling, steps: steps as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(is_software: bool) -> Limits {
        Limits {
            workgroup_bytes: 16 << 10,
            workgroup_size: 256,
            workgroups: 65535,
            binding_bytes: 128 << 20,
            is_software,
        }
    }

    #[test]
    fn workgroup_memory_decides_the_tile_and_the_route() {
        let sizes = |units| Sizes { sequences: 32, timesteps: 10, input: 23, units, gates: false };
        let choose = |units| Plan::choose(sizes(units), &limits(true)).map(|plan| plan.tiling);
        assert_eq!(choose(100), Some(Tiling { workgroup: 32, quads: 2, shared: 256 }));
        assert_eq!(choose(488), Some(Tiling { workgroup: 32, quads: 2, shared: 1023 }));
        assert_eq!(choose(489), Some(Tiling { workgroup: 32, quads: 1, shared: 512 }));
        assert_eq!(choose(1000), Some(Tiling { workgroup: 32, quads: 1, shared: 1023 }));
        assert_eq!(choose(1001), None);
    }

    #[test]
    fn a_gpu_takes_small_tiles_until_it_is_full() {
        let choose = |sequences, units| {
            Plan::choose(Sizes { sequences, timesteps: 10, input: 8, units, gates: false }, &limits(false))
                .unwrap()
                .tiling
        };
        assert_eq!((choose(32, 100).quads, choose(32, 100).workgroup), (1, 128));
        assert_eq!((choose(4096, 300).quads, choose(4096, 300).workgroup), (2, 256));
    }

    #[test]
    fn buffers_beyond_a_binding_take_the_other_route() {
        let huge = Sizes { sequences: 1 << 20, timesteps: 1 << 20, input: 4, units: 4, gates: false };
        assert_eq!(Plan::choose(huge, &limits(false)), None);
        let overflowing = Sizes { sequences: usize::MAX, timesteps: 2, input: 4, units: 4, gates: false };
        assert_eq!(Plan::choose(overflowing, &limits(false)), None);
        let many = Sizes { sequences: 5 << 20, timesteps: 1, input: 1, units: 1, gates: false };
        assert_eq!(Plan::choose(many, &limits(false)), None, "too many workgroups");
    }

    #[test]
    fn a_step_of_many_iterations_takes_a_wider_workgroup() {
        let large = Limits { workgroup_bytes: 64 << 10, ..limits(true) };
        let sizes = Sizes { sequences: 4, timesteps: 10, input: 1000, units: 2000, gates: false };
        let plan = Plan::choose(sizes, &large).unwrap();
        assert_eq!((plan.tiling.workgroup, plan.steps), (128, 1));
        assert_eq!(Plan::choose(sizes, &Limits { workgroup_size: 32, ..large }), None);
    }
}
