//! What a reader should do now.

use crate::document::Verify;
use crate::printable;

/// In a sentence each, most useful first.
pub(crate) fn next(document: &Verify) -> Vec<String> {
    match document.verdict.as_str() {
        "pass" => vec![after_a_pass(document)],
        "fail" => after_a_failure(document),
        _ => after_no_verdict(document),
    }
}

fn after_a_pass(document: &Verify) -> String {
    match &document.inputs.candidate {
        Some(_) => "use the candidate as it is; the verdict is about the bytes with this digest".to_owned(),
        None => "`gatewise convert` writes the weights that were judged here".to_owned(),
    }
}

fn after_a_failure(document: &Verify) -> Vec<String> {
    let several = document.lstms.len() > 1;
    let mut all = vec![];
    for lstm in &document.lstms {
        let Some(diagnosis) = lstm.diagnosis.first() else { continue };
        let whose = if several { format!("{}: ", printable(&lstm.name)) } else { String::new() };
        all.push(format!("{whose}{}", printable(&diagnosis.advice)));
    }
    let weights_differ = document.lstms.iter().any(|l| !l.weights.equal);
    all.push(match (all.is_empty(), weights_differ) {
        (false, _) => "or write the file anew: `gatewise convert CHECKPOINT -o FILE`".to_owned(),
        (true, true) => {
            "no known mistake explains it: write the file anew, `gatewise convert CHECKPOINT -o FILE`".to_owned()
        }
        (true, false) => "the weights are right: look at what the reason above names".to_owned(),
    });
    all
}

fn after_no_verdict(document: &Verify) -> Vec<String> {
    let mut all = vec![];
    if !document.device.self_check.passed {
        all.push("judge on a device that can be trusted: `gatewise devices` lists them, --device cpu works".to_owned());
    }
    let cells = || document.lstms.iter().filter(|l| !l.timesteps.is_empty());
    if cells().any(|l| l.sensitivity.is_empty() || l.sensitivity.iter().any(|k| k.detected == Some(false))) {
        all.push(
            "give inputs on which the model does its work, recorded where it runs: --inputs FILE.npz; if it never does, \
             its weights are worth a look"
                .to_owned(),
        );
    }
    if cells().any(|l| l.timesteps.iter().all(|t| t.carried.saturated)) {
        all.push("the network is chaotic: shorter sequences may be comparable, --timesteps T".to_owned());
    }
    if all.is_empty() {
        all.push(
            "try another device (`gatewise devices` lists them): lanes and oracle disagree on this one".to_owned(),
        );
    }
    all
}
