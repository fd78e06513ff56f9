//! The one door to the HDF5 crate: size-capped reads of untrusted files.
//!
//! Nothing else in this crate sees `hdf5_pure` values, so that every read passes the same guards.

mod arrays;
mod elements;
mod locate;
mod strings;
mod write;

use std::cell::Cell;
use std::path::Path;

use hdf5_pure::{Datatype, DatatypeByteOrder, File, FormatError, Group};

use crate::error::Problem;
use crate::layer::{Array, Dtype, OtherArray};
use crate::tensor;

pub(crate) use arrays::read as read_arrays;
pub use arrays::{Elements, Hdf5Array};
pub(crate) use locate::Location;
pub(crate) use write::Tree;

/// Deepest group that is followed. Keras nests a few groups per level of model nesting; a damaged
/// link can point back to its own parent, and HDF5 paths would then go on for ever.
const MAX_DEPTH: usize = 64;
/// Groups and datasets that may be opened or listed in one file. A model of a thousand layers needs about
/// ten thousand.
const MAX_OBJECTS: usize = 200_000;
/// By how much arrays may be larger in memory than their file: the same array may have many names, and chunks may be
/// zeros that are nowhere.
const MAX_GROWTH: u64 = 64 << 20;

/// An open HDF5 file and what is left of its budgets.
pub(crate) struct Hdf5 {
    file: File,
    length: u64,
    objects_left: Cell<usize>,
    memory_left: Cell<u64>,
}

impl Hdf5 {
    /// Whether `bytes` begin like an HDF5 file (possibly after a user block).
    pub(crate) fn recognises(bytes: &[u8]) -> bool {
        hdf5_pure::is_hdf5_bytes(bytes)
    }

    /// The same of a file, of which only the beginning is read.
    pub(crate) fn is(path: &Path) -> std::io::Result<bool> {
        hdf5_pure::is_hdf5(path)
    }

    /// The same of `len` bytes of which `at` gives eight at an offset: the signature stands at 0 or at a power of two from
    /// 512 on.
    pub(crate) fn is_by<E>(len: u64, at: &mut impl FnMut(u64) -> Result<[u8; 8], E>) -> Result<bool, E> {
        let mut offset = 0u64;
        while offset.checked_add(8).is_some_and(|end| end <= len) {
            if at(offset)? == *b"\x89HDF\r\n\x1a\n" {
                return Ok(true);
            }
            offset = if offset == 0 { 512 } else { offset.saturating_mul(2) };
        }
        Ok(false)
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self, Problem> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let file = File::from_bytes(bytes).map_err(|source| Problem::Hdf5 { object: "/".to_owned(), source })?;
        // Every HDF5 library refuses a shorter file. A longer one may have bytes after its content.
        let superblock = file.superblock();
        let end = superblock.base_address.get().saturating_add(superblock.eof_address);
        if end > length {
            return Err(Problem::Truncated { expected: end, found: length });
        }
        strings::check_shared(file.as_bytes(), superblock.base_address.get())?;
        let memory_left = Cell::new(length.saturating_add(MAX_GROWTH));
        Ok(Self { file, length, objects_left: Cell::new(MAX_OBJECTS), memory_left })
    }

    /// Bytes that a compressed dataset may become.
    fn inflated_limit(&self) -> u64 {
        self.length.saturating_add(MAX_GROWTH)
    }

    /// Takes the memory that the dataset at `path` needs off what the file may take.
    fn spend_memory(&self, bytes: u64, path: &str) -> Result<(), Problem> {
        match self.memory_left.get().checked_sub(bytes) {
            Some(left) => {
                self.memory_left.set(left);
                Ok(())
            }
            None => Err(Problem::TooLarge {
                what: "all arrays together".to_owned(),
                limit: self.length.saturating_add(MAX_GROWTH),
                unit: "bytes",
                found: format!("more, with dataset {path:?}"),
            }),
        }
    }

