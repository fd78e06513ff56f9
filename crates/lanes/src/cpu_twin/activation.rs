//! Activation functions, written so that the compiler makes vectors of them.
//!
//! No branch but selections, no table, no call for tanh, sigmoid and what is simpler. NaN stays NaN, infinities saturate.
//! The self-check measures these functions before each run, and the rounding bound rests on what it finds.

use lstm::Activation;
use rayon::prelude::*;

use super::panels::Tile;
use super::simd::{Arithmetic, Task, dispatch};

/// ln 2 in two parts: the first has so few bits that its product with a small whole number is exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// Added and subtracted, it rounds to a whole number, and leaves that number in the lowest bits in between: 1.5 · 2²³.
const ROUNDER: f32 = 12_582_912.0;
/// Below this, eˣ is less than the smallest normal number, and counts as nothing.
const NOTHING_BELOW: f32 = -87.33;

/// 2ⁿ and eʳ − 1 with x = n·ln 2 + r, for x from −87.33 to 0.
#[inline(always)]
fn reduced<A: Arithmetic>(x: f32) -> (f32, f32) {
    let shifted = A::mul_add(x, std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = A::mul_add(n, -LN_2.1, A::mul_add(n, -LN_2.0, x));
    // (eʳ − 1 − r) / r² for |r| ≤ ln 2 / 2, the coefficients of Cephes' `expf`.
    let p = A::mul_add(1.987_569_1e-4, r, 1.398_199_9e-3);
    let p = A::mul_add(p, r, 8.333_452e-3);
    let p = A::mul_add(p, r, 4.166_579_6e-2);
    let p = A::mul_add(p, r, 1.666_666_6e-1);
    let p = A::mul_add(p, r, 0.5);
    let power = f32::from_bits(shifted.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000));
    (power, A::mul_add(r * r, p, r))
}

/// eˣ for x ≤ 0.
#[inline(always)]
fn exp<A: Arithmetic>(x: f32) -> f32 {
    let (power, less_one) = reduced::<A>(x);
    if x < NOTHING_BELOW { 0.0 } else { power * (1.0 + less_one) }
}

/// eˣ − 1 for x ≤ 0.
#[inline(always)]
fn exp_m1<A: Arithmetic>(x: f32) -> f32 {
    let (power, less_one) = reduced::<A>(x);
    if x < NOTHING_BELOW { -1.0 } else { A::mul_add(power, less_one, power - 1.0) }
}

#[inline(always)]
fn sigmoid<A: Arithmetic>(x: f32) -> f32 {
    let e = exp::<A>(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

#[inline(always)]
fn tanh<A: Arithmetic>(x: f32) -> f32 {
    let e = exp_m1::<A>(-2.0 * x.abs());
    (-e / (2.0 + e)).copysign(x)
}

/// A function of every value.
#[inline(always)]
pub(crate) fn activate<A: Arithmetic>(function: Activation, tile: Tile) -> Tile {
    match function {
        Activation::Tanh => tile.map(tanh::<A>),
        Activation::Sigmoid => tile.map(sigmoid::<A>),
        Activation::HardSigmoidKeras2 => tile.map(|x| (x * 0.2 + 0.5).clamp(0.0, 1.0)),
        Activation::HardSigmoidKeras3 => tile.map(|x| (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Activation::Relu => tile.map(|x| if x < 0.0 { 0.0 } else { x }),
        Activation::Relu6 => tile.map(|x| x.clamp(0.0, 6.0)),
        Activation::Elu => tile.map(|x| if x > 0.0 { x } else { exp_m1::<A>(x) }),
        Activation::Softplus => tile.map(|x| x.clamp(0.0, f32::INFINITY) + exp::<A>(-x.abs()).ln_1p()),
        Activation::Softsign => tile.map(|x| {
            // Beyond 1e9 the quotient is 1 to the last bit, and infinity would give NaN.
            let bounded = x.clamp(-1e9, 1e9);
            bounded / (1.0 + bounded.abs())
        }),
        Activation::Linear => tile,
    }
}

/// A function of every value, spread over the cores.
pub(crate) fn activate_all(function: Activation, values: &mut [f32]) {
    const PART: usize = 1 << 14;
    values.par_chunks_mut(PART).for_each(|values| dispatch(All { function, values }));
}

struct All<'a> {
    function: Activation,
    values: &'a mut [f32],
}

impl Task for All<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self, _: A) {
        let (whole, rest) = self.values.as_chunks_mut();
        for values in whole {
            *values = activate::<A>(self.function, Tile(*values)).0;
        }
        let mut last = Tile::ZERO;
        last.0[..rest.len()].copy_from_slice(rest);
        rest.copy_from_slice(&activate::<A>(self.function, last).0[..rest.len()]);
    }
}
