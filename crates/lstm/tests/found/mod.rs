//! What a reader should find in a case of `tests/golden/cells`, from its `case.json`.

use std::collections::BTreeMap;

use golden::Case;
use lstm::detect::{CellKind, CellVariables, Fact, FoundCell, Source};
use lstm::{Activation, Batch, Network, State, Tf1Cell};
use ndarray::Array2;
use serde_json::Value;

pub(crate) fn network(case: &Case) -> Network<FoundCell> {
    let cells: Vec<FoundCell> = case.json["cells"].as_array().unwrap().iter().map(cell).collect();
    wire(&case.json["wiring"], &cells)
}

fn wire(wiring: &Value, cells: &[FoundCell]) -> Network<FoundCell> {
    let list = |parts: &Value| -> Vec<_> { parts.as_array().unwrap().iter().map(|p| wire(p, cells)).collect() };
    if let Some(index) = wiring.as_u64() {
        return Network::Cell(cells[index as usize].clone());
    }
    let (kind, part) = wiring.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "stack" => Network::Stack(list(part)),
        "residual" => Network::Residual(Box::new(wire(part, cells))),
        "bidirectional" => {
            let [forward, backward] = <[_; 2]>::try_from(list(part)).unwrap();
            Network::side_by_side(forward, backward)
        }
        other => panic!("wiring {other}"),
    }
}

fn fact<T>(value: T) -> Fact<T> {
    Fact { value, source: Source::Graph }
}

fn cell(json: &Value) -> FoundCell {
    const KINDS: [CellKind; 12] = [
        CellKind::BasicLstm,
        CellKind::Lstm,
        CellKind::LstmBlock,
        CellKind::LstmBlockFused,
        CellKind::CudnnCompatible,
        CellKind::LayerNormBasicLstm,
        CellKind::LayerNormLstm,
        CellKind::CoupledInputForgetGate,
        CellKind::WeightNorm,
        CellKind::Indy,
        CellKind::Grouped,
        CellKind::Named,
    ];
    let number = |key: &str| json[key].as_f64().map(|v| fact(v as f32));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let variables = &json["variables"];
    let list = |value: &Value| -> Vec<String> { value.as_array().unwrap().iter().map(text).collect() };
    let optional = |key: &str| Some(&variables[key]).filter(|v| !v.is_null());
    FoundCell {
        name: text(&json["name"]),
        kind: KINDS.into_iter().find(|k| k.as_str() == json["kind"]).unwrap(),
        input_size: json["input"].as_u64().unwrap() as usize,
        units: json["units"].as_u64().unwrap() as usize,
        projection: json["projection"].as_u64().map(|p| p as usize),
        forget_bias: number("forget_bias").unwrap(),
        activation: fact(Activation::ALL.into_iter().find(|a| json["activation"] == a.to_string()).unwrap()),
        cell_clip: number("cell_clip"),
        projection_clip: number("projection_clip"),
        recurrent_activation: fact(Activation::Sigmoid),
        layer_norm: json["layer_norm"].as_bool().unwrap(),
        time_major: None,
        zero_past_end: true,
        columns: lstm::gate_order::TF1,
        averages: None,
        variables: CellVariables {
            kernel: list(&variables["kernel"]),
            bias: optional("bias").map(text),
            peepholes: optional("peepholes").map(|p| <[String; 3]>::try_from(list(p)).unwrap()),
            // The oldest of these cases name one key, the others a list.
            projection: optional("projection")
                .map(|p| if p.is_array() { list(p) } else { vec![text(p)] })
                .unwrap_or_default(),
            extra: optional("extra").map_or_else(BTreeMap::new, |extra| {
                extra.as_object().unwrap().iter().map(|(role, key)| (role.clone(), text(key))).collect()
            }),
        },
    }
}

/// The case's inputs, from zero states.
pub(crate) fn batch(case: &Case, network: &Network<Tf1Cell>) -> Batch {
    let io = case.io();
    let x = golden::cube(&io["x"]);
    let zero = |width| Array2::zeros((x.dim().0, width));
    let initial = network.cells().iter().map(|c| State { h: zero(c.recurrent_size()), c: zero(c.units()) }).collect();
    let lengths = io.get("seq_len").map(|l| l.iter().map(|v| *v as usize).collect());
    Batch { x, lengths, initial, record_gates: true }
}
