//! Names made to be printed: escape sequences, forged lines, paths that lead elsewhere.

use super::Case;
use super::Outcome::{Read, Refused};
use crate::bundle::{Bundle, INDEX};

/// Names that do harm when they are printed as they are.
const NAMES: [&str; 12] = [
    "\u{1b}[2J\u{1b}[31mred",
    "\u{1b}]0;title\u{7}",
    "\u{9b}31m",
    "a\nerror: forged",
    "a\r\u{8}\u{8}b",
    "\u{202e}gpj.exe",
    "\u{2066}isolated\u{2069}",
    "zero\u{200b}width",
    "\u{feff}mark",
    "../../../etc/passwd",
    "/etc/passwd",
    "con:|*?\"<>\\",
];

pub(super) fn cases() -> Vec<Case> {
    let mut variables = Bundle::lstm();
    for name in NAMES {
        variables.add(name, 1, &[1], &[0; 4]);
        variables.add(&format!("{name}/basic_lstm_cell/bias"), 1, &[8], &[0; 32]);
        variables.add(&format!("{name}/basic_lstm_cell/kernel"), 1, &[3, 8], &[0; 96]);
    }
    let variables = variables.sorted();
    // The offsets are those of the order in which they were added.
    let mut latin = Bundle::lstm();
    latin.add_key(b"\xff\xfe\x1b[31m", 1, &[1], &[0; 4], crc32c::crc32c(&[0; 4]));
    let mut broken = Bundle::empty();
    broken.add("a\u{1b}[31m\u{9b}2J\u{202e}", 1, &[-1], &[0; 4]);
    let state = "model_checkpoint_path: \"\\033[31m/gone/\\302\\233\"\n";
    vec![
        Case::new("names with escape sequences and paths", variables.files(), INDEX, Read),
        Case::new("a name that is no UTF-8", latin.files(), INDEX, Refused("a name in UTF-8")),
        Case::new("a broken variable with escapes in its name", broken.files(), INDEX, Refused("negative dimensions")),
        Case::one("a state file that names a checkpoint with escapes", "checkpoint", state.into(), Refused("gone")),
        Case::one("a state file of escapes", "checkpoint", b"\x1b[31m: \x9b".to_vec(), Refused("name: value")),
    ]
}
