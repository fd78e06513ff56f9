//! Signed statements: the DSSE envelope, with ed25519 keys in PEM as OpenSSL writes them.
//!
//! Source: <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md> and `envelope.md` beside it. An envelope
//! is accepted in one form only, the one written here, with exactly one signature: so that no byte of it can be changed
//! and the rest still be accepted.

use base64ct::{Base64, Encoding};
use ed25519_dalek::ed25519::signature::Signer;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What the payload is: an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A text that should be a key and is not.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not a private key that signs.
    #[error(
        "expected an ed25519 private key in PEM (PKCS#8, not encrypted), as `openssl genpkey -algorithm ed25519` \
         writes it"
    )]
    Private,
    /// A private key where a public one belongs.
    #[error(
        "this is a private key: expected the public one, as `openssl pkey -in KEY.pem -pubout` writes it, so that whoever \
         checks cannot sign"
    )]
    PrivateForPublic,
    /// Not a public key.
    #[error("expected an ed25519 public key in PEM, as `openssl pkey -in KEY.pem -pubout` writes it")]
    Public,
}

/// Signs statements.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Reads PKCS#8 in PEM.
    ///
    /// # Errors
    /// If the text is anything else, also an encrypted key or one of another algorithm.
    pub fn from_pem(text: &str) -> Result<PrivateKey, KeyError> {
        SigningKey::from_pkcs8_pem(text.trim()).map(PrivateKey).map_err(|_| KeyError::Private)
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

/// Checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM.
    ///
    /// # Errors
    /// If the text is anything else.
    pub fn from_pem(text: &str) -> Result<PublicKey, KeyError> {
        VerifyingKey::from_public_key_pem(text.trim())
            .map(PublicKey)
            .map_err(|_| if text.contains("PRIVATE KEY-----") { KeyError::PrivateForPublic } else { KeyError::Public })
    }

    /// SHA-256 of the key as SubjectPublicKeyInfo in DER, in lower-case hexadecimal: what
    /// `openssl pkey -pubin -in PUB.pem -outform DER | sha256sum` prints.
    pub fn id(&self) -> String {
        // An ed25519 key is 32 bytes behind a fixed prefix: nothing in it can fail to encode.
        let der = self.0.to_public_key_der().expect("an ed25519 key has a DER form");
        sha256(der.as_bytes())
    }
}

/// An envelope as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    keyid: String,
    sig: String,
}

/// What speaks against an envelope.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Not the JSON of an envelope.
    #[error("not a DSSE envelope: {0}")]
    Malformed(String),
    /// The payload is something else than a statement.
    #[error("the payload type is {0:?}: expected {PAYLOAD_TYPE:?}")]
    PayloadType(String),
    /// None, or several.
    #[error("{0} signatures: expected exactly one")]
    Signatures(usize),
    /// Base64 of the payload or of the signature.
    #[error("the {0} is not base64 as it should be")]
    Encoding(&'static str),
    /// Written in another way, by white space or by the order of the fields.
    #[error("the file was changed: it is not written as gatewise writes it")]
    NotCanonical,
    /// Signed by somebody else.
    #[error("signed by key {found}, and the key given is {expected}")]
    OtherKey {
        /// The id of the key given.
        expected: String,
        /// The id in the envelope.
        found: String,
    },
    /// The signature is not this key's over these bytes.
    #[error("the signature does not fit: the certificate was changed after it was signed, or another key signed it")]
    Signature,
}

/// An envelope that is whole. Whether its signature holds, [`verify`](Self::verify) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The statement's bytes.
    pub payload: Vec<u8>,
    /// The id of the key that claims to have signed.
    pub key_id: String,
    signature: [u8; 64],
}

impl Envelope {
    /// Signs a payload.
    pub fn sign(payload: Vec<u8>, key: &PrivateKey) -> Envelope {
        let signature = key.0.sign(&pre_authentication(PAYLOAD_TYPE, &payload)).to_bytes();
        Envelope { payload, key_id: key.public().id(), signature }
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = Json {
            payload: Base64::encode_string(&self.payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![JsonSignature { keyid: self.key_id.clone(), sig: Base64::encode_string(&self.signature) }],
        };
        let mut bytes = serde_json::to_vec_pretty(&json).expect("strings have a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// Reads an envelope and looks at everything but the signature itself.
    ///
    /// # Errors
    /// If the bytes are not exactly those that [`to_bytes`](Self::to_bytes) gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
        let json: Json = serde_json::from_slice(bytes).map_err(|e| EnvelopeError::Malformed(e.to_string()))?;
        if json.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType(json.payload_type));
        }
        let [signed] = &json.signatures[..] else { return Err(EnvelopeError::Signatures(json.signatures.len())) };
        let decode = |what, text: &str| Base64::decode_vec(text).map_err(|_| EnvelopeError::Encoding(what));
        let payload = decode("payload", &json.payload)?;
        let signature = decode("signature", &signed.sig)?;
        let signature = signature.try_into().map_err(|_| EnvelopeError::Encoding("signature"))?;
        let envelope = Envelope { payload, key_id: signed.keyid.clone(), signature };
        if envelope.to_bytes() != bytes {
            return Err(EnvelopeError::NotCanonical);
        }
        Ok(envelope)
    }

