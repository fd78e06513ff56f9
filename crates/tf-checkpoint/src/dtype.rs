//! The element types of TensorFlow.

/// Element type of a tensor: `DataType` of `tensorflow/core/framework/types.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the type that its name says")]
pub enum DType {
    Float32,
    Float64,
    Int32,
    UInt8,
    Int16,
    Int8,
    String,
    Complex64,
    Int64,
    Bool,
    QInt8,
    QUInt8,
    QInt32,
    BFloat16,
    QInt16,
    QUInt16,
    UInt16,
    Complex128,
    Float16,
    Resource,
    Variant,
    UInt32,
    UInt64,
    Float8E5M2,
    Float8E4M3FN,
    Float8E4M3FNUZ,
    Float8E4M3B11FNUZ,
    Float8E5M2FNUZ,
    Int4,
    UInt4,
    Int2,
    UInt2,
    Float4E2M1FN,
    /// A number that is none of the above, reference types (over 100) included: they are never on disk.
    Other(i32),
}

/// Number in `types.proto`, type, name, bytes per element on disk where fixed and known.
const TYPES: [(i32, DType, &str, Option<usize>); 33] = [
    (1, DType::Float32, "float32", Some(4)),
    (2, DType::Float64, "float64", Some(8)),
    (3, DType::Int32, "int32", Some(4)),
    (4, DType::UInt8, "uint8", Some(1)),
    (5, DType::Int16, "int16", Some(2)),
    (6, DType::Int8, "int8", Some(1)),
    (7, DType::String, "string", None),
    (8, DType::Complex64, "complex64", Some(8)),
    (9, DType::Int64, "int64", Some(8)),
    (10, DType::Bool, "bool", Some(1)),
    (11, DType::QInt8, "qint8", Some(1)),
    (12, DType::QUInt8, "quint8", Some(1)),
    (13, DType::QInt32, "qint32", Some(4)),
    (14, DType::BFloat16, "bfloat16", Some(2)),
    (15, DType::QInt16, "qint16", Some(2)),
    (16, DType::QUInt16, "quint16", Some(2)),
    (17, DType::UInt16, "uint16", Some(2)),
    (18, DType::Complex128, "complex128", Some(16)),
    (19, DType::Float16, "float16", Some(2)),
    (20, DType::Resource, "resource", None),
    (21, DType::Variant, "variant", None),
    (22, DType::UInt32, "uint32", Some(4)),
    (23, DType::UInt64, "uint64", Some(8)),
    (24, DType::Float8E5M2, "float8_e5m2", Some(1)),
    (25, DType::Float8E4M3FN, "float8_e4m3fn", Some(1)),
    (26, DType::Float8E4M3FNUZ, "float8_e4m3fnuz", Some(1)),
    (27, DType::Float8E4M3B11FNUZ, "float8_e4m3b11fnuz", Some(1)),
    (28, DType::Float8E5M2FNUZ, "float8_e5m2fnuz", Some(1)),
    (29, DType::Int4, "int4", None),
    (30, DType::UInt4, "uint4", None),
    (31, DType::Int2, "int2", None),
    (32, DType::UInt2, "uint2", None),
    (33, DType::Float4E2M1FN, "float4_e2m1fn", None),
];

impl DType {
    /// The type with this number in `types.proto`.
    #[must_use]
    pub fn from_number(number: i32) -> DType {
        TYPES.iter().find(|t| t.0 == number).map_or(DType::Other(number), |t| t.1)
    }

    /// Its name, as numpy and TensorFlow spell it; `"unknown"` for [`DType::Other`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().map_or("unknown", |t| t.2)
    }

    /// Bytes per element; `None` for strings, handles, and the packed types whose place on disk is not known.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        self.row().and_then(|t| t.3)
    }

    /// Bytes per number: half of [`DType::size`] for complex elements. It is the unit of byte order.
    pub(crate) fn word(self) -> Option<usize> {
        match self {
            DType::Complex64 => Some(4),
            DType::Complex128 => Some(8),
            other => other.size(),
        }
    }

    fn row(self) -> Option<&'static (i32, DType, &'static str, Option<usize>)> {
        TYPES.iter().find(|t| t.1 == self)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DType::Other(number) => write!(f, "unknown type {number}"),
            known => f.write_str(known.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_sizes() {
        for (i, row) in TYPES.iter().enumerate() {
            assert_eq!(row.0, i as i32 + 1);
            assert_eq!(DType::from_number(row.0), row.1);
        }
        assert_eq!(DType::from_number(19).as_str(), "float16");
        assert_eq!(DType::from_number(0), DType::Other(0));
        assert_eq!(DType::from_number(101), DType::Other(101));
        assert_eq!(DType::Other(101).size(), None);
        assert_eq!(DType::Complex128.word(), Some(8));
    }
}
