//! Which part of a suite this run is: `--shard I/N`, or `auto` from the environment of a job array.

use std::str::FromStr;

use super::plan::Case;
use crate::error::CliError;

/// `--shard` as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardOption {
    /// From the environment.
    Auto,
    /// As said.
    Given(Shard),
}

/// One part of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Which, from 1.
    pub(crate) index: usize,
    /// Of how many.
    pub(crate) of: usize,
}

impl FromStr for ShardOption {
    type Err = String;

    fn from_str(text: &str) -> Result<ShardOption, String> {
        if text == "auto" {
            return Ok(ShardOption::Auto);
        }
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (index, of) = parts.ok_or("expected I/N, such as 1/4, or auto")?;
        Shard::new(index, of).map(ShardOption::Given)
    }
}

impl Shard {
    fn new(index: usize, of: usize) -> Result<Shard, String> {
        if index == 0 || index > of {
            return Err(format!("there is no part {index} of {of}: parts are counted from 1"));
        }
        Ok(Shard { index, of })
    }

    /// The cases of this part: in the order of their names, every N-th. Neither the order of the suite file nor that of
    /// a folder's entries matters.
    pub(crate) fn take(self, cases: &[Case]) -> Vec<&Case> {
        let mut by_name: Vec<&Case> = cases.iter().collect();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        let mut mine: Vec<&Case> = by_name.into_iter().skip(self.index - 1).step_by(self.of).collect();
        mine.sort_by_key(|c| c.index);
        mine
    }
}

impl ShardOption {
    /// The part to run. `variable` reads the environment.
    pub(crate) fn resolve(self, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, CliError> {
        match self {
            ShardOption::Given(shard) => Ok(shard),
            ShardOption::Auto => from_environment(variable).map_err(CliError::Shard),
        }
    }
}

/// The variables of systems that count parts and tell how many there are: index, count, and what the first index is.
const COUNTED: [(&str, &str, usize); 4] = [
    // Kubernetes tells a pod of an indexed job its index only.
    ("JOB_COMPLETION_INDEX", "GATEWISE_SHARDS", 0),
    ("CI_NODE_INDEX", "CI_NODE_TOTAL", 1),
    ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0),
    ("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0),
];

/// The user's own.
const OWN: (&str, &str, usize) = ("GATEWISE_SHARD", "GATEWISE_SHARDS", 1);

fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let number = |name: &str| -> Result<Option<usize>, String> {
        variable(name)
            .map(|text| text.parse().map_err(|_| format!("{name} is {text:?}: expected a number")))
            .transpose()
    };
    // What the user says outranks what the system says.
    let slurm_id = number("SLURM_ARRAY_TASK_ID")?;
    if let Some(id) = slurm_id.filter(|_| variable(OWN.0).is_none()) {
        return slurm(id, number);
    }
    for (index, count, first) in std::iter::once(OWN).chain(COUNTED) {
        let Some(found) = number(index)? else { continue };
        let of =
            number(count)?.ok_or_else(|| format!("{index} is set and {count} is not: of how many parts is it one?"))?;
        let position =
            found.checked_sub(first).ok_or_else(|| format!("{index} is {found}: expected at least {first}"))?;
        let next = position.checked_add(1).ok_or_else(|| format!("{index} is {found}: too large"))?;
        return Shard::new(next, of).map_err(|problem| format!("{index} is {found} and {count} is {of}: {problem}"));
    }
    let names: Vec<&str> = COUNTED.iter().map(|(index, ..)| *index).collect();
    Err(format!("none of {}, SLURM_ARRAY_TASK_ID, {} is set: say --shard I/N", OWN.0, names.join(", ")))
}

