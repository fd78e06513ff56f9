//! Where variables come from: a TensorFlow checkpoint, a Keras file, or an HDF5 file of another kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use disk::Disk;
use keras_file::{Array, Elements, KerasFile, Layer, LayerKind, Lstm, LstmConfig, Stored};
use lstm::detect::{self, CellKind, FoundCell, Given, Known, Source};
use lstm::{Activation, Merge, Network};
use ndarray::Array2;
use tf_checkpoint::{Checkpoint, Format, Graph, ObjectGraph, Tensor, Variable};

use crate::candidate::{self, OpenedFile};
use crate::error::CliError;
use crate::meaning::Meaning;

/// Variables by name, and what else their files say.
pub(crate) struct Store {
    /// The door through which all files of this run are read.
    pub(crate) disk: Disk,
    /// The path as given.
    pub(crate) path: PathBuf,
    /// `v1`, `v2`, `saved-model`, `frozen-graph`, `tf2-checkpoint`, `hdf5`, or a Keras format.
    pub(crate) format: String,
    /// Every file read.
    pub(crate) files: Vec<PathBuf>,
    /// The graph beside the variables.
    pub(crate) graph: Option<Graph>,
    /// The Keras whose functions the file's names mean, if it is a Keras file.
    pub(crate) keras_major: Option<u32>,
    /// What layers' configurations say, by scope.
    pub(crate) known: BTreeMap<String, Known>,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
    variables: Vec<Variable>,
    /// Keys of variables that have another name here.
    keys: BTreeMap<String, String>,
    values: Values,
}

enum Values {
    Checkpoint(Box<Checkpoint>),
    Arrays(BTreeMap<String, Tensor>),
}

impl Store {
    /// Opens whatever `path` is.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Store, CliError> {
        if disk.is_file(path)? && is_keras(disk, path)? {
            return match keras_file::decode(disk.read(path)?) {
                Ok(file) => of_keras(disk, path, file),
                // HDF5 of another kind: what it holds is for a map to say.
                Err(error) if matches!(error.problem(), keras_file::Problem::UnknownLayout { .. }) => {
                    of_hdf5(disk, path)
                }
                Err(error) => Err(error.in_file(path).into()),
            };
        }
        let checkpoint = Checkpoint::open_on(disk, path)?;
        match checkpoint.objects()? {
            Some(objects) => of_objects(disk, path, checkpoint, &objects),
            None => of_checkpoint(disk, path, checkpoint),
        }
    }

    /// Every variable, sorted by the name it has here.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The name of a variable in its file.
    pub(crate) fn key<'a>(&'a self, name: &'a str) -> &'a str {
        self.keys.get(name).map_or(name, String::as_str)
    }

    /// Bytes of the variables of these names, as far as their shapes tell.
    pub(crate) fn bytes_of<'a>(&self, names: impl Iterator<Item = &'a String>) -> u64 {
        let by_name: BTreeMap<&str, &Variable> = self.variables.iter().map(|v| (v.name.as_str(), v)).collect();
        let size = |v: &&Variable| {
            v.shape.iter().fold(v.dtype.size().unwrap_or(0), |n, &extent| n.saturating_mul(extent)) as u64
        };
        names.filter_map(|name| by_name.get(name.as_str())).map(size).fold(0, u64::saturating_add)
    }

    /// Reads a variable by the name it has here.
    pub(crate) fn read(&self, name: &str) -> Result<Tensor, tf_checkpoint::Error> {
        match &self.values {
            Values::Checkpoint(checkpoint) => checkpoint.read(self.key(name)),
            Values::Arrays(arrays) => arrays.get(name).cloned().ok_or_else(|| tf_checkpoint::Error::NoSuchVariable {
                path: self.path.clone(),
                variable: name.to_owned(),
                count: arrays.len(),
                similar: vec![],
            }),
        }
    }

    /// The digest of a variable, by the name it has here.
    pub(crate) fn sha256(&self, name: &str) -> Result<String, tf_checkpoint::Error> {
        match &self.values {
            Values::Checkpoint(checkpoint) => checkpoint.sha256(self.key(name)),
            // Not a copy that is only looked at.
            Values::Arrays(arrays) => {
                arrays.get(name).map_or_else(|| Ok(self.read(name)?.sha256()), |t| Ok(t.sha256()))
            }
        }
    }
}

