//! Arrays in files: `.npy`, CSV and JSON, each in its own module, and the numbers in them.
//!
//! Reading takes a whole file in memory, because an upload sends straight from there; writing streams. What does not
//! fit is refused with its place, never rounded to another type or cut off.

pub mod csv;
pub mod json;
pub mod npy;
pub mod number;

use array::DType;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy's own.
    Npy,
    /// Numbers in lines, separated by commas, semicolons or white space.
    Csv,
    /// Nested lists of numbers.
    Json,
}

impl Format {
    /// The format that the ending of a file's name stands for.
    pub fn of_path(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "npy" => Some(Format::Npy),
            "csv" | "txt" | "tsv" => Some(Format::Csv),
            "json" => Some(Format::Json),
            _ => None,
        }
    }

    /// The format that a file's content looks like.
    pub fn of_content(bytes: &[u8]) -> Format {
        match bytes.trim_ascii_start().first() {
            _ if bytes.starts_with(npy::MAGIC) => Format::Npy,
            Some(b'[') => Format::Json,
            _ => Format::Csv,
        }
    }
}

/// An array as it was in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The type of its elements.
    pub dtype: DType,
    /// Lengths of its sides.
    pub shape: Vec<u64>,
    file: Vec<u8>,
    range: Range<usize>,
}

impl Content {
    /// The elements, little-endian, in C order.
    pub fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// From elements that stand by themselves.
    fn new(dtype: DType, shape: Vec<u64>, bytes: Vec<u8>) -> Content {
        Content { dtype, shape, range: 0..bytes.len(), file: bytes }
    }
}

/// A file that cannot be read: where, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError(pub String);

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FormatError {}

/// Reads the content of a file. `dtype` is what the elements shall be; without it the content decides.
///
/// # Errors
/// A sentence with the place of what cannot be read or does not fit.
pub fn read(format: Format, file: Vec<u8>, dtype: Option<DType>) -> Result<Content, FormatError> {
    match format {
        Format::Npy => npy::read(file, dtype),
        Format::Csv => csv::read(text(&file)?, dtype),
        Format::Json => json::read(text(&file)?, dtype),
    }
}

fn text(file: &[u8]) -> Result<&str, FormatError> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file); // the mark that Windows programs put first
    std::str::from_utf8(file).map_err(|e| {
        let (line, column) = place(file, e.valid_up_to());
        FormatError(format!("line {line}, column {column}: this is no text (not UTF-8); is it another --format?"))
    })
}

/// Line and column of a byte, both from 1.
fn place(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
    (line, column)
}

/// Checks that an array can be written in a format at all.
///
/// # Errors
/// A sentence that says why not, and what to use instead.
pub fn check_writable(format: Format, dtype: DType, dimensions: usize) -> Result<(), FormatError> {
    let complex = matches!(dtype, DType::Complex64 | DType::Complex128);
    match format {
        Format::Csv | Format::Json if complex => {
            Err(FormatError(format!("{dtype} has no form in CSV or JSON; write it as .npy")))
        }
        Format::Csv if dimensions > 2 => {
            Err(FormatError(format!("CSV has two dimensions, the array has {dimensions}; write it as .npy or .json")))
        }
        _ => Ok(()),
    }
}

/// Writes an array. `bytes` are its elements, little-endian, in C order.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when [`check_writable`] says no, and those of the writer.
pub fn write(format: Format, out: &mut dyn Write, dtype: DType, shape: &[u64], bytes: &[u8]) -> io::Result<()> {
    check_writable(format, dtype, shape.len()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    match format {
        Format::Npy => npy::write(out, dtype, shape, bytes),
        Format::Csv => csv::write(out, dtype, shape, bytes),
        Format::Json => {
            json::write(out, dtype, shape, bytes)?;
            out.write_all(b"\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_name_and_by_content() {
        let of = |name: &str| Format::of_path(Path::new(name));
        assert_eq!(of("a.npy"), Some(Format::Npy));
        assert_eq!(of("dir.npy/a.CSV"), Some(Format::Csv));
        assert_eq!(of("a.json"), Some(Format::Json));
        assert_eq!((of("a"), of("a.xlsx")), (None, None));
        assert_eq!(Format::of_content(b"\x93NUMPY\x01\0"), Format::Npy);
        assert_eq!(Format::of_content(b" \n[1]"), Format::Json);
        assert_eq!(Format::of_content(b"1,2"), Format::Csv);
        assert_eq!(Format::of_content(b""), Format::Csv);
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        let error = read(Format::Csv, b"1\n2,\xff".to_vec(), None).unwrap_err();
        assert_eq!(error.0, "line 2, column 3: this is no text (not UTF-8); is it another --format?");
    }

    #[test]
    fn what_has_no_form_in_a_format_is_refused() {
        assert!(check_writable(Format::Csv, DType::Int8, 3).is_err());
        assert!(check_writable(Format::Json, DType::Complex64, 1).is_err());
        assert!(check_writable(Format::Npy, DType::Complex64, 9).is_ok());
        assert!(write(Format::Csv, &mut Vec::new(), DType::Complex128, &[0], &[]).is_err());
    }
}
