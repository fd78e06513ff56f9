//! A heat map of units × steps, as SVG: one path for each level of a logarithmic scale.

use std::fmt::Write;

use super::escape;
use crate::document::Heat;

const WIDTH: usize = 760;
const LEFT: usize = 64;
const RIGHT: usize = 14;
const TOP: usize = 6;
const BOTTOM: usize = 34;
/// More cells than these cannot be told apart: of neighbours the largest is drawn.
const ROWS: usize = 96;
const COLUMNS: usize = 200;
/// Levels of the scale above zero.
const LEVELS: usize = 10;

/// The picture with its scale, or a sentence where there is nothing to see.
pub(super) fn heat(heat: &Heat) -> String {
    let (units, steps) = (heat.values.len(), heat.values.first().map_or(0, Vec::len));
    let (tall, wide) = (units.div_ceil(ROWS).max(1), steps.div_ceil(COLUMNS).max(1));
    let cells: Vec<Vec<Option<f64>>> = heat.values.chunks(tall).map(|rows| merge(rows, wide)).collect();
    let finite = || cells.iter().flatten().flatten().copied().filter(|v| v.is_finite() && *v > 0.0);
    let broken = cells.iter().flatten().flatten().any(|v| !v.is_finite());
    let high = finite().fold(0.0, f64::max);
    if high == 0.0 && !broken {
        return "<p class=\"facts\">The lanes give the same outputs, bit for bit.</p>".to_owned();
    }
    // Below a thousandth of the largest nothing matters, and colours are few.
    let low = finite().fold(high, f64::min).max(high * 1e-3);
    let level = |value: f64| match value {
        v if !v.is_finite() => LEVELS,
        v if v <= 0.0 => 0,
        v => 1 + ((LEVELS - 1) as f64 * share(v, low, high)).round() as usize,
    };

    let columns = cells.first().map_or(1, Vec::len).max(1);
    let (cell_w, cell_h) = ((WIDTH - LEFT - RIGHT) as f64 / columns as f64, row_height(cells.len()));
    let height = TOP as f64 + cell_h * cells.len() as f64 + BOTTOM as f64;
    let mut paths = vec![String::new(); LEVELS + 1];
    for (r, row) in cells.iter().enumerate() {
        let mut c = 0;
        while c < row.len() {
            let Some(value) = row[c] else {
                c += 1;
                continue;
            };
            let at = level(value);
            let run = row[c..].iter().take_while(|v| v.is_some_and(|v| level(v) == at)).count();
            let (x, y) = (LEFT as f64 + cell_w * c as f64, TOP as f64 + cell_h * r as f64);
            let _ =
                write!(paths[at], "M{x:.1} {y:.1}h{:.1}v{cell_h:.1}h-{:.1}z", cell_w * run as f64, cell_w * run as f64);
            c += run;
        }
    }
    let label = format!("units by time steps of sequence {}, |Δ| from {low:.1e} to {high:.1e}", heat.sequence);
    let mut svg = format!(
        "<svg class=\"heat\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        escape(&label)
    );
    for (at, path) in paths.iter().enumerate().filter(|(_, p)| !p.is_empty()) {
        let _ = write!(svg, "<path class=\"h\" fill-opacity=\"{}\" d=\"{path}\"/>", opacity(at));
    }
    let bottom = height - BOTTOM as f64;
    let last = units.saturating_sub(1);
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{x}\" y=\"{:.0}\" text-anchor=\"end\">unit 0</text>\
         <text class=\"tick\" x=\"{x}\" y=\"{bottom:.0}\" text-anchor=\"end\">{last}</text>\
         <text class=\"tick\" x=\"{LEFT}\" y=\"{:.0}\">0</text>\
         <text class=\"tick\" x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">time step {}</text></svg>",
        TOP + 11,
        bottom + 16.0,
        WIDTH - RIGHT,
        bottom + 16.0,
        steps.saturating_sub(1),
        x = LEFT - 6,
    );
    let mut scale = String::new();
    for at in 0..=LEVELS {
        let _ = write!(
            scale,
            "<rect class=\"h\" fill-opacity=\"{}\" x=\"{}\" width=\"12\" height=\"10\"/>",
            opacity(at),
            12 * at
        );
    }
    format!(
        "<p class=\"facts\">0 <svg class=\"scale\" viewBox=\"0 0 132 10\" aria-hidden=\"true\">{scale}</svg> {high:.1e} (logarithmic from {low:.1e})</p>{svg}"
    )
}

fn row_height(rows: usize) -> f64 {
    (260.0 / rows.max(1) as f64).clamp(2.5, 18.0)
}

fn opacity(level: usize) -> String {
    if level == 0 { "0.06".to_owned() } else { format!("{:.2}", 0.12 + 0.88 * level as f64 / LEVELS as f64) }
}

/// Where a value lies between two others on a logarithmic scale, 0 to 1.
fn share(value: f64, low: f64, high: f64) -> f64 {
    if high > low { ((value / low).ln() / (high / low).ln()).clamp(0.0, 1.0) } else { 1.0 }
}

/// The largest of `wide` neighbours in all of `rows`; what is not finite is larger than anything.
fn merge(rows: &[Vec<Option<f64>>], wide: usize) -> Vec<Option<f64>> {
    let columns = rows.first().map_or(0, Vec::len);
    let larger = |a: f64, b: f64| if a.is_finite() && (!b.is_finite() || b > a) { b } else { a };
    (0..columns)
        .step_by(wide)
        .map(|c| rows.iter().flat_map(|r| r.iter().skip(c).take(wide)).flatten().copied().reduce(larger))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: Vec<Vec<Option<f64>>>) -> String {
        heat(&Heat { sequence: 3, values })
    }

    #[test]
    fn equal_outputs_are_said_in_words() {
        assert!(values(vec![vec![Some(0.0); 4]; 2]).contains("bit for bit"));
    }

    #[test]
    fn cells_take_their_level_and_gaps_stay_empty() {
        let out = values(vec![vec![Some(0.0), Some(1e-7)], vec![None, Some(1e-4)]]);
        assert_eq!(out.matches("<path").count(), 3, "{out}");
        assert!(out.contains("1.0e-4") && out.contains("sequence 3"));
    }

    #[test]
    fn what_is_not_a_number_has_the_strongest_colour() {
        let out = values(vec![vec![Some(f64::NAN), Some(1e-7)]]);
        assert!(out.contains(&format!("fill-opacity=\"{}\" d=", opacity(LEVELS))), "{out}");
        assert!(values(vec![vec![Some(f64::INFINITY)]]).contains("<path"));
    }

    #[test]
    fn large_maps_stay_small_and_keep_their_peak() {
        let mut grid = vec![vec![Some(1e-7); 5000]; 1000];
        grid[777][4321] = Some(1e-2);
        let out = values(grid);
        assert!(out.len() < 100_000 && out.contains("1.0e-2"), "{}", out.len());
    }
}
