//! Networks that the user declares, and what was found written down as such a declaration.

use std::collections::BTreeMap;

use super::names::Candidate;
use super::{
    Detection, FoundCell, FoundNetwork, Given, GivenError, Indexed, Malformed, MappedCell, MappedNetwork, Said,
    describe,
};
use crate::Network;

/// The networks of the user's map. A cell that cannot be one goes to `malformed`, and its network is left out.
pub(super) fn networks(
    shapes: &BTreeMap<&str, &[usize]>,
    indexed: Option<&Indexed<'_>>,
    given: &Given,
    malformed: &mut Vec<Malformed>,
) -> Result<Vec<FoundNetwork>, GivenError> {
    let mut found = vec![];
    for MappedNetwork { name, network } in &given.mapped {
        let described: Network<Result<FoundCell, Malformed>> =
            network.try_map(&mut |cell| of(cell, shapes, indexed, given))?;
        match described.try_map(&mut Clone::clone) {
            Ok(network) => found.push(FoundNetwork { name: name.clone(), network }),
            Err(bad) => malformed.push(bad),
        }
    }
    Ok(found)
}

/// One cell of the map. The outer error is the user's, the inner one the checkpoint's.
fn of(
    cell: &MappedCell,
    shapes: &BTreeMap<&str, &[usize]>,
    indexed: Option<&Indexed<'_>>,
    given: &Given,
) -> Result<Result<FoundCell, Malformed>, GivenError> {
    if cell.variables.kernel.is_empty() {
        return Err(GivenError::MapKernel { cell: cell.name.clone() });
    }
    if let Some(key) = cell.variables.all().find(|k| !shapes.contains_key(k.as_str())) {
        let similar = similar(key, shapes);
        return Err(GivenError::MapKey { cell: cell.name.clone(), key: key.clone(), similar });
    }
    let candidate = Candidate {
        scope: cell.name.clone(),
        kind: cell.class,
        layer_norm: cell.variables.extra.keys().any(|role| role.ends_with("/gamma")),
        variables: cell.variables.clone(),
    };
    // The map's word on one cell goes before an option's on all.
    let said = Said {
        forget_bias: cell.forget_bias.or(given.forget_bias),
        activation: cell.activation.or(given.activation),
        cell_clip: cell.cell_clip,
        projection_clip: cell.projection_clip,
    };
    let described = describe(&candidate, shapes, indexed, given, &said)?;
    Ok(described.map_err(|problem| Malformed { name: cell.name.clone(), problem }))
}

/// Up to three keys that share most with `key` at their ends.
fn similar(key: &str, shapes: &BTreeMap<&str, &[usize]>) -> Vec<String> {
    let shared = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    };
    let score = |other: &str| {
        let front = shared(&mut key.chars(), &mut other.chars());
        let back = shared(&mut key.chars().rev(), &mut other.chars().rev());
        (front + back).min(key.chars().count())
    };
    let mut scored: Vec<(usize, &str)> = shapes.keys().map(|k| (score(k), *k)).collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let enough = key.chars().count().div_ceil(2);
    scored.into_iter().take(3).filter(|(s, _)| *s >= enough).map(|(_, k)| k.to_owned()).collect()
}

/// What was found, as a map that declares the same: a template for the user to change.
pub fn as_map(detection: &Detection) -> Vec<MappedNetwork> {
    let cell = |cell: &FoundCell| {
        Ok::<_, std::convert::Infallible>(MappedCell {
            name: cell.name.clone(),
            class: cell.kind,
            variables: cell.variables.clone(),
            forget_bias: Some(cell.forget_bias.value),
            activation: Some(cell.activation.value),
            cell_clip: cell.cell_clip.map(|f| f.value),
            projection_clip: cell.projection_clip.map(|f| f.value),
        })
    };
    let network = |found: &FoundNetwork| {
        let Ok(network) = found.network.try_map(&mut { cell });
        MappedNetwork { name: found.name.clone(), network }
    };
    detection.networks.iter().map(network).collect()
}
