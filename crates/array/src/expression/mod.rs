//! Expressions as people write them: `where(x > 0, log(x) * 2, 0)`. In: text, out: a typed [`Program`].
//!
//! The words are Python's and NumPy's: `+ - * / // % **`, comparisons (also chained), `and or not`, `where`, casts by the name of
//! a dtype, and NumPy's functions. `x` is the array that is worked on; others are named, in backquotes where the name is not a
//! word. The types follow NumPy 2 (NEP 50): a number in the text adapts to the array beside it. README.md of this crate states
//! the rules, and where they deviate.
//!
//! One pass from left to right makes the program, without a tree in between ([`parse`]), so the depth of an expression costs no
//! more than its length; [`typing`] has the rules of types.

mod error;
mod generator;
mod parse;
#[cfg(test)]
mod tests;
mod token;
mod typing;

pub use error::ExpressionError;
pub use generator::{GeneratedArray, parse_generator};

use crate::DType;
use crate::program::Program;
use parse::Parser;

/// Bytes that the text of an expression may have. It is kept with the result.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

/// How deep parentheses and the like may be nested.
pub const DEPTH_MAX: usize = 100;

/// The names of all functions, in order.
pub fn function_names() -> Vec<&'static str> {
    parse::Function::names()
}

/// The names of all generators.
pub fn generator_names() -> Vec<&'static str> {
    generator::SIGNATURES.map(|(name, _)| name).into()
}

/// The array that a name in an expression means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number among the inputs. 0 is `x`, those that come new count on from there.
    pub input: u32,
    /// The dtype of its elements.
    pub dtype: DType,
}

/// Finds what a name means; else says in words why it means nothing.
pub type Resolve<'a> = dyn FnMut(&str) -> Result<Named, String> + 'a;

/// The program of an expression on an array `x` of this dtype. Other names are asked of `resolve`.
///
/// # Errors
/// Whatever is wrong with the text, and at which column.
pub fn parse_expression(text: &str, x: DType, resolve: &mut Resolve<'_>) -> Result<Program, ExpressionError> {
    Parser::new(text, x, resolve)?.expression()
}

/// The program of reductions, `sum(sin(x)), max(x)`, with the text of each.
///
/// # Errors
/// Whatever is wrong with the text, and at which column.
pub fn parse_reductions(
    text: &str,
    x: DType,
    resolve: &mut Resolve<'_>,
) -> Result<(Program, Vec<String>), ExpressionError> {
    Parser::new(text, x, resolve)?.reductions()
}
