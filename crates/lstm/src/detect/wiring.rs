//! Which cell feeds which, as the graph shows it.

use std::collections::{BTreeMap, BTreeSet};

use super::dropout;
use super::graph_index::{GraphIndex, NodeId, Output};
use super::instances::Instance;

/// Where a cell's input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// From the outputs of these cells (by index) and nothing else.
    Cells(BTreeSet<usize>),
    /// From elsewhere: the model's input, or an operation that changes values.
    Elsewhere,
    /// The graph does not show the cell.
    Unknown,
}

/// The places at which one cell is computed.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses<'i> {
    pub(super) instances: Vec<&'i Instance>,
    /// Where the output of each is, if it was found.
    pub(super) outputs: Vec<Option<Output>>,
}

/// What the graph says of all cells together.
#[derive(Debug, Default)]
pub(super) struct Wiring {
    pub(super) feeds: Vec<Feed>,
    /// If the input of a cell (by index) is added to this one's output: which cell. Mostly the same.
    pub(super) residual: Vec<Option<usize>>,
    /// How often the cell stands on top of itself: 2 for `MultiRNNCell([cell] * 2)`.
    pub(super) copies: Vec<usize>,
    /// Cells whose own output feeds them in some places only.
    pub(super) tangled: Vec<usize>,
}

/// A cell's output as it reaches a reader: raw, or through the addition of a residual connection or the joining of
/// two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct From {
    cell: usize,
    instance: usize,
    via: Option<NodeId>,
}

/// Everything a walk needs to know.
struct Walk<'a, 'g> {
    graph: &'a GraphIndex<'g>,
    cells: &'a [Uses<'a>],
    owners: BTreeMap<Output, (usize, usize)>,
    /// Additions of residual connections: the instance whose output is added, and the cell whose input is.
    residuals: BTreeMap<NodeId, (usize, usize, usize)>,
    /// Where two directions are joined: their cells.
    joins: &'a BTreeMap<NodeId, Vec<usize>>,
}

/// Reads the wiring of `cells`. `joins` says where directions were found to be added or multiplied.
pub(super) fn read(graph: &GraphIndex<'_>, cells: &[Uses<'_>], joins: &BTreeMap<NodeId, Vec<usize>>) -> Wiring {
    let mut owners = BTreeMap::new();
    for (cell, uses) in cells.iter().enumerate() {
        for (instance, output) in uses.outputs.iter().enumerate() {
            owners.extend(output.map(|o| (o, (cell, instance))));
        }
    }
    let mut walk = Walk { graph, cells, owners, residuals: BTreeMap::new(), joins };
    walk.residuals = walk.find_residuals();
    let found: Vec<Vec<Option<BTreeSet<From>>>> =
        cells.iter().map(|uses| uses.instances.iter().map(|i| walk.back(i.x.iter().copied())).collect()).collect();

    // A residual connection counts if whoever reads the cell reads the sum.
    let read_raw: BTreeSet<usize> = found
        .iter()
        .enumerate()
        .flat_map(|(reader, all)| all.iter().flatten().flatten().map(move |f| (reader, f)))
        .filter(|(reader, f)| f.via.is_none() && f.cell != *reader)
        .map(|(_, f)| f.cell)
        .collect();
    let mut wiring = Wiring { residual: vec![None; cells.len()], ..Wiring::default() };
    for (top, instance, bottom) in walk.residuals.values() {
        let inside = top != bottom;
        if !read_raw.contains(top) && !walk.shown_raw(*top, *instance) && (wiring.residual[*top].is_none() || !inside) {
            wiring.residual[*top] = Some(*bottom);
        }
    }
    let depths: Vec<Option<Vec<usize>>> = (0..cells.len()).map(|cell| walk.depths(cell, &found[cell])).collect();
    for (cell, all) in found.iter().enumerate() {
        let depth = &depths[cell];
        let copies = depth.as_ref().and_then(|d| d.iter().max()).map_or(1, |d| d + 1);
        wiring.copies.push(if graph.exhausted() { 1 } else { copies });
        if depth.is_none() {
            wiring.tangled.push(cell);
        }
        let mut sources = BTreeSet::new();
        let mut elsewhere = false;
        for (instance, from) in all.iter().enumerate() {
            if depth.as_ref().is_some_and(|d| d[instance] > 0) {
                continue;
            }
            match from {
                Some(from) if !from.is_empty() => {
                    for f in from {
                        let raw = f.via.is_none();
                        let through_sum = f.via.is_some_and(|v| walk.residuals.contains_key(&v));
                        let not_top = depths[f.cell].as_ref().is_some_and(|d| {
                            d.get(f.instance).zip(d.iter().max()).is_some_and(|(own, top)| own != top)
                        });
                        elsewhere |= f.cell == cell
                            || not_top
                            || (through_sum && wiring.residual[f.cell].is_none())
                            || (raw && wiring.residual[f.cell].is_some());
                        sources.insert(f.cell);
                    }
                }
                _ => elsewhere = true,
            }
        }
        if graph.exhausted() {
            wiring.residual[cell] = None;
        }
        wiring.feeds.push(match (all.is_empty() || graph.exhausted(), elsewhere || sources.is_empty()) {
            (true, _) => Feed::Unknown,
            (false, true) => Feed::Elsewhere,
            (false, false) => Feed::Cells(sources),
        });
    }
    wiring
}

