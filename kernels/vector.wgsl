// The route for adapters that run on a CPU: one step in one dispatch, like step.wgsl, but cut for lavapipe, on which an
// invocation is a lane of a vector register and a workgroup here one vector.
//
// Such an adapter computes on all lanes at once and reads memory lane by lane, some 20 cycles for each word of each lane,
// whether the lanes read one address or eight. So nothing is read that another lane holds: each lane reads other rows
// of [x, h], and what it read goes round by subgroupShuffle, which is one instruction. A weight is read once for all
// sequences of a workgroup, which are many therefore, and a row once for OWN units of each lane.
//
// Other dispatches of the same kernel put x of the next steps in the order in which the lanes read it, and with PROJECTED
// make h from what the units show.
//
// Comes after frame.wgsl and lines that set WORKGROUP, which is the size of a subgroup and even, OWN and STAGED, the
// steps whose x is kept; a cell's file follows.

alias Quads = array<vec4<f32>, QUADS>;
alias Sums = array<array<Gates, QUADS>, OWN>;

// Where x of a step lies for the four sequences from `first`.
fn x_index(first: u32, step: u32, column: u32) -> u32 {
    let start = shown_index(0u, 0u) + PROJECTED * tiles() * ((run.units + 3u) / 4u * 4u);
    return start + (step % STAGED * tiles() + first / 4u) * run.input + column;
}

// One element of x for four sequences. What a sequence that has ended computes is thrown away, so any x will do for it.
fn x_quad(first: u32, step: u32, quad: u32, column: u32) -> vec4<f32> {
    let p = places(quad, step);
    let sequences = vec4(first, first + 1u, first + 2u, first + 3u) + 4u * quad;
    let at = select(vec4(0u), (sequences * run.timesteps + p.at) * run.input, p.valid) + column;
    return vec4(x[at.x], x[at.y], x[at.z], x[at.w]);
}

fn weights_of(row: u32, end: u32, unit: u32) -> vec4<f32> {
    // Past the last row the lanes hold zeros, but a weight there may be anything.
    return select(vec4(0.0), four(weights[min(row, end - 1u) * run.units + unit]), row < end);
}

// Adds the products of the rows from `first_row` to `end` with what lies from `held_at` on for the first four sequences,
// and `apart` further for each next four. Two rows at a time: a software adapter pays for each iteration.
fn multiply(sums: ptr<function, Sums>, first_row: u32, end: u32, held_at: u32, apart: u32, unit: u32, lane: u32) {
    for (var row = first_row; row < end; row += WORKGROUP) {
        var held: Quads;
        for (var quad = 0u; quad < QUADS; quad++) {
            if (row + lane < end) {
                held[quad] = four(state[held_at + quad * apart + row - first_row + lane]);
            }
        }
        let together = min(end - row, WORKGROUP);
        for (var other = 0u; other < together; other += 2u) {
            var even: array<vec4<f32>, OWN>;
            var odd: array<vec4<f32>, OWN>;
            for (var own = 0u; own < OWN; own++) {
                let of_unit = min(unit + own, run.units - 1u);
                even[own] = weights_of(row + other, end, of_unit);
                odd[own] = weights_of(row + other + 1u, end, of_unit);
            }
            for (var quad = 0u; quad < QUADS; quad++) {
                let of_even = subgroupShuffle(held[quad], other);
                let of_odd = subgroupShuffle(held[quad], other + 1u);
                for (var own = 0u; own < OWN; own++) {
                    (*sums)[own][quad] = accumulate((*sums)[own][quad], even[own], of_even);
                    (*sums)[own][quad] = accumulate((*sums)[own][quad], odd[own], of_odd);
                }
            }
        }
    }
}

// Puts x of the dispatch's steps into `state`, in the order in which the lanes read it.
fn stage(first: u32, column: u32) {
    for (var step = run.first_step; step < run.first_step + run.steps; step++) {
        for (var quad = 0u; quad < QUADS; quad++) {
            if (column < run.input) {
                state[x_index(first + 4u * quad, step, column)] = packed(x_quad(first, step, quad, column));
            }
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let step = parameters.first_step;
    let first = group.y * 4u * QUADS;
    begin(first);
    let row = group.x * WORKGROUP + lane;
    if (run.part == STAGE) {
        stage(first, row);
        return;
    }
    if (PROJECTED == 1u && run.part == PROJECT) {
        if (row < run.recurrent) {
            for (var quad = 0u; quad < QUADS; quad++) {
                project(first + 4u * quad, step, places(quad, step), row);
            }
        }
        return;
    }
    let unit = row * OWN;
    var sums: Sums;
    multiply(&sums, 0u, run.input, x_index(first, step, 0u), run.input, unit, lane);
    let rows = run.input + run.recurrent;
    if (ONE_SUM) {
        multiply(&sums, run.input, rows, h_index(first, step, 0u), run.recurrent, unit, lane);
    } else {
        var more: Sums;
        multiply(&more, run.input, rows, h_index(first, step, 0u), run.recurrent, unit, lane);
        for (var own = 0u; own < OWN; own++) {
            for (var quad = 0u; quad < QUADS; quad++) {
                sums[own][quad] = add(sums[own][quad], more[own][quad]);
            }
        }
    }
    // One after the other in one copy of the code, which is long; a choice by comparison and not by index, because a
    // software adapter keeps what is indexed out of its registers.
    for (var which = 0u; which < OWN * QUADS; which++) {
        var z = Gates();
        for (var own = 0u; own < OWN; own++) {
            for (var quad = 0u; quad < QUADS; quad++) {
                z = choose(z, sums[own][quad], which == own * QUADS + quad);
            }
        }
        let quad = which % QUADS;
        if (unit + which / QUADS < run.units) {
            finish(first + 4u * quad, step, places(quad, step), unit + which / QUADS, z);
        }
    }
}