/// Whether a file is one that Keras and its like write, by its first bytes.
fn is_keras(disk: &Disk, path: &Path) -> Result<bool, CliError> {
    let mut file = disk.open(path)?;
    let file_len = file.len();
    let mut start = vec![0; usize::try_from(file.len().min(16)).unwrap_or(16)];
    file.fill(&mut start)?;
    let is_zip = start.starts_with(b"PK\x03\x04");
    // A safetensors file is the length of its header, eight bytes, and then JSON.
    let is_safetensors = start.get(8) == Some(&b'{') && path.extension().is_some_and(|e| e == "safetensors");
    let mut eight_at = |offset| -> Result<[u8; 8], disk::Error> {
        let mut bytes = [0; 8];
        file.seek(offset)?;
        file.fill(&mut bytes)?;
        Ok(bytes)
    };
    Ok(is_zip || is_safetensors || keras_file::is_hdf5_by(file_len, &mut eight_at)?)
}

fn of_checkpoint(disk: &Disk, path: &Path, checkpoint: Checkpoint) -> Result<Store, CliError> {
    Ok(Store {
        disk: disk.clone(),
        path: path.to_owned(),
        format: checkpoint.format().as_str().to_owned(),
        files: checkpoint.files().to_vec(),
        graph: checkpoint.graph()?,
        keras_major: None,
        known: BTreeMap::new(),
        notes: vec![],
        variables: checkpoint.variables().to_vec(),
        keys: BTreeMap::new(),
        values: Values::Checkpoint(Box::new(checkpoint)),
    })
}

/// An object-based checkpoint: keys are not what objects are called, so that variables are named by their place in the
/// object graph.
fn of_objects(disk: &Disk, path: &Path, checkpoint: Checkpoint, objects: &ObjectGraph) -> Result<Store, CliError> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut known = BTreeMap::new();
    let mut notes = vec![];
    let walk = objects.walk();
    let mut named = BTreeSet::new();
    // Cells first: a variable has many paths, and the one through its cell says what it is.
    for (place, node) in &walk {
        let Some(node) = objects.nodes.get(*node) else { continue };
        let key = |name: &str| objects.nodes.get(node.child(name)?)?.variable_key();
        if key("kernel").is_none() {
            continue;
        }
        for role in ["kernel", "recurrent_kernel", "bias"] {
            if let Some(key) = key(role).filter(|k| named.insert((*k).to_owned())) {
                names.insert(format!("{place}/{role}"), key.to_owned());
            }
        }
        let layer = place.rsplit_once('/').map_or("", |(layer, _)| layer);
        let config =
            [place.as_str(), layer].into_iter().find_map(|p| objects.nodes.get(objects.resolve(p)?)?.config_key());
        if let Some(config) = config
            && let Some(facts) = layer_config(&checkpoint, place, config, &mut notes)?
        {
            known.insert(place.clone(), facts);
        }
    }
    for (place, node) in &walk {
        let Some(node) = objects.nodes.get(*node) else { continue };
        let Some(key) = node.variable_key().filter(|k| named.insert((*k).to_owned())) else { continue };
        // An export of Keras 3 lists variables without their layers: there the full name says what they are.
        let full = node.attribute("VARIABLE_VALUE").map(|a| a.full_name.as_str()).filter(|n| !n.is_empty());
        let listed = place.rsplit('/').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let name = if listed { full.unwrap_or(place) } else { place };
        let mut unique = name.to_owned();
        while names.contains_key(&unique) {
            unique.push('\'');
        }
        names.insert(unique, key.to_owned());
    }
    let by_key: BTreeMap<&str, &Variable> = checkpoint.variables().iter().map(|v| (v.name.as_str(), v)).collect();
    let mut variables: Vec<Variable> = names
        .iter()
        .filter_map(|(name, key)| Some(Variable { name: name.clone(), ..(*by_key.get(key.as_str())?).clone() }))
        .collect();
    let placed: BTreeSet<&String> = names.values().collect();
    variables.extend(checkpoint.variables().iter().filter(|v| !placed.contains(&v.name)).cloned());
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    let format = match checkpoint.format() {
        Format::SavedModel => "saved-model",
        _ => "tf2-checkpoint",
    };
    Ok(Store {
        disk: disk.clone(),
        path: path.to_owned(),
        format: format.to_owned(),
        files: checkpoint.files().to_vec(),
        // The graph of a TensorFlow 2 model calls functions that name no variable of the checkpoint.
        graph: None,
        keras_major: None,
        known,
        notes,
        variables,
        keys: names,
        values: Values::Checkpoint(Box::new(checkpoint)),
    })
}

