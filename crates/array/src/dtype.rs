//! The types an element can have, by their NumPy names.

use std::fmt;
use std::str::FromStr;

/// The type of an array's elements. Some of them can only be kept so far, not computed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits; the original system's `int`.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 8 bits.
    UInt8,
    /// Unsigned, 16 bits.
    UInt16,
    /// Unsigned, 32 bits.
    UInt32,
    /// Unsigned, 64 bits.
    UInt64,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64; the original system's `double`.
    Float64,
    /// Two [`DType::Float32`]: real part, imaginary part.
    Complex64,
    /// Two [`DType::Float64`]: real part, imaginary part.
    Complex128,
}

impl DType {
    /// Every dtype, in the order of the enum.
    pub const ALL: [DType; 13] = [
        DType::Bool,
        DType::Int8,
        DType::Int16,
        DType::Int32,
        DType::Int64,
        DType::UInt8,
        DType::UInt16,
        DType::UInt32,
        DType::UInt64,
        DType::Float32,
        DType::Float64,
        DType::Complex64,
        DType::Complex128,
    ];

    /// The NumPy name, which is also the name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::Int8 => "int8",
            DType::Int16 => "int16",
            DType::Int32 => "int32",
            DType::Int64 => "int64",
            DType::UInt8 => "uint8",
            DType::UInt16 => "uint16",
            DType::UInt32 => "uint32",
            DType::UInt64 => "uint64",
            DType::Float32 => "float32",
            DType::Float64 => "float64",
            DType::Complex64 => "complex64",
            DType::Complex128 => "complex128",
        }
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::Int8 | DType::UInt8 => 1,
            DType::Int16 | DType::UInt16 => 2,
            DType::Int32 | DType::UInt32 | DType::Float32 => 4,
            DType::Int64 | DType::UInt64 | DType::Float64 | DType::Complex64 => 8,
            DType::Complex128 => 16,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = UnknownDType;

    /// Takes the NumPy names, and `int` and `double` in the original system's sense (int32 and float64).
    fn from_str(name: &str) -> Result<DType, UnknownDType> {
        match name {
            "int" => Ok(DType::Int32),
            "double" => Ok(DType::Float64),
            _ => DType::ALL.into_iter().find(|dtype| dtype.name() == name).ok_or_else(|| UnknownDType(name.to_owned())),
        }
    }
}

/// No dtype has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDType(
    /// The name as it was given.
    pub String,
);

impl fmt::Display for UnknownDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = DType::ALL.map(DType::name).join(", ");
        write!(f, "unknown dtype '{}', there are {names}, int (int32) and double (float64)", self.0)
    }
}

impl std::error::Error for UnknownDType {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            assert_eq!(dtype.to_string(), dtype.name());
        }
        let in_order = DType::ALL.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(in_order, "ALL follows the enum, so it names each dtype once");
    }

    #[test]
    fn sizes_follow_the_bits_in_the_name() {
        assert_eq!(DType::Bool.size(), 1);
        for dtype in &DType::ALL[1..] {
            let bits: usize = dtype.name().trim_start_matches(char::is_alphabetic).parse().unwrap();
            assert_eq!(dtype.size() * 8, bits, "{dtype}");
        }
    }

    #[test]
    fn the_original_systems_names_are_known() {
        assert_eq!("int".parse(), Ok(DType::Int32));
        assert_eq!("double".parse(), Ok(DType::Float64));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_names_there_are() {
        let error = "Float64".parse::<DType>().unwrap_err();
        assert_eq!(error, UnknownDType("Float64".into()));
        let text = error.to_string();
        for name in DType::ALL.map(DType::name) {
            assert!(text.contains(name), "{text} lacks {name}");
        }
        assert!(text.contains("'Float64'") && text.contains("double (float64)"), "{text}");
        assert!("".parse::<DType>().is_err());
    }
}
