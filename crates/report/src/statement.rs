//! The certificate: an in-toto statement about a checkpoint and its conversion, plain or signed.
//!
//! Source: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>. The predicate is described in
//! `docs/certificate.md` and, for machines, in `schemas/certificate.schema.json`.
//!
//! A plain certificate ends in the SHA-256 of all that stands before and after that digest, so that an accidental change
//! of any byte is seen; whoever changes it on purpose can make the digest anew. A signed one is an [`Envelope`].

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::dsse::{self, Envelope, PrivateKey, PublicKey};
use crate::strict_json;

/// The type of every in-toto statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate's type: numerical equivalence of a conversion.
pub const PREDICATE_TYPE: &str = "urn:gatewise:numeric-equivalence:v1";
/// The predicate's schema.
pub const SCHEMA: &str = "gatewise.certificate/1";
/// Larger certificates are neither written nor read.
pub const MAX_BYTES: u64 = 64 << 20;

/// What stands before the digest of a plain certificate, and what after it.
const BEFORE_DIGEST: &str = "\"certificate_sha256\": \"";
const AFTER_DIGEST: &str = "\"\n  }\n}\n";
const DIGEST_LEN: usize = 64;
/// How the payload of an envelope begins that holds a statement.
const PAYLOAD_START: &str = "\"payload\": \"ewogICJfdHlwZSI6";

/// An in-toto statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What it is about: the checkpoint's and the candidate's files.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said of them.
    pub predicate: Predicate,
}

/// A file that a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Its path as it was given.
    pub name: String,
    /// Its digest.
    pub digest: DigestSet,
}

/// Digests by algorithm, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestSet {
    /// SHA-256.
    pub sha256: String,
}

/// What was compared, how, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    /// [`SCHEMA`].
    pub schema: String,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: String,
    /// What made it.
    pub made_by: MadeBy,
    /// When, in the words of whoever asked for it to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The arguments of `gatewise` that repeat the comparison.
    pub arguments: Vec<String>,
    /// Every file read.
    pub files: Vec<File>,
    /// Which LSTM became which layer, with the digest of every weight tensor.
    pub lstms: Vec<Mapping>,
    /// The document `gatewise verify --format json` prints, without the heat map.
    #[serde(deserialize_with = "strict_json::value")]
    pub verification: Value,
    /// SHA-256 of the file without these 64 digits; absent where a signature stands for it. The last field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
}

/// The program and what it ran on; the device is in the verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// Version of gatewise.
    pub gatewise: String,
    /// Version of Burn.
    pub burn: String,
    /// Processor architecture, operating system and the widest vector instructions in use.
    pub platform: String,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `checkpoint`, `candidate`, `inputs` or `map`.
    pub role: String,
    /// Its path as it was given.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
}

/// One LSTM and the layer it became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The cell's scope in the checkpoint.
    pub lstm: String,
    /// The candidate's layer.
    pub layer: String,
    /// The checkpoint's variables, as stored.
    pub variables: Vec<Tensor>,
    /// The layer's weights, as the Keras lane runs them.
    pub weights: Vec<Tensor>,
}

/// A weight tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// The variable's name, or the tensor's role in its layer.
    pub name: String,
    /// Its type, as TensorFlow names it.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// SHA-256 of its little-endian row-major bytes.
    pub sha256: String,
}

impl Predicate {
    /// The statement about the files of the checkpoint and the candidate.
    pub fn about_its_files(self) -> Statement {
        Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: subjects(&self.files),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: self,
        }
    }
}

/// Each file once, though it may be both checkpoint and candidate.
fn subjects(files: &[File]) -> Vec<Subject> {
    let mut seen = BTreeSet::new();
    files
        .iter()
        .filter(|f| matches!(f.role.as_str(), "checkpoint" | "candidate") && seen.insert(&f.path))
        .map(|f| Subject { name: f.path.clone(), digest: DigestSet { sha256: f.sha256.clone() } })
        .collect()
}

/// The file of a plain certificate.
pub fn plain(mut statement: Statement) -> Vec<u8> {
    statement.predicate.certificate_sha256 = Some(String::new());
    let mut bytes = to_bytes(&statement);
    let digest = dsse::sha256(&bytes);
    let end = bytes.len() - AFTER_DIGEST.len();
    bytes.splice(end..end, digest.into_bytes());
    bytes
}

/// The file of a signed certificate.
pub fn signed(mut statement: Statement, key: &PrivateKey) -> Vec<u8> {
    statement.predicate.certificate_sha256 = None;
    Envelope::sign(to_bytes(&statement), key).to_bytes()
}

fn to_bytes(statement: &Statement) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(statement).expect("a statement is plain data");
    bytes.push(b'\n');
    bytes
}

/// Who vouches for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Nobody: its digest shows accidental changes only.
    No,
    /// A key of this id claims to; no key was given to check that with.
    Unchecked(String),
    /// The key given, of this id.
    By(String),
}

/// A certificate that holds together.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// What it says.
    pub statement: Statement,
    /// Who vouches for it.
    pub signed: Signed,
}

/// Bytes are no certificate to rely on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Something else altogether.
    #[error("not a certificate of gatewise: {0}")]
    Other(String),
    /// A certificate that was changed, or one that contradicts itself or what was asked.
    #[error("{0}")]
    Refused(String),
}

