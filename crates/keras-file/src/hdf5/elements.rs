//! Reads the elements of datasets: not more of them than the size of the file allows, and what is compressed a piece at
//! a time.

use hdf5_pure::{Dataset, Layout};

use super::{Node, extents};
use crate::error::Problem;

/// Bytes of a dataset in chunks that are unpacked at a time.
const WINDOW: u64 = 8 << 20;

impl Node<'_> {
    /// Shows the bytes of the dataset `name`, whose elements have `width` bytes, to `each`, piece by piece and in order,
    /// each piece of whole elements, with the number of elements in all. Returns the shape.
    ///
    /// `memory` is what an element will take: all elements of a file together may take little more than the file.
    pub(super) fn elements(
        &self,
        (dataset, name): (&Dataset, &str),
        (width, memory): (usize, u64),
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<Vec<usize>, Problem> {
        let path = self.path_of(name);
        let shape = dataset.shape().map_err(self.failed(name))?;
        let layout = dataset.layout().map_err(self.failed(name))?;
        let limit = match layout {
            Layout::Chunked { .. } => self.hdf5.inflated_limit(),
            _ => self.hdf5.length,
        };
        let too_large = |what: &str, shape: &[u64]| Problem::TooLarge {
            what: format!("{what} {path:?}"),
            limit,
            unit: "bytes",
            found: format!("{width}-byte elements of shape {shape:?}"),
        };
        let bytes = |shape: &[u64]| shape.iter().try_fold(width as u64, |n, d| n.checked_mul(*d));
        let expected = bytes(&shape).filter(|n| *n <= limit).ok_or_else(|| too_large("dataset", &shape))?;
        let extents = extents(&path, &shape)?;
        let count = expected.checked_div(width as u64).unwrap_or(0);
        self.hdf5.spend_memory(count.saturating_mul(memory), &path)?;
        let count = usize::try_from(count).unwrap_or(0);
        let mut found = 0u64;
        let mut show = |piece: &[u8]| {
            found = found.saturating_add(piece.len() as u64);
            each(count, piece);
        };
        match layout {
            _ if expected == 0 => {}
            Layout::Contiguous { address: Some(address), size } if size == expected => {
                let range = usize::try_from(address).ok().zip(usize::try_from(address.saturating_add(size)).ok());
                let held = range.and_then(|(start, end)| self.hdf5.file.as_bytes().get(start..end));
                show(held.ok_or_else(|| too_large("dataset", &shape))?);
            }
            Layout::Chunked { chunk_shape, .. } => {
                if bytes(&chunk_shape).is_none_or(|n| n > limit) {
                    return Err(too_large("a chunk of dataset", &chunk_shape));
                }
                let rows = shape.first().copied().unwrap_or(1);
                // Whole chunks, so that none is unpacked twice.
                let chunk = chunk_shape.first().copied().unwrap_or(1).max(1);
                let row = expected.checked_div(rows).unwrap_or(1).max(1);
                let window = WINDOW.checked_div(row).unwrap_or(1).max(1);
                let window = window.div_ceil(chunk).saturating_mul(chunk);
                let mut start = 0u64;
                while start < rows {
                    show(&dataset.read_raw_rows(start, window).map_err(self.failed(name))?);
                    start = start.saturating_add(window);
                }
            }
            _ => show(&dataset.read_raw().map_err(self.failed(name))?),
        }
        if found != expected {
            return Err(Problem::Length { dataset: path, shape, expected, found });
        }
        Ok(extents)
    }
}
