//! Rewrites the Keras models of the golden cases in every format that this crate writes:
//! `cargo run --example rewrite_golden -- GOLDEN_DIR OUT_DIR`, then `tests/interop/check_converted.py`.

use std::path::{Path, PathBuf};

use keras_file::Target;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(golden), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: rewrite_golden GOLDEN_DIR OUT_DIR".into());
    };
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&golden)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if golden.join(&name).join(MODEL).exists() {
            cases.push(name);
        }
    }
    if cases.is_empty() {
        return Err(format!("no case with {MODEL} found").into());
    }
    for case in &cases {
        rewrite(&golden, &out, &[case.as_str()], &ALL)?;
    }
    for branches in BRANCHES {
        rewrite(&golden, &out, branches, &[("model.keras", Target::Keras)])?;
    }
    println!("{} cases rewritten", cases.len());
    Ok(())
}

const MODEL: &str = "keras2/model.keras";

const ALL: [(&str, Target); 5] = [
    ("legacy.h5", Target::LegacyWeights),
    ("model.weights.h5", Target::Weights),
    ("model.keras", Target::Keras),
    ("weights.npz", Target::Npz),
    ("weights.safetensors", Target::Safetensors),
];

/// Cases that become the branches of one model: of equal lengths, and of different ones.
const BRANCHES: [&[&str]; 3] = [
    &["basic", "forget_bias_0"],
    &["cudnn_compatible", "multi"],
    &["basic", "cudnn_compatible", "stack_bidirectional", "lstm_cell", "multi"],
];

fn rewrite(
    golden: &Path,
    out: &Path,
    cases: &[&str],
    files: &[(&str, Target)],
) -> Result<(), Box<dyn std::error::Error>> {
    let chains: Vec<_> = cases
        .iter()
        .map(|case| Ok(keras_file::read(&golden.join(case).join(MODEL))?.layers))
        .collect::<Result<_, keras_file::Error>>()?;
    let out = out.join(cases.join("+"));
    std::fs::create_dir_all(&out)?;
    for (name, target) in files {
        std::fs::write(out.join(name), keras_file::encode(&chains, *target)?)?;
    }
    Ok(())
}