    pub(crate) fn root(&self) -> Node<'_> {
        Node { hdf5: self, group: self.file.root(), path: String::new(), depth: 0 }
    }

    fn spend(&self, objects: usize) -> Result<(), Problem> {
        match self.objects_left.get().checked_sub(objects) {
            Some(left) => {
                self.objects_left.set(left);
                Ok(())
            }
            None => Err(Problem::TooLarge {
                what: "number of groups and datasets".to_owned(),
                limit: MAX_OBJECTS as u64,
                unit: "objects",
                found: "more".to_owned(),
            }),
        }
    }
}

/// One group.
pub(crate) struct Node<'a> {
    hdf5: &'a Hdf5,
    group: Group,
    path: String,
    depth: usize,
}

impl<'a> Node<'a> {
    /// Path from the root, `/` for the root itself.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// Path of the link `name` of this group, from the root.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    fn failed(&self, name: &str) -> impl Fn(hdf5_pure::Error) -> Problem + use<> {
        let object = if name.is_empty() { self.path().to_owned() } else { self.path_of(name) };
        move |source| Problem::Hdf5 { object: object.clone(), source }
    }

    /// The group `name` (may be several links joined by `/`), or none where there is no such link
    /// or it is a dataset.
    pub(crate) fn child(&self, name: &str) -> Result<Option<Node<'a>>, Problem> {
        // At least one: an empty name or "." leads to the group itself.
        let links = name.split('/').filter(|s| !s.is_empty()).count().max(1);
        let depth = self.depth.saturating_add(links);
        if depth > MAX_DEPTH {
            return Err(Problem::TooLarge {
                what: format!("nesting of {:?}", self.path_of(name)),
                limit: MAX_DEPTH as u64,
                unit: "levels",
                found: depth.to_string(),
            });
        }
        self.hdf5.spend(1)?;
        match self.group.group(name) {
            Ok(group) => Ok(Some(Node { hdf5: self.hdf5, group, path: self.path_of(name), depth })),
            Err(hdf5_pure::Error::Format(FormatError::PathNotFound(_)) | hdf5_pure::Error::NotAGroup(_)) => Ok(None),
            Err(e) => Err(self.failed(name)(e)),
        }
    }

    /// The group `name`, which must exist.
    pub(crate) fn expect_child(&self, name: &str) -> Result<Node<'a>, Problem> {
        self.child(name)?.ok_or_else(|| Problem::Missing {
            place: format!("HDF5 group {:?}", self.path()),
            expected: format!("a group {name:?}"),
        })
    }

    /// Names of the groups in this group, sorted.
    pub(crate) fn group_names(&self) -> Result<Vec<String>, Problem> {
        let mut names = self.listed(self.group.groups())?;
        names.sort();
        Ok(names)
    }

    /// Names of the datasets in this group, numbers in numeric order.
    pub(crate) fn dataset_names(&self) -> Result<Vec<String>, Problem> {
        let mut names = self.listed(self.group.datasets())?;
        names.sort_by_cached_key(|n| (n.parse::<u64>().unwrap_or(u64::MAX), n.clone()));
        Ok(names)
    }

    /// Link names as HDF5 allows them: others would be taken for paths, and lead elsewhere or nowhere.
    fn listed(&self, names: Result<Vec<String>, hdf5_pure::Error>) -> Result<Vec<String>, Problem> {
        let names = names.map_err(self.failed(""))?;
        self.hdf5.spend(names.len())?;
        if let Some(name) = names.iter().find(|n| n.contains('\n')) {
            return Err(Problem::Name { name: name.clone() });
        }
        match names.iter().find(|n| n.is_empty() || *n == "." || n.contains('/')) {
            Some(name) => Err(Problem::LinkName { group: self.path().to_owned(), name: name.clone() }),
            None => Ok(names),
        }
    }

    /// A string attribute, or none where there is no such attribute.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let attributes = self.group.attrs().map_err(self.failed(""))?;
        let Some(value) = attributes.get(name) else {
            return Ok(None);
        };
        match value.as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.bad_attribute(name, "one string", value.type_name())),
        }
    }

    /// An attribute of several strings, or none where there is no such attribute. Keras splits one
    /// that is too long for HDF5 into `name0`, `name1`, ….
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let attributes = self.group.attrs().map_err(self.failed(""))?;
        let strings = |key: &str| -> Result<Option<Vec<String>>, Problem> {
            let Some(value) = attributes.get(key) else {
                return Ok(None);
            };
            // Keras writes an empty list as an empty float64 array.
            if value.to_f64s().is_some_and(|v| v.is_empty()) {
                return Ok(Some(Vec::new()));
            }
            match value.as_strings() {
                Some(s) => Ok(Some(s.to_vec())),
                None => Err(self.bad_attribute(key, "strings", value.type_name())),
            }
        };
        if let Some(all) = strings(name)? {
            return Ok(Some(all));
        }
        let mut joined = None::<Vec<String>>;
        for part in 0..attributes.len() {
            match strings(&format!("{name}{part}"))? {
                Some(more) => joined.get_or_insert_default().extend(more),
                None => break,
            }
        }
        Ok(joined)
    }

    fn bad_attribute(&self, name: &str, expected: &'static str, found: &str) -> Problem {
        Problem::Attribute { object: self.path().to_owned(), name: name.to_owned(), expected, found: found.to_owned() }
    }

    fn dataset(&self, name: &str) -> Result<hdf5_pure::Dataset, Problem> {
        self.hdf5.spend(1)?;
        self.group.dataset(name).map_err(|e| match e {
            hdf5_pure::Error::Format(FormatError::PathNotFound(_)) => Problem::Missing {
                place: format!("HDF5 group {:?}", self.path()),
                expected: format!("a dataset {name:?}"),
            },
            e => self.failed(name)(e),
        })
    }

    /// Shape of the dataset `name`; its elements are not read.
    pub(crate) fn shape(&self, name: &str) -> Result<OtherArray, Problem> {
        let shape = self.dataset(name)?.shape().map_err(self.failed(name))?;
        Ok(OtherArray { name: name.to_owned(), shape: extents(&self.path_of(name), &shape)? })
    }

    /// Reads the float dataset `name`, once.
    pub(crate) fn array(&self, name: &str) -> Result<Array, Problem> {
        let dataset = self.dataset(name)?;
        let path = self.path_of(name);
        let datatype = dataset.datatype().map_err(self.failed(name))?;
        let Some((dtype, big_endian)) = float_type(&datatype) else {
            return Err(Problem::Dtype { dataset: path, found: datatype.to_string() });
        };
        let (mut data, mut lossy) = (Vec::new(), false);
        let shape = self.elements((&dataset, name), (tensor::width(dtype), 4), |count, piece| {
            data.reserve_exact(count.saturating_sub(data.len()));
            lossy |= tensor::floats(dtype, big_endian, piece, &mut data);
        })?;
        Ok(Array { shape, data, stored_as: dtype, lossy })
    }
}

