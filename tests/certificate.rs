//! `gatewise verify --certificate` and `gatewise check`: what was certified can be checked by somebody else, and nothing
//! that was changed is believed.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Run, gatewise, golden};

/// The first key of RFC 8032, section 7.1: everybody knows it.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";
/// Of the second key.
const OTHER_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=
-----END PUBLIC KEY-----
";

/// A checkpoint and two conversions of it in a folder of their own, and keys.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        for file in ["checkpoint", "model.ckpt.data-00000-of-00001", "model.ckpt.index", "model.ckpt.meta"] {
            std::fs::copy(golden("basic").join(file), folder.path().join(file)).unwrap();
        }
        for (file, name) in
            [("keras2/model.keras", "right.keras"), ("keras2/wrong/no_forget_bias.weights.h5", "wrong.weights.h5")]
        {
            std::fs::copy(golden("basic").join(file), folder.path().join(name)).unwrap();
        }
        for (name, text) in [("key.pem", PRIVATE), ("pub.pem", PUBLIC), ("other.pem", OTHER_PUBLIC)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs in the folder, so that certificates name files without it.
    fn run(&self, line: &str) -> Run {
        common::gatewise_in(self.0.path(), line.split(' '))
    }

    /// Certifies at small sizes: as large as the kill table needs.
    fn certify(&self, candidate: &str, more: &str) -> Run {
        self.run(&format!(
            "verify . {candidate} --device cpu --sequences 8 --timesteps 12 --quiet --certificate c.json{more}"
        ))
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn check(&self, more: &str) -> Run {
        self.run(&format!("check c.json --format json{more}"))
    }
}

/// Refused, with exit code 1, and for this reason.
#[track_caller]
fn refused(run: &Run, why: &str) {
    run.expect_code(1, why);
    let document = run.json();
    assert_eq!(document["outcome"], "refused", "{document:#}");
    assert!(document["reasons"].to_string().contains(why), "expected {why:?} in {:#}", document["reasons"]);
}

#[test]
fn a_pass_is_certified_checked_and_repeated() {
    let folder = Folder::new();
    folder.certify("right.keras", "").expect_code(0, "verify");
    let first = folder.text("c.json");
    folder.certify("right.keras", "").expect_code(0, "verify");
    assert_eq!(folder.text("c.json"), first, "the same bytes each time");
    assert!(!first.contains(&folder.0.path().display().to_string()), "no path of this machine");

    let run = folder.check("");
    run.expect_code(0, "check");
    let document = run.json();
    assert_eq!((&document["outcome"], &document["verdict"]), (&"genuine".into(), &"pass".into()));
    assert_eq!(document["signature"]["state"], "unsigned");
    let files = document["files"].as_array().unwrap();
    assert!(files.len() >= 4 && files.iter().all(|f| f["matches"] == true), "{files:#?}");

    let run = folder.check(" --again");
    run.expect_code(0, "again");
    let again = &run.json()["again"];
    assert_eq!(
        (&again["equal"], &again["same_device"], &again["verdict"]),
        (&true.into(), &true.into(), &"pass".into())
    );

    // From elsewhere, with the folder named.
    let root = folder.0.path().display().to_string();
    let run = gatewise(["check", &folder.path("c.json").display().to_string(), "--root", &root, "--again"]);
    run.expect_code(0, "from elsewhere");
    assert!(run.stdout.starts_with("PASS  ") && run.stdout.contains("every number the same"), "{}", run.stdout);
}

#[test]
fn a_time_is_recorded_only_where_it_is_asked_for() {
    let folder = Folder::new();
    folder.certify("right.keras", "").expect_code(0, "without");
    assert!(!folder.text("c.json").contains("\"created\""));
    folder.certify("right.keras", " --created 2026-11-25T22:30:00Z").expect_code(0, "with");
    assert!(folder.text("c.json").contains("\"created\": \"2026-11-25T22:30:00Z\""));
    folder.check(" --again").expect_code(0, "and it repeats");
}

#[test]
fn a_fail_is_certified_as_one() {
    let folder = Folder::new();
    folder.certify("wrong.weights.h5", "").expect_code(1, "verify");
    let run = folder.check(" --again");
    run.expect_code(1, "check");
    let document = run.json();
    assert_eq!((&document["outcome"], &document["verdict"]), (&"genuine".into(), &"fail".into()));
    assert!(document["verdict_reasons"][0].as_str().unwrap().contains("forget bias missing"));
    assert_eq!(document["again"]["equal"], true);
    let text = folder.run("check c.json");
    assert!(text.stdout.starts_with("FAIL  c.json is genuine, and it certifies: "), "{}", text.stdout);
}

#[test]
fn an_inconclusive_verdict_keeps_its_exit_code() {
    let folder = Folder::new();
    folder
        .run("verify . right.keras --device cpu --sequences 1 --timesteps 1 --certificate c.json")
        .expect_code(3, "verify");
    let run = folder.check("");
    run.expect_code(3, "check");
    assert_eq!((&run.json()["outcome"], &run.json()["verdict"]), (&"genuine".into(), &"inconclusive".into()));
}

#[test]
fn nothing_is_certified_where_nothing_was_compared() {
    let folder = Folder::new();
    folder.run("verify . missing.keras --certificate c.json").expect_code(2, "no candidate");
    folder.run("verify . right.keras --sign pub.pem --certificate c.json").expect_code(2, "a public key does not sign");
    folder
        .run("verify . right.keras --device cpu --certificate model.ckpt.index")
        .expect_code(2, "over the checkpoint");
    folder.run("verify . right.keras --device cpu --certificate right.keras").expect_code(2, "over the candidate");
    assert!(!folder.path("c.json").exists());
    assert!(std::fs::read_dir(folder.0.path()).unwrap().count() == 9, "no other file is left");
}

/// Each file has one purpose: no two results share one, and the key that signs stays a key.
#[test]
fn no_evidence_takes_the_place_of_another_or_of_the_key() {
    let folder = Folder::new();
    std::fs::hard_link(folder.path("key.pem"), folder.path("linked.pem")).unwrap();
    let refused = |more: &str, why: &str| {
        let run = folder.run(&format!("verify . right.keras --device cpu --sequences 4 --timesteps 6 {more}"));
        run.expect_code(2, more);
        assert!(run.stderr.contains(why) && run.stdout.is_empty(), "{more}: {}", run.stderr);
    };
    for (a, b) in [("x", "x"), ("x", "./x"), ("key.pem", "linked.pem")] {
        refused(&format!("--report {a} --certificate {b}"), "is named for two results: give each its own file");
    }
    refused("--report x --bundle x", "is named for two results");
    refused("--certificate x --bundle ./x", "is named for two results");
    for key in ["key.pem", "./key.pem", "linked.pem"] {
        refused(&format!("--sign key.pem --certificate {key}"), "choose another file to write");
        refused(&format!("--sign key.pem --certificate c.json --report {key}"), "choose another file to write");
    }
    assert_eq!(folder.text("key.pem"), PRIVATE);
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 10, "no other file is left");
}

