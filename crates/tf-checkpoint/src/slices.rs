//! Partitioned variables: putting a tensor together from its slices.

use crate::DType;
use crate::proto::TensorSlice;
use crate::slice_key::Extent;
use crate::tensor::{Tensor, element_count};

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

/// Copies `parts` to their places in a tensor of this type and shape. They must be of this type, have the shapes of their
/// regions, and cover every element exactly once.
pub(crate) fn assemble(dtype: DType, shape: &[usize], parts: &[(Region, Tensor)]) -> Result<Tensor, String> {
    let total = element_count(shape).ok_or("a shape that does not fit memory")?;
    let mut held = 0usize;
    for (region, part) in parts {
        if part.dtype() != dtype || part.shape() != region.shape() {
            return Err(format!(
                "a slice of {} {:?} where {dtype} {:?} belongs",
                part.dtype(),
                part.shape(),
                region.shape()
            ));
        }
        held = element_count(part.shape()).and_then(|n| held.checked_add(n)).ok_or("more slices than fit memory")?;
    }
    if held != total {
        return Err(format!("slices of {held} elements for a tensor of {total}"));
    }
    // The parts are in memory, and there are as many elements in them, so this much memory is justified.
    let mut covered = vec![false; total];
    let overlap = || "slices that overlap".to_owned();
    let mut claim = |start: usize, len: usize| {
        let run = start.checked_add(len).and_then(|end| covered.get_mut(start..end)).filter(|run| !run.contains(&true));
        run.map(|run| run.fill(true)).ok_or_else(overlap)
    };
    let tensor = if dtype == DType::String {
        let mut elements: Vec<&[u8]> = vec![&[]; total];
        for (region, part) in parts {
            let mut source = part.elements();
            for (start, len) in runs(region, shape).ok_or_else(overlap)? {
                claim(start, len)?;
                elements.iter_mut().skip(start).zip(source.by_ref().take(len)).for_each(|(to, from)| *to = from);
            }
        }
        Tensor::of_strings(shape.to_vec(), elements)
    } else {
        let size = dtype.size().ok_or_else(|| format!("type {dtype}, which has no plain values"))?;
        let mut bytes = vec![0; total.checked_mul(size).ok_or("a shape that does not fit memory")?];
        for (region, part) in parts {
            let mut source = part.bytes();
            for (start, len) in runs(region, shape).ok_or_else(overlap)? {
                claim(start, len)?;
                let (at, n) = (start.saturating_mul(size), len.saturating_mul(size));
                let to = bytes.get_mut(at..at.saturating_add(n)).ok_or_else(overlap)?;
                let (from, rest) = source.split_at_checked(n).ok_or_else(overlap)?;
                to.copy_from_slice(from);
                source = rest;
            }
        }
        Tensor::fixed(dtype, shape.to_vec(), bytes)
    };
    tensor.ok_or_else(|| "slices that do not make up the tensor".to_owned())
}

/// The stretches of neighbouring elements of the full tensor that make up `region`, in order: first element and length.
fn runs(region: &Region, full: &[usize]) -> Option<Vec<(usize, usize)>> {
    if region.shape.contains(&0) {
        return Some(Vec::new());
    }
    // Dimensions from the end that are taken whole make one run together with the first one that is not.
    let whole = region.shape.iter().zip(full).rev().take_while(|(a, b)| a == b).count();
    let outer = full.len().saturating_sub(whole).saturating_sub(1);
    let mut strides = vec![1usize; full.len()];
    for (i, stride) in strides.iter_mut().enumerate() {
        *stride = element_count(full.get(i.checked_add(1)?..)?)?;
    }
    let length = element_count(region.shape.get(outer..)?)?;
    let mut first = 0usize;
    for (start, stride) in region.starts.iter().zip(&strides) {
        first = first.checked_add(start.checked_mul(*stride)?)?;
    }
    let mut starts = vec![first];
    for (&extent, &stride) in region.shape.iter().zip(&strides).take(outer) {
        let mut next = Vec::with_capacity(starts.len().checked_mul(extent)?);
        for &start in &starts {
            for i in 0..extent {
                next.push(start.checked_add(i.checked_mul(stride)?)?);
            }
        }
        starts = next;
    }
    Some(starts.into_iter().map(|start| (start, length)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(starts: &[usize], shape: &[usize], full: &[usize]) -> (Region, Tensor) {
        let extents: Vec<Extent> =
            starts.iter().zip(shape).map(|(&s, &l)| Extent { start: s as i64, length: Some(l as i64) }).collect();
        let region = Region::new(&extents, full).unwrap();
        // Each element is its own place in the full tensor.
        let bytes = runs(&region, full).unwrap().into_iter().flat_map(|(s, n)| (s..s + n).map(|i| i as u8)).collect();
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
            let tensor = assemble(DType::UInt8, &full, &parts).unwrap();
            assert_eq!(tensor.bytes(), (0..24).collect::<Vec<u8>>());
        }
        assert_eq!(runs(&part(&[0, 0, 0], &full, &full).0, &full).unwrap(), [(0, 24)]);
        let scalar = Region::new(&[], &[]).unwrap();
        let one = Tensor::fixed(DType::UInt8, vec![], vec![9]).unwrap();
        assert_eq!(assemble(DType::UInt8, &[], &[(scalar, one)]).unwrap().bytes(), [9]);
    }

    #[test]
    fn explicit_positions() {
        let full = [2, 3];
        let column = |i, bytes: [u8; 2]| {
            let extents = [Extent::FULL, Extent { start: i, length: Some(1) }];
            (Region::new(&extents, &full).unwrap(), Tensor::fixed(DType::UInt8, vec![2, 1], bytes.to_vec()).unwrap())
        };
        let parts = [column(2, [3, 6]), column(0, [1, 4]), column(1, [2, 5])];
        assert_eq!(assemble(DType::UInt8, &full, &parts).unwrap().bytes(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn strings_too() {
        let side = |i, s: &[&'static [u8]]| {
            let extents = [Extent { start: i, length: Some(s.len() as i64) }];
            (Region::new(&extents, &[3]).unwrap(), Tensor::of_strings(vec![s.len()], s.iter().copied()).unwrap())
        };
        let parts = [side(1, &[b"b", b"c"]), side(0, &[b"a"])];
        assert_eq!(assemble(DType::String, &[3], &parts).unwrap().strings().unwrap(), [b"a", b"b", b"c"]);
    }

    #[test]
    fn holes_and_overlaps_are_refused() {
        let full = [4];
        let hole = [part(&[0], &[2], &full), part(&[3], &[1], &full)];
        assert!(assemble(DType::UInt8, &full, &hole).unwrap_err().contains("3 elements"));
        let overlap = [part(&[0], &[3], &full), part(&[2], &[1], &full)];
        assert!(assemble(DType::UInt8, &full, &overlap).unwrap_err().contains("overlap"));
        assert!(assemble(DType::Int8, &full, &hole).unwrap_err().contains("uint8"));
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
