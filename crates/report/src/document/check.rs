//! What `gatewise check` prints.

use serde::Serialize;

/// `gatewise.check/1`: whether a certificate is genuine, and about these files.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// `gatewise.check/1`.
    pub schema: &'static str,
    /// `genuine`, `refused`, or `unverified` where nothing speaks against it and its signature was not checked.
    pub outcome: String,
    /// The certificate.
    pub certificate: String,
    /// What it certifies: `pass`, `fail` or `inconclusive`; absent where it cannot be believed.
    pub verdict: Option<String>,
    /// Why that is its verdict: the reasons against a pass that it gives.
    pub verdict_reasons: Vec<String>,
    /// Who vouches for it; absent where it cannot be believed.
    pub signature: Option<Signature>,
    /// Every file it is about.
    pub files: Vec<CheckedFile>,
    /// The comparison made once more, where that was asked for.
    pub again: Option<Again>,
    /// What speaks against the certificate.
    pub reasons: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Who vouches for a certificate.
#[derive(Clone, Debug, Serialize)]
pub struct Signature {
    /// `valid`, `not-checked` or `unsigned`.
    pub state: String,
    /// The id of the key: SHA-256 of its DER form.
    pub key: Option<String>,
}

/// A file that a certificate is about.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedFile {
    /// `checkpoint`, `candidate`, `inputs` or `map`.
    pub role: String,
    /// Its path in the certificate.
    pub path: String,
    /// The digest in the certificate.
    pub sha256: String,
    /// Whether the file checked has this digest; absent where it was not checked.
    pub matches: Option<bool>,
}

/// A comparison made once more.
#[derive(Clone, Debug, Serialize)]
pub struct Again {
    /// The device it ran on.
    pub device: String,
    /// Device and versions are the certificate's, so that the numbers must be too.
    pub same_device: bool,
    /// Every number is the same.
    pub equal: bool,
    /// The verdict this time.
    pub verdict: String,
}
