//! Where the elements of datasets lie in the file, as its layout messages say.

use std::ops::Range;

use hdf5_pure::Layout;

use super::{Hdf5, Node, float_type};
use crate::error::Problem;
use crate::layer::{Array, Dtype};

/// A dataset whose elements are one run of bytes in the file.
#[derive(Debug)]
pub(crate) struct Location {
    /// The bytes, in the whole file.
    pub(crate) bytes: Range<usize>,
    pub(crate) dtype: Dtype,
    pub(crate) big_endian: bool,
}

impl Hdf5 {
    /// Where the elements of the float dataset at `path` are, unless they are compressed or in pieces.
    pub(crate) fn locate(&self, path: &str) -> Result<Location, Problem> {
        let (group, name) = self.parent_of(path)?;
        let dataset = group.dataset(name)?;
        let datatype = dataset.datatype().map_err(group.failed(name))?;
        let Some((dtype, big_endian)) = float_type(&datatype) else {
            return Err(Problem::Dtype { dataset: path.to_owned(), found: datatype.to_string() });
        };
        let layout = dataset.layout().map_err(group.failed(name))?;
        let refuse = |found: String| Problem::Unreplaceable {
            what: format!("dataset {path:?}"),
            expected: "elements in one run of bytes, as Keras writes them (neither chunked nor compressed)".to_owned(),
            found,
        };
        let Layout::Contiguous { address: Some(address), size } = layout else {
            return Err(refuse(layout.to_string()));
        };
        let end = address.checked_add(size).filter(|end| *end <= self.length);
        let range = usize::try_from(address).ok().zip(end.and_then(|end| usize::try_from(end).ok()));
        let Some((start, end)) = range else {
            return Err(refuse(format!("{layout} in a file of {} bytes", self.length)));
        };
        Ok(Location { bytes: start..end, dtype, big_endian })
    }

    /// Reads the float dataset at `path`.
    pub(crate) fn array(&self, path: &str) -> Result<Array, Problem> {
        let (group, name) = self.parent_of(path)?;
        group.array(name)
    }

    fn parent_of<'p>(&self, path: &'p str) -> Result<(Node<'_>, &'p str), Problem> {
        match path.rsplit_once('/') {
            Some((group, name)) => Ok((self.root().expect_child(group)?, name)),
            None => Ok((self.root(), path)),
        }
    }

    /// Path and bytes of every dataset that is one run of bytes; of a chunked one, of every chunk.
    pub(crate) fn extents(&self) -> Result<Vec<(String, Range<u64>)>, Problem> {
        let mut extents = Vec::new();
        let mut groups = vec![self.root()];
        while let Some(group) = groups.pop() {
            for name in group.dataset_names()? {
                group.extents_of(&name, &mut extents)?;
            }
            for name in group.group_names()? {
                groups.extend(group.child(&name)?);
            }
        }
        Ok(extents)
    }
}

impl Node<'_> {
    fn extents_of(&self, name: &str, into: &mut Vec<(String, Range<u64>)>) -> Result<(), Problem> {
        let dataset = self.dataset(name)?;
        let path = self.path_of(name);
        match dataset.layout().map_err(self.failed(name))? {
            Layout::Contiguous { address: Some(address), size } => {
                into.push((path, address..address.saturating_add(size)));
            }
            Layout::Chunked { .. } => {
                let chunks = dataset.chunks().map_err(self.failed(name))?;
                self.hdf5.spend(chunks.len())?;
                let range = |c: hdf5_pure::Chunk| (path.clone(), c.address..c.address.saturating_add(c.storage_size));
                into.extend(chunks.into_iter().map(range));
            }
            _ => {}
        }
        Ok(())
    }
}
