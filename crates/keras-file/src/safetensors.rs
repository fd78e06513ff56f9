//! `.safetensors`: the length of a JSON header, the header, and the elements of every array, without gaps
//! (<https://github.com/huggingface/safetensors>, "Format").

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json as object};

use crate::archive::size;
use crate::error::Problem;
use crate::json;
use crate::layer::{Array, Dtype};
use crate::tensor::{Element, MAX_AXES, Tensor, bytes_of};

/// Longest header, as in the original library.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// What every array's name is not.
const METADATA: &str = "__metadata__";

/// Whether `bytes` begin with a length that no text has, and a JSON object.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    match bytes.split_first_chunk() {
        Some((length, rest)) => {
            let length: &[u8; 8] = length;
            let text = length.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
            rest.first() == Some(&b'{') && !text && !length.starts_with(b"\x89HDF")
        }
        None => false,
    }
}

/// One array in the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header's arrays, each name once.
struct Header(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Arrays;
        impl<'de> Visitor<'de> for Arrays {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of arrays by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut arrays = BTreeMap::new();
                let mut metadata = None::<BTreeMap<String, String>>;
                while let Some(name) = map.next_key::<String>()? {
                    let again = if name == METADATA {
                        metadata.replace(map.next_value()?).is_some()
                    } else {
                        let entry = map.next_value()?;
                        arrays.insert(name.clone(), entry).is_some()
                    };
                    if again {
                        return Err(A::Error::custom(format_args!("{name:?} is there twice")));
                    }
                }
                Ok(Header(arrays))
            }
        }
        deserializer.deserialize_map(Arrays)
    }
}

/// Every array, in the order of the elements.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Tensor<'_>>, Problem> {
    let refuse = |place: &str, expected: String, found: String| Problem::Safetensors {
        place: place.to_owned(),
        expected,
        found,
    };
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(refuse("beginning", "8 bytes of length".to_owned(), size(bytes.len()).to_string()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(Problem::TooLarge {
            what: "safetensors header".to_owned(),
            limit: MAX_HEADER_BYTES,
            unit: "bytes",
            found: length.to_string(),
        });
    }
    let parts = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n));
    let Some((header, data)) = parts else {
        return Err(refuse("header", format!("{length} bytes"), rest.len().to_string()));
    };
    let Header(arrays) = json::parse("the header of a safetensors file", header)?;
    let mut arrays: Vec<_> = arrays.into_iter().collect();
    arrays.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0u64;
    let mut tensors = Vec::with_capacity(arrays.len());
    for (name, Entry { dtype, shape, data_offsets: [from, to] }) in arrays {
        let place = format!("array {name:?}");
        if from != end {
            return Err(refuse(
                &place,
                format!("elements from byte {end}, where the array before ends"),
                from.to_string(),
            ));
        }
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        let Some(elements) = range.and_then(|(from, to)| data.get(from..to)) else {
            let expected = format!("elements within the {} bytes after the header", data.len());
            return Err(refuse(&place, expected, format!("{from}..{to}")));
        };
        let shape = extents(&name, &shape)?;
        let (element, width) = element(&dtype);
        if let Some(width) = width
            && bytes_of(&shape, width) != Some(elements.len())
        {
            let expected = format!("as many bytes as {dtype} elements of shape {shape:?} need");
            return Err(refuse(&place, expected, elements.len().to_string()));
        }
        tensors.push(Tensor {
            name,
            shape,
            element,
            big_endian: false,
            fortran: false,
            bytes: Cow::Borrowed(elements),
        });
        end = to;
    }
    if end != size(data.len()) {
        return Err(refuse("end", format!("{end} bytes after the header"), data.len().to_string()));
    }
    Ok(tensors)
}

fn extents(name: &str, shape: &[u64]) -> Result<Vec<usize>, Problem> {
    let too_large = |limit, unit, found| Problem::TooLarge { what: format!("array {name:?}"), limit, unit, found };
    if shape.len() > MAX_AXES {
        return Err(too_large(size(MAX_AXES), "axes", shape.len().to_string()));
    }
    let extents: Result<Vec<usize>, _> = shape.iter().map(|d| usize::try_from(*d)).collect();
    extents.map_err(|_| too_large(size(usize::MAX), "elements along an axis", format!("{shape:?}")))
}

/// The element type of this name, and its bytes where they are known.
fn element(dtype: &str) -> (Element, Option<usize>) {
    let element = match dtype {
        "F16" => Element::Float(Dtype::Float16),
        "BF16" => Element::Float(Dtype::BFloat16),
        "F32" => Element::Float(Dtype::Float32),
        "F64" => Element::Float(Dtype::Float64),
        "I8" => Element::Signed(1),
        "I16" => Element::Signed(2),
        "I32" => Element::Signed(4),
        "I64" => Element::Signed(8),
        "U8" => Element::Unsigned(1),
        "U16" => Element::Unsigned(2),
        "U32" => Element::Unsigned(4),
        "U64" => Element::Unsigned(8),
        "BOOL" => Element::Bool,
        other => Element::Other(other.to_owned()),
    };
    let width = match dtype {
        "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => Some(1),
        "C64" => Some(8),
        _ => element.width(),
    };
    (element, width)
}

/// Writes float32 arrays, the elements in this order, the header sorted by name.
pub(crate) fn write(arrays: &[(String, &Array)]) -> Vec<u8> {
    let mut sorted = BTreeMap::new();
    let mut end = 0u64;
    for (name, array) in arrays {
        let from = end;
        end = end.saturating_add(size(array.data.len()).saturating_mul(4));
        sorted.insert(name, object!({"dtype": "F32", "shape": array.shape, "data_offsets": [from, end]}));
    }
    let mut header = Map::new();
    header.insert(METADATA.to_owned(), object!({"format": "keras-lstm"}));
    header.extend(sorted.into_iter().map(|(name, entry)| (name.clone(), entry)));
    let mut header = Value::Object(header).to_string().into_bytes();
    // The elements begin at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = size(header.len()).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(arrays.iter().flat_map(|(_, array)| &array.data).flat_map(|v| v.to_le_bytes()));
    bytes
}
