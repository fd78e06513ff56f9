// A Keras LSTM layer; columns i, f, c~, o:
//
//   z  = (x W + h U) + b                    each product a sum of its own over its rows
//   c' = rho(f) c + rho(i) phi(c~)
//   h' = rho(o) phi(c')
//
// Comes after a route's file.

// Keras reverses the whole sequence, and the mask holds the state over the padding that then comes first.
fn place(length: u32, step: u32) -> Place {
    let at = select(step, run.timesteps - 1u - step, run.backward == 1u);
    return Place(at, at < length);
}

const ONE_SUM: bool = false;  // but one over the rows of x and one over those of h

fn finish(first: u32, step: u32, p: Places, unit: u32, z: Gates) {
    let bias = bias_of(unit);
    let i = activate(RHO, z.first + bias.x);
    let f = activate(RHO, z.second + bias.y);
    let candidate = activate(PHI, z.third + bias.z);
    let o = activate(RHO, z.fourth + bias.w);
    let c = f * four(state[c_index(first, unit)]) + i * candidate;
    store_gates(first, p, unit, i, candidate, f, o);
    store(first, step, p, unit, o * activate(PHI, c), c);
}
