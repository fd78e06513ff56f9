//! `--certificate`: what a verification compared and found, as a statement that others can check.

use std::path::Path;

use clap::ValueEnum;
use lstm::KerasCell;
use report::dsse::PrivateKey;
use report::statement::{self, File, MadeBy, Mapping, Predicate, Statement, Tensor};

use crate::error::CliError;
use crate::verify::Judged;
use crate::{args, output};

/// The version of Burn in the lock file.
const BURN: &str = "0.22.1";

/// Reads the key that signs.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKey, CliError> {
    let text = output::read_small_text(path)?;
    PrivateKey::from_pem(&text).map_err(|source| CliError::Key { file: path.to_owned(), source })
}

/// The certificate of a verification made with these arguments: signed where there is a key, else with a digest of
/// itself. The same arguments, files and device give the same bytes.
pub(crate) fn certify(
    args: &args::Verify,
    judged: &Judged,
    created: Option<&str>,
    key: Option<&PrivateKey>,
) -> Result<Vec<u8>, CliError> {
    let statement = statement(args, judged, created)?;
    let bytes = match key {
        Some(key) => statement::signed(statement, key),
        None => statement::plain(statement),
    };
    if bytes.len() as u64 > statement::MAX_BYTES {
        let file = args.evidence.certificate.clone().unwrap_or_default();
        let problem = format!(
            "the certificate would have {} MiB, and at most {} are read: take fewer LSTMs (--lstm) or --timesteps",
            bytes.len() >> 20,
            statement::MAX_BYTES >> 20
        );
        return Err(CliError::Certificate { file, problem });
    }
    Ok(bytes)
}

/// What a certificate says.
pub(crate) fn statement(args: &args::Verify, judged: &Judged, created: Option<&str>) -> Result<Statement, CliError> {
    let mut document = judged.document.clone();
    // A picture of the worst sequence, larger than all the rest.
    for lstm in &mut document.lstms {
        lstm.heat = None;
    }
    let predicate = Predicate {
        schema: statement::SCHEMA.to_owned(),
        verdict: document.verdict.clone(),
        made_by: made_by(),
        created: created.map(str::to_owned),
        arguments: arguments(args)?,
        files: files(args, judged)?,
        lstms: mappings(judged)?,
        verification: serde_json::to_value(&document).map_err(|e| CliError::Stdout(e.into()))?,
        certificate_sha256: None,
    };
    Ok(predicate.about_its_files())
}

fn made_by() -> MadeBy {
    MadeBy {
        gatewise: env!("CARGO_PKG_VERSION").to_owned(),
        burn: BURN.to_owned(),
        platform: format!("{} {} {}", std::env::consts::ARCH, std::env::consts::OS, vectors()),
    }
}

/// The widest vector instructions there are: f32 sums on the CPU depend on their width.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512f";
        }
        if std::arch::is_x86_feature_detected!("fma") && std::arch::is_x86_feature_detected!("avx2") {
            return "avx2+fma";
        }
    }
    "baseline"
}

/// The arguments that repeat a verification, each option in one form and order.
pub(crate) fn arguments(args: &args::Verify) -> Result<Vec<String>, CliError> {
    // Without `..`: a new option does not compile until somebody has thought about whether it belongs here.
    let args::Verify {
        source: args::Source { checkpoint, lstm, map },
        candidate,
        facts: args::Facts { forget_bias, activation, recurrent_activation, input_size, weights, override_graph },
        keras,
        device,
        sequences,
        timesteps,
        seed,
        memory,
        inputs,
        atol,
        rtol,
        // What is shown and written changes nothing of what is found.
        report: _,
        steps: _,
        evidence: _,
        display: _,
    } = args;
    let mut all = vec!["verify".to_owned()];
    let mut option = |name: &str, value: Option<String>| all.extend(value.map(|v| format!("--{name}={v}")));
    for name in lstm {
        option("lstm", Some(name.clone()));
    }
    option("map", map.as_deref().map(utf8).transpose()?);
    option("forget-bias", forget_bias.map(|v| v.to_string()));
    option("activation", activation.as_ref().map(name));
    option("recurrent-activation", recurrent_activation.as_ref().map(name));
    option("input-size", input_size.map(|v| v.to_string()));
    option("weights", weights.as_ref().map(name));
    option("keras", keras.as_ref().map(name));
    option("device", Some(device.to_string()));
    option("inputs", inputs.as_deref().map(utf8).transpose()?);
    if inputs.is_none() {
        option("sequences", Some(sequences.to_string()));
        option("timesteps", Some(timesteps.to_string()));
        // How much is judged depends on it, where a run is large.
        option("memory", (*memory != args::DEFAULT_MEMORY).then(|| memory.to_string()));
    }
    option("seed", Some(seed.to_string()));
    option("atol", atol.map(|v| v.to_string()));
    option("rtol", rtol.map(|v| v.to_string()));
    if *override_graph {
        all.push("--override".to_owned());
    }
    all.push("--".to_owned());
    all.push(utf8(checkpoint)?);
    all.extend(candidate.as_deref().map(utf8).transpose()?);
    Ok(all)
}

/// The name of an option's value on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}

fn utf8(path: &Path) -> Result<String, CliError> {
    path.to_str().map(str::to_owned).ok_or_else(|| CliError::Certificate {
        file: path.to_owned(),
        problem: "the name is not UTF-8, and a certificate can only name files that are".to_owned(),
    })
}

