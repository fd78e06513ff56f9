//! Moving averages beside the weights: which key holds what.

use std::collections::{BTreeMap, BTreeSet};

use super::graph_index::GraphIndex;
use super::ignored::slot_of;
use super::{Averages, CellVariables, GivenError, WeightsChoice};

/// What `tf.train.ExponentialMovingAverage` puts behind a variable's name unless told otherwise.
pub(super) const SUFFIX: &str = "/ExponentialMovingAverage";

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
        Stored(stored)
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
