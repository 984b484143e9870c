//! Files of the client's user.

use array::DType;
use client::format::{Content, Format, check_writable, read, write};

/// A `.npy` file.
pub fn npy(data: &[u8]) {
    check(Format::Npy, data);
}

/// A CSV file, with the dtype that is asked for before it.
pub fn csv(data: &[u8]) {
    check(Format::Csv, data);
}

/// A JSON file, with the dtype that is asked for before it.
pub fn json(data: &[u8]) {
    check(Format::Json, data);
}

fn check(format: Format, data: &[u8]) {
    let Some((wanted, file)) = data.split_first() else { return };
    let wanted = DType::ALL.get(usize::from(*wanted)).copied();
    let _ = Format::of_content(file);
    let content = match read(format, file.to_vec(), wanted) {
        Ok(content) => content,
        Err(error) => return assert!(!error.0.is_empty()),
    };
    assert_eq!(content.bytes().len() % content.dtype.size(), 0);
    if check_writable(format, content.dtype, content.shape.len()).is_err() {
        // Of complex numbers text has none, which is as many as there are in an empty file.
        return assert!(content.bytes().is_empty());
    }
    let mut out = Vec::new();
    write(format, &mut out, content.dtype, &content.shape, content.bytes()).expect("memory takes everything");
    let again = read(format, out.clone(), Some(content.dtype));
    let again = again.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)));
    assert_eq!((again.dtype, &again.shape), (content.dtype, &content.shape), "{}", String::from_utf8_lossy(&out));
    assert!(same(format, &content, &again), "{}", String::from_utf8_lossy(&out));
}

/// Whether the elements are the same. Text has one NaN only.
fn same(format: Format, one: &Content, other: &Content) -> bool {
    let is_nan = |element: &[u8]| match one.dtype {
        DType::Float32 => f32::from_le_bytes(element.try_into().expect("four bytes")).is_nan(),
        DType::Float64 => f64::from_le_bytes(element.try_into().expect("eight bytes")).is_nan(),
        _ => false,
    };
    let elements = |content: &Content| {
        let all = content.bytes().chunks_exact(one.dtype.size());
        all.map(|element| (format == Format::Npy || !is_nan(element)).then(|| element.to_vec())).collect::<Vec<_>>()
    };
    one.bytes() == other.bytes() || elements(one) == elements(other)
}
