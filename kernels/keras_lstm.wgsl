// A Keras LSTM layer over whole sequences; columns i, f, c~, o:
//
//   z  = (x W + h U) + b                    each product one serial sum over its rows
//   c' = rho(f) c + rho(i) phi(c~)
//   h' = rho(o) phi(c')
//
// Comes after sequence.wgsl.

// Keras reverses the whole sequence, and the mask holds the state over the padding that then comes first.
fn place(sequence: u32, step: u32) -> Place {
    let length = lengths[sequence];
    if (parameters.backward == 1u) {
        let at = parameters.timesteps - 1u - step;
        return Place(at, (at < length), at + 1u, (step > 0u && at + 1u < length));
    }
    return Place(step, (step < length), step - 1u, (step > 0u));
}

fn finish(first: u32, step: u32, unit: u32, of_x: Gates, of_h: Gates, bias: vec4<f32>) {
    let i = activate(RHO, (of_x.first + of_h.first) + bias.x);
    let f = activate(RHO, (of_x.second + of_h.second) + bias.y);
    let candidate = activate(PHI, (of_x.third + of_h.third) + bias.z);
    let o = activate(RHO, (of_x.fourth + of_h.fourth) + bias.w);
    let c = f * c_before_quad(first, step, unit) + i * candidate;
    store_gates_quad(first, step, unit, i, candidate, f, o);
    store_quad(first, step, unit, o * activate(PHI, c), c);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let steps = uniform_steps(lane);
    let input = parameters.input;
    let units = parameters.units;
    let rows = input + units;
    let first = group.x * 4u * QUADS;
    for (var step = steps.x; step < steps.y; step++) {
        stage(first, step, lane);
        workgroupBarrier();  // the step's rows are staged before anyone reads them
        for (var unit = lane; unit < units; unit += WORKGROUP) {
            var of_x = Gates();
            var of_h = Gates();
            var of_x_upper = Gates();
            var of_h_upper = Gates();
            for (var row = 0u; row < input; row++) {
                let w = weights[row * units + unit];
                of_x = accumulate(of_x, w, sh_rows[row * QUADS]);
                if (QUADS == 2u) {
                    of_x_upper = accumulate(of_x_upper, w, sh_rows[row * QUADS + 1u]);
                }
            }
            for (var row = input; row < rows; row++) {
                let w = weights[row * units + unit];
                of_h = accumulate(of_h, w, sh_rows[row * QUADS]);
                if (QUADS == 2u) {
                    of_h_upper = accumulate(of_h_upper, w, sh_rows[row * QUADS + 1u]);
                }
            }
            let bias = weights[rows * units + unit];
            finish(first, step, unit, of_x, of_h, bias);
            if (QUADS == 2u) {
                finish(first + 4u, step, unit, of_x_upper, of_h_upper, bias);
            }
        }
        workgroupBarrier();  // everyone has read this step's rows before the next are staged
    }
}
