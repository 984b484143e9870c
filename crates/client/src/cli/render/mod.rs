//! Answers as text: tables, arrays as NumPy prints them, JSON, times.

pub mod json;
pub mod numpy;
pub mod table;
pub mod time;
