//! How a kernel is cut to a device: the one place that decides which kernel runs, and whether one fits at all.

use std::fmt;

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
    /// Invocations of a subgroup, where shaders may use subgroups and 64-bit integers and all subgroups have one size.
    pub(crate) subgroup: Option<usize>,
}

impl Limits {
    /// Runs take `vector.wgsl` where it fits, and never `sequence.wgsl`.
    pub(crate) fn prefers_vectors(&self) -> bool {
        self.is_software && self.subgroup.is_some_and(|lanes| lanes.is_multiple_of(2))
    }
}

/// The sizes of one run of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) sequences: usize,
    pub(crate) timesteps: usize,
    pub(crate) input: usize,
    /// Width of h: the units, or what they are projected to.
    pub(crate) recurrent: usize,
    pub(crate) units: usize,
    /// h is a projection of what the units show.
    pub(crate) projected: bool,
    /// The gates are written too.
    pub(crate) gates: bool,
}

/// The ways to run a cell in kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// `sequence.wgsl`: all steps in one dispatch, or as many as a driver bears.
    Sequence {
        /// `vec4` elements of workgroup memory.
        shared: u32,
    },
    /// `step.wgsl`: a dispatch for each step.
    Step {
        /// Units that a workgroup computes.
        units: u32,
        /// Invocations that share the rows of one unit's products.
        slices: u32,
    },
    /// `vector.wgsl`: a dispatch for each step, for adapters that compute on the vectors of a CPU.
    Vector {
        /// Units of one invocation.
        own: u32,
    },
}

/// The constants that are put before a kernel's source, and so part of its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tiling {
    /// Invocations in a workgroup.
    pub(crate) workgroup: u32,
    /// A workgroup keeps 4 × this many sequences; 1, 2 or 4, and in `vector.wgsl` 8.
    pub(crate) quads: u32,
    pub(crate) form: Form,
}

impl Tiling {
    /// Elements of x, of the given width, for which the kernel wants room in the state of each sequence.
    pub(crate) fn staged(self, input: usize) -> usize {
        if matches!(self.form, Form::Vector { .. }) { STAGED_STEPS * input } else { 0 }
    }
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sequences = 4 * self.quads;
        match self.form {
            Form::Sequence { .. } => {
                write!(f, "sequence kernel, {sequences} sequences a workgroup of {}", self.workgroup)
            }
            Form::Step { units, slices } => {
                write!(f, "step kernel, {sequences} sequences and {units} units a workgroup of {slices} x {units}")
            }
            Form::Vector { own } => {
                let workgroup = self.workgroup;
                write!(f, "vector kernel, {sequences} sequences and {own} units a lane, vectors of {workgroup}")
            }
        }
    }
}

/// How a run is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) tiling: Tiling,
    /// Time steps that one dispatch may take.
    pub(crate) steps: u32,
}

const VEC4_BYTES: usize = 16;
/// The kernels keep one more variable in workgroup memory.
const RESERVED_BYTES: usize = 16;
/// Loop iterations that one invocation may take in a dispatch, over all its loops. Beyond 65535 Mesa's lavapipe ends
/// every loop where it stands, and reports nothing (`LP_MAX_TGSI_LOOP_ITERATIONS`). The rest is left for what this
/// module does not count.
const ITERATIONS: usize = 50_000;

impl Plan {
    /// The plan for a run, or `None` if the run does not fit the device: then tensor operations take its place.
    pub(crate) fn choose(sizes: Sizes, limits: &Limits) -> Option<Plan> {
        if limits.prefers_vectors() {
            // On lavapipe some six times faster than the others (`benches/README.md`).
            return Plan::on_vectors(sizes, limits).or_else(|| Plan::step_by_step(sizes, limits));
        }
        match (Plan::whole_sequence(sizes, limits), Plan::step_by_step(sizes, limits)) {
            (Some(whole), Some(steps)) => Some(if prefers_steps(sizes, limits, &whole) { steps } else { whole }),
            (whole, steps) => whole.or(steps),
        }
    }

