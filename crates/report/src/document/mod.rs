//! The documents gatewise prints, as plain data. Their JSON form is a contract: fields may be added, not changed.

mod bench;
mod check;
mod convert;
mod devices;
mod inspect;
mod measured;
mod replay;
mod suite;
mod verify;

pub use bench::{
    Baseline, Bench, BenchCase, BenchDevice, BenchRegression, BenchResult, BenchSettings, BenchTime, Skipped,
};
pub use check::{Again, Check, CheckedFile, Signature};
pub use convert::{Convert, ConvertedLayer};
pub use devices::{Device, Devices, SelfCheck};
pub use inspect::{Averages, Fact, Ignored, Inspect, Lstm, Malformed, OneOrMany, Representable, Variable};
pub use replay::{Replay, ReplayedElement, ReplayedValues};
pub use suite::{
    BaselineReport, CaseTime, Counts, Ending, Expected, Figure, Finding, Outcome, Regression, Suite, SuiteCase,
    SuiteDivergence, SuiteFile, SuiteShard, Timings,
};
pub use verify::{
    At, ByQuantity, Carried, Diagnosis, FileDigest, Heat, Inputs, Kill, Local, Reason, Screened, ScreenedStep,
    Settings, SmallestChange, Timestep, VerifiedLstm, Verify, WeightTensor, Weights,
};
