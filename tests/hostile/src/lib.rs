//! Files made to break the readers, and the entry points through which any bytes are tried on them. For tests and
//! fuzzing only: whatever is wrong panics.
//!
//! [`targets`] are the entry points, one per format: a fuzzer calls them with what it invents, an ordinary test with
//! the files in `fuzz/corpus` and `tests/hostile/files`. [`repair`] makes checksums right again after a fuzzer changed
//! bytes, so that it gets past them. [`malice`] builds files with right checksums and wrong contents.

#![forbid(unsafe_code)]

pub mod bundle;
pub mod large;
pub mod malice;
mod memory;
pub mod repair;
pub mod saved_slices;
pub mod table;
pub mod targets;
pub mod wire;

#[path = "../../../crates/gatewise/src/map/format.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the program, which uses all of it")]
mod map_format;

#[path = "../../../crates/gatewise/src/suite/file.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the program, which uses all of it")]
mod suite_file;
