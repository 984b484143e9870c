//! What is wrong with an expression, and where.

use std::fmt;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// The character it is about, counted from 1.
    pub column: usize,
    /// What is there, in short.
    pub excerpt: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Characters that an excerpt has.
const EXCERPT_CHARS: usize = 24;

/// Characters of a word or a number that an error repeats: more than those that have a meaning have.
const QUOTED_CHARS: usize = 64;

/// A word or a number of the text, as an error repeats it.
pub(super) fn quoted(word: &str) -> String {
    match word.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("'{}…'", &word[..end]),
        None => format!("'{word}'"),
    }
}

impl ExpressionError {
    /// About what begins at a byte of a text.
    pub fn at(text: &str, byte: usize, problem: impl Into<String>) -> ExpressionError {
        let byte = (0..=byte.min(text.len())).rev().find(|byte| text.is_char_boundary(*byte)).unwrap_or(0);
        let (before, from) = text.split_at(byte);
        let mut excerpt: String = from.chars().take(EXCERPT_CHARS).collect();
        if excerpt.len() < from.len() {
            excerpt.push('…');
        }
        ExpressionError { column: before.chars().count() + 1, excerpt, problem: problem.into() }
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExpressionError { column, excerpt, problem } = self;
        match excerpt.is_empty() {
            true => write!(f, "column {column}, at the end: {problem}"),
            false => write!(f, "column {column}, at '{excerpt}': {problem}"),
        }
    }
}

impl std::error::Error for ExpressionError {}
