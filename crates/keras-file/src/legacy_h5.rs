//! Legacy HDF5: `save_weights("x.h5")`, and the same layout inside the group `model_weights` of a
//! full model. Keras loads these by position: `layer_names`, then each layer's `weight_names`.

use std::collections::HashMap;

use crate::cell::{Cell, role_of, split_cells};
use crate::config::{Kind, Model, Node as ConfigNode};
use crate::error::Problem;
use crate::graph::Weighted;
use crate::hdf5::{Node, Tree};
use crate::layer::{Contents, LayerKind, Lstm, LstmConfig, OtherArray, OtherLayer, Place};
use crate::slot::{Half, Role, Slot};

/// Reads the layers below `weights`, which carries the attribute `layer_names`. With the model's
/// configuration the layers come in its order, and with its settings.
pub(crate) fn read(weights: &Node<'_>, model: Option<&Model>) -> Result<Contents, Problem> {
    let names = weights.texts("layer_names")?.ok_or_else(|| Problem::Missing {
        place: format!("HDF5 group {:?}", weights.path()),
        expected: "an attribute \"layer_names\"".to_owned(),
    })?;
    let mut groups = HashMap::with_capacity(names.len());
    for (position, name) in names.iter().enumerate() {
        if groups.insert(name.as_str(), position).is_some() {
            return Err(Problem::Attribute {
                object: weights.path().to_owned(),
                name: "layer_names".to_owned(),
                expected: "each layer once",
                found: format!("{name:?} twice"),
            });
        }
    }
    let mut contents = Contents::default();
    for node in model.iter().flat_map(|m| m.in_flow_order()) {
        match groups.remove(node.name.as_str()) {
            Some(_) => Group::open(weights, &node.name)?.configured(node, &mut contents)?,
            None => absent(node)?,
        }
    }
    for name in names.iter().filter(|n| groups.contains_key(n.as_str())) {
        Group::open(weights, name)?.unconfigured(&mut contents)?;
    }
    Ok(contents)
}

/// A layer of the configuration without a group: fine unless it must have weights.
fn absent(node: &ConfigNode) -> Result<(), Problem> {
    match node.kind {
        Kind::Lstm(_) | Kind::Bidirectional { .. } => Err(Problem::Missing {
            place: "attribute \"layer_names\"".to_owned(),
            expected: format!("layer {:?} of the model configuration", node.name),
        }),
        Kind::Model(_) | Kind::Other => Ok(()),
    }
}

/// The group of one layer: its weights, sorted into cells and the rest.
struct Group<'a> {
    node: Node<'a>,
    name: String,
    cells: Vec<Cell>,
    rest: Vec<String>,
}

impl<'a> Group<'a> {
    fn open(weights: &Node<'a>, name: &str) -> Result<Self, Problem> {
        let node = weights.expect_child(name)?;
        let weight_names = node.texts("weight_names")?.ok_or_else(|| Problem::Missing {
            place: format!("HDF5 group {:?}", node.path()),
            expected: "an attribute \"weight_names\"".to_owned(),
        })?;
        let (cells, rest) = split_cells(&weight_names);
        Ok(Self { node, name: name.to_owned(), cells, rest })
    }

    fn configured(self, layer: &ConfigNode, contents: &mut Contents) -> Result<(), Problem> {
        match &layer.kind {
            Kind::Lstm(_) | Kind::Bidirectional { .. } => {
                let all: Vec<&Cell> = self.cells.iter().collect();
                if !self.rest.is_empty() {
                    return Err(self.mismatch(layer));
                }
                self.read_configured(layer, &all, contents)?;
            }
            Kind::Model(model) => self.nested(model, contents)?,
            Kind::Other => {
                let arrays = self.every_name();
                self.push_other(&self.name, Some(layer.class.clone()), arrays, contents)?;
            }
        }
        Ok(())
    }

