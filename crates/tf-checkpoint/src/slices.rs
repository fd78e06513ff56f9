//! Partitioned variables: putting a tensor together from its slices.

use crate::proto::TensorSlice;
use crate::slice_key::Extent;
use crate::tensor::{Tensor, element_count};
use crate::{DType, Error};

/// The box that a slice takes up in its tensor: where it starts and how far it reaches, per dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    starts: Vec<usize>,
    shape: Vec<usize>,
}

impl Region {
    /// Places `extents` in a tensor of shape `full`; `None` if they do not fit in it.
    pub(crate) fn new(extents: &[Extent], full: &[usize]) -> Option<Region> {
        if extents.len() != full.len() {
            return None;
        }
        let mut region = Region { starts: Vec::new(), shape: Vec::new() };
        for (extent, &size) in extents.iter().zip(full) {
            let start = usize::try_from(extent.start).ok()?;
            let length = match extent.length {
                Some(length) => usize::try_from(length).ok()?,
                None => size.checked_sub(start).filter(|_| start == 0)?,
            };
            if start.checked_add(length)? > size {
                return None;
            }
            region.starts.push(start);
            region.shape.push(length);
        }
        Some(region)
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether it is the whole of a tensor of shape `full`.
    pub(crate) fn is_whole(&self, full: &[usize]) -> bool {
        self.shape == full
    }
}

/// The extents of a slice as written in the file.
pub(crate) fn extents(slice: &TensorSlice) -> Vec<Extent> {
    slice.extent.iter().map(|e| Extent { start: e.start, length: e.length }).collect()
}

/// Copies `parts`, each of the region at its place in `regions`, to where they belong in a tensor of this type and shape.
/// They must be of this type, have the shapes of their regions, and cover every element exactly once. One is read at a
/// time. `wrong` makes the error of what is wrong with them.
pub(crate) fn assemble(
    dtype: DType,
    shape: &[usize],
    regions: &[Region],
    parts: impl Iterator<Item = Result<Tensor, Error>>,
    wrong: impl Fn(String) -> Error,
) -> Result<Tensor, Error> {
    let broken = |found: &str| wrong(found.to_owned());
    let total = element_count(shape).ok_or_else(|| broken("a shape that does not fit memory"))?;
    let mut held = 0usize;
    for region in regions {
        let count = element_count(region.shape());
        if count == Some(0) && regions.len() > 1 {
            return Err(broken("a slice without elements"));
        }
        held = count.and_then(|n| held.checked_add(n)).ok_or_else(|| broken("more slices than fit memory"))?;
    }
    if held != total {
        return Err(wrong(format!("slices of {held} elements for a tensor of {total}")));
    }
    let mut parts = regions.iter().zip(parts).map(|(region, part)| {
        let part = part?;
        if part.dtype() != dtype || part.shape() != region.shape() {
            return Err(wrong(format!(
                "a slice of {} {:?} where {dtype} {:?} belongs",
                part.dtype(),
                part.shape(),
                region.shape()
            )));
        }
        Ok((region, part))
    });
    let tensor = if dtype == DType::String {
        let parts = parts.collect::<Result<Vec<_>, Error>>()?;
        strings(shape, total, &parts).map_err(&wrong)?
    } else {
        let size = dtype.size().ok_or_else(|| wrong(format!("type {dtype}, which has no plain values")))?;
        let Some((first, part)) = parts.next().transpose()? else { return Err(broken("no slices")) };
        if first.is_whole(shape) {
            return Ok(part);
        }
        let memory = total.checked_mul(size).ok_or_else(|| broken("a shape that does not fit memory"))?;
        let mut whole = Whole { bytes: Vec::new(), covered: Covered::new(total), size };
        // Whoever gives the regions has seen that the files have as much.
        whole.bytes.resize(memory, 0);
        whole.put(first, &part, shape).ok_or_else(|| broken(OVERLAP))?;
        drop(part);
        for next in parts {
            let (region, part) = next?;
            whole.put(region, &part, shape).ok_or_else(|| broken(OVERLAP))?;
        }
        Tensor::fixed(dtype, shape.to_vec(), whole.bytes)
    };
    tensor.ok_or_else(|| broken("slices that do not make up the tensor"))
}

const OVERLAP: &str = "slices that overlap";

/// A tensor of strings out of its parts.
fn strings(shape: &[usize], total: usize, parts: &[(&Region, Tensor)]) -> Result<Option<Tensor>, String> {
    // As many as the parts in memory have.
    let mut elements: Vec<&[u8]> = vec![&[]; total];
    let mut covered = Covered::new(total);
    for (region, part) in parts {
        let mut source = part.elements();
        for (start, len) in Runs::new(region, shape).ok_or(OVERLAP)? {
            covered.claim(start, len).ok_or(OVERLAP)?;
            elements.iter_mut().skip(start).zip(source.by_ref().take(len)).for_each(|(to, from)| *to = from);
        }
    }
    Ok(Tensor::of_strings(shape.to_vec(), elements))
}

/// A tensor of fixed-size elements that is being put together.
struct Whole {
    bytes: Vec<u8>,
    covered: Covered,
    /// Of an element.
    size: usize,
}

impl Whole {
    /// Puts a part in its place; `None` if some of it is taken.
    fn put(&mut self, region: &Region, part: &Tensor, shape: &[usize]) -> Option<()> {
        let mut source = part.bytes();
        for (start, len) in Runs::new(region, shape)? {
            self.covered.claim(start, len)?;
            let (at, n) = (start.checked_mul(self.size)?, len.checked_mul(self.size)?);
            let to = self.bytes.get_mut(at..at.checked_add(n)?)?;
            let (from, rest) = source.split_at_checked(n)?;
            to.copy_from_slice(from);
            source = rest;
        }
        Some(())
    }
}

/// Which elements of a tensor are there, a bit each.
struct Covered {
    words: Vec<u64>,
    elements: usize,
}

impl Covered {
    fn new(elements: usize) -> Covered {
        Covered { words: vec![0; elements.div_ceil(64)], elements }
    }