/// A change of what a reader sees, anywhere: exit 1, never 0, 2 or 3.
#[test]
fn a_changed_certificate_is_refused() {
    let folder = Folder::new();
    folder.certify("wrong.weights.h5", "").expect_code(1, "verify");
    let good = folder.text("c.json");
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        std::fs::write(folder.path("c.json"), good.replacen(from, to, 1)).unwrap();
        refused(&folder.check(""), "the certificate was changed");
    };
    change("\"verdict\": \"fail\"", "\"verdict\": \"pass\"");
    change("\"seed\": 0", "\"seed\": 1");
    change("--sequences=8", "--sequences=9");
    change("\"role\": \"checkpoint\"", "\"role\":  \"checkpoint\"");
    change("wrong.weights.h5", "right.keras");
    std::fs::write(folder.path("c.json"), good.replacen("\"seed\": 0", "\"seed\": 1, \"seed\": 0", 1)).unwrap();
    refused(&folder.check(""), "duplicate field");
    std::fs::write(folder.path("c.json"), good.replace(": \"fail\"", ": \"pass\"")).unwrap();
    refused(&folder.check(""), "changed");
    // One bit of a byte here and there in the real file; every byte of a small one is tried beside the code.
    let bytes = good.as_bytes();
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        std::fs::write(folder.path("c.json"), &changed).unwrap();
        folder.check("").expect_code(1, &format!("byte {at}"));
    }
}

