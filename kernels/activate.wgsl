// One activation function, element by element: y[i] = phi(x[i]).
//
// Comes after activations.wgsl and lines that set WORKGROUP and PHI, the code of the function.

struct Parameters {
    elements: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;  // in  [elements]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // out [elements]
@group(0) @binding(2) var<storage, read_write> parameters: Parameters;  // in

fn at(i: u32) -> f32 {
    if (i < parameters.elements) {
        return x[i];
    }
    return 0.0;
}

fn put(i: u32, value: f32) {
    if (i < parameters.elements) {
        y[i] = value;
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    // The grid is bounded by the device, so each invocation strides over the whole array.
    for (var i = id.x * 4u; i < parameters.elements; i += groups.x * WORKGROUP * 4u) {
        let v = activate(PHI, vec4(at(i), at(i + 1u), at(i + 2u), at(i + 3u)));
        put(i, v.x);
        put(i + 1u, v.y);
        put(i + 2u, v.z);
        put(i + 3u, v.w);
    }
}
