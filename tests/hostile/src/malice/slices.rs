//! Partitioned variables whose parts do not make them up, and V1 files.

use super::Case;
use super::Outcome::Refused;
use crate::bundle::{Bundle, INDEX, KERNEL};
use crate::saved_slices::{FILE, SavedSlices, stored};
use crate::table::table;
use crate::wire::{bytes, shape, slice_key, unknown_rank};

type Extents = [(i64, Option<i64>)];

/// A kernel of these parts, each with the shape that its own entry has.
fn parts(name: &'static str, says: &'static str, parts: &[(&Extents, &[i64])]) -> Case {
    Case::new(name, kernel_of(parts).files(), INDEX, Refused(says))
}

fn kernel_of(parts: &[(&Extents, &[i64])]) -> Bundle {
    let mut bundle = Bundle::lstm();
    bundle.entries.pop();
    bundle.data.truncate(32);
    bundle.add_parts(KERNEL, &[3, 8], parts);
    bundle.sorted()
}

const WHOLE: (i64, Option<i64>) = (0, None);

/// Two rows and one row.
pub(super) fn right() -> Bundle {
    kernel_of(&[(&[(0, Some(2)), WHOLE], &[2, 8]), (&[(2, Some(1)), WHOLE], &[1, 8])])
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = vec![
        parts(
            "slices with a hole",
            "slices of 16 elements for a tensor of 24",
            &[(&[(0, Some(1)), WHOLE], &[1, 8]), (&[(2, Some(1)), WHOLE], &[1, 8])],
        ),
        parts(
            "slices that overlap and leave a hole",
            "slices that overlap",
            &[(&[(0, Some(2)), WHOLE], &[2, 8]), (&[(1, Some(1)), WHOLE], &[1, 8])],
        ),
        parts("slices of another rank", "one outside its shape [3, 8]", &[(&[(0, Some(24))], &[24])]),
        parts(
            "a slice that reaches past the end",
            "one outside its shape [3, 8]",
            &[(&[(0, Some(2)), WHOLE], &[2, 8]), (&[(2, Some(2)), WHOLE], &[2, 8])],
        ),
        parts(
            "a slice that begins before the beginning",
            "one outside its shape [3, 8]",
            &[(&[(-1, Some(4)), WHOLE], &[4, 8])],
        ),
        parts(
            "a slice stored with another shape",
            "but listed as",
            &[(&[(0, Some(2)), WHOLE], &[1, 8]), (&[(2, Some(1)), WHOLE], &[1, 8])],
        ),
    ];
    let mut unlisted = right();
    unlisted.entries.retain(|(key, _)| key.as_slice() != slice_key(KERNEL, &[(2, Some(1)), WHOLE]));
    unlisted.data.truncate(32 + 64);
    all.push(Case::new("a slice that is listed and not stored", unlisted.files(), INDEX, Refused("not stored")));
    let mut twice = right();
    let again = twice.entry(KERNEL).slices[0].clone();
    twice.entry(KERNEL).slices.push(again);
    all.push(Case::new("a slice that is listed twice", twice.files(), INDEX, Refused("slices of")));
    all.extend(v1());
    all
}

fn v1() -> Vec<Case> {
    let case = |name, says, change: &dyn Fn(&mut SavedSlices)| {
        let mut file = SavedSlices::lstm();
        change(&mut file);
        Case::new(name, file.files(), FILE, Refused(says))
    };
    let whole = [WHOLE, WHOLE];
    let floats = |n: usize| bytes(5, &vec![0; n * 4]);
    let shapes = "a shape without unknown or negative dimensions";
    vec![
        case("V1: a negative dimension", shapes, &|f| f.kernel().shape = shape(&[-3, -8])),
        case("V1: an unknown rank", shapes, &|f| f.kernel().shape = unknown_rank()),
        case("V1: dimensions that overflow 64 bits", "from the size of the files", &|f| {
            f.kernel().shape = shape(&[1 << 33, 1 << 33])
        }),
        case("V1: fewer values than elements", "one value of its type per element", &|f| {
            f.stored[1].1 = stored(KERNEL, &whole, &floats(23));
        }),
        case("V1: more values than elements", "one value of its type per element", &|f| {
            f.stored[1].1 = stored(KERNEL, &whole, &floats(25));
        }),
        case("V1: one value, to be repeated", "one value of its type per element", &|f| {
            f.stored[1].1 = stored(KERNEL, &whole, &floats(1));
        }),
        case("V1: a slice under the key of another", "the slice that the key is of", &|f| {
            f.stored[1].1 = stored("other", &whole, &floats(24));
        }),
        case("V1: a slice that is listed and not stored", "not stored", &|f| {
            f.stored.remove(1);
        }),
        case("V1: a slice that is listed a million times", "tensors, slices and dimensions", &|f| {
            f.kernel().slices = vec![whole.to_vec(); 1_000_000];
        }),
        case("V1: slices with a hole", "slices of 16 elements for a tensor of 24", &|f| {
            let rows = |start: i64| vec![(start, Some(1)), WHOLE];
            f.kernel().slices = vec![rows(0), rows(2)];
            f.stored.pop();
            for start in [0, 2] {
                f.stored.push((slice_key(KERNEL, &rows(start)), stored(KERNEL, &rows(start), &floats(8))));
            }
        }),
        case("V1: slices of another rank", "one outside its shape [3, 8]", &|f| {
            f.kernel().slices = vec![vec![(0, Some(24))]];
        }),
        case("V1: one tensor listed with two shapes", "the same type and shape", &|f| {
            let mut again = f.kernel().clone();
            again.shape = shape(&[24]);
            f.listed.push(again);
        }),
        case("V1: a slice that is listed twice", "slices of 48 elements for a tensor of 24", &|f| {
            f.kernel().slices = vec![whole.to_vec(); 2];
        }),
        Case::one("V1: no list of tensors", FILE, table(&[(vec![], vec![])]), Refused("a list of tensors")),
    ]
}
