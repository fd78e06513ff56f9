//! The tables of the report: what stands behind the pictures.

use std::fmt::Write;

use super::escape;
use crate::checks::{checks, from_oracle};
use crate::document::{Diagnosis, Heat, Timestep, VerifiedLstm, Weights};

fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.is_finite() {
        format!("{value:.2e}")
    } else {
        "not a number".to_owned()
    }
}

/// What must hold of every LSTM, at a glance.
pub(super) fn overview(out: &mut String, lstms: &[VerifiedLstm]) {
    out.push_str(
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"overview\"><thead><tr><th>check</th><th>result</th>\
         <th>found</th><th>worst at</th></tr></thead>",
    );
    for lstm in lstms {
        let _ = write!(
            out,
            "<tbody><tr><th class=\"whose\" scope=\"rowgroup\" colspan=\"4\"><code>{}</code></th></tr>",
            escape(&lstm.name)
        );
        for check in checks(lstm) {
            let class = match check.holds {
                Some(true) => "yes",
                Some(false) => "no",
                None => "hidden",
            };
            let _ = write!(
                out,
                "<tr><td>{}</td><td class=\"{class}\">{}</td><td>{}</td><td>{}</td></tr>",
                check.name,
                check.result(),
                escape(&check.found),
                escape(&check.worst)
            );
        }
        out.push_str("</tbody>");
    }
    out.push_str("</table></div>");
}

pub(super) fn diagnosis(out: &mut String, found: &[Diagnosis]) {
    if found.is_empty() {
        return;
    }
    out.push_str("<h3>Diagnosis</h3><ul>");
    for d in found {
        let _ = write!(
            out,
            "<li><code>{}</code>: {}. <em>{}</em></li>",
            escape(&d.fault),
            escape(&d.text),
            escape(&d.advice)
        );
    }
    out.push_str("</ul>");
}

pub(super) fn weights(out: &mut String, weights: &Weights) {
    let state = if weights.equal { "<span class=\"yes\">equal</span>" } else { "<span class=\"no\">different</span>" };
    let _ = write!(
        out,
        "<h3>Weights: {state}</h3><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>tensor</th><th class=\"n\">weights</th>\
         <th class=\"n\">differ</th><th class=\"n\">largest |Δ|</th><th>at</th></tr></thead><tbody>"
    );
    for t in &weights.tensors {
        let at = t.at.map_or_else(String::new, |[row, column]| format!("[{row}, {column}]"));
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{at}</td></tr>",
            escape(&t.tensor),
            t.count,
            t.differing,
            number(t.max_abs)
        );
    }
    out.push_str("</tbody></table></div>");
    for setting in &weights.settings {
        let _ = write!(out, "<p class=\"no\">{}</p>", escape(setting));
    }
}

/// The kill table.
pub(super) fn kills(out: &mut String, lstm: &VerifiedLstm) {
    let seen = lstm.sensitivity.iter().filter(|k| k.detected == Some(true)).count();
    let can = lstm.sensitivity.iter().filter(|k| k.detected.is_some()).count();
    let _ = write!(
        out,
        "<h3>Would a mistake have been seen?</h3><details><summary>{seen} of {can} mistakes that can show on this cell \
         would have been seen in the outputs alone</summary><div class=\"scroll\" tabindex=\"0\"><table class=\"kills\"><thead><tr><th>mistake</th>\
         <th>seen</th><th class=\"n\">times the bound</th><th>in words</th></tr></thead><tbody>"
    );
    for kill in &lstm.sensitivity {
        let (class, word) = match kill.detected {
            Some(true) => ("yes", "yes"),
            Some(false) => ("no", "no"),
            None => ("hidden", "cannot show"),
        };
        let words = kill.why.as_ref().map_or_else(|| kill.text.clone(), |why| format!("{}: {why}", kill.text));
        let margin = if kill.detected.is_some() { number(kill.margin) } else { String::new() };
        let _ = write!(
            out,
            "<tr><td><code>{}</code></td><td class=\"{class}\">{word}</td><td class=\"n\">{margin}</td><td>{}</td></tr>",
            escape(&kill.fault),
            escape(&words)
        );
    }
    out.push_str("</tbody></table></div></details>");
    if let Some(change) = &lstm.smallest_change {
        let _ = write!(
            out,
            "<p class=\"facts\">Smallest relative change of one weight that would have been seen: {} in the median, {} \
             for 95 in 100 weights; {} of {} weights show no change up to their own size.</p>",
            number(change.median),
            number(change.p95),
            change.invisible,
            change.weights
        );
    }
}

