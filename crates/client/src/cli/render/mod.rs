//! Answers as text: tables, arrays as NumPy prints them, JSON, times, what an operation took, where an expression is wrong.

pub mod caret;
pub mod json;
pub mod numpy;
pub mod receipt;
pub mod table;
pub mod time;