/// What the configuration of a layer, saved as a string of JSON, says of its cell. These configurations are from
/// TensorFlow 1.13 to 2.0, where names mean what they mean in Keras 2.
fn layer_config(
    checkpoint: &Checkpoint,
    place: &str,
    key: &str,
    notes: &mut Vec<String>,
) -> Result<Option<Known>, tf_checkpoint::Error> {
    let tensor = checkpoint.read(key)?;
    let text = tensor.strings().and_then(|s| s.into_iter().next());
    let json: Option<serde_json::Value> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let Some(config) = json.as_ref().and_then(|json| json.get("config")) else { return Ok(None) };
    let mut function = |what: &str| {
        let name = config.get(what)?.as_str()?;
        let known = Activation::from_keras(name, 2);
        if known.is_none() {
            notes.push(format!("{key}: the {what} {name:?} is unknown"));
        }
        known
    };
    let activation = function("activation");
    let recurrent_activation = function("recurrent_activation");
    let is_half = place.split('/').any(|part| part == "backward_layer");
    let go_backwards = !is_half && config.get("go_backwards").and_then(serde_json::Value::as_bool) == Some(true);
    let zero_output_for_mask = config.get("zero_output_for_mask").and_then(serde_json::Value::as_bool) == Some(true);
    let known = Known { activation, recurrent_activation, go_backwards, zero_output_for_mask, ..Known::default() };
    Ok(Some(known))
}

/// The LSTM layers of an object-based checkpoint or SavedModel, as those of a Keras file; `None` if `path` is neither.
pub(crate) fn layers_of_objects(disk: &Disk, path: &Path) -> Result<Option<OpenedFile>, CliError> {
    let mut index = path.as_os_str().to_owned();
    index.push(".index");
    let is_checkpoint = path.is_dir()
        || disk.is_file(Path::new(&index))?
        || path.extension().is_some_and(|e| e == "index" || e == "pb");
    if !is_checkpoint {
        return Ok(None);
    }
    let store = Store::open(disk, path)?;
    let given = Given { known: store.known.clone(), ..Given::default() };
    let detection = detect::detect(&store.variables, None, &given)?;
    let mut layers = vec![];
    for found in &detection.networks {
        store.layers(&found.name, &found.network, &mut layers)?;
    }
    let mut dense = vec![];
    for variable in &store.variables {
        let beside = |role: &str| variable.name.strip_suffix("kernel").map(|scope| format!("{scope}{role}"));
        let has = |name: Option<String>| name.is_some_and(|n| store.variables.iter().any(|v| v.name == n));
        let is_dense = variable.name.ends_with("/kernel") && !has(beside("recurrent_kernel")) && !has(beside("bias"));
        if let (true, &[inputs, outputs]) = (is_dense, &variable.shape[..]) {
            let values = store.read(&variable.name)?.to_f32();
            dense.extend(values.and_then(|v| Array2::from_shape_vec((inputs, outputs), v).ok()));
        }
    }
    let file = KerasFile {
        format: keras_file::Format::Weights,
        keras_version: None,
        keras_major: None,
        layers,
        other_layers: vec![],
        slots: vec![],
        order_known: true,
        feeds: vec![],
        masks: false,
    };
    // A stack of cells inside each direction is one layer, whose cells have an order of their own.
    let listed = !detection.networks.iter().any(|n| candidate::has_stack_inside_directions(&n.network));
    Ok(Some(OpenedFile { file, listed, format: store.format, files: store.files, dense }))
}

impl Store {
    /// The layers of a network; cells that are no layer of Keras are left out.
    fn layers(&self, name: &str, network: &Network<FoundCell>, layers: &mut Vec<Layer>) -> Result<(), CliError> {
        let is_layer = |cell: &FoundCell| cell.kind == CellKind::Keras;
        let kind = match network {
            Network::Cell(cell) if is_layer(cell) => LayerKind::Lstm(self.layer(cell, false)?),
            Network::Backward(cell) if is_layer(cell) => LayerKind::Lstm(self.layer(cell, true)?),
            Network::Cell(_) | Network::Backward(_) | Network::Residual(_) => return Ok(()),
            Network::Stack(parts) => {
                return parts
                    .iter()
                    .enumerate()
                    .try_for_each(|(n, part)| self.layers(&format!("{name}/{n}"), part, layers));
            }
            Network::Bidirectional { forward, backward, .. } => match (&**forward, &**backward) {
                (Network::Cell(a), Network::Cell(b)) if is_layer(a) && is_layer(b) => {
                    let (forward, backward) = (self.layer(a, false)?, self.layer(b, true)?);
                    LayerKind::Bidirectional { forward, backward, merge_mode: None }
                }
                // A stack inside each direction: its forward layers first.
                (forward, backward) => {
                    self.layers(&format!("{name}/forward"), forward, layers)?;
                    return self.layers(&format!("{name}/backward"), backward, layers);
                }
            },
        };
        layers.push(Layer { name: name.to_owned(), kind });
        Ok(())
    }

