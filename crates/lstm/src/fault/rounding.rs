//! Rounding of f32 to shorter formats, to nearest, ties to even.

/// Through IEEE 754 binary16 and back.
pub(super) fn to_float16(value: f32) -> f32 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let exponent = (value.abs().to_bits() >> 23) as i32 - 127;
    // The distance between neighbours: 2^-10 of the power of two below, and no finer than 2^-24 (subnormals). All
    // steps are exact in f64.
    let quantum = f64::exp2(f64::from(exponent.max(-14) - 10));
    let rounded = (f64::from(value) / quantum).round_ties_even() * quantum;
    if rounded.abs() > 65504.0 { f32::INFINITY.copysign(value) } else { rounded as f32 }
}

/// Through bfloat16 and back.
pub(super) fn to_bfloat16(value: f32) -> f32 {
    if value.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    let round_up = 0x7fff + ((bits >> 16) & 1);
    f32::from_bits(bits.wrapping_add(round_up) & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float16_rounds_to_nearest_even_and_overflows_to_infinity() {
        for (value, rounded) in [
            (1.0, 1.0),
            (1.000_488_3, 1.0),
            (1.001_464_8, 1.001_953_1),
            (0.1, 0.099_975_586),
            (-65519.0, -65504.0),
            (65520.0, f32::INFINITY),
            (6e-8, 5.960_464_5e-8),
            (2.9e-8, 0.0),
            (6.1e-5, 6.097_555e-5),
        ] {
            assert_eq!(to_float16(value), rounded, "{value}");
        }
        assert!(to_float16(f32::NAN).is_nan());
        assert_eq!(to_float16(f32::NEG_INFINITY), f32::NEG_INFINITY);
    }

    #[test]
    fn bfloat16_rounds_to_nearest_even() {
        for (value, rounded) in
            [(1.0, 1.0), (1.003_906_3, 1.0), (1.011_718_8, 1.015_625), (0.1, 0.100_097_656), (f32::MAX, f32::INFINITY)]
        {
            assert_eq!(to_bfloat16(value), rounded, "{value}");
        }
        assert!(to_bfloat16(f32::NAN).is_nan());
    }
}
