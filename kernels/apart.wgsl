// How far two traces are apart at each step: the largest absolute, relative and ULP difference, and where each is.
//
// A workgroup reduces one part of one step; the host joins the parts. Each invocation strides over the part's elements
// and keeps the first of equals; then one of them goes through what the others kept.
//
// Comes after a line that sets WORKGROUP.

struct Parameters {
    sequences: u32,
    timesteps: u32,
    width: u32,
    parts: u32,  // in which each step is cut
}

@group(0) @binding(0) var<storage, read_write> a: array<u32>;  // in  [sequences, timesteps, width], bits of f32
@group(0) @binding(1) var<storage, read_write> b: array<u32>;  // in, the same
@group(0) @binding(2) var<storage, read_write> lengths: array<u32>;  // in  [sequences]
// out [timesteps, parts, 14]: elements compared; elements of which a value is not finite; then for the first of those,
// and for the largest absolute, relative and ULP difference: its element in [sequences, width], or NONE, and the bits of
// both values
@group(0) @binding(3) var<storage, read_write> found: array<u32>;
@group(0) @binding(4) var<storage, read_write> parameters: Parameters;  // in

const NONE: u32 = 0xffffffffu;
const RECORD: u32 = 14u;

var<workgroup> sh_count: array<u32, WORKGROUP>;
var<workgroup> sh_bad_count: array<u32, WORKGROUP>;
var<workgroup> sh_bad: array<u32, WORKGROUP>;
var<workgroup> sh_abs: array<u32, WORKGROUP>;
var<workgroup> sh_rel: array<u32, WORKGROUP>;
var<workgroup> sh_ulp: array<u32, WORKGROUP>;

fn index(element: u32, step: u32) -> u32 {
    let sequence = element / parameters.width;
    return (sequence * parameters.timesteps + step) * parameters.width + element % parameters.width;
}

// By bits: WGSL lets a compiler assume that all numbers are finite.
fn is_finite(bits: u32) -> bool {
    return (bits & 0x7fffffffu) < 0x7f800000u;
}

fn abs_at(element: u32, step: u32) -> f32 {
    let i = index(element, step);
    return abs(bitcast<f32>(a[i]) - bitcast<f32>(b[i]));
}

fn rel_at(element: u32, step: u32) -> f32 {
    let i = index(element, step);
    let delta = abs(bitcast<f32>(a[i]) - bitcast<f32>(b[i]));
    let larger = max(abs(bitcast<f32>(a[i])), abs(bitcast<f32>(b[i])));
    return select(0.0, delta / larger, larger > 0.0);
}

// Representable values from one to the other; +0 and -0 are the same place.
fn ordered(bits: u32) -> i32 {
    let magnitude = i32(bits & 0x7fffffffu);
    return select(magnitude, -magnitude, bits >= 0x80000000u);
}

fn ulp_at(element: u32, step: u32) -> u32 {
    let i = index(element, step);
    let first = ordered(a[i]);
    let second = ordered(b[i]);
    // The difference may exceed an i32; as u32 it does not.
    return bitcast<u32>(max(first, second)) - bitcast<u32>(min(first, second));
}

fn further_abs(element: u32, kept: u32, step: u32) -> bool {
    if (kept == NONE) {
        return true;
    }
    let found_now = abs_at(element, step);
    let kept_now = abs_at(kept, step);
    return found_now > kept_now || (found_now == kept_now && element < kept);
}

fn further_rel(element: u32, kept: u32, step: u32) -> bool {
    if (kept == NONE) {
        return true;
    }
    let found_now = rel_at(element, step);
    let kept_now = rel_at(kept, step);
    return found_now > kept_now || (found_now == kept_now && element < kept);
}

fn further_ulp(element: u32, kept: u32, step: u32) -> bool {
    if (kept == NONE) {
        return true;
    }
    let found_now = ulp_at(element, step);
    let kept_now = ulp_at(kept, step);
    return found_now > kept_now || (found_now == kept_now && element < kept);
}

fn put(record: u32, at: u32, element: u32, step: u32) {
    found[record + at] = element;
    found[record + at + 1u] = 0u;
    found[record + at + 2u] = 0u;
    if (element != NONE) {
        let i = index(element, step);
        found[record + at + 1u] = a[i];
        found[record + at + 2u] = b[i];
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let step = group.x;
    let elements = parameters.sequences * parameters.width;
    let per_part = (elements + parameters.parts - 1u) / parameters.parts;
    let end = min((group.y + 1u) * per_part, elements);
    var count = 0u;
    var bad_count = 0u;
    var bad = NONE;
    var abs_kept = NONE;
    var rel_kept = NONE;
    var ulp_kept = NONE;
    var largest_abs = 0.0;
    var largest_rel = 0.0;
    var largest_ulp = 0u;
    for (var element = group.y * per_part + lane; element < end; element += WORKGROUP) {
        if (step < lengths[element / parameters.width]) {
            count += 1u;
            let i = index(element, step);
            if (is_finite(a[i]) && is_finite(b[i])) {
                let absolute = abs_at(element, step);
                let relative = rel_at(element, step);
                let ulp = ulp_at(element, step);
                if (abs_kept == NONE || absolute > largest_abs) {
                    abs_kept = element;
                    largest_abs = absolute;
                }
                if (rel_kept == NONE || relative > largest_rel) {
                    rel_kept = element;
                    largest_rel = relative;
                }
                if (ulp_kept == NONE || ulp > largest_ulp) {
                    ulp_kept = element;
                    largest_ulp = ulp;
                }
            } else {
                bad_count += 1u;
                bad = min(bad, element);
            }
        }
    }
    sh_count[lane] = count;
    sh_bad_count[lane] = bad_count;
    sh_bad[lane] = bad;
    sh_abs[lane] = abs_kept;
    sh_rel[lane] = rel_kept;
    sh_ulp[lane] = ulp_kept;
    workgroupBarrier();  // everyone has kept its own
    if (lane == 0u) {
        for (var other = 1u; other < WORKGROUP; other++) {
            count += sh_count[other];
            bad_count += sh_bad_count[other];
            bad = min(bad, sh_bad[other]);
            if (sh_abs[other] != NONE && further_abs(sh_abs[other], abs_kept, step)) {
                abs_kept = sh_abs[other];
            }
            if (sh_rel[other] != NONE && further_rel(sh_rel[other], rel_kept, step)) {
                rel_kept = sh_rel[other];
            }
            if (sh_ulp[other] != NONE && further_ulp(sh_ulp[other], ulp_kept, step)) {
                ulp_kept = sh_ulp[other];
            }
        }
        let record = (step * parameters.parts + group.y) * RECORD;
        found[record] = count;
        found[record + 1u] = bad_count;
        put(record, 2u, bad, step);
        put(record, 5u, abs_kept, step);
        put(record, 8u, rel_kept, step);
        put(record, 11u, ulp_kept, step);
    }
}
