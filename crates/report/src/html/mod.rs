//! A verification as one self-contained HTML file: no network, light and dark, readable without scripts.

mod chart;
mod heat;
mod tables;

use std::borrow::Cow;
use std::fmt::Write;

use crate::checks::{by_quantity, from_oracle, sizes};
use crate::document::{Timestep, VerifiedLstm, Verify};
use crate::printable;
use chart::{Series, chart};

/// The report of a verification. `command` repeats it.
pub fn html(document: &Verify, command: &str) -> String {
    let mut body = String::new();
    verdict(&mut body, document);
    for (index, lstm) in document.lstms.iter().enumerate() {
        section(&mut body, index, lstm);
    }
    provenance(&mut body, document, command);
    let title = format!("{} — gatewise verify", document.verdict.to_uppercase());
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{}</style></head><body>\n{body}\
         <div id=\"tip\" role=\"status\" aria-live=\"polite\"></div><script>{}</script></body></html>\n",
        include_str!("style.css"),
        include_str!("hover.js"),
    )
}

/// Text from anywhere, made safe inside HTML and to look at.
pub(crate) fn escape(text: &str) -> String {
    let text: Cow<'_, str> = printable(text);
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The same, with what stands between backticks as code.
fn with_code(text: &str) -> String {
    let escaped = escape(text);
    if !escaped.matches('`').count().is_multiple_of(2) {
        return escaped;
    }
    let pieces = escaped.split('`').enumerate();
    pieces
        .map(|(n, piece)| if n.is_multiple_of(2) { piece.to_owned() } else { format!("<code>{piece}</code>") })
        .collect()
}

fn verdict(out: &mut String, document: &Verify) {
    let class = match document.verdict.as_str() {
        known @ ("pass" | "fail" | "inconclusive") => known,
        _ => "inconclusive",
    };
    let _ = write!(
        out,
        "<h1>gatewise verify</h1><div class=\"verdict {class}\"><strong>{}</strong><p>{}</p></div>",
        escape(&document.verdict.to_uppercase()),
        escape(&crate::why(document))
    );
    tables::overview(out, &document.lstms);
    if document.reasons.len() > 1 {
        let _ = write!(out, "<h3>What else speaks against a pass</h3><ul>");
        for reason in document.reasons.iter().skip(1) {
            let whose =
                if reason.lstm.is_empty() { String::new() } else { format!("<code>{}</code>: ", escape(&reason.lstm)) };
            let _ = write!(out, "<li>{whose}{}</li>", escape(&reason.text));
        }
        out.push_str("</ul>");
    }
    let _ = write!(out, "<h3>What to do now</h3><ul>");
    for step in crate::next(document) {
        let _ = write!(out, "<li>{}</li>", with_code(&step));
    }
    out.push_str("</ul>");
    if !document.notes.is_empty() {
        let _ = write!(out, "<h3>What this rests on</h3><ul>");
        for note in &document.notes {
            let _ = write!(out, "<li>{}</li>", with_code(note));
        }
        out.push_str("</ul>");
    }
}

fn section(out: &mut String, index: usize, lstm: &VerifiedLstm) {
    let _ = write!(
        out,
        "<section><h2>{} <span class=\"facts\">→ {}</span></h2><p class=\"facts\">{}; {} values compared</p>",
        escape(&lstm.name),
        escape(&lstm.candidate),
        escape(&sizes(lstm)),
        lstm.compared
    );
    tables::diagnosis(out, &lstm.diagnosis);
    let of = |value: fn(&Timestep) -> f64| lstm.timesteps.iter().map(|t| Some(value(t))).collect::<Vec<_>>();
    let carried = [
        Series { name: "between the lanes", class: "s0", values: of(|t| t.carried.max_abs) },
        Series { name: "Keras lane from the truth", class: "s1", values: of(from_oracle) },
        Series { name: "farthest right run", class: "s2", values: of(|t| t.carried.noise_floor) },
        Series {
            name: "allowed",
            class: "s3",
            // Where right runs are anywhere, nothing is judged.
            values: lstm.timesteps.iter().map(|t| (!t.carried.saturated).then_some(t.carried.allowed)).collect(),
        },
    ];
    figure(
        out,
        &format!("carried-{index}"),
        "Carried divergence: each lane runs freely on its own state",
        "Largest |Δ| of h and c over all sequences and units; where it is zero its line has a gap. Where “allowed” ends, \
         right runs are themselves apart by chance.",
        &carried,
    );
    let local = [
        Series { name: "TF1 lane", class: "s0", values: of(|t| by_quantity(&t.local.tf1_ratio)) },
        Series { name: "Keras lane", class: "s1", values: of(|t| by_quantity(&t.local.keras_ratio)) },
        Series { name: "rounding bound", class: "s3", values: of(|_| 1.0) },
    ];
    figure(
        out,
        &format!("local-{index}"),
        "Local error: one step from the true state, as a share of its rounding bound",
        "The largest share over all sequences, units, states and gates. Above 1 rounding cannot be the cause.",
        &local,
    );
    if let Some(heat) = &lstm.heat {
        let _ = write!(
            out,
            "<figure><h3>Where: |Δh| between the lanes in sequence {}, the one furthest apart</h3>{}</figure>{}",
            heat.sequence,
            heat::heat(heat),
            tables::units(heat)
        );
    }
    tables::weights(out, &lstm.weights);
    tables::kills(out, lstm);
    tables::steps(out, &lstm.timesteps);
    out.push_str("</section>");
}

fn figure(out: &mut String, id: &str, title: &str, caption: &str, series: &[Series<'_>]) {
    let _ = write!(
        out,
        "<figure><h3>{}</h3>{}<figcaption>{}</figcaption></figure>",
        escape(title),
        chart(id, title, series),
        escape(caption)
    );
}

fn provenance(out: &mut String, document: &Verify, command: &str) {
    let _ = write!(out, "<section><h2>Provenance</h2><h3>To repeat it</h3><pre>{}</pre>", escape(command));
    out.push_str("<table class=\"facts-table\"><tbody>");
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>{value}</td></tr>", escape(name));
        }
    };
    let files = document.inputs.checkpoint.iter().map(|f| ("checkpoint", f));
    let files = files.chain(document.inputs.candidate.iter().map(|f| ("candidate", f)));
    for (role, file) in files.chain(document.inputs.recorded.iter().map(|f| ("recorded inputs", f))) {
        let (path, sha256) = (escape(&file.path), escape(&file.sha256));
        row(role, &format!("<code>{path}</code><br><span class=\"facts\">SHA-256 <code>{sha256}</code></span>"));
    }
    let s = &document.settings;
    row("candidate format", &escape(&document.inputs.candidate_format));
    row("inputs", &format!("{} sequences of {} steps, seed {}", s.sequences, s.timesteps, s.seed));
    let device = &document.device;
    row("device", &escape(&format!("{} ({}, {})", device.name, device.kind, device.backend)));
    row("driver", &escape(&device.driver));
    row("lanes", &escape(&s.lanes.join(", ")));
    let runs = if s.ensemble_members == 1 { "run" } else { "runs" };
    let members = format!("{} right {runs} of every sequence", s.ensemble_members);
    row("bound", &format!("λ = {}, carried factor {}, {members}", s.lambda, s.carried_factor));
    let budgets: Vec<String> = s.activation_budget_ulp.iter().map(|(name, ulp)| format!("{name} {ulp:.1}")).collect();
    row("activation budgets in ULP", &escape(&budgets.join(", ")));
    row("gatewise", &format!("version {}", env!("CARGO_PKG_VERSION")));
    out.push_str("</tbody></table></section>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href=\"x\">&'\u{1b}"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\\u{1b}");
    }
    #[test]
    fn what_stands_between_backticks_is_code() {
        assert_eq!(with_code("run `a <b>`, or `c`"), "run <code>a &lt;b&gt;</code>, or <code>c</code>");
        assert_eq!(with_code("one ` alone"), "one ` alone");
    }
}
