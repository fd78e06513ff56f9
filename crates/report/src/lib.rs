//! Turns results into text for people and JSON for machines.
//!
//! Documents are plain data ([`document`]): the same document is written as JSON and rendered for the terminal, so that
//! the two cannot disagree.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod document;
mod html;
mod inspect_text;
mod printable;
mod style;
mod verify_text;

pub use html::html;
pub use inspect_text::{convert as convert_text, devices as devices_text, inspect as inspect_text};
pub use printable::printable;
pub use style::Style;
pub use verify_text::{verdict_line, verify as verify_text};
