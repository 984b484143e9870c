//! Arrays as NumPy prints them, with its default settings: above 1000 elements only three at each end of every side,
//! eight digits after the point, lines of 75 characters. Only what is shown is needed ([`shown`]).

use crate::format::number;
use array::DType;
use std::ops::Range;

/// Up to so many elements everything is shown.
const THRESHOLD: u64 = 1000;

/// Elements shown at each end of a side.
const EDGE: u64 = 3;

/// Digits after the point.
const PRECISION: usize = 8;

/// Characters in a line.
const LINE: usize = 75;

/// Beyond so many shown elements (a shape of many dimensions) nobody reads them.
const SHOWN_MAX: u64 = 20_000;

/// Elements of an array: those from `start` on, little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The first element's index, in C order.
    pub start: u64,
    /// The elements.
    pub bytes: Vec<u8>,
}

/// The elements that are shown of an array of this shape, as ranges in C order.
pub fn shown(shape: &[u64]) -> Vec<Range<u64>> {
    let len: u64 = shape.iter().product();
    if len <= THRESHOLD {
        return vec![Range { start: 0, end: len }];
    }
    if shape.iter().map(|&side| side.min(2 * EDGE)).try_fold(1_u64, u64::checked_mul).is_none_or(|n| n > SHOWN_MAX) {
        return Vec::new();
    }
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for index in shown_indices(shape) {
        match ranges.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => ranges.push(index..index + 1),
        }
    }
    ranges
}

/// The flat indices that are shown of a shortened array.
fn shown_indices(shape: &[u64]) -> Vec<u64> {
    shape.iter().fold(vec![0], |outer, &side| {
        outer.iter().flat_map(|&index| shown_of_side(side, true).map(move |i| index * side + i)).collect()
    })
}

fn shown_of_side(side: u64, shorten: bool) -> impl Iterator<Item = u64> {
    let (head, tail) = match shorten && side > 2 * EDGE {
        true => (EDGE, side - EDGE),
        false => (side, side),
    };
    (0..head).chain(tail..side)
}

/// Prints an array; `pieces` are the ranges of [`shown`], in order.
pub fn print(dtype: DType, shape: &[u64], pieces: &[Piece]) -> String {
    let size = dtype.size();
    let elements: Vec<&[u8]> = pieces.iter().flat_map(|piece| piece.bytes.chunks_exact(size)).collect();
    let len: u64 = shape.iter().product();
    if len == 0 {
        return "[]".to_string();
    }
    if elements.is_empty() {
        return format!("({len} elements of shape {shape:?}, too many dimensions to show)");
    }
    let mut words = words(dtype, &elements, shape.is_empty()).into_iter();
    if shape.is_empty() {
        return words.next().unwrap_or_default();
    }
    let layout = Layout { shorten: len > THRESHOLD };
    layout.side(shape, &mut words, " ", LINE)
}

/// How an array is laid out in lines; follows `_formatArray` of NumPy's `arrayprint`.
struct Layout {
    shorten: bool,
}

impl Layout {
    fn side(&self, shape: &[u64], words: &mut dyn Iterator<Item = String>, indent: &str, width: usize) -> String {
        let (&side, inner) = shape.split_first().expect("sides are printed while there are any");
        let text = match inner.is_empty() {
            true => self.row(side, words, indent, width - 1),
            false => self.block(side, inner, words, indent, width),
        };
        format!("[{}]", &text[indent.len()..])
    }

    /// The innermost side: words, wrapped.
    fn row(&self, side: u64, words: &mut dyn Iterator<Item = String>, indent: &str, width: usize) -> String {
        let (mut text, mut line) = (String::new(), indent.to_string());
        let mut put = |word: &str, last: bool| {
            let needs_wrap = line.len() + word.len() > width && line.len() > indent.len();
            if needs_wrap {
                text += line.trim_end();
                text.push('\n');
                line = indent.to_string();
            }
            line += word;
            if last {
                text += &line;
            } else {
                line.push(' ');
            }
        };
        for index in shown_of_side(side, self.shorten) {
            if self.shorten && side > 2 * EDGE && index == side - EDGE {
                put("...", false);
            }
            put(&words.next().unwrap_or_default(), index + 1 == side);
        }
        text
    }

