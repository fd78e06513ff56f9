//! A roofline picture of a benchmark, as one SVG file (Williams, Waterman, Patterson: "Roofline: an insightful visual
//! performance model", CACM 52(4), 2009): how many operations a second each implementation does, under what the device can
//! do at most with so many operations for each byte that it must move.

use std::fmt::Write;

use crate::bench_text::title;
use crate::document::{Bench, BenchCase, BenchResult, BenchTime};
use crate::html::escape;

const WIDTH: f64 = 860.0;
const PLOT_HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 58.0;
const LINE: f64 = 20.0;
/// Beside colours, so that points are told apart in print and by everyone.
const MARKS: [&str; 6] = [
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0",
    "M-4.5-4.5h9v9h-9z",
    "M0-6L6 5H-6z",
    "M0-6.5L6.5 0L0 6.5L-6.5 0z",
    "M0 6L6-5H-6z",
    "M-5.5-2h3.5v-3.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5z",
];
const STYLE: &str = "
svg { --back: #ffffff; --ink: #1c2024; --faint: #8b9097; --grid: #e4e7ea; background: var(--back); }
.m0 { --c: #0b62d6; } .m1 { --c: #b3471d; } .m2 { --c: #11804b; } .m3 { --c: #8a3fc0; } .m4 { --c: #a07400; } .m5 { --c: #c2185b; }
@media (prefers-color-scheme: dark) {
  svg { --back: #15181b; --ink: #e8eaed; --faint: #8d939a; --grid: #2a2f34; }
  .m0 { --c: #6aa8ff; } .m1 { --c: #ff9a6b; } .m2 { --c: #55d193; } .m3 { --c: #cf9bf5; } .m4 { --c: #e5bd4f; } .m5 { --c: #ff7fae; }
}
text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.back { fill: var(--back); } .title { font-size: 16px; font-weight: 600; } .small { font-size: 12px; fill: var(--faint); }
.grid { stroke: var(--grid); } .case { stroke: var(--faint); stroke-dasharray: 2 4; }
.roof { stroke: var(--ink); stroke-width: 2; fill: none; } .mark { fill: var(--c); stroke: var(--back); }
";

/// A range of decades on a logarithmic axis.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Whole decades around the values, drawn between two places.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let shown = values.filter(|v| v.is_finite() && *v > 0.0).map(f64::log10);
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            return Axis { low: 0.0, high: 1.0, from, to };
        }
        Axis { low: low.floor(), high: high.ceil().max(low.floor() + 1.0), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = (i32, f64)> {
        (self.low as i32..=self.high as i32).map(|power| (power, self.place(10f64.powi(power))))
    }
}

/// The picture.
pub fn roofline(document: &Bench) -> String {
    let timed: Vec<(&BenchResult, &BenchTime)> =
        document.results.iter().filter_map(|r| Some((r, r.time.as_ref()?))).collect();
    let (mut names, mut cases): (Vec<&str>, Vec<(&BenchCase, f64)>) = (vec![], vec![]);
    for (result, time) in &timed {
        if !names.contains(&result.implementation) {
            names.push(result.implementation);
        }
        if !cases.iter().any(|(case, _)| *case == &result.case) {
            cases.push((&result.case, time.intensity));
        }
    }
    let (peak, copy) = (document.device.peak_gflops, document.device.copy_gb_s);
    let ridge = peak / copy;
    let x = Axis::over(cases.iter().map(|(_, i)| *i).chain([ridge / 2.0, ridge * 2.0]), LEFT, WIDTH - RIGHT);
    let roof = |intensity: f64| (copy * intensity).min(peak);
    let ends = [10f64.powf(x.low), 10f64.powf(x.high)];
    let y = Axis::over(
        timed.iter().map(|(_, t)| t.gflops).chain([peak, roof(ends[0]).max(peak / 1e4)]),
        TOP + PLOT_HEIGHT,
        TOP,
    );

    let bottom = TOP + PLOT_HEIGHT;
    let rows = names.len().max(cases.len()) as f64;
    let height = bottom + 62.0 + rows * LINE;
    let mut svg = String::new();
    let name = escape(&document.device.device.name);
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Roofline of LSTM inference on {name}\"><style>{STYLE}</style>\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\
         <text class=\"title\" x=\"{LEFT}\" y=\"26\">LSTM inference on {name}</text>"
    );
    axes(&mut svg, &x, &y, bottom);
    let line: Vec<String> =
        [ends[0], ridge, ends[1]].iter().map(|i| format!("{:.1},{:.1}", x.place(*i), y.place(roof(*i)))).collect();
    let _ = write!(
        svg,
        "<polyline class=\"roof\" points=\"{}\"/>\
         <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{peak:.0} GFLOP/s, {copy:.1} GB/s measured</text>",
        line.join(" "),
        WIDTH - RIGHT,
        y.place(peak) - 8.0
    );
    for (index, (_, intensity)) in cases.iter().enumerate() {
        let at = x.place(*intensity);
        let _ = write!(
            svg,
            "<line class=\"case\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            TOP - 6.0,
            letter(index)
        );
    }
    for (result, time) in &timed {
        let which = names.iter().position(|n| *n == result.implementation).unwrap_or(0) % MARKS.len();
        let _ = write!(
            svg,
            "<path class=\"mark m{which}\" transform=\"translate({:.1} {:.1})\" d=\"{}\"><title>{}: {}, {:.3} ms, {:.1} \
             GFLOP/s</title></path>",
            x.place(time.intensity),
            y.place(time.gflops),
            MARKS[which],
            escape(result.implementation),
            escape(&title(&result.case)),
            time.median_ms,
            time.gflops
        );
    }
    legend(&mut svg, &names, &cases, bottom + 62.0);
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, x: &Axis, y: &Axis, bottom: f64) {
    for (power, at) in x.decades() {
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"small\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            decade(power)
        );
    }
    for (power, at) in y.decades() {
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            decade(power)
        );
    }
    let _ = write!(
        svg,
        "<text class=\"small\" x=\"{}\" y=\"{}\" text-anchor=\"end\">operations for each byte that must be moved</text>\
         <text class=\"small\" x=\"12\" y=\"{}\">GFLOP/s</text>",
        WIDTH - RIGHT,
        bottom + 38.0,
        TOP - 8.0
    );
}

fn decade(power: i32) -> String {
    match power {
        0..=6 => format!("{}", 10u64.pow(power.unsigned_abs())),
        -3..0 => format!("{}", 10f64.powi(power)),
        _ => format!("1e{power}"),
    }
}

/// A, B, … Z, and numbers after that.
fn letter(index: usize) -> String {
    u8::try_from(index).ok().filter(|i| *i < 26).map_or_else(|| index.to_string(), |i| char::from(b'A' + i).to_string())
}

fn legend(svg: &mut String, names: &[&str], cases: &[(&BenchCase, f64)], top: f64) {
    for (index, name) in names.iter().enumerate() {
        let y = top + index as f64 * LINE;
        let mark = index % MARKS.len();
        let _ = write!(
            svg,
            "<path class=\"mark m{mark}\" transform=\"translate({} {})\" d=\"{}\"/><text x=\"{}\" y=\"{y}\">{}</text>",
            LEFT + 6.0,
            y - 4.0,
            MARKS[mark],
            LEFT + 20.0,
            escape(name)
        );
    }
    for (index, (case, _)) in cases.iter().enumerate() {
        let y = top + index as f64 * LINE;
        let _ =
            write!(svg, "<text x=\"{}\" y=\"{y}\">{}  {}</text>", LEFT + 200.0, letter(index), escape(&title(case)));
    }
}