    /// The arrays of a Keras layer.
    fn layer(&self, cell: &FoundCell, backward: bool) -> Result<Lstm, CliError> {
        let read = |name: &String| -> Result<Array, CliError> {
            let tensor = self.read(name)?;
            let data = tensor.to_f32().ok_or_else(|| CliError::Candidate {
                file: self.path.clone(),
                problem: format!("variable {name} is {}, and float32 is compared", tensor.dtype().as_str()),
            })?;
            Ok(Array::float32(tensor.shape().to_vec(), data))
        };
        let [kernel, recurrent] = &cell.variables.kernel[..] else {
            let problem = format!("{} has no recurrent kernel of its own", cell.name);
            return Err(CliError::Candidate { file: self.path.clone(), problem });
        };
        let said = cell.activation.source == Source::Config && cell.recurrent_activation.source == Source::Config;
        let config = said.then(|| LstmConfig {
            units: cell.units,
            activation: cell.activation.value.keras_name().to_owned(),
            recurrent_activation: cell.recurrent_activation.value.keras_name().to_owned(),
            use_bias: cell.variables.bias.is_some(),
            go_backwards: backward,
            time_major: false,
            return_sequences: true,
            return_state: false,
            zero_output_for_mask: false,
            stateful: false,
        });
        Ok(Lstm {
            kernel: read(kernel)?,
            recurrent_kernel: read(recurrent)?,
            bias: cell.variables.bias.as_ref().map(read).transpose()?,
            config,
            stored: Stored::Plain,
        })
    }
}

/// A Keras file: a variable for every array of its LSTM layers.
fn of_keras(disk: &Disk, path: &Path, file: KerasFile) -> Result<Store, CliError> {
    let mut notes = candidate::notes(&file);
    let meaning = Meaning::of(&file, None);
    notes.extend(meaning.note(&file));
    let major = meaning.major();
    // Legacy weights of tf.keras in TensorFlow 1.x say so, those of Keras before it by a version below 2.3.
    let version = file.keras_version.as_deref().unwrap_or_default();
    let is_old = version.contains("-tf") && version.starts_with("2.2")
        || ["1.", "2.0", "2.1", "2.2"].iter().any(|v| version.starts_with(v));
    let mut arrays = BTreeMap::new();
    let mut known = BTreeMap::new();
    // A layer goes by the name of its cell, or of the forward one of two.
    let is_pair = |layer: &Layer| matches!(layer.kind, LayerKind::Bidirectional { .. });
    let pairs: BTreeSet<String> = file.layers.iter().filter(|l| is_pair(l)).map(|l| l.name.clone()).collect();
    let feeds: BTreeMap<String, String> = file.feeds.into_iter().collect();
    let reads = |name: &str| {
        let below = feeds.get(name)?;
        Some(if pairs.contains(below) { format!("{below}/forward_layer") } else { below.clone() })
    };
    // Each array is dropped when its tensor is made: all of them twice would be more memory than is promised.
    for layer in file.layers {
        let (reads, merge) = (reads(&layer.name), merge_mode(&layer.kind));
        let halves = match layer.kind {
            LayerKind::Lstm(lstm) => vec![(layer.name, lstm, None)],
            // Only written, never read.
            LayerKind::Dense { .. } | LayerKind::Residual(_) | LayerKind::Directions { .. } => continue,
            LayerKind::Bidirectional { forward, backward, .. } => vec![
                (format!("{}/forward_layer", layer.name), forward, Some(false)),
                (format!("{}/backward_layer", layer.name), backward, Some(true)),
            ],
        };
        for (scope, lstm, half) in halves {
            let problem = |problem| CliError::Candidate { file: path.to_owned(), problem };
            let facts = facts(&lstm, half, major, is_old || lstm.stored == Stored::Keras1)
                .map_err(|p| problem(format!("layer {scope}: {p}")))?;
            let facts = Known {
                merge: merge.filter(|_| half == Some(false)),
                reads: reads.clone().filter(|_| half != Some(true)),
                ..facts
            };
            known.insert(scope.clone(), facts);
            for (role, array) in
                [("kernel", Some(lstm.kernel)), ("recurrent_kernel", Some(lstm.recurrent_kernel)), ("bias", lstm.bias)]
            {
                let Some(array) = array else { continue };
                let tensor = Tensor::float32(array.shape.clone(), &array.data);
                let tensor = tensor.ok_or_else(|| problem(format!("layer {scope}: {role} is incomplete")))?;
                arrays.insert(format!("{scope}/{role}"), tensor);
            }
        }
    }
    let variables = listed(&arrays);
    Ok(Store {
        disk: disk.clone(),
        path: path.to_owned(),
        format: file.format.as_str().to_owned(),
        files: vec![path.to_owned()],
        graph: None,
        keras_major: Some(major),
        known,
        notes,
        variables,
        keys: BTreeMap::new(),
        values: Values::Arrays(arrays),
    })
}

