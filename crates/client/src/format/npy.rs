//! NumPy's `.npy`: one header line in the syntax of Python, then the elements as they lie in memory. Versions 1, 2 and 3 are
//! read, version 1 is written. The format is specified in NumPy's documentation, `numpy.lib.format`.

use super::{Content, FormatError};
use crate::upload::length;
use array::DType;
use std::io::{self, Write};

/// The first bytes of every `.npy` file.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// Header and everything before it fill a multiple of this, so that the elements can be mapped into memory.
const ALIGN: usize = 64;

/// Reads a `.npy` file; the elements stay where they are. If `dtype` is given, it must be the file's.
///
/// # Errors
/// A sentence that names what cannot be read: big-endian, Fortran order, objects, records, text.
pub fn read(file: Vec<u8>, dtype: Option<DType>) -> Result<Content, FormatError> {
    let (found, shape, start) = header(&file).map_err(|why| FormatError(format!(".npy: {why}")))?;
    if let Some(wanted) = dtype.filter(|wanted| *wanted != found) {
        let text = format!(".npy: the elements are {found}, but --dtype {wanted} was asked for; convert them in NumPy");
        return Err(FormatError(text));
    }
    let bytes = length(&shape).and_then(|len| usize::try_from(len).ok()?.checked_mul(found.size()));
    match bytes {
        Some(bytes) if file.len() - start == bytes => {
            Ok(Content { dtype: found, shape, range: start..file.len(), file })
        }
        Some(bytes) => {
            let there = file.len() - start;
            Err(FormatError(format!(
                ".npy: shape {shape:?} of {found} needs {bytes} bytes of elements, but there are {there}"
            )))
        }
        None => Err(FormatError(format!(".npy: shape {shape:?} is too large"))),
    }
}

/// Reads everything before the elements: dtype, shape, and where the elements begin.
fn header(file: &[u8]) -> Result<(DType, Vec<u64>, usize), String> {
    let truncated = || "the file ends inside its header".to_string();
    let rest = file.strip_prefix(MAGIC).ok_or("the file does not begin with \\x93NUMPY; is it another --format?")?;
    let (&[major, _], rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
            (u16::from_le_bytes(*length) as usize, rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => return Err(format!("format version {other} is not known")),
    };
    let start = file.len() - rest.len() + length;
    let text = String::from_utf8_lossy(rest.get(..length).ok_or_else(truncated)?);
    let shape = parse_shape(entry(&text, "shape")?)?;
    if entry(&text, "fortran_order")? != "False" && shape.len() > 1 {
        return Err("the elements are in Fortran order; save numpy.ascontiguousarray(a)".to_string());
    }
    Ok((parse_descr(entry(&text, "descr")?)?, shape, start))
}

/// The value of an entry of the header, `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
fn entry<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let missing = || format!("the header has no '{key}': {}", header.trim_end().escape_debug());
    let at = header.find(&format!("'{key}'")).ok_or_else(missing)?;
    let value = header[at + key.len() + 2..].trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start();
    // The value ends at the first comma or brace outside of brackets.
    let mut depth = 0;
    let end = value.find(|c| {
        depth += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
        depth == 0 && matches!(c, ',' | '}')
    });
    Ok(value[..end.ok_or_else(missing)?].trim_end())
}

fn parse_shape(text: &str) -> Result<Vec<u64>, String> {
    let refuse = || format!("the shape '{text}' cannot be read");
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).ok_or_else(refuse)?;
    let sides = inner.split(',').map(str::trim).filter(|side| !side.is_empty());
    sides.map(|side| side.trim_end_matches('L').parse().map_err(|_| refuse())).collect()
}

fn parse_descr(text: &str) -> Result<DType, String> {
    if text.starts_with('[') {
        return Err("the elements are records (a structured dtype); save one field of them".to_string());
    }
    let descr = text.trim_matches(['\'', '"']);
    if let Some(dtype) = DType::ALL.into_iter().find(|dtype| self::descr(*dtype) == descr) {
        return Ok(dtype);
    }
    let code = descr.trim_start_matches(['<', '>', '=', '|']);
    Err(match code.bytes().next() {
        Some(b'O') => "the elements are Python objects, not numbers".to_string(),
        Some(b'U' | b'S' | b'a') => "the elements are text, not numbers".to_string(),
        Some(b'M' | b'm') => "the elements are dates; save a.view('int64')".to_string(),
        Some(b'V') => "the elements are records or raw bytes, not numbers".to_string(),
        _ if descr.starts_with('>') => {
            format!("the elements are big-endian ('{descr}'); save a.astype(a.dtype.newbyteorder('<'))")
        }
        _ => format!("dtype '{descr}' is not known here"),
    })
}

/// What NumPy calls a dtype in a header.
fn descr(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "|b1",
        DType::Int8 => "|i1",
        DType::Int16 => "<i2",
        DType::Int32 => "<i4",
        DType::Int64 => "<i8",
        DType::UInt8 => "|u1",
        DType::UInt16 => "<u2",
        DType::UInt32 => "<u4",
        DType::UInt64 => "<u8",
        DType::Float32 => "<f4",
        DType::Float64 => "<f8",
        DType::Complex64 => "<c8",
        DType::Complex128 => "<c16",
    }
}