impl Walk<'_, '_> {
    /// The value behind dropout and whatever hands it on.
    fn canonical(&self, mut value: Output) -> Output {
        for _ in 0..16 {
            value = self.graph.behind(value);
            match dropout::before(self.graph, value) {
                Some(before) => value = before,
                None => break,
            }
        }
        value
    }

    /// Every `output + input`, where the input is the same cell's or that of a cell below it.
    fn find_residuals(&self) -> BTreeMap<NodeId, (usize, usize, usize)> {
        let mut found = BTreeMap::new();
        for (&output, &(cell, instance)) in &self.owners {
            let mut pending = vec![(output, 0)];
            while let Some((at, depth)) = pending.pop() {
                let readers: Vec<_> = self.graph.forward(at).collect();
                for reader in readers {
                    match self.graph.op(reader.node) {
                        "Add" | "AddV2" if self.canonical(at) == output => {
                            let added = self.graph.other(reader.node, reader.input).map(|o| self.canonical(o));
                            if let Some(bottom) = added.and_then(|a| self.cell_reading(a, cell, instance)) {
                                found.insert(reader.node, (cell, instance, bottom));
                            }
                        }
                        "Identity" | "Mul" | "RealDiv" | "Div" | "Select" | "SelectV2" if depth < 3 => {
                            pending.push(((reader.node, 0), depth + 1));
                        }
                        _ => {}
                    }
                }
            }
        }
        found
    }

    /// The cell that reads `value`: this one or, where cells feed each other directly, one below.
    fn cell_reading(&self, value: Output, mut cell: usize, mut instance: usize) -> Option<usize> {
        for _ in 0..32 {
            let [x] = self.cells[cell].instances[instance].x[..] else { return None };
            let x = self.canonical(x);
            if x == value {
                return Some(cell);
            }
            (cell, instance) = *self.owners.get(&x)?;
        }
        None
    }

    /// Whether the raw output of an instance is kept step by step, as the output of a loop or of its steps is.
    fn shown_raw(&self, cell: usize, instance: usize) -> bool {
        let Some(output) = self.cells[cell].outputs[instance] else { return false };
        self.graph.forward(output).any(|r| {
            let op = without_version(self.graph.op(r.node));
            matches!(op, "TensorArrayWrite" | "TensorListSetItem" | "Pack")
        })
    }

    /// Walks back through operations that only move values about. `None` if the walk meets anything else than cells'
    /// outputs and constants.
    fn back(&self, starts: impl Iterator<Item = Output>) -> Option<BTreeSet<From>> {
        let mut sources = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut pending: Vec<Output> = starts.collect();
        while let Some(at) = pending.pop() {
            // Every edge is a step: a node may be reached from many.
            if !self.graph.step() {
                return None;
            }
            if !seen.insert(at) {
                continue;
            }
            if let Some((cell, instance)) = self.owners.get(&at) {
                sources.insert(From { cell: *cell, instance: *instance, via: None });
                continue;
            }
            if let Some((cell, instance, _)) = self.residuals.get(&at.0) {
                sources.insert(From { cell: *cell, instance: *instance, via: Some(at.0) });
                continue;
            }
            if let Some(cells) = self.joins.get(&at.0) {
                sources.extend(cells.iter().map(|c| From { cell: *c, instance: 0, via: Some(at.0) }));
                continue;
            }
            if let Some(dropped_out) = dropout::before(self.graph, at) {
                pending.push(dropped_out);
                continue;
            }
            let inputs = self.graph.inputs(at.0);
            let through = passed_through(self.graph.op(at.0), inputs.len())?;
            pending.extend(through.filter_map(|i| inputs.get(i).copied().flatten()));
        }
        Some(sources)
    }

