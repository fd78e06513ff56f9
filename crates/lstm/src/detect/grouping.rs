//! Which cells make one network.
//!
//! Scopes say it: `cell_0`, `cell_1`, … under a `multi_rnn_cell` are a stack, `fw` beside `bw` two directions. Where
//! the graph shows what feeds a cell it has the last word: a stack whose cells do not feed each other directly (an
//! attention, an operation between them) is taken apart, and cells in scopes of their own that do feed each other become
//! a stack. The graph alone shows residual connections, what becomes of two directions, and a cell on top of itself.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::names::without_number;
use super::wiring::{self, Feed, Wiring};
use super::{FoundCell, FoundNetwork, Indexed, merging};
use crate::{Direction, Merge, Network};

/// A name's last scopes are looked at one by one; more than any real name has, and few enough to walk down into.
const SCOPES: usize = 64;

/// Scopes as a tree, cells at its leaves.
#[derive(Default)]
struct Scope {
    cells: Vec<usize>,
    children: BTreeMap<String, Scope>,
}

/// Groups cells into networks, in natural order of their names.
pub(super) fn group(
    cells: Vec<FoundCell>,
    indexed: Option<&Indexed<'_>>,
    notes: &mut Vec<String>,
) -> Vec<FoundNetwork> {
    let mut root = Scope::default();
    for (index, cell) in cells.iter().enumerate() {
        let mut scope = &mut root;
        let parts: Vec<&str> = cell.name.rsplitn(SCOPES, '/').collect();
        for part in parts.into_iter().rev() {
            scope = scope.children.entry(part.to_owned()).or_default();
        }
        scope.cells.push(index);
    }
    let mut forest = forest(&root, "");
    if let Some(indexed) = indexed {
        let uses: Vec<_> = cells.iter().map(|c| indexed.uses(&c.variables)).collect();
        let mut joins = BTreeMap::new();
        forest = forest.into_iter().map(|n| with_merges(n, indexed, &uses, &cells, &mut joins, notes)).collect();
        let wiring = wiring::read(&indexed.graph, &uses, &joins);
        for cell in &wiring.tangled {
            notes.push(format!("{} reads its own output in some places and not in others", cells[*cell].name));
        }
        forest = forest.into_iter().flat_map(|n| agree_with_graph(n, &wiring.feeds, &cells, notes)).collect();
        forest = join_fed(forest, &wiring.feeds);
        forest = forest.into_iter().map(|n| with_copies(n, &wiring, &cells, notes)).collect();
        forest = forest.into_iter().map(|n| with_residuals(n, &wiring, &cells, notes)).collect();
    }
    forest = forest.into_iter().flat_map(|network| split_where_sizes_break(network, &cells, notes)).collect();
    let mut networks: Vec<FoundNetwork> = forest
        .iter()
        .map(|network| FoundNetwork {
            name: shared_scope(&network.cells(), &cells),
            network: network.try_map(&mut |index| Ok::<_, ()>(cells[*index].clone())).expect("cloning cannot fail"),
        })
        .collect();
    networks.sort_by(|a, b| natural_order(&a.name, &b.name));
    networks
}

