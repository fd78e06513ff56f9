#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| {
    hostile::targets::v2_bundle(input);
});

// Most bytes lie behind the checksum of their block or tensor. One time in eight these are left wrong.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 8 != 0 {
        hostile::repair::joined_bundle(&mut data[..size]);
    }
    size
});