/// Units that the table of the heat map lists.
const UNITS: usize = 50;
/// Tables of more rows stay closed in print.
const PRINTED: usize = 200;

/// What stands behind the heat map: each unit's largest difference, the largest first.
pub(super) fn units(heat: &Heat) -> String {
    // What is not finite is larger than anything.
    let rank = |v: f64| if v.is_finite() { v } else { f64::INFINITY };
    let largest = |row: &Vec<Option<f64>>| {
        let steps = row.iter().enumerate().filter_map(|(t, v)| Some((t, (*v)?)));
        steps.reduce(|a, b| if rank(b.1) > rank(a.1) { b } else { a })
    };
    let mut units: Vec<(usize, usize, f64)> =
        heat.values.iter().enumerate().filter_map(|(unit, row)| largest(row).map(|(t, v)| (unit, t, v))).collect();
    units.sort_by(|a, b| rank(b.2).total_cmp(&rank(a.2)).then(a.0.cmp(&b.0)));
    let shown = units.len().min(UNITS);
    let mut out = format!(
        "<details><summary>The {shown} units furthest apart, of {}, as a table</summary><div class=\"scroll\" tabindex=\"0\">\
         <table><thead><tr><th class=\"n\">unit</th><th class=\"n\">largest |Δh|</th><th class=\"n\">at step</th></tr>\
         </thead><tbody>",
        units.len()
    );
    for (unit, t, value) in units.iter().take(UNITS) {
        let _ = write!(
            out,
            "<tr><td class=\"n\">{unit}</td><td class=\"n\">{}</td><td class=\"n\">{t}</td></tr>",
            number(*value)
        );
    }
    out + "</tbody></table></div></details>"
}

/// The numbers of both charts.
pub(super) fn steps(out: &mut String, steps: &[Timestep]) {
    let long = if steps.len() > PRINTED { " class=\"long\"" } else { "" };
    let _ = write!(
        out,
        "<details{long}><summary>Every step as a table</summary><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th class=\"n\">t</th>\
         <th class=\"n\">lanes |Δ|</th><th class=\"n\">relative</th><th class=\"n\">ULP</th><th class=\"n\">RMS</th>\
         <th class=\"n\">Keras from truth</th><th class=\"n\">allowed</th><th class=\"n\">local / bound</th><th>worst</th>\
         </tr></thead><tbody>",
    );
    for t in steps {
        let c = &t.carried;
        let worst = c.at.as_ref().map_or_else(String::new, |at| format!("{} {}:{}", at.state, at.sequence, at.unit));
        let allowed = if c.saturated { "—".to_owned() } else { number(c.allowed) };
        let _ = write!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{allowed}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            t.t,
            number(c.max_abs),
            number(c.max_rel),
            c.max_ulp,
            number(c.rms),
            number(from_oracle(t)),
            number(t.local.ratio),
            escape(&worst)
        );
    }
    out.push_str("</tbody></table></div></details>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_furthest_apart_come_first_and_what_is_not_a_number_before_them() {
        let values =
            vec![vec![Some(1e-7), Some(3e-7)], vec![None, Some(f64::NAN)], vec![Some(2e-3), None], vec![None, None]];
        let table = units(&Heat { sequence: 0, values });
        let rows: Vec<&str> = table.split("<tr><td").skip(1).collect();
        assert_eq!(rows.len(), 3, "{table}");
        assert!(rows[0].contains(">1</td>") && rows[0].contains("not a number"), "{table}");
        assert!(rows[1].contains(">2</td>") && rows[1].contains("2.00e-3"), "{table}");
        assert!(
            rows[2].contains("3.00e-7") && rows[2].ends_with("1</td></tr></tbody></table></div></details>"),
            "{table}"
        );
    }
}
