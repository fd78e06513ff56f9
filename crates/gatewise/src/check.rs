//! `gatewise check`: whether a certificate is genuine, about these files, and what it certifies.

use std::path::{Path, PathBuf};

use disk::Disk;
use report::document;
use report::dsse::PublicKey;
use report::statement::{self, Certificate, CertificateError, Predicate, Signed};

use crate::args::{self, Format};
use crate::error::CliError;
use crate::exit::Code;
use crate::{again, output};

pub(crate) fn run(args: &args::Check) -> Result<Code, CliError> {
    let key = args.key.as_deref().map(public_key).transpose()?;
    let bytes = output::read_at_most(&args.certificate, statement::MAX_BYTES)?;
    let mut document = document::Check {
        schema: "gatewise.check/1",
        outcome: String::new(),
        certificate: args.certificate.display().to_string(),
        verdict: None,
        verdict_reasons: vec![],
        signature: None,
        files: vec![],
        again: None,
        reasons: vec![],
        notes: vec![],
    };
    let mut code = Code::Fail;
    match statement::open(&bytes, key.as_ref()) {
        Err(CertificateError::Other(problem)) => {
            let problem = format!("not a certificate of gatewise: {problem}");
            return Err(CliError::Certificate { file: args.certificate.clone(), problem });
        }
        Err(CertificateError::Refused(why)) => document.reasons.push(why),
        Ok(certificate) => code = examine(args, &certificate, &mut document)?,
    }
    document.outcome = match (code, &document.reasons[..]) {
        (_, []) => "genuine",
        (Code::Inconclusive, _) => "unverified",
        _ => "refused",
    }
    .to_owned();
    let style = args.display.look.style();
    match args.display.format {
        Format::Json => output::print_json(&document)?,
        Format::Human if args.display.look.quiet => output::print(&report::check_line(&document, style))?,
        Format::Human => output::print(&report::check_text(&document, style))?,
    }
    Ok(code)
}

/// Looks at the files of a certificate that holds together, and makes its comparison again where that is asked for.
/// Reasons in the document mean that it is not to be relied on.
fn examine(args: &args::Check, certificate: &Certificate, document: &mut document::Check) -> Result<Code, CliError> {
    let predicate = &certificate.statement.predicate;
    let (state, key) = match &certificate.signed {
        Signed::No => ("unsigned", None),
        Signed::Unchecked(id) => ("not-checked", Some(id.clone())),
        Signed::By(id) => ("valid", Some(id.clone())),
    };
    document.signature = Some(document::Signature { state: state.to_owned(), key });
    document.verdict = Some(predicate.verdict.clone());
    document.verdict_reasons = reasons(predicate);
    if args.files.is_empty() {
        named_files(args, predicate, document)?;
    } else {
        given_files(&args.files, predicate, document)?;
    }
    if args.again && document.reasons.is_empty() {
        again::repeat(args, certificate, document)?;
    }
    if !document.reasons.is_empty() {
        return Ok(Code::Fail);
    }
    if let Signed::Unchecked(_) = certificate.signed {
        let why = "it is signed, and no key was given to check that with: --key PUB.pem";
        document.reasons.push(why.to_owned());
        return Ok(Code::Inconclusive);
    }
    Ok(match predicate.verdict.as_str() {
        "pass" => Code::Pass,
        "inconclusive" => Code::Inconclusive,
        _ => Code::Fail,
    })
}

/// What speaks against a pass, in the certificate's words.
fn reasons(predicate: &Predicate) -> Vec<String> {
    let all = predicate.verification["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |reason: &serde_json::Value| {
        let [lstm, text] = ["lstm", "text"].map(|field| reason[field].as_str().unwrap_or_default());
        if lstm.is_empty() { text.to_owned() } else { format!("{lstm}: {text}") }
    };
    all.iter().map(text).collect()
}

/// The files where the certificate names them.
fn named_files(args: &args::Check, predicate: &Predicate, document: &mut document::Check) -> Result<(), CliError> {
    let disk = Disk::new();
    for file in &predicate.files {
        let path = args.root.as_deref().unwrap_or(Path::new("")).join(&file.path);
        let found = disk.sha256(&path, |_| ())?;
        let matches = found == file.sha256;
        if !matches {
            document.reasons.push(format!(
                "{} is not the file it was: its SHA-256 is {found}, and the certificate is about {}",
                path.display(),
                file.sha256
            ));
        }
        document.files.push(checked(file, Some(matches)));
    }
    Ok(())
}

/// The files given, whatever they are called: each must be one of the certificate's.
fn given_files(given: &[PathBuf], predicate: &Predicate, document: &mut document::Check) -> Result<(), CliError> {
    let disk = Disk::new();
    let mut digests = vec![];
    for path in given {
        let found = disk.sha256(path, |_| ())?;
        if !predicate.files.iter().any(|f| f.sha256 == found) {
            document.reasons.push(format!(
                "{} is none of the files that the certificate is about: its SHA-256 is {found}",
                path.display()
            ));
        }
        digests.push(found);
    }
    for file in &predicate.files {
        let given = digests.contains(&file.sha256);
        document.files.push(checked(file, given.then_some(true)));
    }
    Ok(())
}

fn checked(file: &statement::File, matches: Option<bool>) -> document::CheckedFile {
    document::CheckedFile { role: file.role.clone(), path: file.path.clone(), sha256: file.sha256.clone(), matches }
}

fn public_key(path: &Path) -> Result<PublicKey, CliError> {
    let text = output::read_small_text(path)?;
    PublicKey::from_pem(&text).map_err(|source| CliError::Key { file: path.to_owned(), source })
}
