//! Which dense layers of a candidate are the projections of its LSTMs.

use lstm::{KerasCell, Network};
use ndarray::Array2;

use crate::joined::joined;
use crate::matching;
use crate::source::Subject;

/// The kernel behind each layer that projects, in the order in which layers feed each other, out of the `kernels` of a
/// file's dense layers in the file's order; none where the file has no layer of its shape left.
pub(crate) fn projections(subjects: &[Subject], kernels: &[Array2<f32>], listed: bool) -> Vec<Option<Array2<f32>>> {
    let mut shapes = vec![];
    subjects.iter().for_each(|subject| wanted(&subject.keras, &mut shapes));
    let mut found = vec![None; shapes.len()];
    let mut kernels = kernels.iter();
    for place in matching::in_file(matching::order(subjects, listed).dense, shapes.len()) {
        // Dense layers of other shapes have other work to do.
        found[place] = kernels.find(|kernel| kernel.dim() == shapes[place]).cloned();
    }
    found
}

/// The shapes of the kernels of dense layers that a network has in Keras.
fn wanted(network: &Network<KerasCell>, shapes: &mut Vec<(usize, usize)>) {
    match network {
        Network::Cell(cell) | Network::Backward(cell) => {
            shapes.extend(cell.output_projection.as_ref().map(Array2::dim))
        }
        Network::Stack(parts) => parts.iter().for_each(|part| wanted(part, shapes)),
        Network::Residual(part) => wanted(part, shapes),
        Network::Bidirectional { forward, backward, merge } => match (&**forward, &**backward) {
            (Network::Cell(a), Network::Cell(b)) => {
                shapes.extend(joined([a, b], *merge).ok().and_then(|form| form.dense).map(|kernel| kernel.dim()));
            }
            (forward, backward) => {
                wanted(forward, shapes);
                wanted(backward, shapes);
            }
        },
    }
}
