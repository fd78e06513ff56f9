//! What others can check and repeat: certificates and bundles.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};
use lanes::Choice;

use super::{Display, Verify};

/// What others can check or repeat.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Evidence")]
pub(crate) struct Evidence {
    /// Also write what was compared and found as a certificate, which `gatewise check` verifies.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) certificate: Option<PathBuf>,
    /// Sign the certificate with this ed25519 key (PEM, as `openssl genpkey -algorithm ed25519` writes it).
    #[arg(long, value_name = "KEY.pem", requires = "certificate")]
    pub(crate) sign: Option<PathBuf>,
    /// Record this time in the certificate, such as "$(date -u +%FT%TZ)"; without it there is none, and the same
    /// comparison gives the same bytes.
    #[arg(long, value_name = "TIME", requires = "certificate", value_parser = crate::certificate::time)]
    pub(crate) created: Option<String>,
    /// Unless the verdict is a pass, also write the smallest part that shows why into this new folder; without
    /// CHECKPOINT, repeat what such a folder holds on the CPU.
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
}

/// `verify --bundle DIR` without a checkpoint: repeat what a folder holds.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: PathBuf,
    #[command(flatten)]
    pub(crate) display: Display,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Check {
    /// The certificate.
    #[arg(value_name = "CERTIFICATE")]
    pub(crate) certificate: PathBuf,
    /// Files that the certificate must be about; without any, all that it names are looked at where it names them.
    #[arg(value_name = "FILES")]
    pub(crate) files: Vec<PathBuf>,
    /// The public key of whoever signed it (PEM); without it a signed certificate is not verified (exit 3).
    #[arg(long, value_name = "PUB.pem")]
    pub(crate) key: Option<PathBuf>,
    /// The folder that relative paths in the certificate start from.
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    pub(crate) root: Option<PathBuf>,
    /// Make the comparison once more, from the certificate and the files, and compare the results.
    #[arg(long, conflicts_with = "files")]
    pub(crate) again: bool,
    /// Where to make it, if not where the certificate says.
    #[arg(long, value_name = "DEVICE", requires = "again")]
    pub(crate) device: Option<Choice>,
    #[command(flatten)]
    pub(crate) display: Display,
}

/// Certify, or repeat: told apart by whether there is a checkpoint.
#[derive(Debug)]
pub(crate) enum VerifyOrReplay {
    Verify(Box<Verify>),
    Replay(Replay),
}

impl Args for VerifyOrReplay {
    fn augment_args(command: clap::Command) -> clap::Command {
        Verify::augment_args(command)
            .mut_arg("checkpoint", |arg| arg.required(false).required_unless_present("bundle"))
            .mut_arg("candidate", |arg| arg.requires("checkpoint"))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for VerifyOrReplay {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        if matches.contains_id("checkpoint") {
            return Ok(VerifyOrReplay::Verify(Box::new(Verify::from_arg_matches(matches)?)));
        }
        // What a bundle repeats is in the bundle: an option that would change it must not be passed over.
        let all = Self::augment_args(clap::Command::new("verify"));
        let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let other = all
            .get_arguments()
            .map(|arg| arg.get_id().as_str())
            .find(|id| given(id) && !["bundle", "format", "quiet", "color"].contains(id));
        match other {
            None => Replay::from_arg_matches(matches).map(VerifyOrReplay::Replay),
            Some(id) => Err(clap::Error::raw(
                clap::error::ErrorKind::ArgumentConflict,
                format!(
                    "--bundle DIR alone repeats what the folder holds: --{} needs a CHECKPOINT\n",
                    id.replace('_', "-")
                ),
            )),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
