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