    /// Marks elements; `None` if one of them is marked already, or is none.
    fn claim(&mut self, start: usize, len: usize) -> Option<()> {
        let end = start.checked_add(len).filter(|&end| end <= self.elements)?;
        let mut at = start;
        while at < end {
            let in_word = at.checked_rem(64)?;
            let count = 64usize.saturating_sub(in_word).min(end.saturating_sub(at));
            let ones = u64::MAX.checked_shr(u32::try_from(64usize.saturating_sub(count)).ok()?)?;
            let mask = ones.checked_shl(u32::try_from(in_word).ok()?)?;
            let word = self.words.get_mut(at.checked_div(64)?)?;
            if *word & mask != 0 {
                return None;
            }
            *word |= mask;
            at = at.saturating_add(count);
        }
        Some(())
    }
}

/// The stretches of neighbouring elements of the full tensor that make up a region, in order: first element and length.
struct Runs {
    /// Extent and stride of each dimension before the stretches, outermost first.
    outer: Vec<(usize, usize)>,
    /// Where the next stretch is along these dimensions.
    index: Vec<usize>,
    next: Option<usize>,
    length: usize,
}

impl Runs {
    /// `None` if a number does not fit.
    fn new(region: &Region, full: &[usize]) -> Option<Runs> {
        // Dimensions from the end that are taken whole make one run together with the first one that is not.
        let whole = region.shape.iter().zip(full).rev().take_while(|(a, b)| a == b).count();
        let outer = full.len().saturating_sub(whole).saturating_sub(1);
        let mut strides = vec![1usize; full.len()];
        for (i, stride) in strides.iter_mut().enumerate() {
            *stride = element_count(full.get(i.checked_add(1)?..)?)?;
        }
        let mut first = 0usize;
        for (start, stride) in region.starts.iter().zip(&strides) {
            first = first.checked_add(start.checked_mul(*stride)?)?;
        }
        let length = element_count(region.shape.get(outer..)?)?;
        let outer: Vec<(usize, usize)> = region.shape.iter().copied().zip(strides).take(outer).collect();
        let next = (!region.shape.contains(&0)).then_some(first);
        Some(Runs { index: vec![0; outer.len()], outer, next, length })
    }
}

impl Iterator for Runs {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let start = self.next?;
        let mut at = Some(start);
        // Counts up the innermost dimension, and carries into those outside.
        for (index, &(extent, stride)) in self.index.iter_mut().zip(&self.outer).rev() {
            *index = index.saturating_add(1);
            if *index < extent {
                self.next = at.and_then(|at| at.checked_add(stride));
                return Some((start, self.length));
            }
            *index = 0;
            at = at.and_then(|at| at.checked_sub(stride.checked_mul(extent.checked_sub(1)?)?));
        }
        self.next = None;
        Some((start, self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a reader of slices calls it, with the message of the error.
    fn assembled(dtype: DType, shape: &[usize], parts: &[(Region, Tensor)]) -> Result<Tensor, String> {
        let regions: Vec<Region> = parts.iter().map(|(region, _)| region.clone()).collect();
        let parts = parts.iter().map(|(_, part)| Ok(part.clone()));
        let wrong = |found| Error::Slices { path: "p".into(), variable: "v".to_owned(), found };
        assemble(dtype, shape, &regions, parts, wrong).map_err(|e| e.to_string())
    }

    fn part(starts: &[usize], shape: &[usize], full: &[usize]) -> (Region, Tensor) {
        let extents: Vec<Extent> =
            starts.iter().zip(shape).map(|(&s, &l)| Extent { start: s as i64, length: Some(l as i64) }).collect();
        let region = Region::new(&extents, full).unwrap();
        // Each element is its own place in the full tensor.
        let bytes = Runs::new(&region, full).unwrap().flat_map(|(s, n)| (s..s + n).map(|i| i as u8)).collect();
        (region, Tensor::fixed(DType::UInt8, shape.to_vec(), bytes).unwrap())
    }

    #[test]
    fn slices_on_every_axis() {
        let full = [2, 4, 3];
        for parts in [
            vec![part(&[0, 0, 0], &[1, 4, 3], &full), part(&[1, 0, 0], &[1, 4, 3], &full)],
            vec![part(&[0, 1, 0], &[2, 3, 3], &full), part(&[0, 0, 0], &[2, 1, 3], &full)],
            vec![part(&[0, 0, 0], &[2, 4, 1], &full), part(&[0, 0, 1], &[2, 4, 2], &full)],
            vec![
                part(&[0, 0, 0], &[2, 2, 2], &full),
                part(&[0, 2, 0], &[2, 2, 2], &full),
                part(&[0, 0, 2], &[2, 4, 1], &full),
            ],
            vec![part(&[0, 0, 0], &full, &full)],
        ] {
            let tensor = assembled(DType::UInt8, &full, &parts).unwrap();
            assert_eq!(tensor.bytes(), (0..24).collect::<Vec<u8>>());
        }
        assert!(Runs::new(&part(&[0, 0, 0], &full, &full).0, &full).unwrap().eq([(0, 24)]));
        let scalar = Region::new(&[], &[]).unwrap();
        let one = Tensor::fixed(DType::UInt8, vec![], vec![9]).unwrap();
        assert_eq!(assembled(DType::UInt8, &[], &[(scalar, one)]).unwrap().bytes(), [9]);
    }

    #[test]
    fn what_is_covered_is_known_to_the_element() {
        let mut covered = Covered::new(200);
        for (start, len, free) in [
            (0, 1, true),
            (1, 62, true),
            (63, 2, true),
            (64, 1, false),
            (65, 135, true),
            (62, 1, false),
            (200, 1, false),
        ] {
            assert_eq!(covered.claim(start, len).is_some(), free, "{len} at {start}");
        }
        assert_eq!(covered.words, [u64::MAX, u64::MAX, u64::MAX, 0xff]);
        assert_eq!(covered.claim(usize::MAX, 2), None);
    }

    #[test]
    fn explicit_positions() {
        let full = [2, 3];
        let column = |i, bytes: [u8; 2]| {
            let extents = [Extent::FULL, Extent { start: i, length: Some(1) }];
            (Region::new(&extents, &full).unwrap(), Tensor::fixed(DType::UInt8, vec![2, 1], bytes.to_vec()).unwrap())
        };
        let parts = [column(2, [3, 6]), column(0, [1, 4]), column(1, [2, 5])];
        assert_eq!(assembled(DType::UInt8, &full, &parts).unwrap().bytes(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn strings_too() {
        let side = |i, s: &[&'static [u8]]| {
            let extents = [Extent { start: i, length: Some(s.len() as i64) }];
            (Region::new(&extents, &[3]).unwrap(), Tensor::of_strings(vec![s.len()], s.iter().copied()).unwrap())
        };
        let parts = [side(1, &[b"b", b"c"]), side(0, &[b"a"])];
        assert_eq!(assembled(DType::String, &[3], &parts).unwrap().strings().unwrap(), [b"a", b"b", b"c"]);
    }

    #[test]
    fn holes_and_overlaps_are_refused() {
        let full = [4];
        let hole = [part(&[0], &[2], &full), part(&[3], &[1], &full)];
        assert!(assembled(DType::UInt8, &full, &hole).unwrap_err().contains("3 elements"));
        let overlap = [part(&[0], &[3], &full), part(&[2], &[1], &full)];
        assert!(assembled(DType::UInt8, &full, &overlap).unwrap_err().contains("overlap"));
        assert!(assembled(DType::Int8, &full, &[part(&[0], &[4], &full)]).unwrap_err().contains("uint8"));
        let twice = [part(&[0], &[4], &full), part(&[0], &[0], &full)];
        assert!(assembled(DType::UInt8, &full, &twice).unwrap_err().contains("without elements"));
    }

    #[test]
    fn regions_outside_the_tensor_are_refused() {
        let extent = |start, length| Region::new(&[Extent { start, length }], &[4]);
        assert!(extent(0, None).unwrap().is_whole(&[4]));
        for bad in [
            extent(-1, Some(2)),
            extent(3, Some(2)),
            extent(0, Some(-1)),
            extent(i64::MAX, Some(i64::MAX)),
            extent(1, None),
        ] {
            assert_eq!(bad, None);
        }
        assert_eq!(Region::new(&[], &[4]), None);
    }
}
