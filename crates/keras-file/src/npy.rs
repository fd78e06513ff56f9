//! `.npy`, versions 1 to 3: a header that is the text of a Python dictionary, then the elements
//! (`numpy/lib/format.py`).

use std::borrow::Cow;

use crate::error::Problem;
use crate::layer::Dtype;
use crate::tensor::{Element, MAX_AXES, Tensor, bytes_of};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header. numpy by default reads none above 10,000 bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// numpy starts the elements at a multiple of this, so that they can be mapped into memory.
const ALIGNMENT: usize = 64;

/// Reads the array `name`, whose file is `bytes`.
pub(crate) fn read(name: &str, mut bytes: Vec<u8>) -> Result<Tensor<'static>, Problem> {
    let refuse =
        |expected: &str, found: String| Problem::Array { array: name.to_owned(), expected: expected.to_owned(), found };
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(refuse("an .npy file", "one that begins otherwise".to_owned()));
    };
    let (length, from) = match rest {
        [1, _, a, b, ..] => (u32::from(u16::from_le_bytes([*a, *b])), 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]), 6),
        [version, ..] if *version == 0 || *version > 3 => {
            return Err(refuse("an .npy file of version 1, 2 or 3", format!("version {version}")));
        }
        _ => return Err(refuse("an .npy file", "one that ends in its header".to_owned())),
    };
    let length = usize::try_from(length).ok().filter(|n| *n <= MAX_HEADER_BYTES);
    let Some(length) = length else {
        return Err(Problem::TooLarge {
            what: format!("header of array {name:?}"),
            limit: MAX_HEADER_BYTES as u64,
            unit: "bytes",
            found: "more".to_owned(),
        });
    };
    let Some(header) = rest.get(from..).and_then(|r| r.get(..length)) else {
        return Err(refuse("an .npy file", "one that ends in its header".to_owned()));
    };
    let text = String::from_utf8_lossy(header);
    let Some(header) = Literal { rest: &text }.header() else {
        let shown: String = text.chars().take(80).collect();
        return Err(refuse("an .npy header with descr, fortran_order and shape", format!("{shown:?}")));
    };
    let Header { descr, fortran, shape } = header;
    let (element, big_endian) = element(&descr);
    let data = MAGIC.len().saturating_add(from).saturating_add(length);
    if shape.len() > MAX_AXES {
        return Err(refuse("at most 64 axes", shape.len().to_string()));
    }
    if let Some(width) = element.width() {
        let Some(expected) = bytes_of(&shape, width) else {
            return Err(Problem::TooLarge {
                what: format!("array {name:?}"),
                limit: isize::MAX as u64,
                unit: "bytes",
                found: format!("{} elements of shape {shape:?}", element.name()),
            });
        };
        let found = bytes.len().saturating_sub(data);
        if found != expected {
            let expected = format!("{expected} bytes for {} elements of shape {shape:?}", element.name());
            return Err(refuse(&expected, format!("{found}; the file is damaged or cut off")));
        }
    }
    bytes.drain(..data);
    Ok(Tensor { name: name.to_owned(), shape, element, big_endian, fortran, bytes: Cow::Owned(bytes) })
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

/// The element type that a `descr` means, and whether it is big-endian.
fn element(descr: &str) -> (Element, bool) {
    let other = || Element::Other(descr.to_owned());
    let mut chars = descr.chars();
    let order = chars.next();
    let element = match (order, chars.as_str()) {
        (Some('|' | '<' | '>'), "b1") => Element::Bool,
        (Some('|' | '<' | '>'), "i1") => Element::Signed(1),
        (Some('|' | '<' | '>'), "u1") => Element::Unsigned(1),
        (Some('<' | '>'), "i2") => Element::Signed(2),
        (Some('<' | '>'), "i4") => Element::Signed(4),
        (Some('<' | '>'), "i8") => Element::Signed(8),
        (Some('<' | '>'), "u2") => Element::Unsigned(2),
        (Some('<' | '>'), "u4") => Element::Unsigned(4),
        (Some('<' | '>'), "u8") => Element::Unsigned(8),
        (Some('<' | '>'), "f2") => Element::Float(Dtype::Float16),
        (Some('<' | '>'), "f4") => Element::Float(Dtype::Float32),
        (Some('<' | '>'), "f8") => Element::Float(Dtype::Float64),
        _ => other(),
    };
    (element, order == Some('>'))
}

