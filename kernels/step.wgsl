// The route of one step in one dispatch, for sizes that do not fit workgroup memory, and for few sequences of many units,
// which the other route would leave to few workgroups. A workgroup computes UNITS units of its sequences; the rows of
// the products are shared out among SLICES of its invocations, and their sums added up in workgroup memory.
//
// With PROJECTED a second dispatch of the step makes h from what the units show.
//
// Comes after frame.wgsl and lines that set UNITS and SLICES (WORKGROUP is their product); a cell's file follows.

var<workgroup> sh_sums: array<vec4<f32>, WORKGROUP>;
var<workgroup> sh_now: vec2<u32>;  // the step, and what to do of it

// Read in a way that WGSL knows to be the same for all invocations, as barriers require.
fn uniform_now(lane: u32) -> vec2<u32> {
    if (lane == 0u) {
        sh_now = vec2(parameters.first_step, parameters.part);
    }
    return workgroupUniformLoad(&sh_now);
}

// Where x of the steps of four sequences begins. What a sequence that has ended computes is thrown away, so any x will do
// for it.
fn x_starts(quad: u32, first: u32, step: u32) -> vec4<u32> {
    let p = places(quad, step);
    let sequences = vec4(first, first + 1u, first + 2u, first + 3u) + 4u * quad;
    return select(vec4(0u), (sequences * run.timesteps + p.at) * run.input, p.valid);
}

fn x_quad(starts: vec4<u32>, column: u32) -> vec4<f32> {
    return vec4(x[starts.x + column], x[starts.y + column], x[starts.z + column], x[starts.w + column]);
}

fn of_x(start: Tile, here: Here, unit: u32) -> Tile {
    var sum = start;
    let a = x_starts(0u, here.first, here.step);
    let b = x_starts(1u, here.first, here.step);
    let c = x_starts(2u, here.first, here.step);
    let d = x_starts(3u, here.first, here.step);
    for (var row = here.slice; row < run.input; row += SLICES) {
        let w = four(weights[row * run.units + unit]);
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
    for (var row = here.slice; row < run.recurrent; row += SLICES) {
        let w = four(weights[(run.input + row) * run.units + unit]);
        sum.a = accumulate(sum.a, w, four(state[a + row]));
        if (QUADS > 1u) {
            sum.b = accumulate(sum.b, w, four(state[b + row]));
        }
        if (QUADS > 2u) {
            sum.c = accumulate(sum.c, w, four(state[c + row]));
            sum.d = accumulate(sum.d, w, four(state[d + row]));
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
    begin(first);
    if (PROJECTED == 1u && now.y == PROJECT) {
        let row = group.x * WORKGROUP + lane;
        if (row < run.recurrent) {
            for (var quad = 0u; quad < QUADS; quad++) {
                project(first + 4u * quad, now.x, places(quad, now.x), row);
            }
        }
    } else {
        let unit = group.x * UNITS + lane % UNITS;
        let here = Here(first, now.x, lane / UNITS);
        var z = Tile();
        if (unit < run.units) {
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
        if (lane < UNITS && unit < run.units) {
            finish_tile(here, unit, z);
        }
    }
}