fn extents(path: &str, shape: &[u64]) -> Result<Vec<usize>, Problem> {
    shape.iter().map(|d| usize::try_from(*d)).collect::<Result<_, _>>().map_err(|_| Problem::TooLarge {
        what: format!("dataset {path:?}"),
        limit: usize::MAX as u64,
        unit: "elements along an axis",
        found: format!("{shape:?}"),
    })
}

/// The IEEE type that `datatype` describes, and whether it is big-endian.
fn float_type(datatype: &Datatype) -> Option<(Dtype, bool)> {
    let Datatype::FloatingPoint { size, byte_order, layout } = datatype else {
        return None;
    };
    let big_endian = match byte_order {
        DatatypeByteOrder::LittleEndian => false,
        DatatypeByteOrder::BigEndian => true,
        DatatypeByteOrder::Vax => return None,
    };
    // The size alone would take bfloat16 for float16.
    let fields = (
        *size,
        layout.bit_offset,
        layout.bit_precision,
        layout.exponent_location,
        layout.exponent_size,
        layout.mantissa_location,
        layout.mantissa_size,
        layout.exponent_bias,
    );
    let dtype = match fields {
        (2, 0, 16, 10, 5, 0, 10, 15) => Dtype::Float16,
        (4, 0, 32, 23, 8, 0, 23, 127) => Dtype::Float32,
        (8, 0, 64, 52, 11, 0, 52, 1023) => Dtype::Float64,
        _ => return None,
    };
    Some((dtype, big_endian))
}
