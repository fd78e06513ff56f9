//! `.npz`: a zip archive of one `.npy` file per array.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Cursor;

use zip::ZipArchive;

use crate::archive;
use crate::error::Problem;
use crate::layer::Array;
use crate::npy;
use crate::tensor::Tensor;

const ENDING: &str = ".npy";

/// One array of a `.npz` file, in full precision: for recorded inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedArray {
    /// The name given to `numpy.savez`, or `arr_0`, `arr_1`, ….
    pub name: String,
    /// Extent of each axis; none for a scalar.
    pub shape: Vec<usize>,
    /// The elements in row-major order, whatever the file's order; as many as the extents multiply to.
    pub values: Vec<f64>,
    /// numpy's name of the element type in the file: `float32`, `int64`, `bool`, ….
    pub dtype: String,
}

/// Whether a zip archive holds arrays and nothing else.
pub(crate) fn recognises(zip: &ZipArchive<Cursor<&[u8]>>) -> bool {
    !zip.is_empty() && zip.file_names_raw().all(|name| name.ends_with(ENDING.as_bytes()))
}

/// Every array, in the order of the archive.
pub(crate) fn read(zip: &mut ZipArchive<Cursor<&[u8]>>, length: usize) -> Result<Vec<Tensor<'static>>, Problem> {
    let mut tensors = Vec::with_capacity(zip.len());
    each(zip, length, |tensor| {
        tensors.push(tensor);
        Ok(())
    })?;
    Ok(tensors)
}

/// Every array as numbers.
pub(crate) fn values(bytes: &[u8]) -> Result<Vec<NamedArray>, Problem> {
    if !archive::recognises(bytes) {
        return Err(Problem::NotNpz { found: archive::beginning(bytes) });
    }
    let mut zip = archive::open(bytes)?;
    if !recognises(&zip) {
        let other = zip.file_names().flatten().find(|name| !name.ends_with(ENDING)).map(Cow::into_owned);
        return Err(Problem::NotNpz { found: other.map_or("no members".to_owned(), |name| format!("{name:?}")) });
    }
    // One byte in the file can be eight in memory, and more if it is compressed.
    let limit = archive::inflated_limit(bytes.len()).saturating_add(archive::size(bytes.len()));
    let mut left = limit;
    let mut arrays = Vec::with_capacity(zip.len());
    each(&mut zip, bytes.len(), |tensor| {
        let width = tensor.element.width().unwrap_or(1).max(1);
        let count = archive::size(tensor.bytes.len().checked_div(width).unwrap_or(0));
        left = left.checked_sub(count.saturating_mul(8)).ok_or_else(|| Problem::TooLarge {
            what: "arrays, as float64".to_owned(),
            limit,
            unit: "bytes",
            found: "more".to_owned(),
        })?;
        let values = tensor.values()?;
        arrays.push(NamedArray { dtype: tensor.element.name(), name: tensor.name, shape: tensor.shape, values });
        Ok(())
    })?;
    Ok(arrays)
}

fn each(
    zip: &mut ZipArchive<Cursor<&[u8]>>,
    length: usize,
    mut take: impl FnMut(Tensor<'static>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    // For all members together: the same bytes may be listed as many members.
    let mut left = archive::inflated_limit(length).max(archive::size(length));
    let mut names = HashSet::with_capacity(zip.len());
    for index in 0..zip.len() {
        let (member, content) = archive::content(zip, index, left, left)?;
        left = left.saturating_sub(archive::size(content.len()));
        let name = member.strip_suffix(ENDING).unwrap_or(&member);
        take(npy::read(name, content)?)?;
        // Names of different bytes are the same where only their encoding differs.
        if !names.insert(member) {
            return Err(Problem::DuplicateMember);
        }
    }
    Ok(())
}

/// Writes float32 arrays, uncompressed; the same arrays give the same bytes.
pub(crate) fn write(arrays: &[(String, &Array)]) -> Result<Vec<u8>, Problem> {
    let mut members = Vec::with_capacity(arrays.len());
    for (name, array) in arrays {
        let mut content = npy::float32_header(&array.shape);
        content.extend(array.data.iter().flat_map(|v| v.to_le_bytes()));
        members.push((format!("{name}{ENDING}"), content));
    }
    let members: Vec<(&str, &[u8])> = members.iter().map(|(n, c)| (n.as_str(), c.as_slice())).collect();
    archive::pack_members(&members)
}