/// A task of a Slurm array, whose ids may begin anywhere and have a step. An array that is a list (`1,2,7`) does not tell
/// its tasks which of them they are.
fn slurm(id: usize, number: impl Fn(&str) -> Result<Option<usize>, String>) -> Result<Shard, String> {
    let need = |name: &str| number(name)?.ok_or_else(|| format!("SLURM_ARRAY_TASK_ID is set and {name} is not"));
    let (count, min, max) =
        (need("SLURM_ARRAY_TASK_COUNT")?, need("SLURM_ARRAY_TASK_MIN")?, need("SLURM_ARRAY_TASK_MAX")?);
    let span = max.checked_sub(min);
    let steps = count.checked_sub(1);
    let step = match (span, steps) {
        (Some(0), Some(0)) => Some(1),
        (Some(span), Some(steps)) if steps > 0 && span % steps == 0 => Some(span / steps),
        _ => None,
    };
    let position = step
        .filter(|step| *step > 0)
        .zip(id.checked_sub(min))
        .filter(|(step, from_first)| from_first % step == 0)
        .map(|(step, from_first)| from_first / step);
    match position.map(|p| Shard::new(p + 1, count)) {
        Some(Ok(shard)) => Ok(shard),
        _ => Err(format!(
            "task {id} of a Slurm array of {count} tasks from {min} to {max}: the ids are not evenly spaced, so that the \
             task cannot tell which part it is; say --array={min}-{}, or --shard I/N",
            min.saturating_add(count.saturating_sub(1))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(variables: &[(&str, &str)]) -> Result<(usize, usize), String> {
        from_environment(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
            .map(|s| (s.index, s.of))
    }

    #[test]
    fn parts_are_counted_from_one() {
        assert_eq!("2/3".parse(), Ok(ShardOption::Given(Shard { index: 2, of: 3 })));
        assert_eq!("auto".parse(), Ok(ShardOption::Auto));
        for bad in ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1 / 2"] {
            assert!(bad.parse::<ShardOption>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slurm_array_may_begin_anywhere_and_have_a_step() {
        let task = |id: &str, count: &str, min: &str, max: &str| {
            auto(&[
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_COUNT", count),
                ("SLURM_ARRAY_TASK_MIN", min),
                ("SLURM_ARRAY_TASK_MAX", max),
            ])
        };
        assert_eq!(task("0", "4", "0", "3"), Ok((1, 4)));
        assert_eq!(task("3", "4", "0", "3"), Ok((4, 4)));
        assert_eq!(task("7", "3", "5", "7"), Ok((3, 3)));
        assert_eq!(task("14", "3", "10", "18"), Ok((2, 3)));
        assert_eq!(task("9", "1", "9", "9"), Ok((1, 1)));
        // 1,2,7: what the middle one is cannot be told.
        for id in ["1", "2", "7"] {
            let told = task(id, "3", "1", "7");
            assert!(told.is_err() || id != "2", "{told:?}");
        }
        for bad in
            [task("2", "3", "1", "7"), task("8", "4", "0", "3"), task("0", "4", "1", "4"), task("1", "0", "1", "1")]
        {
            assert!(bad.is_err(), "{bad:?}");
        }
        assert!(auto(&[("SLURM_ARRAY_TASK_ID", "1")]).is_err());
        let own = [("SLURM_ARRAY_TASK_ID", "2"), ("GATEWISE_SHARD", "2"), ("GATEWISE_SHARDS", "3")];
        assert_eq!(auto(&own), Ok((2, 3)), "a list of ids, with what they are said by hand");
    }

    #[test]
    fn other_systems_tell_index_and_count() {
        assert_eq!(auto(&[("JOB_COMPLETION_INDEX", "0"), ("GATEWISE_SHARDS", "3")]), Ok((1, 3)));
        assert_eq!(auto(&[("CI_NODE_INDEX", "3"), ("CI_NODE_TOTAL", "3")]), Ok((3, 3)));
        assert_eq!(auto(&[("CIRCLE_NODE_INDEX", "2"), ("CIRCLE_NODE_TOTAL", "3")]), Ok((3, 3)));
        assert_eq!(auto(&[("BUILDKITE_PARALLEL_JOB", "1"), ("BUILDKITE_PARALLEL_JOB_COUNT", "2")]), Ok((2, 2)));
        assert_eq!(auto(&[("GATEWISE_SHARD", "2"), ("GATEWISE_SHARDS", "2")]), Ok((2, 2)));
        for bad in [
            &[][..],
            &[("JOB_COMPLETION_INDEX", "0")],
            &[("JOB_COMPLETION_INDEX", "3"), ("GATEWISE_SHARDS", "3")],
            &[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "3")],
            &[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "3")],
            &[("CIRCLE_NODE_INDEX", "18446744073709551615"), ("CIRCLE_NODE_TOTAL", "3")],
        ] {
            assert!(auto(bad).is_err(), "{bad:?}");
        }
    }
}