    /// Whole sequences in one workgroup.
    ///
    /// Eight sequences a tile halve the traffic of the weights, four let twice as many workgroups work. A software
    /// adapter has few cores and takes eight; a GPU takes four until there are enough tiles to fill it. On lavapipe 32
    /// invocations were the fastest workgroup; a GPU wants one invocation a unit.
    ///
    /// A run does not fit if `input + recurrent` rows of four sequences exceed workgroup memory (16 KiB hold 1023 rows,
    /// the least that WebGPU guarantees), or if one of its buffers exceeds a binding.
    pub(crate) fn whole_sequence(sizes: Sizes, limits: &Limits) -> Option<Plan> {
        let Sizes { sequences, input, recurrent, units, projected, .. } = sizes;
        if !buffers_fit(sizes, limits) {
            return None;
        }
        let rows = input + recurrent;
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
            let staging = (input.div_ceil(workgroup) + recurrent.div_ceil(workgroup)) * (quads + 2);
            // Rows four at a time, of x and of h apart.
            let products = units.div_ceil(workgroup) * (rows / 4 + 9);
            let projection = if projected { quads * (units / 4 + 4) * recurrent.div_ceil(workgroup) } else { 0 };
            1 + staging + products + projection
        };
        while iterations(workgroup) > ITERATIONS && 2 * workgroup <= limits.workgroup_size {
            workgroup *= 2;
        }
        let steps = ITERATIONS / iterations(workgroup);
        let form = Form::Sequence { shared: shared as u32 };
        let tiling = Tiling { workgroup: workgroup as u32, quads: quads as u32, form };
        (steps > 0).then_some(Plan { tiling, steps: steps as u32 })
    }

    /// A dispatch for each step, in which a workgroup is one vector of the CPU.
    ///
    /// A weight is read once for all sequences of a workgroup, and reading costs most: as many sequences as there are,
    /// up to 32. More than two units in a lane were little faster and took three times as long to compile.
    pub(crate) fn on_vectors(sizes: Sizes, limits: &Limits) -> Option<Plan> {
        let Sizes { sequences, input, recurrent, units, projected, .. } = sizes;
        let lanes = limits.subgroup.filter(|lanes| lanes.is_multiple_of(2) && *lanes <= limits.workgroup_size)?;
        let staged = STAGED_STEPS.checked_mul(input)?;
        let state = (2 * recurrent + 2 * units + 3).checked_add(staged)?;
        if !buffers_fit(sizes, limits) || !fits(limits, [tiles(sequences), state, VEC4_BYTES]) {
            return None;
        }
        let quads = sequences.div_ceil(4).next_power_of_two().min(8);
        let own = 2;
        let projection = if projected { units.div_ceil(4) * quads } else { 0 };
        let products = (input.div_ceil(lanes) + recurrent.div_ceil(lanes)) * (1 + lanes / 2) + own * quads;
        let staging = STAGED_STEPS * (1 + quads);
        let tiles = sequences.div_ceil(4 * quads);
        let groups = units.div_ceil(own * lanes).max(recurrent.div_ceil(lanes)).max(input.div_ceil(lanes));
        if products.max(projection).max(staging) > ITERATIONS || tiles.max(groups) > limits.workgroups {
            return None;
        }
        let form = Form::Vector { own: own as u32 };
        Some(Plan { tiling: Tiling { workgroup: lanes as u32, quads: quads as u32, form }, steps: 1 })
    }

    /// A dispatch for each step.
    ///
    /// Workgroups of a few units keep a whole GPU busy with the units of one tile of sequences; where there are few
    /// sequences, the rows of each product are shared out too.
    pub(crate) fn step_by_step(sizes: Sizes, limits: &Limits) -> Option<Plan> {
        let Sizes { sequences, input, recurrent, units, projected, .. } = sizes;
        if !buffers_fit(sizes, limits) {
            return None;
        }
        let quads = if sequences > 4 { 2 } else { 1 };
        let tiles = sequences.div_ceil(4 * quads);
        let (of_units, slices) = step_shape(units, input + recurrent, tiles, limits);
        let projection = if projected { units.div_ceil(4) * quads } else { 0 };
        let iterations = (input.div_ceil(slices) + recurrent.div_ceil(slices) + 5 * slices).max(projection);
        let groups = units.div_ceil(of_units).max(recurrent.div_ceil(of_units * slices));
        if iterations > ITERATIONS || tiles > limits.workgroups || groups > limits.workgroups {
            return None;
        }
        let form = Form::Step { units: of_units as u32, slices: slices as u32 };
        let tiling = Tiling { workgroup: (of_units * slices) as u32, quads: quads as u32, form };
        Some(Plan { tiling, steps: 1 })
    }
}

