//! The tables of the report: what stands behind the pictures.

use std::fmt::Write;

use super::escape;
use crate::document::{Diagnosis, Timestep, VerifiedLstm, Weights};

fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value.is_finite() {
        format!("{value:.2e}")
    } else {
        "not a number".to_owned()
    }
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
        "<h3>Weights: {state}</h3><table><thead><tr><th>tensor</th><th class=\"n\">weights</th>\
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
    out.push_str("</tbody></table>");
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
         would have been seen in the outputs alone</summary><div class=\"scroll\"><table><thead><tr><th>mistake</th>\
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

/// The numbers of both charts.
pub(super) fn steps(out: &mut String, steps: &[Timestep]) {
    out.push_str(
        "<details><summary>Every step as a table</summary><div class=\"scroll\"><table><thead><tr><th class=\"n\">t</th>\
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
            number(c.keras_from_oracle.h.max(c.keras_from_oracle.c)),
            number(t.local.ratio),
            escape(&worst)
        );
    }
    out.push_str("</tbody></table></div></details>");
}