    /// An outer side: blocks, with an empty line between those of three dimensions and so on.
    fn block(
        &self,
        side: u64,
        inner: &[u64],
        words: &mut dyn Iterator<Item = String>,
        indent: &str,
        width: usize,
    ) -> String {
        let mut blocks = Vec::new();
        for index in shown_of_side(side, self.shorten) {
            if self.shorten && side > 2 * EDGE && index == side - EDGE {
                blocks.push(format!("{indent}..."));
            }
            let nested = self.side(inner, words, &format!("{indent} "), width - 1);
            blocks.push(format!("{indent}{nested}"));
        }
        blocks.join(&"\n".repeat(inner.len()))
    }
}

/// Every element as a word; all have the same width, except a single one.
fn words(dtype: DType, elements: &[&[u8]], single: bool) -> Vec<String> {
    match dtype {
        DType::Bool => elements.iter().map(|element| bool_word(element[0] != 0, single)).collect(),
        DType::Float32 | DType::Float64 if single => texts(dtype, elements),
        DType::Float32 | DType::Float64 => {
            float_words(&elements.iter().map(|e| Float::read(e)).collect::<Vec<_>>(), false)
        }
        DType::Complex64 | DType::Complex128 => complex_words(elements),
        _ => align_right(texts(dtype, elements)),
    }
}

fn bool_word(value: bool, single: bool) -> String {
    match (value, single) {
        (true, true) => "True".to_string(),
        (true, false) => " True".to_string(),
        (false, _) => "False".to_string(),
    }
}

