//! Curves over time in one line of text each, on one logarithmic scale.

use std::fmt::Write;

use super::style::Style;

/// Columns of a curve: with its name before it, a line fits.
const COLUMNS: usize = 64;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// From light to dark.
const ASCII: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '@'];
/// A value that is not finite.
const BROKEN: char = '!';

/// One curve: a value per step, `None` where there is none.
pub(super) struct Curve<'a> {
    pub(super) name: &'a str,
    pub(super) values: Vec<Option<f64>>,
}

/// Curves of the same steps, with a heading that says the scale. Nothing if there is nothing to draw.
pub(super) fn curves(title: &str, curves: &[Curve<'_>], style: Style) -> String {
    let drawn = || curves.iter().flat_map(|c| &c.values).filter_map(|v| v.filter(|v| v.is_finite() && *v > 0.0));
    let (low, high) = drawn().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
    let steps = curves.iter().map(|c| c.values.len()).max().unwrap_or(0);
    if low > high || steps == 0 {
        return String::new();
    }
    let heading = format!("{title}, steps 0 to {}, from {low:.1e} to {high:.1e} (log scale)", steps - 1);
    let mut out = format!("  {}\n", style.faint(&heading));
    for curve in curves {
        let _ = writeln!(out, "  {:<9} {}", curve.name, line(curve, (low, high), steps, style).trim_end());
    }
    out
}

fn line(curve: &Curve<'_>, (low, high): (f64, f64), steps: usize, style: Style) -> String {
    let levels = if style.unicode { BLOCKS } else { ASCII };
    let level = |value: f64| {
        let share = if high > low { (value / low).ln() / (high / low).ln() } else { 0.5 };
        levels[((share * 8.0) as usize).min(7)]
    };
    let columns = steps.min(COLUMNS);
    // Every step belongs to one column, of which the largest value is drawn.
    let column =
        |c: usize| curve.values.iter().skip(c * steps / columns).take((c + 1) * steps / columns - c * steps / columns);
    let larger = |a: f64, b: f64| if a.is_finite() && (!b.is_finite() || b > a) { b } else { a };
    (0..columns)
        .map(|c| match column(c).flatten().copied().reduce(larger) {
            Some(value) if !value.is_finite() => BROKEN,
            Some(value) if value > 0.0 => level(value),
            _ => ' ',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Style = Style { color: false, unicode: true };

    fn only(values: Vec<Option<f64>>, style: Style) -> String {
        let out = curves("title", &[Curve { name: "a", values }], style);
        out.lines().nth(1).map(|l| l.trim_start_matches("  a").trim_start().to_owned()).unwrap_or_default()
    }

    #[test]
    fn decades_are_equal_steps() {
        let values: Vec<_> = (-8..=-1).map(|p| Some(10f64.powi(p))).collect();
        assert_eq!(only(values.clone(), UNICODE), "▁▂▃▄▅▆▇█");
        assert_eq!(only(values, Style::PLAIN), ".:-=+*#@");
    }

    #[test]
    fn many_steps_keep_their_peaks_and_what_is_broken() {
        let mut values = vec![Some(1e-7); 10_000];
        values[7777] = Some(1.0);
        values[3] = Some(f64::NAN);
        let line = only(values, Style::PLAIN);
        assert_eq!((line.len(), line.matches('@').count(), line.matches('!').count()), (COLUMNS, 1, 1), "{line}");
        assert_eq!(line.find('@'), Some(7777 * COLUMNS / 10_000));
    }

    #[test]
    fn gaps_stay_gaps_and_nothing_is_no_curve() {
        assert_eq!(only(vec![Some(1.0), None, Some(0.0), Some(100.0)], Style::PLAIN), ".  @");
        assert_eq!(curves("title", &[Curve { name: "a", values: vec![None, Some(0.0), Some(f64::NAN)] }], UNICODE), "");
        assert_eq!(curves("title", &[], UNICODE), "");
        assert_eq!(only(vec![Some(2.0); 3], Style::PLAIN), "+++");
    }
}
