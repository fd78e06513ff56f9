//! The largest of many numbers, as fast as the processor's vectors find them.

use lstm::oracle::vectorized;

/// The largest of the first numbers, of the second, and so on, all without their signs; 0 where there are
/// none. Infinity is larger than any number, and what is not a number than infinity.
#[inline(always)]
pub(crate) fn largest<const N: usize>(numbers: impl Iterator<Item = [f64; N]>) -> [f64; N] {
    vectorized(
        #[inline(always)]
        || {
            // The bits of numbers without a sign are in the order of the numbers. Between whole numbers the order of comparing
            // makes no difference, so that the compiler may compare several at a time.
            let mut largest = [0; N];
            for numbers in numbers {
                for (largest, number) in largest.iter_mut().zip(numbers) {
                    *largest = number.abs().to_bits().cast_signed().max(*largest);
                }
            }
            largest.map(|bits| f64::from_bits(bits.cast_unsigned()))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_found_wherever_it_stands() {
        for at in 0..20 {
            let found = largest((0..20).map(|k| [f64::from(k), if k == at { 99.5 } else { 0.25 }]));
            assert_eq!(found, [19.0, 99.5]);
        }
        assert_eq!(largest(std::iter::empty()), [0.0; 3]);
        assert_eq!(largest([[1.0], [f64::INFINITY], [2.0]].into_iter()), [f64::INFINITY]);
        assert!(
            [f64::NAN, -f64::NAN].iter().all(|nan| largest([[f64::INFINITY], [*nan], [2.0]].into_iter())[0].is_nan())
        );
        assert_eq!(largest([[-3.0], [2.0]].into_iter()), [3.0]);
    }
}
