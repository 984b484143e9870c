//! Names of arrays and workers, and references to versions.

use crate::error::{ErrorCode, WireError};
use crate::id::VersionId;
use crate::limits::NAME_BYTES_MAX;
use std::fmt;

/// Checks the name of an array or worker: 1 to 255 bytes of UTF-8 without white space and control characters. `what`
/// says in the error what kind of name it is.
pub fn check(what: &str, name: &str) -> Result<(), WireError> {
    let refuse = |why: String| Err(WireError::new(ErrorCode::InvalidName, why));
    if name.is_empty() {
        return refuse(format!("the name of {what} is empty; give it 1 to {NAME_BYTES_MAX} bytes"));
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse(format!("the name of {what} has {} bytes; the limit is {NAME_BYTES_MAX}", name.len()));
    }
    match name.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(c) => refuse(format!(
            "{what} '{}' has {c:?} in its name; no white space or control characters",
            name.escape_debug()
        )),
        None => Ok(()),
    }
}

/// Checks the name of a new array. Beside the rules for all names it may not look like a reference to a version.
pub fn check_new_array(name: &str) -> Result<(), WireError> {
    check("array", name)?;
    match Reference::parse(name).version {
        Some(version) => Err(WireError::new(
            ErrorCode::InvalidName,
            format!("array '{name}' would read as version {version}; a new name must not end in @vN"),
        )),
        None => Ok(()),
    }
}

/// What a person calls a content: an array by its name, or one version of it as `NAME@vN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The array's name.
    pub name: String,
    /// The version, when one is named.
    pub version: Option<VersionId>,
}

impl Reference {
    /// Takes `text` apart. Never fails: what does not end in `@v` and digits is a plain name.
    pub fn parse(text: &str) -> Reference {
        let version = text.rsplit_once("@v").and_then(|(name, digits)| {
            let plain = !name.is_empty() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            Some((name, plain.then(|| digits.parse().ok())??))
        });
        match version {
            Some((name, number)) => Reference { name: name.to_string(), version: Some(VersionId(number)) },
            None => Reference { name: text.to_string(), version: None },
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The handle of one version of the array `name`: `NAME@vN`.
pub fn handle(name: &str, version: VersionId) -> String {
    format!("{name}@{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_apart_and_together() {
        let cases =
            [("a", None), ("a@v17", Some(17)), ("a@v", None), ("a@v1x", None), ("@v1", None), ("a@b@v2", Some(2))];
        for (text, version) in cases {
            let reference = Reference::parse(text);
            assert_eq!(reference.version, version.map(VersionId), "{text}");
            assert_eq!(reference.to_string(), text);
        }
        assert_eq!(Reference::parse("a@v99999999999999999999999").version, None, "too large a number is a name");
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "worker-0", "a_b", "größe", "../etc", "a@b", "%2e", &"x".repeat(255)] {
            assert_eq!(check("array", good), Ok(()), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "a\0", "a\u{85}", "\u{2003}", &"x".repeat(256)] {
            assert_eq!(check("array", bad).unwrap_err().code, ErrorCode::InvalidName, "{bad:?}");
        }
        assert!(check_new_array("a@v1").is_err());
    }
}