    /// All weights of a nested model lie in one group. Their names contain the names of the inner
    /// layers, unless TensorFlow 1 made them unique; then only their order tells.
    fn nested(self, model: &Model, contents: &mut Contents) -> Result<(), Problem> {
        let mut inner = Vec::new();
        flatten(model, &mut inner);
        let mut claimed = vec![false; self.cells.len()];
        let mut assigned = Vec::with_capacity(inner.len());
        for layer in &inner {
            let mut own = Vec::new();
            for (cell, claimed) in self.cells.iter().zip(&mut claimed) {
                if !*claimed && cell.has_component(&layer.name) {
                    *claimed = true;
                    own.push(cell);
                }
            }
            assigned.push(own);
        }
        let wanted = |layer: &&ConfigNode| match layer.kind {
            Kind::Bidirectional { .. } => 2usize,
            _ => 1,
        };
        let by_name = inner.iter().zip(&assigned).all(|(l, own)| own.len() == wanted(l));
        if !by_name {
            let total: usize = inner.iter().map(wanted).sum();
            if total != self.cells.len() {
                return Err(Problem::ConfigMismatch {
                    layer: self.name.clone(),
                    configured: format!("a model with {total} LSTM cells inside"),
                    found: self.describe(),
                });
            }
            let mut cells = self.cells.iter();
            for (layer, own) in inner.iter().zip(&mut assigned) {
                *own = cells.by_ref().take(wanted(layer)).collect();
            }
            claimed.fill(true);
        }
        for (layer, own) in inner.iter().zip(&assigned) {
            self.read_configured(layer, own, contents)?;
        }
        let free = self.cells.iter().zip(&claimed).filter(|(_, c)| !**c);
        let rest = free.flat_map(|(cell, _)| cell.weights()).chain(&self.rest);
        self.push_other(&self.name, None, rest.cloned().collect(), contents)
    }

    fn read_configured(&self, layer: &ConfigNode, cells: &[&Cell], contents: &mut Contents) -> Result<(), Problem> {
        let (kind, places) = match (&layer.kind, cells) {
            (Kind::Lstm(config), [cell]) => self.single(&layer.name, cell, Some(config))?,
            (Kind::Bidirectional { forward, backward, merge_mode }, [f, b]) => {
                self.pair(&layer.name, (f, Some(forward)), (b, Some(backward)), Some(merge_mode))?
            }
            _ => return Err(self.mismatch(layer)),
        };
        contents.push(&layer.name, kind);
        contents.place(Some(&layer.class), places);
        Ok(())
    }

    fn single(
        &self,
        layer: &str,
        cell: &Cell,
        config: Option<&LstmConfig>,
    ) -> Result<(LayerKind, Vec<Place>), Problem> {
        let (lstm, places) = cell.read(&self.node, layer, Half::Whole, config)?;
        Ok((LayerKind::Lstm(lstm), places))
    }

    fn pair(
        &self,
        layer: &str,
        (f, forward): (&Cell, Option<&LstmConfig>),
        (b, backward): (&Cell, Option<&LstmConfig>),
        merge_mode: Option<&String>,
    ) -> Result<(LayerKind, Vec<Place>), Problem> {
        let (forward, mut places) = f.read(&self.node, layer, Half::Forward, forward)?;
        let (backward, more) = b.read(&self.node, layer, Half::Backward, backward)?;
        places.extend(more);
        Ok((LayerKind::Bidirectional { forward, backward, merge_mode: merge_mode.cloned() }, places))
    }

    /// Without a configuration the names and shapes of the arrays must tell what the layer is.
    fn unconfigured(self, contents: &mut Contents) -> Result<(), Problem> {
        let mut rest = Vec::new();
        let mut layers = Vec::new();
        let mut cells = self.cells.iter().peekable();
        while let Some(cell) = cells.next() {
            if !cell.is_lstm(&self.node)? {
                rest.extend(cell.weights().cloned());
                continue;
            }
            let backward = cells.next_if(|next| cell.is_forward_of(next));
            let read = match backward {
                Some(b) => self.pair(&self.name, (cell, None), (b, None), None)?,
                None => self.single(&self.name, cell, None)?,
            };
            layers.push((cell, read));
        }
        // Several in one group are the layers of a nested model; the group has the model's name.
        let several = layers.len() > 1;
        for (cell, (kind, places)) in layers {
            let name = match several {
                true => format!("{}/{}", self.name, cell.parent()),
                false => self.name.clone(),
            };
            contents.push(&name, kind);
            contents.place(None, places);
        }
        rest.extend(self.rest.iter().cloned());
        self.push_other(&self.name, None, rest, contents)
    }

