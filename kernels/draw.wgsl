// Random inputs, the very numbers that the crate parity draws (`random.rs`, `inputs.rs`), bit for bit.
//
// Philox4x32-10 in 32-bit integers; values are sums of its words, converted exactly and multiplied once. The factors come
// from memory and are no constants: a compiler may fold two constant factors into one, which would round otherwise.
//
// Comes after lines that set WORKGROUP, the codes of what is drawn (INPUT, UNIFORM, NORMAL, ZERO) and of the regimes
// (REGIME_NORMAL, REGIME_SATURATING, ...).

struct Parameters {
    key_low: u32,
    key_high: u32,
    stream: u32,
    draws: u32,            // one of the codes
    first_sequence: u32,   // the number, in the run, of the first sequence
    sequences: u32,
    timesteps: u32,        // of x; 1 for a state
    width: u32,
    quads: u32,            // 1: four sequences side by side, as frame.wgsl keeps states
    offset: u32,           // elements of `values` before these
    elements: u32,
    cycle: u32,            // regimes, three bits each, the first lowest
    regimes: u32,          // how many
    segment: u32,          // steps that a regime lasts
    normal_scale: f32,
    uniform_scale: f32,
    saturating: f32,
    tiny: f32,
}

@group(0) @binding(0) var<storage, read_write> values: array<f32>;  // out
@group(0) @binding(1) var<storage, read_write> parameters: Parameters;  // in

// High and low word of a product, as x and y.
fn wide(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2((a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u), a * b);
}

// a b + c, of a 64-bit a; high and low word.
fn multiply_add(a: vec2<u32>, b: u32, c: u32) -> vec2<u32> {
    let product = wide(a.y, b);
    let low = product.y + c;
    return vec2(product.x + a.x * b + select(0u, 1u, low < c), low);
}

// The block at a 64-bit index of the stream.
fn words(index: vec2<u32>) -> vec4<u32> {
    var c = vec4(index.y, index.x, parameters.stream, 0u);
    var k = vec2(parameters.key_low, parameters.key_high);
    for (var round = 0u; round < 10u; round++) {
        let first = wide(0xd2511f53u, c.x);
        let second = wide(0xcd9e8d57u, c.z);
        c = vec4(second.x ^ c.y ^ k.x, second.y, first.x ^ c.w ^ k.y, first.y);
        k += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// The sum of eight 16-bit uniforms, centred: exact as f32.
fn normal(index: vec2<u32>) -> f32 {
    let w = words(index);
    let halves = (w & vec4(0xffffu)) + (w >> vec4(16u));
    return f32(i32(halves.x + halves.y + halves.z + halves.w) - 4 * 0xffff) * parameters.normal_scale;
}

fn uniform_value(index: vec2<u32>) -> f32 {
    return f32(i32(words(index).x >> 8u) - 0x800000) * parameters.uniform_scale;
}

fn regime(sequence: u32, t: u32) -> u32 {
    return (parameters.cycle >> (3u * ((sequence + t / parameters.segment) % parameters.regimes))) & 7u;
}

fn input(sequence: u32, t: u32, column: u32) -> f32 {
    let of_sequence = wide(sequence, parameters.timesteps);
    let which = regime(sequence, t);
    let held = which == REGIME_CONSTANT || which == REGIME_ALTERNATING;
    let at = add(of_sequence, select(t, t - t % parameters.segment, held));
    if (which == REGIME_ONE_HOT) {
        let hot = wide(words(multiply_add(at, parameters.width, 0u)).x, parameters.width).x;
        return select(0.0, 1.0, hot == column);
    }
    let value = normal(multiply_add(at, parameters.width, column));
    if (which == REGIME_SATURATING) {
        return parameters.saturating * value;
    }
    if (which == REGIME_TINY) {
        return parameters.tiny * value;
    }
    if (which == REGIME_ALTERNATING && t % 2u == 1u) {
        return -value;
    }
    return value;
}

fn add(a: vec2<u32>, b: u32) -> vec2<u32> {
    let low = a.y + b;
    return vec2(a.x + select(0u, 1u, low < b), low);
}

fn value(element: u32) -> f32 {
    let width = parameters.width;
    var row = element / width / parameters.timesteps;
    var column = element % width;
    if (parameters.quads == 1u) {
        let quad = element / 4u;
        row = quad / width * 4u + element % 4u;
        column = quad % width;
    }
    if (parameters.draws == ZERO || row >= parameters.sequences) {
        return 0.0;
    }
    let sequence = parameters.first_sequence + row;
    if (parameters.draws == INPUT) {
        return input(sequence, element / width % parameters.timesteps, column);
    }
    // Every other sequence starts from zero.
    if (sequence % 2u == 0u) {
        return 0.0;
    }
    let index = add(wide(sequence, width), column);
    if (parameters.draws == UNIFORM) {
        return uniform_value(index);
    }
    return normal(index);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    // The grid is bounded by the device, so each invocation strides over the whole array.
    for (var element = id.x; element < parameters.elements; element += groups.x * WORKGROUP) {
        values[parameters.offset + element] = value(element);
    }
}