/// Reads a certificate, and checks its digest or, where a key is given, its signature.
///
/// # Errors
/// If any byte is not as it was written.
pub fn open(bytes: &[u8], key: Option<&PublicKey>) -> Result<Certificate, CertificateError> {
    let meant = [STATEMENT_TYPE, PREDICATE_TYPE, dsse::PAYLOAD_TYPE, "\"payloadType\"", PAYLOAD_START];
    let contains = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let refused = |why: String| {
        if meant.iter().any(|text| contains(text)) {
            CertificateError::Refused(why)
        } else {
            CertificateError::Other(why)
        }
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CertificateError::Other(format!("more than {} MiB", MAX_BYTES >> 20)));
    }
    let (statement, signed) = if is_envelope(bytes) {
        let envelope = Envelope::from_bytes(bytes).map_err(|e| refused(e.to_string()))?;
        let signed = match key {
            None => Signed::Unchecked(envelope.key_id.clone()),
            Some(key) => {
                envelope.verify(key).map_err(|e| refused(e.to_string()))?;
                Signed::By(envelope.key_id.clone())
            }
        };
        let statement = parse(&envelope.payload).map_err(refused)?;
        if statement.predicate.certificate_sha256.is_some() {
            return Err(refused("a digest of itself inside a signature".to_owned()));
        }
        (statement, signed)
    } else {
        let statement = parse(bytes).map_err(refused)?;
        check_digest(bytes).map_err(refused)?;
        if key.is_some() {
            return Err(refused("a key was given, and the certificate is not signed".to_owned()));
        }
        (statement, Signed::No)
    };
    check(&statement).map_err(refused)?;
    Ok(Certificate { statement, signed })
}

/// Whether bytes are an envelope, as far as the names in them tell.
fn is_envelope(bytes: &[u8]) -> bool {
    let names = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(bytes);
    names.is_ok_and(|names| names.contains_key("payload") || names.contains_key("payloadType"))
}

fn parse(bytes: &[u8]) -> Result<Statement, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("it does not read as a certificate: {e}"))
}

/// Whether a plain certificate's digest is that of the bytes around it.
fn check_digest(bytes: &[u8]) -> Result<(), String> {
    let changed = || "the certificate was changed: its bytes do not give the digest at its end".to_owned();
    let head = bytes.strip_suffix(AFTER_DIGEST.as_bytes()).ok_or_else(changed)?;
    let (head, digest) = head.split_at_checked(head.len().wrapping_sub(DIGEST_LEN)).ok_or_else(changed)?;
    if !head.ends_with(BEFORE_DIGEST.as_bytes()) {
        return Err(changed());
    }
    let without = [head, AFTER_DIGEST.as_bytes()].concat();
    if dsse::sha256(&without).as_bytes() == digest { Ok(()) } else { Err(changed()) }
}

/// The parts of the embedded document that a certificate answers for.
#[derive(Deserialize)]
struct Claims {
    schema: String,
    verdict: String,
    lstms: Vec<ClaimedLstm>,
    reasons: Vec<ClaimedReason>,
}

#[derive(Deserialize)]
struct ClaimedLstm {
    name: String,
    candidate: String,
    weights: ClaimedWeights,
    compared: u64,
}

#[derive(Deserialize)]
struct ClaimedWeights {
    equal: bool,
}

#[derive(Deserialize)]
struct ClaimedReason {
    verdict: String,
}

/// Whether a statement's parts agree with each other.
fn check(statement: &Statement) -> Result<(), String> {
    let p = &statement.predicate;
    for (what, found, expected) in [
        ("_type", &statement.statement_type, STATEMENT_TYPE),
        ("predicateType", &statement.predicate_type, PREDICATE_TYPE),
        ("schema", &p.schema, SCHEMA),
    ] {
        if found != expected {
            return Err(format!("its {what} is {found:?}: expected {expected:?}"));
        }
    }
    let claims = Claims::deserialize(&p.verification).map_err(|e| format!("its verification: {e}"))?;
    if claims.schema != "gatewise.verify/1" {
        return Err(format!("its verification's schema is {:?}: expected \"gatewise.verify/1\"", claims.schema));
    }
    if claims.verdict != p.verdict {
        return Err(format!("its verdict is {:?}, and its verification's {:?}", p.verdict, claims.verdict));
    }
    let verdicts = ["pass", "inconclusive", "fail"];
    let grade = |verdict: &str| verdicts.iter().position(|v| *v == verdict);
    let worst = claims.reasons.iter().map(|r| grade(&r.verdict)).try_fold(0, |worst, g| Some(worst.max(g?)));
    if worst.is_none() || worst != grade(&p.verdict) {
        return Err(format!("its verdict is {:?}, which is not what its reasons give", p.verdict));
    }
    let compared = |l: &ClaimedLstm| l.weights.equal && l.compared > 0;
    if p.verdict == "pass" && (claims.lstms.is_empty() || !claims.lstms.iter().all(compared)) {
        return Err("its verdict is \"pass\", and its verification shows a difference, or nothing compared".to_owned());
    }
    let named = |l: &ClaimedLstm| (l.name.clone(), l.candidate.clone());
    if !claims.lstms.iter().map(named).eq(p.lstms.iter().map(|m| (m.lstm.clone(), m.layer.clone()))) {
        return Err("the LSTMs whose weights it names are not those of its verification".to_owned());
    }
    if statement.subject != subjects(&p.files) {
        return Err("its subjects are not the checkpoint and candidate among its files".to_owned());
    }
    let tensors = p.lstms.iter().flat_map(|m| m.variables.iter().chain(&m.weights)).map(|t| &t.sha256);
    let is_digest = |d: &&String| d.len() == DIGEST_LEN && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match p.files.iter().map(|f| &f.sha256).chain(tensors).find(|d| !is_digest(d)) {
        Some(wrong) => Err(format!("{wrong:?} is no SHA-256 in lower-case hexadecimal")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