/// What is left of a Python literal. Every method takes one item from its front, or gives none.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?.trim_start();
        Some(())
    }

    /// The whole header: these three keys, each once, in any order.
    fn header(mut self) -> Option<Header> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.eat("{")?;
        while self.eat("}").is_none() {
            let key = self.string()?;
            self.eat(":")?;
            let first = match key {
                "descr" => descr.replace(self.descr()?).is_none(),
                "fortran_order" => fortran.replace(self.boolean()?).is_none(),
                "shape" => shape.replace(self.extents()?).is_none(),
                _ => false,
            };
            if !first {
                return None;
            }
            if self.eat(",").is_none() {
                self.eat("}")?;
                break;
            }
        }
        if !self.rest.trim_matches([' ', '\n', '\0']).is_empty() {
            return None;
        }
        Some(Header { descr: descr?, fortran: fortran?, shape: shape? })
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = if self.eat("'").is_some() {
            '\''
        } else {
            self.eat("\"")?;
            '"'
        };
        let (text, rest) = self.rest.split_once(quote)?;
        self.rest = rest;
        (!text.contains('\\')).then_some(text)
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.eat("True").is_some() {
            return Some(true);
        }
        self.eat("False").map(|()| false)
    }

    /// A tuple of integers; Python 2 puts an `L` after large ones.
    fn extents(&mut self) -> Option<Vec<usize>> {
        let mut extents = Vec::new();
        self.eat("(")?;
        while self.eat(")").is_none() {
            let end = self.rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, rest) = self.rest.split_at_checked(end)?;
            extents.push(digits.parse().ok()?);
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if self.eat(",").is_none() {
                self.eat(")")?;
                // In Python, (3) is no tuple.
                return (extents.len() > 1).then_some(extents);
            }
        }
        Some(extents)
    }

    /// A type's code, or the list of fields of a structure.
    fn descr(&mut self) -> Option<String> {
        if !self.rest.trim_start().starts_with('[') {
            return self.string().map(str::to_owned);
        }
        let mut depth = 0usize;
        let mut quote = None;
        for (at, c) in self.rest.char_indices() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '[' | '(') => depth = depth.saturating_add(1),
                (None, ']' | ')') => depth = depth.checked_sub(1)?,
                (None, _) => {}
            }
            if depth == 0 && quote.is_none() {
                self.rest = self.rest.get(at.saturating_add(1)..)?;
                return Some("structures".to_owned());
            }
        }
        None
    }
}

/// The header of a little-endian float32 array in row-major order, as numpy writes it.
pub(crate) fn float32_header(shape: &[usize]) -> Vec<u8> {
    let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{comma}), }}", extents.join(", ")).into_bytes();
    let start = MAGIC.len().saturating_add(4);
    let end = start.saturating_add(text.len()).saturating_add(1).next_multiple_of(ALIGNMENT);
    text.resize(end.saturating_sub(start).saturating_sub(1), b' ');
    text.push(b'\n');
    // The rank of a checked array is at most 2, and its header far shorter than 65,536 bytes.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [MAGIC, &[1, 0], &length.to_le_bytes(), &text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, bool, Vec<usize>)> {
        Literal { rest: text }.header().map(|h| (h.descr, h.fortran, h.shape))
    }

    #[test]
    fn headers_of_every_numpy_are_understood() {
        let expected = |shape: &[usize]| Some(("<f4".to_owned(), false, shape.to_vec()));
        assert_eq!(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n"), expected(&[3, 4]));
        assert_eq!(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L)}\n"), expected(&[3, 4]));
        assert_eq!(parse("{\"shape\":(3,),\"fortran_order\":False,\"descr\":\"<f4\"}"), expected(&[3]));
        assert_eq!(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (), }"), expected(&[]));
        let fields = "{'descr': [('a]', '<f4'), ('b', '<i4', (2,))], 'fortran_order': True, 'shape': (2,), }";
        assert_eq!(parse(fields), Some(("structures".to_owned(), true, vec![2])));
    }

    #[test]
    fn headers_that_say_too_little_or_too_much_are_refused() {
        for text in [
            "",
            "{",
            "{'descr': '<f4', 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'shape': (4,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} more",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': [[[[[[[[[[[[[[[[[[[[",
            "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (3,)}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_elements_begin_at_a_multiple_of_64() {
        for shape in [vec![], vec![7], vec![12345, 67890], vec![1, 2, 3]] {
            let header = float32_header(&shape);
            assert_eq!(header.len() % ALIGNMENT, 0);
            let elements = shape.iter().product::<usize>() * 4;
            let tensor = read("a", [header, vec![0; elements.min(1 << 20)]].concat());
            if elements <= 1 << 20 {
                assert_eq!(tensor.unwrap().shape, shape);
            }
        }
    }
}