#[test]
fn a_certificate_is_about_its_files_and_no_others() {
    let folder = Folder::new();
    folder.certify("right.keras", "").expect_code(0, "verify");
    folder.check(" right.keras").expect_code(0, "its candidate");
    std::fs::rename(folder.path("right.keras"), folder.path("renamed")).unwrap();
    let run = folder.check(" renamed model.ckpt.index");
    run.expect_code(0, "under another name");
    let unchecked = run.json()["files"].as_array().unwrap().iter().filter(|f| f["matches"].is_null()).count();
    assert!(unchecked > 0, "what was not given was not checked");
    refused(&folder.check(" renamed wrong.weights.h5"), "wrong.weights.h5 is none of the files");
    folder.check("").expect_code(2, "a file is missing");
    std::fs::copy(folder.path("wrong.weights.h5"), folder.path("right.keras")).unwrap();
    refused(&folder.check(""), "right.keras is not the file it was");
    refused(&folder.check(" --again"), "right.keras is not the file it was");
    folder.check(" .").expect_code(2, "a folder is no file");
}

#[test]
fn a_signature_is_checked_with_the_key_and_only_then() {
    let folder = Folder::new();
    folder.certify("right.keras", " --sign key.pem").expect_code(0, "verify");
    let good = folder.text("c.json");
    folder.certify("right.keras", " --sign key.pem").expect_code(0, "verify");
    assert_eq!(folder.text("c.json"), good, "the same bytes each time");

    let run = folder.check(" --key pub.pem --again");
    run.expect_code(0, "the right key");
    assert_eq!(run.json()["signature"]["state"], "valid");
    let run = folder.check("");
    run.expect_code(3, "no key");
    assert_eq!(
        (&run.json()["outcome"], &run.json()["signature"]["state"]),
        (&"unverified".into(), &"not-checked".into())
    );
    assert!(folder.run("check c.json --quiet").stdout.starts_with("NOT VERIFIED  "));
    refused(&folder.check(" --key other.pem"), "signed by key");
    folder.check(" --key key.pem").expect_code(2, "the private key");
    folder.check(" --key right.keras").expect_code(2, "no key at all");

    let change = |from: &str, to: &str, why: &str| {
        assert!(good.contains(from), "{from}");
        std::fs::write(folder.path("c.json"), good.replacen(from, to, 1)).unwrap();
        refused(&folder.check(" --key pub.pem"), why);
    };
    change("vnd.in-toto+json", "vnd.in-toto+jsom", "payload type");
    change("\"signatures\": [", "\"signatures\": [{\"keyid\": \"\", \"sig\": \"\"},", "2 signatures");
    change("\"keyid\": \"06e3", "\"keyid\": \"16e3", "signed by key 16e3");
    change("\n", "", "not written as gatewise writes it");
    // A wrong key's claim to be the right one.
    let id = |text: &str| text.split("\"keyid\": \"").nth(1).unwrap()[..64].to_owned();
    change(&id(&good), &"0".repeat(64), "signed by key 0000");
    // The payload taken out of its envelope, and one certificate's signature on another.
    let payload = payload(&good);
    std::fs::write(folder.path("c.json"), &payload).unwrap();
    refused(&folder.check(""), "changed");
    folder.certify("wrong.weights.h5", " --sign key.pem").expect_code(1, "another");
    let other = folder.text("c.json");
    let signature = |text: &str| text.split("\"sig\": \"").nth(1).unwrap()[..88].to_owned();
    std::fs::write(folder.path("c.json"), other.replace(&signature(&other), &signature(&good))).unwrap();
    refused(&folder.check(" --key pub.pem"), "the signature does not fit");
    // An unsigned certificate where a signed one is asked for.
    folder.certify("right.keras", "").expect_code(0, "unsigned");
    refused(&folder.check(" --key pub.pem"), "not signed");
}

#[test]
fn what_is_no_certificate_is_bad_input() {
    let folder = Folder::new();
    for (name, bytes) in
        [("empty", &b""[..]), ("json", b"{\"name\": 1}"), ("binary", &[0xff; 100]), ("deep", &[b'['; 100_000])]
    {
        std::fs::write(folder.path("c.json"), bytes).unwrap();
        let run = folder.check("");
        run.expect_code(2, name);
        assert!(
            run.stderr.starts_with("error: c.json: not a certificate of gatewise: ") && run.stdout.is_empty(),
            "{}",
            run.stderr
        );
    }
    folder.run("check nowhere.json").expect_code(2, "no such file");
    folder.run("check .").expect_code(2, "a folder");
    let verified = folder.run("verify . right.keras --device cpu --sequences 2 --timesteps 2 --format json");
    std::fs::write(folder.path("c.json"), verified.stdout).unwrap();
    folder.check("").expect_code(2, "a document of verify");
}

