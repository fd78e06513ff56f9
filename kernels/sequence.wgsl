// The route of a whole sequence in one dispatch: a workgroup keeps its sequences for all time steps, so that no barrier
// across the device is needed. At each step it stages [x, h] of its sequences in workgroup memory; then each invocation
// computes the units lane, lane + WORKGROUP, ... Every element of `state` is read by the invocation that wrote it,
// except for what is projected.
//
// Comes after frame.wgsl and a line that sets SHARED; a cell's file follows.

// [input + recurrent, QUADS]: the step's x, then h before it. Every element that is read was staged in the same step.
var<workgroup> sh_rows: array<vec4<f32>, SHARED>;
var<workgroup> sh_steps: vec2<u32>;  // first step, and the one after the last

// The first step of the dispatch and the one after its last, read in a way that WGSL knows to be the same for all
// invocations, as barriers in a loop require.
fn uniform_steps(lane: u32) -> vec2<u32> {
    if (lane == 0u) {
        sh_steps = vec2(parameters.first_step, parameters.first_step + parameters.steps);
    }
    return workgroupUniformLoad(&sh_steps);
}

fn x_at(valid: bool, start: u32, column: u32) -> f32 {
    if (valid) {
        return x[start + column];
    }
    return 0.0;
}

// Fills sh_rows; a barrier must follow.
fn stage(first: u32, step: u32, lane: u32) {
    for (var quad = 0u; quad < QUADS; quad++) {
        let p = places(quad, step);
        let s = first + 4u * quad;
        let starts = (vec4(s, s + 1u, s + 2u, s + 3u) * run.timesteps + p.at) * run.input;
        for (var column = lane; column < run.input; column += WORKGROUP) {
            sh_rows[column * QUADS + quad] = vec4(
                x_at(p.valid.x, starts.x, column),
                x_at(p.valid.y, starts.y, column),
                x_at(p.valid.z, starts.z, column),
                x_at(p.valid.w, starts.w, column),
            );
        }
        for (var row = lane; row < run.recurrent; row += WORKGROUP) {
            sh_rows[(run.input + row) * QUADS + quad] = four(state[h_index(s, step, row)]);
        }
    }
}

fn add_row(start: Tile, row: u32, unit: u32) -> Tile {
    var sum = start;
    let w = four(weights[row * run.units + unit]);
    sum.a = accumulate(sum.a, w, sh_rows[row * QUADS]);
    if (QUADS > 1u) {
        sum.b = accumulate(sum.b, w, sh_rows[row * QUADS + 1u]);
    }
    if (QUADS > 2u) {
        sum.c = accumulate(sum.c, w, sh_rows[row * QUADS + 2u]);
        sum.d = accumulate(sum.d, w, sh_rows[row * QUADS + 3u]);
    }
    return sum;
}

// The product of some rows, added one by one. Four at a time: a software adapter pays for each iteration.
fn rows(start: Tile, first_row: u32, end: u32, unit: u32) -> Tile {
    var sum = start;
    var row = first_row;
    for (; row + 3u < end; row += 4u) {
        sum = add_row(sum, row, unit);
        sum = add_row(sum, row + 1u, unit);
        sum = add_row(sum, row + 2u, unit);
        sum = add_row(sum, row + 3u, unit);
    }
    for (; row < end; row++) {
        sum = add_row(sum, row, unit);
    }
    return sum;
}

fn of_x(start: Tile, here: Here, unit: u32) -> Tile {
    return rows(start, 0u, run.input, unit);
}

fn of_h(start: Tile, here: Here, unit: u32) -> Tile {
    return rows(start, run.input, run.input + run.recurrent, unit);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let steps = uniform_steps(lane);
    let first = group.x * 4u * QUADS;
    begin(first);
    for (var step = steps.x; step < steps.y; step++) {
        stage(first, step, lane);
        workgroupBarrier();  // the step's rows are staged before anyone reads them
        for (var unit = lane; unit < run.units; unit += WORKGROUP) {
            let here = Here(first, step, 0u);
            finish_tile(here, unit, preactivations(here, unit));
        }
        if (PROJECTED == 1u) {
            storageBarrier();  // all units have shown their output before anyone projects it
            for (var row = lane; row < run.recurrent; row += WORKGROUP) {
                for (var quad = 0u; quad < QUADS; quad++) {
                    project(first + 4u * quad, step, places(quad, step), row);
                }
            }
            storageBarrier();  // and it is projected before anyone shows the next
        }
        workgroupBarrier();  // everyone has read this step's rows before the next are staged
    }
}
