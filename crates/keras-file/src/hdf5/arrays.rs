//! Every array of an HDF5 file that need not be Keras', under its path.

use hdf5_pure::{Datatype, DatatypeByteOrder};

use super::{Hdf5, Node, float_type};
use crate::error::Problem;
use crate::layer::Dtype;
use crate::tensor::{self, Element, Tensor};

/// One dataset of an HDF5 file.
#[derive(Clone, Debug, PartialEq)]
pub struct Hdf5Array {
    /// Path from the root, without a `/` at the front: `RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/W_0`.
    pub name: String,
    /// Extent of each axis; none for a scalar.
    pub shape: Vec<usize>,
    /// numpy's name of the element type in the file: `float32`, `int64`, ….
    pub dtype: String,
    /// The elements in row-major order; as many as the extents multiply to.
    pub data: Elements,
}

/// Numbers in the smallest of two types that holds them all exactly.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// From float16 and float32.
    Float32(Vec<f32>),
    /// From float64 and integers, none of which is above 2^53.
    Float64(Vec<f64>),
}

impl Elements {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Elements::Float32(v) => v.len(),
            Elements::Float64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads every dataset of numbers, sorted by path; of other types there is nothing to say.
pub(crate) fn read(file: &Hdf5) -> Result<Vec<Hdf5Array>, Problem> {
    let mut arrays = Vec::new();
    let mut groups = vec![file.root()];
    while let Some(group) = groups.pop() {
        for name in group.dataset_names()? {
            arrays.extend(array(&group, &name)?);
        }
        for name in group.group_names()? {
            groups.extend(group.child(&name)?);
        }
    }
    arrays.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(arrays)
}

fn array(group: &Node<'_>, name: &str) -> Result<Option<Hdf5Array>, Problem> {
    let dataset = group.dataset(name)?;
    let path = group.path_of(name);
    let datatype = dataset.datatype().map_err(group.failed(name))?;
    let Some((element, big_endian)) = element(&datatype) else {
        return Ok(None);
    };
    let width = element.width().unwrap_or(1);
    let dtype = element.name();
    if let Element::Float(float @ (Dtype::Float16 | Dtype::Float32)) = element {
        let mut data = Vec::new();
        let shape = group.elements((&dataset, name), (width, 4), |count, piece| {
            data.reserve_exact(count.saturating_sub(data.len()));
            tensor::floats(float, big_endian, piece, &mut data);
        })?;
        return Ok(Some(Hdf5Array { name: path, shape, dtype, data: Elements::Float32(data) }));
    }
    let mut data: Result<Vec<f64>, Problem> = Ok(Vec::new());
    let shape = group.elements((&dataset, name), (width, 8), |count, piece| {
        let Ok(values) = &mut data else { return };
        values.reserve_exact(count.saturating_sub(values.len()));
        let (name, element, bytes) = (path.clone(), element.clone(), piece.into());
        let piece = Tensor { name, shape: Vec::new(), element, big_endian, fortran: false, bytes };
        match piece.values() {
            Ok(more) => values.extend(more),
            Err(problem) => data = Err(problem),
        }
    })?;
    Ok(Some(Hdf5Array { name: path, shape, dtype, data: Elements::Float64(data?) }))
}

/// The element type, if it is a number's, and whether it is big-endian.
fn element(datatype: &Datatype) -> Option<(Element, bool)> {
    if let Some((dtype, big_endian)) = float_type(datatype) {
        return Some((Element::Float(dtype), big_endian));
    }
    let Datatype::FixedPoint { size, byte_order, layout } = datatype else {
        return None;
    };
    let width = usize::try_from(*size).ok().filter(|n| matches!(n, 1 | 2 | 4 | 8))?;
    let whole = layout.bit_offset == 0 && u32::from(layout.bit_precision) == size.saturating_mul(8);
    whole.then_some(())?;
    let big_endian = match byte_order {
        DatatypeByteOrder::LittleEndian => false,
        DatatypeByteOrder::BigEndian => true,
        DatatypeByteOrder::Vax => return None,
    };
    Some((if layout.signed { Element::Signed(width) } else { Element::Unsigned(width) }, big_endian))
}
