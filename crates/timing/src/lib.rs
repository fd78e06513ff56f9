//! What a measured time means.
//!
//! Contenders run in turns ([`in_turns`]), so that a busy machine slows all of them. [`Times`] tells their median and how
//! sure it is; two whose medians may be the same are a tie ([`Times::ties_with`]), and a later measurement is a regression
//! only where they cannot be ([`regressed`]). The crate knows neither devices nor files.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod times;
mod turns;

pub use times::{Interval, Times, regressed};
pub use turns::{Contender, Measured, Rounds, in_turns};
