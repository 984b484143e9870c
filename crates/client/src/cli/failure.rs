//! How a command can fail, and with which exit code.

use crate::error::Error;
use protocol::{ErrorCode, WireError};
use serde_json::{Map, Value, json};
use std::fmt;
use std::io;

/// Why a command did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// The cluster, or the way to it.
    Cluster(Error),
    /// An expression that was refused, and the place in it that was named.
    Expression {
        /// The refusal.
        refusal: Box<WireError>,
        /// The expression.
        text: String,
        /// The character it is about, counted from 1.
        column: u32,
    },
    /// What was typed, as the definition of the command line sees it. A request for help comes this way too.
    CommandLine(clap::Error),
    /// What was typed, for other reasons.
    Usage(String),
    /// A file that could not be read or written, or the numbers in it.
    File(String),
    /// Standard output.
    Output(io::Error),
}

impl Failure {
    /// What an error is about an expression.
    pub fn of_expression(text: &str, error: Error) -> Failure {
        match error {
            Error::Refused(refusal @ WireError { column: Some(column), .. }) => {
                Failure::Expression { refusal: refusal.into(), text: text.to_string(), column: column.get() }
            }
            error => Failure::Cluster(error),
        }
    }

    fn refusal(&self) -> Option<&WireError> {
        match self {
            Failure::Cluster(Error::Refused(refusal)) => Some(refusal),
            Failure::Expression { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// The exit code, as --help documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Cluster(error) => match error {
                Error::Unreachable { .. } => 3,
                _ if error.code() == Some(ErrorCode::DeadlineExceeded) => 4,
                _ if error.code() == Some(ErrorCode::SegmentsLost) => 5,
                _ => 1,
            },
            Failure::CommandLine(error) if !error.use_stderr() => 0,
            Failure::CommandLine(_) | Failure::Usage(_) => 2,
            Failure::Output(_) if self.is_closed_pipe() => 0,
            Failure::Expression { .. } | Failure::File(_) | Failure::Output(_) => 1,
        }
    }

    /// Whether no master could be reached.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Failure::Cluster(Error::Unreachable { .. }))
    }

    /// Whether somebody closed our standard output. He has seen enough.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Says it on standard error, and gives the exit code.
    pub fn report(&self, json: bool) -> u8 {
        // There is nobody to tell when standard error is gone too.
        use std::io::Write;
        let _ = match self {
            _ if self.is_closed_pipe() => Ok(()),
            Failure::CommandLine(error) if !json || !error.use_stderr() => error.print(),
            _ if json => writeln!(io::stderr(), "{}", self.to_json()),
            _ => writeln!(anstream::stderr(), "{ERROR}error:{ERROR:#} {self}"),
        };
        self.exit_code()
    }

    /// `{"error": {code, message, retryable, …}}`. The code of a refusal is that of the protocol.
    pub fn to_json(&self) -> Value {
        let mut error = Map::new();
        if let Some(refusal) = self.refusal()
            && let Ok(Value::Object(fields)) = serde_json::to_value(refusal).map(super::render::json::snake_case)
        {
            error = fields;
        }
        let retryable = matches!(self, Failure::Cluster(error) if error.is_retryable());
        error.entry("code").or_insert_with(|| self.code().into());
        error.entry("message").or_insert_with(|| self.to_string().into());
        error.entry("retryable").or_insert_with(|| retryable.into());
        json!({ "error": error })
    }

    fn code(&self) -> String {
        match self {
            Failure::Cluster(error) => match (error.code(), error) {
                (Some(code), _) => code.to_string(),
                (None, Error::Unreachable { .. }) => "Unreachable".to_string(),
                (None, Error::WrongDType { .. }) => "TypeMismatch".to_string(),
                (None, Error::WrongLength { .. }) => "OutOfRange".to_string(),
                (None, _) => "Internal".to_string(),
            },
            Failure::Expression { refusal, .. } => refusal.code.to_string(),
            Failure::CommandLine(_) | Failure::Usage(_) => "Usage".to_string(),
            Failure::File(_) => "File".to_string(),
            Failure::Output(_) => "Output".to_string(),
        }
    }
}

const ERROR: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Cluster(error) => error.fmt(f),
            Failure::Expression { refusal, text, column } => {
                write!(f, "{refusal}\n{}", super::render::caret::mark(text, *column))
            }
            // It begins with the word that stands before every failure.
            Failure::CommandLine(error) => f.write_str(error.to_string().trim_start_matches("error: ").trim_end()),
            Failure::Usage(text) | Failure::File(text) => f.write_str(text),
            Failure::Output(e) => write!(f, "writing the answer: {e}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Cluster(error)
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        Failure::CommandLine(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_as_documented() {
        let refused = |code| Failure::Cluster(Error::Refused(WireError::new(code, "no")));
        assert_eq!(refused(ErrorCode::UnknownArray).exit_code(), 1);
        assert_eq!(refused(ErrorCode::DeadlineExceeded).exit_code(), 4);
        assert_eq!(refused(ErrorCode::SegmentsLost).exit_code(), 5);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        let command = || clap::Command::new("x").no_binary_name(true);
        assert_eq!(Failure::from(command().try_get_matches_from(["--help"]).unwrap_err()).exit_code(), 0);
        assert_eq!(Failure::from(command().try_get_matches_from(["--y"]).unwrap_err()).exit_code(), 2);
        let unreachable = Error::Unreachable { doing: "connecting".into(), why: "refused".into() };
        assert_eq!(Failure::Cluster(unreachable).exit_code(), 3);
        let late = Error::DeadlineExceeded { doing: "x".into(), waiting_for: "y".into() };
        assert_eq!(Failure::Cluster(late).exit_code(), 4);
    }

    #[test]
    fn errors_as_json() {
        let lost = WireError::new(ErrorCode::SegmentsLost, "gone").array("a").segments([3]);
        let json = Failure::Cluster(Error::Refused(lost)).to_json();
        let expected = json!({"error": {"code": "SegmentsLost", "message": "gone", "retryable": false, "array": "a", "segments": [3]}});
        assert_eq!(json, expected);
        let bad = Error::Refused(WireError::new(ErrorCode::BadExpression, "what is q?").column(5));
        let bad = Failure::of_expression("sin(q)", bad);
        let expected =
            json!({"error": {"code": "BadExpression", "message": "what is q?", "retryable": false, "column": 5}});
        assert_eq!((bad.to_json(), bad.exit_code()), (expected, 1));
        assert_eq!(bad.to_string(), "what is q? (BadExpression)\n  sin(q)\n      ^");
        let json = Failure::Usage("no".into()).to_json();
        assert_eq!(json, json!({"error": {"code": "Usage", "message": "no", "retryable": false}}));
        let typed = clap::Command::new("x").no_binary_name(true).try_get_matches_from(["--y"]).unwrap_err();
        let json = Failure::from(typed).to_json();
        assert_eq!(json["error"]["code"], "Usage");
        assert!(json["error"]["message"].as_str().unwrap().starts_with("unexpected argument '--y'"), "{json}");
    }
}