    /// Whether this key signed this payload.
    ///
    /// # Errors
    /// If it did not.
    pub fn verify(&self, key: &PublicKey) -> Result<(), EnvelopeError> {
        let expected = key.id();
        // The id is not part of what is signed: a wrong one is as much a change as any other.
        if self.key_id != expected {
            return Err(EnvelopeError::OtherKey { expected, found: self.key_id.clone() });
        }
        let message = pre_authentication(PAYLOAD_TYPE, &self.payload);
        let signature = Signature::from_bytes(&self.signature);
        // Strict: refuses the weak keys and malleable signatures of which several are valid for one message.
        key.0.verify_strict(&message, &signature).map_err(|_| EnvelopeError::Signature)
    }
}

/// What is signed: `DSSEv1`, the type and the payload, each after its length.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The first key of RFC 8032, section 7.1: everybody knows it.
    pub(crate) const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";
    pub(crate) const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";

    pub(crate) fn private() -> PrivateKey {
        PrivateKey::from_pem(PRIVATE).unwrap()
    }

    #[test]
    fn keys_are_read_as_openssl_writes_them() {
        let public = PublicKey::from_pem(PUBLIC).unwrap();
        assert_eq!(private().public(), public);
        // `openssl pkey -pubin -in PUB.pem -outform DER | sha256sum`
        assert_eq!(public.id(), "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9");
        assert_eq!(PublicKey::from_pem(PRIVATE), Err(KeyError::PrivateForPublic));
        assert_eq!(PublicKey::from_pem("MCowBQYDK2VwAyEA"), Err(KeyError::Public));
        for wrong in ["", PUBLIC, &PRIVATE.replace("MC4C", "MC5C"), &PRIVATE.replace("PRIVATE", "ENCRYPTED PRIVATE")] {
            assert_eq!(PrivateKey::from_pem(wrong).err(), Some(KeyError::Private));
        }
    }

    /// The example of the specification.
    #[test]
    fn what_is_signed_has_its_lengths_in_it() {
        let bytes = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(bytes, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn an_envelope_comes_back_and_its_signature_holds() {
        let envelope = Envelope::sign(b"{}".to_vec(), &private());
        let read = Envelope::from_bytes(&envelope.to_bytes()).unwrap();
        assert_eq!(read, envelope);
        assert_eq!(read.verify(&private().public()), Ok(()));
    }

    #[test]
    fn an_envelope_is_accepted_in_one_form_only() {
        let good = String::from_utf8(Envelope::sign(b"{}".to_vec(), &private()).to_bytes()).unwrap();
        let refused = |text: &str| Envelope::from_bytes(text.as_bytes()).unwrap_err();
        let json: serde_json::Value = serde_json::from_str(&good).unwrap();
        assert_eq!(refused(&json.to_string()), EnvelopeError::NotCanonical);
        assert_eq!(refused(&good.replace("  ", "\t")), EnvelopeError::NotCanonical);
        assert_eq!(
            refused(&good.replace("in-toto", "in-tota")),
            EnvelopeError::PayloadType(PAYLOAD_TYPE.replace("toto", "tota"))
        );
        let extra = |signatures: &str| good.replace("\"signatures\": [", &format!("\"signatures\": [{signatures}"));
        assert_eq!(refused(&extra(r#"{"keyid":"","sig":""},"#)), EnvelopeError::Signatures(2));
        let none = format!("{}[]}}", &good[..good.find('[').unwrap()]);
        assert_eq!(refused(&none), EnvelopeError::Signatures(0));
        let unknown = good.replacen('{', "{\"more\": 1,", 1);
        assert!(matches!(refused(&unknown), EnvelopeError::Malformed(why) if why.contains("unknown field")));
        let twice = good.replacen('{', "{\"payload\": \"e30=\",", 1);
        assert!(matches!(refused(&twice), EnvelopeError::Malformed(why) if why.contains("duplicate field")));
        assert_eq!(refused(&good.replace("e30=", "e30")), EnvelopeError::Encoding("payload"));
        // The last digit's unused bits.
        assert_eq!(refused(&good.replace("e30=", "e31=")), EnvelopeError::Encoding("payload"));
    }

    #[test]
    fn another_key_or_id_is_refused() {
        let mut envelope = Envelope::sign(b"{}".to_vec(), &private());
        let other = PublicKey(SigningKey::from_bytes(&[7; 32]).verifying_key());
        assert!(matches!(envelope.verify(&other), Err(EnvelopeError::OtherKey { .. })));
        envelope.key_id = other.id();
        assert_eq!(envelope.verify(&other), Err(EnvelopeError::Signature));
        envelope.key_id = String::new();
        assert!(matches!(envelope.verify(&private().public()), Err(EnvelopeError::OtherKey { .. })));
    }
}
