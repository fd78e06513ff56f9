// What all LSTM kernels share: parameters, state, and the way from four sequences at a time to the traces.
//
// Four sequences make one vec4, and a workgroup computes 4 x QUADS of them. h and c lie in `state`, as vec4 over the
// sequences of a tile, from dispatch to dispatch: so a long sequence can be cut into several dispatches, and must be.
// lavapipe ends all loops of an invocation without a word after 65535 iterations, counted over all of them (Mesa,
// LP_MAX_TGSI_LOOP_ITERATIONS), and other drivers reset a GPU that is busy for seconds.
//
// Comes after activations.wgsl and lines that set WORKGROUP, QUADS (1, 2 or 4), the codes of the activations, PHI and RHO,
// and 1 or 0 for what a cell has: PEEPHOLES, PROJECTED, CELL_CLIP, PROJECTION_CLIP. They are constants and not
// parameters because a software adapter, which cannot know that all invocations agree on a value from memory, would
// compute all ten activations and select. A cell's file follows with
//
//   place           in which order steps are read
//   preactivations  the products, in the order in which the cell adds them
//   finish          gates and state
//
// and before it the file of a route, with what these call: of_x and of_h.

struct Parameters {
    sequences: u32,
    timesteps: u32,
    input: u32,
    recurrent: u32,  // width of h: the units, or what they are projected to
    units: u32,
    backward: u32,  // 1: last step first
    first_step: u32,  // the steps of this dispatch, in the order of reading
    steps: u32,
    part: u32,  // what this dispatch does: COMPUTE, PROJECT or STAGE
    record_gates: u32,  // 1: write gates_trace
    forget_bias: f32,
    cell_clip: f32,
    projection_clip: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;  // in  [sequences, timesteps, input]
// in, one after the other:
//   [input + recurrent + 1, units]     the four gates of one unit side by side in the order of the cell's columns;
//                                      rows of the input, of h, and the bias
//   [units]                            with PEEPHOLES: from c to the input, forget and output gate, and 0
//   [(units + 3) / 4, recurrent]       with PROJECTED: the weights of four units side by side, zero past the last
@group(0) @binding(1) var<storage, read_write> weights: array<Four>;
// in and out, one after the other, for a multiple of eight tiles of four sequences each:
//   [2, tiles, recurrent]              h before even steps (in), before odd steps
//   [tiles, units]                     c (in)
//   [tiles, units rounded up to 4]     with PROJECTED: the output of the units, zero past the last (in)
//   [STAGED, tiles, input]             with vector.wgsl: x of some steps
@group(0) @binding(2) var<storage, read_write> state: array<Four>;
@group(0) @binding(3) var<storage, read_write> lengths: array<u32>;  // in  [sequences]
@group(0) @binding(4) var<storage, read_write> h_trace: array<f32>;  // out [sequences, timesteps, recurrent]
@group(0) @binding(5) var<storage, read_write> c_trace: array<f32>;  // out [sequences, timesteps, units]
// out [sequences, timesteps, 4 units]: the gates after their activations, in blocks i, j, f, o; with record_gates = 0
// one element that is left alone
@group(0) @binding(6) var<storage, read_write> gates_trace: array<f32>;
@group(0) @binding(7) var<storage, read_write> parameters: Parameters;  // in

// Read once: a software adapter pays dearly for each element that it reads, and the drivers cannot know that what is
// written in between is something else.
var<private> run: Parameters;
var<private> lengths_of: array<vec4<u32>, QUADS>;  // of each four sequences of the workgroup; 0 past the last sequence

// Where one step of the loop stands in one sequence.
struct Place {
    at: u32,      // step of the input that is read, and of the traces that is written
    valid: bool,  // it lies before the sequence's end
}

// The same for four sequences.
struct Places {
    at: vec4<u32>,
    valid: vec4<bool>,
}

const COMPUTE: u32 = 0u;  // all there is to a step, but for what the others do
const PROJECT: u32 = 1u;  // h from the output of the units, step by step
const STAGE: u32 = 2u;    // x of the next steps into `state` (vector.wgsl)

// Where an invocation is: its first sequence, the step in the order of reading, and which rows it adds up.
struct Here {
    first: u32,
    step: u32,
    slice: u32,
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

fn add(a: Gates, b: Gates) -> Gates {
    return Gates(a.first + b.first, a.second + b.second, a.third + b.third, a.fourth + b.fourth);
}

fn choose(a: Gates, b: Gates, second: bool) -> Gates {
    let is = vec4(second);
    return Gates(
        select(a.first, b.first, is),
        select(a.second, b.second, is),
        select(a.third, b.third, is),
        select(a.fourth, b.fourth, is),
    );
}

// NaN stays NaN.
fn clip(v: vec4<f32>, bound: f32) -> vec4<f32> {
    return keep_nan(clamp(v, vec4(-bound), vec4(bound)), v);
}

fn length_of(sequence: u32) -> u32 {
    if (sequence < run.sequences) {
        return lengths[sequence];
    }
    return 0u;
}

// To be called first, with the workgroup's first sequence.
fn begin(first: u32) {
    run = parameters;
    for (var quad = 0u; quad < QUADS; quad++) {
        let s = first + 4u * quad;
        lengths_of[quad] = vec4(length_of(s), length_of(s + 1u), length_of(s + 2u), length_of(s + 3u));
    }
}

// Of the workgroup's sequences from 4 quad.
fn places(quad: u32, step: u32) -> Places {
    let length = lengths_of[quad];
    let a = place(length.x, step);
    let b = place(length.y, step);
    let c = place(length.z, step);
    let d = place(length.w, step);
    return Places(vec4(a.at, b.at, c.at, d.at), vec4(a.valid, b.valid, c.valid, d.valid));
}

// The row of weights after those of the input and of h.
fn bias_of(unit: u32) -> vec4<f32> {
    return four(weights[(run.input + run.recurrent) * run.units + unit]);
}

fn peepholes_of(unit: u32) -> vec4<f32> {
    return four(weights[(run.input + run.recurrent + 1u) * run.units + unit]);
}

fn tiles() -> u32 {
    return (run.sequences + 31u) / 32u * 8u;
}

// Where h before a step is; h after it is where the next step looks.
fn h_index(first: u32, step: u32, row: u32) -> u32 {
    return ((step & 1u) * tiles() + first / 4u) * run.recurrent + row;
}

fn c_index(first: u32, unit: u32) -> u32 {
    return 2u * tiles() * run.recurrent + first / 4u * run.units + unit;
}

fn shown_index(first: u32, unit: u32) -> u32 {
    let padded = (run.units + 3u) / 4u * 4u;
    return tiles() * (2u * run.recurrent + run.units) + first / 4u * padded + unit;
}

// Past a sequence's end the traces are zero: written here too, so that every element of them is.
fn trace_state(sequence: u32, at: u32, row: u32, value: f32, of_c: bool) {
    if (sequence < run.sequences) {
        if (of_c) {
            c_trace[(sequence * run.timesteps + at) * run.units + row] = value;
        } else {
            h_trace[(sequence * run.timesteps + at) * run.recurrent + row] = value;
        }
    }
}

fn trace_quad(first: u32, p: Places, row: u32, values: vec4<f32>, of_c: bool) {
    let shown = select(vec4(0.0), values, p.valid);
    trace_state(first, p.at.x, row, shown.x, of_c);
    trace_state(first + 1u, p.at.y, row, shown.y, of_c);
    trace_state(first + 2u, p.at.z, row, shown.z, of_c);
    trace_state(first + 3u, p.at.w, row, shown.w, of_c);
}

// Gates i, j, f, o.
fn trace_gates(sequence: u32, at: u32, valid: bool, unit: u32, gates: vec4<f32>) {
    if (sequence < run.sequences) {
        let shown = select(vec4(0.0), gates, vec4(valid));
        let start = (sequence * run.timesteps + at) * 4u * run.units + unit;
        gates_trace[start] = shown.x;
        gates_trace[start + run.units] = shown.y;
        gates_trace[start + 2u * run.units] = shown.z;
        gates_trace[start + 3u * run.units] = shown.w;
    }
}

// A new h of the four sequences from `first`; a sequence that has ended holds its own.
fn store_h(first: u32, step: u32, p: Places, row: u32, h: vec4<f32>) {
    let held = four(state[h_index(first, step, row)]);
    state[h_index(first, step + 1u, row)] = packed(select(held, h, p.valid));
    trace_quad(first, p, row, h, false);
}

// The new c of a unit, and its output, which is h unless it is projected.
fn store(first: u32, step: u32, p: Places, unit: u32, shown: vec4<f32>, c: vec4<f32>) {
    let at = c_index(first, unit);
    state[at] = packed(select(four(state[at]), c, p.valid));
    trace_quad(first, p, unit, c, true);
    if (PROJECTED == 1u) {
        state[shown_index(first, unit)] = packed(shown);
    } else {
        store_h(first, step, p, unit, shown);
    }
}

// The gates of the four sequences from `first`, if they are asked for.
fn store_gates(first: u32, p: Places, unit: u32, i: vec4<f32>, j: vec4<f32>, f: vec4<f32>, o: vec4<f32>) {
    if (run.record_gates == 1u) {
        trace_gates(first, p.at.x, p.valid.x, unit, vec4(i.x, j.x, f.x, o.x));
        trace_gates(first + 1u, p.at.y, p.valid.y, unit, vec4(i.y, j.y, f.y, o.y));
        trace_gates(first + 2u, p.at.z, p.valid.z, unit, vec4(i.z, j.z, f.z, o.z));
        trace_gates(first + 3u, p.at.w, p.valid.w, unit, vec4(i.w, j.w, f.w, o.w));
    }
}

// One element of h from the output of all units, for the four sequences from `first`.
fn project(first: u32, step: u32, p: Places, row: u32) {
    let start = (run.input + run.recurrent + 1u + PEEPHOLES) * run.units;
    var h = vec4<f32>();
    for (var unit = 0u; unit < run.units; unit += 4u) {
        let w = four(weights[start + unit / 4u * run.recurrent + row]);
        let shown = shown_index(first, unit);
        h += w.x * four(state[shown]);
        h += w.y * four(state[shown + 1u]);
        h += w.z * four(state[shown + 2u]);
        h += w.w * four(state[shown + 3u]);
    }
    if (PROJECTION_CLIP == 1u) {
        h = clip(h, run.projection_clip);
    }
    store_h(first, step, p, row, h);
}
