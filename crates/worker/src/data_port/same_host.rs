//! The entrance for programs of the same machine: they get a connection through shared memory, or none and stay with TCP.

use super::Shared;
use super::accept::Entrance;
use log::{debug, warn};
use protocol::door::Entry;
use protocol::net::Stream;
use protocol::shared::{self, Listener};
use std::io;
use std::os::unix::net::UnixStream;

/// Connections that are served at once. Each costs 2 MiB, which nobody has reserved; more callers stay with TCP.
const CONNECTIONS_MAX: usize = 64;

/// Listens, if the system lets us.
pub(super) fn listen() -> Option<Listener> {
    Listener::bind().inspect_err(|e| warn!("no connections through shared memory: {e}")).ok()
}

/// Wakes whoever accepts there.
pub(super) fn waker(listener: &Listener) -> impl Fn() -> bool + Send + 'static {
    let name = listener.name().to_string();
    move || shared::wake(&name)
}

impl Entrance for Listener {
    type Caller = UnixStream;

    fn accept(&self) -> io::Result<(UnixStream, String)> {
        self.accept().map(|caller| (caller, "this machine".to_string()))
    }

    fn admit(&self, caller: UnixStream, open: usize, _: &Shared) -> io::Result<Option<(Stream, Option<Entry>)>> {
        if open >= CONNECTIONS_MAX {
            debug!("{CONNECTIONS_MAX} connections through shared memory: one more stays with TCP");
            return Ok(None);
        }
        shared::admit(caller).map(|stream| Some((Stream::Shared(stream), None)))
    }

    fn make_room(&self) {} // whoever comes here has a connection over TCP that counts
}
