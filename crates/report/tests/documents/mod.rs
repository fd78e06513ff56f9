//! Verifications of fixed numbers, as no two processors measure them.

use std::collections::BTreeMap;

use report::document::{
    At, ByQuantity, Carried, Device, Diagnosis, FileDigest, Inputs, Kill, Local, Reason, SelfCheck, Settings,
    SmallestChange, Timestep, VerifiedLstm, Verify, WeightTensor, Weights,
};

fn each(value: f64) -> ByQuantity {
    ByQuantity { h: value, c: value * 1.5, i: value / 2.0, j: value, f: value / 3.0, o: value / 2.0 }
}

fn at(state: &str, sequence: usize, unit: usize, expected: f64, off: f64) -> Option<At> {
    Some(At { state: state.to_owned(), sequence, unit, expected, found: expected + off, oracle: None })
}

/// A step at which the lanes are `apart`, and the Keras lane's one step is `local` of its bound.
pub(crate) fn step(t: usize, apart: f64, local: f64) -> Timestep {
    Timestep {
        t,
        carried: Carried {
            max_abs: apart * 1.5,
            max_rel: apart * 3.0,
            max_ulp: 9,
            rms: apart / 4.0,
            at: at("c", t % 64, (t * 7) % 100, 0.5, apart),
            non_finite: 0,
            lanes: each(apart),
            tf1_from_oracle: each(apart / 2.0),
            keras_from_oracle: each(apart),
            noise_floor: 2e-7,
            allowed: 6.4e-6 * (1.0 + t as f64 / 20.0),
            saturated: false,
        },
        local: Local {
            max_abs: local * 5e-7,
            bound: 5e-7,
            ratio: local,
            tf1_ratio: each(0.12),
            keras_ratio: each(local / 1.5),
            non_finite: 0,
            at: at("c", 37, t % 100, 1.242732, -2e-7),
            gate: "f".to_owned(),
        },
    }
}

pub(crate) fn lstm(name: &str, candidate: &str, timesteps: Vec<Timestep>) -> VerifiedLstm {
    let tensor =
        |name: &str, count| WeightTensor { tensor: name.to_owned(), count, differing: 0, max_abs: 0.0, at: None };
    let kill = |fault: &str, detected, margin, why: Option<&str>| Kill {
        fault: fault.to_owned(),
        text: fault.replace('-', " "),
        detected,
        margin,
        why: why.map(str::to_owned),
    };
    VerifiedLstm {
        name: name.to_owned(),
        candidate: candidate.to_owned(),
        direction: "forward".to_owned(),
        layer: 0,
        input_size: 20,
        units: 100,
        weights: Weights {
            equal: true,
            count: 48_400,
            differing: 0,
            max_abs: 0.0,
            settings: vec![],
            tensors: vec![tensor("kernel", 8000), tensor("recurrent_kernel", 40_000), tensor("bias", 400)],
        },
        compared: 1_000_000,
        max_abs: 2e-6,
        growth_per_step: Some(1.0052),
        first_step_beyond: None,
        timesteps,
        sensitivity: vec![
            kill("forget-bias-missing", Some(true), 8.1e5, None),
            kill("precision-reduced", Some(true), 49.6, None),
            kill("hard-sigmoid-definition", None, 0.0, Some("the cell does not use hard_sigmoid")),
        ],
        smallest_change: Some(SmallestChange {
            weights: 48_400,
            min: 1e-6,
            median: 4.75e-4,
            p95: 5.7e-3,
            invisible: 24,
        }),
        diagnosis: vec![],
        screened: None,
        heat: None,
    }
}

pub(crate) fn pass() -> Verify {
    let steps = (0..100).map(|t| step(t, 1e-7 * (1.0 + t as f64 / 5.0), 0.2 + (t % 11) as f64 / 100.0)).collect();
    let digest = |path: &str, letter: &str| FileDigest { path: path.to_owned(), sha256: letter.repeat(64) };
    Verify {
        schema: "gatewise.verify/1",
        verdict: "pass".to_owned(),
        device: Device {
            choice: "cpu".to_owned(),
            name: "CPU (Burn Flex)".to_owned(),
            backend: "flex".to_owned(),
            kind: "cpu".to_owned(),
            driver: String::new(),
            self_check: SelfCheck {
                passed: true,
                failures: vec![],
                activation_ulp: BTreeMap::new(),
                products: 100,
                product_ratio: 0.3,
            },
        },
        settings: Settings {
            sequences: 64,
            timesteps: 100,
            judged: None,
            seed: 0,
            lanes: vec!["tf1 (tensor operations)".to_owned(), "keras (tensor operations)".to_owned()],
            lambda: 6.0,
            activation_budget_ulp: BTreeMap::from([("sigmoid".to_owned(), 2.6), ("tanh".to_owned(), 2.3)]),
            carried_factor: 32.0,
            carried_ulp: 4.0,
            ensemble_members: 1,
            atol: None,
            rtol: None,
        },
        inputs: Inputs {
            checkpoint: vec![digest("model.ckpt.index", "a")],
            candidate: Some(digest("models/2024/speech/encoder/converted/model.keras", "c")),
            candidate_files: vec![digest("models/2024/speech/encoder/converted/model.keras", "c")],
            candidate_format: "keras".to_owned(),
            recorded: None,
        },
        lstms: vec![lstm("lstm/basic_lstm_cell", "lstm_24", steps)],
        reasons: vec![],
        notes: vec![],
    }
}