/// Steps whose x `vector.wgsl` keeps in the order in which its lanes read it.
pub(crate) const STAGED_STEPS: usize = 16;

/// Whether the kernels' indices and the device's bindings hold every buffer of a run.
fn buffers_fit(sizes: Sizes, limits: &Limits) -> bool {
    let Sizes { sequences, timesteps, input, recurrent, units, gates, .. } = sizes;
    let fits = |factors| fits(limits, factors);
    let widest = input.max(recurrent).max(if gates { 4 * units } else { units });
    let padded = units.next_multiple_of(4);
    fits([sequences, timesteps, widest * size_of::<f32>()])
        && fits([input + recurrent + 2, units, VEC4_BYTES])
        && fits([input + 2 * recurrent + 2, padded, VEC4_BYTES])
        && fits([tiles(sequences), 2 * recurrent + units + padded, VEC4_BYTES])
}

/// Whether a buffer of so many elements fits a binding and the kernels' indices.
fn fits(limits: &Limits, factors: [usize; 3]) -> bool {
    let bytes = factors.into_iter().try_fold(1usize, usize::checked_mul);
    bytes.is_some_and(|bytes| bytes <= limits.binding_bytes.min(u32::MAX as usize))
}

/// Tiles of four sequences in the kernels' state: always a multiple of eight, as a workgroup may take so many.
pub(crate) fn tiles(sequences: usize) -> usize {
    sequences.div_ceil(32).saturating_mul(8)
}

/// Units and slices of a workgroup of the step kernel.
fn step_shape(units: usize, rows: usize, tiles: usize, limits: &Limits) -> (usize, usize) {
    if limits.is_software {
        // Few cores, and wide vectors along the units.
        return (units.next_power_of_two().clamp(8, 32).min(limits.workgroup_size), 1);
    }
    // Some 256 workgroups of 256 keep a large GPU busy; a warp reads the weights of 32 units in one go.
    let of_units = 32.min(limits.workgroup_size);
    let most = (limits.workgroup_size.min(256) / of_units).max(1);
    let mut slices = 1;
    while slices < most && units.div_ceil(of_units) * tiles * slices < 2048 && rows / slices > 32 {
        slices *= 2;
    }
    (of_units, slices)
}

