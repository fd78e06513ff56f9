//! Builds an HDF5 file in memory from a tree of groups.

use std::collections::BTreeMap;

use hdf5_pure::{AttrValue, FileBuilder, LibVer};

use crate::error::Problem;
use crate::layer::Array;

/// Largest attribute that Keras writes in one piece (`HDF5_OBJECT_HEADER_LIMIT` of its HDF5 code);
/// longer lists are split the way its reader joins them.
const MAX_ATTRIBUTE_BYTES: usize = 64_512;

/// A group: its attributes and its children, each name once, in the order of the names.
#[derive(Default)]
pub(crate) struct Tree<'a> {
    attributes: BTreeMap<String, Attribute>,
    groups: BTreeMap<String, Tree<'a>>,
    datasets: BTreeMap<String, &'a Array>,
}

enum Attribute {
    Text(String),
    Texts(Vec<String>),
}

impl<'a> Tree<'a> {
    /// The group at `path` below this one (links joined by `/`), made where missing.
    pub(crate) fn group(&mut self, path: &str) -> &mut Tree<'a> {
        path.split('/').fold(self, |tree, link| tree.groups.entry(link.to_owned()).or_default())
    }

    /// Puts a string attribute on this group.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.attributes.insert(name.to_owned(), Attribute::Text(value.to_owned()));
    }

    /// Puts an attribute of several strings on this group, split where it would be too long.
    pub(crate) fn texts(&mut self, name: &str, values: Vec<String>) {
        // Fixed-width strings: each takes as much as the longest.
        let width = values.iter().map(String::len).max().unwrap_or(0).max(1);
        let per_part = MAX_ATTRIBUTE_BYTES.checked_div(width).unwrap_or(1).max(1);
        if values.len() <= per_part {
            self.attributes.insert(name.to_owned(), Attribute::Texts(values));
            return;
        }
        for (part, values) in values.chunks(per_part).enumerate() {
            self.attributes.insert(format!("{name}{part}"), Attribute::Texts(values.to_vec()));
        }
    }

    /// Puts a float32 dataset in this group.
    pub(crate) fn dataset(&mut self, name: &str, array: &'a Array) {
        self.datasets.insert(name.to_owned(), array);
    }

    /// The whole file, with this tree as root.
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, Problem> {
        let mut file = FileBuilder::new();
        // The oldest format the crate can write: HDF5 1.8, which every h5py reads.
        file.with_libver_bounds(LibVer::Earliest, LibVer::V18);
        for (name, attribute) in self.attributes {
            file.set_attr(&name, attribute.into_value());
        }
        for (name, array) in self.datasets {
            file.create_dataset(&name).with_f32_data(&array.data).with_shape(&shape(array));
        }
        for (name, tree) in self.groups {
            let mut group = file.create_group(&name);
            tree.fill(&mut group);
            file.add_group(group.finish());
        }
        file.finish().map_err(Problem::Hdf5Write)
    }

    fn fill(self, into: &mut hdf5_pure::GroupBuilder) {
        for (name, attribute) in self.attributes {
            into.set_attr(&name, attribute.into_value());
        }
        for (name, array) in self.datasets {
            into.create_dataset(&name).with_f32_data(&array.data).with_shape(&shape(array));
        }
        for (name, tree) in self.groups {
            let mut group = into.create_group(&name);
            tree.fill(&mut group);
            into.add_group(group.finish());
        }
    }
}

impl Attribute {
    /// Fixed-width ASCII: h5py 2 hands other strings to TF 2.2 as `str`, whose `decode` it calls.
    fn into_value(self) -> AttrValue {
        match self {
            Attribute::Text(s) => AttrValue::AsciiString(s),
            Attribute::Texts(v) => AttrValue::AsciiStringArray(v),
        }
    }
}

fn shape(array: &Array) -> Vec<u64> {
    array.shape.iter().map(|d| *d as u64).collect()
}
