// Activation functions on four values at a time, each within a few ULP of the true function over all finite f32.
//
// Built from +, *, / and bit operations alone: WGSL allows its own exp() an error of 3 + 2|x| ULP, and its tanh() may
// overflow for large |x| and lose all relative accuracy near 0. NaN in gives NaN out by a test of the bits, since WGSL
// lets a compiler assume that no NaN occurs in comparisons and in min, max and clamp. Infinities saturate.

const TANH: u32 = 0u;
const SIGMOID: u32 = 1u;
const HARD_SIGMOID_KERAS2: u32 = 2u;
const HARD_SIGMOID_KERAS3: u32 = 3u;
const RELU: u32 = 4u;
const RELU6: u32 = 5u;
const ELU: u32 = 6u;
const SOFTPLUS: u32 = 7u;
const SOFTSIGN: u32 = 8u;
const LINEAR: u32 = 9u;

fn keep_nan(y: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    let is_nan = (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
    return select(y, v, is_nan);
}

// e^-a for a >= 0; 0 where that falls out of the normal numbers. Cody-Waite reduction to |r| <= ln(2)/2, then the
// polynomial of Cephes expf, then the exponent is put in by bits.
fn exp_minus(a: vec4<f32>) -> vec4<f32> {
    let v = -min(a, vec4(87.0));
    let n = floor(v * 1.44269504 + 0.5);
    let r = (v - n * 0.693359375) + n * 2.12194440e-4;
    var p = vec4(1.9875691500e-4);
    p = p * r + 1.3981999507e-3;
    p = p * r + 8.3334519073e-3;
    p = p * r + 4.1665795894e-2;
    p = p * r + 1.6666665459e-1;
    p = p * r + 5.0000001201e-1;
    let mantissa = (p * r * r + r) + 1.0;
    let power = bitcast<vec4<f32>>(vec4<u32>(vec4<i32>(n) + 127) << vec4(23u));
    return select(mantissa * power, vec4(0.0), a > vec4(87.0));
}

fn sigmoid(v: vec4<f32>) -> vec4<f32> {
    let e = exp_minus(abs(v));
    return keep_nan(select(e, vec4(1.0), v >= vec4(0.0)) / (1.0 + e), v);
}

// Cephes tanhf: a polynomial below 0.625, where 1 - 2e/(1 + e) would cancel.
fn tanh_accurate(v: vec4<f32>) -> vec4<f32> {
    let a = min(abs(v), vec4(44.0));
    let z = a * a;
    var p = vec4(-5.70498872745e-3);
    p = p * z + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    let small = (p * z) * v + v;
    let e = exp_minus(2.0 * a);
    let large = 1.0 - 2.0 * e / (1.0 + e);
    return keep_nan(select(select(-large, large, v >= vec4(0.0)), small, a < vec4(0.625)), v);
}

fn elu(v: vec4<f32>) -> vec4<f32> {
    let a = abs(v);
    let r = -min(a, vec4(0.5));
    // e^r - 1 for r in [-1/2, 0] by its series, where subtracting 1 would cancel; the next term is below 2^-27.
    var p = vec4(2.48015873e-5);
    p = p * r + 1.98412698e-4;
    p = p * r + 1.38888889e-3;
    p = p * r + 8.33333333e-3;
    p = p * r + 4.16666667e-2;
    p = p * r + 1.66666667e-1;
    p = p * r + 0.5;
    let small = p * r * r + r;
    let negative = select(exp_minus(a) - 1.0, small, a < vec4(0.5));
    return keep_nan(select(negative, v, v > vec4(0.0)), v);
}

fn softplus(v: vec4<f32>) -> vec4<f32> {
    let e = exp_minus(abs(v));
    // ln(1 + e) = 2 artanh(s), s = e / (2 + e) <= 1/3; the next term is below 2^-27 of the first.
    let s = e / (2.0 + e);
    let z = s * s;
    var p = vec4(1.0 / 15.0);
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 0.2;
    p = p * z + 1.0 / 3.0;
    return keep_nan(max(v, vec4(0.0)) + 2.0 * (p * z * s + s), v);
}

// WGSL division is only specified for divisors up to 2^126; beyond 1e9 the quotient is 1 to the last bit anyway.
fn softsign(v: vec4<f32>) -> vec4<f32> {
    let bounded = clamp(v, vec4(-1e9), vec4(1e9));
    return keep_nan(bounded / (1.0 + abs(bounded)), v);
}

fn activate(code: u32, v: vec4<f32>) -> vec4<f32> {
    switch code {
        case TANH: { return tanh_accurate(v); }
        case SIGMOID: { return sigmoid(v); }
        case HARD_SIGMOID_KERAS2: { return keep_nan(clamp(0.2 * v + 0.5, vec4(0.0), vec4(1.0)), v); }
        case HARD_SIGMOID_KERAS3: { return keep_nan(clamp(v / 6.0 + 0.5, vec4(0.0), vec4(1.0)), v); }
        case RELU: { return keep_nan(max(v, vec4(0.0)), v); }
        case RELU6: { return keep_nan(clamp(v, vec4(0.0), vec4(6.0)), v); }
        case ELU: { return elu(v); }
        case SOFTPLUS: { return softplus(v); }
        case SOFTSIGN: { return softsign(v); }
        default: { return v; }
    }
}
