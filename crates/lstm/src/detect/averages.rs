//! Moving averages beside the weights: which key holds what.

use std::collections::{BTreeMap, BTreeSet};

use super::graph_index::{GraphIndex, NodeId, is_variable};
use super::ignored::slot_of;
use super::names::{split, without_number};
use super::{Averages, CellVariables, GivenError, WeightsChoice};

/// What `tf.train.ExponentialMovingAverage` puts behind a variable's name unless told otherwise.
pub(super) const SUFFIX: &str = "/ExponentialMovingAverage";

/// Other names that people give it (`name=`), in lower case: without a graph nothing else tells an average.
const OTHER_NAMES: [&str; 8] =
    ["ema", "avg", "average", "averages", "moving_average", "exponential_moving_average", "movingaverage", "shadow"];

/// The keys of one variable that has an average.
#[derive(Clone, Debug, Default)]
struct Keys {
    raw: Option<String>,
    average: Option<String>,
    exchanged: bool,
}

/// Variables with averages, by their own names.
#[derive(Default)]
pub(super) struct Stored(BTreeMap<String, Keys>);

impl Stored {
    pub(super) fn new(names: &BTreeSet<&str>, graph: Option<&GraphIndex<'_>>) -> Stored {
        let mut stored = BTreeMap::new();
        for name in names {
            let Some((_, of)) = slot_of(name, names).filter(|(slot, _)| *slot == &SUFFIX[1..]) else { continue };
            let raw = names.contains(of).then(|| of.to_owned());
            let average = Some((*name).to_owned());
            // `MovingAverageOptimizer.swapping_saver` saves the average under the plain name, and the other way round.
            let exchanged = graph.and_then(|g| g.saved().get(of)).is_some_and(|n| n.strip_suffix(SUFFIX) == Some(of));
            let keys = match exchanged {
                false => Keys { raw, average, exchanged },
                true => Keys { raw: average, average: raw, exchanged },
            };
            stored.insert(of.to_owned(), keys);
        }
        let mut stored = Stored(stored);
        if let Some(graph) = graph {
            stored.add_kept(names, graph);
        }
        stored.add_named(names);
        stored
    }

    /// The averages that the graph keeps, whatever they are called.
    fn add_kept(&mut self, names: &BTreeSet<&str>, graph: &GraphIndex<'_>) {
        let keys = graph.keys();
        let key = |id: &NodeId| keys.get(id).copied().filter(|k| names.contains(k));
        for (average, variable) in kept(graph) {
            let name = graph.name(variable);
            let (Some(average), raw) = (key(&average), key(&variable)) else { continue };
            // A saver that gives averages the plain names does so for evaluation: they are what the model computes with.
            if average != name {
                self.add(raw.unwrap_or(name), raw, average);
            }
        }
    }

    /// What is called an average of a variable that is stored too.
    fn add_named(&mut self, names: &BTreeSet<&str>) {
        for name in names {
            let (path, last) = split(name);
            if OTHER_NAMES.contains(&without_number(&last.to_lowercase())) {
                // It may lie in a scope of its own, with the variable's path inside.
                let tails = std::iter::once(path).chain(path.match_indices('/').map(|(at, _)| &path[at + 1..]));
                if let Some(of) = { tails }.find(|tail| names.contains(tail)) {
                    self.add(of, Some(of), name);
                }
            }
        }
    }

    /// Unless it is known already.
    fn add(&mut self, of: &str, raw: Option<&str>, average: &str) {
        let raw = raw.map(str::to_owned);
        let keys = || Keys { raw, average: Some(average.to_owned()), exchanged: false };
        self.0.entry(of.to_owned()).or_insert_with(keys);
    }

    /// The variable that a key holds the average of, by the average's key.
    pub(super) fn owners(&self) -> BTreeMap<&str, &str> {
        self.0.iter().filter_map(|(of, keys)| Some((keys.average.as_deref()?, of.as_str()))).collect()
    }

