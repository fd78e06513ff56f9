//! The `checkpoint` state file: which checkpoint of a folder is the newest.
//!
//! A `CheckpointState` in protocol buffer text format (`tensorflow/python/training/checkpoint_state.proto`).

use std::path::Path;

use crate::Error;

/// What a `checkpoint` state file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointState {
    /// The newest checkpoint: absolute, or relative to the folder of the state file.
    pub model_checkpoint_path: String,
    /// Every checkpoint that was kept, oldest first.
    pub all_model_checkpoint_paths: Vec<String>,
}

impl CheckpointState {
    /// Parses the text of the state file at `path`, which is only used in errors.
    ///
    /// # Errors
    ///
    /// [`Error::StateFile`] if it is not such text, or names no newest checkpoint.
    pub fn parse(path: &Path, text: &[u8]) -> Result<CheckpointState, Error> {
        let mut parser = Parser { rest: text, line: 1 };
        parser.state().map_err(|(expected, found)| Error::StateFile {
            path: path.to_owned(),
            line: parser.line,
            expected,
            found,
        })
    }
}

type Problem = (&'static str, String);

struct Parser<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Parser<'_> {
    fn state(&mut self) -> Result<CheckpointState, Problem> {
        let mut state = CheckpointState::default();
        loop {
            self.skip_blank();
            if self.rest.is_empty() {
                break;
            }
            let name = self.word();
            self.skip_blank();
            if name.is_empty() || self.next() != Some(b':') {
                return Err(("`name: value` on each line", format!("{:?}", shown(&name))));
            }
            self.skip_blank();
            let value = match self.rest.first() {
                Some(b'"' | b'\'') => self.strings()?,
                _ => self.word(),
            };
            match name.as_slice() {
                b"model_checkpoint_path" => state.model_checkpoint_path = text(value)?,
                b"all_model_checkpoint_paths" => state.all_model_checkpoint_paths.push(text(value)?),
                _ if value.is_empty() => return Err(("a value after each name", shown(&name))),
                _ => (),
            }
            self.skip_blank();
            if let Some(b',' | b';') = self.rest.first() {
                self.next();
            }
        }
        if state.model_checkpoint_path.is_empty() {
            return Err(("a model_checkpoint_path", "none".to_owned()));
        }
        Ok(state)
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line = self.line.saturating_add(usize::from(byte == b'\n'));
        Some(byte)
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) {
        while let Some(&byte) = self.rest.first() {
            if byte == b'#' {
                while self.rest.first().is_some_and(|&b| b != b'\n') {
                    self.next();
                }
            } else if !byte.is_ascii_whitespace() {
                break;
            }
            self.next();
        }
    }

    fn word(&mut self) -> Vec<u8> {
        let mut word = Vec::new();
        while let Some(&byte) = self.rest.first() {
            if !(byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte)) {
                break;
            }
            word.push(byte);
            self.next();
        }
        word
    }

    /// One or more quoted strings, which belong together.
    fn strings(&mut self) -> Result<Vec<u8>, Problem> {
        let mut value = Vec::new();
        while let Some(&quote @ (b'"' | b'\'')) = self.rest.first() {
            self.next();
            loop {
                match self.next() {
                    Some(byte) if byte == quote => break,
                    Some(b'\\') => self.escape(&mut value)?,
                    Some(byte) if byte != b'\n' => value.push(byte),
                    _ => return Err(("a quote at the end of each string", "the end of the line".to_owned())),
                }
            }
            self.skip_blank();
        }
        Ok(value)
    }

    /// What follows a backslash: the escapes of C.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let bad = |found: &str| ("an escape sequence of C after each backslash", format!("{found:?}"));
        let byte = self.next().ok_or_else(|| bad(""))?;
        let simple = match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'v' => 0x0b,
            b'\\' | b'\'' | b'"' | b'?' => byte,
            b'0'..=b'7' => {
                let digits = [&[byte][..], &self.digits(2, 8)].concat();
                u8::try_from(number(&digits, 8)).map_err(|_| bad(&shown(&digits)))?
            }
            b'x' | b'X' => {
                let digits = self.digits(2, 16);
                u8::try_from(number(&digits, 16)).ok().filter(|_| !digits.is_empty()).ok_or_else(|| bad("x"))?
            }
            b'u' | b'U' => {
                let count = if byte == b'u' { 4 } else { 8 };
                let digits = self.digits(count, 16);
                let c = char::from_u32(number(&digits, 16))
                    .filter(|_| digits.len() == count)
                    .ok_or_else(|| bad(&shown(&digits)))?;
                out.extend(c.encode_utf8(&mut [0; 4]).bytes());
                return Ok(());
            }
            _ => return Err(bad(&shown(&[byte]))),
        };
        out.push(simple);
        Ok(())
    }

    fn digits(&mut self, most: usize, radix: u32) -> Vec<u8> {
        let mut digits = Vec::new();
        while digits.len() < most && self.rest.first().is_some_and(|&b| char::from(b).is_digit(radix)) {
            digits.extend(self.next());
        }
        digits
    }
}

fn number(digits: &[u8], radix: u32) -> u32 {
    std::str::from_utf8(digits).ok().and_then(|d| u32::from_str_radix(d, radix).ok()).unwrap_or(u32::MAX)
}

fn text(value: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(value).map_err(|e| ("paths in UTF-8", shown(e.as_bytes())))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &[u8]) -> Result<CheckpointState, Error> {
        CheckpointState::parse(Path::new("checkpoint"), text)
    }

    #[test]
    fn what_tensorflow_writes() {
        let text = b"model_checkpoint_path: \"/tmp/m-2\"\nall_model_checkpoint_paths: \"m-1\"\nall_model_checkpoint_paths: \"/tmp/m-2\"\n\
            all_model_checkpoint_timestamps: 1.5e+09\nlast_preserved_timestamp: 1571171584.5\n";
        let state = parse(text).unwrap();
        assert_eq!(state.model_checkpoint_path, "/tmp/m-2");
        assert_eq!(state.all_model_checkpoint_paths, ["m-1", "/tmp/m-2"]);
    }

    #[test]
    fn escapes_comments_and_joined_strings() {
        let state = parse(b"# newest\n model_checkpoint_path : 'a\\\\b\\'\\303\\xa4\\t' \"\\u00e9\"; ").unwrap();
        assert_eq!(state.model_checkpoint_path, "a\\b'\u{e4}\t\u{e9}");
    }

    #[test]
    fn other_text_is_refused() {
        for (text, line) in [
            (&b""[..], 1),
            (b"all_model_checkpoint_paths: \"x\"\n", 2),
            (b"<!DOCTYPE html>", 1),
            (b"model_checkpoint_path: \"a\n\"", 2),
            (b"model_checkpoint_path: \"a\\q\"", 1),
            (b"model_checkpoint_path: \"\\777\"", 1),
            (b"model_checkpoint_path: \"\\xff\"", 1),
            (b"model_checkpoint_path: \"a\" x {", 1),
        ] {
            match parse(text) {
                Err(Error::StateFile { line: l, .. }) => assert_eq!(l, line, "{}", shown(text)),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_path_survives_escaping(path in ".+") {
            let escaped: String = path.bytes().map(|b| format!("\\{b:03o}")).collect();
            let state = parse(format!("model_checkpoint_path: \"{escaped}\"").as_bytes()).unwrap();
            prop_assert_eq!(state.model_checkpoint_path, path);
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