/// How a layer says that it joins two directions; two separate outputs are compared side by side.
fn merge_mode(kind: &LayerKind) -> Option<Merge> {
    let LayerKind::Bidirectional { merge_mode: Some(mode), .. } = kind else { return None };
    [Merge::Concat, Merge::Sum, Merge::Mul, Merge::Ave].into_iter().find(|merge| merge.as_str() == mode)
}

/// What a layer's configuration says of its cell; `half` is whether it is the backward half of a `Bidirectional`, if it is
/// one of its halves.
fn facts(lstm: &Lstm, half: Option<bool>, keras_major: u32, is_old: bool) -> Result<Known, String> {
    let Some(config) = &lstm.config else {
        // Hard sigmoid was the default up to TensorFlow 1.15, sigmoid has been since Keras 2 on TensorFlow 2.
        let usual = if is_old { Activation::HardSigmoidKeras2 } else { Activation::Sigmoid };
        return Ok(match lstm.stored {
            Stored::Cudnn => Known {
                activation: Some(Activation::Tanh),
                recurrent_activation: Some(Activation::Sigmoid),
                ..Known::default()
            },
            Stored::Plain | Stored::Keras1 => Known { usual_recurrent_activation: Some(usual), ..Known::default() },
        });
    };
    let halves = |half: bool| if half { "backward" } else { "forward" };
    if let Some(backward) = half.filter(|backward| *backward != config.go_backwards) {
        return Err(format!(
            "the {} half of a Bidirectional layer has go_backwards={}, so that its outputs are in another order than the \
             other half's: gatewise runs halves that read in opposite directions, the forward one first step first",
            halves(backward),
            config.go_backwards
        ));
    }
    let function = |what: &str, name: &str| {
        Activation::from_keras(name, keras_major)
            .map(Some)
            .ok_or_else(|| format!("its {what} is {name:?}, which gatewise cannot run"))
    };
    Ok(Known {
        activation: function("activation", &config.activation)?,
        recurrent_activation: function("recurrent_activation", &config.recurrent_activation)?,
        go_backwards: half.is_none() && config.go_backwards,
        zero_output_for_mask: config.zero_output_for_mask,
        time_major: Some(config.time_major),
        ..Known::default()
    })
}

/// HDF5 that Keras did not write: arrays by their paths.
fn of_hdf5(disk: &Disk, path: &Path) -> Result<Store, CliError> {
    let mut arrays = BTreeMap::new();
    for array in keras_file::decode_hdf5_arrays(disk.read(path)?).map_err(|e| e.in_file(path))? {
        let tensor = match &array.data {
            Elements::Float32(values) => Tensor::float32(array.shape.clone(), values),
            Elements::Float64(values) => Tensor::float64(array.shape.clone(), values),
        };
        arrays.extend(tensor.map(|tensor| (array.name.clone(), tensor)));
    }
    let variables = listed(&arrays);
    Ok(Store {
        disk: disk.clone(),
        path: path.to_owned(),
        format: "hdf5".to_owned(),
        files: vec![path.to_owned()],
        graph: None,
        keras_major: None,
        known: BTreeMap::new(),
        notes: vec!["this HDF5 file is not Keras's: its arrays are taken for variables under their paths".to_owned()],
        variables,
        keys: BTreeMap::new(),
        values: Values::Arrays(arrays),
    })
}

fn listed(arrays: &BTreeMap<String, Tensor>) -> Vec<Variable> {
    let variable = |(name, tensor): (&String, &Tensor)| Variable {
        name: name.clone(),
        dtype: tensor.dtype(),
        shape: tensor.shape().to_vec(),
    };
    arrays.iter().map(variable).collect()
}
