//! Changes seeds at random and tries them, without a nightly toolchain and without the guidance of coverage:
//!
//!     cargo run --release -p hostile --example mutate -- TARGET SECONDS [SEED]
//!
//! A panic ends it, after the input was written to `mutated-TARGET`.

use std::path::Path;
use std::time::{Duration, Instant};

use hostile::repair;
use hostile::targets::{Target, targets};

/// `splitmix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, seconds) = (arguments[0].as_str(), arguments[1].parse().expect("seconds"));
    let mut random = Random(arguments.get(2).map_or(1, |s| s.parse().expect("a number")));
    let target = targets().into_iter().find(|t| t.name == name).expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .expect("seeds")
        .map(|e| std::fs::read(e.expect("an entry").path()).expect("a seed"))
        .collect();
    seeds.sort();
    let (start, mut count, mut slowest) = (Instant::now(), 0u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            change(&mut input, &seeds, &mut random);
        }
        if random.below(8) > 0 {
            repaired(target, &mut input);
        }
        let began = Instant::now();
        if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
            std::fs::write(format!("mutated-{name}"), &input).expect("the input is kept");
            panic!("after {count} executions");
        }
        slowest = slowest.max(began.elapsed());
        if began.elapsed() > Duration::from_secs(5) {
            std::fs::write(format!("mutated-{name}-slow"), &input).expect("the input is kept");
        }
        count += 1;
    }
    println!("{name}: {count} executions in {} s, the slowest {} ms", start.elapsed().as_secs(), slowest.as_millis());
}

fn repaired(target: Target, input: &mut [u8]) {
    match target.name {
        "bundle" => repair::joined_bundle(input),
        "table" | "saved_slices" => repair::table(input),
        "archive" => repair::archive(input),
        "certificate" => repair::certificate(input),
        _ => {}
    }
}

/// One of the changes that fuzzers make.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(8) {
        _ if input.is_empty() => input.push(random.next() as u8),
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        2 => input[at] = random.next() as u8,
        3 => {
            let number =
                [0, 1, u64::MAX, 1 << 31, 1 << 40, 1 << 63, input.len() as u64, random.next()][random.below(8)];
            let width = [2, 4, 8][random.below(3)].min(input.len() - at);
            input[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        4 => drop(input.drain(at..(at + 1 + random.below(8)).min(input.len()))),
        5 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len());
            let part = other[from..(from + 1 + random.below(64)).min(other.len())].to_vec();
            input.splice(at..at, part);
        }
        6 => {
            let part = input[at..(at + 1 + random.below(32)).min(input.len())].to_vec();
            let to = random.below(input.len());
            input.splice(to..to, part);
        }
        _ => {
            let part = input[at..(at + 8).min(input.len())].to_vec();
            let to = random.below(input.len() - part.len() + 1);
            input[to..to + part.len()].copy_from_slice(&part);
        }
    }
}
