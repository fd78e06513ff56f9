//! The checkpoint as the crate's users see it.

use std::path::{Path, PathBuf};

use disk::Disk;

use crate::bundle::Bundle;
use crate::data_files::with_suffix;
use crate::frozen_graph::FrozenGraph;
use crate::resolve::{Found, resolve};
use crate::saved_slices::SavedSlices;
use crate::{DType, Error, Graph, ObjectGraph, Tensor, meta_graph, object_graph};

/// An open checkpoint: its variables are listed, their values are read one at a time.
///
/// It can be shared between threads.
#[derive(Debug)]
pub struct Checkpoint {
    disk: Disk,
    prefix: PathBuf,
    files: Vec<PathBuf>,
    variables: Vec<Variable>,
    graph: Option<GraphFile>,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Bundle(Bundle),
    SavedSlices(SavedSlices),
    FrozenGraph(FrozenGraph),
}

#[derive(Debug)]
enum GraphFile {
    Meta(PathBuf),
    SavedModel(PathBuf),
    Frozen(PathBuf),
}

/// Format of a checkpoint's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Saved tensor slices: the default of TensorFlow before 0.12.
    V1,
    /// A tensor bundle: the default since 0.12.
    V2,
    /// A SavedModel: a tensor bundle beside a `saved_model.pb`.
    SavedModel,
    /// A frozen graph: one `GraphDef` with the weights in it, as constants.
    FrozenGraph,
}

impl Format {
    /// `"v1"`, `"v2"`, `"saved-model"` or `"frozen-graph"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::V1 => "v1",
            Format::V2 => "v2",
            Format::SavedModel => "saved-model",
            Format::FrozenGraph => "frozen-graph",
        }
    }
}

/// What a checkpoint says of a variable without reading its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The key it is saved under, which is its name in the graph unless the saver was told otherwise. In an object-based
    /// checkpoint it is a path of objects, see [`Checkpoint::objects`]; in a frozen graph the name of a constant.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Extent of each dimension, outermost first; of the whole variable where it is partitioned.
    pub shape: Vec<usize>,
}

impl Checkpoint {
    /// Opens the checkpoint that `path` means.
    ///
    /// That is the prefix of a checkpoint (`model.ckpt-1000`), any one of its files, a `checkpoint` state file, a folder
    /// with such a file or with a single checkpoint in it, a SavedModel folder or the `saved_model.pb` in it, or a frozen
    /// graph (`.pb`). A state file that was moved together with its checkpoints works, though the paths in it are stale.
    ///
    /// The whole index is read and checked; values are not.
    ///
    /// # Errors
    ///
    /// If there is no checkpoint, more than one, or one that is damaged, incomplete or not supported.
    pub fn open(path: &Path) -> Result<Checkpoint, Error> {
        Checkpoint::open_on(&Disk::new(), path)
    }

