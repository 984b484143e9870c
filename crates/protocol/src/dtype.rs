//! How a dtype is written on the wire: by its NumPy name. For `#[serde(with = "protocol::dtype")]`.

use array::DType;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes the name.
pub fn serialize<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

/// Reads the name; an unknown one is an error that lists those that exist.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DType, D::Error> {
    let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
    name.parse().map_err(serde::de::Error::custom)
}

/// The same for a dtype that may be missing. For `#[serde(with = "protocol::dtype::optional")]`.
pub mod optional {
    use super::{DType, Deserialize, Deserializer, Serializer};

    /// Writes the name, or null.
    pub fn serialize<S: Serializer>(dtype: &Option<DType>, serializer: S) -> Result<S::Ok, S::Error> {
        match dtype {
            Some(dtype) => super::serialize(dtype, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the name, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DType>, D::Error> {
        let name = Option::<std::borrow::Cow<str>>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(serde::de::Error::custom)).transpose()
    }
}
