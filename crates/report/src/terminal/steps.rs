//! The numbers of steps: of all, or of those that tell most.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::style::Style;
use crate::checks::{from_oracle, number, share, share_of_allowed, worst};
use crate::document::{Timestep, VerifiedLstm};

/// Which steps of every LSTM are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// The first, the last, those at which something is at its worst, and some in between.
    Telling,
    /// Every one.
    All,
}

/// So many are shown whole.
const FEW: usize = 8;

/// A table of steps.
pub(super) fn steps(lstm: &VerifiedLstm, which: Steps, style: Style) -> String {
    let all = &lstm.timesteps;
    let shown = match which {
        Steps::Telling if all.len() > FEW => telling(all),
        _ => (0..all.len()).collect(),
    };
    let mut out = format!(
        "  {}\n  {}\n",
        style.faint("step  lanes apart          Keras from  allowed    local/   worst at"),
        style.faint("      h         c          the oracle             bound    sequence:unit"),
    );
    for step in shown.iter().filter_map(|t| all.get(*t)) {
        row(&mut out, step);
    }
    if shown.len() < all.len() {
        let text = format!("{} of {} steps; --steps shows all", shown.len(), all.len());
        let _ = writeln!(out, "  {}", style.faint(&text));
    }
    out
}

fn telling(all: &[Timestep]) -> BTreeSet<usize> {
    let last = all.len().saturating_sub(1);
    let mut shown: BTreeSet<usize> = (0..=4).map(|quarter| last * quarter / 4).collect();
    let worst = [worst(all, |t| t.carried.max_abs), worst(all, share_of_allowed), worst(all, |t| t.local.ratio)];
    let index = |step: &Timestep| all.iter().position(|t| t.t == step.t);
    shown.extend(worst.into_iter().flatten().filter_map(index));
    shown
}

fn row(out: &mut String, t: &Timestep) {
    let c = &t.carried;
    let at = match (c.non_finite, &c.at) {
        (0, Some(at)) => format!("{} {}:{}", at.state, at.sequence, at.unit),
        (0, None) => String::new(),
        (n, _) => format!("{n} not finite"),
    };
    let line = format!(
        "  {:>4}  {:<8}  {:<8}   {:<8}    {:<8}   {:<7}  {at}",
        t.t,
        number(c.lanes.h),
        number(c.lanes.c),
        number(from_oracle(t)),
        if c.saturated { "any".to_owned() } else { number(c.allowed) },
        share(t.local.ratio),
    );
    let _ = writeln!(out, "{}", line.trim_end());
}
