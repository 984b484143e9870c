//! What a call can end in, and what state each ending leaves behind.

use array::DType;
use protocol::{ErrorCode, WireError};
use std::fmt;
use std::sync::Arc;

/// Why a call did not give what it was asked for.
#[derive(Clone, Debug)]
pub enum Error {
    /// The cluster said no; the code says what to make of it. The request had no effect, unless the code is
    /// [`ErrorCode::DeadlineExceeded`]: then an operation may still be completed.
    Refused(WireError),
    /// No master could be reached before the deadline. A request that was sent before the connection was lost may
    /// have taken effect.
    Unreachable {
        /// What the call was for.
        doing: String,
        /// What happened to the last attempt, with the address.
        why: String,
    },
    /// The deadline passed with the cluster at work. The request may still take effect.
    DeadlineExceeded {
        /// What the call was for.
        doing: String,
        /// What was still missing.
        waiting_for: String,
    },
    /// The caller has cancelled it ([`Cancel`](crate::Cancel)). The request may still take effect.
    Cancelled {
        /// What the call was for.
        doing: String,
    },
    /// The master has forgotten this client (unused for an hour, or its data directory is gone), so nobody can say whether
    /// the request took effect. It was not run twice. Look before you repeat it.
    OutcomeUnknown {
        /// What the call was for.
        doing: String,
    },
    /// The array has another dtype than the Rust type asked for. Nothing was read.
    WrongDType {
        /// The array or handle.
        array: String,
        /// The dtype it has.
        found: DType,
        /// The dtype that was asked for.
        wanted: DType,
    },
    /// Values and shape, or range and slice, do not have the same length. Nothing was read or written.
    WrongLength {
        /// What does not fit, in words.
        what: String,
        /// Elements that were given.
        given: u64,
        /// Elements there should be.
        expected: u64,
    },
    /// The other side broke the protocol: a bug there, or it is no darray program. The request may have taken effect.
    Protocol {
        /// What the call was for.
        doing: String,
        /// What was wrong.
        what: String,
    },
    /// This machine refused something, such as a thread. The request had no effect.
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
}

impl Error {
    /// The wire code of a refusal; for deadlines, cancellations and unknown outcomes the code that fits.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused(error) => Some(error.code),
            Error::DeadlineExceeded { .. } => Some(ErrorCode::DeadlineExceeded),
            Error::Cancelled { .. } => Some(ErrorCode::Cancelled),
            Error::OutcomeUnknown { .. } => Some(ErrorCode::OutcomeUnknown),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Refused(error) => error.retryable,
            Error::Unreachable { .. } | Error::DeadlineExceeded { .. } => true,
            Error::Cancelled { .. }
            | Error::OutcomeUnknown { .. }
            | Error::WrongDType { .. }
            | Error::WrongLength { .. }
            | Error::Protocol { .. }
            | Error::Io { .. } => false,
        }
    }

    pub(crate) fn protocol(doing: &str, what: impl Into<String>) -> Error {
        Error::Protocol { doing: doing.into(), what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(error) => error.fmt(f),
            Error::Unreachable { doing, why } => {
                write!(f, "{doing}: no master could be reached ({why}); is one running, and is --master its address?")
            }
            Error::DeadlineExceeded { doing, waiting_for } => {
                write!(f, "{doing}: the deadline passed while waiting for {waiting_for}; a longer --timeout may help")
            }
            Error::Cancelled { doing } => write!(f, "{doing}: cancelled"),
            Error::OutcomeUnknown { doing } => {
                write!(
                    f,
                    "{doing}: the master does not remember this request; look whether it took effect before you repeat it"
                )
            }
            Error::WrongDType { array, found, wanted } => {
                write!(f, "'{array}' is {found}, but {wanted} was asked for; nothing is converted silently")
            }
            Error::WrongLength { what, given, expected } => {
                write!(f, "{what}: {given} elements were given, not {expected}")
            }
            Error::Protocol { doing, what } => {
                write!(f, "{doing}: the other side broke the protocol: {what}")
            }
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Refused(error) => Some(error),
            Error::Io { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

/// Why one request to the master ended without its reply.
#[derive(Clone, Debug, PartialEq)]
pub enum CallError {
    /// The master answered ERROR.
    Refused(WireError),
    /// The master has forgotten the session: a request that changes something may have been carried out, or not.
    OutcomeUnknown,
    /// The deadline passed.
    Deadline(Waiting),
}

/// What a request was waiting for when its deadline passed.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// A master to talk to.
    Master {
        /// What happened to the last attempt.
        why: String,
    },
    /// Its turn: too many other requests of this client are in flight.
    Turn,
    /// The time to try again that this refusal named.
    Retry(WireError),
    /// The reply.
    Answer,
}

impl CallError {
    /// The error of the call that this request belonged to.
    pub fn into_error(self, doing: &str) -> Error {
        let doing = doing.to_string();
        let deadline = |doing, waiting_for: String| Error::DeadlineExceeded { doing, waiting_for };
        match self {
            CallError::Refused(error) if error.code == ErrorCode::OutcomeUnknown => Error::OutcomeUnknown { doing },
            CallError::Refused(error) => Error::Refused(error),
            CallError::OutcomeUnknown => Error::OutcomeUnknown { doing },
            CallError::Deadline(Waiting::Master { why }) => Error::Unreachable { doing, why },
            CallError::Deadline(Waiting::Turn) => deadline(doing, "other requests of this client".into()),
            CallError::Deadline(Waiting::Retry(error)) => deadline(doing, format!("a better moment: {error}")),
            CallError::Deadline(Waiting::Answer) => deadline(doing, "the master's answer".into()),
        }
    }
}

/// Why a segment did not get to a worker, or from one.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// No connection, a lost one, or silence: the worker is avoided for a while.
    Unreachable(String),
    /// The worker answered ERROR.
    Refused(WireError),
    /// The bytes, or the answer, were not what they should be. The connection is closed; the worker may be fine.
    Damaged(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(why) | Failure::Damaged(why) => f.write_str(why),
            Failure::Refused(error) => error.fmt(f),
        }
    }
}
