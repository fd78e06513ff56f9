//! Inspection, conversion and devices for people.

use std::fmt::Write;

use super::style::Style;
use crate::document::{Convert, Devices, Inspect, Lstm};
use crate::printable;

/// What a checkpoint holds.
pub fn inspect(document: &Inspect, style: Style) -> String {
    let mut out = String::new();
    let version = document
        .tensorflow_version
        .as_ref()
        .map_or_else(String::new, |v| format!(", graph of TensorFlow {}", printable(v)));
    let _ = writeln!(
        out,
        "{}  {}{version}",
        style.heading(&printable(&document.path)),
        match document.format.as_str() {
            "v1" | "v2" => format!("checkpoint {}", document.format.to_uppercase()),
            other => other.to_owned(),
        }
    );
    // HDF5 and frozen graphs have no checksums over their values.
    let verified = if matches!(document.format.as_str(), "v1" | "v2" | "saved-model" | "tf2-checkpoint") {
        ", every checksum verified"
    } else {
        ""
    };
    let _ = writeln!(out, "{} variables{verified}", document.variables.len());

    let _ = writeln!(out, "\n{}", style.heading("LSTMs"));
    if document.lstms.is_empty() {
        let _ = writeln!(out, "  none found");
    }
    for lstm in &document.lstms {
        one_lstm(&mut out, lstm, style);
    }
    for bad in &document.malformed {
        let _ = writeln!(out, "  {}  {}: {}", style.bad("malformed"), printable(&bad.name), printable(&bad.problem));
    }
    for note in &document.notes {
        let _ = writeln!(out, "  note: {}", printable(note));
    }

    let _ = writeln!(out, "\n{}", style.heading("Variables"));
    let width = document.variables.iter().map(|v| printable(&v.name).chars().count()).max().unwrap_or(0).min(60);
    for v in &document.variables {
        let shape = format!("{:?}", v.shape);
        let _ = writeln!(out, "  {:<width$}  {:<8} {:<14} {}", printable(&v.name), v.dtype, shape, v.sha256);
    }
    if !document.ignored.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Not part of an LSTM"));
        for ignored in &document.ignored {
            let _ = writeln!(out, "  {:<width$}  {}", printable(&ignored.name), printable(&ignored.why));
        }
    }
    out
}

fn one_lstm(out: &mut String, lstm: &Lstm, style: Style) {
    let _ = writeln!(out, "  {}", style.heading(&printable(&lstm.name)));
    let _ = writeln!(
        out,
        "    {}, {} inputs, {} units, layer {} of {}, {}",
        lstm.cell,
        lstm.input_size,
        lstm.units,
        lstm.layer,
        printable(&lstm.network),
        lstm.direction
    );
    let _ = writeln!(out, "    forget bias {} ({})", lstm.forget_bias.value, lstm.forget_bias.origin);
    let _ = writeln!(out, "    activation {} ({})", lstm.activation.value, lstm.activation.origin);
    if lstm.recurrent_activation.source != "cell-default" || lstm.cell.starts_with("tf.keras") {
        let _ = writeln!(out, "    gates {} ({})", lstm.recurrent_activation.value, lstm.recurrent_activation.origin);
    }
    if let Some(averages) = &lstm.averages {
        let open = if averages.open { "; say which count with --weights" } else { "" };
        let _ = writeln!(out, "    moving averages beside the weights: {} taken{open}", averages.used);
    }
    if let Some(width) = lstm.projection {
        let _ = writeln!(out, "    projected to {width}");
    }
    if lstm.peephole {
        let _ = writeln!(out, "    peepholes");
    }
    if let Some(clip) = lstm.cell_clip {
        let _ = writeln!(out, "    cell state clipped to ±{clip} (read from the graph)");
    }
    if let Some(clip) = lstm.projection_clip {
        let _ = writeln!(out, "    projected output clipped to ±{clip}");
    }
    if lstm.layer_norm {
        let _ = writeln!(out, "    gates and state normalised");
    }
    let keras = match &lstm.keras.reason {
        None => "can be a Keras LSTM".to_owned(),
        Some(reason) => format!("cannot be a Keras LSTM: {reason}"),
    };
    let _ = writeln!(out, "    {keras}");
}

/// What a conversion wrote.
pub fn convert(document: &Convert, style: Style) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} {} ({})", style.good("wrote"), printable(&document.output), document.format);
    for layer in &document.layers {
        let cells: Vec<_> = layer.cells.iter().map(|c| printable(c)).collect();
        let units: Vec<String> = layer.units.iter().map(usize::to_string).collect();
        let _ = writeln!(
            out,
            "  {} <- {}: {} inputs, {} units",
            layer.layer,
            cells.join(" + "),
            layer.input_size,
            units.join(" + ")
        );
        for (cell, (bias, activation)) in cells.iter().zip(layer.forget_bias.iter().zip(&layer.activation)) {
            let whose = if cells.len() > 1 { format!(" of {cell}") } else { String::new() };
            let _ = writeln!(
                out,
                "    forget bias {} folded in{whose} ({}); activation {activation}",
                bias.value, bias.origin
            );
        }
    }
    for note in &document.notes {
        let _ = writeln!(out, "  note: {}", printable(note));
    }
    let _ = writeln!(out, "  sha256 {}", document.sha256);
    out
}

/// The devices found.
pub fn devices(document: &Devices, style: Style) -> String {
    let mut out = String::new();
    for device in &document.devices {
        let _ = writeln!(out, "{:<8} {}", style.heading(&device.choice), printable(&device.name));
        let driver = if device.driver.is_empty() { String::new() } else { format!(", {}", printable(&device.driver)) };
        let _ = writeln!(out, "         {}, {}{driver}", device.kind, device.backend);
        let check = &device.self_check;
        if check.passed {
            let worst = check.activation_ulp.values().fold(0.0, |m: f64, ulp| m.max(*ulp));
            let _ = writeln!(
                out,
                "         self-check {}: products at most {:.3} of their bound, activations {worst:.1} ULP off",
                style.good("passed"),
                check.product_ratio
            );
        }
        for failure in &check.failures {
            let _ = writeln!(out, "         self-check {}: {}", style.bad("failed"), printable(failure));
        }
    }
    out
}
