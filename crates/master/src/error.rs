//! Why a master cannot start, or had to end.

use crate::log_file::LogError;
use std::io;
use std::net::SocketAddr;

/// Why a master cannot start, or had to end.
#[derive(Debug)]
pub enum Error {
    /// It cannot listen.
    Listen(SocketAddr, io::Error),
    /// Its log cannot be used.
    Log(LogError),
    /// A thread could not be started.
    Thread(io::Error),
    /// The log could not be written; what it holds now is not known, so nothing more is promised.
    Write(io::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Listen(address, e) => write!(f, "cannot listen on {address}: {e}"),
            Error::Log(e) => e.fmt(f),
            Error::Thread(e) => write!(f, "cannot start a thread: {e}"),
            Error::Write(e) => {
                write!(f, "cannot write the catalog's log: {e}; restart the master when the disk is well")
            }
        }
    }
}

impl std::error::Error for Error {}