fn texts(dtype: DType, elements: &[&[u8]]) -> Vec<String> {
    let text = |element: &&[u8]| {
        let mut text = Vec::new();
        number::append(dtype, element, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    elements.iter().map(text).collect()
}

fn align_right(texts: Vec<String>) -> Vec<String> {
    let width = texts.iter().map(String::len).max().unwrap_or(0);
    texts.into_iter().map(|text| format!("{text:>width$}")).collect()
}

/// A complex number is two words, the second one with its sign.
fn complex_words(elements: &[&[u8]]) -> Vec<String> {
    let half = |which: usize| -> Vec<Float> {
        elements.iter().map(|e| Float::read(&e[which * e.len() / 2..(which + 1) * e.len() / 2])).collect()
    };
    let imaginary = float_words(&half(1), true);
    let join = |(real, imaginary): (String, String)| {
        let digits = imaginary.trim_end().len();
        format!("{real}{}j{}", &imaginary[..digits], &imaginary[digits..])
    };
    float_words(&half(0), false).into_iter().zip(imaginary).map(join).collect()
}

/// A float of either width: the digits that identify it depend on the width.
#[derive(Clone, Copy)]
enum Float {
    Single(f32),
    Double(f64),
}

impl Float {
    fn read(bytes: &[u8]) -> Float {
        match bytes.try_into() {
            Ok(bytes) => Float::Single(f32::from_le_bytes(bytes)),
            Err(_) => Float::Double(f64::from_le_bytes(bytes.try_into().expect("a float has 4 or 8 bytes"))),
        }
    }

    fn value(self) -> f64 {
        match self {
            Float::Single(value) => value.into(),
            Float::Double(value) => value,
        }
    }

    /// Digits before and after the point, at most [`PRECISION`] after it, no zeros at the end.
    fn positional(self) -> (String, String) {
        let shortest = match self {
            Float::Single(value) => value.to_string(),
            Float::Double(value) => value.to_string(),
        };
        let (_, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
        let text = match fraction.len() > PRECISION {
            true => format!("{:.PRECISION$}", self.value()),
            false => shortest,
        };
        split_point(&text)
    }

    /// Digits before and after the point, and the exponent.
    fn scientific(self) -> (String, String, i32) {
        let shortest = match self {
            Float::Single(value) => format!("{value:e}"),
            Float::Double(value) => format!("{value:e}"),
        };
        let fraction = shortest.split(['.', 'e']).nth(1).filter(|_| shortest.contains('.')).unwrap_or("");
        let text = match fraction.len() > PRECISION {
            true => format!("{:.PRECISION$e}", self.value()),
            false => shortest,
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = split_point(mantissa);
        (whole, fraction, exponent.parse().unwrap_or(0))
    }
}

fn split_point(text: &str) -> (String, String) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.to_string(), fraction.trim_end_matches('0').to_string())
}

/// Floats as words of the same width; follows `FloatingFormat` of NumPy's `arrayprint`. With `sign` a plus is written too.
fn float_words(values: &[Float], sign: bool) -> Vec<String> {
    let finite: Vec<Float> = values.iter().copied().filter(|value| value.value().is_finite()).collect();
    let plus = |value: Float, whole: String| match sign && !value.value().is_sign_negative() {
        true => format!("+{whole}"),
        false => whole,
    };
    // (before the point, after it with what follows)
    let parts: Vec<(String, String)> = match needs_exponent(&finite) {
        true => scientific_parts(&finite).into_iter().zip(&finite).map(|((w, f), v)| (plus(*v, w), f)).collect(),
        false => {
            let parts: Vec<_> = finite.iter().map(|value| value.positional()).collect();
            let width = parts.iter().map(|(_, fraction)| fraction.len()).max().unwrap_or(0);
            parts.into_iter().zip(&finite).map(|((w, f), v)| (plus(*v, w), format!("{f:<width$}"))).collect()
        }
    };
    let right = parts.iter().map(|(_, fraction)| fraction.len()).max().unwrap_or(0);
    let mut left = parts.iter().map(|(whole, _)| whole.len()).max().unwrap_or(0);
    for value in values.iter().filter(|value| !value.value().is_finite()) {
        left = left.max(special(value.value(), sign).len().saturating_sub(right + 1));
    }
    let mut parts = parts.into_iter();
    let word = |value: &Float| match value.value().is_finite() {
        true => {
            let (whole, fraction) = parts.next().expect("there is one for each finite value");
            format!("{whole:>left$}.{fraction}")
        }
        false => format!("{:>width$}", special(value.value(), sign), width = left + 1 + right),
    };
    values.iter().map(word).collect()
}

fn special(value: f64, sign: bool) -> String {
    let text = match (value.is_nan(), value > 0.0) {
        (true, _) => "nan",
        (false, true) => "inf",
        (false, false) => return "-inf".to_string(),
    };
    if sign { format!("+{text}") } else { text.to_string() }
}

/// Whether the values need an exponent: very large ones, very small ones, or both kinds together.
fn needs_exponent(finite: &[Float]) -> bool {
    let sizes = || finite.iter().map(|value| value.value().abs()).filter(|size| *size != 0.0);
    let (Some(largest), Some(smallest)) = (sizes().reduce(f64::max), sizes().reduce(f64::min)) else {
        return false;
    };
    largest >= 1e8 || smallest < 1e-4 || largest / smallest > 1000.0
}

fn scientific_parts(finite: &[Float]) -> Vec<(String, String)> {
    let parts: Vec<_> = finite.iter().map(|value| value.scientific()).collect();
    let precision = parts.iter().map(|(_, fraction, _)| fraction.len()).max().unwrap_or(0);
    let digits =
        parts.iter().map(|(_, _, exponent)| exponent.unsigned_abs().to_string().len()).max().unwrap_or(0).max(2);
    let text = |(whole, fraction, exponent): (String, String, i32)| {
        let sign = if exponent < 0 { '-' } else { '+' };
        (whole, format!("{fraction:0<precision$}e{sign}{:0digits$}", exponent.unsigned_abs()))
    };
    parts.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use array::Element;

    fn doubles(values: &[f64]) -> String {
        whole(&[values.len() as u64], values)
    }

    fn whole<T: Element>(shape: &[u64], values: &[T]) -> String {
        let pieces = [Piece { start: 0, bytes: bytemuck::cast_slice(values).to_vec() }];
        print(T::DTYPE, shape, &pieces)
    }

    /// As a large array is printed: from the shown ranges only.
    fn shortened<T: Element>(shape: &[u64], value: impl Fn(u64) -> T) -> String {
        let piece = |range: Range<u64>| {
            let values: Vec<T> = range.clone().map(&value).collect();
            Piece { start: range.start, bytes: bytemuck::cast_slice(&values).to_vec() }
        };
        print(T::DTYPE, shape, &shown(shape).into_iter().map(piece).collect::<Vec<_>>())
    }

    // Everything expected here was printed by NumPy 2.4.

    #[test]
    fn floats_without_exponent() {
        assert_eq!(doubles(&[1.0, 2.5, 1000.0]), "[   1.     2.5 1000. ]");
        assert_eq!(doubles(&[1.0]), "[1.]");
        assert_eq!(doubles(&[0.1, -0.0, 1.0 / 3.0]), "[ 0.1        -0.          0.33333333]");
        assert_eq!(doubles(&[99999999.0, 123456.789]), "[99999999.      123456.789]");
        assert_eq!(doubles(&[f64::NAN, -f64::INFINITY, 1.5]), "[ nan -inf  1.5]");
        assert_eq!(doubles(&[f64::NAN, f64::INFINITY]), "[nan inf]");
        assert_eq!(whole(&[2], &[0.1_f32, 16777216.0]), "[1.0000000e-01 1.6777216e+07]");
        assert_eq!(whole(&[2], &[0.1_f32, 0.3]), "[0.1 0.3]");
    }

    #[test]
    fn floats_with_exponent() {
        assert_eq!(doubles(&[1e10]), "[1.e+10]");
        assert_eq!(doubles(&[1e-5, 1.0]), "[1.e-05 1.e+00]");
        assert_eq!(doubles(&[1.0, 1001.0]), "[1.000e+00 1.001e+03]");
        assert_eq!(doubles(&[1e300, -1.23456789012e-300, 0.0]), "[ 1.00000000e+300 -1.23456789e-300  0.00000000e+000]");
        assert_eq!(doubles(&[1e-20, f64::NAN]), "[1.e-20    nan]");
        assert_eq!(doubles(&[5e-324]), "[5.e-324]");
    }

    #[test]
    fn other_dtypes() {
        assert_eq!(whole(&[3], &[1_i32, -20, 300]), "[  1 -20 300]");
        assert_eq!(whole(&[2], &[u64::MAX, 0]), "[18446744073709551615                    0]");
        let bools = [Piece { start: 0, bytes: vec![1, 0, 1] }];
        assert_eq!(print(DType::Bool, &[3], &bools), "[ True False  True]");
        let complex = bytemuck::cast_slice(&[1.0, -2.5, 0.25, 3.0_f64]).to_vec();
        assert_eq!(print(DType::Complex128, &[2], &[Piece { start: 0, bytes: complex }]), "[1.  -2.5j 0.25+3.j ]");
    }

    #[test]
    fn shapes() {
        assert_eq!(whole::<f64>(&[], &[1.5]), "1.5");
        assert_eq!(whole::<i32>(&[0], &[]), "[]");
        assert_eq!(whole::<i32>(&[3, 0], &[]), "[]");
        assert_eq!(whole(&[2, 2], &[1, 2, 3, 40_i32]), "[[ 1  2]\n [ 3 40]]");
        let cube: Vec<i32> = (0..8).collect();
        assert_eq!(whole(&[2, 2, 2], &cube), "[[[0 1]\n  [2 3]]\n\n [[4 5]\n  [6 7]]]");
    }

    #[test]
    fn long_lines_wrap() {
        let numbers: Vec<i32> = (0..30).collect();
        let expected = "[ 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23\n 24 25 26 27 28 29]";
        assert_eq!(whole(&[30], &numbers), expected);
    }

    #[test]
    fn large_arrays_show_their_edges() {
        assert_eq!(
            shortened(&[1_000_000_000], |n| n as i32),
            "[        0         1         2 ... 999999997 999999998 999999999]"
        );
        assert_eq!(
            shortened(&[1500], |n| n as f64 + 1.0),
            "[1.000e+00 2.000e+00 3.000e+00 ... 1.498e+03 1.499e+03 1.500e+03]"
        );
        assert_eq!(shortened(&[2000], |n| n as f64 / 10.0 + 1.0), "[  1.    1.1   1.2 ... 200.7 200.8 200.9]");
        let matrix = "[[     0      1      2 ...    997    998    999]\n [  1000   1001   1002 ...   1997   1998   1999]\n [  2000   2001   2002 ...   2997   2998   2999]\n ...\n [997000 997001 997002 ... 997997 997998 997999]\n [998000 998001 998002 ... 998997 998998 998999]\n [999000 999001 999002 ... 999997 999998 999999]]";
        assert_eq!(shortened(&[1000, 1000], |n| n as i32), matrix);
        assert_eq!(
            shortened(&[2, 600], |n| n as i32),
            "[[   0    1    2 ...  597  598  599]\n [ 600  601  602 ... 1197 1198 1199]]"
        );
    }

    #[test]
    fn only_the_edges_are_wanted() {
        assert_eq!(shown(&[1000]), [Range { start: 0, end: 1000 }]);
        assert_eq!(shown(&[1001]), [0..3, 998..1001]);
        assert_eq!(shown(&[2, 600]), [0..3, 597..603, 1197..1200]);
        assert!(shown(&[7; 20]).is_empty());
    }
}