    /// How many copies of the cell itself stand below each of its instances; `None` where that differs from place to
    /// place.
    fn depths(&self, cell: usize, found: &[Option<BTreeSet<From>>]) -> Option<Vec<usize>> {
        let below: Vec<Option<usize>> = found
            .iter()
            .enumerate()
            .map(|(instance, from)| {
                let mut own = from.iter().flatten();
                let (Some(first), None) = (own.next(), own.next()) else { return None };
                let h = self.cells[cell].instances[instance].h;
                // What is also its own output of the step before is fed back, not stacked.
                let fed_back =
                    || self.back(h.into_iter()).is_none_or(|h| h.iter().any(|f| f.instance == first.instance));
                (first.cell == cell && first.via.is_none() && !fed_back()).then_some(first.instance)
            })
            .collect();
        if below.iter().all(Option::is_none) {
            return Some(vec![0; found.len()]);
        }
        let mut depths: Vec<Option<usize>> = below.iter().map(|b| if b.is_none() { Some(0) } else { None }).collect();
        for start in 0..below.len() {
            let mut path = vec![];
            let mut at = start;
            while depths[at].is_none() && path.len() <= below.len() {
                path.push(at);
                at = below[at]?;
            }
            let mut depth = depths[at]?;
            for instance in path.into_iter().rev() {
                depth += 1;
                depths[instance] = Some(depth);
            }
        }
        let depths: Vec<usize> = depths.into_iter().collect::<Option<_>>()?;
        let mut counts = BTreeMap::new();
        depths.iter().for_each(|d| *counts.entry(d).or_insert(0usize) += 1);
        let mut counts = counts.values();
        let first = counts.next();
        counts.all(|c| Some(c) == first).then_some(depths)
    }
}

/// `TensorArrayReadV3` → `TensorArrayRead`.
pub(super) fn without_version(op: &str) -> &str {
    let stem = op.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() < op.len() { stem.strip_suffix('V').unwrap_or(op) } else { op }
}

/// The inputs whose values an operation hands on unchanged; none for constants; `None` if it computes.
pub(super) fn passed_through(op: &str, inputs: usize) -> Option<std::ops::Range<usize>> {
    Some(match without_version(op) {
        "Const" | "Fill" | "ZerosLike" | "TensorArray" | "TensorListReserve" | "EmptyTensorList" => 0..0,
        // Lengths and ends of sequences, not their values.
        "TensorArraySize" | "TensorArrayClose" | "TensorListLength" => 0..0,
        "Identity"
        | "Enter"
        | "RefEnter"
        | "Exit"
        | "NextIteration"
        | "Switch"
        | "Transpose"
        | "Reshape"
        | "ReverseSequence"
        | "Reverse"
        | "StridedSlice"
        | "Slice"
        | "Squeeze"
        | "ExpandDims"
        | "Unpack"
        | "CheckNumerics"
        | "Tile"
        | "TensorListFromTensor"
        | "TensorListGetItem"
        | "TensorListStack"
        | "StopGradient" => 0..1,
        "Merge" | "Pack" => 0..inputs,
        "Concat" if op == "ConcatV2" => 0..inputs.saturating_sub(1),
        "Concat" => 1..inputs,
        "Select" => 1..3,
        "Split" if op == "SplitV" => 0..1,
        "Split" => 1..2,
        "TensorArrayRead" | "TensorArrayPack" | "TensorArrayGather" | "TensorArrayScatter" => 2..3,
        "TensorArrayUnpack" => 1..2,
        "TensorArrayWrite" => 2..4,
        "TensorListSetItem" => 0..3,
        _ => return None,
    })
}