    /// Variables of which only the average is stored, with the key that holds it.
    pub(super) fn only_averages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(|(_, k)| k.raw.is_none()).filter_map(|(n, k)| Some((n.as_str(), k.average.as_deref()?)))
    }

    /// The key that holds a variable's weights as trained.
    fn raw<'a>(&'a self, name: &'a String) -> Option<&'a String> {
        self.0.get(name).map_or(Some(name), |k| k.raw.as_ref())
    }

    /// The key that holds its average.
    fn average(&self, name: &str) -> Option<&String> {
        self.0.get(name).and_then(|k| k.average.as_ref())
    }

    /// The keys of a cell whose variables are called `named`, and what the user should know of its averages.
    pub(super) fn choose(
        &self,
        cell: &str,
        named: &CellVariables,
        choice: Option<WeightsChoice>,
    ) -> Result<(CellVariables, Option<Averages>), GivenError> {
        let lacking =
            |of: &dyn Fn(&String) -> bool| -> Vec<String> { named.all().filter(|n| !of(n)).cloned().collect() };
        let no_average = lacking(&|n| self.average(n).is_some());
        let no_raw = lacking(&|n| self.raw(n).is_some());
        match choice {
            Some(WeightsChoice::Ema) if !no_average.is_empty() => {
                return Err(GivenError::NoAverage { cell: cell.to_owned(), missing: no_average });
            }
            Some(WeightsChoice::Raw) if !no_raw.is_empty() => {
                return Err(GivenError::NoRaw { cell: cell.to_owned(), missing: no_raw });
            }
            _ => {}
        }
        if no_average.len() == named.all().count() {
            return Ok((named.clone(), None));
        }
        let raws = no_raw.is_empty().then(|| named.map(|n| self.raw(n).unwrap_or(n).clone()));
        let averages = no_average.is_empty().then(|| named.map(|n| self.average(n).unwrap_or(n).clone()));
        let used = match (choice, &raws) {
            (Some(choice), _) => choice,
            (None, Some(_)) => WeightsChoice::Raw,
            (None, None) => WeightsChoice::Ema,
        };
        let keys = match (used, &raws, &averages) {
            (WeightsChoice::Raw, Some(keys), _) | (WeightsChoice::Ema, _, Some(keys)) => keys.clone(),
            // Some have no average, others nothing else: what there is.
            _ => named.map(|n| self.raw(n).or(self.average(n)).unwrap_or(n).clone()),
        };
        let open = choice.is_none() && raws.is_some() && averages.is_some();
        let exchanged = named.all().any(|n| self.0.get(n).is_some_and(|k| k.exchanged));
        Ok((keys, Some(Averages { used, open, raw: raws, average: averages, exchanged })))
    }
}

/// Averages and what they are of, as `assign_moving_average` of `tensorflow/python/training/moving_averages.py` keeps
/// them: `average -= (average - variable) * (1 - decay)`.
fn kept(graph: &GraphIndex<'_>) -> Vec<(NodeId, NodeId)> {
    let input = |node: NodeId, index: usize| graph.input(node, index).map(|from| graph.behind(from).0);
    let of = |node: NodeId| {
        let average = input(node, 0)?;
        let change = input(node, 1).filter(|n| graph.op(*n) == "Mul")?;
        let difference = (0..2).filter_map(|i| input(change, i)).find(|n| graph.op(*n) == "Sub")?;
        let variable = input(difference, 1)?;
        let holds = |id: NodeId| is_variable(graph.op(id));
        (input(difference, 0) == Some(average) && holds(average) && holds(variable)).then_some((average, variable))
    };
    graph.ids().filter(|id| matches!(graph.op(*id), "AssignSub" | "AssignSubVariableOp")).filter_map(of).collect()
}

/// What to say of a cell's averages.
pub(super) fn note(cell: &str, averages: &Averages, has_graph: bool) -> Option<String> {
    let Averages { used, open, raw, average, exchanged } = averages;
    if *exchanged {
        return Some(format!(
            "{cell}: the graph shows a saver that exchanges weights and moving averages: the plain names hold the \
             averages{}",
            if *open { "; say which count with --weights raw or --weights ema" } else { "" }
        ));
    }
    let swapping = if has_graph {
        ""
    } else {
        " (the swapping saver of MovingAverageOptimizer exchanges the two, and without a graph nothing shows whether it did)"
    };
    match (raw, average) {
        (Some(_), Some(_)) if *open => Some(format!(
            "{cell}: both the weights and their moving averages are stored{swapping}; the weights are taken unless \
             --weights ema says otherwise"
        )),
        (Some(_), Some(_)) => Some(format!("{cell}: --weights {} was chosen{swapping}", used.as_str())),
        (None, Some(_)) => Some(format!("{cell}: only moving averages are stored: they are taken")),
        (Some(_), None) => {
            Some(format!("{cell}: some of its variables have moving averages, not all: the weights are taken"))
        }
        (None, None) => Some(format!(
            "{cell}: of some variables only the moving average is stored, of others only the weights: taken as they are"
        )),
    }
}
