//! A converted network as the layers of a Keras file, each with its description.

use std::path::Path;

use keras_file::{Array, Layer, LayerKind, Lstm, LstmConfig, Stored};
use lstm::detect::FoundCell;
use lstm::{KerasCell, Network};
use ndarray::Array2;
use report::document;

use crate::error::CliError;
use crate::inspect;
use crate::joined::joined;
use crate::source::Subject;

/// The layers of one network.
pub(crate) struct Written {
    /// In the order in which they feed each other.
    pub(crate) layers: Vec<Layer>,
    /// The LSTM layers among them, described.
    pub(crate) described: Vec<document::ConvertedLayer>,
}

impl Written {
    /// Calls the LSTM layers by the names they have in another file.
    pub(crate) fn rename(&mut self, names: &[String]) {
        for (described, name) in self.described.iter_mut().zip(names) {
            described.layer.clone_from(name);
        }
    }
}

/// Names as Keras gives them: `lstm`, `lstm_1`, …, `bidirectional`, ….
#[derive(Default)]
struct Names {
    given: std::collections::BTreeMap<&'static str, usize>,
}

impl Names {
    fn next(&mut self, stem: &'static str) -> String {
        let count = self.given.entry(stem).or_default();
        *count += 1;
        if *count == 1 { stem.to_owned() } else { format!("{stem}_{}", *count - 1) }
    }
}

/// The layers of each subject.
///
/// # Errors
/// If no layers of Keras are wired so.
pub(crate) fn all(subjects: &[Subject], checkpoint: &Path) -> Result<Vec<Written>, CliError> {
    let mut names = Names::default();
    subjects
        .iter()
        .map(|subject| {
            of(subject, &mut names).map_err(|problem| CliError::Wiring { checkpoint: checkpoint.to_owned(), problem })
        })
        .collect()
}

/// In which order a Keras model of the subjects lists their layers: places in the order in which layers feed each other,
/// one subject after the other.
#[derive(Default)]
pub(crate) struct Listed {
    /// Of the LSTM layers, whose places are those of [`slots`](crate::candidate::slots).
    pub(crate) lstms: Vec<usize>,
    /// Of the dense layers that project.
    pub(crate) dense: Vec<usize>,
}

/// The order in which a Keras model of the subjects lists their layers; none where no layers of Keras are wired so.
pub(crate) fn listed(subjects: &[Subject]) -> Listed {
    let written = all(subjects, Path::new("")).unwrap_or_default();
    let chains: Vec<_> = written.iter().map(|w| w.layers.clone()).collect();
    let names = keras_file::listed(&chains);
    let order = |own: Vec<&str>| {
        let mut order: Vec<usize> = (0..own.len()).collect();
        order.sort_by_key(|i| own.get(*i).and_then(|own| names.iter().position(|name| name == own)));
        order
    };
    let mut dense = vec![];
    chains.iter().for_each(|chain| dense_names(chain, &mut dense));
    Listed {
        lstms: order(written.iter().flat_map(|w| &w.described).map(|d| d.layer.as_str()).collect()),
        dense: order(dense),
    }
}

fn dense_names<'a>(layers: &'a [Layer], names: &mut Vec<&'a str>) {
    for layer in layers {
        match &layer.kind {
            LayerKind::Dense { .. } => names.push(&layer.name),
            LayerKind::Residual(inside) => dense_names(inside, names),
            LayerKind::Directions { forward, backward } => {
                dense_names(forward, names);
                dense_names(backward, names);
            }
            LayerKind::Lstm(_) | LayerKind::Bidirectional { .. } => {}
        }
    }
}

/// The layers of a subject.
///
/// # Errors
/// If no layers of Keras are wired so, in words.
fn of(subject: &Subject, names: &mut Names) -> Result<Written, String> {
    let found = subject.found.cells();
    let mut index = 0;
    let both = subject.keras.try_map(&mut |cell: &KerasCell| {
        index += 1;
        found.get(index - 1).map(|found| (cell.clone(), (*found).clone())).ok_or(())
    });
    let mut written = Written { layers: vec![], described: vec![] };
    // A network has as many found cells as converted ones, since one was made of the other.
    if let Ok(network) = both {
        written.layers = chain(&network, names, &mut written.described)?;
    }
    Ok(written)
}

