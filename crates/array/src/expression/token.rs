//! The words of an expression.

use super::ExpressionError;
use super::error::quoted;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent.
    Float(f64),
    /// A name without quotes: an array, a function, a keyword.
    Word(&'a str),
    /// A name in backquotes: an array.
    Quoted(&'a str),
    /// An operator, a comma or a parenthesis.
    Sign(&'static str),
    /// Nothing any more.
    End,
}

/// Longer ones first.
const SIGNS: [&str; 18] =
    ["**", "//", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "(", ")", ",", "[", "]"];

/// Signs that people write for something else, and what to write.
const MISTAKES: [(&str, &str); 7] = [
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("&", "write `and`"),
    ("|", "write `or`"),
    ("~", "write `not`"),
    ("^", "a power is `**`; of bools, different is `!=`"),
    ("!", "write `not`, or `!=` for different"),
];

/// Reads one word after the other.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a str,
    /// The first byte that is not read.
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }

    /// The next word, and the byte where it begins.
    pub fn next(&mut self) -> Result<(Token<'a>, usize), ExpressionError> {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        let begin = self.at;
        let (token, len) = self.read(rest).map_err(|problem| ExpressionError::at(self.text, begin, problem))?;
        self.at += len;
        Ok((token, begin))
    }

    fn read(&self, rest: &'a str) -> Result<(Token<'a>, usize), String> {
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, 0));
        };
        let second = rest[first.len_utf8()..].chars().next();
        if first.is_ascii_digit() || (first == '.' && second.is_some_and(|c| c.is_ascii_digit())) {
            return number(rest);
        }
        if is_word(first) {
            let len = rest.find(|c: char| !is_word(c) && !c.is_ascii_digit()).unwrap_or(rest.len());
            return Ok((Token::Word(&rest[..len]), len));
        }
        if first == '`' {
            let len = rest[1..].find('`').ok_or("the backquote is not closed")?;
            return Ok((Token::Quoted(&rest[1..=len]), len + 2));
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            return Ok((Token::Sign(sign), sign.len()));
        }
        match MISTAKES.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
            Some((sign, instead)) => Err(format!("there is no operator `{sign}`; {instead}")),
            None if first == '=' => Err("`=` assigns nothing here; equal is `==`".to_string()),
            None if first == '.' => Err("there are no attributes; write sqrt(x), not np.sqrt(x)".to_string()),
            None => Err(format!("'{}' means nothing in an expression", first.escape_default())),
        }
    }
}

/// Letters of any language, and the underscore.
fn is_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// A number as Python writes it.
fn number<'a>(rest: &'a str) -> Result<(Token<'a>, usize), String> {
    let digits =
        |from: usize| from + rest[from..].find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len() - from);
    let mut len = digits(0);
    let mut is_float = false;
    if rest[len..].starts_with('.') {
        is_float = true;
        len = digits(len + 1);
    }
    if rest[len..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[len + 1..].starts_with(['+', '-']));
        let end = digits(len + 1 + sign);
        if end > len + 1 + sign {
            is_float = true;
            len = end;
        }
    }
    if let Some(next) = rest[len..].chars().next().filter(|c| is_word(*c)) {
        return Err(format!("'{next}' directly after a number; a product needs a `*`"));
    }
    let plain = rest[..len].replace('_', "");
    let token = match is_float {
        true => plain.parse().map(Token::Float).map_err(|_| format!("{} is no number", quoted(&plain)))?,
        false => {
            let wrong = |_| format!("{} does not fit int64; write it with .0 for a float64", quoted(&plain));
            plain.parse().map(Token::Int).map_err(wrong)?
        }
    };
    Ok((token, len))
}
