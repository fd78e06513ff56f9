//! Documents as text for people: 80 columns, readable in a log and without colour.

mod inspect;
mod next;
mod spark;
mod steps;
mod style;
mod verify;
mod wrap;

pub use inspect::{convert as convert_text, devices as devices_text, inspect as inspect_text};
pub(crate) use next::next;
pub use steps::Steps;
pub use style::Style;
pub(crate) use verify::{reason_line, why};
pub use verify::{verdict_line, verify as verify_text};
