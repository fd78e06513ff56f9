// A TensorFlow 1.x LSTM cell; columns i, j, f, o:
//
//   z  = [x, h] K + b                                              one sum over the rows of x and then of h
//   c' = sigma(f + forget_bias + p_f c) c + sigma(i + p_i c) phi(j)      clipped to +- cell_clip
//   h' = sigma(o + p_o c') phi(c')                                       projected, clipped to +- projection_clip
//
// with sigma as RHO. Comes after a route's file.

// dynamic_rnn stops at a sequence's end; reverse_sequence turns round its valid part and leaves the rest in place.
fn place(length: u32, step: u32) -> Place {
    let valid = step < length;
    return Place(select(step, length - 1u - step, run.backward == 1u && valid), valid);
}

const ONE_SUM: bool = true;  // over the rows of x and then of h

fn finish(first: u32, step: u32, p: Places, unit: u32, z: Gates) {
    let bias = bias_of(unit);
    let before = four(state[c_index(first, unit)]);
    var of_i = z.first + bias.x;
    var of_f = (z.third + bias.z) + run.forget_bias;
    var of_o = z.fourth + bias.w;
    var peepholes = vec4<f32>();
    if (PEEPHOLES == 1u) {
        peepholes = peepholes_of(unit);
        of_i += peepholes.x * before;
        of_f += peepholes.y * before;
    }
    let i = activate(RHO, of_i);
    let j = activate(PHI, z.second + bias.y);
    let f = activate(RHO, of_f);
    var c = f * before + i * j;
    if (CELL_CLIP == 1u) {
        c = clip(c, run.cell_clip);
    }
    if (PEEPHOLES == 1u) {
        of_o += peepholes.z * c;
    }
    let o = activate(RHO, of_o);
    store_gates(first, p, unit, i, j, f, o);
    store(first, step, p, unit, o * activate(PHI, c), c);
}
