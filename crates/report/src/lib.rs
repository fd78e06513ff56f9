//! Turns results into text for people and JSON for machines.
//!
//! Documents are plain data ([`document`]): the same document is written as JSON and rendered for the terminal, so that
//! the two cannot disagree.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod annotations;
mod bench_text;
mod check_text;
mod checks;
pub mod document;
pub mod dsse;
mod html;
mod junit;
mod printable;
mod replay_text;
mod roofline;
pub mod statement;
mod strict_json;
mod suite_text;
mod summary;
mod terminal;

pub use annotations::github as github_annotations;
pub use bench_text::bench as bench_text;
pub use check_text::{check as check_text, check_line};
pub use html::html;
pub use junit::junit;
pub use printable::{printable, printable_json, unsafe_to_print};
pub use replay_text::{replay as replay_text, replay_line};
pub use roofline::roofline;
pub use suite_text::{suite as suite_text, verdict_line as suite_verdict_line};
pub use summary::{LARGEST as LARGEST_SUMMARY, summary};
pub use terminal::{Steps, Style, convert_text, devices_text, inspect_text, verdict_line, verify_text};
pub(crate) use terminal::{next, reason_line, why};
