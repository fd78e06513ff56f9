//! A converted network as the layers of a Keras file, each with its description.

use keras_file::{Array, Layer, LayerKind, Lstm, LstmConfig, Stored};
use lstm::detect::FoundCell;
use lstm::{KerasCell, Network};
use ndarray::Array2;
use report::document;

use crate::inspect;
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
pub(crate) struct Names {
    given: std::collections::BTreeMap<&'static str, usize>,
}

impl Names {
    fn next(&mut self, stem: &'static str) -> String {
        let count = self.given.entry(stem).or_default();
        *count += 1;
        if *count == 1 { stem.to_owned() } else { format!("{stem}_{}", *count - 1) }
    }
}

/// The layers of a subject.
pub(crate) fn of(subject: &Subject, names: &mut Names) -> Written {
    let found = subject.found.cells();
    let mut index = 0;
    let both = subject.keras.try_map(&mut |cell: &KerasCell| {
        index += 1;
        found.get(index - 1).map(|found| (cell.clone(), (*found).clone())).ok_or(())
    });
    let mut written = Written { layers: vec![], described: vec![] };
    // A network has as many found cells as converted ones, since one was made of the other.
    if let Ok(network) = both {
        written.layers = chain(&network, names, &mut written.described);
    }
    written
}

type Both = (KerasCell, FoundCell);

fn chain(network: &Network<Both>, names: &mut Names, described: &mut Vec<document::ConvertedLayer>) -> Vec<Layer> {
    match network {
        Network::Cell((cell, found)) => {
            let name = names.next("lstm");
            described.push(describe(&name, "LSTM", &[found]));
            let mut layers = vec![Layer { name, kind: LayerKind::Lstm(lstm(cell, false)) }];
            if let Some(projection) = &cell.output_projection {
                let kind = LayerKind::Dense { kernel: array(projection), bias: None };
                layers.push(Layer { name: names.next("dense"), kind });
            }
            layers
        }
        Network::Stack(parts) => parts.iter().flat_map(|part| chain(part, names, described)).collect(),
        Network::Residual(part) => {
            let inside = chain(part, names, described);
            vec![Layer { name: names.next("add"), kind: LayerKind::Residual(inside) }]
        }
        Network::Bidirectional { forward, backward, merge } => {
            if let (Network::Cell((a, found_a)), Network::Cell((b, found_b))) = (&**forward, &**backward) {
                let name = names.next("bidirectional");
                described.push(describe(&name, "Bidirectional", &[found_a, found_b]));
                let merge_mode = Some(merge.as_str().to_owned());
                let kind = LayerKind::Bidirectional { forward: lstm(a, false), backward: lstm(b, true), merge_mode };
                return vec![Layer { name, kind }];
            }
            let forward = chain(forward, names, described);
            let backward = chain(backward, names, described);
            vec![Layer { name: names.next("directions"), kind: LayerKind::Directions { forward, backward } }]
        }
    }
}

fn array(matrix: &Array2<f32>) -> Array {
    Array::float32(matrix.shape().to_vec(), matrix.iter().copied().collect())
}

fn lstm(cell: &KerasCell, go_backwards: bool) -> Lstm {
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
            // TF1 gives zeros past a sequence's end; a Keras layer under a mask does so only with this set.
            zero_output_for_mask: false,
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
