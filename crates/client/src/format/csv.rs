//! Numbers in lines. Fields are separated by commas, else by semicolons, else by white space; blank lines and lines that
//! begin with `#` are skipped. Rows of one length above one make two dimensions, everything else makes one; so does a
//! single row.

use super::number::{self, Builder};
use super::{Content, FormatError};
use array::DType;
use std::io::{self, Write};

/// Reads CSV.
///
/// # Errors
/// A sentence with line and column.
pub fn read(text: &str, dtype: Option<DType>) -> Result<Content, FormatError> {
    let mut builder = Builder::new(dtype);
    let (mut rows, mut fields, mut width, mut even) = (0_u64, 0_u64, 0, true);
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let before = fields;
        for field in split(line) {
            builder.push(field).map_err(|why| explain(line, number, field, &why, rows == 0))?;
            fields += 1;
        }
        width = if rows == 0 { fields - before } else { width };
        even &= fields - before == width;
        rows += 1;
    }
    let shape = if even && width > 1 && rows > 1 { vec![rows, width] } else { vec![fields] };
    let (dtype, bytes) = builder.finish();
    Ok(Content::new(dtype, shape, bytes))
}

/// The fields of a line, without the spaces around them.
fn split(line: &str) -> Box<dyn Iterator<Item = &str> + '_> {
    match [',', ';'].into_iter().find(|separator| line.contains(*separator)) {
        Some(separator) => Box::new(line.split(separator).map(str::trim)),
        None => Box::new(line.split_whitespace()),
    }
}

fn explain(line: &str, number: u64, field: &str, why: &str, first: bool) -> FormatError {
    // The field is a slice of the line.
    let column = line[..field.as_ptr() as usize - line.as_ptr() as usize].chars().count() + 1;
    let hint = match first && field.contains(|c: char| c.is_alphabetic()) {
        true => "; a header line is no data: leave it out (tail -n +2)",
        false => "",
    };
    FormatError(format!("line {number}, column {column}: {why}{hint}"))
}

/// Writes CSV: a row per line for two dimensions, an element per line for one or none.
///
/// # Errors
/// Those of the writer.
pub fn write(out: &mut dyn Write, dtype: DType, shape: &[u64], bytes: &[u8]) -> io::Result<()> {
    let width = if shape.len() == 2 { shape[1] as usize } else { 1 };
    let mut line = Vec::new();
    for row in bytes.chunks(width.max(1) * dtype.size()) {
        line.clear();
        for element in row.chunks(dtype.size()) {
            number::append(dtype, element, &mut line);
            line.push(b',');
        }
        line.pop();
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Vec<u64> {
        read(text, None).unwrap().shape
    }

    #[test]
    fn rows_become_dimensions() {
        assert_eq!(shape("1\n2\n3\n"), [3]);
        assert_eq!(shape("1,2,3"), [3]);
        assert_eq!(shape("1,2\r\n3,4\r\n\r\n5,6"), [3, 2]);
        assert_eq!(shape("1,2\n3\n"), [3], "rows of several lengths are put in a row");
        assert_eq!(shape("# comment\n1 2\t3\n4  5 6\n"), [2, 3]);
        assert_eq!(shape("1; 2\n3; 4"), [2, 2]);
        assert_eq!(shape(""), [0]);
    }

    #[test]
    fn errors_name_the_place() {
        let error = |text| read(text, None).unwrap_err().0;
        assert_eq!(
            error("time, price\n1, 2\n"),
            "line 1, column 1: 'time' is not a number; a header line is no data: leave it out (tail -n +2)"
        );
        assert_eq!(error("1, 2\n3, x\n"), "line 2, column 4: 'x' is not a number");
        assert_eq!(error("1,,2"), "line 1, column 3: '' is not a number");
        let error = read("1\n1.5\n", Some(DType::Int32)).unwrap_err().0;
        assert_eq!(error, "line 2, column 1: 1.5 is not a whole number, but int32 was asked for");
    }

    #[test]
    fn round_trip() {
        for text in ["1.5,2.0\n-3.0,NaN\n", "1\n-2\n", "true\nfalse\n", ""] {
            let content = read(text, None).unwrap();
            let mut out = Vec::new();
            write(&mut out, content.dtype, &content.shape, content.bytes()).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
