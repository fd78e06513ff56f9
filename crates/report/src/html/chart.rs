//! Line charts on a logarithmic scale, as SVG that reads without scripts and prints.

use std::fmt::Write;

use super::escape;

/// One line of a chart.
pub(super) struct Series<'a> {
    /// Its name in the legend.
    pub(super) name: &'a str,
    /// The CSS class that colours it: `s0` … `s3`.
    pub(super) class: &'a str,
    /// One value per step; `None`, zero and what is not finite leave a gap.
    pub(super) values: Vec<Option<f64>>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// More points than this say no more on a screen: of neighbours the largest is drawn.
const POINTS: usize = 800;

/// Decades that the chart shows, as powers of ten.
struct Decades {
    low: i32,
    high: i32,
}

impl Decades {
    fn of(series: &[Series<'_>]) -> Decades {
        let shown = || series.iter().flat_map(|s| &s.values).filter_map(|v| visible(*v)).map(f64::log10);
        let low = shown().fold(f64::INFINITY, f64::min);
        let high = shown().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Decades { low: -8, high: 0 };
        }
        let low = low.floor() as i32;
        Decades { low, high: (high.ceil() as i32).max(low + 1) }
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        TOP + (1.0 - share.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM)
    }
}

fn visible(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite() && *v > 0.0)
}

fn x(step: usize, steps: usize) -> f64 {
    let share = if steps > 1 { step as f64 / (steps - 1) as f64 } else { 0.5 };
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

/// A chart over the steps of a sequence. `id` is unique in the document and finds the numbers for the tooltip.
pub(super) fn chart(id: &str, title: &str, series: &[Series<'_>]) -> String {
    let steps = series.iter().map(|s| s.values.len()).max().unwrap_or(0);
    let decades = Decades::of(series);
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg class=\"chart\" id=\"{id}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" tabindex=\"0\" \
         aria-label=\"{}; left and right arrow keys read the numbers step by step\" \
         data-left=\"{LEFT}\" data-right=\"{RIGHT}\" data-width=\"{WIDTH}\" data-steps=\"{steps}\">",
        escape(title)
    );
    axes(&mut svg, &decades, steps);
    for line in series {
        let _ = write!(svg, "<path class=\"line {}\" d=\"{}\"/>", line.class, path(&line.values, &decades, steps));
    }
    let _ = write!(svg, "<line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{TOP}\" y2=\"{}\"/></svg>", HEIGHT - BOTTOM);
    let mut legend = String::new();
    for line in series {
        let _ = write!(
            legend,
            "<li><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"line {}\" d=\"M0 4H24\"/></svg>{}</li>",
            line.class,
            escape(line.name)
        );
    }
    format!("<ul class=\"legend\">{legend}</ul>{svg}{}", numbers(id, series))
}

fn axes(svg: &mut String, decades: &Decades, steps: usize) {
    let every = ((decades.high - decades.low) / 6 + 1).max(1);
    // Few decades have room for lines between them.
    let within: &[i32] = if decades.high - decades.low <= 2 { &[1, 2, 5] } else { &[1] };
    let powers = (decades.low..=decades.high).filter(|p| (p - decades.low) % every == 0);
    let lines = powers.flat_map(|power| within.iter().map(move |digit| (*digit, power)));
    for (digit, power) in lines.filter(|(digit, power)| *power < decades.high || *digit == 1) {
        let y = decades.y(f64::from(digit) * 10f64.powi(power));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{digit}e{power}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let last = steps.saturating_sub(1);
    let between = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000];
    let apart = between.into_iter().find(|apart| last / apart <= 10).unwrap_or(1_000_000);
    for step in (0..=last).step_by(apart) {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{step}</text>",
            x(step, steps),
            HEIGHT - BOTTOM + 16.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">time step</text>",
        WIDTH - RIGHT,
        HEIGHT - 4.0
    );
}

/// Straight lines between neighbouring values; a gap where there is none.
fn path(values: &[Option<f64>], decades: &Decades, steps: usize) -> String {
    let mut out = String::new();
    let mut pen_down = false;
    let together = values.len().div_ceil(POINTS).max(1);
    for (index, group) in values.chunks(together).enumerate() {
        let largest =
            group.iter().filter_map(|v| visible(*v)).fold(None, |m: Option<f64>, v| Some(m.map_or(v, |m| m.max(v))));
        let Some(value) = largest else {
            pen_down = false;
            continue;
        };
        let (x, y) = (x(index * together, steps), decades.y(value));
        // A value without neighbours would be invisible as a line: a dot of no length has round ends.
        let _ = write!(out, "{}{x:.1} {y:.1}", if pen_down { "L" } else { "M" });
        if !pen_down {
            let _ = write!(out, "l0 0");
        }
        pen_down = true;
    }
    out
}

/// The numbers behind a chart, for its tooltip.
fn numbers(id: &str, series: &[Series<'_>]) -> String {
    let named: Vec<_> = series
        .iter()
        .map(|s| {
            let values: Vec<Option<f64>> = s.values.iter().map(|v| v.filter(|v| v.is_finite())).collect();
            serde_json::json!({ "name": s.name, "values": values })
        })
        .collect();
    // `<` could end the script element early.
    let json = serde_json::Value::from(named).to_string().replace('<', "\\u003c");
    format!("<script type=\"application/json\" id=\"{id}-numbers\">{json}</script>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps_and_every_finite_value_is_drawn() {
        let values = vec![Some(1e-7), None, Some(1e-5), Some(f64::NAN), Some(0.0), Some(1e-6), Some(2e-6)];
        let series = [Series { name: "a", class: "s0", values }];
        let decades = Decades::of(&series);
        assert_eq!((decades.low, decades.high), (-7, -5));
        let path = path(&series[0].values, &decades, 7);
        assert_eq!(path.matches('M').count(), 3, "{path}");
        assert_eq!(path.matches('L').count(), 1, "{path}");
        assert!(decades.y(1e-5) < decades.y(1e-6) && decades.y(1e-5) >= TOP && decades.y(1e-7) <= HEIGHT - BOTTOM);
    }

    #[test]
    fn many_steps_keep_their_peaks() {
        let mut values = vec![Some(1e-7); 5000];
        values[3333] = Some(1.0);
        let series = [Series { name: "a", class: "s0", values }];
        let decades = Decades::of(&series);
        let drawn = path(&series[0].values, &decades, 5000);
        assert!(drawn.contains(&format!(" {:.1}", decades.y(1.0))));
        assert!(drawn.matches('L').count() <= POINTS);
    }

    #[test]
    fn names_cannot_leave_their_element() {
        let out = chart("c", "<b>", &[Series { name: "</script><script>", class: "s0", values: vec![Some(1.0)] }]);
        assert!(!out.contains("<b>") && !out.contains("</script><script>"), "{out}");
    }

    #[test]
    fn nothing_to_draw_is_no_panic() {
        assert!(chart("c", "t", &[]).contains("<svg"));
        assert!(chart("c", "t", &[Series { name: "a", class: "s0", values: vec![None, Some(0.0)] }]).contains("<svg"));
    }
}
