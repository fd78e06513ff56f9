// What the sequence kernels share: bindings, and the way between memory and a workgroup's tile of sequences.
//
// One workgroup keeps 4 x QUADS sequences for all time steps, so that no barrier across the device is needed. At each
// step it stages [x, h before] of its sequences in workgroup memory, as vec4 over four sequences; then each invocation
// computes the units lane, lane + WORKGROUP, ... It finds h and c before the step where it wrote them itself: in the
// traces. So a long sequence can be cut into several dispatches, and must be: lavapipe ends all loops of an invocation
// without a word after 65535 iterations, counted over all of them (Mesa, LP_MAX_TGSI_LOOP_ITERATIONS), and other
// drivers reset a GPU that is busy for seconds.
//
// Comes after activations.wgsl and lines that set WORKGROUP, QUADS (1 or 2), SHARED, and the codes of the activations,
// PHI and RHO; a cell's file follows, which says in which order steps are read (`place`). The activations are constants
// and not parameters because a software adapter, which cannot know that all invocations agree on a value from memory,
// would compute all ten and select.

struct Parameters {
    sequences: u32,
    timesteps: u32,
    input: u32,
    units: u32,
    backward: u32,  // 1: last step first
    first_step: u32,  // the steps of this dispatch, in the order of reading
    steps: u32,
    record_gates: u32,  // 1: write gates_trace
    forget_bias: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;  // in  [sequences, timesteps, input]
// in  [input + units + 1, units], the four gates of one unit side by side in the order of the cell's columns; rows of
// the input, of h, and the bias
@group(0) @binding(1) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> initial: array<f32>;  // in  [2, sequences, units]: h, c
@group(0) @binding(3) var<storage, read_write> lengths: array<u32>;  // in  [sequences]
@group(0) @binding(4) var<storage, read_write> h_trace: array<f32>;  // out [sequences, timesteps, units]
@group(0) @binding(5) var<storage, read_write> c_trace: array<f32>;  // out [sequences, timesteps, units]
// out [sequences, timesteps, 4 units]: the gates after their activations, in blocks i, j, f, o; with record_gates = 0
// one element that is left alone
@group(0) @binding(6) var<storage, read_write> gates_trace: array<f32>;
@group(0) @binding(7) var<storage, read_write> parameters: Parameters;  // in

// [input + units, QUADS]: the step's x, then h before it. Every element that is read was staged in the same step.
var<workgroup> sh_rows: array<vec4<f32>, SHARED>;
var<workgroup> sh_steps: vec2<u32>;  // first step, and the one after the last

// Where one step of the loop stands in one sequence.
struct Place {
    at: u32,        // step of the input that is read, and of the traces that is written
    valid: bool,    // it lies before the sequence's end
    before: u32,    // the step read before this one
    resumes: bool,  // that step was valid: its state is in the traces, and not the initial one
}

// Pre-activations of the four gates, in the order of the cell's columns, each for four sequences.
struct Gates {
    first: vec4<f32>,
    second: vec4<f32>,
    third: vec4<f32>,
    fourth: vec4<f32>,
}

fn accumulate(sum: Gates, w: vec4<f32>, v: vec4<f32>) -> Gates {
    return Gates(sum.first + w.x * v, sum.second + w.y * v, sum.third + w.z * v, sum.fourth + w.w * v);
}

// The first step of the dispatch and the one after its last, read in a way that WGSL knows to be the same for all
// invocations, as barriers in a loop require.
fn uniform_steps(lane: u32) -> vec2<u32> {
    if (lane == 0u) {
        sh_steps = vec2(parameters.first_step, parameters.first_step + parameters.steps);
    }
    return workgroupUniformLoad(&sh_steps);
}

fn x_at(sequence: u32, step: u32, column: u32) -> f32 {
    if (sequence < parameters.sequences) {
        let p = place(sequence, step);
        if (p.valid) {
            return x[(sequence * parameters.timesteps + p.at) * parameters.input + column];
        }
    }
    return 0.0;
}

fn h_before(sequence: u32, step: u32, unit: u32) -> f32 {
    if (sequence < parameters.sequences) {
        let p = place(sequence, step);
        if (p.resumes) {
            return h_trace[(sequence * parameters.timesteps + p.before) * parameters.units + unit];
        }
        return initial[sequence * parameters.units + unit];
    }
    return 0.0;
}

fn c_before(sequence: u32, step: u32, unit: u32) -> f32 {
    if (sequence < parameters.sequences) {
        let p = place(sequence, step);
        if (p.resumes) {
            return c_trace[(sequence * parameters.timesteps + p.before) * parameters.units + unit];
        }
        return initial[(parameters.sequences + sequence) * parameters.units + unit];
    }
    return 0.0;
}

// c before the step of the four sequences from `first`.
fn c_before_quad(first: u32, step: u32, unit: u32) -> vec4<f32> {
    return vec4(
        c_before(first, step, unit),
        c_before(first + 1u, step, unit),
        c_before(first + 2u, step, unit),
        c_before(first + 3u, step, unit),
    );
}

// Fills sh_rows; a barrier must follow.
fn stage(first: u32, step: u32, lane: u32) {
    for (var column = lane; column < parameters.input; column += WORKGROUP) {
        for (var quad = 0u; quad < QUADS; quad++) {
            let s = first + 4u * quad;
            sh_rows[column * QUADS + quad] = vec4(
                x_at(s, step, column),
                x_at(s + 1u, step, column),
                x_at(s + 2u, step, column),
                x_at(s + 3u, step, column),
            );
        }
    }
    for (var unit = lane; unit < parameters.units; unit += WORKGROUP) {
        for (var quad = 0u; quad < QUADS; quad++) {
            let s = first + 4u * quad;
            sh_rows[(parameters.input + unit) * QUADS + quad] = vec4(
                h_before(s, step, unit),
                h_before(s + 1u, step, unit),
                h_before(s + 2u, step, unit),
                h_before(s + 3u, step, unit),
            );
        }
    }
}

// Past a sequence's end the traces are zero: written here too, so that every element of them is.
fn store(sequence: u32, step: u32, unit: u32, h: f32, c: f32) {
    if (sequence < parameters.sequences) {
        let p = place(sequence, step);
        let i = (sequence * parameters.timesteps + p.at) * parameters.units + unit;
        if (p.valid) {
            h_trace[i] = h;
            c_trace[i] = c;
        } else {
            h_trace[i] = 0.0;
            c_trace[i] = 0.0;
        }
    }
}

// The same for the four sequences from `first`.
fn store_quad(first: u32, step: u32, unit: u32, h: vec4<f32>, c: vec4<f32>) {
    store(first, step, unit, h.x, c.x);
    store(first + 1u, step, unit, h.y, c.y);
    store(first + 2u, step, unit, h.z, c.z);
    store(first + 3u, step, unit, h.w, c.w);
}

fn store_gates(sequence: u32, step: u32, unit: u32, i: f32, j: f32, f: f32, o: f32) {
    if (sequence < parameters.sequences) {
        let p = place(sequence, step);
        let units = parameters.units;
        let at = (sequence * parameters.timesteps + p.at) * 4u * units + unit;
        gates_trace[at] = select(0.0, i, p.valid);
        gates_trace[at + units] = select(0.0, j, p.valid);
        gates_trace[at + 2u * units] = select(0.0, f, p.valid);
        gates_trace[at + 3u * units] = select(0.0, o, p.valid);
    }
}

// The gates of the four sequences from `first`, if they are asked for.
fn store_gates_quad(first: u32, step: u32, unit: u32, i: vec4<f32>, j: vec4<f32>, f: vec4<f32>, o: vec4<f32>) {
    if (parameters.record_gates == 1u) {
        store_gates(first, step, unit, i.x, j.x, f.x, o.x);
        store_gates(first + 1u, step, unit, i.y, j.y, f.y, o.y);
        store_gates(first + 2u, step, unit, i.z, j.z, f.z, o.z);
        store_gates(first + 3u, step, unit, i.w, j.w, f.w, o.w);
    }
}