pub(crate) fn fail() -> Verify {
    let mut document = pass();
    document.verdict = "fail".to_owned();
    let reason = |text: &str| Reason {
        verdict: "fail".to_owned(),
        lstm: "lstm/basic_lstm_cell".to_owned(),
        text: text.to_owned(),
    };
    document.reasons = vec![
        reason("candidate = correct conversion with the forget bias missing: residual 0"),
        reason(
            "100 of 400 weights of bias differ from the right conversion, by up to 1.00e0 at [0, 113] (expected 1.5619209, \
             found 0.5619208)",
        ),
        reason(
            "one step from the oracle's state, first at step 0: f is 2.34e-1 off, 4.40e5 times what rounding can explain \
             at sequence 14, unit 1: expected 0.718443, found 0.484194",
        ),
        reason("running freely, first at step 0: the Keras lane is 5.31e-1 from the oracle, where 1.46e-5 is allowed"),
    ];
    document.notes = vec![
        "the file holds weights only and says nothing of activations: those of gatewise's own conversion are assumed"
            .to_owned(),
    ];
    let cell = &mut document.lstms[0];
    cell.timesteps = (0..100).map(|t| step(t, 0.4 + t as f64 / 30.0, 4.4e5)).collect();
    cell.weights.equal = false;
    cell.weights.differing = 100;
    cell.weights.max_abs = 1.0;
    cell.weights.tensors[2] =
        WeightTensor { tensor: "bias".to_owned(), count: 400, differing: 100, max_abs: 1.0, at: Some([0, 113]) };
    cell.diagnosis = vec![Diagnosis {
        fault: "forget-bias-missing".to_owned(),
        text: "candidate = correct conversion with the forget bias missing: residual 0".to_owned(),
        residual: 0.0,
        advice: "add 1 to columns 100..200 of the bias after permuting it".to_owned(),
    }];
    document
}

/// Nothing shows on weights that are all zero.
pub(crate) fn inconclusive() -> Verify {
    let mut document = pass();
    document.verdict = "inconclusive".to_owned();
    let text = "these faults would not have been seen on this model: gates-not-permuted, bias-not-permuted, \
                kernel-rows-recurrent-first, recurrent-transposed, layers-swapped";
    document.reasons = vec![Reason {
        verdict: "inconclusive".to_owned(),
        lstm: "lstm/basic_lstm_cell".to_owned(),
        text: text.to_owned(),
    }];
    document.inputs.candidate = None;
    let cell = &mut document.lstms[0];
    cell.candidate = "own layer 0".to_owned();
    cell.growth_per_step = None;
    cell.sensitivity.iter_mut().filter(|k| k.fault == "forget-bias-missing").for_each(|k| k.detected = Some(false));
    cell.smallest_change = None;
    document
}

/// Recorded sequences of different lengths: nothing was compared at the last steps.
pub(crate) fn ragged() -> Verify {
    let mut document = pass();
    document.settings.timesteps = 7;
    document.settings.sequences = 3;
    document.inputs.recorded = Some(FileDigest { path: "recorded/io.npz".to_owned(), sha256: "e".repeat(64) });
    let cell = &mut document.lstms[0];
    cell.timesteps.truncate(7);
    for step in &mut cell.timesteps[5..] {
        step.carried =
            Carried { max_abs: 0.0, at: None, lanes: each(0.0), keras_from_oracle: each(0.0), ..step.carried.clone() };
        step.local = Local {
            ratio: 0.0,
            bound: 0.0,
            keras_ratio: each(0.0),
            tf1_ratio: each(0.0),
            at: None,
            ..step.local.clone()
        };
    }
    document
}

pub(crate) fn bidirectional() -> Verify {
    let mut document = fail();
    let mut backward = pass().lstms.remove(0);
    backward.direction = "backward".to_owned();
    backward.name = "bidirectional_rnn/bw/basic_lstm_cell".to_owned();
    backward.candidate = "bidirectional_3/backward".to_owned();
    document.lstms[0].name = "bidirectional_rnn/fw/basic_lstm_cell".to_owned();
    document.lstms[0].candidate = "bidirectional_3/forward".to_owned();
    for reason in &mut document.reasons {
        reason.lstm = "bidirectional_rnn/fw/basic_lstm_cell".to_owned();
    }
    document.lstms.push(backward);
    document
}

/// A cell with a projection, several forms of one fault that cannot show, and lanes that agree to the last bit.
pub(crate) fn projected() -> Verify {
    let mut document = pass();
    let cell = &mut document.lstms[0];
    cell.weights.tensors.push(WeightTensor {
        tensor: "output_projection".to_owned(),
        count: 3200,
        differing: 0,
        max_abs: 0.0,
        at: None,
    });
    cell.weights.count += 3200;
    let form = |fault: &str| Kill {
        fault: fault.to_owned(),
        text: String::new(),
        detected: None,
        margin: 0.0,
        why: Some("the gates that it exchanges hold the same weights".to_owned()),
    };
    cell.sensitivity.extend(["gate-order", "gate-order", "interleaved-gates", "gate-order"].map(form));
    cell.max_abs = 0.0;
    for step in &mut cell.timesteps {
        step.carried.max_abs = 0.0;
        step.carried.lanes = each(0.0);
        step.local.at = at("h", 25, 0, -1.269e-4, 1.5e-11);
    }
    document
}

/// A network in chaos, on a lane that gives numbers that are none.
pub(crate) fn chaotic() -> Verify {
    let mut document = inconclusive();
    let cell = &mut document.lstms[0];
    cell.sensitivity.iter_mut().for_each(|k| k.detected = k.detected.map(|_| true));
    for step in &mut cell.timesteps[40..] {
        step.carried.saturated = true;
    }
    cell.timesteps[90].carried.non_finite = 64_000;
    cell.timesteps[90].carried.max_abs = f64::NAN;
    cell.timesteps[90].carried.keras_from_oracle = each(f64::NAN);
    document
}
