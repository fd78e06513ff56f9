//! `.weights.h5`: `layers/<class>_<n>/cell/vars/{0,1,2}`, at the root or below any nested model.
//! Groups are named after classes, not layers, and numbered per class in the order of the model.

mod write;

use std::collections::HashMap;

use crate::cell::shapes_say_lstm;
use crate::config::{Kind, Model, Node as ConfigNode};
use crate::error::Problem;
use crate::hdf5::Node;
use crate::layer::{Contents, LayerKind, Lstm, LstmConfig, OtherArray, OtherLayer, Place, Stored};
use crate::slot::{Half, Role, Slot};
use crate::slug::{self, Numbering};

pub(crate) use write::{Layers, tree};

/// Groups that hold the layers of a model: the usual one, and that of Keras 2.12 and 2.13.
const CONTAINERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];

/// Whether a root holds what this module reads.
pub(crate) fn recognises(root: &Node<'_>) -> Result<bool, Problem> {
    Ok(container(root)?.is_some() || root.child("vars")?.is_some())
}

fn container<'a>(model: &Node<'a>) -> Result<Option<Node<'a>>, Problem> {
    for name in CONTAINERS {
        if let Some(found) = model.child(name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Reads the layers below `root`; with the model's configuration, in its order and with its settings.
pub(crate) fn read(root: &Node<'_>, model: Option<&Model>) -> Result<Contents, Problem> {
    let mut contents = Contents::default();
    match model {
        Some(model) if !model.layers.is_empty() => configured(root, model, &mut contents)?,
        // A subclassed model configures no layers: its groups are what there is.
        _ => scan(root, "", &mut contents)?,
    }
    Ok(contents)
}

fn configured(parent: &Node<'_>, model: &Model, contents: &mut Contents) -> Result<(), Problem> {
    let Some(layers) = container(parent)? else {
        return match model.layers.iter().find(|l| !matches!(l.kind, Kind::Other)) {
            None => Ok(()),
            Some(layer) => Err(Problem::Missing {
                place: format!("HDF5 group {:?}", parent.path()),
                expected: format!("a group \"layers\" with layer {:?}", layer.name),
            }),
        };
    };
    let groups = groups_of(&layers, model)?;
    for index in &model.flow {
        let (Some(layer), Some(group)) = (model.layers.get(*index), groups.get(*index)) else {
            continue;
        };
        match &layer.kind {
            Kind::Lstm(config) => {
                let node = layers.expect_child(group)?;
                single(&node, &layer.name, Some((&layer.class, config)), contents)?;
            }
            Kind::Bidirectional { forward, backward, merge_mode } => {
                let node = layers.expect_child(group)?;
                pair(&node, &layer.name, Some((&layer.class, forward, backward, merge_mode)), contents)?;
            }
            Kind::Model(inner) => configured(&layers.expect_child(group)?, inner, contents)?,
            Kind::Other => {
                let mut arrays = Vec::new();
                if let Some(node) = layers.child(group)? {
                    collect(&node, "", &mut arrays)?;
                    let stem = slug::snake_case(&layer.class);
                    place_others(&node, &layer.name, Some(&layer.class), &stem, &arrays, contents);
                }
                contents.other_layers.push(OtherLayer {
                    name: layer.name.clone(),
                    class: Some(layer.class.clone()),
                    arrays,
                });
            }
        }
    }
    Ok(())
}

/// The group of each layer of `model`. Keras 2.12 and 2.13 count a layer twice where they come upon
/// it twice, so that numbers are missing; then the order of the numbers decides.
fn groups_of(layers: &Node<'_>, model: &Model) -> Result<Vec<String>, Problem> {
    let mut present: HashMap<String, Vec<(u64, String)>> = HashMap::new();
    for name in layers.group_names()? {
        let (stem, number) = slug::split(&name);
        let stem = stem.to_owned();
        present.entry(stem).or_default().push((number, name));
    }
    let mut by_stem: HashMap<String, Vec<usize>> = HashMap::new();
    let mut numbering = Numbering::default();
    let mut groups = Vec::with_capacity(model.layers.len());
    for (index, ConfigNode { class, .. }) in model.layers.iter().enumerate() {
        by_stem.entry(slug::snake_case(class)).or_default().push(index);
        groups.push(numbering.next(class));
    }
    for (stem, indices) in by_stem {
        let Some(found) = present.get_mut(&stem).filter(|f| f.len() == indices.len()) else {
            continue;
        };
        found.sort();
        for (index, (_, name)) in indices.into_iter().zip(found) {
            if let Some(group) = groups.get_mut(index) {
                group.clone_from(name);
            }
        }
    }
    Ok(groups)
}

/// Reads every layer of a model, or of a list of layers, without a configuration: LSTMs, then bidirectional
/// ones, then the rest, each class in the order of its numbers. A subclassed model has layers beside the
/// group `layers` as well, under the names of its attributes.
fn scan(parent: &Node<'_>, prefix: &str, contents: &mut Contents) -> Result<(), Problem> {
    let names = parent.group_names()?;
    let mut sorted: Vec<(usize, &str, u64, &str)> = names
        .iter()
        .filter(|n| *n != "vars" && !(parent.path() == "/" && NOT_LAYERS.contains(&n.as_str())))
        .map(|name| {
            let (stem, number) = slug::split(name);
            let rank = CLASSES.iter().position(|c| *c == stem);
            (rank.unwrap_or(CLASSES.len()), stem, number, name.as_str())
        })
        .collect();
    sorted.sort();
    let mut stems_with_lstms = Vec::new();
    for (_, stem, _, name) in sorted {
        let before = contents.layers.len();
        let node = parent.expect_child(name)?;
        if CONTAINERS.contains(&name) {
            scan(&node, prefix, contents)?;
        } else {
            unconfigured(&node, stem, &format!("{prefix}{name}"), contents)?;
        }
        if contents.layers.len() > before && !stems_with_lstms.contains(&stem) {
            stems_with_lstms.push(stem);
        }
    }
    contents.order_unknown |= stems_with_lstms.len() > 1;
    Ok(())
}

/// What a `CuDNNLSTM` is called.
const CUDNN: &str = "cu_dnnlstm";
/// Classes that hold LSTMs, in the order in which they are listed where the file tells none.
const CLASSES: [&str; 4] = ["lstm", CUDNN, "bidirectional", "rnn"];
/// Groups at the root that are not layers.
const NOT_LAYERS: [&str; 2] = ["optimizer", "metrics"];

/// Reads one layer by the structure of its group; the group's name is its class, unless it is an
/// attribute of a subclassed model.
fn unconfigured(node: &Node<'_>, stem: &str, path: &str, contents: &mut Contents) -> Result<(), Problem> {
    let vars = node.child("vars")?;
    // Keras 3 notes the layer's name; Keras 2 does not.
    let name = match &vars {
        Some(vars) => vars.text("name")?,
        None => None,
    };
    contents.named_layers |= name.is_some();
    let name = name.unwrap_or_else(|| path.to_owned());
    if node.child("forward_layer")?.is_some() {
        if holds_lstm(node, "forward_layer", false)? {
            return pair(node, &name, None, contents);
        }
    } else if container(node)?.is_some() {
        return scan(node, &format!("{path}/"), contents);
    } else if stem == "lstm" || stem == CUDNN || holds_lstm(node, "", true)? {
        return single(node, &name, None, contents);
    } else if vars.is_none() && node.child("cell")?.is_none() {
        // A list of layers; layers themselves have `vars`.
        return scan(node, &format!("{path}/"), contents);
    }
    let mut arrays = Vec::new();
    collect(node, "", &mut arrays)?;
    if !arrays.is_empty() {
        place_others(node, &name, None, stem, &arrays, contents);
        contents.other_layers.push(OtherLayer { name, class: None, arrays });
    }
    Ok(())
}

/// Whether the layer at `node`/`direction` has the arrays of an LSTM: all of them exactly, or so that
/// nothing else than an LSTM could be meant.
fn holds_lstm(node: &Node<'_>, direction: &str, exactly: bool) -> Result<bool, Problem> {
    let below = |path: &str| {
        node.child(if direction.is_empty() { path.to_owned() } else { format!("{direction}/{path}") }.as_str())
    };
    let (vars, gates) = match below("cell/vars")? {
        Some(vars) => (vars, 4),
        None => match below("vars")? {
            Some(vars) => (vars, 8),
            None => return Ok(false),
        },
    };
    let names = vars.dataset_names()?;
    if !matches!(names.len(), 2 | 3) {
        return Ok(false);
    }
    let shapes = names.iter().map(|n| vars.shape(n)).collect::<Result<Vec<_>, _>>()?;
    let (Some(kernel), Some(recurrent)) = (shapes.first(), shapes.get(1)) else {
        return Ok(false);
    };
    let bias = shapes.get(2);
    let units = recurrent.shape.first().copied().unwrap_or(0);
    // A CuDNNLSTM has no cell, and neither have most other layers: only its bias says what it is.
    if gates == 8 {
        return Ok(bias
            .is_some_and(|b| Some(b.shape.as_slice()) == units.checked_mul(8).as_ref().map(std::slice::from_ref))
            && shapes_say_lstm(kernel, recurrent, bias));
    }
    if !shapes_say_lstm(kernel, recurrent, bias) {
        return Ok(false);
    }
    let columns = kernel.shape.get(1).copied().unwrap_or(0);
    let fits = recurrent.shape == [units, columns]
        && units.checked_mul(4) == Some(columns)
        && bias.is_none_or(|b| b.shape == [columns]);
    Ok(fits || !exactly)
}

fn single(
    node: &Node<'_>,
    layer: &str,
    config: Option<(&String, &LstmConfig)>,
    contents: &mut Contents,
) -> Result<(), Problem> {
    let (lstm, places) = lstm(node, layer, Half::Whole, config.map(|c| c.1))?;
    contents.push(layer, LayerKind::Lstm(lstm));
    contents.place(config.map(|c| c.0.as_str()), places);
    Ok(())
}

/// Reads one LSTM, and says where its arrays lie if they can be replaced.
fn lstm(node: &Node<'_>, layer: &str, half: Half, config: Option<&LstmConfig>) -> Result<(Lstm, Vec<Place>), Problem> {
    let layer = format!("{layer}{}", half.suffix());
    // A CuDNNLSTM has its arrays itself, an LSTM in its cell.
    let (vars, cudnn) = match node.child("cell/vars")? {
        Some(vars) => (vars, false),
        None => match node.child("vars")? {
            Some(vars) if !vars.dataset_names()?.is_empty() => (vars, true),
            _ => (node.expect_child("cell/vars")?, false),
        },
    };
    let names = vars.dataset_names()?;
    let expected: &[&str] = if names.len() == 2 { &["0", "1"] } else { &["0", "1", "2"] };
    if names != expected {
        return Err(Problem::Missing {
            place: format!("layer {layer:?}, HDF5 group {:?} with datasets {names:?}", vars.path()),
            expected: "datasets \"0\" (kernel), \"1\" (recurrent_kernel) and perhaps \"2\" (bias)".to_owned(),
        });
    }
    let lstm = Lstm {
        kernel: vars.array("0")?,
        recurrent_kernel: vars.array("1")?,
        bias: if names.len() == 3 { Some(vars.array("2")?) } else { None },
        config: config.cloned(),
        stored: Stored::Plain,
    };
    if cudnn {
        let lstm = lstm.into_plain(&layer)?;
        lstm.check(&layer)?;
        return Ok((lstm, Vec::new()));
    }
    lstm.check(&layer)?;
    let arrays = [Some(&lstm.kernel), Some(&lstm.recurrent_kernel), lstm.bias.as_ref()];
    let roles = [Role::Kernel, Role::RecurrentKernel, Role::Bias];
    let places = arrays.into_iter().flatten().zip(roles).zip(expected);
    let places = places.map(|((array, role), name)| Place {
        half,
        role,
        dataset: vars.path_of(name),
        shape: array.shape.clone(),
    });
    let places = places.collect();
    Ok((lstm, places))
}

fn pair(
    node: &Node<'_>,
    layer: &str,
    config: Option<(&String, &LstmConfig, &LstmConfig, &String)>,
    contents: &mut Contents,
) -> Result<(), Problem> {
    let one = |group: &str, half, config| lstm(&node.expect_child(group)?, layer, half, config);
    let (forward, mut places) = one("forward_layer", Half::Forward, config.map(|c| c.1))?;
    let (backward, more) = one("backward_layer", Half::Backward, config.map(|c| c.2))?;
    places.extend(more);
    let merge_mode = config.map(|c| c.3.clone());
    contents.push(layer, LayerKind::Bidirectional { forward, backward, merge_mode });
    contents.place(config.map(|c| c.0.as_str()), places);
    Ok(())
}

/// Notes where the arrays of a layer lie that is no LSTM. `stem` is its class in snake case.
fn place_others(
    node: &Node<'_>,
    layer: &str,
    class: Option<&str>,
    stem: &str,
    arrays: &[OtherArray],
    contents: &mut Contents,
) {
    contents.slots.extend(arrays.iter().map(|array| Slot {
        layer: layer.to_owned(),
        class: class.map(str::to_owned),
        half: Half::Whole,
        role: match (stem, array.name.as_str()) {
            ("dense", "vars/0") => Role::Kernel,
            ("dense", "vars/1") => Role::Bias,
            ("embedding", "vars/0") => Role::Embeddings,
            (_, name) => Role::Other(name.to_owned()),
        },
        dataset: node.path_of(&array.name),
        shape: array.shape.clone(),
    }));
}

/// All arrays below `node`, by their path from it.
fn collect(node: &Node<'_>, prefix: &str, into: &mut Vec<OtherArray>) -> Result<(), Problem> {
    for name in node.dataset_names()? {
        let OtherArray { name, shape } = node.shape(&name)?;
        into.push(OtherArray { name: format!("{prefix}{name}"), shape });
    }
    for name in node.group_names()? {
        collect(&node.expect_child(&name)?, &format!("{prefix}{name}/"), into)?;
    }
    Ok(())
}