/// Asks the graph how the outputs of two directions become one, and where.
fn with_merges(
    network: Network<usize>,
    indexed: &Indexed<'_>,
    uses: &[wiring::Uses<'_>],
    cells: &[FoundCell],
    joins: &mut BTreeMap<super::graph_index::NodeId, Vec<usize>>,
    notes: &mut Vec<String>,
) -> Network<usize> {
    match network {
        Network::Stack(parts) => Network::Stack(
            parts.into_iter().map(|part| with_merges(part, indexed, uses, cells, joins, notes)).collect(),
        ),
        Network::Bidirectional { forward, backward, .. } => {
            let ([f], [b]) = (&top(&forward)[..], &top(&backward)[..]) else {
                return Network::side_by_side(*forward, *backward);
            };
            let joined = merging::joined(&indexed.graph, &uses[*f], &uses[*b]);
            if joined.also_read {
                notes.push(format!(
                    "the graph adds or multiplies the outputs of {} and {}, and also reads them otherwise: they are taken \
                     side by side",
                    cells[*f].name, cells[*b].name
                ));
            }
            joins.extend(joined.at.into_iter().map(|node| (node, vec![*f, *b])));
            Network::Bidirectional { forward, backward, merge: joined.merge }
        }
        other => other,
    }
}

/// Repeats the cells that the graph stacks on themselves.
fn with_copies(
    network: Network<usize>,
    wiring: &Wiring,
    cells: &[FoundCell],
    notes: &mut Vec<String>,
) -> Network<usize> {
    match network {
        Network::Cell(cell) => {
            let count = wiring.copies[cell];
            if count < 2 {
                return Network::Cell(cell);
            }
            notes.push(format!(
                "the graph stacks {} on itself {count} times with one set of weights, as MultiRNNCell([cell] * {count}) does",
                cells[cell].name
            ));
            Network::Stack(vec![Network::Cell(cell); count])
        }
        Network::Stack(parts) => Network::Stack(
            parts
                .into_iter()
                .flat_map(|part| match with_copies(part, wiring, cells, notes) {
                    Network::Stack(copies) => copies,
                    other => vec![other],
                })
                .collect(),
        ),
        Network::Bidirectional { forward, backward, merge } => Network::Bidirectional {
            forward: Box::new(with_copies(*forward, wiring, cells, notes)),
            backward: Box::new(with_copies(*backward, wiring, cells, notes)),
            merge,
        },
        Network::Residual(part) => Network::Residual(Box::new(with_copies(*part, wiring, cells, notes))),
        other @ Network::Backward(_) => other,
    }
}

/// Puts residual connections around the cells, or the layers, that the graph shows them around.
fn with_residuals(
    network: Network<usize>,
    wiring: &Wiring,
    cells: &[FoundCell],
    notes: &mut Vec<String>,
) -> Network<usize> {
    match network {
        Network::Cell(cell) if wiring.residual[cell] == Some(cell) && fits_residual(cell, cell, cells) => {
            Network::Residual(Box::new(Network::Cell(cell)))
        }
        Network::Stack(parts) => {
            let mut layers: Vec<Network<usize>> = vec![];
            for part in parts {
                let own = if let Network::Cell(cell) = part { Some(cell) } else { None };
                layers.push(with_residuals(part, wiring, cells, notes));
                let Some(cell) = own else { continue };
                let Some(bottom) = wiring.residual[cell].filter(|b| *b != cell) else { continue };
                let start = layers.iter().position(|l| *l == Network::Cell(bottom));
                match start.filter(|_| fits_residual(bottom, cell, cells)) {
                    Some(start) => {
                        let inside = layers.split_off(start);
                        layers.push(Network::Residual(Box::new(Network::Stack(inside))));
                    }
                    None => notes.push(format!(
                        "the graph adds the input of {} to the output of {}: left out, as no network of whole layers does so",
                        cells[bottom].name, cells[cell].name
                    )),
                }
            }
            match layers.len() {
                1 => layers.remove(0),
                _ => Network::Stack(layers),
            }
        }
        Network::Bidirectional { forward, backward, merge } => Network::Bidirectional {
            forward: Box::new(with_residuals(*forward, wiring, cells, notes)),
            backward: Box::new(with_residuals(*backward, wiring, cells, notes)),
            merge,
        },
        other => other,
    }
}

/// Whether the output of `top` is as wide as the input of `bottom`.
fn fits_residual(bottom: usize, top: usize, cells: &[FoundCell]) -> bool {
    cells[top].projection.unwrap_or(cells[top].units) == cells[bottom].input_size
}

/// The networks in a scope, by names alone.
fn forest(scope: &Scope, name: &str) -> Vec<Network<usize>> {
    let mut found: Vec<Network<usize>> = scope.cells.iter().map(|c| Network::Cell(*c)).collect();
    let mut names: Vec<&String> = scope.children.keys().collect();
    names.sort_by(|a, b| natural_order(a, b));
    let parts: Vec<(&String, Vec<Network<usize>>)> =
        names.iter().map(|n| (*n, forest(&scope.children[*n], n))).collect();

    let single =
        |direction: Direction| match parts.iter().filter(|(n, _)| side(n) == Some(direction)).collect::<Vec<_>>()[..] {
            [(_, networks)] if networks.len() == 1 => networks.first().cloned(),
            _ => None,
        };
    if let (Some(forward), Some(backward)) = (single(Direction::Forward), single(Direction::Backward)) {
        found.push(Network::side_by_side(forward, backward));
        found.extend(parts.into_iter().filter(|(n, _)| side(n).is_none()).flat_map(|(_, f)| f));
        return found;
    }
    let stacked =
        matches!(without_number(name), "multi_rnn_cell" | "MultiRNNCell" | "stack_bidirectional_rnn" | "StackRNN");
    // `StackedRNNCells` of Keras has a list, whose places are numbers.
    let in_list = |n: &str| name == "cells" && !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let is_part = |n: &str| if stacked { is_layer(n) } else { in_list(n) };
    if parts.iter().all(|(n, networks)| is_part(n) && networks.len() == 1) && !parts.is_empty() && found.is_empty() {
        let mut layers: Vec<Network<usize>> = parts.into_iter().flat_map(|(_, networks)| networks).collect();
        return match layers.len() {
            1 => vec![layers.remove(0)],
            _ => vec![Network::Stack(layers)],
        };
    }
    found.extend(parts.into_iter().flat_map(|(_, networks)| networks));
    found
}

/// The direction that a scope is named after: by TensorFlow 1.x, or by the halves of a `Bidirectional` layer of Keras.
fn side(component: &str) -> Option<Direction> {
    match component {
        "fw" | "FW" | "forward_layer" => return Some(Direction::Forward),
        "bw" | "BW" | "backward_layer" => return Some(Direction::Backward),
        _ => {}
    }
    match without_number(component) {
        "forward_lstm" | "forward_cu_dnnlstm" => Some(Direction::Forward),
        "backward_lstm" | "backward_cu_dnnlstm" => Some(Direction::Backward),
        _ => None,
    }
}

/// `cell_3`, `Cell3` or `Layer3`.
fn is_layer(component: &str) -> bool {
    ["cell_", "Cell", "Layer"].iter().any(|prefix| {
        component.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// Takes a stack apart if the graph shows that its layers do not feed each other directly.
fn agree_with_graph(
    network: Network<usize>,
    feeds: &[Feed],
    cells: &[FoundCell],
    notes: &mut Vec<String>,
) -> Vec<Network<usize>> {
    match network {
        Network::Stack(layers) => {
            let broken = layers.windows(2).any(|pair| {
                let above: BTreeSet<usize> = bottom(&pair[1]).into_iter().collect();
                let expected: BTreeSet<usize> = top(&pair[0]).into_iter().collect();
                above.iter().any(|cell| match &feeds[*cell] {
                    Feed::Unknown => false,
                    Feed::Cells(from) => *from != expected,
                    Feed::Elsewhere => true,
                })
            });
            if !broken {
                return vec![Network::Stack(layers)];
            }
            let names: Vec<usize> = layers.iter().flat_map(|l| l.cells().into_iter().copied()).collect();
            notes.push(format!(
                "the layers of {} do not feed each other directly (attention or another operation lies \
                 between): each is taken as a network of its own",
                shared_scope(&names.iter().collect::<Vec<_>>(), cells)
            ));
            layers
        }
        Network::Bidirectional { forward, backward, merge } => {
            let before = notes.len();
            let forward = agree_with_graph(*forward, feeds, cells, notes);
            let backward = agree_with_graph(*backward, feeds, cells, notes);
            if notes.len() > before {
                return forward.into_iter().chain(backward).collect();
            }
            let rejoin = |mut parts: Vec<Network<usize>>| Box::new(parts.remove(0));
            vec![Network::Bidirectional { forward: rejoin(forward), backward: rejoin(backward), merge }]
        }
        cell => vec![cell],
    }
}

/// Stacks networks whose cells read the output of another network and nothing else.
fn join_fed(networks: Vec<Network<usize>>, feeds: &[Feed]) -> Vec<Network<usize>> {
    let mut tops: BTreeMap<BTreeSet<usize>, Option<usize>> = BTreeMap::new();
    for (index, network) in networks.iter().enumerate() {
        tops.entry(top(network).into_iter().collect()).and_modify(|same| *same = None).or_insert(Some(index));
    }
    let fed_by = |network: &Network<usize>| {
        let bottoms = bottom(network);
        let sources: Vec<&BTreeSet<usize>> = bottoms
            .iter()
            .filter_map(|c| match &feeds[*c] {
                Feed::Cells(from) => Some(from),
                _ => None,
            })
            .collect();
        let first = *sources.first()?;
        let agree = sources.len() == bottoms.len() && sources.iter().all(|s| *s == first);
        if agree { tops.get(first).copied().flatten() } else { None }
    };
    let below: Vec<Option<usize>> =
        networks.iter().enumerate().map(|(above, n)| fed_by(n).filter(|below| *below != above)).collect();
    // Only a chain becomes a stack: a network read by two others stays apart from both.
    let mut above: Vec<Vec<usize>> = vec![vec![]; networks.len()];
    for (index, below) in below.iter().enumerate() {
        if let Some(below) = below {
            above[*below].push(index);
        }
    }
    let next = |index: usize| if let [one] = above[index][..] { Some(one) } else { None };
    let starts = (0..networks.len()).filter(|i| below[*i].is_none_or(|b| next(b).is_none()));
    let mut used = vec![false; networks.len()];
    let mut joined = vec![];
    // What no start leads to is a circle of networks, each left as it is.
    for start in starts.collect::<Vec<_>>() {
        let mut parts = vec![];
        let mut at = Some(start);
        while let Some(index) = at.filter(|i| !used[*i]) {
            used[index] = true;
            match &networks[index] {
                Network::Stack(layers) => parts.extend(layers.iter().cloned()),
                other => parts.push(other.clone()),
            }
            at = next(index);
        }
        joined.push(if parts.len() == 1 { parts.remove(0) } else { Network::Stack(parts) });
    }
    joined.extend(networks.into_iter().zip(used).filter(|(_, used)| !used).map(|(n, _)| n));
    joined
}

/// Without a graph the names' word stands only as far as the sizes allow.
fn split_where_sizes_break(
    network: Network<usize>,
    cells: &[FoundCell],
    notes: &mut Vec<String>,
) -> Vec<Network<usize>> {
    let Network::Stack(layers) = network else { return vec![network] };
    let chained =
        layers.windows(2).all(|pair| bottom(&pair[1]).iter().all(|c| cells[*c].input_size == width(&pair[0], cells)));
    if chained {
        return vec![Network::Stack(layers)];
    }
    let names: Vec<usize> = layers.iter().flat_map(|l| l.cells().into_iter().copied()).collect();
    notes.push(format!(
        "the layers of {} do not fit on top of each other: each is taken as a network of its own",
        shared_scope(&names.iter().collect::<Vec<_>>(), cells)
    ));
    layers
}

/// Width of a network's output.
fn width(network: &Network<usize>, cells: &[FoundCell]) -> usize {
    match network {
        Network::Cell(cell) | Network::Backward(cell) => cells[*cell].projection.unwrap_or(cells[*cell].units),
        Network::Stack(parts) => parts.last().map_or(0, |last| width(last, cells)),
        Network::Residual(part) => width(part, cells),
        Network::Bidirectional { forward, backward, merge } => match merge {
            Merge::Concat => width(forward, cells) + width(backward, cells),
            Merge::Sum | Merge::Mul | Merge::Ave => width(forward, cells),
        },
    }
}

/// Cells that read the network's input.
fn bottom(network: &Network<usize>) -> Vec<usize> {
    match network {
        Network::Cell(cell) | Network::Backward(cell) => vec![*cell],
        Network::Stack(parts) => parts.first().map(bottom).unwrap_or_default(),
        Network::Residual(part) => bottom(part),
        Network::Bidirectional { forward, backward, .. } => [bottom(forward), bottom(backward)].concat(),
    }
}

/// Cells that make the network's output.
fn top(network: &Network<usize>) -> Vec<usize> {
    match network {
        Network::Cell(cell) | Network::Backward(cell) => vec![*cell],
        Network::Stack(parts) => parts.last().map(top).unwrap_or_default(),
        Network::Residual(part) => top(part),
        Network::Bidirectional { forward, backward, .. } => [top(forward), top(backward)].concat(),
    }
}

/// The longest scope that all cells share; for cells without one, their names side by side.
fn shared_scope(indices: &[&usize], cells: &[FoundCell]) -> String {
    let names: Vec<&str> = indices.iter().map(|i| cells[**i].name.as_str()).collect();
    let Some(first) = names.first() else { return String::new() };
    let parts: Vec<&str> = first.split('/').collect();
    let shared = (1..=parts.len())
        .rev()
        .map(|n| parts[..n].join("/"))
        .find(|scope| names.iter().all(|n| super::names::is_at_or_below(n, scope)));
    shared.unwrap_or_else(|| names.join(" + "))
}

/// Numbers inside names compare as numbers: `cell_9` before `cell_10`.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        match (digits(a), digits(b)) {
            (0, _) | (_, 0) => match (a.chars().next(), b.chars().next()) {
                (None, None) => return Ordering::Equal,
                (None, _) => return Ordering::Less,
                (_, None) => return Ordering::Greater,
                (Some(x), Some(y)) if x != y => return x.cmp(&y),
                (Some(x), Some(_)) => (a, b) = (&a[x.len_utf8()..], &b[x.len_utf8()..]),
            },
            (m, n) => {
                let number = |s: &str| s.trim_start_matches('0').to_owned();
                let (x, y) = (number(&a[..m]), number(&b[..n]));
                match x.len().cmp(&y.len()).then(x.cmp(&y)).then(m.cmp(&n)) {
                    Ordering::Equal => (a, b) = (&a[m..], &b[n..]),
                    unequal => return unequal,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_sort_as_numbers() {
        let mut names = ["cell_10", "cell_9", "cell_1", "cell", "cell_09x", "a"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a", "cell", "cell_1", "cell_9", "cell_09x", "cell_10"]);
    }
}