/// Whether a run that fits both kernels is faster step by step.
///
/// On a GPU, reasoned and not measured: a dispatch costs some microseconds, in which an invocation goes through about a
/// thousand weights. Where a workgroup has more of them to go through at each step, and there are too few workgroups to
/// keep a GPU busy otherwise, the step is better shared out among many.
fn prefers_steps(sizes: Sizes, limits: &Limits, whole: &Plan) -> bool {
    let Tiling { workgroup, quads, .. } = whole.tiling;
    let workgroups = sizes.sequences.div_ceil(4 * quads as usize);
    let weights = (sizes.input + sizes.recurrent) * sizes.units.div_ceil(workgroup as usize);
    !limits.is_software && workgroups < 64 && weights > 1024
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
            subgroup: None,
        }
    }

    fn sizes(sequences: usize, input: usize, units: usize) -> Sizes {
        Sizes { sequences, timesteps: 10, input, recurrent: units, units, projected: false, gates: false }
    }

    #[test]
    fn workgroup_memory_decides_the_tile_and_the_kernel() {
        let whole = |units| Plan::whole_sequence(sizes(32, 23, units), &limits(true)).map(|plan| plan.tiling);
        let tiling = |quads, shared| Some(Tiling { workgroup: 32, quads, form: Form::Sequence { shared } });
        assert_eq!(whole(100), tiling(2, 256));
        assert_eq!(whole(488), tiling(2, 1023));
        assert_eq!(whole(489), tiling(1, 512));
        assert_eq!(whole(1000), tiling(1, 1023));
        assert_eq!(whole(1001), None);
        let chosen = Plan::choose(sizes(32, 23, 1001), &limits(true)).unwrap();
        assert!(matches!(chosen.tiling.form, Form::Step { .. }));
        assert_eq!(chosen.steps, 1);
        // A projection narrows h, and rows with it.
        let projected = Sizes { recurrent: 100, projected: true, ..sizes(32, 23, 1001) };
        assert!(Plan::whole_sequence(projected, &limits(true)).is_some());
    }

    #[test]
    fn a_gpu_takes_small_tiles_until_it_is_full() {
        let whole = |sequences, units| Plan::whole_sequence(sizes(sequences, 8, units), &limits(false)).unwrap().tiling;
        assert_eq!((whole(32, 100).quads, whole(32, 100).workgroup), (1, 128));
        assert_eq!((whole(4096, 300).quads, whole(4096, 300).workgroup), (2, 256));
    }

    #[test]
    fn buffers_beyond_a_binding_take_operations() {
        let choose = |sizes| Plan::choose(sizes, &limits(false));
        assert_eq!(choose(Sizes { timesteps: 1 << 20, ..sizes(1 << 20, 4, 4) }), None);
        assert_eq!(choose(Sizes { timesteps: 2, ..sizes(usize::MAX, 4, 4) }), None);
        let wide = Sizes { timesteps: 1, ..sizes(1, 1, 3000) };
        assert_eq!(choose(wide), None, "the weights");
        assert!(choose(Sizes { timesteps: 1, ..sizes(1, 1, 2000) }).is_some());
    }

    #[test]
    fn more_workgroups_than_a_device_has_take_another_kernel_or_none() {
        let few = Limits { workgroups: 3, ..limits(true) };
        assert!(Plan::whole_sequence(sizes(24, 5, 8), &few).is_some());
        assert_eq!(Plan::whole_sequence(sizes(25, 5, 8), &few), None);
        assert_eq!(Plan::step_by_step(sizes(25, 5, 8), &few), None);
        assert_eq!(Plan::step_by_step(sizes(1, 5, 97), &few), None);
    }

    #[test]
    fn a_step_of_many_iterations_takes_a_wider_workgroup() {
        let large = Limits { workgroup_bytes: 128 << 10, binding_bytes: 1 << 30, ..limits(true) };
        let sizes = sizes(4, 2000, 4000);
        let plan = Plan::whole_sequence(sizes, &large).unwrap();
        assert_eq!((plan.tiling.workgroup, plan.steps), (128, 1));
        assert_eq!(Plan::whole_sequence(sizes, &Limits { workgroup_size: 32, ..large }), None);
    }

    #[test]
    fn tiles_are_a_multiple_of_eight() {
        assert_eq!([0, 1, 4, 31, 32, 33, 65].map(tiles), [0, 8, 8, 8, 8, 16, 24]);
        assert!(tiles(usize::MAX) > 1 << 60);
    }

    #[test]
    fn a_software_adapter_computes_on_vectors_if_its_shaders_can() {
        let able = Limits { subgroup: Some(8), ..limits(true) };
        let chosen =
            |sequences, units, limits: &Limits| Plan::choose(sizes(sequences, 23, units), limits).map(|p| p.tiling);
        let vector = |quads| Some(Tiling { workgroup: 8, quads, form: Form::Vector { own: 2 } });
        assert_eq!([1, 5, 16, 17, 65].map(|n| chosen(n, 100, &able)), [1, 2, 4, 8, 8].map(vector));
        assert_eq!(chosen(5, 1500, &able), vector(2), "workgroup memory is no limit");
        let others =
            [Limits { subgroup: Some(8), ..limits(false) }, limits(true), Limits { subgroup: Some(1), ..able }];
        for limits in others {
            let tiling = chosen(32, 100, &limits).unwrap();
            assert!(!matches!(tiling.form, Form::Vector { .. }), "{limits:?}");
        }
    }

    #[test]
    fn a_tiling_says_what_a_workgroup_does() {
        let plan = Plan::whole_sequence(sizes(32, 23, 100), &limits(true)).unwrap();
        assert_eq!(plan.tiling.to_string(), "sequence kernel, 8 sequences a workgroup of 32");
        let form = Form::Step { units: 32, slices: 8 };
        let tiling = Tiling { workgroup: 256, quads: 1, form };
        assert_eq!(tiling.to_string(), "step kernel, 4 sequences and 32 units a workgroup of 8 x 32");
        let tiling = Tiling { workgroup: 8, quads: 8, form: Form::Vector { own: 2 } };
        assert_eq!(tiling.to_string(), "vector kernel, 32 sequences and 2 units a lane, vectors of 8");
    }
}
