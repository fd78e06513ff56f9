// A TensorFlow 1.x LSTM cell over whole sequences; columns i, j, f, o:
//
//   z  = [x, h] K + b                       one serial sum over the rows of x and then of h
//   c' = c sigma(f + forget_bias) + sigma(i) phi(j)
//   h' = phi(c') sigma(o)
//
// with sigma as RHO. // Comes after sequence.wgsl.

// dynamic_rnn stops at a sequence's end; reverse_sequence turns round its valid part and leaves the rest in place.
fn place(sequence: u32, step: u32) -> Place {
    let length = lengths[sequence];
    let valid = step < length;
    if (parameters.backward == 1u && valid) {
        let at = length - 1u - step;
        return Place(at, valid, at + 1u, (step > 0u));
    }
    return Place(step, valid, step - 1u, (step > 0u && valid));
}

fn finish(first: u32, step: u32, unit: u32, sum: Gates, bias: vec4<f32>) {
    let i = activate(RHO, sum.first + bias.x);
    let j = activate(PHI, sum.second + bias.y);
    let f = activate(RHO, (sum.third + bias.z) + parameters.forget_bias);
    let o = activate(RHO, sum.fourth + bias.w);
    let c = c_before_quad(first, step, unit) * f + i * j;
    store_gates_quad(first, step, unit, i, j, f, o);
    store_quad(first, step, unit, activate(PHI, c) * o, c);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let steps = uniform_steps(lane);
    let units = parameters.units;
    let rows = parameters.input + units;
    let first = group.x * 4u * QUADS;
    for (var step = steps.x; step < steps.y; step++) {
        stage(first, step, lane);
        workgroupBarrier();  // the step's rows are staged before anyone reads them
        for (var unit = lane; unit < units; unit += WORKGROUP) {
            var sum = Gates();
            var sum_upper = Gates();
            for (var row = 0u; row < rows; row++) {
                let w = weights[row * units + unit];
                sum = accumulate(sum, w, sh_rows[row * QUADS]);
                if (QUADS == 2u) {
                    sum_upper = accumulate(sum_upper, w, sh_rows[row * QUADS + 1u]);
                }
            }
            let bias = weights[rows * units + unit];
            finish(first, step, unit, sum, bias);
            if (QUADS == 2u) {
                finish(first + 4u, step, unit, sum_upper, bias);
            }
        }
        workgroupBarrier();  // everyone has read this step's rows before the next are staged
    }
}