/// Writes a `.npy` file.
///
/// # Errors
/// Those of the writer.
pub fn write(out: &mut dyn Write, dtype: DType, shape: &[u64], bytes: &[u8]) -> io::Result<()> {
    let sides: Vec<String> = shape.iter().map(u64::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" }; // Python's tuple of one
    let dictionary =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{comma}), }}", descr(dtype), sides.join(", "));
    let before = MAGIC.len() + 2 + 2;
    let padded = (before + dictionary.len() + 1).next_multiple_of(ALIGN) - before;
    // 64 dimensions of 20 digits need 1,500 bytes, far from what 16 bits can state.
    let stated = u16::try_from(padded).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&stated.to_le_bytes())?;
    writeln!(out, "{dictionary:<width$}", width = padded - 1)?;
    out.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `numpy.save` writes for `numpy.array([[1, 2, 3]], dtype='int16')`.
    const OF_NUMPY: &[u8] = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<i2', 'fortran_order': False, 'shape': (1, 3), }                                                          \n\x01\x00\x02\x00\x03\x00";

    fn with_header(version: u8, dictionary: &str, elements: &[u8]) -> Vec<u8> {
        let mut file = [MAGIC, &[version, 0]].concat();
        match version {
            1 => file.extend((dictionary.len() as u16).to_le_bytes()),
            _ => file.extend((dictionary.len() as u32).to_le_bytes()),
        }
        [&file[..], dictionary.as_bytes(), elements].concat()
    }

    #[test]
    fn numpys_own_bytes_are_read_and_written() {
        let content = read(OF_NUMPY.to_vec(), None).unwrap();
        assert_eq!((content.dtype, &content.shape[..]), (DType::Int16, &[1, 3][..]));
        assert_eq!(content.bytes(), [1, 0, 2, 0, 3, 0]);
        let mut out = Vec::new();
        write(&mut out, content.dtype, &content.shape, content.bytes()).unwrap();
        assert_eq!(out, OF_NUMPY);
    }

    #[test]
    fn versions_and_spellings() {
        for version in [1, 2, 3] {
            let file = with_header(version, "{'shape': (2,), 'descr': '<i4', 'fortran_order': False}\n", &[0; 8]);
            assert_eq!(read(file, None).unwrap().shape, [2], "version {version}");
        }
        let file = with_header(1, "{'descr':'<f8','fortran_order':True,'shape':(2L,)}", &[0; 16]);
        assert_eq!(read(file, None).unwrap().shape, [2], "one dimension is in both orders");
        let file = with_header(1, "{'descr': '|b1', 'fortran_order': False, 'shape': ()}", &[1]);
        assert_eq!(read(file, Some(DType::Bool)).unwrap().shape, [0; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_called_by_its_name() {
        let refused = |descr: &str, order: &str, shape: &str, bytes: usize| {
            let header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}");
            read(with_header(1, &header, &vec![0; bytes]), None).unwrap_err().0
        };
        assert!(refused("'>f8'", "False", "(1,)", 8).contains("big-endian"));
        assert!(refused("'|O'", "False", "(1,)", 8).contains("Python objects"));
        assert!(refused("'<U5'", "False", "(1,)", 20).contains("text"));
        assert!(refused("[('x', '<f8'), ('y', '<i4')]", "False", "(1,)", 12).contains("records"));
        assert!(refused("'<f2'", "False", "(1,)", 2).contains("dtype '<f2' is not known"));
        assert!(refused("'<f8'", "True", "(2, 2)", 32).contains("Fortran order"));
        assert!(refused("'<f8'", "False", "(2, 2)", 31).contains("needs 32 bytes of elements, but there are 31"));
        assert!(refused("'<f8'", "False", "(2, 2)", 33).contains("there are 33"));
        assert!(refused("'<f8'", "False", "(99999999999, 99999999999)", 8).contains("too large"));
        assert!(refused("'<f8'", "False", "(-1,)", 8).contains("shape"));
        assert!(read(b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), None).unwrap_err().0.contains("inside its header"));
        assert!(read(b"\x93NUM".to_vec(), None).unwrap_err().0.contains("does not begin with"));
        assert!(read(with_header(9, "{}", &[]), None).unwrap_err().0.contains("version 9"));
        assert!(read(with_header(1, "{}", &[]), None).unwrap_err().0.contains("no 'shape'"));
        assert!(read(OF_NUMPY.to_vec(), Some(DType::Int32)).unwrap_err().0.contains("are int16"));
    }

    proptest! {
        #[test]
        fn every_bit_survives(sides in prop::collection::vec(0..5_u64, 0..4), which in 0..13_usize, seed: u64) {
            let dtype = DType::ALL[which];
            let len = length(&sides).unwrap() as usize * dtype.size();
            let bytes: Vec<u8> = (0..len).map(|n| seed.rotate_left(n as u32) as u8).collect();
            let mut file = Vec::new();
            write(&mut file, dtype, &sides, &bytes).unwrap();
            prop_assert_eq!((file.len() - len) % ALIGN, 0);
            let content = read(file, None).unwrap();
            prop_assert_eq!((content.dtype, &content.shape, content.bytes()), (dtype, &sides, &bytes[..]));
        }

        #[test]
        fn doubles_keep_their_bits(bits: Vec<u64>) {
            // NaNs with payloads and subnormals are among them.
            let bits = [bits, vec![0x7ff8_dead_beef_0001, 0xfff0_0000_0000_0001, 1, 0x8000_0000_0000_0000]].concat();
            let mut file = Vec::new();
            write(&mut file, DType::Float64, &[bits.len() as u64], bytemuck::cast_slice(&bits)).unwrap();
            let content = read(file, None).unwrap();
            prop_assert_eq!(content.bytes(), bytemuck::cast_slice::<u64, u8>(&bits));
        }

        #[test]
        fn no_file_makes_it_panic(mut file: Vec<u8>, at in 0..OF_NUMPY.len(), byte: u8) {
            let _ = read(file.clone(), None);
            file.splice(..0, MAGIC.iter().copied());
            let _ = read(file, None);
            let mut near = OF_NUMPY.to_vec();
            near[at] = byte;
            let _ = read(near, None);
        }
    }
}