/// What the certificate asks for is read from it, and it is somebody else's: no file is written, and none is waited for.
#[test]
fn a_hostile_certificate_asks_for_nothing_but_a_comparison() {
    let folder = Folder::new();
    folder.certify("right.keras", "").expect_code(0, "verify");
    let good = folder.text("c.json");
    // As text: numbers read and written again may come out otherwise.
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        std::fs::write(folder.path("c.json"), sealed(&good.replacen(from, to, 1))).unwrap();
        folder.check(" --again")
    };
    with("verify", "verify").expect_code(0, "the digest can be made anew, which is why keys are better");
    for argument in ["--report=r.html", "--certificate=d.json", "--bundle=b", "--nonsense", "--help"] {
        let more = format!("\"verify\",\n      \"{argument}\"");
        refused(&with("\"verify\"", &more), "its arguments are not those of a comparison");
    }
    refused(&with("\"verify\"", "\"devices\""), "its arguments");
    for name in ["r.html", "d.json", "b"] {
        assert!(!folder.path(name).exists(), "{name} was written");
    }
    // Other settings than those whose results it shows.
    refused(&with("--seed=0", "--seed=1"), "other numbers, first at verification.");
    let tensor = good.split("\"name\": \"recurrent_kernel\"").nth(1).unwrap();
    let digest = &tensor.split("\"sha256\": \"").nth(1).unwrap()[..64];
    refused(&with(digest, &"0".repeat(64)), "their weights are not those of the certificate");
    let rms = good.split("\"rms\": ").nth(4).unwrap().split(',').next().unwrap();
    let run = with(&format!("\"rms\": {rms}"), "\"rms\": 0.125");
    refused(&run, "first at verification.lstms[0].timesteps[3].carried.rms");
    std::fs::write(folder.path("c.json"), &good).unwrap();
    // A file that never ends.
    if Path::new("/dev/zero").exists() {
        std::fs::remove_file(folder.path("model.ckpt.meta")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path("model.ckpt.meta")).unwrap();
        folder.check("").expect_code(2, "/dev/zero");
    }
}

