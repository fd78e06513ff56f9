// The route of one step in one dispatch, for sizes that do not fit workgroup memory, and for few sequences of many units,
// which the other route would leave to few workgroups. A workgroup computes UNITS units of its sequences; the rows of
// the products are shared out among SLICES of its invocations, and their sums added up in workgroup memory.
//
// With PROJECTED a second dispatch of the step makes h from what the units show.
//
// Comes after frame.wgsl and lines that set UNITS and SLICES (WORKGROUP is their product); a cell's file follows.

var<workgroup> sh_sums: array<vec4<f32>, WORKGROUP>;
var<workgroup> sh_now: vec2<u32>;  // the step; 1 to project

// Read in a way that WGSL knows to be the same for all invocations, as barriers require.
fn uniform_now(lane: u32) -> vec2<u32> {
    if (lane == 0u) {
        sh_now = vec2(parameters.first_step, parameters.project);
    }
    return workgroupUniformLoad(&sh_now);
}

// Where x of a sequence's step begins. What a sequence that has ended computes is thrown away, so any x will do for it.
fn x_start(sequence: u32, step: u32) -> u32 {
    let p = place_of(sequence, step);
    return select(0u, (sequence * parameters.timesteps + p.at) * parameters.input, p.valid);
}

fn x_starts(first: u32, step: u32) -> vec4<u32> {
    return vec4(
        x_start(first, step),
        x_start(first + 1u, step),
        x_start(first + 2u, step),
        x_start(first + 3u, step),
    );
}

fn x_quad(starts: vec4<u32>, column: u32) -> vec4<f32> {
    return vec4(x[starts.x + column], x[starts.y + column], x[starts.z + column], x[starts.w + column]);
}

fn of_x(start: Tile, here: Here, unit: u32) -> Tile {
    var sum = start;
    let a = x_starts(here.first, here.step);
    let b = x_starts(here.first + 4u, here.step);
    let c = x_starts(here.first + 8u, here.step);
    let d = x_starts(here.first + 12u, here.step);
    for (var row = here.slice; row < parameters.input; row += SLICES) {
        let w = weights[row * parameters.units + unit];
        sum.a = accumulate(sum.a, w, x_quad(a, row));
        if (QUADS > 1u) {
            sum.b = accumulate(sum.b, w, x_quad(b, row));
        }
        if (QUADS > 2u) {
            sum.c = accumulate(sum.c, w, x_quad(c, row));
            sum.d = accumulate(sum.d, w, x_quad(d, row));
        }
    }
    return sum;
}

fn of_h(start: Tile, here: Here, unit: u32) -> Tile {
    var sum = start;
    let a = h_index(here.first, here.step, 0u);
    let b = h_index(here.first + 4u, here.step, 0u);
    let c = h_index(here.first + 8u, here.step, 0u);
    let d = h_index(here.first + 12u, here.step, 0u);
    for (var row = here.slice; row < parameters.recurrent; row += SLICES) {
        let w = weights[(parameters.input + row) * parameters.units + unit];
        sum.a = accumulate(sum.a, w, state[a + row]);
        if (QUADS > 1u) {
            sum.b = accumulate(sum.b, w, state[b + row]);
        }
        if (QUADS > 2u) {
            sum.c = accumulate(sum.c, w, state[c + row]);
            sum.d = accumulate(sum.d, w, state[d + row]);
        }
    }
    return sum;
}

// The sum over all slices, in the first one.
fn over_slices(sum: vec4<f32>, lane: u32) -> vec4<f32> {
    var total = sum;
    if (SLICES > 1u) {
        workgroupBarrier();  // the sums before these have been read
        sh_sums[lane] = sum;
        workgroupBarrier();  // all sums are there
        if (lane < UNITS) {
            for (var slice = 1u; slice < SLICES; slice++) {
                total += sh_sums[slice * UNITS + lane];
            }
        }
    }
    return total;
}

fn gates_over_slices(sum: Gates, lane: u32) -> Gates {
    return Gates(
        over_slices(sum.first, lane),
        over_slices(sum.second, lane),
        over_slices(sum.third, lane),
        over_slices(sum.fourth, lane),
    );
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let now = uniform_now(lane);
    let first = group.y * 4u * QUADS;
    if (PROJECTED == 1u && now.y == 1u) {
        let row = group.x * WORKGROUP + lane;
        if (row < parameters.recurrent) {
            for (var quad = 0u; quad < QUADS; quad++) {
                project(first + 4u * quad, now.x, row);
            }
        }
    } else {
        let unit = group.x * UNITS + lane % UNITS;
        let here = Here(first, now.x, lane / UNITS);
        var z = Tile();
        if (unit < parameters.units) {
            z = preactivations(here, unit);
        }
        z.a = gates_over_slices(z.a, lane);
        if (QUADS > 1u) {
            z.b = gates_over_slices(z.b, lane);
        }
        if (QUADS > 2u) {
            z.c = gates_over_slices(z.c, lane);
            z.d = gates_over_slices(z.d, lane);
        }
        if (lane < UNITS && unit < parameters.units) {
            finish_tile(here, unit, z);
        }
    }
}
