#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| {
    hostile::targets::v1_file(input);
});

// Most bytes lie behind the checksum of their block. One time in eight it is left wrong.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 8 != 0 {
        hostile::repair::table(&mut data[..size]);
    }
    size
});
