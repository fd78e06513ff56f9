//! A small certificate, changed in every way there is for one byte, and in the ways that somebody with intent would.

use super::*;
use crate::dsse::tests::private;

fn tensor(name: &str) -> Tensor {
    Tensor { name: name.to_owned(), dtype: "float32".to_owned(), shape: vec![2, 4], sha256: "ab".repeat(32) }
}

fn file(role: &str, path: &str, digit: &str) -> File {
    File { role: role.to_owned(), path: path.to_owned(), bytes: 7, sha256: digit.repeat(64) }
}

fn statement() -> Statement {
    Predicate {
        schema: SCHEMA.to_owned(),
        verdict: "pass".to_owned(),
        made_by: MadeBy { gatewise: "1".to_owned(), burn: "2".to_owned(), platform: "x86_64 linux".to_owned() },
        created: None,
        arguments: vec!["verify".to_owned(), "--seed=0".to_owned()],
        files: vec![file("checkpoint", "a", "1"), file("candidate", "b", "2"), file("map", "c", "3")],
        lstms: vec![Mapping {
            lstm: "rnn".to_owned(),
            layer: "lstm".to_owned(),
            variables: vec![tensor("rnn/kernel")],
            weights: vec![tensor("kernel")],
        }],
        verification: serde_json::json!({
            "schema": "gatewise.verify/1",
            "verdict": "pass",
            "settings": { "seed": 0, "lambda": 6.0 },
            "lstms": [{ "name": "rnn", "candidate": "lstm", "weights": { "equal": true }, "compared": 8 }],
            "reasons": [],
        }),
        certificate_sha256: None,
    }
    .about_its_files()
}

/// Every single-byte change: other bytes, one byte less, one more, and every truncation.
fn changes(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).flat_map(move |at| {
        let changed = |byte: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] = byte;
            bytes
        };
        let old = bytes[at];
        // Another bit, another case, another digit, white space, and what is no UTF-8.
        let others = [old ^ 1, old ^ 0x20, old ^ 0x04, b' ', b'0', 0xff];
        let mut all: Vec<Vec<u8>> = others.into_iter().filter(|new| *new != old).map(changed).collect();
        for new in [b' ', b'\n', old, b'0'] {
            let mut bytes = bytes.to_vec();
            bytes.insert(at, new);
            all.push(bytes);
        }
        all.push([&bytes[..at], &bytes[at + 1..]].concat());
        all.push(bytes[..at].to_vec());
        all
    })
}

fn refuses_every_change(bytes: &[u8], key: Option<&PublicKey>) {
    assert!(open(bytes, key).is_ok());
    let mut tried = 0;
    for changed in changes(bytes).filter(|changed| changed != bytes) {
        tried += 1;
        let text = || String::from_utf8_lossy(&changed).into_owned();
        match open(&changed, key) {
            Err(CertificateError::Refused(_)) => {}
            // Cut off before anything tells what it was.
            Err(CertificateError::Other(_)) if changed.len() < 80 => {}
            other => panic!("{other:?} for\n{}", text()),
        }
    }
    assert!(tried > 10 * bytes.len(), "{tried} changes of {} bytes", bytes.len());
    for more in [&b" "[..], b"\n", b"}", b"{}"] {
        assert!(open(&[bytes, more].concat(), key).is_err(), "{more:?} at the end");
    }
}

#[test]
fn a_certificate_comes_back() {
    let read = open(&plain(statement()), None).unwrap();
    assert_eq!(read.signed, Signed::No);
    let digest = read.statement.predicate.certificate_sha256.clone().unwrap();
    let mut expected = statement();
    expected.predicate.certificate_sha256 = Some(digest);
    assert_eq!(read.statement, expected);

    let bytes = signed(statement(), &private());
    let id = private().public().id();
    assert_eq!(open(&bytes, None).unwrap().signed, Signed::Unchecked(id.clone()));
    let read = open(&bytes, Some(&private().public())).unwrap();
    assert_eq!((read.signed, read.statement), (Signed::By(id), statement()));
}

#[test]
fn the_same_statement_gives_the_same_bytes() {
    assert_eq!(plain(statement()), plain(statement()));
    assert_eq!(signed(statement(), &private()), signed(statement(), &private()));
}

#[test]
fn every_single_byte_change_of_a_plain_certificate_is_refused() {
    refuses_every_change(&plain(statement()), None);
}

#[test]
fn every_single_byte_change_of_a_signed_certificate_is_refused() {
    refuses_every_change(&signed(statement(), &private()), Some(&private().public()));
}