/// Every file read, with its size and digest.
fn files(args: &args::Verify, judged: &Judged) -> Result<Vec<File>, CliError> {
    let compared = &judged.compared;
    let mut all: Vec<(&str, &Path)> = vec![];
    all.extend(compared.store.files.iter().map(|f| ("checkpoint", f.as_path())));
    all.extend(compared.candidate_files.iter().map(|f| ("candidate", f.as_path())));
    all.extend(args.inputs.iter().map(|f| ("inputs", f.as_path())));
    all.extend(args.source.map.iter().map(|f| ("map", f.as_path())));
    let file = |(role, path): (&str, &Path)| {
        // As it was when it was compared: a file that has changed since is refused.
        let disk = &compared.store.disk;
        let bytes = disk.open(path)?.len();
        Ok(File { role: role.to_owned(), path: utf8(path)?, bytes, sha256: disk.sha256(path, |_| ())? })
    };
    all.into_iter().map(file).collect()
}

/// Which LSTM became which layer, with the digests of the weights on both sides.
fn mappings(judged: &Judged) -> Result<Vec<Mapping>, CliError> {
    let compared = &judged.compared;
    let store = &compared.store;
    let mut all = vec![];
    for (subject, candidate) in compared.subjects.iter().zip(&compared.candidates) {
        let layers = candidate.network.cells().into_iter().zip(&candidate.names);
        for (cell, (weights, layer)) in subject.found.cells().into_iter().zip(layers) {
            let mut variables = vec![];
            for key in cell.variables.all() {
                let Some(variable) = store.variables().iter().find(|v| v.name == *key) else { continue };
                variables.push(Tensor {
                    name: store.key(key).to_owned(),
                    dtype: variable.dtype.as_str().to_owned(),
                    shape: variable.shape.clone(),
                    sha256: store.sha256(key)?,
                });
            }
            all.push(Mapping {
                lstm: cell.name.clone(),
                layer: layer.clone(),
                variables,
                weights: layer_tensors(weights),
            });
        }
    }
    Ok(all)
}

fn layer_tensors(cell: &KerasCell) -> Vec<Tensor> {
    let tensor = |name: &str, shape: &[usize], values: &mut dyn Iterator<Item = &f32>| Tensor {
        name: name.to_owned(),
        dtype: "float32".to_owned(),
        shape: shape.to_vec(),
        sha256: output::sha256(&values.flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()),
    };
    let mut all = vec![
        tensor("kernel", cell.kernel.shape(), &mut cell.kernel.iter()),
        tensor("recurrent_kernel", cell.recurrent_kernel.shape(), &mut cell.recurrent_kernel.iter()),
        tensor("bias", cell.bias.shape(), &mut cell.bias.iter()),
    ];
    if let Some(projection) = &cell.output_projection {
        all.push(tensor("output_projection", projection.shape(), &mut projection.iter()));
    }
    all
}

/// For the command line: a time in the form of RFC 3339, in UTC, as `date -u +%FT%TZ` prints it.
pub(crate) fn time(text: &str) -> Result<String, String> {
    let form = "dddd-dd-ddTdd:dd:ddZ";
    let fits = text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(c, f)| if f == b'd' { c.is_ascii_digit() } else { c == f });
    if fits { Ok(text.to_owned()) } else { Err("expected a time such as 2026-11-25T22:30:00Z".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parsed(arguments: &[String]) -> args::Verify {
        let line = std::iter::once("gatewise").chain(arguments.iter().map(String::as_str));
        let parsed = args::Arguments::try_parse_from(line).unwrap();
        let args::Command::Verify(args::VerifyOrReplay::Verify(verify)) = parsed.command else { panic!("not verify") };
        *verify
    }

    #[test]
    fn the_version_of_burn_is_the_one_built_with() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"burn\"\nversion = \"{BURN}\"\n")));
    }

    #[test]
    fn arguments_repeat_themselves() {
        for line in [
            "verify --device=auto --sequences=64 --timesteps=100 --seed=0 -- model.ckpt",
            "verify --lstm=a --lstm=b --map=m.toml --forget-bias=0.1 --activation=relu6 --recurrent-activation=hard_sigmoid \
             --input-size=7 --weights=ema --keras=3 --device=wgpu:1 --sequences=3 --timesteps=2 --memory=134217728 --seed=18446744073709551615 \
             --atol=0.30000000000000004 --rtol=0.00001 --override -- -model.ckpt --out.keras",
            "verify --device=cpu --inputs=x.npz --seed=9 -- model.ckpt out.keras",
        ] {
            let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(arguments(&parsed(&line)).unwrap(), line);
        }
    }

    #[test]
    fn what_is_written_and_shown_is_no_argument_of_the_comparison() {
        let with =
            "verify a --report r.html --certificate c.json --bundle b --format json --quiet --device cpu --seed 1";
        let with: Vec<String> = with.split(' ').map(str::to_owned).collect();
        let without = ["verify", "--device=cpu", "--sequences=64", "--timesteps=100", "--seed=1", "--", "a"];
        assert_eq!(arguments(&parsed(&with)).unwrap(), without);
    }

    #[test]
    fn times_are_in_one_form() {
        assert!(time("2026-11-25T22:30:00Z").is_ok());
        for wrong in ["", "now", "2026-11-25", "2026-11-25T22:30:00", "2026-11-25T22:30:00+01", "２026-11-25T22:30Z"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