    fn every_name(&self) -> Vec<String> {
        let cells = self.cells.iter().flat_map(Cell::weights);
        cells.chain(&self.rest).cloned().collect()
    }

    fn push_other(
        &self,
        name: &str,
        class: Option<String>,
        weights: Vec<String>,
        contents: &mut Contents,
    ) -> Result<(), Problem> {
        if weights.is_empty() && class.is_none() {
            return Ok(());
        }
        let mut arrays: Vec<OtherArray> = Vec::with_capacity(weights.len());
        for weight in &weights {
            let array = self.node.shape(weight)?;
            contents.slots.push(Slot {
                layer: name.to_owned(),
                class: class.clone(),
                half: Half::Whole,
                role: Role::named(role_of(weight), weight),
                dataset: self.node.path_of(weight),
                shape: array.shape.clone(),
            });
            arrays.push(array);
        }
        contents.other_layers.push(OtherLayer { name: name.to_owned(), class, arrays });
        Ok(())
    }

    fn describe(&self) -> String {
        let mut found = format!("{:?}", self.every_name());
        if let Some((cut, _)) = found.char_indices().nth(200) {
            found.truncate(cut);
            found.push('…');
        }
        format!("weights {found}")
    }

    fn mismatch(&self, layer: &ConfigNode) -> Problem {
        Problem::ConfigMismatch {
            layer: layer.name.clone(),
            configured: format!("class {}", layer.class),
            found: self.describe(),
        }
    }
}

/// The LSTM layers of a model and the models in it, in the order data flows.
fn flatten<'m>(model: &'m Model, into: &mut Vec<&'m ConfigNode>) {
    for node in model.in_flow_order() {
        match &node.kind {
            Kind::Lstm(_) | Kind::Bidirectional { .. } => into.push(node),
            Kind::Model(inner) => flatten(inner, into),
            Kind::Other => {}
        }
    }
}

/// The root of a weights file with `layers`, each under its name.
pub(crate) fn tree<'a>(layers: &[(&str, Weighted<'a>)], keras_version: &str) -> Tree<'a> {
    let mut root = Tree::default();
    root.text("backend", "tensorflow");
    // Keras 2 takes a file without this for one of Keras 1, and permutes its arrays.
    root.text("keras_version", keras_version);
    root.texts("layer_names", layers.iter().map(|(n, _)| (*n).to_owned()).collect());
    for (name, layer) in layers {
        let of = |lstm: &'a Lstm| [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()];
        let parts = match *layer {
            Weighted::Lstm(l) => vec![(format!("{name}/lstm_cell"), of(l))],
            Weighted::Bidirectional { forward, backward, .. } => vec![
                (format!("{name}/forward_lstm/lstm_cell"), of(forward)),
                (format!("{name}/backward_lstm/lstm_cell"), of(backward)),
            ],
            Weighted::Dense { kernel, bias } => vec![((*name).to_owned(), [Some(kernel), None, bias])],
        };
        let group = root.group(name);
        let mut weight_names = Vec::new();
        for (path, arrays) in parts {
            for (weight, array) in ["kernel:0", "recurrent_kernel:0", "bias:0"].into_iter().zip(arrays) {
                if let Some(array) = array {
                    group.group(&path).dataset(weight, array);
                    weight_names.push(format!("{path}/{weight}"));
                }
            }
        }
        group.texts("weight_names", weight_names);
    }
    root
}