/// With the digest made anew, by the rule in docs/certificate.md: SHA-256 of the file without the digits of the digest.
fn sealed(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let field = "\"certificate_sha256\": \"";
    let digits = text.rfind(field).unwrap() + field.len();
    let without = format!("{}{}", &text[..digits], &text[digits + 64..]);
    let digest: String = Sha256::digest(without.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    format!("{}{digest}{}", &text[..digits], &text[digits + 64..])
}

/// The payload of an envelope.
fn payload(envelope: &str) -> Vec<u8> {
    let json: serde_json::Value = serde_json::from_str(envelope).unwrap();
    decoded(json["payload"].as_str().unwrap())
}

fn decoded(base64: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(base64).unwrap()
}

/// Keys made by OpenSSL sign here, and OpenSSL verifies what was signed.
#[test]
fn openssl_makes_the_keys_and_verifies_the_signatures() {
    let folder = Folder::new();
    let openssl = |line: &str| Command::new("openssl").args(line.split(' ')).current_dir(folder.0.path()).output();
    if openssl("version").is_err() {
        eprintln!("SKIPPED: openssl_makes_the_keys_and_verifies_the_signatures: no openssl (.ci/setup installs it)");
        return;
    }
    let run = |line: &str| {
        let output = openssl(line).unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    run("genpkey -algorithm ed25519 -out fresh.pem");
    run("pkey -in fresh.pem -pubout -out fresh.pub.pem");
    folder.certify("right.keras", " --sign fresh.pem").expect_code(0, "verify");
    folder.check(" --key fresh.pub.pem").expect_code(0, "gatewise's own check");
    refused(&folder.check(" --key pub.pem"), "signed by key");

    let envelope: serde_json::Value = serde_json::from_str(&folder.text("c.json")).unwrap();
    let payload = decoded(envelope["payload"].as_str().unwrap());
    let kind = envelope["payloadType"].as_str().unwrap();
    // DSSE's encoding of what is signed.
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    signed.extend(&payload);
    std::fs::write(folder.path("signed"), &signed).unwrap();
    std::fs::write(folder.path("sig"), decoded(envelope["signatures"][0]["sig"].as_str().unwrap())).unwrap();
    run("pkeyutl -verify -rawin -pubin -inkey fresh.pub.pem -in signed -sigfile sig");
    run("pkeyutl -sign -rawin -inkey fresh.pem -in signed -out openssl.sig");
    assert_eq!(std::fs::read(folder.path("sig")).unwrap(), std::fs::read(folder.path("openssl.sig")).unwrap());
    signed[100] ^= 1;
    std::fs::write(folder.path("signed"), &signed).unwrap();
    let changed = openssl("pkeyutl -verify -rawin -pubin -inkey fresh.pub.pem -in signed -sigfile sig").unwrap();
    assert!(!changed.status.success(), "openssl refuses another payload");

    run("pkey -pubin -in fresh.pub.pem -outform DER -out fresh.der");
    let id = String::from_utf8(run("dgst -sha256 -r fresh.der")).unwrap();
    assert_eq!(envelope["signatures"][0]["keyid"].as_str().unwrap(), &id[..64]);

    // Keys that do not sign here.
    run("genpkey -algorithm x25519 -out x25519.pem");
    folder.certify("right.keras", " --sign x25519.pem").expect_code(2, "another algorithm");
    run("pkcs8 -topk8 -in fresh.pem -out locked.pem -passout pass:secret");
    let locked = folder.certify("right.keras", " --sign locked.pem");
    locked.expect_code(2, "an encrypted key");
    assert!(locked.stderr.contains("not encrypted") && !locked.stderr.contains("PRIVATE"), "{}", locked.stderr);
}

/// Recorded inputs, a map and facts given by options are part of what a certificate is about.
#[test]
fn everything_given_is_certified() {
    let folder = Folder::new();
    let map = folder.run("inspect . --format map");
    std::fs::write(folder.path("map.toml"), map.stdout).unwrap();
    let io = golden::case("basic").io();
    golden::write_npz(&folder.path("x.npz"), &[("x", io["x"].clone())]);
    let line = "verify . right.keras --device cpu --map map.toml --inputs x.npz --forget-bias 1 --atol 0.30000000000000004 \
                --certificate c.json --quiet";
    let run = folder.run(&line.replace("                ", ""));
    assert!(run.code == 0 || run.code == 3, "{}{}", run.stdout, run.stderr);
    let code = run.code;
    let json: serde_json::Value = serde_json::from_str(&folder.text("c.json")).unwrap();
    let roles: Vec<&str> =
        json["predicate"]["files"].as_array().unwrap().iter().map(|f| f["role"].as_str().unwrap()).collect();
    assert!(roles.contains(&"inputs") && roles.contains(&"map"), "{roles:?}");
    let again = folder.check(" --again");
    again.expect_code(code, "again");
    assert_eq!(again.json()["again"]["equal"], true);
    let text = std::fs::read_to_string(folder.path("map.toml")).unwrap();
    std::fs::write(folder.path("map.toml"), text + "\n# a remark\n").unwrap();
    refused(&folder.check(""), "map.toml is not the file it was");
}

/// Certified on a GPU adapter and made again on the CPU: the verdict counts, not the numbers.
#[test]
fn another_device_gives_the_same_verdict() {
    let folder = Folder::new();
    let line = "verify . right.keras --device gpu --sequences 8 --timesteps 12 --quiet --certificate c.json";
    folder.run(line).expect_code(0, "on the adapter");
    let first = folder.text("c.json");
    let run = folder.check(" --again");
    run.expect_code(0, "again on the adapter");
    assert_eq!((&run.json()["again"]["equal"], &run.json()["again"]["same_device"]), (&true.into(), &true.into()));
    let run = folder.check(" --again --device cpu");
    run.expect_code(0, "on the CPU");
    let again = &run.json()["again"];
    assert_eq!(
        (&again["equal"], &again["same_device"], &again["verdict"]),
        (&false.into(), &false.into(), &"pass".into())
    );
    folder.run(line).expect_code(0, "once more");
    assert_eq!(folder.text("c.json"), first);
}
