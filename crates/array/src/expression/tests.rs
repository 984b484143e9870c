//! Expressions as text: what they mean, what is wrong with them, and that no text breaks anything. That the values are NumPy's is in
//! `tests/numpy.rs`.

mod errors;
mod generators;
mod hostile;
mod meaning;

use super::*;
use DType::*;

/// The program of an expression on `x`, with the arrays `y` and `my-array` beside it.
fn parse(text: &str, x: DType, y: DType) -> Result<Program, ExpressionError> {
    let mut known = vec!["x".to_string()];
    let mut resolve = |name: &str| {
        if !["y", "my-array", "größe"].contains(&name) {
            return Err(format!("there is no array '{name}'"));
        }
        let input = known.iter().position(|known| known == name).unwrap_or(known.len());
        if input == known.len() {
            known.push(name.to_string());
        }
        Ok(Named { input: input as u32, dtype: y })
    };
    parse_expression(text, x, &mut resolve)
}

fn parse_sums(text: &str) -> Result<(Program, Vec<String>), ExpressionError> {
    parse_reductions(text, Float64, &mut |name| Err(format!("there is no array '{name}'")))
}