/// With the digest made anew, as somebody with intent would: what then remains is whether the parts agree.
#[test]
fn a_statement_that_contradicts_itself_is_refused() {
    let refused = |change: &dyn Fn(&mut Statement)| {
        let mut statement = statement();
        change(&mut statement);
        match open(&plain(statement), None) {
            Err(CertificateError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    for (change, why) in [
        (&(|s: &mut Statement| s.statement_type.push('1')) as &dyn Fn(&mut Statement), "_type"),
        (&|s| s.predicate_type.push('1'), "predicateType"),
        (&|s| s.predicate.schema = "gatewise.certificate/2".to_owned(), "schema"),
        (&|s| s.predicate.verdict = "fail".to_owned(), "its verification's"),
        (&|s| s.predicate.verification["verdict"] = "fail".into(), "its verification's"),
        (&|s| s.predicate.verification["schema"] = "gatewise.verify/2".into(), "verify/1"),
        (&|s| s.predicate.verification["reasons"] = serde_json::json!([{ "verdict": "fail" }]), "its reasons"),
        (&|s| s.predicate.verification["reasons"] = serde_json::json!([{ "verdict": "perhaps" }]), "its reasons"),
        (&|s| s.predicate.verification["reasons"] = Value::Null, "its verification: invalid type"),
        (&|s| s.predicate.verification["lstms"][0]["weights"]["equal"] = false.into(), "a difference"),
        (&|s| s.predicate.verification["lstms"][0]["compared"] = 0.into(), "nothing compared"),
        (&|s| s.predicate.verification["lstms"][0]["name"] = "other".into(), "LSTMs"),
        (&|s| s.predicate.lstms[0].layer = "other".to_owned(), "LSTMs"),
        (&|s| s.predicate.lstms.clear(), "LSTMs"),
        (&|s| s.subject.clear(), "subjects"),
        (&|s| s.subject[1].digest.sha256 = "3".repeat(64), "subjects"),
        (&|s| s.predicate.files[0].sha256 = "4".repeat(64), "subjects"),
        (&|s| s.predicate.files[2].sha256 = "A".repeat(64), "SHA-256"),
        (&|s| s.predicate.lstms[0].weights[0].sha256 = "4".repeat(63), "SHA-256"),
    ] {
        assert!(refused(change).contains(why), "{}: expected {why}", refused(change));
    }
    let mut nothing = statement();
    nothing.predicate.lstms.clear();
    nothing.predicate.verification["lstms"] = serde_json::json!([]);
    assert!(open(&plain(nothing), None).is_err(), "a pass of nothing");
}

#[test]
fn a_certificate_says_what_it_says_once() {
    let bytes = plain(statement());
    let text = String::from_utf8(bytes).unwrap();
    for (twice, why) in [
        (text.replace("\"seed\": 0", "\"seed\": 0, \"seed\": 1"), "duplicate field \"seed\""),
        (text.replacen("\"schema\"", "\"verdict\": \"fail\", \"schema\"", 1), "duplicate field `verdict`"),
        (text.replacen("\"schema\"", "\"more\": 1, \"schema\"", 1), "unknown field `more`"),
    ] {
        let Err(CertificateError::Refused(found)) = open(twice.as_bytes(), None) else { panic!("{twice}") };
        assert!(found.contains(why), "{found}");
    }
}

#[test]
fn a_signature_cannot_be_taken_off_or_put_on_something_else() {
    let key = private().public();
    let payload = Envelope::from_bytes(&signed(statement(), &private())).unwrap().payload;
    // The payload alone carries no digest; with one made for it, it is a plain certificate, which no key accepts.
    assert!(matches!(open(&payload, None), Err(CertificateError::Refused(_))));
    assert!(
        matches!(open(&plain(statement()), Some(&key)), Err(CertificateError::Refused(why)) if why.contains("not signed"))
    );
    for wrong in [plain(statement()), b"{}".to_vec(), vec![]] {
        let bytes = Envelope::sign(wrong, &private()).to_bytes();
        assert!(matches!(open(&bytes, Some(&key)), Err(CertificateError::Refused(_))));
    }
}

#[test]
fn what_is_no_certificate_is_told_from_one_that_was_changed() {
    for other in [&b""[..], b"{}", b"[]", b"\x89HDF", br#"{"name":"package"}"#, br#"{"payload":1}"#] {
        assert!(matches!(open(other, None), Err(CertificateError::Other(_))), "{other:?}");
    }
    let deep = format!("{STATEMENT_TYPE}{}", "[".repeat(1_000_000));
    assert!(open(deep.as_bytes(), None).is_err());
    let huge = vec![b' '; MAX_BYTES as usize + 1];
    assert!(matches!(open(&huge, None), Err(CertificateError::Other(_))));
}
