//! Strings of variable length, which attributes only refer to: a thousand of them may be the same megabyte.

use std::collections::HashSet;

use crate::error::Problem;

/// How a collection of such strings begins.
const COLLECTION: &[u8] = b"GCOL";
/// The strings of a file may take this much more memory than the file.
const ALLOWANCE: u64 = 48 << 20;

/// Refuses a file whose strings would be far more than the file, if every one was read once.
pub(super) fn check_shared(file: &[u8], base: u64) -> Result<(), Problem> {
    let collections: HashSet<u64> = starts(file).filter_map(|at| (at as u64).checked_sub(base)).collect();
    let (Some(first), Some(last)) = (collections.iter().min(), collections.iter().max()) else { return Ok(()) };
    let limit = ALLOWANCE.saturating_add(file.len() as u64);
    let mut total = 0u64;
    // A reference is a length, the address of a collection, and a number in it.
    for (at, address) in file.windows(8).enumerate().skip(4) {
        let Ok(address) = address.try_into().map(u64::from_le_bytes) else { continue };
        if !(*first..=*last).contains(&address) || !collections.contains(&address) {
            continue;
        }
        let length = at.checked_sub(4).and_then(|start| file.get(start..at)).and_then(|b| b.try_into().ok());
        let length = u64::from(length.map_or(0, u32::from_le_bytes));
        if length <= file.len() as u64 {
            total = total.saturating_add(length);
        }
        if total > limit {
            return Err(Problem::TooLarge {
                what: "the strings of all attributes together".to_owned(),
                limit,
                unit: "bytes",
                found: "more".to_owned(),
            });
        }
    }
    Ok(())
}

/// Where collections may begin: at multiples of eight, as all that the file allocates.
fn starts(file: &[u8]) -> impl Iterator<Item = usize> {
    let words = file.chunks_exact(8).enumerate();
    words.filter(|(_, word)| word.starts_with(COLLECTION)).map(|(number, _)| number.saturating_mul(8))
}
