//! `gatewise check --again`: the comparison of a certificate, made once more from its arguments and the files.

use std::path::Path;

use clap::Parser;
use report::document;
use report::statement::{self, Certificate, Predicate, Statement};
use serde_json::Value;

use crate::args::{self, Arguments, Command, VerifyOrReplay};
use crate::certificate;
use crate::error::CliError;
use crate::verify::{self, Judged};

/// Repeats the comparison and says in `document` what came of it. On the same device and versions every number must be
/// the same, elsewhere the verdict and the weights.
pub(crate) fn repeat(
    args: &args::Check,
    certificate: &Certificate,
    document: &mut document::Check,
) -> Result<(), CliError> {
    let old = &certificate.statement.predicate;
    let mut verify = match parse(&old.arguments) {
        Ok(verify) => verify,
        Err(problem) => {
            document.reasons.push(problem);
            return Ok(());
        }
    };
    verify.display.look.quiet = args.display.look.quiet;
    if let Some(device) = args.device {
        verify.device = device;
    }
    if let Some(root) = &args.root {
        enter(root)?;
    }
    let judged = verify::judge(&verify)?;
    let new = reread(certificate::statement(&verify, &judged, old.created.as_deref())?, &args.certificate)?;
    compare(old, &new.predicate, &judged, document);
    Ok(())
}

/// The arguments of a comparison, and nothing else: what a certificate asks for is not to write files.
fn parse(arguments: &[String]) -> Result<args::Verify, String> {
    let line = std::iter::once("gatewise").chain(arguments.iter().map(String::as_str));
    let parsed = Arguments::try_parse_from(line).ok().and_then(|parsed| match parsed.command {
        Command::Verify(VerifyOrReplay::Verify(verify)) => Some(*verify),
        _ => None,
    });
    parsed
        .filter(|verify| certificate::arguments(verify).is_ok_and(|again| again == arguments))
        .ok_or_else(|| "its arguments are not those of a comparison that this gatewise can make".to_owned())
}

/// Relative paths start from `root`, also where they stand in results.
fn enter(root: &Path) -> Result<(), CliError> {
    std::env::set_current_dir(root).map_err(|source| CliError::File {
        doing: "entering",
        file: root.to_owned(),
        source,
    })
}

/// The statement as it would be read back, in which numbers have gone through text as the old one's have.
fn reread(statement: Statement, file: &Path) -> Result<Statement, CliError> {
    let read = statement::open(&statement::plain(statement), None)
        .map_err(|e| CliError::Certificate { file: file.to_owned(), problem: e.to_string() })?;
    Ok(read.statement)
}

fn compare(old: &Predicate, new: &Predicate, judged: &Judged, document: &mut document::Check) {
    let [of_old, of_new] = [old, new].map(|predicate| serde_json::to_value(predicate).unwrap_or_default());
    let difference = ["files", "lstms", "verification"]
        .into_iter()
        .find_map(|part| first_difference(part.to_owned(), &of_old[part], &of_new[part]));
    let same_device = old.made_by == new.made_by && device(old) == device(new);
    document.again = Some(document::Again {
        device: judged.document.device.name.clone(),
        same_device,
        equal: difference.is_none(),
        verdict: new.verdict.clone(),
    });
    let mut against = |why: String| document.reasons.push(format!("made again, {why}"));
    if old.verdict != new.verdict {
        against(format!("the comparison gives {}, and the certificate says {}", new.verdict, old.verdict));
    }
    if old.files != new.files || old.lstms != new.lstms {
        against("the files or their weights are not those of the certificate".to_owned());
    }
    if exact(old) != exact(new) {
        against("the exact comparison of the weights gives something else".to_owned());
    }
    if let Some(place) = difference.filter(|_| same_device) {
        against(format!("on the same device and version, the comparison gives other numbers, first at {place}"));
    }
}

/// What a device is called, without how it was asked for and what its self-check measured.
fn device(predicate: &Predicate) -> [&Value; 4] {
    ["name", "backend", "kind", "driver"].map(|field| &predicate.verification["device"][field])
}

/// What does not depend on any device: the exact comparison of every LSTM, and how much was compared.
fn exact(predicate: &Predicate) -> Vec<[&Value; 2]> {
    let lstms = predicate.verification["lstms"].as_array().map(Vec::as_slice).unwrap_or_default();
    lstms.iter().map(|lstm| ["weights", "compared"].map(|field| &lstm[field])).collect()
}

/// Where two documents differ first.
fn first_difference(place: String, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            x.iter().find_map(|(name, a)| first_difference(format!("{place}.{name}"), a, &y[name]))
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().find_map(|(i, (a, b))| first_difference(format!("{place}[{i}]"), a, b))
        }
        _ => (a != b).then_some(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_certificate_cannot_ask_for_anything_but_a_comparison() {
        let good =
            ["verify", "--device=cpu", "--sequences=1", "--timesteps=1", "--seed=0", "--", "a"].map(str::to_owned);
        assert!(parse(&good).is_ok());
        for more in
            ["--report=r.html", "--certificate=c.json", "--bundle=b", "--help", "--format=json", "--quiet", "--seed=0"]
        {
            let mut wrong = good.to_vec();
            wrong.insert(1, more.to_owned());
            assert!(parse(&wrong).is_err(), "{more}");
        }
        for wrong in [&[][..], &["verify".to_owned()], &["devices".to_owned()], &good[1..], &good[..6]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let a = json!({ "x": [1, { "y": 2.5 }], "z": null });
        let differs = |b: Value| first_difference("d".to_owned(), &a, &b);
        assert_eq!(differs(a.clone()), None);
        assert_eq!(differs(json!({ "x": [1, { "y": 2.25 }], "z": 1 })).unwrap(), "d.x[1].y");
        assert_eq!(differs(json!({ "x": [1], "z": null })).unwrap(), "d.x");
        assert_eq!(differs(json!({ "x": [1, { "y": 2.5 }] })).unwrap(), "d");
    }
}
