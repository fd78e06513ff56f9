//! Which cells make one network.
//!
//! Scopes say it: `cell_0`, `cell_1`, … under a `multi_rnn_cell` are a stack, `fw` beside `bw` two directions. Where
//! the graph shows what feeds a cell it has the last word: a stack whose cells do not feed each other directly (a
//! residual wrapper, an attention) is taken apart, and cells in scopes of their own that do feed each other become a
//! stack.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::graph_index::GraphIndex;
use super::names::without_number;
use super::wiring::{self, Feed};
use super::{FoundCell, FoundNetwork};
use crate::Network;

/// Scopes as a tree, cells at its leaves.
#[derive(Default)]
struct Scope {
    cells: Vec<usize>,
    children: BTreeMap<String, Scope>,
}

/// Groups cells into networks, in natural order of their names.
pub(super) fn group(
    cells: Vec<FoundCell>,
    graph: Option<&GraphIndex<'_>>,
    notes: &mut Vec<String>,
) -> Vec<FoundNetwork> {
    let mut root = Scope::default();
    for (index, cell) in cells.iter().enumerate() {
        let mut scope = &mut root;
        for part in cell.name.split('/') {
            scope = scope.children.entry(part.to_owned()).or_default();
        }
        scope.cells.push(index);
    }
    let mut forest = forest(&root, "");
    if let Some(graph) = graph {
        let variables: Vec<_> = cells.iter().map(|c| &c.variables).collect();
        let feeds = wiring::feeds(graph, &variables);
        forest = forest.into_iter().flat_map(|network| agree_with_graph(network, &feeds, &cells, notes)).collect();
        forest = join_fed(forest, &feeds);
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

/// The networks in a scope, by names alone.
fn forest(scope: &Scope, name: &str) -> Vec<Network<usize>> {
    let mut found: Vec<Network<usize>> = scope.cells.iter().map(|c| Network::Cell(*c)).collect();
    let mut names: Vec<&String> = scope.children.keys().collect();
    names.sort_by(|a, b| natural_order(a, b));
    let parts: Vec<(&String, Vec<Network<usize>>)> =
        names.iter().map(|n| (*n, forest(&scope.children[*n], n))).collect();

    let is = |name: &str, options: [&str; 2]| options.contains(&name);
    let single = |wanted: [&str; 2]| match parts.iter().filter(|(n, _)| is(n, wanted)).collect::<Vec<_>>()[..] {
        [(_, networks)] if networks.len() == 1 => networks.first().cloned(),
        _ => None,
    };
    if let (Some(forward), Some(backward)) = (single(["fw", "FW"]), single(["bw", "BW"])) {
        found.push(Network::side_by_side(forward, backward));
        found.extend(
            parts.into_iter().filter(|(n, _)| !is(n, ["fw", "FW"]) && !is(n, ["bw", "BW"])).flat_map(|(_, f)| f),
        );
        return found;
    }
    let stacked =
        matches!(without_number(name), "multi_rnn_cell" | "MultiRNNCell" | "stack_bidirectional_rnn" | "StackRNN");
    if stacked && parts.iter().all(|(n, networks)| is_layer(n) && networks.len() == 1) && found.is_empty() {
        let mut layers: Vec<Network<usize>> = parts.into_iter().flat_map(|(_, networks)| networks).collect();
        return match layers.len() {
            1 => vec![layers.remove(0)],
            _ => vec![Network::Stack(layers)],
        };
    }
    found.extend(parts.into_iter().flat_map(|(_, networks)| networks));
    found
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
                "the layers of {} do not feed each other directly (a residual connection, attention or another operation \
                 lies between): each is taken as a network of its own",
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
fn join_fed(mut networks: Vec<Network<usize>>, feeds: &[Feed]) -> Vec<Network<usize>> {
    loop {
        let tops: Vec<BTreeSet<usize>> = networks.iter().map(|n| top(n).into_iter().collect()).collect();
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
            (sources.len() == bottoms.len() && sources.iter().all(|s| *s == first))
                .then(|| tops.iter().position(|t| t == first))?
        };
        // Only a chain becomes a stack: a network read by two others stays apart from both.
        let links: Vec<(usize, usize)> = networks
            .iter()
            .enumerate()
            .filter_map(|(above, n)| Some((fed_by(n)?, above)))
            .filter(|(b, a)| b != a)
            .collect();
        let link = links.iter().find(|(below, _)| links.iter().filter(|(b, _)| b == below).count() == 1);
        let Some(&(below, above)) = link else { return networks };
        let parts = |network: Network<usize>| match network {
            Network::Stack(parts) => parts,
            other => vec![other],
        };
        let (above_network, below_network) = (networks[above].clone(), networks[below].clone());
        let joined = Network::Stack(parts(below_network).into_iter().chain(parts(above_network)).collect());
        networks =
            networks.into_iter().enumerate().filter(|(i, _)| *i != below && *i != above).map(|(_, n)| n).collect();
        networks.push(joined);
    }
}

/// Without a graph the names' word stands only as far as the sizes allow.
fn split_where_sizes_break(
    network: Network<usize>,
    cells: &[FoundCell],
    notes: &mut Vec<String>,
) -> Vec<Network<usize>> {
    let Network::Stack(layers) = network else { return vec![network] };
    let output =
        |n: &Network<usize>| top(n).iter().map(|c| cells[*c].projection.unwrap_or(cells[*c].units)).sum::<usize>();
    let chained =
        layers.windows(2).all(|pair| bottom(&pair[1]).iter().all(|c| cells[*c].input_size == output(&pair[0])));
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

/// Cells that read the network's input.
fn bottom(network: &Network<usize>) -> Vec<usize> {
    match network {
        Network::Cell(cell) => vec![*cell],
        Network::Stack(parts) => parts.first().map(bottom).unwrap_or_default(),
        Network::Residual(part) => bottom(part),
        Network::Bidirectional { forward, backward, .. } => [bottom(forward), bottom(backward)].concat(),
    }
}

/// Cells that make the network's output.
fn top(network: &Network<usize>) -> Vec<usize> {
    match network {
        Network::Cell(cell) => vec![*cell],
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
