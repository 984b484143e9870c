//! Numbers as text: which dtype they need, whether they fit, and how they are written.
//!
//! Without a dtype that is asked for, whole numbers make int32 if all of them fit and int64 otherwise, one fraction or
//! exponent makes all of them float64, and `true` and `false` make bool. Floats are written with as many digits as
//! identify them, and read back with the same bits. `NaN`, `Infinity` and `-Infinity` are written so in CSV and in JSON, as
//! Python's `json` does; they are not JSON, but `null` would lose them.

use array::DType;

/// Collects numbers, and finds out what they are.
#[derive(Debug)]
pub struct Builder {
    state: State,
}

#[derive(Debug)]
enum State {
    /// This dtype was asked for.
    Forced(DType, Vec<u8>),
    Nothing,
    Bools(Vec<u8>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl Builder {
    /// For numbers of this dtype, or of the one they need.
    pub fn new(dtype: Option<DType>) -> Builder {
        Builder { state: dtype.map_or(State::Nothing, |dtype| State::Forced(dtype, Vec::new())) }
    }

    /// Takes one more number.
    ///
    /// # Errors
    /// A sentence that says why it is none, or does not fit.
    pub fn push(&mut self, token: &str) -> Result<(), String> {
        match &mut self.state {
            State::Forced(dtype, bytes) => return parse_into(*dtype, token, bytes),
            State::Nothing => {
                self.state = match (parse_bool(token), is_whole(token)) {
                    (Some(_), _) => State::Bools(Vec::new()),
                    (_, true) => State::Ints(Vec::new()),
                    _ => State::Floats(Vec::new()),
                };
                return self.push(token);
            }
            State::Bools(values) => match parse_bool(token) {
                Some(value) => values.push(u8::from(value)),
                None => return Err(format!("'{token}' is not true or false, but what came before is")),
            },
            State::Ints(values) if is_whole(token) => {
                values.push(
                    token
                        .parse()
                        .map_err(|_| format!("{token} does not fit int64; say --dtype uint64 or --dtype float64"))?,
                );
            }
            State::Ints(values) => {
                // The text of the ones before meant the doubles nearest to them, which this conversion gives.
                let mut floats: Vec<f64> = values.iter().map(|&value| value as f64).collect();
                floats.push(parse_float(token)?);
                self.state = State::Floats(floats);
            }
            State::Floats(values) => values.push(parse_float(token)?),
        }
        Ok(())
    }

    /// The dtype and the elements, little-endian. No numbers at all are float64, as in NumPy.
    pub fn finish(self) -> (DType, Vec<u8>) {
        match self.state {
            State::Forced(dtype, bytes) => (dtype, bytes),
            State::Nothing => (DType::Float64, Vec::new()),
            State::Bools(values) => (DType::Bool, values),
            State::Ints(values) => {
                let small: Option<Vec<i32>> = values.iter().map(|&value| value.try_into().ok()).collect();
                match small {
                    Some(small) => (DType::Int32, bytemuck::cast_slice(&small).to_vec()),
                    None => (DType::Int64, bytemuck::cast_slice(&values).to_vec()),
                }
            }
            State::Floats(values) => (DType::Float64, bytemuck::cast_slice(&values).to_vec()),
        }
    }
}

/// Whether a token is written as a whole number.
fn is_whole(token: &str) -> bool {
    let digits = token.strip_prefix(['+', '-']).unwrap_or(token);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_bool(token: &str) -> Option<bool> {
    match token {
        "true" | "True" => Some(true),
        "false" | "False" => Some(false),
        _ => None,
    }
}

fn not_a_number(token: &str) -> String {
    let shown: String = token.chars().take(40).collect();
    format!("'{}' is not a number", shown.escape_debug())
}

fn parse_float(token: &str) -> Result<f64, String> {
    let value: f64 = token.parse().map_err(|_| not_a_number(token))?;
    check_finite(token, value.is_infinite(), DType::Float64)?;
    Ok(value)
}

/// Digits that became an infinity did not fit.
fn check_finite(token: &str, infinite: bool, dtype: DType) -> Result<(), String> {
    match infinite && token.bytes().any(|byte| byte.is_ascii_digit()) {
        true => Err(format!("{token} does not fit {dtype}; it is too large")),
        false => Ok(()),
    }
}

/// Parses a token as a dtype and appends its bytes.
fn parse_into(dtype: DType, token: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
    macro_rules! whole {
        ($type:ty) => {{
            let value: $type = token.parse().map_err(|_| misfit(dtype, token, <$type>::MIN, <$type>::MAX))?;
            bytes.extend_from_slice(&value.to_le_bytes());
        }};
    }
    match dtype {
        DType::Bool => match (parse_bool(token), token) {
            (Some(value), _) => bytes.push(u8::from(value)),
            (None, "0") => bytes.push(0),
            (None, "1") => bytes.push(1),
            _ => return Err(format!("'{token}' is not a bool; write true, false, 1 or 0")),
        },
        DType::Int8 => whole!(i8),
        DType::Int16 => whole!(i16),
        DType::Int32 => whole!(i32),
        DType::Int64 => whole!(i64),
        DType::UInt8 => whole!(u8),
        DType::UInt16 => whole!(u16),
        DType::UInt32 => whole!(u32),
        DType::UInt64 => whole!(u64),
        DType::Float32 => {
            let value: f32 = token.parse().map_err(|_| not_a_number(token))?;
            check_finite(token, value.is_infinite(), dtype)?;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        DType::Float64 => bytes.extend_from_slice(&parse_float(token)?.to_le_bytes()),
        DType::Complex64 | DType::Complex128 => {
            return Err(format!("{dtype} can be read from .npy only"));
        }
    }
    Ok(())
}

/// Why a token is no value of a whole dtype.
fn misfit(dtype: DType, token: &str, min: impl std::fmt::Display, max: impl std::fmt::Display) -> String {
    match (is_whole(token), token.parse::<f64>()) {
        (true, _) => format!("{token} does not fit {dtype} ({min} to {max})"),
        (false, Ok(_)) => format!("{token} is not a whole number, but {dtype} was asked for"),
        (false, Err(_)) => not_a_number(token),
    }
}

/// Appends one element as text. `element` has the size of the dtype.
///
/// # Panics
/// For complex numbers, which have no text here; [`super::check_writable`] refuses them before.
pub fn append(dtype: DType, element: &[u8], text: &mut Vec<u8>) {
    use std::io::Write;
    macro_rules! put {
        ($type:ty, $form:literal) => {{
            let value = <$type>::from_le_bytes(element.try_into().expect("an element has the size of its dtype"));
            write!(text, $form, value)
        }};
    }
    macro_rules! put_float {
        ($type:ty) => {{
            let value = <$type>::from_le_bytes(element.try_into().expect("an element has the size of its dtype"));
            match value {
                <$type>::INFINITY => write!(text, "Infinity"),
                <$type>::NEG_INFINITY => write!(text, "-Infinity"),
                // Debug gives the shortest digits, with an exponent where that is shorter; NaN is "NaN".
                _ => write!(text, "{value:?}"),
            }
        }};
    }
    let written = match dtype {
        DType::Bool => write!(text, "{}", element[0] != 0),
        DType::Int8 => put!(i8, "{}"),
        DType::Int16 => put!(i16, "{}"),
        DType::Int32 => put!(i32, "{}"),
        DType::Int64 => put!(i64, "{}"),
        DType::UInt8 => put!(u8, "{}"),
        DType::UInt16 => put!(u16, "{}"),
        DType::UInt32 => put!(u32, "{}"),
        DType::UInt64 => put!(u64, "{}"),
        DType::Float32 => put_float!(f32),
        DType::Float64 => put_float!(f64),
        DType::Complex64 | DType::Complex128 => panic!("{dtype} has no text"),
    };
    written.expect("memory takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn build(tokens: &[&str], dtype: Option<DType>) -> Result<(DType, Vec<u8>), String> {
        let mut builder = Builder::new(dtype);
        tokens.iter().try_for_each(|token| builder.push(token))?;
        Ok(builder.finish())
    }

    fn ints(values: &[i32]) -> Vec<u8> {
        bytemuck::cast_slice(values).to_vec()
    }

    fn floats(values: &[f64]) -> Vec<u8> {
        bytemuck::cast_slice(values).to_vec()
    }

    #[test]
    fn the_numbers_decide_the_dtype() {
        let min = i32::MIN.to_string();
        assert_eq!(build(&["1", "-2", "+3", &min], None), Ok((DType::Int32, ints(&[1, -2, 3, i32::MIN]))));
        let long = bytemuck::cast_slice(&[1, 2_147_483_648_i64]).to_vec();
        assert_eq!(build(&["1", "2147483648"], None), Ok((DType::Int64, long)));
        assert_eq!(build(&["1", "2.0"], None), Ok((DType::Float64, floats(&[1.0, 2.0]))));
        assert_eq!(build(&["1e3", "7"], None), Ok((DType::Float64, floats(&[1000.0, 7.0]))));
        assert_eq!(build(&["-inf", "Infinity"], None), Ok((DType::Float64, floats(&[-f64::INFINITY, f64::INFINITY]))));
        assert_eq!(build(&["true", "False"], None), Ok((DType::Bool, vec![1, 0])));
        assert_eq!(build(&[], None), Ok((DType::Float64, vec![])));
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let refused = |token, dtype| build(&[token], dtype).unwrap_err();
        assert_eq!(refused("300", Some(DType::Int8)), "300 does not fit int8 (-128 to 127)");
        assert_eq!(refused("-1", Some(DType::UInt64)), "-1 does not fit uint64 (0 to 18446744073709551615)");
        assert_eq!(refused("1.5", Some(DType::Int32)), "1.5 is not a whole number, but int32 was asked for");
        assert_eq!(refused("price", Some(DType::Int32)), "'price' is not a number");
        assert_eq!(refused("1e39", Some(DType::Float32)), "1e39 does not fit float32; it is too large");
        assert_eq!(refused("1e999", None), "1e999 does not fit float64; it is too large");
        assert!(refused("9223372036854775808", None).contains("--dtype uint64"));
        assert!(refused("2", Some(DType::Bool)).contains("not a bool"));
        assert!(build(&["true", "1"], None).is_err());
        assert!(refused("1", Some(DType::Complex64)).contains(".npy only"));
        assert!(refused("", None).contains("not a number"));
    }

    fn text(dtype: DType, element: &[u8]) -> String {
        let mut text = Vec::new();
        append(dtype, element, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn texts_of_special_values() {
        let of = |value: f64| text(DType::Float64, &value.to_le_bytes());
        assert_eq!([of(1.0), of(-0.0), of(0.1), of(1e300)], ["1.0", "-0.0", "0.1", "1e300"]);
        assert_eq!([of(f64::NAN), of(f64::INFINITY), of(-f64::INFINITY)], ["NaN", "Infinity", "-Infinity"]);
        assert_eq!(text(DType::Bool, &[1]), "true");
        assert_eq!(text(DType::Float32, &0.1_f32.to_le_bytes()), "0.1");
    }

    proptest! {
        #[test]
        fn doubles_come_back_with_the_same_bits(bits: u64) {
            let value = f64::from_bits(bits);
            let (dtype, bytes) = build(&[&text(DType::Float64, &value.to_le_bytes())], Some(DType::Float64)).unwrap();
            prop_assert_eq!(dtype, DType::Float64);
            // Text has one NaN only; .npy keeps the bits of all.
            let back = f64::from_le_bytes(bytes.try_into().unwrap());
            prop_assert!(back.to_bits() == bits || (value.is_nan() && back.is_nan()), "{} {}", value, back);
        }

        #[test]
        fn floats_come_back_with_the_same_bits(bits: u32) {
            let value = f32::from_bits(bits);
            let (_, bytes) = build(&[&text(DType::Float32, &value.to_le_bytes())], Some(DType::Float32)).unwrap();
            let back = f32::from_le_bytes(bytes.try_into().unwrap());
            prop_assert!(back.to_bits() == bits || (value.is_nan() && back.is_nan()), "{} {}", value, back);
        }
    }
}