    /// As [`Checkpoint::open`], through a door that others use too: every file of the checkpoint is, from here on and
    /// for all of them, what it was when first opened.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn open_on(disk: &Disk, path: &Path) -> Result<Checkpoint, Error> {
        let (prefix, store) = match resolve(disk, path)? {
            Found::Bundle(prefix) => {
                let bundle = Bundle::open(disk, &prefix)?;
                (prefix, Store::Bundle(bundle))
            }
            Found::SavedSlices(prefix, files) => (prefix, Store::SavedSlices(SavedSlices::open(disk, &files)?)),
            Found::FrozenGraph(path) => {
                let graph = FrozenGraph::open(disk, &path)?;
                (path, Store::FrozenGraph(graph))
            }
        };
        let (variables, mut files) = match &store {
            Store::Bundle(b) => (b.variables()?, b.files()),
            Store::SavedSlices(s) => (s.variables(), s.files()),
            Store::FrozenGraph(g) => (g.variables(), g.files()),
        };
        let graph = match store {
            Store::FrozenGraph(_) => Some(GraphFile::Frozen(prefix.clone())),
            _ => graph_file(disk, &prefix)?,
        };
        if let Some(GraphFile::Meta(path) | GraphFile::SavedModel(path)) = &graph {
            files.push(path.clone());
        }
        files.sort();
        Ok(Checkpoint { disk: disk.clone(), prefix, files, variables, graph, store })
    }

    /// Format of its files.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.store {
            Store::Bundle(_) if matches!(self.graph, Some(GraphFile::SavedModel(_))) => Format::SavedModel,
            Store::Bundle(_) => Format::V2,
            Store::SavedSlices(_) => Format::V1,
            Store::FrozenGraph(_) => Format::FrozenGraph,
        }
    }

    /// The path that the names of all its files start with; of a frozen graph, its path.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Every file that it consists of, the graph included where there is one, sorted.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Its variables, sorted by name.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Reads the value of the variable `name`. Checksums are verified each time, and the slices of a partitioned
    /// variable must cover it exactly once. A frozen graph has no checksums.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVariable`], or what is wrong with the files.
    pub fn read(&self, name: &str) -> Result<Tensor, Error> {
        let tensor = match &self.store {
            Store::Bundle(b) if !name.starts_with('\0') => b.read(name)?,
            Store::Bundle(_) => None,
            Store::SavedSlices(s) => s.read(name)?,
            Store::FrozenGraph(g) => g.read(name)?,
        };
        tensor.ok_or_else(|| self.no_such_variable(name))
    }

    /// The same digest as [`Tensor::sha256`] of [`Checkpoint::read`], after the same checks, or the same error. Of most
    /// variables of the V2 format only a piece at a time is in memory.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVariable`], or what is wrong with the files.
    pub fn sha256(&self, name: &str) -> Result<String, Error> {
        match &self.store {
            Store::Bundle(b) if !name.starts_with('\0') => b.sha256(name)?.ok_or_else(|| self.no_such_variable(name)),
            _ => Ok(self.read(name)?.sha256()),
        }
    }

    /// The graph saved with it: of `P.meta`, or of the SavedModel that it is part of, or the frozen graph that it is.
    /// `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// If the file can not be read or is not a graph.
    pub fn graph(&self) -> Result<Option<Graph>, Error> {
        match &self.graph {
            None => Ok(None),
            Some(GraphFile::Meta(path)) => meta_graph::read_meta(&self.disk, path).map(Some),
            Some(GraphFile::SavedModel(path)) => meta_graph::read_saved_model(&self.disk, path).map(Some),
            Some(GraphFile::Frozen(path)) => meta_graph::read_graph(&self.disk, path).map(Some),
        }
    }

    /// The objects that were saved, if it is an object-based checkpoint: of TensorFlow 2, of the Keras in later releases
    /// of TensorFlow 1, or of a SavedModel by TensorFlow 2. `None` if it is not.
    ///
    /// Every object that another refers to is in the graph, and every variable of it is one of the checkpoint's.
    ///
    /// # Errors
    ///
    /// If the object graph can not be read, or refers to what is not there.
    pub fn objects(&self) -> Result<Option<ObjectGraph>, Error> {
        let has = |name: &str| self.variables.binary_search_by(|v| v.name.as_str().cmp(name)).is_ok();
        if !has(object_graph::KEY) {
            return Ok(None);
        }
        let tensor = self.read(object_graph::KEY)?;
        if tensor.dtype() != DType::String || !tensor.shape().is_empty() {
            return Err(Error::Entry {
                path: self.prefix.clone(),
                variable: object_graph::KEY.to_owned(),
                expected: "a string, which is the object graph",
                found: format!("{} {:?}", tensor.dtype(), tensor.shape()),
            });
        }
        ObjectGraph::decode(&self.prefix, tensor.bytes(), has).map(Some)
    }

    fn no_such_variable(&self, name: &str) -> Error {
        let last = |n: &str| n.rsplit('/').next().unwrap_or_default().to_owned();
        let similar = self.variables.iter().filter(|v| last(&v.name) == last(name)).map(|v| v.name.clone());
        Error::NoSuchVariable {
            path: self.prefix.clone(),
            variable: name.to_owned(),
            count: self.variables.len(),
            similar: similar.take(3).collect(),
        }
    }
}

fn graph_file(disk: &Disk, prefix: &Path) -> Result<Option<GraphFile>, Error> {
    let meta = with_suffix(prefix, ".meta");
    if disk.is_file(&meta)? {
        return Ok(Some(GraphFile::Meta(meta)));
    }
    let folder = prefix.parent().and_then(Path::parent).filter(|_| prefix.ends_with("variables/variables"));
    let Some(saved_model) = folder.map(|f| f.join("saved_model.pb")) else { return Ok(None) };
    Ok(disk.is_file(&saved_model)?.then_some(GraphFile::SavedModel(saved_model)))
}
