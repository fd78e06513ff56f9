//! Sizes of a cell, from the shapes of its variables.

use std::collections::BTreeMap;

use super::names::Candidate;
use super::{CellKind, Problem};
use crate::CellError;

#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) input: usize,
    pub(super) units: usize,
    pub(super) projection: Option<usize>,
}

/// Input size and units of a candidate, from shapes alone.
pub(super) fn sizes(candidate: &Candidate, shapes: &BTreeMap<&str, &[usize]>) -> Result<Sizes, Problem> {
    let (kind, variables) = (candidate.kind, &candidate.variables);
    let shape = |name: &String| shapes.get(name.as_str()).copied().unwrap_or_default();
    let (mut rows, mut columns) = (0usize, None);
    for name in &variables.kernel {
        let &[part_rows, part_columns] = shape(name) else {
            return Err(Problem::Rank { name: name.clone(), shape: shape(name).to_vec() });
        };
        if *columns.get_or_insert(part_columns) != part_columns {
            return Err(Problem::Rank { name: name.clone(), shape: shape(name).to_vec() });
        }
        rows = rows.saturating_add(part_rows);
    }
    let columns = columns.unwrap_or(0);
    let gates = kind.gates();
    if columns == 0 || !columns.is_multiple_of(gates) {
        if gates == 4 {
            return Err(CellError::Columns { rows, columns }.into());
        }
        let (name, found) = (variables.kernel[0].clone(), vec![rows, columns]);
        return Err(Problem::Misfit { name, found, kind, expected: format!("a multiple of {gates} columns") });
    }
    let groups = if kind == CellKind::Grouped { variables.kernel.len() } else { 1 };
    let units = (columns / gates).saturating_mul(groups);
    let columns = columns.saturating_mul(groups);
    let expect = |tensor, name: &String, expected: Vec<usize>| {
        let found = shape(name).to_vec();
        if found == expected { Ok(()) } else { Err(CellError::Shape { tensor, found, expected, units }) }
    };
    if let Some(bias) = &variables.bias {
        let biases = if kind == CellKind::KerasCudnn { 2 } else { 1 };
        expect("bias", bias, vec![columns.saturating_mul(biases)])?;
    }
    if let Some(peepholes) = &variables.peepholes {
        for name in peepholes {
            expect("peephole", name, vec![units])?;
        }
    }
    let projection = match &variables.projection[..] {
        [] => None,
        [name, others @ ..] => {
            let width = shape(name).get(1).copied().unwrap_or(0).max(1);
            let rows =
                |name: &String| if let &[rows, w] = shape(name) { Some(rows).filter(|_| w == width) } else { None };
            let all = others.iter().try_fold(0, |sum: usize, name| sum.checked_add(rows(name)?));
            // Of several parts, the first has what the others leave.
            let first = all.and_then(|others| units.checked_sub(others)).unwrap_or(units);
            expect("projection", name, vec![first, width])?;
            if let Some(odd) = others.iter().find(|name| rows(name).is_none()) {
                return Err(Problem::Rank { name: odd.clone(), shape: shape(odd).to_vec() });
            }
            Some(width)
        }
    };
    for (role, name) in &variables.extra {
        let expected = match role.as_str() {
            "kernel_u" => vec![1, columns],
            "norm_0" | "norm_1" => vec![columns],
            "projection/norm_0" => vec![projection.unwrap_or(0)],
            _ => vec![units],
        };
        let found = shape(name).to_vec();
        if found != expected {
            return Err(Problem::Misfit { name: name.clone(), found, kind, expected: format!("{expected:?}") });
        }
    }
    if kind.is_keras() {
        super::keras::check(variables, shapes, units)?;
    }
    let recurrent = projection.unwrap_or(units);
    let input = match kind {
        // The recurrent weights are apart.
        CellKind::Indy => Some(rows),
        CellKind::Grouped => {
            // Of every group's rows, its share of the recurrent ones.
            let each = variables.kernel.first().map_or(0, |k| shape(k)[0]);
            let same = variables.kernel.iter().all(|k| shape(k)[0] == each) && recurrent.is_multiple_of(groups);
            if !same {
                let (name, found) = (variables.kernel[0].clone(), shape(&variables.kernel[0]).to_vec());
                return Err(Problem::Misfit {
                    name,
                    found,
                    kind,
                    expected: "the same number of rows in every group".to_owned(),
                });
            }
            rows.checked_sub(recurrent)
        }
        _ => rows.checked_sub(recurrent),
    };
    match input.filter(|i| *i > 0) {
        Some(input) => Ok(Sizes { input, units, projection }),
        None => {
            let what = if projection.is_some() { "projected units" } else { "units" };
            Err(CellError::NoInput { rows, columns, units, recurrent, what }.into())
        }
    }
}
