//! Names made to be printed: escape sequences, forged lines, paths that lead elsewhere.

use super::Case;
use super::Outcome::{Read, Refused};
use crate::bundle::{Bundle, INDEX};
use crate::saved_slices::{FILE, SavedSlices};
use crate::wire::{bytes, number, shape};

/// Names that do harm when they are printed as they are.
const NAMES: [&str; 11] = [
    "\u{1b}[2J\u{1b}[31mred",
    "\u{1b}]0;title\u{7}",
    "\u{9b}31m",
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
    let mut forged = Bundle::lstm();
    forged.add("a\nerror: forged", 1, &[1], &[0; 4]);
    let mut forged_v1 = SavedSlices::lstm();
    forged_v1.add("z\n::error::forged", &[1], &[(0, None)], &bytes(5, &[0; 4]));
    let tensor = [number(1, 1), bytes(2, &shape(&[1])), bytes(4, &[0; 4])].concat();
    let value = [bytes(1, b"value"), bytes(2, &bytes(8, &tensor))].concat();
    let node = [bytes(1, b"a\nerror: forged"), bytes(2, b"Const"), bytes(5, &value)].concat();
    let forged_state = "model_checkpoint_path: \"gone\\nerror: forged\"\n";
    let state = "model_checkpoint_path: \"\\033[31m/gone/\\302\\233\"\n";
    vec![
        Case::new("names with escape sequences and paths", variables.files(), INDEX, Read),
        Case::new("a name that is no UTF-8", latin.files(), INDEX, Refused("a name in UTF-8")),
        Case::new("a broken variable with escapes in its name", broken.files(), INDEX, Refused("negative dimensions")),
        Case::new("V2: a name that forges a line", forged.sorted().files(), INDEX, Refused("a name on one line")),
        Case::new("V1: a name that forges a line", forged_v1.files(), FILE, Refused("a name on one line")),
        Case::one("a frozen graph with a name that forges a line", "frozen.pb", bytes(1, &node), {
            Refused("a name on one line")
        }),
        Case::one("a state file that forges a line", "checkpoint", forged_state.into(), Refused("a name on one line")),
        Case::one("a state file that names a checkpoint with escapes", "checkpoint", state.into(), Refused("gone")),
        Case::one("a state file of escapes", "checkpoint", b"\x1b[31m: \x9b".to_vec(), Refused("name: value")),
    ]
}