type Both = (KerasCell, FoundCell);

fn chain(
    network: &Network<Both>,
    names: &mut Names,
    described: &mut Vec<document::ConvertedLayer>,
) -> Result<Vec<Layer>, String> {
    Ok(match network {
        Network::Cell((cell, found)) | Network::Backward((cell, found)) => {
            let name = names.next("lstm");
            described.push(describe(&name, "LSTM", &[found]));
            let backwards = matches!(network, Network::Backward(_));
            let mut layers = vec![Layer { name, kind: LayerKind::Lstm(lstm(cell, found, backwards)) }];
            if let Some(projection) = &cell.output_projection {
                let kind = LayerKind::Dense { kernel: array(projection), bias: None };
                layers.push(Layer { name: names.next("dense"), kind });
            }
            layers
        }
        Network::Stack(parts) => {
            let layers: Vec<Vec<Layer>> =
                parts.iter().map(|part| chain(part, names, described)).collect::<Result<_, _>>()?;
            layers.concat()
        }
        Network::Residual(part) => {
            let inside = chain(part, names, described)?;
            vec![Layer { name: names.next("add"), kind: LayerKind::Residual(inside) }]
        }
        Network::Bidirectional { forward, backward, merge } => {
            if let (Network::Cell((a, found_a)), Network::Cell((b, found_b))) = (&**forward, &**backward) {
                let name = names.next("bidirectional");
                described.push(describe(&name, "Bidirectional", &[found_a, found_b]));
                let form = joined([a, b], *merge).map_err(|why| {
                    format!(
                        "{} and {} project their outputs before these are joined ({}): {why}",
                        found_a.name,
                        found_b.name,
                        merge.as_str()
                    )
                })?;
                let merge_mode = Some(form.merge.as_str().to_owned());
                let (forward, backward) = (lstm(a, found_a, false), lstm(b, found_b, true));
                let mut layers = vec![Layer { name, kind: LayerKind::Bidirectional { forward, backward, merge_mode } }];
                if let Some(kernel) = form.dense {
                    let kind = LayerKind::Dense { kernel: array(&kernel), bias: None };
                    layers.push(Layer { name: names.next("dense"), kind });
                }
                return Ok(layers);
            }
            let forward = chain(forward, names, described)?;
            let backward = chain(backward, names, described)?;
            vec![Layer { name: names.next("directions"), kind: LayerKind::Directions { forward, backward } }]
        }
    })
}

fn array(matrix: &Array2<f32>) -> Array {
    Array::float32(matrix.shape().to_vec(), matrix.iter().copied().collect())
}

fn lstm(cell: &KerasCell, found: &FoundCell, go_backwards: bool) -> Lstm {
    Lstm {
        kernel: array(&cell.kernel),
        recurrent_kernel: array(&cell.recurrent_kernel),
        bias: Some(Array::float32(vec![cell.bias.len()], cell.bias.to_vec())),
        config: Some(LstmConfig {
            units: cell.units(),
            activation: cell.activation.keras_name().to_owned(),
            recurrent_activation: cell.recurrent_activation.keras_name().to_owned(),
            use_bias: true,
            go_backwards,
            time_major: false,
            return_sequences: true,
            return_state: false,
            // TF1 gives zeros past a sequence's end; a Keras layer under a mask does so only with this set.
            zero_output_for_mask: found.zero_past_end,
            stateful: false,
        }),
        stored: Stored::Plain,
    }
}

fn describe(name: &str, class: &str, found: &[&FoundCell]) -> document::ConvertedLayer {
    document::ConvertedLayer {
        layer: name.to_owned(),
        class: class.to_owned(),
        cells: found.iter().map(|c| c.name.clone()).collect(),
        input_size: found.first().map_or(0, |c| c.input_size),
        units: found.iter().map(|c| c.units).collect(),
        forget_bias: found.iter().map(|c| inspect::fact(c.forget_bias, |v| v)).collect(),
        activation: found.iter().map(|c| c.activation.value.keras_name().to_owned()).collect(),
    }
}
