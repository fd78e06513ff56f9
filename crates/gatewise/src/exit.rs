//! The exit codes, which scripts rely on.

use parity::Verdict;
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Parity proven, or the command did what it should.
    Pass = 0,
    /// Parity broken.
    Fail = 1,
    /// Bad usage or bad input: nothing was compared.
    Error = 2,
    /// Nothing can be said.
    Inconclusive = 3,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

impl From<Verdict> for Code {
    fn from(verdict: Verdict) -> Code {
        match verdict {
            Verdict::Pass => Code::Pass,
            Verdict::Fail => Code::Fail,
            Verdict::Inconclusive => Code::Inconclusive,
        }
    }
}
